//! S4: nothing is called failed while it lives.
//!
//! Two things are proof enough while agents live: the word of one of them that it cannot do the work, and a breaker
//! whose probes have all failed, as many as the policy allows, each of them told. The second is a verdict on recovery,
//! not on a process: the siblings of an agent that dies in every start may well live.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::{BTreeMap, BTreeSet};

/// The checker of S4.
#[derive(Debug, Default)]
pub(super) struct Alive {
    /// Projects whose own agent has written that it cannot do the work, as the world knows it: proof enough.
    given_up: BTreeSet<ProjectId>,
    policy: Policy,
    /// Probes that failed one after the other, as the journal tells.
    probes: BTreeMap<ProjectId, u32>,
    living: BTreeMap<ProjectId, BTreeMap<ProcessId, RoleName>>,
    tally: Tally,
}

impl Alive {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Counts the probes that failed since the breaker was last closed.
    fn probed(&mut self, project: ProjectId, from: BreakerState, to: BreakerState) {
        let failed = self.probes.entry(project).or_default();
        match (from, to) {
            (BreakerState::HalfOpen, BreakerState::Open) => *failed += 1,
            (_, BreakerState::Closed) => *failed = 0,
            _ => {}
        }
    }
}

impl Checker for Alive {
    fn id(&self) -> &'static str {
        "S4"
    }

    fn title(&self) -> &'static str {
        "no project is failed while an agent of it lives"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.living.entry(incarnation.project).or_default().insert(*process, incarnation.role.clone());
        } else if let Fact::AgentGone { incarnation, process } = &told.fact
            && let Some(living) = self.living.get_mut(&incarnation.project)
        {
            living.remove(process);
        } else if let Fact::GaveUp { incarnation } = &told.fact {
            self.given_up.insert(incarnation.project);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if let What::BreakerMoved { from, to, .. } = entry.signal.what {
            self.probed(project, from, to);
        }
        let What::ProjectMoved { to, .. } = &entry.signal.what else { return };
        let spent = self.probes.get(&project).is_some_and(|failed| *failed >= self.policy.probes_max);
        if *to == ProjectState::Queued {
            // Whoever gave up, it is tried once more, with others.
            self.given_up.remove(&project);
        }
        let living = self
            .living
            .get(&project)
            .filter(|_| !spent && !self.given_up.contains(&project))
            .and_then(|living| living.iter().next());
        self.tally.check(*to != ProjectState::Failed || living.is_none(), || {
            let who = living.map_or_else(String::new, |(process, role)| format!("{role} ({process})"));
            format!("seq {}: project {project} was failed while {who} lived", entry.seq)
        });
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("no project ever moved")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn failed_over_the_dead_passes_and_over_the_living_fails() {
        let fails = |past: Past| past.moved(ProjectState::Running, ProjectState::Failed);
        let born = || Past::new().running().born(1, 1, 7);
        assert_eq!(fails(born().gone(1, 1, 7)).is(Alive::default()), Is::Pass);
        assert_eq!(fails(born()).is(Alive::default()), Is::Fail);
        assert_eq!(fails(born().gave_up(1, 1)).is(Alive::default()), Is::Pass, "its own word is proof enough");
        let retried = born().gave_up(1, 1).moved(ProjectState::Failed, ProjectState::Queued);
        assert_eq!(fails(retried).is(Alive::default()), Is::Fail, "that was the run before");
        assert_eq!(fails(Past::new().running().born(2, 1, 8)).is(Alive::default()), Is::Pass, "another's agent");
    }

    #[test]
    fn as_many_failed_probes_as_the_policy_allows_are_proof_and_fewer_are_not() {
        let (open, half) = (BreakerState::Open, BreakerState::HalfOpen);
        let probe = |past: Past| past.told(|story| story.breaker(1, open, half).breaker(1, half, open));
        let one = || Alive::under(Policy { probes_max: 1, ..Policy::default() });
        let gives_up = |past: Past| past.moved(ProjectState::Recovering, ProjectState::Failed);
        let lives = || Past::new().running().born(1, 1, 7);
        assert_eq!(gives_up(probe(lives())).is(one()), Is::Pass);
        assert_eq!(gives_up(probe(lives())).is(Alive::default()), Is::Fail, "three are allowed");
        assert_eq!(gives_up(lives()).is(one()), Is::Fail);
        let closed = probe(lives()).told(|story| story.breaker(1, half, BreakerState::Closed));
        assert_eq!(gives_up(closed).is(one()), Is::Fail, "it worked again meanwhile");
    }
}
