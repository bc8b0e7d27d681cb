//! S12 in a world whose clock is known: the journal's own rules, and no entry from a time that has not come.

use crate::check::journal::Journal;
use crate::check::{Checker, Evidence, Is, Verdict};
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::Timestamp;

/// The checker of S12.
#[derive(Debug, Default)]
pub(super) struct Dated {
    journal: Journal,
    newest: Timestamp,
}

impl Checker for Dated {
    fn id(&self) -> &'static str {
        self.journal.id()
    }

    fn title(&self) -> &'static str {
        self.journal.title()
    }

    fn observe(&mut self, entry: &Entry) {
        self.newest = self.newest.max(entry.at);
        self.journal.observe(entry);
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let mut verdict = self.journal.finish(evidence);
        let ended = evidence.truth.ended_at;
        if self.newest > ended {
            let (newest, ended) = (self.newest.as_millis(), ended.as_millis());
            verdict.is = Is::Fail;
            verdict.violations.push(format!("an entry is dated {newest} ms, and it is {ended} ms only"));
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;

    #[test]
    fn an_entry_of_the_future_fails() {
        assert_eq!(Past::new().running().is(Dated::default()), Is::Pass);
        let stepped = Past::new().told(|story| story.at(90_000_000).enqueued(1));
        assert_eq!(stepped.is(Dated::default()), Is::Fail);
    }
}
