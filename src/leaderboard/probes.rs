//! Probes: figures about how a model came to its answers, beside the scores. They enter no score, pillar, rank, badge or gate.
//!
//! A function of the records that a run keeps in `probes`, whose samples lie beside those of the tasks. Shares and accuracies are in points,
//! 0 to 100.

use super::run::{Metric, TaskRecord, TaskStatus};
use crate::statistics::{self, Interval, PillarSample, Resampling, Scale, Stratum, TaskSample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the figures and of what they are made from.
pub const PROBES_VERSION: &str = "1";

/// Ending of the name of a probe that moves the options round: `<task>_choice_order`.
pub const CHOICE_ORDER: &str = "_choice_order";
/// Ending of the name of a probe that leaves out the question: `<task>_answer_only`.
pub const ANSWER_ONLY: &str = "_answer_only";

/// Orders in which the options are asked.
const ORDERS: usize = 4;

/// Why there is no figure where nobody asked for it.
pub const NOT_MEASURED: &str = "not measured in this run: `--probes` was not given";

/// Name of the task that a probe is of; `None` for a name that is no probe's.
#[must_use]
pub fn base_of(probe: &str) -> Option<&str> {
    probe.strip_suffix(CHOICE_ORDER).or_else(|| probe.strip_suffix(ANSWER_ONLY))
}

/// Why a task has no probe, by the two kinds; `None` where it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inapplicable {
    /// Of the order of the options.
    pub choice_order: Option<String>,
    /// Of the choices without the question.
    pub answer_only: Option<String>,
}

/// All figures of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probes {
    /// [`PROBES_VERSION`].
    pub version: String,
    /// Share of documents whose chosen option depends on the order of the options: mean of the tasks that have this probe.
    pub choice_order: Column,
    /// Accuracy without the question: mean of the tasks that have this probe.
    pub answer_only: Column,
    /// The mean accuracy of the same documents with the question, for comparison.
    pub with_question: Column,
    /// The mean chance level of the tasks in `answer_only`, in points.
    pub chance: Option<f64>,
    /// By task.
    pub tasks: BTreeMap<String, TaskProbes>,
}

/// One figure over all tasks that have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// In points; `null` with a reason where there is none.
    pub value: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Documents.
    pub n: u64,
    /// Tasks that it is the mean of.
    pub tasks: Vec<String>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The figures of one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskProbes {
    /// With the options moved round.
    pub choice_order: ChoiceOrder,
    /// Without the question.
    pub answer_only: AnswerOnly,
}

/// A figure with its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// In points.
    pub value: Option<f64>,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
}

