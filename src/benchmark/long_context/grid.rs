//! The grid of a long-context run: a pure function of its sample lines, the model's window and the class of the device.

use super::{DEPTHS, Kind, LENGTHS, RESERVED, TASKS, TOLERANCE, VERSION};
use crate::statistics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// `informational.long_context` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// Version of texts and questions.
    pub version: String,
    /// The model's window in tokens.
    pub window: usize,
    /// Tokens of each length that are kept free for the answer.
    pub reserved: usize,
    /// Most tokens by which a prompt falls short of its length less `reserved`.
    pub tolerance: usize,
    /// By kind of question: `needle`, `document`, `two_documents`.
    pub grids: BTreeMap<String, Grid>,
}

/// The answers to one kind of question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The task that asked them.
    pub task: String,
    /// One row for each length, the shortest first.
    pub lengths: Vec<LengthRow>,
}

/// The answers at one length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthRow {
    /// Tokens of prompt and answer together.
    pub length: usize,
    /// Why nothing was asked at this length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Questions asked.
    pub n: u64,
    /// Questions answered rightly.
    pub correct: u64,
    /// Wilson's 95 % interval of the share of right answers, in [0, 1].
    pub ci95: Option<[f64; 2]>,
    /// Tokens of the shortest and of the longest prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<[u64; 2]>,
    /// By depth, the beginning of the text first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
}

/// The answers at one length and depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Where the asked fact stands, in per cent of the text.
    pub depth: u32,
    /// Questions asked.
    pub n: u64,
    /// Questions answered rightly.
    pub correct: u64,
    /// Wilson's 95 % interval of the share of right answers, in [0, 1].
    pub ci95: Option<[f64; 2]>,
}

/// One answered question, as its sample line tells it.
struct Answered {
    length: usize,
    depth: u32,
    tokens: u64,
    right: bool,
}

/// The grids of what was asked. `lines` gives task, `details` and `metrics` of sample lines in any order; lines of other tasks are left out,
/// as are kinds of questions whose task is not among `tasks`. `longest`: the longest text that the engine is asked, whatever the `window`. `None` where none of the long-context tasks is.
#[must_use]
pub fn summary<'a>(
    tasks: &[&str],
    lines: impl IntoIterator<Item = (&'a str, Option<&'a Value>, &'a BTreeMap<String, Value>)>,
    window: usize,
    longest: usize,
) -> Option<LongContext> {
    let mut answers: BTreeMap<Kind, Vec<Answered>> = BTreeMap::new();
    for (_, details, metrics) in lines.into_iter().filter(|(task, ..)| TASKS.contains(task)) {
        if let Some((kind, answered)) = details.and_then(|details| read(details, metrics)) {
            answers.entry(kind).or_default().push(answered);
        }
    }
    let grids: BTreeMap<String, Grid> = Kind::ALL
        .into_iter()
        .filter(|kind| tasks.contains(&kind.task()))
        .map(|kind| {
            let answered = answers.get(&kind).map_or(&[][..], Vec::as_slice);
            let lengths = LENGTHS.into_iter().map(|length| row(length, answered, window, longest)).collect();
            (kind.name().to_owned(), Grid { task: kind.task().to_owned(), lengths })
        })
        .collect();
    let has_any = !grids.is_empty();
    has_any.then(|| LongContext { version: VERSION.to_owned(), window, reserved: RESERVED, tolerance: TOLERANCE, grids })
}

fn read(details: &Value, metrics: &BTreeMap<String, Value>) -> Option<(Kind, Answered)> {
    let name = details.get("kind")?.as_str()?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name)?;
    let number = |field: &str| details.get(field).and_then(Value::as_u64);
    Some((
        kind,
        Answered {
            length: usize::try_from(number("length")?).ok()?,
            depth: u32::try_from(number("depth")?).ok()?,
            tokens: number("prompt_tokens")?,
            right: metrics.get("contains,none")?.as_f64()? > 0.5,
        },
    ))
}

