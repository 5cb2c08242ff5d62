//! Deliveries: what happened on GitHub, decided and carried out.

use super::health::StepResult;
use super::leases::Held;
use super::{Halt, Worker};
use crate::bot::commands::{self, Audience, Command};
use crate::bot::decide::{Intention, IssueDecision, Latest, Standing, body_hash, on_command, on_issue};
use crate::bot::publication::{is_stale, registry_at};
use crate::bot::status::{Reply, reply_comment, reply_marker};
use crate::bot::store::{self, Cancelled, Claimed, Job, JobState, NewJob, Retried, StoreError, Submitted};
use crate::github::webhook::{CommentAction, Event, IssueAction};
use crate::github::{Comment, Issue, User};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Event name of what reconciliation found about an issue.
pub(super) const FOUND_ISSUE: &str = "found-issue";
/// Event name of a comment that reconciliation found.
pub(super) const FOUND_COMMENT: &str = "found-comment";

/// Payload of [`FOUND_ISSUE`] and [`FOUND_COMMENT`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) issue: u64,
    #[serde(default)]
    pub(super) comment: Option<u64>,
}

/// A new comment, as far as commands need it.
struct NewComment {
    id: u64,
    issue: u64,
    body: String,
    user: Option<User>,
    created_at: DateTime<Utc>,
}

impl Worker {
    /// Handles one delivery.
    pub(super) fn handle_next_delivery(&self) -> Result<bool, StoreError> {
        let Some(claimed) = self.parts.store.next_delivery(&self.name, self.now(), self.leases.length())? else { return Ok(false) };
        let held = self.leases.hold(claimed.lease.clone());
        match self.handle(&held, &claimed) {
            Ok(outcome) => {
                self.parts.health.count(StepResult::Done);
                tracing::info!(delivery = claimed.delivery.id, event = claimed.delivery.event, outcome, "handled");
                match self.parts.store.finish_delivery(&held.lease, outcome, self.now()) {
                    Err(error) if error.is_superseded() => {}
                    other => other?,
                }
                // A job may have a next step now.
                self.parts.signal.wake();
            }
            Err(halt) => self.settle(&held.lease, Err(halt))?,
        }
        Ok(true)
    }

