//! `slm-bench run`: evaluates a submission's model and writes one run folder per declared quantization.

use super::measure::Subject;
use super::meter::{self, MeterChoice};
use super::{InvalidInput, Outcome, UsageError, artifact_files, signals};
use crate::benchmark::{BenchmarkError, Limit};
use crate::engine::{self, DType, Device, EngineError, ModelSource, WeightForm};
use crate::evaluation::{
    self, Control, Evaluated, HubDocuments, ModelUnderTest, RunFolderError, RunLine, RunOptions, SandboxedPrograms, Verbosity,
};
use crate::hub::{Hub, HubConfig, LocalModel, Progress, Weights, facts_of_folder};
use crate::leaderboard::probes::{Probes, TaskProbes};
use crate::leaderboard::{ModelRecord, Parameters, TaskStatus, WeightFile, run as artifact};
use crate::sandbox::SandboxConfig;
use crate::submission::{self, Format, Quantization, Submission};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Evaluate a model: every question is asked, every answer kept, scores written to run.json.
///
/// Writes `OUTPUT_DIR/<model>/<run-id>/` with run.json and `samples/<task>.jsonl.zst` for each declared quantization. Data sets and weights come from
/// the Hugging Face cache and are fetched when missing. Interrupted or killed, the same command with --resume goes on where it was.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done; 1 the submission or the model is invalid: no engine can load it, or the hub does not give it out; 2 wrong usage; \
    3 the run failed: network, disk, interrupt, engine, often only for now; 4 a partial run: some task has no score."
)]
pub(crate) struct Arguments {
    /// The submission, a YAML file (see `slm-bench validate`).
    #[arg(long, value_name = "FILE")]
    submission_file: PathBuf,
    /// Folder for the run folders, such as results/raw.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    #[command(flatten)]
    choice: Choice,
    /// How to say how far the run is: `auto` (a bar on a terminal, a line now and then elsewhere) or `json` (lines for programs on the standard
    /// error, each an object with the key `slm_bench`).
    #[arg(long, default_value = "auto", value_name = "HOW")]
    progress: ProgressForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ProgressForm {
    Auto,
    Json,
}

/// What is evaluated and how: shared by the commands that evaluate.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// Suite: `standard` (ranked), `quick` (fixed subsets, preliminary), `smoke` (built-in items).
    #[arg(long, default_value = "standard", value_name = "NAME")]
    pub(crate) suite: String,
    /// Only these tasks, separated by commas; they may lie outside of the suite.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) tasks: Vec<String>,
    /// Only the tasks of these pillars, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "P,Q")]
    pub(crate) pillars: Vec<String>,
    /// Only the first N documents of each (sub)task, or below 1 this share of them. Such a run is preliminary.
    #[arg(long, value_parser = parse_limit, value_name = "N")]
    pub(crate) limit: Option<Limit>,
    /// Few-shot examples instead of the suite's number (tasks that fix theirs keep it).
    #[arg(long, value_name = "N")]
    pub(crate) num_fewshot: Option<usize>,
    /// Most requests in one batch. An upper bound: mistral.rs is asked one request at a time, so that scores never depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_size: Option<u32>,
    /// Where to compute: auto, cpu, cuda, metal.
    #[arg(long, default_value = "auto")]
    pub(crate) device: Device,
    /// Data type of the computation: auto (f32 on the CPU), f32, bf16, f16.
    #[arg(long, default_value = "auto")]
    pub(crate) dtype: DType,
    /// Which engine computes: auto, mistralrs, native. It is part of the run's id.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    pub(crate) engine: engine::Choice,
    /// Seed of the few-shot draws (1234 is lm-evaluation-harness's).
    #[arg(long, default_value_t = 1234)]
    pub(crate) seed: u64,
    /// Go on with an unfinished run.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Take over the answers of this finished run folder where model, engine, task and question are the same. Runs in the same output
    /// folder are found without it: `--suite quick` first and `--suite standard` later asks nothing twice.
    #[arg(long, value_name = "RUN_DIR")]
    pub(crate) extend: Option<PathBuf>,
    /// Also draw N sampled programs for each problem of humaneval and mbpp (temperature 0.2, top-p 0.95, fixed seeds), for pass@k. The
    /// ranked metric stays the greedy pass@1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) coding_samples: Option<u32>,
    /// Also probe the multiple-choice tasks: does the order of the options change the answer, and what is right without the question. Asks a
    /// bounded part of each task's documents again (at most 400). The figures stand beside the scores and enter none; to add them to a
    /// finished run, repeat its command with --probes --resume.
    #[arg(long)]
    pub(crate) probes: bool,
    /// Prompts as conversations, by the model's chat template: a separate, linked row, never a replacement.
    #[arg(long)]
    pub(crate) apply_chat_template: bool,
    #[command(flatten)]
    pub(crate) measuring: MeterChoice,
}

