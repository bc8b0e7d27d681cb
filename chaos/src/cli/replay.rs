//! `orch-chaos replay` of a simulated schedule.

use super::exit::Exit;
use super::output::{note, result};
use crate::check::{Checker, Is};
use crate::report::Teller;
use crate::schedule::Schedule;
use crate::sim::Outcome;
use crate::sim::campaign::{Played, Totals};
use crate::sim::conclusion::{Conclusion, Owed, concluded};
use crate::sim::planted::{self, Bug};
use crate::sim::replay::{How, play};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::sync::LazyLock;

/// A bug of the catalogue, by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlantArg(pub(super) &'static Bug);

impl ValueEnum for PlantArg {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<PlantArg>> = LazyLock::new(|| planted::all().map(PlantArg).collect());
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        // There are too many for a line: `orch-chaos planted --list` names them.
        Some(PossibleValue::new(self.0.name).hide(true))
    }
}

impl PlantArg {
    /// As it is written on the command line.
    pub(super) fn option(planted: Option<Self>) -> String {
        planted.map_or_else(String::new, |Self(bug)| format!(" --plant {}", bug.name))
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
    let came =
        play(schedule, How { bend: planted.map(|PlantArg(bug)| (bug.plant)(schedule)), onlookers, ..How::default() });
    told(schedule, Played { seed: schedule.seed.0, came })
}

/// Says why it is no pass, line by line.
pub(super) fn inconclusive(found: &Conclusion) {
    found.doubts.iter().for_each(|doubt| note(&format!("inconclusive: {doubt}")));
}

fn told(schedule: &Schedule, played: Played) -> Exit {
    let mut totals = Totals::default();
    totals.add(&played);
    match &played.came {
        Ok(outcome) => figures(schedule, outcome),
        Err(why) => result(&format!("FAIL  {why}")),
    }
    let found = concluded(&totals, &Owed::default());
    inconclusive(&found);
    Exit::of_verdict(found.is)
}

fn figures(schedule: &Schedule, outcome: &Outcome) {
    for finding in outcome.violated() {
        result(&format!("FAIL  {} {}", finding.id, finding.title));
        finding.verdict.violations.iter().for_each(|violation| result(&format!("      {violation}")));
    }
    for planned in &schedule.faults {
        let tried = outcome.injections.iter().find(|tried| tried.id == planned.id);
        let why = match tried.map(|tried| &tried.probe) {
            Some(Ok(())) => continue,
            Some(Err(why)) => why.clone(),
            None => format!("{} never came", planned.on_event.as_deref().unwrap_or("its time")),
        };
        result(&format!("fault {} ({}) took no effect: {why}", planned.id, planned.kind));
    }
    let of = |is: Is| outcome.findings.iter().filter(|finding| finding.verdict.is == is).count();
    let idle = match of(Is::Unknown) {
        0 => String::new(),
        idle => format!(" ({idle} had nothing to look at)"),
    };
    let confirmed: u32 = outcome.confirmed.values().sum();
    result(&format!(
        "{} of {} invariants held{idle}; {confirmed} of {} faults took effect; {} entries of the journal",
        of(Is::Pass),
        outcome.findings.len(),
        schedule.faults.len(),
        outcome.entries
    ));
}
