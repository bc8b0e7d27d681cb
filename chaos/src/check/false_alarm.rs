//! D2: no alarm without a fault.

use super::{Checker, Evidence, Tally, Verdict};
use crate::history::Logged;
use crate::matching::explains;
use orchestrator::domain::signal::Entry;

/// The checker of D2.
#[derive(Debug, Default)]
pub(super) struct FalseAlarms {
    tally: Tally,
}

/// The alarms that no fault explains, by its project, role and time.
pub fn unexplained<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = &'a Logged> {
    let (faults, matched) = (&evidence.truth.injections, evidence.matched);
    evidence.journal.iter().filter(move |logged| {
        logged.entry.signal.is_alarm()
            && !faults.iter().zip(matched).any(|(fault, matched)| explains(fault, matched, logged))
    })
}

impl Checker for FalseAlarms {
    fn id(&self) -> &'static str {
        "D2"
    }

    fn title(&self) -> &'static str {
        "no alarm in the control phases, and none that no fault explains"
    }

    fn observe(&mut self, _: &Entry) {
        self.tally.held(1);
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for logged in unexplained(evidence) {
            let entry = &logged.entry;
            let control = evidence.truth.control.iter().any(|phase| phase.contains(entry.at));
            let when = if control { " in a control phase" } else { "" };
            let what = serde_json::to_string(&entry.signal).unwrap_or_else(|error| error.to_string());
            self.tally.violate(format!("seq {}: a false alarm{when}: {what}", entry.seq));
        }
        if evidence.truth.control.is_empty() {
            self.tally.doubt("there was no control phase");
        }
        self.tally.verdict("nothing was told")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::fault::Kind;
    use crate::story::{Story, injection};
    use crate::truth::{Claims, Phase, Truth};
    use orchestrator::domain::signal::{Signal, What};
    use orchestrator::domain::time::Timestamp;

    fn is(story: &Story) -> Is {
        let fault = injection(1, Kind::SessionKill, 1, None, 5_000);
        let control = vec![Phase { from: Timestamp(0), until: Timestamp(4_000_000) }];
        let truth = Truth { injections: vec![fault], control, ..Truth::default() };
        judge(FalseAlarms::default(), story, &truth, &Claims::default()).is
    }

    #[test]
    fn alarms_about_the_fault_pass() {
        let story = Story::running(1).at(5_010).session_killed(1).attempt(1, 1).at(5_900).recovered(1);
        assert_eq!(is(&story), Is::Pass);
    }

    #[test]
    fn an_alarm_before_after_elsewhere_or_about_the_fleet_fails() {
        let during = || Story::running(1).at(5_010).session_killed(1).at(5_900).recovered(1);
        assert_eq!(is(&Story::running(1).at(3_000).session_killed(1)), Is::Fail);
        assert_eq!(is(&during().at(8_000).file_missing(1, "developer")), Is::Fail);
        assert_eq!(is(&during().also_running(2).at(5_950).session_killed(2)), Is::Fail);
        let fleet = Signal::fleet(What::TmuxLost { reason: "eof".to_owned() });
        assert_eq!(is(&during().say(fleet)), Is::Fail);
    }
}
