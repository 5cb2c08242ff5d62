//! Pillars and aggregate: pure functions of task scores.
//!
//! A pillar is the mean of its tasks' scores, each task once. The published weights 35, 20, 15, 20, 20 add up to 110; dividing
//! by their sum keeps their ratios and the range 0 to 100. A missing score makes its pillar, and the aggregate, missing: never 0.

use super::run::{Aggregate, PillarScore, TaskRecord, TaskStatus};
use crate::statistics::{Estimate, PillarSample, Resampling, Scale, Stratum, TaskSample, estimate_scores};
use std::collections::BTreeMap;

/// Largest difference between a figure and what would follow from whole numbers of right answers.
const ROUNDING: f64 = 1e-9;

/// A pillar of the suite: its weight in the aggregate and its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct PillarSpec {
    /// Name (`reasoning`).
    pub name: String,
    /// Weight in the aggregate (35 for reasoning).
    pub weight: f64,
    /// Tasks, each counting once.
    pub tasks: Vec<String>,
}

/// Pillars and aggregate of a run's tasks.
///
/// The intervals are those of one stratified bootstrap over items ([`estimate_scores`]: 10,000 replicates of a fixed seed). What it needs is
/// in the records: of a right-or-wrong task (of each of its subtasks) the number of right answers; of any other the mean and its standard
/// error. So everybody who has `run.json` gets the same intervals. Where a task's record lacks these, its pillar's interval is put together
/// from the tasks' own, with tasks taken as independent (MOVER: Zou and Donner 2008, *Statistics in Medicine* 27): the distance from the
/// mean to its lower end is the root of the sum of the tasks' squared weighted distances, and likewise upwards. A pillar whose tasks do not
/// all have an interval has none.
#[must_use]
pub fn summarise(specs: &[PillarSpec], tasks: &BTreeMap<String, TaskRecord>) -> (BTreeMap<String, PillarScore>, Aggregate) {
    let mut pillars: BTreeMap<_, _> = specs.iter().map(|spec| (spec.name.clone(), pillar(spec, tasks))).collect();
    let mut aggregate = aggregate(specs, &pillars);
    let known: Vec<(&PillarSpec, PillarSample)> = specs
        .iter()
        .filter_map(|spec| Some((spec, pillar_sample(spec, tasks, stratum)?)))
        .filter(|(spec, _)| pillars[&spec.name].score.is_some())
        .collect();
    let samples: Vec<PillarSample> = known.iter().map(|(_, sample)| sample.clone()).collect();
    let estimates = estimate_scores(&samples, Resampling::default());
    for ((spec, _), estimate) in known.iter().zip(&estimates.pillars) {
        if let Some(pillar) = pillars.get_mut(&spec.name) {
            pillar.ci95 = around(pillar.score, estimate);
        }
    }
    if let Some(estimate) = estimates.aggregate.filter(|_| known.len() == specs.len()) {
        aggregate.ci95 = around(aggregate.score, &estimate);
    }
    (pillars, aggregate)
}

/// The interval, which holds the score whatever the last bit of either was rounded to.
fn around(score: Option<f64>, estimate: &Estimate) -> Option<[f64; 2]> {
    let (score, interval) = (score?, estimate.ci95?);
    Some([interval.low.min(score), interval.high.max(score)])
}

/// The items of a pillar, as far as its tasks' records tell them.
fn pillar_sample(
    spec: &PillarSpec,
    tasks: &BTreeMap<String, TaskRecord>,
    stratum: fn(&TaskRecord) -> Option<Stratum>,
) -> Option<PillarSample> {
    let samples = spec.tasks.iter().map(|name| task_sample(name, tasks.get(name)?, stratum)).collect::<Option<Vec<_>>>()?;
    PillarSample::new(spec.weight, samples).ok()
}

/// The items of all pillars for paired tests, each with its own value where the records hold it; where one does not, its task counts as
/// independent of the other run's, which is cautious. `None` where a pillar has no score.
#[must_use]
pub fn paired_samples(specs: &[PillarSpec], tasks: &BTreeMap<String, TaskRecord>) -> Option<Vec<PillarSample>> {
    specs.iter().map(|spec| pillar_sample(spec, tasks, stratum_of_items)).collect()
}

/// One stratum from each document's value, where these give the metric.
fn stratum_of_items(task: &TaskRecord) -> Option<Stratum> {
    let metric = task.metrics.get(&task.primary_metric)?;
    let values = task.items.as_ref().and_then(|items| items.values(usize::try_from(task.n).ok()?));
    let known = values
        .map(|values| Stratum::from_values(&values))
        .filter(|known| (known.mean() - metric.value.unwrap_or(f64::NAN)).abs() <= ROUNDING);
    known.or_else(|| stratum(task))
}

