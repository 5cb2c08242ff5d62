//! From the scores of documents to the record of a task in `run.json`. Pure, so that `verify` derives the same records from stored answers.

use crate::benchmark::{self, Aggregate, DocumentScore, Flag, Group, ScoreRule, TaskSpec};
use crate::leaderboard::pillars::chance_corrected;
use crate::leaderboard::run::{GroupRecord, Metric, TaskRecord, TaskStatus, Warning};
use crate::statistics;
use serde_json::Value;
use std::collections::BTreeMap;

/// Half-width of a 95 % normal interval in standard errors.
const Z95: f64 = 1.959_963_984_540_054;
/// Share of flagged documents (no answer found, empty answer, truncated request) above which the score carries a warning.
const WARNING_SHARE: f64 = 0.10;

/// Scores, metrics and warnings of a leaf task's documents; what only the run knows (data set, tokens, times) is left for the caller.
///
/// # Errors
/// A document lacks a metric of the task.
pub fn leaf_record(
    spec: &TaskSpec,
    scores: &[DocumentScore],
    n_total: usize,
    num_fewshot: usize,
    chance: Option<f64>,
) -> Result<TaskRecord, benchmark::BenchmarkError> {
    let documents: Vec<_> = scores.iter().map(|score| &score.metrics).collect();
    let aggregates = benchmark::aggregate(spec, &documents)?;
    let metrics: BTreeMap<String, Metric> =
        aggregates.iter().map(|aggregate| (aggregate.key.clone(), metric(aggregate, &values_of(scores, &aggregate.key)))).collect();
    let mut record = TaskRecord {
        status: TaskStatus::Ok,
        version: spec.version.clone(),
        num_fewshot: u32::try_from(num_fewshot).unwrap_or(u32::MAX),
        n: scores.len() as u64,
        n_total: n_total as u64,
        metrics,
        primary_metric: spec.primary.to_owned(),
        warnings: warnings(scores),
        ..TaskRecord::default()
    };
    fill_score(&mut record, spec, chance);
    Ok(record)
}

/// The record of a group (mmlu) from the records of its leaves: metrics weighted by number of documents, pooled standard errors.
#[must_use]
pub fn group_record(group: &Group, subgroups: &[&Group], leaves: BTreeMap<String, TaskRecord>, spec: &TaskSpec) -> TaskRecord {
    let mut record = TaskRecord { version: group.version.clone(), ..TaskRecord::default() };
    for leaf in leaves.values() {
        record.n += leaf.n;
        record.n_total += leaf.n_total;
        record.num_fewshot = leaf.num_fewshot;
        record.primary_metric.clone_from(&leaf.primary_metric);
        record.truncated += leaf.truncated;
        record.duration_s += leaf.duration_s;
        record.tokens_nominal += leaf.tokens_nominal;
        record.tokens_computed += leaf.tokens_computed;
        record.tokens_recomputed += leaf.tokens_recomputed;
        record.self_check.n += leaf.self_check.n;
        record.self_check.max_delta = record.self_check.max_delta.max(leaf.self_check.max_delta);
        record.self_check.flips += leaf.self_check.flips;
        record.self_check.tokens += leaf.self_check.tokens;
    }
    let other = subgroups.iter().filter(|subgroup| subgroup.name != group.name);
    record.groups = other.map(|subgroup| (subgroup.name.clone(), members_record(subgroup, &leaves))).collect();
    let bad: Vec<(&String, &TaskRecord)> = leaves.iter().filter(|(_, leaf)| leaf.status != TaskStatus::Ok).collect();
    if let Some((name, leaf)) = bad.first() {
        record.status = leaf.status;
        let reason = leaf.reason.as_deref().unwrap_or("no reason recorded");
        record.reason = Some(format!("{} of {} subtasks have no score; {name}: {reason}", bad.len(), leaves.len()));
        record.subtasks = leaves;
        return record;
    }
    record.status = TaskStatus::Ok;
    record.metrics = members_record(group, &leaves).metrics;
    let chances: Option<Vec<(f64, f64)>> = leaves.values().map(|leaf| Some((leaf.chance? / 100.0, leaf.n as f64))).collect();
    let chance = chances.as_deref().and_then(statistics::weighted_mean);
    fill_score(&mut record, spec, chance);
    record.subtasks = leaves;
    record
}

fn members_record(group: &Group, leaves: &BTreeMap<String, TaskRecord>) -> GroupRecord {
    let mut subtasks: Vec<String> = group.members.clone();
    subtasks.sort_unstable();
    let members: Vec<&TaskRecord> = group.members.iter().filter_map(|name| leaves.get(name)).collect();
    let complete = members.len() == group.members.len() && members.iter().all(|leaf| leaf.status == TaskStatus::Ok);
    let keys: Vec<&String> = members.first().map_or_else(Vec::new, |leaf| leaf.metrics.keys().collect());
    let metrics =
        if complete { keys.into_iter().filter_map(|key| Some((key.clone(), combined(key, &members)?))).collect() } else { BTreeMap::new() };
    GroupRecord { n: members.iter().map(|leaf| leaf.n).sum(), subtasks, metrics }
}

