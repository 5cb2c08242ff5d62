//! Probes: figures beside the scores. What they say of models made up for the purpose, and that nothing else knows of them.

use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Value, json};
use slm_benchmark::benchmark::{TaskSpec, builtin_rows};
use slm_benchmark::engine::{
    ChatMessage, EngineDescription, EngineError, Generation, GenerationRequest, LanguageModel, Loglikelihood, LoglikelihoodRequest,
    RollingLoglikelihood, Sink, Usage,
};
use slm_benchmark::evaluation::{
    Control, DocumentSource, Evaluated, ModelUnderTest, Rows, RunFolderError, RunOptions, Verbosity, read_samples, run,
};
use slm_benchmark::leaderboard::probes::{NOT_MEASURED, TaskProbes};
use slm_benchmark::leaderboard::run::{DatasetRecord, ModelRecord, Parameters, Quantization, Run, TaskStatus};
use slm_benchmark::leaderboard::{ItemScores, PillarSpec, Registry, RunSummary, Submitted, board};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Multiple-choice tasks of the smoke suite; three have probes.
const TASKS: [&str; 5] = ["smoke_mmlu", "smoke_arc", "smoke_boolq", "smoke_winogrande", "smoke_truthfulqa_mc1"];
const PROBES: [&str; 4] =
    ["smoke_arc_answer_only", "smoke_mmlu_answer_only", "smoke_mmlu_choice_order", "smoke_truthfulqa_mc1_answer_only"];

/// Answers by a rule.
struct Made {
    /// Log-likelihood of a continuation after a context; not a number where it has none.
    rule: fn(&str, &str) -> f64,
    /// Requests that it was asked to answer.
    asked: usize,
    /// It is interrupted before its answer of this number.
    stops_at: usize,
}

impl Made {
    fn new(rule: fn(&str, &str) -> f64) -> Self {
        Self { rule, asked: 0, stops_at: usize::MAX }
    }

    fn score(&self, request: &LoglikelihoodRequest) -> Result<Loglikelihood, EngineError> {
        let value = (self.rule)(&request.context, &request.continuation);
        if value.is_nan() {
            return Err(EngineError::NotANumber("a log-likelihood is not a number".to_owned()));
        }
        Ok(Loglikelihood { value, is_greedy: false, truncated: false })
    }
}

impl LanguageModel for Made {
    fn description(&self) -> EngineDescription {
        let text = |text: &str| text.to_owned();
        EngineDescription { name: text("made"), version: text("1"), device: text("cpu"), dtype: text("f32") }
    }

    fn max_length(&self) -> usize {
        2048
    }

    fn loglikelihood(
        &mut self,
        requests: &[LoglikelihoodRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| !answered[*index]) {
            if self.asked == self.stops_at {
                return Err(EngineError::Stopped(anyhow::anyhow!("interrupted")));
            }
            self.asked += 1;
            sink(index, self.score(request)?).map_err(EngineError::Stopped)?;
        }
        Ok(Usage { tokens_nominal: requests.len() as u64, tokens_computed: requests.len() as u64, ..Usage::default() })
    }

    fn loglikelihood_rolling(
        &mut self,
        _texts: &[String],
        _answered: &[bool],
        _sink: &mut Sink<'_, RollingLoglikelihood>,
    ) -> Result<Usage, EngineError> {
        Err(EngineError::Request("not asked here".to_owned()))
    }

