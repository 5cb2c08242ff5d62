//! Jobs: one per submitted body of an issue, from `received` to `reported`.

use super::lease::{Failed, Table};
use super::{FailureKind, JobState, Lease, Store, StoreError, millis, stored, time};
use crate::evaluation::RunProgress;
use crate::github;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use std::time::Duration;

/// States in which nothing happens to a job by itself, for SQL.
const FINAL: &str = "('reported', 'rejected', 'failed', 'cancelled')";

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobError {
    /// Whether trying again could help.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
}

/// A failure to record.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Failure {
    /// Decided where the error was made.
    pub kind: FailureKind,
    /// In words: shown to the author and on the queue page, so without secrets and without host paths.
    pub message: String,
}

impl Failure {
    /// A failure that another attempt would repeat.
    #[must_use]
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Permanent, message: message.into() }
    }

    /// A failure that may pass.
    #[must_use]
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Transient, message: message.into() }
    }
}

impl From<github::Error> for Failure {
    fn from(error: github::Error) -> Self {
        let kind = if error.is_transient() { FailureKind::Transient } else { FailureKind::Permanent };
        Self { kind, message: error.to_string() }
    }
}

/// A submission as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Number of the issue.
    pub issue: u64,
    /// Numeric id of the issue's author: names change hands, ids do not.
    pub author_id: u64,
    /// The author's name at that time, to be shown.
    pub author_login: String,
    /// The issue's body.
    pub body: String,
    /// SHA-256 of the body, hexadecimal.
    pub body_hash: String,
    /// Suite to evaluate.
    pub suite: String,
    /// A new job even where the latest one is about this very body and reported: its results are out of date.
    pub again: bool,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub enum Submitted {
    /// A new job.
    New(Job),
    /// The issue's latest job is about this very body.
    Unchanged(Job),
    /// An edit before the evaluation: the job starts over with the new body, unapproved. The state is the one that it was in.
    Revised(Job, JobState),
    /// The job is past the point at which its body could be replaced; it goes on with the body that was approved.
    Busy(Job),
}

/// A job as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Number of the job.
    pub id: i64,
    /// Number of the issue.
    pub issue: u64,
    /// Numeric id of the author.
    pub author_id: u64,
    /// The author's name when the issue was opened.
    pub author_login: String,
    /// The issue's body that this job is about.
    pub body: String,
    /// SHA-256 of `body`, hexadecimal.
    pub body_hash: String,
    /// Hash of the body that was approved.
    pub approved_hash: Option<String>,
    /// Numeric id of who approved it.
    pub approved_by: Option<u64>,
    /// The checked submission, YAML.
    pub submission: Option<String>,
    /// Folder name of the model.
    pub slug: Option<String>,
    /// Repository on the hub.
    pub hf_repo: Option<String>,
    /// Commit on the hub.
    pub revision: Option<String>,
    /// Suite to evaluate.
    pub suite: String,
    /// How much there is to compute.
    pub work: Option<f64>,
    /// How far it is.
    pub state: JobState,
    /// The state that the issue's comment and labels show.
    pub shown: Option<JobState>,
    /// Where a failed job stopped.
    pub failed_from: Option<JobState>,
    /// Attempts of the present step, including one that is under way.
    pub attempts: u32,
    /// Not tried again before this time.
    pub not_before: DateTime<Utc>,
    /// Who holds it, and until when.
    pub lease: Option<(String, DateTime<Utc>)>,
    /// Last sign of life of a holder.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// Somebody asked for it to be cancelled while it was being evaluated.
    pub cancel_requested: bool,
    /// How far the evaluation is.
    pub progress: Option<RunProgress>,
    /// What the executor needs to find the evaluation again, JSON.
    pub handle: Option<String>,
    /// What the bot keeps for its comments, JSON.
    pub details: Option<String>,
    /// The runs.
    pub run_ids: Vec<String>,
    /// The commit that published them.
    pub commit: Option<String>,
    /// The issue's one status comment.
    pub status_comment: Option<u64>,
    /// What went wrong last.
    pub error: Option<JobError>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was first queued since its body was last replaced.
    pub queued_at: Option<DateTime<Utc>>,
}

