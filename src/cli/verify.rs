//! `slm-bench verify`: recomputes everything published from the artifacts, and names every field that differs.

use super::artifact_files::{self, StoredRun, counted};
use super::rescore::{StoredProgram, close, rescore, stored_programs};
use super::sign::AllowedSigners;
use super::{InvalidInput, Outcome, UsageError};
use crate::benchmark::probes;
use crate::benchmark::registry::{self, Entry};
use crate::benchmark::{DocumentScore, Group, Task, TaskSpec, Verdict, long_context};
use crate::engine::longest_text;
use crate::evaluation::{ProgramRunner, SandboxedPrograms, group_record, leaf_record, probe_figures, read_samples, task_of_run};
use crate::leaderboard::audit::{Difference, audit_run, differences};
use crate::leaderboard::registry::Entry as ModelEntry;
use crate::leaderboard::run::{GroupRecord, Metric, Run, SampleFile, SampleLine, TaskRecord, TaskStatus};
use crate::leaderboard::{Registry, Submitted, board};
use crate::sandbox::{Program, SandboxConfig};
use crate::submission;
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Longest line of a sample file, so that a hostile file cannot fill the memory.
const MAX_LINE: u64 = 256 * 1024 * 1024;
/// Most differences that one sample file reports.
const MAX_PER_FILE: usize = 20;

/// Arguments of `verify`.
#[derive(Args)]
pub(super) struct VerifyArguments {
    /// The registry [default: models/registry.json, where there is one]
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
    /// Folder below which the runs are [default: results/raw, where there is one]
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
    /// The leaderboard JSON [default: website/assets/data/leaderboard.json, where there is one and no path is given]
    #[arg(long, value_name = "FILE")]
    leaderboard: Option<PathBuf>,
    /// Folder of the submissions [default: submissions beside the registry, where there is one]
    #[arg(long, value_name = "FOLDER")]
    submissions: Option<PathBuf>,
    /// Check the SSH signatures beside runs (run.json.sig) against this allowed-signers file
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// A run without a signature is a difference
    #[arg(long, requires = "allowed_signers")]
    require_signatures: bool,
    /// Run the stored programs of coding tasks again in the sandbox, and compare the verdicts
    ///
    /// Needs python3 and a machine on which `slm-bench sandbox --canaries` passes. About 25 programs a second on two cores: a run of the suite
    /// `standard` has 664. Without it, a program's text and test are checked against the answer and the document, and its verdict is taken as
    /// stored. A program that came near its time limit may end otherwise on another machine.
    #[arg(long)]
    rerun_programs: bool,
    /// How differences are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for each difference
    Text,
    /// A JSON document
    Json,
}

/// A difference and its file.
#[derive(Serialize)]
struct Finding {
    file: String,
    #[serde(flatten)]
    difference: Difference,
}

#[derive(Default, Serialize)]
struct Verification {
    runs: usize,
    sample_files: usize,
    sample_lines: u64,
    models: usize,
    /// Programs of coding tasks that were run again.
    #[serde(skip_serializing_if = "Option::is_none")]
    programs: Option<usize>,
    findings: Vec<Finding>,
}

impl Verification {
    fn say(&mut self, file: &Path, differences: impl IntoIterator<Item = Difference>) {
        let file = file.display().to_string();
        self.findings.extend(differences.into_iter().map(|difference| Finding { file: file.clone(), difference }));
    }
}

/// Runs `verify`.
///
/// # Errors
/// Where there is nothing to verify, or a file cannot be read.
pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<Outcome> {
    let nothing_given = arguments.registry.is_none() && arguments.results.is_none() && arguments.leaderboard.is_none();
    let existing = |path: &str| Some(PathBuf::from(path)).filter(|path| nothing_given && path.exists());
    let registry = arguments.registry.clone().or_else(|| existing("models/registry.json"));
    let results = arguments.results.clone().or_else(|| existing("results/raw"));
    let leaderboard = arguments.leaderboard.clone().or_else(|| existing("website/assets/data/leaderboard.json"));
    if registry.is_none() && results.is_none() {
        return Err(UsageError("there is nothing to verify here; name --registry or --results".to_owned()).into());
    }
    let mut verification = Verification::default();
    let runs = results.as_deref().map(|results| verify_runs(results, &mut verification)).transpose()?;
    if arguments.rerun_programs {
        rerun_programs(runs.as_deref().unwrap_or_default(), &mut verification)?;
    }
    if let Some(signers) = &arguments.allowed_signers {
        let signers = AllowedSigners::read(signers)?;
        for stored in runs.iter().flatten() {
            let found = signers.check(&stored.path, arguments.require_signatures)?;
            verification.say(&stored.path, found);
        }
    }
    if let Some(path) = &registry {
        let submissions = arguments.submissions.clone().unwrap_or_else(|| path.with_file_name("submissions"));
        let stored = verify_registry(path, runs.as_deref(), &submissions, &mut verification)?;
        if let (Some(leaderboard), Some(registry)) = (&leaderboard, &stored) {
            verify_leaderboard(leaderboard, registry, path, &mut verification)?;
        }
    }
    print(&verification, arguments.format)?;
    Ok(if verification.findings.is_empty() { Outcome::Done } else { Outcome::Invalid })
}

