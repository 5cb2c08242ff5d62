//! From answers to the scores of one document.

use super::fields::FieldResult;
use super::{BenchmarkError, Document, Instance, Item, Request, Task};
use crate::engine::{Generation, Loglikelihood, RollingLoglikelihood};
use crate::sandbox::{self, Program};
use crate::statistics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What the model answered to one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To a [`Request::Loglikelihood`].
    Loglikelihood {
        /// In nats.
        value: f64,
        /// Every token of the continuation was the most probable one.
        is_greedy: bool,
    },
    /// To a [`Request::Rolling`], in nats.
    Rolling(f64),
    /// To a [`Request::Generation`].
    Text(String),
}

impl Response {
    /// One entry of `resps` in the sample line (each request has a list of one answer).
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Loglikelihood { value, is_greedy } => json!([[value, is_greedy]]),
            Self::Rolling(value) => json!([value]),
            Self::Text(text) => json!([text]),
        }
    }

    /// Reads an entry of `resps` back; `None` where it is none.
    #[must_use]
    pub fn from_json(entry: &Value) -> Option<Self> {
        let [answer] = entry.as_array()?.as_slice() else { return None };
        match answer {
            Value::Array(pair) => {
                let [value, is_greedy] = pair.as_slice() else { return None };
                Some(Self::Loglikelihood { value: value.as_f64()?, is_greedy: is_greedy.as_bool()? })
            }
            Value::Number(value) => Some(Self::Rolling(value.as_f64()?)),
            Value::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }
}

impl From<Loglikelihood> for Response {
    fn from(answer: Loglikelihood) -> Self {
        Self::Loglikelihood { value: answer.value, is_greedy: answer.is_greedy }
    }
}

impl From<RollingLoglikelihood> for Response {
    fn from(answer: RollingLoglikelihood) -> Self {
        Self::Rolling(answer.value)
    }
}

impl From<Generation> for Response {
    fn from(answer: Generation) -> Self {
        Self::Text(answer.text)
    }
}

/// How a program ended that a coding task wanted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It ran to its end with every test passed.
    Passed,
    /// A test failed, or it raised or exited.
    Failed,
    /// It ran out of time.
    TimedOut,
}

impl Verdict {
    /// The sandbox's verdict; `None` where the sandbox itself failed, which says nothing about the program.
    #[must_use]
    pub fn of_sandbox(verdict: sandbox::Verdict) -> Option<Self> {
        match verdict {
            sandbox::Verdict::Passed => Some(Self::Passed),
            sandbox::Verdict::Failed => Some(Self::Failed),
            sandbox::Verdict::TimedOut => Some(Self::TimedOut),
            sandbox::Verdict::SandboxError => None,
        }
    }
}

/// Something about a document's answer that a reader of the score should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The filter of the primary metric found no answer in the generated text.
    ExtractionFailed,
    /// The model wrote nothing but white space.
    EmptyGeneration,
    /// The program ran out of time.
    TimedOut,
}

/// Metrics of one document in order, under `name,filter`. Values are numbers or lists of numbers; NaN is `null`.
pub type Metrics = Map<String, Value>;

/// The scores of one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentScore {
    /// What each filter made of the answers.
    pub filtered_resps: Map<String, Value>,
    /// Metrics under `name,filter`.
    pub metrics: Metrics,
    /// What a reader should know.
    pub flags: Vec<Flag>,
}

/// An answered document, as [`Task::metrics`] sees it.
pub struct Scoring<'a> {
    /// The document.
    pub document: &'a Document,
    /// How the task reads it.
    pub item: &'a Item,
    /// One answer for each request.
    pub responses: &'a [Response],
    /// What each filter made of the answers.
    pub filtered: &'a Map<String, Value>,
    /// One verdict for each program.
    pub verdicts: &'a [Verdict],
}

