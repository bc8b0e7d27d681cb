//! What the world shows: deaths, panes, lost sight, touched files.

use super::advance;
use super::draft::{Cursor, Draft};
use super::fault;
use super::gap;
use super::late;
use super::sight;
use super::with;
use crate::domain::effect::Effect;
use crate::domain::event::PaneSeen;
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use crate::domain::fleet::Tmux;
use crate::domain::id::{ProcessId, ProjectId, RoleName, Token};
use crate::domain::project::{Project, Role, SessionIs};
use crate::domain::signal::{Signal, What};
use crate::domain::state::{ProjectState, RoleEvent, RoleState};
use crate::domain::time::Span;
use crate::validate::judge;
use std::collections::BTreeMap;

/// A watched process is gone. That is proof; what it means depends on what its role had reported.
pub(super) fn process_gone(draft: &mut Draft<'_, '_>, name: &RoleName, process: ProcessId) {
    let Some(index) = draft.p.role_index(name) else { return };
    if draft.p.roles.get(index).is_none_or(|role| role.process != Some(process)) {
        return;
    }
    died(draft, index, process);
}

/// Records the death of a role's current process and asks for its remains.
fn died(draft: &mut Draft<'_, '_>, index: usize, process: ProcessId) {
    let terminal = draft.p.state().is_terminal();
    let Some(role) = draft.p.roles.get(index) else { return };
    let condemned = role.token.as_ref().is_some_and(|token| draft.p.stale.contains(token));
    let expected = terminal || condemned || role.state() == RoleState::Done;
    record_death(draft, index, process, expected);
    if expected {
        advance::advance(draft);
        return;
    }
    fault::condemn(draft, index);
    if let Some(role) = draft.p.roles.get_mut(index) {
        role.unexplained = true;
    }
    collect(draft, index, Some(process));
}

/// Writes the death down: the proof comes first, what is left of the agent is gathered after.
pub(super) fn record_death(draft: &mut Draft<'_, '_>, index: usize, process: ProcessId, expected: bool) {
    let (at, source, lag) = (draft.at(), draft.source(), draft.lag());
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    let lifetime = role.started_at.map_or(Span(0), |started| at.since(started));
    role.process = None;
    role.ack_due = None;
    let live = role.state().is_live();
    draft.tell_role(index, What::AgentDied { process, expected, detected_by: source, lag, lifetime });
    if live {
        draft.role_step(index, RoleEvent::Died);
    }
}

/// Asks what is left of an agent.
pub(super) fn collect(draft: &mut Draft<'_, '_>, index: usize, process: Option<ProcessId>) {
    let Some(session) = draft.p.session.clone() else { return };
    let Some(role) = draft.p.roles.get(index) else { return };
    let effect = Effect::Collect {
        session: session.name,
        session_token: session.token,
        pane: role.pane.clone(),
        process,
        stderr: advance::stderr_file(&draft.p, role),
        server: session.server,
        started_at: role.started_at,
    };
    draft.order_collect(index, effect);
}

/// A complete list of panes: the truth, below all events.
pub(super) fn panes_listed(cursor: &mut Cursor<'_>, server: ProcessId, panes: &[PaneSeen]) {
    if *cursor.tmux() != Tmux::Alive(server) {
        let changed = cursor.fleet().last_server.is_some_and(|last| last != server);
        cursor.know(Tmux::Alive(server));
        cursor.tell(Signal::fleet(What::TmuxAnswered { server, changed }));
    }
    server_died(cursor, server);
    let by_role: ByToken<'_> =
        panes.iter().filter_map(|pane| pane.role_token.as_ref().map(|token| (token.0.as_str(), pane))).collect();
    let by_session: ByToken<'_> =
        panes.iter().filter_map(|pane| pane.session_token.as_ref().map(|token| (token.0.as_str(), pane))).collect();
    let ids: Vec<ProjectId> =
        cursor.fleet().projects().filter(|project| project.session.is_some()).map(|p| p.id).collect();
    for id in ids {
        with(cursor, id, |draft| {
            compare(draft, &by_role, &by_session);
            sight::regained(draft);
        });
    }
    late::creations(cursor, panes);
    gap::unknown_sessions(cursor, panes);
    // Projects that waited for tmux to answer go on now; the queue, which may be long, waits for slots only.
    let waits = |project: &&Project| project.session.is_none() && project.state() != ProjectState::Queued;
    let ids: Vec<ProjectId> = cursor.fleet().projects().filter(waits).map(|project| project.id).collect();
    for id in ids {
        with(cursor, id, |draft| {
            advance::advance(draft);
            sight::regained(draft);
        });
    }
}

