//! Leases: who may work on something, and until when.

use super::{Failure, FailureKind, JobState, Store, StoreError, deliveries, jobs, millis, time};
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension as _};
use std::time::Duration;

/// The right to work on one job or delivery. It ends by itself unless it is renewed; after somebody else took over, nothing that is
/// written with it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(super) table: Table,
    pub(super) id: i64,
    pub(super) worker: String,
    /// Counts the claims of this row: tells this holder from any later one, also when one worker claims twice.
    pub(super) token: i64,
    /// The edition of the submission that was claimed; 0 for deliveries.
    pub(super) edition: i64,
    /// Whether it was taken to show a state on the issue rather than to make a step.
    pub(super) shows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Jobs,
    Deliveries,
}

impl Table {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Deliveries => "deliveries",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Jobs => "job",
            Self::Deliveries => "delivery",
        }
    }
}

impl Lease {
    /// Number of the job or delivery.
    #[must_use]
    pub const fn id(&self) -> i64 {
        self.id
    }

    /// Name of what is held, unique in the store, such as `job:12`: the owner of effects.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}:{}", self.table.noun(), self.id)
    }

    pub(super) fn lost(&self) -> StoreError {
        StoreError::LeaseLost { what: self.table.noun(), id: self.id }
    }

    /// An error unless this lease still is the row's latest.
    pub(super) fn check(&self, connection: &Connection) -> Result<(), StoreError> {
        let sql = format!("SELECT lease_token = ?2 AND lease_owner IS ?3 FROM {} WHERE id = ?1", self.table.name());
        let held: Option<bool> =
            connection.prepare_cached(&sql)?.query_row((self.id, self.token, &self.worker), |row| row.get(0)).optional()?;
        if held == Some(true) { Ok(()) } else { Err(self.lost()) }
    }
}

/// What a holder learns when it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Go on.
    Held,
    /// Go on to a safe point: somebody asked for the job to be cancelled.
    CancelRequested,
    /// The submission was replaced or the job moved on: what is done now will not count. Release the lease.
    Superseded,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The step is tried again, from this time on.
    Again(DateTime<Utc>),
    /// It is not tried again.
    GivenUp,
    /// The submission was replaced or the job moved on meanwhile: the failure does not count, and the lease has ended.
    Superseded,
}

impl Store {
    /// Lets go of a job or delivery without counting the attempt: at shutdown, or after [`StoreError::is_superseded`].
    /// Does nothing when the lease is lost already.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.let_go(lease, None)
    }

    /// As [`Self::release`], and not before `until`: for waits that are nobody's failure, such as a rate limit.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn defer(&self, lease: &Lease, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.let_go(lease, Some(until))
    }

    fn let_go(&self, lease: &Lease, until: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let (attempts, not_before) = if lease.shows { ("show_attempts", "show_not_before") } else { ("attempts", "not_before") };
        let sql = format!(
            "UPDATE {} SET lease_owner = NULL, lease_until = 0, {attempts} = max({attempts} - 1, 0),
               {not_before} = coalesce(?4, {not_before})
             WHERE id = ?1 AND lease_token = ?2 AND lease_owner = ?3",
            lease.table.name()
        );
        let row = (lease.id, lease.token, &lease.worker, until.map(millis));
        self.write("release", |transaction| Ok(transaction.execute(&sql, row).map(drop)?))
    }

    /// Renews a lease for `length` from now on.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]: somebody else has it; stop at once.
    pub fn heartbeat(&self, lease: &Lease, now: DateTime<Utc>, length: Duration) -> Result<Heartbeat, StoreError> {
        let until = millis(now + TimeDelta::from_std(length).unwrap_or(TimeDelta::hours(1)));
        let renewed = match lease.table {
            Table::Jobs => {
                let sql = "UPDATE jobs SET lease_until = ?4, heartbeat_at = ?5 WHERE id = ?1 AND lease_token = ?2 AND lease_owner = ?3
                           RETURNING edition <> ?6, cancel_requested";
                let row = (lease.id, lease.token, &lease.worker, until, millis(now), lease.edition);
                self.write("heartbeat", |transaction| {
                    Ok(transaction.query_row(sql, row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
                })?
            }
            Table::Deliveries => {
                let sql = "UPDATE deliveries SET lease_until = ?4 WHERE id = ?1 AND lease_token = ?2 AND lease_owner = ?3 RETURNING 0, 0";
                let row = (lease.id, lease.token, &lease.worker, until);
                self.write("heartbeat", |transaction| {
                    Ok(transaction.query_row(sql, row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
                })?
            }
        };
        match renewed {
            None => Err(lease.lost()),
            Some((true, _)) => Ok(Heartbeat::Superseded),
            Some((false, true)) => Ok(Heartbeat::CancelRequested),
            Some((false, false)) => Ok(Heartbeat::Held),
        }
    }

    /// Records that a step failed. A transient failure is tried again after a growing wait until the policy's attempts are used up; otherwise
    /// the job becomes `failed` (with its old state kept for `retry`), or the delivery is given up. Failing to show a state on the issue never
    /// changes the state: it is tried again without end, or, when the failure is permanent (the issue is gone), taken as shown. The lease ends.
    ///
    /// `not_before` is the earliest time that the other side named, where it did. `chance` is uniform in [0, 1).
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn fail(
        &self,
        lease: &Lease,
        failure: &Failure,
        not_before: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        chance: f64,
    ) -> Result<Failed, StoreError> {
        self.write("fail", |transaction| {
            lease.check(transaction)?;
            let column = if lease.shows { "show_attempts" } else { "attempts" };
            let sql = format!("SELECT {column} FROM {} WHERE id = ?1", lease.table.name());
            let attempts: u32 = transaction.query_row(&sql, [lease.id], |row| row.get(0))?;
            let at = self.policy.next(attempts, now, chance).max(not_before.unwrap_or(now));
            let at = time(millis(at));
            let try_again = failure.kind == FailureKind::Transient && (lease.shows || attempts < self.policy.max_attempts);
            match lease.table {
                Table::Jobs => jobs::fail(transaction, lease, failure, try_again.then_some(at), now),
                Table::Deliveries if try_again => {
                    let sql = "UPDATE deliveries SET lease_owner = NULL, lease_until = 0, not_before = ?2, outcome = ?3 WHERE id = ?1";
                    transaction.execute(sql, (lease.id, millis(at), &failure.message))?;
                    Ok(Failed::Again(at))
                }
                Table::Deliveries => {
                    deliveries::give_up(transaction, lease.id, &failure.message, now)?;
                    Ok(Failed::GivenUp)
                }
            }
        })
    }

    /// State of a job, for messages.
    pub(super) fn state_of(connection: &Connection, id: i64) -> Result<JobState, StoreError> {
        let found: Option<String> = connection.query_row("SELECT state FROM jobs WHERE id = ?1", [id], |row| row.get(0)).optional()?;
        found.ok_or(StoreError::NoSuchJob(id))?.parse()
    }
}
