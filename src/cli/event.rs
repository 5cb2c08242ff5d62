//! `slm-bench event`: the bot's decisions inside of GitHub Actions, where there is no store: what is known about a submission is read back
//! from its status comment.

use super::artifact_files::{find_runs, read_registry};
use super::serve::usage;
use super::{InvalidInput, Outcome, UsageError};
use crate::benchmark::suites::Suite;
use crate::bot::Links;
use crate::bot::commands::{self, Command};
use crate::bot::config::{Config, Evaluate, Policy};
use crate::bot::decide::{Intention, IssueDecision, Latest, Situation, Standing, after_validation, body_hash, on_command, on_issue};
use crate::bot::decide::{usual_duration, work_of};
use crate::bot::publication::{FinishedRun, announcement, changes, commit_message, derived_at, is_stale, known_results, read_finished};
use crate::bot::status::{Remembered, Reply, Shown, Status, Waiting, label_changes, remembered, reply_comment, reply_marker};
use crate::bot::store::JobState;
use crate::bot::validation::{Check, check_issue};
use crate::bot::worker::Own;
use crate::github::webhook::{CommentAction, CommentEvent, Event, IssueAction};
use crate::github::{Auth, Client, Comment, Issue, IssueQuery, PUBLIC_API, Permission, Secret, Settings, User};
use crate::hub::{Hub, HubConfig};
use crate::leaderboard::Registry;
use crate::publish::{Attempts, Credentials, Identity, Publisher};
use crate::submission::{self, Code, InputKind, Report, Severity, Submission};
use anyhow::Context;
use chrono::{TimeDelta, Utc};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[allow(clippy::doc_markdown, reason = "the manual shows these words as they stand")]
/// Decide about an event inside of GitHub Actions, and answer on the issue.
///
/// Reads the event that started the workflow, checks the submission, carries out commands, writes the status comment and the labels. What the
/// following jobs need is written to GITHUB_OUTPUT: `decision` (nothing, rejected, waiting, cancelled or evaluate), `issue`, `suite`,
/// `slug`, and `shards`, a JSON list of task lists for a matrix. Later jobs of the workflow say with --stage how far they are.
#[derive(clap::Args)]
#[command(
    after_help = "Honoured variables: GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_OUTPUT, GITHUB_STEP_SUMMARY."
)]
pub(crate) struct Arguments {
    /// The event, as GitHub stores it for workflows.
    #[arg(long, value_name = "FILE", env = "GITHUB_EVENT_PATH")]
    event_path: PathBuf,
    /// Its name: issues or issue_comment.
    #[arg(long, value_name = "NAME", env = "GITHUB_EVENT_NAME")]
    event_name: String,
    /// Take the policy from this configuration (slm-bench.toml).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Suite to evaluate, instead of the policy's.
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Evaluate every valid submission, without approval.
    #[arg(long)]
    at_once: bool,
    /// The registry of the checkout: what is already evaluated is not evaluated again.
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
    /// Write the checked submission here when it is to be evaluated.
    #[arg(long, value_name = "FILE", default_value = "submission.yml")]
    submission: PathBuf,
    /// Number of task lists that the evaluation is split into.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// What a later job of the workflow has to say: evaluating, publish, failed or cancelled.
    #[arg(long, value_enum)]
    stage: Option<Stage>,
    /// With --stage publish: folder below which the merged runs are.
    #[arg(long, value_name = "DIR", default_value = "results/raw")]
    results: PathBuf,
    /// With --stage publish: repository to publish to; the one of the event when not given.
    #[arg(long, value_name = "DIR_OR_URL")]
    repository: Option<String>,
    /// With --stage publish: branch to publish on.
    #[arg(long, default_value = "main")]
    branch: String,
    /// With --stage failed: what went wrong, in a sentence.
    #[arg(long, value_name = "TEXT", default_value = "a job of the workflow failed; its log says more")]
    reason: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The evaluation has begun.
    Evaluating,
    /// The runs are complete: publish them and report the results.
    Publish,
    /// A job failed.
    Failed,
    /// The workflow was cancelled.
    Cancelled,
}

/// What the following jobs are told.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Nothing,
    Rejected,
    Waiting,
    Cancelled,
    Evaluate { suite: String, submission: Box<Submission> },
}

