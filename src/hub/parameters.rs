//! How many parameters a model has, from the headers of its weight files alone.
//!
//! Counted is what was trained: each weight once, whatever its storage.
//! - Tied embeddings: an output embedding that the configuration ties to the input embedding counts once, even if the file stores it twice.
//! - Packed weights count unpacked. Known layouts: GPTQ and AWQ (`qweight`), bitsandbytes 4-bit (`U8` with `absmax`) and 8-bit (`SCB`),
//!   fp8 (one byte per weight), compressed-tensors (`weight_packed`), MLX (`U32` with `biases`), MXFP4 (`_blocks`), `BitNet` (`U8`).
//!   Scales, zero points and other constants of the packing do not count. Another packed method is an error, not a guess.
//! - Buffers do not count: rotary frequencies, causal masks, position ids, Boolean tensors.

use super::cache::shorten;
use super::error::HubError;
use super::{gguf, safetensors};
use serde_json::Value;
use std::collections::HashSet;

/// Families whose configuration ties the embeddings unless it says otherwise (defaults of the `transformers` library).
const TIED_BY_DEFAULT: &[&str] = &[
    "bloom",
    "cohere",
    "cohere2",
    "falcon",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "lfm2",
    "mamba",
    "mpt",
    "opt",
    "smollm3",
    "starcoder2",
    "xglm",
];

/// Number of parameters of a model whose safetensors files have these tensors; `config` is its `config.json`.
pub(super) fn of_safetensors(tensors: &[safetensors::Tensor], config: Option<&Value>, what: &str) -> Result<u64, HubError> {
    let names: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    if names.len() != tensors.len() {
        return Err(HubError::corrupt(what, "a tensor occurs in two of its files"));
    }
    let packing = Packing::of(config, &names, what)?;
    let tied = is_tied(config);
    let mut total = 0_u128;
    for tensor in tensors {
        if is_buffer(tensor) || (tied && is_tied_output(tensor, tensors)) {
            continue;
        }
        total += packing.parameters(tensor, &names, what)?;
    }
    u64::try_from(total).map_err(|_| HubError::corrupt(what, "its tensors claim more parameters than can be counted"))
}

/// Number of parameters of a GGUF file; `config` is the repository's `config.json`, where it has one.
pub(super) fn of_gguf(header: &gguf::Header, config: Option<&Value>, what: &str) -> Result<u64, HubError> {
    let tied = match config {
        Some(_) => is_tied(config),
        None => header.architecture().is_some_and(|name| TIED_BY_DEFAULT.contains(&name)),
    };
    let input_shape = header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight").map(|tensor| &tensor.shape);
    let mut total = 0_u128;
    for tensor in &header.tensors {
        let rotary = matches!(tensor.name.as_str(), "rope_freqs.weight" | "rope_factors_long.weight" | "rope_factors_short.weight");
        let stored_twice = tied && tensor.name == "output.weight" && input_shape == Some(&tensor.shape);
        if !rotary && !stored_twice {
            total += u128::from(tensor.elements);
        }
    }
    u64::try_from(total).map_err(|_| HubError::corrupt(what, "its tensors claim more parameters than can be counted"))
}

/// The part of a configuration that describes the language model.
fn text_config(config: &Value) -> &Value {
    config.get("text_config").filter(|text| text.is_object()).unwrap_or(config)
}

fn is_tied(config: Option<&Value>) -> bool {
    let Some(config) = config else { return false };
    let stated = config.get("tie_word_embeddings").or_else(|| text_config(config).get("tie_word_embeddings"));
    let family = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    stated.and_then(Value::as_bool).unwrap_or_else(|| TIED_BY_DEFAULT.contains(&family))
}

