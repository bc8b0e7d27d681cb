//! Opening: which file, in which mode, with which settings.

use super::error::StoreError;
use super::hold::{Held, Identity, Ours};
use super::{backup, migrate};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks the file as ours (`PRAGMA application_id`): the bytes "orch".
const APPLICATION_ID: i64 = 0x6f72_6368;

/// How long a write waits while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_millis(5_000);

/// How to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Make it if it is not there (`orch init`, nothing else).
    Create,
    /// It must be there; read and write.
    Existing,
    /// It must be there; only read.
    ReadOnly,
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Which file was opened; none in memory.
    pub(super) identity: Option<Identity>,
    /// The lease, once this process took it.
    pub(super) held: Option<Held>,
    /// What the database at the path must be, while there is no connection to it.
    pub(super) ours: Option<Ours>,
    /// What the database was when this store last read or wrote it.
    pub(super) known: Ours,
    pub(super) busy_timeout: Duration,
}

impl Store {
    /// Opens the database file.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the file; it is left untouched.
    pub fn open(path: &Path, mode: Mode) -> Result<Self, StoreError> {
        // An existence test first: SQLite would take an empty or missing file for a valid empty database.
        let there = path.try_exists().unwrap_or(false);
        if mode != Mode::Create {
            if !there {
                return Err(StoreError::Missing(path.to_owned()));
            }
            if path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
                return Err(StoreError::Foreign { path: path.to_owned(), why: "it is empty".to_owned() });
            }
        }
        let access = match mode {
            Mode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            Mode::Existing => OpenFlags::SQLITE_OPEN_READ_WRITE,
            Mode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        let before = there.then(|| Identity::of(path)).transpose()?;
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // SQLite's own descriptor cannot be asked; the same file before and after is the one it opened.
        let identity = Identity::of(path)?;
        if before.is_some_and(|before| before != identity) {
            let why = "it was replaced while it was opened".to_owned();
            return Err(StoreError::Vanished { path: path.to_owned(), why });
        }
        let mut store = Self::over(connection, path.to_owned(), Some(identity));
        store.settings(mode)?;
        store.identify(mode, there, &migrate::STEPS)?;
        // One that cannot be read says so when it is used; it is not what this store ever knew.
        store.known = store.newest().unwrap_or_default();
        Ok(store)
    }

    /// Takes a connection that somebody else opened (the simulator's in-memory one) and makes it a store.
    ///
    /// # Errors
    /// If the schema cannot be set up on it.
    pub fn from_connection(connection: Connection) -> Result<Self, StoreError> {
        Self::from_connection_with(connection, &migrate::STEPS)
    }

    /// The same for a program whose schema has these steps, such as a later one: what an upgrade is like can be tried
    /// before there is one.
    ///
    /// # Errors
    /// If the schema cannot be set up on it, or is one of a later program still.
    pub fn from_connection_with(connection: Connection, steps: &[&str]) -> Result<Self, StoreError> {
        let mut store = Self::over(connection, PathBuf::from(":memory:"), None);
        store.connection.pragma_update(None, "foreign_keys", true)?;
        store.plan_once()?;
        store.identify(Mode::Create, false, steps)?;
        Ok(store)
    }

    fn over(connection: Connection, path: PathBuf, identity: Option<Identity>) -> Self {
        Self { connection, path, identity, held: None, ours: None, known: Ours::default(), busy_timeout: BUSY_TIMEOUT }
    }

    /// How long a write waits while another process writes; 5 s unless told otherwise.
    ///
    /// # Errors
    /// Never in practice.
    pub fn set_busy_timeout(&mut self, wait: Duration) -> Result<(), StoreError> {
        self.connection.busy_timeout(wait)?;
        self.busy_timeout = wait;
        Ok(())
    }

    /// Lets the file grow to this many pages and no further; at least as many as it has.
    ///
    /// # Errors
    /// Never in practice.
    pub fn set_pages_max(&mut self, pages: u32) -> Result<(), StoreError> {
        let sql = format!("PRAGMA max_page_count = {pages}");
        Ok(self.connection.query_row(&sql, [], |_| Ok(()))?)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A statement is planned once. Without this SQLite plans it anew whenever a bound `LIMIT` changes, which was a third of
    /// the time of an idle turn.
    fn plan_once(&self) -> Result<(), StoreError> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        self.connection.set_prepared_statement_cache_capacity(128);
        Ok(())
    }

    fn settings(&self, mode: Mode) -> Result<(), StoreError> {
        self.plan_once()?;
        let db = &self.connection;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "foreign_keys", true)?;
        db.pragma_update(None, "trusted_schema", false)?;
        db.pragma_update(None, "cell_size_check", true)?;
        if mode != Mode::ReadOnly {
            // WAL with FULL: a commit that returned survives even a power cut (G1); measured as affordable.
            db.pragma_update(None, "journal_mode", "WAL").map_err(|error| self.not_ours(&error))?;
            db.pragma_update(None, "synchronous", "FULL")?;
        }
        Ok(())
    }

    /// Checks that the file is ours and of a version we know, and makes the schema in a new one.
    fn identify(&mut self, mode: Mode, there: bool, steps: &[&str]) -> Result<(), StoreError> {
        let number = |db: &Connection, name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let id = number(&self.connection, "application_id").map_err(|error| self.not_ours(&error))?;
        let version = number(&self.connection, "user_version").map_err(|error| self.not_ours(&error))?;
        if mode == Mode::Create && id == 0 && version == 0 && !there {
            self.connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            return migrate::migrate(&mut self.connection, steps);
        }
        if id != APPLICATION_ID {
            let why = format!("its application_id is {id:#x}");
            return Err(StoreError::Foreign { path: self.path.clone(), why });
        }
        let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
        if version > known {
            return Err(StoreError::TooNew { path: self.path.clone(), found: version, known });
        }
        if version < known && mode != Mode::ReadOnly {
            // Beside one in memory there is no place for a copy.
            if self.identity.is_some() {
                backup::before_migration(&self.connection, &self.path, version)?;
            }
            migrate::migrate(&mut self.connection, steps)?;
        }
        Ok(())
    }

    fn not_ours(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => {
                StoreError::Foreign { path: self.path.clone(), why: "it is not an SQLite database".to_owned() }
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Corrupt { path: self.path.clone(), why: error.to_string() }
            }
            _ => StoreError::Foreign { path: self.path.clone(), why: error.to_string() },
        }
    }

    /// Reads every page's structure once; done by `orch serve` before it trusts the file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] with the check's own words.
    pub fn quick_check(&self) -> Result<(), StoreError> {
        let verdict: String = self.connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
        if verdict == "ok" {
            return Ok(());
        }
        Err(StoreError::Corrupt { path: self.path.clone(), why: verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_any_writer_survives_a_power_cut() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("orch.db");
        drop(Store::open(&path, Mode::Create).expect("made"));
        let store = Store::open(&path, Mode::Existing).expect("opened");
        let asked = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        assert_eq!(asked("journal_mode").expect("read"), "wal");
        let synchronous = store.connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        assert_eq!(synchronous.expect("read"), 2, "FULL: with WAL, NORMAL loses the last commits at a power cut");
    }
}
