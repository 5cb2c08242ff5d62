//! `sign`, and `compare`: two runs, a run and its own export in the harness's form, and logs that do not fit.

use crate::synthetic::Recipe;
use crate::synthetic_samples::write_run;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn slm_bench(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slm-bench"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program can be started")
}

#[track_caller]
fn must(arguments: &[&str], folder: &Path) -> String {
    let output = slm_bench(arguments, folder);
    assert!(output.status.success(), "{arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn json_of(arguments: &[&str], folder: &Path) -> Value {
    serde_json::from_str(&must(&[&["compare", "--format", "json"], arguments].concat(), folder)).expect("JSON")
}

fn run_folder(folder: &Path, repo: &str, ability: f64) -> String {
    let recipe = Recipe { suite_version: "2", ..Recipe::new(repo, ability) };
    let path = write_run(&folder.join("results"), &recipe);
    path.parent().and_then(Path::to_str).expect("a folder").to_owned()
}

fn task<'a>(comparison: &'a Value, name: &str) -> &'a Value {
    comparison["tasks"].as_array().and_then(|tasks| tasks.iter().find(|task| task["name"] == name)).expect("the task is compared")
}

/// Every task, pillar and the aggregate of two complete runs; the difference of two scores is the difference of what `run.json` says.
#[test]
fn two_runs_are_compared_from_task_to_aggregate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (a, b) = (run_folder(folder.path(), "lab/strong", 0.9), run_folder(folder.path(), "lab/weak", 0.1));
    let comparison = json_of(&[&a, &b], folder.path());
    let runs = [&a, &b]
        .map(|run| -> Value { serde_json::from_slice(&fs::read(Path::new(run).join("run.json")).expect("it is there")).expect("JSON") });
    let score = |run: usize, pointer: &str| runs[run].pointer(pointer).and_then(Value::as_f64).expect("a score");
    assert_eq!(comparison["tasks"].as_array().map(Vec::len), Some(15), "mmlu is one task");
    for compared in comparison["tasks"].as_array().expect("tasks") {
        let pointer = format!("/tasks/{}/score", compared["name"].as_str().expect("a name"));
        let expected = score(0, &pointer) - score(1, &pointer);
        assert!((compared["difference"].as_f64().expect("a number") - expected).abs() < 1e-9, "{pointer}");
        assert_eq!(compared["documents"]["prompts_differ"], 0);
    }
    let expected = score(0, "/aggregate/score") - score(1, "/aggregate/score");
    let aggregate = &comparison["aggregate"];
    assert!((aggregate["difference"].as_f64().expect("a number") - expected).abs() < 1e-9 && expected > 0.0);
    assert!(aggregate["p_value"].as_f64().expect("a number") < 0.001);
    assert_eq!(comparison["pillars"].as_array().map(Vec::len), Some(5));
    assert_eq!(task(&comparison, "mmlu")["documents"]["matched"], 114);

    let text = must(&["compare", &a, &b], folder.path());
    assert!(
        text.contains("lab/strong@") && text.contains("aggregate") && text.contains("The aggregate of A is higher beyond chance"),
        "{text}"
    );
    must(&["compare", &a, &b, "--format", "markdown", "--output", "out/comparison.md", "--tasks", "mmlu,boolq"], folder.path());
    let markdown = fs::read_to_string(folder.path().join("out/comparison.md")).expect("it was written");
    assert!(markdown.contains("| boolq | 8 |") && !markdown.contains("| aggregate"), "{markdown}");
}

fn exported(folder: &Path, run: &str) -> PathBuf {
    must(&["samples", "export", "--lm-eval", "--run", run, "--output", "logs"], folder);
    folder.join("logs")
}

fn change_log(logs: &Path, task: &str, change: impl Fn(usize, &mut Value)) {
    let found = fs::read_dir(logs).expect("it is there").map(|entry| entry.expect("an entry").path());
    let path = found.into_iter().find(|path| path.to_string_lossy().contains(&format!("samples_{task}_"))).expect("the task's log");
    let text = fs::read_to_string(&path).expect("text");
    let lines = text.lines().enumerate().map(|(number, line)| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        change(number, &mut line);
        line.to_string() + "\n"
    });
    let text: String = lines.collect();
    fs::write(&path, text).expect("it can be written");
}

