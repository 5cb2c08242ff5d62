//! Suites: which tasks make up which pillar, how many examples they get, what they weigh.

use super::build::Subset;
use super::error::{BenchmarkError, close_names};
use super::long_context;
use super::registry::{self, Entry};

/// A task or group within a pillar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteTask {
    /// Name of a task or group; a group counts as one task.
    pub name: &'static str,
    /// Few-shot examples.
    pub num_fewshot: usize,
    /// Which documents of each leaf task it takes; `None` is all.
    pub documents: Option<Subset>,
}

/// A side of a model that gets a score of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pillar {
    /// Name, as in a submission's `categories`.
    pub name: &'static str,
    /// Weight in the aggregate.
    pub weight: u32,
    /// Its tasks, each counting once.
    pub tasks: Vec<SuiteTask>,
}

/// A set of tasks whose scores may be compared with each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Name, such as `standard`.
    pub name: &'static str,
    /// Changes whenever a score may change.
    pub version: &'static str,
    /// Earlier versions with the same pillars and weights but other documents: their runs are still read, and shown as stale.
    pub former: &'static [&'static str],
    /// Whether its results may be ranked; `quick` and `smoke` are preliminary.
    pub ranked: bool,
    /// The smaller suite whose documents this one asks first, so that a run of that suite can be extended to this one: every document that
    /// it asks is asked here too.
    pub extends: Option<&'static str>,
    /// The pillars of the aggregate.
    pub pillars: Vec<Pillar>,
    /// Tasks outside of every pillar.
    pub informational: Vec<SuiteTask>,
}

/// Name and weight of each pillar, name and few-shot number of each of its tasks.
type PillarTable = &'static [(&'static str, u32, &'static [(&'static str, usize)])];

/// Pillars and weights (reasoning 35, coding 20, math 15, language 20, safety 20), each with its tasks and few-shot numbers.
const STANDARD: PillarTable = &[
    ("reasoning", 35, &[("mmlu", 5), ("arc_challenge", 5), ("hellaswag", 5), ("truthfulqa_mc2", 0)]),
    ("coding", 20, &[("humaneval", 0), ("mbpp", 3)]),
    ("math", 15, &[("gsm8k", 5), ("mathqa", 5)]),
    ("language", 20, &[("boolq", 5), ("piqa", 5), ("winogrande", 5)]),
    ("safety", 20, &[("toxigen", 0), ("crows_pairs_english", 0), ("bbq", 0), ("truthfulqa_mc1", 0)]),
];

/// Documents of each leaf task in the quick suite; of each MMLU subject, fewer.
const QUICK_DOCUMENTS: usize = 200;
const QUICK_DOCUMENTS_OF_SUBJECT: usize = 20;
/// Documents of each long-context task in the quick suite: of the first texts of each length.
const QUICK_LONG_CONTEXT: usize = 60;

/// BBQ has 58,492 documents, many of them alike; the standard suite takes a tenth of each category, context condition and question polarity.
const BBQ: Subset = Subset::Stratified { one_in: 10 };

/// Name under which the long-context tasks are asked for as if they were a pillar.
pub const LONG_CONTEXT: &str = "long_context";

/// No coding pillar: its tests need a Python to run, and the suite must work where only the program is installed. `smoke_humaneval` can be
/// asked for by name.
const SMOKE: PillarTable = &[
    ("reasoning", 35, &[("smoke_mmlu", 2), ("smoke_arc", 2), ("smoke_truthfulqa_mc2", 0)]),
    ("math", 15, &[("smoke_gsm8k", 2)]),
    ("language", 20, &[("smoke_boolq", 2), ("smoke_winogrande", 2)]),
    ("safety", 20, &[("smoke_truthfulqa_mc1", 0)]),
];

/// Names of all suites.
pub const NAMES: [&str; 3] = ["standard", "quick", "smoke"];

