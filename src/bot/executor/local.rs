//! Evaluations as child processes of this server.
//!
//! A child has a process group of its own, an environment of a few named variables, a bound on memory and on time. However it ends, its whole
//! group is ended with it. After a crash of the server its processes are found by the mark in their environment and stopped; the evaluation
//! then goes on from the answers that were kept.

use super::process::{self, MARK, Signal};
use super::{Executor, Handle, Order, Status};
use crate::bot::store::Failure;
use crate::evaluation::{RunLine, RunProgress, write_atomically};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a child is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long killed processes may take to be gone.
const KILL_TAKES: Duration = Duration::from_secs(10);
/// Longest line of a child's output that is looked at, in bytes.
const LONGEST_LINE: usize = 64 * 1024;
/// Lines of a child's output that are kept for the message, should it fail.
const KEPT_LINES: usize = 40;
/// Size of the log in the work folder, in bytes, from which on nothing more is written to it.
const LONGEST_LOG: u64 = 4 * 1024 * 1024;
/// Longest message of a failure, in characters.
const LONGEST_MESSAGE: usize = 1_000;
/// Variables that a child inherits when the server has them: where things are, never who the server is.
const INHERITED: [&str; 29] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "RUST_LOG",
    "NO_COLOR",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "XDG_CACHE_HOME",
    "HF_TOKEN_PATH",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
];

/// What a server allows its evaluations.
#[derive(Clone)]
pub struct LocalConfig {
    /// The program: normally this one.
    pub program: PathBuf,
    /// Further arguments of `slm-bench run`, such as `--device cpu`.
    pub arguments: Vec<String>,
    /// The whole environment of a child.
    pub environment: BTreeMap<String, String>,
    /// Most memory in bytes that all processes of an evaluation together may hold, mapped files not counted.
    pub memory_bytes: Option<u64>,
    /// Longest time of one evaluation.
    pub wall: Duration,
    /// Time between the request to stop and the end by force.
    pub grace: Duration,
    /// Priority of the children: 0 is the server's own, 19 the lowest.
    pub nice: i32,
}

impl std::fmt::Debug for LocalConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment may hold a token: names only.
        let Self { program, arguments, environment, memory_bytes, wall, grace, nice } = self;
        let names: Vec<&String> = environment.keys().collect();
        formatter
            .debug_struct("LocalConfig")
            .field("program", program)
            .field("arguments", arguments)
            .field("environment", &names)
            .field("memory_bytes", memory_bytes)
            .field("wall", wall)
            .field("grace", grace)
            .field("nice", nice)
            .finish()
    }
}

impl LocalConfig {
    /// The variables of `all` that an evaluation may see: paths, proxies, the hub's address and cache, devices. No tokens: the server adds the
    /// hub's, which reads and nothing else, since the evaluation downloads model and data sets; GitHub's never gets there.
    pub fn inherited(all: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
        all.into_iter().filter(|(name, _)| INHERITED.contains(&name.as_str())).collect()
    }
}

/// Runs evaluations as child processes.
pub struct LocalExecutor {
    config: LocalConfig,
    running: Mutex<HashMap<u32, Arc<Run>>>,
}

/// One child, as its watcher and the executor share it.
struct Run {
    work: PathBuf,
    handle: Handle,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    progress: Option<RunProgress>,
    runs: Vec<PathBuf>,
    tail: VecDeque<String>,
    stop: bool,
    /// A task that has no score for now, and why.
    delayed: Option<(String, String)>,
    /// What the child says of its error: whether it may pass.
    may_pass: Option<bool>,
    status: Option<Status>,
}

