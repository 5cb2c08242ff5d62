//! Ranks as intervals, correction for many tests, correction for chance.

use rayon::prelude::*;

use super::paired::Difference;

/// Holm's step-down correction (Holm 1979): each p-value adjusted so that rejecting those at or below α keeps the probability of any
/// false rejection at or below α, whatever their dependence. In the order of the argument.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rejected, &index) in order.iter().enumerate() {
        largest = largest.max(((p_values.len() - rejected) as f64 * p_values[index]).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

/// Ranks that the data leave possible; 1 is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankInterval {
    /// 1 + number of models significantly better.
    pub best: usize,
    /// Number of models minus number of models significantly worse.
    pub worst: usize,
}

/// One model's rank interval, from its differences to every other ranked model (this model first). Holm's correction is over these
/// comparisons, so that the true rank lies inside with a probability of at least 1 − α for each model.
#[must_use]
pub fn rank_interval(differences: &[Difference], alpha: f64) -> RankInterval {
    let p_values: Vec<f64> = differences.iter().map(|difference| difference.p_value).collect();
    let (mut better, mut worse) = (0, 0);
    for (difference, p_value) in differences.iter().zip(holm(&p_values)) {
        if p_value <= alpha && difference.points < 0.0 {
            better += 1;
        } else if p_value <= alpha && difference.points > 0.0 {
            worse += 1;
        }
    }
    RankInterval { best: 1 + better, worst: differences.len() + 1 - worse }
}

/// Every model's rank interval. `difference(i, j)` compares models i < j, i first; it is called once for each pair, in parallel.
/// Memory: some 50 bytes for each two models.
///
/// # Errors
/// The first error of `difference`.
pub fn rank_intervals<E: Send>(
    models: usize,
    alpha: f64,
    difference: impl Fn(usize, usize) -> Result<Difference, E> + Sync,
) -> Result<Vec<RankInterval>, E> {
    let upper: Vec<Vec<Difference>> = (0..models)
        .into_par_iter()
        .map(|i| (i + 1..models).map(|j| difference(i, j)).collect::<Result<_, E>>())
        .collect::<Result<_, E>>()?;
    let of_model = |model: usize| {
        let mirrored = (0..model).map(|other| {
            let seen = upper[other][model - other - 1];
            Difference { points: -seen.points, ..seen }
        });
        let differences: Vec<Difference> = mirrored.chain(upper[model].iter().copied()).collect();
        rank_interval(&differences, alpha)
    };
    Ok((0..models).into_par_iter().map(of_model).collect())
}

/// A score in [0, 100] corrected for guessing: 0 at the chance level, 100 for a perfect model, negative below chance.
/// `None` where chance reaches 100.
#[must_use]
pub fn chance_corrected(score: f64, chance: f64) -> Option<f64> {
    if chance < 100.0 { Some(100.0 * (score - chance) / (100.0 - chance)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statsmodels.stats.multitest.multipletests(p, method="holm")[1]`, statsmodels 0.15.0.
    #[test]
    fn holm_equals_statsmodels() {
        let adjusted = holm(&HOLM_P);
        for (got, expected) in adjusted.iter().zip(HOLM_ADJUSTED) {
            assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    /// Models 0 and 1 cannot be told apart, both are better than 2: ranks 1–2, 1–2 and 3.
    #[test]
    fn ranks_are_intervals_where_models_tie() {
        let scores = [50.2, 50.0, 40.0];
        let difference = |i: usize, j: usize| {
            let points: f64 = scores[i] - scores[j];
            Ok::<_, ()>(Difference { points, stderr: None, p_value: if points.abs() < 1.0 { 0.6 } else { 1e-9 } })
        };
        let ranks = rank_intervals(3, 0.05, difference).unwrap();
        assert_eq!(ranks.iter().map(|rank| (rank.best, rank.worst)).collect::<Vec<_>>(), [(1, 2), (1, 2), (3, 3)]);
        assert_eq!(rank_interval(&[], 0.05), RankInterval { best: 1, worst: 1 });
    }

    /// Among many models a p-value that would do for one comparison does not.
    #[test]
    fn many_comparisons_need_stronger_evidence() {
        let lucky = Difference { points: 1.0, stderr: None, p_value: 0.01 };
        let equal = Difference { points: 0.0, stderr: None, p_value: 1.0 };
        assert_eq!(rank_interval(&[lucky], 0.05).worst, 1);
        let mut many = vec![equal; 20];
        many.push(lucky);
        assert_eq!(rank_interval(&many, 0.05).worst, 22);
    }

    /// Chance is 0, a perfect model 100.
    #[test]
    fn chance_correction_keeps_its_fixed_points() {
        assert_eq!(chance_corrected(25.0, 25.0), Some(0.0));
        assert_eq!(chance_corrected(100.0, 25.0), Some(100.0));
        assert_eq!(chance_corrected(10.0, 25.0), Some(-20.0));
        assert_eq!(chance_corrected(50.0, 100.0), None);
    }

    const HOLM_P: [f64; 8] = [0.01, 0.04, 0.03, 0.005, 0.2, 0.0001, 0.9, 0.03];
    const HOLM_ADJUSTED: [f64; 8] = [0.06, 0.15, 0.15, 0.035, 0.4, 0.0008, 0.9, 0.15];
}