/// What the order of the options changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceOrder {
    /// Documents, each asked in four orders.
    pub n: u64,
    /// Share of documents for which some order made the model choose another option; Wilson's interval.
    pub changed: Measured,
    /// Accuracy in each order, the published one first; Wilson's intervals.
    pub accuracies: Vec<Measured>,
    /// Highest less lowest of `accuracies`. It has no interval of its own: a difference of extremes is never below 0, even where chance alone
    /// made it.
    pub spread: Option<f64>,
    /// Accuracy in the published order less the mean of the others, document by document.
    pub published_order_advantage: Measured,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is answered rightly without the question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerOnly {
    /// Documents, each asked without and with its question.
    pub n: u64,
    /// Accuracy without the question; Wilson's interval.
    pub accuracy: Measured,
    /// Accuracy with the question on the same documents; Wilson's interval.
    pub with_question: Measured,
    /// Accuracy of blind guessing.
    pub chance: Option<f64>,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The figures of a run's probes. `tasks` says of every multiple-choice task of the run why it lacks a probe, where it does. `None` without
/// probes.
#[must_use]
pub fn summary(probes: &BTreeMap<String, TaskRecord>, tasks: &BTreeMap<String, Inapplicable>) -> Option<Probes> {
    if probes.is_empty() {
        return None;
    }
    let bases = tasks.keys().map(String::as_str).chain(probes.keys().filter_map(|name| base_of(name)));
    let of_task = |base: &str| {
        let why = tasks.get(base).cloned().unwrap_or_default();
        let record = |ending: &str| probes.get(&format!("{base}{ending}"));
        TaskProbes {
            choice_order: choice_order(record(CHOICE_ORDER), why.choice_order),
            answer_only: answer_only(record(ANSWER_ONLY), why.answer_only),
        }
    };
    let by_task: BTreeMap<String, TaskProbes> = bases.map(|base| (base.to_owned(), of_task(base))).collect();
    let orders = by_task.iter().map(|(task, TaskProbes { choice_order: ChoiceOrder { n, changed, reason, .. }, .. })| Counted {
        task,
        figure: *changed,
        n: *n,
        reason: reason.as_deref(),
    });
    let answers = |figure: fn(&AnswerOnly) -> Measured| {
        let counted = by_task.iter().map(|(task, TaskProbes { answer_only, .. })| Counted {
            task,
            figure: figure(answer_only),
            n: answer_only.n,
            reason: answer_only.reason.as_deref(),
        });
        column(counted, probes, ANSWER_ONLY)
    };
    let chances: Vec<f64> = by_task.values().filter_map(|task| task.answer_only.chance).collect();
    Some(Probes {
        version: PROBES_VERSION.to_owned(),
        choice_order: column(orders, probes, CHOICE_ORDER),
        answer_only: answers(|answer| answer.accuracy),
        with_question: answers(|answer| answer.with_question),
        chance: statistics::mean(&chances),
        tasks: by_task,
    })
}

/// Why a probe that has a record gives no figures, or why there is no record.
fn why_not(record: Option<&TaskRecord>, inapplicable: Option<String>) -> Option<String> {
    let Some(record) = record else { return Some(inapplicable.unwrap_or_else(|| "not asked for in this run".to_owned())) };
    let reason = || record.reason.clone().unwrap_or_else(|| "no reason recorded".to_owned());
    match record.status {
        TaskStatus::Ok => None,
        TaskStatus::Failed => Some(format!("failed: {}", reason())),
        TaskStatus::Invalid => Some(format!("invalid: {}", reason())),
    }
}

fn choice_order(record: Option<&TaskRecord>, inapplicable: Option<String>) -> ChoiceOrder {
    let reason = why_not(record, inapplicable);
    let Some(record) = record.filter(|_| reason.is_none()) else { return ChoiceOrder { reason, ..ChoiceOrder::default() } };
    let accuracies: Vec<Measured> = (0..ORDERS).map(|order| share(record, &format!("accuracy_order_{order}"))).collect();
    let values: Option<Vec<f64>> = accuracies.iter().map(|accuracy| accuracy.value).collect();
    let spread = values.map(|values| {
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| (low.min(value), high.max(value)));
        high - low
    });
    ChoiceOrder {
        n: record.n,
        changed: share(record, "changed"),
        accuracies,
        spread,
        published_order_advantage: difference(record, "published_order_advantage"),
        reason: None,
    }
}

fn answer_only(record: Option<&TaskRecord>, inapplicable: Option<String>) -> AnswerOnly {
    let reason = why_not(record, inapplicable);
    let Some(record) = record.filter(|_| reason.is_none()) else { return AnswerOnly { reason, ..AnswerOnly::default() } };
    AnswerOnly {
        n: record.n,
        accuracy: share(record, "answer_only"),
        with_question: share(record, "with_question"),
        chance: metric(record, "chance").and_then(|metric| metric.value).map(|chance| 100.0 * chance),
        reason: None,
    }
}

fn metric<'a>(record: &'a TaskRecord, name: &str) -> Option<&'a Metric> {
    record.metrics.get(&format!("{name},none"))
}

/// Documents of `n` that a share counts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a number of documents")]
fn count(share: f64, n: u64) -> u64 {
    (share * n as f64).round().clamp(0.0, n as f64) as u64
}

/// A share of the documents, with Wilson's interval of the count: subjects of a group are pooled.
fn share(record: &TaskRecord, name: &str) -> Measured {
    let Some(value) = metric(record, name).and_then(|metric| metric.value).filter(|value| value.is_finite()) else {
        return Measured::default();
    };
    let interval = statistics::wilson_interval(count(value, record.n), record.n);
    Measured { value: Some(100.0 * value), ci95: interval.map(points) }
}

