//! Results of paired tests that were computed before, so that a new model costs one test against each other model instead of every pair again.
//!
//! A result is known by the ids of both runs and the digests of everything that enters the test, so it can be stale in no way: what has changed is
//! not found and is tested again. Pure: bytes in, bytes out; where the bytes are kept is the caller's affair.
//!
//! The format, all numbers little-endian: `MAGIC`, `u32` [`TEST_VERSION`], `u32` number of runs, for each run in the order of the ids `u16` length
//! and bytes of its id and the 32 bytes of its digest; for each run as the first of a pair `u32` number of results, each `u32` place of the second
//! run, `f64` points, `f64` standard error (not a number where there is none); last the SHA-256 of all bytes before.

use crate::statistics::Difference;
use sha2::{Digest, Sha256};

/// Version of [`crate::statistics::aggregate_difference`]: results of another version are not used. Raise it with every change of a result's bits.
pub const TEST_VERSION: u32 = 1;
/// First bytes of the format.
const MAGIC: &[u8] = b"slm-bench paired tests 1\n";
/// Most results that are kept: 4,000 models compared with each other. Pairs beyond are tested each time.
pub(super) const MOST_RESULTS: usize = 8_000_000;
const DIGEST: usize = 32;

/// Why kept results cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestedPairsError {
    /// Another format.
    #[error("it does not hold results of paired tests")]
    Foreign,
    /// The bytes are not those that were written.
    #[error("it is damaged or cut off")]
    Damaged,
    /// Results of another version of the test.
    #[error("its results are of version {0} of the test, this program computes version {TEST_VERSION}")]
    OtherVersion(u32),
}

/// Results by the runs compared: each run's id and digest, sorted by id, and for each the results of pairs in which it comes first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestedPairs {
    pub(super) runs: Vec<(String, [u8; DIGEST])>,
    /// For each of `runs` the second run's place, points and standard error, sorted by place.
    pub(super) rows: Vec<Vec<(u32, f64, Option<f64>)>>,
}

impl TestedPairs {
    /// Number of results.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    /// Without any result.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }

    /// First minus second, by their places in `runs`; `None` where it is not known.
    pub(super) fn get(&self, first: usize, second: usize) -> Option<Difference> {
        let row = self.rows.get(first)?;
        let second = u32::try_from(second).ok()?;
        let (_, points, stderr) = row[row.binary_search_by_key(&second, |(place, ..)| *place).ok()?];
        Some(Difference::new(points, stderr))
    }

    /// The results between runs that both are among `runs`, a list sorted by id, with places in that list.
    pub(super) fn among(self, runs: &[(&str, [u8; DIGEST])]) -> Vec<Vec<(u32, f64, Option<f64>)>> {
        let place = |(id, digest): &(String, [u8; DIGEST])| {
            let place = runs.binary_search_by_key(&id.as_str(), |(id, _)| id).ok()?;
            u32::try_from(place).ok().filter(|_| runs[place].1 == *digest)
        };
        let places: Vec<Option<u32>> = self.runs.iter().map(place).collect();
        let mut rows = vec![Vec::new(); runs.len()];
        for (first, row) in self.rows.into_iter().enumerate() {
            if let Some(first) = places[first] {
                // Both lists are sorted by id, so the order stays.
                let known = |(second, points, stderr)| Some((places[second as usize]?, points, stderr));
                rows[first as usize] = row.into_iter().filter_map(known).collect();
            }
        }
        rows
    }

