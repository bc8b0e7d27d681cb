//! D4: what is spoiled under another fault is not lost with it.
//!
//! A file that goes while its session is dead already is no fault that anyone could notice then: nobody stands on that
//! ground. It is masked, not missed, as long as it is put right before anybody stands there again.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeMap;

/// The checker of D4.
#[derive(Debug, Default)]
pub(super) struct Masked {
    unfit: BTreeMap<(ProjectId, RoleName), (Timestamp, &'static str)>,
    /// Since when each project is being provisioned, or what was provisioned then is worked on.
    provisioned: BTreeMap<ProjectId, Timestamp>,
    tally: Tally,
}

impl Checker for Masked {
    fn id(&self) -> &'static str {
        "D4"
    }

    fn title(&self) -> &'static str {
        "what is spoiled while nobody stands on it is put right before anybody does again"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Unfit { project, role, why } = &told.fact {
            self.unfit.entry((*project, role.clone())).or_insert((told.at, why));
        } else if let Fact::Fit { project, role } = &told.fact {
            self.unfit.remove(&(*project, role.clone()));
        }
    }

    fn observe(&mut self, entry: &Entry) {
        let (Some(project), What::ProjectMoved { to, .. }) = (entry.signal.project_id, &entry.signal.what) else {
            return;
        };
        if *to == ProjectState::Provisioning {
            self.provisioned.insert(project, entry.at);
        } else if *to == ProjectState::Briefing {
            let since = self.provisioned.get(&project).copied().unwrap_or_default();
            let older = |((of, _), (at, _)): &(&(ProjectId, RoleName), &(Timestamp, _))| *of == project && *at < since;
            let left = self.unfit.iter().find(older);
            self.tally.check(left.is_none(), || {
                let (role, why) = left.map_or(("", ""), |((_, role), (_, why))| (&role.0, why));
                format!("seq {}: project {project} works again, and the {why} of {role} is still unfit", entry.seq)
            });
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

    /// The session dies, and its file after it; then it is provisioned again.
    fn again(spoils: impl FnOnce(Past) -> Past) -> Past {
        use ProjectState::{Briefing, Launching, Provisioning, Recovering, Running};
        let down = Past::new().running().at(5).moved(Running, Recovering).at(6);
        let mends = spoils(down).at(7).moved(Recovering, Provisioning).at(8);
        mends.moved(Provisioning, Launching).moved(Launching, Briefing)
    }

    #[test]
    fn masked_is_mended_before_anyone_works_there_again() {
        assert_eq!(again(Past::unfit).is(Masked::default()), Is::Fail, "nobody looked");
        assert_eq!(again(|past| past.unfit().fit()).is(Masked::default()), Is::Pass);
        assert_eq!(again(|past| past).is(Masked::default()), Is::Pass);
        assert_eq!(again(|past| past).unfit().at(20).is(Masked::default()), Is::Pass, "that one is D1's");
    }
}