fn combined(key: &str, members: &[&TaskRecord]) -> Option<Metric> {
    let leaves: Vec<Aggregate> = members
        .iter()
        .map(|leaf| {
            let metric = leaf.metrics.get(key)?;
            Some(Aggregate { key: key.to_owned(), value: metric.value, stderr: metric.stderr, n: usize::try_from(leaf.n).ok()? })
        })
        .collect::<Option<_>>()?;
    let group = benchmark::aggregate_group(&leaves.iter().collect::<Vec<_>>())?;
    Some(metric(&group, &[]))
}

/// Interval of a metric: Wilson's for a share of right answers, else from the standard error.
fn metric(aggregate: &Aggregate, values: &[f64]) -> Metric {
    let right = values.iter().filter(|&&value| value == 1.0).count();
    let is_share = !values.is_empty() && values.iter().all(|&value| value == 0.0 || value == 1.0);
    let ci95 = match (is_share, aggregate.value, aggregate.stderr) {
        (true, ..) => statistics::wilson_interval(right as u64, values.len() as u64).map(|interval| [interval.low, interval.high]),
        (false, Some(value), Some(stderr)) => Some([value - Z95 * stderr, value + Z95 * stderr]),
        _ => None,
    };
    Metric { value: aggregate.value, stderr: aggregate.stderr, ci95 }
}

fn values_of(scores: &[DocumentScore], key: &str) -> Vec<f64> {
    scores.iter().map(|score| score.metrics.get(key).and_then(Value::as_f64)).collect::<Option<_>>().unwrap_or_default()
}

/// Score, its standard error and interval, chance level and chance-corrected score from the primary metric.
fn fill_score(record: &mut TaskRecord, spec: &TaskSpec, chance: Option<f64>) {
    let Some(primary) = record.metrics.get(&record.primary_metric).copied() else { return };
    record.score = primary.value.and_then(|value| spec.score(value));
    record.score_stderr = record.score.and(primary.stderr).and_then(|stderr| spec.score_stderr(stderr));
    record.score_ci95 = record.score.and(primary.ci95).and_then(|interval| score_interval(spec, interval));
    // A balance has no chance level: guessing gives the best score.
    record.chance = if spec.score_rule == ScoreRule::Percent { chance.map(|chance| 100.0 * chance) } else { None };
    record.chance_corrected = chance_corrected(record.score, record.chance);
    if record.score.is_none() && spec.score_rule != ScoreRule::Unbounded {
        record.status = TaskStatus::Invalid;
        record.reason = Some(format!("the metric {} is not a number", record.primary_metric));
    }
}

fn score_interval(spec: &TaskSpec, [low, high]: [f64; 2]) -> Option<[f64; 2]> {
    let (at_low, at_high) = (spec.score(low)?, spec.score(high)?);
    let top = if spec.score_rule == ScoreRule::Balance && low <= 0.5 && 0.5 <= high { 100.0 } else { at_low.max(at_high) };
    Some([at_low.min(at_high).clamp(0.0, 100.0), top.clamp(0.0, 100.0)])
}

/// What a reader should know: answers that could not be found, empty answers.
fn warnings(scores: &[DocumentScore]) -> Vec<Warning> {
    let share = |flag: Flag| scores.iter().filter(|score| score.flags.contains(&flag)).count();
    [
        (Flag::ExtractionFailed, "extraction_failures", "no answer could be found in the text"),
        (Flag::EmptyGeneration, "empty_generations", "the model wrote nothing"),
    ]
    .into_iter()
    .filter_map(|(flag, code, what)| {
        let count = share(flag);
        (count as f64 > WARNING_SHARE * scores.len() as f64)
            .then(|| Warning { code: code.to_owned(), message: format!("{what} for {count} of {} documents", scores.len()) })
    })
    .collect()
}

/// A warning where many requests lost tokens on their left.
pub(super) fn truncation_warning(truncated: u64, requests: u64) -> Option<Warning> {
    (truncated as f64 > WARNING_SHARE * requests as f64).then(|| Warning {
        code: "truncation".to_owned(),
        message: format!("{truncated} of {requests} requests were longer than the model's window and lost their beginning"),
    })
}

/// A warning where every document got the same answer although there are several: a weak model does this honestly, a broken one as well.
pub(super) fn constant_answer_warning(chosen: &[usize]) -> Option<Warning> {
    let first = chosen.first()?;
    (chosen.len() >= 10 && chosen.iter().all(|answer| answer == first)).then(|| Warning {
        code: "constant_answers".to_owned(),
        message: format!("option {} was chosen for all {} documents", first + 1, chosen.len()),
    })
}
