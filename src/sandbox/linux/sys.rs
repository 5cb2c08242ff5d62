//! The system calls that the standard library does not offer, each behind a safe function. The only unsafe code of the project.
#![allow(unsafe_code, reason = "thin wrappers of system calls; every block says why it is sound")]

use std::ffi::{CStr, CString, c_int, c_long, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// A process id as the launcher sees it.
pub(super) type Pid = libc::pid_t;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a path with a zero byte"))
}

/// Makes a copy of this process, in new namespaces by `flags` (`CLONE_NEW…`); `None` in the copy, its id in the original.
///
/// The caller must be single-threaded (as the launcher is), so that the copy may do whatever the original may.
pub(super) fn copy_process(flags: c_int) -> io::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM and with a null stack this is fork: the copy goes on with its own copy of all memory. The launcher
    // has one thread, so no lock is held by a thread that does not exist in the copy.
    let pid = check_long(unsafe {
        libc::syscall(libc::SYS_clone, c_long::from(flags | libc::SIGCHLD), 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long)
    })?;
    Ok(if pid == 0 { None } else { Some(Pid::try_from(pid).map_err(io::Error::other)?) })
}

/// Ends this process at once, without running anything that was registered to run at its end.
pub(super) fn leave(status: c_int) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// Moves this process into new namespaces.
pub(super) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: takes a number; memory is not touched.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// `mount(2)`.
pub(super) fn mount(source: &Path, target: &Path, kind: &CStr, flags: c_ulong, data: &CStr) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    // SAFETY: all four pointers are to zero-terminated strings that outlive the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) }).map(drop)
}

/// The mount flags that a bind mount of `path` has to keep when it is remounted.
pub(super) fn mount_flags(path: &Path) -> io::Result<c_ulong> {
    let path = c_path(path)?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is zero-terminated and the struct is writable; all-zero bytes are a valid statvfs.
    let found = unsafe {
        check(libc::statvfs(path.as_ptr(), found.as_mut_ptr()))?;
        found.assume_init()
    };
    let pairs = [
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (libc::ST_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MS_NODIRATIME),
        (libc::ST_RELATIME, libc::MS_RELATIME),
    ];
    Ok(pairs.into_iter().filter(|(have, _)| found.f_flag & have != 0).fold(0, |flags, (_, keep)| flags | keep))
}

/// Makes the current folder, a mount point, the root of this mount namespace, and lets go of the old root.
pub(super) fn pivot_to_current_folder() -> io::Result<()> {
    let here = c".";
    // SAFETY: both pointers are to the same zero-terminated string.
    check_long(unsafe { libc::syscall(libc::SYS_pivot_root, here.as_ptr(), here.as_ptr()) })?;
    // SAFETY: as above.
    check(unsafe { libc::umount2(here.as_ptr(), libc::MNT_DETACH) })?;
    std::env::set_current_dir("/")
}

/// The name of the host in this UTS namespace.
pub(super) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe the string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// This process's effective user and group.
pub(super) fn ids() -> (u32, u32) {
    // SAFETY: these cannot fail and touch no memory.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// This process's id, in its own process namespace.
pub(super) fn own_pid() -> Pid {
    // SAFETY: cannot fail.
    unsafe { libc::getpid() }
}

/// Becomes this user and group for good, with no further groups.
pub(super) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: a length of zero with a null pointer is the empty list of groups; the other calls take numbers.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

fn process_control(option: c_int, argument: c_ulong) -> io::Result<c_int> {
    // SAFETY: the options used in this file take numbers only.
    check(unsafe { libc::prctl(option, argument, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) })
}

/// Has the kernel kill this process when its parent ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    process_control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong).map(drop)
}

/// Whether this process's own files in `/proc` belong to itself (needed to write its user map after a change of user).
pub(super) fn set_dumpable(yes: bool) -> io::Result<()> {
    process_control(libc::PR_SET_DUMPABLE, c_ulong::from(yes)).map(drop)
}

/// Gives up every capability, and the means to gain one.
pub(super) fn give_up_privileges() -> io::Result<()> {
    for capability in 0..64 {
        // Fails for numbers that the kernel does not know and for processes that have no capability to give up: both are fine.
        let _ = process_control(libc::PR_CAPBSET_DROP, capability);
    }
    // The kernel's version 3 of the interface: a header of version and process, then two times three words.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0_u32; 6];
    // SAFETY: the two arrays have the layout of `__user_cap_header_struct` and `__user_cap_data_struct[2]`.
    check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })?;
    process_control(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Limits a resource of this process for good (`RLIMIT_…`).
pub(super) fn limit(resource: u32, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to an initialised struct. The type of the first argument differs between C libraries.
    #[allow(
        clippy::useless_conversion,
        clippy::cast_possible_wrap,
        trivial_numeric_casts,
        reason = "c_uint with one C library, c_int with another"
    )]
    check(unsafe { libc::setrlimit(resource as _, &raw const limit) }).map(drop)
}

/// Raises the number of descriptors that this process may have to what the administrator allows.
pub(super) fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to an initialised struct.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max.min(1 << 16);
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)).map(drop)
    }
}

/// An anonymous file in memory.
pub(super) fn memory_file(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the name is zero-terminated; the descriptor that comes back is new and ours alone.
    unsafe { Ok(OwnedFd::from_raw_fd(check(libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC))?)) }
}

