//! S8: a restart forgives nothing: what a breaker has counted, and where it stands, is what the journal tells.

use crate::check::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Counted {
    state: BreakerState,
    attempts: Vec<Timestamp>,
}

/// The checker of S8.
#[derive(Debug, Default)]
pub(super) struct Kept {
    projects: BTreeMap<ProjectId, Counted>,
    policy: Policy,
    tally: Tally,
}

impl Kept {
    /// For an installation with that policy.
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }
}

impl Checker for Kept {
    fn id(&self) -> &'static str {
        "S8"
    }

    fn title(&self) -> &'static str {
        "breakers survive every restart: state and attempts are those of the journal"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        let counted = self.projects.entry(project).or_default();
        if let What::RecoveryStarted { .. } = entry.signal.what {
            counted.attempts.push(entry.at);
        } else if let What::BreakerMoved { from, to, .. } = entry.signal.what {
            let was = std::mem::replace(&mut counted.state, to);
            self.tally.check(was == from, || {
                format!("seq {}: the breaker of project {project} leaves {from}, but was {was}", entry.seq)
            });
        } else if let What::OperatorAsked { kind: RequestKind::BreakerReset | RequestKind::Retry, .. } =
            entry.signal.what
        {
            counted.attempts.clear();
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let window = self.policy.breaker_window();
        for (project, breaker) in &evidence.claims.breakers {
            let counted = self.projects.entry(*project).or_default();
            let was = counted.state;
            self.tally.check(breaker.state == was, || {
                format!("the breaker of project {project} is {} in its row, {was} by its journal", breaker.state)
            });
            let ended = evidence.truth.ended_at;
            let made: Vec<_> = counted.attempts.iter().filter(|at| ended.since(**at) < window).collect();
            let kept = breaker.attempts.iter().filter(|at| ended.since(**at) < window).count();
            // A breaker remembers no more attempts than its budget.
            let due = made.len().min(self.policy.breaker_max as usize);
            self.tally.check(kept >= due, || {
                format!("project {project} made {} recoveries within the window, its row knows of {kept}", made.len())
            });
        }
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;
    use crate::truth::Claims;
    use orchestrator::domain::breaker::Breaker;

    fn row(state: BreakerState, attempts: &[u64]) -> Claims {
        let attempts = attempts.iter().map(|s| Timestamp(s * 1_000_000)).collect();
        Claims {
            breakers: vec![(ProjectId(1), Breaker { state, attempts, ..Breaker::default() })],
            ..Claims::default()
        }
    }

    #[test]
    fn what_was_counted_is_kept() {
        let past = || Past::new().at(5).told(|story| story.attempt(1, 1)).at(9).told(|story| story.attempt(1, 2));
        assert_eq!(past().claims(row(BreakerState::Closed, &[5, 9])).is(Kept::default()), Is::Pass);
        assert_eq!(past().claims(row(BreakerState::Closed, &[])).is(Kept::default()), Is::Fail, "forgotten");
        assert_eq!(past().claims(row(BreakerState::Open, &[5, 9])).is(Kept::default()), Is::Fail, "another state");
        let later = past().at(4_000).claims(row(BreakerState::Closed, &[]));
        assert_eq!(later.is(Kept::default()), Is::Pass, "they have left the window");
    }

    #[test]
    fn a_breaker_leaves_the_state_it_was_in() {
        let (closed, open) = (BreakerState::Closed, BreakerState::Open);
        let opened = Past::new().told(|story| story.breaker(1, closed, open));
        assert_eq!(opened.is(Kept::default()), Is::Pass);
        let twice = Past::new().told(|story| story.breaker(1, closed, open).breaker(1, closed, open));
        assert_eq!(twice.is(Kept::default()), Is::Fail);
    }
}
