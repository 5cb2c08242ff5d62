//! How a model answers: tokenising, log-likelihoods, generation, and the plan that computes no shared prefix twice.
//!
//! [`LanguageModel`] is what the other rooms see; nothing of a particular engine shows through it.

#[cfg(feature = "native")]
mod answers;
pub mod architectures;
#[cfg(feature = "engine")]
mod auto;
#[cfg(feature = "native")]
mod files;
#[cfg(feature = "engine")]
mod gguf;
#[cfg(feature = "engine")]
mod isq;
#[cfg(feature = "engine")]
mod mistralrs;
#[cfg(feature = "native")]
mod native;
mod options;
pub mod plan;
pub mod sampling;
#[cfg(feature = "engine")]
mod staging;
mod template;
pub mod tokenizer;

pub use options::{Choice, DType, Device, ModelSource, Options, WeightForm};

use serde::{Deserialize, Serialize};

/// Loads a model for evaluation.
///
/// [`Choice::Auto`] takes, on the processor and in f32: for architectures that both engines compute alike, the native one for
/// log-likelihoods and mistral.rs for text, each checked by the other; for the others that the native engine knows, that one; mistral.rs
/// for everything else. For GGUF files and quantized levels, on a GPU and in another number format it takes mistral.rs.
///
/// # Errors
/// [`EngineError::Load`] where the files cannot be loaded, the device is not there, or this program was built without the engine. What the
/// native engine knows and refuses is not handed to mistral.rs: a refusal names what would be computed wrongly.
pub fn load(source: &ModelSource<'_>, options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    match options.engine {
        Choice::Native => load_native(source, options),
        Choice::MistralRs => load_mistralrs(source, options),
        Choice::Auto => load_suitable(source, options),
    }
}

#[cfg(feature = "engine")]
fn load_suitable(source: &ModelSource<'_>, options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    let config = files::read_object(&source.dir.join("config.json"))?;
    let is_plain = source.weights == WeightForm::Safetensors
        && matches!(options.dtype, DType::Auto | DType::F32)
        && mistralrs::computes_on_processor(options.device);
    let class = config.get("architectures").and_then(|classes| classes.get(0)).and_then(serde_json::Value::as_str).unwrap_or_default();
    if source.weights == WeightForm::Safetensors
        && native::NativeModel::knows(&config)
        && !architectures::is_of_mistralrs(class)
        && mistralrs::computes_on_processor(options.device)
    {
        // No other engine has it; f32 holds the weights of every format exactly, and the run records it.
        load_native(source, &Options { dtype: DType::F32, ..*options })
    } else if !is_plain || !native::NativeModel::knows(&config) {
        load_mistralrs(source, options)
    } else if auto::is_common(&config) {
        // What is broken in the weights is told by the engine that looks at all of them, and a load of both leaves one.
        let native = native::NativeModel::load(source, options)?;
        drop(native);
        match auto::BothEngines::load(source, options) {
            Ok(both) => Ok(Box::new(both)),
            Err(problem) => {
                tracing::warn!("the native engine computes alone: {problem}");
                load_native(source, options)
            }
        }
    } else {
        load_native(source, options)
    }
}

#[cfg(not(feature = "engine"))]
fn load_suitable(source: &ModelSource<'_>, options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    load_native(source, options)
}

#[cfg(feature = "native")]
fn load_native(source: &ModelSource<'_>, options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    Ok(Box::new(native::NativeModel::load(source, options)?))
}

#[cfg(not(feature = "native"))]
fn load_native(_source: &ModelSource<'_>, _options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    Err(EngineError::Load(
        "this slm-bench was built without an engine (`--no-default-features`), so it cannot evaluate models; build it with the feature `engine`"
            .to_owned(),
    ))
}

#[cfg(feature = "engine")]
fn load_mistralrs(source: &ModelSource<'_>, options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    Ok(Box::new(mistralrs::MistralRsModel::load(source, options)?))
}

#[cfg(not(feature = "engine"))]
fn load_mistralrs(_source: &ModelSource<'_>, _options: &Options) -> Result<Box<dyn LanguageModel>, EngineError> {
    Err(EngineError::Load("this slm-bench was built without mistral.rs; build it with the feature `engine`".to_owned()))
}

/// The class of the device that a choice leads to on this machine: `cpu`, `cuda` or `metal`.
///
/// # Errors
/// [`EngineError::Load`] where the device is not there, or this program was built without an engine.
#[cfg(feature = "engine")]
pub fn probe(device: Device) -> Result<&'static str, EngineError> {
    mistralrs::choose_device(device)
}

