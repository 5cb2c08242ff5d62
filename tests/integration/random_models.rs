//! Random models of every family that the native engine computes, with the demo model's tokenizer.
//!
//! The tensors are listed here once more, from the published definitions and not from the engine's tables, so that an error there is not
//! repeated. All biases and normalisation weights are moved away from their initial values.

use rand_mt::Mt64;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Tokens of the demo model's tokenizer.
pub(crate) const VOCABULARY: usize = 4096;

/// A configuration of a class: the fields that all cases share, and those of the case.
pub(crate) fn config(class: &str, fields: Value) -> Value {
    let mut config = match class {
        "GPT2LMHeadModel" => json!({"model_type": "gpt2", "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 256}),
        "GPTNeoForCausalLM" => json!({
            "model_type": "gpt_neo", "hidden_size": 48, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 256,
            "attention_types": [[["global", "local"], 2]], "window_size": 9
        }),
        "OPTForCausalLM" => json!({
            "model_type": "opt", "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 80,
            "max_position_embeddings": 256
        }),
        _ => json!({
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 256,
            "rope_theta": 10000.0
        }),
    };
    let all = config.as_object_mut().expect("an object");
    if class == "GPTNeoXForCausalLM" {
        all.remove("rope_theta");
    }
    // mistral.rs has no defaults for these.
    if ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM", "Phi3ForCausalLM"]
        .contains(&class)
    {
        all.insert("hidden_act".to_owned(), json!("silu"));
        all.insert("rms_norm_eps".to_owned(), json!(1e-5));
        all.insert("tie_word_embeddings".to_owned(), json!(false));
    }
    all.insert("architectures".to_owned(), json!([class]));
    all.insert("vocab_size".to_owned(), json!(VOCABULARY));
    for name in ["bos_token_id", "eos_token_id"] {
        all.insert(name.to_owned(), json!(0));
    }
    all.extend(fields.as_object().expect("an object").clone());
    config
}

/// A list of tensors, being written down.
struct Names<'a> {
    config: &'a Value,
    found: Vec<(String, Vec<usize>)>,
}

impl Names<'_> {
    fn size(&self, name: &str) -> usize {
        usize::try_from(self.config[name].as_u64().unwrap_or_else(|| panic!("no {name}"))).expect("a size")
    }

    fn size_or(&self, name: &str, other: usize) -> usize {
        if self.config[name].is_u64() { self.size(name) } else { other }
    }

    fn is(&self, name: &str, default: bool) -> bool {
        self.config[name].as_bool().unwrap_or(default)
    }

    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.found.push((name.into(), shape.to_vec()));
    }

    /// Outputs × inputs, as all but GPT-2 store it.
    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, has_bias: bool) {
        self.add(format!("{name}.weight"), &[outputs, inputs]);
        if has_bias {
            self.add(format!("{name}.bias"), &[outputs]);
        }
    }

    fn norm(&mut self, name: &str, width: usize, has_bias: bool) {
        self.add(format!("{name}.weight"), &[width]);
        if has_bias {
            self.add(format!("{name}.bias"), &[width]);
        }
    }

    fn llama(&mut self, class: &str) {
        let (hidden, heads, inner) = (self.size("hidden_size"), self.size("num_attention_heads"), self.size("intermediate_size"));
        let groups = self.size_or("num_key_value_heads", heads);
        let width = self.size_or("head_dim", hidden / heads);
        let bias = self.is("attention_bias", false);
        let reads_bias = bias || class == "Qwen2ForCausalLM" || self.is("use_qkv_bias", false);
        let (is_layer_norm, mlp_bias) = (class == "StableLmForCausalLM", self.is("mlp_bias", false));
        self.add("model.embed_tokens.weight", &[VOCABULARY, hidden]);
        for layer in 0..self.size("num_hidden_layers") {
            let at = |part: &str| format!("model.layers.{layer}.{part}");
            if class == "Phi3ForCausalLM" {
                self.linear(&at("self_attn.qkv_proj"), hidden, (heads + 2 * groups) * width, false);
                self.linear(&at("mlp.gate_up_proj"), hidden, 2 * inner, false);
            } else {
                for (name, count) in [("q_proj", heads), ("k_proj", groups), ("v_proj", groups)] {
                    self.linear(&at(&format!("self_attn.{name}")), hidden, count * width, reads_bias);
                }
                self.linear(&at("mlp.gate_proj"), hidden, inner, mlp_bias);
                self.linear(&at("mlp.up_proj"), hidden, inner, mlp_bias);
            }
            self.linear(&at("self_attn.o_proj"), heads * width, hidden, bias);
            self.linear(&at("mlp.down_proj"), inner, hidden, mlp_bias);
            let norms: &[&str] = match class {
                "Olmo2ForCausalLM" => &["post_attention_layernorm", "post_feedforward_layernorm"],
                "Gemma2ForCausalLM" | "Gemma3ForCausalLM" => {
                    &["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"]
                }
                "StableLmForCausalLM" if self.is("use_parallel_residual", false) => &["input_layernorm"],
                _ => &["input_layernorm", "post_attention_layernorm"],
            };
            for norm in norms {
                self.norm(&at(norm), hidden, is_layer_norm);
            }
            match class {
                "Qwen3ForCausalLM" | "Gemma3ForCausalLM" => {
                    self.norm(&at("self_attn.q_norm"), width, false);
                    self.norm(&at("self_attn.k_norm"), width, false);
                }
                "Olmo2ForCausalLM" => {
                    self.norm(&at("self_attn.q_norm"), heads * width, false);
                    self.norm(&at("self_attn.k_norm"), groups * width, false);
                }
                "StableLmForCausalLM" if self.is("qk_layernorm", false) => {
                    for head in 0..heads {
                        self.norm(&at(&format!("self_attn.q_layernorm.norms.{head}")), width, false);
                    }
                    for head in 0..groups {
                        self.norm(&at(&format!("self_attn.k_layernorm.norms.{head}")), width, false);
                    }
                }
                _ => {}
            }
        }
        self.norm("model.norm", hidden, is_layer_norm);
        let ties = ["SmolLM3ForCausalLM", "GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM"].contains(&class);
        if !self.is("tie_word_embeddings", ties) {
            self.linear("lm_head", hidden, VOCABULARY, false);
        }
    }

    fn phi(&mut self) {
        let (hidden, heads, inner) = (self.size("hidden_size"), self.size("num_attention_heads"), self.size("intermediate_size"));
        let (groups, width) = (self.size_or("num_key_value_heads", heads), hidden / heads);
        self.add("model.embed_tokens.weight", &[VOCABULARY, hidden]);
        for layer in 0..self.size("num_hidden_layers") {
            let at = |part: &str| format!("model.layers.{layer}.{part}");
            self.linear(&at("self_attn.q_proj"), hidden, hidden, true);
            self.linear(&at("self_attn.k_proj"), hidden, groups * width, true);
            self.linear(&at("self_attn.v_proj"), hidden, groups * width, true);
            self.linear(&at("self_attn.dense"), hidden, hidden, true);
            self.linear(&at("mlp.fc1"), hidden, inner, true);
            self.linear(&at("mlp.fc2"), inner, hidden, true);
            self.norm(&at("input_layernorm"), hidden, true);
            if self.is("qk_layernorm", false) {
                self.norm(&at("self_attn.q_layernorm"), width, true);
                self.norm(&at("self_attn.k_layernorm"), width, true);
            }
        }
        self.norm("model.final_layernorm", hidden, true);
        if !self.is("tie_word_embeddings", false) {
            self.add("lm_head.weight", &[VOCABULARY, hidden]);
        }
        self.add("lm_head.bias", &[VOCABULARY]);
    }

    fn gpt_neox(&mut self) {
        let (hidden, inner) = (self.size("hidden_size"), self.size("intermediate_size"));
        let has_bias = self.is("attention_bias", true);
        self.add("gpt_neox.embed_in.weight", &[VOCABULARY, hidden]);
        for layer in 0..self.size("num_hidden_layers") {
            let at = |part: &str| format!("gpt_neox.layers.{layer}.{part}");
            self.linear(&at("attention.query_key_value"), hidden, 3 * hidden, has_bias);
            self.linear(&at("attention.dense"), hidden, hidden, has_bias);
            self.linear(&at("mlp.dense_h_to_4h"), hidden, inner, true);
            self.linear(&at("mlp.dense_4h_to_h"), inner, hidden, true);
            self.norm(&at("input_layernorm"), hidden, true);
            self.norm(&at("post_attention_layernorm"), hidden, true);
        }
        self.norm("gpt_neox.final_layer_norm", hidden, true);
        if !self.is("tie_word_embeddings", false) {
            self.linear("embed_out", hidden, VOCABULARY, false);
        }
    }

    fn gpt2(&mut self) {
        let hidden = self.size("n_embd");
        let inner = self.size_or("n_inner", 4 * hidden);
        self.add("transformer.wte.weight", &[VOCABULARY, hidden]);
        self.add("transformer.wpe.weight", &[self.size("n_positions"), hidden]);
        for layer in 0..self.size("n_layer") {
            let at = |part: &str| format!("transformer.h.{layer}.{part}");
            // Inputs × outputs.
            for (name, inputs, outputs) in [
                ("attn.c_attn", hidden, 3 * hidden),
                ("attn.c_proj", hidden, hidden),
                ("mlp.c_fc", hidden, inner),
                ("mlp.c_proj", inner, hidden),
            ] {
                self.add(at(&format!("{name}.weight")), &[inputs, outputs]);
                self.add(at(&format!("{name}.bias")), &[outputs]);
            }
            self.norm(&at("ln_1"), hidden, true);
            self.norm(&at("ln_2"), hidden, true);
        }
        self.norm("transformer.ln_f", hidden, true);
        if !self.is("tie_word_embeddings", true) {
            self.linear("lm_head", hidden, VOCABULARY, false);
        }
    }

    fn gpt_neo(&mut self) {
        let hidden = self.size("hidden_size");
        let inner = self.size_or("intermediate_size", 4 * hidden);
        self.add("transformer.wte.weight", &[VOCABULARY, hidden]);
        self.add("transformer.wpe.weight", &[self.size("max_position_embeddings"), hidden]);
        for layer in 0..self.size("num_layers") {
            let at = |part: &str| format!("transformer.h.{layer}.{part}");
            for name in ["q_proj", "k_proj", "v_proj"] {
                self.linear(&at(&format!("attn.attention.{name}")), hidden, hidden, false);
            }
            self.linear(&at("attn.attention.out_proj"), hidden, hidden, true);
            self.linear(&at("mlp.c_fc"), hidden, inner, true);
            self.linear(&at("mlp.c_proj"), inner, hidden, true);
            self.norm(&at("ln_1"), hidden, true);
            self.norm(&at("ln_2"), hidden, true);
        }
        self.norm("transformer.ln_f", hidden, true);
        if !self.is("tie_word_embeddings", true) {
            self.linear("lm_head", hidden, VOCABULARY, false);
        }
    }

    fn opt(&mut self) {
        let (hidden, inner) = (self.size("hidden_size"), self.size("ffn_dim"));
        let width = self.size_or("word_embed_proj_dim", hidden);
        let (has_bias, is_affine) = (self.is("enable_bias", true), self.is("layer_norm_elementwise_affine", true));
        self.add("model.decoder.embed_tokens.weight", &[VOCABULARY, width]);
        self.add("model.decoder.embed_positions.weight", &[self.size("max_position_embeddings") + 2, hidden]);
        if width != hidden {
            self.linear("model.decoder.project_in", width, hidden, false);
            self.linear("model.decoder.project_out", hidden, width, false);
        }
        for layer in 0..self.size("num_hidden_layers") {
            let at = |part: &str| format!("model.decoder.layers.{layer}.{part}");
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&at(&format!("self_attn.{name}")), hidden, hidden, has_bias);
            }
            self.linear(&at("fc1"), hidden, inner, has_bias);
            self.linear(&at("fc2"), inner, hidden, has_bias);
            if is_affine {
                self.norm(&at("self_attn_layer_norm"), hidden, true);
                self.norm(&at("final_layer_norm"), hidden, true);
            }
        }
        if is_affine && self.is("do_layer_norm_before", true) {
            self.norm("model.decoder.final_layer_norm", hidden, true);
        }
        if !self.is("tie_word_embeddings", true) {
            self.linear("lm_head", width, VOCABULARY, false);
        }
    }
}