fn print(verification: &Verification, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(verification)?);
        return Ok(());
    }
    for Finding { file, difference: Difference { pointer, message } } in &verification.findings {
        println!("{file}: {} {message}", if pointer.is_empty() { "the file" } else { pointer });
    }
    let Verification { runs, sample_files, sample_lines, models, programs, findings } = verification;
    match programs {
        Some(0) => println!("no run has programs to run again"),
        Some(programs) => println!("{} were run again", counted(*programs, "program")),
        None => {}
    }
    let (runs, models, files) = (counted(*runs, "run"), counted(*models, "model"), counted(*sample_files, "sample file"));
    let seen = format!("{runs}, {files} with {sample_lines} documents, {models}");
    match findings.len() {
        0 => println!("verified: {seen}; everything follows from the artifacts"),
        1 => println!("1 difference in {seen}"),
        count => println!("{count} differences in {seen}"),
    }
    Ok(())
}

// Runs.

fn verify_runs(results: &Path, verification: &mut Verification) -> anyhow::Result<Vec<StoredRun>> {
    let mut runs = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in artifact_files::find_runs(results)? {
        let stored = match artifact_files::read_run(&path) {
            Ok(stored) => stored,
            Err(error) if error.is::<InvalidInput>() => {
                verification.say(&path, [Difference::new("", format!("cannot be used: {error}"))]);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(other) = seen.insert(stored.run.run_id.clone(), path.clone()) {
            verification.say(&path, [Difference::new("/run_id", format!("is that of {} too", other.display()))]);
        }
        verify_run(&stored, verification)?;
        runs.push(stored);
    }
    verification.runs = runs.len();
    Ok(runs)
}

fn verify_run(stored: &StoredRun, verification: &mut Verification) -> anyhow::Result<()> {
    let (path, run) = (stored.path.as_path(), &stored.run);
    verification.say(path, schema_differences(stored)?);
    verification.say(path, folder_differences(stored));
    let pillars = artifact_files::pillars_of(&run.suite.name, Some(&run.suite.version));
    verification.say(path, audit_run(run, pillars.as_deref()));
    verification.say(path, unlisted_files(stored)?);
    let mut scores: BTreeMap<String, Vec<DocumentScore>> = BTreeMap::new();
    for (index, sample) in run.samples.iter().enumerate() {
        if let Some(documents) = verify_samples(stored, index, sample, verification)? {
            scores.insert(sample.task.clone(), documents);
        }
    }
    for (name, task) in &run.tasks {
        verification.say(path, task_differences(run, name, task, &scores));
    }
    for (name, probe) in &run.probes {
        verification.say(path, probe_differences(run, name, probe, &scores));
    }
    verification.say(path, differences("/informational/probes", &probe_figures(run), &run.informational.probes));
    verification.say(path, long_context_differences(stored));
    Ok(())
}

/// Where the long-context grids do not follow from the samples.
fn long_context_differences(stored: &StoredRun) -> Vec<Difference> {
    let run = &stored.run;
    let Some(grids) = &run.informational.long_context else { return Vec::new() };
    let window = run.environment.details.get("max_length").and_then(|window| window.parse::<usize>().ok());
    let files = run.samples.iter().filter(|file| long_context::TASKS.contains(&file.task.as_str()));
    let read = |file: &SampleFile| read_samples(&stored.folder().join(&file.file)).ok().map(|lines| (file.task.clone(), lines));
    // A file that cannot be read has been reported where the files are checked.
    let (Some(window), Some(files)) = (window, files.map(read).collect::<Option<Vec<_>>>()) else { return Vec::new() };
    let tasks: Vec<&str> =
        if files.is_empty() { long_context::TASKS.to_vec() } else { files.iter().map(|(task, _)| task.as_str()).collect() };
    let lines = files.iter().flat_map(|(task, lines)| lines.iter().map(move |line| (task.as_str(), line.details.as_ref(), &line.metrics)));
    let expected = long_context::summary(&tasks, lines, window, longest_text(&run.engine.name, &run.engine.device))
        .and_then(|expected| serde_json::to_value(expected).ok());
    match expected {
        Some(expected) if files.is_empty() => {
            // Nothing was asked, so every length has its reason; which tasks were asked for is not in the samples.
            let known = |kind: &String| expected["grids"].get(kind) == grids["grids"].get(kind);
            let kinds: Vec<&String> = grids["grids"].as_object().into_iter().flat_map(|grids| grids.keys()).collect();
            let is_wrong = kinds.is_empty() || !kinds.into_iter().all(known);
            is_wrong.then(|| Difference::new("/informational/long_context", "does not follow from the samples")).into_iter().collect()
        }
        Some(expected) => differences("/informational/long_context", &expected, grids),
        None => vec![Difference::new("/informational/long_context", "is there without a task that gives it")],
    }
}

fn schema_differences(stored: &StoredRun) -> anyhow::Result<Vec<Difference>> {
    static SCHEMA: LazyLock<Option<jsonschema::Validator>> = LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../schemas/run.schema.json")).ok()?;
        jsonschema::validator_for(&schema).ok()
    });
    let schema = SCHEMA.as_ref().context("the program's own schema of run.json cannot be read")?;
    let value = serde_json::to_value(&stored.run)?;
    Ok(schema.iter_errors(&value).map(|error| Difference::new(error.instance_path().as_str(), error.to_string())).collect())
}

