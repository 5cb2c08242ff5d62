//! Comments on issues, as Markdown. Pure: artifacts in, text out.

use crate::github::LONGEST_COMMENT;
use crate::leaderboard::RunSummary;
use crate::leaderboard::run::{PillarScore, Run, TaskRecord, TaskStatus};
use std::fmt::Write;

/// Hidden first line by which the one status comment of a submission is found again.
pub const MARKER: &str = "<!-- slm-bench:status -->";

/// Where a reader finds more; absent links are left out.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// Commit that holds the results.
    pub commit: Option<String>,
    /// Folder of the run.
    pub run: Option<String>,
    /// The model's page.
    pub page: Option<String>,
    /// Release that holds the files which are too large for the repository.
    pub release: Option<String>,
}

/// The comment that announces results, of the text that [`results`] gives.
#[must_use]
pub fn status_of_results(results: &str) -> String {
    capped(format!("{MARKER}\n{results}"), 0)
}

/// What is said about a model's results, of any length: scores with their intervals and the change against the previous revision, what is
/// missing and why, what to doubt, how to check.
///
/// `rank` is the model's place with its interval in words, where it has one. `previous` are earlier runs of the same model.
#[must_use]
pub fn results(runs: &[Run], previous: &[RunSummary], rank: Option<&str>, links: &Links) -> String {
    let mut text = String::new();
    for run in runs {
        run_section(&mut text, run, before(run, previous));
    }
    match rank {
        Some(rank) => {
            let _ = write!(text, "**Place:** {rank}\n\n");
        }
        None => text.push_str("**Place:** none. Only complete runs of the suite `standard` are ranked; this one is listed apart.\n\n"),
    }
    let named = [
        ("Commit", &links.commit),
        ("Questions, answers and scores", &links.run),
        ("Large files", &links.release),
        ("Model page", &links.page),
    ];
    for (what, link) in named {
        if let Some(link) = link {
            let _ = writeln!(text, "- {what}: {link}");
        }
    }
    text.push_str("- Check every number yourself: `slm-bench verify --results results/raw`\n");
    text
}

/// The latest run of an earlier revision that answered the same questions with the same kind of weights.
fn before<'a>(run: &Run, previous: &'a [RunSummary]) -> Option<&'a RunSummary> {
    let same = |other: &&RunSummary| {
        other.revision != run.model.revision
            && other.quantization.name == run.model.quantization.name
            && other.suite == run.suite
            && other.limit == run.limit
            && other.chat_template == run.chat_template
            && other.finished_at < run.finished_at
    };
    previous.iter().filter(same).max_by_key(|other| other.finished_at)
}

fn run_section(text: &mut String, run: &Run, before: Option<&RunSummary>) {
    let quantization = &run.model.quantization;
    let _ = writeln!(text, "## {} · {}\n", inert(&run.model.name), inert(&quantization.name));
    let commit: String = run.model.revision.chars().take(12).collect();
    let _ = writeln!(
        text,
        "`{}` at `{commit}`, suite `{}` {}, {} {} on {} in {}, run `{}`.\n",
        inert(&run.model.hf_repo),
        run.suite.name,
        run.suite.version,
        run.engine.name,
        run.engine.version,
        run.engine.device,
        run.engine.dtype,
        run.run_id
    );
    // The change has a column of its own only where there is something to compare with.
    let change = |now: Option<f64>, then: Option<Option<f64>>| match before {
        Some(_) => format!(" {} |", difference(now, then.flatten())),
        None => String::new(),
    };
    let (title, rule) = if before.is_some() { (" change |", " ---: |") } else { ("", "") };
    let _ = writeln!(text, "| pillar | score | 95 % interval |{title} |\n| --- | ---: | :---: |{rule} --- |");
    for (name, pillar) in &run.pillars {
        let change = change(pillar.score, before.map(|before| before.pillars.get(name).and_then(|pillar| pillar.score)));
        let _ = writeln!(
            text,
            "| {} | {} | {} |{change} {} |",
            name.replace('_', " "),
            number(pillar.score),
            interval(pillar.ci95),
            why(pillar)
        );
    }
    let aggregate = &run.aggregate;
    let coverage = format!("{:.0} % of the weights have scores", 100.0 * aggregate.coverage);
    let change = change(aggregate.score, before.map(|before| before.aggregate.score));
    let _ = writeln!(text, "| **aggregate** | **{}** | {} |{change} {coverage} |\n", number(aggregate.score), interval(aggregate.ci95));
    if let Some(before) = before {
        let commit: String = before.revision.chars().take(12).collect();
        let _ = writeln!(text, "Change against commit `{}`; one that lies within the intervals may be chance.\n", inert(&commit));
    }
    let _ = writeln!(text, "<details><summary>Tasks</summary>\n");
    let _ = writeln!(
        text,
        "| task | shots | documents | score | 95 % interval | chance | metric | |\n| --- | ---: | ---: | ---: | :---: | ---: | --- | --- |"
    );
    for (name, task) in &run.tasks {
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | `{}` | {} |",
            task.num_fewshot,
            documents(task),
            number(task.valid_score()),
            interval(task.score_ci95),
            number(task.chance),
            task.primary_metric,
            remarks(task)
        );
    }
    let _ = writeln!(text, "\n</details>\n");
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

