//! The sweep itself: every row under every fault, every ordered pair of rows, every moment on both sides.

use super::play::{End, Played, Scenario, play};
use super::rows::{Due, Moment, ROWS, Row, Spot};
use super::strike::{At, Hit, Log, Strike};
use crate::sim::planted::Plant;
use crate::sim::points::Side;
use crate::witness::Fact;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// "Every time" ends here: a fault that never stops leaves nothing to compare.
const TIMES_MAX: usize = 3;
/// So many commits what finds nothing to hit is put off at most: more than there are in the 30 s that a hit lasts.
const LATER_MAX: u64 = 64;

/// What a case came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// It ended as if nothing had hit.
    Equal,
    /// It did not.
    Differs(Vec<String>),
    /// Its moment did not come, or there was nothing to hit.
    NotReached(String),
}

/// A row under a fault.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// The row.
    pub row: &'static str,
    /// The fault.
    pub fault: &'static str,
    /// Whether it hit again whenever the moment came again, rather than once.
    pub every: bool,
    /// How often it hit.
    pub times: usize,
    /// Whether there was nothing to hit at the moment itself: then it hit at the first commit after it at which there
    /// was something.
    pub put_off: bool,
    /// What it came to.
    pub judged: Judged,
}

/// Two rows: the orchestrator killed at the first, and on its way from there at the second.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// The first.
    pub first: &'static str,
    /// The second.
    pub second: &'static str,
    /// What it came to.
    pub judged: Judged,
}

/// The orchestrator killed at a moment of the reference run.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Which moment: its number and its label.
    pub moment: String,
    /// What it came to.
    pub judged: Judged,
}

/// How many came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// All.
    pub all: usize,
    /// Those that ended equal.
    pub equal: usize,
    /// Those that did not.
    pub differ: usize,
    /// Those whose moment was not reached.
    pub not_reached: usize,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Swept {
    /// Rows under faults.
    pub cases: Vec<Case>,
    /// Pairs of rows.
    pub pairs: Vec<Pair>,
    /// Single moments.
    pub points: Vec<Found>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { all, equal, differ, not_reached } = self;
        write!(out, "{all:>5}: {equal} equal, {differ} differ, {not_reached} not reached")
    }
}

impl Figures {
    /// Counts.
    #[must_use]
    pub fn of<'a>(judged: impl Iterator<Item = &'a Judged>) -> Self {
        let mut figures = Self::default();
        for one in judged {
            figures.all += 1;
            match one {
                Judged::Equal => figures.equal += 1,
                Judged::Differs(_) => figures.differ += 1,
                Judged::NotReached(_) => figures.not_reached += 1,
            }
        }
        figures
    }
}

/// Does the work for every item on every core; results come in the order of the items.
fn spread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let done = work(item);
                    if let Ok(mut found) = found.lock() {
                        found.insert(place, done);
                    }
                }
            });
        }
    });
    found.into_inner().map(|found: BTreeMap<usize, R>| found.into_values().collect()).unwrap_or_default()
}

/// The next moment of that kind after a place in a run.
fn next(log: &Log, spot: Spot, (commits, points): (u64, u64), nth: usize) -> Option<Strike> {
    let nth = nth.saturating_sub(1);
    let number = |place: usize| place as u64 + 1;
    let at = match spot.moment {
        Moment::Commit(label) => log
            .commits
            .iter()
            .take(log.sealed.0)
            .enumerate()
            .filter(|(place, commit)| number(*place) > commits && commit.labels.iter().any(|one| one == label))
            .nth(nth)
            .map(|(place, _)| At::Commit(number(place))),
        Moment::Point(name) => log
            .points
            .iter()
            .take(log.sealed.1)
            .enumerate()
            .filter(|(place, point)| number(*place) > points && *point == name)
            .nth(nth)
            .map(|(place, _)| At::Point(number(place))),
    }?;
    Some(Strike { at, side: spot.side, hit: Hit::Crash })
}

/// The references, one a scenario.
struct Ends {
    plant: Plant,
    of: BTreeMap<Scenario, Played>,
}

impl Ends {
    fn new(all: &[Scenario], plant: Plant) -> Self {
        let played = spread(all, |scenario| play(*scenario, &[], plant));
        Self { plant, of: all.iter().copied().zip(played).collect() }
    }

    fn of(&self, scenario: Scenario) -> Option<&Played> {
        self.of.get(&scenario)
    }

