//! What the sandbox is given and what it answers: plain data.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One program to judge: the model's code and the dataset's test, which run in two isolated processes.
///
/// Read as one text, it is `candidate + "\n" + test` run by `exec(text, {})`: the verdict is the one that this would give
/// for an honest program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The model's code, hostile until proven otherwise (for HumanEval: prompt and completion).
    pub candidate: String,
    /// The dataset's test. The candidate never sees it.
    pub test: String,
    /// Code by the dataset's authors that the test may call (for HumanEval: the prompt, whose helper functions some tests
    /// use), run beside the test so that the candidate cannot replace it. Empty where there is none.
    pub helpers: String,
    /// The function under test if it is known; it is always taken from the candidate, never from `helpers`.
    pub entry_point: Option<String>,
}

impl Program {
    /// A HumanEval program: `prompt + completion + "\n" + test + "\ncheck(entry_point)"`.
    #[must_use]
    pub fn human_eval(prompt: &str, completion: &str, test: &str, entry_point: &str) -> Self {
        Self {
            candidate: format!("{prompt}{completion}"),
            test: format!("{test}\ncheck({entry_point})"),
            helpers: prompt.to_owned(),
            entry_point: Some(entry_point.to_owned()),
        }
    }

    /// An MBPP program: the completion, then the asserts, joined by line feeds.
    #[must_use]
    pub fn mbpp<S: AsRef<str>>(completion: &str, tests: &[S]) -> Self {
        let test = tests.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("\n");
        Self { candidate: completion.to_owned(), test, ..Self::default() }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The test ran to its end without an exception.
    Passed,
    /// The program raised, answered wrongly, ended early, or answered with something that cannot cross.
    Failed,
    /// The time limit passed.
    TimedOut,
    /// The sandbox itself failed. This says nothing about the program: it is never a wrong answer.
    SandboxError,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::SandboxError => "sandbox_error",
        })
    }
}

/// The verdict on one program, with what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// How the program ended.
    pub verdict: Verdict,
    /// Why: the exception's kind and message, the limit that was passed, the fault. Empty for a passed program, unless it held no test. At most about
    /// 1,000 characters; written by the program as much as by the sandbox, so hostile.
    pub reason: String,
    /// The isolation that the program ran in.
    pub level: Level,
    /// Processor seconds of test and candidate together, without the start of the interpreters.
    pub cpu_s: f64,
    /// Seconds on the clock, without the start of the interpreters.
    pub wall_s: f64,
}

/// How far programs are isolated, from nothing to everything. The order is the strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// No isolation: nothing runs.
    #[serde(rename = "none")]
    None,
    /// One process with a system call filter and a Landlock file system rule set; the host's names stay visible.
    #[serde(rename = "seccomp+landlock")]
    SeccompLandlock,
    /// New namespaces and a system call filter, on a kernel without Landlock.
    #[serde(rename = "namespaces+seccomp")]
    NamespacesSeccomp,
    /// New namespaces, a system call filter and Landlock.
    #[serde(rename = "namespaces+seccomp+landlock")]
    NamespacesSeccompLandlock,
}

impl Level {
    /// The name used in artifacts and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SeccompLandlock => "seccomp+landlock",
            Self::NamespacesSeccomp => "namespaces+seccomp",
            Self::NamespacesSeccompLandlock => "namespaces+seccomp+landlock",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::SeccompLandlock, Self::NamespacesSeccomp, Self::NamespacesSeccompLandlock]
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| format!("{text:?} is no sandbox level; use seccomp+landlock, namespaces+seccomp or namespaces+seccomp+landlock"))
    }
}

/// Which means of isolation to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// The strongest that works here: with user namespaces, else without, else without any namespace.
    #[default]
    Auto,
    /// All namespaces, user namespaces included.
    UserNamespaces,
    /// All namespaces but the user namespace (needs root).
    PrivilegedNamespaces,
    /// No namespace: the system call filter and Landlock alone.
    NoNamespaces,
}

/// What one program may use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Seconds of processor time, and of processor time and sleep together; waiting for a busy processor does not count. 3 as
    /// in `code_eval`.
    pub cpu_s: f64,
    /// Seconds on the clock, whatever they were spent on: the looser second bound.
    pub wall_s: f64,
    /// Bytes of address space of each process.
    pub memory_bytes: u64,
    /// Bytes of the private scratch folder.
    pub scratch_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// Threads (processes cannot be created at all).
    pub threads: u64,
    /// Bytes of one message between candidate and test.
    pub message_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_s: 3.0,
            wall_s: 30.0,
            memory_bytes: 2 << 30,
            scratch_bytes: 64 << 20,
            file_bytes: 16 << 20,
            open_files: 64,
            threads: 32,
            message_bytes: 16 << 20,
        }
    }
}

/// How to start a sandbox.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The program `slm-bench` itself (`std::env::current_exe()`): its hidden command `__sandbox-worker` launches the processes.
    pub program: PathBuf,
    /// The Python interpreter: a path, or a name to look up in `PATH`.
    pub python: PathBuf,
    /// The weakest level that will do; below it nothing runs.
    pub minimum: Level,
    /// Which means of isolation to use.
    pub isolation: Isolation,
    /// Give up root for this user id before anything else (only root can).
    pub as_user: Option<u32>,
    /// What one program may use.
    pub limits: Limits,
}

impl SandboxConfig {
    /// `python3` from `PATH`, the strongest isolation that works but at least `seccomp+landlock`, the default limits.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            python: PathBuf::from("python3"),
            minimum: Level::SeccompLandlock,
            isolation: Isolation::Auto,
            as_user: None,
            limits: Limits::default(),
        }
    }
}

/// Why no sandbox could be started. None of these says anything about a program.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The operating system has none of the means.
    #[error("generated code cannot be isolated on this operating system; run the coding pillar on Linux")]
    UnsupportedSystem,
    /// No usable Python interpreter.
    #[error("no usable Python interpreter {python:?}: {reason}; install Python 3.8 or newer, or name one")]
    NoPython {
        /// The interpreter that was asked for.
        python: PathBuf,
        /// What went wrong with it.
        reason: String,
    },
    /// The machine isolates less than the configuration asks for.
    #[error("the sandbox reaches level {reached}, the configuration asks for {required}: {reason}")]
    LevelTooLow {
        /// The level reached.
        reached: Level,
        /// The level asked for.
        required: Level,
        /// What kept the stronger means from working.
        reason: String,
    },
    /// A canary got out or an honest program failed: the isolation does not hold what it promises.
    #[error("the sandbox fails its own check: {0}")]
    CanaryFailed(String),
}
