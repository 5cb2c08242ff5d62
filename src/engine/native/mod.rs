//! The native engine: one decoder described by data, computed by matrix products on the processor.
//!
//! - [`families`] reads `config.json` and the tensors into a [`decoder::Decoder`]; an architecture is a small table there.
//! - [`forest`] cuts a plan of shared prefixes into batches of rows.
//! - [`forward`] computes a batch; [`generation`] continues prompts with it.
//!
//! Everything is computed in f32. A batch is a function of all requests of a call, whatever is answered already, so that a resumed run gives
//! the same bits.

mod attention;
mod decoder;
mod families;
mod fields;
mod forest;
mod forward;
mod generation;
mod kernels;
mod product;
mod rope;
#[cfg(test)]
mod tests;
mod weights;

use super::answers::{self, Done, Value};
use super::plan::{Plan, Sharing};
use super::tokenizer::{ModelTokenizer, ScoredTokens};
use super::{
    ChatMessage, DType, Device, EngineDescription, EngineError, Generation, GenerationRequest, LanguageModel, Loglikelihood,
    LoglikelihoodRequest, ModelSource, Options, RollingLoglikelihood, Sink, Timing, TokenId, Usage, WeightForm,
};
use attention::Cache;
use decoder::Decoder;
use forest::{BatchReading, Forest, Stretch};
use forward::{Batch, Workspace};
use rayon::prelude::*;
use std::sync::Arc;

/// Version of the engine, part of a run's identity: raised whenever a number may change.
const VERSION: &str = "1";

/// Memory for the rows of a batch: buffers, and keys and values of all layers.
const BATCH_BYTES: usize = 320 << 20;

/// Most rows of a batch: more make matrix products no faster.
const MOST_ROWS: usize = 2048;

/// Fewest rows of a batch, whatever the memory.
const LEAST_ROWS: usize = 64;

/// Memory for logits.
const LOGITS_BYTES: usize = 48 << 20;

/// A model that the native engine computes.
pub(super) struct NativeModel {
    tokenizer: Arc<ModelTokenizer>,
    decoder: Decoder,
    work: Workspace,
    logits: Vec<f32>,
    rows: usize,
}

impl NativeModel {
    /// Loads a model folder.
    pub(super) fn load(source: &ModelSource<'_>, options: &Options) -> Result<Self, EngineError> {
        if !matches!(options.device, Device::Auto | Device::Cpu) {
            return Err(EngineError::Load(format!(
                "the native engine computes on the processor, not on the device `{}`; choose --engine mistralrs for it",
                options.device
            )));
        }
        if source.weights != WeightForm::Safetensors {
            return Err(EngineError::Load(
                "the native engine computes safetensors weights as they are; GGUF files and quantized levels need --engine mistralrs"
                    .to_owned(),
            ));
        }
        if !matches!(options.dtype, DType::Auto | DType::F32) {
            return Err(EngineError::Load(format!(
                "the native engine computes in f32, which represents bf16 and f16 weights exactly, not in {}; add --dtype f32",
                options.dtype
            )));
        }
        let tokenizer = ModelTokenizer::load(source.dir)?;
        let mut decoder = families::load(source.dir)?;
        if let Some(longest) = decoder.longest
            && tokenizer.max_length() > longest
        {
            return Err(EngineError::Load(format!(
                "{}: the window is {} tokens, and positions are defined for {longest}",
                source.dir.display(),
                tokenizer.max_length()
            )));
        }
        decoder.reach(tokenizer.max_length());
        let per_row = decoder.bytes_per_row() + decoder.bytes_per_place();
        let rows = (BATCH_BYTES / per_row).clamp(LEAST_ROWS, MOST_ROWS);
        Ok(Self { tokenizer: Arc::new(tokenizer), decoder, work: Workspace::default(), logits: Vec::new(), rows })
    }

    /// Whether the architecture of a configuration has a table here.
    #[cfg_attr(not(feature = "engine"), expect(dead_code, reason = "without mistral.rs there is no choice"))]
    pub(super) fn knows(config: &serde_json::Map<String, serde_json::Value>) -> bool {
        families::knows(config)
    }