    fn end(&self, scenario: Scenario) -> End {
        self.of(scenario).map(|played| played.end.clone()).unwrap_or_default()
    }

    /// What speaks against a run.
    fn against(&self, scenario: Scenario, played: &Played) -> Vec<String> {
        let mut found = played.violated.clone();
        found.extend(played.end.differs(&self.end(scenario)));
        found
    }

    /// What a run came to. One that did not suffer all that was planned is no proof, however it ended.
    fn judge(&self, scenario: Scenario, played: &Played, more: Vec<String>) -> Judged {
        let mut found = self.against(scenario, played);
        found.extend(more);
        match &played.idle {
            Some(why) if found.is_empty() => Judged::NotReached(why.clone()),
            _ if found.is_empty() => Judged::Equal,
            _ => Judged::Differs(found),
        }
    }
}

/// A course on its way to a moment: what has been planned so far, and the run that this gave.
#[derive(Clone)]
struct Course {
    scenario: Scenario,
    plant: Plant,
    strikes: Vec<Strike>,
    played: Played,
}

impl Course {
    fn begin(ends: &Ends, scenario: Scenario) -> Option<Self> {
        let played = ends.of(scenario)?.clone();
        Some(Self { scenario, plant: ends.plant, strikes: Vec::new(), played })
    }

    fn here(&self) -> (u64, u64) {
        self.strikes.last().map_or((0, 0), |strike| self.played.log.place(strike.at))
    }

    /// Lets something hit at the next such moment; false if it does not come.
    fn strike(&mut self, spot: Spot, hit: Hit, nth: usize) -> bool {
        let Some(found) = next(&self.played.log, spot, self.here(), nth) else { return false };
        self.strikes.push(Strike { hit, ..found });
        self.played = play(self.scenario, &self.strikes, self.plant);
        true
    }

    /// Builds a row's situation on top of what there is.
    fn build(&mut self, setup: &[(Spot, Hit)]) -> Result<(), String> {
        for (spot, hit) in setup {
            if !self.strike(*spot, *hit, spot.nth) {
                return Err(format!("{:?} does not come", spot.moment));
            }
        }
        Ok(())
    }

    /// Lets what found nothing to hit strike at the next commit instead, and the next, until it hits something.
    fn put_off(&mut self, hit: Hit, took: usize) -> bool {
        let Some(last) = self.strikes.last().copied() else { return false };
        let (commits, _) = self.played.log.place(last.at);
        for later in 1..=LATER_MAX {
            self.strikes.pop();
            self.strikes.push(Strike { at: At::Commit(commits + later), ..last });
            self.played = play(self.scenario, &self.strikes, self.plant);
            if self.took(hit) > took {
                return true;
            }
        }
        false
    }

    /// How often this has hit something.
    fn took(&self, hit: Hit) -> usize {
        self.played.log.suffered.iter().filter(|(one, took)| *one == hit && *took).count()
    }
}

fn told(played: &Played, label: &str) -> usize {
    played.log.entries.iter().filter(|entry| super::label(&entry.signal.what) == label).count()
}

fn passed(played: &Played, point: &str) -> usize {
    played.log.points.iter().filter(|name| *name == point).count()
}

fn counted(played: &Played, is: impl Fn(&Fact) -> bool) -> usize {
    played.log.facts.iter().filter(|told| is(&told.fact)).count()
}

/// Whether what a row promises came to pass.
fn holds(due: Due, base: &Played, played: &Played, times: usize) -> Result<(), String> {
    let session = |fact: &Fact| matches!(fact, Fact::SessionUp { ours: true, .. });
    let agent = |fact: &Fact| matches!(fact, Fact::AgentBorn { .. });
    let (what, is, least, most) = match due {
        Due::Same(label) => (label, told(played, label), told(base, label), told(base, label)),
        Due::NoLess(label) => (label, told(played, label), told(base, label), usize::MAX),
        Due::Exactly(label, count) => (label, told(played, label), count, count),
        Due::NotAgain(point) => (point, passed(played, point), passed(base, point), passed(base, point)),
        Due::Again(point, more) => (point, passed(played, point), 0, passed(base, point) + more * times),
        Due::SameSessions => ("sessions", counted(played, session), counted(base, session), counted(base, session)),
        Due::SameAgents => ("agents", counted(played, agent), counted(base, agent), counted(base, agent)),
    };
    if (least..=most).contains(&is) { Ok(()) } else { Err(format!("{what}: {is} times, due were {least} to {most}")) }
}

