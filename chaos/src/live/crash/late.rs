//! C23 to C34 and C36: deaths, ends and recoveries.

use super::early::{Played, met, once, stands};
use super::moment::{after_asking, after_commit, after_naming, before_asking, before_commit};
use super::rest::{Rest, names};
use super::scene::{CLAUDE_MD, Facts, Odd, Scene, differs, missed};
use super::trace::Traced;
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Span;
use std::fs;

/// Where a project is, at the moment it runs.
const RUNS: &str = "\"from\":\"briefing\"";
/// Where it stops running.
const ENDS: &str = "\"from\":\"running\"";
/// What a sweep must find within so long of a start (C23).
const SEEN_WITHIN: Span = Span::from_secs(5);

/// One recovery, in the second epoch.
const RECOVERED: Rest = Rest { epoch: 2, recoveries: (1, 1), ..Rest::RUNNING };

/// The orchestrator under trace, its one project running.
fn running(scene: &Scene<'_>) -> Result<Traced, Odd> {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit(RUNS))?;
    Ok(traced)
}

fn deaths(facts: &Facts) -> usize {
    facts.told(|what| matches!(what, What::AgentDied { .. }))
}

fn recoveries(facts: &Facts) -> usize {
    facts.told(|what| matches!(what, What::RecoveryStarted { .. }))
}

