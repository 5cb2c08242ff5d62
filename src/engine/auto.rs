//! Both engines for one model: log-likelihoods by the native one, text by mistral.rs up to 8,192 tokens and natively beyond, and each checks the other where it can.
//!
//! mistral.rs lets a token see one token more than a sliding window, so texts longer than the model's window are the native engine's, and are
//! checked by it, too.
//!
//! The weights of one engine only are in memory: the other is dropped before one is loaded. Callers ask for many answers of one kind at a
//! time, so this happens rarely.

use super::mistralrs::MistralRsModel;
use super::native::NativeModel;
use super::tokenizer::ModelTokenizer;
use super::{
    ChatMessage, EngineDescription, EngineError, Generation, GenerationRequest, LONGEST_BY_MISTRALRS, LanguageModel, Loglikelihood,
    LoglikelihoodRequest, ModelSource, Options, RollingLoglikelihood, Sink, Timing, Usage, answers,
};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// A model for both engines.
pub(super) struct BothEngines {
    dir: PathBuf,
    options: Options,
    tokenizer: ModelTokenizer,
    description: EngineDescription,
    /// Longest text, in tokens, that mistral.rs computes as the definition says.
    longest_exact: usize,
    loaded: Loaded,
}

/// The engine whose weights are in memory.
enum Loaded {
    None,
    Native(Box<NativeModel>),
    MistralRs(Box<MistralRsModel>),
}

/// Whether mistral.rs computes a configuration as its definition says: the architectures and settings that were compared with `PyTorch`.
/// It reads no biases where its own tables have none, and knows fewer rotary scalings.
pub(super) fn is_common(config: &Map<String, Value>) -> bool {
    const CLASSES: [&str; 7] = [
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "Phi3ForCausalLM",
        "Gemma2ForCausalLM",
        "SmolLM3ForCausalLM",
    ];
    let class = config.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str).unwrap_or_default();
    let is_off = |name: &str| config.get(name).is_none_or(|value| matches!(value, Value::Null | Value::Bool(false)));
    let activation = config.get("hidden_act").or_else(|| config.get("hidden_activation")).and_then(Value::as_str).unwrap_or("silu");
    let rope = ["rope_scaling", "rope_parameters"].into_iter().find_map(|name| config.get(name)?.as_object());
    let kind = rope.and_then(|rope| rope.get("rope_type").or_else(|| rope.get("type"))).and_then(Value::as_str).unwrap_or("default");
    let is_known_rope = kind == "default" || (kind == "llama3" && class == "LlamaForCausalLM");
    let partial = rope.and_then(|rope| rope.get("partial_rotary_factor")).or_else(|| config.get("partial_rotary_factor"));
    let is_whole = partial.and_then(Value::as_f64).is_none_or(|share| share == 1.0);
    let is_known_activation = if class == "Gemma2ForCausalLM" { activation == "gelu_pytorch_tanh" } else { activation == "silu" };
    CLASSES.contains(&class)
        && ["attention_bias", "mlp_bias", "use_sliding_window"].into_iter().all(is_off)
        && is_known_rope
        && is_whole
        && is_known_activation
}

impl BothEngines {
    /// Loads a model with both engines, one after the other, so that what neither can load is known at once.
    pub(super) fn load(source: &ModelSource<'_>, options: &Options) -> Result<Self, EngineError> {
        let tokenizer = ModelTokenizer::load(source.dir)?;
        let other = MistralRsModel::load(source, options)?;
        let longest_exact = other.sliding_window().unwrap_or(usize::MAX);
        let other = other.description();
        let native = Box::new(NativeModel::load(source, options)?);
        let description = EngineDescription {
            name: format!("native+{}", other.name),
            version: format!("{}+{}", native.description().version, other.version),
            ..native.description()
        };
        Ok(Self { dir: source.dir.to_owned(), options: *options, tokenizer, description, longest_exact, loaded: Loaded::Native(native) })
    }

    /// Whether the native engine must write it: mistral.rs holds a table of length × length for a prompt on the CPU.
    fn is_long(&self, request: &GenerationRequest) -> Result<bool, EngineError> {
        let longest = LONGEST_BY_MISTRALRS.min(self.longest_exact);
        Ok(self.tokenizer.prompt_tokens(&request.context)? + request.max_new_tokens > longest)
    }

    /// Whether a text is one that mistral.rs computes as the definition says.
    fn is_exact(&self, text: &str) -> Result<bool, EngineError> {
        Ok(self.longest_exact >= self.max_length() || self.tokenizer.prompt_tokens(text)? < self.longest_exact)
    }

    fn native(&mut self) -> Result<&mut NativeModel, EngineError> {
        if !matches!(self.loaded, Loaded::Native(_)) {
            self.loaded = Loaded::None;
            self.loaded = Loaded::Native(Box::new(NativeModel::load(&ModelSource::folder(&self.dir), &self.options)?));
        }
        match &mut self.loaded {
            Loaded::Native(model) => Ok(model),
            _ => Err(EngineError::Load("the native engine is not loaded".to_owned())),
        }
    }

    fn mistralrs(&mut self) -> Result<&mut MistralRsModel, EngineError> {
        if !matches!(self.loaded, Loaded::MistralRs(_)) {
            self.loaded = Loaded::None;
            self.loaded = Loaded::MistralRs(Box::new(MistralRsModel::load(&ModelSource::folder(&self.dir), &self.options)?));
        }
        match &mut self.loaded {
            Loaded::MistralRs(model) => Ok(model),
            _ => Err(EngineError::Load("mistral.rs is not loaded".to_owned())),
        }
    }
}

