//! The sandbox's verdicts on honest programs are those of the harness: the reference solutions of HumanEval and MBPP, each with one
//! mutated assertion, and the metric's own verdicts on awkward programs.

use crate::data;
use serde_json::{Map, Value};
use slm_benchmark::hub::{Hub, HubConfig};
use slm_benchmark::sandbox::{Execution, Program, Sandbox, SandboxConfig, Verdict};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn sandbox() -> Sandbox {
    let config = SandboxConfig::new(PathBuf::from(env!("CARGO_BIN_EXE_slm-bench")));
    let sandbox = Sandbox::start(config).expect("this machine isolates");
    println!("sandbox level {}, Python {}", sandbox.level(), sandbox.python_version());
    sandbox
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn rows(repo: &str, config: &str) -> Vec<Map<String, Value>> {
    let hub = Hub::new(&HubConfig::offline(data::hub())).expect("the offline hub");
    hub.dataset_split(repo, Some(config), "test", None).expect("the rows").rows
}

fn text<'a>(row: &'a Map<String, Value>, name: &str) -> &'a str {
    row[name].as_str().expect("a text")
}

fn tests(row: &Map<String, Value>) -> Vec<String> {
    row["test_list"].as_array().expect("a list").iter().map(|test| test.as_str().expect("a text").to_owned()).collect()
}

/// A reference solution: a name for messages, its program in two parts, and the same as one text.
struct Reference {
    name: String,
    program: Program,
    assembled: String,
}

fn references() -> Vec<Reference> {
    let human_eval = rows("openai/openai_humaneval", "openai_humaneval").into_iter().map(|row| {
        let (prompt, solution, test, entry) =
            (text(&row, "prompt"), text(&row, "canonical_solution"), text(&row, "test"), text(&row, "entry_point"));
        Reference {
            name: text(&row, "task_id").to_owned(),
            program: Program::human_eval(prompt, solution, test, entry),
            assembled: format!("{prompt}{solution}\n{test}\ncheck({entry})"),
        }
    });
    let mbpp = rows("google-research-datasets/mbpp", "full").into_iter().map(|row| Reference {
        name: format!("MBPP/{}", row["task_id"]),
        program: Program::mbpp(text(&row, "code"), &tests(&row)),
        assembled: format!("{}\n{}", text(&row, "code"), tests(&row).join("\n")),
    });
    let all: Vec<Reference> = human_eval.chain(mbpp).collect();
    assert_eq!(all.len(), 164 + 500);
    all
}

/// The test with one of its assertions turned around: the one numbered `which`, counted round.
fn mutated(test: &str, which: usize) -> String {
    let begins_line = |place: usize| test[..place].rsplit('\n').next().is_some_and(|before| before.trim().is_empty());
    let places: Vec<usize> = test.match_indices("assert ").map(|(place, _)| place).filter(|place| begins_line(*place)).collect();
    let place = places[which % places.len()];
    format!("{}assert not {}", &test[..place], &test[place + "assert ".len()..])
}

