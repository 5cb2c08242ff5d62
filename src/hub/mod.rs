//! The Hugging Face hub: model facts, pinned revisions, safetensors headers, downloads, dataset rows.

mod facts;

pub use facts::{GatedAccess, ModelFacts, RepositoryFile};
