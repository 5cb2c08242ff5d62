//! A hub on this machine: it speaks the parts of the hub's API that the program uses, from files in memory, with faults on demand.
//!
//! Two ports: the hub itself (API, small files, redirects) and a storage host that large files are redirected to, as the real hub does.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a request asked for, as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `hub` or `storage`.
    pub(super) host: &'static str,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// An answer with this status and these headers, and no content.
    Status(u16, Vec<(&'static str, String)>),
    /// The connection closes after this many bytes of the content.
    DropAfter(usize),
    /// After this many bytes of the content the connection stays open and silent.
    StallAfter(usize),
    /// One byte of the content is another one.
    WrongByte,
    /// The content ends early, and the answer's length says so too.
    Truncate(usize),
    /// The server does not know ranges.
    NoRanges,
}

struct Pending {
    /// The fault strikes requests whose host and target contain these.
    host: &'static str,
    part: String,
    times: usize,
    fault: Fault,
}

/// A file with its hashes, computed once.
#[derive(Clone)]
pub(super) struct Content {
    bytes: Arc<Vec<u8>>,
    sha256: String,
    blob_id: String,
}

impl Content {
    fn new(bytes: &[u8]) -> Self {
        let blob_id = git2::Oid::hash_object(git2::ObjectType::Blob, bytes).unwrap().to_string();
        Self { sha256: hex::encode(Sha256::digest(bytes)), blob_id, bytes: Arc::new(bytes.to_vec()) }
    }
}

/// A repository.
#[derive(Clone, Default)]
pub(super) struct Repository {
    /// Fields of the info answer beside `id` and `sha`.
    pub(super) info: Value,
    /// Files by revision name (`main`, `refs/convert/parquet`); the commit follows from the content.
    pub(super) branches: BTreeMap<String, BTreeMap<String, Content>>,
    /// Files are given only to this token.
    pub(super) needs_token: Option<String>,
    /// The repository hides from those without the token.
    pub(super) hidden: bool,
}

impl Repository {
    /// A public repository with these files on `main`.
    pub(super) fn new(files: &[(&str, &[u8])]) -> Self {
        Self { info: json!({"gated": false, "private": false, "disabled": false, "tags": []}), ..Self::default() }.branch("main", files)
    }

    pub(super) fn branch(mut self, name: &str, files: &[(&str, &[u8])]) -> Self {
        self.branches.insert(name.to_owned(), files.iter().map(|(path, content)| ((*path).to_owned(), Content::new(content))).collect());
        self
    }

    pub(super) fn info(mut self, key: &str, value: Value) -> Self {
        self.info[key] = value;
        self
    }

    /// The commit id of a branch: it changes with the content.
    pub(super) fn commit(&self, branch: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(branch);
        for (path, content) in &self.branches[branch] {
            digest.update(path);
            digest.update(&content.blob_id);
        }
        hex::encode(digest.finalize())[..40].to_owned()
    }

    fn find(&self, revision: &str) -> Option<(String, &BTreeMap<String, Content>)> {
        self.branches.iter().find_map(|(name, files)| {
            let commit = self.commit(name);
            (name == revision || commit == revision).then_some((commit, files))
        })
    }
}

#[derive(Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    storage: BTreeMap<String, Arc<Vec<u8>>>,
    storage_address: String,
    faults: Vec<Pending>,
    seen: Vec<Seen>,
    content_bytes: u64,
}

/// The running stand-in. Its threads end with the test process.
pub(super) struct StandIn {
    pub(super) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl StandIn {
    pub(super) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let storage = listen(&state, "storage", answer_storage);
        state.lock().unwrap().storage_address = storage;
        let endpoint = listen(&state, "hub", answer_hub);
        Self { endpoint, state }
    }

    /// Puts a repository on the hub: `models/owner/name` or `datasets/owner/name`.
    pub(super) fn put(&self, place: &str, repository: Repository) {
        self.state.lock().unwrap().repositories.insert(place.to_owned(), repository);
    }

    /// The next `times` requests to `host` whose target contains `part` meet a fault.
    pub(super) fn fault(&self, host: &'static str, part: &str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push(Pending { host, part: part.to_owned(), times, fault });
    }

    pub(super) fn clear_faults(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// All requests since the last call.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    /// Bytes of content sent since the last call.
    pub(super) fn content_bytes(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap().content_bytes)
    }
}

type Answerer = fn(&Arc<Mutex<State>>, &Seen) -> Answer;

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
}

