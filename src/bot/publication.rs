//! What a finished evaluation changes in the repository, and what is said about it.

use super::comment::{Links, results};
use super::paired_tests::test_with_cache;
use crate::benchmark::suites::Suite;
use crate::evaluation::pillar_specs;
use crate::leaderboard::audit::audit_run;
use crate::leaderboard::board::paired_runs;
use crate::leaderboard::ranking::{self, RANKED_SUITE};
use crate::leaderboard::{
    self, Decision, ItemScores, Leaderboard, PillarSpec, Quantization, Registry, Run, RunSummary, Submitted, SuiteRecord,
};
use crate::publish::{Changes, CommitMessage, Tip};
use crate::submission::{self, Submission};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Path of the registry in the repository.
pub const REGISTRY: &str = "models/registry.json";
/// Path of maintainers' decisions in the repository.
const DECISIONS: &str = "models/decisions.json";
/// Path of the leaderboard in the repository.
const LEADERBOARD: &str = "website/assets/data/leaderboard.json";
/// Most bytes of a `run.json` that is read.
const LARGEST_RUN: u64 = 64 << 20;

/// A complete run with its folder.
#[derive(Clone, Debug)]
pub struct FinishedRun {
    /// Folder with `run.json` and `samples/`.
    pub folder: PathBuf,
    /// The run.
    pub run: Run,
    /// Sample files (`samples/…`) that are published elsewhere and stay out of the repository.
    pub elsewhere: BTreeSet<String>,
}

impl FinishedRun {
    /// A run all of whose files go into the repository.
    #[must_use]
    pub fn new(folder: PathBuf, run: Run) -> Self {
        Self { folder, run, elsewhere: BTreeSet::new() }
    }

    /// Its sample files above a size, as `samples/…`.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn sample_files_above(&self, bytes: u64) -> anyhow::Result<Vec<String>> {
        let mut large = Vec::new();
        for file in files_below(&self.folder)?.into_iter().filter(|file| file.starts_with("samples/")) {
            if fs::metadata(self.folder.join(&file)).with_context(|| format!("cannot look at {file}"))?.len() > bytes {
                large.push(file);
            }
        }
        Ok(large)
    }
}

