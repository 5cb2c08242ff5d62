//! What can go wrong between this program and the hub, by what the caller can do about it.

use std::path::{Path, PathBuf};

/// A failure of the hub room. Each message names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Repository, revision or file does not exist (or is private and the token may not know it).
    #[error("{what} was not found on the hub: check the spelling; a private repository also looks like this unless HF_TOKEN may read it")]
    NotFound {
        /// Repository, revision or file.
        what: String,
    },
    /// The dataset has no such configuration or split.
    #[error("{what} does not exist; there are: {existing}")]
    NoSuchSplit {
        /// Dataset, configuration and split that were asked for.
        what: String,
        /// What exists instead.
        existing: String,
    },
    /// The hub wants a token, or refuses the one in use.
    #[error("the hub refused access to {what} (HTTP {status}): set HF_TOKEN to a valid token with read access to it")]
    Unauthorized {
        /// Repository or file.
        what: String,
        /// 401 or 403.
        status: u16,
    },
    /// The repository asks for terms to be accepted first.
    #[error("{repo} is gated: accept its terms on its hub page with the account that HF_TOKEN belongs to, then try again")]
    Gated {
        /// Repository.
        repo: String,
    },
    /// The hub has disabled the repository.
    #[error("{repo} has been disabled by the hub and cannot be read")]
    Disabled {
        /// Repository.
        repo: String,
    },
    /// The hub asks to slow down, and still did after the retries.
    #[error("the hub limits the rate of requests (HTTP 429 for {what}){}: try again later, or set HF_TOKEN for a higher limit", wait_text(*.retry_after_s))]
    RateLimited {
        /// What was asked for.
        what: String,
        /// Seconds that the hub asked to wait, where it said so.
        retry_after_s: Option<u64>,
    },
    /// The hub answered with an error of its own, and still did after the retries.
    #[error("the hub answered HTTP {status} for {what}{}", detail_text(.detail))]
    Server {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// The hub's own message; may be empty.
        detail: String,
    },
    /// No answer, or a connection that broke, after the retries.
    #[error(
        "the hub could not be reached for {what}: {reason}; check the network, HF_ENDPOINT and the proxy variables, or set HF_HUB_OFFLINE=1 to use the cache alone"
    )]
    Network {
        /// What was asked for.
        what: String,
        /// What the connection said.
        reason: String,
    },
    /// Offline mode, and the cache does not have it.
    #[error("{what} is not in the cache {} and HF_HUB_OFFLINE forbids to fetch it: unset HF_HUB_OFFLINE once, or download it where there is a network", .cache.display())]
    Offline {
        /// What is missing.
        what: String,
        /// The cache that was looked at.
        cache: PathBuf,
    },
    /// The index of a model's weights names a file that does not exist.
    #[error("{what} has an index of weights that names the file {file:?}, which is not there: upload it, or correct the index")]
    MissingShard {
        /// Repository.
        what: String,
        /// File that is missing.
        file: String,
    },
    /// The content is damaged, truncated, or not what the hub announced.
    #[error("{what} is damaged or not what it claims to be: {reason}")]
    Corrupt {
        /// File or answer.
        what: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The content may be fine but this program does not know how to read it.
    #[error("{what} cannot be read: {reason}")]
    Unsupported {
        /// File or repository.
        what: String,
        /// What is not known, and what is.
        reason: String,
    },
    /// A name that no repository, revision, file or setting can have.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// The offending text and what it is.
        what: String,
        /// The rule.
        reason: String,
    },
    /// The local disk failed: full, read-only, no permission.
    #[error("{doing} {} failed: {source}{}", .path.display(), disk_remedy(.source))]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

impl HubError {
    /// Whether the same request may succeed later with nothing changed (rate limit, server error, network).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Network { .. } => true,
            Self::Server { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether the cause lies in the repository that was named (missing, gated, damaged, …), so that its author can mend it,
    /// and not in this machine, its token, the network or the hub.
    #[must_use]
    pub fn is_about_the_repository(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::NoSuchSplit { .. }
                | Self::Gated { .. }
                | Self::Disabled { .. }
                | Self::MissingShard { .. }
                | Self::Corrupt { .. }
                | Self::Unsupported { .. }
                | Self::Invalid { .. }
        )
    }

    pub(super) fn disk(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Disk { doing, path: path.to_owned(), source }
    }

    pub(super) fn corrupt(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.into() }
    }

    pub(super) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    pub(super) fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), reason: reason.into() }
    }
}

fn wait_text(retry_after_s: Option<u64>) -> String {
    retry_after_s.map_or_else(String::new, |seconds| format!(", it asks for {seconds} s"))
}

fn detail_text(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

fn disk_remedy(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; the disk is full: free space or point HF_HUB_CACHE to another disk, then run again"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; point HF_HUB_CACHE to a folder that this user may write to"
        }
        _ => "",
    }
}
