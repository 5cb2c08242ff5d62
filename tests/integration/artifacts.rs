//! The commands that work on artifacts, on a repository of thirty runs: registry, website, verify, report, archive, samples.

use crate::synthetic::Recipe;
use crate::synthetic_samples::{encode, write_run, write_run_json, write_submission};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slm_benchmark::bot::paired_tests;
use slm_benchmark::bot::publication::{FinishedRun, changes, commit_message};
use slm_benchmark::leaderboard::TestedPairs;
use slm_benchmark::leaderboard::pillars::summarise;
use slm_benchmark::leaderboard::run::{Limit, Run, SampleLine, TaskRecord, TaskStatus};
use slm_benchmark::publish::{Attempts, Credentials, Identity, Publisher, Tip};
use slm_benchmark::submission::{self, InputKind};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A repository in a temporary folder.
struct Repository {
    folder: tempfile::TempDir,
    cache: tempfile::TempDir,
    runs: Vec<PathBuf>,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_slm-bench");
/// Everything that is derived from thirty runs.
const DERIVED: [&str; 7] = [
    "models/registry.json",
    "website/assets/data/leaderboard.json",
    "results/processed/report.md",
    "results/processed/report.html",
    "results/processed/report.json",
    "comparison.json",
    "comparison.md",
];

fn recipe(model: u32, quantization: &'static str) -> Recipe {
    Recipe {
        quantization,
        suite_version: "2",
        ability: 0.1 + 0.08 * f64::from(model),
        measured: 100_000_000 + 10_000_000 * u64::from(model),
        day: i64::from(model),
        without: if model == 9 { &["coding"] } else { &[] },
        limit: (model == 8).then_some(Limit::Documents(4)),
        ..Recipe::new(&format!("lab/model-{model}"), 0.5)
    }
}

impl Repository {
    /// Models with a run of each quantization; the last two of ten models are preliminary and partial.
    fn new(models: impl IntoIterator<Item = u32>, quantizations: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = tempfile::tempdir().expect("a temporary folder");
        let mut repository = Self { folder, cache, runs: Vec::new() };
        for model in models {
            let results = repository.path("results/raw");
            repository.runs.extend(quantizations.iter().map(|quantization| write_run(&results, &recipe(model, quantization))));
            let submission = write_submission(&repository.path("models/submissions"), &recipe(model, "FP16"));
            let results = results.join(recipe(model, "FP16").submission().id);
            repository.must(&[
                "registry",
                "update",
                "--submission",
                &text(&submission),
                "--results",
                &text(&results),
                "--registry",
                "models/registry.json",
            ]);
        }
        if !repository.runs.is_empty() {
            repository.must(&[
                "website",
                "update",
                "--registry",
                "models/registry.json",
                "--output",
                "website/assets/data/leaderboard.json",
            ]);
        }
        repository
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(PROGRAM, arguments).output().expect("the program can be started")
    }

    /// A program of ours in the repository, with a cache folder outside of it.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG").env("XDG_CACHE_HOME", self.cache.path());
        command
    }

    /// Runs a command that must succeed, and gives what it printed.
    #[track_caller]
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }

    /// `verify` of everything: exit code and output.
    fn verify(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(&[&["verify"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("the path is text").to_owned()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file can be read")).expect("the file is JSON")
}

fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_string_pretty(value).expect("JSON") + "\n").expect("the file can be written");
}

/// Changes `run.json` as plain JSON.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path);
    change(&mut value);
    write_json(path, &value);
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    *value.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there")) = new;
}

/// Changes a sample file and the figures of `run.json` that only count and digest it, as a careful forger would.
fn forge_samples(run_path: &Path, task: &str, change: impl FnOnce(&mut Vec<SampleLine>)) {
    let mut run: Run = serde_json::from_value(read_json(run_path)).expect("a run");
    let path = run_path.with_file_name("samples").join(format!("{task}.jsonl.zst"));
    let bytes = zstd::decode_all(fs::File::open(&path).expect("the file is there")).expect("zstd");
    let mut lines: Vec<SampleLine> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line"))
        .collect();
    change(&mut lines);
    let bytes = encode(&lines);
    fs::write(&path, &bytes).expect("the file can be written");
    let sample = run.samples.iter_mut().find(|sample| sample.task == task).expect("the run has the task");
    sample.sha256 = hex::encode(Sha256::digest(&bytes));
    sample.n = lines.len() as u64;
    write_run_json(run_path, &run);
}

/// Changes a run and everything in it that follows, the id and its folder apart.
fn forge_run(path: &Path, change: impl FnOnce(&mut Run)) {
    let mut run: Run = serde_json::from_value(read_json(path)).expect("a run");
    change(&mut run);
    (run.pillars, run.aggregate) = summarise(&crate::synthetic::pillars(), &run.tasks);
    write_run_json(path, &run);
}

