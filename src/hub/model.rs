//! Facts about a model at a revision: from the hub's API, or from a cache or a folder alone.

use super::cache::{Repo, RepoKind, check_path, files_below, has_suffix, is_commit, shorten};
use super::error::HubError;
use super::facts::{GatedAccess, ModelFacts, RepositoryFile};
use super::http::{Remote, read_body};
use super::{Hub, gguf, parameters, safetensors};
use reqwest::Method;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest `config.json` and model card that are read, in bytes.
const MAX_SMALL_FILE: u64 = 8 << 20;
/// Longest index of shards, in bytes.
const MAX_INDEX: u64 = 32 << 20;
/// Most files in a repository.
const MAX_FILES: usize = 100_000;
/// Bytes of a safetensors file that the first request asks for: the length and, mostly, the whole header.
const FIRST_READ: u64 = 64 << 10;

/// Of which GGUF files a caller wants the headers read (a repository can hold dozens, each with some mebibytes of vocabulary).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufFiles<'a> {
    /// None of them.
    None,
    /// These paths; one that the repository lacks is an error.
    Only(&'a [String]),
    /// All that the repository has.
    All,
}

/// What a GGUF header says beside its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufSummary {
    /// `general.architecture` (`llama`, `qwen2`, …).
    pub architecture: Option<String>,
    /// Longest context in tokens.
    pub context_length: Option<u64>,
    /// `general.license`, where the author filled it in.
    pub license: Option<String>,
}

/// A file whose header can be read: on the hub or on disk.
trait Source {
    /// Bytes from `begin` on, at most `length`, and the size of the whole file.
    fn read(&self, begin: u64, length: u64) -> Result<(Vec<u8>, u64), HubError>;
}

struct OnDisk {
    path: PathBuf,
}

impl Source for OnDisk {
    fn read(&self, begin: u64, length: u64) -> Result<(Vec<u8>, u64), HubError> {
        let fail = |error| HubError::disk("reading", &self.path, error);
        let mut file = fs::File::open(&self.path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        file.seek(SeekFrom::Start(begin)).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(fail)?;
        Ok((bytes, size))
    }
}

struct OnHub<'a> {
    remote: &'a Remote,
    repo: &'a Repo,
    commit: &'a str,
    path: &'a str,
}

impl Source for OnHub<'_> {
    fn read(&self, begin: u64, length: u64) -> Result<(Vec<u8>, u64), HubError> {
        let url = self.remote.file_url(self.repo, self.commit, self.path);
        self.remote.range(&url, begin, length, self.repo, &format!("{} of {}", self.path, self.repo.label()))
    }
}

/// Where the files of one commit can be read: on the hub, or below a folder.
enum Place<'a> {
    Hub { remote: &'a Remote, repo: &'a Repo, commit: &'a str },
    Folder(&'a Path),
}

impl Place<'_> {
    fn source<'a>(&'a self, path: &'a str) -> Result<Box<dyn Source + 'a>, HubError> {
        check_path(path)?;
        Ok(match self {
            Self::Hub { remote, repo, commit } => Box::new(OnHub { remote, repo, commit, path }),
            Self::Folder(folder) => Box::new(OnDisk { path: folder.join(path) }),
        })
    }

    /// The whole of a small file.
    fn content(&self, path: &str, longest: u64, what: &str) -> Result<Vec<u8>, HubError> {
        check_path(path)?;
        match self {
            Self::Hub { remote, repo, commit } => remote.content(repo, commit, path, longest),
            Self::Folder(folder) => {
                let place = folder.join(path);
                let mut bytes = Vec::new();
                let file = fs::File::open(&place).map_err(|error| HubError::disk("opening", &place, error))?;
                file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| HubError::disk("reading", &place, error))?;
                if bytes.len() as u64 > longest {
                    return Err(HubError::corrupt(format!("{path} of {what}"), format!("it is longer than {longest} bytes")));
                }
                Ok(bytes)
            }
        }
    }
}

