//! Many seeds, on every core: each is a run of its own, and what they found is told in the order of their numbers.

use super::cover::Coverage;
use super::draw::{self, Request};
use super::plan::Outcome;
use super::replay::{self, How};
use crate::check::{Finding, Is, Tally, Verdict};
use crate::fault::Kind;
use crate::schedule::Schedule;
use crate::seed::Seed;
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;

/// What every seed of a campaign is asked to be.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Range<u64>,
    /// How long each is, in virtual milliseconds; drawn if none.
    pub duration_ms: Option<u64>,
    /// How many projects each has; drawn if none.
    pub projects: Option<u32>,
    /// How many roles each of them has; drawn if none.
    pub roles: Option<u32>,
    /// The kinds to draw from.
    pub kinds: Vec<Kind>,
    /// Whether somebody asked for just these kinds: then each of them is owed ([`super::conclusion`]).
    pub named: bool,
    /// How many run at once.
    pub threads: usize,
    /// Whether every run's fingerprint is taken, which takes time.
    pub fingerprint: bool,
}

/// What one seed came to.
#[derive(Debug)]
pub struct Played {
    /// Which.
    pub seed: u64,
    /// What it came to; the words of its panic, if the orchestrator or the simulator panicked.
    pub came: Result<Outcome, String>,
}

/// Figures over all seeds.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds played.
    pub seeds: u64,
    /// Seeds without any fault in their schedule.
    pub fault_free: u64,
    /// Seeds under which something was violated or panicked.
    pub violated: u64,
    /// Seeds under which a checker broke, or that stopped before their end.
    pub doubtful: u64,
    /// The first of them, a line each.
    pub doubts: Vec<String>,
    /// Events of the heaps.
    pub events: u64,
    /// Turns of the loops.
    pub turns: u64,
    /// Entries of the journals.
    pub entries: u64,
    /// Projects submitted.
    pub projects: u64,
    /// How many of them ended in each state.
    pub states: BTreeMap<ProjectState, u64>,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Starts of orchestrators.
    pub starts: u64,
    /// Faults tried, by kind.
    pub injected: BTreeMap<Kind, u64>,
    /// Faults that took effect, by kind.
    pub confirmed: BTreeMap<Kind, u64>,
    /// How long agents lived, in microseconds, summed over agents ...
    pub agent_us: u64,
    /// ... and how long in calm seeds ([`Schedule::is_calm`]), in which every alarm is a false one.
    pub control_us: u64,
    /// That nothing panicked, then every invariant, in the order of the checkers.
    pub invariants: Vec<Looks>,
    /// What was reached.
    pub coverage: Coverage,
}

/// One invariant over all seeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looks {
    /// Its number.
    pub id: &'static str,
    /// What it says.
    pub title: &'static str,
    /// How often it was looked at.
    pub checked: u64,
    /// Under how many seeds it was violated.
    pub violated: u64,
    /// Under how many of those that are calm ([`Schedule::is_calm`]).
    pub in_control: u64,
    /// Under how many seeds its checker broke.
    pub broke: u64,
    /// What was first said against it under the first of those seeds.
    pub words: Vec<String>,
}

/// Lines that are kept of what is the same in many seeds; what is more is counted.
const KEPT_MAX: usize = 20;

impl Looks {
    /// Its verdict over all seeds.
    #[must_use]
    pub fn is(&self) -> Is {
        match (self.violated, self.broke, self.checked) {
            (1.., _, _) => Is::Fail,
            (0, 1.., _) | (0, 0, 0) => Is::Unknown,
            (0, 0, 1..) => Is::Pass,
        }
    }

    fn add(&mut self, seed: u64, calm: bool, verdict: &Verdict) {
        let fails = verdict.is == Is::Fail;
        self.checked += verdict.checked;
        self.violated += u64::from(fails);
        self.in_control += u64::from(fails && calm);
        self.broke += u64::from(verdict.broke);
        if (fails || verdict.broke) && self.words.len() < KEPT_MAX {
            let first = verdict.violations.first().map_or("", String::as_str);
            self.words.push(format!("seed {seed}: {first}"));
        }
    }
}

impl Played {
    /// What was violated, a line each, or the panic; nothing if all held.
    #[must_use]
    pub fn against(&self) -> Vec<String> {
        let outcome = match &self.came {
            Ok(outcome) => outcome,
            Err(why) => return vec![why.clone()],
        };
        outcome.violated().map(told).collect()
    }

    /// That it did not panic: no checker is left to say so, or what it panicked with.
    fn unpanicked(&self) -> Finding {
        let mut tally = Tally::default();
        tally.check(self.came.is_ok(), || self.against().join(" "));
        Finding { id: "panic", title: "neither the orchestrator nor the simulator panics", verdict: tally.verdict("") }
    }

    /// What keeps it from proving anything: a checker that broke, an early end. A line each.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let Ok(outcome) = &self.came else { return Vec::new() };
        let broke = outcome.findings.iter().filter(|finding| finding.verdict.broke).map(told);
        broke.chain(outcome.broke.iter().map(|why| format!("stopped early: {why}"))).collect()
    }
}

/// The invariant, and what was said against it first.
fn told(finding: &Finding) -> String {
    let first = finding.verdict.violations.first().map_or("", String::as_str);
    format!("{}: {first}", finding.id)
}

