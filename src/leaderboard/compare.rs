//! Two models on the same questions: differences with their uncertainty, and the questions on which the models part.
//!
//! Pure: answers in, figures and text out. Documents are paired by their digest, so two runs, two revisions, two quantizations, or a run and a
//! log of lm-evaluation-harness can stand on either side. What has no partner, or was asked in other words, is counted and said.

use super::canonical;
use super::pillars::PillarSpec;
use super::report::cell;
use crate::statistics::{
    Comparison as Measured, Interval, PillarSample, Resampling, SampleError, Scale, Stratum, TaskSample, compare_models, holm,
    wilson_interval,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write;

/// Version of the format of [`Comparison::to_json`].
pub const COMPARISON_SCHEMA_VERSION: &str = "1.0.0";

/// Level below which a corrected p-value counts as a difference.
const ALPHA: f64 = 0.05;

/// One document with a model's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// Index of the row in the evaluated split.
    pub doc_id: u64,
    /// Digest of the row.
    pub doc_hash: String,
    /// Digest of the first request's context.
    pub prompt_hash: String,
    /// Digest of the right answer.
    pub target_hash: String,
    /// The right answer, as far as it is shown.
    pub target: String,
    /// End of the question, as far as it is shown.
    pub question: String,
    /// By filter, what the model answered, as far as it is shown.
    pub answers: BTreeMap<String, String>,
    /// By `metric,filter`, the document's value; values that are no number are absent.
    pub metrics: BTreeMap<String, f64>,
}

/// One side: answers by leaf task (each mmlu subject for itself).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// Model, revision, quantization or the log's name.
    pub name: String,
    /// Documents by leaf task.
    pub tasks: BTreeMap<String, Vec<Answered>>,
}

/// A task to compare: what its leaves are and which metric counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedTask {
    /// Name of the task or group.
    pub name: String,
    /// Leaf tasks: the strata.
    pub leaves: Vec<String>,
    /// `metric,filter`.
    pub metric: String,
    /// From the metric's mean to the score.
    pub scale: Scale,
}

/// What [`compare`] found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA_VERSION`].
    pub schema_version: &'static str,
    /// Name of the first side.
    pub a: String,
    /// Name of the second side.
    pub b: String,
    /// Tasks in the order in which they were asked for.
    pub tasks: Vec<TaskComparison>,
    /// Pillars whose tasks are all compared.
    pub pillars: Vec<ScoreComparison>,
    /// The aggregate, where every pillar is compared.
    pub aggregate: Option<ScoreComparison>,
    /// What keeps the figures from being a plain comparison of two models.
    pub warnings: Vec<String>,
}

/// How the documents of the two sides pair up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pairing {
    /// Documents of the first side.
    pub a: usize,
    /// Documents of the second side.
    pub b: usize,
    /// Documents that both have: these are compared.
    pub matched: usize,
    /// Of these, asked with different prompts.
    pub prompts_differ: usize,
    /// Of these, with different right answers.
    pub targets_differ: usize,
}

/// A score of both sides and their difference, in points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreComparison {
    /// Name of the task or pillar; `aggregate`.
    pub name: String,
    /// Score of the first side on the compared documents.
    pub score_a: f64,
    /// Score of the second side on the same documents.
    pub score_b: f64,
    /// First minus second.
    pub difference: f64,
    /// Standard error of the difference.
    pub stderr: Option<f64>,
    /// 95 % interval of the difference, by the paired bootstrap; where a task has no document on which the sides part, what Wilson's bound
    /// of their share leaves possible.
    pub ci95: Option<[f64; 2]>,
    /// Two-sided p-value: McNemar's exact test where every answer is right or wrong, else a paired test of the means.
    pub p_value: f64,
}

/// A task's comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskComparison {
    /// Scores and difference.
    #[serde(flatten)]
    pub scores: ScoreComparison,
    /// `metric,filter` that is compared.
    pub metric: String,
    /// p-value with Holm's correction over the tasks of this comparison.
    pub p_holm: f64,
    /// How the documents pair up.
    pub documents: Pairing,
    /// Documents that only the first side got right; `null` where answers are not right or wrong.
    pub only_a: Option<u64>,
    /// Documents that only the second side got right.
    pub only_b: Option<u64>,
    /// Documents on which the sides part most, of each direction.
    pub examples: Vec<Example>,
}

