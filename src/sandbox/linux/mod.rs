//! The launcher: a process of one thread that starts two isolated interpreters for each program and judges how they end.

mod filter;
mod guest;
mod sys;
mod trial;
mod view;

use super::message::{self, Reply, Request, Setup};
use super::{Execution, Isolation, Level, Verdict};
use guest::Means;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// What a launcher keeps from its set-up.
struct Launcher {
    means: Means,
    level: Level,
    setup: Setup,
}

/// The whole life of a launcher: a set-up from standard input, then programs, until the input ends.
///
/// # Errors
/// The parent is gone or sends no messages.
pub(super) fn serve() -> io::Result<()> {
    let (input, output) = (io::stdin(), io::stdout());
    let Some(setup) = message::read::<Setup>(input.lock())? else { return Ok(()) };
    let launcher = match Launcher::prepare(setup) {
        Ok(launcher) => launcher,
        Err(error) => return message::write(output.lock(), &Reply::Fault(error.to_string())),
    };
    message::write(output.lock(), &Reply::Ready(launcher.level))?;
    while let Some(request) = message::read::<Request>(input.lock())? {
        let run = match &request {
            Request::Program(program, limits) => launcher.run_program(program, limits),
            Request::Text(text, limits) => launcher.run_text(text, limits),
        };
        let execution = run.unwrap_or_else(|error| Execution {
            verdict: Verdict::SandboxError,
            reason: error.to_string(),
            level: launcher.level,
            cpu_s: 0.0,
            wall_s: 0.0,
        });
        message::write(output.lock(), &Reply::Done(execution))?;
    }
    Ok(())
}

fn open(path: &str) -> io::Result<OwnedFd> {
    std::fs::File::options()
        .read(true)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| io::Error::new(error.kind(), format!("open {path}: {error}")))
}

/// A user id that nobody has, so that no process outside shares it.
fn user_of_nobody() -> io::Result<u32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(0x6000_0000 | (u32::from_le_bytes(bytes) & 0x0fff_ffff))
}

/// Gives up root for a user id of its own, or for 65534 where ids are scarce (in a container).
fn give_up_root() -> io::Result<()> {
    let uid = user_of_nobody()?;
    sys::become_user(uid, uid).or_else(|_| sys::become_user(65534, 65534))?;
    sys::set_dumpable(true)
}

impl Launcher {
    fn prepare(setup: Setup) -> io::Result<Self> {
        let step = |what: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        sys::raise_descriptor_limit().map_err(step("raise the limit on descriptors"))?;
        if let Some(uid) = setup.as_user {
            std::os::unix::fs::chown(&setup.stage, Some(uid), Some(uid)).map_err(step("give the stage to the user"))?;
            sys::become_user(uid, uid).map_err(step("become the user"))?;
            sys::set_dumpable(true)?;
        }
        let landlock = sys::landlock_version() > 0;
        let mut means = Means {
            namespaces: true,
            user_namespace: true,
            landlock,
            become_user: None,
            own_user: true,
            filters: filter::filters(1).map_err(io::Error::other)?,
            proc: open("/proc")?,
            program: open(&setup.executable.to_string_lossy())?,
            null: std::fs::File::options().read(true).write(true).open("/dev/null")?.into(),
            executable: setup.executable.clone(),
            readable: Vec::new(),
        };
        let (uid, gid) = sys::ids();
        match setup.isolation {
            Isolation::Auto | Isolation::UserNamespaces => {
                if uid == 0 && sys::unshare(libc::CLONE_NEWNS).is_ok() {
                    view::enter(&setup.stage, &setup.paths, &setup.links)?;
                    give_up_root().map_err(step("give up root"))?;
                } else {
                    sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).map_err(step("make a user namespace"))?;
                    for (file, text) in [
                        ("self/setgroups", "deny".to_owned()),
                        ("self/uid_map", format!("0 {uid} 1")),
                        ("self/gid_map", format!("0 {gid} 1")),
                    ] {
                        sys::write_below(means.proc.as_fd(), file, text.as_bytes()).map_err(step("map the user"))?;
                    }
                    view::enter(&setup.stage, &setup.paths, &setup.links)?;
                }
            }
            Isolation::PrivilegedNamespaces => {
                if uid != 0 {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "namespaces without a user namespace need root"));
                }
                sys::unshare(libc::CLONE_NEWNS).map_err(step("make a mount namespace"))?;
                view::enter(&setup.stage, &setup.paths, &setup.links)?;
                means.user_namespace = false;
                means.become_user = Some(user_of_nobody()?);
            }
            Isolation::NoNamespaces => {
                if !landlock {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel has no Landlock"));
                }
                means.namespaces = false;
                means.user_namespace = false;
                means.own_user = uid == 0;
                means.readable = setup.paths.iter().filter(|path| path.exists()).cloned().collect();
                if uid == 0 {
                    means.own_user = give_up_root_if_python_stays_readable(&setup)?;
                }
            }
        }
        if means.namespaces {
            // The file as the view has it: Landlock looks at where a descriptor's file lies.
            means.program = open(&setup.executable.to_string_lossy())?;
        }
        let level = match (means.namespaces, landlock) {
            (true, true) => Level::NamespacesSeccompLandlock,
            (true, false) => Level::NamespacesSeccomp,
            (false, _) => Level::SeccompLandlock,
        };
        Ok(Self { means, level, setup })
    }
}

/// Without a mount namespace an interpreter in root's own folder can be read by root alone: then the guests stay root in name,
/// with no capability. True if root was given up.
fn give_up_root_if_python_stays_readable(setup: &Setup) -> io::Result<bool> {
    let uid = user_of_nobody()?;
    let readable = match sys::copy_process(0)? {
        None => {
            let can = sys::become_user(uid, uid).is_ok()
                && sys::may_access(&setup.executable, true)
                && setup.paths.iter().filter(|path| path.is_dir()).all(|path| sys::may_access(path, true));
            sys::leave(i32::from(!can));
        }
        Some(pid) => sys::wait(pid, None)?.is_some_and(|ended| ended.how == Ok(0)),
    };
    if readable {
        std::os::unix::fs::chown(&setup.stage, Some(uid), Some(uid))?;
        sys::become_user(uid, uid)?;
        sys::set_dumpable(true)?;
    }
    Ok(readable)
}

/// A folder that is removed with what is in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("cannot remove the scratch folder {}: {error}", self.0.display());
        }
    }
}
