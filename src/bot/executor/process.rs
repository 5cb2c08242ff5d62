//! Processes of this machine: what belongs to an evaluation, how much memory it takes, and how to stop all of it.
//!
//! What is found in `/proc` is found on Linux only; elsewhere only the process group is known.
#![allow(unsafe_code, reason = "thin wrappers of system calls; every block says why it is sound")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// Variable that marks every process of an evaluation with the evaluation's work folder, also those that left its process group.
pub(super) const MARK: &str = "SLM_BENCH_JOB";

/// A signal to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Stop at a safe point.
    Terminate,
    /// End at once.
    Kill,
}

#[cfg(unix)]
impl Signal {
    const fn number(self) -> libc::c_int {
        match self {
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
        }
    }
}

#[cfg(unix)]
fn send(target: libc::pid_t, signal: Signal) -> io::Result<()> {
    // SAFETY: kill takes numbers and touches no memory of this process.
    if unsafe { libc::kill(target, signal.number()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to every process of a group. A group that is gone is no error.
#[cfg(unix)]
pub(super) fn signal_group(group: u32, signal: Signal) -> io::Result<()> {
    let group = libc::pid_t::try_from(group).ok().filter(|group| *group > 1).ok_or(io::ErrorKind::InvalidInput)?;
    match send(-group, signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
pub(super) fn signal_group(_group: u32, _signal: Signal) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Ends this process as a power cut would: nothing is flushed, nothing is told to anybody.
pub(in crate::bot) fn end_this_process() -> ! {
    #[cfg(unix)]
    // SAFETY: getpid and kill take numbers and touch no memory of this process.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    std::process::abort()
}

/// Whether a child of this process has ended. It stays a zombie until it is waited for, so its number, and that of its group, cannot be
/// given to anybody else meanwhile.
#[cfg(unix)]
pub(super) fn has_ended(child: u32) -> io::Result<bool> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the struct is writable, and all-zero bytes are a valid siginfo_t.
    let (result, pid) = unsafe {
        let result = libc::waitid(libc::P_PID, child, info.as_mut_ptr(), flags);
        (result, info.assume_init().si_pid())
    };
    if result == 0 { Ok(pid != 0) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(unix))]
pub(super) fn has_ended(_child: u32) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets a group run behind everything else, and lets the kernel take it first when memory runs out. Best effort: both are kindness to the
/// server, not bounds.
#[cfg(unix)]
pub(super) fn step_back(group: u32, nice: i32) {
    // SAFETY: setpriority takes numbers and touches no memory of this process.
    let _ = unsafe { libc::setpriority(libc::PRIO_PGRP, group, nice) };
    let _ = fs::write(format!("/proc/{group}/oom_score_adj"), "1000");
}

#[cfg(not(unix))]
pub(super) fn step_back(_group: u32, _nice: i32) {}

/// Which start of the machine this is; empty where that cannot be told.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// What `/proc/<pid>/stat` says about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    group: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, in parentheses, may hold anything, parentheses included: the fields begin after the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// When a process began, in clock ticks since the machine started; `None` when it is gone or a zombie.
pub(super) fn started(pid: u32) -> Option<u64> {
    stat(pid).filter(|stat| stat.state != 'Z').map(|stat| stat.started)
}

fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The living processes of a group and all that descend from its leader.
pub(super) fn members(leader: u32) -> BTreeSet<u32> {
    let stats: BTreeMap<u32, Stat> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let mut found: BTreeSet<u32> =
        stats.iter().filter(|(pid, stat)| **pid == leader || stat.group == leader).map(|(pid, _)| *pid).collect();
    loop {
        let before = found.len();
        found.extend(stats.iter().filter(|(_, stat)| found.contains(&stat.parent)).map(|(pid, _)| *pid).collect::<Vec<_>>());
        if found.len() == before {
            break;
        }
    }
    found.retain(|pid| stats.get(pid).is_some_and(|stat| stat.state != 'Z'));
    found
}

/// Memory of processes in bytes that the kernel could not take back: anonymous and shared memory. Pages of mapped weight files do not
/// count, since the kernel drops them when memory is short.
pub(super) fn memory_of(pids: &BTreeSet<u32>) -> u64 {
    pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok()).map(|text| parse_memory(&text)).sum()
}

fn parse_memory(status: &str) -> u64 {
    status
        .lines()
        .filter(|line| line.starts_with("RssAnon:") || line.starts_with("RssShmem:") || line.starts_with("VmSwap:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1024
}

/// The living processes that carry the mark of this work folder.
pub(super) fn marked(work: &Path) -> BTreeSet<u32> {
    let mut wanted = format!("{MARK}=").into_bytes();
    wanted.extend_from_slice(work.as_os_str().as_encoded_bytes());
    let own = std::process::id();
    all()
        .into_iter()
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted) && started(*pid).is_some()
        })
        .collect()
}

/// Sends a signal to each of these processes; those that are gone are no error.
#[cfg(unix)]
pub(super) fn signal_each(pids: &BTreeSet<u32>, signal: Signal) {
    for pid in pids {
        if let Some(pid) = libc::pid_t::try_from(*pid).ok().filter(|pid| *pid > 1)
            && let Err(error) = send(pid, signal)
        {
            tracing::debug!(pid, %error, "a process could not be signalled");
        }
    }
}

#[cfg(not(unix))]
pub(super) fn signal_each(_pids: &BTreeSet<u32>, _signal: Signal) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process may call itself anything.
    #[test]
    fn process_names_do_not_shift_the_fields() {
        let text = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2";
        assert_eq!(parse_stat(text), Some(Stat { state: 'S', parent: 1, group: 17, started: 4242 }));
        assert_eq!(parse_stat("17 (x"), None);
    }

    /// Mapped files are not held against an evaluation.
    #[test]
    fn only_memory_that_stays_counts() {
        let status = "Name:\tx\nVmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 750 kB\nRssShmem:\t 50 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(parse_memory(status), 151 * 1024);
    }
}