/// One step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// Old state; none for the first.
    pub from: Option<JobState>,
    /// New state.
    pub to: JobState,
    /// When.
    pub at: DateTime<Utc>,
    /// Why or by whom, where it needs saying.
    pub note: Option<String>,
}

/// Which steps a worker takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Steps of seconds: validation, publishing, reporting.
    Quick,
    /// Evaluations: `queued` and, after an interruption, `evaluating`.
    Evaluation,
}

/// What a step found out, recorded together with it. Fields that are `None` stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The checked submission, YAML.
    pub submission: Option<String>,
    /// Folder name of the model.
    pub slug: Option<String>,
    /// Repository on the hub.
    pub hf_repo: Option<String>,
    /// Commit on the hub.
    pub revision: Option<String>,
    /// Suite to evaluate.
    pub suite: Option<String>,
    /// How much there is to compute.
    pub work: Option<f64>,
    /// The runs.
    pub run_ids: Option<Vec<String>>,
    /// The commit that published them.
    pub commit: Option<String>,
    /// What the bot keeps for its comments, JSON.
    pub details: Option<String>,
    /// Whether the issue shows the new state already.
    pub shown: bool,
    /// Why, where it needs saying.
    pub note: Option<String>,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled.
    Done,
    /// It is being evaluated: its holder stops it at the next heartbeat.
    Requested,
    /// Too late, or over already.
    TooLate(JobState),
}

/// What became of a wish to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It goes on in this state.
    From(JobState),
    /// There is nothing to try again in this state.
    NotNeeded(JobState),
    /// The issue has a newer job.
    Superseded,
}

