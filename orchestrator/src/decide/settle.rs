//! What effects found or did, and what it means when one failed.

use super::advance;
use super::death;
use super::draft::{Cursor, Draft};
use super::fault;
use super::late;
use super::observe::{self, Rest};
use super::sight;
use super::silence;
use super::with;
use crate::domain::event::{Fact, Head, PaneUp, RoleFound};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use crate::domain::id::{EffectId, ProcessId, ProjectId, Token};
use crate::domain::project::{Pin, SessionIs};
use crate::domain::signal::What;
use crate::domain::state::{ProjectEvent, ProjectState, RoleEvent, RoleState};
use crate::domain::time::Span;
use crate::validate::judge;

/// Looks that may find and repair something within one attempt before that counts as a failure of its own.
const REPAIRS_MAX: u32 = 2;

/// Which slot the effect occupied.
enum Slot {
    Project,
    ProjectLook,
    Role(usize),
    Remains(usize),
    RoleLook(usize),
    Sample(usize),
}

impl Slot {
    /// Whether it is a look at files; a sample takes neither them nor what work takes.
    fn is_look(&self) -> Option<bool> {
        match self {
            Self::ProjectLook | Self::RoleLook(_) => Some(true),
            Self::Project | Self::Role(_) | Self::Remains(_) => Some(false),
            Self::Sample(_) => None,
        }
    }
}

/// An effect has settled. One that nobody waits for any more changes nothing here; its outbox row is closed by the
/// store all the same.
pub(super) fn settled(
    cursor: &mut Cursor<'_>,
    effect: EffectId,
    project: Option<ProjectId>,
    result: &Result<Fact, Box<Failure>>,
) {
    let Some(id) = project else { return };
    late::settled(cursor, effect, id, result);
    with(cursor, id, |draft| {
        let Some(slot) = release(draft, effect) else { return };
        match result {
            Ok(fact) => {
                let look = slot.is_look();
                draft.p.starved.take_if(|starved| look == Some(starved.look));
                found(draft, &slot, fact);
            }
            Err(failure) => failed(draft, &slot, failure),
        }
        fault::attempt_if_due(draft);
        sight::regained(draft);
    });
}

/// Frees the slot that the effect occupied.
fn release(draft: &mut Draft<'_, '_>, effect: EffectId) -> Option<Slot> {
    let p = &mut draft.p;
    if p.busy == Some(effect) {
        p.busy = None;
        return Some(Slot::Project);
    }
    if p.looking == Some(effect) {
        p.looking = None;
        return Some(Slot::ProjectLook);
    }
    for (index, role) in p.roles.iter_mut().enumerate() {
        if role.busy == Some(effect) {
            role.busy = None;
            return Some(Slot::Role(index));
        }
        if role.collecting == Some(effect) {
            role.collecting = None;
            return Some(Slot::Remains(index));
        }
        if role.looking == Some(effect) {
            role.looking = None;
            return Some(Slot::RoleLook(index));
        }
        if role.vigil.sampling == Some(effect) {
            role.vigil.sampling = None;
            return Some(Slot::Sample(index));
        }
    }
    None
}

fn found(draft: &mut Draft<'_, '_>, slot: &Slot, fact: &Fact) {
    match (fact, slot) {
        (Fact::Preflighted, _) => draft.p.preflighted = true,
        (Fact::WorktreeReady { parked, .. }, Slot::Role(index)) => worktree_ready(draft, *index, parked),
        (Fact::FilesReady { claude_md, parked, left }, Slot::Role(index)) => {
            advance::tell_left_alone(draft, *index, left);
            files_ready(draft, *index, claude_md, parked);
            return;
        }
        (Fact::Looked { roles }, _) => {
            looked(draft, slot, roles);
            return;
        }
        (Fact::RemainsEnded { tokens, .. }, _) => remains_ended(draft, tokens),
        (Fact::SessionUp { adopted, panes, server }, _) => session_up(draft, *adopted, panes, *server),
        (Fact::AgentUp(pane), _) => agent_up(draft, pane, false),
        (Fact::Collected(remains), Slot::Remains(index)) => {
            death::collected(draft, *index, remains);
            return;
        }
        (Fact::Certified { roles, heads }, _) => {
            certified(draft, roles, heads);
            return;
        }
        (Fact::SessionEnded, _) => session_ended(draft),
        (Fact::BriefHanded, Slot::Role(index)) => {
            let times = draft.p.roles.get(*index).map_or(0, |role| role.briefs_sent);
            draft.tell_role(*index, What::BriefHanded { times });
        }
        (Fact::Sampled(sample), Slot::Sample(index)) => {
            silence::sampled(draft, *index, *sample);
            return;
        }
        (
            Fact::BriefHanded
            | Fact::Nudged
            | Fact::Sampled(_)
            | Fact::WorktreeReady { .. }
            | Fact::FilesReady { .. }
            | Fact::Collected(_),
            _,
        ) => {}
    }
    advance::advance(draft);
}