/// A pipe: its reading and its writing end, both closed on exec.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for two descriptors, which are new and ours alone.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Makes reads of a descriptor return at once.
pub(super) fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; the command takes a number.
    check(unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

/// A copy of a descriptor with the number `least` or above, closed on exec.
pub(super) fn duplicate_above(descriptor: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is open; the new one is ours alone.
    unsafe { Ok(OwnedFd::from_raw_fd(check(libc::fcntl(descriptor.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least))?)) }
}

/// Puts a copy of a descriptor at exactly this number, replacing what was there. It stays open until the process ends.
pub(super) fn place(descriptor: BorrowedFd<'_>, number: RawFd, close_on_exec: bool) -> io::Result<()> {
    // SAFETY: the descriptor is open. What was at `number` is closed: the caller's promise is that nothing owns it any more.
    check(unsafe { libc::dup3(descriptor.as_raw_fd(), number, if close_on_exec { libc::O_CLOEXEC } else { 0 }) }).map(drop)
}

/// Closes every descriptor from `first` to `last`. Only for a process about to exec, which uses none of them again.
pub(super) fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: takes numbers. The callers use none of the closed descriptors again before exec.
    if check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) }).is_ok() {
        return Ok(());
    }
    // Kernels before 5.9.
    for number in first..=last.min(1 << 16) {
        // SAFETY: as above; closing a number that is not open is harmless.
        unsafe { libc::close(c_int::try_from(number).map_err(io::Error::other)?) };
    }
    Ok(())
}

/// Replaces this process by the program behind an open descriptor. Returns only if that fails.
pub(super) fn execute(program: RawFd, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer, and their strings outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            c_long::from(program),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            c_long::from(libc::AT_EMPTY_PATH),
        );
    }
    io::Error::last_os_error()
}

/// Writes a message to whichever of these descriptors is a pipe's open end; for the last words of a process.
pub(super) fn report(descriptors: &[RawFd], message: &[u8]) {
    for descriptor in descriptors {
        // SAFETY: pointer and length describe the message; a number that is not open makes the call fail, which is fine.
        if unsafe { libc::write(*descriptor, message.as_ptr().cast(), message.len()) } > 0 {
            return;
        }
    }
}

/// Opens a file below an open folder and writes it in one call.
pub(super) fn write_below(folder: BorrowedFd<'_>, file: &str, content: &[u8]) -> io::Result<()> {
    let mut opened = open_below(folder, file, libc::O_WRONLY)?;
    std::io::Write::write_all(&mut opened, content)
}

/// Opens a file below an open folder.
pub(super) fn open_below(folder: BorrowedFd<'_>, file: &str, flags: c_int) -> io::Result<std::fs::File> {
    let file = c_path(Path::new(file))?;
    // SAFETY: the path is zero-terminated, the folder open; the new descriptor is ours alone.
    unsafe { Ok(std::fs::File::from_raw_fd(check(libc::openat(folder.as_raw_fd(), file.as_ptr(), flags | libc::O_CLOEXEC))?)) }
}

/// Kills a process that this one has started and not yet waited for.
pub(super) fn kill(pid: Pid) {
    // SAFETY: takes numbers. The process is our child and not reaped, so the id cannot belong to another.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// How a process ended, and the processor time that it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// The exit status, or the signal that killed it.
    pub(super) how: Result<c_int, c_int>,
    /// Processor time, user and system.
    pub(super) cpu: Duration,
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_usec).unwrap_or(0).saturating_mul(1000))
}

/// Waits for a child to end; with a time, at most that long.
pub(super) fn wait(pid: Pid, at_most: Option<Duration>) -> io::Result<Option<Ended>> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let until = at_most.map(|time| std::time::Instant::now() + time);
    loop {
        let options = if until.is_some() { libc::WNOHANG } else { 0 };
        // SAFETY: both pointers are to writable memory; all-zero bytes are a valid rusage.
        match check(unsafe { libc::wait4(pid, &raw mut status, options, usage.as_mut_ptr()) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) if until.is_some_and(|until| std::time::Instant::now() >= until) => return Ok(None),
            Ok(0) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => break,
        }
    }
    // SAFETY: zeroed above, and filled by wait4.
    let usage = unsafe { usage.assume_init() };
    let how = if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) };
    Ok(Some(Ended { how, cpu: duration(usage.ru_utime) + duration(usage.ru_stime) }))
}

/// The processor time that a running process has taken so far, all its threads together.
pub(super) fn processor_time(pid: Pid) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // The kernel's encoding of a process's processor clock (`clock_getcpuclockid` in the C library).
    let clock = (!pid << 3) | 2;
    // SAFETY: the pointer is to a writable struct.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Waits until a descriptor is readable or closed at the other end; false if the time passes first.
pub(super) fn wait_readable(descriptor: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = c_int::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
    // SAFETY: the pointer is to one initialised entry.
    match check(unsafe { libc::poll(&raw mut entry, 1, milliseconds) }) {
        Ok(ready) => Ok(ready > 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) => Err(error),
    }
}

/// The version of Landlock that the kernel has; 0 without it.
pub(super) fn landlock_version() -> c_long {
    // SAFETY: a null pointer, a size of zero and the flag 1 ask for the version.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, 1_u32) }.max(0)
}

/// Whether this process may read (or execute) a path.
pub(super) fn may_access(path: &Path, execute: bool) -> bool {
    let Ok(path) = c_path(path) else { return false };
    // SAFETY: the path is zero-terminated.
    unsafe { libc::access(path.as_ptr(), libc::R_OK | if execute { libc::X_OK } else { 0 }) == 0 }
}
