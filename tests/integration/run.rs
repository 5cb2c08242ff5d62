//! What `run`, `merge` and `demo` promise, with the program as people run it and the engine on the demonstration model.

use crate::hub_cache::{HubCache, MODEL};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const TASKS: &str = "boolq,wikitext,gsm8k";

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slm-bench"));
    command.env("HF_HUB_OFFLINE", "1").env_remove("HF_TOKEN").env_remove("RUST_LOG");
    // Runs are compared with each other here; what they cost is measured where a test asks for it.
    command.env("SLM_BENCH_METER", "off");
    command
}

/// A cache, a submission, and a folder for outputs.
struct Place {
    cache: HubCache,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { cache: HubCache::with_model(), folder: tempfile::tempdir().unwrap() };
        fs::write(place.submission(), SUBMISSION).unwrap();
        place
    }

    /// With a task of each kind of request.
    fn with_data() -> Self {
        let place = Self::new();
        place.cache.boolq(40);
        place.cache.wikitext(20);
        place.cache.gsm8k(4);
        place
    }

    fn submission(&self) -> PathBuf {
        self.folder.path().join("model.yml")
    }

    fn output(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("run").arg("--submission-file").arg(self.submission()).arg("--output-dir").arg(self.output(output));
        command.args(["--device", "cpu"]).args(arguments).env("HF_HUB_CACHE", self.cache.path());
        command
    }

    #[track_caller]
    fn run(&self, output: &str, arguments: &[&str], code: i32) -> Output {
        let done = self.command(output, arguments).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}{}", text(&done.stdout), text(&done.stderr));
        done
    }

    fn start(&self, output: &str, arguments: &[&str]) -> Child {
        self.command(output, arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The only run folder below an output folder.
    #[track_caller]
    fn run_folder(&self, output: &str) -> PathBuf {
        run_folder(&self.output(output)).expect("one run folder")
    }

    #[track_caller]
    fn merge(&self, output: &str, shards: &[&str], code: i32) -> Output {
        let mut command = program();
        command.arg("merge").arg("--output-dir").arg(self.output(output)).args(shards.iter().map(|shard| self.output(shard)));
        let done = command.output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}{}", text(&done.stdout), text(&done.stderr));
        done
    }
}

const SUBMISSION: &str = "\
model:
  name: demo-1m
  family: demo
  hf_repo: slm-benchmark/demo-1m
  parameters: 1.26M
  architecture: llama
  license: apache-2.0
  submitted_by: someone
  quantizations:
    - name: BF16
      format: safetensors
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run_folder(output: &Path) -> Option<PathBuf> {
    let below = |folder: &Path| fs::read_dir(folder).ok().map(|entries| entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>());
    let model = below(output)?.pop()?;
    let mut runs = below(&model)?;
    assert!(runs.len() < 2, "{runs:?}");
    runs.pop()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// `run.json` without what two runs of the same id may differ in: when, how long, and what was fed again after an interruption.
fn comparable(folder: &Path) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(object) => {
                for name in ["started_at", "finished_at", "duration_s", "tokens_recomputed"] {
                    object.remove(name);
                }
                object.values_mut().for_each(clean);
            }
            Value::Array(array) => array.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let mut run = json_of(&folder.join("run.json"));
    clean(&mut run);
    run
}

fn samples(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder.join("samples")).unwrap().map(|entry| entry.unwrap());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[track_caller]
fn assert_same_run(one: &Path, other: &Path) {
    assert_eq!(one.file_name(), other.file_name(), "the run id");
    let (left, right) = (comparable(one), comparable(other));
    for name in ["tasks", "pillars", "aggregate", "samples", "requested"] {
        assert_eq!(left[name], right[name], "{name}");
    }
    assert_eq!(left, right);
    assert!(samples(one) == samples(other), "the samples differ");
    assert!(!one.join("unfinished").exists() && !other.join("unfinished").exists());
}

#[track_caller]
fn assert_valid(schema: &str, file: &Path) {
    let schema = json_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{schema}.schema.json")));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = json_of(file);
    let errors: Vec<String> = validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
}

