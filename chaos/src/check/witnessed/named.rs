//! D3: what is told names the right project, role and process, and each death is told of once.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::truth::Incarnation;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use std::collections::{BTreeMap, BTreeSet};

/// The checker of D3.
#[derive(Debug, Default)]
pub(super) struct Named {
    agents: BTreeMap<ProcessId, Incarnation>,
    told: BTreeSet<ProcessId>,
    tally: Tally,
}

impl Named {
    fn names(&mut self, entry: &Entry, process: ProcessId) {
        let (project, role) = (entry.signal.project_id, entry.signal.agent_role.as_ref());
        let is = self.agents.get(&process);
        let right = is.is_some_and(|is| Some(is.project) == project && Some(&is.role) == role);
        self.tally.check(right, || {
            let said = role.map_or("nobody", |RoleName(role)| role);
            let is = is.map_or("nobody's".to_owned(), |is| format!("{}'s of project {}", is.role, is.project));
            let project = project.map(|project| project.to_string()).unwrap_or_default();
            format!("seq {}: {process} is called {said}'s of project {project}, and is {is}", entry.seq)
        });
    }
}

impl Checker for Named {
    fn id(&self) -> &'static str {
        "D3"
    }

    fn title(&self) -> &'static str {
        "what is told of an agent names its project and role, and each death is told of once"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            self.agents.insert(*process, incarnation.clone());
            // After a reboot the same number may come at the same tick: another boot, another process.
            self.told.remove(process);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::AgentStarted { process } | What::AgentAdopted { process } = entry.signal.what {
            self.names(entry, process);
        } else if let What::AgentDied { process, .. } = entry.signal.what {
            self.names(entry, process);
            let once = self.told.insert(process);
            self.tally.check(once, || format!("seq {}: the death of {process} is told of once more", entry.seq));
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn the_right_name_once_passes_and_another_or_twice_fails() {
        let born = || Past::new().born(1, 1, 7).born(2, 1, 8).started(7).gone(1, 1, 7);
        assert_eq!(born().died(7).is(Named::default()), Is::Pass);
        assert_eq!(born().died(8).is(Named::default()), Is::Fail, "the other project's");
        assert_eq!(born().died(9).is(Named::default()), Is::Fail, "nobody's");
        assert_eq!(born().died(7).died(7).is(Named::default()), Is::Fail, "twice");
    }
}
