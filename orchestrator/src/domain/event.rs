//! Everything that can happen: one closed enumeration, in the past tense.

use super::failure::{Failure, Stderr};
use super::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Seq, Token};
use super::project::Pin;
use super::request::Request;
use super::silence::Sample;
use super::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// Which of the sources told us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A pidfd on the agent's process became readable.
    Pidfd,
    /// The tmux control connection.
    Control,
    /// inotify on a directory.
    Inotify,
    /// A record in the spool, or an operator's request.
    Spool,
    /// The periodic sweep, or the reconciliation at start.
    Sweep,
    /// The result of an effect.
    Effect,
    /// A deadline of ours.
    Timer,
}

impl Source {
    /// Every value.
    pub const ALL: &'static [Self] =
        &[Self::Pidfd, Self::Control, Self::Inotify, Self::Spool, Self::Sweep, Self::Effect, Self::Timer];

    /// The name used in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pidfd => "pidfd",
            Self::Control => "control",
            Self::Inotify => "inotify",
            Self::Spool => "spool",
            Self::Sweep => "sweep",
            Self::Effect => "effect",
            Self::Timer => "timer",
        }
    }
}

/// An event with its source and the moment at which that source saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// When the source saw it.
    pub seen_at: Timestamp,
    /// Which source.
    pub source: Source,
    /// What happened.
    pub event: Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The orchestrator has started and read the store.
    Started,
    /// A slot is free and this project is next.
    Admitted {
        /// Which.
        project: ProjectId,
    },
    /// An effect came to its end.
    Settled {
        /// Which effect.
        effect: EffectId,
        /// For which project; none for fleet-wide effects.
        project: Option<ProjectId>,
        /// For which role; none for project-wide effects.
        role: Option<RoleName>,
        /// What it found or did, or why not.
        result: Result<Fact, Box<Failure>>,
    },
    /// A process that was watched is gone: proof of death.
    ProcessGone {
        /// Whose.
        project: ProjectId,
        /// Which role's.
        role: RoleName,
        /// Which process.
        process: ProcessId,
    },
    /// The tmux server answered with every pane it has.
    PanesListed {
        /// Which server answered.
        server: ProcessId,
        /// All of its panes but the keeper's.
        panes: Vec<PaneSeen>,
    },
    /// A living tmux server's socket was gone from its place, and the server was asked to make it again (T10).
    SocketRestored {
        /// Which server.
        server: ProcessId,
    },
    /// The connection to tmux is gone; nothing is known of any session.
    TmuxLost {
        /// The system's words.
        reason: String,
    },
    /// Something changed at or near a watched resource.
    FilesTouched {
        /// Whose.
        project: ProjectId,
        /// Which role's.
        role: RoleName,
    },
    /// An agent (or its hooks, or a person) wrote a record into the spool.
    Reported {
        /// Whose, as the record says.
        project: ProjectId,
        /// Which role, as the record says.
        role: RoleName,
        /// Which incarnation, as the record says.
        epoch: Epoch,
        /// The token it carries; must be the role's current one.
        token: Token,
        /// What it reports.
        report: Report,
    },
    /// A record in the spool could not be used.
    SpoolRejected {
        /// Its file name.
        name: String,
        /// Why not.
        reason: String,
    },
    /// There may be something new in the spool or in the queue; the turn itself reads both.
    SpoolTouched,
    /// Nobody looked for longer than was meant: what did not come meanwhile is held against nobody (G14, C44).
    Away {
        /// For how long, a suspend included.
        away: Span,
        /// How much of it the installation's timeline counted: all of it but a suspend.
        counted: Span,
    },
    /// The machine was started anew since the database was last written: proof that every process it names is gone.
    Rebooted,
    /// The database is older than what this installation had written (C46).
    Restored {
        /// The last entry of the journal that was there before.
        had: Seq,
        /// The last one that is there now.
        has: Seq,
    },
    /// Traces of incarnations that are newer than what the database knew when it was opened.
    Traced(Vec<Trace>),
    /// It is time to look at everything, whatever the event sources say.
    SweepDue,
    /// A deadline of the fleet has passed: its breaker may close, or tmux has not answered for too long.
    FleetDue,
    /// A deadline of this project has passed.
    Due {
        /// Which.
        project: ProjectId,
    },
    /// An operator asked for something.
    Requested {
        /// For which project.
        project: ProjectId,
        /// What.
        request: Request,
    },
    /// An operator asked for something that concerns the fleet: a reset of its breaker.
    FleetRequested {
        /// What.
        request: Request,
    },
}

