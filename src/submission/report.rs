//! The validator's answer.

use super::draft::Draft;
use super::finding::{Finding, Severity};
use super::model::{GgufSource, RepositoryReference, Submission};
use super::rules::{Context, HUB_CHECKS, HubAnswers, RepositoryAnswer};
use super::source::{Findings, shortened};
use serde::{Deserialize, Serialize};

/// Version of the JSON form of [`Report`]; it changes when a field changes its meaning or goes.
pub const REPORT_SCHEMA_VERSION: u32 = 1;

/// The schema of a report's JSON form, as it stands in `schemas/validation.schema.json`.
pub const VALIDATION_SCHEMA: &str = include_str!("../../schemas/validation.schema.json");

/// Checks that were not made, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// Why, in words.
    pub reason: String,
    /// True where trying again may help (the hub did not answer); false where nobody asked for the checks.
    pub retry: bool,
    /// The checks, in words.
    pub checks: Vec<String>,
}

/// Everything the validator has to say about one submission. Serialised, it is the JSON of `validate --format json`
/// (`schemas/validation.schema.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// No finding is an error.
    pub valid: bool,
    /// Every check was made. A submission is accepted when it is valid and the report complete.
    pub complete: bool,
    /// In the order of their places.
    pub findings: Vec<Finding>,
    /// What was not checked.
    pub unchecked: Vec<Unchecked>,
    /// The submission in canonical form, revisions pinned where the hub answered; `None` where a required field could not be read.
    pub submission: Option<Submission>,
    /// Number of parameters read from the weight files' headers: the safetensors files', else the first GGUF file's.
    pub measured_parameters: Option<u64>,
}

impl Report {
    /// Valid, and every check was made.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.valid && self.complete
    }

    /// How many findings have a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The outcome in one line, such as `invalid: 2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts: Vec<String> = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")]
            .iter()
            .map(|&(severity, name)| (self.count(severity), name))
            .filter(|&(count, _)| count > 0)
            .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        let verdict = match (self.valid, self.complete) {
            (false, _) => "invalid",
            (true, true) => "valid",
            (true, false) => "valid so far",
        };
        if parts.is_empty() { verdict.to_owned() } else { format!("{verdict}: {}", parts.join(", ")) }
    }
}

/// Puts the report together from what the rules found.
pub(super) fn build(draft: &Draft, context: &Context<'_>, findings: &Findings) -> Report {
    let unchecked = unchecked(draft, context, findings.has_errors());
    Report {
        schema_version: REPORT_SCHEMA_VERSION,
        valid: !findings.has_errors(),
        complete: unchecked.is_empty(),
        findings: findings.sorted(),
        unchecked,
        submission: draft.submission().map(|submission| pinned(submission, context)),
        measured_parameters: measured(draft, context),
    }
}

fn unchecked(draft: &Draft, context: &Context<'_>, has_errors: bool) -> Vec<Unchecked> {
    let mut list: Vec<Unchecked> = Vec::new();
    let mut add = |reason: String, retry: bool| {
        if list.iter().all(|known| known.reason != reason) {
            list.push(Unchecked { reason, retry, checks: HUB_CHECKS.iter().map(|&check| check.to_owned()).collect() });
        }
    };
    if matches!(context.hub, HubAnswers::NotAsked) {
        add("the hub was not asked".to_owned(), false);
        return list;
    }
    let repositories = draft.repositories();
    if repositories.is_empty() && has_errors {
        add("`hf_repo` could not be read".to_owned(), false);
    }
    for repository in &repositories {
        match context.answer(repository) {
            Some(RepositoryAnswer::Unreachable(why)) => add(format!("no answer about {repository}: {}", shortened(why, 300)), true),
            None => add(format!("the hub was not asked about {repository}"), true),
            Some(_) => {}
        }
    }
    list
}

/// Replaces every revision by the commit that the hub named, and every repository by the hub's spelling.
fn pinned(mut submission: Submission, context: &Context<'_>) -> Submission {
    if let Some(facts) = context.facts(&submission.repository()) {
        facts.repo.clone_into(&mut submission.hf_repo);
        submission.hf_revision = Some(facts.commit.clone());
    }
    for source in submission.quantizations.iter_mut().filter_map(|quantization| quantization.source.as_mut()) {
        let GgufSource { repository: Some(repository), .. } = source else { continue };
        if let Some(facts) = context.facts(repository) {
            *repository = RepositoryReference { repo: facts.repo.clone(), revision: Some(facts.commit.clone()) };
        }
    }
    submission
}

fn measured(draft: &Draft, context: &Context<'_>) -> Option<u64> {
    let own = draft.repository().and_then(|repository| context.facts(&repository));
    let from_gguf = || {
        draft.quantizations.iter().filter_map(|quantization| quantization.source.as_ref()).find_map(|source| {
            let facts = match &source.value.repository {
                Some(repository) => context.facts(repository),
                None => own,
            };
            facts?.gguf_parameters.get(&source.value.path).copied()
        })
    };
    own.and_then(|facts| facts.safetensors_parameters).or_else(from_gguf)
}
