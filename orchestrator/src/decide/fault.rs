//! What went wrong, and what may be done about it: incidents, the breaker, attempts.

use super::advance;
use super::credit;
use super::draft::Draft;
use super::sight;
use super::silence;
use super::slot;
use crate::domain::breaker::{Admission, BreakerState, backoff};
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use crate::domain::project::Incident;
use crate::domain::signal::What;
use crate::domain::state::{ProjectEvent, ProjectState, RoleState, SuspendReason};
use crate::domain::time::Span;

/// Notes evidence of something wrong and starts, delays or refuses a recovery.
///
/// In `recovering` and `suspended` it only notes: what is already being dealt with, or deliberately left, is not
/// dealt with twice.
pub(super) fn fault(draft: &mut Draft<'_, '_>, role: Option<usize>, failure: Failure) {
    let cause = failure.kind;
    draft.p.last_failure = Some(Box::new(failure));
    draft.p.verified = false;
    if let Some(role) = role.and_then(|index| draft.p.roles.get_mut(index)) {
        role.ack_due = None;
    }
    match draft.p.state() {
        ProjectState::Provisioning | ProjectState::Launching | ProjectState::Briefing | ProjectState::Running => {
            let since = draft.at();
            match &mut draft.p.incident {
                Some(incident) => incident.cause = cause,
                None => {
                    draft.p.incident = Some(Incident { since, cause, attempts: 0, retry_at: None, probe: false });
                }
            }
            if draft.step(ProjectEvent::Faulted, Some(cause)) {
                recover(draft, cause);
            }
        }
        ProjectState::Suspended if sight::is_lost(draft) => sight::found_fault(draft, cause),
        ProjectState::Queued
        | ProjectState::Recovering
        | ProjectState::Suspended
        | ProjectState::Completed
        | ProjectState::Failed
        | ProjectState::Cancelled => {}
    }
}

/// Like [`fault`], but an attempt that is already making things ready takes this along instead of being charged
/// again: while provisioning, nothing has been started yet that this could have killed.
pub(super) fn fault_or_join(draft: &mut Draft<'_, '_>, role: Option<usize>, failure: Failure) {
    if draft.p.state() == ProjectState::Provisioning {
        draft.p.verified = false;
        draft.p.last_failure = Some(Box::new(failure));
        advance::advance(draft);
    } else {
        fault(draft, role, failure);
    }
}

/// Asks the breaker, then starts, delays or gives up.
fn recover(draft: &mut Draft<'_, '_>, cause: FailureKind) {
    let at = draft.at();
    let policy = draft.fleet().policy.clone();
    if cause == FailureKind::ServerDied && draft.fleet().server_deaths_at(at) < policy.breaker_max {
        if let Some(incident) = &mut draft.p.incident {
            incident.retry_at = Some(at);
        }
        attempt_if_due(draft);
        return;
    }
    match draft.p.breaker.admit(at, &policy) {
        Admission::Attempt(_) => {
            let made = draft.p.incident.as_ref().map_or(0, |incident| incident.attempts);
            let delay = backoff(made, &policy, draft.rng());
            if let Some(incident) = &mut draft.p.incident {
                incident.retry_at = Some(at + delay);
            }
            if delay > Span(0) {
                draft.tell(What::RecoveryDelayed { delay });
            }
            attempt_if_due(draft);
        }
        Admission::Probe => start_attempt(draft, 1, cause, true),
        Admission::Refused(_) => refuse(draft, cause),
    }
}

/// Starts the attempt that is due, once nothing of the time before it is under way: five roles that fail together
/// are one failure, not five attempts, and what is still being gathered as evidence belongs to the same incident.
pub(super) fn attempt_if_due(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    let due = draft.p.incident.as_ref().and_then(|incident| incident.retry_at).is_some_and(|due| due <= at);
    if draft.p.state() == ProjectState::Recovering && due && !draft.p.is_busy() {
        start_delayed(draft);
    }
}

