//! What a world must be able to do to be compared with the other one.

use orchestrator::domain::effect::Effect;
use orchestrator::domain::event::Happened;
use orchestrator::domain::id::EffectId;
use orchestrator::domain::project::Project;
use orchestrator::domain::time::Span;
use orchestrator::env::SpoolItem;

/// The one session, and the roles in it.
pub(crate) const SESSION: &str = "p1-conf-e1";
pub(crate) const ROLES: [&str; 2] = ["a", "b"];

/// Where a role works, relative to the installation.
pub(crate) fn tree(role: &str) -> String {
    format!("worktrees/{role}-e1")
}

/// Its branch.
pub(crate) fn branch(role: &str) -> String {
    format!("orch/p1/{role}/e1")
}

/// Something that is broken from outside, or put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// The role's newest agent is killed by SIGKILL.
    KillAgent(&'static str),
    /// It exits, with 0 or with the catalogue's code.
    Exit(&'static str, i32),
    /// From now on it ignores SIGHUP and SIGTERM.
    Stubborn(&'static str),
    /// Its pane is closed.
    ClosePane(&'static str),
    /// Its pane is put into copy mode.
    CopyMode(&'static str),
    /// The session is killed.
    KillSession,
    /// Somebody else makes a session of that name.
    Foreign(&'static str),
    /// The tmux server is killed by SIGKILL.
    KillServer,
    /// The orchestrator's connection to it breaks, and it lives.
    CutConnection,
    /// It is stopped.
    StopServer,
    /// It goes on.
    ContinueServer,
    /// Its socket is removed.
    UnlinkSocket,
    /// CLAUDE.md of a role is removed.
    Remove(&'static str),
    /// Another file is renamed over it.
    Replace(&'static str),
    /// It is emptied.
    Truncate(&'static str),
    /// Its time is set, and nothing else.
    Touch(&'static str),
    /// A directory stands in its place.
    Directory(&'static str),
    /// A symbolic link stands in its place.
    Symlink(&'static str),
    /// The worktree's directory is removed.
    RemoveTree(&'static str),
    /// A directory of its name, with a CLAUDE.md, is made.
    RemakeTree(&'static str),
    /// It is as a killed `git worktree add` leaves it.
    Husk(&'static str),
    /// Another branch is checked out in it.
    OtherBranch(&'static str),
    /// A file that git does not know is written into it.
    Dirty(&'static str),
}

/// A world with one installation, one repository, one tmux server, and an orchestrator's hold on them.
pub(crate) trait Stage {
    /// The repository and a commit in it.
    fn repo(&self) -> (String, String);
    /// Part of every token: what ends an incarnation looks for it on the whole machine.
    fn salt(&self) -> u64;
    /// The agents' command.
    fn agent(&self) -> Vec<String>;
    /// Hands an effect over.
    fn submit(&mut self, role: Option<&str>, effect: Effect) -> EffectId;
    /// What happens next, waiting for it so long.
    fn next(&mut self, within: Span) -> Option<Happened>;
    /// Says what a project is.
    fn watch(&mut self, project: &Project);
    /// Takes the reports that lie in the spool.
    fn reports(&mut self) -> Vec<SpoolItem>;
    /// Waits until the role's newest agent listens.
    fn await_agent(&mut self, role: &str);
    /// Breaks something.
    fn harm(&mut self, harm: Harm);
}
