//! The view that decisions are made on: every unfinished project, indexed.
//!
//! It holds what the database held at the last commit and nothing else; finished projects leave it, so the cost of
//! an event does not grow with history.

use super::breaker::BreakerState;
use super::event::PaneSeen;
use super::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use super::limits::{Policy, deadline};
use super::project::Project;
use super::signal::{Signal, What};
use super::state::{ProjectState, SuspendReason};
use super::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of the tmux server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tmux {
    /// Nothing: not yet asked, or the connection is gone.
    #[default]
    Unknown,
    /// It answers, and this is its process.
    Alive(ProcessId),
}

/// An incarnation that once was, by the token it was given (C15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Whose.
    pub project: ProjectId,
    /// Which incarnation of it.
    pub epoch: Epoch,
    /// Which role's; none for the session's own token.
    pub role: Option<RoleName>,
    /// The tokens of the agents that its session was to have; none for an agent's own.
    pub agents: Vec<Token>,
    /// Since when its project has it no more, if another has taken its place or the project has come to its end.
    pub since: Option<Timestamp>,
    /// The newest incarnation of its project.
    pub newest: Epoch,
    /// Whether its project is over.
    pub over: bool,
}

/// Something that tmux created late, as far as it is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// When it was first seen.
    pub seen: Timestamp,
    /// Whether that was told.
    pub told: bool,
    /// The effect that is ending it.
    pub effect: Option<EffectId>,
}