impl Totals {
    /// Adds one seed.
    pub fn add(&mut self, played: &Played) {
        self.seeds += 1;
        self.violated += u64::from(!played.against().is_empty());
        let doubts = played.doubts();
        self.doubtful += u64::from(!doubts.is_empty());
        if self.doubts.len() < KEPT_MAX {
            self.doubts.extend(doubts.first().map(|doubt| format!("seed {}: {doubt}", played.seed)));
        }
        let calm = played.came.as_ref().is_ok_and(|outcome| outcome.calm);
        self.look(played.seed, calm, &played.unpanicked());
        let Ok(outcome) = &played.came else { return };
        self.fault_free += u64::from(outcome.fault_free);
        self.agent_us += outcome.agent_us;
        self.control_us += if calm { outcome.agent_us } else { 0 };
        self.events += outcome.events;
        self.turns += outcome.turns;
        self.entries += outcome.entries;
        self.projects += outcome.projects;
        self.virtual_us += outcome.virtual_us;
        self.starts += u64::from(outcome.starts);
        for (state, count) in &outcome.states {
            *self.states.entry(*state).or_insert(0) += count;
        }
        for (kind, times) in &outcome.injected {
            *self.injected.entry(*kind).or_insert(0) += u64::from(*times);
        }
        for (kind, times) in &outcome.confirmed {
            *self.confirmed.entry(*kind).or_insert(0) += u64::from(*times);
        }
        outcome.findings.iter().for_each(|finding| self.look(played.seed, calm, finding));
        self.coverage.join(&outcome.coverage);
    }

    fn look(&mut self, seed: u64, calm: bool, Finding { id, title, verdict }: &Finding) {
        let place = self.invariants.iter().position(|of| of.id == *id).unwrap_or_else(|| {
            let words = Vec::new();
            self.invariants.push(Looks { id, title, checked: 0, violated: 0, in_control: 0, broke: 0, words });
            self.invariants.len() - 1
        });
        self.invariants[place].add(seed, calm, verdict);
    }
}

impl Campaign {
    /// The schedule of one seed.
    #[must_use]
    pub fn schedule(&self, seed: u64) -> Schedule {
        draw::draw(&Request {
            seed: Seed(seed),
            duration_ms: self.duration_ms,
            projects: self.projects,
            roles: self.roles,
            kinds: self.kinds.clone(),
        })
    }

    /// Plays every seed and hands each on in the order of their numbers, until `told` says that it is enough.
    pub fn play(&self, mut told: impl FnMut(Played) -> bool) {
        self.play_by(|seed| self.one(seed), |_, played| told(played));
    }

    /// Like [`Self::play`], with somebody else playing each seed, who returns only what is wanted of it: what is played
    /// before its turn is kept until then.
    pub(super) fn play_by<Of: Send>(&self, one: impl Fn(u64) -> Of + Sync, mut told: impl FnMut(u64, Of) -> bool) {
        let next = AtomicU64::new(self.seeds.start);
        let enough = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                let sender = sender.clone();
                scope.spawn(|| {
                    let sender = sender;
                    loop {
                        // Not one beyond the end: past the largest number the seeds would begin anew.
                        let another = |seed: u64| (seed < self.seeds.end).then(|| seed + 1);
                        let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another);
                        let Ok(seed) = taken else { break };
                        if enough.load(Ordering::Relaxed) {
                            break;
                        }
                        if sender.send((seed, one(seed))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut due = self.seeds.start;
            let mut early = BTreeMap::new();
            for (seed, of) in receiver {
                early.insert(seed, of);
                while let Some(of) = early.remove(&due) {
                    let seed = due;
                    due += 1;
                    if !told(seed, of) {
                        enough.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }

    /// Plays one seed. A panic in it is a finding.
    #[must_use]
    pub fn one(&self, seed: u64) -> Played {
        let how = How { fingerprint: self.fingerprint, ..How::default() };
        Played { seed, came: replay::play(&self.schedule(seed), how) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Planned;

    /// Nobody holds an alarm for a false one where an agent falls silent, or where a fault may come that never does.
    #[test]
    fn only_calm_seeds_are_control() {
        let campaign = Campaign {
            seeds: 0..500,
            duration_ms: Some(60_000),
            projects: Some(1),
            roles: Some(1),
            kinds: draw::kinds(),
            named: false,
            threads: 1,
            fingerprint: false,
        };
        let mut schedules = campaign.seeds.clone().map(|seed| campaign.schedule(seed));
        let calm = schedules.find(Schedule::is_calm).expect("one in a few");
        let silent = schedules.find(|one| one.faults.is_empty() && !one.is_calm()).expect("one in a few");
        let mut vain = schedules.find(|one| one.faults.len() == 1).expect("one in a few");
        let never = Planned { on_event: Some("never".to_owned()), ..vain.faults[0].clone() };
        vain.faults = vec![never];
        let figures = |schedule: &Schedule| {
            let mut totals = Totals::default();
            totals.add(&Played { seed: 0, came: replay::play(schedule, How::default()) });
            assert!(totals.agent_us > 0 && totals.injected.values().sum::<u64>() == 0);
            (totals.fault_free, totals.control_us == totals.agent_us)
        };
        assert_eq!(figures(&calm), (1, true));
        assert_eq!(figures(&silent), (1, false));
        assert_eq!(figures(&vain), (0, false));
    }
}