    fn handle(&self, held: &Held, claimed: &Claimed) -> Result<&'static str, Halt> {
        let delivery = &claimed.delivery;
        match delivery.event.as_str() {
            FOUND_ISSUE => match serde_json::from_str::<Found>(&delivery.payload) {
                Ok(found) => self.handle_issue(found.issue, None),
                Err(_) => Ok("not understood"),
            },
            FOUND_COMMENT => match serde_json::from_str::<Found>(&delivery.payload) {
                Ok(Found { comment: Some(id), issue }) => match self.ask_for(self.parts.github.comment(id))? {
                    Some(comment) => self.handle_comment(held, NewComment::of(comment, issue)),
                    None => Ok("the comment is gone"),
                },
                _ => Ok("not understood"),
            },
            event => match Event::parse(event, delivery.payload.as_bytes()) {
                Ok(event) => self.handle_event(held, event),
                Err(error) => {
                    tracing::warn!(%error, "a stored delivery is not understood");
                    Ok("not understood")
                }
            },
        }
    }

    fn handle_event(&self, held: &Held, event: Event) -> Result<&'static str, Halt> {
        let ours = self.parts.config.repository.name.to_string();
        if event.repository().is_some_and(|repository| !repository.full_name.eq_ignore_ascii_case(&ours)) {
            return Ok("of another repository");
        }
        match event {
            Event::Issue(event) => match event.action {
                // What the bot itself does to labels comes back as events.
                IssueAction::Labeled | IssueAction::Unlabeled if self.parts.own.wrote(Some(&event.sender)) => Ok("its own doing"),
                IssueAction::Unlabeled | IssueAction::Other(_) => Ok("nothing to do"),
                action => self.handle_issue(event.issue.number, Some(action)),
            },
            Event::Comment(event) if event.action == CommentAction::Created => {
                let issue = event.issue.number;
                if event.issue.is_pull_request {
                    return Ok("on a pull request");
                }
                self.handle_comment(held, NewComment::of(event.comment, issue))
            }
            Event::Comment(_) => Ok("no new comment"),
            Event::WorkflowRun(_) | Event::Ping { .. } | Event::Ignored { .. } => Ok("nothing to do"),
        }
    }

    /// Looks at an issue as it stands now: events may come late, twice or out of order.
    fn handle_issue(&self, number: u64, action: Option<IssueAction>) -> Result<&'static str, Halt> {
        let latest = self.parts.store.job_of_issue(number)?;
        let Some(issue) = self.ask_for(self.parts.github.issue(number))? else {
            let Some(job) = latest else { return Ok("the issue is gone") };
            self.parts.store.cancel(job.id, job.author_id, self.now())?;
            return Ok("the issue is gone; cancelled");
        };
        if action == Some(IssueAction::Reopened)
            && let Some(job) = latest.as_ref().filter(|job| job.state == JobState::Cancelled)
            && body_hash(&issue.body, &job.suite) == job.body_hash
        {
            self.parts.store.retry(job.id, job.author_id, self.now())?;
            return Ok("opened again");
        }
        match on_issue(&issue, latest.as_ref().map(Latest::from).as_ref(), &self.parts.config.policy) {
            IssueDecision::Nothing => Ok("nothing to do"),
            IssueDecision::Cancel => {
                if let Some(job) = latest {
                    self.parts.store.cancel(job.id, job.author_id, self.now())?;
                }
                Ok("closed; cancelled")
            }
            IssueDecision::Submit { suite } => Ok(match self.submit(&issue, &suite, false)? {
                Submitted::New(_) => "a new submission",
                Submitted::Revised(..) => "an edited submission",
                Submitted::Unchanged(_) => "known",
                Submitted::Busy(_) => "being evaluated; the edit is looked at afterwards",
            }),
        }
    }

    /// `again`: also where the results of this very text are out.
    fn submit(&self, issue: &Issue, suite: &str, again: bool) -> Result<Submitted, Halt> {
        let new = NewJob {
            issue: issue.number,
            // The account of a deleted user has no id; 0 is nobody's.
            author_id: issue.user.as_ref().map_or(0, |user| user.id),
            author_login: issue.user.as_ref().map_or_else(|| "ghost".to_owned(), |user| user.login.clone()),
            body_hash: body_hash(&issue.body, suite),
            body: issue.body.clone(),
            suite: suite.to_owned(),
            again,
        };
        Ok(self.parts.store.submit(&new, self.now())?)
    }

    fn handle_comment(&self, held: &Held, comment: NewComment) -> Result<&'static str, Halt> {
        let Some(user) = comment.user.as_ref().filter(|user| !user.is_bot() && !self.parts.own.wrote(Some(user))) else {
            return Ok("a program's comment");
        };
        let commands = commands::parse(&comment.body);
        if commands.is_empty() {
            return Ok("no command");
        }
        let Some(issue) = self.ask_for(self.parts.github.issue(comment.issue))? else { return Ok("the issue is gone") };
        if issue.is_pull_request {
            return Ok("on a pull request");
        }
        let standing = self.standing(&commands, user, issue.user.as_ref())?;
        let mut replies = Vec::new();
        for (place, command) in commands.iter().enumerate() {
            let name = format!("command-{place}");
            let (intentions, repeated) = self.decided(held, &name, || {
                let latest = self.parts.store.job_of_issue(issue.number)?;
                let stale = latest.as_ref().map_or(Ok(false), |job| self.is_stale(job, command))?;
                let latest = latest.as_ref().map(|job| Latest { stale, ..Latest::from(job) });
                Ok(on_command(command, standing, latest.as_ref(), &issue.body, &self.parts.config.policy))
            })?;
            for intention in intentions {
                replies.extend(self.carry_out(intention, &issue, user.id, repeated)?);
            }
        }
        if !replies.is_empty() {
            self.post_reply(held, &comment, &reply_comment(comment.id, &user.login, &replies))?;
        }
        Ok("commands answered")
    }

    /// Whether the published results of a job are of an older suite, where the command depends on it.
    fn is_stale(&self, job: &Job, command: &Result<Command, commands::Unknown>) -> Result<bool, Halt> {
        let (Some(repo), Ok(Command::Evaluate { quick: false }), JobState::Reported) = (&job.hf_repo, command, job.state) else {
            return Ok(false);
        };
        Ok(is_stale(&self.publisher_now()?.read(registry_at)?, repo))
    }

    /// What a person may do here. GitHub is asked only where a command depends on it, and an answer that is not clear is a no.
    fn standing(&self, commands: &[Result<Command, commands::Unknown>], user: &User, author: Option<&User>) -> Result<Standing, Halt> {
        let standing = Standing::of(user, author, false);
        let depends = |command: &Command| match command.audience() {
            Audience::Everybody => false,
            // A maintainer's `evaluate` is an approval as well.
            Audience::Author => !standing.is_author || matches!(command, Command::Evaluate { .. }),
            Audience::Maintainers => true,
        };
        if !commands.iter().flatten().any(depends) {
            return Ok(standing);
        }
        let permission = match self.ask_for(self.parts.github.permission(user)) {
            Ok(permission) => permission,
            Err(Halt::Failed { failure, .. }) if failure.kind == store::FailureKind::Permanent => {
                tracing::warn!(user = user.id, reason = failure.message, "GitHub does not tell a permission; it counts as none");
                None
            }
            Err(halt) => return Err(halt),
        };
        Ok(Standing { can_write: permission.is_some_and(crate::github::Permission::can_write), ..standing })
    }

    /// Decides once: what was decided before an interruption holds after it. Says too whether it had been decided before.
    fn decided(
        &self,
        held: &Held,
        name: &str,
        decide: impl FnOnce() -> Result<Vec<Intention>, Halt>,
    ) -> Result<(Vec<Intention>, bool), Halt> {
        if let store::Intention::Done(stored) = self.parts.store.intend(&held.lease, name, self.now())? {
            let damaged = |error: serde_json::Error| Halt::permanent(format!("the store's decision is damaged: {error}"));
            return Ok((serde_json::from_str(&stored).map_err(damaged)?, true));
        }
        let decided = decide()?;
        let text = serde_json::to_string(&decided).map_err(|error| Halt::permanent(error.to_string()))?;
        self.parts.store.conclude(&held.lease, name, &text, self.now())?;
        Ok((decided, false))
    }

    /// Does what was decided; doing it again changes nothing and gives the same answer.
    fn carry_out(&self, intention: Intention, issue: &Issue, user: u64, repeated: bool) -> Result<Option<Reply>, Halt> {
        let name = |state: JobState| state.as_str().to_owned();
        let latest = self.parts.store.job_of_issue(issue.number)?;
        Ok(match (intention, latest) {
            (Intention::Reply(reply), _) => Some(reply),
            (Intention::Submit { suite, because }, _) => Some(match self.submit(issue, &suite, true)? {
                Submitted::Busy(job) => Reply::UnderWay(name(job.state)),
                _ => because,
            }),
            (_, None) => Some(Reply::NoSubmission),
            (Intention::Approve { hash }, Some(job)) => {
                let approved = self.parts.store.approve(job.id, &hash, Some(user), self.now())?;
                let before = repeated && job.approved_hash.as_deref() == Some(hash.as_str());
                Some(if approved || before { Reply::Approved } else { Reply::NothingToApprove(name(job.state)) })
            }
            (Intention::Retry, Some(job)) => match self.parts.store.retry(job.id, user, self.now())? {
                Retried::From(state) => Some(Reply::Retried(name(state))),
                Retried::NotNeeded(state) if repeated => Some(Reply::Retried(name(state))),
                Retried::NotNeeded(state) => Some(Reply::NothingToRetry(name(state))),
                Retried::Superseded => Some(Reply::NothingToRetry(name(job.state))),
            },
            (Intention::Cancel, Some(job)) => match self.parts.store.cancel(job.id, user, self.now())? {
                Cancelled::Done => Some(Reply::Cancelled),
                Cancelled::Requested => Some(Reply::Cancelling),
                Cancelled::TooLate(JobState::Cancelled) if repeated => Some(Reply::Cancelled),
                Cancelled::TooLate(state) => Some(Reply::NothingToCancel(name(state))),
            },
            (Intention::Refresh, Some(job)) => {
                self.refresh(&job)?;
                None
            }
        })
    }

    /// Writes the status comment anew where it is known; where it is not, showing the job's state writes it.
    fn refresh(&self, job: &Job) -> Result<(), Halt> {
        let Some(comment) = job.status_comment.filter(|_| job.shown == Some(job.state)) else { return Ok(()) };
        let text = self.status_of(job, job.state, &super::Details::of(job)?)?;
        self.ask_for(self.parts.github.update_comment(comment, &text))?;
        Ok(())
    }

    /// One reply to a comment, however often it is tried.
    fn post_reply(&self, held: &Held, comment: &NewComment, text: &str) -> Result<(), Halt> {
        match self.parts.store.intend(&held.lease, "reply", self.now())? {
            store::Intention::Done(_) => return Ok(()),
            store::Intention::Unknown(_) => {
                if let Some(id) = self.find_reply(comment)? {
                    self.parts.store.conclude(&held.lease, "reply", &id.to_string(), self.now())?;
                    return Ok(());
                }
            }
            store::Intention::First => {}
        }
        let posted = self.ask_for(self.parts.github.create_comment(comment.issue, text))?;
        let id = posted.map_or_else(|| "the issue is gone".to_owned(), |posted| posted.id.to_string());
        self.parts.store.conclude(&held.lease, "reply", &id, self.now())?;
        Ok(())
    }

    fn find_reply(&self, comment: &NewComment) -> Result<Option<u64>, Halt> {
        let marker = reply_marker(comment.id);
        // A little earlier: GitHub's clocks need not agree.
        let since = comment.created_at - TimeDelta::minutes(5);
        let comments = self.ask(self.parts.github.comments(comment.issue, Some(since)))?;
        let is_reply =
            |other: &&Comment| self.parts.own.wrote(other.user.as_ref()) && other.body.lines().next().map(str::trim) == Some(&marker);
        Ok(comments.iter().find(is_reply).map(|found| found.id))
    }
}

impl NewComment {
    fn of(comment: Comment, issue: u64) -> Self {
        Self { id: comment.id, issue, body: comment.body, user: comment.user, created_at: comment.created_at }
    }
}
