//! Schema versions. Each migration runs in one transaction: the database is at the old version or the new (C38).

use super::error::StoreError;
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// The schema version that this program writes.
pub const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = include_str!("schema.sql");

/// Brings the database to [`SCHEMA_VERSION`].
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    Migrations::new(vec![M::up(SCHEMA)]).to_latest(connection)?;
    Ok(())
}
