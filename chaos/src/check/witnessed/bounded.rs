//! L3: once the world is healed, nothing goes on for ever.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::Entry;
use std::collections::BTreeMap;

/// Entries that a project, or the fleet, may still need after healing.
const ENTRIES_MAX: u32 = 600;

/// The checker of L3.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    healed: bool,
    entries: BTreeMap<Option<ProjectId>, u32>,
    tally: Tally,
}

impl Checker for Bounded {
    fn id(&self) -> &'static str {
        "L3"
    }

    fn title(&self) -> &'static str {
        "once the world is healed, what is told of a project is bounded: no loop"
    }

    fn witness(&mut self, told: &Witnessed) {
        self.healed |= told.fact == Fact::Healed;
    }

    fn observe(&mut self, entry: &Entry) {
        *self.entries.entry(entry.signal.project_id).or_default() += u32::from(self.healed);
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        for (project, entries) in &self.entries {
            self.tally.check(*entries <= ENTRIES_MAX, || {
                let whose = project.map_or("the fleet".to_owned(), |project| format!("project {project}"));
                format!("{whose} told {entries} entries after the world was healed")
            });
        }
        self.tally.verdict("nothing was ever told")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn a_loop_after_healing_fails() {
        let told = |past: Past| (0..700).fold(past, |past, _| past.running());
        assert_eq!(told(Past::new()).fact(Fact::Healed).running().is(Bounded::default()), Is::Pass);
        assert_eq!(told(Past::new().fact(Fact::Healed)).is(Bounded::default()), Is::Fail);
    }
}
