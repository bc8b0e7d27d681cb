//! The kill matrix: each planted bug against every invariant.

use super::{BendRef, Bug, Kept, all, harness};
use crate::check::{Checker, Finding, witnessed};
use crate::schedule::Schedule;
use crate::seed::Seed;
use crate::sim::Outcome;
use crate::sim::draw::{self, Request};
use crate::sim::replay::{self, How, WORK_US};
use crate::sim::shrink::{self, Shrunk};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Seeds that are tried before a bug counts as not killed.
pub const SEEDS_MAX: u64 = 300;

/// Schedules that are played at most to make one bug's schedule smaller.
pub const SHRINK_RUNS_MAX: u32 = 400;

/// Invariants without a bug that only they find, and why they stay: none at present.
const REDUNDANT: &[&str] = &[];

/// The store's own audit is no invariant beside the others: it is a second look at several of them.
const AUDIT: &str = "audit";

/// What became of a planted bug.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kill {
    /// Its name.
    pub bug: &'static str,
    /// The invariant that it was made for.
    pub intended: &'static str,
    /// How many seeds it took until that invariant failed; none if it never did.
    pub seeds: Option<u64>,
    /// The other invariants that failed with that seed, or with any seed if the intended one never did. None are kept
    /// for M5: they differ from run to run.
    pub others: BTreeSet<&'static str>,
    /// How many faults that seed's schedule has.
    pub faults: usize,
    /// How many it takes; none if nobody asked, and for M5, which one run alone does not show.
    pub shrunk: Option<Length>,
    /// Why the smaller schedule is none, if it does not fail as the whole one did.
    pub lost: Option<String>,
    /// What the intended invariant says.
    pub says: String,
}

/// How long a shrunk schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Length {
    /// Faults that are left.
    pub faults: usize,
    /// Whether shrinking stopped at its bound, so that fewer may do.
    pub bounded: bool,
}

/// All of them.
#[derive(Debug, Clone, Serialize)]
pub struct Matrix {
    /// Bug by bug.
    pub kills: Vec<Kill>,
    /// The bugs of the harness itself.
    pub harness: Vec<Kept>,
}

fn schedule(bug: &Bug, seed: u64) -> Schedule {
    let kinds = if bug.kinds.is_empty() { draw::kinds() } else { bug.kinds.to_vec() };
    let (projects, roles) = (bug.projects, bug.roles);
    draw::draw(&Request { seed: Seed(seed), duration_ms: Some(bug.minutes * 60_000), projects, roles, kinds })
}

/// Plays it as everybody does, but for how long work takes: as long in a long run as in a short one. With work in
/// proportion S8 finds `half_open_admits_two` as well, and it is S7 that it was made for.
pub(super) fn play(schedule: &Schedule, how: How) -> Result<Outcome, String> {
    replay::play(schedule, How { work_us: Some(WORK_US), ..how })
}

/// What failed in one play, by invariant, with its first words; a simulation that broke counts as `sim`, and one that
/// panicked as `panic`.
fn failed(came: &Result<Outcome, String>) -> BTreeMap<&'static str, String> {
    let says = |finding: &Finding| finding.verdict.violations.first().cloned().unwrap_or_default();
    let outcome = match came {
        Ok(outcome) => outcome,
        Err(why) => return BTreeMap::from([("panic", why.clone())]),
    };
    let mut failed: BTreeMap<_, _> = outcome.violated().map(|finding| (finding.id, says(finding))).collect();
    failed.extend(outcome.broke.clone().map(|why| ("sim", why)));
    failed
}

fn twice(schedule: &Schedule, plant: &dyn Fn() -> Option<BendRef>, again: bool) -> BTreeMap<&'static str, String> {
    let played = || play(schedule, How { bend: plant(), fingerprint: again, ..How::default() });
    let came = played();
    let mut failed = failed(&came);
    let print = |came: Result<Outcome, String>| came.map(|outcome| outcome.fingerprint);
    if again && print(played()) != print(came) {
        failed.insert("M5", "the same seed told another story".to_owned());
    }
    failed
}

/// What a shrinker goes by: what failed under a candidate, of several the one that is sought.
pub(super) type Names = fn(sought: &'static str, failed: &[&'static str]) -> Option<&'static str>;

/// The invariant that is sought, or whichever else failed.
pub(super) const EXACTLY: Names = |sought, failed| failed.iter().find(|id| **id == sought).or(failed.first()).copied();

/// The faults that it takes for the invariant to fail with that bug and that seed.
///
/// # Errors
/// What fails under the schedule that came out, if the invariant that was sought does not.
pub(super) fn least(bug: &Bug, seed: u64, names: Names) -> Result<Shrunk, String> {
    let failing = |tried: &Schedule| -> Vec<&'static str> {
        let failed = twice(tried, &|| Some((bug.plant)(tried)), false);
        failed.into_keys().collect()
    };
    let fails = |tried: &Schedule| names(bug.intended, &failing(tried)).map(str::to_owned);
    let shrunk = shrink::shrink_faults(&schedule(bug, seed), bug.intended, SHRINK_RUNS_MAX, fails);
    let left = failing(&shrunk.schedule);
    if left.contains(&bug.intended) {
        return Ok(shrunk);
    }
    Err(format!("{} no longer fails under the shrunk schedule, but [{}]", bug.intended, left.join(" ")))
}