/// What everything here works with.
struct Desk<'a> {
    arguments: &'a Arguments,
    policy: Policy,
    runtime: tokio::runtime::Runtime,
    github: Client,
    own: Own,
    web: String,
    token: Secret,
    /// What was last written, for the summary.
    summary: std::cell::RefCell<String>,
}

/// An issue with its status comment.
struct Case {
    issue: Issue,
    status: Option<(Comment, Remembered)>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let bytes = std::fs::read(&arguments.event_path)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", arguments.event_path.display())))?;
    let event = Event::parse(&arguments.event_name, &bytes).map_err(|error| InvalidInput(error.to_string()))?;
    let desk = Desk::new(arguments)?;
    let ours = desk.github.repository().to_string();
    if event.repository().is_some_and(|repository| !repository.full_name.eq_ignore_ascii_case(&ours)) {
        return Err(InvalidInput(format!("the event is of another repository than {ours}")).into());
    }
    let number = match &event {
        Event::Issue(event) => event.issue.number,
        Event::Comment(event) => event.issue.number,
        _ => {
            desk.write_outputs(0, &Decision::Nothing)?;
            return Ok(Outcome::Done);
        }
    };
    let Some(case) = desk.case(number)? else {
        desk.write_outputs(number, &Decision::Nothing)?;
        return Ok(Outcome::Done);
    };
    if let Some(stage) = arguments.stage {
        desk.stage(&case, stage)?;
        desk.write_summary()?;
        return Ok(Outcome::Done);
    }
    let decision = match event {
        Event::Issue(event) => desk.on_issue(&case, &event.action)?,
        Event::Comment(event) if event.action == CommentAction::Created => desk.on_comment(case, &event)?,
        _ => Decision::Nothing,
    };
    desk.write_outputs(number, &decision)?;
    desk.write_summary()?;
    Ok(Outcome::Done)
}

impl<'a> Desk<'a> {
    fn new(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let config = arguments.config.as_deref().map(Config::load).transpose().map_err(usage)?;
        let mut policy = config.as_ref().map_or_else(Policy::default, |config| config.policy.clone());
        if let Some(suite) = &arguments.suite {
            Suite::named(suite).map_err(|error| UsageError(error.to_string()))?;
            policy.suite.clone_from(suite);
        }
        if arguments.at_once {
            policy.evaluate = Evaluate::AtOnce;
        }
        let missing = |name: &str| UsageError(format!("the variable {name} is not set; a workflow's step has it"));
        let name = variable("GITHUB_REPOSITORY").ok_or_else(|| missing("GITHUB_REPOSITORY"))?;
        let token = Secret::new("GITHUB_TOKEN", &variable("GITHUB_TOKEN").ok_or_else(|| missing("GITHUB_TOKEN"))?)?;
        let repository = name.parse().map_err(|error: crate::github::Error| UsageError(error.to_string()))?;
        let mut settings = Settings::new(repository, Auth::Token(token.clone()));
        settings.api_url = variable("GITHUB_API_URL").unwrap_or_else(|| PUBLIC_API.to_owned());
        let web = variable("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let github = {
            let _context = runtime.enter();
            Client::new(settings)?
        };
        // A workflow's own token has no account that it could be asked for: then it is a program's.
        let own = match runtime.block_on(github.identity()) {
            Ok(identity) => Own { user_id: identity.user_id },
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(_) => Own { user_id: None },
        };
        Ok(Self { arguments, policy, runtime, github, own, web, token, summary: std::cell::RefCell::default() })
    }

    fn ask<T>(&self, call: impl Future<Output = Result<T, crate::github::Error>>) -> anyhow::Result<T> {
        Ok(self.runtime.block_on(call)?)
    }

    /// The issue as it stands now; `None` where it is gone or a pull request.
    fn case(&self, number: u64) -> anyhow::Result<Option<Case>> {
        let issue = match self.runtime.block_on(self.github.issue(number)) {
            Err(error) if error.is_not_found() => return Ok(None),
            issue => issue?,
        };
        if issue.is_pull_request {
            return Ok(None);
        }
        let comments = self.ask(self.github.comments(number, None))?;
        let mut own = comments.into_iter().filter(|comment| self.own.wrote(comment.user.as_ref()));
        let status = own.find_map(|comment| remembered(&comment.body).map(|remembered| (comment, remembered)));
        Ok(Some(Case { issue, status }))
    }

