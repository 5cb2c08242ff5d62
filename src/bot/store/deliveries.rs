//! The inbox: what GitHub delivered, stored before it is answered and handled after.

use super::lease::Table;
use super::{Lease, Store, StoreError, millis, stored, time};
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

/// An event to be handled: a webhook's, or what reconciliation found in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// GitHub's delivery id (`X-GitHub-Delivery`); of reconciliation a name that says what was found, such as `reconcile:comment:17`.
    pub id: String,
    /// Event name (`X-GitHub-Event`).
    pub event: String,
    /// Number of the issue that it is about. Deliveries about one issue are handled one after the other, in the order of their arrival.
    pub issue: Option<u64>,
    /// Id of the comment that was made, for new comments: however often and by whichever way it arrives, it is handled once.
    pub comment: Option<u64>,
    /// The body, JSON.
    pub payload: String,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// It is on the disk and will be handled.
    New,
    /// It was there before.
    Duplicate,
}

/// A delivery whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Claimed {
    /// The right to handle it.
    pub lease: Lease,
    /// What arrived.
    pub delivery: Delivery,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Attempts so far, this one included.
    pub attempts: u32,
}

/// A delivery that has not been handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub delivery_id: String,
    /// Its event.
    pub event: String,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Attempts so far.
    pub attempts: u32,
    /// What the last attempt failed with.
    pub problem: Option<String>,
}

/// A delivery that waits to be written together with others.
pub(super) struct Ticket {
    delivery: Delivery,
    at: DateTime<Utc>,
    /// Set by whoever wrote it: `None` when writing them together failed and each has to try alone.
    answer: OnceLock<Option<Intake>>,
}

