//! The adapter to mistral.rs, which runs in this process.
//!
//! mistral.rs serves conversations, so three things are bent to scoring:
//!
//! - **One line of cached keys and values.** The prefix cache of mistral.rs is used through a single entry, the *line*: keyed by a run of
//!   one filler token, its tensors are overwritten in place with the keys and values of the path that the plan is walking. A pass that
//!   shares `n` tokens is sent as `n` fillers and the tokens after them: the engine takes the first `n` places from the line and feeds
//!   only the rest. So the cache holds one input, whatever the number of requests, and every row's logits come with the pass that
//!   computes it. The filler never reaches the model again after the line has been laid.
//! - **One token too many.** After each request the engine computes one more decode step whose result nobody sees. It is counted in
//!   `tokens_computed`, and the next request waits until it is over.
//! - **Generation by ids.** The text that the engine returns has lost its leading white space, so the ids are taken, and the stop rules
//!   applied, where the engine asks its logits processor; dropping the receiver ends the generation.
//!
//! A sliding window is one token too long: mistral.rs hides keys at a distance above the window, the published definition those at the
//! window or above. Texts within the window are not touched by it.
//!
//! A `repetition_penalty` in a model's `generation_config.json` is not applied: greedy decoding is the arg max of the model's own logits.
//! (The reference harness's `hf` back end applies it, its `vllm` back end does not.) [`LanguageModel::deviations`] records it.

mod generation;
mod timing;

use super::answers::{self, Value, of_request};
use super::gguf::GgufFile;
use super::plan::{Pass, Plan, Reading, Sharing};
use super::sampling::normaliser;
use super::staging::{CACHE_BLOCK, Staged};
use super::tokenizer::{ModelTokenizer, ScoredTokens};
use super::{
    ChatMessage, DType, Device, EngineDescription, EngineError, Generation, GenerationRequest, LanguageModel, Loglikelihood,
    LoglikelihoodRequest, ModelSource, Options, RollingLoglikelihood, Sink, Timing, TokenId, Usage, WeightForm,
};
use ::mistralrs::core::{
    CustomLogitsProcessor, DefaultSchedulerMethod, DeviceMapSetting, GGUFLoaderBuilder, GGUFSpecificConfig, IsqType, MistralRs,
    MistralRsBuilder, ModelDType, NormalRequest, Pipeline, Request, RequestMessage, Response, SamplingParams, SchedulerConfig, TokenSource,
    parse_isq_value,
};
use ::mistralrs::model_builder_trait::build_text_pipeline;
use candle_core::Tensor;
use generation::Place;
use rayon::prelude::*;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Version of the engine, part of a run's identity.
const VERSION: &str = "0.8.1";

/// Most bytes of logits that one pass may return; longer passes are cut. (Logits come back for every token fed.)
const LOGITS_BYTES: usize = 256 << 20;

/// Lines have a multiple of this many places.
const LINE_STEP: usize = 64;

/// Context of a GGUF file that states none (the loader's default).
const GGUF_CONTEXT: usize = 4096;

/// Pause between looks at an engine that is finishing its step.
const PAUSE: Duration = Duration::from_micros(50);

/// Entries of the engine's own prefix cache before it evicts any: more than lines are ever laid.
const CACHE_ENTRIES: usize = 1 << 20;

type SharedPipeline = Arc<tokio::sync::Mutex<dyn Pipeline>>;

/// A model loaded by mistral.rs.
pub(super) struct MistralRsModel {
    tokenizer: Arc<ModelTokenizer>,
    description: EngineDescription,
    pipeline: SharedPipeline,
    /// Computes whole inputs; keeps nothing.
    plain: Runner,
    /// Computes what follows a prefix on the line.
    lined: Runner,
    line: Option<Line>,
    lines_laid: usize,
    /// Longest input that may use the line: beyond it the cache cannot be rewound.
    longest_shared: usize,
    /// Most tokens per pass.
    longest_pass: usize,
    /// Tokens of the embedding; the last ones serve as fillers.
    vocabulary: usize,
    staged: Staged,
}

/// One engine thread.
struct Runner {
    sender: Sender<Request>,
    _engine: Arc<MistralRs>,
}

