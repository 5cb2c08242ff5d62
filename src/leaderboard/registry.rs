//! `models/registry.json`: what has been submitted and what its runs prove. A function of submissions and runs.
//!
//! Folding is an upsert: a model is known by its repository, a run by its id. The order in which submissions and runs are
//! folded does not matter, and dates come from the runs, never from the clock.

use super::canonical;
use super::energy;
use super::probes::Probes;
use super::ranking;
use super::run::{
    Aggregate, EngineRecord, FigureSet, Limit, Parameters, PillarScore, Quantization, Run, SuiteRecord, TaskRecord, TaskStatus, Warning,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the format of `models/registry.json`.
pub const REGISTRY_SCHEMA_VERSION: &str = "3.0.0";

/// Why a registry cannot be read or updated.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The text is not JSON, or not of this format.
    #[error("the registry cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("the registry has format {found}, this program writes {REGISTRY_SCHEMA_VERSION}; {remedy}")]
    Version {
        /// What the file says.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A run is of another model than the submission.
    #[error("run {run_id} is of {found}, the submission is of {expected}; fold each run with its own submission")]
    OtherModel {
        /// The run.
        run_id: String,
        /// The run's model.
        found: String,
        /// The submission's model.
        expected: String,
    },
}

/// `models/registry.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Models, sorted by id.
    pub models: Vec<Entry>,
    /// Format and totals.
    pub metadata: Metadata,
}

/// About the registry itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// [`REGISTRY_SCHEMA_VERSION`].
    pub schema_version: String,
    /// End of the latest run; `null` while there is none.
    pub last_updated: Option<DateTime<Utc>>,
    /// Number of models.
    pub total_models: u64,
}

impl Default for Registry {
    fn default() -> Self {
        let metadata = Metadata { schema_version: REGISTRY_SCHEMA_VERSION.to_owned(), last_updated: None, total_models: 0 };
        Self { models: Vec::new(), metadata }
    }
}

/// One model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Slug of the repository: stable, used in paths and addresses.
    pub id: String,
    /// Name to show.
    pub name: String,
    /// Family.
    pub family: String,
    /// Repository on the hub.
    pub hf_repo: String,
    /// Declared number of parameters (`135M`).
    pub parameters: String,
    /// Counted number of parameters, from the run that the row shows.
    pub parameters_measured: Option<u64>,
    /// Architecture.
    pub architecture: String,
    /// Licence.
    pub license: String,
    /// Longest context, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Aggregate score of the run that the row shows, in points; `null` where it is missing.
    pub aggregate_score: Option<f64>,
    /// Pillar scores of that run, in points, `null` where missing; `edge` is always `null` (it enters no score).
    pub scores: BTreeMap<String, Option<f64>>,
    /// Declared quantizations.
    pub quantizations: Vec<Quantization>,
    /// Pillars that the author asked for.
    pub categories: Vec<String>,
    /// Day of the first run.
    pub date_added: Option<NaiveDate>,
    /// Who submitted it.
    pub submitted_by: String,
    /// Rank among complete runs of the current standard suite; equal scores share a rank; `null` for all others.
    pub rank: Option<u64>,
    /// Commit of the run that the row shows.
    pub revision: Option<String>,
    /// Run that the row shows.
    pub run_id: Option<String>,
    /// Every run, sorted by id.
    pub runs: Vec<RunSummary>,
    /// A maintainer's decision, with its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Figures of a row that came from elsewhere: shown apart as unverified, never ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// A maintainer's decision about a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Repository on the hub.
    pub hf_repo: String,
    /// What was decided.
    pub action: Action,
    /// Why; shown.
    pub reason: String,
    /// Who decided.
    pub by: String,
    /// When.
    pub date: NaiveDate,
}

/// What a maintainer can decide about a published model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The row stays, without rank.
    Withdraw,
    /// The row keeps its rank; the reason is shown beside it.
    Flag,
}

/// Figures of an imported row, as they were found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// Format that was read (`original v1`).
    pub format: String,
    /// SHA-256 of the file that was read.
    pub sha256: String,
    /// Aggregate score there.
    pub aggregate_score: Option<f64>,
    /// Other scores there, by name.
    pub scores: BTreeMap<String, Option<f64>>,
    /// Rank there.
    pub rank: Option<u64>,
}

/// What the registry keeps of a run: everything that the leaderboard shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSummary {
    /// The run.
    pub run_id: String,
    /// Path of `run.json` from the repository's root, with `/`.
    pub path: String,
    /// SHA-256 of the bytes of `run.json`.
    pub sha256: String,
    /// Commit of the model.
    pub revision: String,
    /// Quantization.
    pub quantization: Quantization,
    /// Counted parameters.
    pub parameters_measured: Option<u64>,
    /// Digest of the weights.
    pub weights: String,
    /// Suite.
    pub suite: SuiteRecord,
    /// `--limit`.
    pub limit: Option<Limit>,
    /// Chat template applied.
    pub chat_template: bool,
    /// Engine.
    pub engine: EngineRecord,
    /// Version of slm-benchmark.
    pub slm_benchmark: String,
    /// Seed.
    pub seed: u64,
    /// End of the run.
    pub finished_at: DateTime<Utc>,
    /// Tasks.
    pub tasks: BTreeMap<String, TaskSummary>,
    /// Pillars.
    pub pillars: BTreeMap<String, PillarScore>,
    /// Aggregate.
    pub aggregate: Aggregate,
    /// Speed and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<FigureSet>,
    /// Energy and CO₂.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<FigureSet>,
    /// Long-context grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_context: Option<serde_json::Value>,
    /// Figures of probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
}

