//! Runs and models that were never evaluated, for tests of what is derived from runs. Every number comes from the seed.

use chrono::{DateTime, TimeZone, Utc};
use sha2::{Digest, Sha256};
use slm_benchmark::leaderboard::identity::{RunIdentity, TaskIdentity, weights_digest};
use slm_benchmark::leaderboard::pillars::{PillarSpec, chance_corrected, summarise};
use slm_benchmark::leaderboard::registry::{RunSummary, Submitted};
use slm_benchmark::leaderboard::run::{
    DatasetRecord, EngineRecord, Environment, Figure, FigureSet, Informational, Items, Limit, Metric, ModelRecord, Parameters,
    Quantization, RUN_SCHEMA_VERSION, Run, SampleFile, SelfCheck, SuiteRecord, TaskRecord, TaskStatus, WeightFile, figure,
};
use std::collections::BTreeMap;

/// The published pillars.
pub(crate) fn pillars() -> Vec<PillarSpec> {
    let spec = |name: &str, weight: f64, tasks: &[&str]| PillarSpec {
        name: name.to_owned(),
        weight,
        tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
    };
    vec![
        spec("reasoning", 35.0, &["mmlu", "arc_challenge", "hellaswag", "truthfulqa_mc2"]),
        spec("coding", 20.0, &["humaneval", "mbpp"]),
        spec("math", 15.0, &["gsm8k", "mathqa"]),
        spec("language", 20.0, &["boolq", "piqa", "winogrande"]),
        spec("safety", 20.0, &["toxigen", "crows_pairs_english", "bbq", "truthfulqa_mc1"]),
    ]
}

/// Chance in points and number of documents of the published tasks.
fn facts(task: &str) -> (f64, u64) {
    match task {
        "mmlu" => (25.0, 14_042),
        "arc_challenge" => (25.0, 1_172),
        "hellaswag" => (25.0, 10_042),
        "truthfulqa_mc1" | "truthfulqa_mc2" => (22.0, 817),
        "humaneval" => (0.0, 164),
        "mbpp" => (0.0, 500),
        "gsm8k" => (0.0, 1_319),
        "mathqa" => (20.0, 2_985),
        "boolq" => (50.0, 3_270),
        "piqa" => (50.0, 1_838),
        "winogrande" => (50.0, 1_267),
        "toxigen" => (50.0, 940),
        "crows_pairs_english" => (0.0, 1_677),
        _ => (10.0, 2_000),
    }
}

/// Right answers to the `correct` easiest of `n` documents, whose difficulty is the task's alone.
fn easiest(task: &str, n: u64, correct: f64) -> Option<Items> {
    let mut order: Vec<u64> = (0..n).collect();
    order.sort_by_cached_key(|document| Sha256::digest(format!("{task} {document}")).to_vec());
    let mut values = vec![0.0; order.len()];
    for (_, document) in order.iter().enumerate().filter(|(place, _)| (*place as f64) < correct) {
        values[usize::try_from(*document).unwrap_or_default()] = 1.0;
    }
    Items::from_values(&values)
}

/// How a synthetic run differs from an ordinary complete one.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) repo: String,
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) quantization: &'static str,
    pub(crate) format: &'static str,
    /// 0 to 1: from chance to perfect.
    pub(crate) ability: f64,
    pub(crate) measured: u64,
    pub(crate) suite: &'static str,
    pub(crate) suite_version: &'static str,
    pub(crate) limit: Option<Limit>,
    pub(crate) chat_template: bool,
    pub(crate) seed: u64,
    /// Days after 1 January 2026.
    pub(crate) day: i64,
    /// Pillars that are not asked for.
    pub(crate) without: &'static [&'static str],
    /// Correct answers per watt-hour, measured.
    pub(crate) efficiency: Option<f64>,
    /// Each document's value is in the run: the same documents are the easy ones for every model.
    pub(crate) items: bool,
}

impl Recipe {
    pub(crate) fn new(repo: &str, ability: f64) -> Self {
        Self {
            repo: repo.to_owned(),
            name: repo.rsplit('/').next().unwrap_or(repo).to_owned(),
            revision: hex::encode(&Sha256::digest(repo)[..20]),
            quantization: "FP16",
            format: "safetensors",
            ability,
            measured: 134_515_008,
            suite: "standard",
            suite_version: "1.0.0",
            limit: None,
            chat_template: false,
            seed: 1234,
            day: 10,
            without: &[],
            efficiency: None,
            items: false,
        }
    }

