//! The Hugging Face hub: model facts, pinned revisions, safetensors and GGUF headers, downloads, dataset rows.
//!
//! Everything goes through a [`Hub`], made at the edge of the program from a [`HubConfig`]; with `offline` set it reads the cache alone and opens no connection.
//!
//! The client is this project's own, on `reqwest`, and not the crate `hf-hub`: that one (1.0) brings the whole stack of the xet storage protocol, and it
//! has no reading of headers by range, no resumption of a broken download, no check of what arrived against the announced hash, and no offline mode. The
//! cache layout is the one that `huggingface_hub` and `hf-hub` use, locks included, so that they can share a cache with this program.
//!
//! All calls block. In asynchronous code, make and use a [`Hub`] inside of `spawn_blocking`.

mod cache;
mod dataset;
mod download;
mod error;
mod facts;
mod gguf;
mod http;
mod model;
mod parameters;
mod rows;
mod safetensors;
mod settings;

pub use dataset::{DatasetAccess, DatasetSplit};
pub use download::{LocalFile, LocalModel, Progress, Weights, model_in_folder};
pub use error::HubError;
pub use facts::{GatedAccess, ModelFacts, RepositoryFile};
pub use http::Sleep;
pub use model::{GgufFiles, GgufSummary, facts_of_folder};
pub use settings::{HubConfig, PUBLIC_ENDPOINT, RetryPolicy, Token};

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Listings of datasets by repository and revision.
type Listings = Arc<Mutex<HashMap<(String, String), Arc<model::Listing>>>>;

/// A hub to read from: an endpoint with a cache, or a cache alone. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Hub {
    cache: cache::Cache,
    /// `None`: offline.
    remote: Option<http::Remote>,
    /// What datasets hold, so that a run which reads many splits asks once.
    datasets: Listings,
}

impl Hub {
    /// Makes a hub of its settings. Nothing is asked of the network yet.
    ///
    /// # Errors
    /// [`HubError::Invalid`] for an endpoint that is no address, [`HubError::Network`] when no TLS client can be set up.
    pub fn new(config: &HubConfig) -> Result<Self, HubError> {
        Self::with_sleep(config, Arc::new(std::thread::sleep))
    }

    /// As [`Self::new`], with the function that waits between tries.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_sleep(config: &HubConfig, sleep: Sleep) -> Result<Self, HubError> {
        let remote = if config.offline { None } else { Some(http::Remote::new(config, sleep)?) };
        Ok(Self { cache: cache::Cache { root: config.cache_dir.clone() }, remote, datasets: Arc::default() })
    }
}
