//! What the bot promises, with the program as operators run it: a real server process on a real store, a real bare repository, and a stand-in
//! for GitHub. Every test ends by proving that no comment is unread, no delivery unhandled and no job unfinished.

mod actions;
mod comments;
mod crashes;
mod health;
mod release;
mod submissions;
#[cfg(feature = "native")]
mod unfit;
mod without_server;

use crate::github_stand_in as stand_in;
use serde_json::Value;
use slm_benchmark::bot::MARKER;
use slm_benchmark::bot::status::remembered;
use slm_benchmark::bot::store::{Job, JobState, Store};
use slm_benchmark::github::Secret;
use slm_benchmark::github::webhook::{DELIVERY_HEADER, EVENT_HEADER, SIGNATURE_HEADER, Secrets};
use stand_in::{ACTIONS_TOKEN, GitHub, TOKEN, WEBHOOK_SECRET as SECRET};
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What must stand nowhere.
const SECRETS: [&str; 3] = [TOKEN, ACTIONS_TOKEN, SECRET];
/// Longest wait for anything: only a test that fails waits so long, on a machine that does a lot besides.
const PATIENCE: Duration = Duration::from_mins(5);
/// The demonstration model's repository.
const MODEL: &str = "slm-benchmark/demo-1m";

/// An operator's machine with the bot on it.
struct Bench {
    folder: tempfile::TempDir,
    github: GitHub,
    server: Option<Child>,
    address: String,
    log: Arc<Mutex<String>>,
    deliveries: std::cell::Cell<u32>,
}

impl Bench {
    /// A running bot with this policy.
    fn start(policy: &str) -> Self {
        let mut bench = Self::prepare(policy);
        bench.run();
        bench
    }

    /// A running bot that has compared GitHub's state with its own once and does not do so again: what it learns, webhooks tell it.
    fn start_without_reconciliation(policy: &str) -> Self {
        let mut bench = Self::prepare(policy);
        let config = fs::read_to_string(bench.path("slm-bench.toml")).unwrap();
        fs::write(bench.path("slm-bench.toml"), config.replace("interval_minutes = 0.02", "interval_minutes = 600")).unwrap();
        bench.run();
        bench.wait("the first round is over", |bench| bench.store().recall("reconciled").unwrap().is_some());
        bench
    }

    /// A running bot to which GitHub itself sends every webhook, also those about what the bot does; it compares nothing.
    fn start_with_webhooks(policy: &str) -> Self {
        let bench = Self::start_without_reconciliation(policy);
        bench.github.webhooks_to(&format!("{}/webhook", bench.address));
        bench
    }

    /// Everything but the server.
    fn prepare(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let github = GitHub::start();
        let path = folder.path();
        git2::Repository::init_opts(path.join("remote.git"), git2::RepositoryInitOptions::new().bare(true).initial_head("main")).unwrap();
        hub_cache(&path.join("hub"));
        fs::write(path.join("token"), TOKEN).unwrap();
        fs::write(path.join("secret"), SECRET).unwrap();
        let config = format!(
            r#"
[server]
listen = "127.0.0.1:0"
[storage]
database = "store.sqlite"
work = "work"
lease_seconds = 2
[repository]
name = "{}"
remote = "file://{}"
[github]
api = "{}"
token = {{ file = "token" }}
[webhook]
secret = {{ file = "secret" }}
[policy]
suite = "smoke"
{policy}
[executor]
device = "cpu"
dtype = "f32"
[reconciliation]
interval_minutes = 0.02
"#,
            stand_in::REPOSITORY,
            path.join("remote.git").display(),
            github.api_url()
        );
        fs::write(path.join("slm-bench.toml"), config).unwrap();
        let deliveries = std::cell::Cell::new(0);
        Self { folder, github, server: None, address: String::new(), log: Arc::default(), deliveries }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&mut self) {
        self.run_by(&[], None);
    }

    /// A server that ends itself at this point.
    fn run_crashing_at(&mut self, point: &str) {
        self.run_by(&[], Some(point));
    }

