//! One isolated process: from a copy of the launcher to the Python interpreter.

use super::filter::{PROGRAM_DESCRIPTOR, filters};
use super::sys::{self, Pid};
use super::view::SCRATCH;
use crate::sandbox::Limits;
use landlock::{ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope};
use seccompiler::BpfProgram;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The newest version of Landlock that the rules make use of; an older kernel gives what it has.
const LANDLOCK: ABI = ABI::V6;

/// The descriptor on which set-up errors are reported; closed by exec.
const ERROR_DESCRIPTOR: i32 = PROGRAM_DESCRIPTOR + 1;

/// The user and group that a guest sees itself as, in a user namespace of its own.
const NOBODY: u32 = 65534;

/// The one line of Python that every interpreter starts with: it takes code and job from descriptor 3 and closes it.
const BOOT: &str = "import marshal,posix,sys
sys.path[:]=[p for p in sys.path if p]
b=b''
while 1:
 p=posix.read(3,1<<20)
 if not p:break
 b+=p
posix.close(3)
n=int.from_bytes(b[:4],'little')
exec(marshal.loads(b[4:4+n]),{'__name__':'guest','JOB':b[4+n:]})";

/// How this launcher isolates.
#[allow(clippy::struct_excessive_bools, reason = "four independent means")]
pub(super) struct Means {
    /// Every guest gets new namespaces.
    pub(super) namespaces: bool,
    /// A new user namespace is among them.
    pub(super) user_namespace: bool,
    /// The kernel has Landlock.
    pub(super) landlock: bool,
    /// The user and group to become (real root only); else guests stay who the launcher is.
    pub(super) become_user: Option<u32>,
    /// No process outside of this launcher has the guests' user id.
    pub(super) own_user: bool,
    /// The filters of a guest that is the first process of its namespace: all are alike.
    pub(super) filters: [BpfProgram; 2],
    /// `/proc` of the host.
    pub(super) proc: OwnedFd,
    /// The interpreter, open.
    pub(super) program: OwnedFd,
    /// `/dev/null` of the host: standard input and output of every guest.
    pub(super) null: OwnedFd,
    /// The interpreter's path.
    pub(super) executable: PathBuf,
    /// What may be read, where there is no mount namespace to say so.
    pub(super) readable: Vec<PathBuf>,
}

/// What a guest is given.
pub(super) struct Given<'a> {
    /// Code and job.
    pub(super) job: BorrowedFd<'a>,
    /// Descriptors 4, 5 and 6, where there are any.
    pub(super) links: [Option<BorrowedFd<'a>>; 3],
    /// Its scratch folder, where it gets no file system of its own.
    pub(super) scratch: Option<&'a Path>,
    /// What it may use.
    pub(super) limits: &'a Limits,
}

/// A started guest.
pub(super) struct Guest {
    pub(super) pid: Pid,
    /// What kept it from starting is written here; nothing if it started.
    pub(super) errors: OwnedFd,
}

impl Means {
    /// Starts a guest.
    ///
    /// # Errors
    /// The process could not be made. What fails inside of it is told on `errors`.
    pub(super) fn start(&self, given: &Given<'_>) -> io::Result<Guest> {
        let (errors, report) = sys::pipe()?;
        let mut flags = 0;
        if self.namespaces {
            flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        }
        if self.user_namespace {
            flags |= libc::CLONE_NEWUSER;
        }
        let outside = sys::ids();
        if let Some(pid) = sys::copy_process(flags)? {
            return Ok(Guest { pid, errors });
        }
        let error = match self.become_guest(given, outside, &report) {
            Ok(never) => never,
            Err(error) => error,
        };
        // Once the descriptors are placed, the report is at its known number and the original is closed.
        sys::report(&[ERROR_DESCRIPTOR, report.as_raw_fd()], error.to_string().as_bytes());
        sys::leave(111);
    }

    /// Everything between copy and exec; returns only with what failed.
    fn become_guest(&self, given: &Given<'_>, outside: (u32, u32), report: &OwnedFd) -> io::Result<io::Error> {
        let step = |what: &'static str| move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        sys::die_with_parent().map_err(step("die with the launcher"))?;
        // If memory runs out, a guest goes first. A kernel without this choice is no reason to stop.
        let _ = sys::write_below(self.proc.as_fd(), "self/oom_score_adj", b"1000");
        if self.user_namespace {
            self.map_user(outside).map_err(step("map the user"))?;
        }
        let scratch = given.scratch.map_or_else(|| PathBuf::from(SCRATCH), Path::to_path_buf);
        if self.namespaces {
            sys::set_host_name("sandbox").map_err(step("set the host name"))?;
            self.mount_scratch(&scratch, given.limits).map_err(step("mount the scratch folder"))?;
        }
        if let Some(uid) = self.become_user {
            sys::become_user(uid, uid).map_err(step("give up root"))?;
            sys::die_with_parent().map_err(step("die with the launcher"))?;
        }
        std::env::set_current_dir(&scratch).map_err(step("enter the scratch folder"))?;
        self.place_descriptors(given, report).map_err(step("place the descriptors"))?;
        sys::give_up_privileges().map_err(step("give up privileges"))?;
        if self.landlock {
            self.restrict_files(&scratch).map_err(io::Error::other).map_err(step("restrict files by Landlock"))?;
        }
        limit_resources(given.limits, self.own_user).map_err(step("limit resources"))?;
        let own_filters = match sys::own_pid() {
            1 => self.filters.clone(),
            pid => filters(pid).map_err(io::Error::other).map_err(step("build the system call filter"))?,
        };
        let (arguments, environment) = self.command().map_err(step("build the command"))?;
        for filter in &own_filters {
            seccompiler::apply_filter(filter).map_err(io::Error::other).map_err(step("restrict system calls"))?;
        }
        Ok(step("execute the interpreter")(sys::execute(PROGRAM_DESCRIPTOR, &arguments, &environment)))
    }

