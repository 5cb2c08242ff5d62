//! `slm-bench website`: derives the leaderboard that the website shows.

use super::{InvalidInput, Outcome, artifact_files};
use crate::evaluation::write_atomically;
use crate::leaderboard::board;
use anyhow::Context;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `website`.
#[derive(Args)]
pub(super) struct WebsiteArguments {
    #[command(subcommand)]
    command: WebsiteCommand,
}

#[derive(Subcommand)]
enum WebsiteCommand {
    /// Derive the leaderboard JSON from the registry
    Update(UpdateArguments),
}

#[derive(Args)]
struct UpdateArguments {
    /// The registry
    #[arg(long, value_name = "FILE")]
    registry: PathBuf,
    /// The leaderboard JSON, such as website/assets/data/leaderboard.json
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs `website`.
///
/// # Errors
/// Where the registry cannot be read or the leaderboard not written.
pub(super) fn run(arguments: &WebsiteArguments) -> anyhow::Result<Outcome> {
    let WebsiteCommand::Update(arguments) = &arguments.command;
    if !arguments.registry.is_file() {
        let path = arguments.registry.display();
        return Err(InvalidInput(format!("there is no registry at {path}; `slm-bench registry update` makes one")).into());
    }
    let registry = artifact_files::read_registry(&arguments.registry)?;
    let pillars = artifact_files::pillars_of("standard", None).context("the program has no standard suite")?;
    let items = artifact_files::item_scores(&registry, &arguments.registry, &pillars)?;
    let leaderboard = board::derive(&registry, &pillars, &items);
    write_atomically(&arguments.output, leaderboard.to_json()?.as_bytes())?;
    let counts: Vec<String> = leaderboard.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    println!("{}: {}", arguments.output.display(), if counts.is_empty() { "no models".to_owned() } else { counts.join(", ") });
    Ok(Outcome::Done)
}
