//! `slm-bench registry`: folds runs into the registry, keeps maintainers' decisions, takes over rows of the original project's registries.

use super::artifact_files::{self, StoredRun, counted};
use super::{InvalidInput, Outcome, UsageError};
use crate::bot::publication::ranked_suite;
use crate::evaluation::write_atomically;
use crate::leaderboard::audit::audit_run;
use crate::leaderboard::registry::{Action, Entry};
use crate::leaderboard::{Decision, Registry, canonical, import, ranking};
use crate::submission;
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Arguments of `registry`.
#[derive(Args)]
pub(super) struct RegistryArguments {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Subcommand)]
enum RegistryCommand {
    /// Fold the runs of a submission into the registry
    Update(UpdateArguments),
    /// Withdraw or flag a model's row, with a reason that is shown, or take that back
    Decide(DecideArguments),
    /// List the models whose results are of another version of the suite than this program evaluates
    Stale(StaleArguments),
    /// Take over the rows of a registry of the original project, as unverified
    Import(ImportArguments),
}

/// Decides about a model's row. The decision is kept in decisions.json beside the registry, which later updates honour too.
///
/// Derive the leaderboard afterwards (`slm-bench website update`) and commit all of it.
#[derive(Args)]
struct DecideArguments {
    /// The registry
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
    /// The model's repository on the hub, `owner/name`
    #[arg(long, value_name = "REPO")]
    model: String,
    /// What is decided
    #[arg(long, value_enum)]
    action: DecidedAction,
    /// Why; shown beside the row
    #[arg(long, value_name = "TEXT", required_if_eq_any([("action", "withdraw"), ("action", "flag")]))]
    reason: Option<String>,
    /// Who decides
    #[arg(long, value_name = "LOGIN", required_if_eq_any([("action", "withdraw"), ("action", "flag")]))]
    by: Option<String>,
    /// Day of the decision [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<chrono::NaiveDate>,
    /// Maintainers' decisions [default: decisions.json beside the registry]
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
}

#[derive(Args)]
struct StaleArguments {
    /// The registry
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
    /// How the list is printed
    #[arg(long, value_enum, default_value_t = ListFormat::Text)]
    format: ListFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecidedAction {
    /// The row stays, without rank
    Withdraw,
    /// The row keeps its rank; the reason is shown beside it
    Flag,
    /// Every decision about the model is taken back
    Clear,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// One line for each model, and what to do
    Text,
    /// A JSON list of repositories
    Json,
}

#[derive(Args)]
struct UpdateArguments {
    /// The submission (YAML)
    #[arg(long, value_name = "FILE")]
    submission: PathBuf,
    /// Folder below which the runs are
    #[arg(long, value_name = "FOLDER", default_value = "results/raw")]
    results: PathBuf,
    /// The registry; made where it does not exist
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
    /// Maintainers' decisions [default: decisions.json beside the registry, where there is one]
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
}

#[derive(Args)]
struct ImportArguments {
    /// Registry of the original project (format v1 or v2)
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Our registry; made where it does not exist
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
}

/// Runs `registry`.
///
/// # Errors
/// Where a file cannot be read or written, a run contradicts itself, or there is no run of the submission.
pub(super) fn run(arguments: &RegistryArguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        RegistryCommand::Update(arguments) => update(arguments),
        RegistryCommand::Decide(arguments) => decide(arguments),
        RegistryCommand::Stale(arguments) => list_stale(arguments),
        RegistryCommand::Import(arguments) => take_over(arguments),
    }
}

