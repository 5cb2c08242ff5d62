//! What a person sees while a run works: a bar with ETA and running score on a terminal, a plain line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a plain line is printed where there is no terminal.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(30);

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// A bar on a terminal, plain lines elsewhere.
    Visible,
    /// Nothing: for tests and for callers that show progress themselves.
    Silent,
}

/// Progress of one task.
pub(crate) struct TaskProgress {
    bar: ProgressBar,
    plain: bool,
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

    /// Durations read as a person writes them.
    #[test]
    fn durations() {
        let text: Vec<String> = [0.25, 59.9, 61.0, 3725.0].iter().map(|&s| human_duration(Duration::from_secs_f64(s))).collect();
        assert_eq!(text, ["0.2s", "59.9s", "1m01s", "1h02m"]);
    }
}