impl Scoring<'_> {
    /// The log-likelihoods of all requests.
    ///
    /// # Errors
    /// Where an answer is none.
    pub fn loglikelihoods(&self) -> FieldResult<Vec<f64>> {
        self.responses
            .iter()
            .map(|response| match response {
                Response::Loglikelihood { value, .. } => Ok(*value),
                _ => Err("an answer is not a log-likelihood".to_owned()),
            })
            .collect()
    }

    /// `acc`, and where asked for `acc_norm` (log-likelihood per character of the choice), of a multiple-choice document.
    ///
    /// # Errors
    /// Where the document has no choices or an answer is no log-likelihood.
    pub fn accuracy(&self, normalised: bool) -> FieldResult<Metrics> {
        let values = self.loglikelihoods()?;
        let (lengths, gold): (Vec<f64>, usize) = match self.item {
            Item::Choice { choices, gold, .. } => (choices.iter().map(|choice| choice.chars().count() as f64).collect(), *gold),
            // The reference divides by the options' contexts here, and no task asks for it.
            Item::Partial { contexts, gold, .. } => (contexts.iter().map(|context| context.chars().count() as f64).collect(), *gold),
            _ => return Err("the document has no choices".to_owned()),
        };
        let mut metrics = Metrics::new();
        metrics.insert("acc,none".to_owned(), json!(truth(argmax(&values) == Some(gold))));
        if normalised {
            let per_character: Vec<f64> = values.iter().zip(&lengths).map(|(value, length)| value / length).collect();
            metrics.insert("acc_norm,none".to_owned(), json!(truth(argmax(&per_character) == Some(gold))));
        }
        Ok(metrics)
    }

    /// 1 or 0 by the verdict on the program of the first, greedy answer.
    ///
    /// # Errors
    /// Where there is not one verdict for each answer.
    pub fn pass(&self) -> FieldResult<f64> {
        match self.verdicts {
            [verdict, ..] if self.verdicts.len() == self.responses.len() => Ok(truth(*verdict == Verdict::Passed)),
            other => Err(format!("its {} programs need one verdict each, but there are {}", self.responses.len(), other.len())),
        }
    }

    /// pass@k over the sampled answers, which come after the greedy one, for every k of `names` that so many samples allow.
    ///
    /// # Errors
    /// Where there is not one verdict for each answer.
    pub fn sampled_passes(&self, names: &[PassAtK]) -> FieldResult<Metrics> {
        self.pass()?;
        let sampled = &self.verdicts[1..];
        let passed = sampled.iter().filter(|verdict| **verdict == Verdict::Passed).count();
        let metric = |&(k, name): &PassAtK| {
            let [samples, passed, k] = [sampled.len(), passed, k].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            statistics::pass_at_k(samples, passed, k).map(|value| (format!("{name},{SAMPLED}"), json!(value)))
        };
        Ok(names.iter().filter_map(metric).collect())
    }
}

