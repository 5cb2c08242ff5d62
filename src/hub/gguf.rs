//! Reading and checking GGUF headers, without the weights.
//!
//! Format (versions 2 and 3, little endian): magic, version, number of tensors, number of metadata entries, the entries (key, type,
//! value), the tensors (name, dimensions, type, offset), padding, data. The metadata holds the tokenizer, so the tensors come some
//! mebibytes into the file: the header is read in growing steps. Source: the format description in the `ggml` repository.

use super::cache::shorten;
use super::error::HubError;
use std::collections::{BTreeMap, HashSet};

/// Longest header that is read, in bytes (a vocabulary of 262,144 tokens with merges takes about 16 MiB).
pub(super) const MAX_HEADER: u64 = 64 << 20;
/// Bytes of the first step; each further step reads four times as much in all.
pub(super) const FIRST_STEP: u64 = 1 << 20;

const MAX_TENSORS: u64 = 100_000;
const MAX_ENTRIES: u64 = 100_000;
const MAX_TEXT: u64 = 8 << 20;
const MAX_ARRAY_DEPTH: u8 = 4;

/// A tensor as a header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Dimensions, fastest first, as the file lists them.
    pub(super) shape: Vec<u64>,
    /// Product of the dimensions: single weights, however they are packed.
    pub(super) elements: u64,
}

/// What a header says, without the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Text and whole-number entries of the metadata (as text), by key.
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: Vec<Tensor>,
}

impl Header {
    /// `general.architecture`.
    pub(super) fn architecture(&self) -> Option<&str> {
        self.metadata.get("general.architecture").map(String::as_str)
    }

    /// Longest context the model was made for, in tokens.
    pub(super) fn context_length(&self) -> Option<u64> {
        self.metadata.get(&format!("{}.context_length", self.architecture()?))?.parse().ok()
    }
}

/// Why a header could not be parsed from the bytes at hand.
pub(super) enum Stop {
    /// The bytes end before the header does.
    NeedMore,
    /// More bytes will not help.
    Wrong(HubError),
}

