//! Do the intervals keep their word, and how long do they take?
//!
//! `cargo bench --no-default-features --bench statistics` prints two tables. Options after `--`: `boards=1000 models=10 replicates=10000 timed=1000`.
//!
//! Coverage: each synthetic leaderboard draws new questions of the sizes of the standard suite, answered by models whose true scores are known.
//! A model's chance to answer rightly is `chance + (1 − chance) · logistic(ability − difficulty)`; the difficulties are shared by all models,
//! so their answers are correlated as real ones are. The true score is the mean over all questions that could have been drawn.

#![allow(clippy::expect_used, reason = "a benchmark stops where its own set-up is wrong")]

use std::collections::BTreeMap;
use std::time::Instant;

use rand_mt::Mt64;
use rayon::prelude::*;
use slm_benchmark::statistics::{
    PillarSample, Resampling, Scale, ScoreEstimates, Stratum, TaskSample, Z_95, aggregate_difference, compare_models, estimate_scores,
    rank_intervals,
};

const DIFFICULTY_SPREAD: f64 = 1.5;
const SUBJECTS: usize = 57;

/// How a task of the suite is simulated.
struct Task {
    name: &'static str,
    items: usize,
    chance: f64,
    /// Mean ability on this task.
    ability: f64,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    RightOrWrong,
    Subjects,
    Probability,
    Balance,
}

const fn task(name: &'static str, items: usize, chance: f64, ability: f64, kind: Kind) -> Task {
    Task { name, items, chance, ability, kind }
}

const PILLARS: [(f64, &[Task]); 5] = [
    (
        35.0,
        &[
            task("mmlu", 14042, 0.25, -1.5, Kind::Subjects),
            task("arc_challenge", 1172, 0.25, -1.0, Kind::RightOrWrong),
            task("hellaswag", 10042, 0.25, 0.0, Kind::RightOrWrong),
            task("truthfulqa_mc2", 817, 0.0, -0.3, Kind::Probability),
        ],
    ),
    (20.0, &[task("humaneval", 164, 0.0, -2.5, Kind::RightOrWrong), task("mbpp", 500, 0.0, -2.5, Kind::RightOrWrong)]),
    (15.0, &[task("gsm8k", 1319, 0.0, -3.5, Kind::RightOrWrong), task("mathqa", 2985, 0.2, -2.5, Kind::RightOrWrong)]),
    (
        20.0,
        &[
            task("boolq", 3270, 0.5, -0.5, Kind::RightOrWrong),
            task("piqa", 1838, 0.5, 0.5, Kind::RightOrWrong),
            task("winogrande", 1267, 0.5, -1.0, Kind::RightOrWrong),
        ],
    ),
    (
        20.0,
        &[
            task("toxigen", 940, 0.5, -2.0, Kind::RightOrWrong),
            task("crows_pairs_english", 1508, 0.0, 0.8, Kind::Balance),
            task("bbq", 58492, 0.0, -0.7, Kind::RightOrWrong),
            task("truthfulqa_mc1", 817, 0.2, -2.0, Kind::RightOrWrong),
        ],
    ),
];

fn tasks() -> impl Iterator<Item = &'static Task> {
    PILLARS.iter().flat_map(|(_, tasks)| tasks.iter())
}

fn uniform(random: &mut Mt64) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
}

fn normal(random: &mut Mt64) -> f64 {
    (-2.0 * uniform(random).ln()).sqrt() * (std::f64::consts::TAU * uniform(random)).cos()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Mean of logistic(ability − spread·Z) over a standard normal Z, by the trapezium rule.
fn mean_logistic(ability: f64, spread: f64) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for step in -80..=80 {
        let z = f64::from(step) / 10.0;
        let weight = (-z * z / 2.0).exp();
        sum += weight * logistic(ability - spread * z);
        weights += weight;
    }
    sum / weights
}

/// Sizes and shifts in difficulty of a task's strata.
fn strata(task: &Task) -> Vec<(usize, f64)> {
    if task.kind != Kind::Subjects {
        return vec![(task.items, 0.0)];
    }
    let size = |subject: usize| task.items * (subject + 1) / SUBJECTS - task.items * subject / SUBJECTS;
    (0..SUBJECTS).map(|subject| (size(subject), (subject as f64 * 1.7).sin())).collect()
}

