//! The answers of an unfinished task, appended as they are computed, so that a killed run loses at most the answer in flight.
//!
//! One file per leaf task, `unfinished/<task>.jsonl` in the run folder: a header line that binds it to the requests it answers, then one line per
//! answer. A line is written whole by one `write`; a torn last line (kill -9, full disk) is cut off when the journal is opened again.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the journal is forced to the disk: a power cut loses at most this much work, a killed process nothing.
const SYNC_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    /// Digest of the requests in order: answers to other requests are never taken over.
    requests_sha256: String,
    /// Number of requests.
    requests: usize,
}

#[derive(Serialize, Deserialize)]
struct Line<A> {
    /// Index of the request.
    i: usize,
    /// Its answer.
    a: A,
}

/// Appends answers of type `A` for a fixed list of requests.
pub(crate) struct Journal<A> {
    path: PathBuf,
    file: File,
    last_sync: Instant,
    answers: PhantomData<A>,
}

impl<A: Serialize + DeserializeOwned> Journal<A> {
    /// Opens or creates the journal at `path` and returns it with the answers that it already holds, by request.
    ///
    /// # Errors
    /// The file cannot be read or written, or it answers other requests than these (another version of the data or of the program).
    pub(crate) fn open(path: &Path, requests_sha256: &str, requests: usize) -> anyhow::Result<(Self, Vec<Option<A>>)> {
        let header = Header { requests_sha256: requests_sha256.to_owned(), requests };
        let mut answers: Vec<Option<A>> = std::iter::repeat_with(|| None).take(requests).collect();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("cannot open the journal {}", path.display()))?;
        let whole = read_lines(&mut file, path, &header, &mut answers)?;
        file.set_len(whole).with_context(|| format!("cannot cut the torn end of {}", path.display()))?;
        if whole == 0 {
            append(&mut file, path, &header)?;
        }
        Ok((Self { path: path.to_owned(), file, last_sync: Instant::now(), answers: PhantomData }, answers))
    }

    /// Appends the answer to request `index`.
    ///
    /// # Errors
    /// The disk is full or fails; what was written before stays valid.
    pub(crate) fn push(&mut self, index: usize, answer: &A) -> anyhow::Result<()> {
        append(&mut self.file, &self.path, &Line { i: index, a: answer })?;
        if self.last_sync.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Forces what was appended to the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.last_sync = Instant::now();
        self.file.sync_data().with_context(|| format!("cannot write {} to the disk", self.path.display()))
    }
}

/// Reads the whole lines into `answers`; gives the length in bytes of what is whole.
fn read_lines<A: DeserializeOwned>(file: &mut File, path: &Path, header: &Header, answers: &mut [Option<A>]) -> anyhow::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(&mut *file);
    let mut line = Vec::new();
    let mut whole = 0_u64;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 || line.last() != Some(&b'\n') {
            return Ok(whole);
        }
        if whole == 0 {
            let found: Header = match serde_json::from_slice(&line) {
                Ok(found) => found,
                Err(_) => return Ok(0),
            };
            if found != *header {
                bail!(
                    "{} holds answers to other requests (the data or the program changed since the run began); remove that folder to start over",
                    path.display()
                );
            }
        } else {
            let Ok(Line { i, a }) = serde_json::from_slice::<Line<A>>(&line) else { return Ok(whole) };
            let Some(slot) = answers.get_mut(i) else {
                bail!("{} answers request {i}, but there are only {} requests", path.display(), answers.len())
            };
            *slot = Some(a);
        }
        whole += read as u64;
    }
}

fn append(file: &mut File, path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line).with_context(|| format!("cannot append to {}: free some space and run again with --resume", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn reopen(path: &Path) -> Vec<Option<f64>> {
        Journal::<f64>::open(path, "abc", 3).unwrap().1
    }

    /// A kill at any byte loses at most the line in flight, and the journal goes on after it.
    #[test]
    fn survives_a_cut_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.jsonl");
        let (mut journal, before) = Journal::<f64>::open(&path, "abc", 3).unwrap();
        assert_eq!(before, [None, None, None]);
        journal.push(2, &-1.25).unwrap();
        journal.push(0, &0.1).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let answers = reopen(&path);
            assert!(answers[0].is_none() && answers[1].is_none());
            let (mut journal, _) = Journal::<f64>::open(&path, "abc", 3).unwrap();
            journal.push(1, &7.0).unwrap();
            drop(journal);
            assert_eq!(reopen(&path)[1], Some(7.0), "cut at {length}");
            assert_eq!(reopen(&path)[2], answers[2], "cut at {length}");
        }
    }

    /// Answers to other requests are refused, not mixed in.
    #[test]
    fn refuses_other_requests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.jsonl");
        drop(Journal::<f64>::open(&path, "abc", 3).unwrap());
        let error = Journal::<f64>::open(&path, "abd", 3).err().unwrap();
        assert!(error.to_string().contains("other requests"), "{error}");
    }

    /// Numbers come back bit for bit.
    #[test]
    fn numbers_survive_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.jsonl");
        let (mut journal, _) = Journal::<f64>::open(&path, "abc", 3).unwrap();
        let value = -12.345_678_901_234_567_f64 / 3.0;
        journal.push(0, &value).unwrap();
        drop(journal);
        assert_eq!(reopen(&path)[0].map(f64::to_bits), Some(value.to_bits()));
    }
}
