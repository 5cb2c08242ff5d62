//! From text to token sequences and from values to answers: what every engine does alike around its own computation.

use super::tokenizer::{ModelTokenizer, ScoredTokens, excerpt, fit};
use super::{EngineError, Loglikelihood, LoglikelihoodRequest, RollingLoglikelihood, Sink, Usage};
use rayon::prelude::*;
use std::time::Instant;

/// What is read off for one target: its log-probability in nats, and whether it is the most probable token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Value {
    pub(super) logprob: f64,
    pub(super) is_top: bool,
}

/// Takes the values of a completed request.
pub(super) type Done<'a> = dyn FnMut(usize, &[Value]) -> Result<(), EngineError> + 'a;

/// Scores token sequences: the sequences, which of them need no answer, what it costs, and who takes the values.
pub(super) type Run<'a> = dyn FnMut(&[ScoredTokens], &[bool], &mut Usage, &mut Done<'_>) -> Result<(), EngineError> + 'a;

/// Scores token sequences by forward passes that share nothing, one for each run of sequences with the same input.
pub(super) type Alone<'a> = dyn FnMut(&[ScoredTokens], &mut Usage) -> Result<Vec<Vec<Value>>, EngineError> + 'a;

fn length(tokens: usize) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// [`super::LanguageModel::loglikelihood`] on top of an engine's own scoring.
pub(super) fn loglikelihood(
    tokenizer: &ModelTokenizer,
    requests: &[LoglikelihoodRequest],
    answered: &[bool],
    sink: &mut Sink<'_, Loglikelihood>,
    run: &mut Run<'_>,
) -> Result<Usage, EngineError> {
    let begun = Instant::now();
    let encoded: Result<Vec<(ScoredTokens, bool)>, EngineError> = requests
        .par_iter()
        .enumerate()
        .map(|(index, request)| tokenizer.scored(request).map_err(|error| of_request(index, error)))
        .collect();
    let (scored, truncated): (Vec<ScoredTokens>, Vec<bool>) = encoded?.into_iter().unzip();
    let mut usage = Usage::default();
    for (tokens, &truncated) in scored.iter().zip(&truncated) {
        usage.tokens_nominal += length(tokens.input.len());
        usage.truncated += u64::from(truncated);
    }
    run(&scored, answered, &mut usage, &mut |index, values| {
        let answer = sum_up(values, truncated[index])
            .ok_or_else(|| not_a_number(&format!("request {index} (continuation {})", excerpt(&requests[index].continuation))))?;
        sink(index, answer).map_err(EngineError::Stopped)
    })?;
    usage.seconds = begun.elapsed().as_secs_f64();
    Ok(usage)
}

/// [`super::LanguageModel::loglikelihood_rolling`] on top of an engine's own scoring.
pub(super) fn loglikelihood_rolling(
    tokenizer: &ModelTokenizer,
    texts: &[String],
    answered: &[bool],
    sink: &mut Sink<'_, RollingLoglikelihood>,
    run: &mut Run<'_>,
) -> Result<Usage, EngineError> {
    let begun = Instant::now();
    let mut usage = Usage::default();
    let mut windows: Vec<ScoredTokens> = Vec::new();
    let mut text_of: Vec<usize> = Vec::new();
    let mut skipped: Vec<bool> = Vec::new();
    // Windows still to come, and the values of those computed, by text.
    let mut open: Vec<usize> = Vec::with_capacity(texts.len());
    let mut parts: Vec<Vec<(usize, f64)>> = vec![Vec::new(); texts.len()];
    for (index, text) in texts.iter().enumerate() {
        let is_answered = answered.get(index).copied().unwrap_or(false);
        let pairs = tokenizer.rolling(text).map_err(|error| of_request(index, error))?;
        open.push(pairs.len());
        if pairs.is_empty() && !is_answered {
            sink(index, RollingLoglikelihood { value: 0.0, tokens: 0 }).map_err(EngineError::Stopped)?;
        }
        for pair in pairs {
            let (scored, _) = fit(pair, tokenizer.max_length());
            usage.tokens_nominal += length(scored.input.len());
            windows.push(scored);
            text_of.push(index);
            skipped.push(is_answered);
        }
    }
    let sizes: Vec<usize> = windows.iter().map(|window| window.targets.len()).collect();
    let mut tokens = vec![0usize; texts.len()];
    run(&windows, &skipped, &mut usage, &mut |window, values| {
        let text = text_of[window];
        let value = sum_up(values, false).ok_or_else(|| not_a_number(&format!("text {text} ({})", excerpt(&texts[text]))))?.value;
        parts[text].push((window, value));
        tokens[text] += sizes[window];
        open[text] -= 1;
        if open[text] > 0 {
            return Ok(());
        }
        // In the order of the text, whatever the order of the plan: floating-point sums depend on it.
        parts[text].sort_unstable_by_key(|(window, _)| *window);
        let value = parts[text].iter().map(|(_, value)| value).sum();
        sink(text, RollingLoglikelihood { value, tokens: tokens[text] }).map_err(EngineError::Stopped)
    })?;
    usage.seconds = begun.elapsed().as_secs_f64();
    Ok(usage)
}

