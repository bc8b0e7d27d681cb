//! L5: what is broken for good in one project stops no other.

use super::slots::Slots;
use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long a project to which nothing ever happened may wait once the world is healed and a slot is free.
const WITHIN: Span = Span::from_secs(300);

/// The checker of L5.
#[derive(Debug, Default)]
pub(super) struct Apart {
    slots: Slots,
    accepted: BTreeSet<ProjectId>,
    /// Those to which something happened.
    hurt: BTreeSet<ProjectId>,
    done: BTreeSet<ProcessId>,
    agents: BTreeMap<(ProjectId, String), ProcessId>,
    healed: Option<Timestamp>,
    tally: Tally,
}

impl Checker for Apart {
    fn id(&self) -> &'static str {
        "L5"
    }

    fn title(&self) -> &'static str {
        "a project to which nothing happened is recovered from nothing and stopped by nothing"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Accepted { project, .. } = &told.fact {
            self.accepted.insert(*project);
        } else if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.agents.insert((incarnation.project, incarnation.role.0.clone()), *process);
        } else if let Fact::Done { incarnation } = &told.fact {
            self.done.extend(self.agents.get(&(incarnation.project, incarnation.role.0.clone())));
        } else if let Fact::AgentGone { incarnation, process } = &told.fact {
            if !self.done.contains(process) {
                self.hurt.insert(incarnation.project);
            }
        } else if let Fact::Hangs { incarnation } | Fact::GaveUp { incarnation } = &told.fact {
            self.hurt.insert(incarnation.project);
        } else if let Fact::Unfit { project, .. } = &told.fact {
            self.hurt.insert(*project);
        } else if told.fact == Fact::Healed {
            self.healed = Some(told.at);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        self.slots.follow(entry);
        let Some(project) = entry.signal.project_id else { return };
        let what = &entry.signal.what;
        if matches!(what, What::SubprocessFailed { .. } | What::OperationFailed { .. } | What::OperatorAsked { .. }) {
            self.hurt.insert(project);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let ended = evidence.truth.ended_at;
        let since = self.healed.map(|healed| healed.max(self.slots.free_since()));
        let turn = since.is_some_and(|since| ended.since(since) > WITHIN);
        let turn = turn && !self.slots.is_full() && !self.slots.is_stopped(ended);
        for project in self.accepted.difference(&self.hurt) {
            let (state, reason) = self.slots.state(*project).unwrap_or((ProjectState::Queued, None));
            let is_stopped = match state {
                ProjectState::Failed => true,
                ProjectState::Suspended => reason == Some(SuspendReason::Breaker),
                ProjectState::Queued => turn,
                ProjectState::Provisioning
                | ProjectState::Launching
                | ProjectState::Briefing
                | ProjectState::Running
                | ProjectState::Recovering
                | ProjectState::Completed
                | ProjectState::Cancelled => false,
            };
            self.tally.check(!is_stopped, || format!("project {project} is {state}, and nothing ever happened to it"));
        }
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

impl Apart {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { slots: Slots::under(policy), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn a_sound_project_that_is_stopped_fails() {
        assert_eq!(Past::new().running().is(Apart::default()), Is::Pass);
        let stopped = |past: Past| past.told(|story| story.refused(1));
        assert_eq!(stopped(Past::new().running()).is(Apart::default()), Is::Fail);
        let hurt = Past::new().running().born(1, 1, 7).gone(1, 1, 7);
        assert_eq!(stopped(hurt).is(Apart::default()), Is::Pass, "it has its own reason");
    }

    #[test]
    fn a_queue_that_stands_still_fails() {
        let waits = || Past::new().fact(Fact::Healed).at(400);
        assert_eq!(waits().is(Apart::default()), Is::Fail);
        let other = || waits().told(|story| story.also_running(2));
        let one = || Apart::under(Policy { max_active: 1, ..Policy::default() });
        assert_eq!(other().at(900).is(one()), Is::Pass, "it waits for its turn");
        assert_eq!(other().is(Apart::default()), Is::Fail, "others work, and there are slots for all");
        let freed = || other().at(500).told(|story| story.completed(2));
        assert_eq!(freed().at(800).is(one()), Is::Pass, "it is about to have its turn");
        assert_eq!(freed().at(801).is(one()), Is::Fail);
    }
}
