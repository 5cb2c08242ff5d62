//! The stateful stand-in for GitHub of all tests: what the bot asks of its API changes one state, people act on the same state, and every
//! change is told as a signed webhook: sent by itself where [`GitHub::webhooks_to`] says so, else handed to the test, which delivers, delays
//! or loses it. Failures come on demand. At the end [`GitHub::finish`] proves that nothing was left unread or undone.
//!
//! Start one per test with [`GitHub::start`]; it serves on a port of its own, in a thread of its own, until it is dropped.
#![allow(dead_code, reason = "every test uses a part of it")]
#![allow(clippy::assigning_clones, clippy::result_large_err, reason = "plain words over speed")]

mod answers;
mod payloads;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use slm_benchmark::github::webhook::Secrets;
use slm_benchmark::github::{Auth, RetryPolicy, Secret, Settings};

/// The repository.
pub(crate) const REPOSITORY: &str = "octo-org/leaderboard";
/// The personal token that the API takes.
pub(crate) const TOKEN: &str = "ghp_standin0123456789abcdefghijklmnopqrs";
/// The token of a workflow run, which belongs to no user.
pub(crate) const ACTIONS_TOKEN: &str = "ghs_standin0123456789abcdefghijklmnopqrs";
/// The webhook's secret.
pub(crate) const WEBHOOK_SECRET: &str = "stand-in webhook secret";
/// Account of the personal token.
pub(crate) const BOT: &str = "slm-bench-bot";
/// Account of a workflow run's token.
pub(crate) const ACTIONS_BOT: &str = "github-actions[bot]";
/// Who opens issues; read access.
pub(crate) const AUTHOR: &str = "author";
/// The owner.
pub(crate) const MAINTAINER: &str = "maintainer";
/// Somebody with read access.
pub(crate) const STRANGER: &str = "stranger";
/// A program with write access.
pub(crate) const PROGRAM: &str = "other-program[bot]";
/// The App, and its installation.
pub(crate) const APP_ID: u64 = 4242;
pub(crate) const INSTALLATION_ID: u64 = 777;
pub(crate) const APP_SLUG: &str = "slm-bench";
/// The workflow that can be dispatched.
pub(crate) const WORKFLOW: &str = "evaluate.yml";

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status instead of an answer, and no effect.
    Status(u16),
    /// This answer with the status 200, and no effect.
    Answer(Value),
    /// A secondary rate limit, with the seconds to wait where it tells them.
    SecondaryLimit(Option<u64>),
    /// The primary rate limit, with the seconds until its window ends.
    PrimaryLimit(i64),
    /// The connection closes before anything is done.
    DropBefore,
    /// The effect happens, then the connection closes without an answer.
    DropAfter,
    /// The effect happens, the answer is a 502 of the load balancer.
    BadGatewayAfter,
    /// The effect happens, the answer comes after this time.
    Slow(Duration),
    /// This process is killed before anything is done.
    KillBefore(u32),
    /// The effect happens, then this process is killed without an answer.
    KillAfter(u32),
}

struct PendingFault {
    method: &'static str,
    part: String,
    times: usize,
    fault: Fault,
}

impl PendingFault {
    /// Whether it concerns a request. A part that ends in `$` is the end of the path.
    fn concerns(&self, method: &str, target: &str) -> bool {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let fits = match self.part.strip_suffix('$') {
            Some(end) => path.ends_with(end),
            None => target.contains(&self.part),
        };
        self.times > 0 && self.method == method && fits
    }
}

/// What a test has not looked at yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unread {
    #[default]
    Nothing,
    /// The bot wrote it.
    New,
    /// The bot changed it.
    Changed,
}

/// An account.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) kind: &'static str,
    /// GitHub's word for what it may do here: `admin`, `maintain`, `write`, `triage`, `read`.
    pub(crate) role: String,
}

