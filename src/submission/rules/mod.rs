//! What the schema cannot say: one file per rule. The hub's facts, the operator's policy and what is already evaluated are passed in.

mod access;
mod architecture;
mod categories;
mod context_length;
mod duplicate;
mod licence;
mod old_fields;
mod people;
mod quantizations;
mod remote_code;
mod revision;
mod size;
mod weights;

use super::draft::Draft;
use super::model::{Format, RepositoryReference};
use super::source::{Findings, Span};
use crate::hub::{GatedAccess, ModelFacts};

/// What the hub said about one repository.
#[derive(Clone, Debug)]
pub enum RepositoryAnswer {
    /// What it knows.
    Facts(Box<ModelFacts>),
    /// There is no such repository or revision, or it is private; the text says which.
    NotFound(String),
    /// The repository is there and cannot be used (a broken weight file, a configuration that is not JSON); the text says why.
    Unusable(String),
    /// No answer: the network, the hub or a limit is in the way. Says nothing about the submission.
    Unreachable(String),
}

/// What the hub said.
#[derive(Clone, Copy, Debug)]
pub enum HubAnswers<'a> {
    /// It was not asked (`--no-hub`).
    NotAsked,
    /// Its answers about [`super::Reading::repositories`].
    Asked(&'a [(RepositoryReference, RepositoryAnswer)]),
}

/// An architecture that the engine loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadableArchitecture<'a> {
    /// `model_type` in config.json, such as `llama`.
    pub model_type: &'a str,
    /// First entry of `architectures` in config.json, such as `LlamaForCausalLM`.
    pub class: &'a str,
}

/// Something that has been evaluated before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Repository, `owner/name`.
    pub repo: String,
    /// Commit.
    pub commit: String,
    /// Version of the suite.
    pub suite_version: String,
    /// Name of the quantization.
    pub quantization: String,
}

/// What the rules need to know besides the submission.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The hub's answers.
    pub hub: HubAnswers<'a>,
    /// The operator accepts gated repositories that the token can read.
    pub allow_gated: bool,
    /// Architectures that the engine loads; `None` where nothing is known about the engine.
    pub loadable: Option<&'a [LoadableArchitecture<'a>]>,
    /// Version of the suite that would be run.
    pub suite_version: &'a str,
    /// What has been evaluated before.
    pub evaluated: &'a [Evaluated],
    /// Login of the account that opened the issue.
    pub author: Option<&'a str>,
}

impl Context<'_> {
    /// Nothing known: only what the text itself tells is checked.
    pub const OFFLINE: Context<'static> =
        Context { hub: HubAnswers::NotAsked, allow_gated: false, loadable: None, suite_version: "", evaluated: &[], author: None };

    /// The answer about a repository.
    pub(super) fn answer(&self, repository: &RepositoryReference) -> Option<&RepositoryAnswer> {
        let HubAnswers::Asked(answers) = self.hub else { return None };
        answers.iter().find(|(asked, _)| asked == repository).map(|(_, answer)| answer)
    }

    /// The facts about a repository.
    pub(super) fn facts(&self, repository: &RepositoryReference) -> Option<&ModelFacts> {
        match self.answer(repository) {
            Some(RepositoryAnswer::Facts(facts)) => Some(facts),
            _ => None,
        }
    }
}

/// A repository that the submission names, with its place and what the hub said.
struct Repository<'a> {
    reference: RepositoryReference,
    field: &'a str,
    span: Span,
    answer: Option<&'a RepositoryAnswer>,
}

impl Repository<'_> {
    fn facts(&self) -> Option<&ModelFacts> {
        match self.answer {
            Some(RepositoryAnswer::Facts(facts)) => Some(facts),
            _ => None,
        }
    }
}

/// What a rule looks at.
struct Input<'a> {
    draft: &'a Draft,
    context: &'a Context<'a>,
    /// The model's own repository first, then those of GGUF files elsewhere.
    repositories: Vec<Repository<'a>>,
}

impl<'a> Input<'a> {
    fn new(draft: &'a Draft, context: &'a Context<'a>) -> Self {
        let own = draft.hf_repo.as_ref().zip(draft.repository()).map(|(marked, reference)| Repository {
            answer: context.answer(&reference),
            reference,
            field: &marked.field,
            span: marked.span,
        });
        let mut repositories: Vec<Repository<'_>> = own.into_iter().collect();
        for source in draft.quantizations.iter().filter_map(|quantization| quantization.source.as_ref()) {
            let Some(reference) = &source.value.repository else { continue };
            if repositories.iter().all(|known| known.reference != *reference) {
                let answer = context.answer(reference);
                repositories.push(Repository { reference: reference.clone(), field: &source.field, span: source.span, answer });
            }
        }
        Self { draft, context, repositories }
    }

    /// Facts about the model's own repository.
    fn facts(&self) -> Option<&'a ModelFacts> {
        self.context.facts(&self.draft.repository()?)
    }

    /// Facts about what is in a repository (`None`: the model's own); nothing where the hub lets nobody look inside.
    fn contents(&self, repository: Option<&RepositoryReference>) -> Option<&'a ModelFacts> {
        let facts = match repository {
            Some(repository) => self.context.facts(repository),
            None => self.facts(),
        };
        facts.filter(|facts| !facts.disabled && facts.gated != GatedAccess::GatedWithoutAccess)
    }

    /// Whether a quantization is loaded from the repository's safetensors files.
    fn uses_safetensors(&self) -> bool {
        self.draft
            .quantizations
            .iter()
            .any(|quantization| quantization.has_format(Format::Safetensors) || quantization.has_format(Format::Isq))
    }
}

type Rule = fn(&Input<'_>, &mut Findings);

/// Every rule, in the order in which a submission passes them.
const RULES: &[Rule] = &[
    old_fields::check,
    people::check,
    categories::check,
    quantizations::check,
    size::check_declared,
    licence::check_declared,
    access::check,
    revision::check,
    weights::check,
    remote_code::check,
    architecture::check,
    context_length::check,
    size::check_measured,
    licence::check_hub,
    duplicate::check,
];

/// What is left unchecked while the hub has not answered, in words.
pub(super) const HUB_CHECKS: &[&str] = &[
    "the repository exists and is public",
    "the revision's commit",
    "the weight files and their format",
    "no code from the repository is needed",
    "the architecture and the context length",
    "the measured number of parameters",
    "the licence on the model card",
    "not already evaluated",
];

/// Applies every rule.
pub(super) fn apply(draft: &Draft, context: &Context<'_>, findings: &mut Findings) {
    let input = Input::new(draft, context);
    for rule in RULES {
        rule(&input, findings);
    }
}
