//! The simulated disk of the database: real SQLite on its in-memory file system.
//!
//! One connection keeps the database; an orchestrator's is dropped when it crashes, in the middle of whatever it did.
//! That is the crash of a process, not the loss of power.

use super::gate::Gate;
use orchestrator::store::{STEPS, Store, StoreError};
use rusqlite::hooks::Action;
use rusqlite::{Connection, OpenFlags};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of every simulated installation.
pub const INSTALLATION: &str = "0042";

/// Databases that were ever made in this process; each has a name of its own.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A database in memory.
#[derive(Debug)]
pub struct Bank {
    uri: String,
    /// The schema of the program that is started next.
    pub(super) steps: &'static [&'static str],
    /// Keeps it, and does what clients do.
    pub client: Store,
}

impl Bank {
    /// An empty database.
    ///
    /// # Errors
    /// If SQLite has no memory for it.
    pub fn new() -> Result<Self, StoreError> {
        let uri = name();
        let mut client = Store::from_connection(open(&uri)?)?;
        client.set_installation(INSTALLATION)?;
        Ok(Self { uri, steps: &STEPS, client })
    }

    /// The database as it is now, as another one.
    ///
    /// # Errors
    /// If SQLite has no memory for it.
    pub fn copy(&self) -> Result<Self, StoreError> {
        let uri = name();
        let keeper = open(&uri)?;
        open(&self.uri)?.execute(include_str!("planted/sql/copy.sql"), [&uri])?;
        // Whoever keeps it changes nothing of it.
        let version: u8 = keeper.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let had = self.steps.get(..version.into()).unwrap_or(self.steps);
        Ok(Self { uri, steps: self.steps, client: Store::from_connection_with(keeper, had)? })
    }

    /// A connection that no orchestrator and no client uses.
    ///
    /// # Errors
    /// If SQLite has no memory for it.
    pub fn side_door(&self) -> Result<Connection, StoreError> {
        open(&self.uri)
    }

    /// Tells whether anybody's commit has changed the database since this was called.
    ///
    /// # Errors
    /// If SQLite has no memory for it.
    pub fn watch(&self) -> Result<impl Fn() -> Result<bool, StoreError> + use<>, StoreError> {
        let door = self.side_door()?;
        let version = move || door.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0));
        let before = version()?;
        Ok(move || Ok(version()? != before))
    }

    /// Another connection, whose commits pass the gate.
    ///
    /// # Errors
    /// If SQLite has no memory for it.
    pub fn connect(&self, gate: &Arc<Gate>) -> Result<Store, StoreError> {
        let connection = open(&self.uri)?;
        let gate = Arc::clone(gate);
        let (changes, undone) = (Arc::clone(&gate), Arc::clone(&gate));
        connection.update_hook(Some(move |action, _: &str, table: &str, _| {
            changes.changed(table, action == Action::SQLITE_INSERT);
        }))?;
        connection.rollback_hook(Some(move || undone.rolled_back()))?;
        connection.commit_hook(Some(move || gate.passes()))?;
        Store::from_connection_with(connection, self.steps)
    }
}

fn name() -> String {
    format!("file:/sim-{}?vfs=memdb", MADE.fetch_add(1, Ordering::Relaxed))
}

fn open(uri: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.pragma_update(None, "journal_mode", "MEMORY")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator::domain::id::ProcessId;
    use orchestrator::domain::time::Timestamp;

    #[test]
    fn a_watch_tells_of_every_commit_and_of_no_look() {
        let bank = Bank::new().expect("a bank");
        let mut store = bank.connect(&Arc::default()).expect("a connection");
        let changed = bank.watch().expect("a watch");
        store.lease().expect("looked");
        assert!(!changed().expect("asked"));
        store.take_lease(ProcessId { pid: 7, start: 1 }, Timestamp(1), None).expect("taken");
        assert!(changed().expect("asked"));
    }
}
