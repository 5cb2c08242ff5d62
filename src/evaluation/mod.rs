//! One run: what is asked, in which order, how far it is, what is kept.
//!
//! A run folder, `<output>/<model-slug>/<run-id>/`, holds `run.json`, `samples/<task>.jsonl.zst`, and while tasks are under way
//! `unfinished/`: their journals and the records of finished tasks. Killed at any moment, the run goes on from there with `--resume`.

mod documents;
mod earlier;
mod energy;
mod files;
mod journal;
mod leaf;
mod probes;
mod programs;
mod progress;
mod record;
mod run;
mod samples;

pub use documents::{DocumentSource, HubDocuments, Rows};
pub use energy::EnergyWatch;
pub use files::write_atomically;
pub use probes::probe_figures;
pub use programs::{ProgramRunner, SandboxedPrograms};
pub use progress::{RunLine, RunProgress, Verbosity};
pub use record::{MOST_SAMPLES, group_record, leaf_record, task_of_run};
pub use run::{EDGE_PILLAR, Evaluated, ModelUnderTest, RunFolderError, check, pillar_specs, rewrite, run};
pub use samples::read_samples;

use crate::benchmark::Limit;
use crate::engine::EngineError;
use crate::hub::HubError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the caller decides about a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Suite name.
    pub suite: String,
    /// Tasks to run; empty means all of the suite (or of `pillars`).
    pub tasks: Vec<String>,
    /// Pillars to run; empty means no choice by pillar.
    pub pillars: Vec<String>,
    /// Documents of each (sub)task.
    pub limit: Option<Limit>,
    /// Few-shot examples instead of the tasks' own number.
    pub num_fewshot: Option<usize>,
    /// Seed of the few-shot draws and of everything else that is drawn.
    pub seed: u64,
    /// Prompts as conversations, by the model's chat template.
    pub apply_chat_template: bool,
    /// Go on with an unfinished run of the same id.
    pub resume: bool,
    /// Sampled answers for each document of coding tasks, for pass@k beside the ranked greedy pass@1.
    pub coding_samples: Option<usize>,
    /// Also the probes of the tasks that are run ([`crate::benchmark::probes`]): figures beside the scores, which stay as they are.
    pub probes: bool,
    /// A run folder whose answers are taken over, besides those that lie in the same output folder.
    pub extend: Option<PathBuf>,
}

impl Default for RunOptions {
    /// The suite `standard` as it is, with lm-evaluation-harness's few-shot seed.
    fn default() -> Self {
        Self {
            suite: "standard".to_owned(),
            tasks: Vec::new(),
            pillars: Vec::new(),
            limit: None,
            num_fewshot: None,
            seed: 1234,
            apply_chat_template: false,
            resume: false,
            coding_samples: None,
            probes: false,
            extend: None,
        }
    }
}

/// How a run is watched and stopped.
pub struct Control<'a> {
    /// Where progress goes.
    pub verbosity: Verbosity,
    /// Set by a signal handler: the run stops at the next answer, and `--resume` goes on from there.
    pub stop: &'a AtomicBool,
    /// Energy is read at the tasks' boundaries; `None` where it is not to be measured.
    pub energy: Option<&'a EnergyWatch>,
}

impl Control<'_> {
    /// An error once a stop was asked for.
    fn check(&self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            anyhow::bail!("interrupted; what was answered is kept: run the same command with --resume to go on");
        }
        Ok(())
    }
}

/// Why a task has no score, or why the run ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The task cannot be asked or scored; other tasks can.
    #[error("{0:#}")]
    Task(anyhow::Error),
    /// The task's answers cannot be trusted.
    #[error("{0}")]
    Invalid(String),
    /// The run must stop: interrupted, or the disk fails. What was answered is kept.
    #[error("{0:#}")]
    Stopped(anyhow::Error),
}

impl RunError {
    fn task(error: anyhow::Error) -> Self {
        Self::Task(error)
    }
}

/// Whether a failure may pass by itself, where the kind of its cause tells: the hub's and the disk's troubles may, what the model's files or
/// answers are does not change. `None` for anything else.
#[must_use]
pub fn may_pass(error: &anyhow::Error) -> Option<bool> {
    error.chain().find_map(|cause| {
        if let Some(hub) = cause.downcast_ref::<HubError>() {
            return Some(hub.is_transient() || matches!(hub, HubError::Disk { .. }));
        }
        match cause.downcast_ref::<EngineError>()? {
            EngineError::Load(_) | EngineError::Request(_) | EngineError::NotANumber(_) => Some(false),
            EngineError::Computation(_) => None,
            EngineError::Stopped(_) => Some(true),
        }
    })
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotANumber(reason) => Self::Invalid(reason),
            EngineError::Stopped(reason) => Self::Stopped(reason),
            other => Self::Task(other.into()),
        }
    }
}
