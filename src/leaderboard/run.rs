//! The run artifact: `run.json` and the lines of `samples/<task>.jsonl.zst`.
//!
//! `schemas/run.schema.json` and `schemas/sample.schema.json` describe the same formats for other programs.
//! Scores are in points, 0 to 100; metrics are as lm-evaluation-harness gives them. Missing is `null`, never 0.

use super::identity::RunIdentity;
use super::probes::Probes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the format of `run.json`.
pub const RUN_SCHEMA_VERSION: &str = "1.0.0";

/// `run.json`: one evaluation of one quantization of one model at one commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// [`RUN_SCHEMA_VERSION`].
    pub schema_version: String,
    /// [`RunIdentity::run_id`] of `identity`; the name of the run's folder.
    pub run_id: String,
    /// What determines the scores.
    pub identity: RunIdentity,
    /// The model.
    pub model: ModelRecord,
    /// The suite.
    pub suite: SuiteRecord,
    /// The engine.
    pub engine: EngineRecord,
    /// The machine and the program; not part of the promise "same id, same scores".
    pub environment: Environment,
    /// `--limit`, where it was given: such a run is preliminary.
    pub limit: Option<Limit>,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// The prompts were rendered with the model's chat template: a variant, linked to the model's row and never its rank.
    pub chat_template: bool,
    /// When the run began, UTC.
    pub started_at: DateTime<Utc>,
    /// When the run ended, UTC. Dates of the registry come from here.
    pub finished_at: DateTime<Utc>,
    /// Tasks and probes that were asked for, sorted: a shard of a run names its part of the tasks that `identity` stands for.
    pub requested: Vec<String>,
    /// Results by task name, one for each task that was asked for.
    pub tasks: BTreeMap<String, TaskRecord>,
    /// Results of probes by name (`mmlu_choice_order`), where any were asked for. They determine no score, so they are not part of the run's
    /// id: what they asked follows from the identity of the task that they are of. None has a score.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<String, TaskRecord>,
    /// Pillars by name; every pillar of the suite is present.
    pub pillars: BTreeMap<String, PillarScore>,
    /// The weighted mean of the pillars.
    pub aggregate: Aggregate,
    /// Figures that are shown and never enter a score.
    #[serde(default)]
    pub informational: Informational,
    /// The files that hold every question and answer, sorted by task.
    pub samples: Vec<SampleFile>,
}

/// The model of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRecord {
    /// Repository on the hub, `owner/name`, or the folder's name for a local model.
    pub hf_repo: String,
    /// Commit (40 hexadecimal digits on the hub).
    pub revision: String,
    /// Name to show.
    pub name: String,
    /// Model family.
    pub family: String,
    /// Number of parameters.
    pub parameters: Parameters,
    /// Architecture (the hub's `model_type`).
    pub architecture: String,
    /// Licence id.
    pub license: String,
    /// Which weights were evaluated.
    pub quantization: Quantization,
    /// Weight files that were loaded, sorted by name.
    pub weights: Vec<WeightFile>,
}

/// Number of parameters as the author says and as the files prove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// As declared in the submission (`135M`).
    pub declared: String,
    /// Counted in the headers of the weight files; tied tensors once.
    pub measured: Option<u64>,
}

/// One entry of the submission's `quantizations`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// Name (`FP16`, `Q4_K_M`, …).
    pub name: String,
    /// `safetensors`, `gguf`, `isq`, `transformers`, ….
    pub format: String,
    /// The file or repository that the weights come from, where it is not the model's own repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A file of weights.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightFile {
    /// Path in the repository.
    pub file: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// The suite of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteRecord {
    /// `standard`, `quick`, `smoke`.
    pub name: String,
    /// Version; versions are never ranked together.
    pub version: String,
    /// What was asked for differently from the suite (`num_fewshot=2`), sorted. Such a run is never ranked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
}

/// The engine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineRecord {
    /// Name (`mistralrs`).
    pub name: String,
    /// Version.
    pub version: String,
    /// Device class: `cpu`, `cuda`, `metal`.
    pub device: String,
    /// Data type of the computation: `f32`, `bf16`, `f16`.
    pub dtype: String,
}

