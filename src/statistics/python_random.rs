//! Python's `random.Random`, number for number: lm-evaluation-harness draws its bootstrap samples (and few-shot examples) with it.

use rand_mt::Mt;

/// The generator that `random.Random(seed)` gives in Python 3 (MT19937, seeded by `init_by_array` with the seed's 32-bit words).
#[derive(Debug, Clone)]
pub struct PythonRandom {
    generator: Mt,
}

impl PythonRandom {
    /// `random.Random(seed)` for a non-negative integer seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let [low, high] = [seed & 0xffff_ffff, seed >> 32].map(|word| u32::try_from(word).unwrap_or(u32::MAX));
        let key: &[u32] = if high == 0 { &[low] } else { &[low, high] };
        Self { generator: Mt::new_with_key(key.iter().copied()) }
    }

    /// `getrandbits(bits)` for 1 to 32 bits; more than 32 are treated as 32, and 0 bits give 0 without a draw.
    pub fn getrandbits(&mut self, bits: u32) -> u32 {
        if bits == 0 { 0 } else { self.generator.next_u32() >> (32 - bits.min(32)) }
    }

    /// `random()`: uniform in [0, 1) with 53 bits.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.generator.next_u32() >> 5);
        let low = f64::from(self.generator.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `_randbelow(n)`: uniform in 0..n by rejection, as `sample`, `shuffle` and `randrange` draw. 0 gives 0 without a draw.
    pub fn below(&mut self, n: u32) -> u32 {
        let bits = u32::BITS - n.leading_zeros();
        loop {
            let drawn = self.getrandbits(bits);
            if drawn < n || n == 0 {
                return drawn;
            }
        }
    }

    /// An index as `choices(population)` without weights draws it: `floor(random() * n)`, in 0..n. 0 gives 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in 0..n, so it fits a usize")]
    pub fn choice_index(&mut self, n: usize) -> usize {
        (self.random() * n as f64).floor() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Python 3.11: `r = random.Random(1234); [r.getrandbits(32) for _ in range(5)]`, `[r.random() for _ in range(2)]`.
    #[test]
    fn draws_what_cpython_draws() {
        let mut random = PythonRandom::new(1234);
        let bits: Vec<u32> = (0..5).map(|_| random.getrandbits(32)).collect();
        assert_eq!(bits, [4_150_886_329, 3_342_196_574, 1_892_932_127, 501_869_158, 32_175_636]);

        let mut random = PythonRandom::new(1234);
        assert_eq!(
            [random.random(), random.random()].map(f64::to_bits),
            [0.966_453_535_692_138_8, 0.440_732_599_175_352_7].map(f64::to_bits)
        );
    }

    /// Values of Python 3.11: `Random(0).choices(range(1000), k=6)`, `r = Random(7); [r._randbelow(10) for _ in range(8)]`, `Random(2**40 + 3).random()`.
    #[test]
    fn choices_below_and_wide_seeds_agree_with_cpython() {
        let mut random = PythonRandom::new(0);
        assert_eq!((0..6).map(|_| random.choice_index(1000)).collect::<Vec<_>>(), CHOICES);
        let mut random = PythonRandom::new(7);
        assert_eq!((0..8).map(|_| random.below(10)).collect::<Vec<_>>(), BELOW);
        assert_eq!(PythonRandom::new((1 << 40) + 3).random().to_bits(), WIDE.to_bits());
    }

    const CHOICES: [usize; 6] = [844, 757, 420, 258, 511, 404];
    const BELOW: [u32; 8] = [5, 2, 6, 0, 1, 8, 1, 5];
    const WIDE: f64 = 0.219_787_106_371_167_16;
}
