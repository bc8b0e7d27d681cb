//! The list of faults of a run, as data: what is generated, kept beside every report, and replayed.

use crate::fault::{Kind, Mode, Outcome, Victim};
use crate::seed::Seed;
use crate::setting::Setting;
use orchestrator::domain::limits::{Policy, ROLES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// The format that this program writes and reads.
pub const VERSION: u32 = 1;
/// More projects than this at once say nothing about the orchestrator that a machine of this size could show.
pub const PROJECTS_MAX: u32 = 200;
/// The shortest live run: below this no fault fits between the two control phases.
pub const DURATION_MS_MIN: u64 = 4_000;
/// The longest live run: a day.
pub const DURATION_MS_MAX: u64 = 24 * 3_600_000;

/// A run, planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// [`VERSION`].
    pub version: u32,
    /// The seed it was generated from; live, it also names the run.
    pub seed: Seed,
    /// Where it is played.
    pub mode: Mode,
    /// From the moment all projects of the start run to the end of the second control phase.
    pub duration_ms: u64,
    /// Length of each of the two control phases, in which nothing is injected and nothing may be reported.
    pub control_ms: u64,
    /// How many projects.
    pub projects: u32,
    /// How many roles each of them has.
    pub roles: u32,
    /// The faults, by time.
    pub faults: Vec<Planned>,
    /// What it is beside its faults. Simulated only.
    #[serde(default, skip_serializing_if = "Setting::is_empty")]
    pub setting: Setting,
    /// What happens in it, in a sentence or two, for whoever finds it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
    /// The invariant that failed under it when it was kept, such as `S4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violates: Option<String>,
    /// What that invariant says, in the words of that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// One fault, planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Its number, from 1, in the order of time.
    pub id: u32,
    /// When, from the start of the run. It is not before this, and later if its project is not fit yet.
    pub at_ms: u64,
    /// Not before this event of its project is told, after `at_ms`: the name of an entry of the journal. Simulated
    /// only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_event: Option<String>,
    /// What.
    pub kind: Kind,
    /// Which project, counted from 0.
    pub project: u32,
    /// Which role, counted from 0; null if it hits the project as a whole.
    pub role: Option<u32>,
    /// What else it needs to know.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    pub params: Params,
}

/// What some kinds need to know beside their target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// For `stderr_null`: which program fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub victim: Option<Victim>,
    /// For what lasts a while: how long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// Why a schedule cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// It is of another format.
    #[error("schedule version {0} is not {VERSION}, the only one that this program reads")]
    Version(u32),
    /// A number is out of its range.
    #[error("{what} is {is}, not from {min} to {max}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it is.
        is: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
    /// What is beside the faults makes no sense.
    #[error("setting: {0}")]
    Setting(&'static str),
    /// A fault makes no sense.
    #[error("fault {id}: {why}")]
    Fault {
        /// Which.
        id: u32,
        /// Why not.
        why: &'static str,
    },
}

impl Params {
    /// Whether there is nothing to know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.victim.is_none() && self.for_ms.is_none()
    }
}

impl Planned {
    /// Whether it makes git fail, which happens while its project is being provisioned for the first time.
    #[must_use]
    pub fn hits_git(&self) -> bool {
        self.kind == Kind::StderrNull && self.params.victim == Some(Victim::Git)
    }
}

impl Schedule {
    /// Whether it can be played as it is.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), ScheduleError> {
        if self.version != VERSION {
            return Err(ScheduleError::Version(self.version));
        }
        within("duration_ms", self.duration_ms, DURATION_MS_MIN, DURATION_MS_MAX)?;
        within("control_ms", self.control_ms, 0, self.duration_ms / 2)?;
        within("projects", u64::from(self.projects), 1, u64::from(PROJECTS_MAX))?;
        within("roles", u64::from(self.roles), 1, ROLES_MAX as u64)?;
        if self.mode == Mode::Live && !self.setting.is_empty() {
            return Err(ScheduleError::Setting("only a simulated run has one"));
        }
        self.setting.check(self.projects, self.roles, self.duration_ms).map_err(ScheduleError::Setting)?;
        let mut ids = BTreeSet::new();
        let mut hit = BTreeSet::new();
        let mut last = 0;
        for fault in &self.faults {
            let wrong = |why| Err(ScheduleError::Fault { id: fault.id, why });
            let first = hit.insert(fault.project);
            if !fault.kind.entry().modes.contains(&self.mode) {
                return wrong("it cannot be played in this mode");
            } else if fault.on_event.is_some() && self.mode != Mode::Sim {
                return wrong("only a simulated run waits for events");
            }
            if !ids.insert(fault.id) {
                return wrong("its id is not its own");
            } else if fault.at_ms < last || fault.at_ms > self.duration_ms {
                return wrong("its time is out of order, or after the end");
            } else if fault.project >= self.projects {
                return wrong("there is no such project");
            } else if fault.role.is_some_and(|role| role >= self.roles) {
                return wrong("there is no such role");
            } else if fault.kind == Kind::StderrNull && fault.params.victim.is_none() {
                return wrong("it does not say whether the agent or git fails");
            } else if fault.role.is_some() != (fault.kind.entry().hits_role && !fault.hits_git()) {
                return wrong("a role is named where none is hit, or none where one is");
            } else if fault.hits_git() && !first && self.mode == Mode::Live {
                return wrong("git can only fail as the first fault of a project, while it is provisioned");
            }
            last = fault.at_ms;
        }
        Ok(())
    }

    /// The fault under which a project is enqueued, if it is one of those that are held back until then.
    #[must_use]
    pub fn held_back_by(&self, project: u32) -> Option<&Planned> {
        self.faults.iter().find(|fault| fault.project == project).filter(|fault| fault.hits_git())
    }

    /// The limits of the installation that it is played on, which checkers hold it to as well.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let default = || {
            let policy = Policy::default();
            Policy { max_active: self.projects.max(policy.max_active), ..policy }
        };
        self.setting.policy.clone().unwrap_or_else(default)
    }

    /// Whether nothing happens in it that somebody could be alarmed by: no fault, and no agent that falls silent.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.setting.said.is_empty()
    }

    /// The kinds that it schedules.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<Kind> {
        self.faults.iter().map(|fault| fault.kind).collect()
    }

    /// How many of each kind it schedules.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, u32> {
        let mut counts = BTreeMap::new();
        for fault in &self.faults {
            *counts.entry(fault.kind).or_insert(0) += 1;
        }
        counts
    }

    /// What is due for a fault that hits its project after `spent` others which each spent a recovery.
    #[must_use]
    pub fn outcome_due(kind: Kind, spent: u32) -> Outcome {
        let entry = kind.entry();
        if entry.spends_recovery && spent >= Policy::default().breaker_max { Outcome::Contained } else { entry.outcome }
    }
}

