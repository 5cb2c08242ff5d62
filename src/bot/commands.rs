//! Commands in comments: `/slm-bench help | status | evaluate | retry | cancel | approve`.
//!
//! A command stands at the beginning of a line of ordinary text. Markdown decides what that is: quotes, code, lists, tables, headings,
//! links and HTML are not looked at, so that nobody commands by quoting somebody else. Pure.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// The word that every command begins with.
pub const PREFIX: &str = "/slm-bench";
/// Most commands that are read in one comment; the rest is left aside.
pub const MOST_COMMANDS: usize = 4;
/// Stands for what is no ordinary text (U+FFFC, "object replacement character").
const MARK: char = '\u{fffc}';
/// Longest word of a comment that is shown back, in characters.
const LONGEST_WORD: usize = 40;

/// What somebody asks of the bot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// List the commands.
    Help,
    /// How far the submission is.
    Status,
    /// Check the issue as it stands now and evaluate it, with this suite instead of the configured one where it is named.
    Evaluate {
        /// `quick`, the only suite that may be asked for.
        quick: bool,
    },
    /// Go on after a failure or a cancellation.
    Retry,
    /// Stop.
    Cancel,
    /// Let the submission be evaluated as it was checked.
    Approve,
}

/// Who may give a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody who can comment.
    Everybody,
    /// The author of the issue, and people with write access.
    Author,
    /// People with write access to the repository.
    Maintainers,
}

impl fmt::Display for Audience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Everybody => "everybody",
            Self::Author => "the issue's author and maintainers",
            Self::Maintainers => "maintainers (write access)",
        })
    }
}

/// Every command: as it is written, who may give it, what it does. The help is made of this, and nothing else explains commands.
const TABLE: [(&str, Audience, &str); 6] = [
    ("help", Audience::Everybody, "lists the commands"),
    ("status", Audience::Author, "says how far the submission is, and writes it into the status comment"),
    (
        "evaluate",
        Audience::Author,
        "checks the issue as it stands now and evaluates it; `evaluate quick` takes the suite `quick`, which is preliminary and never ranked",
    ),
    ("retry", Audience::Author, "goes on where a failed or cancelled submission stopped"),
    ("cancel", Audience::Author, "stops; what was answered so far is kept for `retry`"),
    ("approve", Audience::Maintainers, "lets the submission be evaluated as it was checked; an edit of the issue asks again"),
];

impl Command {
    /// The word after the prefix.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Status => "status",
            Self::Evaluate { .. } => "evaluate",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Approve => "approve",
        }
    }

    /// Who may give it.
    #[must_use]
    pub fn audience(&self) -> Audience {
        TABLE.iter().find(|(name, ..)| *name == self.name()).map_or(Audience::Maintainers, |(_, audience, _)| *audience)
    }
}

/// Something after the prefix that is no command; shown back to whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

/// The commands of a comment, in their order.
#[must_use]
pub fn parse(comment: &str) -> Vec<Result<Command, Unknown>> {
    lines(comment).iter().filter_map(|line| command(line)).take(MOST_COMMANDS).collect()
}

/// The lines of the comment's ordinary paragraphs. What is emphasised, linked or code keeps a mark in its place.
fn lines(comment: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    // How deep inside of something that is no ordinary paragraph.
    let mut depth = 0_usize;
    let mut after_html = false;
    for event in Parser::new_ext(comment, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES) {
        match event {
            Event::Start(Tag::Paragraph) if depth == 0 => {
                line.clear();
                after_html = false;
            }
            Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::Paragraph) if depth == 0 => lines.push(std::mem::take(&mut line)),
            Event::Start(_) => {
                depth += 1;
                line.push(MARK);
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) if depth == 0 && !after_html => line.push_str(&text),
            // From the first tag to the end of its paragraph: tags may hide what follows from readers.
            Event::InlineHtml(_) => after_html = true,
            _ => line.push(MARK),
        }
    }
    lines
}

fn command(line: &str) -> Option<Result<Command, Unknown>> {
    let rest = line.trim_start_matches(' ').strip_prefix(PREFIX)?;
    if rest.starts_with(|character: char| !character.is_whitespace()) {
        return None;
    }
    let words: Vec<String> = rest.split_whitespace().map(|word| word.trim_end_matches(['.', '!', ',']).to_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        [] | ["help", ..] => Ok(Command::Help),
        ["status"] => Ok(Command::Status),
        ["evaluate"] => Ok(Command::Evaluate { quick: false }),
        ["evaluate", "quick"] => Ok(Command::Evaluate { quick: true }),
        ["retry"] => Ok(Command::Retry),
        ["cancel"] => Ok(Command::Cancel),
        ["approve"] => Ok(Command::Approve),
        _ => Err(Unknown(rest.trim().chars().take(LONGEST_WORD).collect())),
    })
}

