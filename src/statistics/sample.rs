//! What was observed: the items of a task, of a pillar, and so of a model. The bootstrap and the paired tests work on these.

use thiserror::Error;

/// Why observations cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SampleError {
    /// A task without a single item.
    #[error("task `{task}` has no items")]
    NoItems {
        /// The task's name.
        task: String,
    },
    /// An item's value is NaN or infinite.
    #[error("task `{task}` has a value that is not a finite number")]
    NotFinite {
        /// The task's name.
        task: String,
    },
    /// More items counted as right than there are.
    #[error("a stratum counts {correct} right answers among {total} items")]
    TooManyCorrect {
        /// Items counted as right.
        correct: u64,
        /// All items.
        total: u64,
    },
    /// A pillar without tasks, or with a weight that is not a positive number.
    #[error("a pillar needs at least one task and a positive weight")]
    EmptyPillar,
    /// Two models that were not asked the same questions.
    #[error("the two models cannot be compared item by item: {place} differs")]
    NotPaired {
        /// What differs, by task name where it is a task.
        place: String,
    },
}

/// How a task's mean over items becomes its score in [0, 100].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// 100 · mean: accuracies, exact match, pass@1, probability mass.
    Percent,
    /// 100 · (1 − 2·|mean − 0.5|): 100 when both sides are preferred equally often (CrowS-Pairs).
    Balance,
}

impl Scale {
    /// The score of a mean in [0, 1].
    #[must_use]
    pub fn score(self, mean: f64) -> f64 {
        match self {
            Self::Percent => 100.0 * mean,
            Self::Balance => 100.0 * (1.0 - 2.0 * (mean - 0.5).abs()),
        }
    }

    /// Score points by which the score moves per unit of the mean, at this mean (at the balance's peak, as if it were above it).
    pub(super) fn slope(self, mean: f64) -> f64 {
        match self {
            Self::Percent => 100.0,
            Self::Balance if mean < 0.5 => 200.0,
            Self::Balance => -200.0,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Outcomes {
    Counted,
    /// One bit per item, in the order of the items.
    Bits(Vec<u64>),
    Real(Vec<f64>),
    /// Only mean and variance are known.
    Summarised,
}

/// Items of one kind within a task (MMLU: one subject; most tasks: all of their items), drawn independently of other strata.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratum {
    outcomes: Outcomes,
    items: usize,
    sum: f64,
    /// Sample variance (divisor n − 1); 0 for a single item.
    variance: f64,
}

impl Stratum {
    /// From each item's value in [0, 1], in the order of the items. Values that are all 0 or 1 are packed into bits.
    #[must_use]
    pub fn from_values(values: &[f64]) -> Self {
        let items = values.len();
        let sum: f64 = values.iter().sum();
        #[expect(clippy::float_cmp, reason = "a right or wrong answer is stored as exactly 1 or 0")]
        let binary = values.iter().all(|&value| value == 0.0 || value == 1.0);
        if binary {
            let words =
                values.chunks(64).map(|chunk| chunk.iter().rev().fold(0, |word, &value| word << 1 | u64::from(value > 0.5))).collect();
            return Self { outcomes: Outcomes::Bits(words), items, sum, variance: binary_variance(sum, items) };
        }
        let variance = super::sample_stdev(values).map_or(0.0, |deviation| deviation * deviation);
        Self { outcomes: Outcomes::Real(values.to_vec()), items, sum, variance }
    }

    /// From the number of right answers alone. Enough for intervals; against another model it counts as independent, which is cautious.
    ///
    /// # Errors
    /// [`SampleError::TooManyCorrect`] when `correct` is greater than `total`.
    pub fn from_counts(correct: u64, total: u64) -> Result<Self, SampleError> {
        match usize::try_from(total) {
            Ok(items) if correct <= total => {
                let sum = correct as f64;
                Ok(Self { outcomes: Outcomes::Counted, items, sum, variance: binary_variance(sum, items) })
            }
            _ => Err(SampleError::TooManyCorrect { correct, total }),
        }
    }

    /// From the mean of items in [0, 1] and its standard error alone, for items that are neither right nor wrong. Their mean is drawn
    /// as a normal number; against another model it counts as independent, which is cautious.
    #[must_use]
    pub fn from_moments(mean: f64, stderr: f64, items: usize) -> Self {
        let n = items as f64;
        Self { outcomes: Outcomes::Summarised, items, sum: mean * n, variance: stderr * stderr * n }
    }

    /// Number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items
    }

    /// Mean of the items; NaN without items.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.items as f64
    }