    fn on_issue(&self, case: &Case, action: &IssueAction) -> anyhow::Result<Decision> {
        if matches!(action, IssueAction::Unlabeled | IssueAction::Deleted | IssueAction::Transferred | IssueAction::Other(_)) {
            return Ok(Decision::Nothing);
        }
        match on_issue(&case.issue, case.latest().as_ref(), &self.policy) {
            IssueDecision::Nothing => Ok(Decision::Nothing),
            IssueDecision::Cancel => {
                self.show(case, &case.known(&self.policy), Shown::Cancelled)?;
                Ok(Decision::Cancelled)
            }
            IssueDecision::Submit { suite } => self.check(case, &suite, &Approval::None).map(|(decision, _)| decision),
        }
    }

    fn on_comment(&self, mut case: Case, event: &CommentEvent) -> anyhow::Result<Decision> {
        let comment = &event.comment;
        let Some(user) = comment.user.as_ref().filter(|user| !user.is_bot() && !self.own.wrote(Some(user))) else {
            return Ok(Decision::Nothing);
        };
        let commands = commands::parse(&comment.body);
        if commands.is_empty() {
            return Ok(Decision::Nothing);
        }
        let standing = self.standing(&commands, user, case.issue.user.as_ref())?;
        let mut replies = Vec::new();
        let mut decision = Decision::Nothing;
        for command in &commands {
            let stale = self.is_stale(&case)?;
            let latest = case.latest().map(|latest| Latest { stale, ..latest });
            for intention in on_command(command, standing, latest.as_ref(), &case.issue.body, &self.policy) {
                let (decided, reply) = self.carry_out(&case, intention)?;
                if decided != Decision::Nothing {
                    decision = decided;
                }
                replies.extend(reply);
            }
            if let Some(now) = self.case(case.issue.number)? {
                case = now;
            }
        }
        if !replies.is_empty() {
            self.reply(&case, comment, &reply_comment(comment.id, &user.login, &replies))?;
        }
        Ok(decision)
    }

    /// Whether the published results of the submission are of an older suite.
    fn is_stale(&self, case: &Case) -> anyhow::Result<bool> {
        let Some(submission) = submission::read(case.issue.body.as_bytes(), InputKind::Issue).submission() else { return Ok(false) };
        Ok(is_stale(&read_registry(&self.arguments.registry)?, &submission.hf_repo))
    }

    fn standing(&self, commands: &[Result<Command, commands::Unknown>], user: &User, author: Option<&User>) -> anyhow::Result<Standing> {
        let standing = Standing::of(user, author, false);
        if commands.iter().flatten().all(|command| *command == Command::Help) {
            return Ok(standing);
        }
        // An answer that is not clear is a no.
        let can_write = match self.runtime.block_on(self.github.permission(user)) {
            Ok(permission) => Permission::can_write(permission),
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(_) => false,
        };
        Ok(Standing { can_write, ..standing })
    }

    fn carry_out(&self, case: &Case, intention: Intention) -> anyhow::Result<(Decision, Option<Reply>)> {
        let known = case.known(&self.policy);
        Ok(match intention {
            Intention::Reply(reply) => (Decision::Nothing, Some(reply)),
            Intention::Refresh => (Decision::Nothing, None),
            Intention::Submit { suite, because } => (self.check(case, &suite, &Approval::None)?.0, Some(because)),
            Intention::Approve { .. } => {
                let (decision, same) = self.check(case, &known.suite, &Approval::Of(known.revision.as_deref()))?;
                let reply = match (&decision, same) {
                    (Decision::Evaluate { .. }, _) => Reply::Approved,
                    (_, false) => Reply::EditedSince,
                    _ => Reply::CheckedAgain,
                };
                (decision, Some(reply))
            }
            Intention::Retry => {
                let same = known.body == body_hash(&case.issue.body, &known.suite);
                let approval = if known.approved && same { Approval::Of(known.revision.as_deref()) } else { Approval::None };
                (self.check(case, &known.suite, &approval)?.0, Some(Reply::CheckedAgain))
            }
            Intention::Cancel if known.state == JobState::Evaluating.as_str() || known.state == JobState::Queued.as_str() => {
                // Nothing here reaches into another workflow run.
                (
                    Decision::Nothing,
                    Some(Reply::Status("Cancel the workflow run on the page \"Actions\"; what was answered is kept.".to_owned())),
                )
            }
            Intention::Cancel => {
                self.show(case, &known, Shown::Cancelled)?;
                (Decision::Cancelled, Some(Reply::Cancelled))
            }
        })
    }

