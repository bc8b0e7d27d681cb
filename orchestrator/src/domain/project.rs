//! A project and its roles as the orchestrator holds them: one row and its children, in memory.
//!
//! The database is the truth; these values are what it held at the last commit. Only the state fields are private:
//! they change through [`Project::take`] and [`Role::take`], that is through `next`.

use super::breaker::Breaker;
use super::failure::{Failure, FailureKind, Stage};
use super::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use super::silence::Vigil;
use super::spec::{RoleSpec, Spec};
use super::state::{IllegalMove, Moved, ProjectEvent, ProjectState, RoleEvent, RoleState, SuspendReason};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The tmux session of a project's incarnation; recorded before tmux is asked for it (G2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRef {
    /// `[a-z0-9-]{1,40}`, made by us.
    pub name: String,
    /// Its `@orch_instance`.
    pub token: Token,
    /// How far it got.
    pub is: SessionIs,
    /// The tmux server it was confirmed on; a session of another server is another session (T6).
    pub server: Option<ProcessId>,
}

/// How far a session got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionIs {
    /// Recorded, not confirmed. After a crash: settled by token.
    Intended,
    /// Confirmed, and nothing has contradicted that since.
    Live,
    /// Proved gone; the reference stays as history until the next intent replaces it.
    Gone,
}

impl SessionIs {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Intended, Self::Live, Self::Gone];

    /// The name used in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Live => "live",
            Self::Gone => "gone",
        }
    }
}

/// A role's git worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worktree {
    /// Relative to the installation's directory.
    pub path: String,
    /// `orch/<slug>/<role>/e<epoch>`.
    pub branch: String,
    /// Whether git has confirmed it.
    pub ready: bool,
}

/// Size and SHA-256 that a file must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What cannot be known of a project that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// What, and why.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether it goes on by itself once that is known; otherwise only a person can say that it may.
    pub heals: bool,
}

/// That what is ordered for a project comes to nothing for a reason that is not the project's: the orchestrator lacks
/// something itself, or the files do not answer whoever looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starved {
    /// Since when.
    pub since: Timestamp,
    /// Not tried again before then.
    pub again: Timestamp,
    /// Whether it is a look that came to nothing: then work that succeeds says nothing of it, nor the other way round.
    pub look: bool,
}

/// A run of recoveries from the first fault to the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When the first fault was found.
    pub since: Timestamp,
    /// What it was.
    pub cause: FailureKind,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the next attempt is due, while one is waited for.
    pub retry_at: Option<Timestamp>,
    /// Whether the current attempt is the breaker's half-open probe.
    pub probe: bool,
}

/// One role of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    state: RoleState,
    /// Its part of the spec.
    pub name: RoleName,
    /// The epoch in which its current process was asked for; 0 before the first.
    pub epoch: Epoch,
    /// The token of that process.
    pub token: Option<Token>,
    /// tmux's id of its pane, valid within one server only.
    pub pane: Option<String>,
    /// Its process, once seen.
    pub process: Option<ProcessId>,
    /// When that process was first seen.
    pub started_at: Option<Timestamp>,
    /// Its worktree.
    pub worktree: Option<Worktree>,
    /// The pin of its CLAUDE.md, once written and read back.
    pub claude_md: Option<Pin>,
    /// How often the brief was handed over in this epoch.
    pub briefs_sent: u32,
    /// When an acknowledgement is overdue.
    pub ack_due: Option<Timestamp>,
    /// When it last reported anything.
    pub last_progress: Option<Timestamp>,
    /// How quiet it is.
    pub vigil: Vigil,
    /// Whether its last death is told and its remains were not had yet. What asks for them dies with its process, so
    /// that somebody must remember to ask again.
    pub unexplained: bool,
    /// The effect under way for this role; not persisted, an outbox row is.
    pub busy: Option<EffectId>,
    /// The look at what is left of its agent under way. It waits for nothing that is done for the role: a death is not
    /// found later because a git hangs.
    pub collecting: Option<EffectId>,
    /// The look at its resources under way.
    pub looking: Option<EffectId>,
    /// Whether its resources were touched during that look, so that it must be repeated.
    pub look_again: bool,
}

