//! What a task is: plain data ([`TaskSpec`]) and the few functions that the data alone cannot say ([`Task`]).

use super::fields::FieldResult;
use super::score::{Metrics, PassAtK, SAMPLED, Scoring};
use super::{BenchmarkError, Document, error};
use crate::sandbox::Program;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Where a task's rows are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// A dataset repository on the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Configuration; `default` where the repository has a single unnamed one.
        config: String,
    },
    /// Rows inside the program, written for this project: see [`super::builtin_rows`].
    BuiltIn,
    /// Rows that are generated for each model's tokenizer and window: see [`super::long_context::documents`].
    Generated,
}

/// Which rows a task reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Where they are.
    pub location: Location,
    /// The split whose rows are evaluated.
    pub split: String,
    /// The split that few-shot examples come from; `None` for tasks that take none.
    pub fewshot_split: Option<String>,
}

impl Dataset {
    /// A dataset of the hub.
    #[must_use]
    pub fn hub(repo: &str, config: &str, split: &str, fewshot_split: Option<&str>) -> Self {
        let location = Location::Hub { repo: repo.to_owned(), config: config.to_owned() };
        Self { location, split: split.to_owned(), fewshot_split: fewshot_split.map(str::to_owned) }
    }

    /// Repository and configuration in words, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.location {
            Location::Hub { repo, config } => format!("{repo} ({config})"),
            Location::BuiltIn => "the built-in rows".to_owned(),
            Location::Generated => "the generated rows".to_owned(),
        }
    }
}

/// How few-shot examples are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Drawn anew for each document from one stream of Python's `random.Random(seed)`.
    Random,
    /// As `Random`, with one more draw than needed; examples equal to the evaluated document are dropped.
    /// The reference does this where the configured few-shot split and test split are the same (both absent counts).
    RandomWithoutEvaluated,
    /// The first rows of the few-shot split, for every document.
    First,
}

/// How many few-shot examples a task takes, and how they are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fewshot {
    /// Examples when the caller does not say.
    pub default: usize,
    /// The task is defined with `default` examples only; another number asked for is ignored, as in the reference.
    pub fixed: bool,
    /// How they are chosen.
    pub sampler: Sampler,
}

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// The log-likelihood of each of several continuations (or of one continuation after several contexts).
    MultipleChoice,
    /// The log-likelihood of one continuation.
    Loglikelihood,
    /// The log-likelihood of a whole text.
    LoglikelihoodRolling,
    /// Text.
    GenerateUntil,
}

/// How a metric of documents becomes a metric of the task.
#[derive(Clone, Copy, Debug)]
pub enum Aggregation {
    /// Arithmetic mean; standard error in closed form.
    Mean,
    /// exp(−mean) of log-likelihoods; standard error by bootstrap.
    Perplexity,
    /// exp(−Σ log-likelihood / Σ weight) of pairs; no standard error.
    WeightedPerplexity,
    /// −Σ log-likelihood / Σ bytes / ln 2 of pairs; no standard error.
    BitsPerByte,
    /// A function of all documents' values (NaN where it is undefined); no standard error.
    Custom(fn(&[&Value]) -> f64),
}

/// One metric of a task.
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// Name in the reference, such as `acc_norm`.
    pub name: &'static str,
    /// Filter whose output it scores; `none` for tasks without filters.
    pub filter: &'static str,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// How documents are combined.
    pub aggregation: Aggregation,
}

impl MetricSpec {
    /// The mean of a quality, of unfiltered answers.
    #[must_use]
    pub const fn mean(name: &'static str) -> Self {
        Self { name, filter: "none", higher_is_better: true, aggregation: Aggregation::Mean }
    }

    /// `name,filter`: the key in sample lines and results.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{},{}", self.name, self.filter)
    }
}

/// How the primary metric becomes a score in [0, 100].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreRule {
    /// 100 · value.
    Percent,
    /// 100 · (1 − 2·|value − 0.5|): 100 where both sides are preferred equally often.
    Balance,
    /// Not on a bounded scale (perplexities): no score.
    Unbounded,
}

/// Stop strings and length of generated answers.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationSettings {
    /// Strings that end an answer.
    pub until: &'static [&'static str],
    /// Most tokens, where the task says so; else [`GenerationSettings::DEFAULT_MAX_GEN_TOKS`].
    pub max_gen_toks: Option<usize>,
    /// The task's settings beyond `until` and `max_gen_toks`, as the reference logs them in `arguments`.
    pub logged: Map<String, Value>,
}

impl GenerationSettings {
    /// Most tokens of an answer where the task does not say.
    pub const DEFAULT_MAX_GEN_TOKS: usize = 256;
}

