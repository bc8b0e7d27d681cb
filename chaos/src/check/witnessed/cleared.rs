//! S14: what is over leaves nothing behind.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long after its end, and after the world was healed, something of a project may still be there.
const GRACE: Span = Span::from_secs(60);

/// The checker of S14.
#[derive(Debug, Default)]
pub(super) struct Cleared {
    processes: BTreeMap<ProjectId, BTreeSet<ProcessId>>,
    sessions: BTreeMap<String, Option<ProjectId>>,
    named: BTreeMap<String, ProjectId>,
    over: BTreeMap<ProjectId, Timestamp>,
    healed: Option<Timestamp>,
    tally: Tally,
}

impl Checker for Cleared {
    fn id(&self) -> &'static str {
        "S14"
    }

    fn title(&self) -> &'static str {
        "no session and no process of a project is left once it is over"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.processes.entry(incarnation.project).or_default().insert(*process);
        } else if let Fact::AgentGone { incarnation, process } = &told.fact {
            self.processes.entry(incarnation.project).or_default().remove(process);
        } else if let Fact::ChildBorn { project, process, .. } = &told.fact {
            self.processes.entry(*project).or_default().insert(*process);
        } else if let Fact::ChildGone { project, process } = &told.fact {
            self.processes.entry(*project).or_default().remove(process);
        } else if let Fact::SessionUp { name, ours: true, .. } = &told.fact {
            self.sessions.insert(name.clone(), self.named.get(name).copied());
        } else if let Fact::SessionGone { name, .. } = &told.fact {
            self.sessions.remove(name);
        } else if told.fact == Fact::Healed {
            self.healed = Some(told.at);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if let (What::EffectIntended { .. }, Some(name)) = (&entry.signal.what, &entry.signal.session) {
            self.named.insert(name.clone(), project);
        }
        if let What::ProjectMoved { to, .. } = entry.signal.what {
            if to.is_terminal() {
                self.over.insert(project, entry.at);
            } else {
                self.over.remove(&project);
            }
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let ended = evidence.truth.ended_at;
        for (project, at) in &self.over {
            let since = self.healed.map_or(*at, |healed| healed.max(*at));
            if ended.since(since) <= GRACE {
                continue;
            }
            let left = self.processes.get(project).and_then(|left| left.iter().next());
            self.tally.check(left.is_none(), || {
                let left = left.map(ToString::to_string).unwrap_or_default();
                format!("project {project} is over since {} ms, and its process {left} lives", at.as_millis())
            });
            let session = self.sessions.iter().find(|(_, whose)| **whose == Some(*project));
            self.tally.check(session.is_none(), || {
                let name = session.map_or("", |(name, _)| name);
                format!("project {project} is over since {} ms, and its session {name} is there", at.as_millis())
            });
        }
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;
    use orchestrator::domain::state::ProjectState;

    fn over() -> Past {
        let up = Past::new().running().session_up("p1-x-1").born(1, 1, 7).fact(Fact::Healed);
        up.at(10).moved(ProjectState::Running, ProjectState::Completed)
    }

    #[test]
    fn nothing_left_passes_and_a_process_or_a_session_left_fails() {
        let gone = |past: Past| past.fact(Fact::SessionGone { name: "p1-x-1".to_owned(), token: None });
        let cleared = || gone(over().at(20).gone(1, 1, 7));
        assert_eq!(cleared().at(100).is(Cleared::default()), Is::Pass);
        assert_eq!(gone(over()).at(100).is(Cleared::default()), Is::Fail, "the agent lives");
        assert_eq!(over().gone(1, 1, 7).at(100).is(Cleared::default()), Is::Fail, "the session is there");
        assert_eq!(over().at(60).is(Cleared::default()), Is::Pass, "it has its time");
        let (token, role) = (whose(1, 1).token, whose(1, 1).role);
        let child = Fact::ChildBorn { token, project: ProjectId(1), role, process: super::super::past::process(9) };
        assert_eq!(cleared().fact(child).at(100).is(Cleared::default()), Is::Fail, "a child lives");
    }
}