/// The machine and the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of slm-benchmark.
    pub slm_benchmark: String,
    /// Operating system (`linux`).
    pub os: String,
    /// Processor architecture (`x86_64`).
    pub arch: String,
    /// Processor name, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Logical processors that the run could use.
    pub logical_cores: u32,
    /// Main memory in bytes, where the system tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Accelerator, where one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// Hardware class within which speed and energy may be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_class: Option<String>,
    /// Further facts by name (sandbox level, longest sequence, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

/// `--limit`: a number of documents, or a fraction of them below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// The first so many documents of each (sub)task.
    Documents(u64),
    /// The first ⌈fraction · N⌉ documents of each (sub)task.
    Fraction(f64),
}

impl Limit {
    pub(crate) fn describe(limit: Option<Self>) -> String {
        match limit {
            None => "no limit".to_owned(),
            Some(Self::Documents(number)) => format!("{number} documents"),
            Some(Self::Fraction(fraction)) => format!("{fraction} of the documents"),
        }
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Every document was answered and scored.
    Ok,
    /// The task could not be finished; the reason says why. It has no score.
    #[default]
    Failed,
    /// The task was finished, but its answers cannot be trusted (NaN, a failed self-check, sandbox faults). It has no score.
    Invalid,
}

/// Results of one task, or of one subtask of a group such as mmlu.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord {
    /// How it ended.
    pub status: TaskStatus,
    /// Why there is no score; present where `status` is not `ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Version of the task.
    pub version: String,
    /// Where the documents come from; absent for a group (its subtasks have theirs) and for a data set that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetRecord>,
    /// Examples before each question.
    pub num_fewshot: u32,
    /// Documents scored.
    pub n: u64,
    /// Documents that the suite scores without `--limit`.
    pub n_total: u64,
    /// Metrics by `name,filter` (`acc_norm,none`), as lm-evaluation-harness aggregates them.
    pub metrics: BTreeMap<String, Metric>,
    /// Key in `metrics` of the metric that is ranked.
    pub primary_metric: String,
    /// Each document's value of the primary metric, in the order of the samples, where they lie between 0 and 1: what a paired test of two
    /// runs needs. Absent for a group (its subtasks have theirs).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
    /// What a high score shows, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measures: String,
    /// Direction of each metric, by its key: whether more is better. A score, where there is one, is always better when it is higher.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub higher_is_better: BTreeMap<String, bool>,
    /// Score in points, 0 to 100: 100 · the primary metric, or the task's own rule. `null` unless `status` is `ok`, and for a task
    /// whose metric has no bounded scale (perplexity).
    pub score: Option<f64>,
    /// Standard error of the score, in points.
    pub score_stderr: Option<f64>,
    /// 95 % interval of the score, in points.
    pub score_ci95: Option<[f64; 2]>,
    /// Score of blind guessing, in points; `null` where there is none (free answers: the chance is 0 and stated as 0).
    pub chance: Option<f64>,
    /// 100 · (score − chance) / (100 − chance); negative below chance; `null` without score or chance.
    pub chance_corrected: Option<f64>,
    /// Requests that lost tokens on their left.
    pub truncated: u64,
    /// Where the run departs from the task (a shorter generation because of the window, …), as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
    /// What a reader should know before trusting the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Seconds in which the task was asked, answered and scored; its self-check is not in them.
    pub duration_s: f64,
    /// Tokens that one forward pass per request would feed, after truncation.
    pub tokens_nominal: u64,
    /// Tokens really fed for answers.
    pub tokens_computed: u64,
    /// Tokens fed again because an engine was renewed; not part of `tokens_computed`.
    pub tokens_recomputed: u64,
    /// Requests computed a second time without any sharing, and what came of it.
    pub self_check: SelfCheck,
    /// Subtasks by name; empty for an ordinary task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subtasks: BTreeMap<String, TaskRecord>,
    /// Groups of subtasks by name (mmlu: `stem`, `humanities`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, GroupRecord>,
}

/// Values of a task's documents, small enough to stand in `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Items {
    /// Right or wrong: one bit for each document, the first in the highest bit of the first byte, as lower-case hexadecimal digits.
    RightOrWrong(String),
    /// One value from 0 to 1 for each document.
    Values(Vec<f64>),
}

