//! Parity with lm-evaluation-harness, document by document, on the reference data beside the checkout.
//!
//! `cargo test --release --test parity -- --nocapture`; `HF_HUB_CACHE` names the offline hub (default `../shared/hub`),
//! `SLM_BENCH_GOLDEN` the golden outputs (default `../shared/golden`).
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "where they fail, the test fails")]

mod data;
#[cfg(feature = "engine")]
mod pillars;
mod prompts;
mod sandbox;
#[cfg(feature = "native")]
mod scores;
mod subsets;
mod tokens;
