//! Products with weights: y = x Wᵀ, with the weights packed for the processor's vectors.
//!
//! Weights stand in panels of [`PANEL`] outputs, input by input, so that the innermost loop reads them in order. A tile of rows × outputs is
//! kept in registers while the inputs pass by; the loop is written in plain Rust and compiled for each instruction set, of which the widest
//! is chosen at run time.
//!
//! Each output is one chain of multiplications and additions over its inputs, whose order depends on nothing else. So a row gives the same
//! bits whatever rows it is computed with, on however many threads.

use super::weights::Matrix;
use rayon::prelude::*;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

/// Outputs of a panel.
pub(super) const PANEL: usize = 32;

/// Inputs that pass by before a tile is put aside: a panel's part stays in a core's caches for all rows of a task.
const DEPTH: usize = 512;

/// Rows that one task computes: a multiple of every kernel's rows.
const ROWS: usize = 96;

/// Rows for which a tile of all rows would compute more than the memory brings.
const FEW: usize = 4;

/// Most rows of a tile.
pub(super) const MOST: usize = 12;

/// Operations below which a product is not worth a second thread.
const SEQUENTIAL: usize = 1 << 18;

/// Weights of a linear map, packed.
pub(super) struct Packed {
    /// Panel × input × output within the panel; outputs beyond the last are 0.
    panels: Arc<Vec<f32>>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Packed {
    /// Packs a matrix outputs × inputs, or inputs × outputs where `is_transposed` says so.
    pub(super) fn new(matrix: &Matrix, is_transposed: bool) -> Self {
        let (outputs, inputs) = if is_transposed { (matrix.columns, matrix.rows) } else { (matrix.rows, matrix.columns) };
        let (values, stride) = (matrix.values(), matrix.stride);
        let mut panels = vec![0f32; outputs.div_ceil(PANEL) * PANEL * inputs];
        panels.par_chunks_exact_mut(PANEL * inputs).enumerate().for_each(|(number, panel)| {
            let first = number * PANEL;
            let count = PANEL.min(outputs - first);
            if is_transposed {
                for (input, part) in panel.chunks_exact_mut(PANEL).enumerate() {
                    part[..count].copy_from_slice(&values[input * stride + first..][..count]);
                }
            } else {
                for place in 0..count {
                    let row = &values[(first + place) * stride..][..inputs];
                    for (value, part) in row.iter().zip(panel.chunks_exact_mut(PANEL)) {
                        part[place] = *value;
                    }
                }
            }
        });
        Self { panels: Arc::new(panels), inputs, outputs }
    }

    /// y = x Wᵀ + b for `rows` rows.
    ///
    /// # Panics
    /// Where `input` or `out` is shorter than `rows` rows: that would be a slip of this program, not of its input.
    pub(super) fn apply(&self, input: &[f32], rows: usize, bias: Option<&[f32]>, out: &mut [f32]) {
        let (input, out) = (&input[..rows * self.inputs], &mut out[..rows * self.outputs]);
        let panels = self.outputs.div_ceil(PANEL);
        if rows * self.inputs * self.outputs < SEQUENTIAL {
            for (input, out) in input.chunks(ROWS * self.inputs).zip(out.chunks_mut(ROWS * self.outputs)) {
                self.block(input, 0..panels, bias, out, self.outputs);
            }
            return;
        }
        let blocks = rows.div_ceil(ROWS);
        let wanted = 4 * rayon::current_num_threads();
        if blocks >= wanted {
            let tasks = input.par_chunks(ROWS * self.inputs).zip(out.par_chunks_mut(ROWS * self.outputs));
            tasks.for_each(|(input, out)| self.block(input, 0..panels, bias, out, self.outputs));
            return;
        }
        // Too few rows for all threads: the outputs are divided, too, each part with a place of its own.
        let width = panels.div_ceil(wanted.div_ceil(blocks).min(panels));
        let splits = panels.div_ceil(width);
        let parts: Vec<Vec<f32>> = (0..blocks * splits)
            .into_par_iter()
            .map(|task| {
                let (block, split) = (task / splits, task % splits);
                let input = &input[block * ROWS * self.inputs..];
                let input = &input[..input.len().min(ROWS * self.inputs)];
                let range = split * width..((split + 1) * width).min(panels);
                let columns = (range.end * PANEL).min(self.outputs) - range.start * PANEL;
                let mut part = vec![0f32; input.len() / self.inputs * columns];
                self.block(input, range, bias, &mut part, columns);
                part
            })
            .collect();
        super::kernels::each_row(out, self.outputs, |row, out| {
            let (block, place) = (row / ROWS, row % ROWS);
            for (split, out) in out.chunks_mut(width * PANEL).enumerate() {
                out.copy_from_slice(&parts[block * splits + split][place * out.len()..][..out.len()]);
            }
        });
    }

    /// A block of rows and a range of panels, on one thread; `out` has `stride` columns, the first of which is the first panel's.
    fn block(&self, input: &[f32], range: std::ops::Range<usize>, bias: Option<&[f32]>, out: &mut [f32], stride: usize) {
        let inputs = self.inputs;
        let rows = input.len() / inputs;
        let kernel = if rows <= FEW { *FEW_KERNEL } else { kernel() };
        SCRATCH.with_borrow_mut(|Scratch { packed, tiles }| {
            pack_rows(input, inputs, kernel.rows, packed);
            let parts = rows.div_ceil(kernel.rows);
            tiles.resize(parts, [[0.0; PANEL]; MOST]);
            for (number, panel) in range.enumerate() {
                let weights = &self.panels[panel * PANEL * inputs..][..PANEL * inputs];
                tiles.fill([[0.0; PANEL]; MOST]);
                for (depth, weights) in weights.chunks(DEPTH * PANEL).enumerate() {
                    for (part, tile) in packed.chunks_exact(inputs * kernel.rows).zip(tiles.iter_mut()) {
                        (kernel.tile)(&part[depth * DEPTH * kernel.rows..], kernel.rows, weights, tile);
                    }
                }
                let (column, first) = (number * PANEL, panel * PANEL);
                let columns = PANEL.min(self.outputs - first);
                let values = tiles.iter().flat_map(|tile| tile.iter().take(kernel.rows));
                for (row, values) in out.chunks_exact_mut(stride).zip(values) {
                    let place = &mut row[column..column + columns];
                    match bias {
                        Some(bias) => {
                            for ((place, value), bias) in place.iter_mut().zip(values).zip(&bias[first..]) {
                                *place = value + bias;
                            }
                        }
                        None => place.copy_from_slice(&values[..columns]),
                    }
                }
            }
        });
    }
}

/// Rows in groups of `height`, input by input; rows beyond the last are 0.
fn pack_rows(input: &[f32], inputs: usize, height: usize, packed: &mut Vec<f32>) {
    let rows = input.len() / inputs;
    packed.clear();
    packed.resize(rows.div_ceil(height) * height * inputs, 0.0);
    for (rows, part) in input.chunks(height * inputs).zip(packed.chunks_exact_mut(height * inputs)) {
        for (place, row) in rows.chunks_exact(inputs).enumerate() {
            for (value, part) in row.iter().zip(part.chunks_exact_mut(height)) {
                part[place] = *value;
            }
        }
    }
}

/// Sums of products that stay in registers: rows × outputs.
pub(super) type Tile = [[f32; PANEL]; MOST];

#[derive(Default)]
struct Scratch {
    packed: Vec<f32>,
    tiles: Vec<Tile>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The innermost loop for one instruction set.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// Rows of a tile.
    pub(super) rows: usize,
    /// Adds to a tile what some inputs give. For each input, the first slice has the rows' values, `stride` elements from input to input, and
    /// the second those of a panel.
    pub(super) tile: fn(&[f32], usize, &[f32], &mut Tile),
}

/// The innermost loop for this processor.
pub(super) fn kernel() -> Kernel {
    *KERNEL
}

/// The widest instruction set that this processor has.
static KERNEL: LazyLock<Kernel> = LazyLock::new(|| {
    let plain = Kernel { rows: 4, tile: |rows, stride, weights, tile| add::<4, 8>(rows, stride, weights, tile, |x, y, sum| x * y + sum) };
    wider().into_iter().next_back().unwrap_or(plain)
});

/// The same for few rows, as when a text is written: a tile of [`FEW`] of them.
static FEW_KERNEL: LazyLock<Kernel> = LazyLock::new(|| few().into_iter().next_back().unwrap_or(*KERNEL));

/// Loops of few rows for instruction sets that this processor has beyond the plain one, the widest last.
fn few() -> Vec<Kernel> {
    #[allow(unused_mut, reason = "there are processors without any")]
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push(Kernel { rows: FEW, tile: x86::middle_few });
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            kernels.push(Kernel { rows: FEW, tile: x86::wide_few });
        }
    }
    kernels
}