/// Whole lines of each journal, and finished tasks.
fn progress(output: &Path) -> BTreeMap<String, usize> {
    let Some(folder) = run_folder(output) else { return BTreeMap::new() };
    let Ok(entries) = fs::read_dir(folder.join("unfinished")) else { return BTreeMap::new() };
    let lines = |path: &Path| fs::read(path).map_or(0, |bytes| bytes.split(|&byte| byte == b'\n').count() - 1);
    let files = entries.filter_map(Result::ok).map(|entry| (entry.file_name().to_string_lossy().into_owned(), lines(&entry.path())));
    let is_work = |name: &str| name.strip_suffix(".jsonl").or_else(|| name.strip_suffix(".done.json")).is_some();
    files.filter(|(name, _)| is_work(name)).collect()
}

fn amount(progress: &BTreeMap<String, usize>) -> usize {
    progress.values().sum::<usize>() + progress.len()
}

/// Waits until more than `threshold` has been kept; false when the program ends before.
fn wait_for_more_than(threshold: usize, child: &mut Child, output: &Path) -> bool {
    loop {
        if amount(&progress(output)) > threshold {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Killed again and again, within every kind of task, a run ends with the bytes of an uninterrupted one, and reports the same costs.
#[test]
fn a_run_killed_at_many_moments_ends_as_an_uninterrupted_one() {
    let place = Place::with_data();
    let arguments = ["--tasks", TASKS, "--num-fewshot", "2"];
    place.run("whole", &arguments, 0);
    let output = place.output("killed");
    let resumed: Vec<&str> = arguments.iter().copied().chain(["--resume"]).collect();
    let mut killed_within: BTreeMap<String, usize> = BTreeMap::new();
    let mut threshold = 3;
    loop {
        let mut child = place.start("killed", if threshold == 3 { &arguments } else { &resumed });
        if !wait_for_more_than(threshold, &mut child, &output) {
            let done = child.wait_with_output().unwrap();
            assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = progress(&output);
        for task in TASKS.split(',') {
            if kept.contains_key(&format!("{task}.jsonl")) && !kept.contains_key(&format!("{task}.done.json")) {
                *killed_within.entry(task.to_owned()).or_default() += 1;
            }
        }
        // Log-likelihoods are many, texts and generations few.
        let is_slow = kept.get("boolq.jsonl").is_some_and(|&lines| lines > 55);
        threshold = amount(&kept) + if is_slow { 1 } else { 13 };
    }
    assert!(TASKS.split(',').all(|task| killed_within.contains_key(task)), "{killed_within:?}");
    assert_same_run(&place.run_folder("whole"), &place.run_folder("killed"));

    // Finished, the same command with --resume changes nothing, dates included.
    let before = fs::read(place.run_folder("killed").join("run.json")).unwrap();
    place.run("killed", &resumed, 0);
    assert_eq!(fs::read(place.run_folder("killed").join("run.json")).unwrap(), before);
}

/// SIGTERM ends the run at the next answer with exit code 3 and the remedy; without --resume the rest is not mixed with a new run.
#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_is_not_mixed_with_another() {
    let place = Place::with_data();
    let arguments = ["--tasks", "boolq", "--num-fewshot", "2"];
    for signal in ["-TERM", "-INT"] {
        let mut child = place.start(signal, &arguments);
        assert!(wait_for_more_than(4, &mut child, &place.output(signal)));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let done = child.wait_with_output().unwrap();
        let message = text(&done.stderr);
        assert_eq!(done.status.code(), Some(3), "{message}");
        assert!(message.contains("--resume"), "{message}");
        assert!(!place.run_folder(signal).join("run.json").exists());
    }
    let refused = place.run("-TERM", &arguments, 2);
    assert!(text(&refused.stderr).contains("unfinished run") && text(&refused.stderr).contains("--resume"), "{}", text(&refused.stderr));
    place.run("-TERM", &["--tasks", "boolq", "--num-fewshot", "2", "--resume"], 0);
    place.run("-INT", &["--tasks", "boolq", "--num-fewshot", "2", "--resume"], 0);
    assert_same_run(&place.run_folder("-TERM"), &place.run_folder("-INT"));
}

/// A second process does not write into the folder of a run that is under way, not even with --resume.
#[cfg(unix)]
#[test]
fn two_processes_do_not_write_one_run() {
    let place = Place::with_data();
    let arguments = ["--tasks", TASKS, "--resume"];
    let mut child = place.start("one", &arguments);
    assert!(wait_for_more_than(4, &mut child, &place.output("one")));
    assert!(Command::new("kill").args(["-STOP", &child.id().to_string()]).status().unwrap().success());
    let refused = place.run("one", &arguments, 3);
    assert!(text(&refused.stderr).contains("another slm-bench is working"), "{}", text(&refused.stderr));
    child.kill().unwrap();
    child.wait().unwrap();
    place.run("one", &arguments, 0);
}

/// Shards share their id. One after the other in one folder, or joined from several, they make the run that one command makes.
#[test]
fn shards_make_the_same_run() {
    let place = Place::new();
    let run = |output: &str, tasks: &str| {
        place.run(output, &["--suite", "smoke", "--tasks", tasks], 0);
    };
    run("whole", "smoke_boolq,smoke_wikitext,smoke_gsm8k");
    run("again", "smoke_boolq,smoke_wikitext,smoke_gsm8k");
    assert_same_run(&place.run_folder("whole"), &place.run_folder("again"));
    for task in ["smoke_boolq", "smoke_wikitext", "smoke_gsm8k"] {
        run("one-folder", task);
        run(task, task);
    }
    assert_same_run(&place.run_folder("whole"), &place.run_folder("one-folder"));
    place.merge("merged", &["smoke_gsm8k", "smoke_boolq", "smoke_wikitext"], 0);
    assert_same_run(&place.run_folder("whole"), &place.run_folder("merged"));
    // In steps, and twice, comes to the same.
    place.merge("steps", &["smoke_boolq"], 0);
    place.merge("steps", &["smoke_gsm8k", "smoke_wikitext", "smoke_boolq"], 0);
    assert_same_run(&place.run_folder("whole"), &place.run_folder("steps"));
    assert_valid("run", &place.run_folder("merged").join("run.json"));

    // What does not belong together is refused, and nothing is written.
    place.run("other", &["--suite", "smoke", "--tasks", "smoke_lambada", "--seed", "7"], 0);
    let refused = place.merge("mixed", &["smoke_boolq", "other"], 1);
    assert!(text(&refused.stderr).contains("/seed"), "{}", text(&refused.stderr));
    let forged = place.run_folder("smoke_boolq").join("run.json");
    let mut run = json_of(&forged);
    run["tasks"]["smoke_boolq"]["score"] = json!(99.0);
    fs::write(&forged, run.to_string()).unwrap();
    let refused = place.merge("mixed", &["whole", "smoke_boolq"], 1);
    assert!(text(&refused.stderr).contains("/tasks/smoke_boolq"), "{}", text(&refused.stderr));
    let sample = place.run_folder("smoke_gsm8k").join("samples/smoke_gsm8k.jsonl.zst");
    fs::write(&sample, b"something else").unwrap();
    let refused = place.merge("mixed", &["smoke_gsm8k"], 1);
    assert!(text(&refused.stderr).contains("SHA-256"), "{}", text(&refused.stderr));
    assert!(!place.output("mixed").exists());
}

/// One task's bad data never costs another its score: it is `failed` with a reason and no score, and the exit code says so.
#[test]
fn tasks_with_bad_data_fail_alone() {
    let place = Place::new();
    place.cache.boolq(6);
    place.cache.wikitext(0);
    let corrupt = place.cache.gsm8k(4);
    let bytes = fs::read(&corrupt).unwrap();
    fs::write(&corrupt, &bytes[..bytes.len() / 2]).unwrap();
    let done = place.run("out", &["--tasks", "gsm8k,wikitext,lambada_openai,boolq", "--num-fewshot", "1"], 4);
    let run = json_of(&place.run_folder("out").join("run.json"));
    assert_eq!(run["tasks"]["boolq"]["status"], "ok");
    assert!(run["tasks"]["boolq"]["score"].is_number());
    for (task, reason) in [("gsm8k", "Parquet"), ("wikitext", "no rows"), ("lambada_openai", "lambada_openai")] {
        let record = &run["tasks"][task];
        assert_eq!((&record["status"], &record["score"]), (&json!("failed"), &Value::Null), "{task}");
        assert!(record["reason"].as_str().unwrap().contains(reason), "{task}: {}", record["reason"]);
        assert!(text(&done.stdout).contains(task));
    }
    assert_eq!(run["pillars"]["math"]["score"], Value::Null);
    assert_eq!(run["aggregate"]["score"], Value::Null);
    assert_valid("run", &place.run_folder("out").join("run.json"));

    // With the data in place, --resume asks only what failed.
    let boolq = samples(&place.run_folder("out"))["boolq.jsonl.zst"].clone();
    let boolq_took = run["tasks"]["boolq"]["duration_s"].clone();
    fs::write(&corrupt, bytes).unwrap();
    place.run("out", &["--tasks", "gsm8k,wikitext,lambada_openai,boolq", "--num-fewshot", "1", "--resume"], 4);
    let run = json_of(&place.run_folder("out").join("run.json"));
    assert_eq!(run["tasks"]["gsm8k"]["status"], "ok");
    assert_eq!(run["tasks"]["boolq"]["duration_s"], boolq_took);
    assert_eq!(samples(&place.run_folder("out"))["boolq.jsonl.zst"], boolq);
}

/// Weights that are not numbers give an `invalid` task, or are named before anything is asked by the engine that reads every weight; never a
/// low score.
#[test]
fn weights_that_are_not_numbers_give_no_score() {
    let place = Place::with_data();
    let path = place.cache.model().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header_length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_length]).unwrap();
    let norm = &header["model.norm.weight"];
    assert_eq!(norm["dtype"], "BF16");
    let offset = |index: usize| 8 + header_length + usize::try_from(norm["data_offsets"][index].as_u64().unwrap()).unwrap();
    for value in bytes[offset(0)..offset(1)].chunks_exact_mut(2) {
        value.copy_from_slice(&[0xc0, 0x7f]);
    }
    fs::write(&path, bytes).unwrap();
    let refused = place.run("refused", &["--tasks", TASKS, "--num-fewshot", "1", "--limit", "2"], 1);
    let error = text(&refused.stderr);
    assert!(error.contains("`model.norm.weight` holds NaN"), "{error}");
    place.run("out", &["--tasks", TASKS, "--num-fewshot", "1", "--limit", "2", "--engine", "mistralrs"], 4);
    let run = json_of(&place.run_folder("out").join("run.json"));
    for task in TASKS.split(',') {
        let record = &run["tasks"][task];
        assert_eq!((&record["status"], &record["score"]), (&json!("invalid"), &Value::Null), "{task}: {record}");
        assert!(record["reason"].as_str().unwrap().contains("not finite"), "{task}: {}", record["reason"]);
    }
    assert_valid("run", &place.run_folder("out").join("run.json"));
}

/// A tokenizer that knows more tokens than the model is named as the cause where it matters; other tasks go on.
#[test]
fn a_tokenizer_of_another_model_is_noticed() {
    let place = Place::with_data();
    let path = place.cache.model().join("tokenizer.json");
    let mut tokenizer = json_of(&path);
    let known = tokenizer["model"]["vocab"].as_object().unwrap().len();
    let added = json!({"id": known, "content": " yes", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false});
    tokenizer["added_tokens"].as_array_mut().unwrap().push(added);
    fs::write(&path, tokenizer.to_string()).unwrap();
    place.run("out", &["--tasks", "boolq,wikitext", "--num-fewshot", "1", "--limit", "2"], 4);
    let run = json_of(&place.run_folder("out").join("run.json"));
    assert_eq!(run["tasks"]["boolq"]["status"], "failed", "{}", run["tasks"]["boolq"]);
    let reason = run["tasks"]["boolq"]["reason"].as_str().unwrap();
    assert!(!reason.contains('\n'), "one line, whatever RUST_BACKTRACE says: {reason}");
    assert_eq!(run["tasks"]["wikitext"]["status"], "ok", "{}", run["tasks"]["wikitext"]);
}

/// A model that cannot be loaded ends the command with exit code 3, names the file, and leaves earlier artifacts alone.
#[test]
fn a_model_that_cannot_be_loaded_is_an_error_that_names_the_file() {
    let place = Place::with_data();
    let arguments = ["--tasks", "wikitext", "--limit", "2"];
    place.run("out", &arguments, 0);
    let before = fs::read(place.run_folder("out").join("run.json")).unwrap();
    let path = place.cache.model().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [bytes.len() - 1000, 100, 0] {
        fs::write(&path, &bytes[..length]).unwrap();
        let failed = place.run("out", &arguments, 1);
        let message = text(&failed.stderr);
        assert!(message.contains("error: ") && message.contains("safetensors") && !message.contains("panicked"), "{length}: {message}");
    }
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(place.cache.model().join("tokenizer.json")).unwrap();
    let failed = place.run("out", &arguments, 1);
    assert!(text(&failed.stderr).contains("tokenizer.json"), "{}", text(&failed.stderr));
    assert_eq!(fs::read(place.run_folder("out").join("run.json")).unwrap(), before);
}

/// A slip on the command line is answered with close names before anything runs; an invalid submission has its own code.
#[test]
fn slips_are_answered_before_anything_runs() {
    let place = Place::new();
    fs::remove_file(place.cache.model().join("model.safetensors")).unwrap();
    for (arguments, close) in [
        (["--tasks", "wikitex,boolq"], "wikitext"),
        (["--suite", "smok"], "smoke"),
        (["--pillars", "reasonin"], "reasoning"),
        (["--limit", "0"], "at least one document"),
        (["--limit", "1.5"], "0.1"),
        (["--dtype", "f64"], "bf16"),
    ] {
        let refused = place.run("out", &arguments, 2);
        assert!(text(&refused.stderr).contains(close), "{arguments:?}: {}", text(&refused.stderr));
    }
    fs::write(place.submission(), SUBMISSION.replace("hf_repo: slm-benchmark/demo-1m\n", "")).unwrap();
    let refused = place.run("out", &[], 1);
    assert!(text(&refused.stderr).contains("slm-bench validate"), "{}", text(&refused.stderr));
    assert!(!place.output("out").exists());
}

/// A full disk ends the run with the reason; what was there stays, and with room again --resume comes to the same bytes.
#[cfg(unix)]
#[test]
fn a_full_disk_costs_nothing_but_time() {
    let place = Place::with_data();
    let arguments = ["--tasks", "boolq,wikitext", "--num-fewshot", "2"];
    place.run("whole", &arguments, 0);
    place.run("full", &["--tasks", "wikitext", "--num-fewshot", "2"], 0);
    let folder = place.run_folder("full");
    let (before, earlier_samples) = (fs::read(folder.join("run.json")).unwrap(), samples(&folder));
    // No file may grow beyond a few blocks, which is what a full disk looks like to the program.
    let command = place.command("full", &arguments);
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    let message = text(&limited.stderr);
    assert_eq!(limited.status.code(), Some(3), "{message}");
    assert!(message.contains("--resume") && message.contains("boolq.jsonl"), "{message}");
    assert_eq!(fs::read(folder.join("run.json")).unwrap(), before);
    assert!(samples(&folder) == earlier_samples);
    assert!(progress(&place.output("full"))["boolq.jsonl"] > 2);
    place.run("full", &["--tasks", "boolq,wikitext", "--num-fewshot", "2", "--resume"], 0);
    assert_same_run(&place.run_folder("whole"), &folder);
}

fn demo(from: &Path, folder: &Path) -> String {
    let done = program().arg("demo").arg("--output-dir").arg(folder).current_dir(from).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}{}", text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// The demo works from any folder, again and again, and leaves a repository in which everything can be recomputed.
#[test]
fn the_demo_leaves_a_repository_that_verifies() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let printed = demo(elsewhere.path(), Path::new("first"));
    demo(home.path(), &home.path().join("second"));
    let first = elsewhere.path().join("first");

    let repository = git2::Repository::open_bare(first.join("remote.git")).unwrap();
    let tip = repository.find_commit(repository.refname_to_id("refs/heads/main").unwrap()).unwrap();
    assert_eq!(tip.parent_count(), 0, "one commit");
    let clone = home.path().join("clone");
    git2::Repository::clone(&first.join("remote.git").display().to_string(), &clone).unwrap();
    let runs = clone.join("results/raw");
    let run = run_folder(&runs).expect("one run");
    let run_id = run.file_name().unwrap().to_str().unwrap();
    let trailers = tip.message().unwrap().lines().filter(|line| *line == format!("Run-Id: {run_id}")).count();
    assert_eq!(trailers, 1, "{:?}", tip.message());
    assert_same_run(&run, &run_folder(&home.path().join("second/results/raw")).expect("one run"));

    assert_valid("run", &run.join("run.json"));
    assert_valid("registry", &clone.join("models/registry.json"));
    assert_valid("leaderboard", &clone.join("website/assets/data/leaderboard.json"));
    for line in zstd::decode_all(&samples(&run)["smoke_gsm8k.jsonl.zst"][..]).unwrap().split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            let path = home.path().join("line.json");
            fs::write(&path, line).unwrap();
            assert_valid("sample", &path);
        }
    }
    let verified = program()
        .arg("verify")
        .arg("--registry")
        .arg(clone.join("models/registry.json"))
        .arg("--results")
        .arg(&runs)
        .arg("--leaderboard")
        .arg(clone.join("website/assets/data/leaderboard.json"))
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}{}", text(&verified.stdout), text(&verified.stderr));
    let valid = program()
        .args(["validate", "--no-hub"])
        .arg(clone.join(format!("models/submissions/{}.yml", MODEL.replace('/', "--"))))
        .output()
        .unwrap();
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid.stdout));

    let comment = printed.split("The bot answers on the issue:").nth(1).unwrap().split("\n5. ").next().unwrap();
    insta::with_settings!({filters => vec![
        (r"[0-9a-f]{64}", "<sha256>"),
        (r"[0-9a-f]{40}", "<commit>"),
        (r"[0-9a-f]{32}", "<run id>"),
        (r"\b[0-9a-f]{12}\b", "<short>"),
        (r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?", "<date>"),
        (r"\b\d+(\.\d+)? ?(s|min|h)\b", "<duration>"),
    ]}, {
        insta::assert_snapshot!("demo_comment", comment);
    });

    // An existing folder is not written over.
    let again = program().arg("demo").arg("--output-dir").arg(&first).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "{}", text(&again.stderr));
}

