//! The one table of metrics: name, kind, labels, buckets, help.
//!
//! A name is spelled here and nowhere else; the code that moves a metric holds the constant. Labels are closed
//! enumerations, declared with every value they can take, so the number of series is known before the first one is
//! written: never a project, a session, a pid, a path or the text of an error.

use crate::domain::breaker::BreakerState;
use crate::domain::event::Source;
use crate::domain::project::SessionIs;
use crate::domain::state::ProjectState;
use metrics::{Key, Level, Metadata};

/// A label and every value it can take.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its key.
    pub key: &'static str,
    /// Its values, in the order of their enumeration.
    pub values: fn() -> Vec<&'static str>,
}

/// Which combinations of label values exist.
#[derive(Debug, Clone, Copy)]
pub enum Labels {
    /// Every combination of these labels' values; without labels, exactly one.
    Each(&'static [Label]),
    /// Only these pairs of `from` and `to`.
    Moves(fn() -> Vec<(&'static str, &'static str)>),
}

/// What kind of metric, and what that kind needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Set as it is.
    Gauge,
    /// Observations, counted up to each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The name the exposition format uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: Labels,
    /// What it says, for people.
    pub help: &'static str,
}

const METADATA: Metadata<'static> = Metadata::new("orch", Level::INFO, None);

impl Metric {
    /// The label keys, in the order in which values are given.
    #[must_use]
    pub fn keys(&self) -> Vec<&'static str> {
        match self.labels {
            Labels::Each(labels) => labels.iter().map(|label| label.key).collect(),
            Labels::Moves(_) => vec!["from", "to"],
        }
    }

    /// Every combination of label values, in the order of [`Metric::keys`].
    #[must_use]
    pub fn combinations(&self) -> Vec<Vec<&'static str>> {
        match self.labels {
            Labels::Moves(pairs) => pairs().into_iter().map(|(from, to)| vec![from, to]).collect(),
            Labels::Each(labels) => labels.iter().fold(vec![Vec::new()], |made, label| {
                let values = (label.values)();
                made.iter()
                    .flat_map(|start| values.iter().map(move |value| [start.as_slice(), &[*value]].concat()))
                    .collect()
            }),
        }
    }

    /// Adds one to a counter.
    pub fn count(&self, values: &[&'static str]) {
        self.add(values, 1);
    }

    /// Adds to a counter.
    pub fn add(&self, values: &[&'static str], amount: u64) {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA).increment(amount));
    }

    /// Sets a gauge.
    pub fn set(&self, values: &[&'static str], value: f64) {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_gauge(&key, &METADATA).set(value));
    }

    /// Adds an observation to a histogram.
    pub fn record(&self, values: &[&'static str], value: f64) {
        debug_assert!(matches!(self.kind, Kind::Histogram(_)), "{}", self.name);
        let key = self.key(values);
        metrics::with_recorder(|recorder| recorder.register_histogram(&key, &METADATA).record(value));
    }

    fn key(&self, values: &[&'static str]) -> Key {
        debug_assert!(
            self.combinations().iter().any(|known| known == values),
            "{} has no series {values:?}: every label value is declared in the table",
            self.name
        );
        let labels: Vec<metrics::Label> =
            self.keys().iter().zip(values).map(|(key, value)| metrics::Label::from_static_parts(key, value)).collect();
        Key::from_parts(self.name, labels)
    }

    fn describe(&self) {
        let (name, help) = (self.name.into(), self.help.into());
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, help),
        });
    }

    /// Makes every series of a counter or histogram be there at zero, because `increase()` misses a counter that is
    /// born at one. Gauges are left alone: each is set by whoever knows its value, and a made-up zero would be a lie
    /// (a reconciliation in 1970, for one, would page somebody).
    fn preregister(&self) {
        for values in self.combinations() {
            let key = self.key(&values);
            metrics::with_recorder(|recorder| match self.kind {
                Kind::Counter => recorder.register_counter(&key, &METADATA).increment(0),
                Kind::Histogram(_) => drop(recorder.register_histogram(&key, &METADATA)),
                Kind::Gauge => {}
            });
        }
    }
}

/// Tells the current recorder of every metric and makes every series of a counter or histogram be there at zero.
pub fn describe_and_preregister() {
    for metric in ALL {
        metric.describe();
        metric.preregister();
    }
    BUILD_INFO.set(&[VERSION, GIT_SHA], 1.0);
}

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, where the build was told (`ORCH_GIT_SHA`).
pub const GIT_SHA: &str = match option_env!("ORCH_GIT_SHA") {
    Some(sha) => sha,
    None => "unknown",
};

/// Detection and commit: from half a millisecond to the limits of G4.
const DETECTION: &[f64] =
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// 600 is the poll of the system that this one replaces.
const SYNC: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 600.0];
const CREATE: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// 18,000 s is the five hours for which project 89 had no session.
const LIFETIME: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 18_000.0, 43_200.0, 86_400.0];
const ATTEMPTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];
const RECOVERY: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
const WAIT: &[f64] = &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];
const RECONCILE: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// 120 s is git's deadline.
const SUBPROCESS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];
const QUALITY: &[f64] = &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
/// An fsync on a good disk to one on a bad day.
const TRANSACTION: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const fn label(key: &'static str, values: fn() -> Vec<&'static str>) -> Label {
    Label { key, values }
}