impl Store {
    /// Stores a submission, or replaces the body of the issue's job while that is still possible. Repeating the call changes nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn submit(&self, new: &NewJob, now: DateTime<Utc>) -> Result<Submitted, StoreError> {
        self.write("submit", |transaction| {
            let latest = latest_of(transaction, new.issue)?;
            if let Some(job) = latest {
                if job.body_hash == new.body_hash && !(new.again && job.state == JobState::Reported) {
                    return Ok(Submitted::Unchanged(job));
                }
                if matches!(job.state, JobState::Received | JobState::Validated | JobState::Queued) {
                    let was = job.state;
                    return Ok(Submitted::Revised(revise(transaction, &job, new, now)?, was));
                }
                if !job.state.is_final() {
                    return Ok(Submitted::Busy(job));
                }
            }
            transaction.execute("INSERT INTO issues (number) VALUES (?1) ON CONFLICT DO NOTHING", [stored(new.issue)])?;
            transaction.execute(
                "INSERT INTO jobs (issue, author_id, author_login, body, body_hash, suite, state, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'received', ?7, ?7)",
                params![stored(new.issue), stored(new.author_id), new.author_login, new.body, new.body_hash, new.suite, millis(now)],
            )?;
            let id = transaction.last_insert_rowid();
            record(transaction, id, None, JobState::Received, now, None)?;
            Ok(Submitted::New(by_id(transaction, id)?))
        })
    }

    /// Takes the next job of a lane and holds it until `length` from now. A job whose workers ended without a word as often as the policy
    /// allows becomes `failed` first.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn claim(&self, worker: &str, lane: Lane, now: DateTime<Utc>, length: Duration) -> Result<Option<(Lease, Job)>, StoreError> {
        let (states, order) = match lane {
            Lane::Quick => ("('received', 'evaluated', 'published')", "id"),
            // What has begun comes first: its answers are kept and its author has waited longest.
            Lane::Evaluation => ("('queued', 'evaluating')", "state = 'queued', queued_at, id"),
        };
        self.write("claim", |transaction| {
            let sql = format!(
                "SELECT id, coalesce(error, 'the worker ended without a word') FROM jobs
                 WHERE state IN {states} AND lease_until <= ?1 AND attempts >= ?2"
            );
            let worn: Vec<(i64, String)> = transaction
                .prepare_cached(&sql)?
                .query_map((millis(now), self.policy.max_attempts), |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (id, why) in worn {
                let message = format!("given up after {} attempts; the last problem: {why}", self.policy.max_attempts);
                give_up(transaction, id, FailureKind::Transient.as_str(), &message, now)?;
            }
            let sql = format!(
                "UPDATE jobs SET lease_owner = ?1, lease_token = lease_token + 1, lease_until = ?3, heartbeat_at = ?2, attempts = attempts + 1
                 WHERE id = (SELECT id FROM jobs WHERE state IN {states} AND lease_until <= ?2 AND not_before <= ?2
                             ORDER BY {order} LIMIT 1)
                 RETURNING id, lease_token, edition, 0"
            );
            claimed(transaction, &sql, worker, now, length)
        })
    }

    /// Takes a job whose issue does not show its state yet (`validated`, `queued`, `evaluating`, or one of the final ones). Failing to show
    /// a state, by [`Self::fail`], never changes it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn claim_unshown(&self, worker: &str, now: DateTime<Utc>, length: Duration) -> Result<Option<(Lease, Job)>, StoreError> {
        let sql = format!(
            "UPDATE jobs SET lease_owner = ?1, lease_token = lease_token + 1, lease_until = ?3, show_attempts = show_attempts + 1
             WHERE id = (SELECT id FROM jobs WHERE shown IS NOT state AND lease_until <= ?2 AND show_not_before <= ?2
                           AND (state IN ('validated', 'queued', 'evaluating') OR state IN {FINAL})
                         ORDER BY id LIMIT 1)
             RETURNING id, lease_token, edition, 1"
        );
        self.write("claim_unshown", |transaction| claimed(transaction, &sql, worker, now, length))
    }

    /// Records that the issue shows `state` now.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn mark_shown(&self, lease: &Lease, state: JobState) -> Result<(), StoreError> {
        self.write("mark_shown", |transaction| {
            lease.check(transaction)?;
            let sql = "UPDATE jobs SET shown = ?2, show_attempts = 0, show_not_before = 0 WHERE id = ?1";
            transaction.execute(sql, (lease.id, state.as_str()))?;
            Ok(())
        })
    }

    /// Records a step together with what it found out. The lease goes on; the new step starts with no attempt used.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when somebody else holds the job or its submission was replaced meanwhile; [`StoreError::StateMoved`] when it
    /// is not in `from`; [`StoreError::Forbidden`].
    pub fn transition(&self, lease: &Lease, from: JobState, to: JobState, change: &Change, now: DateTime<Utc>) -> Result<Job, StoreError> {
        from.check_step(to)?;
        self.write(to.as_str(), |transaction| {
            check_current(transaction, lease, Some(from))?;
            apply(transaction, lease.id, from, to, change, now)?;
            by_id(transaction, lease.id)
        })
    }

    /// Keeps findings of a step that is still under way. [`Change::shown`] and [`Change::note`] have no meaning here.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn update(&self, lease: &Lease, change: &Change, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.write("update", |transaction| {
            check_current(transaction, lease, None)?;
            store_findings(transaction, lease.id, change, now)
        })
    }

    /// Keeps how far the evaluation is.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn set_progress(&self, lease: &Lease, progress: Option<&RunProgress>) -> Result<(), StoreError> {
        let text = progress.map(serde_json::to_string).transpose().map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.set_field(lease, "progress", text.as_deref())
    }

    /// Keeps what the executor needs to find the evaluation again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn set_handle(&self, lease: &Lease, handle: Option<&str>) -> Result<(), StoreError> {
        self.set_field(lease, "handle", handle)
    }

    fn set_field(&self, lease: &Lease, field: &'static str, value: Option<&str>) -> Result<(), StoreError> {
        let sql = format!("UPDATE jobs SET {field} = ?4 WHERE id = ?1 AND lease_token = ?2 AND lease_owner = ?3");
        let row = (lease.id, lease.token, &lease.worker, value);
        let changed = self.write(field, |transaction| Ok(transaction.execute(&sql, row)?))?;
        if changed == 0 { Err(lease.lost()) } else { Ok(()) }
    }

    /// Keeps the id of the issue's one status comment; `None` when it was found to be gone.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn set_status_comment(&self, lease: &Lease, comment: Option<u64>) -> Result<(), StoreError> {
        self.write("set_status_comment", |transaction| {
            lease.check(transaction)?;
            let sql = "UPDATE issues SET status_comment = ?2 WHERE number = (SELECT issue FROM jobs WHERE id = ?1)";
            transaction.execute(sql, (lease.id, comment.map(stored)))?;
            Ok(())
        })
    }

    /// Queues a validated job: somebody with the right to do so approved the body with this hash, or the configuration approves all
    /// (`by` is `None`). Says whether it did; it does not when the body was edited since, or the job is in another state.
    ///
    /// # Errors
    /// [`StoreError::NoSuchJob`].
    pub fn approve(&self, id: i64, body_hash: &str, by: Option<u64>, now: DateTime<Utc>) -> Result<bool, StoreError> {
        self.write("queued", |transaction| {
            let job = by_id(transaction, id)?;
            if job.state != JobState::Validated || job.body_hash != body_hash {
                return Ok(false);
            }
            let sql = "UPDATE jobs SET approved_hash = ?2, approved_by = ?3 WHERE id = ?1";
            transaction.execute(sql, (id, body_hash, by.map(stored)))?;
            let note = by.map_or_else(|| "approved by the configuration".to_owned(), |by| format!("approved by user {by}"));
            let change = Change { note: Some(note), ..Change::default() };
            apply(transaction, id, JobState::Validated, JobState::Queued, &change, now)?;
            Ok(true)
        })
    }

    /// Cancels a job, or asks its holder to.
    ///
    /// # Errors
    /// [`StoreError::NoSuchJob`].
    pub fn cancel(&self, id: i64, by: u64, now: DateTime<Utc>) -> Result<Cancelled, StoreError> {
        self.write("cancel", |transaction| {
            let state = Self::state_of(transaction, id)?;
            Ok(match state {
                JobState::Received | JobState::Validated | JobState::Queued => {
                    let change = Change { note: Some(format!("cancelled by user {by}")), ..Change::default() };
                    apply(transaction, id, state, JobState::Cancelled, &change, now)?;
                    Cancelled::Done
                }
                JobState::Evaluating => {
                    // The wait after a failure is over: whoever claims it has only to clear up.
                    transaction.execute("UPDATE jobs SET cancel_requested = 1, not_before = 0 WHERE id = ?1", [id])?;
                    Cancelled::Requested
                }
                other => Cancelled::TooLate(other),
            })
        })
    }

    /// Brings a failed job back to where it stopped, and a rejected or cancelled one back to the start.
    ///
    /// # Errors
    /// [`StoreError::NoSuchJob`].
    pub fn retry(&self, id: i64, by: u64, now: DateTime<Utc>) -> Result<Retried, StoreError> {
        self.write("retry", |transaction| {
            let job = by_id(transaction, id)?;
            if latest_of(transaction, job.issue)?.is_some_and(|latest| latest.id != id) {
                return Ok(Retried::Superseded);
            }
            let to = match (job.state, job.failed_from) {
                (JobState::Failed, Some(JobState::Evaluating | JobState::Queued)) => JobState::Queued,
                (JobState::Failed, Some(from)) => from,
                (JobState::Failed, None) | (JobState::Rejected | JobState::Cancelled, _) => JobState::Received,
                (other, _) => return Ok(Retried::NotNeeded(other)),
            };
            job.state.check_step(to)?;
            let change = Change { note: Some(format!("retried by user {by}")), ..Change::default() };
            apply(transaction, id, job.state, to, &change, now)?;
            Ok(Retried::From(to))
        })
    }

    /// A job by its number.
    ///
    /// # Errors
    /// [`StoreError::NoSuchJob`].
    pub fn job(&self, id: i64) -> Result<Job, StoreError> {
        by_id(&self.reader(), id)
    }

    /// The latest job of an issue.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn job_of_issue(&self, issue: u64) -> Result<Option<Job>, StoreError> {
        latest_of(&self.reader(), issue)
    }

    /// The jobs in these states, in the order in which they were stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn jobs_in(&self, states: &[JobState]) -> Result<Vec<Job>, StoreError> {
        let list: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
        many(&self.reader(), &format!("WHERE state IN ({}) ORDER BY jobs.id", list.join(", ")), [])
    }

    /// The jobs that evaluated, or are to evaluate, a model at a revision, the latest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn jobs_of_model(&self, hf_repo: &str, revision: &str) -> Result<Vec<Job>, StoreError> {
        many(&self.reader(), "WHERE hf_repo = ?1 AND revision = ?2 ORDER BY jobs.id DESC", (hf_repo, revision))
    }

    /// The steps of a job, the first first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn transitions(&self, id: i64) -> Result<Vec<Transition>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT from_state, to_state, at, note FROM transitions WHERE job = ?1 ORDER BY id")?;
        let mut rows = statement.query([id])?;
        let mut steps = Vec::new();
        while let Some(row) = rows.next()? {
            let from = row.get::<_, Option<String>>(0)?.map(|state| state.parse()).transpose()?;
            let to = row.get::<_, String>(1)?.parse()?;
            steps.push(Transition { from, to, at: time(row.get(2)?), note: row.get(3)? });
        }
        Ok(steps)
    }
}

