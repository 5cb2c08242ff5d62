//! `slm-bench website`: derives the leaderboard that the website shows.

use super::{InvalidInput, Outcome, artifact_files};
use crate::bot::paired_tests::test_with_cache;
use crate::evaluation::write_atomically;
use crate::leaderboard::board;
use anyhow::Context;
use clap::{Args, Subcommand};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

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
    #[arg(long, value_name = "FILE", default_value = "models/registry.json")]
    registry: PathBuf,
    /// The leaderboard JSON
    #[arg(long, value_name = "FILE", default_value = "website/assets/data/leaderboard.json")]
    output: PathBuf,
    /// File that keeps the results of paired tests for the next time; the leaderboard is the same with and without it [default: one for this
    /// registry in the user's cache folder, `$XDG_CACHE_HOME` or `~/.cache`]
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
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
    let mut items = artifact_files::item_scores(&registry, &arguments.registry, &pillars)?;
    if let Some(cache) = arguments.cache.clone().or_else(|| default_cache(&arguments.registry)) {
        test_with_cache(&cache, &registry, &mut items);
    }
    let leaderboard = board::derive(&registry, &pillars, &items);
    write_atomically(&arguments.output, leaderboard.to_json()?.as_bytes())?;
    let counts: Vec<String> = leaderboard.counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    println!("{}: {}", arguments.output.display(), if counts.is_empty() { "no models".to_owned() } else { counts.join(", ") });
    Ok(Outcome::Done)
}

/// One file for each registry, by its path: results of another registry's runs would only be thrown out of it.
fn default_cache(registry: &Path) -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))?;
    let registry = std::path::absolute(registry).ok()?;
    let digest = Sha256::digest(registry.as_os_str().as_encoded_bytes());
    Some(caches.join("slm-bench").join(format!("paired-tests-{}.cache", hex::encode(&digest[..6]))))
}
