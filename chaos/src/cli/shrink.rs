//! `orch-chaos shrink`: from a schedule that fails to the smallest one that fails in the same way.

use super::exit::Exit;
use super::output::{note, result};
use super::planted::{bug, option};
use super::replay::measures;
use super::run::{failed, read_schedule};
use super::value;
use crate::check::{Finding, witnessed};
use crate::fault::Mode;
use crate::schedule::{Planned, Schedule};
use crate::seed::Seed;
use crate::sim::draw::{Request, draw, kinds};
use crate::sim::planted::Bug;
use crate::sim::replay::{How, play};
use crate::sim::shrink;
use clap::Args;
use std::path::{Path, PathBuf};

/// What to shrink.
#[derive(Debug, Args)]
pub(super) struct ShrinkArgs {
    /// A simulated schedule under which an invariant fails, or the folder of a report
    #[arg(value_name = "SCHEDULE|REPORT-DIR", required_unless_present = "seed", conflicts_with = "seed")]
    from: Option<PathBuf>,
    /// Shrink the schedule that this seed draws instead
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// How long the drawn schedule is [default: drawn too]
    #[arg(long, value_name = "TIME", value_parser = value::duration_ms, conflicts_with = "from")]
    duration: Option<u64>,
    /// The invariant to keep failing, such as S4 [default: the first that fails, in the order of the catalogue]
    #[arg(long, value_name = "ID", value_parser = invariant)]
    invariant: Option<&'static str>,
    /// Where the result goes [default: beside the schedule, NAME.shrunk.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Schedules to play at most
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Play with this bug planted (`orch-chaos planted --list` names them)
    #[arg(long, value_name = "BUG", value_parser = bug)]
    plant: Option<&'static Bug>,
}

fn invariant(text: &str) -> Result<&'static str, String> {
    let known: Vec<&'static str> = witnessed::all(false).iter().map(|checker| checker.id()).collect();
    let found = known.iter().copied().find(|id| *id == text);
    found.ok_or_else(|| format!("no such invariant; known: {}", known.join(", ")))
}

/// `orch-chaos shrink`.
pub(super) fn shrink(args: &ShrinkArgs) -> Exit {
    match found(args).and_then(|schedule| shrunk(args, &schedule)) {
        Ok(()) => Exit::Pass,
        Err((exit, why)) => failed(exit, &why),
    }
}

fn found(args: &ShrinkArgs) -> Result<Schedule, (Exit, String)> {
    let usage = |why: String| (Exit::Usage, why);
    let schedule = match (&args.from, args.seed) {
        (Some(from), _) => read_schedule(from).map_err(usage)?,
        (None, Some(seed)) => {
            let duration_ms = args.duration;
            draw(&Request { seed, duration_ms, projects: None, roles: None, kinds: kinds() })
        }
        (None, None) => return Err(usage("nothing to shrink".to_owned())),
    };
    if schedule.mode == Mode::Sim { Ok(schedule) } else { Err(usage("only simulated schedules shrink".to_owned())) }
}

/// What fails under a schedule.
fn violated(args: &ShrinkArgs, schedule: &Schedule) -> Result<Vec<Finding>, (Exit, String)> {
    let how = How { bend: args.plant.map(|bug| (bug.plant)(schedule)), ..How::default() };
    let outcome = play(schedule, how).map_err(|why| (Exit::Unexpected, why))?;
    Ok(outcome.violated().cloned().collect())
}

fn shrunk(args: &ShrinkArgs, schedule: &Schedule) -> Result<(), (Exit, String)> {
    let first = violated(args, schedule)?;
    let ids: Vec<&str> = first.iter().map(|finding| finding.id).collect();
    let sought = args.invariant.or(ids.first().copied());
    let Some(sought) = sought.filter(|sought| ids.contains(sought)) else {
        let failing =
            if ids.is_empty() { "every invariant holds".to_owned() } else { format!("{} fails", ids.join(", ")) };
        return Err((Exit::Usage, format!("nothing to shrink: {failing} under this schedule")));
    };
    note(&format!("{sought} fails under {}", measures(schedule)));
    let fails = |tried: &Schedule| {
        let findings = violated(args, tried).ok()?;
        let same = findings.iter().find(|finding| finding.id == sought);
        same.or(findings.first()).map(|finding| finding.id.to_owned())
    };
    let tell = |step: shrink::Step<'_>| note(&format!("{:>5} runs: {}", step.runs, measures(step.schedule)));
    let done = shrink::shrink(schedule, sought, args.runs, fails, tell);
    let mut least = done.schedule;
    let last = violated(args, &least)?;
    let Some(finding) = last.into_iter().find(|finding| finding.id == sought) else {
        return Err((Exit::Nondeterminism, format!("{sought} failed under the result, and does so no more")));
    };
    least.story = Some(story(&least, &finding));
    (least.violates, least.expected) = (Some(sought.to_owned()), Some(finding.title.to_owned()));
    let out = args.out.clone().unwrap_or_else(|| beside(args));
    write(&out, &least)?;
    result(&format!("{sought} fails under {} (of {}; {} runs)", measures(&least), measures(schedule), done.runs));
    if done.exhausted {
        note("stopped at the bound of --runs; more might make it smaller");
    }
    result(least.story.as_deref().unwrap_or_default());
    result(&format!("replay: orch-chaos replay {}{}", out.display(), option(args.plant)));
    Ok(())
}

fn beside(args: &ShrinkArgs) -> PathBuf {
    match (&args.from, args.seed) {
        (Some(from), _) if from.is_dir() => from.join("schedule.shrunk.json"),
        (Some(from), _) => from.with_extension("shrunk.json"),
        (None, seed) => PathBuf::from(format!("seed-{}.shrunk.json", seed.unwrap_or(Seed(0)))),
    }
}

fn write(out: &Path, schedule: &Schedule) -> Result<(), (Exit, String)> {
    let text = serde_json::to_string_pretty(schedule).map_err(|why| (Exit::Unexpected, why.to_string()))?;
    std::fs::write(out, text + "\n").map_err(|why| (Exit::Unexpected, format!("{}: {why}", out.display())))
}

/// What happens in a schedule, and what fails in the end.
fn story(schedule: &Schedule, finding: &Finding) -> String {
    let told = |fault: &Planned| {
        let role = fault.role.map_or_else(String::new, |role| format!(", role-{role}"));
        let waits = fault.on_event.as_ref().map_or_else(String::new, |event| format!(", at the next {event}"));
        let lasts = fault.params.for_ms.map_or_else(String::new, |ms| format!(", for {ms} ms"));
        let (kind, at, project) = (fault.kind.name(), fault.at_ms, fault.project);
        format!("{kind} at {at} ms (project {project}{role}{waits}{lasts})")
    };
    let faults: Vec<String> = schedule.faults.iter().map(told).collect();
    let faults = if faults.is_empty() { "No fault at all".to_owned() } else { faults.join("; ") };
    let violation = finding.verdict.violations.first().map_or("", String::as_str);
    format!("{faults}. Then: {violation}.")
}
