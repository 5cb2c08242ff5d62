//! The states of a job and the steps between them.

use super::StoreError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How far a submission is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Stored, not looked at yet.
    Received,
    /// Checked and sound; waits for approval, where the configuration asks for one.
    Validated,
    /// Waits for its turn to be evaluated.
    Queued,
    /// Being evaluated.
    Evaluating,
    /// The artifacts are complete.
    Evaluated,
    /// The commit is on the branch.
    Published,
    /// The results are on the issue: done.
    Reported,
    /// The submission has errors; an edited issue begins a new job.
    Rejected,
    /// Given up, with a reason; `retry` goes on where it stopped.
    Failed,
    /// Stopped by somebody's command.
    Cancelled,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Validated,
        Self::Queued,
        Self::Evaluating,
        Self::Evaluated,
        Self::Published,
        Self::Reported,
        Self::Rejected,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the store, in JSON and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Validated => "validated",
            Self::Queued => "queued",
            Self::Evaluating => "evaluating",
            Self::Evaluated => "evaluated",
            Self::Published => "published",
            Self::Reported => "reported",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Reported | Self::Rejected | Self::Failed | Self::Cancelled)
    }

    /// Whether a job may go from this state to `to` in one step.
    #[must_use]
    pub const fn can_become(self, to: Self) -> bool {
        use JobState::{Cancelled, Evaluated, Evaluating, Failed, Published, Queued, Received, Rejected, Reported, Validated};
        match self {
            Received => matches!(to, Validated | Rejected | Failed | Cancelled),
            Validated => matches!(to, Queued | Received | Failed | Cancelled),
            Queued => matches!(to, Evaluating | Received | Failed | Cancelled),
            Evaluating => matches!(to, Evaluated | Queued | Failed | Cancelled),
            Evaluated => matches!(to, Published | Failed),
            Published => matches!(to, Reported | Failed),
            // By `retry`: back to where it stopped.
            Failed => matches!(to, Received | Validated | Queued | Evaluated | Published),
            Cancelled | Rejected => matches!(to, Received),
            Reported => false,
        }
    }

    /// An error when [`Self::can_become`] says no.
    pub(super) fn check_step(self, to: Self) -> Result<(), StoreError> {
        if self.can_become(to) { Ok(()) } else { Err(StoreError::Forbidden { from: self, to }) }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| StoreError::Damaged(format!("a job in the unknown state {text:?}")))
    }
}

/// Whether trying again can help; decided where an error is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// Trying again gives the same result.
    Permanent,
    /// The host, the network or a service failed; the same step may succeed later.
    Transient,
}

impl FailureKind {
    /// The name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
        }
    }
}
