//! `metrics.prom`: the figures of a run in Prometheus' text format, always in the same order.

use super::model::{FaultLine, Report};
use crate::fault::{Kind, Outcome};
use std::fmt::Write as _;

/// Buckets in seconds; those of the orchestrator's own detection histogram.
const DETECTION: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Buckets in seconds; those of the orchestrator's own recovery histogram.
const RECOVERY: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Every outcome, so that each has its series from the start.
const OUTCOMES: &[Outcome] =
    &[Outcome::Recovered, Outcome::Contained, Outcome::Harmless, Outcome::Masked, Outcome::Missed];

/// The report's metrics. Every kind, outcome and invariant has its series, also at zero.
#[must_use]
pub fn exposition(report: &Report) -> String {
    let mut out = String::new();
    let of = |kind: Kind| report.summary.get(&kind).cloned().unwrap_or_default();
    counter(&mut out, "faults_injected", "Faults that were tried.", |out, name| {
        for kind in Kind::ALL {
            line(out, name, &format!("fault=\"{kind}\""), of(*kind).injected);
        }
    });
    counter(&mut out, "faults_detected", "Confirmed faults that were detected.", |out, name| {
        for kind in Kind::ALL {
            line(out, name, &format!("fault=\"{kind}\""), of(*kind).fates.map_or(0, |fates| fates.detected));
        }
    });
    counter(&mut out, "faults_resolved", "Confirmed faults by what became of them.", |out, name| {
        for kind in Kind::ALL {
            for outcome in OUTCOMES {
                let ended = |fault: &&FaultLine| fault.kind == *kind && fault.outcome == Some(*outcome);
                let count = report.faults.iter().filter(ended).count() as u64;
                line(out, name, &format!("fault=\"{kind}\",outcome=\"{}\"", outcome.name()), count);
            }
        }
    });
    counter(&mut out, "invariant_violations", "Violations found.", |out, name| {
        for invariant in &report.invariants {
            let failed = invariant.verdict == crate::check::Is::Fail;
            let count = if failed { invariant.violations.len() as u64 } else { 0 };
            line(out, name, &format!("invariant=\"{}\"", invariant.id), count);
        }
    });
    let help = "From injection to the first committed entry that tells of it.";
    histogram(&mut out, report, ("fault_detection", help), DETECTION, |fault| fault.detected_at_ms);
    let help = "From injection to the project working again.";
    histogram(&mut out, report, ("fault_recovery", help), RECOVERY, |fault| fault.recovered_at_ms);
    out
}

fn counter(out: &mut String, name: &str, help: &str, series: impl FnOnce(&mut String, &str)) {
    let name = format!("orch_chaos_{name}_total");
    head(out, &name, help, "counter");
    series(out, &name);
}

fn histogram(
    out: &mut String,
    report: &Report,
    (name, help): (&str, &str),
    buckets: &[f64],
    end: impl Fn(&FaultLine) -> Option<f64>,
) {
    let name = format!("orch_chaos_{name}_seconds");
    head(out, &name, help, "histogram");
    for kind in Kind::ALL {
        let faults = report.faults.iter().filter(|fault| fault.kind == *kind);
        let seconds: Vec<f64> =
            faults.filter_map(|fault| Some((end(fault)? - fault.injected_at_ms?) / 1_000.0)).collect();
        for bucket in buckets {
            let within = seconds.iter().filter(|seconds| *seconds <= bucket).count() as u64;
            line(out, &format!("{name}_bucket"), &format!("fault=\"{kind}\",le=\"{bucket}\""), within);
        }
        let label = format!("fault=\"{kind}\"");
        line(out, &format!("{name}_bucket"), &format!("{label},le=\"+Inf\""), seconds.len() as u64);
        line(out, &format!("{name}_sum"), &label, seconds.iter().sum::<f64>());
        line(out, &format!("{name}_count"), &label, seconds.len() as u64);
    }
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{name}{{{labels}}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::judge::{judge, tests::played};

    #[test]
    fn every_series_is_there_and_the_figures_add_up() {
        let played = played(true);
        let text = exposition(&judge(&played, &played.journal));
        for expected in [
            "orch_chaos_faults_injected_total{fault=\"session_kill\"} 1\n",
            "orch_chaos_faults_injected_total{fault=\"stderr_null\"} 0\n",
            "orch_chaos_faults_resolved_total{fault=\"claude_md_delete\",outcome=\"missed\"} 1\n",
            "orch_chaos_fault_detection_seconds_bucket{fault=\"session_kill\",le=\"0.01\"} 0\n",
            "orch_chaos_fault_detection_seconds_bucket{fault=\"session_kill\",le=\"0.025\"} 1\n",
            "orch_chaos_fault_recovery_seconds_count{fault=\"session_kill\"} 1\n",
            "orch_chaos_invariant_violations_total{invariant=\"D1\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.starts_with("# ") || line.split_whitespace().count() == 2));
    }
}
