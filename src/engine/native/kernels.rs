//! The arithmetic of the decoder on plain slices: matrix products, normalisation, activations, softmax.
#![allow(clippy::inline_always, reason = "loops over these functions are vectorised only where they are inlined")]

use rayon::prelude::*;

/// A loop that is compiled for several instruction sets: `run` must be `#[inline(always)]`. (A closure would be compiled once, for the
/// plain one, and called.)
pub(super) trait Loop {
    /// What the loop gives.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// Runs a loop with the widest vectors that this processor has.
#[inline(always)]
pub(super) fn widest<L: Loop>(work: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,fma")]
        fn wide<L: Loop>(work: L) -> L::Output {
            work.run()
        }
        #[target_feature(enable = "avx2,fma")]
        fn middle<L: Loop>(work: L) -> L::Output {
            work.run()
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
            // SAFETY: the processor has these instructions.
            return unsafe { wide(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
            // SAFETY: the processor has these instructions.
            return unsafe { middle(work) };
        }
    }
    work.run()
}

/// Elements below which a loop is not worth a second thread.
const SEQUENTIAL: usize = 1 << 14;

/// Calls `work` with each row of a matrix, on all threads where the matrix is large.
pub(super) fn each_row(data: &mut [f32], width: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    if data.len() < SEQUENTIAL {
        data.chunks_exact_mut(width).enumerate().for_each(|(index, row)| work(index, row));
    } else {
        let least = (SEQUENTIAL / width.max(1)).max(1);
        data.par_chunks_exact_mut(width).with_min_len(least).enumerate().for_each(|(index, row)| work(index, row));
    }
}

/// As [`each_row`] for two matrices of as many rows: the first is written, the second read.
pub(super) fn each_row_with(data: &mut [f32], width: usize, other: &[f32], other_width: usize, work: impl Fn(&mut [f32], &[f32]) + Sync) {
    each_row(data, width, |index, row| work(row, &other[index * other_width..(index + 1) * other_width]));
}

/// target += source · factor.
pub(super) fn add_scaled(target: &mut [f32], source: &[f32], factor: f32) {
    let width = SEQUENTIAL.min(target.len().max(1));
    let work = |(target, source): (&mut [f32], &[f32])| {
        for (target, source) in target.iter_mut().zip(source) {
            *target += source * factor;
        }
    };
    target.par_chunks_mut(width).zip(source.par_chunks(width)).for_each(work);
}

/// eˣ to about one unit in the last place, 0 below −87.3 and at −∞.
///
/// Without branches, so that loops over it are vectorised. x = n·ln 2 + r with |r| ≤ ln 2 / 2, and a polynomial for eʳ (Cephes `expf`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.33;
    /// 1.5 · 2²³: a number of small size added to it is rounded to a whole one, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(LOWEST, 88.72);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = n * -0.693_359_4 + clamped;
    let r = n * 2.121_944_4e-4 + r;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.000_000_3e-1;
    let value = p * r * r + r + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    // A NaN stays one: every comparison with it is false.
    if x < LOWEST { 0.0 } else { value * scale }
}

/// tanh x.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let clamped = x.clamp(-15.0, 15.0);
    let e = exp(2.0 * clamped);
    // Near 0 the quotient loses digits: there the series x − x³/3 + 2x⁵/15 is exact to the last place.
    let square = x * x;
    let near = x * (1.0 - square * (1.0 / 3.0 - square * (2.0 / 15.0 - square * (17.0 / 315.0))));
    if x.abs() < 0.1 { near } else { (e - 1.0) / (e + 1.0) }
}

/// The error function by the rational approximation that Eigen uses for single precision, within 4·10⁻⁷.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142e-10_f32;
    p = p * s + 2.770_681_5e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906_3e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5_f32;
    q = q * s - 2.133_740_6e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    x * p / q
}

/// The function between the two halves of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x).
    Gelu,
    /// The approximation of [`Activation::Gelu`] by tanh.
    GeluTanh,
    /// x · σ(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
    /// max(x, 0)².
    SquaredRelu,
    /// tanh x.
    Tanh,
    /// σ(x).
    Sigmoid,
}

impl Activation {
    /// The function by the name that `config.json` has for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "relu" => Self::Relu,
            "relu2" => Self::SquaredRelu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            _ => return None,
        })
    }

    /// Applies the function to a row.
    pub(super) fn apply(self, row: &mut [f32]) {
        widest(Apply { activation: self, row });
    }

    #[inline(always)]
    fn apply_here(self, row: &mut [f32]) {
        match self {
            Self::Silu => each(row, silu),
            Self::Gelu => each(row, gelu),
            Self::GeluTanh => each(row, gelu_tanh),
            Self::QuickGelu => each(row, quick_gelu),
            Self::Relu => each(row, relu),
            Self::SquaredRelu => each(row, squared_relu),
            Self::Tanh => each(row, tanh),
            Self::Sigmoid => each(row, sigmoid),
        }
    }

    /// Multiplies a row by the function of another.
    pub(super) fn multiply(self, gate: &[f32], row: &mut [f32]) {
        widest(Multiply { activation: self, gate, row });
    }

    #[inline(always)]
    fn multiply_here(self, gate: &[f32], row: &mut [f32]) {
        match self {
            Self::Silu => each_product(gate, row, silu),
            Self::Gelu => each_product(gate, row, gelu),
            Self::GeluTanh => each_product(gate, row, gelu_tanh),
            Self::QuickGelu => each_product(gate, row, quick_gelu),
            Self::Relu => each_product(gate, row, relu),
            Self::SquaredRelu => each_product(gate, row, squared_relu),
            Self::Tanh => each_product(gate, row, tanh),
            Self::Sigmoid => each_product(gate, row, sigmoid),
        }
    }
}

