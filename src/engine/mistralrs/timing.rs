//! When the tokens of a generation come: for speed figures.

use super::{MistralRsModel, answer, request, unexpected};
use crate::engine::{EngineError, Timing, TokenId};
use ::mistralrs::core::{CustomLogitsProcessor, Response};
use candle_core::Tensor;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc::channel;

impl MistralRsModel {
    /// See [`crate::engine::LanguageModel::time_generation`].
    pub(super) fn time(&self, prompt_tokens: usize, new_tokens: usize) -> Result<Timing, EngineError> {
        let window = self.tokenizer.max_length();
        if prompt_tokens == 0 || new_tokens < 2 || prompt_tokens + new_tokens > window {
            return Err(EngineError::Request(format!(
                "a prompt of {prompt_tokens} tokens and {new_tokens} new ones cannot be timed in a window of {window}"
            )));
        }
        // Any tokens will do: what a pass costs does not depend on them.
        let vocabulary = self.vocabulary.max(2);
        let token = |place: usize| TokenId::try_from((place * 7919 + 13) % vocabulary).unwrap_or(0);
        let stopwatch = Arc::new(Stopwatch { moments: Mutex::new(Vec::with_capacity(new_tokens + 1)) });
        let (sender, mut receiver) = channel(4);
        let mut request = request((0..prompt_tokens).map(token).collect(), sender);
        request.sampling_params.max_len = Some(new_tokens);
        request.logits_processors = Some(vec![Arc::clone(&stopwatch) as Arc<dyn CustomLogitsProcessor>]);
        let begun = Instant::now();
        self.plain.send(request)?;
        match answer(&mut receiver)? {
            Response::CompletionDone(_) => self.plain.settle(&stopwatch)?,
            other => return Err(unexpected(other)),
        }
        let moments = super::lock(&stopwatch.moments);
        match (moments.first(), moments.get(new_tokens - 1)) {
            (Some(first), Some(last)) => Ok(Timing {
                first_token_s: first.saturating_duration_since(begun).as_secs_f64(),
                last_token_s: last.saturating_duration_since(begun).as_secs_f64(),
            }),
            _ => Err(EngineError::Computation(format!("mistral.rs wrote {} of {new_tokens} tokens", moments.len()))),
        }
    }
}

/// Notes when the engine has the logits of each token, and leaves them as they are.
struct Stopwatch {
    moments: Mutex<Vec<Instant>>,
}

impl CustomLogitsProcessor for Stopwatch {
    fn apply(&self, logits: &Tensor, _context: &[u32]) -> candle_core::Result<Tensor> {
        super::lock(&self.moments).push(Instant::now());
        Ok(logits.clone())
    }
}
