//! HellaSwag (Zellers et al. 2019, arXiv:1905.07830): which of four sentences goes on.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::python::{capitalize, strip};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, Scoring};
use crate::benchmark::{Dataset, Document, Item, Probing, Sampler, Task, TaskSpec};
use serde_json::json;

struct HellaSwag {
    spec: TaskSpec,
}

pub(super) fn entries() -> Vec<Entry> {
    let dataset = Dataset::hub("Rowan/hellaswag", "default", "validation", Some("train"));
    let measures = "Picks the sentence that goes on with an everyday scene.";
    let mut spec = TaskSpec::multiple_choice("hellaswag", "1.0", dataset, &["acc", "acc_norm"], measures);
    spec.primary = "acc_norm,none";
    spec.fewshot.sampler = Sampler::RandomWithoutEvaluated;
    vec![Entry::task(HellaSwag { spec })]
}

/// Takes the mark-up of the WikiHow articles out of a text: one pass, and not stripped again afterwards.
fn clean(text: &str) -> String {
    let titled = strip(text).replace(" [title]", ". ");
    without_brackets(&titled).replace("  ", " ")
}

/// Deletes what `\[.*?\]` matches: from a `[` to the next `]` on the same line.
fn without_brackets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let inside = &rest[open + 1..];
        match inside.find([']', '\n']) {
            Some(end) if inside[end..].starts_with(']') => {
                kept.push_str(&rest[..open]);
                rest = &inside[end + 1..];
            }
            _ => {
                kept.push_str(&rest[..=open]);
                rest = inside;
            }
        }
    }
    kept + rest
}

impl Task for HellaSwag {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn prepare(&self, mut row: Document) -> FieldResult<Document> {
        let label = fields::text(&row, "label")?;
        let gold: usize = label.parse().map_err(|_| format!("column `label` is `{label}`, not a number (an unlabelled split?)"))?;
        let scene = format!("{} {}", fields::text(&row, "ctx_a")?, capitalize(fields::text(&row, "ctx_b")?));
        let query = clean(&format!("{}: {scene}", fields::text(&row, "activity_label")?));
        let choices: Vec<String> = fields::texts(&row, "endings")?.iter().map(|ending| clean(ending)).collect();
        row.insert("query".to_owned(), json!(query));
        row.insert("choices".to_owned(), json!(choices));
        row.insert("gold".to_owned(), json!(gold));
        Ok(row)
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        Ok(Item::Choice {
            question: fields::text(document, "query")?.to_owned(),
            choices: fields::texts(document, "choices")?,
            gold: fields::index(document, "gold")?,
        })
    }

    fn probing(&self) -> Probing {
        Probing::TEXTS
    }

    fn without_question(&self, document: &Document) -> FieldResult<Item> {
        Ok(self.item(document)?.with_question(""))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        scoring.accuracy(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::registry;

    /// Reference values.
    #[test]
    fn markup_goes_and_capitals_inside_a_sentence_too() {
        let row = json!({
            "activity_label": "Baking [title] cookies", "ctx_a": "[header] How to bake [title] Mix.  Stir.", "ctx_b": "the NASA chef mixes",
            "endings": ["e0 0", "[substeps] e1  x", "e2 [title] y", "é3 [header] zz"], "label": "0"
        });
        let task = registry::task("hellaswag").unwrap();
        let prepared = task.prepare(row.as_object().unwrap().clone()).unwrap();
        assert_eq!(prepared["query"], "Baking. cookies: How to bake. Mix. Stir. The nasa chef mixes");
        assert_eq!(prepared["choices"], json!(["e0 0", " e1 x", "e2. y", "é3 zz"]));

        let mut row = row;
        row["activity_label"] = json!("X");
        row["ctx_a"] = json!("Only a.");
        row["ctx_b"] = json!("");
        assert_eq!(task.prepare(row.as_object().unwrap().clone()).unwrap()["query"], "X: Only a.");
    }

    #[test]
    fn brackets_close_on_their_own_line() {
        assert_eq!(without_brackets("a [b] c [d\n] e] [[f] g]"), "a  c [d\n] e]  g]");
    }
}
