//! The report as one HTML page: no script, no outside address, good to attach or print.

use super::grid::grids;
use super::svg::{self, Bar, Point, escape, significant};
use super::{
    EDGE_PLOTS, ENERGY_PLOTS, PROBE_HEADS, PROBES_NOTE, Reported, caveat, figure_plots, limit_text, points, probe_rows, remarks,
    short_revision, size, with_interval,
};
use crate::leaderboard::probes::Probes;
use crate::leaderboard::run::{Figure, FigureSet, Run};
use std::collections::BTreeSet;
use std::fmt::Write;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2230;--soft:#5d677a;--line:#d7dce5;--bar:#2f6fb2;--mark:#c2410c;--paper:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9f0;--soft:#a0aabd;--line:#394154;--bar:#6ea8e6;--mark:#f59e6b;--paper:#141821}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:64rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:14px}th,td{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.scroll{overflow-x:auto}td.r{min-width:15rem}.caveat{color:var(--mark);font-weight:600}.soft{color:var(--soft)}\
code{font-size:13px;overflow-wrap:anywhere}svg{width:100%;max-width:720px;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}\
.grid{stroke:var(--line)}.tick,.missing{fill:var(--soft)}.tick{text-anchor:middle}.label{text-anchor:end}.bar,.point{fill:var(--bar)}.whisker{stroke:var(--ink);stroke-width:2}\
.cell{fill:var(--bar)}.count{text-anchor:middle}.chance{stroke:var(--mark);stroke-width:2}.missing{font-style:italic}section{margin-top:3rem}@media print{body{margin:0;max-width:none}section{break-before:page}}";

