//! `orch-chaos sweep`.

use super::exit::Exit;
use super::run::{OrchArg, failed};
use super::{sweep_live, sweep_sim};
use crate::sim::sweep::Hit;
use clap::{Args, ValueEnum};

/// How a sweep is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// In the simulated world: every point with every fault
    Sim,
    /// kill -9 of the real program, traced from outside
    Live,
}

/// Which crash points.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// How
    #[arg(long, value_enum, default_value = "sim")]
    mode: Mode,
    /// A crash point, such as C06; repeatable [default: all]
    #[arg(long = "point", value_name = "ID", value_parser = point)]
    pub(super) points: Vec<String>,
    /// Sim: only this fault, such as kill-orch; repeatable [default: all six]
    #[arg(long = "fault", value_name = "FAULT", value_parser = sweep_sim::fault)]
    pub(super) faults: Vec<Hit>,
    /// Sim: also every ordered pair of points
    #[arg(long)]
    pub(super) pairs: bool,
    /// Sim: also every moment of the reference run, on both sides
    #[arg(long)]
    pub(super) moments: bool,
    /// Print JSON instead of the table
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) orch: OrchArg,
}

fn point(text: &str) -> Result<String, String> {
    let wrong = || "no such crash point; they are C01 to C46".to_owned();
    let number = text.get(1..3).and_then(|digits| digits.parse::<u32>().ok()).ok_or_else(wrong)?;
    let named = text.starts_with(['C', 'c']) && (1..=46).contains(&number);
    if named { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// `orch-chaos sweep`.
pub(super) fn sweep(args: &SweepArgs) -> Exit {
    let only_sim = args.pairs || args.moments || !args.faults.is_empty();
    match args.mode {
        Mode::Live if only_sim => failed(Exit::Usage, "--fault, --pairs and --moments are of --mode sim"),
        Mode::Live => sweep_live::sweep(args),
        Mode::Sim => sweep_sim::sweep(args),
    }
}
