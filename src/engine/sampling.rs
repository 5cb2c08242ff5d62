//! The choice of the next token, shared by all engines.

use super::{Decoding, EngineError, TokenId};
use rand_mt::Mt64;

/// The most probable token (ties: the lowest id) and the logarithm of the sum of exponentials, NaN where a logit is NaN or +∞.
#[must_use]
pub fn normaliser(logits: &[f32]) -> (usize, f64) {
    let (mut top, mut highest) = (0, f32::NEG_INFINITY);
    for (index, &logit) in logits.iter().enumerate() {
        if logit > highest || logit.is_nan() {
            (top, highest) = (index, logit);
            if logit.is_nan() {
                return (top, f64::NAN);
            }
        }
    }
    if highest == f32::INFINITY {
        return (top, f64::NAN);
    }
    let sum: f64 = logits.iter().map(|&logit| f64::from((logit - highest).exp())).sum();
    (top, f64::from(highest) + sum.ln())
}

/// Chooses the tokens of one generation, one after the other, from the logits of each next position.
///
/// Every engine chooses through it, so that equal logits give equal text.
#[derive(Clone, Debug)]
pub struct Sampler {
    decoding: Decoding,
    random: Mt64,
}

impl Sampler {
    /// A chooser at the beginning of its random stream.
    #[must_use]
    pub fn new(decoding: Decoding) -> Self {
        let seed = match decoding {
            Decoding::Greedy => 0,
            Decoding::Sampled { seed, .. } => seed,
        };
        Self { decoding, random: Mt64::new(seed) }
    }

    /// The next token: the most probable one (ties: the lowest id), or one drawn from the nucleus.
    ///
    /// # Errors
    /// [`EngineError::NotANumber`] where a logit is NaN or +∞; [`EngineError::Request`] for a temperature or nucleus that is not above 0.
    pub fn choose(&mut self, logits: &[f32]) -> Result<TokenId, EngineError> {
        let (top, log_sum) = normaliser(logits);
        if !log_sum.is_finite() {
            return Err(EngineError::NotANumber(
                "the model's logits for the next token are not finite numbers: its weights or its number format are unfit".to_owned(),
            ));
        }
        let index = match self.decoding {
            Decoding::Greedy => top,
            Decoding::Sampled { temperature, top_p, .. } => self.sample(logits, temperature, top_p)?,
        };
        TokenId::try_from(index).map_err(|_| EngineError::Computation(format!("token {index} is beyond the range of ids")))
    }

    /// Softmax at a temperature, cut to the smallest set of most probable tokens whose probabilities reach `top_p`.
    fn sample(&mut self, logits: &[f32], temperature: f64, top_p: f64) -> Result<usize, EngineError> {
        if !(temperature > 0.0 && top_p > 0.0) {
            return Err(EngineError::Request(format!("temperature {temperature} and top_p {top_p} must be above 0")));
        }
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let mut weights: Vec<(usize, f64)> =
            logits.iter().map(|&logit| ((f64::from(logit) - highest) / temperature).exp()).enumerate().collect();
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        let mut kept = 0.0;
        let count = weights.iter().position(|(_, weight)| {
            kept += weight;
            kept >= top_p * total
        });
        weights.truncate(count.map_or(weights.len(), |last| last + 1));
        let kept: f64 = weights.iter().map(|(_, weight)| weight).sum();
        // 53 random bits: a uniform number in [0, 1).
        let mut point = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * kept;
        for (index, weight) in &weights {
            point -= weight;
            if point < 0.0 {
                return Ok(*index);
            }
        }
        Ok(weights.last().map_or(0, |(index, _)| *index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_sum_to_one_and_ties_go_to_the_lowest_id() {
        let logits = [1.0f32, 3.0, 3.0, -2.0];
        let (top, log_sum) = normaliser(&logits);
        assert_eq!(top, 1);
        let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - log_sum).exp()).sum();
        assert!((total - 1.0).abs() < 1e-7, "{total}");
    }

    #[test]
    fn sampling_is_repeatable_and_keeps_to_the_nucleus() {
        let logits = [0.0f32, 2.0, 1.9, -3.0];
        let draw = |seed| {
            let mut sampler = Sampler::new(Decoding::Sampled { temperature: 1.0, top_p: 0.8, seed });
            (0..50).map(|_| sampler.choose(&logits).expect("finite logits")).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|token| [1, 2].contains(token)), "tokens outside of the nucleus");
        assert_eq!(Sampler::new(Decoding::Greedy).choose(&logits).expect("finite logits"), 1);
        assert!(Sampler::new(Decoding::Greedy).choose(&[f32::NAN]).is_err());
    }

    #[test]
    fn logits_that_are_not_numbers_are_noticed() {
        assert!(normaliser(&[0.0, f32::NAN, 1.0]).1.is_nan());
        assert!(normaliser(&[0.0, f32::INFINITY]).1.is_nan());
    }
}
