//! Plots as SVG: sizes in user units, colours by CSS classes of the page, every mark with a title.

use super::grid::Grid;
use std::fmt::Write;

/// One bar of [`bars`].
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) score: Option<f64>,
    pub(super) interval: Option<[f64; 2]>,
    pub(super) chance: Option<f64>,
}

/// One point of [`scatter`].
pub(super) struct Point {
    pub(super) label: String,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) interval: Option<[f64; 2]>,
}

const LABEL: f64 = 190.0;
const WIDTH: f64 = 640.0;
const ROW: f64 = 26.0;

/// Horizontal bars from 0 to 100 with interval whiskers and a tick at the chance level.
pub(super) fn bars(title: &str, rows: &[Bar]) -> String {
    let height = ROW * rows.len() as f64 + 40.0;
    let place = |score: f64| LABEL + (WIDTH - LABEL - 60.0) * score.clamp(0.0, 100.0) / 100.0;
    let mut out = start(title, WIDTH, height);
    for tick in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let x = place(tick);
        let _ = write!(out, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="4" y2="{:.1}"/>"#, height - 24.0);
        let _ = write!(out, r#"<text class="tick" x="{x:.1}" y="{:.1}">{tick:.0}</text>"#, height - 8.0);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = ROW * index as f64 + 6.0;
        let middle = y + ROW / 2.0 - 3.0;
        let _ = write!(out, r#"<text class="label" x="{:.1}" y="{:.1}">{}</text>"#, LABEL - 8.0, middle + 4.0, escape(&row.label));
        match row.score {
            None => {
                let _ = write!(out, r#"<text class="missing" x="{:.1}" y="{:.1}">no score</text>"#, LABEL + 6.0, middle + 4.0);
            }
            Some(score) => {
                let (width, height) = ((place(score) - LABEL).max(1.0), ROW - 10.0);
                let _ = write!(out, r#"<rect class="bar" x="{LABEL:.1}" y="{:.1}" width="{width:.1}" height="{height:.1}">"#, y + 2.0);
                let _ = write!(out, "<title>{}: {score:.2}</title></rect>", escape(&row.label));
                if let Some([low, high]) = row.interval {
                    let (low, high) = (place(low), place(high));
                    let _ = write!(out, r#"<line class="whisker" x1="{low:.1}" x2="{high:.1}" y1="{middle:.1}" y2="{middle:.1}"/>"#);
                }
                let end = row.interval.map_or(score, |[_, high]| high.max(score));
                let _ = write!(out, r#"<text class="value" x="{:.1}" y="{:.1}">{score:.1}</text>"#, place(end) + 6.0, middle + 4.0);
            }
        }
        if let Some(chance) = row.chance {
            let x = place(chance);
            let _ = write!(
                out,
                r#"<line class="chance" x1="{x:.1}" x2="{x:.1}" y1="{y:.1}" y2="{:.1}"><title>chance {chance:.1}</title></line>"#,
                y + ROW - 6.0
            );
        }
    }
    out.push_str("</svg>");
    out
}

/// Points over a logarithmic axis of parameters.
pub(super) fn scatter(title: &str, points: &[Point]) -> String {
    const HEIGHT: f64 = 320.0;
    const LEFT: f64 = 50.0;
    let logs = points.iter().map(|point| point.x.max(1.0).log10());
    let (mut low, mut high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if !low.is_finite() {
        (low, high) = (6.0, 9.5);
    }
    (low, high) = ((low - 0.1).floor(), (high + 0.1).ceil());
    let across = |x: f64| LEFT + (WIDTH - LEFT - 30.0) * (x.max(1.0).log10() - low) / (high - low);
    let up = |y: f64| 20.0 + (HEIGHT - 70.0) * (1.0 - y.clamp(0.0, 100.0) / 100.0);
    let mut out = start(title, WIDTH, HEIGHT);
    for tick in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let y = up(tick);
        let _ = write!(out, r#"<line class="grid" x1="{LEFT:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/>"#, WIDTH - 30.0);
        let _ = write!(out, r#"<text class="label" x="{:.1}" y="{:.1}">{tick:.0}</text>"#, LEFT - 8.0, y + 4.0);
    }
    let mut power = low;
    while power <= high {
        let count = 10_f64.powf(power);
        let x = across(count);
        let label = match count {
            count if count >= 1e9 => format!("{:.0}B", count / 1e9),
            count if count >= 1e6 => format!("{:.0}M", count / 1e6),
            count => format!("{:.0}K", count / 1e3),
        };
        let _ = write!(out, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="20" y2="{:.1}"/>"#, HEIGHT - 50.0);
        let _ = write!(out, r#"<text class="tick" x="{x:.1}" y="{:.1}">{label}</text>"#, HEIGHT - 32.0);
        power += 1.0;
    }
    let _ = write!(out, r#"<text class="tick" x="{:.1}" y="{:.1}">parameters</text>"#, f64::midpoint(WIDTH, LEFT), HEIGHT - 10.0);
    for point in points {
        let (x, y) = (across(point.x), up(point.y));
        if let Some([low, high]) = point.interval {
            let _ = write!(out, r#"<line class="whisker" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/>"#, up(low), up(high));
        }
        let _ = write!(
            out,
            r#"<circle class="point" cx="{x:.1}" cy="{y:.1}" r="5"><title>{}: {:.2}</title></circle>"#,
            escape(&point.label),
            point.y
        );
        let (dx, anchor) = if x > WIDTH * 0.7 { (-8.0, "end") } else { (8.0, "start") };
        let _ = write!(
            out,
            r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            x + dx,
            y - 7.0,
            escape(&point.label)
        );
    }
    out.push_str("</svg>");
    out
}

/// One bar of [`amounts`].
pub(super) struct Amount {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) range: Option<[f64; 2]>,
}

/// Horizontal bars of one figure from 0 to the largest of them, with the range of the repetitions.
pub(super) fn amounts(title: &str, unit: &str, rows: &[Amount]) -> String {
    let height = ROW * rows.len() as f64 + 10.0;
    let largest = rows.iter().map(|row| row.range.map_or(row.value, |[_, high]| high.max(row.value))).fold(0.0, f64::max);
    let place = |value: f64| LABEL + (WIDTH - LABEL - 130.0) * if largest > 0.0 { (value / largest).clamp(0.0, 1.0) } else { 0.0 };
    let mut out = start(title, WIDTH, height);
    for (index, row) in rows.iter().enumerate() {
        let y = ROW * index as f64 + 6.0;
        let middle = y + ROW / 2.0 - 3.0;
        let shown = format!("{} {}", significant(row.value), escape(unit));
        let _ = write!(out, r#"<text class="label" x="{:.1}" y="{:.1}">{}</text>"#, LABEL - 8.0, middle + 4.0, escape(&row.label));
        let (width, high) = ((place(row.value) - LABEL).max(1.0), ROW - 10.0);
        let _ = write!(out, r#"<rect class="bar" x="{LABEL:.1}" y="{:.1}" width="{width:.1}" height="{high:.1}">"#, y + 2.0);
        let _ = write!(out, "<title>{}: {shown}</title></rect>", escape(&row.label));
        let mut end = row.value;
        if let Some([low, high]) = row.range {
            let (from, to) = (place(low), place(high));
            let _ = write!(out, r#"<line class="whisker" x1="{from:.1}" x2="{to:.1}" y1="{middle:.1}" y2="{middle:.1}"/>"#);
            end = high.max(end);
        }
        let _ = write!(out, r#"<text class="value" x="{:.1}" y="{:.1}">{shown}</text>"#, place(end) + 6.0, middle + 4.0);
    }
    out.push_str("</svg>");
    out
}

/// Four significant digits, with a letter for thousands and more.
pub(super) fn significant(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    if scaled == 0.0 {
        return "0".to_owned();
    }
    if scaled.abs() < 1e-3 {
        return format!("{scaled:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of digits between 0 and 6")]
    let decimals = (3.0 - scaled.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{scaled:.decimals$}{letter}")
}

/// A heat map of shares of right answers: lengths across, depths down.
pub(super) fn heat_map(title: &str, grid: &Grid) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 10.0;
    let (columns, rows) = (grid.lengths.len().max(1) as f64, grid.depths.len() as f64);
    let width = ((WIDTH - LEFT - 20.0) / columns).min(96.0);
    let height = TOP + ROW * rows + 46.0;
    let mut out = start(title, WIDTH, height);
    for (row, depth) in grid.depths.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let _ = write!(out, r#"<text class="label" x="{:.1}" y="{:.1}">{depth} %</text>"#, LEFT - 8.0, y + ROW / 2.0 + 4.0);
        for (column, (length, _)) in grid.lengths.iter().enumerate() {
            let x = LEFT + width * column as f64;
            let (cx, cy) = (x + width / 2.0, y + ROW / 2.0 + 4.0);
            let Some(cell) = grid.cell(*length, *depth) else {
                let _ = write!(out, r#"<text class="tick" x="{cx:.1}" y="{cy:.1}">–</text>"#);
                continue;
            };
            let share = cell.correct as f64 / cell.n as f64;
            let _ = write!(
                out,
                r#"<rect class="cell" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill-opacity="{:.2}"><title>{length} tokens, depth {depth} %: {} of {} right</title></rect>"#,
                x + 1.0,
                y + 1.0,
                width - 2.0,
                ROW - 2.0,
                0.06 + 0.54 * share,
                cell.correct,
                cell.n
            );
            let _ = write!(out, r#"<text class="count" x="{cx:.1}" y="{cy:.1}">{}/{}</text>"#, cell.correct, cell.n);
        }
    }
    let below = TOP + ROW * rows;
    for (column, (length, reason)) in grid.lengths.iter().enumerate() {
        let x = LEFT + width * (column as f64 + 0.5);
        let title = reason.as_ref().map(|reason| format!("<title>{}</title>", escape(reason))).unwrap_or_default();
        let _ = write!(out, r#"<text class="tick" x="{x:.1}" y="{:.1}">{length}{title}</text>"#, below + 16.0);
    }
    let _ = write!(out, r#"<text class="tick" x="{:.1}" y="{:.1}">tokens</text>"#, LEFT + width * columns / 2.0, below + 36.0);
    out.push_str("</svg>");
    out
}

fn start(title: &str, width: f64, height: f64) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{}"><title>{}</title>"#,
        escape(title),
        escape(title)
    )
}

/// Text for HTML and SVG, in content and attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character if character.is_control() && character != '\n' => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_have_four_significant_digits() {
        let texts = [0.0, 0.000_012_346, 0.5, 12.3456, 1969.4, 58_105_856.0, 2.5e9].map(significant);
        assert_eq!(texts, ["0", "1.235e-5", "0.5000", "12.35", "1969", "58.11M", "2.500G"]);
    }
}
