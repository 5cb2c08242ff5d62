//! Attention of a batch over the cache of keys and values.
//!
//! Rows come in strips of at most [`PANEL`] lanes, a lane being one row's query for one head; the heads that share keys stand side by side. The
//! keys that a strip sees lie in pieces, and a key's scores stand at its position in the path: so each lane's scores are in the order of its own
//! path, whatever branches the others are on. Scores and sums are products of tiles, as in [`super::product`], and the softmax goes through all
//! lanes at once.

use super::decoder::{Attention, Decoder};
use super::forward::{Batch, Piece};
use super::kernels;
use super::product::{Kernel, MOST, PANEL, Tile, kernel};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Keys and values of one layer.
pub(super) struct Kept {
    /// Head × width × place: tiles of keys read neighbouring places.
    keys: Vec<f32>,
    /// Head × place × width.
    values: Vec<f32>,
    /// Places, those that only fill a last tile included.
    places: usize,
    width: usize,
}

impl Kept {
    /// Puts the keys and values of rows (row × head × width) into their places.
    pub(super) fn store(&mut self, keys: &[f32], values: &[f32], slots: &[usize]) {
        let (places, width) = (self.places, self.width);
        let heads = self.keys.len() / (places * width);
        let parts = self.keys.par_chunks_exact_mut(places * width).zip(self.values.par_chunks_exact_mut(places * width));
        parts.enumerate().for_each(|(head, (kept_keys, kept_values))| {
            let columns = head * width..(head + 1) * width;
            let rows = keys.chunks_exact(heads * width).zip(values.chunks_exact(heads * width));
            for ((key, value), &slot) in rows.zip(slots) {
                for (value, kept) in key[columns.clone()].iter().zip(kept_keys.chunks_exact_mut(places)) {
                    kept[slot] = *value;
                }
                kept_values[slot * width..(slot + 1) * width].copy_from_slice(&value[columns.clone()]);
            }
        });
    }
}

/// Keys and values of all layers.
pub(super) struct Cache {
    pub(super) layers: Vec<Kept>,
}

impl Cache {
    pub(super) fn new(decoder: &Decoder, places: usize) -> Self {
        // Room for the last tile; an odd number of cache lines, so that neighbouring elements of a key do not fall on the same lines.
        let places = ((places + MOST).div_ceil(16) | 1) * 16;
        let size = places * decoder.key_width();
        let kept = || Kept { keys: vec![0.0; size], values: vec![0.0; size], places, width: decoder.head_width };
        Self { layers: decoder.layers.iter().map(|_| kept()).collect() }
    }

    /// Copies keys and values of `length` places from `from` to `to`, in all layers.
    pub(super) fn copy(&mut self, from: usize, to: usize, length: usize) {
        self.layers.par_iter_mut().for_each(|Kept { keys, values, places, width }| {
            for element in keys.chunks_exact_mut(*places) {
                element.copy_within(from..from + length, to);
            }
            for head in values.chunks_exact_mut(*places * *width) {
                head.copy_within(from * *width..(from + length) * *width, to * *width);
            }
        });
    }
}

/// The part of a piece that lanes of a strip see.
struct Visible {
    slot: usize,
    position: usize,
    length: usize,
    lanes: Range<usize>,
}

impl Visible {
    /// `first` is the first position that any row of the strip sees, `per_row` the number of lanes of a row.
    fn of(piece: &Piece, rows: &Range<usize>, positions: &[usize], first: usize, per_row: usize) -> Option<Self> {
        let seen = piece.rows.start.max(rows.start)..piece.rows.end.min(rows.end);
        if seen.is_empty() {
            return None;
        }
        let seen = seen.start - rows.start..seen.end - rows.start;
        // Keys after the last row, or before every row's window, are seen by none.
        let last = positions[seen.clone()].iter().max().map_or(0, |position| position + 1);
        let skipped = first.saturating_sub(piece.position).min(piece.length);
        let end = piece.length.min(last.saturating_sub(piece.position));
        (end > skipped).then(|| Self {
            slot: piece.slot + skipped,
            position: piece.position + skipped,
            length: end - skipped,
            lanes: seen.start * per_row..seen.end * per_row,
        })
    }
}

/// Attention of all rows: for each row and head the values of its path, weighted by the softmax of its scores.
pub(super) fn attend(decoder: &Decoder, attention: &Attention, batch: &Batch, query: &[f32], kept: &Kept, out: &mut [f32]) {
    let width = decoder.query_width();
    let group = decoder.heads / decoder.key_value_heads;
    let height = (PANEL / group).max(1);
    out.par_chunks_mut(height * width).enumerate().for_each(|(index, out)| {
        let rows = index * height..index * height + out.len() / width;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut strip = Strip::new(decoder, attention, batch, rows);
            strip.attend(query, kept, out, scratch);
        });
    });
}

/// Rows that are computed together.
struct Strip<'a> {
    batch: &'a Batch,
    rows: Range<usize>,
    positions: &'a [usize],
    window: usize,
    soft_cap: Option<f32>,
    heads: usize,
    key_value_heads: usize,
    width: usize,
    kernel: Kernel,
}

