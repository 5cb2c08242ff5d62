//! Intervals of task, pillar and aggregate by one stratified bootstrap over items.
//!
//! In each replicate every stratum is drawn again from its own items, with replacement, and the scores are computed as from the real items.
//! From n items n − 1 are drawn (Rao and Wu 1988), which makes the variance of the replicates equal the square of the standard error;
//! drawing n would make the intervals of small strata too short. For right-or-wrong items the number right among the draws is binomial,
//! so it is drawn at once. The random numbers depend on the seed and the task's name alone.

use rand_mt::Mt64;
use rayon::prelude::*;

use super::binomial::Binomial;
use super::interval::{Interval, percentile_interval, wilson_interval};
use super::sample::{PillarSample, Scale, Stratum, TaskSample, aggregate_score, pillar_shares};

/// Coins whose number of heads stands for a normal number, in steps of 0.02 standard deviations: the same bits on every machine, which
/// logarithms would not promise.
const COINS: u64 = 10_000;

/// How often to resample, and from which random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// Number of replicates.
    pub replicates: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for Resampling {
    /// What is published: 10,000 replicates of seed 1234.
    fn default() -> Self {
        Self { replicates: 10_000, seed: 1234 }
    }
}

impl Resampling {
    /// Random numbers of their own for each task.
    pub(super) fn random(self, task: &str) -> Mt64 {
        Mt64::new_with_key(std::iter::once(self.seed).chain(task.bytes().map(u64::from)))
    }
}

/// A score in [0, 100] with its uncertainty in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The score of all items as they are.
    pub score: f64,
    /// Standard error, computed from the items' variance; `None` where a stratum has a single item.
    pub stderr: Option<f64>,
    /// 95 % interval; `None` where nothing is known about the variance.
    pub ci95: Option<Interval>,
}

/// What [`estimate_scores`] gives, in the order of its argument.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreEstimates {
    /// Each pillar's tasks.
    pub tasks: Vec<Vec<Estimate>>,
    /// Each pillar.
    pub pillars: Vec<Estimate>,
    /// The weighted mean of the pillars; `None` without pillars.
    pub aggregate: Option<Estimate>,
}

/// Scores, standard errors and 95 % intervals of a model's tasks, pillars and aggregate.
///
/// A task's interval is Wilson's where it is one proportion, else the percentile interval of the bootstrap; pillar and aggregate have the
/// percentile interval. A task whose items all went the same way has no spread to resample, and is no certainty: its own interval is joined
/// to the draws of the others as an independent part (MOVER: Zou and Donner 2008, *Statistics in Medicine* 27). The intervals are about the model on questions like these: the items are a sample of what could have been asked.
#[must_use]
pub fn estimate_scores(pillars: &[PillarSample], resampling: Resampling) -> ScoreEstimates {
    let drawn: Vec<Vec<Drawn>> =
        pillars.par_iter().map(|pillar| pillar.tasks().par_iter().map(|task| Drawn::new(task, resampling)).collect()).collect();
    let tasks = drawn.iter().map(|tasks| tasks.iter().map(|task| task.estimate).collect()).collect();

    let mut aggregate = Pooled::new(resampling.replicates);
    let mut pillar_estimates = Vec::with_capacity(pillars.len());
    for ((pillar, drawn), share) in pillars.iter().zip(&drawn).zip(pillar_shares(pillars)) {
        let mut pooled = Pooled::new(resampling.replicates);
        for task in drawn {
            pooled.add(1.0 / drawn.len() as f64, &task.scores, &task.estimate);
        }
        aggregate.add_pooled(share, &pooled);
        pillar_estimates.push(pooled.estimate(pillar.score()));
    }
    let aggregate = aggregate_score(pillars).map(|score| aggregate.estimate(score));
    ScoreEstimates { tasks, pillars: pillar_estimates, aggregate }
}

/// The estimate of one task alone; equal to the one inside [`estimate_scores`].
#[must_use]
pub fn estimate_task(task: &TaskSample, resampling: Resampling) -> Estimate {
    Drawn::new(task, resampling).estimate
}

struct Drawn {
    scores: Vec<f64>,
    estimate: Estimate,
}

impl Drawn {
    fn new(task: &TaskSample, resampling: Resampling) -> Self {
        let means = replicate_means(task, resampling);
        let scores = means.iter().map(|&mean| task.scale().score(mean)).collect();
        let ci95 = match task.strata() {
            [stratum] if stratum.correct().is_some() => wilson_interval(stratum.correct().unwrap_or(0), stratum.items() as u64),
            _ if task.mean_variance().is_none() => None,
            // Nothing to resample: every item of every stratum went the same way.
            strata if task.mean_variance() == Some(0.0) && strata.iter().all(|stratum| stratum.correct().is_some()) => {
                wilson_interval(strata.iter().filter_map(Stratum::correct).sum(), task.items() as u64)
            }
            _ => percentile_interval(&mut { means }),
        };
        let ci95 = ci95.map(|interval| interval_of_score(interval, task.scale()));
        Self { scores, estimate: Estimate { score: task.score(), stderr: task.stderr(), ci95 } }
    }
}