/// A run stands in `<slug>/<run-id>/`.
fn folder_differences(stored: &StoredRun) -> Vec<Difference> {
    let name = |folder: Option<&Path>| folder.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (run_folder, model_folder) = (name(Some(stored.folder())), name(stored.folder().parent()));
    let slug = submission::slug(&stored.run.model.hf_repo);
    let mut found = Vec::new();
    if run_folder != stored.run.run_id {
        found.push(Difference::new("/run_id", format!("is {}, but the folder is {run_folder}", stored.run.run_id)));
    }
    if model_folder != slug {
        found.push(Difference::new("/model/hf_repo", format!("belongs in the folder {slug}, but stands in {model_folder}")));
    }
    found
}

/// Files in `samples/` that `run.json` does not list.
fn unlisted_files(stored: &StoredRun) -> anyhow::Result<Vec<Difference>> {
    let folder = stored.folder().join("samples");
    let listed: BTreeSet<&str> = stored.run.samples.iter().map(|sample| sample.file.as_str()).collect();
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let name = format!("samples/{}", entry?.file_name().to_string_lossy());
            if !listed.contains(name.as_str()) {
                found.push(Difference::new("/samples", format!("does not list {name}")));
            }
        }
    }
    found.sort_by(|a, b| a.message.cmp(&b.message));
    Ok(found)
}

// Samples.

/// Checks a sample file line by line. `None` where it cannot be read as what it should be; the differences have then been said.
fn verify_samples(
    stored: &StoredRun,
    index: usize,
    sample: &SampleFile,
    verification: &mut Verification,
) -> anyhow::Result<Option<Vec<DocumentScore>>> {
    let at = |field: &str, message: String| Difference::new(format!("/samples/{index}{field}"), message);
    if sample.file != format!("samples/{}.jsonl.zst", sample.task) || sample.task.contains(['/', '\\']) {
        verification.say(&stored.path, [at("/file", format!("is {}, not samples/{}.jsonl.zst", sample.file, sample.task))]);
        return Ok(None);
    }
    let path = stored.folder().join(&sample.file);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let run_id = &stored.run.run_id;
            let message = format!(
                "{} does not exist, so its {} documents were not checked. Where it is an asset of a release: gh release download run-{run_id} --pattern \
                 {run_id}-{}.jsonl.zst --output {}",
                sample.file,
                sample.n,
                sample.task,
                path.display()
            );
            verification.say(&stored.path, [at("/file", message)]);
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    verification.sample_files += 1;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    if sha256 != sample.sha256 {
        verification.say(&stored.path, [at("/sha256", format!("is {}, the file has {sha256}", sample.sha256))]);
    }
    let Some(task) = task_of_run(&stored.run, &sample.task) else {
        verification.say(&stored.path, [at("/task", format!("{} is not a task of this program", sample.task))]);
        return Ok(None);
    };
    let (lines, found, scores) = read_lines(&bytes, task.as_ref(), stored.run.chat_template);
    verification.say(&path, found);
    verification.sample_lines += lines;
    if lines != sample.n {
        verification.say(&stored.path, [at("/n", format!("is {}, the file has {lines} lines", sample.n))]);
    }
    Ok(Some(scores))
}

