//! MBPP (Austin et al. 2021, arXiv:2108.07732): writes Python functions from a sentence and three tests, judged by running these.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, PassAtK, Scoring};
use crate::benchmark::{Dataset, Document, Fewshot, GenerationSettings, Item, MetricSpec, OutputKind, Sampler, Task, TaskSpec};
use crate::sandbox::Program;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Clone)]
struct Mbpp {
    spec: TaskSpec,
}

/// Names of pass@k over sampled answers.
const SAMPLED: [PassAtK; 5] = [(1, "pass_at_1"), (5, "pass_at_5"), (10, "pass_at_10"), (50, "pass_at_50"), (100, "pass_at_100")];

/// The benchmark's fixed examples, by `task_id`, from the split that its authors set aside for prompts.
const EXAMPLES: [u64; 3] = [2, 3, 4];

pub(super) fn entries() -> Vec<Entry> {
    let dataset = Dataset::hub("google-research-datasets/mbpp", "full", "test", Some("prompt"));
    let measures = "Writes Python functions from a sentence so that their tests pass.";
    let mut spec = TaskSpec::multiple_choice("mbpp", "1.0", dataset, &[], measures);
    spec.output = OutputKind::GenerateUntil;
    spec.target_delimiter = "";
    spec.fewshot = Fewshot { default: EXAMPLES.len(), fixed: false, sampler: Sampler::First };
    spec.generation = Some(GenerationSettings {
        until: &["[DONE]"],
        max_gen_toks: None,
        logged: Map::from_iter([("do_sample".to_owned(), json!(false))]),
    });
    spec.metrics = vec![MetricSpec::mean("pass_at_1")];
    spec.primary = "pass_at_1,none";
    vec![Entry::task(Mbpp { spec })]
}

/// The three tests that the prompt shows and the program must pass.
fn tests(document: &Document) -> FieldResult<Vec<String>> {
    let mut tests = fields::texts(document, "test_list")?;
    if tests.len() < 3 {
        return Err(format!("column `test_list` has {} entries, not at least 3", tests.len()));
    }
    tests.truncate(3);
    Ok(tests)
}

impl Task for Mbpp {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let target = tests(document)?.join("\n");
        let text = fields::text(document, "text")?;
        Ok(Item::Generation {
            question: format!(
                "You are an expert Python programmer, and here is your task: {text} Your code should pass these tests:\n\n{target}\n[BEGIN]\n"
            ),
            target,
        })
    }

    fn fewshot_pool(&self, rows: Vec<Document>) -> Result<Vec<Document>, (usize, String)> {
        let id = |row: &Document| row.get("task_id").and_then(Value::as_u64);
        Ok(EXAMPLES.iter().filter_map(|wanted| rows.iter().find(|row| id(row) == Some(*wanted)).cloned()).collect())
    }

    fn example(&self, document: &Document) -> FieldResult<(String, String)> {
        match self.item(document)? {
            Item::Generation { question, .. } => Ok((question, format!("{}\n[DONE]", fields::text(document, "code")?))),
            _ => Err("the example is not a program".to_owned()),
        }
    }

    fn program(&self, document: &Document, answer: &str) -> FieldResult<Option<Program>> {
        Ok(Some(Program::mbpp(answer, &tests(document)?)))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let mut metrics = Metrics::from_iter([("pass_at_1,none".to_owned(), json!(scoring.pass()?))]);
        metrics.extend(scoring.sampled_passes(&SAMPLED)?);
        Ok(metrics)
    }

    fn sampled(&self, samples: usize) -> Option<Arc<dyn Task>> {
        Some(Arc::new(Self { spec: self.spec.sampled(samples, &SAMPLED) }))
    }
}