impl LanguageModel for BothEngines {
    fn description(&self) -> EngineDescription {
        self.description.clone()
    }

    fn max_length(&self) -> usize {
        self.tokenizer.max_length()
    }

    fn deviations(&self) -> Vec<String> {
        answers::deviations(&self.tokenizer)
    }

    fn loglikelihood(
        &mut self,
        requests: &[LoglikelihoodRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        self.native()?.loglikelihood(requests, answered, sink)
    }

    fn loglikelihood_rolling(
        &mut self,
        texts: &[String],
        answered: &[bool],
        sink: &mut Sink<'_, RollingLoglikelihood>,
    ) -> Result<Usage, EngineError> {
        self.native()?.loglikelihood_rolling(texts, answered, sink)
    }

    fn generate_until(
        &mut self,
        requests: &[GenerationRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError> {
        let is_long: Vec<bool> = requests.iter().map(|request| self.is_long(request)).collect::<Result<_, _>>()?;
        let mut usage = Usage::default();
        for long in [false, true] {
            let places: Vec<usize> = (0..requests.len()).filter(|&place| is_long[place] == long).collect();
            if places.is_empty() {
                continue;
            }
            let part: Vec<GenerationRequest> = places.iter().map(|&place| requests[place].clone()).collect();
            let part_answered: Vec<bool> = places.iter().map(|&place| answered.get(place).copied().unwrap_or(false)).collect();
            let mut part_sink = |index: usize, generation: Generation| sink(places[index], generation);
            let used = if long {
                self.native()?.generate_until(&part, &part_answered, &mut part_sink)?
            } else {
                self.mistralrs()?.generate_until(&part, &part_answered, &mut part_sink)?
            };
            usage.add(&used);
        }
        Ok(usage)
    }

    fn loglikelihood_alone(&mut self, request: &LoglikelihoodRequest) -> Result<(Loglikelihood, Usage), EngineError> {
        if self.is_exact(&format!("{}{}", request.context, request.continuation))? {
            self.mistralrs()?.loglikelihood_alone(request)
        } else {
            self.native()?.loglikelihood_alone(request)
        }
    }

    /// By mistral.rs, which shares what the requests begin with in its own way: it computes a fraction of the native engine's tokens in a
    /// second. Texts that it computes otherwise than the definition are the native engine's.
    fn loglikelihoods_again(
        &mut self,
        requests: &[LoglikelihoodRequest],
        sink: &mut Sink<'_, Loglikelihood>,
    ) -> Result<Usage, EngineError> {
        let mut is_exact = Vec::with_capacity(requests.len());
        for request in requests {
            is_exact.push(self.is_exact(&format!("{}{}", request.context, request.continuation))?);
        }
        let mut usage = Usage::default();
        for exact in [true, false] {
            let places: Vec<usize> = (0..requests.len()).filter(|&place| is_exact[place] == exact).collect();
            if places.is_empty() {
                continue;
            }
            let part: Vec<LoglikelihoodRequest> = places.iter().map(|&place| requests[place].clone()).collect();
            let mut part_sink = |index: usize, answer: Loglikelihood| sink(places[index], answer);
            let used = if exact {
                self.mistralrs()?.loglikelihood(&part, &[], &mut part_sink)?
            } else {
                self.native()?.loglikelihood(&part, &[], &mut part_sink)?
            };
            usage.add(&used);
        }
        Ok(usage)
    }

    fn is_checked_by_another(&self) -> bool {
        true
    }

    fn loglikelihood_rolling_alone(&mut self, text: &str) -> Result<(RollingLoglikelihood, Usage), EngineError> {
        if self.is_exact(text)? {
            self.mistralrs()?.loglikelihood_rolling_alone(text)
        } else {
            self.native()?.loglikelihood_rolling_alone(text)
        }
    }

    fn generate_alone(&mut self, request: &GenerationRequest) -> Result<(Generation, Usage), EngineError> {
        self.native()?.generate_alone(request)
    }

    fn time_generation(&mut self, prompt_tokens: usize, new_tokens: usize) -> Result<Timing, EngineError> {
        self.mistralrs()?.time_generation(prompt_tokens, new_tokens)
    }

    fn prompt_tokens(&self, prompt: &str) -> Result<usize, EngineError> {
        self.tokenizer.prompt_tokens(prompt)
    }

    fn render_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError> {
        self.tokenizer.render_chat(messages, add_generation_prompt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mistralrs_is_trusted_with_what_was_compared_only() {
        let is = |config: Value| is_common(config.as_object().expect("an object"));
        assert!(is(json!({"architectures": ["LlamaForCausalLM"], "rope_parameters": {"rope_type": "llama3"}, "attention_bias": false})));
        assert!(is(json!({"architectures": ["Gemma2ForCausalLM"], "hidden_activation": "gelu_pytorch_tanh"})));
        assert!(!is(json!({"architectures": ["LlamaForCausalLM"], "rope_scaling": {"type": "yarn"}})));
        assert!(!is(json!({"architectures": ["LlamaForCausalLM"], "attention_bias": true})));
        assert!(!is(json!({"architectures": ["PhiForCausalLM"]})));
    }
}
