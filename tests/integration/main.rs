//! Promises that hold across rooms.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "where they fail, the test fails")]

mod git_server;
mod leaderboard;
mod publish;
mod submission;
mod synthetic;