/// Parses the header at the beginning of `bytes`, which is the beginning of a file of `file_size` bytes.
pub(super) fn parse(bytes: &[u8], file_size: u64, what: &str) -> Result<Header, Stop> {
    let mut reader = Reader { bytes, at: 0, what };
    if reader.take(4)? != b"GGUF" {
        return Err(reader.wrong("it does not begin with `GGUF`"));
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        let reason = format!("it has GGUF version {version} (or another byte order); versions 2 and 3 in little endian are read");
        return Err(Stop::Wrong(HubError::unsupported(what, reason)));
    }
    let tensor_count = reader.u64()?;
    let entry_count = reader.u64()?;
    if tensor_count > MAX_TENSORS || entry_count > MAX_ENTRIES {
        return Err(
            reader.wrong(&format!("it claims {tensor_count} tensors and {entry_count} metadata entries; at most {MAX_TENSORS} are read"))
        );
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..entry_count {
        let key = reader.text(1 << 16)?.to_owned();
        let kind = reader.u32()?;
        if let Some(value) = reader.value(kind, 0)? {
            metadata.insert(key, value);
        }
    }
    let mut tensors = Vec::new();
    let mut ranges = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..tensor_count {
        let (tensor, range) = reader.tensor()?;
        if !names.insert(tensor.name.clone()) {
            return Err(reader.wrong(&format!("the tensor {:?} occurs twice", shorten(&tensor.name))));
        }
        tensors.push(tensor);
        ranges.extend(range);
    }
    let alignment = metadata.get("general.alignment").and_then(|text| text.parse::<u64>().ok()).unwrap_or(32);
    if alignment == 0 || alignment > 1 << 20 {
        return Err(reader.wrong(&format!("its alignment is {alignment}")));
    }
    let data_begin = (reader.at as u64).next_multiple_of(alignment);
    check_ranges(ranges, file_size.saturating_sub(data_begin)).map_err(|reason| reader.wrong(&reason))?;
    Ok(Header { metadata, tensors })
}

/// The ranges (begin and length in the data) must be inside the file and must not overlap.
fn check_ranges(mut ranges: Vec<(u64, u64)>, data_size: u64) -> Result<(), String> {
    ranges.sort_unstable();
    let mut free_from = 0;
    for (begin, length) in ranges {
        if begin < free_from {
            return Err(format!("its tensors overlap at byte {begin} of the data"));
        }
        free_from = begin
            .checked_add(length)
            .filter(|end| *end <= data_size)
            .ok_or_else(|| format!("a tensor takes {length} bytes from byte {begin} of the data, which has {data_size} (truncated?)"))?;
    }
    Ok(())
}

/// Elements and bytes of one block, for the tensor types that are known.
fn block_of(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        24 => (1, 1),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        _ => return None,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'a str,
}

impl<'a> Reader<'a> {
    fn wrong(&self, reason: &str) -> Stop {
        Stop::Wrong(HubError::corrupt(self.what, format!("its GGUF header is wrong at byte {}: {reason}", self.at)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Stop> {
        let length = usize::try_from(length).map_err(|_| Stop::NeedMore)?;
        let end = self.at.checked_add(length).ok_or(Stop::NeedMore)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::NeedMore)?;
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        let low = self.u32()?;
        Ok(u64::from(low) | u64::from(self.u32()?) << 32)
    }

    fn text(&mut self, longest: u64) -> Result<&'a str, Stop> {
        let length = self.u64()?;
        if length > longest {
            return Err(self.wrong(&format!("a text of {length} bytes; at most {longest} are read")));
        }
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.wrong("a name is not UTF-8"))
    }

    /// Reads one metadata value; gives texts and whole numbers, skips the rest.
    fn value(&mut self, kind: u32, depth: u8) -> Result<Option<String>, Stop> {
        match kind {
            0 | 1 | 7 => self.take(1).map(|_| None),
            2 | 3 => self.take(2).map(|_| None),
            4 => self.u32().map(|number| Some(number.to_string())),
            5 => self.u32().map(|number| Some(number.cast_signed().to_string())),
            6 => self.take(4).map(|_| None),
            8 => {
                let length = self.u64()?;
                if length > MAX_TEXT {
                    return Err(self.wrong(&format!("a text of {length} bytes; at most {MAX_TEXT} are read")));
                }
                // Chat templates and descriptions need not be kept; vocabularies hold bytes that are no UTF-8.
                let bytes = self.take(length)?;
                Ok((length <= 4096).then(|| String::from_utf8_lossy(bytes).into_owned()))
            }
            9 => self.array(depth).map(|()| None),
            10 => self.u64().map(|number| Some(number.to_string())),
            11 => self.u64().map(|number| Some(number.cast_signed().to_string())),
            12 => self.take(8).map(|_| None),
            other => Err(self.wrong(&format!("the unknown metadata type {other}"))),
        }
    }

    fn array(&mut self, depth: u8) -> Result<(), Stop> {
        if depth >= MAX_ARRAY_DEPTH {
            return Err(self.wrong("arrays are nested too deeply"));
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        // Every element takes at least one byte, so this bounds the loops below before they begin.
        if length > MAX_HEADER {
            return Err(self.wrong(&format!("an array of {length} elements")));
        }
        let fixed = match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        if let Some(bytes) = fixed {
            return self.take(length * bytes).map(|_| ());
        }
        for _ in 0..length {
            if kind == 8 {
                let bytes = self.u64()?;
                if bytes > MAX_TEXT {
                    return Err(self.wrong(&format!("a text of {bytes} bytes; at most {MAX_TEXT} are read")));
                }
                self.take(bytes)?;
            } else {
                self.value(kind, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Reads one tensor description, and its range in the data where the type's size is known.
    fn tensor(&mut self) -> Result<(Tensor, Option<(u64, u64)>), Stop> {
        let name = self.text(1 << 10)?.to_owned();
        let dimensions = self.u32()?;
        if dimensions > 8 {
            return Err(self.wrong(&format!("a tensor of {dimensions} dimensions")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.u64()?);
        }
        let kind = self.u32()?;
        let offset = self.u64()?;
        let elements = shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        let Some(elements) = elements else { return Err(self.wrong(&format!("the shape of {:?} overflows", shorten(&name)))) };
        let range = match block_of(kind) {
            Some((block, _)) if !elements.is_multiple_of(block) => {
                return Err(self.wrong(&format!("{:?} has {elements} elements, no multiple of the block of {block}", shorten(&name))));
            }
            Some((block, bytes)) => {
                let length = (elements / block).checked_mul(bytes);
                Some((offset, length.ok_or_else(|| self.wrong(&format!("the size of {:?} overflows", shorten(&name))))?))
            }
            None => None,
        };
        Ok((Tensor { name, shape, elements }, range))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A small whole GGUF file: metadata of a llama, a vocabulary, tensors of type F32 with the given names and shapes.
    pub(in crate::hub) fn file(tensors: &[(&str, &[u64])]) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((tensors.len() as u64).to_le_bytes());
        out.extend(3_u64.to_le_bytes());
        text(&mut out, "general.architecture");
        out.extend(8_u32.to_le_bytes());
        text(&mut out, "llama");
        text(&mut out, "llama.context_length");
        out.extend(4_u32.to_le_bytes());
        out.extend(2048_u32.to_le_bytes());
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        text(&mut out, "a");
        text(&mut out, "bc");
        let mut offset = 0_u64;
        for (name, shape) in tensors {
            text(&mut out, name);
            out.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
            for size in *shape {
                out.extend(size.to_le_bytes());
            }
            out.extend(0_u32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (shape.iter().product::<u64>() * 4).next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out.resize(out.len() + usize::try_from(offset).unwrap(), 0);
        out
    }

    fn parsed(bytes: &[u8], size: usize) -> Result<Header, String> {
        parse(bytes, size as u64, "file").map_err(|stop| match stop {
            Stop::NeedMore => "need more".to_owned(),
            Stop::Wrong(error) => error.to_string(),
        })
    }

    /// Shapes and metadata come out; any cut of the header asks for more; a cut of the data is an error.
    #[test]
    fn reads_a_header_and_notices_cuts() {
        let whole = file(&[("token_embd.weight", &[8, 4]), ("output_norm.weight", &[8])]);
        let header = parsed(&whole, whole.len()).unwrap();
        assert_eq!(header.tensors.iter().map(|tensor| tensor.elements).collect::<Vec<_>>(), [32, 8]);
        assert_eq!((header.architecture(), header.context_length()), (Some("llama"), Some(2048)));
        for cut in [0, 3, 10, 30, 100] {
            assert_eq!(parsed(&whole[..cut], whole.len()).unwrap_err(), "need more");
        }
        assert!(parsed(&whole, whole.len() - 64).unwrap_err().contains("truncated"));
    }

    /// Claims that would make a reader allocate or loop without end are refused at once.
    #[test]
    fn refuses_absurd_claims() {
        let whole = file(&[("a", &[4])]);
        let mut many = whole.clone();
        many[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parsed(&many, many.len()).unwrap_err().contains("tensors"));
        let mut long_key = whole.clone();
        long_key[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(parsed(&long_key, long_key.len()).unwrap_err().contains("a text of"));
        let twice = file(&[("a", &[4]), ("a", &[4])]);
        assert!(parsed(&twice, twice.len()).unwrap_err().contains("twice"));
    }

    proptest! {
        /// Damaged headers never panic.
        #[test]
        fn never_panics(at in 0_usize..200, byte: u8, cut in 0_usize..400) {
            let mut whole = file(&[("token_embd.weight", &[8, 4])]);
            let size = whole.len();
            whole[at] = byte;
            whole.truncate(cut);
            let _ = parsed(&whole, size);
        }
    }
}
