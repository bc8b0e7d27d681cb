//! Where a restart must lead to, and that a second one changes nothing.

use super::scene::{CLAUDE_MD, Facts, Odd, Scene, differs};
use crate::live::orch::Serve;
use orchestrator::domain::id::Epoch;
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, RoleState};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Two sweeps and a little: what a second pass would change, it has changed by then.
const TWO_SWEEPS: Duration = Duration::from_millis(2_500);

/// Where the first project must come to rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// In which state.
    pub(super) state: ProjectState,
    /// In which epoch.
    pub(super) epoch: u32,
    /// How many recoveries were counted by then, at least and at most.
    pub(super) recoveries: (usize, usize),
}

impl Rest {
    /// Running as if nothing had happened: the first epoch, no recovery.
    pub(super) const RUNNING: Self = Self { state: ProjectState::Running, epoch: 1, recoveries: (0, 0) };
    /// Completed likewise.
    pub(super) const COMPLETED: Self = Self { state: ProjectState::Completed, ..Self::RUNNING };
    /// Failed likewise.
    pub(super) const FAILED: Self = Self { state: ProjectState::Failed, ..Self::RUNNING };
}

impl Scene<'_> {
    /// Waits for the rest, looks whether everything there is as it must be, starts once more and sees nothing change;
    /// a running project is then let finish. What was seen at the first rest.
    pub(super) fn conclude(&self, serve: Serve, rest: Rest) -> Result<Facts, Odd> {
        let resting = |facts: &Facts| {
            facts.state() == Some(rest.state)
                && facts.open.is_empty()
                && facts.project.as_ref().is_some_and(|project| {
                    let works = project.roles.iter().all(|role| role.state() == RoleState::Working);
                    // Its first report of progress is the last that an agent at its gate has to tell.
                    !project.finalizer && (works || rest.state != ProjectState::Running)
                })
        };
        let facts = self.until(&format!("{} and at rest", rest.state.name()), resting)?;
        self.look(&facts, rest)?;
        let serve = self.second_pass(serve, &facts)?;
        if rest.state == ProjectState::Running {
            self.sandbox.release().map_err(differs)?;
            let done = self.until("completed and at rest", |facts| {
                facts.state() == Some(ProjectState::Completed)
                    && facts.project.as_ref().is_some_and(|project| !project.finalizer)
            })?;
            self.look(&done, Rest { state: ProjectState::Completed, ..rest })?;
        }
        serve.stop().map_err(differs)?;
        self.orch.audit().map_err(differs)?;
        Ok(facts)
    }

    /// Everything that must be so at rest, of the record and of the world.
    fn look(&self, facts: &Facts, rest: Rest) -> Result<(), Odd> {
        let project = facts.project.as_ref().ok_or_else(|| differs("the project is gone"))?;
        if project.epoch != Epoch(rest.epoch) {
            return Err(differs(format!("epoch {} instead of {}", project.epoch, rest.epoch)));
        }
        let recoveries = facts.told(|what| matches!(what, What::RecoveryStarted { .. }));
        if recoveries < rest.recoveries.0 || recoveries > rest.recoveries.1 {
            return Err(differs(format!("{recoveries} recoveries instead of {:?}", rest.recoveries)));
        }
        let ended = facts.entries.iter().filter(|entry| {
            let is_it = matches!(entry.signal.what, What::ProjectMoved { to, .. } if to == rest.state);
            is_it && entry.signal.project_id == Some(project.id)
        });
        let ended = ended.count();
        if rest.state.is_terminal() && ended != 1 {
            return Err(differs(format!("{} {ended} times", rest.state.name())));
        }
        self.sessions(project, rest.state)?;
        self.processes(project, rest.state)?;
        self.worktrees(project)
    }

    /// One session under its token while it runs, none after.
    fn sessions(&self, project: &Project, state: ProjectState) -> Result<(), Odd> {
        if state == ProjectState::Suspended {
            // What is contained is left for a person to look at.
            return Ok(());
        }
        let panes = self.tmux().panes().map_err(differs)?;
        let ours = panes.iter().filter(|pane| pane.session.starts_with(&format!("{}-", project.slug)));
        let mut found: Vec<(&str, Option<&str>)> =
            ours.map(|pane| (pane.session.as_str(), pane.token.as_deref())).collect();
        found.dedup();
        let known = project.session.as_ref().map(|session| (session.name.as_str(), Some(session.token.0.as_str())));
        let wanted: Vec<_> = if state == ProjectState::Running { known.into_iter().collect() } else { Vec::new() };
        let is_live = state != ProjectState::Running || project.session_live();
        if found == wanted && is_live {
            Ok(())
        } else {
            Err(differs(format!("sessions {found:?} instead of {wanted:?}, live: {}", project.session_live())))
        }
    }

    /// One process tree a role under its token while it runs, none after.
    fn processes(&self, project: &Project, state: ProjectState) -> Result<(), Odd> {
        let mut found: Vec<String> = self
            .agents()
            .into_iter()
            .filter(|(agent, _)| agent.project == project.id)
            .map(|(agent, _)| agent.token.0)
            .collect();
        let tokens = project.roles.iter().filter_map(|role| role.token.as_ref().map(|token| token.0.clone()));
        let mut wanted: Vec<String> = if state == ProjectState::Running { tokens.collect() } else { Vec::new() };
        found.sort();
        wanted.sort();
        if found == wanted {
            Ok(())
        } else {
            Err(differs(format!("{} agents live instead of {}: {found:?}", found.len(), wanted.len())))
        }
    }

    /// One worktree a role, its CLAUDE.md as it was asked for, and nothing half written in it.
    fn worktrees(&self, project: &Project) -> Result<(), Odd> {
        for role in &project.roles {
            let Some(worktree) = &role.worktree else { return Err(differs("a role has no worktree")) };
            let path = self.sandbox.home().join(&worktree.path);
            let beside = names(path.parent().unwrap_or(&path));
            if beside.len() != 1 {
                return Err(differs(format!("worktrees of {}: {beside:?}", role.name)));
            }
            let text = fs::read_to_string(path.join("CLAUDE.md")).unwrap_or_default();
            if text != CLAUDE_MD {
                return Err(differs(format!("CLAUDE.md is {text:?}")));
            }
            let half: Vec<String> = names(&path).into_iter().filter(|name| name.ends_with(".tmp")).collect();
            if !half.is_empty() {
                return Err(differs(format!("half written files are left: {half:?}")));
            }
        }
        Ok(())
    }

    /// Kills and starts once more: nothing but the start itself may be told, ordered or counted.
    fn second_pass(&self, mut serve: Serve, before: &Facts) -> Result<Serve, Odd> {
        serve.kill().map_err(differs)?;
        let last = self.facts()?.last();
        let serve = self.start()?;
        let answered = |facts: &Facts| {
            let added = facts.entries.iter().filter(|entry| entry.seq > last);
            added.filter(|entry| matches!(entry.signal.what, What::TmuxAnswered { .. })).count() == 1
        };
        self.until("answered by tmux", answered)?;
        self.stop.pass(TWO_SWEEPS);
        let after = self.facts()?;
        let added: Vec<String> = after
            .entries
            .iter()
            .filter(|entry| entry.seq > before.last())
            .filter(|entry| {
                !matches!(
                    entry.signal.what,
                    What::OrchestratorStarted { .. } | What::TmuxAnswered { .. } | What::AgentAdopted { .. }
                )
            })
            .map(|entry| format!("{:?}", entry.signal.what))
            .collect();
        if !added.is_empty() {
            return Err(differs(format!("a second pass told {}", added.join(", "))));
        } else if after.effects != before.effects {
            return Err(differs(format!("a second pass ordered {} effects", after.effects - before.effects)));
        } else if shape(&after) != shape(before) {
            return Err(differs(format!("a second pass changed {:?} to {:?}", shape(before), shape(&after))));
        }
        Ok(serve)
    }
}

/// What a second pass may not change.
fn shape(facts: &Facts) -> Option<(ProjectState, Epoch, Vec<String>)> {
    let project = facts.project.as_ref()?;
    let roles = project.roles.iter().map(|role| {
        let token = role.token.as_ref().map(|token| token.0.as_str());
        format!("{} {:?} {token:?} {:?} {:?}", role.name, role.epoch, role.worktree, role.process)
    });
    let rest = [format!("{:?}", project.session), format!("{:?}", project.breaker)];
    Some((project.state(), project.epoch, roles.chain(rest).collect()))
}

/// The names in a folder.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let listing = fs::read_dir(dir).map(|listing| listing.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> = listing.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
