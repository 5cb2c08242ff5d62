//! One leaf task: its documents asked, answered (or taken from the journal), scored and checked.

use super::documents::{DocumentSource, Rows};
use super::journal::Journal;
use super::progress::TaskProgress;
use super::{Control, RunError};
use crate::benchmark::{
    self, BuildOptions, Built, DocumentScore, Instance, Location, Request, Response, Subset, Task, TaskSpec, Verdict, long_context,
};
use crate::engine::{
    ChatMessage, EngineError, Finish, Generation, GenerationRequest, LanguageModel, Loglikelihood, LoglikelihoodRequest,
    RollingLoglikelihood, Sink, Usage, longest_text,
};
use crate::leaderboard::run::{DatasetRecord, SampleLine, SelfCheck};
use crate::sandbox::Program;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Share of a task's requests that is computed a second time.
pub(crate) const SELF_CHECK_SHARE: f64 = 0.01;
/// Fewest log-likelihoods that are computed a second time (all of them where there are fewer).
pub(crate) const SELF_CHECK_LEAST: usize = 8;
/// Fewest texts: each is the outcome of many decisions.
const SELF_CHECK_LEAST_TEXTS: usize = 2;

/// A leaf task after its documents were asked.
pub(crate) struct AnsweredLeaf {
    /// What was asked.
    pub(crate) built: Built,
    /// Answers by document, one for each request.
    pub(crate) responses: Vec<Vec<Response>>,
    /// Where the documents came from.
    pub(crate) dataset: DatasetRecord,
    /// What it cost.
    pub(crate) usage: Usage,
    /// What is computed a second time, by document.
    pub(crate) checks: Vec<Vec<Check>>,
    /// Where the run departs from the task's definition.
    pub(crate) deviations: Vec<String>,
    /// How generated answers came about, by document; empty for other tasks.
    pub(crate) generations: Vec<Vec<GenerationFacts>>,
}

/// What a sample line says about a generated answer besides its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GenerationFacts {
    /// Why it ended.
    finish: Finish,
    /// Tokens that were written, a final end-of-sequence token included.
    tokens: u64,
    /// The prompt lost tokens on its left.
    truncated: bool,
    /// As in [`Generation`].
    tokens_nominal: u64,
    /// As in [`Generation`].
    tokens_computed: u64,
}

impl From<&Generation> for GenerationFacts {
    fn from(answer: &Generation) -> Self {
        Self {
            finish: answer.finish,
            tokens: answer.token_ids.len() as u64,
            truncated: answer.truncated,
            tokens_nominal: answer.tokens_nominal,
            tokens_computed: answer.tokens_computed,
        }
    }
}

/// An answer that can be made again from the sample line of an earlier run.
trait FromSample: Sized {
    /// `None` where the line does not hold all of it.
    fn from_sample(response: &Response, facts: Option<&GenerationFacts>) -> Option<Self>;
}

impl FromSample for Loglikelihood {
    /// Whether tokens were lost is counted when the requests are planned, so it need not be known here.
    fn from_sample(response: &Response, _facts: Option<&GenerationFacts>) -> Option<Self> {
        let Response::Loglikelihood { value, is_greedy } = *response else { return None };
        Some(Self { value, is_greedy, truncated: false })
    }
}

impl FromSample for RollingLoglikelihood {
    /// The number of tokens is not in the line.
    fn from_sample(_response: &Response, _facts: Option<&GenerationFacts>) -> Option<Self> {
        None
    }
}

impl FromSample for Generation {
    /// The token ids are not in the line, and nothing asks for them after the answer.
    fn from_sample(response: &Response, facts: Option<&GenerationFacts>) -> Option<Self> {
        let (Response::Text(text), Some(facts)) = (response, facts) else { return None };
        Some(Self {
            text: text.clone(),
            token_ids: vec![0; usize::try_from(facts.tokens).ok()?],
            finish: facts.finish,
            truncated: facts.truncated,
            tokens_nominal: facts.tokens_nominal,
            tokens_computed: facts.tokens_computed,
        })
    }
}

/// The answers of one document in an earlier run.
pub(crate) struct EarlierAnswers {
    prompt_hash: String,
    arguments: Vec<serde_json::Value>,
    responses: Vec<Response>,
    generations: Vec<GenerationFacts>,
}

