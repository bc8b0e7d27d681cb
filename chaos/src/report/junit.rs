//! `junit.xml`: each invariant as a test case, for whatever collects those.

use super::model::{Report, Verdict};
use super::text::{Style, headline};
use crate::check::Is;
use std::fmt::Write as _;

/// The report as JUnit's XML. What could not be looked at is skipped; that the run as a whole failed is a failure of its
/// own case, and that it proved nothing, or was cut short, an error of it, so that no collector takes it for a pass.
#[must_use]
pub fn junit(report: &Report) -> String {
    let is = |is: Is| report.invariants.iter().filter(|found| found.verdict == is).count();
    let (failed, unproved) = match report.verdict {
        Verdict::Pass => (false, false),
        Verdict::Fail => (true, false),
        Verdict::Inconclusive | Verdict::Aborted => (false, true),
    };
    let first = xml(&headline(report, Style::Plain));
    let seconds = report.run.duration_ms as f64 / 1_000.0;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<testsuites><testsuite name=\"orch-chaos {} {}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" \
         time=\"{seconds:.3}\" timestamp=\"{}\">",
        report.run.mode.name(),
        report.run.seed,
        report.invariants.len() + 1,
        is(Is::Fail) + usize::from(failed),
        u8::from(unproved),
        is(Is::Unknown),
        xml(report.run.started_at.trim_end_matches('Z'))
    );
    let _ = write!(out, "<testcase classname=\"orch-chaos\" name=\"verdict\" time=\"{seconds:.3}\">");
    if failed {
        let _ = write!(out, "<failure message=\"{first}\"/>");
    }
    if unproved {
        let why = if report.doubts.is_empty() { report.verdict.name().to_owned() } else { report.doubts.join("\n") };
        let _ = write!(out, "<error message=\"{}\">{}</error>", report.verdict.name(), xml(&why));
    }
    let _ = writeln!(out, "<system-out>{first}</system-out></testcase>");
    for found in &report.invariants {
        let name = xml(&format!("{} {}", found.id, found.title));
        let _ = write!(out, "<testcase classname=\"orch-chaos.invariants\" name=\"{name}\">");
        let first = xml(found.violations.first().map_or("", String::as_str));
        let all = xml(&found.violations.join("\n"));
        match found.verdict {
            Is::Pass => {}
            Is::Fail => drop(write!(out, "<failure message=\"{first}\">{all}</failure>")),
            Is::Unknown => drop(write!(out, "<skipped message=\"{first}\"/>")),
        }
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite></testsuites>\n");
    out
}

/// Text within XML or HTML, also within quotes. Control characters, which XML cannot hold, become blanks.
pub(super) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::judge::{judge, tests::played};

    #[test]
    fn a_violation_is_a_failure_and_nothing_proved_is_an_error() {
        let played = played(true);
        let mut report = judge(&played, &played.journal);
        let failures = report.invariants.iter().filter(|found| found.verdict == Is::Fail).count();
        let text = junit(&report);
        let all = failures + 1;
        assert!(failures > 0 && text.contains(&format!("failures=\"{all}\" errors=\"0\"")), "{text}");
        assert_eq!(text.matches("<failure ").count(), all);
        assert_eq!(text.matches("<testcase ").count(), report.invariants.len() + 1);
        assert_eq!(text.matches("<testcase ").count(), text.matches("</testcase>").count());
        report.invariants.retain(|found| found.verdict == Is::Pass);
        assert!(junit(&report).contains("failures=\"1\""), "a run that failed, whatever for, has a failure");
        report.verdict = Verdict::Inconclusive;
        report.doubts = vec!["a & b never \"came\"".to_owned()];
        let text = junit(&report);
        assert!(text.contains("errors=\"1\"") && text.contains("a &amp; b never &quot;came&quot;"), "{text}");
    }

    #[test]
    fn what_a_program_wrote_cannot_break_the_file() {
        assert_eq!(xml("<a href=\"x\">\u{1b}&"), "&lt;a href=&quot;x&quot;&gt; &amp;");
    }
}