    fn generate_until(
        &mut self,
        _requests: &[GenerationRequest],
        _answered: &[bool],
        _sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError> {
        Err(EngineError::Request("not asked here".to_owned()))
    }

    fn loglikelihood_alone(&mut self, request: &LoglikelihoodRequest) -> Result<(Loglikelihood, Usage), EngineError> {
        Ok((self.score(request)?, Usage::default()))
    }

    fn loglikelihood_rolling_alone(&mut self, _text: &str) -> Result<(RollingLoglikelihood, Usage), EngineError> {
        Err(EngineError::Request("not asked here".to_owned()))
    }

    fn generate_alone(&mut self, _request: &GenerationRequest) -> Result<(Generation, Usage), EngineError> {
        Err(EngineError::Request("not asked here".to_owned()))
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError> {
        Ok(prompt.split_whitespace().count())
    }

    fn render_chat(&self, _messages: &[ChatMessage], _add_generation_prompt: bool) -> Result<String, EngineError> {
        Err(EngineError::Request("no chat template".to_owned()))
    }
}

/// The rows inside the program.
struct BuiltIn;

impl DocumentSource for BuiltIn {
    fn revision(&mut self, _spec: &TaskSpec) -> anyhow::Result<String> {
        Ok("a".repeat(40))
    }

    fn rows(&mut self, spec: &TaskSpec, split: &str) -> anyhow::Result<Rows> {
        let rows = builtin_rows(&spec.name, split).ok_or_else(|| anyhow::anyhow!("no rows of {}", spec.name))?;
        let dataset = DatasetRecord { repo: "builtin".to_owned(), config: None, split: split.to_owned(), revision: "a".repeat(40) };
        Ok(Rows { rows, dataset })
    }
}

fn model() -> ModelUnderTest {
    ModelUnderTest {
        slug: "made--up".to_owned(),
        record: ModelRecord {
            hf_repo: "made/up".to_owned(),
            revision: "b".repeat(40),
            name: "up".to_owned(),
            family: "made".to_owned(),
            parameters: Parameters { declared: "1M".to_owned(), measured: Some(1_000_000) },
            architecture: "llama".to_owned(),
            license: "apache-2.0".to_owned(),
            quantization: Quantization { name: "FP32".to_owned(), format: "safetensors".to_owned(), source: None },
            weights: Vec::new(),
        },
        tokenizer_sha256: "c".repeat(64),
        chat_template_sha256: None,
    }
}

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().expect("a date that exists")
}

fn options(tasks: &[&str], probes: bool) -> RunOptions {
    let tasks = tasks.iter().map(|&task| task.to_owned()).collect();
    RunOptions { suite: "smoke".to_owned(), tasks, probes, ..RunOptions::default() }
}

fn try_evaluate(made: &mut Made, options: &RunOptions, output: &Path) -> anyhow::Result<Evaluated> {
    let stop = AtomicBool::new(false);
    let control = Control { verbosity: Verbosity::Silent, stop: &stop, energy: None };
    loop {
        match run(made, &model(), &mut BuiltIn, None, options, output, &control, &now) {
            // A program that another test starts holds this process's locks until it runs its own code.
            Err(error) if matches!(error.downcast_ref(), Some(RunFolderError::Busy(_))) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

#[track_caller]
fn evaluate(rule: fn(&str, &str) -> f64, options: &RunOptions, output: &Path) -> Evaluated {
    try_evaluate(&mut Made::new(rule), options, output).unwrap()
}

/// A number between −10 and −1 that depends on the text alone.
fn liking(text: &str) -> f64 {
    let sum = text.bytes().fold(2_166_136_261_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(16_777_619));
    -1.0 - 9.0 * f64::from(sum) / f64::from(u32::MAX)
}

/// Likes every request in its own way.
fn by_request(context: &str, continuation: &str) -> f64 {
    liking(&format!("{context}|{continuation}"))
}

/// The option that a letter stands for in the last question, or what follows itself.
fn option<'a>(context: &'a str, continuation: &'a str) -> &'a str {
    let last = context.rsplit_once("\n\n").map_or(context, |(_, last)| last);
    last.lines().find_map(|line| line.strip_prefix(&format!("{}. ", continuation.trim()))).unwrap_or(continuation)
}

fn always_a(_context: &str, continuation: &str) -> f64 {
    if continuation == " A" { -0.1 } else { -5.0 }
}

fn by_content(context: &str, continuation: &str) -> f64 {
    liking(option(context, continuation))
}

/// Knows which choice is right from its text alone: it has seen the answers.
fn knows_the_answers(context: &str, continuation: &str) -> f64 {
    let rows = ["smoke_arc", "smoke_mmlu", "smoke_truthfulqa_mc1"].into_iter().flat_map(|task| builtin_rows(task, "test").unwrap());
    let right = rows.flat_map(|row| match (row.get("answerKey"), row.get("answer"), row.get("mc1_targets")) {
        (Some(key), ..) => {
            let place = row["choices"]["label"].as_array().unwrap().iter().position(|label| label == key).unwrap();
            vec![row["choices"]["text"][place].clone()]
        }
        (_, Some(answer), _) => vec![row["choices"][usize::try_from(answer.as_u64().unwrap()).unwrap()].clone()],
        (.., targets) => vec![targets.unwrap()["choices"][0].clone()],
    });
    let text = option(context, continuation).trim().to_owned();
    if right.filter_map(|right| right.as_str().map(str::to_owned)).any(|right| right == text) { -0.1 } else { -99.0 }
}

fn only_with_a_question(context: &str, continuation: &str) -> f64 {
    if context.ends_with("\n\nAnswer:") || context == "Answer:" { f64::NAN } else { by_request(context, continuation) }
}

fn of_task<'a>(run: &'a Run, task: &str) -> &'a TaskProbes {
    &run.informational.probes.as_ref().expect("probes").tasks[task]
}

#[track_caller]
fn check_against_schema(run: &Run) {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/run.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&serde_json::to_value(run).unwrap()).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
}

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_slm-bench")).args(arguments).output().unwrap()
}

