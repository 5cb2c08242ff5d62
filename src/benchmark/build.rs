//! From rows to requests: prompts, hashes, arguments.

use super::fewshot::ExampleDraw;
use super::python::{document_json, sha256_hex, target_text};
use super::{BenchmarkError, Document, GenerationSettings, Item, Task, TaskSpec};
use crate::engine::{ChatMessage, Decoding, GenerationRequest, LoglikelihoodRequest};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// Renders a conversation with the model's chat template, with the generation prompt added.
pub type ChatRenderer<'a> = dyn Fn(&[ChatMessage]) -> anyhow::Result<String> + 'a;

/// How much of a split is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The first documents.
    Count(usize),
    /// This share of the documents, in (0, 1), rounded up; the first ones.
    Fraction(f64),
    /// At most this many documents, chosen by their content: see [`nested_subset`].
    Nested(usize),
}

/// What the caller decides about a run of a task.
#[derive(Default)]
pub struct BuildOptions<'a> {
    /// Few-shot examples; `None` takes the task's default. Ignored by tasks that fix their number.
    pub num_fewshot: Option<usize>,
    /// Seed of the few-shot draws; `None` is the reference's, 1234.
    pub seed: Option<u64>,
    /// Which documents; `None` is all.
    pub limit: Option<Limit>,
    /// Most tokens of a generated answer instead of the task's own number (see [`shortened_generation`]).
    pub max_gen_toks: Option<usize>,
    /// Prompts as conversations.
    pub chat: Option<&'a ChatRenderer<'a>>,
}

/// The reference's few-shot seed.
const FEWSHOT_SEED: u64 = 1234;

/// What one document asks of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Score a continuation.
    Loglikelihood(LoglikelihoodRequest),
    /// Score a whole text.
    Rolling(String),
    /// Write text.
    Generation(GenerationRequest),
}

/// One document, ready to be asked.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Row index in the evaluated split.
    pub doc_id: usize,
    /// The document, with the columns that the task's preparation adds.
    pub doc: Document,
    /// How the task reads it.
    pub item: Item,
    /// SHA-256 of the document's JSON text.
    pub doc_hash: String,
    /// SHA-256 of the first request's context (of the text, for whole texts).
    pub prompt_hash: String,
    /// SHA-256 of the target's text.
    pub target_hash: String,
    /// The target as the reference logs it.
    pub target: Value,
    /// What is asked, in the reference's order.
    pub requests: Vec<Request>,
    generation_arguments: Arc<Value>,
}

impl Instance {
    /// `arguments` of the sample line: `[context, continuation]`, `[context, generation settings]` or `[text]` for each request.
    #[must_use]
    pub fn arguments(&self) -> Value {
        self.requests
            .iter()
            .map(|request| match request {
                Request::Loglikelihood(request) => json!([request.context, request.continuation]),
                Request::Rolling(text) => json!([text]),
                Request::Generation(request) => json!([request.context, *self.generation_arguments]),
            })
            .collect()
    }
}

/// A task's instances and what the run records about them.
#[derive(Clone, Debug)]
pub struct Built {
    /// The documents to ask, in the order of the dataset.
    pub instances: Vec<Instance>,
    /// Documents of the whole split.
    pub n_total: usize,
    /// Few-shot examples used.
    pub num_fewshot: usize,
    /// Value of the primary metric that guessing gives on these documents; `None` where guessing has no meaning.
    pub chance: Option<f64>,
}

/// Most tokens of a generated answer for a model with a window of `window` tokens, where the task's own number does not fit:
/// `min(the task's, window / 2)`. `None` where the task's number is used (or it generates nothing). To be recorded as a deviation.
#[must_use]
pub fn shortened_generation(spec: &TaskSpec, window: usize) -> Option<usize> {
    let wanted = spec.max_gen_toks()?;
    (wanted >= window).then_some((window / 2).max(1))
}

/// Indices of the at most `size` documents with the smallest hashes, ascending. The choice depends on the documents' contents alone, and a
/// smaller subset is part of every larger one.
#[must_use]
pub fn nested_subset(doc_hashes: &[String], size: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..doc_hashes.len()).collect();
    order.sort_by(|a, b| doc_hashes[*a].cmp(&doc_hashes[*b]).then(a.cmp(b)));
    order.truncate(size);
    order.sort_unstable();
    order
}

