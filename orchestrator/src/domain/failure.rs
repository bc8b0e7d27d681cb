//! What is known of something that failed (G7).
//!
//! A [`Failure`] cannot be empty: it always says at which stage, of what kind, how it ended, and what became of
//! stderr. "Subprocess failed: None", the message that hid the death of project 99, cannot be expressed.

use super::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in a project's life something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Making worktrees and writing resources.
    Provision,
    /// Creating the session and starting agents.
    Launch,
    /// Handing over the brief and waiting for its acknowledgement.
    Brief,
    /// While agents work.
    Run,
    /// Checking that a finished project may be called completed.
    Complete,
    /// Taking down what a finished project leaves.
    Cleanup,
}

/// The closed list of causes; a failure is classified as exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The tmux session is gone, and its agents with it.
    SessionDied,
    /// The tmux server is gone, and every session with it.
    ServerDied,
    /// The agent's process was ended by a signal.
    AgentKilled,
    /// The agent's process exited (with any code) without having reported completion.
    AgentExited,
    /// The agent's process is gone and its exit status could not be had.
    AgentLost,
    /// The agent itself reported that it cannot go on.
    AgentReported,
    /// The agent lives and has been silent in every respect for too long.
    AgentStalled,
    /// A required resource is not there or is not a regular, readable file.
    ResourceMissing,
    /// A required resource no longer has the size or SHA-256 that was pinned at launch.
    ResourceChanged,
    /// The role's worktree is not usable.
    WorktreeInvalid,
    /// The name of a session of ours is taken by somebody else's.
    NameConflict,
    /// A program that was run for the project (git, tmux) failed.
    SubprocessFailed,
    /// A program could not be started at all.
    SpawnFailed,
    /// The orchestrator itself had no descriptor, process or memory left ([`super::lack`]): no project's fault.
    Exhausted,
    /// Something did not answer by its deadline; its outcome is unknown.
    TimedOut,
    /// The brief was delivered as often as allowed and never acknowledged.
    BriefUnacknowledged,
    /// An operation on a file failed.
    Io,
    /// The project may not be launched as it is specified (found by validation).
    Invalid,
}

/// How the thing that failed came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// It could not be started: the system's words.
    NotStarted(String),
    /// It was still running when its deadline passed.
    DeadlinePassed(Span),
    /// It ended and its status cannot be had: why not.
    Lost(String),
    /// It was no process: what the system or the check said.
    Reason(String),
}

/// What became of the standard error of the thing that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stderr_state", content = "stderr")]
pub enum Stderr {
    /// It wrote this (the tail of it).
    Text(String),
    /// It was captured, and nothing was written.
    Empty,
    /// Nothing could be captured, which is not the same as silence.
    Null,
}

impl Stderr {
    /// From captured bytes: text, or empty.
    #[must_use]
    pub fn captured(tail: String) -> Self {
        if tail.trim().is_empty() { Self::Empty } else { Self::Text(tail) }
    }

    /// The state's name as logs and metrics spell it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Empty => "empty",
            Self::Null => "null",
        }
    }

    /// The captured text, if any.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Empty | Self::Null => None,
        }
    }
}

/// Which program failed, as a closed list (the metrics' `program` label).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// tmux, by control connection or as a process.
    Tmux,
    /// git.
    Git,
    /// The agent of a role.
    Agent,
    /// No program: the orchestrator's own check or file operation.
    Orch,
}

/// Evidence of one failure; every field that can be known is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When in the project's life.
    pub stage: Stage,
    /// Its one classification.
    pub kind: FailureKind,
    /// What was run.
    pub program: Program,
    /// Its argument vector; for an operation that is no process, its name and operands. Never empty.
    pub argv: Vec<String>,
    /// Where it ran, if it had a working directory.
    pub cwd: Option<String>,
    /// How it ended.
    pub ending: Ending,
    /// What became of its standard error.
    #[serde(flatten)]
    pub stderr: Stderr,
    /// The tail of its standard output or of the agent's screen; empty if there was none.
    pub stdout_tail: String,
    /// How long it ran.
    pub duration: Span,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of an operation of ours (no process): `what` names it, `reason` is the system's words.
    #[must_use]
    pub fn of_operation(stage: Stage, kind: FailureKind, what: Vec<String>, reason: impl Into<String>) -> Self {
        Self {
            stage,
            kind,
            program: Program::Orch,
            argv: what,
            cwd: None,
            ending: Ending::Reason(reason.into()),
            stderr: Stderr::Null,
            stdout_tail: String::new(),
            duration: Span(0),
            hint: None,
        }
    }

    /// Error quality from 0 to 1: how much a person can learn from this record.
    ///
    /// The weights are those of `reference/metrics-alerts-logs.md`: .20 ending, .20 stderr text (or .10 for a
    /// known state alone), .15 argv, .15 kind, .10 place, .10 stdout, .10 hint.
    #[must_use]
    pub fn quality(&self) -> f64 {
        let ending = match &self.ending {
            Ending::Code(_) | Ending::Signal(_) | Ending::DeadlinePassed(_) => 20,
            Ending::NotStarted(why) | Ending::Lost(why) | Ending::Reason(why) if !why.is_empty() => 20,
            Ending::NotStarted(_) | Ending::Lost(_) | Ending::Reason(_) => 0,
        };
        let stderr = if self.stderr.text().is_some() { 20 } else { 10 };
        let argv = if self.argv.is_empty() { 0 } else { 15 };
        let kind = 15;
        let place = if self.cwd.is_some() { 10 } else { 0 };
        let stdout = if self.stdout_tail.is_empty() { 0 } else { 10 };
        let hint = if self.hint.is_some() { 10 } else { 0 };
        f64::from(ending + stderr + argv + kind + place + stdout + hint) / 100.0
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::DeadlinePassed(after) => write!(f, "no answer within {} ms", after.as_millis()),
            Self::Lost(why) => write!(f, "exit status lost: {why}"),
            Self::Reason(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.argv.join(" "), self.ending)?;
        match &self.stderr {
            Stderr::Text(text) => write!(f, "; stderr: {}", last_line(text)),
            Stderr::Empty => f.write_str("; stderr: empty"),
            Stderr::Null => f.write_str("; stderr: not captured"),
        }
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}
