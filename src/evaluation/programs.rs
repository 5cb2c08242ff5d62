//! The programs of coding tasks, run in the sandbox.

use crate::sandbox::{Execution, Level, Program, Sandbox, SandboxConfig, Verdict};
use anyhow::{Context, bail};
use std::cell::OnceCell;

/// How often a program is run whose isolation failed: a fault of the machine is no answer of the model.
const TRIES: usize = 3;

/// Runs the programs of coding tasks, isolated.
pub trait ProgramRunner {
    /// One execution for each program, none of them a fault of the sandbox.
    ///
    /// # Errors
    /// The machine cannot isolate programs as asked, or isolation failed repeatedly: never a verdict about a program.
    fn run(&self, programs: &[Program]) -> anyhow::Result<Vec<Execution>>;

    /// The isolation in use, once programs have run.
    fn level(&self) -> Option<Level>;
}

/// Runs programs in a sandbox that is started when the first program comes.
pub struct SandboxedPrograms {
    config: SandboxConfig,
    started: OnceCell<Result<Sandbox, String>>,
}

impl SandboxedPrograms {
    /// A runner with this configuration; nothing is started yet.
    #[must_use]
    pub fn new(config: SandboxConfig) -> Self {
        Self { config, started: OnceCell::new() }
    }

    fn sandbox(&self) -> anyhow::Result<&Sandbox> {
        let started = self.started.get_or_init(|| Sandbox::start(self.config.clone()).map_err(|error| format!("{error:#}")));
        started.as_ref().map_err(|reason| anyhow::anyhow!("model-written programs cannot be isolated here, so none was run: {reason}"))
    }
}

impl ProgramRunner for SandboxedPrograms {
    fn run(&self, programs: &[Program]) -> anyhow::Result<Vec<Execution>> {
        let sandbox = self.sandbox()?;
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let mut executions = sandbox.run_all(programs, parallelism, &|_| {});
        for _ in 1..TRIES {
            let faulty: Vec<usize> = (0..executions.len()).filter(|&i| executions[i].verdict == Verdict::SandboxError).collect();
            let again: Vec<Program> = faulty.iter().map(|&index| programs[index].clone()).collect();
            for (index, execution) in faulty.into_iter().zip(sandbox.run_all(&again, 1, &|_| {})) {
                executions[index] = execution;
            }
        }
        if let Some(index) = executions.iter().position(|execution| execution.verdict == Verdict::SandboxError) {
            bail!("the sandbox failed on program {index} in each of {TRIES} tries: {}", executions[index].reason);
        }
        (executions.len() == programs.len()).then_some(executions).context("the sandbox lost a program")
    }

    fn level(&self) -> Option<Level> {
        self.started.get()?.as_ref().ok().map(Sandbox::level)
    }
}
