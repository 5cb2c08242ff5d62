//! Long contexts: does a model find a fact far back in its window? Informational; never part of an aggregate.
//!
//! Two tasks, both written by a generator that is a pure function of (seed, length, repetition, tokenizer):
//!
//! - `needle_in_a_haystack`: [`DEPTHS`] access codes stand at as many depths of a long report about nothing in particular; each is asked for.
//!   The idea is Kamradt's (2023), the form with several keys that of RULER (Hsieh et al. 2024, arXiv:2404.06654).
//! - `multi_document_qa`: a collection of short documents about institutions that do not exist, so that nothing can be known beforehand. One question
//!   needs one document (Liu et al. 2023, arXiv:2307.03172, at [`DEPTHS`]), one needs a second document that the first one names.
//!
//! All questions of one text stand at its end, so the text is computed once for all of them. Prompt and answer together take the wanted
//! length: a prompt has at most [`RESERVED`] tokens less, and misses that by at most [`TOLERANCE`].

mod grid;
mod text;

pub use grid::{Cell, Grid, LengthRow, LongContext, summary};

use super::Document;
use rand_mt::Mt64;
use serde_json::json;
use sha2::{Digest, Sha256};
use text::{Collection, Report};

/// Version of texts and questions: part of the run's id by way of the tasks' version.
pub const VERSION: &str = "1";

/// Tokens of prompt and answer together.
pub const LENGTHS: [usize; 6] = [1024, 2048, 4096, 8192, 16_384, 32_768];

/// Where the asked fact stands, in per cent of the text.
pub const DEPTHS: [u32; 5] = [0, 25, 50, 75, 100];

/// Tokens of a length that are kept free for the answer.
pub const RESERVED: usize = 32;

/// Most tokens of an answer.
pub const ANSWER_TOKENS: usize = 16;

/// Most tokens by which a prompt falls short of its length less [`RESERVED`]: questions about one text differ in length.
pub const TOLERANCE: usize = 32;

/// Most texts of one length.
const REPETITIONS: usize = 8;
/// Fewest texts of one length.
const LEAST_REPETITIONS: usize = 2;
/// Tokens of all texts of one length: long texts are repeated less often.
const TOKENS_OF_LENGTH: usize = 32_768;

/// Name of the task with the needles.
pub const NEEDLE: &str = "needle_in_a_haystack";
/// Name of the task with the documents.
pub const DOCUMENTS: &str = "multi_document_qa";
/// Both tasks.
pub const TASKS: [&str; 2] = [NEEDLE, DOCUMENTS];

/// Counts the tokens that a prompt becomes, chat template and special tokens included.
pub type TokenCounter<'a> = dyn Fn(&str) -> anyhow::Result<usize> + 'a;

/// What a question needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One sentence of a report.
    Needle,
    /// One document of a collection.
    Document,
    /// One document that names another, and that other one.
    TwoDocuments,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Needle, Self::Document, Self::TwoDocuments];

    /// Name in artifacts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Needle => "needle",
            Self::Document => "document",
            Self::TwoDocuments => "two_documents",
        }
    }

    /// The task that asks it.
    #[must_use]
    pub fn task(self) -> &'static str {
        match self {
            Self::Needle => NEEDLE,
            Self::Document | Self::TwoDocuments => DOCUMENTS,
        }
    }
}

/// Number of texts of a length.
#[must_use]
pub fn repetitions(length: usize) -> usize {
    (TOKENS_OF_LENGTH / length).clamp(LEAST_REPETITIONS, REPETITIONS)
}

/// The documents of a task for a model that is asked no more than `window` tokens, in the order in which `--limit` takes them: the first text of each
/// length, then the second of each, and so on. Empty where the window is shorter than every length, or the task is none of [`TASKS`].
///
/// Every document has `kind`, `length`, `depth`, `repetition`, `prompt`, `answer` and `prompt_tokens`.
///
/// # Errors
/// Where the tokens cannot be counted.
pub fn documents(task: &str, seed: u64, window: usize, count: &TokenCounter<'_>) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for repetition in 0..REPETITIONS {
        for length in LENGTHS.into_iter().filter(|&length| length <= window && repetition < repetitions(length)) {
            documents.extend(documents_of_text(task, seed, length, repetition, count)?);
        }
    }
    Ok(documents)
}

/// A question about a text.
struct Question {
    kind: Kind,
    depth: u32,
    /// What follows the text in the prompt.
    prompt: String,
    answer: String,
}

/// A text that grows, and the questions about it.
trait Text {
    /// The text with `units` sentences or documents and `words` further words.
    fn body(&self, units: usize, words: usize) -> String;

    /// The questions about the text of `units` units.
    fn questions(&self, units: usize) -> Vec<Question>;

    /// Fewest units about which all questions can be asked.
    fn least(&self) -> usize;
}

