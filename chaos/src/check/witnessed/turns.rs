//! S17: whose turn it is: highest priority first, then who was first, and nobody before those who come back from a rest.

use super::slots::Slots;
use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The checker of S17.
#[derive(Debug, Default)]
pub(super) struct Turns {
    slots: Slots,
    ranks: BTreeMap<ProjectId, i32>,
    tally: Tally,
}

impl Turns {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { slots: Slots::under(policy), ..Self::default() }
    }

    fn admitted(&mut self, entry: &Entry, project: ProjectId) {
        let seq = entry.seq;
        let rank = |id: &ProjectId| (Reverse(self.ranks.get(id).copied().unwrap_or(0)), *id);
        let first = self.slots.queued().min_by_key(rank);
        let right = first == Some(project);
        self.tally.check(right, || {
            let first = first.map(|first| first.to_string()).unwrap_or_default();
            format!("seq {seq}: project {project} is admitted, and it is the turn of project {first}")
        });
        let before = self.slots.awaiting().first().copied();
        self.tally.check(before.is_none(), || {
            let before = before.map(|before| before.to_string()).unwrap_or_default();
            format!("seq {seq}: project {project} is admitted before project {before}, which goes on after its rest")
        });
        let stopped = self.slots.is_stopped(entry.at);
        self.tally.check(!stopped, || format!("seq {seq}: project {project} is admitted while the queue is stopped"));
    }
}

impl Checker for Turns {
    fn id(&self) -> &'static str {
        "S17"
    }

    fn title(&self) -> &'static str {
        "the queue is taken in turn: highest priority, then lowest id, after those who rested, unless it is stopped"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Ranked { project, priority } = told.fact {
            self.ranks.insert(project, priority);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let (Some(project), What::ProjectMoved { from: ProjectState::Queued, to: ProjectState::Provisioning, .. }) =
            (entry.signal.project_id, &entry.signal.what)
        {
            self.admitted(entry, project);
        } else if let What::FleetBreakerMoved { to: BreakerState::Closed, .. } = entry.signal.what {
            let (seq, counted) = (entry.seq, self.slots.openings_at(entry.at));
            let right = counted <= self.slots.policy.fleet_breaker_max as usize;
            self.tally
                .check(right, || format!("seq {seq}: the queue goes on although {counted} breakers opened lately"));
        }
        self.slots.follow(entry);
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;
    use crate::story::Story;

    fn two(first: i32, second: i32) -> Past {
        let rank = |id, priority| Fact::Ranked { project: ProjectId(id), priority };
        let past = Past::new().fact(rank(1, first)).fact(rank(2, second));
        past.told(|story| story.enqueued(1).enqueued(2))
    }

    fn admits(past: Past, project: i64) -> Past {
        past.told(|story| story.moved(project, ProjectState::Queued, ProjectState::Provisioning))
    }

    #[test]
    fn priority_first_then_the_order_of_acceptance() {
        assert_eq!(admits(admits(two(0, 0), 1), 2).is(Turns::default()), Is::Pass);
        assert_eq!(admits(two(0, 0), 2).is(Turns::default()), Is::Fail);
        assert_eq!(admits(two(0, 1), 2).is(Turns::default()), Is::Pass);
        assert_eq!(admits(two(0, 1), 1).is(Turns::default()), Is::Fail);
    }

    #[test]
    fn who_comes_back_goes_first_and_a_stopped_queue_stands() {
        let rests = || {
            let past = admits(two(0, 0), 1).moved(ProjectState::Provisioning, ProjectState::Suspended);
            past.told(|story| story.tell(1, What::SlotAwaited { active: 1, max_active: 1 }))
        };
        assert_eq!(admits(rests(), 2).is(Turns::default()), Is::Fail);
        let went_on = rests().moved(ProjectState::Suspended, ProjectState::Provisioning);
        assert_eq!(admits(went_on, 2).is(Turns::default()), Is::Pass);
        let fleet = |from, to| What::FleetBreakerMoved { from, to, breakers: 6, max: 5 };
        let opened = || two(0, 0).told(|story| (3..9).fold(story, Story::refused));
        let stopped = || opened().fleet(fleet(BreakerState::Closed, BreakerState::Open));
        assert_eq!(admits(stopped(), 1).is(Turns::default()), Is::Fail);
        let goes_on = |at| stopped().at(at).fleet(fleet(BreakerState::Open, BreakerState::Closed));
        let window = Policy::default().fleet_breaker_window_s;
        assert_eq!(admits(goes_on(window), 1).is(Turns::default()), Is::Pass);
        assert_eq!(goes_on(window - 1).is(Turns::default()), Is::Fail, "their window is not over");
    }
}