/// Another server answers than the one our sessions were confirmed on, and the environment lets that happen only
/// after the old one's process is gone: mass death is one event, and one recovery for each project that no breaker
/// is charged for.
fn server_died(cursor: &mut Cursor<'_>, server: ProcessId) {
    let on_another = |project: &Project| {
        let session = project.session.as_ref().filter(|session| session.is == SessionIs::Live)?;
        session.server.filter(|old| *old != server)
    };
    let hit: Vec<(ProjectId, ProcessId)> =
        cursor.fleet().projects().filter_map(|project| Some((project.id, on_another(project)?))).collect();
    let Some((_, old)) = hit.first().copied() else { return };
    let sessions = u32::try_from(hit.len()).unwrap_or(u32::MAX);
    cursor.tell(Signal::fleet(What::ServerDied { server: old, sessions }));
    for (id, _) in hit {
        with(cursor, id, |draft| {
            let ending = Ending::Lost("the tmux server that held its session is gone".to_owned());
            let what = vec!["tmux".to_owned()];
            let mut failure = Failure::of_operation(draft.p.stage(), FailureKind::ServerDied, what, "");
            (failure.ending, failure.program) = (ending, Program::Tmux);
            if let Some(session) = &mut draft.p.session {
                session.is = SessionIs::Gone;
                let token = session.token.clone();
                if !draft.p.stale.contains(&token) {
                    draft.p.stale.push(token);
                }
            }
            for index in 0..draft.p.roles.len() {
                if draft.p.roles.get(index).is_some_and(|role| role.state().is_live()) {
                    fault::condemn(draft, index);
                }
            }
            fault::fault_or_join(draft, None, failure);
        });
    }
}

/// Panes of one list, by the token of a role or of a session.
type ByToken<'a> = BTreeMap<&'a str, &'a PaneSeen>;

/// Holds one project against the list. Who still has work is never judged from the list alone: what contradicts it is
/// looked into. Only a session in which nobody is left is taken for ended as it is shown.
fn compare(draft: &mut Draft<'_, '_>, by_role: &ByToken<'_>, by_session: &ByToken<'_>) {
    for index in 0..draft.p.roles.len() {
        compare_role(draft, index, by_role);
    }
    if is_session_missing(draft, by_session) && !is_anybody_left(draft) {
        session_gone(draft);
        let awaited = |role: &Role| role.state() == RoleState::Starting && role.process.is_none();
        if draft.p.state() == ProjectState::Launching && draft.p.roles.iter().any(awaited) {
            gone_before_anybody(draft);
        }
    }
    advance::advance(draft);
}

fn compare_role(draft: &mut Draft<'_, '_>, index: usize, by_role: &ByToken<'_>) {
    let Some(role) = draft.p.roles.get(index) else { return };
    if role.state() == RoleState::Dead && role.unexplained && role.collecting.is_none() {
        // Who asked for its remains is gone, or the turn that asked could not be committed.
        collect(draft, index, None);
        return;
    }
    let (Some(process), Some(token)) = (role.process, role.token.as_ref()) else { return };
    let done = role.state() == RoleState::Done;
    match shown(by_role, token, process) {
        Shown::Alive if done || role.state().is_live() => adopt(draft, index, process),
        // Not even a dead pane is proof: tmux shows one so when its terminal is closed, whoever runs on. Of one that is
        // done as well: the event of its end may have been lost with a turn that could not be committed.
        Shown::Dead | Shown::Nowhere if (done || role.state().is_live()) && role.collecting.is_none() => {
            collect(draft, index, Some(process));
        }
        Shown::Alive | Shown::Dead | Shown::Nowhere => {}
    }
}

