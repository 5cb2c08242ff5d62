//! Two models on the same items: McNemar's test, the paired bootstrap of the difference, and its normal test for ranking.

use rand_mt::Mt64;
use rayon::prelude::*;

use super::binomial::{Binomial, fair_coin_p_value};
use super::bootstrap::{Resampling, add_replicates, two_indices};
use super::interval::{Interval, percentile_interval};
use super::normal::normal_p_value;
use super::sample::{PillarSample, SampleError, Scale, Stratum, TaskSample, aggregate_score, pillar_shares};

/// The first model's score minus the second's, in points, and the two-sided p-value of no difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// First minus second.
    pub points: f64,
    /// Standard error, the two added items of each task included ([`aggregate_difference`]); `None` where a stratum has a single item.
    pub stderr: Option<f64>,
    /// Two-sided p-value; 1 where the items cannot say.
    pub p_value: f64,
}

impl Difference {
    /// With the p-value of a z-test; 1 where there is no standard error, or none above 0.
    #[must_use]
    pub fn new(points: f64, stderr: Option<f64>) -> Self {
        let p_value = stderr.filter(|stderr| *stderr > 0.0).map_or(1.0, |stderr| normal_p_value(points / stderr));
        Self { points, stderr, p_value }
    }
}

/// A [`Difference`] with its uncertainty, and the items on which the models part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// First minus second, in points.
    pub points: f64,
    /// Standard error of the paired difference; `None` where a stratum has a single item.
    pub stderr: Option<f64>,
    /// 95 % percentile interval of the paired bootstrap.
    pub ci95: Option<Interval>,
    /// Two-sided p-value: McNemar's exact one for right-or-wrong items scored in percent, else that of [`aggregate_difference`].
    pub p_value: f64,
    /// Items that only the first, and only the second model got right; `None` where items are not right or wrong, or for several tasks.
    pub flips: Option<(u64, u64)>,
}

/// What [`compare_models`] gives, in the order of its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelComparison {
    /// Each pillar's tasks. Read several tasks' p-values through [`super::holm`].
    pub tasks: Vec<Vec<Comparison>>,
    /// Each pillar.
    pub pillars: Vec<Comparison>,
    /// The aggregate; `None` without pillars.
    pub aggregate: Option<Comparison>,
}

/// McNemar's exact test: the two-sided p-value that `only_first` and `only_second` come from a fair coin
/// (`statsmodels.stats.contingency_tables.mcnemar(exact=True)`). Items that both or neither got right do not enter.
#[must_use]
pub fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    fair_coin_p_value(only_first, only_first + only_second)
}

/// The difference of two models' aggregates with the p-value of a z-test on the paired items: fast enough for every pair of 1,000 models, and
/// not limited by the number of replicates. Each task gets two items more, one won by either model, so that a handful of items on
/// which the models happen to part alike is not taken for certainty (after Agresti and Min 2005).
///
/// # Errors
/// [`SampleError::NotPaired`] when pillars, tasks, strata or numbers of items differ.
pub fn aggregate_difference(first: &[PillarSample], second: &[PillarSample]) -> Result<Difference, SampleError> {
    let mut moments = Moments::default();
    each_pair(first, second, |share, a, b| moments.add(share, &task_moments(a, b)))?;
    let points = aggregate_score(first).zip(aggregate_score(second)).map_or(0.0, |(a, b)| a - b);
    Ok(moments.difference(points))
}

/// Task by task, pillar by pillar and in the aggregate: the difference of two models, its standard error, 95 % interval and p-value.
///
/// # Errors
/// [`SampleError::NotPaired`] when pillars, tasks, strata or numbers of items differ.
pub fn compare_models(first: &[PillarSample], second: &[PillarSample], resampling: Resampling) -> Result<ModelComparison, SampleError> {
    let mut pairs = Vec::new();
    each_pair(first, second, |_, a, b| pairs.push((a, b)))?;
    let drawn: Vec<DrawnPair> = pairs.par_iter().map(|(a, b)| DrawnPair::new(a, b, resampling)).collect();

    let mut drawn = drawn.iter();
    let mut comparison = ModelComparison { tasks: Vec::new(), pillars: Vec::new(), aggregate: None };
    let mut aggregate = DrawnSum::new(resampling.replicates);
    for ((a, b), share) in first.iter().zip(second).zip(pillar_shares(first)) {
        let tasks: Vec<&DrawnPair> = drawn.by_ref().take(a.tasks().len()).collect();
        let mut pillar = DrawnSum::new(resampling.replicates);
        for task in &tasks {
            pillar.add(1.0 / tasks.len() as f64, &task.differences, &task.moments);
        }
        aggregate.add(share, &pillar.differences, &pillar.moments);
        comparison.tasks.push(tasks.iter().map(|task| task.comparison).collect());
        comparison.pillars.push(pillar.comparison(a.score() - b.score()));
    }
    comparison.aggregate = aggregate_score(first).zip(aggregate_score(second)).map(|(a, b)| aggregate.comparison(a - b));
    Ok(comparison)
}