/// A comment.
#[derive(Clone)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) issue: u64,
    pub(crate) author: u64,
    pub(crate) body: String,
    pub(crate) created: DateTime<Utc>,
    pub(crate) updated: DateTime<Utc>,
    pub(crate) edits: usize,
    pub(crate) reactions: Vec<String>,
    /// Written or changed by the bot, and not looked at by the test since.
    unread: Unread,
}

struct Issue {
    id: u64,
    number: u64,
    title: String,
    body: String,
    author: u64,
    labels: Vec<String>,
    open: bool,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    reactions: Vec<String>,
    /// Every change of labels through the API, as `+name` and `-name`.
    label_changes: Vec<String>,
}

/// A run of the workflow.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) reference: String,
    pub(crate) inputs: BTreeMap<String, String>,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) attempt: u64,
    created: DateTime<Utc>,
    jobs: Vec<(u64, String, String)>,
}

struct Artifact {
    id: u64,
    run: u64,
    name: String,
    archive: Vec<u8>,
    expired: bool,
}

struct Release {
    id: u64,
    tag: String,
    name: String,
    body: String,
    assets: Vec<Asset>,
}

struct Asset {
    id: u64,
    name: String,
    content: Vec<u8>,
    whole: bool,
}

/// A webhook, sent or lost.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) body: String,
    pub(crate) signature: String,
    /// What the server answered; `None` while it is on its way, or was lost.
    pub(crate) status: Option<u16>,
    pub(crate) lost: bool,
}

/// A request that the API got.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: String,
    pub(crate) status: u16,
    /// Whether it carried a token.
    pub(crate) authorised: bool,
}

struct State {
    /// With which addresses in answers begin.
    address: String,
    /// Where the storage of artifacts is.
    storage: String,
    accounts: BTreeMap<u64, Account>,
    issues: BTreeMap<u64, Issue>,
    comments: BTreeMap<u64, Comment>,
    labels: Vec<(String, String, String)>,
    runs: BTreeMap<u64, Run>,
    artifacts: BTreeMap<u64, Artifact>,
    releases: BTreeMap<u64, Release>,
    installation_tokens: Vec<(String, DateTime<Utc>)>,
    /// How long tokens of the installation last.
    token_life: chrono::Duration,
    remaining: u64,
    faults: Vec<PendingFault>,
    seen: Vec<Seen>,
    unknown: Vec<String>,
    deliveries: Vec<Delivery>,
    hook: Option<String>,
    lose: bool,
    page: usize,
    next: u64,
    next_comment: u64,
}

/// The App's key: making one takes long, and every test may use the same.
static APP_KEY: LazyLock<rcgen::KeyPair> = LazyLock::new(|| rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap());

impl State {
    fn new_issue(&mut self, number: u64, author: u64, body: &str, labels: &[&str]) -> Issue {
        let (id, now) = (self.id(), Utc::now());
        Issue {
            id,
            number,
            title: "A model".to_owned(),
            body: body.to_owned(),
            author,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            open: true,
            created: now,
            updated: now,
            reactions: Vec::new(),
            label_changes: Vec::new(),
        }
    }

    fn new_comment(&mut self, issue: u64, author: u64, body: &str) -> Comment {
        self.next_comment += 1;
        let (id, now) = (self.next_comment, Utc::now());
        let (body, reactions) = (body.to_owned(), Vec::new());
        Comment { id, issue, author, body, created: now, updated: now, edits: 0, reactions, unread: Unread::Nothing }
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The accounts by which the bot speaks.
    fn bots(&self) -> [u64; 3] {
        [self.account(BOT), self.account(&format!("{APP_SLUG}[bot]")), self.account(ACTIONS_BOT)]
    }

    fn account(&self, login: &str) -> u64 {
        let account = self.accounts.values().find(|account| account.login.eq_ignore_ascii_case(login));
        account.unwrap_or_else(|| panic!("nobody is called {login}")).id
    }
}

struct Shared {
    state: Mutex<State>,
    outbox: Mutex<Option<mpsc::Sender<usize>>>,
    sent: Condvar,
    stopping: AtomicBool,
    in_flight: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a webhook, where one is set; called under the lock of the change that it tells.
    fn deliver(&self, state: &mut State, event: &str, payload: &Value) {
        if state.hook.is_none() {
            return;
        }
        let body = payload.to_string();
        let signature = secrets().sign(body.as_bytes());
        let id = format!("{:08x}-0000-4000-8000-{:012x}", state.id(), state.next);
        let lost = state.lose;
        state.deliveries.push(Delivery { id, event: event.to_owned(), body, signature, status: None, lost });
        if !lost {
            self.send(state.deliveries.len() - 1);
        }
    }