fn expect_task_367_alone_to_fail(references: &[Reference], executions: &[Execution]) {
    let mut wrong = Vec::new();
    for (reference, execution) in references.iter().zip(executions) {
        let (verdict, reason) = if reference.name == "MBPP/367" {
            // Its tests need `test_setup_code`, which the harness does not run.
            (Verdict::Failed, "NameError: name 'root' is not defined")
        } else {
            (Verdict::Passed, "")
        };
        if (execution.verdict, execution.reason.as_str()) != (verdict, reason) {
            wrong.push(format!("{}: {} {}", reference.name, execution.verdict, execution.reason));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// All 164 HumanEval and 499 of 500 MBPP reference solutions pass; in parts and as one text.
#[test]
fn reference_solutions_pass_and_their_throughput() {
    let (sandbox, references) = (sandbox(), references());
    let programs: Vec<Program> = references.iter().map(|reference| reference.program.clone()).collect();
    let texts: Vec<String> = references.iter().map(|reference| reference.assembled.clone()).collect();
    let begun = Instant::now();
    let executions = sandbox.run_all(&programs, cores(), &|_| {});
    let isolated = programs.len() as f64 / begun.elapsed().as_secs_f64();
    expect_task_367_alone_to_fail(&references, &executions);
    let (slowest, time) = references
        .iter()
        .zip(&executions)
        .map(|(reference, execution)| (&reference.name, execution.cpu_s))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .expect("programs");
    let begun = Instant::now();
    let bare_passes = run_bare(&texts);
    let bare = texts.len() as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(bare_passes, 164 + 499, "bare python3 agrees");
    println!("{isolated:.1} programs/s isolated, {bare:.1} by bare python3: {:.2} of it, {} at a time", isolated / bare, cores());
    println!("slowest: {slowest}, {time:.2} s of processor time");

    let begun = Instant::now();
    let executions = sandbox.run_all_texts(&texts, cores(), &|_| {});
    println!("{:.1} assembled texts/s isolated", texts.len() as f64 / begun.elapsed().as_secs_f64());
    expect_task_367_alone_to_fail(&references, &executions);
}

/// The programs as files, each by a fresh bare interpreter, as many at a time as in the sandbox; how many ended well.
fn run_bare(texts: &[String]) -> usize {
    let python = if PathBuf::from("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
    let folder = tempfile::tempdir().expect("a folder");
    let (next, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| {
                while let Some((number, text)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    texts.get(number).map(|text| (number, text))
                } {
                    let file = folder.path().join(format!("{number}.py"));
                    std::fs::write(&file, text).expect("written");
                    let status =
                        Command::new(python).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("python3 runs");
                    if status.success() {
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    passed.into_inner()
}

/// With one assertion turned around, every reference solution fails, by that assertion.
#[test]
fn mutated_assertions_fail() {
    let (sandbox, references) = (sandbox(), references());
    let programs: Vec<Program> = references
        .iter()
        .enumerate()
        .map(|(number, reference)| Program { test: mutated(&reference.program.test, number), ..reference.program.clone() })
        .collect();
    let executions = sandbox.run_all(&programs, cores(), &|_| {});
    let wrong: Vec<String> = references
        .iter()
        .zip(&executions)
        .filter(|(reference, execution)| {
            let kind = if reference.name == "MBPP/367" { "NameError" } else { "AssertionError" };
            execution.verdict != Verdict::Failed || !execution.reason.starts_with(kind)
        })
        .map(|(reference, execution)| format!("{}: {} {}", reference.name, execution.verdict, execution.reason))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The verdicts of the metric itself on awkward programs hold, in parts and as one text: early exits, sleeps, guards, line ends.
#[test]
fn verdicts_of_code_eval_hold() {
    let sandbox = sandbox();
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(data::golden().join("code_eval_cases.json")).expect("readable")).expect("JSON");
    let cases = golden["cases"].as_array().expect("cases");
    let part = |case: &Value, name: &str| case[name].as_str().expect("a text").to_owned();
    let programs: Vec<Program> = cases
        .iter()
        .map(|case| Program { candidate: part(case, "prediction"), test: part(case, "reference"), ..Program::default() })
        .collect();
    let texts: Vec<String> = programs.iter().map(|program| format!("{}\n{}", program.candidate, program.test)).collect();
    let in_parts = sandbox.run_all(&programs, cores(), &|_| {});
    let in_one = sandbox.run_all_texts(&texts, cores(), &|_| {});
    let mut wrong = Vec::new();
    for (case, executions) in cases.iter().zip(in_parts.iter().zip(&in_one)) {
        let (name, result) = (part(case, "name"), part(case, "result"));
        // A program that ends itself sends the metric no result, which it calls a time-out; here it is a failure that says so.
        let expected = match result.as_str() {
            "passed" => Verdict::Passed,
            "timed out" if !name.starts_with("os._exit") => Verdict::TimedOut,
            _ => Verdict::Failed,
        };
        for (form, execution) in [("parts", executions.0), ("text", executions.1)] {
            let message = result.strip_prefix("failed: ").unwrap_or_default();
            let good = execution.verdict == expected && (expected != Verdict::Failed || execution.reason.contains(message));
            let sign = if good { ' ' } else { '!' };
            println!("{sign} {name} ({form}): {result:?} there, {} {:?} here", execution.verdict, execution.reason);
            if !good {
                wrong.push(name.clone());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
