//! From an issue's body to a pushed commit and a comment: the way that the bot goes, on one machine.

use super::artifact_files::{pillars_of, published_path, submitted};
use super::run::{Choice, evaluate};
use super::validate;
use crate::benchmark::suites::Suite;
use crate::bot::{Links, results_comment};
use crate::evaluation::Evaluated;
use crate::hub::Hub;
use crate::leaderboard::{self, Registry, Run};
use crate::publish::{Changes, CommitMessage, Published, Publisher, Tip};
use crate::submission::{self, Context as Rules, HubAnswers, InputKind, Report, Submission};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

/// Path of the registry in the repository.
const REGISTRY: &str = "models/registry.json";
/// Path of the leaderboard in the repository.
const LEADERBOARD: &str = "website/assets/data/leaderboard.json";
/// Folder of run folders in the repository.
const RESULTS: &str = "results/raw";

/// The report of an issue's submission, with the hub's facts.
pub(crate) fn validate_issue(body: &str, hub: &Hub, suite: &str) -> anyhow::Result<Report> {
    let suite = Suite::named(suite)?;
    let reading = submission::read(body.as_bytes(), InputKind::Issue);
    let answers = validate::ask(hub, &reading);
    Ok(reading.check(&Rules {
        hub: HubAnswers::Asked(&answers),
        allow_gated: false,
        loadable: Some(&validate::loadable_architectures()),
        suite_version: &format!("{} {}", suite.name, suite.version),
        evaluated: &[],
        author: None,
    }))
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
    let evaluated = evaluate(submission, hub, choice, &work.join(RESULTS))?;
    let message = CommitMessage {
        subject: format!("Add results of {}", submission::slug(&submission.hf_repo)),
        run_ids: evaluated.iter().map(|one| one.run.run_id.clone()).collect(),
        issue,
    };
    let published = publisher
        .publish(&message, chrono::Utc::now(), |tip| changes(tip, submission, &evaluated))
        .context("the results could not be published; they are kept in the work folder, and the same command publishes them again")?;
    let runs: Vec<Run> = evaluated.iter().map(|one| one.run.clone()).collect();
    let links = Links { commit: published.commit.clone(), ..Links::default() };
    let comment = results_comment(&runs, &[], None, &links);
    Ok(Processed { evaluated, published, comment })
}

/// What the submission and its runs change against the tip of the branch.
fn changes(tip: &Tip<'_>, submission: &Submission, evaluated: &[Evaluated]) -> anyhow::Result<Changes> {
    let mut changes = Changes::new();
    let slug = submission::slug(&submission.hf_repo);
    let mut runs = Vec::new();
    for one in evaluated {
        let path = published_path(&one.run);
        let folder = path.trim_end_matches("run.json");
        for file in files_below(&one.folder)? {
            changes.write_file(&format!("{folder}{file}"), one.folder.join(&file))?;
        }
        let bytes = fs::read(one.folder.join("run.json"))?;
        runs.push((one.run.clone(), path, hex::encode(Sha256::digest(&bytes))));
    }
    let mut registry = match tip.read(REGISTRY)? {
        Some(bytes) => Registry::parse(std::str::from_utf8(&bytes).with_context(|| format!("{REGISTRY} is not text"))?)?,
        None => Registry::default(),
    };
    registry.fold(&submitted(submission), &runs)?;
    // The leaderboard shows the ranked suite's pillars, whatever suite this run was of.
    let pillars = pillars_of("standard", None).context("the suite `standard` is missing")?;
    changes.write(&format!("models/submissions/{slug}.yml"), submission.to_yaml()?)?;
    changes.write(REGISTRY, registry.to_json()?)?;
    changes.write(LEADERBOARD, leaderboard::derive(&registry, &pillars).to_json()?)?;
    Ok(changes)
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
    files.sort_unstable();
    Ok(files)
}
