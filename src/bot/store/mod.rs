//! What the bot must not forget, in one `SQLite` file: what GitHub delivered, the jobs and their states, effects outside and their outcome.
//!
//! Promises: [`Store::accept`] returns only after the delivery is on the disk. A job has one holder at most: [`Store::claim`] is one statement,
//! a lease ends unless its holder renews it, and whatever a former holder still writes is refused. A step is recorded together with what it
//! came to, or not at all.
//!
//! All calls block for a disk write at most; from asynchronous code they belong into `spawn_blocking`. Times and chance are passed in.

mod crash;
mod deliveries;
mod effects;
mod error;
mod jobs;
mod lease;
mod queue;
mod retry;
mod schema;
mod state;
#[cfg(test)]
mod tests;

pub use crash::{CrashPoint, UnknownPoint};
pub use deliveries::{Claimed, Delivery, Intake, Pending};
pub use effects::Intention;
pub use error::StoreError;
pub use jobs::{Cancelled, Change, Failure, Job, JobError, Lane, NewJob, Retried, Submitted, Transition};
pub use lease::{Failed, Heartbeat, Lease};
pub use queue::{AuthorCounts, Counts, QueueEntry};
pub use retry::{RetryPolicy, chance};
pub use state::{FailureKind, JobState};

use chrono::{DateTime, Utc};
use crash::Side;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a call waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// The store. May be shared between threads; several processes may open one file.
pub struct Store {
    path: PathBuf,
    policy: RetryPolicy,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    waiting: Mutex<Vec<std::sync::Arc<deliveries::Ticket>>>,
    crash: Option<CrashPoint>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, makes it when it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// The file cannot be opened, is not a store, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, RetryPolicy::default())
    }

    /// As [`Self::open`], with bounds on trying again.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, policy: RetryPolicy) -> Result<Self, StoreError> {
        let problem = |cause| StoreError::Open { path: path.to_owned(), cause };
        let mut writer = Connection::open(path).map_err(problem)?;
        set_up(&writer).map_err(problem)?;
        schema::migrate(&mut writer, path).map_err(|error| match error {
            StoreError::Sqlite(source) => problem(source),
            other => other,
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(problem)?;
        set_up(&reader).map_err(problem)?;
        reader.pragma_update(None, "query_only", true).map_err(problem)?;
        Ok(Self {
            path: path.to_owned(),
            policy,
            writer: Mutex::new(writer),
            reader: Mutex::new(reader),
            waiting: Mutex::default(),
            crash: None,
        })
    }

    /// The same store, ending this process at a point: for tests of what a crash there leaves behind.
    #[must_use]
    pub fn crashing_at(mut self, point: CrashPoint) -> Self {
        self.crash = Some(point);
        self
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bounds on trying again.
    #[must_use]
    pub const fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// Writes a copy of the store, consistent in itself, while work goes on.
    ///
    /// # Errors
    /// The target exists already, or cannot be written.
    pub fn backup(&self, target: &Path) -> Result<(), StoreError> {
        if target.exists() {
            return Err(StoreError::BackupExists(target.to_owned()));
        }
        let text = target.to_str().ok_or_else(|| StoreError::Damaged(format!("{} is no text", target.display())))?;
        // On a connection of its own: a long copy keeps nobody from reading or writing.
        let source = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        source.busy_timeout(BUSY_TIMEOUT)?;
        source.execute("VACUUM INTO ?1", [text])?;
        Ok(())
    }

    /// What `SQLite` finds wrong with the file; empty when nothing is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn faults(&self) -> Result<Vec<String>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare("PRAGMA quick_check")?;
        let lines: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    /// Keeps a small fact by name, such as the time of the last reconciliation.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remember(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.write("remember", |transaction| Ok(transaction.execute(sql, (name, value)).map(drop)?))
    }

    /// A fact kept by [`Self::remember`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        use rusqlite::OptionalExtension as _;
        Ok(self.reader().query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0)).optional()?)
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked held a transaction that was rolled back when it was dropped: the connection is as good as before.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` in one write transaction: all of it is kept, or nothing. `what` names it for [`CrashPoint`].
    fn write<T>(&self, what: &str, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.write_with(&mut self.writer(), what, work)
    }

    fn write_with<T>(
        &self,
        writer: &mut Connection,
        what: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = writer.total_changes();
        // Immediate: a transaction that reads first and then wants to write could not wait for another process that writes.
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        let crash = self.crash.as_ref().filter(|point| transaction.total_changes() > before && point.is_now(what));
        if let Some(point) = crash {
            point.pass(Side::Before);
        }
        transaction.commit()?;
        if let Some(point) = crash {
            point.pass(Side::After);
        }
        Ok(value)
    }
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The answer to a delivery is a promise: it is on the disk, not in a cache.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Milliseconds since 1970, as times are stored.
fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A stored time.
fn time(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// Identifiers are unsigned outside and signed in `SQLite`.
const fn stored(id: u64) -> i64 {
    id.cast_signed()
}
