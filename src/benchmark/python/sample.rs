//! `random.Random.sample` of CPython (`Lib/random.py`).

use crate::statistics::PythonRandom;
use std::collections::HashSet;

/// The indices that `random.sample(population, count)` draws from a population of `size`, in order, distinct.
/// `None` when `count` is larger than `size` (Python raises `ValueError`), or `size` does not fit 32 bits.
pub fn sample_indices(random: &mut PythonRandom, size: usize, count: usize) -> Option<Vec<usize>> {
    let size = u32::try_from(size).ok()?;
    let count = u32::try_from(count).ok().filter(|count| *count <= size)?;
    let index = |drawn: u32| drawn as usize;
    if u64::from(size) <= set_size(count) {
        // Small population: draw from a shrinking list; the hole is filled with the last entry.
        let mut pool: Vec<usize> = (0..index(size)).collect();
        Some(
            (0..count)
                .map(|drawn| {
                    let position = index(random.below(size - drawn));
                    let chosen = pool[position];
                    pool[position] = pool[index(size - drawn - 1)];
                    chosen
                })
                .collect(),
        )
    } else {
        let mut seen = HashSet::new();
        let mut chosen = Vec::with_capacity(index(count));
        while chosen.len() < index(count) {
            let position = index(random.below(size));
            if seen.insert(position) {
                chosen.push(position);
            }
        }
        Some(chosen)
    }
}

/// Size up to which a copy of the population is cheaper than a set of drawn indices: 21, plus 4^⌈log₄(3k)⌉ above 5 draws.
fn set_size(count: u32) -> u64 {
    let mut size = 21;
    if count > 5 {
        let mut power: u64 = 1;
        while power < u64::from(count) * 3 {
            power *= 4;
        }
        size += power;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two documents of each run, from lm-evaluation-harness's sampler: (population, draws, first document, second document).
    #[test]
    fn few_shot_draws_equal_cpython() {
        let cases: [(usize, usize, &[usize], &[usize]); 6] = [
            (1119, 25, &[902, 239, 15, 185, 71, 171, 201, 726, 484, 35, 63, 32, 708, 991, 949], &[954, 140, 182, 1054, 94, 552]),
            (39905, 11, &[28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519], &[2019, 1038, 22681, 31735, 30379]),
            (39905, 10, &[28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519], &[1142, 2019, 1038, 22681, 31735]),
            (7473, 5, &[6374, 3610, 957, 61, 742], &[7462, 6610, 4769, 286, 5501]),
            (50, 11, &[49, 28, 7, 0, 5, 37, 2, 42, 45, 6, 22], &[15, 1, 48, 47, 22, 41, 39, 30, 43, 29, 9]),
            (60, 2, &[49, 28], &[7, 0]),
        ];
        for (size, count, first, second) in cases {
            let mut random = PythonRandom::new(1234);
            for expected in [first, second] {
                let drawn = sample_indices(&mut random, size, count).expect("the population is large enough");
                assert_eq!(&drawn[..expected.len()], expected, "{count} of {size}");
            }
        }
    }

    #[test]
    fn more_than_there_is_cannot_be_drawn() {
        assert_eq!(sample_indices(&mut PythonRandom::new(1), 3, 4), None);
        assert_eq!(sample_indices(&mut PythonRandom::new(1), 0, 0), Some(vec![]));
    }

    proptest! {
        #[test]
        fn draws_are_distinct_and_inside_the_population(size in 0usize..3000, share in 0.0f64..=1.0, seed in any::<u64>()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let count = (size as f64 * share) as usize;
            let drawn = sample_indices(&mut PythonRandom::new(seed), size, count).unwrap();
            prop_assert_eq!(drawn.len(), count);
            prop_assert!(drawn.iter().all(|index| *index < size));
            prop_assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), count);
        }
    }
}
