//! One program: two guests, one verdict.

use super::guest::{Given, Guest};
use super::sys::{self, Ended, Pid};
use super::{Folder, Launcher};
use crate::sandbox::message::{Value, encode_job};
use crate::sandbox::{Execution, Limits, Program, Verdict};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long interpreters may take to start, on the busiest machine.
const START: Duration = Duration::from_mins(1);
/// Bytes of all that a guest may say to the launcher.
const LONGEST_REPORT: usize = 16 << 10;
/// How often a scratch folder without a file system of its own is measured.
const MEASURE: Duration = Duration::from_millis(25);
/// Files in a scratch folder.
const MOST_FILES: usize = 4096;

/// What came out of a guest, before it is weighed.
enum Heard {
    Passed(String),
    Failed(String),
    /// The candidate ended before its test was done.
    Ended,
    /// The interpreters did not start.
    Fault(String),
    TimedOut(String),
    /// The splitter's answer.
    At(usize),
    /// Nothing that counts.
    Silence,
}

impl Launcher {
    /// Runs one program.
    pub(super) fn run_program(&self, program: &Program, limits: &Limits) -> io::Result<Execution> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let size = ("message_bytes", Value::Integer(limits.message_bytes));
        let candidate_job = encode_job(&[("role", Value::Text("candidate")), ("candidate", Value::Text(&program.candidate)), size])?;
        let tester_job = encode_job(&[
            ("role", Value::Text("tester")),
            ("test", Value::Text(&program.test)),
            ("helpers", Value::Text(&program.helpers)),
            ("entry_point", program.entry_point.as_deref().map_or(Value::None, Value::Text)),
            ("nonce", Value::Bytes(&nonce)),
            ("message_bytes", Value::Integer(limits.message_bytes)),
        ])?;
        let (question_out, question_in) = sys::pipe()?;
        let (answer_out, answer_in) = sys::pipe()?;
        let (verdict_out, verdict_in) = sys::pipe()?;
        let scratch = [self.scratch()?, self.scratch()?];
        let mut running = Running { launcher: self, limits, guests: Vec::new(), began: None, candidate: 0 };
        let links = [Some(question_out.as_fd()), Some(answer_in.as_fd()), None];
        running.start(&self.setup.candidate, &candidate_job, links, scratch[0].as_ref())?;
        let links = [Some(answer_out.as_fd()), Some(question_in.as_fd()), Some(verdict_in.as_fd())];
        running.start(&self.setup.tester, &tester_job, links, scratch[1].as_ref())?;
        drop((question_out, question_in, answer_out, answer_in, verdict_in));
        let heard = running.listen(verdict_out, &nonce, scratch[0].as_ref().map(|folder| folder.0.as_path()))?;
        running.judge(heard)
    }

    /// Finds the test in one assembled text and runs both parts.
    pub(super) fn run_text(&self, text: &str, limits: &Limits) -> io::Result<Execution> {
        // The line ends that Python's own reader would see, so that positions agree.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let job = encode_job(&[("role", Value::Text("splitter")), ("candidate", Value::Text(&text)), ("nonce", Value::Bytes(&nonce))])?;
        let (verdict_out, verdict_in) = sys::pipe()?;
        let scratch = self.scratch()?;
        let mut running = Running { launcher: self, limits, guests: Vec::new(), began: None, candidate: 0 };
        running.start(&self.setup.splitter, &job, [None, None, Some(verdict_in.as_fd())], scratch.as_ref())?;
        drop(verdict_in);
        let heard = running.listen(verdict_out, &nonce, None)?;
        let Heard::At(at) = heard else { return running.judge(heard) };
        drop(running);
        let Some((before, after)) = text.split_at_checked(at) else {
            return Err(io::Error::other("the test begins outside of the program"));
        };
        let program = Program { candidate: before.to_owned(), test: after.to_owned(), ..Program::default() };
        self.run_program(&program, limits)
    }

    /// A scratch folder on the host, where guests have no file system of their own.
    fn scratch(&self) -> io::Result<Option<Folder>> {
        if self.means.namespaces {
            return Ok(None);
        }
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let path = self.setup.stage.join(hex::encode(name));
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path)?;
        Ok(Some(Folder(path)))
    }
}

/// When the program began, and what the guests had used by then.
struct Began {
    at: Instant,
    cpu: Duration,
    queued: Duration,
}

struct Running<'a> {
    launcher: &'a Launcher,
    limits: &'a Limits,
    guests: Vec<Guest>,
    began: Option<Began>,
    /// Which of the guests runs the model's code.
    candidate: usize,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        for guest in &self.guests {
            sys::kill(guest.pid);
        }
        for guest in &self.guests {
            let _ = sys::wait(guest.pid, None);
        }
    }
}

