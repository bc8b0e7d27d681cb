//! Metrics as the fold of the journal (S11): one entry in, the counters and histograms it moves.
//!
//! The same function runs over the whole journal at start and over every commit's entries while serving. So counters
//! go on over a restart as if nothing had happened, a test can fold a journal by hand, and what a dashboard shows
//! can always be recomputed from the database.
//!
//! Most rules look at one entry only. The few that span two of them (an intent and its outcome) keep a [`Watch`] per
//! unfinished project; finished ones are forgotten, so memory is bounded by the work under way. A histogram keeps its
//! observations one by one until upkeep, so a fold over a long journal calls [`super::export::Exporter::run_upkeep`]
//! every few thousand entries.

use super::meter;
use super::metric;
use crate::domain::breaker::BreakerState;
use crate::domain::event::Source;
use crate::domain::failure::{Failure, FailureKind, Program, Stage};
use crate::domain::id::ProjectId;
use crate::domain::project::SessionIs;
use crate::domain::signal::{Entry, What};
use crate::domain::state::{ProjectState, SuspendReason};
use crate::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// The effect that makes a session, as [`What::EffectIntended`] names it.
const ENSURE_SESSION: &str = "ensure_session";

/// What a rule must remember of an unfinished project between two entries.
#[derive(Debug, Default, Clone)]
struct Watch {
    /// A session was intended at this time and it is not yet known what came of it.
    begun: Option<Begun>,
    /// Since when its session has been there.
    session_since: Option<Timestamp>,
    /// Whether a recovery attempt is under way.
    attempting: bool,
    /// Attempts of the incident under way.
    attempts: u32,
    /// When the incident's first fault was found.
    faulted: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    at: Timestamp,
    /// Whether its duration is recorded: tmux has confirmed or failed.
    timed: bool,
}

/// Folds the journal into the metrics.
#[derive(Debug, Default)]
pub struct Folder {
    watched: BTreeMap<ProjectId, Watch>,
}

impl Folder {
    /// Nothing folded yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Unfinished projects of which something is remembered.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Moves whatever this entry moves. Entries come in the order of the journal, each exactly once.
    pub fn fold(&mut self, entry: &Entry) {
        alone(entry);
        if let Some(id) = entry.signal.project_id {
            self.spanning(id, entry);
        }
    }

    /// The rules that need an earlier entry of the same project.
    #[expect(clippy::wildcard_enum_match_arm, reason = "`alone` lists every event; here the few that span two")]
    fn spanning(&mut self, id: ProjectId, entry: &Entry) {
        if let What::ProjectEnqueued { .. } = &entry.signal.what {
            self.watched.insert(id, Watch::default());
        }
        // An operator's retry brings a finished project back.
        if let What::ProjectMoved { to: ProjectState::Queued, .. } = &entry.signal.what {
            self.watched.insert(id, Watch::default());
        }
        let Some(watch) = self.watched.get_mut(&id) else { return };
        match &entry.signal.what {
            What::EffectIntended { effect, .. } if effect == ENSURE_SESSION => {
                watch.begun = Some(Begun { at: entry.at, timed: false });
            }
            What::SessionCreated { adopted } => {
                // A new one while the last is still on the books: we ended that one ourselves, for this.
                if !adopted {
                    watch.end_session(entry.at, "killed");
                }
                watch.session_since.get_or_insert(entry.at);
                watch.time_creation(entry.at, "ok");
            }
            What::SubprocessFailed { failure } | What::OperationFailed { failure }
                if failure.stage == Stage::Launch =>
            {
                watch.time_creation(entry.at, "error");
            }
            What::SessionDied { .. } => watch.end_session(entry.at, "died"),
            What::RecoveryStarted { .. } => {
                watch.attempting = true;
                watch.attempts = watch.attempts.saturating_add(1);
            }
            What::RecoverySucceeded { attempts, duration } => watch.recovered(*attempts, *duration),
            What::ProjectMoved { to, cause, reason, .. } => {
                watch.moved(entry.at, *to, *cause, *reason);
                if to.is_terminal() {
                    self.watched.remove(&id);
                }
            }
            _ => {}
        }
    }
}

