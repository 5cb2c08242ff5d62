//! The API: each request read, done, and answered from the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use chrono::{DateTime, Utc};
use octocrab::jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    ACTIONS_BOT, ACTIONS_TOKEN, APP_ID, APP_KEY, APP_SLUG, Asset, BOT, Comment, Fault, INSTALLATION_ID, Issue, REPOSITORY, Release, Run,
    Seen, Shared, State, TOKEN, Unread, WORKFLOW, payloads,
};

/// A page of issues with texts of the greatest length fits; nothing else comes near it.
const LONGEST_BODY: usize = 64 << 20;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

struct Answer {
    status: u16,
    body: Value,
    raw: Option<Vec<u8>>,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    fn new(status: u16, body: Value) -> Self {
        Self { status, body, raw: None, headers: Vec::new() }
    }

    fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    fn empty(status: u16) -> Self {
        Self::new(status, Value::Null)
    }

    fn message(status: u16, message: &str) -> Self {
        Self::new(status, json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}))
    }

    fn not_found() -> Self {
        Self::message(404, "Not Found")
    }

    fn exists(resource: &str) -> Self {
        let errors = json!([{"resource": resource, "code": "already_exists", "field": "name"}]);
        Self::new(422, json!({"message": "Validation Failed", "errors": errors, "documentation_url": "https://docs.github.com/rest"}))
    }
}

/// As whom a request comes.
#[derive(Clone, Copy, PartialEq)]
enum Caller {
    Nobody,
    /// The App itself, by its JWT.
    App,
    /// An account, by a token.
    Account(u64),
}

struct Asked {
    method: Method,
    segments: Vec<String>,
    query: BTreeMap<String, String>,
    body: Bytes,
    caller: Caller,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

async fn serve(Extract(shared): Extract<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LONGEST_BODY).await else { return plain(400) };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let fault = take_fault(&shared, parts.method.as_str(), &target);
    let before = match &fault {
        Some(Fault::Status(status)) => Some(Answer::message(*status, "the stand-in was told to fail")),
        Some(Fault::Answer(body)) => Some(Answer::ok(body.clone())),
        Some(Fault::SecondaryLimit(wait)) => {
            let mut answer =
                Answer::message(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.");
            answer.headers.extend(wait.map(|wait| ("retry-after", wait.to_string())));
            Some(answer)
        }
        Some(Fault::PrimaryLimit(seconds)) => {
            let mut answer = Answer::message(403, "API rate limit exceeded for user ID 1.");
            answer.headers.push(("x-ratelimit-remaining", "0".to_owned()));
            answer.headers.push(("x-ratelimit-reset", (Utc::now().timestamp() + seconds).to_string()));
            Some(answer)
        }
        Some(Fault::DropBefore) => {
            note(&shared, &parts.method, &target, &body, 0, false);
            drop_connection()
        }
        Some(Fault::KillBefore(process)) => {
            kill(*process);
            note(&shared, &parts.method, &target, &body, 0, false);
            drop_connection()
        }
        _ => None,
    };
    let caller = caller(&shared, &parts.headers);
    let answer = before.unwrap_or_else(|| {
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let segments = path.trim_matches('/').split('/').map(decoded).collect();
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (decoded(name), decoded(value))).collect();
        let asked = Asked { method: parts.method.clone(), segments, query, body: body.clone(), caller };
        let mut state = shared.lock();
        state.remaining = state.remaining.saturating_sub(1);
        let answer = answer(&shared, &mut state, &asked).unwrap_or_else(|| {
            state.unknown.push(format!("{} {target}", parts.method));
            Answer::not_found()
        });
        if let Some(Fault::KillAfter(process)) = &fault {
            // Before anybody sees what was done.
            kill(*process);
        }
        answer
    });
    let (status, headers) = (answer.status, parts.headers);
    note(&shared, &parts.method, &target, &body, status, caller != Caller::Nobody);
    match fault {
        Some(Fault::DropAfter | Fault::KillAfter(_)) => drop_connection(),
        Some(Fault::BadGatewayAfter) => plain(502),
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            render(&shared, answer, &headers)
        }
        _ => render(&shared, answer, &headers),
    }
}

