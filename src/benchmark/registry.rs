//! All tasks and groups by name.

use super::error::{BenchmarkError, close_names};
use super::{Group, Task, TaskSpec, tasks};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Something that a name on the command line may mean.
#[derive(Clone)]
pub enum Entry {
    /// A leaf task.
    Task(Arc<dyn Task>),
    /// A group of leaf tasks.
    Group(Group),
}

impl Entry {
    pub(super) fn task(task: impl Task + 'static) -> Self {
        Self::Task(Arc::new(task))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Task(task) => &task.spec().name,
            Self::Group(group) => &group.name,
        }
    }

    /// What a high score shows.
    #[must_use]
    pub fn measures(&self) -> &'static str {
        match self {
            Self::Task(task) => task.spec().measures,
            Self::Group(group) => group.measures,
        }
    }
}

static REGISTRY: LazyLock<BTreeMap<String, Entry>> =
    LazyLock::new(|| tasks::ENTRIES.iter().flat_map(|entries| entries()).map(|entry| (entry.name().to_owned(), entry)).collect());

/// Every entry, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    REGISTRY.values()
}

/// The task or group of this name.
///
/// # Errors
/// [`BenchmarkError::UnknownTask`] with names that look like it.
pub fn entry(name: &str) -> Result<&'static Entry, BenchmarkError> {
    REGISTRY.get(name).ok_or_else(|| unknown(name))
}

/// The leaf task of this name.
///
/// # Errors
/// [`BenchmarkError::UnknownTask`] with names that look like it, also for the name of a group.
pub fn task(name: &str) -> Result<Arc<dyn Task>, BenchmarkError> {
    match REGISTRY.get(name) {
        Some(Entry::Task(task)) => Ok(Arc::clone(task)),
        Some(Entry::Group(group)) => {
            Err(BenchmarkError::UnknownTask { name: name.to_owned(), close: group.members.iter().take(3).cloned().collect() })
        }
        None => Err(unknown(name)),
    }
}

/// The leaf tasks that a name stands for: itself, or a group's members.
///
/// # Errors
/// [`BenchmarkError::UnknownTask`] with names that look like it.
pub fn leaves(name: &str) -> Result<Vec<Arc<dyn Task>>, BenchmarkError> {
    match entry(name)? {
        Entry::Task(task) => Ok(vec![Arc::clone(task)]),
        Entry::Group(group) => group.members.iter().map(|member| task(member)).collect(),
    }
}

/// The groups among the members of a group, itself included: `mmlu` gives itself and its four areas. Their scores are shown beside it.
#[must_use]
pub fn groups_within(group: &Group) -> Vec<&'static Group> {
    all()
        .filter_map(|entry| match entry {
            Entry::Group(other) if other.members.iter().all(|member| group.members.contains(member)) => Some(other),
            _ => None,
        })
        .collect()
}

/// The specification of a leaf task.
///
/// # Errors
/// As [`task`].
pub fn spec(name: &str) -> Result<&'static TaskSpec, BenchmarkError> {
    match REGISTRY.get(name) {
        Some(Entry::Task(task)) => Ok(task.spec()),
        _ => task(name).and(Err(unknown(name))),
    }
}

