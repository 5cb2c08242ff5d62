//! `config.json`, read field by field: what nobody asked for is an error, unless it is known to change nothing.

use crate::engine::EngineError;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Fields that change no log-likelihood: names, token ids (the tokenizer's rules read them), training, generation, bookkeeping.
const HARMLESS: &[&str] = &[
    "_name_or_path",
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
    "eos_token_id",
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
    "min_length",
    "model_max_length",
    "mup_base_width",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "pad_token_id",
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
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
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
    "activation_dropout",
];

/// The fields of `config.json`, and which of them were asked for.
pub(super) struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
    used: RefCell<BTreeSet<String>>,
}

impl Fields {
    pub(super) fn new(path: PathBuf, map: Map<String, Value>) -> Self {
        Self { path, map, used: RefCell::default() }
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

    /// A count that must be there.
    pub(super) fn count(&self, name: &str) -> Result<usize, EngineError> {
        self.optional_count(name)?.ok_or_else(|| self.error(format!("`{name}` is missing")))
    }

    /// A number.
    pub(super) fn optional_number(&self, name: &str) -> Result<Option<f64>, EngineError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_f64().filter(|number| number.is_finite()).map(Some).ok_or_else(|| self.wrong(name, value, "a number"))
    }

    /// A number, as `f32`.
    #[expect(clippy::cast_possible_truncation, reason = "the computation is in f32")]
    pub(super) fn number(&self, name: &str, default: f64) -> Result<f32, EngineError> {
        Ok(self.optional_number(name)?.unwrap_or(default) as f32)
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, EngineError> {
        match self.value(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(name, value, "true or false")),
        }
    }

    /// A word.
    pub(super) fn word(&self, name: &str, default: &str) -> Result<String, EngineError> {
        match self.value(name) {
            None => Ok(default.to_owned()),
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
