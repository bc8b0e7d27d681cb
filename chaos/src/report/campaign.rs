//! The report of many simulated seeds, and its summary on the terminal.

use super::model::{
    Control, Effect, FaultLine, Figures, Invariant, KindSummary, Met, Report, Run, SCHEMA, Seeds, Verdict,
};
use super::text::{Style, row};
use super::zero::Zero;
use crate::check::Is;
use crate::fault::{Kind, Mode};
use crate::seed::Seed;
use crate::sim::campaign::{Campaign, Looks, Totals};
use crate::sim::conclusion::{Owed, concluded};
use crate::sim::cover::{Phase, Sometimes};
use crate::truth::Injection;
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

const DAY_MS: f64 = 86_400_000.0;
const HOUR_US: f64 = 3_600_000_000.0;

/// What a campaign was on the wall.
#[derive(Debug, Clone)]
pub struct Wall {
    /// Its id, also the name of its report's folder.
    pub id: String,
    /// When it began and ended, RFC 3339 in UTC.
    pub span: (String, String),
    /// How long it took.
    pub took: Duration,
    /// Whether it was cut short.
    pub aborted: bool,
}

/// The report of a campaign.
#[must_use]
pub fn campaign_report(campaign: &Campaign, totals: &Totals, wall: &Wall) -> Report {
    let found = concluded(totals, &Owed::by(campaign));
    let verdict = match found.is {
        Is::Fail => Verdict::Fail,
        Is::Pass | Is::Unknown if wall.aborted => Verdict::Aborted,
        Is::Unknown => Verdict::Inconclusive,
        Is::Pass => Verdict::Pass,
    };
    let times = |of: &BTreeMap<Kind, u64>, kind: Kind| of.get(&kind).copied().unwrap_or(0);
    let kinds = totals.injected.keys().map(|kind| {
        let (injected, confirmed) = (times(&totals.injected, *kind), times(&totals.confirmed, *kind));
        (*kind, KindSummary { injected, confirmed, fates: None })
    });
    let alarms = totals.invariants.iter().find(|of| of.id == "D2").map_or(0, |of| of.in_control);
    let failures = totals.invariants.iter().find(|of| of.id == "S4").map_or(0, |of| of.in_control);
    Report {
        schema: SCHEMA,
        run: Run {
            id: wall.id.clone(),
            mode: Mode::Sim,
            seed: Seed(campaign.seeds.start),
            commit: None,
            started_at: wall.span.0.clone(),
            ended_at: wall.span.1.clone(),
            duration_ms: u64::try_from(wall.took.as_millis()).unwrap_or(u64::MAX),
            virtual_ms: totals.virtual_us / 1_000,
            projects: u32::try_from(totals.projects).unwrap_or(u32::MAX),
            agent_hours: hours(totals.agent_us),
        },
        verdict,
        faults: Vec::new(),
        summary: kinds.collect(),
        control: Control { false_alarms: alarms, false_failures: failures, agent_hours: hours(totals.control_us) },
        invariants: totals.invariants.iter().map(invariant).collect(),
        projects: totals.states.iter().map(|(state, count)| (state.name().to_owned(), *count)).collect(),
        thresholds: Vec::new(),
        doubts: found.doubts,
        campaign: Some(figures(campaign, totals)),
    }
}

/// The faults of the one run that was played, each with whether it took effect.
#[must_use]
pub fn tried(injections: &[Injection]) -> Vec<FaultLine> {
    let line = |fault: &Injection| FaultLine {
        id: fault.id,
        kind: fault.kind,
        project: fault.project.map(|project| project.0),
        role: fault.role.as_ref().map(|role| role.0.clone()),
        injected_at_ms: fault.injected_at.map(|at| at.0 as f64 / 1_000.0),
        effect: if fault.probe.is_ok() { Effect::Confirmed } else { Effect::None },
        detected_at_ms: None,
        detected_by: None,
        classified_as: None,
        recovered_at_ms: None,
        outcome: None,
    };
    injections.iter().map(line).collect()
}

fn hours(us: u64) -> f64 {
    (us as f64 / HOUR_US * 1e6).round() / 1e6
}

fn invariant(of: &Looks) -> Invariant {
    let violations = of.words.clone();
    Invariant { id: of.id.to_owned(), title: of.title.to_owned(), verdict: of.is(), checked: of.checked, violations }
}

