//! Joins the shards of one run: parts of its tasks, evaluated by several commands or machines.

use super::audit::differences;
use super::energy;
use super::pillars::{PillarSpec, summarise};
use super::run::{Run, SampleFile, TaskStatus};

/// Why shards cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// There is nothing to join.
    #[error("no shard was given")]
    Nothing,
    /// The shards are of different runs.
    #[error("the shards are of different runs: {pointer} {message} in the first shard's identity")]
    OtherRun {
        /// JSON pointer into `identity`.
        pointer: String,
        /// How the two differ.
        message: String,
    },
    /// Two shards have a result of one task, and the results differ.
    #[error("two shards have results of {task} that differ ({pointer}): keep the one that can be trusted")]
    Contradiction {
        /// The task.
        task: String,
        /// Where the results differ.
        pointer: String,
    },
}

/// The joined run, and for each of its sample files the index of the shard that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The run.
    pub run: Run,
    /// Indices into the shards, parallel to `run.samples`.
    pub owners: Vec<usize>,
}

/// Joins shards, in any order. A task that one shard has finished and another has failed is taken as finished; two results of one task must
/// have the same answers. `pillars` are those of the run's suite. `leaves` gives the names of the sample files of a task or probe. The figures
/// of the probes are left for the caller, who knows which task has which.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(shards: &[Run], pillars: &[PillarSpec], leaves: impl Fn(&str) -> Vec<String>) -> Result<Merged, MergeError> {
    // The order of the arguments must not show in the result.
    let mut order: Vec<usize> = (0..shards.len()).collect();
    order.sort_by(|a, b| key(&shards[*a]).cmp(&key(&shards[*b])));
    let first = *order.first().ok_or(MergeError::Nothing)?;
    let mut run = shards[first].clone();
    run.tasks.clear();
    run.probes.clear();
    run.informational.probes = None;
    run.samples.clear();
    let mut files: Vec<(SampleFile, usize)> = Vec::new();
    for &index in &order {
        let shard = &shards[index];
        if let Some(difference) = differences("", &shards[first].identity, &shard.identity).into_iter().next() {
            return Err(MergeError::OtherRun { pointer: difference.pointer, message: difference.message });
        }
        run.started_at = run.started_at.min(shard.started_at);
        run.finished_at = run.finished_at.max(shard.finished_at);
        run.requested.extend(shard.requested.iter().cloned());
        let tasks = shard.tasks.iter().map(|(name, task)| (name, task, false));
        let probes = shard.probes.iter().map(|(name, probe)| (name, probe, true));
        for (name, task, is_probe) in tasks.chain(probes) {
            let joined = if is_probe { &mut run.probes } else { &mut run.tasks };
            let samples: Vec<SampleFile> =
                leaves(name).iter().filter_map(|leaf| shard.samples.iter().find(|s| s.task == *leaf)).cloned().collect();
            if let Some(known) = joined.get(name) {
                let answers: Vec<&SampleFile> =
                    files.iter().map(|(file, _)| file).filter(|file| samples.iter().any(|s| s.task == file.task)).collect();
                match (known.status == TaskStatus::Ok, task.status == TaskStatus::Ok) {
                    (true, true)
                        if samples
                            .iter()
                            .any(|sample| answers.iter().any(|known| known.task == sample.task && known.sha256 != sample.sha256)) =>
                    {
                        return Err(MergeError::Contradiction { task: name.clone(), pointer: format!("/tasks/{name}") });
                    }
                    (false, true) => {}
                    _ => continue,
                }
            }
            files.retain(|(file, _)| !samples.iter().any(|sample| sample.task == file.task));
            files.extend(samples.into_iter().map(|sample| (sample, index)));
            joined.insert(name.clone(), task.clone());
        }
        let (mine, theirs) = (&mut run.informational, &shard.informational);
        mine.long_context = joined_grids(mine.long_context.take(), theirs.long_context.as_ref());
        mine.edge = mine.edge.take().or_else(|| theirs.edge.clone());
        mine.energy = match (mine.energy.take(), &theirs.energy) {
            (Some(mine), Some(theirs)) => Some(energy::join(&mine, theirs)),
            (mine, theirs) => mine.or_else(|| theirs.clone()),
        };
    }
    run.requested.sort();
    run.requested.dedup();
    (run.pillars, run.aggregate) = summarise(pillars, &run.tasks);
    files.sort();
    let owners = files.iter().map(|(_, owner)| *owner).collect();
    run.samples = files.into_iter().map(|(file, _)| file).collect();
    Ok(Merged { run, owners })
}

/// The grids of both shards: each long-context task has grids of its own, and may have been in another shard.
fn joined_grids(mine: Option<serde_json::Value>, theirs: Option<&serde_json::Value>) -> Option<serde_json::Value> {
    let Some(mut joined) = mine else { return theirs.cloned() };
    let further = theirs.and_then(|theirs| theirs.get("grids")).and_then(serde_json::Value::as_object);
    if let (Some(grids), Some(further)) = (joined.get_mut("grids").and_then(serde_json::Value::as_object_mut), further) {
        for (kind, grid) in further {
            grids.entry(kind.clone()).or_insert_with(|| grid.clone());
        }
    }
    Some(joined)
}

fn key(run: &Run) -> (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>, Vec<&String>) {
    (run.started_at, run.finished_at, run.tasks.keys().collect())
}
