//! From a schedule under which an invariant fails to the smallest one under which the same invariant still fails.
//!
//! Delta debugging (Zeller and Hildebrandt's ddmin) over the faults, then everything else that can be less: projects,
//! roles, the length of the run, what faults wait for, their times and how long they last. Each pass is tried again
//! until none of them helps. Pure: whether a schedule fails is asked of the caller, so that this is tested without a
//! world.
//!
//! A candidate counts only if *the same* invariant fails. A smaller schedule that breaks another promise is another
//! bug, and would be the wrong thing to keep.

use crate::schedule::{DURATION_MS_MIN, Planned, Schedule};
use crate::setting::Setting;
use orchestrator::domain::limits::Policy;
use std::cmp::Reverse;

/// An invariant by its number, such as `S4`.
pub type InvariantId = String;

/// Where shrinking stands.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Schedules played so far.
    pub runs: u32,
    /// The smallest one that fails.
    pub schedule: &'a Schedule,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest schedule that was found to fail.
    pub schedule: Schedule,
    /// Schedules that were played for it.
    pub runs: u32,
    /// Whether it stopped because it had played as many as it was allowed to.
    pub exhausted: bool,
}

/// Lengths that a person would choose, in milliseconds, shortest first.
const LENGTHS_MS: &[u64] =
    &[DURATION_MS_MIN, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_200_000, 1_800_000, 3_600_000];
/// Times that a person would choose, and units that others are rounded down to, in milliseconds, coarsest first.
const UNITS_MS: &[u64] = &[600_000, 60_000, 10_000, 1_000, 100, 10];

/// Shrinks a schedule under which `invariant` fails, with at most `runs_max` questions to `fails`.
///
/// `fails` plays a schedule and says which invariant failed; of several, the one that is sought. It must say the same
/// of the same schedule. The result fails by construction: it is the schedule itself, or a candidate that did.
pub fn shrink(
    schedule: &Schedule,
    invariant: &str,
    runs_max: u32,
    fails: impl FnMut(&Schedule) -> Option<InvariantId>,
    told: impl FnMut(Step<'_>),
) -> Shrunk {
    search(schedule, invariant, runs_max, fails, told, |search| {
        search.faults();
        search.setting();
        search.projects();
        search.roles();
        search.waits();
        search.times();
        search.length();
        search.spans();
    })
}

/// The same for whoever only asks how many faults it takes: faults and parts of the setting go, all else stays.
pub fn shrink_faults(
    schedule: &Schedule,
    invariant: &str,
    runs_max: u32,
    fails: impl FnMut(&Schedule) -> Option<InvariantId>,
) -> Shrunk {
    search(
        schedule,
        invariant,
        runs_max,
        fails,
        |_| {},
        |search| {
            search.faults();
            search.setting();
        },
    )
}

/// Makes the same passes until none of them helps.
fn search(
    schedule: &Schedule,
    invariant: &str,
    runs_max: u32,
    mut fails: impl FnMut(&Schedule) -> Option<InvariantId>,
    mut told: impl FnMut(Step<'_>),
    passes: impl Fn(&mut Search<'_>),
) -> Shrunk {
    let mut search = Search {
        best: schedule.clone(),
        invariant,
        runs: 0,
        runs_max,
        exhausted: false,
        fails: &mut fails,
        told: &mut told,
    };
    loop {
        let before = search.best.clone();
        passes(&mut search);
        if search.best == before || search.exhausted {
            break;
        }
    }
    Shrunk { schedule: search.best, runs: search.runs, exhausted: search.exhausted }
}

/// How large a schedule is. What comes first weighs more.
fn size(schedule: &Schedule) -> impl Ord + use<> {
    let waits = schedule.faults.iter().filter(|fault| fault.on_event.is_some()).count();
    let spans = schedule.faults.iter().filter(|fault| fault.params.for_ms.is_some()).count();
    let aims = schedule.faults.iter().map(|fault| u64::from(fault.project) + u64::from(fault.role.unwrap_or(0)));
    let times: u64 = schedule.faults.iter().map(|fault| fault.at_ms).sum();
    let lasts: u64 = schedule.faults.iter().filter_map(|fault| fault.params.for_ms).sum();
    let counts = (schedule.faults.len(), schedule.projects, schedule.roles, waits, spans);
    let beside = beside(&schedule.setting);
    (counts.0, beside, counts, schedule.duration_ms, Reverse(schedule.control_ms), aims.sum::<u64>(), times, lasts)
}

/// How much there is beside the faults.
fn beside(setting: &Setting) -> usize {
    let of_policy = setting.policy.as_ref().map_or(0, |policy| 1 + odd(policy).len());
    setting.asked.len() + setting.said.len() + setting.places.len() + of_policy + usize::from(setting.attended)
}

/// A policy, limit by limit.
fn limits(policy: &Policy) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(policy) {
        Ok(serde_json::Value::Object(limits)) => limits,
        Ok(_) | Err(_) => serde_json::Map::new(),
    }
}

/// The limits that are not the default.
fn odd(policy: &Policy) -> Vec<String> {
    let default = limits(&Policy::default());
    limits(policy).into_iter().filter(|(key, value)| default.get(key) != Some(value)).map(|(key, _)| key).collect()
}

/// The policy with the default of one limit.
fn with_default(policy: &Policy, key: &str) -> Policy {
    let mut limits = limits(policy);
    // What a policy does not say is the default.
    limits.remove(key);
    serde_json::from_value(limits.into()).unwrap_or_else(|_| policy.clone())
}

/// The faults in the order of their times, numbered from 1.
fn ordered(mut faults: Vec<Planned>) -> Vec<Planned> {
    faults.sort_by_key(|fault| fault.at_ms);
    for (fault, id) in faults.iter_mut().zip(1..) {
        fault.id = id;
    }
    faults
}

struct Search<'a> {
    best: Schedule,
    invariant: &'a str,
    runs: u32,
    runs_max: u32,
    exhausted: bool,
    fails: &'a mut dyn FnMut(&Schedule) -> Option<InvariantId>,
    told: &'a mut dyn FnMut(Step<'_>),
}