/// Why the watcher ended a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByItself,
    Stopped,
    TooLong,
    TooMuchMemory,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LocalExecutor {
    /// An executor without evaluations.
    #[must_use]
    pub fn new(config: LocalConfig) -> Self {
        Self { config, running: Mutex::default() }
    }

    fn run_of(&self, handle: &Handle) -> Option<Arc<Run>> {
        let Handle::Local { pid, .. } = handle else { return None };
        lock(&self.running).get(pid).filter(|run| run.handle == *handle).cloned()
    }

    fn command(&self, order: &Order, submission: &Path) -> Command {
        let mut command = Command::new(&self.config.program);
        command
            .arg("run")
            .arg("--submission-file")
            .arg(submission)
            .arg("--output-dir")
            .arg(order.results())
            .args(["--suite", &order.suite, "--resume", "--progress", "json"])
            .args(&self.config.arguments)
            .env_clear()
            .envs(&self.config.environment)
            .env(MARK, &order.work)
            .current_dir(&order.work)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

impl Drop for LocalExecutor {
    /// Nothing outlives the executor: its children are ended by force.
    fn drop(&mut self) {
        for run in lock(&self.running).values() {
            if let Handle::Local { pid, .. } = run.handle
                && lock(&run.state).status.is_none()
            {
                let _ = process::signal_group(pid, Signal::Kill);
                process::signal_each(&process::marked(&run.work), Signal::Kill);
            }
        }
    }
}

impl Executor for LocalExecutor {
    fn name(&self) -> &'static str {
        "local"
    }

    fn recover(&self, order: &Order, handle: Option<&Handle>) -> Result<Option<Handle>, Failure> {
        if let Some(run) = handle.and_then(|handle| self.run_of(handle)) {
            return Ok(Some(run.handle.clone()));
        }
        let forgotten: Vec<Arc<Run>> = lock(&self.running).values().filter(|run| run.work == order.work).cloned().collect();
        for run in forgotten {
            self.cancel(order, &run.handle)?;
            self.forget(&run.handle);
        }
        clear_up(&order.work, handle)?;
        Ok(None)
    }

    fn start(&self, order: &Order) -> Result<Handle, Failure> {
        let host = |error: anyhow::Error| Failure::transient(format!("the evaluation could not be started: {error:#}"));
        fs::create_dir_all(order.results()).map_err(|error| Failure::transient(format!("the work folder cannot be made: {error}")))?;
        if !order.work.is_absolute() {
            return Err(Failure::permanent("the work folder must be named from the root on"));
        }
        let submission = order.work.join("submission.yml");
        write_atomically(&submission, order.submission.as_bytes()).map_err(host)?;
        let mut child = self
            .command(order, &submission)
            .spawn()
            .map_err(|error| Failure::transient(format!("the evaluation could not be started: {error}")))?;
        let pid = child.id();
        process::step_back(pid, self.config.nice);
        let handle = Handle::Local { pid, started: process::started(pid).unwrap_or(0), boot: process::boot() };
        let run = Arc::new(Run { work: order.work.clone(), handle: handle.clone(), state: Mutex::default(), ended: Condvar::new() });
        lock(&self.running).insert(pid, Arc::clone(&run));
        let log = Arc::new(Mutex::new(open_log(&order.work)));
        let mut readers = Vec::new();
        if let Some(output) = child.stdout.take() {
            readers.push(reader(output, Arc::clone(&run), Arc::clone(&log)));
        }
        if let Some(output) = child.stderr.take() {
            readers.push(reader(output, Arc::clone(&run), log));
        }
        let config = self.config.clone();
        thread::spawn(move || watch(child, &run, &config, readers));
        Ok(handle)
    }

    fn poll(&self, _order: &Order, handle: &Handle) -> Result<Status, Failure> {
        let Some(run) = self.run_of(handle) else { return Ok(Status::Lost) };
        let state = lock(&run.state);
        Ok(state.status.clone().unwrap_or_else(|| Status::Running(state.progress.clone())))
    }

    fn cancel(&self, order: &Order, handle: &Handle) -> Result<(), Failure> {
        let Some(run) = self.run_of(handle) else { return clear_up(&order.work, Some(handle)) };
        let mut state = lock(&run.state);
        state.stop = true;
        let patience = self.config.grace + KILL_TAKES * 2;
        let begun = Instant::now();
        while state.status.is_none() {
            let Some(left) = patience.checked_sub(begun.elapsed()) else {
                return Err(Failure::transient("the evaluation could not be stopped; it is tried again"));
            };
            state = run.ended.wait_timeout(state, left).map_or_else(|error| error.into_inner().0, |(state, _)| state);
        }
        Ok(())
    }

    fn collect(&self, _order: &Order, handle: &Handle) -> Result<Vec<PathBuf>, Failure> {
        let run = self.run_of(handle).ok_or_else(|| Failure::transient("the evaluation must be started again to find its artifacts"))?;
        let mut runs = lock(&run.state).runs.clone();
        runs.sort();
        runs.dedup();
        match runs.iter().find(|folder| !folder.join("run.json").is_file()) {
            Some(_) => Err(Failure::transient("a run's folder has no run.json: somebody removed it")),
            None if runs.is_empty() => Err(Failure::transient("the evaluation ended without naming its artifacts")),
            None => Ok(runs),
        }
    }

    fn forget(&self, handle: &Handle) {
        if let Handle::Local { pid, .. } = handle {
            let mut running = lock(&self.running);
            if running.get(pid).is_some_and(|run| run.handle == *handle && lock(&run.state).status.is_some()) {
                running.remove(pid);
            }
        }
    }
}

/// Ends what an earlier server left running for a work folder.
fn clear_up(work: &Path, handle: Option<&Handle>) -> Result<(), Failure> {
    let deadline = Instant::now() + KILL_TAKES;
    loop {
        let mut left = process::marked(work);
        if let Some(Handle::Local { pid, started, boot }) = handle
            && *boot == process::boot()
            && process::started(*pid) == Some(*started)
        {
            left.extend(process::members(*pid));
            left.insert(*pid);
        }
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::transient("processes of an earlier attempt could not be ended"));
        }
        tracing::info!(processes = left.len(), "ending what an earlier attempt left running");
        process::signal_each(&left, Signal::Kill);
        thread::sleep(LOOK_EVERY);
    }
}

