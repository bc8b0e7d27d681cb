//! S12: the journal has no gap, its time does not go back, and log and database tell one story.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::Seq;
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::Timestamp;

/// The checker of S12.
#[derive(Debug, Default)]
pub(super) struct Journal {
    last: Option<(Seq, Timestamp)>,
    tally: Tally,
}

impl Checker for Journal {
    fn id(&self) -> &'static str {
        "S12"
    }

    fn title(&self) -> &'static str {
        "one log line per entry, without a gap and without going back in time; log and database agree"
    }

    fn observe(&mut self, entry: &Entry) {
        let (seq, at) = self.last.unwrap_or((Seq(0), Timestamp(0)));
        self.tally.check(entry.seq.0 == seq.0 + 1, || format!("after seq {seq} comes seq {}", entry.seq));
        self.tally.check(entry.at >= at, || format!("seq {}: time goes back", entry.seq));
        self.last = Some((entry.seq, entry.at));
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for logged in evidence.journal {
            let (decided, committed) = (logged.entry.at, logged.committed());
            self.tally
                .check(committed >= decided, || format!("seq {}: committed before it was decided", logged.entry.seq));
        }
        for line in &evidence.claims.unreadable {
            self.tally.violate(format!("a line of the log is no entry: {line}"));
        }
        match &evidence.claims.differences {
            Some(differences) => differences.iter().for_each(|difference| self.tally.violate(difference.clone())),
            None => self.tally.doubt("log and database could not be compared"),
        }
        self.tally.verdict("the journal is empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::story::Story;
    use crate::truth::{Claims, Truth};

    fn agreeing() -> Claims {
        Claims { differences: Some(Vec::new()), ..Claims::default() }
    }

    fn is(story: &Story, claims: &Claims) -> Is {
        judge(Journal::default(), story, &Truth::default(), claims).is
    }

    #[test]
    fn a_whole_journal_passes() {
        assert_eq!(is(&Story::running(1), &agreeing()), Is::Pass);
        assert_eq!(is(&Story::running(1), &Claims::default()), Is::Unknown);
    }

    #[test]
    fn a_gap_a_step_back_and_a_difference_fail() {
        let story = Story::running(1);
        let mut gap = Journal::default();
        story.journal().iter().skip(1).for_each(|logged| gap.observe(&logged.entry));
        assert_eq!(gap.tally.verdict("").is, Is::Fail);
        assert_eq!(is(&Story::new().at(9).enqueued(1).at(8).enqueued(2), &agreeing()), Is::Fail);
        let differing = Claims { differences: Some(vec!["seq 3".to_owned()]), ..Claims::default() };
        assert_eq!(is(&story, &differing), Is::Fail);
        let garbled = Claims { unreadable: vec!["{".to_owned()], ..agreeing() };
        assert_eq!(is(&story, &garbled), Is::Fail);
    }
}
