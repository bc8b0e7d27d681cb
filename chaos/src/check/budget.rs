//! S7: recovery is bounded.
//!
//! # What an operator may change
//! A reset of the breaker, and the retry of a project that has ended, give the whole budget back: the window begins
//! anew with the entry that tells of the request ([`What::OperatorAsked`]), and with nothing less. So between any two
//! such entries no window holds more than the budget, and whoever counts more attempts in a window finds the operator's
//! name between them. A resume lets the one probe of an open breaker through before its time; it gives no budget.
//! A request that was refused gives nothing.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeMap;

/// What is followed of one project.
#[derive(Debug, Default)]
struct Followed {
    attempts: Vec<Timestamp>,
    breaker: BreakerState,
    probes: u32,
    /// When its breaker opened, while it is open.
    opened: Option<Timestamp>,
    /// Whether an operator let its probe through before its time.
    resumed: bool,
    /// Whether an operator has given it its whole budget back, until its breaker has closed.
    reset: bool,
}

/// The checker of S7.
#[derive(Debug, Default)]
pub(super) struct Budget {
    policy: Policy,
    projects: BTreeMap<ProjectId, Followed>,
    tally: Tally,
}

impl Budget {
    /// Under a policy other than the one that every installation starts with.
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    fn started(&mut self, project: ProjectId, entry: &Entry, attempt: u32, probe: bool) {
        let policy = self.policy.clone();
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
        let policy = self.policy.clone();
        let followed = self.projects.entry(project).or_default();
        let window = policy.breaker_window();
        let counted = followed.attempts.iter().filter(|made| entry.at.since(**made) < window).count();
        let wrong = match (followed.breaker, to) {
            // More than the budget are there only where a probe was let through before its time and closed it: none
            // beyond it was begun while it was closed, which is looked at there.
            (BreakerState::Closed, BreakerState::Open) if counted < policy.breaker_max as usize => {
                Some(format!("opened after {counted} recoveries"))
            }
            (BreakerState::Open, BreakerState::HalfOpen) => {
                let due = followed.resumed || followed.opened.is_none_or(|opened| entry.at.since(opened) >= window);
                (!due).then(|| "half-opened before its time, and no operator had asked".to_owned())
            }
            (BreakerState::Open, BreakerState::Closed) if !followed.reset => {
                Some("closed without a probe, and no operator had asked".to_owned())
            }
            (BreakerState::HalfOpen, BreakerState::Closed) if followed.probes == 0 && !followed.reset => {
                Some("closed before its probe had begun".to_owned())
            }
            _ => None,
        };
        followed.opened = (to == BreakerState::Open).then_some(entry.at);
        (followed.breaker, followed.probes, followed.resumed, followed.reset) = (to, 0, false, false);
        self.tally.check(wrong.is_none(), || {
            format!("seq {}: the breaker of project {project} {}", entry.seq, wrong.unwrap_or_default())
        });
    }

    fn asked(&mut self, project: ProjectId, kind: RequestKind) {
        let followed = self.projects.entry(project).or_default();
        match kind {
            RequestKind::BreakerReset | RequestKind::Retry => {
                followed.attempts.clear();
                followed.reset = followed.breaker != BreakerState::Closed;
            }
            RequestKind::Resume => followed.resumed = followed.breaker == BreakerState::Open,
            RequestKind::Cancel | RequestKind::Suspend => {}
        }
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
        } else if let What::OperatorAsked { kind, .. } = entry.signal.what {
            self.asked(project, kind);
        } else if matches!(entry.signal.what, What::RecoveryRefused { .. }) {
            let policy = self.policy.clone();
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

    #[test]
    fn a_probe_let_through_early_leaves_a_budget_that_is_spent() {
        let cause = orchestrator::domain::failure::FailureKind::SessionDied;
        let probe = What::RecoveryStarted { attempt: 4, max_attempts: 3, cause, probe: true };
        let (open, half, closed) = (BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed);
        let resumed = three().refused(1).at(5_000).asked(1, RequestKind::Resume).breaker(1, open, half);
        let again = resumed.tell(1, probe).breaker(1, half, closed).at(6_000);
        assert_eq!(judge_story(Budget::default(), &again.refused(1)).is, Is::Pass);
    }

    fn is(story: &Story) -> Is {
        judge_story(Budget::default(), story).is
    }

    #[test]
    fn a_reset_gives_the_budget_back_and_must_be_told() {
        let reset = || three().at(4_000).asked(1, RequestKind::BreakerReset);
        assert_eq!(is(&reset().attempt(1, 1).attempt(1, 2).attempt(1, 3)), Is::Pass);
        assert_eq!(
            is(&reset().attempt(1, 1).attempt(1, 2).attempt(1, 3).attempt(1, 4)),
            Is::Fail,
            "the budget, not more"
        );
        assert_eq!(is(&three().at(4_000).attempt(1, 1)), Is::Fail, "nobody asked");
        assert_eq!(is(&reset().attempt(1, 4)), Is::Fail, "the count begins anew too");
        assert_eq!(is(&three().asked(2, RequestKind::BreakerReset).attempt(1, 1)), Is::Fail, "of another project");
        let refused = What::RequestRefused { request: 1, kind: RequestKind::BreakerReset, reason: "no".to_owned() };
        assert_eq!(is(&three().tell(1, refused).attempt(1, 1)), Is::Fail, "it was refused");
        assert_eq!(is(&reset().refused(1)), Is::Fail, "refused with the whole budget left");
    }

    #[test]
    fn an_open_breaker_closes_by_a_probe_or_by_an_operator() {
        let (open, closed) = (BreakerState::Open, BreakerState::Closed);
        let contained = || three().refused(1).at(5_000);
        let reset = || contained().asked(1, RequestKind::BreakerReset).breaker(1, open, closed);
        assert_eq!(is(&reset().attempt(1, 1)), Is::Pass);
        assert_eq!(is(&contained().breaker(1, open, closed)), Is::Fail, "nobody asked");
        assert_eq!(is(&contained().asked(1, RequestKind::Resume).breaker(1, open, closed)), Is::Fail);
        assert_eq!(is(&contained().asked(1, RequestKind::BreakerReset).attempt(1, 1)), Is::Fail, "it is open still");
        let retried = contained().asked(1, RequestKind::Retry).breaker(1, open, closed);
        assert_eq!(is(&retried.attempt(1, 1).attempt(1, 2)), Is::Pass, "a retry begins clean");
    }

    #[test]
    fn a_resume_lets_the_probe_through_early_and_gives_no_budget() {
        let cause = orchestrator::domain::failure::FailureKind::SessionDied;
        let probe = || What::RecoveryStarted { attempt: 1, max_attempts: 3, cause, probe: true };
        let (open, half) = (BreakerState::Open, BreakerState::HalfOpen);
        let contained = || three().refused(1).at(5_000);
        let resumed = || contained().asked(1, RequestKind::Resume).breaker(1, open, half).tell(1, probe());
        assert_eq!(is(&resumed()), Is::Pass);
        assert_eq!(is(&contained().breaker(1, open, half).tell(1, probe())), Is::Fail, "before its time");
        let closed = || resumed().breaker(1, half, BreakerState::Closed);
        assert_eq!(is(&closed()), Is::Pass);
        assert_eq!(is(&closed().attempt(1, 5)), Is::Fail, "the window still holds four");
        let unprobed = contained().asked(1, RequestKind::Resume).breaker(1, open, half);
        assert_eq!(is(&unprobed.breaker(1, half, BreakerState::Closed)), Is::Fail, "nothing was probed");
    }
}
