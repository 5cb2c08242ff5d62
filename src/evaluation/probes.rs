//! The figures of a run's probes, from the records that the run keeps of them.

use crate::benchmark::probes::{self, Kind};
use crate::benchmark::registry;
use crate::leaderboard::probes::{Inapplicable, Probes, summary};
use crate::leaderboard::run::Run;
use std::collections::BTreeMap;

/// `informational.probes` of a run: a function of its records, so that `verify` and `merge` derive the same. `None` without probes.
#[must_use]
pub fn probe_figures(run: &Run) -> Option<Probes> {
    let why_not = |task: &String| {
        let entry = registry::entry(task).ok()?;
        let reason = |kind| probes::inapplicable(kind, entry).map(str::to_owned);
        Some(Inapplicable { choice_order: reason(Kind::ChoiceOrder), answer_only: reason(Kind::AnswerOnly) })
    };
    let tasks = run.tasks.keys().filter(|task| probes::is_multiple_choice(task));
    let tasks: BTreeMap<String, Inapplicable> = tasks.filter_map(|task| Some((task.clone(), why_not(task)?))).collect();
    summary(&run.probes, &tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::probes::probes_of;
    use crate::leaderboard::probes::{ANSWER_ONLY, CHOICE_ORDER, PROBES_VERSION, base_of};

    /// The two rooms, which do not know each other, speak of the same probes.
    #[test]
    fn names_and_versions_agree() {
        assert_eq!(PROBES_VERSION, probes::VERSION);
        let names: Vec<&str> = probes_of("mmlu").map(|probe| probe.entry.name()).collect();
        assert_eq!(names, [format!("mmlu{CHOICE_ORDER}"), format!("mmlu{ANSWER_ONLY}")]);
        assert!(names.iter().all(|name| base_of(name) == Some("mmlu") && probes::base_of(name) == "mmlu"));
    }
}
