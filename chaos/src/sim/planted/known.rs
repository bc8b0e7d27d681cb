//! What a bug remembers of the projects that the core speaks of.

use orchestrator::domain::effect::Ordered;
use orchestrator::domain::event::{Event, Happened, PaneSeen, Report, Source};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::project::{Project, Role};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeMap;

/// Projects as they were last committed.
#[derive(Debug, Default)]
pub(super) struct Known {
    projects: BTreeMap<ProjectId, Project>,
}

impl Known {
    pub(super) fn learn(&mut self, project: &Project) {
        self.projects.insert(project.id, project.clone());
    }

    pub(super) fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id)
    }

    /// Whether an effect is for a project that has come to its end.
    pub(super) fn over(&self, ordered: &Ordered) -> bool {
        let project = ordered.project.and_then(|id| self.project(id));
        project.is_some_and(|project| project.state().is_terminal())
    }

    /// Projects that are briefed or run, with those of their roles that have a process.
    pub(super) fn live(&self) -> impl Iterator<Item = (&Project, &Role)> {
        let lives = |project: &&Project| matches!(project.state(), ProjectState::Briefing | ProjectState::Running);
        let of = self.projects.values().filter(lives);
        of.flat_map(|project| project.roles.iter().map(move |role| (project, role)))
            .filter(|(_, role)| role.process.is_some())
    }

    /// Live roles whose session is not on that list, by its exact name.
    pub(super) fn without_session(&self, panes: &[PaneSeen]) -> Vec<(&Project, &Role)> {
        let there = |name: &str| panes.iter().any(|pane| pane.session == name);
        let gone = |project: &Project| {
            project.session_live() && project.session.as_ref().is_some_and(|session| !there(&session.name))
        };
        self.live().filter(|(project, _)| gone(project)).collect()
    }
}

/// A record that an agent did not write.
pub(super) fn says(at: Timestamp, project: &Project, role: &Role, report: Report) -> Option<Happened> {
    let (id, name, epoch, token) = (project.id, role.name.clone(), role.epoch, role.token.clone()?);
    let event = Event::Reported { project: id, role: name, epoch, token, report };
    Some(Happened { seen_at: at, source: Source::Spool, event })
}