fn worktree_ready(draft: &mut Draft<'_, '_>, index: usize, parked: &[String]) {
    let worktree = draft.p.roles.get_mut(index).and_then(|role| role.worktree.as_mut());
    let Some(worktree) = worktree else { return };
    worktree.ready = true;
    let path = worktree.path.clone();
    if !parked.is_empty() {
        draft.tell_role(index, What::ResourceRestored { path, parked: parked.to_vec() });
    }
}

fn files_ready(draft: &mut Draft<'_, '_>, index: usize, claude_md: &Pin, parked: &[String]) {
    let Some(spec) = draft.p.role_spec(index) else { return };
    let due = judge::claude_md_pin(spec);
    if *claude_md != due {
        let failure = Failure::of_operation(
            draft.p.stage(),
            FailureKind::ResourceChanged,
            vec!["write".to_owned(), judge::CLAUDE_MD_PATH.to_owned()],
            "what was written reads back differently",
        );
        draft.tell_role(index, What::SubprocessFailed { failure: Box::new(failure.clone()) });
        fault::fault(draft, Some(index), failure);
        return;
    }
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    let restored = role.process.is_some() || !parked.is_empty();
    role.claude_md = Some(due);
    if restored {
        let path = judge::CLAUDE_MD_PATH.to_owned();
        draft.tell_role(index, What::ResourceRestored { path, parked: parked.to_vec() });
    }
    advance::advance(draft);
}

/// Holds what was found against the rules; marks what must be made anew.
fn judged(draft: &mut Draft<'_, '_>, roles: &[RoleFound]) -> Vec<(usize, Failure)> {
    let mut bad = Vec::new();
    for found in roles {
        let Some(index) = draft.p.role_index(&found.role) else { continue };
        let Some(spec) = draft.p.role_spec(index).cloned() else { continue };
        let pin = judge::claude_md_pin(&spec);
        let stage = draft.p.stage();
        for failure in judge::judge_role(stage, &draft.p.spec, &spec, Some(&pin), found) {
            observe::tell_missing(draft, index, &failure);
            mark(draft, index, &failure);
            bad.push((index, failure));
        }
    }
    bad
}

/// What must be made anew because of this failure. A worktree that is gone takes its agent's ground away, so that
/// incarnation has to end before the next may start.
fn mark(draft: &mut Draft<'_, '_>, index: usize, failure: &Failure) {
    let worktree_gone = failure.kind == FailureKind::WorktreeInvalid;
    let claude_md_gone = failure.argv.last().is_some_and(|path| path == judge::CLAUDE_MD_PATH);
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    if worktree_gone && let Some(worktree) = &mut role.worktree {
        worktree.ready = false;
    }
    if worktree_gone || claude_md_gone {
        role.claude_md = None;
    }
    if worktree_gone && role.state().is_live() {
        fault::condemn(draft, index);
    }
}

fn looked(draft: &mut Draft<'_, '_>, slot: &Slot, roles: &[RoleFound]) {
    let again = match slot {
        Slot::RoleLook(index) => draft
            .p
            .roles
            .get_mut(*index)
            .is_some_and(|role| std::mem::take(&mut role.look_again))
            .then(|| draft.p.roles.get(*index).map(|role| role.name.clone()))
            .flatten(),
        Slot::Project | Slot::ProjectLook | Slot::Role(_) | Slot::Remains(_) | Slot::Sample(_) => None,
    };
    let bad = judged(draft, roles);
    match bad.into_iter().next() {
        None => {
            if matches!(slot, Slot::ProjectLook) {
                draft.p.verified = true;
                draft.p.repairs = 0;
            }
            advance::advance(draft);
        }
        Some((_, failure)) if draft.p.state() == ProjectState::Provisioning && draft.p.repairs < REPAIRS_MAX => {
            draft.p.repairs += 1;
            draft.p.last_failure = Some(Box::new(failure));
            draft.p.verified = false;
            advance::advance(draft);
        }
        Some((index, failure)) => fault::fault(draft, Some(index), failure),
    }
    if let Some(name) = again {
        observe::files_touched(draft, &name);
    }
}