impl Items {
    /// From values in the order of the documents; `None` without any, and where one lies outside of 0 to 1.
    #[must_use]
    pub fn from_values(values: &[f64]) -> Option<Self> {
        if values.is_empty() || !values.iter().all(|value| (0.0..=1.0).contains(value)) {
            return None;
        }
        if values.iter().any(|&value| value > 0.0 && value < 1.0) {
            return Some(Self::Values(values.to_vec()));
        }
        let byte = |chunk: &[f64]| chunk.iter().enumerate().fold(0, |byte, (place, &value)| byte | (u8::from(value > 0.5) << (7 - place)));
        Some(Self::RightOrWrong(hex::encode(values.chunks(8).map(byte).collect::<Vec<u8>>())))
    }

    /// The values of `n` documents; `None` where there are not so many.
    #[must_use]
    pub fn values(&self, n: usize) -> Option<Vec<f64>> {
        match self {
            Self::Values(values) => Some(values.clone()).filter(|values| values.len() == n),
            Self::RightOrWrong(text) => {
                let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == n.div_ceil(8))?;
                Some((0..n).map(|item| f64::from(bytes[item / 8] >> (7 - item % 8) & 1)).collect())
            }
        }
    }
}

impl TaskRecord {
    /// A task that ended without a score.
    #[must_use]
    pub fn without_score(status: TaskStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: Some(reason.into()), ..Self::default() }
    }

    /// The score, only where the status says that it may be used.
    #[must_use]
    pub fn valid_score(&self) -> Option<f64> {
        self.score.filter(|score| self.status == TaskStatus::Ok && score.is_finite())
    }

    /// Every document that the suite scores has been scored.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.valid_score().is_some() && self.n > 0 && self.n == self.n_total
    }
}

/// Where documents come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRecord {
    /// Data set repository, or `builtin`.
    pub repo: String,
    /// Configuration, where the data set has several.
    pub config: Option<String>,
    /// Split.
    pub split: String,
    /// Commit of the repository, or a digest of the built-in items.
    pub revision: String,
}

/// An aggregated metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Value, as lm-evaluation-harness gives it (a share is in [0, 1]); `null` where it is not a number there.
    pub value: Option<f64>,
    /// Standard error; `null` where the harness says `N/A`.
    pub stderr: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
}

/// Metrics of a group of subtasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRecord {
    /// Names of the subtasks, sorted.
    pub subtasks: Vec<String>,
    /// Documents scored.
    pub n: u64,
    /// Metrics by `name,filter`.
    pub metrics: BTreeMap<String, Metric>,
}

/// A remark beside a score.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// Kind, for programs: `constant_answers`, `extraction_failures`, `empty_generations`, `truncation`, ….
    pub code: String,
    /// What was seen, for people.
    pub message: String,
}

/// Requests computed a second time, alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfCheck {
    /// Requests checked.
    pub n: u64,
    /// Largest difference in nats (rolling: per token).
    pub max_delta: f64,
    /// Requests whose decision (greedy flag, generated text) changed.
    pub flips: u64,
    /// Tokens that the check fed; counted nowhere else.
    #[serde(default)]
    pub tokens: u64,
}

/// One pillar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PillarScore {
    /// Mean of the tasks' scores, in points; `null` where a task has none.
    pub score: Option<f64>,
    /// Standard error, in points.
    pub stderr: Option<f64>,
    /// 95 % interval, in points.
    pub ci95: Option<[f64; 2]>,
    /// Scores of the pillar's tasks by name: each task counts once.
    pub tasks: BTreeMap<String, Option<f64>>,
    /// Why there is no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The weighted mean of the pillars.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Σ weight · pillar / Σ weight, in points, 0 to 100; `null` where a pillar is missing.
    pub score: Option<f64>,
    /// Σ weight / 100 · pillar, undivided: 0 to 110 with the published weights.
    pub weighted_sum: Option<f64>,
    /// Standard error of `score`, in points.
    pub stderr: Option<f64>,
    /// 95 % interval of `score`, in points.
    pub ci95: Option<[f64; 2]>,
    /// Share of the weights that has scores, 0 to 1: each task of a pillar carries an equal part of the pillar's weight.
    pub coverage: f64,
}

/// Figures that are shown and never enter a score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Informational {
    /// Length × depth grid and multi-document answers, as that measurement writes them.
    #[serde(default)]
    pub long_context: Option<serde_json::Value>,
    /// Speed and memory.
    #[serde(default)]
    pub edge: Option<FigureSet>,
    /// Energy and CO₂.
    #[serde(default)]
    pub energy: Option<FigureSet>,
    /// Figures of the run's probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
}