fn verify(results: &Path) -> (Option<i32>, String) {
    let done = program(&["verify", "--results", results.to_str().unwrap()]);
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Without durations, which two runs of the same id may differ in.
fn comparable(run: &Run) -> Value {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("duration_s");
                object.values_mut().for_each(clean);
            }
            Value::Array(array) => array.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(run).unwrap();
    clean(&mut value);
    value
}

fn samples(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder.join("samples")).unwrap().map(|entry| entry.unwrap());
    files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Each figure says of a made-up model what it promises to say.
#[test]
fn figures_say_what_the_models_do() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str, rule| evaluate(rule, &options(&TASKS, true), &folder.path().join(name)).run;
    let run = of("a", always_a);
    check_against_schema(&run);
    let order = &of_task(&run, "smoke_mmlu").choice_order;
    assert_eq!((order.changed.value, order.n, order.accuracies.len()), (Some(100.0), 8, 4));
    let sum: f64 = order.accuracies.iter().map(|accuracy| accuracy.value.unwrap()).sum();
    assert!((sum - 100.0).abs() < 1e-9, "each right answer stands at A once");

    let run = of("content", by_content);
    let order = &of_task(&run, "smoke_mmlu").choice_order;
    assert_eq!((order.changed.value, order.spread), (Some(0.0), Some(0.0)));
    let [low, high] = order.changed.ci95.unwrap();
    assert!(low.abs() < 1e-9 && high > 20.0, "eight documents are no certainty: {high}");
    assert!(order.published_order_advantage.ci95.unwrap()[1] > 20.0);

    let run = of("knows", knows_the_answers);
    for task in ["smoke_arc", "smoke_mmlu", "smoke_truthfulqa_mc1"] {
        let answer = &of_task(&run, task).answer_only;
        assert_eq!((answer.accuracy.value, answer.with_question.value), (Some(100.0), Some(100.0)), "{task}");
        assert!(answer.chance.unwrap() < 60.0 && answer.accuracy.ci95.unwrap()[0] < 100.0, "{task}");
    }
    let column = &run.informational.probes.as_ref().unwrap().answer_only;
    assert_eq!((column.value, column.tasks.len()), (Some(100.0), 3));

    // What would mean nothing is not computed, and says why.
    assert!(of_task(&run, "smoke_arc").choice_order.reason.as_ref().unwrap().contains("does not list the options"));
    assert!(of_task(&run, "smoke_boolq").answer_only.reason.as_ref().unwrap().contains("no and yes"));
    assert!(of_task(&run, "smoke_winogrande").answer_only.reason.is_some());
}

