//! What is told to the world: the journal's entries, one closed enumeration.
//!
//! A signal is committed to the `events` table in the transaction of the change it tells of, then mirrored to the
//! NDJSON log, and metrics are the fold of the journal (S11, S12). Tests and whoever checks the orchestrator read these, never the
//! text of a log line.

use super::breaker::BreakerState;
use super::event::{Head, Source};
use super::failure::{Failure, FailureKind};
use super::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Seq};
pub use super::level::Level;
use super::project::Project;
use super::request::RequestKind;
use super::state::{ProjectState, RoleState, SuspendReason};
use super::time::Span;
use serde::{Deserialize, Serialize};

pub use super::entry::Entry;

/// One entry of the journal, before it has a number and a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Which project, if it concerns one.
    pub project_id: Option<ProjectId>,
    /// Which role, if it concerns one.
    pub agent_role: Option<RoleName>,
    /// Which incarnation it speaks of.
    pub epoch: Option<Epoch>,
    /// The session's name, from the moment it was intended.
    pub session: Option<String>,
    /// What is told.
    #[serde(flatten)]
    pub what: What,
}

/// What a signal tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum What {
    /// `orch serve` has started.
    OrchestratorStarted {
        /// Its process.
        process: ProcessId,
        /// Its version.
        version: String,
        /// Projects that it found unfinished.
        unfinished: u32,
        /// Intents of its predecessor that were never confirmed, now settled by observation.
        unconfirmed: u32,
    },
    /// `orch serve` has stopped as asked; agents live on.
    OrchestratorStopped {
        /// Why.
        reason: String,
    },
    /// The orchestrator did not look for longer than it meant to: it was stopped or not there, the machine slept, or
    /// the store could not be used. That time is held against nobody.
    OrchestratorAway {
        /// For how long, beyond what it meant to.
        away: Span,
    },
    /// The machine was started anew, and everything that ran on it is gone: one event, whatever its extent.
    MachineRebooted {
        /// How many agents of ours that ended.
        agents: u32,
    },
    /// The database is older than what this installation had written: somebody put a backup in its place.
    StoreRestored {
        /// The last entry of the journal that was there before.
        had: Seq,
        /// The last one that is there now.
        has: Seq,
    },
    /// Traces of incarnations that the database does not know yet were found: the project rests until an operator
    /// has looked, and nothing of them is touched.
    Quarantined {
        /// The newest epoch that the database knew.
        known: Epoch,
        /// The newest epoch that was found; the next one begins above it.
        found: Epoch,
        /// What was found.
        trace: String,
    },
    /// Something carries our marks and belongs to nothing that the database knows; it is left alone.
    StrayFound {
        /// What was found.
        trace: String,
    },
    /// A session or an agent appeared after its incarnation was over: tmux had been asked for it, did not answer in
    /// time, and made it later (C15). It is ended; who runs now is not touched.
    LateCreation {
        /// What was found.
        trace: String,
        /// Why it is over.
        cause: String,
    },
    /// A project was accepted.
    ProjectEnqueued {
        /// Its title.
        title: String,
        /// How many roles it has.
        roles: u32,
    },
    /// A project changed its state.
    ProjectMoved {
        /// From.
        from: ProjectState,
        /// To.
        to: ProjectState,
        /// The fault behind it, if one is.
        cause: Option<FailureKind>,
        /// Why it is suspended, if it is.
        reason: Option<SuspendReason>,
        /// How long it had been in the old state.
        after: Span,
    },
    /// A role changed its state.
    RoleMoved {
        /// From.
        from: RoleState,
        /// To.
        to: RoleState,
    },
    /// An effect is about to be performed (G2).
    EffectIntended {
        /// Its place in the outbox.
        effect_id: EffectId,
        /// Its name.
        effect: String,
    },
    /// The session is there.
    SessionCreated {
        /// Whether it was found there under its token rather than made.
        adopted: bool,
    },
    /// The session is gone, proved by an answer of the server without its token.
    SessionDied {
        /// Which source told first.
        detected_by: Source,
        /// From that source's notice to this decision.
        lag: Span,
    },
    /// An agent's process was seen for the first time.
    AgentStarted {
        /// Which process.
        process: ProcessId,
    },
    /// An agent that ran already was taken over by its token: found by a launch that was tried again, or, after a start
    /// of the orchestrator, on its pane with the process that the record names (G12).
    AgentAdopted {
        /// Which process.
        process: ProcessId,
    },
    /// An agent's process is proved gone.
    AgentDied {
        /// Which process.
        process: ProcessId,
        /// Whether it had reported completion, or its project was over.
        expected: bool,
        /// Which source told first.
        detected_by: Source,
        /// From that source's notice to this decision.
        lag: Span,
        /// How long it had run.
        lifetime: Span,
    },
    /// The evidence of a death, gathered after it was recorded.
    DeathExplained {
        /// The evidence.
        failure: Box<Failure>,
    },
    /// A required resource is not there as it must be.
    ResourceMissing {
        /// `claude_md`, `worktree` or `other`.
        resource: String,
        /// Relative to the worktree.
        path: String,
        /// Which source told first.
        detected_by: Source,
        /// From that source's notice to this decision.
        lag: Span,
        /// The evidence.
        failure: Box<Failure>,
    },
    /// A resource was put right again, or a worktree was made where something else stood.
    ResourceRestored {
        /// Relative to the worktree; a worktree's own relative to the installation.
        path: String,
        /// Where what stood there was parked.
        parked: Vec<String>,
    },
    /// A program run for the project failed.
    SubprocessFailed {
        /// The evidence.
        failure: Box<Failure>,
    },
    /// An operation of ours that is no program failed.
    OperationFailed {
        /// The evidence.
        failure: Box<Failure>,
    },
    /// The brief was handed to the pane.
    BriefHanded {
        /// How often in this epoch, this time included.
        times: u32,
    },
    /// The agent acknowledged the brief: it is delivered.
    BriefAcknowledged,
    /// The agent reported something of its own.
    AgentReported {
        /// `done`, `fail`, `idle`, `needs_input`, `credit`.
        kind: String,
        /// Its words.
        text: Option<String>,
    },
    /// An agent has shown no sign of life for a while: no report, no output, no CPU.
    AgentSilent {
        /// For how long.
        silent: Span,
        /// How long it may be.
        limit: Span,
        /// Whether a tool is in flight.
        tool: bool,
        /// Whether it reports progress, so that its silence will count.
        hooks: bool,
    },
    /// An agent was asked, by a line on its pane, to report.
    AgentNudged {
        /// How long it had been silent.
        silent: Span,
        /// Whether it rests without being done.
        rests: bool,
    },
    /// An agent counts as hung: the evidence.
    AgentStalled {
        /// The evidence.
        failure: Box<Failure>,
    },
    /// A recovery attempt begins; it has been counted.
    RecoveryStarted {
        /// Which attempt within the breaker's window.
        attempt: u32,
        /// How many are allowed.
        max_attempts: u32,
        /// What it is to mend.
        cause: FailureKind,
        /// Whether it is a half-open probe.
        probe: bool,
    },
    /// A recovery attempt is due later.
    RecoveryDelayed {
        /// How long from now.
        delay: Span,
    },
    /// The project works again: every agent has acknowledged.
    RecoverySucceeded {
        /// Attempts the incident took.
        attempts: u32,
        /// From the first fault to now.
        duration: Span,
    },
    /// One more recovery was refused by the breaker.
    RecoveryRefused {
        /// When it may be tried again.
        retry_in: Span,
        /// What it was to mend.
        cause: FailureKind,
    },
    /// A breaker changed its state.
    BreakerMoved {
        /// From.
        from: BreakerState,
        /// To.
        to: BreakerState,
        /// Attempts that count at this moment.
        attempts: u32,
    },
    /// The fleet's breaker changed its state: while it is open, no queued project is admitted (G8).
    FleetBreakerMoved {
        /// From.
        from: BreakerState,
        /// To; never half-open.
        to: BreakerState,
        /// Projects whose breakers opened within its window.
        breakers: u32,
        /// How many may.
        max: u32,
    },
    /// A project may go on and waits for a slot; it goes before every queued one.
    SlotAwaited {
        /// How many are taken, or promised to projects that asked before.
        active: u32,
        /// How many there are.
        max_active: u32,
    },
    /// It has been unknown for too long how the project stands; its suspension follows (G3).
    SightLost {
        /// What cannot be known, and why.
        unknown: String,
        /// For how long.
        lasted: Span,
    },
    /// The finished work, as it was found before the project was called completed (G6).
    ProjectCertified {
        /// What git says of each worktree.
        heads: Vec<Head>,
    },
    /// tmux cannot be asked; nothing is known of any session.
    TmuxLost {
        /// The system's words.
        reason: String,
    },
    /// The tmux server is gone, and every session on it: one event, whatever their number.
    ServerDied {
        /// Its process.
        server: ProcessId,
        /// How many live sessions it had of ours.
        sessions: u32,
    },
    /// The tmux server's socket was gone from its place, and the server has made it again: nobody else could have
    /// reached it meanwhile.
    SocketRestored {
        /// Its process.
        server: ProcessId,
    },
    /// tmux answers (again).
    TmuxAnswered {
        /// The server's process.
        server: ProcessId,
        /// Whether it is another server than before.
        changed: bool,
    },
    /// A project was given up, or failed by its agent: the evidence.
    ProjectFailed {
        /// The evidence.
        failure: Box<Failure>,
    },
    /// A spool record could not be used; it was moved aside.
    SpoolRejected {
        /// Its file name, or what it says of itself.
        name: String,
        /// Why not.
        reason: String,
        /// Whether it merely came late, from an older incarnation.
        stale: bool,
    },
    /// An operator asked for something, and it is being done.
    OperatorAsked {
        /// Which request.
        request: i64,
        /// What was asked for.
        kind: RequestKind,
    },
    /// An operator asked for something that made no sense by the time it was taken; nothing was changed.
    RequestRefused {
        /// Which request.
        request: i64,
        /// What was asked for.
        kind: RequestKind,
        /// Why not.
        reason: String,
    },
    /// A decision wanted an illegal move; nothing was changed. A defect of ours.
    MoveRefused {
        /// Which pair.
        refused: String,
    },
}

