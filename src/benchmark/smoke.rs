//! The rows of the smoke suite: a few items of every kind, written for this project and built into the program.

use super::{Dataset, Document, Location};
use serde::Deserialize;

/// The rows of one built-in task.
#[derive(Deserialize)]
struct Rows {
    test: Vec<Document>,
    #[serde(default)]
    fewshot: Vec<Document>,
}

const FILES: &[(&str, &str)] = &[
    ("smoke_arc", include_str!("smoke/arc.json")),
    ("smoke_boolq", include_str!("smoke/boolq.json")),
    ("smoke_gsm8k", include_str!("smoke/gsm8k.json")),
    ("smoke_humaneval", include_str!("smoke/humaneval.json")),
    ("smoke_lambada", include_str!("smoke/lambada.json")),
    ("smoke_mmlu", include_str!("smoke/mmlu.json")),
    ("smoke_truthfulqa_mc1", include_str!("smoke/truthfulqa.json")),
    ("smoke_truthfulqa_mc2", include_str!("smoke/truthfulqa.json")),
    ("smoke_wikitext", include_str!("smoke/wikitext.json")),
    ("smoke_winogrande", include_str!("smoke/winogrande.json")),
];

/// The dataset of every smoke task.
pub(super) fn dataset() -> Dataset {
    Dataset { location: Location::BuiltIn, split: "test".to_owned(), fewshot_split: Some("fewshot".to_owned()) }
}

/// Rows of a built-in task's split (`test` or `fewshot`), or of the task that a probe is of; `None` where there is no such task or split.
#[must_use]
pub fn builtin_rows(task: &str, split: &str) -> Option<Vec<Document>> {
    let task = super::probes::base_of(task);
    let (_, json) = FILES.iter().find(|(name, _)| *name == task)?;
    // The files are part of the program; a test reads every one.
    let rows: Rows = serde_json::from_str(json).ok()?;
    match split {
        "test" => Some(rows.test),
        "fewshot" => Some(rows.fewshot),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::registry::{self, Entry};
    use crate::benchmark::{BuildOptions, build, suites::Suite};

    #[test]
    fn every_smoke_task_can_be_built_with_its_examples() {
        for entry in registry::all() {
            let Entry::Task(task) = entry else { continue };
            let spec = task.spec();
            if spec.dataset.location != Location::BuiltIn {
                continue;
            }
            let rows = builtin_rows(&spec.name, &spec.dataset.split).unwrap();
            let examples = spec.dataset.fewshot_split.as_deref().map(|split| builtin_rows(&spec.name, split).unwrap());
            let shots = Suite::named("smoke").unwrap().tasks().find(|task| task.name == spec.name).map(|task| task.num_fewshot);
            let options = BuildOptions { num_fewshot: shots, ..Default::default() };
            let built = build(task.as_ref(), rows, examples.unwrap_or_default(), &options).unwrap();
            assert!(built.instances.len() >= 4, "{}", spec.name);
        }
    }
}