fn row(length: usize, answered: &[Answered], window: usize, longest: usize) -> LengthRow {
    let here: Vec<&Answered> = answered.iter().filter(|answer| answer.length == length).collect();
    if here.is_empty() {
        let reason = if length > window {
            format!("longer than the model's window of {window} tokens")
        } else if length > longest {
            format!("longer than the {longest} tokens that mistral.rs is asked on a CPU")
        } else {
            "not reached within the limit of this run".to_owned()
        };
        return LengthRow { length, reason: Some(reason), ..LengthRow::default() };
    }
    let tokens = |better: fn(u64, u64) -> u64| here.iter().map(|answer| answer.tokens).reduce(better).unwrap_or_default();
    let (n, correct, ci95) = count(here.iter().copied());
    let cells = DEPTHS
        .into_iter()
        .map(|depth| {
            let (n, correct, ci95) = count(here.iter().copied().filter(|answer| answer.depth == depth));
            Cell { depth, n, correct, ci95 }
        })
        .collect();
    LengthRow { length, reason: None, n, correct, ci95, prompt_tokens: Some([tokens(u64::min), tokens(u64::max)]), cells }
}

fn count<'a>(answers: impl Iterator<Item = &'a Answered>) -> (u64, u64, Option<[f64; 2]>) {
    let (n, correct) = answers.fold((0, 0), |(n, correct), answer| (n + 1, correct + u64::from(answer.right)));
    (n, correct, statistics::wilson_interval(correct, n).map(|interval| [interval.low, interval.high]))
}

#[cfg(test)]
mod tests {
    use super::super::{DOCUMENTS, NEEDLE};
    use super::*;
    use serde_json::json;

    fn line(kind: &str, length: u64, depth: u64, right: f64) -> (Value, BTreeMap<String, Value>) {
        let details = json!({ "kind": kind, "length": length, "depth": depth, "repetition": 0, "prompt_tokens": length - 32 - depth });
        (details, BTreeMap::from([("contains,none".to_owned(), json!(right))]))
    }

    /// Rows and cells count what the samples say; a length without questions has its reason.
    #[test]
    fn the_grid_counts_the_samples() {
        let lines = [line("needle", 1024, 0, 1.0), line("needle", 1024, 25, 0.0), line("needle", 1024, 0, 0.0)];
        let grid = summary(&[NEEDLE], lines.iter().map(|(details, metrics)| (NEEDLE, Some(details), metrics)), 2048, 8192).unwrap();
        assert_eq!(grid.grids.keys().collect::<Vec<_>>(), ["needle"]);
        let rows = &grid.grids["needle"].lengths;
        assert_eq!((rows[0].n, rows[0].correct, rows[0].prompt_tokens), (3, 1, Some([967, 992])));
        assert_eq!((rows[0].cells[0].n, rows[0].cells[0].correct, rows[0].cells[1].n, rows[0].cells[4].n), (2, 1, 1, 0));
        assert_eq!(rows[0].cells[4].ci95, None);
        assert!(rows[0].ci95.is_some_and(|[low, high]| 0.0 < low && low < 1.0 / 3.0 && 1.0 / 3.0 < high));
        assert_eq!(rows[1].reason.as_deref(), Some("not reached within the limit of this run"));
        assert_eq!(rows[2].reason.as_deref(), Some("longer than the model's window of 2048 tokens"));
        assert!(rows[1].cells.is_empty());
    }

    /// Without a long-context task there is no figure; a task whose window is too short says so for every length.
    #[test]
    fn nothing_asked_is_nothing_shown() {
        assert_eq!(summary(&["boolq"], [], 2048, 8192), None);
        let grid = summary(&[DOCUMENTS], [], 512, usize::MAX).unwrap();
        assert_eq!(grid.grids.keys().collect::<Vec<_>>(), ["document", "two_documents"]);
        assert!(grid.grids["document"].lengths.iter().all(|row| row.reason.as_deref().is_some_and(|reason| reason.contains("512"))));
        let reason = |engine: &str, device: &str| {
            let longest = crate::engine::longest_text(engine, device);
            summary(&[NEEDLE], [], 32_768, longest).unwrap().grids["needle"].lengths[5].reason.clone().unwrap()
        };
        assert_eq!(reason("mistralrs", "cpu"), "longer than the 8192 tokens that mistral.rs is asked on a CPU");
        assert_eq!(reason("native+mistralrs", "cpu"), "not reached within the limit of this run");
        assert_eq!(reason("mistralrs", "cuda"), "not reached within the limit of this run");
    }
}
