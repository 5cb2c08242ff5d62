//! The tables, as numbered steps. A step that has been released is never changed; a new one is added after it.

use super::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Each step brings a store from version `index` to `index + 1`.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/1.sql")];

/// Brings the tables up to date, or refuses a store of a newer version.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    // Whoever opens a store that is up to date waits for no other writer.
    let is_store: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'migrations')", [], |row| row.get(0))?;
    if is_store && version(connection)? == known {
        return Ok(());
    }
    // Two servers that start together must not both run a step: the check and the steps are one transaction.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, program TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
    )?;
    let found = version(&transaction)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (version, step) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        transaction.execute_batch(step)?;
        transaction.execute(
            "INSERT INTO migrations (version, program, applied_at) VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%SZ'))",
            (version, env!("CARGO_PKG_VERSION")),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

fn version(connection: &Connection) -> Result<u32, StoreError> {
    Ok(connection.query_row("SELECT coalesce(max(version), 0) FROM migrations", [], |row| row.get(0))?)
}