/// Builds the requests of a task from the evaluated rows and the rows of its few-shot split (empty where none are needed).
///
/// # Errors
/// [`BenchmarkError`]: no rows, a malformed row, too few examples to draw from, a chat template that refuses.
pub fn build(
    task: &dyn Task,
    rows: Vec<Document>,
    fewshot_rows: Vec<Document>,
    options: &BuildOptions<'_>,
) -> Result<Built, BenchmarkError> {
    let spec = task.spec();
    let dataset = &spec.dataset;
    if rows.is_empty() {
        return Err(BenchmarkError::NoDocuments { task: spec.name.clone(), split: dataset.split.clone(), dataset: dataset.describe() });
    }
    let bad_row = |split: &str, row: usize, reason: String| BenchmarkError::Document {
        task: spec.name.clone(),
        split: split.to_owned(),
        dataset: dataset.describe(),
        row,
        reason,
    };
    let n_total = rows.len();
    let num_fewshot = spec.num_fewshot(options.num_fewshot);
    let fewshot_split = dataset.fewshot_split.as_deref().unwrap_or("(none)");
    let pool = if num_fewshot == 0 {
        Vec::new()
    } else {
        task.fewshot_pool(fewshot_rows).map_err(|(row, reason)| bad_row(fewshot_split, row, reason))?
    };
    let mut draw = ExampleDraw::new(spec.fewshot.sampler, num_fewshot, &pool, options.seed.unwrap_or(FEWSHOT_SEED));
    let prompts = Prompts::new(spec, options);
    let selected = Selected::new(options.limit, n_total);

    let mut documents = Vec::new();
    for (doc_id, row) in rows.into_iter().enumerate().take(selected.needed) {
        let doc = task.prepare(row).map_err(|reason| bad_row(&dataset.split, doc_id, reason))?;
        let examples = draw.next(&doc).map_err(|reason| BenchmarkError::Fewshot { task: spec.name.clone(), reason })?;
        let doc_hash = sha256_hex(&document_json(&doc));
        documents.push((doc_id, doc, doc_hash, examples));
    }
    if let Some(size) = selected.nested {
        let hashes: Vec<String> = documents.iter().map(|(_, _, hash, _)| hash.clone()).collect();
        let chosen = nested_subset(&hashes, size);
        documents.retain(|(doc_id, ..)| chosen.binary_search(doc_id).is_ok());
    }

    let mut instances = Vec::with_capacity(documents.len());
    let mut chances = Vec::with_capacity(documents.len());
    for (doc_id, doc, doc_hash, examples) in documents {
        let item = task.item(&doc).map_err(|reason| bad_row(&dataset.split, doc_id, reason))?;
        let turns = examples
            .into_iter()
            .map(|row| task.example(&pool[row]).map_err(|reason| bad_row(fewshot_split, row, reason)))
            .collect::<Result<Vec<_>, _>>()?;
        let requests = prompts.requests(&item, &turns).map_err(|reason| BenchmarkError::Chat {
            task: spec.name.clone(),
            doc_id,
            reason: format!("{reason:#}"),
        })?;
        let prompt = match requests.first() {
            Some(Request::Loglikelihood(request)) => request.context.as_str(),
            Some(Request::Rolling(text)) => text,
            Some(Request::Generation(request)) => &request.context,
            None => return Err(bad_row(&dataset.split, doc_id, "it has no choices".to_owned())),
        };
        chances.push(task.chance(&doc, &item));
        let target = item.target();
        instances.push(Instance {
            doc_id,
            doc_hash,
            prompt_hash: sha256_hex(prompt),
            target_hash: sha256_hex(&target_text(&target)),
            target,
            requests,
            generation_arguments: Arc::clone(&prompts.generation_arguments),
            doc,
            item,
        });
    }
    let chance = chances.iter().copied().collect::<Option<Vec<f64>>>().and_then(|chances| crate::statistics::mean(&chances));
    Ok(Built { instances, n_total, num_fewshot, chance })
}

/// Which documents a limit selects.
struct Selected {
    /// Documents to read from the start.
    needed: usize,
    /// Size of the nested subset among them.
    nested: Option<usize>,
}

impl Selected {
    fn new(limit: Option<Limit>, total: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of documents times a share below 1")]
        match limit {
            None => Self { needed: total, nested: None },
            Some(Limit::Count(count)) => Self { needed: count.min(total), nested: None },
            Some(Limit::Fraction(share)) => Self { needed: ((total as f64 * share).ceil() as usize).min(total), nested: None },
            Some(Limit::Nested(size)) => Self { needed: total, nested: Some(size) },
        }
    }
}