    /// Checks the issue as it stands now, shows what came of it, and decides. Says too whether the model is at the commit that was approved.
    fn check(&self, case: &Case, suite: &str, approval: &Approval<'_>) -> anyhow::Result<(Decision, bool)> {
        let hub = Hub::new(&HubConfig::from_env()?)?;
        let registry = read_registry(&self.arguments.registry)?;
        let author = case.issue.user.as_ref().map(|user| user.login.as_str());
        let check = Check { suite, allow_gated: self.policy.allow_gated, registry: &registry, author };
        let report = check_issue(&case.issue.body, &hub, &check)?;
        let mut now = Remembered {
            state: String::new(),
            body: body_hash(&case.issue.body, suite),
            suite: suite.to_owned(),
            revision: report.submission.as_ref().and_then(|submission| submission.hf_revision.clone()),
            approved: false,
        };
        if !report.valid {
            let known_results = self.known_results(&report, suite, &registry);
            self.show(case, &now, Shown::Rejected { report: &report, known_results: known_results.as_deref() })?;
            return Ok((Decision::Rejected, true));
        }
        if let Some(unchecked) = report.unchecked.iter().find(|unchecked| unchecked.retry) {
            let reason = format!("the submission could not be checked completely: {}", unchecked.reason);
            self.show(case, &now, Shown::Failed { reason: &reason, step: "received" })?;
            anyhow::bail!(reason);
        }
        let submission = report.submission.clone().context("a valid report without its submission")?;
        let parameters = report.measured_parameters.unwrap_or_else(|| submission.parameters.count());
        let estimate = usual_duration(work_of(parameters, submission.quantizations.len(), suite));
        let same = approval.is_of(submission.hf_revision.as_deref());
        let waiting = match approval {
            Approval::Of(_) if same => None,
            Approval::Of(_) => Some(Waiting::Approval),
            Approval::None => after_validation(&self.policy, &self.situation(&case.issue, estimate)?),
        };
        if let Some(waiting) = waiting {
            self.show(case, &now, Shown::Validated { report: &report, waiting: &waiting, estimate: Some(estimate) })?;
            return Ok((Decision::Waiting, same));
        }
        now.approved = true;
        self.show(case, &now, Shown::Queued { report: &report, position: None, estimate: Some(estimate) })?;
        Ok((Decision::Evaluate { suite: suite.to_owned(), submission: Box::new(submission) }, same))
    }

    fn known_results(&self, report: &Report, suite: &str, registry: &Registry) -> Option<String> {
        let mut errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let submission = report.submission.as_ref()?;
        errors.all(|finding| finding.code == Code::AlreadyEvaluated).then(|| {
            let slug = submission.slug();
            let place = format!("{}/{}/tree/{}/results/raw/{slug}", self.web, self.github.repository(), self.arguments.branch);
            known_results(registry, submission, suite, &place)
        })
    }

    /// Evaluations of the last day, by the labels of their issues.
    fn situation(&self, issue: &Issue, estimate: Duration) -> anyhow::Result<Situation> {
        let since = Utc::now() - TimeDelta::hours(24);
        let query = IssueQuery { label: Some("submission".to_owned()), state: None, since: Some(since) };
        let issues = self.ask(self.github.issues(&query))?;
        let started = |other: &&Issue| {
            other.number != issue.number && other.labels.iter().any(|label| ["queued", "evaluating", "evaluated"].contains(&label.as_str()))
        };
        let author = issue.user.as_ref().map(|user| user.id);
        let of_author = issues.iter().filter(started).filter(|other| other.user.as_ref().map(|user| user.id) == author).count();
        let of_all = issues.iter().filter(started).count();
        Ok(Situation { of_author: of_author as u64, of_all: of_all as u64, estimate: Some(estimate) })
    }

