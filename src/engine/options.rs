//! What the caller chooses when a model is loaded.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a model's files are.
#[derive(Clone, Copy, Debug)]
pub struct ModelSource<'a> {
    /// Folder with `config.json`, `tokenizer.json` and, unless they are in a GGUF file, safetensors weights, as a hub snapshot has them.
    pub dir: &'a Path,
    /// Which weights.
    pub weights: WeightForm<'a>,
}

impl<'a> ModelSource<'a> {
    /// The safetensors weights of a folder.
    #[must_use]
    pub const fn folder(dir: &'a Path) -> Self {
        Self { dir, weights: WeightForm::Safetensors }
    }
}

/// Which weights of a model are loaded, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightForm<'a> {
    /// The folder's safetensors files, as they are.
    #[default]
    Safetensors,
    /// A GGUF file, or the parts of one in their order. Configuration and tokenizer are the folder's.
    Gguf(&'a [PathBuf]),
    /// The folder's safetensors files, quantized to this level while they are loaded (`Q8_0`, `Q4K`, …).
    Isq(&'a str),
}

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Where the model computes.
    pub device: Device,
    /// In which number format it computes.
    pub dtype: DType,
    /// Which engine computes.
    pub engine: Choice,
}

/// Which engine computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The one that suits the model and the device.
    #[default]
    Auto,
    /// mistral.rs.
    MistralRs,
    /// The native engine.
    Native,
}

/// Where a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The best one that this build and this machine have: CUDA, then Metal, then the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU (needs a build with the feature `cuda`).
    Cuda,
    /// The Apple GPU (needs a build with the feature `metal`).
    Metal,
}

/// In which number format a model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// `f32` on the processor, `bf16` on a GPU.
    #[default]
    Auto,
    /// 32-bit floating point: the format of parity with the reference harness.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
}

/// A word that names no device or number format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{word}`; one of {choices} is expected")]
pub struct UnknownChoice {
    what: &'static str,
    word: String,
    choices: &'static str,
}

impl FromStr for Device {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "metal" => Ok(Self::Metal),
            _ => Err(UnknownChoice { what: "device", word: word.to_owned(), choices: "auto, cpu, cuda, metal" }),
        }
    }
}

impl FromStr for DType {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            _ => Err(UnknownChoice { what: "dtype", word: word.to_owned(), choices: "auto, f32, bf16, f16" }),
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "mistralrs" => Ok(Self::MistralRs),
            "native" => Ok(Self::Native),
            _ => Err(UnknownChoice { what: "engine", word: word.to_owned(), choices: "auto, mistralrs, native" }),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::MistralRs => "mistralrs",
            Self::Native => "native",
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}
