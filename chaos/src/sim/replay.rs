//! A schedule played under every checker, with nothing that does not follow from it: what campaigns,
//! `replay`, `shrink` and the regressions play.

use super::plan::{Outcome, Plan};
use super::planted::BendRef;
use super::run::Sim;
use super::world::Manner;
use crate::check::{Checker, witnessed};
use crate::schedule::Schedule;
use orchestrator::store::StoreError;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How long an agent's work takes in a run of up to half an hour, in microseconds: short enough that projects end.
pub(super) const WORK_US: (u64, u64) = (60_000_000, 480_000_000);
/// In longer runs it takes longer in proportion.
const HALF_AN_HOUR_MS: u64 = 1_800_000;

/// A schedule as it is replayed. Work takes that long, in microseconds, or as long as fits the run.
#[must_use]
pub fn plan(schedule: &Schedule, work_us: Option<(u64, u64)>) -> Plan {
    let scaled = |us: u64| us * (schedule.duration_ms / HALF_AN_HOUR_MS).max(1);
    let work_us = work_us.unwrap_or((scaled(WORK_US.0), scaled(WORK_US.1)));
    Plan {
        schedule: schedule.clone(),
        manner: Manner { work_us, ..Manner::default() },
        policy: schedule.policy(),
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: false,
        fingerprint: false,
    }
}

/// How a schedule is played, beside what it says itself.
#[derive(Default)]
pub struct How {
    /// The bug that is planted, if one is: what would be a bug of the orchestrator.
    pub bend: Option<BendRef>,
    /// How long work takes, if not as long as fits the run.
    pub work_us: Option<(u64, u64)>,
    /// Whether a fingerprint of everything that happens is taken.
    pub fingerprint: bool,
    /// Who judges; if nobody is named, every checker of a simulated run.
    pub checkers: Option<Vec<Box<dyn Checker>>>,
    /// Who looks on, to tell or to keep what happens; what they say in the end is not among the findings.
    pub onlookers: Vec<Box<dyn Checker>>,
}

/// Plays a schedule.
///
/// # Errors
/// The words of a panic, of the orchestrator's or of the simulator's; a checker that panics is a finding.
pub fn play(schedule: &Schedule, how: How) -> Result<Outcome, String> {
    let (calm, fault_free) = (schedule.is_calm(), schedule.faults.is_empty());
    let every = || witnessed::under(calm, schedule.policy());
    let mut checkers = how.checkers.unwrap_or_else(every);
    let judging = checkers.len();
    checkers.extend(how.onlookers);
    let plan = Plan { fingerprint: how.fingerprint, ..plan(schedule, how.work_us) };
    let played = catch_unwind(AssertUnwindSafe(|| Sim::bent(plan, how.bend).map(|sim| sim.play(checkers))));
    match played {
        Ok(outcome) => {
            let broke = |error: StoreError| Outcome { broke: Some(error.to_string()), ..Outcome::default() };
            let mut outcome = Outcome { calm, fault_free, ..outcome.unwrap_or_else(broke) };
            // What is not among the findings is told all the same: an onlooker that broke told or kept half a run.
            let onlookers = outcome.findings.split_off(judging.min(outcome.findings.len()));
            if let Some(half) = onlookers.iter().find(|finding| finding.verdict.broke) {
                outcome.broke.get_or_insert(format!("onlooker '{}' broke", half.id));
            }
            Ok(outcome)
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without words")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use crate::sim::draw;
    use crate::sim::planted::Breaks;

    #[test]
    fn an_onlooker_that_breaks_is_no_finding_and_no_secret() {
        let (duration_ms, one) = (Some(60_000), Some(1));
        let request = draw::Request { seed: Seed(0), duration_ms, projects: one, roles: one, kinds: Vec::new() };
        let schedule = draw::draw(&request);
        let alone = play(&schedule, How::default()).expect("played");
        let how = How { onlookers: vec![Box::new(Breaks)], ..How::default() };
        let watched = play(&schedule, how).expect("played");
        assert_eq!(watched.findings, alone.findings);
        assert_eq!((alone.broke, watched.broke.as_deref()), (None, Some("onlooker 'X' broke")));
    }
}
