//! `orch-chaos soak`.

use super::exit::Exit;
use super::output::{note, result};
use super::run::{OrchArg, REPORTS, failed, listen};
use crate::live::{STOP_FILE, Soak, SoakStep, Soaked, Stop, Why, run_soak};
use crate::report::{Percentiles, Zero};
use crate::seed::Seed;
use clap::Args;
use jiff::tz::TimeZone;
use orchestrator::domain::limits::ROLES_MAX;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often to kill, and under which load.
#[derive(Debug, Args)]
pub(super) struct SoakArgs {
    /// How often to kill the orchestrator
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    kills: u64,
    /// What the moments are a function of [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<Seed>,
    /// How many projects at a time
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..=50))]
    projects: u32,
    /// How many roles each project has
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=ROLES_MAX as i64))]
    roles: u32,
    /// The folder of the figures [default: chaos-report/soak-ID]; a file STOP in it ends the soak
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the files (not the processes), for a person to look at
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    orch: OrchArg,
}

/// `orch-chaos soak`.
pub(super) fn soak(args: &SoakArgs) -> Exit {
    let seed = match args.seed.map_or_else(Seed::random, Ok) {
        Ok(seed) => seed,
        Err(why) => return failed(Exit::Unexpected, &why),
    };
    let now = jiff::Timestamp::now().to_zoned(TimeZone::UTC);
    let id = format!("soak-{}-{seed}", now.strftime("%Y%m%d-%H%M%S"));
    let out = args.out.clone().unwrap_or_else(|| Path::new(REPORTS).join(id));
    let (kills, projects, roles) = (args.kills, args.projects, args.roles);
    result(&format!(
        "seed {seed}  (again: orch-chaos soak --seed {seed} --kills {kills} --projects {projects} --roles {roles})"
    ));
    let guard = match std::env::current_exe() {
        Ok(own) => own,
        Err(why) => return failed(Exit::Unexpected, &format!("this program's own path: {why}")),
    };
    let stop = Arc::new(Stop::new(out.join(STOP_FILE)));
    if let Err(why) = listen(&stop) {
        return failed(Exit::Unexpected, &why);
    }
    let place = out.display().to_string();
    let soak = Soak { seed, kills, projects, roles, orch: args.orch.resolve(), guard, out, keep: args.keep };
    match run_soak(&soak, &stop, &|step| note(&line(&step, kills))) {
        Ok(soaked) => {
            result(&summary(&soaked, &place));
            if let Some(kept) = &soaked.kept {
                note(&format!("files kept in {}", kept.display()));
            }
            exit(&soaked)
        }
        Err(why) => failed(Exit::of_error(&why), &why.to_string()),
    }
}

fn exit(soaked: &Soaked) -> Exit {
    match soaked.why {
        Some(Why::Interrupted) => Exit::Interrupted,
        Some(Why::Terminated) => Exit::Terminated,
        Some(Why::StopFile) => Exit::Aborted,
        None if soaked.is_violated() => Exit::Violated,
        None if soaked.is_conclusive() => Exit::Pass,
        None => Exit::Inconclusive,
    }
}

fn line(step: &SoakStep, kills: u64) -> String {
    match step {
        SoakStep::Kills { made, acknowledged, ended, agents } => {
            format!("{made} of {kills} kills; {acknowledged} projects, {ended} of them ended; {agents} agents live")
        }
        SoakStep::Finishing => "everything is let finish".to_owned(),
    }
}

fn summary(soaked: &Soaked, place: &str) -> String {
    let word = if soaked.why.is_some() {
        "CUT SHORT"
    } else if soaked.is_violated() {
        "FAIL"
    } else if soaked.is_conclusive() {
        "PASS"
    } else {
        "INCONCLUSIVE"
    };
    let (projects, roles) = soaked.load;
    let mut text = format!(
        "{word}  {} of {} kills in {:.0} s; {projects} projects of {roles} roles at a time; {} projects, {} agents\n",
        soaked.kills, soaked.asked, soaked.seconds, soaked.acknowledged, soaked.agents
    );
    for zero in &soaked.zeros {
        let bound = if zero.found.is_empty() && zero.trials > 0 {
            format!("< {:.3} % (3/N)", 100.0 * Zero::Among(zero.trials).below())
        } else {
            String::new()
        };
        let (name, found, trials, unit) = (zero.name, zero.found.len(), zero.trials, zero.unit);
        let _ = writeln!(text, "  {name:<15} {found:>3} of {trials:>6} {unit:<14} {bound}");
        for one in zero.found.iter().take(20) {
            let _ = writeln!(text, "      {one}");
        }
    }
    let _ = writeln!(text, "announced after a start: {}", millis(&soaked.announced));
    let _ = writeln!(text, "tmux answered after a start: {}", millis(&soaked.answered));
    let _ = writeln!(text, "killed: {}", counts(&soaked.moments));
    let _ = writeln!(text, "kills that met a project: {}", counts(&soaked.states));
    let _ = writeln!(text, "kills that met an effect under way: {}", counts(&soaked.intents));
    for one in soaked.trouble.iter().chain(&soaked.left) {
        let _ = writeln!(text, "trouble: {one}");
    }
    let _ = write!(text, "figures in {place}");
    text
}

fn millis(of: &Percentiles) -> String {
    let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
    format!("p50 {} ms, p95 {} ms, p99 {} ms, max {} ms", text(of.p50), text(of.p95), text(of.p99), text(of.max))
}

fn counts(of: &BTreeMap<String, u64>) -> String {
    of.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
