//! From the scores of documents to the metrics of a task and of a group.

use super::score::Metrics;
use super::{Aggregation, BenchmarkError, TaskSpec};
use crate::statistics;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Resamples of the reference's bootstrap.
const BOOTSTRAP_REPLICATES: usize = 100_000;

/// A metric over documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Metric and filter, `acc,none`.
    pub key: String,
    /// The value; `None` where it is undefined (the reference's NaN).
    pub value: Option<f64>,
    /// Its standard error; `None` where the reference gives "N/A" (one document, or no formula).
    pub stderr: Option<f64>,
    /// Documents that it is taken over.
    pub n: usize,
}

/// Combines the metrics of a task's documents, in the order of the documents (sums are taken in that order).
///
/// # Errors
/// [`BenchmarkError::Scoring`] where a document lacks a metric or has one of another shape.
pub fn aggregate(spec: &TaskSpec, documents: &[&Metrics]) -> Result<Vec<Aggregate>, BenchmarkError> {
    spec.metrics
        .iter()
        .map(|metric| {
            let key = metric.key();
            let wrong = |index: usize, reason: &str| BenchmarkError::Scoring {
                task: spec.name.clone(),
                doc_id: index,
                reason: format!("metric `{key}` {reason}"),
            };
            let values = documents
                .iter()
                .enumerate()
                .map(|(index, metrics)| metrics.get(&key).ok_or_else(|| wrong(index, "is missing")))
                .collect::<Result<Vec<&Value>, _>>()?;
            let numbers = || {
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| number(value).ok_or_else(|| wrong(index, "is not a number")))
                    .collect::<Result<Vec<f64>, _>>()
            };
            let pairs = || {
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| pair(value).ok_or_else(|| wrong(index, "is not a pair of numbers")))
                    .collect::<Result<Vec<(f64, f64)>, _>>()
            };
            let (value, stderr) = match metric.aggregation {
                Aggregation::Mean => {
                    let numbers = numbers()?;
                    (statistics::mean(&numbers).unwrap_or(f64::NAN), statistics::mean_stderr(&numbers))
                }
                Aggregation::Perplexity => {
                    let numbers = numbers()?;
                    let stderr = statistics::bootstrap_stderr(statistics::perplexity, &numbers, BOOTSTRAP_REPLICATES);
                    (statistics::perplexity(&numbers), stderr)
                }
                Aggregation::WeightedPerplexity => ((-per_weight(&pairs()?)).exp(), None),
                Aggregation::BitsPerByte => (-per_weight(&pairs()?) / std::f64::consts::LN_2, None),
                Aggregation::Custom(combine) => (combine(&values), None),
            };
            Ok(Aggregate {
                key: key.clone(),
                value: (!value.is_nan()).then_some(value),
                stderr: stderr.filter(|stderr| !stderr.is_nan()),
                n: documents.len(),
            })
        })
        .collect()
}

/// Combines the same metric of a group's leaf tasks: their mean weighted by number of documents, with the pooled standard error.
/// `None` without leaf tasks.
#[must_use]
pub fn aggregate_group(leaves: &[&Aggregate]) -> Option<Aggregate> {
    let key = leaves.first()?.key.clone();
    let values: Option<Vec<(f64, f64)>> = leaves.iter().map(|leaf| Some((leaf.value?, leaf.n as f64))).collect();
    let stderrs: Vec<(Option<f64>, usize)> = leaves.iter().map(|leaf| (leaf.stderr, leaf.n)).collect();
    Some(Aggregate {
        key,
        value: values.and_then(|values| statistics::weighted_mean(&values)),
        stderr: statistics::pooled_stderr(&stderrs),
        n: leaves.iter().map(|leaf| leaf.n).sum(),
    })
}

/// A number; `null` stands for NaN, truth values count as 0 and 1.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(f64::NAN),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        other => other.as_f64(),
    }
}

fn pair(value: &Value) -> Option<(f64, f64)> {
    match value.as_array()?.as_slice() {
        [first, second] => Some((number(first)?, number(second)?)),
        _ => None,
    }
}

fn per_weight(pairs: &[(f64, f64)]) -> f64 {
    let value: f64 = pairs.iter().map(|(value, _)| value).sum();
    let weight: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    value / weight
}
