//! The check of a submission with everything that this program can find out: the hub's facts, the engine's architectures, the registry.

use crate::benchmark::suites::Suite;
use crate::engine::architectures;
use crate::hub::{GgufFiles, Hub, HubError, ModelFacts};
use crate::leaderboard::Registry;
use crate::submission::{
    self, Context, Evaluated, HubAnswers, InputKind, LoadableArchitecture, Reading, Report, RepositoryAnswer, RepositoryReference,
};

/// How an issue's text is checked.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Suite that would be run.
    pub suite: &'a str,
    /// The operator accepts gated repositories that the token can read.
    pub allow_gated: bool,
    /// What has been evaluated before.
    pub registry: &'a Registry,
    /// Login of the account that opened the issue.
    pub author: Option<&'a str>,
}

/// The report on an issue's text, with the hub's facts. Blocks.
///
/// # Errors
/// An unknown suite.
pub fn check_issue(body: &str, hub: &Hub, check: &Check<'_>) -> anyhow::Result<Report> {
    let suite = Suite::named(check.suite)?;
    let reading = submission::read(body.as_bytes(), InputKind::Issue);
    let answers = ask(hub, &reading);
    Ok(reading.check(&Context {
        hub: HubAnswers::Asked(&answers),
        allow_gated: check.allow_gated,
        loadable: Some(&loadable_architectures()),
        suite_version: &format!("{} {}", suite.name, suite.version),
        evaluated: &evaluated_in(check.registry),
        author: check.author,
    }))
}

/// Asks the hub about every repository that a submission names: facts, and the headers of the GGUF files that it names. Blocks.
#[must_use]
pub fn ask(hub: &Hub, reading: &Reading) -> Vec<(RepositoryReference, RepositoryAnswer)> {
    let repositories = reading.repositories().into_iter();
    repositories
        .map(|repository| {
            let answer = match facts(hub, &repository, &reading.gguf_files(&repository)) {
                Ok(facts) => RepositoryAnswer::Facts(Box::new(facts)),
                Err(error @ (HubError::NotFound { .. } | HubError::Unauthorized { .. })) => RepositoryAnswer::NotFound(error.to_string()),
                Err(error) if error.is_about_the_repository() => RepositoryAnswer::Unusable(error.to_string()),
                Err(error) => RepositoryAnswer::Unreachable(error.to_string()),
            };
            (repository, answer)
        })
        .collect()
}

/// The facts, with the headers of those GGUF files that are there: one that is not is for the rules to say.
fn facts(hub: &Hub, repository: &RepositoryReference, gguf_files: &[String]) -> Result<ModelFacts, HubError> {
    let facts = hub.model_facts(&repository.repo, repository.revision.as_deref(), GgufFiles::None)?;
    let present: Vec<String> = gguf_files.iter().filter(|path| facts.files.iter().any(|file| file.path == **path)).cloned().collect();
    if present.is_empty() {
        return Ok(facts);
    }
    hub.model_facts(&repository.repo, Some(&facts.commit), GgufFiles::Only(&present))
}

/// What the engine loads, for the rules.
#[must_use]
pub fn loadable_architectures() -> Vec<LoadableArchitecture<'static>> {
    let known = architectures::SUPPORTED.iter();
    known.map(|known| LoadableArchitecture { model_type: known.model_type, class: known.class }).collect()
}

/// What a registry proves to be evaluated: complete runs of a whole suite, as the suite defines it.
#[must_use]
pub fn evaluated_in(registry: &Registry) -> Vec<Evaluated> {
    let runs = registry.models.iter().flat_map(|model| model.runs.iter().map(move |run| (model, run)));
    let whole = runs
        .filter(|(_, run)| run.limit.is_none() && run.suite.overrides.is_empty() && !run.chat_template && run.aggregate.score.is_some());
    whole
        .map(|(model, run)| Evaluated {
            repo: model.hf_repo.clone(),
            commit: run.revision.clone(),
            suite_version: format!("{} {}", run.suite.name, run.suite.version),
            quantization: run.quantization.name.clone(),
        })
        .collect()
}
