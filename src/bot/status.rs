//! The one status comment of a submission, the replies to commands, and the labels. Pure: what is known in, Markdown out.

use super::commands::{self, Audience, Command, PREFIX};
use super::comment::{MARKER, capped, fenced, inert};
use crate::submission::Report;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;

/// The labels that the bot sets and takes away; it leaves all others alone.
pub const LABELS: [(&str, &str, &str); 7] = [
    ("submission", "1d76db", "A model submitted for evaluation"),
    ("validated", "0e8a16", "The submission is valid"),
    ("needs-changes", "d93f0b", "The submission cannot be accepted as it stands"),
    ("queued", "fbca04", "Waits for its evaluation"),
    ("evaluating", "5319e7", "Is being evaluated"),
    ("evaluated", "006b75", "The results are published"),
    ("failed", "b60205", "The evaluation failed"),
];

/// Why a valid submission is not queued yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Someone with write access has to approve it.
    Approval,
    /// The author has had this many evaluations in 24 hours, the most that one gets.
    AuthorLimit(u32),
    /// There were this many evaluations in 24 hours, the most there are.
    DayLimit(u32),
    /// It would take longer than this many hours.
    TooLong(f64),
}

/// How far an evaluation is, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Under {
    /// Task under way.
    pub task: String,
    /// Its answered requests.
    pub done: u64,
    /// Its requests.
    pub total: u64,
    /// Number of the task in the run, from 1.
    pub task_number: u64,
    /// Tasks of the run.
    pub tasks: u64,
    /// Share of the run that is done, in [0, 1].
    pub share: Option<f64>,
    /// Time until the results, where it can be told.
    pub remaining: Option<Duration>,
}

/// What the status comment says.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown<'a> {
    /// Being checked.
    Received,
    /// The check found errors.
    Rejected {
        /// The findings.
        report: &'a Report,
        /// Where the results are, for a model that is already evaluated.
        known_results: Option<&'a str>,
    },
    /// Valid, and waits.
    Validated {
        /// The findings.
        report: &'a Report,
        /// For what it waits.
        waiting: &'a Waiting,
        /// How long the evaluation will take.
        estimate: Option<Duration>,
    },
    /// Waits for its turn.
    Queued {
        /// The findings.
        report: &'a Report,
        /// Place in the queue, from 1.
        position: Option<usize>,
        /// How long the evaluation will take.
        estimate: Option<Duration>,
    },
    /// Being evaluated.
    Evaluating {
        /// The findings.
        report: &'a Report,
        /// How far it is.
        progress: Option<&'a Under>,
    },
    /// Evaluated; being published.
    Publishing,
    /// Done.
    Reported {
        /// The results, as [`super::results`] writes them.
        results: &'a str,
    },
    /// Given up.
    Failed {
        /// In words, without secrets and without paths of the host.
        reason: &'a str,
        /// The step that failed, as a state.
        step: &'a str,
    },
    /// Stopped by a command.
    Cancelled,
}

/// A status comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status<'a> {
    /// What it says.
    pub shown: Shown<'a>,
    /// Number of the job, where there is a store.
    pub job: Option<i64>,
    /// Digest of the text that it is about.
    pub body_hash: &'a str,
    /// Suite.
    pub suite: &'a str,
    /// Commit of the model that was checked.
    pub revision: Option<&'a str>,
    /// The text may be evaluated.
    pub approved: bool,
    /// Address of the queue page.
    pub queue_page: Option<&'a str>,
}

/// What is read back from a status comment: all that [`Status`] says that decisions rest on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// State, as in the store.
    pub state: String,
    /// Digest of the text that was looked at.
    pub body: String,
    /// Suite.
    pub suite: String,
    /// Commit of the model that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The text may be evaluated.
    #[serde(default)]
    pub approved: bool,
}

const STATE_MARKER: &str = "<!-- slm-bench:state ";

impl Shown<'_> {
    /// The state's name in the store.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Rejected { .. } => "rejected",
            Self::Validated { .. } => "validated",
            Self::Queued { .. } => "queued",
            Self::Evaluating { .. } => "evaluating",
            Self::Publishing => "evaluated",
            Self::Reported { .. } => "reported",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The labels of [`LABELS`] that an issue has in this state.
#[must_use]
pub fn labels(state: &str) -> &'static [&'static str] {
    match state {
        "rejected" => &["submission", "needs-changes"],
        "validated" => &["submission", "validated"],
        "queued" => &["submission", "validated", "queued"],
        "evaluating" | "evaluated" | "published" => &["submission", "validated", "evaluating"],
        "reported" => &["submission", "validated", "evaluated"],
        "failed" => &["submission", "failed"],
        _ => &["submission"],
    }
}

