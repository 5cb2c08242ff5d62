//! What the bot does about what happens: pure functions from events and stored facts to intentions.

use super::commands::{Audience, Command, Unknown};
use super::config::{Evaluate, Policy};
use super::status::{Reply, Waiting};
use super::store::{Job, JobState};
use crate::evaluation::RunProgress;
use crate::github::{Issue, IssueState, User};
use crate::submission::{self, InputKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Identifies what was checked and what an approval is for: the text of an issue and the suite.
#[must_use]
pub fn body_hash(body: &str, suite: &str) -> String {
    let mut hasher = Sha256::new();
    // GitHub changes line ends when a text is edited in a browser.
    hasher.update(body.replace("\r\n", "\n"));
    hasher.update("\0suite ");
    hasher.update(suite);
    hex::encode(hasher.finalize())
}

/// Whether an issue is a submission: it bears the form's label, or its text holds one.
#[must_use]
pub fn is_submission(issue: &Issue) -> bool {
    if issue.is_pull_request {
        return false;
    }
    issue.labels.iter().any(|label| label.eq_ignore_ascii_case("submission"))
        || !submission::read(issue.body.as_bytes(), InputKind::Issue).repositories().is_empty()
}

/// What is to be done about an issue that was opened, edited or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueDecision {
    /// Nothing: it is no submission, or nothing has changed.
    Nothing,
    /// Store its text as a submission (again), to be evaluated with this suite.
    Submit {
        /// The suite.
        suite: String,
    },
    /// Stop what waits: the issue was closed.
    Cancel,
}

/// What is known about an issue's latest submission, from the store or from the status comment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latest<'a> {
    /// How far it is.
    pub state: JobState,
    /// [`body_hash`] of the text that it is about.
    pub body_hash: &'a str,
    /// That text, where it is known.
    pub body: Option<&'a str>,
    /// Suite.
    pub suite: &'a str,
    /// Share of the evaluation that is done, in [0, 1].
    pub share: Option<f64>,
    /// The results that are out are of another version of the suite than is evaluated now; looked up where a command depends on it.
    pub stale: bool,
}

impl<'a> From<&'a Job> for Latest<'a> {
    fn from(job: &'a Job) -> Self {
        let share = job.progress.as_ref().and_then(RunProgress::share);
        Self { state: job.state, body_hash: &job.body_hash, body: Some(&job.body), suite: &job.suite, share, stale: false }
    }
}

/// Decides about an issue as it stands now.
#[must_use]
pub fn on_issue(issue: &Issue, latest: Option<&Latest<'_>>, policy: &Policy) -> IssueDecision {
    if issue.state == IssueState::Closed {
        let waits = |job: &Latest<'_>| matches!(job.state, JobState::Received | JobState::Validated | JobState::Queued);
        return if latest.is_some_and(waits) { IssueDecision::Cancel } else { IssueDecision::Nothing };
    }
    let unchanged = match latest {
        None => !is_submission(issue),
        Some(job) => {
            let same = || job.body.is_some_and(|body| same_model(&issue.body, body));
            body_hash(&issue.body, job.suite) == job.body_hash || job.state == JobState::Reported && same()
        }
    };
    if unchanged { IssueDecision::Nothing } else { IssueDecision::Submit { suite: policy.suite.clone() } }
}

/// Whether two texts submit the same: results that are out are not asked for again because of a word beside them.
fn same_model(new: &str, old: &str) -> bool {
    let submission = |text: &str| submission::read(text.as_bytes(), InputKind::Issue).submission();
    submission(new).is_some_and(|new| submission(old) == Some(new))
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Opened the issue (by numeric id).
    pub is_author: bool,
    /// Has write access to the repository.
    pub can_write: bool,
}

impl Standing {
    /// The standing of `user` on an issue by `author`.
    #[must_use]
    pub fn of(user: &User, author: Option<&User>, can_write: bool) -> Self {
        Self { is_author: author.is_some_and(|author| author.id == user.id), can_write }
    }

    /// Whether the person may give the command.
    #[must_use]
    pub fn may(self, command: &Command) -> bool {
        match command.audience() {
            Audience::Everybody => true,
            Audience::Author => self.is_author || self.can_write,
            Audience::Maintainers => self.can_write,
        }
    }
}

/// What is to be done about a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intention {
    /// Answer.
    Reply(Reply),
    /// Approve the text with this hash, queue it, and say so.
    Approve {
        /// [`body_hash`] of the text that was checked.
        hash: String,
    },
    /// Check the issue as it stands now, with this suite, and say why.
    Submit {
        /// The suite.
        suite: String,
        /// The answer, where it can be done.
        because: Reply,
    },
    /// Go on after a failure, and say so.
    Retry,
    /// Stop, and say so.
    Cancel,
    /// Bring the status comment up to date.
    Refresh,
}

