//! The forward pass over a batch of rows that form a forest of token prefixes.
//!
//! All rows go through the linear maps together, in large matrix products. In attention, rows come in blocks; the keys that the rows of a
//! block see lie in *pieces*, runs of places in the cache which all rows of a range see, so that scores and sums are matrix products, too.
//! A piece's columns are the positions of its keys, so that each row's scores stand in the order of its own path.

use super::decoder::{Attention, Decoder, FeedForward, Layer, Norms, Residual};
use super::kernels::{self, Input, Output, matmul};
use crate::engine::TokenId;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Scores that one block of attention holds at a time: they stay in a core's second cache.
const SCORES: usize = 128 << 10;

/// Most rows (times heads that share keys) in one block of attention.
const BLOCK: usize = 256;

/// Keys and values that a range of rows sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// First place in the cache.
    pub(super) slot: usize,
    /// Position of the first key in the path of each row that sees it.
    pub(super) position: usize,
    pub(super) length: usize,
    /// Rows of the batch that see it, as far as it does not lie after them.
    pub(super) rows: Range<usize>,
}

/// What one forward pass computes.
pub(super) struct Batch {
    /// The rows' tokens.
    pub(super) tokens: Vec<TokenId>,
    /// Their positions.
    pub(super) positions: Vec<usize>,
    /// Their places in the cache.
    pub(super) slots: Vec<usize>,
    /// What they see. The pieces of a row cover its positions from 0 to its own without a gap.
    pub(super) pieces: Vec<Piece>,
}

/// Keys and values of all layers.
pub(super) struct Cache {
    /// For each layer keys and values: head × place × width.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    places: usize,
    heads: usize,
    width: usize,
}

impl Cache {
    pub(super) fn new(decoder: &Decoder, places: usize) -> Self {
        let size = places * decoder.key_width();
        let layers = decoder.layers.iter().map(|_| (vec![0.0; size], vec![0.0; size])).collect();
        Self { layers, places, heads: decoder.key_value_heads, width: decoder.head_width }
    }

    /// Copies keys and values of `length` places from `from` to `to`, in all layers.
    pub(super) fn copy(&mut self, from: usize, to: usize, length: usize) {
        let (heads, width, places) = (self.heads, self.width, self.places);
        self.layers.par_iter_mut().for_each(|(keys, values)| {
            for head in 0..heads {
                let start = (head * places + from) * width;
                for part in [&mut *keys, &mut *values] {
                    part.copy_within(start..start + length * width, (head * places + to) * width);
                }
            }
        });
    }

    fn store(part: &mut [f32], rows: &[f32], slots: &[usize], (heads, width, places): (usize, usize, usize)) {
        part.par_chunks_exact_mut(places * width).enumerate().for_each(|(head, part)| {
            for (row, &slot) in rows.chunks_exact(heads * width).zip(slots) {
                part[slot * width..(slot + 1) * width].copy_from_slice(&row[head * width..(head + 1) * width]);
            }
        });
    }
}