/// True abilities of a model on each task.
fn abilities(random: &mut Mt64) -> Vec<f64> {
    let general = 0.15 * normal(random);
    tasks().map(|task| task.ability + general + 0.25 * normal(random)).collect()
}

struct Truth {
    tasks: Vec<f64>,
    pillars: Vec<f64>,
    aggregate: f64,
}

fn truth(abilities: &[f64]) -> Truth {
    let tasks: Vec<f64> = tasks().zip(abilities).map(|(task, &ability)| true_score(task, ability)).collect();
    let (mut pillars, mut rest) = (Vec::new(), &tasks[..]);
    for (_, of_pillar) in &PILLARS {
        let (scores, others) = rest.split_at(of_pillar.len());
        pillars.push(scores.iter().sum::<f64>() / scores.len() as f64);
        rest = others;
    }
    let aggregate = PILLARS.iter().zip(&pillars).map(|((weight, _), score)| weight * score).sum::<f64>() / 110.0;
    Truth { tasks, pillars, aggregate }
}

fn true_score(task: &Task, ability: f64) -> f64 {
    let spread = if task.kind == Kind::Probability { DIFFICULTY_SPREAD.hypot(0.5) } else { DIFFICULTY_SPREAD };
    let strata = strata(task);
    let sum: f64 = strata.iter().map(|&(items, shift)| items as f64 * mean_logistic(ability - shift, spread)).sum();
    let mean = task.chance + (1.0 - task.chance) * sum / task.items as f64;
    if task.kind == Kind::Balance { Scale::Balance.score(mean) } else { 100.0 * mean }
}

/// The answers of every model to one draw of questions.
fn answer(models: &[Vec<f64>], random: &mut Mt64) -> Vec<Vec<PillarSample>> {
    let mut answered: Vec<std::vec::IntoIter<TaskSample>> = Vec::new();
    let mut by_task: Vec<Vec<TaskSample>> = Vec::new();
    for (index, task) in tasks().enumerate() {
        let of_models: Vec<f64> = models.iter().map(|abilities| abilities[index]).collect();
        by_task.push(answer_task(task, &of_models, random));
    }
    for model in 0..models.len() {
        answered.push(by_task.iter().map(|samples| samples[model].clone()).collect::<Vec<_>>().into_iter());
    }
    answered
        .into_iter()
        .map(|mut samples| {
            let pillar = |(weight, tasks): &(f64, &[Task])| PillarSample::new(*weight, samples.by_ref().take(tasks.len()).collect());
            PILLARS.iter().map(pillar).collect::<Result<_, _>>().expect("every pillar has tasks")
        })
        .collect()
}

fn answer_task(task: &Task, abilities: &[f64], random: &mut Mt64) -> Vec<TaskSample> {
    let mut by_model: Vec<Vec<Stratum>> = vec![Vec::new(); abilities.len()];
    for (items, shift) in strata(task) {
        let difficulties: Vec<f64> = (0..items).map(|_| shift + DIFFICULTY_SPREAD * normal(random)).collect();
        for (strata, ability) in by_model.iter_mut().zip(abilities) {
            let mut value = |difficulty: &f64| match task.kind {
                Kind::Probability => logistic(ability - difficulty + 0.5 * normal(random)),
                _ => f64::from(u8::from(uniform(random) < task.chance + (1.0 - task.chance) * logistic(ability - difficulty))),
            };
            strata.push(Stratum::from_values(&difficulties.iter().map(&mut value).collect::<Vec<_>>()));
        }
    }
    let scale = if task.kind == Kind::Balance { Scale::Balance } else { Scale::Percent };
    by_model.into_iter().map(|strata| TaskSample::new(task.name, scale, strata).expect("there are items")).collect()
}

/// How often something held.
#[derive(Default, Clone, Copy)]
struct Share {
    held: usize,
    of: usize,
}

