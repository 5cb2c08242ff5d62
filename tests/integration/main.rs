//! Promises that hold across rooms.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "where they fail, the test fails")]

mod actions;
mod answers;
mod artifacts;
mod bot;
mod compare;
mod docs;
#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
mod families;
mod git_server;
mod github;
mod github_published;
mod github_stand_in;
mod hub;
#[cfg(feature = "engine")]
mod hub_cache;
mod leaderboard;
mod operating;
mod original_defects;
mod probes;
mod publish;
#[cfg(feature = "engine")]
mod random_models;
#[cfg(feature = "engine")]
mod run;
mod sandbox;
mod server;
mod submission;
mod synthetic;
mod synthetic_samples;
#[cfg(unix)]
mod workflows;