fn figures(campaign: &Campaign, totals: &Totals) -> Figures {
    let mut met: BTreeMap<Kind, Met> = BTreeMap::new();
    for ((kind, state, phase), times) in &totals.coverage.places {
        let of = met.entry(*kind).or_default();
        match phase {
            Phase::First => of.first += times,
            Phase::Meanwhile => of.meanwhile += times,
            Phase::After => of.after += times,
        }
        let name = state.name().to_owned();
        if !of.states.contains(&name) {
            of.states.push(name);
        }
    }
    let came =
        |moment: &Sometimes| (moment.name().to_owned(), totals.coverage.moments.get(moment).copied().unwrap_or(0));
    let seeds = Seeds {
        from: campaign.seeds.start,
        to: campaign.seeds.end,
        played: totals.seeds,
        fault_free: totals.fault_free,
        violated: totals.violated,
        doubtful: totals.doubtful,
        below: None,
    };
    Figures {
        seeds: Seeds { below: seeds.zero().map(Zero::below), ..seeds },
        events: totals.events,
        turns: totals.turns,
        entries: totals.entries,
        starts: totals.starts,
        threads: campaign.threads,
        met,
        sometimes: Sometimes::ALL.iter().map(came).collect(),
    }
}

/// The middle of the summary: figures, invariants, kinds, rare moments.
pub(super) fn campaign_text(out: &mut String, report: &Report, of: &Figures, style: Style) {
    let days = report.run.virtual_ms as f64 / DAY_MS;
    let hours = report.run.agent_hours;
    let (projects, faults, confirmed) = (report.run.projects, report.injected(), report.confirmed());
    let effective = report.summary.values().filter(|of| of.confirmed > 0).count();
    row(out, "virtual", &format!("{days:.2} days of {projects} projects, {hours:.1} agent-hours"));
    row(
        out,
        "faults",
        &format!("{faults} tried, {confirmed} took effect; {effective} of {} kinds", report.summary.len()),
    );
    let Figures { starts, turns, entries, threads, events, .. } = of;
    row(out, "orchestr.", &format!("{starts} starts, {turns} turns, {entries} entries of the journal"));
    let seconds = (report.run.duration_ms as f64 / 1_000.0).max(0.001);
    let (times, rate) = (report.run.virtual_ms as f64 / 1_000.0 / seconds, *events as f64 / seconds);
    let speed = format!("{times:.0} x real time, {rate:.0} events/s on {threads} threads");
    row(out, "speed", &speed);
    let _ = writeln!(out, "\n{}", style.dim("invariant       looked at"));
    for found in &report.invariants {
        let word = match found.verdict {
            Is::Pass => "",
            Is::Fail => "  FAIL",
            Is::Unknown => "  unknown",
        };
        let _ = writeln!(out, "{:<12} {:>12}{}  {}", found.id, found.checked, style.bad_if(word), found.title);
    }
    if !report.summary.is_empty() {
        kinds(out, report, of, style);
    }
    moments(out, of);
}

