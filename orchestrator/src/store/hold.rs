//! Holding the database: whose it is (G10), and whether the file is still the one that was opened (G15).
//!
//! Both are asked where a write begins. While processes live the flock beside the database is the arbiter; the lease
//! stands behind it for the case that the flock was lost (its file replaced, the installation copied): whoever took
//! the lease last writes, everybody before is fenced by the transaction itself. The file's identity is asked of the
//! path, because an insert into an unlinked database succeeds silently.

use super::error::StoreError;
use super::open::{Mode, Store};
use super::read::close_intents;
use super::write::micros;
use crate::domain::id::{ProcessId, Seq};
use crate::domain::time::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Who holds the database, or held it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Grows with every holder.
    pub epoch: i64,
    /// Its process.
    pub holder: ProcessId,
    /// Since when.
    pub since: Timestamp,
    /// When the holder last said that it is still there.
    pub renewed: Timestamp,
    /// Whether it was given back properly.
    pub released: bool,
    /// Where the holder serves HTTP.
    pub http: Option<String>,
    /// What the holder last knew of tmux: `alive` or `unknown`.
    pub tmux: String,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    dev: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        match path.metadata() {
            Ok(meta) => Ok(Self { dev: meta.dev(), inode: meta.ino() }),
            Err(error) => Err(StoreError::Vanished { path: path.to_owned(), why: error.to_string() }),
        }
    }
}

/// The lease that this process took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    epoch: i64,
    holder: ProcessId,
}

/// What tells our installation's database from another one's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ours {
    pub(super) mark: Option<String>,
    pub(super) last: Seq,
}