/// A mean of differences between −1 and 1, with the interval of its standard error. Where no document differs there is no spread to go by:
/// the share of documents that could still differ (Wilson's upper end of 0 in n) bounds the mean on both sides.
fn difference(record: &TaskRecord, name: &str) -> Measured {
    let Some(&Metric { value: Some(value), stderr, .. }) = metric(record, name) else { return Measured::default() };
    let half = match stderr {
        Some(stderr) if stderr > 0.0 => Some(statistics::Z_95 * stderr),
        _ => statistics::wilson_interval(0, record.n).map(|interval| interval.high),
    };
    Measured { value: Some(100.0 * value), ci95: half.map(|half| [100.0 * (value - half).max(-1.0), 100.0 * (value + half).min(1.0)]) }
}

fn points(interval: Interval) -> [f64; 2] {
    [100.0 * interval.low, 100.0 * interval.high]
}

/// One task's share, as counts.
struct Counted<'a> {
    task: &'a str,
    figure: Measured,
    n: u64,
    reason: Option<&'a str>,
}

/// The mean over the tasks that have the figure, each counting once. A probe that was asked for and has no figure leaves the column without one.
fn column<'a>(tasks: impl Iterator<Item = Counted<'a>>, probes: &BTreeMap<String, TaskRecord>, ending: &str) -> Column {
    let asked: Vec<Counted<'a>> = tasks.filter(|task| probes.contains_key(&format!("{}{ending}", task.task))).collect();
    if asked.is_empty() {
        return Column { reason: Some("no task of this run has this probe".to_owned()), ..Column::default() };
    }
    let without: Vec<&Counted<'a>> = asked.iter().filter(|task| task.figure.value.is_none()).collect();
    if let Some(first) = without.first() {
        let reason = format!(
            "{} of {} tasks have no figure; {}: {}",
            without.len(),
            asked.len(),
            first.task,
            first.reason.unwrap_or("not a number")
        );
        return Column { reason: Some(reason), ..Column::default() };
    }
    let names = asked.iter().map(|task| task.task.to_owned()).collect();
    let n = asked.iter().map(|task| task.n).sum();
    if let [only] = asked.as_slice() {
        return Column { value: only.figure.value, ci95: only.figure.ci95, n, tasks: names, reason: None };
    }
    let values: Vec<f64> = asked.iter().filter_map(|task| task.figure.value).collect();
    Column { value: statistics::mean(&values), ci95: joint_interval(&asked), n, tasks: names, reason: None }
}