fn difference(now: Option<f64>, then: Option<f64>) -> String {
    now.zip(then).map_or_else(|| "–".to_owned(), |(now, then)| format!("{:+.1}", now - then))
}

fn interval(interval: Option<[f64; 2]>) -> String {
    interval.map_or_else(String::new, |[low, high]| format!("{low:.1} – {high:.1}"))
}

fn documents(task: &TaskRecord) -> String {
    if task.n == task.n_total { task.n.to_string() } else { format!("{} of {}", task.n, task.n_total) }
}

fn why(pillar: &PillarScore) -> String {
    pillar.reason.as_deref().map(cell).unwrap_or_default()
}

fn remarks(task: &TaskRecord) -> String {
    let mut remarks: Vec<String> = Vec::new();
    match task.status {
        TaskStatus::Ok => {}
        TaskStatus::Failed => remarks.push(format!("failed: {}", task.reason.as_deref().unwrap_or("no reason recorded"))),
        TaskStatus::Invalid => remarks.push(format!("invalid: {}", task.reason.as_deref().unwrap_or("no reason recorded"))),
    }
    remarks.extend(task.warnings.iter().map(|warning| warning.message.clone()));
    remarks.extend(task.deviations.iter().cloned());
    cell(&remarks.join("; "))
}

/// Text inside a table cell: one line, no cell borders, nothing that notifies anyone.
fn cell(text: &str) -> String {
    inert(&text.replace('\n', " ").replace('|', "\\|"))
}

/// Text from outside, made inert: no mention notifies anyone, no markup takes effect.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '@' => safe.push_str("@\u{2060}"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '[' | ']' | '`' | '#' | '!' => {
                safe.push('\\');
                safe.push(character);
            }
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

/// Text from outside as a code block, with a fence longer than any run of backticks in it.
#[must_use]
pub fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

/// Cut to what GitHub takes less `room` characters, at a line's end, and said so.
pub(super) fn capped(text: String, room: usize) -> String {
    let longest = LONGEST_COMMENT - room;
    if text.chars().count() <= longest {
        return text;
    }
    let note = "\n\n(Cut here: the comment would be longer than GitHub takes. The artifacts hold everything.)\n";
    let kept: String = text.chars().take(longest.saturating_sub(note.chars().count())).collect();
    let end = kept.rfind('\n').unwrap_or(kept.len());
    format!("{}{note}", &kept[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text of a submission neither notifies people nor breaks out of a fence.
    #[test]
    fn outside_text_is_inert() {
        assert_eq!(inert("@someone <img src=x> [a](b)"), "@\u{2060}someone &lt;img src=x&gt; \\[a\\](b)");
        assert_eq!(fenced("a ```` b", "yaml"), "`````yaml\na ```` b\n`````\n");
        assert_eq!(fenced("a\n", ""), "```\na\n```\n");
    }

    proptest! {
        /// No text can close the fence around it.
        #[test]
        fn no_text_closes_its_fence(text in "[`~a\n]{0,60}") {
            let block = fenced(&text, "");
            let fence = block.lines().next().unwrap();
            let inner: Vec<&str> = block.lines().skip(1).collect();
            prop_assert!(inner[..inner.len() - 1].iter().all(|line| !line.trim_start().starts_with(fence)));
        }

        /// A comment is never longer than GitHub takes.
        #[test]
        fn comments_are_capped(lines in 0usize..4000) {
            prop_assert!(capped("0123456789012345678901234567890123456789\n".repeat(lines), 0).chars().count() <= LONGEST_COMMENT);
        }
    }
}