/// One project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    state: ProjectState,
    /// Row id.
    pub id: ProjectId,
    /// What it was asked to be.
    pub spec: Arc<Spec>,
    /// `p<id>-<installation>`: its part in session, branch and directory names.
    pub slug: String,
    /// Why it is suspended, while it is.
    pub reason: Option<SuspendReason>,
    /// What cannot be known, while that is why it is suspended.
    pub unknown: Option<Unknown>,
    /// While it is suspended and may go on: since when it has been waiting for a slot.
    pub due_back: Option<Timestamp>,
    /// The newest incarnation.
    pub epoch: Epoch,
    /// Since when it has been in its state.
    pub state_since: Timestamp,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// Its session, from the intent on.
    pub session: Option<SessionRef>,
    /// Its breaker.
    pub breaker: Breaker,
    /// The incident under way, if any.
    pub incident: Option<Incident>,
    /// Tokens of older incarnations that are not yet proved gone.
    pub stale: Vec<Token>,
    /// The newest evidence of something that went wrong; a failed project always has one (G7).
    pub last_failure: Option<Box<Failure>>,
    /// Whether preflight has passed.
    pub preflighted: bool,
    /// Whether the resources have been looked at and found right since the last change.
    pub verified: bool,
    /// Whether something is still to be taken down after the end (C26).
    pub finalizer: bool,
    /// Its roles, in the order of the spec.
    pub roles: Vec<Role>,
    /// The project-wide effect under way; not persisted, an outbox row is.
    pub busy: Option<EffectId>,
    /// The look at all resources under way.
    pub looking: Option<EffectId>,
    /// Repairs made since the resources were last found right; bounds repairing within one attempt.
    pub repairs: u32,
    /// Whether its work comes to nothing through no fault of its own; not persisted, a restart tries anew.
    pub starved: Option<Starved>,
    /// Compare-and-set version of its row.
    pub version: i64,
}

impl Role {
    /// A role that has never run.
    #[must_use]
    pub fn new(name: RoleName) -> Self {
        Self::restored(name, RoleState::Absent)
    }

    /// A role in a state read from the database; the other fields are for the caller to fill.
    #[must_use]
    pub fn restored(name: RoleName, state: RoleState) -> Self {
        Self {
            state,
            name,
            epoch: Epoch(0),
            token: None,
            pane: None,
            process: None,
            started_at: None,
            worktree: None,
            claude_md: None,
            briefs_sent: 0,
            ack_due: None,
            last_progress: None,
            vigil: Vigil::default(),
            unexplained: false,
            busy: None,
            collecting: None,
            looking: None,
            look_again: false,
        }
    }

    /// Where its agent stands.
    #[must_use]
    pub fn state(&self) -> RoleState {
        self.state
    }

    /// Takes an event, if it is legal.
    ///
    /// # Errors
    /// [`IllegalMove`]; nothing has changed.
    pub fn take(&mut self, event: RoleEvent) -> Result<Moved<RoleState>, IllegalMove> {
        let moved = self.state.next(event)?;
        self.state = moved.to();
        Ok(moved)
    }

    /// Whether something is done for it, or what is left of its agent is looked at.
    #[must_use]
    pub fn is_acted_on(&self) -> bool {
        self.busy.is_some() || self.collecting.is_some()
    }

    /// Whether it needs a process that it does not have.
    #[must_use]
    pub fn wants_process(&self) -> bool {
        match self.state {
            RoleState::Absent | RoleState::Dead => true,
            RoleState::Starting => self.process.is_none(),
            RoleState::Ready
            | RoleState::Working
            | RoleState::Idle
            | RoleState::NeedsInput
            | RoleState::Stalled
            | RoleState::Unknown
            | RoleState::Done => false,
        }
    }

    /// Whether it has acknowledged its brief in this epoch, or is past that.
    #[must_use]
    pub fn acknowledged(&self) -> bool {
        match self.state {
            RoleState::Ready
            | RoleState::Working
            | RoleState::Idle
            | RoleState::NeedsInput
            | RoleState::Stalled
            | RoleState::Done => true,
            RoleState::Absent | RoleState::Starting | RoleState::Dead | RoleState::Unknown => false,
        }
    }

    /// Whether its worktree is confirmed.
    #[must_use]
    pub fn has_worktree(&self) -> bool {
        self.worktree.as_ref().is_some_and(|worktree| worktree.ready)
    }
}

impl Project {
    /// A project that has just been enqueued.
    #[must_use]
    pub fn queued(id: ProjectId, spec: Arc<Spec>, slug: String, at: Timestamp) -> Self {
        let roles = spec.roles.iter().map(|role| Role::new(role.name.clone())).collect();
        Self::restored(id, spec, slug, ProjectState::Queued, at, roles)
    }