impl Answer {
    fn new(status: u16, headers: &[(&str, &str)], content: Vec<u8>) -> Self {
        Self { status, headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(), content }
    }

    fn json(value: &Value) -> Self {
        Self::new(200, &[("content-type", "application/json")], value.to_string().into_bytes())
    }

    fn refused(status: u16, code: &str) -> Self {
        Self::new(status, &[("x-error-code", code), ("x-error-message", "stand-in says no")], Vec::new())
    }
}

fn listen(state: &Arc<Mutex<State>>, host: &'static str, answerer: Answerer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || serve(&state, host, answerer, stream));
        }
    });
    address
}

/// One request, one answer, then the connection closes.
fn serve(state: &Arc<Mutex<State>>, host: &'static str, answerer: Answerer, stream: TcpStream) {
    let Some(seen) = read_request(host, &stream) else { return };
    let fault = take_fault(state, &seen);
    lock(state).seen.push(seen.clone());
    let mut answer = match &fault {
        Some(Fault::Status(status, headers)) => {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Answer::new(*status, &headers, Vec::new())
        }
        _ => answerer(state, &seen),
    };
    if let Some(Fault::WrongByte) = fault
        && let Some(byte) = answer.content.get_mut(100)
    {
        *byte ^= 1;
    }
    if let Some(Fault::Truncate(length)) = fault {
        answer.content.truncate(length);
    }
    let mut cut = answer.content.len();
    if answer.status == 200
        && answer.headers.iter().any(|(name, _)| name == "accept-ranges")
        && !matches!(fault, Some(Fault::NoRanges))
        && let Some((begin, end)) = seen.header("range").and_then(range_of)
    {
        let total = answer.content.len();
        if begin >= total {
            answer = Answer::new(416, &[("content-range", &format!("bytes */{total}"))], Vec::new());
        } else {
            let end = end.map_or(total, |end| (end + 1).min(total));
            answer.content = answer.content[begin..end].to_vec();
            answer.headers.push(("content-range".to_owned(), format!("bytes {begin}-{}/{total}", end - 1)));
            answer.status = 206;
        }
        cut = answer.content.len();
    }
    if let Some(Fault::DropAfter(bytes) | Fault::StallAfter(bytes)) = fault {
        cut = cut.min(bytes);
    }
    let fields: String = answer.headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let head =
        format!("HTTP/1.1 {} Stand-In\r\ncontent-length: {}\r\nconnection: close\r\n{fields}\r\n", answer.status, answer.content.len());
    let mut stream = stream;
    // The client may have gone: that is its right.
    let _ = stream.write_all(head.as_bytes());
    if seen.method != "HEAD" && stream.write_all(&answer.content[..cut]).is_ok() {
        lock(state).content_bytes += cut as u64;
    }
    let _ = stream.flush();
    if matches!(fault, Some(Fault::StallAfter(_))) {
        std::thread::sleep(Duration::from_mins(10));
    }
}

fn read_request(host: &'static str, stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Seen { host, method, target, headers })
}

fn take_fault(state: &Arc<Mutex<State>>, seen: &Seen) -> Option<Fault> {
    let mut state = lock(state);
    let pending =
        state.faults.iter_mut().find(|pending| pending.times > 0 && pending.host == seen.host && seen.target.contains(&pending.part))?;
    pending.times -= 1;
    Some(pending.fault.clone())
}

fn lock(state: &Arc<Mutex<State>>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn range_of(header: &str) -> Option<(usize, Option<usize>)> {
    let (begin, end) = header.strip_prefix("bytes=")?.split_once('-')?;
    Some((begin.parse().ok()?, end.parse().ok()))
}

fn answer_storage(state: &Arc<Mutex<State>>, seen: &Seen) -> Answer {
    let key = seen.target.rsplit('/').next().unwrap_or_default();
    match lock(state).storage.get(key) {
        Some(content) => Answer::new(200, &[("accept-ranges", "bytes"), ("etag", "\"the-storage-hosts-own-tag\"")], content.to_vec()),
        None => Answer::refused(404, ""),
    }
}

fn answer_hub(state: &Arc<Mutex<State>>, seen: &Seen) -> Answer {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let segments: Vec<String> = path.trim_start_matches('/').split('/').map(|segment| segment.replace("%2F", "/")).collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api", kind, owner, name, "revision", revision] => info(state, seen, &format!("{kind}/{owner}/{name}"), revision),
        ["api", kind, owner, name, "tree", revision] => tree(state, seen, &format!("{kind}/{owner}/{name}"), revision, path, query),
        ["datasets", owner, name, "resolve", revision, file @ ..] => {
            content(state, seen, &format!("datasets/{owner}/{name}"), revision, &file.join("/"))
        }
        [owner, name, "resolve", revision, file @ ..] => content(state, seen, &format!("models/{owner}/{name}"), revision, &file.join("/")),
        _ => Answer::refused(404, ""),
    }
}

