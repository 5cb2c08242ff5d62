//! What determines a run's scores, and the run id that is its digest.

use super::canonical;
use super::probes;
use super::run::{Limit, Run, TaskRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Everything that determines the scores of a run. Timings, energy and the machine's name are not part of it.
///
/// It is kept in `run.json`, so that anyone can recompute [`RunIdentity::run_id`]. It names every task of the suite, and those that were
/// asked for beside it: the shards of one run share it, and each says in `requested` which part it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// Digest of the weights that were loaded: see [`weights_digest`].
    pub weights: String,
    /// The declared quantization's name (`FP16`, `Q4_K_M`, …).
    pub quantization: String,
    /// SHA-256 of `tokenizer.json` (or of the tokenizer inside a GGUF file), in hexadecimal.
    pub tokenizer: String,
    /// SHA-256 of the chat template where the run applies it; `null` for a run without chat template.
    pub chat_template: Option<String>,
    /// Data type of the computation: `f32`, `bf16`, `f16`.
    pub dtype: String,
    /// Device class: `cpu`, `cuda`, `metal`.
    pub device: String,
    /// Engine name.
    pub engine: String,
    /// Engine version.
    pub engine_version: String,
    /// Version of slm-benchmark.
    pub slm_benchmark: String,
    /// Suite name.
    pub suite: String,
    /// Suite version.
    pub suite_version: String,
    /// What was asked for, by task name.
    pub tasks: BTreeMap<String, TaskIdentity>,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// `--limit`, where it was given.
    pub limit: Option<Limit>,
}

/// What determines the scores of one task, apart from the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskIdentity {
    /// Version of the task.
    pub version: String,
    /// Examples before each question.
    pub num_fewshot: u32,
    /// Data set repository, or `builtin` for items that are part of the program.
    pub dataset: String,
    /// Commit of the data set repository, or a digest of the built-in items. `null` where it could not be resolved:
    /// the task has then failed.
    pub dataset_revision: Option<String>,
    /// Decoding options (stop strings, most tokens, greedy or sampled); `null` for tasks that generate nothing.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub decoding: serde_json::Value,
}

impl RunIdentity {
    /// The run's id: the first 16 bytes of the SHA-256 of the canonical JSON, in hexadecimal (32 digits).
    #[must_use]
    pub fn run_id(&self) -> String {
        // The struct holds text keys and plain values only, so it always is JSON.
        let text = canonical::to_string(self).unwrap_or_default();
        hex::encode(&Sha256::digest(text)[..16])
    }

    /// Where a run's own fields contradict its identity: JSON pointer into `run.json` and what is expected there.
    ///
    /// A run that passes has the id that its fields prove; a hand-edited limit, seed, quantization or a deleted task is found.
    #[must_use]
    pub fn contradictions(&self, run: &Run) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut expect = |pointer: &str, expected: String, actual: String| {
            if expected != actual {
                found.push((pointer.to_owned(), format!("is {actual}, but the run's identity says {expected}")));
            }
        };
        expect("/run_id", self.run_id(), run.run_id.clone());
        expect(
            "/model/weights",
            self.weights.clone(),
            weights_digest(run.model.weights.iter().map(|w| (w.file.as_str(), w.sha256.as_str()))),
        );
        expect("/model/quantization/name", self.quantization.clone(), run.model.quantization.name.clone());
        expect("/engine/dtype", self.dtype.clone(), run.engine.dtype.clone());
        expect("/engine/device", self.device.clone(), run.engine.device.clone());
        expect("/engine/name", self.engine.clone(), run.engine.name.clone());
        expect("/engine/version", self.engine_version.clone(), run.engine.version.clone());
        expect("/suite/name", self.suite.clone(), run.suite.name.clone());
        expect("/suite/version", self.suite_version.clone(), run.suite.version.clone());
        expect("/seed", self.seed.to_string(), run.seed.to_string());
        expect("/limit", Limit::describe(self.limit), Limit::describe(run.limit));
        expect("/chat_template", self.chat_template.is_some().to_string(), run.chat_template.to_string());
        for name in &run.requested {
            if !run.tasks.contains_key(name) && !run.probes.contains_key(name) {
                found.push((format!("/tasks/{name}"), "is missing, but the run was asked for this task".to_owned()));
            }
        }
        for (name, record) in &run.tasks {
            match self.tasks.get(name) {
                Some(task) if run.requested.contains(name) => found.extend(task.contradictions(&format!("/tasks/{name}"), record)),
                _ => found.push((format!("/tasks/{name}"), "is present, but the run was not asked for this task".to_owned())),
            }
        }
        for (name, record) in &run.probes {
            let pointer = format!("/probes/{name}");
            // A probe is asked as its task is; its own version is the program's.
            match probes::base_of(name).and_then(|base| self.tasks.get(base)) {
                Some(task) if run.requested.contains(name) => {
                    let task = TaskIdentity { version: record.version.clone(), ..task.clone() };
                    found.extend(task.contradictions(&pointer, record));
                }
                Some(_) => found.push((pointer, "is present, but the run was not asked for this probe".to_owned())),
                None => found.push((pointer, "is a probe of no task of the run's identity".to_owned())),
            }
        }
        found
    }
}

impl TaskIdentity {
    fn contradictions(&self, pointer: &str, record: &TaskRecord) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if record.version != self.version {
            found.push((format!("{pointer}/version"), format!("is {}, but the run's identity says {}", record.version, self.version)));
        }
        if record.num_fewshot != self.num_fewshot {
            let text = format!("is {}, but the run's identity says {}", record.num_fewshot, self.num_fewshot);
            found.push((format!("{pointer}/num_fewshot"), text));
        }
        let leaves = std::iter::once((pointer.to_owned(), record))
            .chain(record.subtasks.iter().map(|(name, leaf)| (format!("{pointer}/subtasks/{name}"), leaf)));
        for (pointer, leaf) in leaves {
            let Some(dataset) = &leaf.dataset else { continue };
            if dataset.repo != self.dataset || Some(&dataset.revision) != self.dataset_revision.as_ref() {
                let expected = format!("{}@{}", self.dataset, self.dataset_revision.as_deref().unwrap_or("unknown"));
                let text = format!("is {}@{}, but the run's identity says {expected}", dataset.repo, dataset.revision);
                found.push((format!("{pointer}/dataset"), text));
            }
        }
        found
    }
}

/// Digest of a set of weight files: SHA-256 over the lines `<sha256>  <file>\n`, sorted by file name (the form of `sha256sum`).
pub fn weights_digest<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_unstable();
    let mut hasher = Sha256::new();
    for (file, sha256) in files {
        hasher.update(format!("{sha256}  {file}\n"));
    }
    hex::encode(hasher.finalize())
}