/// The items of a task: its subtasks are the strata. `None` where the record does not tell them, or they do not give its score.
fn task_sample(name: &str, task: &TaskRecord, stratum: fn(&TaskRecord) -> Option<Stratum>) -> Option<TaskSample> {
    let score = task.valid_score()?;
    let strata = match task.subtasks.len() {
        0 => vec![stratum(task)?],
        _ => task.subtasks.values().map(stratum).collect::<Option<Vec<_>>>()?,
    };
    let percent = TaskSample::new(name, Scale::Percent, strata.clone()).ok()?;
    let gives = |sample: &TaskSample| (sample.score() - score).abs() <= ROUNDING * 100.0;
    if gives(&percent) && task.chance.is_some() {
        return Some(percent);
    }
    // A balance has no chance level.
    let balance = TaskSample::new(name, Scale::Balance, strata).ok()?;
    if gives(&balance) { Some(balance) } else { Some(percent).filter(gives) }
}

/// One stratum from the primary metric: by its number of right answers where mean and standard error are those of right-or-wrong items.
fn stratum(task: &TaskRecord) -> Option<Stratum> {
    let metric = task.metrics.get(&task.primary_metric)?;
    let (mean, n) = (metric.value.filter(|value| (0.0..=1.0).contains(value))?, task.n as f64);
    let right = (mean * n).round();
    let binary = (task.n > 0 && (right - mean * n).abs() <= ROUNDING * n)
        && match metric.stderr {
            Some(stderr) => task.n > 1 && (stderr * stderr - mean * (1.0 - mean) / (n - 1.0)).abs() <= ROUNDING,
            None => task.n == 1,
        };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number between 0 and n")]
    if binary {
        return Stratum::from_counts(right as u64, task.n).ok();
    }
    Some(Stratum::from_moments(mean, metric.stderr?, usize::try_from(task.n).ok()?))
}

/// One pillar.
#[must_use]
pub fn pillar(spec: &PillarSpec, tasks: &BTreeMap<String, TaskRecord>) -> PillarScore {
    let scores: BTreeMap<String, Option<f64>> =
        spec.tasks.iter().map(|name| (name.clone(), tasks.get(name).and_then(TaskRecord::valid_score))).collect();
    let missing: Vec<String> =
        scores.iter().filter(|(_, score)| score.is_none()).map(|(name, _)| why_missing(name, tasks.get(name))).collect();
    if scores.is_empty() || !missing.is_empty() {
        let reason = if scores.is_empty() { "the suite has no task for this pillar".to_owned() } else { missing.join("; ") };
        return PillarScore { tasks: scores, reason: Some(reason), ..PillarScore::default() };
    }
    let count = scores.len() as f64;
    let score = scores.values().flatten().sum::<f64>() / count;
    let stderr = scores
        .keys()
        .map(|name| tasks.get(name).and_then(|task| task.score_stderr).filter(|stderr| stderr.is_finite()))
        .try_fold(0.0, |sum, stderr| stderr.map(|stderr| sum + stderr * stderr))
        .map(|sum| sum.sqrt() / count);
    let parts: Option<Vec<Part>> = (scores.iter())
        .map(|(name, score)| Some(Part { weight: 1.0 / count, score: (*score)?, ci95: tasks.get(name)?.score_ci95? }))
        .collect();
    PillarScore { score: Some(score), stderr, ci95: parts.map(|parts| interval(score, &parts)), tasks: scores, reason: None }
}

/// The aggregate of pillars, by the specification's weights.
#[must_use]
pub fn aggregate(specs: &[PillarSpec], pillars: &BTreeMap<String, PillarScore>) -> Aggregate {
    let total: f64 = specs.iter().map(|spec| spec.weight).sum();
    let covered: f64 = specs
        .iter()
        .filter_map(|spec| pillars.get(&spec.name).map(|pillar| (spec.weight, pillar)))
        .filter(|(_, pillar)| !pillar.tasks.is_empty())
        .map(|(weight, pillar)| weight * (pillar.tasks.values().flatten().count() as f64 / pillar.tasks.len() as f64))
        .sum();
    let coverage = if total > 0.0 { covered / total } else { 0.0 };
    let missing = Aggregate { coverage, ..Aggregate::default() };
    if total <= 0.0 {
        return missing;
    }
    let sum = specs.iter().try_fold(0.0, |sum, spec| Some(sum + spec.weight * pillars.get(&spec.name)?.score?));
    let Some(sum) = sum else { return missing };
    let score = sum / total;
    let stderr = specs
        .iter()
        .try_fold(0.0, |sum, spec| {
            let part = spec.weight * pillars.get(&spec.name)?.stderr?;
            Some(sum + part * part)
        })
        .map(|sum| sum.sqrt() / total);
    let parts: Option<Vec<Part>> = (specs.iter())
        .map(|spec| {
            let pillar = pillars.get(&spec.name)?;
            Some(Part { weight: spec.weight / total, score: pillar.score?, ci95: pillar.ci95? })
        })
        .collect();
    let ci95 = parts.map(|parts| interval(score, &parts));
    Aggregate { score: Some(score), weighted_sum: Some(sum / 100.0), stderr, ci95, coverage }
}

