//! GitHub: the webhooks that it sends, and what we ask of its API.
//!
//! [`webhook`] checks a delivery's signature and reads its payload into small structs of our own. [`Client`] speaks to the API for one
//! repository, with a personal token or as a GitHub App, and repeats what may be repeated: rate limits are waited for as the headers say,
//! and a call that changes something is only repeated when GitHub did not carry it out or when a second time changes nothing.
//! Every [`Error`] says whether another try later may help. Users are told apart by their numeric ids, never by their names.

mod archive;
mod client;
mod error;
mod model;
mod settings;
mod transfer;
mod transport;
pub mod webhook;

pub use client::{Client, IssueQuery, LONGEST_COMMENT};
pub use error::{Error, Kind};
pub use model::{
    Artifact, Comment, Identity, Issue, IssueState, Job, Label, Permission, Reaction, Release, ReleaseAsset, Repository, User, WorkflowRun,
};
pub use settings::{Auth, PUBLIC_API, RepositoryName, RetryPolicy, Secret, Settings};
pub use transport::Statistics;
