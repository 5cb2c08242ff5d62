//! `config.json`, read field by field: what nobody asked for is an error, unless it is known to change nothing.

use crate::engine::EngineError;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Fields that change no log-likelihood: names, token ids (the tokenizer's rules read them), training, generation, bookkeeping.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_commit_hash",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "_name_or_path",
    "_num_labels",
    "activation_dropout",
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embed_dropout",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "eos_token_id",
    "epsilon_cutoff",
    "eta_cutoff",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "init_std",
    "initializer_range",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_p",
    "model_max_length",
    "mup_base_width",
    "name_or_path",
    "no_repeat_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "rope_interleaved",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "target_lookbehind",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_last_hidden_states",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
    "xla_device",
];

/// The fields of `config.json`, and which of them were asked for.
pub(super) struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
    /// What the class takes for a size that is missing.
    defaults: &'static [(&'static str, usize)],
    used: RefCell<BTreeSet<String>>,
}

impl Fields {
    pub(super) fn new(path: PathBuf, map: Map<String, Value>) -> Self {
        Self { path, map, defaults: &[], used: RefCell::default() }
    }

    /// Takes the defaults of a class for sizes that are missing, and its other names (the first of each pair) for fields.
    ///
    /// # Errors
    /// A field under both names with two values.
    pub(super) fn of_class(
        mut self,
        defaults: &'static [(&'static str, usize)],
        aliases: &[(&'static str, &'static str)],
    ) -> Result<Self, EngineError> {
        self.defaults = defaults;
        for (alias, name) in aliases {
            let Some(value) = self.map.remove(*alias) else { continue };
            if self.map.get(*name).is_some_and(|other| *other != value) {
                return Err(self.error(format!("`{alias}` and `{name}` name the same size, and differ")));
            }
            self.map.insert((*name).to_owned(), value);
        }
        Ok(self)
    }

    /// An error about the configuration.
    pub(super) fn error(&self, problem: impl std::fmt::Display) -> EngineError {
        crate::engine::files::at(&self.path, &problem)
    }

    /// The field as it stands; `None` where it does not. `null` is a value here.
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.used.borrow_mut().insert(name.to_owned());
        self.map.get(name)
    }

    /// The field, `None` where it is missing or `null`.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.raw(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, value: &Value, wanted: &str) -> EngineError {
        self.error(format!("`{name}` must be {wanted}, and is {value}"))
    }

    /// A count, 1 or more.
    pub(super) fn optional_count(&self, name: &str) -> Result<Option<usize>, EngineError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
        count.map(Some).ok_or_else(|| self.wrong(name, value, "a whole number above 0"))
    }

    /// A count that every model has: the class's default where it is missing.
    pub(super) fn count(&self, name: &str) -> Result<usize, EngineError> {
        match self.raw(name) {
            Some(Value::Null) => Err(self.null(name)),
            Some(_) => self.optional_count(name)?.ok_or_else(|| self.null(name)),
            None => {
                let default = self.defaults.iter().find(|(known, _)| *known == name).map(|(_, default)| *default);
                default.ok_or_else(|| self.error(format!("`{name}` is missing")))
            }
        }
    }

    /// A whole number, 0 or more.
    pub(super) fn whole(&self, name: &str, default: usize) -> Result<usize, EngineError> {
        match self.raw(name) {
            None => Ok(default),
            Some(value) => {
                let whole = value.as_u64().and_then(|whole| usize::try_from(whole).ok());
                whole.ok_or_else(|| self.wrong(name, value, "a whole number"))
            }
        }
    }

    /// Some read `null` as the default and some as nothing: where the two differ, the model is not defined.
    fn null(&self, name: &str) -> EngineError {
        self.error(format!("`{name}` is null; leave it out for the default of the architecture, or give its value"))
    }

    /// A number.
    pub(super) fn optional_number(&self, name: &str) -> Result<Option<f64>, EngineError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_f64().filter(|number| number.is_finite()).map(Some).ok_or_else(|| self.wrong(name, value, "a number"))
    }

    /// A number, as `f32`.
    #[expect(clippy::cast_possible_truncation, reason = "the computation is in f32")]
    pub(super) fn number(&self, name: &str, default: f64) -> Result<f32, EngineError> {
        match self.raw(name) {
            Some(Value::Null) => Err(self.null(name)),
            _ => Ok(self.optional_number(name)?.unwrap_or(default) as f32),
        }
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, EngineError> {
        match self.raw(name) {
            None => Ok(default),
            Some(Value::Null) if default => Err(self.null(name)),
            Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, value, "true or false")),
        }
    }

    /// A word.
    pub(super) fn word(&self, name: &str, default: &str) -> Result<String, EngineError> {
        match self.raw(name) {
            None => Ok(default.to_owned()),
            Some(Value::Null) => Err(self.null(name)),
            Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, value, "a word")),
        }
    }

    /// A list.
    pub(super) fn list(&self, name: &str) -> Result<Option<&Vec<Value>>, EngineError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_array().map(Some).ok_or_else(|| self.wrong(name, value, "a list")),
        }
    }

    /// Refuses a field that has another value than the one for which the computation is written.
    pub(super) fn only(&self, name: &str, value: &Value) -> Result<(), EngineError> {
        match self.value(name) {
            Some(found) if found != value => {
                Err(self.error(format!("`{name}` is {found}; the native engine computes this architecture with {value} only")))
            }
            _ => Ok(()),
        }
    }

    /// Checks that every field was asked for or changes nothing.
    pub(super) fn finish(&self) -> Result<(), EngineError> {
        let no = Value::Bool(false);
        for name in ["add_cross_attention", "is_encoder_decoder", "cross_attention_hidden_size", "tie_encoder_decoder"] {
            self.only(name, &no)?;
        }
        // A decoder is what all these architectures are, whatever the field says.
        self.raw("is_decoder");
        if let Some(pruned) = self.value("pruned_heads")
            && !pruned.as_object().is_some_and(Map::is_empty)
        {
            return Err(self.error("`pruned_heads` is not empty; the native engine computes whole layers only"));
        }
        // Off is off, whether the class knows the switch or not.
        let yes = Value::Bool(true);
        let switches = [
            ("attention_bias", &no),
            ("is_causal", &yes),
            ("mlp_bias", &no),
            ("qk_layernorm", &no),
            ("use_bidirectional_attention", &no),
            ("use_mrope", &no),
            ("use_qk_norm", &no),
            ("use_sliding_window", &no),
        ];
        for (name, off) in switches {
            if !self.used.borrow().contains(name) {
                self.only(name, off)?;
            }
        }
        let used = self.used.borrow();
        let left: Vec<String> = self
            .map
            .iter()
            .filter(|(name, value)| !used.contains(*name) && !value.is_null() && !HARMLESS.contains(&name.as_str()))
            .map(|(name, value)| format!("`{name}` = {value}"))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(self.error(format!("the native engine does not know what these fields change, and guesses nothing: {}", left.join(", "))))
    }
}