/// Number of words with which a text is filled up at most.
const FILL: usize = text::STORES.len();

/// All questions about one text.
fn documents_of_text(task: &str, seed: u64, length: usize, repetition: usize, count: &TokenCounter<'_>) -> anyhow::Result<Vec<Document>> {
    let mut random = stream(&format!("{VERSION}/{task}/{seed}/{length}/{repetition}"));
    // More units than any tokenizer can fit: a unit has at least eight tokens, since it has more than eight words.
    let most = length / 8;
    let text: Box<dyn Text> = match task {
        NEEDLE => Box::new(Report::new(&mut random, most)),
        DOCUMENTS => Box::new(Collection::new(&mut random, most / 4)),
        _ => return Ok(Vec::new()),
    };
    let room = length - RESERVED;
    // The longest of the questions must fit; which one it is hardly depends on the text before it.
    let longest = |units: usize, words: usize| -> anyhow::Result<usize> {
        let body = text.body(units, words);
        let mut longest = 0;
        for question in text.questions(units) {
            longest = longest.max(count(&format!("{body}{}", question.prompt))?);
        }
        Ok(longest)
    };
    let rough = |units: usize| -> anyhow::Result<usize> {
        let body = text.body(units, 0);
        let questions = text.questions(units);
        let longest = questions.iter().max_by_key(|question| question.prompt.len()).map_or("", |question| question.prompt.as_str());
        count(&format!("{body}{longest}"))
    };
    let least = text.least();
    let mut units = last_fitting(least, most, |units| Ok(rough(units)? <= room))?;
    while units > least && longest(units, 0)? > room {
        units -= 1;
    }
    let words = last_fitting(0, FILL, |words| Ok(longest(units, words)? <= room))?;
    let body = text.body(units, words);
    text.questions(units)
        .into_iter()
        .map(|question| {
            let prompt = format!("{body}{}", question.prompt);
            let row = json!({
                "kind": question.kind.name(),
                "length": length,
                "depth": question.depth,
                "repetition": repetition,
                "prompt_tokens": count(&prompt)?,
                "prompt": prompt,
                "answer": question.answer,
            });
            match row {
                serde_json::Value::Object(row) => Ok(row),
                _ => Ok(Document::new()),
            }
        })
        .collect()
}

