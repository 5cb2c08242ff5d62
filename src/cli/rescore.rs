//! Scores a stored answer again from its sample line alone, as far as the line allows.
//!
//! The line has no dataset row. What a score needs of the row beside the target (which WinoGrande option is right, which TruthfulQA answers are
//! true, whom BBQ's question stereotypes, what a program did, a WikiText page before detokenising) stands in `details`. In lines of older runs,
//! which lack it, the score is checked as far as the answers bound it.

use crate::benchmark::probes;
use crate::benchmark::python::{sha256_hex, target_text};
use crate::benchmark::{Document, Form, Item, OutputKind, Response, Scoring, Task, Verdict};
use crate::leaderboard::audit::Difference;
use crate::leaderboard::run::SampleLine;
use crate::sandbox::Program;
use serde_json::{Map, Value};

/// Largest relative difference of a recomputed figure: another machine's exponential function, never another answer.
const TOLERANCE: f64 = 1e-9;

/// Where a sample line contradicts itself. `chat_template`: the run rendered its prompts with one.
pub(super) fn rescore(task: &dyn Task, line: &SampleLine, chat_template: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    hashes(line, &mut found);
    let Some(responses) = responses(line, &mut found) else { return found };
    programs(task, line, &responses, &mut found);
    let document = known_document(line);
    let filtered = filtered(task, &document, &responses);
    // HumanEval's filter puts the row's prompt before the answer; behind a chat template the context is more than that prompt.
    let known_filter = !(chat_template && task.spec().filters == ["create_test"]);
    if known_filter {
        compare("/filtered_resps", &filtered, &line.filtered_resps, &mut found);
    }
    match expected_metrics(task, line, &responses, &filtered, &document, chat_template) {
        Expected::Metrics(metrics) => compare("/metrics", &metrics, &line.metrics, &mut found),
        Expected::OneOf(key, values) => {
            let stored = line.metrics.get(key).unwrap_or(&Value::Null);
            if !values.iter().any(|value| same(value, stored)) {
                let message = format!("is {stored}, which the stored answers cannot give");
                found.push(Difference::new(format!("/metrics/{key}"), message));
            }
        }
        Expected::Contradiction(reason) => found.push(Difference::new("/metrics", format!("do not follow from the line: {reason}"))),
        Expected::Unknown => {}
    }
    text_of_page(task, &document, line, &mut found);
    found
}

/// The text that was asked is the page that is counted.
fn text_of_page(task: &dyn Task, document: &Document, line: &SampleLine, found: &mut Vec<Difference>) {
    if task.spec().output != OutputKind::LoglikelihoodRolling || !document.contains_key("page") {
        return;
    }
    let asked = line.arguments.first().and_then(|request| request.get(0)).and_then(Value::as_str);
    if !matches!(task.item(document), Ok(Item::Text { text }) if asked == Some(text.as_str())) {
        found.push(Difference::new("/details/page", "is not the page whose text was asked"));
    }
}

/// A page's metrics where the page itself is not in the line: the answer, and the same numbers of words and bytes wherever they stand.
fn page_metrics(line: &SampleLine, responses: &[Response]) -> Expected {
    let [Response::Rolling(value)] = responses else { return Expected::Unknown };
    let stored = |key: &str| line.metrics.get(key).and_then(|pair| pair.get(1)).and_then(Value::as_u64).filter(|count| *count > 0);
    let counts = [("word_perplexity,none", stored("word_perplexity,none")), ("byte_perplexity,none", stored("byte_perplexity,none"))];
    let metric = |(key, count): (&str, Option<u64>)| (key.to_owned(), serde_json::json!([value, count]));
    Expected::Metrics(counts.into_iter().chain([("bits_per_byte,none", counts[1].1)]).map(metric).collect())
}

fn hashes(line: &SampleLine, found: &mut Vec<Difference>) {
    let prompt = line.arguments.first().and_then(|request| request.get(0)).and_then(Value::as_str);
    if prompt.is_none_or(|prompt| sha256_hex(prompt) != line.prompt_hash) {
        found.push(Difference::new("/prompt_hash", "is not the SHA-256 of the first request's context"));
    }
    if sha256_hex(&target_text(&line.target)) != line.target_hash {
        found.push(Difference::new("/target_hash", "is not the SHA-256 of the target"));
    }
}

fn responses(line: &SampleLine, found: &mut Vec<Difference>) -> Option<Vec<Response>> {
    if line.resps.len() != line.arguments.len() {
        let message = format!("has {} answers to {} requests", line.resps.len(), line.arguments.len());
        found.push(Difference::new("/resps", message));
        return None;
    }
    let read = |(index, entry): (usize, &Value)| Response::from_json(entry).ok_or(index);
    match line.resps.iter().enumerate().map(read).collect::<Result<Vec<Response>, usize>>() {
        Ok(responses) => Some(responses),
        Err(index) => {
            found.push(Difference::new(format!("/resps/{index}"), "is not an answer: one finite log-likelihood or text"));
            None
        }
    }
}

