//! `queued` → `evaluating` → `evaluated`.

use super::leases::Held;
use super::publish::submission_of;
use super::{Details, Halt, Worker};
use crate::bot::executor::{Handle, Order, Status};
use crate::bot::publication::read_finished;
use crate::bot::store::{Change, Job, JobState, Lane, StoreError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often an evaluation on this machine is looked at.
const LOOK_HERE: Duration = Duration::from_millis(500);
/// How often one elsewhere is: each look costs a call to GitHub.
const LOOK_ELSEWHERE: Duration = Duration::from_secs(20);
/// How often progress is written into the status comment.
const SHOW_PROGRESS_EVERY: Duration = Duration::from_mins(1);
/// How often progress is written into the store, for the queue page.
const KEEP_PROGRESS_EVERY: Duration = Duration::from_secs(2);

impl Worker {
    /// Takes one job through its evaluation.
    pub(super) fn next_evaluation(&self) -> Result<bool, StoreError> {
        let Some((lease, job)) = self.parts.store.claim(&self.name, Lane::Evaluation, self.now(), self.leases.length())? else {
            return Ok(false);
        };
        let held = self.leases.hold(lease);
        let done = self.evaluate(&held, job);
        self.settle(&held.lease, done)?;
        Ok(true)
    }

    fn evaluate(&self, held: &Held, job: Job) -> Result<(), Halt> {
        let order = self.order(&job)?;
        let stored: Option<Handle> = job.handle.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let found = self.parts.executor.recover(&order, stored.as_ref())?;
        if job.cancel_requested {
            if let Some(handle) = found {
                self.parts.executor.cancel(&order, &handle)?;
            }
            return self.cancelled(held);
        }
        let job = if job.state == JobState::Queued {
            self.parts.store.transition(&held.lease, JobState::Queued, JobState::Evaluating, &Change::default(), self.now())?
        } else {
            job
        };
        let handle = match found {
            Some(handle) => handle,
            None => self.parts.executor.start(&order)?,
        };
        let text = serde_json::to_string(&handle).map_err(|error| Halt::permanent(error.to_string()))?;
        if let Err(error) = self.parts.store.set_handle(&held.lease, Some(&text)) {
            self.parts.executor.cancel(&order, &handle)?;
            return Err(error.into());
        }
        self.show_evaluating(held, job.id);
        self.follow(held, &job, &order, &handle)
    }

    fn order(&self, job: &Job) -> Result<Order, Halt> {
        let work = self.job_folder(job.id);
        std::fs::create_dir_all(&work).map_err(|error| Halt::transient(format!("cannot make the work folder: {error}")))?;
        let submission = job.submission.clone().ok_or_else(|| Halt::permanent("the store has no submission for this job"))?;
        Ok(Order { job: job.id, issue: job.issue, body_hash: job.body_hash.clone(), submission, suite: job.suite.clone(), work })
    }

    /// Follows an evaluation to its end.
    fn follow(&self, held: &Held, job: &Job, order: &Order, handle: &Handle) -> Result<(), Halt> {
        let pause = match handle {
            Handle::Local { .. } => LOOK_HERE,
            Handle::Actions { .. } => LOOK_ELSEWHERE,
        };
        let (mut kept, mut shown) = (Instant::now(), Instant::now());
        loop {
            if self.parts.signal.is_stopped() {
                // One on this machine would be an orphan; its answers are kept. One elsewhere goes on.
                if matches!(handle, Handle::Local { .. }) {
                    self.parts.executor.cancel(order, handle)?;
                }
                return Err(Halt::Stopped);
            }
            if held.is_lost() {
                self.parts.executor.cancel(order, handle)?;
                return Err(Halt::Superseded);
            }
            if held.cancel_requested() {
                self.parts.executor.cancel(order, handle)?;
                return self.cancelled(held);
            }
            match self.parts.executor.poll(order, handle)? {
                Status::Running(progress) => {
                    if progress.is_some() && kept.elapsed() >= KEEP_PROGRESS_EVERY {
                        kept = Instant::now();
                        self.parts.store.set_progress(&held.lease, progress.as_ref())?;
                    }
                    if shown.elapsed() >= SHOW_PROGRESS_EVERY {
                        shown = Instant::now();
                        self.show_evaluating(held, job.id);
                    }
                }
                Status::Finished { .. } => return self.finished(held, job, order, handle),
                Status::Failed(failure) => {
                    self.parts.executor.forget(handle);
                    return Err(Halt::Failed { failure, not_before: None });
                }
                Status::Lost => return Err(Halt::transient("the evaluation is gone; it is started again and goes on where it stopped")),
            }
            self.parts.signal.wait(pause);
        }
    }

    fn cancelled(&self, held: &Held) -> Result<(), Halt> {
        self.parts.store.transition(&held.lease, JobState::Evaluating, JobState::Cancelled, &Change::default(), self.now())?;
        Ok(())
    }

    fn finished(&self, held: &Held, job: &Job, order: &Order, handle: &Handle) -> Result<(), Halt> {
        let submission = submission_of(job)?;
        let folders: Vec<PathBuf> = self.parts.executor.collect(order, handle)?;
        let mut run_ids = Vec::new();
        for folder in &folders {
            run_ids.push(read_finished(folder, &submission)?.run.run_id);
        }
        if run_ids.is_empty() {
            return Err(Halt::permanent("the evaluation ended without a run"));
        }
        let change = Change { run_ids: Some(run_ids), ..Change::default() };
        self.parts.store.transition(&held.lease, JobState::Evaluating, JobState::Evaluated, &change, self.now())?;
        self.parts.executor.forget(handle);
        Ok(())
    }

    /// Shows that the evaluation is under way, and how far. That GitHub does not answer is no reason to stop evaluating.
    fn show_evaluating(&self, held: &Held, id: i64) {
        let show = || -> Result<(), Halt> {
            let job = self.parts.store.job(id)?;
            let text = self.status_of(&job, JobState::Evaluating, &Details::of(&job)?)?;
            self.show_on_issue(held, &job, JobState::Evaluating, &text)?;
            self.parts.store.mark_shown(&held.lease, JobState::Evaluating)?;
            Ok(())
        };
        if let Err(Halt::Failed { failure, .. }) = show() {
            tracing::warn!(job = id, reason = failure.message, "the issue does not show how far the evaluation is");
        }
    }
}
