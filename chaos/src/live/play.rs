//! A run from its sandbox to its report.

use super::cleanup;
use super::clock::Clock;
use super::database::Database;
use super::direct::{Directed, Stage};
use super::doctor::examine;
use super::guard::Guard;
use super::inject::commit_of;
use super::journal::{Journal, differences};
use super::orch::Orch;
use super::sample::Sampler;
use super::sandbox::Sandbox;
use super::stop::{Stop, Why};
use super::tmux::Tmux;
use crate::fault::Kind;
use crate::history::Logged;
use crate::matching;
use crate::report::{self, Beside, Played, Report};
use crate::schedule::Schedule;
use crate::truth::{Claims, Injection, Phase, Truth};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use thiserror::Error;

/// How often the log is read on.
const READ_EVERY: Duration = Duration::from_millis(20);
/// How often the world is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What to run, and where its report goes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The run's id.
    pub id: String,
    /// What to play.
    pub schedule: Schedule,
    /// The program `orch`.
    pub orch: PathBuf,
    /// The program that becomes the guard: `orch-chaos`.
    pub guard: PathBuf,
    /// The folder of the report.
    pub out: PathBuf,
    /// Whether the sandbox's files are kept, for a person to look at; processes are ended all the same.
    pub keep: bool,
}

/// Defects that a test plants, to see that the harness notices. No command line sets them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Planted {
    /// Entries that tell of faults of this kind are kept from matching: detection that is blind to it.
    pub blind_to: Option<Kind>,
    /// The orchestrator is stopped by SIGSTOP for so long around the first fault of this kind: detection that is late.
    pub frozen_during: Option<(Kind, Duration)>,
    /// The injector does nothing.
    pub idle: bool,
    /// It does nothing, and its failure is taken for success.
    pub boasts: bool,
}

/// What a run is doing, for whoever watches.
#[derive(Debug, Clone)]
pub enum Step {
    /// A stage begins, and lasts about so long.
    Stage(&'static str, Duration),
    /// A fault was carried out, or could not be.
    Fault(Injection),
}

/// A run that came to its report.
#[derive(Debug)]
pub struct Finished {
    /// The report, as it was written.
    pub report: Report,
    /// Why it was cut short, if it was.
    pub why: Option<Why>,
    /// Where the sandbox was kept, if it was.
    pub kept: Option<PathBuf>,
}

/// Why a run came to no report.
#[derive(Debug, Error)]
pub enum LiveError {
    /// Live mode cannot work here.
    #[error("{0}")]
    Environment(String),
    /// Something went wrong that should not.
    #[error("{0}")]
    Unexpected(String),
}

/// Plays a schedule. Whatever happens, nothing of it is left but its report.
///
/// # Errors
/// [`LiveError`], if there is nothing to report.
pub fn run_live(
    config: &Config,
    planted: &Planted,
    stop: &Stop,
    tell: &(dyn Fn(Step) + Sync),
) -> Result<Finished, LiveError> {
    let ground = examine(&config.orch);
    let missing: Vec<String> =
        ground.into_iter().filter_map(|ground| Some(format!("{}: {}", ground.name, ground.found.err()?))).collect();
    if !missing.is_empty() {
        return Err(LiveError::Environment(missing.join("; ")));
    }
    let sandbox = Sandbox::create(&config.schedule).map_err(LiveError::Environment)?;
    let guard = Guard::start(&config.guard, sandbox.dir(), sandbox.mark());
    let brought = match &guard {
        Ok(_) => bring_home(config, planted, stop, tell, &sandbox),
        Err(why) => Err(why.clone()),
    };
    let left = if config.keep {
        cleanup::end_processes(sandbox.dir(), sandbox.mark())
    } else {
        cleanup::clean_up(sandbox.dir(), sandbox.mark())
    };
    if let Ok(guard) = guard {
        guard.dismiss();
    }
    let (mut played, home) = brought.map_err(LiveError::Unexpected)?;
    played.truth.left_by_run = left;
    let told: Vec<Logged> =
        played.journal.iter().filter(|logged| !planted.hides(logged, &played.truth.injections)).cloned().collect();
    let report = report::judge(&played, &told);
    let beside = Beside { schedule: Some(&config.schedule), events: Some(&home.events), scraped: Some(&home.metrics) };
    report::write(&config.out, &report, beside)
        .map_err(|error| LiveError::Unexpected(format!("{}: {error}", config.out.display())))?;
    let kept = config.keep.then(|| sandbox.dir().to_owned());
    Ok(Finished { report, why: stop.asked(), kept })
}

impl Planted {
    /// No defect.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    fn hides(&self, logged: &Logged, injections: &[Injection]) -> bool {
        let blind = injections.iter().filter(|fault| Some(fault.kind) == self.blind_to);
        blind.into_iter().any(|fault| matching::tells_of(fault, logged))
    }
}

/// What is written beside the report.
struct Home {
    events: Vec<String>,
    metrics: String,
}