impl<'a> Strip<'a> {
    fn new(decoder: &Decoder, attention: &Attention, batch: &'a Batch, rows: Range<usize>) -> Self {
        Self {
            batch,
            positions: &batch.positions[rows.clone()],
            rows,
            window: attention.window.unwrap_or(usize::MAX),
            soft_cap: attention.soft_cap,
            heads: decoder.heads,
            key_value_heads: decoder.key_value_heads,
            width: decoder.head_width,
            kernel: kernel(),
        }
    }

    fn attend(&mut self, query: &[f32], kept: &Kept, out: &mut [f32], scratch: &mut Scratch) {
        let group = self.heads / self.key_value_heads;
        // More heads on one key than a strip has lanes come in several turns.
        let per_row = group.min(PANEL);
        let first = self.positions.iter().min().map_or(0, |position| (position + 1).saturating_sub(self.window));
        let pieces = self.batch.pieces.iter();
        let visible: Vec<Visible> = pieces.filter_map(|piece| Visible::of(piece, &self.rows, self.positions, first, per_row)).collect();
        for head in 0..self.key_value_heads {
            for from in (0..group).step_by(per_row) {
                let heads = head * group + from..head * group + (from + per_row).min(group);
                self.attend_heads(query, kept, head, heads, &visible, first, out, scratch);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one product")]
    fn attend_heads(
        &self,
        query: &[f32],
        kept: &Kept,
        head: usize,
        heads: Range<usize>,
        visible: &[Visible],
        first: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (width, row_width, height) = (self.width, self.heads * self.width, self.kernel.rows);
        let per_row = heads.len();
        let columns = self.positions.iter().max().map_or(0, |position| position + 1) - first;
        let Scratch { queries, scores, sums } = scratch;
        queries.clear();
        queries.resize(width * PANEL, 0.0);
        for (place, row) in self.rows.clone().enumerate() {
            for (lane, head) in heads.clone().enumerate() {
                let source = &query[row * row_width + head * width..][..width];
                for (value, queries) in source.iter().zip(queries.chunks_exact_mut(PANEL)) {
                    queries[place * per_row + lane] = *value;
                }
            }
        }
        if scores.len() < columns * PANEL {
            scores.resize(columns * PANEL, 0.0);
        }
        let scores = &mut scores[..columns * PANEL];
        let keys = &kept.keys[head * kept.places * width..][..kept.places * width];
        for part in visible {
            for start in (0..part.length).step_by(height) {
                let mut tile: Tile = [[0.0; PANEL]; MOST];
                (self.kernel.tile)(&keys[part.slot + start..], kept.places, queries, &mut tile);
                let targets = scores[(part.position - first + start) * PANEL..].chunks_exact_mut(PANEL);
                for (target, values) in targets.zip(&tile).take(height.min(part.length - start)) {
                    target[part.lanes.clone()].copy_from_slice(&values[part.lanes.clone()]);
                }
            }
        }
        let inverse = self.softmax(scores, per_row, first);
        sums.clear();
        // The last tile may reach beyond the width.
        sums.resize((width + MOST) * PANEL, 0.0);
        let values = &kept.values[head * kept.places * width..][..kept.places * width];
        for part in visible {
            let weights = &scores[(part.position - first) * PANEL..][..part.length * PANEL];
            for start in (0..width).step_by(height) {
                let mut tile: Tile = [[0.0; PANEL]; MOST];
                (self.kernel.tile)(&values[part.slot * width + start..], width, weights, &mut tile);
                for (target, values) in sums[start * PANEL..].chunks_exact_mut(PANEL).zip(&tile).take(height) {
                    for (target, value) in target[part.lanes.clone()].iter_mut().zip(&values[part.lanes.clone()]) {
                        *target += value;
                    }
                }
            }
        }
        for (place, out) in out.chunks_exact_mut(row_width).enumerate() {
            for (lane, head) in heads.clone().enumerate() {
                let lane = place * per_row + lane;
                for (target, sums) in out[head * width..][..width].iter_mut().zip(sums.chunks_exact(PANEL)) {
                    *target = sums[lane] * inverse[lane];
                }
            }
        }
    }

    /// Replaces each lane's scores by their exponentials, those of positions that it does not see by 0. Gives 1 by their sums.
    fn softmax(&self, scores: &mut [f32], per_row: usize, first: usize) -> [f32; PANEL] {
        let mut ranges = [(0u32, 0u32); PANEL];
        let place = |position: usize| u32::try_from(position - first).unwrap_or(u32::MAX);
        for (&position, ranges) in self.positions.iter().zip(ranges.chunks_mut(per_row)) {
            ranges.fill((place((position + 1).saturating_sub(self.window)), place(position + 1)));
        }
        kernels::softmax_lanes(scores, ranges.map(|range| range.0), ranges.map(|range| range.1), self.soft_cap)
    }
}

#[derive(Default)]
struct Scratch {
    /// Element × lane.
    queries: Vec<f32>,
    /// Position × lane.
    scores: Vec<f32>,
    /// Element × lane.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
