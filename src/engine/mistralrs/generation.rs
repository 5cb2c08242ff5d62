//! Writing text: the token ids are taken, and the stop rules applied, where the engine asks its logits processor.

use super::{MistralRsModel, Runner, answer, fed_by, lock, of_request, request, stopped_thread, unexpected};
use crate::engine::plan::{Pass, Plan, Sharing};
use crate::engine::sampling::Sampler;
use crate::engine::tokenizer::{EncodedPrompt, ModelTokenizer, ScoredTokens, StopString};
use crate::engine::{Decoding, EngineError, Finish, Generation, GenerationRequest, Sink, TokenId, Usage};
use ::mistralrs::core::{CustomLogitsProcessor, Response};
use candle_core::Tensor;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, channel};

/// How often the engine is asked for errors while it writes.
const WATCH: Duration = Duration::from_millis(100);

/// Shared beginnings of prompts with fewer tokens are computed again.
const LEAST_SHARED: usize = 16;

/// What a prompt has to do with the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Tokens of the prompt that are on the line.
    pub(super) start: usize,
    /// Whether the others are put on it.
    pub(super) keep: bool,
}

impl MistralRsModel {
    /// Continues prompts, in the order of a plan: what they share is computed once. Prompts are written one after the other, because a
    /// batch would change the last bits of the logits with its company.
    pub(super) fn generate_all(
        &mut self,
        requests: &[GenerationRequest],
        answered: &[bool],
        usage: &mut Usage,
        sink: &mut Sink<'_, Generation>,
    ) -> Result<(), EngineError> {
        let prompts: Result<Vec<EncodedPrompt>, EngineError> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| {
                self.tokenizer.prompt(&request.context, request.max_new_tokens).map_err(|error| of_request(index, error))
            })
            .collect();
        let prompts = prompts?;
        // What is generated has no target; the plan only needs to know that the last row is read.
        let inputs: Vec<ScoredTokens> =
            prompts.iter().map(|prompt| ScoredTokens { input: prompt.tokens.clone(), targets: vec![0] }).collect();
        // What is written stands in the same cache, and the prompt must still be in it afterwards.
        let written = requests.iter().map(|request| request.max_new_tokens).max().unwrap_or(0);
        let longest = self.longest_shared.saturating_sub(written);
        let plan = Plan::new(&inputs, Sharing { least: LEAST_SHARED, longest });
        let repeated = |pass: &Pass| {
            let others = pass.completes.iter().filter(|&&other| other != pass.request && pass.fed.end <= longest);
            others.map(|&other| inputs[other].input.len() - 1).max()
        };
        let places = plan.passes.iter().map(|pass| pass.fed.start.max(repeated(pass).unwrap_or(0))).max().unwrap_or(0);
        self.lay_line(places, usage)?;

