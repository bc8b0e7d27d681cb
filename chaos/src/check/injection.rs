//! M1: a run that broke nothing proves nothing.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::signal::Entry;

/// The checker of M1. It never fails: what it misses makes the run inconclusive.
#[derive(Debug, Default)]
pub(super) struct Injected {
    tally: Tally,
}

impl Checker for Injected {
    fn id(&self) -> &'static str {
        "M1"
    }

    fn title(&self) -> &'static str {
        "every enabled kind was injected and confirmed, and no injection remained without effect"
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for fault in &evidence.truth.injections {
            match &fault.probe {
                Ok(()) => self.tally.held(1),
                Err(why) => self.tally.doubt(format!("{fault} was not confirmed: {why}")),
            }
        }
        for kind in &evidence.truth.kinds {
            let confirmed = evidence.truth.injections.iter().any(|fault| fault.kind == *kind && fault.probe.is_ok());
            if !confirmed {
                self.tally.doubt(format!("{kind} never took effect"));
            }
        }
        self.tally.verdict("nothing was injected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::fault::Kind;
    use crate::story::{Story, injection};
    use crate::truth::{Claims, Injection, Truth};

    fn verdict(injections: Vec<Injection>, kinds: &[Kind]) -> Verdict {
        let truth = Truth { injections, kinds: kinds.iter().copied().collect(), ..Truth::default() };
        judge(Injected::default(), &Story::new(), &truth, &Claims::default())
    }

    #[test]
    fn every_kind_confirmed_passes() {
        let kill = injection(1, Kind::SessionKill, 1, None, 5_000);
        assert_eq!(verdict(vec![kill], &[Kind::SessionKill]).is, Is::Pass);
    }

    #[test]
    fn nothing_a_kind_missing_or_one_without_effect_is_unknown() {
        let kill = injection(1, Kind::SessionKill, 1, None, 5_000);
        assert_eq!(verdict(vec![], &[]).is, Is::Unknown);
        assert_eq!(verdict(vec![kill.clone()], &[Kind::SessionKill, Kind::StderrNull]).is, Is::Unknown);
        let idle = Injection { probe: Err("it is still there".to_owned()), ..kill.clone() };
        let verdict = verdict(vec![kill, idle], &[Kind::SessionKill]);
        assert_eq!(verdict.is, Is::Unknown);
        assert!(verdict.violations[0].contains("still there"));
    }
}