fn update(arguments: &UpdateArguments) -> anyhow::Result<Outcome> {
    let submission = artifact_files::read_submission(&arguments.submission)?;
    let (runs, others): (Vec<StoredRun>, Vec<StoredRun>) = (artifact_files::read_runs(&arguments.results)?.into_iter())
        .partition(|stored| stored.run.model.hf_repo.eq_ignore_ascii_case(&submission.hf_repo));
    if runs.is_empty() {
        let (repo, results) = (&submission.hf_repo, arguments.results.display());
        return Err(InvalidInput(format!("no run of {repo} below {results}; `slm-bench run` makes one")).into());
    }
    let mut seen: BTreeMap<&str, &StoredRun> = BTreeMap::new();
    for stored in &runs {
        refuse_contradictions(stored)?;
        if let Some(other) = seen.insert(&stored.run.run_id, stored) {
            let (one, other) = (other.path.display(), stored.path.display());
            return Err(InvalidInput(format!("{one} and {other} are of one run; join its shards with `slm-bench merge` first")).into());
        }
    }
    if !others.is_empty() {
        println!("{} runs of other models below {} are left as they are", others.len(), arguments.results.display());
    }
    let decisions = arguments.decisions.clone().unwrap_or_else(|| arguments.registry.with_file_name("decisions.json"));
    let decisions = artifact_files::read_decisions(&decisions)?;

    let registry = change_registry(&arguments.registry, |registry| {
        registry.upsert_all([(artifact_files::submitted(&submission), runs.iter().map(StoredRun::summary).collect())]);
        registry.decide(&decisions);
        Ok(())
    })?;
    let ranked = registry.models.iter().filter(|entry| entry.rank.is_some()).count();
    if let Some(entry) = registry.models.iter().find(|entry| entry.id == submission.slug()) {
        match (entry.rank, entry.aggregate_score) {
            (Some(rank), Some(score)) => println!("{}: rank {rank} of {ranked}, aggregate {score:.2}", entry.hf_repo),
            (_, Some(score)) => println!("{}: aggregate {score:.2}, not ranked", entry.hf_repo),
            _ => println!("{}: no aggregate, not ranked", entry.hf_repo),
        }
    }
    println!("{}: {}, {ranked} ranked", arguments.registry.display(), counted(registry.models.len(), "model"));
    Ok(Outcome::Done)
}

fn decide(arguments: &DecideArguments) -> anyhow::Result<Outcome> {
    let path = arguments.decisions.clone().unwrap_or_else(|| arguments.registry.with_file_name("decisions.json"));
    existing_registry(&arguments.registry)?;
    let registry = change_registry(&arguments.registry, |registry| {
        let mut decisions = artifact_files::read_decisions(&path)?;
        change_decisions(arguments, registry, &mut decisions)?;
        registry.decide(&decisions);
        write_atomically(&path, canonical::to_pretty(&decisions)?.as_bytes())
    })?;
    if let Some(entry) = registry.models.iter().find(|entry| entry.hf_repo.eq_ignore_ascii_case(&arguments.model)) {
        let rank = entry.rank.map_or_else(|| "not ranked".to_owned(), |rank| format!("rank {rank}"));
        let decision = match &entry.decision {
            Some(Decision { action: Action::Withdraw, reason, .. }) => format!("withdrawn ({reason})"),
            Some(Decision { action: Action::Flag, reason, .. }) => format!("flagged ({reason})"),
            None => "no decision".to_owned(),
        };
        println!("{}: {rank}, {decision}", entry.hf_repo);
    }
    println!("{} and {} are written; `slm-bench website update` derives the leaderboard", path.display(), arguments.registry.display());
    Ok(Outcome::Done)
}

fn change_decisions(arguments: &DecideArguments, registry: &Registry, decisions: &mut Vec<Decision>) -> anyhow::Result<()> {
    let Some(entry) = registry.models.iter().find(|entry| entry.hf_repo.eq_ignore_ascii_case(&arguments.model)) else {
        let (registry, model) = (arguments.registry.display(), &arguments.model);
        return Err(InvalidInput(format!("{registry} has no model {model}; name it as its field `hf_repo` does")).into());
    };
    let about = |decision: &Decision| decision.hf_repo.eq_ignore_ascii_case(&entry.hf_repo);
    let action = match arguments.action {
        DecidedAction::Clear if !decisions.iter().any(about) => {
            return Err(InvalidInput(format!("there is no decision about {}", entry.hf_repo)).into());
        }
        DecidedAction::Clear => {
            decisions.retain(|decision| !about(decision));
            return Ok(());
        }
        DecidedAction::Withdraw => Action::Withdraw,
        DecidedAction::Flag => Action::Flag,
    };
    let text = |value: &Option<String>, option: &str| match value.as_deref().map(str::trim) {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(UsageError(format!("--{option} is needed to withdraw or flag a row"))),
    };
    let date = arguments.date.unwrap_or_else(|| chrono::Utc::now().date_naive());
    if let Some(later) =
        decisions.iter().filter(|decision| about(decision)).map(|decision| decision.date).max().filter(|later| *later > date)
    {
        return Err(InvalidInput(format!("a decision of {later} about {} would still hold; give a later --date", entry.hf_repo)).into());
    }
    let decision = Decision {
        hf_repo: entry.hf_repo.clone(),
        action,
        reason: text(&arguments.reason, "reason")?,
        by: text(&arguments.by, "by")?,
        date,
    };
    if decisions.last() != Some(&decision) {
        decisions.push(decision);
    }
    Ok(())
}

