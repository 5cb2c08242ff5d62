//! Reports of runs: Markdown for people, JSON for programs, one self-contained HTML page with plots.
//!
//! Pure: runs in, text out, in the same order and with the same bytes whatever order the runs came in.

mod grid;
mod html;
mod markdown;
mod svg;

pub(super) use markdown::cell;

use super::canonical;
use super::probes::{Measured, Probes};
use super::ranking::{RANKED_SUITE, bits_of};
use super::registry::RunSummary;
use super::run::{FigureSet, Limit, Run, TaskRecord, TaskStatus, figure};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Version of the format of the report's JSON.
pub const REPORT_SCHEMA_VERSION: &str = "1.0.0";

/// Runs to report, in a fixed order.
pub struct Report<'a> {
    runs: Vec<Reported<'a>>,
}

/// A run with the path and the digest of its `run.json`.
pub struct Reported<'a> {
    /// The run.
    pub run: &'a Run,
    /// Path of `run.json`, as shown.
    pub path: String,
    /// SHA-256 of `run.json`.
    pub sha256: String,
}

#[derive(Serialize)]
struct Document {
    schema_version: &'static str,
    runs: Vec<RunSummary>,
}

impl<'a> Report<'a> {
    /// A report of runs: by model, newest first, least quantized first.
    #[must_use]
    pub fn new(mut runs: Vec<Reported<'a>>) -> Self {
        runs.sort_by(|a, b| order(a.run).cmp(&order(b.run)));
        Self { runs }
    }

    /// The JSON form: a summary of each run.
    ///
    /// # Errors
    /// Never for runs that this program read; the type says it because JSON could refuse.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let runs = self.runs.iter().map(|r| RunSummary::new(r.run, r.path.clone(), r.sha256.clone())).collect();
        canonical::to_pretty(&Document { schema_version: REPORT_SCHEMA_VERSION, runs })
    }

    /// The Markdown form.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::render(&self.runs)
    }

    /// The HTML form: no script, no outside address, plots as SVG.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(&self.runs)
    }
}

type Order<'a> = (String, Reverse<chrono::DateTime<chrono::Utc>>, Reverse<u32>, &'a str);

fn order(run: &Run) -> Order<'_> {
    (run.model.hf_repo.to_lowercase(), Reverse(run.finished_at), Reverse(bits_of(&run.model.quantization.name)), &run.run_id)
}

/// A figure of several runs that may be compared: one hardware class.
struct FigurePlot {
    title: String,
    unit: String,
    rows: Vec<svg::Amount>,
}

/// Figures that are plotted, by the part of a run that has them.
const EDGE_PLOTS: &[(&str, &str)] = &[
    (figure::DECODE_SPEED, "Decode speed"),
    (figure::PREFILL_SPEED, "Prefill speed"),
    (figure::TIME_TO_FIRST_TOKEN, "Time to first token"),
    (figure::LOAD_TIME, "Load time"),
    (figure::PEAK_MEMORY, "Peak memory"),
    (figure::SIZE_ON_DISK, "Size on disk"),
];
const ENERGY_PLOTS: &[(&str, &str)] = &[
    (figure::EFFICIENCY, "Right answers per watt-hour"),
    (figure::ENERGY_PER_1K_TOKENS, "Energy per 1,000 tokens"),
    (figure::ENERGY_PER_CORRECT_ANSWER, "Energy per right answer"),
    (figure::CO2_PER_1K_TOKENS, "CO₂ per 1,000 tokens"),
];

