//! The normal distribution's tail, with arithmetic that gives the same bits on every machine.

/// Two-sided p-value of a standard normal statistic: P(|Z| ≥ |z|). NaN stays NaN.
#[must_use]
pub fn normal_p_value(z: f64) -> f64 {
    complementary_error(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
}

/// 1 − erf(x) for x ≥ 0: the series where it is short, else the continued fraction (Abramowitz and Stegun 7.1.6 and 7.1.14).
fn complementary_error(x: f64) -> f64 {
    const SQRT_PI: f64 = 1.772_453_850_905_516;
    if x > 27.0 {
        return 0.0; // below the smallest number
    }
    if x < 2.5 {
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 / SQRT_PI * exponential(-x * x) * sum;
    }
    let fraction = (1..=120).rev().fold(x, |inner, level| x + f64::from(level) / 2.0 / inner);
    exponential(-x * x) / (SQRT_PI * fraction)
}

/// eˣ for x ≤ 0 by the series on a remainder below ln 2, then exact halving.
fn exponential(x: f64) -> f64 {
    // ln 2 in two parts: the first has trailing zeros, so that its products with small integers are exact.
    const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let halvings = (-x / std::f64::consts::LN_2).floor();
    let remainder = (x + halvings * LN_2_HIGH) + halvings * LN_2_LOW;
    let (mut term, mut sum) = (1.0, 1.0);
    for order in 1..30 {
        term *= remainder / f64::from(order);
        sum += term;
    }
    let mut left = halvings;
    while left > 0.0 {
        sum *= 0.5;
        left -= 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2 * scipy.stats.norm.sf(z)`, scipy 1.17.1.
    #[test]
    fn tails_equal_scipy() {
        for (z, expected) in TAILS {
            let got = normal_p_value(z);
            assert!((got - expected).abs() <= 1e-11 * expected, "{z}: {got} is not {expected}");
        }
        assert!(normal_p_value(f64::NAN).is_nan());
    }

    const TAILS: [(f64, f64); 13] = [
        (0.0, 1.0),
        (0.1, 0.920_344_325_445_942),
        (0.5, 0.617_075_077_451_973_8),
        (1.0, 0.317_310_507_862_914_15),
        (1.96, 0.049_995_790_296_440_87),
        (2.5, 0.012_419_330_651_552_265),
        (3.0, 0.002_699_796_063_260_186_6),
        (3.5355, 0.000_407_004_245_190_142_96),
        (4.0, 6.334_248_366_623_973e-5),
        (6.0, 1.973_175_290_075_389e-9),
        (10.0, 1.523_970_604_832_094e-23),
        (20.0, 5.507_248_237_212_311e-89),
        (37.0, 1.145_114_244_504_785_3e-299),
    ];
}
