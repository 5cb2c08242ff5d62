//! `slm-bench compare`: two models on the same questions, from runs of this program or sample logs of lm-evaluation-harness.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome, UsageError};
use crate::benchmark::probes;
use crate::benchmark::registry::{self, Entry};
use crate::benchmark::{ScoreRule, TaskSpec};
use crate::evaluation::{read_samples, write_atomically};
use crate::leaderboard::compare::{Answered, ComparedTask, Source, compare};
use crate::leaderboard::run::Limit;
use crate::statistics::{Resampling, Scale};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Most folders between the given one and a sample log.
const MAX_DEPTH: usize = 3;
/// Characters of a question or answer that are shown.
const SHOWN: usize = 160;
/// Metrics of tasks that this program does not know, best first.
const USUAL_METRICS: [&str; 5] = ["acc_norm", "acc", "exact_match", "pass@1", "f1"];

/// Arguments of `compare`.
#[derive(Args)]
pub(super) struct Arguments {
    /// The first side: a run (its folder or run.json), or sample logs of lm-evaluation-harness (`--log_samples`: a file or its folder)
    a: PathBuf,
    /// The second side, in either form
    b: PathBuf,
    /// Only these tasks
    #[arg(long, value_delimiter = ',', value_name = "TASKS")]
    tasks: Vec<String>,
    /// Documents shown for each task and direction
    #[arg(long, value_name = "N", default_value_t = 2)]
    examples: usize,
    /// How the comparison is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write it to a file instead
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for the terminal
    Text,
    /// Markdown
    Markdown,
    /// A JSON document
    Json,
}

/// A side, with the suite of a run.
struct Side {
    source: Source,
    suite: Option<String>,
}

/// Runs `compare`.
///
/// # Errors
/// Where a side cannot be read, the sides have no task in common, or the output cannot be written.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let (a, b) = (read_side(&arguments.a)?, read_side(&arguments.b)?);
    let tasks = compared_tasks(&a.source, &b.source, &arguments.tasks)?;
    let suite = a.suite.or(b.suite).unwrap_or_else(|| "standard".to_owned());
    let pillars = if arguments.tasks.is_empty() { artifact_files::pillars_of(&suite, None).unwrap_or_default() } else { Vec::new() };
    let comparison = compare(&a.source, &b.source, &tasks, &pillars, arguments.examples, Resampling::default())
        .context("the answers cannot be compared")?;
    if comparison.tasks.is_empty() {
        let reasons = comparison.warnings.join("; ");
        return Err(InvalidInput(format!("the two sides have nothing to compare: {reasons}")).into());
    }
    let text = match arguments.format {
        Format::Text => comparison.to_text(),
        Format::Markdown => comparison.to_markdown(),
        Format::Json => comparison.to_json()?,
    };
    match &arguments.output {
        Some(path) => {
            write_atomically(path, text.as_bytes())?;
            println!("{}", path.display());
        }
        None => print!("{text}"),
    }
    Ok(Outcome::Done)
}

// What is compared.

/// Tasks of either side in the order of their names, subjects under their group.
fn compared_tasks(a: &Source, b: &Source, wanted: &[String]) -> anyhow::Result<Vec<ComparedTask>> {
    let present: BTreeSet<&str> = a.tasks.keys().chain(b.tasks.keys()).map(String::as_str).collect();
    let mut tasks: Vec<ComparedTask> = Vec::new();
    let mut seen = BTreeSet::new();
    for leaf in present {
        let task = compared_task(leaf, a, b);
        if seen.insert(task.name.clone()) {
            tasks.push(task);
        }
    }
    tasks.sort_by(|a, b| a.name.cmp(&b.name));
    for name in wanted {
        if !tasks.iter().any(|task| task.name == *name) {
            let names: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(InvalidInput(format!("neither side has answers of {name}; there are {}", names.join(", "))).into());
        }
    }
    tasks.retain(|task| wanted.is_empty() || wanted.contains(&task.name));
    Ok(tasks)
}

fn compared_task(leaf: &str, a: &Source, b: &Source) -> ComparedTask {
    match registry::spec(leaf) {
        Ok(spec) if spec.score_rule != ScoreRule::Unbounded => {
            let group = largest_group(leaf);
            let (name, leaves) = group.unwrap_or_else(|| (leaf.to_owned(), vec![leaf.to_owned()]));
            ComparedTask { name, leaves, metric: spec.primary.to_owned(), scale: scale(spec) }
        }
        // A perplexity, or a task of another program.
        _ => ComparedTask {
            name: leaf.to_owned(),
            leaves: vec![leaf.to_owned()],
            metric: shared_metric(leaf, a, b).unwrap_or_else(|| registry::spec(leaf).map_or("acc,none", |spec| spec.primary).to_owned()),
            scale: Scale::Percent,
        },
    }
}

