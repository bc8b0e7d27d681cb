//! L6: at rest, looking once more changes nothing.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// The longest that anything under way takes without a word: one git command and its end.
const QUIET: Span = Span::from_secs(150);
/// How long after healing what was broken may still be put right.
const AFTER: Span = Span::from_secs(120);

/// The checker of L6.
#[derive(Debug, Default)]
pub(super) struct Resting {
    /// The last that happened to, or was told of, a project; of the fleet under none.
    last: BTreeMap<Option<ProjectId>, Timestamp>,
    healed: Option<Timestamp>,
    /// Whether there was ever rest.
    rested: u64,
    tally: Tally,
}

impl Resting {
    fn stirred(&mut self, project: Option<ProjectId>, at: Timestamp) {
        let last = self.last.insert(project, at);
        self.rested += u64::from(last.is_some_and(|last| at.since(last) > QUIET));
    }

    fn rests(&self, project: ProjectId, at: Timestamp) -> bool {
        let quiet = |whose| self.last.get(&whose).is_none_or(|last| at.since(*last) > QUIET);
        self.healed.is_some_and(|healed| at.since(healed) > AFTER) && quiet(Some(project)) && quiet(None)
    }
}

impl Checker for Resting {
    fn id(&self) -> &'static str {
        "L6"
    }

    fn title(&self) -> &'static str {
        "at rest nothing is ordered: sweeps that find everything as it was change nothing"
    }

    fn witness(&mut self, told: &Witnessed) {
        let project = match &told.fact {
            Fact::AgentBorn { incarnation, .. }
            | Fact::AgentGone { incarnation, .. }
            | Fact::Done { incarnation }
            | Fact::GaveUp { incarnation }
            | Fact::Acknowledged { incarnation }
            | Fact::BriefLost { incarnation }
            | Fact::Hangs { incarnation } => Some(incarnation.project),
            Fact::Unfit { project, .. } | Fact::Fit { project, .. } | Fact::ChildGone { project, .. } => Some(*project),
            Fact::Ranked { project, .. } | Fact::Spent { project, .. } => Some(*project),
            Fact::Asked { project, .. } => *project,
            Fact::Healed => {
                self.healed = Some(told.at);
                None
            }
            Fact::Began { .. } | Fact::Scraped { .. } => return,
            Fact::Accepted { .. }
            | Fact::SessionUp { .. }
            | Fact::SessionGone { .. }
            | Fact::ChildBorn { .. }
            | Fact::ServerUp { .. }
            | Fact::ServerGone { .. }
            | Fact::ServerStopped
            | Fact::ServerContinued
            | Fact::Serving { .. }
            | Fact::NotServing { .. }
            | Fact::Second { .. }
            | Fact::Hindered { .. }
            | Fact::Unhindered { .. }
            | Fact::StrangerGone { .. }
            | Fact::StrangerReached { .. }
            | Fact::Rebooted
            | Fact::Injected { .. } => None,
        };
        self.stirred(project, told.at);
    }

    fn observe(&mut self, entry: &Entry) {
        let (seq, at, project) = (entry.seq, entry.at, entry.signal.project_id);
        if let (What::EffectIntended { effect, .. }, Some(id)) = (&entry.signal.what, project) {
            // A line to a silent agent is due by the clock.
            let idle = self.rests(id, at) && !matches!(effect.as_str(), "nudge" | "hand_brief");
            self.tally.check(!idle, || format!("seq {seq}: {effect} is ordered for project {id}, which is at rest"));
            if idle {
                return;
            }
        }
        self.stirred(project, at);
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.held(self.rested);
        self.tally.verdict("there was never rest")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn an_effect_out_of_nothing_fails() {
        let rest = || Past::new().running().at(10).fact(Fact::Healed).at(500);
        let order = |past: Past, effect: &'static str| past.told(|story| story.effect(1, effect));
        assert_eq!(order(rest(), "ensure_files").is(Resting::default()), Is::Fail);
        assert_eq!(order(rest(), "nudge").is(Resting::default()), Is::Pass, "silence is due by the clock");
        assert_eq!(order(rest().gone(1, 1, 7), "respawn").is(Resting::default()), Is::Pass, "for a reason");
        let early = Past::new().running().at(10).fact(Fact::Healed).at(60);
        assert_eq!(order(early, "ensure_files").is(Resting::default()), Is::Pass, "still being put right");
    }
}
