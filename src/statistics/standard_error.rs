//! Means, standard errors and pass@k as lm-evaluation-harness 0.4.13 computes them (`lm_eval/api/metrics.py`), sums in the order of the items.

use rayon::prelude::*;

use super::PythonRandom;

/// The harness resamples in chunks of this many replicates, chunk i with `random.Random(i)`.
const REPLICATES_PER_CHUNK: usize = 1000;

/// Arithmetic mean; `None` without values.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / values.len() as f64) }
}

/// Mean of values by weight, Σ(value·weight) / Σ weight: a group's metric when its subtasks are weighted by their sizes.
/// `None` without values or when the weights add up to 0.
#[must_use]
pub fn weighted_mean(pairs: &[(f64, f64)]) -> Option<f64> {
    let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    if total == 0.0 { None } else { Some(pairs.iter().map(|(value, weight)| value * weight).sum::<f64>() / total) }
}

/// Sample standard deviation (divisor N − 1); `None` below two values.
#[must_use]
pub fn sample_stdev(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Standard error of a mean: sample standard deviation / √N; `None` below two values (the harness prints "N/A").
#[must_use]
pub fn mean_stderr(values: &[f64]) -> Option<f64> {
    Some(sample_stdev(values)? / (values.len() as f64).sqrt())
}

/// Standard error of a group's metric that is weighted by size, from its leaf tasks' `(standard error, number of items)`:
/// √[ (Σ (nᵢ−1)·seᵢ²·nᵢ) / (Σnᵢ − k) / Σnᵢ ] over k leaf tasks.
/// `None` when a leaf task has none, without leaf tasks, or when there are no more items than leaf tasks.
#[must_use]
pub fn pooled_stderr(leaves: &[(Option<f64>, usize)]) -> Option<f64> {
    let items: usize = leaves.iter().map(|(_, size)| size).sum();
    if items <= leaves.len() {
        return None;
    }
    let mut squares = 0.0;
    for &(stderr, size) in leaves {
        squares += size.saturating_sub(1) as f64 * stderr?.powi(2) * size as f64;
    }
    let pooled_variance = squares / (items - leaves.len()) as f64;
    Some((pooled_variance / items as f64).sqrt())
}

/// Standard error of a group's metric whose k leaf tasks count alike (`weight_by_size: false`), as 0.4.13 has it: √(Σ seᵢ²) / k.
/// `None` when a leaf task has none, or without leaf tasks.
#[must_use]
pub fn averaged_stderr(leaves: &[Option<f64>]) -> Option<f64> {
    if leaves.is_empty() {
        return None;
    }
    let mut squares = 0.0;
    for stderr in leaves {
        squares += (*stderr)?.powi(2);
    }
    Some(squares.sqrt() / leaves.len() as f64)
}

/// Bootstrap standard error of any statistic of the items, with the harness's own draws: chunks of 1,000 replicates (one smaller chunk
/// when fewer are asked for), chunk i from `random.Random(i)`, `choices(values, k=len(values))` for each replicate; the result is the
/// sample standard deviation of the replicates. A remainder that fills no chunk is not drawn, as there. The harness asks for 100,000.
/// `None` below two values or two replicates. Chunks run in parallel; the result does not depend on it.
#[must_use]
pub fn bootstrap_stderr(statistic: impl Fn(&[f64]) -> f64 + Sync, values: &[f64], replicates: usize) -> Option<f64> {
    if values.len() < 2 || replicates < 2 {
        return None;
    }
    let chunk_size = replicates.min(REPLICATES_PER_CHUNK);
    let chunks: Vec<Vec<f64>> = (0..replicates / chunk_size)
        .into_par_iter()
        .map(|chunk| {
            let mut random = PythonRandom::new(chunk as u64);
            let mut resample = vec![0.0; values.len()];
            let mut replicate = || {
                for slot in &mut resample {
                    *slot = values[random.choice_index(values.len())];
                }
                statistic(&resample)
            };
            (0..chunk_size).map(|_| replicate()).collect()
        })
        .collect();
    sample_stdev(&chunks.concat())
}

/// Perplexity of log-likelihoods in nats, exp(−mean); NaN without values. The statistic of LAMBADA for [`bootstrap_stderr`].
#[must_use]
pub fn perplexity(log_likelihoods: &[f64]) -> f64 {
    (-mean(log_likelihoods).unwrap_or(f64::NAN)).exp()
}

/// Unbiased estimate of pass@k for one problem, from `samples` programs of which `correct` pass:
/// 1 when fewer than k failed, else 1 − Π (1 − k/i) for i from samples − correct + 1 to samples (Chen et al. 2021, arXiv:2107.03374).
/// `None` when k is 0, k is greater than `samples`, or `correct` is.
#[must_use]
pub fn pass_at_k(samples: u32, correct: u32, k: u32) -> Option<f64> {
    if k == 0 || k > samples || correct > samples {
        return None;
    }
    if samples - correct < k {
        return Some(1.0);
    }
    let none_passes: f64 = (samples - correct + 1..=samples).map(|i| 1.0 - f64::from(k) / f64::from(i)).product();
    Some(1.0 - none_passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(got: Option<f64>, expected: f64) {
        let got = got.expect("the data give a figure");
        assert!((got - expected).abs() <= 1e-14 * expected.abs(), "{got} is not {expected}");
    }

    /// Values of lm-evaluation-harness 0.4.13: `metrics.mean_stderr`, `metrics.pooled_sample_stderr`.
    #[test]
    fn standard_errors_equal_the_harness() {
        assert_close(mean_stderr(&[1.0, 0.0, 1.0, 1.0]), 0.25);
        assert_close(pooled_stderr(&[(Some(0.04), 100), (Some(0.02), 400)]), 0.017_888_543_819_998_32);
        assert_close(averaged_stderr(&[Some(0.03), Some(0.04)]), 0.025);
        assert_close(weighted_mean(&[(0.5, 100.0), (0.25, 300.0)]), 0.3125);
    }

    /// Value of lm-evaluation-harness 0.4.13: `metrics.bootstrap_stderr(metrics.perplexity, xs, iters=2000)`, two chunks of draws.
    #[test]
    fn the_bootstrap_draws_what_the_harness_draws() {
        assert_close(bootstrap_stderr(perplexity, &[-1.0, -2.0, -0.5, -3.0, -0.1], 2000), 2.163_843_644_082_353);
    }

    /// Values of the `code_eval` metric of Hugging Face's evaluate (`estimate_pass_at_k`).
    #[test]
    fn pass_at_k_equals_code_eval() {
        for (samples, correct, k, expected) in [
            (1, 0, 1, 0.0),
            (1, 1, 1, 1.0),
            (10, 3, 1, 0.300_000_000_000_000_04),
            (10, 3, 5, 0.916_666_666_666_666_6),
            (64, 2, 8, 0.236_111_111_111_111_16),
            (5, 0, 5, 0.0),
            (5, 4, 2, 1.0),
        ] {
            assert_eq!(pass_at_k(samples, correct, k).map(f64::to_bits), Some(f64::to_bits(expected)), "n {samples}, c {correct}, k {k}");
        }
        assert_eq!([pass_at_k(4, 5, 1), pass_at_k(4, 1, 0), pass_at_k(4, 1, 5)], [None; 3]);
    }

    /// What the harness prints as "N/A" is missing, never 0.
    #[test]
    fn what_the_data_cannot_give_is_missing() {
        assert_eq!(mean(&[]), None);
        assert_eq!(weighted_mean(&[]), None);
        assert_eq!(mean_stderr(&[1.0]), None);
        assert_eq!(bootstrap_stderr(perplexity, &[-1.0], 1000), None);
        assert_eq!(pooled_stderr(&[(None, 1), (None, 1)]), None);
        assert_eq!(pooled_stderr(&[(Some(0.1), 50), (None, 1)]), None);
        assert_eq!(averaged_stderr(&[]), None);
    }
}