impl Store {
    /// Begins a write: the file is the one that was opened, and nobody took the lease since.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.still_there()?;
        let held = self.held;
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(held) = held {
            verify(&tx, held)?;
        }
        Ok(tx)
    }

    /// Whether the path still leads to the file that was opened. Asked before a write and once more after its
    /// commit, so that nothing is done in the world on the strength of a row that nobody will ever read.
    ///
    /// # Errors
    /// [`StoreError::Vanished`], if it does not.
    pub fn still_there(&self) -> Result<(), StoreError> {
        let Some(opened) = self.identity else { return Ok(()) };
        let why = match self.ours {
            Some(_) => "it has not been opened again yet",
            None if Identity::of(self.path())? == opened => return Ok(()),
            None => "another file has taken its place",
        };
        Err(self.vanished(why))
    }

    fn vanished(&self, why: &str) -> StoreError {
        StoreError::Vanished { path: self.path().to_owned(), why: why.to_owned() }
    }

    /// Whether this process took the lease.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Records this process as the holder, and answers the lease's epoch: from here on every write of this store
    /// verifies that it is still the newest. The caller has the flock.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn take_lease(&mut self, holder: ProcessId, since: Timestamp, http: Option<&str>) -> Result<i64, StoreError> {
        self.held = None;
        let tx = self.begin()?;
        let epoch = tx.query_row(
            "INSERT INTO lease (id, epoch, pid, pid_start, since_us, renewed_us, released, http)
             VALUES (1, 1, ?1, ?2, ?3, ?3, 0, ?4)
             ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, pid = ?1, pid_start = ?2, since_us = ?3,
                                            renewed_us = ?3, released = 0, http = ?4, tmux = 'unknown'
             RETURNING epoch",
            params![holder.pid, holder.start.cast_signed(), micros(since), http],
            |row| row.get(0),
        )?;
        tx.commit()?;
        self.still_there()?;
        self.held = Some(Held { epoch, holder });
        Ok(epoch)
    }

    /// Proves after trouble that the database takes a write, by one in the lease's row, and closes every intent that is
    /// still open: their outcomes are settled by observation. The renewal stays what it was, for nobody has looked at
    /// anything yet. Where no lease was ever taken there is no row, and only the intents are written.
    ///
    /// # Errors
    /// If it takes none, or this process may not write any more (G10).
    pub fn prove(&mut self, at: Timestamp) -> Result<(), StoreError> {
        let tx = self.begin()?;
        close_intents(&tx, at)?;
        // An UPDATE of no row, or one that changes nothing, succeeds on a full disk: the counter changes.
        tx.execute("UPDATE lease SET proofs = proofs + 1 WHERE id = 1", [])?;
        tx.commit()?;
        self.still_there()
    }

    /// Gives the database back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn release_lease(&mut self) -> Result<(), StoreError> {
        let tx = self.begin()?;
        tx.execute("UPDATE lease SET released = 1, http = NULL, tmux = 'unknown' WHERE id = 1", [])?;
        tx.commit()?;
        self.held = None;
        Ok(())
    }

    /// Who holds the database, or held it last; none before the first `orch serve`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn lease(&self) -> Result<Option<LeaseRow>, StoreError> {
        let sql = "SELECT epoch, pid, pid_start, since_us, released, http, tmux, renewed_us FROM lease WHERE id = 1";
        let row = self
            .connection
            .query_row(sql, [], |row| {
                Ok(LeaseRow {
                    epoch: row.get(0)?,
                    holder: ProcessId { pid: row.get(1)?, start: row.get::<_, i64>(2)?.cast_unsigned() },
                    since: Timestamp(row.get::<_, i64>(3)?.cast_unsigned()),
                    released: row.get(4)?,
                    http: row.get(5)?,
                    tmux: row.get(6)?,
                    renewed: Timestamp(row.get::<_, i64>(7)?.cast_unsigned()),
                })
            })
            .optional()?;
        Ok(row)
    }

    /// What this database is, as it can be read now.
    pub(super) fn newest(&self) -> Result<Ours, StoreError> {
        Ok(Ours { mark: self.installation()?, last: self.last_seq()? })
    }

    /// Makes the store usable again after trouble, if that can be done: where the file was replaced, or was open only
    /// for reading, the path is opened anew, provided that what lies there is this installation's database and has
    /// lost nothing of the journal. The lease goes on: the next write verifies it on the new file.
    ///
    /// # Errors
    /// If it is not usable; nothing was written.
    pub fn revive(&mut self) -> Result<(), StoreError> {
        if self.identity.is_none() {
            return Ok(());
        }
        if self.still_there().is_ok() && !self.connection.is_readonly("main")? {
            return Ok(());
        }
        let ours = match self.ours.clone() {
            Some(ours) => ours,
            // What was written over in place cannot be asked any more; then what was last written there counts.
            None => self.newest().unwrap_or_else(|_| self.known.clone()),
        };
        self.ours = Some(ours.clone());
        // The old connection is closed first: two on one file in one process would break each other's locks. It must
        // not clean up behind itself either: the -wal at the path may belong to the new file by now.
        drop(leave(&mut self.connection)?);
        if matches!(self.path().try_exists(), Ok(false)) {
            return Err(self.vanished("there is no file"));
        }
        let looked = Self::open(self.path(), Mode::ReadOnly)?;
        let why = if looked.installation()? != ours.mark {
            Some("the database there is another installation's")
        } else if looked.last_seq()? < ours.last {
            Some("the database there is older: its journal is shorter")
        } else {
            None
        };
        drop(looked);
        if let Some(why) = why {
            return Err(self.vanished(why));
        }
        let mut opened = Self::open(self.path(), Mode::Existing)?;
        opened.quick_check()?;
        opened.set_busy_timeout(self.busy_timeout)?;
        opened.held = self.held;
        *self = opened;
        Ok(())
    }
}

/// Puts a connection to nothing in the place of `connection`, which will leave its files as they are.
fn leave(connection: &mut Connection) -> Result<Connection, StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(std::mem::replace(connection, Connection::open_in_memory()?))
}

fn verify(tx: &Transaction<'_>, held: Held) -> Result<(), StoreError> {
    let found = tx
        .prepare_cached("SELECT epoch, pid, pid_start FROM lease WHERE id = 1")?
        .query_row([], |row| {
            let holder = ProcessId { pid: row.get(1)?, start: row.get::<_, i64>(2)?.cast_unsigned() };
            Ok(Held { epoch: row.get(0)?, holder })
        })
        .optional()?;
    match found {
        Some(found) if found == held => Ok(()),
        Some(found) => Err(StoreError::Fenced { holder: found.holder }),
        None => Err(StoreError::Inconsistent("the lease is not there any more".to_owned())),
    }
}
