//! Everything the world may be asked to do: one closed enumeration, in the imperative.
//!
//! Every effect that changes something is an *ensure*: performing it again, after a crash whose outcome is unknown,
//! finds by token what is already there and changes nothing (G2, G11). Durable effects are committed to the outbox
//! before they are performed; the others only look.
//!
//! Contents (files, environment, command lines) travel in memory only: the outbox and the logs hold names, sizes and
//! hashes, never what an agent is told (S15).

use super::event::Source;
use super::failure::Stage;
use super::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use super::project::Pin;
use super::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An effect with its place in the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// Its id.
    pub id: EffectId,
    /// For which project; none if it concerns the fleet.
    pub project: Option<ProjectId>,
    /// For which role; none if it concerns the whole project.
    pub role: Option<RoleName>,
    /// In which stage of the project's life, for the failure it may become.
    pub stage: Stage,
    /// Which source's notice led to it; its result is told as coming from there.
    pub source: Source,
    /// When that source noticed.
    pub seen_at: Timestamp,
    /// What to do.
    pub effect: Effect,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// Look whether everything the launch will need is there, before anything is made.
    Preflight {
        /// The repository.
        repo: String,
        /// The commit the branches start from.
        base_sha: String,
        /// Programs that must be found.
        programs: Vec<String>,
    },
    /// Make the worktree and branch be there.
    EnsureWorktree {
        /// The repository.
        repo: String,
        /// Relative to the installation.
        path: String,
        /// The branch.
        branch: String,
        /// What the branch starts from if it is not there yet.
        base: String,
        /// Where what stands in the way is moved to, relative to the installation.
        park: String,
    },
    /// Make the files be there, each in its way.
    EnsureFiles {
        /// The worktree, relative to the installation.
        worktree: String,
        /// The files.
        files: Vec<FileToWrite>,
        /// Where to park a different file that stands in the way, relative to the installation.
        park: String,
    },
    /// Look at worktrees and resources.
    Look {
        /// What to look at.
        roles: Vec<RoleLook>,
    },
    /// End every process that carries one of these tokens, and prove that none is left.
    EndRemains {
        /// Tokens of older incarnations.
        tokens: Vec<Token>,
    },
    /// Make the session be there under its token, with one pane a role.
    EnsureSession {
        /// Its name.
        session: String,
        /// Its token.
        token: Token,
        /// Its agents.
        launches: Vec<Launch>,
    },
    /// Start one agent again within a live session.
    Respawn {
        /// The session.
        session: String,
        /// The session's token.
        session_token: Token,
        /// The pane of the role's last process, if there was one.
        pane: Option<String>,
        /// The token that pane carries.
        old_token: Option<Token>,
        /// The agent.
        launch: Launch,
    },
    /// Hand the brief's one line to the pane.
    HandBrief {
        /// The pane.
        pane: String,
        /// The token that it carries.
        token: Token,
        /// The line: fixed ASCII that names the file.
        line: String,
        /// Whether it was handed over before in this epoch.
        again: bool,
    },
    /// Hand a silent or resting agent one line that asks it to report.
    Nudge {
        /// The pane.
        pane: String,
        /// The token that it carries.
        token: Token,
        /// The line: fixed ASCII, harmless to whatever reads it.
        line: String,
    },
    /// Look at an agent's screen and at the CPU its process tree has used.
    Sample {
        /// Its pane.
        pane: String,
        /// Its process.
        process: ProcessId,
    },
    /// Find out what is left of an agent.
    Collect {
        /// Its session's name.
        session: String,
        /// Its session's token.
        session_token: Token,
        /// Its pane.
        pane: Option<String>,
        /// Its process.
        process: Option<ProcessId>,
        /// The file that took its standard error, relative to the installation.
        stderr: String,
        /// The tmux server that the session was confirmed on.
        server: Option<ProcessId>,
        /// When its process was first seen.
        started_at: Option<Timestamp>,
    },
    /// Look at the finished work: resources once more, and what git says.
    Certify {
        /// What to look at.
        roles: Vec<RoleLook>,
    },
    /// End the session, if it is the one of this token, and what its agents left.
    EndSession {
        /// Its name.
        session: String,
        /// Its token.
        token: Token,
        /// The tokens of its agents.
        tokens: Vec<Token>,
    },
    /// List every pane of the server.
    ListPanes,
    /// Find out which of the watched worktrees and resources have changed since the last survey.
    Survey,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileToWrite {
    /// Relative to the worktree.
    pub path: String,
    /// What becomes of a file that is there.
    pub way: Way,
    /// Its bytes.
    #[serde(skip)]
    pub content: Arc<str>,
}

/// What becomes of a file that is where one is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It gets these bytes; a different one is parked.
    Exact,
    /// It stays as it is.
    IfMissing,
    /// It keeps all that is in it and gets our hooks beside that ([`super::hooks::merge`]). One that cannot be merged
    /// is left alone, and that is told.
    MergeHooks,
}

/// What to look at for one role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoleLook {
    /// Whose.
    pub role: RoleName,
    /// Its worktree, relative to the installation.
    pub worktree: String,
    /// The branch it must be on.
    pub branch: String,
    /// The files to look at, relative to the worktree.
    pub files: Vec<String>,
}

/// How to start one agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Launch {
    /// Whose; also the window's name.
    pub role: RoleName,
    /// Which project.
    pub project: ProjectId,
    /// Which incarnation.
    pub epoch: Epoch,
    /// Its token.
    pub token: Token,
    /// Its worktree, relative to the installation.
    pub worktree: String,
    /// What CLAUDE.md must be when the agent starts; checked once more by the launcher.
    pub claude_md: Pin,
    /// The file that takes its standard error, relative to the installation.
    pub stderr: String,
    /// Whether its token was asked for before, with an outcome that is unknown: what came of it is taken over, and
    /// what of it has outlived its pane is ended before anything is started under that token again (G5).
    pub again: bool,
    /// Its argument vector.
    #[serde(skip)]
    pub argv: Vec<String>,
    /// Variables added to its environment.
    #[serde(skip)]
    pub env: BTreeMap<String, String>,
}

impl Effect {
    /// Whether it changes the world, and so goes through the outbox.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        match self {
            Self::EnsureWorktree { .. }
            | Self::EnsureFiles { .. }
            | Self::EndRemains { .. }
            | Self::EnsureSession { .. }
            | Self::Respawn { .. }
            | Self::HandBrief { .. }
            | Self::Nudge { .. }
            | Self::EndSession { .. } => true,
            Self::Preflight { .. }
            | Self::Look { .. }
            | Self::Sample { .. }
            | Self::Collect { .. }
            | Self::Certify { .. }
            | Self::ListPanes
            | Self::Survey => false,
        }
    }

    /// The name used in the outbox, in logs and in metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Preflight { .. } => "preflight",
            Self::EnsureWorktree { .. } => "ensure_worktree",
            Self::EnsureFiles { .. } => "ensure_files",
            Self::Look { .. } => "look",
            Self::EndRemains { .. } => "end_remains",
            Self::EnsureSession { .. } => "ensure_session",
            Self::Respawn { .. } => "respawn",
            Self::HandBrief { .. } => "hand_brief",
            Self::Nudge { .. } => "nudge",
            Self::Sample { .. } => "sample",
            Self::Collect { .. } => "collect",
            Self::Certify { .. } => "certify",
            Self::EndSession { .. } => "end_session",
            Self::ListPanes => "list_panes",
            Self::Survey => "survey",
        }
    }
}
