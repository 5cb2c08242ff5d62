//! Downloading the files of a pinned commit into the cache, whole or not at all.
//!
//! A file grows as `blobs/<etag>.incomplete` under a lock (`.locks/…/<etag>.lock`, as `huggingface_hub` does, so that both may share a cache), is checked
//! against the hash that the hub announced, synced, renamed to `blobs/<etag>`, and only then linked from `snapshots/<commit>/<path>`. A broken
//! connection resumes with a range request; a killed process leaves a part that the next one resumes.

use super::cache::{Repo, RepoKind, check_path, check_revision, create_dir, files_below, is_absent, is_commit, sync_dir};
use super::error::HubError;
use super::facts::RepositoryFile;
use super::http::{Failure, FileHead, Remote, broken, network};
use super::model::safetensors_files;
use super::{Hub, cache};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A file on this disk whose content has been hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalFile {
    /// Path inside the repository, with `/` between folders.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, computed from what lies on this disk, in lower-case hexadecimal.
    pub sha256: String,
}

/// A model on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModel {
    /// Repository, `owner/name`.
    pub repo: String,
    /// Folder that holds the files. A cache's folder may hold others too: only those in `files` belong to the model.
    pub dir: PathBuf,
    /// Commit of the repository; for a plain folder, a digest of its files in the same form.
    pub commit: String,
    /// The model's files: configuration, tokenizer, weights; sorted by path.
    pub files: Vec<LocalFile>,
}

impl LocalModel {
    /// The weight files: safetensors or GGUF.
    pub fn weights(&self) -> impl Iterator<Item = &LocalFile> {
        self.files.iter().filter(|file| cache::has_suffix(&file.path, ".safetensors") || cache::has_suffix(&file.path, ".gguf"))
    }

    /// Where a file lies.
    #[must_use]
    pub fn place(&self, file: &LocalFile) -> PathBuf {
        self.dir.join(&file.path)
    }
}

/// Which weights of a repository to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// The safetensors files that make up the model.
    Safetensors,
    /// One GGUF file by its path (with all its parts, if it is the first of several).
    Gguf(String),
    /// None: only configuration and tokenizer, for weights that come from elsewhere.
    Nothing,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// File in work.
    pub file: &'a str,
    /// Bytes of that file that are on disk.
    pub file_done: u64,
    /// Bytes of that file in all.
    pub file_total: u64,
    /// Bytes of all files that are on disk.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// Files beside the weights that an engine reads, where the repository has them.
const SIDE_FILES: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "quantize_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