impl Remote {
    /// The whole of a small file, kept in memory.
    pub(super) fn content(&self, repo: &Repo, commit: &str, path: &str, longest: u64) -> Result<Vec<u8>, HubError> {
        let what = format!("{path} of {}", repo.label());
        let url = self.file_url(repo, commit, path);
        self.with_retries(&what, || {
            let (response, _) = self.open(&url, 0, repo, &what)?.ok_or_else(|| HubError::NotFound { what: what.clone() })?;
            read_body(response, longest, &what)
        })
    }

    /// What the hub says about a repository at a revision, and its files.
    pub(super) fn listing(&self, repo: &Repo, revision: &str) -> Result<Listing, HubError> {
        let what = format!("{} at revision {}", repo.label(), shorten(revision));
        let (info, _) = self.json(&self.api_url(repo, &["revision", revision]), repo, &what)?;
        let answer = || format!("the hub's answer for {what}");
        let commit = info.get("sha").and_then(Value::as_str).filter(|sha| is_commit(sha)).map(str::to_owned);
        let commit = commit.ok_or_else(|| HubError::corrupt(answer(), "it names no commit"))?;
        let mut files = BTreeMap::new();
        let mut next = Some(self.api_url(repo, &["tree", &commit]));
        if let Some(url) = &mut next {
            url.query_pairs_mut().append_pair("recursive", "true");
        }
        while let Some(url) = next {
            let (page, headers) = self.json(&url, repo, &what)?;
            let entries = page.as_array().ok_or_else(|| HubError::corrupt(answer(), "its list of files is no list"))?;
            for entry in entries.iter().filter(|entry| entry.get("type").and_then(Value::as_str) == Some("file")) {
                let file = listed_file(entry).ok_or_else(|| HubError::corrupt(answer(), "a file in its list has no path"))?;
                files.insert(file.path.clone(), file);
            }
            if files.len() > MAX_FILES {
                return Err(HubError::unsupported(what, format!("it has more than {MAX_FILES} files")));
            }
            next = next_page(&headers)
                .map(|link| url.join(&link).map_err(|_| HubError::corrupt(answer(), "its Link header is no address")))
                .transpose()?;
            // A page that adds nothing, or leads elsewhere, would go on for ever or carry the token away.
            if next.as_ref().is_some_and(|following| entries.is_empty() || *following == url || !self.is_endpoint(following)) {
                return Err(HubError::corrupt(answer(), "its Link header leads nowhere"));
            }
        }
        Ok(Listing { commit, info, files: files.into_values().collect() })
    }
}

/// A repository at a commit, as the hub tells it.
pub(super) struct Listing {
    pub(super) commit: String,
    /// The answer of `/api/<kind>s/<repo>/revision/<revision>`.
    pub(super) info: Value,
    /// Sorted by path.
    pub(super) files: Vec<RepositoryFile>,
}

fn listed_file(entry: &Value) -> Option<RepositoryFile> {
    let sha256 = entry.pointer("/lfs/oid").and_then(Value::as_str).map(|oid| oid.trim_start_matches("sha256:").to_ascii_lowercase());
    Some(RepositoryFile {
        path: entry.get("path")?.as_str()?.to_owned(),
        size: entry.pointer("/lfs/size").or_else(|| entry.get("size")).and_then(Value::as_u64),
        sha256: sha256.filter(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())),
    })
}

/// The address of the next page in a `Link` header (RFC 8288).
fn next_page(headers: &reqwest::header::HeaderMap) -> Option<String> {
    headers.get_all(reqwest::header::LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        text.split(',').find_map(|link| {
            let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
            is_next.then(|| address.to_owned())
        })
    })
}

