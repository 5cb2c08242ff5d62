//! Reading what runs left on disk: `run.json`, registry, submission.

use super::{InvalidInput, UsageError};
pub(crate) use crate::bot::publication::{pillars_of, published_path, submitted};
use crate::leaderboard::board::paired_runs;
use crate::leaderboard::{Decision, ItemScores, PillarSpec, Registry, Run, RunSummary};
use crate::submission::{self, InputKind, Submission};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Most folders between the results folder and a `run.json`.
const MAX_DEPTH: usize = 8;

/// A run that was read, with where it was found.
pub(crate) struct StoredRun {
    /// Path of `run.json`.
    pub(crate) path: PathBuf,
    /// SHA-256 of its bytes.
    pub(crate) sha256: String,
    /// The run.
    pub(crate) run: Run,
}

impl StoredRun {
    /// The folder that holds `run.json` and `samples/`.
    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// What the registry keeps of it.
    pub(crate) fn summary(&self) -> RunSummary {
        RunSummary::new(&self.run, published_path(&self.run), self.sha256.clone())
    }
}

/// Every `run.json` below a folder, sorted by path. Links are not followed.
pub(crate) fn find_runs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(InvalidInput(format!("{} is not a folder", folder.display())).into());
    }
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let kind = entry.file_type().with_context(|| format!("cannot look at {}", entry.path().display()))?;
            if kind.is_dir() && depth < MAX_DEPTH {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() && entry.file_name() == "run.json" {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The bytes of a file that the command line names; one that is not there is a wrong command line.
pub(crate) fn read_named(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            UsageError(format!("cannot read {}: {error}", path.display())).into()
        }
        _ => anyhow::Error::from(error).context(format!("cannot read {}", path.display())),
    })
}

/// Reads a `run.json`.
pub(crate) fn read_run(path: &Path) -> anyhow::Result<StoredRun> {
    let bytes = read_named(path)?;
    let run =
        serde_json::from_slice(&bytes).map_err(|error| InvalidInput(format!("{} is not a run of this format: {error}", path.display())))?;
    Ok(StoredRun { path: path.to_owned(), sha256: hex::encode(Sha256::digest(&bytes)), run })
}

/// Every run below a folder, sorted by path.
pub(crate) fn read_runs(folder: &Path) -> anyhow::Result<Vec<StoredRun>> {
    find_runs(folder)?.iter().map(|path| read_run(path)).collect()
}

/// Reads a registry; an empty one where the file does not exist.
pub(crate) fn read_registry(path: &Path) -> anyhow::Result<Registry> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Registry::parse(&text).map_err(|error| InvalidInput(format!("{}: {error}", path.display())))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Registry::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads maintainers' decisions; none where the file does not exist.
pub(crate) fn read_decisions(path: &Path) -> anyhow::Result<Vec<Decision>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)
            .map_err(|error| InvalidInput(format!("{} is not a list of decisions: {error}", path.display())))?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads a submission file as far as its schema goes; its findings are for `validate`.
pub(crate) fn read_submission(path: &Path) -> anyhow::Result<Submission> {
    let bytes = read_named(path)?;
    submission::read(&bytes, InputKind::File).submission().ok_or_else(|| {
        let path = path.display();
        InvalidInput(format!("{path} is not a valid submission; `slm-bench validate {path}` says what is wrong")).into()
    })
}

/// Documents' values of the runs that the leaderboard compares: from `run.json` where the registry says it is, below the nearest folder above
/// the registry that has it, and only where it is the file that the registry knows by its digest.
///
/// # Errors
/// A run that is there and cannot be read.
pub(crate) fn item_scores(registry: &Registry, registry_path: &Path, pillars: &[PillarSpec]) -> anyhow::Result<ItemScores> {
    let registry_path = std::path::absolute(registry_path).context("no absolute path")?;
    let mut items = ItemScores::default();
    for summary in paired_runs(registry) {
        let Some(path) = registry_path.ancestors().skip(1).map(|root| root.join(&summary.path)).find(|path| path.is_file()) else {
            continue;
        };
        let stored = read_run(&path)?;
        if stored.sha256 == summary.sha256 {
            items.add(&stored.run, pillars);
        }
    }
    Ok(items)
}

/// `1 run`, `2 runs`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