/// A document on which the sides part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// Leaf task.
    pub task: String,
    /// Index of the row in the first side's split.
    pub doc_id: u64,
    /// End of the question.
    pub question: String,
    /// The right answer.
    pub target: String,
    /// Answer of the first side.
    pub answer_a: String,
    /// Answer of the second side.
    pub answer_b: String,
    /// Value of the first side.
    pub value_a: f64,
    /// Value of the second side.
    pub value_b: f64,
}

/// Compares the sides task by task, and pillar by pillar where all of a pillar's tasks can be compared. `examples`: at most so many documents of
/// each direction for each task.
///
/// # Errors
/// Never for the tasks that are put together here; the type says it because the statistics could refuse.
pub fn compare(
    a: &Source,
    b: &Source,
    tasks: &[ComparedTask],
    pillars: &[PillarSpec],
    examples: usize,
    resampling: Resampling,
) -> Result<Comparison, SampleError> {
    let mut warnings = Vec::new();
    for (name, has, lacks) in [("A", a, b), ("B", b, a)] {
        let answered = |source: &Source, task: &ComparedTask| task.leaves.iter().any(|leaf| source.tasks.contains_key(leaf));
        let alone: Vec<&str> =
            tasks.iter().filter(|task| answered(has, task) && !answered(lacks, task)).map(|task| task.name.as_str()).collect();
        if !alone.is_empty() {
            warnings.push(format!("only {name} has answers of {}", alone.join(", ")));
        }
    }
    let paired: Vec<PairedTask> = tasks.iter().filter_map(|task| PairedTask::new(a, b, task, examples, &mut warnings)).collect();
    let complete: Vec<(&PillarSpec, Vec<usize>)> = (pillars.iter())
        .filter_map(|spec| {
            let position = |name: &String| paired.iter().position(|task| task.task.name == *name);
            let indices = spec.tasks.iter().map(position).collect::<Option<Vec<_>>>()?;
            (!indices.is_empty()).then_some((spec, indices))
        })
        .collect();
    let mut measured: Vec<Option<Measured>> = vec![None; paired.len()];
    let sides = |weight: f64, indices: &[usize]| -> Result<[PillarSample; 2], SampleError> {
        let side = |side: usize| PillarSample::new(weight, indices.iter().map(|&index| paired[index].samples[side].clone()).collect());
        Ok([side(0)?, side(1)?])
    };
    let (first, second): (Vec<_>, Vec<_>) = (complete.iter())
        .map(|(spec, indices)| sides(spec.weight, indices).map(|[a, b]| (a, b)))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    let together = compare_models(&first, &second, resampling)?;
    for ((_, indices), tasks) in complete.iter().zip(&together.tasks) {
        for (&index, task) in indices.iter().zip(tasks) {
            measured[index] = Some(*task);
        }
    }
    for (index, measured) in measured.iter_mut().enumerate() {
        if measured.is_none() {
            let [a, b] = sides(1.0, &[index])?;
            *measured = compare_models(&[a], &[b], resampling)?.tasks.first().and_then(|tasks| tasks.first()).copied();
        }
    }
    let measured: Vec<Measured> = measured.into_iter().flatten().collect();
    let corrected = holm(&measured.iter().map(|measured| measured.p_value).collect::<Vec<_>>());
    let pillar_scores = (complete.iter().zip(&together.pillars).zip(first.iter().zip(&second)))
        .map(|(((spec, _), measured), (a, b))| score_comparison(&spec.name, a.score(), b.score(), measured));
    let scores = [&first, &second].map(|side| crate::statistics::aggregate_score(side));
    let aggregate = match (scores, together.aggregate) {
        ([Some(a), Some(b)], Some(measured)) if complete.len() == pillars.len() => Some(score_comparison("aggregate", a, b, &measured)),
        _ => None,
    };
    Ok(Comparison {
        schema_version: COMPARISON_SCHEMA_VERSION,
        a: a.name.clone(),
        b: b.name.clone(),
        pillars: pillar_scores.collect(),
        aggregate,
        tasks: paired.into_iter().zip(measured).zip(corrected).map(|((task, measured), p_holm)| task.finish(&measured, p_holm)).collect(),
        warnings,
    })
}

fn score_comparison(name: &str, score_a: f64, score_b: f64, measured: &Measured) -> ScoreComparison {
    // Without a single document on which the sides part there is nothing to resample, and that is no certainty.
    let ci95 = measured.ci95.filter(|interval| interval.high > interval.low).map(|Interval { low, high }| [low, high]);
    let (difference, stderr, p_value) = (measured.points, measured.stderr, measured.p_value);
    ScoreComparison { name: name.to_owned(), score_a, score_b, difference, stderr, ci95, p_value }
}

