//! Requests to the hub: retries, redirects, ranges, and what each refusal means.
//!
//! Redirects are followed here and not by the HTTP library, for two reasons: the hub's own headers (commit, content hash) come with the
//! redirect and not with its target, and the token must go to the hub alone, never to the storage hosts it redirects to.

use super::cache::{Repo, RepoKind, shorten};
use super::error::HubError;
use super::settings::HubConfig;
use crate::error_chain::chain_of;
use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, StatusCode, Url};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// How a hub waits between tries; tests pass their own.
pub type Sleep = Arc<dyn Fn(Duration) + Send + Sync>;

const MAX_REDIRECTS: usize = 6;
/// Longest JSON answer, in bytes (a listing of 1,000 files takes about 0.3 MiB).
const MAX_ANSWER: u64 = 32 << 20;

/// Why one try failed, and whether another may succeed.
pub(super) struct Failure {
    pub(super) error: HubError,
    pub(super) retry: bool,
    /// What the hub asked to wait.
    pub(super) wait: Option<Duration>,
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self { error, retry: false, wait: None }
    }
}

/// What the hub says about a file before it is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    /// Hash of the content: SHA-256 for large-file storage, git's blob id otherwise.
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) commit: Option<String>,
}

/// The connection to a hub.
#[derive(Clone)]
pub(super) struct Remote {
    client: Client,
    endpoint: Url,
    config: HubConfig,
    sleep: Sleep,
}

