//! What an operator asks for. It is judged by the project as it stands now, not as it stood when it was asked.

use super::advance;
use super::credit;
use super::death;
use super::draft::Draft;
use super::fault;
use super::slot;
use crate::domain::breaker::{Breaker, BreakerState};
use crate::domain::limits;
use crate::domain::project::SessionIs;
use crate::domain::request::{Request, RequestKind};
use crate::domain::signal::What;
use crate::domain::state::{ProjectEvent, ProjectState, RoleEvent, RoleState, SuspendReason};

/// Does what was asked, or says why not.
pub(super) fn requested(draft: &mut Draft<'_, '_>, asked: Request) {
    let Request { id: request, kind, .. } = asked;
    if let Some(reason) = refusal(draft, kind) {
        draft.tell(What::RequestRefused { request, kind, reason: reason.to_owned() });
        return;
    }
    draft.tell(What::OperatorAsked { request, kind });
    match kind {
        RequestKind::Retry => retry(draft),
        RequestKind::Cancel => cancel(draft),
        RequestKind::Suspend => suspend(draft),
        // Also of one that the operator had made to rest while it waited for its probe.
        RequestKind::Resume if draft.p.breaker.state == BreakerState::Open => {
            draft.p.breaker.retry_at = Some(draft.at());
            slot::ask(draft);
        }
        RequestKind::Resume => {
            // The operator knows better than the agent when there is credit; if there is none, it will say so again.
            credit::forget(draft);
            slot::ask(draft);
        }
        RequestKind::BreakerReset => {
            clean_breaker(draft);
            if draft.p.state() == ProjectState::Suspended && draft.p.reason == Some(SuspendReason::Breaker) {
                slot::ask(draft);
            }
        }
    }
}

/// Why it cannot be done as things stand.
fn refusal(draft: &Draft<'_, '_>, kind: RequestKind) -> Option<&'static str> {
    let p = &draft.p;
    if let Some(reason) = kind.refusal(p.state(), &p.breaker, p.due_back.is_some()) {
        return Some(reason);
    }
    match kind {
        RequestKind::Retry if draft.fleet().queued() >= limits::QUEUE_PROJECTS_MAX => Some("the queue is full"),
        RequestKind::Resume if p.reason == Some(SuspendReason::NeedsOperator) && !draft.tmux_answers() => {
            Some("tmux does not answer; it goes on by itself as soon as tmux does")
        }
        RequestKind::Retry
        | RequestKind::Cancel
        | RequestKind::Suspend
        | RequestKind::Resume
        | RequestKind::BreakerReset => None,
    }
}

/// Into the queue once more, with nothing held against it. What the last run left is ended before anything is
/// started, also if its end is still being taken down just now.
fn retry(draft: &mut Draft<'_, '_>) {
    clean_breaker(draft);
    draft.p.incident = None;
    draft.p.finalizer = false;
    draft.p.preflighted = false;
    draft.p.verified = false;
    draft.p.repairs = 0;
    let session = draft.p.session.as_ref().filter(|session| session.is != SessionIs::Gone);
    if let Some(token) = session.map(|session| session.token.clone())
        && !draft.p.stale.contains(&token)
    {
        draft.p.stale.push(token);
    }
    for index in 0..draft.p.roles.len() {
        fault::condemn(draft, index);
        death::forgone(draft, index);
        if let Some(role) = draft.p.roles.get_mut(index) {
            role.process = None;
            role.started_at = None;
            role.ack_due = None;
            role.claude_md = None;
        }
        if draft.p.roles.get(index).is_some_and(|role| role.state() != RoleState::Absent) {
            draft.role_step(index, RoleEvent::Retired);
        }
    }
    draft.step(ProjectEvent::Retried, None);
}

/// Ends it now; its session and agents are taken down.
fn cancel(draft: &mut Draft<'_, '_>) {
    draft.p.incident = None;
    draft.p.finalizer = true;
    forget_deadlines(draft);
    if draft.step(ProjectEvent::Cancelled, None) {
        advance::advance(draft);
    }
}

/// Lets it rest. What is under way comes to its end and is noted; nothing follows from it.
fn suspend(draft: &mut Draft<'_, '_>) {
    forget_deadlines(draft);
    if let Some(incident) = &mut draft.p.incident {
        incident.retry_at = None;
    }
    draft.p.reason = Some(SuspendReason::Operator);
    if draft.p.state() == ProjectState::Suspended {
        // It was only waiting for its slot, and shall not take it.
        draft.p.due_back = None;
        draft.p.unknown = None;
    } else {
        draft.step(ProjectEvent::Suspended, None);
    }
}

/// Goes on from where it stands: everything is looked at anew, and whatever is missing is made.
pub(super) fn go_on(draft: &mut Draft<'_, '_>) {
    let due = draft.at() + draft.fleet().policy.ack_wait();
    draft.p.verified = false;
    draft.p.repairs = 0;
    draft.p.starved = None;
    // A look from before the rest says nothing about now; nobody waits for it any more.
    draft.p.looking = None;
    if let Some(incident) = &mut draft.p.incident {
        incident.retry_at = None;
    }
    for role in &mut draft.p.roles {
        role.looking = None;
        role.look_again = false;
        // Its brief was handed over before the rest; it has its time again to acknowledge.
        if role.state() == RoleState::Starting && role.process.is_some() && role.briefs_sent > 0 {
            role.ack_due = Some(due);
        }
    }
    if draft.step(ProjectEvent::Resumed, None) {
        advance::advance(draft);
    }
}

fn clean_breaker(draft: &mut Draft<'_, '_>) {
    let from = draft.p.breaker.state;
    draft.p.breaker = Breaker::default();
    if let Some(incident) = &mut draft.p.incident {
        incident.probe = false;
    }
    if from != BreakerState::Closed {
        draft.tell(What::BreakerMoved { from, to: BreakerState::Closed, attempts: 0 });
    }
}

pub(super) fn forget_deadlines(draft: &mut Draft<'_, '_>) {
    for role in &mut draft.p.roles {
        role.ack_due = None;
    }
}
