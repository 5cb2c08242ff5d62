//! Names and places: repository ids, revisions and file paths that are safe to use, and the folders of the cache
//! (`huggingface_hub`'s layout: `<kind>s--<owner>--<name>/{blobs/<etag>,refs/<revision>,snapshots/<commit>/<path>}`).

use super::error::HubError;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Whether a repository holds a model or a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RepoKind {
    Model,
    Dataset,
}

/// A repository whose name has been checked: it can stand in an address and in a folder name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repo {
    pub(super) kind: RepoKind,
    pub(super) name: String,
}

impl Repo {
    /// Checks `owner/name` (or the one-part name of some old repositories) against the hub's rules.
    pub(super) fn new(kind: RepoKind, name: &str) -> Result<Self, HubError> {
        let wrong = |reason: &str| Err(HubError::invalid(format!("the repository name {:?}", shorten(name)), reason));
        let parts: Vec<&str> = name.split('/').collect();
        if name.len() > 192 || parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.len() > 96) {
            return wrong("it must be `owner/name`, each part of 1 to 96 characters");
        }
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
        if !name.chars().all(|character| allowed(character) || character == '/') {
            return wrong("only letters, digits, `-`, `_`, `.` and one `/` are allowed");
        }
        if name.contains("..") || name.contains("--") {
            return wrong("`..` and `--` are not allowed");
        }
        let edge = |character: char| matches!(character, '-' | '.');
        if parts.iter().any(|part| part.starts_with(edge) || part.ends_with(edge) || has_suffix(part, ".git")) {
            return wrong("a part may not begin or end with `-` or `.`, nor end with `.git`");
        }
        Ok(Self { kind, name: name.to_owned() })
    }

    /// `models--owner--name`.
    pub(super) fn folder_name(&self) -> String {
        format!("{}--{}", self.api_name(), self.name.replace('/', "--"))
    }

    /// `models` or `datasets`, as in the addresses of the API.
    pub(super) fn api_name(&self) -> &'static str {
        match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        }
    }

    /// How messages name it.
    pub(super) fn label(&self) -> String {
        match self.kind {
            RepoKind::Model => format!("model {}", self.name),
            RepoKind::Dataset => format!("dataset {}", self.name),
        }
    }
}

/// Compares the end of a name without regard to case, as some file systems do.
pub(super) fn has_suffix(name: &str, suffix: &str) -> bool {
    name.len() >= suffix.len() && name.as_bytes()[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
}

/// A commit id: 40 lower-case hexadecimal digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Checks a revision (branch, tag, `refs/…` or commit) so that it can stand in an address and below `refs/`.
pub(super) fn check_revision(revision: &str) -> Result<(), HubError> {
    let fine = !revision.is_empty()
        && revision.len() <= 200
        && revision
            .chars()
            .all(|character| character.is_ascii_graphic() && !matches!(character, '\\' | '~' | '^' | ':' | '?' | '*' | '[' | '%' | '#'))
        && revision.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !has_suffix(part, ".lock"))
        && !revision.contains("..");
    if fine {
        Ok(())
    } else {
        Err(HubError::invalid(format!("the revision {:?}", shorten(revision)), "it must be a commit, a branch or a tag of the repository"))
    }
}

/// Checks a path inside a repository so that joining it to a folder stays in that folder.
pub(super) fn check_path(path: &str) -> Result<(), HubError> {
    let fine = !path.is_empty()
        && path.len() <= 1024
        && !path.chars().any(|character| character.is_control() || character == '\\')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    if fine {
        Ok(())
    } else {
        Err(HubError::corrupt(
            format!("the file name {:?}", shorten(path)),
            "it is no plain path inside a repository; such a file is never stored",
        ))
    }
}

/// The beginning of a text that may be hostile, for messages.
pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 120 { text.to_owned() } else { text.chars().take(117).chain("...".chars()).collect() }
}

/// The cache folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) root: PathBuf,
}

impl Cache {
    pub(super) fn repo_dir(&self, repo: &Repo) -> PathBuf {
        self.root.join(repo.folder_name())
    }

    pub(super) fn snapshot_dir(&self, repo: &Repo, commit: &str) -> PathBuf {
        self.repo_dir(repo).join("snapshots").join(commit)
    }

    pub(super) fn blobs_dir(&self, repo: &Repo) -> PathBuf {
        self.repo_dir(repo).join("blobs")
    }

    pub(super) fn locks_dir(&self, repo: &Repo) -> PathBuf {
        self.root.join(".locks").join(repo.folder_name())
    }

