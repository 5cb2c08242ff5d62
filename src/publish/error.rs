//! What can go wrong while publishing.

use std::path::PathBuf;

use thiserror::Error;

/// Why nothing was published. [`PublishError::is_transient`] tells what another try later may cure.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The cache repository cannot be used: disk full, no permission, damaged.
    #[error("cannot use the cache repository {}: {source} (the folder may be deleted: it is rebuilt from the remote)", path.display())]
    Cache {
        /// Its folder.
        path: PathBuf,
        /// What libgit2 says.
        source: git2::Error,
    },
    /// The remote's address or branch cannot be published to as configured.
    #[error("cannot publish to {remote}: {reason}")]
    Address {
        /// The remote's address, without any password.
        remote: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The remote does not answer, or not as a git server.
    #[error("cannot reach {remote}: {reason}")]
    Unreachable {
        /// The remote's address.
        remote: String,
        /// What libgit2 says.
        reason: String,
    },
    /// The remote wants other credentials, or these may not write.
    #[error("{remote} does not accept the credentials: {reason} (the token needs write access to the repository's contents)")]
    Unauthorised {
        /// The remote's address.
        remote: String,
        /// What libgit2 says.
        reason: String,
    },
    /// The server refused the commit by one of its rules (hook, protected branch, size). The same commit will be refused again.
    #[error("{remote} rejects the commit for {branch}: {reason}{}", on_new_lines(server_text))]
    Rejected {
        /// The remote's address.
        remote: String,
        /// The branch.
        branch: String,
        /// The status that the server gave for the branch.
        reason: String,
        /// What the server printed beside it (hooks' messages), possibly empty.
        server_text: String,
    },
    /// Others' commits came first in every attempt.
    #[error("{branch} moved or was locked during each of {attempts} attempts to publish on it (the last one: {reason})")]
    Contended {
        /// The branch.
        branch: String,
        /// Number of attempts.
        attempts: u32,
        /// Why the last attempt did not go through.
        reason: String,
    },
    /// The caller could not say what to publish.
    #[error("cannot derive what to publish from the tip of the branch")]
    Derive(#[source] anyhow::Error),
    /// A path that may not be published.
    #[error("cannot publish a file as {path:?}: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file to publish cannot be read.
    #[error("cannot read {} to publish it: {source}", path.display())]
    File {
        /// The file on disk.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The key that is to sign commits cannot.
    #[error("the signing key {} cannot be used: {reason}", path.display())]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A commit message, trailer or identity that git could not carry.
    #[error("cannot write the commit message: {reason}")]
    Message {
        /// What is wrong.
        reason: String,
    },
}

impl PublishError {
    /// Whether another try, later, may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Cache { .. } | Self::Unreachable { .. } | Self::Contended { .. } | Self::Derive(_) | Self::File { .. } => true,
            Self::Address { .. }
            | Self::Unauthorised { .. }
            | Self::Rejected { .. }
            | Self::SigningKey { .. }
            | Self::Path { .. }
            | Self::Message { .. } => false,
        }
    }
}

fn on_new_lines(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n{text}") }
}
