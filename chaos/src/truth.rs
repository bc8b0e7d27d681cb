//! What is true of the world, as data: sampled from tmux, `/proc` and files, or known because the harness did it.
//!
//! Nothing here comes from the orchestrator. What the orchestrator claims stands apart, in [`Claims`].

use crate::fault::{Kind, Victim};
use orchestrator::domain::breaker::Breaker;
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Everything that is known of the world of a run.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// The kinds that were to be injected.
    pub kinds: BTreeSet<Kind>,
    /// The projects that `orch enqueue` acknowledged.
    pub submitted: Vec<Submitted>,
    /// What was done to them, in the order of time.
    pub injections: Vec<Injection>,
    /// What was seen of them, in the order of time.
    pub samples: Vec<Sample>,
    /// When nothing was injected and nothing may be reported.
    pub control: Vec<Phase>,
    /// When faults had stopped and the agents were told to finish; none if it never came to that.
    pub released_at: Option<Timestamp>,
    /// When the last look was taken.
    pub ended_at: Timestamp,
    /// Resources of completed projects that are not as they must be.
    pub unfit: Vec<String>,
    /// Locks on worktrees that are still held at the end.
    pub locks: Vec<String>,
    /// What of the run outlived its own cleaning up.
    pub left_by_run: Vec<String>,
    /// Whether the run was cut short, so that nothing can be said about its end.
    pub aborted: bool,
    /// Anything else that befell the orchestrator and was not our doing.
    pub trouble: Vec<String>,
}

/// A project that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The id that was answered.
    pub id: ProjectId,
    /// Its roles.
    pub roles: Vec<RoleName>,
}

/// A fault as it was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// Its number in the schedule.
    pub id: u32,
    /// What.
    pub kind: Kind,
    /// For `stderr_null`: which program failed.
    pub victim: Option<Victim>,
    /// Whom it hit; none if its project was never accepted.
    pub project: Option<ProjectId>,
    /// Which role, if it hits one.
    pub role: Option<RoleName>,
    /// Just before the effect began; none if it was never tried.
    pub injected_at: Option<Timestamp>,
    /// Whether its probe saw the effect, and if not, what it saw instead.
    pub probe: Result<(), String>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phase {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last moment.
    pub until: Timestamp,
}

/// What was seen of the world, unchanged over a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When this was seen first.
    pub from: Timestamp,
    /// When it was seen last.
    pub until: Timestamp,
    /// What was seen.
    pub seen: Seen,
}

/// One look at the world.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The sessions on the run's socket; none if tmux did not answer.
    pub sessions: Option<Vec<SessionSeen>>,
    /// The incarnations of agents of which at least one process lived, all of them at the same moment.
    pub agents: BTreeMap<Incarnation, ProcessId>,
}

/// A session with its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeen {
    /// Its name.
    pub name: String,
    /// Its `@orch_instance`, if it has one.
    pub token: Option<Token>,
    /// The project that the environment of its processes names, or named when one of them was last seen.
    pub project: Option<ProjectId>,
    /// Whether a process of it lives.
    pub live: bool,
    /// Whether the database, asked after tmux had answered, has never heard of its token.
    pub unknown: bool,
}

/// Whose process it is, by what its environment says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation {
    /// `ORCH_PROJECT`.
    pub project: ProjectId,
    /// `ORCH_ROLE`.
    pub role: RoleName,
    /// `ORCH_EPOCH`.
    pub epoch: Epoch,
    /// `ORCH_INSTANCE`.
    pub token: Token,
}

/// What the orchestrator claims at the end: its rows, and whether its log and its database tell one story.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// The projects' rows.
    pub projects: Vec<ProjectRow>,
    /// The effects in the outbox, with their names.
    pub effects: Vec<(EffectId, String)>,
    /// Lines of the log that are no entries.
    pub unreadable: Vec<String>,
    /// The projects' breakers, where the rows were read.
    pub breakers: Vec<(ProjectId, Breaker)>,
    /// What the store's own audit finds wrong; none if it was not asked.
    pub audited: Option<Vec<String>>,
    /// Where the log and `orch events` differ; none if that could not be found out.
    pub differences: Option<Vec<String>>,
}

