//! Why the store could not do something; each variant says what a person can do about it.

use crate::domain::id::ProcessId;
use rusqlite::ErrorCode;
use std::path::PathBuf;
use thiserror::Error;

/// An error of the store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no database.
    #[error("no database at {0}: run `orch init` first")]
    Missing(PathBuf),
    /// The file is not one of ours.
    #[error("{path} is not an orchestrator database: {why}")]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// It was written by a newer version.
    #[error("{path} has schema {found}, this program knows up to {known}: use the newer program")]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest one known here.
        known: i64,
    },
    /// It is damaged.
    #[error("{path} is damaged: {why}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What the check said.
        why: String,
    },
    /// The file at the path is not the one that was opened: unlinked, or replaced (G15).
    #[error("{path} is not the file that was opened any more: {why}")]
    Vanished {
        /// Which file.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// Somebody else took the installation; this process may not write any more (G10).
    #[error("another orchestrator (pid {}) took the installation over; this one stops", holder.pid)]
    Fenced {
        /// Who holds it.
        holder: ProcessId,
    },
    /// The queue holds as many projects as it may.
    #[error("the queue is full: {0} projects wait; finish or cancel some first")]
    QueueFull(usize),
    /// The row is not as this process last read it: somebody else wrote.
    #[error("{0} was changed by somebody else since it was read")]
    Conflict(String),
    /// A decision did not fit what is in the database: a defect of ours.
    #[error("refused to write an inconsistent decision: {0}")]
    Inconsistent(String),
    /// A value in the database cannot be read.
    #[error("cannot read {what}: {why}")]
    Unreadable {
        /// Which value.
        what: String,
        /// Why not.
        why: String,
    },
    /// SQLite refused.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A backup could not be written.
    #[error("backing the database up to {0}")]
    Backup(PathBuf, #[source] std::io::Error),
    /// A migration failed.
    #[error("migrating the database: {0}")]
    Migration(#[from] rusqlite_migration::Error),
    /// A value could not be written as JSON.
    #[error("encoding: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Whether trouble of the store may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Trying again may work: locked, full, an I/O error, read-only, the file gone for now.
    Transient,
    /// It stays so until a person (or a newer program) has dealt with it.
    Permanent,
}

impl StoreError {
    /// Whether somebody else held the lock for too long.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Vanished { .. } | Self::Missing(_) | Self::Conflict(_) | Self::QueueFull(_) => Class::Transient,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(
                    ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::OutOfMemory
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::SchemaChanged,
                ) => Class::Transient,
                _ => Class::Permanent,
            },
            Self::Foreign { .. }
            | Self::TooNew { .. }
            | Self::Corrupt { .. }
            | Self::Fenced { .. }
            | Self::Inconsistent(_)
            | Self::Unreadable { .. }
            | Self::Migration(_)
            | Self::Backup(..)
            | Self::Encode(_) => Class::Permanent,
        }
    }

    /// A value that could not be read.
    pub(super) fn unreadable(what: impl Into<String>, why: impl ToString) -> Self {
        Self::Unreadable { what: what.into(), why: why.to_string() }
    }
}
