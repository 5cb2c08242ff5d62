//! Finds the submission in an issue's text: in a fenced code block, or, with a warning, as bare lines.

use super::finding::Code;
use super::source::{Findings, SourceText, Span};
use super::{EXAMPLE, InputKind};

/// Lines of YAML and where they stand in the text that was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    lines: Vec<String>,
    /// For each line: its number in the text (from 1) and the characters that were cut off before it.
    origins: Vec<(usize, usize)>,
}

impl Block {
    /// The lines `first..last` of a text, up to `indentation` characters of white space cut off each.
    fn cut(source: &SourceText, first: usize, last: usize, indentation: usize) -> Self {
        let mut block = Self { lines: Vec::new(), origins: Vec::new() };
        for (index, line) in source.lines().iter().enumerate().take(last).skip(first) {
            let cut = line.chars().take(indentation).take_while(|character| character.is_whitespace()).count();
            block.lines.push(line.chars().skip(cut).collect());
            block.origins.push((index + 1, cut));
        }
        block
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The place in the given text of `length` characters at a line and column of this block, both counted from 0.
    /// A length beyond the end of the line is cut.
    pub(super) fn span(&self, line: usize, column: usize, length: usize) -> Span {
        let line = line.min(self.lines.len().saturating_sub(1));
        let (number, cut) = self.origins.get(line).copied().unwrap_or((1, 0));
        let width = self.lines.get(line).map_or(0, |text| text.trim_end().chars().count());
        let column = column.min(width);
        Span { line: number, column: column + cut + 1, length: length.min(width - column) }
    }

    /// Where the block begins.
    pub(super) fn start(&self) -> Span {
        self.span(0, 0, 0)
    }

    /// The line (from 0) of a `model:` that stands at the block's outer level.
    fn model_line(&self) -> Option<usize> {
        let outer = self.lines.iter().filter(|line| has_content(line)).map(|line| indentation_of(line)).min()?;
        self.lines.iter().position(|line| indentation_of(line) == outer && is_model_line(line))
    }
}

/// Neither blank, nor a comment, nor a document marker.
fn has_content(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#') && line != "---"
}

fn indentation_of(line: &str) -> usize {
    line.chars().take_while(|character| character.is_whitespace()).count()
}

fn is_model_line(line: &str) -> bool {
    let line = line.trim_start();
    let key = line.strip_prefix("model").or_else(|| line.strip_prefix("\"model\"")).or_else(|| line.strip_prefix("'model'"));
    key.is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// The YAML of a file (all of it) or of an issue.
pub(super) fn extract(kind: InputKind, findings: &mut Findings) -> Option<Block> {
    match kind {
        InputKind::File => {
            let lines = findings.source().lines().len();
            Some(Block::cut(findings.source(), 0, lines, 0))
        }
        InputKind::Issue => from_issue(findings),
    }
}

fn from_issue(findings: &mut Findings) -> Option<Block> {
    let fences = fenced_blocks(findings.source());
    let with_model: Vec<&Fenced> = fences.iter().filter(|fenced| fenced.block.model_line().is_some()).collect();
    match with_model.as_slice() {
        [] => {}
        [first, others @ ..] => {
            if let Some(other) = others.iter().find(|other| other.block.lines != first.block.lines) {
                let message = format!("the issue holds several submissions; the first is in line {}", first.block.start().line);
                let span = other.block.start();
                let help = "keep one code block with `model:`; open another issue for another model";
                findings.error(Code::AmbiguousSubmission, None, span, message, help);
                return None;
            }
            return Some(take(first, findings));
        }
    }
    if let Some(block) = bare_lines(findings.source(), &fences) {
        let help = "put a line ```yaml before and a line ``` after it, so that GitHub shows it as it is";
        findings.warning(Code::UnfencedYaml, None, block.start(), "the submission is not in a code block", help);
        return Some(block);
    }
    // Without `model:` a single block still tells what its author meant; the checks that follow say what is missing.
    let meant: Vec<&Fenced> =
        fences.iter().filter(|fenced| fenced.is_yaml && fenced.block.lines.iter().any(|line| has_content(line))).collect();
    if let [only] = meant.as_slice() {
        return Some(take(only, findings));
    }
    let message = if fences.is_empty() { "the issue holds no submission" } else { "no code block of the issue holds `model:`" };
    findings.error(Code::NoSubmission, None, Span::START, message, format!("add a code block like this one:\n```yaml\n{EXAMPLE}```"));
    None
}

fn take(fenced: &Fenced, findings: &mut Findings) -> Block {
    if !fenced.closed {
        let help = "add a line ``` after the submission, or what follows in the issue counts as part of it";
        findings.warning(Code::UnclosedFence, None, fenced.opening, "this code block is never closed", help);
    }
    Block { lines: fenced.block.lines.clone(), origins: fenced.block.origins.clone() }
}

/// A fenced code block, the lines between its fences.
struct Fenced {
    block: Block,
    opening: Span,
    is_yaml: bool,
    closed: bool,
}

/// A fence: its character, its length, its indentation, the text after it.
struct Fence<'a> {
    character: char,
    length: usize,
    indentation: usize,
    info: &'a str,
}

/// Reads a line as a fence, as `CommonMark` defines it, with any indentation (lists and quotes of issues indent deeper than `CommonMark` allows).
fn fence(line: &str) -> Option<Fence<'_>> {
    let trimmed = line.trim_start();
    let character = trimmed.chars().next().filter(|&character| matches!(character, '`' | '~'))?;
    let length = trimmed.chars().take_while(|&other| other == character).count();
    let info = trimmed[length..].trim();
    (length >= 3 && !(character == '`' && info.contains('`'))).then(|| Fence { character, length, indentation: indentation_of(line), info })
}

