//! What a decision is: new values, legal moves, effects to order, signals to tell.

use super::effect::Ordered;
use super::fleet::{Late, Tmux};
use super::id::{ProjectId, RoleName, Token};
use super::project::Project;
use super::signal::Signal;
use super::state::{Moved, ProjectState, RoleState};
use super::time::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A minted move with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// A project's.
    Project(ProjectId, Moved<ProjectState>),
    /// A role's.
    Role(ProjectId, RoleName, Moved<RoleState>),
}

/// The outcome of `decide`: applied as a whole, or not at all.
#[derive(Debug, Default, Clone, PartialEq)]
#[must_use]
pub struct Decision {
    /// The projects that changed, as they shall be.
    pub projects: Vec<Arc<Project>>,
    /// Those of them of which something changed that is kept; of the others only what is under way did.
    pub rows: BTreeSet<ProjectId>,
    /// Every state change among them, in order; the only way for a state into the database.
    pub transitions: Vec<Transition>,
    /// What to order from the world, in order.
    pub effects: Vec<Ordered>,
    /// What to write into the journal, in order.
    pub signals: Vec<Signal>,
    /// What is now known of tmux, if that changed.
    pub tmux: Option<Tmux>,
    /// The sessions that no project knows, if that changed ([`super::fleet::Fleet::strays`]); nothing to be written.
    pub strays: Option<BTreeMap<Token, Option<Timestamp>>>,
    /// What was created late and is being ended, if that changed ([`super::fleet::Fleet::late`]); memory only.
    pub late: Option<BTreeMap<Token, Late>>,
}

impl Decision {
    /// Whether it changes nothing and asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.effects.is_empty() && self.signals.is_empty() && self.tmux.is_none()
    }

    /// Whether anything of it has to be written.
    #[must_use]
    pub fn writes(&self) -> bool {
        !self.rows.is_empty()
            || !self.signals.is_empty()
            || self.tmux.is_some()
            || self.effects.iter().any(|ordered| ordered.effect.is_durable())
    }

    /// Appends what a later event of the same turn decided.
    pub fn extend(&mut self, later: Self) {
        for project in later.projects {
            match self.projects.iter_mut().find(|known| known.id == project.id) {
                Some(known) => *known = project,
                None => self.projects.push(project),
            }
        }
        self.rows.extend(later.rows);
        self.transitions.extend(later.transitions);
        self.effects.extend(later.effects);
        self.signals.extend(later.signals);
        if later.tmux.is_some() {
            self.tmux = later.tmux;
        }
        if later.strays.is_some() {
            self.strays = later.strays;
        }
        if later.late.is_some() {
            self.late = later.late;
        }
    }
}
