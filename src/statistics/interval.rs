//! Intervals: Wilson's for a proportion, percentiles of a bootstrap.

/// 97.5 % quantile of the standard normal distribution: all intervals here are two-sided 95 % intervals.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// A closed interval, in the unit of what it is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the value lies inside or on an end.
    #[must_use]
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Wilson's 95 % score interval of a proportion (Wilson 1927), which stays inside [0, 1] and has a width at 0 and at all right.
/// `None` without items or with more right answers than items.
#[must_use]
pub fn wilson_interval(correct: u64, total: u64) -> Option<Interval> {
    if total == 0 || correct > total {
        return None;
    }
    let n = total as f64;
    let proportion = correct as f64 / n;
    let spread = Z_95 * Z_95 / n;
    let centre = (proportion + spread / 2.0) / (1.0 + spread);
    let half_width = Z_95 / (1.0 + spread) * (proportion * (1.0 - proportion) / n + spread / (4.0 * n)).sqrt();
    Some(Interval {
        low: if correct == 0 { 0.0 } else { (centre - half_width).max(0.0) },
        high: if correct == total { 1.0 } else { (centre + half_width).min(1.0) },
    })
}

/// The central 95 % of replicates: their 2.5 % and 97.5 % quantiles, interpolated linearly (numpy's default). Reorders the replicates.
/// `None` without replicates.
#[must_use]
pub fn percentile_interval(replicates: &mut [f64]) -> Option<Interval> {
    Some(Interval { low: quantile(replicates, 0.025)?, high: quantile(replicates, 0.975)? })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position between 0 and the last index")]
fn quantile(values: &mut [f64], probability: f64) -> Option<f64> {
    let position = probability * values.len().checked_sub(1)? as f64;
    let below = position.floor();
    let (_, &mut lower, rest) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
    let upper = rest.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    Some(lower + (upper - lower) * (position - below))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.proportion.proportion_confint(c, n, method="wilson")`, statsmodels 0.15.0.
    #[test]
    fn wilson_equals_statsmodels() {
        for (correct, total, low, high) in WILSON {
            let interval = wilson_interval(correct, total).unwrap();
            assert!((interval.low - low).abs() < 1e-12 && (interval.high - high).abs() < 1e-12, "{correct} of {total}: {interval:?}");
        }
        assert_eq!(wilson_interval(0, 0), None);
        assert_eq!(wilson_interval(3, 2), None);
    }

    /// `numpy.percentile([math.sin(i) for i in range(n)], [2.5, 97.5])`, numpy 2.4.6.
    #[test]
    fn percentiles_equal_numpy() {
        for (n, low, high) in PERCENTILES {
            let mut values: Vec<f64> = (0..n).map(|i| f64::from(i).sin()).collect();
            let interval = percentile_interval(&mut values).unwrap();
            assert!((interval.low - low).abs() < 1e-12 && (interval.high - high).abs() < 1e-12, "{n}: {interval:?}");
        }
        assert_eq!(percentile_interval(&mut []), None);
    }

    const WILSON: [(u64, u64, f64, f64); 6] = [
        (0, 10, 0.0, 0.277_532_799_862_889_26),
        (3, 10, 0.107_791_267_406_301_04, 0.603_221_852_538_854_6),
        (10, 10, 0.722_467_200_137_110_6, 1.0),
        (1, 164, 0.001_077_181_390_462_662_2, 0.033_726_250_739_703_62),
        (500, 1172, 0.398_590_527_492_984_6, 0.455_131_248_763_733_8),
        (29000, 58492, 0.491_742_845_283_097_86, 0.499_846_300_411_192_93),
    ];
    const PERCENTILES: [(i32, f64, f64); 5] = [
        (1, 0.0, 0.0),
        (2, 0.021_036_774_620_197_415, 0.820_434_210_187_699),
        (41, -0.991_778_853_443_115_8, 0.990_607_355_694_870_4),
        (1000, -0.997_166_603_247_010_1, 0.996_491_596_216_367_8),
        (10000, -0.997_125_639_625_419_1, 0.997_118_783_813_617_7),
    ];
}
