//! How much a person should care about a signal.

use super::breaker::BreakerState;
use super::signal::{Signal, What};
use super::state::ProjectState;
use serde::{Deserialize, Serialize};

/// How much a person should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The normal course of things.
    Info,
    /// Something was found wrong and is being dealt with.
    Warn,
    /// Something is wrong and stays so without a person.
    Error,
}

impl Signal {
    /// How much a person should care.
    #[must_use]
    pub fn level(&self) -> Level {
        match &self.what {
            What::AgentDied { expected: quiet, .. } | What::SpoolRejected { stale: quiet, .. } => {
                if *quiet {
                    Level::Info
                } else {
                    Level::Warn
                }
            }
            // Silence is odd only of one that reports, and only while nothing it waits for runs.
            What::AgentSilent { tool, hooks, .. } => {
                if *hooks && !*tool {
                    Level::Warn
                } else {
                    Level::Info
                }
            }
            What::FleetBreakerMoved { to, .. } => match to {
                BreakerState::Closed => Level::Info,
                BreakerState::Open | BreakerState::HalfOpen => Level::Error,
            },
            What::ProjectMoved { to, .. } => match to {
                ProjectState::Failed => Level::Error,
                ProjectState::Suspended | ProjectState::Recovering => Level::Warn,
                ProjectState::Queued
                | ProjectState::Provisioning
                | ProjectState::Launching
                | ProjectState::Briefing
                | ProjectState::Running
                | ProjectState::Completed
                | ProjectState::Cancelled => Level::Info,
            },
            What::RecoveryRefused { .. }
            | What::ProjectFailed { .. }
            | What::MoveRefused { .. }
            | What::SightLost { .. }
            | What::StoreRestored { .. }
            | What::Quarantined { .. } => Level::Error,
            What::MachineRebooted { .. }
            | What::StrayFound { .. }
            | What::LateCreation { .. }
            | What::SessionDied { .. }
            | What::DeathExplained { .. }
            | What::AgentStalled { .. }
            | What::ResourceMissing { .. }
            | What::SubprocessFailed { .. }
            | What::OperationFailed { .. }
            | What::RecoveryStarted { .. }
            | What::RecoveryDelayed { .. }
            | What::BreakerMoved { .. }
            | What::RequestRefused { .. }
            | What::TmuxLost { .. }
            | What::SocketRestored { .. }
            | What::ServerDied { .. } => Level::Warn,
            What::OrchestratorStarted { .. }
            | What::OrchestratorStopped { .. }
            | What::OrchestratorAway { .. }
            | What::ProjectEnqueued { .. }
            | What::RoleMoved { .. }
            | What::EffectIntended { .. }
            | What::SessionCreated { .. }
            | What::AgentStarted { .. }
            | What::AgentAdopted { .. }
            | What::ResourceRestored { .. }
            | What::BriefHanded { .. }
            | What::BriefAcknowledged
            | What::AgentReported { .. }
            | What::AgentNudged { .. }
            | What::RecoverySucceeded { .. }
            | What::ProjectCertified { .. }
            | What::SlotAwaited { .. }
            | What::OperatorAsked { .. }
            | What::TmuxAnswered { .. } => Level::Info,
        }
    }

    /// Whether it says that something is wrong: what must never come without a fault (D2).
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.level() > Level::Info
    }
}
