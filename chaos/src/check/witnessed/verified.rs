//! S5: nothing is completed whose resources did not verify, or whose agents never said that they were done.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::truth::Incarnation;
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// A resource that is spoiled between the last look and its commit was right when it was looked at.
const LOOK: Span = Span::from_secs(2);

#[derive(Debug, Default)]
struct Role {
    newest: Option<Incarnation>,
    done: Option<Incarnation>,
    unfit: Option<(Timestamp, &'static str)>,
}

/// The checker of S5.
#[derive(Debug, Default)]
pub(super) struct Verified {
    projects: BTreeMap<ProjectId, BTreeMap<RoleName, Role>>,
    tally: Tally,
}

impl Verified {
    fn role(&mut self, project: ProjectId, role: &RoleName) -> &mut Role {
        self.projects.entry(project).or_default().entry(role.clone()).or_default()
    }
}

impl Checker for Verified {
    fn id(&self) -> &'static str {
        "S5"
    }

    fn title(&self) -> &'static str {
        "completed means: every newest agent said so, and every resource is as it must be"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Accepted { project, roles } = &told.fact {
            for role in roles {
                self.role(*project, role);
            }
        } else if let Fact::AgentBorn { incarnation, .. } = &told.fact {
            self.role(incarnation.project, &incarnation.role).newest = Some(incarnation.clone());
        } else if let Fact::Done { incarnation } = &told.fact {
            // A late word of an older one takes nothing back of what the newest has said.
            let role = self.role(incarnation.project, &incarnation.role);
            if role.done.as_ref().is_none_or(|done| done.epoch <= incarnation.epoch) {
                role.done = Some(incarnation.clone());
            }
        } else if let Fact::Unfit { project, role, why } = &told.fact {
            self.role(*project, role).unfit.get_or_insert((told.at, why));
        } else if let Fact::Fit { project, role } = &told.fact {
            self.role(*project, role).unfit = None;
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        let What::ProjectMoved { to: ProjectState::Completed, .. } = entry.signal.what else { return };
        for (name, role) in self.projects.entry(project).or_default() {
            let said = role.done.is_some() && role.done == role.newest;
            self.tally.check(said, || {
                format!("seq {}: project {project} is completed, {name}'s newest agent never said done", entry.seq)
            });
            let unfit = role.unfit.filter(|(since, _)| entry.at.since(*since) > LOOK);
            self.tally.check(unfit.is_none(), || {
                let why = unfit.map_or("", |(_, why)| why);
                format!("seq {}: project {project} is completed, and the {why} of {name} is unfit", entry.seq)
            });
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        // A run in which nothing was completed has nothing that could have been completed wrongly.
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, whose};
    use super::*;
    use crate::check::Is;

    fn done() -> Past {
        Past::new().running().born(1, 1, 7).fact(Fact::Done { incarnation: whose(1, 1) })
    }

    fn completes(past: Past) -> Is {
        past.told(|story| story.completed(1)).is(Verified::default())
    }

    #[test]
    fn completed_needs_the_word_of_the_newest_agent() {
        assert_eq!(completes(done()), Is::Pass);
        assert_eq!(completes(Past::new().running().born(1, 1, 7)), Is::Fail, "it never said so");
        assert_eq!(completes(done().gone(1, 1, 7).born(1, 2, 8)), Is::Fail, "an older one said so");
        let late = || Fact::Done { incarnation: whose(1, 1) };
        let newest = || done().gone(1, 1, 7).born(1, 2, 8).fact(Fact::Done { incarnation: whose(1, 2) });
        assert_eq!(completes(newest().fact(late())), Is::Pass, "an older one repeats it late");
    }

    #[test]
    fn completed_needs_sound_resources() {
        assert_eq!(completes(done().unfit().at(10)), Is::Fail);
        assert_eq!(completes(done().unfit().at(1)), Is::Pass, "between the last look and its commit");
        assert_eq!(completes(done().unfit().at(10).fit()), Is::Pass);
    }
}
