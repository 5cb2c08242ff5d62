//! What lost webhooks would have said: found by comparing GitHub's own state with the store, at start and from time to time.

use super::intake::{FOUND_COMMENT, FOUND_ISSUE, Found};
use super::{Halt, Worker};
use crate::bot::commands;
use crate::bot::decide::{IssueDecision, Latest, body_hash, on_issue};
use crate::bot::status::remembered;
use crate::bot::store::{Delivery, Intake};
use crate::github::{Issue, IssueQuery, IssueState};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use std::time::Duration;

/// Name of the fact that tells when the store was first used: older comments are not commands to this bot.
const BEGAN: &str = "began";
/// Name of the fact that tells up to when GitHub's state has been compared.
pub(crate) const RECONCILED: &str = "reconciled";
/// How much of the time before is looked at again: GitHub's lists lag behind, and clocks differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// How long handled deliveries are remembered; GitHub offers to send one again for three days.
const REMEMBER_DELIVERIES: TimeDelta = TimeDelta::days(30);
/// Wait after a round that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) fn reconcile_lane(&self) {
        let mut labels_exist = false;
        while !self.parts.signal.is_stopped() {
            let done = self.reconcile(&mut labels_exist);
            let pause = match done {
                Ok(found) => {
                    if found > 0 {
                        tracing::info!(found, "reconciliation found what no webhook had said");
                        self.parts.signal.wake();
                    }
                    self.parts.config.reconciliation.interval()
                }
                Err(Halt::Failed { failure, .. }) => {
                    tracing::warn!(reason = failure.message, "reconciliation failed");
                    AFTER_FAILURE.min(self.parts.config.reconciliation.interval())
                }
                Err(Halt::Stopped | Halt::Superseded) => return,
            };
            self.parts.signal.wait(pause);
        }
    }

    /// One round; gives how many things it found.
    fn reconcile(&self, labels_exist: &mut bool) -> Result<usize, Halt> {
        let now = self.now();
        let began = self.began(now)?;
        let since = match self.parts.store.recall(RECONCILED)? {
            Some(text) => text.parse::<DateTime<Utc>>().ok().map(|last| last - OVERLAP),
            None => None,
        };
        if !*labels_exist {
            self.ensure_labels()?;
            *labels_exist = true;
        }
        let mut found = self.find_issues(since)?;
        found += self.find_comments(since.unwrap_or(began), began)?;
        self.parts.store.remember(RECONCILED, &now.to_rfc3339())?;
        self.parts.store.forget_deliveries(now - REMEMBER_DELIVERIES)?;
        Ok(found)
    }

    fn began(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, Halt> {
        if let Some(began) = self.parts.store.recall(BEGAN)?.and_then(|text| text.parse().ok()) {
            return Ok(began);
        }
        // GitHub tells times in whole seconds: a comment of this very second must not count as older.
        let began = now.trunc_subsecs(0);
        self.parts.store.remember(BEGAN, &began.to_rfc3339())?;
        Ok(began)
    }

    /// All open submissions, and whatever else changed since the last round.
    fn find_issues(&self, since: Option<DateTime<Utc>>) -> Result<usize, Halt> {
        let open = IssueQuery { label: Some("submission".to_owned()), state: Some(IssueState::Open), since: None };
        let mut issues = self.ask(self.parts.github.issues(&open))?;
        if since.is_some() {
            let changed = IssueQuery { label: None, state: None, since };
            let changed = self.ask(self.parts.github.issues(&changed))?;
            issues.extend(changed.into_iter().filter(|issue| issues.iter().all(|known| known.number != issue.number)).collect::<Vec<_>>());
        }
        let mut found = 0;
        for issue in issues {
            found += usize::from(self.look_at_issue(&issue)?);
        }
        Ok(found)
    }

    fn look_at_issue(&self, issue: &Issue) -> Result<bool, Halt> {
        let latest = self.parts.store.job_of_issue(issue.number)?;
        if on_issue(issue, latest.as_ref().map(Latest::from).as_ref(), &self.parts.config.policy) == IssueDecision::Nothing {
            return Ok(false);
        }
        // A store that was lost: what the issue says about itself still holds.
        if latest.is_none()
            && issue.labels.iter().any(|label| label == "evaluated")
            && let Some(status) = self.find_status(issue.number)?.and_then(|comment| remembered(&comment.body))
            && status.state == "reported"
            && status.body == body_hash(&issue.body, &status.suite)
        {
            return Ok(false);
        }
        // One delivery for each state in which the issue is found, not one for each round.
        let hash = body_hash(&issue.body, if issue.state == IssueState::Open { "open" } else { "closed" });
        let (job, state) = latest.map_or((0, ""), |job| (job.id, job.state.as_str()));
        let id = format!("found:issue:{}:{job}:{state}:{}", issue.number, &hash[..16]);
        self.take_in(FOUND_ISSUE, id, Found { issue: issue.number, comment: None })
    }

    /// Comments with commands that nobody has told us about.
    fn find_comments(&self, since: DateTime<Utc>, began: DateTime<Utc>) -> Result<usize, Halt> {
        let comments = self.ask(self.parts.github.comments_since(since))?;
        let mut found = 0;
        for comment in comments {
            let by_person = comment.user.as_ref().is_some_and(|user| !user.is_bot() && !self.parts.own.wrote(Some(user)));
            let Some(issue) = comment.issue.filter(|_| by_person && comment.created_at >= began) else { continue };
            if commands::parse(&comment.body).is_empty() || self.parts.store.knows_comment(comment.id)? {
                continue;
            }
            let id = format!("found:comment:{}", comment.id);
            found += usize::from(self.take_in(FOUND_COMMENT, id, Found { issue, comment: Some(comment.id) })?);
        }
        Ok(found)
    }

    fn take_in(&self, event: &str, id: String, found: Found) -> Result<bool, Halt> {
        let payload = serde_json::to_string(&found).map_err(|error| Halt::permanent(error.to_string()))?;
        let delivery = Delivery { id, event: event.to_owned(), issue: Some(found.issue), comment: found.comment, payload };
        Ok(self.parts.store.accept(&delivery, self.now())? == Intake::New)
    }
}
