//! Which run stands for a model, and the order of the models.
//!
//! Only a complete run of the standard suite is ranked: every pillar, every document, no `--limit`, no option that departs from
//! the suite, no chat template. Of a model's newest revision with such a run, the least quantized one carries the rank; all
//! other runs are linked. Versions of the suite are never ranked together: the newest one that has a complete run is current.

use super::paired::{ItemScores, Test};
use super::registry::{Action, Entry, RunSummary};
use super::run::{SuiteRecord, TaskStatus};
use crate::statistics::{self, RankInterval};
use chrono::{DateTime, Utc};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Name of the suite that is ranked.
pub const RANKED_SUITE: &str = "standard";

/// Level of the tests between models, after Holm's correction.
const ALPHA: f64 = 0.05;

/// What a run is worth for the ranking, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunClass {
    /// The prompts were rendered with the chat template: a variant.
    ChatVariant,
    /// A part of the documents (`--limit`, the quick and smoke suites), or options that depart from the suite.
    Preliminary,
    /// Full documents, but some pillar has no score or was not asked for.
    Partial,
    /// Complete, by an older version of the suite.
    Stale,
    /// Complete, by the current version of the suite.
    Complete,
}

/// What this run is worth. `suite` is the current standard suite.
#[must_use]
pub fn classify(run: &RunSummary, suite: Option<&SuiteRecord>) -> RunClass {
    if run.chat_template {
        RunClass::ChatVariant
    } else if run.suite.name != RANKED_SUITE || run.limit.is_some() || !run.suite.overrides.is_empty() {
        RunClass::Preliminary
    } else if !is_complete(run) {
        RunClass::Partial
    } else if suite.is_none_or(|suite| suite.version == run.suite.version) {
        RunClass::Complete
    } else {
        RunClass::Stale
    }
}

/// Every pillar has a score, and every task of a pillar was scored on every document of the suite.
fn is_complete(run: &RunSummary) -> bool {
    let full =
        |task: &String| run.tasks.get(task).is_some_and(|t| t.status == TaskStatus::Ok && t.score.is_some() && t.n > 0 && t.n == t.n_total);
    run.aggregate.score.is_some()
        && !run.pillars.is_empty()
        && run.pillars.values().all(|pillar| pillar.score.is_some() && pillar.tasks.keys().all(full))
}

/// The newest version of the standard suite that has a complete run, by its numbers (1.10.0 is newer than 1.9.0).
#[must_use]
pub fn current_suite<'a>(runs: impl IntoIterator<Item = &'a RunSummary>) -> Option<SuiteRecord> {
    runs.into_iter()
        .filter(|run| classify(run, None) == RunClass::Complete)
        .map(|run| &run.suite)
        .max_by(|a, b| compare_versions(&a.version, &b.version))
        .cloned()
}

/// Compares versions part by part: numbers as numbers, else as text.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let parts = |version: &str| -> Vec<(u64, String)> {
        version.split(['.', '-', '+']).map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
    };
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

/// Bits per weight that a quantization's name says: 16 for `FP16`, 8 for `Q8_0`, 4 for `Q4_K_M` and `Q4K`; 0 where it says nothing.
#[must_use]
pub fn bits_of(name: &str) -> u32 {
    let name = name.to_ascii_uppercase();
    let Some(start) = name.find(|c: char| c.is_ascii_digit()) else { return 0 };
    let digits: String = name[start..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// The run that a model's row shows, with its class: the best class; in it the newest revision; of that the least quantized
/// run; of several the latest.
///
/// A revision is as new as its first run, so that evaluating an old revision again does not make it the newest.
#[must_use]
pub fn shown_run<'a>(runs: &'a [RunSummary], suite: Option<&SuiteRecord>) -> Option<(&'a RunSummary, RunClass)> {
    let class = runs.iter().map(|run| classify(run, suite)).max()?;
    let newness = first_runs(runs);
    runs.iter()
        .filter(|run| classify(run, suite) == class)
        .max_by_key(|run| {
            let revision = (newness.get(run.revision.as_str()).copied(), run.revision.as_str());
            (revision, bits_of(&run.quantization.name), run.finished_at, Reverse(run.run_id.as_str()))
        })
        .map(|run| (run, class))
}

/// End of the first run of each revision.
pub(crate) fn first_runs(runs: &[RunSummary]) -> BTreeMap<&str, DateTime<Utc>> {
    let mut first = BTreeMap::new();
    for run in runs {
        let entry = first.entry(run.revision.as_str()).or_insert(run.finished_at);
        *entry = (*entry).min(run.finished_at);
    }
    first
}

/// The run that carries a model's rank, where it has one.
#[must_use]
pub fn ranked_run<'a>(entry: &'a Entry, suite: Option<&SuiteRecord>) -> Option<&'a RunSummary> {
    if entry.decision.as_ref().is_some_and(|decision| decision.action == Action::Withdraw) {
        return None;
    }
    shown_run(&entry.runs, suite).filter(|(_, class)| *class == RunClass::Complete).map(|(run, _)| run)
}

