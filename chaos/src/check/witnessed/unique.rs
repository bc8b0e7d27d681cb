//! S6: one live incarnation of a role, and one orchestrator that writes.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{EffectId, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::signal::{Entry, What};
use std::collections::{BTreeMap, BTreeSet};

/// The checker of S6.
#[derive(Debug, Default)]
pub(super) struct Unique {
    agents: BTreeMap<(ProjectId, RoleName), BTreeMap<ProcessId, Token>>,
    children: BTreeMap<ProcessId, ((ProjectId, RoleName), Token)>,
    /// The orchestrator that came last, and what was intended since.
    newest: Option<usize>,
    since: BTreeSet<EffectId>,
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
        } else if let Fact::Serving { life } = told.fact {
            if self.newest.is_none_or(|newest| newest < life) {
                self.newest = Some(life);
                self.since.clear();
            }
        } else if let Fact::Second { refused, wrote } = told.fact {
            let at = told.at.as_millis();
            self.tally.check(refused, || format!("at {at} ms a second orchestrator serves beside one that lives"));
            self.tally.check(!wrote, || format!("at {at} ms a second orchestrator changed the database"));
        } else if let Fact::Began { life, effect, name, durable: true } = told.fact {
            // What an older one intended in its time may come to its end; what it intends later was not its to intend.
            let fenced = self.newest.is_some_and(|newest| life < newest) && self.since.contains(&effect);
            let at = told.at.as_millis();
            self.tally
                .check(!fenced, || format!("at {at} ms orchestrator {life} orders {name}, and another has taken over"));
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::EffectIntended { effect_id, .. } = entry.signal.what {
            self.since.insert(effect_id);
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("no agent was ever started")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;

    #[test]
    fn a_second_incarnation_beside_the_first_fails() {
        let born = || Past::new().born(1, 1, 7);
        assert_eq!(born().gone(1, 1, 7).born(1, 2, 8).is(Unique::default()), Is::Pass);
        assert_eq!(born().born(1, 2, 8).is(Unique::default()), Is::Fail);
        assert_eq!(born().born(2, 1, 8).is(Unique::default()), Is::Pass, "another project's");
        let (token, role) = (whose(1, 1).token, whose(1, 1).role);
        let child = Fact::ChildBorn { token, project: ProjectId(1), role, process: super::super::past::process(9) };
        assert_eq!(born().fact(child).gone(1, 1, 7).born(1, 2, 8).is(Unique::default()), Is::Fail, "its child lives");
    }

    #[test]
    fn a_second_orchestrator_is_refused_and_writes_nothing() {
        let second = |refused, wrote| Past::new().fact(Fact::Second { refused, wrote }).is(Unique::default());
        assert_eq!(second(true, false), Is::Pass);
        assert_eq!(second(false, false), Is::Fail);
        assert_eq!(second(true, true), Is::Fail);
    }

    #[test]
    fn who_was_fenced_begins_nothing_new() {
        let second =
            || Past::new().born(1, 1, 7).told(|story| story.effect(1, "respawn")).fact(Fact::Serving { life: 1 });
        assert_eq!(second().began(1, "respawn").is(Unique::default()), Is::Pass, "of its own time");
        let later = second().told(|story| story.effect(1, "respawn")).began(2, "respawn");
        assert_eq!(later.is(Unique::default()), Is::Fail);
    }
}