/// What the line tells about the row, under the names that tasks read.
fn known_document(line: &SampleLine) -> Document {
    let mut document = line.details.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(target) = line.target.as_str() {
        document.insert("answer".to_owned(), Value::from(target));
    }
    if let Some(prompt) = line.arguments.first().and_then(|request| request.get(0)).and_then(Value::as_str) {
        document.insert("prompt".to_owned(), Value::from(prompt));
    }
    document
}

fn filtered(task: &dyn Task, document: &Document, responses: &[Response]) -> Map<String, Value> {
    let through = |filter: &str| -> Value {
        let one = |response: &Response| match response {
            Response::Text(answer) => task.filtered(filter, document, answer),
            // Each entry of `resps` is a list of one answer.
            other => other.to_json().get(0).cloned().unwrap_or(Value::Null),
        };
        responses.iter().map(one).collect()
    };
    task.spec().filters.iter().map(|filter| ((*filter).to_owned(), through(filter))).collect()
}

enum Expected {
    /// Every metric.
    Metrics(Map<String, Value>),
    /// One metric, one of several values.
    OneOf(&'static str, Vec<Value>),
    /// The line contradicts itself.
    Contradiction(String),
    /// The line alone does not say.
    Unknown,
}

fn expected_metrics(
    task: &dyn Task,
    line: &SampleLine,
    responses: &[Response],
    filtered: &Map<String, Value>,
    document: &Document,
    chat_template: bool,
) -> Expected {
    let spec = task.spec();
    let right_or_wrong = || vec![Value::from(0.0), Value::from(1.0)];
    let name = spec.name.trim_start_matches("smoke_");
    match name {
        // The right option is in the row.
        "winogrande" if !document.contains_key("gold") => return Expected::OneOf("acc,none", right_or_wrong()),
        "truthfulqa_mc2" if !document.contains_key("mc2_targets") => return Expected::OneOf("acc,none", shares(responses)),
        "bbq" | "bbq_full" => {
            // A gold answer from 2 on stands for all ways to say that it cannot be known.
            let (Some(best), Some(gold)) = (best(responses), line.target.as_u64()) else { return Expected::Unknown };
            let right = if gold >= 2 { best >= 2 } else { best as u64 == gold };
            let right = Value::from(if right { 1.0 } else { 0.0 });
            // The details must not make another answer right than the target.
            if !document.contains_key("category") || !line.metrics.get("acc,none").is_some_and(|stored| same(stored, &right)) {
                return Expected::OneOf("acc,none", vec![right]);
            }
        }
        "wikitext" if !document.contains_key("page") => return page_metrics(line, responses),
        _ => {}
    }
    let verdicts: Vec<Verdict> = verdicts(line);
    if spec.generation.is_some() && ["humaneval", "mbpp"].contains(&name) && verdicts.is_empty() {
        let key = if name == "mbpp" { "pass_at_1,none" } else { "pass@1,create_test" };
        return Expected::OneOf(key, right_or_wrong());
    }
    let delimiter = if chat_template { "" } else { spec.target_delimiter };
    let item = if probes::leaf(&spec.name).is_some() { forms(line, delimiter) } else { item(name, spec.output, line, delimiter) };
    let Some(item) = item else {
        let is_probe = probes::leaf(&spec.name).is_some();
        return if is_probe { Expected::Contradiction("it does not say what was asked".to_owned()) } else { Expected::Unknown };
    };
    match task.metrics(&Scoring { document, item: &item, responses, filtered, verdicts: &verdicts }) {
        Ok(metrics) => Expected::Metrics(metrics),
        // All that a probe needs is in the line.
        Err(reason) if probes::leaf(&spec.name).is_some() => Expected::Contradiction(reason),
        Err(_) => Expected::Unknown,
    }
}

/// The forms in which a probe asked the document: as many as the target lists right choices, each with as many choices.
fn forms(line: &SampleLine, delimiter: &str) -> Option<Item> {
    let golds = line.target.as_array()?;
    let choices = line.arguments.len().checked_div(golds.len())?;
    let forms = golds.iter().zip(line.arguments.chunks(choices.max(1))).map(|(gold, requests)| {
        let question = requests.first()?.get(0)?.as_str()?.to_owned();
        let choice = |request: &Value| {
            let continuation = request.get(1)?.as_str()?;
            Some(continuation.strip_prefix(delimiter).unwrap_or(continuation).to_owned())
        };
        let choices = requests.iter().map(choice).collect::<Option<_>>()?;
        Some(Form { question, choices, gold: usize::try_from(gold.as_u64()?).ok()? })
    });
    forms.collect::<Option<_>>().map(Item::Forms)
}

fn item(name: &str, output: OutputKind, line: &SampleLine, delimiter: &str) -> Option<Item> {
    let text = |request: &Value, index: usize| request.get(index).and_then(Value::as_str).map(str::to_owned);
    let first = line.arguments.first()?;
    if name == "winogrande" {
        let gold = usize::try_from(line.details.as_ref()?.get("gold")?.as_u64()?).ok()?;
        let contexts = line.arguments.iter().map(|request| text(request, 0)).collect::<Option<_>>()?;
        return Some(Item::Partial { contexts, continuation: line.target.as_str()?.to_owned(), gold });
    }
    Some(match output {
        OutputKind::MultipleChoice => {
            let choices = line.arguments.iter().map(|request| {
                let continuation = text(request, 1)?;
                Some(continuation.strip_prefix(delimiter).map(str::to_owned).unwrap_or(continuation))
            });
            let gold = usize::try_from(line.target.as_u64()?).ok()?;
            Item::Choice { question: String::new(), choices: choices.collect::<Option<_>>()?, gold }
        }
        OutputKind::Loglikelihood => Item::Continuation { question: text(first, 0)?, target: text(first, 1)? },
        OutputKind::LoglikelihoodRolling => Item::Text { text: text(first, 0)? },
        OutputKind::GenerateUntil => Item::Generation { question: text(first, 0)?, target: line.target.as_str()?.to_owned() },
    })
}

/// Checks that what was run is what the model wrote, with the document's own test, and that a program that passed has nothing to explain.
fn programs(task: &dyn Task, line: &SampleLine, responses: &[Response], found: &mut Vec<Difference>) {
    let name = task.spec().name.trim_start_matches("smoke_");
    if !["humaneval", "mbpp"].contains(&name) {
        return;
    }
    let Some(list) = stored_programs(line) else {
        found.push(Difference::new("/details/programs", "is missing or damaged: no program stands behind the score"));
        return;
    };
    if list.len() != responses.len() {
        found.push(Difference::new("/details/programs", format!("has {} programs for {} answers", list.len(), responses.len())));
    }
    for (index, (stored, response)) in list.iter().zip(responses).enumerate() {
        let pointer = |field: &str| format!("/details/programs/{index}/{field}");
        let Response::Text(answer) = response else { continue };
        if !stored.program.candidate.ends_with(answer.as_str()) {
            found.push(Difference::new(pointer("program/candidate"), "is not what the model wrote"));
        }
        if line.target.as_str() != Some(stored.program.test.as_str()) {
            found.push(Difference::new(pointer("program/test"), "is not the document's test"));
        }
        if stored.verdict == Verdict::Passed && !stored.reason.is_empty() {
            found.push(Difference::new(pointer("reason"), format!("is `{}`, but the program passed", stored.reason)));
        }
    }
}

/// A program as the line keeps it.
#[derive(serde::Deserialize)]
pub(super) struct StoredProgram {
    /// What ran.
    pub(super) program: Program,
    /// How it ended.
    pub(super) verdict: Verdict,
    /// Why.
    pub(super) reason: String,
}

/// The programs of a line; `None` where it has none or they cannot be read.
pub(super) fn stored_programs(line: &SampleLine) -> Option<Vec<StoredProgram>> {
    serde_json::from_value(line.details.as_ref()?.get("programs")?.clone()).ok()
}

/// Verdicts of a coding task's programs, where the line has them: `details.programs`, each with its `verdict`.
fn verdicts(line: &SampleLine) -> Vec<Verdict> {
    let list = line.details.as_ref().and_then(|details| details.get("programs")).and_then(Value::as_array);
    let read = |entry: &Value| serde_json::from_value(entry.get("verdict").unwrap_or(entry).clone()).ok();
    list.and_then(|list| list.iter().map(read).collect()).unwrap_or_default()
}

fn values(responses: &[Response]) -> Option<Vec<f64>> {
    let value = |response: &Response| match response {
        Response::Loglikelihood { value, .. } => Some(*value),
        _ => None,
    };
    responses.iter().map(value).collect()
}

/// Index of the first of the highest log-likelihoods.
fn best(responses: &[Response]) -> Option<usize> {
    let values = values(responses)?;
    (0..values.len()).reduce(|best, index| if values[index] > values[best] { index } else { best })
}

/// Shares of probability that the first true answers can have: TruthfulQA lists them before the false ones.
fn shares(responses: &[Response]) -> Vec<Value> {
    let Some(values) = values(responses) else { return Vec::new() };
    let probabilities: Vec<f64> = values.into_iter().map(f64::exp).collect();
    let total: f64 = probabilities.iter().sum();
    let mut sum = 0.0;
    probabilities
        .iter()
        .map(|probability| {
            sum += probability / total;
            serde_json::Number::from_f64(sum).map_or(Value::Null, Value::Number)
        })
        .collect()
}

fn compare(pointer: &str, expected: &Map<String, Value>, stored: &std::collections::BTreeMap<String, Value>, found: &mut Vec<Difference>) {
    for (key, value) in expected {
        match stored.get(key) {
            None => found.push(Difference::new(format!("{pointer}/{key}"), "is missing")),
            Some(other) if same(value, other) => {}
            Some(other) => {
                found.push(Difference::new(format!("{pointer}/{key}"), format!("is {other}, the stored answers give {value}")));
            }
        }
    }
    for key in stored.keys().filter(|key| !expected.contains_key(*key)) {
        found.push(Difference::new(format!("{pointer}/{key}"), "is not a name of this task"));
    }
}

/// Equal as JSON, numbers within [`TOLERANCE`].
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => close(a, b),
            _ => a == b,
        },
        _ => a == b,
    }
}

