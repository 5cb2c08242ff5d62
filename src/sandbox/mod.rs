//! Runs model-written Python, isolated.
//!
//! Every program runs in processes of its own that see a read-only Python installation, an empty environment and a private
//! scratch folder, and nothing else. The dataset's test runs in one such process and the model's code in another; only plain
//! values cross between them, so nothing that the model's code does to its interpreter reaches the verdict.
//!
//! Three kinds of processes: the parent (this program, [`Sandbox`]) starts launchers (the same program, one thread, one for each
//! program that runs at the same time), and a launcher starts two interpreters for each program and judges how they end. The
//! threat model and the rules are in `docs/sandbox.md`.

mod canary;
mod launch;
#[cfg(target_os = "linux")]
mod linux;
mod message;
mod outcome;
mod python;

pub use canary::Canary;
pub use launch::Sandbox;
pub use outcome::{Execution, Isolation, Level, Limits, Program, SandboxConfig, SandboxError, Verdict};

/// The hidden command of `slm-bench` that is a launcher.
pub const WORKER_COMMAND: &str = "__sandbox-worker";

/// The whole life of a launcher: reads from standard input, writes to standard output, ends with its input.
///
/// # Errors
/// The parent is gone, or the operating system has none of the means.
pub fn serve() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    return linux::serve();
    #[cfg(not(target_os = "linux"))]
    Err(std::io::ErrorKind::Unsupported.into())
}