/// A leaf task as data: one dataset configuration, one way to ask, its metrics.
#[derive(Clone, Debug)]
pub struct TaskSpec {
    /// Name in the reference, such as `mmlu_abstract_algebra`.
    pub name: String,
    /// Version of the task's definition, as the reference prints it.
    pub version: String,
    /// What a high score shows, in one sentence.
    pub measures: &'static str,
    /// The rows.
    pub dataset: Dataset,
    /// What is asked of the model.
    pub output: OutputKind,
    /// Text before the few-shot examples (the system message of a chat).
    pub description: String,
    /// Text between a question and its answer.
    pub target_delimiter: &'static str,
    /// Few-shot examples.
    pub fewshot: Fewshot,
    /// For tasks that generate text.
    pub generation: Option<GenerationSettings>,
    /// Sampled answers for each document besides the greedy one: see [`Task::sampled`].
    pub samples: usize,
    /// Names of the filters that an answer goes through; `["none"]` where it is taken as it is.
    pub filters: &'static [&'static str],
    /// Every metric, in the reference's order.
    pub metrics: Vec<MetricSpec>,
    /// Key (`name,filter`) of the metric that is ranked.
    pub primary: &'static str,
    /// How the primary metric becomes a score.
    pub score_rule: ScoreRule,
}

impl TaskSpec {
    /// A multiple-choice task, 0-shot by default, with a randomly drawn few-shot pool; fields that differ are overwritten.
    pub(super) fn multiple_choice(name: &str, version: &str, dataset: Dataset, metrics: &[&'static str], measures: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            measures,
            dataset,
            output: OutputKind::MultipleChoice,
            description: String::new(),
            target_delimiter: " ",
            fewshot: Fewshot { default: 0, fixed: false, sampler: Sampler::Random },
            generation: None,
            samples: 0,
            filters: &["none"],
            metrics: metrics.iter().map(|name| MetricSpec::mean(name)).collect(),
            primary: "acc,none",
            score_rule: ScoreRule::Percent,
        }
    }

    /// The same with sampled answers beside the greedy one, and the metrics `pass@k,sampled` for every k that so many samples allow.
    pub(super) fn sampled(&self, samples: usize, names: &[PassAtK]) -> Self {
        let mut spec = self.clone();
        spec.samples = samples;
        spec.metrics.extend(names.iter().filter(|(k, _)| *k <= samples).map(|&(_, name)| MetricSpec {
            name,
            filter: SAMPLED,
            higher_is_better: true,
            aggregation: Aggregation::Mean,
        }));
        spec
    }

    /// The metric that is ranked.
    ///
    /// # Errors
    /// [`BenchmarkError::UnknownMetric`] where the task's definition names one that it does not have.
    pub fn primary_metric(&self) -> Result<&MetricSpec, BenchmarkError> {
        self.metric(self.primary)
    }

    /// A metric by its key `name,filter`, or by its name alone where only one filter has it.
    ///
    /// # Errors
    /// [`BenchmarkError::UnknownMetric`] with the task's metrics.
    pub fn metric(&self, key: &str) -> Result<&MetricSpec, BenchmarkError> {
        let named: Vec<&MetricSpec> = self.metrics.iter().filter(|metric| metric.name == key).collect();
        self.metrics.iter().find(|metric| metric.key() == key).or(if named.len() == 1 { Some(named[0]) } else { None }).ok_or_else(|| {
            let wanted = key.split(',').next().unwrap_or(key);
            let similar = error::close_names(wanted, self.metrics.iter().map(|metric| metric.name), 5);
            let mut close: Vec<String> =
                self.metrics.iter().filter(|metric| similar.iter().any(|name| name == metric.name)).map(MetricSpec::key).collect();
            if close.is_empty() {
                close = self.metrics.iter().map(MetricSpec::key).collect();
            }
            BenchmarkError::UnknownMetric { task: self.name.clone(), metric: key.to_owned(), close }
        })
    }

    /// The score in [0, 100] that a value of the primary metric gives; `None` for perplexities and for NaN.
    #[must_use]
    pub fn score(&self, value: f64) -> Option<f64> {
        let score = match self.score_rule {
            ScoreRule::Percent => 100.0 * value,
            ScoreRule::Balance => 100.0 * (1.0 - 2.0 * (value - 0.5).abs()),
            ScoreRule::Unbounded => return None,
        };
        (!score.is_nan()).then_some(score)
    }

    /// The standard error of [`TaskSpec::score`], from the primary metric's (exact for `Percent`; for `Balance` it holds away from 0.5).
    #[must_use]
    pub fn score_stderr(&self, stderr: f64) -> Option<f64> {
        match self.score_rule {
            ScoreRule::Percent => Some(100.0 * stderr),
            ScoreRule::Balance => Some(200.0 * stderr),
            ScoreRule::Unbounded => None,
        }
    }