fn read_lines(bytes: &[u8], task: &dyn Task, chat_template: bool) -> (u64, Vec<Difference>, Vec<DocumentScore>) {
    let mut found = Vec::new();
    let mut scores = Vec::new();
    let mut number = 0;
    let mut last: Option<u64> = None;
    let mut reader = match zstd::Decoder::new(bytes) {
        Ok(decoder) => BufReader::new(decoder),
        Err(error) => return (0, vec![Difference::new("", format!("is not zstd: {error}"))], scores),
    };
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut buffer) {
            Ok(0) => break,
            Ok(_) if buffer.last() != Some(&b'\n') => {
                found.push(Difference::new(format!("/{number}"), "the line has no end"));
                break;
            }
            Ok(_) => {}
            Err(error) => {
                found.push(Difference::new(format!("/{number}"), format!("the file is damaged: {error}")));
                break;
            }
        }
        let line: SampleLine = match serde_json::from_slice(&buffer) {
            Ok(line) => line,
            Err(error) => {
                found.push(Difference::new(format!("/{number}"), format!("is not a sample: {error}")));
                break;
            }
        };
        if last.is_some_and(|last| line.doc_id <= last) {
            found.push(Difference::new(format!("/{number}/doc_id"), format!("is {} after {}", line.doc_id, last.unwrap_or_default())));
        }
        last = Some(line.doc_id);
        if found.len() < MAX_PER_FILE {
            let line_differences = rescore(task, &line, chat_template);
            found.extend(line_differences.into_iter().map(|d| Difference { pointer: format!("/{number}{}", d.pointer), ..d }));
        }
        let metrics = line.metrics.into_iter().collect();
        scores.push(DocumentScore { filtered_resps: serde_json::Map::new(), metrics, flags: Vec::new() });
        number += 1;
    }
    if found.len() >= MAX_PER_FILE {
        found.truncate(MAX_PER_FILE);
        found.push(Difference::new("", "has more differences, which are not listed"));
    }
    (number, found, scores)
}

// Tasks.

/// Where a task's figures do not follow from its documents.
fn task_differences(run: &Run, name: &str, task: &TaskRecord, scores: &BTreeMap<String, Vec<DocumentScore>>) -> Vec<Difference> {
    let pointer = format!("/tasks/{name}");
    match registry::entry(name) {
        Err(_) => vec![Difference::new(pointer, "is not a task of this program")],
        Ok(Entry::Task(entry)) => {
            let asked = task_of_run(run, name).unwrap_or_else(|| std::sync::Arc::clone(entry));
            leaf_differences(&pointer, asked.spec(), task, scores.get(name))
        }
        Ok(Entry::Group(group)) => group_differences(&pointer, run, group, task, scores),
    }
    .into_iter()
    .chain(fewshot_difference(run, name, task))
    .collect()
}

/// Where the figures of a group do not follow from its subtasks, or theirs from their documents.
fn group_differences(
    pointer: &str,
    run: &Run,
    group: &Group,
    task: &TaskRecord,
    scores: &BTreeMap<String, Vec<DocumentScore>>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for member in &group.members {
        let pointer = format!("{pointer}/subtasks/{member}");
        match (task.subtasks.get(member), task_of_run(run, member)) {
            (Some(leaf), Some(entry)) => found.extend(leaf_differences(&pointer, entry.spec(), leaf, scores.get(member))),
            (None, _) if task.status == TaskStatus::Ok => found.push(Difference::new(pointer, "is missing")),
            _ => {}
        }
    }
    for extra in task.subtasks.keys().filter(|subtask| !group.members.contains(subtask)) {
        found.push(Difference::new(format!("{pointer}/subtasks/{extra}"), format!("is not a subtask of {}", group.name)));
    }
    if let Some(spec) = group.members.first().and_then(|member| task_of_run(run, member)) {
        let expected = group_record(group, &registry::groups_within(group), task.subtasks.clone(), spec.spec());
        compare_records(pointer, &expected, task, &mut found);
        for (name, expected) in &expected.groups {
            let actual = task.groups.get(name).cloned().unwrap_or_default();
            compare_groups(&format!("{pointer}/groups/{name}"), expected, &actual, &mut found);
        }
        if expected.status != task.status {
            let message = format!("is {:?}, follows from the subtasks as {:?}", task.status, expected.status);
            found.push(Difference::new(format!("{pointer}/status"), message));
        }
    }
    found
}

