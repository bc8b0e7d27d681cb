//! What the harness asks of the orchestrator's database, read-only: whom to hit, and what is claimed at the end.
//!
//! The one place that knows the store's face.

use crate::truth::ProjectRow;
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::store::{Mode, Store};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The database of an installation.
#[derive(Debug, Clone)]
pub(super) struct Database {
    path: PathBuf,
}

/// A project that works, as a target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its session's name and token.
    pub(super) session: (String, Token),
    /// Its part in paths.
    pub(super) slug: String,
    /// Its roles.
    pub(super) roles: Vec<TargetRole>,
}

/// One of its agents.
#[derive(Debug, Clone)]
pub(super) struct TargetRole {
    /// Its name.
    pub(super) name: RoleName,
    /// Its incarnation.
    pub(super) epoch: Epoch,
    /// Its token.
    pub(super) token: Token,
    /// Its process.
    pub(super) process: ProcessId,
    /// Its worktree, relative to the installation.
    pub(super) worktree: String,
}

/// Whether a project can be hit.
#[derive(Debug, Clone)]
pub(super) enum Fitness {
    /// It works, and this is what it consists of.
    Fit(Target),
    /// Not now, but it may come to it.
    NotYet(ProjectState),
    /// It will not work again by itself.
    Never(ProjectState),
}

impl Database {
    /// Of that installation.
    pub(super) fn of(home: &Path) -> Self {
        Self { path: home.join("orch.db") }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Result<Store, String> {
        Store::open(&self.path, Mode::ReadOnly).map_err(|error| format!("the orchestrator's database: {error}"))
    }

    fn unfinished(&self) -> Result<Vec<Project>, String> {
        let fleet = self.open()?.load_fleet(Policy::default()).map_err(|error| error.to_string())?;
        Ok(fleet.projects().cloned().collect())
    }

    /// Whether that project can be hit now.
    pub(super) fn fitness(&self, project: ProjectId) -> Result<Fitness, String> {
        let unfinished = self.unfinished()?;
        let Some(found) = unfinished.into_iter().find(|found| found.id == project) else {
            // It has left the fleet: it is finished.
            return Ok(Fitness::Never(ProjectState::Completed));
        };
        let state = found.state();
        Ok(match target(&found) {
            Some(target) if state == ProjectState::Running => Fitness::Fit(target),
            Some(_) | None if state == ProjectState::Suspended || state.is_terminal() => Fitness::Never(state),
            Some(_) | None => Fitness::NotYet(state),
        })
    }

    /// How many of those projects are in that state.
    pub(super) fn count(&self, state: ProjectState) -> Result<usize, String> {
        Ok(self.rows()?.into_iter().filter(|row| row.state == state).count())
    }

    /// Every session token that an unfinished project has intended or had.
    pub(super) fn session_tokens(&self) -> Result<BTreeSet<String>, String> {
        let unfinished = self.unfinished()?;
        Ok(unfinished.into_iter().filter_map(|project| project.session).map(|session| session.token.0).collect())
    }

    /// Every token that an unfinished project's agents have or had.
    pub(super) fn agent_tokens(&self) -> Result<BTreeSet<String>, String> {
        let tokens = self.unfinished()?.into_iter().flat_map(|project| {
            let of_roles = project.roles.into_iter().filter_map(|role| role.token);
            of_roles.chain(project.stale).collect::<Vec<_>>()
        });
        Ok(tokens.map(|token| token.0).collect())
    }

    /// The names of the effects that were intended for these projects and whose outcome is unknown.
    pub(super) fn open_intents(&self, projects: &[ProjectRow]) -> Result<BTreeSet<String>, String> {
        let store = self.open()?;
        let mut open = BTreeSet::new();
        for project in projects.iter().filter(|project| !project.state.is_terminal()) {
            let rows = store.outbox_rows(project.id).map_err(|error| error.to_string())?;
            open.extend(rows.into_iter().filter(|row| row.resolved.is_none()).map(|row| row.effect));
        }
        Ok(open)
    }

    /// The effects in the outbox of those projects.
    pub(super) fn effects(&self, projects: &[ProjectRow]) -> Result<Vec<(EffectId, String)>, String> {
        let store = self.open()?;
        let mut effects = Vec::new();
        for project in projects {
            let rows = store.outbox_rows(project.id).map_err(|error| error.to_string())?;
            effects.extend(rows.into_iter().map(|row| (EffectId(row.id), row.effect)));
        }
        Ok(effects)
    }

    /// The rows of all projects.
    pub(super) fn rows(&self) -> Result<Vec<ProjectRow>, String> {
        let rows = self.open()?.project_rows(None).map_err(|error| error.to_string())?;
        rows.into_iter()
            .map(|row| {
                let unknown = |what: &str| format!("project {}: {what} is no state", row.id);
                let roles = row.roles.iter().map(|role| {
                    let state = RoleState::from_name(&role.state).ok_or_else(|| unknown(&role.state))?;
                    Ok::<_, String>((RoleName(role.name.clone()), state))
                });
                Ok(ProjectRow {
                    id: row.id,
                    state: ProjectState::from_name(&row.state).ok_or_else(|| unknown(&row.state))?,
                    reason: row.reason.as_deref().and_then(SuspendReason::from_name),
                    roles: roles.collect::<Result<_, _>>()?,
                    worktrees: row
                        .roles
                        .iter()
                        .filter_map(|role| Some((RoleName(role.name.clone()), role.worktree.clone()?)))
                        .collect(),
                })
            })
            .collect()
    }
}

fn target(project: &Project) -> Option<Target> {
    let session = project.session.as_ref().filter(|_| project.session_live())?;
    let role = |role: &orchestrator::domain::project::Role| {
        Some(TargetRole {
            name: role.name.clone(),
            epoch: role.epoch,
            token: role.token.clone()?,
            process: role.process?,
            worktree: role.worktree.as_ref()?.path.clone(),
        })
    };
    let roles = project.roles.iter().map(role).collect::<Option<_>>()?;
    Some(Target { session: (session.name.clone(), session.token.clone()), slug: project.slug.clone(), roles })
}
