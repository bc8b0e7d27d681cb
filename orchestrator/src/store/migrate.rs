//! Schema versions. Each migration runs in one transaction: the database is at the old version or the new (C38).

use super::error::StoreError;
use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// The schema version that this program writes: how many [`STEPS`] there are.
pub const SCHEMA_VERSION: i64 = 1;

/// The schema's steps: a database of version N has had the first N of them.
pub const STEPS: [&str; 1] = [include_str!("schema.sql")];

/// Lets the database have all of these steps.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    Migrations::new(steps.iter().map(|step| M::up(step)).collect()).to_latest(connection)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Mode, Store};
    use std::path::{Path, PathBuf};

    const SCHEMA: &str = STEPS[0];

    #[test]
    fn every_step_is_a_version() {
        assert_eq!(i64::try_from(STEPS.len()), Ok(SCHEMA_VERSION));
    }

    /// What a machine that stopped at this moment would find: the files as they are, nobody holding them.
    fn crashed(path: &Path, to: &Path) -> PathBuf {
        for end in ["", "-wal"] {
            let (from, to) = (format!("{}{end}", path.display()), format!("{}{end}", to.display()));
            if Path::new(&from).exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
        to.to_owned()
    }

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_crash_in_the_middle_of_the_first_schema_leaves_none_and_the_next_start_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "application_id", 0x6f72_6368_i64).unwrap();
        // Every page goes to the file at once, so that the crash catches the schema half written.
        connection.pragma_update(None, "cache_size", 1).unwrap();
        let half = SCHEMA.split_at(SCHEMA.find("CREATE TABLE outbox").unwrap()).0;
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {half}")).unwrap();
        let image = crashed(&path, &dir.path().join("image.db"));
        let mut found = Store::open(&image, Mode::Existing).unwrap();
        found.set_installation("0042").unwrap();
        assert_eq!(version(&found.connection), SCHEMA_VERSION);
        assert_eq!(found.installation().unwrap().as_deref(), Some("0042"));
        found.quick_check().unwrap();
    }

    #[test]
    fn a_migration_that_crashes_or_fails_half_way_leaves_the_old_version_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.db");
        Store::open(&path, Mode::Create).unwrap().set_installation("0042").unwrap();
        let mut connection = Connection::open(&path).unwrap();
        let next = "ALTER TABLE meta ADD COLUMN note TEXT; UPDATE meta SET value = 'beef';";
        let failing = format!("{next} INSERT INTO nowhere VALUES (1);");
        let steps = |step| Migrations::new(vec![M::up(SCHEMA), M::up(step)]);
        steps(&failing).to_latest(&mut connection).unwrap_err();
        let old = |path: &Path| {
            let found = Store::open(path, Mode::Existing).unwrap();
            found.quick_check().unwrap();
            assert_eq!((version(&found.connection), found.installation().unwrap().as_deref()), (1, Some("0042")));
            found.connection.prepare("SELECT note FROM meta").unwrap_err();
        };
        old(&path);
        connection.pragma_update(None, "cache_size", 1).unwrap();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {next} PRAGMA user_version = 2;")).unwrap();
        old(&crashed(&path, &dir.path().join("image.db")));
        connection.execute_batch("ROLLBACK").unwrap();
        steps(next).to_latest(&mut connection).unwrap();
        assert_eq!(version(&connection), 2);
    }
}
