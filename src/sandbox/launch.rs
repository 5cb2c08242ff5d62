//! The parent's side: starts launchers, hands them programs, and collects verdicts.

use super::message::{self, Reply, Request, Setup};
use super::python::{self, Python};
use super::{Canary, Execution, Isolation, Level, Limits, Program, SandboxConfig, SandboxError, Verdict, canary};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A place in which model-written Python can be run. Launchers are started as they are needed and kept for the next program.
#[derive(Debug)]
pub struct Sandbox {
    config: SandboxConfig,
    isolation: Isolation,
    level: Level,
    python: Python,
    canaries: Vec<Canary>,
    stages: tempfile::TempDir,
    next_stage: AtomicUsize,
    idle: Mutex<Vec<Launcher>>,
}

#[derive(Debug)]
struct Launcher {
    child: Child,
    level: Level,
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // The end of its input ends it; the guests that it may have die with it.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sandbox {
    /// Finds the strongest isolation that works here, checks with canaries that it holds, and gets ready to run programs.
    ///
    /// # Errors
    /// Below the level that the configuration asks for nothing runs: the error says what the machine lacks.
    pub fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        if !cfg!(target_os = "linux") {
            return Err(SandboxError::UnsupportedSystem);
        }
        let python = python::probe(&config.python)?;
        let too_low = |reason: String| SandboxError::LevelTooLow { reached: Level::None, required: config.minimum, reason };
        let stages = stages().map_err(|error| too_low(format!("no temporary folder: {error}")))?;
        let candidates = match config.isolation {
            Isolation::Auto => vec![Isolation::UserNamespaces, Isolation::PrivilegedNamespaces, Isolation::NoNamespaces],
            one => vec![one],
        };
        let mut sandbox = Self {
            isolation: Isolation::Auto,
            level: Level::None,
            python,
            canaries: Vec::new(),
            stages,
            next_stage: AtomicUsize::new(0),
            idle: Mutex::new(Vec::new()),
            config,
        };
        let mut reasons = Vec::new();
        for isolation in candidates {
            sandbox.isolation = isolation;
            match sandbox.try_out() {
                Ok(level) => {
                    sandbox.level = level;
                    break;
                }
                Err(reason) => {
                    tracing::debug!("isolation {isolation:?} does not work here: {reason}");
                    reasons.push(reason);
                }
            }
        }
        if sandbox.level == Level::None || sandbox.level < sandbox.config.minimum {
            let reason = if reasons.is_empty() { "the kernel offers no more".to_owned() } else { reasons.join("; ") };
            return Err(SandboxError::LevelTooLow { reached: sandbox.level, required: sandbox.config.minimum, reason });
        }
        sandbox.canaries = canary::release(&sandbox).map_err(SandboxError::CanaryFailed)?;
        Ok(sandbox)
    }

    /// The isolation that every program gets.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The version of the interpreter, for example `3.11.7`.
    #[must_use]
    pub fn python_version(&self) -> &str {
        &self.python.version
    }

    /// What the check at the start tried, and how each attempt ended.
    #[must_use]
    pub fn canaries(&self) -> &[Canary] {
        &self.canaries
    }

    /// Runs one program.
    #[must_use]
    pub fn run(&self, program: &Program) -> Execution {
        self.ask(&Request::Program(program.clone(), self.config.limits))
    }

    /// Runs one assembled text (candidate, then test): the trailing test is found by the rules in `docs/sandbox.md`.
    #[must_use]
    pub fn run_text(&self, text: &str) -> Execution {
        self.ask(&Request::Text(text.to_owned(), self.config.limits))
    }

    /// Runs many programs, `parallelism` at a time, each isolated from all others. The verdicts come in the order of the
    /// programs. `progress` is told how many are done, from several threads.
    #[must_use]
    pub fn run_all(&self, programs: &[Program], parallelism: usize, progress: &(dyn Fn(usize) + Sync)) -> Vec<Execution> {
        self.run_each(programs, parallelism, progress, Self::run)
    }

    /// As [`Self::run_all`], for assembled texts.
    #[must_use]
    pub fn run_all_texts(&self, texts: &[String], parallelism: usize, progress: &(dyn Fn(usize) + Sync)) -> Vec<Execution> {
        self.run_each(texts, parallelism, progress, |sandbox, text| sandbox.run_text(text))
    }

    fn run_each<T: Sync>(
        &self,
        items: &[T],
        parallelism: usize,
        progress: &(dyn Fn(usize) + Sync),
        run: impl Fn(&Self, &T) -> Execution + Sync,
    ) -> Vec<Execution> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results: Vec<Mutex<Option<Execution>>> = items.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..parallelism.clamp(1, items.len().max(1)) {
                scope.spawn(|| {
                    while let Some((item, slot)) = {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        items.get(number).zip(results.get(number))
                    } {
                        let execution = run(self, item);
                        *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(execution);
                        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                });
            }
        });
        let missing = || self.fault("no verdict was recorded".to_owned());
        results
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).unwrap_or_else(missing))
            .collect()
    }

    /// A file outside of every guest's view that any other process of this machine may read.
    pub(super) fn canary_file(&self) -> io::Result<PathBuf> {
        let path = self.stages.path().join("canary");
        std::fs::write(&path, "canary")?;
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        Ok(path)
    }

    /// What one program may use.
    pub(super) const fn limits(&self) -> Limits {
        self.config.limits
    }

    /// As [`Self::run`], with other limits than the configured ones.
    pub(super) fn run_within(&self, program: &Program, limits: Limits) -> Execution {
        self.ask(&Request::Program(program.clone(), limits))
    }

    /// Asks an idle launcher, or a new one. A fault is tried once more on a fresh one: it says nothing about the program.
    fn ask(&self, request: &Request) -> Execution {
        let first = self.ask_once(request);
        if first.verdict == Verdict::SandboxError { self.ask_once(request) } else { first }
    }

    fn ask_once(&self, request: &Request) -> Execution {
        let idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut launcher = match idle.map_or_else(|| self.launch(), Ok) {
            Ok(launcher) => launcher,
            Err(reason) => return self.fault(reason),
        };
        match launcher.ask(request) {
            Ok(execution) => {
                if execution.verdict != Verdict::SandboxError {
                    self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(launcher);
                }
                execution
            }
            Err(error) => self.fault(format!("the launcher is gone: {error}")),
        }
    }

    fn fault(&self, reason: String) -> Execution {
        Execution { verdict: Verdict::SandboxError, reason, level: self.level, cpu_s: 0.0, wall_s: 0.0 }
    }

    /// The level that the chosen isolation reaches: a launcher is set up and an honest program passes.
    fn try_out(&self) -> Result<Level, String> {
        let mut launcher = self.launch()?;
        let execution = launcher.ask(&Request::Program(canary::honest(), self.config.limits)).map_err(|error| error.to_string())?;
        if execution.verdict != Verdict::Passed {
            return Err(format!("an honest program {}: {}", execution.verdict, execution.reason));
        }
        let level = launcher.level;
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(launcher);
        Ok(level)
    }

    fn launch(&self) -> Result<Launcher, String> {
        let stage = self.stages.path().join(self.next_stage.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&stage).map_err(|error| format!("cannot make {}: {error}", stage.display()))?;
        Launcher::start(&self.config, self.isolation, &self.python, stage)
    }
}