/// Plays seed after seed with the bug until the invariant that it was made for fails, and makes that seed's schedule
/// smaller if asked to.
#[must_use]
pub fn kill(bug: &Bug, seeds: u64, shrinks: bool) -> Kill {
    let (bug_name, intended) = (bug.name, bug.intended);
    let nothing = Kill {
        bug: bug_name,
        intended,
        seeds: None,
        others: BTreeSet::new(),
        faults: 0,
        shrunk: None,
        lost: None,
        says: String::new(),
    };
    let mut kill = nothing;
    for seed in 0..seeds {
        let schedule = schedule(bug, seed);
        let plant = || Some((bug.plant)(&schedule));
        let mut failed = twice(&schedule, &plant, intended == "M5");
        if let Some(says) = failed.remove(intended) {
            // What else a run that is never the same violates is never the same either.
            let others = if intended == "M5" { BTreeSet::new() } else { failed.into_keys().collect() };
            let shrunk = (shrinks && intended != "M5").then(|| least(bug, seed, EXACTLY));
            let (shrunk, lost) = match shrunk.transpose() {
                Ok(shrunk) => (shrunk, None),
                Err(why) => (None, Some(why)),
            };
            let shrunk =
                shrunk.map(|shrunk| Length { faults: shrunk.schedule.faults.len(), bounded: shrunk.exhausted });
            return Kill { seeds: Some(seed + 1), others, faults: schedule.faults.len(), shrunk, lost, says, ..kill };
        }
        kill.others.extend(failed.into_keys());
    }
    kill
}

/// What fails with that seed of that bug's request, and no bug: nothing may.
#[must_use]
pub fn sound(bug: &Bug, seed: u64) -> Vec<String> {
    let schedule = schedule(bug, seed);
    let failed = twice(&schedule, &|| None, bug.intended == "M5");
    failed.into_iter().map(|(id, says)| format!("{} seed {seed}: {id}: {says}", bug.name)).collect()
}

impl Matrix {
    /// Plays every bug.
    #[must_use]
    pub fn all(seeds: u64, shrinks: bool) -> Self {
        Self { kills: all().map(|bug| kill(bug, seeds, shrinks)).collect(), harness: harness() }
    }

    /// The bugs that the invariant they were made for does not find.
    pub fn survivors(&self) -> impl Iterator<Item = &Kill> {
        self.kills.iter().filter(|kill| kill.seeds.is_none())
    }

    /// Why the matrix is not what it must be, line by line.
    #[must_use]
    pub fn red(&self) -> Vec<String> {
        let survivor = |kill: &Kill| {
            // What else a run that is never the same violates is never the same either.
            let others: Vec<&str> = kill.others.iter().copied().filter(|_| kill.intended != "M5").collect();
            format!(
                "{} is not killed by {}; other invariants that fail: [{}]",
                kill.bug,
                kill.intended,
                others.join(" ")
            )
        };
        let uncaught = self.harness.iter().filter_map(|kept| {
            let why = kept.caught.as_ref().err()?;
            Some(format!("{} is not caught by {}: {why}", kept.bug, kept.rule))
        });
        let lost = self.kills.iter().filter_map(|kill| Some(format!("{}: {}", kill.bug, kill.lost.as_ref()?)));
        self.survivors().map(survivor).chain(lost).chain(uncaught).collect()
    }

    /// The invariants that find nothing by themselves, and are not known for it. Of the whole matrix only.
    #[must_use]
    pub fn unneeded(&self) -> Vec<&'static str> {
        let nothing = |(id, bugs): (&'static str, Vec<_>)| (bugs.is_empty() && !REDUNDANT.contains(&id)).then_some(id);
        self.alone().into_iter().filter_map(nothing).collect()
    }

    /// The invariants, each with the bugs that it kills and no other does.
    #[must_use]
    pub fn alone(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let ids = witnessed::all(true).into_iter().map(|checker| checker.id()).chain(["M5"]).filter(|id| *id != AUDIT);
        let of = |id| {
            let alone =
                |kill: &&Kill| kill.intended == id && kill.seeds.is_some() && kill.others.iter().all(|id| *id == AUDIT);
            self.kills.iter().filter(alone).map(|kill| kill.bug).collect()
        };
        ids.map(|id| (id, of(id))).collect()
    }

