//! From the scores of documents to the record of a task in `run.json`. Pure, so that `verify` derives the same records from stored answers.

use crate::benchmark::{self, Aggregate, DocumentScore, Flag, Group, ScoreRule, Task, TaskSpec, registry};
use crate::leaderboard::pillars::chance_corrected;
use crate::leaderboard::run::{GroupRecord, Items, Metric, Run, TaskRecord, TaskStatus, Warning};
use crate::statistics;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Share of flagged documents (no answer found, empty answer, truncated request) above which the score carries a warning.
const WARNING_SHARE: f64 = 0.10;

/// The leaf task, or the leaf of a probe, as a run asked it: with sampled answers where the run's identity says so. `None` where this program has no such task.
#[must_use]
pub fn task_of_run(run: &Run, leaf: &str) -> Option<Arc<dyn Task>> {
    if let Some(probe) = benchmark::probes::leaf(leaf) {
        return Some(probe);
    }
    let task = registry::task(leaf).ok()?;
    let samples = run.identity.tasks.get(leaf).and_then(|task| task.decoding.get("sampled")?.get("samples")?.as_u64());
    match samples.and_then(|samples| usize::try_from(samples).ok()) {
        Some(samples) if samples <= MOST_SAMPLES => task.sampled(samples),
        Some(_) => None,
        None => Some(task),
    }
}

/// Most sampled answers for a document.
pub const MOST_SAMPLES: usize = 1000;

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
        items: Items::from_values(&values_of(scores, spec.primary)),
        primary_metric: spec.primary.to_owned(),
        measures: spec.measures.to_owned(),
        higher_is_better: spec.metrics.iter().map(|metric| (metric.key(), metric.higher_is_better)).collect(),
        warnings: warnings(scores),
        ..TaskRecord::default()
    };
    fill_score(&mut record, spec, chance);
    Ok(record)
}

