//! Promises of the validator as a whole.

use super::*;
use crate::hub::{GatedAccess, ModelFacts, RepositoryFile};
use std::collections::BTreeMap;

/// The example of the original project's README, as it stands there.
const README_EXAMPLE: &str = r#"model:
  name: "SmolLM2-1.7B"
  family: "SmolLM"
  hf_repo: "HuggingFaceTB/SmolLM2-1.7B"
  parameters: "1.7B"           # must be ≤ 3B
  architecture: "llama"
  context_length: 8192
  license: "Apache-2.0"

  # Evaluation pillars you want to be considered in the aggregate score
  categories:
    - "reasoning"
    - "coding"
    - "math"
    - "language"
    - "safety"

  # Optional: quantizations that were evaluated
  quantizations:
    - name: "FP16"
      format: "safetensors"

  # Submission metadata
  submitted_by: "github_username"
  contact: "email@example.com"
"#;

fn codes(report: &Report) -> Vec<(Severity, Code)> {
    report.findings.iter().map(|finding| (finding.severity, finding.code)).collect()
}

fn offline(text: &str, kind: InputKind) -> Report {
    read(text.as_bytes(), kind).check(&Context::OFFLINE)
}

/// The README's example is valid as it stands; its placeholders are pointed out.
#[test]
fn the_readme_example_is_valid() {
    let report = offline(README_EXAMPLE, InputKind::File);
    assert!(report.valid, "{}", report.to_text("README", false));
    assert!(codes(&report).iter().all(|&(_, code)| code == Code::PlaceholderValue));
    let submission = report.submission.unwrap();
    assert_eq!(submission.parameters.count(), 1_700_000_000);
    assert_eq!(submission.categories, Category::RANKED);
    assert_eq!(submission.slug(), "huggingfacetb--smollm2-1.7b");
    assert_eq!(submission.contact.as_deref(), Some("email@example.com"));
}

/// The canonical YAML reads back to the same submission and leaves the contact out.
#[test]
fn canonical_yaml_reads_back() {
    let first = offline(README_EXAMPLE, InputKind::File).submission.unwrap();
    let yaml = first.to_yaml().unwrap();
    assert!(!yaml.contains("contact") && !yaml.contains('@'), "{yaml}");
    let second = offline(&yaml, InputKind::File).submission.unwrap();
    assert_eq!(second, Submission { contact: None, ..first });
}