    pub(crate) fn submission(&self) -> Submitted {
        Submitted {
            id: self.repo.to_ascii_lowercase().replace('/', "--"),
            name: self.name.clone(),
            family: "Synthetic".to_owned(),
            hf_repo: self.repo.clone(),
            parameters: format!("{}M", self.measured / 1_000_000),
            architecture: "llama".to_owned(),
            license: "apache-2.0".to_owned(),
            context_length: Some(2048),
            quantizations: vec![Quantization { name: "FP16".to_owned(), format: "safetensors".to_owned(), source: None }],
            categories: ["reasoning", "coding", "math", "language", "safety"].map(str::to_owned).to_vec(),
            submitted_by: "author".to_owned(),
        }
    }

    fn task(&self, name: &str) -> TaskRecord {
        let (chance, documents) = facts(name);
        let n = match self.limit {
            Some(Limit::Documents(limit)) => documents.min(limit),
            Some(Limit::Fraction(share)) => (1..=documents).find(|n| *n as f64 >= documents as f64 * share).unwrap_or(documents),
            None => documents,
        };
        // A little of its own for every task, so that profiles differ.
        let digest = Sha256::digest(format!("{}{}{}{name}", self.repo, self.revision, self.quantization));
        let wobble = f64::from(digest[0]) / 255.0 - 0.5;
        let share = (chance / 100.0 + (1.0 - chance / 100.0) * self.ability + 0.06 * wobble).clamp(0.0, 1.0);
        let correct = (share * n as f64).round();
        let value = correct / n as f64;
        let stderr = (value * (1.0 - value) / (n as f64 - 1.0)).sqrt();
        let interval = [(value - 1.96 * stderr).max(0.0), (value + 1.96 * stderr).min(1.0)];
        let metric = Metric { value: Some(value), stderr: Some(stderr), ci95: Some(interval) };
        TaskRecord {
            status: TaskStatus::Ok,
            version: "1.0".to_owned(),
            dataset: Some(DatasetRecord { repo: format!("data/{name}"), config: None, split: "test".to_owned(), revision: "0".repeat(40) }),
            num_fewshot: 5,
            n,
            n_total: documents,
            metrics: BTreeMap::from([("acc,none".to_owned(), metric)]),
            items: self.items.then(|| easiest(name, n, correct)).flatten(),
            primary_metric: "acc,none".to_owned(),
            score: Some(100.0 * value),
            score_stderr: Some(100.0 * stderr),
            score_ci95: Some(interval.map(|end| 100.0 * end)),
            chance: Some(chance),
            chance_corrected: chance_corrected(Some(100.0 * value), Some(chance)),
            duration_s: 12.5,
            tokens_nominal: 1000 * n,
            tokens_computed: 100 * n,
            self_check: SelfCheck { n: 8, max_delta: 3e-5, flips: 0, tokens: 4000 },
            ..TaskRecord::default()
        }
    }

    pub(crate) fn run(&self) -> Run {
        let specs: Vec<PillarSpec> = pillars();
        let asked = specs.iter().filter(|spec| !self.without.contains(&spec.name.as_str()));
        let tasks: BTreeMap<String, TaskRecord> = asked.flat_map(|spec| &spec.tasks).map(|name| (name.clone(), self.task(name))).collect();
        self.run_of(tasks)
    }

