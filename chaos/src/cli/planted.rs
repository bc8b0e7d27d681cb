//! `orch-chaos planted`: bugs that are planted on purpose, and which invariant finds them.

use super::exit::Exit;
use super::output::{error, note, result};
use crate::sim::planted::{self, Bug, Kill, Matrix, SEEDS_MAX};
use clap::Args;
use std::panic;
use std::sync::Arc;

/// Which bugs, and how they are shown.
#[derive(Debug, Args)]
pub(super) struct PlantedArgs {
    /// Plant this bug only (see `--list`)
    #[arg(long, value_parser = bug, value_name = "NAME")]
    bug: Option<&'static Bug>,
    /// Only say which bugs there are
    #[arg(long, conflicts_with = "bug")]
    list: bool,
    /// As JSON
    #[arg(long, conflicts_with = "list")]
    json: bool,
    /// Leave the schedules as they were drawn, instead of asking how few of their faults are enough
    #[arg(long, conflicts_with = "list")]
    no_shrink: bool,
    /// Seeds to try before a bug counts as not killed
    #[arg(long, default_value_t = SEEDS_MAX, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
}

/// A bug's name, as the catalogue spells it.
pub(super) fn bug(text: &str) -> Result<&'static Bug, String> {
    let found = planted::all().find(|bug| bug.name == text);
    found.ok_or_else(|| "no such bug; `orch-chaos planted --list` names them".to_owned())
}

/// The option that plants it.
pub(super) fn option(planted: Option<&Bug>) -> String {
    planted.map_or_else(String::new, |bug| format!(" --plant {}", bug.name))
}

/// `orch-chaos planted`.
pub(super) fn planted(args: &PlantedArgs) -> Exit {
    if args.list {
        let line = |bug: &Bug| format!("{:<30} {:<4} {:<10} {}\n", bug.name, bug.intended, bug.from.name(), bug.what);
        result(planted::all().map(line).collect::<String>().trim_end());
        return Exit::Pass;
    }
    let wanted = planted::all().filter(|bug| args.bug.is_none_or(|only| only.name == bug.name));
    let kills: Vec<Kill> = wanted.map(|bug| planted::kill(bug, args.seeds, !args.no_shrink)).collect();
    let harness = if args.bug.is_none() { without(PANIC, planted::harness) } else { Vec::new() };
    let matrix = Matrix { kills, harness };
    if args.json {
        match serde_json::to_string_pretty(&matrix) {
            Ok(text) => result(&text),
            Err(why) => {
                error(&why.to_string());
                return Exit::Unexpected;
            }
        }
    } else if args.bug.is_none() {
        result(matrix.table().trim_end());
    } else {
        matrix.kills.iter().for_each(|kill| result(&told(kill)));
    }
    let mut red = matrix.red();
    if args.bug.is_none() {
        red.extend(matrix.unneeded().into_iter().map(|id| format!("{id} finds nothing that no other invariant finds")));
    }
    red.iter().for_each(|why| note(why));
    if red.is_empty() { Exit::Pass } else { Exit::Violated }
}

/// One of the harness's own bugs is a checker that panics with these words: that is caught and judged, and they help
/// nobody here.
const PANIC: &str = "on purpose";

/// Does it without telling of panics with these words; every other one is told.
fn without<Done>(words: &'static str, work: impl FnOnce() -> Done) -> Done {
    let loud = Arc::new(panic::take_hook());
    let told = Arc::clone(&loud);
    panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(words) {
            told(panic);
        }
    }));
    let done = work();
    panic::set_hook(Box::new(move |panic| loud(panic)));
    done
}

fn told(kill: &Kill) -> String {
    let Some(seeds) = kill.seeds else { return format!("{} is not killed by {}", kill.bug, kill.intended) };
    let takes = kill.shrunk.map_or_else(String::new, |least| format!(", {} of them needed", least.faults));
    let (bug, by, faults, says) = (kill.bug, kill.intended, kill.faults, &kill.says);
    format!("{bug} is killed by {by} with seed {} ({faults} faults{takes}): {says}", seeds - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn only_the_panic_on_purpose_is_silent_and_only_there() {
        let (own, heard) = (std::thread::current().id(), Arc::new(AtomicU32::new(0)));
        let (before, counter) = (panic::take_hook(), Arc::clone(&heard));
        panic::set_hook(Box::new(move |panic| {
            // Other tests panic on purpose as well, meanwhile.
            if std::thread::current().id() == own {
                counter.fetch_add(1, Ordering::Relaxed);
            } else {
                before(panic);
            }
        }));
        let after = |text: &'static str| {
            drop(panic::catch_unwind(|| panic::panic_any(text)));
            heard.load(Ordering::Relaxed)
        };
        let inside = without(PANIC, || (after(PANIC), after("a bug")));
        assert_eq!((inside, after(PANIC)), ((0, 1), 2));
    }
}
