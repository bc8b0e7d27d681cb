//! The directory through which agents report (DESIGN.md, section 7).
//!
//! One record is one file, written whole and renamed into place, so that a report survives the orchestrator's absence
//! and is never seen half. It owns the records' form and their folder; it decides nothing, and what a record claims
//! to be (project, role, token) is judged by who reads the store.
//!
//! - [`record`]: one report as JSON; writing and reading it.
//! - [`folder`]: listing what waits, taking it out, putting aside what cannot be used.
//! - [`identity`]: who an agent is, from the environment its pane was started with.

pub mod folder;
pub mod identity;
pub mod record;

use crate::validate::file::FileFault;

pub use folder::{Folder, consume, list, reject};
pub use identity::{Identity, from_env};
pub use record::{Record, read, write};

/// Why a record cannot be written or used; its text is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// A file operation failed.
    #[error("spool: cannot {doing} {path}: {words}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what, escaped.
        path: String,
        /// The system's words.
        words: String,
    },
    /// What stands in the spool is no readable file (B30–B33, B35).
    #[error("{name}: {fault}")]
    File {
        /// Its file name, escaped.
        name: String,
        /// Why not.
        fault: FileFault,
    },
    /// It is no record: not JSON, or a rule is broken (B36–B38, B42).
    #[error("{name}: {reason}")]
    Content {
        /// Its file name, escaped.
        name: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The environment does not say who reports.
    #[error("{variable} {problem}; this command is for agents: it runs inside a pane that orch started")]
    NoIdentity {
        /// Which variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl SpoolError {
    /// Whether the record may be read a moment later: nothing is wrong with it as far as is known.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::File { fault: FileFault::NotNow(_), .. })
    }
}
