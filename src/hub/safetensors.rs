//! Reading and checking safetensors headers, without the weights.
//!
//! Format: eight bytes with the header's length (little endian), the header (JSON: tensor name to data type, shape and byte
//! range), then the data. The ranges must cover the data without gap or overlap. Source: the `safetensors` repository's format
//! description.

use super::cache::shorten;
use super::error::HubError;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;

/// Longest header that is read, in bytes. A model of three billion parameters has headers below one mebibyte.
pub(super) const MAX_HEADER: u64 = 16 << 20;
/// Most tensors in one file.
const MAX_TENSORS: usize = 200_000;

/// A tensor as a header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Data type as the header spells it (`BF16`, `I32`, `F8_E4M3`, …).
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    /// Product of the shape.
    pub(super) elements: u64,
}

/// Checks the length that the first eight bytes announce against the file's size.
pub(super) fn header_length(first: [u8; 8], file_size: u64, what: &str) -> Result<u64, HubError> {
    let length = u64::from_le_bytes(first);
    let room = file_size.saturating_sub(8);
    if length > MAX_HEADER {
        return Err(HubError::corrupt(what, format!("its header claims {length} bytes, more than the {MAX_HEADER} that are read")));
    }
    if length < 2 || length > room {
        return Err(HubError::corrupt(
            what,
            format!("its header claims {length} bytes, but the file has {room} after the first eight (truncated?)"),
        ));
    }
    Ok(length)
}

/// Parses a header and checks that its tensors cover `data_size` bytes without gap or overlap.
pub(super) fn parse(header: &[u8], data_size: u64, what: &str) -> Result<Vec<Tensor>, HubError> {
    let wrong = |reason: String| HubError::corrupt(what, reason);
    let entries: Entries =
        serde_json::from_slice(header).map_err(|error| wrong(format!("its header is no valid JSON of tensors: {error}")))?;
    let mut tensors = Vec::with_capacity(entries.0.len());
    let mut ranges = Vec::with_capacity(entries.0.len());
    for (name, entry) in entries.0 {
        let at = || format!("tensor {:?}", shorten(&name));
        let Some(bits) = bits_of(&entry.dtype) else {
            return Err(HubError::unsupported(what, format!("{} has the unknown data type {:?}", at(), shorten(&entry.dtype))));
        };
        let elements = entry.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        let Some(elements) = elements else { return Err(wrong(format!("the shape of {} overflows", at()))) };
        let bytes = u128::from(elements) * u128::from(bits);
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data_size {
            return Err(wrong(format!("{} claims bytes {begin} to {end} of {data_size} (truncated?)", at())));
        }
        if bytes != u128::from(end - begin) * 8 {
            return Err(wrong(format!("{} claims {} bytes, its shape and data type need {} bits", at(), end - begin, bytes)));
        }
        ranges.push((begin, end));
        tensors.push(Tensor { name, dtype: entry.dtype, shape: entry.shape, elements });
    }
    ranges.sort_unstable();
    let mut covered = 0;
    for (begin, end) in ranges {
        if begin != covered {
            return Err(wrong(format!(
                "its tensors {} at byte {begin} of the data",
                if begin < covered { "overlap" } else { "leave a gap" }
            )));
        }
        covered = end;
    }
    if covered != data_size {
        return Err(wrong(format!("its tensors end at byte {covered} of the data, which has {data_size}")));
    }
    Ok(tensors)
}

/// Bits of one element, for the data types of the format.
fn bits_of(dtype: &str) -> Option<u32> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's tensors in its order. A name that occurs twice is an error: readers would disagree on which one counts.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        use serde::de::Error;
        let mut seen = std::collections::HashSet::new();
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format!("the name {:?} occurs twice", shorten(&name))));
            }
            if name == "__metadata__" {
                map.next_value::<std::collections::BTreeMap<String, String>>()?;
                continue;
            }
            if entries.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value::<Entry>()?;
            entries.push((name, entry));
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(json: &str, data: u64) -> Result<Vec<Tensor>, HubError> {
        parse(json.as_bytes(), data, "file")
    }

    /// A well-formed header is read with names, types and element counts.
    #[test]
    fn reads_a_header() {
        let tensors = parsed(
            r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},"a":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}  "#,
            16,
        )
        .unwrap();
        assert_eq!(tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.elements)).collect::<Vec<_>>(), [("b", 1), ("a", 6)]);
    }

    /// Every way in which a header can lie gets an error that says so.
    #[test]
    fn refuses_lies() {
        let cases = [
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#, 8, "need 32 bits"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 8, "end at byte 4"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "truncated"),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8, "leave a gap"),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
                "overlap",
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
                "occurs twice",
            ),
            (r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4, "unknown data type"),
            (r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4, "overflows"),
            (r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,4]}}"#, 4, "JSON"),
            (r#"["a"]"#, 4, "JSON"),
        ];
        for (json, data, expected) in cases {
            let message = parsed(json, data).unwrap_err().to_string();
            assert!(message.contains(expected), "{json}: {message}");
        }
        for (length, size) in [(u64::MAX, 100), (MAX_HEADER + 1, u64::MAX), (93, 100), (0, 100)] {
            assert!(header_length(length.to_le_bytes(), size, "file").is_err(), "{length} of {size}");
        }
    }

    proptest! {
        /// Random bytes and deep nesting never panic.
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), depth in 0_usize..5000) {
            let _ = parse(&bytes, 100, "file");
            let _ = parse(format!("{{\"a\":{}", "[".repeat(depth)).as_bytes(), 100, "file");
        }
    }
}
