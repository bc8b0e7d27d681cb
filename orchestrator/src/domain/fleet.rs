//! The view that decisions are made on: every unfinished project, indexed.
//!
//! It holds what the database held at the last commit and nothing else; finished projects leave it, so the cost of
//! an event does not grow with history.

use super::id::{EffectId, ProcessId, ProjectId, Token};
use super::limits::Policy;
use super::project::Project;
use super::state::ProjectState;
use super::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the tmux server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tmux {
    /// Nothing: not yet asked, or the connection is gone.
    #[default]
    Unknown,
    /// It answers, and this is its process.
    Alive(ProcessId),
}

/// Every unfinished project, and what is known of the world around them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    projects: BTreeMap<ProjectId, Project>,
    queue: BTreeSet<(Reverse<i32>, ProjectId)>,
    wakes: BTreeSet<(Timestamp, ProjectId)>,
    active: u32,
    /// What is known of tmux.
    pub tmux: Tmux,
    /// The server that last answered, also while the connection is gone.
    pub last_server: Option<ProcessId>,
    /// When the tmux server died, as far as that still counts; bounds recoveries that no project is charged for.
    pub server_deaths: Vec<Timestamp>,
    /// Tokens on the tmux server that no project knows, and since when; none once that was told. Memory only.
    pub strays: BTreeMap<Token, Option<Timestamp>>,
    /// The installation's limits.
    pub policy: Policy,
    /// The id of the next effect.
    pub next_effect: EffectId,
}

impl Fleet {
    /// An empty fleet under a policy.
    #[must_use]
    pub fn new(policy: Policy, next_effect: EffectId) -> Self {
        Self { policy, next_effect, ..Self::default() }
    }

    /// Takes a project in, or its new value; one that is settled leaves.
    pub fn put(&mut self, project: Project) {
        if project.is_settled() {
            self.remove(project.id);
        } else {
            self.recall(project);
        }
    }

    /// Takes a project in even if it is settled, so that something can be decided about it; the next `put` of a
    /// value that is still settled lets it leave.
    pub fn recall(&mut self, project: Project) {
        self.remove(project.id);
        if project.state() == ProjectState::Queued {
            self.queue.insert((Reverse(project.spec.priority), project.id));
        }
        if project.state().is_active() {
            self.active += 1;
        }
        if let Some(at) = project.wake_at() {
            self.wakes.insert((at, project.id));
        }
        self.projects.insert(project.id, project);
    }

    /// Takes a project out.
    pub fn remove(&mut self, id: ProjectId) -> Option<Project> {
        let old = self.projects.remove(&id)?;
        self.queue.remove(&(Reverse(old.spec.priority), id));
        if old.state().is_active() {
            self.active -= 1;
        }
        if let Some(at) = old.wake_at() {
            self.wakes.remove(&(at, id));
        }
        Some(old)
    }

    /// A project, if it is unfinished.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id)
    }

    /// The unfinished project of that slug.
    #[must_use]
    pub fn of_slug(&self, slug: &str) -> Option<&Project> {
        self.projects.values().find(|project| project.slug == slug)
    }

    /// All unfinished projects in the order of their ids.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    /// Projects that take a slot.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active
    }

    /// The project whose turn it is, if a slot is free: highest priority first, then the oldest.
    #[must_use]
    pub fn next_admissible(&self) -> Option<ProjectId> {
        if self.active >= self.policy.max_active {
            return None;
        }
        self.queue.first().map(|(_, id)| *id)
    }

    /// The earliest deadline of any project.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// How many deaths of the tmux server count at `at`: within the breaker's window.
    #[must_use]
    pub fn server_deaths_at(&self, at: Timestamp) -> u32 {
        let window = self.policy.breaker_window();
        let counted = self.server_deaths.iter().filter(|died| at.since(**died) < window).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// A project whose deadline has passed at `at`.
    #[must_use]
    pub fn due(&self, at: Timestamp) -> Option<ProjectId> {
        self.wakes.first().filter(|(due, _)| *due <= at).map(|(_, id)| *id)
    }
}