/// The same answers in the harness's form are no difference, in any task; a log whose answers, prompts or documents were others shows each.
#[test]
fn a_run_is_compared_with_a_log_of_the_harness() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = run_folder(folder.path(), "lab/model", 0.5);
    let logs = exported(folder.path(), &run);
    let same = json_of(&[&run, "logs"], folder.path());
    assert_eq!((&same["warnings"], same["tasks"].as_array().map(Vec::len)), (&json!([]), Some(15)));
    for compared in same["tasks"].as_array().expect("tasks") {
        assert_eq!(
            (&compared["difference"], &compared["p_value"], &compared["examples"]),
            (&json!(0.0), &json!(1.0), &json!([])),
            "{compared}"
        );
    }
    change_log(&logs, "boolq", |number, line| {
        line["acc"] = json!(1.0 - line["acc"].as_f64().expect("a number"));
        if number < 3 {
            line["prompt_hash"] = json!("0".repeat(64));
        }
        if number == 7 {
            line["doc_hash"] = json!("0".repeat(64));
        }
    });
    let other = json_of(&[&run, "logs", "--examples", "9"], folder.path());
    let boolq = task(&other, "boolq");
    assert_eq!(boolq["documents"], json!({"a": 8, "b": 8, "matched": 7, "prompts_differ": 3, "targets_differ": 0}));
    assert_eq!(boolq["only_a"].as_u64().zip(boolq["only_b"].as_u64()).map(|(a, b)| a + b), Some(7), "every answer was turned");
    assert_eq!(boolq["examples"].as_array().map(Vec::len), Some(7));
    let warnings = other["warnings"].to_string();
    assert!(warnings.contains("3 of 7 documents were asked with different prompts") && warnings.contains("1 of A and 1 of B are left out"));
}

/// Bad input is named: nothing there, no log, a line that is not JSON, a sample file that is not the run's.
#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = run_folder(folder.path(), "lab/model", 0.5);
    let refused = |b: &str, message: &str| {
        let output = slm_bench(&["compare", &run, b], folder.path());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(message), "{message}: {error}");
    };
    refused("nowhere.jsonl", "cannot open nowhere.jsonl");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    refused("empty", "neither a run.json nor sample logs");
    fs::write(folder.path().join("bad.jsonl"), "{\"doc_id\": 0}\n").expect("a file");
    refused("bad.jsonl", "line 1: `metrics` is missing");
    fs::write(folder.path().join("cut.jsonl"), "{\"doc_id\": 0").expect("a file");
    refused("cut.jsonl", "line 1: not JSON");
    let forged = Path::new(&run).join("samples/boolq.jsonl.zst");
    fs::write(&forged, zstd::encode_all(&b""[..], 1).expect("zstd")).expect("a file");
    refused(&run, "its SHA-256 differs");
}

/// A signature holds until the run is changed, and a missing one is found where signatures are required.
#[test]
fn signed_runs_are_verified() {
    use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = run_folder(folder.path(), "lab/model", 0.5);
    let key = PrivateKey::new(KeypairData::from(Ed25519Keypair::from_seed(&[7; 32])), "lab").expect("a key");
    fs::write(folder.path().join("key"), key.to_openssh(ssh_key::LineEnding::LF).expect("text").as_bytes()).expect("a file");
    fs::write(folder.path().join("allowed"), format!("lab@example.org {}\n", key.public_key().to_openssh().expect("text")))
        .expect("a file");
    let verify = ["verify", "--results", "results", "--allowed-signers", "allowed", "--require-signatures"];
    let finds = |message: &str| {
        let output = slm_bench(&verify, folder.path());
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(1) && found.contains(message), "{message}: {found}");
    };
    finds("is not signed");
    must(&["sign", &run, "--key", "key"], folder.path());
    must(&verify, folder.path());
    let path = Path::new(&run).join("run.json");
    let changed = fs::read_to_string(&path).expect("text").replace("\"Synthetic\"", "\"Another\"");
    fs::write(&path, changed).expect("it can be written");
    finds("is not what run.json.sig signs");
}