impl Choice {
    pub(crate) fn options(&self) -> RunOptions {
        RunOptions {
            suite: self.suite.clone(),
            tasks: self.tasks.clone(),
            pillars: self.pillars.clone(),
            limit: self.limit,
            num_fewshot: self.num_fewshot,
            seed: self.seed,
            apply_chat_template: self.apply_chat_template,
            resume: self.resume,
            coding_samples: self.coding_samples.map(|samples| samples as usize),
            extend: self.extend.clone(),
            probes: self.probes,
        }
    }
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    if let Ok(count) = text.parse::<usize>() {
        return if count == 0 { Err("at least one document is needed".to_owned()) } else { Ok(Limit::Count(count)) };
    }
    match text.parse::<f64>() {
        Ok(share) if 0.0 < share && share < 1.0 => Ok(Limit::Fraction(share)),
        _ => Err("a whole number of documents, or a share of them between 0 and 1, such as 0.1".to_owned()),
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let submission = artifact_files::read_submission(&arguments.submission_file)?;
    let hub = Hub::new(&HubConfig::from_env()?)?;
    let verbosity = match arguments.progress {
        ProgressForm::Auto => Verbosity::Visible,
        ProgressForm::Json => Verbosity::Json,
    };
    let evaluated = evaluate_visibly(&submission, &hub, &arguments.choice, &arguments.output_dir, verbosity);
    if let Err(error) = &evaluated
        && verbosity == Verbosity::Json
    {
        RunLine::Failed { may_pass: may_pass(error) }.print();
    }
    let evaluated = evaluated?;
    for one in &evaluated {
        print_summary(one);
    }
    let complete = evaluated.iter().all(|one| one.run.tasks.values().all(|task| task.status == TaskStatus::Ok));
    Ok(if complete { Outcome::Done } else { Outcome::Partial })
}

/// Whether the same command may succeed later with nothing changed.
fn may_pass(error: &anyhow::Error) -> bool {
    let of_caller = error.chain().any(|cause| cause.is::<UsageError>() || cause.is::<InvalidInput>());
    !of_caller && evaluation::may_pass(error).unwrap_or(true)
}

/// One run per declared quantization.
pub(crate) fn evaluate(submission: &Submission, hub: &Hub, choice: &Choice, output: &Path) -> anyhow::Result<Vec<Evaluated>> {
    evaluate_visibly(submission, hub, choice, output, Verbosity::Visible)
}

/// As [`evaluate`], with progress shown in a chosen way.
fn evaluate_visibly(
    submission: &Submission,
    hub: &Hub,
    choice: &Choice,
    output: &Path,
    verbosity: Verbosity,
) -> anyhow::Result<Vec<Evaluated>> {
    let options = choice.options();
    evaluation::check(&options).map_err(as_usage)?;
    let of = submission.quantizations.len() as u64;
    let mut evaluated = Vec::new();
    for (number, quantization) in (1..).zip(&submission.quantizations) {
        if verbosity == Verbosity::Json {
            RunLine::Quantization { number, of }.print();
        }
        let one = evaluate_one(submission, quantization, hub, choice, &options, output, verbosity)?;
        if verbosity == Verbosity::Json {
            let folder = std::path::absolute(&one.folder).context("no absolute path")?;
            RunLine::Run { folder, run_id: one.run.run_id.clone() }.print();
        }
        evaluated.push(one);
    }
    Ok(evaluated)
}

fn evaluate_one(
    submission: &Submission,
    quantization: &Quantization,
    hub: &Hub,
    choice: &Choice,
    options: &RunOptions,
    output: &Path,
    verbosity: Verbosity,
) -> anyhow::Result<Evaluated> {
    let files = Files::fetch(submission, quantization, hub)?;
    let source = ModelSource { dir: &files.folder.dir, weights: files.form(quantization) };
    let engine_options = engine::Options { device: choice.device, dtype: dtype_of(quantization, choice), engine: choice.engine };
    // At rest: before the model is loaded.
    let device = if choice.engine == engine::Choice::Native { "cpu" } else { engine::probe(choice.device)? };
    let watch = choice.measuring.watch(device);
    let mut model = engine::load(&source, &engine_options).map_err(|error| unfit(quantization, error))?;
    let description = model.description();
    let about = about(submission, quantization, &files)?;
    let control = Control { verbosity, stop: signals::stop_flag(), energy: watch.as_ref() };
    let mut documents = HubDocuments::new(hub);
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let programs = SandboxedPrograms::new(SandboxConfig::new(program.clone()));
    let now = chrono::Utc::now;
    let mut evaluated =
        evaluation::run(model.as_mut(), &about, &mut documents, Some(&programs), options, output, &control, &now).map_err(as_usage)?;
    // The model's memory is given back before another process loads it.
    drop(model);
    if choice.measuring.is_on() && meter::wants_edge(options) && evaluated.run.informational.edge.is_none() {
        let subject = Subject {
            folder: source.dir,
            weights: source.weights,
            device: &description.device,
            dtype: &description.dtype,
            engine: writing_engine(&description, choice.engine),
        };
        evaluated.run.informational.edge = Some(meter::edge_figures(&subject, &evaluated.run, &program));
        evaluation::rewrite(&evaluated)?;
    }
    Ok(evaluated)
}

/// The engine whose speed is measured: where two work together, the one that writes, alone, so that load time and memory are one engine's.
fn writing_engine(description: &engine::EngineDescription, choice: engine::Choice) -> engine::Choice {
    if description.name.contains("+mistralrs") { engine::Choice::MistralRs } else { choice }
}

/// The files of one quantization on this disk.
struct Files {
    /// Configuration, tokenizer, and safetensors weights where these are loaded.
    folder: LocalModel,
    /// The GGUF file, where the weights are in one.
    gguf: Option<LocalModel>,
    /// Its parts.
    parts: Vec<PathBuf>,
}

impl Files {
    fn fetch(submission: &Submission, quantization: &Quantization, hub: &Hub) -> anyhow::Result<Self> {
        let own = |weights: &Weights| download(hub, &submission.hf_repo, submission.hf_revision.as_deref(), weights);
        if quantization.format != Format::Gguf {
            return Ok(Self { folder: own(&Weights::Safetensors)?, gguf: None, parts: Vec::new() });
        }
        let Some(source) = &quantization.source else {
            let name = &quantization.name;
            return Err(InvalidInput(format!("the quantization {name} has the format gguf and no `source`: which file is meant?")).into());
        };
        let folder = own(&Weights::Nothing)?;
        let weights = Weights::Gguf(source.path.clone());
        let gguf = match &source.repository {
            None => own(&weights)?,
            Some(other) => download(hub, &other.repo, other.revision.as_deref(), &weights)?,
        };
        let parts = gguf.weights().map(|file| gguf.place(file)).collect();
        Ok(Self { folder, gguf: Some(gguf), parts })
    }

