//! Rotary position embeddings: the frequencies of each published scaling, and the rotation of rows.
//!
//! Formulas: the original (Su et al. 2021), `linear` and `dynamic` (position interpolation and its NTK-aware form), `yarn` (Peng et al. 2023),
//! `llama3` (Llama 3.1), `longrope` (Ding et al. 2024), each as transformers' `modeling_rope_utils.py` defines it.

use std::f64::consts::PI;

/// Rotary positions of a set of layers.
pub(super) struct Rope {
    /// Angle per position of each pair of elements.
    frequencies: Vec<f32>,
    /// Factor of sine and cosine.
    magnitude: f32,
    /// Longest input for which the frequencies are these; none: any.
    pub(super) longest: Option<usize>,
    /// Cosines and sines of the positions so far, position × 2 × pairs.
    table: Vec<f32>,
}

/// What a scaling of the frequencies needs besides the base.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scaling {
    /// None.
    Default,
    /// All frequencies divided.
    Linear { factor: f64 },
    /// Frequencies divided where their wave is long.
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// Between interpolation and extrapolation, by wave length; `magnitude` multiplies sine and cosine.
    Yarn { factor: f64, original: f64, fast: f64, slow: f64, truncate: bool, magnitude: f64 },
    /// Frequencies divided one by one; `magnitude` multiplies sine and cosine.
    LongRope { factors: Vec<f64>, magnitude: f64 },
}

impl Rope {
    /// The rotation of the first `width` elements of each head. An odd width is that of the exponents alone: one element more is rotated.
    #[expect(clippy::cast_possible_truncation, reason = "the definition computes in f32")]
    pub(super) fn new(base: f64, width: usize, scaling: &Scaling) -> Self {
        let pairs = width.div_ceil(2);
        let power = |pair: usize| (base as f32).powf((2 * pair) as f32 / width as f32);
        let plain = |pair: usize| 1.0 / power(pair);
        let mut magnitude = 1.0;
        let frequencies = match scaling {
            Scaling::Default => (0..pairs).map(plain).collect(),
            Scaling::Linear { factor } => (0..pairs).map(|pair| plain(pair) / *factor as f32).collect(),
            Scaling::Llama3 { factor, low, high, original } => {
                (0..pairs).map(|pair| llama3(f64::from(plain(pair)), *factor, *low, *high, *original) as f32).collect()
            }
            Scaling::Yarn { factor, original, fast, slow, truncate, magnitude: given } => {
                magnitude = *given;
                let place = |rotations: f64| width as f64 * (original / (rotations * 2.0 * PI)).ln() / (2.0 * base.ln());
                let (mut low, mut high) = (place(*fast), place(*slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(width as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let kept = |pair: usize| 1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                let interpolated = |pair: usize| 1.0 / (*factor as f32 * power(pair));
                (0..pairs).map(|pair| interpolated(pair) * (1.0 - kept(pair)) + plain(pair) * kept(pair)).collect()
            }
            Scaling::LongRope { factors, magnitude: given } => {
                magnitude = *given;
                (0..pairs).map(|pair| 1.0 / (factors[pair] as f32 * power(pair))).collect()
            }
        };
        Self { frequencies, magnitude: magnitude as f32, longest: None, table: Vec::new() }
    }

    /// The same for inputs of at most `longest` tokens: beyond it the definition has other frequencies.
    pub(super) fn up_to(self, longest: usize) -> Self {
        Self { longest: Some(longest), ..self }
    }

    /// Number of elements of each head that are rotated.
    pub(super) fn width(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Computes sines and cosines of all positions below `count`.
    pub(super) fn reach(&mut self, count: usize) {
        let known = self.table.len() / self.width().max(1);
        for position in known..count {
            let angles = self.frequencies.iter().map(|frequency| position as f32 * frequency);
            let cosines: Vec<f32> = angles.clone().map(|angle| angle.cos() * self.magnitude).collect();
            self.table.extend(cosines);
            self.table.extend(angles.map(|angle| angle.sin() * self.magnitude).collect::<Vec<f32>>());
        }
    }

    /// Rotates the heads of one row at a position: element i of the first half pairs with element i of the second.
    pub(super) fn rotate(&self, row: &mut [f32], head_width: usize, position: usize) {
        let pairs = self.frequencies.len();
        let (cosines, sines) = self.table[position * 2 * pairs..(position + 1) * 2 * pairs].split_at(pairs);
        super::kernels::widest(Turn { row, head_width, cosines, sines });
    }
}

/// Rotates all heads of a row by the same angles.
struct Turn<'a> {
    row: &'a mut [f32],
    head_width: usize,
    cosines: &'a [f32],
    sines: &'a [f32],
}

impl super::kernels::Loop for Turn<'_> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for the instruction set of its caller")]
    fn run(self) {
        let pairs = self.cosines.len();
        for head in self.row.chunks_exact_mut(self.head_width) {
            let (first, rest) = head.split_at_mut(pairs);
            for (((x, y), cosine), sine) in first.iter_mut().zip(rest).zip(self.cosines).zip(self.sines) {
                (*x, *y) = (*x * cosine - *y * sine, *y * cosine + *x * sine);
            }
        }
    }
}

fn llama3(frequency: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wave = 2.0 * PI / frequency;
    if wave > original / low {
        frequency / factor
    } else if wave < original / high {
        frequency
    } else {
        let smooth = (original / wave - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// The factor of sine and cosine that `yarn` takes where the configuration names none.
pub(super) fn yarn_magnitude(factor: f64, mscale: Option<f64>, mscale_all: Option<f64>) -> f64 {
    let scale = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    match (mscale, mscale_all) {
        (Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
        _ => scale(1.0),
    }
}
