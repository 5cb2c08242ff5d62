//! When to try again.

use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// How often a step is tried and how long to wait in between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts of one step in all, the first included. A worker that dies in the middle has used up its attempt.
    pub max_attempts: u32,
    /// Wait after the first failure; doubled after each further one.
    pub first_wait: Duration,
    /// Longest wait, before the part that chance adds.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    /// Ten attempts over about five hours: longer than most outages of a hosting service.
    fn default() -> Self {
        Self { max_attempts: 10, first_wait: Duration::from_secs(30), longest_wait: Duration::from_hours(1) }
    }
}

impl RetryPolicy {
    /// When to try again after the given number of attempts. `chance`, uniform in [0, 1), spreads retries over half to one and a half of the
    /// wait, so that many that failed together do not come back together.
    #[must_use]
    pub fn next(&self, attempts: u32, now: DateTime<Utc>, chance: f64) -> DateTime<Utc> {
        let doubled = self.first_wait.saturating_mul(1_u32 << attempts.saturating_sub(1).min(20)).min(self.longest_wait);
        let wait = doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0));
        now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1))
    }
}

/// A number in [0, 1) from the system's random source; one half where it has none.
#[must_use]
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |word| f64::from(word) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits double up to the longest, and chance moves them by no more than half.
    #[test]
    fn waits_double_and_stay_bounded() {
        let policy = RetryPolicy { max_attempts: 9, first_wait: Duration::from_secs(10), longest_wait: Duration::from_mins(1) };
        let now = DateTime::UNIX_EPOCH;
        let waits: Vec<i64> = (1..=40).map(|attempt| (policy.next(attempt, now, 0.5) - now).num_seconds()).collect();
        assert_eq!(waits[..5], [10, 20, 40, 60, 60]);
        assert!(waits.iter().all(|&wait| wait <= 60));
        assert_eq!((policy.next(1, now, 0.0) - now).num_seconds(), 5);
        assert_eq!((policy.next(1, now, 1.0) - now).num_seconds(), 15);
    }
}