fn closes(line: &str, opening: &Fence<'_>) -> bool {
    fence(line).is_some_and(|other| other.character == opening.character && other.length >= opening.length && other.info.is_empty())
}

/// All fenced blocks outside of HTML comments (what nobody sees on the page is not the submission).
fn fenced_blocks(source: &SourceText) -> Vec<Fenced> {
    let lines = source.lines();
    let mut blocks = Vec::new();
    let mut in_comment = false;
    let mut index = 0;
    while index < lines.len() {
        let line = &lines[index];
        index += 1;
        let opening = if in_comment { None } else { fence(line) };
        let Some(opening) = opening else {
            in_comment = comment_is_open(line, in_comment);
            continue;
        };
        let mut first = index;
        let mut end = (first..lines.len()).find(|&at| closes(&lines[at], &opening));
        // Who pastes a fenced block into the issue form's own block gets two opening fences.
        if let Some(inner) = (first..end.unwrap_or(lines.len())).find(|&at| !lines[at].trim().is_empty())
            && let Some(inner_fence) = fence(&lines[inner])
        {
            first = inner + 1;
            end = (first..lines.len()).find(|&at| closes(&lines[at], &inner_fence)).or(end);
        }
        let last = end.unwrap_or(lines.len());
        let (number, length) = (index, line.trim().chars().count());
        let opening_span = Span { line: number, column: opening.indentation + 1, length };
        let language = opening.info.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        blocks.push(Fenced {
            block: Block::cut(source, first, last, opening.indentation),
            opening: opening_span,
            is_yaml: matches!(language.as_str(), "" | "yaml" | "yml"),
            closed: end.is_some(),
        });
        index = last + 1;
    }
    blocks
}

/// Whether an HTML comment is open at the end of a line.
fn comment_is_open(line: &str, mut open: bool) -> bool {
    let mut rest = line;
    loop {
        let Some(position) = rest.find(if open { "-->" } else { "<!--" }) else { return open };
        rest = &rest[position + if open { 3 } else { 4 }..];
        open = !open;
    }
}

/// Lines from a bare `model:` to the end of what is indented under it.
fn bare_lines(source: &SourceText, fences: &[Fenced]) -> Option<Block> {
    let lines = source.lines();
    let mut is_taken = vec![false; lines.len()];
    for (number, _) in fences.iter().flat_map(|fenced| &fenced.block.origins) {
        is_taken[number - 1] = true;
    }
    let mut in_comment = false;
    let first = lines.iter().enumerate().find_map(|(index, line)| {
        let found = !in_comment && is_model_line(line) && !is_taken[index];
        in_comment = comment_is_open(line, in_comment);
        found.then_some(index)
    })?;
    let outer = indentation_of(&lines[first]);
    let ends = |line: &String| !line.trim().is_empty() && indentation_of(line) <= outer && !line.trim_start().starts_with("# ");
    let last = lines.iter().enumerate().skip(first + 1).find(|(_, line)| ends(line)).map_or(lines.len(), |(index, _)| index);
    // A sentence that begins with «model:» is not a submission; a mapping has fields under it.
    (last > first + 1).then(|| Block::cut(source, first, last, outer))
}