/// How a list shows an agent.
enum Shown {
    /// In its pane.
    Alive,
    /// Its pane is kept, and it has ended.
    Dead,
    /// Its pane is not there, or another process is in it.
    Nowhere,
}

fn shown(by_role: &ByToken<'_>, token: &Token, process: ProcessId) -> Shown {
    match by_role.get(token.0.as_str()).filter(|pane| pane.pid == process.pid) {
        Some(pane) if pane.dead => Shown::Dead,
        Some(_) => Shown::Alive,
        None => Shown::Nowhere,
    }
}

/// Takes over an agent that was started before this orchestrator; who is being ended is taken over by nobody.
fn adopt(draft: &mut Draft<'_, '_>, index: usize, process: ProcessId) {
    let token = draft.p.roles.get(index).and_then(|role| role.token.as_ref());
    let condemned = draft.p.state().is_terminal() || token.is_some_and(|token| draft.p.stale.contains(token));
    if !condemned && draft.fleet().inherited.contains(&process) {
        draft.tell_role(index, What::AgentAdopted { process });
    }
}

fn is_session_missing(draft: &Draft<'_, '_>, by_session: &ByToken<'_>) -> bool {
    let live = draft.p.session.as_ref().filter(|session| session.is == SessionIs::Live);
    live.is_some_and(|session| !by_session.contains_key(session.token.0.as_str()))
}

/// With agents in it the collected remains decide about a session; without any, nothing else would ever notice.
fn is_anybody_left(draft: &Draft<'_, '_>) -> bool {
    draft.p.roles.iter().any(|role| role.process.is_some() || role.is_acted_on())
}

/// The session went before an agent that was asked for in it was seen, so nobody's death will tell of it. That agent is to
/// be asked for anew, not once more under the token that went with the session.
fn gone_before_anybody(draft: &mut Draft<'_, '_>) {
    let name = draft.p.session.as_ref().map(|session| session.name.clone()).unwrap_or_default();
    let what = vec!["session".to_owned(), name];
    let mut failure = Failure::of_operation(draft.p.stage(), FailureKind::SessionDied, what, "");
    let why = "tmux answered and no longer has the session, and an agent that was asked for in it was never seen";
    (failure.ending, failure.program) = (Ending::Lost(why.to_owned()), Program::Tmux);
    fault::fault(draft, None, failure);
}

/// The session is proved gone: its token is stale, and so is every incarnation in it.
pub(super) fn session_gone(draft: &mut Draft<'_, '_>) {
    let (source, lag) = (draft.source(), draft.lag());
    let expected = draft.p.state().is_terminal();
    let Some(session) = &mut draft.p.session else { return };
    if session.is != SessionIs::Live {
        return;
    }
    session.is = SessionIs::Gone;
    let token = session.token.clone();
    if expected {
        return;
    }
    if !draft.p.stale.contains(&token) {
        draft.p.stale.push(token);
    }
    draft.tell(What::SessionDied { detected_by: source, lag });
    for index in 0..draft.p.roles.len() {
        if draft.p.roles.get(index).is_some_and(|role| role.state().is_live()) {
            fault::condemn(draft, index);
        }
    }
}

/// The connection to tmux is gone: nothing is concluded from that.
pub(super) fn tmux_lost(cursor: &mut Cursor<'_>, reason: &str) {
    if *cursor.tmux() != Tmux::Unknown {
        cursor.know(Tmux::Unknown);
        cursor.tell(Signal::fleet(What::TmuxLost { reason: reason.to_owned() }));
    }
}

