//! LAMBADA (Paperno et al. 2016, arXiv:1606.06031), in OpenAI's preparation: the last word of a passage.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::split_space;
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{Aggregation, Dataset, Document, Item, MetricSpec, OutputKind, Response, Task, TaskSpec};
use serde_json::json;

struct Lambada {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("EleutherAI/lambada_openai", "default", "test", Some("test"));
    vec![
        lambada("lambada_openai", hub, "Guesses the last word of a passage from its whole context."),
        lambada("smoke_lambada", smoke::dataset(), "Guesses the last word of a few built-in passages."),
    ]
}

fn lambada(name: &str, dataset: Dataset, measures: &'static str) -> Entry {
    let perplexity = MetricSpec { name: "perplexity", filter: "none", higher_is_better: false, aggregation: Aggregation::Perplexity };
    let mut spec = TaskSpec::multiple_choice(name, "1.0", dataset, &[], measures);
    spec.output = OutputKind::Loglikelihood;
    spec.metrics = vec![perplexity, MetricSpec::mean("acc")];
    Entry::task(Lambada { spec })
}

impl Task for Lambada {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let (passage, word) = split_space(fields::text(document, "text")?);
        Ok(Item::Continuation { question: passage.to_owned(), target: format!(" {word}") })
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        match scoring.responses {
            [Response::Loglikelihood { value, is_greedy }] => Ok(Metrics::from_iter([
                ("perplexity,none".to_owned(), json!(value)),
                ("acc,none".to_owned(), json!(i32::from(*is_greedy))),
            ])),
            _ => Err("the answer is not one log-likelihood".to_owned()),
        }
    }
}
