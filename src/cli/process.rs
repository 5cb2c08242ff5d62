//! `slm-bench process`: from an issue's text to a pushed commit and a comment, the way that the bot goes, on one machine.

use super::run::{Choice, evaluate};
use super::{Outcome, UsageError};
use crate::bot::paired_tests;
use crate::bot::publication::{FinishedRun, announcement, changes, commit_message, derived_at, registry_at};
use crate::bot::validation::{Check, check_issue};
use crate::bot::{Links, status_of_results};
use crate::evaluation::Evaluated;
use crate::hub::{Hub, HubConfig};
use crate::leaderboard::TaskStatus;
use crate::publish::{Attempts, Credentials, Identity, Published, Publisher};
use crate::submission::{MAX_ISSUE_BYTES, Submission};
use anyhow::Context;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Take one submission the whole way: check it, evaluate the model, fold the runs into the registry, commit, push, print the comment.
///
/// The same steps as the bot's, without GitHub. Doing it again makes no second commit. A run that was interrupted goes on with --resume.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 published; 1 the submission is invalid (the findings are printed); 2 wrong usage; 3 a step failed; 4 published, \
    but some task has no score. GITHUB_TOKEN is used where the repository asks for credentials over https."
)]
pub(crate) struct Arguments {
    /// The text of the issue: Markdown with the YAML in a code block; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    issue_file: PathBuf,
    /// Repository to publish to: the folder of a bare repository, or a URL.
    #[arg(long, value_name = "DIR_OR_URL")]
    repository: String,
    /// Branch to publish on.
    #[arg(long, default_value = "main")]
    branch: String,
    /// Number of the issue, for the commit's trailer.
    #[arg(long, value_name = "N")]
    issue: Option<u64>,
    /// Login of the account that opened the issue, to be compared with `submitted_by`.
    #[arg(long, value_name = "LOGIN")]
    author: Option<String>,
    /// Accept gated repositories that the token can read.
    #[arg(long)]
    allow_gated: bool,
    /// Folder for runs and the git cache.
    #[arg(long, value_name = "DIR", default_value = "slm-bench-work")]
    work_dir: PathBuf,
    /// Name of the commit's author.
    #[arg(long, value_name = "NAME", default_value = "slm-bench")]
    author_name: String,
    /// Address of the commit's author.
    #[arg(long, value_name = "ADDRESS", default_value = "slm-bench@localhost")]
    author_email: String,
    #[command(flatten)]
    choice: Choice,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let body = read_issue(&arguments.issue_file)?;
    let hub = Hub::new(&HubConfig::from_env()?)?;
    std::fs::create_dir_all(&arguments.work_dir).with_context(|| format!("cannot make the folder {}", arguments.work_dir.display()))?;
    let work = std::path::absolute(&arguments.work_dir).context("no absolute path")?;
    let token = std::env::var("GITHUB_TOKEN").ok().filter(|token| !token.trim().is_empty());
    let publisher = Publisher {
        remote: arguments.repository.clone(),
        branch: arguments.branch.clone(),
        cache: work.join("publish-cache.git"),
        author: Identity { name: arguments.author_name.clone(), email: arguments.author_email.clone() },
        credentials: token.map_or(Credentials::Anonymous, |token| Credentials::Token(token.trim().to_owned())),
        signing_key: None,
        attempts: Attempts::default(),
    };
    let registry = publisher.read(registry_at)?;
    let check = Check {
        suite: &arguments.choice.suite,
        allow_gated: arguments.allow_gated,
        registry: &registry,
        author: arguments.author.as_deref(),
    };
    let report = check_issue(&body, &hub, &check)?;
    if !report.valid {
        print!("{}", report.to_markdown());
        return Ok(Outcome::Invalid);
    }
    if let Some(unchecked) = report.unchecked.iter().find(|unchecked| unchecked.retry) {
        anyhow::bail!("the submission could not be checked completely; try again: {}", unchecked.reason);
    }
    let submission = report.submission.context("a valid report without its submission")?;
    let processed = process(&submission, &hub, &arguments.choice, &work, &publisher, arguments.issue)?;
    println!("{}", processed.comment);
    eprintln!("commit {} on {} of {}", processed.published.commit.as_deref().unwrap_or("none"), arguments.branch, arguments.repository);
    let complete = processed.evaluated.iter().all(|one| one.run.tasks.values().all(|task| task.status == TaskStatus::Ok));
    Ok(if complete { Outcome::Done } else { Outcome::Partial })
}

fn read_issue(path: &Path) -> anyhow::Result<String> {
    let limit = MAX_ISSUE_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|_| super::InvalidInput(format!("{} is not UTF-8 text", path.display())).into())
}

/// What came of an accepted submission.
pub(crate) struct Processed {
    /// One run per quantization.
    pub(crate) evaluated: Vec<Evaluated>,
    /// The commit.
    pub(crate) published: Published,
    /// The comment on the issue.
    pub(crate) comment: String,
}

/// Evaluates, folds, commits, pushes, and writes the comment.
pub(crate) fn process(
    submission: &Submission,
    hub: &Hub,
    choice: &Choice,
    work: &Path,
    publisher: &Publisher,
    issue: Option<u64>,
) -> anyhow::Result<Processed> {
    let evaluated = evaluate(submission, hub, choice, &work.join("results/raw"))?;
    let runs: Vec<FinishedRun> = evaluated.iter().map(|one| FinishedRun::new(one.folder.clone(), one.run.clone())).collect();
    let message = commit_message(submission, &runs, issue);
    let published = publisher
        .publish(&message, chrono::Utc::now(), |tip| changes(tip, submission, &runs, Some(&paired_tests::beside(publisher))))
        .context("the results could not be published; they are kept in the work folder, and the same command publishes them again")?;
    let derived = publisher.read(derived_at)?;
    let links = Links { commit: published.commit.clone(), ..Links::default() };
    let comment = status_of_results(&announcement(&derived, submission, &runs, &links));
    Ok(Processed { evaluated, published, comment })
}