/// Whether a tensor is the output embedding of a model that also stores an input embedding of the same shape.
fn is_tied_output(tensor: &safetensors::Tensor, all: &[safetensors::Tensor]) -> bool {
    const OUTPUTS: &[&str] = &["lm_head.weight", "embed_out.weight", "output.weight"];
    const INPUTS: &[&str] =
        &["embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "embeddings.weight", "embedding.weight"];
    let named = |name: &str, ends: &[&str]| {
        ends.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    };
    named(&tensor.name, OUTPUTS) && all.iter().any(|other| named(&other.name, INPUTS) && other.shape == tensor.shape)
}

/// Tensors that are computed, not trained, but that some files store.
fn is_buffer(tensor: &safetensors::Tensor) -> bool {
    let last = tensor.name.rsplit('.').next().unwrap_or_default();
    // The causal mask of GPT-2, GPT-Neo and GPT-NeoX is stored as `attn.bias` of shape [1, 1, n, n].
    let causal_mask = last == "bias" && matches!(tensor.shape.as_slice(), [1, 1, rows, columns] if rows == columns);
    tensor.dtype == "BOOL" || causal_mask || matches!(last, "inv_freq" | "masked_bias" | "position_ids" | "original_inv_freq")
}

/// How a model's weights are packed into its tensors.
enum Packing {
    /// One element per parameter.
    Plain,
    /// `qweight` of 32-bit words (GPTQ, AWQ).
    Words { bits: u64 },
    /// `U8` weights of two parameters per byte beside `absmax`, or `I8` beside `SCB`.
    Bitsandbytes,
    /// `weight_packed`: words of 32 bits (`I32`), or bytes (`U8`).
    CompressedTensors { bits: u64 },
    /// One byte per weight, scales beside.
    Fp8,
    /// `U32` words beside `scales` and `biases`.
    Mlx { bits: u64 },
    /// `<name>_blocks` of two parameters per byte beside `<name>_scales`.
    Mxfp4,
    /// `U8` of four parameters per byte beside `weight_scale`.
    Bitnet,
}

impl Packing {
    fn of(config: Option<&Value>, names: &HashSet<&str>, what: &str) -> Result<Self, HubError> {
        let quantization =
            config.and_then(|config| config.get("quantization_config").or_else(|| text_config(config).get("quantization_config")));
        let bits_at = |value: Option<&Value>| value.and_then(Value::as_u64).filter(|bits| matches!(bits, 2 | 3 | 4 | 8));
        let missing_bits = || HubError::unsupported(what, "its quantization_config has no `bits` of 2, 3, 4 or 8");
        let Some(quantization) = quantization.filter(|value| value.is_object()) else {
            if let Some(mlx) = config.and_then(|config| config.get("quantization")).filter(|value| value.is_object()) {
                return Ok(Self::Mlx { bits: bits_at(mlx.get("bits")).ok_or_else(missing_bits)? });
            }
            let packed = names.iter().find(|name| name.ends_with(".qweight") || name.ends_with(".weight_packed"));
            return match packed {
                Some(name) => {
                    let reason =
                        format!("the tensor {:?} is packed, but config.json has no quantization_config that says how", shorten(name));
                    Err(HubError::unsupported(what, reason))
                }
                None => Ok(Self::Plain),
            };
        };
        let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or_else(|| {
            let bitsandbytes = ["load_in_4bit", "load_in_8bit", "_load_in_4bit"].iter().any(|key| quantization.get(key).is_some());
            if bitsandbytes { "bitsandbytes" } else { "" }
        });
        match method.to_ascii_lowercase().as_str() {
            "gptq" | "awq" | "gptqmodel" => {
                let bits = bits_at(quantization.get("bits").or_else(|| quantization.get("w_bit")));
                Ok(Self::Words { bits: bits.ok_or_else(missing_bits)? })
            }
            "bitsandbytes" => Ok(Self::Bitsandbytes),
            "fp8" | "fbgemm_fp8" => Ok(Self::Fp8),
            "compressed-tensors" | "compressed_tensors" => {
                let groups = quantization.get("config_groups").and_then(Value::as_object);
                let bits = groups.and_then(|groups| groups.values().find_map(|group| bits_at(group.pointer("/weights/num_bits"))));
                Ok(Self::CompressedTensors { bits: bits.unwrap_or(8) })
            }
            "mxfp4" => Ok(Self::Mxfp4),
            "bitnet" => Ok(Self::Bitnet),
            other => {
                let known = "gptq, awq, bitsandbytes, fp8, compressed-tensors, mxfp4, bitnet";
                let reason =
                    format!("its quantization method {:?} packs weights in a way that is not known (known: {known})", shorten(other));
                Err(HubError::unsupported(what, reason))
            }
        }
    }

    /// Parameters that a tensor stands for: its elements, those packed into it, or none for constants of the packing.
    fn parameters(&self, tensor: &safetensors::Tensor, names: &HashSet<&str>, what: &str) -> Result<u128, HubError> {
        let elements = u128::from(tensor.elements);
        let name = tensor.name.as_str();
        let beside =
            |suffix: &str, other: &str| name.strip_suffix(suffix).is_some_and(|stem| names.contains(format!("{stem}{other}").as_str()));
        let constant = |suffixes: &[&str], of: &str| suffixes.iter().any(|suffix| beside(suffix, of));
        let per_word = |bits: u64| elements * 32 / u128::from(bits);
        let expect_type = |types: &[&str]| {
            if types.contains(&tensor.dtype.as_str()) {
                Ok(())
            } else {
                Err(HubError::unsupported(
                    what,
                    format!("the packed tensor {:?} has the data type {}, not {}", shorten(name), tensor.dtype, types.join(" or ")),
                ))
            }
        };
        match self {
            Self::Plain => Ok(elements),
            Self::Words { bits } => {
                if name.ends_with(".qweight") {
                    expect_type(&["I32", "U32"])?;
                    return Ok(per_word(*bits));
                }
                Ok(if constant(&[".qzeros", ".scales", ".g_idx"], ".qweight") { 0 } else { elements })
            }
            Self::Bitsandbytes => {
                if name.ends_with(".weight") && names.contains(format!("{name}.absmax").as_str()) {
                    expect_type(&["U8"])?;
                    return Ok(elements * 2);
                }
                let state = name.rsplit_once(".weight.").is_some_and(|(stem, _)| names.contains(format!("{stem}.weight").as_str()));
                Ok(if state || constant(&[".SCB", ".weight_format"], ".weight") { 0 } else { elements })
            }
            Self::Fp8 => {
                let scales = [".weight_scale_inv", ".weight_scale", ".input_scale", ".activation_scale", ".input_scale_ub"];
                Ok(if constant(&scales, ".weight") { 0 } else { elements })
            }
            Self::CompressedTensors { bits } => {
                if name.ends_with(".weight_packed") {
                    expect_type(&["I32", "U8"])?;
                    return Ok(if tensor.dtype == "I32" { per_word(*bits) } else { elements * 8 / u128::from(*bits) });
                }
                let constants = [
                    ".weight_scale",
                    ".weight_zero_point",
                    ".weight_g_idx",
                    ".weight_shape",
                    ".weight_global_scale",
                    ".input_scale",
                    ".input_zero_point",
                    ".input_global_scale",
                    ".k_scale",
                    ".v_scale",
                ];
                Ok(if constant(&constants, ".weight_packed") || constant(&constants, ".weight") { 0 } else { elements })
            }
            Self::Mlx { bits } => {
                if name.ends_with(".weight") && tensor.dtype == "U32" {
                    return Ok(per_word(*bits));
                }
                Ok(if constant(&[".scales", ".biases"], ".weight") { 0 } else { elements })
            }
            Self::Mxfp4 => {
                if name.ends_with("_blocks") {
                    expect_type(&["U8"])?;
                    return Ok(elements * 2);
                }
                Ok(if constant(&["_scales"], "_blocks") { 0 } else { elements })
            }
            Self::Bitnet => {
                if name.ends_with(".weight") && tensor.dtype == "U8" {
                    return Ok(elements * 4);
                }
                Ok(if constant(&[".weight_scale"], ".weight") { 0 } else { elements })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tensor(name: &str, dtype: &str, shape: &[u64]) -> safetensors::Tensor {
        safetensors::Tensor { name: name.to_owned(), dtype: dtype.to_owned(), shape: shape.to_vec(), elements: shape.iter().product() }
    }

    fn count(tensors: &[safetensors::Tensor], config: &Value) -> Result<u64, HubError> {
        of_safetensors(tensors, Some(config), "model")
    }

    /// A linear layer of 64 → 32 with bias, the same in every layout: 64 · 32 + 32 parameters.
    #[test]
    fn packed_layouts_count_unpacked() {
        let bias = || tensor("l.bias", "F16", &[32]);
        let gptq = |bits: u64| {
            let rows = 64 * bits / 32;
            vec![
                tensor("l.qweight", "I32", &[rows, 32]),
                tensor("l.qzeros", "I32", &[1, 32 * bits / 32]),
                tensor("l.scales", "F16", &[1, 32]),
                tensor("l.g_idx", "I32", &[64]),
                bias(),
            ]
        };
        let nf4 = vec![
            tensor("l.weight", "U8", &[1024, 1]),
            tensor("l.weight.absmax", "F32", &[32]),
            tensor("l.weight.quant_map", "F32", &[16]),
            tensor("l.weight.quant_state.bitsandbytes__nf4", "U8", &[86]),
            bias(),
        ];
        let int8 = vec![tensor("l.weight", "I8", &[32, 64]), tensor("l.SCB", "F32", &[32]), tensor("l.weight_format", "U8", &[]), bias()];
        let fp8 = vec![tensor("l.weight", "F8_E4M3", &[32, 64]), tensor("l.weight_scale_inv", "F32", &[1, 1]), bias()];
        let packed = vec![
            tensor("l.weight_packed", "I32", &[32, 8]),
            tensor("l.weight_scale", "BF16", &[32, 1]),
            tensor("l.weight_shape", "I64", &[2]),
            bias(),
        ];
        let nvfp4 = vec![tensor("l.weight_packed", "U8", &[32, 32]), tensor("l.weight_scale", "F8_E4M3", &[32, 4]), bias()];
        let mlx =
            vec![tensor("l.weight", "U32", &[32, 8]), tensor("l.scales", "F16", &[32, 1]), tensor("l.biases", "F16", &[32, 1]), bias()];
        let mxfp4 = vec![tensor("l_blocks", "U8", &[32, 2, 16]), tensor("l_scales", "U8", &[32, 2]), tensor("l_bias", "BF16", &[32])];
        let bitnet = vec![tensor("l.weight", "U8", &[8, 64]), tensor("l.weight_scale", "BF16", &[1]), bias()];
        let groups = json!({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}});
        let cases = [
            (gptq(4), json!({"quantization_config": {"quant_method": "gptq", "bits": 4}})),
            (gptq(8), json!({"quantization_config": {"quant_method": "gptq", "bits": 8}})),
            (gptq(3), json!({"quantization_config": {"quant_method": "gptq", "bits": 3}})),
            (nf4, json!({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})),
            (int8, json!({"quantization_config": {"load_in_8bit": true}})),
            (fp8, json!({"quantization_config": {"quant_method": "fp8"}})),
            (packed, json!({"quantization_config": groups.clone()})),
            (nvfp4, json!({"quantization_config": groups})),
            (mlx, json!({"quantization": {"bits": 4, "group_size": 64}})),
            (mxfp4, json!({"quantization_config": {"quant_method": "mxfp4"}})),
            (bitnet, json!({"quantization_config": {"quant_method": "bitnet"}})),
        ];
        for (tensors, config) in cases {
            assert_eq!(count(&tensors, &config).unwrap(), 64 * 32 + 32, "{config}");
        }
        let awq = [tensor("l.qweight", "I32", &[64, 4]), tensor("l.qzeros", "I32", &[1, 4]), tensor("l.scales", "F16", &[1, 32]), bias()];
        assert_eq!(count(&awq, &json!({"quantization_config": {"quant_method": "awq", "bits": 4}})).unwrap(), 64 * 32 + 32);
    }

    /// A packing that is not known, or not declared, is an error and never a wrong number.
    #[test]
    fn unknown_packing_is_refused() {
        let tensors = [tensor("l.qweight", "I32", &[8, 32])];
        assert!(matches!(count(&tensors, &json!({})), Err(HubError::Unsupported { .. })));
        assert!(matches!(count(&tensors, &json!({"quantization_config": {"quant_method": "aqlm"}})), Err(HubError::Unsupported { .. })));
        assert!(matches!(
            count(&tensors, &json!({"quantization_config": {"quant_method": "gptq", "bits": 0}})),
            Err(HubError::Unsupported { .. })
        ));
        let mistyped = [tensor("l.qweight", "F32", &[8, 32])];
        assert!(matches!(
            count(&mistyped, &json!({"quantization_config": {"quant_method": "gptq", "bits": 4}})),
            Err(HubError::Unsupported { .. })
        ));
    }

    /// Tied embeddings count once, untied ones twice, and masks or frequencies never.
    #[test]
    fn ties_and_buffers() {
        let both = [tensor("model.embed_tokens.weight", "F32", &[100, 8]), tensor("lm_head.weight", "F32", &[100, 8])];
        assert_eq!(count(&both, &json!({"model_type": "llama", "tie_word_embeddings": true})).unwrap(), 800);
        assert_eq!(count(&both, &json!({"model_type": "llama"})).unwrap(), 1600);
        assert_eq!(count(&both, &json!({"model_type": "gemma"})).unwrap(), 800);
        assert_eq!(count(&both, &json!({"model_type": "gemma", "tie_word_embeddings": false})).unwrap(), 1600);
        let gpt2 = [
            tensor("h.0.attn.bias", "F32", &[1, 1, 1024, 1024]),
            tensor("h.0.attn.c_attn.bias", "F32", &[24]),
            tensor("h.0.attn.masked_bias", "F32", &[]),
            tensor("model.rotary_emb.inv_freq", "F32", &[4]),
            tensor("mask", "BOOL", &[64]),
        ];
        assert_eq!(count(&gpt2, &json!({"model_type": "gpt2"})).unwrap(), 24);
    }

    /// A tensor that two shards both carry makes the model ambiguous.
    #[test]
    fn a_tensor_in_two_files_is_refused() {
        let twice = [tensor("a", "F32", &[1]), tensor("a", "F32", &[1])];
        assert!(matches!(count(&twice, &json!({})), Err(HubError::Corrupt { .. })));
    }
}