/// Calls with each task's share of the aggregate and both models' items, or tells what is not paired.
fn each_pair<'a>(
    first: &'a [PillarSample],
    second: &'a [PillarSample],
    mut call: impl FnMut(f64, &'a TaskSample, &'a TaskSample),
) -> Result<(), SampleError> {
    let differs = |place: &str| Err(SampleError::NotPaired { place: place.to_owned() });
    if first.len() != second.len() {
        return differs("the number of pillars");
    }
    for ((a, b), share) in first.iter().zip(second).zip(pillar_shares(first)) {
        #[expect(clippy::float_cmp, reason = "weights come from one table")]
        if a.tasks().len() != b.tasks().len() || a.weight() != b.weight() {
            return differs("the list of tasks or the weight of a pillar");
        }
        for (a_task, b_task) in a.tasks().iter().zip(b.tasks()) {
            let sizes = |task: &TaskSample| task.strata().iter().map(Stratum::items).collect::<Vec<_>>();
            if a_task.name() != b_task.name() {
                return differs(&format!("task `{}` is beside `{}`: the order of tasks", a_task.name(), b_task.name()));
            }
            if a_task.scale() != b_task.scale() || sizes(a_task) != sizes(b_task) {
                return differs(&format!("the number of items of task `{}`", a_task.name()));
            }
            call(share / a.tasks().len() as f64, a_task, b_task);
        }
    }
    Ok(())
}

/// Variance of a difference of scores, and what the two added items of each task add to it.
#[derive(Debug, Clone, Copy)]
struct Moments {
    variance: Option<f64>,
    added: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { variance: Some(0.0), added: 0.0 }
    }
}

impl Moments {
    fn add(&mut self, share: f64, part: &Self) {
        self.variance = self.variance.zip(part.variance).map(|(sum, variance)| sum + share * share * variance);
        self.added += share * share * part.added;
    }

    /// Of the difference, the added items included.
    fn stderr(&self) -> Option<f64> {
        self.variance.map(|variance| (variance + self.added).sqrt())
    }

    fn difference(&self, points: f64) -> Difference {
        Difference::new(points, self.stderr())
    }
}

fn task_moments(first: &TaskSample, second: &TaskSample) -> Moments {
    let (slope_first, slope_second) = (first.scale().slope(first.mean()), second.scale().slope(second.mean()));
    let mut variance = 0.0;
    for (a, b) in first.strata().iter().zip(second.strata()) {
        if a.items() < 2 {
            return Moments { variance: None, added: 0.0 };
        }
        let of_items = slope_first * slope_first * a.variance() + slope_second * slope_second * b.variance()
            - 2.0 * slope_first * slope_second * a.covariance(b);
        // Rounding must not turn equal answers into a negative variance.
        variance += first.share(a) * first.share(a) * of_items.max(0.0) / a.items() as f64;
    }
    let per_item = slope_first / first.items() as f64;
    Moments { variance: Some(variance), added: 2.0 * per_item * per_item }
}

struct DrawnPair {
    differences: Vec<f64>,
    moments: Moments,
    comparison: Comparison,
}

impl DrawnPair {
    fn new(first: &TaskSample, second: &TaskSample, resampling: Resampling) -> Self {
        let differences = replicate_differences(first, second, resampling);
        let moments = task_moments(first, second);
        let points = first.score() - second.score();
        let flips = flips(first, second);
        let p_value = match flips {
            Some((only_first, only_second)) if first.scale() == Scale::Percent => mcnemar(only_first, only_second),
            _ => moments.difference(points).p_value,
        };
        let stderr = moments.variance.map(f64::sqrt);
        let ci95 = stderr.and_then(|_| percentile_interval(&mut differences.clone()));
        Self { differences, moments, comparison: Comparison { points, stderr, ci95, p_value, flips } }
    }
}