    /// As bytes that [`TestedPairs::from_bytes`] reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let number = |bytes: &mut Vec<u8>, number: usize| bytes.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(TEST_VERSION.to_le_bytes());
        number(&mut bytes, self.runs.len());
        for (id, digest) in &self.runs {
            bytes.extend(u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(id.as_bytes());
            bytes.extend(digest);
        }
        for row in &self.rows {
            number(&mut bytes, row.len());
            for (second, points, stderr) in row {
                bytes.extend(second.to_le_bytes());
                bytes.extend(points.to_le_bytes());
                bytes.extend(stderr.unwrap_or(f64::NAN).to_le_bytes());
            }
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// Reads what [`TestedPairs::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`TestedPairsError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TestedPairsError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(TestedPairsError::Foreign)?;
        let (content, digest) = bytes.split_last_chunk::<DIGEST>().ok_or(TestedPairsError::Damaged)?;
        if Sha256::digest(content).as_slice() != digest {
            return Err(TestedPairsError::Damaged);
        }
        let mut rest = rest.strip_suffix(digest).ok_or(TestedPairsError::Damaged)?;
        let version = take(&mut rest).map(u32::from_le_bytes)?;
        if version != TEST_VERSION {
            return Err(TestedPairsError::OtherVersion(version));
        }
        let mut found = Self::default();
        for _ in 0..take(&mut rest).map(u32::from_le_bytes)? {
            let length = usize::from(take(&mut rest).map(u16::from_le_bytes)?);
            let (id, after) = rest.split_at_checked(length).ok_or(TestedPairsError::Damaged)?;
            rest = after;
            let id = std::str::from_utf8(id).map_err(|_| TestedPairsError::Damaged)?;
            found.runs.push((id.to_owned(), take(&mut rest)?));
        }
        for _ in 0..found.runs.len() {
            let count = take(&mut rest).map(u32::from_le_bytes)?;
            let row = (0..count).map(|_| result(&mut rest, found.runs.len())).collect::<Result<Vec<_>, _>>()?;
            found.rows.push(row);
        }
        let sorted = found.runs.is_sorted_by(|a, b| a.0 < b.0) && found.rows.iter().all(|row| row.is_sorted_by(|a, b| a.0 < b.0));
        if rest.is_empty() && sorted { Ok(found) } else { Err(TestedPairsError::Damaged) }
    }
}

fn result(rest: &mut &[u8], runs: usize) -> Result<(u32, f64, Option<f64>), TestedPairsError> {
    let second = take(rest).map(u32::from_le_bytes)?;
    let (points, stderr) = (take(rest).map(f64::from_le_bytes)?, take(rest).map(f64::from_le_bytes)?);
    let in_range = usize::try_from(second).is_ok_and(|second| second < runs);
    if in_range { Ok((second, points, Some(stderr).filter(|stderr| !stderr.is_nan()))) } else { Err(TestedPairsError::Damaged) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TestedPairsError> {
    let (taken, after) = rest.split_first_chunk::<N>().ok_or(TestedPairsError::Damaged)?;
    *rest = after;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> TestedPairs {
        TestedPairs {
            runs: vec![("a".to_owned(), [1; 32]), ("b".to_owned(), [2; 32]), ("c".to_owned(), [3; 32])],
            rows: vec![vec![(1, 1.5, Some(0.25)), (2, -3.0, None)], vec![], vec![(1, 0.0, Some(0.0))]],
        }
    }

    /// Kept results come back as they were; those of a run that is gone or has other answers do not.
    #[test]
    fn results_read_back_for_the_same_runs_only() {
        let back = TestedPairs::from_bytes(&example().to_bytes()).unwrap();
        assert_eq!(back, example());
        assert_eq!((back.len(), back.get(0, 2), back.get(1, 0)), (3, Some(Difference::new(-3.0, None)), None));
        assert_eq!(back.clone().among(&[("a", [1; 32]), ("c", [3; 32])]), [vec![(1, -3.0, None)], vec![]]);
        assert_eq!(back.among(&[("a", [1; 32]), ("b", [9; 32])]), [vec![], vec![]]);
    }

    #[test]
    fn other_bytes_are_told_apart() {
        let bytes = example().to_bytes();
        assert_eq!(TestedPairs::from_bytes(b""), Err(TestedPairsError::Foreign));
        assert_eq!(TestedPairs::from_bytes(b"{\"models\":[]}"), Err(TestedPairsError::Foreign));
        let mut older = bytes[..bytes.len() - DIGEST].to_vec();
        older[MAGIC.len()] = 0;
        older.extend(Sha256::digest(&older).to_vec());
        assert_eq!(TestedPairs::from_bytes(&older), Err(TestedPairsError::OtherVersion(0)));
    }

    proptest! {
        /// A flipped bit or a cut is never read as results.
        #[test]
        fn damage_is_noticed(place in 0..200_usize, bit in 0..8_u32, cut in any::<bool>()) {
            let mut bytes = example().to_bytes();
            let place = place % bytes.len();
            if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
            prop_assert!(TestedPairs::from_bytes(&bytes).is_err());
        }
    }
}
