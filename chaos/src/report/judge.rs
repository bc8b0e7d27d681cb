//! From everything that a run brought home to its report. Pure.

use super::model::{
    Control, Effect, Fates, FaultLine, Invariant, KindSummary, Report, Run, SCHEMA, Verdict as RunVerdict,
};
use super::percentiles::Percentiles;
use crate::check::{self, Evidence, Finding, Is};
use crate::fault::{Kind, Outcome};
use crate::history::Logged;
use crate::matching::{Matched, matched};
use crate::schedule::Schedule;
use crate::truth::{Claims, Injection, Phase, Truth};
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// What a run brought home.
#[derive(Debug)]
pub struct Played {
    /// Its id.
    pub id: String,
    /// What was played.
    pub schedule: Schedule,
    /// HEAD of the repository that the orchestrator's program lies in.
    pub commit: Option<String>,
    /// When it began and ended on the wall, RFC 3339.
    pub wall: (String, String),
    /// When it began and ended on the installation's timeline.
    pub span: Phase,
    /// The journal that the checkers are given.
    pub journal: Vec<Logged>,
    /// What is true of the world.
    pub truth: Truth,
    /// What the orchestrator claims.
    pub claims: Claims,
}

/// The report of a run. `told` is the journal that matching and detection are given: a test hides entries from it to
/// see that the harness would notice a blind orchestrator.
#[must_use]
pub fn judge(played: &Played, told: &[Logged]) -> Report {
    let truth = &played.truth;
    let matched = matched(&truth.injections, told);
    let evidence = Evidence { truth, claims: &played.claims, matched: &matched, journal: &played.journal };
    let findings = check::run(check::all(), &played.journal, &evidence);
    let start = played.span.from;
    let pairs = || truth.injections.iter().zip(&matched);
    let mut summary: BTreeMap<Kind, KindSummary> =
        played.schedule.kinds().into_iter().map(|kind| (kind, KindSummary::default())).collect();
    for (kind, found) in &mut summary {
        *found = summarised(pairs().filter(|(fault, _)| fault.kind == *kind));
    }
    Report {
        schema: SCHEMA,
        run: run(played),
        verdict: verdict(truth, &findings),
        faults: pairs().map(|(fault, matched)| line(fault, matched, start)).collect(),
        summary,
        control: control(&evidence),
        invariants: findings.into_iter().map(invariant).collect(),
        projects: projects(&played.claims),
        thresholds: Vec::new(),
        doubts: Vec::new(),
        campaign: None,
    }
}

fn run(played: &Played) -> Run {
    let duration_ms = played.span.until.since(played.span.from).as_millis();
    Run {
        id: played.id.clone(),
        mode: played.schedule.mode,
        seed: played.schedule.seed,
        commit: played.commit.clone(),
        started_at: played.wall.0.clone(),
        ended_at: played.wall.1.clone(),
        duration_ms,
        virtual_ms: duration_ms,
        projects: played.schedule.projects,
        agent_hours: hours(played.truth.agent_seconds(&[played.span])),
    }
}

fn verdict(truth: &Truth, findings: &[Finding]) -> RunVerdict {
    let any = |is: Is| findings.iter().any(|finding| finding.verdict.is == is);
    if truth.aborted {
        RunVerdict::Aborted
    } else if any(Is::Fail) {
        RunVerdict::Fail
    } else if any(Is::Unknown) {
        RunVerdict::Inconclusive
    } else {
        RunVerdict::Pass
    }
}

fn line(fault: &Injection, matched: &Matched, start: Timestamp) -> FaultLine {
    let since_start = |at: Timestamp| at.since(start).as_millis_f64();
    let effect = match (&fault.probe, matched.outcome) {
        (Err(_), _) => Effect::None,
        (Ok(()), Some(Outcome::Masked)) => Effect::Masked,
        (Ok(()), _) => Effect::Confirmed,
    };
    FaultLine {
        id: fault.id,
        kind: fault.kind,
        project: fault.project.map(|project| project.0),
        role: fault.role.as_ref().map(|role| role.0.clone()),
        injected_at_ms: fault.injected_at.map(since_start),
        effect,
        detected_at_ms: matched.detected.map(|detected| since_start(detected.at)),
        detected_by: matched.detected.map(|detected| detected.by.name().to_owned()),
        classified_as: fault.kind.due(fault.victim).and_then(|due| matched.classified_as(due)),
        recovered_at_ms: matched.recovered_at.map(since_start),
        outcome: matched.outcome,
    }
}

fn summarised<'a>(faults: impl Iterator<Item = (&'a Injection, &'a Matched)>) -> KindSummary {
    let (mut injected, mut confirmed, mut found) = (0, 0, Fates::default());
    let (mut detection, mut recovery): (Vec<Span>, Vec<Span>) = (Vec::new(), Vec::new());
    for (fault, matched) in faults {
        injected += 1;
        let Some(at) = fault.confirmed_at() else { continue };
        confirmed += 1;
        found.detected += u64::from(matched.detected.is_some());
        detection.extend(matched.detected.map(|detected| detected.at.since(at)));
        recovery.extend(matched.recovered_at.map(|recovered| recovered.since(at)));
        match matched.outcome {
            Some(Outcome::Recovered) => found.recovered += 1,
            Some(Outcome::Contained) => found.contained += 1,
            Some(Outcome::Harmless) => found.harmless += 1,
            Some(Outcome::Masked) => found.masked += 1,
            Some(Outcome::Missed) => found.missed += 1,
            None => {}
        }
    }
    found.detection_ms = Percentiles::of(&detection);
    found.recovery_ms = Percentiles::of(&recovery);
    KindSummary { injected, confirmed, fates: Some(found) }
}