impl Hub {
    /// What the hub (or, offline, the cache) says about a model at a revision (`None`: `main`), with its measured number of parameters.
    /// No weights are downloaded: headers are read by range requests.
    ///
    /// Offline, the cache tells files, configuration, licence and headers; `private` and `disabled` are then false and `gated` open, for
    /// whoever filled the cache had access. A gated repository without access has no configuration and no measured numbers.
    ///
    /// # Errors
    /// Any [`HubError`]; [`HubError::Corrupt`] or [`HubError::Unsupported`] when a weight file's header lies or is packed in an unknown way.
    pub fn model_facts(&self, repo: &str, revision: Option<&str>, gguf: GgufFiles<'_>) -> Result<ModelFacts, HubError> {
        let repo = Repo::new(RepoKind::Model, repo)?;
        let revision = revision.unwrap_or("main");
        super::cache::check_revision(revision)?;
        let Some(remote) = &self.remote else {
            let commit = self.cached_commit(&repo, revision)?;
            let facts = facts_below(&self.cache.snapshot_dir(&repo, &commit), &repo.name, &commit, gguf);
            return facts.map_err(|error| self.not_cached(error));
        };
        let listing = remote.listing(&repo, revision)?;
        let flag = |name: &str| listing.info.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut facts = ModelFacts {
            repo: listing.info.get("id").and_then(Value::as_str).unwrap_or(&repo.name).to_owned(),
            private: flag("private"),
            disabled: flag("disabled"),
            gated: gated_access(remote, &repo, &listing)?,
            license: license_of_info(&listing.info),
            config: None,
            safetensors_parameters: None,
            gguf_parameters: BTreeMap::new(),
            commit: listing.commit,
            files: listing.files,
        };
        if !facts.disabled && facts.gated != GatedAccess::GatedWithoutAccess {
            let commit = facts.commit.clone();
            read_contents(&Place::Hub { remote, repo: &repo, commit: &commit }, &mut facts, gguf)?;
        }
        Ok(facts)
    }

    /// What the header of a GGUF file says beside its tensors.
    ///
    /// # Errors
    /// As [`Self::model_facts`].
    pub fn gguf_summary(&self, repo: &str, revision: &str, path: &str) -> Result<GgufSummary, HubError> {
        let repo = Repo::new(RepoKind::Model, repo)?;
        let what = format!("{path} of {}", repo.label());
        let header = if let Some(remote) = &self.remote {
            super::cache::check_revision(revision)?;
            read_gguf(&*Place::Hub { remote, repo: &repo, commit: revision }.source(path)?, &what)?
        } else {
            let commit = self.cached_commit(&repo, revision)?;
            read_gguf(&*Place::Folder(&self.cache.snapshot_dir(&repo, &commit)).source(path)?, &what)?
        };
        let license = header.metadata.get("general.license").cloned();
        Ok(GgufSummary { architecture: header.architecture().map(str::to_owned), context_length: header.context_length(), license })
    }

    /// In a cache, what is not there has not been downloaded yet.
    pub(super) fn not_cached(&self, error: HubError) -> HubError {
        match error {
            HubError::NotFound { what } => HubError::Offline { what, cache: self.cache.root.clone() },
            HubError::MissingShard { what, file } => {
                HubError::Offline { what: format!("{file} of {what}"), cache: self.cache.root.clone() }
            }
            other => other,
        }
    }

    /// The cached commit of a revision; missing is an [`HubError::Offline`].
    pub(super) fn cached_commit(&self, repo: &Repo, revision: &str) -> Result<String, HubError> {
        let missing =
            || HubError::Offline { what: format!("{} at revision {}", repo.label(), shorten(revision)), cache: self.cache.root.clone() };
        self.cache.commit_of(repo, revision)?.ok_or_else(missing)
    }
}

/// Facts about a model in a plain folder (not a cache), for a model that comes with the program or lies on disk.
/// `repo` and `commit` are recorded as given.
///
/// # Errors
/// [`HubError::Disk`], [`HubError::Corrupt`] or [`HubError::Unsupported`].
pub fn facts_of_folder(folder: &Path, repo: &str, commit: &str) -> Result<ModelFacts, HubError> {
    facts_below(folder, repo, commit, GgufFiles::All)
}