        let open = |request: usize| !answered.get(request).copied().unwrap_or(false);
        for (pass, _) in plan.passes.iter().zip(plan.needed(answered)).filter(|(_, needed)| *needed) {
            let first = pass.request;
            let keep = pass.fed.end <= longest;
            let is_same = |other: usize| requests[other] == requests[first] && requests[other].decoding == Decoding::Greedy;
            let mut answer = None;
            if open(first) || pass.completes.iter().any(|&other| open(other) && is_same(other)) {
                let mut cost = Usage::default();
                let generation = self
                    .generate(&requests[first], &prompts[first], Place { start: pass.fed.start, keep }, &mut cost)
                    .map_err(|error| of_request(first, error))?;
                if open(first) {
                    usage.add(&cost);
                    sink(first, generation.clone()).map_err(EngineError::Stopped)?;
                } else {
                    usage.tokens_recomputed += cost.tokens_computed + cost.tokens_recomputed;
                }
                answer = Some(generation);
            } else if keep {
                let (from, _) = self.forward(&prompts[first].tokens, pass.fed.start, pass.fed.end)?;
                usage.tokens_recomputed += fed_by(from, pass.fed.end);
            }
            // Prompts that the first one begins with, or equals, have all but their last token on the line now.
            for &other in pass.completes.iter().filter(|&&other| other != first && open(other)) {
                let generation = match &answer {
                    Some(answer) if is_same(other) => {
                        usage.tokens_nominal += answer.tokens_nominal;
                        usage.truncated += u64::from(answer.truncated);
                        Generation { tokens_computed: 0, ..answer.clone() }
                    }
                    _ => {
                        let start = if keep { prompts[other].tokens.len() - 1 } else { 0 };
                        self.generate(&requests[other], &prompts[other], Place { start, keep: false }, usage)
                            .map_err(|error| of_request(other, error))?
                    }
                };
                sink(other, generation).map_err(EngineError::Stopped)?;
            }
        }
        Ok(())
    }

    /// Continues one prompt.
    pub(super) fn generate(
        &mut self,
        generation: &GenerationRequest,
        prompt: &EncodedPrompt,
        place: Place,
        usage: &mut Usage,
    ) -> Result<Generation, EngineError> {
        if generation.max_new_tokens == 0 {
            return Err(EngineError::Request("max_new_tokens is 0".to_owned()));
        }
        let stops = self.tokenizer.stop_strings(&generation.until)?;
        let (writer, outcome) = Writer::new(&self.tokenizer, generation, stops.clone())?;
        let writer = Arc::new(writer);

        let (sender, receiver) = channel(generation.max_new_tokens + 16);
        *writer.receiver() = Some(receiver);
        let (runner, from, tokens) = self.on_line(&prompt.tokens, place.start);
        let mut request = request(tokens, sender);
        // Streamed, because only a streamed request ends when nobody listens any more.
        request.is_streaming = true;
        request.logits_processors = Some(vec![Arc::clone(&writer) as Arc<dyn CustomLogitsProcessor>]);
        runner.send(request)?;
        let (token_ids, finish) = wait(&writer, &outcome)??;
        // The engine computes at least one step more after its first.
        runner.settle(&writer)?;
        if place.keep {
            self.keep_on_line(from, prompt.tokens.len())?;
        }

        let length = |tokens: usize| u64::try_from(tokens).unwrap_or(u64::MAX);
        let tokens_nominal = length(prompt.tokens.len() + token_ids.len() - 1);
        let tokens_computed = length(prompt.tokens.len() - place.start + token_ids.len().max(2) - 1);
        usage.tokens_computed += tokens_computed;
        usage.tokens_nominal += tokens_nominal;
        usage.tokens_recomputed += length(place.start - from);
        usage.truncated += u64::from(prompt.truncated);
        let text = self.tokenizer.generated_text(&token_ids, &stops)?;
        Ok(Generation { text, token_ids, finish, truncated: prompt.truncated, tokens_nominal, tokens_computed })
    }
}

type Written = Result<(Vec<TokenId>, Finish), EngineError>;

