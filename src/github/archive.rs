//! Unpacks a ZIP archive from outside into a folder.
//!
//! Reads what `actions/upload-artifact` writes: entries stored or deflated, sizes in the central directory, ZIP64 where needed
//! (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>, sections 4.3 and 4.5.3). Everything else is refused by name.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::Error;

const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const END_64_LOCATOR: &[u8; 4] = b"PK\x06\x07";
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const LOCAL: &[u8; 4] = b"PK\x03\x04";
/// Length of the end record without its comment, and of the longest comment.
const END_LENGTH: u64 = 22;
const LONGEST_COMMENT: u64 = 65_535;
/// More files than any run has.
const MOST_ENTRIES: u64 = 100_000;

/// Why an archive is not unpacked.
enum Refusal {
    Damaged(String),
    Disk(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::Damaged(format!("it is damaged: {error}"))
            }
            _ => Self::Disk(error.to_string()),
        }
    }
}

fn damaged<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Damaged(reason.into()))
}

/// Unpacks into `folder`, which must not exist or be empty, and which appears whole or not at all. At most `limit` bytes come out.
pub(super) fn unpack(archive: &File, folder: &Path, limit: u64, what: &str) -> Result<(), Error> {
    unpack_beside(archive, folder, limit).map_err(|refusal| match refusal {
        Refusal::Damaged(reason) => Error::permanent(what, reason),
        // An issue may show the error: the place on this machine is for the log.
        Refusal::Disk(reason) => {
            tracing::error!(folder = %folder.display(), "unpacking an artifact: {reason}");
            Error::transient(what, "this machine's disk failed; its log says where", None)
        }
    })
}

fn unpack_beside(archive: &File, folder: &Path, limit: u64) -> Result<(), Refusal> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent)?;
    let mut reader = BufReader::new(archive);
    let mut left = limit;
    let mut seen = HashSet::new();
    for entry in entries(&mut reader)? {
        let Some(path) = safe_path(&entry.name)? else { continue };
        // Where the file system folds case or the archive repeats a name, the later file would replace the earlier one.
        if !seen.insert(entry.name.to_lowercase()) {
            return damaged(format!("it holds {:?} twice", entry.name));
        }
        let target = fresh.path().join(path);
        if entry.name.ends_with('/') {
            fs::create_dir_all(target)?;
            continue;
        }
        left = left.checked_sub(entry.size).ok_or_else(|| Refusal::Damaged(format!("it unpacks to more than {limit} bytes")))?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        extract(&mut reader, &entry, &target)?;
    }
    if folder.exists() {
        // Only an empty folder can be replaced in one step.
        fs::remove_dir(folder)?;
    }
    fs::rename(fresh.path(), folder)?;
    Ok(())
}

struct Entry {
    name: String,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// The path below the folder; `None` for the folder itself.
fn safe_path(name: &str) -> Result<Option<PathBuf>, Refusal> {
    let wrong = || damaged(format!("it holds a file with the unsafe name {name:?}"));
    if name.contains(['\\', ':']) || name.chars().any(char::is_control) || name.len() > 1000 {
        return wrong();
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return wrong(),
        }
    }
    Ok((path != Path::new("")).then_some(path))
}

fn extract(reader: &mut BufReader<&File>, entry: &Entry, target: &Path) -> Result<(), Refusal> {
    reader.seek(SeekFrom::Start(entry.offset))?;
    let header: [u8; 30] = bytes(reader)?;
    if !header.starts_with(LOCAL) {
        return damaged(format!("{:?} does not begin where the directory says", entry.name));
    }
    reader.seek_relative(i64::from(u16_at(&header, 26)) + i64::from(u16_at(&header, 28)))?;
    let packed = reader.take(entry.packed);
    let mut content: Box<dyn Read> = match entry.method {
        0 => Box::new(packed),
        8 => Box::new(DeflateDecoder::new(packed)),
        method => return damaged(format!("{:?} is packed by the unknown method {method}", entry.name)),
    };
    let mut file = BufWriter::new(File::create_new(target)?);
    let mut crc = Crc::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = content.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        size += length as u64;
        // The directory's size was counted against the limit; what really comes out must not be more.
        if size > entry.size {
            return damaged(format!("{:?} is larger than the directory says", entry.name));
        }
        crc.update(&buffer[..length]);
        file.write_all(&buffer[..length])?;
    }
    if size != entry.size || crc.sum() != entry.crc {
        return damaged(format!("{:?} is damaged: its size or checksum is another one than the directory says", entry.name));
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

/// The central directory.
fn entries(reader: &mut BufReader<&File>) -> Result<Vec<Entry>, Refusal> {
    let length = reader.get_ref().metadata()?.len();
    let (count, size, offset) = directory(reader, length)?;
    if count > MOST_ENTRIES {
        return damaged(format!("it holds more than {MOST_ENTRIES} files"));
    }
    if offset.checked_add(size).is_none_or(|end| end > length) {
        return damaged("its directory lies outside of it");
    }
    reader.seek(SeekFrom::Start(offset))?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(entry(reader)?);
    }
    Ok(entries)
}

