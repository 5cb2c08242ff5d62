//! Load on the webhook server while an evaluation runs: latency at a fixed rate, throughput without a bound, and whether every accepted delivery is
//! in the store afterwards.
//!
//!     cargo bench --bench webhooks                                   # 200 requests a second for 60 s, then 10 s without a bound
//!     cargo bench --bench webhooks -- --rate 500 --seconds 20
//!
//! Starts the real `slm-bench serve` with a store on this disk, a stand-in for GitHub's API that knows the bot and no issue, and, again and again, a
//! real evaluation (`slm-bench demo`). `SLM_BENCH_PROGRAM` names another build of the server, `SLM_BENCH_EVALUATOR` one with the engine. Latency counts from the moment at which a request was
//! due, so a server that stalls cannot hide it. Ends with 1 if an accepted delivery is missing.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a measurement that cannot be taken is to stop")]

use axum::http::StatusCode;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};
use slm_benchmark::github::Secret;
use slm_benchmark::github::webhook::Secrets;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SECRET: &str = "a secret for this measurement alone";
/// Connections that send without a bound in the second part.
const SENDERS: usize = 32;

struct Options {
    rate: u32,
    seconds: u32,
    unbounded_seconds: u32,
}

fn options() -> Options {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u32| {
        let place = arguments.iter().position(|argument| argument == name);
        place.map_or(default, |place| arguments.get(place + 1).and_then(|text| text.parse().ok()).expect("a number after the option"))
    };
    Options { rate: number("--rate", 200), seconds: number("--seconds", 60), unbounded_seconds: number("--unbounded-seconds", 10) }
}

fn main() -> ExitCode {
    let options = options();
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let program = named("SLM_BENCH_PROGRAM").unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_slm-bench")));
    let evaluator = named("SLM_BENCH_EVALUATOR").unwrap_or_else(|| program.clone());
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let github = runtime.block_on(stand_in());
    let server = Server::start(&program, folder.path(), &github);
    let evaluations = Evaluations::start(&evaluator, folder.path());

    let sender = Arc::new(Sender::new(&server.address));
    let (accepted, latencies) = runtime.block_on(at_a_rate(&sender, options.rate, options.seconds));
    let finished = evaluations.finished();
    report("at a fixed rate", &latencies, accepted.len(), f64::from(options.seconds));
    let (more, latencies) = runtime.block_on(without_a_bound(&sender, options.unbounded_seconds));
    report("without a bound", &latencies, more.len(), f64::from(options.unbounded_seconds));
    println!("evaluations meanwhile: {finished} finished in the first part, one always under way");
    drop(evaluations);

    let stopping = Instant::now();
    let code = server.stop();
    println!("SIGTERM: exit {code:?} after {:.1} s", stopping.elapsed().as_secs_f64());
    let all: Vec<String> = accepted.into_iter().chain(more).collect();
    let missing = missing(&folder.path().join("store.sqlite"), &all);
    println!("accepted {}, missing in the store {missing}", all.len());
    if missing == 0 && code == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// GitHub's API as far as the bot asks at its start and on its timer: its own account, the repository, no issues.
async fn stand_in() -> String {
    async fn answer(method: axum::http::Method, uri: axum::http::Uri, body: axum::body::Bytes) -> (StatusCode, Json<Value>) {
        let body = match uri.path() {
            // What is made is there.
            _ if method == axum::http::Method::POST => {
                return (StatusCode::CREATED, Json(serde_json::from_slice(&body).unwrap_or_default()));
            }
            "/user" => json!({ "id": 1, "login": "bench", "type": "User" }),
            "/repos/octo-org/leaderboard" => json!({ "id": 2, "full_name": "octo-org/leaderboard", "permissions": { "push": true } }),
            path if path.ends_with("/issues") || path.ends_with("/comments") || path.ends_with("/labels") => json!([]),
            _ => return (StatusCode::NOT_FOUND, Json(json!({ "message": "Not Found" }))),
        };
        (StatusCode::OK, Json(body))
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    address
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, folder: &Path, github: &str) -> Self {
        let git = |arguments: &[&str]| assert!(Command::new("git").args(arguments).current_dir(folder).status().expect("git").success());
        git(&["init", "--quiet", "--bare", "remote.git"]);
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[storage]\ndatabase = \"store.sqlite\"\nwork = \"work\"\n[repository]\nname = \"octo-org/leaderboard\"\n\
             remote = \"{}\"\n[github]\napi = \"{github}\"\ntoken = {{ env = \"BENCH_TOKEN\" }}\n[webhook]\nsecret = {{ env = \"BENCH_SECRET\" }}\n",
            folder.join("remote.git").display()
        );
        std::fs::write(folder.join("slm-bench.toml"), config).expect("the configuration");
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(folder.join("slm-bench.toml"))
            .env("BENCH_TOKEN", "token")
            .env("BENCH_SECRET", SECRET)
            .env("HF_HUB_OFFLINE", "1")
            .env("RUST_LOG", "warn")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server");
        let mut lines = BufReader::new(child.stderr.take().expect("its messages")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening on ").map(|(_, address)| address.trim().to_owned()))
            .expect("the server says where it listens");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("serve: {line}")));
        Self { child, address }
    }

    fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.child.wait().expect("its end").code()
    }
}

