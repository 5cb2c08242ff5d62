//! Text to tokens and back, exactly as lm-evaluation-harness's `hf` model does it.
//!
//! The tokenizer is what `tokenizer.json` says, nothing else: no class-specific rebuilding of normaliser or post-processor.

use super::template::ChatTemplate;
use super::{ChatMessage, EngineError, LoglikelihoodRequest, TokenId};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tokenizers::Tokenizer;

/// Window assumed where neither `config.json` nor `tokenizer_config.json` names one.
const DEFAULT_MAX_LENGTH: usize = 2048;

/// A `model_max_length` at or above this means "not known" (transformers writes 10³⁰).
const UNKNOWN_LENGTH: f64 = 1e29;

/// Tokens fed to the model, and the tokens whose log-likelihood is asked for.
///
/// Target `j` is predicted at row `input.len() − targets.len() + j`; all targets but the last stand in `input` one place later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScoredTokens {
    /// Tokens that the model reads, at least as many as `targets`.
    pub input: Vec<TokenId>,
    /// Tokens to score, at least one.
    pub targets: Vec<TokenId>,
}

impl ScoredTokens {
    /// The input row at which the first target is predicted.
    #[must_use]
    pub fn first_row(&self) -> usize {
        self.input.len() - self.targets.len()
    }
}

/// Context and continuation as token ids, before any truncation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPair {
    /// Tokens of the context alone (or the prefix token, where the context is empty).
    pub context: Vec<TokenId>,
    /// Tokens of the continuation.
    pub continuation: Vec<TokenId>,
}

/// A generation prompt as token ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPrompt {
    /// Tokens as fed.
    pub tokens: Vec<TokenId>,
    /// Tokens were cut off on the left.
    pub truncated: bool,
}

/// A string that ends a generation, with the number of generated tokens to look back for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopString {
    /// The string.
    pub text: String,
    /// Number of its own tokens, plus two.
    pub look_back: usize,
}

/// A model's tokenizer with the rules around it.
pub struct ModelTokenizer {
    tokenizer: Tokenizer,
    bos_text: Option<String>,
    eos_text: Option<String>,
    prefix_token: TokenId,
    prefix_text: String,
    end_tokens: BTreeSet<TokenId>,
    max_length: usize,
    clean_up: bool,
    repetition_penalty: Option<f64>,
    chat_template: Option<ChatTemplate>,
}

