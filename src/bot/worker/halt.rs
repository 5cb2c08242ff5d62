//! Why a step did not end well.

use crate::bot::store::{Failure, StoreError};
use crate::github;
use crate::publish::PublishError;
use chrono::{DateTime, TimeDelta, Utc};

/// Why a step stopped short.
#[derive(Debug)]
pub enum Halt {
    /// The worker was told to stop; the step is done again after the next start.
    Stopped,
    /// Somebody else holds the job, or it moved on: whatever this step did no longer counts.
    Superseded,
    /// It failed.
    Failed {
        /// How.
        failure: Failure,
        /// The earliest time for another try, where the other side named one.
        not_before: Option<DateTime<Utc>>,
    },
}

impl Halt {
    /// A failure that another try would repeat.
    pub(super) fn permanent(message: impl Into<String>) -> Self {
        Self::Failed { failure: Failure::permanent(message), not_before: None }
    }

    /// A failure that may pass.
    pub(super) fn transient(message: impl Into<String>) -> Self {
        Self::Failed { failure: Failure::transient(message), not_before: None }
    }

    pub(super) fn of_github(error: github::Error, now: DateTime<Utc>) -> Self {
        let wait = error.retry_after().and_then(|wait| TimeDelta::from_std(wait).ok());
        Self::Failed { failure: error.into(), not_before: wait.map(|wait| now + wait) }
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        if error.is_superseded() {
            return Self::Superseded;
        }
        let message = format!("the bot's store failed: {error}");
        if error.is_transient() { Self::transient(message) } else { Self::permanent(message) }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed { failure, not_before: None }
    }
}

impl From<PublishError> for Halt {
    fn from(error: PublishError) -> Self {
        let transient = error.is_transient();
        let message = format!("{:#}", anyhow::Error::from(error));
        if transient { Self::transient(message) } else { Self::permanent(message) }
    }
}
