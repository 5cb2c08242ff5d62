//! What the bot says and does on an issue.

mod comment;
pub mod config;

pub use comment::{Links, MARKER, fenced, inert, results_comment};
