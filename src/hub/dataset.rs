//! Dataset rows: which Parquet files hold a configuration's split, and their rows.
//!
//! Layouts, by the names that the hub's own tools write: `<config>/<split>-00000-of-00001.parquet`, `data/<split>-…` for the configuration `default`, `<config>/<split>.parquet`,
//! and on the branch `refs/convert/parquet`, to which the hub converts other formats, `<config>/<split>/0000.parquet`.

use super::Hub;
use super::cache::{Repo, RepoKind, check_revision, is_commit, shorten};
use super::download::{LocalFile, Meter};
use super::error::HubError;
use super::facts::RepositoryFile;
use super::model::Listing;
use super::rows;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The branch with the hub's own conversion to Parquet.
const CONVERTED: &str = "refs/convert/parquet";

/// The rows of one split, and where they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSplit {
    /// Repository, `owner/name`.
    pub repo: String,
    /// Configuration; `default` where the repository names none.
    pub config: String,
    /// Split.
    pub split: String,
    /// Commit that the files were read at (of the branch `refs/convert/parquet` where the repository itself holds no Parquet).
    pub revision: String,
    /// The Parquet files in the order of their rows, with their hashes.
    pub files: Vec<LocalFile>,
    /// The rows: column name to value, in the order of the schema.
    pub rows: Vec<Map<String, Value>>,
}

/// One Parquet file by what its path says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shard {
    path: String,
    number: u32,
    /// How many there are, where the name tells.
    of: Option<u32>,
}

/// Parquet files by configuration and split.
type Catalogue = BTreeMap<String, BTreeMap<String, Vec<Shard>>>;

/// Where a split's rows can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetAccess {
    /// From the hub.
    Hub,
    /// From the cache alone.
    Cached,
}

