//! What a run makes of its answers, with a model made up for the purpose: long contexts, sampled programs, and runs that extend others.

use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slm_benchmark::benchmark::{Document, TaskSpec, builtin_rows, long_context};
use slm_benchmark::engine::{
    ChatMessage, Decoding, EngineDescription, EngineError, Finish, Generation, GenerationRequest, LanguageModel, Loglikelihood,
    LoglikelihoodRequest, RollingLoglikelihood, Sink, Usage,
};
use slm_benchmark::evaluation::{
    Control, DocumentSource, Evaluated, ModelUnderTest, ProgramRunner, Rows, RunOptions, Verbosity, read_samples, run, task_of_run,
};
use slm_benchmark::leaderboard::run::{DatasetRecord, ModelRecord, Parameters, Quantization, Run, TaskStatus};
use slm_benchmark::sandbox::{Execution, Level, Program, Verdict};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A number in [0, 1) that depends on the text alone.
fn chance(text: &str) -> f64 {
    let digest = Sha256::digest(text);
    f64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])) / (f64::from(u32::MAX) + 1.0)
}

/// Answers by looking, not by thinking. As an engine's, the last bits of its log-likelihoods depend on everything that is asked in one call.
struct Looking {
    window: usize,
    /// Requests that it was asked to answer.
    asked: usize,
}

impl Looking {
    fn new(window: usize) -> Self {
        Self { window, asked: 0 }
    }

    /// Finds the fact in the text before the question, as far back as its eyes reach.
    fn read(prompt: &str) -> String {
        let (text, question) = prompt.rsplit_once("Question:").unwrap_or(("", prompt));
        let town = |house: &str| text.split_once(&format!("The {house} stands in the town of ")).map(|(_, rest)| rest);
        let between = |from: &str, to: &str| question.split_once(from).and_then(|(_, rest)| rest.split_once(to)).map(|(found, _)| found);
        let found = if let Some(place) = between("access code of the ", "?") {
            text.split_once(&format!("The access code of the {place} is ")).map(|(_, rest)| rest)
        } else if let Some(house) = between("does the ", " stand?") {
            town(house)
        } else {
            between("key of the ", " kept?")
                .and_then(|house| text.split_once(&format!("The spare key of the {house} is kept by the ")))
                .and_then(|(_, rest)| rest.split_once('.'))
                .and_then(|(keeper, _)| town(keeper))
        };
        found.and_then(|rest| rest.split_once('.')).map_or_else(String::new, |(answer, _)| format!(" {answer}, I think"))
    }

    fn write(request: &GenerationRequest) -> Generation {
        let text = match request.decoding {
            Decoding::Greedy if request.context.contains("Question:") => Self::read(&request.context),
            Decoding::Greedy => format!(" greedy {:.3}\n", chance(&request.context)),
            Decoding::Sampled { seed, .. } => format!(" sample {seed}\n"),
        };
        let tokens = text.split_whitespace().count() + 1;
        let nominal = (request.context.split_whitespace().count() + tokens) as u64;
        Generation {
            text,
            token_ids: vec![7; tokens],
            finish: Finish::StopString,
            truncated: false,
            tokens_nominal: nominal,
            tokens_computed: nominal / 2,
        }
    }

    fn score(request: &LoglikelihoodRequest, company: f64) -> Loglikelihood {
        let value = -1.0 - 9.0 * chance(&format!("{}|{}", request.context, request.continuation)) - 1e-9 * company;
        Loglikelihood { value, is_greedy: value > -2.0, truncated: false }
    }
}

impl LanguageModel for Looking {
    fn description(&self) -> EngineDescription {
        let text = |text: &str| text.to_owned();
        EngineDescription { name: text("looking"), version: text("1"), device: text("cpu"), dtype: text("f32") }
    }

    fn max_length(&self) -> usize {
        self.window
    }