impl Signal {
    /// A signal about the fleet.
    #[must_use]
    pub fn fleet(what: What) -> Self {
        Self { project_id: None, agent_role: None, epoch: None, session: None, what }
    }

    /// A signal about a project as it stands.
    #[must_use]
    pub fn project(project: &Project, what: What) -> Self {
        Self {
            project_id: Some(project.id),
            agent_role: None,
            epoch: Some(project.epoch),
            session: project.session.as_ref().map(|session| session.name.clone()),
            what,
        }
    }

    /// A signal about one role of a project.
    #[must_use]
    pub fn role(project: &Project, index: usize, what: What) -> Self {
        let role = project.roles.get(index);
        Self {
            agent_role: role.map(|role| role.name.clone()),
            epoch: role.map(|role| role.epoch),
            ..Self::project(project, what)
        }
    }

    /// The evidence it carries, if it tells of a failure.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.what {
            What::DeathExplained { failure }
            | What::AgentStalled { failure }
            | What::ResourceMissing { failure, .. }
            | What::SubprocessFailed { failure }
            | What::OperationFailed { failure }
            | What::ProjectFailed { failure } => Some(failure),
            What::OrchestratorStarted { .. }
            | What::OrchestratorStopped { .. }
            | What::OrchestratorAway { .. }
            | What::MachineRebooted { .. }
            | What::StoreRestored { .. }
            | What::Quarantined { .. }
            | What::StrayFound { .. }
            | What::LateCreation { .. }
            | What::ProjectEnqueued { .. }
            | What::ProjectMoved { .. }
            | What::RoleMoved { .. }
            | What::EffectIntended { .. }
            | What::SessionCreated { .. }
            | What::SessionDied { .. }
            | What::AgentStarted { .. }
            | What::AgentAdopted { .. }
            | What::AgentDied { .. }
            | What::ResourceRestored { .. }
            | What::BriefHanded { .. }
            | What::BriefAcknowledged
            | What::AgentReported { .. }
            | What::AgentSilent { .. }
            | What::AgentNudged { .. }
            | What::RecoveryStarted { .. }
            | What::RecoveryDelayed { .. }
            | What::RecoverySucceeded { .. }
            | What::RecoveryRefused { .. }
            | What::BreakerMoved { .. }
            | What::FleetBreakerMoved { .. }
            | What::SlotAwaited { .. }
            | What::SightLost { .. }
            | What::ProjectCertified { .. }
            | What::TmuxLost { .. }
            | What::ServerDied { .. }
            | What::SocketRestored { .. }
            | What::TmuxAnswered { .. }
            | What::SpoolRejected { .. }
            | What::OperatorAsked { .. }
            | What::RequestRefused { .. }
            | What::MoveRefused { .. } => None,
        }
    }
}