impl Hub {
    /// Downloads what an engine needs of a model at a revision (`None`: `main`), or finds it in the cache, and hashes every file.
    /// `progress` is called about once per mebibyte. With a pinned commit that the cache holds in full, a hub that cannot be reached is no error.
    ///
    /// # Errors
    /// Any [`HubError`]; whatever happens, the cache holds whole files or parts that the next call resumes.
    pub fn download_model(
        &self,
        repo: &str,
        revision: Option<&str>,
        weights: &Weights,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<LocalModel, HubError> {
        let repo = Repo::new(RepoKind::Model, repo)?;
        let revision = revision.unwrap_or("main");
        check_revision(revision)?;
        let Some(remote) = &self.remote else { return self.cached_model(&repo, revision, weights, progress) };
        let listing = match remote.listing(&repo, revision) {
            Err(error) if error.is_transient() && is_commit(revision) => {
                let cached = self.cached_model(&repo, revision, weights, progress);
                if cached.is_ok() {
                    tracing::warn!("{error}; using the cached copy of {} at {revision}", repo.label());
                }
                return cached.map_err(|_| error);
            }
            other => other?,
        };
        let index = |path: &str| remote.content(&repo, &listing.commit, path, 32 << 20);
        let wanted = wanted_files(&listing.files, weights, &repo, index)?;
        let total = wanted.iter().filter_map(|file| file.size).sum();
        let mut meter = Meter { progress, done: 0, total };
        let mut files = Vec::with_capacity(wanted.len());
        for file in &wanted {
            files.push(self.fetch(remote, &repo, &listing.commit, file, &mut meter)?);
        }
        self.cache.write_ref(&repo, revision, &listing.commit)?;
        Ok(LocalModel { dir: self.cache.snapshot_dir(&repo, &listing.commit), repo: repo.name, commit: listing.commit, files })
    }

    fn cached_model(
        &self,
        repo: &Repo,
        revision: &str,
        weights: &Weights,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<LocalModel, HubError> {
        let commit = self.cached_commit(repo, revision)?;
        let dir = self.cache.snapshot_dir(repo, &commit);
        let files = hash_folder(&dir, weights, repo, progress).map_err(|error| self.not_cached(error))?;
        Ok(LocalModel { repo: repo.name.clone(), dir, commit, files })
    }

    /// One file of a commit, from the cache if it is there and sound, else from the hub.
    pub(super) fn fetch(
        &self,
        remote: &Remote,
        repo: &Repo,
        commit: &str,
        file: &RepositoryFile,
        meter: &mut Meter<'_>,
    ) -> Result<LocalFile, HubError> {
        check_path(&file.path)?;
        let pointer = self.cache.snapshot_dir(repo, commit).join(&file.path);
        if let Some(cached) = hash_if_present(&pointer, &file.path, meter)? {
            if file.size.is_none_or(|size| size == cached.bytes) && file.sha256.as_ref().is_none_or(|sha256| *sha256 == cached.sha256) {
                meter.finish(cached.bytes);
                return Ok(cached);
            }
            tracing::warn!("{} in the cache is damaged; downloading it again", pointer.display());
            let blob = fs::canonicalize(&pointer).unwrap_or_else(|_| pointer.clone());
            remove(&blob)?;
            remove(&pointer)?;
        }
        let head = remote.head(repo, commit, &file.path)?;
        let what = format!("{} of {}", file.path, repo.label());
        if head.commit.as_ref().is_some_and(|told| told != commit) || file.size.is_some_and(|size| size != head.size) {
            return Err(HubError::corrupt(what, "the hub's list of files and its answer for the file disagree; try again"));
        }
        let task = Task { remote, repo, commit, path: &file.path, what: &what, head: &head, sha256: expected_sha256(file, &head) };
        let blob = self.cache.blobs_dir(repo).join(&head.etag);
        let sha256 = self.fetch_blob(&task, &blob, meter)?;
        link(&pointer, &blob, &file.path)?;
        meter.finish(head.size);
        Ok(LocalFile { path: file.path.clone(), bytes: head.size, sha256 })
    }

    /// The blob of a file: whole and checked when this returns its SHA-256.
    fn fetch_blob(&self, task: &Task<'_>, blob: &Path, meter: &mut Meter<'_>) -> Result<String, HubError> {
        create_dir(&self.cache.blobs_dir(task.repo))?;
        let locks = self.cache.locks_dir(task.repo);
        create_dir(&locks)?;
        let lock_path = locks.join(format!("{}.lock", task.head.etag));
        let lock = fs::File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(|error| HubError::disk("opening the lock", &lock_path, error))?;
        // Another process or thread may be downloading the same file: wait, then find it done. The lock ends with the handle.
        lock.lock().map_err(|error| HubError::disk("locking", &lock_path, error))?;
        if let Some(present) = hash_if_present(blob, task.path, meter)? {
            if task.check(blob, &present.sha256, present.bytes).is_ok() {
                return Ok(present.sha256);
            }
            tracing::warn!("{} in the cache is damaged; downloading it again", blob.display());
            remove(blob)?;
        }
        let part = blob.with_file_name(format!("{}.incomplete", task.head.etag));
        let resumed = fs::metadata(&part).is_ok_and(|metadata| metadata.len() > 0);
        let sha256 = match task.fill(&part, meter) {
            // The part may have been damaged before: once more from nothing tells whether the hub's content is.
            Err(HubError::Corrupt { .. }) if resumed => {
                tracing::warn!("the resumed download of {} does not match its hash; starting over", task.what);
                remove(&part)?;
                task.fill(&part, meter)?
            }
            other => other?,
        };
        fs::rename(&part, blob).map_err(|error| HubError::disk("renaming", &part, error))?;
        sync_dir(&self.cache.blobs_dir(task.repo))?;
        Ok(sha256)
    }
}

/// The files of a plain folder (not a cache) that make up a model, hashed. The commit is a digest of them: the first 40 hexadecimal digits
/// of the SHA-256 over the lines `<sha256>  <path>`.
///
/// # Errors
/// [`HubError::NotFound`] when the folder holds no weights of the wanted kind, [`HubError::Disk`], [`HubError::Corrupt`].
pub fn model_in_folder(folder: &Path, repo: &str, weights: &Weights) -> Result<LocalModel, HubError> {
    let repo = Repo::new(RepoKind::Model, repo)?;
    let files = hash_folder(folder, weights, &repo, &mut |_| {})?;
    let mut digest = Sha256::new();
    for file in &files {
        digest.update(format!("{}  {}\n", file.sha256, file.path));
    }
    let commit = hex::encode(digest.finalize())[..40].to_owned();
    Ok(LocalModel { repo: repo.name, dir: folder.to_owned(), commit, files })
}

fn hash_folder(dir: &Path, weights: &Weights, repo: &Repo, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Vec<LocalFile>, HubError> {
    let listed: Vec<RepositoryFile> =
        files_below(dir)?.into_iter().map(|(path, _, size)| RepositoryFile { path, size: Some(size), sha256: None }).collect();
    let index = |path: &str| fs::read(dir.join(path)).map_err(|error| HubError::disk("reading", &dir.join(path), error));
    let wanted = wanted_files(&listed, weights, repo, index)?;
    let mut meter = Meter { progress, done: 0, total: wanted.iter().filter_map(|file| file.size).sum() };
    let mut files = Vec::with_capacity(wanted.len());
    for file in &wanted {
        let place = dir.join(&file.path);
        let hashed = hash_if_present(&place, &file.path, &mut meter)?;
        let hashed = hashed.ok_or_else(|| HubError::NotFound { what: format!("{} of {}", file.path, repo.label()) })?;
        if let Some(told) = told_by_link(&place).filter(|told| *told != hashed.sha256) {
            let reason =
                format!("its SHA-256 is {}, the cache names it {told}; delete {} and download it again", hashed.sha256, place.display());
            return Err(HubError::corrupt(format!("{} of {}", file.path, repo.label()), reason));
        }
        meter.finish(hashed.bytes);
        files.push(hashed);
    }
    Ok(files)
}

fn told_by_link(place: &Path) -> Option<String> {
    let target = fs::read_link(place).ok()?;
    let name = target.file_name()?.to_str()?;
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_ascii_lowercase())
}

/// The files that an engine needs, out of those that there are.
fn wanted_files(
    listed: &[RepositoryFile],
    weights: &Weights,
    repo: &Repo,
    read_index: impl FnOnce(&str) -> Result<Vec<u8>, HubError>,
) -> Result<Vec<RepositoryFile>, HubError> {
    let paths: Vec<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    let chosen = match weights {
        Weights::Safetensors => {
            let chosen = safetensors_files(&paths, &repo.label(), read_index)?;
            if chosen.is_empty() {
                return Err(HubError::NotFound { what: format!("a safetensors file of {}", repo.label()) });
            }
            chosen
        }
        Weights::Gguf(path) => {
            let chosen = gguf_parts(path);
            if let Some(missing) = chosen.iter().find(|part| !paths.contains(&part.as_str())) {
                return Err(HubError::NotFound { what: format!("{} of {}", cache::shorten(missing), repo.label()) });
            }
            chosen
        }
        Weights::Nothing => Vec::new(),
    };
    let index_is_needed = chosen.len() > 1;
    let wanted = |path: &str| match path {
        "model.safetensors.index.json" => index_is_needed,
        _ => SIDE_FILES.contains(&path) || chosen.iter().any(|weight| weight == path),
    };
    Ok(listed.iter().filter(|file| wanted(&file.path)).cloned().collect())
}

/// All parts of a GGUF file that is named `…-00001-of-00003.gguf`; else the file alone.
fn gguf_parts(path: &str) -> Vec<String> {
    let alone = || vec![path.to_owned()];
    let Some((rest, count)) = path.strip_suffix(".gguf").and_then(|stem| stem.rsplit_once("-of-")) else { return alone() };
    let Some((stem, first)) = rest.rsplit_once('-') else { return alone() };
    match (first, count.parse::<u32>()) {
        ("00001", Ok(parts)) if count.len() == 5 && (1..=1000).contains(&parts) => {
            (1..=parts).map(|part| format!("{stem}-{part:05}-of-{count}.gguf")).collect()
        }
        _ => alone(),
    }
}

/// Adds up progress over files.
pub(super) struct Meter<'a> {
    pub(super) progress: &'a mut dyn FnMut(Progress<'_>),
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Meter<'_> {
    fn report(&mut self, file: &str, file_done: u64, file_total: u64) {
        (self.progress)(Progress {
            file,
            file_done,
            file_total,
            done: self.done + file_done,
            total: self.total.max(self.done + file_total),
        });
    }

