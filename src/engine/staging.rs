//! A folder that the loader can read: links to a model's weights and tokenizer beside a normalised `config.json`.
//!
//! transformers 5 writes `rope_parameters` and `dtype`; the loader reads `rope_theta`, `rope_scaling` and `torch_dtype`. The window in the
//! copy is rounded up, because the engine's cache grows in blocks and computes one token more than it is asked for; the rotary table only
//! gets longer by it. The model's real window is enforced by the tokenizer's rules.

use super::files::{at, read_object, weight_files};
use super::{EngineError, WeightForm};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The engine's cache grows by this many tokens at a time.
pub(super) const CACHE_BLOCK: usize = 512;

/// A staged model folder; it vanishes with the value.
pub(super) struct Staged {
    folder: TempDir,
    /// Longest sequence for which the engine's cache works, the token that it computes too many included.
    pub(super) cache_limit: usize,
    /// Sliding window of the attention, where the configuration has one in use.
    pub(super) sliding_window: Option<usize>,
    /// Tokens of the embedding, as the configuration says; a tokenizer may know more of them, or fewer.
    pub(super) vocabulary: Option<usize>,
    /// Names of the GGUF file's parts in the folder, where the weights are in one.
    pub(super) gguf_files: Vec<String>,
    /// What a quantization level makes of the model, where it departs from its name.
    pub(super) weights_note: Option<String>,
}