/// The class of the device that a choice leads to on this machine: without mistral.rs there is the CPU alone.
///
/// # Errors
/// [`EngineError::Load`] for another device, or where this program was built without any engine.
#[cfg(not(feature = "engine"))]
pub fn probe(device: Device) -> Result<&'static str, EngineError> {
    match device {
        Device::Auto | Device::Cpu if cfg!(feature = "native") => Ok("cpu"),
        _ if cfg!(feature = "native") => {
            Err(EngineError::Load("this device needs mistral.rs; build slm-bench with the feature `engine`".to_owned()))
        }
        _ => Err(EngineError::Load(
            "this slm-bench was built without an engine (`--no-default-features`); build it with the feature `engine`".to_owned(),
        )),
    }
}

/// Index of a token in the model's vocabulary.
pub type TokenId = u32;

/// A context and the continuation whose log-likelihood is asked for, as text.
///
/// Both are tokenised as lm-evaluation-harness does (white space at the end of the context moves to the continuation).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoglikelihoodRequest {
    /// Text before the continuation; empty means that only the prefix token (BOS, else EOS) stands before it.
    pub context: String,
    /// Text that is scored.
    pub continuation: String,
}

/// Answer to a [`LoglikelihoodRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loglikelihood {
    /// Sum of the natural logarithms of the probabilities of the continuation's tokens, in nats.
    pub value: f64,
    /// Every continuation token was the most probable one (ties: the lowest token id).
    pub is_greedy: bool,
    /// The request was longer than the model's window and lost tokens on its left.
    pub truncated: bool,
}

/// Answer to a rolling log-likelihood request: the whole text, window by window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollingLoglikelihood {
    /// Sum over all tokens, in nats.
    pub value: f64,
    /// Number of tokens scored.
    pub tokens: usize,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decoding {
    /// The most probable token (ties: the lowest token id).
    Greedy,
    /// Sampled; the seed makes the sample repeatable.
    Sampled {
        /// Softmax temperature, above 0.
        temperature: f64,
        /// Nucleus size in (0, 1].
        top_p: f64,
        /// Seed of this request's own random stream.
        seed: u64,
    },
}

/// A prompt to continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    /// The prompt.
    pub context: String,
    /// Strings that end the generation; the text is cut before the first occurrence of each. The end-of-sequence token always ends it.
    pub until: Vec<String>,
    /// Most tokens to generate.
    pub max_new_tokens: usize,
    /// Greedy or sampled.
    pub decoding: Decoding,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model wrote its end-of-sequence token.
    EndOfSequence,
    /// A stop string occurred.
    StopString,
    /// `max_new_tokens` were written.
    Length,
}

/// Answer to a [`GenerationRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Decoded text (special tokens left out), cut at the stop strings, not stripped.
    pub text: String,
    /// Generated ids as the model wrote them, a final end-of-sequence token included.
    pub token_ids: Vec<TokenId>,
    /// Why it ended.
    pub finish: Finish,
    /// The prompt was longer than window minus `max_new_tokens` and lost tokens on its left.
    pub truncated: bool,
    /// Tokens that a pass over the prompt and one per further token feed.
    pub tokens_nominal: u64,
    /// Tokens really fed for it.
    pub tokens_computed: u64,
}

/// When the tokens of a generation came, in seconds after it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The first token: all of the prompt has been computed.
    pub first_token_s: f64,
    /// The last token.
    pub last_token_s: f64,
}

/// What answering cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that one forward pass per request would feed, after truncation; each choice counts as its own request.
    pub tokens_nominal: u64,
    /// Tokens really fed to the model for answers.
    pub tokens_computed: u64,
    /// Tokens fed besides: to set up the shared cache, because it was renewed, or because an interrupted run had fed them before.
    /// Not part of `tokens_computed`.
    pub tokens_recomputed: u64,
    /// Requests that lost tokens on their left.
    pub truncated: u64,
    /// Seconds in the engine.
    pub seconds: f64,
}

impl Usage {
    /// Adds another usage to this one.
    pub fn add(&mut self, other: &Self) {
        self.tokens_nominal += other.tokens_nominal;
        self.tokens_computed += other.tokens_computed;
        self.tokens_recomputed += other.tokens_recomputed;
        self.truncated += other.truncated;
        self.seconds += other.seconds;
    }
}

/// What a run records about the engine that answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineDescription {
    /// Engine name, such as `mistralrs`.
    pub name: String,
    /// Engine version.
    pub version: String,
    /// Device class: `cpu`, `cuda`, `metal`.
    pub device: String,
    /// Data type of the computation: `f32`, `bf16`, `f16`.
    pub dtype: String,
}

/// Why an engine could not answer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request itself cannot be answered (a continuation without tokens, a window too short); others can.
    #[error("{0}")]
    Request(String),
    /// The model answered with NaN or infinite values: its weights or its computation are broken.
    #[error("{0}")]
    NotANumber(String),
    /// The model's files cannot be loaded by this engine.
    #[error("{0}")]
    Load(String),
    /// The engine failed while computing.
    #[error("{0}")]
    Computation(String),
    /// The receiver of the answers asked to stop (an interrupt, a full disk).
    #[error("stopped: {0}")]
    Stopped(#[source] anyhow::Error),
}

