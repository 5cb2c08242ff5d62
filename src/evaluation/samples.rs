//! Sample files: every question and answer of a task, one JSON line per document, compressed with zstd.

use super::files::write_atomically;
use crate::leaderboard::run::{SampleFile, SampleLine};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

/// Compression level: the same lines give the same bytes with the same zstd.
const ZSTD_LEVEL: i32 = 9;

/// Writes `samples/<task>.jsonl.zst` below the run's folder and describes it.
///
/// # Errors
/// The folder cannot be written or the disk is full; an earlier file of that name is left as it was.
pub(crate) fn write_samples(folder: &Path, task: &str, lines: impl Iterator<Item = SampleLine>) -> anyhow::Result<SampleFile> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    let mut n = 0;
    for line in lines {
        serde_json::to_writer(&mut encoder, &line).with_context(|| format!("cannot encode document {} of {task}", line.doc_id))?;
        encoder.write_all(b"\n")?;
        n += 1;
    }
    let bytes = encoder.finish()?;
    let file = format!("samples/{task}.jsonl.zst");
    write_atomically(&folder.join(&file), &bytes)?;
    Ok(SampleFile { task: task.to_owned(), file, sha256: hex::encode(Sha256::digest(&bytes)), n })
}

/// Whether a sample file is there below the run's folder, byte for byte as it was described.
pub(crate) fn is_intact(folder: &Path, file: &SampleFile) -> bool {
    std::fs::read(folder.join(&file.file)).is_ok_and(|bytes| hex::encode(Sha256::digest(bytes)) == file.sha256)
}

/// Reads a sample file of a run folder.
///
/// # Errors
/// The file is missing, is not zstd, or a line is not a sample; the message names file and line.
pub fn read_samples(path: &Path) -> anyhow::Result<Vec<SampleLine>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let text = zstd::decode_all(file).with_context(|| format!("{} is not a complete zstd file", path.display()))?;
    text.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_slice(line).with_context(|| format!("{}, line {}: not a sample", path.display(), number + 1))
        })
        .collect()
}
