//! The leaderboard for small language models: from a submission to a ranked, auditable result.
//!
//! The rooms, in the order in which a submission passes through them: [`submission`] (issue text to a checked submission),
//! [`hub`] (what to load), [`benchmark`] (what to ask and how to score), [`engine`] (how the model answers),
//! [`evaluation`] (one run and its artifacts), [`leaderboard`] (registry and ranking), [`publish`] (commits), [`github`] (issues and webhooks),
//! [`cli`] (commands).
//! [`benchmark`], [`statistics`] and [`leaderboard`] are pure: no input or output, no clock.

pub mod benchmark;
pub mod bot;
pub mod cli;
pub mod engine;
mod error_chain;
pub mod evaluation;
pub mod github;
pub mod hub;
pub mod leaderboard;
pub mod meter;
pub mod publish;
pub mod sandbox;
pub mod server;
pub mod statistics;
pub mod submission;