/// The group that a task's score is part of: of `mmlu` and `mmlu_stem` the larger.
fn largest_group(leaf: &str) -> Option<(String, Vec<String>)> {
    let groups = registry::all().filter_map(|entry| if let Entry::Group(group) = entry { Some(group) } else { None });
    groups
        .filter(|group| group.members.iter().any(|member| member == leaf))
        .max_by_key(|group| group.members.len())
        .map(|group| (group.name.clone(), group.members.clone()))
}

fn scale(spec: &TaskSpec) -> Scale {
    if spec.score_rule == ScoreRule::Balance { Scale::Balance } else { Scale::Percent }
}

/// The most usual metric that both sides have.
fn shared_metric(leaf: &str, a: &Source, b: &Source) -> Option<String> {
    let keys = |side: &Source| -> BTreeSet<String> {
        side.tasks
            .get(leaf)
            .and_then(|documents| documents.first())
            .map(|first| first.metrics.keys().cloned().collect())
            .unwrap_or_default()
    };
    let shared: Vec<String> = keys(a).intersection(&keys(b)).cloned().collect();
    let usual = USUAL_METRICS.iter().find_map(|metric| shared.iter().find(|key| key.split(',').next() == Some(metric)));
    usual.or(shared.first()).cloned()
}

// Reading.

fn read_side(path: &Path) -> anyhow::Result<Side> {
    if path.is_dir() && path.join("run.json").is_file() {
        return read_run_side(&path.join("run.json"));
    }
    if path.file_name().is_some_and(|name| name == "run.json") {
        return read_run_side(path);
    }
    read_logs(path)
}

fn read_run_side(path: &Path) -> anyhow::Result<Side> {
    let stored = artifact_files::read_run(path)?;
    let mut tasks = BTreeMap::new();
    // Probes are no scores: what they asked is not what a task asks.
    for sample in stored.run.samples.iter().filter(|sample| probes::leaf(&sample.task).is_none()) {
        let source = stored.folder().join(&sample.file);
        let bytes = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
        if hex::encode(Sha256::digest(&bytes)) != sample.sha256 {
            return Err(InvalidInput(format!("{} is not the file that run.json names: its SHA-256 differs", source.display())).into());
        }
        let mut log = TaskLog::default();
        for line in read_samples(&source)? {
            log.add(&serde_json::to_value(&line)?).map_err(|reason| InvalidInput(format!("{}: {reason}", source.display())))?;
        }
        tasks.insert(sample.task.clone(), log.finish(&sample.task));
    }
    if tasks.is_empty() {
        return Err(InvalidInput(format!("{} lists no sample files", path.display())).into());
    }
    Ok(Side { source: Source { name: name_of(&stored), tasks }, suite: Some(stored.run.suite.name.clone()) })
}

/// Model, commit, quantization, and what else makes the run special.
fn name_of(stored: &StoredRun) -> String {
    let run = &stored.run;
    let commit: String = run.model.revision.chars().take(8).collect();
    let mut parts = vec![run.model.quantization.name.clone(), run.engine.dtype.clone()];
    if run.chat_template {
        parts.push("chat template".to_owned());
    }
    match run.limit {
        Some(Limit::Documents(limit)) => parts.push(format!("limit {limit}")),
        Some(Limit::Fraction(limit)) => parts.push(format!("limit {limit}")),
        None => {}
    }
    format!("{}@{commit} ({}), run {}", run.model.hf_repo, parts.join(", "), run.run_id)
}

fn read_logs(path: &Path) -> anyhow::Result<Side> {
    let files = if path.is_dir() { log_files(path, 0)? } else { vec![path.to_owned()] };
    if files.is_empty() {
        let path = path.display();
        return Err(InvalidInput(format!("{path} has neither a run.json nor sample logs (*.jsonl)")).into());
    }
    let mut logs: BTreeMap<String, (PathBuf, TaskLog)> = BTreeMap::new();
    for file in files {
        for (task, log) in read_log(&file)? {
            // Files come in the order of their names, which end with the time: the newest log of a task counts.
            if let Some((older, _)) = logs.insert(task.clone(), (file.clone(), log)) {
                tracing::warn!("{task}: {} is newer than {}, which is left out", file.display(), older.display());
            }
        }
    }
    let tasks = logs.into_iter().map(|(task, (_, log))| (task.clone(), log.finish(&task))).collect();
    Ok(Side { source: Source { name: format!("sample log {}", path.display()), tasks }, suite: None })
}

