//! Bugs of the harness itself, and what keeps them from turning a run that shows nothing into a pass.

use super::matrix::{EXACTLY, Names, calm, least, play, play_with};
use super::{Bend, BendRef};
use crate::check::{Checker, Evidence, Is, Tally, Verdict, witnessed};
use crate::fault::Kind;
use crate::schedule::{Params, Planned};
use crate::sim::Outcome;
use crate::sim::campaign::{Played, Totals};
use crate::sim::conclusion::{Conclusion, Owed, concluded};
use crate::sim::cover::Sometimes;
use crate::sim::replay::How;
use orchestrator::domain::signal::Entry;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What became of a bug of the harness.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Its name.
    pub bug: &'static str,
    /// What it would do.
    pub what: &'static str,
    /// By which rule it is caught.
    pub rule: &'static str,
    /// Whether it was, and how that shows.
    pub caught: Result<String, String>,
}

/// Tries one of them; an error if it goes uncaught.
type Proof = fn() -> Result<String, String>;

/// Name, what it does, by which rule it is caught, and the proof.
const HARNESS: &[(&str, &str, &str, Proof)] = &[
    ("injector_does_nothing", "faults are tried and nothing happens", "M1", idle_injector),
    ("injector_fails", "faults that cannot be done, each with its reason", "M3", failing_injector),
    ("injector_boasts", "a fault that could not be done is called done", "M3", boasting_injector),
    ("checker_always_passes", "a checker that finds nothing wrong, ever", "kill matrix", blind_checker),
    ("checker_panics", "a checker that breaks while it looks", "M4", broken_checker),
    ("moment_never_comes", "a generator that never reaches the rare moments", "M2", idle_generator),
    ("run_stops_early", "a simulation that breaks off before its end", "M4", broken_run),
    (
        "shrinker_loses_the_bug",
        "a shrinker that takes candidates for failing that do not",
        "same invariant",
        careless_shrinker,
    ),
    ("nothing_is_a_pass", "a checker that found nothing to check calls that a pass", "M4", empty_checker),
];

/// Plants every bug of the harness.
#[must_use]
pub fn harness() -> Vec<Kept> {
    HARNESS.iter().map(|(bug, what, rule, proof)| Kept { bug, what, rule, caught: proof() }).collect()
}

/// The verdict on one run of which so much is owed.
fn verdict(came: Result<Outcome, String>, owed: &Owed) -> Conclusion {
    let mut totals = Totals::default();
    totals.add(&Played { seed: 0, came });
    concluded(&totals, owed)
}

fn idle_injector() -> Result<String, String> {
    let owed = Owed { kinds: BTreeSet::from([Kind::SessionKill]), ..Owed::default() };
    let tried = Outcome { injected: BTreeMap::from([(Kind::SessionKill, 3)]), ..Outcome::default() };
    let found = verdict(Ok(tried), &owed);
    match found.is {
        Is::Unknown => Ok(format!("inconclusive: {}", found.doubts.join("; "))),
        Is::Pass | Is::Fail => Err("three faults without effect were no reason for doubt".to_owned()),
    }
}

/// A session is to be killed before there is one, and nothing else is tried.
fn killed_too_early(bend: Option<BendRef>) -> Result<Outcome, String> {
    let kind = Kind::SessionKill;
    let mut schedule = calm();
    let params = Params::default();
    schedule.faults = vec![Planned { id: 1, at_ms: 4, on_event: None, kind, project: 0, role: None, params }];
    play(&schedule, How { bend, ..How::default() })
}

fn failing_injector() -> Result<String, String> {
    unproved(killed_too_early(None)?, "there is no session")
}

fn boasting_injector() -> Result<String, String> {
    unproved(killed_too_early(Some(Rc::new(RefCell::new(Boasts))))?, "nothing of it was witnessed")
}

/// A fault that failed with these words is no effect, and a run of nothing else is inconclusive.
fn unproved(outcome: Outcome, why: &str) -> Result<String, String> {
    let probes: Vec<_> = outcome.injections.iter().map(|tried| tried.probe.clone()).collect();
    let said = matches!(probes.as_slice(), [Err(text)] if text.contains(why));
    let found = verdict(Ok(outcome), &Owed::default());
    match (said, found.is) {
        (true, Is::Unknown) => Ok(format!("inconclusive: {}", found.doubts.join("; "))),
        _ => Err(format!("its probe says {probes:?}, the verdict is {:?}", found.is)),
    }
}