/// Names and shapes of all tensors of a model.
pub(crate) fn tensors(config: &Value) -> Vec<(String, Vec<usize>)> {
    let mut names = Names { config, found: Vec::new() };
    match config["architectures"][0].as_str().expect("a class") {
        "PhiForCausalLM" => names.phi(),
        "GPTNeoXForCausalLM" => names.gpt_neox(),
        "GPT2LMHeadModel" => names.gpt2(),
        "GPTNeoForCausalLM" => names.gpt_neo(),
        "OPTForCausalLM" => names.opt(),
        class => names.llama(class),
    }
    names.found
}

/// Numbers of mean 0 and variance 1.
struct Noise(Mt64);

impl Noise {
    fn next(&mut self) -> f32 {
        // The sum of twelve uniform numbers: near enough to the normal distribution.
        let unit = |word: u64| (word >> 40) as f32 / (1u64 << 24) as f32;
        (0..12).map(|_| unit(self.0.next_u64())).sum::<f32>() - 6.0
    }
}

/// Values of a tensor, at sizes that leave every part of the computation its share in the result.
fn values(name: &str, shape: &[usize], is_offset: bool, noise: &mut Noise) -> Vec<f32> {
    let count: usize = shape.iter().product();
    let (middle, spread) = match shape {
        [_, _] if name.contains("embed_") || name.contains("wte") || name.contains("wpe") => (0.0, 0.5),
        [_, columns] => (0.0, 1.6 / (*columns as f32).sqrt()),
        _ if name.ends_with("bias") => (0.0, 0.3),
        // The Gemmas store the weights of their normalisations less 1.
        _ => (if is_offset { 0.0 } else { 1.0 }, 0.3),
    };
    (0..count).map(|_| middle + spread * noise.next()).collect()
}

/// Writes a random model with the demo model's tokenizer into a folder.
pub(crate) fn write(dir: &Path, config: &Value, seed: u64) {
    let demo: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(demo.join(name), dir.join(name)).expect("copied");
    }
    std::fs::write(dir.join("config.json"), config.to_string()).expect("written");
    let is_offset = config["architectures"][0].as_str().expect("a class").starts_with("Gemma");
    let mut noise = Noise(Mt64::new(seed));
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = tensors(config)
        .into_iter()
        .map(|(name, shape)| {
            let bytes = values(&name, &shape, is_offset, &mut noise).into_iter().flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views =
        stored.iter().map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor")));
    std::fs::write(dir.join("model.safetensors"), safetensors::serialize(views, None).expect("serialised")).expect("written");
}