impl Remote {
    pub(super) fn new(config: &HubConfig, sleep: Sleep) -> Result<Self, HubError> {
        let wrong = |reason: String| HubError::invalid(format!("HF_ENDPOINT {:?}", shorten(&config.endpoint)), reason);
        let endpoint = Url::parse(&config.endpoint).map_err(|error| wrong(error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() {
            return Err(wrong("it must begin with https:// or http://".to_owned()));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("slm-benchmark/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(15).min(config.silence))
            // In the blocking client this bounds each read, not the whole download.
            .timeout(config.silence);
        if is_loopback(&endpoint) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| HubError::Network { what: "the hub".to_owned(), reason: chain_of(&error) })?;
        Ok(Self { client, endpoint, config: config.clone(), sleep })
    }

    /// `<endpoint>/api/models/<owner>/<name>/<tail…>`; each segment is escaped, so that a branch with a slash stays one segment.
    pub(super) fn api_url(&self, repo: &Repo, tail: &[&str]) -> Url {
        let mut segments = vec!["api", repo.api_name()];
        segments.extend(repo.name.split('/'));
        segments.extend(tail);
        self.url(&segments)
    }

    /// The address of a file's content.
    pub(super) fn file_url(&self, repo: &Repo, commit: &str, path: &str) -> Url {
        let mut segments = match repo.kind {
            RepoKind::Model => Vec::new(),
            RepoKind::Dataset => vec!["datasets"],
        };
        segments.extend(repo.name.split('/'));
        segments.extend(["resolve", commit]);
        segments.extend(path.split('/'));
        self.url(&segments)
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Runs `attempt` until it succeeds, fails for good, or the tries are used up.
    pub(super) fn with_retries<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, HubError> {
        let mut tries = 1;
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => self.pause_or_give_up(what, failure, tries)?,
            }
            tries += 1;
        }
    }

    /// Waits before the next try; gives the error back when there shall be none. `tries` have been made.
    pub(super) fn pause_or_give_up(&self, what: &str, failure: Failure, tries: u32) -> Result<(), HubError> {
        let policy = self.config.retry;
        let too_long = failure.wait.is_some_and(|wait| wait > policy.longest_pause);
        if !failure.retry || tries >= policy.tries || too_long {
            return Err(failure.error);
        }
        let pause = failure.wait.unwrap_or_else(|| {
            let doubled = policy.first_pause.saturating_mul(1 << (tries - 1).min(20)).min(policy.longest_pause);
            doubled + doubled.mul_f64(random_fraction() / 4.0)
        });
        tracing::info!("{what}: {}; next try in {:.1} s", failure.error, pause.as_secs_f64());
        (self.sleep)(pause);
        Ok(())
    }

    /// Asks the hub's API and parses its answer.
    pub(super) fn json(&self, url: &Url, repo: &Repo, what: &str) -> Result<(serde_json::Value, HeaderMap), HubError> {
        self.with_retries(what, || {
            let response = self.send(&Method::GET, url, None, repo, what)?;
            let headers = response.headers().clone();
            let body = read_body(response, MAX_ANSWER, what)?;
            match serde_json::from_slice(&body) {
                Ok(value) => Ok((value, headers)),
                Err(error) => Err(HubError::corrupt(format!("the hub's answer for {what}"), format!("it is no JSON: {error}")).into()),
            }
        })
    }

    /// Asks for a file's hash and size without its content.
    pub(super) fn head(&self, repo: &Repo, commit: &str, path: &str) -> Result<FileHead, HubError> {
        let what = format!("{path} of {}", repo.label());
        let url = self.file_url(repo, commit, path);
        self.with_retries(&what, || {
            let headers = self.head_headers(&url, repo, &what)?;
            let first = |names: &[&str]| names.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok());
            let lacks = |header: &str| HubError::corrupt(format!("the hub's answer for {what}"), format!("it lacks the header {header}"));
            let etag = first(&["x-linked-etag", "etag"]).ok_or_else(|| lacks("ETag"))?;
            let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if etag.is_empty() || etag.len() > 128 || etag.starts_with('.') || !etag.bytes().all(fit) {
                return Err(HubError::corrupt(
                    format!("the hub's answer for {what}"),
                    format!("its ETag {:?} is no content hash", shorten(&etag)),
                )
                .into());
            }
            let size = first(&["x-linked-size", "content-length"]).and_then(|text| text.parse().ok());
            let size = size.ok_or_else(|| lacks("Content-Length"))?;
            Ok(FileHead { etag, size, commit: first(&["x-repo-commit"]).map(str::to_owned) })
        })
    }

    /// Headers of the hub's own answer: redirects inside the hub (renamed repositories) are followed, those to its storage are not.
    fn head_headers(&self, url: &Url, repo: &Repo, what: &str) -> Result<HeaderMap, Failure> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let response = self.send_once(&Method::HEAD, &url, None, what)?;
            if !response.status().is_redirection() {
                return Ok(accept(response, false, repo, what)?.headers().clone());
            }
            let next = target_of(&response, what)?;
            if !self.is_endpoint(&next) || response.headers().contains_key("x-linked-etag") {
                return Ok(response.headers().clone());
            }
            url = next;
        }
        Err(too_many_redirects(what))
    }

    /// Reads bytes of a file; gives them and the size of the whole file. Fewer come back at the file's end.
    pub(super) fn range(&self, url: &Url, begin: u64, length: u64, repo: &Repo, what: &str) -> Result<(Vec<u8>, u64), HubError> {
        self.with_retries(what, || {
            let mut response = self.send(&Method::GET, url, Some((begin, Some(begin + length))), repo, what)?;
            let Some(total) = total_size(&response, begin, what)? else {
                return Err(HubError::corrupt(what, format!("the hub says that it has no byte {begin}")).into());
            };
            if response.status() != StatusCode::PARTIAL_CONTENT && begin > 0 {
                skip(&mut response, begin, what)?;
            }
            let wanted = length.min(total.saturating_sub(begin));
            let mut bytes = Vec::new();
            response.by_ref().take(wanted).read_to_end(&mut bytes).map_err(|error| broken(&error, what))?;
            if (bytes.len() as u64) < wanted {
                return Err(network(what, format!("the answer ended after {} of {wanted} bytes", bytes.len())));
            }
            Ok((bytes, total))
        })
    }

    /// Opens a file's content from a byte on; gives the response and the byte at which it really begins (0 if the server knows no ranges).
    /// `None`: the file has no such byte.
    pub(super) fn open(&self, url: &Url, begin: u64, repo: &Repo, what: &str) -> Result<Option<(Response, u64)>, Failure> {
        let range = (begin > 0).then_some((begin, None));
        let response = self.send(&Method::GET, url, range, repo, what)?;
        if range.is_some() && total_size(&response, begin, what)?.is_none() {
            return Ok(None);
        }
        let from = if response.status() == StatusCode::PARTIAL_CONTENT { begin } else { 0 };
        Ok(Some((response, from)))
    }

    /// One try: whether the hub would give a file.
    pub(super) fn probe(&self, method: &Method, url: &Url, repo: &Repo, what: &str) -> Result<(), Failure> {
        let response = self.send_once(method, url, None, what)?;
        if response.status().is_redirection() { Ok(()) } else { accept(response, false, repo, what).map(drop) }
    }

    /// One try: sends, follows redirects, and turns refusals into failures. With a range, 416 comes back as a response.
    fn send(&self, method: &Method, url: &Url, range: Option<(u64, Option<u64>)>, repo: &Repo, what: &str) -> Result<Response, Failure> {
        let mut url = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let response = self.send_once(method, &url, range, what)?;
            if !response.status().is_redirection() {
                return accept(response, range.is_some(), repo, what);
            }
            url = target_of(&response, what)?;
        }
        Err(too_many_redirects(what))
    }

    fn send_once(&self, method: &Method, url: &Url, range: Option<(u64, Option<u64>)>, what: &str) -> Result<Response, Failure> {
        let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some((begin, end)) = range {
            let end = end.map_or_else(String::new, |end| (end - 1).to_string());
            request = request.header(RANGE, format!("bytes={begin}-{end}"));
        }
        if let Some(token) = self.config.token.as_ref().filter(|_| self.is_endpoint(url))
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))
        {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.send().map_err(|error| network(what, chain_of(&error.without_url())))
    }

    /// Whether an address belongs to the hub itself: same scheme, host and port.
    pub(super) fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }
}

/// Reads a whole body of at most `longest` bytes.
pub(super) fn read_body(mut response: Response, longest: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    response.by_ref().take(longest + 1).read_to_end(&mut body).map_err(|error| broken(&error, what))?;
    if body.len() as u64 > longest {
        return Err(HubError::corrupt(format!("the hub's answer for {what}"), format!("it is longer than {longest} bytes")).into());
    }
    Ok(body)
}

