//! The forward pass over a batch of rows that form a forest of token prefixes.
//!
//! All rows go through the linear maps together, in large matrix products. What a row sees of the others is told by *pieces*: runs of places in
//! the cache that all rows of a range see.

use super::attention::{self, Cache};
use super::decoder::{Attention, Decoder, FeedForward, Layer, Norms, Residual};
use super::kernels;
use crate::engine::TokenId;
use std::ops::Range;

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
        let kept = &mut cache.layers[index];
        kept.store(key, value, &batch.slots);
        let mixed = take(mixed, rows * self.query_width());
        attention::attend(self, &layer.attention, batch, query, kept, mixed);
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