    /// The commit that a revision names according to the cache, if its snapshot is there.
    pub(super) fn commit_of(&self, repo: &Repo, revision: &str) -> Result<Option<String>, HubError> {
        check_revision(revision)?;
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            let path = self.repo_dir(repo).join("refs").join(revision);
            match fs::read_to_string(&path) {
                Ok(text) => text.trim().to_owned(),
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(HubError::disk("reading", &path, error)),
            }
        };
        if !is_commit(&commit) {
            let what = format!("the cached reference {} of {}", shorten(revision), repo.label());
            return Err(HubError::corrupt(what, "it holds no commit id; delete the file and download again"));
        }
        Ok(self.snapshot_dir(repo, &commit).is_dir().then_some(commit))
    }

    /// Records what a revision names.
    pub(super) fn write_ref(&self, repo: &Repo, revision: &str, commit: &str) -> Result<(), HubError> {
        check_revision(revision)?;
        if is_commit(revision) {
            return Ok(());
        }
        let path = self.repo_dir(repo).join("refs").join(revision);
        if fs::read_to_string(&path).is_ok_and(|text| text.trim() == commit) {
            return Ok(());
        }
        write_whole(&path, commit.as_bytes())
    }

    /// Files of a snapshot as (path in the repository, place on disk, size), sorted by path.
    pub(super) fn snapshot_files(&self, repo: &Repo, commit: &str) -> Result<Vec<(String, PathBuf, u64)>, HubError> {
        files_below(&self.snapshot_dir(repo, commit))
    }
}

/// Files below a folder as (path with `/`, place on disk, size), sorted by path. Links to files are followed, links to folders are not;
/// a link that leads nowhere counts as absent.
pub(super) fn files_below(root: &Path) -> Result<Vec<(String, PathBuf, u64)>, HubError> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new(), 0_u8)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let listing = fs::read_dir(&folder).map_err(|error| HubError::disk("listing", &folder, error))?;
        for entry in listing {
            let entry = entry.map_err(|error| HubError::disk("listing", &folder, error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(|error| HubError::disk("looking at", &entry.path(), error))?;
            if kind.is_dir() && depth < 16 {
                folders.push((entry.path(), format!("{path}/"), depth + 1));
            } else if let Ok(metadata) = fs::metadata(entry.path())
                && metadata.is_file()
            {
                files.push((path, entry.path(), metadata.len()));
            }
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

pub(super) fn create_dir(path: &Path) -> Result<(), HubError> {
    fs::create_dir_all(path).map_err(|error| HubError::disk("creating the folder", path, error))
}

/// Makes what was renamed in a folder survive a power cut.
pub(super) fn sync_dir(path: &Path) -> Result<(), HubError> {
    fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| HubError::disk("syncing the folder", path, error))
}

/// Writes a small file whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), HubError> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    create_dir(folder)?;
    let fail = |error| HubError::disk("writing", path, error);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    sync_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Names that could leave the cache or change an address are refused; ordinary ones are not.
    #[test]
    fn repository_names_follow_the_hubs_rules() {
        for good in ["gpt2", "HuggingFaceTB/SmolLM2-135M", "a/b.c_d", "0x/1"] {
            assert!(Repo::new(RepoKind::Model, good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/b", "a/b/c", "../x", "a/..", "a--b/c", "a b/c", "a/b.git", "a/b\n", "-a/b", "a/b.", "ä/b", "a/b?x", "a%2f/b"]
        {
            assert!(Repo::new(RepoKind::Model, bad).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever is accepted as a path stays below the folder it is joined to.
        #[test]
        fn accepted_paths_stay_inside(path in "[a./\\\\~-]{0,12}|\\PC{0,12}") {
            if check_path(&path).is_ok() {
                let joined = Path::new("/root").join(&path);
                prop_assert!(joined.starts_with("/root"));
                prop_assert!(joined.components().all(|component| !matches!(component, Component::ParentDir)));
            }
        }

        /// The same for revisions, which become files below `refs/`.
        #[test]
        fn accepted_revisions_stay_inside(revision in "[a./\\\\~-]{0,12}|\\PC{0,12}") {
            if check_revision(&revision).is_ok() {
                let joined = Path::new("/refs").join(&revision);
                prop_assert!(joined.starts_with("/refs"));
                prop_assert!(joined.components().all(|component| !matches!(component, Component::ParentDir)));
            }
        }
    }
}
