//! S14: nothing of a finished project is left, and nothing at all after the run.

use super::{Checker, Evidence, Tally, Verdict};
use crate::truth::Sample;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use std::collections::BTreeSet;

/// The checker of S14. The last look is taken after a grace, so what it shows had its chance to go.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    ended: BTreeSet<ProjectId>,
    tally: Tally,
}

impl Orphans {
    fn look(&mut self, last: &Sample) {
        match &last.seen.sessions {
            None => self.tally.doubt("tmux did not answer at the end"),
            Some(sessions) => {
                for session in sessions {
                    let orphan = session.project.is_some_and(|project| self.ended.contains(&project));
                    self.tally.check(!orphan, || format!("session {} of a finished project is left", session.name));
                }
            }
        }
        for (incarnation, process) in &last.seen.agents {
            let (role, project) = (&incarnation.role, incarnation.project);
            let orphan = self.ended.contains(&project);
            self.tally.check(!orphan, || format!("process {process} of {role} of finished project {project} is left"));
        }
    }
}

impl Checker for Orphans {
    fn id(&self) -> &'static str {
        "S14"
    }

    fn title(&self) -> &'static str {
        "no session, process or lock is left of a finished project, and nothing of the run"
    }

    fn observe(&mut self, entry: &Entry) {
        if let (Some(project), What::ProjectMoved { to, .. }) = (entry.signal.project_id, &entry.signal.what)
            && to.is_terminal()
        {
            self.ended.insert(project);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        if evidence.truth.aborted {
            self.tally.doubt("the run was cut short: finished projects had no time to be taken down");
        } else if let Some(last) = evidence.truth.samples.last() {
            self.tally.held(self.ended.len() as u64);
            self.look(last);
        } else {
            self.tally.doubt("nothing was looked at");
        }
        for left in evidence.truth.left_by_run.iter().chain(&evidence.truth.locks) {
            self.tally.violate(left.clone());
        }
        self.tally.verdict("no project came to its end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::story::Story;
    use crate::truth::{Claims, Incarnation, Seen, SessionSeen, Truth};
    use orchestrator::domain::id::{Epoch, ProcessId, RoleName, Token};
    use orchestrator::domain::time::Timestamp;
    use std::collections::BTreeMap;

    fn truth(session: Option<i64>, agent: Option<i64>) -> Truth {
        let session = session.map(|project| SessionSeen {
            name: format!("p{project}"),
            token: None,
            project: Some(ProjectId(project)),
            live: false,
            unknown: false,
        });
        let agent = agent.map(|project| Incarnation {
            project: ProjectId(project),
            role: RoleName("developer".to_owned()),
            epoch: Epoch(1),
            token: Token("t".to_owned()),
        });
        let agents: BTreeMap<_, _> = agent.into_iter().map(|agent| (agent, ProcessId { pid: 1, start: 1 })).collect();
        let seen = Seen { sessions: Some(session.into_iter().collect()), agents };
        let sample = Sample { from: Timestamp(1), until: Timestamp(2), seen };
        Truth { samples: vec![sample], ..Truth::default() }
    }

    fn is(truth: &Truth) -> Is {
        judge(Orphans::default(), &Story::running(1).completed(1).also_running(2), truth, &Claims::default()).is
    }

    #[test]
    fn what_belongs_to_a_project_at_work_is_no_orphan() {
        assert_eq!(is(&truth(None, None)), Is::Pass);
        assert_eq!(is(&truth(Some(2), Some(2))), Is::Pass);
    }

    #[test]
    fn a_session_a_process_or_a_remainder_of_the_run_fails() {
        assert_eq!(is(&truth(Some(1), None)), Is::Fail);
        assert_eq!(is(&truth(None, Some(1))), Is::Fail);
        let left = Truth { left_by_run: vec!["process 7".to_owned()], ..truth(None, None) };
        assert_eq!(is(&left), Is::Fail);
    }
}