#[test]
fn an_untouched_repository_of_thirty_runs_verifies_and_the_same_artifacts_give_the_same_bytes() {
    let repository = Repository::new(0..10, &["FP16", "Q8_0", "Q4_K_M"]);
    let (code, out) = repository.verify(&[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("verified: 30 runs, "), "{out}");

    let board = read_json(&repository.path("website/assets/data/leaderboard.json"));
    assert_eq!(board["counts"], json!({"ranked": 8, "partial": 1, "preliminary": 1}));
    assert_eq!(board["models"][0]["quantizations"].as_array().map(Vec::len), Some(2));

    // Folded in another order, under another locale and time zone.
    let before = derive_all(&repository, PROGRAM, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[("LC_ALL", "C"), ("TZ", "UTC")]);
    assert_eq!(
        before["website/assets/data/leaderboard.json"],
        fs::read(repository.path("website/assets/data/leaderboard.json")).expect("it is there")
    );
    let elsewhere = [("LC_ALL", "tr_TR.UTF-8"), ("LANG", "tr_TR.UTF-8"), ("TZ", "Pacific/Kiritimati")];
    let after = derive_all(&repository, PROGRAM, &[7, 3, 9, 0, 1, 8, 2, 6, 5, 4], &elsewhere);
    assert_same(&before, &after);
}

/// Derives everything anew with a program and variables, and gives each file's bytes and what `verify` printed.
fn derive_all(repository: &Repository, program: &str, order: &[u32], variables: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let run = |arguments: &[&str]| {
        let output = repository.command(program, arguments).envs(variables.iter().copied()).output().expect("the program can be started");
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for file in DERIVED {
        fs::remove_file(repository.path(file)).ok();
    }
    for model in order {
        let submission = format!("models/submissions/lab--model-{model}.yml");
        let results = format!("results/raw/lab--model-{model}");
        run(&["registry", "update", "--submission", &submission, "--results", &results, "--registry", "models/registry.json"]);
    }
    run(&["website", "update", "--registry", "models/registry.json", "--output", "website/assets/data/leaderboard.json"]);
    run(&["report", "--results-dir", "results/raw", "--output", "results/processed/report.md"]);
    let folder = |run: usize| text(repository.runs[run].parent().expect("a folder"));
    for format in ["json", "markdown"] {
        let extension = if format == "json" { "json" } else { "md" };
        let printed = run(&["compare", &folder(0), &folder(4), "--format", format]);
        fs::write(repository.path(&format!("comparison.{extension}")), printed).expect("the file can be written");
    }
    let read = |file: &str| (file.to_owned(), fs::read(repository.path(file)).expect("it was written"));
    let mut files: BTreeMap<String, Vec<u8>> = DERIVED.into_iter().map(read).collect();
    files.insert("what verify printed".to_owned(), run(&["verify"]));
    files
}

fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    for (file, bytes) in one {
        assert!(
            *bytes == other[file],
            "{file} differs:\n{}\n{}",
            first_difference(bytes, &other[file]),
            first_difference(&other[file], bytes)
        );
    }
    assert_eq!(one.len(), other.len());
}

/// The line in which bytes begin to differ from others.
fn first_difference(bytes: &[u8], other: &[u8]) -> String {
    let differing = bytes.split(|byte| *byte == b'\n').zip(other.split(|byte| *byte == b'\n')).find(|(a, b)| a != b);
    String::from_utf8_lossy(differing.map_or(b"(one of them ends)", |(line, _)| line)).chars().take(300).collect()
}

/// Names another build of the program.
const OTHER_BUILD: &str = "SLM_BENCH_OTHER_BUILD";

/// A debug build and a release build derive the same bytes from the same artifacts, and each verifies what the other one derived.
#[test]
#[ignore = "needs another build of the program, named in SLM_BENCH_OTHER_BUILD; .ci/run gives it a debug build"]
fn another_build_gives_the_same_bytes() {
    let other = std::env::var(OTHER_BUILD).expect("SLM_BENCH_OTHER_BUILD names another build of slm-bench");
    let content = |path: &str| fs::read(path).expect("the program can be read");
    assert!(content(&other) != content(PROGRAM), "{other} is the same build");
    let repository = Repository::new(0..10, &["FP16", "Q8_0", "Q4_K_M"]);
    let models: Vec<u32> = (0..10).collect();
    // Each with a cache of its own, so that both compute everything.
    let [mine, theirs] = [(PROGRAM, "one"), (other.as_str(), "other")].map(|(program, cache)| {
        let cache = text(&repository.cache.path().join(cache));
        derive_all(&repository, program, &models, &[("XDG_CACHE_HOME", &cache)])
    });
    assert_same(&mine, &theirs);
    let (code, out) = repository.verify(&[]);
    assert_eq!(code, Some(0), "{out}");
    println!("{} files of 30 runs are the same bytes by {PROGRAM} and {other}", mine.len() - 1);
}

/// Results of paired tests that are kept between two derivations change no byte, whatever has become of their file.
#[test]
fn the_leaderboard_is_the_same_whatever_the_cache_holds() {
    let repository = Repository::new(0..5, &["FP16", "Q4_K_M"]);
    let expected = fs::read(repository.path("website/assets/data/leaderboard.json")).expect("it is there");
    let caches: Vec<PathBuf> = fs::read_dir(repository.cache.path().join("slm-bench"))
        .expect("the user's cache folder has a file for the registry")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [cache] = caches.as_slice() else { panic!("one file: {caches:?}") };
    let kept = fs::read(cache).expect("it is there");
    let derive = || {
        let arguments = ["website", "update", "--registry", "models/registry.json", "--output", "leaderboard.json"];
        let output = repository.run(&arguments);
        assert!(output.status.success());
        assert!(fs::read(repository.path("leaderboard.json")).expect("it was written") == expected);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(derive(), "", "the whole cache");
    fs::remove_file(cache).expect("it is there");
    assert_eq!(derive(), "", "no cache");
    assert!(fs::read(cache).expect("it is made anew") == kept);
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 1;
    let mut older = kept[..kept.len() - 32].to_vec();
    older[25..29].copy_from_slice(&0_u32.to_le_bytes());
    older.extend(Sha256::digest(&older).to_vec());
    for (bytes, reason) in [
        (flipped, "it is damaged or cut off"),
        (kept[..100].to_vec(), "it is damaged or cut off"),
        (b"{}".to_vec(), "it does not hold results of paired tests"),
        (older, "its results are of version 0 of the test"),
    ] {
        fs::write(cache, bytes).expect("it can be written");
        let said = derive();
        assert!(said.contains("is not used and made anew") && said.contains(reason), "{said}");
        assert!(fs::read(cache).expect("it is made anew") == kept);
    }
    // A cache that cannot be written costs a warning.
    let arguments = ["website", "update", "--registry", "models/registry.json", "--output", "leaderboard.json"];
    let output = repository.run(&[&arguments[..], &["--cache", "models/registry.json/cache"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("are not kept"), "{said}");
    assert!(fs::read(repository.path("leaderboard.json")).expect("it was written") == expected);
}

/// The bot's publication keeps results of paired tests too, and commits the leaderboard that `website update` writes.
#[test]
fn publication_keeps_results_of_paired_tests() {
    let repository = Repository::new(0..4, &["FP16", "Q4_K_M"]);
    let expected = fs::read(repository.path("website/assets/data/leaderboard.json")).expect("it is there");
    let remote = repository.path("remote.git");
    git2::Repository::init_bare(&remote).expect("a bare repository");
    let publisher = Publisher {
        remote: text(&remote),
        branch: "main".to_owned(),
        cache: repository.cache.path().join("publish-cache.git"),
        author: Identity { name: "bot".to_owned(), email: "bot@localhost".to_owned() },
        credentials: Credentials::Anonymous,
        signing_key: None,
        attempts: Attempts::default(),
    };
    let cache = paired_tests::beside(&publisher);
    let mut kept = Vec::new();
    for model in 0..4 {
        let path = repository.path(&format!("models/submissions/lab--model-{model}.yml"));
        let submission = submission::read(&fs::read(path).expect("it is there"), InputKind::File).submission().expect("it is valid");
        let runs: Vec<FinishedRun> = (repository.runs.iter())
            .filter(|path| text(path).contains(&format!("lab--model-{model}/")))
            .map(|path| {
                FinishedRun::new(path.parent().expect("a folder").to_owned(), serde_json::from_value(read_json(path)).expect("a run"))
            })
            .collect();
        let message = commit_message(&submission, &runs, None);
        publisher
            .publish(&message, chrono::DateTime::UNIX_EPOCH, |tip| changes(tip, &submission, &runs, Some(&cache)))
            .expect("it is published");
        kept.push(TestedPairs::from_bytes(&fs::read(&cache).expect("results are kept")).expect("they can be read").len());
    }
    // Each quantization against the model's shown run, and every two models.
    assert_eq!(kept, [1, 2 + 1, 3 + 3, 4 + 6]);
    let mut published = Vec::new();
    let read = |tip: &Tip<'_>| {
        published = tip.read("website/assets/data/leaderboard.json")?.expect("it is there");
        anyhow::Ok(())
    };
    publisher.read(read).expect("the branch can be read");
    assert!(published == expected);
}

/// What was tampered with, where a difference must be named, and how.
type Tampering<'a> = (&'a str, &'a str, Box<dyn Fn(&Repository) + 'a>);

#[test]
fn every_tampering_is_found_and_named() {
    let repository = Repository::new([0, 1, 8], &["FP16"]);
    let run = |index: usize| repository.runs[index].clone();
    let board = "website/assets/data/leaderboard.json";
    let json_edit = |path: PathBuf, pointer: &'static str, new: Value| -> Box<dyn Fn(&Repository)> {
        Box::new(move |_: &Repository| edit(&path, |value| set(value, pointer, new.clone())))
    };
    let published = |path: &'static str, pointer: &'static str, new: Value| -> Box<dyn Fn(&Repository)> {
        Box::new(move |repository: &Repository| edit(&repository.path(path), |value| set(value, pointer, new.clone())))
    };
    let tamperings: Vec<Tampering<'_>> = vec![
        (
            "the other option of WinoGrande made right",
            "winogrande.jsonl.zst: /0/metrics/acc,none",
            Box::new(|_| {
                forge_samples(&run(0), "winogrande", |lines| {
                    let gold = lines[0].details.as_ref().and_then(|details| details["gold"].as_u64()).expect("the right option");
                    lines[0].details = Some(json!({ "gold": 1 - gold }));
                });
            }),
        ),
        (
            "a biased answer called unbiased",
            "bbq.jsonl.zst: /0/metrics/amb_bias_score",
            Box::new(|_| {
                forge_samples(&run(0), "bbq", |lines| {
                    let bias = lines[0].metrics.get_mut("amb_bias_score,none").expect("the bias");
                    bias[1] = json!(1.0 - bias[1].as_f64().unwrap_or(0.0));
                });
            }),
        ),
        (
            "a false answer of TruthfulQA called true",
            "truthfulqa_mc2.jsonl.zst: /0/metrics/acc,none",
            Box::new(|_| {
                forge_samples(&run(0), "truthfulqa_mc2", |lines| {
                    lines[0].details = Some(json!({"mc2_targets": {"labels": [1, 1, 1, 1, 0]}}));
                });
            }),
        ),
        (
            "another program than the model's",
            "humaneval.jsonl.zst: /0/details/programs/0/program/candidate is not what the model wrote",
            Box::new(|_| {
                forge_samples(&run(0), "humaneval", |lines| {
                    let details = lines[0].details.as_mut().expect("programs");
                    details["programs"][0]["program"]["candidate"] = json!("def f():\n    return 1 + 0\n");
                });
            }),
        ),
        (
            "an easier test",
            "mbpp.jsonl.zst: /0/details/programs/0/program/test is not the document's test",
            Box::new(|_| {
                forge_samples(&run(0), "mbpp", |lines| {
                    lines[0].details.as_mut().expect("programs")["programs"][0]["program"]["test"] = json!("assert True");
                });
            }),
        ),
        (
            "a verdict turned",
            "mbpp.jsonl.zst: /0/metrics/pass_at_1,none",
            Box::new(|_| {
                forge_samples(&run(0), "mbpp", |lines| {
                    let program = &mut lines[0].details.as_mut().expect("programs")["programs"][0];
                    let verdict = if program["verdict"] == json!("passed") { "failed" } else { "passed" };
                    (program["verdict"], program["reason"]) = (json!(verdict), json!(""));
                });
            }),
        ),
        (
            "the programs taken out",
            "humaneval.jsonl.zst: /0/details/programs is missing",
            Box::new(|_| forge_samples(&run(0), "humaneval", |lines| lines[0].details = None)),
        ),
        ("a task's score", "/tasks/arc_challenge/score is 99.5", json_edit(run(0), "/tasks/arc_challenge/score", json!(99.5))),
        ("a metric", "/tasks/boolq/metrics/acc,none/value", json_edit(run(0), "/tasks/boolq/metrics/acc,none/value", json!(0.99))),
        ("a standard error", "/tasks/piqa/score_stderr", json_edit(run(0), "/tasks/piqa/score_stderr", json!(0.01))),
        ("a pillar's score", "/pillars/math/score", json_edit(run(0), "/pillars/math/score", json!(88.0))),
        ("the aggregate", "/aggregate/score", json_edit(run(0), "/aggregate/score", json!(77.0))),
        ("the aggregate's interval", "/aggregate/ci95/0", json_edit(run(0), "/aggregate/ci95/0", json!(1.0))),
        (
            "an mmlu subject",
            "/tasks/mmlu/subtasks/mmlu_anatomy/score",
            json_edit(run(0), "/tasks/mmlu/subtasks/mmlu_anatomy/score", json!(100.0)),
        ),
        (
            "an mmlu group",
            "/tasks/mmlu/groups/mmlu_stem/metrics",
            json_edit(run(0), "/tasks/mmlu/groups/mmlu_stem/metrics/acc,none/value", json!(1.0)),
        ),
        ("the chance level", "/tasks/mathqa/chance_corrected", json_edit(run(0), "/tasks/mathqa/chance", json!(0.0))),
        ("the seed", "/seed", json_edit(run(0), "/seed", json!(7))),
        ("a weight file's digest", "/model/weights", json_edit(run(0), "/model/weights/0/sha256", json!("0".repeat(64)))),
        ("the quantization", "/model/quantization/name", json_edit(run(0), "/model/quantization/name", json!("FP32"))),
        ("the number of examples", "/tasks/winogrande/num_fewshot", json_edit(run(0), "/tasks/winogrande/num_fewshot", json!(0))),
        ("a data set's commit", "/tasks/hellaswag/dataset", json_edit(run(0), "/tasks/hellaswag/dataset/revision", json!("1".repeat(40)))),
        ("the task's version", "/tasks/gsm8k/version", json_edit(run(0), "/tasks/gsm8k/version", json!("2.0"))),
        ("the ranked metric", "/tasks/hellaswag/primary_metric", json_edit(run(0), "/tasks/hellaswag/primary_metric", json!("acc,none"))),
        ("a document's value", "/tasks/hellaswag/items", json_edit(run(0), "/tasks/hellaswag/items", json!("00"))),
        ("the limit taken away", "/limit is no limit", json_edit(run(2), "/limit", Value::Null)),
        (
            "a limited run presented as full, its id recomputed",
            "but the run says that it has no limit",
            Box::new(|_| {
                forge_run(&run(2), |run| {
                    run.limit = None;
                    run.identity.limit = None;
                    run.run_id = run.identity.run_id();
                });
            }),
        ),
        (
            "a failing task deleted",
            "/pillars/math",
            Box::new(|_| {
                forge_run(&run(0), |run| {
                    run.tasks.insert("gsm8k".to_owned(), TaskRecord::without_score(TaskStatus::Failed, "timed out"));
                });
                edit(&run(0), |value| {
                    value["tasks"].as_object_mut().expect("tasks").remove("gsm8k");
                });
            }),
        ),
        (
            "a failed task given a score",
            "/tasks/gsm8k/score is a number, but the task has no valid result",
            Box::new(|_| {
                edit(&run(0), |value| set(value, "/tasks/gsm8k/status", json!("failed")));
            }),
        ),
        (
            "sample files swapped between runs",
            "/sha256",
            Box::new(|_| {
                let file = "samples/boolq.jsonl.zst";
                fs::copy(run(1).with_file_name(file), run(0).with_file_name(file)).expect("the file is there");
            }),
        ),
        (
            "a sample file deleted",
            "samples/toxigen.jsonl.zst does not exist",
            Box::new(|_| fs::remove_file(run(0).with_file_name("samples/toxigen.jsonl.zst")).expect("the file is there")),
        ),
        (
            "a file added",
            "does not list samples/extra.jsonl.zst",
            Box::new(|_| fs::write(run(0).with_file_name("samples/extra.jsonl.zst"), b"").expect("the folder is there")),
        ),
        (
            "a sample file cut short",
            "arc_challenge.jsonl.zst: /0 the file is damaged",
            Box::new(|_| {
                let path = run(0).with_file_name("samples/arc_challenge.jsonl.zst");
                let bytes = fs::read(&path).expect("the file is there");
                fs::write(&path, &bytes[..bytes.len() / 2]).expect("the file can be written");
            }),
        ),
        (
            "a wrong answer counted as right, digests adjusted",
            "arc_challenge.jsonl.zst: /",
            Box::new(|_| {
                forge_samples(&run(0), "arc_challenge", |lines| {
                    for line in lines {
                        line.metrics.insert("acc_norm,none".to_owned(), json!(1.0));
                    }
                });
            }),
        ),
        (
            "answers changed, digests adjusted",
            "/tasks/boolq/metrics",
            Box::new(|_| {
                forge_samples(&run(0), "boolq", |lines| {
                    for line in lines.iter_mut() {
                        line.metrics.insert("acc,none".to_owned(), json!(1.0));
                    }
                });
            }),
        ),
        (
            "a generated answer changed",
            "gsm8k.jsonl.zst: /0/filtered_resps/flexible-extract",
            Box::new(|_| forge_samples(&run(0), "gsm8k", |lines| lines[0].resps[0] = json!(["#### 12345"]))),
        ),
        (
            "a log-likelihood that is no number",
            "piqa.jsonl.zst: /0/resps/0 is not an answer",
            Box::new(|_| forge_samples(&run(0), "piqa", |lines| lines[0].resps[0] = json!([[null, false]]))),
        ),
        (
            "a question changed",
            "mathqa.jsonl.zst: /0/prompt_hash",
            Box::new(|_| forge_samples(&run(0), "mathqa", |lines| lines[0].arguments[0][0] = json!("an easier question"))),
        ),
        (
            "the target changed",
            "piqa.jsonl.zst: /1/target_hash",
            Box::new(|_| forge_samples(&run(0), "piqa", |lines| lines[1].target = json!(1 - lines[1].target.as_u64().unwrap_or(0).min(1)))),
        ),
        (
            "the wrong answers left out",
            "/samples/",
            Box::new(|_| forge_samples(&run(0), "mbpp", |lines| lines.retain(|line| line.metrics["pass_at_1,none"] == json!(1.0)))),
        ),
        (
            "a right answer counted twice",
            "bbq.jsonl.zst: /1/doc_id",
            Box::new(|_| {
                forge_samples(&run(0), "bbq", |lines| {
                    lines[1] = lines[0].clone();
                });
            }),
        ),
        (
            "a run moved to another model",
            "belongs in the folder lab--model-0",
            Box::new(|_| {
                let folder = run(0).parent().expect("a folder").to_owned();
                let target = run(1).parent().and_then(Path::parent).expect("a folder").join(folder.file_name().expect("a name"));
                fs::rename(folder, target).expect("the folder can be moved");
            }),
        ),
        ("the registry's score", "/models/1/aggregate_score", published("models/registry.json", "/models/1/aggregate_score", json!(99.0))),
        ("the registry's rank", "/models/0/rank", published("models/registry.json", "/models/0/rank", json!(5))),
        ("the registry's date", "/models/0/date_added", published("models/registry.json", "/models/0/date_added", json!("2020-01-01"))),
        (
            "a submission's licence in the registry",
            "/models/0/license",
            published("models/registry.json", "/models/0/license", json!("mit")),
        ),
        (
            "a row taken out of the registry",
            "is of lab/model-1, which the registry does not have",
            Box::new(|repository| {
                edit(&repository.path("models/registry.json"), |value| {
                    value["models"].as_array_mut().expect("models").remove(1);
                });
            }),
        ),
        (
            "an invented row in the registry",
            "/models/3/aggregate_score is 99",
            Box::new(|repository| {
                edit(&repository.path("models/registry.json"), |value| {
                    let models = value["models"].as_array_mut().expect("models");
                    let mut row = models[0].clone();
                    row["id"] = json!("lab--model-z");
                    row["hf_repo"] = json!("lab/model-z");
                    row["aggregate_score"] = json!(99.0);
                    models.push(row);
                });
            }),
        ),
        (
            "the leaderboard's score",
            "leaderboard.json: /models/0/aggregate/score",
            published(board, "/models/0/aggregate/score", json!(99.0)),
        ),
        ("the leaderboard's rank", "leaderboard.json: /models/1/rank", published(board, "/models/1/rank", json!(1))),
        ("a pillar's weight", "leaderboard.json: /pillars/0/weight", published(board, "/pillars/0/weight", json!(50.0))),
        ("a badge", "leaderboard.json: /models/0/badges", published(board, "/models/0/badges", json!(["Safety-Preferred"]))),
        (
            "a row taken out of the leaderboard",
            "leaderboard.json: /models has 2 elements, follows with 3",
            Box::new(|repository| {
                edit(&repository.path(board), |value| {
                    value["models"].as_array_mut().expect("models").pop();
                });
            }),
        ),
    ];
    assert!(tamperings.len() >= 15);
    let clean = snapshot(repository.folder.path());
    let mut missed = Vec::new();
    for (what, expected, tamper) in &tamperings {
        tamper(&repository);
        let (code, out) = repository.verify(&[]);
        if code != Some(1) || !out.contains(expected) {
            missed.push(format!("{what}: exit code {code:?}, expected `{expected}` in\n{}", out.chars().take(1500).collect::<String>()));
        }
        restore(repository.folder.path(), &clean);
    }
    assert!(missed.is_empty(), "{} of {} not named:\n{}", missed.len(), tamperings.len(), missed.join("\n"));
    let (code, out) = repository.verify(&[]);
    assert_eq!(code, Some(0), "{out}");
}

