//! A report for people: on a terminal, and in an issue's comment.

mod markdown;
mod text;

use super::report::Report;

impl Report {
    /// The report as compilers write theirs: each finding with its place, its line and the remedy. `name` is the file's name.
    /// Colours (ANSI sequences) only where the caller says that they are wanted.
    #[must_use]
    pub fn to_text(&self, name: &str, colour: bool) -> String {
        text::render(self, name, colour)
    }

    /// The report as a part of a comment. What comes from the submission stands in a code block that it cannot leave, so that it
    /// mentions nobody, links nowhere and shows no picture.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }
}
