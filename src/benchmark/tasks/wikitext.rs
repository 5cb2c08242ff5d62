//! WikiText-2 (Merity et al. 2016, arXiv:1609.07843): perplexity of whole articles.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::is_space;
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{
    Aggregation, Dataset, Document, Fewshot, Item, MetricSpec, OutputKind, Response, Sampler, ScoreRule, Task, TaskSpec,
};
use regex::Regex;
use serde_json::{Value, json};
use std::sync::LazyLock;

struct Wikitext {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("EleutherAI/wikitext_document_level", "wikitext-2-raw-v1", "test", None);
    vec![
        wikitext("wikitext", hub, "Predicts the text of encyclopaedia articles."),
        wikitext("smoke_wikitext", smoke::dataset(), "Predicts the text of a few built-in paragraphs."),
    ]
}

fn wikitext(name: &str, mut dataset: Dataset, measures: &'static str) -> Entry {
    dataset.fewshot_split = None;
    let metric = |name, aggregation| MetricSpec { name, filter: "none", higher_is_better: false, aggregation };
    let mut spec = TaskSpec::multiple_choice(name, "2.0", dataset, &[], measures);
    spec.output = OutputKind::LoglikelihoodRolling;
    // A whole text has no prompt, so examples would change nothing.
    spec.fewshot = Fewshot { default: 0, fixed: true, sampler: Sampler::Random };
    spec.metrics = vec![
        metric("word_perplexity", Aggregation::WeightedPerplexity),
        metric("byte_perplexity", Aggregation::WeightedPerplexity),
        metric("bits_per_byte", Aggregation::BitsPerByte),
    ];
    spec.primary = "word_perplexity,none";
    spec.score_rule = ScoreRule::Unbounded;
    Entry::task(Wikitext { spec })
}

/// One step of the detokeniser.
enum Step {
    /// Replace a text by another.
    Text(&'static str, &'static str),
    /// Replace what a pattern matches.
    Pattern(Regex, &'static str),
}

/// Turns the tokenised text of the data set back into prose; the order matters.
static DETOKENISER: LazyLock<Vec<Step>> = LazyLock::new(|| {
    let mut steps = vec![
        Step::Text("s '", "s'"),
        // The slashes are part of the reference's pattern, and the class part of its replacement: it never occurs in prose.
        pattern("/' [0-9]/", "/'[0-9]/"),
        Step::Text(" @-@ ", "-"),
        Step::Text(" @,@ ", ","),
        Step::Text(" @.@ ", "."),
    ];
    let punctuation = [(" : ", ": "), (" ; ", "; "), (" . ", ". "), (" ! ", "! "), (" ? ", "? "), (" , ", ", ")];
    steps.extend(punctuation.map(|(from, to)| Step::Text(from, to)));
    // White space inside brackets and quotation marks; Python's class has four separators more than this crate's.
    steps.extend([
        pattern(r"\([\s\x1c-\x1f]*([^)]*?)[\s\x1c-\x1f]*\)", "($1)"),
        pattern(r"\[[\s\x1c-\x1f]*([^\]]*?)[\s\x1c-\x1f]*\]", "[$1]"),
        pattern(r"\{[\s\x1c-\x1f]*([^}]*?)[\s\x1c-\x1f]*\}", "{$1}"),
        pattern(r#""[\s\x1c-\x1f]*([^"]*?)[\s\x1c-\x1f]*""#, "\"$1\""),
        pattern(r"'[\s\x1c-\x1f]*([^']*?)[\s\x1c-\x1f]*'", "'$1'"),
    ]);
    let rest =
        [("= = = =", "===="), ("= = =", "==="), ("= =", "=="), (" ° ", "°"), (" \n", "\n"), ("\n ", "\n"), (" N ", " 1 "), (" 's", "'s")];
    steps.extend(rest.map(|(from, to)| Step::Text(from, to)));
    steps
});

#[expect(clippy::expect_used, reason = "constant patterns, all compiled by the tests")]
fn pattern(pattern: &str, replacement: &'static str) -> Step {
    Step::Pattern(Regex::new(pattern).expect("a valid pattern"), replacement)
}

fn detokenise(page: &str) -> String {
    DETOKENISER.iter().fold(page.to_owned(), |text, step| match step {
        Step::Text(from, to) => text.replace(from, to),
        Step::Pattern(pattern, replacement) => pattern.replace_all(&text, *replacement).into_owned(),
    })
}

/// Pieces between stretches of white space, as Python's `re.split` counts them: empty ones at the ends included.
fn word_count(page: &str) -> usize {
    let mut words = 1;
    let mut in_space = false;
    for character in page.chars() {
        let space = is_space(character);
        words += usize::from(space && !in_space);
        in_space = space;
    }
    words
}

impl Task for Wikitext {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Text { text: detokenise(fields::text(document, "page")?) })
    }

    /// The page as the data set has it: its words and bytes are counted, and the request's text is made of it.
    fn details(&self, document: &Document) -> Option<Value> {
        Some(json!({ "page": fields::text(document, "page").ok()? }))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let [Response::Rolling(value)] = scoring.responses else {
            return Err("the answer is not one log-likelihood of a text".to_owned());
        };
        // Words and bytes are those of the page before detokenising.
        let page = fields::text(scoring.document, "page")?;
        Ok(Metrics::from_iter([
            ("word_perplexity,none".to_owned(), json!([value, word_count(page)])),
            ("byte_perplexity,none".to_owned(), json!([value, page.len()])),
            ("bits_per_byte,none".to_owned(), json!([value, page.len()])),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BuildOptions, build, registry, score};
    use proptest::prelude::*;

    /// Reference values.
    #[test]
    fn text_and_counts_equal_the_reference() {
        let page = " = Robert = \n \n He said @-@ well , @.@ 5 \" quote \" ( x ) and it 's N . ";
        assert_eq!(detokenise(page), " = Robert =\n\nHe said-well ,.5 \"quote\" (x) and it's N. ");
        let task = registry::task("wikitext").unwrap();
        let row = json!({ "page": page }).as_object().unwrap().clone();
        let built = build(task.as_ref(), vec![row], vec![], &BuildOptions::default()).unwrap();
        assert_eq!(built.instances[0].prompt_hash, built.instances[0].target_hash);
        let scored = score(task.as_ref(), &built.instances[0], &[Response::Rolling(-50.0)], &[]).unwrap();
        let expected = json!({
            "word_perplexity,none": [-50.0, 23], "byte_perplexity,none": [-50.0, 71], "bits_per_byte,none": [-50.0, 71]
        });
        assert_eq!(Value::Object(scored.metrics), expected);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(page in r#"[a-z= \n"'(){}\[\]@,.°\x1c-]{0,60}"#) {
            let _ = detokenise(&page);
            prop_assert!(word_count(&page) >= 1);
        }
    }
}