/// Something moved near a watched resource: look, and if a look is under way, look once more after it.
pub(super) fn files_touched(draft: &mut Draft<'_, '_>, name: &RoleName) {
    let Some(index) = draft.p.role_index(name) else { return };
    let watched = is_stood_on(&draft.p) && !sight::pauses(draft);
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    if role.claude_md.is_none() {
        return;
    }
    // What was touched before anyone stands on it is looked at as soon as somebody does, and what is touched while no look
    // comes to anything as soon as the next is tried: the survey tells it once.
    if !watched || role.looking.is_some() {
        role.look_again = true;
        return;
    }
    if let Some(look) = advance::look(&draft.p, index) {
        draft.order_look(Some(index), Effect::Look { roles: vec![look] });
    }
}

/// Whether agents stand on the project's worktrees, so that what is missing there is missed.
fn is_stood_on(project: &Project) -> bool {
    matches!(project.state(), ProjectState::Briefing | ProjectState::Running | ProjectState::Launching)
}

/// Looks at what is to be looked at again: where a look has failed, where something moved while nobody stood there or
/// while a look was under way, and everywhere after a turn that was refused. Where nobody stands it stays to be done.
pub(super) fn look_again(draft: &mut Draft<'_, '_>) {
    if !is_stood_on(&draft.p) || sight::pauses(draft) {
        return;
    }
    for index in 0..draft.p.roles.len() {
        let due = draft.p.roles.get(index).filter(|role| role.look_again && role.looking.is_none());
        if let Some(name) = due.map(|role| role.name.clone()) {
            if let Some(role) = draft.p.roles.get_mut(index) {
                role.look_again = false;
            }
            files_touched(draft, &name);
        }
    }
}

/// Tells of a resource that is not as it must be.
pub(super) fn tell_missing(draft: &mut Draft<'_, '_>, index: usize, failure: &Failure) {
    let path = failure.argv.last().cloned().unwrap_or_default();
    let resource = match failure.kind {
        FailureKind::WorktreeInvalid => "worktree",
        FailureKind::ResourceMissing | FailureKind::ResourceChanged if path == judge::CLAUDE_MD_PATH => "claude_md",
        FailureKind::ResourceMissing
        | FailureKind::ResourceChanged
        | FailureKind::SessionDied
        | FailureKind::ServerDied
        | FailureKind::AgentKilled
        | FailureKind::AgentExited
        | FailureKind::AgentLost
        | FailureKind::AgentReported
        | FailureKind::AgentStalled
        | FailureKind::NameConflict
        | FailureKind::SubprocessFailed
        | FailureKind::SpawnFailed
        | FailureKind::Exhausted
        | FailureKind::TimedOut
        | FailureKind::BriefUnacknowledged
        | FailureKind::Io
        | FailureKind::Invalid => "other",
    };
    let (detected_by, lag) = (draft.source(), draft.lag());
    draft.tell_role(
        index,
        What::ResourceMissing {
            resource: resource.to_owned(),
            path,
            detected_by,
            lag,
            failure: Box::new(failure.clone()),
        },
    );
}

/// The evidence of a role's death, from what was collected.
pub(super) fn explain(draft: &Draft<'_, '_>, index: usize, kind: FailureKind, ending: Ending, rest: Rest) -> Failure {
    let spec = draft.p.role_spec(index);
    Failure {
        stage: draft.p.stage(),
        kind,
        program: Program::Agent,
        argv: spec.map(|spec| spec.command.clone()).unwrap_or_default(),
        cwd: draft.p.roles.get(index).and_then(|role| role.worktree.as_ref()).map(|worktree| worktree.path.clone()),
        ending,
        stderr: rest.stderr,
        stdout_tail: rest.screen,
        duration: rest.lifetime,
        hint: rest.hint,
    }
}

/// The parts of a death's evidence that do not depend on its classification.
pub(super) struct Rest {
    pub(super) stderr: Stderr,
    pub(super) screen: String,
    pub(super) lifetime: Span,
    pub(super) hint: Option<String>,
}