fn open_log(work: &Path) -> Option<fs::File> {
    let path = work.join("run.log");
    let file = fs::OpenOptions::new().create(true).append(true).open(&path);
    file.inspect_err(|error| tracing::warn!(%error, "an evaluation's log cannot be written")).ok()
}

/// Takes a child's output line by line: progress for whoever polls, all of it into the log, the last of it for messages.
fn reader(mut output: impl Read + Send + 'static, run: Arc<Run>, log: Arc<Mutex<Option<fs::File>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0_u8; 8192];
        let mut line: Vec<u8> = Vec::new();
        loop {
            let read = match output.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            for &byte in &buffer[..read] {
                if byte == b'\n' {
                    take_line(&line, &run, &log);
                    line.clear();
                } else if line.len() < LONGEST_LINE {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            take_line(&line, &run, &log);
        }
    })
}

fn take_line(line: &[u8], run: &Run, log: &Mutex<Option<fs::File>>) {
    let text = String::from_utf8_lossy(line);
    match RunLine::parse(&text) {
        Some(RunLine::Run { folder, .. }) => lock(&run.state).runs.push(folder),
        Some(RunLine::Delayed { task, reason }) => drop(lock(&run.state).delayed.get_or_insert((task, reason))),
        Some(RunLine::Failed { may_pass }) => lock(&run.state).may_pass = Some(may_pass),
        Some(line) => lock(&run.state).progress.get_or_insert_default().apply(&line),
        None => {
            if let Some(file) = lock(log).as_mut()
                && file.metadata().is_ok_and(|metadata| metadata.len() < LONGEST_LOG)
            {
                // A full disk must not stop the evaluation for the sake of its log.
                let _ = writeln!(file, "{text}");
            }
            let mut state = lock(&run.state);
            if state.tail.len() == KEPT_LINES {
                state.tail.pop_front();
            }
            state.tail.push_back(text.chars().take(LONGEST_MESSAGE).collect());
        }
    }
}

