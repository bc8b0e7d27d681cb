//! S4: nothing is called failed while it lives.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::{BTreeMap, BTreeSet};

/// The checker of S4.
#[derive(Debug, Default)]
pub(super) struct Alive {
    /// Projects whose own agent has written that it cannot do the work, as the world knows it: proof enough.
    given_up: BTreeSet<ProjectId>,
    living: BTreeMap<ProjectId, BTreeMap<ProcessId, RoleName>>,
    tally: Tally,
}

impl Checker for Alive {
    fn id(&self) -> &'static str {
        "S4"
    }

    fn title(&self) -> &'static str {
        "no project is failed while an agent of it lives"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.living.entry(incarnation.project).or_default().insert(*process, incarnation.role.clone());
        } else if let Fact::AgentGone { incarnation, process } = &told.fact
            && let Some(living) = self.living.get_mut(&incarnation.project)
        {
            living.remove(process);
        } else if let Fact::GaveUp { incarnation } = &told.fact {
            self.given_up.insert(incarnation.project);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        let What::ProjectMoved { to, .. } = &entry.signal.what else { return };
        let living = self
            .living
            .get(&project)
            .filter(|_| !self.given_up.contains(&project))
            .and_then(|living| living.iter().next());
        self.tally.check(*to != ProjectState::Failed || living.is_none(), || {
            let who = living.map_or_else(String::new, |(process, role)| format!("{role} ({process})"));
            format!("seq {}: project {project} was failed while {who} lived", entry.seq)
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

    #[test]
    fn failed_over_the_dead_passes_and_over_the_living_fails() {
        let fails = |past: Past| past.moved(ProjectState::Running, ProjectState::Failed);
        let born = || Past::new().running().born(1, 1, 7);
        assert_eq!(fails(born().gone(1, 1, 7)).is(Alive::default()), Is::Pass);
        assert_eq!(fails(born()).is(Alive::default()), Is::Fail);
        assert_eq!(fails(born().gave_up(1, 1)).is(Alive::default()), Is::Pass, "its own word is proof enough");
        assert_eq!(fails(Past::new().running().born(2, 1, 8)).is(Alive::default()), Is::Pass, "another's agent");
    }
}
