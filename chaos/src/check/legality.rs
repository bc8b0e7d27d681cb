//! S2: only legal moves, all of them journaled, so that the journal replayed gives the rows.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, RoleState};
use std::collections::BTreeMap;

/// The checker of S2.
#[derive(Debug, Default)]
pub(super) struct Legality {
    projects: BTreeMap<ProjectId, ProjectState>,
    roles: BTreeMap<(ProjectId, RoleName), RoleState>,
    tally: Tally,
}

impl Legality {
    fn role_moved(&mut self, entry: &Entry, from: RoleState, to: RoleState) {
        let (Some(project), Some(role)) = (entry.signal.project_id, entry.signal.agent_role.clone()) else {
            self.tally.violate(format!("seq {}: a role moved, but whose is not told", entry.seq));
            return;
        };
        let legal = from == to || RoleState::moves().contains(&(from, to));
        self.tally.check(legal, || format!("seq {}: role {role} of {project} moved {from} -> {to}", entry.seq));
        let before = self.roles.insert((project, role.clone()), to).unwrap_or(RoleState::Absent);
        self.tally.check(before == from, || {
            format!("seq {}: role {role} of {project} leaves {from}, but was {before}: a move is missing", entry.seq)
        });
    }
}

impl Checker for Legality {
    fn id(&self) -> &'static str {
        "S2"
    }

    fn title(&self) -> &'static str {
        "every transition is legal and journaled; the journal replayed gives the rows"
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::RoleMoved { from, to } = entry.signal.what {
            self.role_moved(entry, from, to);
        } else if let What::MoveRefused { refused } = &entry.signal.what {
            self.tally.violate(format!("seq {}: a decision wanted an illegal move: {refused}", entry.seq));
        }
        let Some(project) = entry.signal.project_id else { return };
        if matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
            self.projects.insert(project, ProjectState::Queued);
        } else if let What::ProjectMoved { from, to, .. } = entry.signal.what {
            let legal = ProjectState::moves().contains(&(from, to));
            self.tally.check(legal, || format!("seq {}: project {project} moved {from} -> {to}", entry.seq));
            self.projects.insert(project, to);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for row in &evidence.claims.projects {
            let replayed = self.projects.get(&row.id).copied();
            self.tally.check(replayed == Some(row.state), || {
                let replayed = replayed.map_or("nothing", ProjectState::name);
                format!("project {} is {} in its row, {replayed} by its journal", row.id, row.state)
            });
            for (role, state) in &row.roles {
                let replayed = self.roles.get(&(row.id, role.clone())).copied().unwrap_or(RoleState::Absent);
                self.tally.check(replayed == *state, || {
                    format!("role {role} of {} is {state} in its row, {replayed} by its journal", row.id)
                });
            }
        }
        self.tally.verdict("no move was told")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::{judge, judge_story};
    use crate::story::Story;
    use crate::truth::{Claims, ProjectRow, Truth};

    fn claims(state: ProjectState, role: RoleState) -> Claims {
        let roles = BTreeMap::from([(RoleName("developer".to_owned()), role)]);
        let row = ProjectRow { id: ProjectId(1), state, reason: None, roles, worktrees: BTreeMap::new() };
        Claims { projects: vec![row], ..Claims::default() }
    }

    #[test]
    fn a_journal_that_gives_the_rows_passes() {
        let story = Story::running(1).role_moved(1, "developer", RoleState::Absent, RoleState::Starting);
        let claims = claims(ProjectState::Running, RoleState::Starting);
        assert_eq!(judge(Legality::default(), &story, &Truth::default(), &claims).is, Is::Pass);
    }

    #[test]
    fn an_illegal_move_a_hidden_one_and_a_refused_one_fail() {
        let illegal = Story::running(1).moved(1, ProjectState::Running, ProjectState::Queued);
        assert_eq!(judge_story(Legality::default(), &illegal).is, Is::Fail);
        let hidden = Story::running(1).role_moved(1, "developer", RoleState::Ready, RoleState::Done);
        assert_eq!(judge_story(Legality::default(), &hidden).is, Is::Fail);
        let refused = Story::running(1).tell(1, What::MoveRefused { refused: "x".to_owned() });
        assert_eq!(judge_story(Legality::default(), &refused).is, Is::Fail);
    }

    #[test]
    fn a_row_that_the_journal_does_not_give_fails() {
        let claims = claims(ProjectState::Completed, RoleState::Absent);
        assert_eq!(judge(Legality::default(), &Story::running(1), &Truth::default(), &claims).is, Is::Fail);
    }
}