fn sources() -> Vec<&'static str> {
    Source::ALL.iter().map(|source| source.name()).collect()
}

fn breaker_states() -> Vec<&'static str> {
    BreakerState::ALL.iter().map(|state| state.name()).collect()
}

fn project_states() -> Vec<&'static str> {
    ProjectState::ALL.iter().map(|state| state.name()).collect()
}

fn session_states() -> Vec<&'static str> {
    SessionIs::ALL.iter().map(|state| state.name()).collect()
}

fn breaker_moves() -> Vec<(&'static str, &'static str)> {
    let names = breaker_states();
    let pairs = names.iter().flat_map(|from| names.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).collect()
}

fn project_moves() -> Vec<(&'static str, &'static str)> {
    ProjectState::moves().into_iter().map(|(from, to)| (from.name(), to.name())).collect()
}

const DETECTED_BY: Label = label("detected_by", sources);
const SOURCE: Label = label("source", sources);
const PROGRAM: Label = label("program", || vec!["tmux", "git", "agent"]);
const OP: Label = label("op", || vec!["commit", "enqueue", "journal", "read"]);

macro_rules! table {
    ($($constant:ident = $name:literal, $kind:expr, $labels:expr, $help:literal;)+) => {
        $(#[doc = $help] pub static $constant: Metric =
            Metric { name: $name, kind: $kind, labels: $labels, help: $help };)+
        /// Every metric, in the order of the table.
        pub static ALL: &[&Metric] = &[$(&$constant),+];
    };
}

use Kind::{Counter, Gauge, Histogram};
use Labels::{Each, Moves};

