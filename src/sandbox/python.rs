//! The operator's Python interpreter: which one, which version, and what it needs to run.

use super::SandboxError;
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WIRE: &str = include_str!("guest/wire.py");
const CANDIDATE: &str = include_str!("guest/candidate.py");
const TESTER: &str = include_str!("guest/tester.py");
const SPLITTER: &str = include_str!("guest/split.py");
const MAIN: &str = include_str!("guest/main.py");
const PROBE: &str = include_str!("guest/probe.py");

/// What the interpreter says of itself.
#[derive(Clone, Debug)]
pub(super) struct Python {
    /// For example `3.11.7`.
    pub(super) version: String,
    /// Its real path.
    pub(super) executable: PathBuf,
    /// Every file and folder that it needs, itself included.
    pub(super) paths: Vec<PathBuf>,
    /// Links to folders by which the loader finds libraries: wanted as links, without all that is in the folder.
    pub(super) links: Vec<PathBuf>,
    /// The guests' code, marshalled.
    pub(super) candidate: Vec<u8>,
    pub(super) tester: Vec<u8>,
    pub(super) splitter: Vec<u8>,
}

#[derive(Deserialize)]
struct Answer {
    version: String,
    implementation: String,
    executable: PathBuf,
    paths: Vec<PathBuf>,
    links: Vec<PathBuf>,
    code: Vec<String>,
}

/// Asks an interpreter what it needs, and has it compile the guests' code.
///
/// # Errors
/// There is no such interpreter, or it is none that can serve.
pub(super) fn probe(python: &Path) -> Result<Python, SandboxError> {
    let fail = |reason: String| SandboxError::NoPython { python: python.to_path_buf(), reason };
    let mut child = Command::new(python)
        .args(["-I", "-S", "-B", "-X", "utf8", "-c", PROBE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| fail(error.to_string()))?;
    let sources = [CANDIDATE, TESTER, SPLITTER].map(|role| format!("{WIRE}\n{role}\n{MAIN}")).join("\0");
    if let Some(mut input) = child.stdin.take() {
        // An interpreter that ends early says why on its standard error.
        let _ = input.write_all(sources.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|error| fail(format!("its answer is unreadable: {error}")))?;
    if answer.implementation != "cpython" {
        return Err(fail(format!("it is {}, not CPython", answer.implementation)));
    }
    let mut code = answer.code.iter().map(hex::decode).collect::<Result<Vec<_>, _>>().map_err(|error| fail(error.to_string()))?.into_iter();
    let (Some(candidate), Some(tester), Some(splitter)) = (code.next(), code.next(), code.next()) else {
        return Err(fail("it compiled nothing".to_owned()));
    };
    let Answer { version, executable, paths, links, .. } = answer;
    Ok(Python { version, executable, paths, links, candidate, tester, splitter })
}
