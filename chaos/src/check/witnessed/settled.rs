//! L1 and L2: once the world is healed, everything comes to its end, or it can be said why not.

use super::slots::Slots;
use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::truth::Incarnation;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
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
    /// Whether its breaker is open: whatever it came to rest for, it waits for its probe.
    contained: bool,
    last: &'static str,
    /// For how long an agent wrote at the most that it has no credit.
    wait: Option<Span>,
    /// Until when the project may rest for that: the time runs from when the word is read.
    spent: Option<Timestamp>,
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
    slots: Slots,
    tally: Tally,
}

impl Settled {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { slots: Slots::under(policy), ..Self::default() }
    }

    /// Why it is right that a project is where it is; none if it is not right.
    fn explanation(&self, id: ProjectId, ended: Timestamp, healed: Timestamp) -> Option<&'static str> {
        let followed = self.projects.get(&id)?;
        let doing = |what: Doing| followed.agents.values().filter(|(_, _, is)| *is == what).count();
        let young = |since: Timestamp| ended.since(followed.since.max(healed).max(since)) <= WITHIN;
        let waits = self.slots.is_full().then_some("every slot is taken");
        let awaits = || waits.or_else(|| young(self.slots.free_since()).then_some("it is about to go on"));
        match followed.state? {
            ProjectState::Completed | ProjectState::Failed | ProjectState::Cancelled => Some("it is over"),
            ProjectState::Suspended if self.slots.awaiting().contains(&id) => awaits(),
            ProjectState::Suspended if followed.contained => Some("its breaker is open"),
            ProjectState::Suspended => match followed.reason? {
                SuspendReason::Breaker => Some("its breaker is open"),
                SuspendReason::Operator => Some("it rests as it was told to"),
                SuspendReason::Credit => {
                    let rests = followed.spent.filter(|until| young(*until)).map(|_| "it rests until there is credit");
                    rests.or_else(|| if self.slots.may_await(id) { awaits() } else { None })
                }
                SuspendReason::NeedsOperator => None,
            },
            ProjectState::Queued => {
                let stopped =
                    self.slots.is_stopped(ended).then_some("too many breakers are open for the queue to go on");
                let soon = || young(self.slots.free_since()).then_some("it is on its way");
                waits.or(stopped).or_else(soon)
            }
            ProjectState::Running if doing(Doing::Hangs) > 0 => {
                Some("an agent hangs, which takes its time to be judged")
            }
            ProjectState::Running if doing(Doing::Works) > 0 && followed.agents.len() == followed.roles => {
                Some("its agents work")
            }
            ProjectState::Provisioning
            | ProjectState::Launching
            | ProjectState::Briefing
            | ProjectState::Running
            | ProjectState::Recovering => young(Timestamp(0)).then_some("it is on its way"),
        }
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
        } else if let Fact::Spent { project, wait } = told.fact {
            let followed = self.projects.entry(project).or_default();
            followed.wait = followed.wait.max(Some(wait));
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
        self.slots.follow(entry);
        let Some(project) = entry.signal.project_id else { return };
        let followed = self.projects.entry(project).or_default();
        followed.last = orchestrator::telemetry::text::name(&entry.signal.what);
        if let What::BreakerMoved { to, .. } = entry.signal.what {
            followed.contained = to == BreakerState::Open;
        }
        if let What::AgentReported { kind, .. } = &entry.signal.what
            && kind == "credit"
        {
            followed.spent = followed.wait.map(|wait| entry.at + wait);
        }
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
            let right = self.explanation(*project, ended, healed).is_some();
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
    fn a_rest_for_credit_has_an_end_and_a_queue_its_turns() {
        let written = |seconds: u64| {
            let past = Past::new().running().fact(Fact::Healed);
            past.fact(Fact::Spent { project: ProjectId(1), wait: Span::from_secs(seconds) })
        };
        let read = |past: Past| {
            past.tell(What::AgentReported { kind: "credit".to_owned(), text: None }).tell(What::ProjectMoved {
                from: ProjectState::Running,
                to: ProjectState::Suspended,
                cause: None,
                reason: Some(SuspendReason::Credit),
                after: Span(0),
            })
        };
        assert_eq!(is(&read(written(800)).at(900)), Is::Pass);
        assert_eq!(is(&read(written(100)).at(900)), Is::Fail, "there is credit since long");
        assert_eq!(is(&read(written(600).at(800)).at(1_500)), Is::Pass, "its time runs from when it was read");
        let second = || Fact::Accepted { project: ProjectId(2), roles: vec![RoleName("role-0".to_owned())] };
        let works = || Past::new().running().born(1, 1, 7).fact(Fact::Healed);
        let queued = || works().fact(second()).told(|story| story.enqueued(2));
        let one = || Settled::under(Policy { max_active: 1, ..Policy::default() });
        assert_eq!(queued().at(900).is(one()), Is::Pass, "the slot is taken");
        assert_eq!(queued().at(900).is(Settled::default()), Is::Fail, "there are others");
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
