//! Prompts, hashes, requests, per-document metrics and aggregates of every task equal those that lm-evaluation-harness 0.4.13 logged.

use crate::data::{documents, golden, hub, snapshot, task_files};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use slm_benchmark::benchmark::python::{self, sha256_hex};
use slm_benchmark::benchmark::registry::{self, Entry};
use slm_benchmark::benchmark::{
    Aggregate, BuildOptions, Built, Document, Item, Limit, Location, Metrics, Request, Response, Task, Verdict, aggregate, aggregate_group,
    build, programs, score,
};
use slm_benchmark::engine::ChatMessage;
use slm_benchmark::hub::{Hub, HubConfig};
use slm_benchmark::statistics::PythonRandom;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Dataset rows of the offline hub, read once.
struct Rows {
    hub: Hub,
    splits: HashMap<(String, String, String), Vec<Document>>,
}

impl Rows {
    fn new() -> Self {
        Self { hub: Hub::new(&HubConfig::offline(hub())).unwrap(), splits: HashMap::new() }
    }

    fn of(&mut self, task: &dyn Task, split: &str) -> Vec<Document> {
        let Location::Hub { repo, config } = &task.spec().dataset.location else {
            panic!("{} is built in", task.spec().name);
        };
        let read =
            || self.hub.dataset_split(repo, Some(config), split, None).unwrap_or_else(|error| panic!("{repo} {config}: {error}")).rows;
        self.splits.entry((repo.clone(), config.clone(), split.to_owned())).or_insert_with(read).clone()
    }
}

/// Differences found, with where they are; the test fails with the first of them.
#[derive(Default)]
struct Findings {
    documents: usize,
    values: usize,
    differences: Vec<String>,
}

impl Findings {
    fn equal(&mut self, place: &str, what: &str, ours: &Value, theirs: &Value) {
        self.values += 1;
        if !same(ours, theirs) {
            self.differences.push(format!("{place}: {what} is {}, not {}", shortened(ours), shortened(theirs)));
        }
    }
}

/// Equal, where floating-point numbers may differ by their last digits.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => {
            let (Some(x), Some(y)) = (a.as_f64(), b.as_f64()) else { return false };
            a.is_f64() == b.is_f64() && (x - y).abs() <= 1e-12 * y.abs()
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => ours == theirs,
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 300 { text } else { format!("{}…", text.chars().take(300).collect::<String>()) }
}

/// One file of the harness's logs.
struct GoldenRun<'a> {
    place: String,
    summary: &'a Value,
    lines: Vec<Value>,
    chat_template: Option<String>,
}

#[test]
fn every_logged_document_is_asked_and_scored_as_the_harness_did() {
    let mut hub_rows = Rows::new();
    let mut findings = Findings::default();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "{} has no folders", golden().display());
    for folder in folders {
        let model = folder.file_name().unwrap().to_string_lossy().into_owned();
        let summary = read_json(&folder.join("summary.json"));
        let chat_template = model.ends_with("-chat").then(|| chat_template(&model));
        let files = task_files(&model);
        assert_eq!(files.len(), summary["tasks"].as_object().unwrap().len(), "{model}: every log has its summary");
        for (stem, path) in files {
            let (task_summary, lines) = (&summary["tasks"][&stem], documents(&path));
            assert!(task_summary.is_object(), "{model}: {stem} has no summary");
            let place = format!("{model}/{stem}");
            let run = GoldenRun { place, summary: task_summary, lines, chat_template: chat_template.clone() };
            check_run(&run, &mut hub_rows, &mut findings);
        }
    }
    println!(
        "{} documents and {} values compared with lm-evaluation-harness, {} differences",
        findings.documents,
        findings.values,
        findings.differences.len()
    );
    assert!(findings.documents > 0);
    let shown: Vec<&str> = findings.differences.iter().take(20).map(String::as_str).collect();
    assert!(findings.differences.is_empty(), "{} differences, the first:\n{}", findings.differences.len(), shown.join("\n"));
}

/// The chat template of the model that answered, from its tokenizer's configuration.
fn chat_template(model: &str) -> String {
    let folder = snapshot(&format!("slm-benchmark/{}", model.replace("demo", "demo-1m")));
    read_json(&folder.join("tokenizer_config.json"))["chat_template"].as_str().unwrap().to_owned()
}

fn render(template: &str, messages: &[ChatMessage]) -> anyhow::Result<String> {
    let context = minijinja::context! { messages => messages, add_generation_prompt => true };
    Ok(minijinja::Environment::new().render_str(template, context)?)
}