/// 100 · (score − chance) / (100 − chance): 0 at chance, 100 for a perfect model, negative below chance.
#[must_use]
pub fn chance_corrected(score: Option<f64>, chance: Option<f64>) -> Option<f64> {
    crate::statistics::chance_corrected(score?, chance?)
}

/// One term of a weighted mean.
struct Part {
    weight: f64,
    score: f64,
    ci95: [f64; 2],
}

/// Interval of a weighted mean from those of its parts.
fn interval(mean: f64, parts: &[Part]) -> [f64; 2] {
    let distance = |end: &dyn Fn(&Part) -> f64| parts.iter().map(|part| (part.weight * end(part)).powi(2)).sum::<f64>().sqrt();
    let below = distance(&|part| (part.score - part.ci95[0]).max(0.0));
    let above = distance(&|part| (part.ci95[1] - part.score).max(0.0));
    [(mean - below).max(0.0), (mean + above).min(100.0)]
}

fn why_missing(name: &str, task: Option<&TaskRecord>) -> String {
    match task {
        None => format!("{name}: not part of this run"),
        Some(task) => {
            let kind = match task.status {
                TaskStatus::Ok => "no score",
                TaskStatus::Failed => "failed",
                TaskStatus::Invalid => "invalid",
            };
            match &task.reason {
                Some(reason) => format!("{name} {kind}: {reason}"),
                None => format!("{name}: {kind}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn published() -> Vec<PillarSpec> {
        [
            ("reasoning", 35.0, &["mmlu", "arc_challenge", "hellaswag", "truthfulqa_mc2"][..]),
            ("coding", 20.0, &["humaneval", "mbpp"]),
            ("math", 15.0, &["gsm8k", "mathqa"]),
            ("language", 20.0, &["boolq", "piqa", "winogrande"]),
            ("safety", 20.0, &["toxigen", "crows_pairs_english", "bbq", "truthfulqa_mc1"]),
        ]
        .into_iter()
        .map(|(name, weight, tasks)| PillarSpec { name: name.to_owned(), weight, tasks: tasks.iter().map(|&t| t.to_owned()).collect() })
        .collect()
    }

    fn task(score: f64) -> TaskRecord {
        let score_ci95 = Some([(score - 2.0).max(0.0), (score + 2.0).min(100.0)]);
        let (score, score_stderr) = (Some(score), Some(1.0));
        TaskRecord { status: TaskStatus::Ok, score, score_stderr, score_ci95, n: 10, n_total: 10, ..TaskRecord::default() }
    }

    fn tasks(scores: impl Fn(&str) -> f64) -> BTreeMap<String, TaskRecord> {
        published().iter().flat_map(|spec| spec.tasks.clone()).map(|name| (name.clone(), task(scores(&name)))).collect()
    }

    /// The original's weights added up to 1.10 and nothing divided by it: a perfect model scored 110.
    #[test]
    fn a_perfect_model_scores_exactly_one_hundred() {
        let (pillars, aggregate) = summarise(&published(), &tasks(|_| 100.0));
        assert_eq!(aggregate.score, Some(100.0));
        assert_eq!(aggregate.weighted_sum, Some(110.0));
        assert!(aggregate.coverage >= 1.0);
        assert!(pillars.values().all(|pillar| pillar.score == Some(100.0)));
        assert_eq!(summarise(&published(), &tasks(|_| 0.0)).1.score, Some(0.0));
    }

    /// The original took a failed pillar as 0 and kept ranking the model.
    #[test]
    fn a_missing_task_is_missing_and_never_zero() {
        let mut results = tasks(|_| 50.0);
        results.insert("gsm8k".to_owned(), TaskRecord::without_score(TaskStatus::Failed, "timed out after 3600 s"));
        let (pillars, aggregate) = summarise(&published(), &results);
        assert_eq!(pillars["math"].score, None);
        assert_eq!(pillars["math"].reason.as_deref(), Some("gsm8k failed: timed out after 3600 s"));
        assert_eq!((aggregate.score, aggregate.weighted_sum, aggregate.ci95), (None, None, None));
        assert!((aggregate.coverage - (110.0 - 7.5) / 110.0).abs() < 1e-12);
        let (pillars, aggregate) = summarise(&published(), &BTreeMap::new());
        assert_eq!((aggregate.score, aggregate.coverage), (None, 0.0));
        assert_eq!(pillars["coding"].reason.as_deref(), Some("humaneval: not part of this run; mbpp: not part of this run"));
    }

    /// The original gave a pillar that timed out 1.0 (`True` is a number in Python): here a status without `ok` has no score,
    /// whatever its field says.
    #[test]
    fn a_score_beside_a_failed_status_is_not_used() {
        let mut results = tasks(|_| 50.0);
        for status in [TaskStatus::Failed, TaskStatus::Invalid] {
            results.insert("gsm8k".to_owned(), TaskRecord { status, ..task(1.0) });
            assert_eq!(summarise(&published(), &results).0["math"].score, None);
        }
        results.insert("gsm8k".to_owned(), task(f64::NAN));
        assert_eq!(summarise(&published(), &results).0["math"].score, None);
    }

    /// The original averaged 65 entries, so that mmlu and its subjects were 95 % of reasoning.
    #[test]
    fn mmlu_counts_once_whatever_its_subjects() {
        let mut results = tasks(|name| if name == "mmlu" { 20.0 } else { 60.0 });
        let mmlu = results.get_mut("mmlu").unwrap();
        mmlu.subtasks = (0..57).map(|i| (format!("mmlu_{i}"), task(0.0))).collect();
        let (pillars, _) = summarise(&published(), &results);
        assert_eq!(pillars["reasoning"].score, Some(50.0));
    }

    #[test]
    fn standard_errors_are_propagated() {
        let (pillars, aggregate) = summarise(&published(), &tasks(|_| 50.0));
        assert!((pillars["coding"].stderr.unwrap() - 2.0_f64.sqrt() / 2.0).abs() < 1e-12);
        let expected = (35.0_f64.powi(2) / 4.0 + 400.0 / 2.0 + 225.0 / 2.0 + 400.0 / 3.0 + 400.0 / 4.0).sqrt() / 110.0;
        assert!((aggregate.stderr.unwrap() - expected).abs() < 1e-12);
        let [low, high] = aggregate.ci95.unwrap();
        assert!((50.0 - low - 2.0 * expected).abs() < 1e-9 && (high - 50.0 - 2.0 * expected).abs() < 1e-9);
    }

    /// No right answer at all has a standard error of 0; the interval still says how little is known.
    #[test]
    fn an_interval_is_not_empty_where_the_standard_error_is_zero() {
        let mut results = tasks(|_| 0.0);
        for task in results.values_mut() {
            (task.score_stderr, task.score_ci95) = (Some(0.0), Some([0.0, 40.0]));
        }
        let (pillars, aggregate) = summarise(&published(), &results);
        let [low, high] = pillars["math"].ci95.unwrap();
        assert!(low.abs() < 1e-12 && (high - 40.0 / 2.0_f64.sqrt()).abs() < 1e-9, "{low} {high}");
        assert!(aggregate.ci95.unwrap()[1] > 10.0);
        results.get_mut("gsm8k").unwrap().score_ci95 = None;
        assert_eq!(summarise(&published(), &results).0["math"].ci95, None);
    }

    fn counted(right: u64, n: u64) -> TaskRecord {
        let (k, total) = (right as f64, n as f64);
        let value = k / total;
        let stderr = (n > 1).then(|| (value * (1.0 - value) / (total - 1.0)).sqrt());
        let wilson = crate::statistics::wilson_interval(right, n).unwrap();
        TaskRecord {
            status: TaskStatus::Ok,
            score: Some(100.0 * value),
            score_stderr: stderr.map(|stderr| 100.0 * stderr),
            score_ci95: Some([100.0 * wilson.low, 100.0 * wilson.high]),
            chance: Some(25.0),
            n,
            n_total: n,
            metrics: BTreeMap::from([("acc,none".to_owned(), super::super::run::Metric { value: Some(value), stderr, ci95: None })]),
            primary_metric: "acc,none".to_owned(),
            ..TaskRecord::default()
        }
    }

    /// The bootstrap over the items that the records tell gives what it gives over the items themselves.
    #[test]
    fn intervals_are_those_of_the_bootstrap_over_items() {
        let spec = |name: &str, weight: f64, tasks: &[&str]| PillarSpec {
            name: name.to_owned(),
            weight,
            tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
        };
        let specs = [spec("reasoning", 35.0, &["mmlu", "arc"]), spec("safety", 20.0, &["bbq", "crows"])];
        let leaves = BTreeMap::from([("mmlu_a".to_owned(), counted(30, 100)), ("mmlu_b".to_owned(), counted(20, 50))]);
        let mut mmlu = counted(50, 150);
        mmlu.metrics.get_mut("acc,none").unwrap().stderr = Some(0.03);
        mmlu.subtasks = leaves;
        let mut crows = counted(90, 120);
        (crows.score, crows.chance) = (Some(50.0), None);
        let tasks: BTreeMap<String, TaskRecord> =
            [("mmlu", mmlu), ("arc", counted(300, 1172)), ("bbq", counted(0, 40)), ("crows", crows)].map(|(n, t)| (n.to_owned(), t)).into();
        let items = |right: usize, n: usize| Stratum::from_values(&(0..n).map(|i| f64::from(u8::from(i < right))).collect::<Vec<_>>());
        let sample = |name: &str, scale, strata| TaskSample::new(name, scale, strata).unwrap();
        let reasoning = vec![
            sample("mmlu", Scale::Percent, vec![items(30, 100), items(20, 50)]),
            sample("arc", Scale::Percent, vec![items(300, 1172)]),
        ];
        let safety = vec![sample("bbq", Scale::Percent, vec![items(0, 40)]), sample("crows", Scale::Balance, vec![items(90, 120)])];
        let samples = [PillarSample::new(35.0, reasoning).unwrap(), PillarSample::new(20.0, safety).unwrap()];
        let expected = estimate_scores(&samples, Resampling::default());
        let (pillars, aggregate) = summarise(&specs, &tasks);
        let both = [(pillars["reasoning"].ci95, expected.pillars[0]), (pillars["safety"].ci95, expected.pillars[1])];
        for (found, expected) in both.into_iter().chain([(aggregate.ci95, expected.aggregate.unwrap())]) {
            let ([low, high], expected) = (found.unwrap(), expected.ci95.unwrap());
            assert!((low - expected.low).abs() < 1e-9 && (high - expected.high).abs() < 1e-9, "{low} {high} {expected:?}");
        }
    }

    /// A pillar of a task with no right answer among four is not known to be 0.
    #[test]
    fn four_wrong_answers_are_no_certainty() {
        let specs = [PillarSpec { name: "math".to_owned(), weight: 15.0, tasks: vec!["gsm8k".to_owned()] }];
        let (pillars, aggregate) = summarise(&specs, &BTreeMap::from([("gsm8k".to_owned(), counted(0, 4))]));
        let wilson = 100.0 * crate::statistics::wilson_interval(0, 4).unwrap().high;
        for [low, high] in [pillars["math"].ci95.unwrap(), aggregate.ci95.unwrap()] {
            assert!(low.abs() < 1e-12 && (high - wilson).abs() < 1e-9, "{low} {high}");
        }
    }

    #[test]
    fn chance_is_zero_and_perfect_is_one_hundred() {
        assert_eq!(chance_corrected(Some(25.0), Some(25.0)), Some(0.0));
        assert_eq!(chance_corrected(Some(100.0), Some(25.0)), Some(100.0));
        assert_eq!(chance_corrected(Some(0.0), Some(50.0)), Some(-100.0));
        assert_eq!(chance_corrected(None, Some(25.0)), None);
        assert_eq!(chance_corrected(Some(3.0), None), None);
    }

    proptest! {
        #[test]
        fn every_aggregate_lies_between_zero_and_one_hundred(scores in proptest::collection::vec(0.0..=100.0_f64, 15)) {
            let names: Vec<String> = published().iter().flat_map(|spec| spec.tasks.clone()).collect();
            let results = tasks(|name| scores[names.iter().position(|n| n == name).unwrap()]);
            let (pillars, aggregate) = summarise(&published(), &results);
            let score = aggregate.score.unwrap();
            prop_assert!((0.0..=100.0).contains(&score));
            let lowest = pillars.values().filter_map(|p| p.score).fold(f64::INFINITY, f64::min);
            let highest = pillars.values().filter_map(|p| p.score).fold(0.0, f64::max);
            prop_assert!(lowest - 1e-9 <= score && score <= highest + 1e-9);
            let [low, high] = aggregate.ci95.unwrap();
            prop_assert!(0.0 <= low && low <= score && score <= high && high <= 100.0);
        }
    }
}