impl Running<'_> {
    fn start(&mut self, code: &[u8], job: &[u8], links: [Option<BorrowedFd<'_>>; 3], scratch: Option<&Folder>) -> io::Result<()> {
        let mut file = std::fs::File::from(sys::memory_file(c"job")?);
        file.write_all(&u32::try_from(code.len()).map_err(io::Error::other)?.to_le_bytes())?;
        file.write_all(code)?;
        file.write_all(job)?;
        file.rewind()?;
        let given = Given { job: file.as_fd(), links, scratch: scratch.map(|folder| folder.0.as_path()), limits: self.limits };
        self.guests.push(self.launcher.means.start(&given)?);
        Ok(())
    }

    /// Reads the reports until one of them decides, or a limit passes.
    fn listen(&mut self, reports: OwnedFd, nonce: &[u8], measured: Option<&Path>) -> io::Result<Heard> {
        sys::set_nonblocking(reports.as_fd())?;
        let mut reports = std::fs::File::from(reports);
        let mut buffer = Vec::new();
        let started = Instant::now();
        let mut next = started + START;
        loop {
            while let Some(report) = take_frame(&mut buffer) {
                let Some(report) = report.strip_prefix(nonce) else { return Ok(Heard::Silence) };
                let Some((kind, rest)) = report.split_first() else { return Ok(Heard::Silence) };
                let text = String::from_utf8_lossy(rest).into_owned();
                match kind {
                    b'S' => {
                        let began = Began { at: Instant::now(), cpu: self.processor_time(), queued: self.queued() };
                        next = began.at + Duration::from_secs_f64(self.limits.cpu_s);
                        self.began = Some(began);
                    }
                    b'P' => return Ok(Heard::Passed(text)),
                    b'F' => return Ok(Heard::Failed(text)),
                    b'C' => return Ok(Heard::Ended),
                    b'E' => return Ok(Heard::Fault(text)),
                    b'A' => return Ok(text.parse().map_or(Heard::Silence, Heard::At)),
                    _ => return Ok(Heard::Silence),
                }
            }
            let now = Instant::now();
            let mut timeout = next.saturating_duration_since(now);
            if measured.is_some() {
                timeout = timeout.min(MEASURE);
            }
            if sys::wait_readable(reports.as_fd(), timeout)? {
                let mut part = [0; 4096];
                match reports.read(&mut part) {
                    Ok(0) => return Ok(Heard::Silence),
                    Ok(n) => buffer.extend_from_slice(&part[..n]),
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    Err(error) => return Err(error),
                }
                if buffer.len() > LONGEST_REPORT {
                    return Ok(Heard::Silence);
                }
                continue;
            }
            if measured.is_some_and(|folder| is_full(folder, self.limits.scratch_bytes)) {
                return Ok(Heard::Failed("the scratch folder is full".to_owned()));
            }
            if Instant::now() < next {
                continue;
            }
            match self.time_left() {
                Ok(left) => next = Instant::now() + left,
                Err(heard) => return Ok(heard),
            }
        }
    }

    /// How long the guests may go on before the limits have to be looked at again.
    fn time_left(&self) -> Result<Duration, Heard> {
        let Some(began) = &self.began else {
            return Err(Heard::Fault(format!("the interpreters did not start within {} s", START.as_secs())));
        };
        let limit = Duration::from_secs_f64(self.limits.cpu_s);
        let wall = began.at.elapsed();
        let cpu = self.processor_time().saturating_sub(began.cpu);
        if cpu >= limit {
            return Err(Heard::TimedOut(format!("{:.1} s of processor time", self.limits.cpu_s)));
        }
        // On the clock, less the time spent waiting for a processor: what the program used or slept away itself, however busy the
        // machine is.
        let own = wall.saturating_sub(self.queued().saturating_sub(began.queued));
        if own >= limit {
            return Err(Heard::TimedOut(format!("{:.1} s of processor time and sleep", self.limits.cpu_s)));
        }
        if wall.as_secs_f64() >= self.limits.wall_s {
            return Err(Heard::TimedOut(format!("{:.1} s on the clock", self.limits.wall_s)));
        }
        let rest = Duration::from_secs_f64(self.limits.wall_s).saturating_sub(wall);
        Ok(limit.saturating_sub(own.max(cpu)).min(rest).max(Duration::from_millis(5)))
    }

    fn processor_time(&self) -> Duration {
        self.guests.iter().filter_map(|guest| sys::processor_time(guest.pid).ok()).sum()
    }

    /// The time that the guests have waited for a processor (the second figure of `schedstat`).
    fn queued(&self) -> Duration {
        self.guests.iter().filter_map(|guest| self.queued_of(guest.pid)).sum()
    }

    fn queued_of(&self, pid: Pid) -> Option<Duration> {
        let mut text = String::new();
        let mut file = sys::open_below(self.launcher.means.proc.as_fd(), &format!("{pid}/schedstat"), libc::O_RDONLY).ok()?;
        file.read_to_string(&mut text).ok()?;
        text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
    }

    /// Ends the guests and weighs what was heard.
    fn judge(mut self, heard: Heard) -> io::Result<Execution> {
        let wall = self.began.as_ref().map_or(Duration::ZERO, |began| began.at.elapsed());
        let patience = Duration::from_millis(if matches!(heard, Heard::Ended | Heard::Silence | Heard::Fault(_)) { 500 } else { 0 });
        let mut ended = Vec::new();
        let mut messages = Vec::new();
        let guests = std::mem::take(&mut self.guests);
        for guest in guests {
            // A guest that ended by itself tells how; any other one is killed.
            let mut itself = true;
            let mut how = sys::wait(guest.pid, Some(patience))?;
            if how.is_none() {
                itself = false;
                sys::kill(guest.pid);
                how = sys::wait(guest.pid, None)?;
            }
            let mut message = String::new();
            let _ = std::fs::File::from(guest.errors).take(2000).read_to_string(&mut message);
            messages.push(message);
            ended.push((how, itself));
        }
        let total: Duration = ended.iter().filter_map(|(how, _)| how.map(|how| how.cpu)).sum();
        let cpu = total.saturating_sub(self.began.as_ref().map_or(Duration::ZERO, |began| began.cpu));
        let own_end = |number: usize| ended.get(number).and_then(|(how, itself)| how.filter(|_| *itself));
        let out_of_time = cpu.as_secs_f64() >= self.limits.cpu_s;
        let set_up = messages.into_iter().find(|message| !message.is_empty());
        let (verdict, reason) = match heard {
            _ if set_up.is_some() => (Verdict::SandboxError, set_up.unwrap_or_default()),
            Heard::Passed(remark) => (Verdict::Passed, remark),
            Heard::TimedOut(reason) => (Verdict::TimedOut, reason),
            Heard::Fault(reason) => (Verdict::SandboxError, reason),
            Heard::Ended | Heard::Silence | Heard::Failed(_) if out_of_time && self.began.is_some() => {
                (Verdict::TimedOut, format!("{:.1} s of processor time", self.limits.cpu_s))
            }
            Heard::Failed(reason) => (Verdict::Failed, reason),
            Heard::Ended => end_of_candidate(own_end(self.candidate)),
            Heard::Silence | Heard::At(_) => end_of_test(own_end(ended.len() - 1), self.began.is_some() || ended.len() == 1),
        };
        Ok(Execution { verdict, reason, level: self.launcher.level, cpu_s: round(cpu), wall_s: round(wall) })
    }
}

