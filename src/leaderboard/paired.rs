//! Paired tests between runs of the same questions: which ranks the answers leave open, and what a quantization costs.
//!
//! Two models that answer the same documents are compared document by document, which tells them apart where their intervals overlap. What is
//! needed stands in each `run.json` ([`super::run::Items`]); pure: runs in, differences out.

use super::pillars::{PillarSpec, paired_samples};
use super::registry::RunSummary;
use super::run::{Items, Run, TaskRecord};
use super::tested::TestedPairs;
use crate::statistics::{Difference, PillarSample, Z_95, aggregate_difference};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How a rank interval or a difference was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Document by document.
    Paired,
    /// From both runs' standard errors, as if they had answered different documents: cautious.
    Independent,
}

/// Documents' values of runs, by run id, and the results of tests between them that are known already.
#[derive(Clone, Debug, Default)]
pub struct ItemScores {
    runs: BTreeMap<String, RunItems>,
    tested: TestedPairs,
}

#[derive(Clone, Debug)]
struct RunItems {
    /// Digest of version, data set and number of documents of each leaf task: runs that agree in it answered the same documents in the same
    /// order.
    questions: [u8; 32],
    /// Digest of everything that enters a test: the questions, each pillar's weight and tasks, each document's value.
    values: [u8; 32],
    samples: Vec<PillarSample>,
}

/// How many of the wanted results were there, and how many had to be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Taken over.
    pub known: usize,
    /// Computed now.
    pub new: usize,
}

/// A run's place among those of an [`ItemScores`], for many comparisons.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    items: Option<&'a RunItems>,
    /// Among the known results.
    place: Option<usize>,
}

/// A difference of two runs' aggregates, in points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunDifference {
    /// First minus second, with its p-value.
    pub difference: Difference,
    /// How it was found.
    pub test: Test,
}

impl RunDifference {
    /// 95 % interval of the difference, from its standard error.
    #[must_use]
    pub fn ci95(&self) -> Option<[f64; 2]> {
        let Difference { points, stderr, .. } = self.difference;
        stderr.map(|stderr| [points - Z_95 * stderr, points + Z_95 * stderr])
    }
}

impl ItemScores {
    /// Adds a run; one without a score in some pillar, or without documents' values, adds nothing.
    pub fn add(&mut self, run: &Run, specs: &[PillarSpec]) {
        let leaves = || specs.iter().flat_map(|spec| &spec.tasks).filter_map(|task| run.tasks.get(task)).flat_map(leaves_of);
        if !leaves().all(|leaf| leaf.items.is_some()) {
            return;
        }
        if let Some(samples) = paired_samples(specs, &run.tasks) {
            let questions: [u8; 32] = Sha256::digest(leaves().map(question).collect::<Vec<_>>().join("\n")).into();
            let values = digest_of_values(&questions, specs, run);
            self.runs.insert(run.run_id.clone(), RunItems { questions, values, samples });
            self.tested = TestedPairs::default();
        }
    }

    /// Tests these pairs, first against second, and keeps the results for [`ItemScores::difference`], which gives the same with and without.
    /// Results that `known` has for the same runs with the same answers are taken over.
    pub fn test(&mut self, pairs: &[(&str, &str)], known: TestedPairs) -> TestCounts {
        let runs: Vec<(&str, [u8; 32])> = self.runs.iter().map(|(id, items)| (id.as_str(), items.values)).collect();
        let known = TestedPairs { runs: Vec::new(), rows: known.among(&runs) };
        let places: BTreeMap<&str, usize> = runs.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
        let items: Vec<&RunItems> = self.runs.values().collect();
        let mut wanted: Vec<Vec<u32>> = vec![Vec::new(); runs.len()];
        for (first, second) in pairs {
            if let (Some(&first), Some(&second)) = (places.get(first), places.get(second))
                && let Ok(second) = u32::try_from(second)
            {
                wanted[first].push(second);
            }
        }
        let row = |(first, mut seconds): (usize, Vec<u32>)| {
            seconds.sort_unstable();
            seconds.dedup();
            let mut counts = TestCounts::default();
            let result = |second: u32| {
                let found = known.get(first, second as usize).inspect(|_| counts.known += 1);
                let compute = || paired_difference(items[first], items[second as usize]).inspect(|_| counts.new += 1);
                let Difference { points, stderr, .. } = found.or_else(compute)?;
                Some((second, points, stderr))
            };
            (seconds.into_iter().filter_map(result).collect::<Vec<_>>(), counts)
        };
        let (rows, counts): (Vec<_>, Vec<TestCounts>) = wanted.into_par_iter().enumerate().map(row).unzip();
        let runs = runs.into_iter().map(|(id, values)| (id.to_owned(), values)).collect();
        self.tested = TestedPairs { runs, rows };
        counts.iter().fold(TestCounts::default(), |sum, part| TestCounts { known: sum.known + part.known, new: sum.new + part.new })
    }