/// Decides about a command by somebody of this standing. `latest` is the issue's latest submission, `body` the issue's text as it stands now.
#[must_use]
pub fn on_command(
    command: &Result<Command, Unknown>,
    standing: Standing,
    latest: Option<&Latest<'_>>,
    body: &str,
    policy: &Policy,
) -> Vec<Intention> {
    let reply = |reply| vec![Intention::Reply(reply)];
    let command = match command {
        Ok(command) => command,
        Err(Unknown(word)) => return reply(Reply::Unknown(word.clone())),
    };
    if *command == Command::Help {
        return reply(Reply::Help);
    }
    if !standing.may(command) {
        return reply(Reply::Refused(command.clone()));
    }
    let Some(job) = latest else {
        let submits = !submission::read(body.as_bytes(), InputKind::Issue).repositories().is_empty();
        if matches!(command, Command::Evaluate { .. }) && submits {
            return vec![Intention::Submit { suite: wanted_suite(command, policy), because: Reply::CheckedAgain }];
        }
        return reply(Reply::NoSubmission);
    };
    match command {
        Command::Help => reply(Reply::Help),
        Command::Status => vec![Intention::Refresh, Intention::Reply(Reply::Status(sentence(job)))],
        Command::Approve => approve(job, body),
        Command::Evaluate { .. } => evaluate(job, command, standing, body, policy),
        Command::Retry => retry(job),
        Command::Cancel => cancel(job),
    }
}

fn wanted_suite(command: &Command, policy: &Policy) -> String {
    if *command == (Command::Evaluate { quick: true }) { "quick".to_owned() } else { policy.suite.clone() }
}

fn approve(job: &Latest<'_>, body: &str) -> Vec<Intention> {
    vec![match job.state {
        JobState::Validated if body_hash(body, job.suite) != job.body_hash => {
            Intention::Submit { suite: job.suite.to_owned(), because: Reply::EditedSince }
        }
        JobState::Validated => Intention::Approve { hash: job.body_hash.to_owned() },
        state => Intention::Reply(Reply::NothingToApprove(state.as_str().to_owned())),
    }]
}

fn evaluate(job: &Latest<'_>, command: &Command, standing: Standing, body: &str, policy: &Policy) -> Vec<Intention> {
    let suite = wanted_suite(command, policy);
    let changed = body_hash(body, &suite) != job.body_hash;
    vec![match job.state {
        JobState::Evaluating | JobState::Evaluated | JobState::Published => {
            Intention::Reply(Reply::UnderWay(job.state.as_str().to_owned()))
        }
        _ if changed => Intention::Submit { suite, because: Reply::CheckedAgain },
        JobState::Received | JobState::Queued => Intention::Reply(Reply::UnderWay(job.state.as_str().to_owned())),
        // A maintainer's word is an approval.
        JobState::Validated if standing.can_write => Intention::Approve { hash: job.body_hash.to_owned() },
        JobState::Validated => Intention::Reply(Reply::NeedsApproval),
        JobState::Rejected | JobState::Failed | JobState::Cancelled => Intention::Retry,
        // The check says whether there is something to evaluate, and someone with write access approves it.
        JobState::Reported if job.stale => Intention::Submit { suite, because: Reply::CheckedAgain },
        JobState::Reported => Intention::Reply(Reply::Done),
    }]
}

fn retry(job: &Latest<'_>) -> Vec<Intention> {
    match job.state {
        JobState::Failed | JobState::Cancelled | JobState::Rejected => vec![Intention::Retry],
        state => vec![Intention::Reply(Reply::NothingToRetry(state.as_str().to_owned()))],
    }
}

fn cancel(job: &Latest<'_>) -> Vec<Intention> {
    match job.state {
        JobState::Received | JobState::Validated | JobState::Queued | JobState::Evaluating => vec![Intention::Cancel],
        state => vec![Intention::Reply(Reply::NothingToCancel(state.as_str().to_owned()))],
    }
}

fn sentence(job: &Latest<'_>) -> String {
    let what = super::status::in_words(job.state.as_str());
    match job.share.filter(|_| job.state == JobState::Evaluating) {
        Some(share) => format!("The submission is {what}: {:.0} % of the questions are answered.", (100.0 * share).floor()),
        None => format!("The submission is {what}; the status comment says more."),
    }
}

/// What is known when a submission has been found valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// Evaluations that the author got in the last 24 hours.
    pub of_author: u64,
    /// Evaluations in the last 24 hours.
    pub of_all: u64,
    /// How long this one will take, where that can be told.
    pub estimate: Option<Duration>,
}

