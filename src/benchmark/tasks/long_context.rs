//! Long contexts: facts far back in the window. See [`crate::benchmark::long_context`] for the texts.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::long_context::{ANSWER_TOKENS, DOCUMENTS, NEEDLE, VERSION, contains};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Response, Scoring, truth};
use crate::benchmark::{Dataset, Document, Fewshot, GenerationSettings, Item, Location, MetricSpec, OutputKind, Sampler, Task, TaskSpec};
use serde_json::{Map, Value, json};

struct LongContext {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    vec![
        entry(NEEDLE, "Finds an access code that was mentioned once in a long report."),
        entry(DOCUMENTS, "Answers questions from one or two of many documents."),
    ]
}

fn entry(name: &str, measures: &'static str) -> Entry {
    let dataset = Dataset { location: Location::Generated, split: "test".to_owned(), fewshot_split: None };
    let mut spec = TaskSpec::multiple_choice(name, VERSION, dataset, &["contains"], measures);
    spec.output = OutputKind::GenerateUntil;
    spec.fewshot = Fewshot { default: 0, fixed: true, sampler: Sampler::Random };
    spec.generation = Some(GenerationSettings {
        until: &["\n"],
        max_gen_toks: Some(ANSWER_TOKENS),
        logged: Map::from_iter([("do_sample".to_owned(), json!(false))]),
    });
    spec.metrics = vec![MetricSpec::mean("contains")];
    spec.primary = "contains,none";
    Entry::task(LongContext { spec })
}

impl Task for LongContext {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Generation {
            question: fields::text(document, "prompt")?.to_owned(),
            target: fields::text(document, "answer")?.to_owned(),
        })
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let Item::Generation { target, .. } = scoring.item else { return Err("the document asks for no text".to_owned()) };
        let [Response::Text(answer)] = scoring.responses else { return Err("there is not one text as the answer".to_owned()) };
        Ok(Metrics::from_iter([("contains,none".to_owned(), json!(truth(contains(answer, target))))]))
    }

    fn details(&self, document: &Document) -> Option<Value> {
        let kept = ["kind", "length", "depth", "repetition", "prompt_tokens"];
        let details: Map<String, Value> =
            kept.into_iter().filter_map(|name| Some((name.to_owned(), document.get(name)?.clone()))).collect();
        Some(Value::Object(details))
    }
}
