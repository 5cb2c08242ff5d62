//! One call to GitHub's API: who we are, what its answer means, and whether to try again.
//!
//! Octocrab carries the requests; it is built without retries and redirects of its own, because only we know which calls may be repeated.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, RETRY_AFTER, USER_AGENT};
use http::{Method, StatusCode};
use octocrab::Octocrab;
use octocrab::models::AppId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Auth, Error, Secret, Settings};
use crate::error_chain::chain_of;

/// Longest answer, in bytes. A page of 100 issues with texts of the greatest length has about 26 MiB.
const LONGEST_ANSWER: usize = 32 << 20;
/// A token of an installation (valid for an hour) is renewed when less than this is left of it.
const TOKEN_MARGIN: Duration = Duration::from_mins(5);
/// Answers are kept for conditional requests up to so many bytes together.
const CACHE_BYTES: usize = 16 << 20;
/// The version of the API that this program is written for.
const API_VERSION: &str = "2022-11-28";
const AGENT: &str = concat!("slm-benchmark/", env!("CARGO_PKG_VERSION"));

/// Whether a call may be sent again when it is unknown if GitHub carried it out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A second time changes nothing.
    Freely,
    /// A second time would do it twice: only repeat what certainly was not carried out.
    OnlyUndone,
}

/// What to ask.
pub(super) struct Call {
    pub(super) method: Method,
    /// Path below the API's address, and query, escaped.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// What it is for, as errors tell it.
    pub(super) what: String,
    pub(super) repeat: Repeat,
    /// As the App itself, not as its installation.
    pub(super) as_app: bool,
}

impl Call {
    pub(super) fn get(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, what: what.into(), repeat: Repeat::Freely, as_app: false }
    }

    pub(super) fn send(method: Method, path: impl Into<String>, body: Option<Value>, repeat: Repeat, what: impl Into<String>) -> Self {
        Self { method, path: path.into(), body, what: what.into(), repeat, as_app: false }
    }

    pub(super) fn signed_by_app(mut self) -> Self {
        self.as_app = true;
        self
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn parse<T: DeserializeOwned>(&self, what: &str) -> Result<T, Error> {
        parse(&self.body, what)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Path and query of the next page, from the header `Link`.
    pub(super) fn next_page(&self) -> Option<String> {
        let next = self.header(LINK.as_str())?.split(',').find(|part| part.contains("rel=\"next\""))?;
        let address = next.split_once('<')?.1.split_once('>')?.0;
        // Only the path: wherever the link points, the next request goes where the first one went.
        let uri: http::Uri = address.parse().ok()?;
        uri.path_and_query().map(ToString::to_string)
    }
}

/// An answer that we could not read was sent all the same: what was asked for has happened.
fn parse<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::permanent(what, format!("the answer is not understood: {error}")).unclear())
}

/// Counts for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tries by what came of them: the HTTP status, or 0 where no answer came.
    pub calls: BTreeMap<u16, u64>,
    /// Tries that met a rate limit.
    pub rate_limited: u64,
    /// Calls left in the current window, as GitHub last said.
    pub rate_limit_remaining: Option<u64>,
}

struct Kept {
    etag: HeaderValue,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Deserialize)]
struct Granted {
    token: String,
    expires_at: DateTime<Utc>,
}

struct InstallationToken {
    token: Secret,
    expires: Instant,
}

/// Why one try failed.
struct Failure {
    error: Error,
    /// A rate limit was met: nothing was carried out, and other calls had better wait too.
    limited: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, limited: false }
    }
}