pub(super) fn broken(error: &std::io::Error, what: &str) -> Failure {
    network(what, format!("the connection broke: {}", chain_of(error)))
}

pub(super) fn network(what: &str, reason: String) -> Failure {
    Failure { error: HubError::Network { what: what.to_owned(), reason }, retry: true, wait: None }
}

fn too_many_redirects(what: &str) -> Failure {
    HubError::corrupt(format!("the hub's answer for {what}"), format!("it redirects more than {MAX_REDIRECTS} times")).into()
}

fn skip(response: &mut Response, bytes: u64, what: &str) -> Result<(), Failure> {
    let skipped = std::io::copy(&mut response.by_ref().take(bytes), &mut std::io::sink()).map_err(|error| broken(&error, what))?;
    if skipped == bytes { Ok(()) } else { Err(network(what, format!("the answer ended after {skipped} of {bytes} bytes"))) }
}

/// Size of the whole file from the answer to a range request; `None` when the file has no byte `begin`.
fn total_size(response: &Response, begin: u64, what: &str) -> Result<Option<u64>, Failure> {
    let wrong = |reason: &str| Failure::from(HubError::corrupt(format!("the hub's answer for {what}"), reason));
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match response.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => Ok(None),
        StatusCode::PARTIAL_CONTENT => {
            let parts = header(CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes ")).and_then(|text| text.split_once('/'));
            let (span, total) = parts.ok_or_else(|| wrong("its Content-Range is missing or malformed"))?;
            let first = span.split_once('-').and_then(|(first, _)| first.trim().parse::<u64>().ok());
            if first != Some(begin) {
                return Err(wrong("it begins at another byte than was asked for"));
            }
            total.trim().parse().map(Some).map_err(|_| wrong("its Content-Range does not tell the size"))
        }
        _ => header(CONTENT_LENGTH).and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| wrong("it does not tell its size")),
    }
}

fn target_of(response: &Response, what: &str) -> Result<Url, Failure> {
    let wrong = |reason: &str| Failure::from(HubError::corrupt(format!("the hub's answer for {what}"), reason));
    let location =
        response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(|| wrong("a redirect without Location"))?;
    let target = response.url().join(location).map_err(|_| wrong("a redirect to no valid address"))?;
    if !matches!(target.scheme(), "http" | "https") || (response.url().scheme() == "https" && target.scheme() != "https") {
        return Err(wrong("a redirect from https to something less safe"));
    }
    Ok(target)
}

/// Lets good answers pass and turns refusals into failures.
fn accept(response: Response, ranged: bool, repo: &Repo, what: &str) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() || (ranged && status == StatusCode::RANGE_NOT_SATISFIABLE) {
        return Ok(response);
    }
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let code = header("x-error-code");
    let detail: String = shorten(header("x-error-message")).chars().filter(|character| !character.is_control()).collect();
    let final_error = |error| Err(Failure { error, retry: false, wait: None });
    match (status.as_u16(), code) {
        (_, "GatedRepo") => final_error(HubError::Gated { repo: repo.label() }),
        (_, "DisabledRepo") => final_error(HubError::Disabled { repo: repo.label() }),
        (404 | 410, _) | (_, "RepoNotFound" | "RevisionNotFound" | "EntryNotFound") => {
            final_error(HubError::NotFound { what: what.to_owned() })
        }
        (403, _) if detail.contains("disabled") => final_error(HubError::Disabled { repo: repo.label() }),
        (401 | 403 | 407, _) => final_error(HubError::Unauthorized { what: what.to_owned(), status: status.as_u16() }),
        (429, _) => {
            let wait = asked_wait(response.headers());
            let error = HubError::RateLimited { what: what.to_owned(), retry_after_s: wait.map(|wait| wait.as_secs()) };
            Err(Failure { error, retry: true, wait })
        }
        (number, _) => {
            let retry = number >= 500 || matches!(number, 408 | 425);
            let wait = if retry { asked_wait(response.headers()) } else { None };
            Err(Failure { error: HubError::Server { what: what.to_owned(), status: number, detail }, retry, wait })
        }
    }
}

/// What the hub asks to wait: `Retry-After` in seconds or as a date, or the seconds `t` of its `RateLimit` header.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(value) = text(RETRY_AFTER.as_str()) {
        if let Ok(seconds) = value.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
        // The hub's own clock, where it tells, makes the answer independent of ours.
        let now =
            text("date").and_then(|now| chrono::DateTime::parse_from_rfc2822(now).ok()).map_or_else(chrono::Utc::now, |now| now.to_utc());
        return Some((date.to_utc() - now).to_std().unwrap_or_default());
    }
    let limit = text("ratelimit")?;
    let seconds = limit.split(';').find_map(|part| part.trim().strip_prefix("t="))?;
    seconds.parse().ok().map(Duration::from_secs)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A number in [0, 1), so that many clients do not come back at the same moment.
fn random_fraction() -> f64 {
    let number = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(number) / (f64::from(u32::MAX) + 1.0)
}
