//! What the hub says about a model, as plain data that other rooms can be given.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a repository asks its readers to accept terms before they may download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatedAccess {
    /// Anyone may download.
    Open,
    /// Terms must be accepted; the token in use has access.
    GatedWithAccess,
    /// Terms must be accepted; without a token that has access nothing can be downloaded.
    GatedWithoutAccess,
}

/// One file of a repository at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryFile {
    /// Path inside the repository, with `/` between folders.
    pub path: String,
    /// Size in bytes, where the hub tells it.
    pub size: Option<u64>,
    /// SHA-256 of the content in lower-case hexadecimal, where the hub tells it (files kept in large-file storage).
    pub sha256: Option<String>,
}

/// What the hub says about a model repository at one commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Repository as the hub spells it, `owner/name`.
    pub repo: String,
    /// Commit (40 hexadecimal digits on the hub) that the requested revision names.
    pub commit: String,
    /// The repository is private.
    pub private: bool,
    /// The repository has been disabled by the hub.
    pub disabled: bool,
    /// Gating and whether the token passes it.
    pub gated: GatedAccess,
    /// Licence id of the model card (`apache-2.0`, `mit`, `llama3.2`, …), where the card has one.
    pub license: Option<String>,
    /// Files at the commit, sorted by path.
    pub files: Vec<RepositoryFile>,
    /// `config.json` as parsed JSON, where the repository has one.
    pub config: Option<serde_json::Value>,
    /// Number of parameters read from safetensors headers (tied tensors once, packed weights unpacked), where there are any.
    pub safetensors_parameters: Option<u64>,
    /// Number of parameters read from each GGUF file's header, by path.
    pub gguf_parameters: BTreeMap<String, u64>,
}

impl ModelFacts {
    /// `model_type` of `config.json` (`llama`, `qwen2`, …), where there is one.
    #[must_use]
    pub fn model_type(&self) -> Option<&str> {
        self.config.as_ref()?.get("model_type")?.as_str()
    }
}
