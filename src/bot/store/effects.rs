//! Effects outside of the store: written down before they are tried and after they happened.

use super::{Lease, Store, StoreError, millis, time};
use chrono::{DateTime, Utc};
use rusqlite::OptionalExtension as _;

/// What is known about an effect before it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intention {
    /// Never tried: go on.
    First,
    /// Tried at that time, with unknown outcome: look for it outside before doing it again.
    Unknown(DateTime<Utc>),
    /// It happened, with this result.
    Done(String),
}

impl Store {
    /// Writes down that the holder is about to do something outside, such as `comment` or `push`. Names are the caller's; within one job or
    /// delivery each names one effect.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]: do nothing.
    pub fn intend(&self, lease: &Lease, name: &str, now: DateTime<Utc>) -> Result<Intention, StoreError> {
        let owner = lease.owner();
        self.write("intend", |transaction| {
            lease.check(transaction)?;
            let sql = "SELECT intended_at, result FROM effects WHERE owner = ?1 AND name = ?2";
            let found: Option<(i64, Option<String>)> =
                transaction.prepare_cached(sql)?.query_row((&owner, name), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            Ok(match found {
                Some((_, Some(result))) => Intention::Done(result),
                Some((at, None)) => Intention::Unknown(time(at)),
                None => {
                    let sql = "INSERT INTO effects (owner, name, intended_at) VALUES (?1, ?2, ?3)";
                    transaction.prepare_cached(sql)?.execute((&owner, name, millis(now)))?;
                    Intention::First
                }
            })
        })
    }

    /// Writes down that the effect happened. Not bound to the lease: a fact stays a fact.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn conclude(&self, lease: &Lease, name: &str, result: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = "INSERT INTO effects (owner, name, intended_at, done_at, result) VALUES (?1, ?2, ?3, ?3, ?4)
                   ON CONFLICT (owner, name) DO UPDATE SET done_at = coalesce(done_at, excluded.done_at), result = coalesce(result, excluded.result)";
        self.write("conclude", |transaction| Ok(transaction.execute(sql, (lease.owner(), name, millis(now), result)).map(drop)?))
    }

    /// Takes an intention back: the effect is known not to have happened.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn withdraw(&self, lease: &Lease, name: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM effects WHERE owner = ?1 AND name = ?2 AND result IS NULL";
        self.write("withdraw", |transaction| Ok(transaction.execute(sql, (lease.owner(), name)).map(drop)?))
    }

    /// Effects whose outcome is unknown, as (owner, name, time of the intention), the oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open_intentions(&self) -> Result<Vec<(String, String, DateTime<Utc>)>, StoreError> {
        let reader = self.reader();
        let mut statement = reader.prepare_cached("SELECT owner, name, intended_at FROM effects WHERE result IS NULL ORDER BY id")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, time(row.get(2)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