/// What has to change so that an issue with these labels has those of `state`: labels to add, labels to take away.
#[must_use]
pub fn label_changes(present: &[String], state: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let wanted = labels(state);
    let has = |name: &str| present.iter().any(|label| label.eq_ignore_ascii_case(name));
    let ours = || LABELS.iter().map(|(name, ..)| *name);
    let add = ours().filter(|name| wanted.contains(name) && !has(name)).collect();
    let remove = ours().filter(|name| !wanted.contains(name) && has(name)).collect();
    (add, remove)
}

impl Status<'_> {
    /// The comment.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let remembered = Remembered {
            state: self.shown.name().to_owned(),
            body: self.body_hash.to_owned(),
            suite: self.suite.to_owned(),
            revision: self.revision.map(str::to_owned),
            approved: self.approved,
        };
        let state = serde_json::to_string(&remembered).unwrap_or_default();
        let mut text = format!("{MARKER}\n{STATE_MARKER}{state} -->\n");
        self.write_body(&mut text);
        let mut foot: Vec<String> = Vec::new();
        foot.extend(self.job.map(|job| format!("Job {job}")));
        foot.extend(self.queue_page.map(|page| format!("[queue]({page})")));
        foot.push(format!("`{PREFIX} help` lists the commands"));
        let foot = format!("\n<sub>{}</sub>\n", foot.join(" · "));
        // The foot is what an author needs most when the rest is too long.
        capped(text, foot.chars().count()) + &foot
    }

    fn write_body(&self, text: &mut String) {
        match &self.shown {
            Shown::Received => text.push_str("### Checking the submission\n\nThis takes some seconds.\n"),
            Shown::Rejected { report, known_results } => {
                if let Some(link) = known_results {
                    let _ = write!(text, "### Evaluated already\n\nThe results of this revision are published: {link}\n\n");
                } else {
                    text.push_str("### The submission needs changes\n\n");
                }
                text.push_str(&report.to_markdown());
            }
            Shown::Validated { report, waiting, estimate } => {
                let _ = write!(text, "### {}\n\n", heading(waiting));
                text.push_str(&paragraph(waiting, *estimate));
                text.push_str(&duration_sentence(self.suite, *estimate));
                text.push_str(&report.to_markdown());
            }
            Shown::Queued { report, position, estimate } => {
                text.push_str("### Queued\n\n");
                match position {
                    Some(1) => text.push_str("Next in the queue. "),
                    Some(position) => {
                        let _ = write!(text, "Number {position} in the queue. ");
                    }
                    None => {}
                }
                text.push_str(&duration_sentence(self.suite, *estimate));
                text.push_str(&report.to_markdown());
            }
            Shown::Evaluating { report, progress } => {
                text.push_str("### Evaluating\n\n");
                match progress {
                    Some(progress) => write_progress(text, progress),
                    None => text.push_str("The model is being fetched and loaded.\n\n"),
                }
                let _ = write!(text, "Suite `{}`. `{PREFIX} cancel` stops; what was answered is kept.\n\n", self.suite);
                text.push_str(&report.to_markdown());
            }
            Shown::Publishing => text.push_str("### Evaluated\n\nEvery question is answered; the results are being published.\n"),
            Shown::Reported { results } => text.push_str(results),
            Shown::Failed { reason, step } => {
                let doing = match *step {
                    "received" => "while the submission was checked",
                    "evaluated" => "while the results were published; they are kept",
                    "published" => "while the results were reported; they are published",
                    _ => "while the model was evaluated; what was answered is kept",
                };
                let _ = write!(text, "### Failed\n\nSomething went wrong {doing}:\n\n");
                text.push_str(&fenced(reason, "text"));
                let _ = writeln!(text, "\n`{PREFIX} retry` goes on from there.");
            }
            Shown::Cancelled => {
                let _ = writeln!(text, "### Cancelled\n\nWhat was answered so far is kept. `{PREFIX} retry` starts again.");
            }
        }
    }
}

fn heading(waiting: &Waiting) -> &'static str {
    match waiting {
        Waiting::Approval => "Valid: waits for approval",
        Waiting::AuthorLimit(_) | Waiting::DayLimit(_) => "Valid: waits for its day",
        Waiting::TooLong(_) => "Valid: too long for the whole suite",
    }
}