/// A run with probes has the id, scores, pillars, aggregate, sample bytes and place of the run without; no rank, gate or badge knows of them.
#[test]
fn probes_change_no_score() {
    let folder = tempfile::tempdir().unwrap();
    let plain = evaluate(by_request, &options(&TASKS, false), &folder.path().join("plain"));
    let probed = evaluate(by_request, &options(&TASKS, true), &folder.path().join("probed"));
    assert_eq!(probed.run.probes.keys().collect::<Vec<_>>(), PROBES);
    assert!(probed.run.probes.values().all(|probe| probe.status == TaskStatus::Ok && probe.score.is_none() && probe.items.is_some()));
    let (mut one, mut other) = (comparable(&plain.run), comparable(&probed.run));
    assert!(one.get("probes").is_none() && one["informational"].get("probes").is_none(), "an old reader sees the old format");
    for run in [&mut one, &mut other] {
        run["requested"].as_array_mut().unwrap().retain(|name| !PROBES.iter().any(|probe| name == probe));
        run["samples"].as_array_mut().unwrap().retain(|file| !PROBES.iter().any(|probe| file["task"] == *probe));
        run["informational"].as_object_mut().unwrap().remove("probes");
        run.as_object_mut().unwrap().remove("probes");
    }
    assert_eq!(one, other);
    let kept = samples(&probed.folder);
    assert!(samples(&plain.folder).iter().all(|(name, bytes)| kept[name] == *bytes), "the samples of the tasks");

    // With every figure of the probes at its worst, the board is the same but for the probes themselves.
    let board = |run: &Run| {
        let mut registry = Registry::default();
        let submitted = Submitted { id: "made--up".to_owned(), hf_repo: "made/up".to_owned(), ..Submitted::default() };
        let summary = RunSummary::new(run, "results/raw/run.json".to_owned(), "d".repeat(64));
        registry.upsert_all(vec![(submitted, vec![summary])]);
        let specs: Vec<PillarSpec> = Vec::new();
        serde_json::to_value(board::derive(&registry, &specs, &ItemScores::default())).unwrap()
    };
    let mut worst = probed.run.clone();
    let figures = worst.informational.probes.as_mut().unwrap();
    (figures.choice_order.value, figures.answer_only.value) = (Some(100.0), Some(100.0));
    let (mut with, without) = (board(&worst), board(&plain.run));
    assert_eq!(without["models"][0]["probes"]["choice_order"], json!({ "value": null, "ci95": null, "reason": NOT_MEASURED }));
    assert_eq!(with["models"][0]["probes"]["choice_order"]["value"], 100.0);
    with["models"][0]["probes"] = without["models"][0]["probes"].clone();
    assert_eq!(with, without);
}

/// Interrupted at any answer, a run with probes ends with the same bytes; a finished run is given its probes without asking a task again.
#[test]
fn probes_survive_an_interruption_and_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = ["smoke_mmlu", "smoke_arc"];
    let mut made = Made::new(by_request);
    let whole = try_evaluate(&mut made, &options(&tasks, true), &folder.path().join("whole")).unwrap();
    let total = made.asked;
    let output = folder.path().join("torn");
    let mut asked = 0;
    while asked < total {
        let mut made = Made { stops_at: 37, ..Made::new(by_request) };
        let done = try_evaluate(&mut made, &RunOptions { resume: asked > 0, ..options(&tasks, true) }, &output);
        asked += made.asked;
        assert_eq!(done.is_ok(), asked == total, "{asked} of {total}");
    }
    let torn = folder.path().join("torn/made--up").join(&whole.run.run_id);
    let read: Run = serde_json::from_slice(&fs::read(torn.join("run.json")).unwrap()).unwrap();
    assert_eq!(comparable(&read)["probes"], comparable(&whole.run)["probes"]);
    assert_eq!(read.informational, whole.run.informational);
    assert!(samples(&torn) == samples(&whole.folder));

    let later = folder.path().join("later");
    let mut made = Made::new(by_request);
    try_evaluate(&mut made, &options(&tasks, false), &later).unwrap();
    let of_tasks = made.asked;
    let mut made = Made::new(by_request);
    let probed = try_evaluate(&mut made, &RunOptions { resume: true, ..options(&tasks, true) }, &later).unwrap();
    assert_eq!(made.asked, total - of_tasks, "only the probes were asked");
    assert_eq!(comparable(&probed.run), comparable(&whole.run));
    // And a later command without them takes nothing away.
    let kept = evaluate(by_request, &RunOptions { resume: true, ..options(&tasks, false) }, &later);
    assert_eq!(kept.run, probed.run);
}

/// Shards with probes, joined, are the run of one command.
#[test]
fn shards_keep_their_probes() {
    let folder = tempfile::tempdir().unwrap();
    let whole = evaluate(by_request, &options(&["smoke_mmlu", "smoke_arc"], true), &folder.path().join("whole"));
    for task in ["smoke_mmlu", "smoke_arc"] {
        evaluate(by_request, &options(&[task], true), &folder.path().join(task));
    }
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let done = program(&["merge", "--output-dir", &path("joined"), &path("smoke_mmlu"), &path("smoke_arc")]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let joined = folder.path().join("joined/made--up").join(&whole.run.run_id);
    let read: Run = serde_json::from_slice(&fs::read(joined.join("run.json")).unwrap()).unwrap();
    assert_eq!(comparable(&read), comparable(&whole.run));
    assert!(samples(&joined) == samples(&whole.folder));
    assert_eq!(verify(&folder.path().join("joined")).0, Some(0));
}

/// What is no number makes the probe invalid with its reason, and leaves the tasks and the other probes as they are.
#[test]
fn a_broken_probe_is_invalid_and_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        evaluate(only_with_a_question, &RunOptions { num_fewshot: Some(0), ..options(&["smoke_arc", "smoke_mmlu"], true) }, folder.path())
            .run;
    assert!(run.tasks.values().all(|task| task.status == TaskStatus::Ok));
    let broken = &of_task(&run, "smoke_arc").answer_only;
    assert_eq!((broken.accuracy.value, broken.chance), (None, None));
    assert_eq!(broken.reason.as_deref(), Some("invalid: a log-likelihood is not a number"));
    let probes = run.informational.probes.as_ref().unwrap();
    assert_eq!(probes.answer_only.value, None);
    assert!(probes.answer_only.reason.as_ref().unwrap().contains("smoke_arc: invalid"));
    assert!(probes.choice_order.value.is_some());
    check_against_schema(&run);
    assert_eq!(verify(folder.path()).0, Some(0));
}