/// The cached keys and values of the current path, by layer: tensors of shape (1, heads, `places`, width) that share their storage with
/// the engine's cache entry.
struct Line {
    filler: TokenId,
    places: usize,
    layers: Vec<Option<(Tensor, Tensor)>>,
}

impl MistralRsModel {
    /// Loads a model from a folder.
    pub(super) fn load(source: &ModelSource<'_>, options: &Options) -> Result<Self, EngineError> {
        let mut tokenizer = ModelTokenizer::load(source.dir)?;
        let gguf = match source.weights {
            WeightForm::Gguf(files) => {
                let first = files.first().ok_or_else(|| EngineError::Load("no GGUF file was named".to_owned()))?;
                let gguf = GgufFile::read(first)?;
                gguf.check(&tokenizer, first)?;
                if let Some(length) = gguf.context_length {
                    tokenizer.limit_length(length);
                }
                Some(gguf)
            }
            WeightForm::Safetensors | WeightForm::Isq(_) => None,
        };
        let (bos, eos) = tokenizer.bos_and_eos();
        let mut staged = Staged::new(source.dir, source.weights, tokenizer.max_length(), bos, eos)?;
        if let Some(gguf) = gguf {
            // The cache's length stands in the file, and grows in whole blocks.
            let longest = gguf.context_length.unwrap_or(GGUF_CONTEXT);
            staged.cache_limit = longest - longest % CACHE_BLOCK;
            staged.vocabulary = gguf.vocabulary.or(staged.vocabulary);
        }
        let device = choose_device(options.device)?;
        let on_cpu = device == "cpu";
        let (dtype, dtype_name) = match options.dtype {
            DType::F32 => (ModelDType::F32, "f32"),
            DType::Bf16 if on_cpu => {
                let reason = "mistral.rs has no bf16 matrix product on the CPU; use --dtype f32 (the default there), which represents bf16 weights exactly";
                return Err(EngineError::Load(reason.to_owned()));
            }
            DType::F16 => (ModelDType::F16, "f16"),
            DType::Auto if on_cpu => (ModelDType::F32, "f32"),
            DType::Auto | DType::Bf16 => (ModelDType::BF16, "bf16"),
        };
        let folder = staged.path().to_string_lossy().into_owned();
        let weights = match source.weights {
            WeightForm::Safetensors => Weights::Safetensors(None),
            WeightForm::Isq(level) => Weights::Safetensors(Some(parse_isq_value(level, None).map_err(EngineError::Load)?)),
            WeightForm::Gguf(_) => Weights::Gguf(staged.gguf_files.clone()),
        };
        let (pipeline, plain, lined) = without_panic(move || load_pipeline(&folder, weights, dtype, on_cpu))
            .map_err(|problem| EngineError::Load(format!("mistral.rs cannot load {}: {problem}", source.dir.display())))?;

        let (rotating, vocabulary) = {
            let guard = pipeline.blocking_lock();
            #[expect(clippy::redundant_closure_for_method_calls, reason = "the type of a layer has no public path")]
            let rotating = guard.cache().normal().0.iter().any(|layer| layer.is_rotating());
            let known = tokenizer.vocabulary_size();
            (rotating, staged.vocabulary.map_or(known, |embedded| known.min(embedded)))
        };
        // One place less than the cache has, for the token that the engine computes too many; a sliding cache must not have slid.
        let window = if rotating { staged.sliding_window.unwrap_or(0) } else { usize::MAX };
        let longest_shared = staged.cache_limit.min(window).saturating_sub(1);
        Ok(Self {
            description: EngineDescription {
                name: "mistralrs".to_owned(),
                version: VERSION.to_owned(),
                device: device.to_owned(),
                dtype: dtype_name.to_owned(),
            },
            tokenizer: Arc::new(tokenizer),
            pipeline,
            plain,
            lined,
            line: None,
            lines_laid: 0,
            longest_shared,
            longest_pass: (LOGITS_BYTES / (4 * vocabulary.max(1))).max(64),
            vocabulary,
            staged,
        })
    }

    /// The model's sliding window, where one is in use.
    pub(super) fn sliding_window(&self) -> Option<usize> {
        self.staged.sliding_window
    }

