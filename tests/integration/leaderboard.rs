//! Registry and leaderboard, derived from runs.

use crate::synthetic::{Recipe, pillars};
use proptest::prelude::*;
use slm_benchmark::bot::paired_tests;
use slm_benchmark::leaderboard::board::{self, Leaderboard, Row, RowStatus};
use slm_benchmark::leaderboard::paired::Test;
use slm_benchmark::leaderboard::pillars::{PillarSpec, aggregate};
use slm_benchmark::leaderboard::registry::{Action, Decision, Imported, Registry, RegistryError};
use slm_benchmark::leaderboard::report::{Report, Reported};
use slm_benchmark::leaderboard::run::{
    Figure, FigureSet, GroupRecord, Items, Limit, PillarScore, Run, TaskRecord, TaskStatus, Warning, figure,
};
use slm_benchmark::leaderboard::{ItemScores, TestCounts, TestedPairs};
use std::collections::BTreeMap;
use std::path::Path;

fn fold(registry: &mut Registry, recipes: &[Recipe]) {
    registry.upsert_all(recipes.iter().map(|recipe| (recipe.submission(), vec![recipe.summary()])));
}

fn registry_of(recipes: &[Recipe]) -> Registry {
    let mut registry = Registry::default();
    fold(&mut registry, recipes);
    registry
}

fn board_of(recipes: &[Recipe]) -> Leaderboard {
    board::derive(&registry_of(recipes), &pillars(), &ItemScores::default())
}

fn row<'a>(board: &'a Leaderboard, repo: &str) -> &'a Row {
    board.models.iter().find(|row| row.hf_repo == repo).expect("the model has a row")
}

fn schema(name: &str) -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).expect("the schema can be read");
    jsonschema::validator_for(&serde_json::from_str(&text).expect("the schema is JSON")).expect("the schema is a schema")
}

