//! An agent without credit: the project rests, nobody is killed or charged for it, and it goes on when there is
//! some again.

use super::advance;
use super::draft::Draft;
use super::report;
use super::slot;
use crate::domain::event::Report;
use crate::domain::limits::{CREDIT_S, CREDIT_WAIT};
use crate::domain::state::{ProjectEvent, ProjectState, RoleState, SuspendReason};
use crate::domain::time::Span;

/// An agent reports that it is out of credit. While a recovery waits, or the project rests for another reason, that
/// is only told: what is under way there is counted and bounded by itself.
pub(super) fn spent(draft: &mut Draft<'_, '_>, index: usize, seconds: Option<u64>) {
    let (min, max) = CREDIT_S;
    let wait = seconds.map_or(CREDIT_WAIT, |seconds| Span::from_secs(seconds.clamp(min, max)));
    let until = draft.at() + wait;
    report::tell(draft, index, &Report::Credit(None), Some(format!("for {} s", wait.as_millis() / 1_000)));
    if let Some(role) = draft.p.roles.get_mut(index) {
        role.vigil.credit_until = Some(until);
    }
    match draft.p.state() {
        ProjectState::Provisioning | ProjectState::Launching | ProjectState::Briefing | ProjectState::Running => {
            // Who has not acknowledged is not to be called deaf meanwhile; it gets its brief again afterwards.
            for role in &mut draft.p.roles {
                role.ack_due = None;
            }
            draft.p.reason = Some(SuspendReason::Credit);
            draft.step(ProjectEvent::Suspended, None);
        }
        ProjectState::Queued
        | ProjectState::Recovering
        | ProjectState::Suspended
        | ProjectState::Completed
        | ProjectState::Failed
        | ProjectState::Cancelled => {}
    }
}

/// The agent works again, so it has credit.
pub(super) fn back(draft: &mut Draft<'_, '_>, index: usize) {
    if let Some(role) = draft.p.roles.get_mut(index)
        && role.vigil.credit_until.take().is_some()
    {
        resume(draft);
    }
}

/// The time that was told has passed: see how it goes.
pub(super) fn due(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    let mut passed = false;
    for role in &mut draft.p.roles {
        passed |= role.vigil.credit_until.take_if(|until| *until <= at).is_some();
    }
    if passed {
        resume(draft);
    }
}

/// Asks for a slot once nobody is out of credit.
fn resume(draft: &mut Draft<'_, '_>) {
    if rests(draft) && !is_spent(draft) {
        slot::ask(draft);
    }
}

fn is_spent(draft: &Draft<'_, '_>) -> bool {
    draft.p.roles.iter().any(|role| role.vigil.credit_until.is_some())
}

/// Goes on, unless somebody is out of credit again: everything is looked at anew, and who lives is left as it is.
pub(super) fn go_on(draft: &mut Draft<'_, '_>) {
    if is_spent(draft) {
        return;
    }
    draft.p.verified = false;
    draft.p.repairs = 0;
    for role in draft.p.roles.iter_mut().filter(|role| role.state() == RoleState::Starting) {
        role.briefs_sent = 0;
    }
    if draft.step(ProjectEvent::Resumed, None) {
        advance::advance(draft);
    }
}

fn rests(draft: &Draft<'_, '_>) -> bool {
    draft.p.state() == ProjectState::Suspended && draft.p.reason == Some(SuspendReason::Credit)
}

/// However the rest came to its end, what was told of credit is over with it.
pub(super) fn tidy(draft: &mut Draft<'_, '_>) {
    if !rests(draft) {
        forget(draft);
    }
}

/// Nobody is out of credit any more, whatever was told.
pub(super) fn forget(draft: &mut Draft<'_, '_>) {
    // Asked before it is written: a project that nothing happens to is not copied.
    if !is_spent(draft) {
        return;
    }
    for role in &mut draft.p.roles {
        role.vigil.credit_until = None;
    }
}