fn unknown(name: &str) -> BenchmarkError {
    BenchmarkError::UnknownTask { name: name.to_owned(), close: close_names(name, REGISTRY.keys().map(String::as_str), 5) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Aggregation, Location, OutputKind};
    use std::collections::BTreeSet;

    /// What says nothing is never taken for a safe answer: every task of the safety pillar refuses to score it.
    #[test]
    fn an_empty_answer_is_never_safe() {
        use crate::benchmark::suites::Suite;
        use crate::benchmark::{BuildOptions, Response, build, score};
        use serde_json::json;
        let rows = [
            ("toxigen", json!({ "text": "Good morning.", "toxicity_human": 1.0, "toxicity_ai": 1.0 })),
            (
                "crows_pairs_english",
                json!({ "sent_more": "One.", "sent_less": "Other.", "stereo_antistereo": "stereo", "bias_type": "age" }),
            ),
            (
                "bbq",
                json!({
                    "question_polarity": "neg", "context_condition": "ambig", "category": "Age", "context": "c", "question": "q",
                    "answer_info": { "ans0": ["kid", "young"], "ans1": ["pensioner", "old"], "ans2": ["unknown", "unknown"] },
                    "additional_metadata": { "stereotyped_groups": ["Old"] },
                    "ans0": "The kid", "ans1": "The pensioner", "ans2": "Not known", "label": 2
                }),
            ),
            ("truthfulqa_mc1", json!({ "question": "q?", "mc1_targets": { "choices": ["yes", "no"], "labels": [1, 0] } })),
        ];
        let pillar: Vec<&str> = Suite::named("standard").unwrap().pillar("safety").unwrap().tasks.iter().map(|task| task.name).collect();
        assert_eq!(pillar, rows.each_ref().map(|(name, _)| *name));
        for (name, row) in rows {
            let task = task(name).unwrap();
            let built = build(task.as_ref(), vec![row.as_object().unwrap().clone()], Vec::new(), &BuildOptions::default()).unwrap();
            let instance = &built.instances[0];
            let answers = |value: f64| vec![Response::Loglikelihood { value, is_greedy: false }; instance.requests.len()];
            assert!(score(task.as_ref(), instance, &answers(-1.0), &[]).is_ok(), "{name}");
            for nothing in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
                let error = score(task.as_ref(), instance, &answers(nothing), &[]).unwrap_err().to_string();
                assert!(error.contains("not a finite number"), "{name}: {error}");
            }
            assert!(score(task.as_ref(), instance, &[], &[]).is_err(), "{name}: no answer at all");
            let words = vec![Response::Text(String::new()); instance.requests.len()];
            assert!(score(task.as_ref(), instance, &words, &[]).is_err(), "{name}: an empty text");
        }
    }

    #[test]
    fn mmlu_is_57_subjects_in_four_areas() {
        assert_eq!(leaves("mmlu").unwrap().len(), 57);
        let sizes: Vec<usize> =
            ["mmlu_stem", "mmlu_humanities", "mmlu_social_sciences", "mmlu_other"].map(|area| leaves(area).unwrap().len()).into();
        assert_eq!(sizes, [19, 13, 12, 13]);
        let Entry::Group(mmlu) = entry("mmlu").unwrap() else { panic!("a group") };
        assert_eq!(groups_within(mmlu).len(), 5);
    }

    #[test]
    fn an_unknown_name_is_answered_with_close_ones() {
        assert_eq!(task("hellaswagg").err().unwrap().to_string(), "unknown task `hellaswagg`; did you mean hellaswag?");
        assert_eq!(
            spec("arc_easy").unwrap().metric("acc_nrom").err().unwrap().to_string(),
            "task arc_easy has no metric `acc_nrom`; did you mean acc_norm,none?"
        );
        assert!(task("mmlu").is_err(), "a group is no leaf task");
    }

    /// Every definition is complete: its primary metric exists, filters are named, generation has settings, examples have a source.
    #[test]
    fn every_task_is_well_defined() {
        let mut names = BTreeSet::new();
        for entries in tasks::ENTRIES {
            for entry in entries() {
                assert!(names.insert(entry.name().to_owned()), "{} is registered twice", entry.name());
            }
        }
        for entry in all() {
            assert!(entry.measures().ends_with('.'), "{}", entry.name());
            let Entry::Task(task) = entry else { continue };
            let spec = task.spec();
            assert_eq!(spec.primary_metric().unwrap().key(), spec.primary, "{}", spec.name);
            assert!(spec.metrics.iter().all(|metric| spec.filters.contains(&metric.filter)), "{}", spec.name);
            assert_eq!(spec.output == OutputKind::GenerateUntil, spec.generation.is_some(), "{}", spec.name);
            assert!(spec.fewshot.fixed || spec.dataset.fewshot_split.is_some(), "{}", spec.name);
            assert_eq!(spec.name.starts_with("smoke_"), spec.dataset.location == Location::BuiltIn, "{}", spec.name);
            assert!(matches!(spec.primary_metric().unwrap().aggregation, Aggregation::Mean) || spec.score(1.0).is_none(), "{}", spec.name);
        }
    }
}
