//! `orch-chaos run` and `orch-chaos replay`.

use super::exit::Exit;
use super::output::{error, note, result, style};
use super::planted::bug;
use super::progress::Progress;
use super::replay;
use super::sim::{self, SimArgs};
use super::value;
use crate::fault::{Kind, Mode};
use crate::generate::{Request, generate};
use crate::live::{Config, Finished, Planted, STOP_FILE, Stop, Why, run_live};
use crate::report::render;
use crate::schedule::{PROJECTS_MAX, Schedule};
use crate::seed::Seed;
use crate::sim::draw;
use crate::sim::planted::Bug;
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use orchestrator::domain::limits::ROLES_MAX;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// How long a live run is unless told otherwise.
const LIVE_MS: u64 = 30_000;
/// Why a live run refuses `--events`.
const EVENTS_OF_SIM: &str = "--events is of simulated runs; a live run leaves events.ndjson in its report's folder";
/// Why a simulated run refuses `--keep`.
const KEEP_OF_LIVE: &str = "--keep is of live runs: a simulated one has no files";
/// Where reports go unless told otherwise.
pub(super) const REPORTS: &str = "chaos-report";

/// The modes that this version plays.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ModeArg {
    /// Real tmux, git, files and processes.
    Live,
    /// A simulated world, in virtual time.
    Sim,
}

/// What to run.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Where to play
    #[arg(long, value_enum, default_value = "live")]
    mode: ModeArg,
    /// What the run is a function of [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// How long to play, such as 30s or 2m [default: 30s; simulated 30m of virtual time, one seed in 60 3h]
    #[arg(long, value_name = "TIME", value_parser = value::duration_ms)]
    duration: Option<u64>,
    /// How many projects [default: 5; simulated 1 to 6, drawn]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PROJECTS_MAX)))]
    projects: Option<u32>,
    /// How many roles each project has [default: 2; simulated 1 to 3, drawn]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=ROLES_MAX as i64))]
    roles: Option<u32>,
    /// Draw only the kinds that are named, by weight; repeatable [default: every kind but orch_kill, equally]
    #[arg(long = "fault", value_name = "KIND[=WEIGHT]", value_parser = value::weighted)]
    faults: Vec<(Kind, u32)>,
    /// Print the schedule and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sim: SimArgs,
    #[command(flatten)]
    play: PlayArgs,
}

/// How to play it.
#[derive(Debug, Args)]
pub(super) struct PlayArgs {
    /// The folder of the report [default: chaos-report/RUN-ID; simulated none]; a file STOP in it ends the run
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as JSON instead of the summary
    #[arg(long)]
    json: bool,
    /// Keep the run's files (not its processes), for a person to look at
    #[arg(long)]
    keep: bool,
    /// Sim: tell the run line by line, as it happens: what is so (~), faults (!) and the journal (#)
    #[arg(long, conflicts_with = "json")]
    pub(super) events: bool,
    #[command(flatten)]
    orch: OrchArg,
}

/// Which orchestrator.
#[derive(Debug, Args)]
pub(super) struct OrchArg {
    /// The orchestrator's program [default: `orch` beside this program]
    #[arg(long = "orch", value_name = "PATH", env = "ORCH_BIN")]
    path: Option<PathBuf>,
}

/// What to play again.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// A schedule, or the folder of a report
    #[arg(value_name = "SCHEDULE|REPORT-DIR")]
    from: PathBuf,
    /// Play a simulated schedule with this bug planted (`orch-chaos planted --list` names them)
    #[arg(long, value_name = "BUG", value_parser = bug)]
    plant: Option<&'static Bug>,
    #[command(flatten)]
    play: PlayArgs,
}

impl PlayArgs {
    fn shown(&self) -> sim::Shown<'_> {
        sim::Shown { out: self.out.as_deref(), json: self.json, events: self.events }
    }
}

impl OrchArg {
    /// The program.
    pub(super) fn resolve(&self) -> PathBuf {
        let beside = || std::env::current_exe().map(|own| own.with_file_name("orch"));
        self.path.clone().or_else(|| beside().ok()).unwrap_or_else(|| PathBuf::from("orch"))
    }
}

/// `orch-chaos run`.
pub(super) fn run(args: &RunArgs) -> Exit {
    match args.mode {
        ModeArg::Live => live(args),
        ModeArg::Sim if args.play.keep => failed(Exit::Usage, KEEP_OF_LIVE),
        ModeArg::Sim if args.faults.iter().any(|(_, weight)| *weight != 1) => {
            failed(Exit::Usage, "a weight is of --mode live: each simulated seed draws its own")
        }
        ModeArg::Sim if args.dry_run => dry(args),
        ModeArg::Sim => sim::run(&asked(args)),
    }
}

fn asked(args: &RunArgs) -> sim::Asked<'_> {
    sim::Asked {
        seed: args.seed,
        duration_ms: args.duration,
        projects: args.projects,
        roles: args.roles,
        faults: &args.faults,
        shown: args.play.shown(),
        sim: &args.sim,
    }
}

/// The schedule of one simulated seed.
fn dry(args: &RunArgs) -> Exit {
    let seed = match args.seed.map_or_else(Seed::random, Ok) {
        Ok(seed) => seed,
        Err(why) => return failed(Exit::Unexpected, &why),
    };
    let kinds =
        if args.faults.is_empty() { draw::kinds() } else { args.faults.iter().map(|(kind, _)| *kind).collect() };
    let duration_ms = args.duration;
    show(&draw::draw(&draw::Request { seed, duration_ms, projects: args.projects, roles: args.roles, kinds }))
}

