//! `orch-chaos sweep --mode live`: kill -9 of the real program, traced from outside.

use super::exit::Exit;
use super::output::{note, result};
use super::run::{failed, listen};
use super::sweep::SweepArgs;
use crate::live::{POINTS, Point, Row, Stop, Sweep, SweepStep, Verdict, Why, run_sweep};
use std::path::PathBuf;
use std::sync::Arc;

/// The points of that name.
pub(super) fn points(names: &[String]) -> Result<Vec<&'static Point>, String> {
    if names.is_empty() {
        return Ok(POINTS.iter().collect());
    }
    let of = |name: &String| {
        let found = POINTS.iter().find(|point| point.id.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("{name} is no crash point that is met live; those are C01 to C36"))
    };
    names.iter().map(of).collect()
}

/// `orch-chaos sweep --mode live`.
pub(super) fn sweep(args: &SweepArgs) -> Exit {
    let points = match points(&args.points) {
        Ok(points) => points,
        Err(why) => return failed(Exit::Usage, &why),
    };
    let guard = match std::env::current_exe() {
        Ok(own) => own,
        Err(why) => return failed(Exit::Unexpected, &format!("this program's own path: {why}")),
    };
    // Nothing is kept, so there is no folder for a file that stops it; signals do.
    let stop = Arc::new(Stop::new(PathBuf::new()));
    if let Err(why) = listen(&stop) {
        return failed(Exit::Unexpected, &why);
    }
    let sweep = Sweep { points, orch: args.orch.resolve(), guard };
    let told = run_sweep(&sweep, &stop, &|SweepStep::Done(row)| {
        if args.json { result(&json(&row)) } else { note(&format!("{} {}", row.point, word(row.verdict))) }
    });
    match told {
        Ok((rows, why)) => {
            if !args.json {
                result(&table(&rows));
            }
            exit(&rows, why)
        }
        Err(why) => failed(Exit::of_error(&why), &why.to_string()),
    }
}

fn exit(rows: &[Row], why: Option<Why>) -> Exit {
    match why {
        Some(Why::Interrupted) => Exit::Interrupted,
        Some(Why::Terminated) => Exit::Terminated,
        Some(Why::StopFile) => Exit::Aborted,
        None => match rows.iter().map(|row| row.verdict).max() {
            Some(Verdict::AsExpected) => Exit::Pass,
            Some(Verdict::Differs) => Exit::Violated,
            Some(Verdict::NotReached) | None => Exit::Inconclusive,
        },
    }
}

fn json(row: &Row) -> String {
    // A row is text and one name: it has a JSON.
    serde_json::to_string(row).unwrap_or_default()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::AsExpected => "as expected",
        Verdict::NotReached => "not reached",
        Verdict::Differs => "differs",
    }
}

fn table(rows: &[Row]) -> String {
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| format!("{:<4}  {:<50}  {}: {}", row.point, row.what, word(row.verdict), row.observed))
        .collect();
    let count = |verdict: Verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (good, differs, missed) = (count(Verdict::AsExpected), count(Verdict::Differs), count(Verdict::NotReached));
    lines.push(format!("{good} of {} as expected, {differs} differ, {missed} not reached", rows.len()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict) -> Row {
        Row { point: "C01", what: "w", expected: "e", verdict, observed: "o".to_owned() }
    }

    #[test]
    fn the_worst_point_is_the_exit() {
        let of = |verdicts: &[Verdict]| exit(&verdicts.iter().map(|verdict| row(*verdict)).collect::<Vec<_>>(), None);
        assert_eq!(of(&[Verdict::AsExpected]), Exit::Pass);
        assert_eq!(of(&[Verdict::AsExpected, Verdict::NotReached]), Exit::Inconclusive);
        assert_eq!(of(&[Verdict::Differs, Verdict::NotReached, Verdict::AsExpected]), Exit::Violated);
        // Nothing was swept: nothing is said.
        assert_eq!(of(&[]), Exit::Inconclusive);
    }

    #[test]
    fn the_table_of_crash_points() {
        let line = |point: &Point| format!("{:<4}  {:<50}  {}\n", point.id, point.what, point.expected);
        let _area = snapshots::area("chaos/crash_points");
        insta::assert_snapshot!("live", POINTS.iter().map(line).collect::<String>());
    }

    #[test]
    fn every_crash_point_up_to_c36_is_there_once() {
        let ids: Vec<String> = (1..=36).map(|number| format!("C{number:02}")).collect();
        // A letter marks a second way to meet a point.
        let found = POINTS.iter().map(|point| point.id).filter(|id| id.len() == 3);
        assert_eq!(found.collect::<Vec<_>>(), ids);
    }
}
