//! D1: what happens is noticed in time, while there is somebody who can.
//!
//! Time counts only while an orchestrator runs whose tmux answers and whose store takes writes: nothing can be
//! committed within a bound by a process that is dead. It starts anew with the latest hindrance.
//!
//! A brief that is lost shows by nothing but the acknowledgement that does not come: it is noticed when it is handed
//! over again or the project is taken out of its briefing, and has the time for an acknowledgement beside that of a
//! sweep.

use super::attention::Attention;
use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, LINK, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// G4: 5 s by the sweep; its list, and what it leads to, take their time under load.
const BY_SWEEP: Span = Span(8_000_000);
/// G4: a hung server shows as unknown within 10 s.
const HUNG: Span = Span(10_000_000);

/// The checker of D1.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    attention: Attention,
    known: BTreeMap<ProcessId, ProjectId>,
    deaths: BTreeMap<ProcessId, Timestamp>,
    unfit: BTreeMap<(ProjectId, RoleName), Timestamp>,
    watched: BTreeSet<ProjectId>,
    /// Projects that have ended: their agents are taken down, those as well that come up only then.
    over: BTreeSet<ProjectId>,
    briefing: BTreeSet<ProjectId>,
    /// Since when agents that are being briefed have had no brief, although it was handed over.
    unread: BTreeMap<(ProjectId, RoleName), Timestamp>,
    policy: Policy,
    stopped: Option<Timestamp>,
    /// Whether it has been told, and not taken back, that tmux cannot be asked.
    lost: bool,
    latest: Timestamp,
    tally: Tally,
}

impl Noticed {
    /// Under the policy of the installation.
    pub(super) fn under(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Everything open that should have been noticed by now.
    fn expire(&mut self, at: Timestamp) {
        self.latest = at;
        self.silence(at);
        if !self.attention.is_free() {
            return;
        }
        let late = |since: &Timestamp| self.attention.counted(*since, at) > BY_SWEEP;
        let dead: Vec<ProcessId> = self.deaths.iter().filter(|(_, at)| late(at)).map(|(id, _)| *id).collect();
        for process in dead {
            let since = self.deaths.remove(&process).unwrap_or_default().as_millis();
            let project = self.known.remove(&process).map(|project| project.to_string()).unwrap_or_default();
            let at = at.as_millis();
            self.tally.violate(format!(
                "agent {process} of project {project} died at {since} ms, and nothing told of it until {at} ms"
            ));
        }
        let unfit: Vec<_> = self.unfit.iter().filter(|(_, at)| late(at)).map(|(whose, _)| whose.clone()).collect();
        for whose in unfit {
            let since = self.unfit.remove(&whose).unwrap_or_default().as_millis();
            let (project, role) = whose;
            self.tally.violate(format!(
                "the ground of {role} of project {project} was spoiled at {since} ms, and nothing told of it"
            ));
        }
        self.unasked(at);
    }

    /// Briefs that were lost, and nobody has asked after them.
    fn unasked(&mut self, at: Timestamp) {
        let bound = Span(self.policy.ack_wait().0.saturating_add(BY_SWEEP.0));
        let late = |since: &Timestamp| self.attention.counted(*since, at) > bound;
        let late: Vec<_> = self.unread.iter().filter(|(_, at)| late(at)).map(|(whose, _)| whose.clone()).collect();
        for whose in late {
            let since = self.unread.remove(&whose).unwrap_or_default().as_millis();
            let (project, role) = whose;
            self.tally.violate(format!(
                "the brief of {role} of project {project} was lost at {since} ms, and nobody asked after it"
            ));
        }
    }

    /// An entry of a project in its briefing, as far as it is about briefs.
    fn briefed(&mut self, project: ProjectId, entry: &Entry) {
        let what = &entry.signal.what;
        if let What::ProjectMoved { to, .. } = what {
            if *to == ProjectState::Briefing {
                self.briefing.insert(project);
            } else {
                self.briefing.remove(&project);
                self.unread.retain(|(whose, _), _| *whose != project);
            }
            return;
        }
        // Who asks for a person is not asked; whoever is dead is missed for that.
        let ends = matches!(what, What::BriefAcknowledged | What::AgentDied { .. })
            || matches!(what, What::EffectIntended { effect, .. } if effect == "hand_brief")
            || matches!(what, What::AgentReported { kind, .. } if kind == "needs_input");
        if ends && let Some(role) = entry.signal.agent_role.clone() {
            self.tally.held(u64::from(self.unread.remove(&(project, role)).is_some()));
        }
    }

    /// A server that answers nothing, while somebody asks who can write that down.
    fn silence(&mut self, at: Timestamp) {
        let Some(since) = self.stopped else { return };
        if !self.attention.is_free_but_for(&["tmux", LINK]) {
            return;
        }
        let since = self.attention.counts_from(since);
        let late = at.since(since) > HUNG;
        self.tally
            .check(!late, || format!("tmux answered nothing from {} ms on, and nothing told of it", since.as_millis()));
        if late {
            self.stopped = None;
        }
    }
}

impl Checker for Noticed {
    fn id(&self) -> &'static str {
        "D1"
    }