fn kinds(out: &mut String, report: &Report, of: &Figures, style: Style) {
    let head = "kind                    tried  effect  first  meanwhile  after  states met";
    let _ = writeln!(out, "\n{}", style.dim(head));
    let none = Met::default();
    let mut reached = 0;
    for (kind, summary) in &report.summary {
        let met = of.met.get(kind).unwrap_or(&none);
        reached += met.states.len();
        let line = format!(
            "{:<22} {:>6} {:>7} {:>6} {:>10} {:>6}  {}",
            kind.name(),
            summary.injected,
            summary.confirmed,
            met.first,
            met.meanwhile,
            met.after,
            met.states.join(" ")
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let cells = report.summary.len() * ProjectState::ALL.len();
    let _ = writeln!(out, "\n{:<11} {reached} of {cells} cells kind x state", "reached");
}

fn moments(out: &mut String, of: &Figures) {
    let came: Vec<String> =
        of.sometimes.iter().filter(|(_, times)| **times > 0).map(|(name, times)| format!("{name} {times}")).collect();
    let never: Vec<&str> =
        of.sometimes.iter().filter(|(_, times)| **times == 0).map(|(name, _)| name.as_str()).collect();
    row(out, "sometimes", &if came.is_empty() { "nothing rare".to_owned() } else { came.join(", ") });
    // One seed alone reaches little, and need not.
    if !never.is_empty() && of.seeds.played > 1 {
        row(out, "never", &never.join(", "));
    }
}

/// The first line of a campaign's summary, without its verdict.
pub(super) fn campaign_line(report: &Report, of: &Figures) -> String {
    let Seeds { from, to, played, fault_free, violated, .. } = of.seeds;
    let seeds = if to - from == 1 {
        format!("seed {from}")
    } else if played < to - from {
        format!("{played} of the seeds {from}..{to}, {fault_free} without faults")
    } else {
        format!("{played} seeds {from}..{to}, {fault_free} without faults")
    };
    let bound = match (violated, of.seeds.zero()) {
        (0, Some(zero)) if played > 1 => format!("none violated ({})", zero.words("seed")),
        (0, _) => "nothing violated".to_owned(),
        (1, _) => "1 violated".to_owned(),
        (violated, _) => format!("{violated} violated"),
    };
    format!("{seeds}, in {:.1} s: {bound}", report.run.duration_ms as f64 / 1_000.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sim::Outcome;
    use crate::sim::campaign::Played;
    use crate::sim::draw;

    pub(in crate::report) fn report(seeds: u64) -> Report {
        report_with(seeds, |_| {})
    }

    /// The report of so many seeds, and of whatever else is added.
    pub(in crate::report) fn report_with(seeds: u64, add: impl FnOnce(&mut Totals)) -> Report {
        let kinds = draw::kinds();
        let campaign = Campaign {
            seeds: 0..seeds,
            duration_ms: Some(120_000),
            projects: Some(1),
            roles: Some(1),
            kinds,
            named: false,
            threads: 1,
            fingerprint: false,
        };
        let mut totals = Totals::default();
        campaign.play(|played: Played| {
            totals.add(&played);
            true
        });
        add(&mut totals);
        let wall = Wall {
            id: "20261120-133000-sim".to_owned(),
            span: ("2026-11-20T13:30:00Z".to_owned(), "2026-11-20T13:30:01Z".to_owned()),
            took: Duration::from_secs(1),
            aborted: false,
        };
        campaign_report(&campaign, &totals, &wall)
    }

    #[test]
    fn the_figures_of_a_campaign_add_up_and_survive_writing() {
        let report = report(6);
        assert_eq!(report.verdict, Verdict::Pass, "{:?}", report.doubts);
        assert_eq!(report.run.virtual_ms, 6 * 120_000);
        assert_eq!(report.projects.values().sum::<u64>(), 6);
        assert!(report.run.agent_hours > 0.0 && report.confirmed() <= report.injected() && report.injected() > 0);
        let of = report.campaign.as_ref().expect("figures");
        assert_eq!((of.seeds.played, of.seeds.below), (6, Some(0.5)));
        let met: u64 = of.met.values().map(|met| met.first + met.meanwhile + met.after).sum();
        assert_eq!(met, report.confirmed());
        let text = serde_json::to_string(&report).expect("json");
        assert!(!text.contains("\"missed\""), "what was not looked at is not told");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    }

    #[test]
    fn a_seed_that_panics_is_told_everywhere() {
        let came = Err("panic: 1 < 2".to_owned());
        let report = report_with(2, |totals| totals.add(&Played { seed: 7, came }));
        assert_eq!(report.verdict, Verdict::Fail);
        let found = &report.invariants[0];
        assert_eq!((found.id.as_str(), found.verdict, found.checked), ("panic", Is::Fail, 3));
        assert_eq!(found.violations, ["seed 7: panic: 1 < 2"]);
        let text = crate::report::render(&report, "", Style::Plain);
        assert!(text.contains("seed 7: panic: 1 < 2"), "{text}");
        for text in [crate::report::html(&report), crate::report::summary(&report), crate::report::junit(&report)] {
            assert!(text.contains("seed 7: panic: 1 &lt; 2"), "{text}");
        }
    }

    #[test]
    fn doubtful_seeds_prove_nothing() {
        let stopped = || Outcome { broke: Some("it stopped".to_owned()), ..Outcome::default() };
        let add = |totals: &mut Totals| (6..9).for_each(|seed| totals.add(&Played { seed, came: Ok(stopped()) }));
        let report = report_with(6, add);
        let of = report.campaign.as_ref().expect("figures");
        assert_eq!((of.seeds.played, of.seeds.doubtful, of.seeds.below), (9, 3, Some(0.5)));
        assert!(campaign_line(&report, of).ends_with("(95 % sure: fewer than 0.500 per seed)"));
        let none = report_with(0, |totals| totals.add(&Played { seed: 0, came: Ok(stopped()) }));
        assert_eq!(none.campaign.and_then(|of| of.seeds.below), None);
    }

    #[test]
    fn a_campaign_says_at_a_glance_what_it_shows() {
        let mut found = report(6);
        let text = crate::report::render(&found, "chaos-report/x", Style::Plain);
        for expected in ["PASS  6 seeds 0..6, ", "fewer than 0.500 per seed", "\nS7 ", "never       "] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        found.verdict = Verdict::Inconclusive;
        found.doubts = vec!["reboot was tried once and took no effect".to_owned()];
        let text = crate::report::render(&found, "x", Style::Plain);
        assert!(
            text.starts_with("INCONCLUSIVE  6 seeds") && text.contains("because     reboot was tried once"),
            "{text}"
        );
    }
}