impl EarlierAnswers {
    /// Document hash and answers of a sample line; `None` where its answers cannot be read.
    pub(crate) fn read(line: SampleLine) -> Option<(String, Self)> {
        let responses = line.resps.iter().map(Response::from_json).collect::<Option<_>>()?;
        let generations = line.details.as_ref().and_then(|details| details.get(GENERATIONS));
        let generations = generations.and_then(|list| Vec::deserialize(list).ok()).unwrap_or_default();
        Some((line.doc_hash, Self { prompt_hash: line.prompt_hash, arguments: line.arguments, responses, generations }))
    }
}

/// Name of [`GenerationFacts`] in a sample line's details.
const GENERATIONS: &str = "generations";

/// What does not change from task to task within a run.
pub(crate) struct LeafContext<'a> {
    /// Seed of the few-shot draws, chat template.
    pub(crate) options: &'a super::RunOptions,
    /// Few-shot examples; `None` is the task's own number.
    pub(crate) num_fewshot: Option<usize>,
    /// Which documents the suite takes.
    pub(crate) subset: Option<Subset>,
    /// Which of these a smaller suite takes: they are asked first, in a plan of their own, so that their answers are bit for bit those of a
    /// run of that suite.
    pub(crate) first: Option<Subset>,
    /// What earlier runs answered, by document hash.
    pub(crate) earlier: &'a BTreeMap<String, EarlierAnswers>,
    /// Folder of journals.
    pub(crate) unfinished: &'a Path,
    /// The run's id: seeds the choice of requests for the self-check.
    pub(crate) run_id: &'a str,
    /// Progress and interruption.
    pub(crate) control: &'a Control<'a>,
    /// How much of this leaf may be computed a second time.
    pub(crate) again: Again,
}

/// How much of a leaf may be computed a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Documents that hold [`SELF_CHECK_SHARE`] of the requests, and at least so many of them.
    Share(usize),
    /// All documents, of which the group takes as many as it needs.
    All,
    /// None: other leaves of the group stand for it.
    Nothing,
}

/// Asks all of a leaf's documents.
///
/// # Errors
/// See [`RunError`]: a task that cannot be asked, answers that cannot be trusted, or a run that must stop.
pub(crate) fn answer(
    task: &dyn Task,
    model: &mut dyn LanguageModel,
    source: &mut dyn DocumentSource,
    context: &LeafContext<'_>,
) -> Result<AnsweredLeaf, RunError> {
    let spec = task.spec();
    let rows = match spec.dataset.location {
        Location::Generated => generated_rows(spec, model, source, context.options).map_err(RunError::task)?,
        _ => source.rows(spec, &spec.dataset.split).map_err(RunError::task)?,
    };
    let fewshot_rows = match &spec.dataset.fewshot_split {
        Some(split) if spec.num_fewshot(context.num_fewshot) > 0 => source.rows(spec, split).map_err(RunError::task)?.rows,
        _ => Vec::new(),
    };
    let dataset = rows.dataset;
    let shortened = benchmark::shortened_generation(spec, model.max_length());
    let built = {
        let renderer = |messages: &[ChatMessage]| Ok(model.render_chat(messages, true)?);
        let options = BuildOptions {
            num_fewshot: context.num_fewshot,
            seed: Some(context.options.seed),
            subset: context.subset,
            limit: context.options.limit,
            max_gen_toks: shortened,
            chat: if context.options.apply_chat_template { Some(&renderer) } else { None },
        };
        benchmark::build(task, rows.rows, fewshot_rows, &options).map_err(|error| RunError::task(error.into()))?
    };
    let shorter_answers = shortened.map(|tokens| {
        format!(
            "answers end after {tokens} tokens instead of {}: the model's window of {} tokens holds no prompt beside them",
            spec.max_gen_toks().unwrap_or_default(),
            model.max_length()
        )
    });
    // What the model's files ask for and is left out (a repetition penalty) changes what is written, never a log-likelihood.
    let left_out = if spec.generation.is_some() { model.deviations() } else { Vec::new() };
    let deviations = shorter_answers.into_iter().chain(left_out).collect();
    let mut asker = Asker::new(task, &built, context)?;
    let (usage, checks) = asker.ask(model)?;
    let generations = asker.generations_by_document();
    let responses = asker.responses();
    Ok(AnsweredLeaf { built, responses, dataset, usage, checks, deviations, generations })
}