fn paragraph(waiting: &Waiting, estimate: Option<Duration>) -> String {
    match waiting {
        Waiting::Approval => format!(
            "A maintainer (write access) lets it be evaluated with `{PREFIX} approve`. The approval is for the text as it was checked: \
             after an edit it is asked for again.\n\n"
        ),
        Waiting::AuthorLimit(limit) => format!(
            "An author gets {} in 24 hours. This one is queued by itself when the 24 hours are over; a maintainer can let it be evaluated \
             now with `{PREFIX} approve`.\n\n",
            evaluations(*limit)
        ),
        Waiting::DayLimit(limit) => format!(
            "There are {} in 24 hours. This one is queued by itself when there is room; a maintainer can let it be evaluated now with \
             `{PREFIX} approve`.\n\n",
            evaluations(*limit)
        ),
        Waiting::TooLong(hours) => {
            let estimate = estimate.map_or_else(String::new, |estimate| format!(" ({})", about(estimate)));
            format!(
                "The evaluation would take longer{estimate} than the {hours} hours that the operator allows. \
                 `{PREFIX} evaluate quick` takes the suite `quick`: fixed parts of the same tasks, preliminary and never ranked. A \
                 maintainer can allow the whole suite with `{PREFIX} approve`.\n\n"
            )
        }
    }
}

fn evaluations(number: u32) -> String {
    if number == 1 { "1 evaluation".to_owned() } else { format!("{number} evaluations") }
}

fn duration_sentence(suite: &str, estimate: Option<Duration>) -> String {
    match estimate {
        Some(estimate) => format!("The suite `{suite}` will take {}, as far as the model's size tells.\n\n", about(estimate)),
        None => format!("Suite `{suite}`.\n\n"),
    }
}

fn write_progress(text: &mut String, progress: &Under) {
    const CELLS: usize = 20;
    if let Some(share) = progress.share.filter(|share| share.is_finite()) {
        let share = share.clamp(0.0, 1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 20")]
        let full = (share * CELLS as f64).floor() as usize;
        let _ = write!(text, "`{}{}` {:.0} %", "█".repeat(full), "░".repeat(CELLS - full), (100.0 * share).floor());
        if let Some(remaining) = progress.remaining {
            let _ = write!(text, " · done in {}", about(remaining));
        }
        text.push_str("\n\n");
    }
    if progress.tasks > 0 {
        let _ = write!(
            text,
            "Task {} of {}: `{}`, {} of {} requests answered.\n\n",
            progress.task_number,
            progress.tasks,
            inert(&progress.task),
            crate::submission::group_digits(progress.done),
            crate::submission::group_digits(progress.total)
        );
    }
}

/// A duration as people say it: `about 40 minutes`.
#[must_use]
pub fn about(duration: Duration) -> String {
    let minutes = duration.as_secs_f64() / 60.0;
    let of = |number: f64, unit: &str| {
        let number = number.round().max(1.0);
        format!("about {number} {unit}{}", if number > 1.0 { "s" } else { "" })
    };
    match minutes {
        ..1.5 => "about a minute".to_owned(),
        ..90.0 => of(minutes, "minute"),
        ..2880.0 => of(minutes / 60.0, "hour"),
        _ => of(minutes / 1440.0, "day"),
    }
}

/// What a status comment was about; `None` for any other text.
#[must_use]
pub fn remembered(comment: &str) -> Option<Remembered> {
    let mut lines = comment.lines();
    if lines.next()?.trim_end() != MARKER {
        return None;
    }
    let state = lines.next()?.trim_end().strip_prefix(STATE_MARKER)?.strip_suffix(" -->")?;
    serde_json::from_str(state).ok()
}

/// The hidden first line by which the reply to a comment is found again.
#[must_use]
pub fn reply_marker(comment: u64) -> String {
    format!("<!-- slm-bench:reply {comment} -->")
}

/// What the bot answers to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The commands.
    Help,
    /// Not a command.
    Unknown(String),
    /// The person may not.
    Refused(Command),
    /// The issue holds no submission.
    NoSubmission,
    /// How far it is: state, and a sentence.
    Status(String),
    /// Approved and queued.
    Approved,
    /// Approval was asked for something that is not waiting for it; the state.
    NothingToApprove(String),
    /// The issue was edited after it was checked.
    EditedSince,
    /// It is checked again.
    CheckedAgain,
    /// It waits for an approval.
    NeedsApproval,
    /// It is under way already; the state.
    UnderWay(String),
    /// It is done.
    Done,
    /// It goes on from this state.
    Retried(String),
    /// Nothing to try again; the state.
    NothingToRetry(String),
    /// Cancelled.
    Cancelled,
    /// It will stop at the next safe point.
    Cancelling,
    /// Too late, or over; the state.
    NothingToCancel(String),
}