pub(super) struct Transport {
    pub(super) settings: Settings,
    api: Octocrab,
    /// Signs as the App; `None` with a personal token.
    app: Option<Octocrab>,
    /// For transfers to and from other hosts.
    pub(super) plain: reqwest::Client,
    token: tokio::sync::Mutex<Option<InstallationToken>>,
    kept: Mutex<HashMap<String, Kept>>,
    blocked_until: Mutex<Option<Instant>>,
    /// GitHub asks that changes be made one after another.
    changes: tokio::sync::Mutex<()>,
    statistics: Mutex<Statistics>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let address = format!("the API's address {:?}", settings.api_url);
        let url = reqwest::Url::parse(&settings.api_url).map_err(|error| Error::permanent(&*address, error.to_string()))?;
        let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
            return Err(Error::permanent(address, "the token would be sent unencrypted: it must begin with https://"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(Error::permanent("the API's address", "it must be a plain address without user, query or fragment"));
        }
        let build = |app: Option<(u64, &Secret)>| -> Result<Octocrab, Error> {
            let wrong = |error: octocrab::Error| Error::permanent(&*address, brief(&error));
            let mut builder = Octocrab::builder()
                .base_uri(settings.api_url.trim_end_matches('/'))
                .map_err(wrong)?
                .add_header(USER_AGENT, AGENT.to_owned())
                .set_connect_timeout(Some(settings.timeout))
                .set_read_timeout(Some(settings.timeout))
                .set_write_timeout(Some(settings.timeout));
            if let Some((id, key)) = app {
                // The library's message may repeat parts of what it read.
                let unusable = |_| {
                    Error::permanent("the App's private key", "it is no RSA key in PEM form: download it again from the App's settings")
                };
                let key = octocrab::EncodingKey::from_rsa_pem(key.reveal().as_bytes()).map_err(unusable)?;
                builder = builder.app(AppId(id), key);
            }
            builder.build().map_err(wrong)
        };
        let app = match &settings.auth {
            Auth::App { app_id, private_key, .. } => Some(build(Some((*app_id, private_key)))?),
            Auth::Token(token) => {
                bearer(token)?;
                None
            }
        };
        let mut plain = reqwest::Client::builder()
            .user_agent(AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.timeout)
            .read_timeout(settings.timeout)
            .timeout(settings.timeout * 10);
        if is_local {
            plain = plain.no_proxy();
        }
        let plain = plain.build().map_err(|error| Error::permanent("the connection to GitHub", error.to_string()))?;
        Ok(Self {
            api: build(None)?,
            app,
            plain,
            settings,
            token: tokio::sync::Mutex::default(),
            kept: Mutex::default(),
            blocked_until: Mutex::default(),
            changes: tokio::sync::Mutex::default(),
            statistics: Mutex::default(),
        })
    }

    pub(super) fn statistics(&self) -> Statistics {
        locked(&self.statistics).clone()
    }

