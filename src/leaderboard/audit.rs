//! What a run says about itself, checked against what follows from it.

use super::canonical;
use super::pillars::{PillarSpec, chance_corrected, summarise};
use super::ranking::RANKED_SUITE;
use super::run::{RUN_SCHEMA_VERSION, Run, TaskRecord, TaskStatus};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// A field that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// JSON pointer into the file (`/tasks/boolq/score`).
    pub pointer: String,
    /// What is wrong: what stands there and what follows from the rest.
    pub message: String,
}

impl Difference {
    /// A difference at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// Checks `run.json` by itself: the id and everything that it is a digest of, statuses, chance-corrected scores, counts, pillars
/// and aggregate. `pillars` are those of the run's suite at the run's version; `None` where this program does not know that version.
#[must_use]
pub fn audit_run(run: &Run, pillars: Option<&[PillarSpec]>) -> Vec<Difference> {
    let mut found: Vec<Difference> = Vec::new();
    if run.schema_version != RUN_SCHEMA_VERSION {
        found.push(Difference::new("/schema_version", format!("is {}, this program reads {RUN_SCHEMA_VERSION}", run.schema_version)));
    }
    found.extend(run.identity.contradictions(run).into_iter().map(|(pointer, message)| Difference { pointer, message }));
    if run.finished_at < run.started_at {
        found.push(Difference::new("/finished_at", "is before the run began"));
    }
    // The quick suite takes a part of the documents by its own rule.
    let limited = run.limit.is_some() || run.suite.name != RANKED_SUITE;
    for (name, task) in &run.tasks {
        audit_task(&format!("/tasks/{}", escape(name)), task, limited, &mut found);
    }
    for (name, probe) in &run.probes {
        let pointer = format!("/probes/{}", escape(name));
        // It asks a part of the documents by its own rule.
        audit_task(&pointer, probe, true, &mut found);
        audit_no_score(&pointer, probe, &mut found);
    }
    audit_samples(run, &mut found);
    match pillars {
        None => found.push(Difference::new(
            "/suite/version",
            format!("suite {} {} is not known to this program: its pillars cannot be recomputed", run.suite.name, run.suite.version),
        )),
        Some(specs) => {
            let (pillars, aggregate) = summarise(specs, &run.tasks);
            found.extend(differences("/pillars", &pillars, &run.pillars));
            found.extend(differences("/aggregate", &aggregate, &run.aggregate));
        }
    }
    found
}

fn audit_task(pointer: &str, task: &TaskRecord, limited: bool, found: &mut Vec<Difference>) {
    let mut say = |field: &str, message: String| found.push(Difference::new(format!("{pointer}/{field}"), message));
    match task.status {
        TaskStatus::Ok if task.n == 0 => say("n", "is 0, but the task counts as finished".to_owned()),
        TaskStatus::Ok if task.n > task.n_total => say("n", format!("is {}, more than the {} there are", task.n, task.n_total)),
        TaskStatus::Ok if task.n < task.n_total && !limited => {
            say("n", format!("is {} of {}, but the run says that it has no limit", task.n, task.n_total));
        }
        TaskStatus::Failed | TaskStatus::Invalid if task.score.is_some() => {
            say("score", "is a number, but the task has no valid result".to_owned());
        }
        TaskStatus::Failed | TaskStatus::Invalid if task.reason.is_none() => say("reason", "is missing".to_owned()),
        _ => {}
    }
    if task.score.is_some_and(|score| !(0.0..=100.0).contains(&score)) {
        say("score", "is not between 0 and 100".to_owned());
    }
    let expected = chance_corrected(task.score, task.chance);
    if task.chance_corrected != expected {
        say("chance_corrected", format!("is {}, follows as {}", text(task.chance_corrected), text(expected)));
    }
    for (name, leaf) in &task.subtasks {
        audit_task(&format!("{pointer}/subtasks/{}", escape(name)), leaf, limited, found);
    }
}

/// A probe has figures and no score.
fn audit_no_score(pointer: &str, probe: &TaskRecord, found: &mut Vec<Difference>) {
    if probe.score.is_some() || probe.score_stderr.is_some() || probe.score_ci95.is_some() {
        found.push(Difference::new(format!("{pointer}/score"), "is a number, but a probe has no score"));
    }
    for (name, leaf) in &probe.subtasks {
        audit_no_score(&format!("{pointer}/subtasks/{}", escape(name)), leaf, found);
    }
}

/// Every scored (sub)task and probe has exactly one sample file with as many lines as documents.
fn audit_samples(run: &Run, found: &mut Vec<Difference>) {
    let mut leaves: Vec<(&str, &TaskRecord)> = Vec::new();
    for (name, task) in run.tasks.iter().chain(&run.probes) {
        if task.subtasks.is_empty() {
            leaves.push((name, task));
        }
        leaves.extend(task.subtasks.iter().map(|(name, leaf)| (name.as_str(), leaf)));
    }
    let mut seen = BTreeSet::new();
    for (index, sample) in run.samples.iter().enumerate() {
        if !seen.insert(sample.task.as_str()) {
            found.push(Difference::new(format!("/samples/{index}"), format!("is a second file of task {}", sample.task)));
        }
        if !leaves.iter().any(|(name, _)| *name == sample.task) {
            found.push(Difference::new(format!("/samples/{index}/task"), format!("is {}, a task that the run does not have", sample.task)));
        }
    }
    for (name, leaf) in leaves.into_iter().filter(|(_, leaf)| leaf.status == TaskStatus::Ok) {
        match run.samples.iter().position(|sample| sample.task == name) {
            None => found.push(Difference::new("/samples", format!("has no file of task {name}, which has a score"))),
            Some(index) if run.samples[index].n != leaf.n => {
                let message = format!("is {}, but the task scored {} documents", run.samples[index].n, leaf.n);
                found.push(Difference::new(format!("/samples/{index}/n"), message));
            }
            Some(_) => {}
        }
    }
}

/// Every place where two values differ as JSON: what follows (`expected`) and what stands there (`actual`).
pub fn differences<T: Serialize, U: Serialize>(pointer: &str, expected: &T, actual: &U) -> Vec<Difference> {
    let mut found = Vec::new();
    match (canonical::to_value(expected), canonical::to_value(actual)) {
        (Ok(expected), Ok(actual)) => compare(pointer, &expected, &actual, &mut found),
        _ => found.push(Difference::new(pointer, "cannot be written as JSON")),
    }
    found
}

fn compare(pointer: &str, expected: &Value, actual: &Value, found: &mut Vec<Difference>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                let pointer = format!("{pointer}/{}", escape(key));
                match actual.get(key) {
                    Some(other) => compare(&pointer, value, other, found),
                    None => found.push(Difference::new(pointer, format!("is missing, follows as {}", short(value)))),
                }
            }
            for (key, value) in actual.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                found.push(Difference::new(
                    format!("{pointer}/{}", escape(key)),
                    format!("is {}, but does not follow from anything", short(value)),
                ));
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare(&format!("{pointer}/{index}"), expected, actual, found);
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            let message = format!("has {} elements, follows with {}", actual.len(), expected.len());
            found.push(Difference::new(pointer, message));
        }
        _ if expected == actual => {}
        _ => found.push(Difference::new(pointer, format!("is {}, follows as {}", short(actual), short(expected)))),
    }
}

/// A key as a part of a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn text(number: Option<f64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(77).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_every_place() {
        let expected = json!({"a": 1, "b": {"c/d": [1, 2]}, "e": null});
        let actual = json!({"a": 1, "b": {"c/d": [1, 3]}, "f": "x"});
        let found: Vec<String> = differences("", &expected, &actual).into_iter().map(|d| format!("{} {}", d.pointer, d.message)).collect();
        assert_eq!(
            found,
            ["/b/c~1d/1 is 3, follows as 2", "/e is missing, follows as null", "/f is \"x\", but does not follow from anything"]
        );
        assert_eq!(differences("", &expected, &expected), []);
    }
}
