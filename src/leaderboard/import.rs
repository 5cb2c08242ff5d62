//! Rows of the original project's registries (formats v1 and v2): kept apart as unverified, never ranked.
//!
//! v1 has `scores` by pillar; v2 (`metadata.schema_version` 2.0.0) has `use_cases`, `domain_scores` and no quantizations. Their
//! figures cannot be recomputed, so they are carried over as they are found, beside the name and size that they belong to.

use super::registry::{Imported, Registry, Submitted};
use super::run::Quantization;
use chrono::NaiveDate;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Repositories that came in.
    pub imported: Vec<String>,
    /// Rows that did not, with the reason.
    pub skipped: Vec<(String, String)>,
}

/// Why a file is not a registry of the original project.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Not JSON.
    #[error("the file is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("the file has no list `models`: it is not a registry of the original project")]
    Shape,
    /// A registry of this project.
    #[error("the file is a registry of format {0}: only those of the original project (v1, v2) are imported")]
    Version(String),
}

/// Adds the rows of an original registry to ours. `id_of` gives a repository's slug. A model that has runs here, or has been submitted
/// here, is left alone: what is proved is not mixed with what is not.
///
/// # Errors
/// Where the text is not such a registry; ours is then unchanged.
pub fn import(registry: &mut Registry, text: &str, id_of: impl Fn(&str) -> String) -> Result<ImportReport, ImportError> {
    let value: Value = serde_json::from_str(text)?;
    let format = match value.pointer("/metadata/schema_version").and_then(Value::as_str) {
        None => "original v1",
        Some("2.0.0") => "original v2",
        Some(other) => return Err(ImportError::Version(other.to_owned())),
    };
    let rows = value.get("models").and_then(Value::as_array).ok_or(ImportError::Shape)?;
    let sha256 = hex::encode(Sha256::digest(text));
    let mut report = ImportReport::default();
    let mut accepted = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let Some(repo) = row.get("hf_repo").and_then(Value::as_str).filter(|repo| !repo.trim().is_empty()) else {
            report.skipped.push((format!("row {}", index + 1), "it has no hf_repo".to_owned()));
            continue;
        };
        let id = id_of(repo);
        let known = registry.models.iter().find(|entry| entry.id == id);
        if known.is_some_and(|entry| entry.imported.is_none() || !entry.runs.is_empty()) {
            report.skipped.push((repo.to_owned(), "it has been submitted here".to_owned()));
            continue;
        }
        report.imported.push(repo.to_owned());
        accepted.push((submitted(row, repo, id), imported(row, format, &sha256), added(row)));
    }
    registry.upsert_all(accepted.iter().map(|(submitted, _, _)| (submitted.clone(), Vec::new())));
    for (submitted, imported, added) in accepted {
        if let Some(entry) = registry.models.iter_mut().find(|entry| entry.id == submitted.id) {
            entry.imported = Some(imported);
            entry.date_added = added;
        }
    }
    registry.settle();
    Ok(report)
}