    /// Writes the status comment and the labels.
    fn show(&self, case: &Case, about: &Remembered, shown: Shown<'_>) -> anyhow::Result<()> {
        let state = shown.name();
        let status = Status {
            shown,
            job: None,
            body_hash: &about.body,
            suite: &about.suite,
            revision: about.revision.as_deref(),
            approved: about.approved,
            queue_page: None,
        };
        let text = status.to_markdown();
        let number = case.issue.number;
        match &case.status {
            Some((comment, _)) => self.ask(self.github.update_comment(comment.id, &text))?,
            None => match self.case(number)?.and_then(|case| case.status) {
                Some((comment, _)) => self.ask(self.github.update_comment(comment.id, &text))?,
                None => self.ask(self.github.create_comment(number, &text))?,
            },
        };
        let (add, remove) = label_changes(&case.issue.labels, state);
        if !add.is_empty() || !remove.is_empty() {
            self.ask(self.github.change_labels(number, &add, &remove))?;
        }
        *self.summary.borrow_mut() = text;
        Ok(())
    }

    /// One reply to a comment, also when the workflow is run again.
    fn reply(&self, case: &Case, comment: &Comment, text: &str) -> anyhow::Result<()> {
        let marker = reply_marker(comment.id);
        let comments = self.ask(self.github.comments(case.issue.number, Some(comment.created_at - TimeDelta::minutes(5))))?;
        let is_reply =
            |other: &&Comment| self.own.wrote(other.user.as_ref()) && other.body.lines().next().map(str::trim) == Some(marker.as_str());
        if comments.iter().any(|other| is_reply(&other)) {
            return Ok(());
        }
        self.ask(self.github.create_comment(case.issue.number, text))?;
        Ok(())
    }

    /// What a later job says.
    fn stage(&self, case: &Case, stage: Stage) -> anyhow::Result<()> {
        let known = case.known(&self.policy);
        let empty = submission::read(b"", InputKind::File).check(&submission::Context::OFFLINE);
        match stage {
            Stage::Evaluating => {
                let report = Report { valid: true, complete: true, findings: Vec::new(), unchecked: Vec::new(), ..empty };
                self.show(case, &known, Shown::Evaluating { report: &report, progress: None })
            }
            Stage::Failed => self.show(case, &known, Shown::Failed { reason: &self.arguments.reason, step: "evaluating" }),
            Stage::Cancelled => self.show(case, &known, Shown::Cancelled),
            Stage::Publish => self.publish(case, &known),
        }
    }

    fn publish(&self, case: &Case, known: &Remembered) -> anyhow::Result<()> {
        let submission = self.published_submission(case, known)?;
        let mut runs: Vec<FinishedRun> = Vec::new();
        for path in find_runs(&self.arguments.results)? {
            runs.push(read_finished(path.parent().unwrap_or(Path::new(".")), &submission)?);
        }
        if runs.is_empty() {
            return Err(InvalidInput(format!("no run below {}", self.arguments.results.display())).into());
        }
        let name = self.github.repository().to_string();
        let own_remote = format!("{}/{name}.git", self.web);
        let remote = self.arguments.repository.clone().unwrap_or_else(|| own_remote.clone());
        // The workflow's token is for its own repository alone.
        let credentials = if remote == own_remote { Credentials::Token(self.token.reveal().to_owned()) } else { Credentials::Anonymous };
        let cache = tempfile::tempdir().context("cannot make a temporary folder")?;
        let publisher = Publisher {
            remote,
            branch: self.arguments.branch.clone(),
            cache: cache.path().join("publish-cache.git"),
            author: Identity { name: "slm-bench".to_owned(), email: "slm-bench@users.noreply.github.com".to_owned() },
            credentials,
            signing_key: None,
            attempts: Attempts::default(),
        };
        let message = commit_message(&submission, &runs, Some(case.issue.number));
        let published = publisher.publish(&message, Utc::now(), |tip| changes(tip, &submission, &runs, None))?;
        let derived = publisher.read(derived_at)?;
        let page = |rest: String| format!("{}/{name}/{rest}", self.web);
        let links = Links {
            commit: published.commit.map(|commit| page(format!("commit/{commit}"))),
            run: Some(page(format!("tree/{}/results/raw/{}", self.arguments.branch, submission.slug()))),
            ..Links::default()
        };
        let results = announcement(&derived, &submission, &runs, &links);
        self.show(case, known, Shown::Reported { results: &results })
    }