fn check_run(run: &GoldenRun<'_>, hub_rows: &mut Rows, findings: &mut Findings) {
    let mut of_task: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in &run.lines {
        of_task.entry(line["task"].as_str().unwrap()).or_default().push(line);
    }
    let mut aggregates: BTreeMap<String, Vec<Aggregate>> = BTreeMap::new();
    for (name, lines) in of_task {
        let task = registry::task(name).unwrap_or_else(|error| panic!("{}: {error}", run.place));
        let built = build_as_logged(run, task.as_ref(), &lines, hub_rows);
        check_definition(run, task.as_ref(), &built, findings);
        let metrics = check_documents(run, task.as_ref(), &built, &lines, findings);
        let combined = aggregate(task.spec(), &metrics.iter().collect::<Vec<_>>()).unwrap();
        check_aggregates(&format!("{} {name}", run.place), &combined, &run.summary["results"][name], findings);
        aggregates.insert(name.to_owned(), combined);
    }
    for (name, theirs) in run.summary["groups"].as_object().unwrap_or(&Map::new()) {
        let Entry::Group(group) = registry::entry(name).unwrap() else { panic!("{name} is no group") };
        let leaves: Vec<&Aggregate> = group.members.iter().map(|member| &aggregates[member][0]).collect();
        let combined = aggregate_group(&leaves).unwrap();
        findings.equal(&run.place, &format!("version of {name}"), &json!(group.version), &run.summary["version"][name]);
        findings.equal(&run.place, &format!("size of {name}"), &json!(combined.n), &theirs["sample_len"]);
        check_aggregates(&format!("{} {name}", run.place), &[combined], theirs, findings);
    }
}

fn build_as_logged(run: &GoldenRun<'_>, task: &dyn Task, lines: &[&Value], hub_rows: &mut Rows) -> Built {
    let spec = task.spec();
    let shots = usize::try_from(run.summary["n_shot"][&spec.name].as_u64().unwrap()).unwrap();
    let rows = hub_rows.of(task, &spec.dataset.split);
    let fewshot = match (&spec.dataset.fewshot_split, shots) {
        (Some(split), 1..) => hub_rows.of(task, split),
        _ => Vec::new(),
    };
    let limit = run.summary["samples"].is_null().then_some(Limit::Count(lines.len()));
    let max_gen_toks = run.summary["gen_kwargs_override"]["max_gen_toks"].as_u64().map(|tokens| usize::try_from(tokens).unwrap());
    let renderer = run.chat_template.clone().map(|template| move |messages: &[ChatMessage]| render(&template, messages));
    let options = BuildOptions {
        num_fewshot: Some(shots),
        limit,
        max_gen_toks,
        chat: renderer.as_ref().map(|renderer| renderer as _),
        ..Default::default()
    };
    let built = build(task, rows, fewshot, &options).unwrap_or_else(|error| panic!("{}: {error}", run.place));
    assert_eq!(built.num_fewshot, shots, "{}", run.place);
    built
}

fn check_definition(run: &GoldenRun<'_>, task: &dyn Task, built: &Built, findings: &mut Findings) {
    let spec = task.spec();
    let place = format!("{} {}", run.place, spec.name);
    let version = run.summary["version"][&spec.name].as_f64().unwrap();
    findings.equal(&place, "version", &json!(spec.version), &json!(format!("{version:.1}")));
    for metric in &spec.metrics {
        let theirs = &run.summary["higher_is_better"][&spec.name][metric.name];
        findings.equal(&place, &format!("higher_is_better of {}", metric.name), &json!(metric.higher_is_better), theirs);
    }
    // The offline test split of ToxiGen is shorter than what the harness evaluated.
    if spec.name != "toxigen" {
        findings.equal(&place, "documents of the split", &json!(built.n_total), &run.summary["n_samples"][&spec.name]["original"]);
    }
}

