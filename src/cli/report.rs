//! `slm-bench report`: an aggregated report of runs.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome};
use crate::evaluation::write_atomically;
use crate::leaderboard::report::{Report, Reported};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `report`.
#[derive(Args)]
pub(super) struct ReportArguments {
    /// Folder below which the runs are
    #[arg(long, value_name = "FOLDER", default_value = "results/raw")]
    results_dir: PathBuf,
    /// The report; its Markdown, JSON and HTML forms are written side by side under this name
    #[arg(long, value_name = "FILE", default_value = "results/processed/report.md")]
    output: PathBuf,
}

/// Runs `report`.
///
/// # Errors
/// Where there is no run, a run cannot be read, or the report cannot be written.
pub(super) fn run(arguments: &ReportArguments) -> anyhow::Result<Outcome> {
    let stored = artifact_files::read_runs(&arguments.results_dir)?;
    if stored.is_empty() {
        let folder = arguments.results_dir.display();
        return Err(InvalidInput(format!("there is no run below {folder}; `slm-bench run` makes one")).into());
    }
    let runs = stored.iter().map(|StoredRun { run, sha256, .. }| {
        let path = artifact_files::published_path(run);
        Reported { run, path, sha256: sha256.clone() }
    });
    let report = Report::new(runs.collect());
    for (extension, text) in [("json", report.to_json()?), ("html", report.to_html()), ("md", report.to_markdown())] {
        let path = arguments.output.with_extension(extension);
        write_atomically(&path, text.as_bytes())?;
        println!("{}", path.display());
    }
    Ok(Outcome::Done)
}
