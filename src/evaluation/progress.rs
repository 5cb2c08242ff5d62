//! What a person sees while a run works: a bar with ETA and running score on a terminal, a plain line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a plain line is printed where there is no terminal.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(30);
/// How often a line for programs is printed.
const JSON_LINE_EVERY: Duration = Duration::from_secs(1);

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// A bar on a terminal, plain lines elsewhere.
    Visible,
    /// Lines for programs, on the standard error: one [`RunLine`] each, as JSON.
    Json,
    /// Nothing: for tests and for callers that show progress themselves.
    Silent,
}

/// A line for programs: what `slm-bench run --progress json` says about itself on its standard error, between lines for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "slm_bench", rename_all = "snake_case")]
pub enum RunLine {
    /// The next of the declared quantizations begins.
    Quantization {
        /// Its number, from 1.
        number: u64,
        /// How many there are.
        of: u64,
    },
    /// The next task, or part of one, begins.
    Task {
        /// Its name.
        task: String,
        /// Its number in the run, from 1.
        number: u64,
        /// How many there are.
        of: u64,
    },
    /// How far the task is.
    Requests {
        /// Its name.
        task: String,
        /// Answered requests.
        done: u64,
        /// All its requests.
        total: u64,
        /// Seconds until it is done.
        eta_s: f64,
        /// Running score in [0, 1], where there is one yet.
        score: Option<f64>,
    },
    /// A run is complete.
    Run {
        /// Its folder.
        folder: PathBuf,
        /// Its id.
        run_id: String,
    },
    /// A task has no score for a reason that may pass by itself: the hub, the network, this machine's disk. The same command with `--resume`
    /// tries it again.
    Delayed {
        /// Its name.
        task: String,
        /// What happened.
        reason: String,
    },
    /// The command ends with an error, which stands in the line before, for people.
    Failed {
        /// Whether the same command may succeed later with nothing changed.
        may_pass: bool,
    },
}

impl RunLine {
    /// Prints the line.
    pub(crate) fn print(&self) {
        // Names and numbers always are JSON.
        if let Ok(line) = serde_json::to_string(self) {
            eprintln!("{line}");
        }
    }

    /// Reads a line; `None` when it is one for people.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        line.starts_with("{\"slm_bench\":").then(|| serde_json::from_str(line).ok())?
    }
}

/// How far an evaluation is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunProgress {
    /// Number of the quantization that is evaluated, from 1.
    pub quantization: u64,
    /// Declared quantizations.
    pub quantizations: u64,
    /// Task (or part of one) that is under way.
    pub task: String,
    /// Its number in the run, from 1.
    pub task_number: u64,
    /// Tasks (and parts) of the run.
    pub tasks: u64,
    /// Answered requests of the task.
    pub done: u64,
    /// Requests of the task.
    pub total: u64,
    /// Seconds until the task is done, as far as can be told.
    pub eta_s: Option<f64>,
    /// Running score of the task in [0, 1], where there is one yet.
    pub score: Option<f64>,
}

impl RunProgress {
    /// Takes in what a line says.
    pub fn apply(&mut self, line: &RunLine) {
        match line {
            RunLine::Quantization { number, of } => {
                *self = Self { quantization: *number, quantizations: *of, ..Self::default() };
            }
            RunLine::Task { task, number, of } => {
                let (quantization, quantizations) = (self.quantization, self.quantizations);
                *self = Self { quantization, quantizations, task: task.clone(), task_number: *number, tasks: *of, ..Self::default() };
            }
            RunLine::Requests { task, done, total, eta_s, score } => {
                self.task.clone_from(task);
                (self.done, self.total, self.eta_s, self.score) = (*done, *total, Some(*eta_s), *score);
            }
            RunLine::Run { .. } | RunLine::Delayed { .. } | RunLine::Failed { .. } => {}
        }
    }

    /// Share of the evaluation that is done, in [0, 1], each task counted alike; `None` before anything is known.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        if self.tasks == 0 {
            return None;
        }
        let within = |number: u64, share: f64, of: u64| ((number.saturating_sub(1) as f64 + share) / of.max(1) as f64).clamp(0.0, 1.0);
        let task = if self.total == 0 { 0.0 } else { (self.done as f64 / self.total as f64).min(1.0) };
        Some(within(self.quantization, within(self.task_number, task, self.tasks), self.quantizations))
    }
}

