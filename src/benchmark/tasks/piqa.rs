//! PIQA (Bisk et al. 2020, arXiv:1911.11641): which of two ways reaches a physical goal.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::{Dataset, Document, Item, Probing, Sampler, Task, TaskSpec};

struct Piqa {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let dataset = Dataset::hub("baber/piqa", "default", "validation", Some("train"));
    let mut spec = TaskSpec::multiple_choice("piqa", "1.0", dataset, &["acc", "acc_norm"], "Picks the way that reaches a physical goal.");
    spec.primary = "acc_norm,none";
    spec.fewshot.sampler = Sampler::RandomWithoutEvaluated;
    vec![Entry::task(Piqa { spec })]
}

impl Task for Piqa {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Choice {
            question: format!("Question: {}\nAnswer:", fields::text(document, "goal")?),
            choices: vec![fields::text(document, "sol1")?.to_owned(), fields::text(document, "sol2")?.to_owned()],
            gold: fields::index(document, "label")?,
        })
    }

    fn probing(&self) -> Probing {
        Probing::TEXTS
    }

    fn without_question(&self, document: &Document) -> FieldResult<Item> {
        Ok(self.item(document)?.with_question("Answer:"))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(true)
    }
}
