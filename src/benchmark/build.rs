//! From rows to requests: prompts, hashes, arguments.

use super::fewshot::ExampleDraw;
use super::python::{document_json, sha256_hex, target_text};
use super::{BenchmarkError, Document, Form, GenerationSettings, Item, Task, TaskSpec};
use crate::engine::{ChatMessage, Decoding, GenerationRequest, LoglikelihoodRequest};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Renders a conversation with the model's chat template, with the generation prompt added.
pub type ChatRenderer<'a> = dyn Fn(&[ChatMessage]) -> anyhow::Result<String> + 'a;

/// `--limit`: how much of what the suite takes is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// The first documents.
    Count(usize),
    /// This share of the documents, in (0, 1), rounded up; the first ones.
    Fraction(f64),
}

impl Limit {
    /// Number of documents that it leaves of `total`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number of documents times a share below 1")]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count.min(total),
            Self::Fraction(share) => ((total as f64 * share).ceil() as usize).min(total),
        }
    }
}

/// Which documents of a split a suite takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// The first documents, for generated rows: these come in an order that begins with something of everything.
    First(usize),
    /// At most this many documents, chosen by their content: see [`nested_subset`].
    Nested(usize),
    /// Of each stratum ([`Task::stratum`]) one document in so many, rounded up, chosen by their content: see [`stratified_subset`].
    Stratified {
        /// 10 means a tenth.
        one_in: usize,
    },
}

/// What the caller decides about a run of a task.
#[derive(Default)]
pub struct BuildOptions<'a> {
    /// Few-shot examples; `None` takes the task's default. Ignored by tasks that fix their number.
    pub num_fewshot: Option<usize>,
    /// Seed of the few-shot draws; `None` is the reference's, 1234.
    pub seed: Option<u64>,
    /// Which documents the suite takes; `None` is all.
    pub subset: Option<Subset>,
    /// How many of these are evaluated; `None` is all. Of a nested subset, a smaller one; of any other, the first documents of the split,
    /// as many as the limit leaves of the subset (so that a limit means the same documents as in the reference).
    pub limit: Option<Limit>,
    /// Most tokens of a generated answer instead of the task's own number (see [`shortened_generation`]).
    pub max_gen_toks: Option<usize>,
    /// Prompts as conversations.
    pub chat: Option<&'a ChatRenderer<'a>>,
}

/// Temperature of sampled answers (Chen et al. 2021, arXiv:2107.03374, use it for pass@1).
pub const SAMPLE_TEMPERATURE: f64 = 0.2;

/// Nucleus of sampled answers.
pub const SAMPLE_TOP_P: f64 = 0.95;

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
                Request::Generation(request) => json!([request.context, self.settings(request.decoding)]),
            })
            .collect()
    }
}

impl Instance {
    /// Generation settings as the reference logs them; those of a sampled answer say how it is drawn.
    fn settings(&self, decoding: Decoding) -> Value {
        let mut settings = (*self.generation_arguments).clone();
        if let (Decoding::Sampled { temperature, top_p, seed }, Some(settings)) = (decoding, settings.as_object_mut()) {
            let sampled = [("do_sample", json!(true)), ("temperature", json!(temperature)), ("top_p", json!(top_p)), ("seed", json!(seed))];
            settings.extend(sampled.map(|(name, value)| (name.to_owned(), value)));
        }
        settings
    }
}

/// A task's instances and what the run records about them.
#[derive(Clone, Debug)]
pub struct Built {
    /// The documents to ask, in the order of the dataset.
    pub instances: Vec<Instance>,
    /// Documents that the suite takes of the split, whatever the limit.
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

/// Indices, ascending, of the documents with the smallest hashes of each stratum: one in `one_in` of them, rounded up. So each stratum keeps
/// its share of the whole, and the choice depends on the documents' contents alone.
#[must_use]
pub fn stratified_subset(doc_hashes: &[String], strata: &[String], one_in: usize) -> Vec<usize> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, stratum) in strata.iter().enumerate().take(doc_hashes.len()) {
        members.entry(stratum).or_default().push(index);
    }
    let mut chosen: Vec<usize> = members
        .into_values()
        .flat_map(|members| {
            let hashes: Vec<String> = members.iter().map(|&index| doc_hashes[index].clone()).collect();
            let kept = nested_subset(&hashes, members.len().div_ceil(one_in.max(1)));
            kept.into_iter().map(move |position| members[position])
        })
        .collect();
    chosen.sort_unstable();
    chosen
}