fn flips(first: &TaskSample, second: &TaskSample) -> Option<(u64, u64)> {
    let mut total = (0, 0);
    for (a, b) in first.strata().iter().zip(second.strata()) {
        let (only_first, only_second) = a.discordant(b)?;
        total = (total.0 + only_first, total.1 + only_second);
    }
    Some(total)
}

struct DrawnSum {
    differences: Vec<f64>,
    moments: Moments,
}

impl DrawnSum {
    fn new(replicates: usize) -> Self {
        Self { differences: vec![0.0; replicates], moments: Moments::default() }
    }

    fn add(&mut self, share: f64, differences: &[f64], moments: &Moments) {
        for (sum, difference) in self.differences.iter_mut().zip(differences) {
            *sum += share * difference;
        }
        self.moments.add(share, moments);
    }

    fn comparison(&mut self, points: f64) -> Comparison {
        let stderr = self.moments.variance.map(f64::sqrt);
        let ci95 = stderr.and_then(|_| percentile_interval(&mut self.differences));
        Comparison { points, stderr, ci95, p_value: self.moments.difference(points).p_value, flips: None }
    }
}

/// The difference of the task's scores in each replicate: both models on the same drawn items, n − 1 of each stratum's n.
fn replicate_differences(first: &TaskSample, second: &TaskSample, resampling: Resampling) -> Vec<f64> {
    let mut random = resampling.random(first.name());
    let mut means = vec![[0.0; 2]; resampling.replicates];
    for (a, b) in first.strata().iter().zip(second.strata()) {
        let share = first.share(a);
        let draws = a.items() - 1;
        if draws == 0 {
            for [first, second] in &mut means {
                *first += share * a.mean();
                *second += share * b.mean();
            }
        } else if let (Some(flips), Scale::Percent) = (a.discordant(b), first.scale()) {
            // Only the difference counts, so the first model's mean may carry all of it.
            let mut table = Trinomial::new(draws as u64, flips, a.items() as u64);
            for [difference, _] in &mut means {
                *difference += share * table.draw(&mut random) / draws as f64;
            }
        } else if let (Some(a), Some(b)) = (a.values(), b.values()) {
            for [first, second] in &mut means {
                let sums = resampled_sums(&a, &b, draws, &mut random);
                *first += share * sums[0] / draws as f64;
                *second += share * sums[1] / draws as f64;
            }
        } else if a.summarised_stderr().or(b.summarised_stderr()).is_some() {
            for (side, stratum) in [a, b].into_iter().enumerate() {
                let mut drawn = vec![0.0; means.len()];
                add_replicates(stratum, share, &mut random, &mut drawn);
                means.iter_mut().zip(drawn).for_each(|(pair, mean)| pair[side] += mean);
            }
        } else {
            let [table_a, table_b] = [a, b].map(|stratum| Binomial::new(draws as u64, stratum.mean()));
            for [first, second] in &mut means {
                *first += share * table_a.draw(&mut random) as f64 / draws as f64;
                *second += share * table_b.draw(&mut random) as f64 / draws as f64;
            }
        }
    }
    let scale = first.scale();
    match scale {
        Scale::Percent => means.iter().map(|[a, b]| 100.0 * (a - b)).collect(),
        Scale::Balance => means.iter().map(|&[a, b]| scale.score(a) - scale.score(b)).collect(),
    }
}

fn resampled_sums(first: &[f64], second: &[f64], draws: usize, random: &mut Mt64) -> [f64; 2] {
    let mut sums = [0.0; 2];
    let mut left = draws;
    while left > 0 {
        for index in two_indices(first.len(), random).into_iter().take(left) {
            sums[0] += first[index];
            sums[1] += second[index];
        }
        left = left.saturating_sub(2);
    }
    sums
}

/// Draws the number of items that only the first model got right minus the number that only the second did. The second number is binomial
/// given the first, so there is one table for each first number that comes up, made when it does.
struct Trinomial {
    draws: u64,
    only_first: Binomial,
    second_given_not_first: f64,
    tables: std::collections::HashMap<u64, Binomial>,
}

impl Trinomial {
    fn new(draws: u64, (only_first, only_second): (u64, u64), items: u64) -> Self {
        let not_first = (items - only_first).max(1);
        Self {
            draws,
            only_first: Binomial::new(draws, only_first as f64 / items as f64),
            second_given_not_first: only_second as f64 / not_first as f64,
            tables: std::collections::HashMap::new(),
        }
    }

