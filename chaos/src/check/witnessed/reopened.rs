//! L4: a breaker that is open half-opens when its time has come, whatever was restarted meanwhile.

use super::attention::Attention;
use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// How much later than its time: a start, a list of tmux, and the sweep in between.
const GRACE: Span = Span::from_secs(60);

/// The checker of L4.
#[derive(Debug, Default)]
pub(super) struct Reopened {
    policy: Policy,
    open: BTreeMap<ProjectId, Timestamp>,
    attention: Attention,
    tally: Tally,
}

impl Reopened {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    fn expire(&mut self, at: Timestamp) {
        if !self.attention.is_free() {
            return;
        }
        let window = self.policy.breaker_window();
        let late = |since: Timestamp| self.attention.counted(since + window, at) > GRACE;
        let late: Vec<_> = self.open.iter().filter(|(_, since)| late(**since)).map(|(id, at)| (*id, *at)).collect();
        for (project, since) in late {
            self.open.remove(&project);
            let since = since.as_millis();
            self.tally.violate(format!("the breaker of project {project} opened at {since} ms and never half-opened"));
        }
    }
}

impl Checker for Reopened {
    fn id(&self) -> &'static str {
        "L4"
    }

    fn title(&self) -> &'static str {
        "every open breaker half-opens when its time has come"
    }

    fn witness(&mut self, told: &Witnessed) {
        let at = told.at;
        self.expire(at);
        self.attention.witness(&told.fact, at);
        if told.fact == Fact::ServerStopped || matches!(told.fact, Fact::ServerGone { .. }) {
            self.attention.hinder("tmux");
        } else if told.fact == Fact::ServerContinued || matches!(told.fact, Fact::ServerUp { .. }) {
            self.attention.unhinder("tmux", at);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        self.expire(entry.at);
        let Some(project) = entry.signal.project_id else { return };
        if let What::BreakerMoved { to: BreakerState::Open, .. } = entry.signal.what {
            self.open.insert(project, entry.at);
        } else if let What::BreakerMoved { .. } | What::SlotAwaited { .. } = entry.signal.what {
            self.tally.held(u64::from(self.open.remove(&project).is_some()));
        } else if let What::ProjectMoved { to, reason, .. } = entry.signal.what {
            // Ended, or at rest for another reason: it is not the breaker that it waits for.
            let rests =
                to == ProjectState::Suspended && reason != Some(orchestrator::domain::state::SuspendReason::Breaker);
            if to.is_terminal() || rests {
                self.open.remove(&project);
            }
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        self.expire(evidence.truth.ended_at);
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    fn opened() -> Past {
        Past::new().at(10).told(|story| story.refused(1))
    }

    fn half_opens(past: Past) -> Past {
        past.told(|story| story.breaker(1, BreakerState::Open, BreakerState::HalfOpen))
    }

    #[test]
    fn on_time_passes_and_never_fails() {
        assert_eq!(half_opens(opened().at(3_612)).at(9_000).is(Reopened::default()), Is::Pass);
        assert_eq!(opened().at(3_000).is(Reopened::default()), Is::Pass, "its time has not come");
        assert_eq!(opened().at(3_700).is(Reopened::default()), Is::Fail);
        assert_eq!(half_opens(opened().at(5_000)).is(Reopened::default()), Is::Fail, "much too late");
    }

    #[test]
    fn time_in_which_nobody_serves_does_not_count() {
        let away = || opened().at(100).fact(Fact::NotServing { life: 0 }).at(5_000).fact(Fact::Serving { life: 1 });
        assert_eq!(half_opens(away().at(5_010)).is(Reopened::default()), Is::Pass);
        assert_eq!(away().at(5_100).is(Reopened::default()), Is::Fail);
    }
}