    fn form<'a>(&'a self, quantization: &'a Quantization) -> WeightForm<'a> {
        match quantization.format {
            Format::Safetensors => WeightForm::Safetensors,
            Format::Isq => WeightForm::Isq(&quantization.name),
            Format::Gguf => WeightForm::Gguf(&self.parts),
        }
    }

    fn weights(&self) -> Vec<WeightFile> {
        let of = self.gguf.as_ref().unwrap_or(&self.folder);
        of.weights().map(|file| WeightFile { file: file.path.clone(), sha256: file.sha256.clone(), bytes: file.bytes }).collect()
    }

    /// Parameters counted in the files that are loaded.
    fn parameters(&self) -> Option<u64> {
        let of = self.gguf.as_ref().unwrap_or(&self.folder);
        let facts = facts_of_folder(&of.dir, &of.repo, &of.commit).ok()?;
        match &self.gguf {
            Some(gguf) => gguf.weights().next().and_then(|file| facts.gguf_parameters.get(&file.path)).copied(),
            None => facts.safetensors_parameters,
        }
    }
}

/// The data type that a safetensors quantization's name asks for, where the command line leaves it open. BF16 stays open: the engine takes
/// f32 on the processor, which holds bf16 weights exactly, and bf16 on a GPU.
fn dtype_of(quantization: &Quantization, choice: &Choice) -> DType {
    // The native engine holds all three exactly in f32, and knows no other.
    let is_native = choice.engine == engine::Choice::Native;
    if choice.dtype != DType::Auto || is_native || quantization.format != Format::Safetensors {
        return choice.dtype;
    }
    match quantization.name.to_ascii_uppercase().replace('-', "").as_str() {
        "FP32" | "F32" | "FLOAT32" => DType::F32,
        "FP16" | "F16" | "FLOAT16" => DType::F16,
        _ => DType::Auto,
    }
}

/// A model that no engine can load is invalid input: its files would have to change. The device was found before.
fn unfit(quantization: &Quantization, error: EngineError) -> anyhow::Error {
    let what = format!("the quantization {}", quantization.name);
    match error {
        EngineError::Load(_) | EngineError::NotANumber(_) => InvalidInput(format!("{what}: {error}")).into(),
        other => anyhow::Error::from(other).context(what),
    }
}

/// A slip in the name of a task, suite or pillar, or a missing `--resume`, is a slip on the command line.
fn as_usage(error: anyhow::Error) -> anyhow::Error {
    let is_name = matches!(error.downcast_ref(), Some(BenchmarkError::UnknownTask { .. } | BenchmarkError::UnknownSuite { .. }));
    // Another process that works there will be done with it.
    let is_folder = matches!(error.downcast_ref(), Some(RunFolderError::Unfinished(_) | RunFolderError::NotExtendable { .. }));
    if is_name || is_folder { UsageError(format!("{error:#}")).into() } else { error }
}

/// The model's files on this disk, with a bar on a terminal while they arrive.
fn download(hub: &Hub, repo: &str, revision: Option<&str>, weights: &Weights) -> anyhow::Result<LocalModel> {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{msg:<40} {bar:30.cyan/blue} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    let model = hub.download_model(repo, revision, weights, &mut |progress: Progress<'_>| {
        bar.set_message(progress.file.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    model.map_err(|error| if error.is_about_the_repository() { InvalidInput(error.to_string()).into() } else { anyhow::Error::from(error) })
}

fn print_summary(evaluated: &Evaluated) {
    let run = &evaluated.run;
    println!("{} {} ({})", run.model.hf_repo, run.model.quantization.name, evaluated.folder.display());
    for (name, task) in &run.tasks {
        let score = task.valid_score().map_or_else(|| "no score".to_owned(), |score| format!("{score:.2}"));
        let interval = task.score_ci95.map_or_else(String::new, |[low, high]| format!("[{low:.2}, {high:.2}]"));
        let remark = task.reason.as_deref().unwrap_or_default();
        println!("  {name:<24} {score:>9} {interval:<16} n={:<6} {remark}", task.n);
    }
    if let Some(score) = run.aggregate.score {
        println!("  {:<24} {score:>9.2}", "aggregate");
    }
    for line in run.informational.probes.iter().flat_map(probe_lines) {
        println!("  {line}");
    }
}

/// The figures of a run's probes, for people.
fn probe_lines(probes: &Probes) -> Vec<String> {
    let figure = |value: Option<f64>, interval: Option<[f64; 2]>| match (value, interval) {
        (Some(value), Some([low, high])) => format!("{value:.2} [{low:.2}, {high:.2}]"),
        (value, _) => value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}")),
    };
    let mut lines = vec!["probes (beside the scores, in none of them)".to_owned()];
    // One reason often holds for many tasks.
    let mut without: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (task, TaskProbes { choice_order: order, answer_only: answer }) in &probes.tasks {
        if let Some(reason) = &order.reason {
            without.entry(("choice order", reason)).or_default().push(task);
        } else {
            let accuracies: Vec<String> = order.accuracies.iter().map(|accuracy| figure(accuracy.value, None)).collect();
            let changed = figure(order.changed.value, order.changed.ci95);
            lines.push(format!(
                "{task}, choice order: {changed} % change their answer; accuracy by order {}; n={}",
                accuracies.join(" "),
                order.n
            ));
        }
        if let Some(reason) = &answer.reason {
            without.entry(("answer only", reason)).or_default().push(task);
        } else {
            let accuracy = figure(answer.accuracy.value, answer.accuracy.ci95);
            let with = figure(answer.with_question.value, answer.with_question.ci95);
            lines.push(format!(
                "{task}, answer only: {accuracy}; with question {with}; chance {}; n={}",
                figure(answer.chance, None),
                answer.n
            ));
        }
    }
    lines.extend(without.into_iter().map(|((kind, reason), tasks)| format!("no {kind} of {}: {reason}", tasks.join(", "))));
    lines
}

/// What the artifact says about the model: as submitted, as found on this disk.
fn about(submission: &Submission, quantization: &Quantization, files: &Files) -> anyhow::Result<ModelUnderTest> {
    let local = &files.folder;
    let facts = facts_of_folder(&local.dir, &local.repo, &local.commit).ok();
    let weights = files.weights();
    let digest_of = |name: &str| local.files.iter().find(|file| file.path == name).map(|file| file.sha256.clone());
    let tokenizer = digest_of("tokenizer.json").with_context(|| format!("{} has no tokenizer.json", local.repo))?;
    Ok(ModelUnderTest {
        slug: submission::slug(&submission.hf_repo),
        record: ModelRecord {
            hf_repo: submission.hf_repo.clone(),
            revision: local.commit.clone(),
            name: submission.name.clone(),
            family: submission.family.clone(),
            parameters: Parameters { declared: submission.parameters.to_string(), measured: files.parameters() },
            architecture: facts.as_ref().and_then(|facts| facts.model_type()).unwrap_or(&submission.architecture).to_owned(),
            license: submission.license.clone(),
            quantization: artifact::Quantization {
                name: quantization.name.clone(),
                format: quantization.format.as_str().to_owned(),
                source: quantization.source.clone().map(String::from),
            },
            weights,
        },
        tokenizer_sha256: tokenizer,
        // The template may stand in a file of its own or in the tokenizer's configuration.
        chat_template_sha256: digest_of("chat_template.jinja").or_else(|| digest_of("tokenizer_config.json")),
    })
}