fn control(evidence: &Evidence<'_>) -> Control {
    let phases = &evidence.truth.control;
    let inside = |at: Timestamp| phases.iter().any(|phase| phase.contains(at));
    let false_alarms = check::unexplained(evidence).filter(|logged| inside(logged.entry.at)).count() as u64;
    let failed = evidence.journal.iter().filter(|logged| {
        let failed = matches!(logged.entry.signal.what, What::ProjectMoved { to: ProjectState::Failed, .. });
        failed && inside(logged.entry.at)
    });
    let agent_hours = hours(evidence.truth.agent_seconds(phases));
    Control { false_alarms, false_failures: failed.count() as u64, agent_hours }
}

fn invariant(finding: Finding) -> Invariant {
    let Finding { id, title, verdict } = finding;
    Invariant {
        id: id.to_owned(),
        title: title.to_owned(),
        verdict: verdict.is,
        checked: verdict.checked,
        violations: verdict.violations,
    }
}

fn projects(claims: &Claims) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> =
        ProjectState::ALL.iter().map(|state| (state.name().to_owned(), 0)).collect();
    for row in &claims.projects {
        *counts.entry(row.state.name().to_owned()).or_default() += 1;
    }
    counts
}

/// To the millionth: a report's figures are short enough that every reader gets back what was written.
fn hours(seconds: f64) -> f64 {
    (seconds / 3_600.0 * 1e6).round() / 1e6
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::fault::Mode;
    use crate::seed::Seed;
    use crate::story::{Story, injection};
    use crate::truth::Submitted;
    use orchestrator::domain::id::ProjectId;

    /// A small run by hand: one session killed and recovered, one file deleted and never missed by anybody.
    pub(in crate::report) fn played(missed: bool) -> Played {
        let mut injections = vec![injection(1, Kind::SessionKill, 1, None, 5_000)];
        if missed {
            injections.push(injection(2, Kind::ClaudeMdDelete, 1, Some("developer"), 8_000));
        }
        let story = Story::running(1).at(5_012).session_killed(1).attempt(1, 1).at(5_950).recovered(1);
        let faults = Vec::new();
        let mut schedule = Schedule {
            version: 1,
            seed: Seed(42),
            mode: Mode::Live,
            duration_ms: 30_000,
            control_ms: 4_500,
            projects: 1,
            roles: 2,
            faults,
            setting: crate::setting::Setting::default(),
            story: None,
            violates: None,
            expected: None,
        };
        schedule.faults = injections
            .iter()
            .map(|fault| crate::schedule::Planned {
                on_event: None,
                id: fault.id,
                at_ms: 0,
                kind: fault.kind,
                project: 0,
                role: None,
                params: crate::schedule::Params::default(),
            })
            .collect();
        let truth = Truth {
            kinds: schedule.kinds(),
            submitted: vec![Submitted { id: ProjectId(1), roles: Vec::new() }],
            injections,
            control: vec![Phase { from: Timestamp(0), until: Timestamp(4_500_000) }],
            ended_at: Timestamp(30_000_000),
            ..Truth::default()
        };
        Played {
            id: "20261120-133000-42".to_owned(),
            schedule,
            commit: None,
            wall: ("2026-11-20T13:30:00Z".to_owned(), "2026-11-20T13:30:30Z".to_owned()),
            span: Phase { from: Timestamp(0), until: Timestamp(30_000_000) },
            journal: story.journal().to_vec(),
            truth,
            claims: Claims::default(),
        }
    }

    #[test]
    fn every_fault_is_accounted_for() {
        let played = played(true);
        let report = judge(&played, &played.journal);
        let kill = &report.summary[&Kind::SessionKill];
        let fates = |of: &KindSummary| of.fates.clone().expect("followed");
        assert_eq!((kill.injected, kill.confirmed, fates(kill).detected, fates(kill).recovered), (1, 1, 1, 1));
        assert_eq!((fates(kill).detection_ms.max, fates(kill).recovery_ms.max), (Some(12.0), Some(950.0)));
        let delete = &report.summary[&Kind::ClaudeMdDelete];
        assert_eq!((delete.confirmed, fates(delete).detected, fates(delete).missed), (1, 0, 1));
        assert_eq!(report.verdict, RunVerdict::Fail);
        assert_eq!(report.faults[0].injected_at_ms, Some(5_000.0));
    }

    #[test]
    fn what_matching_is_not_told_is_missed() {
        let played = played(false);
        let blind: Vec<Logged> =
            played.journal.iter().filter(|logged| !logged.entry.signal.is_alarm()).cloned().collect();
        assert_eq!(judge(&played, &played.journal).missed(), 0);
        assert_eq!(judge(&played, &blind).missed(), 1);
    }

    #[test]
    fn aborted_is_neither_pass_nor_fail() {
        let mut played = played(true);
        played.truth.aborted = true;
        assert_eq!(judge(&played, &played.journal).verdict, RunVerdict::Aborted);
    }

    #[test]
    fn the_report_survives_writing_and_reading() {
        let played = played(true);
        let report = judge(&played, &played.journal);
        let text = serde_json::to_string(&report).expect("json");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    }
}
