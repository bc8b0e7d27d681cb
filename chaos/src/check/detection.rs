//! D1: what happened is detected, under its right name, in time.

use super::{Checker, Evidence, Tally, Verdict};
use crate::fault::Outcome;
use crate::matching::Matched;
use crate::truth::Injection;
use orchestrator::domain::event::Source;
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::{Span, Timestamp};

/// The checker of D1.
#[derive(Debug, Default)]
pub(super) struct Detection {
    tally: Tally,
}

impl Detection {
    fn look(&mut self, fault: &Injection, matched: &Matched, at: Timestamp) {
        let who = fault.to_string();
        let Some(detected) = matched.detected else {
            self.tally.check(false, || format!("{who} was missed: nothing told of it"));
            return;
        };
        let due = fault.kind.entry().detection;
        // G4 allows a sweep to be later than an event, and nothing to be later than a sweep.
        let bound = if detected.by == Source::Sweep { due.by_sweep } else { due.by_event };
        let latency = detected.at.since(at);
        self.tally.check(latency <= bound, || {
            let (latency, bound) = (latency.as_millis(), bound.as_millis());
            format!("{who} was detected by {} after {latency} ms, {bound} ms were allowed", detected.by.name())
        });
        self.classified(fault, matched, at, due.by_sweep);
    }

    fn classified(&mut self, fault: &Injection, matched: &Matched, at: Timestamp, bound: Span) {
        let who = fault.to_string();
        let Some(due) = fault.kind.due(fault.victim) else {
            let named = matched.named.first();
            self.tally.check(named.is_none(), || format!("{who} was called a failure: {named:?}"));
            return;
        };
        let right = matched.named.iter().find(|named| named.kind == due);
        self.tally.check(right.is_some(), || {
            let named = matched.named.first().map_or("nothing".to_owned(), |named| format!("{:?}", named.kind));
            format!("{who} was called {named}, not {due:?}")
        });
        if let Some(right) = right {
            let (after, bound) = (right.at.since(at), bound);
            self.tally.check(right.evidenced, || format!("{who} was called {due:?}, but the evidence is another"));
            self.tally
                .check(after <= bound, || format!("{who} was called {due:?} only after {} ms", after.as_millis()));
            let other = matched.named.iter().find(|named| named.kind != due);
            self.tally.check(other.is_none(), || {
                let other = other.map_or_else(String::new, |named| format!("{:?}", named.kind));
                format!("{who} was called {due:?}, and {other} too")
            });
        }
    }
}

impl Checker for Detection {
    fn id(&self) -> &'static str {
        "D1"
    }

    fn title(&self) -> &'static str {
        "every confirmed fault is detected, with the right kind, within its bound"
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for (fault, matched) in evidence.truth.injections.iter().zip(evidence.matched) {
            let Some(at) = fault.confirmed_at() else { continue };
            let young = evidence.truth.ended_at.since(at) <= fault.kind.entry().detection.by_sweep;
            if matched.outcome == Some(Outcome::Masked) {
                continue;
            } else if evidence.truth.aborted && young && matched.detected.is_none() {
                self.tally.doubt(format!("the run was cut short before {fault} had to be detected"));
            } else {
                self.look(fault, matched, at);
            }
        }
        self.tally.verdict("no fault was confirmed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::fault::Kind;
    use crate::story::{Story, failure, injection};
    use crate::truth::{Claims, Truth};
    use orchestrator::domain::failure::{Ending, FailureKind, Program, Stderr};
    use orchestrator::domain::signal::What;

    fn verdict(fault: Injection, story: &Story) -> Verdict {
        let ended_at = Timestamp(60_000_000);
        let truth = Truth { injections: vec![fault], ended_at, ..Truth::default() };
        judge(Detection::default(), story, &truth, &Claims::default())
    }

    #[test]
    fn in_time_and_by_its_name_passes() {
        let story = Story::running(1).at(5_900).session_killed(1).at(6_500).recovered(1);
        assert_eq!(verdict(injection(1, Kind::SessionKill, 1, None, 5_000), &story).is, Is::Pass);
    }

    #[test]
    fn missed_late_or_misnamed_fails() {
        let fault = || injection(1, Kind::SessionKill, 1, None, 5_000);
        let missed = verdict(fault(), &Story::running(1));
        assert_eq!(missed.is, Is::Fail);
        assert!(missed.violations[0].contains("missed"), "{missed:?}");
        let late = Story::running(1).at(6_001).session_killed(1);
        assert_eq!(verdict(fault(), &late).is, Is::Fail);
        let exit = injection(1, Kind::StderrNull, 1, Some("developer"), 5_000);
        let killed = failure(FailureKind::AgentKilled, Program::Agent, Ending::Signal(9), Stderr::Empty);
        let misnamed = Story::running(1).at(5_010).agent_exited(1, "developer", 41, Stderr::Empty);
        let misnamed = misnamed.tell_of(1, "developer", What::DeathExplained { failure: killed });
        assert_eq!(verdict(exit.clone(), &misnamed).is, Is::Fail);
        let wrong_code = Story::running(1).at(5_010).agent_exited(1, "developer", 1, Stderr::Empty);
        assert_eq!(verdict(exit, &wrong_code).is, Is::Fail);
    }

    #[test]
    fn without_a_confirmed_fault_nothing_is_known() {
        let mut fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        fault.probe = Err("nothing happened".to_owned());
        assert_eq!(verdict(fault, &Story::running(1)).is, Is::Unknown);
    }
}