    fn send(&self, index: usize) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        if let Some(outbox) = self.outbox.lock().unwrap().as_ref() {
            outbox.send(index).unwrap();
        }
    }
}

fn secrets() -> Secrets {
    Secrets::new(vec![Secret::new("the webhook's secret", WEBHOOK_SECRET).unwrap()]).unwrap()
}

/// The running stand-in.
pub(crate) struct GitHub {
    shared: Arc<Shared>,
    port: u16,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl GitHub {
    /// Starts with the repository, its labels' absence, the accounts of the bot, [`MAINTAINER`], [`AUTHOR`], [`STRANGER`] and [`PROGRAM`].
    pub(crate) fn start() -> Self {
        Self::start_at(0)
    }

    /// As [`Self::start`], on a given port.
    pub(crate) fn start_at(port: u16) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State {
            address: format!("http://127.0.0.1:{port}"),
            storage: format!("http://127.0.0.1:{port}/storage"),
            accounts: BTreeMap::new(),
            issues: BTreeMap::new(),
            comments: BTreeMap::new(),
            labels: vec![("bug".to_owned(), "d73a4a".to_owned(), "Something is not working".to_owned())],
            runs: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            releases: BTreeMap::new(),
            installation_tokens: Vec::new(),
            token_life: chrono::Duration::hours(1),
            remaining: 5000,
            faults: Vec::new(),
            seen: Vec::new(),
            unknown: Vec::new(),
            deliveries: Vec::new(),
            hook: None,
            lose: false,
            page: 100,
            next: 1000,
            next_comment: 100,
        };
        let (outbox, inbox) = mpsc::channel();
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            outbox: Mutex::new(Some(outbox)),
            sent: Condvar::new(),
            stopping: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = Arc::clone(&shared);
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let serve = axum::serve(listener, answers::router(serving));
                tokio::select! {
                    result = serve => result.unwrap(),
                    _ = stopped => {}
                }
            });
            // Connections that are kept open must not keep the test waiting.
            runtime.shutdown_background();
        });
        let posting = Arc::clone(&shared);
        let poster = std::thread::spawn(move || post(&posting, &inbox));
        let github = Self { shared, port, stop: Some(stop), threads: vec![server, poster] };
        github.add_account(BOT, "User", "write");
        github.add_account(&format!("{APP_SLUG}[bot]"), "Bot", "none");
        github.add_account(ACTIONS_BOT, "Bot", "write");
        github.add_account(MAINTAINER, "User", "admin");
        github.add_account(AUTHOR, "User", "read");
        github.add_account(STRANGER, "User", "read");
        github.add_account(PROGRAM, "Bot", "write");
        github
    }

    /// Address of the API.
    pub(crate) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Addresses in answers begin with this instead: for a proxy in front.
    pub(crate) fn known_as(&self, address: &str) {
        self.shared.lock().address = address.to_owned();
    }

    /// Settings of a client with the personal token, impatient as tests are.
    pub(crate) fn settings(&self) -> Settings {
        self.settings_of(TOKEN)
    }

    /// Settings of a client with this token.
    pub(crate) fn settings_of(&self, token: &str) -> Settings {
        self.settings_with(Auth::Token(Secret::new("the token", token).unwrap()))
    }

    /// Settings of a client that is the App.
    pub(crate) fn app_settings(&self) -> Settings {
        let private_key = Secret::new("the key", &APP_KEY.serialize_pem()).unwrap();
        self.settings_with(Auth::App { app_id: APP_ID, installation_id: INSTALLATION_ID, private_key })
    }

    fn settings_with(&self, auth: Auth) -> Settings {
        Settings {
            api_url: self.api_url(),
            retry: RetryPolicy {
                tries: 4,
                first_pause: Duration::from_millis(5),
                secondary_pause: Duration::from_millis(20),
                longest_pause: Duration::from_secs(3),
            },
            timeout: Duration::from_mins(1),
            ..Settings::new(REPOSITORY.parse().unwrap(), auth)
        }
    }

    /// How long tokens of the installation last from now on.
    pub(crate) fn token_life(&self, life: chrono::Duration) {
        self.shared.lock().token_life = life;
    }

    /// Withdraws all tokens of the installation.
    pub(crate) fn withdraw_tokens(&self) {
        self.shared.lock().installation_tokens.clear();
    }

    /// Sends webhooks to this address from now on.
    pub(crate) fn webhooks_to(&self, address: &str) {
        self.shared.lock().hook = Some(address.to_owned());
    }

    /// Loses webhooks, or stops losing them. What was lost is never sent again by itself.
    pub(crate) fn lose_webhooks(&self, lose: bool) {
        self.shared.lock().lose = lose;
    }

    /// All webhooks so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.lock().deliveries.clone()
    }

    /// Sends a delivery again, with the same id, as an operator can on GitHub.
    pub(crate) fn redeliver(&self, id: &str) {
        let index = self.shared.lock().deliveries.iter().position(|delivery| delivery.id == id).unwrap();
        self.shared.send(index);
    }

    /// Waits until every webhook that was not lost is answered.
    pub(crate) fn wait_for_webhooks(&self) {
        let end = Instant::now() + Duration::from_mins(5);
        let mut state = self.shared.lock();
        while self.shared.in_flight.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < end, "the server does not answer its webhooks");
            state = self.shared.sent.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
        }
    }

    /// Adds an account; gives its id.
    pub(crate) fn add_account(&self, login: &str, kind: &'static str, role: &str) -> u64 {
        let mut state = self.shared.lock();
        let id = state.id();
        state.accounts.insert(id, Account { id, login: login.to_owned(), kind, role: role.to_owned() });
        id
    }

    /// An account by its name.
    pub(crate) fn account(&self, login: &str) -> Account {
        let state = self.shared.lock();
        state.accounts[&state.account(login)].clone()
    }

    /// Gives an account another name.
    pub(crate) fn rename(&self, login: &str, new: &str) {
        let mut state = self.shared.lock();
        let id = state.account(login);
        state.accounts.get_mut(&id).unwrap().login = new.to_owned();
    }

    /// Changes what an account may do.
    pub(crate) fn set_role(&self, login: &str, role: &str) {
        let mut state = self.shared.lock();
        let id = state.account(login);
        state.accounts.get_mut(&id).unwrap().role = role.to_owned();
    }

    /// Somebody opens an issue; gives its number and the webhook's payload.
    pub(crate) fn open_issue(&self, author: &str, body: &str, labels: &[&str]) -> (u64, Value) {
        let mut state = self.shared.lock();
        let author = state.account(author);
        let number = state.issues.len() as u64 + 1;
        let issue = state.new_issue(number, author, body, labels);
        state.issues.insert(number, issue);
        (number, self.issue_event(&mut state, "opened", number, author, json!({})))
    }

    fn issue_event(&self, state: &mut State, action: &str, number: u64, sender: u64, more: Value) -> Value {
        let payload = payloads::issue_event(state, action, number, sender, more);
        self.shared.deliver(state, "issues", &payload);
        payload
    }

    /// The author changes an issue's text; gives the webhook's payload.
    pub(crate) fn edit_issue(&self, number: u64, body: &str) -> Value {
        let mut state = self.shared.lock();
        let issue = state.issues.get_mut(&number).unwrap();
        issue.body = body.to_owned();
        issue.updated = Utc::now();
        let author = issue.author;
        // Empty in the published examples.
        self.issue_event(&mut state, "edited", number, author, json!({"changes": {}}))
    }

    /// The author closes an issue or opens it again; gives the webhook's payload.
    pub(crate) fn set_open(&self, number: u64, open: bool) -> Value {
        let mut state = self.shared.lock();
        let issue = state.issues.get_mut(&number).unwrap();
        issue.open = open;
        issue.updated = Utc::now();
        let author = issue.author;
        self.issue_event(&mut state, if open { "reopened" } else { "closed" }, number, author, json!({}))
    }

    /// Somebody adds a label to an issue or takes it away; gives the webhook's payload.
    pub(crate) fn label(&self, who: &str, number: u64, name: &str, add: bool) -> Value {
        let mut state = self.shared.lock();
        let who = state.account(who);
        let issue = state.issues.get_mut(&number).unwrap();
        issue.labels.retain(|label| label != name);
        if add {
            issue.labels.push(name.to_owned());
        }
        issue.updated = Utc::now();
        let label = payloads::label(&state, name);
        self.issue_event(&mut state, if add { "labeled" } else { "unlabeled" }, number, who, json!({"label": label}))
    }

    /// Somebody comments; gives the webhook's payload.
    pub(crate) fn comment(&self, issue: u64, author: &str, body: &str) -> Value {
        let mut state = self.shared.lock();
        let author = state.account(author);
        answers::add_comment(&self.shared, &mut state, author, issue, body, false).1
    }

    /// Somebody comments on an issue that nobody else knows; gives the webhook's payload, which is all there is of it.
    pub(crate) fn comment_on_nothing(&self, author: &str, body: &str) -> Value {
        let mut state = self.shared.lock();
        let author = state.account(author);
        let issue = state.new_issue(999, author, "text", &[]);
        state.issues.insert(999, issue);
        let comment = state.new_comment(999, author, body);
        let payload = payloads::comment_event(&state, "created", &comment, author);
        state.issues.remove(&999);
        self.shared.deliver(&mut state, "issue_comment", &payload);
        payload
    }

    /// The author of the comment of this payload changes it; gives the webhook's payload.
    pub(crate) fn edit_comment(&self, created: &Value, body: &str) -> Value {
        let mut state = self.shared.lock();
        let id = created["comment"]["id"].as_u64().unwrap();
        let author = state.comments[&id].author;
        answers::change_comment(&self.shared, &mut state, author, id, body, false)
    }

    /// The oldest comment of the bot that is new to the test, which has read it then.
    pub(crate) fn read_next(&self) -> Option<String> {
        let mut state = self.shared.lock();
        let new = state.comments.values_mut().find(|comment| comment.unread == Unread::New)?;
        new.unread = Unread::Nothing;
        Some(new.body.clone())
    }

    /// Texts of the bot's comments on an issue, oldest first, as they are now. They have been read for what changed; whoever wants a new one
    /// to count as read calls [`Self::read_next`].
    pub(crate) fn said(&self, issue: u64) -> Vec<String> {
        let mut state = self.shared.lock();
        let bots = state.bots();
        let own = state.comments.values_mut().filter(|comment| comment.issue == issue && bots.contains(&comment.author));
        own.map(|comment| {
            if comment.unread == Unread::Changed {
                comment.unread = Unread::Nothing;
            }
            comment.body.clone()
        })
        .collect()
    }

    /// Whether somebody has commented with this text.
    pub(crate) fn was_said(&self, body: &str) -> bool {
        self.shared.lock().comments.values().any(|comment| comment.body == body)
    }

    /// How often comments were changed, all together.
    pub(crate) fn edits(&self) -> usize {
        self.shared.lock().comments.values().map(|comment| comment.edits).sum()
    }

    /// Texts of all comments.
    pub(crate) fn all_said(&self) -> String {
        self.shared.lock().comments.values().map(|comment| comment.body.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Numbers of the issues, oldest first.
    pub(crate) fn issues(&self) -> Vec<u64> {
        self.shared.lock().issues.keys().copied().collect()
    }

    /// Somebody deletes a comment.
    pub(crate) fn delete_comment(&self, id: u64) {
        self.shared.lock().comments.remove(&id).unwrap();
    }

    /// Comments on an issue, oldest first. Those of the bot count as read afterwards.
    pub(crate) fn comments(&self, issue: u64) -> Vec<Comment> {
        let mut state = self.shared.lock();
        let on_issue = state.comments.values_mut().filter(|comment| comment.issue == issue);
        on_issue
            .map(|comment| {
                comment.unread = Unread::Nothing;
                comment.clone()
            })
            .collect()
    }

    /// Texts of the bot's comments on an issue, oldest first; read afterwards.
    pub(crate) fn bot_comments(&self, issue: u64) -> Vec<String> {
        let bots = self.shared.lock().bots();
        self.comments(issue).into_iter().filter(|comment| bots.contains(&comment.author)).map(|comment| comment.body).collect()
    }

    /// Labels of an issue, in alphabetical order.
    pub(crate) fn labels(&self, issue: u64) -> Vec<String> {
        let mut labels = self.shared.lock().issues[&issue].labels.clone();
        labels.sort();
        labels
    }

    /// Changes of an issue's labels through the API, in order: `+name`, `-name`.
    pub(crate) fn label_changes(&self, issue: u64) -> Vec<String> {
        self.shared.lock().issues[&issue].label_changes.clone()
    }

    /// Whether an issue is open.
    pub(crate) fn is_open(&self, issue: u64) -> bool {
        self.shared.lock().issues[&issue].open
    }

    /// Reactions to an issue.
    pub(crate) fn issue_reactions(&self, issue: u64) -> Vec<String> {
        self.shared.lock().issues[&issue].reactions.clone()
    }

    /// Runs of the workflow, oldest first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.shared.lock().runs.values().cloned().collect()
    }

    /// A runner begins with a run.
    pub(crate) fn begin_run(&self, id: u64, jobs: &[&str]) {
        let mut state = self.shared.lock();
        let jobs = jobs.iter().map(|job| (state.id(), (*job).to_owned(), "in_progress".to_owned())).collect();
        let run = state.runs.get_mut(&id).unwrap();
        run.jobs = jobs;
        run.status = "in_progress".to_owned();
        answers::run_event(&self.shared, &mut state, id, "in_progress");
    }

    /// A run ends, leaving artifacts: name and ZIP archive of each.
    pub(crate) fn finish_run(&self, id: u64, conclusion: &str, artifacts: Vec<(String, Vec<u8>)>) {
        let mut state = self.shared.lock();
        for (name, archive) in artifacts {
            let artifact = state.id();
            state.artifacts.insert(artifact, Artifact { id: artifact, run: id, name, archive, expired: false });
        }
        let run = state.runs.get_mut(&id).unwrap();
        run.status = "completed".to_owned();
        run.conclusion = Some(conclusion.to_owned());
        for job in &mut run.jobs {
            job.2 = "completed".to_owned();
        }
        answers::run_event(&self.shared, &mut state, id, "completed");
    }

    /// GitHub deletes the artifacts of all runs.
    pub(crate) fn expire_artifacts(&self) {
        self.shared.lock().artifacts.values_mut().for_each(|artifact| artifact.expired = true);
    }

    /// Files of a release, by name, that are whole.
    pub(crate) fn assets(&self, tag: &str) -> BTreeMap<String, Vec<u8>> {
        let state = self.shared.lock();
        let assets = state.releases.values().filter(|release| release.tag == tag).flat_map(|release| &release.assets);
        assets.filter(|asset| asset.whole).map(|asset| (asset.name.clone(), asset.content.clone())).collect()
    }

    /// An upload that broke off earlier.
    pub(crate) fn broken_asset(&self, tag: &str, name: &str) {
        let mut state = self.shared.lock();
        let id = state.id();
        let release = state.releases.values_mut().find(|release| release.tag == tag).unwrap();
        release.assets.push(Asset { id, name: name.to_owned(), content: Vec::new(), whole: false });
    }

    /// The next `times` requests of this method whose target contains `part` meet a fault. A part that ends in `$` is the end of the path.
    pub(crate) fn fault(&self, method: &'static str, part: &str, times: usize, fault: Fault) {
        self.shared.lock().faults.push(PendingFault { method, part: part.to_owned(), times, fault });
    }

    /// Ends all faults.
    pub(crate) fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Entries on a page, below the 100 that were asked for.
    pub(crate) fn page_size(&self, entries: usize) {
        self.shared.lock().page = entries;
    }

    /// All requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.lock().seen)
    }

    /// What the bot left behind: comments that nobody read, runs that are not over, issues that wait under a working label, webhooks that
    /// were refused, requests to addresses that GitHub does not have.
    pub(crate) fn left(&self) -> Vec<String> {
        let state = self.shared.lock();
        let mut left = Vec::new();
        left.extend(
            state
                .comments
                .values()
                .filter(|comment| comment.unread != Unread::Nothing)
                .map(|comment| format!("unread on #{} ({:?}): {}", comment.issue, comment.unread, comment.body)),
        );
        left.extend(state.runs.values().filter(|run| run.status != "completed").map(|run| format!("run {} is {}", run.id, run.status)));
        for issue in state.issues.values() {
            let working = issue.labels.iter().filter(|label| ["queued", "evaluating"].contains(&label.as_str()));
            left.extend(working.map(|label| format!("#{} is still {label}", issue.number)));
        }
        let refused = |delivery: &&Delivery| !delivery.lost && !matches!(delivery.status, Some(200..=299));
        left.extend(
            state.deliveries.iter().filter(refused).map(|delivery| format!("{} was answered {:?}", delivery.event, delivery.status)),
        );
        left.extend(state.unknown.iter().map(|request| format!("GitHub does not know {request}")));
        left
    }

    /// Ends the test: nothing may be left.
    pub(crate) fn finish(self) {
        self.wait_for_webhooks();
        let left = self.left();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Posts webhooks one after another, as GitHub does: each once, whatever the answer.
fn post(shared: &Shared, inbox: &mpsc::Receiver<usize>) {
    let client = reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    while let Some(index) = waiting.pop_front().or_else(|| inbox.recv().ok()) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let (hook, delivery) = {
            let state = shared.lock();
            (state.hook.clone(), state.deliveries[index].clone())
        };
        let status = hook.and_then(|hook| {
            let request = client
                .post(hook)
                .header("content-type", "application/json")
                .header("user-agent", "GitHub-Hookshot/standin")
                .header("x-github-event", &delivery.event)
                .header("x-github-delivery", &delivery.id)
                .header("x-github-hook-id", "1")
                .header("x-hub-signature-256", &delivery.signature);
            request.body(delivery.body).send().ok().map(|response| response.status().as_u16())
        });
        shared.lock().deliveries[index].status = status;
        shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        shared.sent.notify_all();
    }
}

/// A ZIP archive of these files, stored, as `actions/upload-artifact` would make one.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let offset = u32::try_from(archive.len()).unwrap();
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let common = [&[20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0x50][..], &crc.sum().to_le_bytes(), &size, &size, &length, &[0, 0]].concat();
        archive.extend([&b"PK\x03\x04"[..], &common, name.as_bytes(), content].concat());
        let mode = [0, 0, 0, 0, 0, 0, 0, 0, 0xa4, 0x81];
        directory.extend([&b"PK\x01\x02\x14\x03"[..], &common, &mode, &offset.to_le_bytes(), name.as_bytes()].concat());
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let (size, begin) = (u32::try_from(directory.len()).unwrap(), u32::try_from(archive.len()).unwrap());
    archive.extend(directory);
    archive.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size.to_le_bytes(), &begin.to_le_bytes(), &[0, 0]].concat());
    archive
}