/// The one text that explains the commands, as Markdown.
#[must_use]
pub fn help() -> String {
    let mut text = "| command | who | what it does |\n| --- | --- | --- |\n".to_owned();
    for (name, audience, effect) in TABLE {
        let _ = writeln!(text, "| `{PREFIX} {name}` | {audience} | {effect} |");
    }
    text.push_str(
        "\nA command stands at the beginning of a line of a new comment; quotes, code and edits of comments are not looked at. \
         To change the submission, edit the issue: it is checked again.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(comment: &str) -> Vec<String> {
        parse(comment)
            .iter()
            .map(|one| one.as_ref().map_or_else(|Unknown(word)| format!("?{word}"), |known| known.name().to_owned()))
            .collect()
    }

    /// Commands are read where a person would see them as such, and nowhere else.
    #[test]
    fn only_ordinary_lines_command() {
        for (comment, expected) in [
            ("/slm-bench status", vec!["status"]),
            ("Thanks!\n\n/slm-bench retry", vec!["retry"]),
            ("Thanks!\n/slm-bench retry\nand then\n/slm-bench status", vec!["retry", "status"]),
            ("/slm-bench Approve.", vec!["approve"]),
            ("/slm-bench", vec!["help"]),
            ("  /slm-bench\tcancel  ", vec!["cancel"]),
            ("/slm-bench aprove", vec!["?aprove"]),
            ("/slm-bench approve the other one", vec!["?approve the other one"]),
            ("# Title\n/slm-bench status", vec!["status"]),
            ("- a\n- b\n\n/slm-bench status", vec!["status"]),
            ("```\ncode\n```\n/slm-bench status", vec!["status"]),
            ("> quoted\n\n/slm-bench status", vec!["status"]),
            ("> /slm-bench approve", vec![]),
            ("> quoted\n/slm-bench approve", vec![]),
            ("    /slm-bench approve", vec![]),
            ("```\n/slm-bench approve\n```", vec![]),
            ("~~~sh\n/slm-bench approve", vec![]),
            ("`/slm-bench approve`", vec![]),
            ("please write /slm-bench approve", vec![]),
            ("- /slm-bench approve", vec![]),
            ("# /slm-bench approve", vec![]),
            ("<!-- /slm-bench approve -->", vec![]),
            ("<!--\n/slm-bench approve\n-->", vec![]),
            ("<details>\n/slm-bench approve\n</details>", vec![]),
            ("text <span hidden>\n/slm-bench approve</span>", vec![]),
            ("[x](y)/slm-bench approve", vec![]),
            ("**/slm-bench approve**", vec![]),
            ("| /slm-bench approve |\n| --- |\n| /slm-bench approve |", vec![]),
            ("/slm-benchmark approve", vec![]),
            ("/slm-bench-approve", vec![]),
            ("/SLM-BENCH approve", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(names(comment), expected, "{comment:?}");
        }
        assert_eq!(parse("/slm-bench evaluate quick"), [Ok(Command::Evaluate { quick: true })]);
        assert_eq!(parse("/slm-bench help\n".repeat(50).as_str()).len(), MOST_COMMANDS);
    }

    /// The help names every command with the people who may give it.
    #[test]
    fn one_help_text() {
        insta::assert_snapshot!(help());
        for (name, audience, _) in TABLE {
            let parsed = parse(&format!("{PREFIX} {name}"));
            let [Ok(command)] = parsed.as_slice() else { panic!("{name} is not read") };
            assert_eq!((command.name(), command.audience()), (name, audience));
        }
    }

    /// What the manual says about commands is the help, word for word.
    #[test]
    fn the_manual_holds_the_help() {
        assert!(include_str!("../../docs/submitting.md").contains(&help()), "copy this into docs/submitting.md:\n{}", help());
    }

    proptest! {
        /// Whatever a comment says, reading it ends, and no more than the bound is obeyed.
        #[test]
        fn any_text_is_read(text in "([ \\n>`~#|<!-]|/slm-bench|approve|\\PC){0,60}") {
            prop_assert!(parse(&text).len() <= MOST_COMMANDS);
        }

        /// Nothing inside of a quote or a code block commands, whatever stands around the command.
        #[test]
        fn quotes_and_code_never_command(before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
            let quote = format!("> {before}\n> /slm-bench approve\n> {after}");
            prop_assert_eq!(parse(&quote), []);
            let code = format!("```\n{before}\n/slm-bench approve\n{after}\n```");
            prop_assert_eq!(parse(&code), []);
        }

        /// A text without the prefix commands nothing.
        #[test]
        fn other_text_is_no_command(text in "[a-z /\\n-]{0,80}") {
            prop_assume!(!text.contains(PREFIX));
            prop_assert!(parse(&text).is_empty());
        }
    }
}
