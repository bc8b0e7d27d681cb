//! Gaps in what is known: time in which nobody looked, a boot that is over, a database that is older than the world.
//!
//! # The rule
//! Nobody is judged by what was not looked at (G14, C44), proof stays proof (a boot that is over has taken all its
//! processes along, C43), and where the world knows more than the database, nothing is ended or started again before
//! a person has looked (C46).

use super::death;
use super::draft::{Cursor, Draft};
use super::fault;
use super::observe;
use super::{each, with};
use crate::domain::event::{PaneSeen, Trace};
use crate::domain::failure::{Ending, Failure, FailureKind, Program};
use crate::domain::id::{Epoch, ProjectId, Seq, Token};
use crate::domain::project::{SessionIs, Starved, Unknown};
use crate::domain::signal::{Signal, What};
use crate::domain::silence;
use crate::domain::state::{ProjectEvent, ProjectState, RoleState, SuspendReason};
use crate::domain::time::Span;
use std::collections::{BTreeMap, BTreeSet};

/// From which absence on agents are judged afresh. A shorter one is only left out of the count: if every hiccup of a
/// busy machine began all silences anew, a hung agent would never be found.
const AFRESH: Span = Span::from_secs(60);

/// How long a session that no project knows must be there before it is told of: longer than any list of panes can be
/// under way, so that a session which has just been ended is not taken for one.
const STRAY_AFTER: Span = Span::from_secs(30);

/// Nobody looked for `away`: every acknowledgement has its whole time again, and no silence counts that time.
pub(super) fn away(cursor: &mut Cursor<'_>, away: Span, counted: Span) {
    cursor.tell(Signal::fleet(What::OrchestratorAway { away }));
    each(cursor, |draft| {
        let (at, wait) = (draft.at(), draft.fleet().policy.ack_wait());
        if let Some(starved) = draft.p.starved {
            draft.p.starved = Some(Starved { since: (starved.since + counted).min(at), ..starved });
        }
        for index in 0..draft.p.roles.len() {
            let Some(quiet) = draft.p.roles.get(index).map(|role| silence::quiet_since(&draft.p, role)) else {
                continue;
            };
            let Some(role) = draft.p.roles.get_mut(index) else { continue };
            if role.ack_due.is_some() {
                role.ack_due = Some(at + wait);
            }
            if role.process.is_none() {
                continue;
            }
            let vigil = &mut role.vigil;
            if away >= AFRESH {
                (vigil.sign, vigil.seen, vigil.warned, vigil.nudged) = (Some(at), None, false, false);
                // A sample that was taken before says nothing about now.
                vigil.sampling = None;
            } else {
                vigil.sign = Some((quiet + counted).min(at));
                vigil.seen = vigil.seen.map(|(then, sample)| ((then + counted).min(at), sample));
            }
        }
    });
}

/// The machine was started anew: every process that was recorded is gone, whoever has its number now. One event for
/// the fleet, one recovery for each project that no breaker is charged for.
pub(super) fn rebooted(cursor: &mut Cursor<'_>) {
    let hit: Vec<ProjectId> = cursor
        .fleet()
        .projects()
        .filter(|project| project.session_live() || project.roles.iter().any(|role| role.process.is_some()))
        .map(|project| project.id)
        .collect();
    if hit.is_empty() {
        return;
    }
    let agents = cursor.fleet().projects().flat_map(|project| &project.roles).filter(|role| role.process.is_some());
    let agents = u32::try_from(agents.count()).unwrap_or(u32::MAX);
    cursor.tell(Signal::fleet(What::MachineRebooted { agents }));
    for id in hit {
        with(cursor, id, ended_by_reboot);
    }
}

fn ended_by_reboot(draft: &mut Draft<'_, '_>) {
    let over = draft.p.state().is_terminal();
    let mut lost = Vec::new();
    for index in 0..draft.p.roles.len() {
        let Some(role) = draft.p.roles.get(index) else { continue };
        let Some(process) = role.process else {
            if role.unexplained && role.state() == RoleState::Dead {
                lost.push(index);
            }
            continue;
        };
        let expected = over || role.state() == RoleState::Done;
        observe::record_death(draft, index, process, expected);
        if !expected {
            fault::condemn(draft, index);
            lost.push(index);
        }
    }
    if let Some(session) = draft.p.session.as_mut().filter(|session| session.is == SessionIs::Live) {
        session.is = SessionIs::Gone;
    }
    if over {
        return;
    }
    let ending = Ending::Lost("the machine was rebooted: no process outlives its boot".to_owned());
    let what = vec!["boot".to_owned()];
    let mut failure = Failure::of_operation(draft.p.stage(), FailureKind::ServerDied, what, "");
    (failure.ending, failure.program) = (ending, Program::Tmux);
    for index in &lost {
        death::explained(draft, *index, &failure);
    }
    // Where every agent had been done there is nothing to recover.
    if !lost.is_empty() || draft.p.roles.iter().any(|role| role.state() != RoleState::Done) {
        fault::fault_or_join(draft, None, failure);
    }
}

/// The database is older than it was: what has happened since is not known, so every unfinished project rests.
pub(super) fn restored(cursor: &mut Cursor<'_>, had: Seq, has: Seq) {
    cursor.tell(Signal::fleet(What::StoreRestored { had, has }));
    each(cursor, |draft| {
        rest(draft, &format!("the database was restored from a backup: its journal ends at {has}, not at {had}"));
    });
}

