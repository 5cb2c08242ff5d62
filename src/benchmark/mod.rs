//! What to ask and how to score it: tasks, prompts, few-shot sampling, filters, metrics, pillars, suites.
//! Pure: documents in, requests out; answers in, scores out.
//!
//! The way of a task through this room:
//!
//! 1. [`registry`] finds the [`Task`] by name (a group such as `mmlu` gives its leaf tasks);
//! 2. [`TaskSpec::dataset`] says which rows are needed; [`builtin_rows`] has those of the smoke suite;
//! 3. [`build()`] makes one [`Instance`] per document, with its prompts, hashes and requests;
//! 4. [`programs`] gives what a coding task wants run, [`score()`] turns answers and verdicts into a [`DocumentScore`];
//! 5. [`aggregate()`] and [`aggregate_group`] turn document scores into the task's and the group's metrics.
//!
//! Prompts, hashes, per-document metrics and aggregates equal those of lm-evaluation-harness 0.4.13.

mod aggregate;
mod build;
mod error;
mod fewshot;
mod fields;
pub mod long_context;
pub mod probes;
pub mod python;
pub mod registry;
mod score;
mod smoke;
mod spec;
pub mod suites;
mod tasks;

pub use aggregate::{Aggregate, aggregate, aggregate_group};
pub use build::{
    BuildOptions, Built, ChatRenderer, Instance, Limit, Request, SAMPLE_TEMPERATURE, SAMPLE_TOP_P, Subset, build, nested_subset,
    shortened_generation, stratified_subset,
};
pub use error::BenchmarkError;
pub use score::{DocumentScore, Flag, Metrics, PassAtK, Response, SAMPLED, Scoring, Verdict, programs, score};
pub use smoke::builtin_rows;
pub use spec::{
    Aggregation, Dataset, Fewshot, Form, GenerationSettings, Group, Item, Location, MetricSpec, OutputKind, Probing, Sampler, ScoreRule,
    Task, TaskSpec,
};

/// A dataset row: column name to value, in the order of the dataset's schema (the order is part of `doc_hash`).
pub type Document = serde_json::Map<String, serde_json::Value>;
