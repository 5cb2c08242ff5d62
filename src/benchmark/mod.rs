//! What to ask and how to score it: tasks, prompts, few-shot sampling, filters, metrics, pillars, suites.
//! Pure: documents in, requests out; answers in, scores out.

/// A dataset row: column name to value, in the order of the dataset's schema (the order is part of `doc_hash`).
pub type Document = serde_json::Map<String, serde_json::Value>;
