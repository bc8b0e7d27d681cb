//! L1 and L2: once the world is healed, everything comes to its end, or it can be said why not.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::truth::Incarnation;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// T: how long a healed project may take until it works again or is over.
const WITHIN: Span = Span::from_secs(420);

#[derive(Debug, Default)]
struct Followed {
    state: Option<ProjectState>,
    reason: Option<SuspendReason>,
    since: Timestamp,
    last: &'static str,
    agents: BTreeMap<RoleName, (ProcessId, Incarnation, Doing)>,
    roles: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Works,
    Hangs,
    Done,
}

/// The checker of L1 and L2.
#[derive(Debug, Default)]
pub(super) struct Settled {
    projects: BTreeMap<ProjectId, Followed>,
    healed: Option<Timestamp>,
    tally: Tally,
}

/// Why it is right that a project is where it is; none if it is not right.
fn explanation(followed: &Followed, ended: Timestamp, healed: Timestamp) -> Option<&'static str> {
    let doing = |what: Doing| followed.agents.values().filter(|(_, _, is)| *is == what).count();
    let young = ended.since(followed.since.max(healed)) <= WITHIN;
    match followed.state? {
        ProjectState::Completed | ProjectState::Failed | ProjectState::Cancelled => Some("it is over"),
        ProjectState::Suspended => match followed.reason? {
            SuspendReason::Breaker => Some("its breaker is open"),
            SuspendReason::Credit | SuspendReason::Operator => Some("it rests as it was told to"),
            SuspendReason::NeedsOperator => None,
        },
        ProjectState::Running if doing(Doing::Hangs) > 0 => Some("an agent hangs, which takes its time to be judged"),
        ProjectState::Running if doing(Doing::Works) > 0 && followed.agents.len() == followed.roles => {
            Some("its agents work")
        }
        ProjectState::Queued
        | ProjectState::Provisioning
        | ProjectState::Launching
        | ProjectState::Briefing
        | ProjectState::Running
        | ProjectState::Recovering => young.then_some("it is on its way"),
    }
}

impl Checker for Settled {
    fn id(&self) -> &'static str {
        "L1"
    }

    fn title(&self) -> &'static str {
        "once the world is healed everything comes to its end, or it can be said why not"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Accepted { project, roles } = &told.fact {
            let followed = self.projects.entry(*project).or_default();
            followed.roles = roles.len();
            followed.state.get_or_insert(ProjectState::Queued);
        } else if told.fact == Fact::Healed {
            self.healed = Some(told.at);
        } else if let Fact::AgentBorn { incarnation, process } = &told.fact {
            let followed = self.projects.entry(incarnation.project).or_default();
            followed.agents.insert(incarnation.role.clone(), (*process, incarnation.clone(), Doing::Works));
        } else if let Fact::AgentGone { incarnation, process } = &told.fact {
            let followed = self.projects.entry(incarnation.project).or_default();
            if followed
                .agents
                .get(&incarnation.role)
                .is_some_and(|(id, _, doing)| id == process && *doing != Doing::Done)
            {
                followed.agents.remove(&incarnation.role);
            }
        } else if let Fact::Hangs { incarnation } | Fact::Done { incarnation } = &told.fact {
            let doing = if matches!(told.fact, Fact::Done { .. }) { Doing::Done } else { Doing::Hangs };
            let followed = self.projects.entry(incarnation.project).or_default();
            if let Some((_, of, is)) = followed.agents.get_mut(&incarnation.role)
                && of == incarnation
            {
                *is = doing;
            }
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        let followed = self.projects.entry(project).or_default();
        followed.last = orchestrator::telemetry::text::name(&entry.signal.what);
        if let What::ProjectMoved { to, reason, .. } = entry.signal.what {
            (followed.state, followed.reason, followed.since) = (Some(to), reason, entry.at);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let ended = evidence.truth.ended_at;
        let Some(healed) = self.healed else {
            self.tally.doubt("the world was never healed");
            return self.tally.verdict("the world was never healed");
        };
        for (project, followed) in &self.projects {
            let right = explanation(followed, ended, healed).is_some();
            self.tally.check(right, || {
                let state = followed.state.map_or("nowhere", ProjectState::name);
                let (since, last) = (followed.since.as_millis(), followed.last);
                format!("project {project} is stuck: {state} since {since} ms, its last entry is {last}")
            });
        }
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;

    fn is(past: &Past) -> Is {
        past.is(Settled::default())
    }

    #[test]
    fn what_is_over_or_works_passes_and_what_is_stuck_fails() {
        let healed = || Past::new().running().fact(Fact::Healed);
        assert_eq!(is(&healed().born(1, 1, 7).at(900)), Is::Pass, "its agent works");
        assert_eq!(is(&healed().at(900)), Is::Fail, "it has no agent");
        assert_eq!(is(&healed().at(300)), Is::Pass, "it has its time");
        assert_eq!(is(&healed().told(|story| story.completed(1)).at(900)), Is::Pass);
        let done = healed().born(1, 1, 7).fact(Fact::Done { incarnation: whose(1, 1) });
        assert_eq!(is(&done.at(900)), Is::Fail, "its agent is done, and nobody takes note");
        assert_eq!(is(&Past::new().running()), Is::Unknown, "never healed");
    }

    #[test]
    fn an_open_breaker_explains_and_a_lost_operator_does_not() {
        let healed = || Past::new().running().fact(Fact::Healed);
        assert_eq!(is(&healed().told(|story| story.refused(1)).at(900)), Is::Pass);
        let waits = What::ProjectMoved {
            from: ProjectState::Running,
            to: ProjectState::Suspended,
            cause: None,
            reason: Some(SuspendReason::NeedsOperator),
            after: Span(0),
        };
        assert_eq!(is(&healed().tell(waits).at(900)), Is::Fail);
    }
}
