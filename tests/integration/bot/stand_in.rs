//! A GitHub for tests: issues, comments, labels and permissions as state; endpoints read and write it, and webhooks are made from it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// `owner/name` of the repository.
pub(super) const REPOSITORY: &str = "octo-org/leaderboard";

/// Accounts: name, and what it may do.
const ACCOUNTS: [(u64, &str, &str, &str); 5] = [
    (1, "author", "read", "User"),
    (2, "maintainer", "write", "User"),
    (3, "stranger", "read", "User"),
    (4, "other-program[bot]", "write", "Bot"),
    (9, "slm-bot", "write", "User"),
];
pub(super) const AUTHOR: u64 = 1;
pub(super) const MAINTAINER: u64 = 2;
pub(super) const STRANGER: u64 = 3;
pub(super) const PROGRAM: u64 = 4;
const BOT: u64 = 9;

/// What goes wrong with the next matching call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// 502, and nothing was done.
    Before,
    /// 502 after it was done: the answer is lost.
    After,
    /// 403 for calling too often, nothing was done.
    TooOften,
}

/// Whether something happens before a call takes effect or after, with its answer lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) issues: BTreeMap<u64, Value>,
    pub(super) comments: BTreeMap<u64, Value>,
    labels: BTreeMap<String, Value>,
    /// Comments that the bot made and no test has read yet.
    unread: Vec<u64>,
    /// How often each comment was changed.
    pub(super) edits: BTreeMap<u64, u32>,
    /// Label changes, as `+name` and `-name`.
    pub(super) label_changes: Vec<String>,
    faults: Vec<(Method, String, Fault)>,
    kills: Vec<(Method, String, When, u32)>,
    /// Calls that no endpoint knows.
    pub(super) unknown: Vec<String>,
    next: u64,
    /// Counts calls; serves as the clock.
    seconds: i64,
}

#[derive(Clone)]
pub(super) struct StandIn {
    state: Arc<Mutex<State>>,
    pub(super) address: String,
}

