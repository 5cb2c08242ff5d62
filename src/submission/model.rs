//! A checked submission as plain data.

use super::parameters::Parameters;
use serde::{Deserialize, Serialize};

/// Categories of older submissions that name no pillar.
pub(super) const OLD_CATEGORIES: &[&str] =
    &["long-context", "edge-optimized", "multilingual", "instruction-following", "chat", "function-calling"];

/// A pillar that an author asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Part of the aggregate.
    Reasoning,
    /// Part of the aggregate.
    Coding,
    /// Part of the aggregate.
    Math,
    /// Part of the aggregate.
    Language,
    /// Part of the aggregate.
    Safety,
    /// Informational.
    LongContext,
    /// Informational.
    Edge,
}

impl Category {
    /// The five pillars of the aggregate: only a run of all of them is ranked.
    pub const RANKED: [Self; 5] = [Self::Reasoning, Self::Coding, Self::Math, Self::Language, Self::Safety];

    /// The name in submissions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reasoning => "reasoning",
            Self::Coding => "coding",
            Self::Math => "math",
            Self::Language => "language",
            Self::Safety => "safety",
            Self::LongContext => "long_context",
            Self::Edge => "edge",
        }
    }

    /// The category of a name; `long-context` and `edge-optimized` of older submissions included.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "reasoning" => Self::Reasoning,
            "coding" => Self::Coding,
            "math" => Self::Math,
            "language" => Self::Language,
            "safety" => Self::Safety,
            "long_context" | "long-context" => Self::LongContext,
            "edge" | "edge-optimized" => Self::Edge,
            _ => return None,
        })
    }
}

/// How weights are stored and loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Safetensors files of the repository.
    Safetensors,
    /// One GGUF file.
    Gguf,
    /// Quantized by the engine while it loads the safetensors files.
    Isq,
}

impl Format {
    /// The name in submissions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Isq => "isq",
        }
    }
}

/// A repository at a revision: what the hub is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryReference {
    /// `owner/name`.
    pub repo: String,
    /// Commit, tag or branch; `None` for the default branch.
    pub revision: Option<String>,
}

impl std::fmt::Display for RepositoryReference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.revision {
            Some(revision) => write!(formatter, "{} at {revision}", self.repo),
            None => formatter.write_str(&self.repo),
        }
    }
}

/// The place of a GGUF file: `path`, `owner/name:path` or `owner/name@revision:path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct GgufSource {
    /// Repository of the file, where it is not the model's own.
    pub repository: Option<RepositoryReference>,
    /// Path inside the repository.
    pub path: String,
}

impl From<String> for GgufSource {
    fn from(text: String) -> Self {
        let Some((repository, path)) = text.split_once(':') else { return Self { repository: None, path: text } };
        let (repo, revision) = match repository.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.to_owned())),
            None => (repository, None),
        };
        Self { repository: Some(RepositoryReference { repo: repo.to_owned(), revision }), path: path.to_owned() }
    }
}

impl From<GgufSource> for String {
    fn from(source: GgufSource) -> Self {
        match source.repository {
            None => source.path,
            Some(RepositoryReference { repo, revision: None }) => format!("{repo}:{}", source.path),
            Some(RepositoryReference { repo, revision: Some(revision) }) => format!("{repo}@{revision}:{}", source.path),
        }
    }
}

/// One thing to evaluate: one run, one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quantization {
    /// Label of the row; for safetensors it chooses the data type (`FP32`, `BF16`, `FP16`), for isq the quantization.
    pub name: String,
    /// How the weights are stored and loaded.
    pub format: Format,
    /// The file, for [`Format::Gguf`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<GgufSource>,
}

/// A submission that passed the schema, in its canonical form: old names replaced, the licence by its SPDX or hub id, and, where
/// the hub has been asked, every revision pinned to a commit. `contact` is read and never written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// Name shown on the leaderboard.
    pub name: String,
    /// Family that the model belongs to.
    pub family: String,
    /// The author's own version of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Repository on the hub, `owner/name`.
    pub hf_repo: String,
    /// Commit, tag or branch; after a check with the hub, a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hf_revision: Option<String>,
    /// Declared number of parameters.
    pub parameters: Parameters,
    /// Declared architecture.
    pub architecture: String,
    /// Declared context length in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// SPDX or hub licence id.
    pub license: String,
    /// Pillars asked for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
    /// What to evaluate, at least one.
    pub quantizations: Vec<Quantization>,
    /// GitHub login of the person who submits.
    pub submitted_by: String,
    /// For questions about this submission; never serialised.
    #[serde(default, skip_serializing)]
    pub contact: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    model: &'a Submission,
}

impl Submission {
    /// The model's identity as a path component: the slug of its repository (`owner--name`).
    #[must_use]
    pub fn slug(&self) -> String {
        super::slug(&self.hf_repo)
    }

    /// The model's own repository, as the hub is asked for it.
    #[must_use]
    pub fn repository(&self) -> RepositoryReference {
        RepositoryReference { repo: self.hf_repo.clone(), revision: self.hf_revision.clone() }
    }

    /// The pillars to evaluate: those asked for, or all seven.
    #[must_use]
    pub fn pillars(&self) -> Vec<Category> {
        if self.categories.is_empty() {
            let mut all = Category::RANKED.to_vec();
            all.extend([Category::LongContext, Category::Edge]);
            return all;
        }
        self.categories.clone()
    }

    /// The canonical YAML, a `model:` mapping without `contact`; the validator reads it back to the same submission.
    ///
    /// # Errors
    /// Where the serialiser fails, which plain data gives it no cause to.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&Document { model: self })
    }
}