/// The scores that the means of an interval have.
fn interval_of_score(means: Interval, scale: Scale) -> Interval {
    let (a, b) = (scale.score(means.low), scale.score(means.high));
    let high = if scale == Scale::Balance && means.contains(0.5) { 100.0 } else { a.max(b) };
    Interval { low: a.min(b), high }
}

/// A weighted sum of independent parts: replicate by replicate, its variance, and for tasks without any spread the squared distances to the
/// lower and upper end of their own intervals.
struct Pooled {
    replicates: Vec<f64>,
    variance: Option<f64>,
    unspread: [f64; 2],
}

impl Pooled {
    fn new(replicates: usize) -> Self {
        Self { replicates: vec![0.0; replicates], variance: Some(0.0), unspread: [0.0; 2] }
    }

    fn add(&mut self, share: f64, scores: &[f64], estimate: &Estimate) {
        let spread = estimate.stderr.is_none_or(|stderr| stderr > 0.0);
        let unspread = estimate.ci95.filter(|_| !spread).map_or([0.0; 2], |ci95| {
            let (below, above) = ((estimate.score - ci95.low).max(0.0), (ci95.high - estimate.score).max(0.0));
            [below * below, above * above]
        });
        self.add_part(share, scores, estimate.stderr.map(|stderr| stderr * stderr), unspread);
    }

    fn add_pooled(&mut self, share: f64, part: &Self) {
        self.add_part(share, &part.replicates, part.variance, part.unspread);
    }

    fn add_part(&mut self, share: f64, scores: &[f64], variance: Option<f64>, unspread: [f64; 2]) {
        for (sum, score) in self.replicates.iter_mut().zip(scores) {
            *sum += share * score;
        }
        self.variance = self.variance.zip(variance).map(|(sum, variance)| sum + share * share * variance);
        for (sum, part) in self.unspread.iter_mut().zip(unspread) {
            *sum += share * share * part;
        }
    }

    fn estimate(&self, score: f64) -> Estimate {
        // The draws of the tasks with a spread are one part of the interval, every task without one is another.
        let further = |distance: f64, unspread: f64| if unspread > 0.0 { (distance * distance + unspread).sqrt() } else { distance };
        let [below, above] = self.unspread;
        let ci95 = self.variance.and_then(|_| percentile_interval(&mut self.replicates.clone())).map(|drawn| Interval {
            // Rounding, and means drawn as normal numbers, may step over the ends of the scale.
            low: (score - further(score - drawn.low, below)).max(0.0),
            high: (score + further(drawn.high - score, above)).min(100.0),
        });
        Estimate { score, stderr: self.variance.map(f64::sqrt), ci95 }
    }
}

/// The task's mean over items in each replicate.
fn replicate_means(task: &TaskSample, resampling: Resampling) -> Vec<f64> {
    let mut random = resampling.random(task.name());
    let mut means = vec![0.0; resampling.replicates];
    for stratum in task.strata() {
        add_replicates(stratum, task.share(stratum), &mut random, &mut means);
    }
    means
}

pub(super) fn add_replicates(stratum: &Stratum, share: f64, random: &mut Mt64, means: &mut [f64]) {
    let draws = stratum.items() - 1;
    if draws == 0 {
        for mean in means {
            *mean += share * stratum.mean();
        }
    } else if let Some(stderr) = stratum.summarised_stderr() {
        let coins = Binomial::new(COINS, 0.5);
        let (centre, deviation) = (COINS as f64 / 2.0, (COINS as f64).sqrt() / 2.0);
        for mean in means {
            *mean += share * (stratum.mean() + stderr * (coins.draw(random) as f64 - centre) / deviation);
        }
    } else if let Some(values) = stratum.real_values() {
        for mean in means {
            *mean += share * resampled_sum(values, draws, random) / draws as f64;
        }
    } else {
        let table = Binomial::new(draws as u64, stratum.mean());
        for mean in means {
            *mean += share * table.draw(random) as f64 / draws as f64;
        }
    }
}

fn resampled_sum(values: &[f64], draws: usize, random: &mut Mt64) -> f64 {
    let mut sums = [0.0; 2];
    for _ in 0..draws / 2 {
        let [first, second] = two_indices(values.len(), random);
        sums[0] += values[first];
        sums[1] += values[second];
    }
    if draws % 2 == 1 {
        sums[0] += values[two_indices(values.len(), random)[0]];
    }
    sums[0] + sums[1]
}

