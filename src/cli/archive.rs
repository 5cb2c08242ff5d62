//! `slm-bench archive`: a dated snapshot of results with the digests of its files.
//!
//! The snapshot's name is the day of the latest run and a digest of the content: archiving the same results again changes nothing.
//! `sha256sum -c SHA256SUMS` checks a snapshot without this program.

use super::artifact_files::{self, counted};
use super::{InvalidInput, Outcome, sign::SIGNATURE};
use crate::evaluation::write_atomically;
use anyhow::{Context, bail};
use clap::Args;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the digest list.
const DIGESTS: &str = "SHA256SUMS";

/// Arguments of `archive`.
#[derive(Args)]
pub(super) struct ArchiveArguments {
    /// Folder below which the runs are
    #[arg(long, value_name = "FOLDER", default_value = "results/raw")]
    results: PathBuf,
    /// Folder in which the snapshot is made
    #[arg(long, value_name = "FOLDER", default_value = "results/archives")]
    archive_dir: PathBuf,
}

/// Runs `archive`.
///
/// # Errors
/// Where there is no run, a file cannot be read, or the snapshot cannot be written; an unfinished snapshot is removed.
pub(super) fn run(arguments: &ArchiveArguments) -> anyhow::Result<Outcome> {
    let runs = artifact_files::read_runs(&arguments.results)?;
    let Some(latest) = runs.iter().map(|stored| stored.run.finished_at).max() else {
        let folder = arguments.results.display();
        return Err(InvalidInput(format!("there is no run below {folder}; `slm-bench run` makes one")).into());
    };
    let mut files = Vec::new();
    for stored in &runs {
        files.push(stored.path.clone());
        files.extend(stored.run.samples.iter().map(|sample| stored.folder().join(&sample.file)));
        // Who signed a run can be checked in the snapshot too.
        files.extend(Some(stored.folder().join(SIGNATURE)).filter(|path| path.is_file()));
    }
    files.sort();
    let digests = digest_list(&arguments.results, &files)?;
    let fingerprint = hex::encode(&Sha256::digest(&digests)[..6]);
    let target = arguments.archive_dir.join(format!("{}-{fingerprint}", latest.format("%Y-%m-%d")));
    if target.join(DIGESTS).is_file() {
        println!("{}: this snapshot is already there", target.display());
        return Ok(Outcome::Done);
    }
    if target.exists() {
        bail!("{} is there without {DIGESTS}: it is not a snapshot; move it away", target.display());
    }
    fs::create_dir_all(&arguments.archive_dir).with_context(|| format!("cannot create the folder {}", arguments.archive_dir.display()))?;
    // Removed on drop unless it has got its name.
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempdir_in(&arguments.archive_dir)
        .with_context(|| format!("cannot write in {}", arguments.archive_dir.display()))?;
    for file in &files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        write_atomically(&unfinished.path().join(relative(&arguments.results, file)?), &content)?;
    }
    write_atomically(&unfinished.path().join(DIGESTS), digests.as_bytes())?;
    make_readable(unfinished.path())?;
    fs::rename(unfinished.path(), &target).with_context(|| format!("cannot create {}", target.display()))?;
    println!("{}: {}, {}", target.display(), counted(runs.len(), "run"), counted(files.len(), "file"));
    Ok(Outcome::Done)
}

/// Lines as `sha256sum` writes them, sorted by path.
fn digest_list(root: &Path, files: &[PathBuf]) -> anyhow::Result<String> {
    let mut list = String::new();
    for file in files {
        let content =
            fs::read(file).with_context(|| format!("cannot read {}; `slm-bench verify` says what else is missing", file.display()))?;
        let path = relative(root, file)?;
        let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        let _ = writeln!(list, "{}  {path}", hex::encode(Sha256::digest(&content)));
    }
    Ok(list)
}

/// The path below the results folder; a sample file that a run places outside of it is refused.
fn relative(root: &Path, file: &Path) -> anyhow::Result<PathBuf> {
    let path = file.strip_prefix(root).ok().filter(|path| path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
    Ok(path.ok_or_else(|| InvalidInput(format!("{} is not below {}", file.display(), root.display())))?.to_owned())
}

/// Temporary folders are readable by their owner alone; archives are meant to be read.
#[cfg(unix)]
fn make_readable(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot set the permissions of {}", folder.display()))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> anyhow::Result<()> {
    Ok(())
}
