//! The report as compilers write theirs.

use crate::submission::finding::{Finding, Severity};
use crate::submission::report::Report;
use crate::submission::source::visible;
use std::fmt::Write;

/// ANSI sequences, or nothing.
struct Style {
    colour: bool,
}

impl Style {
    fn paint(&self, sequence: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{sequence}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        let sequence = match severity {
            Severity::Error => "1;31",
            Severity::Warning => "1;33",
            Severity::Note => "1;36",
        };
        self.paint(sequence, text)
    }

    fn frame(&self, text: &str) -> String {
        self.paint("1;34", text)
    }

    fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }
}

pub(super) fn render(report: &Report, name: &str, colour: bool) -> String {
    let style = Style { colour };
    let mut text = String::new();
    for finding in &report.findings {
        one(finding, name, &style, &mut text);
    }
    for unchecked in &report.unchecked {
        let head = style.severity(Severity::Note, "not checked");
        let _ = writeln!(text, "{head} ({}): {}\n", safe(&unchecked.reason), unchecked.checks.join("; "));
    }
    let summary = report.summary();
    let severity = if !report.valid {
        Severity::Error
    } else if report.count(Severity::Warning) > 0 {
        Severity::Warning
    } else {
        Severity::Note
    };
    let _ = writeln!(text, "{}", style.severity(severity, &format!("{}: {summary}", safe(name))));
    text
}

fn one(finding: &Finding, name: &str, style: &Style, text: &mut String) {
    let head = style.severity(finding.severity, &format!("{}[{}]", finding.severity.as_str(), finding.code.as_str()));
    let number = finding.line.to_string();
    let gutter = " ".repeat(number.len());
    let (arrow, bar) = (style.frame("-->"), style.frame("|"));
    let _ = writeln!(text, "{head}: {}", style.strong(&safe(&finding.message)));
    let _ = writeln!(text, "{gutter}{arrow} {}:{}:{}", safe(name), finding.line, finding.column);
    if !finding.excerpt.trim().is_empty() {
        let before = " ".repeat(finding.excerpt_column.saturating_sub(1));
        let room = (finding.excerpt.chars().count() + 1).saturating_sub(finding.excerpt_column).max(1);
        let marks = "^".repeat(finding.length.clamp(1, room));
        let _ = writeln!(text, "{gutter} {bar}");
        let _ = writeln!(text, "{} {bar} {}", style.frame(&number), safe(&finding.excerpt));
        let _ = writeln!(text, "{gutter} {bar} {before}{}", style.severity(finding.severity, &marks));
    }
    let mut lines = finding.help.lines();
    let equals = style.frame("=");
    let _ = writeln!(text, "{gutter} {equals} {}: {}", style.strong("help"), safe(lines.next().unwrap_or_default()));
    for line in lines {
        let _ = writeln!(text, "{gutter}         {}", safe(line));
    }
    text.push('\n');
}

/// Nothing from a submission may move the cursor or colour the terminal.
fn safe(text: &str) -> String {
    text.chars().map(visible).collect()
}