/// [`super::LanguageModel::loglikelihood_alone`] on top of an engine's own forward pass.
pub(super) fn loglikelihood_alone(
    tokenizer: &ModelTokenizer,
    request: &LoglikelihoodRequest,
    alone: &mut Alone<'_>,
) -> Result<(Loglikelihood, Usage), EngineError> {
    let begun = Instant::now();
    let (scored, truncated) = tokenizer.scored(request)?;
    let mut usage = Usage { tokens_nominal: length(scored.input.len()), truncated: u64::from(truncated), ..Usage::default() };
    let values = alone(&[scored], &mut usage)?;
    usage.seconds = begun.elapsed().as_secs_f64();
    let answer = values
        .first()
        .and_then(|values| sum_up(values, truncated))
        .ok_or_else(|| not_a_number(&format!("continuation {}", excerpt(&request.continuation))))?;
    Ok((answer, usage))
}

/// [`super::LanguageModel::loglikelihoods_again`] on top of an engine's own forward pass.
pub(super) fn loglikelihoods_again(
    tokenizer: &ModelTokenizer,
    requests: &[LoglikelihoodRequest],
    sink: &mut Sink<'_, Loglikelihood>,
    alone: &mut Alone<'_>,
) -> Result<Usage, EngineError> {
    let begun = Instant::now();
    let encoded: Result<Vec<(ScoredTokens, bool)>, EngineError> =
        requests.iter().enumerate().map(|(index, request)| tokenizer.scored(request).map_err(|error| of_request(index, error))).collect();
    let (scored, truncated): (Vec<ScoredTokens>, Vec<bool>) = encoded?.into_iter().unzip();
    let mut usage = Usage::default();
    let mut index = 0;
    for same in scored.chunk_by(|left, right| left.input == right.input) {
        for (tokens, values) in same.iter().zip(alone(same, &mut usage)?) {
            let answer = sum_up(&values, truncated[index])
                .ok_or_else(|| not_a_number(&format!("request {index} (continuation {})", excerpt(&requests[index].continuation))))?;
            usage.tokens_nominal += length(tokens.input.len());
            usage.truncated += u64::from(truncated[index]);
            sink(index, answer).map_err(EngineError::Stopped)?;
            index += 1;
        }
    }
    usage.seconds = begun.elapsed().as_secs_f64();
    Ok(usage)
}

/// [`super::LanguageModel::loglikelihood_rolling_alone`] on top of an engine's own forward pass.
pub(super) fn loglikelihood_rolling_alone(
    tokenizer: &ModelTokenizer,
    text: &str,
    alone: &mut Alone<'_>,
) -> Result<(RollingLoglikelihood, Usage), EngineError> {
    let begun = Instant::now();
    let max_length = tokenizer.max_length();
    let windows: Vec<ScoredTokens> = tokenizer.rolling(text)?.into_iter().map(|pair| fit(pair, max_length).0).collect();
    let fed: usize = windows.iter().map(|window| window.input.len()).sum();
    let mut usage = Usage { tokens_nominal: length(fed), ..Usage::default() };
    let mut answer = RollingLoglikelihood { value: 0.0, tokens: 0 };
    for values in alone(&windows, &mut usage)? {
        answer.value += sum_up(&values, false).ok_or_else(|| not_a_number(&format!("text {}", excerpt(text))))?.value;
        answer.tokens += values.len();
    }
    usage.seconds = begun.elapsed().as_secs_f64();
    Ok((answer, usage))
}

/// What a model's files ask for and no engine here does.
pub(super) fn deviations(tokenizer: &ModelTokenizer) -> Vec<String> {
    let penalty = tokenizer.repetition_penalty();
    penalty.map(|penalty| format!("generation_config.json asks for repetition_penalty {penalty}; it is not applied")).into_iter().collect()
}

/// The sum over a continuation's tokens; `None` where it is not a finite number.
fn sum_up(values: &[Value], truncated: bool) -> Option<Loglikelihood> {
    let value: f64 = values.iter().map(|value| value.logprob).sum();
    value.is_finite().then(|| Loglikelihood { value, is_greedy: values.iter().all(|value| value.is_top), truncated })
}

fn not_a_number(what: &str) -> EngineError {
    EngineError::NotANumber(format!("the model's logits for {what} are not finite numbers: its weights or its number format are unfit"))
}

/// Names the request in an error that has no place yet.
pub(super) fn of_request(index: usize, error: EngineError) -> EngineError {
    match error {
        EngineError::Request(message) => EngineError::Request(format!("request {index}: {message}")),
        EngineError::NotANumber(message) => EngineError::NotANumber(format!("request {index}: {message}")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hopeless_token_is_noticed() {
        let hopeless = Value { logprob: f64::NEG_INFINITY, is_top: false };
        assert!(sum_up(&[hopeless], false).is_none());
    }
}
