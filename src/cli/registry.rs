//! `slm-bench registry`: folds runs into the registry, takes over rows of the original project's registries.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome};
use crate::evaluation::write_atomically;
use crate::leaderboard::audit::audit_run;
use crate::leaderboard::{Registry, import};
use crate::submission;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Arguments of `registry`.
#[derive(Args)]
pub(super) struct RegistryArguments {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Subcommand)]
enum RegistryCommand {
    /// Fold the runs of a submission into the registry
    Update(UpdateArguments),
    /// Take over the rows of a registry of the original project, as unverified
    Import(ImportArguments),
}

#[derive(Args)]
struct UpdateArguments {
    /// The submission (YAML)
    #[arg(long, value_name = "FILE")]
    submission: PathBuf,
    /// Folder below which the runs are
    #[arg(long, value_name = "FOLDER")]
    results: PathBuf,
    /// The registry; made where it does not exist
    #[arg(long, value_name = "FILE")]
    registry: PathBuf,
    /// Maintainers' decisions [default: decisions.json beside the registry, where there is one]
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
}

#[derive(Args)]
struct ImportArguments {
    /// Registry of the original project (format v1 or v2)
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Our registry; made where it does not exist
    #[arg(long, value_name = "FILE")]
    registry: PathBuf,
}

/// Runs `registry`.
///
/// # Errors
/// Where a file cannot be read or written, a run contradicts itself, or there is no run of the submission.
pub(super) fn run(arguments: &RegistryArguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        RegistryCommand::Update(arguments) => update(arguments),
        RegistryCommand::Import(arguments) => take_over(arguments),
    }
}

fn update(arguments: &UpdateArguments) -> anyhow::Result<Outcome> {
    let submission = artifact_files::read_submission(&arguments.submission)?;
    let (runs, others): (Vec<StoredRun>, Vec<StoredRun>) = (artifact_files::read_runs(&arguments.results)?.into_iter())
        .partition(|stored| stored.run.model.hf_repo.eq_ignore_ascii_case(&submission.hf_repo));
    if runs.is_empty() {
        let (repo, results) = (&submission.hf_repo, arguments.results.display());
        return Err(InvalidInput(format!("no run of {repo} below {results}; `slm-bench run` makes one")).into());
    }
    let mut seen: BTreeMap<&str, &StoredRun> = BTreeMap::new();
    for stored in &runs {
        refuse_contradictions(stored)?;
        if let Some(other) = seen.insert(&stored.run.run_id, stored) {
            let (one, other) = (other.path.display(), stored.path.display());
            return Err(InvalidInput(format!("{one} and {other} are of one run; join its shards with `slm-bench merge` first")).into());
        }
    }
    if !others.is_empty() {
        println!("{} runs of other models below {} are left as they are", others.len(), arguments.results.display());
    }
    let decisions = arguments.decisions.clone().unwrap_or_else(|| arguments.registry.with_file_name("decisions.json"));
    let decisions = artifact_files::read_decisions(&decisions)?;

    let registry = change_registry(&arguments.registry, |registry| {
        registry.upsert_all([(artifact_files::submitted(&submission), runs.iter().map(StoredRun::summary).collect())]);
        registry.decide(&decisions);
        Ok(())
    })?;
    let ranked = registry.models.iter().filter(|entry| entry.rank.is_some()).count();
    if let Some(entry) = registry.models.iter().find(|entry| entry.id == submission.slug()) {
        match (entry.rank, entry.aggregate_score) {
            (Some(rank), Some(score)) => println!("{}: rank {rank} of {ranked}, aggregate {score:.2}", entry.hf_repo),
            (_, Some(score)) => println!("{}: aggregate {score:.2}, not ranked", entry.hf_repo),
            _ => println!("{}: no aggregate, not ranked", entry.hf_repo),
        }
    }
    println!("{}: {} models, {ranked} ranked", arguments.registry.display(), registry.models.len());
    Ok(Outcome::Done)
}

/// A run whose fields contradict each other never enters the registry.
fn refuse_contradictions(stored: &StoredRun) -> anyhow::Result<()> {
    let suite = &stored.run.suite;
    let pillars = artifact_files::pillars_of(&suite.name, Some(&suite.version));
    match audit_run(&stored.run, pillars.as_deref()).first() {
        None => Ok(()),
        Some(first) => {
            let (path, pointer, message) = (stored.path.display(), &first.pointer, &first.message);
            Err(InvalidInput(format!("{path}: {pointer} {message}; `slm-bench verify` lists all differences")).into())
        }
    }
}

fn take_over(arguments: &ImportArguments) -> anyhow::Result<Outcome> {
    let text = fs::read_to_string(&arguments.from).with_context(|| format!("cannot read {}", arguments.from.display()))?;
    let mut report = import::ImportReport::default();
    change_registry(&arguments.registry, |registry| {
        report = import::import(registry, &text, submission::slug)
            .map_err(|error| InvalidInput(format!("{}: {error}", arguments.from.display())))?;
        Ok(())
    })?;
    for (row, reason) in &report.skipped {
        println!("left out {row}: {reason}");
    }
    println!("{} rows came in as unverified, {} were left out", report.imported.len(), report.skipped.len());
    Ok(Outcome::Done)
}

/// Reads the registry, changes it and writes it, with every other change of the same registry waiting until this one is done.
fn change_registry(path: &Path, change: impl FnOnce(&mut Registry) -> anyhow::Result<()>) -> anyhow::Result<Registry> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    // The lock is on the folder: the registry itself is replaced, and a lock file would be one more thing to commit.
    let lock = File::open(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
    lock.lock().with_context(|| format!("cannot lock the folder {}", folder.display()))?;
    let mut registry = artifact_files::read_registry(path)?;
    change(&mut registry)?;
    write_atomically(path, registry.to_json()?.as_bytes())?;
    Ok(registry)
}
