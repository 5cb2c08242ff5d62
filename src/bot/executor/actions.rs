//! Evaluations on GitHub Actions: one dispatched workflow run, one job of it for each shard of tasks, their artifacts joined here.
//!
//! The workflow gets the checked submission, the suite and the tasks of each job. Its run is found again by its title, which names the
//! evaluation, so that a dispatch whose answer was lost is not done twice; jobs that failed are run again without those that did not.

use super::{Executor, Handle, Order, Status};
use crate::benchmark::suites::Suite;
use crate::bot::store::{Failure, FailureKind};
use crate::cli::merge::join_shards;
use crate::evaluation::{RunProgress, write_atomically};
use crate::github::{self, Artifact, Client, Job, WorkflowRun};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime;

/// The workflow's step that fails where the model itself is at fault: another attempt would fail alike.
const REFUSAL: &str = "Refuse the model";
/// Artifacts of the shards begin with this.
const SHARD: &str = "shard-";
/// Times that a new run or attempt is looked for before it counts as not there.
const LOOKS: u32 = 5;
/// Longest text of all inputs of a dispatch that GitHub takes, in characters.
const LONGEST_INPUTS: usize = 65_535;
/// Failed jobs that a message names.
const NAMED_JOBS: usize = 10;
/// A run may wait for a runner so long before its own time begins.
const WAIT_FOR_RUNNERS: Duration = Duration::from_hours(48);

/// How evaluations are dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionsConfig {
    /// File name of the workflow, such as `evaluate.yml`.
    pub workflow: String,
    /// Branch or tag whose workflow runs.
    pub reference: String,
    /// Jobs that one evaluation is split into; at most one for each task.
    pub shards: usize,
    /// Longest time of one evaluation once it runs.
    pub wall: Duration,
    /// Largest artifact, packed or unpacked, in bytes.
    pub largest_artifact: u64,
    /// Pause between looks for a run that was just started.
    pub pause: Duration,
}

/// Runs evaluations as workflow runs.
pub struct ActionsExecutor {
    github: Client,
    runtime: runtime::Handle,
    config: ActionsConfig,
}

/// What was brought here of a run, in the work folder: written last.
#[derive(Serialize, Deserialize)]
struct Brought {
    run: u64,
    attempt: u64,
    partial: bool,
    folders: Vec<PathBuf>,
}

impl ActionsExecutor {
    /// Makes an executor that waits for GitHub's answers on `runtime`.
    #[must_use]
    pub fn new(github: Client, runtime: runtime::Handle, config: ActionsConfig) -> Self {
        Self { github, runtime, config }
    }

    fn ask<T>(&self, call: impl Future<Output = Result<T, github::Error>>) -> Result<T, github::Error> {
        self.runtime.block_on(call)
    }

    /// The newest run of this evaluation that is under way or succeeded.
    fn find(&self, order: &Order) -> Result<Option<WorkflowRun>, Failure> {
        let age = self.config.wall + WAIT_FOR_RUNNERS;
        let since = chrono::Utc::now() - age;
        let runs = self.ask(self.github.workflow_runs(&self.config.workflow, since))?;
        let name = evaluation(order);
        let is_ours = |run: &WorkflowRun| run.display_title.split_whitespace().last() == Some(name.as_str());
        Ok(runs.into_iter().find(|run| is_ours(run) && (!run.is_completed() || run.has_succeeded())))
    }

    /// Looks for a run that may have been started just now: listings lag behind.
    fn find_soon(&self, order: &Order) -> Result<Option<WorkflowRun>, Failure> {
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(self.config.pause);
            }
            if let Some(run) = self.find(order)? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Runs what failed of a run once more.
    fn run_again(&self, run: &WorkflowRun) -> Result<(), Failure> {
        self.ask(self.github.rerun_failed_jobs(run.id))?;
        for _ in 0..LOOKS {
            let now = self.ask(self.github.workflow_run(run.id))?;
            if now.run_attempt > run.run_attempt || !now.is_completed() {
                return Ok(());
            }
            std::thread::sleep(self.config.pause);
        }
        Err(Failure::transient(format!("GitHub does not begin the failed jobs of {} again", run.html_url)))
    }

