//! The one spelling of every event's name.

use crate::domain::signal::What;

/// The event's name, as the journal, the log and the filters spell it.
#[must_use]
pub fn name(what: &What) -> &'static str {
    match what {
        What::OrchestratorStarted { .. } => "orchestrator_started",
        What::OrchestratorStopped { .. } => "orchestrator_stopped",
        What::OrchestratorAway { .. } => "orchestrator_away",
        What::MachineRebooted { .. } => "machine_rebooted",
        What::StoreRestored { .. } => "store_restored",
        What::Quarantined { .. } => "quarantined",
        What::StrayFound { .. } => "stray_found",
        What::ProjectEnqueued { .. } => "project_enqueued",
        What::ProjectMoved { .. } => "project_moved",
        What::RoleMoved { .. } => "role_moved",
        What::EffectIntended { .. } => "effect_intended",
        What::SessionCreated { .. } => "session_created",
        What::SessionDied { .. } => "session_died",
        What::AgentStarted { .. } => "agent_started",
        What::AgentAdopted { .. } => "agent_adopted",
        What::AgentDied { .. } => "agent_died",
        What::DeathExplained { .. } => "death_explained",
        What::ResourceMissing { .. } => "resource_missing",
        What::ResourceRestored { .. } => "resource_restored",
        What::SubprocessFailed { .. } => "subprocess_failed",
        What::OperationFailed { .. } => "operation_failed",
        What::BriefHanded { .. } => "brief_handed",
        What::BriefAcknowledged => "brief_acknowledged",
        What::AgentReported { .. } => "agent_reported",
        What::AgentSilent { .. } => "agent_silent",
        What::AgentNudged { .. } => "agent_nudged",
        What::AgentStalled { .. } => "agent_stalled",
        What::RecoveryStarted { .. } => "recovery_started",
        What::RecoveryDelayed { .. } => "recovery_delayed",
        What::RecoverySucceeded { .. } => "recovery_succeeded",
        What::RecoveryRefused { .. } => "recovery_refused",
        What::BreakerMoved { .. } => "breaker_moved",
        What::FleetBreakerMoved { .. } => "fleet_breaker_moved",
        What::SlotAwaited { .. } => "slot_awaited",
        What::SightLost { .. } => "sight_lost",
        What::ProjectCertified { .. } => "project_certified",
        What::TmuxLost { .. } => "tmux_lost",
        What::ServerDied { .. } => "server_died",
        What::TmuxAnswered { .. } => "tmux_answered",
        What::ProjectFailed { .. } => "project_failed",
        What::SpoolRejected { .. } => "spool_rejected",
        What::OperatorAsked { .. } => "operator_asked",
        What::RequestRefused { .. } => "request_refused",
        What::MoveRefused { .. } => "move_refused",
    }
}
