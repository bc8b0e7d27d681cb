//! What an agent's end means: the evidence that was collected, classified as exactly one cause.

use super::advance;
use super::draft::Draft;
use super::fault;
use super::observe::{self, Rest};
use crate::domain::event::{PaneEnd, Remains};
use crate::domain::failure::{Ending, Failure, FailureKind, Stderr};
use crate::domain::project::SessionIs;
use crate::domain::signal::What;
use crate::domain::state::{RoleEvent, RoleState};
use crate::domain::time::Span;

/// What is left of an agent: the evidence of a proved death, or the answer to a suspicion.
pub(super) fn collected(draft: &mut Draft<'_, '_>, index: usize, remains: &Remains) {
    let Some(role) = draft.p.roles.get(index) else { return };
    let state = role.state();
    let process = role.process;
    if state.is_live() && remains.alive {
        suspicion_answered(draft, index, remains);
        return;
    }
    if state.is_live() {
        // The sweep found what no event told: the process is gone.
        if let Some(process) = process {
            observe::record_death(draft, index, process, false);
        } else {
            draft.role_step(index, RoleEvent::Died);
        }
        fault::condemn(draft, index);
    } else if state != RoleState::Dead {
        if let Some(process) = process.filter(|_| state == RoleState::Done && !remains.alive) {
            observe::record_death(draft, index, process, true);
        }
        advance::advance(draft);
        return;
    }
    let live = draft.p.session.as_ref().is_some_and(|session| session.is == SessionIs::Live);
    if remains.server_changed && live {
        // The list that tells of the server's death, as one event for everybody, was refused with its turn and comes
        // again; what is owed until then is asked for after it.
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.unexplained = true;
        }
        return;
    }
    let failure = classified(draft, index, remains);
    explained(draft, index, &failure);
    if !remains.session_present {
        observe::session_gone(draft);
    }
    fault::fault_or_join(draft, Some(index), failure);
}

/// Tells the cause of a death; it is owed to nobody any more.
pub(super) fn explained(draft: &mut Draft<'_, '_>, index: usize, failure: &Failure) {
    if let Some(role) = draft.p.roles.get_mut(index) {
        role.unexplained = false;
    }
    draft.tell_role(index, What::DeathExplained { failure: Box::new(failure.clone()) });
}

/// The role goes on without it, and what was left of its last agent was never to be had: the death is owed its cause
/// all the same, as far as it is known.
pub(super) fn forgone(draft: &mut Draft<'_, '_>, index: usize) {
    if draft.p.roles.get(index).is_none_or(|role| !role.unexplained) {
        return;
    }
    let cause = draft.p.incident.as_ref().map(|incident| incident.cause);
    let (kind, why) = if cause == Some(FailureKind::ServerDied) {
        (FailureKind::ServerDied, "the tmux server that knew it is gone")
    } else if cause == Some(FailureKind::SessionDied) {
        (FailureKind::SessionDied, "the session that held it is gone")
    } else {
        (FailureKind::AgentLost, "what was left of it could not be looked at before its role went on")
    };
    // How long it lived was told with its death; now is later than that.
    let rest = Rest { stderr: Stderr::Null, screen: String::new(), lifetime: Span(0), hint: None };
    let failure = observe::explain(draft, index, kind, Ending::Lost(why.to_owned()), rest);
    explained(draft, index, &failure);
}

/// The process lives. If its pane does too, nothing is wrong; if not, it has outlived its session or pane, and must
/// be ended before another may take its place.
fn suspicion_answered(draft: &mut Draft<'_, '_>, index: usize, remains: &Remains) {
    if remains.pane != PaneEnd::Gone {
        advance::advance(draft);
        return;
    }
    let kind = if remains.session_present { FailureKind::AgentLost } else { FailureKind::SessionDied };
    let why = if remains.session_present {
        "its pane is gone and its process runs on outside tmux"
    } else {
        "tmux answered and no longer has the session; the agent's process had not ended yet"
    };
    let ending = Ending::Lost(why.to_owned());
    let failure = observe::explain(draft, index, kind, ending, rest(remains, None));
    draft.tell_role(index, What::DeathExplained { failure: Box::new(failure.clone()) });
    if !remains.session_present {
        observe::session_gone(draft);
    }
    fault::condemn(draft, index);
    fault::fault_or_join(draft, Some(index), failure);
}

fn rest(remains: &Remains, hint: Option<String>) -> Rest {
    Rest { stderr: remains.stderr.clone(), screen: remains.screen.clone(), lifetime: remains.lifetime, hint }
}

/// One cause out of what was found; the widest that the evidence proves comes first.
fn classified(draft: &Draft<'_, '_>, index: usize, remains: &Remains) -> Failure {
    let lost = |why: &str| Ending::Lost(why.to_owned());
    let (kind, ending, hint) = match remains.pane {
        _ if remains.server_changed => {
            (FailureKind::ServerDied, lost("the tmux server that knew it is gone"), Some("the tmux server died"))
        }
        _ if !remains.session_present => (
            FailureKind::SessionDied,
            lost("tmux answered and no longer has the session"),
            Some("somebody ended the session: tmux kill-session, or its last pane was closed"),
        ),
        PaneEnd::Dead { code: Some(code), .. } => (FailureKind::AgentExited, Ending::Code(code), exit_hint(code)),
        PaneEnd::Dead { signal: Some(signal), .. } => (FailureKind::AgentKilled, Ending::Signal(signal), None),
        PaneEnd::Dead { code: None, signal: None } => {
            (FailureKind::AgentLost, lost("tmux lost the exit status (SIGCHLD race)"), None)
        }
        PaneEnd::Gone => (FailureKind::AgentLost, lost("its pane is gone"), Some("somebody closed its pane")),
        PaneEnd::Alive => (FailureKind::AgentLost, lost("the process is gone and tmux has not noticed"), None),
    };
    observe::explain(draft, index, kind, ending, rest(remains, hint.map(ToOwned::to_owned)))
}

fn exit_hint(code: i32) -> Option<&'static str> {
    match code {
        0 => Some("it ended as if all were well, but never ran `orch agent done`"),
        126 => Some("its program is not executable"),
        127 => Some("its program was not found: check `command` in the spec and PATH of `orch serve`"),
        _ => None,
    }
}
