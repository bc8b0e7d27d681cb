//! The summary on the terminal: at a glance what was done, what came of it, and how to do it again.

use super::campaign::{campaign_line, campaign_text};
use super::model::{Effect, Invariant, KindSummary, Report, Verdict};
use super::percentiles::Percentiles;
use super::zero::Zero;
use crate::check::Is;
use std::fmt::Write as _;

/// Violations shown of each invariant; all of them are in the report.
const SHOWN_MAX: usize = 4;

/// Whether colour may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text only: no terminal, or NO_COLOR is set.
    Plain,
    /// With colour.
    Colour,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn doubtful(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    /// As what is bad, if it says anything.
    pub(super) fn bad_if(self, text: &str) -> String {
        if text.is_empty() { String::new() } else { self.bad(text) }
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// The summary; `place` is the folder of the report, empty if none was written.
#[must_use]
pub fn render(report: &Report, place: &str, style: Style) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\n", headline(report, style));
    match &report.campaign {
        Some(figures) => campaign_text(&mut out, report, figures, style),
        None => table(&mut out, report, style),
    }
    control(&mut out, report, style);
    invariants(&mut out, report, style);
    for doubt in &report.doubts {
        row(&mut out, "because", doubt);
    }
    let projects: Vec<String> = report
        .projects
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    row(&mut out, "projects", &if projects.is_empty() { "none".to_owned() } else { projects.join(", ") });
    if !place.is_empty() {
        row(&mut out, "report", place);
    }
    match &report.campaign {
        Some(of) if of.seeds.to - of.seeds.from > 1 => {}
        _ if place.is_empty() => {}
        _ => row(&mut out, "replay", &format!("orch-chaos replay {place}")),
    }
    out
}

pub(super) fn row(out: &mut String, name: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{name:<11} {text}");
}

/// The first line: the verdict, on how much, and what a zero in it proves.
pub(super) fn headline(report: &Report, style: Style) -> String {
    let word = report.verdict.name().to_uppercase();
    let word = match report.verdict {
        Verdict::Pass => style.good(&word),
        Verdict::Fail => style.bad(&word),
        Verdict::Inconclusive | Verdict::Aborted => style.doubtful(&word),
    };
    if let Some(figures) = &report.campaign {
        return format!("{word}  {}", campaign_line(report, figures));
    }
    let (injected, confirmed, missed) = (report.injected(), report.confirmed(), report.missed());
    let seconds = report.run.duration_ms as f64 / 1_000.0;
    let missed = match (missed, confirmed) {
        (0, 0) => String::new(),
        (0, confirmed) => format!(", none missed ({})", Zero::Among(confirmed).words("fault")),
        (missed, _) => format!(", {}", style.bad(&format!("{missed} missed"))),
    };
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let (faults, projects) = (counted(injected, "fault"), counted(report.run.projects.into(), "project"));
    format!("{word}  {faults} on {projects} in {seconds:.1} s: {confirmed} confirmed{missed}")
}

fn table(out: &mut String, report: &Report, style: Style) {
    let head = format!(
        "{:<18} {:>8} {:>9} {:>8} {:>9} {:>9} {:>6}   {:>7} {:>7} {:>7}   {:>7} {:>7} {:>7}",
        "fault",
        "injected",
        "confirmed",
        "detected",
        "recovered",
        "contained",
        "missed",
        "p50",
        "p99",
        "max",
        "p50",
        "p99",
        "max"
    );
    let over = format!("{:<76}{:<26}{}", "", "detection ms", "recovery ms");
    let _ = writeln!(out, "{}\n{}", style.dim(over.trim_end()), style.dim(&head));
    for (kind, of) in &report.summary {
        let _ = writeln!(out, "{:<18} {}", kind.name(), cells(of));
    }
    for fault in report.faults.iter().filter(|fault| fault.effect == Effect::None) {
        let _ = writeln!(out, "  fault {} ({}) {}", fault.id, fault.kind, style.doubtful("took no effect"));
    }
    out.push('\n');
}

fn cells(of: &KindSummary) -> String {
    let fates = of.fates.clone().unwrap_or_default();
    let counts = format!(
        "{:>8} {:>9} {:>8} {:>9} {:>9} {:>6}",
        of.injected, of.confirmed, fates.detected, fates.recovered, fates.contained, fates.missed
    );
    format!("{counts}   {}   {}", latencies(&fates.detection_ms), latencies(&fates.recovery_ms))
}

fn latencies(of: &Percentiles) -> String {
    let cell = |value: Option<f64>| {
        value.map_or("-".to_owned(), |value| if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") })
    };
    format!("{:>7} {:>7} {:>7}", cell(of.p50), cell(of.p99), cell(of.max))
}

fn control(out: &mut String, report: &Report, style: Style) {
    let seconds = report.control.agent_hours * 3_600.0;
    let text = match (report.control.false_alarms, report.control.false_failures) {
        (0, 0) if report.campaign.is_some() => match report.control.agent_hours {
            hours if hours > 0.0 => {
                format!("no false alarm in {hours:.1} agent-hours ({})", Zero::Over(hours).words("agent-hour"))
            }
            _ => return,
        },
        (0, 0) if seconds > 0.0 => {
            format!("no false alarm in {seconds:.0} agent-seconds ({})", Zero::Over(seconds).words("agent-second"))
        }
        (0, 0) => style.doubtful("no agent lived through a control phase"),
        (alarms, failures) => {
            style.bad(&format!("{alarms} false alarms and {failures} false failures in {seconds:.0} agent-seconds"))
        }
    };
    row(out, "control", &text);
}

fn invariants(out: &mut String, report: &Report, style: Style) {
    let ids = |is: Is| {
        let of: Vec<&str> =
            report.invariants.iter().filter(|found| found.verdict == is).map(|found| found.id.as_str()).collect();
        of.join(" ")
    };
    let passed = ids(Is::Pass);
    row(out, "invariants", &format!("{} {}", style.good("pass"), if passed.is_empty() { "none" } else { &passed }));
    for found in &report.invariants {
        let word = match found.verdict {
            Is::Pass => continue,
            Is::Fail => style.bad("FAIL"),
            Is::Unknown => style.doubtful("unknown"),
        };
        row(out, "", &format!("{word} {}: {} (looked at {} times)", found.id, found.title, found.checked));
        violations(out, found);
    }
}

fn violations(out: &mut String, found: &Invariant) {
    for violation in found.violations.iter().take(SHOWN_MAX) {
        row(out, "", &format!("  {}", plain(violation)));
    }
    if found.violations.len() > SHOWN_MAX {
        row(out, "", &format!("  and {} more, in the report", found.violations.len() - SHOWN_MAX));
    }
}

/// Nothing that a terminal would take for an order: violations quote what programs wrote.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::judge::{judge, tests::played};

    #[test]
    fn a_person_sees_what_was_missed_and_how_to_do_it_again() {
        let played = played(true);
        let report = judge(&played, &played.journal);
        let text = render(&report, "chaos-report/x", Style::Plain);
        for expected in ["FAIL  2 faults", "1 missed", "FAIL D1", "was missed", "orch-chaos replay chaos-report/x"] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(render(&report, "x", Style::Colour).contains('\x1b'));
    }

    #[test]
    fn a_zero_says_of_how_many() {
        let played = played(false);
        let report = judge(&played, &played.journal);
        let text = render(&report, "x", Style::Plain);
        assert!(text.contains("none missed (95 % sure: fewer than 1.000 per fault)"), "{text}");
        assert!(text.contains("no agent lived through a control phase"), "{text}");
    }

    #[test]
    fn what_a_program_wrote_does_not_reach_the_terminal_raw() {
        assert_eq!(plain("a\x1b[2Jb\n"), "a [2Jb ");
    }
}
