//! `slm-bench merge`: joins the shards of one run.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome};
use crate::benchmark::registry;
use crate::evaluation::write_atomically;
use crate::leaderboard::audit::audit_run;
use crate::leaderboard::canonical;
use crate::leaderboard::merge::merge;
use crate::leaderboard::run::{Run, TaskStatus};
use crate::submission;
use anyhow::Context;
use clap::Args;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// Arguments of `merge`.
#[derive(Args)]
pub(super) struct MergeArguments {
    /// Folder for the joined run, such as results/raw
    #[arg(long, value_name = "FOLDER")]
    output_dir: PathBuf,
    /// Folders below which the shards' run.json are
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<PathBuf>,
}

/// Runs `merge`.
///
/// # Errors
/// Where shards are of different runs or contradict each other, a file is not the one that `run.json` names, or nothing can be written.
pub(super) fn run(arguments: &MergeArguments) -> anyhow::Result<Outcome> {
    let mut stored: Vec<StoredRun> = Vec::new();
    for folder in &arguments.shards {
        let found = artifact_files::read_runs(folder)?;
        if found.is_empty() {
            return Err(InvalidInput(format!("there is no run.json below {}", folder.display())).into());
        }
        stored.extend(found);
    }
    let suite = &stored[0].run.suite;
    let pillars = artifact_files::pillars_of(&suite.name, Some(&suite.version))
        .ok_or_else(|| InvalidInput(format!("suite {} {} is not known to this program", suite.name, suite.version)))?;
    for shard in &stored {
        if let Some(first) = audit_run(&shard.run, Some(&pillars)).first() {
            return Err(InvalidInput(format!("{}: {} {}", shard.path.display(), first.pointer, first.message)).into());
        }
    }
    let shards: Vec<Run> = stored.iter().map(|stored| stored.run.clone()).collect();
    let leaves = |task: &str| -> Vec<String> {
        registry::leaves(task).map(|leaves| leaves.iter().map(|leaf| leaf.spec().name.clone()).collect()).unwrap_or_default()
    };
    let merged = merge(&shards, &pillars, leaves).map_err(|error| InvalidInput(error.to_string()))?;

    let folder = arguments.output_dir.join(submission::slug(&merged.run.model.hf_repo)).join(&merged.run.run_id);
    for (sample, owner) in merged.run.samples.iter().zip(&merged.owners) {
        let source = stored[*owner].folder().join(&sample.file);
        let content = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if hex::encode(Sha256::digest(&content)) != sample.sha256 {
            return Err(InvalidInput(format!("{} is not the file that run.json names: its SHA-256 differs", source.display())).into());
        }
        write_atomically(&folder.join(&sample.file), &content)?;
    }
    // Last, so that a run.json never names files that are not there yet.
    let path = folder.join("run.json");
    write_atomically(&path, canonical::to_pretty(&merged.run)?.as_bytes())?;
    let open: Vec<&String> = merged.run.identity.tasks.keys().filter(|task| !merged.run.tasks.contains_key(*task)).collect();
    println!("{}: {} shards, {} tasks", path.display(), stored.len(), merged.run.tasks.len());
    if !open.is_empty() {
        println!("no shard has {}", open.into_iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let complete = merged.run.tasks.values().all(|task| task.status == TaskStatus::Ok);
    Ok(if complete { Outcome::Done } else { Outcome::Partial })
}