/// A trace of one incarnation, found in the world rather than in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The project's part of all names, [`super::project::Project::slug`].
    pub slug: String,
    /// Which incarnation.
    pub epoch: Epoch,
    /// Its token, where the trace carries one.
    pub token: Option<Token>,
    /// What it is, for people: `session p7-ab12-e4`.
    pub what: String,
}

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "text")]
pub enum Report {
    /// It has read its brief.
    Ack,
    /// It goes on; what it does, if it says so. A text that begins with [`super::silence::TOOL_START`] tells of a tool in
    /// flight.
    Progress(Option<String>),
    /// It is done; a summary, if it gives one.
    Done(Option<String>),
    /// It cannot go on, and why.
    Fail(String),
    /// It rests without being done.
    Idle,
    /// It waits for a person, and for what.
    NeedsInput(Option<String>),
    /// It is out of credit; for how many seconds, if it knows.
    Credit(Option<u64>),
}

impl Report {
    /// The name used in records and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Progress(_) => "progress",
            Self::Done(_) => "done",
            Self::Fail(_) => "fail",
            Self::Idle => "idle",
            Self::NeedsInput(_) => "needs_input",
            Self::Credit(_) => "credit",
        }
    }
}

/// One pane as tmux listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneSeen {
    /// tmux's id of it.
    pub pane: String,
    /// The process it was started with.
    pub pid: u32,
    /// Whether that process has ended and the pane is kept (remain-on-exit).
    pub dead: bool,
    /// Its session's name.
    pub session: String,
    /// Its session's `@orch_instance`.
    pub session_token: Option<Token>,
    /// Its own `@orch_role_instance`.
    pub role_token: Option<Token>,
}

/// A file that belongs to somebody else, that our part could not be added to, and that was left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Relative to the worktree.
    pub path: String,
    /// Why.
    pub why: String,
}

/// What an effect found or did.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Everything the launch will need is there.
    Preflighted,
    /// The worktree is there, on its branch.
    WorktreeReady {
        /// What its HEAD resolves to.
        head_sha: String,
        /// Whether it was made just now, or found as it should be.
        created: bool,
        /// Where what stood in the way was parked.
        parked: Vec<String>,
    },
    /// The files are there with the right bytes.
    FilesReady {
        /// The pin of CLAUDE.md as read back.
        claude_md: Pin,
        /// Where a different file that stood in the way was parked.
        parked: Vec<String>,
        /// Files that were to be added to and cannot be.
        left: Vec<LeftAlone>,
    },
    /// The resources were looked at.
    Looked {
        /// One entry a role that was looked at.
        roles: Vec<RoleFound>,
    },
    /// No process carries any of the stale tokens.
    RemainsEnded {
        /// The tokens that were asked about.
        tokens: Vec<Token>,
        /// How many had to be ended.
        ended: u32,
    },
    /// The session is there under its token.
    SessionUp {
        /// Whether it was there already.
        adopted: bool,
        /// Its panes, one a role.
        panes: Vec<PaneUp>,
        /// The server it is on.
        server: ProcessId,
    },
    /// One agent is there under its token.
    AgentUp(PaneUp),
    /// The brief's line was handed to the pane; that is not yet delivery.
    BriefHanded,
    /// The nudge was handed to the pane.
    Nudged,
    /// How an agent's screen and process tree stand.
    Sampled(Sample),
    /// What is left of an agent.
    Collected(Box<Remains>),
    /// The finished work was looked at.
    Certified {
        /// The resources.
        roles: Vec<RoleFound>,
        /// What git says of each worktree.
        heads: Vec<Head>,
    },
    /// The session is gone.
    SessionEnded,
}

/// What git says of a finished role's worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose.
    pub role: RoleName,
    /// The commit it ends on.
    pub sha: String,
    /// Whether there are uncommitted changes.
    pub dirty: bool,
}

/// An agent that was started or adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaneUp {
    /// Whose.
    pub role: RoleName,
    /// tmux's id of the pane.
    pub pane: String,
    /// Its process; none if it had ended before it could be seen.
    pub process: Option<ProcessId>,
}

/// The state of a role's worktree and resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFound {
    /// Whose.
    pub role: RoleName,
    /// What is wrong with the worktree itself, if anything.
    pub worktree: Option<String>,
    /// The files, in the order they were asked for.
    pub files: Vec<FileFound>,
}

/// One file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFound {
    /// Relative to the worktree.
    pub path: String,
    /// What it is.
    pub is: FileIs,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileIs {
    /// A regular, readable file of text.
    Regular(Pin),
    /// Nothing.
    Missing,
    /// Something that is no usable file: what, in words.
    Unusable(String),
}

/// What tmux says of the end of a pane's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaneEnd {
    /// There is no such pane.
    Gone,
    /// Its process runs.
    Alive,
    /// Its process has ended.
    Dead {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

/// What is left of an agent whose end is suspected or proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// Its pane.
    pub pane: PaneEnd,
    /// Whether its session is still there under its token.
    pub session_present: bool,
    /// Whether the tmux server is another one than the session was created on.
    pub server_changed: bool,
    /// Whether its process still runs.
    pub alive: bool,
    /// Its standard error.
    pub stderr: Stderr,
    /// The tail of its screen.
    pub screen: String,
    /// How long it ran, as far as known.
    pub lifetime: Span,
}