/// Both cases of a row under one fault: once, and every time.
fn both(ends: &Ends, row: &Row, base: &Course, hit: Hit) -> [Case; 2] {
    let spot = row.spot;
    let mut course = base.clone();
    let judged = |course: &Course, times: usize| {
        if course.took(hit) <= base.took(hit) {
            return Judged::NotReached("there is nothing to hit at that moment".to_owned());
        }
        let due = row.due.iter().filter(|_| hit == Hit::Crash);
        let found = due.filter_map(|due| holds(*due, &base.played, &course.played, times).err());
        ends.judge(course.scenario, &course.played, found.collect())
    };
    if !course.strike(spot, hit, spot.nth) {
        let why = Judged::NotReached(format!("{:?} does not come", spot.moment));
        return unplayed(row, hit, &why);
    }
    let put_off = course.took(hit) <= base.took(hit) && course.put_off(hit, base.took(hit));
    let case = |every, times, judged| Case { row: row.id, fault: hit.name(), every, times, put_off, judged };
    let once = case(false, 1, judged(&course, 1));
    let mut times = 1;
    while times < TIMES_MAX && course.strike(spot, hit, 1) {
        times += 1;
    }
    [once, case(true, times, judged(&course, times))]
}

fn unplayed(row: &Row, hit: Hit, judged: &Judged) -> [Case; 2] {
    let (row, fault) = (row.id, hit.name());
    [false, true].map(|every| Case { row, fault, every, times: 0, put_off: false, judged: judged.clone() })
}

