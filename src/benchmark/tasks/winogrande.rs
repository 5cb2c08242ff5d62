//! WinoGrande (Sakaguchi et al. 2020, arXiv:1907.10641): whom a blank means. Partial scoring: the rest of the sentence
//! is scored after each way to fill the blank.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::strip;
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{Dataset, Document, Item, Probing, Sampler, Task, TaskSpec};
use serde_json::{Value, json};

struct WinoGrande {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("allenai/winogrande", "winogrande_xl", "validation", Some("train"));
    vec![
        winogrande("winogrande", hub, "Finds out whom or what a blank in a sentence means."),
        winogrande("smoke_winogrande", smoke::dataset(), "Finds out whom a blank means in a few built-in sentences."),
    ]
}

fn winogrande(name: &str, dataset: Dataset, measures: &'static str) -> Entry {
    let mut spec = TaskSpec::multiple_choice(name, "1.0", dataset, &["acc"], measures);
    spec.fewshot.sampler = Sampler::RandomWithoutEvaluated;
    Entry::task(WinoGrande { spec })
}

impl Task for WinoGrande {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let sentence = fields::text(document, "sentence")?;
        let (before, after) = sentence.split_once('_').ok_or("column `sentence` has no blank `_`")?;
        let gold = match fields::text(document, "answer")? {
            "1" => 0,
            "2" => 1,
            other => return Err(format!("column `answer` is `{other}`, neither 1 nor 2 (an unlabelled split?)")),
        };
        let options = [fields::text(document, "option1")?, fields::text(document, "option2")?];
        Ok(Item::Partial {
            contexts: options.map(|option| format!("{before}{option}")).into(),
            continuation: strip(after).to_owned(),
            gold,
        })
    }

    /// Which option is right: the target is the rest of the sentence, which does not say.
    fn details(&self, document: &Document) -> Option<Value> {
        match self.item(document) {
            Ok(Item::Partial { gold, .. }) => Some(json!({ "gold": gold })),
            _ => None,
        }
    }

    fn probing(&self) -> Probing {
        Probing::mute("the options fill a blank of the sentence: without it there is nothing to score")
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(false)
    }
}
