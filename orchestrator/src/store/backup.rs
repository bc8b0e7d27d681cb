//! Copies of the database, for the day on which it is lost. A copy is whole or has the name of a partial one (C39).

use super::error::StoreError;
use super::open::{Mode, Store};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Regular backups that are kept: those of the last day.
pub const BACKUPS_KEPT: usize = 24;
const PREFIX: &str = "orch-";
const SUFFIX: &str = ".db";
const PARTIAL: &str = ".tmp";
/// Where backups lie, beside the database.
const FOLDER: &str = "backups";

/// Copies the database into `folder` as `orch-STAMP.db` over a connection of its own, which only reads, and removes
/// the oldest beyond [`BACKUPS_KEPT`]. Stamps sort by time. Takes as long as the database is big: not for the loop.
///
/// # Errors
/// If it cannot be read or the copy not be written; a partial copy may be left, under its own name.
pub fn backup(database: &Path, folder: &Path, stamp: &str) -> Result<PathBuf, StoreError> {
    let store = Store::open(database, Mode::ReadOnly)?;
    let made = copy(&store.connection, folder, &format!("{PREFIX}{stamp}{SUFFIX}"))?;
    let mut kept = regular(folder).map_err(|error| StoreError::Backup(folder.to_owned(), error))?;
    kept.sort();
    let surplus = kept.len().saturating_sub(BACKUPS_KEPT);
    for old in kept.into_iter().take(surplus) {
        std::fs::remove_file(&old).map_err(|error| StoreError::Backup(old, error))?;
    }
    Ok(made)
}

/// When the newest regular backup in `folder` was made, if there is any.
#[must_use]
pub fn newest_backup(folder: &Path) -> Option<SystemTime> {
    let made = |path: PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    regular(folder).ok()?.into_iter().filter_map(made).max()
}

/// Removes what an interrupted backup left. Answers how many there were.
///
/// # Errors
/// If the folder cannot be read or a file not be removed.
pub fn remove_partial(folder: &Path) -> io::Result<usize> {
    let partial = named(folder, &format!("{SUFFIX}{PARTIAL}"))?;
    for path in &partial {
        std::fs::remove_file(path)?;
    }
    Ok(partial.len())
}

/// Keeps the database as it is before its schema is changed (C38). Such a copy is never removed.
pub(super) fn before_migration(connection: &Connection, database: &Path, version: i64) -> Result<(), StoreError> {
    // Version 0 is a file whose first schema was never made: there is nothing in it.
    let Some(beside) = database.parent().filter(|_| version > 0) else { return Ok(()) };
    let folder = beside.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| StoreError::Backup(folder.clone(), error))?;
    let name = format!("schema-{version}{SUFFIX}");
    // A copy from a migration that failed is of the same content or older: the first one is kept.
    if folder.join(&name).symlink_metadata().is_ok() {
        return Ok(());
    }
    copy(connection, &folder, &name).map(drop)
}

fn copy(connection: &Connection, folder: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let (path, partial) = (folder.join(name), folder.join(format!("{name}{PARTIAL}")));
    let failed = |error| StoreError::Backup(path.clone(), error);
    // Made here, empty and private; SQLite takes it as it is.
    drop(std::fs::remove_file(&partial));
    drop(OpenOptions::new().create_new(true).write(true).mode(0o600).open(&partial).map_err(failed)?);
    connection.execute("VACUUM INTO ?1", [partial.to_string_lossy()])?;
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    std::fs::rename(&partial, &path).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(path)
}

fn regular(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = named(folder, SUFFIX)?;
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)));
    Ok(found)
}

fn named(folder: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(end) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn made() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.db");
        Store::open(&path, Mode::Create).unwrap().set_installation("0042").unwrap();
        std::fs::create_dir(dir.path().join(FOLDER)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_backup_is_whole_private_and_one_of_the_last_day() {
        let (dir, path) = made();
        let folder = dir.path().join(FOLDER);
        // Somebody holds the write lock all the while.
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO meta VALUES ('half', 'done')").unwrap();
        for hour in 0..30 {
            backup(&path, &folder, &format!("20261120T{hour:02}0000Z")).unwrap();
        }
        let mut left = regular(&folder).unwrap();
        left.sort();
        assert_eq!(left.len(), BACKUPS_KEPT);
        assert!(left[0].ends_with("orch-20261120T060000Z.db"), "the oldest went: {left:?}");
        assert_eq!(left[0].metadata().unwrap().mode() & 0o777, 0o600);
        assert!(newest_backup(&folder).is_some());
        let copy = Store::open(&left[23], Mode::ReadOnly).unwrap();
        copy.quick_check().unwrap();
        assert_eq!(copy.installation().unwrap().as_deref(), Some("0042"));
        let half = |db: &Connection| db.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(half(&copy.connection), 1, "what was not committed is not in it");
    }

    #[test]
    fn what_an_interrupted_backup_left_is_removed_and_nothing_else() {
        let (dir, path) = made();
        let folder = dir.path().join(FOLDER);
        backup(&path, &folder, "20261120T000000Z").unwrap();
        std::fs::write(folder.join("orch-20261120T010000Z.db.tmp"), "half").unwrap();
        std::fs::write(folder.join("notes.tmp"), "mine").unwrap();
        assert_eq!(newest_backup(&folder), newest_backup(&folder));
        assert_eq!(remove_partial(&folder).unwrap(), 1);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
        // A partial of the same name is in nobody's way either.
        std::fs::write(folder.join("orch-20261120T020000Z.db.tmp"), "half").unwrap();
        backup(&path, &folder, "20261120T020000Z").unwrap();
    }

    #[test]
    fn an_older_schema_is_kept_before_it_is_changed() {
        let (dir, path) = made();
        let store = Store::open(&path, Mode::Existing).unwrap();
        before_migration(&store.connection, &path, 0).unwrap();
        assert_eq!(named(&dir.path().join(FOLDER), SUFFIX).unwrap(), Vec::<PathBuf>::new());
        before_migration(&store.connection, &path, 1).unwrap();
        before_migration(&store.connection, &path, 1).unwrap();
        let kept = Store::open(&dir.path().join(FOLDER).join("schema-1.db"), Mode::ReadOnly).unwrap();
        assert_eq!(kept.installation().unwrap().as_deref(), Some("0042"));
    }
}
