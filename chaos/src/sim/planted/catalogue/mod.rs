//! The planted bugs, as one table in parts: a file a subject.

mod queue;
mod record;
mod recovery;
mod rest;
mod sight;
mod state;

use super::hands::Sql;
use super::{Bend, BendRef, Bug, From};
use crate::fault::Kind;
use std::cell::RefCell;
use std::rc::Rc;

/// Faults that spend a project's whole budget.
const SPENDS: &[Kind] = &[Kind::AgentExitInstant, Kind::BriefAlwaysFails, Kind::AgentDieInStart];
/// The same with restarts in between.
const SPENDS_AND_RESTARTS: &[Kind] = &[Kind::AgentExitInstant, Kind::BriefAlwaysFails, Kind::OrchKill];
/// The same with steps of the wall clock in between.
const SPENDS_AND_STEPS: &[Kind] =
    &[Kind::AgentExitInstant, Kind::BriefAlwaysFails, Kind::ClockStepForward, Kind::ClockStepBack];
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
    plant: |_| shared(Sql::default()),
};

const REFERENCE: Bug = Bug { from: From::Reference, ..HALF_HOUR };
const INCIDENT: Bug = Bug { from: From::Incident, ..HALF_HOUR };

/// Subject by subject.
const ALL: [&[Bug]; 6] = [state::BUGS, recovery::BUGS, record::BUGS, queue::BUGS, sight::BUGS, rest::BUGS];

/// Every planted bug, one after another.
pub fn all() -> impl Iterator<Item = &'static Bug> {
    ALL.into_iter().flatten()
}
