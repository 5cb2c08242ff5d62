//! The worker: takes deliveries and jobs from the store and brings each one step further, until it is told to stop.
//!
//! Every step is recorded before the next begins, and every step can be done again without a second effect: a comment is found again by its
//! hidden marker, a commit by its trailers, an evaluation by its work folder. So a worker that dies anywhere is simply replaced.
//!
//! Steps run on threads of their own and block; what they ask of GitHub is given up at once when the worker is told to stop.

mod evaluate;
mod halt;
mod health;
mod intake;
mod leases;
mod publish;
mod reconcile;
mod show;
mod signal;
mod validate;

pub use halt::Halt;
pub use health::{Health, StepCounts};
pub use signal::Signal;

use super::config::Config;
use super::executor::Executor;
use super::status::Waiting;
use super::store::{Failed, Lane, Lease, Store};
use crate::github::{Client, User};
use crate::hub::Hub;
use crate::publish::Publisher;
use crate::submission::Report;
use chrono::{DateTime, Utc};
use health::StepResult;
use leases::Leases;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a lane waits when there is nothing to do and nobody wakes it.
const IDLE: Duration = Duration::from_millis(500);
/// How long a lane waits after a fault of its own, so that it does not spin.
const AFTER_FAULT: Duration = Duration::from_secs(5);
/// How often submissions that wait for room are looked at again.
const RECONSIDER_EVERY: Duration = Duration::from_mins(1);

/// Who the bot is on GitHub: by this its own comments are told from others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Numeric id of its account, where GitHub tells it.
    pub user_id: Option<u64>,
}

impl Own {
    /// Whether the bot itself wrote something by this author. Without a known id, any program's comment with our marker counts.
    #[must_use]
    pub fn wrote(self, author: Option<&User>) -> bool {
        author.is_some_and(|author| self.user_id.map_or_else(|| author.is_bot(), |id| author.id == id))
    }
}

/// What the bot keeps with a job for its comments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// The findings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// How long the evaluation will take, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<f64>,
    /// For what a valid submission waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Where the results are of a model that was evaluated before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_results: Option<String>,
    /// The results, as Markdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<String>,
}

/// Everything that the worker works with.
pub struct Worker {
    parts: Parts,
    /// What it calls itself in the store: unique among all servers on one store.
    name: String,
    leases: Leases,
    /// One publication at a time.
    publishing: Mutex<()>,
}

/// What a worker is made of.
pub struct Parts {
    /// The operator's configuration.
    pub config: Config,
    /// The bot's memory.
    pub store: Arc<Store>,
    /// GitHub.
    pub github: Client,
    /// Who the bot is there.
    pub own: Own,
    /// The hub.
    pub hub: Hub,
    /// Where evaluations run.
    pub executor: Arc<dyn Executor>,
    /// The publisher, with credentials that do not change; the worker's `publish` fetches those that do.
    pub publisher: Publisher,
    /// Where asynchronous calls run.
    pub runtime: tokio::runtime::Handle,
    /// Stop, and wake.
    pub signal: Arc<Signal>,
    /// Signs of life.
    pub health: Arc<Health>,
    /// The clock.
    pub clock: fn() -> DateTime<Utc>,
}