/// Where a probe's figures do not follow from its documents.
fn probe_differences(run: &Run, name: &str, probe: &TaskRecord, scores: &BTreeMap<String, Vec<DocumentScore>>) -> Vec<Difference> {
    let pointer = format!("/probes/{name}");
    match probes::probe(name).map(|probe| &probe.entry) {
        None => vec![Difference::new(pointer, "is not a probe of this program")],
        Some(Entry::Task(task)) => leaf_differences(&pointer, task.spec(), probe, scores.get(name)),
        Some(Entry::Group(group)) => group_differences(&pointer, run, group, probe, scores),
    }
}

/// The number of examples is the suite's, unless the run says otherwise.
fn fewshot_difference(run: &Run, name: &str, task: &TaskRecord) -> Option<Difference> {
    let suite = crate::benchmark::suites::Suite::named(&run.suite.name).ok().filter(|suite| suite.version == run.suite.version)?;
    let expected = suite.tasks().find(|entry| entry.name == name)?.num_fewshot;
    let overridden = run.suite.overrides.iter().any(|option| option.starts_with("num_fewshot"));
    (task.status == TaskStatus::Ok && !overridden && usize::try_from(task.num_fewshot) != Ok(expected)).then(|| {
        let message = format!("is {}, the suite's is {expected}, and the run does not say that it departs from it", task.num_fewshot);
        Difference::new(format!("/tasks/{name}/num_fewshot"), message)
    })
}

fn leaf_differences(pointer: &str, spec: &TaskSpec, task: &TaskRecord, scores: Option<&Vec<DocumentScore>>) -> Vec<Difference> {
    if task.status != TaskStatus::Ok {
        return Vec::new();
    }
    // A missing file has been reported where the files are checked.
    let Some(scores) = scores else { return Vec::new() };
    let mut found = Vec::new();
    if task.version != spec.version {
        let message = format!("is {}, this program has version {}: the figures cannot be compared", task.version, spec.version);
        return vec![Difference::new(format!("{pointer}/version"), message)];
    }
    let n_total = usize::try_from(task.n_total).unwrap_or(usize::MAX);
    let chance = task.chance.map(|chance| chance / 100.0);
    match leaf_record(spec, scores, n_total, task.num_fewshot as usize, chance) {
        Ok(expected) => compare_records(pointer, &expected, task, &mut found),
        Err(error) => found.push(Difference::new(pointer, format!("cannot be recomputed: {error}"))),
    }
    found
}

fn same_items(expected: &TaskRecord, actual: &TaskRecord) -> bool {
    let values = |record: &TaskRecord| record.items.as_ref().map(|items| items.values(usize::try_from(record.n).unwrap_or(usize::MAX)));
    match (values(expected), values(actual)) {
        (None, None) => true,
        (Some(Some(a)), Some(Some(b))) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| close(*a, *b)),
        _ => false,
    }
}

fn compare_records(pointer: &str, expected: &TaskRecord, actual: &TaskRecord, found: &mut Vec<Difference>) {
    if expected.n != actual.n {
        found.push(Difference::new(format!("{pointer}/n"), format!("is {}, follows as {}", actual.n, expected.n)));
    }
    if expected.primary_metric != actual.primary_metric {
        let message = format!("is {}, the task ranks {}", actual.primary_metric, expected.primary_metric);
        found.push(Difference::new(format!("{pointer}/primary_metric"), message));
    }
    if !actual.measures.is_empty() && expected.measures != actual.measures {
        found.push(Difference::new(format!("{pointer}/measures"), "is not what this task measures"));
    }
    if !actual.higher_is_better.is_empty() && expected.higher_is_better != actual.higher_is_better {
        found.push(Difference::new(format!("{pointer}/higher_is_better"), "is not the direction of the task's metrics"));
    }
    if !same_items(expected, actual) {
        found.push(Difference::new(format!("{pointer}/items"), "does not hold the samples' values of the primary metric"));
    }
    compare_metrics(&format!("{pointer}/metrics"), &expected.metrics, &actual.metrics, found);
    let mut number = |field: &str, expected: Option<f64>, actual: Option<f64>| {
        compare_numbers(&format!("{pointer}/{field}"), expected, actual, found);
    };
    number("score", expected.score, actual.score);
    number("score_stderr", expected.score_stderr, actual.score_stderr);
    for (index, end) in ["score_ci95/0", "score_ci95/1"].into_iter().enumerate() {
        number(end, expected.score_ci95.map(|pair| pair[index]), actual.score_ci95.map(|pair| pair[index]));
    }
}

