//! What the bot says and does on an issue.

pub mod commands;
mod comment;
pub mod config;
pub mod executor;
pub mod status;
pub mod store;

pub use comment::{Links, MARKER, fenced, inert, results, results_comment};
