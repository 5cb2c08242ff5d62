//! The file that keeps results of paired tests between two derivations of the leaderboard.
//!
//! It is no artifact: it is never published, may be deleted at any time, and changes no byte of the leaderboard. `verify` does not read it.

use crate::evaluation::write_atomically;
use crate::leaderboard::board::tested_pairs;
use crate::leaderboard::{ItemScores, Registry, TestCounts, TestedPairs, TestedPairsError};
use crate::publish::Publisher;
use std::fs;
use std::path::{Path, PathBuf};
use tracing::{debug, warn};

/// Its usual name.
pub const FILE_NAME: &str = "paired-tests.cache";

/// The file that belongs to a publisher: beside its git cache.
#[must_use]
pub fn beside(publisher: &Publisher) -> PathBuf {
    publisher.cache.with_file_name(FILE_NAME)
}

/// Tests every two runs that the leaderboard compares, taking over what the file has and keeping there what was tested now. A file that cannot
/// be read, is damaged or is of another program's version is warned of and made anew; one that cannot be written is warned of.
pub fn test_with_cache(path: &Path, registry: &Registry, items: &mut ItemScores) -> TestCounts {
    let pairs = tested_pairs(registry);
    let known = read(path);
    let before = known.len();
    let counts = items.test(&pairs, known);
    debug!("paired tests: {} known, {} new", counts.known, counts.new);
    let changed = counts.new > 0 || items.tested().len() != before;
    if changed && let Err(error) = write_atomically(path, &items.tested().to_bytes()) {
        warn!("the results of paired tests are not kept, so they will be computed again: {error:#}");
    }
    counts
}

fn read(path: &Path) -> TestedPairs {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return TestedPairs::default(),
        Err(error) => return ignored(path, &error.to_string()),
    };
    TestedPairs::from_bytes(&bytes).unwrap_or_else(|error: TestedPairsError| ignored(path, &error.to_string()))
}

fn ignored(path: &Path, reason: &str) -> TestedPairs {
    warn!("{} is not used and made anew: {reason}", path.display());
    TestedPairs::default()
}