    fn draw(&mut self, random: &mut Mt64) -> f64 {
        let first = self.only_first.draw(random);
        let remaining = self.draws - first;
        let table = self.tables.entry(first).or_insert_with(|| Binomial::new(remaining, self.second_given_not_first));
        first as f64 - table.draw(random) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling { replicates: 10_000, seed: 1234 };

    fn pillar(scale: Scale, strata: &[&[f64]]) -> Vec<PillarSample> {
        let strata = strata.iter().map(|values| Stratum::from_values(values)).collect();
        vec![PillarSample::new(1.0, vec![TaskSample::new("task", scale, strata).unwrap()]).unwrap()]
    }

    fn answers(step: u32, modulus: u32) -> Vec<f64> {
        (0..40).map(|i| f64::from(u8::from(i * step % modulus < 6))).collect()
    }

    /// `statsmodels.stats.contingency_tables.mcnemar([[5, b], [c, 7]], exact=True).pvalue`, statsmodels 0.15.0 (1 where b = c = 0).
    #[test]
    fn mcnemar_equals_statsmodels() {
        for (only_first, only_second, expected) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (5, 1, 0.218_75),
            (3, 3, 1.0),
            (10, 25, 0.016_673_847_800_120_715),
            (120, 180, 0.000_634_220_006_928_356_6),
            (2000, 2600, 9.221_221_076_769_678e-19),
            (0, 900, 2.366_104_372_333_549_4e-271),
        ] {
            let got = mcnemar(only_first, only_second);
            assert!((got - expected).abs() <= 1e-10 * expected, "{only_first}, {only_second}: {got} is not {expected}");
        }
    }

    /// Two models on the same 40 items in strata of 25 and 15. With `d` their differences (numpy 2.4.6, scipy 1.17.1):
    /// interval `numpy.percentile(100 * (25/40 * rng.choice(d[:25], (400_000, 24)).mean(1) + 15/40 * rng.choice(d[25:], (400_000, 14)).mean(1)),
    /// [2.5, 97.5])`, p-values by `mcnemar` of statsmodels and `2 * scipy.stats.norm.sf(5 / sqrt(stderr**2 + 2 * (100/40)**2))`.
    #[test]
    fn a_paired_task_equals_numpy_scipy_and_statsmodels() {
        let (a, b) = (answers(7, 11), answers(5, 13));
        let models = [&a, &b].map(|values| pillar(Scale::Percent, &[&values[..25], &values[25..]]));
        let comparison = compare_models(&models[0], &models[1], RESAMPLING).unwrap();
        let task = comparison.tasks[0][0];
        assert_eq!(task.flips, Some((10, 8)));
        assert!((task.points - 5.0).abs() < 1e-12);
        assert!((task.stderr.unwrap() - 10.845_917_599_328_725).abs() < 1e-12);
        assert!((task.p_value - 0.814_529_418_945_312_5).abs() < 1e-12);
        let interval = task.ci95.unwrap();
        assert!((interval.low + 15.92).abs() < 0.8 && (interval.high - 26.26).abs() < 0.8, "{interval:?}");

        let aggregate = comparison.aggregate.unwrap();
        assert!((aggregate.p_value - 0.661_166_438_835_412_9).abs() < 1e-10);
        let fast = aggregate_difference(&models[0], &models[1]).unwrap();
        assert_eq!((fast.points, fast.p_value), (aggregate.points, aggregate.p_value));
        assert_eq!(aggregate.ci95, task.ci95);
    }

    /// `100 * d.std(ddof=1) / sqrt(50)` and `numpy.percentile(100 * rng.choice(d, (400_000, 49)).mean(1), [2.5, 97.5])`, numpy 2.4.6.
    #[test]
    fn real_values_are_paired_too() {
        let a: Vec<f64> = (0..50).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let b: Vec<f64> = (0..50).map(|i| f64::from(i * 29 % 97) / 97.0).collect();
        let task = compare_models(&pillar(Scale::Percent, &[&a]), &pillar(Scale::Percent, &[&b]), RESAMPLING).unwrap().tasks[0][0];
        assert!((task.points + 0.949_474_328_876_186_9).abs() < 1e-12);
        assert!((task.stderr.unwrap() - 5.263_938_703_143_09).abs() < 1e-12);
        let interval = task.ci95.unwrap();
        assert!((interval.low + 11.31).abs() < 0.4 && (interval.high - 9.30).abs() < 0.4, "{interval:?}");
        assert_eq!(task.flips, None);
    }