/// Whether a model's results are of another version of the ranked suite than this one, which is the one that is evaluated now: to be evaluated
/// again. Not for a withdrawn model.
#[must_use]
pub fn is_stale(entry: &Entry, suite: &SuiteRecord) -> bool {
    let withdrawn = entry.decision.as_ref().is_some_and(|decision| decision.action == Action::Withdraw);
    !withdrawn && shown_run(&entry.runs, Some(suite)).is_some_and(|(_, class)| class == RunClass::Stale)
}

/// Ranks, in the order of `models`: 1 + the number of ranked models with a higher aggregate. Equal aggregates share a rank.
#[must_use]
pub fn rank(models: &[Entry], suite: Option<&SuiteRecord>) -> Vec<Option<u64>> {
    let scores: Vec<Option<f64>> = models.iter().map(|entry| ranked_run(entry, suite).and_then(|run| run.aggregate.score)).collect();
    let mut sorted: Vec<f64> = scores.iter().flatten().copied().collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    scores.iter().map(|score| score.map(|score| 1 + sorted.partition_point(|other| *other > score) as u64)).collect()
}

/// Interval of each rank, and how it was found: by tests between every two runs at the 5 % level with Holm's correction for each model, paired
/// where the documents' values are at hand. Without any such values by [`rank_intervals`], which needs no comparison of pairs.
#[must_use]
pub fn tested_rank_intervals(runs: &[&RunSummary], items: &ItemScores) -> Vec<([u64; 2], Test)> {
    if items.is_empty() {
        let intervals = rank_intervals(&runs.iter().map(|run| run.aggregate.ci95).collect::<Vec<_>>());
        return intervals.into_iter().map(|interval| (interval, Test::Independent)).collect();
    }
    let sides: Vec<_> = runs.iter().map(|run| items.side(run)).collect();
    let difference = |first: usize, second: usize| {
        Ok::<_, Infallible>(items.difference_of((runs[first], sides[first]), (runs[second], sides[second])).difference)
    };
    let Ok(intervals) = statistics::rank_intervals(runs.len(), ALPHA, difference);
    let questions: Vec<_> = runs.iter().map(|run| items.questions(&run.run_id)).collect();
    let test = |model: usize| {
        let is_paired = questions[model].is_some() && questions.iter().all(|other| *other == questions[model]);
        if is_paired { Test::Paired } else { Test::Independent }
    };
    (intervals.into_iter().enumerate()).map(|(model, RankInterval { best, worst })| ([best as u64, worst as u64], test(model))).collect()
}

/// Interval of each rank from the 95 % intervals of the scores: a model is certainly better than another where its interval lies
/// wholly above the other's. The best rank is 1 + the number of certainly better models, the worst is the number of models less
/// those that are certainly worse. A model without interval could stand anywhere.
#[must_use]
pub fn rank_intervals(intervals: &[Option<[f64; 2]>]) -> Vec<[u64; 2]> {
    let total = intervals.len() as u64;
    let mut lows: Vec<f64> = intervals.iter().flatten().map(|[low, _]| *low).collect();
    let mut highs: Vec<f64> = intervals.iter().flatten().map(|[_, high]| *high).collect();
    lows.sort_by(f64::total_cmp);
    highs.sort_by(f64::total_cmp);
    intervals
        .iter()
        .map(|interval| match interval {
            None => [1.min(total), total],
            Some([low, high]) => {
                let better = (lows.len() - lows.partition_point(|other| other <= high)) as u64;
                let worse = highs.partition_point(|other| other < low) as u64;
                [1 + better, total - worse]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_are_read_from_the_usual_names() {
        let names = [
            ("FP32", 32),
            ("BF16", 16),
            ("fp16", 16),
            ("Q8_0", 8),
            ("INT8", 8),
            ("Q6_K", 6),
            ("Q4_K_M", 4),
            ("Q4K", 4),
            ("IQ2_XS", 2),
            ("default", 0),
        ];
        for (name, bits) in names {
            assert_eq!(bits_of(name), bits, "{name}");
        }
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(compare_versions("1.10.0", "1.9.0"), Ordering::Greater);
        assert_eq!(compare_versions("1.0.0", "1.0"), Ordering::Greater);
        assert_eq!(compare_versions("2", "2"), Ordering::Equal);
    }

    #[test]
    fn rank_intervals_widen_where_intervals_overlap() {
        let intervals = [Some([50.0, 60.0]), Some([40.0, 55.0]), Some([10.0, 20.0]), None];
        assert_eq!(rank_intervals(&intervals), [[1, 3], [1, 3], [3, 4], [1, 4]]);
        assert_eq!(rank_intervals(&[]), Vec::<[u64; 2]>::new());
    }

    proptest! {
        /// Against the definition, pair by pair.
        #[test]
        fn rank_intervals_count_pairs(pairs in proptest::collection::vec((0.0..100.0_f64, 0.0..10.0_f64), 0..40)) {
            let intervals: Vec<_> = pairs.iter().map(|(middle, half)| Some([middle - half, middle + half])).collect();
            let found = rank_intervals(&intervals);
            for (i, mine) in intervals.iter().flatten().enumerate() {
                let better = intervals.iter().flatten().filter(|other| other[0] > mine[1]).count() as u64;
                let worse = intervals.iter().flatten().filter(|other| other[1] < mine[0]).count() as u64;
                prop_assert_eq!(found[i], [1 + better, intervals.len() as u64 - worse]);
            }
        }
    }
}
