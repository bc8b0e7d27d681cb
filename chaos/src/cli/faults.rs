//! `orch-chaos faults`: the catalogue.

use super::exit::Exit;
use super::output::result;
use super::value;
use crate::fault::{Fault, Kind, UNPLAYED, catalogue};
use clap::{Args, Subcommand};

/// What to show of the catalogue.
#[derive(Debug, Args)]
pub(super) struct FaultsArgs {
    #[command(subcommand)]
    show: Option<Show>,
}

/// Everything, or one kind.
#[derive(Debug, Subcommand)]
enum Show {
    /// List every kind (the default)
    List,
    /// Say everything about one kind
    Explain {
        /// Which
        #[arg(value_parser = value::kind)]
        kind: Kind,
    },
}

/// `orch-chaos faults`.
pub(super) fn faults(args: &FaultsArgs) -> Exit {
    match &args.show {
        None | Some(Show::List) => result(list().trim_end()),
        Some(Show::Explain { kind }) => result(&explain(kind.entry())),
    }
    Exit::Pass
}

fn modes(fault: &Fault) -> String {
    fault.modes.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", ")
}

fn list() -> String {
    let line = |fault: &Fault| format!("{:<22} {:<9} {}\n", fault.kind.name(), modes(fault), fault.title);
    let unplayed = |(name, why): &(&str, &str)| format!("{name:<22} not yet   {why}\n");
    catalogue().map(line).chain(UNPLAYED.iter().map(unplayed)).collect()
}

fn explain(fault: &Fault) -> String {
    let due = fault.detection;
    let (event, sweep) = (due.by_event.as_millis(), due.by_sweep.as_millis());
    let outcome = if fault.spends_recovery {
        format!("{}; contained once the project's recoveries are spent", fault.outcome.name())
    } else {
        fault.outcome.name().to_owned()
    };
    let rows = [
        ("class", fault.class.to_owned()),
        ("modes", modes(fault)),
        ("does", fault.does.to_owned()),
        ("probe", fault.probe.to_owned()),
        ("told by", due.told_by.to_owned()),
        ("in time", format!("{event} ms by an event source, {sweep} ms by the sweep")),
        ("outcome", outcome),
        ("undo", fault.undo.to_owned()),
    ];
    let rows = rows.iter().map(|(name, text)| format!("\n{name:<9} {text}"));
    format!("{}: {}{}", fault.kind, fault.title, rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_and_explained() {
        for kind in Kind::ALL {
            assert!(list().contains(kind.name()));
            let text = explain(kind.entry());
            for row in ["class", "modes", "does", "probe", "told by", "in time", "outcome", "undo"] {
                assert!(text.contains(&format!("\n{row}")), "{row} is not in\n{text}");
            }
        }
    }
}