/// The largest number from `low` to `high` that fits, by bisection; `low` where none does.
fn last_fitting(low: usize, high: usize, fits: impl Fn(usize) -> anyhow::Result<bool>) -> anyhow::Result<usize> {
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle)? {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

/// A random stream of its own for everything that has a name.
fn stream(name: &str) -> Mt64 {
    let digest = Sha256::digest(name);
    let mut seed = [0; 8];
    seed.copy_from_slice(&digest[..8]);
    Mt64::new(u64::from_be_bytes(seed))
}

/// Digest of what the generator writes for a task, counted in words: a changed sentence gives another run id.
///
/// # Errors
/// Never with the counter that it uses.
pub fn digest(task: &str) -> anyhow::Result<String> {
    let words = |text: &str| Ok(text.split_whitespace().count());
    let rows = documents(task, 0, LENGTHS[1], &words)?;
    let mut hasher = Sha256::new();
    for row in rows {
        hasher.update(serde_json::to_vec(&row)?);
        hasher.update(b"\n");
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Whether an answer holds the wanted words, not as a part of longer ones. Letter case counts.
#[must_use]
pub fn contains(answer: &str, wanted: &str) -> bool {
    let is_word = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
    !wanted.is_empty()
        && answer.match_indices(wanted).any(|(at, found)| {
            let (before, after) = (&answer[..at], &answer[at + found.len()..]);
            !is_word(before.chars().next_back()) && !is_word(after.chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A tokenizer of pieces of up to `size` characters of a word, as a sub-word tokenizer has them.
    fn pieces(size: usize) -> impl Fn(&str) -> anyhow::Result<usize> {
        move |text: &str| Ok(1 + text.split_whitespace().map(|word| word.chars().count().div_ceil(size)).sum::<usize>())
    }

    fn field<'a>(row: &'a Document, name: &str) -> &'a str {
        row[name].as_str().unwrap()
    }

    fn number(row: &Document, name: &str) -> usize {
        usize::try_from(row[name].as_u64().unwrap()).unwrap()
    }

    /// Prompts have the wanted length within the stated tolerance, whatever the tokenizer, and never more.
    #[test]
    fn prompts_have_the_wanted_length() {
        for task in TASKS {
            for size in [2, 3, 5, 20] {
                let count = pieces(size);
                for row in documents(task, 7, 4096, &count).unwrap() {
                    let (room, tokens) = (number(&row, "length") - RESERVED, number(&row, "prompt_tokens"));
                    assert_eq!(count(field(&row, "prompt")).unwrap(), tokens);
                    assert!(tokens <= room && tokens + TOLERANCE >= room, "{task}, pieces of {size}: {tokens} of {room}");
                }
            }
        }
    }

    /// The right answer stands in the text once, where the depth says, and no other document has the same one.
    #[test]
    fn the_answer_stands_where_the_depth_says() {
        let rows = documents(NEEDLE, 1, 2048, &pieces(4)).unwrap();
        for row in &rows {
            let (prompt, answer) = (field(row, "prompt"), field(row, "answer"));
            assert_eq!(prompt.matches(answer).count(), 1);
            let share = 100.0 * prompt.find(answer).unwrap() as f64 / prompt.rfind("Question:").unwrap() as f64;
            assert!((share - row["depth"].as_f64().unwrap()).abs() < 8.0, "{share} at depth {}", row["depth"]);
        }
        let of_one_text: BTreeSet<&str> =
            rows.iter().filter(|row| row["length"] == 1024 && row["repetition"] == 0).map(|row| field(row, "answer")).collect();
        assert_eq!(of_one_text.len(), DEPTHS.len());
        for row in documents(DOCUMENTS, 1, 2048, &pieces(4)).unwrap() {
            let (prompt, answer) = (field(&row, "prompt"), field(&row, "answer"));
            assert!(contains(prompt, answer), "{answer}");
            assert_eq!(prompt.matches(&format!("in the town of {answer}.")).count(), 1, "{answer}");
        }
    }

    /// All questions about one text share it: the text is computed once.
    #[test]
    fn questions_share_their_text() {
        for task in TASKS {
            let rows = documents(task, 3, 1024, &pieces(4)).unwrap();
            let first: Vec<&Document> = rows.iter().filter(|row| row["repetition"] == 0).collect();
            let text = |row: &Document| field(row, "prompt").split("Question:").next().unwrap().to_owned();
            assert!(first.len() >= DEPTHS.len());
            assert!(first.iter().all(|row| text(row) == text(first[0])), "{task}");
            let all: BTreeSet<String> = rows.iter().map(text).collect();
            assert_eq!(all.len(), repetitions(1024), "each repetition has a text of its own");
        }
    }

    /// A limit takes whole lengths of the first repetition first; nothing is longer than the window.
    #[test]
    fn the_order_reaches_every_length_early() {
        let rows = documents(NEEDLE, 1, 5000, &pieces(6)).unwrap();
        let lengths: Vec<usize> = rows.iter().take(15).map(|row| number(row, "length")).collect();
        assert_eq!(lengths, [[1024; 5], [2048; 5], [4096; 5]].concat());
        assert_eq!(rows.len(), 3 * 8 * DEPTHS.len());
        assert!(documents(NEEDLE, 1, 1023, &pieces(6)).unwrap().is_empty());
        assert_eq!([1024, 8192, 32_768].map(repetitions), [8, 4, 2]);
    }

    /// The same seed gives the same documents, another seed others.
    #[test]
    fn texts_are_a_function_of_the_seed() {
        for task in TASKS {
            let one = documents(task, 11, 1024, &pieces(4)).unwrap();
            assert_eq!(one, documents(task, 11, 1024, &pieces(4)).unwrap());
            assert_ne!(one, documents(task, 12, 1024, &pieces(4)).unwrap());
            assert_eq!(digest(task).unwrap(), digest(task).unwrap());
        }
        assert_ne!(digest(NEEDLE).unwrap(), digest(DOCUMENTS).unwrap());
    }

    /// What a person reads when looking at a prompt.
    #[test]
    fn prompts_read_like_english() {
        let shortened = |task: &str, index: usize| {
            let row = documents(task, 1234, 1024, &pieces(4)).unwrap().remove(index);
            let prompt = field(&row, "prompt");
            let head: String = prompt.chars().take(900).collect();
            let tail: String = prompt.chars().skip(prompt.chars().count() - 420).collect();
            format!("{head}\n[…]\n{tail} → {}", field(&row, "answer"))
        };
        insta::assert_snapshot!("needle_prompt", shortened(NEEDLE, 2));
        insta::assert_snapshot!("documents_prompt", shortened(DOCUMENTS, 7));
    }

    #[test]
    fn an_answer_counts_as_whole_words() {
        assert!(contains(" 48213.", "48213"));
        assert!(contains("the town of Brackwell, north", "Brackwell"));
        assert!(!contains("148213", "48213"));
        assert!(!contains("Brackwells", "Brackwell"));
        assert!(!contains("brackwell", "Brackwell"));
        assert!(!contains("", "48213") && !contains("x", ""));
    }

    proptest! {
        /// Bisection finds the last number that fits.
        #[test]
        fn bisection_finds_the_edge(low in 0usize..50, width in 0usize..50, edge in 0usize..120) {
            let found = last_fitting(low, low + width, |value| Ok(value <= edge)).unwrap();
            prop_assert_eq!(found, edge.clamp(low, low + width));
        }
    }
}
