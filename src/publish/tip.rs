//! The tip of the branch, as the caller reads it.

use git2::{Commit, ErrorCode, ObjectType, Oid, Repository, Tree, TreeWalkMode, TreeWalkResult};

/// The files at the tip of the branch; none while the remote is empty.
pub struct Tip<'repo> {
    repository: &'repo Repository,
    commit: Option<Commit<'repo>>,
    tree: Option<Tree<'repo>>,
}

impl<'repo> Tip<'repo> {
    pub(super) fn new(repository: &'repo Repository, tip: Option<Oid>) -> Result<Self, git2::Error> {
        let commit = tip.map(|id| repository.find_commit(id)).transpose()?;
        let tree = commit.as_ref().map(Commit::tree).transpose()?;
        Ok(Self { repository, commit, tree })
    }

    /// The tip's commit id, 40 hexadecimal digits; `None` while the remote is empty.
    #[must_use]
    pub fn commit_id(&self) -> Option<String> {
        self.commit.as_ref().map(|commit| commit.id().to_string())
    }

    /// What the file at this path holds; `None` where there is no file.
    ///
    /// # Errors
    /// Where the cache repository cannot be read.
    pub fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(tree) = &self.tree else { return Ok(None) };
        let entry = match tree.get_path(std::path::Path::new(path)) {
            Ok(entry) => entry,
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if entry.kind() != Some(ObjectType::Blob) {
            return Ok(None);
        }
        Ok(Some(self.repository.find_blob(entry.id())?.content().to_vec()))
    }

    /// The paths of all files below a folder (`""` for all of them), in the order of their bytes.
    ///
    /// # Errors
    /// Where the cache repository cannot be read.
    pub fn list(&self, folder: &str) -> anyhow::Result<Vec<String>> {
        let Some(tree) = &self.tree else { return Ok(Vec::new()) };
        let prefix = folder.trim_end_matches('/');
        let subtree = if prefix.is_empty() {
            tree.clone()
        } else {
            match tree.get_path(std::path::Path::new(prefix)) {
                Ok(entry) if entry.kind() == Some(ObjectType::Tree) => self.repository.find_tree(entry.id())?,
                Ok(_) => return Ok(Vec::new()),
                Err(error) if error.code() == ErrorCode::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        };
        let mut paths = Vec::new();
        subtree.walk(TreeWalkMode::PreOrder, |parent, entry| {
            if entry.kind() == Some(ObjectType::Blob)
                && let Ok(name) = entry.name()
            {
                let separator = if prefix.is_empty() { "" } else { "/" };
                paths.push(format!("{prefix}{separator}{parent}{name}"));
            }
            TreeWalkResult::Ok
        })?;
        paths.sort();
        Ok(paths)
    }

    pub(super) fn tree(&self) -> Option<&Tree<'repo>> {
        self.tree.as_ref()
    }

    pub(super) fn commit(&self) -> Option<&Commit<'repo>> {
        self.commit.as_ref()
    }
}
