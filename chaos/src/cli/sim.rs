//! `orch-chaos run --mode sim`: many seeds in a simulated world.

use super::exit::Exit;
use super::output::{error, note, result, style};
use super::run::{failed, listen};
use crate::check::Checker;
use crate::fault::Kind;
use crate::live::{Finished, STOP_FILE, Stop, Why};
use crate::report::{
    self, Beside, Keeper, Kept, Report, Teller, Wall, Zero, campaign_report, fault_line, render, tried,
};
use crate::schedule::Schedule;
use crate::seed::Seed;
use crate::sim::campaign::{Campaign, Played, Totals};
use crate::sim::draw;
use crate::sim::gate_process::{self, Players};
use crate::sim::planted::Bug;
use crate::sim::replay::{self, How};
use crate::truth::Injection;
use clap::Args;
use jiff::tz::TimeZone;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failing seeds that are written out; what is more is counted.
const SHOWN_MAX: u64 = 20;
/// Differences that are told; what is more is counted.
const DIFFERING_MAX: usize = 20;

/// What only a simulated run knows.
#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// Sim: play every seed from A to before B
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with = "seed")]
    pub(super) seeds: Option<Range<u64>>,
    /// Sim: how many seeds at once [default: every core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub(super) threads: Option<u16>,
    /// Sim: play each seed twice here and once in a fresh process with another environment, and compare
    #[arg(long)]
    pub(super) check_determinism: bool,
    /// Print the fingerprint of each seed, a line each; with --events, all that one is taken of
    #[arg(long, hide = true)]
    pub(super) fingerprint: bool,
}

/// Everything that a simulated run is asked for.
pub(super) struct Asked<'a> {
    pub(super) seed: Option<Seed>,
    pub(super) duration_ms: Option<u64>,
    pub(super) projects: Option<u32>,
    pub(super) roles: Option<u32>,
    pub(super) faults: &'a [(Kind, u32)],
    pub(super) shown: Shown<'a>,
    pub(super) sim: &'a SimArgs,
}

/// Where and how what comes of it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) out: Option<&'a Path>,
    pub(super) json: bool,
    pub(super) events: bool,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let words = || format!("'{text}' is no range of seeds such as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(words)?;
    let (from, to) = (from.parse().map_err(|_| words())?, to.parse().map_err(|_| words())?);
    if from < to { Ok(from..to) } else { Err(words()) }
}

/// Plays what is asked for.
pub(super) fn run(asked: &Asked<'_>) -> Exit {
    let seeds = match (&asked.sim.seeds, asked.seed) {
        (Some(seeds), _) => seeds.clone(),
        (None, Some(Seed(u64::MAX))) => return failed(Exit::Usage, "the largest seed of a campaign is one less"),
        (None, Some(Seed(seed))) => seed..seed + 1,
        (None, None) => match Seed::random() {
            Ok(Seed(seed)) => seed..seed + 1,
            Err(why) => return failed(Exit::Unexpected, &why),
        },
    };
    let kinds =
        if asked.faults.is_empty() { draw::kinds() } else { asked.faults.iter().map(|(kind, _)| *kind).collect() };
    if let Some(kind) = kinds.iter().find(|kind| !draw::kinds().contains(kind)) {
        return failed(Exit::Usage, &format!("{kind} cannot be simulated"));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let campaign = Campaign {
        seeds,
        duration_ms: asked.duration_ms,
        projects: asked.projects,
        roles: asked.roles,
        kinds,
        named: !asked.faults.is_empty(),
        threads: asked.sim.threads.map_or(cores, usize::from),
        fingerprint: asked.sim.fingerprint || asked.sim.check_determinism,
    };
    if let Err(why) = campaign.schedule(campaign.seeds.start).check() {
        return failed(Exit::Usage, &why.to_string());
    }
    if asked.shown.events && campaign.seeds.end - campaign.seeds.start > 1 {
        return failed(Exit::Usage, "--events tells one run: say which with --seed N");
    }
    if asked.sim.fingerprint {
        return if asked.shown.events { exactly(&campaign) } else { fingerprints(&campaign) };
    }
    if asked.sim.check_determinism {
        return determinism(&campaign, asked);
    }
    play(&campaign, asked)
}

/// What is left of a campaign of one seed beside its report.
pub(super) struct Only<'a> {
    schedule: &'a Schedule,
    kept: Option<Kept>,
    injections: Vec<Injection>,
}

