//! The command line: the only part of the harness that prints.

mod exit;
mod faults;
mod output;
mod planted;
mod progress;
mod replay;
mod run;
mod shrink;
mod sim;
mod soak;
mod sweep;
mod sweep_live;
mod sweep_sim;
mod value;

pub use exit::Exit;

use crate::live::{GUARD, examine, watch};
use crate::report::{read, render};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use output::{error, note, result, style};
use std::path::PathBuf;
use std::process::ExitCode;

/// Breaks the orchestrator on purpose and checks every promise it makes.
#[derive(Debug, Parser)]
#[command(name = "orch-chaos", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Break things, and judge what comes of it
    Run(run::RunArgs),
    /// Kill the orchestrator again and again under load, and count what is lost by it
    Soak(soak::SoakArgs),
    /// Fail at every crash point of the catalogue, simulated or for real, and look what the next start makes of it
    Sweep(sweep::SweepArgs),
    /// Play a schedule again
    Replay(run::ReplayArgs),
    /// Find the smallest schedule under which the same invariant fails
    Shrink(shrink::ShrinkArgs),
    /// Plant bugs, and show which invariant finds each
    Planted(planted::PlantedArgs),
    /// Show the catalogue of faults
    Faults(faults::FaultsArgs),
    /// Show the summary of a report
    Report {
        /// The folder of the report
        dir: PathBuf,
    },
    /// Say whether live mode can work here
    Doctor {
        #[command(flatten)]
        orch: run::OrchArg,
    },
    /// Clean up after a harness that dies
    #[command(name = GUARD, hide = true)]
    Guard {
        /// The sandbox
        dir: PathBuf,
        /// Its mark
        mark: String,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let parsed = Cli::command().after_help(Exit::help()).try_get_matches().and_then(|matches| {
        // What clap's own macros cannot promise statically, it checks here.
        Cli::from_arg_matches(&matches)
    });
    match parsed {
        Ok(cli) => ended(&cli.command).into(),
        Err(refusal) => refused(&refusal).into(),
    }
}

fn ended(command: &Command) -> Exit {
    match command {
        Command::Run(args) => run::run(args),
        Command::Soak(args) => soak::soak(args),
        Command::Sweep(args) => sweep::sweep(args),
        Command::Replay(args) => run::replay(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Planted(args) => planted::planted(args),
        Command::Faults(args) => faults::faults(args),
        Command::Report { dir } => report(dir),
        Command::Doctor { orch } => doctor(orch),
        Command::Guard { dir, mark } => {
            let left = watch(dir.clone(), mark);
            if left.is_empty() { Exit::Pass } else { Exit::Unexpected }
        }
    }
}

/// Help goes to stdout; a refusal is one line on stderr.
fn refused(refusal: &clap::Error) -> Exit {
    let kind = refusal.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        result(refusal.to_string().trim_end());
        return Exit::Pass;
    }
    let text = refusal.to_string();
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        note(text.trim_end());
    } else {
        // Its first paragraph says what is wrong; the rest is advice of many lines.
        error(text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: "));
    }
    Exit::Usage
}

fn report(dir: &std::path::Path) -> Exit {
    match read(dir) {
        Ok(found) => {
            result(render(&found, &dir.display().to_string(), style()).trim_end());
            Exit::Pass
        }
        Err(why) => {
            error(&why);
            Exit::Usage
        }
    }
}

fn doctor(orch: &run::OrchArg) -> Exit {
    let ground = examine(&orch.resolve());
    for one in &ground {
        let (word, text) = match &one.found {
            Ok(text) => ("ok", text),
            Err(why) => ("FAIL", why),
        };
        result(&format!("{word:<5} {:<10} {text}", one.name));
    }
    if ground.iter().all(|one| one.found.is_ok()) { Exit::Pass } else { Exit::Environment }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            &["run", "--duration", "30"][..],
            &["run", "--projects", "0"],
            &["run", "--fault", "nonsense"],
            &["run", "--mode", "sim", "--seeds", "5..5"],
            &["run", "--mode", "sim", "--seeds", "0..5", "--seed", "1"],
            &["run", "--seed", "-1"],
            &["shrink"],
            &["shrink", "a.json", "--seed", "1"],
            &["shrink", "a.json", "--invariant", "X9"],
            &["shrink", "a.json", "--runs", "0"],
            &["soak", "--kills", "0"],
            &["soak", "--projects", "1"],
            &["sweep", "--point", "C47"],
            &["sweep", "--fault", "nonsense"],
            &["replay"],
            &["planted", "--bug", "nonsense"],
            &["planted", "--seeds", "0"],
        ] {
            let args = std::iter::once("orch-chaos").chain(wrong.iter().copied());
            assert!(Cli::try_parse_from(args).is_err(), "{wrong:?}");
        }
    }
}