/// What the registry keeps of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSummary {
    /// How it ended.
    pub status: TaskStatus,
    /// Why there is no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Version of the task.
    pub version: String,
    /// Examples before each question.
    pub num_fewshot: u32,
    /// Documents scored.
    pub n: u64,
    /// Documents of the full task.
    pub n_total: u64,
    /// Which metric is ranked.
    pub primary_metric: String,
    /// What a high score shows; a score is always better when it is higher.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measures: String,
    /// Score in points.
    pub score: Option<f64>,
    /// Its standard error.
    pub stderr: Option<f64>,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Score of blind guessing, in points.
    pub chance: Option<f64>,
    /// Chance-corrected score.
    pub chance_corrected: Option<f64>,
    /// Requests that lost tokens on their left.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// Departures from the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
    /// Remarks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&TaskRecord> for TaskSummary {
    fn from(task: &TaskRecord) -> Self {
        let warnings = task.warnings.iter().cloned().chain(
            // A reader of the leaderboard sees the group only: what its subtasks say must not be lost there.
            task.subtasks.iter().flat_map(|(name, leaf)| {
                leaf.warnings.iter().map(move |w| Warning { code: w.code.clone(), message: format!("{name}: {}", w.message) })
            }),
        );
        Self {
            status: task.status,
            reason: task.reason.clone(),
            version: task.version.clone(),
            num_fewshot: task.num_fewshot,
            n: task.n,
            n_total: task.n_total,
            primary_metric: task.primary_metric.clone(),
            measures: task.measures.clone(),
            score: task.valid_score(),
            stderr: task.score_stderr,
            ci95: task.score_ci95,
            chance: task.chance,
            chance_corrected: task.chance_corrected,
            truncated: task.truncated,
            deviations: task.deviations.clone(),
            warnings: warnings.collect(),
        }
    }
}

impl RunSummary {
    /// Summary of a run. `path` is the path of its `run.json` from the repository's root, `sha256` the digest of that file's bytes.
    #[must_use]
    pub fn new(run: &Run, path: String, sha256: String) -> Self {
        Self {
            run_id: run.run_id.clone(),
            path,
            sha256,
            revision: run.model.revision.clone(),
            quantization: run.model.quantization.clone(),
            parameters_measured: run.model.parameters.measured,
            weights: run.identity.weights.clone(),
            suite: run.suite.clone(),
            limit: run.limit,
            chat_template: run.chat_template,
            engine: run.engine.clone(),
            slm_benchmark: run.identity.slm_benchmark.clone(),
            seed: run.seed,
            finished_at: run.finished_at,
            tasks: run.tasks.iter().map(|(name, task)| (name.clone(), TaskSummary::from(task))).collect(),
            pillars: run.pillars.clone(),
            aggregate: run.aggregate.clone(),
            edge: run.informational.edge.clone(),
            energy: run.informational.energy.as_ref().map(energy::without_tasks),
            long_context: run.informational.long_context.clone(),
            probes: run.informational.probes.clone(),
        }
    }
}

/// What the registry takes from a submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Slug of the repository.
    pub id: String,
    /// Name.
    pub name: String,
    /// Family.
    pub family: String,
    /// Repository on the hub.
    pub hf_repo: String,
    /// Declared number of parameters.
    pub parameters: String,
    /// Architecture.
    pub architecture: String,
    /// Licence.
    pub license: String,
    /// Longest context.
    pub context_length: Option<u64>,
    /// Quantizations.
    pub quantizations: Vec<Quantization>,
    /// Pillars asked for.
    pub categories: Vec<String>,
    /// Who submits.
    pub submitted_by: String,
}

