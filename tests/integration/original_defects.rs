//! Defects of the original project that could come back here, each with the test that would notice.

use crate::synthetic::pillars;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use slm_benchmark::benchmark::registry::{self, Entry};
use slm_benchmark::benchmark::suites::Suite;
use slm_benchmark::benchmark::{Aggregation, DocumentScore, ScoreRule, TaskSpec};
use slm_benchmark::evaluation::{group_record, leaf_record};
use slm_benchmark::leaderboard::pillars::summarise;
use slm_benchmark::leaderboard::run::{Aggregate, TaskRecord, TaskStatus};
use std::collections::BTreeMap;
use std::path::Path;

/// Defect, file, test.
const GUARDS: &[(&str, &str, &str)] = &[
    (
        "a task that does not exist kills the run or counts as 0",
        "src/benchmark/suites.rs",
        "every_suite_names_tasks_that_exist_and_take_that_many_examples",
    ),
    ("a slip in a task's name ends a run after hours", "tests/integration/run.rs", "slips_are_answered_before_anything_runs"),
    (
        "a wrong metric key makes every pillar 0",
        "tests/integration/original_defects.rs",
        "a_perfect_model_scores_one_hundred_on_every_task",
    ),
    ("coding never contributes", "tests/integration/original_defects.rs", "a_perfect_model_scores_one_hundred_on_every_task"),
    ("safety never contributes", "tests/integration/original_defects.rs", "a_perfect_model_scores_one_hundred_on_every_task"),
    ("a failed pillar is 0 instead of missing", "src/leaderboard/pillars.rs", "a_missing_task_is_missing_and_never_zero"),
    ("a pillar that times out scores 1.0", "src/leaderboard/pillars.rs", "a_score_beside_a_failed_status_is_not_used"),
    ("what timed out goes on beside what follows", "tests/integration/sandbox.rs", "no_hostile_program_escapes"),
    ("a stopped evaluation goes on beside what follows", "src/bot/executor/tests.rs", "grandchildren_end_with_the_child"),
    ("weights that add up to 1.10 give 110 points", "src/leaderboard/pillars.rs", "a_perfect_model_scores_exactly_one_hundred"),
    ("an aggregate outside of 0 to 100", "src/leaderboard/pillars.rs", "every_aggregate_lies_between_zero_and_one_hundred"),
    ("a flat mean in which MMLU is 95 % of reasoning", "src/leaderboard/pillars.rs", "mmlu_counts_once_whatever_its_subjects"),
    ("errors swallowed, exit code 0", "tests/integration/run.rs", "tasks_with_bad_data_fail_alone"),
    ("success announced whatever happened", "tests/integration/run.rs", "a_model_that_cannot_be_loaded_is_an_error_that_names_the_file"),
    ("no results, published as zeros", "tests/integration/artifacts.rs", "without_results_nothing_is_published"),
    ("an advertised submission crashes after all compute", "tests/integration/submission.rs", "the_example_in_the_readme_is_valid"),
    (
        "quantizations of one model ranked apart or averaged",
        "tests/integration/leaderboard.rs",
        "variants_are_linked_and_never_ranked_apart",
    ),
    ("a quantization is a label on unquantized weights", "tests/integration/run.rs", "every_quantization_is_a_run_of_its_own"),
    ("a GGUF file is named and never read", "tests/integration/engine.rs", "gguf_files_are_evaluated_by_their_own_weights"),
    ("a report in which the last file wins", "tests/integration/artifacts.rs", "reports_show_every_run_and_escape_what_authors_wrote"),
    ("results of several models mixed", "tests/integration/leaderboard.rs", "a_run_of_another_model_is_refused"),
    ("measured for hours, then discarded", "tests/integration/leaderboard.rs", "run_and_schema_agree"),
    ("a few questions published as a full run", "tests/integration/artifacts.rs", "every_tampering_is_found_and_named"),
    ("not reproducible: no seed, revision or data set pinned", "tests/integration/artifacts.rs", "every_tampering_is_found_and_named"),
    ("a call that fails gives the best value", "tests/integration/run.rs", "weights_that_are_not_numbers_give_no_score"),
    ("a value that is no number counts", "src/evaluation/record.rs", "not_a_number_is_invalid"),
    ("an empty answer counts as safe", "src/benchmark/registry.rs", "an_empty_answer_is_never_safe"),
    (
        "a rate in which more is worse shown as if more were better",
        "tests/integration/original_defects.rs",
        "a_perfect_model_scores_one_hundred_on_every_task",
    ),
    ("bias as a difference of lengths, not of answers", "src/benchmark/tasks/bbq.rs", "the_biased_answer_depends_on_the_question"),
    ("silence counts as safe or resistant", "src/evaluation/record.rs", "weak_answers_are_warned_of_and_scored"),
    ("rates above 100 %", "src/benchmark/aggregate.rs", "accuracies_stay_in_range"),
    ("500 tokens called a long context", "src/benchmark/long_context.rs", "prompts_have_the_wanted_length"),
    ("a needle that world knowledge finds", "src/benchmark/long_context/text.rs", "facts_cannot_be_mistaken"),
    ("any keyword counts as the needle", "src/benchmark/long_context.rs", "an_answer_counts_as_whole_words"),
    ("the window is a constant, whatever the model's", "tests/integration/answers.rs", "a_long_context_run_fills_its_grid"),
    ("a length that was not asked shown as a score", "src/benchmark/long_context/grid.rs", "nothing_asked_is_nothing_shown"),
    ("a faulty sandbox counts as wrong answers", "tests/integration/sandbox.rs", "a_lost_launcher_is_no_wrong_answer"),
    ("energy from an assumed 250 W", "src/meter/mod.rs", "without_counters_it_is_an_estimate_and_without_a_processor_nothing"),
    ("the hardware is a constant label", "src/meter/host.rs", "machines_are_described_by_what_they_tell"),
    ("figures invented for a registry without data", "src/leaderboard/import.rs", "original_rows_come_in_apart_and_unranked"),
    ("badges from measures on other scales", "tests/integration/leaderboard.rs", "badges_follow_their_table"),
];

