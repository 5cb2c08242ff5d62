//! Binomial draws and tails with additions, multiplications and divisions only, whose results are the same on every machine
//! (the mathematical library's `exp` and `ln` are not).

use rand_mt::Mt64;

/// Outcomes rarer than this, relative to the most likely one, are never drawn: 10,000 draws would not show them either.
const NEGLIGIBLE: f64 = 1e-18;

/// Uniform in [0, 1) with 53 bits.
pub(super) fn uniform(random: &mut Mt64) -> f64 {
    (random.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
}

/// A table from which a binomial variate is drawn in constant time: the cumulative distribution, and for each of equally spaced
/// probabilities the place at which the search begins.
#[derive(Debug, Clone)]
pub(super) struct Binomial {
    lowest: u64,
    cumulative: Vec<f64>,
    starts: Vec<u32>,
}

impl Binomial {
    /// `trials` independent trials, each successful with this probability (clamped to [0, 1]).
    pub(super) fn new(trials: u64, probability: f64) -> Self {
        let probability = probability.clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the trials")]
        let mode = (((trials + 1) as f64 * probability) as u64).min(trials);
        let odds = probability / (1.0 - probability);

        let mut below = Vec::new();
        let (mut weight, mut successes) = (1.0, mode);
        while successes > 0 {
            weight *= successes as f64 / ((trials - successes + 1) as f64 * odds);
            if weight < NEGLIGIBLE {
                break;
            }
            below.push(weight);
            successes -= 1;
        }
        let lowest = mode - below.len() as u64;
        let mut weights: Vec<f64> = below.into_iter().rev().chain([1.0]).collect();
        (weight, successes) = (1.0, mode);
        while successes < trials {
            weight *= (trials - successes) as f64 / (successes + 1) as f64 * odds;
            if weight < NEGLIGIBLE {
                break;
            }
            weights.push(weight);
            successes += 1;
        }
        Self { lowest, starts: Vec::new(), cumulative: weights }.accumulate()
    }

    fn accumulate(mut self) -> Self {
        let total: f64 = self.cumulative.iter().sum();
        let mut running = 0.0;
        for entry in &mut self.cumulative {
            running += *entry / total;
            *entry = running;
        }
        if let Some(last) = self.cumulative.last_mut() {
            *last = 1.0;
        }
        let cells = self.cumulative.len();
        let mut index = 0;
        for cell in 0..cells {
            while self.cumulative[index] <= cell as f64 / cells as f64 {
                index += 1;
            }
            self.starts.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        self
    }

    pub(super) fn draw(&self, random: &mut Mt64) -> u64 {
        let probability = uniform(random);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the number of cells")]
        let cell = (probability * self.starts.len() as f64) as usize;
        let mut index = self.starts[cell.min(self.starts.len() - 1)] as usize;
        while self.cumulative[index] <= probability {
            index += 1;
        }
        self.lowest + index as u64
    }
}

/// Two-sided exact p-value of `successes` among `trials` fair coin tosses: twice the smaller tail, at most 1.
/// Below about 10⁻³⁰⁰ it is 0.
pub(super) fn fair_coin_p_value(successes: u64, trials: u64) -> f64 {
    let smaller = successes.min(trials - successes);
    let middle = trials / 2;
    let (mut weight, mut tail, mut half) = (1.0, 0.0, 0.0);
    for heads in (0..=middle).rev() {
        if heads <= smaller {
            tail += weight;
        }
        // An even number of tosses has one middle, which both halves share.
        half += if heads == middle && trials.is_multiple_of(2) { weight / 2.0 } else { weight };
        if weight == 0.0 {
            break;
        }
        weight *= heads as f64 / (trials - heads + 1) as f64;
    }
    (tail / half).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frequencies of 200,000 draws lie within five standard errors of `scipy.stats.binom.pmf`, in the middle and where almost all is 0.
    #[test]
    fn draws_follow_the_binomial_distribution() {
        for (trials, probability, expected) in pmf() {
            let (table, mut random) = (Binomial::new(trials, probability), Mt64::new(1));
            let mut counts = vec![0_u32; usize::try_from(trials).unwrap() + 1];
            for _ in 0..200_000 {
                counts[usize::try_from(table.draw(&mut random)).unwrap()] += 1;
            }
            for (successes, mass) in expected {
                let got = f64::from(counts[successes]) / 200_000.0;
                assert!(
                    (got - mass).abs() < 5.0 * (mass / 200_000.0).sqrt(),
                    "{successes} of {trials} at {probability}: {got}, not {mass}"
                );
            }
        }
    }

    /// All wrong, all right and no trial at all.
    #[test]
    fn certain_outcomes_are_certain() {
        let mut random = Mt64::new(1);
        for (trials, probability, expected) in [(10, 0.0, 0), (10, 1.0, 10), (0, 0.5, 0), (1_000_000, 1.0, 1_000_000)] {
            let table = Binomial::new(trials, probability);
            assert!((0..1000).all(|_| table.draw(&mut random) == expected));
        }
    }

    type Masses = Vec<(usize, f64)>;
    fn pmf() -> [(u64, f64, Masses); 4] {
        [
            (
                10,
                0.3,
                vec![
                    (0, 0.028_247_524_9),
                    (2, 0.233_474_440_500_000_1),
                    (3, 0.266_827_931_999_999_8),
                    (4, 0.200_120_948_999_999_88),
                    (7, 0.009_001_691_999_999_992),
                ],
            ),
            (
                58491,
                0.29,
                vec![
                    (16762, 0.000_686_014_614_470_207_9),
                    (16912, 0.003_274_224_997_783_061_5),
                    (16962, 0.003_635_257_624_021_286),
                    (17012, 0.003_279_517_895_997_11),
                ],
            ),
            (
                163,
                0.006,
                vec![
                    (0, 0.374_956_301_525_631_36),
                    (1, 0.368_920_787_617_774_3),
                    (2, 0.180_377_769_398_630_12),
                    (3, 0.058_432_235_157_302_66),
                ],
            ),
            (3, 0.5, vec![(0, 0.124_999_999_999_999_99), (1, 0.375_000_000_000_000_1), (2, 0.375_000_000_000_000_1), (3, 0.125)]),
        ]
    }
}
