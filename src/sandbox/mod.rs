//! Runs model-written Python, isolated.
//!
//! Every program runs in processes of its own that see a read-only Python installation, an empty environment and a private
//! scratch folder, and nothing else. The dataset's test runs in one such process and the model's code in another; only plain
//! values cross between them, so nothing that the model's code does to its interpreter reaches the verdict.

mod outcome;

pub use outcome::{Execution, Isolation, Level, Limits, Program, SandboxConfig, SandboxError, Verdict};
