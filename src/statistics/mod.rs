//! Standard errors, intervals and paired tests. Pure: numbers in, numbers out.
//!
//! - [`standard_error`]: the figures that lm-evaluation-harness prints beside a metric, by its own formulas, and [`python_random`],
//!   the generator behind its bootstrap.
//! - [`sample`]: a model's items, by task and pillar; the rest works on these.
//! - [`bootstrap`] and [`interval`]: scores with 95 % intervals, from items to the aggregate.
//! - [`paired`]: two models on the same items. [`ranking`]: ranks as intervals, Holm's and the chance correction.
//!
//! A figure that the data cannot give (the standard error of one item, for example) is `None`, never 0 or NaN. Except for [`perplexity`]
//! all of it is additions, multiplications, divisions and square roots in a fixed order, so it gives the same bits on every machine.

pub mod bootstrap;
pub mod interval;
pub mod normal;
pub mod paired;
pub mod python_random;
pub mod ranking;
pub mod sample;
pub mod standard_error;

mod binomial;

pub use bootstrap::{Estimate, Resampling, ScoreEstimates, estimate_scores, estimate_task};
pub use interval::{Interval, Z_95, percentile_interval, wilson_interval};
pub use normal::normal_p_value;
pub use paired::{Comparison, Difference, ModelComparison, aggregate_difference, compare_models, mcnemar};
pub use python_random::PythonRandom;
pub use ranking::{RankInterval, chance_corrected, holm, rank_interval, rank_intervals};
pub use sample::{PillarSample, SampleError, Scale, Stratum, TaskSample, aggregate_score};
pub use standard_error::{
    averaged_stderr, bootstrap_stderr, mean, mean_stderr, pass_at_k, perplexity, pooled_stderr, sample_stdev, weighted_mean,
};