impl Watch {
    fn time_creation(&mut self, at: Timestamp, outcome: &'static str) {
        if let Some(begun) = self.begun.as_mut().filter(|begun| !begun.timed) {
            begun.timed = true;
            metric::SESSION_CREATE_SECONDS.record(&[outcome], at.since(begun.at).as_secs_f64());
        }
    }

    fn end_session(&mut self, at: Timestamp, end: &'static str) {
        if let Some(since) = self.session_since.take() {
            metric::SESSION_LIFETIME_SECONDS.record(&[end], at.since(since).as_secs_f64());
        }
    }

    fn recovered(&mut self, attempts: u32, duration: Span) {
        if std::mem::take(&mut self.attempting) {
            metric::RECOVERY_ATTEMPTS.count(&["succeeded"]);
        }
        metric::RECOVERY_INCIDENT_ATTEMPTS.record(&["recovered"], f64::from(attempts));
        metric::RECOVERY_SECONDS.record(&["succeeded"], duration.as_secs_f64());
        self.attempts = 0;
        self.faulted = None;
    }

    fn moved(&mut self, at: Timestamp, to: ProjectState, cause: Option<FailureKind>, reason: Option<SuspendReason>) {
        match to {
            ProjectState::Running => {
                if self.begun.take().is_some() {
                    metric::SESSION_CREATE_ATTEMPTS.count(&["ok"]);
                }
            }
            ProjectState::Recovering => {
                self.creation_failed(at, cause);
                self.attempt_failed();
                self.faulted.get_or_insert(at);
            }
            ProjectState::Suspended => {
                // Rest, unlike a spent budget, is no outcome: what was begun may still succeed.
                if reason == Some(SuspendReason::Breaker) {
                    self.creation_failed(at, cause);
                    self.attempt_failed();
                }
            }
            ProjectState::Failed => {
                self.creation_failed(at, cause);
                self.attempt_failed();
                self.gave_up(at);
                self.end_session(at, "failed");
            }
            ProjectState::Completed => self.end_session(at, "completed"),
            ProjectState::Cancelled => self.end_session(at, "killed"),
            ProjectState::Queued | ProjectState::Provisioning | ProjectState::Launching | ProjectState::Briefing => {}
        }
    }

    fn creation_failed(&mut self, at: Timestamp, cause: Option<FailureKind>) {
        let Some(cause) = cause else { return };
        self.time_creation(at, "error");
        if self.begun.take().is_some() {
            metric::SESSION_CREATE_ATTEMPTS.count(&[create_outcome(cause)]);
        }
    }

    fn attempt_failed(&mut self) {
        if std::mem::take(&mut self.attempting) {
            metric::RECOVERY_ATTEMPTS.count(&["failed"]);
        }
    }

    fn gave_up(&mut self, at: Timestamp) {
        if self.attempts > 0 {
            metric::RECOVERY_INCIDENT_ATTEMPTS.record(&["gave_up"], f64::from(self.attempts));
        }
        if let Some(since) = self.faulted {
            metric::RECOVERY_SECONDS.record(&["failed"], at.since(since).as_secs_f64());
        }
    }
}

