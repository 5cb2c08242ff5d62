//! The report as Markdown.

use super::grid::{Grid, grids};
use super::svg::significant;
use super::{PROBE_HEADS, PROBES_NOTE, Reported, caveat, limit_text, points, probe_rows, remarks, short_revision, size, with_interval};
use crate::leaderboard::run::{FigureSet, Run};
use std::collections::BTreeSet;
use std::fmt::Write;

pub(super) fn render(runs: &[Reported<'_>]) -> String {
    let mut out = String::from("# Evaluation report\n\n");
    let pillars: BTreeSet<&str> = runs.iter().flat_map(|r| r.run.pillars.keys()).map(String::as_str).collect();
    let _ = writeln!(out, "Scores are points from 0 to 100 with 95 % intervals; a dash is a missing score, never 0.\n");
    let _ = writeln!(out, "| model | quantization | size | aggregate | {} | remark |", list(pillars.iter().map(|name| cell(name))));
    let _ = writeln!(out, "| --- | --- | --- | --- | {} | --- |", list(pillars.iter().map(|_| "---".to_owned())));
    for reported in runs {
        let run = reported.run;
        let scores = list(pillars.iter().map(|name| points(run.pillars.get(*name).and_then(|pillar| pillar.score))));
        let aggregate = with_interval(run.aggregate.score, run.aggregate.ci95);
        let (model, quantization) = (cell(&run.model.hf_repo), cell(&run.model.quantization.name));
        let remark = caveat(run).map_or_else(|| "complete".to_owned(), |text| cell(&text));
        let _ = writeln!(out, "| {model} | {quantization} | {} | {aggregate} | {scores} | {remark} |", cell(&size(run)));
    }
    for reported in runs {
        run_section(&mut out, reported);
    }
    out
}

fn run_section(out: &mut String, reported: &Reported<'_>) {
    let run = reported.run;
    let _ = writeln!(out, "\n## {} {}\n", cell(&run.model.name), cell(&run.model.quantization.name));
    if let Some(caveat) = caveat(run) {
        let _ = writeln!(out, "**{}**\n", cell(&caveat));
    }
    let _ = writeln!(out, "- Model: {} at {}, {} parameters", cell(&run.model.hf_repo), cell(short_revision(run)), cell(&size(run)));
    let _ = writeln!(
        out,
        "- Suite: {} {}; engine: {} {} ({}, {}); seed {}",
        cell(&run.suite.name),
        cell(&run.suite.version),
        cell(&run.engine.name),
        cell(&run.engine.version),
        cell(&run.engine.device),
        cell(&run.engine.dtype),
        run.seed
    );
    let _ = writeln!(out, "- Run: {}, finished {}", run.run_id, run.finished_at.format("%Y-%m-%d %H:%M UTC"));
    let _ = writeln!(out, "- Artifact: {} (SHA-256 {})", cell(&reported.path), reported.sha256);
    if let Some(sum) = run.aggregate.weighted_sum {
        let _ = writeln!(out, "- Aggregate: {}; weighted sum {sum:.2}", with_interval(run.aggregate.score, run.aggregate.ci95));
    } else {
        let _ = writeln!(out, "- Aggregate: —; {:.0} % of the weights have scores", run.aggregate.coverage * 100.0);
    }
    pillar_table(out, run);
    task_table(out, run);
    for grid in grids(run.informational.long_context.as_ref()) {
        grid_table(out, &grid);
    }
    if let Some(probes) = &run.informational.probes {
        let _ = writeln!(out, "\n### Probes\n\n{PROBES_NOTE}\n\n| {} |", PROBE_HEADS.join(" | "));
        let _ = writeln!(out, "| {} |", PROBE_HEADS.map(|_| "---").join(" | "));
        for row in probe_rows(probes) {
            // Figures have brackets of their own, which need no escape.
            let [task, n, changed, accuracies, answer, with, chance, remark] = &row;
            let _ = writeln!(out, "| {} | {n} | {changed} | {accuracies} | {answer} | {with} | {chance} | {} |", cell(task), cell(remark));
        }
    }
    for (title, figures) in [("Speed and memory", &run.informational.edge), ("Energy", &run.informational.energy)] {
        if let Some(figures) = figures {
            figure_table(out, title, figures);
        }
    }
}

fn pillar_table(out: &mut String, run: &Run) {
    let _ = writeln!(out, "\n| pillar | score | why missing |\n| --- | --- | --- |");
    for (name, pillar) in &run.pillars {
        let reason = pillar.reason.as_deref().map(cell).unwrap_or_default();
        let _ = writeln!(out, "| {} | {} | {reason} |", cell(name), with_interval(pillar.score, pillar.ci95));
    }
}

fn task_table(out: &mut String, run: &Run) {
    let _ = writeln!(out, "\n| task | shots | score | chance | above chance | metric | documents | tokens computed | remark |");
    let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, task) in &run.tasks {
        let share = if task.tokens_nominal == 0 {
            "—".to_owned()
        } else {
            format!("{:.1} %", 100.0 * task.tokens_computed as f64 / task.tokens_nominal as f64)
        };
        let metric = match task.metrics.get(&task.primary_metric).and_then(|metric| metric.value) {
            Some(value) => format!("{} {value:.4}", cell(&task.primary_metric)),
            None => cell(&task.primary_metric),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {metric} | {} | {share} | {} |",
            cell(name),
            task.num_fewshot,
            with_interval(task.valid_score(), task.score_ci95),
            points(task.chance),
            points(task.chance_corrected),
            limit_text(task),
            cell(&remarks(task).join("; "))
        );
    }
}

fn grid_table(out: &mut String, grid: &Grid) {
    let _ = writeln!(out, "\n### Long context: {}\n", cell(&grid.kind.replace('_', " ")));
    let _ = writeln!(out, "| depth | {} |", list(grid.lengths.iter().map(|(length, _)| format!("{length} tokens"))));
    let _ = writeln!(out, "| --- | {} |", list(grid.lengths.iter().map(|_| "---".to_owned())));
    for depth in &grid.depths {
        let shares = grid.lengths.iter().map(|(length, _)| match grid.cell(*length, *depth) {
            Some(cell) => format!("{}/{}", cell.correct, cell.n),
            None => "—".to_owned(),
        });
        let _ = writeln!(out, "| {depth} % | {} |", list(shares));
    }
}

fn figure_table(out: &mut String, title: &str, set: &FigureSet) {
    let _ = writeln!(out, "\n### {title} ({})\n\n| figure | value | method |\n| --- | --- | --- |", cell(&set.hardware_class));
    for (name, figure) in &set.figures {
        let value = figure.value.map_or_else(|| "—".to_owned(), |value| format!("{} {}", significant(value), figure.unit));
        let method = figure.reason.as_ref().map_or_else(|| figure.method.clone(), |reason| format!("{}: {reason}", figure.method));
        let spread = figure.range.map(|[low, high]| format!(" \\[{}, {}\\]", significant(low), significant(high))).unwrap_or_default();
        let _ = writeln!(out, "| {} | {}{spread} | {} |", cell(&name.replace('_', " ")), cell(&value), cell(&method));
    }
}

fn list(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(" | ")
}

/// Text that nobody can use to leave the table, add HTML, a link or a mention.
pub(in crate::leaderboard) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '|' | '[' | ']' | '(' | ')' | '`' | '*' | '_' | '~' | '#' | '!' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}
