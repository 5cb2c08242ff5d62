//! BoolQ (Clark et al. 2019, arXiv:1905.10044): yes or no, from a passage.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{Dataset, Document, Item, Probing, Sampler, Task, TaskSpec};

struct BoolQ {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("aps/super_glue", "boolq", "validation", Some("train"));
    vec![
        boolq("boolq", hub, "Answers yes-or-no questions from a passage."),
        boolq("smoke_boolq", smoke::dataset(), "Answers a few built-in yes-or-no questions from a passage."),
    ]
}

fn boolq(name: &str, dataset: Dataset, measures: &'static str) -> Entry {
    let mut spec = TaskSpec::multiple_choice(name, "2.0", dataset, &["acc"], measures);
    spec.fewshot.sampler = Sampler::RandomWithoutEvaluated;
    Entry::task(BoolQ { spec })
}

impl Task for BoolQ {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let (passage, question) = (fields::text(document, "passage")?, fields::text(document, "question")?);
        Ok(Item::Choice {
            question: format!("{passage}\nQuestion: {question}?\nAnswer:"),
            choices: vec!["no".to_owned(), "yes".to_owned()],
            gold: fields::index(document, "label")?,
        })
    }

    fn probing(&self) -> Probing {
        Probing::mute("the choices are no and yes for every question")
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(false)
    }
}