impl Reply {
    /// The words.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        match self {
            Self::Help => commands::help(),
            Self::Unknown(word) => format!("There is no such command:\n\n{}\n{}", fenced(word, "text"), commands::help()),
            Self::Refused(command) => {
                let who = match command.audience() {
                    Audience::Everybody | Audience::Author => "the issue's author and people with write access",
                    Audience::Maintainers => "people with write access to this repository",
                };
                format!("`{PREFIX} {}` is for {who}.\n", command.name())
            }
            Self::NoSubmission => "This issue holds no submission. Open one with the form \"Model submission\".\n".to_owned(),
            Self::Status(sentence) => format!("{sentence}\n"),
            Self::Approved => "Approved and queued.\n".to_owned(),
            Self::NothingToApprove(state) => format!("There is nothing to approve: the submission is {}.\n", in_words(state)),
            Self::EditedSince => {
                format!(
                    "The issue was edited after it was checked. It is checked again; read it, and then `{PREFIX} approve` it once more.\n"
                )
            }
            Self::CheckedAgain => "The issue is checked again as it stands now.\n".to_owned(),
            Self::NeedsApproval => format!("The submission is valid and waits for a maintainer's `{PREFIX} approve`.\n"),
            Self::UnderWay(state) => format!("The submission is {} already.\n", in_words(state)),
            Self::Done => "This text has been evaluated; the results are in the status comment. For another commit, name it as \
                           `hf_revision` in the issue's text.\n"
                .to_owned(),
            Self::Retried(state) => format!("It goes on: the submission is {} again.\n", in_words(state)),
            Self::NothingToRetry(state) => format!("There is nothing to try again: the submission is {}.\n", in_words(state)),
            Self::Cancelled => format!("Cancelled. `{PREFIX} retry` starts again.\n"),
            Self::Cancelling => "The evaluation stops at the next safe point.\n".to_owned(),
            Self::NothingToCancel(state) => format!("There is nothing to cancel: the submission is {}.\n", in_words(state)),
        }
    }
}

/// A state as an adjective.
#[must_use]
pub fn in_words(state: &str) -> &'static str {
    match state {
        "received" => "being checked",
        "validated" => "valid and waits",
        "queued" => "queued",
        "evaluating" => "being evaluated",
        "evaluated" => "being published",
        "published" | "reported" => "evaluated",
        "rejected" => "in need of changes",
        "failed" => "failed",
        "cancelled" => "cancelled",
        _ => "in an unknown state",
    }
}

