//! `received` → `validated` or `rejected`, and from `validated` into the queue.

use super::leases::Held;
use super::{Details, Halt, Worker};
use crate::bot::decide::{Situation, after_validation, usual_duration, work_of};
use crate::bot::publication::{known_results, registry_at};
use crate::bot::status::Waiting;
use crate::bot::store::{Change, Job, JobState, StoreError};
use crate::bot::validation::{Check, check_issue};
use crate::leaderboard::Registry;
use crate::submission::{Code, Report, Severity, Submission};
use chrono::TimeDelta;
use std::time::Duration;

impl Worker {
    pub(super) fn validate(&self, held: &Held, job: &Job) -> Result<(), Halt> {
        let registry = self.publisher_now()?.read(registry_at)?;
        let check = Check {
            suite: &job.suite,
            allow_gated: self.parts.config.policy.allow_gated,
            registry: &registry,
            author: Some(&job.author_login),
        };
        let report = check_issue(&job.body, &self.parts.hub, &check).map_err(|error| Halt::permanent(format!("{error:#}")))?;
        if !report.valid {
            return self.reject(held, &job.suite, &registry, report);
        }
        if let Some(unchecked) = report.unchecked.iter().find(|unchecked| unchecked.retry) {
            return Err(Halt::transient(format!("the submission could not be checked completely: {}", unchecked.reason)));
        }
        let Some(submission) = report.submission.clone() else {
            return Err(Halt::permanent("a valid submission could not be read"));
        };
        self.accept_submission(held, job, report, &submission)
    }

    fn reject(&self, held: &Held, suite: &str, registry: &Registry, report: Report) -> Result<(), Halt> {
        let errors: Vec<Code> = report.findings.iter().filter(|one| one.severity == Severity::Error).map(|one| one.code).collect();
        let known = errors.iter().all(|code| *code == Code::AlreadyEvaluated);
        let known_results = report.submission.as_ref().filter(|_| known).map(|submission| {
            let place = format!("tree/{}/results/raw/{}", self.parts.config.repository.branch, submission.slug());
            known_results(registry, submission, suite, &self.repository_page(&place))
        });
        let details = Details { report: Some(report), known_results, ..Details::default() };
        let change = Change { details: Some(details.to_json()?), ..Change::default() };
        self.parts.store.transition(&held.lease, JobState::Received, JobState::Rejected, &change, self.now())?;
        Ok(())
    }

    fn accept_submission(&self, held: &Held, job: &Job, report: Report, submission: &Submission) -> Result<(), Halt> {
        let parameters = report.measured_parameters.unwrap_or_else(|| submission.parameters.count());
        let work = work_of(parameters, submission.quantizations.len(), &job.suite);
        let estimate = self.estimate(&job.suite, work)?;
        let waiting = after_validation(&self.parts.config.policy, &self.situation(job, Some(estimate))?);
        let details =
            Details { report: Some(report), estimate_s: Some(estimate.as_secs_f64()), waiting: waiting.clone(), ..Details::default() };
        let change = Change {
            submission: Some(submission.to_yaml().map_err(|error| Halt::permanent(error.to_string()))?),
            slug: Some(submission.slug()),
            hf_repo: Some(submission.hf_repo.clone()),
            revision: submission.hf_revision.clone(),
            work: Some(work),
            details: Some(details.to_json()?),
            ..Change::default()
        };
        self.parts.store.transition(&held.lease, JobState::Received, JobState::Validated, &change, self.now())?;
        if waiting.is_none() {
            self.parts.store.approve(job.id, &job.body_hash, None, self.now())?;
        }
        Ok(())
    }

    fn estimate(&self, suite: &str, work: f64) -> Result<Duration, StoreError> {
        let known = self.parts.store.estimate(suite, Some(work))?.and_then(|known| known.to_std().ok());
        Ok(known.unwrap_or_else(|| usual_duration(work)))
    }

    fn situation(&self, job: &Job, estimate: Option<Duration>) -> Result<Situation, StoreError> {
        let since = self.now() - TimeDelta::hours(24);
        let of_author = self.parts.store.author_counts(job.author_id, since)?.queued;
        Ok(Situation { of_author, of_all: self.parts.store.queued_since(since)?, estimate })
    }

    /// Queues what waited for room and has it now, and what a worker that died had found valid.
    pub(super) fn reconsider(&self) -> Result<(), StoreError> {
        for job in self.parts.store.jobs_in(&[JobState::Validated])? {
            let Ok(details) = Details::of(&job) else { continue };
            if !matches!(details.waiting, None | Some(Waiting::AuthorLimit(_) | Waiting::DayLimit(_))) {
                continue;
            }
            let estimate = details.estimate_s.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            if after_validation(&self.parts.config.policy, &self.situation(&job, estimate)?).is_none() {
                self.parts.store.approve(job.id, &job.body_hash, None, self.now())?;
                self.parts.signal.wake();
            }
        }
        Ok(())
    }
}
