//! What this machine says, for commands that only look: the installation's clock, whether a process lives, whether
//! the database's file can be written.

use super::exit::CliError;
use crate::domain::id::ProcessId;
use crate::domain::time::Timestamp;
use crate::store::Store;
use rustix::time::ClockId;
use std::path::{Path, PathBuf};

/// The database within an installation.
pub const DATABASE: &str = "orch.db";
/// The installation's directory within the one that `orch init` was run in.
pub const HOME: &str = ".orch";
/// Bytes of free disk below which the store counts as degraded: a WAL needs room to be checkpointed.
pub const FREE_BYTES_MIN: u64 = 16 << 20;

/// The installation: the one that was named, or the one found here or above, as git finds its own.
///
/// # Errors
/// If none was named and there is none.
pub fn home(named: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let here = std::env::current_dir().map_err(|error| CliError::System("cannot tell the working directory", error))?;
    let found = here.ancestors().map(|dir| dir.join(HOME)).find(|dir| dir.join(DATABASE).exists());
    found.ok_or(CliError::NoInstallation)
}

/// This moment on the installation's timeline: the store's anchor, carried on by CLOCK_MONOTONIC.
///
/// # Errors
/// If the anchor cannot be read.
pub fn now(store: &Store) -> Result<Timestamp, CliError> {
    let Some(anchor) = store.anchor()? else { return Ok(Timestamp(0)) };
    let (mono, wall) = (micros(ClockId::Monotonic), micros(ClockId::Realtime));
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mono = u64::try_from(mono).unwrap_or(0);
    Ok(anchor.resumed(boot.trim(), mono, wall).at(mono))
}

fn micros(clock: ClockId) -> i64 {
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000)
}

/// Whether exactly this process runs: the same number and the same start, and not only a zombie.
#[must_use]
pub fn is_alive(process: ProcessId) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", process.pid))
        .ok()
        .and_then(|stat| state_and_start(&stat))
        .is_some_and(|(state, start)| start == process.start && !matches!(state, 'Z' | 'X'))
}

/// Fields 3 and 22 of `/proc/PID/stat`. The name in field 2 may hold anything, so counting begins after its last `)`.
fn state_and_start(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
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
    fn a_process_is_its_number_and_its_start() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (_, start) = state_and_start(&stat).unwrap();
        let pid = std::process::id();
        assert!(is_alive(ProcessId { pid, start }));
        assert!(!is_alive(ProcessId { pid, start: start + 1 }), "a later process of the same number");
    }

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c) S {}", numbers.join(" "));
        assert_eq!(state_and_start(&stat), Some(('S', 22)));
        assert_eq!(state_and_start("7 (x) Z 1"), None);
        assert_eq!(state_and_start(""), None);
    }

    #[test]
    fn a_database_that_is_not_there_is_degraded() {
        assert!(degraded(Path::new("/nonexistent/orch.db")).is_some());
    }
}
