//! The database: the only module that knows SQL, and the one source of truth.
//!
//! Its face is narrow on purpose (DESIGN.md, section 11): open, load the fleet, commit a decision, read the journal,
//! enqueue. A commit is one immediate transaction: legal moves by compare-and-set, their events, the outbox, the
//! attempts, the evidence. It either happens as a whole or leaves everything as it was, and after an error the
//! caller must read again: memory is never trusted over the file (G15).
//!
//! What recovery may assume: after [`Store::commit`] returned, everything in it survives a crash of this process
//! (WAL, synchronous=FULL); if it did not return, either all of it is there or none.

mod anchor;
mod audit;
mod backup;
mod error;
mod hold;
mod incarnation;
mod migrate;
mod open;
mod queue;
mod read;
mod request;
mod status;
mod write;

pub use anchor::anchor;
pub use audit::Audited;
pub use backup::{BACKUPS_KEPT, backup, newest_backup, remove_partial};
pub use error::{Class, StoreError};
pub use hold::LeaseRow;
pub use migrate::{SCHEMA_VERSION, STEPS};
pub use open::{Mode, Store};
pub use queue::Accepted;
pub use request::{Asked, Taken};
pub use status::{OutboxRow, ProjectRow, RoleRow, Stance, Standing, sqlite_version};
pub use write::{Settlement, Turn};