/// One part of a prompt: a chat message, or text with what follows it.
#[derive(Clone)]
struct Turn<'a> {
    role: &'static str,
    content: Cow<'a, str>,
    /// What follows in plain text; not part of a chat message.
    delimiter: &'static str,
}

/// Assembles prompts for one task.
struct Prompts<'a> {
    spec: &'a TaskSpec,
    chat: Option<&'a ChatRenderer<'a>>,
    max_new_tokens: usize,
    generation_arguments: Arc<Value>,
}

impl<'a> Prompts<'a> {
    fn new(spec: &'a TaskSpec, options: &BuildOptions<'a>) -> Self {
        let max_new_tokens = options.max_gen_toks.or(spec.max_gen_toks()).unwrap_or(GenerationSettings::DEFAULT_MAX_GEN_TOKS);
        let generation_arguments = spec.generation.as_ref().map_or(Value::Null, |settings| {
            let mut arguments = Map::new();
            arguments.insert("until".to_owned(), json!(settings.until));
            // As the reference logs it: only where the task or the caller says it.
            if let Some(tokens) = options.max_gen_toks.or(settings.max_gen_toks) {
                arguments.insert("max_gen_toks".to_owned(), json!(tokens));
            }
            arguments.extend(settings.logged.clone());
            Value::Object(arguments)
        });
        Self { spec, chat: options.chat, max_new_tokens, generation_arguments: Arc::new(generation_arguments) }
    }

    fn requests(&self, item: &Item, examples: &[(String, String)]) -> anyhow::Result<Vec<Request>> {
        // A chat's answer starts a turn of its own, so no delimiter stands before it.
        let delimiter = if self.chat.is_some() { "" } else { self.spec.target_delimiter };
        let scored = |context: &str, continuation: String| {
            Request::Loglikelihood(LoglikelihoodRequest { context: context.to_owned(), continuation })
        };
        Ok(match item {
            Item::Choice { question, choices, .. } => {
                let context = self.context(question, examples)?;
                choices.iter().map(|choice| scored(&context, format!("{delimiter}{choice}"))).collect()
            }
            Item::Partial { contexts, continuation, .. } => contexts
                .iter()
                .map(|question| Ok(scored(&self.context(question, examples)?, format!("{delimiter}{continuation}"))))
                .collect::<anyhow::Result<_>>()?,
            Item::Continuation { question, target } => vec![scored(&self.context(question, examples)?, target.clone())],
            Item::Text { text } => vec![Request::Rolling(text.clone())],
            Item::Generation { question, .. } => vec![Request::Generation(GenerationRequest {
                context: self.context(question, examples)?,
                until: self.spec.generation.as_ref().map_or(&[][..], |settings| settings.until).iter().map(ToString::to_string).collect(),
                max_new_tokens: self.max_new_tokens,
                decoding: Decoding::Greedy,
            })],
        })
    }

    /// Description, examples, question: as text, or through the chat template.
    fn context(&self, question: &str, examples: &[(String, String)]) -> anyhow::Result<String> {
        let mut turns = Vec::with_capacity(2 + 2 * examples.len());
        if !self.spec.description.is_empty() {
            turns.push(Turn { role: "system", content: Cow::Borrowed(&self.spec.description), delimiter: "" });
        }
        for (question, answer) in examples {
            // An empty answer leaves the question alone, without any delimiter, as in the reference.
            let delimiter = if answer.is_empty() { "" } else { self.spec.target_delimiter };
            turns.push(Turn { role: "user", content: Cow::Borrowed(question), delimiter });
            if !answer.is_empty() {
                turns.push(Turn { role: "assistant", content: Cow::Borrowed(answer), delimiter: "\n\n" });
            }
        }
        turns.push(Turn { role: "user", content: Cow::Borrowed(question), delimiter: "" });
        let Some(render) = self.chat else {
            return Ok(turns.iter().flat_map(|turn| [turn.content.as_ref(), turn.delimiter]).collect());
        };
        let messages: Vec<ChatMessage> =
            turns.into_iter().map(|turn| ChatMessage { role: turn.role.to_owned(), content: turn.content.into_owned() }).collect();
        match render(&messages) {
            Ok(prompt) => Ok(prompt),
            // Some templates know no system role: the reference then leaves the system message out.
            Err(_) if messages[0].role == "system" => render(&messages[1..]),
            Err(error) => Err(error),
        }
    }
}
