//! HumanEval (Chen et al. 2021, arXiv:2107.03374): completes Python functions, judged by running their tests.

use crate::benchmark::fields::{self, FieldResult};
use crate::benchmark::registry::Entry;
use crate::benchmark::score::{Metrics, PassAtK, Scoring};
use crate::benchmark::smoke;
use crate::benchmark::{
    Aggregation, Dataset, Document, Fewshot, GenerationSettings, Item, MetricSpec, OutputKind, Sampler, Task, TaskSpec,
};
use crate::sandbox::Program;
use serde_json::{Map, Value, json};
use std::sync::Arc;

#[derive(Clone)]
struct HumanEval {
    spec: TaskSpec,
}

/// Names of pass@k over sampled answers.
const SAMPLED: [PassAtK; 5] = [(1, "pass@1"), (5, "pass@5"), (10, "pass@10"), (50, "pass@50"), (100, "pass@100")];

pub(super) fn entries() -> Vec<Entry> {
    let hub = Dataset::hub("openai/openai_humaneval", "openai_humaneval", "test", None);
    vec![
        humaneval("humaneval", hub, 1024, "Completes Python functions so that their tests pass."),
        humaneval("smoke_humaneval", smoke::dataset(), 128, "Completes a few built-in Python functions so that their tests pass."),
    ]
}

fn humaneval(name: &str, mut dataset: Dataset, max_gen_toks: usize, measures: &'static str) -> Entry {
    dataset.fewshot_split = None;
    let mut spec = TaskSpec::multiple_choice(name, "1.0", dataset, &[], measures);
    spec.output = OutputKind::GenerateUntil;
    spec.fewshot = Fewshot { default: 0, fixed: true, sampler: Sampler::Random };
    spec.generation = Some(GenerationSettings {
        until: &["\nclass", "\ndef", "\n#", "\nif", "\nprint"],
        max_gen_toks: Some(max_gen_toks),
        logged: Map::from_iter([("do_sample".to_owned(), json!(false))]),
    });
    spec.filters = &["create_test"];
    spec.metrics = vec![MetricSpec { name: "pass@1", filter: "create_test", higher_is_better: true, aggregation: Aggregation::Mean }];
    spec.primary = "pass@1,create_test";
    Entry::task(HumanEval { spec })
}

impl Task for HumanEval {
    fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    fn item(&self, document: &Document) -> FieldResult<Item> {
        let (test, function) = (fields::text(document, "test")?, fields::text(document, "entry_point")?);
        Ok(Item::Generation { question: fields::text(document, "prompt")?.to_owned(), target: format!("{test}\ncheck({function})") })
    }

    /// The whole function; in a list, as the reference keeps several samples of one problem together.
    fn filtered(&self, _filter: &str, document: &Document, answer: &str) -> Value {
        let prompt = document.get("prompt").and_then(Value::as_str).unwrap_or_default();
        json!([format!("{prompt}{answer}")])
    }

    fn program(&self, document: &Document, answer: &str) -> FieldResult<Option<Program>> {
        let (prompt, test) = (fields::text(document, "prompt")?, fields::text(document, "test")?);
        Ok(Some(Program::human_eval(prompt, answer, test, fields::text(document, "entry_point")?)))
    }

    fn metrics(&self, scoring: &Scoring<'_>) -> FieldResult<Metrics> {
        let mut metrics = Metrics::from_iter([("pass@1,create_test".to_owned(), json!(scoring.pass()?))]);
        metrics.extend(scoring.sampled_passes(&SAMPLED)?);
        Ok(metrics)
    }

    fn sampled(&self, samples: usize) -> Option<Arc<dyn Task>> {
        Some(Arc::new(Self { spec: self.spec.sampled(samples, &SAMPLED) }))
    }
}