/// The budget is spent: contained, or given up when enough probes have failed.
fn refuse(draft: &mut Draft<'_, '_>, cause: FailureKind) {
    let at = draft.at();
    let policy = draft.fleet().policy.clone();
    let from = draft.p.breaker.state;
    draft.p.breaker.open(at, &policy);
    let retry_in = draft.p.breaker.retry_at.map_or(Span(0), |retry_at| retry_at.since(at));
    let attempts = draft.p.breaker.in_window(at, policy.breaker_window());
    draft.tell(What::RecoveryRefused { retry_in, cause });
    if from != BreakerState::Open {
        draft.tell(What::BreakerMoved { from, to: BreakerState::Open, attempts });
    }
    if let Some(incident) = &mut draft.p.incident {
        incident.retry_at = None;
        incident.probe = false;
    }
    if draft.p.breaker.probes_failed >= policy.probes_max {
        give_up(draft, cause);
    } else if draft.p.state() == ProjectState::Suspended {
        // It was to go on after a rest; now it rests for this.
        draft.p.reason = Some(SuspendReason::Breaker);
        draft.p.unknown = None;
    } else {
        draft.p.reason = Some(SuspendReason::Breaker);
        draft.step(ProjectEvent::BreakerOpened, Some(cause));
    }
}

/// Fails the project for good, with the newest evidence.
pub(super) fn give_up(draft: &mut Draft<'_, '_>, cause: FailureKind) {
    if let Some(failure) = draft.p.last_failure.clone() {
        draft.tell(What::ProjectFailed { failure });
    }
    draft.p.incident = None;
    draft.p.finalizer = true;
    for role in &mut draft.p.roles {
        role.ack_due = None;
    }
    if draft.step(ProjectEvent::GaveUp, Some(cause)) {
        advance::advance(draft);
    }
}

/// Begins again after the death of the tmux server, which is no project's fault: nothing is counted against the
/// project. The fleet bounds it: beyond `breaker_max` deaths of the server within a window, projects are charged.
fn start_uncharged(draft: &mut Draft<'_, '_>, cause: FailureKind) {
    if let Some(incident) = &mut draft.p.incident {
        incident.retry_at = None;
    }
    draft.p.verified = false;
    draft.p.repairs = 0;
    let event = attempt_event(draft);
    if draft.step(event, Some(cause)) {
        advance::advance(draft);
    }
}

/// What an attempt is to the project's state: some begin from a rest.
fn attempt_event(draft: &Draft<'_, '_>) -> ProjectEvent {
    let rests = draft.p.state() == ProjectState::Suspended;
    if rests { ProjectEvent::Resumed } else { ProjectEvent::AttemptStarted }
}

/// Counts an attempt, then begins it.
fn start_attempt(draft: &mut Draft<'_, '_>, attempt: u32, cause: FailureKind, probe: bool) {
    let at = draft.at();
    let policy = draft.fleet().policy.clone();
    draft.p.breaker.count(at, &policy);
    if probe {
        let from = draft.p.breaker.state;
        draft.p.breaker.half_open();
        let attempts = draft.p.breaker.in_window(at, policy.breaker_window());
        draft.tell(What::BreakerMoved { from, to: BreakerState::HalfOpen, attempts });
    }
    if let Some(incident) = &mut draft.p.incident {
        incident.attempts += 1;
        incident.retry_at = None;
        incident.probe = probe;
    }
    draft.p.verified = false;
    draft.p.repairs = 0;
    draft.tell(What::RecoveryStarted { attempt, max_attempts: policy.breaker_max, cause, probe });
    let event = attempt_event(draft);
    if draft.step(event, Some(cause)) {
        advance::advance(draft);
    }
}

/// The project works: every agent has acknowledged. Ends the incident, if there was one.
pub(super) fn recovered(draft: &mut Draft<'_, '_>) {
    let Some(incident) = draft.p.incident.take() else { return };
    let duration = draft.at().since(incident.since);
    draft.tell(What::RecoverySucceeded { attempts: incident.attempts, duration });
    let from = draft.p.breaker.state;
    draft.p.breaker.succeeded();
    if from != BreakerState::Closed {
        let at = draft.at();
        let attempts = draft.p.breaker.in_window(at, draft.fleet().policy.breaker_window());
        draft.tell(What::BreakerMoved { from, to: BreakerState::Closed, attempts });
    }
}