fn has_token(repository: &Repository, seen: &Seen) -> bool {
    repository.needs_token.as_ref().is_none_or(|token| seen.header("authorization") == Some(&format!("Bearer {token}")))
}

fn visible(state: &Arc<Mutex<State>>, seen: &Seen, place: &str) -> Result<Repository, Answer> {
    let repository = lock(state).repositories.get(place).cloned();
    repository.filter(|repository| !repository.hidden || has_token(repository, seen)).ok_or_else(|| Answer::refused(401, "RepoNotFound"))
}

fn info(state: &Arc<Mutex<State>>, seen: &Seen, place: &str, revision: &str) -> Answer {
    let repository = match visible(state, seen, place) {
        Ok(repository) => repository,
        Err(answer) => return answer,
    };
    let Some((commit, _)) = repository.find(revision) else { return Answer::refused(404, "RevisionNotFound") };
    let mut info = repository.info.clone();
    info["id"] = json!(place.split_once('/').unwrap().1);
    info["sha"] = json!(commit);
    Answer::json(&info)
}

/// Files that the real hub keeps in large-file storage.
fn is_large(path: &str) -> bool {
    [".safetensors", ".gguf", ".parquet"].iter().any(|end| path.ends_with(end))
}

/// Two files a page, so that every listing of more needs the next page.
fn tree(state: &Arc<Mutex<State>>, seen: &Seen, place: &str, revision: &str, path: &str, query: &str) -> Answer {
    let repository = match visible(state, seen, place) {
        Ok(repository) => repository,
        Err(answer) => return answer,
    };
    let Some((_, files)) = repository.find(revision) else { return Answer::refused(404, "RevisionNotFound") };
    assert!(query.contains("recursive=true"), "the listing is asked for in one go");
    let at: usize = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")).map_or(0, |cursor| cursor.parse().unwrap());
    let mut entries = vec![json!({"type": "directory", "path": "somewhere", "oid": "0", "size": 0})];
    for (path, content) in files.iter().skip(at).take(2) {
        let mut entry = json!({"type": "file", "path": path, "size": content.bytes.len(), "oid": content.blob_id});
        if is_large(path) {
            entry["lfs"] = json!({"oid": content.sha256, "size": content.bytes.len(), "pointerSize": 130});
        }
        entries.push(entry);
    }
    let mut answer = Answer::json(&Value::Array(entries));
    if at + 2 < files.len() {
        let address = format!("http://{}{path}?recursive=true&cursor={}", seen.header("host").unwrap(), at + 2);
        answer.headers.push(("link".to_owned(), format!("<{address}>; rel=\"next\"")));
    }
    answer
}

fn content(state: &Arc<Mutex<State>>, seen: &Seen, place: &str, revision: &str, path: &str) -> Answer {
    let repository = match visible(state, seen, place) {
        Ok(repository) => repository,
        Err(answer) => return answer,
    };
    if !has_token(&repository, seen) {
        return Answer::refused(403, "GatedRepo");
    }
    let Some((commit, files)) = repository.find(revision) else { return Answer::refused(404, "RevisionNotFound") };
    let Some(content) = files.get(path) else { return Answer::refused(404, "EntryNotFound") };
    let size = content.bytes.len().to_string();
    if !is_large(path) {
        let tag = format!("\"{}\"", content.blob_id);
        return Answer::new(200, &[("etag", &tag), ("x-repo-commit", &commit), ("accept-ranges", "bytes")], content.bytes.to_vec());
    }
    let sha256 = &content.sha256;
    let location = {
        let mut state = lock(state);
        state.storage.insert(sha256.clone(), Arc::clone(&content.bytes));
        format!("{}/xet/{sha256}", state.storage_address)
    };
    let tag = format!("\"{sha256}\"");
    let headers = [("location", location.as_str()), ("x-linked-etag", &tag), ("x-linked-size", &size), ("x-repo-commit", &commit)];
    Answer::new(302, &headers, Vec::new())
}