    fn map_user(&self, outside: (u32, u32)) -> io::Result<()> {
        for (file, text) in [
            ("self/setgroups", "deny".to_owned()),
            ("self/uid_map", format!("{NOBODY} {} 1", outside.0)),
            ("self/gid_map", format!("{NOBODY} {} 1", outside.1)),
        ] {
            sys::write_below(self.proc.as_fd(), file, text.as_bytes())?;
        }
        Ok(())
    }

    fn mount_scratch(&self, scratch: &Path, limits: &Limits) -> io::Result<()> {
        let owner = self.become_user.map(|uid| format!(",uid={uid},gid={uid}")).unwrap_or_default();
        let options = CString::new(format!("size={},nr_inodes=4096,mode=700{owner}", limits.scratch_bytes)).map_err(io::Error::other)?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        sys::mount(Path::new("tmpfs"), scratch, c"tmpfs", flags, &options)
    }

    /// Puts what the guest is given at the numbers that it expects, and closes everything else.
    fn place_descriptors(&self, given: &Given<'_>, report: &OwnedFd) -> io::Result<()> {
        let null = sys::duplicate_above(self.null.as_fd(), 100)?;
        let report = sys::duplicate_above(report.as_fd(), 100)?;
        let program = sys::duplicate_above(self.program.as_fd(), 100)?;
        let mut high = vec![(sys::duplicate_above(given.job, 100)?, 3)];
        for (link, number) in given.links.iter().zip(4..) {
            if let Some(link) = link {
                high.push((sys::duplicate_above(*link, 100)?, number));
            }
        }
        for number in 0..3 {
            sys::place(null.as_fd(), number, false)?;
        }
        // First free the low numbers, which belong to the launcher, then fill those that are due.
        sys::close_range(3, 99)?;
        for (descriptor, number) in &high {
            sys::place(descriptor.as_fd(), *number, false)?;
        }
        sys::place(program.as_fd(), PROGRAM_DESCRIPTOR, true)?;
        sys::place(report.as_fd(), ERROR_DESCRIPTOR, true)?;
        std::mem::forget((null, report, program, high));
        sys::close_range(100, PROGRAM_DESCRIPTOR.unsigned_abs() - 1)?;
        sys::close_range(ERROR_DESCRIPTOR.unsigned_abs() + 1, u32::MAX)
    }

    fn restrict_files(&self, scratch: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let read = AccessFs::from_read(LANDLOCK);
        let write = AccessFs::from_all(LANDLOCK) & !AccessFs::Execute & !AccessFs::MakeChar & !AccessFs::MakeBlock & !AccessFs::MakeSock;
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rule(PathBeneath::new(PathFd::new(scratch)?, write))?;
        let root = [PathBuf::from("/")];
        for path in if self.namespaces { &root[..] } else { &self.readable[..] } {
            let access = if path.is_dir() { read } else { read & AccessFs::from_file(LANDLOCK) };
            rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
        }
        let status = rules.restrict_self()?;
        if status.ruleset == landlock::RulesetStatus::NotEnforced { Err("the kernel does not enforce it".into()) } else { Ok(()) }
    }

    fn command(&self) -> io::Result<(Vec<CString>, Vec<CString>)> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
        let executable = std::os::unix::ffi::OsStrExt::as_bytes(self.executable.as_os_str());
        // No site packages, no user folder, no byte code written, UTF-8 everywhere; the order of sets the same in every process.
        let arguments = [executable, b"-s", b"-S", b"-B", b"-X", b"utf8", b"-c", BOOT.as_bytes()];
        let arguments = arguments.into_iter().map(text).collect::<io::Result<_>>()?;
        Ok((arguments, vec![text(b"PYTHONHASHSEED=0")?]))
    }
}

fn limit_resources(limits: &Limits, own_user: bool) -> io::Result<()> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
    let seconds = limits.cpu_s.ceil() as u64 + 2;
    sys::limit(libc::RLIMIT_CORE, 0)?;
    sys::limit(libc::RLIMIT_CPU, seconds)?;
    sys::limit(libc::RLIMIT_AS, limits.memory_bytes)?;
    sys::limit(libc::RLIMIT_FSIZE, limits.file_bytes)?;
    sys::limit(libc::RLIMIT_MEMLOCK, 0)?;
    sys::limit(libc::RLIMIT_MSGQUEUE, 0)?;
    sys::limit(libc::RLIMIT_SIGPENDING, 64)?;
    if own_user {
        // The count is by user: only where the guest has a user of its own does the limit say something about the guest.
        sys::limit(libc::RLIMIT_NPROC, limits.threads)?;
    }
    sys::limit(libc::RLIMIT_NOFILE, limits.open_files)
}