/// Every unfinished project, and what is known of the world around them.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    projects: BTreeMap<ProjectId, Arc<Project>>,
    queue: BTreeSet<(Reverse<i32>, ProjectId)>,
    wakes: BTreeSet<(Timestamp, ProjectId)>,
    returning: BTreeSet<(Timestamp, ProjectId)>,
    active: u32,
    blind: u32,
    /// What is known of tmux.
    pub tmux: Tmux,
    /// The server that last answered, also while the connection is gone.
    pub last_server: Option<ProcessId>,
    /// When the tmux server died, as far as that still counts; bounds recoveries that no project is charged for.
    pub server_deaths: Vec<Timestamp>,
    /// Tokens on the tmux server that no project knows, and since when; none once that was told. Memory only.
    pub strays: BTreeMap<Token, Option<Timestamp>>,
    /// Tokens on the tmux server that are of our past, as the store told for the list that is being decided on.
    pub retired: BTreeMap<Token, Retired>,
    /// What was created late, by its token. Memory only.
    pub late: BTreeMap<Token, Late>,
    /// Processes of agents that the store knew when this process started and of which it has told nothing yet: neither
    /// that they are adopted nor that they died (G12). Memory only; shared with what a refused turn goes back to.
    pub inherited: Arc<BTreeSet<ProcessId>>,
    /// When each project's breaker opened last, as far as that still counts for the fleet's breaker.
    pub openings: BTreeMap<ProjectId, Timestamp>,
    /// Whether the fleet's breaker is open: no queued project is admitted.
    pub breaker_open: bool,
    /// Since when tmux has been unknown; means nothing while it answers.
    pub unknown_since: Option<Timestamp>,
    /// Since when this process has been asking tmux, or has lost it.
    pub asked_since: Timestamp,
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
    pub fn put(&mut self, project: impl Into<Arc<Project>>) {
        let project = project.into();
        if project.is_settled() {
            self.remove(project.id);
        } else {
            self.recall(project);
        }
    }

    /// Takes a project in even if it is settled, so that something can be decided about it; the next `put` of a
    /// value that is still settled lets it leave.
    pub fn recall(&mut self, project: impl Into<Arc<Project>>) {
        let project = project.into();
        self.remove(project.id);
        if project.state() == ProjectState::Queued {
            self.queue.insert((Reverse(project.spec.priority), project.id));
        }
        if let Some(since) = project.due_back {
            self.returning.insert((since, project.id));
        }
        self.active += u32::from(project.state().is_active());
        self.blind += u32::from(project.reason == Some(SuspendReason::NeedsOperator));
        if let Some(at) = project.wake_at() {
            self.wakes.insert((at, project.id));
        }
        self.projects.insert(project.id, project);
    }

    /// Every worktree is to be looked at with the next sweep: what a look or a survey found may have been lost.
    pub fn look_at_everything(&mut self) {
        for project in self.projects.values_mut() {
            Arc::make_mut(project).roles.iter_mut().for_each(|role| role.look_again = true);
        }
    }

    /// Takes a project out.
    pub fn remove(&mut self, id: ProjectId) -> Option<Arc<Project>> {
        let old = self.projects.remove(&id)?;
        self.queue.remove(&(Reverse(old.spec.priority), id));
        if let Some(since) = old.due_back {
            self.returning.remove(&(since, id));
        }
        self.active -= u32::from(old.state().is_active());
        self.blind -= u32::from(old.reason == Some(SuspendReason::NeedsOperator));
        if let Some(at) = old.wake_at() {
            self.wakes.remove(&(at, id));
        }
        Some(old)
    }

    /// A project, if it is unfinished.
    #[must_use]
    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id).map(AsRef::as_ref)
    }

    /// The same, shared: whoever changes it copies it.
    #[must_use]
    pub fn shared(&self, id: ProjectId) -> Option<&Arc<Project>> {
        self.projects.get(&id)
    }

    /// The unfinished project of that slug.
    #[must_use]
    pub fn of_slug(&self, slug: &str) -> Option<&Project> {
        self.projects().find(|project| project.slug == slug)
    }

    /// Tokens in this list that no unfinished project has. What is left of an agent in a session that is somebody's is
    /// no matter.
    #[must_use]
    pub fn unknown_tokens(&self, panes: &[PaneSeen]) -> BTreeSet<Token> {
        let known: BTreeSet<&Token> = self.projects().flat_map(Project::tokens).collect();
        let unknown = |token: &Option<Token>| token.as_ref().filter(|token| !known.contains(token)).cloned();
        let of_pane = |pane: &PaneSeen| {
            let session = unknown(&pane.session_token);
            let role = unknown(&pane.role_token).filter(|_| session.is_some() || !pane.dead);
            session.into_iter().chain(role)
        };
        panes.iter().flat_map(of_pane).collect()
    }

    /// All unfinished projects in the order of their ids.
    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values().map(AsRef::as_ref)
    }

    /// The process of every agent that is known to have one.
    pub fn agents(&self) -> impl Iterator<Item = ProcessId> {
        self.projects().flat_map(|project| &project.roles).filter_map(|role| role.process)
    }

    /// Projects that take a slot.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.active
    }

    /// Projects that wait in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Slots that are taken, or promised to projects that may go on.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.active + u32::try_from(self.returning.len()).unwrap_or(u32::MAX)
    }

    /// Since when the last of those that may go on has waited.
    #[must_use]
    pub fn last_back(&self) -> Option<Timestamp> {
        self.returning.last().map(|(since, _)| *since)
    }

    /// The project whose turn it is, if a slot is free. First whoever goes on after a rest, in the order in which they
    /// could; then the queue: highest priority first, then the lowest id. Batches take no turns: the one that was
    /// enqueued first is done first, and priority is the way past it.
    ///
    /// Nobody is admitted while it has been unknown for too long how sessions stand; the queue also waits while the
    /// fleet's breaker is open.
    #[must_use]
    pub fn next_admissible(&self) -> Option<ProjectId> {
        let blind = self.tmux == Tmux::Unknown && self.blind > 0;
        if self.active >= self.policy.max_active || blind {
            return None;
        }
        let queued = || self.queue.first().filter(|_| !self.breaker_open).map(|(_, id)| *id);
        self.returning.first().map(|(_, id)| *id).or_else(queued)
    }

    /// The earliest deadline of any project.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// When something about the fleet as a whole must be decided even if nothing happens.
    #[must_use]
    pub fn due_at(&self) -> Option<Timestamp> {
        self.breaker_closes_at().into_iter().chain(self.blind_at()).min()
    }

    /// How many projects' breakers opened within the fleet breaker's window before `at`.
    #[must_use]
    pub fn openings_at(&self, at: Timestamp) -> u32 {
        u32::try_from(self.opened_at(at).len()).unwrap_or(u32::MAX)
    }

    /// Which those are.
    #[must_use]
    pub fn opened_at(&self, at: Timestamp) -> BTreeSet<ProjectId> {
        let window = self.policy.fleet_breaker_window();
        self.openings.iter().filter(|(_, opened)| at.since(**opened) < window).map(|(id, _)| *id).collect()
    }

    /// Takes in what a journal entry says of the fleet as a whole: while it is decided, and when the journal is read
    /// back after a restart. So nothing of this can differ between the two.
    pub fn note(&mut self, signal: &Signal, at: Timestamp) {
        match (&signal.what, signal.project_id) {
            (What::ServerDied { .. } | What::MachineRebooted { .. }, _) => self.server_deaths.push(at),
            (What::BreakerMoved { to: BreakerState::Open, .. }, Some(project)) => self.note_opening(project, at),
            // Of the fleet there is only its breaker to reset.
            (What::OperatorAsked { .. }, None) => self.openings.clear(),
            (What::FleetBreakerMoved { to, .. }, _) => self.breaker_open = *to == BreakerState::Open,
            (What::TmuxLost { .. }, _) => self.unknown_since = Some(at),
            (What::TmuxAnswered { .. }, _) => self.unknown_since = None,
            // Whoever starts knows nothing of tmux until it has answered.
            (What::OrchestratorStarted { .. }, _) => {
                self.unknown_since.get_or_insert(at);
            }
            (What::AgentAdopted { process } | What::AgentDied { process, .. }, _)
                if self.inherited.contains(process) =>
            {
                Arc::make_mut(&mut self.inherited).remove(process);
            }
            _ => {}
        }
    }

    /// Notes that a project's breaker opened, and forgets what does not count any more.
    fn note_opening(&mut self, project: ProjectId, at: Timestamp) {
        let window = self.policy.fleet_breaker_window();
        self.openings.retain(|_, opened| at.since(*opened) < window);
        self.openings.insert(project, at);
    }

    /// When the fleet's breaker closes, if it is open: as soon as no more than allowed count.
    fn breaker_closes_at(&self) -> Option<Timestamp> {
        if !self.breaker_open {
            return None;
        }
        let mut newest_first: Vec<Timestamp> = self.openings.values().copied().collect();
        newest_first.sort_unstable_by_key(|opened| Reverse(*opened));
        let last_too_many = newest_first.get(self.policy.fleet_breaker_max as usize);
        Some(last_too_many.map_or(Timestamp(0), |opened| *opened + self.policy.fleet_breaker_window()))
    }

    /// When it will have been unknown for too long how active projects stand, if there are any. A process that has
    /// just started asks first, whatever its predecessor had to say.
    #[must_use]
    pub fn blind_at(&self) -> Option<Timestamp> {
        if self.tmux != Tmux::Unknown || self.active == 0 {
            return None;
        }
        Some((self.unknown_from() + self.policy.unknown_max()).max(self.asked_since + deadline::TMUX))
    }

    /// Since when tmux has been unknown.
    #[must_use]
    pub fn unknown_from(&self) -> Timestamp {
        self.unknown_since.unwrap_or(self.asked_since)
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
