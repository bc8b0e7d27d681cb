//! `orch-chaos replay` of a simulated schedule.

use super::exit::Exit;
use super::output::{note, result};
use super::sim::{Shown, alone, reported, run_id};
use crate::check::Is;
use crate::report::{Wall, campaign_report};
use crate::schedule::Schedule;
use crate::sim::Outcome;
use crate::sim::campaign::{Campaign, Played, Totals};
use crate::sim::conclusion::{Conclusion, Owed, concluded};
use crate::sim::planted::Bug;
use std::time::Instant;

/// The size of a schedule, in words.
pub(super) fn measures(schedule: &Schedule) -> String {
    let Schedule { projects, roles, .. } = schedule;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (faults, seconds) = (schedule.faults.len(), schedule.duration_ms / 1_000);
    let (many, more) = (plural(*projects as usize), plural(*roles as usize));
    format!("{faults} fault{}, {projects} project{many} of {roles} role{more}, {seconds} s", plural(faults))
}

/// Plays it in the simulator under every checker, and tells what they say; as a report, if one is asked for.
pub(super) fn replay(schedule: &Schedule, planted: Option<&'static Bug>, shown: Shown<'_>) -> Exit {
    if shown.json || shown.out.is_some() {
        return report(schedule, planted, shown);
    }
    result(&format!("seed {}: {}", schedule.seed, measures(schedule)));
    if let Some(story) = &schedule.story {
        result(story);
    }
    if let (Some(violates), Some(expected)) = (&schedule.violates, &schedule.expected) {
        result(&format!("it was kept for {violates}: {expected}"));
    }
    let (_, played) = alone(schedule, planted, shown, "");
    told(schedule, played)
}

/// The report of a campaign of one seed that was not drawn: nothing is owed by it.
fn report(schedule: &Schedule, planted: Option<&'static Bug>, shown: Shown<'_>) -> Exit {
    let (began, now) = (Instant::now(), jiff::Timestamp::now());
    let seed = schedule.seed.0;
    let id = run_id(now, seed);
    let (only, played) = alone(schedule, planted, shown, &id);
    let mut totals = Totals::default();
    totals.add(&played);
    let campaign = Campaign {
        seeds: seed..seed.saturating_add(1),
        duration_ms: Some(schedule.duration_ms),
        projects: Some(schedule.projects),
        roles: Some(schedule.roles),
        kinds: schedule.kinds().into_iter().collect(),
        named: false,
        threads: 1,
        fingerprint: false,
    };
    let span = (now.to_string(), jiff::Timestamp::now().to_string());
    let wall = Wall { id, span, took: began.elapsed(), aborted: false };
    reported(campaign_report(&campaign, &totals, &wall), None, Some(&only), shown)
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
