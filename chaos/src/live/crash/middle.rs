//! C12 to C22: the session and the brief.

use super::early::{Played, kill_at, met, once, stands};
use super::moment::{after_asking, after_commit, before_asking, before_commit};
use super::rest::Rest;
use super::scene::{Facts, Odd, SO_WITHIN, Scene, differs, missed};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, RoleState};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// The message that creates an agents' session; the keeper's is no message.
const NEW_SESSION: &[&str] = &["'new-session'", "'-d'"];
const SET_BUFFER: &[&str] = &["'set-buffer'", "orch-brief-"];
const ENTER: &[&str] = &["'send-keys'", "'Enter'"];
const DELETE_BUFFER: &[&str] = &["'delete-buffer'", "orch-brief-"];
/// How long a restarted orchestrator is left alone with a tmux that hangs.
const HANGS_FOR: Duration = Duration::from_secs(2);

fn sessions_created(facts: &Facts) -> usize {
    facts.told(|what| matches!(what, What::SessionCreated { .. }))
}

fn acknowledged(facts: &Facts) -> usize {
    facts.told(|what| matches!(what, What::BriefAcknowledged))
}

/// The sessions of the first project that tmux has.
fn sessions(scene: &Scene<'_>, facts: &Facts) -> Result<Vec<(String, Option<String>)>, Odd> {
    let slug = facts.project.as_ref().map(|project| format!("{}-", project.slug)).unwrap_or_default();
    let panes = scene.tmux().panes().map_err(missed)?;
    Ok(panes
        .into_iter()
        .filter(|pane| pane.session.starts_with(&slug))
        .map(|pane| (pane.session, pane.token))
        .collect())
}

pub(super) fn c12(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_asking(NEW_SESSION))?;
    stands(&facts, ProjectState::Launching, &["ensure_session"])?;
    met(sessions(scene, &facts)?.is_empty(), &facts)?;
    let name = facts.project.as_ref().and_then(|project| Some(project.session.as_ref()?.name.clone()));
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(sessions_created(&end), "sessions created")?;
    let now = end.project.as_ref().and_then(|project| Some(project.session.as_ref()?.name.clone()));
    if now != name {
        return Err(differs(format!("session {now:?} instead of {name:?}")));
    }
    Ok("intended, tmux not asked; created under the intended name".to_owned())
}

pub(super) fn c13(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, before_asking(NEW_SESSION))?;
    let tmux = scene.signal_tmux(Signal::STOP)?;
    scene.reach(&mut traced, after_asking(NEW_SESSION))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Launching, &["ensure_session"])?;
    let serve = scene.start()?;
    scene.stop.pass(HANGS_FOR);
    let hung = scene.facts()?;
    if hung.state() != Some(ProjectState::Launching) || sessions_created(&hung) > 0 {
        return Err(differs(format!("while tmux hung it became {:?}", hung.state())));
    }
    tmux.signal(Signal::CONT).map_err(missed)?;
    let end = scene.conclude(serve, Rest::RUNNING)?;
    once(sessions_created(&end), "sessions created")?;
    let is_adopted = end.told(|what| matches!(what, What::SessionCreated { adopted: true })) == 1;
    Ok(format!("asked while tmux hung; nothing judged until it answered, then one session (adopted: {is_adopted})"))
}

pub(super) fn c14(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_commit("session_created"))?;
    stands(&facts, ProjectState::Launching, &["ensure_session"])?;
    let token = facts.project.as_ref().and_then(|project| Some(project.session.as_ref()?.token.0.clone()));
    met(sessions(scene, &facts)?.first().is_some_and(|(_, found)| *found == token), &facts)?;
    let agents = scene.agents();
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(end.told(|what| matches!(what, What::SessionCreated { adopted: true })), "adoptions")?;
    let first = agents.first().map(|(_, process)| *process);
    let now = end.project.as_ref().and_then(|project| project.roles.first()?.process);
    if first != now {
        return Err(differs(format!("agent {now:?} instead of {first:?}")));
    }
    Ok("session and agent there, unconfirmed; adopted by token, the same process".to_owned())
}