/// Rows that are written for this model: its tokenizer says how long a prompt is, its window how long it may be.
fn generated_rows(
    spec: &TaskSpec,
    model: &dyn LanguageModel,
    source: &mut dyn DocumentSource,
    options: &super::RunOptions,
) -> anyhow::Result<Rows> {
    let count = |prompt: &str| -> anyhow::Result<usize> {
        if !options.apply_chat_template {
            return Ok(model.prompt_tokens(prompt)?);
        }
        let message = ChatMessage { role: "user".to_owned(), content: prompt.to_owned() };
        Ok(model.prompt_tokens(&model.render_chat(&[message], true)?)?)
    };
    let engine = model.description();
    let longest = model.max_length().min(longest_text(&engine.name, &engine.device));
    let rows = long_context::documents(&spec.name, options.seed, longest, &count)?;
    let revision = source.revision(spec)?;
    let dataset = DatasetRecord { repo: GENERATED.to_owned(), config: None, split: spec.dataset.split.clone(), revision };
    Ok(Rows { rows, dataset })
}

/// What stands for the repository of generated rows.
pub(super) const GENERATED: &str = "generated";

/// Requests of all documents in one list, and the way back from a request to its document.
struct Asker<'a> {
    task: &'a dyn Task,
    built: &'a Built,
    context: &'a LeafContext<'a>,
    /// Document of each request.
    document_of: Vec<usize>,
    responses: Vec<Vec<Option<Response>>>,
    /// How generated answers came about, by request.
    generations: Vec<GenerationFacts>,
    /// Requests that are planned together, in the order in which they are asked.
    stages: Vec<Vec<usize>>,
    /// Sum and number of the documents' primary metric so far.
    running: (f64, usize),
}

impl<'a> Asker<'a> {
    fn new(task: &'a dyn Task, built: &'a Built, context: &'a LeafContext<'a>) -> Result<Self, RunError> {
        let document_of: Vec<usize> =
            built.instances.iter().enumerate().flat_map(|(document, instance)| instance.requests.iter().map(move |_| document)).collect();
        let responses = built.instances.iter().map(|instance| vec![None; instance.requests.len()]).collect();
        std::fs::create_dir_all(context.unfinished)
            .map_err(|error| RunError::Stopped(anyhow::anyhow!("cannot create the folder {}: {error}", context.unfinished.display())))?;
        let stages = stages(built, context, &document_of);
        Ok(Self { task, built, context, document_of, responses, generations: Vec::new(), stages, running: (0.0, 0) })
    }

    /// What an earlier run answered to the same request about the same document.
    fn answered_earlier<A: FromSample>(&self, request: usize) -> Option<A> {
        let document = self.document_of[request];
        let place = request - self.document_of.partition_point(|&other| other < document);
        let instance = &self.built.instances[document];
        let earlier = self.context.earlier.get(&instance.doc_hash)?;
        let is_same = earlier.prompt_hash == instance.prompt_hash && instance.arguments().as_array() == Some(&earlier.arguments);
        A::from_sample(earlier.responses.get(place).filter(|_| is_same)?, earlier.generations.get(place))
    }

    fn generations_by_document(&mut self) -> Vec<Vec<GenerationFacts>> {
        let mut facts = std::mem::take(&mut self.generations).into_iter();
        self.built.instances.iter().map(|instance| facts.by_ref().take(instance.requests.len()).collect()).collect()
    }

    fn requests(&self) -> impl Iterator<Item = &'a Request> + use<'a> {
        self.built.instances.iter().flat_map(|instance| &instance.requests)
    }

    fn ask(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, Vec<Vec<Check>>), RunError> {
        match self.requests().next() {
            Some(Request::Loglikelihood(_)) => self.ask_loglikelihoods(model),
            Some(Request::Rolling(_)) => self.ask_rolling(model),
            Some(Request::Generation(_)) => self.ask_generations(model),
            None => Ok((Usage::default(), Vec::new())),
        }
    }

