//! Files that are never half-written.

use anyhow::Context;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes `content` to `path` so that a reader sees the old file or the new one, never a part: temporary file in the same folder, sync, rename, sync of the folder.
///
/// # Errors
/// The folder cannot be written, or the disk is full; an existing file is left as it was.
pub fn write_atomically(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    let problem = || format!("cannot write {}; what was there before is unchanged", path.display());
    let mut file = tempfile::Builder::new().prefix(".unfinished-").tempfile_in(folder).with_context(problem)?;
    file.write_all(content).with_context(problem)?;
    set_ordinary_permissions(file.as_file()).with_context(problem)?;
    file.as_file().sync_all().with_context(problem)?;
    file.persist(path).with_context(problem)?;
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(problem)?;
    Ok(())
}

/// Temporary files are made readable by their owner alone; results are meant to be read.
#[cfg(unix)]
fn set_ordinary_permissions(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_ordinary_permissions(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A failed write leaves the earlier file as it was.
    #[test]
    fn atomic_write_replaces_or_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        write_atomically(&path, b"old").unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert!(write_atomically(&path.join("below-a-file"), b"x").is_err());
    }
}
