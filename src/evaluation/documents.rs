//! Where a task's rows come from: the hub's Parquet files, or the rows built into the program.

use crate::benchmark::{Document, Location, TaskSpec, builtin_rows, long_context};
use crate::hub::Hub;
use crate::leaderboard::canonical;
use crate::leaderboard::run::DatasetRecord;
use anyhow::Context;
use std::collections::BTreeMap;

/// Rows of one split and where they come from.
pub struct Rows {
    /// The rows in the order of the data set.
    pub rows: Vec<Document>,
    /// Repository, configuration, split, revision.
    pub dataset: DatasetRecord,
}

/// Gives rows to tasks.
pub trait DocumentSource {
    /// The commit that the task's data set has now (or a digest of the built-in rows): part of the run's id.
    ///
    /// # Errors
    /// The data set cannot be found or reached; the message says what to do.
    fn revision(&mut self, spec: &TaskSpec) -> anyhow::Result<String>;

    /// The rows of a split of the task's data set, at the revision that [`DocumentSource::revision`] names.
    ///
    /// # Errors
    /// As [`DocumentSource::revision`], and where the files are corrupt or the split is empty.
    fn rows(&mut self, spec: &TaskSpec, split: &str) -> anyhow::Result<Rows>;
}

/// The hub for real data sets, the program itself for built-in ones.
pub struct HubDocuments<'a> {
    hub: &'a Hub,
    /// Commit by repository: resolved once, so that a run never mixes two revisions.
    commits: BTreeMap<String, String>,
}

impl<'a> HubDocuments<'a> {
    /// Reads data sets through `hub`.
    #[must_use]
    pub fn new(hub: &'a Hub) -> Self {
        Self { hub, commits: BTreeMap::new() }
    }

    fn commit(&mut self, repo: &str, config: &str, split: &str) -> anyhow::Result<String> {
        if let Some(commit) = self.commits.get(repo) {
            return Ok(commit.clone());
        }
        let commit = self.hub.dataset_commit(repo, Some(config), split, None)?;
        self.commits.insert(repo.to_owned(), commit.clone());
        Ok(commit)
    }
}

impl DocumentSource for HubDocuments<'_> {
    fn revision(&mut self, spec: &TaskSpec) -> anyhow::Result<String> {
        match &spec.dataset.location {
            Location::Hub { repo, config } => self.commit(repo, config, &spec.dataset.split),
            Location::BuiltIn => builtin_revision(spec),
            Location::Generated => long_context::digest(&spec.name),
        }
    }

    fn rows(&mut self, spec: &TaskSpec, split: &str) -> anyhow::Result<Rows> {
        let revision = self.revision(spec)?;
        let (rows, repo, config) = match &spec.dataset.location {
            Location::Hub { repo, config } => {
                let found = self.hub.dataset_split(repo, Some(config), split, Some(&revision))?;
                (found.rows, repo.clone(), Some(config.clone()))
            }
            Location::BuiltIn => (builtin(spec, split)?, "builtin".to_owned(), None),
            Location::Generated => anyhow::bail!("the rows of {} are generated for a model, not read", spec.name),
        };
        let dataset = DatasetRecord { repo, config, split: split.to_owned(), revision };
        Ok(Rows { rows, dataset })
    }
}

fn builtin(spec: &TaskSpec, split: &str) -> anyhow::Result<Vec<Document>> {
    builtin_rows(&spec.name, split).with_context(|| format!("the program has no built-in rows for {}, split {split}", spec.name))
}

/// Digest of a built-in task's rows, so that changed rows give another run id.
fn builtin_revision(spec: &TaskSpec) -> anyhow::Result<String> {
    let splits = std::iter::once(&spec.dataset.split).chain(&spec.dataset.fewshot_split);
    let rows = splits.map(|split| builtin(spec, split)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(canonical::digest(&rows)?)
}