    fn progress(&self, run: &WorkflowRun) -> Option<RunProgress> {
        // Progress is for showing only: where it cannot be told, the evaluation goes on all the same.
        let jobs = self.ask(self.github.jobs(run.id)).ok().filter(|jobs| !jobs.is_empty())?;
        let done = jobs.iter().filter(|job| job.status == "completed").count() as u64;
        let total = jobs.len() as u64;
        let under_way = jobs.iter().find(|job| job.status == "in_progress");
        Some(RunProgress {
            quantization: 1,
            quantizations: 1,
            task: under_way.map_or_else(|| "waiting for a runner".to_owned(), |job| job.name.clone()),
            task_number: (done + 1).min(total),
            tasks: total,
            done,
            total,
            eta_s: None,
            score: None,
        })
    }

    /// Downloads and joins the shards of a run that succeeded; what is here already is not fetched again.
    fn bring(&self, order: &Order, run: &WorkflowRun) -> Result<Brought, Failure> {
        let note = order.work.join("actions.json");
        let kept = std::fs::read(&note).ok().and_then(|text| serde_json::from_slice::<Brought>(&text).ok());
        if let Some(kept) =
            kept.filter(|kept| kept.run == run.id && kept.attempt == run.run_attempt && kept.folders.iter().all(|folder| folder.is_dir()))
        {
            return Ok(kept);
        }
        let shards = newest(self.ask(self.github.artifacts(run.id)).map_err(Failure::from)?);
        if shards.is_empty() {
            return Err(Failure::permanent(format!("the workflow run {} left no artifact {SHARD}…", run.html_url)));
        }
        let folder = order.work.join("shards").join(format!("{}-{}", run.id, run.run_attempt));
        let mut folders = Vec::new();
        for (name, artifact) in &shards {
            let target = folder.join(name);
            // A folder appears whole or not at all: one that is there was fetched before a restart.
            if !target.is_dir() {
                self.ask(self.github.download_artifact(artifact, &target, self.config.largest_artifact)).map_err(Failure::from)?;
            }
            folders.push(target);
        }
        // What an earlier attempt joined may be of other shards.
        clear(&order.results())?;
        // Its words may hold paths of this machine: they are for the log, not for the issue.
        let joined = join_shards(&order.results(), &folders).map_err(|error| {
            tracing::error!(job = order.job, "the shards cannot be joined: {error:#}");
            Failure::permanent(format!("the shards of the workflow run {} are damaged or contradict each other", run.html_url))
        })?;
        let missing: Vec<&str> = joined.iter().flat_map(|run| &run.missing).map(String::as_str).collect();
        if !missing.is_empty() {
            return Err(Failure::permanent(format!("no shard of the workflow run {} has {}", run.html_url, missing.join(", "))));
        }
        let mut folders: Vec<PathBuf> = joined.iter().map(|run| run.folder.clone()).collect();
        folders.sort();
        let partial = joined.iter().any(|run| !run.every_task_scored);
        let brought = Brought { run: run.id, attempt: run.run_attempt, partial, folders };
        let text = serde_json::to_vec(&brought).map_err(|error| Failure::permanent(error.to_string()))?;
        write_atomically(&note, &text).map_err(|error| on_disk("writing", &note, &error))?;
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::warn!(folder = %folder.display(), %error, "cannot remove shards that were joined");
        }
        Ok(brought)
    }

    /// Why a run that is over did not succeed, with the jobs that failed.
    fn explain(&self, run: &WorkflowRun) -> Failure {
        let conclusion = run.conclusion.as_deref().unwrap_or("no conclusion");
        let jobs: Vec<Job> = self.ask(self.github.jobs(run.id)).unwrap_or_default();
        if let Some(job) = jobs.iter().find(|job| is_refusal(job)) {
            return Failure::permanent(refusal(run, job));
        }
        let failed = jobs.iter().filter(|job| !matches!(job.conclusion.as_deref(), Some("success" | "skipped")));
        let named: Vec<String> =
            failed.take(NAMED_JOBS).map(|job| format!("{} ({})", job.name, job.conclusion.as_deref().unwrap_or(&job.status))).collect();
        let named = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
        let message = format!("the workflow run {} ended with {conclusion}{named}", run.html_url);
        match conclusion {
            // Runners go away, and come back; the store bounds the attempts.
            "failure" | "stale" => Failure::transient(message),
            _ => Failure::permanent(message),
        }
    }
}

