//! S6: one live incarnation of a role, and one orchestrator that writes.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::signal::Entry;
use std::collections::BTreeMap;

/// The checker of S6.
#[derive(Debug, Default)]
pub(super) struct Unique {
    agents: BTreeMap<(ProjectId, RoleName), BTreeMap<ProcessId, Token>>,
    children: BTreeMap<ProcessId, ((ProjectId, RoleName), Token)>,
    tally: Tally,
}

impl Unique {
    fn born(&mut self, told: &Witnessed, whose: &(ProjectId, RoleName), token: &Token, process: ProcessId) {
        let (project, role) = whose;
        let at = told.at.as_millis();
        let living = self.agents.entry(whose.clone()).or_default();
        let other = living.keys().next().copied();
        self.tally.check(other.is_none(), || {
            let other = other.map(|other| other.to_string()).unwrap_or_default();
            format!("at {at} ms {role} of project {project} was started ({process}) while {other} lived")
        });
        living.insert(process, token.clone());
        // What an older incarnation of this very role started would work in the same worktree (G5).
        let left = self.children.iter().find(|(_, (of, mark))| of == whose && mark != token);
        self.tally.check(left.is_none(), || {
            let left = left.map(|(left, _)| left.to_string()).unwrap_or_default();
            format!("at {at} ms {role} of project {project} was started while {left} of an older incarnation lived")
        });
    }
}

impl Checker for Unique {
    fn id(&self) -> &'static str {
        "S6"
    }

    fn title(&self) -> &'static str {
        "at most one incarnation of a role lives, and nothing of an older one"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::AgentBorn { incarnation, process } = &told.fact {
            let whose = (incarnation.project, incarnation.role.clone());
            self.born(told, &whose, &incarnation.token, *process);
        } else if let Fact::AgentGone { incarnation, process } = &told.fact {
            let whose = (incarnation.project, incarnation.role.clone());
            self.agents.entry(whose).or_default().remove(process);
        } else if let Fact::ChildBorn { project, role, process, token } = &told.fact {
            self.children.insert(*process, ((*project, role.clone()), token.clone()));
        } else if let Fact::ChildGone { process, .. } = &told.fact {
            self.children.remove(process);
        }
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("no agent was ever started")
    }
}
