//! S7: recovery is bounded.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeMap;

/// What is followed of one project.
#[derive(Debug, Default)]
struct Followed {
    attempts: Vec<Timestamp>,
    breaker: BreakerState,
    probes: u32,
}

/// The checker of S7, under the policy that every installation starts with.
#[derive(Debug, Default)]
pub(super) struct Budget {
    projects: BTreeMap<ProjectId, Followed>,
    tally: Tally,
}

impl Budget {
    fn started(&mut self, project: ProjectId, entry: &Entry, attempt: u32, probe: bool) {
        let policy = Policy::default();
        let followed = self.projects.entry(project).or_default();
        followed.attempts.push(entry.at);
        let window = policy.breaker_window();
        let counted = followed.attempts.iter().filter(|made| entry.at.since(**made) < window).count();
        let counted = u32::try_from(counted).unwrap_or(u32::MAX);
        let seq = entry.seq;
        if probe {
            followed.probes += 1;
            let one = followed.breaker == BreakerState::HalfOpen && followed.probes == 1;
            self.tally.check(one, || format!("seq {seq}: project {project} probes, but not once while half-open"));
            return;
        }
        let max = policy.breaker_max;
        self.tally.check(counted <= max, || {
            format!("seq {seq}: recovery {counted} of project {project} within {} s", policy.breaker_window_s)
        });
        self.tally.check(attempt == counted, || {
            format!("seq {seq}: project {project} calls its recovery number {counted} number {attempt}")
        });
        let closed = followed.breaker == BreakerState::Closed;
        let breaker = followed.breaker;
        self.tally.check(closed, || format!("seq {seq}: project {project} recovers while its breaker is {breaker}"));
    }

    fn breaker(&mut self, project: ProjectId, entry: &Entry, to: BreakerState) {
        let policy = Policy::default();
        let followed = self.projects.entry(project).or_default();
        let window = policy.breaker_window();
        let counted = followed.attempts.iter().filter(|made| entry.at.since(**made) < window).count();
        let early = followed.breaker == BreakerState::Closed
            && to == BreakerState::Open
            && counted != policy.breaker_max as usize;
        followed.breaker = to;
        followed.probes = 0;
        self.tally.check(!early, || {
            format!("seq {}: the breaker of project {project} opened after {counted} recoveries", entry.seq)
        });
    }
}

impl Checker for Budget {
    fn id(&self) -> &'static str {
        "S7"
    }

    fn title(&self) -> &'static str {
        "recoveries stay within the budget; the breaker opens on the one beyond it, and nothing is tried while open"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if let What::RecoveryStarted { attempt, probe, .. } = entry.signal.what {
            self.started(project, entry, attempt, probe);
        } else if let What::BreakerMoved { to, .. } = entry.signal.what {
            self.breaker(project, entry, to);
        } else if matches!(entry.signal.what, What::RecoveryRefused { .. }) {
            let policy = Policy::default();
            let followed = self.projects.entry(project).or_default();
            let counted =
                followed.attempts.iter().filter(|made| entry.at.since(**made) < policy.breaker_window()).count();
            let spent = counted >= policy.breaker_max as usize || followed.breaker != BreakerState::Closed;
            self.tally.check(spent, || {
                format!("seq {}: project {project} was refused after {counted} recoveries", entry.seq)
            });
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        // Where nothing had to be recovered, that nothing was is what there is to find.
        self.tally.held(evidence.truth.harmless());
        self.tally.verdict("nothing ever had to be recovered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge_story;
    use crate::story::Story;

    fn three() -> Story {
        (1..=3).fold(Story::running(1), |story, nth| story.at(u64::from(nth) * 1_000).attempt(1, nth))
    }

    #[test]
    fn three_then_refused_passes() {
        assert_eq!(judge_story(Budget::default(), &three().refused(1)).is, Is::Pass);
    }

    #[test]
    fn an_attempt_that_left_the_window_counts_no_more() {
        let later = three().at(1_000 + 3_600_000).attempt(1, 3);
        assert_eq!(judge_story(Budget::default(), &later).is, Is::Pass);
        let just_before = three().at(999 + 3_600_000).attempt(1, 4);
        assert_eq!(judge_story(Budget::default(), &just_before).is, Is::Fail);
    }

    #[test]
    fn one_too_many_one_too_few_and_one_behind_an_open_breaker_fail() {
        assert_eq!(judge_story(Budget::default(), &three().attempt(1, 4)).is, Is::Fail);
        let early = Story::running(1).attempt(1, 1).attempt(1, 2).refused(1);
        assert_eq!(judge_story(Budget::default(), &early).is, Is::Fail);
        let behind = three().refused(1).at(5_000).attempt(1, 4);
        assert_eq!(judge_story(Budget::default(), &behind).is, Is::Fail);
        let miscounted = Story::running(1).attempt(1, 2);
        assert_eq!(judge_story(Budget::default(), &miscounted).is, Is::Fail);
    }

    #[test]
    fn half_open_admits_one_probe() {
        let cause = orchestrator::domain::failure::FailureKind::SessionDied;
        let probe = || What::RecoveryStarted { attempt: 4, max_attempts: 3, cause, probe: true };
        let open = || three().refused(1).at(3_700_000).breaker(1, BreakerState::Open, BreakerState::HalfOpen);
        assert_eq!(judge_story(Budget::default(), &open().tell(1, probe())).is, Is::Pass);
        assert_eq!(judge_story(Budget::default(), &open().tell(1, probe()).tell(1, probe())).is, Is::Fail);
    }
}