fn within(what: &'static str, is: u64, min: u64, max: u64) -> Result<(), ScheduleError> {
    if (min..=max).contains(&is) { Ok(()) } else { Err(ScheduleError::Range { what, is, min, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(faults: Vec<Planned>) -> Schedule {
        let mode = Mode::Live;
        Schedule {
            version: VERSION,
            seed: Seed(1),
            mode,
            duration_ms: 30_000,
            control_ms: 4_500,
            projects: 2,
            roles: 2,
            faults,
            setting: Setting::default(),
            story: None,
            violates: None,
            expected: None,
        }
    }

    fn fault(id: u32, at_ms: u64, kind: Kind, role: Option<u32>, victim: Option<Victim>) -> Planned {
        let params = Params { victim, for_ms: None };
        Planned { id, at_ms, on_event: None, kind, project: 0, role, params }
    }

    fn refusal(faults: Vec<Planned>) -> Option<String> {
        schedule(faults).check().err().map(|error| error.to_string())
    }

    #[test]
    fn a_sound_schedule_survives_writing_and_reading() {
        let sound = schedule(vec![
            fault(1, 5_000, Kind::StderrNull, None, Some(Victim::Git)),
            fault(2, 9_000, Kind::SessionKill, None, None),
            fault(3, 12_000, Kind::ClaudeMdDelete, Some(1), None),
        ]);
        assert_eq!(sound.check(), Ok(()));
        let text = serde_json::to_string(&sound).expect("json");
        assert_eq!(serde_json::from_str::<Schedule>(&text).expect("the same"), sound);
        assert_eq!(sound.held_back_by(0).map(|fault| fault.id), Some(1));
        assert_eq!(sound.held_back_by(1), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let kill = |id, at_ms| fault(id, at_ms, Kind::SessionKill, None, None);
        assert!(refusal(vec![kill(1, 2), kill(1, 3)]).is_some_and(|why| why.contains("id")));
        assert!(refusal(vec![kill(1, 3), kill(2, 2)]).is_some_and(|why| why.contains("order")));
        assert!(refusal(vec![kill(1, 30_001)]).is_some());
        assert!(refusal(vec![fault(1, 1, Kind::SessionKill, Some(0), None)]).is_some_and(|why| why.contains("role")));
        assert!(refusal(vec![fault(1, 1, Kind::ClaudeMdDelete, None, None)]).is_some());
        assert!(refusal(vec![fault(1, 1, Kind::ClaudeMdDelete, Some(2), None)]).is_some());
        assert!(refusal(vec![fault(1, 1, Kind::StderrNull, Some(0), None)]).is_some());
        let git = fault(2, 9, Kind::StderrNull, None, Some(Victim::Git));
        assert!(refusal(vec![kill(1, 2), git]).is_some_and(|why| why.contains("first")));
        let attended = Setting { attended: true, ..Setting::default() };
        assert!(Schedule { setting: attended, ..schedule(vec![]) }.check().is_err(), "not in a live run");
        assert!(Schedule { version: 2, ..schedule(vec![]) }.check().is_err());
        assert!(Schedule { projects: 0, ..schedule(vec![]) }.check().is_err());
    }

    #[test]
    fn the_recovery_after_the_last_one_allowed_is_contained() {
        assert_eq!(Schedule::outcome_due(Kind::SessionKill, 2), Outcome::Recovered);
        assert_eq!(Schedule::outcome_due(Kind::SessionKill, 3), Outcome::Contained);
    }
}