impl Executor for ActionsExecutor {
    fn name(&self) -> &'static str {
        "actions"
    }

    fn recover(&self, order: &Order, handle: Option<&Handle>) -> Result<Option<Handle>, Failure> {
        if let Some(Handle::Actions { run }) = handle {
            match self.ask(self.github.workflow_run(*run)) {
                Ok(found) if !found.is_completed() || found.has_succeeded() => return Ok(Some(Handle::Actions { run: *run })),
                Ok(found) if found.conclusion.as_deref() == Some("failure") => {
                    self.run_again(&found)?;
                    return Ok(Some(Handle::Actions { run: *run }));
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.find(order)?.map(|run| Handle::Actions { run: run.id }))
    }

    fn start(&self, order: &Order) -> Result<Handle, Failure> {
        let shards = shards(&order.suite, self.config.shards)?;
        let shards = serde_json::to_string(&shards).map_err(|error| Failure::permanent(error.to_string()))?;
        let inputs = BTreeMap::from([
            ("evaluation".to_owned(), evaluation(order)),
            ("submission".to_owned(), order.submission.clone()),
            ("suite".to_owned(), order.suite.clone()),
            ("shards".to_owned(), shards),
        ]);
        let size: usize = inputs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
        if size > LONGEST_INPUTS {
            return Err(Failure::permanent(format!("the submission is too long for a workflow: {size} of {LONGEST_INPUTS} characters")));
        }
        match self.ask(self.github.dispatch(&self.config.workflow, &self.config.reference, &inputs)) {
            Ok(Some(run)) => return Ok(Handle::Actions { run }),
            Ok(None) => {}
            Err(error) if error.may_have_happened() => tracing::warn!(%error, "looking whether the workflow was started"),
            Err(error) => return Err(error.into()),
        }
        match self.find_soon(order)? {
            Some(run) => Ok(Handle::Actions { run: run.id }),
            None => Err(Failure::transient(format!("GitHub shows no run of {} for this evaluation", self.config.workflow))),
        }
    }

    fn poll(&self, order: &Order, handle: &Handle) -> Result<Status, Failure> {
        let Handle::Actions { run } = handle else { return Ok(Status::Lost) };
        let run = match self.ask(self.github.workflow_run(*run)) {
            Err(error) if error.is_not_found() => return Ok(Status::Lost),
            run => run?,
        };
        if !run.is_completed() {
            return Ok(Status::Running(self.progress(&run)));
        }
        if !run.has_succeeded() {
            return Ok(Status::Failed(self.explain(&run)));
        }
        match self.bring(order, &run) {
            Ok(brought) => Ok(Status::Finished { partial: brought.partial }),
            Err(failure) if failure.kind == FailureKind::Transient => Err(failure),
            Err(failure) => Ok(Status::Failed(failure)),
        }
    }

    fn cancel(&self, _order: &Order, handle: &Handle) -> Result<(), Failure> {
        let Handle::Actions { run } = handle else { return Ok(()) };
        Ok(self.ask(self.github.cancel_run(*run))?)
    }

    fn collect(&self, order: &Order, handle: &Handle) -> Result<Vec<PathBuf>, Failure> {
        let Handle::Actions { run } = handle else {
            return Err(Failure::permanent("the evaluation was not one of GitHub Actions"));
        };
        let run = self.ask(self.github.workflow_run(*run))?;
        if !run.has_succeeded() {
            return Err(Failure::transient(format!("the workflow run {} has not succeeded", run.html_url)));
        }
        Ok(self.bring(order, &run)?.folders)
    }
}

/// The name of an evaluation outside: of the same text and suite the same, of another one another.
fn evaluation(order: &Order) -> String {
    let hash: String = order.body_hash.chars().take(12).collect();
    format!("issue-{}-job-{}-{hash}-{}", order.issue, order.job, order.suite)
}

/// The tasks of a suite dealt out to so many jobs, each a list separated by commas; no job is without a task.
///
/// # Errors
/// For a suite that does not exist.
fn shards(suite: &str, number: usize) -> Result<Vec<String>, Failure> {
    let suite = Suite::named(suite).map_err(|error| Failure::permanent(error.to_string()))?;
    let names: Vec<&str> = suite.tasks().map(|task| task.name).collect();
    let number = number.clamp(1, names.len().max(1));
    let dealt = |job: usize| names.iter().copied().skip(job).step_by(number).collect::<Vec<_>>().join(",");
    Ok((0..number).map(dealt).collect())
}

/// Whether the model was found unfit by a job.
fn is_refusal(job: &Job) -> bool {
    job.steps.iter().any(|step| step.name == REFUSAL && step.conclusion.as_deref() == Some("failure"))
}

fn refusal(run: &WorkflowRun, job: &Job) -> String {
    format!("the model cannot be evaluated; the log says why: {}", job.html_url.as_deref().unwrap_or(&run.html_url))
}

/// The newest artifact of each shard: an attempt that was repeated leaves a second one.
fn newest(artifacts: Vec<Artifact>) -> BTreeMap<String, Artifact> {
    let mut newest: BTreeMap<String, Artifact> = BTreeMap::new();
    let is_shard = |name: &str| {
        name.strip_prefix(SHARD)
            .is_some_and(|number| !number.is_empty() && number.len() < 6 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    for artifact in artifacts.into_iter().filter(|artifact| is_shard(&artifact.name)) {
        match newest.get(&artifact.name) {
            Some(known) if known.id > artifact.id => {}
            _ => drop(newest.insert(artifact.name.clone(), artifact)),
        }
    }
    newest
}

fn clear(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(on_disk("clearing", folder, &error)),
        _ => Ok(()),
    }
}

/// A failure of the disk: the log names the place, the issue does not.
fn on_disk(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    tracing::error!(path = %path.display(), "{doing}: {error}");
    Failure::transient("the server's disk failed; its log says where".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that no runner can load is not tried again; a runner that went away is.
    #[test]
    fn a_refused_model_is_told_from_a_lost_runner() {
        let job = |steps: serde_json::Value| -> Job {
            let job = serde_json::json!({
                "id": 1, "name": "Shard 0", "status": "completed", "conclusion": "failure", "runner_name": "runner-1", "steps": steps,
                "html_url": "https://github.com/octo-org/leaderboard/actions/runs/1/job/1",
            });
            serde_json::from_value(job).unwrap()
        };
        let step =
            |name: &str, conclusion: &str| serde_json::json!({"name": name, "status": "completed", "conclusion": conclusion, "number": 1});
        assert!(is_refusal(&job(serde_json::json!([step("Evaluate", "success"), step(REFUSAL, "failure")]))));
        assert!(!is_refusal(&job(serde_json::json!([step("Evaluate", "failure"), step(REFUSAL, "skipped")]))));
        assert!(!is_refusal(&job(serde_json::json!([]))));
        // The workflow has a step of that name.
        let workflow = include_str!("../../../.github/workflows/evaluate.yml");
        assert!(workflow.contains(&format!("- name: {REFUSAL}\n")));
    }
}