    /// Asks, and asks again where that is harmless and may help.
    pub(super) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        self.with_retries(&call.what, call.repeat, || self.attempt(call)).await
    }

    /// Runs `attempt` until it succeeds, fails for good, or the tries are used up.
    async fn with_retries<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        what: &str,
        repeat: Repeat,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, Error> {
        let mut tries = 1;
        loop {
            self.wait_until_unblocked(what).await?;
            let failure = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let policy = self.settings.retry;
            let doubled = |pause: Duration| pause.saturating_mul(1 << (tries - 1).min(16));
            let pause = match (failure.error.retry_after(), failure.limited) {
                (Some(asked), _) => asked + policy.first_pause.mul_f64(random_fraction()),
                (None, true) => doubled(policy.secondary_pause),
                (None, false) => doubled(policy.first_pause).min(policy.longest_pause).mul_f64(1.0 + random_fraction() / 2.0),
            };
            if failure.limited {
                *locked(&self.blocked_until) = Some(Instant::now() + pause);
                locked(&self.statistics).rate_limited += 1;
            }
            let harmless = repeat == Repeat::Freely || !failure.error.may_have_happened();
            if !failure.error.is_transient() || !harmless || tries >= policy.tries.max(1) || pause > policy.longest_pause {
                return Err(if failure.limited { failure.error.after(pause) } else { failure.error });
            }
            tracing::info!(try = tries, pause_s = pause.as_secs_f64(), "{}; trying again", failure.error);
            tokio::time::sleep(pause).await;
            tries += 1;
        }
    }

    /// After a rate limit no call goes out before its end: GitHub extends the limit of those who go on.
    async fn wait_until_unblocked(&self, what: &str) -> Result<(), Error> {
        let until = *locked(&self.blocked_until);
        let Some(left) = until.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()) else {
            return Ok(());
        };
        if left > self.settings.retry.longest_pause {
            return Err(Error::transient(what, "GitHub's rate limit was met before", Some(left)));
        }
        tokio::time::sleep(left).await;
        Ok(())
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Failure> {
        if call.as_app {
            let app = self.app.as_ref().ok_or_else(|| Error::permanent(&*call.what, "only a GitHub App can ask this"))?;
            return self.exchange(app, call, None).await;
        }
        let token = self.current_token(TOKEN_MARGIN).await?;
        let result = self.exchange(&self.api, call, Some(&token)).await;
        let refused = matches!(&result, Err(failure) if failure.error.status() == Some(401));
        if !refused || self.app.is_none() {
            return result;
        }
        // The token was withdrawn early: another one is worth a try, once.
        self.forget_token(&token).await;
        let token = self.current_token(TOKEN_MARGIN).await?;
        self.exchange(&self.api, call, Some(&token)).await
    }

    async fn forget_token(&self, token: &Secret) {
        let mut current = self.token.lock().await;
        if current.as_ref().is_some_and(|current| current.token == *token) {
            *current = None;
        }
    }

    /// A token that stays valid for at least this time.
    pub(super) async fn valid_token(&self, at_least: Duration) -> Result<Secret, Error> {
        let what = "a token of the App's installation";
        self.with_retries(what, Repeat::Freely, || self.current_token(at_least.max(TOKEN_MARGIN))).await
    }

    /// The personal token, or the installation's, fetched anew when too little of its time is left. Callers wait for each other, so that one fetches for all.
    async fn current_token(&self, at_least: Duration) -> Result<Secret, Failure> {
        let installation_id = match &self.settings.auth {
            Auth::Token(token) => return Ok(token.clone()),
            Auth::App { installation_id, .. } => *installation_id,
        };
        let mut current = self.token.lock().await;
        if let Some(current) = current.as_ref().filter(|current| current.expires > Instant::now() + at_least) {
            return Ok(current.token.clone());
        }
        let what = "a token of the App's installation";
        // A token for this repository alone, wherever else the App is installed.
        let body = json!({"repositories": [self.settings.repository.name]});
        let path = format!("/app/installations/{installation_id}/access_tokens");
        let call = Call::send(Method::POST, path, Some(body), Repeat::Freely, what).signed_by_app();
        let app = self.app.as_ref().ok_or_else(|| Error::permanent(what, "there is no App"))?;
        let answer = self.exchange(app, &call, None).await?;
        let granted: Granted = answer.parse(what)?;
        let token = Secret::new(what, &granted.token)?;
        // Their clock against their clock: ours may be wrong.
        let now = date_of(&answer.headers).unwrap_or_else(Utc::now);
        let left = (granted.expires_at - now).to_std().unwrap_or_default();
        *current = Some(InstallationToken { token: token.clone(), expires: Instant::now() + left });
        Ok(token)
    }

    /// One try.
    async fn exchange(&self, octocrab: &Octocrab, call: &Call, token: Option<&Secret>) -> Result<Answer, Failure> {
        let is_change = call.method != Method::GET;
        let _turn = if is_change { Some(self.changes.lock().await) } else { None };
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(&call.path)
            .header(ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", API_VERSION);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        let kept = if is_change { None } else { locked(&self.kept).get(&call.path).map(|kept| kept.etag.clone()) };
        if let Some(etag) = kept {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let body = match &call.body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        let request = request.body(body).map_err(|error| Error::permanent(&*call.what, error.to_string()))?;

        let lost = |reason: String, sent: bool| {
            *locked(&self.statistics).calls.entry(0).or_default() += 1;
            let error = Error::transient(&*call.what, reason, None);
            Failure::from(if sent && is_change { error.unclear() } else { error })
        };
        let exchange = async {
            let response = octocrab.execute(request).await.map_err(|error| {
                let reason = brief(&error);
                let sent = !reason.contains("(Connect)");
                lost(format!("no answer: {reason}"), sent)
            })?;
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(axum::body::Body::new(body), LONGEST_ANSWER).await;
            let body = body.map_err(|error| lost(format!("the answer broke off: {}", chain_of(&error)), true))?;
            Ok::<_, Failure>((parts, body))
        };
        let (parts, body) = match tokio::time::timeout(self.settings.timeout, exchange).await {
            Ok(exchanged) => exchanged?,
            Err(_) => return Err(lost(format!("no answer within {} s", self.settings.timeout.as_secs_f64()), true)),
        };
        self.note(parts.status, &parts.headers);
        if parts.status == StatusCode::NOT_MODIFIED {
            let kept = locked(&self.kept);
            let kept = kept.get(&call.path).ok_or_else(|| Error::transient(&*call.what, "the answer kept before is gone", None))?;
            return Ok(Answer { status: StatusCode::OK, headers: kept.headers.clone(), body: kept.body.clone() });
        }
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        if !answer.status.is_success() {
            return Err(refusal(&answer, &call.what, is_change));
        }
        if !is_change {
            self.keep(&call.path, &answer);
        }
        Ok(answer)
    }

    /// What a refused transfer means.
    pub(super) fn refused(&self, status: StatusCode, headers: HeaderMap, body: Bytes, what: &str) -> Error {
        let failure = refusal(&Answer { status, headers, body }, what, true);
        if !failure.limited {
            return failure.error;
        }
        let pause = failure.error.retry_after().unwrap_or(self.settings.retry.secondary_pause);
        *locked(&self.blocked_until) = Some(Instant::now() + pause);
        locked(&self.statistics).rate_limited += 1;
        failure.error.after(pause)
    }

    /// Counts an answer.
    pub(super) fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let mut statistics = locked(&self.statistics);
        *statistics.calls.entry(status.as_u16()).or_default() += 1;
        if let Some(remaining) = number(headers, "x-ratelimit-remaining") {
            statistics.rate_limit_remaining = Some(remaining);
        }
    }

    /// Keeps an answer with its tag: asking again with it costs nothing of the rate limit while nothing has changed.
    fn keep(&self, path: &str, answer: &Answer) {
        let mut kept = locked(&self.kept);
        let Some(etag) = answer.headers.get(ETAG) else {
            kept.remove(path);
            return;
        };
        let bytes: usize = kept.values().map(|kept| kept.body.len()).sum();
        if bytes + answer.body.len() > CACHE_BYTES || kept.len() >= 1024 {
            kept.clear();
        }
        if answer.body.len() <= CACHE_BYTES {
            kept.insert(path.to_owned(), Kept { etag: etag.clone(), headers: answer.headers.clone(), body: answer.body.clone() });
        }
    }
}