/// Receives answers as they are computed: the request's index in the slice, then its answer. An error stops the work.
pub type Sink<'a, A> = dyn FnMut(usize, A) -> anyhow::Result<()> + 'a;

/// Longest text, prompt and answer, that mistral.rs is asked to write on a processor: it holds a table of length × length there, which takes
/// gigabytes beyond it.
const LONGEST_BY_MISTRALRS: usize = 8192;

/// Longest text that an engine of this name is asked to write on a device of this class (`cpu`, `cuda`, `metal`), whatever the model's window.
#[must_use]
pub fn longest_text(engine: &str, device: &str) -> usize {
    if engine == "mistralrs" && device == "cpu" { LONGEST_BY_MISTRALRS } else { usize::MAX }
}

/// A loaded model that scores and writes text.
///
/// Answers come in the order in which they are computed. `answered[i]` says that request `i` needs no answer any more
/// (a resumed run): it still shapes the plan, so that the answers of the others are bit for bit the same as without it.
/// An empty `answered` means that nothing is answered yet.
///
/// The usage of log-likelihoods describes the whole plan, answered requests included, so that a resumed run reports what an uninterrupted
/// one does. A generation carries its own costs; the usage of [`LanguageModel::generate_until`] is the sum over those that it wrote.
pub trait LanguageModel {
    /// Engine, version, device, dtype.
    fn description(&self) -> EngineDescription;

    /// Longest sequence of tokens that the model takes.
    fn max_length(&self) -> usize;

    /// What the model's own files ask for and this engine leaves out (a `repetition_penalty`, for example), for the run's record.
    fn deviations(&self) -> Vec<String> {
        Vec::new()
    }

    /// What the weights are, where they are not simply those of the files (levels that were put in another's place), for the run's record.
    fn weights_note(&self) -> Option<String> {
        None
    }

    /// Writes `new_tokens` (at least 2) greedily after a fixed prompt of `prompt_tokens`, alone, without any cache and without stopping, and
    /// says when the tokens came: for speed, never for a score.
    ///
    /// # Errors
    /// See [`EngineError`]; [`EngineError::Request`] from an engine that cannot be timed, or for lengths that the window does not hold.
    fn time_generation(&mut self, prompt_tokens: usize, new_tokens: usize) -> Result<Timing, EngineError> {
        let _ = (prompt_tokens, new_tokens);
        Err(EngineError::Request("this engine does not tell when its tokens come".to_owned()))
    }

    /// Scores each continuation after its context.
    ///
    /// # Errors
    /// See [`EngineError`]. Answers given to `sink` before an error stay valid.
    fn loglikelihood(
        &mut self,
        requests: &[LoglikelihoodRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError>;

    /// Scores whole texts in disjoint windows (perplexity).
    ///
    /// # Errors
    /// See [`EngineError`].
    fn loglikelihood_rolling(
        &mut self,
        texts: &[String],
        answered: &[bool],
        sink: &mut Sink<'_, RollingLoglikelihood>,
    ) -> Result<Usage, EngineError>;

    /// Continues each prompt.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn generate_until(
        &mut self,
        requests: &[GenerationRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError>;

    /// Scores one request by one plain forward pass, without any shared prefix: the self-check.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn loglikelihood_alone(&mut self, request: &LoglikelihoodRequest) -> Result<(Loglikelihood, Usage), EngineError>;

    /// Scores requests a second time: the self-check of a task. By plain passes, as [`LanguageModel::loglikelihood_alone`], one for each run
    /// of requests with the same tokens before their targets; or by another engine, in its own way.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn loglikelihoods_again(
        &mut self,
        requests: &[LoglikelihoodRequest],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        let mut usage = Usage::default();
        for (index, request) in requests.iter().enumerate() {
            let (answer, cost) = self.loglikelihood_alone(request)?;
            usage.add(&cost);
            sink(index, answer).map_err(EngineError::Stopped)?;
        }
        Ok(usage)
    }

    /// Whether [`LanguageModel::loglikelihoods_again`] is another engine's work, which may take far longer than the first one's.
    fn is_checked_by_another(&self) -> bool {
        false
    }

    /// As [`LanguageModel::loglikelihood_alone`] for a rolling request.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn loglikelihood_rolling_alone(&mut self, text: &str) -> Result<(RollingLoglikelihood, Usage), EngineError>;

    /// Continues one prompt alone, without batch or cache: the self-check.
    ///
    /// # Errors
    /// See [`EngineError`].
    fn generate_alone(&mut self, request: &GenerationRequest) -> Result<(Generation, Usage), EngineError>;

    /// Number of tokens that a generation prompt becomes, special tokens at its beginning included, before it is cut to any window.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the tokenizer refuses the text.
    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError>;

    /// Renders chat messages (`role`, `content`) with the model's own chat template.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the model has no chat template or the template refuses the messages.
    fn render_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError>;
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}