    /// Runs a plan and hands each completed request's values on, in the order of the plan.
    fn run(
        &mut self,
        requests: &[ScoredTokens],
        answered: &[bool],
        usage: &mut Usage,
        done: &mut dyn FnMut(usize, &[Value]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let plan = Plan::new(requests, Sharing { least: 0, longest: self.longest_shared });
        let mut values = vec![Value::default(); plan.readings];
        let needed = plan.needed(answered);
        usage.tokens_computed += plan.passes.iter().map(|pass| self.cost(pass, requests)).sum::<u64>();
        if needed.contains(&true) {
            self.lay_line(self.places_for(&plan, requests), usage)?;
        }
        for (pass, _) in plan.passes.iter().zip(&needed).filter(|(_, needed)| **needed) {
            let fed = self.compute(pass, &requests[pass.request].input, &mut values)?;
            // What the plan does not know of was fed again: a token before the fillers, or a pass of an interrupted run.
            let is_repeated = pass.completes.iter().all(|&request| answered.get(request).copied().unwrap_or(false));
            usage.tokens_recomputed += fed.saturating_sub(if is_repeated { 0 } else { self.cost(pass, requests) });
            for &request in &pass.completes {
                if !answered.get(request).copied().unwrap_or(false) {
                    done(request, &values[plan.slots[request].clone()])?;
                }
            }
        }
        Ok(())
    }

    /// Number of pieces in which a pass is computed after the first.
    fn further_pieces(&self, pass: &Pass, requests: &[ScoredTokens]) -> usize {
        let shares = requests[pass.request].input.len() <= self.longest_shared;
        if shares { (pass.fed.len().max(1) - 1) / self.longest_pass } else { 0 }
    }

    /// Tokens that a pass feeds, the one too many of each piece included.
    fn cost(&self, pass: &Pass, requests: &[ScoredTokens]) -> u64 {
        u64::try_from(pass.fed.len() + 1 + self.further_pieces(pass, requests)).unwrap_or(u64::MAX)
    }

    /// Places that the line must have for a plan: up to the last place at which a pass, or a piece of one, begins.
    fn places_for(&self, plan: &Plan, requests: &[ScoredTokens]) -> usize {
        let begins = |pass: &Pass| pass.fed.start + self.further_pieces(pass, requests) * self.longest_pass;
        plan.passes.iter().map(begins).max().unwrap_or(0)
    }

    /// Computes one pass, in pieces where it is long, and reads its values off. Gives the number of tokens fed.
    fn compute(&mut self, pass: &Pass, input: &[TokenId], values: &mut [Value]) -> Result<u64, EngineError> {
        let mut fed = 0;
        let longest = if input.len() <= self.longest_shared { self.longest_pass } else { input.len().max(1) };
        let mut start = pass.fed.start;
        while start < pass.fed.end {
            let end = pass.fed.end.min(start + longest);
            let readings: Vec<Reading> = pass.readings.iter().copied().filter(|reading| (start..end).contains(&reading.row)).collect();
            let (first_row, logits) = self.forward(input, start, end)?;
            fed += fed_by(first_row, end);
            read_off(&logits, first_row, &readings, values)?;
            start = end;
        }
        Ok(fed)
    }

    /// Feeds the tokens from `start` to `end` of an input whose earlier ones are on the line. Gives the logits (rows × vocabulary) and the
    /// row that the first of them belongs to, and puts the new keys and values on the line.
    fn forward(&mut self, input: &[TokenId], start: usize, end: usize) -> Result<(usize, Tensor), EngineError> {
        let (runner, from, tokens) = self.on_line(&input[..end], start);
        let (logits, tag) = runner.raw_logits(tokens)?;
        let rows = logits.dim(0).map_err(computation)?;
        if rows != end - from {
            return Err(EngineError::Computation(format!(
                "mistral.rs returned logits for {rows} tokens where {} were fed: its prefix cache does not behave as expected",
                end - from
            )));
        }
        if input.len() <= self.longest_shared {
            self.keep_on_line(from, end)?;
        }
        runner.settle(&tag)?;
        Ok((from, logits))
    }

    /// The runner and the tokens to send it for an input whose first `start` tokens are on the line, and the row at which it really begins.
    fn on_line(&self, input: &[TokenId], start: usize) -> (&Runner, usize, Vec<TokenId>) {
        let Some(line) = &self.line else { return (&self.plain, 0, input.to_vec()) };
        // A filler right after the fillers would be taken for a part of the prefix: then the pass begins one token earlier.
        let mut from = start;
        while from > 0 && input[from] == line.filler {
            from -= 1;
        }
        if from == 0 {
            return (&self.plain, 0, input.to_vec());
        }
        let tokens = std::iter::repeat_n(line.filler, from).chain(input[from..].iter().copied()).collect();
        (&self.lined, from, tokens)
    }

    /// Copies the keys and values of the places `from..end` from the engine's cache to the line.
    fn keep_on_line(&self, from: usize, end: usize) -> Result<(), EngineError> {
        let Some(line) = &self.line else { return Ok(()) };
        let end = end.min(line.places);
        if from >= end {
            return Ok(());
        }
        let guard = self.pipeline.blocking_lock();
        let cache = guard.cache().normal();
        for (layer, kept) in cache.0.iter().zip(&line.layers) {
            let Some((kept_k, kept_v)) = kept else { continue };
            let (Some(k), Some(v)) = (layer.k().map_err(computation)?, layer.v().map_err(computation)?) else {
                return Err(EngineError::Computation("mistral.rs keeps no keys and values after a pass".to_owned()));
            };
            for (new, kept) in [(k, kept_k), (v, kept_v)] {
                overwrite(kept, &new, from, end).map_err(computation)?;
            }
        }
        Ok(())
    }

    /// Lays a line of at least `places` places, where the present one is shorter: a request of fillers that ends in the engine's cache.
    fn lay_line(&mut self, places: usize, usage: &mut Usage) -> Result<(), EngineError> {
        let places = places.min(self.longest_shared);
        if places == 0 || self.line.as_ref().is_some_and(|line| line.places >= places) {
            return Ok(());
        }
        // Room to spare, so that calls of slowly growing requests do not lay a line each.
        let grown = self.line.as_ref().map_or(0, |line| line.places + line.places / 2);
        let places = places.next_multiple_of(LINE_STEP).max(grown).min(self.longest_shared);
        self.lines_laid += 1;
        let filler = self
            .vocabulary
            .checked_sub(self.lines_laid)
            .and_then(|id| TokenId::try_from(id).ok())
            .ok_or_else(|| EngineError::Computation("the vocabulary is too small for the shared cache".to_owned()))?;
        // The entry must be made by the second step: the engine would make another after the first.
        generation::lay(&self.lined, filler, places)?;
        let mut layers = Vec::new();
        {
            let guard = self.pipeline.blocking_lock();
            let cache = guard.cache().normal();
            for layer in &cache.0 {
                let pair = match (layer.k().map_err(computation)?, layer.v().map_err(computation)?) {
                    (Some(k), Some(v)) => Some((k, v)),
                    _ => None,
                };
                if let Some((k, _)) = &pair
                    && k.dim(2).map_err(computation)? != places
                {
                    return Err(EngineError::Computation(format!("mistral.rs keeps {:?} keys, not those of {places} places", k.shape())));
                }
                layers.push(pair);
            }
        }
        usage.tokens_recomputed += u64::try_from(places).unwrap_or(u64::MAX);
        self.line = Some(Line { filler, places, layers });
        Ok(())
    }

    /// Scores inputs by whole forward passes, one for each run of equal inputs.
    fn alone(&mut self, requests: &[ScoredTokens], usage: &mut Usage) -> Result<Vec<Vec<Value>>, EngineError> {
        let mut all = Vec::with_capacity(requests.len());
        for same in requests.chunk_by(|left, right| left.input == right.input) {
            let input = &same[0].input;
            let (logits, tag) = self.plain.raw_logits(input.clone())?;
            self.plain.settle(&tag)?;
            usage.tokens_computed += u64::try_from(input.len()).unwrap_or(u64::MAX) + 1;
            for request in same {
                let readings: Vec<Reading> = request
                    .targets
                    .iter()
                    .enumerate()
                    .map(|(slot, &target)| Reading { row: request.first_row() + slot, target, slot })
                    .collect();
                let mut values = vec![Value::default(); readings.len()];
                read_off(&logits, 0, &readings, &mut values)?;
                all.push(values);
            }
        }
        Ok(all)
    }
}

impl LanguageModel for MistralRsModel {
    fn description(&self) -> EngineDescription {
        self.description.clone()
    }