/// What an answer that is no success means.
fn refusal(answer: &Answer, what: &str, is_change: bool) -> Failure {
    let status = answer.status;
    let message = message_of(&answer.body);
    let headers = &answer.headers;
    let exhausted = number(headers, "x-ratelimit-remaining") == Some(0);
    let says_limit = ["rate limit", "abuse detection"].iter().any(|words| message.to_lowercase().contains(words));
    let limited = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::FORBIDDEN && (exhausted || says_limit || headers.contains_key(RETRY_AFTER));
    let error = if limited {
        Error::transient(what, format!("rate limit met: {message}"), wait_of(headers, exhausted))
    } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        let error = Error::transient(what, format!("GitHub answers {status}: {message}"), wait_of(headers, false));
        if is_change { error.unclear() } else { error }
    } else {
        Error::permanent(what, remedy(status, headers, &message))
    };
    Failure { error: error.with_status(status.as_u16()), limited }
}

/// What a refusal for good says, and what to do about it.
fn remedy(status: StatusCode, headers: &HeaderMap, message: &str) -> String {
    match status.as_u16() {
        401 => format!("the token is not accepted ({message}): it is wrong, expired or withdrawn; make a new one"),
        403 => {
            let needed = headers.get("x-accepted-github-permissions").and_then(|value| value.to_str().ok());
            let needed = needed.map_or_else(String::new, |needed| format!(" {needed:?}"));
            format!("not permitted ({message}): give the token or App the permission{needed}; `slm-bench doctor` lists what it has")
        }
        404 | 410 => format!("not found ({message}), or hidden from this token"),
        301 | 302 | 307 | 308 => "it has moved: write the repository's new name into the configuration".to_owned(),
        _ => format!("GitHub answers {status}: {message}"),
    }
}

