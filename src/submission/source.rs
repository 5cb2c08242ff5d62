//! The text under examination and its places: lines and columns refer to the file or issue body that was given.

use super::finding::{Code, Finding, Severity};

/// Most findings of one report; a hostile submission must not make the answer long.
const MAX_FINDINGS: usize = 50;
/// Widest excerpt in characters.
const EXCERPT_WIDTH: usize = 100;
/// Longest quoted text in characters.
const TEXT_WIDTH: usize = 120;

/// A stretch of one line. Line and column are counted from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl Span {
    /// The beginning of the text.
    pub(super) const START: Self = Self { line: 1, column: 1, length: 0 };
}

/// A text cut into lines.
#[derive(Debug)]
pub(super) struct SourceText {
    lines: Vec<String>,
}

impl SourceText {
    /// Cuts at line feeds, carriage returns, and both together; a byte order mark at the beginning is left out.
    pub(super) fn new(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n").replace('\r', "\n");
        Self { lines: text.split('\n').map(str::to_owned).collect() }
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Line `number`, counted from 1; empty beyond the end.
    pub(super) fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|index| self.lines.get(index)).map_or("", String::as_str)
    }

    /// The text of a span, cut to what a report quotes.
    fn quoted(&self, span: Span) -> String {
        let text: String = self.line(span.line).chars().skip(span.column - 1).take(span.length.min(TEXT_WIDTH + 1)).collect();
        shortened(&text, TEXT_WIDTH)
    }

    /// A window of the line around the span, and the span's column in it.
    fn excerpt(&self, span: Span) -> (String, usize) {
        let line: Vec<char> = self.line(span.line).chars().collect();
        let start = if line.len() <= EXCERPT_WIDTH { 0 } else { (span.column - 1).saturating_sub(EXCERPT_WIDTH / 4).min(line.len()) };
        let end = (start + EXCERPT_WIDTH).min(line.len());
        let mut text = String::new();
        if start > 0 {
            text.push('…');
        }
        text.extend(line[start..end].iter().map(|&character| visible(character)));
        if end < line.len() {
            text.push('…');
        }
        (text, span.column - start + usize::from(start > 0))
    }
}

/// A character as a report may show it: nothing that moves a terminal's cursor or reorders the text around it.
pub(super) fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        _ if is_forbidden(character) => '\u{fffd}',
        _ => character,
    }
}

/// Control characters (other than tab and line ends) and those that change the direction of text (Unicode's bidirectional controls).
pub(super) fn is_forbidden(character: char) -> bool {
    let control = character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    let direction = matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let separator = matches!(character, '\u{2028}' | '\u{2029}');
    control || direction || separator
}

/// At most `width` characters of a text, visible ones only.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let mut short: String = text.chars().take(width).map(visible).collect();
    if text.chars().nth(width).is_some() {
        short.push('…');
    }
    short
}

/// Collects findings about one text.
#[derive(Debug)]
pub(super) struct Findings {
    source: SourceText,
    list: Vec<Finding>,
    left_out: usize,
}

impl Findings {
    pub(super) fn new(source: SourceText) -> Self {
        Self { source, list: Vec::new(), left_out: 0 }
    }

    pub(super) fn source(&self) -> &SourceText {
        &self.source
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Adds a finding; beyond [`MAX_FINDINGS`] they are only counted.
    pub(super) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        field: Option<&str>,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() >= MAX_FINDINGS {
            // An error must never hide behind a crowd of warnings.
            let weakest = self.list.iter().rposition(|finding| finding.severity > severity);
            self.left_out += 1;
            match weakest {
                Some(index) => drop(self.list.remove(index)),
                None => return,
            }
        }
        let (excerpt, excerpt_column) = self.source.excerpt(span);
        self.list.push(Finding {
            severity,
            code,
            field: field.map(str::to_owned),
            line: span.line,
            column: span.column,
            length: span.length,
            text: self.source.quoted(span),
            excerpt,
            excerpt_column,
            message: message.into(),
            help: help.into(),
        });
    }

    pub(super) fn error(&mut self, code: Code, field: Option<&str>, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Error, code, field, span, message, help);
    }

    pub(super) fn warning(&mut self, code: Code, field: Option<&str>, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Warning, code, field, span, message, help);
    }

    pub(super) fn note(&mut self, code: Code, field: Option<&str>, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.add(Severity::Note, code, field, span, message, help);
    }

    /// All findings in the order of their places.
    pub(super) fn sorted(&self) -> Vec<Finding> {
        let mut list = self.list.clone();
        list.sort_by_key(|finding| (finding.line, finding.column, finding.severity, finding.code));
        if self.left_out > 0 {
            let (excerpt, excerpt_column) = self.source.excerpt(Span::START);
            list.push(Finding {
                severity: Severity::Note,
                code: Code::MoreFindings,
                field: None,
                line: 1,
                column: 1,
                length: 0,
                text: String::new(),
                excerpt,
                excerpt_column,
                message: format!("{} more findings are not shown", self.left_out),
                help: "correct those above and check again".to_owned(),
            });
        }
        list
    }
}