    /// The run with these tasks, pillars and aggregate following from them.
    pub(crate) fn run_of(&self, tasks: BTreeMap<String, TaskRecord>) -> Run {
        let weights = vec![WeightFile {
            file: "model.safetensors".to_owned(),
            sha256: hex::encode(Sha256::digest(format!("{}@{}:{}", self.repo, self.revision, self.quantization))),
            bytes: 2 * self.measured,
        }];
        let identity = RunIdentity {
            weights: weights_digest(weights.iter().map(|w| (w.file.as_str(), w.sha256.as_str()))),
            quantization: self.quantization.to_owned(),
            tokenizer: hex::encode(Sha256::digest("tokenizer")),
            chat_template: self.chat_template.then(|| hex::encode(Sha256::digest("template"))),
            dtype: "f32".to_owned(),
            device: "cpu".to_owned(),
            engine: "mistralrs".to_owned(),
            engine_version: "0.8.1".to_owned(),
            slm_benchmark: "0.1.0".to_owned(),
            suite: self.suite.to_owned(),
            suite_version: self.suite_version.to_owned(),
            tasks: tasks
                .iter()
                .map(|(name, task)| {
                    let identity = TaskIdentity {
                        version: task.version.clone(),
                        num_fewshot: task.num_fewshot,
                        dataset: format!("data/{name}"),
                        dataset_revision: Some("0".repeat(40)),
                        decoding: serde_json::Value::Null,
                    };
                    (name.clone(), identity)
                })
                .collect(),
            seed: self.seed,
            limit: self.limit,
        };
        let (pillars, aggregate) = summarise(&pillars(), &tasks);
        let mut run = Run {
            schema_version: RUN_SCHEMA_VERSION.to_owned(),
            run_id: identity.run_id(),
            identity,
            model: ModelRecord {
                hf_repo: self.repo.clone(),
                revision: self.revision.clone(),
                name: self.name.clone(),
                family: "Synthetic".to_owned(),
                parameters: Parameters { declared: format!("{}M", self.measured / 1_000_000), measured: Some(self.measured) },
                architecture: "llama".to_owned(),
                license: "apache-2.0".to_owned(),
                quantization: Quantization { name: self.quantization.to_owned(), format: self.format.to_owned(), source: None },
                weights,
            },
            suite: SuiteRecord { name: self.suite.to_owned(), version: self.suite_version.to_owned(), overrides: Vec::new() },
            engine: EngineRecord {
                name: "mistralrs".to_owned(),
                version: "0.8.1".to_owned(),
                device: "cpu".to_owned(),
                dtype: "f32".to_owned(),
            },
            environment: Environment {
                slm_benchmark: "0.1.0".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                logical_cores: 2,
                ..Environment::default()
            },
            limit: self.limit,
            seed: self.seed,
            chat_template: self.chat_template,
            started_at: instant(self.day, 8),
            finished_at: instant(self.day, 9),
            requested: tasks.keys().cloned().collect(),
            tasks,
            probes: BTreeMap::new(),
            pillars,
            aggregate,
            informational: Informational::default(),
            samples: Vec::new(),
        };
        run.samples = run
            .tasks
            .iter()
            .map(|(name, task)| SampleFile {
                task: name.clone(),
                file: format!("samples/{name}.jsonl.zst"),
                sha256: hex::encode(Sha256::digest(format!("{}{name}", run.run_id))),
                n: task.n,
            })
            .collect();
        run.informational.energy = self.efficiency.map(energy);
        run
    }

    pub(crate) fn summary(&self) -> RunSummary {
        let run = self.run();
        let path = format!("results/raw/{}/{}/run.json", self.submission().id, run.run_id);
        let sha256 = hex::encode(Sha256::digest(serde_json::to_vec(&run).expect("a run is JSON")));
        RunSummary::new(&run, path, sha256)
    }
}

fn energy(efficiency: f64) -> FigureSet {
    let figure = |value: f64, unit: &str| Figure {
        value: Some(value),
        unit: unit.to_owned(),
        method: "measured_rapl".to_owned(),
        ..Figure::default()
    };
    FigureSet {
        hardware_class: "x86_64, 2 cores".to_owned(),
        figures: BTreeMap::from([
            (figure::EFFICIENCY.to_owned(), figure(efficiency, "1/Wh")),
            (figure::ENERGY_PER_1K_TOKENS.to_owned(), figure(0.02, "Wh")),
            (figure::CO2_PER_1K_TOKENS.to_owned(), figure(0.0095, "g")),
        ]),
        details: BTreeMap::from([("grid_factor".to_owned(), serde_json::json!({"name": "world average", "g_per_kwh": 475}))]),
    }
}

pub(crate) fn instant(day: i64, hour: i64) -> DateTime<Utc> {
    let start = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().expect("a date that exists");
    start + chrono::Duration::days(day) + chrono::Duration::hours(hour)
}