fn log_files(folder: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", entry.path().display()))?;
        if kind.is_dir() && depth < MAX_DEPTH {
            files.extend(log_files(&entry.path(), depth + 1)?);
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The documents of a log file by task: one line for each document and filter, or one line for each document with all of its filters.
fn read_log(path: &Path) -> anyhow::Result<BTreeMap<String, TaskLog>> {
    let wrong = |number: usize, reason: &str| InvalidInput(format!("{}, line {}: {reason}", path.display(), number + 1));
    let file = fs::File::open(path).map_err(|error| UsageError(format!("cannot open {}: {error}", path.display())))?;
    let of_file = task_of_file(path);
    let mut logs: BTreeMap<String, TaskLog> = BTreeMap::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(&without_nan(&line)).map_err(|error| wrong(number, &format!("not JSON: {error}")))?;
        let task = value.get("task").and_then(Value::as_str).unwrap_or(&of_file).to_owned();
        logs.entry(task).or_default().add(&value).map_err(|reason| wrong(number, &reason))?;
    }
    Ok(logs)
}

/// `boolq` of `samples_boolq_2026-01-10T09-00-00.000000.jsonl`.
fn task_of_file(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = stem.strip_prefix("samples_").unwrap_or(&stem);
    match name.rsplit_once('_') {
        Some((task, time)) if time.len() > 10 && time.as_bytes()[..4].iter().all(u8::is_ascii_digit) && time.contains('T') => {
            task.to_owned()
        }
        _ => name.to_owned(),
    }
}

/// Python writes `NaN`, `Infinity` and `-Infinity`, which are not JSON: outside of text they become `null`.
fn without_nan(line: &str) -> String {
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    let (mut in_text, mut escaped) = (false, false);
    while let Some(character) = rest.chars().next() {
        if !in_text && let Some(word) = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word)) {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match character {
            '"' if !escaped => in_text = !in_text,
            _ => {}
        }
        escaped = in_text && character == '\\' && !escaped;
        out.push(character);
        rest = &rest[character.len_utf8()..];
    }
    out
}

/// A document, its answers by filter, and its requests.
type Collected = (Answered, BTreeMap<String, Value>, Vec<Vec<Value>>);

/// Documents of one task while its lines are read.
#[derive(Default)]
struct TaskLog {
    documents: BTreeMap<u64, Collected>,
}

impl TaskLog {
    fn add(&mut self, line: &Value) -> Result<(), String> {
        let text = |field: &str| {
            line.get(field).and_then(Value::as_str).map(str::to_owned).ok_or(format!("`{field}` is missing: not a sample log"))
        };
        let doc_id = line.get("doc_id").and_then(Value::as_u64).ok_or("`doc_id` is missing: not a sample log")?;
        let metrics = line.get("metrics").ok_or("`metrics` is missing: not a sample log of lm-evaluation-harness 0.4")?;
        let (document, filtered, requests) = self.documents.entry(doc_id).or_default();
        let hash = text("doc_hash")?;
        if !document.doc_hash.is_empty() && document.doc_hash != hash {
            return Err(format!("document {doc_id} is there twice with different digests"));
        }
        document.doc_id = doc_id;
        document.doc_hash = hash;
        document.prompt_hash = text("prompt_hash")?;
        document.target_hash = text("target_hash")?;
        document.target = shown(&line.get("target").map(plain).unwrap_or_default());
        *requests = arguments(line);
        match metrics {
            Value::Object(metrics) => {
                document.metrics.extend(metrics.iter().filter_map(|(key, value)| Some((key.clone(), number(value)?))));
                if let Some(Value::Object(answers)) = line.get("filtered_resps") {
                    filtered.extend(answers.clone());
                }
            }
            Value::Array(names) => {
                let filter = text("filter")?;
                for name in names.iter().filter_map(Value::as_str) {
                    let value = line.get(name).and_then(number);
                    document.metrics.extend(value.map(|value| (format!("{name},{filter}"), value)));
                }
                filtered.insert(filter, line.get("filtered_resps").cloned().unwrap_or_default());
            }
            _ => return Err("`metrics` is neither a list nor a mapping".to_owned()),
        }
        Ok(())
    }

    fn finish(self, task: &str) -> Vec<Answered> {
        let normalised = registry::spec(task).is_ok_and(|spec| spec.primary.starts_with("acc_norm"));
        let finish = |(mut document, filtered, requests): Collected| {
            document.answers =
                filtered.iter().map(|(filter, answers)| (filter.clone(), shown(&answer(&requests, answers, normalised)))).collect();
            let question = requests.first().and_then(|request| request.first()).map(plain).unwrap_or_default();
            document.question = shown_end(&question);
            let chosen = document.target.parse::<usize>().ok().filter(|_| requests.len() > 1);
            if let Some(text) = chosen.and_then(|index| option_text(&requests, index)) {
                document.target = shown(&text);
            }
            document
        };
        self.documents.into_values().map(finish).collect()
    }
}

