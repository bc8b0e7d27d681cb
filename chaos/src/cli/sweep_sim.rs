//! `orch-chaos sweep --mode sim`: every crash point with every fault.

use super::exit::Exit;
use super::output::result;
use super::sweep::SweepArgs;
use crate::sim::sweep::{self, Figures, Hit, Judged, ROWS, Row, Swept};
use std::fmt::Write as _;

/// The rows of that name.
fn rows(names: &[String]) -> Result<Vec<&'static Row>, String> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    let of = |name: &String| {
        let found = ROWS.iter().find(|row| row.id.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("{name} is no crash point; they are C01 to C46"))
    };
    names.iter().map(of).collect()
}

fn slug(hit: Hit) -> String {
    hit.name().replace(['/', ' '], "-").to_lowercase()
}

pub(super) fn fault(text: &str) -> Result<Hit, String> {
    let known: Vec<String> = Hit::FAULTS.into_iter().map(slug).collect();
    let found = Hit::FAULTS.into_iter().find(|hit| slug(*hit) == text);
    found.ok_or_else(|| format!("no such fault; known: {}", known.join(", ")))
}

/// `orch-chaos sweep --mode sim`.
pub(super) fn sweep(args: &SweepArgs) -> Exit {
    let rows = match rows(&args.points) {
        Ok(rows) => rows,
        Err(why) => return super::run::failed(Exit::Usage, &why),
    };
    let faults = if args.faults.is_empty() { Hit::FAULTS.to_vec() } else { args.faults.clone() };
    let swept = Swept {
        cases: sweep::rows(&rows, &faults, None),
        pairs: if args.pairs { sweep::pairs(&rows, &ROWS.iter().collect::<Vec<_>>(), None) } else { Vec::new() },
        points: if args.moments { sweep::points(1, None) } else { Vec::new() },
    };
    if args.json {
        match serde_json::to_string_pretty(&swept) {
            Ok(text) => result(&text),
            Err(why) => return super::run::failed(Exit::Unexpected, &format!("the result cannot be written: {why}")),
        }
    } else {
        result(text(&swept).trim_end());
    }
    let all = swept.figures();
    match (all.differ, all.not_reached) {
        (0, 0) => Exit::Pass,
        (0, _) => Exit::Inconclusive,
        _ => Exit::Violated,
    }
}

/// The table, what differs and how to see it alone, and the figures.
fn text(swept: &Swept) -> String {
    let mut text = sweep::table(&swept.cases);
    for case in &swept.cases {
        if let Judged::Differs(found) = &case.judged {
            let fault = case.fault.replace(['/', ' '], "-").to_lowercase();
            let (row, times) = (case.row, if case.every { "every time" } else { "once" });
            let _ = writeln!(text, "\n{row} {} {times}: {}", case.fault, found.join("; "));
            let _ = writeln!(text, "  again: orch-chaos sweep --point {row} --fault {fault}");
        }
    }
    for pair in &swept.pairs {
        if let Judged::Differs(found) = &pair.judged {
            let (first, second) = (pair.first, pair.second);
            let _ = writeln!(text, "\n{first}, then {second}: {}", found.join("; "));
            let _ = writeln!(text, "  again: orch-chaos sweep --point {first} --fault kill-orch --pairs");
        }
    }
    for point in &swept.points {
        if let Judged::Differs(found) = &point.judged {
            let _ = writeln!(text, "\n{}: {}", point.moment, found.join("; "));
            let _ = writeln!(text, "  again: orch-chaos sweep --point C01 --fault kill-orch --moments");
        }
    }
    for (name, figures) in [
        ("cases", Figures::of(swept.cases.iter().map(|one| &one.judged))),
        ("pairs", Figures::of(swept.pairs.iter().map(|one| &one.judged))),
        ("points", Figures::of(swept.points.iter().map(|one| &one.judged))),
    ] {
        let _ = writeln!(text, "{name:<7} {figures}");
    }
    text
}
