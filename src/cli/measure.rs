//! `slm-bench measure`: load time, speed and memory of a model, in this process and nothing else.

use super::Outcome;
use crate::engine::{self, DType, Device, ModelSource, WeightForm};
use crate::meter::peak_resident_bytes;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Measure load time, time to first token, prefill and decode speed and peak memory of a model folder.
///
/// `run` starts this for the edge figures, so that nothing else has touched the process's memory. Prints one line of JSON: seconds and
/// bytes, each repetition by itself.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Folder with config.json, tokenizer.json and weights.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// A GGUF file whose weights are loaded instead of the folder's; once for each of its parts.
    #[arg(long, value_name = "FILE", conflicts_with = "isq")]
    gguf: Vec<PathBuf>,
    /// Quantize the weights to this level while loading (`Q8_0`, `Q4K`, …).
    #[arg(long, value_name = "LEVEL")]
    isq: Option<String>,
    /// Where to compute: auto, cpu, cuda, metal.
    #[arg(long, default_value = "auto")]
    device: Device,
    /// Which engine computes: auto, mistralrs, native.
    #[arg(long, default_value = "auto")]
    engine: engine::Choice,
    /// Data type of the computation: auto, f32, bf16, f16.
    #[arg(long, default_value = "auto")]
    dtype: DType,
    /// Prompt tokens; fewer where the model's window is shorter.
    #[arg(long, default_value_t = 512, value_name = "N")]
    prompt_tokens: usize,
    /// Tokens written after the prompt, at least 2.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u16).range(2..))]
    new_tokens: u16,
    /// Measured repetitions, after one that is not counted.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..1000))]
    repetitions: u16,
    /// Only load the model and say how long it took.
    #[arg(long)]
    load_only: bool,
}

/// What one process measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Seconds to load the model (the files are usually in the system's cache).
    pub(crate) load_s: f64,
    /// Prompt tokens.
    pub(crate) prompt_tokens: usize,
    /// Tokens written.
    pub(crate) new_tokens: usize,
    /// Seconds from the request to the first token, by repetition.
    pub(crate) first_token_s: Vec<f64>,
    /// Prompt tokens per second, by repetition.
    pub(crate) prefill_tokens_per_s: Vec<f64>,
    /// Tokens after the first, per second, by repetition.
    pub(crate) decode_tokens_per_s: Vec<f64>,
    /// Largest resident memory in bytes, where the system tells it.
    pub(crate) peak_resident_bytes: Option<u64>,
    /// Why there are no speeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let weights = match (&arguments.isq, arguments.gguf.as_slice()) {
        (Some(level), _) => WeightForm::Isq(level),
        (None, []) => WeightForm::Safetensors,
        (None, files) => WeightForm::Gguf(files),
    };
    let begun = Instant::now();
    let options = engine::Options { device: arguments.device, dtype: arguments.dtype, engine: arguments.engine };
    let mut model = engine::load(&ModelSource { dir: &arguments.folder, weights }, &options)?;
    let mut measured = Measured { load_s: begun.elapsed().as_secs_f64(), ..Measured::default() };
    if !arguments.load_only {
        measured.new_tokens = usize::from(arguments.new_tokens);
        // Two places to spare: the engine computes one token more than it is asked for.
        let room = model.max_length().saturating_sub(measured.new_tokens + 2);
        measured.prompt_tokens = arguments.prompt_tokens.min(room);
        // The first one warms caches and threads up, and is not counted.
        for repetition in 0..=arguments.repetitions {
            let timing = match model.time_generation(measured.prompt_tokens, measured.new_tokens) {
                Ok(timing) => timing,
                Err(error) => {
                    measured.reason = Some(error.to_string());
                    break;
                }
            };
            if repetition > 0 {
                measured.first_token_s.push(timing.first_token_s);
                measured.prefill_tokens_per_s.push(measured.prompt_tokens as f64 / timing.first_token_s);
                let decoding = timing.last_token_s - timing.first_token_s;
                measured.decode_tokens_per_s.push((measured.new_tokens - 1) as f64 / decoding);
            }
        }
    }
    measured.peak_resident_bytes = peak_resident_bytes(Path::new("/proc"));
    println!("{}", serde_json::to_string(&measured)?);
    Ok(Outcome::Done)
}

/// What is measured in processes of their own.
pub(crate) struct Subject<'a> {
    /// The model's folder.
    pub(crate) folder: &'a Path,
    /// Its weights.
    pub(crate) weights: WeightForm<'a>,
    /// Device class and data type that the run computes with.
    pub(crate) device: &'a str,
    pub(crate) dtype: &'a str,
    /// The engine that it computed with.
    pub(crate) engine: engine::Choice,
}

impl Subject<'_> {
    /// Measures in a fresh process.
    ///
    /// # Errors
    /// The process cannot be started, fails, or prints something else; the message has its last words.
    pub(crate) fn measure(&self, program: &Path, load_only: bool) -> anyhow::Result<Measured> {
        let mut command = Command::new(program);
        command.arg("measure").arg(self.folder).args([
            "--device",
            self.device,
            "--dtype",
            self.dtype,
            "--engine",
            &self.engine.to_string(),
        ]);
        if let WeightForm::Isq(level) = self.weights {
            command.args(["--isq", level]);
        }
        if let WeightForm::Gguf(files) = self.weights {
            for file in files {
                command.arg("--gguf").arg(file);
            }
        }
        if load_only {
            command.arg("--load-only");
        }
        let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", program.display()))?;
        let complaints = String::from_utf8_lossy(&done.stderr);
        if !done.status.success() {
            let last = complaints.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            anyhow::bail!("the measuring process ended with {}: {last}", done.status);
        }
        serde_json::from_slice(&done.stdout).context("the measuring process printed no figures")
    }
}