    fn finish(&mut self, bytes: u64) {
        self.done += bytes;
    }
}

/// One file to download.
struct Task<'a> {
    remote: &'a Remote,
    repo: &'a Repo,
    commit: &'a str,
    path: &'a str,
    what: &'a str,
    head: &'a FileHead,
    sha256: Option<String>,
}

fn expected_sha256(file: &RepositoryFile, head: &FileHead) -> Option<String> {
    let etag_is_sha256 = head.etag.len() == 64 && head.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    file.sha256.clone().or_else(|| etag_is_sha256.then(|| head.etag.to_ascii_lowercase()))
}

impl Task<'_> {
    /// Downloads into `part`, going on where it ends, until it is whole; checks and syncs it; gives its SHA-256.
    fn fill(&self, part: &Path, meter: &mut Meter<'_>) -> Result<String, HubError> {
        let fail = |error| HubError::disk("writing", part, error);
        let mut file = fs::File::options().create(true).read(true).append(true).open(part).map_err(fail)?;
        let mut digest = Sha256::new();
        let mut have = hash_into(&mut file, &mut digest, part)?;
        if have > self.head.size {
            file.set_len(0).map_err(fail)?;
            (have, digest) = (0, Sha256::new());
        }
        let mut fruitless = 0;
        while have < self.head.size {
            let before = have;
            match self.stream(&mut file, part, &mut have, &mut digest, meter) {
                Ok(()) => {}
                Err(failure) => {
                    fruitless = if have > before { 1 } else { fruitless + 1 };
                    self.remote.pause_or_give_up(self.what, failure, fruitless)?;
                }
            }
        }
        file.sync_all().map_err(fail)?;
        drop(file);
        let sha256 = hex::encode(digest.finalize());
        if let Err(error) = self.check(part, &sha256, have) {
            remove(part)?;
            return Err(error);
        }
        Ok(sha256)
    }

    /// One connection's worth of content.
    fn stream(&self, file: &mut fs::File, part: &Path, have: &mut u64, digest: &mut Sha256, meter: &mut Meter<'_>) -> Result<(), Failure> {
        let url = self.remote.file_url(self.repo, self.commit, self.path);
        let short = |have: u64| network(self.what, format!("the hub sent {have} of {} bytes", self.head.size));
        let Some((mut response, from)) = self.remote.open(&url, *have, self.repo, self.what)? else { return Err(short(*have)) };
        if from != *have {
            // The server knows no ranges: start over.
            file.set_len(0).map_err(|error| HubError::disk("writing", part, error))?;
            *have = 0;
            *digest = Sha256::new();
        }
        let mut buffer = vec![0; 1 << 18];
        let mut reported = *have;
        loop {
            let read = response.read(&mut buffer).map_err(|error| broken(&error, self.what))?;
            if read == 0 {
                break;
            }
            if *have + read as u64 > self.head.size {
                return Err(HubError::corrupt(self.what, format!("the hub announced {} bytes and sends more", self.head.size)).into());
            }
            if let Err(error) = file.write_all(&buffer[..read]) {
                if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
                    // What fills the disk is of no use to anyone: give the room back.
                    let _ = fs::remove_file(part);
                }
                return Err(HubError::disk("writing", part, error).into());
            }
            digest.update(&buffer[..read]);
            *have += read as u64;
            if *have - reported >= 1 << 20 || *have == self.head.size {
                meter.report(self.path, *have, self.head.size);
                reported = *have;
            }
        }
        if *have < self.head.size { Err(short(*have)) } else { Ok(()) }
    }

    /// Compares content with what the hub announced: size, SHA-256, or git's blob id.
    fn check(&self, place: &Path, sha256: &str, bytes: u64) -> Result<(), HubError> {
        if bytes != self.head.size {
            return Err(HubError::corrupt(
                self.what,
                format!("it has {bytes} bytes where the hub announced {} (truncated?)", self.head.size),
            ));
        }
        if let Some(expected) = self.sha256.as_ref().filter(|expected| *expected != sha256) {
            return Err(HubError::corrupt(self.what, format!("its SHA-256 is {sha256} where the hub announced {expected}; try again")));
        }
        if self.sha256.is_none() && is_commit(&self.head.etag) {
            let told = git2::Oid::hash_file(git2::ObjectType::Blob, place)
                .map_err(|error| HubError::corrupt(self.what, error.message().to_owned()))?;
            if told.to_string() != self.head.etag {
                return Err(HubError::corrupt(
                    self.what,
                    format!("its git blob id is {told} where the hub announced {}; try again", self.head.etag),
                ));
            }
        }
        Ok(())
    }
}

