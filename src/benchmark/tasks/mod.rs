//! One file per task. A new task: its file, a `mod` line, and a line in [`ENTRIES`].

use super::registry::Entry;

mod arc;
mod asdiv;
mod bbq;
mod boolq;
mod crows_pairs;
mod gsm8k;
mod hellaswag;
mod humaneval;
mod lambada;
mod long_context;
mod mathqa;
mod mbpp;
mod mmlu;
mod piqa;
mod toxigen;
mod truthfulqa;
mod wikitext;
mod winogrande;

/// What each file registers.
pub(super) const ENTRIES: &[fn() -> Vec<Entry>] = &[
    arc::entries,
    asdiv::entries,
    bbq::entries,
    boolq::entries,
    crows_pairs::entries,
    gsm8k::entries,
    hellaswag::entries,
    humaneval::entries,
    lambada::entries,
    long_context::entries,
    mathqa::entries,
    mbpp::entries,
    mmlu::entries,
    piqa::entries,
    toxigen::entries,
    truthfulqa::entries,
    wikitext::entries,
    winogrande::entries,
];
