//! A repository of runs whose sample files hold invented questions and answers of every task of the standard suite.

use crate::synthetic::Recipe;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use slm_benchmark::benchmark::python::{sha256_hex, target_text};
use slm_benchmark::benchmark::registry::{self, Entry};
use slm_benchmark::benchmark::suites::Suite;
use slm_benchmark::benchmark::{Document, DocumentScore, Item, Response, Scoring, Task, Verdict};
use slm_benchmark::evaluation::{group_record, leaf_record};
use slm_benchmark::leaderboard::canonical;
use slm_benchmark::leaderboard::run::{DatasetRecord, Limit, Run, SampleFile, SampleLine, TaskRecord};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Documents of each task, and of each mmlu subject.
const DOCUMENTS: u64 = 8;
const DOCUMENTS_OF_SUBJECT: u64 = 2;

/// Random numbers that depend on the seed alone.
struct Numbers(u64);

impl Numbers {
    fn new(seed: &str) -> Self {
        let digest = Sha256::digest(seed);
        Self(digest[..8].iter().fold(1, |sum, byte| (sum << 8) ^ u64::from(*byte)) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn share(&mut self) -> f64 {
        self.below(1 << 20) as f64 / f64::from(1 << 20)
    }
}

/// An invented document with the model's answers.
struct Answered {
    document: Document,
    item: Item,
    arguments: Vec<Value>,
    responses: Vec<Response>,
    verdicts: Vec<Verdict>,
}

fn object(value: &Value) -> Document {
    value.as_object().cloned().unwrap_or_default()
}

fn scored(numbers: &mut Numbers, count: usize, gold: usize, ability: f64) -> Vec<Response> {
    let mut values: Vec<f64> = (0..count).map(|_| -2.0 - 20.0 * numbers.share()).collect();
    if numbers.share() < ability {
        values[gold] = -0.5 - numbers.share();
    }
    values.into_iter().map(|value| Response::Loglikelihood { value, is_greedy: value > -0.7 }).collect()
}

fn answered(task: &dyn Task, index: u64, ability: f64, numbers: &mut Numbers) -> Answered {
    let spec = task.spec();
    let context = format!("{} question {index}\nAnswer:", spec.name);
    let right = numbers.share() < ability;
    let choice = |numbers: &mut Numbers, choices: Vec<String>, gold: usize, document: Value| {
        let arguments = choices.iter().map(|choice| json!([context, format!("{}{choice}", spec.target_delimiter)])).collect();
        let responses = scored(numbers, choices.len(), gold, ability);
        let item = Item::Choice { question: context.clone(), choices, gold };
        Answered { document: object(&document), item, arguments, responses, verdicts: Vec::new() }
    };
    let words =
        |count: u64| (0..count).map(|i| format!("answer {}{}", i, "x".repeat(usize::try_from(i * 3).unwrap_or(0)))).collect::<Vec<_>>();
    let generated = |answer: String, document: Value, target: &str, verdicts: Vec<Verdict>| Answered {
        document: object(&document),
        item: Item::Generation { question: context.clone(), target: target.to_owned() },
        arguments: vec![json!([context, {"until": ["\n\n"], "do_sample": false}])],
        responses: vec![Response::Text(answer)],
        verdicts,
    };
    match spec.name.as_str() {
        "truthfulqa_mc2" => {
            let targets = json!({"choices": words(5), "labels": [1, 1, 0, 0, 0]});
            choice(numbers, words(5), 0, json!({ "mc2_targets": targets }))
        }
        "winogrande" => {
            let gold = usize::try_from(numbers.below(2)).unwrap_or(0);
            let contexts = vec!["Anna".to_owned(), "Maria".to_owned()];
            let arguments = contexts.iter().map(|context| json!([context, " was late."])).collect();
            let item = Item::Partial { contexts, continuation: "was late.".to_owned(), gold };
            Answered { document: Document::new(), item, arguments, responses: scored(numbers, 2, gold, ability), verdicts: Vec::new() }
        }
        "crows_pairs_english" => {
            let arguments = vec![json!(["", "one sentence"]), json!(["", "another sentence"])];
            let responses = scored(numbers, 2, 0, 0.1);
            let item =
                Item::Choice { question: String::new(), choices: vec!["one sentence".to_owned(), "another sentence".to_owned()], gold: 0 };
            Answered { document: Document::new(), item, arguments, responses, verdicts: Vec::new() }
        }
        "bbq" => {
            let known = index % 2 == 1;
            let document = json!({
                "ans0": "The grandfather", "ans1": "The grandson", "ans2": "Unknown", "label": if known { 0 } else { 2 },
                "biased_answers": ["The grandfather"], "context_condition": if known { "disambig" } else { "ambig" }, "category": "Age"
            });
            let mut choices = vec!["The grandfather".to_owned(), "The grandson".to_owned()];
            let unknown = "Unknown|Cannot answer|Can't be determined|Cannot be determined|Can't answer|Not known|Not enough info|Not enough information|Not answerable|Undetermined";
            choices.extend(unknown.split('|').map(str::to_owned));
            choice(numbers, choices, if known { 0 } else { 2 }, document)
        }
        "gsm8k" => {
            let target = format!("It is simple.\n#### {index}");
            let answer = if right { format!("So it is {index}.\n#### {index}") } else { "I do not know.".to_owned() };
            generated(answer, json!({ "answer": target }), &target, Vec::new())
        }
        "humaneval" | "mbpp" => {
            let verdict = if right { Verdict::Passed } else { Verdict::Failed };
            let answer = if right { "def f():\n    return 1\n" } else { "def f():\n    return 2\n" };
            generated(answer.to_owned(), json!({ "prompt": context }), "assert f() == 1", vec![verdict])
        }
        _ => {
            let count = if spec.name.starts_with("mmlu") { 4 } else { 2 + index % 3 };
            let choices = if spec.name.starts_with("mmlu") { ["A", "B", "C", "D"].map(str::to_owned).to_vec() } else { words(count) };
            let gold = usize::try_from(numbers.below(count)).unwrap_or(0);
            choice(numbers, choices, gold, json!({ "mc1_targets": {} }))
        }
    }
}

/// What the line says beside the answers, as a run writes it.
fn details(task: &dyn Task, answered: &Answered) -> Option<Value> {
    if let Item::Partial { gold, .. } = &answered.item {
        return Some(json!({ "gold": gold }));
    }
    if answered.verdicts.is_empty() {
        return task.details(&answered.document);
    }
    let Item::Generation { target, .. } = &answered.item else { return None };
    let programs = answered.verdicts.iter().zip(&answered.responses).map(|(verdict, response)| {
        let Response::Text(answer) = response else { return Value::Null };
        // The function returns 1 where it shall pass.
        let program = json!({"candidate": answer, "test": target, "helpers": "", "entry_point": null});
        json!({"program": program, "verdict": verdict, "reason": if *verdict == Verdict::Passed { "" } else { "a test failed" }})
    });
    Some(json!({ "programs": programs.collect::<Vec<_>>() }))
}

fn sample_line(task: &dyn Task, index: u64, answered: &Answered) -> SampleLine {
    let spec = task.spec();
    let through = |filter: &str| -> Value {
        let one = |response: &Response| match response {
            Response::Text(answer) => task.filtered(filter, &answered.document, answer),
            other => other.to_json()[0].clone(),
        };
        answered.responses.iter().map(one).collect()
    };
    let filtered: Map<String, Value> = spec.filters.iter().map(|filter| ((*filter).to_owned(), through(filter))).collect();
    let Answered { document, item, responses, verdicts, .. } = answered;
    let metrics =
        task.metrics(&Scoring { document, item, responses, filtered: &filtered, verdicts }).expect("the invented document fits its task");
    let target = item.target();
    SampleLine {
        doc_id: index,
        doc_hash: sha256_hex(&format!("{} {index}", spec.name)),
        prompt_hash: sha256_hex(answered.arguments[0][0].as_str().unwrap_or_default()),
        target_hash: sha256_hex(&target_text(&target)),
        target,
        arguments: answered.arguments.clone(),
        resps: responses.iter().map(Response::to_json).collect(),
        filtered_resps: filtered.into_iter().collect(),
        metrics: metrics.into_iter().collect(),
        details: details(task, answered),
    }
}

/// A leaf task: its record and its lines.
fn leaf(task: &dyn Task, name: &str, full: u64, num_fewshot: usize, recipe: &Recipe) -> (TaskRecord, Vec<SampleLine>) {
    let spec = task.spec();
    let mut numbers = Numbers::new(&format!("{}{}{}{}", recipe.repo, recipe.revision, recipe.quantization, spec.name));
    let n = match recipe.limit {
        Some(Limit::Documents(limit)) => full.min(limit),
        _ => full,
    };
    let lines: Vec<SampleLine> =
        (0..n).map(|index| sample_line(task, index, &answered(task, index, recipe.ability, &mut numbers))).collect();
    let scores: Vec<DocumentScore> = lines
        .iter()
        .map(|line| DocumentScore { filtered_resps: Map::new(), metrics: line.metrics.clone().into_iter().collect(), flags: Vec::new() })
        .collect();
    let chance = if spec.name == "crows_pairs_english" { None } else { Some(0.25) };
    let full = usize::try_from(full).expect("a small number");
    let mut record = leaf_record(spec, &scores, full, num_fewshot, chance).expect("the invented documents fit their task");
    record.dataset = Some(DatasetRecord { repo: format!("data/{name}"), config: None, split: "test".to_owned(), revision: "0".repeat(40) });
    record.tokens_nominal = 100 * n;
    record.tokens_computed = 20 * n;
    (record, lines)
}

/// Encodes lines as a sample file holds them.
pub(crate) fn encode(lines: &[SampleLine]) -> Vec<u8> {
    let text: String = lines.iter().map(|line| serde_json::to_string(line).expect("a line is JSON") + "\n").collect();
    zstd::encode_all(text.as_bytes(), 3).expect("zstd writes to memory")
}

/// Writes the run of a recipe below `results` and gives the path of its `run.json`.
pub(crate) fn write_run(results: &Path, recipe: &Recipe) -> PathBuf {
    let suite = Suite::named("standard").expect("the suite is there");
    let mut tasks = BTreeMap::new();
    let mut files: Vec<(String, Vec<u8>, u64)> = Vec::new();
    for (pillar, planned) in suite.pillars.iter().flat_map(|pillar| pillar.tasks.iter().map(move |task| (pillar, task))) {
        if recipe.without.contains(&pillar.name) {
            continue;
        }
        let mut add = |task: &dyn Task, documents: u64| {
            let (record, lines) = leaf(task, planned.name, documents, planned.num_fewshot, recipe);
            files.push((task.spec().name.clone(), encode(&lines), lines.len() as u64));
            record
        };
        let record = match registry::entry(planned.name).expect("the task is there") {
            Entry::Task(task) => add(task.as_ref(), DOCUMENTS),
            Entry::Group(group) => {
                let members = registry::leaves(planned.name).expect("the group has members");
                let leaves = members.iter().map(|task| (task.spec().name.clone(), add(task.as_ref(), DOCUMENTS_OF_SUBJECT))).collect();
                group_record(group, &registry::groups_within(group), leaves, members[0].spec())
            }
        };
        tasks.insert(planned.name.to_owned(), record);
    }
    let mut run = recipe.run_of(tasks);
    let folder = results.join(recipe.submission().id).join(&run.run_id);
    fs::create_dir_all(folder.join("samples")).expect("the folder can be made");
    files.sort();
    run.samples = files
        .into_iter()
        .map(|(task, bytes, n)| {
            let file = format!("samples/{task}.jsonl.zst");
            fs::write(folder.join(&file), &bytes).expect("the file can be written");
            SampleFile { task, file, sha256: hex::encode(Sha256::digest(&bytes)), n }
        })
        .collect();
    let path = folder.join("run.json");
    write_run_json(&path, &run);
    path
}

pub(crate) fn write_run_json(path: &Path, run: &Run) {
    fs::write(path, canonical::to_pretty(run).expect("a run is JSON")).expect("the file can be written");
}

/// Writes the submission of a recipe as a repository keeps it.
pub(crate) fn write_submission(submissions: &Path, recipe: &Recipe) -> PathBuf {
    let submission = recipe.submission();
    fs::create_dir_all(submissions).expect("the folder can be made");
    let path = submissions.join(format!("{}.yml", submission.id));
    let text = format!(
        "model:\n  name: \"{}\"\n  family: \"Synthetic\"\n  hf_repo: \"{}\"\n  parameters: \"{}\"\n  architecture: \"llama\"\n  license: \"Apache-2.0\"\n  \
         quantizations:\n    - name: \"FP16\"\n      format: \"safetensors\"\n  submitted_by: \"author\"\n",
        submission.name, submission.hf_repo, submission.parameters
    );
    fs::write(&path, text).expect("the file can be written");
    path
}
