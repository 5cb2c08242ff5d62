//! Points at which a test ends the process, as a power cut would.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// What can be named: every kind of record that the store makes. A step of a job is named by the state that it leads to.
const NAMES: [&str; 29] = [
    "accept",
    "next_delivery",
    "finish_delivery",
    "forget_deliveries",
    "submit",
    "claim",
    "claim_unshown",
    "mark_shown",
    "update",
    "progress",
    "handle",
    "set_status_comment",
    "cancel",
    "retry",
    "release",
    "heartbeat",
    "fail",
    "intend",
    "conclude",
    "withdraw",
    "remember",
    "validated",
    "queued",
    "evaluating",
    "evaluated",
    "published",
    "reported",
    "rejected",
    "cancelled",
];

/// Ends the process right before or right after the `n`-th record of a kind is made: `before published`, `after claim 2`.
///
/// Before: everything that led to the record was done, an effect outside included, and the record is lost. After: the record is on the disk,
/// and nothing that follows was done. Records that change nothing do not count.
#[derive(Debug)]
pub struct CrashPoint {
    side: Side,
    what: String,
    left: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Text that names no point.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no crash point: write `before` or `after`, one of {names}, and a number if it is not to be the first", names = NAMES.join(", "))]
pub struct UnknownPoint(String);

impl Clone for CrashPoint {
    fn clone(&self) -> Self {
        Self { side: self.side, what: self.what.clone(), left: AtomicU32::new(self.left.load(Ordering::SeqCst)) }
    }
}

impl FromStr for CrashPoint {
    type Err = UnknownPoint;

    fn from_str(text: &str) -> Result<Self, UnknownPoint> {
        let unknown = || UnknownPoint(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (side, what, number) = match words.as_slice() {
            [side, what] => (side, what, 1),
            [side, what, number] => (side, what, number.parse().map_err(|_| unknown())?),
            _ => return Err(unknown()),
        };
        let side = match *side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return Err(unknown()),
        };
        if !NAMES.contains(what) || number == 0 {
            return Err(unknown());
        }
        Ok(Self { side, what: (*what).to_owned(), left: AtomicU32::new(number) })
    }
}

impl CrashPoint {
    /// Whether this record is the one; counts.
    pub(super) fn is_now(&self, what: &str) -> bool {
        debug_assert!(NAMES.contains(&what), "{what} has no name");
        // Records are made one at a time, so this one is the n-th for sure.
        self.what == what && self.left.load(Ordering::SeqCst) > 0 && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Ends the process if this is the side.
    pub(super) fn pass(&self, side: Side) {
        if self.side == side {
            eprintln!("ending at the crash point: {side:?} {}", self.what);
            crate::bot::executor::end_this_process();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slip in a point's name is an error that lists the names, not a test that never crashes.
    #[test]
    fn points_are_checked() {
        for good in ["before published", "after claim 2"] {
            assert!(good.parse::<CrashPoint>().is_ok(), "{good}");
        }
        for bad in ["", "published", "during published", "before publishing", "after claim 0", "after claim two", "after claim 1 1"] {
            assert!(bad.parse::<CrashPoint>().unwrap_err().to_string().contains("set_status_comment"), "{bad}");
        }
    }
}
