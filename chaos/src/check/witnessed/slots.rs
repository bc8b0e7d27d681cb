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
    /// Those whose agent ran out of credit meanwhile: they wait on, unless a slot came and passed by, which is not told.
    perhaps: BTreeSet<ProjectId>,
    /// Whether the fleet's breaker is open, and was opened by right: with more openings than the policy allows.
    open: bool,
    /// When each project's breaker opened last, as far as the fleet's counts it.
    openings: BTreeMap<ProjectId, Timestamp>,
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
            self.open = *to == BreakerState::Open && *breakers > self.policy.fleet_breaker_max;
        }
        let Some(project) = entry.signal.project_id else {
            // Of the fleet only a reset of its breaker can be asked.
            if let What::OperatorAsked { .. } = what {
                self.openings.clear();
            }
            return;
        };
        if let What::ProjectEnqueued { .. } = what {
            self.states.insert(project, (ProjectState::Queued, None));
        } else if let What::ProjectMoved { to, reason, .. } = what {
            self.states.insert(project, (*to, *reason));
            self.call_off(project);
        } else if let What::SlotAwaited { .. } = what {
            self.awaiting.insert(project);
        } else if let What::BreakerMoved { to: BreakerState::Open, .. } = what {
            self.openings.insert(project, entry.at);
            // Its slot came, and there was no recovery left for it: it rests on, behind its breaker now, and does not move.
            if let Some((ProjectState::Suspended, reason)) = self.states.get_mut(&project) {
                *reason = Some(SuspendReason::Breaker);
                self.call_off(project);
            }
        } else if let What::OperatorAsked { kind: RequestKind::Suspend, .. } = what {
            self.call_off(project);
        } else if is_spent(what) && self.awaiting.remove(&project) {
            self.perhaps.insert(project);
        }
    }

    /// It waits for no slot any more.
    fn call_off(&mut self, project: ProjectId) {
        self.awaiting.remove(&project);
        self.perhaps.remove(&project);
    }

    /// Where a project is, and why it rests if it does.
    pub(super) fn state(&self, project: ProjectId) -> Option<(ProjectState, Option<SuspendReason>)> {
        self.states.get(&project).copied()
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
        let counts = self.policy.fleet_breaker_window();
        let counted = self.openings.values().filter(|opened| at.since(**opened + counts) <= GRACE).count();
        self.open && counted > self.policy.fleet_breaker_max as usize
    }

    /// Projects whose breakers opened within the window before `at`: while they are too many, the fleet's may not close.
    pub(super) fn openings_at(&self, at: Timestamp) -> usize {
        let window = self.policy.fleet_breaker_window();
        self.openings.values().filter(|opened| at.since(**opened) < window).count()
    }

    /// Projects in the queue.
    pub(super) fn queued(&self) -> impl Iterator<Item = ProjectId> {
        self.states.iter().filter(|(_, (state, _))| *state == ProjectState::Queued).map(|(id, _)| *id)
    }

    /// Whether it may be waiting for a slot although its agent was out of credit since it asked.
    pub(super) fn may_await(&self, project: ProjectId) -> bool {
        self.perhaps.contains(&project)
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

/// Whether an agent is out of credit.
fn is_spent(what: &What) -> bool {
    matches!(what, What::AgentReported { kind, .. } if kind == "credit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use orchestrator::domain::signal::Signal;

    const TWO: u32 = 2;

    fn fleet(story: Story, from: BreakerState, to: BreakerState) -> Story {
        story.say(Signal::fleet(What::FleetBreakerMoved { from, to, breakers: TWO, max: 1 }))
    }

    /// The breakers of two projects open, at those seconds, where one may, and then the fleet's.
    fn opened(first: u64, second: u64) -> Story {
        let story = Story::new().at(first * 1_000).refused(1).at(second * 1_000).refused(TWO.into());
        fleet(story, BreakerState::Closed, BreakerState::Open)
    }

    /// Whether the queue is stopped by right at that second, under a window of 100 s.
    fn is_stopped(story: &Story, at: u64) -> bool {
        let policy = Policy { fleet_breaker_max: 1, fleet_breaker_window_s: 100, ..Policy::default() };
        let mut slots = Slots::under(policy);
        story.journal().iter().for_each(|logged| slots.follow(&logged.entry));
        slots.is_stopped(Timestamp(0) + Span::from_secs(at))
    }

    #[test]
    fn who_is_refused_when_its_slot_comes_waits_for_it_no_more() {
        let story = Story::running(1).moved(1, ProjectState::Running, ProjectState::Suspended);
        let waits = story.tell_of(1, "role-0", What::SlotAwaited { active: 1, max_active: 1 });
        let followed = |story: &Story| {
            let mut slots = Slots::default();
            story.journal().iter().for_each(|logged| slots.follow(&logged.entry));
            slots
        };
        assert!(followed(&waits).awaiting().contains(&ProjectId(1)));
        let slots = followed(&waits.breaker(1, BreakerState::Closed, BreakerState::Open));
        assert!(slots.awaiting().is_empty());
        assert_eq!(slots.state(ProjectId(1)), Some((ProjectState::Suspended, Some(SuspendReason::Breaker))));
    }

    #[test]
    fn who_runs_out_of_credit_while_it_waits_may_wait_on() {
        let story = Story::running(1).moved(1, ProjectState::Running, ProjectState::Suspended);
        let spent = || What::AgentReported { kind: "credit".to_owned(), text: None };
        let may_await = |story: &Story| {
            let mut slots = Slots::default();
            story.journal().iter().for_each(|logged| slots.follow(&logged.entry));
            assert!(slots.awaiting().is_empty());
            slots.may_await(ProjectId(1))
        };
        assert!(!may_await(&story.clone().tell_of(1, "role-0", spent())), "it had not asked for one");
        let story = story.tell_of(1, "role-0", What::SlotAwaited { active: 1, max_active: 1 });
        let story = story.tell_of(1, "role-0", spent());
        assert!(may_await(&story));
        assert!(!may_await(&story.moved(1, ProjectState::Suspended, ProjectState::Provisioning)));
    }

    #[test]
    fn the_queue_is_stopped_while_too_many_openings_are_in_the_window() {
        assert!(is_stopped(&opened(0, 90), 160), "a minute late is in time");
        assert!(!is_stopped(&opened(0, 90), 161), "the newest opening alone is not too many");
        let again = opened(0, 90).at(95_000).breaker(1, BreakerState::HalfOpen, BreakerState::Open);
        assert!(is_stopped(&again, 250) && !is_stopped(&again, 251), "the same project opens again");
        let reset =
            opened(0, 90).say(Signal::fleet(What::OperatorAsked { request: 1, kind: RequestKind::BreakerReset }));
        assert!(!is_stopped(&reset, 91), "an operator forgave them");
        assert!(!is_stopped(&fleet(opened(0, 90), BreakerState::Open, BreakerState::Closed), 91));
    }
}