fn facts_below(folder: &Path, repo: &str, commit: &str, gguf: GgufFiles<'_>) -> Result<ModelFacts, HubError> {
    let files = files_below(folder)?.into_iter().map(|(path, place, size)| RepositoryFile {
        path,
        size: Some(size),
        sha256: digest_of_link(&place),
    });
    let place = Place::Folder(folder);
    let mut facts = ModelFacts {
        repo: repo.to_owned(),
        commit: commit.to_owned(),
        private: false,
        disabled: false,
        gated: GatedAccess::Open,
        license: None,
        files: files.collect(),
        config: None,
        safetensors_parameters: None,
        gguf_parameters: BTreeMap::new(),
    };
    if facts.files.iter().any(|file| file.path == "README.md") {
        let card = place.content("README.md", MAX_SMALL_FILE, repo)?;
        facts.license = license_of_card(&String::from_utf8_lossy(&card));
    }
    read_contents(&place, &mut facts, gguf)?;
    Ok(facts)
}

/// The SHA-256 that the name of a cached blob tells, where the file is a link to one.
fn digest_of_link(place: &Path) -> Option<String> {
    let target = fs::read_link(place).ok()?;
    let name = target.file_name()?.to_str()?;
    (name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| name.to_ascii_lowercase())
}

/// Reads configuration and headers into the facts.
fn read_contents(place: &Place<'_>, facts: &mut ModelFacts, gguf: GgufFiles<'_>) -> Result<(), HubError> {
    let what = format!("model {}", facts.repo);
    let has = |path: &str| facts.files.iter().any(|file| file.path == path);
    if has("config.json") {
        let text = place.content("config.json", MAX_SMALL_FILE, &what)?;
        let config = serde_json::from_slice(&text);
        let config: Value =
            config.map_err(|error| HubError::corrupt(format!("config.json of {what}"), format!("it is no JSON: {error}")))?;
        facts.config = Some(config);
    }
    let paths: Vec<&str> = facts.files.iter().map(|file| file.path.as_str()).collect();
    let weights = safetensors_files(&paths, &what, |index| place.content(index, MAX_INDEX, &what))?;
    if !weights.is_empty() {
        let mut tensors = Vec::new();
        for path in &weights {
            tensors.extend(read_safetensors(&*place.source(path)?, &format!("{path} of {what}"))?);
        }
        facts.safetensors_parameters = Some(parameters::of_safetensors(&tensors, facts.config.as_ref(), &what)?);
    }
    let measured: Vec<String> = match gguf {
        GgufFiles::None => Vec::new(),
        GgufFiles::All => paths.iter().filter(|path| has_suffix(path, ".gguf")).map(|path| (*path).to_owned()).collect(),
        GgufFiles::Only(wanted) => {
            if let Some(missing) = wanted.iter().find(|path| !has(path)) {
                return Err(HubError::NotFound { what: format!("{} of {what}", shorten(missing)) });
            }
            wanted.to_vec()
        }
    };
    for path in measured {
        let label = format!("{path} of {what}");
        let header = read_gguf(&*place.source(&path)?, &label)?;
        facts.gguf_parameters.insert(path, parameters::of_gguf(&header, facts.config.as_ref(), &label)?);
    }
    Ok(())
}