    /// A project in a state read from the database; the other fields are for the caller to fill.
    #[must_use]
    pub fn restored(
        id: ProjectId,
        spec: Arc<Spec>,
        slug: String,
        state: ProjectState,
        at: Timestamp,
        roles: Vec<Role>,
    ) -> Self {
        Self {
            state,
            id,
            spec,
            slug,
            reason: None,
            unknown: None,
            due_back: None,
            epoch: Epoch(0),
            state_since: at,
            enqueued_at: at,
            session: None,
            breaker: Breaker::default(),
            incident: None,
            stale: Vec::new(),
            last_failure: None,
            preflighted: false,
            verified: false,
            finalizer: false,
            roles,
            busy: None,
            looking: None,
            repairs: 0,
            starved: None,
            version: 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ProjectState {
        self.state
    }

    /// Takes an event, if it is legal, and notes since when.
    ///
    /// # Errors
    /// [`IllegalMove`]; nothing has changed.
    pub fn take(&mut self, event: ProjectEvent, at: Timestamp) -> Result<Moved<ProjectState>, IllegalMove> {
        let moved = self.state.next(event)?;
        self.state = moved.to();
        self.state_since = at;
        if moved.to() != ProjectState::Suspended {
            self.reason = None;
            self.unknown = None;
            self.due_back = None;
        }
        Ok(moved)
    }

    /// The role of that name.
    #[must_use]
    pub fn role(&self, name: &RoleName) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == *name)
    }

    /// Position of the role of that name.
    #[must_use]
    pub fn role_index(&self, name: &RoleName) -> Option<usize> {
        self.roles.iter().position(|role| role.name == *name)
    }

    /// The spec of the role at that position; roles and specs are made together and keep their order.
    #[must_use]
    pub fn role_spec(&self, index: usize) -> Option<&RoleSpec> {
        self.spec.roles.get(index)
    }

    /// Whether any effect is under way for it.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
            || self.looking.is_some()
            || self.roles.iter().any(|role| role.is_acted_on() || role.looking.is_some())
    }

    /// Whether both values have the same row: they differ at most in what is under way, which is only in memory. A
    /// field counts as kept unless it is named here, so that a new one is never forgotten.
    #[must_use]
    pub fn same_row(&self, other: &Self) -> bool {
        let mut probe = self.clone();
        (probe.busy, probe.looking, probe.repairs) = (other.busy, other.looking, other.repairs);
        probe.starved = other.starved;
        for (role, of) in probe.roles.iter_mut().zip(&other.roles) {
            (role.busy, role.looking, role.look_again) = (of.busy, of.looking, of.look_again);
            role.collecting = of.collecting;
            role.vigil.sampling = of.vigil.sampling;
        }
        probe == *other
    }

    /// The tokens that may be found in the world on its account: of what it has, and of what it still has to end.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        let over = self.state.is_terminal();
        let session = self.session.as_ref().filter(move |session| over || session.is != SessionIs::Gone);
        let ended = |role: &Role| matches!(role.state, RoleState::Absent | RoleState::Dead);
        let roles = self.roles.iter().filter(move |role| over || !ended(role)).filter_map(|role| role.token.as_ref());
        session.map(|session| &session.token).into_iter().chain(roles).chain(&self.stale)
    }

    /// Whether its session is confirmed and uncontradicted.
    #[must_use]
    pub fn session_live(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is == SessionIs::Live)
    }

    /// The stage of its life, for evidence.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.state {
            ProjectState::Queued | ProjectState::Provisioning => Stage::Provision,
            ProjectState::Launching => Stage::Launch,
            ProjectState::Briefing => Stage::Brief,
            ProjectState::Running | ProjectState::Recovering | ProjectState::Suspended => Stage::Run,
            ProjectState::Completed | ProjectState::Failed | ProjectState::Cancelled => Stage::Cleanup,
        }
    }

    /// When it must be looked at even if nothing happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let retry = match self.state {
            // While something is under way its settlement wakes the project.
            ProjectState::Recovering if self.is_busy() => None,
            ProjectState::Recovering => self.incident.as_ref().and_then(|incident| incident.retry_at),
            ProjectState::Suspended if self.due_back.is_some() => None,
            ProjectState::Suspended if self.reason == Some(SuspendReason::Breaker) => self.breaker.retry_at,
            ProjectState::Suspended if self.reason == Some(SuspendReason::Credit) => {
                self.roles.iter().filter_map(|role| role.vigil.credit_until).min()
            }
            ProjectState::Queued
            | ProjectState::Provisioning
            | ProjectState::Launching
            | ProjectState::Briefing
            | ProjectState::Running
            | ProjectState::Suspended
            | ProjectState::Completed
            | ProjectState::Failed
            | ProjectState::Cancelled => None,
        };
        let acks = self.roles.iter().filter_map(|role| role.ack_due);
        let silences = self.roles.iter().filter_map(|role| role.vigil.due);
        retry.into_iter().chain(acks).chain(silences).min()
    }

    /// Whether nothing will ever happen to it again by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.state.is_terminal() && !self.finalizer && !self.is_busy()
    }
}