/// Ends a process by force.
fn kill(process: u32) {
    assert!(std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

/// Ends the task that serves the connection, and so the connection, without a word.
fn drop_connection() -> ! {
    std::panic::resume_unwind(Box::new("the stand-in drops the connection"))
}

fn plain(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::from("<html>Unicorn!</html>")).unwrap()
}

fn note(shared: &Shared, method: &Method, target: &str, body: &Bytes, status: u16, authorised: bool) {
    let body = String::from_utf8_lossy(&body[..body.len().min(100_000)]).into_owned();
    shared.lock().seen.push(Seen { method: method.to_string(), target: target.to_owned(), body, status, authorised });
}

fn take_fault(shared: &Shared, method: &str, target: &str) -> Option<Fault> {
    let mut state = shared.lock();
    let pending = state.faults.iter_mut().find(|fault| fault.concerns(method, target))?;
    pending.times -= 1;
    Some(pending.fault.clone())
}

fn render(shared: &Shared, answer: Answer, request: &HeaderMap) -> Response<Body> {
    let remaining = shared.lock().remaining;
    let mut response = Response::builder()
        .header("date", Utc::now().to_rfc2822().replace("+0000", "GMT"))
        .header("x-ratelimit-limit", "5000")
        .header("x-github-request-id", "STAND:IN")
        .header("x-oauth-scopes", "repo, workflow");
    let named = |name: &str| answer.headers.iter().any(|(named, _)| *named == name);
    if !named("x-ratelimit-remaining") {
        response = response.header("x-ratelimit-remaining", remaining).header("x-ratelimit-reset", Utc::now().timestamp() + 3600);
    }
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    if let Some(raw) = answer.raw {
        return response.status(answer.status).header("content-type", "application/zip").body(Body::from(raw)).unwrap();
    }
    if answer.body.is_null() {
        return response.status(answer.status).body(Body::empty()).unwrap();
    }
    let body = answer.body.to_string();
    let etag = format!("W/\"{}\"", hex::encode(Sha256::digest(&body)));
    let same = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(etag.as_str());
    if answer.status == 200 && same {
        return response.status(StatusCode::NOT_MODIFIED).header("etag", etag).body(Body::empty()).unwrap();
    }
    response = response.status(answer.status).header("content-type", "application/json; charset=utf-8");
    if answer.status == 200 {
        response = response.header("etag", etag);
    }
    response.body(Body::from(body)).unwrap()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        if first == b'%'
            && let Some(byte) = others.get(..2).and_then(|digits| hex::decode(digits).ok())
        {
            bytes.extend(byte);
            rest = &others[2..];
        } else {
            bytes.push(if first == b'+' { b' ' } else { first });
            rest = others;
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn caller(shared: &Shared, headers: &HeaderMap) -> Caller {
    let token = headers.get(header::AUTHORIZATION).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(token) = token.and_then(|value| value.strip_prefix("Bearer ")) else { return Caller::Nobody };
    let state = shared.lock();
    if token == TOKEN {
        return Caller::Account(state.account(BOT));
    }
    if token == ACTIONS_TOKEN {
        return Caller::Account(state.account(ACTIONS_BOT));
    }
    if state.installation_tokens.iter().any(|(known, expires)| known == token && *expires > Utc::now()) {
        return Caller::Account(state.account(&format!("{APP_SLUG}[bot]")));
    }
    let key = DecodingKey::from_rsa_pem(APP_KEY.public_key_pem().as_bytes()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_required_spec_claims(&["exp"]);
    let signed = decode::<Value>(token, &key, &validation).ok().filter(|token| {
        let issuer = token.claims["iss"].as_u64().or_else(|| token.claims["iss"].as_str()?.parse().ok());
        // GitHub takes at most ten minutes.
        issuer == Some(APP_ID) && token.claims["exp"].as_i64().is_some_and(|end| end <= Utc::now().timestamp() + 600)
    });
    if signed.is_some() { Caller::App } else { Caller::Nobody }
}

/// `None` where GitHub has no such address.
fn answer(shared: &Shared, state: &mut State, asked: &Asked) -> Option<Answer> {
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    let method = asked.method.as_str();
    if let ("GET", ["storage", id]) = (method, segments.as_slice()) {
        return Some(storage(state, id, asked));
    }
    if asked.caller == Caller::Nobody {
        return Some(Answer::message(401, "Bad credentials"));
    }
    if segments.first() == Some(&"app") {
        if asked.caller != Caller::App {
            return Some(Answer::message(401, "A JSON web token could not be decoded"));
        }
        return app(state, method, &segments, asked);
    }
    let Caller::Account(who) = asked.caller else {
        return Some(Answer::message(403, "Resource not accessible by integration"));
    };
    match (method, segments.as_slice()) {
        ("GET", ["user"]) => {
            let is_app = state.accounts[&who].kind == "Bot";
            Some(if is_app {
                Answer::message(403, "Resource not accessible by integration")
            } else {
                Answer::ok(payloads::profile(state, who))
            })
        }
        ("GET", ["user", id]) => {
            let id = id.parse().ok().filter(|id| state.accounts.contains_key(id));
            Some(id.map_or_else(Answer::not_found, |id| Answer::ok(payloads::profile(state, id))))
        }
        ("GET", ["users", login]) => {
            let account = state.accounts.values().find(|account| account.login.eq_ignore_ascii_case(login)).map(|account| account.id);
            Some(account.map_or_else(Answer::not_found, |id| Answer::ok(payloads::profile(state, id))))
        }
        (_, ["repos", owner, name, rest @ ..]) => {
            if format!("{owner}/{name}") != REPOSITORY {
                return Some(Answer::not_found());
            }
            in_repository(shared, state, who, method, rest, asked)
        }
        _ => None,
    }
}

fn app(state: &mut State, method: &str, segments: &[&str], asked: &Asked) -> Option<Answer> {
    let installation = INSTALLATION_ID.to_string();
    match (method, segments) {
        ("GET", ["app"]) => Some(Answer::ok(payloads::app(state))),
        ("GET", ["app", "installations", id]) => {
            Some(if *id == installation { Answer::ok(payloads::installation(state)) } else { Answer::not_found() })
        }
        ("POST", ["app", "installations", id, "access_tokens"]) => {
            if *id != installation {
                return Some(Answer::not_found());
            }
            let token = format!("ghs_standin{:032}", state.id());
            let expires = Utc::now() + state.token_life;
            state.installation_tokens.push((token.clone(), expires));
            let scoped = asked.json()["repositories"] == json!([REPOSITORY.split_once('/').unwrap().1]);
            assert!(scoped, "a token is asked for this repository alone");
            let permissions = json!({"issues": "write", "contents": "write", "actions": "write", "metadata": "read"});
            let body = json!({"token": token, "expires_at": payloads::time(expires), "permissions": permissions, "repository_selection": "selected"});
            Some(Answer::new(201, body))
        }
        _ => None,
    }
}

fn in_repository(shared: &Shared, state: &mut State, who: u64, method: &str, rest: &[&str], asked: &Asked) -> Option<Answer> {
    match (method, rest) {
        ("GET", []) => Some(Answer::ok(payloads::repository(state, who))),
        ("GET", ["issues"]) => Some(list_issues(state, asked)),
        ("GET", ["issues", "comments"]) => {
            let since = since(asked);
            let mut comments: Vec<&Comment> =
                state.comments.values().filter(|comment| since.is_none_or(|since| comment.updated >= since)).collect();
            comments.sort_by_key(|comment| (comment.updated, comment.id));
            let comments = comments.into_iter().map(|comment| payloads::comment(state, comment)).collect();
            Some(page(state, asked, comments))
        }
        (_, ["issues", "comments", id, rest @ ..]) => one_comment(shared, state, who, method, id.parse().ok()?, rest, asked),
        (_, ["issues", number, rest @ ..]) => {
            let number = number.parse().ok()?;
            if !state.issues.contains_key(&number) {
                return Some(Answer::not_found());
            }
            one_issue(shared, state, who, method, number, rest, asked)
        }
        ("GET", ["labels"]) => {
            let labels = state.labels.iter().map(|label| payloads::label(state, &label.0)).collect();
            Some(page(state, asked, labels))
        }
        ("POST", ["labels"]) => Some(make_label(state, &asked.json())),
        ("GET", ["collaborators", login, "permission"]) => {
            let account = state.accounts.values().find(|account| account.login.eq_ignore_ascii_case(login)).map(|account| account.id);
            Some(account.map_or_else(Answer::not_found, |id| Answer::ok(payloads::permission(state, id))))
        }
        (_, ["actions", rest @ ..]) => actions(shared, state, method, rest, asked),
        (_, ["releases", rest @ ..]) => releases(state, method, rest, asked),
        _ => None,
    }
}

fn since(asked: &Asked) -> Option<DateTime<Utc>> {
    asked.query.get("since").map(|since| DateTime::parse_from_rfc3339(since).unwrap().to_utc())
}

fn list_issues(state: &State, asked: &Asked) -> Answer {
    let wanted = asked.query.get("state").map_or("open", String::as_str);
    let labels: Vec<&str> = asked.query.get("labels").map(|labels| labels.split(',').collect()).unwrap_or_default();
    let since = since(asked);
    let fits = |issue: &&Issue| {
        (wanted == "all" || (wanted == "open") == issue.open)
            && labels.iter().all(|label| issue.labels.iter().any(|has| has.eq_ignore_ascii_case(label)))
            && since.is_none_or(|since| issue.updated >= since)
    };
    let mut issues: Vec<Value> = state.issues.values().filter(fits).map(|issue| payloads::issue(state, issue)).collect();
    // GitHub lists the newest first unless it is told otherwise.
    if asked.query.get("direction").map(String::as_str) != Some("asc") {
        issues.reverse();
    }
    page(state, asked, issues)
}

/// One page, and the way to the next.
fn page(state: &State, asked: &Asked, entries: Vec<Value>) -> Answer {
    page_of(state, asked, entries, None)
}

fn page_of(state: &State, asked: &Asked, entries: Vec<Value>, name: Option<&str>) -> Answer {
    let number = |name: &str, default| asked.query.get(name).map_or(default, |value| value.parse::<usize>().unwrap());
    let (at, size) = (number("page", 1), number("per_page", 30).min(state.page));
    let total = entries.len();
    let entries: Vec<Value> = entries.into_iter().skip((at - 1) * size).take(size).collect();
    let body = match name {
        Some(name) => json!({"total_count": total, name: entries}),
        None => Value::Array(entries),
    };
    let mut answer = Answer::ok(body);
    if at * size < total {
        let query: Vec<String> =
            asked.query.iter().filter(|(name, _)| *name != "page").map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let address = format!("{}/{}?{}&page={}", state.address, asked.segments.join("/"), query.join("&"), at + 1);
        answer.headers.push(("link", format!("<{address}>; rel=\"next\", <{address}>; rel=\"last\"")));
    }
    answer
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Gives the comment's id and the webhook's payload.
pub(super) fn add_comment(shared: &Shared, state: &mut State, author: u64, issue: u64, body: &str, by_bot: bool) -> (u64, Value) {
    let mut comment = state.new_comment(issue, author, body);
    if by_bot {
        comment.unread = Unread::New;
    }
    state.issues.get_mut(&issue).unwrap().updated = comment.created;
    state.comments.insert(comment.id, comment.clone());
    let payload = payloads::comment_event(state, "created", &comment, author);
    shared.deliver(state, "issue_comment", &payload);
    (comment.id, payload)
}

/// Gives the webhook's payload.
pub(super) fn change_comment(shared: &Shared, state: &mut State, editor: u64, id: u64, body: &str, by_bot: bool) -> Value {
    let comment = state.comments.get_mut(&id).unwrap();
    if by_bot && comment.body != body && comment.unread == Unread::Nothing {
        comment.unread = Unread::Changed;
    }
    let before = std::mem::replace(&mut comment.body, body.to_owned());
    comment.updated = Utc::now();
    comment.edits += 1;
    let comment = comment.clone();
    state.issues.get_mut(&comment.issue).unwrap().updated = comment.updated;
    let mut payload = payloads::comment_event(state, "edited", &comment, editor);
    payload["changes"] = json!({"body": {"from": before}});
    shared.deliver(state, "issue_comment", &payload);
    payload
}

/// The text of a comment, as GitHub checks it.
fn comment_text(asked: &Asked) -> Result<String, Answer> {
    match asked.json()["body"].as_str() {
        Some(text) if text.chars().count() > 65_536 => Err(Answer::message(422, "Body is too long (maximum is 65536 characters)")),
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(Answer::message(422, "Body can't be blank")),
    }
}

fn one_comment(shared: &Shared, state: &mut State, who: u64, method: &str, id: u64, rest: &[&str], asked: &Asked) -> Option<Answer> {
    if !state.comments.contains_key(&id) {
        return Some(Answer::not_found());
    }
    match (method, rest) {
        ("GET", []) => Some(Answer::ok(payloads::comment(state, &state.comments[&id]))),
        ("PATCH", []) => {
            let text = match comment_text(asked) {
                Ok(text) => text,
                Err(answer) => return Some(answer),
            };
            change_comment(shared, state, who, id, &text, true);
            Some(Answer::ok(payloads::comment(state, &state.comments[&id])))
        }
        ("DELETE", []) => {
            state.comments.remove(&id);
            Some(Answer::empty(204))
        }
        ("POST", ["reactions"]) => {
            let content = asked.json()["content"].as_str()?.to_owned();
            let reactions = &mut state.comments.get_mut(&id)?.reactions;
            Some(react(reactions, content).render(state, who))
        }
        _ => None,
    }
}

struct Reacted(bool, String);

fn react(reactions: &mut Vec<String>, content: String) -> Reacted {
    let is_new = !reactions.contains(&content);
    if is_new {
        reactions.push(content.clone());
    }
    Reacted(is_new, content)
}

impl Reacted {
    fn render(self, state: &State, who: u64) -> Answer {
        let body = json!({"id": 1, "node_id": "RE_1", "user": payloads::user(state, who), "content": self.1, "created_at": "2024-01-01T00:00:00Z"});
        Answer::new(if self.0 { 201 } else { 200 }, body)
    }
}

fn one_issue(shared: &Shared, state: &mut State, who: u64, method: &str, number: u64, rest: &[&str], asked: &Asked) -> Option<Answer> {
    match (method, rest) {
        ("GET", []) => Some(Answer::ok(payloads::issue(state, &state.issues[&number]))),
        ("PATCH", []) => {
            let open = asked.json()["state"].as_str()? == "open";
            let issue = state.issues.get_mut(&number)?;
            if issue.open != open {
                issue.open = open;
                issue.updated = Utc::now();
                let payload = payloads::issue_event(state, if open { "reopened" } else { "closed" }, number, who, json!({}));
                shared.deliver(state, "issues", &payload);
            }
            Some(Answer::ok(payloads::issue(state, &state.issues[&number])))
        }
        ("GET", ["comments"]) => {
            let since = since(asked);
            let fits = |comment: &&Comment| comment.issue == number && since.is_none_or(|since| comment.updated >= since);
            let comments = state.comments.values().filter(fits).map(|comment| payloads::comment(state, comment)).collect();
            Some(page(state, asked, comments))
        }
        ("POST", ["comments"]) => {
            let text = match comment_text(asked) {
                Ok(text) => text,
                Err(answer) => return Some(answer),
            };
            let (id, _) = add_comment(shared, state, who, number, &text, true);
            Some(Answer::new(201, payloads::comment(state, &state.comments[&id])))
        }
        ("GET", ["labels"]) => {
            let labels = state.issues[&number].labels.iter().map(|name| payloads::label(state, name)).collect();
            Some(page(state, asked, labels))
        }
        ("POST", ["labels"]) => {
            let names: Vec<String> =
                asked.json()["labels"].as_array()?.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
            for name in names {
                let issue = state.issues.get_mut(&number)?;
                issue.label_changes.push(format!("+{name}"));
                if !issue.labels.iter().any(|has| has.eq_ignore_ascii_case(&name)) {
                    issue.labels.push(name.clone());
                    issue.updated = Utc::now();
                    let payload = payloads::issue_event(state, "labeled", number, who, json!({"label": payloads::label(state, &name)}));
                    shared.deliver(state, "issues", &payload);
                }
            }
            let labels: Vec<Value> = state.issues[&number].labels.iter().map(|name| payloads::label(state, name)).collect();
            Some(Answer::ok(Value::Array(labels)))
        }
        ("DELETE", ["labels", name]) => {
            let issue = state.issues.get_mut(&number)?;
            let Some(at) = issue.labels.iter().position(|has| has.eq_ignore_ascii_case(name)) else {
                return Some(Answer::message(404, "Label does not exist"));
            };
            issue.label_changes.push(format!("-{name}"));
            issue.labels.remove(at);
            issue.updated = Utc::now();
            let payload = payloads::issue_event(state, "unlabeled", number, who, json!({"label": payloads::label(state, name)}));
            shared.deliver(state, "issues", &payload);
            let labels: Vec<Value> = state.issues[&number].labels.iter().map(|name| payloads::label(state, name)).collect();
            Some(Answer::ok(Value::Array(labels)))
        }
        ("POST", ["reactions"]) => {
            let content = asked.json()["content"].as_str()?.to_owned();
            let reactions = &mut state.issues.get_mut(&number)?.reactions;
            Some(react(reactions, content).render(state, who))
        }
        _ => None,
    }
}

fn make_label(state: &mut State, body: &Value) -> Answer {
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (name, color, description) = (text("name"), text("color"), text("description"));
    if state.labels.iter().any(|label| label.0.eq_ignore_ascii_case(&name)) {
        return Answer::exists("Label");
    }
    if name.is_empty() || color.len() != 6 || !color.bytes().all(|byte| byte.is_ascii_hexdigit()) || description.chars().count() > 100 {
        return Answer::message(422, "Validation Failed");
    }
    state.labels.push((name.clone(), color, description));
    Answer::new(201, payloads::label(state, &name))
}

pub(super) fn run_event(shared: &Shared, state: &mut State, id: u64, action: &str) {
    let payload = payloads::run_event(state, &state.runs[&id], action);
    shared.deliver(state, "workflow_run", &payload);
}

fn actions(shared: &Shared, state: &mut State, method: &str, rest: &[&str], asked: &Asked) -> Option<Answer> {
    match (method, rest) {
        ("POST", ["workflows", workflow, "dispatches"]) => {
            if *workflow != WORKFLOW {
                return Some(Answer::not_found());
            }
            let body = asked.json();
            let inputs: BTreeMap<String, String> = serde_json::from_value(body["inputs"].clone()).unwrap_or_default();
            let size: usize = inputs.iter().map(|(name, value)| name.len() + value.len()).sum();
            if inputs.len() > 25 || size > 65_535 {
                return Some(Answer::message(422, "inputs are too large"));
            }
            let (id, created) = (state.id(), Utc::now());
            let reference = body["ref"].as_str()?.to_owned();
            let run = Run { id, reference, inputs, status: "queued".to_owned(), conclusion: None, attempt: 1, created, jobs: Vec::new() };
            state.runs.insert(id, run);
            run_event(shared, state, id, "requested");
            let url = format!("{}/repos/{REPOSITORY}/actions/runs/{id}", state.address);
            let details = body["return_run_details"].as_bool().unwrap_or(false);
            let page = format!("https://github.com/{REPOSITORY}/actions/runs/{id}");
            Some(if details { Answer::ok(json!({"workflow_run_id": id, "run_url": url, "html_url": page})) } else { Answer::empty(204) })
        }
        ("GET", ["workflows", _, "runs"]) => {
            let since = asked.query.get("created").and_then(|range| range.strip_prefix(">="));
            let since = since.map(|since| DateTime::parse_from_rfc3339(since).unwrap().to_utc());
            let fits = |run: &&Run| since.is_none_or(|since| run.created >= since);
            let runs = state.runs.values().rev().filter(fits).map(|run| payloads::run(state, run)).collect();
            Some(page_of(state, asked, runs, Some("workflow_runs")))
        }
        ("GET", ["runs", id]) => {
            let run = id.parse().ok().and_then(|id: u64| state.runs.get(&id));
            Some(run.map_or_else(Answer::not_found, |run| Answer::ok(payloads::run(state, run))))
        }
        ("GET", ["runs", id, "jobs"]) => {
            let run = state.runs.get(&id.parse().ok()?)?;
            let jobs = run.jobs.iter().map(|job| payloads::job(state, run, job)).collect();
            Some(page_of(state, asked, jobs, Some("jobs")))
        }
        ("GET", ["runs", id, "artifacts"]) => {
            let id: u64 = id.parse().ok()?;
            let artifacts = state
                .artifacts
                .values()
                .filter(|artifact| artifact.run == id)
                .map(|artifact| payloads::artifact(state, artifact))
                .collect();
            Some(page_of(state, asked, artifacts, Some("artifacts")))
        }
        ("POST", ["runs", id, "cancel"]) => {
            let id: u64 = id.parse().ok()?;
            let Some(run) = state.runs.get_mut(&id) else { return Some(Answer::not_found()) };
            if run.status == "completed" {
                return Some(Answer::message(409, "Cannot cancel a workflow run that is completed."));
            }
            run.status = "completed".to_owned();
            run.conclusion = Some("cancelled".to_owned());
            run_event(shared, state, id, "completed");
            Some(Answer::new(202, json!({})))
        }
        ("POST", ["runs", id, "rerun-failed-jobs"]) => {
            let id: u64 = id.parse().ok()?;
            let Some(run) = state.runs.get_mut(&id) else { return Some(Answer::not_found()) };
            if run.status != "completed" {
                return Some(Answer::message(403, "This workflow is already running"));
            }
            run.attempt += 1;
            run.status = "queued".to_owned();
            run.conclusion = None;
            run_event(shared, state, id, "requested");
            Some(Answer::new(201, json!({})))
        }
        ("GET", ["artifacts", id, "zip"]) => {
            let artifact = state.artifacts.get(&id.parse().ok()?)?;
            if artifact.expired {
                return Some(Answer::message(410, "Artifact has expired"));
            }
            let mut answer = Answer::empty(302);
            answer.headers.push(("location", format!("{}/{id}?signature=of-the-storage", state.storage)));
            Some(answer)
        }
        _ => None,
    }
}

/// The storage of artifacts: another host on GitHub, which takes its own signature and must never see the token.
fn storage(state: &State, id: &str, asked: &Asked) -> Answer {
    if asked.caller != Caller::Nobody || asked.query.get("signature").map(String::as_str) != Some("of-the-storage") {
        return Answer::message(400, "the storage takes no token");
    }
    let artifact = id.parse::<u64>().ok().and_then(|id| state.artifacts.get(&id));
    artifact.map_or_else(Answer::not_found, |artifact| Answer { raw: Some(artifact.archive.clone()), ..Answer::empty(200) })
}

fn releases(state: &mut State, method: &str, rest: &[&str], asked: &Asked) -> Option<Answer> {
    match (method, rest) {
        ("POST", []) => {
            let body = asked.json();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let (tag, name, text) = (text("tag_name"), text("name"), text("body"));
            if state.releases.values().any(|release| release.tag == tag) {
                return Some(Answer::exists("Release"));
            }
            let id = state.id();
            state.releases.insert(id, Release { id, tag, name, body: text, assets: Vec::new() });
            Some(Answer::new(201, payloads::release(state, &state.releases[&id])))
        }
        ("GET", ["tags", tag]) => {
            let release = state.releases.values().find(|release| release.tag == *tag);
            Some(release.map_or_else(Answer::not_found, |release| Answer::ok(payloads::release(state, release))))
        }
        ("DELETE", ["assets", id]) => {
            let id: u64 = id.parse().ok()?;
            for release in state.releases.values_mut() {
                if let Some(at) = release.assets.iter().position(|asset| asset.id == id) {
                    release.assets.remove(at);
                    return Some(Answer::empty(204));
                }
            }
            Some(Answer::not_found())
        }
        ("GET", [id, "assets"]) => {
            let release = state.releases.get(&id.parse().ok()?)?;
            let assets = release.assets.iter().map(|asset| payloads::asset(state, release, asset)).collect();
            Some(page(state, asked, assets))
        }
        ("POST", [id, "assets"]) => {
            let release: u64 = id.parse().ok()?;
            let name = asked.query.get("name")?.clone();
            let id = state.id();
            let assets = &mut state.releases.get_mut(&release)?.assets;
            if assets.iter().any(|asset| asset.name == name) {
                return Some(Answer::exists("ReleaseAsset"));
            }
            assets.push(Asset { id, name, content: asked.body.to_vec(), whole: true });
            let release = &state.releases[&release];
            Some(Answer::new(201, payloads::asset(state, release, release.assets.last()?)))
        }
        _ => None,
    }
}
