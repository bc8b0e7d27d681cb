//! kill -9 of `orch serve`, again and again, at drawn moments and under load: what is lost by it is counted here, by
//! the harness itself (G1, G2, G5, G11, G12).

mod course;
mod ledger;
mod moments;

pub use ledger::Zero;

use super::cleanup;
use super::clock::Clock;
use super::database::Database;
use super::doctor::examine;
use super::guard::Guard;
use super::journal::{Journal, differences};
use super::orch::Orch;
use super::play::LiveError;
use super::sandbox::Sandbox;
use super::stop::{Stop, Why};
use crate::fault::Mode;
use crate::report::Percentiles;
use crate::schedule::{Schedule, VERSION};
use crate::seed::Seed;
use course::Course;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to do, and where what comes of it goes.
#[derive(Debug, Clone)]
pub struct Soak {
    /// What the moments are a function of.
    pub seed: Seed,
    /// How often to kill.
    pub kills: u64,
    /// How many projects at a time.
    pub projects: u32,
    /// How many roles each of them has.
    pub roles: u32,
    /// The program `orch`.
    pub orch: PathBuf,
    /// The program that becomes the guard: `orch-chaos`.
    pub guard: PathBuf,
    /// The folder of the figures.
    pub out: PathBuf,
    /// Whether the sandbox's files are kept, for a person to look at; processes are ended all the same.
    pub keep: bool,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SoakStep {
    /// So many kills were made.
    Kills {
        /// Until now.
        made: u64,
        /// Projects that were acknowledged until now.
        acknowledged: u64,
        /// Projects that have ended until now.
        ended: u64,
        /// Agents that live.
        agents: u64,
    },
    /// Everything is let finish.
    Finishing,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Soaked {
    /// What the moments were a function of.
    pub seed: Seed,
    /// How often it was to be killed.
    pub asked: u64,
    /// How often it was, each time confirmed by its exit status.
    pub kills: u64,
    /// How many projects at a time, and how many roles each.
    pub load: (u32, u32),
    /// How long it all took.
    pub seconds: f64,
    /// Projects that were acknowledged.
    pub acknowledged: u64,
    /// Incarnations of agents that were seen alive.
    pub agents: u64,
    /// What must be zero.
    pub zeros: Vec<Zero>,
    /// From a start to its announcement in the journal, in milliseconds.
    pub announced: Percentiles,
    /// From a start to the first answer of tmux, in milliseconds.
    pub answered: Percentiles,
    /// At which moments it was killed.
    pub moments: BTreeMap<String, u64>,
    /// Kills at which at least one project was in that state.
    pub states: BTreeMap<String, u64>,
    /// Kills at which at least one such effect was under way.
    pub intents: BTreeMap<String, u64>,
    /// Entries of the journal, by name.
    pub journal: BTreeMap<String, u64>,
    /// What kept the harness from counting.
    pub trouble: Vec<String>,
    /// What of it outlived its own cleaning up.
    pub left: Vec<String>,
    /// Why it was cut short, if it was.
    #[serde(skip)]
    pub why: Option<Why>,
    /// Where the sandbox was kept, if it was.
    #[serde(skip)]
    pub kept: Option<PathBuf>,
}

impl Soaked {
    /// Whether something happened that must never happen.
    #[must_use]
    pub fn is_violated(&self) -> bool {
        !self.left.is_empty() || self.zeros.iter().any(|zero| !zero.found.is_empty())
    }

    /// Whether it says anything at all: every kill was made, everything could have happened, nothing was in the way.
    #[must_use]
    pub fn is_conclusive(&self) -> bool {
        self.kills == self.asked && self.trouble.is_empty() && self.zeros.iter().all(|zero| zero.trials > 0)
    }
}

/// Kills it as often as is asked. Whatever happens, nothing of it is left but the figures.
///
/// # Errors
/// [`LiveError`], if there is nothing to tell.
pub fn run_soak(soak: &Soak, stop: &Stop, tell: &(dyn Fn(SoakStep) + Sync)) -> Result<Soaked, LiveError> {
    let ground = examine(&soak.orch);
    let missing: Vec<String> =
        ground.into_iter().filter_map(|ground| Some(format!("{}: {}", ground.name, ground.found.err()?))).collect();
    if !missing.is_empty() {
        return Err(LiveError::Environment(missing.join("; ")));
    }
    // Only its repositories and its settings are used: there is nothing to schedule.
    let schedule = Schedule {
        version: VERSION,
        seed: soak.seed,
        mode: Mode::Live,
        duration_ms: 0,
        control_ms: 0,
        projects: soak.projects,
        roles: soak.roles,
        faults: Vec::new(),
        setting: crate::setting::Setting::default(),
        story: None,
        violates: None,
        expected: None,
    };
    let sandbox = Sandbox::create(&schedule).map_err(LiveError::Environment)?;
    let guard = Guard::start(&soak.guard, sandbox.dir(), sandbox.mark());
    let soaked = match &guard {
        Ok(_) => soaked(soak, &schedule, &sandbox, stop, tell),
        Err(why) => Err(why.clone()),
    };
    let left = if soak.keep {
        cleanup::end_processes(sandbox.dir(), sandbox.mark())
    } else {
        cleanup::clean_up(sandbox.dir(), sandbox.mark())
    };
    if let Ok(guard) = guard {
        guard.dismiss();
    }
    let (mut soaked, lines) = soaked.map_err(LiveError::Unexpected)?;
    soaked.left = left;
    soaked.kept = soak.keep.then(|| sandbox.dir().to_owned());
    write(&soak.out, &soaked, &lines)
        .map_err(|error| LiveError::Unexpected(format!("{}: {error}", soak.out.display())))?;
    Ok(soaked)
}

fn soaked(
    soak: &Soak,
    schedule: &Schedule,
    sandbox: &Sandbox,
    stop: &Stop,
    tell: &(dyn Fn(SoakStep) + Sync),
) -> Result<(Soaked, Vec<String>), String> {
    let began = Instant::now();
    let orch = Orch::new(&soak.orch, sandbox)?;
    orch.init(&sandbox.config_text(schedule))?;
    let (database, journal) = (Database::of(&sandbox.home()), Journal::of(&sandbox.home()));
    let first = orch.serve(&sandbox.dir().join("serve.log"))?;
    let clock = Clock::of(database.path())?;
    first.stop()?;
    let course =
        Course { soak, sandbox, orch: &orch, database: &database, journal: &journal, clock: &clock, stop, tell };
    let (ledger, mut counts) = course.run();
    journal.catch_up();
    let read = journal.so_far();
    let rows = database.rows()?;
    let mut zeros = ledger.zeros(&read.entries, &rows);
    let kills = usize::try_from(ledger.kills).unwrap_or(usize::MAX);
    let told = orch.events().map_or_else(|why| vec![why], |stored| differences(&read.entries, &stored));
    zeros.push(Zero {
        name: "untold",
        says: "the structured log and the database tell different stories, or a line of the log is no entry",
        trials: read.entries.len() as u64,
        unit: "entries",
        found: told.into_iter().chain(read.garbled(kills)).collect(),
    });
    let (announced, answered) = ledger.latencies(&read.entries);
    for logged in &read.entries {
        let told = serde_json::to_value(&logged.entry.signal.what).ok();
        let name = told.as_ref().and_then(|told| told.get("event")?.as_str());
        *counts.journal.entry(name.unwrap_or("?").to_owned()).or_insert(0) += 1;
    }
    let soaked = Soaked {
        seed: soak.seed,
        asked: soak.kills,
        kills: ledger.kills,
        load: (soak.projects, soak.roles),
        seconds: began.elapsed().as_secs_f64(),
        acknowledged: ledger.acknowledged.len() as u64,
        agents: ledger.incarnations(),
        zeros,
        announced,
        answered,
        moments: counts.moments,
        states: counts.states,
        intents: counts.intents,
        journal: counts.journal,
        trouble: counts.trouble,
        left: Vec::new(),
        why: stop.asked(),
        kept: None,
    };
    Ok((soaked, read.lines))
}

fn write(dir: &Path, soaked: &Soaked, lines: &[String]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("events.ndjson"), lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    std::fs::write(dir.join("soak.json"), serde_json::to_string_pretty(soaked)? + "\n")
}
