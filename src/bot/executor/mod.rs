//! Where evaluations run: behind one trait, so that a machine of one's own and runners elsewhere look alike to the bot.

mod actions;
mod local;
mod process;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

pub use actions::{ActionsConfig, ActionsExecutor};
pub use local::{LocalConfig, LocalExecutor};
pub(in crate::bot) use process::end_this_process;

use crate::bot::store::Failure;
use crate::evaluation::RunProgress;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One evaluation to be done. The same order gives the same artifacts, wherever and however often it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number of the job; with `body_hash` the name of the evaluation, also outside.
    pub job: i64,
    /// Number of the issue.
    pub issue: u64,
    /// SHA-256 of the issue body that was approved, hexadecimal.
    pub body_hash: String,
    /// The checked submission, YAML: all that reaches the evaluation.
    pub submission: String,
    /// Suite to evaluate.
    pub suite: String,
    /// Folder of this job alone, kept from attempt to attempt; artifacts end up in [`Order::results`].
    pub work: PathBuf,
}

impl Order {
    /// Folder below which the run folders `<model-slug>/<run-id>/` are found once [`Executor::collect`] has returned.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.work.join("results")
    }
}

/// What finds a started evaluation again, also after a restart of the server; stored with the job as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "executor", rename_all = "snake_case")]
pub enum Handle {
    /// A child process of a server on this machine.
    Local {
        /// Process id, which is also the id of its process group.
        pid: u32,
        /// When the process began, in clock ticks since the machine started: tells it from a later process of the same id.
        started: u64,
        /// Which start of the machine this was.
        boot: String,
    },
    /// A workflow run on GitHub Actions.
    Actions {
        /// Id of the workflow run.
        run: u64,
    },
}

/// How an evaluation is.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Under way.
    Running(Option<RunProgress>),
    /// Ended, with complete artifacts to be collected. `partial`: some task has no score.
    Finished {
        /// Whether some task has no score.
        partial: bool,
    },
    /// Ended without result.
    Failed(Failure),
    /// Nobody knows of it (any more): it must be started again, which goes on where it stopped.
    Lost,
}

/// Runs evaluations. All calls block for seconds at most and are made from a thread on which that is allowed (`spawn_blocking`); an
/// executor that speaks to a service keeps a handle of the runtime and waits on it.
///
/// The bot's way with it: on every claim of a job [`Executor::recover`]; when that finds nothing, [`Executor::start`], and the handle is
/// stored; [`Executor::poll`] until the end; [`Executor::collect`]. A handle that was lost between start and store is found again by
/// `recover`.
pub trait Executor: Send + Sync {
    /// Name in the configuration, in logs and on the queue page, such as `local`.
    fn name(&self) -> &'static str;

    /// Finds what an earlier attempt left running, by the order and the handle that was stored, if one was. Gives the handle of an evaluation
    /// that goes on and can be polled. What runs but cannot be followed any more is stopped, so that nothing runs twice.
    ///
    /// # Errors
    /// It cannot be told; nothing may be started then.
    fn recover(&self, order: &Order, handle: Option<&Handle>) -> Result<Option<Handle>, Failure>;

    /// Starts the evaluation, or goes on with the unfinished one in `order.work`.
    ///
    /// # Errors
    /// It was not started.
    fn start(&self, order: &Order) -> Result<Handle, Failure>;

    /// How the evaluation is. Once it has ended, every call gives the same answer until [`Executor::forget`].
    ///
    /// # Errors
    /// It cannot be told now; the evaluation may go on.
    fn poll(&self, order: &Order, handle: &Handle) -> Result<Status, Failure>;

    /// Stops the evaluation and everything that it started; returns when nothing of it runs any more. What was answered is kept in
    /// `order.work`. Stopping what has ended does nothing.
    ///
    /// # Errors
    /// It may still run.
    fn cancel(&self, order: &Order, handle: &Handle) -> Result<(), Failure>;

    /// Brings the artifacts below [`Order::results`] and gives the folders of the complete runs, sorted.
    ///
    /// # Errors
    /// There are none, or they cannot be brought here.
    fn collect(&self, order: &Order, handle: &Handle) -> Result<Vec<PathBuf>, Failure>;

    /// Lets go of what is remembered about an evaluation that has ended and was recorded.
    fn forget(&self, _handle: &Handle) {}
}