impl Hub {
    /// The rows of a dataset's split. `config` `None`: the default configuration, or the only one. `revision` `None`: `main`.
    /// The given revision is searched first, then the branch `refs/convert/parquet`; the result tells the commit that was read.
    /// With a pinned commit whose files are cached, nothing is asked of the hub. A revision is looked up once in the life of this value.
    ///
    /// # Errors
    /// [`HubError::NoSuchSplit`] with what exists, [`HubError::Corrupt`] for a damaged file, missing shards or a split without rows, and any other [`HubError`].
    pub fn dataset_split(&self, repo: &str, config: Option<&str>, split: &str, revision: Option<&str>) -> Result<DatasetSplit, HubError> {
        let repo = Repo::new(RepoKind::Dataset, repo)?;
        let revision = revision.unwrap_or("main");
        check_revision(revision)?;
        let found = match self.search(&repo, revision, config, split) {
            Err(HubError::NoSuchSplit { what, existing }) if revision != CONVERTED => match self.search(&repo, CONVERTED, config, split) {
                Err(HubError::NotFound { .. } | HubError::Offline { .. }) => return Err(HubError::NoSuchSplit { what, existing }),
                converted => converted?,
            },
            found => found?,
        };
        let mut split_rows = Vec::new();
        let mut files = Vec::with_capacity(found.shards.len());
        for (path, place) in &found.shards {
            let what = format!("{path} of {}", repo.label());
            let bytes = std::fs::read(place).map_err(|error| HubError::disk("reading", place, error))?;
            files.push(LocalFile { path: path.clone(), bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) });
            split_rows.extend(rows::read(bytes, &what)?);
        }
        if split_rows.is_empty() {
            let what = format!("the split {split} of the configuration {} of {}", found.config, repo.label());
            return Err(HubError::corrupt(what, format!("it has no rows at revision {}", found.commit)));
        }
        Ok(DatasetSplit { repo: repo.name, config: found.config, split: split.to_owned(), revision: found.commit, files, rows: split_rows })
    }

    /// The commit that [`Hub::dataset_split`] would read a split at, without downloading its rows.
    ///
    /// # Errors
    /// [`HubError::NoSuchSplit`] with what exists, and any other [`HubError`].
    pub fn dataset_commit(&self, repo: &str, config: Option<&str>, split: &str, revision: Option<&str>) -> Result<String, HubError> {
        let repo = Repo::new(RepoKind::Dataset, repo)?;
        let revision = revision.unwrap_or("main");
        check_revision(revision)?;
        let commit_at = |revision: &str| -> Result<String, HubError> {
            if self.remote.is_none() {
                return Ok(self.search_cache(&repo, revision, config, split)?.commit);
            }
            let listing = self.dataset_listing(&repo, revision)?;
            choose(catalogue(listing.files.iter().map(|file| file.path.as_str())), config, split, &repo)?;
            Ok(listing.commit.clone())
        };
        match commit_at(revision) {
            Err(HubError::NoSuchSplit { what, existing }) if revision != CONVERTED => {
                commit_at(CONVERTED).map_err(|_| HubError::NoSuchSplit { what, existing })
            }
            commit => commit,
        }
    }

    /// Whether a split's rows can be read from here. Its files are not downloaded; the hub is asked for the head of one, so that terms which
    /// nobody has accepted are noticed.
    ///
    /// # Errors
    /// As [`Hub::dataset_split`].
    pub fn dataset_access(&self, repo: &str, config: Option<&str>, split: &str) -> Result<DatasetAccess, HubError> {
        let repo = Repo::new(RepoKind::Dataset, repo)?;
        let cached = self.search_cache(&repo, "main", config, split);
        let Some(remote) = &self.remote else { return cached.map(|_| DatasetAccess::Cached) };
        let reached = |revision: &str| -> Result<(), HubError> {
            let listing = self.dataset_listing(&repo, revision)?;
            let (_, shards) = choose(catalogue(listing.files.iter().map(|file| file.path.as_str())), config, split, &repo)?;
            match shards.first() {
                Some(shard) => remote.head(&repo, &listing.commit, &shard.path).map(drop),
                None => Ok(()),
            }
        };
        let answer = match reached("main") {
            Err(HubError::NoSuchSplit { .. }) => reached(CONVERTED),
            answer => answer,
        };
        match (answer, cached) {
            (Ok(()), _) => Ok(DatasetAccess::Hub),
            (Err(_), Ok(found)) if found.is_surely_whole => Ok(DatasetAccess::Cached),
            (Err(error), _) => Err(error),
        }
    }

    /// Whether a data set asks its readers to accept terms before they may download, whoever they are; `None` offline.
    ///
    /// # Errors
    /// As [`Hub::dataset_split`].
    pub fn dataset_is_gated(&self, repo: &str) -> Result<Option<bool>, HubError> {
        if self.remote.is_none() {
            return Ok(None);
        }
        let repo = Repo::new(RepoKind::Dataset, repo)?;
        Ok(Some(super::model::is_gated(&self.dataset_listing(&repo, "main")?.info)))
    }

    /// Finds the files of a split at a revision and makes sure that they lie in the cache.
    fn search(&self, repo: &Repo, revision: &str, config: Option<&str>, split: &str) -> Result<Found, HubError> {
        let cached = self.search_cache(repo, revision, config, split);
        let Some(remote) = &self.remote else { return cached };
        // A part of the repository may be cached: only what names its configuration and its number of shards is known to be whole.
        if is_commit(revision)
            && let Ok(found) = cached
            && found.is_surely_whole
            && (config.is_some() || found.config == "default")
        {
            return Ok(found);
        }
        let listing = self.dataset_listing(repo, revision)?;
        let (config, shards) = choose(catalogue(listing.files.iter().map(|file| file.path.as_str())), config, split, repo)?;
        let wanted: Vec<&RepositoryFile> =
            shards.iter().filter_map(|shard| listing.files.iter().find(|file| file.path == shard.path)).collect();
        let mut silent = |_: super::Progress<'_>| {};
        let mut meter = Meter { progress: &mut silent, done: 0, total: 0 };
        let folder = self.cache.snapshot_dir(repo, &listing.commit);
        let mut places = Vec::new();
        // Last shard first: after an interruption the first ones are missing, which `choose` notices in any layout.
        for file in wanted.into_iter().rev() {
            tracing::info!("downloading {} of {}", file.path, repo.label());
            self.fetch(remote, repo, &listing.commit, file, &mut meter)?;
            places.push((file.path.clone(), folder.join(&file.path)));
        }
        places.reverse();
        self.cache.write_ref(repo, revision, &listing.commit)?;
        Ok(Found { config, commit: listing.commit.clone(), is_surely_whole: true, shards: places })
    }

    fn search_cache(&self, repo: &Repo, revision: &str, config: Option<&str>, split: &str) -> Result<Found, HubError> {
        let commit = self.cached_commit(repo, revision)?;
        let files = self.cache.snapshot_files(repo, &commit)?;
        let chosen = choose(catalogue(files.iter().map(|(path, _, _)| path.as_str())), config, split, repo);
        let (config, shards) = chosen.map_err(|error| match error {
            HubError::NoSuchSplit { what, existing } => {
                HubError::NoSuchSplit { what: format!("{what}, in the cache {},", self.cache.root.display()), existing }
            }
            other => other,
        })?;
        let is_surely_whole = shards.iter().all(|shard| shard.of.is_some());
        let places = shards.iter().filter_map(|shard| files.iter().find(|(path, _, _)| *path == shard.path));
        Ok(Found { config, commit, is_surely_whole, shards: places.map(|(path, place, _)| (path.clone(), place.clone())).collect() })
    }

    fn dataset_listing(&self, repo: &Repo, revision: &str) -> Result<Arc<Listing>, HubError> {
        let key = (repo.name.clone(), revision.to_owned());
        let known = self.datasets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).cloned();
        if let Some(listing) = known {
            return Ok(listing);
        }
        let Some(remote) = &self.remote else {
            return Err(HubError::Offline { what: repo.label(), cache: self.cache.root.clone() });
        };
        let listing = Arc::new(remote.listing(repo, revision)?);
        self.datasets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, Arc::clone(&listing));
        Ok(listing)
    }
}