#[track_caller]
fn assert_valid(name: &str, text: &str) {
    let value: serde_json::Value = serde_json::from_str(text).expect("the output is JSON");
    let errors: Vec<String> = schema(name).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

/// A leaderboard that has every kind of row; the website's tests read it too.
fn every_kind() -> Registry {
    let small = Recipe { measured: 1_300_000, ..Recipe::new("lab/tiny-1m", 0.02) };
    let quantized = Recipe { quantization: "Q4_K_M", format: "gguf", ability: 0.45, day: 12, ..Recipe::new("lab/middle-360m", 0.5) };
    let old_revision = Recipe { revision: "a".repeat(40), day: 2, ..Recipe::new("lab/middle-360m", 0.4) };
    let chat = Recipe { chat_template: true, day: 13, ..Recipe::new("lab/middle-360m", 0.6) };
    let twin = Recipe { measured: 1_700_000_000, ..Recipe::new("other/twin-b", 0.5) };
    let partial = Recipe { without: &["coding", "safety"], ..Recipe::new("other/no-code-135m", 0.3) };
    let limited = Recipe { limit: Some(Limit::Documents(20)), day: 15, ..Recipe::new("other/limited-500m", 0.9) };
    let quick = Recipe { suite: "quick", day: 15, ..Recipe::new("other/quick-500m", 0.55) };
    let hostile = Recipe { name: "<img src=x onerror=alert(1)>".to_owned(), ..Recipe::new("other/hostile", 0.2) };
    let withdrawn = Recipe::new("other/withdrawn", 0.95);
    let measured = (0..4_u32).map(|i| Recipe {
        efficiency: Some(1000.0 + 10.0 * f64::from(i)),
        measured: 1_000_000_000 * u64::from(i + 1) / 2,
        ..Recipe::new(&format!("green/eco-{i}"), 0.3 + 0.02 * f64::from(i))
    });
    let middle = Recipe { measured: 360_000_000, ..Recipe::new("lab/middle-360m", 0.5) };
    let mut recipes = vec![small, middle, quantized, old_revision, chat, twin.clone(), partial, limited, quick, hostile, withdrawn];
    recipes.extend(measured);
    let mut registry = registry_of(&recipes);

    // A run whose gsm8k failed and whose mmlu gave one constant answer.
    let failing = Recipe::new("other/failing-1b", 0.4);
    let mut tasks = failing.run().tasks;
    let failed =
        TaskRecord { num_fewshot: 5, n_total: 1319, ..TaskRecord::without_score(TaskStatus::Failed, "the data set split is empty") };
    tasks.insert("gsm8k".to_owned(), failed);
    let mmlu = tasks.get_mut("mmlu").expect("mmlu was asked for");
    mmlu.warnings.push(Warning { code: "constant_answers".to_owned(), message: "every answer is A".to_owned() });
    registry
        .fold(&failing.submission(), &[(failing.run_of(tasks), "results/raw/other--failing-1b/run.json".to_owned(), "0".repeat(64))])
        .expect("the run is of this model");

    // Equal scores: the same answers from another repository.
    let same = Recipe::new("other/twin-a", 0.5);
    let mut run = twin.run();
    run.model.hf_repo.clone_from(&same.repo);
    registry
        .fold(&same.submission(), &[(run, "results/raw/other--twin-a/run.json".to_owned(), "1".repeat(64))])
        .expect("the run is of this model");

    // A row that came from elsewhere.
    registry.upsert_all([(Recipe::new("original/imported", 0.5).submission(), Vec::new())]);
    let imported = registry.models.iter_mut().find(|entry| entry.hf_repo == "original/imported").expect("just added");
    imported.imported = Some(Imported {
        format: "original v1".to_owned(),
        sha256: "2".repeat(64),
        aggregate_score: Some(67.51),
        scores: BTreeMap::from([("reasoning".to_owned(), Some(65.2)), ("edge".to_owned(), None)]),
        rank: Some(1),
    });
    let decision = |repo: &str, action, reason: &str| Decision {
        hf_repo: repo.to_owned(),
        action,
        reason: reason.to_owned(),
        by: "maintainer".to_owned(),
        date: crate::synthetic::instant(20, 0).date_naive(),
    };
    registry.decide(&[
        decision("other/withdrawn", Action::Withdraw, "trained on the test set, as its author says"),
        decision("other/hostile", Action::Flag, "the licence is being clarified"),
    ]);
    registry
}

/// The example that the website is built and tested with is what the code writes.
#[test]
fn the_example_leaderboard_is_current() {
    let registry = every_kind();
    let text = board::derive(&registry, &pillars(), &ItemScores::default()).to_json().expect("a leaderboard is JSON");
    assert_valid("leaderboard", &text);
    assert_valid("registry", &registry.to_json().expect("a registry is JSON"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/leaderboard.json");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &text).expect("the example can be written");
    }
    let stored = std::fs::read_to_string(&path).expect("the example can be read");
    assert!(
        stored == text,
        "tests/fixtures/leaderboard.json is out of date; run this test with UPDATE_FIXTURES=1 and look at the difference"
    );
}

#[test]
fn run_and_schema_agree() {
    let recipe = Recipe { limit: Some(Limit::Fraction(0.1)), efficiency: Some(900.0), chat_template: true, ..Recipe::new("lab/a", 0.5) };
    let mut run = recipe.run();
    let leaf = run.tasks["mmlu"].clone();
    let mmlu = run.tasks.get_mut("mmlu").expect("asked for");
    mmlu.subtasks.insert("mmlu_anatomy".to_owned(), leaf);
    mmlu.groups.insert("stem".to_owned(), GroupRecord::default());
    run.tasks.insert("gsm8k".to_owned(), TaskRecord::without_score(TaskStatus::Invalid, "NaN"));
    let text = serde_json::to_string(&run).expect("a run is JSON");
    assert_valid("run", &text);
    assert_eq!(serde_json::from_str::<Run>(&text).expect("it reads back"), run);

    run.tasks.insert("gsm8k".to_owned(), TaskRecord { score: Some(1.0), ..TaskRecord::without_score(TaskStatus::Failed, "timed out") });
    let value = serde_json::to_value(&run).expect("a run is JSON");
    assert!(!schema("run").is_valid(&value), "a failed task with a score is not a run");
}

#[test]
fn only_complete_standard_runs_are_ranked() {
    let board = board::derive(&every_kind(), &pillars(), &ItemScores::default());
    let status = |repo: &str| row(&board, repo).status;
    assert_eq!(status("lab/middle-360m"), RowStatus::Ranked);
    assert_eq!(status("other/no-code-135m"), RowStatus::Partial);
    assert_eq!(status("other/failing-1b"), RowStatus::Partial);
    assert_eq!(status("other/limited-500m"), RowStatus::Preliminary);
    assert_eq!(status("other/quick-500m"), RowStatus::Preliminary);
    assert_eq!(status("original/imported"), RowStatus::Unverified);
    assert_eq!(status("other/withdrawn"), RowStatus::Withdrawn);
    for row in &board.models {
        assert_eq!(row.rank.is_some(), row.status == RowStatus::Ranked, "{}", row.id);
        assert_eq!(row.status_reason.is_none(), row.status == RowStatus::Ranked, "{}", row.id);
        assert!(row.rank.is_none_or(|rank| row.rank_interval.is_some_and(|[best, worst]| best <= rank && rank <= worst)), "{}", row.id);
    }
    assert_eq!(row(&board, "other/limited-500m").place, Some(1), "a preliminary row has a place of its own");
    assert_eq!(row(&board, "original/imported").aggregate.score, None, "imported figures are shown apart");
    let failing = row(&board, "other/failing-1b");
    assert_eq!(failing.pillars["math"].score, None, "missing is not 0");
    assert_eq!(failing.status_reason.as_deref(), Some("math has no score (gsm8k failed: the data set split is empty)"));
    assert_eq!(failing.warnings.len(), 1);
    assert_eq!(row(&board, "other/hostile").flag.as_deref(), Some("the licence is being clarified"));
}

#[test]
fn equal_scores_share_a_rank_and_the_next_is_skipped() {
    let board = board::derive(&every_kind(), &pillars(), &ItemScores::default());
    let (a, b) = (row(&board, "other/twin-a"), row(&board, "other/twin-b"));
    assert_eq!(a.rank, b.rank);
    assert!(a.tied && b.tied);
    let ranks: Vec<u64> = board.models.iter().filter_map(|row| row.rank).collect();
    let shared = ranks.iter().position(|rank| Some(*rank) == a.rank).expect("twins are ranked");
    assert_eq!(ranks.get(shared + 2).copied(), a.rank.map(|rank| rank + 2));
}

/// The least-quantized complete run of the newest revision carries the rank; everything else is linked.
#[test]
fn variants_are_linked_and_never_ranked_apart() {
    let board = board::derive(&every_kind(), &pillars(), &ItemScores::default());
    assert_eq!(board.models.iter().filter(|row| row.hf_repo == "lab/middle-360m").count(), 1);
    let middle = row(&board, "lab/middle-360m");
    assert_eq!(middle.run.as_ref().map(|run| run.quantization.name.as_str()), Some("FP16"));
    assert_eq!(middle.quantizations.len(), 1);
    assert!(middle.quantizations[0].difference.is_some_and(|difference| difference < 0.0));
    assert_eq!(middle.revisions.len(), 1);
    assert_eq!(middle.revisions[0].revision, "a".repeat(40));
    assert_eq!(middle.chat_variants.len(), 1);
    assert!(middle.chat_variants[0].difference.is_some_and(|difference| difference > 0.0), "the chat run is better, and still only linked");
}

/// Evaluating an old revision once more does not make it the newest.
#[test]
fn the_newest_revision_is_the_one_that_was_first_evaluated_last() {
    let old = Recipe { revision: "1".repeat(40), day: 1, ..Recipe::new("lab/a", 0.5) };
    let new = Recipe { revision: "2".repeat(40), day: 5, ..Recipe::new("lab/a", 0.4) };
    let again = Recipe { seed: 7, day: 9, ..old.clone() };
    let board = board_of(&[old, new, again]);
    assert_eq!(row(&board, "lab/a").revision.as_deref(), Some("2".repeat(40).as_str()));
}

#[test]
fn suite_versions_are_never_ranked_together() {
    let old = Recipe { suite_version: "1.9.0", ..Recipe::new("lab/old", 0.9) };
    let new = Recipe { suite_version: "1.10.0", ..Recipe::new("lab/new", 0.1) };
    let board = board_of(&[old, new]);
    assert_eq!(row(&board, "lab/new").rank, Some(1));
    assert_eq!((row(&board, "lab/old").status, row(&board, "lab/old").rank), (RowStatus::Stale, None));
    assert_eq!(board.suite.expect("there is one").version, "1.10.0");
}

#[test]
fn badges_follow_their_table() {
    let board = board::derive(&every_kind(), &pillars(), &ItemScores::default());
    let badges = |repo: &str| row(&board, repo).badges.join(" ");
    assert_eq!(badges("green/eco-3"), "Eco-Efficient", "the best of four measured models of one hardware class");
    assert_eq!(badges("green/eco-2"), "");
    assert!(badges("lab/tiny-1m").contains("SLM-Optimized"));
    assert_eq!(badges("other/limited-500m"), "", "only ranked rows have badges");
    assert!(badges("other/withdrawn").is_empty());
}

/// A model with two owners' repositories of one name, and one with runs of other models beside it, are not mixed.
#[test]
fn a_run_of_another_model_is_refused() {
    let (a, b) = (Recipe::new("lab/a", 0.5), Recipe::new("lab/b", 0.5));
    let mut registry = registry_of(std::slice::from_ref(&a));
    let before = registry.clone();
    let refused = registry.fold(&a.submission(), &[(b.run(), "path".to_owned(), "0".repeat(64))]);
    assert!(matches!(refused, Err(RegistryError::OtherModel { .. })));
    assert_eq!(registry, before);
}

/// A registry of the original project or of a newer program is refused, not overwritten.
#[test]
fn other_registry_formats_are_refused() {
    let original = r#"{"models":[],"metadata":{"last_updated":"2026-01-01T00:00:00","total_models":0}}"#;
    let message = Registry::parse(original).expect_err("no version").to_string();
    assert!(message.contains("registry import"), "{message}");
    assert!(Registry::parse(r#"{"models":[],"metadata":{"schema_version":"4.0.0"}}"#).is_err());
    let unknown = registry_of(&[Recipe::new("lab/a", 0.5)]).to_json().expect("JSON").replacen("\"family\"", "\"familie\"", 1);
    assert!(Registry::parse(&unknown).is_err(), "a field that would be lost is refused");
}

#[test]
fn a_registry_reads_back_to_itself() {
    let registry = every_kind();
    let text = registry.to_json().expect("JSON");
    let mut back = Registry::parse(&text).expect("it reads back");
    assert_eq!(back, registry);
    back.settle();
    assert_eq!(back.to_json().expect("JSON"), text, "deriving again changes nothing");
    let leaderboard = board::derive(&back, &pillars(), &ItemScores::default());
    let json = leaderboard.to_json().expect("JSON");
    assert_eq!(serde_json::from_str::<Leaderboard>(&json).expect("it reads back"), leaderboard);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The same artifacts give the same bytes, whatever the order in which they come.
    #[test]
    fn the_order_of_folding_does_not_matter(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(), split in 0..12_usize) {
        let recipes: Vec<Recipe> = (0..12_u32)
            .map(|i| Recipe {
                revision: format!("{:040}", i % 2),
                quantization: ["FP16", "Q8_0", "Q4_K_M"][i as usize % 3],
                day: i64::from(i % 5),
                ..Recipe::new(&format!("lab/model-{}", i % 4), f64::from(i) / 12.0)
            })
            .collect();
        let expected = registry_of(&recipes);
        let shuffled: Vec<Recipe> = order.iter().map(|i| recipes[*i].clone()).collect();
        let mut registry = Registry::default();
        fold(&mut registry, &shuffled[..split]);
        let mut registry = Registry::parse(&registry.to_json().expect("JSON")).expect("it reads back");
        fold(&mut registry, &shuffled[split..]);
        fold(&mut registry, &shuffled[..split]);
        prop_assert_eq!(registry.to_json().expect("JSON"), expected.to_json().expect("JSON"));
        let boards = [&registry, &expected].map(|registry| board::derive(registry, &pillars(), &ItemScores::default()).to_json().expect("JSON"));
        prop_assert_eq!(&boards[0], &boards[1]);
    }
}

/// Prints seconds and memory of folding and ranking many models; the figures in docs/performance.md come from
/// `cargo test --release --no-default-features --test integration -- --ignored --nocapture many_models`.
#[test]
#[ignore = "a measurement, not a verdict"]
fn many_models_take_linear_time_and_memory() {
    println!("{:>8} {:>10} {:>10} {:>12} {:>12} {:>14}", "models", "fold s", "derive s", "registry MB", "board MB", "resident MB");
    for count in [1_000_u32, 2_500, 5_000, 10_000] {
        let folds: Vec<_> = (0..count)
            .map(|i| {
                let recipe = Recipe::new(&format!("lab/model-{i}"), f64::from(i % 997) / 997.0);
                (recipe.submission(), vec![recipe.summary()])
            })
            .collect();
        let start = std::time::Instant::now();
        let mut registry = Registry::default();
        registry.upsert_all(folds);
        let folded = start.elapsed().as_secs_f64();
        let start = std::time::Instant::now();
        let board = board::derive(&registry, &pillars(), &ItemScores::default());
        let derived = start.elapsed().as_secs_f64();
        let megabytes = |text: String| text.len() as f64 / 1e6;
        let (registry_size, board_size) = (megabytes(registry.to_json().expect("JSON")), megabytes(board.to_json().expect("JSON")));
        println!("{count:>8} {folded:>10.3} {derived:>10.3} {registry_size:>12.1} {board_size:>12.1} {:>14.0}", resident_megabytes());
    }
}

/// Resident memory of this process, where the system tells it.
fn resident_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// The website's sliders must give what the program's arithmetic gives: its fixture is recomputed here, score for score and rank for rank.
#[test]
fn the_websites_weight_fixture_follows_from_the_aggregate() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/website/tests/fixtures/weights.json");
    let fixture: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON");
    let models = fixture["models"].as_array().expect("models");
    let cases = fixture["cases"].as_array().expect("cases");
    assert!(
        cases.iter().any(|case| case["weights"]["reasoning"] == 35 && case["weights"]["math"] == 15),
        "the published weights are among them"
    );
    for case in cases {
        let specs: Vec<PillarSpec> = (case["weights"].as_object().expect("weights").iter())
            .map(|(name, weight)| PillarSpec { name: name.clone(), weight: weight.as_f64().expect("a weight"), tasks: vec![name.clone()] })
            .collect();
        let score_of = |model: &serde_json::Value| {
            let pillar = |spec: &PillarSpec| {
                let score = model["pillars"][&spec.name].as_f64();
                (spec.name.clone(), PillarScore { score, tasks: [(spec.name.clone(), score)].into(), ..PillarScore::default() })
            };
            aggregate(&specs, &specs.iter().map(pillar).collect()).score
        };
        let scores: Vec<Option<f64>> = models.iter().map(score_of).collect();
        let mut expected: Vec<(String, Option<f64>, Option<u64>)> = (models.iter().zip(&scores))
            .map(|(model, score)| {
                let rank = score.map(|score| 1 + scores.iter().flatten().filter(|other| **other > score).count() as u64);
                (model["id"].as_str().expect("an id").to_owned(), *score, rank)
            })
            .collect();
        expected.sort_by(|a, b| a.2.unwrap_or(u64::MAX).cmp(&b.2.unwrap_or(u64::MAX)).then_with(|| a.0.cmp(&b.0)));
        let mut stored: Vec<(String, Option<f64>, Option<u64>)> = (case["ranking"].as_array().expect("a ranking").iter())
            .map(|row| (row["id"].as_str().expect("an id").to_owned(), row["score"].as_f64(), row["rank"].as_u64()))
            .collect();
        stored.sort_by(|a, b| a.2.unwrap_or(u64::MAX).cmp(&b.2.unwrap_or(u64::MAX)).then_with(|| a.0.cmp(&b.0)));
        assert_eq!(stored, expected, "under {}", case["weights"]);
    }
}

/// Models whose intervals overlap are told apart where their runs hold each document's value, and the rows say so; the difference to another
/// quantization carries its interval. Without the values, or on other documents, nothing is taken as paired.
#[test]
fn documents_in_common_tell_close_models_apart() {
    let close = |name: &str, ability: f64| Recipe { items: true, ..Recipe::new(name, ability) };
    let recipes = [
        close("lab/first", 0.62),
        close("lab/second", 0.60),
        close("lab/third", 0.58),
        Recipe { quantization: "Q4_K_M", format: "gguf", day: 11, ..close("lab/first", 0.60) },
    ];
    let mut registry = Registry::default();
    registry.upsert_all([
        (recipes[0].submission(), vec![recipes[0].summary(), recipes[3].summary()]),
        (recipes[1].submission(), vec![recipes[1].summary()]),
        (recipes[2].submission(), vec![recipes[2].summary()]),
    ]);
    let items_of = |runs: &[Run]| {
        let mut items = ItemScores::default();
        for run in runs {
            items.add(run, &pillars());
        }
        items
    };
    let runs: Vec<Run> = recipes.iter().map(Recipe::run).collect();
    let place = |items: &ItemScores| -> Vec<(Option<[u64; 2]>, Option<Test>)> {
        let board = board::derive(&registry, &pillars(), items);
        ["lab/first", "lab/second", "lab/third"].map(|repo| (row(&board, repo).rank_interval, row(&board, repo).rank_test)).to_vec()
    };
    let independent = place(&ItemScores::default());
    assert!(
        independent.iter().all(|(interval, test)| interval.is_some_and(|[best, worst]| best < worst) && *test == Some(Test::Independent))
    );
    assert_eq!(place(&items_of(&runs)), [1, 2, 3].map(|rank| (Some([rank, rank]), Some(Test::Paired))));

    // One run answered another revision of the data: it is compared, but not document by document.
    let mut other = runs.clone();
    if let Some(dataset) = other[2].tasks.get_mut("mmlu").and_then(|task| task.dataset.as_mut()) {
        dataset.revision = "1".repeat(40);
    }
    let mixed = place(&items_of(&other));
    assert_eq!(mixed[2].1, Some(Test::Independent));
    assert!(mixed[2].0.is_some_and(|[best, _]| best <= 3));

    let board = board::derive(&registry, &pillars(), &items_of(&runs));
    let link = &row(&board, "lab/first").quantizations[0];
    let ([low, high], difference) = (link.difference_ci95.expect("an interval"), link.difference.expect("a difference"));
    assert!(low < difference && difference < high && high < 0.0, "{link:?}");
    assert!(link.difference_p.is_some_and(|p| p < 0.05) && link.difference_test == Some(Test::Paired));
    assert_valid("leaderboard", &board.to_json().expect("JSON"));
}

/// Of runs that the least quantized run of their revision answered the same questions as, each says what quantizing cost, also where the row
/// shows another revision's run; the least quantized run itself says nothing.
#[test]
fn every_quantization_is_held_against_the_least_quantized_run_of_its_revision() {
    let new = |quantization: &'static str, ability: f64| Recipe { quantization, items: true, ..Recipe::new("lab/model", ability) };
    let old = |quantization: &'static str, ability: f64| Recipe { revision: "e".repeat(40), day: 1, ..new(quantization, ability) };
    let limited = |quantization: &'static str, ability: f64| Recipe { limit: Some(Limit::Documents(100)), ..new(quantization, ability) };
    let recipes = [
        new("FP16", 0.60),
        new("Q8_0", 0.59),
        new("Q4_K_M", 0.50),
        old("FP16", 0.40),
        old("Q4_K_M", 0.30),
        limited("FP16", 0.60),
        limited("Q8_0", 0.58),
    ];
    let registry = registry_of(&recipes);
    let mut items = ItemScores::default();
    for recipe in &recipes {
        items.add(&recipe.run(), &pillars());
    }
    let board = board::derive(&registry, &pillars(), &items);
    let row = row(&board, "lab/model");
    let id = |recipe: &Recipe| recipe.run().run_id;
    let of = |recipe: &Recipe| {
        let mut links = [&row.quantizations, &row.revisions, &row.other_runs].into_iter().flatten().chain(&row.run);
        links.find(|link| link.run_id == id(recipe)).expect("it is linked").least_quantized.clone()
    };
    for least in [&recipes[0], &recipes[3], &recipes[5]] {
        assert_eq!(of(least), None);
    }
    for (run, least) in [(1, 0), (2, 0), (4, 3), (6, 5)] {
        let found = of(&recipes[run]).expect("a difference");
        let score = |recipe: &Recipe| recipe.run().aggregate.score.expect("a score");
        let [low, high] = found.ci95.expect("an interval");
        assert_eq!((found.run_id, found.quantization.as_str(), found.test), (id(&recipes[least]), "FP16", Test::Paired));
        assert!((found.difference - (score(&recipes[run]) - score(&recipes[least]))).abs() < 1e-4);
        assert!(low < found.difference && found.difference < high);
    }
    // Against the run that the row shows, as before; that of the old revision mixes both.
    assert_eq!(of(&recipes[2]).map(|found| found.difference), row.quantizations[1].difference);
    assert!(row.revisions.iter().all(|link| link.difference.is_some_and(|difference| difference < -10.0)));
    assert_valid("leaderboard", &board.to_json().expect("JSON"));
}

/// Kept results change no byte of the leaderboard: none, all, those of a part of the runs, or those of runs that have other answers now.
#[test]
fn kept_results_of_paired_tests_change_no_byte() {
    let recipe = |i: u32| Recipe { items: true, ..Recipe::new(&format!("lab/model-{i}"), 0.55 + f64::from(i) / 100.0) };
    let mut recipes: Vec<Recipe> = (0..6).map(recipe).collect();
    recipes.push(Recipe { quantization: "Q4_K_M", ..recipe(2) });
    let registry = registry_of(&recipes);
    let runs: Vec<Run> = recipes.iter().map(Recipe::run).collect();
    let items_of = |runs: &[Run]| {
        let mut items = ItemScores::default();
        for run in runs {
            items.add(run, &pillars());
        }
        items
    };
    let json = |items: &ItemScores| board::derive(&registry, &pillars(), items).to_json().expect("JSON");
    let expected = json(&items_of(&runs));
    let pairs = board::tested_pairs(&registry);
    assert_eq!(pairs.len(), 15 + 1, "six ranked models, and a quantization against the shown run, which is the least quantized one");

    let kept_of = |runs: &[Run]| {
        let mut items = items_of(runs);
        items.test(&pairs, TestedPairs::default());
        TestedPairs::from_bytes(&items.tested().to_bytes()).expect("it reads back")
    };
    let mut other = runs.clone();
    other[0] = Recipe { ability: 0.2, ..recipe(0) }.run();
    let kept = [(TestedPairs::default(), (0, 16)), (kept_of(&runs[..4]), (6, 10)), (kept_of(&runs), (16, 0)), (kept_of(&other), (11, 5))];
    for (known, counts) in kept {
        let mut items = items_of(&runs);
        let TestCounts { known, new } = items.test(&pairs, known);
        assert_eq!((known, new), counts);
        assert_eq!(json(&items), expected);
    }
}

/// Prints the seconds of the paired tests of every two of 1,000 models, without kept results, with them, and with one model more; the figures
/// in docs/performance.md come from
/// `cargo test --release --no-default-features --test integration -- --ignored --nocapture a_thousand_models_are_tested`.
#[test]
#[ignore = "a measurement, not a verdict"]
fn a_thousand_models_are_tested_in_pairs() {
    let recipe = |i: u32| Recipe { items: true, ..Recipe::new(&format!("lab/model-{i}"), f64::from(i) / 1001.0) };
    let recipes: Vec<Recipe> = (0..1001).map(recipe).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("paired-tests.cache");
    let start = std::time::Instant::now();
    let mut all = ItemScores::default();
    for recipe in &recipes {
        all.add(&recipe.run(), &pillars());
    }
    println!("values of {} models made in {:.1} s", recipes.len(), start.elapsed().as_secs_f64());
    for (what, models) in [("first", 1000), ("again", 1000), ("one model more", 1001)] {
        let registry = registry_of(&recipes[..models]);
        let mut items = all.clone();
        let start = std::time::Instant::now();
        let counts = paired_tests::test_with_cache(&cache, &registry, &mut items);
        let tested = start.elapsed().as_secs_f64();
        let board = board::derive(&registry, &pillars(), &items);
        let paired = board.models.iter().filter(|row| row.rank_test == Some(Test::Paired)).count();
        println!(
            "{what}: {paired} models paired, {} results known and {} new; tests {tested:.2} s, all {:.2} s; cache {:.1} MB",
            counts.known,
            counts.new,
            start.elapsed().as_secs_f64(),
            std::fs::metadata(&cache).expect("it was written").len() as f64 / 1e6
        );
    }
}

proptest! {
    /// Values stored as bits or numbers read back as they were.
    #[test]
    fn documents_values_read_back(bits in proptest::collection::vec(any::<bool>(), 1..70), shares in proptest::collection::vec(0.0..=1.0_f64, 1..9)) {
        let bits: Vec<f64> = bits.iter().map(|bit| f64::from(u8::from(*bit))).collect();
        for values in [bits, shares] {
            let items = Items::from_values(&values).expect("values from 0 to 1");
            let text = serde_json::to_string(&items).expect("JSON");
            let back: Items = serde_json::from_str(&text).expect("it reads back");
            prop_assert_eq!(back.values(values.len()), Some(values.clone()));
            prop_assert_eq!(back.values(values.len() + 9), None);
        }
    }
}

/// The report plots the long-context grid as a heat map, and speed and energy as bars over the runs of one hardware class; another class or
/// another method gets a plot of its own, because their figures must not be compared.
#[test]
fn the_report_plots_grid_speed_and_energy() {
    let measured = |class: &str, method: &str, value: f64| FigureSet {
        hardware_class: class.to_owned(),
        figures: BTreeMap::from([(
            figure::DECODE_SPEED.to_owned(),
            Figure {
                value: Some(value),
                unit: "tokens/s".to_owned(),
                range: Some([value - 1.0, value + 1.0]),
                method: method.to_owned(),
                reason: None,
            },
        )]),
        details: BTreeMap::new(),
    };
    let mut runs: Vec<Run> =
        (0..3).map(|number| Recipe { efficiency: Some(100.0), ..Recipe::new(&format!("lab/model-{number}"), 0.5) }.run()).collect();
    runs[0].informational.edge = Some(measured("cpu: <a>", "measured", 50.0));
    runs[1].informational.edge = Some(measured("cpu: <a>", "measured", 60.0));
    runs[2].informational.edge = Some(measured("cpu: b", "measured", 70.0));
    runs[0].informational.long_context = Some(serde_json::json!({"grids": {"needle": {"task": "needle", "lengths": [
        {"length": 1024, "n": 4, "correct": 3, "ci95": null, "cells": [{"depth": 0, "n": 4, "correct": 3, "ci95": null}]},
        {"length": 2048, "reason": "longer than the <window>", "n": 0, "correct": 0, "ci95": null}]}}}));
    let reported = runs.iter().map(|run| Reported { run, path: "run.json".to_owned(), sha256: "0".repeat(64) }).collect();
    let report = Report::new(reported);
    let html = report.to_html();
    assert!(html.contains("1024 tokens, depth 0 %: 3 of 4 right") && html.contains(">3/4</text>"));
    assert!(html.contains("longer than the &lt;window&gt;"));
    assert_eq!(html.matches("<h3>Decode speed").count(), 2, "one for each hardware class");
    assert_eq!(html.matches(">50.00 tokens/s</text>").count(), 1);
    assert_eq!(html.matches("<h3>Right answers per watt-hour").count(), 1);
    let markdown = report.to_markdown();
    assert!(markdown.contains("| depth | 1024 tokens | 2048 tokens |\n| --- | --- | --- |\n| 0 % | 3/4 | — |"));
}