fn list_stale(arguments: &StaleArguments) -> anyhow::Result<Outcome> {
    existing_registry(&arguments.registry)?;
    let registry = artifact_files::read_registry(&arguments.registry)?;
    let suite = ranked_suite().context("the program has no standard suite")?;
    let stale: Vec<&Entry> = registry.models.iter().filter(|entry| ranking::is_stale(entry, &suite)).collect();
    if arguments.format == ListFormat::Json {
        let repos: Vec<&str> = stale.iter().map(|entry| entry.hf_repo.as_str()).collect();
        println!("{}", serde_json::to_string_pretty(&repos)?);
        return Ok(Outcome::Done);
    }
    for entry in &stale {
        let version = ranking::shown_run(&entry.runs, Some(&suite)).map_or("?", |(run, _)| run.suite.version.as_str());
        println!("{}: {} {version}; submission models/submissions/{}.yml", entry.hf_repo, suite.name, entry.id);
    }
    match stale.len() {
        0 => println!("no results of another version than {} {}", suite.name, suite.version),
        count => println!(
            "{count} to be evaluated with {} {}: `/slm-bench evaluate` on the model's issue, or `slm-bench run --submission-file` with its \
             submission and `slm-bench registry update`",
            suite.name, suite.version
        ),
    }
    Ok(Outcome::Done)
}

fn existing_registry(path: &Path) -> anyhow::Result<()> {
    if path.is_file() {
        return Ok(());
    }
    Err(InvalidInput(format!("there is no registry at {}; `slm-bench registry update` makes one", path.display())).into())
}

/// A run whose fields contradict each other never enters the registry.
fn refuse_contradictions(stored: &StoredRun) -> anyhow::Result<()> {
    let suite = &stored.run.suite;
    let pillars = artifact_files::pillars_of(&suite.name, Some(&suite.version));
    match audit_run(&stored.run, pillars.as_deref()).first() {
        None => Ok(()),
        Some(first) => {
            let (path, pointer, message) = (stored.path.display(), &first.pointer, &first.message);
            Err(InvalidInput(format!("{path}: {pointer} {message}; `slm-bench verify` lists all differences")).into())
        }
    }
}

fn take_over(arguments: &ImportArguments) -> anyhow::Result<Outcome> {
    let from = arguments.from.display();
    let text =
        String::from_utf8(artifact_files::read_named(&arguments.from)?).map_err(|_| InvalidInput(format!("{from} is not UTF-8 text")))?;
    let mut report = import::ImportReport::default();
    change_registry(&arguments.registry, |registry| {
        report = import::import(registry, &text, submission::slug)
            .map_err(|error| InvalidInput(format!("{}: {error}", arguments.from.display())))?;
        Ok(())
    })?;
    for (row, reason) in &report.skipped {
        println!("left out {row}: {reason}");
    }
    println!("{} came in as unverified, {} were left out", counted(report.imported.len(), "row"), report.skipped.len());
    Ok(Outcome::Done)
}

/// Reads the registry, changes it and writes it, with every other change of the same registry waiting until this one is done.
fn change_registry(path: &Path, change: impl FnOnce(&mut Registry) -> anyhow::Result<()>) -> anyhow::Result<Registry> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    // The lock is on the folder: the registry itself is replaced, and a lock file would be one more thing to commit.
    let lock = File::open(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?;
    lock.lock().with_context(|| format!("cannot lock the folder {}", folder.display()))?;
    let mut registry = artifact_files::read_registry(path)?;
    change(&mut registry)?;
    write_atomically(path, registry.to_json()?.as_bytes())?;
    Ok(registry)
}
