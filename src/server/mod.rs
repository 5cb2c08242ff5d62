//! The HTTP server: webhooks in, and what people and monitoring look at.
//!
//! | address | answer |
//! | --- | --- |
//! | `POST /webhook` | checks and stores a delivery of GitHub; the work is done elsewhere |
//! | `GET /healthz` | 200 while the process answers |
//! | `GET /readyz` | 200 while deliveries can be stored and every probe is content, else 503 with the reasons |
//! | `GET /metrics` | numbers for Prometheus |
//! | `GET /queue.json`, `GET /api/queue` | the jobs; `/queue` is the website's page of them |
//! | everything else | files of the built website |
//!
//! [`run`] gets its socket and its stop signal from the caller, so tests bind port 0 and end it themselves.

mod metrics;
mod queue;
mod site;
mod webhook;

pub use metrics::{Metrics, Received};

use crate::bot::store::Store;
use crate::bot::worker::StepCounts;
use crate::github::webhook::Secrets;
use crate::github::{RepositoryName, Statistics};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use prometheus_client::registry::Registry;
use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Longest time for one request: GitHub itself hangs up after ten seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long open connections may finish what they are at after the stop signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Webhook bodies up to this size are read at once; larger ones, which are rare and may be forged, wait for a place.
const SMALL_BODY: usize = 256 * 1024;

/// Places for larger bodies: they bound the memory that strangers can ask for before their signature is checked.
const LARGE_BODIES: usize = 8;

/// What decides how the server answers.
pub struct Settings {
    /// The repository whose events are accepted.
    pub repository: RepositoryName,
    /// Secrets that sign webhooks.
    pub secrets: Secrets,
    /// Largest body of a webhook, in bytes.
    pub max_body: usize,
    /// Folder of the built website, where there is one.
    pub website: Option<PathBuf>,
    /// Evaluations at the same time, for the estimates in the queue.
    pub slots: usize,
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
}

/// A condition for being ready: `Err` says what is missing.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Tells what came of the worker's steps so far.
pub type Steps = Box<dyn Fn() -> StepCounts + Send + Sync>;

/// Tells what became of the calls to GitHub so far.
pub type GitHubStatistics = Box<dyn Fn() -> Statistics + Send + Sync>;

/// Everything that the requests share.
pub struct App {
    settings: Settings,
    store: Arc<Store>,
    metrics: Metrics,
    registry: Mutex<Registry>,
    probes: Vec<(&'static str, Probe)>,
    github: Option<GitHubStatistics>,
    steps: Option<Steps>,
    arrived: Arc<Notify>,
    stopping: AtomicBool,
    large_bodies: Semaphore,
    queue: queue::Cache,
}

impl App {
    /// Puts the parts together. `registry` may already hold the metrics of others; the server adds its own.
    #[must_use]
    pub fn new(settings: Settings, store: Arc<Store>, mut registry: Registry) -> Self {
        let metrics = Metrics::register(&mut registry);
        Self {
            settings,
            store,
            metrics,
            registry: Mutex::new(registry),
            probes: Vec::new(),
            github: None,
            steps: None,
            arrived: Arc::new(Notify::new()),
            stopping: AtomicBool::new(false),
            large_bodies: Semaphore::new(LARGE_BODIES),
            queue: queue::Cache::default(),
        }
    }

    /// Adds a condition for being ready. Its name stands in the answer of `/readyz`.
    #[must_use]
    pub fn with_probe(mut self, name: &'static str, probe: Probe) -> Self {
        self.probes.push((name, probe));
        self
    }

    /// Shows the calls to GitHub in the metrics.
    #[must_use]
    pub fn with_github(mut self, statistics: GitHubStatistics) -> Self {
        self.github = Some(statistics);
        self
    }

    /// Shows what came of the worker's steps in the metrics.
    #[must_use]
    pub fn with_steps(mut self, steps: Steps) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Is notified when a new delivery has been stored, so that a worker need not wait for its timer.
    #[must_use]
    pub fn arrived(&self) -> Arc<Notify> {
        Arc::clone(&self.arrived)
    }
}

/// The addresses and what answers them.
pub fn router(app: Arc<App>) -> Router {
    let website = app.settings.website.clone();
    let dynamic = Router::new()
        .route("/webhook", post(webhook::receive))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .route("/queue.json", get(queue::show))
        .route("/api/queue", get(queue::show))
        .with_state(app);
    site::with_website(dynamic, website.as_deref(), REQUEST_TIMEOUT)
}

/// Answers until `stop` is done; then takes nothing new and gives open requests a few seconds.
///
/// # Errors
/// The socket fails.
pub async fn run(listener: tokio::net::TcpListener, app: Arc<App>, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    let stopped = Arc::new(Notify::new());
    let graceful = {
        let (app, stopped) = (Arc::clone(&app), Arc::clone(&stopped));
        async move {
            stop.await;
            app.stopping.store(true, Ordering::Relaxed);
            stopped.notify_one();
        }
    };
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(graceful).into_future();
    tokio::select! {
        ended = server => ended,
        () = async { stopped.notified().await; tokio::time::sleep(DRAIN_TIMEOUT).await } => Ok(()),
    }
}

/// `GET /readyz`.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let checks = tokio::task::spawn_blocking(move || {
        let mut problems = serde_json::Map::new();
        if app.stopping.load(Ordering::Relaxed) {
            problems.insert("server".to_owned(), "it is being stopped".into());
        }
        if let Err(error) = app.store.counts() {
            tracing::error!(error = %error, "the store cannot be read");
            problems.insert("store".to_owned(), "it cannot be read; the log says why".into());
        }
        for (name, probe) in &app.probes {
            if let Err(problem) = probe() {
                problems.insert((*name).to_owned(), problem.into());
            }
        }
        problems
    });
    let Ok(problems) = checks.await else { return internal_error() };
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ready": problems.is_empty(), "problems": problems });
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// The answer to what went wrong inside: the log knows more than the client may.
fn internal_error() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "internal error; the server's log says more\n").into_response()
}
