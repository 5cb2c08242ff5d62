//! `GET /metrics`: numbers for Prometheus, in its text form (`OpenMetrics`).

use super::{App, internal_error};
use crate::bot::worker::StepCounts;
use crate::github::Statistics;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

/// Name of the fact in the store that says when GitHub's state was last compared.
const RECONCILED: &str = "reconciled";

/// Media type of the text form.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What became of a request to `/webhook`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Stored.
    New,
    /// Was there before.
    Duplicate,
    /// A ping, or an event that says nothing to us.
    Ping,
    /// Not signed by GitHub.
    BadSignature,
    /// Larger than allowed.
    TooLarge,
    /// Signed, but nothing that is handled here.
    Unfit,
    /// Did not arrive whole.
    Broken,
    /// Could not be stored.
    NotStored,
}

impl Received {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Duplicate => "duplicate",
            Self::Ping => "ping",
            Self::BadSignature => "bad_signature",
            Self::TooLarge => "too_large",
            Self::Unfit => "unfit",
            Self::Broken => "broken",
            Self::NotStored => "not_stored",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StatusLabel {
    status: u16,
}

/// The server's own numbers.
pub struct Metrics {
    received: Family<ResultLabel, Counter>,
    jobs: Family<StateLabel, Gauge>,
    unshown: Gauge,
    oldest_queued: Gauge,
    pending: Gauge,
    oldest_pending: Gauge,
    given_up: Gauge,
    open_effects: Gauge,
    failures: Gauge,
    retrying: Gauge,
    steps: Family<ResultLabel, Counter>,
    left: Family<StateLabel, Gauge>,
    time_in_state: Family<StateLabel, Gauge<f64, AtomicU64>>,
    reconciled: Gauge,
    calls: Family<StatusLabel, Gauge>,
    rate_limited: Gauge,
    rate_limit_remaining: Gauge,
}

impl Metrics {
    /// Makes them known to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            received: Family::default(),
            jobs: Family::default(),
            unshown: Gauge::default(),
            oldest_queued: Gauge::default(),
            pending: Gauge::default(),
            oldest_pending: Gauge::default(),
            given_up: Gauge::default(),
            open_effects: Gauge::default(),
            failures: Gauge::default(),
            retrying: Gauge::default(),
            steps: Family::default(),
            left: Family::default(),
            time_in_state: Family::default(),
            // Never, as far as this process knows.
            reconciled: Gauge::default(),
            calls: Family::default(),
            rate_limited: Gauge::default(),
            rate_limit_remaining: Gauge::default(),
        };
        let about = "Requests to /webhook by what became of them";
        registry.register("slm_bench_webhook_requests", about, metrics.received.clone());
        registry.register("slm_bench_jobs", "Jobs by state", metrics.jobs.clone());
        registry.register("slm_bench_jobs_unshown", "Jobs whose issue does not show their state yet", metrics.unshown.clone());
        let about = "Age of the job that waits longest in the queue";
        registry.register_with_unit("slm_bench_queue_oldest_age", about, Unit::Seconds, metrics.oldest_queued.clone());
        registry.register("slm_bench_deliveries_pending", "Deliveries that have not been handled", metrics.pending.clone());
        let about = "Age of the oldest delivery that has not been handled";
        registry.register_with_unit("slm_bench_deliveries_oldest_age", about, Unit::Seconds, metrics.oldest_pending.clone());
        let about = "Deliveries that were given up, among those still remembered";
        registry.register("slm_bench_deliveries_given_up", about, metrics.given_up.clone());
        let about = "Effects outside (comments, commits, dispatches) whose outcome is unknown";
        registry.register("slm_bench_effects_open", about, metrics.open_effects.clone());
        registry.register("slm_bench_jobs_failures", "Times that a job failed since the store was made", metrics.failures.clone());
        let about = "Unfinished jobs whose present step has failed before and is tried again";
        registry.register("slm_bench_jobs_retrying", about, metrics.retrying.clone());
        let about = "Steps of the worker by what came of them (done, again, given_up), since the process began";
        registry.register("slm_bench_steps", about, metrics.steps.clone());
        registry.register("slm_bench_state_left", "Times that a job left a state, since the store was made", metrics.left.clone());
        let about = "Time that jobs spent in a state which they have left, since the store was made";
        registry.register_with_unit("slm_bench_state_time", about, Unit::Seconds, metrics.time_in_state.clone());
        let about = "Time since GitHub's state was last compared; -1 for never";
        registry.register_with_unit("slm_bench_reconciled_age", about, Unit::Seconds, metrics.reconciled.clone());
        let about = "Tries of calls to GitHub by HTTP status, 0 for no answer, since the process began";
        registry.register("slm_bench_github_calls", about, metrics.calls.clone());
        registry.register(
            "slm_bench_github_rate_limited",
            "Tries that met a rate limit, since the process began",
            metrics.rate_limited.clone(),
        );
        let about = "Calls left in GitHub's current window; -1 before GitHub has said so";
        registry.register("slm_bench_github_rate_limit_remaining", about, metrics.rate_limit_remaining.clone());
        metrics
    }

    /// Counts a request to `/webhook`.
    pub fn received(&self, result: Received) {
        self.received.get_or_create(&ResultLabel { result: result.as_str() }).inc();
    }

    fn refresh_github(&self, statistics: &Statistics) {
        for (status, count) in &statistics.calls {
            self.calls.get_or_create(&StatusLabel { status: *status }).set(count.cast_signed());
        }
        self.rate_limited.set(statistics.rate_limited.cast_signed());
        self.rate_limit_remaining.set(statistics.rate_limit_remaining.map_or(-1, u64::cast_signed));
    }

    fn refresh_steps(&self, steps: &StepCounts) {
        for (result, count) in [("done", steps.done), ("again", steps.again), ("given_up", steps.given_up)] {
            // They only grow, as a counter must.
            self.steps.get_or_create(&ResultLabel { result }).inner().store(count, Ordering::Relaxed);
        }
    }

    fn refresh(&self, app: &App) -> Result<(), crate::bot::store::StoreError> {
        let counts = app.store.counts()?;
        let now = (app.settings.now)();
        let age = |since: Option<DateTime<Utc>>| since.map_or(0, |since| (now - since).num_seconds().max(0));
        for (state, count) in &counts.jobs {
            self.jobs.get_or_create(&StateLabel { state: state.as_str() }).set(count.cast_signed());
        }
        self.unshown.set(counts.unshown.cast_signed());
        self.oldest_queued.set(age(counts.oldest_queued_at));
        self.pending.set(counts.deliveries_pending.cast_signed());
        self.oldest_pending.set(age(counts.oldest_delivery_at));
        self.given_up.set(counts.deliveries_given_up.cast_signed());
        self.open_effects.set(counts.open_intentions.cast_signed());
        self.failures.set(counts.failures.cast_signed());
        self.retrying.set(counts.retrying.cast_signed());
        for (state, (times, seconds)) in app.store.time_in_states()? {
            let label = StateLabel { state: state.as_str() };
            self.left.get_or_create(&label).set(times.cast_signed());
            self.time_in_state.get_or_create(&label).set(seconds);
        }
        let reconciled: Option<DateTime<Utc>> = app.store.recall(RECONCILED)?.and_then(|text| text.parse().ok());
        self.reconciled.set(reconciled.map_or(-1, |at| (now - at).num_seconds().max(0)));
        Ok(())
    }
}

pub(super) async fn show(State(app): State<Arc<App>>) -> Response {
    let text = tokio::task::spawn_blocking(move || {
        if let Err(error) = app.metrics.refresh(&app) {
            // What the process itself counts is still true.
            tracing::error!(error = %error, "the store cannot be read for the metrics");
        }
        if let Some(statistics) = &app.github {
            app.metrics.refresh_github(&statistics());
        }
        if let Some(steps) = &app.steps {
            app.metrics.refresh_steps(&steps());
        }
        let mut text = String::new();
        let registry = app.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry).map(|()| text)
    });
    match text.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS), (header::CACHE_CONTROL, "no-store")], text).into_response(),
        Ok(Err(_)) | Err(_) => internal_error(),
    }
}