/// A number of tries and the name of its metric.
pub type PassAtK = (usize, &'static str);

/// Stands for the filter in the names of metrics of sampled answers.
pub const SAMPLED: &str = "sampled";

/// 1.0 or 0.0.
pub(super) fn truth(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

/// numpy's `argmax`: the first of the largest values; the first NaN wins over everything. `None` without values.
pub(super) fn argmax(values: &[f64]) -> Option<usize> {
    if let Some(position) = values.iter().position(|value| value.is_nan()) {
        return Some(position);
    }
    let mut best: Option<usize> = None;
    for (position, value) in values.iter().enumerate() {
        if best.is_none_or(|best| *value > values[best]) {
            best = Some(position);
        }
    }
    best
}

/// What a filter gives where it found nothing.
pub(super) const INVALID: &str = "[invalid]";

/// The programs that must run before the document can be scored; empty for all but coding tasks.
///
/// # Errors
/// [`BenchmarkError::Scoring`] where the answers do not fit the requests, or the document has no tests.
pub fn programs(task: &dyn Task, instance: &Instance, responses: &[Response]) -> Result<Vec<Program>, BenchmarkError> {
    check_fit(task, instance, responses)?;
    responses
        .iter()
        .filter_map(|response| match response {
            Response::Text(answer) => task.program(&instance.doc, answer).transpose(),
            _ => None,
        })
        .collect::<Result<_, _>>()
        .map_err(|reason| misfit(task, instance, reason))
}

/// Scores one document. `verdicts` belong to what [`programs`] gave, in its order.
///
/// # Errors
/// [`BenchmarkError::Scoring`] where answers or verdicts do not fit the requests.
pub fn score(task: &dyn Task, instance: &Instance, responses: &[Response], verdicts: &[Verdict]) -> Result<DocumentScore, BenchmarkError> {
    check_fit(task, instance, responses)?;
    let filtered = filtered_responses(task, instance, responses);
    let scoring = Scoring { document: &instance.doc, item: &instance.item, responses, filtered: &filtered, verdicts };
    let metrics = task.metrics(&scoring).map_err(|reason| misfit(task, instance, reason))?;
    let flags = flags(task, &filtered, responses, verdicts);
    Ok(DocumentScore { filtered_resps: filtered, metrics, flags })
}

fn misfit(task: &dyn Task, instance: &Instance, reason: String) -> BenchmarkError {
    BenchmarkError::Scoring { task: task.spec().name.clone(), doc_id: instance.doc_id, reason }
}

fn check_fit(task: &dyn Task, instance: &Instance, responses: &[Response]) -> Result<(), BenchmarkError> {
    if responses.len() != instance.requests.len() {
        let reason = format!("{} requests, but {} answers", instance.requests.len(), responses.len());
        return Err(misfit(task, instance, reason));
    }
    let fits = instance.requests.iter().zip(responses).all(|pair| {
        matches!(
            pair,
            (Request::Loglikelihood(_), Response::Loglikelihood { .. })
                | (Request::Rolling(_), Response::Rolling(_))
                | (Request::Generation(_), Response::Text(_))
        )
    });
    let is_number = |response: &Response| match response {
        Response::Loglikelihood { value, .. } | Response::Rolling(value) => value.is_finite(),
        Response::Text(_) => true,
    };
    if fits && !responses.iter().all(is_number) {
        return Err(misfit(task, instance, "an answer is not a finite number, so it says nothing".to_owned()));
    }
    if fits { Ok(()) } else { Err(misfit(task, instance, "an answer is of another kind than its request".to_owned())) }
}

fn filtered_responses(task: &dyn Task, instance: &Instance, responses: &[Response]) -> Map<String, Value> {
    let through = |filter: &str| -> Value {
        responses
            .iter()
            .map(|response| match response {
                Response::Loglikelihood { value, is_greedy } => json!([value, is_greedy]),
                Response::Rolling(value) => json!(value),
                Response::Text(answer) => task.filtered(filter, &instance.doc, answer),
            })
            .collect()
    };
    task.spec().filters.iter().map(|filter| ((*filter).to_owned(), through(filter))).collect()
}

fn flags(task: &dyn Task, filtered: &Map<String, Value>, responses: &[Response], verdicts: &[Verdict]) -> Vec<Flag> {
    let mut flags = Vec::new();
    let primary = task.spec().primary.rsplit(',').next().unwrap_or("none");
    let first = filtered.get(primary).and_then(|answers| answers.get(0));
    if first.and_then(Value::as_str) == Some(INVALID) {
        flags.push(Flag::ExtractionFailed);
    }
    // Only the first answer is scored; others are samples beside it.
    if responses.first().is_some_and(|response| matches!(response, Response::Text(text) if text.trim().is_empty())) {
        flags.push(Flag::EmptyGeneration);
    }
    if verdicts.first() == Some(&Verdict::TimedOut) {
        flags.push(Flag::TimedOut);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn argmax_breaks_ties_as_numpy_does() {
        assert_eq!(argmax(&[-1.0, -0.5, -0.5]), Some(1));
        assert_eq!(argmax(&[-1.0, f64::NAN, 3.0, f64::NAN]), Some(1));
        assert_eq!(argmax(&[f64::NEG_INFINITY, f64::NEG_INFINITY]), Some(0));
        assert_eq!(argmax(&[]), None);
    }

    /// Characters count, not bytes: by bytes the second choice would win.
    #[test]
    fn acc_norm_divides_by_characters() {
        let item = Item::Choice { question: String::new(), choices: vec!["ab".to_owned(), "éé".to_owned()], gold: 0 };
        let responses = [-1.9, -1.95].map(|value| Response::Loglikelihood { value, is_greedy: false });
        let scoring = Scoring { document: &Document::new(), item: &item, responses: &responses, filtered: &Map::new(), verdicts: &[] };
        assert_eq!(Value::Object(scoring.accuracy(true).unwrap()), json!({"acc,none": 1.0, "acc_norm,none": 1.0}));

        let item = Item::Choice { question: String::new(), choices: vec!["a long answer".to_owned(), "short".to_owned()], gold: 0 };
        let responses = [-6.0, -5.0].map(|value| Response::Loglikelihood { value, is_greedy: false });
        let scoring = Scoring { document: &Document::new(), item: &item, responses: &responses, filtered: &Map::new(), verdicts: &[] };
        assert_eq!(Value::Object(scoring.accuracy(true).unwrap()), json!({"acc,none": 0.0, "acc_norm,none": 1.0}));
    }

    proptest! {
        #[test]
        fn responses_survive_the_sample_line(value in -1e6f64..0.0, is_greedy in any::<bool>(), text in any::<String>()) {
            for response in [Response::Loglikelihood { value, is_greedy }, Response::Rolling(value), Response::Text(text)] {
                prop_assert_eq!(Response::from_json(&response.to_json()), Some(response));
            }
        }
    }
}
