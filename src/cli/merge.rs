//! `slm-bench merge`: joins the shards of one run.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome};
use crate::benchmark::{probes, registry};
use crate::evaluation::{probe_figures, write_atomically};
use crate::leaderboard::audit::audit_run;
use crate::leaderboard::canonical;
use crate::leaderboard::merge::merge;
use crate::leaderboard::run::{Run, SampleFile, TaskStatus};
use crate::submission;
use anyhow::Context;
use clap::Args;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `merge`.
///
/// Shards have their run id in common: `run --tasks a` here and `run --tasks b` there. Where the output folder holds a part of the same run
/// already, it is joined too. Quantizations are runs of their own and are joined each for itself.
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
    let mut complete = true;
    for joined in join_shards(&arguments.output_dir, &arguments.shards)? {
        println!("{}: {} shards, {} tasks", joined.folder.join("run.json").display(), joined.shards, joined.tasks);
        if !joined.missing.is_empty() {
            println!("no shard has {}", joined.missing.join(", "));
        }
        complete &= joined.every_task_scored;
    }
    Ok(if complete { Outcome::Done } else { Outcome::Partial })
}

/// What shards were joined to.
pub(crate) struct JoinedRun {
    /// Folder of the run.
    pub(crate) folder: PathBuf,
    /// Number of shards, what was in the output folder before included.
    pub(crate) shards: usize,
    /// Number of tasks.
    pub(crate) tasks: usize,
    /// Tasks of the run that no shard has.
    pub(crate) missing: Vec<String>,
    /// Whether every task that some shard has got a score.
    pub(crate) every_task_scored: bool,
}

/// Joins the runs below the shards' folders, each quantization for itself, and writes them below the output folder.
///
/// # Errors
/// As `slm-bench merge`.
pub(crate) fn join_shards(output: &Path, shards: &[PathBuf]) -> anyhow::Result<Vec<JoinedRun>> {
    let mut by_quantization: BTreeMap<String, Vec<StoredRun>> = BTreeMap::new();
    for folder in shards {
        let found = artifact_files::read_runs(folder)?;
        if found.is_empty() {
            return Err(InvalidInput(format!("there is no run.json below {}", folder.display())).into());
        }
        for shard in found {
            by_quantization.entry(shard.run.model.quantization.name.clone()).or_default().push(shard);
        }
    }
    // Everything is checked before anything is written.
    let joined: Vec<Joined> = by_quantization.into_values().map(|shards| join(output, shards)).collect::<anyhow::Result<_>>()?;
    joined.iter().map(Joined::write).collect()
}

/// A run put together, not yet written.
struct Joined {
    folder: PathBuf,
    run: Run,
    shards: usize,
    /// Where each sample file comes from, parallel to `run.samples`.
    sources: Vec<PathBuf>,
}

fn join(output: &Path, mut stored: Vec<StoredRun>) -> anyhow::Result<Joined> {
    let folder = output.join(submission::slug(&stored[0].run.model.hf_repo)).join(&stored[0].run.run_id);
    let present = folder.join("run.json");
    if present.is_file() {
        stored.push(artifact_files::read_run(&present)?);
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
        let leaves = probes::probe(task).map_or_else(|| registry::leaves(task).unwrap_or_default(), probes::Probe::leaves);
        leaves.iter().map(|leaf| leaf.spec().name.clone()).collect()
    };
    let mut merged = merge(&shards, &pillars, leaves).map_err(|error| InvalidInput(error.to_string()))?;
    merged.run.informational.probes = probe_figures(&merged.run);

    let mut sources = Vec::new();
    for (sample, owner) in merged.run.samples.iter().zip(&merged.owners) {
        let source = stored[*owner].folder().join(&sample.file);
        intact(&source, sample)?;
        sources.push(source);
    }
    Ok(Joined { folder, run: merged.run, shards: stored.len(), sources })
}

/// The bytes of a sample file that is as `run.json` says.
fn intact(path: &Path, sample: &SampleFile) -> anyhow::Result<Vec<u8>> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if hex::encode(Sha256::digest(&content)) != sample.sha256 {
        return Err(InvalidInput(format!("{} is not the file that run.json names: its SHA-256 differs", path.display())).into());
    }
    Ok(content)
}

impl Joined {
    fn write(&self) -> anyhow::Result<JoinedRun> {
        for (sample, source) in self.run.samples.iter().zip(&self.sources) {
            write_atomically(&self.folder.join(&sample.file), &intact(source, sample)?)?;
        }
        // Last, so that a run.json never names files that are not there yet.
        let path = self.folder.join("run.json");
        write_atomically(&path, canonical::to_pretty(&self.run)?.as_bytes())?;
        let missing = self.run.identity.tasks.keys().filter(|task| !self.run.tasks.contains_key(*task)).cloned().collect();
        Ok(JoinedRun {
            folder: self.folder.clone(),
            shards: self.shards,
            tasks: self.run.tasks.len(),
            missing,
            every_task_scored: self.run.tasks.values().all(|task| task.status == TaskStatus::Ok),
        })
    }
}