fn check_documents(run: &GoldenRun<'_>, task: &dyn Task, built: &Built, lines: &[&Value], findings: &mut Findings) -> Vec<Metrics> {
    let mut hashes = String::new();
    let mut all = Vec::new();
    for line in lines {
        let doc_id = usize::try_from(line["doc_id"].as_u64().unwrap()).unwrap();
        let place = format!("{} {} document {doc_id}", run.place, task.spec().name);
        let instance = built.instances.iter().find(|instance| instance.doc_id == doc_id).unwrap_or_else(|| panic!("{place} is not asked"));
        if let Some(text) = line.get("doc_json") {
            findings.equal(&place, "document", &json!(python::document_json(&instance.doc)), text);
        }
        findings.equal(&place, "doc_hash", &json!(instance.doc_hash), &line["doc_hash"]);
        findings.equal(&place, "prompt_hash", &json!(instance.prompt_hash), &line["prompt_hash"]);
        findings.equal(&place, "target_hash", &json!(instance.target_hash), &line["target_hash"]);
        findings.equal(&place, "target", &instance.target, &line["target"]);
        findings.equal(&place, "arguments", &instance.arguments(), &line["arguments"]);
        hashes.extend([&instance.doc_hash, &instance.prompt_hash, &instance.target_hash].map(String::as_str));

        let responses: Vec<Response> = line["resps"].as_array().unwrap().iter().map(|entry| Response::from_json(entry).unwrap()).collect();
        let written: Value = responses.iter().map(Response::to_json).collect();
        findings.equal(&place, "resps", &written, &line["resps"]);
        // Programs are not run here: the verdict is the one that the harness logged.
        let count = programs(task, instance, &responses).unwrap().len();
        let passed = line["metrics"].as_object().unwrap().values().next().unwrap() == &json!(1.0);
        let verdicts = vec![if passed { Verdict::Passed } else { Verdict::Failed }; count];
        let scored = score(task, instance, &responses, &verdicts).unwrap();
        findings.equal(&place, "filtered_resps", &Value::Object(scored.filtered_resps), &line["filtered_resps"]);
        findings.equal(&place, "metrics", &Value::Object(scored.metrics.clone()), &line["metrics"]);
        all.push(scored.metrics);
        findings.documents += 1;
    }
    // With several filters the harness logs, and hashes, every document once per filter.
    let hash = sha256_hex(&hashes.repeat(task.spec().filters.len()));
    findings.equal(&run.place, "task_hash", &json!(hash), &run.summary["task_hashes"][&task.spec().name]);
    all
}

fn check_aggregates(place: &str, ours: &[Aggregate], theirs: &Value, findings: &mut Findings) {
    for aggregate in ours {
        let (metric, filter) = aggregate.key.split_once(',').unwrap();
        let stderr = &theirs[format!("{metric}_stderr,{filter}")];
        let stderr = if stderr == "N/A" { &Value::Null } else { stderr };
        assert!(theirs.get(&aggregate.key).is_some(), "{place}: the harness has no {}", aggregate.key);
        findings.equal(place, &aggregate.key, &json!(aggregate.value), &theirs[&aggregate.key]);
        findings.equal(place, &format!("standard error of {}", aggregate.key), &json!(aggregate.stderr), stderr);
    }
    let logged = theirs.as_object().unwrap().keys().filter(|key| key.contains(',') && !key.contains("_stderr,")).count();
    assert_eq!(logged, ours.len(), "{place}: the harness has other metrics than ours");
}

/// The programs of coding tasks are, as one text, what the harness runs: checked on its own cases with the reference solutions.
#[test]
fn programs_are_those_that_the_harness_runs() {
    let mut hub_rows = Rows::new();
    let cases = read_json(&golden().join("code_eval_cases.json"));
    let mut compared = 0;
    for (name, column) in [("humaneval", "canonical_solution"), ("mbpp", "code")] {
        let task = registry::task(name).unwrap();
        let rows = hub_rows.of(task.as_ref(), "test");
        let options = BuildOptions { num_fewshot: Some(0), ..Default::default() };
        let built = build(task.as_ref(), rows, vec![], &options).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let label = case["name"].as_str().unwrap();
            let Some((_, rest)) = label.split_once(&format!("{name} ")) else { continue };
            let Some((number, kind)) = rest.split_once(' ') else { continue };
            if !["canonical", "reference"].contains(&kind) {
                continue;
            }
            let instance = &built.instances[number.parse::<usize>().unwrap()];
            let answer = Response::Text(instance.doc[column].as_str().unwrap().to_owned());
            let program = programs(task.as_ref(), instance, &[answer]).unwrap().remove(0);
            assert_eq!(program.candidate, case["prediction"].as_str().unwrap(), "{label}");
            assert_eq!(program.test, case["reference"].as_str().unwrap(), "{label}");
            compared += 1;
        }
    }
    println!("{compared} programs compared");
    assert!(compared >= 20, "only {compared} programs were compared");
}