    fn title(&self) -> &'static str {
        "every death, spoiled resource and hung server is told of in time, every lost brief is asked after"
    }

    fn witness(&mut self, told: &Witnessed) {
        let at = told.at;
        self.expire(at);
        self.attention.witness(&told.fact, at);
        if told.fact == Fact::ServerStopped {
            self.stopped = (!self.lost).then_some(at);
            self.attention.hinder("tmux");
        } else if told.fact == Fact::ServerContinued || matches!(told.fact, Fact::ServerGone { .. }) {
            self.stopped = None;
            self.attention.unhinder("tmux", at);
            self.attention.anew(at);
        } else if told.fact == (Fact::Hindered { by: LINK }) {
            self.stopped = (!self.lost).then_some(at);
        } else if told.fact == (Fact::Unhindered { by: LINK }) {
            self.stopped = None;
        } else if let Fact::AgentGone { process, .. } = told.fact {
            if self.known.contains_key(&process) {
                self.deaths.insert(process, at);
            }
        } else if let Fact::Unfit { project, role, .. } = &told.fact {
            if self.watched.contains(project) {
                self.unfit.entry((*project, role.clone())).or_insert(at);
            }
        } else if let Fact::Fit { project, role } = &told.fact {
            self.unfit.remove(&(*project, role.clone()));
        } else if let Fact::BriefLost { incarnation } = &told.fact {
            if self.briefing.contains(&incarnation.project) {
                self.unread.insert((incarnation.project, incarnation.role.clone()), at);
            }
        } else if let Fact::Acknowledged { incarnation } = &told.fact {
            self.unread.remove(&(incarnation.project, incarnation.role.clone()));
        } else if told.fact == Fact::Rebooted {
            self.stopped = None;
            self.attention.unhinder("tmux", at);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        self.expire(entry.at);
        let what = &entry.signal.what;
        if matches!(what, What::TmuxLost { .. }) {
            self.tally.held(u64::from(self.stopped.take().is_some()));
            self.lost = true;
        } else if matches!(what, What::OrchestratorStarted { .. }) {
            // Who has just started knows nothing of tmux yet, and says so only by its state.
            (self.stopped, self.lost) = (None, true);
        } else if matches!(what, What::TmuxAnswered { .. }) {
            self.lost = false;
        } else if matches!(what, What::OrchestratorAway { .. }) {
            // Nobody looked: every acknowledgement has its whole time again.
            self.unread.values_mut().for_each(|since| *since = entry.at);
        }
        let Some(project) = entry.signal.project_id else { return };
        self.briefed(project, entry);
        if let What::AgentStarted { process } | What::AgentAdopted { process } = what {
            if !self.over.contains(&project) {
                self.known.insert(*process, project);
            }
        } else if let What::AgentDied { process, .. } = what {
            self.known.remove(process);
            self.tally.held(u64::from(self.deaths.remove(process).is_some()));
        } else if let What::ResourceMissing { .. } = what {
            let whose = entry.signal.agent_role.clone().map(|role| (project, role));
            let was = whose.and_then(|whose| self.unfit.remove(&whose));
            self.tally.held(u64::from(was.is_some()));
        } else if let What::ProjectMoved { to, .. } = what {
            if matches!(to, ProjectState::Briefing | ProjectState::Running) {
                self.watched.insert(project);
            } else {
                // Nobody stands on that ground now; it is looked at before anyone does again.
                self.watched.remove(&project);
                self.unfit.retain(|(whose, _), _| *whose != project);
            }
            self.over.remove(&project);
            if to.is_terminal() {
                self.over.insert(project);
                self.deaths.retain(|process, _| self.known.get(process) != Some(&project));
                self.known.retain(|_, whose| *whose != project);
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
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;
    use orchestrator::domain::id::EffectId;

    fn dead() -> Past {
        Past::new().running().born(1, 1, 7).started(7).at(100).gone(1, 1, 7)
    }

    #[test]
    fn a_death_told_in_time_passes_and_late_or_never_fails() {
        assert_eq!(dead().at(105).died(7).is(Noticed::default()), Is::Pass);
        assert_eq!(dead().at(109).died(7).is(Noticed::default()), Is::Fail);
        assert_eq!(dead().at(200).is(Noticed::default()), Is::Fail);
        assert_eq!(dead().at(105).is(Noticed::default()), Is::Pass, "its time is not over");
    }

    #[test]
    fn whoever_comes_up_once_the_project_is_over_is_taken_down_and_not_mourned() {
        let failed =
            || Past::new().running().moved(ProjectState::Running, ProjectState::Failed).born(1, 1, 7).started(7);
        let retried = |past: Past| past.moved(ProjectState::Failed, ProjectState::Queued).at(100).gone(1, 1, 7);
        assert_eq!(retried(failed()).at(200).is(Noticed::default()), Is::Pass);
        let again = retried(failed()).moved(ProjectState::Queued, ProjectState::Provisioning).at(210);
        let again = again.born(1, 2, 8).started(8).at(220).gone(1, 2, 8);
        assert_eq!(again.at(300).is(Noticed::default()), Is::Fail, "it is not over any more");
    }

    #[test]
    fn time_in_which_nobody_can_notice_does_not_count() {
        let away = || dead().fact(Fact::NotServing { life: 0 }).at(500).fact(Fact::Serving { life: 1 });
        assert_eq!(away().at(507).died(7).is(Noticed::default()), Is::Pass);
        assert_eq!(away().at(520).died(7).is(Noticed::default()), Is::Fail);
    }

    #[test]
    fn spoiled_ground_is_told_of_unless_nobody_stands_on_it() {
        let spoiled = || Past::new().running().at(50).unfit();
        assert_eq!(spoiled().at(52).missing().is(Noticed::default()), Is::Pass);
        assert_eq!(spoiled().at(70).is(Noticed::default()), Is::Fail);
        let masked = Past::new().running().moved(ProjectState::Running, ProjectState::Recovering).at(50).unfit();
        assert_eq!(masked.at(70).is(Noticed::default()), Is::Pass, "D4: masked, not missed");
    }

    fn lost() -> Past {
        let past = Past::new().moved(ProjectState::Launching, ProjectState::Briefing).at(50);
        past.fact(Fact::BriefLost { incarnation: whose(1, 1) })
    }

    #[test]
    fn a_lost_brief_is_asked_after() {
        let again = || What::EffectIntended { effect_id: EffectId(9), effect: "hand_brief".to_owned() };
        let is = |past: Past| past.at(200).is(Noticed::default());
        assert_eq!(is(lost().at(80).tell(again())), Is::Pass);
        assert_eq!(is(lost().at(89).tell(again())), Is::Fail, "too late");
        assert_eq!(is(lost()), Is::Fail, "never");
        let other = What::EffectIntended { effect_id: EffectId(9), effect: "nudge".to_owned() };
        assert_eq!(is(lost().at(80).tell(other)), Is::Fail, "that is no brief");
        assert_eq!(is(lost().at(80).tell(again()).fact(Fact::BriefLost { incarnation: whose(1, 1) })), Is::Fail);
        let given_up = lost().at(80).moved(ProjectState::Briefing, ProjectState::Recovering);
        assert_eq!(is(given_up), Is::Pass, "nobody is briefed any more");
        assert_eq!(is(lost().at(80).tell(What::BriefAcknowledged)), Is::Pass, "an earlier one had come");
        let patient = Noticed::under(Policy { ack_s: 300, ..Policy::default() });
        assert_eq!(lost().at(200).is(patient), Is::Pass, "as the installation has it");
    }

    #[test]
    fn time_in_which_nobody_looked_is_not_held_against_an_acknowledgement() {
        let away = || lost().at(70).fleet(What::OrchestratorAway { away: Span::from_secs(20) });
        assert_eq!(away().at(100).is(Noticed::default()), Is::Pass);
        assert_eq!(away().at(109).is(Noticed::default()), Is::Fail);
    }

    #[test]
    fn a_hung_server_is_told_of() {
        let hung = || Past::new().at(50).fact(Fact::ServerStopped);
        let later = |past: Past| past.at(61).fact(Fact::ServerContinued);
        assert_eq!(later(hung()).is(Noticed::default()), Is::Fail);
        let lost = |past: Past| past.at(59).fleet(What::TmuxLost { reason: "silent".to_owned() });
        assert_eq!(later(lost(hung())).is(Noticed::default()), Is::Pass);
        let broken = || Past::new().at(50).fact(Fact::Hindered { by: LINK });
        let again = |past: Past| past.at(61).fact(Fact::Unhindered { by: LINK });
        assert_eq!(again(broken()).is(Noticed::default()), Is::Fail);
        assert_eq!(again(lost(broken())).is(Noticed::default()), Is::Pass);
        assert_eq!(broken().at(58).fact(Fact::Unhindered { by: LINK }).at(90).is(Noticed::default()), Is::Pass);
    }
}
