//! `validate`: everything that is to be said about a submission, at once.

use super::{Outcome, UsageError};
use crate::benchmark::suites::Suite;
use crate::bot::validation::{ask, evaluated_in, loadable_architectures};
use crate::hub::{Hub, HubConfig};
use crate::leaderboard::Registry;
use crate::submission::{self, Context, HubAnswers, InputKind, MAX_ISSUE_BYTES};
use anyhow::Context as _;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

#[allow(clippy::doc_markdown, reason = "the manual shows these words as they stand")]
/// Check a submission: all findings at once, each with its place and the remedy.
///
/// Reads YAML, or with --issue the text of an issue that holds it. The hub is asked about the repository; its variables (HF_ENDPOINT,
/// HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN, …) are honoured, and no weights are downloaded.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Exit codes: 0 valid (with --no-hub: as far as checked); 1 invalid; 2 wrong usage; 3 the hub did not answer and the rest is valid: try again."
)]
pub(crate) struct Arguments {
    /// The file; `-` reads standard input.
    file: PathBuf,
    /// The file is the text of an issue: Markdown with the YAML in a code block.
    #[arg(long)]
    issue: bool,
    /// How the findings are written; `json` follows schemas/validation.schema.json.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Check only what can be said without the hub.
    #[arg(long)]
    no_hub: bool,
    /// The registry: what is already evaluated is not evaluated again.
    #[arg(long, value_name = "FILE", conflicts_with = "no_hub")]
    registry: Option<PathBuf>,
    /// Login of the account that opened the issue, to be compared with `submitted_by`.
    #[arg(long, value_name = "LOGIN")]
    author: Option<String>,
    /// Accept gated repositories that the token can read.
    #[arg(long)]
    allow_gated: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// For people, as compilers write.
    Text,
    /// For machines.
    Json,
    /// For a comment on the issue.
    Markdown,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read is wrong usage; a hub that does not answer about an otherwise valid submission is a failure.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let kind = if arguments.issue { InputKind::Issue } else { InputKind::File };
    let input = read_input(&arguments.file)?;
    let suite = Suite::named("standard")?;
    let suite_version = format!("{} {}", suite.name, suite.version);
    let evaluated = match &arguments.registry {
        Some(path) => evaluated_in(&read_registry(path)?),
        None => Vec::new(),
    };
    let reading = submission::read(&input, kind);
    let answers = if arguments.no_hub { None } else { Some(ask(&Hub::new(&HubConfig::from_env()?)?, &reading)) };
    let loadable = loadable_architectures();
    let report = reading.check(&Context {
        hub: answers.as_deref().map_or(HubAnswers::NotAsked, HubAnswers::Asked),
        allow_gated: arguments.allow_gated,
        loadable: Some(&loadable),
        suite_version: &suite_version,
        evaluated: &evaluated,
        author: arguments.author.as_deref(),
    });
    let mut output = std::io::stdout().lock();
    let text = match arguments.format {
        Format::Text => report.to_text(&display_name(&arguments.file), colour_wanted(&output)),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Markdown => report.to_markdown(),
    };
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("writing the report")?;
    match report.unchecked.iter().find(|unchecked| unchecked.retry) {
        _ if !report.valid => Ok(Outcome::Invalid),
        Some(unchecked) => {
            Err(anyhow::anyhow!("{}", unchecked.reason).context("the submission could not be checked completely; try again"))
        }
        None => Ok(Outcome::Done),
    }
}

fn read_registry(path: &Path) -> anyhow::Result<Registry> {
    let text = std::fs::read_to_string(path).map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?;
    Registry::parse(&text).with_context(|| format!("reading {}", path.display()))
}

/// At most one byte more than is accepted: what is larger is refused without being read.
fn read_input(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut input = Vec::new();
    let limit = MAX_ISSUE_BYTES as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut input)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut input))
    };
    read.map_err(|error| UsageError(format!("cannot read {}: {error}", display_name(path))))?;
    Ok(input)
}

fn display_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn colour_wanted(output: &impl IsTerminal) -> bool {
    output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
