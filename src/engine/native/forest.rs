//! From a plan of shared prefixes to batches: which rows are computed together, and which keys each of them sees.
//!
//! A plan walks the tree of prefixes depth first, and a batch is a stretch of that walk. What a batch shares with earlier ones is the path to
//! its first row; within it, the path changes where an input branches off. Each run of places that stays on the path for a while becomes
//! one [`Piece`].

use super::forward::{Batch, Piece};
use crate::engine::plan::Plan;
use crate::engine::tokenizer::ScoredTokens;
use std::ops::Range;

/// A run of places on the path.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) slot: usize,
    /// Position of the first.
    pub(super) position: usize,
    pub(super) length: usize,
    /// First row of the batch that sees it.
    since: usize,
}

impl Stretch {
    pub(super) fn new(slot: usize, position: usize, length: usize) -> Self {
        Self { slot, position, length, since: 0 }
    }
}

/// The path while rows are added to a batch.
#[derive(Default)]
pub(super) struct Path {
    open: Vec<Stretch>,
    pieces: Vec<Piece>,
}

impl Path {
    /// A path that earlier batches computed.
    pub(super) fn of(open: Vec<Stretch>) -> Self {
        Self { open, pieces: Vec::new() }
    }

    /// From `row` on the path has `length` positions of those that it had.
    pub(super) fn cut(&mut self, length: usize, row: usize) {
        while let Some(last) = self.open.last_mut() {
            if last.position + last.length <= length {
                return;
            }
            let kept = length.saturating_sub(last.position);
            let since = last.since;
            if row > since {
                self.pieces.push(Piece {
                    slot: last.slot + kept,
                    position: last.position + kept,
                    length: last.length - kept,
                    rows: since..row,
                });
            }
            if kept > 0 {
                last.length = kept;
                return;
            }
            self.open.pop();
        }
    }

    /// Adds places that the rows from `row` on see.
    pub(super) fn push(&mut self, slot: usize, position: usize, length: usize, row: usize) {
        if length > 0 {
            self.open.push(Stretch { slot, position, length, since: row });
        }
    }

    /// Number of positions at which this path and another have the same places.
    pub(super) fn shared(&self, other: &[Stretch]) -> usize {
        let mut shared = 0;
        for (left, right) in self.open.iter().zip(other) {
            if (left.slot, left.position) != (right.slot, right.position) {
                break;
            }
            shared = left.position + left.length.min(right.length);
            if left.length != right.length {
                break;
            }
        }
        shared
    }

    /// The path as it is.
    pub(super) fn open(&self) -> &[Stretch] {
        &self.open
    }

    /// The pieces of a batch of `rows` rows, by position.
    pub(super) fn finish(mut self, rows: usize) -> Vec<Piece> {
        self.cut(0, rows);
        self.pieces.sort_by_key(|piece| (piece.position, piece.rows.start));
        self.pieces
    }
}

/// A value to read off: row of the batch, target, slot of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchReading {
    pub(super) row: usize,
    pub(super) target: crate::engine::TokenId,
    pub(super) slot: usize,
}

/// A plan cut into batches.
pub(super) struct Forest<'a> {
    plan: &'a Plan,
    requests: &'a [ScoredTokens],
    /// Number of the first row of each pass in the walk, and of the row after the last pass.
    starts: Vec<usize>,
    batches: Vec<Range<usize>>,
}

impl<'a> Forest<'a> {
    /// Cuts a plan into batches of nearly equal size, of at most `most` rows.
    pub(super) fn new(plan: &'a Plan, requests: &'a [ScoredTokens], most: usize) -> Self {
        let mut starts = Vec::with_capacity(plan.passes.len() + 1);
        let mut rows = 0;
        for pass in &plan.passes {
            starts.push(rows);
            rows += pass.fed.len();
        }
        starts.push(rows);
        let count = rows.div_ceil(most.max(1));
        let batches = (0..count).map(|index| rows * index / count..rows * (index + 1) / count).collect();
        Self { plan, requests, starts, batches }
    }

    /// Number of batches.
    pub(super) fn len(&self) -> usize {
        self.batches.len()
    }

    /// Rows of the walk that a batch computes.
    pub(super) fn rows(&self, batch: usize) -> Range<usize> {
        self.batches[batch].clone()
    }

