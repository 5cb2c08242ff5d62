//! The leases that this worker holds, kept alive while it does.

use super::Worker;
use crate::bot::store::{Heartbeat, Lease};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A held lease, with what the last heartbeat said.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) lease: Lease,
    lost: AtomicBool,
    cancel: AtomicBool,
}

impl Held {
    /// What is done now will not count: somebody else has it, or its text was replaced.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Somebody asked for it to be cancelled.
    pub(super) fn cancel_requested(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Leases {
    length: Duration,
    held: Arc<Mutex<Vec<Arc<Held>>>>,
}

/// Holds a lease until it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    held: Arc<Held>,
    all: Arc<Mutex<Vec<Arc<Held>>>>,
}

impl std::ops::Deref for Guard {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.held
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|held| !Arc::ptr_eq(held, &self.held));
    }
}

impl Leases {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, held: Arc::default() }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    pub(super) fn hold(&self, lease: Lease) -> Guard {
        let held = Arc::new(Held { lease, lost: AtomicBool::new(false), cancel: AtomicBool::new(false) });
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&held));
        Guard { held, all: Arc::clone(&self.held) }
    }

    pub(super) fn all(&self) -> Vec<Lease> {
        self.snapshot().iter().map(|held| held.lease.clone()).collect()
    }

    fn snapshot(&self) -> Vec<Arc<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Worker {
    /// Renews every lease in time, until the worker stops.
    pub(super) fn keep_leases(&self) {
        while !self.parts.signal.is_stopped() {
            self.parts.health.beat();
            for held in self.leases.snapshot() {
                match self.parts.store.heartbeat(&held.lease, self.now(), self.leases.length()) {
                    Ok(Heartbeat::Held) => {}
                    Ok(Heartbeat::CancelRequested) => held.cancel.store(true, Ordering::Relaxed),
                    Ok(Heartbeat::Superseded) => held.lost.store(true, Ordering::Relaxed),
                    // A step that has just ended gave its lease back: nobody looks at this any more.
                    Err(error) if error.is_superseded() => held.lost.store(true, Ordering::Relaxed),
                    Err(error) => tracing::warn!(%error, owner = held.lease.owner(), "cannot renew a lease"),
                }
            }
            // A cancelled evaluation waits for the next heartbeat, so it comes soon.
            self.parts.signal.wait((self.leases.length() / 4).min(Duration::from_secs(2)));
        }
    }
}