/// The safetensors files that make up the model, in order: `model.safetensors`, else the shards of `model.safetensors.index.json`, else all in the
/// top folder that are not adapters or a second copy (`consolidated…`). `read_index` gives the index's content.
pub(super) fn safetensors_files(
    paths: &[&str],
    what: &str,
    read_index: impl FnOnce(&str) -> Result<Vec<u8>, HubError>,
) -> Result<Vec<String>, HubError> {
    const INDEX: &str = "model.safetensors.index.json";
    if paths.contains(&"model.safetensors") {
        return Ok(vec!["model.safetensors".to_owned()]);
    }
    if !paths.contains(&INDEX) {
        let other_copy = |path: &str| path.starts_with("adapter") || path.starts_with("consolidated");
        let top = paths.iter().filter(|path| !path.contains('/') && has_suffix(path, ".safetensors") && !other_copy(path));
        return Ok(top.map(|path| (*path).to_owned()).collect());
    }
    let wrong = |reason: String| HubError::corrupt(format!("{INDEX} of {what}"), reason);
    let index: Value = serde_json::from_slice(&read_index(INDEX)?).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    let map = index.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| wrong("it has no weight_map".to_owned()))?;
    let mut shards = BTreeSet::new();
    for (tensor, shard) in map {
        let shard = shard.as_str().ok_or_else(|| wrong(format!("the tensor {:?} has no file name", shorten(tensor))))?;
        if !paths.contains(&shard) {
            return Err(HubError::MissingShard { what: what.to_owned(), file: shorten(shard) });
        }
        shards.insert(shard.to_owned());
    }
    Ok(shards.into_iter().collect())
}

/// Reads and checks the header of a safetensors file.
fn read_safetensors(source: &dyn Source, what: &str) -> Result<Vec<safetensors::Tensor>, HubError> {
    let (mut bytes, size) = source.read(0, FIRST_READ)?;
    let Some(first) = bytes.first_chunk::<8>() else {
        return Err(HubError::corrupt(what, format!("it has {size} bytes, too few for a header (truncated?)")));
    };
    let end = 8 + safetensors::header_length(*first, size, what)?;
    let have = bytes.len() as u64;
    if have < end {
        let (rest, later_size) = source.read(have, end - have)?;
        bytes.extend(rest);
        if later_size != size || (bytes.len() as u64) < end {
            return Err(HubError::corrupt(what, "it changed while it was read"));
        }
    }
    let end_index = usize::try_from(end).unwrap_or(usize::MAX);
    safetensors::parse(&bytes[8..end_index.min(bytes.len())], size - end, what)
}

/// Reads and checks the header of a GGUF file, in growing steps.
fn read_gguf(source: &dyn Source, what: &str) -> Result<gguf::Header, HubError> {
    let (mut bytes, size) = source.read(0, gguf::FIRST_STEP)?;
    loop {
        match gguf::parse(&bytes, size, what) {
            Ok(header) => return Ok(header),
            Err(gguf::Stop::Wrong(error)) => return Err(error),
            Err(gguf::Stop::NeedMore) => {}
        }
        let have = bytes.len() as u64;
        if have >= size {
            return Err(HubError::corrupt(what, format!("it has {size} bytes and ends inside of its header (truncated?)")));
        }
        if have >= gguf::MAX_HEADER {
            return Err(HubError::corrupt(what, format!("its header is longer than the {} bytes that are read", gguf::MAX_HEADER)));
        }
        let (more, _) = source.read(have, (have * 3).min(gguf::MAX_HEADER - have))?;
        if more.is_empty() {
            return Err(HubError::corrupt(what, "it changed while it was read"));
        }
        bytes.extend(more);
    }
}

/// Whether terms must be accepted first, by the hub's answer about a repository.
pub(super) fn is_gated(info: &Value) -> bool {
    match info.get("gated") {
        Some(Value::Bool(gated)) => *gated,
        Some(Value::String(kind)) => matches!(kind.as_str(), "auto" | "manual"),
        _ => false,
    }
}

/// Whether the repository is gated, and whether a file of it can be had.
fn gated_access(remote: &Remote, repo: &Repo, listing: &Listing) -> Result<GatedAccess, HubError> {
    if !is_gated(&listing.info) {
        return Ok(GatedAccess::Open);
    }
    // The card and git's own files are public in a gated repository, so another file tells.
    let telling = listing.files.iter().map(|file| file.path.as_str()).filter(|path| check_path(path).is_ok());
    let telling = telling.filter(|path| !matches!(*path, "README.md" | ".gitattributes")).min_by_key(|path| *path != "config.json");
    let Some(path) = telling else { return Ok(GatedAccess::GatedWithAccess) };
    match remote.can_read(repo, &listing.commit, path) {
        Ok(()) => Ok(GatedAccess::GatedWithAccess),
        Err(HubError::Gated { .. } | HubError::Unauthorized { .. } | HubError::NotFound { .. }) => Ok(GatedAccess::GatedWithoutAccess),
        Err(other) => Err(other),
    }
}