impl Search<'_> {
    /// Takes a candidate, if it can be played, is smaller and fails in the same way.
    fn take(&mut self, candidate: Schedule) -> bool {
        if candidate.check().is_err() || size(&candidate) >= size(&self.best) {
            return false;
        }
        if self.runs >= self.runs_max {
            self.exhausted = true;
            return false;
        }
        self.runs += 1;
        let same = (self.fails)(&candidate).is_some_and(|failed| failed == self.invariant);
        if same {
            self.best = candidate;
            (self.told)(Step { runs: self.runs, schedule: &self.best });
        }
        same
    }

    fn with(&self, faults: Vec<Planned>) -> Schedule {
        Schedule { faults: ordered(faults), ..self.best.clone() }
    }

    /// Takes the best schedule with one fault changed.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Planned)) -> bool {
        let mut faults = self.best.faults.clone();
        let Some(fault) = faults.get_mut(place) else { return false };
        change(fault);
        self.take(self.with(faults))
    }

    /// ddmin: parts of ever finer grain are left out.
    fn faults(&mut self) {
        if !self.best.faults.is_empty() && self.take(self.with(Vec::new())) {
            return;
        }
        let mut parts = 2;
        while self.best.faults.len() > 1 && !self.exhausted {
            let (len, parts_now) = (self.best.faults.len(), parts.min(self.best.faults.len()));
            let bounds: Vec<usize> = (0..=parts_now).map(|part| part * len / parts_now).collect();
            let ranges: Vec<(usize, usize)> = bounds.iter().copied().zip(bounds.iter().copied().skip(1)).collect();
            let only = |&(from, to): &(usize, usize)| self.best.faults[from..to].to_vec();
            let without = |&(from, to): &(usize, usize)| [&self.best.faults[..from], &self.best.faults[to..]].concat();
            let subsets: Vec<Schedule> = ranges.iter().map(|range| self.with(only(range))).collect();
            let complements: Vec<Schedule> = ranges.iter().map(|range| self.with(without(range))).collect();
            if subsets.into_iter().any(|candidate| self.take(candidate)) {
                parts = 2;
            } else if complements.into_iter().any(|candidate| self.take(candidate)) {
                parts = parts_now.saturating_sub(1).max(2);
            } else if parts_now >= len {
                break;
            } else {
                parts = parts_now * 2;
            }
        }
    }

    /// Less beside the faults: nothing, one of its parts less, one request, word or limit less.
    fn setting(&mut self) {
        let parts: [fn(&mut Setting); 6] = [
            |setting| *setting = Setting::default(),
            |setting| setting.asked.clear(),
            |setting| setting.said.clear(),
            |setting| setting.places.clear(),
            |setting| setting.policy = None,
            |setting| setting.attended = false,
        ];
        for part in parts {
            self.set(part);
        }
        for place in (0..self.best.setting.asked.len()).rev() {
            self.set(|setting| {
                setting.asked.remove(place);
            });
        }
        for place in (0..self.best.setting.said.len()).rev() {
            self.set(|setting| {
                setting.said.remove(place);
            });
        }
        for key in self.best.setting.policy.as_ref().map(odd).unwrap_or_default() {
            self.set(|setting| setting.policy = setting.policy.as_ref().map(|policy| with_default(policy, &key)));
        }
    }

    /// Takes the best schedule with another setting.
    fn set(&mut self, change: impl FnOnce(&mut Setting)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate.setting);
        self.take(candidate)
    }

    /// One project less, whichever can be spared; then faults aimed at lower ones.
    fn projects(&mut self) {
        let mut project = 0;
        while project < self.best.projects && self.best.projects > 1 && !self.exhausted {
            let last = self.best.projects - 1;
            let spared = self.fewer_projects(|it| (it != project).then_some(it - u32::from(it > project)));
            let joined = self.fewer_projects(|it| Some(it.min(last.saturating_sub(1))));
            if !self.take(spared) && !self.take(joined) {
                project += 1;
            }
        }
        for place in 0..self.best.faults.len() {
            self.change(place, |fault| fault.project = 0);
        }
    }

    /// The best schedule with one project less, each by its new number; what is of one without a number is left out.
    fn fewer_projects(&self, number: impl Fn(u32) -> Option<u32>) -> Schedule {
        let faults = self.best.faults.iter();
        let faults = faults.filter_map(|fault| Some(Planned { project: number(fault.project)?, ..fault.clone() }));
        let candidate = self.with(faults.collect());
        let setting = self.best.setting.renumbered(number);
        Schedule { projects: self.best.projects - 1, setting, ..candidate }
    }

    /// One role less, the last first; then faults aimed at the first.
    fn roles(&mut self) {
        while self.best.roles > 1 && !self.exhausted {
            let last = self.best.roles - 1;
            let faults = self.best.faults.iter().cloned();
            let lower = faults.map(|mut fault| {
                fault.role = fault.role.map(|role| role.min(last.saturating_sub(1)));
                fault
            });
            let setting = self.best.setting.clone().with_roles(last);
            if !self.take(Schedule { roles: last, setting, ..self.with(lower.collect()) }) {
                break;
            }
        }
        for place in 0..self.best.faults.len() {
            self.change(place, |fault| fault.role = fault.role.map(|_| 0));
        }
    }

    /// No waiting for an event.
    fn waits(&mut self) {
        for place in 0..self.best.faults.len() {
            self.change(place, |fault| fault.on_event = None);
        }
    }

    /// Earlier: everything from a fault on together, so that what meets goes on meeting; then each on its own.
    fn times(&mut self) {
        for place in 0..self.best.faults.len() {
            for at_ms in less(self.best.faults[place].at_ms) {
                let by = self.best.faults[place].at_ms - at_ms;
                let mut faults = self.best.faults.clone();
                faults.iter_mut().skip(place).for_each(|fault| fault.at_ms = fault.at_ms.saturating_sub(by));
                if self.take(self.with(faults)) {
                    break;
                }
            }
        }
        for place in (0..self.best.faults.len()).rev() {
            let at_ms = self.best.faults[place].at_ms;
            // Together with the one before it is rounder than any number.
            let before = place.checked_sub(1).map(|before| self.best.faults[before].at_ms);
            for at_ms in before.into_iter().chain(less(at_ms)) {
                if self.change(place, |fault| fault.at_ms = at_ms) {
                    break;
                }
            }
        }
    }

    /// A shorter run, with as much of it healed as before or in proportion.
    fn length(&mut self) {
        let (duration_ms, control_ms) = (self.best.duration_ms, self.best.control_ms);
        for shorter in LENGTHS_MS.iter().copied().filter(|length| *length < duration_ms) {
            let quiet = [control_ms.min(shorter / 2), shorter * control_ms / duration_ms];
            if quiet.into_iter().any(|control_ms| {
                let setting = self.best.setting.clone().until(shorter);
                self.take(Schedule { duration_ms: shorter, control_ms, setting, ..self.best.clone() })
            }) {
                break;
            }
        }
    }

    /// Faults that last as long as they do by themselves, or for a rounder time.
    fn spans(&mut self) {
        for place in 0..self.best.faults.len() {
            let Some(for_ms) = self.best.faults[place].params.for_ms else { continue };
            for for_ms in std::iter::once(None).chain(less(for_ms).map(Some)) {
                if self.change(place, |fault| fault.params.for_ms = for_ms) {
                    break;
                }
            }
        }
    }
}