/// Hashes what a file holds; gives its length. The handle then stands at the end.
fn hash_into(file: &mut fs::File, digest: &mut Sha256, path: &Path) -> Result<u64, HubError> {
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    // A device has no end.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(0);
    }
    loop {
        let read = file.read(&mut buffer).map_err(|error| HubError::disk("reading", path, error))?;
        if read == 0 {
            return Ok(length);
        }
        digest.update(&buffer[..read]);
        length += read as u64;
    }
}

fn hash_if_present(place: &Path, path: &str, meter: &mut Meter<'_>) -> Result<Option<LocalFile>, HubError> {
    let mut file = match fs::File::open(place) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(HubError::disk("opening", place, error)),
    };
    let mut digest = Sha256::new();
    let bytes = hash_into(&mut file, &mut digest, place)?;
    meter.report(path, bytes, bytes);
    Ok(Some(LocalFile { path: path.to_owned(), bytes, sha256: hex::encode(digest.finalize()) }))
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(HubError::disk("removing", path, error)),
        _ => Ok(()),
    }
}

/// Makes `snapshots/<commit>/<path>` a relative link to its blob, in one step.
fn link(pointer: &Path, blob: &Path, path: &str) -> Result<(), HubError> {
    let folder = pointer.parent().unwrap_or(Path::new("."));
    create_dir(folder)?;
    let fail = |error| HubError::disk("linking", pointer, error);
    let depth = path.matches('/').count();
    let target = Path::new(&"../".repeat(depth + 2)).join("blobs").join(blob.file_name().unwrap_or_default());
    let staging = tempfile::Builder::new().prefix(".link-").make_in(folder, |staged| place_link(&target, blob, staged)).map_err(fail)?;
    staging.into_temp_path().persist(pointer).map_err(|error| fail(error.error))?;
    sync_dir(folder)
}

