//! `orch-chaos run --mode sim`: many seeds in a simulated world.

use super::exit::Exit;
use super::output::{error, note, result, style};
use super::replay::onlookers;
use super::run::{failed, listen};
use crate::fault::Kind;
use crate::live::{Finished, STOP_FILE, Stop};
use crate::report::{
    self, Beside, Keeper, Kept, Report, Teller, Wall, Zero, campaign_report, fault_line, render, tried,
};
use crate::seed::Seed;
use crate::sim::campaign::{Campaign, Played, Totals};
use crate::sim::draw;
use crate::sim::gate_process::{self, Players};
use crate::sim::replay::{self, How};
use crate::truth::Injection;
use clap::Args;
use jiff::tz::TimeZone;
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failing seeds that are written out; what is more is counted.
const SHOWN_MAX: u64 = 20;

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
    /// Print the fingerprint of each seed, a line each
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
    pub(super) out: Option<&'a Path>,
    pub(super) json: bool,
    pub(super) events: bool,
    pub(super) sim: &'a SimArgs,
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
    if asked.events && campaign.seeds.end - campaign.seeds.start > 1 {
        return failed(Exit::Usage, "--events tells one run: say which with --seed N");
    }
    if asked.sim.fingerprint {
        return fingerprints(&campaign);
    }
    if asked.sim.check_determinism {
        return determinism(&campaign, asked);
    }
    play(&campaign, asked)
}

/// What is left of a campaign of one seed beside its report.
#[derive(Default)]
struct Only {
    kept: Kept,
    injections: Vec<Injection>,
}

fn play(campaign: &Campaign, asked: &Asked<'_>) -> Exit {
    let (began, now) = (Instant::now(), jiff::Timestamp::now());
    let (first, seeds) = (campaign.seeds.start, campaign.seeds.end - campaign.seeds.start);
    let id = format!("{}-sim-{first}", now.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S"));
    let stop = Arc::new(asked.out.map_or_else(Stop::default, |out| Stop::new(out.join(STOP_FILE))));
    if let Err(why) = listen(&stop) {
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
    let only = (seeds == 1).then(|| alone(campaign, asked, &id, &mut each));
    if only.is_none() {
        campaign.play(|played| each(&played));
    }
    let aborted = stop.asked().is_some();
    let span = (now.to_string(), jiff::Timestamp::now().to_string());
    let mut report = campaign_report(campaign, &totals, &Wall { id, span, took: began.elapsed(), aborted });
    report.faults = only.as_ref().map_or_else(Vec::new, |only| tried(&only.injections));
    if let Some(out) = asked.out
        && let Err(why) = keep(out, campaign, &report, only.as_ref())
    {
        return failed(Exit::Unexpected, &why);
    }
    if asked.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => result(&text),
            Err(why) => return failed(Exit::Unexpected, &why.to_string()),
        }
        report.doubts.iter().for_each(|doubt| note(&format!("inconclusive: {doubt}")));
    } else {
        let place = asked.out.map_or_else(String::new, |out| out.display().to_string());
        result(render(&report, &place, style()).trim_end());
    }
    Exit::of_run(&Finished { report, why: stop.asked(), kept: None })
}

/// Plays a campaign's one seed, told and kept as asked for.
fn alone(campaign: &Campaign, asked: &Asked<'_>, id: &str, each: &mut impl FnMut(&Played) -> bool) -> Only {
    let seed = campaign.seeds.start;
    let schedule = campaign.schedule(seed);
    let (keeper, kept) = Keeper::new(id, Seed(seed));
    let mut looking = onlookers(&schedule, asked.events);
    looking.push(Box::new(keeper));
    let played = Played { seed, came: replay::play(&schedule, How { onlookers: looking, ..How::default() }) };
    each(&played);
    Only { kept, injections: played.came.map_or_else(|_| Vec::new(), |outcome| outcome.injections) }
}

fn keep(out: &Path, campaign: &Campaign, report: &Report, only: Option<&Only>) -> Result<(), String> {
    let schedule = only.map(|_| campaign.schedule(campaign.seeds.start));
    let events = only.zip(schedule.as_ref()).map(|(only, schedule)| {
        let mut lines = only.kept.take();
        for fault in &only.injections {
            let line = fault_line(&report.run.id, schedule, fault).to_string();
            lines.extend(fault.injected_at.map(|at| (at, line)));
        }
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    });
    let beside = Beside { schedule: schedule.as_ref(), events: events.as_deref(), scraped: None };
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
    if let Some(out) = asked.out {
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
    campaign.play(|played| {
        result(&format!("{} {:016x}", played.seed, gate_process::print_of(&played)));
        true
    });
    Exit::Pass
}

/// Each seed twice in this process and once in a fresh one whose surroundings are others.
fn determinism(campaign: &Campaign, asked: &Asked<'_>) -> Exit {
    let began = Instant::now();
    let mut args: Vec<String> = ["run", "--mode", "sim"].map(ToOwned::to_owned).to_vec();
    args.extend(campaign.duration_ms.map(|ms| format!("--duration={ms}ms")));
    args.extend(campaign.projects.map(|projects| format!("--projects={projects}")));
    args.extend(campaign.roles.map(|roles| format!("--roles={roles}")));
    args.extend(asked.faults.iter().map(|(kind, _)| format!("--fault={kind}")));
    let with = |more: &[String]| args.iter().chain(more).cloned().collect::<Vec<_>>();
    let seeds = format!("--seeds={}..{}", campaign.seeds.start, campaign.seeds.end);
    let players = Players {
        one: |seed| campaign.one(seed),
        elsewhere: || gate_process::elsewhere(&with(&["--fingerprint".to_owned(), seeds])),
        told: |seed: u64, fresh: bool| {
            if fresh {
                let said = gate_process::said_elsewhere(&with(&["--events".to_owned(), format!("--seed={seed}")]))?;
                return Ok(said.into_iter().filter(|line| line.starts_with(' ')).collect());
            }
            let lines = Rc::new(RefCell::new(Vec::new()));
            let kept = Rc::clone(&lines);
            let schedule = campaign.schedule(seed);
            let teller = Teller::new(&schedule, move |line: &str| kept.borrow_mut().push(line.to_owned()));
            replay::play(&schedule, How { onlookers: vec![Box::new(teller)], ..How::default() })?;
            Ok(lines.take())
        },
    };
    let differing = match gate_process::gate(campaign, players) {
        Ok(differing) => differing,
        Err(why) => return failed(Exit::Unexpected, &why),
    };
    let (seeds, took) = (campaign.seeds.end - campaign.seeds.start, began.elapsed().as_secs_f64());
    for line in differing.iter().take(20) {
        error(line);
    }
    result(&format!(
        "{seeds} seeds, each twice in one process and once in a fresh one with another environment, time zone and \
         folder: {} differ{} ({took:.1} s)",
        differing.len(),
        if differing.is_empty() {
            format!(", fewer than {:.4} % (95 %)", 100.0 * Zero::Among(seeds).below())
        } else {
            String::new()
        },
    ));
    if differing.is_empty() { Exit::Pass } else { Exit::Nondeterminism }
}