/// Progress of one task.
pub(crate) struct TaskProgress {
    bar: ProgressBar,
    plain: bool,
    json: bool,
    name: String,
    total: u64,
    started: Instant,
    already: u64,
    last_line: Instant,
}

impl TaskProgress {
    /// Starts the display of a task of `total` requests, `already` of which were answered by an earlier, unfinished run.
    pub(crate) fn start(name: &str, total: usize, already: usize, verbosity: Verbosity) -> Self {
        let (total, already) = (total as u64, already as u64);
        let terminal = std::io::stderr().is_terminal();
        let bar = match verbosity {
            Verbosity::Visible if terminal => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8)),
            _ => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix:<26} {bar:30.cyan/blue} {pos:>6}/{len:<6} {msg:<16} {elapsed} ETA {eta}") {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(name.to_owned());
        bar.set_position(already);
        bar.reset_eta();
        let now = Instant::now();
        Self {
            bar,
            plain: verbosity == Verbosity::Visible && !terminal,
            json: verbosity == Verbosity::Json,
            name: name.to_owned(),
            total,
            started: now,
            already,
            last_line: now,
        }
    }

    /// Says how many requests are answered and the running score (in [0, 1], primary metric), where there is one yet.
    pub(crate) fn update(&mut self, answered: usize, running_score: Option<f64>) {
        let answered = answered as u64;
        self.bar.set_position(answered);
        let is_over = answered == self.total;
        if self.json && (is_over || answered == self.already || self.last_line.elapsed() >= JSON_LINE_EVERY) {
            self.last_line = Instant::now();
            let (task, done, total) = (self.name.clone(), answered, self.total);
            RunLine::Requests { task, done, total, eta_s: self.remaining(answered).as_secs_f64(), score: running_score }.print();
        }
        let score = running_score.map_or_else(String::new, |score| format!("score {score:.3}"));
        if self.plain && self.last_line.elapsed() >= PLAIN_LINE_EVERY {
            self.last_line = Instant::now();
            eprintln!("{}: {answered}/{} {score} ETA {}", self.name, self.total, human_duration(self.remaining(answered)));
        }
        self.bar.set_message(score);
    }

    fn remaining(&self, answered: u64) -> Duration {
        let done = answered.saturating_sub(self.already).max(1);
        self.started.elapsed().mul_f64(self.total.saturating_sub(answered) as f64 / done as f64)
    }

    /// Ends the display and leaves `summary` as the task's line.
    pub(crate) fn finish(self, summary: &str) {
        self.bar.finish_and_clear();
        if self.plain || !self.bar.is_hidden() {
            eprintln!("{:<26} {summary} ({})", self.name, human_duration(self.started.elapsed()));
        }
    }
}

/// `1h02m`, `3m05s`, `12.3s`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program follows a run by its lines; lines for people are left alone.
    #[test]
    fn lines_for_programs() {
        let lines = [
            RunLine::Quantization { number: 2, of: 2 },
            RunLine::Task { task: "piqa".to_owned(), number: 3, of: 4 },
            RunLine::Requests { task: "piqa".to_owned(), done: 5, total: 10, eta_s: 1.5, score: Some(0.5) },
            RunLine::Delayed { task: "piqa".to_owned(), reason: "no network".to_owned() },
            RunLine::Failed { may_pass: true },
        ];
        let mut progress = RunProgress::default();
        assert_eq!(progress.share(), None);
        for line in &lines {
            let text = serde_json::to_string(line).unwrap();
            assert_eq!(RunLine::parse(&text).as_ref(), Some(line), "{text}");
            progress.apply(line);
        }
        assert_eq!(progress.share(), Some(0.8125));
        for other in ["piqa: 5/10", "{\"slm_bench\":\"unheard of\"}", "{\"a\":1}", ""] {
            assert_eq!(RunLine::parse(other), None, "{other}");
        }
    }

    /// Durations read as a person writes them.
    #[test]
    fn durations() {
        let text: Vec<String> = [0.25, 59.9, 61.0, 3725.0].iter().map(|&s| human_duration(Duration::from_secs_f64(s))).collect();
        assert_eq!(text, ["0.2s", "59.9s", "1m01s", "1h02m"]);
    }
}