/// The rules that need nothing but the entry.
fn alone(entry: &Entry) {
    if let Some(failure) = entry.signal.failure() {
        metric::ERROR_QUALITY_RATIO.record(&[origin(failure)], failure.quality());
    }
    match &entry.signal.what {
        What::AgentDied { expected, detected_by, lag, .. } => death(*expected, *detected_by, *lag),
        What::SessionDied { detected_by, lag } => death(false, *detected_by, *lag),
        What::ResourceMissing { resource, detected_by, lag, failure, .. } => {
            metric::RESOURCES_MISSING.count(&[resource_label(resource), phase(failure.stage)]);
            metric::STATE_SYNC_LAG_SECONDS.record(&[detected_by.name()], lag.as_secs_f64());
        }
        What::SubprocessFailed { failure } | What::DeathExplained { failure } => {
            if let Some(program) = meter::program(failure.program) {
                metric::SUBPROCESS_FAILURES.count(&[program, failure.stderr.state()]);
            }
        }
        What::RecoveryRefused { .. } => {
            metric::RECOVERY_ATTEMPTS.count(&["refused"]);
            metric::BREAKER_REJECTIONS.count(&[]);
        }
        What::BreakerMoved { from, to, .. } if from != to => {
            metric::BREAKER_TRANSITIONS.count(&[from.name(), to.name()]);
        }
        What::FleetBreakerMoved { to, .. } => metric::FLEET_BREAKER_TRANSITIONS.count(&[to.name()]),
        What::ProjectMoved { from, to, after, .. } => {
            metric::PROJECT_TRANSITIONS.count(&[from.name(), to.name()]);
            if (*from, *to) == (ProjectState::Queued, ProjectState::Provisioning) {
                metric::QUEUE_WAIT_SECONDS.record(&[], after.as_secs_f64());
            }
        }
        What::SpoolRejected { stale, .. } => {
            metric::SPOOL_REJECTED.count(&[if *stale { "stale" } else { "unusable" }]);
        }
        What::MoveRefused { refused } => {
            metric::TRANSITIONS_REJECTED.count(&[if refused.starts_with("role ") { "role" } else { "project" }]);
        }
        What::OrchestratorStarted { .. }
        | What::OrchestratorStopped { .. }
        | What::OrchestratorAway { .. }
        | What::MachineRebooted { .. }
        | What::StoreRestored { .. }
        | What::Quarantined { .. }
        | What::StrayFound { .. }
        | What::LateCreation { .. }
        | What::ProjectEnqueued { .. }
        | What::RoleMoved { .. }
        | What::EffectIntended { .. }
        | What::SessionCreated { .. }
        | What::AgentStarted { .. }
        | What::AgentAdopted { .. }
        | What::ResourceRestored { .. }
        | What::OperationFailed { .. }
        | What::BriefHanded { .. }
        | What::BriefAcknowledged
        | What::AgentReported { .. }
        | What::AgentSilent { .. }
        | What::AgentNudged { .. }
        | What::AgentStalled { .. }
        | What::RecoveryStarted { .. }
        | What::RecoveryDelayed { .. }
        | What::RecoverySucceeded { .. }
        | What::BreakerMoved { .. }
        | What::SlotAwaited { .. }
        | What::SightLost { .. }
        | What::ProjectCertified { .. }
        | What::TmuxLost { .. }
        | What::ServerDied { .. }
        | What::SocketRestored { .. }
        | What::TmuxAnswered { .. }
        | What::OperatorAsked { .. }
        | What::RequestRefused { .. }
        | What::ProjectFailed { .. } => {}
    }
}

fn death(expected: bool, detected_by: Source, lag: Span) {
    let (by, lag) = (detected_by.name(), lag.as_secs_f64());
    metric::SESSION_DEATHS.count(&[if expected { "true" } else { "false" }, by]);
    metric::STATE_SYNC_LAG_SECONDS.record(&[by], lag);
    if !expected {
        metric::SESSION_DEATH_DETECTION_SECONDS.record(&[by], lag);
    }
}

/// Why a session that was begun did not come to work, in the words of the metric.
fn create_outcome(cause: FailureKind) -> &'static str {
    match cause {
        FailureKind::TimedOut => "timeout",
        FailureKind::ResourceMissing
        | FailureKind::ResourceChanged
        | FailureKind::WorktreeInvalid
        | FailureKind::Io
        | FailureKind::Exhausted
        | FailureKind::Invalid => "missing_resource",
        // Agents that end before they have acknowledged were never briefed.
        FailureKind::BriefUnacknowledged
        | FailureKind::AgentExited
        | FailureKind::AgentKilled
        | FailureKind::AgentLost
        | FailureKind::AgentStalled
        | FailureKind::AgentReported => "brief_failed",
        FailureKind::SessionDied
        | FailureKind::NameConflict
        | FailureKind::ServerDied
        | FailureKind::SubprocessFailed
        | FailureKind::SpawnFailed => "tmux_error",
    }
}