/// What the harness asks of whole splits of the offline hub: task, few-shot examples, documents, SHA-256 of all documents' hashes (document,
/// prompt, target), SHA-256 of all texts of all requests. From `build_all_requests` of lm-evaluation-harness 0.4.13.
#[derive(serde::Deserialize)]
struct WholeSplit(String, usize, usize, String, String);

#[test]
fn every_document_of_every_split_is_asked_as_the_harness_does() {
    let splits: Vec<WholeSplit> = serde_json::from_str(include_str!("whole_splits.json")).unwrap();
    let mut rows = Rows::new();
    let mut documents = 0;
    let mut differences = Vec::new();
    for WholeSplit(name, shots, size, hash, texts_hash) in &splits {
        let task = registry::task(name).unwrap();
        let dataset = &task.spec().dataset;
        let evaluated = rows.of(task.as_ref(), &dataset.split);
        let pool = dataset.fewshot_split.as_deref().filter(|_| *shots > 0).map(|split| rows.of(task.as_ref(), split)).unwrap_or_default();
        let options = BuildOptions { num_fewshot: Some(*shots), ..Default::default() };
        let built = build(task.as_ref(), evaluated, pool, &options).unwrap();
        let mut hashes = String::new();
        let mut texts = Sha256::new();
        for instance in &built.instances {
            hashes.extend([&instance.doc_hash, &instance.prompt_hash, &instance.target_hash].map(String::as_str));
            for request in &instance.requests {
                let parts = match request {
                    Request::Loglikelihood(request) => vec![&request.context, &request.continuation],
                    Request::Rolling(text) => vec![text],
                    Request::Generation(request) => vec![&request.context],
                };
                for part in parts {
                    texts.update(part.as_bytes());
                    texts.update([0]);
                }
            }
        }
        documents += built.instances.len();
        if built.instances.len() != *size || sha256_hex(&hashes) != *hash || hex::encode(texts.finalize()) != *texts_hash {
            differences.push(format!("{name} with {shots} examples"));
        }
    }
    println!("{documents} documents of {} whole splits compared with lm-evaluation-harness", splits.len());
    assert!(documents > 0);
    assert!(differences.is_empty(), "other requests than the harness's: {}", differences.join(", "));
}

/// BBQ's scores over whole categories, from made-up answers: log-likelihood −((7·characters + 3·choice + row) mod 11).
#[test]
fn bbq_scores_of_whole_categories_equal_the_harness() {
    let rows = Rows::new();
    let task = registry::task("bbq").unwrap();
    for (category, size, expected) in [
        ("Religion", 1200, [0.444_166_67, 0.768_333_33, 0.12, 0.011_666_67, -0.111_111_11]),
        ("Age", 3680, [0.445_923_91, 0.781_521_74, 0.110_326_09, 0.001_086_96, 0.059_125_96]),
        ("Nationality", 3080, [0.440_584_42, 0.777_922_08, 0.103_246_75, 0.005_194_81, 0.053_824_36]),
    ] {
        let split = rows.hub.dataset_split("oskarvanderwal/bbq", Some(category), "test", None).unwrap();
        let built = build(task.as_ref(), split.rows, vec![], &BuildOptions::default()).unwrap();
        let metrics: Vec<Metrics> = built
            .instances
            .iter()
            .map(|instance| {
                let Item::Choice { choices, .. } = &instance.item else { panic!("choices") };
                let made_up = |(index, choice): (usize, &String)| Response::Loglikelihood {
                    value: -(((7 * choice.chars().count() + 3 * index + instance.doc_id) % 11) as f64),
                    is_greedy: false,
                };
                let responses: Vec<Response> = choices.iter().enumerate().map(made_up).collect();
                score(task.as_ref(), instance, &responses, &[]).unwrap().metrics
            })
            .collect();
        assert_eq!(metrics.len(), size, "{category}");
        let aggregates = aggregate(task.spec(), &metrics.iter().collect::<Vec<_>>()).unwrap();
        for (aggregate, expected) in aggregates.iter().zip(expected) {
            let value = aggregate.value.unwrap();
            assert!((value - expected).abs() < 1e-8, "{category}: {} is {value}, not {expected}", aggregate.key);
        }
    }
}

/// The vectors that the task specification carries.
fn vectors() -> Value {
    read_json(&golden().join("../reference/golden_vectors.json"))
}

