//! Trouble with the store: how long to wait before it is tried again, and who is told (G15).
//!
//! While it lasts nothing is started or ended. It is told once, when it begins, changes and ends: to the diagnostics,
//! and to `run/degraded.json`, because the database itself is what cannot be written.

use crate::domain::id::ProcessId;
use crate::env::{files, process};
use crate::store::{Class, StoreError};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

const NAME: &str = "degraded.json";
/// The first wait, doubled up to the longest: long enough not to spin on a full disk, short enough to go on within a
/// second of its end.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What `run/degraded.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Who has it.
    pub pid: u32,
    /// When that process was started, as the system counts.
    pub start: u64,
    /// Why the store cannot be used.
    pub reason: String,
    /// Whether it may pass by itself.
    pub class: Class,
}

/// The trouble that a living orchestrator has at the moment, as it told in `run_dir`.
#[must_use]
pub fn told(run_dir: &Path) -> Option<Trouble> {
    let text = std::fs::read_to_string(run_dir.join(NAME)).ok()?;
    let trouble: Trouble = serde_json::from_str(&text).ok()?;
    process::is_alive(ProcessId { pid: trouble.pid, start: trouble.start }).then_some(trouble)
}

/// Keeps account of it for the loop.
pub(super) struct Keeper {
    run_dir: PathBuf,
    me: ProcessId,
    now: Option<(Trouble, Duration)>,
}

impl Keeper {
    /// Begins without any; what a predecessor left is removed.
    pub(super) fn new(run_dir: PathBuf, me: ProcessId) -> Self {
        drop(std::fs::remove_file(run_dir.join(NAME)));
        Self { run_dir, me, now: None }
    }

    /// Whether there is any.
    pub(super) fn is_on(&self) -> bool {
        self.now.is_some()
    }

    /// How long to wait before the store is tried again; none if it works.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.now.as_ref().map(|(_, pause)| *pause)
    }

    /// The store failed.
    pub(super) fn met(&mut self, error: &StoreError) {
        let reason = error.to_string();
        let pause = match (&self.now, error.class()) {
            (_, Class::Permanent) => PAUSE_MAX,
            (Some((_, pause)), Class::Transient) => (*pause * 2).min(PAUSE_MAX),
            (None, Class::Transient) => PAUSE_MIN,
        };
        let known = self.now.as_ref().is_some_and(|(trouble, _)| trouble.reason == reason);
        let trouble = Trouble { pid: self.me.pid, start: self.me.start, reason, class: error.class() };
        if !known {
            let class = trouble.class;
            tracing::error!(%error, ?class, "the store cannot be used; nothing is started or ended meanwhile");
            self.tell(&trouble);
        }
        self.now = Some((trouble, pause));
    }

    /// The store worked.
    pub(super) fn over(&mut self) {
        if self.now.take().is_some() {
            tracing::info!("the store works again");
            drop(std::fs::remove_file(self.run_dir.join(NAME)));
        }
    }

    /// It stops: what it told is over with it, whether the store works or not.
    pub(super) fn leave(&mut self) {
        if self.now.take().is_some() {
            drop(std::fs::remove_file(self.run_dir.join(NAME)));
        }
    }

    fn tell(&self, trouble: &Trouble) {
        let written = serde_json::to_vec(trouble)
            .map_err(std::io::Error::other)
            .and_then(|text| files::write_atomic(&self.run_dir, Path::new(NAME), &text, 0o600));
        if let Err(error) = written {
            tracing::warn!(%error, "that cannot be written to {NAME} either");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn trouble_is_told_while_it_lasts_and_tried_again_within_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let me = process::identify(std::process::id()).unwrap();
        let mut keeper = Keeper::new(dir.path().to_owned(), me);
        assert_eq!((keeper.pause(), told(dir.path())), (None, None));
        let gone = StoreError::Vanished { path: "x".into(), why: "y".to_owned() };
        let mut pauses = Vec::new();
        for _ in 0..6 {
            keeper.met(&gone);
            pauses.push(keeper.pause().unwrap().as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000]);
        let trouble = told(dir.path()).unwrap();
        assert_eq!((trouble.reason, trouble.class), (gone.to_string(), Class::Transient));
        assert_eq!(dir.path().join(NAME).metadata().unwrap().mode() & 0o777, 0o600);
        keeper.over();
        assert_eq!((keeper.is_on(), told(dir.path())), (false, None));
    }

    #[test]
    fn it_is_written_once_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let me = process::identify(std::process::id()).unwrap();
        let mut keeper = Keeper::new(dir.path().to_owned(), me);
        let written = || dir.path().join(NAME).metadata().unwrap().ino();
        keeper.met(&StoreError::Conflict("a".to_owned()));
        let first = std::fs::File::open(dir.path().join(NAME)).unwrap();
        let inode = written();
        keeper.met(&StoreError::Conflict("a".to_owned()));
        assert_eq!(written(), inode, "the same again says nothing");
        keeper.met(&StoreError::Conflict("b".to_owned()));
        assert_ne!(written(), inode);
        drop(first);
    }

    #[test]
    fn what_a_dead_orchestrator_told_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let me = process::identify(std::process::id()).unwrap();
        let dead = ProcessId { start: me.start + 1, ..me };
        Keeper::new(dir.path().to_owned(), dead).met(&StoreError::Conflict("a".to_owned()));
        assert_eq!(told(dir.path()), None);
    }
}