fn compare_groups(pointer: &str, expected: &GroupRecord, actual: &GroupRecord, found: &mut Vec<Difference>) {
    if expected.n != actual.n || expected.subtasks != actual.subtasks {
        found.push(Difference::new(pointer, "does not follow from the subtasks"));
    }
    compare_metrics(&format!("{pointer}/metrics"), &expected.metrics, &actual.metrics, found);
}

fn compare_metrics(pointer: &str, expected: &BTreeMap<String, Metric>, actual: &BTreeMap<String, Metric>, found: &mut Vec<Difference>) {
    for (key, expected) in expected {
        let Some(actual) = actual.get(key) else {
            found.push(Difference::new(format!("{pointer}/{key}"), "is missing"));
            continue;
        };
        compare_numbers(&format!("{pointer}/{key}/value"), expected.value, actual.value, found);
        compare_numbers(&format!("{pointer}/{key}/stderr"), expected.stderr, actual.stderr, found);
        for index in 0..2 {
            let end = |metric: &Metric| metric.ci95.map(|pair| pair[index]);
            compare_numbers(&format!("{pointer}/{key}/ci95/{index}"), end(expected), end(actual), found);
        }
    }
    for key in actual.keys().filter(|key| !expected.contains_key(*key)) {
        found.push(Difference::new(format!("{pointer}/{key}"), "is not a metric of this task"));
    }
}

fn compare_numbers(pointer: &str, expected: Option<f64>, actual: Option<f64>, found: &mut Vec<Difference>) {
    let text = |number: Option<f64>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
    let equal = match (expected, actual) {
        (Some(expected), Some(actual)) => close(expected, actual),
        (expected, actual) => expected == actual,
    };
    if !equal {
        found.push(Difference::new(pointer, format!("is {}, the documents give {}", text(actual), text(expected))));
    }
}

// Programs.

/// Runs the stored programs of coding tasks again. A program that came near its time limit may end otherwise on another machine.
fn rerun_programs(runs: &[StoredRun], verification: &mut Verification) -> anyhow::Result<()> {
    let runner = SandboxedPrograms::new(SandboxConfig::new(std::env::current_exe().context("cannot find this program's own file")?));
    let mut count = 0;
    for stored in runs {
        for sample in stored.run.samples.iter().filter(|sample| sample.task.ends_with("humaneval") || sample.task == "mbpp") {
            let path = stored.folder().join(&sample.file);
            // A file that cannot be read has been reported where the files are checked.
            let Ok(lines) = read_samples(&path) else { continue };
            let kept: Vec<(usize, usize, StoredProgram)> = (lines.iter().enumerate())
                .flat_map(|(number, line)| {
                    let programs = stored_programs(line).unwrap_or_default();
                    programs.into_iter().enumerate().map(move |(index, program)| (number, index, program))
                })
                .collect();
            let programs: Vec<Program> = kept.iter().map(|(.., stored)| stored.program.clone()).collect();
            count += programs.len();
            for ((number, index, stored), execution) in kept.iter().zip(runner.run(&programs)?) {
                let verdict = Verdict::of_sandbox(execution.verdict);
                if verdict != Some(stored.verdict) {
                    let message = format!("is {:?}, run again {:?}: {}", stored.verdict, execution.verdict, execution.reason);
                    verification.say(&path, [Difference::new(format!("/{number}/details/programs/{index}/verdict"), message)]);
                }
            }
        }
    }
    verification.programs = Some(count);
    Ok(())
}

// Registry and leaderboard.