impl ModelTokenizer {
    /// Reads `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `config.json`, `generation_config.json` and
    /// `chat_template.jinja` of a model folder; the first and `config.json` must be there.
    ///
    /// # Errors
    /// [`EngineError::Load`] naming the file that is missing or malformed.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("tokenizer.json");
        if !path.is_file() {
            return Err(EngineError::Load(format!(
                "{} is missing: the engine needs the fast tokenizer (`tokenizer.json`), which transformers writes with `save_pretrained`",
                path.display()
            )));
        }
        let mut tokenizer = Tokenizer::from_file(&path).map_err(|error| EngineError::Load(format!("{}: {error}", path.display())))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| EngineError::Load(format!("{}: {error}", path.display())))?;

        let config = read_json(&dir.join("config.json"))?
            .ok_or_else(|| EngineError::Load(format!("{} is missing", dir.join("config.json").display())))?;
        let generation_config = read_json(&dir.join("generation_config.json"))?.unwrap_or_default();
        let tokenizer_config = read_json(&dir.join("tokenizer_config.json"))?.unwrap_or_default();
        let special_tokens_map = read_json(&dir.join("special_tokens_map.json"))?.unwrap_or_default();

        let special = special_texts(&tokenizer_config, &special_tokens_map);
        let bos_text = special.get("bos_token").cloned().or_else(|| text_of_first_id(&tokenizer, config.get("bos_token_id")));
        let eos_text = special.get("eos_token").cloned().or_else(|| text_of_first_id(&tokenizer, config.get("eos_token_id")));
        let id_of = |text: &Option<String>| text.as_ref().and_then(|text| tokenizer.token_to_id(text));
        let (bos, eos) = (id_of(&bos_text), id_of(&eos_text));
        let prefix_token = bos.or(eos).ok_or_else(|| {
            EngineError::Load(format!(
                "{}: neither a BOS nor an EOS token is defined, and scoring without context needs one",
                dir.display()
            ))
        })?;
        let prefix_text =
            tokenizer.decode(&[prefix_token], false).map_err(|error| EngineError::Load(format!("{}: {error}", path.display())))?;

        let configured_ends = generation_config.get("eos_token_id").or_else(|| config.get("eos_token_id"));
        let mut end_tokens: BTreeSet<TokenId> = ids(configured_ends).collect();
        end_tokens.extend(eos);

        let chat_template = ChatTemplate::find(dir, &tokenizer_config, special)?;
        Ok(Self {
            max_length: max_length(&config, &tokenizer_config),
            clean_up: tokenizer_config.get("clean_up_tokenization_spaces").and_then(Value::as_bool).unwrap_or(false),
            repetition_penalty: generation_config
                .get("repetition_penalty")
                .and_then(Value::as_f64)
                .filter(|&penalty| penalty.to_bits() != 1f64.to_bits()),
            tokenizer,
            bos_text: bos.and(bos_text),
            eos_text: eos.and(eos_text),
            prefix_token,
            prefix_text,
            end_tokens,
            chat_template,
        })
    }

    /// The longest sequence that the model takes: `n_positions`, `max_position_embeddings` or `n_ctx` of the configuration, else the
    /// tokenizer's `model_max_length`, else 2048.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Takes a shorter window where the weights have room for no more.
    pub fn limit_length(&mut self, length: usize) {
        self.max_length = self.max_length.min(length);
    }

    /// A token as the vocabulary writes it.
    #[must_use]
    pub fn token(&self, id: TokenId) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The token that stands for an empty context: BOS, else EOS.
    #[must_use]
    pub fn prefix_token(&self) -> TokenId {
        self.prefix_token
    }

    /// Tokens that end a generation: those of `generation_config.json` (else `config.json`), and the tokenizer's EOS.
    #[must_use]
    pub fn end_tokens(&self) -> &BTreeSet<TokenId> {
        &self.end_tokens
    }

    /// The BOS and EOS texts, where the tokenizer has them.
    #[must_use]
    pub fn bos_and_eos(&self) -> (Option<&str>, Option<&str>) {
        (self.bos_text.as_deref(), self.eos_text.as_deref())
    }

    /// `generation_config.json`'s repetition penalty, where it is not 1. It is recorded, never applied.
    #[must_use]
    pub fn repetition_penalty(&self) -> Option<f64> {
        self.repetition_penalty
    }

    /// Number of tokens in the vocabulary, added ones included.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Encodes a text. `special` says whether the post-processor adds its tokens; `None` means the tokenizer's default, except that a
    /// text which already starts with the prefix token's text gets none.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the tokenizer refuses the text.
    pub fn encode(&self, text: &str, special: Option<bool>) -> Result<Vec<TokenId>, EngineError> {
        let special = special.unwrap_or_else(|| self.prefix_text.is_empty() || !text.starts_with(&self.prefix_text));
        let encoding = self
            .tokenizer
            .encode_fast(text, special)
            .map_err(|error| EngineError::Request(format!("the tokenizer refuses the text {}: {error}", excerpt(text))))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Encodes a context and its continuation: white space at the end of the context moves to the continuation; both are encoded as whole
    /// strings, and the continuation is what the longer one has beyond the number of the shorter one's tokens.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the context or the continuation comes out without tokens, or the continuation is longer than the
    /// window.
    pub fn encode_pair(&self, request: &LoglikelihoodRequest) -> Result<EncodedPair, EngineError> {
        let pair = if request.context.is_empty() {
            let mut continuation = self.encode(&request.continuation, Some(false))?;
            if continuation.first() == Some(&self.prefix_token) {
                let context = vec![continuation.remove(0)];
                EncodedPair { context, continuation }
            } else {
                EncodedPair { context: vec![self.prefix_token], continuation }
            }
        } else {
            let context = request.context.trim_end_matches(is_python_space);
            let whole = self.encode(&format!("{}{}", request.context, request.continuation), None)?;
            let context = self.encode(context, None)?;
            let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
            EncodedPair { context, continuation }
        };
        if pair.context.is_empty() {
            return Err(EngineError::Request(format!("the context {} has no tokens", excerpt(&request.context))));
        }
        if pair.continuation.is_empty() {
            return Err(EngineError::Request(format!(
                "the continuation {} has no tokens of its own after the context {}",
                excerpt(&request.continuation),
                tail(&request.context)
            )));
        }
        if pair.continuation.len() > self.max_length {
            return Err(EngineError::Request(format!(
                "the continuation {} has {} tokens; the model's window is {}",
                excerpt(&request.continuation),
                pair.continuation.len(),
                self.max_length
            )));
        }
        Ok(pair)
    }

    /// Encodes a request and cuts it to the window; the second value says whether tokens were lost on the left.
    ///
    /// # Errors
    /// As [`ModelTokenizer::encode_pair`].
    pub fn scored(&self, request: &LoglikelihoodRequest) -> Result<(ScoredTokens, bool), EngineError> {
        Ok(fit(self.encode_pair(request)?, self.max_length))
    }

    /// Encodes a text for a rolling log-likelihood and cuts it into disjoint windows. An empty text has none.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the tokenizer refuses the text.
    pub fn rolling(&self, text: &str) -> Result<Vec<EncodedPair>, EngineError> {
        Ok(rolling_windows(&self.encode(text, None)?, self.prefix_token, self.max_length))
    }

    /// Encodes a generation prompt and cuts it on the left to the window less `max_new_tokens`.
    ///
    /// # Errors
    /// [`EngineError::Request`] where no room is left for a prompt, or the prompt has no tokens.
    pub fn prompt(&self, context: &str, max_new_tokens: usize) -> Result<EncodedPrompt, EngineError> {
        let room = self.max_length.saturating_sub(max_new_tokens);
        if room == 0 {
            return Err(EngineError::Request(format!(
                "{max_new_tokens} new tokens leave no room for a prompt in the model's window of {}",
                self.max_length
            )));
        }
        let tokens = self.encode_prompt(context)?;
        if tokens.is_empty() {
            return Err(EngineError::Request("the prompt has no tokens".to_owned()));
        }
        let cut = tokens.len().saturating_sub(room);
        Ok(EncodedPrompt { tokens: tokens[cut..].to_vec(), truncated: cut > 0 })
    }

    /// Number of tokens of a generation prompt before it is cut to any window.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the tokenizer refuses the text.
    pub fn prompt_tokens(&self, context: &str) -> Result<usize, EngineError> {
        Ok(self.encode_prompt(context)?.len())
    }

    /// A prompt that already begins with the BOS text gets no second one.
    fn encode_prompt(&self, context: &str) -> Result<Vec<TokenId>, EngineError> {
        let starts_with_bos = self.bos_text.as_ref().is_some_and(|bos| context.starts_with(bos.as_str()));
        self.encode(context, Some(!starts_with_bos))
    }

    /// The stop strings of a request, the EOS text added where it is not among them.
    ///
    /// # Errors
    /// [`EngineError::Request`] where the tokenizer refuses a string.
    pub fn stop_strings(&self, until: &[String]) -> Result<Vec<StopString>, EngineError> {
        let eos = self.eos_text.iter().filter(|eos| !until.contains(eos));
        until
            .iter()
            .chain(eos)
            .filter(|text| !text.is_empty())
            .map(|text| Ok(StopString { text: text.clone(), look_back: self.encode(text, Some(false))?.len() + 2 }))
            .collect()
    }

    /// Whether one of the stop strings occurs in the last generated tokens.
    ///
    /// # Errors
    /// [`EngineError::Computation`] where the tokenizer cannot decode the tokens.
    pub fn stops(&self, generated: &[TokenId], stops: &[StopString]) -> Result<bool, EngineError> {
        for stop in stops {
            let recent = &generated[generated.len().saturating_sub(stop.look_back)..];
            if self.decode(recent, false)?.contains(&stop.text) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The text of a generation: special tokens left out, cut before the first occurrence of each stop string in turn, not stripped.
    ///
    /// # Errors
    /// [`EngineError::Computation`] where the tokenizer cannot decode the tokens.
    pub fn generated_text(&self, generated: &[TokenId], stops: &[StopString]) -> Result<String, EngineError> {
        let mut text = self.decode(generated, true)?;
        for stop in stops {
            if let Some(at) = text.find(&stop.text) {
                text.truncate(at);
            }
        }
        Ok(text)
    }

    /// Decodes tokens.
    ///
    /// # Errors
    /// [`EngineError::Computation`] where the tokenizer cannot decode the tokens.
    pub fn decode(&self, tokens: &[TokenId], skip_special_tokens: bool) -> Result<String, EngineError> {
        let text = self
            .tokenizer
            .decode(tokens, skip_special_tokens)
            .map_err(|error| EngineError::Computation(format!("the tokenizer cannot decode {tokens:?}: {error}")))?;
        Ok(if self.clean_up { clean_up_spaces(&text) } else { text })
    }

    /// Renders chat messages with the model's chat template.
    ///
    /// # Errors
    /// [`EngineError::Request`] where there is no template or it refuses the messages.
    pub fn render_chat(&self, messages: &[ChatMessage], add_generation_prompt: bool) -> Result<String, EngineError> {
        let template = self.chat_template.as_ref().ok_or_else(|| {
            EngineError::Request("the model has no chat template (chat_template.jinja or tokenizer_config.json)".to_owned())
        })?;
        template.render(messages, add_generation_prompt)
    }
}

/// Cuts a pair to the window: the last `max_length + 1` tokens are kept, all but the very last are fed.
#[must_use]
pub fn fit(pair: EncodedPair, max_length: usize) -> (ScoredTokens, bool) {
    let targets = pair.continuation;
    let mut input = pair.context;
    input.extend_from_slice(&targets);
    let cut = input.len().saturating_sub(max_length + 1);
    input.drain(..cut);
    input.pop();
    (ScoredTokens { input, targets }, cut > 0)
}

/// Disjoint windows of a token list: each token is predicted once, with at least one token of context, and the last window reaches back as
/// far as the model's window allows.
#[must_use]
pub fn rolling_windows(tokens: &[TokenId], prefix: TokenId, max_length: usize) -> Vec<EncodedPair> {
    let mut windows = Vec::new();
    let first = tokens.len().min(max_length);
    if first == 0 {
        return windows;
    }
    windows.push(EncodedPair { context: vec![prefix], continuation: tokens[..first].to_vec() });
    let mut predicted = first;
    while predicted < tokens.len() {
        let count = (tokens.len() - predicted).min(max_length);
        let end = predicted + count;
        // The first token of the window is always context, so the window holds `max_length + 1` tokens, the last one unfed.
        let start = end - max_length - 1;
        windows.push(EncodedPair { context: tokens[start..predicted].to_vec(), continuation: tokens[predicted..end].to_vec() });
        predicted = end;
    }
    windows
}

/// White space as Python's `str.rstrip` sees it: Unicode's, and the four separators U+001C to U+001F.
fn is_python_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// transformers' `clean_up_tokenization`.
fn clean_up_spaces(text: &str) -> String {
    const RULES: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    RULES.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn max_length(config: &Map<String, Value>, tokenizer_config: &Map<String, Value>) -> usize {
    let places = [config.get("text_config").and_then(Value::as_object), Some(config)];
    let configured = places.into_iter().flatten().find_map(|place| {
        ["n_positions", "max_position_embeddings", "n_ctx"].iter().find_map(|name| place.get(*name).and_then(Value::as_u64))
    });
    let from_tokenizer = || {
        let length = tokenizer_config.get("model_max_length")?;
        if length.as_f64()? >= UNKNOWN_LENGTH { None } else { length.as_u64() }
    };
    configured
        .or_else(from_tokenizer)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|&length| length > 0)
        .unwrap_or(DEFAULT_MAX_LENGTH)
}

/// The special tokens' texts by role (`bos_token` …), from `tokenizer_config.json`, else `special_tokens_map.json`.
fn special_texts(tokenizer_config: &Map<String, Value>, special_tokens_map: &Map<String, Value>) -> BTreeMap<String, String> {
    let text_of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(token) => token.get("content").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
        .into_iter()
        .filter_map(|role| {
            let text = tokenizer_config.get(role).and_then(text_of).or_else(|| special_tokens_map.get(role).and_then(text_of))?;
            Some((role.to_owned(), text))
        })
        .collect()
}

fn ids(value: Option<&Value>) -> impl Iterator<Item = TokenId> + '_ {
    let (one, many) = match value {
        Some(Value::Array(list)) => (None, Some(list.iter())),
        other => (other, None),
    };
    one.into_iter().chain(many.into_iter().flatten()).filter_map(Value::as_u64).filter_map(|id| TokenId::try_from(id).ok())
}

fn text_of_first_id(tokenizer: &Tokenizer, id: Option<&Value>) -> Option<String> {
    tokenizer.id_to_token(ids(id).next()?)
}

fn read_json(path: &Path) -> Result<Option<Map<String, Value>>, EngineError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EngineError::Load(format!("{}: {error}", path.display()))),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| EngineError::Load(format!("{}: {error}", path.display())))
}