/// The reply to a comment: one for all of its commands.
#[must_use]
pub fn reply_comment(comment: u64, author: &str, replies: &[Reply]) -> String {
    let mut text = format!("{}\n", reply_marker(comment));
    let _ = write!(text, "{}: ", inert(author));
    let mut seen: Vec<String> = Vec::new();
    for words in replies.iter().map(Reply::to_markdown) {
        // The same command twice in one comment is answered once.
        if !seen.contains(&words) {
            let line = if words.starts_with('|') { "\n\n" } else { "" };
            let _ = writeln!(text, "{line}{words}");
            seen.push(words);
        }
    }
    capped(text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submission::{Context, EXAMPLE, InputKind, read};
    use proptest::prelude::*;

    fn report(yaml: &str) -> Report {
        read(format!("Please evaluate.\n\n```yaml\n{yaml}```\n").as_bytes(), InputKind::Issue).check(&Context::OFFLINE)
    }

    fn comment(shown: Shown<'_>) -> String {
        let status = Status {
            shown,
            job: Some(12),
            body_hash: "0f1e2d",
            suite: "standard",
            revision: Some("93efa2f097d58c2a74874c7e644dbc9b0cee75a2"),
            approved: false,
            queue_page: Some("https://bench.example.org/queue"),
        };
        status.to_markdown()
    }

    /// What authors read, state by state.
    #[test]
    fn status_comments() {
        let valid = report(EXAMPLE);
        let bad = report(&EXAMPLE.replace("license:", "licence:").replace("135M\"\n  arch", "many\"\n  arch"));
        let hour = Duration::from_hours(1);
        insta::assert_snapshot!("received", comment(Shown::Received));
        insta::assert_snapshot!("rejected", comment(Shown::Rejected { report: &bad, known_results: None }));
        let known_results = Some("https://github.com/octo-org/leaderboard/tree/main/results/raw/huggingfacetb--smollm2-135m");
        insta::assert_snapshot!("known", comment(Shown::Rejected { report: &valid, known_results }));
        for (name, waiting) in [
            ("approval", Waiting::Approval),
            ("author_limit", Waiting::AuthorLimit(3)),
            ("day_limit", Waiting::DayLimit(1)),
            ("too_long", Waiting::TooLong(24.0)),
        ] {
            let shown = Shown::Validated { report: &valid, waiting: &waiting, estimate: Some(30 * hour) };
            insta::assert_snapshot!(name, comment(shown));
        }
        insta::assert_snapshot!("queued", comment(Shown::Queued { report: &valid, position: Some(2), estimate: Some(3 * hour) }));
        let progress = Under {
            task: "hellaswag".to_owned(),
            done: 1200,
            total: 40168,
            task_number: 3,
            tasks: 15,
            share: Some(0.436),
            remaining: Some(Duration::from_secs(4000)),
        };
        insta::assert_snapshot!("evaluating", comment(Shown::Evaluating { report: &valid, progress: Some(&progress) }));
        insta::assert_snapshot!("publishing", comment(Shown::Publishing));
        insta::assert_snapshot!("failed", comment(Shown::Failed { reason: "no space left on the device", step: "evaluating" }));
        insta::assert_snapshot!("cancelled", comment(Shown::Cancelled));
    }

    /// What commanders read.
    #[test]
    fn replies() {
        let word = |text: &str| text.to_owned();
        let all = [
            Reply::Unknown(word("aprove @everyone ```")),
            Reply::Refused(Command::Approve),
            Reply::Refused(Command::Cancel),
            Reply::NoSubmission,
            Reply::Status(word("The submission is queued; the status comment says more.")),
            Reply::Approved,
            Reply::NothingToApprove(word("queued")),
            Reply::EditedSince,
            Reply::CheckedAgain,
            Reply::NeedsApproval,
            Reply::UnderWay(word("evaluating")),
            Reply::Done,
            Reply::Retried(word("queued")),
            Reply::NothingToRetry(word("reported")),
            Reply::Cancelled,
            Reply::Cancelling,
            Reply::NothingToCancel(word("reported")),
        ];
        insta::assert_snapshot!("replies", all.each_ref().map(Reply::to_markdown).join("\n"));
        insta::assert_snapshot!("reply_comment", reply_comment(77, "octo@cat", &[Reply::Approved, Reply::Help, Reply::Approved]));
    }

    /// A state is read back from the comment that shows it, and from no other text.
    #[test]
    fn the_state_is_read_back() {
        let text = comment(Shown::Cancelled);
        let expected = Remembered {
            state: "cancelled".to_owned(),
            body: "0f1e2d".to_owned(),
            suite: "standard".to_owned(),
            revision: Some("93efa2f097d58c2a74874c7e644dbc9b0cee75a2".to_owned()),
            approved: false,
        };
        assert_eq!(remembered(&text), Some(expected.clone()));
        assert_eq!(remembered(&text.replace('\n', "\r\n")), Some(expected));
        assert_eq!(remembered(&format!("> {text}")), None);
        assert_eq!(remembered(""), None);
    }

    /// Labels change only where they differ, and labels of others are left alone.
    #[test]
    fn labels_change_only_where_they_differ() {
        let present = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(label_changes(&present(&["submission", "bug"]), "validated"), (vec!["validated"], vec![]));
        assert_eq!(label_changes(&present(&["Submission", "validated", "queued"]), "evaluating"), (vec!["evaluating"], vec!["queued"]));
        assert_eq!(label_changes(&present(&["submission", "validated", "evaluated"]), "reported"), (vec![], vec![]));
        for (name, _, meaning) in LABELS {
            assert!(meaning.len() <= 100, "{name}");
        }
    }

    /// Durations are said as people say them.
    #[test]
    fn durations_in_words() {
        let said: Vec<String> = [10, 100, 3600, 5400, 90_000, 172_800, 400_000].iter().map(|&s| about(Duration::from_secs(s))).collect();
        assert_eq!(
            said,
            ["about a minute", "about 2 minutes", "about 60 minutes", "about 2 hours", "about 25 hours", "about 2 days", "about 5 days"]
        );
    }

    proptest! {
        /// Whatever failed, and however long its text, the comment is one that GitHub takes, and mentions nobody outside of a code block.
        #[test]
        fn comments_are_bounded(reason in "(@[a-z]{1,8}|`{1,5}|\\PC|\n){0,200}", times in 1usize..800) {
            let reason = reason.repeat(times);
            let text = comment(Shown::Failed { reason: &reason, step: "evaluating" });
            prop_assert!(text.chars().count() <= 65_536);
            prop_assert!(remembered(&text).is_some());
        }
    }
}