/// Traces that were found when the database was opened, newer than what it knows.
pub(super) fn traced(cursor: &mut Cursor<'_>, traces: &[Trace]) {
    let mut strays = BTreeSet::new();
    let mut known: BTreeMap<ProjectId, Vec<&Trace>> = BTreeMap::new();
    for trace in traces {
        match cursor.fleet().of_slug(&trace.slug) {
            Some(project) => known.entry(project.id).or_default().push(trace),
            None => {
                strays.insert((trace.slug.clone(), trace.what.clone()));
            }
        }
    }
    for (id, traces) in known {
        with(cursor, id, |draft| quarantine(draft, &traces));
    }
    for (_, trace) in strays {
        cursor.tell(Signal::fleet(What::StrayFound { trace }));
    }
}

/// Sessions on our server whose token no project knows: newer ones put their project into quarantine, others are told
/// of once they have been there for a while. None of them is touched. Those of our own past are [`super::late`]'s.
///
/// One that holds an agent which has to be gone before the next may start goes with it: its name may say an older
/// epoch than the newest that was found.
pub(super) fn unknown_sessions(cursor: &mut Cursor<'_>, panes: &[PaneSeen]) {
    let mut known: BTreeSet<&Token> = BTreeSet::new();
    for project in cursor.fleet().projects() {
        known.extend(project.session.as_ref().map(|session| &session.token));
        known.extend(&project.stale);
    }
    let unknown: BTreeMap<&Token, &PaneSeen> = panes
        .iter()
        .filter_map(|pane| Some((pane.session_token.as_ref()?, pane)))
        .filter(|(token, _)| !known.contains(token) && !cursor.fleet().retired.contains_key(token))
        .collect();
    let before = &cursor.fleet().strays;
    if unknown.is_empty() && before.is_empty() {
        return;
    }
    let lost: BTreeMap<&Token, ProjectId> = panes
        .iter()
        .filter_map(|pane| {
            let session = pane.session_token.as_ref().filter(|token| unknown.contains_key(token))?;
            let role = pane.role_token.as_ref()?;
            let whose = cursor.fleet().projects().find(|project| project.stale.contains(role))?;
            Some((session, whose.id))
        })
        .collect();
    let (mut strays, mut newer) = (BTreeMap::new(), Vec::new());
    for (token, pane) in unknown.into_iter().filter(|(token, _)| !lost.contains_key(token)) {
        if let Some(trace) = newer_session(cursor, token, pane) {
            newer.push(trace);
            continue;
        }
        let since = before.get(token).copied().unwrap_or(Some(cursor.at()));
        let due = since.is_some_and(|since| cursor.at().since(since) >= STRAY_AFTER);
        strays.insert(token.clone(), since.filter(|_| !due));
        if due {
            let trace = format!("the session {} with the mark {token}", pane.session);
            cursor.tell(Signal::fleet(What::StrayFound { trace }));
        }
    }
    cursor.remember_strays(strays);
    for (token, id) in lost {
        with(cursor, id, |draft| draft.p.stale.push(token.clone()));
    }
    traced(cursor, &newer);
}

fn newer_session(cursor: &Cursor<'_>, token: &Token, pane: &PaneSeen) -> Option<Trace> {
    let (slug, epoch) = pane.session.rsplit_once("-e")?;
    let epoch = Epoch(epoch.parse().ok()?);
    let project = cursor.fleet().of_slug(slug)?;
    let what = format!("the session {}", pane.session);
    (epoch > project.epoch).then(|| Trace { slug: slug.to_owned(), epoch, token: Some(token.clone()), what })
}

/// The world knows newer incarnations of this project than the database: it rests, and the next one is above them all.
/// Their tokens are kept as stale ones, so that they have to be gone before the next may start; a resting project ends
/// nobody, so that is not before an operator resumes or cancels it.
fn quarantine(draft: &mut Draft<'_, '_>, traces: &[&Trace]) {
    let known = draft.p.epoch;
    let Some(newest) = traces.iter().filter(|trace| trace.epoch > known).max_by_key(|trace| trace.epoch) else {
        return;
    };
    let what = &newest.what;
    draft.p.epoch = newest.epoch;
    for token in traces.iter().filter_map(|trace| trace.token.as_ref()) {
        if !draft.p.stale.contains(token) {
            draft.p.stale.push(token.clone());
        }
    }
    let trace = what.clone();
    draft.tell(What::Quarantined { known, found: newest.epoch, trace });
    rest(draft, &format!("{what} is newer than the database, which knew epoch {known}"));
}

/// Nothing is attempted until an operator says so.
fn rest(draft: &mut Draft<'_, '_>, why: &str) {
    if draft.p.state().is_terminal() {
        return;
    }
    let what = vec!["trust".to_owned(), "the database".to_owned()];
    let mut failure = Failure::of_operation(draft.p.stage(), FailureKind::Invalid, what, why);
    failure.hint = Some("look at its agents with `orch attach`, then resume or cancel it".to_owned());
    draft.p.last_failure = Some(Box::new(failure));
    for role in &mut draft.p.roles {
        role.ack_due = None;
    }
    if let Some(incident) = &mut draft.p.incident {
        incident.retry_at = None;
    }
    // What it was let go on for was before that: it does not take its slot either.
    draft.p.due_back = None;
    draft.p.reason = Some(SuspendReason::NeedsOperator);
    draft.p.unknown = Some(Unknown { what: why.to_owned(), since: draft.at(), heals: false });
    if draft.p.state() != ProjectState::Suspended {
        draft.step(ProjectEvent::Suspended, None);
    }
}