struct Apply<'a> {
    activation: Activation,
    row: &'a mut [f32],
}

impl Loop for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.activation.apply_here(self.row);
    }
}

struct Multiply<'a> {
    activation: Activation,
    gate: &'a [f32],
    row: &'a mut [f32],
}

impl Loop for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.activation.multiply_here(self.gate, self.row);
    }
}

#[inline(always)]
fn each(row: &mut [f32], function: impl Fn(f32) -> f32) {
    for value in row {
        *value = function(*value);
    }
}

#[inline(always)]
fn each_product(gate: &[f32], row: &mut [f32], function: impl Fn(f32) -> f32) {
    for (value, gate) in row.iter_mut().zip(gate) {
        *value *= function(*gate);
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)))
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    // Written so that what is no number stays none.
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn squared_relu(x: f32) -> f32 {
    relu(x) * relu(x)
}

/// Replaces scores (position × lane) by exponentials, and gives 1 by their sums: each lane sees the positions from its `first` to before its
/// `last`; the others become 0. Lanes that see nothing get 0. `COUNT` must be a multiple of [`LANES`].
pub(super) fn softmax_lanes<const COUNT: usize>(
    scores: &mut [f32],
    first: [u32; COUNT],
    last: [u32; COUNT],
    cap: Option<f32>,
) -> [f32; COUNT] {
    const { assert!(COUNT.is_multiple_of(LANES)) };
    let mut sums = [0f32; COUNT];
    for (block, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let place = block * LANES;
        let (mut begins, mut ends) = ([0; LANES], [0; LANES]);
        begins.copy_from_slice(&first[place..place + LANES]);
        ends.copy_from_slice(&last[place..place + LANES]);
        *sums = widest(Softmax::<COUNT> { scores: &mut *scores, place, first: begins, last: ends, cap });
    }
    sums.map(|sum| if sum == 0.0 { 0.0 } else { 1.0 / sum })
}

/// [`softmax_lanes`] for the lanes from `place` on: as many as a vector holds.
struct Softmax<'a, const COUNT: usize> {
    scores: &'a mut [f32],
    place: usize,
    first: [u32; LANES],
    last: [u32; LANES],
    cap: Option<f32>,
}

impl<const COUNT: usize> Loop for Softmax<'_, COUNT> {
    type Output = [f32; LANES];

    #[inline(always)]
    fn run(self) -> [f32; LANES] {
        let Self { scores, place, first, last, cap } = self;
        let lanes = |scores: &[f32; COUNT]| -> [f32; LANES] {
            let mut lanes = [0f32; LANES];
            lanes.copy_from_slice(&scores[place..place + LANES]);
            lanes
        };
        let scores = scores.as_chunks_mut::<COUNT>().0;
        if let Some(cap) = cap {
            for scores in scores.iter_mut() {
                for score in &mut scores[place..place + LANES] {
                    *score = cap * tanh(*score / cap);
                }
            }
        }
        let seen_by: [u32; LANES] = std::array::from_fn(|lane| last[lane].saturating_sub(first[lane]));
        let mut highest = [f32::NEG_INFINITY; LANES];
        for (position, scores) in (0u32..).zip(scores.iter_mut()) {
            let mut seen = lanes(scores);
            for lane in 0..LANES {
                // One unsigned comparison, without a branch: what lies before the first is far beyond the last.
                let is_seen = position.wrapping_sub(first[lane]) < seen_by[lane];
                seen[lane] = if is_seen { seen[lane] } else { f32::NEG_INFINITY };
                highest[lane] = if seen[lane] > highest[lane] { seen[lane] } else { highest[lane] };
            }
            scores[place..place + LANES].copy_from_slice(&seen);
        }
        // In a lane that sees nothing, −∞ less −∞ would be no number.
        let highest = highest.map(|highest| if highest == f32::NEG_INFINITY { 0.0 } else { highest });
        let mut sums = [0f32; LANES];
        for scores in scores.iter_mut() {
            let mut values = lanes(scores);
            for lane in 0..LANES {
                values[lane] = exp(values[lane] - highest[lane]);
                sums[lane] += values[lane];
            }
            scores[place..place + LANES].copy_from_slice(&values);
        }
        sums
    }
}

/// Independent partial results of a reduction: the compiler may compute them side by side.
const LANES: usize = 16;

