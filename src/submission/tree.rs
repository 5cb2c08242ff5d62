//! YAML to a tree that knows where each value stands. Only plain data passes: no anchors, aliases, tags or second documents.
//!
//! The parser gives events, never values: nothing is expanded, and depth, number and length of the values are bounded before
//! anything is kept.

use super::extract::Block;
use super::finding::Code;
use super::source::{Findings, Span, is_forbidden, shortened};
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// Deepest nesting; a submission needs five levels.
const MAX_DEPTH: usize = 16;
/// Most values and keys; a submission with eight quantizations needs about a hundred.
const MAX_NODES: usize = 2_000;
/// Longest single text in characters.
const MAX_SCALAR: usize = 1_000;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    /// A text as written; `plain` without quotes, so that it may also mean a number, a truth value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// A collection under construction.
enum Open {
    Sequence { span: Span, items: Vec<Node> },
    Mapping { span: Span, entries: Vec<Entry>, key: Option<(String, Span)> },
}

/// Parses a block; problems go to `findings`. `None` where no tree could be built.
pub(super) fn parse(block: &Block, findings: &mut Findings) -> Option<Node> {
    if !characters_are_harmless(block, findings) {
        return None;
    }
    let text = block.text();
    let mut parser = Parser::new_from_str(&text);
    let mut builder = Builder { block, findings, open: Vec::new(), root: None, nodes: 0, documents: 0 };
    while let Some(event) = parser.next_event() {
        let go_on = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                builder.syntax_error(&error);
                false
            }
        };
        if !go_on {
            return None;
        }
    }
    let root = builder.root;
    if root.is_none() {
        let help = "write the submission as a mapping that begins with `model:`; models/submissions/template.yml explains every field";
        findings.error(Code::MissingField, Some("model"), block.start(), "the submission is empty", help);
    }
    root
}

/// Refuses what YAML or a reader's eyes would stumble over, before the parser sees it.
fn characters_are_harmless(block: &Block, findings: &mut Findings) -> bool {
    let mut harmless = true;
    for (index, line) in block.lines().iter().enumerate() {
        if let Some((position, character)) = line.chars().enumerate().find(|&(_, character)| is_forbidden(character)) {
            let what = if character.is_control() { "a control character" } else { "a character that changes the direction of text" };
            let message = format!("{what} (U+{:04X})", u32::from(character));
            findings.error(
                Code::ControlCharacter,
                None,
                block.span(index, position, 1),
                message,
                "delete it; it is invisible in most editors",
            );
            harmless = false;
        }
        let indentation: Vec<char> = line.chars().take_while(|character| character.is_whitespace()).collect();
        let Some(position) = indentation.iter().position(|&character| character != ' ') else { continue };
        if indentation.len() == line.chars().count() || line[indentation.iter().map(|c| c.len_utf8()).sum()..].starts_with('#') {
            continue;
        }
        let span = block.span(index, position, 1);
        if indentation[position] == '\t' {
            let help = "indent with spaces; YAML does not allow tabs there";
            findings.error(Code::TabIndentation, None, span, "this line is indented by a tab", help);
        } else {
            let message =
                format!("this line is indented by a character that only looks like a space (U+{:04X})", u32::from(indentation[position]));
            findings.error(
                Code::UnusualSpace,
                None,
                span,
                message,
                "replace it by an ordinary space; it often comes from copying a web page",
            );
        }
        harmless = false;
    }
    harmless
}