    fn ask_loglikelihoods(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, Vec<Vec<Check>>), RunError> {
        let requests: Vec<LoglikelihoodRequest> = self
            .requests()
            .filter_map(|request| if let Request::Loglikelihood(request) = request { Some(request.clone()) } else { None })
            .collect();
        let (answers, usage) = self.ask_all(&requests, |requests, answered, sink| model.loglikelihood(requests, answered, sink))?;
        Ok((usage, self.checks(|index| Check::Loglikelihood(requests[index].clone(), answers[index]))))
    }

    fn ask_rolling(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, Vec<Vec<Check>>), RunError> {
        let texts: Vec<String> =
            self.requests().filter_map(|request| if let Request::Rolling(text) = request { Some(text.clone()) } else { None }).collect();
        let (answers, usage) = self.ask_all(&texts, |texts, answered, sink| model.loglikelihood_rolling(texts, answered, sink))?;
        Ok((usage, self.checks(|index| Check::Rolling(texts[index].clone(), answers[index]))))
    }

    fn ask_generations(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, Vec<Vec<Check>>), RunError> {
        let requests: Vec<GenerationRequest> = self
            .requests()
            .filter_map(|request| if let Request::Generation(request) = request { Some(request.clone()) } else { None })
            .collect();
        let (answers, usage) = self.ask_all(&requests, |requests, answered, sink| model.generate_until(requests, answered, sink))?;
        self.generations = answers.iter().map(GenerationFacts::from).collect();
        let usage = Usage { seconds: usage.seconds, tokens_recomputed: usage.tokens_recomputed, ..cost_of(&answers) };
        Ok((usage, self.checks(|index| Check::Generation(requests[index].clone(), answers[index].text.clone()))))
    }

    /// Answers from the journal and from the model, in the order of the requests.
    fn ask_all<R, A>(
        &mut self,
        requests: &[R],
        mut ask: impl FnMut(&[R], &[bool], &mut Sink<'_, A>) -> Result<Usage, EngineError>,
    ) -> Result<(Vec<A>, Usage), RunError>
    where
        R: Clone + Serialize,
        A: Clone + Serialize + DeserializeOwned + FromSample + Into<Response>,
    {
        let name = &self.task.spec().name;
        let path = self.context.unfinished.join(super::run::journal_name(name));
        let (mut journal, mut answers) = Journal::<A>::open(&path, &digest_of(requests), requests.len()).map_err(RunError::Stopped)?;
        for (index, slot) in answers.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            if let Some(answer) = self.answered_earlier::<A>(index) {
                journal.push(index, &answer).map_err(RunError::Stopped)?;
                *slot = Some(answer);
            }
        }
        let answered: Vec<bool> = answers.iter().map(Option::is_some).collect();
        for (index, answer) in answers.iter().enumerate() {
            if let Some(answer) = answer {
                self.take(index, answer.clone().into());
            }
        }
        let mut done = answered.iter().filter(|&&answered| answered).count();
        let mut progress = TaskProgress::start(name, requests.len(), done, self.context.control.verbosity);
        progress.update(done, self.running_score());
        let mut usage = Usage::default();
        for stage in self.stages.clone() {
            let of_stage: Vec<R> = stage.iter().map(|&index| requests[index].clone()).collect();
            let answered_of_stage: Vec<bool> = stage.iter().map(|&index| answered[index]).collect();
            usage.add(&ask(&of_stage, &answered_of_stage, &mut |place, answer: A| {
                let index = stage[place];
                self.context.control.check()?;
                journal.push(index, &answer)?;
                self.take(index, answer.clone().into());
                answers[index] = Some(answer);
                done += 1;
                progress.update(done, self.running_score());
                Ok(())
            })?);
        }
        journal.sync().map_err(RunError::Stopped)?;
        let summary =
            self.running_score().map_or_else(|| "answered".to_owned(), |score| format!("{} {score:.4}", self.task.spec().primary));
        progress.finish(&format!("{}/{} {summary}", requests.len(), requests.len()));
        let answers: Vec<A> = answers.into_iter().flatten().collect();
        if answers.len() != requests.len() {
            return Err(RunError::task(anyhow::anyhow!("the engine answered {} of {} requests", answers.len(), requests.len())));
        }
        Ok((answers, usage))
    }

