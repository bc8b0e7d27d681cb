//! What agents say of themselves.

use super::advance;
use super::credit;
use super::draft::{Cursor, Draft};
use super::fault;
use super::silence;
use super::with;
use crate::domain::event::Report;
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stderr};
use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
use crate::domain::limits;
use crate::domain::project::Role;
use crate::domain::signal::{Signal, What};
use crate::domain::state::{ProjectState, RoleEvent, RoleState};
use crate::domain::time::Span;

/// A record came in. Only one of the role's current incarnation counts; a record of a finished project is late and
/// harmless.
pub(super) fn reported(
    cursor: &mut Cursor<'_>,
    id: ProjectId,
    name: &RoleName,
    (epoch, token): (Epoch, &Token),
    report: &Report,
) {
    let Some(project) = cursor.fleet().project(id) else { return };
    let known = project.role(name).map(|role| (role.epoch, role.token.as_ref() == Some(token)));
    let refusal = match known {
        Some((_, true)) => None,
        Some((current, false)) if epoch < current => Some((true, "it is of an older incarnation")),
        Some(_) => Some((false, "its token is not that of the role's current incarnation")),
        None => Some((false, "the project has no such role")),
    };
    if let Some((stale, reason)) = refusal {
        let name = format!("{}/{id}.{name}.e{epoch}", report.name());
        cursor.tell(Signal::fleet(What::SpoolRejected { name, reason: reason.to_owned(), stale }));
        return;
    }
    with(cursor, id, |draft| {
        if let Some(index) = draft.p.role_index(name) {
            take(draft, index, report);
        }
    });
}

fn take(draft: &mut Draft<'_, '_>, index: usize, report: &Report) {
    if draft.p.state().is_terminal() {
        return;
    }
    note_progress(draft, index);
    stirs_again(draft, index, report);
    silence::reported(draft, index, report);
    match report {
        Report::Ack => acknowledged(draft, index),
        Report::Progress(_) => step_if_legal(draft, index, RoleEvent::Progressed),
        Report::Idle => step_if_legal(draft, index, RoleEvent::Rested),
        Report::NeedsInput(text) => {
            await_person(draft, index);
            step_if_legal(draft, index, RoleEvent::Asked);
            tell(draft, index, report, text.clone());
        }
        Report::Done(text) => done(draft, index, report, text.clone()),
        Report::Fail(text) => failed(draft, index, report, text),
        Report::Credit(seconds) => credit::spent(draft, index, *seconds),
    }
    if matches!(report, Report::Ack | Report::Progress(_) | Report::Done(_)) {
        credit::back(draft, index);
    }
}

/// Notes a sign of life, rarely enough that a busy agent does not keep the disk busy.
fn note_progress(draft: &mut Draft<'_, '_>, index: usize) {
    let at = draft.at();
    if let Some(role) = draft.p.roles.get_mut(index)
        && role.last_progress.is_none_or(|last| at.since(last) >= limits::PROGRESS_WRITE_EVERY)
    {
        role.last_progress = Some(at);
    }
}

/// Who asks for a person before the brief is acknowledged (a trust prompt, say) is not deaf: nothing is overdue until
/// it stirs again. Any later report sets the clock anew, and then the brief, which the prompt may have swallowed, is
/// handed over again.
fn await_person(draft: &mut Draft<'_, '_>, index: usize) {
    if let Some(role) = draft.p.roles.get_mut(index).filter(|role| role.state() == RoleState::Starting) {
        role.ack_due = None;
    }
}

/// The other half of [`await_person`].
fn stirs_again(draft: &mut Draft<'_, '_>, index: usize, report: &Report) {
    let due = draft.at() + draft.fleet().policy.ack_wait();
    let waits = |role: &&mut Role| {
        role.state() == RoleState::Starting && role.process.is_some() && role.briefs_sent > 0 && role.ack_due.is_none()
    };
    if !matches!(report, Report::NeedsInput(_))
        && draft.p.state() == ProjectState::Briefing
        && let Some(role) = draft.p.roles.get_mut(index).filter(waits)
    {
        role.ack_due = Some(due);
    }
}

fn step_if_legal(draft: &mut Draft<'_, '_>, index: usize, event: RoleEvent) {
    let legal = draft
        .p
        .roles
        .get(index)
        .is_some_and(|role| role.state().next(event).is_ok_and(|moved| moved.from() != moved.to()));
    if legal {
        draft.role_step(index, event);
    }
}

pub(super) fn tell(draft: &mut Draft<'_, '_>, index: usize, report: &Report, text: Option<String>) {
    draft.tell_role(index, What::AgentReported { kind: report.name().to_owned(), text });
}

fn acknowledged(draft: &mut Draft<'_, '_>, index: usize) {
    let Some(role) = draft.p.roles.get_mut(index) else { return };
    if role.state() != RoleState::Starting {
        return;
    }
    role.ack_due = None;
    draft.role_step(index, RoleEvent::Acknowledged);
    draft.tell_role(index, What::BriefAcknowledged);
    advance::advance(draft);
}

/// It is done. Who says so before its acknowledgement arrived has acknowledged by that.
fn done(draft: &mut Draft<'_, '_>, index: usize, report: &Report, text: Option<String>) {
    acknowledged(draft, index);
    let legal = draft.p.roles.get(index).is_some_and(|role| role.state().next(RoleEvent::Finished).is_ok());
    if legal {
        tell(draft, index, report, text);
        draft.role_step(index, RoleEvent::Finished);
        advance::advance(draft);
    }
}

/// It cannot go on: its own words are the evidence, and the project is failed by them.
fn failed(draft: &mut Draft<'_, '_>, index: usize, report: &Report, text: &str) {
    let at = draft.at();
    let Some(role) = draft.p.roles.get(index) else { return };
    if matches!(role.state(), RoleState::Absent | RoleState::Done) {
        return;
    }
    let failure = Failure {
        stage: draft.p.stage(),
        kind: FailureKind::AgentReported,
        program: Program::Agent,
        argv: draft.p.role_spec(index).map(|spec| spec.command.clone()).unwrap_or_default(),
        cwd: role.worktree.as_ref().map(|worktree| worktree.path.clone()),
        ending: Ending::Reason(text.to_owned()),
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: role.started_at.map_or(Span(0), |started| at.since(started)),
        hint: Some("the agent itself reported that it cannot go on".to_owned()),
    };
    tell(draft, index, report, Some(text.to_owned()));
    draft.p.last_failure = Some(Box::new(failure));
    fault::give_up(draft, FailureKind::AgentReported);
}