/// Measured figures of one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureSet {
    /// Hardware class; figures are compared within one only.
    pub hardware_class: String,
    /// Figures by name: see [`figure`].
    pub figures: BTreeMap<String, Figure>,
    /// Facts that the figures depend on, by name (`grid_factor`, `prompt_tokens`, …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// One figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The value (a median where it was repeated); `null` with a reason where it is unavailable.
    pub value: Option<f64>,
    /// Unit (`s`, `tokens/s`, `bytes`, `Wh`, `g`).
    pub unit: String,
    /// Lowest and highest of the repetitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
    /// `measured`, `measured_rapl`, `measured_nvml`, `estimated_tdp`, `unavailable`.
    pub method: String,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Names of figures that the leaderboard shows.
pub mod figure {
    /// Seconds to load the model.
    pub const LOAD_TIME: &str = "load_time";
    /// Seconds to the first token.
    pub const TIME_TO_FIRST_TOKEN: &str = "time_to_first_token";
    /// Prompt tokens per second.
    pub const PREFILL_SPEED: &str = "prefill_speed";
    /// Generated tokens per second.
    pub const DECODE_SPEED: &str = "decode_speed";
    /// Largest resident memory, bytes.
    pub const PEAK_MEMORY: &str = "peak_memory";
    /// Bytes on disk.
    pub const SIZE_ON_DISK: &str = "size_on_disk";
    /// Watt-hours of all measured tasks.
    pub const ENERGY: &str = "energy";
    /// The same less the idle baseline.
    pub const ENERGY_NET: &str = "energy_net";
    /// Watt-hours per 1,000 tokens.
    pub const ENERGY_PER_1K_TOKENS: &str = "energy_per_1k_tokens";
    /// The same less the idle baseline.
    pub const ENERGY_PER_1K_TOKENS_NET: &str = "energy_per_1k_tokens_net";
    /// Watt-hours per correct answer.
    pub const ENERGY_PER_CORRECT_ANSWER: &str = "energy_per_correct_answer";
    /// The same less the idle baseline.
    pub const ENERGY_PER_CORRECT_ANSWER_NET: &str = "energy_per_correct_answer_net";
    /// Grams of CO₂ of all measured tasks.
    pub const CO2: &str = "co2";
    /// Grams of CO₂ per 1,000 tokens.
    pub const CO2_PER_1K_TOKENS: &str = "co2_per_1k_tokens";
    /// Grams of CO₂ per correct answer.
    pub const CO2_PER_CORRECT_ANSWER: &str = "co2_per_correct_answer";
    /// Correct answers per watt-hour: the efficiency.
    pub const EFFICIENCY: &str = "efficiency";
    /// Wall time of all measured tasks, seconds.
    pub const WALL_TIME: &str = "wall_time";
    /// Processor time of all measured tasks, seconds.
    pub const CPU_TIME: &str = "cpu_time";
}

/// One file of samples.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleFile {
    /// Task or subtask name.
    pub task: String,
    /// Path relative to the run's folder, with `/` (`samples/boolq.jsonl.zst`).
    pub file: String,
    /// SHA-256 of the file's bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Lines.
    pub n: u64,
}

/// One line of a samples file: one document with its requests, answers and per-document metrics.
///
/// Names, meaning and nesting are those of lm-evaluation-harness's sample logs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleLine {
    /// Index of the row in the evaluated split.
    pub doc_id: u64,
    /// SHA-256 of `json.dumps(doc, indent=2, ensure_ascii=False)`.
    pub doc_hash: String,
    /// SHA-256 of the first request's first argument.
    pub prompt_hash: String,
    /// SHA-256 of `str(target)`.
    pub target_hash: String,
    /// The right answer, as the harness logs it (index, text, list).
    pub target: serde_json::Value,
    /// Per request: `[context, continuation]`, `[context, generation options]` or `[text]`.
    pub arguments: Vec<serde_json::Value>,
    /// Per request, the list of its answers: `[[log-likelihood, is_greedy]]`, `[text]` or `[log-likelihood]`.
    pub resps: Vec<serde_json::Value>,
    /// By filter, per request, the answer after the filter.
    pub filtered_resps: BTreeMap<String, serde_json::Value>,
    /// By `metric,filter`, the document's value (a number, or the list that the aggregation takes); NaN is `null`.
    pub metrics: BTreeMap<String, serde_json::Value>,
    /// What only some tasks have (a program's verdict and its reason, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}