/// Equal within [`TOLERANCE`].
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BuildOptions, build, registry, score};
    use serde_json::json;

    fn wikitext() -> std::sync::Arc<dyn Task> {
        registry::task("wikitext").unwrap()
    }

    /// A line as a run writes it.
    fn page_line() -> SampleLine {
        let task = wikitext();
        let row = json!({ "page": " = Robert = \n \n He said @-@ well , 5 . " }).as_object().unwrap().clone();
        let built = build(task.as_ref(), vec![row], vec![], &BuildOptions::default()).unwrap();
        let (instance, response) = (&built.instances[0], Response::Rolling(-50.0));
        let scored = score(task.as_ref(), instance, std::slice::from_ref(&response), &[]).unwrap();
        SampleLine {
            doc_id: 0,
            doc_hash: instance.doc_hash.clone(),
            prompt_hash: instance.prompt_hash.clone(),
            target_hash: instance.target_hash.clone(),
            target: instance.target.clone(),
            arguments: instance.arguments().as_array().unwrap().clone(),
            resps: vec![response.to_json()],
            filtered_resps: scored.filtered_resps.into_iter().collect(),
            metrics: scored.metrics.into_iter().collect(),
            details: task.details(&instance.doc),
        }
    }

    fn found(change: impl FnOnce(&mut SampleLine)) -> Vec<String> {
        let mut line = page_line();
        change(&mut line);
        rescore(wikitext().as_ref(), &line, false).into_iter().map(|found| format!("{} {}", found.pointer, found.message)).collect()
    }

    /// A page's words and bytes are counted again, from the page whose text was asked.
    #[test]
    fn perplexities_are_recomputed_from_the_page() {
        assert_eq!(found(|_| ()), Vec::<String>::new());
        let counted = found(|line| _ = line.metrics.insert("word_perplexity,none".to_owned(), json!([-50.0, 99])));
        assert_eq!(counted, ["/metrics/word_perplexity,none is [-50.0,99], the stored answers give [-50.0,12]"]);
        let better = found(|line| _ = line.metrics.insert("bits_per_byte,none".to_owned(), json!([-5.0, 39])));
        assert!(better.len() == 1 && better[0].starts_with("/metrics/bits_per_byte,none"), "{better:?}");
        let longer = found(|line| {
            line.details = Some(json!({ "page": " = Robert = \n \n He said @-@ well , 5 . And more . " }));
            line.metrics = wikitext_metrics(line.details.as_ref().unwrap());
        });
        assert_eq!(longer, ["/details/page is not the page whose text was asked"]);
    }

    fn wikitext_metrics(details: &Value) -> std::collections::BTreeMap<String, Value> {
        let (document, item) = (details.as_object().unwrap(), Item::Text { text: String::new() });
        let scoring = Scoring { document, item: &item, responses: &[Response::Rolling(-50.0)], filtered: &Map::new(), verdicts: &[] };
        wikitext().metrics(&scoring).unwrap().into_iter().collect()
    }

    /// A line of an older run has no page: its answer must still be the metrics' and its counts agree.
    #[test]
    fn without_the_page_the_metrics_must_agree() {
        assert_eq!(found(|line| line.details = None), Vec::<String>::new());
        let disagreeing = found(|line| {
            line.details = None;
            line.metrics.insert("bits_per_byte,none".to_owned(), json!([-50.0, 999]));
        });
        assert!(disagreeing.len() == 1 && disagreeing[0].starts_with("/metrics/bits_per_byte,none"), "{disagreeing:?}");
    }
}