/// One evaluation after the other, until dropped.
struct Evaluations {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Evaluations {
    fn start(program: &Path, folder: &Path) -> Self {
        let (stop, finished) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let (told, done) = (Arc::clone(&stop), Arc::clone(&finished));
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                let output = folder.join(format!("demo-{number}"));
                // As the server starts them: below everything that answers people.
                let mut demo = Command::new("nice")
                    .args(["-n", "10"])
                    .arg(&program)
                    .arg("demo")
                    .arg("--output-dir")
                    .arg(&output)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("an evaluation");
                loop {
                    if told.load(Ordering::Relaxed) {
                        let _ = demo.kill();
                        let _ = demo.wait();
                        return;
                    }
                    if let Some(status) = demo.try_wait().expect("its state") {
                        assert!(status.success(), "the evaluation fails: is this a build with the engine?");
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                done.fetch_add(1, Ordering::Relaxed);
                let _ = std::fs::remove_dir_all(&output);
            }
        });
        Self { stop, finished, thread: Some(thread) }
    }

    fn finished(&self) -> usize {
        self.finished.load(Ordering::Relaxed)
    }
}

impl Drop for Evaluations {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.take().is_none_or(|thread| thread.join().is_ok()), "the evaluations failed");
    }
}

struct Sender {
    client: reqwest::Client,
    address: String,
    secrets: Secrets,
    number: AtomicUsize,
}

impl Sender {
    fn new(address: &str) -> Self {
        let secrets = Secrets::new(vec![Secret::new("webhook.secret", SECRET).expect("a secret")]).expect("secrets");
        Self { client: reqwest::Client::new(), address: format!("{address}/webhook"), secrets, number: AtomicUsize::new(0) }
    }

    /// Sends the next delivery; its id if it was accepted.
    async fn send(&self) -> Option<String> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let id = format!("bench-{number}");
        // An ordinary issue, as most of a repository's events are about, with a text of usual length.
        let issue = json!({
            "id": 1000 + number, "number": 1 + number, "title": "A question", "body": "Why is the sky blue? ".repeat(60),
            "user": { "id": 21, "login": "octocat", "type": "User" }, "labels": [], "state": "open",
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "html_url": "https://github.com/octo-org/leaderboard/issues/1",
        });
        let body = json!({
            "action": "opened", "issue": issue, "repository": { "id": 2, "full_name": "octo-org/leaderboard" },
            "sender": { "id": 21, "login": "octocat", "type": "User" },
        });
        let body = body.to_string();
        let request = self
            .client
            .post(&self.address)
            .header("content-type", "application/json")
            .header("x-github-event", "issues")
            .header("x-github-delivery", &id)
            .header("x-hub-signature-256", self.secrets.sign(body.as_bytes()))
            .body(body);
        let answer = request.send().await.ok()?;
        (answer.status() == reqwest::StatusCode::ACCEPTED).then_some(id)
    }
}

async fn at_a_rate(sender: &Arc<Sender>, rate: u32, seconds: u32) -> (Vec<String>, Vec<Duration>) {
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..rate * seconds {
        let due = begin + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        let sender = Arc::clone(sender);
        tasks.push(tokio::spawn(async move { (sender.send().await, due.elapsed()) }));
    }
    let mut accepted = Vec::new();
    let mut latencies = Vec::new();
    for task in tasks {
        let (id, latency) = task.await.expect("a request");
        accepted.extend(id);
        latencies.push(latency);
    }
    (accepted, latencies)
}

async fn without_a_bound(sender: &Arc<Sender>, seconds: u32) -> (Vec<String>, Vec<Duration>) {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let tasks: Vec<_> = (0..SENDERS)
        .map(|_| {
            let sender = Arc::clone(sender);
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    sent.push((sender.send().await, begin.elapsed()));
                }
                sent
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a sender"));
    }
    (all.iter().filter_map(|(id, _)| id.clone()).collect(), all.iter().map(|(_, latency)| *latency).collect())
}

fn report(what: &str, latencies: &[Duration], accepted: usize, seconds: f64) {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    };
    println!(
        "{what}: sent {}, accepted {accepted} ({:.0}/s); latency p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        sorted.len(),
        accepted as f64 / seconds,
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}

/// How many of these deliveries the store does not have.
fn missing(store: &Path, ids: &[String]) -> usize {
    let connection = rusqlite::Connection::open(store).expect("the store");
    let mut statement = connection.prepare("SELECT count(*) FROM deliveries WHERE delivery_id = ?1").expect("the table of deliveries");
    ids.iter().filter(|id| statement.query_row([id.as_str()], |row| row.get::<_, i64>(0)).expect("an answer") != 1).count()
}
