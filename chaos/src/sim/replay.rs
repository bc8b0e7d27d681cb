//! A schedule played under every checker, with nothing that does not follow from it: what `replay`, `shrink` and the
//! regressions play.

use super::plan::{Outcome, Plan};
use super::run::Sim;
use super::world::Manner;
use crate::check::witnessed;
use crate::schedule::Schedule;
use orchestrator::store::StoreError;
use std::collections::BTreeMap;

/// How long an agent's work takes in a run of up to half an hour, in microseconds: short enough that projects end.
const WORK_US: (u64, u64) = (60_000_000, 480_000_000);
/// In longer runs it takes longer in proportion.
const HALF_AN_HOUR_MS: u64 = 1_800_000;

/// A bug that is planted from outside, through the policy that an installation may set, while the checkers hold to the
/// promised one. It shows that what would be a bug of the orchestrator is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The breaker lets one recovery more through than is promised (G8).
    BreakerOffByPlusOne,
    /// It lets one less through.
    BreakerOffByMinusOne,
}

/// A schedule as it is replayed.
#[must_use]
pub fn plan(schedule: &Schedule, planted: Option<Planted>) -> Plan {
    let mut policy = schedule.policy();
    let scaled = |us: u64| us * (schedule.duration_ms / HALF_AN_HOUR_MS).max(1);
    match planted {
        Some(Planted::BreakerOffByPlusOne) => policy.breaker_max += 1,
        Some(Planted::BreakerOffByMinusOne) => policy.breaker_max -= 1,
        None => {}
    }
    Plan {
        schedule: schedule.clone(),
        manner: Manner { work_us: (scaled(WORK_US.0), scaled(WORK_US.1)), ..Manner::default() },
        policy,
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: false,
        fingerprint: false,
    }
}

/// Plays a schedule under every checker of a simulated run.
///
/// # Errors
/// If SQLite has no memory for the database.
pub fn replay(schedule: &Schedule, planted: Option<Planted>) -> Result<Outcome, StoreError> {
    let checkers = witnessed::under(schedule.is_calm(), schedule.policy());
    Ok(Sim::new(plan(schedule, planted))?.play(checkers))
}