/// Every guard of the table is a test that exists, so that the table cannot promise what is gone.
#[test]
fn every_defect_has_its_test() {
    for (defect, file, test) in GUARDS {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the file can be read");
        assert!(text.contains(&format!("fn {test}(")), "{defect}: {file} has no test {test}");
    }
}

/// A task's record where this share of the documents is answered rightly (of a balance: preferred on one side).
fn leaf(spec: &TaskSpec, share: f64) -> TaskRecord {
    let share = if spec.score_rule == ScoreRule::Balance { share / 2.0 } else { share };
    let document = |index: u32| {
        let right = f64::from(u8::from(f64::from(index) < share * 20.0));
        let value = |aggregation: &Aggregation| match aggregation {
            Aggregation::Mean => json!(right),
            _ => json!([right, 0.0, 1.0, 1.0]),
        };
        let metrics: Map<String, Value> = spec.metrics.iter().map(|metric| (metric.key(), value(&metric.aggregation))).collect();
        DocumentScore { filtered_resps: Map::new(), metrics, flags: Vec::new() }
    };
    leaf_record(spec, &(0..20).map(document).collect::<Vec<_>>(), 20, 5, None).expect("every metric is there")
}

/// The aggregate of a model with these shares of right answers, task by task, through the code that real runs take.
fn model(share: impl Fn(usize) -> f64) -> (BTreeMap<String, TaskRecord>, Aggregate) {
    let suite = Suite::named("standard").expect("the suite is there");
    let record = |index: usize, name: &str| match registry::entry(name).expect("the task is there") {
        Entry::Task(task) => leaf(task.spec(), share(index)),
        Entry::Group(group) => {
            let members = registry::leaves(name).expect("the group has members");
            let leaves = members.iter().map(|task| (task.spec().name.clone(), leaf(task.spec(), share(index)))).collect();
            group_record(group, &registry::groups_within(group), leaves, members[0].spec())
        }
    };
    let of_pillars = suite.pillars.iter().flat_map(|pillar| &pillar.tasks);
    let tasks: BTreeMap<String, TaskRecord> =
        of_pillars.enumerate().map(|(index, task)| (task.name.to_owned(), record(index, task.name))).collect();
    let (_, aggregate) = summarise(&pillars(), &tasks);
    (tasks, aggregate)
}

/// The original read metrics under names that no task had, so that pillars were 0 for every model.
#[test]
fn a_perfect_model_scores_one_hundred_on_every_task() {
    let (tasks, aggregate) = model(|_| 1.0);
    for (name, task) in &tasks {
        assert_eq!((task.status, task.score), (TaskStatus::Ok, Some(100.0)), "{name}");
    }
    assert_eq!(aggregate.score, Some(100.0));
    assert!(aggregate.coverage >= 1.0);
    assert_eq!(model(|_| 0.0).1.score, Some(0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Whatever is answered, scores, aggregate and interval lie between 0 and 100.
    #[test]
    fn any_model_lies_between_zero_and_one_hundred(shares in proptest::collection::vec(0.0..=1.0_f64, 15)) {
        let (tasks, aggregate) = model(|index| shares[index]);
        prop_assert!(tasks.values().all(|task| task.score.is_some_and(|score| (0.0..=100.0).contains(&score))));
        let (score, [low, high]) = (aggregate.score.expect("a score"), aggregate.ci95.expect("an interval"));
        prop_assert!(0.0 <= low && low <= score && score <= high && high <= 100.0);
    }
}