/// Shares by (place in the table, name).
type Table = BTreeMap<(usize, String), Share>;

fn count(table: &mut Table, place: usize, name: &str, held: bool) {
    let share = table.entry((place, name.to_owned())).or_default();
    share.held += usize::from(held);
    share.of += 1;
}

/// One leaderboard: were the true scores, ranks and differences inside their intervals? The last two models are the same in truth.
fn board(seed: u64, models: usize, resampling: Resampling) -> (Table, f64) {
    let mut random = Mt64::new(seed);
    let mut all: Vec<Vec<f64>> = (1..models).map(|_| abilities(&mut random)).collect();
    all.push(all[models - 2].clone());
    let truths: Vec<Truth> = all.iter().map(|abilities| truth(abilities)).collect();
    let samples = answer(&all, &mut random);

    let mut table = Table::new();
    for (sample, truth) in samples.iter().zip(&truths) {
        count_scores(&mut table, &estimate_scores(sample, resampling), truth);
        count_published(&mut table, sample, truth, resampling);
    }
    let ranks =
        rank_intervals(models, 0.05, |i, j| aggregate_difference(&samples[i], &samples[j])).expect("all answered the same questions");
    let mut width = 0;
    for (rank, truth) in ranks.iter().zip(&truths) {
        let better = truths.iter().filter(|other| other.aggregate > truth.aggregate).count();
        let worse = truths.iter().filter(|other| other.aggregate < truth.aggregate).count();
        count(&mut table, 3, "rank", rank.best <= better + 1 && models - worse <= rank.worst);
        width += rank.worst - rank.best + 1;
    }

    let comparison = compare_models(&samples[0], &samples[1], resampling).expect("both answered the same questions");
    let interval = comparison.aggregate.and_then(|aggregate| aggregate.ci95).expect("every task has items");
    count(&mut table, 4, "difference of two aggregates", interval.contains(truths[0].aggregate - truths[1].aggregate));
    let comparison = compare_models(&samples[models - 2], &samples[models - 1], resampling).expect("both answered the same questions");
    let equal = comparison.aggregate.expect("there are pillars");
    count(&mut table, 5, "equal models, aggregate: p > 0.05", equal.p_value > 0.05);
    for (tasks, (_, names)) in comparison.tasks.iter().zip(PILLARS) {
        for task in tasks.iter().zip(names).filter(|(task, _)| task.flips.is_some()) {
            count(&mut table, 5, "equal models, one task: p > 0.05", task.0.p_value > 0.05);
        }
    }
    (table, width as f64 / models as f64)
}

fn count_scores(table: &mut Table, estimates: &ScoreEstimates, truth: &Truth) {
    let all = estimates.tasks.iter().flatten().zip(&truth.tasks).zip(tasks());
    for ((estimate, score), task) in all {
        let covered = estimate.ci95.is_some_and(|interval| interval.contains(*score));
        count(table, 0, task.name, covered);
        count(table, 1, "all tasks", covered);
    }
    for ((estimate, score), name) in estimates.pillars.iter().zip(&truth.pillars).zip(["reasoning", "coding", "math", "language", "safety"])
    {
        count(table, 1, name, estimate.ci95.is_some_and(|interval| interval.contains(*score)));
    }
    let covered = estimates.aggregate.and_then(|aggregate| aggregate.ci95).is_some_and(|interval| interval.contains(truth.aggregate));
    count(table, 2, "aggregate", covered);
}

/// The intervals that `run.json` publishes, where they are made in another way: of the aggregate from each task's number of right answers, or its
/// mean and standard error; of tasks that are no single proportion as score ± 1.96 standard errors.
fn count_published(table: &mut Table, sample: &[PillarSample], truth: &Truth, resampling: Resampling) {
    for ((of_task, score), task) in sample.iter().flat_map(PillarSample::tasks).zip(&truth.tasks).zip(tasks()) {
        if matches!(task.kind, Kind::Subjects | Kind::Probability) {
            let half = Z_95 * of_task.stderr().expect("there is more than one item");
            count(table, 0, &format!("{} ± 1.96 standard errors", task.name), (of_task.score() - score).abs() <= half);
        }
    }
    let stored: Vec<PillarSample> = sample.iter().map(stored).collect();
    let covered = estimate_scores(&stored, resampling).aggregate.and_then(|aggregate| aggregate.ci95);
    count(table, 2, "aggregate, as published", covered.is_some_and(|interval| interval.contains(truth.aggregate)));
}