    /// Refuses tokens that the embedding or the head does not have.
    fn check_tokens<'a>(&self, tokens: impl Iterator<Item = &'a TokenId>) -> Result<(), EngineError> {
        let known = self.decoder.embedding.rows.min(self.decoder.vocabulary());
        match tokens.copied().find(|&token| token as usize >= known) {
            None => Ok(()),
            Some(token) => Err(EngineError::Computation(format!(
                "token {token} is beyond the model's vocabulary of {known}: tokenizer and weights differ"
            ))),
        }
    }

    /// Runs a plan and hands each completed request's values on, in the order of the plan.
    fn run(&mut self, requests: &[ScoredTokens], answered: &[bool], usage: &mut Usage, done: &mut Done<'_>) -> Result<(), EngineError> {
        for request in requests {
            self.check_tokens(request.input.iter().chain(&request.targets))?;
        }
        let plan = Plan::new(requests, Sharing { least: 0, longest: usize::MAX });
        let forest = Forest::new(&plan, requests, self.rows);
        usage.tokens_computed += u64::try_from(plan.tokens()).unwrap_or(u64::MAX);
        let needed = plan.needed(answered);
        // The first places of the cache hold the path to a batch's first row, the others the batch.
        let line = (0..forest.len()).map(|batch| forest.depth(batch)).max().unwrap_or(0);
        let most = (0..forest.len()).map(|batch| forest.rows(batch).len()).max().unwrap_or(0);
        let mut cache = Cache::new(&self.decoder, line + most);
        let mut values = vec![Value::default(); plan.readings];
        for index in (0..forest.len()).filter(|&index| forest.computes(index, &needed)) {
            let depth = forest.depth(index);
            let (batch, end) = forest.batch(index, line, vec![Stretch::new(0, 0, depth)].into_iter().filter(|_| depth > 0).collect());
            self.read_off(&batch, &forest.readings(index), &mut cache, &mut values);
            usage.tokens_recomputed += u64::try_from(forest.repeated(index, answered)).unwrap_or(u64::MAX);
            for stretch in end.iter().filter(|stretch| stretch.slot >= line) {
                let length = stretch.length.min(line.saturating_sub(stretch.position));
                cache.copy(stretch.slot, stretch.position, length);
            }
            for request in forest.completes(index) {
                if !answered.get(request).copied().unwrap_or(false) {
                    done(request, &values[plan.slots[request].clone()])?;
                }
            }
        }
        Ok(())
    }

    /// Computes a batch and its log-probabilities.
    fn read_off(&mut self, batch: &Batch, readings: &[BatchReading], cache: &mut Cache, values: &mut [Value]) {
        let rows: Vec<&[BatchReading]> = readings.chunk_by(|left, right| left.row == right.row).collect();
        let wanted: Vec<usize> = rows.iter().map(|readings| readings[0].row).collect();
        let hidden = self.decoder.forward(batch, &wanted, cache, &mut self.work);
        let width = self.decoder.head.inputs();
        let vocabulary = self.decoder.vocabulary();
        let at_once = (LOGITS_BYTES / (4 * vocabulary)).max(16);
        for (hidden, rows) in hidden.chunks(at_once * width).zip(rows.chunks(at_once)) {
            self.decoder.logits(hidden, &mut self.logits);
            let found: Vec<Vec<(usize, Value)>> = self.logits[..rows.len() * vocabulary]
                .par_chunks_exact(vocabulary)
                .zip(rows)
                .map(|(logits, readings)| {
                    let (top, log_sum) = kernels::normaliser(logits);
                    let value = |reading: &BatchReading| {
                        let target = reading.target as usize;
                        (reading.slot, Value { logprob: f64::from(logits[target]) - log_sum, is_top: top == target })
                    };
                    readings.iter().map(value).collect()
                })
                .collect();
            for (slot, value) in found.into_iter().flatten() {
                values[slot] = value;
            }
        }
    }

    /// Scores inputs by whole forward passes, one for each run of equal inputs.
    fn alone(&mut self, requests: &[ScoredTokens], usage: &mut Usage) -> Result<Vec<Vec<Value>>, EngineError> {
        let mut all = Vec::with_capacity(requests.len());
        for same in requests.chunk_by(|left, right| left.input == right.input) {
            let mut values = vec![Vec::new(); same.len()];
            let mut cost = Usage::default();
            self.run(same, &[], &mut cost, &mut |index, found| {
                values[index] = found.to_vec();
                Ok(())
            })?;
            usage.tokens_computed += cost.tokens_computed;
            all.append(&mut values);
        }
        Ok(all)
    }
}

impl LanguageModel for NativeModel {
    fn description(&self) -> EngineDescription {
        EngineDescription { name: "native".to_owned(), version: VERSION.to_owned(), device: "cpu".to_owned(), dtype: "f32".to_owned() }
    }

    fn max_length(&self) -> usize {
        self.tokenizer.max_length()
    }

    fn deviations(&self) -> Vec<String> {
        answers::deviations(&self.tokenizer)
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
        self.generate(requests, answered, sink)
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
        let mut answer = None;
        let usage = self.generate(std::slice::from_ref(request), &[], &mut |_, generation| {
            answer = Some(generation);
            Ok(())
        })?;
        let answer = answer.ok_or_else(|| EngineError::Computation("the generation ended without an answer".to_owned()))?;
        Ok((answer, usage))
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError> {
        self.tokenizer.prompt_tokens(prompt)
    }

    fn render_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError> {
        self.tokenizer.render_chat(messages, add_generation_prompt)
    }
}

#[cfg(test)]
mod checks {
    use super::*;
    use std::path::Path;

    /// Computed again, by one pass for each context and nothing shared between contexts, requests have the same values.
    #[test]
    fn requests_computed_again_have_the_same_values() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
        let mut model = NativeModel::load(&ModelSource::folder(&folder), &Options::default()).expect("loads");
        let request = |context: usize, letter: &str| LoglikelihoodRequest {
            context: format!("{}Question {context}: which one?\nAnswer:", "The sun is a star. ".repeat(20)),
            continuation: format!(" {letter}"),
        };
        let requests: Vec<LoglikelihoodRequest> =
            (0..3).flat_map(|context| ["A", "B", "C", "D"].map(|letter| request(context, letter))).collect();
        let mut shared = Vec::new();
        let once = model
            .loglikelihood(&requests, &[], &mut |index, answer| {
                shared.push((index, answer));
                Ok(())
            })
            .expect("scores");
        shared.sort_by_key(|(index, _)| *index);
        let mut again = Vec::new();
        let cost = model
            .loglikelihoods_again(&requests, &mut |index, answer| {
                again.push((index, answer));
                Ok(())
            })
            .expect("scores");
        for ((index, left), (other, right)) in shared.iter().zip(&again) {
            assert_eq!(index, other);
            assert!((left.value - right.value).abs() < 1e-4 && left.is_greedy == right.is_greedy, "{index}: {left:?} {right:?}");
        }
        assert_eq!(again.len(), requests.len());
        assert_eq!(cost.tokens_nominal, once.tokens_nominal);
        assert_eq!(4 * cost.tokens_computed, cost.tokens_nominal, "one pass for the four letters");
        assert!(once.tokens_computed < cost.tokens_computed);
    }
}