fn text(row: &Value, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(row: &Value, key: &str) -> Vec<String> {
    row.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn submitted(row: &Value, repo: &str, id: String) -> Submitted {
    let quantizations = (row.get("quantizations").and_then(Value::as_array).into_iter().flatten())
        .map(|entry| Quantization { name: text(entry, "name"), format: text(entry, "format"), source: None })
        .collect();
    let context = row.get("context_length").or_else(|| row.get("context_window"));
    Submitted {
        id,
        name: text(row, "name"),
        family: text(row, "family"),
        hf_repo: repo.to_owned(),
        parameters: text(row, "parameters"),
        architecture: text(row, "architecture"),
        license: text(row, "license"),
        context_length: context.and_then(Value::as_u64),
        quantizations,
        categories: texts(row, "categories"),
        submitted_by: text(row, "submitted_by"),
    }
}

fn imported(row: &Value, format: &str, sha256: &str) -> Imported {
    let mut scores: BTreeMap<String, Option<f64>> = BTreeMap::new();
    for key in ["scores", "domain_scores"] {
        for (name, score) in row.get(key).and_then(Value::as_object).into_iter().flatten() {
            scores.insert(name.clone(), score.as_f64());
        }
    }
    for (name, case) in row.get("use_cases").and_then(Value::as_object).into_iter().flatten() {
        scores.insert(name.clone(), case.get("score").and_then(Value::as_f64));
    }
    Imported {
        format: format.to_owned(),
        sha256: sha256.to_owned(),
        aggregate_score: row.get("aggregate_score").and_then(Value::as_f64),
        scores,
        rank: row.get("rank").and_then(Value::as_u64),
    }
}

fn added(row: &Value) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(row.get("date_added")?.as_str()?, "%Y-%m-%d").ok()
}

#[cfg(test)]
mod tests {
    use super::super::board;
    use super::*;

    const V1: &str = r#"{"models":[
        {"id":"smollm-135m","name":"SmolLM-135M","family":"SmolLM","hf_repo":"lab/SmolLM-135M","parameters":"135M","license":"Apache-2.0",
         "aggregate_score":67.51,"scores":{"reasoning":65.2,"coding":0.0,"math":0.0,"language":0.0,"edge":0.0,"safety":0.0},
         "quantizations":[{"name":"FP16","format":"safetensors"}],"categories":["reasoning"],"date_added":"2026-01-13","submitted_by":"System","rank":1},
        {"name":"no repository"}],
        "metadata":{"last_updated":"2026-01-13T15:27:54.000000","total_models":2}}"#;
    const V2: &str = r#"{"models":[{"id":"x","name":"X","family":"X","hf_repo":"lab/x","parameters":"1B","license":"mit","context_window":4096,
         "use_cases":{"rag":{"score":71.5,"recommended":true}},"domain_scores":{"general":null},"aggregate_score":25.0,"rank":1}],
        "metadata":{"schema_version":"2.0.0","platform":"p"}}"#;

    #[test]
    fn original_rows_come_in_apart_and_unranked() {
        let mut registry = Registry::default();
        let report = import(&mut registry, V1, |repo| repo.to_lowercase().replace('/', "--")).unwrap();
        assert_eq!(report.imported, ["lab/SmolLM-135M"]);
        assert_eq!(report.skipped, [("row 2".to_owned(), "it has no hf_repo".to_owned())]);
        import(&mut registry, V2, |repo| repo.to_lowercase().replace('/', "--")).unwrap();
        let board = board::derive(&registry, &[], &super::super::ItemScores::default());
        assert_eq!(board.models.len(), 2);
        for row in &board.models {
            assert_eq!((row.status, row.rank, row.place, row.aggregate.score), (board::RowStatus::Unverified, None, None, None));
        }
        let v1 = board.models.iter().find(|row| row.hf_repo == "lab/SmolLM-135M").unwrap();
        assert_eq!(v1.imported.as_ref().unwrap().aggregate_score, Some(67.51));
        assert_eq!(v1.date_added.unwrap().to_string(), "2026-01-13");
        let v2 = board.models.iter().find(|row| row.hf_repo == "lab/x").unwrap();
        assert_eq!(v2.imported.as_ref().unwrap().scores["rag"], Some(71.5));
        assert_eq!(v2.imported.as_ref().unwrap().scores["general"], None);

        let once = registry.clone();
        import(&mut registry, V1, |repo| repo.to_lowercase().replace('/', "--")).unwrap();
        assert_eq!(registry, once, "importing twice changes nothing");
    }

    #[test]
    fn other_files_are_refused() {
        let mut registry = Registry::default();
        assert!(matches!(import(&mut registry, "{}", str::to_owned), Err(ImportError::Shape)));
        assert!(matches!(import(&mut registry, "[", str::to_owned), Err(ImportError::Json(_))));
        let ours = registry.to_json().unwrap();
        assert!(matches!(import(&mut registry, &ours, str::to_owned), Err(ImportError::Version(_))));
    }
}
