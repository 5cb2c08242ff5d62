//! Standard errors, intervals and paired tests. Pure: numbers in, numbers out.
//!
//! - [`standard_error`]: the figures that lm-evaluation-harness prints beside a metric, by its own formulas.
//! - [`python_random`]: the generator behind them, Python's `random.Random`.
//!
//! A figure that the data cannot give (the standard error of one item, for example) is `None`, never 0 or NaN.

pub mod python_random;
pub mod standard_error;

pub use python_random::PythonRandom;
pub use standard_error::{
    averaged_stderr, bootstrap_stderr, mean, mean_stderr, pass_at_k, perplexity, pooled_stderr, sample_stdev, weighted_mean,
};