/// A project's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// Its state.
    pub state: ProjectState,
    /// Why it is suspended, if it is.
    pub reason: Option<SuspendReason>,
    /// The states of its roles.
    pub roles: BTreeMap<RoleName, RoleState>,
    /// Where their worktrees are, relative to the installation.
    pub worktrees: BTreeMap<RoleName, String>,
}

impl Injection {
    /// When it took effect, if its probe saw that it did.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        if self.probe.is_ok() { self.injected_at } else { None }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {} ({}", self.id, self.kind)?;
        match self.victim {
            Some(Victim::Git) => f.write_str(" of git")?,
            Some(Victim::Agent) => f.write_str(" of the agent")?,
            None => {}
        }
        match self.project {
            Some(project) => write!(f, " on project {project}")?,
            None => f.write_str(" on a project that was never accepted")?,
        }
        if let Some(role) = &self.role {
            write!(f, ", role {role}")?;
        }
        f.write_str(")")
    }
}

impl Phase {
    /// Whether that moment lies in it.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at <= self.until
    }
}

impl Truth {
    /// How many faults took effect, if all of them are of kinds that hurt no project: nothing may fail or be recovered.
    #[must_use]
    pub fn harmless(&self) -> u64 {
        let hurts = |kind: &Kind| kind.entry().detection.kind.is_some();
        let confirmed = self.injections.iter().filter(|fault| fault.probe.is_ok()).count();
        if self.kinds.iter().any(hurts) { 0 } else { confirmed as u64 }
    }

    /// How many seconds agents lived during these phases, summed over agents.
    #[must_use]
    pub fn agent_seconds(&self, phases: &[Phase]) -> f64 {
        let mut total = 0.0;
        for (place, sample) in self.samples.iter().enumerate() {
            // What was seen holds until something else is seen.
            let until = self.samples.get(place + 1).map_or(sample.until, |next| next.from);
            for phase in phases {
                let from = sample.from.max(phase.from);
                let lived = until.min(phase.until).since(from);
                total += lived.as_secs_f64() * sample.seen.agents.len() as f64;
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_hurt_nobody_count_only_if_there_are_no_others() {
        let kill = crate::story::injection(1, Kind::OrchKill, 1, None, 5_000);
        let truth = Truth { injections: vec![kill], kinds: [Kind::OrchKill].into(), ..Truth::default() };
        assert_eq!(truth.harmless(), 1);
        let kinds = [Kind::OrchKill, Kind::SessionKill].into();
        assert_eq!(Truth { kinds, ..truth }.harmless(), 0);
        assert_eq!(Truth::default().harmless(), 0);
    }

    #[test]
    fn agent_seconds_count_only_what_lies_in_a_phase() {
        let incarnation = |role: &str| Incarnation {
            project: ProjectId(1),
            role: RoleName(role.to_owned()),
            epoch: Epoch(1),
            token: Token(role.to_owned()),
        };
        let process = ProcessId { pid: 1, start: 1 };
        let sample = |from: u64, until: u64, roles: &[&str]| Sample {
            from: Timestamp(from * 1_000_000),
            until: Timestamp(until * 1_000_000),
            seen: Seen { sessions: None, agents: roles.iter().map(|role| (incarnation(role), process)).collect() },
        };
        let truth = Truth { samples: vec![sample(0, 9, &["a", "b"]), sample(10, 20, &["a"])], ..Truth::default() };
        let phase = Phase { from: Timestamp(5_000_000), until: Timestamp(12_000_000) };
        assert!((truth.agent_seconds(&[phase]) - 12.0).abs() < 1e-9);
    }
}
