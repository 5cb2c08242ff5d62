//! How the worker is: for `/readyz` and the metrics. Shared with the server, which is there before the worker.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker that gave no sign of life for so long does not work: its leases have run out, and their jobs wait for somebody else.
const SILENCE: Duration = Duration::from_mins(2);

/// Signs of life, and what came of the steps.
#[derive(Debug, Default)]
pub struct Health {
    /// Threads that were started, and those that still run.
    started: AtomicUsize,
    running: AtomicUsize,
    /// When leases were last looked after; `None` before the worker has begun.
    beat: Mutex<Option<Instant>>,
    /// Why the worker has not begun yet.
    hindrance: Mutex<Option<String>>,
    done: AtomicU64,
    again: AtomicU64,
    given_up: AtomicU64,
}

/// What came of steps (a delivery handled, a job brought one state further, a comment brought up to date) since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    /// Went well.
    pub done: u64,
    /// Failed, and are tried again.
    pub again: u64,
    /// Failed for good.
    pub given_up: u64,
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepResult {
    Done,
    Again,
    GivenUp,
}

/// Counts a thread as running for as long as it exists.
pub(super) struct Alive(Arc<Health>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Health {
    /// Says why the worker cannot begin yet.
    pub fn hindered(&self, why: impl Into<String>) {
        *self.hindrance.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    pub(super) fn thread(self: &Arc<Self>) -> Alive {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(self))
    }

    pub(super) fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn count(&self, result: StepResult) {
        let counter = match result {
            StepResult::Done => &self.done,
            StepResult::Again => &self.again,
            StepResult::GivenUp => &self.given_up,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What came of the steps so far.
    #[must_use]
    pub fn steps(&self) -> StepCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StepCounts { done: of(&self.done), again: of(&self.again), given_up: of(&self.given_up) }
    }

    /// Whether the worker works.
    ///
    /// # Errors
    /// What is wrong, in words that anybody may read.
    pub fn check(&self) -> Result<(), String> {
        let beat = *self.beat.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(beat) = beat else {
            let why = self.hindrance.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(why.unwrap_or_else(|| "it has not begun yet".to_owned()));
        };
        let (started, running) = (self.started.load(Ordering::SeqCst), self.running.load(Ordering::SeqCst));
        if running < started {
            return Err(format!("{} of its {started} threads have ended: restart the server", started - running));
        }
        let silence = beat.elapsed();
        if silence > SILENCE {
            return Err(format!("no sign of life for {} s: restart the server", silence.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that waits for GitHub, has lost a thread or fell silent is not ready, and says which.
    #[test]
    fn what_is_wrong_is_said() {
        let health = Arc::new(Health::default());
        assert_eq!(health.check().unwrap_err(), "it has not begun yet");
        health.hindered("GitHub cannot be reached");
        assert_eq!(health.check().unwrap_err(), "GitHub cannot be reached");
        let (one, other) = (health.thread(), health.thread());
        health.beat();
        assert_eq!(health.check(), Ok(()));
        // A panic ends a thread like its end does.
        let panicked = std::thread::spawn(move || {
            let _alive = other;
            panic!("on purpose");
        });
        assert!(panicked.join().is_err());
        assert_eq!(health.check().unwrap_err(), "1 of its 2 threads have ended: restart the server");
        drop(one);
        if let Some(long_ago) = Instant::now().checked_sub(SILENCE + Duration::from_secs(5)) {
            let silent = Health { beat: Mutex::new(Some(long_ago)), ..Health::default() };
            assert_eq!(silent.check().unwrap_err(), "no sign of life for 125 s: restart the server");
        }
    }
}