/// A split's files on this disk: (path in the repository, place).
struct Found {
    config: String,
    commit: String,
    /// Nothing of the split can be missing.
    is_surely_whole: bool,
    shards: Vec<(String, PathBuf)>,
}

fn catalogue<'a>(paths: impl Iterator<Item = &'a str>) -> Catalogue {
    let mut catalogue = Catalogue::new();
    for path in paths {
        if let Some((config, split, shard)) = classify(path) {
            catalogue.entry(config).or_default().entry(split).or_default().push(shard);
        }
    }
    catalogue
}

/// What a path says: configuration, split, shard.
fn classify(path: &str) -> Option<(String, String, Shard)> {
    let (folders, name) = path.rsplit_once('/').map_or((Vec::new(), path), |(folders, name)| (folders.split('/').collect(), name));
    let stem = name.strip_suffix(".parquet")?;
    let shard = |number, of| Shard { path: path.to_owned(), number, of };
    // `<config>/<split>/0000.parquet`
    if let ([.., config, split], true) = (folders.as_slice(), !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit())) {
        return Some(((*config).to_owned(), (*split).to_owned(), shard(stem.parse().ok()?, None)));
    }
    let config = folders.last().filter(|folder| **folder != "data").map_or_else(|| "default".to_owned(), |folder| (*folder).to_owned());
    let (split, shard) = match numbered(stem) {
        Some((split, number, of)) => (split, shard(number, Some(of))),
        None => (stem, shard(0, None)),
    };
    (!split.is_empty()).then(|| (config, split.to_owned(), shard))
}

/// `<split>-00000-of-00001`, with the hash that older tools append.
fn numbered(stem: &str) -> Option<(&str, u32, u32)> {
    let is_digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = match stem.rsplit_once('-') {
        Some((rest, last)) if !is_digits(last) && last.len() == 16 && last.bytes().all(|byte| byte.is_ascii_hexdigit()) => rest,
        _ => stem,
    };
    let (rest, of) = plain.rsplit_once("-of-")?;
    let (split, number) = rest.rsplit_once('-')?;
    (is_digits(number) && is_digits(of)).then_some(())?;
    Some((split, number.parse().ok()?, of.parse().ok()?))
}