/// Number of documents of [`stratified_subset`].
fn stratified_size(strata: &[String], one_in: usize) -> usize {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for stratum in strata {
        *sizes.entry(stratum).or_default() += 1;
    }
    sizes.values().map(|size| size.div_ceil(one_in.max(1))).sum()
}

/// Seed of a sampled answer: a function of the run's seed, the document's content and the number of the sample, so that the same document
/// gets the same samples in every suite.
fn sample_seed(seed: u64, doc_hash: &str, sample: usize) -> u64 {
    let digest = sha256_hex(&format!("{seed}/{doc_hash}/{sample}"));
    // 52 bits, so that the number survives every reader of JSON.
    u64::from_str_radix(&digest[..13], 16).unwrap_or_default()
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
    let num_fewshot = spec.num_fewshot(options.num_fewshot);
    let fewshot_split = dataset.fewshot_split.as_deref().unwrap_or("(none)");
    let pool = if num_fewshot == 0 {
        Vec::new()
    } else {
        task.fewshot_pool(fewshot_rows).map_err(|(row, reason)| bad_row(fewshot_split, row, reason))?
    };
    let mut draw = ExampleDraw::new(spec.fewshot.sampler, num_fewshot, &pool, options.seed.unwrap_or(FEWSHOT_SEED));
    let prompts = Prompts::new(spec, options);
    let selected = Selected::new(task, &rows, options).map_err(|(row, reason)| bad_row(&dataset.split, row, reason))?;

    let mut documents = Vec::new();
    for (doc_id, row) in rows.into_iter().enumerate().take(selected.needed) {
        let doc = task.prepare(row).map_err(|reason| bad_row(&dataset.split, doc_id, reason))?;
        let examples = draw.next(&doc).map_err(|reason| BenchmarkError::Fewshot { task: spec.name.clone(), reason })?;
        let doc_hash = sha256_hex(&document_json(&doc));
        documents.push((doc_id, doc, doc_hash, examples));
    }
    let hashes = || documents.iter().map(|(_, _, hash, _)| hash.clone()).collect::<Vec<String>>();
    let chosen = match &selected.by_content {
        Some(Choice::Nested(size)) => Some(nested_subset(&hashes(), *size)),
        Some(Choice::Stratified { strata, one_in }) => Some(stratified_subset(&hashes(), strata, *one_in)),
        None => None,
    };
    if let Some(chosen) = chosen {
        documents.retain(|(doc_id, ..)| chosen.binary_search(doc_id).is_ok());
    }

    let mut instances = Vec::with_capacity(documents.len());
    let mut chances = Vec::with_capacity(documents.len());
    for (doc_id, doc, doc_hash, examples) in documents {
        let item = task.item(&doc).map_err(|reason| bad_row(&dataset.split, doc_id, reason))?;
        let turns_of = |form: usize| {
            let turn = |&row: &usize| task.example_in_form(form, &pool[row]).map_err(|reason| bad_row(fewshot_split, row, reason));
            examples.iter().map(turn).collect::<Result<Vec<_>, _>>()
        };
        let turns = (0..item.forms()).map(turns_of).collect::<Result<Vec<_>, _>>()?;
        let requests = prompts.requests(&item, &turns, &doc_hash).map_err(|reason| BenchmarkError::Chat {
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
    Ok(Built { instances, n_total: selected.n_total, num_fewshot, chance })
}

/// A choice by content.
enum Choice {
    Nested(usize),
    Stratified { strata: Vec<String>, one_in: usize },
}

/// Which documents subset and limit select.
struct Selected {
    /// Documents to read from the start.
    needed: usize,
    /// What is taken of these.
    by_content: Option<Choice>,
    /// Documents that the subset has.
    n_total: usize,
}

impl Selected {
    fn new(task: &dyn Task, rows: &[Document], options: &BuildOptions<'_>) -> Result<Self, (usize, String)> {
        let limited = |total: usize| options.limit.map_or(total, |limit| limit.of(total));
        let first = |total: usize| Self { needed: limited(total), by_content: None, n_total: total };
        Ok(match options.subset {
            None => first(rows.len()),
            Some(Subset::First(size)) => first(size.min(rows.len())),
            Some(Subset::Nested(size)) => {
                let n_total = size.min(rows.len());
                Self { needed: rows.len(), by_content: Some(Choice::Nested(limited(n_total))), n_total }
            }
            Some(Subset::Stratified { one_in }) => {
                let stratum = |(row, document): (usize, &Document)| task.stratum(document).map_err(|reason| (row, reason));
                let strata = rows.iter().enumerate().map(stratum).collect::<Result<Vec<String>, _>>()?;
                let n_total = stratified_size(&strata, one_in);
                if limited(n_total) < n_total {
                    first(n_total)
                } else {
                    Self { needed: rows.len(), by_content: Some(Choice::Stratified { strata, one_in }), n_total }
                }
            }
        })
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
    seed: u64,
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
        let seed = options.seed.unwrap_or(FEWSHOT_SEED);
        Self { spec, chat: options.chat, max_new_tokens, generation_arguments: Arc::new(generation_arguments), seed }
    }

    /// `examples` are those of each form; a document that is not asked in several has one.
    fn requests(&self, item: &Item, examples: &[Vec<(String, String)>], doc_hash: &str) -> anyhow::Result<Vec<Request>> {
        if let Item::Forms(forms) = item {
            let mut requests = Vec::new();
            for (form, examples) in forms.iter().zip(examples) {
                let Form { question, choices, gold } = form.clone();
                requests.extend(self.requests(&Item::Choice { question, choices, gold }, std::slice::from_ref(examples), doc_hash)?);
            }
            return Ok(requests);
        }
        let examples = examples.first().map_or(&[][..], Vec::as_slice);
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
            Item::Forms(_) => Vec::new(),
            Item::Generation { question, .. } => {
                let greedy = GenerationRequest {
                    context: self.context(question, examples)?,
                    until: self
                        .spec
                        .generation
                        .as_ref()
                        .map_or(&[][..], |settings| settings.until)
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                    max_new_tokens: self.max_new_tokens,
                    decoding: Decoding::Greedy,
                };
                let sampled = |sample: usize| {
                    let seed = sample_seed(self.seed, doc_hash, sample);
                    let decoding = Decoding::Sampled { temperature: SAMPLE_TEMPERATURE, top_p: SAMPLE_TOP_P, seed };
                    Request::Generation(GenerationRequest { decoding, ..greedy.clone() })
                };
                let sampled: Vec<Request> = (0..self.spec.samples).map(sampled).collect();
                std::iter::once(Request::Generation(greedy)).chain(sampled).collect()
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{builtin_rows, registry};
    use proptest::prelude::*;
    use std::cell::RefCell;

    fn smoke(task: &str, options: &BuildOptions<'_>) -> Result<Built, BenchmarkError> {
        build(registry::task(task)?.as_ref(), builtin_rows(task, "test").unwrap(), builtin_rows(task, "fewshot").unwrap(), options)
    }

    fn shots(num_fewshot: usize) -> BuildOptions<'static> {
        BuildOptions { num_fewshot: Some(num_fewshot), ..Default::default() }
    }

    #[test]
    fn a_prompt_is_description_examples_question() {
        let built = smoke("smoke_mmlu", &shots(1)).unwrap();
        insta::assert_snapshot!(built.instances[0].arguments()[2][0].as_str().unwrap(), @r"
        The following are multiple choice questions (with answers) about everyday facts.

        How many minutes are there in two hours?
        A. 60
        B. 90
        C. 120
        D. 200
        Answer: C

        How many days are there in a leap year?
        A. 364
        B. 365
        C. 366
        D. 367
        Answer:
        ");
        assert_eq!(built.instances[0].arguments()[2][1], " C");
        assert_eq!((built.chance, built.n_total), (Some(0.25), 8));
    }

    #[test]
    fn a_partial_task_asks_the_same_rest_after_each_option() {
        let built = smoke("smoke_winogrande", &shots(0)).unwrap();
        let expected = json!([
            ["The suitcase did not fit into the locker because the suitcase", " was too big."],
            ["The suitcase did not fit into the locker because the locker", " was too big."]
        ]);
        assert_eq!(built.instances[0].arguments(), expected);
    }

    /// Examples become turns, the description the system message, and no delimiter stands before an answer.
    #[test]
    fn a_chat_keeps_the_parts_apart() {
        let seen = RefCell::new(Vec::new());
        let render = |messages: &[ChatMessage]| {
            seen.borrow_mut().push(messages.to_vec());
            Ok(messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("|"))
        };
        let built = smoke("smoke_mmlu", &BuildOptions { chat: Some(&render), ..shots(1) }).unwrap();
        let roles: Vec<String> = seen.borrow()[0].iter().map(|message| message.role.clone()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!(seen.borrow()[0][2].content, "C");
        assert_eq!(built.instances[0].arguments()[2][1], "C");
    }

    #[test]
    fn a_template_without_system_role_gets_none() {
        let render = |messages: &[ChatMessage]| {
            anyhow::ensure!(messages[0].role != "system", "System role not supported");
            Ok(format!("{} messages", messages.len()))
        };
        let built = smoke("smoke_mmlu", &BuildOptions { chat: Some(&render), ..shots(1) }).unwrap();
        assert_eq!(built.instances[0].arguments()[0][0], "3 messages");

        let refuse = |_: &[ChatMessage]| anyhow::bail!("no");
        let error = smoke("smoke_arc", &BuildOptions { chat: Some(&refuse), ..shots(1) }).unwrap_err();
        assert_eq!(error.to_string(), "task smoke_arc, document 0: the chat template refused the messages: no");
    }

    #[test]
    fn a_shorter_answer_is_logged_and_asked_for() {
        let built = smoke("smoke_gsm8k", &shots(0)).unwrap();
        let until = json!(["Question:", "</s>", "<|im_end|>"]);
        assert_eq!(built.instances[0].arguments()[0][1], json!({ "until": until, "do_sample": false, "temperature": 0.0 }));
        let built = smoke("smoke_gsm8k", &BuildOptions { max_gen_toks: Some(64), ..shots(0) }).unwrap();
        assert_eq!(built.instances[0].arguments()[0][1]["max_gen_toks"], 64);
        let Request::Generation(request) = &built.instances[0].requests[0] else { panic!("a generation") };
        assert_eq!(request.max_new_tokens, 64);

        let humaneval = registry::spec("humaneval").unwrap();
        assert_eq!(shortened_generation(humaneval, 1024), Some(512));
        assert_eq!(shortened_generation(humaneval, 2048), None);
        assert_eq!(shortened_generation(registry::spec("arc_easy").unwrap(), 8), None);
    }

    #[test]
    fn errors_name_the_place() {
        let task = registry::task("arc_challenge").unwrap();
        let rows = |text: Value| vec![text.as_object().unwrap().clone()];
        let error = build(task.as_ref(), vec![], vec![], &shots(0)).unwrap_err().to_string();
        assert!(error.starts_with("task arc_challenge: split `test` of allenai/ai2_arc (ARC-Challenge) has no rows"), "{error}");
        let error = build(task.as_ref(), rows(json!({ "question": "?", "choices": null })), vec![], &shots(0)).unwrap_err().to_string();
        assert_eq!(
            error,
            "task arc_challenge, row 0 of split `test` of allenai/ai2_arc (ARC-Challenge): column `choices` is null, not a structure"
        );
        let error = smoke("smoke_arc", &shots(7)).unwrap_err().to_string();
        assert_eq!(
            error,
            "task smoke_arc: 7 few-shot examples need 7 rows to draw from, but there are 6; ask for fewer with --num-fewshot"
        );
    }

    #[test]
    fn a_fraction_is_rounded_up() {
        let count = |limit| smoke("smoke_mmlu", &BuildOptions { limit: Some(limit), ..shots(0) }).unwrap().instances.len();
        assert_eq!([Limit::Fraction(0.3), Limit::Fraction(0.01), Limit::Count(3), Limit::Count(99)].map(count), [3, 1, 3, 8]);
    }

    proptest! {
        /// A limited run asks the same prompts as the whole run: the few-shot stream does not depend on the limit.
        #[test]
        fn a_limit_changes_no_prompt(size in 0usize..=6, nested in any::<bool>(), examples in 0usize..5, seed in 0u64..100) {
            let (subset, limit) = if nested { (Some(Subset::Nested(size)), None) } else { (None, Some(Limit::Count(size))) };
            let options = |subset, limit| BuildOptions { subset, limit, seed: Some(seed), ..shots(examples) };
            let whole = smoke("smoke_arc", &options(None, None)).unwrap();
            let part = smoke("smoke_arc", &options(subset, limit)).unwrap();
            prop_assert_eq!(part.instances.len(), size);
            for instance in &part.instances {
                prop_assert_eq!(&instance.prompt_hash, &whole.instances[instance.doc_id].prompt_hash);
            }
        }

        #[test]
        fn a_smaller_subset_is_part_of_a_larger_one(hashes in prop::collection::vec("[0-9a-f]{4}", 0..40), small in 0usize..40, large in 0usize..40) {
            let (small, large) = (small.min(large), small.max(large));
            let (inner, outer) = (nested_subset(&hashes, small), nested_subset(&hashes, large));
            prop_assert_eq!(inner.len(), small.min(hashes.len()));
            prop_assert!(inner.iter().all(|index| outer.contains(index)));
            prop_assert!(inner.is_sorted());
        }

        /// Each stratum keeps its share, rounded up, of its own smallest hashes; so the choice of one document depends on its stratum alone.
        #[test]
        fn a_stratified_subset_keeps_the_shares(documents in prop::collection::vec(("[0-9a-f]{6}", 0usize..4), 0..60), one_in in 1usize..8) {
            let (hashes, strata): (Vec<String>, Vec<String>) =
                documents.iter().map(|(hash, stratum)| (hash.clone(), format!("s{stratum}"))).unzip();
            let chosen = stratified_subset(&hashes, &strata, one_in);
            prop_assert!(chosen.is_sorted());
            prop_assert_eq!(chosen.len(), stratified_size(&strata, one_in));
            for stratum in ["s0", "s1", "s2", "s3"] {
                let members: Vec<usize> = (0..strata.len()).filter(|&index| strata[index] == stratum).collect();
                let kept: Vec<usize> = chosen.iter().copied().filter(|&index| strata[index] == stratum).collect();
                prop_assert_eq!(kept.len(), members.len().div_ceil(one_in));
                let largest_kept = kept.iter().map(|&index| &hashes[index]).max();
                let left = members.iter().filter(|index| !kept.contains(index)).map(|&index| &hashes[index]).min();
                prop_assert!(left.is_none() || largest_kept.is_none() || largest_kept <= left);
            }
        }
    }

    /// A limit below the suite's choice takes the first documents, as the reference does; one above it takes the suite's choice.
    #[test]
    fn a_limit_of_a_stratified_subset_means_the_first_documents() {
        let built = |limit| {
            let subset = Some(Subset::Stratified { one_in: 3 });
            smoke("smoke_arc", &BuildOptions { subset, limit, ..shots(0) }).unwrap()
        };
        let ids = |built: &Built| built.instances.iter().map(|instance| instance.doc_id).collect::<Vec<_>>();
        let whole = built(None);
        assert_eq!((whole.n_total, whole.instances.len()), (2, 2));
        assert_eq!((built(Some(Limit::Count(1))).n_total, ids(&built(Some(Limit::Count(1))))), (2, vec![0]));
        assert_eq!(ids(&built(Some(Limit::Count(50)))), ids(&whole));
    }

    /// Sampled answers come after the greedy one, which stays as it is; their seeds are fixed, and differ by document and sample.
    #[test]
    fn samples_stand_beside_the_greedy_answer() {
        let rows = || builtin_rows("smoke_humaneval", "test").unwrap();
        let plain = registry::task("smoke_humaneval").unwrap();
        let task = plain.sampled(3).unwrap();
        let options = BuildOptions { seed: Some(5), ..Default::default() };
        let built = build(task.as_ref(), rows(), Vec::new(), &options).unwrap();
        let greedy = build(plain.as_ref(), rows(), Vec::new(), &options).unwrap();
        let mut seeds = std::collections::BTreeSet::new();
        for (instance, alone) in built.instances.iter().zip(&greedy.instances) {
            assert_eq!((instance.requests.len(), &instance.requests[0]), (4, &alone.requests[0]));
            assert_eq!(instance.arguments()[0], alone.arguments()[0]);
            for (request, arguments) in instance.requests[1..].iter().zip(instance.arguments().as_array().unwrap()[1..].iter()) {
                let Request::Generation(GenerationRequest { decoding: Decoding::Sampled { temperature, top_p, seed }, .. }) = request
                else {
                    panic!("a sampled answer")
                };
                assert_eq!((*temperature, *top_p), (0.2, 0.95));
                assert_eq!((&arguments[1]["do_sample"], &arguments[1]["seed"]), (&json!(true), &json!(seed)));
                assert!(seeds.insert(*seed));
            }
        }
        let again = build(task.as_ref(), rows(), Vec::new(), &options).unwrap();
        assert!(again.instances.iter().zip(&built.instances).all(|(one, other)| one.requests == other.requests));
        let keys: Vec<String> = task.spec().metrics.iter().map(super::super::MetricSpec::key).collect();
        assert_eq!(keys, ["pass@1,create_test", "pass@1,sampled"]);
        assert!(registry::task("gsm8k").unwrap().sampled(3).is_none());
    }
}
