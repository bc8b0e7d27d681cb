//! Slots and the queue as the journal tells of them, for those checkers to which they matter.

use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How much later than its time the fleet's breaker may close: the turn that is due then.
const GRACE: Span = Span::from_secs(60);

/// Who is at work, who waits, and whether the queue is stopped.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) policy: Policy,
    states: BTreeMap<ProjectId, (ProjectState, Option<SuspendReason>)>,
    /// Suspended projects that may go on and wait for a slot.
    awaiting: BTreeSet<ProjectId>,
    /// While the fleet's breaker is open by right, with more openings than the policy allows: the newest of them.
    open: Option<Timestamp>,
    /// Until when nobody could be admitted.
    blocked_until: Timestamp,
}

impl Slots {
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Follows one entry.
    pub(super) fn follow(&mut self, entry: &Entry) {
        if self.is_full() || self.is_stopped(entry.at) {
            self.blocked_until = entry.at;
        }
        let what = &entry.signal.what;
        if let What::FleetBreakerMoved { to, breakers, .. } = what {
            let by_right = *to == BreakerState::Open && *breakers > self.policy.fleet_breaker_max;
            self.open = by_right.then_some(entry.at);
        } else if let (What::BreakerMoved { to: BreakerState::Open, .. }, Some(open)) = (what, &mut self.open) {
            *open = entry.at;
        }
        let Some(project) = entry.signal.project_id else { return };
        if let What::ProjectEnqueued { .. } = what {
            self.states.insert(project, (ProjectState::Queued, None));
        } else if let What::ProjectMoved { to, reason, .. } = what {
            self.states.insert(project, (*to, *reason));
            self.awaiting.remove(&project);
        } else if let What::SlotAwaited { .. } = what {
            self.awaiting.insert(project);
        } else if is_called_off(what) {
            self.awaiting.remove(&project);
        }
    }

    /// Projects that have a slot.
    pub(super) fn active(&self) -> usize {
        self.states.values().filter(|(state, _)| state.is_active()).count()
    }

    /// Whether every slot is taken.
    pub(super) fn is_full(&self) -> bool {
        self.active() >= self.policy.max_active as usize
    }

    /// Whether the fleet's breaker stops the queue at `at`, by right.
    pub(super) fn is_stopped(&self, at: Timestamp) -> bool {
        let window = self.policy.fleet_breaker_window();
        self.open.is_some_and(|since| at.since(since + window) <= GRACE)
    }

    /// Projects in the queue.
    pub(super) fn queued(&self) -> impl Iterator<Item = ProjectId> {
        self.states.iter().filter(|(_, (state, _))| *state == ProjectState::Queued).map(|(id, _)| *id)
    }

    /// Suspended projects that wait for a slot.
    pub(super) fn awaiting(&self) -> &BTreeSet<ProjectId> {
        &self.awaiting
    }

    /// Since when somebody could have been admitted.
    pub(super) fn free_since(&self) -> Timestamp {
        self.blocked_until
    }
}

/// Whether this ends the wait for a slot: an operator wants it to rest, or its agent is out of credit again.
fn is_called_off(what: &What) -> bool {
    matches!(what, What::OperatorAsked { kind: RequestKind::Suspend, .. })
        || matches!(what, What::AgentReported { kind, .. } if kind == "credit")
}