/// A task whose documents have been paired.
struct PairedTask<'a> {
    task: &'a ComparedTask,
    samples: [TaskSample; 2],
    documents: Pairing,
    examples: Vec<Example>,
}

impl<'a> PairedTask<'a> {
    /// `None` where there is nothing to compare; the reason is among the warnings.
    fn new(a: &Source, b: &Source, task: &'a ComparedTask, examples: usize, warnings: &mut Vec<String>) -> Option<Self> {
        let mut documents = Pairing::default();
        let mut strata = [Vec::new(), Vec::new()];
        let mut parted: Vec<Example> = Vec::new();
        let mut unusable = 0;
        for leaf in &task.leaves {
            let of = |source: &'_ Source| source.tasks.get(leaf).map_or(0, Vec::len);
            documents.a += of(a);
            documents.b += of(b);
            let (Some(left), Some(right)) = (a.tasks.get(leaf), b.tasks.get(leaf)) else { continue };
            let mut values = [Vec::new(), Vec::new()];
            for (left, right) in pairs(left, right) {
                let value = |side: &Answered| side.metrics.get(&task.metric).copied().filter(|value| (0.0..=1.0).contains(value));
                let (Some(value_a), Some(value_b)) = (value(left), value(right)) else {
                    unusable += 1;
                    continue;
                };
                documents.matched += 1;
                documents.prompts_differ += usize::from(left.prompt_hash != right.prompt_hash);
                documents.targets_differ += usize::from(left.target_hash != right.target_hash);
                values[0].push(value_a);
                values[1].push(value_b);
                if (value_a - value_b).abs() > 0.0 {
                    parted.push(example(leaf, task, left, right, value_a, value_b));
                }
            }
            for (strata, values) in strata.iter_mut().zip(&values) {
                strata.push(Stratum::from_values(values));
            }
        }
        say(&task.name, &task.metric, documents, unusable, warnings);
        let [first, second] = strata.map(|strata| TaskSample::new(&task.name, task.scale, strata).ok());
        Some(Self { task, samples: [first?, second?], documents, examples: most_parted(parted, examples) })
    }

    fn finish(self, measured: &Measured, p_holm: f64) -> TaskComparison {
        let [a, b] = &self.samples;
        let mut scores = score_comparison(&self.task.name, a.score(), b.score(), measured);
        if measured.flips == Some((0, 0)) && scores.ci95.is_none() {
            // The share of documents on which they part lies below Wilson's bound, and with it the difference.
            let slope = if self.task.scale == Scale::Balance { 200.0 } else { 100.0 };
            scores.ci95 = wilson_interval(0, a.items() as u64).map(|share| [-slope * share.high, slope * share.high]);
        }
        TaskComparison {
            scores,
            metric: self.task.metric.clone(),
            p_holm,
            documents: self.documents,
            only_a: measured.flips.map(|(first, _)| first),
            only_b: measured.flips.map(|(_, second)| second),
            examples: self.examples,
        }
    }
}

fn example(leaf: &str, task: &ComparedTask, a: &Answered, b: &Answered, value_a: f64, value_b: f64) -> Example {
    let filter = task.metric.rsplit(',').next().unwrap_or_default();
    let answer = |side: &Answered| side.answers.get(filter).cloned().unwrap_or_default();
    Example {
        task: leaf.to_owned(),
        doc_id: a.doc_id,
        question: a.question.clone(),
        target: a.target.clone(),
        answer_a: answer(a),
        answer_b: answer(b),
        value_a,
        value_b,
    }
}

/// The largest differences of each direction, in the order of the documents where they are equal.
fn most_parted(mut parted: Vec<Example>, examples: usize) -> Vec<Example> {
    parted.sort_by(|x, y| (y.value_a - y.value_b).abs().total_cmp(&(x.value_a - x.value_b).abs()));
    let (for_a, for_b): (Vec<_>, Vec<_>) = parted.into_iter().partition(|example| example.value_a > example.value_b);
    for_a.into_iter().take(examples).chain(for_b.into_iter().take(examples)).collect()
}