/// Stays with a child until nothing of it is left, and then says how it ended.
fn watch(mut child: Child, run: &Run, config: &LocalConfig, readers: Vec<thread::JoinHandle<()>>) {
    let pid = child.id();
    let ended = wait_or_end(pid, run, config);
    // The child is still a zombie, so its group's number is its own. Whatever it left behind ends now.
    let deadline = Instant::now() + KILL_TAKES;
    loop {
        let _ = process::signal_group(pid, Signal::Kill);
        let mut left = process::members(pid);
        left.extend(process::marked(&run.work));
        process::signal_each(&left, Signal::Kill);
        if left.is_empty() || Instant::now() > deadline {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let status = child.wait();
    for reader in readers {
        // Nobody is left who could hold the other end of the pipe.
        let _ = reader.join();
    }
    let mut state = lock(&run.state);
    let status = match status {
        Ok(status) => verdict(ended, status, &state, config, &run.work),
        Err(error) => Status::Failed(Failure::transient(format!("how the evaluation ended cannot be told: {error}"))),
    };
    state.status = Some(status);
    run.ended.notify_all();
}

/// Waits for the child's end, or brings it about when it was asked for or a bound is passed.
fn wait_or_end(pid: u32, run: &Run, config: &LocalConfig) -> Ended {
    let begun = Instant::now();
    let mut ending: Option<(Ended, Instant)> = None;
    loop {
        match process::has_ended(pid) {
            Ok(false) => {}
            Ok(true) => return ending.map_or(Ended::ByItself, |(why, _)| why),
            Err(error) => {
                tracing::error!(%error, "a child cannot be waited for");
                return ending.map_or(Ended::ByItself, |(why, _)| why);
            }
        }
        if let Some((why, since)) = ending {
            if since.elapsed() >= config.grace {
                let _ = process::signal_group(pid, Signal::Kill);
                return why;
            }
        } else if let Some(why) = reason_to_end(pid, run, config, begun) {
            if why == Ended::TooMuchMemory {
                // There may be no memory left for a graceful end.
                let _ = process::signal_group(pid, Signal::Kill);
                return why;
            }
            let _ = process::signal_group(pid, Signal::Terminate);
            ending = Some((why, Instant::now()));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn reason_to_end(pid: u32, run: &Run, config: &LocalConfig, begun: Instant) -> Option<Ended> {
    if lock(&run.state).stop {
        return Some(Ended::Stopped);
    }
    if begun.elapsed() >= config.wall {
        return Some(Ended::TooLong);
    }
    let bound = config.memory_bytes?;
    (process::memory_of(&process::members(pid)) > bound).then_some(Ended::TooMuchMemory)
}

/// What an ended child means for its job.
fn verdict(ended: Ended, status: ExitStatus, state: &State, config: &LocalConfig, work: &Path) -> Status {
    let said = || without_paths(&last_words(&state.tail), work, config);
    let failure = match (ended, status.code(), &state.delayed) {
        // A child that was done before the signal reached it is done.
        (_, Some(0), _) => return Status::Finished { partial: false },
        (_, Some(4), None) => return Status::Finished { partial: true },
        // What the network or the hub withheld for a while is no property of the model: it is asked for again before anything is published.
        (_, Some(4), Some((task, reason))) => {
            Failure::transient(without_paths(&format!("{task} has no score yet: {reason}"), work, config))
        }
        (Ended::Stopped, ..) => Failure::transient("stopped on request; what was answered is kept"),
        (Ended::TooLong, ..) => Failure::permanent(format!("the evaluation took longer than {} allowed here", duration(config.wall))),
        (Ended::TooMuchMemory, ..) => Failure::permanent(format!(
            "the evaluation needs more than the {:.1} GiB of memory allowed here",
            config.memory_bytes.unwrap_or(0) as f64 / f64::from(1 << 30)
        )),
        // The child knows what kind of error it was; where it does not say, its exit code tells.
        (Ended::ByItself, Some(code), _) => {
            if state.may_pass.unwrap_or(!matches!(code, 1 | 2)) {
                Failure::transient(said())
            } else {
                Failure::permanent(said())
            }
        }
        (Ended::ByItself, None, _) => Failure::transient(by_signal(status)),
    };
    Status::Failed(failure)
}

#[cfg(unix)]
fn by_signal(status: ExitStatus) -> String {
    match std::os::unix::process::ExitStatusExt::signal(&status) {
        Some(9) => "the evaluation was killed (signal 9), most likely because the machine ran out of memory".to_owned(),
        Some(signal) => format!("the evaluation was ended by signal {signal}"),
        None => "the evaluation ended in an unknown way".to_owned(),
    }
}

#[cfg(not(unix))]
fn by_signal(_status: ExitStatus) -> String {
    "the evaluation ended in an unknown way".to_owned()
}

fn duration(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match duration.as_secs() {
        seconds @ 0..120 => format!("the {seconds} seconds"),
        120..7200 => format!("the {minutes} minutes"),
        _ => format!("the {} hours", minutes / 60),
    }
}

/// The error that the child printed, or its last line.
fn last_words(tail: &VecDeque<String>) -> String {
    let error = tail.iter().rev().find_map(|line| line.strip_prefix("error: "));
    let last = tail.iter().rev().map(String::as_str).find(|line| !line.trim().is_empty());
    error.or(last).unwrap_or("the evaluation ended without a word").to_owned()
}

/// Messages reach the public: folders of this machine do not belong there.
fn without_paths(message: &str, work: &Path, config: &LocalConfig) -> String {
    let mut text = message.replace(&work.display().to_string(), "the work folder");
    for (name, value) in &config.environment {
        let is_path = Path::new(value).is_absolute() && value.len() > 1 && !value.contains(':');
        if is_path {
            text = text.replace(value.as_str(), &format!("${name}"));
        } else if name.ends_with("TOKEN") && !value.is_empty() {
            text = text.replace(value.as_str(), "…");
        }
    }
    text
}