/// Whether a valid submission, that nobody has approved, is queued now (`None`), or for what it waits. Someone with write access can let it be
/// evaluated in spite of every limit: the operator's limits are there for what nobody looked at.
#[must_use]
pub fn after_validation(policy: &Policy, situation: &Situation) -> Option<Waiting> {
    let longest = super::config::hours(policy.max_hours);
    if situation.estimate.is_some_and(|estimate| estimate > longest) {
        return Some(Waiting::TooLong(policy.max_hours));
    }
    if policy.evaluate == Evaluate::OnApproval {
        return Some(Waiting::Approval);
    }
    if situation.of_author >= u64::from(policy.per_author_per_day) {
        return Some(Waiting::AuthorLimit(policy.per_author_per_day));
    }
    (situation.of_all >= u64::from(policy.per_day)).then_some(Waiting::DayLimit(policy.per_day))
}

/// Tokens that one run of a suite feeds to the model, roughly: what the shared prefixes leave of it.
fn tokens_of(suite: &str) -> f64 {
    match suite {
        "smoke" => 2e4,
        "quick" => 3e6,
        _ => 4e7,
    }
}

/// Parameters times tokens that an ordinary machine computes in a second, until finished runs tell better: two processor cores.
const USUAL_SPEED: f64 = 4e10;

/// How much there is to compute: parameters times tokens, for each quantization.
#[must_use]
pub fn work_of(parameters: u64, quantizations: usize, suite: &str) -> f64 {
    parameters as f64 * quantizations.max(1) as f64 * tokens_of(suite)
}