pub(super) fn render(runs: &[Reported<'_>]) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    let _ = writeln!(out, "<title>Evaluation report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Evaluation report</h1>");
    out.push_str("<p class=\"soft\">Scores are points from 0 to 100 with 95 % intervals; a dash is a missing score, never 0. ");
    out.push_str("Marks across the bars show what blind guessing scores.</p>\n");
    overview(&mut out, runs);
    for reported in runs {
        run_section(&mut out, reported);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn overview(out: &mut String, runs: &[Reported<'_>]) {
    let pillars: BTreeSet<&str> = runs.iter().flat_map(|r| r.run.pillars.keys()).map(String::as_str).collect();
    out.push_str(
        "<div class=\"scroll\"><table>\n<tr><th>model</th><th>quantization</th><th class=\"n\">size</th><th class=\"n\">aggregate</th>",
    );
    for name in &pillars {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(name));
    }
    out.push_str("<th>remark</th></tr>\n");
    for reported in runs {
        let run = reported.run;
        let _ = write!(
            out,
            "<tr><td><a href=\"#run-{}\">{}</a></td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            escape(&run.run_id),
            escape(&run.model.hf_repo),
            escape(&run.model.quantization.name),
            escape(&size(run)),
            with_interval(run.aggregate.score, run.aggregate.ci95)
        );
        for name in &pillars {
            let _ = write!(out, "<td class=\"n\">{}</td>", points(run.pillars.get(*name).and_then(|pillar| pillar.score)));
        }
        let _ = writeln!(out, "<td class=\"r\">{}</td></tr>", escape(&caveat(run).unwrap_or_else(|| "complete".to_owned())));
    }
    out.push_str("</table></div>\n");
    let dots: Vec<Point> = runs.iter().filter_map(|reported| point(reported.run)).collect();
    if dots.len() > 1 {
        let _ = writeln!(out, "<h2>Aggregate against size</h2>\n{}", svg::scatter("Aggregate score against number of parameters", &dots));
    }
    let edge = figure_plots(runs, |run| run.informational.edge.as_ref(), EDGE_PLOTS);
    let energy = figure_plots(runs, |run| run.informational.energy.as_ref(), ENERGY_PLOTS);
    for (title, plots) in [("Speed and memory", edge), ("Energy", energy)] {
        if !plots.is_empty() {
            let _ = writeln!(out, "<h2>{title}</h2>");
        }
        for plot in plots {
            let (heading, drawing) = (escape(&plot.title), svg::amounts(&plot.title, &plot.unit, &plot.rows));
            let _ = writeln!(out, "<h3>{heading}</h3>\n{drawing}");
        }
    }
}

fn point(run: &Run) -> Option<Point> {
    Some(Point {
        label: format!("{} {}", run.model.name, run.model.quantization.name),
        x: run.model.parameters.measured? as f64,
        y: run.aggregate.score?,
        interval: run.aggregate.ci95,
    })
}

fn run_section(out: &mut String, reported: &Reported<'_>) {
    let run = reported.run;
    let (id, name, quantization) = (escape(&run.run_id), escape(&run.model.name), escape(&run.model.quantization.name));
    let _ = writeln!(out, "<section id=\"run-{id}\">\n<h2>{name} {quantization}</h2>");
    if let Some(caveat) = caveat(run) {
        let _ = writeln!(out, "<p class=\"caveat\">{}</p>", escape(&caveat));
    }
    let _ = writeln!(
        out,
        "<p>{} at <code>{}</code>, {} parameters. Suite {} {}, engine {} {} ({}, {}), seed {}, finished {}.<br>\
         <span class=\"soft\">Artifact <code>{}</code>, SHA-256 <code>{}</code></span></p>",
        escape(&run.model.hf_repo),
        escape(short_revision(run)),
        escape(&size(run)),
        escape(&run.suite.name),
        escape(&run.suite.version),
        escape(&run.engine.name),
        escape(&run.engine.version),
        escape(&run.engine.device),
        escape(&run.engine.dtype),
        run.seed,
        run.finished_at.format("%Y-%m-%d %H:%M UTC"),
        escape(&reported.path),
        escape(&reported.sha256)
    );
    let mut profile: Vec<Bar> = run.pillars.iter().map(|(name, pillar)| bar(name, pillar.score, pillar.ci95, None)).collect();
    profile.push(bar("aggregate", run.aggregate.score, run.aggregate.ci95, None));
    let _ = writeln!(out, "<h3>Pillars</h3>\n{}", svg::bars(&format!("Pillar scores of {}", run.model.name), &profile));
    let tasks: Vec<Bar> = run.tasks.iter().map(|(name, task)| bar(name, task.valid_score(), task.score_ci95, task.chance)).collect();
    let _ = writeln!(out, "<h3>Tasks</h3>\n{}", svg::bars(&format!("Task scores of {}", run.model.name), &tasks));
    task_table(out, run);
    for grid in grids(run.informational.long_context.as_ref()) {
        let kind = grid.kind.replace('_', " ");
        let title = format!("Long context, {kind}: right answers of {} by length and depth", run.model.name);
        let _ = writeln!(out, "<h3>Long context: {}</h3>\n{}", escape(&kind), svg::heat_map(&title, &grid));
    }
    if let Some(probes) = &run.informational.probes {
        probe_table(out, probes);
    }
    for (title, figures) in [("Speed and memory", &run.informational.edge), ("Energy", &run.informational.energy)] {
        if let Some(figures) = figures {
            figure_table(out, title, figures);
        }
    }
    out.push_str("</section>\n");
}

fn bar(label: &str, score: Option<f64>, interval: Option<[f64; 2]>, chance: Option<f64>) -> Bar {
    Bar { label: label.to_owned(), score, interval, chance }
}

fn task_table(out: &mut String, run: &Run) {
    out.push_str(
        "<div class=\"scroll\"><table>\n<tr><th>task</th><th class=\"n\">shots</th><th class=\"n\">score</th><th class=\"n\">chance</th>",
    );
    out.push_str("<th class=\"n\">above chance</th><th>metric</th><th class=\"n\">documents</th><th>remark</th></tr>\n");
    for (name, task) in &run.tasks {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td>\
             <td class=\"n\">{}</td><td class=\"r\">{}</td></tr>",
            escape(name),
            task.num_fewshot,
            with_interval(task.valid_score(), task.score_ci95),
            points(task.chance),
            points(task.chance_corrected),
            escape(&task.primary_metric),
            limit_text(task),
            escape(&remarks(task).join("; "))
        );
    }
    out.push_str("</table></div>\n");
}

fn probe_table(out: &mut String, probes: &Probes) {
    let _ = writeln!(out, "<h3>Probes</h3>\n<p class=\"soft\">{PROBES_NOTE}</p>");
    let heads: String = PROBE_HEADS.map(|head| format!("<th>{head}</th>")).concat();
    let _ = writeln!(out, "<div class=\"scroll\"><table>\n<tr>{heads}</tr>");
    for row in probe_rows(probes) {
        out.push_str("<tr>");
        for cell in &row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn figure_table(out: &mut String, title: &str, set: &FigureSet) {
    let _ = writeln!(out, "<h3>{title} <span class=\"soft\">({})</span></h3>", escape(&set.hardware_class));
    out.push_str("<table>\n<tr><th>figure</th><th class=\"n\">value</th><th>method</th></tr>\n");
    for (name, figure) in &set.figures {
        let value = figure
            .value
            .map_or_else(|| "—".to_owned(), |value| format!("{} {}{}", significant(value), escape(&figure.unit), spread(figure)));
        let reason = figure.reason.as_ref().map(|reason| format!(": {}", escape(reason))).unwrap_or_default();
        let name = escape(&name.replace('_', " "));
        let _ = writeln!(out, "<tr><td>{name}</td><td class=\"n\">{value}</td><td>{}{reason}</td></tr>", escape(&figure.method));
    }
    out.push_str("</table>\n");
}

/// ` [12.1, 13.0]`: the range of the repetitions.
fn spread(figure: &Figure) -> String {
    figure.range.map(|[low, high]| format!(" [{}, {}]", significant(low), significant(high))).unwrap_or_default()
}