#[test]
fn random_draws_equal_python() {
    let vectors = vectors();
    let mut random = PythonRandom::new(1234);
    for expected in vectors["mt_seed1234_getrandbits32"].as_array().unwrap() {
        assert_eq!(json!(random.getrandbits(32)), *expected);
    }
    for (seed, key) in [(1234, "mt_seed1234_random"), (0, "mt_seed0_random")] {
        let mut random = PythonRandom::new(seed);
        for expected in vectors[key].as_array().unwrap() {
            assert_eq!(json!(random.random()), *expected);
        }
    }
    for case in vectors["python_random_sample_seed1234"].as_array().unwrap() {
        let number = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
        let mut random = PythonRandom::new(1234);
        for expected in case["docs"].as_array().unwrap() {
            let mut drawn = python::sample_indices(&mut random, number("n"), number("k")).unwrap();
            drawn.truncate(number("keep"));
            assert_eq!(json!(drawn), *expected, "{}", case["name"]);
        }
    }
    for (text, expected) in vectors["py_capitalize"].as_object().unwrap() {
        assert_eq!(json!(python::capitalize(text)), *expected);
    }
}

fn document(value: &Value) -> Document {
    value.as_object().unwrap().clone()
}

fn built(task: &str, rows: &[Value], pool: impl Iterator<Item = Value>, shots: usize) -> Built {
    let options = BuildOptions { num_fewshot: Some(shots), ..Default::default() };
    let pool = pool.map(|row| document(&row)).collect();
    build(registry::task(task).unwrap().as_ref(), rows.iter().map(document).collect(), pool, &options).unwrap()
}

/// The specification's prompts on small synthetic data.
#[test]
fn synthetic_prompts_equal_the_harness() {
    let vectors = vectors();

    let pool = (0..100).map(|i| {
        json!({
            "activity_label": format!("Act {i}"), "ctx_a": format!("A person {i} walks."), "ctx_b": format!("they WAVE at Bob {i}"),
            "endings": [format!("e0 {i}"), "[substeps] e1  x".to_owned(), "e2 [title] y".to_owned(), "é3 [header] zz".to_owned()],
            "label": (i % 4).to_string()
        })
    });
    let inputs = vectors["hellaswag"].as_array().unwrap();
    let hellaswag = built("hellaswag", &inputs.iter().map(|case| case["input"].clone()).collect::<Vec<_>>(), pool, 2);
    for (instance, case) in hellaswag.instances.iter().zip(inputs) {
        assert_eq!(instance.doc["query"], case["query"]);
        assert_eq!(instance.doc["choices"], case["choices"]);
        assert_eq!(instance.arguments(), case["requests_2shot"]);
    }

    let pool = (0..100).map(|i| {
        json!({
            "sentence": format!("Train{i}: Ann thanked Bob because _ was kind {i}."), "option1": "Ann", "option2": "Bob",
            "answer": (1 + i % 2).to_string()
        })
    });
    let winogrande = built("winogrande", &[vectors["winogrande"]["input"].clone()], pool, 2);
    assert_eq!(winogrande.instances[0].arguments(), vectors["winogrande"]["requests_2shot"]);

    let truthful = json!({ "question": vectors["truthfulqa"]["question"], "mc1_targets": { "choices": ["a"], "labels": [1] } });
    let truthfulqa = built("truthfulqa_mc1", &[truthful], std::iter::empty(), 0);
    assert_eq!(truthfulqa.instances[0].prompt_hash, vectors["truthfulqa"]["context_sha256"].as_str().unwrap());

    let question = |answer: usize| json!({ "question": "What is 2+2?", "choices": ["1", "2", "3", "4"], "answer": answer });
    let mmlu = built("mmlu_abstract_algebra", &[question(3)], (0..5).map(question), 2);
    assert_eq!(mmlu.instances[0].arguments(), vectors["mmlu"]["requests_2shot"]);

    let pool = (0..60).map(|i: usize| {
        let key = ["A", "B", "C", "D"][i % 4];
        let choices = json!({ "text": ["w", "x", "y", "z"], "label": ["A", "B", "C", "D"] });
        json!({ "question": format!("Q{i}?"), "choices": choices, "answerKey": key })
    });
    let choices = json!({ "text": ["it's 1", "two \"2\"", "3", "4"], "label": ["1", "2", "3", "4"] });
    let arc = built("arc_easy", &[json!({ "question": "Which \"one\" is it?", "choices": choices, "answerKey": "3" })], pool, 2);
    assert_eq!(arc.instances[0].arguments(), vectors["arc"]["requests_2shot"]);
    assert_eq!(arc.instances[0].target, vectors["arc"]["gold"]);

    let passage = |i: usize| json!({ "passage": format!("Passage {i}."), "question": format!("is {i} even"), "label": i % 2 });
    let boolq = built("boolq", &[passage(0)], (0..50).map(passage), 1);
    assert_eq!(boolq.instances[0].arguments(), vectors["boolq"]["requests_1shot"]);

    let goal = |i: usize| json!({ "goal": format!("G{i}"), "sol1": format!("s1 {i}"), "sol2": format!("s2 {i}"), "label": i % 2 });
    let piqa = built("piqa", &[goal(0)], (0..50).map(goal), 1);
    assert_eq!(piqa.instances[0].arguments(), vectors["piqa"]["requests_1shot"]);

    let rated = |ai: f64, human: f64| json!({ "text": "people from X are nice", "toxicity_ai": ai, "toxicity_human": human });
    let toxigen = built("toxigen", &[rated(3.0, 2.6), rated(3.0, 2.5)], std::iter::empty(), 0);
    assert_eq!(toxigen.instances[0].arguments(), vectors["toxigen"]["requests"]);
    assert_eq!(json!([toxigen.instances[0].target, toxigen.instances[1].target]), vectors["toxigen"]["gold"]);

    let text = "In my palm is a clear stone, and inside it is a small ivory statue.";
    assert_eq!(built("lambada_openai", &[json!({ "text": text })], std::iter::empty(), 0).instances[0].arguments(), vectors["lambada"]);
    let apples = json!({ "body": "Seven red apples.", "question": "How many apples?", "answer": "9 (apples)" });
    assert_eq!(built("asdiv", &[apples], std::iter::empty(), 0).instances[0].arguments(), vectors["asdiv"]);

    let problem = json!({ "Problem": "p", "options": vectors["mathqa"]["options"], "correct": "e" });
    let mathqa = built("mathqa", &[problem], std::iter::empty(), 0);
    let Item::Choice { choices, gold: 4, .. } = &mathqa.instances[0].item else { panic!("five choices") };
    assert_eq!(json!(choices), vectors["mathqa"]["choices"]);

    let page = json!({ "page": vectors["wikitext"]["page"] });
    let wikitext = built("wikitext", &[page], std::iter::empty(), 0);
    assert_eq!(wikitext.instances[0].target, vectors["wikitext"]["detok"]);
}

