//! C01 to C11 and C35: from the queue to everything that a session needs.

use super::call::Call;
use super::moment::{after_commit, after_commit_beside, after_naming, before_commit, before_naming, child_opened};
use super::rest::{Rest, names};
use super::scene::{Facts, Odd, Scene, differs, missed};
use crate::live::process::{Held, identify};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use serde::Deserialize;

/// The words of the one git that is followed.
const GIT: &[&str] = &["worktree", "add"];

/// What there is to be told of a point that is as expected.
pub(super) type Played = Result<String, Odd>;

#[derive(Deserialize)]
struct Answer {
    id: ProjectId,
    new: bool,
}

/// Kills the orchestrator at that moment of its first start, with one project in the queue.
pub(super) fn kill_at(scene: &Scene<'_>, moment: impl FnMut(&Call) -> bool) -> Result<Facts, Odd> {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, moment)?;
    traced.kill()?;
    scene.facts()
}

/// Refuses what was met unless it is the point.
pub(super) fn met(is_so: bool, facts: &Facts) -> Result<(), Odd> {
    if is_so {
        return Ok(());
    }
    let state = facts.state().map_or("no project", ProjectState::name);
    Err(missed(format!("what was met is another point: {state}, {:?} open", facts.open)))
}

/// The state, and the one effect whose outcome is unknown (none: no effect).
pub(super) fn stands(facts: &Facts, state: ProjectState, open: &[&str]) -> Result<(), Odd> {
    met(facts.state() == Some(state) && facts.open == open, facts)
}

fn enqueue_killed(scene: &Scene<'_>, moment: impl FnMut(&Call) -> bool) -> Result<(), Odd> {
    let spec = scene.spec(1)?.display().to_string();
    let mut traced = scene.trace_command(&["enqueue", "--json", &spec], None)?;
    scene.reach(&mut traced, moment)?;
    traced.kill()?;
    let written = scene.written();
    if written.is_empty() { Ok(()) } else { Err(missed(format!("it had answered {written:?}"))) }
}

/// The same spec again, as its author would after no answer.
fn retry(scene: &Scene<'_>) -> Result<Answer, Odd> {
    let spec = scene.spec(1)?;
    let said = scene.orch.enqueue_answer(&spec).map_err(differs)?;
    serde_json::from_str(&said).map_err(|error| differs(format!("orch enqueue answered {said:?}: {error}")))
}

pub(super) fn c01(scene: &Scene<'_>) -> Played {
    enqueue_killed(scene, before_commit("project_enqueued"))?;
    let facts = scene.facts()?;
    if facts.project.is_some() || !facts.entries.is_empty() {
        return Err(differs("something of it is in the database"));
    }
    let Answer { id, new } = retry(scene)?;
    let again = retry(scene)?;
    if (id, new, again.id, again.new) != (ProjectId(1), true, ProjectId(1), false) {
        return Err(differs(format!("retries were answered {id} (new: {new}) and {} (new: {})", again.id, again.new)));
    }
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok("no row; the retry was new, the next one not".to_owned())
}

pub(super) fn c02(scene: &Scene<'_>) -> Played {
    enqueue_killed(scene, after_commit("project_enqueued"))?;
    let facts = scene.facts()?;
    met(facts.state() == Some(ProjectState::Queued), &facts)?;
    let Answer { id, new } = retry(scene)?;
    if (id, new) != (ProjectId(1), false) {
        return Err(differs(format!("the retry was answered {id}, new: {new}")));
    }
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok("queued, not answered; the retry got the same id".to_owned())
}

pub(super) fn c03(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_commit("\"from\":\"queued\""))?;
    stands(&facts, ProjectState::Queued, &[])?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok("queued; taken on after the restart".to_owned())
}

pub(super) fn c04(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, after_commit("\"from\":\"queued\""))?;
    stands(&facts, ProjectState::Provisioning, &[])?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    once(end.moved_to(ProjectState::Provisioning), "claims")?;
    Ok("provisioning; gone on with in epoch 1, claimed once".to_owned())
}

/// Refuses any number but one.
pub(super) fn once(found: usize, what: &str) -> Result<(), Odd> {
    if found == 1 { Ok(()) } else { Err(differs(format!("{found} {what} instead of one"))) }
}

fn intended(facts: &Facts, name: &str) -> usize {
    facts.told(|what| matches!(what, What::EffectIntended { effect, .. } if effect == name))
}

pub(super) fn c05(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, after_commit("ensure_worktree"))?;
    stands(&facts, ProjectState::Provisioning, &["ensure_worktree"])?;
    met(!scene.worktree(&facts, 0)?.exists(), &facts)?;
    let end = scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok(format!("intended, no directory; ordered {} times in all", intended(&end, "ensure_worktree")))
}