/// A deadline of the project has passed: an attempt is due, a breaker half-opens, a brief was not
/// acknowledged, credit is expected again, or an agent has been silent for long.
pub(super) fn due(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    match draft.p.state() {
        ProjectState::Recovering => attempt_if_due(draft),
        ProjectState::Suspended if draft.p.reason == Some(SuspendReason::Breaker) => {
            if draft.p.breaker.retry_at.is_some_and(|due| due <= at) {
                slot::ask(draft);
            }
        }
        ProjectState::Queued
        | ProjectState::Provisioning
        | ProjectState::Launching
        | ProjectState::Briefing
        | ProjectState::Running
        | ProjectState::Suspended
        | ProjectState::Completed
        | ProjectState::Failed
        | ProjectState::Cancelled => {}
    }
    overdue_acks(draft);
    credit::due(draft);
    silence::due(draft);
}

/// Starts the attempt whose time has come, as far as the breaker admits one.
pub(super) fn start_delayed(draft: &mut Draft<'_, '_>) {
    let Some(incident) = &mut draft.p.incident else { return };
    let cause = incident.cause;
    incident.retry_at = None;
    let policy = draft.fleet().policy.clone();
    if cause == FailureKind::ServerDied && draft.fleet().server_deaths_at(draft.at()) <= policy.breaker_max {
        start_uncharged(draft, cause);
        return;
    }
    match draft.p.breaker.admit(draft.at(), &policy) {
        Admission::Attempt(attempt) => start_attempt(draft, attempt, cause, false),
        Admission::Probe => start_attempt(draft, 1, cause, true),
        Admission::Refused(_) => refuse(draft, cause),
    }
}

/// Lets the one probe of an open breaker through, if it is due.
pub(super) fn probe(draft: &mut Draft<'_, '_>) {
    let since = draft.at();
    let cause = draft.p.incident.as_ref().map_or(FailureKind::AgentLost, |incident| incident.cause);
    draft.p.incident.get_or_insert(Incident { since, cause, attempts: 0, retry_at: None, probe: true });
    let policy = draft.fleet().policy.clone();
    match draft.p.breaker.admit(since, &policy) {
        Admission::Probe => start_attempt(draft, 1, cause, true),
        Admission::Attempt(_) | Admission::Refused(_) => {}
    }
}

/// A brief that was not acknowledged in time is handed over again, up to the limit; after that the agent is deaf.
fn overdue_acks(draft: &mut Draft<'_, '_>) {
    let at = draft.at();
    let max = draft.fleet().policy.brief_max;
    for index in 0..draft.p.roles.len() {
        let Some(role) = draft.p.roles.get_mut(index) else { continue };
        if role.ack_due.is_none_or(|due| due > at) {
            continue;
        }
        role.ack_due = None;
        if role.state() != RoleState::Starting || role.process.is_none() {
            continue;
        }
        if role.briefs_sent < max {
            advance::hand_brief(draft, index);
            continue;
        }
        let times = role.briefs_sent;
        if !draft.tmux_answers() {
            // Whether it ever saw its brief is not known: it is handed over afresh when tmux answers (G3).
            advance::brief_afresh(draft, index);
            continue;
        }
        let wait = draft.fleet().policy.ack_wait();
        let failure = deaf(draft, index, times, wait);
        condemn(draft, index);
        fault(draft, Some(index), failure);
    }
}

fn deaf(draft: &Draft<'_, '_>, index: usize, times: u32, wait: Span) -> Failure {
    let spec = draft.p.role_spec(index);
    Failure {
        stage: draft.p.stage(),
        kind: FailureKind::BriefUnacknowledged,
        program: Program::Agent,
        argv: spec.map(|spec| spec.command.clone()).unwrap_or_default(),
        cwd: draft.p.roles.get(index).and_then(|role| role.worktree.as_ref()).map(|worktree| worktree.path.clone()),
        ending: Ending::DeadlinePassed(wait),
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: wait,
        hint: Some(format!(
            "the brief was handed over {times} times; does the agent read its terminal and run `orch agent ack`?"
        )),
    }
}

/// Marks a role's incarnation as one that must be gone before the next may start.
pub(super) fn condemn(draft: &mut Draft<'_, '_>, index: usize) {
    let Some(token) = draft.p.roles.get(index).and_then(|role| role.token.clone()) else { return };
    if !draft.p.stale.contains(&token) {
        draft.p.stale.push(token);
    }
}