#[inline(always)]
fn maximum(row: &[f32]) -> f32 {
    let mut highest = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (highest, value) in highest.iter_mut().zip(chunk) {
            *highest = if *value > *highest { *value } else { *highest };
        }
    }
    highest.iter().copied().fold(rest, f32::max)
}

/// The most probable token (ties: the lowest id) and the logarithm of the sum of exponentials, NaN where a logit is NaN or +∞.
pub(super) fn normaliser(logits: &[f32]) -> (usize, f64) {
    widest(Normaliser { logits })
}

struct Normaliser<'a> {
    logits: &'a [f32],
}

impl Loop for Normaliser<'_> {
    type Output = (usize, f64);

    #[inline(always)]
    fn run(self) -> (usize, f64) {
        normaliser_here(self.logits)
    }
}

#[inline(always)]
fn normaliser_here(logits: &[f32]) -> (usize, f64) {
    /// Terms that are added in f32 before they are added in f64.
    const PART: usize = 64 * LANES;
    let highest = maximum(logits);
    let mut total = 0f64;
    for part in logits.chunks(PART) {
        total += f64::from(sum_of(part, |logit| exp(logit - highest)));
    }
    let top = logits.iter().position(|&logit| logit == highest).unwrap_or(0);
    // A NaN among the logits is one in the sum; +∞ less itself is one, too.
    (top, f64::from(highest) + total.ln())
}

/// Sum of a term of each element, in partial sums.
#[inline(always)]
pub(super) fn sum_of(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().copied().map(&term).sum();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += term(*value);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Multiplies all elements.
pub(super) fn scale(row: &mut [f32], factor: f32) {
    for value in row {
        *value *= factor;
    }
}

/// A bounded score: cap · tanh(x / cap).
pub(super) fn cap(row: &mut [f32], cap: f32) {
    for value in row {
        *value = cap * tanh(*value / cap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The functions equal those of the standard library (in f64) within a few units in the last place.
    #[test]
    fn elementary_functions_are_accurate() {
        for step in -8000..=8000_i32 {
            let x = f64::from(step) / 100.0;
            #[expect(clippy::cast_possible_truncation, reason = "the argument of the function under test")]
            let single = x as f32;
            let exact = f64::from(single).exp();
            assert!((f64::from(exp(single)) - exact).abs() <= 3e-7 * exact, "exp {x}");
            let exact = f64::from(single).tanh();
            assert!((f64::from(tanh(single)) - exact).abs() <= 3e-7 * exact.abs() + 1e-12, "tanh {x}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan() && tanh(f32::NAN).is_nan() && erf(f32::NAN).is_nan());
        // Values of the error function from its tables.
        for (x, exact) in
            [(0.0f32, 0.0f32), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3), (-1.5, -0.966_105_1), (3.0, 0.999_977_9)]
        {
            assert!((erf(x) - exact).abs() < 5e-7, "erf {x}: {}", erf(x));
        }
    }

    /// The sum over a row is that of the shared definition, and what is no number is noticed.
    #[test]
    fn the_normaliser_is_the_shared_one() {
        let mut logits: Vec<f32> = (0..5000).map(|index| ((index * 7919) % 1009) as f32 / 40.0 - 9.0).collect();
        let (ours, theirs) = (normaliser(&logits), crate::engine::sampling::normaliser(&logits));
        assert_eq!(ours.0, theirs.0);
        assert!((ours.1 - theirs.1).abs() < 1e-6, "{ours:?} {theirs:?}");
        logits[4321] = f32::NAN;
        assert!(normaliser(&logits).1.is_nan());
        logits[4321] = f32::INFINITY;
        assert!(!normaliser(&logits).1.is_finite());
        assert!(!normaliser(&[f32::NEG_INFINITY; 3]).1.is_finite());
    }

    /// Each lane's exponentials, times what is given for it, are the softmax of what it sees.
    #[test]
    fn lanes_see_only_their_ranges() {
        const COUNT: usize = 32;
        let mut scores: Vec<f32> = (0..40 * COUNT).map(|index| ((index * 31) % 17) as f32 / 7.0).collect();
        scores[COUNT + 1] = f32::NAN;
        let before = scores.clone();
        let first: [u32; COUNT] = std::array::from_fn(|lane| [0, 3, 38, 0][lane % 4]);
        let last: [u32; COUNT] = std::array::from_fn(|lane| [40, 37, 40, 0][lane % 4]);
        let inverse = softmax_lanes(&mut scores, first, last, None);
        for lane in (0..COUNT).filter(|lane| *lane != 1) {
            let (first, last) = (first[lane] as usize, last[lane] as usize);
            let total: f32 = (first..last).map(|position| before[position * COUNT + lane].exp()).sum();
            for position in 0..40 {
                let value = scores[position * COUNT + lane] * inverse[lane];
                let expected = if (first..last).contains(&position) { before[position * COUNT + lane].exp() / total } else { 0.0 };
                assert!((value - expected).abs() < 1e-6, "lane {lane}, position {position}: {value} {expected}");
            }
        }
        // The NaN of lane 1 stands at a position that it does not see.
        assert!(inverse[1].is_finite());
    }
}
