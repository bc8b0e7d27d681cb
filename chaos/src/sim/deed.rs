//! The words in which faults are done to the simulated world: whom they hit, what they do, what waits for an operation and
//! what ends by itself.

use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::state::ProjectState;

/// How an operation is spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// It fails, and its standard error was closed.
    Null,
    /// It fails, with nothing on standard error.
    Empty,
    /// It fails with bytes that are no text.
    Binary,
    /// It fails with more words than anyone keeps.
    Flood,
    /// It is killed.
    Signal,
    /// Its program is not there.
    NotFound,
    /// It does not end.
    Hangs,
    /// It says that it succeeded.
    Lies,
    /// There is no space.
    NoSpace,
    /// It succeeds and its answer is lost.
    ReplyLost,
}

/// A fault that waits for the next operation of its sort.
#[derive(Debug, Clone)]
pub struct Armed {
    /// Its number in the schedule.
    pub id: u32,
    /// Whose operation.
    pub project: ProjectId,
    /// Which: `worktree`, `create`, `enter`, `preflight`.
    pub operation: &'static str,
    /// What becomes of it.
    pub how: Spoil,
    /// Whether it waits for every one from now on.
    pub for_ever: bool,
}

/// What ends by itself after a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// The tmux server goes on.
    ContinueServer,
    /// Things take as long as they did.
    Speed,
    /// There is space again.
    Space,
    /// Events arrive again.
    Hear,
    /// Events come once again.
    Once,
    /// Events come as soon as they happen.
    Prompt,
    /// Tmux takes connections again.
    Connect,
    /// Commits succeed again.
    Unlock,
    /// The orchestrator is run again.
    Unpause,
    /// Panes of this role leave copy mode.
    LeaveCopyMode,
}

/// What a fault did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It took effect.
    Done,
    /// It took effect, and ends so after so many microseconds.
    Until(Undo, u64),
    /// It waits for an operation; that it took effect is witnessed when it does.
    Armed,
    /// It had nothing to break.
    Nothing(&'static str),
    /// The orchestrator dies, now.
    KillOrchestrator,
    /// The orchestrator dies right after its next commit.
    KillAfterCommit,
    /// No commit succeeds, for so many microseconds.
    Lock(u64),
    /// The orchestrator is stopped, for so many microseconds.
    Pause(u64),
    /// The orchestrator is stopped, another takes over, and it goes on.
    Supersede,
    /// A second one is started.
    Second,
    /// Somebody writes that state into the project's row.
    Forge(ProjectState),
    /// The machine reboots.
    Reboot,
}

/// Whom a fault hits.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which project.
    pub project: ProjectId,
    /// Which role, if the fault hits one.
    pub role: RoleName,
}
