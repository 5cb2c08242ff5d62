//! The status comment and the labels.

use super::leases::Held;
use super::{Details, Halt, Worker};
use crate::bot::status::{LABELS, Shown, Status, Under, Waiting, label_changes, remembered};
use crate::bot::store::{Job, JobState, StoreError};
use crate::github::{Comment, Label};
use crate::submission::Report;
use std::time::Duration;

impl Worker {
    /// Brings one issue up to date.
    pub(super) fn show_next(&self) -> Result<bool, StoreError> {
        let Some((lease, job)) = self.parts.store.claim_unshown(&self.name, self.now(), self.leases.length())? else { return Ok(false) };
        let held = self.leases.hold(lease);
        let shown = self.show(&held, &job);
        self.settle(&held.lease, shown)?;
        Ok(true)
    }

    /// Shows a job's present state on its issue, unless a newer job has taken over the issue.
    pub(super) fn show(&self, held: &Held, job: &Job) -> Result<(), Halt> {
        if self.parts.store.job_of_issue(job.issue)?.is_some_and(|latest| latest.id == job.id) {
            let text = self.status_of(job, job.state, &Details::of(job)?)?;
            self.show_on_issue(held, job, job.state, &text)?;
        }
        self.parts.store.mark_shown(&held.lease, job.state)?;
        Ok(())
    }

    /// The status comment of a job in this state.
    pub(super) fn status_of(&self, job: &Job, state: JobState, details: &Details) -> Result<String, Halt> {
        let empty;
        let report = if let Some(report) = &details.report {
            report
        } else {
            empty = no_report();
            &empty
        };
        let estimate = details.estimate_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let waiting = details.waiting.clone().unwrap_or(Waiting::Approval);
        let progress;
        let shown = match state {
            JobState::Received => Shown::Received,
            JobState::Validated => Shown::Validated { report, waiting: &waiting, estimate },
            JobState::Queued => {
                let slots = usize::try_from(self.parts.config.executor.concurrency.get()).unwrap_or(1);
                let queue = self.parts.store.queue(slots, self.now())?;
                let position = queue.iter().find(|entry| entry.job.id == job.id).map(|entry| entry.position).filter(|place| *place > 0);
                Shown::Queued { report, position, estimate }
            }
            JobState::Evaluating => {
                progress = self.under_way(job)?;
                Shown::Evaluating { report, progress: progress.as_ref() }
            }
            JobState::Evaluated | JobState::Published => Shown::Publishing,
            JobState::Reported => Shown::Reported { results: details.results.as_deref().unwrap_or_default() },
            JobState::Rejected => Shown::Rejected { report, known_results: details.known_results.as_deref() },
            JobState::Failed => Shown::Failed {
                reason: job.error.as_ref().map_or("no reason was recorded", |error| &error.message),
                step: job.failed_from.map_or("", JobState::as_str),
            },
            JobState::Cancelled => Shown::Cancelled,
        };
        let queue_page = self.queue_page();
        let status = Status {
            shown,
            job: Some(job.id),
            body_hash: &job.body_hash,
            suite: &job.suite,
            revision: job.revision.as_deref(),
            approved: job.approved_hash.is_some(),
            queue_page: queue_page.as_deref(),
        };
        Ok(status.to_markdown())
    }

    fn under_way(&self, job: &Job) -> Result<Option<Under>, StoreError> {
        let Some(progress) = &job.progress else { return Ok(None) };
        let slots = usize::try_from(self.parts.config.executor.concurrency.get()).unwrap_or(1);
        let queue = self.parts.store.queue(slots, self.now())?;
        let ends_at = queue.iter().find(|entry| entry.job.id == job.id).and_then(|entry| entry.ends_at);
        Ok(Some(Under {
            task: progress.task.clone(),
            done: progress.done,
            total: progress.total,
            task_number: progress.task_number,
            tasks: progress.tasks,
            share: progress.share(),
            remaining: ends_at.and_then(|at| (at - self.now()).to_std().ok()),
        }))
    }

    /// Writes the status comment and sets the labels, each only where it differs.
    pub(super) fn show_on_issue(&self, held: &Held, job: &Job, state: JobState, text: &str) -> Result<(), Halt> {
        let Some(issue) = self.ask_for(self.parts.github.issue(job.issue))? else {
            tracing::info!(issue = job.issue, "the issue is gone; there is nothing to show its state on");
            return Ok(());
        };
        self.write_status(held, job, text)?;
        let (add, remove) = label_changes(&issue.labels, state.as_str());
        if !add.is_empty() || !remove.is_empty() {
            self.ask(self.parts.github.change_labels(job.issue, &add, &remove))?;
        }
        Ok(())
    }

    fn write_status(&self, held: &Held, job: &Job, text: &str) -> Result<(), Halt> {
        let known = match job.status_comment {
            None => None,
            Some(id) => self.ask_for(self.parts.github.comment(id))?,
        };
        let present = match known {
            Some(comment) => Some(comment),
            None => self.find_status(job.issue)?,
        };
        let id = match present {
            Some(comment) if same_text(&comment.body, text) => comment.id,
            Some(comment) => self.ask(self.parts.github.update_comment(comment.id, text))?.id,
            None => self.ask(self.parts.github.create_comment(job.issue, text))?.id,
        };
        if job.status_comment != Some(id) {
            self.parts.store.set_status_comment(&held.lease, Some(id))?;
        }
        Ok(())
    }

    /// The bot's own status comment on an issue: the first, should there be several.
    pub(super) fn find_status(&self, issue: u64) -> Result<Option<Comment>, Halt> {
        let comments = self.ask(self.parts.github.comments(issue, None))?;
        Ok(comments.into_iter().find(|comment| self.parts.own.wrote(comment.user.as_ref()) && remembered(&comment.body).is_some()))
    }

    /// The labels that must exist in the repository.
    pub(super) fn ensure_labels(&self) -> Result<(), Halt> {
        let label = |(name, color, description): &(&str, &str, &str)| Label {
            name: (*name).to_owned(),
            color: (*color).to_owned(),
            description: (*description).to_owned(),
        };
        let labels: Vec<Label> = LABELS.iter().map(label).collect();
        self.ask(self.parts.github.ensure_labels(&labels))
    }
}

/// GitHub may change line ends and drop white space at the end.
fn same_text(one: &str, other: &str) -> bool {
    one.replace("\r\n", "\n").trim_end() == other.trim_end()
}

fn no_report() -> Report {
    Report {
        schema_version: crate::submission::REPORT_SCHEMA_VERSION,
        valid: true,
        complete: true,
        findings: Vec::new(),
        unchecked: Vec::new(),
        submission: None,
        measured_parameters: None,
    }
}
