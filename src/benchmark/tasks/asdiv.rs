//! ASDiv (Miao et al. 2020, arXiv:2106.15772): word problems; right where the answer is what the model would write first.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::{Dataset, Document, Item, OutputKind, Response, Sampler, Task, TaskSpec};
use serde_json::json;

struct Asdiv {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let dataset = Dataset::hub("EleutherAI/asdiv", "asdiv", "validation", Some("validation"));
    let mut spec = TaskSpec::multiple_choice("asdiv", "1.0", dataset, &["acc"], "Writes the number that solves a word problem.");
    spec.output = OutputKind::Loglikelihood;
    spec.fewshot.sampler = Sampler::RandomWithoutEvaluated;
    vec![Entry::task(Asdiv { spec })]
}

impl Task for Asdiv {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let (body, question) = (fields::text(document, "body")?, fields::text(document, "question")?);
        let answer = fields::text(document, "answer")?;
        // No space stands before the answer, in the prompt or in the continuation: the reference has none.
        Ok(Item::Continuation {
            question: format!("{body}\nQuestion:{question}\nAnswer:"),
            target: answer.split_once(" (").map_or(answer, |(number, _unit)| number).to_owned(),
        })
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        match scoring.responses {
            [Response::Loglikelihood { is_greedy, .. }] => Ok(Metrics::from_iter([("acc,none".to_owned(), json!(i32::from(*is_greedy)))])),
            _ => Err("the answer is not one log-likelihood".to_owned()),
        }
    }
}
