//! One leaf task: its documents asked, answered (or taken from the journal), scored and checked.

use super::documents::DocumentSource;
use super::journal::Journal;
use super::progress::TaskProgress;
use super::{Control, RunError};
use crate::benchmark::{self, BuildOptions, Built, DocumentScore, Instance, Limit, Request, Response, Task, Verdict};
use crate::engine::{EngineError, Generation, GenerationRequest, LanguageModel, LoglikelihoodRequest, Sink, Usage};
use crate::leaderboard::run::{DatasetRecord, SampleLine, SelfCheck};
use crate::sandbox::Program;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Share of a task's requests that is computed a second time, alone.
const SELF_CHECK_SHARE: f64 = 0.01;
/// Fewest requests that are computed a second time (all of them where there are fewer).
pub(crate) const SELF_CHECK_LEAST: usize = 8;

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
    /// What the second computation of some requests gave.
    pub(crate) self_check: SelfCheck,
    /// Where the run departs from the task's definition.
    pub(crate) deviations: Vec<String>,
}

/// What does not change from task to task within a run.
pub(crate) struct LeafContext<'a> {
    /// Seed of the few-shot draws, chat template.
    pub(crate) options: &'a super::RunOptions,
    /// Few-shot examples; `None` is the task's own number.
    pub(crate) num_fewshot: Option<usize>,
    /// Which documents.
    pub(crate) limit: Option<Limit>,
    /// Folder of journals.
    pub(crate) unfinished: &'a Path,
    /// The run's id: seeds the choice of requests for the self-check.
    pub(crate) run_id: &'a str,
    /// Progress and interruption.
    pub(crate) control: &'a Control<'a>,
    /// Fewest requests of this leaf that are checked.
    pub(crate) self_check_least: usize,
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
    let rows = source.rows(spec, &spec.dataset.split).map_err(RunError::task)?;
    let fewshot_rows = match &spec.dataset.fewshot_split {
        Some(split) if spec.num_fewshot(context.num_fewshot) > 0 => source.rows(spec, split).map_err(RunError::task)?.rows,
        _ => Vec::new(),
    };
    let dataset = rows.dataset;
    let shortened = benchmark::shortened_generation(spec, model.max_length());
    let built = {
        let renderer = |messages: &[crate::engine::ChatMessage]| Ok(model.render_chat(messages, true)?);
        let options = BuildOptions {
            num_fewshot: context.num_fewshot,
            seed: Some(context.options.seed),
            limit: context.limit,
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
    let (usage, self_check) = asker.ask(model)?;
    let responses = asker.responses();
    Ok(AnsweredLeaf { built, responses, dataset, usage, self_check, deviations })
}

/// Requests of all documents in one list, and the way back from a request to its document.
struct Asker<'a> {
    task: &'a dyn Task,
    built: &'a Built,
    context: &'a LeafContext<'a>,
    /// Document of each request.
    document_of: Vec<usize>,
    responses: Vec<Vec<Option<Response>>>,
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
        Ok(Self { task, built, context, document_of, responses, running: (0.0, 0) })
    }

    fn requests(&self) -> impl Iterator<Item = &'a Request> + use<'a> {
        self.built.instances.iter().flat_map(|instance| &instance.requests)
    }

    fn ask(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, SelfCheck), RunError> {
        match self.requests().next() {
            Some(Request::Loglikelihood(_)) => self.ask_loglikelihoods(model),
            Some(Request::Rolling(_)) => self.ask_rolling(model),
            Some(Request::Generation(_)) => self.ask_generations(model),
            None => Ok((Usage::default(), SelfCheck::default())),
        }
    }

    fn ask_loglikelihoods(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, SelfCheck), RunError> {
        let requests: Vec<LoglikelihoodRequest> = self
            .requests()
            .filter_map(|request| if let Request::Loglikelihood(request) = request { Some(request.clone()) } else { None })
            .collect();
        let (answers, usage) = self.ask_all(&requests, |answered, sink| model.loglikelihood(&requests, answered, sink))?;
        let check = self.self_check(requests.len(), |index| {
            let (alone, cost) = model.loglikelihood_alone(&requests[index])?;
            let delta = (alone.value - answers[index].value).abs();
            Ok(Checked { delta, flipped: alone.is_greedy != answers[index].is_greedy, cost })
        })?;
        Ok((usage, check))
    }

    fn ask_rolling(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, SelfCheck), RunError> {
        let texts: Vec<String> =
            self.requests().filter_map(|request| if let Request::Rolling(text) = request { Some(text.clone()) } else { None }).collect();
        let (answers, usage) = self.ask_all(&texts, |answered, sink| model.loglikelihood_rolling(&texts, answered, sink))?;
        let check = self.self_check(texts.len(), |index| {
            let (alone, cost) = model.loglikelihood_rolling_alone(&texts[index])?;
            let delta = (alone.value - answers[index].value).abs() / answers[index].tokens.max(1) as f64;
            Ok(Checked { delta, flipped: false, cost })
        })?;
        Ok((usage, check))
    }

    fn ask_generations(&mut self, model: &mut dyn LanguageModel) -> Result<(Usage, SelfCheck), RunError> {
        let requests: Vec<GenerationRequest> = self
            .requests()
            .filter_map(|request| if let Request::Generation(request) = request { Some(request.clone()) } else { None })
            .collect();
        let (answers, usage) = self.ask_all(&requests, |answered, sink| model.generate_until(&requests, answered, sink))?;
        let usage = Usage { seconds: usage.seconds, tokens_recomputed: usage.tokens_recomputed, ..cost_of(&answers) };
        let check = self.self_check(requests.len(), |index| {
            let (alone, cost) = model.generate_alone(&requests[index])?;
            Ok(Checked { delta: 0.0, flipped: alone.token_ids != answers[index].token_ids, cost })
        })?;
        Ok((usage, check))
    }

    /// Answers from the journal and from the model, in the order of the requests.
    fn ask_all<R: Serialize, A>(
        &mut self,
        requests: &[R],
        ask: impl FnOnce(&[bool], &mut Sink<'_, A>) -> Result<Usage, EngineError>,
    ) -> Result<(Vec<A>, Usage), RunError>
    where
        A: Clone + Serialize + DeserializeOwned + Into<Response>,
    {
        let name = &self.task.spec().name;
        let path = self.context.unfinished.join(super::run::journal_name(name));
        let (mut journal, mut answers) = Journal::<A>::open(&path, &digest_of(requests), requests.len()).map_err(RunError::Stopped)?;
        let answered: Vec<bool> = answers.iter().map(Option::is_some).collect();
        for (index, answer) in answers.iter().enumerate() {
            if let Some(answer) = answer {
                self.take(index, answer.clone().into());
            }
        }
        let mut done = answered.iter().filter(|&&answered| answered).count();
        let mut progress = TaskProgress::start(name, requests.len(), done, self.context.control.verbosity);
        progress.update(done, self.running_score());
        let usage = ask(&answered, &mut |index, answer: A| {
            self.context.control.check()?;
            journal.push(index, &answer)?;
            self.take(index, answer.clone().into());
            answers[index] = Some(answer);
            done += 1;
            progress.update(done, self.running_score());
            Ok(())
        })?;
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

    /// Computes some requests again, alone; which ones depends on the run's id and the task's name only.
    fn self_check(&self, requests: usize, mut again: impl FnMut(usize) -> Result<Checked, EngineError>) -> Result<SelfCheck, RunError> {
        let mut check = SelfCheck::default();
        for index in self.chosen(requests) {
            self.context.control.check().map_err(RunError::Stopped)?;
            let Checked { delta, flipped, cost } = again(index)?;
            check.n += 1;
            check.max_delta = check.max_delta.max(delta);
            check.flips += u64::from(flipped);
            check.tokens += cost.tokens_computed;
        }
        Ok(check)
    }

    fn chosen(&self, requests: usize) -> Vec<usize> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a number of requests")]
        let share = (requests as f64 * SELF_CHECK_SHARE).ceil() as usize;
        let name = &self.task.spec().name;
        let mut order: Vec<(String, usize)> =
            (0..requests).map(|index| (hex::encode(Sha256::digest(format!("{}/{name}/{index}", self.context.run_id))), index)).collect();
        order.sort_unstable();
        let mut chosen: Vec<usize> = order.into_iter().take(share.max(self.context.self_check_least)).map(|(_, index)| index).collect();
        chosen.sort_unstable();
        chosen
    }

    fn responses(self) -> Vec<Vec<Response>> {
        self.responses.into_iter().map(|responses| responses.into_iter().flatten().collect()).collect()
    }
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

/// One request computed a second time.
struct Checked {
    delta: f64,
    flipped: bool,
    cost: Usage,
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
    instances: &'a [Instance],
    responses: &'a [Vec<Response>],
    scores: &'a [DocumentScore],
    executed: &'a [Vec<Executed>],
) -> impl Iterator<Item = SampleLine> + 'a {
    instances.iter().zip(responses).zip(scores.iter().zip(executed)).map(|((instance, responses), (score, executed))| SampleLine {
        doc_id: instance.doc_id as u64,
        doc_hash: instance.doc_hash.clone(),
        prompt_hash: instance.prompt_hash.clone(),
        target_hash: instance.target_hash.clone(),
        target: instance.target.clone(),
        arguments: instance.arguments().as_array().cloned().unwrap_or_default(),
        resps: responses.iter().map(Response::to_json).collect(),
        filtered_resps: ordered(&score.filtered_resps),
        metrics: ordered(&score.metrics),
        details: (!executed.is_empty()).then(|| serde_json::json!({ "programs": executed })),
    })
}

fn ordered(map: &serde_json::Map<String, serde_json::Value>) -> BTreeMap<String, serde_json::Value> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