fn live(args: &RunArgs) -> Exit {
    if args.sim.seeds.is_some() || args.sim.check_determinism || args.sim.threads.is_some() {
        return failed(Exit::Usage, "--seeds, --threads and --check-determinism are of --mode sim");
    }
    if args.play.events {
        return failed(Exit::Usage, EVENTS_OF_SIM);
    }
    let seed = match args.seed.map_or_else(Seed::random, Ok) {
        Ok(seed) => seed,
        Err(why) => return failed(Exit::Unexpected, &why),
    };
    let weights: BTreeMap<Kind, u32> = if args.faults.is_empty() {
        Kind::DRAWN.iter().map(|kind| (*kind, 1)).collect()
    } else {
        args.faults.iter().copied().collect()
    };
    let (projects, roles) = (args.projects.unwrap_or(5), args.roles.unwrap_or(2));
    let duration_ms = args.duration.unwrap_or(LIVE_MS);
    let request = Request { seed, mode: Mode::Live, duration_ms, projects, roles, weights };
    match generate(&request) {
        Ok(schedule) if args.dry_run => show(&schedule),
        Ok(schedule) => play(schedule, &args.play),
        Err(why) => failed(Exit::Usage, &why.to_string()),
    }
}

/// `orch-chaos replay`.
pub(super) fn replay(args: &ReplayArgs) -> Exit {
    match read_schedule(&args.from) {
        Ok(schedule) if schedule.mode == Mode::Sim && args.play.keep => failed(Exit::Usage, KEEP_OF_LIVE),
        Ok(schedule) if schedule.mode == Mode::Sim => replay::replay(&schedule, args.plant, args.play.shown()),
        Ok(_) if args.play.events => failed(Exit::Usage, EVENTS_OF_SIM),
        Ok(_) if args.plant.is_some() => failed(Exit::Usage, "bugs are planted in simulated runs only"),
        Ok(schedule) => play(schedule, &args.play),
        Err(why) => failed(Exit::Usage, &why),
    }
}

pub(super) fn failed(exit: Exit, why: &str) -> Exit {
    error(why);
    exit
}

/// A schedule from a file or the folder of a report, fit to be played.
pub(super) fn read_schedule(from: &Path) -> Result<Schedule, String> {
    let file = if from.is_dir() { from.join("schedule.json") } else { from.to_owned() };
    let place = file.display();
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{place}: {error}"))?;
    let schedule: Schedule = serde_json::from_str(&text).map_err(|error| format!("{place}: {error}"))?;
    schedule.check().map_err(|error| format!("{place}: {error}"))?;
    Ok(schedule)
}

fn show(schedule: &Schedule) -> Exit {
    note(&format!("seed {}", schedule.seed));
    match serde_json::to_string_pretty(schedule) {
        Ok(text) => {
            result(&text);
            Exit::Pass
        }
        Err(why) => failed(Exit::Unexpected, &why.to_string()),
    }
}

fn play(schedule: Schedule, args: &PlayArgs) -> Exit {
    let now = jiff::Timestamp::now().to_zoned(TimeZone::UTC);
    let id = format!("{}-{}", now.strftime("%Y%m%d-%H%M%S"), schedule.seed);
    let out = args.out.clone().unwrap_or_else(|| Path::new(REPORTS).join(&id));
    let place = out.display().to_string();
    let first = format!("seed {}  (replay: orch-chaos replay {place})", schedule.seed);
    // With --json stdout carries the report and nothing else.
    if args.json {
        note(&first)
    } else {
        result(&first)
    }
    let guard = match std::env::current_exe() {
        Ok(own) => own,
        Err(why) => return failed(Exit::Unexpected, &format!("this program's own path: {why}")),
    };
    let stop = Arc::new(Stop::new(out.join(STOP_FILE)));
    if let Err(why) = listen(&stop) {
        return failed(Exit::Unexpected, &why);
    }
    let progress = Progress::of(&schedule);
    let config = Config { id, schedule, orch: args.orch.resolve(), guard, out, keep: args.keep };
    let played = run_live(&config, &Planted::none(), &stop, &|step| progress.tell(&step));
    progress.end();
    match played {
        Ok(finished) => told(&finished, &place, args.json),
        Err(why) => failed(Exit::of_error(&why), &why.to_string()),
    }
}

fn told(finished: &Finished, place: &str, json: bool) -> Exit {
    if json {
        match serde_json::to_string_pretty(&finished.report) {
            Ok(text) => result(&text),
            Err(why) => return failed(Exit::Unexpected, &why.to_string()),
        }
    } else {
        result(render(&finished.report, place, style()).trim_end());
    }
    if let Some(kept) = &finished.kept {
        note(&format!("files kept in {}", kept.display()));
    }
    Exit::of_run(finished)
}

/// Lets SIGINT and SIGTERM end the run in order. A second one ends it at once; the guard then cleans up.
pub(super) fn listen(stop: &Arc<Stop>) -> Result<(), String> {
    let text = |error: std::io::Error| format!("handle signals: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(text)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(text)?, signal(SignalKind::terminate()).map_err(text)?)
    };
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let (why, exit) = tokio::select! {
                    _ = interrupt.recv() => (Why::Interrupted, Exit::Interrupted),
                    _ = terminate.recv() => (Why::Terminated, Exit::Terminated),
                };
                if stop.asked().is_some() {
                    std::process::exit(i32::from(exit.code()));
                }
                stop.ask(why);
            }
        });
    });
    Ok(())
}
