//! `GET /queue.json` (and `/api/queue`, which the website's page asks): the jobs, without anything that only the author should know.

use super::{App, internal_error};
use crate::bot::store::{Job, JobState, QueueEntry, StoreError};
use crate::evaluation::RunProgress;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer is given again: a crowd in front of the page does not become one in front of the store.
const FRESH: Duration = Duration::from_secs(2);

/// Jobs of the past that are shown.
const LATELY: usize = 20;

/// The last answer.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<(Instant, Arc<str>)>>);

#[derive(Serialize)]
struct Queue {
    generated_at: String,
    jobs: Vec<Entry>,
}

/// One job, as docs/website.md describes it.
#[derive(Serialize)]
struct Entry {
    model: String,
    issue: u64,
    state: &'static str,
    suite: String,
    submitted_at: String,
    updated_at: String,
    position: Option<usize>,
    progress: Option<f64>,
    task: Option<String>,
    eta_s: Option<i64>,
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    match tokio::task::spawn_blocking(move || text(&app)).await {
        Ok(Ok(text)) => {
            let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
            (headers, text.to_string()).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(error = %error, "the queue cannot be read");
            internal_error()
        }
        Err(_) => internal_error(),
    }
}

fn text(app: &App) -> Result<Arc<str>, StoreError> {
    let mut last = app.queue.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return Ok(Arc::clone(text));
    }
    let queue = queue(app, (app.settings.now)())?;
    // Plain data of our own always has a JSON form.
    let text: Arc<str> = serde_json::to_string(&queue).unwrap_or_default().into();
    *last = Some((Instant::now(), Arc::clone(&text)));
    Ok(text)
}

fn queue(app: &App, now: DateTime<Utc>) -> Result<Queue, StoreError> {
    use JobState::{Evaluated, Published, Received, Validated};
    let mut jobs: Vec<Entry> = app.store.queue(app.settings.slots, now)?.iter().map(|entry| in_line(entry, now)).collect();
    jobs.extend(app.store.jobs_in(&[Received, Validated, Evaluated, Published])?.iter().map(entry));
    jobs.extend(app.store.latest_ended(LATELY)?.iter().map(entry));
    Ok(Queue { generated_at: time(now), jobs })
}

fn in_line(line: &QueueEntry, now: DateTime<Utc>) -> Entry {
    Entry {
        position: (line.position > 0).then_some(line.position),
        eta_s: line.ends_at.map(|end| (end - now).num_seconds().max(0)),
        ..entry(&line.job)
    }
}

fn entry(job: &Job) -> Entry {
    let progress = job.progress.as_ref().filter(|_| job.state == JobState::Evaluating);
    Entry {
        model: job.hf_repo.clone().unwrap_or_else(|| format!("submission #{}", job.issue)),
        issue: job.issue,
        state: job.state.as_str(),
        suite: job.suite.clone(),
        submitted_at: time(job.created_at),
        updated_at: time(job.updated_at),
        position: None,
        progress: progress.and_then(RunProgress::share),
        task: progress.map(|progress| progress.task.clone()).filter(|task| !task.is_empty()),
        eta_s: None,
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
