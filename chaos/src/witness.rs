//! What happens in the world, as it happens: the ground truth that checkers hold the journal against.
//!
//! Nothing here comes from the orchestrator, and nothing from the injector's plan: a fact is told when it is so.

use crate::sim::meter::Series;
use crate::truth::Incarnation;
use orchestrator::domain::id::{EffectId, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::time::{Span, Timestamp};

/// What hinders while connections to a tmux server that lives break, and none can be made.
pub const LINK: &str = "link";

/// A fact with its moment, on the installation's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An enqueue was acknowledged to its client.
    Accepted {
        /// The id that was answered.
        project: ProjectId,
        /// Its roles.
        roles: Vec<RoleName>,
    },
    /// A session is there.
    SessionUp {
        /// Its name.
        name: String,
        /// Its token; none if it has none.
        token: Option<Token>,
        /// Whether an orchestrator's effect made it.
        ours: bool,
    },
    /// A session is gone.
    SessionGone {
        /// Its name.
        name: String,
        /// Its token.
        token: Option<Token>,
    },
    /// An agent's process is there.
    AgentBorn {
        /// Whose.
        incarnation: Incarnation,
        /// Which.
        process: ProcessId,
    },
    /// An agent's process is gone.
    AgentGone {
        /// Whose.
        incarnation: Incarnation,
        /// Which.
        process: ProcessId,
    },
    /// A process of an agent's making is there, and lives on its own.
    ChildBorn {
        /// The mark it carries, or carried until it wiped its environment.
        token: Token,
        /// Whose.
        project: ProjectId,
        /// Of which role's agent.
        role: RoleName,
        /// Which.
        process: ProcessId,
    },
    /// Such a process is gone.
    ChildGone {
        /// Whose.
        project: ProjectId,
        /// Which.
        process: ProcessId,
    },
    /// An agent wrote that it is done.
    Done {
        /// Whose.
        incarnation: Incarnation,
    },
    /// An agent wrote that it cannot do the work: that is proof enough of a failure, and it still lives.
    GaveUp {
        /// Whose.
        incarnation: Incarnation,
    },
    /// An agent is working on a report every so often no more: it hangs from here on.
    Hangs {
        /// Whose.
        incarnation: Incarnation,
    },
    /// A brief was handed over and did not come to its agent, which has neither read one before nor waits for a person.
    BriefLost {
        /// Whose.
        incarnation: Incarnation,
    },
    /// A role's CLAUDE.md or worktree is not as it must be.
    Unfit {
        /// Whose.
        project: ProjectId,
        /// Which role's.
        role: RoleName,
        /// What is wrong.
        why: &'static str,
    },
    /// It is as it must be again.
    Fit {
        /// Whose.
        project: ProjectId,
        /// Which role's.
        role: RoleName,
    },
    /// The tmux server is there.
    ServerUp {
        /// Its process.
        server: ProcessId,
    },
    /// It is gone.
    ServerGone {
        /// Its process.
        server: ProcessId,
    },
    /// It answers nothing from here on.
    ServerStopped,
    /// It answers again.
    ServerContinued,
    /// An orchestrator runs, and holds the lease.
    Serving {
        /// Which one of the run.
        life: usize,
    },
    /// It is gone, or does nothing for now.
    NotServing {
        /// Which one of the run.
        life: usize,
    },
    /// A second orchestrator was started while another held the lock of the installation.
    Second {
        /// Whether it was refused.
        refused: bool,
        /// Whether the database changed by it.
        wrote: bool,
    },
    /// An orchestrator began to change the world for an effect.
    Began {
        /// Which one of the run.
        life: usize,
        /// Which effect.
        effect: EffectId,
        /// Its name.
        name: &'static str,
        /// Whether it changes the world, and so needs a committed intent.
        durable: bool,
    },
    /// Something keeps every orchestrator from noticing or writing anything in time.
    Hindered {
        /// What.
        by: &'static str,
    },
    /// It does so no more.
    Unhindered {
        /// What.
        by: &'static str,
    },
    /// An orchestrator typed into the pane of somebody else, or opened a window beside it.
    StrangerReached {
        /// Whose process it is.
        process: ProcessId,
    },
    /// A process that is nobody's of ours is gone.
    StrangerGone {
        /// Which.
        process: ProcessId,
    },
    /// The machine started anew: every process is gone.
    Rebooted,
    /// The metrics of an orchestrator were read.
    Scraped {
        /// What they were.
        series: Series,
    },
    /// An agent wrote that it has read its brief.
    Acknowledged {
        /// Whose.
        incarnation: Incarnation,
    },
    /// A fault was injected, and took effect.
    Injected {
        /// Its number in the schedule.
        id: u32,
    },
    /// A project was accepted with this rank: higher goes first.
    Ranked {
        /// Which.
        project: ProjectId,
        /// Its priority.
        priority: i32,
    },
    /// A request of an operator was recorded, and its number answered.
    Asked {
        /// Its number.
        request: i64,
        /// About which project; none: about the fleet.
        project: Option<ProjectId>,
        /// What was asked for.
        kind: RequestKind,
    },
    /// An agent wrote that it has no credit.
    Spent {
        /// Whose.
        project: ProjectId,
        /// For how long.
        wait: Span,
    },
    /// No more faults: what was broken from outside is put right.
    Healed,
}