    /// Keeps an answer, and scores its document when it was the last one missing.
    fn take(&mut self, request: usize, response: Response) {
        let document = self.document_of[request];
        let first = self.document_of.partition_point(|&other| other < document);
        self.responses[document][request - first] = Some(response);
        if let Some(responses) = self.responses[document].iter().cloned().collect::<Option<Vec<_>>>() {
            let score = benchmark::score(self.task, &self.built.instances[document], &responses, &[]);
            let value = score.ok().and_then(|score| score.metrics.get(self.task.spec().primary).and_then(serde_json::Value::as_f64));
            if let Some(value) = value {
                self.running = (self.running.0 + value, self.running.1 + 1);
            }
        }
    }

    fn running_score(&self) -> Option<f64> {
        (self.running.1 > 0).then(|| self.running.0 / self.running.1 as f64)
    }

    /// What is computed again: all requests of some documents, so that what these share is computed once. Which documents, and in which
    /// order, depends on the run's id and the task's name only.
    fn checks(&self, check: impl Fn(usize) -> Check) -> Vec<Vec<Check>> {
        let documents = self.built.instances.len();
        let wanted = match self.context.again {
            Again::Nothing => 0,
            Again::All => usize::MAX,
            Again::Share(least) => {
                let is_text = self.task.spec().generation.is_some();
                share(self.document_of.len()).max(if is_text { least.min(SELF_CHECK_LEAST_TEXTS) } else { least })
            }
        };
        let mut checks = Vec::new();
        let mut count = 0;
        for document in in_order_of_digests(&format!("{}/{}", self.context.run_id, self.task.spec().name), documents) {
            if count >= wanted {
                break;
            }
            let first = self.document_of.partition_point(|&other| other < document);
            let of_document: Vec<Check> = (first..first + self.built.instances[document].requests.len()).map(&check).collect();
            count += of_document.len();
            checks.push(of_document);
        }
        checks
    }

    fn responses(self) -> Vec<Vec<Response>> {
        self.responses.into_iter().map(|responses| responses.into_iter().flatten().collect()).collect()
    }
}

/// [`SELF_CHECK_SHARE`] of a number, rounded up.
#[must_use]
pub(crate) fn share(count: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a number of requests")]
    let share = (count as f64 * SELF_CHECK_SHARE).ceil() as usize;
    share
}

