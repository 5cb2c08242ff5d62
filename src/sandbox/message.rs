//! What parent, launcher and guests say to each other.

use super::{Execution, Isolation, Level, Limits, Program};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Bytes of one message between parent and launcher: far above any program, and small enough to be held in memory.
const LONGEST: usize = 1 << 28;

/// The first message to a launcher: everything that it needs for all programs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    /// Which means to use; never `Auto`.
    pub(super) isolation: Isolation,
    /// The user to become before anything else.
    pub(super) as_user: Option<u32>,
    /// An empty folder of the launcher's own.
    pub(super) stage: PathBuf,
    /// The interpreter, and every file and folder that it needs.
    pub(super) executable: PathBuf,
    pub(super) paths: Vec<PathBuf>,
    /// Links to folders, wanted as links alone.
    pub(super) links: Vec<PathBuf>,
    /// The guests' code, marshalled by the same interpreter.
    pub(super) candidate: Vec<u8>,
    pub(super) tester: Vec<u8>,
    pub(super) splitter: Vec<u8>,
}

/// Every further message to a launcher.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Run a program of two parts.
    Program(Program, Limits),
    /// Find the test in one assembled text, and run it.
    Text(String, Limits),
}

/// What a launcher answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The set-up worked.
    Ready(Level),
    /// It did not.
    Fault(String),
    /// A program's verdict.
    Done(Execution),
}

/// Writes one message: its length, then JSON.
pub(super) fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&body)?;
    to.flush()
}

/// Reads one message; `None` at the end of the stream.
pub(super) fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut have = 0;
    while have < 4 {
        match from.read(&mut length[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message that is too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// A value of a guest's job, in the guests' own format (see `guest/wire.py`).
pub(super) enum Value<'a> {
    None,
    Text(&'a str),
    Bytes(&'a [u8]),
    Integer(u64),
}

/// A guest's job: a dictionary with text keys.
pub(super) fn encode_job(pairs: &[(&str, Value<'_>)]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let sized = |out: &mut Vec<u8>, tag: u8, data: &[u8]| -> io::Result<()> {
        out.push(tag);
        out.extend(u32::try_from(data.len()).map_err(io::Error::other)?.to_le_bytes());
        out.extend(data);
        Ok(())
    };
    out.push(b'd');
    out.extend(u32::try_from(pairs.len()).map_err(io::Error::other)?.to_le_bytes());
    for (key, value) in pairs {
        sized(&mut out, b'S', key.as_bytes())?;
        match value {
            Value::None => out.push(b'N'),
            Value::Text(text) => sized(&mut out, b'S', text.as_bytes())?,
            Value::Bytes(bytes) => sized(&mut out, b'B', bytes)?,
            Value::Integer(number) => {
                let mut bytes = number.to_le_bytes().to_vec();
                bytes.push(0);
                sized(&mut out, b'I', &bytes)?;
            }
        }
    }
    Ok(out)
}
