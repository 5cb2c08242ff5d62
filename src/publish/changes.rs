//! What a publication changes in the tree, and the tree that results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository, Tree};

use super::PublishError;

/// Mode of a regular file in a git tree.
const REGULAR_FILE: i32 = 0o100_644;
/// Mode of a folder in a git tree.
const FOLDER: i32 = 0o040_000;
/// Longer paths are refused: common systems could not check them out.
const LONGEST_PATH: usize = 1024;

#[derive(Debug, Clone)]
enum Change {
    Bytes(Vec<u8>),
    File(PathBuf),
    Remove,
}

/// Files to write and to remove, by their path in the repository (`/` between folders). The last word on a path counts.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    by_path: BTreeMap<String, Change>,
}

impl Changes {
    /// No changes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes these bytes, replacing the file or folder that has the path.
    ///
    /// # Errors
    /// [`PublishError::Path`] for a path that is empty, absolute, too long or has parts such as `..` or `.git`.
    pub fn write(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Result<(), PublishError> {
        self.insert(path, Change::Bytes(bytes.into()))
    }

    /// Writes what the file on disk holds when the commit is made, without reading it into memory at once.
    ///
    /// # Errors
    /// As [`Changes::write`].
    pub fn write_file(&mut self, path: &str, file: impl Into<PathBuf>) -> Result<(), PublishError> {
        self.insert(path, Change::File(file.into()))
    }

    /// Removes a file, or a folder with all it holds. A path that does not exist is no error.
    ///
    /// # Errors
    /// As [`Changes::write`].
    pub fn remove(&mut self, path: &str) -> Result<(), PublishError> {
        self.insert(path, Change::Remove)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// The paths to be written or removed, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(String::as_str)
    }

    fn insert(&mut self, path: &str, change: Change) -> Result<(), PublishError> {
        check_path(path)?;
        self.by_path.insert(path.to_owned(), change);
        Ok(())
    }

    /// Writes blobs and trees into the repository; the tree that `before` becomes.
    pub(super) fn write_tree<'repo>(&self, repository: &'repo Repository, before: Option<&Tree<'_>>) -> Result<Tree<'repo>, TreeError> {
        let mut root = Folder::default();
        for (path, change) in &self.by_path {
            let entry = match change {
                Change::Bytes(bytes) => Entry::Blob(repository.blob(bytes)?),
                Change::File(file) => Entry::Blob(write_blob(repository, file)?),
                Change::Remove => Entry::Remove,
            };
            root.insert(path, entry).map_err(|reason| PublishError::Path { path: path.clone(), reason })?;
        }
        let id = root.write(repository, before)?;
        let id = id.map_or_else(|| repository.treebuilder(None)?.write(), Ok)?;
        Ok(repository.find_tree(id)?)
    }
}

/// Either kind of failure while a tree is written.
#[derive(Debug)]
pub(super) enum TreeError {
    Git(git2::Error),
    Publish(PublishError),
}

impl TreeError {
    pub(super) fn into_publish_error(self, cache: &Path) -> PublishError {
        match self {
            Self::Git(source) => PublishError::Cache { path: cache.to_owned(), source },
            Self::Publish(error) => error,
        }
    }
}

impl From<git2::Error> for TreeError {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

impl From<PublishError> for TreeError {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

fn write_blob(repository: &Repository, file: &Path) -> Result<Oid, TreeError> {
    let unreadable = |source| PublishError::File { path: file.to_owned(), source };
    let mut reader = File::open(file).map_err(unreadable)?;
    let mut writer = repository.blob_writer(None)?;
    io::copy(&mut reader, &mut writer).map_err(unreadable)?;
    Ok(writer.commit()?)
}

/// What is to become of a name in a folder.
enum Entry {
    Blob(Oid),
    Remove,
    Inside(Folder),
}

#[derive(Default)]
struct Folder {
    entries: BTreeMap<String, Entry>,
}

impl Folder {
    fn insert(&mut self, path: &str, entry: Entry) -> Result<(), &'static str> {
        let Some((folder, rest)) = path.split_once('/') else {
            // Paths come in order, so a folder's own path precedes those inside.
            self.entries.insert(path.to_owned(), entry);
            return Ok(());
        };
        match self.entries.entry(folder.to_owned()).or_insert_with(|| Entry::Inside(Self::default())) {
            Entry::Inside(inside) => inside.insert(rest, entry),
            Entry::Blob(_) => Err("a part of it is written as a file by the same publication"),
            Entry::Remove if matches!(entry, Entry::Remove) => Ok(()),
            removed @ Entry::Remove => {
                let mut inside = Self::default();
                inside.entries.insert(EVERYTHING.to_owned(), Entry::Remove);
                inside.insert(rest, entry)?;
                *removed = Entry::Inside(inside);
                Ok(())
            }
        }
    }

    /// The tree's id, or `None` where nothing is left in it.
    fn write(&self, repository: &Repository, before: Option<&Tree<'_>>) -> Result<Option<Oid>, git2::Error> {
        let before = if self.entries.contains_key(EVERYTHING) { None } else { before };
        let mut builder = repository.treebuilder(before)?;
        for (name, entry) in self.entries.iter().filter(|(name, _)| name.as_str() != EVERYTHING) {
            let written = match entry {
                Entry::Blob(id) => Some((*id, REGULAR_FILE)),
                Entry::Remove => None,
                Entry::Inside(folder) => {
                    let existing = before.and_then(|tree| tree.get_name(name)).filter(|entry| entry.kind() == Some(ObjectType::Tree));
                    let existing = existing.map(|entry| repository.find_tree(entry.id())).transpose()?;
                    // Only removing something below a file leaves the file alone.
                    if existing.is_none() && !folder.writes() && builder.get(name)?.is_some() {
                        continue;
                    }
                    folder.write(repository, existing.as_ref())?.map(|id| (id, FOLDER))
                }
            };
            if let Some((id, mode)) = written {
                builder.insert(name, id, mode)?;
            } else if builder.get(name)?.is_some() {
                builder.remove(name)?;
            }
        }
        if builder.is_empty() { Ok(None) } else { builder.write().map(Some) }
    }

    fn writes(&self) -> bool {
        self.entries.values().any(|entry| match entry {
            Entry::Blob(_) => true,
            Entry::Remove => false,
            Entry::Inside(folder) => folder.writes(),
        })
    }
}

/// No file can have this name; as an entry it says that what the folder held before is removed.
const EVERYTHING: &str = "/";

fn check_path(path: &str) -> Result<(), PublishError> {
    let refuse = |reason| Err(PublishError::Path { path: path.to_owned(), reason });
    if path.len() > LONGEST_PATH {
        return refuse("it is longer than 1024 bytes");
    }
    if path.chars().any(|character| character.is_control() || character == '\\') {
        return refuse("it has a control character or a backslash");
    }
    for part in path.split('/') {
        if part.is_empty() {
            return refuse("it is empty, absolute, or has an empty part");
        }
        if part == "." || part == ".." {
            return refuse("it has `.` or `..` as a part");
        }
        // Some systems take these for `.git`: other case, trailing dots and spaces, the short name, a stream.
        let plain = part.split(':').next().unwrap_or(part).trim_end_matches(['.', ' ']);
        if plain.eq_ignore_ascii_case(".git") || plain.eq_ignore_ascii_case("git~1") {
            return refuse("it has `.git` as a part");
        }
    }
    Ok(())
}
