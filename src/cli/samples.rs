//! `slm-bench samples`: sample files in lm-evaluation-harness's own form.

use super::artifact_files::{self, StoredRun};
use super::{InvalidInput, Outcome, UsageError};
use crate::benchmark::registry;
use crate::evaluation::{read_samples, write_atomically};
use crate::leaderboard::run::SampleLine;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `samples`.
#[derive(Args)]
pub(super) struct SamplesArguments {
    #[command(subcommand)]
    command: SamplesCommand,
}

#[derive(Subcommand)]
enum SamplesCommand {
    /// Write a run's questions and answers for other programs
    Export(ExportArguments),
}

#[derive(Args)]
struct ExportArguments {
    /// The run: its folder or its run.json
    #[arg(long, value_name = "PATH")]
    run: PathBuf,
    /// Folder for the files `samples_<task>_<time>.jsonl`
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// The form of lm-evaluation-harness's `--log_samples`: one line for each document and filter
    #[arg(long)]
    lm_eval: bool,
    /// Only these tasks
    #[arg(long, value_delimiter = ',', value_name = "TASKS")]
    tasks: Vec<String>,
}

/// Runs `samples`.
///
/// # Errors
/// Where the run or its samples cannot be read, or the files not written.
pub(super) fn run(arguments: &SamplesArguments) -> anyhow::Result<Outcome> {
    let SamplesCommand::Export(arguments) = &arguments.command;
    if !arguments.lm_eval {
        return Err(UsageError("name the form: --lm-eval".to_owned()).into());
    }
    let path = if arguments.run.is_dir() { arguments.run.join("run.json") } else { arguments.run.clone() };
    let stored = artifact_files::read_run(&path)?;
    for task in &arguments.tasks {
        if !stored.run.samples.iter().any(|sample| sample.task == *task) {
            let tasks: Vec<&str> = stored.run.samples.iter().map(|sample| sample.task.as_str()).collect();
            return Err(UsageError(format!("the run has no samples of {task}; it has {}", tasks.join(", "))).into());
        }
    }
    let mut written = 0;
    for sample in &stored.run.samples {
        if arguments.tasks.is_empty() || arguments.tasks.contains(&sample.task) {
            let path = export(&stored, &sample.task, &sample.file, &sample.sha256, &arguments.output)?;
            println!("{}", path.display());
            written += 1;
        }
    }
    if written == 0 {
        return Err(InvalidInput(format!("{} lists no sample files", path.display())).into());
    }
    Ok(Outcome::Done)
}

fn export(stored: &StoredRun, task: &str, file: &str, sha256: &str, output: &Path) -> anyhow::Result<PathBuf> {
    let source = stored.folder().join(file);
    let bytes = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    if hex::encode(Sha256::digest(&bytes)) != sha256 {
        return Err(InvalidInput(format!("{} is not the file that run.json names: its SHA-256 differs", source.display())).into());
    }
    // Filters in the task's order, as the harness logs them; an unknown task's by name.
    let filters: Vec<String> =
        registry::spec(task).map(|spec| spec.filters.iter().map(|filter| (*filter).to_owned()).collect()).unwrap_or_default();
    let lines = read_samples(&source)?;
    let mut text = String::new();
    let filters = if filters.is_empty() {
        lines.first().map(|line| line.filtered_resps.keys().cloned().collect()).unwrap_or_default()
    } else {
        filters
    };
    for filter in &filters {
        for line in &lines {
            text.push_str(&serde_json::to_string(&lm_eval_line(line, filter))?);
            text.push('\n');
        }
    }
    let time = stored.run.finished_at.format("%Y-%m-%dT%H-%M-%S%.6f");
    let path = output.join(format!("samples_{task}_{time}.jsonl"));
    write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

/// One line of the harness's file. The dataset row (`doc`) is not part of our artifacts: it is `null`, and `doc_hash` identifies it.
fn lm_eval_line(line: &SampleLine, filter: &str) -> Value {
    let arguments: Map<String, Value> = (line.arguments.iter().enumerate())
        .map(|(index, request)| {
            let parts: Map<String, Value> = (request.as_array().into_iter().flatten().enumerate())
                .map(|(part, value)| (format!("arg_{part}"), value.clone()))
                .collect();
            (format!("gen_args_{index}"), Value::Object(parts))
        })
        .collect();
    // The harness writes every part of an answer as text.
    let resps: Vec<Value> = line.resps.iter().map(as_logged).collect();
    let filtered = line.filtered_resps.get(filter).map_or_else(|| json!([]), as_logged);
    let suffix = format!(",{filter}");
    let metrics: Vec<(&str, &Value)> =
        line.metrics.iter().filter_map(|(key, value)| Some((key.strip_suffix(suffix.as_str())?, value))).collect();
    let mut out = Map::new();
    out.insert("doc_id".to_owned(), json!(line.doc_id));
    out.insert("doc".to_owned(), Value::Null);
    out.insert("target".to_owned(), python_text(&line.target));
    out.insert("arguments".to_owned(), Value::Object(arguments));
    out.insert("resps".to_owned(), json!(resps));
    out.insert("filtered_resps".to_owned(), filtered);
    out.insert("filter".to_owned(), json!(filter));
    out.insert("metrics".to_owned(), json!(metrics.iter().map(|(name, _)| name).collect::<Vec<_>>()));
    out.insert("doc_hash".to_owned(), json!(line.doc_hash));
    out.insert("prompt_hash".to_owned(), json!(line.prompt_hash));
    out.insert("target_hash".to_owned(), json!(line.target_hash));
    out.extend(metrics.into_iter().map(|(name, value)| (name.to_owned(), value.clone())));
    Value::Object(out)
}

/// Lists stay lists, all else becomes the text that Python's `str` gives.
fn as_logged(value: &Value) -> Value {
    match value {
        Value::Array(parts) => parts.iter().map(as_logged).collect(),
        other => python_text(other),
    }
}

/// `str(value)` of Python.
fn python_text(value: &Value) -> Value {
    match value {
        Value::Bool(true) => Value::from("True"),
        Value::Bool(false) => Value::from("False"),
        other => Value::from(crate::benchmark::python::target_text(other)),
    }
}
