//! Where a crash can be planted: before and after each thing an orchestrator does to the world or to its store.
//!
//! The method is SQLite's: a reference run counts and names every point; then run after run fails at the Nth.

use super::sweep::Hit;
use std::collections::BTreeMap;

/// On which side of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It has not happened.
    Before,
    /// It has happened, and nobody knows yet.
    After,
}

/// The points of a run.
#[derive(Debug, Clone, Default)]
pub struct Points {
    /// Whether their names are kept.
    pub recording: bool,
    /// Their names, in order, if they are.
    pub names: Vec<String>,
    /// How many were passed.
    pub passed: u64,
    /// Crashes that are planted: at which point, on which side.
    pub planted: BTreeMap<u64, Side>,
    /// What else is to hit: at which point, on which side.
    pub hits: BTreeMap<u64, (Side, Hit)>,
    /// What hits at the point that was just passed.
    pub due: Option<(Side, Hit)>,
    /// What has hit, and whether it had an effect.
    pub suffered: Vec<(Hit, bool)>,
    /// The life that a crash has just ended.
    pub struck: Option<usize>,
}

impl Points {
    /// Counts a point, and says whether and on which side a crash is due there.
    pub fn pass(&mut self, name: impl FnOnce() -> String) -> Option<Side> {
        self.passed += 1;
        if self.recording {
            self.names.push(name());
        }
        self.due = self.hits.remove(&self.passed);
        self.planted.remove(&self.passed)
    }
}