/// What is left of a pillar's answers in `run.json`.
fn stored(pillar: &PillarSample) -> PillarSample {
    let stratum = |task: &TaskSample, stratum: &Stratum| match stratum.correct() {
        Some(correct) => Stratum::from_counts(correct, stratum.items() as u64).expect("no more right answers than items"),
        // Such a task has one stratum, so its standard error is the stratum's.
        None => Stratum::from_moments(stratum.mean(), task.stderr().expect("there is more than one item") / 100.0, stratum.items()),
    };
    let task = |task: &TaskSample| {
        let strata = task.strata().iter().map(|of_task| stratum(task, of_task)).collect();
        TaskSample::new(task.name(), task.scale(), strata).expect("there are items")
    };
    PillarSample::new(pillar.weight(), pillar.tasks().iter().map(task).collect()).expect("there are tasks")
}

fn coverage(boards: u64, models: usize, resampling: Resampling) {
    let start = Instant::now();
    let counted: Vec<(Table, f64)> = (0..boards).into_par_iter().map(|seed| board(seed, models, resampling)).collect();
    let mut table = Table::new();
    for (key, share) in counted.iter().flat_map(|(table, _)| table) {
        let sum = table.entry(key.clone()).or_default();
        sum.held += share.held;
        sum.of += share.of;
    }
    println!("{boards} leaderboards of {models} models, {} replicates, {:.0} s\n", resampling.replicates, start.elapsed().as_secs_f64());
    println!("| 95 % interval of | covers the truth | standard error | of |\n| --- | ---: | ---: | ---: |");
    for ((_, name), share) in &table {
        let rate = share.held as f64 / share.of as f64;
        let error = (rate * (1.0 - rate) / share.of as f64).sqrt();
        println!("| {name} | {:.2} % | {:.2} % | {} |", 100.0 * rate, 100.0 * error, share.of);
    }
    let width = counted.iter().map(|(_, width)| width).sum::<f64>() / counted.len() as f64;
    println!("\nA rank interval holds {width:.2} of {models} ranks on average.\n");
}

fn speed(models: usize, resampling: Resampling) {
    let mut random = Mt64::new(1);
    let all: Vec<Vec<f64>> = (0..models).map(|_| abilities(&mut random)).collect();
    let samples = answer(&all, &mut random);
    println!("| {models} models of the standard suite, {} threads | seconds |\n| --- | ---: |", rayon::current_num_threads());
    let start = Instant::now();
    let estimates: Vec<ScoreEstimates> = samples.par_iter().map(|sample| estimate_scores(sample, resampling)).collect();
    println!("| intervals of {} models, {} replicates | {:.2} |", estimates.len(), resampling.replicates, start.elapsed().as_secs_f64());
    let start = Instant::now();
    let ranks =
        rank_intervals(models, 0.05, |i, j| aggregate_difference(&samples[i], &samples[j])).expect("all answered the same questions");
    let pairs = models * (models - 1) / 2;
    println!("| paired tests of {pairs} pairs, {} rank intervals | {:.2} |", ranks.len(), start.elapsed().as_secs_f64());
    let start = Instant::now();
    compare_models(&samples[0], &samples[1], resampling).expect("both answered the same questions");
    println!("| full comparison of two models | {:.2} |", start.elapsed().as_secs_f64());
}

fn option(name: &str, default: usize) -> usize {
    let given = std::env::args().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    given.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value}")))
}

fn main() {
    let resampling = Resampling { replicates: option("replicates", 10_000), ..Resampling::default() };
    let models = option("models", 10).max(3);
    coverage(option("boards", 1000) as u64, models, resampling);
    speed(option("timed", 1000).max(3), resampling);
}