fn play(campaign: &Campaign, asked: &Asked<'_>) -> Exit {
    let (began, now) = (Instant::now(), jiff::Timestamp::now());
    let (first, seeds) = (campaign.seeds.start, campaign.seeds.end - campaign.seeds.start);
    let id = run_id(now, first);
    let stop = Arc::new(asked.shown.out.map_or_else(Stop::default, |out| Stop::new(out.join(STOP_FILE))));
    // One seed cannot be cut short and told: a signal just ends it.
    if seeds > 1
        && let Err(why) = listen(&stop)
    {
        return failed(Exit::Unexpected, &why);
    }
    if seeds == 1 {
        note(&format!("seed {first}  (replay: {})", again(campaign, asked, first)));
    }
    let mut totals = Totals::default();
    let mut last = began;
    let mut each = |played: &Played| {
        totals.add(played);
        tell(campaign, asked, played, totals.violated);
        if last.elapsed() >= Duration::from_secs(10) {
            last = Instant::now();
            note(&format!("{} of {seeds} seeds, {} with a violation", totals.seeds, totals.violated));
        }
        stop.asked().is_none()
    };
    let schedule = (seeds == 1).then(|| campaign.schedule(first));
    let only = schedule.as_ref().map(|schedule| {
        let (only, played) = alone(schedule, None, asked.shown, &id);
        each(&played);
        only
    });
    if only.is_none() {
        campaign.play(|played| each(&played));
    }
    // Whoever asked for the end when everything was played came too late.
    let why = stop.asked().filter(|_| totals.seeds < seeds);
    let span = (now.to_string(), jiff::Timestamp::now().to_string());
    let wall = Wall { id, span, took: began.elapsed(), aborted: why.is_some() };
    reported(campaign_report(campaign, &totals, &wall), why, only.as_ref(), asked.shown)
}

/// The id of a run, also the name of its report's folder.
pub(super) fn run_id(now: jiff::Timestamp, seed: u64) -> String {
    format!("{}-sim-{seed}", now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S"))
}

/// Leaves a report and shows it, as asked for.
pub(super) fn reported(mut report: Report, why: Option<Why>, only: Option<&Only<'_>>, shown: Shown<'_>) -> Exit {
    report.faults = only.map_or_else(Vec::new, |only| tried(&only.injections));
    if let Some(out) = shown.out
        && let Err(why) = keep(out, &report, only)
    {
        return failed(Exit::Unexpected, &why);
    }
    if shown.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => result(&text),
            Err(why) => return failed(Exit::Unexpected, &why.to_string()),
        }
        report.doubts.iter().for_each(|doubt| note(&format!("inconclusive: {doubt}")));
    } else {
        let place = shown.out.map_or_else(String::new, |out| out.display().to_string());
        result(render(&report, &place, style()).trim_end());
    }
    Exit::of_run(&Finished { report, why, kept: None })
}

/// Plays one schedule, told as asked for; its journal is kept if there will be a folder to keep it in.
pub(super) fn alone<'a>(
    schedule: &'a Schedule,
    planted: Option<&'static Bug>,
    shown: Shown<'_>,
    id: &str,
) -> (Only<'a>, Played) {
    let mut onlookers: Vec<Box<dyn Checker>> = Vec::new();
    if shown.events {
        onlookers.push(Box::new(Teller::new(schedule, result)));
    }
    let kept = shown.out.map(|_| {
        let (keeper, kept) = Keeper::new(id, schedule.seed);
        onlookers.push(Box::new(keeper));
        kept
    });
    let bend = planted.map(|bug| (bug.plant)(schedule));
    let came = replay::play(schedule, How { bend, onlookers, ..How::default() });
    let injections = came.as_ref().map_or_else(|_| Vec::new(), |outcome| outcome.injections.clone());
    (Only { schedule, kept, injections }, Played { seed: schedule.seed.0, came })
}

fn keep(out: &Path, report: &Report, only: Option<&Only<'_>>) -> Result<(), String> {
    let events = only.and_then(|only| {
        let mut lines = only.kept.as_ref()?.take();
        for fault in &only.injections {
            let line = fault_line(&report.run.id, only.schedule, fault).to_string();
            lines.extend(fault.injected_at.map(|at| (at, line)));
        }
        lines.sort_by_key(|(at, _)| *at);
        Some(lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>())
    });
    let beside = Beside { schedule: only.map(|only| only.schedule), events: events.as_deref(), scraped: None };
    report::write(out, report, beside).map_err(|error| format!("{}: {error}", out.display()))
}

/// The arguments that make this campaign again, for one seed.
fn again(campaign: &Campaign, asked: &Asked<'_>, seed: u64) -> String {
    let mut line = format!("orch-chaos run --mode sim --seed {seed}");
    line.extend(campaign.duration_ms.map(|ms| format!(" --duration {ms}ms")));
    line.extend(campaign.projects.map(|projects| format!(" --projects {projects}")));
    line.extend(campaign.roles.map(|roles| format!(" --roles {roles}")));
    line.extend(asked.faults.iter().map(|(kind, _)| format!(" --fault {kind}")));
    line
}