/// The beginning of a text, quoted, for messages.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// The end of a text, quoted, for messages.
fn tail(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().rev().nth(SHOWN) {
        Some((start, _)) => format!("…{:?}", &text[start..]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Context and predicted tokens of each window of the tokens 0, 1, 2 … (window 4, prefix 99).
    fn windows(count: TokenId) -> Vec<(Vec<TokenId>, Vec<TokenId>)> {
        let tokens: Vec<TokenId> = (0..count).collect();
        let windows = rolling_windows(&tokens, 99, 4);
        assert!(windows.iter().all(|window| !fit(window.clone(), 4).1), "no window is longer than the model's");
        windows.into_iter().map(|window| (window.context, window.continuation)).collect()
    }

    /// Windows of the reference implementation (`get_rolling_token_windows` made disjoint), window 4, prefix 99.
    #[test]
    fn rolling_windows_equal_the_reference() {
        assert_eq!(windows(0), []);
        assert_eq!(windows(3), [(vec![99], vec![0, 1, 2])]);
        assert_eq!(windows(4), [(vec![99], vec![0, 1, 2, 3])]);
        assert_eq!(windows(5), [(vec![99], vec![0, 1, 2, 3]), (vec![0, 1, 2, 3], vec![4])]);
        assert_eq!(windows(8), [(vec![99], vec![0, 1, 2, 3]), (vec![3], vec![4, 5, 6, 7])]);
        assert_eq!(windows(9), [(vec![99], vec![0, 1, 2, 3]), (vec![3], vec![4, 5, 6, 7]), (vec![4, 5, 6, 7], vec![8])]);
        assert_eq!(windows(10), [(vec![99], vec![0, 1, 2, 3]), (vec![3], vec![4, 5, 6, 7]), (vec![5, 6, 7], vec![8, 9])]);
    }

    #[test]
    fn a_long_request_loses_tokens_on_its_left_and_the_last_one_is_not_fed() {
        let pair = EncodedPair { context: vec![1, 2, 3, 4, 5], continuation: vec![6, 7] };
        let (scored, truncated) = fit(pair.clone(), 4);
        assert_eq!(scored, ScoredTokens { input: vec![3, 4, 5, 6], targets: vec![6, 7] });
        assert_eq!((truncated, scored.first_row()), (true, 2));
        let (scored, truncated) = fit(pair, 6);
        assert_eq!((scored.input, truncated), (vec![1, 2, 3, 4, 5, 6], false));
    }

    #[test]
    fn the_window_is_the_first_length_that_the_configuration_names() {
        let read =
            |config: Value, tokenizer: Value| max_length(config.as_object().expect("an object"), tokenizer.as_object().expect("an object"));
        assert_eq!(read(json!({"max_position_embeddings": 512}), json!({"model_max_length": 64})), 512);
        assert_eq!(read(json!({"n_positions": 256, "max_position_embeddings": 512}), json!({})), 256);
        assert_eq!(read(json!({"text_config": {"max_position_embeddings": 128}, "n_ctx": 9}), json!({})), 128);
        assert_eq!(read(json!({}), json!({"model_max_length": 64})), 64);
        assert_eq!(read(json!({}), json!({"model_max_length": 1e30})), 2048);
    }

    #[test]
    fn end_tokens_may_be_one_id_or_a_list() {
        assert_eq!(ids(Some(&json!(7))).collect::<Vec<_>>(), [7]);
        assert_eq!(ids(Some(&json!([7, 9]))).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(ids(Some(&json!(null))).count(), 0);
    }

    #[test]
    fn python_strips_information_separators_too() {
        assert_eq!("a \u{1f}\u{3000}\n".trim_end_matches(is_python_space), "a");
    }
}