/// Buffers that passes share, so that memory is asked for once.
#[derive(Default)]
pub(super) struct Workspace {
    stream: Vec<f32>,
    normed: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    mixed: Vec<f32>,
    branch: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// A buffer's first `length` elements; it grows where it is too short. What it holds is arbitrary.
fn take(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

impl Decoder {
    /// Bytes that one row of a batch needs in buffers.
    pub(super) fn bytes_per_row(&self) -> usize {
        let inner = self.layers.iter().map(|layer| layer.feed_forward.up.outputs()).max().unwrap_or(0);
        4 * (3 * self.hidden + 2 * self.query_width() + 2 * self.key_width() + 2 * inner + self.embedding.columns)
    }

    /// Bytes that one place of the cache needs.
    pub(super) fn bytes_per_place(&self) -> usize {
        8 * self.layers.len() * self.key_width()
    }

    /// Prepares the rotary tables for positions below `count`.
    pub(super) fn reach(&mut self, count: usize) {
        for rope in &mut self.ropes {
            rope.reach(count);
        }
    }

    /// Computes a batch, puts its keys and values into the cache, and gives the final hidden states of the rows in `wanted` (each as wide as
    /// the head's input). [`Decoder::reach`] must have been called for all positions.
    pub(super) fn forward(&self, batch: &Batch, wanted: &[usize], cache: &mut Cache, work: &mut Workspace) -> Vec<f32> {
        let rows = batch.tokens.len();
        self.embed(batch, work);
        for (index, layer) in self.layers.iter().enumerate() {
            self.layer(layer, index, batch, rows, cache, work);
        }
        let mut hidden: Vec<f32> =
            wanted.iter().flat_map(|&row| &work.stream[row * self.hidden..(row + 1) * self.hidden]).copied().collect();
        if let Some(norm) = &self.final_norm {
            norm.apply_all(&mut hidden, self.hidden);
        }
        match &self.project_out {
            Some(project) => {
                let mut projected = vec![0.0; wanted.len() * project.outputs()];
                project.apply(&hidden, wanted.len(), &mut projected);
                projected
            }
            None => hidden,
        }
    }

    /// Logits of hidden states that [`Decoder::forward`] gave: rows × vocabulary.
    pub(super) fn logits(&self, hidden: &[f32], logits: &mut Vec<f32>) {
        let rows = hidden.len() / self.head.inputs();
        let vocabulary = self.vocabulary();
        let logits = take(logits, rows * vocabulary);
        self.head.apply(hidden, rows, logits);
        let (scale, cap) = (self.logit_scale, self.logit_cap);
        if scale != 1.0 || cap.is_some() {
            kernels::each_row(logits, vocabulary, |_, row| {
                kernels::scale(row, scale);
                if let Some(cap) = cap {
                    kernels::cap(row, cap);
                }
            });
        }
    }

    fn embed(&self, batch: &Batch, work: &mut Workspace) {
        let rows = batch.tokens.len();
        let width = self.embedding.columns;
        let embed = |row: &mut [f32], token: TokenId| {
            // Tokens were checked against the embedding before they came here.
            self.embedding.look_up(token as usize, row);
            if self.embedding_scale != 1.0 {
                kernels::scale(row, self.embedding_scale);
            }
        };
        match &self.project_in {
            Some(project) => {
                let narrow = take(&mut work.normed, rows * width);
                kernels::each_row(narrow, width, |index, row| embed(row, batch.tokens[index]));
                project.apply(narrow, rows, take(&mut work.stream, rows * self.hidden));
            }
            None => kernels::each_row(take(&mut work.stream, rows * width), width, |index, row| embed(row, batch.tokens[index])),
        }
        if let Some(positions) = &self.positions {
            kernels::each_row(&mut work.stream[..rows * self.hidden], self.hidden, |index, row| {
                for (value, position) in row.iter_mut().zip(positions.table.row(batch.positions[index] + positions.offset)) {
                    *value += position;
                }
            });
        }
    }

    fn layer(&self, layer: &Layer, index: usize, batch: &Batch, rows: usize, cache: &mut Cache, work: &mut Workspace) {
        let size = rows * self.hidden;
        let Workspace { stream, normed, query, key, value, mixed, branch, gate, up } = work;
        let stream = &mut stream[..size];
        let normed = take(normed, size);
        let branch = take(branch, size);
        self.read(&layer.attention_norms, stream, normed);
        let query = take(query, rows * self.query_width());
        let key = take(key, rows * self.key_width());
        let value = take(value, rows * self.key_width());
        self.project(&layer.attention, batch, normed, (&mut *query, &mut *key, &mut *value));
        let (keys, values) = &mut cache.layers[index];
        let shape = (cache.heads, cache.width, cache.places);
        Cache::store(keys, key, &batch.slots, shape);
        Cache::store(values, value, &batch.slots, shape);
        let mixed = take(mixed, rows * self.query_width());
        self.attend(&layer.attention, batch, query, (keys, values, cache.places), mixed);
        layer.attention.out.apply(mixed, rows, branch);
        match layer.residual {
            Residual::Serial => {
                self.add(&layer.attention_norms, stream, branch);
                self.read(&layer.feed_forward_norms, stream, normed);
                layer.feed_forward.apply(normed, rows, (gate, up), branch);
            }
            Residual::Parallel | Residual::ParallelShared => {
                if layer.residual == Residual::Parallel {
                    self.read(&layer.feed_forward_norms, stream, normed);
                }
                self.add(&layer.attention_norms, stream, branch);
                layer.feed_forward.apply(normed, rows, (gate, up), branch);
            }
        }
        self.add(&layer.feed_forward_norms, stream, branch);
    }

    /// What a branch reads: the stream, normalised where the layer says so.
    fn read(&self, norms: &Norms, stream: &[f32], normed: &mut [f32]) {
        kernels::each_row_with(normed, self.hidden, stream, self.hidden, |row, source| {
            row.copy_from_slice(source);
            if let Some(norm) = &norms.before {
                norm.apply(row);
            }
        });
    }

    /// Adds a branch to the stream.
    fn add(&self, norms: &Norms, stream: &mut [f32], branch: &mut [f32]) {
        if let Some(norm) = &norms.after {
            norm.apply_all(branch, self.hidden);
        }
        kernels::add_scaled(stream, branch, self.residual_scale);
        if let Some(norm) = &norms.sum {
            norm.apply_all(stream, self.hidden);
        }
    }

    /// Queries, keys and values of all rows, normalised and rotated; the queries are scaled.
    fn project(&self, attention: &Attention, batch: &Batch, input: &[f32], (query, key, value): (&mut [f32], &mut [f32], &mut [f32])) {
        let rows = batch.tokens.len();
        attention.query.apply(input, rows, query);
        attention.key.apply(input, rows, key);
        attention.value.apply(input, rows, value);
        let rope = attention.rope.map(|index| &self.ropes[index]);
        for (data, width, norm, scale) in
            [(query, self.query_width(), &attention.query_norm, attention.scale), (key, self.key_width(), &attention.key_norm, 1.0)]
        {
            kernels::each_row(data, width, |index, row| {
                if let Some(norm) = norm {
                    norm.apply(row);
                }
                if let Some(rope) = rope {
                    rope.rotate(row, self.head_width, batch.positions[index]);
                }
                if scale != 1.0 {
                    kernels::scale(row, scale);
                }
            });
        }
    }

    /// Attention of all rows: for each row the values of its path, weighted by the softmax of its scores.
    fn attend(&self, attention: &Attention, batch: &Batch, query: &[f32], cache: (&[f32], &[f32], usize), out: &mut [f32]) {
        let width = self.query_width();
        let longest = batch.positions.iter().max().map_or(1, |position| position + 1);
        let group = self.heads / self.key_value_heads;
        let rows = (SCORES / (longest * group)).min(BLOCK / group).max(1);
        // Enough blocks for all threads.
        let rows = rows.min(batch.tokens.len().div_ceil(2 * rayon::current_num_threads())).max(1);
        out.par_chunks_mut(rows * width).enumerate().for_each(|(index, out)| {
            let from = index * rows;
            let block = from..from + out.len() / width;
            SCRATCH.with_borrow_mut(|scratch| self.attend_block(attention, batch, query, cache, block, out, scratch));
        });
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one product")]
    fn attend_block(
        &self,
        attention: &Attention,
        batch: &Batch,
        query: &[f32],
        (keys, values, places): (&[f32], &[f32], usize),
        block: Range<usize>,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (width, row_width) = (self.head_width, self.query_width());
        let group = self.heads / self.key_value_heads;
        let positions = &batch.positions[block.clone()];
        let columns = positions.iter().max().map_or(0, |position| position + 1);
        // First position that any row of the block sees.
        let window = attention.window.unwrap_or(usize::MAX);
        let first = positions.iter().min().map_or(0, |position| (position + 1).saturating_sub(window));
        let rows = block.len() * group;
        let scores = take(&mut scratch.scores, rows * columns);
        let queries = take(&mut scratch.queries, rows * width);
        let sums = take(&mut scratch.sums, rows * width);
        for head in 0..self.key_value_heads {
            for (row, target) in block.clone().zip(queries.chunks_exact_mut(group * width)) {
                target.copy_from_slice(&query[row * row_width + head * group * width..][..group * width]);
            }
            let visible = batch.pieces.iter().filter_map(|piece| Visible::of(piece, &block, positions, first));
            let start = head * places * width;
            for part in visible.clone() {
                let product = (part.rows.len() * group, width, part.length);
                let target = &mut scores[part.rows.start * group * columns + part.position..];
                let factor = Input::transposed(&keys[start + part.slot * width..], width);
                let source = Input::rows(&queries[part.rows.start * group * width..], width);
                matmul(Output { data: target, stride: columns }, source, factor, product, false);
            }
            for (index, row) in scores.chunks_exact_mut(columns).enumerate() {
                let position = positions[index / group];
                let seen = (position + 1).saturating_sub(window)..position + 1;
                if let Some(cap) = attention.soft_cap {
                    kernels::cap(&mut row[seen.clone()], cap);
                }
                kernels::softmax(row, seen);
            }
            sums.fill(0.0);
            for part in visible {
                let product = (part.rows.len() * group, part.length, width);
                let target = &mut sums[part.rows.start * group * width..];
                let factor = Input::rows(&values[start + part.slot * width..], width);
                let source = Input::rows(&scores[part.rows.start * group * columns + part.position..], columns);
                matmul(Output { data: target, stride: width }, source, factor, product, true);
            }
            for (target, source) in out.chunks_exact_mut(row_width).zip(sums.chunks_exact(group * width)) {
                target[head * group * width..][..group * width].copy_from_slice(source);
            }
        }
    }
}

/// The part of a piece that rows of a block see.
#[derive(Clone)]
struct Visible {
    slot: usize,
    position: usize,
    length: usize,
    /// Rows of the block, from its first.
    rows: Range<usize>,
}

impl Visible {
    fn of(piece: &Piece, block: &Range<usize>, positions: &[usize], first: usize) -> Option<Self> {
        let rows = piece.rows.start.max(block.start)..piece.rows.end.min(block.end);
        if rows.is_empty() {
            return None;
        }
        let rows = rows.start - block.start..rows.end - block.start;
        // Keys after the last row, or before every row's window, are seen by none.
        let last = positions[rows.clone()].iter().max().map_or(0, |position| position + 1);
        let skipped = first.saturating_sub(piece.position).min(piece.length);
        let end = piece.length.min(last.saturating_sub(piece.position));
        (end > skipped).then(|| Self { slot: piece.slot + skipped, position: piece.position + skipped, length: end - skipped, rows })
    }
}

impl FeedForward {
    fn apply(&self, input: &[f32], rows: usize, (gate, up): (&mut Vec<f32>, &mut Vec<f32>), out: &mut [f32]) {
        let inner = self.up.outputs();
        let up = take(up, rows * inner);
        self.up.apply(input, rows, up);
        match &self.gate {
            Some(linear) => {
                let gate = take(gate, rows * inner);
                linear.apply(input, rows, gate);
                kernels::each_row_with(up, inner, gate, inner, |row, gate| self.activation.multiply(gate, row));
            }
            None => kernels::each_row(up, inner, |_, row| self.activation.apply(row)),
        }
        self.down.apply(up, rows, out);
    }
}

#[derive(Default)]
struct Scratch {
    scores: Vec<f32>,
    queries: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