/// The interval of a mean of tasks, as a pillar's.
fn joint_interval(tasks: &[Counted<'_>]) -> Option<[f64; 2]> {
    let sample = |task: &Counted<'_>| {
        let stratum = Stratum::from_counts(count(task.figure.value? / 100.0, task.n), task.n).ok()?;
        TaskSample::new(task.task, Scale::Percent, vec![stratum]).ok()
    };
    let pillar = PillarSample::new(1.0, tasks.iter().map(sample).collect::<Option<_>>()?).ok()?;
    statistics::estimate_scores(&[pillar], Resampling::default()).pillars.first()?.ci95.map(|interval| [interval.low, interval.high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(n: u64, metrics: &[(&str, f64)]) -> TaskRecord {
        let metric = |&(name, value): &(&str, f64)| (format!("{name},none"), Metric { value: Some(value), stderr: Some(0.0), ci95: None });
        TaskRecord { status: TaskStatus::Ok, n, n_total: n, metrics: metrics.iter().map(metric).collect(), ..TaskRecord::default() }
    }

    fn order(n: u64, changed: f64, accuracies: [f64; 4]) -> TaskRecord {
        let names = ["accuracy_order_0", "accuracy_order_1", "accuracy_order_2", "accuracy_order_3"];
        let mut metrics: Vec<(&str, f64)> = names.into_iter().zip(accuracies).collect();
        metrics.extend([("changed", changed), ("published_order_advantage", accuracies[0] - accuracies[1..].iter().sum::<f64>() / 3.0)]);
        record(n, &metrics)
    }

    fn answers(n: u64, without: f64, with: f64) -> TaskRecord {
        record(n, &[("answer_only", without), ("with_question", with), ("chance", 0.25)])
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-9)
    }

    #[test]
    fn figures_are_shares_in_points_with_their_intervals() {
        let probes = BTreeMap::from([
            ("mmlu_choice_order".to_owned(), order(200, 0.5, [0.5, 0.25, 0.25, 0.3])),
            ("mmlu_answer_only".to_owned(), answers(200, 0.3, 0.5)),
            ("piqa_answer_only".to_owned(), answers(400, 0.5, 0.6)),
        ]);
        let why = Inapplicable { choice_order: Some("options are not listed".to_owned()), answer_only: None };
        let tasks = BTreeMap::from([("mmlu".to_owned(), Inapplicable::default()), ("piqa".to_owned(), why)]);
        let found = summary(&probes, &tasks).unwrap();
        let mmlu = &found.tasks["mmlu"];
        let wilson = points(statistics::wilson_interval(100, 200).unwrap());
        assert_eq!((mmlu.choice_order.changed, mmlu.choice_order.n), (Measured { value: Some(50.0), ci95: Some(wilson) }, 200));
        assert!(close(mmlu.choice_order.spread, 25.0));
        assert_eq!(found.choice_order.value, Some(50.0));
        assert!(close(found.answer_only.value, 40.0) && close(found.with_question.value, 55.0) && close(found.chance, 25.0));
        let [low, high] = found.answer_only.ci95.unwrap();
        assert!(low < 40.0 && 40.0 < high && high - low < 12.0, "{low} {high}");
        assert_eq!(found.answer_only.tasks, ["mmlu", "piqa"]);
        assert_eq!(found.tasks["piqa"].choice_order.reason.as_deref(), Some("options are not listed"));
        assert_eq!(summary(&BTreeMap::new(), &tasks), None);
    }

    /// What could not be measured is null with its reason, also in the column; the other column stays.
    #[test]
    fn a_failed_probe_is_no_number() {
        let invalid = TaskRecord::without_score(TaskStatus::Invalid, "log-likelihoods are not numbers");
        let probes = BTreeMap::from([("mmlu_choice_order".to_owned(), invalid), ("mmlu_answer_only".to_owned(), answers(200, 0.3, 0.5))]);
        let found = summary(&probes, &BTreeMap::new()).unwrap();
        let order = &found.tasks["mmlu"].choice_order;
        assert_eq!((order.changed, order.reason.as_deref()), (Measured::default(), Some("invalid: log-likelihoods are not numbers")));
        assert_eq!(found.choice_order.value, None);
        assert!(found.choice_order.reason.unwrap().contains("mmlu: invalid: log-likelihoods"));
        assert!(found.answer_only.value.is_some());
    }

    proptest! {
        /// Every interval holds its figure and stays within what is possible.
        #[test]
        fn intervals_hold_their_figures(n in 1u64..500, parts in prop::array::uniform4(0.0..=1.0_f64), changed in 0.0..=1.0_f64) {
            let whole = |share: f64| (share * n as f64).round() / n as f64;
            let record = order(n, whole(changed), parts.map(whole));
            let found = summary(&BTreeMap::from([("x_choice_order".to_owned(), record)]), &BTreeMap::new()).unwrap();
            let order = &found.tasks["x"].choice_order;
            for figure in order.accuracies.iter().chain([&order.changed]) {
                let ([low, high], value) = (figure.ci95.unwrap(), figure.value.unwrap());
                prop_assert!(0.0 <= low && low <= value + 1e-9 && value <= high + 1e-9 && high <= 100.0);
            }
            let advantage = order.published_order_advantage;
            let ([low, high], value) = (advantage.ci95.unwrap(), advantage.value.unwrap());
            prop_assert!(-100.0 <= low && low <= value + 1e-9 && value <= high + 1e-9 && high <= 100.0);
            prop_assert!((0.0..=100.0).contains(&order.spread.unwrap()));
        }
    }
}
