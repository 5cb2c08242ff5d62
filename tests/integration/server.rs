//! The HTTP server, over real connections and with a real store.

use chrono::{DateTime, TimeZone, Utc};
use prometheus_client::registry::Registry;
use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use slm_benchmark::bot::store::{NewJob, Store};
use slm_benchmark::github::webhook::Secrets;
use slm_benchmark::github::{Secret, Statistics};
use slm_benchmark::server::{self, App, Settings};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Largest body in these tests.
const MAX_BODY: usize = 600_000;
/// The secret in use, and the one before it.
const SECRET: &str = "a secret that only GitHub knows";
const PREVIOUS: &str = "the secret before";

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap()
}

fn secrets(texts: &[&str]) -> Secrets {
    Secrets::new(texts.iter().map(|text| Secret::new("webhook.secret", text).unwrap()).collect()).unwrap()
}

/// A server that runs until it is dropped.
struct Server {
    address: String,
    store: Arc<Store>,
    client: Client,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<std::io::Result<()>>>,
    healthy: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(website: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&folder.path().join("store.sqlite")).unwrap());
        let settings = Settings {
            repository: "octo-org/leaderboard".parse().unwrap(),
            secrets: secrets(&[SECRET, PREVIOUS]),
            max_body: MAX_BODY,
            website: website.map(Path::to_owned),
            slots: 1,
            now,
        };
        let healthy = Arc::new(AtomicBool::new(true));
        let probe = {
            let healthy = Arc::clone(&healthy);
            move || if healthy.load(Ordering::Relaxed) { Ok(()) } else { Err("it has stopped".to_owned()) }
        };
        let calls = || Statistics { calls: [(200, 7)].into(), rate_limited: 0, rate_limit_remaining: Some(4990) };
        let app = Arc::new(
            App::new(settings, Arc::clone(&store), Registry::default()).with_probe("worker", Box::new(probe)).with_github(Box::new(calls)),
        );
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                server::run(listener, app, async { drop(stopped.await) }).await
            })
        });
        let address = format!("http://{}", receiver.recv().unwrap());
        let client = Client::builder().timeout(Duration::from_mins(5)).no_gzip().build().unwrap();
        Self { address, store, client, stop: Some(stop), thread: Some(thread), healthy, _folder: folder }
    }

    fn get(&self, path: &str) -> Response {
        self.client.get(format!("{}{path}", self.address)).send().unwrap()
    }

    /// A delivery as GitHub sends it.
    fn delivery(&self, event: &str, id: &str, body: &[u8]) -> RequestBuilder {
        self.unsigned(event, id, body).header("x-hub-signature-256", secrets(&[SECRET]).sign(body))
    }

    fn unsigned(&self, event: &str, id: &str, body: &[u8]) -> RequestBuilder {
        self.client
            .post(format!("{}/webhook", self.address))
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/0000000")
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .body(body.to_vec())
    }

    fn pending(&self) -> u64 {
        self.store.counts().unwrap().deliveries_pending
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ok(())))), "the server did not end well");
        }
    }
}

fn person() -> Value {
    json!({ "id": 21, "login": "octocat", "type": "User" })
}

fn repository(name: &str) -> Value {
    json!({ "id": 1, "full_name": name })
}

fn issue(number: u64) -> Value {
    json!({
        "id": 1000 + number, "number": number, "title": "Model submission: Tiny", "body": "```yaml\nmodel: {}\n```", "user": person(),
        "labels": [{ "id": 1, "name": "submission" }], "state": "open", "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "html_url": "https://github.com/octo-org/leaderboard/issues/7",
    })
}

fn opened(number: u64) -> Vec<u8> {
    let payload =
        json!({ "action": "opened", "issue": issue(number), "repository": repository("octo-org/leaderboard"), "sender": person() });
    payload.to_string().into_bytes()
}