/// Number of entries, size and place of the central directory.
fn directory(reader: &mut BufReader<&File>, length: u64) -> Result<(u64, u64, u64), Refusal> {
    let begin = length.saturating_sub(END_LENGTH + LONGEST_COMMENT);
    reader.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    reader.read_to_end(&mut tail)?;
    let is_end = |at: &usize| {
        let record = &tail[*at..];
        record.starts_with(END) && record.len() == usize::from(u16_at(record, 20)) + 22
    };
    let last = tail.len().checked_sub(22);
    let Some(at) = last.and_then(|last| (0..=last).rev().find(is_end)) else { return damaged("it is no ZIP archive") };
    let record = &tail[at..];
    let (count, size, offset) = (u64::from(u16_at(record, 10)), u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    if count != u64::from(u16::MAX) && size != u64::from(u32::MAX) && offset != u64::from(u32::MAX) {
        return Ok((count, size, offset));
    }
    // A plain archive may have these values too; then there is no locator before the record.
    let Some(locator) = at.checked_sub(20).map(|begin| &tail[begin..at]).filter(|locator| locator.starts_with(END_64_LOCATOR)) else {
        return Ok((count, size, offset));
    };
    reader.seek(SeekFrom::Start(u64_at(locator, 8)))?;
    let record: [u8; 56] = bytes(reader)?;
    if !record.starts_with(END_64) {
        return damaged("its ZIP64 record is not where its locator says");
    }
    Ok((u64_at(&record, 32), u64_at(&record, 40), u64_at(&record, 48)))
}

fn entry(reader: &mut BufReader<&File>) -> Result<Entry, Refusal> {
    let header: [u8; 46] = bytes(reader)?;
    if !header.starts_with(ENTRY) {
        return damaged("its directory is damaged");
    }
    let name = text(reader, u16_at(&header, 28))?;
    let mut extra = vec![0; usize::from(u16_at(&header, 30))];
    reader.read_exact(&mut extra)?;
    reader.seek_relative(i64::from(u16_at(&header, 32)))?;
    if u16_at(&header, 8) & 1 != 0 {
        return damaged(format!("{name:?} is encrypted"));
    }
    // The upper half are Unix modes where the archive was made there: 0o12 is a link.
    let mode = u32_at(&header, 38) >> 16;
    let is_unix = header[5] == 3;
    if is_unix && !matches!(mode >> 12, 0 | 0o10 | 0o4) {
        return damaged(format!("{name:?} is a link or a device, not a file"));
    }
    let mut entry = Entry {
        method: u16_at(&header, 10),
        crc: u32_at(&header, 16),
        packed: u64::from(u32_at(&header, 20)),
        size: u64::from(u32_at(&header, 24)),
        offset: u64::from(u32_at(&header, 42)),
        name,
    };
    widen(&mut entry, &extra)?;
    Ok(entry)
}

/// Takes values that do not fit 32 bits from the ZIP64 field.
fn widen(entry: &mut Entry, mut extra: &[u8]) -> Result<(), Refusal> {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let Some(field) = extra.get(4..4 + length) else { break };
        extra = &extra[4 + length..];
        if id != 1 {
            continue;
        }
        let mut rest = field;
        for value in [&mut entry.size, &mut entry.packed, &mut entry.offset] {
            if *value == u64::from(u32::MAX) {
                let Some((wide, others)) = rest.split_first_chunk::<8>() else {
                    return damaged(format!("the sizes of {:?} are damaged", entry.name));
                };
                *value = u64::from_le_bytes(*wide);
                rest = others;
            }
        }
    }
    Ok(())
}

fn text(reader: &mut impl Read, length: u16) -> Result<String, Refusal> {
    let mut bytes = vec![0; usize::from(length)];
    reader.read_exact(&mut bytes)?;
    String::from_utf8(bytes).or_else(|_| damaged("it holds a file whose name is not UTF-8"))
}

fn bytes<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The number at a place of a record; 0 beyond its end, which a record of fixed length does not reach.
fn u16_at(record: &[u8], at: usize) -> u16 {
    record.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(record: &[u8], at: usize) -> u32 {
    record.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(record: &[u8], at: usize) -> u64 {
    record.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