/// Waits for the end of a generation, and looks now and then whether the engine reports an error instead.
fn wait(writer: &Writer, outcome: &mpsc::Receiver<Written>) -> Result<Written, EngineError> {
    loop {
        match outcome.recv_timeout(WATCH) {
            Ok(written) => return Ok(written),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(stopped_thread()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let mut receiver = writer.receiver();
        // Without a receiver the generation is over, and its outcome is on the way.
        while let Some(open) = receiver.as_mut() {
            match open.try_recv() {
                Ok(Response::CompletionChunk(_) | Response::Chunk(_)) => {}
                Ok(other) => return Err(unexpected(other)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(stopped_thread()),
            }
        }
    }
}

/// Chooses the tokens of one generation.
struct Writer {
    tokenizer: Arc<ModelTokenizer>,
    stops: Vec<StopString>,
    max_new_tokens: usize,
    state: Mutex<State>,
    /// Dropped to end the generation.
    receiver: Mutex<Option<Receiver<Response>>>,
    outcome: mpsc::Sender<Written>,
    /// Shows as text, so that the engine notices that nobody listens: it keeps back tokens that end within a character.
    visible: TokenId,
}

struct State {
    written: Vec<TokenId>,
    over: bool,
    sampler: Sampler,
}

impl Writer {
    fn new(
        tokenizer: &Arc<ModelTokenizer>,
        generation: &GenerationRequest,
        stops: Vec<StopString>,
    ) -> Result<(Self, mpsc::Receiver<Written>), EngineError> {
        let (sender, outcome) = mpsc::channel();
        let writer = Self {
            tokenizer: Arc::clone(tokenizer),
            stops,
            max_new_tokens: generation.max_new_tokens,
            state: Mutex::new(State { written: Vec::new(), over: false, sampler: Sampler::new(generation.decoding) }),
            receiver: Mutex::new(None),
            outcome: sender,
            visible: tokenizer.encode("a", Some(false))?.last().copied().unwrap_or(0),
        };
        Ok((writer, outcome))
    }

    fn receiver(&self) -> MutexGuard<'_, Option<Receiver<Response>>> {
        lock(&self.receiver)
    }

    fn finish_after(&self, written: &[TokenId]) -> Result<Option<Finish>, EngineError> {
        Ok(match written.last() {
            Some(last) if self.tokenizer.end_tokens().contains(last) => Some(Finish::EndOfSequence),
            _ if self.tokenizer.stops(written, &self.stops)? => Some(Finish::StopString),
            _ if written.len() >= self.max_new_tokens => Some(Finish::Length),
            _ => None,
        })
    }

    /// The next token; afterwards the generation may be over.
    fn next(&self, logits: &[f32]) -> TokenId {
        let mut state = lock(&self.state);
        if state.over {
            return self.visible;
        }
        let chosen = state.sampler.choose(logits).and_then(|token| {
            state.written.push(token);
            self.finish_after(&state.written)
        });
        let outcome = match chosen {
            Ok(None) => return state.written.last().copied().unwrap_or(0),
            Ok(Some(finish)) => Ok((state.written.clone(), finish)),
            Err(error) => Err(error),
        };
        state.over = true;
        let last = state.written.last().copied().unwrap_or(0);
        drop(state);
        // First nobody listens, then the outcome is told: the engine's next message fails, and with it the generation ends.
        *self.receiver() = None;
        // Whoever waited may have given up on an error of the engine; then there is nobody to tell.
        let _ = self.outcome.send(outcome);
        last
    }
}

impl CustomLogitsProcessor for Writer {
    fn apply(&self, logits: &Tensor, _context: &[u32]) -> candle_core::Result<Tensor> {
        let row = logits.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        one_hot(self.next(&row), row.len(), logits)
    }
}

/// Logits that leave the engine one choice.
fn one_hot(token: TokenId, size: usize, like: &Tensor) -> candle_core::Result<Tensor> {
    let mut row = vec![0f32; size];
    if let Some(place) = usize::try_from(token).ok().and_then(|token| row.get_mut(token)) {
        *place = 1e4;
    }
    Tensor::from_vec(row, size, like.device())?.to_dtype(like.dtype())
}

/// Sends a request of fillers that leaves `places` places of keys and values in the engine's prefix cache: all but one as the prompt, the
/// last as the one token that it writes before it ends.
pub(super) fn lay(runner: &Runner, filler: TokenId, places: usize) -> Result<(), EngineError> {
    let (sender, mut receiver) = channel(4);
    let mut request = request(vec![filler; places - 1], sender);
    request.sampling_params.max_len = Some(2);
    let only_fillers = move |logits: &Tensor, _: &[u32]| one_hot(filler, logits.elem_count(), logits);
    let held = Arc::new(());
    request.logits_processors = Some(vec![Arc::new(only_fillers), Arc::new(super::Tagged(Arc::clone(&held)))]);
    runner.send(request)?;
    match answer(&mut receiver)? {
        Response::CompletionDone(_) => runner.settle(&held),
        other => Err(unexpected(other)),
    }
}
