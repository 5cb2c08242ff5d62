//! ARC (Clark et al. 2018, arXiv:1803.05457): grade-school science questions; the answers' texts are scored.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{Dataset, Document, Item, Probing, Task, TaskSpec};

struct Arc {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let hub = |config: &str| Dataset::hub("allenai/ai2_arc", config, "test", Some("train"));
    vec![
        arc("arc_easy", hub("ARC-Easy"), "Answers grade-school science questions that word statistics can answer."),
        arc("arc_challenge", hub("ARC-Challenge"), "Answers grade-school science questions that retrieval and word statistics get wrong."),
        arc("smoke_arc", smoke::dataset(), "Answers a few built-in science questions by their text."),
    ]
}

fn arc(name: &str, dataset: Dataset, measures: &'static str) -> Entry {
    let mut spec = TaskSpec::multiple_choice(name, "1.0", dataset, &["acc", "acc_norm"], measures);
    spec.primary = "acc_norm,none";
    Entry::task(Arc { spec })
}

impl Task for Arc {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let options = fields::structure(document, "choices")?;
        let labels = fields::texts(options, "label")?;
        let key = fields::text(document, "answerKey")?;
        let gold = labels
            .iter()
            .position(|label| label == key)
            .ok_or_else(|| format!("column `answerKey` is `{key}`, but the choices are {}", labels.join(", ")))?;
        let question = format!("Question: {}\nAnswer:", fields::text(document, "question")?);
        Ok(Item::Choice { question, choices: fields::texts(options, "text")?, gold })
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
