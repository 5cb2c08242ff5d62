//! GSM8K (Cobbe et al. 2021, arXiv:2110.14168): word problems, answered in writing; the last number counts.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::strip;
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{INVALID, Metrics, Scoring, truth};
use crate::benchmark::smoke;
use crate::benchmark::{
    Aggregation, Dataset, Document, Fewshot, GenerationSettings, Item, MetricSpec, OutputKind, Sampler, Task, TaskSpec,
};
use regex::Regex;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The number after `####`, as the examples write it.
const STRICT: &str = "strict-match";
/// The last number of the answer.
const FLEXIBLE: &str = "flexible-extract";

struct Gsm8k {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("openai/gsm8k", "main", "test", Some("train"));
    vec![
        gsm8k("gsm8k", hub, 5, "Solves grade-school word problems step by step."),
        gsm8k("smoke_gsm8k", smoke::dataset(), 2, "Solves a few built-in word problems step by step."),
    ]
}

fn gsm8k(name: &str, dataset: Dataset, shots: usize, measures: &'static str) -> Entry {
    let metric = |filter| MetricSpec { name: "exact_match", filter, higher_is_better: true, aggregation: Aggregation::Mean };
    let logged = Map::from_iter([("do_sample".to_owned(), json!(false)), ("temperature".to_owned(), json!(0.0))]);
    let mut spec = TaskSpec::multiple_choice(name, "3.0", dataset, &[], measures);
    spec.output = OutputKind::GenerateUntil;
    spec.fewshot = Fewshot { default: shots, fixed: false, sampler: Sampler::Random };
    spec.generation = Some(GenerationSettings { until: &["Question:", "</s>", "<|im_end|>"], max_gen_toks: None, logged });
    spec.filters = &[STRICT, FLEXIBLE];
    spec.metrics = vec![metric(STRICT), metric(FLEXIBLE)];
    spec.primary = "exact_match,flexible-extract";
    Entry::task(Gsm8k { spec })
}

#[expect(clippy::expect_used, reason = "a constant pattern, compiled by the tests")]
static AFTER_MARK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#### (-?[0-9.,]+)").expect("a valid pattern"));
#[expect(clippy::expect_used, reason = "a constant pattern, compiled by the tests")]
static ANY_NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"-?[$0-9.,]{2,}|-?[0-9]+").expect("a valid pattern"));

fn extract(filter: &str, answer: &str) -> String {
    let found = if filter == STRICT {
        AFTER_MARK.captures(answer).and_then(|captures| captures.get(1)).map(|number| number.as_str())
    } else {
        ANY_NUMBER.find_iter(answer).last().map(|number| number.as_str())
    };
    found.map_or(INVALID, strip).to_owned()
}

/// What two answers are compared by: commas, dollar signs, everything up to the last `#### ` and a final full stop are left out; lower case.
fn comparable(answer: &str) -> String {
    let plain = answer.replace([',', '$'], "");
    let number = plain.rfind("#### ").map_or(plain.as_str(), |mark| &plain[mark + "#### ".len()..]);
    // The reference's `\.$` also matches before a line break at the end.
    let (line, end) = number.strip_suffix('\n').map_or((number, ""), |line| (line, "\n"));
    format!("{}{end}", line.strip_suffix('.').unwrap_or(line)).to_lowercase()
}

impl Task for Gsm8k {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Generation {
            question: format!("Question: {}\nAnswer:", fields::text(document, "question")?),
            target: fields::text(document, "answer")?.to_owned(),
        })
    }

    fn filtered(&self, filter: &str, _document: &Document, answer: &str) -> Value {
        Value::from(extract(filter, answer))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let target = comparable(fields::text(scoring.document, "answer")?);
        [STRICT, FLEXIBLE]
            .into_iter()
            .map(|filter| {
                let answer = scoring.filtered.get(filter).and_then(|answers| answers.get(0)).and_then(Value::as_str);
                let answer = answer.ok_or_else(|| format!("filter {filter} gave no answer"))?;
                Ok((format!("exact_match,{filter}"), json!(truth(comparable(answer) == target))))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BuildOptions, Flag, Response, build, registry, score};
    use proptest::prelude::*;

    fn scored(answer: &str) -> crate::benchmark::DocumentScore {
        let task = registry::task("gsm8k").unwrap();
        let row = json!({ "question": "How many?", "answer": "He has 9 * 2 = <<9*2=18>>18.\n#### 18" }).as_object().unwrap().clone();
        let options = BuildOptions { num_fewshot: Some(0), ..Default::default() };
        let built = build(task.as_ref(), vec![row], vec![], &options).unwrap();
        score(task.as_ref(), &built.instances[0], &[Response::Text(answer.to_owned())], &[]).unwrap()
    }

    /// Reference values for the right answer 18: (answer, strict extraction and match, flexible extraction and match).
    #[test]
    fn both_filters_equal_the_reference() {
        for (answer, strict, strict_match, flexible, flexible_match) in [
            ("He ate 5.\n#### 18", "18", 1.0, "18", 1.0),
            ("The answer is $1,234.50.", INVALID, 0.0, "$1,234.50.", 0.0),
            ("so 12 apples\n#### 1,000", "1,000", 0.0, "1,000", 0.0),
            ("#### -5.", "-5.", 0.0, "-5.", 0.0),
            ("no number", INVALID, 0.0, INVALID, 0.0),
            ("= 3 and 4.", INVALID, 0.0, "4.", 0.0),
            ("#### 18.", "18.", 1.0, "18.", 1.0),
            ("costs $18.00", INVALID, 0.0, "$18.00", 0.0),
            ("$18", INVALID, 0.0, "$18", 1.0),
            ("it is 18\n#### 19", "19", 0.0, "19", 0.0),
            ("-18", INVALID, 0.0, "-18", 0.0),
            ("18 apples, 7 pears and 18", INVALID, 0.0, "18", 1.0),
        ] {
            let scored = scored(answer);
            assert_eq!(Value::Object(scored.filtered_resps), json!({ STRICT: [strict], FLEXIBLE: [flexible] }), "{answer}");
            let expected = json!({ "exact_match,strict-match": strict_match, "exact_match,flexible-extract": flexible_match });
            assert_eq!(Value::Object(scored.metrics), expected, "{answer}");
        }
    }

    #[test]
    fn an_answer_without_a_number_is_flagged() {
        assert_eq!(scored("no number").flags, [Flag::ExtractionFailed]);
        assert_eq!(scored(" \n").flags, [Flag::ExtractionFailed, Flag::EmptyGeneration]);
        assert_eq!(scored("18").flags, []);
    }

    proptest! {
        #[test]
        fn filters_never_panic(answer in any::<String>(), numbers in "[-#$0-9., \n]{0,60}") {
            for text in [answer, numbers] {
                for filter in [STRICT, FLEXIBLE] {
                    comparable(&extract(filter, &text));
                }
            }
        }
    }
}