    /// The results of [`ItemScores::test`], to be kept.
    #[must_use]
    pub fn tested(&self) -> &TestedPairs {
        &self.tested
    }

    /// Without a run: nothing can be paired.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What a run's documents are, as a digest: runs of one digest are paired. `None` where its values are not here.
    #[must_use]
    pub fn questions(&self, run_id: &str) -> Option<[u8; 32]> {
        self.runs.get(run_id).map(|items| items.questions)
    }

    /// The first run's aggregate minus the second's.
    #[must_use]
    pub fn difference(&self, first: &RunSummary, second: &RunSummary) -> RunDifference {
        self.difference_of((first, self.side(first)), (second, self.side(second)))
    }

    /// Where a run's values are.
    pub(super) fn side(&self, run: &RunSummary) -> Side<'_> {
        let place = self.tested.runs.binary_search_by_key(&run.run_id.as_str(), |(id, _)| id).ok();
        Side { items: self.runs.get(&run.run_id), place }
    }

    /// [`ItemScores::difference`] of runs whose values have been looked up.
    pub(super) fn difference_of(&self, (first, one): (&RunSummary, Side<'_>), (second, other): (&RunSummary, Side<'_>)) -> RunDifference {
        let known = || self.tested.get(one.place?, other.place?);
        match known().or_else(|| paired_difference(one.items?, other.items?)) {
            Some(difference) => RunDifference { difference, test: Test::Paired },
            None => RunDifference { difference: independent(first, second), test: Test::Independent },
        }
    }
}

/// `None` where the runs did not answer the same questions.
fn paired_difference(first: &RunItems, second: &RunItems) -> Option<Difference> {
    if first.questions != second.questions {
        return None;
    }
    aggregate_difference(&first.samples, &second.samples).ok()
}

/// Everything that [`paired_samples`] reads, as a digest.
fn digest_of_values(questions: &[u8; 32], specs: &[PillarSpec], run: &Run) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // With its length, so that no two lists of fields read alike.
    let mut add = |field: &[u8]| {
        hasher.update((field.len() as u64).to_le_bytes());
        hasher.update(field);
    };
    let number = |number: Option<f64>| number.unwrap_or(f64::NAN).to_le_bytes();
    add(questions);
    for spec in specs {
        add(spec.name.as_bytes());
        add(&spec.weight.to_le_bytes());
        for (name, task) in spec.tasks.iter().filter_map(|name| Some((name, run.tasks.get(name)?))) {
            add(name.as_bytes());
            add(&number(task.valid_score()));
            add(&number(task.chance));
            let leaves = leaves_of(task);
            add(&(leaves.len() as u64).to_le_bytes());
            for leaf in leaves {
                let metric = leaf.metrics.get(&leaf.primary_metric);
                add(&leaf.n.to_le_bytes());
                add(&number(metric.and_then(|metric| metric.value)));
                add(&number(metric.and_then(|metric| metric.stderr)));
                match &leaf.items {
                    None => add(b"none"),
                    Some(Items::RightOrWrong(bits)) => add(bits.as_bytes()),
                    Some(Items::Values(values)) => add(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()),
                }
            }
        }
    }
    hasher.finalize().into()
}

fn independent(first: &RunSummary, second: &RunSummary) -> Difference {
    let points = first.aggregate.score.zip(second.aggregate.score).map_or(0.0, |(a, b)| a - b);
    Difference::new(points, first.aggregate.stderr.zip(second.aggregate.stderr).map(|(a, b)| a.hypot(b)))
}

fn leaves_of(task: &TaskRecord) -> Vec<&TaskRecord> {
    if task.subtasks.is_empty() { vec![task] } else { task.subtasks.values().collect() }
}

fn question(leaf: &TaskRecord) -> String {
    let dataset = leaf.dataset.as_ref().map(|dataset| {
        format!("{}/{}/{}@{}", dataset.repo, dataset.config.as_deref().unwrap_or_default(), dataset.split, dataset.revision)
    });
    format!("{} {} {}", dataset.unwrap_or_default(), leaf.version, leaf.n)
}