/// How long to wait: `Retry-After`, or until the window of an exhausted limit ends.
fn wait_of(headers: &HeaderMap, exhausted: bool) -> Option<Duration> {
    if let Some(seconds) = number(headers, RETRY_AFTER.as_str()) {
        return Some(Duration::from_secs(seconds));
    }
    let reset = number(headers, "x-ratelimit-reset").filter(|_| exhausted)?;
    let reset = DateTime::from_timestamp(i64::try_from(reset).ok()?, 0)?;
    let now = date_of(headers).unwrap_or_else(Utc::now);
    // The header `Date` has whole seconds only.
    Some((reset - now).to_std().unwrap_or_default() + Duration::from_secs(1))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn date_of(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(headers.get(DATE)?.to_str().ok()?).ok().map(|date| date.to_utc())
}

/// GitHub's own words, shortened and on one line.
fn message_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refused {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Value,
    }
    let text = match serde_json::from_slice::<Refused>(body) {
        Ok(refused) if refused.errors.is_null() => refused.message,
        Ok(refused) => format!("{} {}", refused.message, refused.errors),
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned(),
    };
    let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(500).collect();
    if text.trim().is_empty() { "no reason given".to_owned() } else { text.trim().to_owned() }
}

pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    // The library's error would repeat the value.
    let unusable = |_| Error::permanent("the GitHub token", "it holds characters that no HTTP header can carry");
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error of octocrab without the backtraces that it prints.
fn brief(error: &octocrab::Error) -> String {
    let text = chain_of(error);
    text.split("\n\nFound at").next().unwrap_or(&text).to_owned()
}

fn random_fraction() -> f64 {
    // Without random numbers all would wait alike, which costs time but nothing else.
    getrandom::u32().map_or(0.5, |word| f64::from(word) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    /// Every form in which GitHub tells a rate limit is seen as one, with the wait that its headers name; other refusals are for good.
    #[test]
    fn rate_limits_are_told_from_refusals() {
        let date = ("date", "Thu, 02 Jan 2025 03:04:05 GMT");
        let reset = ("x-ratelimit-reset", "1735787105");
        let primary = answer(403, &[("x-ratelimit-remaining", "0"), reset, date], "{\"message\":\"API rate limit exceeded\"}");
        let failure = refusal(&primary, "x", true);
        assert!(failure.limited && !failure.error.may_have_happened());
        assert_eq!(failure.error.retry_after(), Some(Duration::from_secs(61)));

        let secondary = answer(
            403,
            &[("retry-after", "30"), ("x-ratelimit-remaining", "4000"), reset],
            "{\"message\":\"You have exceeded a secondary rate limit\"}",
        );
        assert_eq!(refusal(&secondary, "x", true).error.retry_after(), Some(Duration::from_secs(30)));
        let silent = refusal(&answer(403, &[], "{\"message\":\"You have exceeded a secondary rate limit.\"}"), "x", true);
        assert!(silent.limited && silent.error.is_transient() && silent.error.retry_after().is_none());
        assert!(refusal(&answer(429, &[], ""), "x", true).limited);

        let refused = refusal(
            &answer(403, &[("x-accepted-github-permissions", "issues=write")], "{\"message\":\"Resource not accessible\"}"),
            "x",
            true,
        );
        assert!(!refused.limited && !refused.error.is_transient());
        assert!(refused.error.to_string().contains("issues=write"), "{}", refused.error);
    }

    /// Only a server's failure leaves it open whether a change was made.
    #[test]
    fn only_server_errors_are_unclear() {
        for (status, is_change, transient, unclear) in [
            (502, true, true, true),
            (502, false, true, false),
            (422, true, false, false),
            (404, true, false, false),
            (401, true, false, false),
        ] {
            let failure = refusal(&answer(status, &[], "<html>"), "x", is_change);
            assert_eq!((failure.error.is_transient(), failure.error.may_have_happened()), (transient, unclear), "{status}");
        }
    }

    /// The next page is asked for at the same address, whatever host the link names.
    #[test]
    fn links_keep_only_their_path() {
        let link = "<https://evil.example/repos/o/r/issues?page=1>; rel=\"prev\", <https://evil.example/repos/o/r/issues?labels=a%2Cb&page=3>; rel=\"next\"";
        assert_eq!(answer(200, &[("link", link)], "").next_page().as_deref(), Some("/repos/o/r/issues?labels=a%2Cb&page=3"));
        assert_eq!(answer(200, &[("link", "<x>; rel=\"last\"")], "").next_page(), None);
    }
}