    /// Passes that a batch computes, wholly or in part, each with its rows of the input.
    fn parts(&self, batch: usize) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let rows = self.rows(batch);
        let first = self.starts.partition_point(|&start| start <= rows.start) - 1;
        (first..self.plan.passes.len()).take_while(move |&pass| self.starts[pass] < rows.end).filter_map(move |pass| {
            let begins = self.plan.passes[pass].fed.start;
            let from = rows.start.max(self.starts[pass]) - self.starts[pass] + begins;
            let until = rows.end.min(self.starts[pass + 1]) - self.starts[pass] + begins;
            (from < until).then_some((pass, from..until))
        })
    }

    /// Positions before a batch's first row.
    pub(super) fn depth(&self, batch: usize) -> usize {
        self.parts(batch).next().map_or(0, |(_, rows)| rows.start)
    }

    /// Whether a batch computes rows of one of the marked passes.
    pub(super) fn computes(&self, batch: usize, marked: &[bool]) -> bool {
        self.parts(batch).any(|(pass, _)| marked[pass])
    }

    /// Rows of a batch that belong to passes of which every completed request is answered.
    pub(super) fn repeated(&self, batch: usize, answered: &[bool]) -> usize {
        let is_answered = |request: &usize| answered.get(*request).copied().unwrap_or(false);
        let repeated = self.parts(batch).filter(|(pass, _)| self.plan.passes[*pass].completes.iter().all(is_answered));
        repeated.map(|(_, rows)| rows.len()).sum()
    }

    /// The batch whose rows take the places from `place` on, after the path `before`; and the path at its end.
    pub(super) fn batch(&self, batch: usize, place: usize, before: Vec<Stretch>) -> (Batch, Vec<Stretch>) {
        let count = self.rows(batch).len();
        let mut tokens = Vec::with_capacity(count);
        let mut positions = Vec::with_capacity(count);
        let mut path = Path::of(before.into_iter().map(|stretch| Stretch { since: 0, ..stretch }).collect());
        for (pass, rows) in self.parts(batch) {
            let row = tokens.len();
            path.cut(rows.start, row);
            path.push(place + row, rows.start, rows.len(), row);
            tokens.extend_from_slice(&self.requests[self.plan.passes[pass].request].input[rows.clone()]);
            positions.extend(rows);
        }
        let end = path.open().to_vec();
        let slots = (place..place + count).collect();
        (Batch { tokens, positions, slots, pieces: path.finish(count) }, end)
    }

    /// What is read off a batch, by row.
    pub(super) fn readings(&self, batch: usize) -> Vec<BatchReading> {
        let mut readings = Vec::new();
        let mut row = 0;
        for (pass, rows) in self.parts(batch) {
            let inside = self.plan.passes[pass].readings.iter().filter(|reading| rows.contains(&reading.row));
            readings.extend(inside.map(|reading| BatchReading {
                row: row + reading.row - rows.start,
                target: reading.target,
                slot: reading.slot,
            }));
            row += rows.len();
        }
        readings
    }

    /// Requests that are complete after a batch.
    pub(super) fn completes(&self, batch: usize) -> Vec<usize> {
        let ended = self.parts(batch).filter(|(pass, rows)| rows.end == self.plan.passes[*pass].fed.end);
        ended.flat_map(|(pass, _)| self.plan.passes[pass].completes.iter().copied()).collect()
    }

    /// The path to the last row of a request that a pass completes, where each row of the walk keeps a place of its own.
    pub(super) fn path_of(&self, pass: usize, length: usize) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let (mut pass, mut until) = (pass, length);
        loop {
            let begins = self.plan.passes[pass].fed.start;
            if until > begins {
                stretches.push(Stretch::new(self.starts[pass], begins, until - begins));
                until = begins;
            }
            match self.plan.passes[pass].parent {
                Some(parent) if until > 0 => pass = parent,
                _ => break,
            }
        }
        stretches.reverse();
        stretches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::TokenId;
    use crate::engine::plan::Sharing;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn requests() -> impl Strategy<Value = Vec<ScoredTokens>> {
        let input = prop::collection::vec(0..3u32, 1..14);
        prop::collection::vec(input.prop_map(|input| ScoredTokens { targets: vec![input[0]], input }), 1..40)
    }

    proptest! {
        /// Whatever the requests and the size of the batches: through its pieces every row sees the tokens of its own path, each once and in
        /// order, and every row is computed once.
        #[test]
        fn every_row_sees_its_own_path(requests in requests(), most in 1..30usize) {
            let plan = Plan::new(&requests, Sharing { least: 0, longest: usize::MAX });
            let forest = Forest::new(&plan, &requests, most);
            // The walk's rows keep a place each; what stands there is the token and its position.
            let mut places: HashMap<usize, (TokenId, usize)> = HashMap::new();
            let mut before = Vec::new();
            let mut expected: Vec<Vec<TokenId>> = Vec::new();
            for pass in &plan.passes {
                expected.extend(pass.fed.clone().map(|row| requests[pass.request].input[..=row].to_vec()));
            }
            let mut completed = 0;
            for index in 0..forest.len() {
                let rows = forest.rows(index);
                prop_assert!(rows.len() <= most);
                let (batch, end) = forest.batch(index, rows.start, before);
                prop_assert_eq!(forest.depth(index), batch.positions[0]);
                for (row, slot) in batch.slots.iter().enumerate() {
                    prop_assert!(places.insert(*slot, (batch.tokens[row], batch.positions[row])).is_none());
                }
                for (row, walked) in rows.clone().enumerate() {
                    let mut seen: Vec<(usize, TokenId)> = Vec::new();
                    for piece in batch.pieces.iter().filter(|piece| piece.rows.contains(&row)) {
                        for offset in 0..piece.length {
                            let (token, position) = places[&(piece.slot + offset)];
                            prop_assert_eq!(position, piece.position + offset);
                            if position <= batch.positions[row] {
                                seen.push((position, token));
                            }
                        }
                    }
                    seen.sort_unstable();
                    prop_assert_eq!(seen.iter().map(|(position, _)| *position).collect::<Vec<_>>(), (0..expected[walked].len()).collect::<Vec<_>>());
                    prop_assert_eq!(&seen.iter().map(|(_, token)| *token).collect::<Vec<_>>(), &expected[walked]);
                }
                completed += forest.completes(index).len();
                before = end;
            }
            prop_assert_eq!(completed, requests.len());
            prop_assert_eq!(places.len(), plan.tokens());
        }
    }
}