/// A temporary folder that other users may pass through, but not list.
fn stages() -> io::Result<tempfile::TempDir> {
    let stages = tempfile::Builder::new().prefix("slm-bench-sandbox-").tempdir()?;
    #[cfg(unix)]
    std::fs::set_permissions(stages.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
    Ok(stages)
}

impl Launcher {
    fn start(config: &SandboxConfig, isolation: Isolation, python: &Python, stage: PathBuf) -> Result<Self, String> {
        let mut child = Command::new(&config.program)
            .arg(super::WORKER_COMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", config.program.display()))?;
        let setup = Setup {
            isolation,
            as_user: config.as_user,
            stage,
            executable: python.executable.clone(),
            paths: python.paths.clone(),
            links: python.links.clone(),
            candidate: python.candidate.clone(),
            tester: python.tester.clone(),
            splitter: python.splitter.clone(),
        };
        let sent = child.stdin.as_mut().map_or_else(|| Err(io::ErrorKind::BrokenPipe.into()), |input| message::write(input, &setup));
        let mut launcher = Self { child, level: Level::None };
        match sent.and_then(|()| launcher.receive()) {
            Ok(Reply::Ready(level)) => {
                launcher.level = level;
                Ok(launcher)
            }
            Ok(Reply::Fault(reason)) => Err(reason),
            Ok(Reply::Done(_)) => Err("the launcher answers before it is asked".to_owned()),
            Err(error) => Err(format!("the launcher does not start: {error}")),
        }
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let output = self.child.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        message::read(output)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn ask(&mut self, request: &Request) -> io::Result<Execution> {
        message::write(self.child.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?, request)?;
        match self.receive()? {
            Reply::Done(execution) => Ok(execution),
            Reply::Ready(_) | Reply::Fault(_) => Err(io::Error::other("an answer to nothing")),
        }
    }
}