    /// Number of few-shot examples for what the caller asked (`None`: nothing).
    #[must_use]
    pub fn num_fewshot(&self, asked: Option<usize>) -> usize {
        if self.fewshot.fixed { self.fewshot.default } else { asked.unwrap_or(self.fewshot.default) }
    }

    /// Most tokens of a generated answer by the task's definition; `None` for tasks that do not generate.
    #[must_use]
    pub fn max_gen_toks(&self) -> Option<usize> {
        self.generation.as_ref().map(|settings| settings.max_gen_toks.unwrap_or(GenerationSettings::DEFAULT_MAX_GEN_TOKS))
    }
}

/// A document as the task understands it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// One context, several continuations.
    Choice {
        /// The context's own part, without description, few-shot examples and delimiter.
        question: String,
        /// The continuations, without the delimiter.
        choices: Vec<String>,
        /// Index of the right one; the reference's target.
        gold: usize,
    },
    /// Several contexts, one continuation (partial scoring, as in WinoGrande).
    Partial {
        /// The contexts' own parts.
        contexts: Vec<String>,
        /// What follows each, without the delimiter; the reference's target.
        continuation: String,
        /// Index of the right context.
        gold: usize,
    },
    /// One context, one continuation that is scored as it is, without a delimiter.
    Continuation {
        /// The context's own part.
        question: String,
        /// The continuation.
        target: String,
    },
    /// A whole text.
    Text {
        /// The text.
        text: String,
    },
    /// A prompt to continue freely.
    Generation {
        /// The prompt's own part.
        question: String,
        /// The reference answer, or the tests of a program.
        target: String,
    },
    /// The same document in several forms, each with as many continuations: what a probe asks. The target lists the right one of each form.
    Forms(Vec<Form>),
}

/// One form of a document that is asked in several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The context's own part.
    pub question: String,
    /// The continuations, without the delimiter.
    pub choices: Vec<String>,
    /// Index of the right one.
    pub gold: usize,
}

impl Item {
    /// The target as the reference logs it.
    #[must_use]
    pub fn target(&self) -> Value {
        match self {
            Self::Choice { gold, .. } => Value::from(*gold),
            Self::Forms(forms) => forms.iter().map(|form| form.gold).collect(),
            Self::Partial { continuation: text, .. }
            | Self::Continuation { target: text, .. }
            | Self::Text { text }
            | Self::Generation { target: text, .. } => Value::from(text.as_str()),
        }
    }

    /// Chance of a uniform guess; `None` where guessing has no meaning.
    #[must_use]
    pub fn chance(&self) -> Option<f64> {
        match self {
            Self::Choice { choices, .. } => Some(1.0 / choices.len() as f64),
            Self::Partial { contexts, .. } => Some(1.0 / contexts.len() as f64),
            Self::Continuation { .. } | Self::Generation { .. } => Some(0.0),
            Self::Text { .. } | Self::Forms(_) => None,
        }
    }

    /// Number of forms in which the document is asked; 1 for everything but probes.
    #[must_use]
    pub fn forms(&self) -> usize {
        if let Self::Forms(forms) = self { forms.len() } else { 1 }
    }

    /// The same choices after another question.
    pub(super) fn with_question(self, question: &str) -> Self {
        match self {
            Self::Choice { choices, gold, .. } => Self::Choice { question: question.to_owned(), choices, gold },
            other => other,
        }
    }

    /// Question and right answer, for an example.
    pub(super) fn example(self) -> FieldResult<(String, String)> {
        match self {
            Self::Choice { question, mut choices, gold } => {
                if gold >= choices.len() {
                    return Err(format!("the right answer is choice {gold}, but there are {}", choices.len()));
                }
                Ok((question, choices.swap_remove(gold)))
            }
            Self::Partial { mut contexts, continuation, gold } => {
                if gold >= contexts.len() {
                    return Err(format!("the right answer is option {gold}, but there are {}", contexts.len()));
                }
                Ok((contexts.swap_remove(gold), continuation))
            }
            Self::Continuation { question, target } | Self::Generation { question, target } => Ok((question, target)),
            Self::Text { text } => Ok((String::new(), text)),
            Self::Forms(_) => Err("a document in several forms is no example".to_owned()),
        }
    }
}

/// A leaf task: its data and what it alone needs. Implementations are in `tasks/`, one file each.
pub trait Task: Send + Sync {
    /// The task's data.
    fn spec(&self) -> &TaskSpec;

    /// Adds the columns that the reference's preprocessing adds (they are part of `doc_hash`).
    ///
    /// # Errors
    /// What is wrong with the row.
    fn prepare(&self, row: Document) -> FieldResult<Document> {
        Ok(row)
    }

