//! What a campaign has reached: which fault met which state of a project in which phase, and which rare moments came.
//!
//! A generator that never reaches a place proves nothing about it; so the places are counted, and those that were
//! never reached are named.

use crate::fault::Kind;
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use std::collections::{BTreeMap, BTreeSet};

/// When in a run a fault came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing had been injected before.
    First,
    /// The project, or the fleet, was still dealing with another one.
    Meanwhile,
    /// Everything was at work again.
    After,
}

impl Phase {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::First, Self::Meanwhile, Self::After];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Meanwhile => "meanwhile",
            Self::After => "after",
        }
    }
}

/// Rare moments that a campaign must have seen at least once (M2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sometimes {
    /// A project's breaker opened.
    BreakerOpened,
    /// A half-open probe brought a project back.
    ProbeSucceeded,
    /// The fleet's breaker opened.
    FleetBreakerOpened,
    /// An orchestrator started in the middle of a recovery.
    RestartInRecovery,
    /// An orchestrator started while sessions were being made.
    RestartInLaunch,
    /// tmux could not be asked.
    TmuxUnknown,
    /// A project waited for an operator since too little was known.
    NeedsOperator,
    /// An agent was taken over after a restart.
    Adopted,
    /// A session was found there when it was to be made.
    SessionAdopted,
    /// An agent hung and was noticed.
    Stalled,
    /// The tmux server died.
    ServerDied,
    /// The machine was rebooted.
    Rebooted,
    /// Nobody looked for a while.
    Away,
    /// A project was given up.
    Failed,
    /// A name was taken.
    NameConflict,
    /// A brief was handed over more than once.
    BriefAgain,
    /// A stray session was told of.
    Stray,
    /// A report came too late to count.
    StaleReport,
}

impl Sometimes {
    /// Every value.
    pub const ALL: &'static [Self] = &[
        Self::BreakerOpened,
        Self::ProbeSucceeded,
        Self::FleetBreakerOpened,
        Self::RestartInRecovery,
        Self::RestartInLaunch,
        Self::TmuxUnknown,
        Self::NeedsOperator,
        Self::Adopted,
        Self::SessionAdopted,
        Self::Stalled,
        Self::ServerDied,
        Self::Rebooted,
        Self::Away,
        Self::Failed,
        Self::NameConflict,
        Self::BriefAgain,
        Self::Stray,
        Self::StaleReport,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BreakerOpened => "breaker_opened",
            Self::ProbeSucceeded => "probe_succeeded",
            Self::FleetBreakerOpened => "fleet_breaker_opened",
            Self::RestartInRecovery => "restart_in_recovery",
            Self::RestartInLaunch => "restart_in_launch",
            Self::TmuxUnknown => "tmux_unknown",
            Self::NeedsOperator => "needs_operator",
            Self::Adopted => "agent_adopted",
            Self::SessionAdopted => "session_adopted",
            Self::Stalled => "agent_stalled",
            Self::ServerDied => "server_died",
            Self::Rebooted => "machine_rebooted",
            Self::Away => "orchestrator_away",
            Self::Failed => "project_failed",
            Self::NameConflict => "name_conflict",
            Self::BriefAgain => "brief_again",
            Self::Stray => "stray_found",
            Self::StaleReport => "stale_report",
        }
    }
}

/// A place: the fault, the state of the project that it met, and the phase.
pub type Place = (Kind, ProjectState, Phase);

/// What was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How often each place was reached by a fault that took effect.
    pub places: BTreeMap<Place, u64>,
    /// How often each rare moment came.
    pub moments: BTreeMap<Sometimes, u64>,
}

impl Coverage {
    /// Adds what another run reached.
    pub fn join(&mut self, other: &Self) {
        for (place, times) in &other.places {
            *self.places.entry(*place).or_insert(0) += times;
        }
        for (moment, times) in &other.moments {
            *self.moments.entry(*moment).or_insert(0) += times;
        }
    }

    /// Rare moments that never came.
    pub fn never(&self) -> impl Iterator<Item = Sometimes> {
        Sometimes::ALL.iter().copied().filter(|moment| !self.moments.contains_key(moment))
    }