/// The numbers below `count` in an order that nobody chose and that is the same each time.
pub(crate) fn in_order_of_digests(seed: &str, count: usize) -> Vec<usize> {
    let mut order: Vec<(String, usize)> = (0..count).map(|index| (hex::encode(Sha256::digest(format!("{seed}/{index}"))), index)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

/// The requests about the documents that a smaller suite takes, then the others. Without a smaller suite, or where a limit takes another
/// choice of documents, all together.
fn stages(built: &Built, context: &LeafContext<'_>, document_of: &[usize]) -> Vec<Vec<usize>> {
    let all = || (0..document_of.len()).collect();
    let early: Vec<usize> = match context.first {
        Some(Subset::First(size)) => (0..size.min(built.instances.len())).collect(),
        Some(Subset::Nested(size)) => {
            let hashes: Vec<String> = built.instances.iter().map(|instance| instance.doc_hash.clone()).collect();
            benchmark::nested_subset(&hashes, size)
        }
        Some(Subset::Stratified { .. }) | None => return vec![all()],
    };
    let (first, rest): (Vec<usize>, Vec<usize>) =
        (0..document_of.len()).partition(|&request| early.binary_search(&document_of[request]).is_ok());
    [first, rest].into_iter().filter(|stage| !stage.is_empty()).collect()
}

/// What generations cost, those of an interrupted run included.
fn cost_of(answers: &[Generation]) -> Usage {
    let mut usage = Usage::default();
    for answer in answers {
        usage.tokens_nominal += answer.tokens_nominal;
        usage.tokens_computed += answer.tokens_computed;
        usage.truncated += u64::from(answer.truncated);
    }
    usage
}

/// A request that is computed a second time, alone, and its first answer.
pub(crate) enum Check {
    /// A continuation.
    Loglikelihood(LoglikelihoodRequest, Loglikelihood),
    /// A text.
    Rolling(String, RollingLoglikelihood),
    /// A prompt, and the text that was written.
    Generation(GenerationRequest, String),
}

/// Computes requests a second time and compares.
///
/// # Errors
/// See [`RunError`]: the second computation failed, or the run must stop.
pub(crate) fn self_check(checks: &[Vec<Check>], model: &mut dyn LanguageModel, control: &Control<'_>) -> Result<SelfCheck, RunError> {
    let mut found = SelfCheck::default();
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for check in checks.iter().flatten() {
        control.check().map_err(RunError::Stopped)?;
        let (delta, flipped, cost) = match check {
            Check::Loglikelihood(request, answer) => {
                requests.push(request.clone());
                answers.push(*answer);
                continue;
            }
            Check::Rolling(text, answer) => {
                let (alone, cost) = model.loglikelihood_rolling_alone(text)?;
                ((alone.value - answer.value).abs() / answer.tokens.max(1) as f64, false, cost)
            }
            Check::Generation(request, text) => {
                let (alone, cost) = model.generate_alone(request)?;
                (0.0, alone.text != *text, cost)
            }
        };
        found.n += 1;
        found.max_delta = found.max_delta.max(delta);
        found.flips += u64::from(flipped);
        found.tokens += cost.tokens_computed;
    }
    let cost = model.loglikelihoods_again(&requests, &mut |index, again| {
        control.check()?;
        let answer: Loglikelihood = answers[index];
        found.n += 1;
        let delta = (again.value - answer.value).abs();
        // So that a difference that is not a number stays.
        if !found.max_delta.is_nan() && (delta > found.max_delta || delta.is_nan()) {
            found.max_delta = delta;
        }
        found.flips += u64::from(again.is_greedy != answer.is_greedy);
        Ok(())
    })?;
    found.tokens += cost.tokens_computed;
    Ok(found)
}

fn digest_of<R: Serialize>(requests: &[R]) -> String {
    let mut hasher = Sha256::new();
    for request in requests {
        // Requests are text and numbers, so they always are JSON.
        hasher.update(serde_json::to_vec(request).unwrap_or_default());
        hasher.update(b"\n");
    }
    hex::encode(hasher.finalize())
}

/// A program of a coding task and how it ended.
#[derive(Clone, Serialize)]
pub(crate) struct Executed {
    /// What ran.
    pub(crate) program: Program,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// Why, for people; empty where it passed.
    pub(crate) reason: String,
}

/// The lines of the sample file.
pub(crate) fn sample_lines<'a>(
    task: &'a dyn Task,
    answered: &'a AnsweredLeaf,
    scores: &'a [DocumentScore],
    executed: &'a [Vec<Executed>],
) -> impl Iterator<Item = SampleLine> + 'a {
    let documents = answered.built.instances.iter().zip(&answered.responses);
    documents.zip(scores.iter().zip(executed)).enumerate().map(|(index, ((instance, responses), (score, executed)))| SampleLine {
        doc_id: instance.doc_id as u64,
        doc_hash: instance.doc_hash.clone(),
        prompt_hash: instance.prompt_hash.clone(),
        target_hash: instance.target_hash.clone(),
        target: instance.target.clone(),
        arguments: instance.arguments().as_array().cloned().unwrap_or_default(),
        resps: responses.iter().map(Response::to_json).collect(),
        filtered_resps: ordered(&score.filtered_resps),
        metrics: ordered(&score.metrics),
        details: details(task, instance, answered.generations.get(index), executed),
    })
}

/// What the task says, how generated answers came about, and what programs did; `None` for most tasks.
fn details(
    task: &dyn Task,
    instance: &Instance,
    generations: Option<&Vec<GenerationFacts>>,
    executed: &[Executed],
) -> Option<serde_json::Value> {
    let mut details = match task.details(&instance.doc) {
        Some(serde_json::Value::Object(details)) => details,
        _ => serde_json::Map::new(),
    };
    if let Some(generations) = generations.filter(|generations| !generations.is_empty()) {
        details.insert(GENERATIONS.to_owned(), serde_json::json!(generations));
    }
    if !executed.is_empty() {
        details.insert("programs".to_owned(), serde_json::json!(executed));
    }
    (!details.is_empty()).then_some(serde_json::Value::Object(details))
}

fn ordered(map: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, serde_json::Value> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