/// Loops for instruction sets that this processor has beyond the plain one, the widest last.
fn wider() -> Vec<Kernel> {
    #[allow(unused_mut, reason = "there are processors without any")]
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push(Kernel { rows: 6, tile: x86::middle });
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
            kernels.push(Kernel { rows: 12, tile: x86::wide });
        }
    }
    #[cfg(target_arch = "aarch64")]
    kernels.push(Kernel { rows: 6, tile: |rows, stride, weights, tile| add::<6, 16>(rows, stride, weights, tile, f32::mul_add) });
    kernels
}

/// Adds to `HEIGHT` rows of a tile, `WIDTH` outputs at a time: as many as the registers hold.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for the instruction set of its caller")]
fn add<const HEIGHT: usize, const WIDTH: usize>(
    rows: &[f32],
    stride: usize,
    weights: &[f32],
    tile: &mut Tile,
    multiply_add: impl Fn(f32, f32, f32) -> f32,
) {
    for part in 0..PANEL / WIDTH {
        let mut sums = [[0f32; WIDTH]; HEIGHT];
        for (sums, tile) in sums.iter_mut().zip(tile.iter()) {
            sums.copy_from_slice(&tile[part * WIDTH..][..WIDTH]);
        }
        for (input, weights) in weights.as_chunks::<PANEL>().0.iter().enumerate() {
            let rows = &rows[input * stride..][..HEIGHT];
            for (sums, row) in sums.iter_mut().zip(rows) {
                for (sum, weight) in sums.iter_mut().zip(&weights[part * WIDTH..]) {
                    *sum = multiply_add(*row, *weight, *sum);
                }
            }
        }
        for (sums, tile) in sums.iter().zip(tile.iter_mut()) {
            tile[part * WIDTH..][..WIDTH].copy_from_slice(sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::redundant_closure_for_method_calls, reason = "a closure is compiled for the instruction set of its function")]
mod x86 {
    use super::{FEW, Tile, add};

    #[target_feature(enable = "avx512f,fma")]
    fn add_wide(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        add::<12, 32>(rows, stride, weights, tile, |x, y, sum| x.mul_add(y, sum));
    }

    #[target_feature(enable = "avx512f,fma")]
    fn add_wide_few(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        add::<FEW, 32>(rows, stride, weights, tile, |x, y, sum| x.mul_add(y, sum));
    }

    #[target_feature(enable = "avx2,fma")]
    fn add_middle_few(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        add::<FEW, 16>(rows, stride, weights, tile, |x, y, sum| x.mul_add(y, sum));
    }

    #[target_feature(enable = "avx2,fma")]
    fn add_middle(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        add::<6, 16>(rows, stride, weights, tile, |x, y, sum| x.mul_add(y, sum));
    }

    /// 512-bit vectors.
    pub(super) fn wide(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
        // SAFETY: chosen only where the processor has these instructions.
        unsafe {
            add_wide(rows, stride, weights, tile);
        }
    }

    /// 512-bit vectors, few rows.
    pub(super) fn wide_few(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
        // SAFETY: chosen only where the processor has these instructions.
        unsafe {
            add_wide_few(rows, stride, weights, tile);
        }
    }

    /// 256-bit vectors, few rows.
    pub(super) fn middle_few(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
        // SAFETY: chosen only where the processor has these instructions.
        unsafe {
            add_middle_few(rows, stride, weights, tile);
        }
    }

    /// 256-bit vectors.
    pub(super) fn middle(rows: &[f32], stride: usize, weights: &[f32], tile: &mut Tile) {
        #[expect(unsafe_code, reason = "the instruction set is known at run time only")]
        // SAFETY: chosen only where the processor has these instructions.
        unsafe {
            add_middle(rows, stride, weights, tile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers, so that every sum is exact in whatever order.
    fn values(count: usize, step: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * step) % 7) as f32 - 3.0).collect()
    }

    /// Products of all shapes are exact, stored either way, for few rows and many.
    #[test]
    fn products_are_exact() {
        for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 33), (12, 600, 64), (97, 40, 31), (800, 24, 70), (130, 1030, 5)] {
            let (x, w, b) = (values(rows * inputs, 3), values(outputs * inputs, 5), values(outputs, 2));
            let flipped: Vec<f32> = (0..inputs * outputs).map(|place| w[place % outputs * inputs + place / outputs]).collect();
            let packed = Packed::new(&Matrix::owned(w.clone(), outputs, inputs), false);
            let other = Packed::new(&Matrix::owned(flipped, inputs, outputs), true);
            let (mut one, mut two) = (vec![f32::NAN; rows * outputs], vec![f32::NAN; rows * outputs]);
            packed.apply(&x, rows, Some(&b), &mut one);
            other.apply(&x, rows, Some(&b), &mut two);
            assert_eq!(one, two);
            for row in [0, rows / 2, rows - 1] {
                for output in 0..outputs {
                    let products = x[row * inputs..][..inputs].iter().zip(&w[output * inputs..]).map(|(x, w)| x * w);
                    assert_eq!(one[row * outputs + output], products.sum::<f32>() + b[output]);
                }
            }
        }
    }

    /// The loops for all instruction sets that this processor has are exact.
    #[test]
    fn all_loops_are_exact() {
        let plain =
            Kernel { rows: 4, tile: |rows, stride, weights, tile| add::<4, 8>(rows, stride, weights, tile, |x, y, sum| x * y + sum) };
        let (rows, weights) = (values(50 * 20, 3), values(50 * PANEL, 5));
        for kernel in wider().into_iter().chain(few()).chain([plain]) {
            let mut tile: Tile = [[1.0; PANEL]; MOST];
            (kernel.tile)(&rows, 20, &weights, &mut tile);
            for (row, tile) in tile.iter().enumerate() {
                for (output, value) in tile.iter().enumerate() {
                    let sum: f32 = (0..50).map(|input| rows[input * 20 + row] * weights[input * PANEL + output]).sum();
                    assert_eq!(*value, if row < kernel.rows { 1.0 + sum } else { 1.0 }, "{} rows", kernel.rows);
                }
            }
        }
    }

    /// A row gives the same bits in any company.
    #[test]
    fn a_row_gives_the_same_bits_in_any_company() {
        let (inputs, outputs) = (700, 200);
        let noise = |seed: usize, count: usize| -> Vec<f32> {
            (0..count).map(|index| ((index * 7919 + seed * 104_729) % 10_007) as f32 / 5_003.5 - 1.0).collect()
        };
        let packed = Packed::new(&Matrix::owned(noise(1, inputs * outputs), outputs, inputs), false);
        let x = noise(2, 900 * inputs);
        let mut all = vec![0.0; 900 * outputs];
        packed.apply(&x, 900, None, &mut all);
        for (first, count) in [(0, 1), (5, 13), (800, 100), (37, 300)] {
            let mut some = vec![0.0; count * outputs];
            packed.apply(&x[first * inputs..], count, None, &mut some);
            assert_eq!(some, all[first * outputs..(first + count) * outputs]);
        }
    }

    /// What one thread computes in GFLOP/s on the linear maps of the 135M shape, for docs/performance.md: it asserts nothing.
    #[test]
    #[ignore = "measures"]
    fn rate() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        pool.install(|| {
            for rows in [1, 4, 16, 48, 512, 2048] {
                let mut rates = Vec::new();
                for (inputs, outputs) in [(576, 576), (576, 192), (576, 1536), (1536, 576)] {
                    let packed = Packed::new(&Matrix::owned(values(inputs * outputs, 5), outputs, inputs), false);
                    let (x, mut y) = (values(rows * inputs, 3), vec![0f32; rows * outputs]);
                    let work = 2 * rows * inputs * outputs;
                    let times = (2_000_000_000 / work).max(1);
                    // The best of several turns: others use the machine, too.
                    let seconds = (0..8).map(|_| {
                        let begun = std::time::Instant::now();
                        (0..times).for_each(|_| packed.apply(&x, rows, None, &mut y));
                        begun.elapsed().as_secs_f64()
                    });
                    let rate = (times * work) as f64 / seconds.fold(f64::INFINITY, f64::min) / 1e9;
                    rates.push(format!("{inputs} x {outputs}: {rate:.0}"));
                }
                println!("{rows} rows, GFLOP/s: {}", rates.join(", "));
            }
        });
    }
}
