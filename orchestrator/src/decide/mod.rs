//! What to do: pure functions of (view, event, now).
//!
//! [`decide`] reads the fleet as the last commit left it, one event and the moment, and answers with new values,
//! minted moves, effects and signals. It does nothing itself. Progress is *level-triggered*: every event notes what
//! it changes, then [`advance`] compares what a project has with what its state demands and orders what is missing.
//! So a lost event delays a step and never loses it, and a restart needs no code of its own.
//!
//! Never here: I/O, a clock, entropy, hash order (the lints below refuse them), or any mention of how an effect is
//! performed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod advance;
mod credit;
mod death;
mod draft;
mod fault;
mod fleet;
mod gap;
mod late;
mod observe;
mod operator;
mod report;
mod settle;
mod sight;
mod silence;
mod slot;

use crate::domain::decision::Decision;
use crate::domain::effect::Effect;
use crate::domain::event::{Event, Happened};
use crate::domain::fleet::Fleet;
use crate::domain::id::ProjectId;
use crate::domain::signal::{Signal, What};
use crate::domain::state::ProjectEvent;
use crate::domain::time::Now;
use draft::{Cursor, Draft};

/// Decides what one event means.
///
/// Total: it has an answer to every event in every state; an event that fits nothing changes nothing.
pub fn decide(fleet: &Fleet, happened: &Happened, now: &Now) -> Decision {
    let mut cursor = Cursor::new(fleet, happened, now);
    match &happened.event {
        Event::Started => started(&mut cursor),
        Event::Admitted { project } => with(&mut cursor, *project, admitted),
        Event::Settled { effect, project, result, .. } => settle::settled(&mut cursor, *effect, *project, result),
        Event::ProcessGone { project, role, process } => {
            with(&mut cursor, *project, |draft| observe::process_gone(draft, role, *process));
        }
        Event::SocketRestored { server } => cursor.tell(Signal::fleet(What::SocketRestored { server: *server })),
        Event::PanesListed { server, panes } => observe::panes_listed(&mut cursor, *server, panes),
        Event::TmuxLost { reason } => observe::tmux_lost(&mut cursor, reason),
        Event::FilesTouched { project, role } => {
            with(&mut cursor, *project, |draft| observe::files_touched(draft, role));
        }
        Event::Reported { project, role, epoch, token, report } => {
            report::reported(&mut cursor, *project, role, (*epoch, token), report);
        }
        Event::SpoolRejected { name, reason } => {
            let (name, reason) = (name.clone(), reason.clone());
            cursor.tell(Signal::fleet(What::SpoolRejected { name, reason, stale: false }));
        }
        // The turn that this event causes has read the spool and the queue.
        Event::SpoolTouched => {}
        Event::Away { away, counted } => gap::away(&mut cursor, *away, *counted),
        Event::Rebooted => gap::rebooted(&mut cursor),
        Event::Restored { had, has } => gap::restored(&mut cursor, *had, *has),
        Event::Traced(traces) => gap::traced(&mut cursor, traces),
        Event::SweepDue => sweep(&mut cursor),
        Event::Due { project } => with(&mut cursor, *project, fault::due),
        Event::FleetDue => fleet::due(&mut cursor),
        Event::Requested { project, request } => {
            with(&mut cursor, *project, |draft| operator::requested(draft, *request));
        }
        Event::FleetRequested { request } => fleet::requested(&mut cursor, *request),
    }
    fleet::opened(&mut cursor);
    cursor.finish()
}

/// Runs one project's part of a decision, if the project is unfinished.
fn with(cursor: &mut Cursor<'_>, id: ProjectId, part: impl FnOnce(&mut Draft<'_, '_>)) {
    let Some(project) = cursor.project(id) else { return };
    let mut draft = Draft::new(cursor, project);
    part(&mut draft);
    credit::tidy(&mut draft);
    silence::arm(&mut draft);
    draft.close();
}

/// Whatever can go on without tmux goes on; the rest waits for its first answer.
fn started(cursor: &mut Cursor<'_>) {
    each(cursor, |draft| {
        // Whether a brief reached its pane before the last process ended is not known: it is handed over again at
        // once (C17 to C20), and an agent that had it already ignores the second.
        let at = draft.at();
        for role in draft.p.roles.iter_mut().filter(|role| role.process.is_some() && role.ack_due.is_some()) {
            role.ack_due = Some(at);
            // Handing it over again is no second try: restarts alone make nobody deaf. Never back to the first, for
            // what an unfinished one left on the line has to be wiped.
            role.briefs_sent = role.briefs_sent.saturating_sub(1).max(1);
        }
        advance::advance(draft);
    });
}

/// Gives a project the free slot: one that rests goes on, one that is queued begins.
fn admitted(draft: &mut Draft<'_, '_>) {
    if draft.fleet().next_admissible() != Some(draft.p.id) {
        return;
    }
    if draft.p.due_back.is_some() {
        slot::given(draft);
    } else if draft.step(ProjectEvent::Admitted, None) {
        advance::advance(draft);
    }
}

/// Looks at everything once, whatever the event sources said or did not say.
fn sweep(cursor: &mut Cursor<'_>) {
    cursor.order(Effect::ListPanes);
    cursor.order(Effect::Survey);
    each(cursor, |draft| {
        observe::look_again(draft);
        silence::sample(draft);
        advance::advance(draft);
    });
}

fn each(cursor: &mut Cursor<'_>, mut part: impl FnMut(&mut Draft<'_, '_>)) {
    let ids: Vec<ProjectId> = cursor.fleet().projects().map(|project| project.id).collect();
    for id in ids {
        with(cursor, id, &mut part);
    }
}
