//! Slots: no more than `max_active` projects are worked on at any time, whoever asks.
//!
//! Whatever lets a resting project go on (an operator, credit, the time for a probe, a tmux that answers again) only
//! asks for a slot here. With one free it is given in the same turn; otherwise the project stays suspended, which is
//! told, and goes before every queued one.

use super::credit;
use super::draft::Draft;
use super::fault;
use super::operator;
use super::sight;
use crate::domain::breaker::BreakerState;
use crate::domain::signal::What;
use crate::domain::state::{ProjectState, SuspendReason};

/// The project may go on: it takes a slot as soon as there is one.
pub(super) fn ask(draft: &mut Draft<'_, '_>) {
    if draft.p.state() != ProjectState::Suspended || draft.p.due_back.is_some() {
        return;
    }
    let (taken, max_active) = (draft.line_up(), draft.fleet().policy.max_active);
    if taken >= max_active {
        draft.tell(What::SlotAwaited { active: max_active, max_active });
    }
}

/// The slot is given.
pub(super) fn given(draft: &mut Draft<'_, '_>) {
    draft.p.due_back = None;
    // Whatever it rested for at last: behind an open breaker there is no way on but the probe (G8).
    if draft.p.breaker.state == BreakerState::Open {
        draft.p.reason = Some(SuspendReason::Breaker);
        fault::probe(draft);
        return;
    }
    match draft.p.reason {
        Some(SuspendReason::Credit) => credit::go_on(draft),
        Some(SuspendReason::NeedsOperator) => sight::go_on(draft),
        Some(SuspendReason::Breaker | SuspendReason::Operator) | None => operator::go_on(draft),
    }
}
