//! Which architectures the engines load, known without an engine: a submission is checked on hosts that have none.

use serde_json::Value;

/// An architecture that the engine loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Class name in `config.json`'s `architectures`.
    pub class: &'static str,
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
}

/// Every architecture that one of the engines loads: first those of the native engine, then those of mistral.rs alone.
///
/// mistral.rs 0.8.1's text loader takes the first nine and the last seven from safetensors with a plain key-value cache. Its hybrid ones
/// (Granite hybrid, Qwen 3 Next) are left out: their recurrent state cannot be rewound. The last seven have no model in the range of the
/// leaderboard that was compared with `PyTorch`.
pub const SUPPORTED: &[Architecture] = &[
    Architecture { class: "LlamaForCausalLM", model_type: "llama" },
    Architecture { class: "MistralForCausalLM", model_type: "mistral" },
    Architecture { class: "Qwen2ForCausalLM", model_type: "qwen2" },
    Architecture { class: "Qwen3ForCausalLM", model_type: "qwen3" },
    Architecture { class: "Phi3ForCausalLM", model_type: "phi3" },
    Architecture { class: "Gemma2ForCausalLM", model_type: "gemma2" },
    Architecture { class: "SmolLM3ForCausalLM", model_type: "smollm3" },
    Architecture { class: "GemmaForCausalLM", model_type: "gemma" },
    Architecture { class: "PhiForCausalLM", model_type: "phi" },
    Architecture { class: "Gemma3ForCausalLM", model_type: "gemma3_text" },
    Architecture { class: "GraniteForCausalLM", model_type: "granite" },
    Architecture { class: "Olmo2ForCausalLM", model_type: "olmo2" },
    Architecture { class: "StableLmForCausalLM", model_type: "stablelm" },
    Architecture { class: "GPTNeoXForCausalLM", model_type: "gpt_neox" },
    Architecture { class: "GPT2LMHeadModel", model_type: "gpt2" },
    Architecture { class: "GPTNeoForCausalLM", model_type: "gpt_neo" },
    Architecture { class: "OPTForCausalLM", model_type: "opt" },
    Architecture { class: "Starcoder2ForCausalLM", model_type: "starcoder2" },
    Architecture { class: "Glm4ForCausalLM", model_type: "glm4" },
    Architecture { class: "MixtralForCausalLM", model_type: "mixtral" },
    Architecture { class: "PhiMoEForCausalLM", model_type: "phimoe" },
    Architecture { class: "DeepseekV2ForCausalLM", model_type: "deepseek_v2" },
    Architecture { class: "DeepseekV3ForCausalLM", model_type: "deepseek_v3" },
    Architecture { class: "Qwen3MoeForCausalLM", model_type: "qwen3_moe" },
];

/// The architecture of a `config.json`, or why the engine cannot load it, in words for the author.
///
/// # Errors
/// A sentence that names what `config.json` says and lists what can be loaded.
pub fn check(config: &Value) -> Result<Architecture, String> {
    let classes: Vec<&str> =
        config.get("architectures").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(found) = SUPPORTED.iter().find(|known| classes.first() == Some(&known.class)) {
        return Ok(*found);
    }
    let named = match classes.first() {
        Some(class) => format!("the architecture `{class}`"),
        None => match config.get("model_type").and_then(Value::as_str) {
            Some(model_type) => format!("`config.json` without `architectures` (model_type `{model_type}`)"),
            None => "`config.json` without `architectures`".to_owned(),
        },
    };
    Err(format!("the engine cannot load {named}; it loads {}", list()))
}

/// Whether mistral.rs loads an architecture.
#[must_use]
pub fn is_of_mistralrs(class: &str) -> bool {
    const NATIVE_ONLY: [&str; 8] = [
        "Gemma3ForCausalLM",
        "GraniteForCausalLM",
        "Olmo2ForCausalLM",
        "StableLmForCausalLM",
        "GPTNeoXForCausalLM",
        "GPT2LMHeadModel",
        "GPTNeoForCausalLM",
        "OPTForCausalLM",
    ];
    SUPPORTED.iter().any(|known| known.class == class) && !NATIVE_ONLY.contains(&class)
}

/// The class names, separated by commas, for messages.
#[must_use]
pub fn list() -> String {
    SUPPORTED.iter().map(|known| known.class).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_known_class_is_accepted_and_an_unknown_one_names_the_choices() {
        assert_eq!(check(&json!({"architectures": ["LlamaForCausalLM"]})).map(|known| known.model_type), Ok("llama"));
        let refusal = check(&json!({"architectures": ["MambaForCausalLM"], "model_type": "mamba"})).unwrap_err();
        assert!(refusal.contains("`MambaForCausalLM`") && refusal.contains("GPTNeoXForCausalLM"), "{refusal}");
        assert!(check(&json!({"model_type": "llama"})).is_err());
    }
}