impl Staged {
    /// Stages a model folder, and the parts of a GGUF file beside it, for a window of `max_length` tokens.
    ///
    /// # Errors
    /// [`EngineError::Load`] where a file is missing or malformed or the temporary folder cannot be written.
    pub(super) fn new(
        dir: &Path,
        weights: WeightForm<'_>,
        max_length: usize,
        bos: Option<&str>,
        eos: Option<&str>,
    ) -> Result<Self, EngineError> {
        let dir = dir.canonicalize().map_err(|error| EngineError::Load(format!("{}: {error}", dir.display())))?;
        let config_path = dir.join("config.json");
        let config = read_object(&config_path)?;
        let known = super::architectures::check(&Value::Object(config.clone())).map_err(EngineError::Load)?;
        if !super::architectures::is_of_mistralrs(known.class) {
            return Err(EngineError::Load(format!(
                "{}: mistral.rs cannot load the architecture `{}`; the native engine does (--engine native)",
                config_path.display(),
                known.class
            )));
        }
        let config = in_terms_of_the_loader(config, known.class);
        let sliding_window = sliding_window(&config);
        let vocabulary = config.get("vocab_size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
        let weights_note = match weights {
            WeightForm::Isq(level) => super::isq::departures(level, &config).map_err(EngineError::Load)?,
            WeightForm::Safetensors | WeightForm::Gguf(_) => None,
        };
        let (config, cache_limit) = normalise(config, max_length).map_err(|problem| at(&config_path, &problem))?;

        let folder = tempfile::Builder::new().prefix("slm-bench-model-").tempdir().map_err(|error| at(&std::env::temp_dir(), &error))?;
        write(&folder.path().join("config.json"), &Value::Object(config))?;
        write(&folder.path().join("tokenizer_config.json"), &json!({"bos_token": bos, "eos_token": eos}))?;
        link(&dir.join("tokenizer.json"), &folder.path().join("tokenizer.json"))?;
        let mut gguf_files = Vec::new();
        if let WeightForm::Gguf(files) = weights {
            for file in files {
                let file = file.canonicalize().map_err(|error| at(file, &error))?;
                // A cache's file is named by its content; the loader wants the ending.
                let name = format!("weights-{:05}.gguf", gguf_files.len() + 1);
                link(&file, &folder.path().join(&name))?;
                gguf_files.push(name);
            }
        } else {
            for name in weight_files(&dir)? {
                link(&dir.join(&name), &folder.path().join(&name))?;
            }
        }
        Ok(Self { folder, cache_limit, sliding_window, vocabulary, gguf_files, weights_note })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What a class reads otherwise than the loader: windows that are not in use or missing, and names of the activation.
fn in_terms_of_the_loader(mut config: Map<String, Value>, class: &str) -> Map<String, Value> {
    match class {
        // The loader of Qwen 2 takes the window for every layer, whatever `use_sliding_window` says.
        "Qwen2ForCausalLM" | "Qwen3ForCausalLM" | "SmolLM3ForCausalLM"
            if config.get("use_sliding_window").and_then(Value::as_bool) != Some(true) =>
        {
            config.insert("sliding_window".to_owned(), Value::Null);
        }
        // The class has a window where the field is missing.
        "MistralForCausalLM" => {
            config.entry("sliding_window").or_insert(json!(4096));
        }
        // The class reads `hidden_act`, and takes the old value for the approximation; the loader refuses both names together.
        "GemmaForCausalLM" => {
            let is_old = config.get("hidden_act").is_none_or(|name| name.as_str() == Some("gelu"));
            if is_old {
                config.insert("hidden_act".to_owned(), json!("gelu_pytorch_tanh"));
            }
            config.remove("hidden_activation");
        }
        // The class reads `hidden_activation`, the loader the other first.
        "Gemma2ForCausalLM" => {
            config.entry("hidden_activation").or_insert(json!("gelu_pytorch_tanh"));
            config.remove("hidden_act");
        }
        _ => {}
    }
    config
}

/// The configuration in the form that the loader reads, and the longest sequence that its cache then takes.
fn normalise(mut config: Map<String, Value>, max_length: usize) -> Result<(Map<String, Value>, usize), String> {
    if let Some(dtype) = config.remove("dtype") {
        config.entry("torch_dtype").or_insert(dtype);
    }
    if let Some(Value::Object(mut rope)) = config.get("rope_parameters").cloned() {
        if rope.values().any(Value::is_object) {
            return Err("`rope_parameters` differ between layer types; the engine has one for all".to_owned());
        }
        for lifted in ["rope_theta", "partial_rotary_factor"] {
            if let Some(value) = rope.remove(lifted) {
                config.entry(lifted).or_insert(value);
            }
        }
        let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default").to_owned();
        if kind != "default" {
            rope.insert("type".to_owned(), Value::String(kind.clone()));
            rope.insert("rope_type".to_owned(), Value::String(kind));
            config.entry("rope_scaling").or_insert(Value::Object(rope));
        }
        config.remove("rope_parameters");
    }
    let longest = config.get("max_position_embeddings").and_then(Value::as_u64).and_then(|longest| usize::try_from(longest).ok());
    let Some(longest) = longest else { return Ok((config, max_length)) };
    if !rope_depends_on_window(&config) {
        let rounded = (longest.max(max_length) + 1).next_multiple_of(CACHE_BLOCK);
        config.insert("max_position_embeddings".to_owned(), json!(rounded));
        return Ok((config, rounded));
    }
    Ok((config, longest - longest % CACHE_BLOCK))
}

/// Whether the rotary frequencies are computed from `max_position_embeddings`, so that it must stay as it is.
fn rope_depends_on_window(config: &Map<String, Value>) -> bool {
    match config.get("rope_scaling") {
        None | Some(Value::Null) => false,
        Some(scaling) => {
            let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
            !matches!(kind, Some("default" | "llama3" | "linear"))
        }
    }
}

fn sliding_window(config: &Map<String, Value>) -> Option<usize> {
    if config.get("use_sliding_window").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    config.get("sliding_window").and_then(Value::as_u64).and_then(|window| usize::try_from(window).ok())
}

fn write(path: &Path, value: &Value) -> Result<(), EngineError> {
    std::fs::write(path, value.to_string()).map_err(|error| at(path, &error))
}

#[cfg(unix)]
fn link(from: &Path, to: &PathBuf) -> Result<(), EngineError> {
    std::os::unix::fs::symlink(from, to).map_err(|error| at(to, &error))
}

#[cfg(not(unix))]
fn link(from: &Path, to: &PathBuf) -> Result<(), EngineError> {
    std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(|_| ())).map_err(|error| at(to, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(config: Value, max_length: usize) -> (Value, usize) {
        let Value::Object(config) = config else { panic!("an object") };
        let (config, limit) = normalise(config, max_length).expect("normalises");
        (Value::Object(config), limit)
    }

    #[test]
    fn a_configuration_of_transformers_5_gets_the_names_that_the_loader_reads() {
        let (config, limit) = normalised(
            json!({"dtype": "bfloat16", "max_position_embeddings": 2048, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}),
            2048,
        );
        assert_eq!(config, json!({"max_position_embeddings": 2560, "torch_dtype": "bfloat16", "rope_theta": 1e4}));
        assert_eq!(limit, 2560);
    }

    #[test]
    fn rope_scaling_is_kept_and_a_window_that_shapes_it_is_not_touched() {
        let llama = json!({"max_position_embeddings": 1000, "rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", "factor": 8.0}});
        let (config, limit) = normalised(llama, 1000);
        assert_eq!(config["rope_scaling"], json!({"rope_type": "llama3", "factor": 8.0, "type": "llama3"}));
        assert_eq!(limit, 1024);
        let longrope = json!({"max_position_embeddings": 4100, "rope_scaling": {"type": "longrope", "short_factor": [1.0]}});
        let (config, limit) = normalised(longrope.clone(), 4100);
        assert_eq!((config, limit), (longrope, 4096));
    }

    #[test]
    fn fields_that_the_loader_reads_otherwise_are_put_into_its_terms() {
        let terms = |config: Value, class: &str| {
            let Value::Object(config) = config else { panic!("an object") };
            Value::Object(in_terms_of_the_loader(config, class))
        };
        for config in [json!({"sliding_window": 9, "use_sliding_window": false}), json!({"sliding_window": 9})] {
            assert_eq!(terms(config, "Qwen2ForCausalLM")["sliding_window"], Value::Null);
        }
        let used = json!({"sliding_window": 9, "use_sliding_window": true});
        assert_eq!(terms(used.clone(), "Qwen2ForCausalLM"), used);
        assert_eq!(terms(json!({}), "MistralForCausalLM"), json!({"sliding_window": 4096}));
        assert_eq!(terms(json!({"sliding_window": null}), "MistralForCausalLM"), json!({"sliding_window": null}));
        let both = json!({"hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"});
        assert_eq!(terms(both.clone(), "GemmaForCausalLM"), json!({"hidden_act": "gelu_pytorch_tanh"}));
        assert_eq!(terms(both, "Gemma2ForCausalLM"), json!({"hidden_activation": "gelu_pytorch_tanh"}));
    }

    #[test]
    fn layer_wise_rope_is_refused() {
        let config = json!({"max_position_embeddings": 10, "rope_parameters": {"full_attention": {"rope_theta": 1.0}}});
        let Value::Object(config) = config else { panic!("an object") };
        assert!(normalise(config, 10).is_err());
    }
}