    /// A model against itself: no difference, no significance, whatever the scale.
    #[test]
    fn a_model_does_not_differ_from_itself() {
        for scale in [Scale::Percent, Scale::Balance] {
            let model = pillar(scale, &[&answers(7, 11)]);
            let aggregate = compare_models(&model, &model, RESAMPLING).unwrap().aggregate.unwrap();
            assert_eq!((aggregate.points, aggregate.stderr, aggregate.p_value), (0.0, Some(0.0), 1.0));
            assert_eq!(aggregate.ci95, Some(Interval { low: 0.0, high: 0.0 }));
        }
    }

    /// Two balances on either side of one half, from joint draws: the standard error agrees with the spread of the replicates.
    #[test]
    fn balances_on_both_sides_are_compared_by_their_own_slopes() {
        let low: Vec<f64> = (0..1500).map(|i| f64::from(u8::from(i * 7 % 10 < 3))).collect();
        let high: Vec<f64> = (0..1500).map(|i| f64::from(u8::from(i * 3 % 10 < 6))).collect();
        let aggregate =
            compare_models(&pillar(Scale::Balance, &[&low]), &pillar(Scale::Balance, &[&high]), RESAMPLING).unwrap().aggregate.unwrap();
        let interval = aggregate.ci95.unwrap();
        assert!((aggregate.points + 20.0).abs() < 1e-9);
        assert!(((interval.high - interval.low) / (2.0 * 1.96 * aggregate.stderr.unwrap()) - 1.0).abs() < 0.03);
    }

    /// Two items on which the models part alike are not significant, four hundred are.
    #[test]
    fn a_handful_of_items_is_no_certainty() {
        let difference =
            |n: usize| aggregate_difference(&pillar(Scale::Percent, &[&vec![1.0; n]]), &pillar(Scale::Percent, &[&vec![0.0; n]]));
        assert!(difference(2).unwrap().p_value > 0.1);
        assert!(difference(400).unwrap().p_value < 1e-10);
    }

    /// The same bits in debug and release builds and on every machine: published files are compared byte for byte.
    #[test]
    fn results_are_the_same_bits_everywhere() {
        let real: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let [a, b] = [(7, 11), (5, 13)].map(|(step, modulus)| {
            let mixed = [answers(step, modulus), real[..40].to_vec()].concat();
            let tasks = vec![
                TaskSample::new("one", Scale::Percent, vec![Stratum::from_values(&answers(step, modulus))]).unwrap(),
                TaskSample::new("two", Scale::Balance, vec![Stratum::from_values(&answers(step, modulus + 3))]).unwrap(),
                TaskSample::new("three", Scale::Percent, vec![Stratum::from_values(&real), Stratum::from_values(&mixed)]).unwrap(),
            ];
            vec![PillarSample::new(35.0, tasks).unwrap()]
        });
        let aggregate = super::super::estimate_scores(&a, RESAMPLING).aggregate.unwrap();
        let comparison = compare_models(&a, &b, RESAMPLING).unwrap().aggregate.unwrap();
        let (scores, difference) = (aggregate.ci95.unwrap(), comparison.ci95.unwrap());
        let figures = [scores.low, scores.high, aggregate.stderr.unwrap(), difference.low, difference.high, comparison.p_value];
        let expected = [
            54.018_064_547_584_245,
            70.449_710_927_631_61,
            6.002_152_293_368_297,
            -7.812_862_243_241_989,
            17.707_608_846_849_35,
            0.324_930_802_459_332_37,
        ];
        assert_eq!(figures.map(f64::to_bits), expected.map(f64::to_bits), "{figures:?}");
    }

    /// Different questions are refused by name.
    #[test]
    fn unpaired_models_are_refused() {
        let ten = pillar(Scale::Percent, &[&[1.0; 10]]);
        let nine = pillar(Scale::Percent, &[&[1.0; 9]]);
        let error = aggregate_difference(&ten, &nine).unwrap_err();
        assert_eq!(error.to_string(), "the two models cannot be compared item by item: the number of items of task `task` differs");
        assert!(compare_models(&ten, &[], RESAMPLING).is_err());
    }
}
