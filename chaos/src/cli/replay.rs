//! `orch-chaos replay` of a simulated schedule.

use super::exit::Exit;
use super::output::result;
use super::run::failed;
use crate::check::Checker;
use crate::report::Teller;
use crate::schedule::Schedule;
use crate::sim::Outcome;
use crate::sim::replay::{How, Planted, play};
use clap::ValueEnum;

/// Bugs that can be planted.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PlantArg {
    /// One recovery more than is promised
    BreakerOffByPlusOne,
    /// One recovery less than is promised
    BreakerOffByMinusOne,
}

impl PlantArg {
    /// The bug.
    pub(super) fn planted(self) -> Planted {
        match self {
            Self::BreakerOffByPlusOne => Planted::BreakerOffByPlusOne,
            Self::BreakerOffByMinusOne => Planted::BreakerOffByMinusOne,
        }
    }

    /// As it is written on the command line.
    pub(super) fn option(planted: Option<Self>) -> String {
        let value = planted.and_then(|planted| planted.to_possible_value());
        value.map_or_else(String::new, |value| format!(" --plant {}", value.get_name()))
    }
}

/// The size of a schedule, in words.
pub(super) fn measures(schedule: &Schedule) -> String {
    let Schedule { projects, roles, .. } = schedule;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (faults, seconds) = (schedule.faults.len(), schedule.duration_ms / 1_000);
    let (many, more) = (plural(*projects as usize), plural(*roles as usize));
    format!("{faults} fault{}, {projects} project{many} of {roles} role{more}, {seconds} s", plural(faults))
}

/// Who looks on at a run that is to be told line by line.
pub(super) fn onlookers(schedule: &Schedule, events: bool) -> Vec<Box<dyn Checker>> {
    let teller = || Box::new(Teller::new(schedule, result)) as Box<dyn Checker>;
    events.then(teller).into_iter().collect()
}

/// Plays it in the simulator under every checker, and tells what they say.
pub(super) fn replay(schedule: &Schedule, planted: Option<PlantArg>, events: bool) -> Exit {
    result(&format!("seed {}: {}", schedule.seed, measures(schedule)));
    if let Some(story) = &schedule.story {
        result(story);
    }
    if let (Some(violates), Some(expected)) = (&schedule.violates, &schedule.expected) {
        result(&format!("it was kept for {violates}: {expected}"));
    }
    let onlookers = onlookers(schedule, events);
    match play(schedule, How { planted: planted.map(PlantArg::planted), onlookers, ..How::default() }) {
        Ok(outcome) => told(schedule, &outcome),
        Err(why) => failed(Exit::Unexpected, &why),
    }
}

fn told(schedule: &Schedule, outcome: &Outcome) -> Exit {
    if let Some(why) = &outcome.broke {
        return failed(Exit::Unexpected, &format!("the simulation could not go on: {why}"));
    }
    let mut held = outcome.findings.len();
    for finding in outcome.violated() {
        held -= 1;
        result(&format!("FAIL  {} {}", finding.id, finding.title));
        finding.verdict.violations.iter().for_each(|violation| result(&format!("      {violation}")));
    }
    let confirmed: u32 = outcome.confirmed.values().sum();
    let (all, entries) = (outcome.findings.len(), outcome.entries);
    result(&format!(
        "{held} of {all} invariants held; {confirmed} of {} faults took effect; {entries} entries of the journal",
        schedule.faults.len()
    ));
    if held < all {
        Exit::Violated
    } else if confirmed == 0 && !schedule.faults.is_empty() {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}