/// Replaces the body of a job that has not been evaluated; approval and findings are void.
fn revise(transaction: &Connection, job: &Job, new: &NewJob, now: DateTime<Utc>) -> Result<Job, StoreError> {
    // The lease stays: a worker that checks the old body right now finds at its next step that it was replaced, and lets go.
    transaction.execute(
        "UPDATE jobs SET edition = edition + 1, body = ?2, body_hash = ?3, suite = ?4, approved_hash = NULL, approved_by = NULL,
           submission = NULL, slug = NULL, hf_repo = NULL, revision = NULL, work = NULL, details = NULL, queued_at = NULL,
           state = 'received', shown = NULL, attempts = 0, not_before = 0, error_kind = NULL, error = NULL, updated_at = ?5
         WHERE id = ?1",
        params![job.id, new.body, new.body_hash, new.suite, millis(now)],
    )?;
    record(transaction, job.id, Some(job.state), JobState::Received, now, Some("the issue was edited"))?;
    by_id(transaction, job.id)
}

/// An error unless the lease is valid for the present edition and, where given, the job is in `from`.
fn check_current(transaction: &Connection, lease: &Lease, from: Option<JobState>) -> Result<(), StoreError> {
    lease.check(transaction)?;
    let sql = "SELECT edition, state FROM jobs WHERE id = ?1";
    let (edition, state): (i64, String) = transaction.prepare_cached(sql)?.query_row([lease.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if lease.table != Table::Jobs || edition != lease.edition {
        return Err(lease.lost());
    }
    let found: JobState = state.parse()?;
    match from {
        Some(expected) if expected != found => Err(StoreError::StateMoved { id: lease.id, expected, found }),
        _ => Ok(()),
    }
}

fn apply(transaction: &Connection, id: i64, from: JobState, to: JobState, change: &Change, now: DateTime<Utc>) -> Result<(), StoreError> {
    store_findings(transaction, id, change, now)?;
    transaction
        .prepare_cached(
            "UPDATE jobs SET state = ?2, attempts = 0, not_before = 0, error_kind = NULL, error = NULL, failed_from = NULL,
               cancel_requested = 0, show_attempts = 0, show_not_before = 0,
               shown = CASE WHEN ?3 THEN ?2 ELSE shown END,
               queued_at = CASE WHEN ?2 = 'queued' THEN coalesce(queued_at, ?4) WHEN ?2 = 'received' THEN NULL ELSE queued_at END,
               progress = CASE WHEN ?2 = 'evaluating' THEN progress ELSE NULL END,
               handle = CASE WHEN ?2 = 'evaluating' THEN handle ELSE NULL END
             WHERE id = ?1",
        )?
        .execute((id, to.as_str(), change.shown, millis(now)))?;
    record(transaction, id, Some(from), to, now, change.note.as_deref())
}

fn store_findings(transaction: &Connection, id: i64, change: &Change, now: DateTime<Utc>) -> Result<(), StoreError> {
    let run_ids = change.run_ids.as_ref().map(serde_json::to_string).transpose();
    transaction
        .prepare_cached(
            "UPDATE jobs SET submission = coalesce(?2, submission), slug = coalesce(?3, slug), hf_repo = coalesce(?4, hf_repo),
               revision = coalesce(?5, revision), suite = coalesce(?6, suite), work = coalesce(?7, work), run_ids = coalesce(?8, run_ids),
               commit_id = coalesce(?9, commit_id), details = coalesce(?10, details), updated_at = ?11
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            change.submission,
            change.slug,
            change.hf_repo,
            change.revision,
            change.suite,
            change.work,
            run_ids.map_err(|error| StoreError::Damaged(error.to_string()))?,
            change.commit,
            change.details,
            millis(now)
        ])?;
    Ok(())
}

fn record(
    transaction: &Connection,
    id: i64,
    from: Option<JobState>,
    to: JobState,
    now: DateTime<Utc>,
    note: Option<&str>,
) -> Result<(), StoreError> {
    transaction.prepare_cached("INSERT INTO transitions (job, from_state, to_state, at, note) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
        id,
        from.map(JobState::as_str),
        to.as_str(),
        millis(now),
        note,
    ))?;
    Ok(())
}