/// Why a run is not published.
#[derive(Debug, thiserror::Error)]
pub enum RunProblem {
    /// The file cannot be read now.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The run is not what it should be; trying again gives the same.
    #[error("the run {name} cannot be published: {reason}")]
    Wrong {
        /// Name of its folder.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads a run and checks that it is one of this submission and does not contradict itself: what comes back from an evaluation is believed no
/// more than anything else.
///
/// # Errors
/// [`RunProblem`].
pub fn read_finished(folder: &Path, submission: &Submission) -> Result<FinishedRun, RunProblem> {
    let path = folder.join("run.json");
    let unreadable = |source| RunProblem::Unreadable { path: path.clone(), source };
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let wrong = |reason: String| RunProblem::Wrong { name: name.clone(), reason };
    let bytes = fs::metadata(&path).map_err(unreadable)?.len();
    if bytes > LARGEST_RUN {
        return Err(wrong(format!("run.json has {bytes} bytes")));
    }
    let text = fs::read(&path).map_err(unreadable)?;
    let run: Run = serde_json::from_slice(&text).map_err(|error| wrong(format!("run.json is not of this format: {error}")))?;
    let same_model = run.model.hf_repo.eq_ignore_ascii_case(&submission.hf_repo)
        && submission.hf_revision.as_ref().is_none_or(|revision| run.model.revision == *revision);
    if !same_model {
        return Err(wrong(format!("it is of {} at {}, not of the submitted model", run.model.hf_repo, run.model.revision)));
    }
    if !submission.quantizations.iter().any(|declared| declared.name == run.model.quantization.name) {
        return Err(wrong(format!("it is of the quantization {:?}, which was not submitted", run.model.quantization.name)));
    }
    let pillars = pillars_of(&run.suite.name, Some(&run.suite.version));
    if let Some(first) = audit_run(&run, pillars.as_deref()).first() {
        return Err(wrong(format!("{} {}", first.pointer, first.message)));
    }
    Ok(FinishedRun::new(folder.to_owned(), run))
}

/// The commit message of a submission's runs: nothing in it was written by the submitter but the slug.
#[must_use]
pub fn commit_message(submission: &Submission, runs: &[FinishedRun], issue: Option<u64>) -> CommitMessage {
    CommitMessage {
        subject: format!("Add results of {}", submission.slug()),
        run_ids: runs.iter().map(|one| one.run.run_id.clone()).collect(),
        issue,
    }
}

/// What the submission and its runs change against the tip of the branch. `paired_tests`: a file of ours that keeps results of paired tests
/// for the next publication.
///
/// # Errors
/// A registry that cannot be read, or a run folder that cannot.
pub fn changes(tip: &Tip<'_>, submission: &Submission, evaluated: &[FinishedRun], paired_tests: Option<&Path>) -> anyhow::Result<Changes> {
    let mut changes = Changes::new();
    let slug = submission::slug(&submission.hf_repo);
    let mut runs = Vec::new();
    for one in evaluated {
        let path = published_path(&one.run);
        let folder = path.trim_end_matches("run.json");
        for file in files_below(&one.folder)?.into_iter().filter(|file| !one.elsewhere.contains(file)) {
            changes.write_file(&format!("{folder}{file}"), one.folder.join(&file))?;
        }
        let bytes = fs::read(one.folder.join("run.json"))?;
        runs.push((one.run.clone(), path, hex::encode(Sha256::digest(&bytes))));
    }
    let mut registry = registry_at(tip)?;
    registry.fold(&submitted(submission), &runs)?;
    if let Some(bytes) = tip.read(DECISIONS)? {
        let decisions: Vec<Decision> = serde_json::from_slice(&bytes).with_context(|| format!("reading {DECISIONS}"))?;
        registry.decide(&decisions);
    }
    // The leaderboard shows the ranked suite's pillars, whatever suite this run was of.
    let pillars = pillars_of("standard", None).context("the suite `standard` is missing")?;
    changes.write(&format!("models/submissions/{slug}.yml"), submission.to_yaml()?)?;
    changes.write(REGISTRY, registry.to_json()?)?;
    let mut items = item_scores(tip, &registry, &runs, &pillars)?;
    if let Some(path) = paired_tests {
        test_with_cache(path, &registry, &mut items);
    }
    changes.write(LEADERBOARD, leaderboard::derive(&registry, &pillars, &items).to_json()?)?;
    Ok(changes)
}

/// Documents' values of the runs that the leaderboard compares: the new ones, and those that the branch holds as the registry knows them.
fn item_scores(tip: &Tip<'_>, registry: &Registry, new: &[(Run, String, String)], pillars: &[PillarSpec]) -> anyhow::Result<ItemScores> {
    let mut items = ItemScores::default();
    for summary in paired_runs(registry) {
        if let Some((run, ..)) = new.iter().find(|(run, ..)| run.run_id == summary.run_id) {
            items.add(run, pillars);
        } else if let Some(bytes) = tip.read(&summary.path)?
            && hex::encode(Sha256::digest(&bytes)) == summary.sha256
        {
            let run: Run = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", summary.path))?;
            items.add(&run, pillars);
        }
    }
    Ok(items)
}

/// Paths of the files of a finished run folder, relative to it, sorted.
fn files_below(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut files = vec!["run.json".to_owned()];
    let samples = folder.join("samples");
    for entry in fs::read_dir(&samples).with_context(|| format!("cannot read {}", samples.display()))? {
        let name = entry?.file_name();
        let name = name.to_str().with_context(|| format!("{} is no file of ours", name.display()))?;
        files.push(format!("samples/{name}"));
    }
    // A signed run is published with its signature.
    if folder.join("run.json.sig").is_file() {
        files.push("run.json.sig".to_owned());
    }
    files.sort_unstable();
    Ok(files)
}

/// The registry at the tip of the branch; an empty one where there is none yet.
///
/// # Errors
/// It is not a registry of this format.
pub fn registry_at(tip: &Tip<'_>) -> anyhow::Result<Registry> {
    match tip.read(REGISTRY)? {
        Some(bytes) => {
            let text = std::str::from_utf8(&bytes).with_context(|| format!("{REGISTRY} is not text"))?;
            Registry::parse(text).with_context(|| format!("reading {REGISTRY}"))
        }
        None => Ok(Registry::default()),
    }
}

/// The registry and the leaderboard at the tip of the branch; no leaderboard where there is none of this format yet.
///
/// # Errors
/// As [`registry_at`].
pub fn derived_at(tip: &Tip<'_>) -> anyhow::Result<(Registry, Option<Leaderboard>)> {
    let board = tip.read(LEADERBOARD)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok((registry_at(tip)?, board))
}

/// What is said about published runs, by the registry and the leaderboard that hold them: scores, the change against the revision before, the
/// place.
#[must_use]
pub fn announcement(
    (registry, board): &(Registry, Option<Leaderboard>),
    submission: &Submission,
    runs: &[FinishedRun],
    links: &Links,
) -> String {
    let id = submission.slug();
    let known: &[RunSummary] = registry.models.iter().find(|entry| entry.id == id).map_or(&[], |entry| &entry.runs);
    let place = board.as_ref().and_then(|board| place(board, &id, runs));
    let runs: Vec<Run> = runs.iter().map(|one| one.run.clone()).collect();
    results(&runs, known, place.as_deref(), links)
}

/// `3 of 12 (the intervals leave open 2 to 5)`, where the model's row is ranked by one of these runs.
fn place(board: &Leaderboard, id: &str, runs: &[FinishedRun]) -> Option<String> {
    let row = board.models.iter().find(|row| row.id == id)?;
    let shown = &row.run.as_ref()?.run_id;
    if !runs.iter().any(|one| one.run.run_id == *shown) {
        return None;
    }
    let ranked = board.models.iter().filter(|row| row.rank.is_some()).count();
    let [best, worst] = row.rank_interval.unwrap_or([row.rank?; 2]);
    Some(format!("{} of {ranked} (the 95 % intervals leave open {best} to {worst})", row.rank?))
}

/// What a model that was evaluated before got: the place of its results, and the scores of the runs of this revision and suite.
#[must_use]
pub fn known_results(registry: &Registry, submission: &Submission, suite: &str, place: &str) -> String {
    use std::fmt::Write as _;
    let id = submission.slug();
    let is_it = |run: &&RunSummary| {
        run.limit.is_none() && run.suite.name == suite && submission.hf_revision.as_ref().is_none_or(|revision| *revision == run.revision)
    };
    let entry = registry.models.iter().find(|entry| entry.id == id);
    let mut text = place.to_owned();
    for (number, run) in entry.iter().flat_map(|entry| &entry.runs).filter(is_it).enumerate() {
        if number == 0 {
            text.push_str("\n\n| quantization | aggregate | 95 % interval | run |\n| --- | ---: | :---: | --- |");
        }
        let score = run.aggregate.score.map_or_else(|| "–".to_owned(), |score| format!("{score:.1}"));
        let interval = run.aggregate.ci95.map_or_else(String::new, |[low, high]| format!("{low:.1} – {high:.1}"));
        // Writing to a String does not fail.
        let _ = write!(text, "\n| {} | {score} | {interval} | `{}` |", run.quantization.name, run.run_id);
    }
    text
}

/// Where a run stands in a repository, whatever folder it is read from: `results/raw/<slug>/<run-id>/run.json`.
#[must_use]
pub fn published_path(run: &Run) -> String {
    format!("results/raw/{}/{}/run.json", submission::slug(&run.model.hf_repo), run.run_id)
}

/// What the registry takes from a submission.
#[must_use]
pub fn submitted(submission: &Submission) -> Submitted {
    Submitted {
        id: submission.slug(),
        name: submission.name.clone(),
        family: submission.family.clone(),
        hf_repo: submission.hf_repo.clone(),
        parameters: submission.parameters.as_str().to_owned(),
        architecture: submission.architecture.clone(),
        license: submission.license.clone(),
        context_length: submission.context_length,
        quantizations: (submission.quantizations.iter())
            .map(|entry| Quantization {
                name: entry.name.clone(),
                format: entry.format.as_str().to_owned(),
                source: entry.source.clone().map(String::from),
            })
            .collect(),
        categories: submission.pillars().iter().map(|pillar| pillar.as_str().to_owned()).collect(),
        submitted_by: submission.submitted_by.clone(),
    }
}

/// The suite that is ranked, in the version that this program evaluates.
#[must_use]
pub fn ranked_suite() -> Option<SuiteRecord> {
    let suite = Suite::named(RANKED_SUITE).ok()?;
    Some(SuiteRecord { name: suite.name.to_owned(), version: suite.version.to_owned(), overrides: Vec::new() })
}

/// Whether the registry's results of a model are of another version of the ranked suite than this program evaluates.
#[must_use]
pub fn is_stale(registry: &Registry, hf_repo: &str) -> bool {
    let entry = registry.models.iter().find(|entry| entry.hf_repo.eq_ignore_ascii_case(hf_repo));
    entry.zip(ranked_suite()).is_some_and(|(entry, suite)| ranking::is_stale(entry, &suite))
}

/// Pillars of a suite by name; `None` where this program knows no such version of the suite (`None`: in whatever version).
#[must_use]
pub fn pillars_of(name: &str, version: Option<&str>) -> Option<Vec<PillarSpec>> {
    let suite = Suite::named(name)
        .ok()
        .filter(|suite| version.is_none_or(|version| version == suite.version || suite.former.contains(&version)))?;
    Some(pillar_specs(&suite))
}
