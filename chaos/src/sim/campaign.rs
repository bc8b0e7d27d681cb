//! Many seeds, on every core: each is a run of its own, and what they found is told in the order of their numbers.

use super::cover::Coverage;
use super::draw::{self, Request};
use super::plan::{Outcome, Plan};
use super::replay;
use super::run::Sim;
use crate::check::witnessed;
use crate::fault::Kind;
use crate::schedule::Schedule;
use crate::seed::Seed;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// What it came to; the words of its panic, if it panicked.
    pub came: Result<Outcome, String>,
}

/// Figures over all seeds.
#[derive(Debug, Default)]
pub struct Totals {
    /// Seeds played.
    pub seeds: u64,
    /// Seeds without any fault in their schedule.
    pub fault_free: u64,
    /// Seeds under which something was violated, panicked or broke.
    pub bad: u64,
    /// Events of the heaps.
    pub events: u64,
    /// Turns of the loops.
    pub turns: u64,
    /// Entries of the journals.
    pub entries: u64,
    /// Projects submitted.
    pub projects: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// Starts of orchestrators.
    pub starts: u64,
    /// Faults tried, by kind.
    pub injected: BTreeMap<Kind, u64>,
    /// Faults that took effect, by kind.
    pub confirmed: BTreeMap<Kind, u64>,
    /// How often each invariant was looked at, and under how many seeds it was violated.
    pub invariants: BTreeMap<&'static str, (u64, u64)>,
    /// What was reached.
    pub coverage: Coverage,
}

impl Played {
    /// What speaks against it, a line each; nothing if all held.
    #[must_use]
    pub fn against(&self) -> Vec<String> {
        let outcome = match &self.came {
            Ok(outcome) => outcome,
            Err(why) => return vec![format!("panic: {why}")],
        };
        let told = |finding: &crate::check::Finding| {
            let first = finding.verdict.violations.first().map_or("", String::as_str);
            format!("{}: {first}", finding.id)
        };
        let mut against: Vec<String> = outcome.violated().map(told).collect();
        against.extend(outcome.broke.iter().map(|why| format!("broke: {why}")));
        against
    }
}

impl Totals {
    /// Adds one seed.
    pub fn add(&mut self, played: &Played) {
        self.seeds += 1;
        self.bad += u64::from(!played.against().is_empty());
        let Ok(outcome) = &played.came else { return };
        self.fault_free += u64::from(outcome.injected.is_empty());
        self.events += outcome.events;
        self.turns += outcome.turns;
        self.entries += outcome.entries;
        self.projects += outcome.projects;
        self.virtual_us += outcome.virtual_us;
        self.starts += u64::from(outcome.starts);
        for (kind, times) in &outcome.injected {
            *self.injected.entry(*kind).or_insert(0) += u64::from(*times);
        }
        for (kind, times) in &outcome.confirmed {
            *self.confirmed.entry(*kind).or_insert(0) += u64::from(*times);
        }
        for finding in &outcome.findings {
            let (looked, bad) = self.invariants.entry(finding.id).or_insert((0, 0));
            *looked += finding.verdict.checked;
            *bad += u64::from(finding.verdict.is == crate::check::Is::Fail);
        }
        self.coverage.join(&outcome.coverage);
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
        let next = AtomicU64::new(self.seeds.start);
        let enough = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                let sender = sender.clone();
                scope.spawn(|| {
                    let sender = sender;
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.seeds.end || enough.load(Ordering::Relaxed) {
                            break;
                        }
                        if sender.send(self.one(seed)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut due = self.seeds.start;
            let mut early: BTreeMap<u64, Played> = BTreeMap::new();
            for played in receiver {
                early.insert(played.seed, played);
                while let Some(played) = early.remove(&due) {
                    due += 1;
                    if !told(played) {
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
        let schedule = self.schedule(seed);
        let fingerprint = self.fingerprint;
        let came = catch_unwind(AssertUnwindSafe(|| play_schedule(schedule, fingerprint))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(text.unwrap_or_else(|| "without words".to_owned()))
        });
        Played { seed, came }
    }
}

/// Plays one schedule under every checker.
///
/// # Errors
/// If there is no memory for its database.
pub fn play_schedule(schedule: Schedule, fingerprint: bool) -> Result<Outcome, String> {
    let checkers = witnessed::under(schedule.is_calm(), schedule.policy());
    let plan = Plan { fingerprint, ..replay::plan(&schedule, None) };
    Sim::new(plan).map(|sim| sim.play(checkers)).map_err(|error| error.to_string())
}
