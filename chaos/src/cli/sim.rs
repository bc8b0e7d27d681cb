//! `orch-chaos run --mode sim`: many seeds in a simulated world.

use super::exit::Exit;
use super::output::{error, note, result};
use super::replay::{inconclusive, onlookers};
use super::run::failed;
use crate::fault::Kind;
use crate::seed::Seed;
use crate::sim::campaign::{Campaign, Played, Totals};
use crate::sim::conclusion::{Owed, concluded};
use crate::sim::replay::{self, How};
use crate::sim::{draw, gate_process};
use clap::Args;
use std::ops::Range;
use std::path::{Path, PathBuf};
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
        (None, Some(Seed(seed))) => seed..seed.saturating_add(1),
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

fn play(campaign: &Campaign, asked: &Asked<'_>) -> Exit {
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut last = began;
    let mut each = |played: Played| {
        totals.add(&played);
        tell(campaign, asked, &played, totals.violated);
        if last.elapsed() >= Duration::from_secs(10) {
            last = Instant::now();
            let (seeds, all) = (totals.seeds, campaign.seeds.end - campaign.seeds.start);
            note(&format!("{seeds} of {all} seeds, {} with a violation", totals.violated));
        }
        true
    };
    if asked.events {
        let schedule = campaign.schedule(campaign.seeds.start);
        let onlookers = onlookers(&schedule, true);
        let came = replay::play(&schedule, How { onlookers, ..How::default() });
        each(Played { seed: campaign.seeds.start, came });
    } else {
        campaign.play(each);
    }
    let took = began.elapsed();
    if asked.json {
        result(&crate::report::campaign_json(campaign, &totals, took).to_string());
    } else {
        result(crate::report::campaign_text(campaign, &totals, took).trim_end());
    }
    let found = concluded(&totals, &Owed::by(campaign));
    inconclusive(&found);
    Exit::of_verdict(found.is)
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
    let mut here = std::collections::BTreeMap::new();
    let mut differing = Vec::new();
    campaign.play(|first| {
        let second = campaign.one(first.seed);
        if let Some(why) = gate_process::differs(&first, &second) {
            differing.push(format!("seed {}: twice in one process: {why}", first.seed));
        }
        here.insert(first.seed, gate_process::print_of(&first));
        true
    });
    let mut args: Vec<String> = ["run", "--mode", "sim", "--fingerprint"].map(ToOwned::to_owned).to_vec();
    args.push(format!("--seeds={}..{}", campaign.seeds.start, campaign.seeds.end));
    args.extend(campaign.duration_ms.map(|ms| format!("--duration={ms}ms")));
    args.extend(campaign.projects.map(|projects| format!("--projects={projects}")));
    args.extend(campaign.roles.map(|roles| format!("--roles={roles}")));
    args.extend(asked.faults.iter().map(|(kind, _)| format!("--fault={kind}")));
    match gate_process::elsewhere(&args) {
        Ok(there) => {
            let all = here.iter().filter(|(seed, print)| there.get(*seed) != Some(*print));
            differing.extend(all.map(|(seed, _)| format!("seed {seed}: another one in a fresh process")));
        }
        Err(why) => return failed(Exit::Unexpected, &why),
    }
    let (seeds, took) = (here.len(), began.elapsed().as_secs_f64());
    for line in differing.iter().take(20) {
        error(line);
    }
    result(&format!(
        "{seeds} seeds, each twice in one process and once in a fresh one with another environment, time zone and \
         folder: {} differ{} ({took:.1} s)",
        differing.len(),
        if differing.is_empty() { format!(", fewer than {:.4} % (95 %)", 300.0 / seeds as f64) } else { String::new() },
    ));
    if differing.is_empty() { Exit::Pass } else { Exit::Nondeterminism }
}
