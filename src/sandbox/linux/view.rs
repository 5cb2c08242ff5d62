//! The only files that a guest sees: a read-only view of the Python installation, built once for each launcher.

use super::sys;
use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where a guest may write: a file system of its own, mounted for each process.
pub(super) const SCRATCH: &str = "/tmp";

const READ_ONLY: libc::c_ulong = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;

fn describe(what: &str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let text = format!("{what} {}", path.display());
    move |error| io::Error::new(error.kind(), format!("{text}: {error}"))
}

/// Builds the view on `stage` (an empty folder) and makes it the root of this process's mount namespace, which must be a new one.
///
/// # Errors
/// The step that the kernel refused.
pub(super) fn enter(stage: &Path, paths: &[PathBuf], links: &[PathBuf]) -> io::Result<()> {
    let root = Path::new("/");
    sys::mount(Path::new("none"), root, c"", libc::MS_REC | libc::MS_PRIVATE, c"").map_err(describe("make mounts private at", root))?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    sys::mount(Path::new("tmpfs"), stage, c"tmpfs", flags, c"size=1m,nr_inodes=20k,mode=755")
        .map_err(describe("mount a tmpfs on", stage))?;
    let mut view = View { stage, done: BTreeSet::new() };
    for path in paths {
        view.provide(path, 0).map_err(describe("provide", path))?;
    }
    for link in links {
        view.provide_link(link).map_err(describe("provide", link))?;
    }
    let scratch = stage.join(&SCRATCH[1..]);
    std::fs::create_dir_all(&scratch).map_err(describe("make", &scratch))?;
    std::env::set_current_dir(stage).map_err(describe("enter", stage))?;
    sys::pivot_to_current_folder().map_err(describe("change the root to", stage))?;
    sys::mount(Path::new("none"), root, c"", READ_ONLY, c"").map_err(describe("make read-only", root))
}

struct View<'a> {
    stage: &'a Path,
    done: BTreeSet<PathBuf>,
}

impl View<'_> {
    /// Makes a path of the host appear in the view under the same name; a link on the way is made again and followed.
    fn provide(&mut self, path: &Path, links: usize) -> io::Result<()> {
        if links > 40 {
            return Err(io::Error::other("too many symbolic links"));
        }
        let mut host = PathBuf::from("/");
        let parts: Vec<Component<'_>> = path.components().filter(|part| *part != Component::RootDir).collect();
        for (number, part) in parts.iter().enumerate() {
            match part {
                Component::Normal(name) => host.push(name),
                Component::ParentDir => {
                    host.pop();
                    continue;
                }
                _ => continue,
            }
            if self.done.contains(&host) {
                return Ok(());
            }
            let here = self.inside(&host);
            let found = host.symlink_metadata()?;
            if found.is_symlink() {
                let target = host.read_link()?;
                if here.symlink_metadata().is_err() {
                    std::os::unix::fs::symlink(&target, &here)?;
                }
                let base = host.parent().unwrap_or(Path::new("/"));
                let rest: PathBuf = parts[number + 1..].iter().collect();
                return self.provide(&base.join(target).join(rest), links + 1);
            }
            let last = number + 1 == parts.len();
            if last {
                return self.bind(&host, &here, found.is_dir());
            }
            if !here.is_dir() {
                std::fs::create_dir(&here)?;
            }
        }
        Ok(())
    }

    /// Makes a link of the host appear in the view, but not what it leads to.
    fn provide_link(&self, link: &Path) -> io::Result<()> {
        let here = self.inside(link);
        if here.symlink_metadata().is_ok() {
            return Ok(());
        }
        if let Some(folder) = here.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::os::unix::fs::symlink(link.read_link()?, here)
    }

    fn inside(&self, host: &Path) -> PathBuf {
        self.stage.join(host.strip_prefix("/").unwrap_or(host))
    }

    fn bind(&mut self, host: &Path, here: &Path, folder: bool) -> io::Result<()> {
        if folder {
            std::fs::create_dir_all(here)?;
        } else {
            drop(std::fs::File::create(here)?);
        }
        let recursive = if folder { libc::MS_REC } else { 0 };
        sys::mount(host, here, c"", libc::MS_BIND | recursive, c"")?;
        sys::mount(Path::new("none"), here, c"", READ_ONLY | sys::mount_flags(here)?, c"")?;
        self.done.insert(host.to_path_buf());
        Ok(())
    }
}