struct Boasts;

impl Bend for Boasts {
    fn boasts(&self) -> bool {
        true
    }
}

/// Its bug is found by nobody else.
const ONLY: &str = "session_name_not_written";

fn blind_checker() -> Result<String, String> {
    let Some(bug) = super::all().find(|bug| bug.name == ONLY) else { return Err("no such bug".to_owned()) };
    let sees = super::kill(bug, 3, false).seeds.is_some();
    let blind = play_with(bug, 0, |checkers| {
        checkers
            .into_iter()
            .map(|checker| -> Box<dyn Checker> {
                if checker.id() == bug.intended { Box::new(Blind(checker.id())) } else { checker }
            })
            .collect()
    })?;
    let survives = !blind.violated().any(|finding| finding.id == bug.intended);
    match (sees, survives) {
        (true, true) => Ok(format!("{ONLY} is not killed by {}: the matrix is red", bug.intended)),
        _ => Err(format!("{ONLY} is killed without the checker that was made for it")),
    }
}

fn broken_checker() -> Result<String, String> {
    let found =
        verdict(play(&calm(), How { checkers: Some(vec![Box::new(Breaks)]), ..How::default() }), &Owed::default());
    match found.is {
        Is::Unknown => Ok(format!("inconclusive: {}", found.doubts.join("; "))),
        Is::Pass | Is::Fail => Err(format!("its verdict is {found:?}")),
    }
}

fn idle_generator() -> Result<String, String> {
    let found = verdict(Ok(Outcome::default()), &Owed { moments: true, ..Owed::default() });
    let never = found.doubts.iter().filter(|doubt| doubt.ends_with("never came")).count();
    match (found.is, never == Sometimes::ALL.len()) {
        (Is::Unknown, true) => Ok("inconclusive: every rare moment is named as one that never came".to_owned()),
        _ => Err(format!("its verdict is {found:?}")),
    }
}

fn broken_run() -> Result<String, String> {
    let found = verdict(Ok(Outcome { broke: Some("it stopped".to_owned()), ..Outcome::default() }), &Owed::default());
    match found.is {
        Is::Unknown => Ok(format!("inconclusive: {}", found.doubts.join("; "))),
        Is::Pass | Is::Fail => Err(format!("its verdict is {found:?}")),
    }
}

/// A bug that shows under faults only.
const NEEDS_FAULTS: &str = "breaker_off_by_minus_one";

fn careless_shrinker() -> Result<String, String> {
    let Some(bug) = super::all().find(|bug| bug.name == NEEDS_FAULTS) else { return Err("no such bug".to_owned()) };
    let content: Names = |sought, _| Some(sought);
    match (least(bug, 0, EXACTLY), least(bug, 0, content)) {
        (Ok(_), Err(why)) => Ok(format!("{NEEDS_FAULTS}: {why}: the matrix is red")),
        (Err(why), _) => Err(why),
        (_, Ok(_)) => Err("whatever it is content with fails as the whole schedule did".to_owned()),
    }
}

fn empty_checker() -> Result<String, String> {
    let (truth, claims) = Default::default();
    let evidence = Evidence { truth: &truth, claims: &claims, matched: &[], journal: &[] };
    let passes = |mut checker: Box<dyn Checker>| (checker.finish(&evidence).is == Is::Pass).then(|| checker.id());
    let passing: Vec<_> = witnessed::all(false).into_iter().filter_map(passes).collect();
    if passing.is_empty() {
        Ok("every verdict on an empty history is unknown".to_owned())
    } else {
        Err(format!("{} pass on an empty history", passing.join(", ")))
    }
}

struct Blind(&'static str);

impl Checker for Blind {
    fn id(&self) -> &'static str {
        self.0
    }
    fn title(&self) -> &'static str {
        "finds nothing wrong"
    }
    fn observe(&mut self, _: &Entry) {}
    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        let mut tally = Tally::default();
        tally.held(1);
        tally.verdict("")
    }
}

/// A checker that panics at the first entry.
pub(crate) struct Breaks;

impl Checker for Breaks {
    fn id(&self) -> &'static str {
        "X"
    }
    fn title(&self) -> &'static str {
        "breaks"
    }
    #[expect(clippy::panic, reason = "this is the bug")]
    fn observe(&mut self, _: &Entry) {
        panic!("on purpose")
    }
    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        let mut tally = Tally::default();
        tally.held(1);
        tally.verdict("")
    }
}
