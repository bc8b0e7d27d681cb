//! What cannot be known for long: projects wait for an operator rather than be called dead (G3).
//!
//! A tmux that does not answer proves nothing, however long that lasts. After `unknown_s` every project that takes a
//! slot is suspended with what is unknown and since when; nobody is failed, killed or charged. With the first answer
//! each goes on by itself: from where its session shows it stands, or, if an agent or the session is by then proved
//! gone, with an ordinary incident.

use super::draft::{Cursor, Draft};
use super::fault;
use super::operator;
use super::slot;
use super::with;
use crate::domain::failure::{Ending, Failure, FailureKind, Program};
use crate::domain::id::ProjectId;
use crate::domain::limits::STARVED_PAUSE;
use crate::domain::project::{Incident, Starved, Unknown};
use crate::domain::signal::What;
use crate::domain::state::{ProjectEvent, ProjectState, SuspendReason};

/// What is unknown while tmux does not answer.
const SESSIONS: &str = "whether its session and agents live: tmux does not answer";

/// tmux has not answered for too long: whoever takes a slot waits for an operator, or for tmux.
pub(super) fn lost(cursor: &mut Cursor<'_>) {
    let (since, at) = (cursor.fleet().unknown_from(), cursor.at());
    let active = cursor.fleet().projects().filter(|project| project.state().is_active());
    let ids: Vec<ProjectId> = active.map(|project| project.id).collect();
    for id in ids {
        with(cursor, id, |draft| {
            draft.tell(What::SightLost { unknown: SESSIONS.to_owned(), lasted: at.since(since) });
            wait(draft, Unknown { what: SESSIONS.to_owned(), since, heals: true });
        });
    }
}

/// Suspends it for what is unknown.
fn wait(draft: &mut Draft<'_, '_>, unknown: Unknown) {
    operator::forget_deadlines(draft);
    draft.p.reason = Some(SuspendReason::NeedsOperator);
    draft.p.unknown = Some(unknown);
    draft.step(ProjectEvent::Suspended, None);
}

/// What was ordered came to nothing because the orchestrator itself had run out of something, or a look because the
/// files did not answer: that is charged to nobody and tried again after a pause. If it lasts for `unknown_s`, only an
/// operator can mend it.
pub(super) fn starved(draft: &mut Draft<'_, '_>, failure: &Failure, look: bool) {
    let at = draft.at();
    let since = draft.p.starved.map_or(at, |starved| starved.since);
    draft.p.starved = Some(Starved { since, again: at + STARVED_PAUSE, look });
    let lasted = at.since(since);
    if lasted < draft.fleet().policy.unknown_max() || !draft.p.state().is_active() {
        return;
    }
    draft.p.starved = None;
    draft.p.last_failure = Some(Box::new(failure.clone()));
    let what = if failure.kind == FailureKind::Exhausted {
        format!("whether it can go on: orch itself lacks what that takes ({failure})")
    } else {
        format!("whether its files are as they must be: they do not answer ({failure})")
    };
    draft.tell(What::SightLost { unknown: what.clone(), lasted });
    wait(draft, Unknown { what, since, heals: false });
}

/// Whether nothing new is to be tried yet.
pub(super) fn pauses(draft: &Draft<'_, '_>) -> bool {
    draft.p.starved.is_some_and(|starved| draft.at() < starved.again)
}

/// Whether the project rests because too little is known of it, and goes on once it is.
pub(super) fn is_lost(draft: &Draft<'_, '_>) -> bool {
    let heals = draft.p.unknown.as_ref().is_some_and(|unknown| unknown.heals);
    heals && draft.p.state() == ProjectState::Suspended && draft.p.reason == Some(SuspendReason::NeedsOperator)
}

/// Whether an effect's outcome is unknown because tmux is: it is settled by token once tmux answers, and until then
/// it is nobody's fault.
pub(super) fn outcome_unknown(draft: &Draft<'_, '_>, failure: &Failure) -> bool {
    let open = match failure.ending {
        // The connection itself was lost, whether that was told already or comes next.
        Ending::Lost(_) => true,
        Ending::DeadlinePassed(_) => !draft.tmux_answers(),
        Ending::Code(_) | Ending::Signal(_) | Ending::NotStarted(_) | Ending::Reason(_) => false,
    };
    failure.program == Program::Tmux && open
}

/// A fault that was proved meanwhile: its attempt is made when the project goes on.
pub(super) fn found_fault(draft: &mut Draft<'_, '_>, cause: FailureKind) {
    let since = draft.at();
    let incident = draft.p.incident.get_or_insert(Incident { since, cause, attempts: 0, retry_at: None, probe: false });
    incident.cause = cause;
    incident.retry_at = Some(since);
}

/// Goes on once tmux answers and everything that was asked about the project has been answered.
pub(super) fn regained(draft: &mut Draft<'_, '_>) {
    if is_lost(draft) && draft.tmux_answers() && !draft.p.is_busy() {
        slot::ask(draft);
    }
}

/// It has its slot back.
pub(super) fn go_on(draft: &mut Draft<'_, '_>) {
    if draft.p.incident.as_ref().is_some_and(|incident| incident.retry_at.is_some()) {
        fault::start_delayed(draft);
    } else {
        operator::go_on(draft);
    }
}