fn verify_registry(
    path: &Path,
    runs: Option<&[StoredRun]>,
    submissions: &Path,
    verification: &mut Verification,
) -> anyhow::Result<Option<Registry>> {
    let text = text_of(path)?;
    let stored = match Registry::parse(&text) {
        Ok(stored) => stored,
        Err(error) => {
            verification.say(path, [Difference::new("", format!("cannot be used: {error}"))]);
            return Ok(None);
        }
    };
    verification.models = stored.models.len();
    let decisions = artifact_files::read_decisions(&path.with_file_name("decisions.json"))?;
    let mut expected = Registry::default();
    let mut folds = Vec::new();
    for entry in &stored.models {
        let submitted = match submission_of(submissions, &entry.id)? {
            Some(path) => artifact_files::submitted(&artifact_files::read_submission(&path)?),
            None => submitted_of(entry),
        };
        let summaries = match runs {
            None => entry.runs.clone(),
            Some(runs) => runs_of(runs, &entry.hf_repo).map(StoredRun::summary).collect(),
        };
        folds.push((submitted, summaries));
    }
    expected.upsert_all(folds);
    for entry in stored.models.iter().filter(|entry| entry.imported.is_some()) {
        if let Some(mine) = expected.models.iter_mut().find(|mine| mine.id == entry.id) {
            mine.imported.clone_from(&entry.imported);
            mine.date_added = mine.date_added.or(entry.date_added);
        }
    }
    expected.decide(&decisions);
    verification.say(path, differences("", &expected, &stored));
    if expected == stored && expected.to_json()? != text {
        verification.say(path, [Difference::new("", "is not in canonical form: `slm-bench registry update` writes it so")]);
    }
    for run in runs.into_iter().flatten() {
        if !stored.models.iter().any(|entry| entry.hf_repo.eq_ignore_ascii_case(&run.run.model.hf_repo)) {
            verification
                .say(&run.path, [Difference::new("", format!("is of {}, which the registry does not have", run.run.model.hf_repo))]);
        }
    }
    Ok(Some(stored))
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    Ok(String::from_utf8(artifact_files::read_named(path)?).map_err(|_| InvalidInput(format!("{} is not UTF-8 text", path.display())))?)
}

fn runs_of<'a>(runs: &'a [StoredRun], repo: &'a str) -> impl Iterator<Item = &'a StoredRun> {
    runs.iter().filter(move |stored| stored.run.model.hf_repo.eq_ignore_ascii_case(repo))
}

/// The submission file of a model, where the folder has one.
fn submission_of(folder: &Path, id: &str) -> anyhow::Result<Option<PathBuf>> {
    let candidates: Vec<PathBuf> =
        ["yml", "yaml"].iter().map(|extension| folder.join(format!("{id}.{extension}"))).filter(|p| p.is_file()).collect();
    match candidates.as_slice() {
        [] => Ok(None),
        [path] => Ok(Some(path.clone())),
        _ => Err(InvalidInput(format!("{} has two submissions of {id}: keep the .yml one", folder.display())).into()),
    }
}

/// What the registry itself says about the submission, where its file is not here.
fn submitted_of(entry: &ModelEntry) -> Submitted {
    Submitted {
        id: entry.id.clone(),
        name: entry.name.clone(),
        family: entry.family.clone(),
        hf_repo: entry.hf_repo.clone(),
        parameters: entry.parameters.clone(),
        architecture: entry.architecture.clone(),
        license: entry.license.clone(),
        context_length: entry.context_length,
        quantizations: entry.quantizations.clone(),
        categories: entry.categories.clone(),
        submitted_by: entry.submitted_by.clone(),
    }
}

fn verify_leaderboard(path: &Path, registry: &Registry, registry_path: &Path, verification: &mut Verification) -> anyhow::Result<()> {
    let text = text_of(path)?;
    let pillars = artifact_files::pillars_of("standard", None).context("the program has no standard suite")?;
    let items = artifact_files::item_scores(registry, registry_path, &pillars)?;
    let expected = board::derive(registry, &pillars, &items);
    let expected_text = expected.to_json()?;
    if text == expected_text {
        return Ok(());
    }
    match serde_json::from_str::<Value>(&text) {
        Err(error) => verification.say(path, [Difference::new("", format!("is not JSON: {error}"))]),
        Ok(actual) => {
            let mut found = differences("", &expected, &actual);
            if found.is_empty() {
                found.push(Difference::new("", "is not in canonical form: `slm-bench website update` writes it so"));
            }
            verification.say(path, found);
        }
    }
    Ok(())
}
