//! The sign to stop, and the sign that there is work.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Shared by the server and all lanes of the worker.
#[derive(Debug)]
pub struct Signal {
    stop: watch::Sender<bool>,
    /// Counts the wake-ups.
    work: Mutex<u64>,
    changed: Condvar,
}

impl Default for Signal {
    fn default() -> Self {
        Self { stop: watch::Sender::new(false), work: Mutex::new(0), changed: Condvar::new() }
    }
}

impl Signal {
    /// Tells everybody to stop.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.wake();
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Ends when it is time to stop.
    pub async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives as long as this borrow of it.
        let _ = stop.wait_for(|stop| *stop).await;
    }

    /// Says that there is work, such as a new delivery.
    pub fn wake(&self) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits for at most this long, for work or the sign to stop.
    pub fn pause(&self, longest: Duration) {
        self.wait_until(longest, true);
    }

    /// Waits this long, or until the sign to stop.
    pub fn wait(&self, length: Duration) {
        self.wait_until(length, false);
    }

    fn wait_until(&self, length: Duration, woken_by_work: bool) {
        let end = Instant::now() + length;
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *work;
        while !(self.is_stopped() || woken_by_work && *work != before) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            work = self.changed.wait_timeout(work, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