fn say(task: &str, metric: &str, documents: Pairing, unusable: usize, warnings: &mut Vec<String>) {
    let Pairing { a, b, matched, prompts_differ, targets_differ } = documents;
    if a == 0 || b == 0 {
        return;
    }
    if matched == 0 && unusable == 0 {
        warnings.push(format!("{task}: none of the {a} documents of A is among the {b} of B, so it is not compared"));
        return;
    }
    if matched == 0 && unusable == a.min(b) {
        warnings.push(format!("{task}: {metric} lies outside of 0 to 1 (a perplexity, say), so it is not compared"));
        return;
    }
    if unusable > 0 {
        warnings.push(format!("{task}: {unusable} documents have no value of {metric} between 0 and 1 on both sides and are left out"));
    }
    let (without_a, without_b) = (a - matched - unusable, b - matched - unusable);
    if without_a + without_b > 0 {
        warnings.push(format!(
            "{task}: only the {matched} documents that both sides have are compared; {without_a} of A and {without_b} of B are left out"
        ));
    }
    if prompts_differ > 0 {
        warnings.push(format!(
            "{task}: {prompts_differ} of {matched} documents were asked with different prompts, so the difference is one of prompts too"
        ));
    }
    if targets_differ > 0 {
        warnings.push(format!("{task}: {targets_differ} of {matched} documents have different right answers"));
    }
}

/// Documents that both sides have, in the order of the first: equal digest and index, else equal digest.
fn pairs<'a>(a: &'a [Answered], b: &'a [Answered]) -> Vec<(&'a Answered, &'a Answered)> {
    let exact: HashMap<(&str, u64), &Answered> = b.iter().map(|side| ((side.doc_hash.as_str(), side.doc_id), side)).collect();
    let taken: BTreeSet<u64> =
        a.iter().filter(|side| exact.contains_key(&(side.doc_hash.as_str(), side.doc_id))).map(|side| side.doc_id).collect();
    let mut left: HashMap<&str, VecDeque<&Answered>> = HashMap::new();
    for side in b.iter().filter(|side| !taken.contains(&side.doc_id)) {
        left.entry(side.doc_hash.as_str()).or_default().push_back(side);
    }
    a.iter()
        .filter_map(|side| {
            let partner = exact.get(&(side.doc_hash.as_str(), side.doc_id)).copied();
            let partner = partner.or_else(|| left.get_mut(side.doc_hash.as_str())?.pop_front());
            partner.map(|partner| (side, partner))
        })
        .collect()
}

// What people read.

/// Cells of one row: name, documents, A, B, difference, interval, p, corrected p, only A, only B.
type Row = [String; 10];

const HEAD: [&str; 10] = ["task", "n", "A", "B", "A − B", "95 % interval", "p", "p (Holm)", "only A right", "only B right"];

impl Comparison {
    /// Whether any task, or the aggregate, differs beyond chance.
    #[must_use]
    pub fn verdict(&self) -> String {
        let differing: Vec<&str> = self.tasks.iter().filter(|task| task.p_holm < ALPHA).map(|task| task.scores.name.as_str()).collect();
        let of_tasks = match differing.as_slice() {
            [] => format!("No task differs beyond chance (α = {ALPHA}, Holm's correction over {} tasks).", self.tasks.len()),
            names => format!("Beyond chance (α = {ALPHA}, Holm's correction over {} tasks): {}.", self.tasks.len(), names.join(", ")),
        };
        let of_aggregate = self.aggregate.as_ref().map(|aggregate| match aggregate.difference {
            _ if aggregate.p_value >= ALPHA => " The aggregates do not differ beyond chance.".to_owned(),
            difference if difference > 0.0 => " The aggregate of A is higher beyond chance.".to_owned(),
            _ => " The aggregate of B is higher beyond chance.".to_owned(),
        });
        of_tasks + &of_aggregate.unwrap_or_default()
    }

    /// The JSON form.
    ///
    /// # Errors
    /// Never for what [`compare`] gives; the type says it because JSON could refuse.
    pub fn to_json(&self) -> serde_json::Result<String> {
        canonical::to_pretty(self)
    }

