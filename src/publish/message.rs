//! The commit message, and finding it again.

use std::collections::BTreeSet;

use git2::{Oid, Repository};

use super::PublishError;

const RUN_ID: &str = "Run-Id";
const ISSUE: &str = "Issue";

/// A commit message: one line, and trailers by which the commit is found again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitMessage {
    /// The first line.
    pub subject: String,
    /// The runs that the commit publishes, one `Run-Id` trailer each. Without runs, publishing twice is told apart by the tree alone.
    pub run_ids: Vec<String>,
    /// The number of the issue that asked for them.
    pub issue: Option<u64>,
}

impl CommitMessage {
    pub(super) fn render(&self) -> Result<String, PublishError> {
        let refuse = |reason: String| Err(PublishError::Message { reason });
        if self.subject.trim().is_empty() || self.subject.chars().any(char::is_control) {
            return refuse("the subject must be one line of text".to_owned());
        }
        let in_run_id = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if let Some(run_id) = self.run_ids.iter().find(|run_id| run_id.is_empty() || !run_id.chars().all(in_run_id)) {
            return refuse(format!("a run id is made of letters, digits, `-`, `_` and `.`, not {run_id:?}"));
        }
        let runs = self.run_ids.iter().map(|run_id| format!("{RUN_ID}: {run_id}\n"));
        let issue = self.issue.iter().map(|issue| format!("{ISSUE}: #{issue}\n"));
        let trailers: String = runs.chain(issue).collect();
        let separator = if trailers.is_empty() { "" } else { "\n" };
        Ok(format!("{}\n{separator}{trailers}", self.subject.trim()))
    }

    /// The newest commit after which the branch has all of the runs; `None` when one is missing, or when there are none to look for.
    /// Commits that `searched` contains have been looked at before.
    pub(super) fn find(&self, repository: &Repository, tip: Option<Oid>, searched: Option<Oid>) -> Result<Option<Oid>, git2::Error> {
        let (Some(tip), false) = (tip, self.run_ids.is_empty()) else { return Ok(None) };
        let mut missing: BTreeSet<&str> = self.run_ids.iter().map(String::as_str).collect();
        let mut walk = repository.revwalk()?;
        walk.push(tip)?;
        // With several runs, one may lie before the searched commit and another after it.
        if let (Some(searched), 1) = (searched, missing.len()) {
            walk.hide(searched)?;
        }
        let mut newest = None;
        for id in walk {
            let id = id?;
            let commit = repository.find_commit(id)?;
            for run_id in run_ids(commit.message_bytes())? {
                if missing.remove(run_id.as_str()) {
                    newest = newest.or(Some(id));
                }
            }
            if missing.is_empty() {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}

fn run_ids(message: &[u8]) -> Result<Vec<String>, git2::Error> {
    let Ok(message) = std::str::from_utf8(message) else { return Ok(Vec::new()) };
    if !message.contains(RUN_ID) {
        return Ok(Vec::new());
    }
    let trailers = git2::message_trailers_strs(message)?;
    Ok(trailers.iter().filter(|(key, _)| *key == RUN_ID).map(|(_, value)| value.to_owned()).collect())
}