fn origin(failure: &Failure) -> &'static str {
    match (failure.program, failure.kind) {
        (Program::Tmux, _) => "tmux",
        (Program::Git | Program::Agent, _) => "subprocess",
        (
            Program::Orch,
            FailureKind::Io
            | FailureKind::ResourceMissing
            | FailureKind::ResourceChanged
            | FailureKind::WorktreeInvalid,
        ) => "fs",
        (Program::Orch, _) => "state",
    }
}

fn resource_label(resource: &str) -> &'static str {
    match resource {
        "claude_md" => "claude_md",
        "worktree" => "worktree",
        "brief" => "brief",
        _ => "other",
    }
}

fn phase(stage: Stage) -> &'static str {
    match stage {
        Stage::Provision | Stage::Launch => "provision",
        Stage::Brief | Stage::Run | Stage::Complete | Stage::Cleanup => "running",
    }
}

/// What stands at this moment, counted from the database by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Projects by state; what is not named counts as none.
    pub projects: BTreeMap<ProjectState, u64>,
    /// Sessions of unfinished projects by how far they got.
    pub sessions: BTreeMap<SessionIs, u64>,
    /// Breakers of unfinished projects by state.
    pub breakers: BTreeMap<BreakerState, u64>,
    /// Whether the fleet's breaker is open.
    pub fleet_breaker_open: bool,
    /// How long the project that has waited longest has waited, if any waits.
    pub queue_oldest: Option<Span>,
    /// The highest number of attempts of any one project within the breaker's window.
    pub window_attempts_max: u64,
    /// Contradictions between database and tmux.
    pub mismatches: Mismatches,
}

/// Contradictions between database and tmux that stand at this moment, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mismatches {
    /// The database holds a live session that tmux does not have.
    pub db_only: u64,
    /// tmux has a session of ours that the database does not know.
    pub tmux_only: u64,
    /// Both have it and disagree on how it is.
    pub status_conflict: u64,
    /// A project that must have a session has no name of one (project 99).
    pub session_name_null: u64,
}

