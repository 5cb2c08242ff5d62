//! Promises that hold across rooms.

mod leaderboard;
mod synthetic;
