//! Metrics as the fold of the journal (S11): one entry in, the counters and histograms it moves.
//!
//! The same function runs over the whole journal at start and over every commit's entries while serving. So counters
//! go on over a restart as if nothing had happened, a test can fold a journal by hand, and what a dashboard shows
//! can always be recomputed from the database.
//!
//! Most rules look at one entry only. The few that span two of them (an intent and its outcome) keep a [`Watch`] per
//! unfinished project; finished ones are forgotten, so memory is bounded by the work under way.

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
            What::SessionCreated { .. } => {
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
        | What::RecoveryStarted { .. }
        | What::RecoveryDelayed { .. }
        | What::RecoverySucceeded { .. }
        | What::BreakerMoved { .. }
        | What::ProjectCertified { .. }
        | What::TmuxLost { .. }
        | What::TmuxAnswered { .. }
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
        | FailureKind::Invalid => "missing_resource",
        // Agents that end before they have acknowledged were never briefed.
        FailureKind::BriefUnacknowledged
        | FailureKind::AgentExited
        | FailureKind::AgentKilled
        | FailureKind::AgentLost
        | FailureKind::AgentReported => "brief_failed",
        FailureKind::SessionDied
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
    metric::QUEUE_DEPTH.set(&[], of(counts.projects.get(&ProjectState::Queued)));
    metric::QUEUE_OLDEST_AGE_SECONDS.set(&[], counts.queue_oldest.unwrap_or_default().as_secs_f64());
    metric::RECOVERY_WINDOW_ATTEMPTS_MAX.set(&[], counts.window_attempts_max as f64);
    let found = counts.mismatches;
    metric::STATE_MISMATCHES.set(&["db_only"], found.db_only as f64);
    metric::STATE_MISMATCHES.set(&["tmux_only"], found.tmux_only as f64);
    metric::STATE_MISMATCHES.set(&["status_conflict"], found.status_conflict as f64);
    metric::STATE_MISMATCHES.set(&["session_name_null"], found.session_name_null as f64);
}