/// A powercap tree of one package whose counter grows until it is dropped.
struct FakePowercap {
    folder: tempfile::TempDir,
    stop: std::sync::mpsc::Sender<()>,
}

impl FakePowercap {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let zone = folder.path().join("intel-rapl:0");
        fs::create_dir(&zone).unwrap();
        fs::write(zone.join("name"), "package-0\n").unwrap();
        fs::write(zone.join("max_energy_range_uj"), "60000000\n").unwrap();
        fs::write(zone.join("energy_uj"), "59000000\n").unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let mut counter = 59_000_000_u64;
            while stopped.recv_timeout(Duration::from_millis(5)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                counter = (counter + 50_000) % 60_000_000;
                let new = zone.join("new");
                if fs::write(&new, format!("{counter}\n")).and_then(|()| fs::rename(&new, zone.join("energy_uj"))).is_err() {
                    return;
                }
            }
        });
        Self { folder, stop }
    }
}

impl Drop for FakePowercap {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}

/// A run on a machine with counters says what it cost: measured energy, CO₂ by the operator's factor, and edge figures from a fresh
/// process, all outside of the run's id, and taken over by `--resume`.
#[test]
fn a_run_measures_energy_and_speed() {
    let place = Place::with_data();
    let powercap = FakePowercap::new();
    let root = powercap.folder.path().to_str().unwrap();
    let measured = |output: &str, more: &[&str]| {
        let arguments = ["--tasks", "boolq", "--pillars", "edge", "--meter", "on", "--idle-seconds", "0", "--powercap-root", root];
        let done = place.command(output, &[&arguments[..], &["--grid-factor", "nowhere 2020, none=1000"], more].concat()).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
        place.run_folder(output)
    };
    let folder = measured("measured", &[]);
    assert_valid("run", &folder.join("run.json"));
    let run = json_of(&folder.join("run.json"));
    let (edge, energy) = (&run["informational"]["edge"], &run["informational"]["energy"]);
    let value = |set: &Value, name: &str| set["figures"][name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {set:#}"));
    for name in ["load_time", "time_to_first_token", "prefill_speed", "decode_speed", "peak_memory", "size_on_disk"] {
        assert!(value(edge, name) > 0.0, "{name}");
        assert_eq!(edge["figures"][name]["method"], "measured");
    }
    assert_eq!(edge["details"]["repetitions"], 5);
    assert_eq!(energy["figures"]["efficiency"]["method"], "measured_rapl");
    assert_eq!(energy["hardware_class"], run["environment"]["hardware_class"]);
    let (per_answer, efficiency) = (value(energy, "energy_per_correct_answer"), value(energy, "efficiency"));
    assert!((per_answer * efficiency - 1.0).abs() < 1e-9);
    assert!((value(energy, "co2") - value(energy, "energy")).abs() < 1e-12, "1000 g for 1000 Wh");
    let correct = run["tasks"]["boolq"]["metrics"]["acc,none"]["value"].as_f64().unwrap() * run["tasks"]["boolq"]["n"].as_f64().unwrap();
    assert!((value(energy, "energy") / per_answer - correct).abs() < 1e-6);
    assert_eq!(energy["figures"]["energy_net"]["reason"], "no idle baseline was measured");
    let again = measured("measured", &["--resume"]);
    assert_eq!(json_of(&again.join("run.json")), run, "nothing was computed, so nothing was measured");
    place.run("plain", &["--tasks", "boolq"], 0);
    assert_eq!(place.run_folder("plain").file_name(), folder.file_name(), "the run's id");
    assert_eq!(json_of(&place.run_folder("plain").join("run.json"))["informational"]["energy"], Value::Null);
}

/// Each entry of `quantizations` is a run of its own weights: a GGUF file of the repository, a level of in-situ quantization.
#[test]
fn every_quantization_is_a_run_of_its_own() {
    let place = Place::with_data();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let snapshot = place.cache.model();
    crate::engine::make_gguf::write_gguf(&model, &snapshot.join("demo-q8_0.gguf"), crate::engine::make_gguf::kind_of("Q8_0").unwrap())
        .unwrap();
    let entries = "    - name: FP32
      format: safetensors
    - name: Q8_0
      format: gguf
      source: demo-q8_0.gguf
    - name: Q4_0
      format: isq
";
    let (head, _) = SUBMISSION.split_once("    - name").unwrap();
    fs::write(place.submission(), format!("{head}{entries}")).unwrap();
    place.run("all", &["--tasks", "boolq"], 0);
    let mut seen = BTreeMap::new();
    for folder in fs::read_dir(fs::read_dir(place.output("all")).unwrap().next().unwrap().unwrap().path()).unwrap() {
        let file = folder.unwrap().path().join("run.json");
        assert_valid("run", &file);
        let run = json_of(&file);
        let weights = run["model"]["weights"][0]["file"].as_str().unwrap().to_owned();
        assert_eq!(run["model"]["parameters"]["measured"], 1_262_720, "{weights}");
        assert_eq!(run["tasks"]["boolq"]["status"], "ok");
        seen.insert(run["model"]["quantization"]["name"].as_str().unwrap().to_owned(), weights);
    }
    let expected = [("FP32", "model.safetensors"), ("Q4_0", "model.safetensors"), ("Q8_0", "demo-q8_0.gguf")];
    assert_eq!(seen, expected.map(|(name, file)| (name.to_owned(), file.to_owned())).into());
}