    fn loglikelihood(
        &mut self,
        requests: &[LoglikelihoodRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        let company = chance(&serde_json::to_string(requests).unwrap_or_default());
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| !answered[*index]) {
            self.asked += 1;
            sink(index, Self::score(request, company)).map_err(EngineError::Stopped)?;
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
        requests: &[GenerationRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError> {
        for (index, request) in requests.iter().enumerate().filter(|(index, _)| !answered[*index]) {
            self.asked += 1;
            sink(index, Self::write(request)).map_err(EngineError::Stopped)?;
        }
        Ok(Usage::default())
    }

    fn loglikelihood_alone(&mut self, request: &LoglikelihoodRequest) -> Result<(Loglikelihood, Usage), EngineError> {
        Ok((Self::score(request, 0.0), Usage::default()))
    }

    fn loglikelihood_rolling_alone(&mut self, _text: &str) -> Result<(RollingLoglikelihood, Usage), EngineError> {
        Err(EngineError::Request("not asked here".to_owned()))
    }

    fn generate_alone(&mut self, request: &GenerationRequest) -> Result<(Generation, Usage), EngineError> {
        Ok((Self::write(request), Usage::default()))
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError> {
        Ok(prompt.split_whitespace().map(|word| word.len().div_ceil(4)).sum())
    }

    fn render_chat(&self, _messages: &[ChatMessage], _add_generation_prompt: bool) -> Result<String, EngineError> {
        Err(EngineError::Request("no chat template".to_owned()))
    }
}

/// Built-in rows, and invented ones for two tasks of the hub.
struct Invented;

impl Invented {
    fn row(task: &str, split: &str, index: usize) -> Option<Document> {
        let row = match task {
            "boolq" => json!({
                "question": format!("is {split} {index} even"), "passage": format!("Number {index} of {split}."), "idx": index, "label": index % 2
            }),
            "gsm8k" => json!({ "question": format!("{split} {index} and {index}?"), "answer": format!("Twice.\n#### {}", 2 * index) }),
            _ => return None,
        };
        row.as_object().cloned()
    }
}

impl DocumentSource for Invented {
    fn revision(&mut self, spec: &TaskSpec) -> anyhow::Result<String> {
        match spec.name.as_str() {
            name if long_context::TASKS.contains(&name) => long_context::digest(name),
            "boolq" | "gsm8k" | "smoke_humaneval" => Ok("a".repeat(40)),
            other => anyhow::bail!("{other} is not here"),
        }
    }

    fn rows(&mut self, spec: &TaskSpec, split: &str) -> anyhow::Result<Rows> {
        let dataset = |repo: &str| DatasetRecord { repo: repo.to_owned(), config: None, split: split.to_owned(), revision: "a".repeat(40) };
        let rows: Option<Vec<Document>> = match spec.name.as_str() {
            "smoke_humaneval" => return Ok(Rows { rows: builtin_rows(&spec.name, split).unwrap(), dataset: dataset("builtin") }),
            name => (0..if split == "train" { 20 } else { 260 }).map(|index| Self::row(name, split, index)).collect(),
        };
        let repo = if spec.name == "boolq" { "aps/super_glue" } else { "openai/gsm8k" };
        Ok(Rows { rows: rows.ok_or_else(|| anyhow::anyhow!("{} is not here", spec.name))?, dataset: dataset(repo) })
    }
}

/// Greedy programs fail; of the sampled ones, those whose seed is even pass.
struct Even;

impl ProgramRunner for Even {
    fn run(&self, programs: &[Program]) -> anyhow::Result<Vec<Execution>> {
        let one = |program: &Program| {
            let seed = program.candidate.rsplit_once(" sample ").and_then(|(_, seed)| seed.trim().parse::<u64>().ok());
            let passed = seed.is_some_and(|seed| seed % 2 == 0);
            let (verdict, reason) = if passed { (Verdict::Passed, "") } else { (Verdict::Failed, "AssertionError") };
            Execution { verdict, reason: reason.to_owned(), level: Level::NamespacesSeccompLandlock, cpu_s: 0.0, wall_s: 0.0 }
        };
        Ok(programs.iter().map(one).collect())
    }

    fn level(&self) -> Option<Level> {
        Some(Level::NamespacesSeccompLandlock)
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

#[track_caller]
fn evaluate(looking: &mut Looking, options: &RunOptions, output: &Path) -> Evaluated {
    let stop = AtomicBool::new(false);
    let control = Control { verbosity: Verbosity::Silent, stop: &stop, energy: None };
    run(looking, &model(), &mut Invented, Some(&Even), options, output, &control, &now).unwrap()
}

fn options(suite: &str, tasks: &[&str]) -> RunOptions {
    RunOptions { suite: suite.to_owned(), tasks: tasks.iter().map(|&task| task.to_owned()).collect(), ..RunOptions::default() }
}

fn check_against_schema(run: &Run) {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/run.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&serde_json::to_value(run).unwrap()).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
}

/// A model that can look back finds every fact; lengths beyond its window say why they are empty; the pillars know nothing of it.
#[test]
fn a_long_context_run_fills_its_grid() {
    let folder = tempfile::tempdir().unwrap();
    let long = RunOptions { pillars: vec!["long_context".to_owned()], ..options("standard", &[]) };
    let evaluated = evaluate(&mut Looking::new(3000), &long, folder.path());
    let run = &evaluated.run;
    check_against_schema(run);
    assert_eq!(run.tasks.keys().collect::<Vec<_>>(), ["multi_document_qa", "needle_in_a_haystack"]);
    assert_eq!((run.aggregate.score, run.aggregate.coverage), (None, 0.0));
    assert!(run.tasks.values().all(|task| task.status == TaskStatus::Ok && task.score == Some(100.0) && task.n == task.n_total));
    let grids: long_context::LongContext = serde_json::from_value(run.informational.long_context.clone().unwrap()).unwrap();
    assert_eq!(grids.grids.keys().collect::<Vec<_>>(), ["document", "needle", "two_documents"]);
    for grid in grids.grids.values() {
        for row in &grid.lengths[..2] {
            assert_eq!((row.n, row.correct, row.cells.len()), (40, 40, 5));
            let [shortest, longest] = row.prompt_tokens.unwrap();
            let room = (row.length - long_context::RESERVED) as u64;
            assert!(longest <= room && shortest + long_context::TOLERANCE as u64 >= room, "{shortest} to {longest} of {room}");
        }
        assert!(grid.lengths[2..].iter().all(|row| row.n == 0 && row.reason.as_deref().is_some_and(|reason| reason.contains("3000"))));
    }
    // A limit takes the first texts: one of each length.
    let limited = RunOptions { limit: Some(slm_benchmark::benchmark::Limit::Count(10)), ..long.clone() };
    let limited = evaluate(&mut Looking::new(3000), &limited, folder.path()).run;
    let grid = limited.informational.long_context.unwrap();
    assert_eq!(
        (grid["grids"]["needle"]["lengths"][0]["n"].clone(), grid["grids"]["needle"]["lengths"][1]["n"].clone()),
        (json!(5), json!(5))
    );
    // Where not even the shortest text fits, nothing is asked, nothing fails, and the grid says so.
    let narrow = evaluate(&mut Looking::new(512), &RunOptions { seed: 5, ..long }, folder.path()).run;
    check_against_schema(&narrow);
    assert!(narrow.tasks.is_empty());
    let grid = narrow.informational.long_context.unwrap();
    assert_eq!(grid["grids"]["needle"]["lengths"][0]["reason"], json!("longer than the model's window of 512 tokens"));
}

/// pass@k is taken over the sampled programs and stands beside the greedy pass@1, which is ranked; every program is in the samples.
#[test]
fn sampled_programs_stand_beside_the_greedy_one() {
    let folder = tempfile::tempdir().unwrap();
    let plain = evaluate(&mut Looking::new(2048), &options("smoke", &["smoke_humaneval"]), folder.path());
    let sampling = RunOptions { coding_samples: Some(12), ..options("smoke", &["smoke_humaneval"]) };
    let evaluated = evaluate(&mut Looking::new(2048), &sampling, folder.path());
    check_against_schema(&evaluated.run);
    assert_ne!(plain.run.run_id, evaluated.run.run_id, "sampling is part of the run's id");
    let task = &evaluated.run.tasks["smoke_humaneval"];
    assert_eq!((task.primary_metric.as_str(), task.score), ("pass@1,create_test", plain.run.tasks["smoke_humaneval"].score));
    assert_eq!(plain.run.tasks["smoke_humaneval"].metrics.len(), 1);
    assert_eq!(task.metrics.keys().collect::<Vec<_>>(), ["pass@1,create_test", "pass@1,sampled", "pass@10,sampled", "pass@5,sampled"]);
    let lines = read_samples(&evaluated.folder.join("samples/smoke_humaneval.jsonl.zst")).unwrap();
    let mut mean = 0.0;
    for line in &lines {
        let programs = line.details.as_ref().unwrap()["programs"].as_array().unwrap();
        assert_eq!((line.resps.len(), programs.len()), (13, 13));
        let passed = programs[1..].iter().filter(|program| program["verdict"] == json!("passed")).count();
        assert!(programs.iter().all(|program| program["verdict"] == json!("passed") || program["reason"] == json!("AssertionError")));
        let share = passed as f64 / 12.0;
        assert!((line.metrics["pass@1,sampled"].as_f64().unwrap() - share).abs() < 1e-12);
        assert_eq!(line.metrics["pass@1,create_test"], json!(0.0));
        mean += share / lines.len() as f64;
    }
    assert!((task.metrics["pass@1,sampled"].value.unwrap() - mean).abs() < 1e-12);
    assert!(task.metrics["pass@10,sampled"].value > task.metrics["pass@1,sampled"].value);
    let asked = task_of_run(&evaluated.run, "smoke_humaneval").unwrap();
    assert_eq!(asked.spec().samples, 12);
}

fn samples_of(evaluated: &Evaluated) -> Vec<(String, String, Vec<u8>)> {
    let files = evaluated.run.samples.iter();
    files.map(|file| (file.task.clone(), file.sha256.clone(), std::fs::read(evaluated.folder.join(&file.file)).unwrap())).collect()
}

/// A quick run extended to the standard suite asks nothing twice, and ends with the bytes of a standard run from nothing, although the last
/// bits of an answer depend on what it is computed with.
#[test]
fn an_extended_run_has_the_bytes_of_a_run_from_nothing() {
    const TASKS: [&str; 3] = ["boolq", "gsm8k", "needle_in_a_haystack"];
    let folder = tempfile::tempdir().unwrap();
    let (here, there, elsewhere) = (folder.path().join("here"), folder.path().join("there"), folder.path().join("elsewhere"));
    let mut quick = Looking::new(2048);
    let early = evaluate(&mut quick, &options("quick", &TASKS), &here);
    let mut fresh = Looking::new(2048);
    let from_nothing = evaluate(&mut fresh, &options("standard", &TASKS), &there);
    let mut extending = Looking::new(2048);
    let extended = evaluate(&mut extending, &options("standard", &TASKS), &here);
    assert_eq!(extending.asked + quick.asked, fresh.asked, "nothing is asked twice");
    assert!(extending.asked > 0 && quick.asked > 500);
    assert_eq!(extended.run.run_id, from_nothing.run.run_id);
    assert_eq!(samples_of(&extended), samples_of(&from_nothing));
    let figures = |run: &Run| {
        let mut tasks = run.tasks.clone();
        for task in tasks.values_mut() {
            task.duration_s = 0.0;
        }
        (tasks, run.informational.clone())
    };
    assert_eq!(figures(&extended.run), figures(&from_nothing.run));
    assert_eq!(extended.run.environment.details["extends"], early.run.run_id);
    // The same by name, from another output folder.
    let mut named = Looking::new(2048);
    let by_name = RunOptions { extend: Some(early.folder.clone()), ..options("standard", &TASKS) };
    let named_run = evaluate(&mut named, &by_name, &elsewhere);
    assert_eq!((named.asked, samples_of(&named_run)), (extending.asked, samples_of(&from_nothing)));
}

/// What differs is not taken over: another seed's answers are to other questions, a limited run's were planned otherwise, and a file that
/// is not what its run says proves nothing.
#[test]
fn only_the_same_answers_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut quick = Looking::new(2048);
    let early = evaluate(&mut quick, &options("quick", &["boolq"]), folder.path());
    let mut fresh = Looking::new(2048);
    evaluate(&mut fresh, &options("standard", &["boolq"]), &folder.path().join("elsewhere"));
    let asked = |options: &RunOptions| {
        let mut looking = Looking::new(2048);
        evaluate(&mut looking, options, folder.path());
        looking.asked
    };
    assert_eq!(asked(&RunOptions { seed: 9, ..options("standard", &["boolq"]) }), fresh.asked);
    assert_eq!(asked(&RunOptions { num_fewshot: Some(1), ..options("standard", &["boolq"]) }), fresh.asked);
    let limit = Some(slm_benchmark::benchmark::Limit::Count(50));
    assert_eq!(asked(&RunOptions { limit, ..options("standard", &["boolq"]) }), 100);
    std::fs::write(early.folder.join("samples/boolq.jsonl.zst"), "damaged").unwrap();
    assert_eq!(asked(&options("standard", &["boolq"])), fresh.asked);
    // By name, what cannot be extended is an error that says why.
    let stop = AtomicBool::new(false);
    let control = Control { verbosity: Verbosity::Silent, stop: &stop, energy: None };
    let wrong = RunOptions { extend: Some(early.folder), seed: 10, ..options("standard", &["boolq"]) };
    let error = run(&mut Looking::new(2048), &model(), &mut Invented, None, &wrong, folder.path(), &control, &now).err().unwrap();
    assert!(format!("{error:#}").contains("its seed is 1234, this one's is 10"), "{error:#}");
}
