//! What this machine says, for commands that only look: the installation and its clock, and whether the database's
//! file can be written.

use super::exit::CliError;
use crate::config::Home;
use crate::domain::time::Timestamp;
use crate::env::clock::Timeline;
use crate::store::Store;
use std::path::Path;

/// The database within an installation.
pub const DATABASE: &str = "orch.db";
/// Bytes of free disk below which the store counts as degraded: a WAL needs room to be checkpointed.
pub const FREE_BYTES_MIN: u64 = 16 << 20;

/// The installation: the one that was named, or the one found here or above, as git finds its own.
///
/// # Errors
/// If none was named and there is none, or the one named is none.
pub fn home(named: Option<&Path>) -> Result<Home, CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::System("cannot tell the working directory", error))?;
    Ok(Home::find(named, None, &here)?)
}

/// This moment on the installation's timeline: the store's anchor, carried on by CLOCK_MONOTONIC.
///
/// # Errors
/// If the anchor cannot be read.
pub fn now(store: &Store) -> Result<Timestamp, CliError> {
    let Some(anchor) = store.anchor()? else { return Ok(Timestamp(0)) };
    let timeline = Timeline::resume(Some(&anchor)).map_err(|error| CliError::System("cannot read the clock", error))?;
    Ok(timeline.at())
}

/// Why the store could not take a commit just now, as far as that can be seen from outside; none if it could.
#[must_use]
pub fn degraded(database: &Path) -> Option<String> {
    if let Err(error) = rustix::fs::access(database, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK) {
        return Some(format!("the database cannot be written: {error}"));
    }
    match rustix::fs::statvfs(database) {
        Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < FREE_BYTES_MIN => {
            Some(format!("less than {} MiB of disk are free", FREE_BYTES_MIN >> 20))
        }
        Ok(_) => None,
        Err(error) => Some(format!("the disk cannot be asked: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_not_there_is_degraded() {
        assert!(degraded(Path::new("/nonexistent/orch.db")).is_some());
    }
}