pub(super) fn c06(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(Some(GIT))?;
    let mut child = None;
    scene.reach(&mut traced, child_opened("/index.lock", &mut child))?;
    let git = child.and_then(identify).ok_or_else(|| missed("git is gone"))?;
    let git = Held::of(git).map_err(missed)?.ok_or_else(|| missed("git is gone"))?;
    // So that it is still there when the next orchestrator looks.
    traced.hold(git.id.pid);
    traced.kill()?;
    let facts = scene.facts()?;
    stands(&facts, ProjectState::Provisioning, &["ensure_worktree"])?;
    let worktrees = scene.sandbox.git(&scene.sandbox.repo(0), &["worktree", "list", "--porcelain"]).map_err(missed)?;
    met(worktrees.contains("locked initializing"), &facts)?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    if !git.ended_by(std::time::Instant::now()) {
        return Err(differs("the old git still runs"));
    }
    Ok("husk locked `initializing`, git alive; git ended, worktree made anew".to_owned())
}

pub(super) fn c07(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_commit("ensure_files"))?;
    stands(&facts, ProjectState::Provisioning, &["ensure_worktree"])?;
    let git_file = scene.worktree(&facts, 0)?.join(".git");
    let made = std::fs::metadata(&git_file).and_then(|is| is.modified());
    let made = made.map_err(|_| missed("the worktree is not there"))?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    if std::fs::metadata(&git_file).and_then(|is| is.modified()).ok() != Some(made) {
        return Err(differs("the worktree was made anew"));
    }
    Ok("worktree there, unconfirmed; confirmed, not made anew".to_owned())
}

pub(super) fn c08(scene: &Scene<'_>) -> Played {
    // Worktrees of one repository are made in turn. This is the outbox's page, not the journal's.
    let facts = kill_at(scene, after_commit_beside("\"effect\":\"ensure_worktree\",\"repo\"", "confirmed"))?;
    let project = facts.project.as_ref().ok_or_else(|| missed("no project"))?;
    let ready: Vec<bool> = project.roles.iter().map(|role| role.has_worktree()).collect();
    met(ready.iter().filter(|ready| **ready).count() == 1 && ready.len() == 2, &facts)?;
    let kept = ready.iter().position(|ready| *ready).unwrap_or(0);
    let git_file = scene.worktree(&facts, kept)?.join(".git");
    let made = std::fs::metadata(&git_file).and_then(|is| is.modified()).map_err(missed)?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    if std::fs::metadata(&git_file).and_then(|is| is.modified()).ok() != Some(made) {
        return Err(differs("the worktree that was done was made anew"));
    }
    Ok("one of two confirmed; kept, the other done".to_owned())
}

fn temporary(scene: &Scene<'_>, facts: &Facts) -> Result<bool, Odd> {
    Ok(names(&scene.worktree(facts, 0)?).iter().any(|name| name.ends_with(".tmp")))
}

pub(super) fn c09(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_naming(&["/worktrees/", "CLAUDE.md"]))?;
    stands(&facts, ProjectState::Provisioning, &["ensure_files"])?;
    let is_there = scene.worktree(&facts, 0)?.join("CLAUDE.md").exists();
    met(temporary(scene, &facts)? && !is_there, &facts)?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok("temporary file, no CLAUDE.md; none left, CLAUDE.md right".to_owned())
}

pub(super) fn c10(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, after_naming(&["/worktrees/", "CLAUDE.md"]))?;
    stands(&facts, ProjectState::Provisioning, &["ensure_files"])?;
    let file = scene.worktree(&facts, 0)?.join("CLAUDE.md");
    let number = |path: &std::path::Path| std::fs::metadata(path).map(|is| std::os::unix::fs::MetadataExt::ino(&is));
    let was = number(&file).map_err(|_| missed("CLAUDE.md is not there"))?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    if number(&file).ok() != Some(was) {
        return Err(differs("CLAUDE.md was written again although it was right"));
    }
    Ok("CLAUDE.md there, unconfirmed; the same file confirmed".to_owned())
}

pub(super) fn c11(scene: &Scene<'_>) -> Played {
    let facts = kill_at(scene, before_commit("ensure_session"))?;
    stands(&facts, ProjectState::Provisioning, &[])?;
    let is_ready =
        facts.project.as_ref().is_some_and(|project| project.roles.iter().all(|role| role.claude_md.is_some()));
    met(is_ready, &facts)?;
    scene.conclude(scene.start()?, Rest::RUNNING)?;
    Ok("everything there, no session intended; gone on with".to_owned())
}

pub(super) fn c35(scene: &Scene<'_>) -> Played {
    scene.enqueue(1)?;
    let mut traced = scene.trace(None)?;
    scene.reach(&mut traced, after_commit("orchestrator_started"))?;
    let pid = traced.pid();
    traced.kill()?;
    let facts = scene.facts()?;
    let lease = facts.lease.as_ref().ok_or_else(|| missed("no lease"))?;
    met(lease.holder.pid == pid && !lease.released, &facts)?;
    let epoch = lease.epoch;
    let serve = scene.start()?;
    let now = scene.facts()?.lease.map(|lease| lease.epoch);
    if now != Some(epoch + 1) {
        return Err(differs(format!("the lease's epoch is {now:?} after {epoch}")));
    }
    scene.conclude(serve, Rest::RUNNING)?;
    Ok(format!("lease {epoch} held by the dead; the next start got {}", epoch + 1))
}