    /// Number of items with value 1, where every item is 0 or 1.
    #[must_use]
    pub fn correct(&self) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of items, summed exactly")]
        match self.outcomes {
            Outcomes::Counted | Outcomes::Bits(_) => Some(self.sum as u64),
            Outcomes::Real(_) | Outcomes::Summarised => None,
        }
    }

    pub(super) fn variance(&self) -> f64 {
        self.variance
    }

    /// Each item's value, where it is known.
    pub(super) fn values(&self) -> Option<Vec<f64>> {
        match &self.outcomes {
            Outcomes::Counted | Outcomes::Summarised => None,
            Outcomes::Bits(words) => {
                Some((0..self.items).map(|item| f64::from(u8::from(words[item / 64] >> (item % 64) & 1 == 1))).collect())
            }
            Outcomes::Real(values) => Some(values.clone()),
        }
    }

    /// Standard error of the mean, where only the moments are known.
    pub(super) fn summarised_stderr(&self) -> Option<f64> {
        matches!(self.outcomes, Outcomes::Summarised).then(|| (self.variance / self.items as f64).sqrt())
    }

    pub(super) fn real_values(&self) -> Option<&[f64]> {
        if let Outcomes::Real(values) = &self.outcomes { Some(values) } else { None }
    }

    /// Sample covariance with another model's values of the same items; 0 where one side is known by its counts alone.
    pub(super) fn covariance(&self, other: &Self) -> f64 {
        if self.items < 2 {
            return 0.0;
        }
        let products = match (&self.outcomes, &other.outcomes) {
            (Outcomes::Counted | Outcomes::Summarised, _) | (_, Outcomes::Counted | Outcomes::Summarised) => return 0.0,
            (Outcomes::Bits(mine), Outcomes::Bits(theirs)) => {
                f64::from(mine.iter().zip(theirs).map(|(a, b)| (a & b).count_ones()).sum::<u32>())
            }
            (Outcomes::Real(mine), Outcomes::Real(theirs)) => dot(mine, theirs),
            _ => dot(&self.values().unwrap_or_default(), &other.values().unwrap_or_default()),
        };
        (products - self.sum * other.sum / self.items as f64) / (self.items - 1) as f64
    }

    /// Items that only this model, and items that only the other one got right, where all outcomes are right or wrong.
    pub(super) fn discordant(&self, other: &Self) -> Option<(u64, u64)> {
        let (Outcomes::Bits(mine), Outcomes::Bits(theirs)) = (&self.outcomes, &other.outcomes) else { return None };
        let count = |word: u64| u64::from(word.count_ones());
        Some(mine.iter().zip(theirs).fold((0, 0), |(first, second), (a, b)| (first + count(a & !b), second + count(!a & b))))
    }

    fn join(strata: &[Self]) -> Self {
        let items: usize = strata.iter().map(Self::items).sum();
        let values: Option<Vec<Vec<f64>>> = strata.iter().map(Self::values).collect();
        if let Some(values) = values {
            return Self::from_values(&values.concat());
        }
        let sum: f64 = strata.iter().map(|stratum| stratum.sum).sum();
        Self { outcomes: Outcomes::Counted, items, sum, variance: binary_variance(sum, items) }
    }
}

/// Four running sums, so that the additions do not wait for each other.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (left_chunks, left_rest) = left.as_chunks::<4>();
    let (right_chunks, right_rest) = right.as_chunks::<4>();
    for (a, b) in left_chunks.iter().zip(right_chunks) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    sums[0] + sums[1] + sums[2] + sums[3] + rest
}

fn binary_variance(correct: f64, items: usize) -> f64 {
    let n = items as f64;
    if items < 2 { 0.0 } else { correct * (n - correct) / (n * (n - 1.0)) }
}

/// One model's items of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSample {
    name: String,
    scale: Scale,
    strata: Vec<Stratum>,
    items: usize,
}

impl TaskSample {
    /// The strata of a task, whose mean is over all items (strata count by their sizes). The name also chooses the random numbers,
    /// so a task's interval does not depend on which other tasks were run. Where a stratum has a single item, whose variance nobody can know,
    /// the strata are joined into one.
    ///
    /// # Errors
    /// [`SampleError::NoItems`] and [`SampleError::NotFinite`].
    pub fn new(name: &str, scale: Scale, strata: Vec<Stratum>) -> Result<Self, SampleError> {
        let mut strata: Vec<Stratum> = strata.into_iter().filter(|stratum| stratum.items > 0).collect();
        if strata.is_empty() {
            return Err(SampleError::NoItems { task: name.to_owned() });
        }
        if strata.iter().any(|stratum| !stratum.sum.is_finite() || !stratum.variance.is_finite()) {
            return Err(SampleError::NotFinite { task: name.to_owned() });
        }
        if strata.len() > 1 && strata.iter().any(|stratum| stratum.items < 2) && can_join(&strata) {
            strata = vec![Stratum::join(&strata)];
        }
        let items = strata.iter().map(Stratum::items).sum();
        Ok(Self { name: name.to_owned(), scale, strata, items })
    }