#[cfg(unix)]
fn place_link(target: &Path, _blob: &Path, staged: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, staged)
}

/// Where links need privileges the file itself is copied, as `huggingface_hub` does.
#[cfg(not(unix))]
fn place_link(_target: &Path, blob: &Path, staged: &Path) -> std::io::Result<()> {
    fs::copy(blob, staged).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A split GGUF file is fetched whole; any other name stands for itself.
    #[test]
    fn gguf_parts_are_found() {
        assert_eq!(gguf_parts("q/m-00001-of-00002.gguf"), ["q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf"]);
        for alone in ["m.gguf", "m-00002-of-00003.gguf", "m-00001-of-99999.gguf", "m-1-of-2.gguf", "out-of-time.gguf"] {
            assert_eq!(gguf_parts(alone), [alone]);
        }
    }

    /// A model in a plain folder is found without hub or cache, and its commit depends on its content.
    #[test]
    fn a_plain_folder_is_a_model() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo");
        let model = model_in_folder(&folder, "slm-benchmark/demo-1m", &Weights::Safetensors).unwrap();
        assert!(is_commit(&model.commit));
        assert_eq!(model.weights().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["model.safetensors"]);
        assert!(model.files.iter().any(|file| file.path == "tokenizer.json"));
        let facts = super::super::facts_of_folder(&folder, "slm-benchmark/demo-1m", &model.commit).unwrap();
        assert_eq!(facts.safetensors_parameters, Some(1_262_720));
        assert_eq!((facts.license.as_deref(), facts.model_type()), (Some("apache-2.0"), Some("llama")));
        let error = model_in_folder(&folder, "slm-benchmark/demo-1m", &Weights::Gguf("x.gguf".to_owned())).unwrap_err();
        assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    }
}
