//! The simulated agents: what one does from its start to its end.
//!
//! An agent reads its brief, acknowledges it, works for a while, reports progress now and then, and says that it is
//! done. Everything else that the catalogue of faults asks of an agent is a [`Mood`].

use super::heap::Tick;
use crate::truth::Incarnation;
use orchestrator::domain::id::ProcessId;
use orchestrator::domain::project::Pin;

/// What is different about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// Nothing.
    #[default]
    Works,
    /// It dies before it has read anything.
    DiesInStart,
    /// It takes 20 s to come up.
    Slow,
    /// It exits at once, and claims success.
    ExitsAtOnce,
    /// It never acknowledges.
    Deaf,
    /// It reports that it cannot do the work.
    GivesUp,
    /// It asks something first, and the next line is the answer.
    Asks,
    /// Lines wait for a while on its terminal before it reads any.
    Slumbers,
    /// They wait.
    Slumbering,
}

/// An agent, alive or not.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Whose.
    pub incarnation: Incarnation,
    /// Its process.
    pub process: ProcessId,
    /// Its pane.
    pub pane: String,
    /// Where it works.
    pub tree: String,
    /// What CLAUDE.md must be when it starts.
    pub pin: Pin,
    /// What is different about it.
    pub mood: Mood,
    /// When it was started.
    pub born: Tick,
    /// Whether its program runs and reads.
    pub up: bool,
    /// Whether a brief's line waits to be read.
    pub heard: bool,
    /// Whether it has read and acknowledged its brief.
    pub briefed: bool,
    /// Whether it has said that it is done.
    pub done: bool,
    /// From when on it does nothing; it lives.
    pub hung: Option<Tick>,
    /// Whether it hangs and yet draws a spinner, which is no output.
    pub spins: bool,
    /// Whether a tool runs, silently and for long.
    pub tool: bool,
    /// Whether it waits for a person.
    pub asks: bool,
    /// Lines it has written.
    pub output: u64,
    /// Those of them that are still on its screen and say anything.
    pub screen: String,
    /// Counts what it was told to do, so that what was planned before is not done any more.
    pub plan: u64,
    /// What it wrote to standard error.
    pub stderr: Option<String>,
}

impl Agent {
    /// CPU that its process tree has used: a tenth of a core while it works.
    #[must_use]
    pub fn cpu_ticks(&self, at: Tick) -> u64 {
        let until = self.hung.unwrap_or(at).min(at);
        until.saturating_sub(self.born) / 100_000
    }
}
