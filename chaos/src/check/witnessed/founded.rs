//! D2: nothing is told that is not so.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, LINK, Witnessed};
use orchestrator::domain::id::{Epoch, ProcessId, ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long after it was so something may still be told: what was seen takes its time to be written down.
const LAG: Span = Span::from_secs(20);

/// The checker of D2.
#[derive(Debug, Default)]
pub(super) struct Founded {
    fault_free: bool,
    living: BTreeSet<ProcessId>,
    hung: BTreeSet<ProcessId>,
    agents: BTreeMap<(ProjectId, RoleName), ProcessId>,
    sessions: BTreeSet<String>,
    unfit: BTreeMap<(ProjectId, RoleName), Option<Timestamp>>,
    tmux_trouble: Option<Option<Timestamp>>,
    server_gone: bool,
    /// Since when an orchestrator runs: what it saw before it was stopped it tells when it goes on.
    serving: Timestamp,
    /// Epochs whose agent wrote that it has read its brief.
    acknowledged: BTreeSet<(ProjectId, RoleName, Epoch)>,
    tally: Tally,
}

impl Founded {
    /// Under `fault_free`, every alarm is false.
    pub(super) fn new(fault_free: bool) -> Self {
        Self { fault_free, ..Self::default() }
    }

    /// Whether something was so until not longer ago than what was seen of it may take.
    fn recent(&self, until: Option<Option<Timestamp>>, at: Timestamp) -> bool {
        until.is_some_and(|until| until.is_none_or(|until| at.since(until.max(self.serving)) <= LAG))
    }

    fn of_project(&mut self, entry: &Entry, project: ProjectId) {
        let (seq, at) = (entry.seq, entry.at);
        let whose = entry.signal.agent_role.clone().map(|role| (project, role));
        if let What::AgentDied { process, .. } = &entry.signal.what {
            let lives = self.living.contains(process);
            self.tally.check(!lives, || format!("seq {seq}: {process} of project {project} is called dead, and lives"));
        } else if let What::SessionDied { .. } = entry.signal.what {
            let there = entry.signal.session.as_ref().is_some_and(|name| self.sessions.contains(name));
            self.tally.check(!there, || format!("seq {seq}: the session of project {project} is called dead"));
        } else if let What::ResourceMissing { path, .. } = &entry.signal.what {
            let until = whose.and_then(|whose| self.unfit.get(&whose).copied());
            let recent = self.recent(until, at);
            self.tally.check(recent, || {
                format!("seq {seq}: {path} of project {project} is called missing, and is as it must be")
            });
        } else if let What::BriefAcknowledged = entry.signal.what {
            let said = whose
                .zip(entry.signal.epoch)
                .is_some_and(|((project, role), epoch)| self.acknowledged.contains(&(project, role, epoch)));
            self.tally.check(said, || {
                format!("seq {seq}: a brief of project {project} counts as read, and no agent said so")
            });
        } else if let What::AgentStalled { .. } = entry.signal.what {
            let hung =
                whose.and_then(|whose| self.agents.get(&whose)).is_none_or(|process| self.hung.contains(process));
            self.tally.check(hung, || format!("seq {seq}: an agent of project {project} is called hung, and works"));
        }
    }
}

/// What is said only when something is wrong.
fn is_alarm(what: &What) -> bool {
    matches!(
        what,
        What::AgentDied { expected: false, .. }
            | What::SessionDied { .. }
            | What::ServerDied { .. }
            | What::TmuxLost { .. }
            | What::ResourceMissing { .. }
            | What::SubprocessFailed { .. }
            | What::OperationFailed { .. }
            | What::AgentSilent { .. }
            | What::AgentStalled { .. }
            | What::RecoveryStarted { .. }
            | What::RecoveryRefused { .. }
            | What::BreakerMoved { .. }
            | What::MoveRefused { .. }
    )
}

impl Checker for Founded {
    fn id(&self) -> &'static str {
        "D2"
    }

    fn title(&self) -> &'static str {
        "nothing is told that is not so, and nothing at all where nothing happens"
    }

    fn witness(&mut self, told: &Witnessed) {
        let at = told.at;
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.living.insert(*process);
            self.agents.insert((incarnation.project, incarnation.role.clone()), *process);
        } else if let Fact::AgentGone { process, .. } = told.fact {
            self.living.remove(&process);
            self.hung.remove(&process);
        } else if let Fact::Hangs { incarnation } = &told.fact {
            let whose = (incarnation.project, incarnation.role.clone());
            self.hung.extend(self.agents.get(&whose));
        } else if let Fact::Acknowledged { incarnation } = &told.fact {
            self.acknowledged.insert((incarnation.project, incarnation.role.clone(), incarnation.epoch));
        } else if let Fact::SessionUp { name, ours: true, .. } = &told.fact {
            self.sessions.insert(name.clone());
        } else if let Fact::SessionGone { name, .. } = &told.fact {
            self.sessions.remove(name);
        } else if let Fact::Unfit { project, role, .. } = &told.fact {
            self.unfit.insert((*project, role.clone()), None);
        } else if let Fact::Fit { project, role } = &told.fact {
            if let Some(until) = self.unfit.get_mut(&(*project, role.clone())) {
                until.get_or_insert(at);
            }
        } else if let Fact::Hindered { by: LINK } = told.fact {
            self.tmux_trouble = Some(None);
        } else if let Fact::Serving { .. } | Fact::Unhindered { .. } = told.fact {
            // What was seen while nothing could be written down is told when it can.
            self.serving = at;
            if let Fact::Unhindered { by: LINK } = told.fact {
                self.tmux_trouble = Some(Some(at));
            }
        } else if told.fact == Fact::ServerStopped || matches!(told.fact, Fact::ServerGone { .. }) {
            self.server_gone |= told.fact != Fact::ServerStopped;
            self.tmux_trouble = Some(None);
        } else if (told.fact == Fact::ServerContinued || matches!(told.fact, Fact::ServerUp { .. }))
            && self.tmux_trouble.is_some()
        {
            self.tmux_trouble = Some(Some(at));
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let (seq, what) = (entry.seq, &entry.signal.what);
        if is_alarm(what) {
            let fault_free = self.fault_free;
            self.tally.check(!fault_free, || format!("seq {seq}: an alarm, and nothing was ever wrong: {what:?}"));
        }
        if let What::TmuxLost { .. } = what {
            let trouble = self.recent(self.tmux_trouble, entry.at);
            self.tally.check(trouble, || format!("seq {seq}: tmux is called lost, and was there all the time"));
        } else if let What::ServerDied { .. } = what {
            let gone = self.server_gone;
            self.tally.check(gone, || format!("seq {seq}: the tmux server is called dead, and never died"));
        }
        match entry.signal.project_id {
            Some(project) => self.of_project(entry, project),
            None => self.tally.held(1),
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("nothing was ever told")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;

    fn is(past: &Past) -> Is {
        past.is(Founded::new(false))
    }

    fn born() -> Past {
        Past::new().running().born(1, 1, 7).started(7)
    }

    #[test]
    fn a_death_must_be_one() {
        assert_eq!(is(&born().gone(1, 1, 7).died(7)), Is::Pass);
        assert_eq!(is(&born().died(7)), Is::Fail);
        assert_eq!(born().gone(1, 1, 7).died(7).is(Founded::new(true)), Is::Fail, "nothing was to happen");
    }

    #[test]
    fn a_missing_file_must_be_missing() {
        assert_eq!(is(&born().unfit().missing()), Is::Pass);
        assert_eq!(is(&born().missing()), Is::Fail);
        assert_eq!(is(&born().unfit().fit().at(10).missing()), Is::Pass, "it was so just now");
        assert_eq!(is(&born().unfit().fit().at(60).missing()), Is::Fail, "it is right again since long");
    }

    #[test]
    fn a_dead_session_and_a_lost_tmux_must_be_so() {
        let (detected_by, lag) = (orchestrator::domain::event::Source::Control, Span(0));
        let dead = |past: Past| past.tell(What::SessionDied { detected_by, lag });
        let up = || born().session_up("p1-x-1");
        assert_eq!(is(&dead(up())), Is::Fail);
        assert_eq!(is(&dead(up().fact(Fact::SessionGone { name: "p1-x-1".to_owned(), token: None }))), Is::Pass);
        let lost = |past: Past| past.fleet(What::TmuxLost { reason: "no".to_owned() });
        assert_eq!(is(&lost(born())), Is::Fail);
        assert_eq!(is(&lost(born().fact(Fact::ServerStopped))), Is::Pass);
        let refusing = || born().fact(Fact::Hindered { by: LINK });
        assert_eq!(is(&lost(refusing())), Is::Pass, "it lives, and nobody can reach it");
        let again = || refusing().fact(Fact::Unhindered { by: LINK });
        assert_eq!(is(&lost(again())), Is::Pass);
        assert_eq!(is(&lost(again().at(60))), Is::Fail, "it can be reached since long");
        assert_eq!(is(&lost(born().fact(Fact::Hindered { by: "load" }))), Is::Fail);
    }

    #[test]
    fn a_brief_is_read_by_its_agent() {
        assert_eq!(is(&born().tell(What::BriefAcknowledged)), Is::Fail, "nobody said so");
        let said = |epoch| born().fact(Fact::Acknowledged { incarnation: whose(1, epoch) });
        assert_eq!(is(&said(1).tell(What::BriefAcknowledged)), Is::Pass);
        assert_eq!(is(&said(2).tell(What::BriefAcknowledged)), Is::Fail, "another incarnation's");
    }
}
