//! The fleet as a whole: its breaker, and the deadlines that are no project's own.
//!
//! # When the fleet's breaker opens
//! With the opening of a project's breaker that is one too many within the window (G8): so many projects cannot all
//! have a fault of their own, and every further one admitted would only be the next. Projects are counted, not
//! openings, so that one which opens again and again is one.
//!
//! # What it stops
//! The queue, and nothing else: who runs goes on, recoveries and probes stay bounded by the project's own breaker,
//! and what rested may come back.
//!
//! # When it closes
//! By itself, as soon as no more than allowed count within the window; or when an operator resets it, which forgets
//! what it counted and is told before it closes. State and count are read back from the journal,
//! so neither a restart nor a step of the wall clock changes anything.

use super::draft::Cursor;
use super::sight;
use crate::domain::breaker::BreakerState;
use crate::domain::id::ProjectId;
use crate::domain::request::{Request, fleet_refusal};
use crate::domain::signal::{Signal, What};
use std::collections::BTreeSet;

/// Counts the breakers that this decision opened, and opens the fleet's if they are too many.
pub(super) fn opened(cursor: &mut Cursor<'_>) {
    let opening = |signal: &Signal| {
        let opens = matches!(signal.what, What::BreakerMoved { to: BreakerState::Open, .. });
        signal.project_id.filter(|_| opens)
    };
    let new: BTreeSet<ProjectId> = cursor.told().iter().filter_map(opening).collect();
    let fleet = cursor.fleet();
    if new.is_empty() || fleet.breaker_open {
        return;
    }
    let mut counted = fleet.opened_at(cursor.at());
    counted.extend(new);
    let (breakers, max) = (u32::try_from(counted.len()).unwrap_or(u32::MAX), fleet.policy.fleet_breaker_max);
    if breakers > max {
        let (from, to) = (BreakerState::Closed, BreakerState::Open);
        cursor.tell(Signal::fleet(What::FleetBreakerMoved { from, to, breakers, max }));
    }
}

/// An operator asked for a reset of the fleet's breaker; there is nothing else to ask of the fleet.
pub(super) fn requested(cursor: &mut Cursor<'_>, asked: Request) {
    let Request { id: request, kind, .. } = asked;
    let (fleet, at) = (cursor.fleet(), cursor.at());
    if let Some(reason) = fleet_refusal(kind, fleet.breaker_open, fleet.openings_at(at)) {
        cursor.tell(Signal::fleet(What::RequestRefused { request, kind, reason: reason.to_owned() }));
        return;
    }
    cursor.tell(Signal::fleet(What::OperatorAsked { request, kind }));
    if fleet.breaker_open {
        let (from, to) = (BreakerState::Open, BreakerState::Closed);
        let max = fleet.policy.fleet_breaker_max;
        cursor.tell(Signal::fleet(What::FleetBreakerMoved { from, to, breakers: 0, max }));
    }
}

/// A deadline of the fleet has passed.
pub(super) fn due(cursor: &mut Cursor<'_>) {
    let (fleet, at) = (cursor.fleet(), cursor.at());
    let (breakers, max) = (fleet.openings_at(at), fleet.policy.fleet_breaker_max);
    if fleet.breaker_open && breakers <= max {
        let (from, to) = (BreakerState::Open, BreakerState::Closed);
        cursor.tell(Signal::fleet(What::FleetBreakerMoved { from, to, breakers, max }));
    }
    if fleet.blind_at().is_some_and(|due| due <= at) {
        sight::lost(cursor);
    }
}