    /// A table for the terminal, then warnings and examples.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rows: Vec<Row> = std::iter::once(HEAD.map(str::to_owned)).chain(self.rows()).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
        let mut out = format!("A: {}\nB: {}\n\n", printable(&self.a), printable(&self.b));
        for row in &rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        let _ = writeln!(out, "\n{}", self.verdict());
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {}", printable(warning));
        }
        for example in self.tasks.iter().flat_map(|task| &task.examples) {
            let Example { task, doc_id, question, target, answer_a, answer_b, .. } = example;
            let [value_a, value_b] = [example.value_a, example.value_b].map(value_text);
            let _ = writeln!(out, "\n{} document {doc_id}: …{}", printable(task), printable(question));
            let _ = writeln!(out, "  right: {}", printable(target));
            let _ = writeln!(out, "  A ({value_a}): {}\n  B ({value_b}): {}", printable(answer_a), printable(answer_b));
        }
        out
    }

    /// The Markdown form.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# Comparison\n\n- A: {}\n- B: {}\n\n", cell(&self.a), cell(&self.b));
        let _ = writeln!(out, "| {} |\n| --- |{}", HEAD.join(" | "), " ---: |".repeat(HEAD.len() - 1));
        for row in self.rows() {
            let _ = writeln!(out, "| {} |", row.map(|text| cell(&text)).join(" | "));
        }
        let _ = writeln!(
            out,
            "\n{}\n\nDifferences in points with 95 % intervals of the paired bootstrap. p: McNemar's exact test where every answer is right or \
             wrong, else a paired test of the means.",
            cell(&self.verdict())
        );
        if !self.warnings.is_empty() {
            let _ = writeln!(out, "\n## Warnings\n");
            for warning in &self.warnings {
                let _ = writeln!(out, "- {}", cell(warning));
            }
        }
        if self.tasks.iter().any(|task| !task.examples.is_empty()) {
            let _ = writeln!(
                out,
                "\n## Documents on which they part\n\n| task | document | question | right | A | B |\n| --- | ---: | --- | --- | --- | --- |"
            );
        }
        for example in self.tasks.iter().flat_map(|task| &task.examples) {
            let side = |answer: &str, value: f64| format!("{} ({})", cell(answer), value_text(value));
            let _ = writeln!(
                out,
                "| {} | {} | …{} | {} | {} | {} |",
                cell(&example.task),
                example.doc_id,
                cell(&example.question),
                cell(&example.target),
                side(&example.answer_a, example.value_a),
                side(&example.answer_b, example.value_b)
            );
        }
        out
    }

    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let count = |flips: Option<u64>| flips.map_or_else(|| "—".to_owned(), |flips| flips.to_string());
        let tasks = self.tasks.iter().map(move |task| {
            let tail = [p_text(task.p_holm), count(task.only_a), count(task.only_b)];
            row(&task.scores, task.documents.matched.to_string(), tail)
        });
        let sums = self.pillars.iter().chain(&self.aggregate);
        tasks.chain(sums.map(|scores| row(scores, String::new(), [String::new(), String::new(), String::new()])))
    }
}

fn row(scores: &ScoreComparison, n: String, [holm, only_a, only_b]: [String; 3]) -> Row {
    let ScoreComparison { name, score_a, score_b, difference, ci95, p_value, .. } = scores;
    let interval = ci95.map_or_else(|| "—".to_owned(), |[low, high]| format!("{} to {}", signed(low), signed(high)));
    let score = |score: &f64| format!("{score:.2}");
    [printable(name), n, score(score_a), score(score_b), signed(*difference), interval, p_text(*p_value), holm, only_a, only_b]
}

