//! `summary.md` and `report.html`: the report for people who were not there.

use super::junit::xml;
use super::model::{FaultLine, Report, Verdict};
use super::text::{Style, headline};
use crate::check::Is;
use crate::fault::Outcome;
use std::fmt::Write as _;

/// A table: its title, its columns, its rows. A cell says whether it is good, bad or neither.
struct Table {
    title: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

struct Cell {
    text: String,
    class: &'static str,
}

fn cell(text: impl ToString) -> Cell {
    Cell { text: text.to_string(), class: "" }
}

fn number(count: u64) -> Cell {
    Cell { text: count.to_string(), class: "n" }
}

/// What is bad unless it is zero.
fn zero(count: u64) -> Cell {
    Cell { text: count.to_string(), class: if count == 0 { "n" } else { "n bad" } }
}

fn millis(value: Option<f64>) -> Cell {
    Cell { text: value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}")), class: "n" }
}

/// What was run, in pairs.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let run = &report.run;
    let hours = |hours: f64| format!("{hours:.2} agent-hours");
    let mut facts = vec![
        ("run", run.id.clone()),
        ("mode", run.mode.name().to_owned()),
        ("began", run.started_at.clone()),
        ("ended", run.ended_at.clone()),
        ("agents lived", hours(run.agent_hours)),
    ];
    if let Some(commit) = &run.commit {
        facts.push(("commit", commit.clone()));
    }
    if let Some(of) = &report.campaign {
        let days = run.virtual_ms as f64 / 86_400_000.0;
        facts.push(("virtual time", format!("{days:.2} days of {} projects", run.projects)));
        facts.push(("orchestrators", format!("{} starts, {} turns, {} entries", of.starts, of.turns, of.entries)));
    } else {
        facts.push(("seed", run.seed.to_string()));
    }
    let control = &report.control;
    let quiet = format!("{} false alarms, {} false failures", control.false_alarms, control.false_failures);
    facts.push(("control", format!("{quiet} in {}", hours(control.agent_hours))));
    let ended: Vec<String> =
        report.projects.iter().filter(|of| *of.1 > 0).map(|of| format!("{} {}", of.1, of.0)).collect();
    facts.push(("projects ended", ended.join(", ")));
    facts
}

fn tables(report: &Report) -> Vec<Table> {
    let mut tables = vec![invariants(report)];
    if !report.summary.is_empty() {
        tables.push(if report.campaign.is_some() { reached(report) } else { fates(report) });
    }
    if let Some(of) = &report.campaign {
        let rows = of.sometimes.iter().map(|(name, times)| vec![cell(name), number(*times)]).collect();
        tables.push(Table { title: "Rare moments", columns: vec!["moment", "times"], rows });
    }
    tables
}

fn invariants(report: &Report) -> Table {
    let row = |found: &super::model::Invariant| {
        let (word, class) = match found.verdict {
            Is::Pass => ("pass", "good"),
            Is::Fail => ("FAIL", "bad"),
            Is::Unknown => ("unknown", "doubt"),
        };
        let says = found.violations.join("\n");
        vec![
            cell(&found.id),
            Cell { text: word.to_owned(), class },
            number(found.checked),
            cell(&found.title),
            cell(says),
        ]
    };
    let columns = vec!["invariant", "verdict", "looked at", "says", "against it"];
    Table { title: "Invariants", columns, rows: report.invariants.iter().map(row).collect() }
}

fn fates(report: &Report) -> Table {
    let rows = report.summary.iter().map(|(kind, of)| {
        let fates = of.fates.clone().unwrap_or_default();
        let mut row = vec![cell(kind), number(of.injected), number(of.confirmed), number(fates.detected)];
        row.extend([number(fates.recovered), number(fates.contained), number(fates.harmless), number(fates.masked)]);
        row.push(zero(fates.missed));
        let (found, mended) = (&fates.detection_ms, &fates.recovery_ms);
        row.extend([millis(found.p50), millis(found.max), millis(mended.p50), millis(mended.max)]);
        row
    });
    let columns = vec![
        "fault",
        "injected",
        "confirmed",
        "detected",
        "recovered",
        "contained",
        "harmless",
        "masked",
        "missed",
        "detection p50 ms",
        "max",
        "recovery p50 ms",
        "max",
    ];
    Table { title: "Faults", columns, rows: rows.collect() }
}