/// The stored programs end again as they did, and a verdict that was turned with everything around it does not.
#[test]
fn programs_can_be_run_again() {
    let repository = Repository::new([0], &["FP16"]);
    let arguments = ["--results", "results/raw", "--rerun-programs"];
    let (code, out) = repository.verify(&arguments);
    assert!(code == Some(0) && out.contains("16 programs were run again"), "{out}");
    forge_samples(&repository.runs[0], "humaneval", |lines| {
        for line in lines {
            let program = &mut line.details.as_mut().expect("programs")["programs"][0];
            (program["verdict"], program["reason"]) = (json!("passed"), json!(""));
            line.metrics.insert("pass@1,create_test".to_owned(), json!(1.0));
        }
    });
    let (code, out) = repository.verify(&arguments);
    assert!(code == Some(1) && out.contains("/details/programs/0/verdict is Passed, run again Failed"), "{out}");
}

/// Every file below a folder.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).expect("the file can be read"));
            }
        }
    }
    files
}

fn restore(root: &Path, clean: &BTreeMap<PathBuf, Vec<u8>>) {
    let now = snapshot(root);
    for path in now.keys().filter(|path| !clean.contains_key(*path)) {
        fs::remove_file(path).expect("the file can be removed");
    }
    for (path, bytes) in clean {
        if now.get(path) != Some(bytes) {
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
            fs::write(path, bytes).expect("the file can be written");
        }
    }
}