/// Records a failed step or a failed attempt to show a state; `at` is when to try again, if at all.
pub(super) fn fail(
    transaction: &Connection,
    lease: &Lease,
    failure: &Failure,
    at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Failed, StoreError> {
    const FREE: &str = "UPDATE jobs SET lease_owner = NULL, lease_until = 0";
    let sql = "SELECT edition, state FROM jobs WHERE id = ?1";
    let (edition, state): (i64, String) = transaction.query_row(sql, [lease.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if edition != lease.edition || (!lease.shows && state.parse::<JobState>()?.is_final()) {
        transaction.execute(&format!("{FREE} WHERE id = ?1"), [lease.id])?;
        return Ok(Failed::Superseded);
    }
    match (at, lease.shows) {
        (Some(at), true) => {
            transaction.execute(&format!("{FREE}, show_not_before = ?2 WHERE id = ?1"), (lease.id, millis(at)))?;
        }
        (None, true) => {
            transaction.execute(&format!("{FREE}, shown = state WHERE id = ?1"), [lease.id])?;
        }
        (Some(at), false) => {
            let sql = format!("{FREE}, not_before = ?2, error_kind = ?3, error = ?4, updated_at = ?5 WHERE id = ?1");
            transaction.execute(&sql, (lease.id, millis(at), failure.kind.as_str(), &failure.message, millis(now)))?;
        }
        (None, false) => give_up(transaction, lease.id, failure.kind.as_str(), &failure.message, now)?,
    }
    Ok(at.map_or(Failed::GivenUp, Failed::Again))
}

/// Makes a job `failed`; its state so far is kept for `retry`.
pub(super) fn give_up(transaction: &Connection, id: i64, kind: &str, message: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let from = Store::state_of(transaction, id)?;
    from.check_step(JobState::Failed)?;
    transaction.execute(
        "UPDATE jobs SET state = 'failed', failed_from = ?2, error_kind = ?3, error = ?4, lease_owner = NULL, lease_until = 0,
           show_attempts = 0, show_not_before = 0, handle = NULL, updated_at = ?5
         WHERE id = ?1",
        (id, from.as_str(), kind, message, millis(now)),
    )?;
    record(transaction, id, Some(from), JobState::Failed, now, Some(message))
}

fn claimed(
    transaction: &Connection,
    sql: &str,
    worker: &str,
    now: DateTime<Utc>,
    length: Duration,
) -> Result<Option<(Lease, Job)>, StoreError> {
    let until = millis(now + TimeDelta::from_std(length).unwrap_or(TimeDelta::hours(1)));
    let lease = transaction
        .prepare_cached(sql)?
        .query_row((worker, millis(now), until), |row| {
            let (id, token, edition, shows) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Lease { table: Table::Jobs, id, worker: worker.to_owned(), token, edition, shows })
        })
        .optional()?;
    lease.map(|lease| by_id(transaction, lease.id).map(|job| (lease, job))).transpose()
}

const COLUMNS: &str = "jobs.id, issue, author_id, author_login, body, body_hash, approved_hash, approved_by, submission, slug, hf_repo, \
    revision, suite, work, state, shown, failed_from, attempts, not_before, lease_owner, lease_until, heartbeat_at, cancel_requested, \
    progress, handle, details, run_ids, commit_id, status_comment, error_kind, error, created_at, updated_at, queued_at";

pub(super) fn many(connection: &Connection, rest: &str, parameters: impl rusqlite::Params) -> Result<Vec<Job>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM jobs JOIN issues ON issues.number = jobs.issue {rest}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(parameters)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(from_row(row)?);
    }
    Ok(jobs)
}