pub(super) fn c15(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, before_asking(NEW_SESSION))?;
    let tmux = scene.signal_tmux(Signal::STOP)?;
    scene.reach(&mut traced, after_commit("timed_out"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(sessions_created(&facts) == 0 && facts.told(|what| matches!(what, What::TmuxLost { .. })) > 0, &facts)?;
    let state = facts.state().map_or("none", ProjectState::name);
    tmux.signal(Signal::CONT).map_err(missed)?;
    let serve = scene.start()?;
    let settled = scene.until("running", |facts| facts.state() == Some(ProjectState::Running))?;
    let epoch = settled.project.as_ref().map_or(0, |project| project.epoch.0);
    let end = scene.conclude(serve, Rest { epoch, recoveries: (0, 1), ..Rest::RUNNING })?;
    let made = sessions_created(&end);
    Ok(format!("timed out ({state}), tmux woke later; one session at rest, epoch {epoch}, {made} told"))
}

pub(super) fn c16(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit("\"from\":\"briefing\""))?;
    let spec = scene.spec(2)?;
    // Beside the trace: it stands in the middle of a commit, so that nobody else can write.
    std::thread::scope(|scope| {
        let enqueued = scope.spawn(|| scene.orch.enqueue(&spec));
        let reached = scene.reach(&mut traced, after_asking(&["'new-session'", "'-d'", "'p2-"]));
        let enqueued = enqueued.join().map_err(|_| missed("the harness panicked"))?;
        enqueued.map_err(missed)?;
        reached
    })?;
    let tmux = scene.signal_tmux(Signal::KILL)?;
    traced.kill()?;
    if !tmux.ended_by(Instant::now() + SO_WITHIN) {
        return Err(missed("tmux did not end"));
    }
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Running, &[])?;
    let serve = scene.start()?;
    let runs = |facts: &Facts, id: i64, times: usize| {
        let moved = |what: &What| matches!(what, What::ProjectMoved { to: ProjectState::Running, .. });
        let of = facts.entries.iter().filter(|entry| entry.signal.project_id == Some(ProjectId(id)));
        of.filter(|entry| moved(&entry.signal.what)).count() == times
    };
    scene.until("both running", |facts| runs(facts, 1, 2) && runs(facts, 2, 1))?;
    let end = scene.conclude(serve, Rest { epoch: 2, recoveries: (0, 2), ..Rest::RUNNING })?;
    once(end.told(|what| matches!(what, What::ServerDied { .. })), "events of the server's death")?;
    let recoveries = end.told(|what| matches!(what, What::RecoveryStarted { .. }));
    Ok(format!("one running, one being created; one event, {recoveries} recoveries, both run"))
}

/// Whether the brief lies in the worktree.
fn has_brief(scene: &Scene<'_>, facts: &Facts) -> Result<bool, Odd> {
    Ok(scene.worktree(facts, 0)?.join(".orch/brief.md").exists())
}

pub(super) fn c17(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_asking(SET_BUFFER))?;
    stands(&facts, ProjectState::Briefing, &["hand_brief"])?;
    met(has_brief(scene, &facts)? && scene.tmux().buffers().map_err(missed)?.is_empty(), &facts)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(acknowledged(&end), "acknowledgements")?;
    Ok("brief there, nothing pasted; pasted and acknowledged once".to_owned())
}

pub(super) fn c18(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, before_asking(SET_BUFFER))?;
    // Loading and pasting are one message: only a pane that takes no input comes between them.
    let panes = scene.tmux().panes().map_err(missed)?;
    let pane = panes.into_iter().find(|pane| pane.session.starts_with("p1-"));
    let session = pane.ok_or_else(|| missed("no session"))?.session;
    scene.tmux().let_type(&session, false).map_err(missed)?;
    scene.reach(&mut traced, before_asking(DELETE_BUFFER))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Briefing, &["hand_brief"])?;
    let loaded = scene.tmux().buffers().map_err(missed)?;
    met(loaded.len() == 1, &facts)?;
    scene.tmux().let_type(&session, true).map_err(missed)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(acknowledged(&end), "acknowledgements")?;
    let left = scene.tmux().buffers().map_err(differs)?;
    if !left.is_empty() {
        return Err(differs(format!("buffers are left: {left:?}")));
    }
    Ok("buffer loaded, pane took no input; buffer gone, acknowledged once".to_owned())
}

pub(super) fn c19(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_asking(ENTER))?;
    stands(&facts, ProjectState::Briefing, &["hand_brief"])?;
    met(acknowledged(&facts) == 0, &facts)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(acknowledged(&end), "acknowledgements")?;
    let times = end.told(|what| matches!(what, What::BriefHanded { .. }));
    Ok(format!("pasted, no Enter; handed over anew ({times} told), acknowledged once"))
}

pub(super) fn c20(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, after_asking(ENTER))?;
    stands(&facts, ProjectState::Briefing, &["hand_brief"])?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(acknowledged(&end), "acknowledgements")?;
    let times = end.told(|what| matches!(what, What::BriefHanded { .. }));
    Ok(format!("Enter sent, nothing recorded; acknowledged once, {times} handovers told"))
}

pub(super) fn c21(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_commit("\"from\":\"briefing\""))?;
    let is_starting = facts
        .project
        .as_ref()
        .is_some_and(|project| project.roles.iter().all(|role| role.state() == RoleState::Starting));
    met(facts.state() == Some(ProjectState::Briefing) && is_starting, &facts)?;
    let records = super::rest::names(&scene.sandbox.home().join("spool/new"));
    met(!records.is_empty(), &facts)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(acknowledged(&end), "acknowledgements")?;
    once(end.moved_to(ProjectState::Running), "moves to running")?;
    Ok("the acknowledgement on disk, briefing; running, acknowledged once".to_owned())
}

pub(super) fn c22(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, after_commit("\"from\":\"briefing\""))?;
    met(facts.state() == Some(ProjectState::Running), &facts)?;
    let serve = scene.start()?;
    scene.until("answered by tmux", |facts| facts.told(|what| matches!(what, What::TmuxAnswered { .. })) == 2)?;
    scene.kill_agent()?;
    scene.until("seen to have died", |facts| facts.told(|what| matches!(what, What::AgentDied { .. })) == 1)?;
    scene.conclude(serve, Rest { epoch: 2, recoveries: (1, 1), ..Rest::RUNNING })?;
    Ok("running, nothing watched; its death after the restart was seen, one recovery".to_owned())
}
