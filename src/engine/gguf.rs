//! What a GGUF file says that must agree with the model's own tokenizer and configuration before a number is published for it.

use super::EngineError;
use super::tokenizer::ModelTokenizer;
use candle_core::quantized::gguf_file::{Content, Value};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Share of the tokens that must be the tokenizer's: converters rename unused and control tokens.
const LEAST_SAME_TOKENS: f64 = 0.9;

/// Facts of a GGUF file.
pub(super) struct GgufFile {
    /// Longest sequence for which the engine makes room.
    pub(super) context_length: Option<usize>,
    /// Rows of the embedding.
    pub(super) vocabulary: Option<usize>,
    tokens: Vec<String>,
}

impl GgufFile {
    /// Reads the header of a file (of several parts, the first).
    ///
    /// # Errors
    /// [`EngineError::Load`] where it is no GGUF file.
    pub(super) fn read(path: &Path) -> Result<Self, EngineError> {
        let wrong = |problem: &dyn std::fmt::Display| EngineError::Load(format!("{}: {problem}", path.display()));
        let mut reader = BufReader::new(File::open(path).map_err(|error| wrong(&error))?);
        let content = Content::read(&mut reader).map_err(|error| wrong(&error))?;
        let architecture = content.metadata.get("general.architecture").and_then(|value| value.to_string().ok()).cloned();
        let architecture = architecture.ok_or_else(|| wrong(&"`general.architecture` is missing"))?;
        let number = |key: String| content.metadata.get(&key).and_then(|value| value.to_u64().ok()).and_then(|n| usize::try_from(n).ok());
        let scaling = content.metadata.get(&format!("{architecture}.rope.scaling.type")).and_then(|value| value.to_string().ok());
        let factors = content.tensor_infos.keys().any(|name| name.starts_with("rope_f"));
        if factors || scaling.is_some_and(|kind| kind != "none") {
            return Err(wrong(
                &"its rotary embedding is scaled (rope_freqs, rope.scaling), which mistral.rs 0.8.1 leaves out of GGUF files: the answers would be wrong. Use `format: isq` on the safetensors weights",
            ));
        }
        let tokens = content.metadata.get("tokenizer.ggml.tokens").and_then(|value| value.to_vec().ok());
        let text = |value: &Value| value.to_string().ok().cloned().unwrap_or_default();
        Ok(Self {
            context_length: number(format!("{architecture}.context_length")),
            vocabulary: content.tensor_infos.get("token_embd.weight").and_then(|tensor| tensor.shape.dims().first().copied()),
            tokens: tokens.map(|tokens| tokens.iter().map(text).collect()).unwrap_or_default(),
        })
    }

    /// Checks that the file's tokens are the tokenizer's, id by id: prompts are tokenised by the latter.
    ///
    /// # Errors
    /// [`EngineError::Load`] where too many differ.
    pub(super) fn check(&self, tokenizer: &ModelTokenizer, path: &Path) -> Result<(), EngineError> {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let same = |(id, token): (usize, &String)| u32::try_from(id).is_ok_and(|id| tokenizer.token(id).as_ref() == Some(token));
        let count = self.tokens.iter().enumerate().filter(|&(id, token)| same((id, token))).count();
        if (count as f64) < LEAST_SAME_TOKENS * self.tokens.len() as f64 {
            return Err(EngineError::Load(format!(
                "{}: only {count} of its {} tokens are those of the model's tokenizer.json: it was made from another model",
                path.display(),
                self.tokens.len()
            )));
        }
        Ok(())
    }
}
