//! What a run is asked to be, and what came of it.

use super::cover::Coverage;
use super::gate::Blow;
use super::points::Side;
use super::world::Manner;
use crate::check::{Finding, Is};
use crate::fault::Kind;
use crate::schedule::Schedule;
use crate::truth::Injection;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;

/// What is played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The faults and how long.
    pub schedule: Schedule,
    /// How agents behave that nothing is wrong with.
    pub manner: Manner,
    /// The installation's limits.
    pub policy: Policy,
    /// Commits that are to suffer something, by their number.
    pub blows: Vec<(u64, Blow)>,
    /// Points of effects at which the orchestrator is to die, by their number.
    pub crashes: BTreeMap<u64, Side>,
    /// Whether the names of all points are kept.
    pub record_points: bool,
    /// Whether a fingerprint of everything that happens is taken.
    pub fingerprint: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Whether its schedule has no fault.
    pub fault_free: bool,
    /// Whether every alarm was held for a false one ([`Schedule::is_calm`]).
    pub calm: bool,
    /// Events of the heap that were dealt with.
    pub events: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Entries of the journal.
    pub entries: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Faults that were tried, in the order of their times, and whether each took effect.
    pub injections: Vec<Injection>,
    /// How long agents lived, in microseconds, summed over agents.
    pub agent_us: u64,
    /// Faults that took effect, by kind.
    pub confirmed: BTreeMap<Kind, u32>,
    /// Faults that were tried, by kind.
    pub injected: BTreeMap<Kind, u32>,
    /// How often an orchestrator was started.
    pub starts: u32,
    /// The names of the points, if they were to be kept, and of the commits.
    pub points: Vec<String>,
    /// How many commits there were.
    pub commits: u64,
    /// Projects that were submitted.
    pub projects: u64,
    /// How many of them ended in each state, as the database has it.
    pub states: BTreeMap<ProjectState, u64>,
    /// What was reached.
    pub coverage: Coverage,
    /// What every checker says.
    pub findings: Vec<Finding>,
    /// If asked for, a fingerprint of everything that happened and was told, line by line: equal runs have equal ones.
    pub fingerprint: Vec<u64>,
    /// Why the simulation itself could not go on, if it could not.
    pub broke: Option<String>,
}

impl Outcome {
    /// The invariants that were violated.
    pub fn violated(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict.is == Is::Fail)
    }
}