/// MBPP's three fixed examples, read from the dataset, give the prefix of the specification.
#[test]
fn mbpp_examples_equal_the_harness() {
    let vectors = vectors();
    let task = registry::task("mbpp").unwrap();
    let pool = Rows::new().of(task.as_ref(), "prompt");
    let row = json!({ "task_id": 11, "text": "TEXT.", "code": "", "test_list": ["assert a", "assert b", "assert c"] });
    let built = build(task.as_ref(), vec![document(&row)], pool, &BuildOptions::default()).unwrap();
    let Request::Generation(request) = &built.instances[0].requests[0] else { panic!("a generation") };
    let prefix = request.context.strip_suffix(vectors["mbpp"]["final_turn"].as_str().unwrap()).expect("the final turn");
    assert_eq!(json!(prefix.chars().count()), vectors["mbpp"]["fewshot_prefix_chars"]);
    assert_eq!(json!(sha256_hex(prefix)), vectors["mbpp"]["fewshot_prefix_sha256"]);
}

/// GSM8K's prompts over the whole split, the last document included: the draws of 1,319 documents are those of the harness.
#[test]
fn gsm8k_prompts_equal_the_harness_to_the_last_document() {
    let mut hub_rows = Rows::new();
    let task = registry::task("gsm8k").unwrap();
    let (rows, pool) = (hub_rows.of(task.as_ref(), "test"), hub_rows.of(task.as_ref(), "train"));
    let built = build(task.as_ref(), rows, pool, &BuildOptions::default()).unwrap();
    for (doc_id, hash) in [
        (0, "32680f263ba83280e98a8a24ceefed10a722a4cdcd9f4d78e93c45d43143ca66"),
        (1, "e6b9a0195411932e5323ed20ad05e965b08b979103bbb26594a5bdf123d27990"),
        (2, "97eb2662b11bbd7bd0423f898efde0e9a04d22028ed5fc1f80576965b0f570fa"),
        (1318, "c9c63955e0cf2185cb505fbc69b80561f7bad5c30a5daee94cc851b31107f4cb"),
    ] {
        assert_eq!(built.instances[doc_id].prompt_hash, hash, "document {doc_id}");
    }
}