/// `verify` derives every figure of the probes from their samples, and finds what was edited, added or taken away.
#[test]
fn verify_finds_an_edited_probe() {
    let folder = tempfile::tempdir().unwrap();
    let evaluated = evaluate(by_request, &options(&["smoke_mmlu", "smoke_arc"], true), folder.path());
    let (code, said) = verify(folder.path());
    assert_eq!(code, Some(0), "{said}");
    let path = evaluated.folder.join("run.json");
    let honest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let found = |edit: &dyn Fn(&mut Value)| {
        let mut run = honest.clone();
        edit(&mut run);
        fs::write(&path, serde_json::to_vec_pretty(&run).unwrap()).unwrap();
        let (code, said) = verify(folder.path());
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let edits: [(&dyn Fn(&mut Value), &str); 8] = [
        (&|run| run["informational"]["probes"]["choice_order"]["value"] = json!(1.5), "/informational/probes/choice_order/value"),
        (
            &|run| run["informational"]["probes"]["tasks"]["smoke_arc"]["answer_only"]["accuracy"]["value"] = json!(1.5),
            "/informational/probes/tasks/smoke_arc/answer_only/accuracy/value",
        ),
        (
            &|run| run["probes"]["smoke_mmlu_choice_order"]["metrics"]["changed,none"]["value"] = json!(0.0),
            "/probes/smoke_mmlu_choice_order/metrics/changed,none/value",
        ),
        (&|run| run["probes"]["smoke_arc_answer_only"]["score"] = json!(90.0), "/probes/smoke_arc_answer_only/score"),
        (&|run| run["probes"]["smoke_arc_answer_only"]["num_fewshot"] = json!(1), "/probes/smoke_arc_answer_only/num_fewshot"),
        (&|run| run["probes"]["smoke_arc_answer_only"]["version"] = json!("0"), "/probes/smoke_arc_answer_only/version"),
        (&|run| drop(run["probes"].as_object_mut().unwrap().remove("smoke_mmlu_choice_order")), "/tasks/smoke_mmlu_choice_order"),
        (&|run| drop(run["informational"].as_object_mut().unwrap().remove("probes")), "/informational/probes"),
    ];
    for (edit, pointer) in edits {
        let said = found(edit);
        assert!(said.contains(pointer), "{pointer} is not in {said}");
    }

    // An edited answer contradicts its own line, and one that is consistent the figures.
    let name = "samples/smoke_mmlu_choice_order.jsonl.zst";
    let sample = evaluated.folder.join(name);
    let lines = read_samples(&sample).unwrap();
    let with_edit = |edit: &dyn Fn(&mut Value)| {
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            let mut line = serde_json::to_value(line).unwrap();
            if number == 0 {
                edit(&mut line);
            }
            text.push_str(&line.to_string());
            text.push('\n');
        }
        let bytes = zstd::encode_all(text.as_bytes(), 3).unwrap();
        fs::write(&sample, &bytes).unwrap();
        found(&|run| {
            let files = run["samples"].as_array_mut().unwrap();
            let file = files.iter_mut().find(|file| file["file"] == name).unwrap();
            file["sha256"] = json!(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)));
        })
    };
    let changed = lines[0].metrics["changed,none"].as_f64().unwrap();
    assert!(with_edit(&|line| line["metrics"]["changed,none"] = json!(1.0 - changed)).contains("/0/metrics/changed,none"));
    let said = with_edit(&|line| line["target"][1] = line["target"][0].clone());
    assert!(said.contains("not the published one moved on"), "{said}");
}
