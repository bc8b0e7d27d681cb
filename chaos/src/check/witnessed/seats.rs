//! S16: no more projects are at work than there are slots.

use super::slots::Slots;
use crate::check::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};

/// The checker of S16.
#[derive(Debug, Default)]
pub(super) struct Seats {
    slots: Slots,
    tally: Tally,
}

impl Seats {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { slots: Slots::under(policy), ..Self::default() }
    }
}

impl Checker for Seats {
    fn id(&self) -> &'static str {
        "S16"
    }

    fn title(&self) -> &'static str {
        "never more than max_active projects are at work, whoever lets them"
    }

    fn observe(&mut self, entry: &Entry) {
        self.slots.follow(entry);
        let What::ProjectMoved { to, .. } = entry.signal.what else { return };
        let (active, max) = (self.slots.active(), self.slots.policy.max_active as usize);
        self.tally.check(!to.is_active() || active <= max, || {
            format!("seq {}: {active} projects are at work, {max} may be", entry.seq)
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
    use orchestrator::domain::state::ProjectState;

    fn checker() -> Seats {
        Seats::under(Policy { max_active: 1, ..Policy::default() })
    }

    #[test]
    fn one_slot_is_for_one() {
        let one = || Past::new().running();
        let second = |past: Past| past.told(|story| story.also_running(2));
        assert_eq!(second(one().moved(ProjectState::Running, ProjectState::Completed)).is(checker()), Is::Pass);
        assert_eq!(second(one().moved(ProjectState::Running, ProjectState::Suspended)).is(checker()), Is::Pass);
        assert_eq!(second(one()).is(checker()), Is::Fail);
        assert_eq!(second(one().moved(ProjectState::Running, ProjectState::Recovering)).is(checker()), Is::Fail);
        assert_eq!(Past::new().is(checker()), Is::Unknown);
    }
}