/// Proof that nothing of older incarnations is left.
fn remains_ended(draft: &mut Draft<'_, '_>, tokens: &[Token]) {
    let (at, source, lag) = (draft.at(), draft.source(), draft.lag());
    for index in 0..draft.p.roles.len() {
        let Some(role) = draft.p.roles.get_mut(index) else { continue };
        if !role.token.as_ref().is_some_and(|token| tokens.contains(token)) || !role.state().is_live() {
            continue;
        }
        let lifetime = role.started_at.map_or(Span(0), |started| at.since(started));
        let process = role.process.take();
        role.ack_due = None;
        if let Some(process) = process {
            draft.tell_role(index, What::AgentDied { process, expected: true, detected_by: source, lag, lifetime });
        }
        draft.role_step(index, RoleEvent::Died);
    }
    if let Some(session) = &mut draft.p.session
        && tokens.contains(&session.token)
    {
        session.is = SessionIs::Gone;
    }
    draft.p.stale.retain(|token| !tokens.contains(token));
}

fn session_up(draft: &mut Draft<'_, '_>, adopted: bool, panes: &[PaneUp], server: ProcessId) {
    if let Some(session) = &mut draft.p.session {
        session.is = SessionIs::Live;
        session.server = Some(server);
    }
    draft.tell(What::SessionCreated { adopted });
    for pane in panes {
        agent_up(draft, pane, adopted);
    }
}

fn agent_up(draft: &mut Draft<'_, '_>, up: &PaneUp, adopted: bool) {
    let Some(index) = draft.p.role_index(&up.role) else { return };
    let at = draft.at();
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    if role.state() != RoleState::Starting || role.process.is_some() {
        return;
    }
    role.pane = Some(up.pane.clone());
    role.process = up.process;
    role.started_at = Some(at);
    match up.process {
        Some(process) if adopted => draft.tell_role(index, What::AgentAdopted { process }),
        Some(process) => draft.tell_role(index, What::AgentStarted { process }),
        // It had ended before it could be seen: its pane keeps the evidence (T13).
        None => {
            draft.role_step(index, RoleEvent::Died);
            fault::condemn(draft, index);
            observe::collect(draft, index, None);
        }
    }
}

/// The last look: only work whose resources verify may be called completed (G6).
fn certified(draft: &mut Draft<'_, '_>, roles: &[RoleFound], heads: &[Head]) {
    if draft.p.state() != ProjectState::Running {
        // It was suspended, cancelled or given up meanwhile; who goes on later is looked at again.
        advance::advance(draft);
        return;
    }
    let bad = judged(draft, roles);
    if let Some((index, failure)) = bad.into_iter().next() {
        fault::fault(draft, Some(index), failure);
        return;
    }
    draft.tell(What::ProjectCertified { heads: heads.to_vec() });
    draft.p.incident = None;
    draft.p.finalizer = true;
    if draft.step(ProjectEvent::Certified, None) {
        advance::advance(draft);
    }
}

fn session_ended(draft: &mut Draft<'_, '_>) {
    draft.p.finalizer = false;
    draft.p.stale.clear();
    if let Some(session) = &mut draft.p.session {
        session.is = SessionIs::Gone;
    }
    for index in 0..draft.p.roles.len() {
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.process = None;
            role.ack_due = None;
        }
        if draft.p.roles.get(index).is_some_and(|role| role.state() != RoleState::Absent) {
            death::forgone(draft, index);
            draft.role_step(index, RoleEvent::Retired);
        }
    }
}

/// An effect failed, or its outcome is unknown.
fn failed(draft: &mut Draft<'_, '_>, slot: &Slot, failure: &Failure) {
    // A sample that could not be had says nothing of the agent, not even that it is silent; the next sweep asks again.
    if matches!(slot, Slot::Sample(_)) {
        return;
    }
    let by_program = matches!(failure.program, Program::Git | Program::Tmux);
    let index = match slot {
        Slot::Role(index) | Slot::Remains(index) | Slot::RoleLook(index) | Slot::Sample(index) => Some(*index),
        Slot::Project | Slot::ProjectLook => None,
    };
    let evidence = Box::new(failure.clone());
    let what = if by_program {
        What::SubprocessFailed { failure: evidence }
    } else {
        What::OperationFailed { failure: evidence }
    };
    match index {
        Some(index) => draft.tell_role(index, what),
        None => draft.tell(what),
    }
    if let Slot::RoleLook(index) = slot
        && let Some(role) = draft.p.roles.get_mut(*index)
    {
        role.look_again = true;
    }
    match slot {
        _ if failure.kind == FailureKind::Exhausted => sight::starved(draft, failure, slot.is_look() == Some(true)),
        // A look that failed has found nothing; the next sweep looks again.
        Slot::RoleLook(_) | Slot::ProjectLook if failure.kind == FailureKind::TimedOut => {
            sight::starved(draft, failure, true);
        }
        Slot::RoleLook(_) | Slot::ProjectLook | Slot::Sample(_) => {}
        Slot::Remains(index) => remains_failed(draft, *index, failure),
        Slot::Role(index) => role_effect_failed(draft, *index, failure),
        Slot::Project => project_effect_failed(draft, failure),
    }
}