fn tell(campaign: &Campaign, asked: &Asked<'_>, played: &Played, bad: u64) {
    let against = played.against();
    if against.is_empty() || bad > SHOWN_MAX {
        return;
    }
    error(&format!("seed {}: {}", played.seed, against.join("\n  ")));
    note(&format!("  replay: {}", again(campaign, asked, played.seed)));
    if let Some(out) = asked.shown.out {
        let place = out.join(format!("seed-{}.json", played.seed));
        match write(&place, campaign, played.seed) {
            Ok(()) => note(&format!("  schedule: {}", place.display())),
            Err(why) => error(&why),
        }
    }
}

fn write(place: &PathBuf, campaign: &Campaign, seed: u64) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&campaign.schedule(seed)).map_err(|error| error.to_string())?;
    let folder = place.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    std::fs::write(place, text + "\n").map_err(|error| format!("{}: {error}", place.display()))
}

fn fingerprints(campaign: &Campaign) -> Exit {
    gate_process::prints(campaign, |seed, print| result(&format!("{seed} {print:016x}")));
    Exit::Pass
}

/// A seed's run, as exactly as its fingerprint is taken.
fn tale(campaign: &Campaign, seed: u64) -> Result<Vec<String>, String> {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&lines);
    let schedule = campaign.schedule(seed);
    let teller = Teller::exactly(&schedule, move |line: &str| kept.borrow_mut().push(line.to_owned()));
    replay::play(&schedule, How { onlookers: vec![Box::new(teller)], ..How::default() })?;
    Ok(lines.take())
}

fn exactly(campaign: &Campaign) -> Exit {
    match tale(campaign, campaign.seeds.start) {
        Ok(lines) => {
            lines.iter().for_each(|line| result(line));
            Exit::Pass
        }
        Err(why) => failed(Exit::Unexpected, &why),
    }
}

/// Each seed twice in this process and once in a fresh one whose surroundings are others.
fn determinism(campaign: &Campaign, asked: &Asked<'_>) -> Exit {
    let began = Instant::now();
    let mut args: Vec<String> = ["run", "--mode", "sim"].map(ToOwned::to_owned).to_vec();
    args.extend(campaign.duration_ms.map(|ms| format!("--duration={ms}ms")));
    args.extend(campaign.projects.map(|projects| format!("--projects={projects}")));
    args.extend(campaign.roles.map(|roles| format!("--roles={roles}")));
    args.extend(asked.faults.iter().map(|(kind, _)| format!("--fault={kind}")));
    args.push(format!("--threads={}", campaign.threads));
    // Here every seed is played twice: far more than a fresh process takes for each once, however busy the machine is.
    let within = || Duration::from_secs(60) + began.elapsed() * 5;
    let with = |more: &[String]| args.iter().chain(more).cloned().collect::<Vec<_>>();
    let seeds = format!("--seeds={}..{}", campaign.seeds.start, campaign.seeds.end);
    let players = Players {
        one: |seed| campaign.one(seed),
        elsewhere: || gate_process::elsewhere(&with(&["--fingerprint".to_owned(), seeds]), within()),
        told: |seed: u64, fresh: bool| {
            let asked = ["--fingerprint".to_owned(), "--events".to_owned(), format!("--seed={seed}")];
            if fresh { gate_process::said_elsewhere(&with(&asked), within()) } else { tale(campaign, seed) }
        },
    };
    let differing = match gate_process::gate(campaign, players) {
        Ok(differing) => differing,
        Err(why) => return failed(Exit::Unexpected, &why),
    };
    let (seeds, took) = (campaign.seeds.end - campaign.seeds.start, began.elapsed().as_secs_f64());
    for (_, told) in differing.iter().take(DIFFERING_MAX) {
        let (first, rest) = told.split_once('\n').unwrap_or((told, ""));
        error(first);
        rest.lines().for_each(note);
    }
    if differing.len() > DIFFERING_MAX {
        note(&format!("and {} more", differing.len() - DIFFERING_MAX));
    }
    let parted: BTreeSet<u64> = differing.iter().map(|(seed, _)| *seed).collect();
    result(&format!(
        "{seeds} seeds, each twice in one process and once in a fresh one with another environment, time zone and \
         folder: {} differ{} ({took:.1} s)",
        parted.len(),
        if differing.is_empty() {
            format!(", fewer than {:.4} % (95 %)", 100.0 * Zero::Among(seeds).below())
        } else {
            String::new()
        },
    ));
    if differing.is_empty() { Exit::Pass } else { Exit::Nondeterminism }
}