    /// As a table in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out =
            String::from("| bug | made for | seeds | faults | shrunk | also fails |\n|---|---|---|---|---|---|\n");
        for kill in &self.kills {
            let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
            let seeds = kill.seeds.map_or("NOT KILLED".to_owned(), |seeds| seeds.to_string());
            let others: Vec<&str> = kill.others.iter().copied().collect();
            let length = |it: Length| if it.bounded { format!("at most {}", it.faults) } else { it.faults.to_string() };
            let shrunk = number(kill.shrunk.map(length));
            let (bug, intended, faults, others) = (kill.bug, kill.intended, kill.faults, others.join(" "));
            let _ = writeln!(out, "| {bug} | {intended} | {seeds} | {faults} | {shrunk} | {others} |");
        }
        out.push_str("\n| invariant | kills alone |\n|---|---|\n");
        for (id, bugs) in self.alone() {
            let bugs = if bugs.is_empty() { "nothing: redundant".to_owned() } else { bugs.join(", ") };
            let _ = writeln!(out, "| {id} | {bugs} |");
        }
        out.push_str("\n| bug of the harness | rule | caught |\n|---|---|---|\n");
        for kept in &self.harness {
            let caught = kept.caught.as_ref().unwrap_or_else(|why| why);
            let caught = if kept.caught.is_ok() { caught.clone() } else { format!("NOT CAUGHT: {caught}") };
            let _ = writeln!(out, "| {} | {} | {caught} |", kept.bug, kept.rule);
        }
        out
    }
}

/// One play with the bug, under other checkers than usual.
pub(super) fn play_with(
    bug: &Bug,
    seed: u64,
    change: impl Fn(Vec<Box<dyn Checker>>) -> Vec<Box<dyn Checker>>,
) -> Result<Outcome, String> {
    let schedule = schedule(bug, seed);
    let checkers = Some(change(witnessed::under(schedule.is_calm(), schedule.policy())));
    play(&schedule, How { bend: Some((bug.plant)(&schedule)), checkers, ..How::default() })
}

/// Ten minutes of one project without any fault.
pub(super) fn calm() -> Schedule {
    let request =
        Request { seed: Seed(0), duration_ms: Some(600_000), projects: Some(1), roles: Some(1), kinds: Vec::new() };
    draw::draw(&request)
}

#[cfg(test)]
mod tests {
    use super::super::Bend;
    use super::super::hands::Lax;
    use super::*;
    use crate::fault::Kind;
    use crate::schedule::{Params, Planned};
    use crate::setting::Setting;
    use orchestrator::domain::limits::Policy;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn found(intended: &'static str) -> Kill {
        let (others, says) = (BTreeSet::new(), String::new());
        Kill { bug: intended, intended, seeds: Some(1), others, faults: 0, shrunk: None, lost: None, says }
    }

    /// One bug for each invariant, of which that of L3 is as given.
    fn unneeded(l3: Kill) -> Vec<&'static str> {
        let matrix = Matrix { kills: Vec::new(), harness: Vec::new() };
        let rest = matrix.alone().into_keys().filter(|id| *id != "L3").map(found);
        Matrix { kills: rest.chain([l3]).collect(), ..matrix }.unneeded()
    }

    struct Panics;

    impl Bend for Panics {
        #[expect(clippy::panic, reason = "this is the bug")]
        fn policy(&mut self, _: &mut Policy) {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_panic_is_a_finding() {
        let failed = twice(&calm(), &|| Some(Rc::new(RefCell::new(Panics))), false);
        assert_eq!(failed.into_iter().collect::<Vec<_>>(), [("panic", "panic: on purpose".to_owned())]);
    }

    /// By hand, for none of 300 seeds draws it. One breaker opens at half a minute and another at eight, so the fleet's
    /// is to close at ten and a half; the run ends before a window after the second opening is over.
    #[test]
    fn a_fleet_breaker_that_counts_for_too_long_is_found() {
        let policy = Policy { max_active: 2, fleet_breaker_max: 1, ..Policy::default() };
        let dies = |id, at_ms, project| {
            let (kind, role, params) = (Kind::AgentExitInstant, Some(0), Params::default());
            Planned { id, at_ms, on_event: None, kind, project, role, params }
        };
        let schedule = Schedule {
            duration_ms: 1_140_000,
            control_ms: 570_000,
            projects: 8,
            faults: vec![dies(1, 10_000, 0), dies(2, 480_000, 3)],
            setting: Setting { policy: Some(policy), ..Setting::default() },
            ..calm()
        };
        assert_eq!(schedule.check(), Ok(()));
        let found = |bend| failed(&play(&schedule, How { bend, ..How::default() })).into_keys().collect::<Vec<_>>();
        assert_eq!(found(None), Vec::<&str>::new());
        let late: BendRef = Rc::new(RefCell::new(Lax(|policy| policy.fleet_breaker_window_s *= 2)));
        assert_eq!(found(Some(late)), ["L1", "L5"]);
    }

    #[test]
    fn an_invariant_whose_every_bug_another_finds_too_is_unneeded() {
        assert_eq!(unneeded(found("L3")), Vec::<&str>::new());
        let with = |id| Kill { others: BTreeSet::from([id]), ..found("L3") };
        assert_eq!(unneeded(with(AUDIT)), Vec::<&str>::new(), "the audit is no invariant beside the others");
        assert_eq!(unneeded(with("L1")), ["L3"], "L1 finds it too");
        assert_eq!(unneeded(Kill { seeds: None, ..found("L3") }), ["L3"], "nobody finds it");
        assert_eq!(unneeded(found("L1")), ["L3"], "it was made for another");
    }
}
