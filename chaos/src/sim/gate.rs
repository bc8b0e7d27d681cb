//! The orchestrator's commits, counted, and made to fail at one of them.
//!
//! The hooks of SQLite's connection are the only place from which a commit can be seen to happen: before it nothing
//! is decided, after it everything is.

use super::points::Side;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a commit is to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The orchestrator dies at it, on that side.
    Crash(Side),
    /// It fails, as on a full disk: rolled back, and the orchestrator lives.
    Refused,
}

/// Counts commits of one orchestrator after the other.
#[derive(Debug, Default)]
pub struct Gate {
    commits: AtomicU64,
    struck: AtomicBool,
    refusing: AtomicBool,
    planted: Mutex<Option<(u64, Blow)>>,
}

impl Gate {
    /// Plans what the Nth commit of the run is to suffer.
    pub fn plant(&self, commit: u64, blow: Blow) {
        if let Ok(mut planted) = self.planted.lock() {
            *planted = Some((commit, blow));
        }
    }

    /// Lets every commit fail, or none.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// A commit is about to happen. True lets it fail.
    #[must_use]
    pub fn passes(&self) -> bool {
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let due = self.planted.lock().ok().and_then(|mut planted| planted.take_if(|(at, _)| *at == number));
        match due {
            Some((_, Blow::Crash(side))) => {
                self.struck.store(true, Ordering::Relaxed);
                side == Side::Before
            }
            Some((_, Blow::Refused)) => true,
            None => self.refusing.load(Ordering::Relaxed) || self.is_struck(),
        }
    }

    /// Whether the orchestrator has died at a commit, and does nothing any more.
    #[must_use]
    pub fn is_struck(&self) -> bool {
        self.struck.load(Ordering::Relaxed)
    }

    /// The next one lives.
    pub fn revive(&self) {
        self.struck.store(false, Ordering::Relaxed);
    }

    /// Commits so far, the failed ones included.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}