/// `arguments` as a list of lists; the harness's files have objects `gen_args_0: {arg_0, arg_1}`.
fn arguments(line: &Value) -> Vec<Vec<Value>> {
    match line.get("arguments") {
        Some(Value::Array(requests)) => requests.iter().map(|request| request.as_array().cloned().unwrap_or_default()).collect(),
        Some(Value::Object(requests)) => (0..requests.len())
            .filter_map(|index| requests.get(&format!("gen_args_{index}"))?.as_object())
            .map(|parts| (0..parts.len()).filter_map(|part| parts.get(&format!("arg_{part}"))).cloned().collect())
            .collect(),
        _ => Vec::new(),
    }
}

/// A number, a truth value, or a number as text (the harness writes answers so).
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => match text.as_str() {
            "True" => Some(1.0),
            "False" => Some(0.0),
            other => other.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}

/// What the model answered: the most probable option, the text, or the log-likelihood.
fn answer(requests: &[Vec<Value>], answers: &Value, normalised: bool) -> String {
    let Some(answers) = answers.as_array() else { return plain(answers) };
    let likelihood = |answer: &Value| answer.as_array().and_then(|pair| number(pair.first()?));
    if requests.len() > 1 && answers.len() == requests.len() && answers.iter().all(|answer| likelihood(answer).is_some()) {
        let length = |index: usize| match requests[index].get(1).and_then(Value::as_str) {
            Some(text) if normalised => text.trim_start().chars().count().max(1) as f64,
            _ => 1.0,
        };
        let value = |index: usize| likelihood(&answers[index]).unwrap_or(f64::NEG_INFINITY) / length(index);
        let best = (0..answers.len()).reduce(|best, index| if value(index) > value(best) { index } else { best }).unwrap_or(0);
        return option_text(requests, best).unwrap_or_else(|| format!("option {best}"));
    }
    answers.first().map(plain).unwrap_or_default()
}

/// An option in words: its continuation, or where all continuations are equal (WinoGrande), the end of its context.
fn option_text(requests: &[Vec<Value>], index: usize) -> Option<String> {
    let request = requests.get(index)?;
    let text = |part: usize, request: &[Value]| request.get(part).and_then(Value::as_str).map(str::to_owned);
    let continuation = text(1, request)?;
    let same = requests.iter().filter(|other| text(1, other).as_ref() == Some(&continuation)).count() > 1;
    Some(if same { format!("{index}: …{}", shown_end(&text(0, request)?)) } else { continuation.trim().to_owned() })
}

/// Text as it is, lists by their first element, all else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) if parts.len() == 1 => parts.first().map(plain).unwrap_or_default(),
        other => other.to_string(),
    }
}

fn shown(text: &str) -> String {
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).chain(std::iter::once('…')).collect() }
}

/// The end of a text: few-shot examples come before the question.
fn shown_end(text: &str) -> String {
    let count = text.chars().count();
    text.chars().skip(count.saturating_sub(SHOWN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_names_come_from_the_files() {
        for (file, task) in [
            ("samples_boolq_2026-01-10T09-00-00.000000.jsonl", "boolq"),
            ("samples_mmlu_high_school_us_history_2026-01-10T09-00-00.123456.jsonl", "mmlu_high_school_us_history"),
            ("arc_challenge.jsonl", "arc_challenge"),
        ] {
            assert_eq!(task_of_file(Path::new(file)), task);
        }
    }

    #[test]
    fn pythons_nan_becomes_null_outside_of_text() {
        let line = r#"{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN \" NaN \\", "d": NaN}"#;
        let value: Value = serde_json::from_str(&without_nan(line)).unwrap();
        assert_eq!(value, serde_json::json!({"a": null, "b": [null, null], "c": "NaN \" NaN \\", "d": null}));
    }

    /// One line for each filter of the harness's file makes one document; answers there are text.
    #[test]
    fn lines_of_several_filters_are_one_document() {
        let mut log = TaskLog::default();
        for (filter, value) in [("strict-match", 0.0), ("flexible-extract", 1.0)] {
            let line = serde_json::json!({
                "doc_id": 3, "doc_hash": "h", "prompt_hash": "p", "target_hash": "t", "target": "#### 4", "filter": filter, "metrics": ["exact_match"],
                "exact_match": value, "arguments": {"gen_args_0": {"arg_0": "How many?", "arg_1": {}}}, "resps": [["4"]], "filtered_resps": [filter]
            });
            log.add(&line).unwrap();
        }
        let documents = log.finish("gsm8k");
        assert_eq!(documents.len(), 1);
        assert_eq!(
            documents[0].metrics,
            BTreeMap::from([("exact_match,flexible-extract".to_owned(), 1.0), ("exact_match,strict-match".to_owned(), 0.0)])
        );
        assert_eq!(documents[0].answers["strict-match"], "strict-match");
        assert_eq!(documents[0].question, "How many?");
    }
}
