//! The orchestrator's commits, counted, and made to fail at one of them.
//!
//! The hooks of SQLite's connection are the only place from which a commit can be seen to happen: before it nothing
//! is decided, after it everything is.

use super::points::Side;
use super::sweep::Hit;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a commit is to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The orchestrator dies at it, on that side.
    Crash(Side),
    /// It fails, as on a full disk: rolled back, and the orchestrator lives.
    Refused,
    /// Something else happens at that moment; with no space it also fails.
    Hit(Hit),
    /// The orchestrator is told that it is written, and dies a moment later: it never was.
    Late,
}

/// A commit, as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Entries of the journal in it.
    pub entries: usize,
    /// Tables it changed.
    pub tables: BTreeSet<String>,
    /// Whether it was let through.
    pub kept: bool,
}

/// Counts commits of one orchestrator after the other.
#[derive(Debug, Default)]
pub struct Gate {
    commits: AtomicU64,
    struck: AtomicBool,
    refusing: AtomicBool,
    planted: Mutex<BTreeMap<u64, Blow>>,
    recording: AtomicBool,
    changes: Mutex<Passed>,
    log: Mutex<Vec<Passed>>,
    due: Mutex<Vec<Hit>>,
    late: AtomicBool,
}

impl Gate {
    /// Plans what the Nth commit of the run is to suffer.
    pub fn plant(&self, commit: u64, blow: Blow) {
        if let Ok(mut planted) = self.planted.lock() {
            planted.insert(commit, blow);
        }
    }

    /// How much of what was planned has not happened.
    #[must_use]
    pub fn unspent(&self) -> usize {
        self.planted.lock().map(|planted| planted.len()).unwrap_or_default()
    }

    /// If the orchestrator is to die before its next commit: lets it die a moment after it instead, with the commit
    /// lost.
    #[must_use]
    pub fn puts_off(&self) -> bool {
        let next = self.commits() + 1;
        let Ok(mut planted) = self.planted.lock() else { return false };
        let put_off = matches!(planted.get(&next), Some(Blow::Crash(Side::Before) | Blow::Late));
        if put_off {
            planted.insert(next, Blow::Late);
        }
        put_off
    }

    /// Whether the last commit was one that is lost; [`Self::revive`] ends that.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// Lets every commit fail, or none.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::Relaxed);
    }

    /// From now on commits are kept for [`Self::take_log`].
    pub fn record(&self) {
        self.recording.store(true, Ordering::Relaxed);
    }

    /// A row was changed.
    pub fn changed(&self, table: &str, new: bool) {
        if !self.recording.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(mut changes) = self.changes.lock() {
            changes.entries += usize::from(new && table == "event");
            // A new project is a client's doing: nobody else makes one.
            let table = if new && table == "project" { "client" } else { table };
            if !changes.tables.contains(table) {
                changes.tables.insert(table.to_owned());
            }
        }
    }

    /// What was changed goes back.
    pub fn rolled_back(&self) {
        drop(self.changes.lock().map(|mut changes| std::mem::take(&mut *changes)));
    }

    /// The commits since the last call.
    #[must_use]
    pub fn take_log(&self) -> Vec<Passed> {
        self.log.lock().map(|mut log| std::mem::take(&mut *log)).unwrap_or_default()
    }

    /// What has hit at a commit since the last call.
    #[must_use]
    pub fn take_hits(&self) -> Vec<Hit> {
        self.due.lock().map(|mut due| std::mem::take(&mut *due)).unwrap_or_default()
    }

    /// A commit is about to happen. True lets it fail.
    #[must_use]
    pub fn passes(&self) -> bool {
        let fails = self.is_to_fail();
        if !self.recording.load(Ordering::Relaxed) {
            return fails;
        }
        let changes = self.changes.lock().map(|mut changes| std::mem::take(&mut *changes)).unwrap_or_default();
        if let Ok(mut log) = self.log.lock() {
            log.push(Passed { kept: !fails && !self.is_late(), ..changes });
        }
        fails
    }

    fn is_to_fail(&self) -> bool {
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let due = self.planted.lock().ok().and_then(|mut planted| planted.remove(&number));
        match due {
            Some(Blow::Crash(side)) => {
                self.struck.store(true, Ordering::Relaxed);
                side == Side::Before
            }
            Some(Blow::Refused) => true,
            Some(Blow::Late) => {
                self.late.store(true, Ordering::Relaxed);
                false
            }
            Some(Blow::Hit(hit)) => {
                drop(self.due.lock().map(|mut due| due.push(hit)));
                if hit == Hit::NoSpace {
                    self.refuse(true);
                }
                self.refusing.load(Ordering::Relaxed)
            }
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
        self.late.store(false, Ordering::Relaxed);
    }

    /// Commits so far, the failed ones included.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}