/// Every row that is asked for, under every fault that is, once and every time.
#[must_use]
pub fn rows(only: &[&'static Row], faults: &[Hit], plant: Plant) -> Vec<Case> {
    let ends = Ends::new(&[Scenario::RECOVERS, Scenario::BREAKER, Scenario::FAILS], plant);
    let found = spread(only, |row| -> Vec<Case> {
        let Some(mut base) = Course::begin(&ends, row.scenario) else { return Vec::new() };
        if let Err(why) = base.build(row.setup) {
            let why = Judged::NotReached(why);
            return faults.iter().flat_map(|hit| unplayed(row, *hit, &why)).collect();
        }
        faults.iter().flat_map(|hit| both(&ends, row, &base, *hit)).collect()
    });
    found.into_iter().flatten().collect()
}

/// Every ordered pair of these rows: the orchestrator dies at the first, then at the second.
#[must_use]
pub fn pairs(firsts: &[&'static Row], seconds: &[&'static Row], plant: Plant) -> Vec<Pair> {
    let ends = Ends::new(&Scenario::ALL, plant);
    let all: Vec<(&Row, &Row)> =
        firsts.iter().flat_map(|first| seconds.iter().map(move |second| (*first, *second))).collect();
    spread(&all, |(first, second)| pair(&ends, first, second))
}

fn pair(ends: &Ends, first: &'static Row, second: &'static Row) -> Pair {
    let both = first.scenario.with(second.scenario);
    // What comes once in a short life comes again in one whose last project is late.
    let lives = [(both, false), (both.lately(), false), (both.lately(), true)];
    let mut found = lives.map(|(life, any)| move || crossed(ends, life, (first, second), any)).into_iter();
    let played = found.next().map_or_else(|| Judged::NotReached(String::new()), |play| play());
    let judged =
        found.fold(played, |judged, play| if matches!(judged, Judged::NotReached(_)) { play() } else { judged });
    Pair { first: first.id, second: second.id, judged }
}

/// A pair in one life; with `any` the second may be the next moment of its kind, whichever of them its row names.
fn crossed(ends: &Ends, scenario: Scenario, (first, second): (&Row, &Row), any: bool) -> Judged {
    reached(ends, scenario, (first, second), any).unwrap_or_else(Judged::NotReached)
}

fn reached(ends: &Ends, scenario: Scenario, (first, second): (&Row, &Row), any: bool) -> Result<Judged, String> {
    let nth = if any { 1 } else { second.spot.nth };
    let mut course = Course::begin(ends, scenario).ok_or("no such scenario")?;
    course.build(first.setup)?;
    if !course.strike(first.spot, Hit::Crash, first.spot.nth) {
        return Err(format!("{} does not come", first.id));
    }
    course.build(second.setup).map_err(|why| format!("after {}: {why}", first.id))?;
    if !course.strike(second.spot, Hit::Crash, nth) {
        return Err(format!("{} does not come after {}", second.id, first.id));
    }
    Ok(ends.judge(scenario, &course.played, Vec::new()))
}

/// Every `step`th moment of the reference run: the orchestrator dies before it and after it, once and every time.
#[must_use]
pub fn points(step: usize, plant: Plant) -> Vec<Found> {
    let ends = Ends::new(&[Scenario::RECOVERS], plant);
    let Some(reference) = ends.of(Scenario::RECOVERS) else { return Vec::new() };
    let (commits, points) = (&reference.log.commits, &reference.log.points);
    let number = |place: usize| place as u64 + 1;
    let moments: Vec<(At, String)> = commits
        .iter()
        .take(reference.log.sealed.0)
        .enumerate()
        .map(|(place, commit)| (At::Commit(number(place)), commit.labels.first().cloned().unwrap_or_default()))
        .chain(
            points
                .iter()
                .take(reference.log.sealed.1)
                .enumerate()
                .map(|(place, name)| (At::Point(number(place)), name.clone())),
        )
        .step_by(step.max(1))
        .collect();
    let found = spread(&moments, |(at, name)| -> Vec<Found> {
        [Side::Before, Side::After].into_iter().flat_map(|side| moment(&ends, *at, name, side)).collect()
    });
    found.into_iter().flatten().collect()
}

fn moment(ends: &Ends, at: At, name: &str, side: Side) -> [Found; 2] {
    let named = |times: &str| format!("{at:?} {name}, {side:?}, {times}");
    let mut strikes = vec![Strike { at, side, hit: Hit::Crash }];
    let mut played = play(Scenario::RECOVERS, &strikes, ends.plant);
    let once = ends.judge(Scenario::RECOVERS, &played, Vec::new());
    for _ in 1..TIMES_MAX {
        let Some(last) = strikes.last() else { break };
        let (commits, points) = played.log.place(last.at);
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let again = match at {
            At::Commit(_) => (played.log.commits.iter().take(played.log.sealed.0).enumerate().skip(index(commits)))
                .find(|(_, commit)| commit.labels.first().map(String::as_str) == Some(name))
                .map(|(place, _)| At::Commit(place as u64 + 1)),
            At::Point(_) => (played.log.points.iter().take(played.log.sealed.1).enumerate().skip(index(points)))
                .find(|(_, point)| *point == name)
                .map(|(place, _)| At::Point(place as u64 + 1)),
        };
        let Some(at) = again else { break };
        strikes.push(Strike { at, side, hit: Hit::Crash });
        played = play(Scenario::RECOVERS, &strikes, ends.plant);
    }
    let every = ends.judge(Scenario::RECOVERS, &played, Vec::new());
    [Found { moment: named("once"), judged: once }, Found { moment: named("every time"), judged: every }]
}

impl Swept {
    /// Everything counted together.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let judged = self.cases.iter().map(|one| &one.judged);
        let judged = judged.chain(self.pairs.iter().map(|one| &one.judged));
        Figures::of(judged.chain(self.points.iter().map(|one| &one.judged)))
    }
}

/// The cases as a table: a row a line, for each fault what came of it once and every time.
#[must_use]
pub fn table(cases: &[Case]) -> String {
    let word = |judged: &Judged| match judged {
        Judged::Equal => "ok",
        Judged::Differs(_) => "DIFFERS",
        Judged::NotReached(_) => "-",
    };
    let said = |case: &Case| format!("{}{}", word(&case.judged), if case.put_off { "+" } else { "" });
    let mut text = format!("{:<43}", "row");
    for hit in Hit::FAULTS {
        text.push_str(&format!("{:<11}", hit.name()));
    }
    text = format!("{}\n", text.trim_end());
    for row in ROWS.iter().filter(|row| cases.iter().any(|case| case.row == row.id)) {
        let mut line = format!("{} {:<38} ", row.id, row.title);
        for hit in Hit::FAULTS {
            let of = |case: &&Case| case.row == row.id && case.fault == hit.name();
            let words: Vec<String> = cases.iter().filter(of).map(said).collect();
            line.push_str(&format!("{:<10} ", words.join(" ")));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