    /// Reads a prepared document.
    ///
    /// # Errors
    /// What is wrong with the document.
    fn item(&self, document: &Document) -> FieldResult<Item>;

    /// The rows of the few-shot split that may serve as examples, prepared.
    ///
    /// # Errors
    /// What is wrong with a row, and its index.
    fn fewshot_pool(&self, rows: Vec<Document>) -> Result<Vec<Document>, (usize, String)> {
        rows.into_iter().enumerate().map(|(row, document)| self.prepare(document).map_err(|reason| (row, reason))).collect()
    }

    /// Question and answer of a few-shot example, without delimiters.
    ///
    /// # Errors
    /// What is wrong with the document.
    fn example(&self, document: &Document) -> FieldResult<(String, String)> {
        self.item(document)?.example()
    }

    /// The same where the document is asked in several forms: an example in the form of this number.
    ///
    /// # Errors
    /// What is wrong with the document.
    fn example_in_form(&self, _form: usize, document: &Document) -> FieldResult<(String, String)> {
        self.example(document)
    }

    /// What a filter makes of a generated answer.
    fn filtered(&self, _filter: &str, _document: &Document, answer: &str) -> Value {
        Value::from(answer)
    }

    /// The program that must run to score a generated answer; `None` where nothing runs.
    ///
    /// # Errors
    /// What is wrong with the document.
    fn program(&self, _document: &Document, _answer: &str) -> FieldResult<Option<Program>> {
        Ok(None)
    }

    /// The stratum of a row, for subsets that keep the shares of a data set's parts.
    ///
    /// # Errors
    /// What is wrong with the row.
    fn stratum(&self, _row: &Document) -> FieldResult<String> {
        Ok(String::new())
    }

    /// The same task with `samples` sampled answers for each document besides the greedy one, and pass@k over them; `None` for tasks that
    /// have no such form. The greedy answer, and the metric that is ranked, stay as they are.
    fn sampled(&self, _samples: usize) -> Option<Arc<dyn Task>> {
        None
    }

    /// Which probes can be made of the task, and why not the others: see [`super::probes`].
    fn probing(&self) -> Probing {
        Probing::none("it is no multiple-choice task")
    }

    /// The document with its options moved on by `shift` places, the first to the end, and the right answer with them. Only for tasks whose
    /// prompt lists the options ([`Probing::choice_order`]).
    ///
    /// # Errors
    /// What is wrong with the document, or that the task's prompt does not list the options.
    fn rotated(&self, _document: &Document, _shift: usize) -> FieldResult<Document> {
        Err(NOT_LISTED.to_owned())
    }

    /// How the task reads a document whose question is left out: the same choices after the rest of the prompt. Only where
    /// [`Probing::answer_only`] says so.
    ///
    /// # Errors
    /// What is wrong with the document, or that nothing is left without the question.
    fn without_question(&self, _document: &Document) -> FieldResult<Item> {
        Err("the task cannot be asked without its question".to_owned())
    }

    /// What the document's sample line says besides (`details`); `None` for most tasks.
    fn details(&self, _document: &Document) -> Option<Value> {
        None
    }

    /// Every metric of one answered document.
    ///
    /// # Errors
    /// What does not fit between document and answers.
    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics>;

    /// Value of the primary metric that guessing gives on this document; `None` where guessing has no meaning.
    fn chance(&self, _document: &Document, item: &Item) -> Option<f64> {
        item.chance()
    }
}

/// Which probes can be made of a task ([`super::probes`]); why not, where one cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Number of options that the prompt lists.
    pub choice_order: Result<usize, &'static str>,
    /// The choices say something without the question.
    pub answer_only: Result<(), &'static str>,
}

/// Why the order of the options cannot matter.
pub(super) const NOT_LISTED: &str = "the prompt does not list the options, each is scored by itself: their order cannot matter";

impl Probing {
    /// No probe, for one reason.
    #[must_use]
    pub const fn none(reason: &'static str) -> Self {
        Self { choice_order: Err(reason), answer_only: Err(reason) }
    }

    /// The answers' texts are scored, and the prompt does not list them.
    pub(super) const TEXTS: Self = Self { choice_order: Err(NOT_LISTED), answer_only: Ok(()) };

    /// Choices that are not listed and say nothing alone, for this reason.
    pub(super) const fn mute(reason: &'static str) -> Self {
        Self { choice_order: Err(NOT_LISTED), answer_only: Err(reason) }
    }
}

/// A group of leaf tasks with a score of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name in the reference, such as `mmlu_stem`.
    pub name: String,
    /// Version of the group's definition.
    pub version: String,
    /// Names of its leaf tasks; their metrics are averaged by number of documents.
    pub members: Vec<String>,
    /// What a high score shows, in one sentence.
    pub measures: &'static str,
}