fn commented(comment: u64, action: &str) -> Vec<u8> {
    let comment = json!({
        "id": comment, "body": "/slm-bench status", "user": person(), "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "issue_url": "https://api.github.com/repos/octo-org/leaderboard/issues/7",
        "html_url": "https://github.com/octo-org/leaderboard/issues/7#issuecomment-1",
    });
    let payload = json!({
        "action": action, "comment": comment, "issue": issue(7), "repository": repository("octo-org/leaderboard"), "sender": person(),
    });
    payload.to_string().into_bytes()
}

/// Each answer that the interface promises, and that nothing but the accepted delivery is stored.
#[test]
fn every_status_is_given() {
    let server = Server::start(None);
    let body = opened(7);
    let status = |request: RequestBuilder| request.send().unwrap().status();
    assert_eq!(status(server.delivery("ping", "d-0", br#"{"zen":"Keep it logically awesome.","hook_id":1}"#)), StatusCode::OK);
    assert_eq!(status(server.unsigned("issues", "d-1", &body)), StatusCode::UNAUTHORIZED);
    let other = secrets(&["another secret"]).sign(&body);
    assert_eq!(status(server.unsigned("issues", "d-1", &body).header("x-hub-signature-256", other)), StatusCode::UNAUTHORIZED);
    assert_eq!(status(server.unsigned("issues", "d-1", &body).header("x-hub-signature-256", "sha1=00")), StatusCode::UNAUTHORIZED);
    assert_eq!(status(server.delivery("issues", "d-1", &vec![b' '; MAX_BODY + 1])), StatusCode::PAYLOAD_TOO_LARGE);
    let form =
        server.client.post(format!("{}/webhook", server.address)).header("x-github-event", "issues").header("x-github-delivery", "d-1");
    let form =
        form.header("content-type", "application/x-www-form-urlencoded").header("x-hub-signature-256", secrets(&[SECRET]).sign(&body));
    assert_eq!(status(form.body(body.clone())), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(status(server.delivery("issues", "d-1", b"{\"action\":")), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status(server.delivery("issues", "d-1", b"{}")), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status(server.delivery("push", "d-1", &body)), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status(server.delivery("installation", "d-1", b"{}")), StatusCode::OK);
    assert_eq!(status(server.delivery("issues", "not an id", &body)), StatusCode::UNPROCESSABLE_ENTITY);
    let elsewhere = json!({ "action": "opened", "issue": issue(7), "repository": repository("octo-org/other"), "sender": person() });
    assert_eq!(status(server.delivery("issues", "d-1", elsewhere.to_string().as_bytes())), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(server.get("/webhook").status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.pending(), 0);

    assert_eq!(status(server.delivery("issues", "d-1", &body)), StatusCode::ACCEPTED);
    assert_eq!(status(server.delivery("issues", "d-1", &body)), StatusCode::OK);
    assert_eq!(server.pending(), 1);
    // While a secret is being changed, the old one counts too.
    let body = opened(8);
    let old = server.unsigned("issues", "d-2", &body).header("x-hub-signature-256", secrets(&[PREVIOUS]).sign(&body));
    assert_eq!(status(old), StatusCode::ACCEPTED);
    // The same new comment is one command, by whatever delivery it comes; an edit is none.
    assert_eq!(status(server.delivery("issue_comment", "d-3", &commented(55, "created"))), StatusCode::ACCEPTED);
    assert_eq!(status(server.delivery("issue_comment", "d-4", &commented(55, "created"))), StatusCode::OK);
    assert_eq!(server.pending(), 3);
    let stored: Vec<String> = server.store.pending_deliveries().unwrap().into_iter().map(|pending| pending.delivery_id).collect();
    assert_eq!(stored, ["d-1", "d-2", "d-3"]);

    let metrics = server.get("/metrics").text().unwrap();
    for line in [
        "slm_bench_webhook_requests_total{result=\"new\"} 3",
        "slm_bench_webhook_requests_total{result=\"duplicate\"} 2",
        "slm_bench_webhook_requests_total{result=\"bad_signature\"} 3",
        "slm_bench_webhook_requests_total{result=\"too_large\"} 1",
        "slm_bench_deliveries_pending 3",
        "slm_bench_jobs{state=\"queued\"} 0",
        "slm_bench_reconciled_age_seconds -1",
        "slm_bench_github_calls{status=\"200\"} 7",
        "slm_bench_github_rate_limit_remaining 4990",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is missing in\n{metrics}");
    }
}

/// Ten thousand requests by somebody who does not know the secret, or who repeats what GitHub sent, change nothing.
#[test]
fn ten_thousand_forged_requests_change_nothing() {
    let server = Server::start(None);
    let genuine = opened(7);
    let signature = secrets(&[SECRET]).sign(&genuine);
    let first = server.delivery("issues", "genuine", &genuine).send().unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let before = server.store.pending_deliveries().unwrap();

    let forged = opened(666);
    let oversized = vec![b'x'; MAX_BODY + 1];
    let send = |number: usize| {
        let id = format!("forged-{number}");
        let (request, expected) = match number % 8 {
            0 => (server.unsigned("issues", &id, &forged), StatusCode::UNAUTHORIZED),
            1 => (server.unsigned("issues", &id, &forged).header("x-hub-signature-256", &signature), StatusCode::UNAUTHORIZED),
            2 => {
                let guess = secrets(&[&format!("guess {number}")]).sign(&forged);
                (server.unsigned("issue_comment", &id, &forged).header("x-hub-signature-256", guess), StatusCode::UNAUTHORIZED)
            }
            3 => (server.unsigned("issues", &id, b"\0\xff").header("x-hub-signature-256", "sha256=zz"), StatusCode::UNAUTHORIZED),
            4 => (server.unsigned("workflow_run", &id, b"").header("x-hub-signature-256", ""), StatusCode::UNAUTHORIZED),
            5 => (server.unsigned("issues", "genuine", &genuine).header("x-hub-signature-256", &signature), StatusCode::OK),
            6 => {
                // A good signature of another body under a known id.
                let edited = [&genuine[..], b" "].concat();
                (server.unsigned("issues", "genuine", &edited).header("x-hub-signature-256", &signature), StatusCode::UNAUTHORIZED)
            }
            _ if number % 400 == 7 => (server.unsigned("issues", &id, &oversized), StatusCode::PAYLOAD_TOO_LARGE),
            _ => (server.unsigned("push", &id, &forged).header("x-hub-signature-256", "sha1=0000"), StatusCode::UNAUTHORIZED),
        };
        // Also a body that is too long is read to its end, so that its sender hears why it was refused.
        assert_eq!(request.send().unwrap().status(), expected, "request {number}");
    };
    std::thread::scope(|scope| {
        for part in 0..4 {
            let send = &send;
            scope.spawn(move || (part * 2_500..(part + 1) * 2_500).for_each(send));
        }
    });
    assert_eq!(server.store.pending_deliveries().unwrap(), before);
    assert_eq!(server.get("/healthz").status(), StatusCode::OK);
}

/// A body that never ends is cut off where the limit is, whatever length it claims.
#[test]
fn a_body_without_a_length_is_limited() {
    let server = Server::start(None);
    let endless = std::io::Read::take(std::io::repeat(b'x'), 4 * MAX_BODY as u64);
    let request = server.client.post(format!("{}/webhook", server.address)).header("content-type", "application/json");
    // The server may hang up before it has read everything: then there is no answer at all.
    if let Ok(response) = request.body(reqwest::blocking::Body::new(endless)).send() {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(server.pending(), 0);
}

/// `/readyz` says what is missing; `/healthz` only that the process lives.
#[test]
fn readiness_names_what_is_missing() {
    let server = Server::start(None);
    assert_eq!(server.get("/readyz").json::<Value>().unwrap(), json!({ "ready": true, "problems": {} }));
    server.healthy.store(false, Ordering::Relaxed);
    let answer = server.get("/readyz");
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json::<Value>().unwrap(), json!({ "ready": false, "problems": { "worker": "it has stopped" } }));
    assert_eq!(server.get("/healthz").text().unwrap(), "ok\n");
}

/// The queue is what docs/website.md says, at both of its addresses, and tells nothing of the issue's text.
#[test]
fn the_queue_is_what_the_website_reads() {
    let server = Server::start(None);
    let body = "```yaml\nmodel:\n  contact: someone@example.org\n```".to_owned();
    let job = NewJob {
        issue: 7,
        author_id: 21,
        author_login: "octocat".to_owned(),
        body,
        body_hash: "h".to_owned(),
        suite: "standard".to_owned(),
        again: false,
    };
    server.store.submit(&job, now()).unwrap();
    let text = server.get("/api/queue").text().unwrap();
    assert!(!text.contains("example.org") && !text.contains("octocat"), "{text}");
    let queue: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "generated_at": "2026-01-02T03:04:05Z",
        "jobs": [{
            "model": "submission #7", "issue": 7, "state": "received", "suite": "standard", "submitted_at": "2026-01-02T03:04:05Z",
            "updated_at": "2026-01-02T03:04:05Z", "position": null, "progress": null, "task": null, "eta_s": null,
        }],
    });
    assert_eq!(queue, expected);
    assert_eq!(server.get("/queue.json").json::<Value>().unwrap(), expected);
    // What has ended is told too.
    let ended = Store::open(server.store.path()).unwrap();
    let job = ended.job_of_issue(7).unwrap().unwrap();
    ended.cancel(job.id, 21, now()).unwrap();
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(server.get("/queue.json").json::<Value>().unwrap()["jobs"][0]["state"], "cancelled");
}

/// The website is served with its own queue page, and every answer carries the security headers.
#[test]
fn the_website_is_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("outside.txt"), "outside").unwrap();
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("assets/data")).unwrap();
    std::fs::write(site.join("index.html"), "<title>ranking</title>".repeat(100)).unwrap();
    std::fs::write(site.join("queue.html"), "<title>queue</title>").unwrap();
    std::fs::write(site.join("assets/page-0123abcd.js"), "let x = 1;").unwrap();
    std::fs::write(site.join("assets/data/leaderboard.json"), "{}").unwrap();
    let server = Server::start(Some(&site));
    assert!(server.get("/").text().unwrap().contains("ranking"));
    let header = |response: &Response, name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    for (path, kind, lasts) in [
        ("/", "text/html", "no-cache"),
        ("/queue", "text/html", "no-cache"),
        ("/queue.html", "text/html", "no-cache"),
        ("/assets/page-0123abcd.js", "text/javascript", "public, max-age=31536000, immutable"),
        ("/assets/data/leaderboard.json", "application/json", "no-cache"),
        ("/queue.json", "application/json", "no-cache"),
    ] {
        let response = server.get(path);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(header(&response, "content-type").unwrap().starts_with(kind), "{path}");
        assert_eq!(header(&response, "cache-control").as_deref(), Some(lasts), "{path}");
        assert!(header(&response, "content-security-policy").unwrap().contains("default-src 'none'"), "{path}");
        assert_eq!(header(&response, "x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
    // An unchanged file is not sent again; text is compressed for who wants it.
    let modified = header(&server.get("/index.html"), "last-modified").unwrap();
    let again = server.client.get(format!("{}/index.html", server.address)).header("if-modified-since", modified).send().unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let packed = server.client.get(format!("{}/", server.address)).header("accept-encoding", "gzip").send().unwrap();
    assert_eq!(header(&packed, "content-encoding").as_deref(), Some("gzip"));
    for path in ["/nothing.html", "/../outside.txt", "/..%2foutside.txt", "/%2e%2e/outside.txt", "/assets/missing-0123abcd.js"] {
        let response = server.get(path);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(header(&response, "content-security-policy").is_some(), "{path}");
        assert_ne!(header(&response, "cache-control").as_deref(), Some("public, max-age=31536000, immutable"), "{path}");
    }
}

/// The stop signal ends the server within seconds even while a client holds its connection open without saying anything.
#[test]
fn an_idle_client_does_not_keep_it_alive() {
    let server = Server::start(None);
    let mut idle = std::net::TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
    std::io::Write::write_all(&mut idle, b"POST /webhook HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12").unwrap();
    assert_eq!(server.get("/healthz").status(), StatusCode::OK);
    drop(server);
}
