//! Writes a GGUF file of a Llama-shaped safetensors model, for the tests and for comparing quantizations.
//!
//! `cargo bench --bench make_gguf -- MODEL_FOLDER OUTPUT.gguf F32|F16|Q8_0|Q4_0|…`
//!
//! Names and metadata as the GGUF description in the `ggml` repository gives them. Rows of the query and key matrices are reordered: GGUF
//! rotates neighbouring pairs, transformers the two halves of a head. Norms stay in F32.

use anyhow::Context;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::Path;

/// Writes `output` from the model in `folder`.
pub(crate) fn write_gguf(folder: &Path, output: &Path, kind: GgmlDType) -> anyhow::Result<()> {
    let config: Json = read(&folder.join("config.json"))?;
    let number = |name: &str| config[name].as_u64().with_context(|| format!("config.json has no whole number {name}"));
    let (heads, key_heads) = (number("num_attention_heads")?, number("num_key_value_heads")?);
    let head_width = number("head_dim").or_else(|_| number("hidden_size").map(|hidden| hidden / heads))?;
    let mut weights: HashMap<String, Tensor> = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            weights.extend(candle_core::safetensors::load(&path, &Device::Cpu)?);
        }
    }
    let mut tensors = Vec::new();
    let mut add = |from: &str, to: String, turned: Option<u64>| -> anyhow::Result<()> {
        let weight = weights.get(from).with_context(|| format!("the weights have no {from}"))?.to_dtype(DType::F32)?;
        let weight = match turned {
            Some(heads) => pairs_from_halves(&weight, usize::try_from(heads)?)?,
            None => weight,
        };
        let kind = if weight.rank() == 1 { GgmlDType::F32 } else { kind };
        tensors.push((to, QTensor::quantize(&weight, kind)?));
        Ok(())
    };
    add("model.embed_tokens.weight", "token_embd.weight".to_owned(), None)?;
    add("model.norm.weight", "output_norm.weight".to_owned(), None)?;
    if weights.contains_key("lm_head.weight") {
        add("lm_head.weight", "output.weight".to_owned(), None)?;
    }
    for layer in 0..number("num_hidden_layers")? {
        for (from, to, turned) in [
            ("self_attn.q_proj", "attn_q", Some(heads)),
            ("self_attn.k_proj", "attn_k", Some(key_heads)),
            ("self_attn.v_proj", "attn_v", None),
            ("self_attn.o_proj", "attn_output", None),
            ("mlp.gate_proj", "ffn_gate", None),
            ("mlp.up_proj", "ffn_up", None),
            ("mlp.down_proj", "ffn_down", None),
            ("input_layernorm", "attn_norm", None),
            ("post_attention_layernorm", "ffn_norm", None),
        ] {
            add(&format!("model.layers.{layer}.{from}.weight"), format!("blk.{layer}.{to}.weight"), turned)?;
        }
    }

    let mut metadata: Vec<(String, Value)> = vec![
        ("general.architecture".to_owned(), Value::String("llama".to_owned())),
        ("general.name".to_owned(), Value::String("demo".to_owned())),
    ];
    for (name, value) in [
        ("context_length", number("max_position_embeddings")?),
        ("embedding_length", number("hidden_size")?),
        ("block_count", number("num_hidden_layers")?),
        ("feed_forward_length", number("intermediate_size")?),
        ("rope.dimension_count", head_width),
        ("attention.head_count", heads),
        ("attention.head_count_kv", key_heads),
        ("attention.key_length", head_width),
        ("attention.value_length", head_width),
        ("vocab_size", number("vocab_size")?),
    ] {
        metadata.push((format!("llama.{name}"), Value::U32(u32::try_from(value)?)));
    }
    let theta = config["rope_parameters"]["rope_theta"].as_f64().or_else(|| config["rope_theta"].as_f64()).unwrap_or(1e4);
    let epsilon = config["rms_norm_eps"].as_f64().context("config.json has no rms_norm_eps")?;
    #[expect(clippy::cast_possible_truncation, reason = "the format has 32 bits for them")]
    for (name, value) in [("rope.freq_base", theta as f32), ("attention.layer_norm_rms_epsilon", epsilon as f32)] {
        metadata.push((format!("llama.{name}"), Value::F32(value)));
    }
    metadata.extend(tokenizer_metadata(folder, &config)?);

    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = std::io::BufWriter::new(std::fs::File::create(output)?);
    gguf_file::write(&mut file, &metadata, &tensors)?;
    Ok(())
}

/// Rows (head, half, place) in the order (head, place, half).
fn pairs_from_halves(weight: &Tensor, heads: usize) -> anyhow::Result<Tensor> {
    let (rows, columns) = weight.dims2()?;
    let turned = weight.reshape((heads, 2, rows / heads / 2, columns))?.transpose(1, 2)?.contiguous()?;
    Ok(turned.reshape((rows, columns))?)
}

/// Tokens and merges of a byte-level BPE tokenizer.
fn tokenizer_metadata(folder: &Path, config: &Json) -> anyhow::Result<Vec<(String, Value)>> {
    let tokenizer: Json = read(&folder.join("tokenizer.json"))?;
    let vocabulary = tokenizer["model"]["vocab"].as_object().context("the tokenizer has no vocabulary")?;
    let special = tokenizer["added_tokens"].as_array().cloned().unwrap_or_default();
    let mut by_id: Vec<(u64, String, i32)> = vocabulary.iter().filter_map(|(token, id)| Some((id.as_u64()?, token.clone(), 1))).collect();
    for token in &special {
        if let (Some(id), Some(text)) = (token["id"].as_u64(), token["content"].as_str()) {
            by_id.retain(|(known, _, _)| *known != id);
            by_id.push((id, text.to_owned(), 3));
        }
    }
    by_id.sort();
    let merges = tokenizer["model"]["merges"].as_array().context("the tokenizer has no merges")?;
    let merge = |merge: &Json| match merge {
        Json::String(text) => text.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default()),
    };
    let id = |name: &str| config[name].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    let list = |values: Vec<Value>| Value::Array(values);
    Ok(vec![
        ("tokenizer.ggml.model".to_owned(), Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.tokens".to_owned(), list(by_id.iter().map(|(_, token, _)| Value::String(token.clone())).collect())),
        ("tokenizer.ggml.token_type".to_owned(), list(by_id.iter().map(|(_, _, kind)| Value::I32(*kind)).collect())),
        ("tokenizer.ggml.merges".to_owned(), list(merges.iter().map(|pair| Value::String(merge(pair))).collect())),
        ("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(id("bos_token_id"))),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(id("eos_token_id"))),
    ])
}

fn read(path: &Path) -> anyhow::Result<Json> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// A format by the name that GGUF gives it.
pub(crate) fn kind_of(name: &str) -> anyhow::Result<GgmlDType> {
    Ok(match name {
        "F32" => GgmlDType::F32,
        "F16" => GgmlDType::F16,
        "Q8_0" => GgmlDType::Q8_0,
        "Q5_0" => GgmlDType::Q5_0,
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        other => anyhow::bail!("{other} is none of F32, F16, Q8_0, Q5_0, Q4_0, Q4_1"),
    })
}

#[allow(dead_code, reason = "the test takes the functions above")]
fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [folder, output, kind] = &arguments[..] else {
        anyhow::bail!("usage: make_gguf MODEL_FOLDER OUTPUT.gguf F32|F16|Q8_0|Q5_0|Q4_0|Q4_1");
    };
    write_gguf(Path::new(folder), Path::new(output), kind_of(kind)?)
}
