//! `sandbox`: runs one assembled test program isolated, or says how far this machine isolates.

use super::{InvalidInput, Outcome};
use crate::sandbox::{Execution, Isolation, Level, Sandbox, SandboxConfig, Verdict};
use anyhow::Context;
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Options of `sandbox`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The program: code, then its test (asserts, or HumanEval's check), in one file; `-` reads standard input.
    #[arg(required_unless_present = "canaries")]
    program: Option<PathBuf>,
    /// Release the canaries and print the level that this machine reaches.
    #[arg(long)]
    canaries: bool,
    /// The means of isolation: auto, user-namespaces, privileged-namespaces (needs root) or no-namespaces.
    #[arg(long, value_name = "MEANS", default_value = "auto", value_parser = isolation)]
    isolation: Isolation,
    /// The weakest level that will do.
    #[arg(long, value_name = "LEVEL", default_value_t = Level::SeccompLandlock)]
    minimum_level: Level,
    /// The Python interpreter.
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    python: PathBuf,
    /// Give up root for this user id first.
    #[arg(long, value_name = "UID")]
    as_user: Option<u32>,
}

fn isolation(text: &str) -> Result<Isolation, String> {
    serde_json::from_value(text.into()).map_err(|_| "use auto, user-namespaces, privileged-namespaces or no-namespaces".to_owned())
}

/// Runs the command: one line of JSON on standard output.
///
/// # Errors
/// The program cannot be read, or the sandbox failed (which is also printed as the verdict `sandbox_error`).
pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let text = match (&options.program, options.canaries) {
        (Some(path), false) => Some(read(path)?),
        _ => None,
    };
    let config = SandboxConfig {
        python: options.python.clone(),
        minimum: options.minimum_level,
        isolation: options.isolation,
        as_user: options.as_user,
        ..SandboxConfig::new(std::env::current_exe().context("cannot find this program's own file")?)
    };
    let sandbox = match Sandbox::start(config) {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let nothing =
                Execution { verdict: Verdict::SandboxError, reason: error.to_string(), level: Level::None, cpu_s: 0.0, wall_s: 0.0 };
            println!("{}", serde_json::to_string(&nothing)?);
            return Err(error.into());
        }
    };
    let Some(text) = text else {
        let report = serde_json::json!({ "level": sandbox.level(), "python": sandbox.python_version(), "canaries": sandbox.canaries() });
        println!("{report}");
        return Ok(Outcome::Done);
    };
    let execution = sandbox.run_text(&text);
    println!("{}", serde_json::to_string(&execution)?);
    if execution.verdict == Verdict::SandboxError {
        anyhow::bail!("the sandbox failed: {}", execution.reason);
    }
    Ok(Outcome::Done)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(path).map(|read| bytes = read)
    };
    read.map_err(|error| InvalidInput(format!("cannot read {}: {error}", path.display())))?;
    String::from_utf8(bytes).map_err(|error| InvalidInput(format!("{} is not UTF-8: {error}", path.display())).into())
}