    /// The task's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items
    }

    /// How the mean becomes the score.
    #[must_use]
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// The strata with at least one item.
    #[must_use]
    pub fn strata(&self) -> &[Stratum] {
        &self.strata
    }

    /// Mean over all items, in [0, 1].
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.strata.iter().map(|stratum| stratum.sum).sum::<f64>() / self.items as f64
    }

    /// The score in [0, 100].
    #[must_use]
    pub fn score(&self) -> f64 {
        self.scale.score(self.mean())
    }

    /// Share of the items that a stratum holds.
    pub(super) fn share(&self, stratum: &Stratum) -> f64 {
        stratum.items as f64 / self.items as f64
    }

    /// Variance of the mean over items, stratum by stratum; `None` where a stratum has a single item.
    pub(super) fn mean_variance(&self) -> Option<f64> {
        let mut variance = 0.0;
        for stratum in &self.strata {
            if stratum.items < 2 {
                return None;
            }
            variance += self.share(stratum) * self.share(stratum) * stratum.variance / stratum.items as f64;
        }
        Some(variance)
    }

    /// Standard error of the score in points; for a task of one stratum the slope times [`super::mean_stderr`].
    #[must_use]
    pub fn stderr(&self) -> Option<f64> {
        Some(self.scale.slope(self.mean()).abs() * self.mean_variance()?.sqrt())
    }
}

/// Counts join with counts and values with values; counts of real values do not exist.
fn can_join(strata: &[Stratum]) -> bool {
    strata.iter().all(|stratum| stratum.correct().is_some()) || strata.iter().all(|stratum| stratum.values().is_some())
}

/// One model's tasks of one pillar: each task counts once.
#[derive(Debug, Clone, PartialEq)]
pub struct PillarSample {
    weight: f64,
    tasks: Vec<TaskSample>,
}

impl PillarSample {
    /// A pillar's weight in the aggregate (any positive unit: the aggregate divides by the sum) and its tasks.
    ///
    /// # Errors
    /// [`SampleError::EmptyPillar`] without tasks, or when the weight is not a positive number.
    pub fn new(weight: f64, tasks: Vec<TaskSample>) -> Result<Self, SampleError> {
        if tasks.is_empty() || !weight.is_finite() || weight <= 0.0 { Err(SampleError::EmptyPillar) } else { Ok(Self { weight, tasks }) }
    }

    /// Weight in the aggregate.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The tasks.
    #[must_use]
    pub fn tasks(&self) -> &[TaskSample] {
        &self.tasks
    }

    /// Mean of the tasks' scores, in [0, 100].
    #[must_use]
    pub fn score(&self) -> f64 {
        self.tasks.iter().map(TaskSample::score).sum::<f64>() / self.tasks.len() as f64
    }
}

/// Σ(weight·score) / Σ weight over pillars, in [0, 100]; `None` without pillars.
#[must_use]
pub fn aggregate_score(pillars: &[PillarSample]) -> Option<f64> {
    let weighted: Vec<(f64, f64)> = pillars.iter().map(|pillar| (pillar.score(), pillar.weight)).collect();
    super::weighted_mean(&weighted)
}

/// Each pillar's share of the aggregate.
pub(super) fn pillar_shares(pillars: &[PillarSample]) -> Vec<f64> {
    let total: f64 = pillars.iter().map(PillarSample::weight).sum();
    pillars.iter().map(|pillar| pillar.weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packed bits, counts and plain values of the same items have the same mean, variance and covariance.
    #[test]
    fn packing_changes_nothing() {
        let mine: Vec<f64> = (0..131).map(|i| f64::from(u8::from(i * 7 % 11 < 5))).collect();
        let theirs: Vec<f64> = (0..131).map(|i| f64::from(u8::from(i * 5 % 13 < 7))).collect();
        let [packed, other] = [&mine, &theirs].map(|values| Stratum::from_values(values));
        assert_eq!(packed.values().unwrap(), mine);
        assert_eq!(packed.correct().map(|correct| correct as f64), Some(mine.iter().sum()));

        let counted = Stratum::from_counts(packed.correct().unwrap(), 131).unwrap();
        assert_eq!((counted.mean(), counted.variance()), (packed.mean(), packed.variance()));
        let deviation = super::super::sample_stdev(&mine).unwrap();
        assert!((packed.variance() - deviation * deviation).abs() < 1e-14);

        let real = |values: &[f64]| Stratum { outcomes: Outcomes::Real(values.to_vec()), ..Stratum::from_values(values) };
        let covariance = packed.covariance(&other);
        for (a, b) in [(real(&mine), real(&theirs)), (real(&mine), other.clone())] {
            assert!((a.covariance(&b) - covariance).abs() < 1e-14);
        }
        let by_hand: f64 = mine.iter().zip(&theirs).map(|(a, b)| (a - packed.mean()) * (b - other.mean())).sum::<f64>() / 130.0;
        assert!((covariance - by_hand).abs() < 1e-14);
        assert!(counted.covariance(&other).abs() < f64::MIN_POSITIVE);
    }

    /// Observations from which no score follows are refused with what is wrong.
    #[test]
    fn unusable_observations_are_refused() {
        assert_eq!(TaskSample::new("t", Scale::Percent, vec![]), Err(SampleError::NoItems { task: "t".into() }));
        let not_a_number = vec![Stratum::from_values(&[0.5, f64::NAN])];
        assert_eq!(TaskSample::new("t", Scale::Percent, not_a_number), Err(SampleError::NotFinite { task: "t".into() }));
        assert_eq!(Stratum::from_counts(2, 1), Err(SampleError::TooManyCorrect { correct: 2, total: 1 }));
        assert_eq!(PillarSample::new(1.0, vec![]), Err(SampleError::EmptyPillar));
    }
}