/// Sets every gauge that says what stands: the only place that does.
pub fn gauges(counts: &Counts) {
    let of = |count: Option<&u64>| count.copied().unwrap_or(0) as f64;
    for state in ProjectState::ALL {
        metric::PROJECTS.set(&[state.name()], of(counts.projects.get(state)));
    }
    for is in SessionIs::ALL {
        metric::SESSIONS.set(&[is.name()], of(counts.sessions.get(is)));
    }
    for state in BreakerState::ALL {
        metric::BREAKERS.set(&[state.name()], of(counts.breakers.get(state)));
    }
    metric::FLEET_BREAKER_OPEN.set(&[], f64::from(u8::from(counts.fleet_breaker_open)));
    metric::QUEUE_DEPTH.set(&[], of(counts.projects.get(&ProjectState::Queued)));
    metric::QUEUE_OLDEST_AGE_SECONDS.set(&[], counts.queue_oldest.unwrap_or_default().as_secs_f64());
    metric::RECOVERY_WINDOW_ATTEMPTS_MAX.set(&[], counts.window_attempts_max as f64);
    let found = counts.mismatches;
    metric::STATE_MISMATCHES.set(&["db_only"], found.db_only as f64);
    metric::STATE_MISMATCHES.set(&["tmux_only"], found.tmux_only as f64);
    metric::STATE_MISMATCHES.set(&["status_conflict"], found.status_conflict as f64);
    metric::STATE_MISMATCHES.set(&["session_name_null"], found.session_name_null as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::effect::Effect;
    use crate::domain::failure::{Ending, Stderr};
    use crate::domain::id::{EffectId, ProcessId, Token};
    use crate::domain::signal::Signal;
    use crate::telemetry::export::tests::moved;
    use crate::telemetry::samples;

    /// What moves when these happen, each at its millisecond.
    fn check(events: Vec<(u64, What)>) -> String {
        let project = samples::project();
        moved(|| {
            let mut folder = Folder::new();
            for (seq, (millis, what)) in (1_i64..).zip(events) {
                let at = Timestamp(millis * 1_000);
                folder.fold(&samples::entry(seq, at, Signal::project(&project, what)));
            }
        })
    }

    fn enqueued() -> What {
        What::ProjectEnqueued { title: "x".to_owned(), roles: 1 }
    }

    fn to(from: ProjectState, to: ProjectState) -> What {
        What::ProjectMoved { from, to, cause: None, reason: None, after: Span::from_secs(2) }
    }

    fn because(from: ProjectState, to: ProjectState, cause: FailureKind, reason: Option<SuspendReason>) -> What {
        What::ProjectMoved { from, to, cause: Some(cause), reason, after: Span(0) }
    }

    fn intended() -> What {
        What::EffectIntended { effect_id: EffectId(1), effect: ENSURE_SESSION.to_owned() }
    }

    fn started(attempt: u32) -> What {
        What::RecoveryStarted { attempt, max_attempts: 3, cause: FailureKind::SessionDied, probe: false }
    }

    fn died(expected: bool) -> What {
        let (process, lag) = (ProcessId { pid: 1, start: 1 }, Span::from_millis(4));
        What::AgentDied { process, expected, detected_by: Source::Pidfd, lag, lifetime: Span::from_secs(9) }
    }

    use ProjectState as S;

    #[test]
    fn the_session_effect_is_called_as_this_module_believes() {
        let effect = Effect::EnsureSession { session: String::new(), token: Token(String::new()), launches: vec![] };
        assert_eq!(effect.name(), ENSURE_SESSION);
    }

    #[test]
    fn admission_measures_the_wait() {
        insta::assert_snapshot!(check(vec![(0, enqueued()), (9, to(S::Queued, S::Provisioning))]), @r#"
        orch_project_transitions_total{from="queued",to="provisioning"} 1
        orch_queue_wait_seconds_sum 2
        orch_queue_wait_seconds_count 1
        "#);
    }

    #[test]
    fn a_session_that_comes_to_work_is_one_success() {
        let told = check(vec![
            (0, enqueued()),
            (100, intended()),
            (130, What::SessionCreated { adopted: false }),
            (200, to(S::Briefing, S::Running)),
            (5_130, to(S::Running, S::Completed)),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_project_transitions_total{from="briefing",to="running"} 1
        orch_project_transitions_total{from="running",to="completed"} 1
        orch_session_create_attempts_total{outcome="ok"} 1
        orch_session_create_seconds_sum{outcome="ok"} 0.03
        orch_session_create_seconds_count{outcome="ok"} 1
        orch_session_lifetime_seconds_sum{end="completed"} 5
        orch_session_lifetime_seconds_count{end="completed"} 1
        "#);
    }

    #[test]
    fn a_session_that_tmux_refuses_is_one_error() {
        let refused = Failure {
            stage: Stage::Launch,
            program: Program::Tmux,
            kind: FailureKind::SubprocessFailed,
            stderr: Stderr::Null,
            ..samples::failure()
        };
        let told = check(vec![
            (0, enqueued()),
            (100, intended()),
            (110, What::SubprocessFailed { failure: Box::new(refused) }),
            (110, because(S::Launching, S::Recovering, FailureKind::SubprocessFailed, None)),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_error_quality_ratio_sum{origin="tmux"} 0.8
        orch_error_quality_ratio_count{origin="tmux"} 1
        orch_project_transitions_total{from="launching",to="recovering"} 1
        orch_session_create_attempts_total{outcome="tmux_error"} 1
        orch_session_create_seconds_sum{outcome="error"} 0.01
        orch_session_create_seconds_count{outcome="error"} 1
        orch_subprocess_failures_total{program="tmux",stderr="null"} 1
        "#);
    }

    #[test]
    fn every_cause_has_its_outcome_and_rest_has_none() {
        let begun = |cause, reason| {
            let to = if reason == Some(SuspendReason::Operator) { S::Suspended } else { S::Recovering };
            let told = check(vec![
                (0, enqueued()),
                (1, intended()),
                (2, What::SessionCreated { adopted: false }),
                (3, because(S::Briefing, to, cause, reason)),
            ]);
            let line = told.lines().find(|line| line.contains("create_attempts")).map(str::to_owned);
            line.unwrap_or_default()
        };
        assert!(begun(FailureKind::BriefUnacknowledged, None).contains("brief_failed"));
        assert!(begun(FailureKind::AgentExited, None).contains("brief_failed"));
        assert!(begun(FailureKind::TimedOut, None).contains("timeout"));
        assert!(begun(FailureKind::ResourceMissing, None).contains("missing_resource"));
        assert!(begun(FailureKind::ServerDied, None).contains("tmux_error"));
        assert_eq!(begun(FailureKind::TimedOut, Some(SuspendReason::Operator)), "");
    }

    #[test]
    fn ends_of_sessions_are_told_apart() {
        let ended = |last: What| {
            let told = check(vec![(0, enqueued()), (10, What::SessionCreated { adopted: false }), (1_010, last)]);
            told.lines().find(|line| line.contains("lifetime_seconds_sum")).map(str::to_owned).unwrap_or_default()
        };
        let dead = What::SessionDied { detected_by: Source::Sweep, lag: Span(0) };
        assert_eq!(ended(dead), "orch_session_lifetime_seconds_sum{end=\"died\"} 1");
        assert_eq!(ended(to(S::Running, S::Completed)), "orch_session_lifetime_seconds_sum{end=\"completed\"} 1");
        assert_eq!(ended(to(S::Running, S::Cancelled)), "orch_session_lifetime_seconds_sum{end=\"killed\"} 1");
        assert_eq!(ended(to(S::Running, S::Failed)), "orch_session_lifetime_seconds_sum{end=\"failed\"} 1");
    }

    #[test]
    fn deaths_count_by_expectation_and_source() {
        let gone = What::SessionDied { detected_by: Source::Sweep, lag: Span::from_millis(900) };
        insta::assert_snapshot!(check(vec![(0, died(false)), (0, died(true)), (0, gone)]), @r#"
        orch_session_death_detection_seconds_sum{detected_by="pidfd"} 0.004
        orch_session_death_detection_seconds_count{detected_by="pidfd"} 1
        orch_session_death_detection_seconds_sum{detected_by="sweep"} 0.9
        orch_session_death_detection_seconds_count{detected_by="sweep"} 1
        orch_session_deaths_total{detected_by="pidfd",expected="false"} 1
        orch_session_deaths_total{detected_by="pidfd",expected="true"} 1
        orch_session_deaths_total{detected_by="sweep",expected="false"} 1
        orch_state_sync_lag_seconds_sum{source="pidfd"} 0.008
        orch_state_sync_lag_seconds_count{source="pidfd"} 2
        orch_state_sync_lag_seconds_sum{source="sweep"} 0.9
        orch_state_sync_lag_seconds_count{source="sweep"} 1
        "#);
    }

    #[test]
    fn missing_resources_count_by_kind_and_phase() {
        let missing = |resource: &str, stage| What::ResourceMissing {
            resource: resource.to_owned(),
            path: "CLAUDE.md".to_owned(),
            detected_by: Source::Inotify,
            lag: Span::from_millis(2),
            failure: Box::new(Failure { stage, ..samples::operation() }),
        };
        let told = check(vec![
            (0, missing("claude_md", Stage::Run)),
            (0, missing("worktree", Stage::Provision)),
            (0, missing("something else", Stage::Complete)),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_error_quality_ratio_sum{origin="fs"} 1.7999999999999998
        orch_error_quality_ratio_count{origin="fs"} 3
        orch_resources_missing_total{phase="provision",resource="worktree"} 1
        orch_resources_missing_total{phase="running",resource="claude_md"} 1
        orch_resources_missing_total{phase="running",resource="other"} 1
        orch_state_sync_lag_seconds_sum{source="inotify"} 0.006
        orch_state_sync_lag_seconds_count{source="inotify"} 3
        "#);
    }

    #[test]
    fn failures_count_by_program_and_stderr_and_by_what_they_teach() {
        let of = |program, kind, stderr: Stderr| {
            Box::new(Failure { program, kind, stderr, ending: Ending::Signal(9), ..samples::failure() })
        };
        let told = check(vec![
            (0, What::DeathExplained { failure: of(Program::Agent, FailureKind::AgentKilled, Stderr::Null) }),
            (0, What::SubprocessFailed { failure: of(Program::Git, FailureKind::TimedOut, Stderr::Empty) }),
            (
                0,
                What::SubprocessFailed {
                    failure: of(Program::Tmux, FailureKind::TimedOut, Stderr::Text("no server".to_owned())),
                },
            ),
            (0, What::OperationFailed { failure: of(Program::Orch, FailureKind::Io, Stderr::Null) }),
            (0, What::ProjectFailed { failure: of(Program::Orch, FailureKind::Invalid, Stderr::Null) }),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_error_quality_ratio_sum{origin="fs"} 0.8
        orch_error_quality_ratio_count{origin="fs"} 1
        orch_error_quality_ratio_sum{origin="state"} 0.8
        orch_error_quality_ratio_count{origin="state"} 1
        orch_error_quality_ratio_sum{origin="subprocess"} 1.6
        orch_error_quality_ratio_count{origin="subprocess"} 2
        orch_error_quality_ratio_sum{origin="tmux"} 0.9
        orch_error_quality_ratio_count{origin="tmux"} 1
        orch_subprocess_failures_total{program="agent",stderr="null"} 1
        orch_subprocess_failures_total{program="git",stderr="empty"} 1
        orch_subprocess_failures_total{program="tmux",stderr="text"} 1
        "#);
    }

    #[test]
    fn a_recovery_that_works_is_one_success() {
        let told = check(vec![
            (0, enqueued()),
            (10, because(S::Running, S::Recovering, FailureKind::SessionDied, None)),
            (10, started(1)),
            (500, What::RecoverySucceeded { attempts: 1, duration: Span::from_millis(490) }),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_project_transitions_total{from="running",to="recovering"} 1
        orch_recovery_attempts_total{outcome="succeeded"} 1
        orch_recovery_incident_attempts_sum{result="recovered"} 1
        orch_recovery_incident_attempts_count{result="recovered"} 1
        orch_recovery_seconds_sum{outcome="succeeded"} 0.49
        orch_recovery_seconds_count{outcome="succeeded"} 1
        "#);
    }

    #[test]
    fn attempts_fail_by_the_next_fault_are_refused_by_the_breaker_and_end_in_giving_up() {
        let fault = || because(S::Provisioning, S::Recovering, FailureKind::SessionDied, None);
        let (cause, retry_in) = (FailureKind::SessionDied, Span::from_secs(3_600));
        let told = check(vec![
            (0, enqueued()),
            (1_000, fault()),
            (1_000, started(1)),
            (2_000, fault()),
            (3_000, started(2)),
            (4_000, fault()),
            (4_000, What::RecoveryRefused { retry_in, cause }),
            (4_000, What::BreakerMoved { from: BreakerState::Closed, to: BreakerState::Open, attempts: 2 }),
            (4_000, because(S::Recovering, S::Suspended, cause, Some(SuspendReason::Breaker))),
            (5_000, started(1)),
            (6_000, because(S::Provisioning, S::Failed, cause, None)),
        ]);
        insta::assert_snapshot!(told, @r#"
        orch_breaker_rejections_total 1
        orch_breaker_transitions_total{from="closed",to="open"} 1
        orch_project_transitions_total{from="provisioning",to="failed"} 1
        orch_project_transitions_total{from="provisioning",to="recovering"} 3
        orch_project_transitions_total{from="recovering",to="suspended"} 1
        orch_recovery_attempts_total{outcome="failed"} 3
        orch_recovery_attempts_total{outcome="refused"} 1
        orch_recovery_incident_attempts_sum{result="gave_up"} 3
        orch_recovery_incident_attempts_count{result="gave_up"} 1
        orch_recovery_seconds_sum{outcome="failed"} 5
        orch_recovery_seconds_count{outcome="failed"} 1
        "#);
    }

    #[test]
    fn defects_and_rejected_records_count() {
        let rejected = |stale| What::SpoolRejected { name: "x".to_owned(), reason: "y".to_owned(), stale };
        let refused = |entity: &str| What::MoveRefused { refused: format!("{entity} in state a cannot take event b") };
        let told =
            check(vec![(0, rejected(true)), (0, rejected(false)), (0, refused("role")), (0, refused("project"))]);
        insta::assert_snapshot!(told, @r#"
        orch_project_transitions_rejected_total{entity="project"} 1
        orch_project_transitions_rejected_total{entity="role"} 1
        orch_spool_records_rejected_total{reason="stale"} 1
        orch_spool_records_rejected_total{reason="unusable"} 1
        "#);
    }

    #[test]
    fn counters_never_fall_over_a_restart() {
        // A restart folds the journal from the start into a new recorder; that journal is never shorter than before.
        let all: Vec<Entry> = (1_i64..)
            .zip(samples::every())
            .map(|(seq, signal)| samples::entry(seq, Timestamp(seq.unsigned_abs() * 1_000), signal))
            .collect();
        let after = |count: usize| -> BTreeMap<String, f64> {
            let text = moved(|| {
                let mut folder = Folder::new();
                all[..count].iter().for_each(|entry| folder.fold(entry));
            });
            text.lines()
                .map(|line| line.rsplit_once(' ').unwrap())
                .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
                .collect()
        };
        for count in 1..=all.len() {
            let (before, now) = (after(count - 1), after(count));
            for (name, value) in before {
                assert!(now[&name] >= value, "{name} fell at entry {count}");
            }
        }
    }

    #[test]
    fn a_relaunch_ends_the_old_session_and_an_adoption_does_not() {
        let up = |adopted| What::SessionCreated { adopted };
        let told = check(vec![(0, enqueued()), (1_000, up(false)), (2_000, up(true)), (4_000, up(false))]);
        insta::assert_snapshot!(told, @r#"
        orch_session_lifetime_seconds_sum{end="killed"} 3
        orch_session_lifetime_seconds_count{end="killed"} 1
        "#);
    }

    #[test]
    fn finished_projects_are_forgotten_and_do_not_come_back_by_themselves() {
        let project = samples::project();
        let mut folder = Folder::new();
        let mut seq = 0;
        let mut tell = |folder: &mut Folder, what| {
            seq += 1;
            folder.fold(&samples::entry(seq, Timestamp(0), Signal::project(&project, what)));
        };
        tell(&mut folder, enqueued());
        assert_eq!(folder.watched(), 1);
        tell(&mut folder, to(S::Running, S::Completed));
        assert_eq!(folder.watched(), 0);
        // The result of an effect that was under way when it ended.
        tell(&mut folder, What::SessionCreated { adopted: false });
        tell(&mut folder, started(1));
        assert_eq!(folder.watched(), 0);
        tell(&mut folder, to(S::Completed, S::Queued));
        assert_eq!(folder.watched(), 1);
    }

    #[test]
    fn gauges_say_what_stands() {
        let counts = Counts {
            projects: BTreeMap::from([(S::Queued, 4), (S::Running, 5)]),
            sessions: BTreeMap::from([(SessionIs::Live, 5)]),
            breakers: BTreeMap::from([(BreakerState::Closed, 8), (BreakerState::Open, 1)]),
            queue_oldest: Some(Span::from_secs(77)),
            fleet_breaker_open: true,
            window_attempts_max: 3,
            mismatches: Mismatches { db_only: 1, ..Mismatches::default() },
        };
        insta::assert_snapshot!(moved(|| gauges(&counts)), @r#"
        orch_breakers{state="closed"} 8
        orch_breakers{state="open"} 1
        orch_fleet_breaker_open 1
        orch_projects{state="queued"} 4
        orch_projects{state="running"} 5
        orch_queue_depth 4
        orch_queue_oldest_age_seconds 77
        orch_recovery_window_attempts_max 3
        orch_sessions{state="live"} 5
        orch_state_mismatches{kind="db_only"} 1
        "#);
        // What is gone is set to zero, not left at its last value.
        let after = moved(|| {
            gauges(&counts);
            gauges(&Counts::default());
        });
        assert_eq!(after, "");
    }
}
