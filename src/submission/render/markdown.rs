//! The report as a part of a comment on the issue.

use crate::submission::report::Report;
use crate::submission::{format_parameters, group_digits};
use std::fmt::Write;

/// Names the given text in the places of findings.
const NAME: &str = "submission";

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let verdict = match (report.valid, report.complete) {
        (false, _) => "The submission cannot be accepted as it stands",
        (true, true) => "The submission is valid",
        (true, false) => "The submission is valid as far as it could be checked",
    };
    let counts = report.summary();
    let counts = counts.split_once(": ").map_or(String::new(), |(_, counts)| format!(" ({counts})"));
    let _ = writeln!(text, "**{verdict}**{counts}.\n");
    if !report.findings.is_empty() || !report.unchecked.is_empty() {
        let places = super::text::render(report, NAME, false);
        fenced("text", &places, &mut text);
    }
    if report.valid {
        accepted(report, &mut text);
    } else {
        text.push_str("\nLine and column refer to the text of this issue. Edit the issue, and it is checked again.\n");
    }
    text
}

fn accepted(report: &Report, text: &mut String) {
    let Some(submission) = &report.submission else { return };
    let Ok(yaml) = submission.to_yaml() else { return };
    if let Some(measured) = report.measured_parameters {
        let _ = writeln!(text, "\nMeasured size: {} parameters ({}).", group_digits(measured), format_parameters(measured));
    }
    text.push_str("\n<details><summary>What will be evaluated</summary>\n\n");
    fenced("yaml", &yaml, text);
    text.push_str("\n</details>\n");
}

/// A code block whose fence is longer than every run of backticks in it: what stands in it stays in it, and is plain text.
fn fenced(language: &str, content: &str, text: &mut String) {
    let longest = content.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(text, "{fence}{language}\n{}\n{fence}", content.trim_end());
}
