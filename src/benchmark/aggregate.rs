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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::registry;
    use proptest::prelude::*;
    use serde_json::json;

    fn documents(values: &[Value]) -> Vec<Metrics> {
        values.iter().map(|value| value.as_object().unwrap().clone()).collect()
    }

    fn combine(task: &str, values: &[Value]) -> Result<Vec<Aggregate>, BenchmarkError> {
        let documents = documents(values);
        aggregate(registry::spec(task).unwrap(), &documents.iter().collect::<Vec<_>>())
    }

    /// Reference values: the perplexity of three pages by words and bytes has no standard error.
    #[test]
    fn pages_are_weighted_by_their_length() {
        let page = |value: f64, words: u32| {
            json!({
                "word_perplexity,none": [value, words], "byte_perplexity,none": [value, 5 * words], "bits_per_byte,none": [value, 5 * words]
            })
        };
        let aggregates = combine("wikitext", &[page(-100.0, 10), page(-50.0, 40)]).unwrap();
        let values: Vec<f64> = aggregates.iter().map(|aggregate| aggregate.value.unwrap()).collect();
        let expected = [3.0_f64.exp(), 0.6_f64.exp(), 0.6 / std::f64::consts::LN_2];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
        }
        assert!(aggregates.iter().all(|aggregate| aggregate.stderr.is_none()));
    }

    #[test]
    fn what_is_undefined_stays_undefined() {
        let one = combine("truthfulqa_mc2", &[json!({ "acc,none": null })]).unwrap();
        assert_eq!(one, [Aggregate { key: "acc,none".to_owned(), value: None, stderr: None, n: 1 }]);
        let among_others = combine("truthfulqa_mc2", &[json!({ "acc,none": 1.0 }), json!({ "acc,none": null })]).unwrap();
        assert_eq!((among_others[0].value, among_others[0].stderr), (None, None), "NaN is not left out of a mean");
        assert_eq!(combine("boolq", &[]).unwrap()[0].value, None);
        assert_eq!(aggregate_group(&[]), None);
    }

    #[test]
    fn a_missing_metric_names_task_and_document() {
        let error = combine("arc_easy", &[json!({ "acc,none": 1.0, "acc_norm,none": 1.0 }), json!({ "acc,none": 1.0 })]).unwrap_err();
        assert_eq!(error.to_string(), "task arc_easy, document 1: metric `acc_norm,none` is missing");
    }

    proptest! {
        /// Means, and their groups, lie between the smallest and the largest value; a group of all documents has the mean of all.
        #[test]
        fn accuracies_stay_in_range(tasks in prop::collection::vec(prop::collection::vec(any::<bool>(), 2..30), 1..6)) {
            let aggregates: Vec<Aggregate> = tasks
                .iter()
                .map(|values| {
                    let values: Vec<Value> = values.iter().map(|right| json!({ "acc,none": f64::from(u8::from(*right)) })).collect();
                    combine("mmlu_anatomy", &values).unwrap().remove(0)
                })
                .collect();
            let group = aggregate_group(&aggregates.iter().collect::<Vec<_>>()).unwrap();
            let all: Vec<bool> = tasks.into_iter().flatten().collect();
            let share = all.iter().filter(|right| **right).count() as f64 / all.len() as f64;
            prop_assert!((group.value.unwrap() - share).abs() < 1e-12);
            prop_assert_eq!(group.n, all.len());
            for aggregate in aggregates.iter().chain([&group]) {
                prop_assert!((-1e-12..=1.0 + 1e-12).contains(&aggregate.value.unwrap()));
                prop_assert!((0.0..=0.5 + 1e-12).contains(&aggregate.stderr.unwrap()));
            }
        }
    }
}
