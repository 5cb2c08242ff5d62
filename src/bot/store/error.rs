//! What can go wrong with the store, by what the caller should do.

use super::JobState;
use std::path::PathBuf;

/// Why the store did not do what it was asked; nothing was changed in that case.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file was written by a newer version of this program.
    #[error("{} was written by a newer version of slm-bench (its schema is {found}, this version knows up to {known}): use that version, or restore a backup made before the upgrade", .path.display())]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Schema version in the file.
        found: u32,
        /// Newest schema version that this program knows.
        known: u32,
    },
    /// The file cannot be opened as a store.
    #[error("cannot open the store {}: {cause}; the folder must exist and be writable, and the file must be one that slm-bench made", .path.display())]
    Open {
        /// The store's file.
        path: PathBuf,
        /// What `SQLite` says; it stands in the message, so it is not the error's source.
        cause: rusqlite::Error,
    },
    /// Another worker holds the job or delivery now, or its submission was replaced: whatever this worker was doing no longer counts.
    #[error("{what} {id} is no longer held by this worker: its lease ran out and was taken over, or the submission was replaced")]
    LeaseLost {
        /// `job` or `delivery`.
        what: &'static str,
        /// Its number in the store.
        id: i64,
    },
    /// The job is in another state than the caller thought.
    #[error("job {id} is {found}, not {expected}")]
    StateMoved {
        /// The job.
        id: i64,
        /// State in which the caller thought it was.
        expected: JobState,
        /// State in which it is.
        found: JobState,
    },
    /// A step that the states do not allow: a mistake in the program.
    #[error("a job cannot go from {from} to {to}")]
    Forbidden {
        /// Old state.
        from: JobState,
        /// New state.
        to: JobState,
    },
    /// No such job.
    #[error("there is no job {0}")]
    NoSuchJob(i64),
    /// A value in the store that this version cannot read.
    #[error("the store holds something that this version cannot read: {0}")]
    Damaged(String),
    /// A backup to a file that exists.
    #[error("{} exists already; a backup is written to a new file", .0.display())]
    BackupExists(PathBuf),
    /// The disk is full: what was stored before is intact.
    #[error("the disk of the store is full; what was stored before is intact, and work goes on once there is room: {0}")]
    Full(rusqlite::Error),
    /// Anything else that `SQLite` reports.
    #[error("the store failed: {0}")]
    Sqlite(rusqlite::Error),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Sqlite(error) | Self::Open { cause: error, .. } => {
                matches!(
                    error.sqlite_error_code(),
                    Some(
                        rusqlite::ErrorCode::DatabaseBusy
                            | rusqlite::ErrorCode::DatabaseLocked
                            | rusqlite::ErrorCode::SystemIoFailure
                            | rusqlite::ErrorCode::CannotOpen
                            | rusqlite::ErrorCode::OutOfMemory
                    )
                )
            }
            _ => false,
        }
    }

    /// Whether the worker should simply let go of the job: somebody else has it, or it moved on.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        matches!(self, Self::LeaseLost { .. } | Self::StateMoved { .. })
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full(error),
            _ => Self::Sqlite(error),
        }
    }
}
