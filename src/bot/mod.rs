//! What the bot says and does on an issue.

pub mod commands;
mod comment;
pub mod config;
pub mod decide;
pub mod executor;
pub mod paired_tests;
pub mod publication;
pub mod status;
pub mod store;
pub mod validation;
pub mod worker;

pub use comment::{Links, MARKER, fenced, inert, results, status_of_results};