fn end_of_candidate(ended: Option<Ended>) -> (Verdict, String) {
    match ended.map(|ended| ended.how) {
        Some(Ok(status)) => (Verdict::Failed, format!("the program ended itself (exit status {status}) before its test was done")),
        Some(Err(libc::SIGKILL)) => {
            (Verdict::SandboxError, "the program was killed from outside; is the machine out of memory?".to_owned())
        }
        Some(Err(signal)) => (Verdict::Failed, format!("the program was ended by signal {signal} before its test was done")),
        None => (Verdict::Failed, "the program stopped answering before its test was done".to_owned()),
    }
}

fn end_of_test(ended: Option<Ended>, started: bool) -> (Verdict, String) {
    match ended.map(|ended| ended.how) {
        _ if !started => (Verdict::SandboxError, "the test's interpreter did not start".to_owned()),
        Some(Err(libc::SIGKILL)) => (Verdict::SandboxError, "the test was killed from outside; is the machine out of memory?".to_owned()),
        Some(Err(signal)) => (Verdict::Failed, format!("the test was ended by signal {signal}")),
        Some(Ok(_)) | None => (Verdict::Failed, "the test ended without a verdict".to_owned()),
    }
}

fn round(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

/// Takes one whole frame off the front: its length in four bytes, then that many.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_le_bytes(buffer.get(..4)?.try_into().ok()?) as usize;
    let end = length.checked_add(4)?;
    let frame = buffer.get(4..end)?.to_vec();
    buffer.drain(..end);
    Some(frame)
}

/// Whether a folder on the host holds more than a program may write.
fn is_full(folder: &Path, most: u64) -> bool {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if let Ok(about) = entry.metadata() {
                bytes += about.len();
                if about.is_dir() {
                    folders.push(entry.path());
                }
            }
            if bytes > most || files > MOST_FILES {
                return true;
            }
        }
    }
    false
}