/// The record of a group (mmlu) from the records of its leaves: metrics weighted by number of documents, pooled standard errors.
#[must_use]
pub fn group_record(group: &Group, subgroups: &[&Group], leaves: BTreeMap<String, TaskRecord>, spec: &TaskSpec) -> TaskRecord {
    let mut record = TaskRecord { version: group.version.clone(), measures: group.measures.to_owned(), ..TaskRecord::default() };
    for leaf in leaves.values() {
        record.n += leaf.n;
        record.n_total += leaf.n_total;
        record.num_fewshot = leaf.num_fewshot;
        record.primary_metric.clone_from(&leaf.primary_metric);
        record.higher_is_better.clone_from(&leaf.higher_is_better);
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
    record.warnings = shared_warnings(&leaves);
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
        (false, Some(value), Some(stderr)) => Some([value - statistics::Z_95 * stderr, value + statistics::Z_95 * stderr]),
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

/// Warnings of subtasks that hold more than a small share of the group's documents: seen beside the group's score.
fn shared_warnings(leaves: &BTreeMap<String, TaskRecord>) -> Vec<Warning> {
    let total: u64 = leaves.values().map(|leaf| leaf.n).sum();
    let mut by_code: BTreeMap<&str, Vec<(&String, &TaskRecord, &Warning)>> = BTreeMap::new();
    for (name, leaf) in leaves {
        for warning in &leaf.warnings {
            by_code.entry(&warning.code).or_default().push((name, leaf, warning));
        }
    }
    by_code
        .into_iter()
        .filter(|(_, warned)| warned.iter().map(|(_, leaf, _)| leaf.n).sum::<u64>() as f64 > WARNING_SHARE * total as f64)
        .filter_map(|(code, warned)| {
            let (name, _, first) = warned.first()?;
            let message = format!("{} of {} subtasks; {name}: {}", warned.len(), leaves.len(), first.message);
            Some(Warning { code: code.to_owned(), message })
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

/// A warning where every document got the same text.
pub(super) fn constant_text_warning(texts: &[&str]) -> Option<Warning> {
    let first = texts.first().filter(|text| !text.trim().is_empty())?;
    (texts.len() >= 10 && texts.iter().all(|text| text == first)).then(|| Warning {
        code: "constant_answers".to_owned(),
        message: format!("the same text was written for all {} documents", texts.len()),
    })
}

/// Takes the score from a task whose requests gave something else when they were computed alone. Decisions that changed although all
/// differences lie within `bound` are near ties, and said in a warning.
pub(super) fn gate_self_check(record: &mut TaskRecord, bound: f64) {
    let check = record.self_check;
    // A difference that is not a number fails as well.
    if check.max_delta > bound || check.max_delta.is_nan() {
        record.status = TaskStatus::Invalid;
        record.reason =
            Some(format!("the self-check failed: a request computed alone differs by {:.2e} nats, more than {bound:.0e}", check.max_delta));
        (record.score, record.score_stderr, record.score_ci95, record.chance_corrected) = (None, None, None, None);
    } else if check.flips > 0 {
        record.warnings.push(Warning {
            code: "self_check_flips".to_owned(),
            message: format!("{} of {} answers that were computed again came out differently", check.flips, check.n),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Flag, registry};
    use serde_json::json;

    fn scores(task: &str, n: usize, value: &Value, flags: &[Flag]) -> Vec<DocumentScore> {
        let metrics: serde_json::Map<String, Value> =
            registry::spec(task).unwrap().metrics.iter().map(|metric| (metric.key(), value.clone())).collect();
        vec![DocumentScore { filtered_resps: serde_json::Map::new(), metrics, flags: flags.to_vec() }; n]
    }

    fn record(task: &str, scores: &[DocumentScore]) -> TaskRecord {
        leaf_record(registry::spec(task).unwrap(), scores, scores.len(), 5, Some(0.25)).unwrap()
    }

    fn codes(warnings: &[Warning]) -> Vec<&str> {
        warnings.iter().map(|warning| warning.code.as_str()).collect()
    }

    /// A metric that is not a number is no score of 0.
    #[test]
    fn not_a_number_is_invalid() {
        let record = record("boolq", &scores("boolq", 12, &Value::Null, &[]));
        assert_eq!((record.status, record.score, record.score_ci95), (TaskStatus::Invalid, None, None));
        assert!(record.reason.unwrap().contains("acc,none is not a number"));
    }

    /// Warnings stand beside a score that stays: weak models do this honestly.
    #[test]
    fn weak_answers_are_warned_of_and_scored() {
        let mut answers = scores("gsm8k", 20, &json!(0.0), &[Flag::ExtractionFailed, Flag::EmptyGeneration]);
        let warned = record("gsm8k", &answers);
        assert_eq!(
            (warned.status, warned.score, codes(&warned.warnings)),
            (TaskStatus::Ok, Some(0.0), vec!["extraction_failures", "empty_generations"])
        );
        answers[2..].iter_mut().for_each(|score| score.flags.clear());
        assert!(record("gsm8k", &answers).warnings.is_empty(), "two of twenty are no sign of a broken run");
        assert_eq!(codes(&truncation_warning(3, 20).into_iter().collect::<Vec<_>>()), ["truncation"]);
        assert_eq!(truncation_warning(2, 20), None);
    }

    /// One answer to everything is seen, for options and for texts, from ten documents on.
    #[test]
    fn constant_answers_are_warned_of() {
        assert!(constant_answer_warning(&[0; 10]).is_some_and(|warning| warning.message.contains("option 1 was chosen for all 10")));
        assert_eq!(constant_answer_warning(&[0; 9]), None);
        assert_eq!(constant_answer_warning(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert!(constant_text_warning(&["42"; 10]).is_some());
        assert_eq!(constant_text_warning(&[" "; 10]), None, "empty answers have a warning of their own");
        assert_eq!(constant_text_warning(&["42"; 9]), None);
    }

    /// A group says what most of its subtasks say, so that the score of mmlu does not stand without it.
    #[test]
    fn a_groups_score_carries_the_warnings_of_its_subtasks() {
        let leaf = |warned: bool| {
            let mut leaf = record("mmlu_anatomy", &scores("mmlu_anatomy", 20, &json!(0.0), &[]));
            leaf.warnings.extend(constant_answer_warning(&[0; 20]).filter(|_| warned));
            leaf
        };
        let few = (0..20).map(|i| (format!("subject {i:02}"), leaf(i < 2))).collect::<BTreeMap<_, _>>();
        assert_eq!(shared_warnings(&few), []);
        let many = (0..20).map(|i| (format!("subject {i:02}"), leaf(i < 3))).collect::<BTreeMap<_, _>>();
        let [warning] = &shared_warnings(&many)[..] else { panic!("one warning") };
        assert_eq!(
            (warning.code.as_str(), &*warning.message),
            ("constant_answers", "3 of 20 subtasks; subject 00: option 1 was chosen for all 20 documents")
        );
    }

    /// A failed self-check takes the score away; a difference that is not a number fails; a changed near tie is said.
    #[test]
    fn a_failed_self_check_is_invalid() {
        for (delta, valid) in [(1e-5, true), (2e-3, false), (f64::NAN, false), (f64::INFINITY, false)] {
            let mut record = record("boolq", &scores("boolq", 12, &json!(1.0), &[]));
            record.self_check.max_delta = delta;
            gate_self_check(&mut record, 1e-3);
            assert_eq!(
                (record.status == TaskStatus::Ok, record.score.is_some(), record.reason.is_none()),
                (valid, valid, valid),
                "{delta}"
            );
        }
        let mut record = record("boolq", &scores("boolq", 12, &json!(1.0), &[]));
        (record.self_check.n, record.self_check.flips) = (8, 1);
        gate_self_check(&mut record, 1e-3);
        assert_eq!((record.status, codes(&record.warnings)), (TaskStatus::Ok, vec!["self_check_flips"]));
    }
}
