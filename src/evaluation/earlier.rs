//! Answers of earlier runs that a larger run takes over: a run of `quick` extended to `standard` asks nothing twice.
//!
//! An answer is taken over where everything that determines it is the same: the model's bits, engine, program, seed, task (version, data set
//! and its commit, examples, decoding), the document and the request. Only runs without a limit are taken from: their plans, and so the
//! last bits of their answers, are those with which the larger suite begins.

use super::RunFolderError;
use super::leaf::EarlierAnswers;
use super::samples::{is_intact, read_samples};
use crate::benchmark::probes::base_of;
use crate::leaderboard::identity::{RunIdentity, TaskIdentity};
use crate::leaderboard::run::{Run, SampleFile, TaskStatus};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The runs whose answers are taken over.
#[derive(Default)]
pub(super) struct Extended {
    runs: Vec<(PathBuf, Run)>,
}

impl Extended {
    /// Finds runs that this one extends among the model's run folders, and the one that was named.
    ///
    /// # Errors
    /// The named folder holds no run, or one that cannot be extended to this one; the message says what differs.
    pub(super) fn find(model_folder: &Path, named: Option<&Path>, identity: &RunIdentity) -> anyhow::Result<Self> {
        let refuse = |folder: &Path, reason: String| RunFolderError::NotExtendable { folder: folder.to_owned(), reason };
        if identity.limit.is_some() {
            let reason = "a run with --limit plans its questions otherwise; leave out --extend or --limit".to_owned();
            return named.map_or_else(|| Ok(Self::default()), |folder| Err(refuse(folder, reason).into()));
        }
        let mut folders: Vec<PathBuf> =
            fs::read_dir(model_folder).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default();
        folders.sort();
        let mut runs = Vec::new();
        if let Some(folder) = named {
            let run = read(folder)?.ok_or_else(|| refuse(folder, "it holds no run.json".to_owned()))?;
            if let Some(difference) = difference(identity, &run.identity) {
                return Err(refuse(folder, difference).into());
            }
            runs.push((folder.to_owned(), run));
        }
        // A folder that cannot be read is no reason to stop: its answers are computed.
        for folder in folders.into_iter().filter(|folder| Some(folder.as_path()) != named) {
            if let Ok(Some(run)) = read(&folder)
                && run.run_id != identity.run_id()
                && difference(identity, &run.identity).is_none()
            {
                runs.push((folder, run));
            }
        }
        Ok(Self { runs })
    }

    /// What the runs answered to one leaf of a task or probe, by document hash. What a probe asked follows from its task's identity.
    pub(super) fn answers(&self, task: &str, wanted: &TaskIdentity, leaf: &str) -> BTreeMap<String, EarlierAnswers> {
        let mut answers = BTreeMap::new();
        for (folder, run) in &self.runs {
            let record = run.tasks.get(task).or_else(|| run.probes.get(task));
            let scored = record.is_some_and(|record| record.status == TaskStatus::Ok);
            let Some(file) = run.samples.iter().find(|file| file.task == leaf) else { continue };
            if scored && run.identity.tasks.get(base_of(task)) == Some(wanted) && wanted.dataset_revision.is_some() {
                answers.extend(read_answers(folder, file));
            }
        }
        answers
    }

    /// What the artifact says about them.
    pub(super) fn details(&self) -> Option<(String, String)> {
        let ids: Vec<&str> = self.runs.iter().map(|(_, run)| run.run_id.as_str()).collect();
        (!ids.is_empty()).then(|| ("extends".to_owned(), ids.join(" ")))
    }
}

fn read(folder: &Path) -> anyhow::Result<Option<Run>> {
    let path = folder.join("run.json");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is not a run", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The answers of an intact file; none of one that is not, since they can be computed.
fn read_answers(folder: &Path, file: &SampleFile) -> Vec<(String, EarlierAnswers)> {
    if !is_intact(folder, file) {
        tracing::warn!("{} is not as its run.json says; its answers are computed again", folder.join(&file.file).display());
        return Vec::new();
    }
    let lines = read_samples(&folder.join(&file.file)).unwrap_or_default();
    lines.into_iter().filter_map(EarlierAnswers::read).collect()
}

/// The first thing that determines an answer and differs, in words; suite and tasks may differ.
fn difference(mine: &RunIdentity, other: &RunIdentity) -> Option<String> {
    let differs = |what: &str, mine: &dyn std::fmt::Display, other: &dyn std::fmt::Display| {
        let (mine, other) = (mine.to_string(), other.to_string());
        (mine != other).then(|| format!("its {what} is {other}, this one's is {mine}"))
    };
    let template = |identity: &RunIdentity| identity.chat_template.clone().unwrap_or_else(|| "none".to_owned());
    let limited = other.limit.is_some().then(|| "it was made with --limit, so its answers were planned otherwise".to_owned());
    differs("weights' digest", &mine.weights, &other.weights)
        .or_else(|| differs("quantization", &mine.quantization, &other.quantization))
        .or_else(|| differs("tokenizer", &mine.tokenizer, &other.tokenizer))
        .or_else(|| differs("chat template", &template(mine), &template(other)))
        .or_else(|| differs("data type", &mine.dtype, &other.dtype))
        .or_else(|| differs("device", &mine.device, &other.device))
        .or_else(|| differs("engine", &mine.engine, &other.engine))
        .or_else(|| differs("engine's version", &mine.engine_version, &other.engine_version))
        .or_else(|| differs("slm-benchmark", &mine.slm_benchmark, &other.slm_benchmark))
        .or_else(|| differs("seed", &mine.seed, &other.seed))
        .or(limited)
}