/// Two decimals with a sign; no sign for what rounds to zero.
fn signed(points: f64) -> String {
    let text = format!("{:.2}", points.abs());
    match text.as_str() {
        "0.00" => text,
        _ if points < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

fn p_text(p_value: f64) -> String {
    if p_value < 0.0005 { "< 0.001".to_owned() } else { format!("{p_value:.3}") }
}

fn value_text(value: f64) -> String {
    match value {
        1.0 => "right".to_owned(),
        0.0 => "wrong".to_owned(),
        other => format!("{other:.3}"),
    }
}

/// One line without control characters: what a model wrote must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => '⏎',
            '\t' => ' ',
            character
                if character.is_control()
                    || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                '\u{fffd}'
            }
            character => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling { replicates: 2_000, seed: 1234 };

    fn document(doc_id: u64, value: f64) -> Answered {
        Answered {
            doc_id,
            doc_hash: format!("row {doc_id}"),
            prompt_hash: format!("prompt {doc_id}"),
            target_hash: format!("target {doc_id}"),
            target: "A".to_owned(),
            question: format!("question {doc_id}?"),
            answers: BTreeMap::from([("none".to_owned(), if value > 0.5 { "A" } else { "B\u{1b}[2J" }.to_owned())]),
            metrics: BTreeMap::from([("acc,none".to_owned(), value)]),
        }
    }

    fn source(name: &str, right: impl Fn(u64) -> bool) -> Source {
        let documents = |offset: u64| (0..20).map(|id| document(id, f64::from(u8::from(right(id + offset))))).collect();
        let tasks = BTreeMap::from([
            ("arc".to_owned(), documents(0)),
            ("subject_a".to_owned(), documents(3)),
            ("subject_b".to_owned(), documents(7)),
        ]);
        Source { name: name.to_owned(), tasks }
    }

    fn tasks() -> Vec<ComparedTask> {
        let task = |name: &str, leaves: &[&str]| ComparedTask {
            name: name.to_owned(),
            leaves: leaves.iter().map(|&leaf| leaf.to_owned()).collect(),
            metric: "acc,none".to_owned(),
            scale: Scale::Percent,
        };
        vec![task("arc", &["arc"]), task("mmlu", &["subject_a", "subject_b"])]
    }

    fn pillars() -> Vec<PillarSpec> {
        vec![PillarSpec { name: "reasoning".to_owned(), weight: 35.0, tasks: vec!["arc".to_owned(), "mmlu".to_owned()] }]
    }

    fn compared(a: &Source, b: &Source) -> Comparison {
        compare(a, b, &tasks(), &pillars(), 1, RESAMPLING).unwrap()
    }

    /// What a person reads, in both forms.
    #[test]
    fn a_comparison_reads_well() {
        let (a, b) = (source("lab/a", |id| id % 5 != 0), source("lab/b", |id| id % 3 == 0));
        let comparison = compared(&a, &b);
        insta::assert_snapshot!("comparison_text", comparison.to_text());
        insta::assert_snapshot!("comparison_markdown", comparison.to_markdown());
    }

    /// Flips are counted over all strata, and the p-value is McNemar's of these counts.
    #[test]
    fn flips_and_p_values_follow_from_the_answers() {
        let (a, b) = (source("a", |_| true), source("b", |id| id % 4 == 0));
        let comparison = compared(&a, &b);
        let mmlu = &comparison.tasks[1];
        assert_eq!((mmlu.documents.matched, mmlu.only_a, mmlu.only_b), (40, Some(30), Some(0)));
        assert!((mmlu.scores.p_value - crate::statistics::mcnemar(30, 0)).abs() < 1e-15);
        assert!((mmlu.scores.difference - 75.0).abs() < 1e-12);
        assert!(mmlu.p_holm >= mmlu.scores.p_value);
        let aggregate = comparison.aggregate.unwrap();
        assert!((aggregate.difference - comparison.pillars[0].difference).abs() < 1e-12 && aggregate.ci95.unwrap()[0] > 0.0);
    }

    /// The same answers on both sides: no difference, no example, p = 1.
    #[test]
    fn equal_sides_do_not_differ() {
        let a = source("a", |id| id % 3 == 0);
        let comparison = compared(&a, &a.clone());
        assert!(comparison.warnings.is_empty() && comparison.tasks.iter().all(|task| task.examples.is_empty()));
        assert!(comparison.tasks.iter().all(|task| task.scores.difference == 0.0 && task.scores.p_value >= 1.0));
        let [low, high] = comparison.tasks[0].scores.ci95.unwrap();
        assert!(low < -15.0 && high > 15.0, "twenty equal answers leave room for a difference: {low} to {high}");
        assert!(comparison.to_text().contains("No task differs beyond chance"));
    }

    /// Other prompts, other documents, missing tasks and values that are no share are said, never passed over.
    #[test]
    fn what_cannot_be_compared_plainly_is_said() {
        let a = source("a", |id| id % 2 == 0);
        let mut b = a.clone();
        let arc = b.tasks.get_mut("arc").unwrap();
        arc.truncate(15);
        arc[0].doc_hash = "another row".to_owned();
        arc[1].prompt_hash = "another prompt".to_owned();
        arc[2].metrics.insert("acc,none".to_owned(), -3.5);
        arc[3].doc_id = 77;
        b.tasks.remove("subject_b");
        let comparison = compared(&a, &b);
        let pairing = Pairing { a: 20, b: 15, matched: 13, prompts_differ: 1, targets_differ: 0 };
        assert_eq!(comparison.tasks[0].documents, pairing);
        let warnings = comparison.warnings.join("\n");
        for part in [
            "1 of 13 documents were asked with different prompts",
            "1 documents have no value of acc,none",
            "6 of A and 1 of B are left out",
            "mmlu: only the 20 documents",
        ] {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
        b.tasks.clear();
        let comparison = compared(&a, &b);
        assert!(comparison.tasks.is_empty() && comparison.pillars.is_empty() && comparison.aggregate.is_none());
        assert_eq!(comparison.warnings, ["only A has answers of arc, mmlu"]);
    }
}
