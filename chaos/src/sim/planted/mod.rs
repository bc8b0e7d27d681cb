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
mod senses;
mod tales;

pub use bend::{Bend, BendRef, BentEnv, Turn};
pub use catalogue::ALL;
pub use crashes::{CRASHES, CrashBug, Plant, SPARED};
pub use harness::{Kept, harness};
pub use matrix::{Kill, Matrix, SEEDS_MAX, kill, sound};

use crate::fault::Kind;
use crate::schedule::Schedule;
use std::cell::RefCell;
use std::rc::Rc;

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

/// Faults that spend a project's whole budget.
const SPENDS: &[Kind] = &[Kind::AgentExitInstant, Kind::BriefAlwaysFails, Kind::AgentDieInStart];
/// The same with restarts in between.
const SPENDS_AND_RESTARTS: &[Kind] = &[Kind::AgentExitInstant, Kind::BriefAlwaysFails, Kind::OrchKill];
/// What kills one agent or session.
const KILLS: &[Kind] = &[Kind::SessionKill, Kind::PaneKill, Kind::AgentExitSilent, Kind::PaneHusk];
/// What makes git fail.
const GIT: &[Kind] = &[Kind::StderrEmpty, Kind::ProcMissing, Kind::ProcSignal, Kind::SessionKill, Kind::WorktreeDelete];
/// What an orchestrator does not survive, or cannot write in.
const STOPS: &[Kind] = &[Kind::OrchKill, Kind::CommitReplyLost, Kind::DbLocked];

fn shared(bend: impl Bend + 'static) -> BendRef {
    Rc::new(RefCell::new(bend))
}

const HALF_HOUR: Bug = Bug {
    name: "",
    what: "",
    from: From::Own,
    intended: "",
    minutes: 30,
    projects: None,
    roles: None,
    kinds: &[],
    plant: |_| shared(hands::Sql::default()),
};

const REFERENCE: Bug = Bug { from: From::Reference, ..HALF_HOUR };
const INCIDENT: Bug = Bug { from: From::Incident, ..HALF_HOUR };

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