/// How long that takes on an ordinary machine, for the time before any run has finished here.
#[must_use]
pub fn usual_duration(work: f64) -> Duration {
    Duration::try_from_secs_f64(20.0 + work / USUAL_SPEED).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;
    use std::fmt::Write;

    const BODY: &str = "```yaml\nmodel:\n  name: a\n  hf_repo: o/n\n```\n";
    const AUTHOR: Standing = Standing { is_author: true, can_write: false };
    const MAINTAINER: Standing = Standing { is_author: false, can_write: true };
    const STRANGER: Standing = Standing { is_author: false, can_write: false };

    fn policy(evaluate: Evaluate) -> Policy {
        Policy { evaluate, ..Policy::default() }
    }

    fn issue(body: &str, labels: &[&str], state: IssueState) -> Issue {
        Issue {
            id: 1,
            number: 7,
            title: "A model".to_owned(),
            body: body.to_owned(),
            user: None,
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            state,
            is_pull_request: false,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            html_url: String::new(),
        }
    }

    fn latest(state: JobState, hash: &str) -> Latest<'_> {
        Latest { state, body_hash: hash, body: Some(BODY), suite: "standard", share: None, stale: false }
    }

    /// Whoever may not, gets a refusal and nothing else, in every state; whoever may, never gets one.
    #[test]
    fn nobody_commands_without_the_right() {
        let hash = body_hash(BODY, "standard");
        let policy = policy(Evaluate::OnApproval);
        let commands = [
            Command::Status,
            Command::Evaluate { quick: false },
            Command::Evaluate { quick: true },
            Command::Retry,
            Command::Cancel,
            Command::Approve,
        ];
        for state in JobState::ALL {
            let job = latest(state, &hash);
            for command in commands.clone() {
                for (standing, may) in [(STRANGER, false), (AUTHOR, command != Command::Approve), (MAINTAINER, true)] {
                    let decided = on_command(&Ok(command.clone()), standing, Some(&job), BODY, &policy);
                    let refused = decided == [Intention::Reply(Reply::Refused(command.clone()))];
                    assert_eq!(refused, !may, "{command:?} {standing:?} {state}");
                }
            }
        }
    }

    /// An approval is for the text that was checked: after an edit it is asked for again.
    #[test]
    fn an_edit_voids_the_approval() {
        let hash = body_hash(BODY, "standard");
        let job = latest(JobState::Validated, &hash);
        let policy = policy(Evaluate::OnApproval);
        let approve = |body: &str| on_command(&Ok(Command::Approve), MAINTAINER, Some(&job), body, &policy);
        assert_eq!(approve(BODY), [Intention::Approve { hash: hash.clone() }]);
        assert_eq!(approve(&BODY.replace('\n', "\r\n")), [Intention::Approve { hash: hash.clone() }]);
        let again = Intention::Submit { suite: "standard".to_owned(), because: Reply::EditedSince };
        assert_eq!(approve(&BODY.replace("o/n", "o/m")), [again]);
    }

    /// What each command does in each state, for the author under approval.
    #[test]
    fn commands_by_state() {
        let hash = body_hash(BODY, "standard");
        let policy = policy(Evaluate::OnApproval);
        let mut table = String::new();
        for state in JobState::ALL {
            let job = latest(state, &hash);
            for (who, standing) in [("author", AUTHOR), ("maintainer", MAINTAINER)] {
                for command in [
                    Command::Evaluate { quick: false },
                    Command::Evaluate { quick: true },
                    Command::Retry,
                    Command::Cancel,
                    Command::Approve,
                ] {
                    let decided = on_command(&Ok(command.clone()), standing, Some(&job), BODY, &policy);
                    if who == "maintainer" || decided != on_command(&Ok(command.clone()), MAINTAINER, Some(&job), BODY, &policy) {
                        let decided: Vec<String> = decided.iter().map(|one| format!("{one:?}").replace(&hash, "…")).collect();
                        let quick = if command == (Command::Evaluate { quick: true }) { " quick" } else { "" };
                        let _ = writeln!(table, "{state:<10} {who:<10} {}{quick}: {}", command.name(), decided.join(", "));
                    }
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    /// Only submissions are answered; a changed text is looked at again; results that are out stay out.
    #[test]
    fn issues() {
        let policy = policy(Evaluate::OnApproval);
        let submit = || IssueDecision::Submit { suite: "standard".to_owned() };
        let open = |body: &str, labels: &[&str]| issue(body, labels, IssueState::Open);
        assert_eq!(on_issue(&open("a bug", &[]), None, &policy), IssueDecision::Nothing);
        assert_eq!(on_issue(&open("a bug", &["Submission"]), None, &policy), submit());
        assert_eq!(on_issue(&open(BODY, &[]), None, &policy), submit());
        assert_eq!(on_issue(&issue(BODY, &[], IssueState::Closed), None, &policy), IssueDecision::Nothing);
        let mut request = open(BODY, &["submission"]);
        request.is_pull_request = true;
        assert_eq!(on_issue(&request, None, &policy), IssueDecision::Nothing);

        let hash = body_hash(BODY, "standard");
        for state in JobState::ALL {
            let job = latest(state, &hash);
            assert_eq!(on_issue(&open(BODY, &[]), Some(&job), &policy), IssueDecision::Nothing, "{state}");
            assert_eq!(on_issue(&open(&BODY.replace("o/n", "o/m"), &[]), Some(&job), &policy), submit(), "{state}");
            let closed = on_issue(&issue(BODY, &[], IssueState::Closed), Some(&job), &policy);
            let waits = matches!(state, JobState::Received | JobState::Validated | JobState::Queued);
            assert_eq!(closed == IssueDecision::Cancel, waits, "{state}");
        }
    }

    /// Results of an older suite are evaluated again when somebody asks; an event alone does not.
    #[test]
    fn stale_results_are_evaluated_again_on_request() {
        let (policy, hash) = (policy(Evaluate::OnApproval), body_hash(BODY, "standard"));
        let stale = Latest { stale: true, ..latest(JobState::Reported, &hash) };
        let standing = Standing { is_author: false, can_write: true };
        let ask = |command: Command, job: &Latest<'_>| on_command(&Ok(command), standing, Some(job), BODY, &policy);
        let again = vec![Intention::Submit { suite: "standard".to_owned(), because: Reply::CheckedAgain }];
        assert_eq!(ask(Command::Evaluate { quick: false }, &stale), again);
        assert_eq!(ask(Command::Evaluate { quick: false }, &Latest { stale: false, ..stale }), vec![Intention::Reply(Reply::Done)]);
        assert_eq!(on_issue(&issue(BODY, &[], IssueState::Open), Some(&stale), &policy), IssueDecision::Nothing);
    }

    /// The operator's limits, in the order in which they are told.
    #[test]
    fn limits() {
        let at_once = policy(Evaluate::AtOnce);
        let free = Situation { of_author: 0, of_all: 0, estimate: Some(Duration::from_hours(1)) };
        assert_eq!(after_validation(&at_once, &free), None);
        assert_eq!(after_validation(&policy(Evaluate::OnApproval), &free), Some(Waiting::Approval));
        assert_eq!(after_validation(&at_once, &Situation { of_author: 3, ..free }), Some(Waiting::AuthorLimit(3)));
        assert_eq!(after_validation(&at_once, &Situation { of_all: 20, ..free }), Some(Waiting::DayLimit(20)));
        let long = Situation { estimate: Some(Duration::from_hours(25)), ..free };
        assert_eq!(after_validation(&at_once, &long), Some(Waiting::TooLong(24.0)));
    }

    proptest! {
        /// Whatever a comment says, a stranger's never changes anything.
        #[test]
        fn strangers_change_nothing(text in "(/slm-bench|approve|evaluate|quick|cancel|retry|[ \n>`])*", state in 0usize..10) {
            let hash = body_hash(BODY, "standard");
            let job = latest(JobState::ALL[state], &hash);
            for command in super::super::commands::parse(&text) {
                let decided = on_command(&command, STRANGER, Some(&job), BODY, &Policy::default());
                prop_assert!(decided.iter().all(|one| matches!(one, Intention::Reply(_))), "{text:?} {decided:?}");
            }
        }
    }
}
