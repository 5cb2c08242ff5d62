//! The system calls that a guest may make: a list of what the interpreter needs. All others fail with "not permitted".

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;

/// The descriptor through which the interpreter is executed. It lies above the limit on descriptors, so the guest can never have
/// one there, and a second `execveat` can have no program.
pub(super) const PROGRAM_DESCRIPTOR: i32 = 1000;

/// Calls that are harmless whatever their arguments: they act on the caller's own memory, descriptors, threads and clocks, or on
/// files by name (which the mount namespace and Landlock govern).
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_capget,
    libc::SYS_chdir,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fallocate,
    libc::SYS_fchdir,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getgroups,
    libc::SYS_getitimer,
    libc::SYS_getpgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mincore,
    libc::SYS_mkdirat,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_sendfile,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_setitimer,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_symlinkat,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Answered by the other filter.
    libc::SYS_clone3,
];

/// The older forms that only x86-64 has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_access,
    libc::SYS_alarm,
    libc::SYS_arch_prctl,
    libc::SYS_creat,
    libc::SYS_dup2,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_getdents,
    libc::SYS_getpgrp,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pause,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_symlink,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[i64] = &[];

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    values.iter().map(|value| SeccompRule::new(vec![equal(argument, *value)?])).collect()
}

#[allow(clippy::cast_sign_loss, reason = "system call arguments are bit patterns")]
const fn bits(value: i32) -> u64 {
    value as u32 as u64
}

/// The two filters of a guest whose process id, as it sees it, is `own_pid`, in the order in which they have to be installed (the
/// second one forbids installing more).
///
/// The first one answers `clone3` with "no such call": its arguments lie in memory where a filter cannot look, and the C library
/// then falls back to `clone`, which may make threads and nothing else.
///
/// # Errors
/// An architecture that the filter compiler does not know.
pub(super) fn filters(own_pid: i32) -> Result<[BpfProgram; 2], seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.iter().chain(ALLOWED_OLD).map(|call| (*call, Vec::new())).collect();
    let thread = bits(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
    let makes_a_thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![makes_a_thread])?]);
    // One program only: see PROGRAM_DESCRIPTOR.
    rules.insert(libc::SYS_execveat, any_of(0, &[bits(PROGRAM_DESCRIPTOR)])?);
    // Signals to itself, but no SIGKILL: a guest killed by that signal was killed from outside.
    let not_kill = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, bits(libc::SIGKILL))?;
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![equal(0, bits(own_pid))?, not_kill])?]);
    // No owner and no signal for a descriptor: those would send signals to other processes.
    let commands =
        [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL, libc::F_GETLK, libc::F_SETLK];
    rules.insert(libc::SYS_fcntl, any_of(1, &commands.map(bits))?);
    #[allow(
        clippy::cast_possible_truncation,
        trivial_numeric_casts,
        reason = "requests have 32 bits; their type differs between C libraries"
    )]
    let requests = [
        libc::TCGETS as u32,
        libc::TIOCGWINSZ as u32,
        libc::FIOCLEX as u32,
        libc::FIONCLEX as u32,
        libc::FIONBIO as u32,
        libc::FIONREAD as u32,
    ];
    rules.insert(libc::SYS_ioctl, any_of(1, &requests.map(u64::from))?);
    rules.insert(libc::SYS_prctl, any_of(0, &[bits(libc::PR_SET_NAME), bits(libc::PR_GET_NAME)])?);
    // Reading a limit, not setting one.
    let reads_only = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![equal(0, 0)?, reads_only])?]);
    // A connected pair within the process (asyncio wakes itself through one). A stream cannot be sent to another address.
    let kind = bits(libc::SOCK_STREAM);
    let stream = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(0xff), kind)?;
    rules.insert(libc::SYS_socketpair, vec![SeccompRule::new(vec![equal(0, bits(libc::AF_UNIX))?, stream])?]);

    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let allowed = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?;
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let thread_calls = SeccompFilter::new([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, unknown, arch)?;
    Ok([thread_calls.try_into()?, allowed.try_into()?])
}