impl Suite {
    /// The suite of this name.
    ///
    /// # Errors
    /// [`BenchmarkError::UnknownSuite`] with the names there are.
    pub fn named(name: &str) -> Result<Self, BenchmarkError> {
        let all = |_: &str| None;
        let full = |task: &str| (task == "bbq").then_some(BBQ);
        let few = |task: &str| {
            let is_group = matches!(registry::entry(task), Ok(Entry::Group(_)));
            Some(Subset::Nested(if is_group { QUICK_DOCUMENTS_OF_SUBJECT } else { QUICK_DOCUMENTS }))
        };
        let long_context = |documents| long_context::TASKS.map(|name| SuiteTask { name, num_fewshot: 0, documents }).into();
        match name {
            "standard" => Ok(Self {
                name: "standard",
                version: "2",
                former: &["1"],
                ranked: true,
                extends: Some("quick"),
                pillars: pillars(STANDARD, full),
                informational: long_context(None),
            }),
            "quick" => Ok(Self {
                name: "quick",
                version: "2",
                former: &["1"],
                ranked: false,
                extends: None,
                pillars: pillars(STANDARD, few),
                informational: long_context(Some(Subset::First(QUICK_LONG_CONTEXT))),
            }),
            "smoke" => Ok(Self {
                name: "smoke",
                version: "1",
                former: &[],
                ranked: false,
                extends: None,
                pillars: pillars(SMOKE, all),
                informational: ["smoke_lambada", "smoke_wikitext"].map(|name| SuiteTask { name, num_fewshot: 0, documents: None }).into(),
            }),
            _ => {
                let mut close = close_names(name, NAMES, 3);
                if close.is_empty() {
                    close = NAMES.map(str::to_owned).into();
                }
                Err(BenchmarkError::UnknownSuite { kind: "suite", name: name.to_owned(), close })
            }
        }
    }

    /// Its pillar of this name.
    ///
    /// # Errors
    /// [`BenchmarkError::UnknownSuite`] with the pillars there are.
    pub fn pillar(&self, name: &str) -> Result<&Pillar, BenchmarkError> {
        self.pillars.iter().find(|pillar| pillar.name == name).ok_or_else(|| BenchmarkError::UnknownSuite {
            kind: "pillar",
            name: name.to_owned(),
            close: {
                let has_long_context = self.informational.iter().any(|task| long_context::TASKS.contains(&task.name));
                let names = self.pillars.iter().map(|pillar| pillar.name).chain(has_long_context.then_some(LONG_CONTEXT));
                names.map(str::to_owned).collect()
            },
        })
    }

    /// The tasks of a pillar, or of `long_context`, which is none but is asked for in the same way.
    ///
    /// # Errors
    /// As [`Suite::pillar`]; a suite without long-context tasks does not know that name.
    pub fn tasks_of(&self, name: &str) -> Result<Vec<&SuiteTask>, BenchmarkError> {
        let long: Vec<&SuiteTask> = self.informational.iter().filter(|task| long_context::TASKS.contains(&task.name)).collect();
        if name == LONG_CONTEXT && !long.is_empty() { Ok(long) } else { Ok(self.pillar(name)?.tasks.iter().collect()) }
    }

    /// All tasks: those of the pillars in order, then the informational ones.
    pub fn tasks(&self) -> impl Iterator<Item = &SuiteTask> {
        self.pillars.iter().flat_map(|pillar| &pillar.tasks).chain(&self.informational)
    }
}

fn pillars(table: PillarTable, documents: impl Fn(&str) -> Option<Subset>) -> Vec<Pillar> {
    table
        .iter()
        .map(|&(name, weight, tasks)| {
            let tasks = tasks.iter().map(|&(name, num_fewshot)| SuiteTask { name, num_fewshot, documents: documents(name) });
            Pillar { name, weight, tasks: tasks.collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_names_tasks_that_exist_and_take_that_many_examples() {
        for name in NAMES {
            let suite = Suite::named(name).unwrap();
            for task in suite.tasks() {
                for leaf in registry::leaves(task.name).unwrap() {
                    assert_eq!(leaf.spec().num_fewshot(Some(task.num_fewshot)), task.num_fewshot, "{name} {}", task.name);
                }
            }
        }
        assert_eq!(Suite::named("standard").unwrap().pillars.iter().map(|pillar| pillar.weight).sum::<u32>(), 110);
    }

    #[test]
    fn a_slip_in_a_suite_or_pillar_is_answered() {
        assert_eq!(Suite::named("qick").unwrap_err().to_string(), "unknown suite `qick`; did you mean quick?");
        let error = Suite::named("standard").unwrap().pillar("maths").unwrap_err();
        assert_eq!(error.to_string(), "unknown pillar `maths`; did you mean reasoning, coding, math, language, safety, long_context?");
    }
}