fn reached(report: &Report) -> Table {
    let met = report.campaign.as_ref().map(|of| &of.met);
    let rows = report.summary.iter().map(|(kind, of)| {
        let states = met.and_then(|met| met.get(kind)).map_or_else(String::new, |met| met.states.join(", "));
        vec![cell(kind), number(of.injected), number(of.confirmed), cell(states)]
    });
    Table { title: "Faults", columns: vec!["fault", "tried", "took effect", "states met"], rows: rows.collect() }
}

/// The report in Markdown, for a pull request or a CI job's page.
#[must_use]
pub fn summary(report: &Report) -> String {
    let mut out = format!("# {}\n\n", markdown(&headline(report, Style::Plain)));
    // Writing to a string cannot fail.
    for doubt in &report.doubts {
        let _ = writeln!(out, "- {}: {}", report.verdict.name(), markdown(doubt));
    }
    for (name, text) in facts(report) {
        let _ = writeln!(out, "- {name}: {}", markdown(&text));
    }
    for table in tables(report) {
        let _ = writeln!(out, "\n## {}\n\n| {} |", table.title, table.columns.join(" | "));
        let rules: Vec<&str> = table.columns.iter().map(|_| "---").collect();
        let _ = writeln!(out, "| {} |", rules.join(" | "));
        for row in &table.rows {
            let cells: Vec<String> = row.iter().map(|cell| markdown(&cell.text)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    out
}

/// Text within a line or a cell of Markdown.
fn markdown(text: &str) -> String {
    xml(text).replace('|', "\\|").replace('\n', "<br>")
}

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}\
:root{color-scheme:light dark;--good:#1a7f37;--bad:#c62828;--doubt:#9a6700;--line:#8884}\
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--bad:#ff6b60;--doubt:#d29922}}\
h1{font-size:1.35rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}\
.wide{overflow-x:auto}td,th{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}\
td{white-space:pre-line}.n{text-align:right;font-variant-numeric:tabular-nums}.good{color:var(--good)}\
.bad{color:var(--bad);font-weight:600}.doubt{color:var(--doubt)}dl{display:grid;grid-template-columns:max-content 1fr;\
gap:.15rem 1.2rem}dt{opacity:.7}dd{margin:0}svg text{font:12px system-ui,sans-serif;fill:currentColor}";

/// The report as one page of HTML that needs nothing else.
#[must_use]
pub fn html(report: &Report) -> String {
    let first = xml(&headline(report, Style::Plain));
    let class = match report.verdict {
        Verdict::Pass => "good",
        Verdict::Fail => "bad",
        Verdict::Inconclusive | Verdict::Aborted => "doubt",
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{first}</title><style>{STYLE}</style></head><body>\n\
         <h1 class=\"{class}\">{first}</h1>\n"
    );
    // Writing to a string cannot fail.
    for doubt in &report.doubts {
        let _ = writeln!(out, "<p class=\"doubt\">{}</p>", xml(doubt));
    }
    out.push_str("<dl>");
    for (name, text) in facts(report) {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", xml(&text));
    }
    out.push_str("</dl>\n");
    timeline(&mut out, report);
    for table in tables(report) {
        let _ = write!(out, "<h2>{}</h2><div class=\"wide\"><table><tr>", table.title);
        for (place, column) in table.columns.iter().enumerate() {
            let class = table.rows.first().and_then(|row| row.get(place)).map_or("", |cell| cell.class);
            let class = if class.starts_with('n') { "n" } else { "" };
            let _ = write!(out, "<th class=\"{class}\">{column}</th>");
        }
        out.push_str("</tr>\n");
        for row in &table.rows {
            out.push_str("<tr>");
            for cell in row {
                let _ = write!(out, "<td class=\"{}\">{}</td>", cell.class, xml(&cell.text));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</table></div>\n");
    }
    out.push_str("</body></html>\n");
    out
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 150.0;
const LINE: f64 = 22.0;

/// Every fault on a line of its project: a dot when it was injected, a bar until its project worked again.
fn timeline(out: &mut String, report: &Report) {
    if report.faults.is_empty() {
        return;
    }
    let mut projects: Vec<Option<i64>> = report.faults.iter().map(|fault| fault.project).collect();
    projects.sort_unstable();
    projects.dedup();
    // The journal's time outruns virtual time where the clock is set forward.
    let told = report.faults.iter().flat_map(|fault| [fault.injected_at_ms, fault.recovered_at_ms]).flatten();
    let length = told.fold(report.run.virtual_ms.max(1) as f64, f64::max);
    let x = |ms: f64| LEFT + (WIDTH - LEFT - 20.0) * (ms / length).clamp(0.0, 1.0);
    let height = LINE * (projects.len() as f64 + 1.5);
    let _ =
        writeln!(out, "<h2>Timeline</h2><div class=\"wide\"><svg width=\"{WIDTH}\" height=\"{height}\" role=\"img\">");
    for (place, project) in projects.iter().enumerate() {
        let y = LINE * (place as f64 + 0.7);
        let name = project.map_or_else(|| "none".to_owned(), |project| format!("project {project}"));
        let _ = writeln!(out, "<text x=\"0\" y=\"{}\">{name}</text>", y + 4.0);
        let _ = writeln!(out, "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#8886\"/>", x(length));
        for fault in report.faults.iter().filter(|fault| fault.project == *project) {
            mark(out, fault, y, &x);
        }
    }
    let y = height - 6.0;
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{y}\">0 s</text>");
    let end = length / 1_000.0;
    let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{y}\" text-anchor=\"end\">{end:.0} s</text></svg></div>", x(length));
}

fn mark(out: &mut String, fault: &FaultLine, y: f64, x: &impl Fn(f64) -> f64) {
    let Some(from) = fault.injected_at_ms else { return };
    let colour = match fault.outcome {
        Some(Outcome::Recovered | Outcome::Harmless) => "var(--good)",
        Some(Outcome::Missed) => "var(--bad)",
        Some(Outcome::Contained | Outcome::Masked) => "var(--doubt)",
        None if fault.effect == super::model::Effect::Confirmed => "currentColor",
        None => "#8888",
    };
    let outcome = fault.outcome.map_or("", Outcome::name);
    let title = xml(&format!("fault {}: {} at {:.1} s {outcome}", fault.id, fault.kind, from / 1_000.0));
    if let Some(until) = fault.recovered_at_ms {
        let wide = (x(until) - x(from)).max(1.0);
        let _ = writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{}\" width=\"{wide:.1}\" height=\"6\" fill=\"{colour}\" opacity=\".4\"/>",
            x(from),
            y - 3.0
        );
    }
    let _ = writeln!(
        out,
        "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"><title>{title}</title></circle>",
        x(from)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::campaign::tests::report as campaign;
    use crate::report::judge::{judge, tests::played};

    #[test]
    fn both_say_what_was_violated_and_what_was_missed() {
        let played = played(true);
        let mut report = judge(&played, &played.journal);
        report.invariants[0].violations = vec!["<script>alert(1)</script> | x".to_owned()];
        let (page, text) = (html(&report), summary(&report));
        assert!(page.contains("<svg") && page.contains("fault 2: claude_md_delete at 8.0 s missed"), "{page}");
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        assert!(text.starts_with("# FAIL") && text.contains("\\| x"), "{text}");
        assert!(page.contains("<td class=\"n bad\">1</td>"), "{page}");
    }

    #[test]
    fn the_timeline_reaches_as_far_as_its_faults() {
        let played = played(true);
        let mut report = judge(&played, &played.journal);
        report.faults[1].injected_at_ms = Some(3_600_000.0);
        let page = html(&report);
        assert!(page.contains(">3600 s</text>"), "{page}");
    }

    #[test]
    fn a_campaign_has_its_kinds_and_moments() {
        let mut report = campaign(4);
        report.doubts = vec!["a < b".to_owned()];
        let (page, text) = (html(&report), summary(&report));
        for expected in ["<h2>Rare moments</h2>", "took effect", "a &lt; b"] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        assert!(text.contains("| breaker_opened | "), "{text}");
        assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
    }
}