/// Plots of figures over the runs that have them: one for each figure, hardware class and method, because nothing else may be compared.
fn figure_plots(runs: &[Reported<'_>], part: impl Fn(&Run) -> Option<&FigureSet>, wanted: &[(&str, &str)]) -> Vec<FigurePlot> {
    let mut plots: BTreeMap<(&str, usize, String), FigurePlot> = BTreeMap::new();
    for reported in runs {
        let Some(set) = part(reported.run) else { continue };
        for (place, (name, title)) in wanted.iter().enumerate() {
            let Some(figure) = set.figures.get(*name) else { continue };
            let Some(value) = figure.value.filter(|value| value.is_finite()) else { continue };
            let plot = plots.entry((&set.hardware_class, place, figure.method.clone())).or_insert_with(|| FigurePlot {
                title: format!("{title} ({}; {})", set.hardware_class, figure.method.replace('_', " ")),
                unit: figure.unit.clone(),
                rows: Vec::new(),
            });
            let label = format!("{} {}", reported.run.model.name, reported.run.model.quantization.name);
            plot.rows.push(svg::Amount { label, value, range: figure.range });
        }
    }
    plots.into_values().collect()
}

/// Why a run is no full result; `None` for a complete run of the ranked suite.
fn caveat(run: &Run) -> Option<String> {
    let mut parts = Vec::new();
    match run.limit {
        Some(Limit::Documents(number)) => parts.push(format!("preliminary: at most {number} documents of each task")),
        Some(Limit::Fraction(share)) => parts.push(format!("preliminary: {} % of the documents", share * 100.0)),
        None if run.suite.name != RANKED_SUITE => parts.push(format!("{} suite, never ranked", run.suite.name)),
        None => {}
    }
    parts.extend(run.suite.overrides.iter().map(|option| format!("with {option}")));
    if run.chat_template {
        parts.push("with the chat template".to_owned());
    }
    let missing: Vec<&str> = run.pillars.iter().filter(|(_, pillar)| pillar.score.is_none()).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        parts.push(format!("no score for {}", missing.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `51.23`, or a dash where it is missing.
fn points(value: Option<f64>) -> String {
    value.map_or_else(|| "—".to_owned(), |value| format!("{value:.2}"))
}

/// `51.23 [50.10, 52.36]`.
fn with_interval(value: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match (value, interval) {
        (Some(value), Some([low, high])) => format!("{value:.2} [{low:.2}, {high:.2}]"),
        (value, _) => points(value),
    }
}

fn limit_text(task: &TaskRecord) -> String {
    if task.n == task.n_total { task.n.to_string() } else { format!("{} of {}", task.n, task.n_total) }
}

/// What stands above the figures of probes.
const PROBES_NOTE: &str = "Figures beside the scores, in none of them. Changed: documents whose chosen option depends on the order of the \
    options. Answer only: right answers without the question. A dash is a figure that was not measured.";

/// Rows of the table of probes: task, documents, changed answers, accuracy by order, accuracy without the question, with it, chance, remark.
fn probe_rows(probes: &Probes) -> Vec<[String; 8]> {
    let measured = |figure: &Measured| with_interval(figure.value, figure.ci95);
    let rows = probes.tasks.iter().map(|(name, task)| {
        let (order, answer) = (&task.choice_order, &task.answer_only);
        let accuracies: Vec<String> = order.accuracies.iter().map(|accuracy| points(accuracy.value)).collect();
        let advantage = order.published_order_advantage;
        let said = [
            order.reason.as_ref().map(|reason| format!("choice order: {reason}")),
            answer.reason.as_ref().map(|reason| format!("answer only: {reason}")),
            advantage.value.map(|_| format!("published order less the others: {}", measured(&advantage))),
        ];
        [
            name.clone(),
            order.n.max(answer.n).to_string(),
            measured(&order.changed),
            if accuracies.is_empty() { points(None) } else { accuracies.join(" / ") },
            measured(&answer.accuracy),
            measured(&answer.with_question),
            points(answer.chance),
            said.into_iter().flatten().collect::<Vec<_>>().join("; "),
        ]
    });
    rows.collect()
}

/// Heads of [`probe_rows`].
const PROBE_HEADS: [&str; 8] = ["task", "documents", "changed", "accuracy by order", "answer only", "with question", "chance", "remark"];

/// What should be said beside a task's score: why there is none, warnings, departures.
fn remarks(task: &TaskRecord) -> Vec<String> {
    let mut remarks = Vec::new();
    match task.status {
        TaskStatus::Ok => {}
        TaskStatus::Failed => remarks.push(format!("failed: {}", task.reason.as_deref().unwrap_or("no reason recorded"))),
        TaskStatus::Invalid => remarks.push(format!("invalid: {}", task.reason.as_deref().unwrap_or("no reason recorded"))),
    }
    remarks.extend(task.warnings.iter().map(|warning| warning.message.clone()));
    remarks.extend(task.subtasks.iter().flat_map(|(name, leaf)| leaf.warnings.iter().map(move |w| format!("{name}: {}", w.message))));
    remarks.extend(task.deviations.iter().cloned());
    if task.truncated > 0 {
        remarks.push(format!("{} requests lost their beginning", task.truncated));
    }
    // Fifty-seven subjects that each answer A are one remark, not fifty-seven lines.
    if remarks.len() > 4 {
        let more = remarks.len() - 3;
        remarks.truncate(3);
        remarks.push(format!("{more} more remarks in run.json"));
    }
    remarks
}

/// `135M`, `1.7B`: the counted size where it is known.
fn size(run: &Run) -> String {
    run.model.parameters.measured.map_or_else(|| format!("{} (declared)", run.model.parameters.declared), short_count)
}

fn short_count(count: u64) -> String {
    let scaled = |unit: f64| format!("{:.3}", count as f64 / unit).trim_end_matches('0').trim_end_matches('.').to_owned();
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}K", scaled(1e3)),
        1_000_000..1_000_000_000 => format!("{}M", scaled(1e6)),
        _ => format!("{}B", scaled(1e9)),
    }
}

fn short_revision(run: &Run) -> &str {
    run.model.revision.get(..8).unwrap_or(&run.model.revision)
}