    /// The submission as it was checked: the file that an earlier job wrote, or, where this job has none, the issue's text as long as it is
    /// the one that was checked.
    fn published_submission(&self, case: &Case, known: &Remembered) -> anyhow::Result<Submission> {
        if self.arguments.submission.exists() {
            return super::artifact_files::read_submission(&self.arguments.submission);
        }
        let file = self.arguments.submission.display();
        if body_hash(&case.issue.body, &known.suite) != known.body {
            let reason =
                format!("there is no {file}, and the issue was edited since it was checked; give the checked submission with --submission");
            return Err(InvalidInput(reason).into());
        }
        let read = submission::read(case.issue.body.as_bytes(), InputKind::Issue).submission();
        let mut submission = read.ok_or_else(|| InvalidInput(format!("there is no {file}, and the issue holds no submission")))?;
        submission.hf_revision.clone_from(&known.revision);
        Ok(submission)
    }

    fn write_outputs(&self, issue: u64, decision: &Decision) -> anyhow::Result<()> {
        let name = match decision {
            Decision::Nothing => "nothing",
            Decision::Rejected => "rejected",
            Decision::Waiting => "waiting",
            Decision::Cancelled => "cancelled",
            Decision::Evaluate { .. } => "evaluate",
        };
        let mut text = format!("decision={name}\nissue={issue}\n");
        if let Decision::Evaluate { suite, submission } = decision {
            crate::evaluation::write_atomically(&self.arguments.submission, submission.to_yaml()?.as_bytes())?;
            let shards = serde_json::to_string(&shards(suite, self.arguments.shards)?)?;
            // A slug has letters, digits and `. _ -` alone: nothing of the submission can begin another line.
            let _ = writeln!(text, "suite={suite}\nslug={}\nshards={shards}", submission.slug());
        }
        print!("{text}");
        append("GITHUB_OUTPUT", &text)
    }

    fn write_summary(&self) -> anyhow::Result<()> {
        append("GITHUB_STEP_SUMMARY", &self.summary.borrow())
    }
}

/// Appends to the file that a variable names, where it is set.
fn append(variable: &str, text: &str) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty() && !text.is_empty()) else { return Ok(()) };
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(&path).with_context(|| format!("cannot open the file of {variable}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write the file of {variable}"))
}

/// The tasks of a suite, dealt out to so many jobs; no job is without a task.
fn shards(suite: &str, number: u32) -> anyhow::Result<Vec<String>> {
    let suite = Suite::named(suite)?;
    let names: Vec<&str> = suite.tasks().map(|task| task.name).collect();
    let number = usize::try_from(number)?.clamp(1, names.len().max(1));
    let mut shards = vec![Vec::new(); number];
    for (place, name) in names.iter().enumerate() {
        shards[place % number].push(*name);
    }
    Ok(shards.iter().map(|names| names.join(",")).collect())
}

/// Whether somebody has let a text be evaluated, and at which commit of the model.
enum Approval<'a> {
    None,
    Of(Option<&'a str>),
}

impl Approval<'_> {
    fn is_of(&self, revision: Option<&str>) -> bool {
        match self {
            Self::None => true,
            Self::Of(approved) => *approved == revision,
        }
    }
}

impl Case {
    fn latest(&self) -> Option<Latest<'_>> {
        let (_, known) = self.status.as_ref()?;
        let state = known.state.parse().unwrap_or(JobState::Received);
        Some(Latest { state, body_hash: &known.body, body: None, suite: &known.suite, share: None, stale: false })
    }

    /// What the status comment says; of an issue without one, that nothing is known.
    fn known(&self, policy: &Policy) -> Remembered {
        self.status.as_ref().map_or_else(
            || Remembered {
                state: "received".to_owned(),
                body: body_hash(&self.issue.body, &policy.suite),
                suite: policy.suite.clone(),
                revision: None,
                approved: false,
            },
            |(_, known)| known.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every task of a suite is in one shard, and no shard is empty.
    #[test]
    fn shards_hold_every_task_once() {
        for number in [1, 2, 3, 7, 64] {
            let shards = shards("standard", number).unwrap();
            let mut tasks: Vec<&str> = shards.iter().flat_map(|shard| shard.split(',')).collect();
            assert!(tasks.iter().all(|task| !task.is_empty()), "{shards:?}");
            tasks.sort_unstable();
            let mut expected: Vec<&str> = Suite::named("standard").unwrap().tasks().map(|task| task.name).collect();
            expected.sort_unstable();
            assert_eq!(tasks, expected);
        }
    }
}