    /// For each of these kinds, the states in which it never met a project.
    #[must_use]
    pub fn unmet(&self, kinds: &[Kind]) -> BTreeMap<Kind, Vec<ProjectState>> {
        let met: BTreeSet<(Kind, ProjectState)> = self.places.keys().map(|(kind, state, _)| (*kind, *state)).collect();
        let states = |kind: &Kind| {
            let all = ProjectState::ALL.iter().copied();
            all.filter(|state| !met.contains(&(*kind, *state))).collect()
        };
        kinds.iter().map(|kind| (*kind, states(kind))).collect()
    }
}

/// Follows one run.
#[derive(Debug, Default)]
pub struct Cover {
    /// What it has reached so far.
    pub reached: Coverage,
    states: BTreeMap<ProjectId, ProjectState>,
    probing: BTreeSet<ProjectId>,
    any: bool,
}

impl Cover {
    /// A fault took effect on a project.
    pub fn injected(&mut self, kind: Kind, project: Option<ProjectId>) {
        let state = project.and_then(|project| self.states.get(&project)).copied().unwrap_or(ProjectState::Queued);
        let busy = self.states.values().any(|state| *state == ProjectState::Recovering);
        let phase = match (std::mem::replace(&mut self.any, true), busy || state == ProjectState::Recovering) {
            (false, _) => Phase::First,
            (true, true) => Phase::Meanwhile,
            (true, false) => Phase::After,
        };
        *self.reached.places.entry((kind, state, phase)).or_insert(0) += 1;
    }

    fn mark(&mut self, moment: Sometimes) {
        *self.reached.moments.entry(moment).or_insert(0) += 1;
    }

    /// Follows an entry of the journal.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only what is rare is marked")]
    pub fn observe(&mut self, entry: &Entry) {
        let project = entry.signal.project_id;
        match &entry.signal.what {
            What::ProjectEnqueued { .. } => {
                self.states.extend(project.map(|project| (project, ProjectState::Queued)));
            }
            What::ProjectMoved { to, reason, .. } => {
                self.states.extend(project.map(|project| (project, *to)));
                if *reason == Some(SuspendReason::NeedsOperator) {
                    self.mark(Sometimes::NeedsOperator);
                }
                if *to == ProjectState::Failed {
                    self.mark(Sometimes::Failed);
                }
            }
            What::OrchestratorStarted { .. } => self.started(),
            What::BreakerMoved { to: BreakerState::Open, .. } => self.mark(Sometimes::BreakerOpened),
            What::FleetBreakerMoved { to: BreakerState::Open, .. } => self.mark(Sometimes::FleetBreakerOpened),
            What::RecoveryStarted { probe: true, .. } => self.probing.extend(project),
            What::RecoverySucceeded { .. } if project.is_some_and(|project| self.probing.remove(&project)) => {
                self.mark(Sometimes::ProbeSucceeded);
            }
            What::TmuxLost { .. } => self.mark(Sometimes::TmuxUnknown),
            What::AgentAdopted { .. } => self.mark(Sometimes::Adopted),
            What::SessionCreated { adopted: true } => self.mark(Sometimes::SessionAdopted),
            What::AgentStalled { .. } => self.mark(Sometimes::Stalled),
            What::ServerDied { .. } => self.mark(Sometimes::ServerDied),
            What::MachineRebooted { .. } => self.mark(Sometimes::Rebooted),
            What::OrchestratorAway { .. } => self.mark(Sometimes::Away),
            What::StrayFound { .. } => self.mark(Sometimes::Stray),
            What::BriefHanded { times } if *times > 1 => self.mark(Sometimes::BriefAgain),
            What::SpoolRejected { stale: true, .. } => self.mark(Sometimes::StaleReport),
            What::SubprocessFailed { failure }
                if failure.kind == orchestrator::domain::failure::FailureKind::NameConflict =>
            {
                self.mark(Sometimes::NameConflict);
            }
            _ => {}
        }
    }

    fn started(&mut self) {
        let in_state = |wanted: ProjectState| self.states.values().any(|state| *state == wanted);
        let (recovering, launching) = (in_state(ProjectState::Recovering), in_state(ProjectState::Launching));
        if recovering {
            self.mark(Sometimes::RestartInRecovery);
        }
        if launching {
            self.mark(Sometimes::RestartInLaunch);
        }
    }
}