/// What is left of an agent could not be had.
fn remains_failed(draft: &mut Draft<'_, '_>, index: usize, failure: &Failure) {
    // A suspicion that could not be answered is raised again by the next sweep.
    let Some(role) = draft.p.roles.get(index).filter(|role| role.state() == RoleState::Dead) else { return };
    let unknown = sight::outcome_unknown(draft, failure);
    // The connection was lost with the question under way: what a death was is asked again with the next list. It may
    // well be the server's (a killed server takes its agents along, and their end is noticed first).
    let unanswered = failure.program == Program::Tmux && matches!(failure.ending, Ending::Lost(_));
    if role.unexplained && (unknown || unanswered) {
        // An attempt that is already making things ready waited for nothing but this.
        if draft.p.state() == ProjectState::Provisioning {
            advance::advance(draft);
        }
        return;
    }
    // Its death stands on its own proof, and is one failure with this, whatever the project was doing meanwhile.
    let ending = Ending::Lost(failure.to_string());
    let rest = Rest { stderr: Stderr::Null, screen: String::new(), lifetime: Span(0), hint: None };
    let lost = observe::explain(draft, index, FailureKind::AgentLost, ending, rest);
    death::explained(draft, index, &lost);
    fault::fault_or_join(draft, Some(index), lost);
}

fn role_effect_failed(draft: &mut Draft<'_, '_>, index: usize, failure: &Failure) {
    let Some(role) = draft.p.roles.get(index) else { return };
    if role.state() != RoleState::Dead && sight::outcome_unknown(draft, failure) {
        if role.state() == RoleState::Starting && role.process.is_some() {
            advance::brief_afresh(draft, index);
        }
        return;
    }
    match role.state() {
        // A respawn whose outcome is unknown keeps its token: the next attempt asks for the same incarnation again
        // and finds by that token what came of it (T8).
        RoleState::Starting if role.process.is_none() => fault::fault(draft, Some(index), failure.clone()),
        // A brief that could not be handed over is handed over again when its acknowledgement is overdue; what was under
        // way for somebody who died meanwhile is of no account beside the death.
        RoleState::Starting
        | RoleState::Dead
        | RoleState::Ready
        | RoleState::Working
        | RoleState::Idle
        | RoleState::NeedsInput
        | RoleState::Stalled
        | RoleState::Unknown
            if draft.p.state() != ProjectState::Provisioning => {}
        RoleState::Absent
        | RoleState::Starting
        | RoleState::Ready
        | RoleState::Working
        | RoleState::Idle
        | RoleState::NeedsInput
        | RoleState::Stalled
        | RoleState::Done
        | RoleState::Dead
        | RoleState::Unknown => fault::fault(draft, Some(index), failure.clone()),
    }
}

fn project_effect_failed(draft: &mut Draft<'_, '_>, failure: &Failure) {
    if draft.p.state().is_terminal() {
        // What could not be taken down stays marked; the next sweep tries again.
        return;
    }
    if sight::outcome_unknown(draft, failure) {
        return;
    }
    if failure.kind == FailureKind::Invalid {
        draft.p.last_failure = Some(Box::new(failure.clone()));
        fault::give_up(draft, FailureKind::Invalid);
        return;
    }
    if failure.kind == FailureKind::NameConflict {
        // That name will never be ours: the next attempt takes a new epoch, and so a new one. Any other failed
        // launch has an unknown outcome and keeps its names and tokens; the next attempt adopts what came of it.
        let intended = draft.p.session.as_ref().filter(|session| session.is == SessionIs::Intended);
        if let Some(token) = intended.map(|session| session.token.clone()) {
            draft.p.stale.push(token);
        }
        for index in 0..draft.p.roles.len() {
            let asked = draft
                .p
                .roles
                .get(index)
                .is_some_and(|role| role.state() == RoleState::Starting && role.process.is_none());
            if asked {
                fault::condemn(draft, index);
            }
        }
    }
    fault::fault(draft, None, failure.clone());
}