/// The configuration and the shards of a split, in order and complete.
fn choose(catalogue: Catalogue, config: Option<&str>, split: &str, repo: &Repo) -> Result<(String, Vec<Shard>), HubError> {
    let asked = config.unwrap_or("default");
    let what = || format!("the split {:?} of the configuration {:?} of {}", shorten(split), shorten(asked), repo.label());
    let mut catalogue = catalogue;
    let (name, mut splits) = match catalogue.remove_entry(asked) {
        Some(entry) => entry,
        None if config.is_none() && catalogue.len() == 1 => catalogue.pop_first().unwrap_or_default(),
        None => return Err(HubError::NoSuchSplit { what: what(), existing: existing(&catalogue) }),
    };
    let Some(mut shards) = splits.remove(split) else {
        if splits.contains_key(&format!("partial-{split}")) {
            return Err(HubError::unsupported(
                what(),
                "the hub has converted only a part of it to Parquet; a score on a part would be no score",
            ));
        }
        catalogue.insert(name, splits);
        return Err(HubError::NoSuchSplit { what: what(), existing: existing(&catalogue) });
    };
    shards.sort_by(|one, other| one.number.cmp(&other.number).then_with(|| one.path.cmp(&other.path)));
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let announced: BTreeSet<Option<u32>> = shards.iter().map(|shard| shard.of).collect();
    let complete = announced.iter().all(|of| of.is_none_or(|of| of == count)) && announced.len() == 1;
    if !complete || shards.iter().zip(0..).any(|(shard, number)| shard.number != number) {
        let names: Vec<&str> = shards.iter().take(8).map(|shard| shard.path.as_str()).collect();
        return Err(HubError::corrupt(what(), format!("its shards are not complete: there are {count}, among them {}", names.join(", "))));
    }
    Ok((name, shards))
}

/// Configurations and splits for a message.
fn existing(catalogue: &Catalogue) -> String {
    if catalogue.is_empty() {
        return "no Parquet files".to_owned();
    }
    let mut listed: Vec<String> = catalogue
        .iter()
        .take(12)
        .map(|(config, splits)| {
            format!("{} ({})", shorten(config), splits.keys().map(|split| shorten(split)).collect::<Vec<_>>().join(", "))
        })
        .collect();
    if catalogue.len() > 12 {
        listed.push(format!("and {} more configurations", catalogue.len() - 12));
    }
    listed.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], config: Option<&str>, split: &str) -> Result<(String, Vec<String>), HubError> {
        let repo = Repo::new(RepoKind::Dataset, "a/b").unwrap();
        let (config, shards) = choose(catalogue(paths.iter().copied()), config, split, &repo)?;
        Ok((config, shards.into_iter().map(|shard| shard.path).collect()))
    }

    /// The layouts that the hub's tools write are all understood.
    #[test]
    fn layouts() {
        let of = |config: &str, files: &[&str]| (config.to_owned(), files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>());
        let named =
            ["main/test-00000-of-00001.parquet", "main/train-00001-of-00002.parquet", "main/train-00000-of-00002.parquet", "README.md"];
        assert_eq!(
            chosen(&named, Some("main"), "train").unwrap(),
            of("main", &["main/train-00000-of-00002.parquet", "main/train-00001-of-00002.parquet"])
        );
        assert_eq!(chosen(&named, None, "test").unwrap(), of("main", &["main/test-00000-of-00001.parquet"]));
        let data = ["data/test-00000-of-00001-0123456789abcdef.parquet", "data/test-hard-00000-of-00001.parquet"];
        assert_eq!(chosen(&data, None, "test").unwrap(), of("default", &data[..1]));
        assert_eq!(chosen(&data, Some("default"), "test-hard").unwrap(), of("default", &data[1..]));
        let converted = ["boolq/test/0000.parquet", "boolq/train/0000.parquet", "boolq/train/0001.parquet", "cb/test/0000.parquet"];
        assert_eq!(chosen(&converted, Some("boolq"), "train").unwrap(), of("boolq", &converted[1..3]));
        assert_eq!(chosen(&["x/validation.parquet"], Some("x"), "validation").unwrap(), of("x", &["x/validation.parquet"]));
    }

    /// What does not exist is answered with what does; an incomplete set of shards is never taken for a split.
    #[test]
    fn missing_parts_are_errors() {
        let paths = ["a/test-00000-of-00001.parquet", "b/train-00000-of-00002.parquet", "c/partial-train/0000.parquet"];
        let message = chosen(&paths, None, "test").unwrap_err().to_string();
        assert!(message.contains("a (test); b (train)"), "{message}");
        assert!(chosen(&paths, Some("a"), "dev").unwrap_err().to_string().contains("a (test)"));
        assert!(chosen(&paths, Some("b"), "train").unwrap_err().to_string().contains("not complete"));
        assert!(matches!(chosen(&paths, Some("c"), "train").unwrap_err(), HubError::Unsupported { .. }));
        assert!(chosen(&[], None, "test").unwrap_err().to_string().contains("no Parquet files"));
    }
}