/// A maintainer withdraws a row, flags it instead, and takes that back: each with its reason on the leaderboard, and `verify` agrees.
#[test]
fn a_maintainer_withdraws_flags_and_clears() {
    let repository = Repository::new(0..3, &["FP16"]);
    let board = || read_json(&repository.path("website/assets/data/leaderboard.json"));
    let before = board();
    let decide = |arguments: &[&str]| repository.run(&[&["registry", "decide", "--model", "lab/MODEL-1"], arguments].concat());
    let publish = |arguments: &[&str]| {
        let output = decide(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        repository.must(&["website", "update", "--registry", "models/registry.json", "--output", "website/assets/data/leaderboard.json"]);
        let (code, out) = repository.verify(&[]);
        assert_eq!(code, Some(0), "{out}");
        let board = board();
        let row = board["models"].as_array().expect("rows").iter().find(|row| row["hf_repo"] == "lab/model-1").expect("the row").clone();
        (row, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let by = ["--by", "maintainer", "--date", "2026-03-01"];
    let (row, said) = publish(&[&["--action", "withdraw", "--reason", "trained on the test set"], &by[..]].concat());
    assert_eq!(
        (&row["status"], &row["status_reason"], &row["rank"]),
        (&json!("withdrawn"), &json!("trained on the test set"), &Value::Null)
    );
    assert!(said.contains("lab/model-1: not ranked, withdrawn (trained on the test set)"), "{said}");
    let (row, said) = publish(&[&["--action", "flag", "--reason", "licence under dispute"], &by[..]].concat());
    assert_eq!((&row["status"], &row["flag"], &row["rank"]), (&json!("ranked"), &json!("licence under dispute"), &json!(2)));
    assert!(said.contains("rank 2, flagged"), "{said}");
    assert_eq!(read_json(&repository.path("models/decisions.json")).as_array().map(Vec::len), Some(2), "what was decided before is kept");
    // A later update of the registry keeps the decision.
    repository.must(&[
        "registry",
        "update",
        "--submission",
        "models/submissions/lab--model-1.yml",
        "--results",
        "results/raw",
        "--registry",
        "models/registry.json",
    ]);
    assert_eq!(read_json(&repository.path("models/registry.json"))["models"][1]["decision"]["action"], "flag");
    publish(&["--action", "clear"]);
    assert_eq!(board(), before);

    let refused = |arguments: &[&str], code: i32, why: &str| {
        let output = decide(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(why), "{said}");
    };
    refused(&["--action", "clear"], 1, "there is no decision about lab/model-1");
    refused(&["--action", "withdraw", "--by", "maintainer"], 2, "--reason");
    refused(&["--action", "flag", "--by", "maintainer", "--reason", " "], 2, "--reason is needed");
    let output = repository.run(&["registry", "decide", "--model", "lab/none", "--action", "clear"]);
    assert!(output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("has no model lab/none"));
}

/// Results of a former version of the suite are listed, to be evaluated again; a withdrawn model is not.
#[test]
fn stale_results_are_listed() {
    let mut repository = Repository::new(0..2, &["FP16"]);
    assert!(repository.must(&["registry", "stale"]).starts_with("no results of another version than standard 2"));
    let results = repository.path("results/raw");
    for model in [2, 3] {
        let old = Recipe { suite_version: "1", ..recipe(model, "FP16") };
        repository.runs.push(write_run(&results, &old));
        let submission = text(&write_submission(&repository.path("models/submissions"), &old));
        repository.must(&[
            "registry",
            "update",
            "--submission",
            &submission,
            "--results",
            "results/raw",
            "--registry",
            "models/registry.json",
        ]);
    }
    let listed = repository.must(&["registry", "stale"]);
    assert!(listed.contains("lab/model-2: standard 1; submission models/submissions/lab--model-2.yml"), "{listed}");
    assert!(listed.contains("2 to be evaluated with standard 2: `/slm-bench evaluate`"), "{listed}");
    repository.must(&["registry", "decide", "--model", "lab/model-3", "--action", "withdraw", "--reason", "gone", "--by", "maintainer"]);
    assert_eq!(repository.must(&["registry", "stale", "--format", "json"]).split_whitespace().collect::<String>(), r#"["lab/model-2"]"#);
    assert_eq!(repository.run(&["registry", "stale", "--registry", "nothing.json"]).status.code(), Some(1));
}

/// No result is an error, and nothing is written: the original published zeros and exit code 0.
#[test]
fn without_results_nothing_is_published() {
    let repository = Repository::new([], &[]);
    let submission = text(&write_submission(&repository.path("models/submissions"), &recipe(0, "FP16")));
    let before = fs::read(repository.path("models/registry.json")).ok();
    fs::create_dir_all(repository.path("results/raw")).expect("the folder can be made");
    let output = repository.run(&[
        "registry",
        "update",
        "--submission",
        &submission,
        "--results",
        "results/raw",
        "--registry",
        "models/registry.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no run of lab/model-0"));
    assert_eq!(fs::read(repository.path("models/registry.json")).ok(), before);
    let output = repository.run(&["report", "--results-dir", "results/raw", "--output", "report.md"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!repository.path("report.md").exists());
}

/// A run that contradicts itself never enters the registry, and the registry stays as it was.
#[test]
fn a_tampered_run_is_not_folded() {
    let repository = Repository::new([0], &["FP16"]);
    let before = fs::read(repository.path("models/registry.json")).expect("it is there");
    edit(&repository.runs[0], |value| set(value, "/aggregate/score", json!(99.0)));
    let output = repository.run(&[
        "registry",
        "update",
        "--submission",
        "models/submissions/lab--model-0.yml",
        "--results",
        "results",
        "--registry",
        "models/registry.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/aggregate/score is 99"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read(repository.path("models/registry.json")).expect("it is there"), before);
}

#[test]
fn reports_show_every_run_and_escape_what_authors_wrote() {
    let repository = Repository::new([], &[]);
    let hostile = Recipe { name: "<script>alert(1)</script>|](x)".to_owned(), ..recipe(0, "FP16") };
    write_run(&repository.path("results/raw"), &hostile);
    write_run(&repository.path("results/raw"), &recipe(9, "FP16"));
    repository.must(&["report", "--results-dir", "results/raw", "--output", "results/processed/report.md"]);
    let read = |name: &str| fs::read_to_string(repository.path(name)).expect("the report is there");
    let (markdown, html) = (read("results/processed/report.md"), read("results/processed/report.html"));
    assert!(!markdown.contains("<script") && !html.contains("<script"));
    assert!(markdown.contains("coding | — |"), "a missing pillar is a dash");
    assert!(html.contains("no score for coding") && html.matches("<svg").count() >= 4);
    assert!(!html.contains("http://") || html.matches("http://").count() == html.matches("http://www.w3.org/2000/svg").count());
    let report = read_json(&repository.path("results/processed/report.json"));
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_archive_is_made_once_and_lists_its_digests() {
    let repository = Repository::new([0], &["FP16"]);
    fs::write(repository.runs[0].with_file_name("run.json.sig"), "a signature").expect("the folder is there");
    let first = repository.must(&["archive", "--results", "results/raw", "--archive-dir", "results/archives"]);
    let second = repository.must(&["archive", "--results", "results/raw", "--archive-dir", "results/archives"]);
    assert!(first.contains(": 1 run, ") && second.contains("already there"), "{first}{second}");
    let snapshots: Vec<PathBuf> =
        fs::read_dir(repository.path("results/archives")).expect("it is there").map(|e| e.expect("an entry").path()).collect();
    assert_eq!(snapshots.len(), 1, "nothing unfinished is left: {snapshots:?}");
    let list = fs::read_to_string(snapshots[0].join("SHA256SUMS")).expect("the list is there");
    assert!(list.contains("/run.json.sig\n"), "a signature goes with its run: {list}");
    for line in list.lines() {
        let (digest, file) = line.split_once("  ").expect("digest and path");
        assert_eq!(hex::encode(Sha256::digest(fs::read(snapshots[0].join(file)).expect("the file is there"))), digest);
    }
    let (code, out) = repository.verify(&["--results", &text(&snapshots[0])]);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn samples_are_exported_in_the_harness_form() {
    let repository = Repository::new([0], &["FP16"]);
    let run = text(repository.runs[0].parent().expect("a folder"));
    repository.must(&["samples", "export", "--lm-eval", "--run", &run, "--output", "exported", "--tasks", "gsm8k,mmlu_anatomy"]);
    let file = |task: &str| {
        let found = fs::read_dir(repository.path("exported")).expect("it is there").map(|e| e.expect("an entry").path());
        let path = found.into_iter().find(|path| text(path).contains(&format!("samples_{task}_"))).expect("the task's file");
        fs::read_to_string(path)
            .expect("it can be read")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect::<Vec<Value>>()
    };
    let gsm8k = file("gsm8k");
    assert_eq!(gsm8k.len(), 16, "one line for each document and filter");
    assert_eq!((&gsm8k[0]["filter"], &gsm8k[8]["filter"]), (&json!("strict-match"), &json!("flexible-extract")));
    assert_eq!(gsm8k[0]["metrics"], json!(["exact_match"]));
    assert!(gsm8k[0]["exact_match"].is_number() && gsm8k[0]["arguments"]["gen_args_0"]["arg_0"].is_string());
    let mmlu = file("mmlu_anatomy");
    let answer = &mmlu[0]["resps"][0][0];
    assert!(
        answer[0].as_str().is_some_and(|value| value.starts_with('-'))
            && ["True", "False"].contains(&answer[1].as_str().unwrap_or_default()),
        "{answer}"
    );
    assert_eq!(mmlu[0]["filtered_resps"][3].as_array().map(Vec::len), Some(2));
    assert_eq!(
        repository.run(&["samples", "export", "--lm-eval", "--run", &run, "--output", "x", "--tasks", "nothing"]).status.code(),
        Some(2)
    );
}

/// Shards with a part of the tasks each, joined in any order, give the run that one command gives.
#[test]
fn joined_shards_are_the_whole_run() {
    let repository = Repository::new([0], &["FP16"]);
    let whole: Run = serde_json::from_value(read_json(&repository.runs[0])).expect("a run");
    let shard = |name: &str, takes: &dyn Fn(usize) -> bool| {
        let mut run = whole.clone();
        run.requested = whole.requested.iter().enumerate().filter(|(index, _)| takes(*index)).map(|(_, task)| task.clone()).collect();
        run.tasks.retain(|task, _| run.requested.contains(task));
        run.samples
            .retain(|sample| run.tasks.contains_key(&sample.task) || (sample.task.starts_with("mmlu_") && run.tasks.contains_key("mmlu")));
        (run.pillars, run.aggregate) = summarise(&crate::synthetic::pillars(), &run.tasks);
        let folder = repository.path("shards").join(name).join("lab--model-0").join(&run.run_id);
        fs::create_dir_all(folder.join("samples")).expect("the folder can be made");
        for sample in &run.samples {
            fs::copy(repository.runs[0].with_file_name(&sample.file), folder.join(&sample.file)).expect("the file is there");
        }
        write_run_json(&folder.join("run.json"), &run);
        folder.join("run.json")
    };
    shard("a", &|index| index % 3 == 0);
    let b = shard("b", &|index| index % 3 != 0);
    // A shard that failed where another one finished: the finished task stands.
    let failed = shard("c", &|index| index == 0);
    forge_run(&failed, |run| {
        for task in run.tasks.values_mut() {
            *task = TaskRecord {
                version: task.version.clone(),
                num_fewshot: task.num_fewshot,
                ..TaskRecord::without_score(TaskStatus::Failed, "the machine was switched off")
            };
        }
        run.samples.clear();
    });
    repository.must(&["merge", "--output-dir", "one", "shards/a", "shards/b", "shards/c"]);
    repository.must(&["merge", "--output-dir", "other", "shards/c", "shards/b", "shards/a"]);
    let joined =
        |output: &str| fs::read(repository.path(output).join("lab--model-0").join(&whole.run_id).join("run.json")).expect("it is there");
    assert!(joined("one") == joined("other"));
    assert!(joined("one") == fs::read(&repository.runs[0]).expect("it is there"));
    let (code, out) = repository.verify(&["--results", "one"]);
    assert_eq!(code, Some(0), "{out}");

    // Another run's shard is refused.
    forge_run(&b, |run| {
        run.seed = 7;
        run.identity.seed = 7;
        run.run_id = run.identity.run_id();
    });
    let output = repository.run(&["merge", "--output-dir", "third", "shards/a", "shards/b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/seed"), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!repository.path("third").exists());
}