pub(super) fn c23(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.kill_agent()?;
    scene.reach(&mut traced, before_commit("agent_died"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Running, &[])?;
    let end = scene.conclude(scene.start()?, RECOVERED)?;
    once(deaths(&end), "deaths told")?;
    let at = |is_it: fn(&What) -> bool| {
        end.entries.iter().rev().find(|entry| is_it(&entry.signal.what)).map(|entry| entry.at)
    };
    let started = at(|what| matches!(what, What::OrchestratorStarted { .. }));
    let died = at(|what| matches!(what, What::AgentDied { .. }));
    let (Some(started), Some(died)) = (started, died) else { return Err(differs("no death is told")) };
    if died.since(started) > SEEN_WITHIN {
        return Err(differs(format!("seen {} us after the start", died.since(started).0)));
    }
    Ok("died, nothing recorded; seen within 5 s of the start, one recovery".to_owned())
}

pub(super) fn c24(scene: &Scene<'_>) -> Played {
    running(scene)?.kill()?;
    scene.sandbox.release().map_err(missed)?;
    scene.wait("ended", || scene.agents().is_empty())?;
    let facts = scene.facts()?;
    met(facts.state() == Some(ProjectState::Running) && deaths(&facts) == 0, &facts)?;
    scene.conclude(scene.start()?, Rest::COMPLETED)?;
    Ok("finished and exited while nobody looked; completed, no recovery".to_owned())
}

pub(super) fn c25(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.reach(&mut traced, before_commit("project_certified"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Running, &[])?;
    let end = scene.conclude(scene.start()?, Rest::COMPLETED)?;
    once(end.told(|what| matches!(what, What::ProjectCertified { .. })), "certificates")?;
    Ok("done told, running; looked at again, completed once".to_owned())
}

pub(super) fn c26(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.reach(&mut traced, after_commit("project_certified"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Completed, &["end_session"])?;
    met(facts.project.as_ref().is_some_and(|project| project.finalizer), &facts)?;
    scene.conclude(scene.start()?, Rest::COMPLETED)?;
    Ok("completed, session there; session ended, never reverted".to_owned())
}

pub(super) fn c27(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.reach(&mut traced, after_asking(&["'kill-session'"]))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Completed, &["end_session"])?;
    scene.wait("session gone", || scene.tmux().tokens().is_ok_and(|tokens| tokens.is_empty()))?;
    met(!scene.agents().is_empty(), &facts)?;
    scene.conclude(scene.start()?, Rest::COMPLETED)?;
    Ok("session killed, a process of it alive; reaped before the end was confirmed".to_owned())
}

pub(super) fn c28(scene: &Scene<'_>) -> Played {
    let foreign = "# Somebody else's\n";
    let repo = scene.sandbox.repo(0);
    fs::write(repo.join("CLAUDE.md"), foreign).map_err(missed)?;
    scene.sandbox.git(&repo, &["add", "CLAUDE.md"]).map_err(missed)?;
    scene.sandbox.git(&repo, &["commit", "-q", "-m", "Add CLAUDE.md"]).map_err(missed)?;
    let facts = super::early::kill_at(scene, after_naming(&["/backups/parked/", "CLAUDE.md"]))?;
    stands(&facts, ProjectState::Provisioning, &["ensure_files"])?;
    let path = scene.worktree(&facts, 0)?;
    met(fs::read_to_string(path.join("CLAUDE.md")).is_ok_and(|text| text != CLAUDE_MD), &facts)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    let slug = end.project.as_ref().map(|project| project.slug.clone()).unwrap_or_default();
    let parked = scene.sandbox.home().join(format!("backups/parked/{slug}/role-1"));
    let found = names(&parked);
    if found.is_empty()
        || found.iter().any(|name| fs::read_to_string(parked.join(name)).ok().as_deref() != Some(foreign))
    {
        return Err(differs(format!("parked: {found:?}")));
    }
    once(found.len(), "parked files")?;
    let log = scene.sandbox.git(&path, &["log", "--format=%s", "-1"]).map_err(differs)?;
    if !log.contains("step 1") {
        return Err(differs(format!("the agent's commit is gone: {log:?}")));
    }
    Ok("parked, its place not filled; parked once, commits kept".to_owned())
}

pub(super) fn c29(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.reach(&mut traced, before_commit(ENDS))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Running, &[])?;
    let end = scene.conclude(scene.start()?, Rest::FAILED)?;
    once(end.told(|what| matches!(what, What::ProjectFailed { .. })), "failures told")?;
    Ok("failure reported, running; failed once with the same reason".to_owned())
}

pub(super) fn c30(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.reach(&mut traced, after_commit(ENDS))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(facts.state() == Some(ProjectState::Failed) && !scene.agents().is_empty(), &facts)?;
    scene.conclude(scene.start()?, Rest::FAILED)?;
    Ok("failed, a process of it alive; reaped".to_owned())
}

pub(super) fn c31(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.kill_agent()?;
    scene.reach(&mut traced, after_commit("recovery_started"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(recoveries(&facts) == 1 && scene.agents().is_empty(), &facts)?;
    let end = scene.conclude(scene.start()?, Rest { recoveries: (1, 2), ..RECOVERED })?;
    let counted = end.project.as_ref().map_or(0, |project| project.breaker.attempts.len());
    if counted < recoveries(&end) {
        return Err(differs(format!("{counted} attempts counted, {} made", recoveries(&end))));
    }
    Ok(format!("one attempt counted, none made; {counted} counted at rest, recovered"))
}

pub(super) fn c32(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.kill_agent()?;
    scene.reach(&mut traced, before_commit("\"epoch\":2,\"event\":\"agent_started\""))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(facts.state() == Some(ProjectState::Launching) && facts.open == ["respawn"], &facts)?;
    let again = scene.agents();
    let [(agent, process)] = again.as_slice() else { return Err(missed("no agent was started again")) };
    met(agent.epoch.0 == 2, &facts)?;
    let end = scene.conclude(scene.start()?, RECOVERED)?;
    let now = end.project.as_ref().and_then(|project| project.roles.first()?.process);
    if now != Some(*process) {
        return Err(differs(format!("agent {now:?} instead of {process}")));
    }
    Ok("started again, unconfirmed; the same process adopted, epoch 2, one recovery".to_owned())
}

fn breaker(facts: &Facts) -> Option<&orchestrator::domain::breaker::Breaker> {
    facts.project.as_ref().map(|project| &project.breaker)
}

pub(super) fn c33(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit("\"probe\":true"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(breaker(&facts).is_some_and(|breaker| breaker.state == BreakerState::HalfOpen), &facts)?;
    fs::write(scene.sandbox.dir().join("well"), "").map_err(missed)?;
    let end = scene.conclude(scene.start()?, Rest { epoch: 3, recoveries: (2, 2), ..Rest::RUNNING })?;
    once(end.told(|what| matches!(what, What::RecoveryStarted { probe: true, .. })), "probes")?;
    if breaker(&end).is_none_or(|breaker| breaker.state != BreakerState::Closed) {
        return Err(differs("the probe's success did not close the breaker"));
    }
    Ok("half-open; the one probe went on and closed it".to_owned())
}

pub(super) fn c34(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit("breaker_moved"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    let was = breaker(&facts).cloned().ok_or_else(|| missed("no breaker"))?;
    met(was.state == BreakerState::Open && was.retry_at.is_some(), &facts)?;
    let rest = Rest { state: ProjectState::Suspended, epoch: 2, recoveries: (1, 1) };
    let end = scene.conclude(scene.start()?, rest)?;
    if breaker(&end) != Some(&was) {
        return Err(differs(format!("{:?} became {:?}", was, breaker(&end))));
    }
    Ok("open; still open with the same end, nothing tried".to_owned())
}

pub(super) fn c32b(scene: &Scene<'_>) -> Played {
    let mut traced = running(scene)?;
    scene.kill_agent()?;
    scene.reach(&mut traced, before_asking(&["respawn-pane"]))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Launching, &["respawn"])?;
    met(scene.agents().is_empty(), &facts)?;
    scene.conclude(scene.start()?, RECOVERED)?;
    Ok("intended, tmux not asked; started in its pane, epoch 2, one recovery".to_owned())
}

pub(super) fn c36(scene: &Scene<'_>) -> Played {
    running(scene)?.kill()?;
    // Something to be reconciled.
    scene.kill_agent()?;
    scene.wait("ended", || scene.agents().is_empty())?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, before_commit("agent_died"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Running, &[])?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit("agent_died"))?;
    traced.kill()?;
    let facts = scene.facts()?;
    met(deaths(&facts) == 1, &facts)?;
    let end = scene.conclude(scene.start()?, RECOVERED)?;
    once(deaths(&end), "deaths told")?;
    Ok("killed before and after a death was recorded; told once, recovered once".to_owned())
}
