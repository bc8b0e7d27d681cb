//! Bugs that are planted on purpose, to prove that the checkers bite.
//!
//! None of them is in the shipped program, nor behind a feature of it: each enters through the simulated environment
//! ([`bend::Bend`]): through what an orchestrator takes in ([`senses`]), what it does ([`hands`]), what it tells
//! ([`tales`]), its policy, and the database it starts on. A bug that the invariant it was made for does not find is
//! a hole in that invariant's checker.

mod bend;
mod catalogue;
mod crashes;
mod hands;
mod harness;
mod known;
mod matrix;
mod records;
mod senses;
mod strangers;
mod tales;

pub use bend::{Bend, BendRef, BentEnv, Of, Turn};
pub use catalogue::all;
pub use crashes::{CRASHES, CrashBug, Plant, SPARED, TRUSTING};
#[cfg(test)]
pub(crate) use harness::Breaks;
pub use harness::{Kept, harness};
pub use matrix::{Kill, Length, Matrix, SEEDS_MAX, SHRINK_RUNS_MAX, kill, sound};

use crate::fault::Kind;
use crate::schedule::Schedule;

/// Where the idea of a bug comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// `reference/invariants-and-planted-bugs.md`.
    Reference,
    /// The incidents' reports: how it was, or what they propose.
    Incident,
    /// Ourselves.
    Own,
}

/// A planted bug.
#[derive(Debug)]
pub struct Bug {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is wrong, in one line.
    pub what: &'static str,
    /// Where the idea comes from.
    pub from: From,
    /// The number of the invariant that it was made for.
    pub intended: &'static str,
    /// Minutes of virtual time that it needs.
    pub minutes: u64,
    /// The projects of a run; drawn if none.
    pub projects: Option<u32>,
    /// The roles of each; drawn if none.
    pub roles: Option<u32>,
    /// The faults in whose presence it shows; all if none.
    pub kinds: &'static [Kind],
    /// Puts it at work.
    pub plant: fn(&Schedule) -> BendRef,
}

impl From {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Incident => "incident",
            Self::Own => "own",
        }
    }
}
