//! S1: no project is lost, doubled or in two states.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;

/// The checker of S1.
#[derive(Debug, Default)]
pub(super) struct Conservation {
    states: BTreeMap<ProjectId, ProjectState>,
    tally: Tally,
}

impl Checker for Conservation {
    fn id(&self) -> &'static str {
        "S1"
    }

    fn title(&self) -> &'static str {
        "every submitted project is in exactly one state"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
            let before = self.states.insert(project, ProjectState::Queued);
            self.tally.check(before.is_none(), || format!("seq {}: project {project} is enqueued twice", entry.seq));
        } else if let What::ProjectMoved { from, to, .. } = entry.signal.what {
            let before = self.states.insert(project, to);
            self.tally.check(before == Some(from), || {
                let before = before.map_or("nowhere".to_owned(), |state| state.to_string());
                format!("seq {}: project {project} leaves {from}, but was {before}", entry.seq)
            });
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for submitted in &evidence.truth.submitted {
            let id = submitted.id;
            self.tally.check(self.states.contains_key(&id), || format!("project {id} is not in the journal"));
            let rows = evidence.claims.projects.iter().filter(|row| row.id == id).count();
            self.tally.check(rows == 1, || format!("project {id} has {rows} rows"));
        }
        let submitted = evidence.truth.submitted.len();
        let (told, rows) = (self.states.len(), evidence.claims.projects.len());
        self.tally.check(told == submitted && rows == submitted, || {
            format!("{submitted} projects were submitted, {told} are in the journal, {rows} in the database")
        });
        if submitted == 0 {
            self.tally.doubt("no project was submitted");
        }
        self.tally.verdict("nothing was told")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::story::Story;
    use crate::truth::{Claims, ProjectRow, Submitted, Truth};

    fn truth(ids: &[i64]) -> Truth {
        let submitted = ids.iter().map(|id| Submitted { id: ProjectId(*id), roles: Vec::new() }).collect();
        Truth { submitted, ..Truth::default() }
    }

    fn claims(ids: &[i64]) -> Claims {
        let row = |id: &i64| ProjectRow {
            id: ProjectId(*id),
            state: ProjectState::Running,
            reason: None,
            roles: BTreeMap::new(),
            worktrees: BTreeMap::new(),
        };
        Claims { projects: ids.iter().map(row).collect(), ..Claims::default() }
    }

    #[test]
    fn each_in_one_state_passes() {
        let story = Story::running(1).also_running(2);
        assert_eq!(judge(Conservation::default(), &story, &truth(&[1, 2]), &claims(&[1, 2])).is, Is::Pass);
    }

    #[test]
    fn a_lost_a_doubled_and_a_jumping_project_fail() {
        let story = Story::running(1);
        assert_eq!(judge(Conservation::default(), &story, &truth(&[1, 2]), &claims(&[1, 2])).is, Is::Fail);
        assert_eq!(judge(Conservation::default(), &story, &truth(&[1]), &claims(&[])).is, Is::Fail);
        let doubled = Story::running(1).enqueued(1);
        assert_eq!(judge(Conservation::default(), &doubled, &truth(&[1]), &claims(&[1])).is, Is::Fail);
        let jumping = Story::running(1).moved(1, ProjectState::Launching, ProjectState::Briefing);
        assert_eq!(judge(Conservation::default(), &jumping, &truth(&[1]), &claims(&[1])).is, Is::Fail);
    }
}
