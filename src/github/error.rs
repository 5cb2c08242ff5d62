//! What can go wrong when speaking to GitHub.

use std::time::Duration;

/// Whether the same call may succeed later with nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It will fail again: the request, the token or the repository has to change first.
    Permanent,
    /// It may succeed later.
    Transient {
        /// How long GitHub asks to wait; `None` where it does not say.
        retry_after: Option<Duration>,
    },
}

/// A call to GitHub that did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("GitHub: {what}: {reason}")]
pub struct Error {
    what: String,
    reason: String,
    kind: Kind,
    status: Option<u16>,
    unclear: bool,
}

impl Error {
    /// An error that another try will meet again. `what` was to be done, `reason` says why it was not and what to do.
    pub fn permanent(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into(), kind: Kind::Permanent, status: None, unclear: false }
    }

    /// An error that another try, later, may not meet.
    pub fn transient(what: impl Into<String>, reason: impl Into<String>, retry_after: Option<Duration>) -> Self {
        Self { what: what.into(), reason: reason.into(), kind: Kind::Transient { retry_after }, status: None, unclear: false }
    }

    /// Adds the HTTP status of the answer.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Marks a call whose answer was lost or garbled: GitHub may have carried it out.
    #[must_use]
    pub fn unclear(mut self) -> Self {
        self.unclear = true;
        self
    }

    /// Sets how long to wait.
    #[must_use]
    pub(super) fn after(mut self, pause: Duration) -> Self {
        self.kind = Kind::Transient { retry_after: Some(pause) };
        self
    }

    /// Whether another try later may help.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether another try later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient { .. })
    }

    /// How long GitHub asks to wait, where it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            Kind::Transient { retry_after } => retry_after,
            Kind::Permanent => None,
        }
    }

    /// The HTTP status of the answer; `None` where there was none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the thing does not exist, or hides from this token.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }

    /// Whether GitHub may have carried out the call although it failed for us (the answer was lost): look for the effect before repeating.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.unclear
    }
}