impl Registry {
    /// Reads `models/registry.json`.
    ///
    /// # Errors
    /// Where the text is not JSON, is of another version, or has fields that this program does not know (it would lose them).
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let value: serde_json::Value = serde_json::from_str(text)?;
        let found = value.pointer("/metadata/schema_version").and_then(serde_json::Value::as_str);
        match found {
            Some(REGISTRY_SCHEMA_VERSION) => Ok(serde_json::from_value(value)?),
            Some("2.0.0") | None => Err(RegistryError::Version {
                found: found.unwrap_or("without a version").to_owned(),
                remedy: "read it with `slm-bench registry import`: its rows come in as unverified",
            }),
            Some(other) => Err(RegistryError::Version { found: other.to_owned(), remedy: "use the version of slm-bench that wrote it" }),
        }
    }

    /// Canonical text of `models/registry.json`.
    ///
    /// # Errors
    /// Never for values that this program made; the type says it because JSON could refuse.
    pub fn to_json(&self) -> serde_json::Result<String> {
        canonical::to_pretty(self)
    }

    /// Folds a submission and runs of its model. Nothing already there is lost; a run with a known id replaces the older one.
    ///
    /// # Errors
    /// [`RegistryError::OtherModel`] where a run is of another model; the registry is then unchanged.
    pub fn fold(&mut self, submission: &Submitted, runs: &[(Run, String, String)]) -> Result<(), RegistryError> {
        let other = runs.iter().find(|(run, _, _)| !run.model.hf_repo.eq_ignore_ascii_case(&submission.hf_repo));
        if let Some((run, _, _)) = other {
            return Err(RegistryError::OtherModel {
                run_id: run.run_id.clone(),
                found: run.model.hf_repo.clone(),
                expected: submission.hf_repo.clone(),
            });
        }
        let summaries = runs.iter().map(|(run, path, sha256)| RunSummary::new(run, path.clone(), sha256.clone())).collect();
        self.upsert_all([(submission.clone(), summaries)]);
        Ok(())
    }

    /// As [`Registry::fold`] for many models at once, with summaries that are known to belong to their models.
    pub fn upsert_all(&mut self, folds: impl IntoIterator<Item = (Submitted, Vec<RunSummary>)>) {
        let mut models: BTreeMap<String, Entry> =
            std::mem::take(&mut self.models).into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        for (submission, runs) in folds {
            let entry = models.entry(submission.id.clone()).or_default();
            entry.take(submission);
            for run in runs {
                entry.take_run(run);
            }
        }
        self.models = models.into_values().collect();
        self.settle();
    }

    /// Sets the maintainers' decisions: those given are all that hold.
    pub fn decide(&mut self, decisions: &[Decision]) {
        for entry in &mut self.models {
            // The latest decision about a model holds; of several on one day the last in the list.
            let mine = decisions.iter().filter(|decision| decision.hf_repo.eq_ignore_ascii_case(&entry.hf_repo));
            entry.decision = mine.max_by_key(|decision| decision.date).cloned();
        }
        self.settle();
    }

    /// Derives everything that depends on other fields: the runs that rows show, dates, ranks, totals, the order.
    pub fn settle(&mut self) {
        self.models.sort_by(|a, b| a.id.cmp(&b.id));
        let suite = ranking::current_suite(self.models.iter().flat_map(|entry| &entry.runs));
        for entry in &mut self.models {
            entry.settle(suite.as_ref());
        }
        let ranks = ranking::rank(&self.models, suite.as_ref());
        for (entry, rank) in self.models.iter_mut().zip(ranks) {
            entry.rank = rank;
        }
        self.metadata = Metadata {
            schema_version: REGISTRY_SCHEMA_VERSION.to_owned(),
            last_updated: self.models.iter().flat_map(|entry| &entry.runs).map(|run| run.finished_at).max(),
            total_models: self.models.len() as u64,
        };
    }
}

impl Entry {
    fn take(&mut self, submission: Submitted) {
        let Submitted {
            id,
            name,
            family,
            hf_repo,
            parameters,
            architecture,
            license,
            context_length,
            quantizations,
            categories,
            submitted_by,
        } = submission;
        let runs = std::mem::take(&mut self.runs);
        let decision = self.decision.take();
        *self = Self {
            id,
            name,
            family,
            hf_repo,
            parameters,
            architecture,
            license,
            context_length,
            quantizations,
            categories,
            submitted_by,
            date_added: self.date_added,
            runs,
            decision,
            imported: self.imported.take(),
            ..Self::default()
        };
    }

    /// The later of two runs with one id stays (same id, same scores; only timings differ), whatever order they come in.
    fn take_run(&mut self, run: RunSummary) {
        match self.runs.binary_search_by(|known| known.run_id.cmp(&run.run_id)) {
            Err(place) => self.runs.insert(place, run),
            Ok(place) => {
                let known = &mut self.runs[place];
                if (run.finished_at, &run.sha256) >= (known.finished_at, &known.sha256) {
                    *known = run;
                }
            }
        }
    }

    fn settle(&mut self, suite: Option<&SuiteRecord>) {
        if let Some(first) = self.runs.iter().map(|run| run.finished_at.date_naive()).min() {
            self.date_added = Some(first);
        }
        let shown = ranking::shown_run(&self.runs, suite).map(|(run, _)| run.clone());
        let mut scores: BTreeMap<String, Option<f64>> =
            shown.iter().flat_map(|run| &run.pillars).map(|(name, pillar)| (name.clone(), pillar.score)).collect();
        scores.insert("edge".to_owned(), None);
        self.scores = scores;
        self.aggregate_score = shown.as_ref().and_then(|run| run.aggregate.score);
        self.parameters_measured = shown.as_ref().and_then(|run| run.parameters_measured);
        self.revision = shown.as_ref().map(|run| run.revision.clone());
        self.run_id = shown.map(|run| run.run_id);
    }

    /// Declared and counted size.
    #[must_use]
    pub fn size(&self) -> Parameters {
        Parameters { declared: self.parameters.clone(), measured: self.parameters_measured }
    }
}
