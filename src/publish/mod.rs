//! Commits and pushes with git2.
//!
//! A [`Publisher`] fetches the tip of a branch into a bare cache repository, asks the caller what changes against that tip, builds the tree
//! without a work tree, commits and pushes. It never forces: where somebody else was faster it fetches and asks again. A commit is found
//! again by its `Run-Id` trailers, so publishing twice, or after a crash at any point, makes one commit.

mod changes;
mod error;
mod message;
mod remote;
mod signing;
mod tip;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use git2::{Oid, Repository, Signature, Time};

pub use changes::Changes;
pub use error::PublishError;
pub use message::CommitMessage;
pub use remote::Credentials;
pub use signing::SigningKey;
pub use tip::Tip;

use remote::PushOutcome;

/// Who makes the commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Shown name.
    pub name: String,
    /// E-mail address; GitHub attributes commits by it.
    pub email: String,
}

/// How often to try again when the branch moves, and how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts in all, the first included; 0 is taken as 1.
    pub limit: u32,
    /// The wait after the first attempt, doubled after each further one, each time between half and one and a half of it by chance.
    pub pause: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { limit: 5, pause: Duration::from_millis(250) }
    }
}

/// Where and as whom to publish. Only one process at a time should publish to a branch; more are safe, but wait for each other.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Address of the remote: a URL, or the path of a bare repository. libgit2 runs no server hooks for a path or `file://`.
    pub remote: String,
    /// Branch to publish on, such as `main`. It is made by the first publication into an empty remote.
    pub branch: String,
    /// Folder of the bare cache repository; made when missing. It may be deleted at any time between two publications.
    pub cache: PathBuf,
    /// Author and committer.
    pub author: Identity,
    /// What the remote asks for.
    pub credentials: Credentials,
    /// Signs the commits; `None` leaves them unsigned.
    pub signing_key: Option<SigningKey>,
    /// Bounds on trying again.
    pub attempts: Attempts,
}

/// What a publication came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What happened.
    pub outcome: Outcome,
    /// The commit: the new one, the one that had published the same runs before, or the tip that needed no change
    /// (`None` when an empty remote needed none). 40 hexadecimal digits.
    pub commit: Option<String>,
    /// Attempts used.
    pub attempts: u32,
}

/// What happened to the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A commit was added.
    Pushed,
    /// Every run was on the branch already.
    AlreadyPublished,
    /// The derived tree equals the tip's: no empty commit is made.
    Unchanged,
}

impl Publisher {
    /// Publishes the changes that `derive` computes from the tip of the branch. `derive` is called again with the new tip whenever somebody
    /// else's commit came first, so it must depend on nothing but the tip and its own unchanging inputs. `now` dates the commit.
    ///
    /// # Errors
    /// See [`PublishError`]; [`PublishError::is_transient`] says which are worth another try later.
    pub fn publish(
        &self,
        message: &CommitMessage,
        now: DateTime<Utc>,
        mut derive: impl FnMut(&Tip<'_>) -> anyhow::Result<Changes>,
    ) -> Result<Published, PublishError> {
        let text = message.render()?;
        self.check_address()?;
        let cache = self.open_cache()?;
        let in_cache = |source| PublishError::Cache { path: self.cache.clone(), source };
        let signature = Signature::new(&self.author.name, &self.author.email, &Time::new(now.timestamp(), 0))
            .map_err(|source| PublishError::Message { reason: format!("the author's name or address: {}", source.message()) })?;

        let limit = self.attempts.limit.max(1);
        let mut searched = None;
        let mut sent = None;
        let mut attempt = 1;
        loop {
            let tip = self.fetch(&cache)?;
            let published =
                |outcome, commit: Option<Oid>| Published { outcome, commit: commit.map(|id| id.to_string()), attempts: attempt };
            if let Some(commit) = sent
                && contains(&cache, tip, commit).map_err(in_cache)?
            {
                return Ok(published(Outcome::Pushed, Some(commit)));
            }
            if let Some(commit) = message.find(&cache, tip, searched).map_err(in_cache)? {
                return Ok(published(Outcome::AlreadyPublished, Some(commit)));
            }
            searched = tip;

            let reader = Tip::new(&cache, tip).map_err(in_cache)?;
            let changes = derive(&reader).map_err(PublishError::Derive)?;
            let tree = changes.write_tree(&cache, reader.tree()).map_err(|error| error.into_publish_error(&self.cache))?;
            if reader.tree().map_or_else(|| tree.is_empty(), |before| before.id() == tree.id()) {
                return Ok(published(Outcome::Unchanged, tip));
            }
            let parents: Vec<_> = reader.commit().into_iter().collect();
            let key = self.signing_key.as_ref();
            let commit = signing::write_commit(&cache, key, &signature, &text, &tree, &parents).map_err(in_cache)?;
            sent = Some(commit);

            match self.push(&cache, commit, tip)? {
                PushOutcome::Accepted => return Ok(published(Outcome::Pushed, Some(commit))),
                PushOutcome::Raced(reason) => {
                    tracing::info!(attempt, reason, branch = self.branch, "the branch moved while publishing");
                    if attempt == limit {
                        return Err(PublishError::Contended { branch: self.branch.clone(), attempts: limit, reason });
                    }
                }
                PushOutcome::Unknown(error) => {
                    tracing::warn!(attempt, %error, branch = self.branch, "the outcome of a push is unknown");
                    if attempt == limit {
                        return self.settle(&cache, commit, error).map(|()| published(Outcome::Pushed, Some(commit)));
                    }
                }
            }
            std::thread::sleep(self.pause_after(attempt));
            attempt += 1;
        }
    }

    /// What `look` finds at the tip of the branch; nothing is changed.
    ///
    /// # Errors
    /// See [`PublishError`]; what `look` fails with is [`PublishError::Derive`].
    pub fn read<T>(&self, look: impl FnOnce(&Tip<'_>) -> anyhow::Result<T>) -> Result<T, PublishError> {
        self.check_address()?;
        let cache = self.open_cache()?;
        let tip = self.fetch(&cache)?;
        let reader = Tip::new(&cache, tip).map_err(|source| PublishError::Cache { path: self.cache.clone(), source })?;
        look(&reader).map_err(PublishError::Derive)
    }

    /// After the last push ended without an answer: did it arrive?
    fn settle(&self, cache: &Repository, commit: Oid, error: PublishError) -> Result<(), PublishError> {
        let tip = self.fetch(cache)?;
        match contains(cache, tip, commit) {
            Ok(true) => Ok(()),
            Ok(false) => Err(error),
            Err(source) => Err(PublishError::Cache { path: self.cache.clone(), source }),
        }
    }

    fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self.attempts.pause.saturating_mul(1 << (attempt - 1).min(16));
        // Without random numbers all would wait alike, which costs time but nothing else.
        let chance = getrandom::u32().map_or(0.5, |word| f64::from(word) / f64::from(u32::MAX));
        doubled.mul_f64(0.5 + chance)
    }

    fn reference(&self) -> String {
        format!("refs/heads/{}", self.branch)
    }
}

fn contains(cache: &Repository, tip: Option<Oid>, commit: Oid) -> Result<bool, git2::Error> {
    tip.map_or(Ok(false), |tip| Ok(tip == commit || cache.graph_descendant_of(tip, commit)?))
}
