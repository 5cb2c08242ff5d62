//! Paired tests between runs of the same questions: which ranks the answers leave open, and what a quantization costs.
//!
//! Two models that answer the same documents are compared document by document, which tells them apart where their intervals overlap. What is
//! needed stands in each `run.json` ([`super::run::Items`]); pure: runs in, differences out.

use super::pillars::{PillarSpec, paired_samples};
use super::registry::RunSummary;
use super::run::{Run, TaskRecord};
use crate::statistics::{Difference, PillarSample, Z_95, aggregate_difference};
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

/// Documents' values of runs, by run id.
#[derive(Clone, Debug, Default)]
pub struct ItemScores {
    runs: BTreeMap<String, RunItems>,
}

#[derive(Clone, Debug)]
struct RunItems {
    /// Digest of version, data set and number of documents of each leaf task: runs that agree in it answered the same documents in the same
    /// order.
    questions: [u8; 32],
    samples: Vec<PillarSample>,
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
            let questions = Sha256::digest(leaves().map(question).collect::<Vec<_>>().join("\n")).into();
            self.runs.insert(run.run_id.clone(), RunItems { questions, samples });
        }
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
        let sides = self.runs.get(&first.run_id).zip(self.runs.get(&second.run_id));
        let paired = sides.filter(|(a, b)| a.questions == b.questions).and_then(|(a, b)| aggregate_difference(&a.samples, &b.samples).ok());
        match paired {
            Some(difference) => RunDifference { difference, test: Test::Paired },
            None => RunDifference { difference: independent(first, second), test: Test::Independent },
        }
    }
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