fn by_id(connection: &Connection, id: i64) -> Result<Job, StoreError> {
    many(connection, "WHERE jobs.id = ?1", [id])?.pop().ok_or(StoreError::NoSuchJob(id))
}

fn latest_of(connection: &Connection, issue: u64) -> Result<Option<Job>, StoreError> {
    Ok(many(connection, "WHERE issue = ?1 ORDER BY jobs.id DESC LIMIT 1", [stored(issue)])?.pop())
}

fn from_row(row: &Row<'_>) -> Result<Job, StoreError> {
    let id_of = |name| -> rusqlite::Result<u64> { row.get::<_, i64>(name).map(i64::cast_unsigned) };
    let optional_id = |name| -> rusqlite::Result<Option<u64>> { Ok(row.get::<_, Option<i64>>(name)?.map(i64::cast_unsigned)) };
    let state = |name| -> Result<Option<JobState>, StoreError> { row.get::<_, Option<String>>(name)?.map(|text| text.parse()).transpose() };
    let damaged = |error: serde_json::Error| StoreError::Damaged(error.to_string());
    let at = |name| -> rusqlite::Result<DateTime<Utc>> { row.get(name).map(time) };
    let lease_owner: Option<String> = row.get("lease_owner")?;
    let lease_until = at("lease_until")?;
    let progress: Option<String> = row.get("progress")?;
    let error: Option<String> = row.get("error")?;
    let kind: Option<String> = row.get("error_kind")?;
    let permanent = kind.as_deref() == Some(FailureKind::Permanent.as_str());
    let kind = if permanent { FailureKind::Permanent } else { FailureKind::Transient };
    Ok(Job {
        id: row.get("id")?,
        issue: id_of("issue")?,
        author_id: id_of("author_id")?,
        author_login: row.get("author_login")?,
        body: row.get("body")?,
        body_hash: row.get("body_hash")?,
        approved_hash: row.get("approved_hash")?,
        approved_by: optional_id("approved_by")?,
        submission: row.get("submission")?,
        slug: row.get("slug")?,
        hf_repo: row.get("hf_repo")?,
        revision: row.get("revision")?,
        suite: row.get("suite")?,
        work: row.get("work")?,
        state: state("state")?.ok_or_else(|| StoreError::Damaged("a job without state".to_owned()))?,
        shown: state("shown")?,
        failed_from: state("failed_from")?,
        attempts: row.get("attempts")?,
        not_before: at("not_before")?,
        lease: lease_owner.map(|owner| (owner, lease_until)),
        heartbeat_at: row.get::<_, Option<i64>>("heartbeat_at")?.map(time),
        cancel_requested: row.get("cancel_requested")?,
        progress: progress.map(|text| serde_json::from_str(&text)).transpose().map_err(damaged)?,
        handle: row.get("handle")?,
        details: row.get("details")?,
        run_ids: serde_json::from_str(&row.get::<_, String>("run_ids")?).map_err(damaged)?,
        commit: row.get("commit_id")?,
        status_comment: optional_id("status_comment")?,
        error: error.map(|message| JobError { kind, message }),
        created_at: at("created_at")?,
        updated_at: at("updated_at")?,
        queued_at: row.get::<_, Option<i64>>("queued_at")?.map(time),
    })
}