impl Remote {
    /// Whether a file can be had, without reading it.
    fn can_read(&self, repo: &Repo, commit: &str, path: &str) -> Result<(), HubError> {
        let what = format!("{path} of {}", repo.label());
        let url = self.file_url(repo, commit, path);
        self.with_retries(&what, || self.probe(&Method::HEAD, &url, repo, &what))
    }
}

/// Licence id of the hub's answer: the card's, else the tag `license:…`.
fn license_of_info(info: &Value) -> Option<String> {
    let tag =
        || info.get("tags")?.as_array()?.iter().filter_map(Value::as_str).find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned);
    info.pointer("/cardData/license").and_then(single_text).or_else(tag)
}

fn single_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) if items.len() == 1 => single_text(&items[0]),
        _ => None,
    }
}

/// Licence id in the front matter of a model card: YAML between two lines `---` at the beginning.
fn license_of_card(card: &str) -> Option<String> {
    let rest = card.trim_start_matches('\u{feff}').strip_prefix("---")?.trim_start_matches([' ', '\r']).strip_prefix('\n')?;
    let end = rest
        .lines()
        .scan(0, |at, line| Some((std::mem::replace(at, *at + line.len() + 1), line)))
        .find(|(_, line)| line.trim_end() == "---")?
        .0;
    let front = rest.get(..end.min(rest.len())).filter(|front| front.len() <= 1 << 16)?;
    let front: Value = serde_yaml::from_str(front).ok()?;
    front.get("license").and_then(single_text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The licence is found in front matter with any line ends, and nowhere else.
    #[test]
    fn license_of_a_card() {
        assert_eq!(license_of_card("---\nlicense: apache-2.0\ntags: [a]\n---\n# x\n").as_deref(), Some("apache-2.0"));
        assert_eq!(license_of_card("---\r\ntags: [a]\r\nlicense: mit\r\n---\r\n# x").as_deref(), Some("mit"));
        assert_eq!(license_of_card("---\nlicense: [mit]\n---\n").as_deref(), Some("mit"));
        for without in ["", "# x\nlicense: mit", "---\nlicense: mit\n", "---\n---\n", "---\n: [\n---\n", "---\nlicense: [a, b]\n---\n"] {
            assert_eq!(license_of_card(without), None, "{without:?}");
        }
    }

    /// The card's licence goes before the tag.
    #[test]
    fn license_of_the_hubs_answer() {
        assert_eq!(license_of_info(&json!({"cardData": {"license": "mit"}, "tags": ["license:other"]})).as_deref(), Some("mit"));
        assert_eq!(license_of_info(&json!({"tags": ["x", "license:bsd-3-clause"]})).as_deref(), Some("bsd-3-clause"));
        assert_eq!(license_of_info(&json!({})), None);
    }

    /// One file goes before an index, an index before loose files; adapters and second copies never count.
    #[test]
    fn weight_files_are_chosen_as_loaders_choose() {
        let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        let chosen = |paths: &[&str]| safetensors_files(paths, "m", |_| Ok(index.to_vec()));
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(
            chosen(&["adapter_model.safetensors", "consolidated.safetensors", "model.safetensors", shards[0]]).unwrap(),
            ["model.safetensors"]
        );
        assert_eq!(chosen(&["model.safetensors.index.json", shards[0], shards[1], "other.safetensors"]).unwrap(), shards);
        assert_eq!(chosen(&["consolidated.safetensors", "weights.safetensors", "sub/x.safetensors"]).unwrap(), ["weights.safetensors"]);
        assert!(chosen(&["model.safetensors.index.json", shards[0]]).unwrap_err().to_string().contains("not there"));
        assert!(chosen(&["config.json"]).unwrap().is_empty());
    }
}