    fn max_length(&self) -> usize {
        self.tokenizer.max_length()
    }

    fn deviations(&self) -> Vec<String> {
        let mut deviations = answers::deviations(&self.tokenizer);
        deviations.extend(self.staged.sliding_window.filter(|&window| window < self.max_length()).map(|window| {
            format!(
                "mistral.rs lets each token of a prompt see one token more than the sliding window of {window}, once the text is longer"
            )
        }));
        deviations
    }

    fn weights_note(&self) -> Option<String> {
        self.staged.weights_note.clone()
    }

    fn time_generation(&mut self, prompt_tokens: usize, new_tokens: usize) -> Result<Timing, EngineError> {
        self.time(prompt_tokens, new_tokens)
    }

    fn loglikelihood(
        &mut self,
        requests: &[LoglikelihoodRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        let tokenizer = Arc::clone(&self.tokenizer);
        answers::loglikelihood(&tokenizer, requests, answered, sink, &mut |scored, answered, usage, done| {
            self.run(scored, answered, usage, done)
        })
    }

    fn loglikelihood_rolling(
        &mut self,
        texts: &[String],
        answered: &[bool],
        sink: &mut Sink<'_, RollingLoglikelihood>,
    ) -> Result<Usage, EngineError> {
        let tokenizer = Arc::clone(&self.tokenizer);
        answers::loglikelihood_rolling(&tokenizer, texts, answered, sink, &mut |windows, answered, usage, done| {
            self.run(windows, answered, usage, done)
        })
    }

    fn generate_until(
        &mut self,
        requests: &[GenerationRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError> {
        let begun = Instant::now();
        let mut usage = Usage::default();
        self.generate_all(requests, answered, &mut usage, sink)?;
        usage.seconds = begun.elapsed().as_secs_f64();
        Ok(usage)
    }

    fn loglikelihood_alone(&mut self, request: &LoglikelihoodRequest) -> Result<(Loglikelihood, Usage), EngineError> {
        let tokenizer = Arc::clone(&self.tokenizer);
        answers::loglikelihood_alone(&tokenizer, request, &mut |scored, usage| self.alone(scored, usage))
    }

    fn loglikelihoods_again(
        &mut self,
        requests: &[LoglikelihoodRequest],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        let tokenizer = Arc::clone(&self.tokenizer);
        answers::loglikelihoods_again(&tokenizer, requests, sink, &mut |scored, usage| self.alone(scored, usage))
    }

    fn loglikelihood_rolling_alone(&mut self, text: &str) -> Result<(RollingLoglikelihood, Usage), EngineError> {
        let tokenizer = Arc::clone(&self.tokenizer);
        answers::loglikelihood_rolling_alone(&tokenizer, text, &mut |windows, usage| self.alone(windows, usage))
    }

    fn generate_alone(&mut self, request: &GenerationRequest) -> Result<(Generation, Usage), EngineError> {
        let begun = Instant::now();
        let mut usage = Usage::default();
        let prompt = self.tokenizer.prompt(&request.context, request.max_new_tokens)?;
        let generation = self.generate(request, &prompt, Place { start: 0, keep: false }, &mut usage)?;
        usage.seconds = begun.elapsed().as_secs_f64();
        Ok((generation, usage))
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError> {
        self.tokenizer.prompt_tokens(prompt)
    }

    fn render_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError> {
        self.tokenizer.render_chat(messages, add_generation_prompt)
    }
}

impl Runner {
    async fn start(pipeline: &SharedPipeline, keeps_prefixes: bool) -> Result<Self, String> {
        // One sequence at a time: the superfluous step of a request is over before the next request begins.
        let scheduler = SchedulerConfig::DefaultScheduler { method: DefaultSchedulerMethod::Fixed(NonZeroUsize::MIN) };
        let engine = MistralRsBuilder::new(Arc::clone(pipeline), scheduler, false, None)
            .with_no_prefix_cache(!keeps_prefixes)
            .with_prefix_cache_n(CACHE_ENTRIES)
            .with_disable_eos_stop(true)
            .build()
            .await;
        let sender = engine.get_sender(None).map_err(|error| error.to_string())?;
        Ok(Self { sender, _engine: engine })
    }

    fn send(&self, request: NormalRequest) -> Result<(), EngineError> {
        self.sender.blocking_send(Request::Normal(Box::new(request))).map_err(|_| stopped_thread())
    }

    /// Logits of the tokens that the engine feeds: rows × vocabulary. [`Runner::settle`] must follow before the next request.
    fn raw_logits(&self, tokens: Vec<TokenId>) -> Result<(Tensor, Tag), EngineError> {
        let (sender, receiver) = channel(4);
        let tag: Tag = Arc::new(Mutex::new(receiver));
        let mut request = request(tokens, sender);
        request.return_raw_logits = true;
        request.logits_processors = Some(vec![Arc::new(Tagged(Arc::clone(&tag)))]);
        self.send(request)?;
        let response = answer(&mut lock(&tag))?;
        match response {
            Response::Raw { mut logits_chunks, .. } if logits_chunks.len() == 1 => Ok((logits_chunks.remove(0), tag)),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until the engine has let go of a request, its superfluous step included: what it holds of the request is gone then.
    fn settle<T>(&self, held: &Arc<T>) -> Result<(), EngineError> {
        while Arc::strong_count(held) > 1 {
            if self.sender.is_closed() {
                return Err(stopped_thread());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Lives as long as the engine holds a request. It keeps the receiver: the engine must be able to report an error of its superfluous step.
type Tag = Arc<Mutex<Receiver<Response>>>;

/// Rides along with a request and leaves its logits as they are.
struct Tagged<T>(#[expect(dead_code, reason = "held for its reference count")] Arc<T>);

impl<T: Send + Sync> CustomLogitsProcessor for Tagged<T> {
    fn apply(&self, logits: &Tensor, _context: &[u32]) -> candle_core::Result<Tensor> {
        Ok(logits.clone())
    }
}

/// Tokens that a pass over some rows feeds, the superfluous step included.
fn fed_by(first_row: usize, end: usize) -> u64 {
    u64::try_from(end - first_row + 1).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A deterministic request for the continuation of `tokens`.
fn request(tokens: Vec<TokenId>, response: Sender<Response>) -> NormalRequest {
    let sampling = SamplingParams { temperature: Some(0.0), ..SamplingParams::deterministic() };
    NormalRequest::new_simple(RequestMessage::CompletionTokens(tokens), sampling, response, 0, None, None)
}

fn answer(receiver: &mut Receiver<Response>) -> Result<Response, EngineError> {
    receiver.blocking_recv().ok_or_else(stopped_thread)
}

fn unexpected(response: Response) -> EngineError {
    EngineError::Computation(match response {
        Response::InternalError(error) | Response::ValidationError(error) => described(&error),
        Response::ModelError(message, _) | Response::CompletionModelError(message, _) => described(&message),
        _ => "mistral.rs gave an answer of another kind than was asked for".to_owned(),
    })
}

fn stopped_thread() -> EngineError {
    EngineError::Computation("the engine's thread has stopped (its panic message is above)".to_owned())
}

fn computation(error: candle_core::Error) -> EngineError {
    EngineError::Computation(described(&error))
}

/// The engine's own words without the stack trace that it appends where `RUST_BACKTRACE` is set: reasons are published.
fn described(error: &dyn std::fmt::Display) -> String {
    format!("mistral.rs: {}", error.to_string().lines().next().unwrap_or("no reason given"))
}

/// Reads log-probabilities off logits whose first row is the input's row `first_row`. Rows that are not numbers give NaN.
fn read_off(logits: &Tensor, first_row: usize, readings: &[Reading], values: &mut [Value]) -> Result<(), EngineError> {
    let rows: Vec<&[Reading]> = readings.chunk_by(|left, right| left.row == right.row).collect();
    let found: Result<Vec<Vec<(usize, Value)>>, EngineError> = rows
        .par_iter()
        .map(|readings| {
            let row = logits
                .narrow(0, readings[0].row - first_row, 1)
                .and_then(|row| row.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>())
                .map_err(computation)?;
            let (top, log_sum) = normaliser(&row);
            readings
                .iter()
                .map(|reading| {
                    let target = usize::try_from(reading.target).unwrap_or(usize::MAX);
                    let logit = row.get(target).ok_or_else(|| {
                        EngineError::Computation(format!(
                            "token {target} is beyond the model's {} logits: tokenizer and weights differ",
                            row.len()
                        ))
                    })?;
                    Ok((reading.slot, Value { logprob: f64::from(*logit) - log_sum, is_top: top == target }))
                })
                .collect()
        })
        .collect();
    for (slot, value) in found?.into_iter().flatten() {
        values[slot] = value;
    }
    Ok(())
}

/// Copies the places `from..end` of one key or value tensor to another, in place. Head by head: what the cache shows of its tensors is
/// contiguous only within a head.
fn overwrite(kept: &Tensor, new: &Tensor, from: usize, end: usize) -> candle_core::Result<()> {
    for head in 0..kept.dim(1)? {
        let new = new.narrow(1, head, 1)?.narrow(2, from, end - from)?.contiguous()?;
        kept.narrow(1, head, 1)?.slice_set(&new, 2, from)?;
    }
    Ok(())
}

/// Checks that the device is there; gives its class.
pub(super) fn choose_device(wanted: Device) -> Result<&'static str, EngineError> {
    let cuda = || candle_core::Device::new_cuda(0);
    let metal = || candle_core::Device::new_metal(0);
    let missing = |name: &str, error: candle_core::Error| {
        EngineError::Load(format!("the device `{name}` is not available: {error} (it also needs a build with the feature `{name}`)"))
    };
    match wanted {
        Device::Cuda => cuda().map(|_| "cuda").map_err(|error| missing("cuda", error)),
        Device::Metal => metal().map(|_| "metal").map_err(|error| missing("metal", error)),
        Device::Auto if cuda().is_ok() => Ok("cuda"),
        Device::Auto if metal().is_ok() => Ok("metal"),
        Device::Auto | Device::Cpu => Ok("cpu"),
    }
}

/// Whether a model would be computed on the processor.
pub(super) fn computes_on_processor(device: Device) -> bool {
    choose_device(device).is_ok_and(|class| class == "cpu")
}

/// Weights in the staged folder.
enum Weights {
    Safetensors(Option<IsqType>),
    Gguf(Vec<String>),
}

fn load_pipeline(folder: &str, weights: Weights, dtype: ModelDType, on_cpu: bool) -> Result<(SharedPipeline, Runner, Runner), String> {
    // A runtime of one thread: on a larger one mistral.rs would put a request of its own into the prefix cache.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let pipeline = match weights {
            Weights::Safetensors(level) => {
                let mut builder = ::mistralrs::TextModelBuilder::new(folder)
                    .with_dtype(dtype)
                    .with_token_source(TokenSource::None)
                    .with_device_mapping(DeviceMapSetting::dummy());
                if let Some(level) = level {
                    builder = builder.with_isq(level);
                }
                if on_cpu {
                    builder = builder.with_force_cpu();
                }
                build_text_pipeline(builder).await.map_err(|error| format!("{error:#}"))?.0
            }
            Weights::Gguf(files) => load_gguf(folder, files, dtype, on_cpu)?,
        };
        let plain = Runner::start(&pipeline, false).await?;
        let lined = Runner::start(&pipeline, true).await?;
        Ok((pipeline, plain, lined))
    })
}

/// A GGUF file; not through mistral.rs's builder, which chooses the data type of the activations itself (f16 on the CPU).
fn load_gguf(folder: &str, files: Vec<String>, dtype: ModelDType, on_cpu: bool) -> Result<SharedPipeline, String> {
    let device = if on_cpu { Ok(candle_core::Device::Cpu) } else { ::mistralrs::best_device(false) };
    let device = device.map_err(|error| format!("{error:#}"))?;
    let tokenizer_folder = Some(folder.to_owned());
    let loader =
        GGUFLoaderBuilder::new(None, tokenizer_folder, folder.to_owned(), files, GGUFSpecificConfig::default(), false, None).build();
    let pipeline = loader.load_model_from_hf(None, TokenSource::None, &dtype, &device, true, DeviceMapSetting::dummy(), None, None);
    Ok(pipeline.map_err(|error| format!("{error:#}"))?)
}

/// Runs a closure on a thread of its own and turns a panic into a message.
fn without_panic<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let thread = std::thread::Builder::new().name("engine-load".to_owned()).spawn(work).map_err(|error| error.to_string())?;
    thread.join().unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("its loader stopped: {}", message.unwrap_or("for an unknown reason")))
    })
}