/// The running threads of a worker.
pub struct Running {
    worker: Arc<Worker>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// A worker that has not started yet.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let name = format!("{}-{:08x}", std::process::id(), getrandom::u32().unwrap_or_default());
        let leases = Leases::new(parts.config.storage.lease());
        Arc::new(Self { parts, name, leases, publishing: Mutex::new(()) })
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self: &Arc<Self>) -> std::io::Result<Running> {
        let mut running = Running { worker: Arc::clone(self), threads: Vec::new() };
        self.parts.health.beat();
        running.spawn("leases", Self::keep_leases)?;
        running.spawn("reconcile", Self::reconcile_lane)?;
        for _ in 0..2 {
            running.spawn("intake", |worker| worker.lane(Self::handle_next_delivery))?;
            running.spawn("steps", |worker| worker.lane(Self::next_quick_step))?;
        }
        running.spawn("show", |worker| worker.lane(Self::show_next))?;
        running.spawn("reconsider", Self::reconsider_lane)?;
        for _ in 0..self.parts.config.executor.concurrency.get() {
            running.spawn("evaluate", |worker| worker.lane(Self::next_evaluation))?;
        }
        Ok(running)
    }

    /// Does `step` again and again; `step` says whether there was something to do.
    fn lane(&self, step: fn(&Self) -> Result<bool, super::store::StoreError>) {
        while !self.parts.signal.is_stopped() {
            match catch_unwind(AssertUnwindSafe(|| step(self))) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => self.parts.signal.pause(IDLE),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the store failed");
                    self.parts.signal.pause(AFTER_FAULT);
                }
                // Its lease runs out, and the step is done again, a bounded number of times.
                Err(_) => {
                    tracing::error!("a step panicked");
                    self.parts.signal.pause(AFTER_FAULT);
                }
            }
        }
    }

    fn next_quick_step(&self) -> Result<bool, super::store::StoreError> {
        let Some((lease, job)) = self.parts.store.claim(&self.name, Lane::Quick, self.now(), self.leases.length())? else {
            return Ok(false);
        };
        let held = self.leases.hold(lease);
        let done = match job.state {
            super::store::JobState::Received => self.validate(&held, &job),
            super::store::JobState::Evaluated => self.publish(&held, &job),
            super::store::JobState::Published => self.report(&held, &job),
            _ => Ok(()),
        };
        self.settle(&held.lease, done)?;
        Ok(true)
    }

    fn reconsider_lane(&self) {
        while !self.parts.signal.is_stopped() {
            if let Err(error) = self.reconsider() {
                tracing::error!(%error, "cannot look at waiting submissions");
            }
            self.parts.signal.wait(RECONSIDER_EVERY);
        }
    }

    /// Ends the hold on a delivery or job after a step, by how it ended.
    fn settle(&self, lease: &Lease, done: Result<(), Halt>) -> Result<(), super::store::StoreError> {
        match done {
            Ok(()) => {
                self.parts.health.count(StepResult::Done);
                self.parts.store.release(lease)
            }
            Err(Halt::Stopped | Halt::Superseded) => self.parts.store.release(lease),
            Err(Halt::Failed { failure, not_before }) => {
                let failure = super::store::Failure { message: self.without_paths(&failure.message), ..failure };
                tracing::warn!(owner = lease.owner(), kind = failure.kind.as_str(), message = failure.message, "a step failed");
                match self.parts.store.fail(lease, &failure, not_before, self.now(), super::store::chance()) {
                    Err(error) if error.is_superseded() => Ok(()),
                    Ok(Failed::Again(_)) => {
                        self.parts.health.count(StepResult::Again);
                        Ok(())
                    }
                    Ok(Failed::GivenUp) => {
                        self.parts.health.count(StepResult::GivenUp);
                        Ok(())
                    }
                    Ok(Failed::Superseded) => Ok(()),
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Messages go to the issue: they name no folder of this machine.
    fn without_paths(&self, message: &str) -> String {
        let storage = &self.parts.config.storage;
        let mut text = message.to_owned();
        for (path, name) in [(&storage.work, "(work folder)"), (&storage.database, "(store)")] {
            text = text.replace(&path.display().to_string(), name);
        }
        text
    }

    fn now(&self) -> DateTime<Utc> {
        (self.parts.clock)()
    }

    /// Waits for an answer of GitHub, or for the sign to stop.
    fn ask<T>(&self, call: impl Future<Output = Result<T, crate::github::Error>>) -> Result<T, Halt> {
        self.parts.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.parts.signal.stopped() => Err(Halt::Stopped),
                answer = call => answer.map_err(|error| Halt::of_github(error, self.now())),
            }
        })
    }

    /// As [`Self::ask`]; `None` where what is asked for does not exist (any more).
    fn ask_for<T>(&self, call: impl Future<Output = Result<T, crate::github::Error>>) -> Result<Option<T>, Halt> {
        self.ask(async {
            match call.await {
                Err(error) if error.is_not_found() => Ok(None),
                answer => answer.map(Some),
            }
        })
    }

    /// Folder of a job's evaluation.
    fn job_folder(&self, job: i64) -> PathBuf {
        self.parts.config.storage.work.join("jobs").join(job.to_string())
    }

    /// Address of a page of GitHub below the repository.
    fn repository_page(&self, rest: &str) -> String {
        format!("{}/{}/{rest}", self.parts.config.github.web(), self.parts.config.repository.name)
    }

    /// Address of the queue page.
    fn queue_page(&self) -> Option<String> {
        let address = self.parts.config.server.public_address.as_ref().filter(|_| self.parts.config.server.website.is_some())?;
        Some(format!("{address}/queue"))
    }

    fn one_publication<T>(&self, publish: impl FnOnce() -> T) -> T {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        publish()
    }
}

impl Running {
    fn spawn(&mut self, name: &str, work: fn(&Worker)) -> std::io::Result<()> {
        let worker = Arc::clone(&self.worker);
        let alive = worker.parts.health.thread();
        let work = move || {
            let _alive = alive;
            work(&worker);
        };
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }

    /// Tells the threads to stop, waits until `deadline` from now, and gives back what they still hold. Says whether all of them stopped.
    #[must_use]
    pub fn stop(self, deadline: Duration) -> bool {
        self.worker.parts.signal.stop();
        let end = std::time::Instant::now() + deadline;
        while std::time::Instant::now() < end && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let stopped = self.threads.iter().all(JoinHandle::is_finished);
        // What is left belongs to a thread that waits for the hub or for git: its step is done again.
        for lease in self.worker.leases.all() {
            if let Err(error) = self.worker.parts.store.release(&lease) {
                tracing::warn!(%error, owner = lease.owner(), "cannot give back a lease; it runs out by itself");
            }
        }
        stopped
    }
}

impl Details {
    /// The details of a job; empty ones where there are none.
    fn of(job: &super::store::Job) -> Result<Self, Halt> {
        match &job.details {
            None => Ok(Self::default()),
            Some(text) => serde_json::from_str(text).map_err(|error| Halt::permanent(format!("the store's details are damaged: {error}"))),
        }
    }

    fn to_json(&self) -> Result<String, Halt> {
        serde_json::to_string(self).map_err(|error| Halt::permanent(error.to_string()))
    }
}