struct Builder<'a> {
    block: &'a Block,
    findings: &'a mut Findings,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Builder<'_> {
    /// Takes one event; false stops the work.
    fn event(&mut self, event: Event<'_>, span: saphyr_parser::Span) -> bool {
        let span = self.place(span);
        if matches!(event, Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_)) {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                let message = format!("more than {MAX_NODES} values");
                self.findings.error(Code::YamlSize, None, span, message, "a submission has a few dozen; remove what does not belong to it");
                return false;
            }
        }
        match event {
            Event::DocumentStart(_) => return self.document(span),
            Event::Alias(_) => {
                let help = "write the value out instead of referring to another place";
                self.findings.error(Code::YamlAlias, None, span, "a YAML alias", help);
                return false;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_data(anchor, tag.is_some(), span);
                return self.scalar(&text, style, span);
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_data(anchor, tag.is_some(), span);
                return self.start(Open::Sequence { span, items: Vec::new() }, span);
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_data(anchor, tag.is_some(), span);
                return self.start(Open::Mapping { span, entries: Vec::new(), key: None }, span);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.end(span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        true
    }

    fn document(&mut self, span: Span) -> bool {
        self.documents += 1;
        if self.documents > 1 {
            let help = "one submission is one model: open an issue for each; or remove the line `---`";
            self.findings.error(Code::SeveralDocuments, None, span, "a second YAML document begins here", help);
            return false;
        }
        true
    }

    /// Anchors and tags are errors; the value is read on as if they were not there, so that the other findings come with them.
    fn plain_data(&mut self, anchor: usize, tagged: bool, span: Span) {
        if anchor > 0 {
            self.findings.error(
                Code::YamlAnchor,
                None,
                span,
                "a YAML anchor (`&name`)",
                "remove it; or, where `&` belongs to the text, put the text in quotes",
            );
        }
        if tagged {
            self.findings.error(
                Code::YamlTag,
                None,
                span,
                "a YAML tag (`!name`)",
                "remove it; or, where `!` belongs to the text, put the text in quotes",
            );
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> bool {
        if text.chars().nth(MAX_SCALAR).is_some() {
            let message = format!("a text of more than {MAX_SCALAR} characters");
            self.findings.error(Code::TooLong, None, span, message, "shorten it");
            return false;
        }
        if let Some(Open::Mapping { key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text.to_owned(), span));
            return text != "<<" || self.bad_key(span, "a merge key (`<<`)");
        }
        let value = Value::Scalar { text: text.to_owned(), plain: style == ScalarStyle::Plain };
        self.add(Node { span, value });
        true
    }

    fn start(&mut self, open: Open, span: Span) -> bool {
        if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
            return self.bad_key(span, "a key that is a list or a mapping");
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            self.findings.error(
                Code::YamlDepth,
                None,
                span,
                message,
                "a submission needs five levels; compare with models/submissions/template.yml",
            );
            return false;
        }
        self.open.push(open);
        true
    }

    fn bad_key(&mut self, span: Span, what: &str) -> bool {
        self.findings.error(Code::YamlKey, None, span, what, "keys are plain words such as `name`; write out what should stand here");
        false
    }

    fn end(&mut self, end: Span) -> bool {
        // A list or mapping in brackets on one line is shown from bracket to bracket; others by their beginning.
        let whole = |span: Span| {
            let on_one_line = end.length == 1 && end.line == span.line && end.column >= span.column;
            if on_one_line { Span { length: end.column + 1 - span.column, ..span } } else { span }
        };
        match self.open.pop() {
            Some(Open::Sequence { span, items }) => self.add(Node { span: whole(span), value: Value::Sequence(items) }),
            Some(Open::Mapping { span, entries, .. }) => self.add(Node { span: whole(span), value: Value::Mapping(entries) }),
            None => {}
        }
        true
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => {
                let Some((key, key_span)) = key.take() else { return };
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let message = format!("`{}` stands here a second time", shortened(&key, 60));
                    let help = format!("keep one of the two; the first is in line {}", first.key_span.line);
                    self.findings.error(Code::DuplicateKey, None, key_span, message, help);
                } else {
                    entries.push(Entry { key, key_span, value: node });
                }
            }
        }
    }

    fn place(&self, span: saphyr_parser::Span) -> Span {
        let length = if span.end.line() == span.start.line() { span.end.index().saturating_sub(span.start.index()) } else { usize::MAX };
        self.block.span(span.start.line() - 1, span.start.col(), length)
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let marker = error.marker();
        let span = self.block.span(marker.line().saturating_sub(1), marker.col(), 1);
        let code = if error.info().contains("unknown anchor") {
            Code::YamlAlias
        } else if error.info().contains("recursion limit") {
            Code::YamlDepth
        } else {
            Code::YamlSyntax
        };
        let (message, help) = explained(error.info());
        self.findings.error(code, None, span, message, help);
    }
}

/// The parser's message with the remedy for what people usually did.
fn explained(info: &str) -> (String, &'static str) {
    let help = if info.contains("unknown anchor") {
        "`*` begins an alias; put the text in quotes"
    } else if info.contains("mapping values are not allowed") {
        "a colon followed by a space inside a value must be in quotes, as in name: \"Model: large\"; or the line is indented differently from its neighbours"
    } else if info.contains("recursion limit") {
        "the YAML is nested too deep; a submission needs five levels"
    } else if info.contains("simple key") || info.contains("expected <block end>") || info.contains("block mapping") {
        "check that the line is `key: value` with a space after the colon, indented like its neighbours, and that quotes and brackets are closed"
    } else if info.contains("quoted") || info.contains("escape") {
        "close the quotes; inside double quotes write \\\\ for a backslash"
    } else if info.contains("flow") {
        "close every [ and { on this or a following line"
    } else if info.contains("start any token") {
        "a value that begins with @ ` % or * must be in quotes"
    } else {
        "compare with models/submissions/template.yml; values with special characters belong in double quotes"
    };
    (format!("this is not YAML: {info}"), help)
}
