//! From a seed to the schedule of a simulated run. Pure.
//!
//! A swarm: each seed draws which kinds it uses at all and how often, so that rare combinations come up that an even
//! mixture would never show; one seed in eight has no faults. First faults come; then only those that wait for an entry
//! of the journal, while what is broken stays so; then the world is healed and everything must come to its end.

use super::scene;
use crate::fault::{Kind, Mode, Victim};
use crate::schedule::{Params, Planned, Schedule, VERSION};
use crate::seed::{Seed, Stream};

/// What a simulated run is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The seed.
    pub seed: Seed,
    /// How long, in virtual milliseconds; drawn if none: half an hour, and now and then long enough for a breaker to
    /// half-open.
    pub duration_ms: Option<u64>,
    /// How many projects; drawn if none.
    pub projects: Option<u32>,
    /// How many roles each; drawn if none.
    pub roles: Option<u32>,
    /// The kinds to draw from.
    pub kinds: Vec<Kind>,
}

/// Part of the run after the healing, in per cent, in which everything must come to its end.
const QUIET_PERCENT: u64 = 40;
/// The part of the run in which faults come, in per cent.
pub(super) const FAULTS_PERCENT: u64 = 30;
/// How long a seed plays unless told otherwise ...
const DURATION_MS: u64 = 1_800_000;
/// ... and how long one in so many does: past the hour after which a breaker half-opens.
const LONG_MS: u64 = 10_800_000;
const LONG_ONE_IN: u64 = 60;
/// How close together faults come that come close together: within a call, a recovery, a sweep, a back-off.
const GAPS_MS: &[u64] = &[10, 50, 300, 3_000, 20_000];
/// What lasts for long lasts at most so much longer than a minute: past the time after which projects wait for a person.
const LASTS_MS_MAX: u64 = 840_000;
/// One seed in so many has no faults at all: what is reported there is a false alarm, unless an agent falls silent.
const FAULT_FREE: u64 = 8;
/// Entries of the journal after which rare orders of events begin.
const MOMENTS: &[&str] = &[
    "effect_intended",
    "session_created",
    "agent_started",
    "brief_handed",
    "brief_acknowledged",
    "agent_died",
    "session_died",
    "recovery_started",
    "resource_missing",
    "project_moved",
    "role_moved",
    "agent_adopted",
];

/// Every kind that a simulated world plays.
#[must_use]
pub fn kinds() -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| kind.entry().modes.contains(&Mode::Sim)).collect()
}

/// The schedule of a request.
#[must_use]
pub fn draw(request: &Request) -> Schedule {
    let mut stream = request.seed.stream("sim.swarm");
    let projects = request.projects.unwrap_or_else(|| small(&mut stream, 1, 6));
    let roles = request.roles.unwrap_or_else(|| small(&mut stream, 1, 3));
    let long = request.seed.stream("sim.length").below(LONG_ONE_IN) == 0;
    let duration_ms = request.duration_ms.unwrap_or(if long { LONG_MS } else { DURATION_MS });
    let control_ms = duration_ms * QUIET_PERCENT / 100;
    let mut schedule = Schedule {
        version: VERSION,
        seed: request.seed,
        mode: Mode::Sim,
        duration_ms,
        control_ms,
        projects,
        roles,
        faults: Vec::new(),
        setting: scene::draw(request.seed, projects, roles, duration_ms),
        story: None,
        violates: None,
        expected: None,
    };
    if stream.below(FAULT_FREE) == 0 {
        return schedule;
    }
    let weights: Vec<u32> = request.kinds.iter().map(|_| weight(&mut stream)).collect();
    let most = u64::from(projects) * 4 + 2;
    let count = 1 + stream.below(most);
    // Most projects are over by then: what comes later finds nothing to break.
    let end = duration_ms * FAULTS_PERCENT / 100;
    for _ in 0..count {
        let Some(place) = stream.weighted(&weights) else { break };
        let kind = request.kinds[place];
        // Half of the faults come close together, since most bugs need two that meet.
        let at_ms = match schedule.faults.last() {
            Some(last) if stream.below(2) == 0 => {
                let apart = GAPS_MS[stream.index(GAPS_MS.len())];
                (last.at_ms + stream.below(apart)).min(end)
            }
            Some(_) | None => 500 + stream.below(end.saturating_sub(500)),
        };
        let on_event = (stream.below(4) == 0).then(|| MOMENTS[stream.index(MOMENTS.len())].to_owned());
        let project = u32::try_from(stream.below(u64::from(projects))).unwrap_or(0);
        let drawn = u32::try_from(stream.below(u64::from(roles))).unwrap_or(0);
        let victim = (kind == Kind::StderrNull).then(|| if stream.below(2) == 0 { Victim::Agent } else { Victim::Git });
        let for_ms = match stream.below(8) {
            0..4 => None,
            4..7 => Some(200 + stream.below(45_000)),
            _ => Some(60_000 + stream.below(LASTS_MS_MAX)),
        };
        let params = Params { victim, for_ms };
        let hits_role = kind.entry().hits_role && victim != Some(Victim::Git);
        let role = hits_role.then_some(drawn);
        schedule.faults.push(Planned { id: 0, at_ms, on_event, kind, project, role, params });
    }
    schedule.faults.sort_by_key(|fault| fault.at_ms);
    for (fault, id) in schedule.faults.iter_mut().zip(1..) {
        fault.id = id;
    }
    schedule
}

fn small(stream: &mut Stream, low: u64, high: u64) -> u32 {
    u32::try_from(stream.between(low, high)).unwrap_or(1)
}

/// A kind is off more often than on, and if on, rare or frequent.
fn weight(stream: &mut Stream) -> u32 {
    [0, 0, 0, 1, 1, 3, 10][stream.index(7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seed: u64) -> Request {
        Request { seed: Seed(seed), duration_ms: None, projects: None, roles: None, kinds: kinds() }
    }

    #[test]
    fn every_schedule_can_be_played_and_every_kind_comes() {
        let mut seen = std::collections::BTreeSet::new();
        let mut free = 0;
        for seed in 0..1_000 {
            let schedule = draw(&request(seed));
            assert_eq!(schedule.check(), Ok(()), "seed {seed}");
            free += u32::from(schedule.faults.is_empty());
            seen.extend(schedule.kinds());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), kinds());
        assert!((50..300).contains(&free), "{free} of 1000 without faults");
    }

    #[test]
    fn a_seed_is_one_schedule() {
        assert_eq!(draw(&request(5)), draw(&request(5)));
        assert_ne!(draw(&request(5)), draw(&request(6)));
    }
}
