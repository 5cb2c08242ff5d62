//! Issue body to YAML to a checked submission; every finding with line, column and what to do.
//!
//! [`read`] finds the YAML and checks it against the schema. What it gives knows which repositories the hub must be asked about
//! ([`Reading::repositories`]); [`Reading::check`] then applies the rules with the hub's answers, which are passed in, and gives a [`Report`].
//! Nothing here reads a file, asks a server or looks at a clock.

mod draft;
mod extract;
mod finding;
mod licences;
mod model;
mod parameters;
mod render;
mod report;
mod rules;
mod schema;
mod slug;
mod source;
#[cfg(test)]
mod tests;
mod tree;

pub use finding::{Code, Finding, Severity};
pub use licences::{LICENCES, Licence, find as find_licence};
pub use model::{Category, Format, GgufSource, Quantization, RepositoryReference, Submission};
pub use parameters::{Parameters, format_parameters, group_digits, parse_parameters};
pub use report::{REPORT_SCHEMA_VERSION, Report, Unchecked, VALIDATION_SCHEMA};
pub use rules::{Context, Evaluated, HubAnswers, LoadableArchitecture, RepositoryAnswer};
pub use schema::SUBMISSION_SCHEMA;
pub use slug::{MAX_SLUG_LENGTH, slug};

use draft::Draft;
use source::{Findings, SourceText, Span};

/// Most bytes of a submission's YAML.
pub const MAX_YAML_BYTES: usize = 64 * 1024;
/// Most bytes of an issue's body: GitHub takes 65,536 characters of at most four bytes.
pub const MAX_ISSUE_BYTES: usize = 4 * 64 * 1024;
/// More parameters than this are not a small model.
pub const MAX_PARAMETERS: u64 = 3_000_000_000;

/// A small submission that the schema accepts, for help texts.
pub const EXAMPLE: &str = "\
model:
  name: \"SmolLM2-135M\"
  family: \"SmolLM2\"
  hf_repo: \"HuggingFaceTB/SmolLM2-135M\"
  parameters: \"135M\"
  architecture: \"llama\"
  license: \"Apache-2.0\"
  quantizations:
    - name: \"BF16\"
      format: \"safetensors\"
  submitted_by: \"octocat\"
";

/// What the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A YAML file.
    File,
    /// The body of an issue: Markdown with the YAML in it.
    Issue,
}

/// A text that has been read and checked against the schema, ready for the rules.
#[derive(Debug)]
pub struct Reading {
    findings: Findings,
    draft: Draft,
}

/// Reads a submission. Whatever the bytes are, the answer is a [`Reading`], and problems are findings in it.
#[must_use]
pub fn read(input: &[u8], kind: InputKind) -> Reading {
    let text = match decode(input, kind) {
        Ok(text) => text,
        Err(findings) => return Reading { findings, draft: Draft::default() },
    };
    let mut findings = Findings::new(SourceText::new(text));
    let draft = read_text(kind, &mut findings).unwrap_or_default();
    Reading { findings, draft }
}

fn read_text(kind: InputKind, findings: &mut Findings) -> Option<Draft> {
    let block = extract::extract(kind, findings)?;
    if kind == InputKind::File
        && let Some(line) = block.lines().iter().position(|line| line.starts_with("```"))
    {
        let help = "give a file that holds the YAML alone; for the text of an issue use `--issue`";
        findings.error(Code::YamlSyntax, None, block.span(line, 0, usize::MAX), "this is Markdown, not YAML", help);
        return None;
    }
    let bytes: usize = block.lines().iter().map(|line| line.len() + 1).sum();
    if bytes > MAX_YAML_BYTES + 1 {
        let help = "a submission needs about one kilobyte; remove what does not belong to it";
        findings.error(
            Code::TooLarge,
            None,
            block.start(),
            format!("the submission has {bytes} bytes; at most {MAX_YAML_BYTES} are read"),
            help,
        );
        return None;
    }
    let root = tree::parse(&block, findings)?;
    let wrong = schema::validate(&root, findings);
    Some(Draft::read(&root, &wrong))
}

/// The text, or the findings about bytes that are none.
fn decode(input: &[u8], kind: InputKind) -> Result<&str, Findings> {
    let limit = match kind {
        InputKind::File => MAX_YAML_BYTES,
        InputKind::Issue => MAX_ISSUE_BYTES,
    };
    if input.len() > limit {
        let mut findings = Findings::new(SourceText::new(""));
        let message = format!("the input is larger than {limit} bytes, the most that is read");
        findings.error(
            Code::TooLarge,
            None,
            Span::START,
            message,
            "a submission needs about one kilobyte; remove what does not belong to it",
        );
        return Err(findings);
    }
    std::str::from_utf8(input).map_err(|error| {
        let valid = String::from_utf8_lossy(&input[..error.valid_up_to()]);
        let source = SourceText::new(&valid);
        let line = source.lines().len();
        let span = Span { line, column: source.line(line).chars().count() + 1, length: 0 };
        let mut findings = Findings::new(source);
        let found = input.get(error.valid_up_to()).copied().unwrap_or_default();
        let message = format!("the text is not UTF-8 (byte 0x{found:02X})");
        findings.error(Code::NotUtf8, None, span, message, "save the file as UTF-8");
        findings
    })
}

impl Reading {
    /// The repositories that the rules need facts about, the model's own first. Empty where `hf_repo` could not be read.
    #[must_use]
    pub fn repositories(&self) -> Vec<RepositoryReference> {
        self.draft.repositories()
    }

    /// The GGUF files of one of [`Self::repositories`] whose headers the rules need.
    #[must_use]
    pub fn gguf_files(&self, repository: &RepositoryReference) -> Vec<String> {
        self.draft.gguf_files(repository)
    }

    /// The submission as far as the schema goes, before any rule: `None` where a required field is missing or wrong.
    #[must_use]
    pub fn submission(&self) -> Option<Submission> {
        self.draft.submission()
    }

    /// Applies the rules and gives the report.
    #[must_use]
    pub fn check(mut self, context: &Context<'_>) -> Report {
        rules::apply(&self.draft, context, &mut self.findings);
        if !self.findings.has_errors() && self.draft.submission().is_none() {
            // The schema and the typed form agree by design; should they ever differ, the answer is no.
            let help = "compare every field with models/submissions/template.yml";
            self.findings.error(Code::BadValue, Some("model"), Span::START, "a required field could not be read", help);
        }
        report::build(&self.draft, context, &self.findings)
    }
}