impl Store {
    /// Stores a delivery. When this returns, it is on the disk; a second one with the same id, or about the same new comment, changes nothing.
    ///
    /// Deliveries that arrive while another is being written are written together: one wait for the disk serves all of them.
    ///
    /// # Errors
    /// It was not stored: the sender must be told so.
    pub fn accept(&self, delivery: &Delivery, now: DateTime<Utc>) -> Result<Intake, StoreError> {
        let ticket = Arc::new(Ticket { delivery: delivery.clone(), at: now, answer: OnceLock::new() });
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&ticket));
        let mut writer = self.writer();
        if ticket.answer.get().is_none() {
            let batch = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            let written = self.write_with(&mut writer, "accept", |transaction| {
                batch.iter().map(|ticket| insert(transaction, &ticket.delivery, ticket.at)).collect::<Result<Vec<_>, _>>()
            });
            for (place, ticket) in batch.iter().enumerate() {
                let answer = written.as_ref().ok().and_then(|answers| answers.get(place).copied());
                // Set once: only the thread that took the ticket answers it, and it holds the writer meanwhile.
                let _ = ticket.answer.set(answer);
            }
        }
        if let Some(Some(answer)) = ticket.answer.get() {
            return Ok(*answer);
        }
        self.write_with(&mut writer, "accept", |transaction| insert(transaction, &ticket.delivery, now))
    }

    /// The next delivery to handle, held until `length` from now; `None` when there is none. One that ended its worker as often as the policy
    /// allows is given up first.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn next_delivery(&self, worker: &str, now: DateTime<Utc>, length: Duration) -> Result<Option<Claimed>, StoreError> {
        let until = millis(now + TimeDelta::from_std(length).unwrap_or(TimeDelta::hours(1)));
        self.write("next_delivery", |transaction| {
            let worn: Vec<i64> = transaction
                .prepare_cached("SELECT id FROM deliveries WHERE done_at IS NULL AND lease_until <= ?1 AND attempts >= ?2")?
                .query_map((millis(now), self.policy.max_attempts), |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for id in worn {
                let sql = "SELECT coalesce(outcome, 'the worker ended without a word') FROM deliveries WHERE id = ?1";
                let why: String = transaction.query_row(sql, [id], |row| row.get(0))?;
                give_up(transaction, id, &why, now)?;
            }
            let sql = "UPDATE deliveries SET lease_owner = ?1, lease_token = lease_token + 1, lease_until = ?3, attempts = attempts + 1
                       WHERE id = (SELECT candidate.id FROM deliveries AS candidate
                                   WHERE done_at IS NULL AND lease_until <= ?2 AND not_before <= ?2
                                     AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE earlier.done_at IS NULL
                                                     AND earlier.issue = candidate.issue AND earlier.id < candidate.id)
                                   ORDER BY id LIMIT 1)
                       RETURNING id, lease_token, delivery_id, event, issue, comment, payload, received_at, attempts";
            let claimed = transaction
                .prepare_cached(sql)?
                .query_row((worker, millis(now), until), |row| {
                    let (id, token) = (row.get(0)?, row.get(1)?);
                    let lease = Lease { table: Table::Deliveries, id, worker: worker.to_owned(), token, edition: 0, shows: false };
                    let delivery = Delivery {
                        id: row.get(2)?,
                        event: row.get(3)?,
                        issue: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                        comment: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
                        payload: row.get(6)?,
                    };
                    Ok(Claimed { lease, delivery, received_at: time(row.get(7)?), attempts: row.get(8)? })
                })
                .optional()?;
            Ok(claimed)
        })
    }

    /// Records that a delivery has been handled; `outcome` says in a few words what was done.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub fn finish_delivery(&self, lease: &Lease, outcome: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.write("finish_delivery", |transaction| {
            lease.check(transaction)?;
            let sql = "UPDATE deliveries SET done_at = ?2, outcome = ?3, lease_owner = NULL, lease_until = 0 WHERE id = ?1";
            transaction.execute(sql, (lease.id, millis(now), outcome))?;
            let sql = "UPDATE comments SET handled_at = ?2 WHERE id = (SELECT comment FROM deliveries WHERE id = ?1)";
            transaction.execute(sql, (lease.id, millis(now)))?;
            Ok(())
        })
    }

    /// Whether a comment has been taken in, by whichever way it came.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn knows_comment(&self, comment: u64) -> Result<bool, StoreError> {
        Ok(self.reader().query_row("SELECT EXISTS (SELECT 1 FROM comments WHERE id = ?1)", [stored(comment)], |row| row.get(0))?)
    }

    /// Deliveries that have not been handled, the oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pending_deliveries(&self) -> Result<Vec<Pending>, StoreError> {
        let reader = self.reader();
        let sql = "SELECT delivery_id, event, received_at, attempts, outcome FROM deliveries WHERE done_at IS NULL ORDER BY id";
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Pending {
                delivery_id: row.get(0)?,
                event: row.get(1)?,
                received_at: time(row.get(2)?),
                attempts: row.get(3)?,
                problem: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets deliveries that were handled before `before` and gives their number. A replay of one of them would be handled again, so
    /// `before` should lie further back than a sender's last try; comments are remembered for good.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_deliveries(&self, before: DateTime<Utc>) -> Result<usize, StoreError> {
        let sql = "DELETE FROM deliveries WHERE done_at < ?1";
        self.write("forget_deliveries", |transaction| Ok(transaction.execute(sql, [millis(before)])?))
    }
}

/// Marks a delivery as done for good.
pub(super) fn give_up(connection: &Connection, id: i64, why: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET done_at = ?2, outcome = 'given up: ' || ?3, lease_owner = NULL, lease_until = 0 WHERE id = ?1";
    connection.execute(sql, (id, millis(now), why))?;
    Ok(())
}

fn insert(transaction: &Transaction<'_>, delivery: &Delivery, now: DateTime<Utc>) -> Result<Intake, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE delivery_id = ?1) OR EXISTS (SELECT 1 FROM comments WHERE id = ?2)";
    let (issue, comment) = (delivery.issue.map(stored), delivery.comment.map(stored));
    if transaction.prepare_cached(sql)?.query_row((&delivery.id, comment), |row| row.get(0))? {
        return Ok(Intake::Duplicate);
    }
    let sql = "INSERT INTO deliveries (delivery_id, event, issue, comment, payload, received_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = (&delivery.id, &delivery.event, issue, comment, &delivery.payload, millis(now));
    transaction.prepare_cached(sql)?.execute(row)?;
    if let Some(comment) = comment {
        transaction.execute("INSERT INTO comments (id, issue, seen_at) VALUES (?1, ?2, ?3)", (comment, issue, millis(now)))?;
    }
    Ok(Intake::New)
}