table! {
    BUILD_INFO = "orch_build_info", Gauge,
        Each(&[label("version", || vec![VERSION]), label("git_sha", || vec![GIT_SHA])]),
        "Always 1; which program this is.";
    SESSION_CREATE_ATTEMPTS = "orch_session_create_attempts_total", Counter,
        Each(&[label("outcome", || {
            vec!["ok", "tmux_error", "timeout", "missing_resource", "brief_failed", "db_error"]
        })]),
        "Sessions that were begun, by what came of them; ok means that every agent acknowledged its brief.";
    SESSION_CREATE_SECONDS = "orch_session_create_seconds", Histogram(CREATE),
        Each(&[label("outcome", || vec!["ok", "error"])]),
        "From the recorded intent to create a session to tmux's confirmation, or to its failure.";
    SESSION_LIFETIME_SECONDS = "orch_session_lifetime_seconds", Histogram(LIFETIME),
        Each(&[label("end", || vec!["completed", "died", "killed", "failed"])]),
        "How long sessions lived, by how they ended.";
    SESSIONS = "orch_sessions", Gauge, Each(&[label("state", session_states)]),
        "Sessions of unfinished projects, by how far they got.";
    SESSION_DEATHS = "orch_session_deaths_total", Counter,
        Each(&[label("expected", || vec!["true", "false"]), DETECTED_BY]),
        "Agents and sessions proved gone; expected if they had reported completion or were ended by us.";
    SESSION_DEATH_DETECTION_SECONDS = "orch_session_death_detection_seconds", Histogram(DETECTION),
        Each(&[DETECTED_BY]),
        "From the first notice of an unexpected death to its place in the database.";
    RECOVERY_ATTEMPTS = "orch_recovery_attempts_total", Counter,
        Each(&[label("outcome", || vec!["succeeded", "failed", "refused"])]),
        "Recovery attempts by outcome; refused means that the breaker admitted none.";
    RECOVERY_INCIDENT_ATTEMPTS = "orch_recovery_incident_attempts", Histogram(ATTEMPTS),
        Each(&[label("result", || vec!["recovered", "gave_up"])]),
        "Attempts that one incident took.";
    RECOVERY_WINDOW_ATTEMPTS_MAX = "orch_recovery_window_attempts_max", Gauge, Each(&[]),
        "The highest number of recoveries of any one project within the breaker's window.";
    RECOVERY_SECONDS = "orch_recovery_seconds", Histogram(RECOVERY),
        Each(&[label("outcome", || vec!["succeeded", "failed"])]),
        "From an incident's first fault to its end.";
    BREAKERS = "orch_breakers", Gauge, Each(&[label("state", breaker_states)]),
        "Breakers of unfinished projects, by state.";
    BREAKER_TRANSITIONS = "orch_breaker_transitions_total", Counter, Moves(breaker_moves),
        "Changes of a breaker's state.";
    FLEET_BREAKER_OPEN = "orch_fleet_breaker_open", Gauge, Each(&[]),
        "1 while the fleet's breaker keeps queued projects from being admitted.";
    FLEET_BREAKER_TRANSITIONS = "orch_fleet_breaker_transitions_total", Counter,
        Each(&[label("to", || vec!["closed", "open"])]),
        "Changes of the fleet breaker's state.";
    BREAKER_REJECTIONS = "orch_breaker_rejections_total", Counter, Each(&[]),
        "Recoveries that a breaker refused.";
    PROJECT_TRANSITIONS = "orch_project_transitions_total", Counter, Moves(project_moves),
        "Changes of a project's state; only legal ones can happen.";
    TRANSITIONS_REJECTED = "orch_project_transitions_rejected_total", Counter,
        Each(&[label("entity", || vec!["project", "role"])]),
        "Illegal changes of state that a decision wanted and did not get; each one is a defect.";
    PROJECTS = "orch_projects", Gauge, Each(&[label("state", project_states)]),
        "Projects by state.";
    QUEUE_DEPTH = "orch_queue_depth", Gauge, Each(&[]),
        "Projects that wait for a slot.";
    QUEUE_OLDEST_AGE_SECONDS = "orch_queue_oldest_age_seconds", Gauge, Each(&[]),
        "How long the project that has waited longest has waited; 0 if none waits.";
    QUEUE_WAIT_SECONDS = "orch_queue_wait_seconds", Histogram(WAIT), Each(&[]),
        "How long projects had waited when they got their slot.";
    STATE_SYNC_LAG_SECONDS = "orch_state_sync_lag_seconds", Histogram(SYNC), Each(&[SOURCE]),
        "From a source's notice of a change in the world to its place in the database.";
    RECONCILE_LAST_SUCCESS = "orch_reconcile_last_success_timestamp_seconds", Gauge, Each(&[]),
        "When the world was last compared with the database as a whole.";
    RECONCILE_SECONDS = "orch_reconcile_seconds", Histogram(RECONCILE), Each(&[]),
        "How long one comparison of the world with the database took.";
    STATE_MISMATCHES = "orch_state_mismatches", Gauge,
        Each(&[label("kind", || vec!["db_only", "tmux_only", "status_conflict", "session_name_null"])]),
        "Contradictions between database and tmux that stand at this moment.";
    SUBPROCESS_RUNS = "orch_subprocess_runs_total", Counter,
        Each(&[PROGRAM, label("outcome", || vec!["ok", "exit", "signal", "timeout", "spawn_error"])]),
        "Programs that were run, by how they ended.";
    SUBPROCESS_FAILURES = "orch_subprocess_failures_total", Counter,
        Each(&[PROGRAM, label("stderr", || vec!["text", "empty", "null"])]),
        "Programs that failed, by what became of their standard error; null means that nothing could be captured.";
    SUBPROCESS_SECONDS = "orch_subprocess_seconds", Histogram(SUBPROCESS), Each(&[PROGRAM]),
        "How long programs ran.";
    ERROR_QUALITY_RATIO = "orch_error_quality_ratio", Histogram(QUALITY),
        Each(&[label("origin", || vec!["subprocess", "fs", "db", "tmux", "state"])]),
        "How much a person can learn from the evidence of a failure, from 0 to 1.";
    RESOURCES_MISSING = "orch_resources_missing_total", Counter,
        Each(&[
            label("resource", || vec!["claude_md", "worktree", "brief", "other"]),
            label("phase", || vec!["provision", "running"]),
        ]),
        "Required resources that were not there as they must be.";
    SPOOL_REJECTED = "orch_spool_records_rejected_total", Counter,
        Each(&[label("reason", || vec!["stale", "unusable"])]),
        "Records of agents that were moved aside: from an older incarnation, or unusable.";
    DB_TRANSACTION_SECONDS = "orch_db_transaction_seconds", Histogram(TRANSACTION), Each(&[OP]),
        "How long transactions took, the wait for the lock included.";
    DB_BUSY = "orch_db_busy_total", Counter, Each(&[OP]),
        "Transactions that did not get the lock in time.";
    EVENTS_DROPPED = "orch_events_dropped_total", Counter,
        Each(&[label("reason", || vec!["inotify"])]),
        "Times that file events were lost on the way to the loop, so that everything was looked at instead: an overflow \
         of the kernel's queue or of ours. Nothing else is ever dropped. Must stay 0.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_follow_the_convention() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.starts_with("orch_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }

    #[test]
    fn a_name_is_spelled_once_in_the_code() {
        let table = include_str!("metric.rs");
        let others = [
            include_str!("export.rs"),
            include_str!("fold.rs"),
            include_str!("line.rs"),
            include_str!("log.rs"),
            include_str!("meter.rs"),
            include_str!("sink.rs"),
            include_str!("text.rs"),
        ];
        for metric in ALL {
            let spelled = format!("\"{}\"", metric.name);
            assert_eq!(table.matches(&spelled).count(), 1, "{}", metric.name);
            for other in others {
                let code = other.split("#[cfg(test)]").next().unwrap();
                assert!(!code.contains(metric.name), "{}", metric.name);
            }
        }
    }

    #[test]
    fn buckets_grow() {
        for metric in ALL {
            if let Histogram(buckets) = metric.kind {
                assert!(!buckets.is_empty() && buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }

    #[test]
    fn there_are_fewer_than_400_series_whatever_happens() {
        let series: usize = ALL.iter().map(|metric| metric.combinations().len()).sum();
        assert!(series < 400, "{series}");
        insta::assert_snapshot!(series, @"171");
    }
}
