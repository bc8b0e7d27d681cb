//! In plain English: what concerns everybody.

use super::text::{counted, escape, humane, outside};
use crate::domain::signal::What;

/// What concerns everybody.
#[expect(clippy::wildcard_enum_match_arm, reason = "the exhaustive match of `text::message` routes only these here")]
pub(super) fn told(what: &What) -> String {
    match what {
        What::OrchestratorStarted { process, version, unfinished, unconfirmed } => format!(
            "orchestrator {} started (pid {}): {}, {} left by its predecessor to be settled by observation",
            escape(version),
            process.pid,
            counted(*unfinished, "unfinished project"),
            counted(*unconfirmed, "unconfirmed intent"),
        ),
        What::OrchestratorStopped { reason } => {
            format!("orchestrator stopped: {}; agents go on without it", outside(reason))
        }
        What::OrchestratorAway { away } => {
            format!("the orchestrator did not look for {}; that time is held against nobody", humane(*away))
        }
        What::MachineRebooted { agents } => {
            format!("the machine was rebooted, and {} of ours ended with it", counted(*agents, "agent"))
        }
        What::StoreRestored { had, has } => format!(
            "the database is older than it was (its journal ends at {has}, there was a {had}): a backup was put in its \
             place; every unfinished project rests until an operator resumes it"
        ),
        What::Quarantined { known, found, trace } => format!(
            "{} is of epoch {found}, the database knows {known}: nothing of it is touched until an operator resumes or \
             cancels the project",
            outside(trace)
        ),
        What::StrayFound { trace } => {
            format!("{} belongs to nothing that the database knows, and is left alone", outside(trace))
        }
        What::LateCreation { trace, cause } => {
            format!("{} was created late by tmux and is ended: {}", outside(trace), outside(cause))
        }
        What::TmuxLost { reason } => {
            format!("tmux cannot be asked ({}); nothing is concluded about any session", outside(reason))
        }
        What::ServerDied { server, sessions } => {
            format!("the tmux server (pid {}) died, and {} of ours with it", server.pid, counted(*sessions, "session"))
        }
        What::FleetBreakerMoved { from, to, breakers, max } => format!(
            "fleet breaker {from} -> {to} ({} opened in its window, {max} may)",
            counted(*breakers, "project breaker"),
        ),
        What::SocketRestored { server } => {
            format!("the socket of the tmux server (pid {}) was gone, and is back; its sessions live", server.pid)
        }
        What::TmuxAnswered { server, changed: false } => format!("tmux answers (server pid {})", server.pid),
        What::TmuxAnswered { server, changed: true } => {
            format!("tmux answers, and it is another server than before (pid {}): its sessions are new", server.pid)
        }
        What::SpoolRejected { name, reason, stale: false } => {
            format!("report {} was unusable and moved aside: {}", outside(name), outside(reason))
        }
        What::SpoolRejected { name, reason, stale: true } => {
            format!("report {} came too late and was set aside: {}", outside(name), outside(reason))
        }
        What::MoveRefused { refused } => {
            format!("refused an illegal move, nothing was changed: {}; this is a defect of orch", outside(refused))
        }
        _ => String::new(),
    }
}
