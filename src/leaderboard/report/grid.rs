//! The long-context grid as the report shows it: read leniently from `informational.long_context`, whose shape belongs to that measurement.

use serde_json::Value;
use std::collections::BTreeSet;

/// Answers to one kind of question by length and depth.
pub(super) struct Grid {
    /// Kind of question (`needle`).
    pub(super) kind: String,
    /// Lengths in tokens, ascending, with the reason where nothing was asked.
    pub(super) lengths: Vec<(u64, Option<String>)>,
    /// Depths in per cent, ascending.
    pub(super) depths: Vec<u64>,
    cells: Vec<Cell>,
}

/// One length and depth.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    length: u64,
    depth: u64,
    /// Questions asked, at least 1.
    pub(super) n: u64,
    /// Questions answered rightly.
    pub(super) correct: u64,
}

impl Grid {
    /// The cell of a length and a depth, where something was asked.
    pub(super) fn cell(&self, length: u64, depth: u64) -> Option<Cell> {
        self.cells.iter().find(|cell| cell.length == length && cell.depth == depth).copied()
    }
}

/// The grids of a run, by kind; none where there is no measurement or it has another shape.
pub(super) fn grids(long_context: Option<&Value>) -> Vec<Grid> {
    let kinds = long_context.and_then(|value| value.get("grids")).and_then(Value::as_object);
    kinds.into_iter().flatten().filter_map(|(kind, grid)| one(kind, grid)).collect()
}

fn one(kind: &str, grid: &Value) -> Option<Grid> {
    let rows = grid.get("lengths")?.as_array()?;
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let mut lengths: Vec<(u64, Option<String>)> = rows
        .iter()
        .filter_map(|row| Some((number(row, "length")?, row.get("reason").and_then(Value::as_str).map(str::to_owned))))
        .collect();
    lengths.sort();
    let cells: Vec<Cell> = rows
        .iter()
        .filter_map(|row| Some((number(row, "length")?, row.get("cells")?.as_array()?)))
        .flat_map(|(length, cells)| {
            cells.iter().filter_map(move |cell| {
                let n = number(cell, "n").filter(|n| *n > 0)?;
                Some(Cell { length, depth: number(cell, "depth")?, n, correct: number(cell, "correct")?.min(n) })
            })
        })
        .collect();
    let depths: BTreeSet<u64> = cells.iter().map(|cell| cell.depth).collect();
    (!cells.is_empty()).then(|| Grid { kind: kind.to_owned(), lengths, depths: depths.into_iter().collect(), cells })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Lengths without questions keep their reason, empty cells are no zeros, and another shape is no grid.
    #[test]
    fn grids_are_read_with_what_is_missing() {
        let value = json!({"window": 2048, "grids": {"needle": {"task": "needle", "lengths": [
            {"length": 2048, "n": 3, "correct": 1, "ci95": null, "cells": [{"depth": 0, "n": 2, "correct": 1, "ci95": null}, {"depth": 50, "n": 0, "correct": 0, "ci95": null}]},
            {"length": 4096, "reason": "longer than the model's window of 2048 tokens", "n": 0, "correct": 0, "ci95": null},
        ]}}});
        let [grid] = &grids(Some(&value))[..] else { panic!("one grid") };
        assert_eq!((grid.lengths.len(), grid.depths.as_slice()), (2, &[0][..]));
        assert_eq!(grid.cell(2048, 0).map(|cell| (cell.correct, cell.n)), Some((1, 2)));
        assert!(grid.cell(2048, 50).is_none() && grid.cell(4096, 0).is_none());
        assert!(grids(Some(&json!({"grids": [1]}))).is_empty() && grids(None).is_empty());
    }
}