    /// A server started by another program, which is given the command line.
    fn run_by(&mut self, starter: &[&str], crash: Option<&str>) {
        let program = env!("CARGO_BIN_EXE_slm-bench");
        let mut words = starter.iter().copied().chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command.args(words);
        if let Some(point) = crash {
            command.env("SLM_BENCH_CRASH_AT", point);
        }
        let mut server = command
            .args(["serve", "--config"])
            .arg(self.path("slm-bench.toml"))
            .env("HF_HUB_CACHE", self.path("hub"))
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("HF_TOKEN")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let log = Arc::clone(&self.log);
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {}", log.lock().unwrap())).unwrap();
            let _ = writeln!(log.lock().unwrap(), "{line}");
            if let Some(address) = line.strip_prefix("listening on ") {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = writeln!(log.lock().unwrap(), "{line}");
            }
        });
        self.address = address;
        self.server = Some(server);
    }

    /// The server is killed, as by a power cut.
    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// The server is asked to end, and ends in time and in order.
    fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        let asked = Instant::now();
        let pid = server.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = loop {
            if let Some(status) = server.try_wait().unwrap() {
                break status;
            }
            if asked.elapsed() > PATIENCE {
                server.kill().unwrap();
                panic!("it does not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{status}: {}", self.log());
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store.sqlite")).unwrap()
    }

    /// Sends a webhook; gives the status of the answer.
    fn deliver(&self, name: &str, event: &Value) -> u16 {
        let number = self.deliveries.get() + 1;
        self.deliveries.set(number);
        self.deliver_as(&format!("delivery-{number}"), name, event)
    }

    fn deliver_as(&self, id: &str, name: &str, event: &Value) -> u16 {
        post(&self.address, id, name, event).unwrap()
    }

    /// Sends a webhook to a server that may be gone.
    fn try_deliver(&self, name: &str, event: &Value) {
        let number = self.deliveries.get() + 1;
        self.deliveries.set(number);
        let _ = post(&self.address, &format!("delivery-{number}"), name, event);
    }

    /// Whether the server has ended by itself.
    fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_none_or(|server| server.try_wait().unwrap().is_some())
    }

    /// Opens an issue, with its webhook.
    fn open(&self, body: &str) -> u64 {
        let (number, event) = self.github.open_issue(stand_in::AUTHOR, body, &["submission"]);
        assert_eq!(self.deliver("issues", &event), 202);
        number
    }

    /// Comments, with the webhook.
    fn say(&self, issue: u64, user: &str, text: &str) -> Value {
        let event = self.github.comment(issue, user, text);
        // 200 where reconciliation was faster.
        assert!(matches!(self.deliver("issue_comment", &event), 200 | 202));
        event
    }

    /// Waits until it holds.
    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "still waiting until {what}; the bot said {:#?}\n{}", self.github.said(1), self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The latest job of an issue.
    fn job(&self, issue: u64) -> Option<Job> {
        self.store().job_of_issue(issue).unwrap()
    }

    /// Waits until the issue's job is in this state and the issue shows it.
    #[track_caller]
    fn wait_for(&self, issue: u64, state: JobState) -> Job {
        self.wait(&format!("issue {issue} is {state}"), |bench| {
            bench.job(issue).is_some_and(|job| {
                assert!(job.state == state || job.state != JobState::Failed, "it became {}: {:?}\n{}", job.state, job.error, bench.log());
                job.state == state && job.shown == Some(state)
            })
        });
        self.job(issue).unwrap()
    }

    /// The next comment of the bot that nobody has read.
    #[track_caller]
    fn read(&self) -> String {
        let comment = std::cell::RefCell::new(None);
        self.wait("the bot comments", |bench| {
            *comment.borrow_mut() = bench.github.read_next();
            comment.borrow().is_some()
        });
        comment.into_inner().unwrap()
    }

    /// Commits on the branch, newest first, as (message, paths in the tree).
    fn commits(&self) -> Vec<(String, Vec<String>)> {
        let repository = git2::Repository::open_bare(self.path("remote.git")).unwrap();
        let Ok(tip) = repository.refname_to_id("refs/heads/main") else { return Vec::new() };
        let mut walk = repository.revwalk().unwrap();
        walk.push(tip).unwrap();
        let of = |id: Result<git2::Oid, git2::Error>| {
            let commit = repository.find_commit(id.unwrap()).unwrap();
            let mut paths = Vec::new();
            commit
                .tree()
                .unwrap()
                .walk(git2::TreeWalkMode::PreOrder, |parent, entry| {
                    paths.push(format!("{parent}{}", entry.name().unwrap_or_default()));
                    git2::TreeWalkResult::Ok
                })
                .unwrap();
            (commit.message().unwrap().to_owned(), paths)
        };
        walk.map(of).collect()
    }

    /// Ends the server, and proves that nothing is left: no comment unread, no delivery unhandled, no job unfinished, no call unknown, and no
    /// secret anywhere.
    #[track_caller]
    fn finish(mut self) {
        self.wait("every delivery is handled", |bench| bench.store().pending_deliveries().unwrap().is_empty());
        let settled = |job: &Job| job.state.is_final() && job.shown == Some(job.state);
        self.wait("every job is finished and shown", |bench| bench.store().jobs_in(&JobState::ALL).unwrap().iter().all(settled));
        self.stop();
        assert_eq!(self.store().counts().unwrap().deliveries_given_up, 0);
        for issue in self.github.issues() {
            let state = self.job(issue).map(|job| job.state.to_string());
            assert_eq!(self.read_status(issue), state, "issue {issue} shows another state than its job has");
        }
        self.prove_that_nothing_is_left();
    }

    /// Reads what the status comment of an issue says now, and gives the state in it; `None` where there is no such comment. There is never
    /// a second one.
    #[track_caller]
    fn read_status(&self, issue: u64) -> Option<String> {
        let said = self.github.said(issue);
        let statuses: Vec<&String> = said.iter().filter(|text| text.starts_with(MARKER)).collect();
        assert!(statuses.len() <= 1, "issue {issue} has {} status comments", statuses.len());
        statuses.first().map(|text| remembered(text).unwrap_or_else(|| panic!("nothing is remembered in {text}")).state)
    }

    /// No comment is unread, no call unknown, no webhook refused, no issue still at work, and no secret anywhere.
    #[track_caller]
    fn prove_that_nothing_is_left(&self) {
        self.github.wait_for_webhooks();
        let left = self.github.left();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        self.no_secret_anywhere();
    }

    /// Neither token nor webhook secret in the log, in comments, in the repository or in what the bot keeps.
    fn no_secret_anywhere(&self) {
        for (place, text) in [("the log", self.log()), ("a comment", self.github.all_said())] {
            for secret in SECRETS {
                assert!(!text.contains(secret), "a secret is in {place}");
            }
        }
        for folder in ["work", "remote.git", "store.sqlite", "store.sqlite-wal"] {
            search(&self.path(folder));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Sends a signed webhook to a server; gives the status of the answer.
fn post(address: &str, id: &str, name: &str, event: &Value) -> reqwest::Result<u16> {
    let body = serde_json::to_vec(event).unwrap();
    let secrets = Secrets::new(vec![Secret::new("the secret", SECRET).unwrap()]).unwrap();
    let answer = reqwest::blocking::Client::new()
        .post(format!("{address}/webhook"))
        .header("content-type", "application/json")
        .header(EVENT_HEADER, name)
        .header(DELIVERY_HEADER, id)
        .header(SIGNATURE_HEADER, secrets.sign(&body))
        .body(body)
        .send()?;
    Ok(answer.status().as_u16())
}

/// Fails where a file holds a secret.
fn search(path: &Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            search(&entry.unwrap().path());
        }
    } else if let Ok(bytes) = fs::read(path) {
        for secret in SECRETS {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "a secret is in {}", path.display());
        }
    }
}

/// A cache of the hub with the demonstration model, at a made-up commit.
fn hub_cache(root: &Path) {
    let home = root.join(format!("models--{}", MODEL.replace('/', "--")));
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = home.join("snapshots").join(commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(home.join("refs")).unwrap();
    fs::write(home.join("refs/main"), commit).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), snapshot.join(entry.file_name())).unwrap();
    }
}

/// The text of an issue that submits the demonstration model.
fn submission() -> String {
    format!(
        "### Submission\n\n```yaml\nmodel:\n  name: demo-1m\n  family: demo\n  hf_repo: {MODEL}\n  parameters: 1.26M\n  architecture: llama\n  \
         license: apache-2.0\n  submitted_by: author\n  categories: [reasoning, math, language, safety]\n  quantizations:\n    - name: BF16\n      \
         format: safetensors\n```\n"
    )
}