/// Two indices below n from one draw, each from 32 of its bits; for n below a million no index is favoured by more than 1 in 4,000.
pub(super) fn two_indices(n: usize, random: &mut Mt64) -> [usize; 2] {
    let word = random.next_u64();
    [word >> 32, word & 0xffff_ffff].map(|bits| ((bits * n as u64) >> 32) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling { replicates: 10_000, seed: 1234 };

    fn task(name: &str, strata: Vec<Stratum>) -> TaskSample {
        TaskSample::new(name, Scale::Percent, strata).unwrap()
    }

    fn counts(correct: u64, total: u64) -> Stratum {
        Stratum::from_counts(correct, total).unwrap()
    }

    fn close(got: Interval, low: f64, high: f64, tolerance: f64) {
        assert!((got.low - low).abs() < tolerance && (got.high - high).abs() < tolerance, "{got:?} is not {low} to {high}");
    }

    /// Right-or-wrong items drawn by the binomial table, and one by one, give the interval of the exact resampling distribution:
    /// `100 * scipy.stats.binom.ppf([.025, .975], 399, 92 / 400) / 399`, scipy 1.17.1.
    #[test]
    fn drawing_counts_equals_drawing_items() {
        let (low, high) = BINOMIAL_INTERVAL;
        let mut means = replicate_means(&task("t", vec![counts(92, 400)]), RESAMPLING);
        close(percentile_interval(&mut means).unwrap(), low / 100.0, high / 100.0, 0.004);

        let values: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i < 92))).collect();
        let mut random = Mt64::new(1);
        let mut means: Vec<f64> = (0..10_000).map(|_| resampled_sum(&values, 399, &mut random) / 399.0).collect();
        close(percentile_interval(&mut means).unwrap(), low / 100.0, high / 100.0, 0.004);
    }

    /// `x = [(i * 37 % 101) / 101 for i in range(60)]; rng = numpy.random.default_rng(0);
    /// numpy.percentile(rng.choice(x, (400_000, 59)).mean(1) * 100, [2.5, 97.5])`, numpy 2.4.6.
    #[test]
    fn real_values_have_the_interval_of_numpys_resampling() {
        let values: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let estimate = estimate_task(&task("t", vec![Stratum::from_values(&values)]), RESAMPLING);
        let (low, high) = REAL_INTERVAL;
        close(estimate.ci95.unwrap(), low, high, 0.25);
        assert!((estimate.stderr.unwrap() - 100.0 * super::super::mean_stderr(&values).unwrap()).abs() < 1e-12);
    }

    /// Pillar and aggregate intervals are as wide as the standard errors of independent tasks demand, strata kept apart.
    #[test]
    fn uncertainty_propagates_to_pillar_and_aggregate() {
        let subjects = (0..57).map(|subject| counts(20 + subject, 100)).collect();
        let reasoning = PillarSample::new(35.0, vec![task("mmlu", subjects), task("arc", vec![counts(300, 1172)])]).unwrap();
        let coding = PillarSample::new(20.0, vec![task("humaneval", vec![counts(30, 164)])]).unwrap();
        let estimates = estimate_scores(&[reasoning, coding], RESAMPLING);

        let stderr = |correct: f64, n: f64| 10_000.0 * (correct / n) * (1.0 - correct / n) / (n - 1.0);
        let mmlu = (0..57).map(|subject| stderr(20.0 + f64::from(subject), 100.0)).sum::<f64>() / (57.0 * 57.0);
        let reasoning = ((mmlu + stderr(300.0, 1172.0)) / 4.0).sqrt();
        let coding = stderr(30.0, 164.0).sqrt();
        let aggregate = ((35.0 * reasoning).powi(2) + (20.0 * coding).powi(2)).sqrt() / 55.0;
        let of_aggregate = estimates.aggregate.unwrap();
        for (estimate, stderr) in [(estimates.pillars[0], reasoning), (estimates.pillars[1], coding), (of_aggregate, aggregate)] {
            assert!((estimate.stderr.unwrap() - stderr).abs() < 1e-12);
            let interval = estimate.ci95.unwrap();
            assert!(((interval.high - interval.low) / (2.0 * 1.96 * stderr) - 1.0).abs() < 0.06, "{estimate:?}");
            assert!(interval.contains(estimate.score));
        }
        let score = (35.0 * (48.0 + 100.0 * 300.0 / 1172.0) / 2.0 + 20.0 * 100.0 * 30.0 / 164.0) / 55.0;
        assert!((of_aggregate.score - score).abs() < 1e-12);
    }

    /// The same items give the same bits, and another task beside them changes nothing.
    #[test]
    fn a_tasks_interval_depends_on_its_own_items_only() {
        let arc = task("arc", vec![counts(30, 100), counts(50, 80)]);
        let alone = estimate_task(&arc, RESAMPLING);
        let other = task("other", vec![counts(7, 9)]);
        let pillar = PillarSample::new(1.0, vec![other, arc]).unwrap();
        assert_eq!(estimate_scores(&[pillar], RESAMPLING).tasks[0][1], alone);
    }

    /// The balance score turns at one half: an interval of the mean across it reaches 100, and never beyond.
    #[test]
    fn balance_intervals_reach_but_never_pass_the_peak() {
        let balanced = TaskSample::new("crows", Scale::Balance, vec![counts(760, 1508)]).unwrap();
        let interval = estimate_task(&balanced, RESAMPLING).ci95.unwrap();
        assert!(interval.contains(balanced.score()) && interval.high > 99.999 && interval.low > 90.0, "{interval:?}");
        let skewed = TaskSample::new("crows", Scale::Balance, vec![counts(1000, 1508)]).unwrap();
        let interval = estimate_task(&skewed, RESAMPLING).ci95.unwrap();
        assert!(interval.contains(skewed.score()) && interval.high < 75.0, "{interval:?}");
    }

    /// Mean and standard error alone give the interval that the items give, and means outside of [0, 1] are cut off.
    #[test]
    fn moments_stand_for_the_items() {
        let values: Vec<f64> = (0..600).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let stratum = |values: &[f64]| {
            let (mean, stderr) = (super::super::mean(values).unwrap(), super::super::mean_stderr(values).unwrap());
            Stratum::from_moments(mean, stderr, values.len())
        };
        let items = estimate_task(&task("t", vec![Stratum::from_values(&values)]), RESAMPLING);
        let moments = estimate_task(&task("t", vec![stratum(&values)]), RESAMPLING);
        assert!((items.score - moments.score).abs() < 1e-9 && (items.stderr.unwrap() - moments.stderr.unwrap()).abs() < 1e-9);
        let interval = items.ci95.unwrap();
        close(moments.ci95.unwrap(), interval.low, interval.high, 0.15);
        let low = PillarSample::new(1.0, vec![task("t", vec![stratum(&[0.0, 0.0, 0.0, 0.2])])]).unwrap();
        assert_eq!(estimate_scores(&[low], RESAMPLING).pillars[0].ci95.unwrap().low.to_bits(), 0.0_f64.to_bits());
    }

    /// No right answer at all leaves the resampling nothing to draw; the interval still says how little is known.
    #[test]
    fn no_spread_is_no_certainty() {
        let wilson = wilson_interval(0, 4).unwrap().high * 100.0;
        let pillar = |tasks| PillarSample::new(1.0, tasks).unwrap();
        let single = estimate_scores(&[pillar(vec![task("t", vec![counts(0, 4)])])], RESAMPLING);
        close(single.aggregate.unwrap().ci95.unwrap(), 0.0, wilson, 1e-9);
        let two = estimate_scores(&[pillar(vec![task("t", vec![counts(0, 4)]), task("u", vec![counts(4, 4)])])], RESAMPLING);
        let half = wilson / 2.0;
        close(two.pillars[0].ci95.unwrap(), 50.0 - half, 50.0 + half, 1e-9);
        let strata = estimate_task(&task("mmlu", vec![counts(0, 4), counts(0, 6)]), RESAMPLING);
        close(strata.ci95.unwrap(), 0.0, wilson_interval(0, 10).unwrap().high * 100.0, 1e-9);
    }

    /// One item says nothing about its variance: no standard error is invented, and all right is not certainty.
    #[test]
    fn little_data_gives_wide_intervals_or_none() {
        let single = estimate_task(&task("t", vec![counts(1, 1)]), RESAMPLING);
        assert_eq!(single.stderr, None);
        assert!(single.ci95.unwrap().low < 21.0);
        assert_eq!(estimate_task(&task("t", vec![Stratum::from_values(&[0.3])]), RESAMPLING).ci95, None);

        let all_right = estimate_task(&task("t", vec![counts(10, 10)]), RESAMPLING);
        assert!(all_right.ci95.unwrap().low < 73.0);

        // One item in each of 57 strata: joined, the variance is known.
        let joined = task("mmlu", (0..57).map(|i| counts(i % 2, 1)).collect());
        assert!(estimate_task(&joined, RESAMPLING).stderr.is_some());
    }

    const BINOMIAL_INTERVAL: (f64, f64) = (19.047_619_047_619_047, 27.067_669_172_932_33);
    const REAL_INTERVAL: (f64, f64) = (41.617_721_094_143_32, 56.385_299_546_903_845);
}