/// Smaller numbers to try instead of one: nothing, then round ones from the smallest on, then itself rounded down.
fn less(value: u64) -> impl Iterator<Item = u64> {
    let round = UNITS_MS.iter().rev().copied();
    let rounded = UNITS_MS.iter().map(move |unit| value / unit * unit);
    std::iter::once(0).chain(round).chain(rounded).filter(move |candidate| *candidate < value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;
    use crate::seed::Seed;
    use crate::setting::{Asked, Place, Said, Word};
    use crate::sim::draw::{Request, draw, kinds};
    use orchestrator::domain::request::RequestKind;

    /// The first schedule that is drawn with at least so many faults, and what it holds of these kinds.
    fn drawn(faults: usize, holds: &[Kind]) -> Schedule {
        let request = |seed| {
            let seed = Seed(seed);
            draw(&Request { seed, duration_ms: Some(1_800_000), projects: None, roles: None, kinds: kinds() })
        };
        let has = |schedule: &Schedule| holds.iter().all(|kind| schedule.kinds().contains(kind));
        (0..5_000).map(request).find(|found| found.faults.len() >= faults && has(found)).expect("one of 5000 seeds")
    }

    fn same(schedule: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Shrunk {
        shrink(schedule, "S4", 5_000, |tried| fails(tried).then(|| "S4".to_owned()), |_| {})
    }

    fn place(schedule: &Schedule, kind: Kind) -> Option<u64> {
        schedule.faults.iter().find(|fault| fault.kind == kind).map(|fault| fault.at_ms)
    }

    #[test]
    fn what_does_not_matter_goes() {
        let schedule = drawn(10, &[Kind::OrchKill, Kind::ServerKill]);
        let fails = |tried: &Schedule| {
            let (kill, server) = (place(tried, Kind::OrchKill), place(tried, Kind::ServerKill));
            kill.zip(server).is_some_and(|(kill, server)| kill.abs_diff(server) <= 2_000_000)
        };
        assert!(fails(&schedule), "it fails to begin with");
        let shrunk = same(&schedule, fails);
        let left = &shrunk.schedule;
        assert!(fails(left) && !shrunk.exhausted);
        assert_eq!(left.check(), Ok(()));
        assert_eq!(left.faults.len(), 2, "{left:#?}");
        assert_eq!((left.projects, left.roles, left.duration_ms), (1, 1, DURATION_MS_MIN));
        assert!(
            left.faults
                .iter()
                .all(|fault| fault.at_ms == 0 && fault.on_event.is_none() && fault.params.for_ms.is_none())
        );
        assert_eq!(same(left, fails).schedule, *left, "what is smallest stays as it is");
    }

    #[test]
    fn what_matters_stays() {
        let schedule = drawn(8, &[Kind::SessionKill]);
        let many = schedule.faults.len();
        let fails = |tried: &Schedule| {
            tried.projects >= 2
                && tried.duration_ms >= 61_000
                && place(tried, Kind::SessionKill).is_some_and(|at| at >= 4_321)
        };
        assert!(fails(&schedule));
        let left = same(&schedule, fails).schedule;
        assert!(left.faults.len() < many && fails(&left));
        assert_eq!((left.faults.len(), left.projects, left.duration_ms), (1, 2, 120_000));
        assert!((4_321..=10_000).contains(&left.faults[0].at_ms), "{left:#?}");
    }

    #[test]
    fn whoever_counts_faults_keeps_all_else() {
        let schedule = drawn(8, &[Kind::SessionKill]);
        let fails = |tried: &Schedule| place(tried, Kind::SessionKill).map(|_| "S4".to_owned());
        let left = shrink_faults(&schedule, "S4", 5_000, fails).schedule;
        assert_eq!((left.faults.len(), left.faults[0].kind), (1, Kind::SessionKill));
        assert_eq!(left.setting, Setting::default());
        let kept = |of: &Schedule| (of.projects, of.roles, of.duration_ms);
        assert_eq!(kept(&left), kept(&schedule));
    }

    #[test]
    fn the_setting_follows_what_it_is_of() {
        let drawn = drawn(8, &[Kind::SessionKill]);
        let policy = Policy { max_active: 1, breaker_max: 2, unknown_s: 60, ..Policy::default() };
        let place = |at_ms| Place { at_ms, ..Place::default() };
        let asked = |project, at_ms| Asked { at_ms, project: Some(project), kind: RequestKind::Retry, looks: false };
        let said = |project, role, word| Said { at_ms: 1_700_000, project, role, word };
        let setting = Setting {
            policy: Some(policy),
            places: vec![place(0), place(5), place(1_700_000)],
            asked: vec![asked(0, 5), asked(2, 1_700_000)],
            said: vec![said(1, 0, Word::Idle), said(2, 1, Word::Fail)],
            attended: true,
        };
        let schedule = Schedule { projects: 3, roles: 2, faults: Vec::new(), setting, ..drawn };
        assert_eq!(schedule.check(), Ok(()));
        let least = |fails: fn(&Setting) -> bool| {
            let left = same(&schedule, |tried| fails(&tried.setting)).schedule;
            assert!(fails(&left.setting));
            assert_eq!((left.projects, left.roles, left.duration_ms), (1, 1, DURATION_MS_MIN), "{left:#?}");
            left.setting
        };
        assert_eq!(least(|setting| !setting.places.is_empty()).places.len(), 1);
        assert_eq!(least(|setting| setting.asked.iter().any(|asked| asked.at_ms > 5)).asked.len(), 1);
        assert_eq!(least(|setting| setting.said.iter().any(|said| said.word == Word::Fail)).said.len(), 1);
        let tight = least(|setting| setting.policy.as_ref().is_some_and(|policy| policy.breaker_max == 2));
        assert_eq!(tight.policy, Some(Policy { breaker_max: 2, ..Policy::default() }));
    }

    /// A shrinker that changes which invariant fails loses the bug that it was given.
    #[test]
    fn another_invariant_is_refused() {
        let schedule = drawn(8, &[Kind::SessionKill]);
        let fails = |tried: &Schedule| match tried.faults.len() {
            0 => None,
            count if count < schedule.faults.len() => Some("L1".to_owned()),
            _ => Some("S4".to_owned()),
        };
        let shrunk = shrink(&schedule, "S4", 5_000, fails, |_| {});
        assert_eq!(fails(&shrunk.schedule).as_deref(), Some("S4"));
        assert_eq!(shrunk.schedule.faults.len(), schedule.faults.len());
    }

    #[test]
    fn it_is_never_larger_and_never_plays_more_than_it_may() {
        for runs_max in [0, 1, 7, 5_000] {
            let schedule = drawn(12, &[]);
            let mut runs = 0;
            let mut last = size(&schedule);
            let fails = |tried: &Schedule| {
                runs += 1;
                (tried.faults.len() >= 3).then(|| "S4".to_owned())
            };
            let shrunk = shrink(&schedule, "S4", runs_max, fails, |step| {
                let now = size(step.schedule);
                assert!(now < last);
                last = now;
            });
            assert!(runs <= runs_max && shrunk.runs == runs);
            assert!(size(&shrunk.schedule) <= size(&schedule));
        }
    }
}