impl StandIn {
    pub(super) fn start() -> Self {
        let state = Arc::new(Mutex::new(State { next: 100, ..State::default() }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        // It ends with the test process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
            });
        });
        Self { state, address }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next call of this method whose path ends so goes wrong.
    pub(super) fn fail(&self, method: Method, path: &str, fault: Fault) {
        self.state().faults.push((method, path.to_owned(), fault));
    }

    /// The process is killed at the next call of this method whose path ends so.
    pub(super) fn kill_at(&self, method: Method, path: &str, when: When, pid: u32) {
        self.state().kills.push((method, path.to_owned(), when, pid));
    }

    /// A comment on an issue that is none of the bot's business; only the event.
    pub(super) fn comment_on_nothing(&self, user: u64, body: &str) -> Value {
        let mut state = self.state();
        state.next += 1;
        let (id, now) = (state.next, state.now());
        let issue = json!({
            "id": 999, "number": 999, "title": "Something else", "body": "", "user": account(user), "labels": [], "state": "open",
            "created_at": now, "updated_at": now, "html_url": format!("https://github.com/{REPOSITORY}/issues/999"),
        });
        let comment = json!({
            "id": id, "body": body, "user": account(user), "created_at": now, "updated_at": now,
            "issue_url": format!("https://api.github.com/repos/{REPOSITORY}/issues/999"),
            "html_url": format!("https://github.com/{REPOSITORY}/issues/999#issuecomment-{id}"),
        });
        event("created", &issue, Some(&comment), user)
    }

    /// Opens an issue; gives the event.
    pub(super) fn open_issue(&self, user: u64, body: &str, labels: &[&str]) -> (u64, Value) {
        let mut state = self.state();
        let number = state.issues.len() as u64 + 1;
        let now = state.now();
        let labels: Vec<Value> = labels.iter().map(|name| label(name)).collect();
        let issue = json!({
            "id": 1_000 + number, "number": number, "title": "A model", "body": body, "user": account(user), "labels": labels,
            "state": "open", "created_at": now, "updated_at": now, "html_url": format!("https://github.com/{REPOSITORY}/issues/{number}"),
        });
        state.issues.insert(number, issue.clone());
        (number, event("opened", &issue, None, user))
    }

    /// Changes the text of an issue.
    pub(super) fn edit_issue(&self, number: u64, body: &str) -> Value {
        self.change_issue(number, "edited", |issue| issue["body"] = json!(body))
    }

    /// Closes or reopens an issue.
    pub(super) fn set_open(&self, number: u64, open: bool) -> Value {
        let (action, state) = if open { ("reopened", "open") } else { ("closed", "closed") };
        self.change_issue(number, action, |issue| issue["state"] = json!(state))
    }

    fn change_issue(&self, number: u64, action: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut state = self.state();
        let now = state.now();
        let issue = state.issues.get_mut(&number).unwrap();
        change(issue);
        issue["updated_at"] = json!(now);
        event(action, issue, None, AUTHOR)
    }

    /// Somebody comments.
    pub(super) fn comment(&self, number: u64, user: u64, body: &str) -> Value {
        let mut state = self.state();
        let comment = state.add_comment(number, user, body);
        event("created", &state.issues[&number], Some(&comment), user)
    }

    /// Somebody changes a comment.
    pub(super) fn edit_comment(&self, created: &Value, body: &str) -> Value {
        let mut state = self.state();
        let now = state.now();
        let comment = state.comments.get_mut(&created["comment"]["id"].as_u64().unwrap()).unwrap();
        comment["body"] = json!(body);
        comment["updated_at"] = json!(now);
        let comment = comment.clone();
        let number = created["issue"]["number"].as_u64().unwrap();
        event("edited", &state.issues[&number], Some(&comment), comment["user"]["id"].as_u64().unwrap())
    }

    /// Names of an issue's labels, sorted.
    pub(super) fn labels(&self, number: u64) -> Vec<String> {
        let mut names: Vec<String> = self.state().issues[&number]["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Texts of the bot's comments on an issue, the first first.
    pub(super) fn said(&self, number: u64) -> Vec<String> {
        let state = self.state();
        let on_issue = |comment: &&Value| comment["issue_url"].as_str().unwrap().ends_with(&format!("/{number}"));
        let own = state.comments.values().filter(|comment| comment["user"]["id"] == BOT).filter(on_issue);
        own.map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }

    /// The oldest comment of the bot that has not been read, and marks it as read.
    pub(super) fn read_next(&self) -> Option<String> {
        let mut state = self.state();
        if state.unread.is_empty() {
            return None;
        }
        let id = state.unread.remove(0);
        Some(state.comments[&id]["body"].as_str().unwrap().to_owned())
    }
}

impl State {
    fn now(&mut self) -> String {
        self.seconds += 1;
        // Later than any server's start, so that comments count as new.
        (chrono::Utc::now() + chrono::TimeDelta::milliseconds(self.seconds)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    fn add_comment(&mut self, number: u64, user: u64, body: &str) -> Value {
        self.next += 1;
        let (id, now) = (self.next, self.now());
        let comment = json!({
            "id": id, "body": body, "user": account(user), "created_at": now, "updated_at": now,
            "issue_url": format!("https://api.github.com/repos/{REPOSITORY}/issues/{number}"),
            "html_url": format!("https://github.com/{REPOSITORY}/issues/{number}#issuecomment-{id}"),
        });
        self.comments.insert(id, comment.clone());
        if user == BOT {
            self.unread.push(id);
        }
        comment
    }

    fn fault(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let place = self.faults.iter().position(|(of, end, _)| of == method && path.ends_with(end.as_str()))?;
        Some(self.faults.remove(place).2)
    }

    fn endpoint(&mut self, method: &Method, path: &str, query: &str, body: &Value) -> Option<(u16, Value)> {
        let rest = path.strip_prefix("/repos/octo-org/leaderboard");
        let parts: Vec<&str> = rest.unwrap_or(path).trim_matches('/').split('/').collect();
        let comments_of = |state: &Self, number: &str| -> Vec<Value> {
            let end = format!("/issues/{number}");
            state.comments.values().filter(|comment| comment["issue_url"].as_str().unwrap().ends_with(&end)).cloned().collect()
        };
        let missing = || Some((404, json!({"message": "Not Found", "documentation_url": "https://docs.github.com/rest"})));
        Some(match (method.as_str(), parts.as_slice()) {
            ("GET", ["user"]) if rest.is_none() => (200, account(BOT)),
            _ if rest.is_none() => return None,
            ("GET", [""]) => (200, json!({"id": 77, "full_name": REPOSITORY, "permissions": {"push": true, "pull": true}})),
            ("GET", ["labels"]) => (200, self.labels.values().cloned().collect()),
            ("POST", ["labels"]) => {
                self.labels.insert(body["name"].as_str()?.to_owned(), body.clone());
                (201, body.clone())
            }
            ("GET", ["issues"]) => {
                let wants_label = query.contains("labels=submission");
                let wants_open = query.contains("state=open");
                let fits = |issue: &&Value| {
                    (!wants_open || issue["state"] == "open")
                        && (!wants_label
                            || issue["labels"].as_array().is_some_and(|labels| labels.iter().any(|label| label["name"] == "submission")))
                };
                (200, self.issues.values().filter(fits).cloned().collect())
            }
            ("GET", ["issues", "comments"]) => (200, self.comments.values().cloned().collect()),
            ("GET", ["issues", "comments", id]) => match self.comments.get(&id.parse().ok()?) {
                Some(comment) => (200, comment.clone()),
                None => return missing(),
            },
            ("PATCH", ["issues", "comments", id]) => {
                let id = id.parse().ok()?;
                let Some(comment) = self.comments.get_mut(&id) else { return missing() };
                comment["body"] = body["body"].clone();
                *self.edits.entry(id).or_default() += 1;
                (200, comment.clone())
            }
            ("GET", ["issues", number]) => match self.issues.get(&number.parse().ok()?) {
                Some(issue) => (200, issue.clone()),
                None => return missing(),
            },
            ("GET", ["issues", number, "comments"]) => (200, comments_of(self, number).into()),
            ("POST", ["issues", number, "comments"]) => {
                let text = body["body"].as_str()?;
                if text.chars().count() > 65_536 {
                    return Some((422, json!({"message": "Validation Failed"})));
                }
                (201, self.add_comment(number.parse().ok()?, BOT, text))
            }
            ("GET", ["issues", number, "labels"]) => (200, self.issues.get(&number.parse().ok()?)?["labels"].clone()),
            ("POST", ["issues", number, "labels"]) => {
                let issue = self.issues.get_mut(&number.parse().ok()?)?;
                for name in body["labels"].as_array()? {
                    self.label_changes.push(format!("+{}", name.as_str()?));
                    issue["labels"].as_array_mut()?.push(label(name.as_str()?));
                }
                (200, issue["labels"].clone())
            }
            ("DELETE", ["issues", number, "labels", name]) => {
                let issue = self.issues.get_mut(&number.parse().ok()?)?;
                self.label_changes.push(format!("-{name}"));
                issue["labels"].as_array_mut()?.retain(|label| label["name"] != *name);
                (200, issue["labels"].clone())
            }
            ("GET", ["collaborators", login, "permission"]) => {
                let (id, _, permission, _) = ACCOUNTS.iter().find(|(_, name, ..)| name == login)?;
                (200, json!({"permission": permission, "role_name": permission, "user": account(*id)}))
            }
            _ => return None,
        })
    }
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut state = state.lock().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let fault = state.fault(&method, uri.path());
    let lost = (StatusCode::BAD_GATEWAY, Json(json!({"message": "Server Error"})));
    match fault {
        Some(Fault::Before) => return lost.into_response(),
        Some(Fault::TooOften) => {
            let text = json!({"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."});
            return (StatusCode::FORBIDDEN, [("retry-after", "1")], Json(text)).into_response();
        }
        Some(Fault::After) | None => {}
    }
    let kill = state.kills.iter().position(|(of, end, ..)| *of == method && uri.path().ends_with(end.as_str()));
    let kill = kill.map(|place| state.kills.remove(place));
    if let Some((.., When::Before, pid)) = kill {
        end(pid);
        return lost.into_response();
    }
    let done = state.endpoint(&method, uri.path(), uri.query().unwrap_or_default(), &body);
    let Some((status, value)) = done else {
        state.unknown.push(format!("{method} {uri}"));
        return (StatusCode::NOT_FOUND, Json(json!({"message": "Not Found"}))).into_response();
    };
    if let Some((.., When::After, pid)) = kill {
        end(pid);
    }
    if fault == Some(Fault::After) || kill.is_some() {
        return lost.into_response();
    }
    (StatusCode::from_u16(status).unwrap(), Json(value)).into_response()
}

/// Ends a process by force, and returns when it does nothing any more.
fn end(pid: u32) {
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

fn account(id: u64) -> Value {
    let (_, login, _, kind) = ACCOUNTS.iter().find(|(known, ..)| *known == id).unwrap();
    json!({"id": id, "login": login, "type": kind})
}

fn label(name: &str) -> Value {
    json!({"id": 1, "name": name, "color": "ededed", "description": ""})
}

fn event(action: &str, issue: &Value, comment: Option<&Value>, sender: u64) -> Value {
    let repository = json!({"id": 77, "full_name": REPOSITORY});
    let mut event = json!({"action": action, "issue": issue, "repository": repository, "sender": account(sender)});
    if let Some(comment) = comment {
        event["comment"] = comment.clone();
    }
    event
}