/// Everything between an empty sandbox and a stopped orchestrator.
fn bring_home(
    config: &Config,
    planted: &Planted,
    stop: &Stop,
    tell: &(dyn Fn(Step) + Sync),
    sandbox: &Sandbox,
) -> Result<(Played, Home), String> {
    let wall = jiff::Timestamp::now().to_string();
    let orch = Orch::new(&config.orch, sandbox)?;
    orch.init(&sandbox.config_text(&config.schedule))?;
    let serve = Mutex::new(orch.serve(&sandbox.dir().join("serve.log"))?);
    let database = Database::of(&sandbox.home());
    let clock = Clock::of(database.path())?;
    let from = clock.now();
    let (journal, tmux) = (Journal::of(&sandbox.home()), Tmux::on(&sandbox.socket()));
    let sampler = Sampler::new(tmux.clone(), database.clone(), clock.clone(), sandbox.mark());
    let sampler = Mutex::new(sampler);
    let over = AtomicBool::new(false);
    let mut directed = thread::scope(|scope| {
        // Set on every way out, also by a panic: a scope waits for its threads.
        let _over = Over(&over);
        scope.spawn(|| every(READ_EVERY, &over, || journal.catch_up()));
        scope.spawn(|| every(LOOK_EVERY, &over, || sampler.lock().map_or((), |mut sampler| sampler.look())));
        let (database, sampler, serve) = (&database, &sampler, &serve);
        let (orch, tmux, clock, journal) = (&orch, &tmux, &clock, &journal);
        let schedule = &config.schedule;
        Stage { schedule, planted, sandbox, orch, serve, database, tmux, clock, journal, sampler, stop, tell }.direct()
    });
    let serve = serve.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let metrics = serve.scrape().unwrap_or_else(|why| format!("# {why}\n"));
    let stopped = serve.stop().err().filter(|why| !directed.trouble.contains(why));
    directed.trouble.extend(stopped);
    journal.catch_up();
    let read = journal.so_far();
    let kills = config.schedule.faults.iter().filter(|fault| fault.kind == Kind::OrchKill).count();
    let claims = claims(&database, &orch, &read.entries, read.garbled(kills))?;
    let until = clock.now();
    let events = merged(config, &directed, &read.entries, &read.lines);
    let truth = truth(config, directed, sampler, stop, until);
    let played = Played {
        id: config.id.clone(),
        schedule: config.schedule.clone(),
        commit: commit_of(&config.orch),
        wall: (wall, jiff::Timestamp::now().to_string()),
        span: Phase { from, until },
        journal: read.entries,
        truth,
        claims,
    };
    Ok((played, Home { events, metrics }))
}

/// Says on every way out that it is over.
pub(super) struct Over<'a>(pub(super) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) fn every(pause: Duration, over: &AtomicBool, mut work: impl FnMut()) {
    while !over.load(Ordering::SeqCst) {
        work();
        thread::sleep(pause);
    }
}

fn claims(database: &Database, orch: &Orch, log: &[Logged], unreadable: Vec<String>) -> Result<Claims, String> {
    let differences = match orch.events() {
        Ok(stored) => Some(differences(log, &stored)),
        Err(why) => Some(vec![why]),
    };
    let projects = database.rows()?;
    let effects = database.effects(&projects)?;
    Ok(Claims { effects, projects, unreadable, differences, ..Claims::default() })
}

fn truth(
    config: &Config,
    directed: Directed,
    sampler: Mutex<Sampler>,
    stop: &Stop,
    ended_at: orchestrator::domain::time::Timestamp,
) -> Truth {
    let sampler = sampler.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Truth {
        kinds: config.schedule.kinds(),
        submitted: directed.submitted,
        injections: directed.injections,
        samples: sampler.into_samples(),
        control: directed.control,
        released_at: directed.released_at,
        ended_at,
        unfit: directed.unfit,
        locks: directed.locks,
        left_by_run: Vec::new(),
        aborted: stop.asked().is_some(),
        trouble: directed.trouble,
    }
}

/// The orchestrator's lines as they are, with the harness's own between them.
fn merged(config: &Config, directed: &Directed, entries: &[Logged], lines: &[String]) -> Vec<String> {
    let told = entries.iter().zip(lines).map(|(logged, line)| (logged.entry.at, line.clone()));
    let mut all: Vec<_> = told.collect();
    let (run_id, mode, seed) = (&config.id, config.schedule.mode, config.schedule.seed);
    for fault in &directed.injections {
        let Some(at) = fault.injected_at else { continue };
        let line = report::fault_line(run_id, &config.schedule, fault);
        all.push((at, line.to_string()));
    }
    for phase in &directed.control {
        for (at, event) in [(phase.from, "chaos_control_began"), (phase.until, "chaos_control_ended")] {
            let line =
                json!({ "at_us": at, "level": "info", "event": event, "run_id": run_id, "mode": mode, "seed": seed });
            all.push((at, line.to_string()));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, line)| line).collect()
}
