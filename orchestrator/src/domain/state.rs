//! The states of projects and roles, and the one place that says which moves are legal (G9).
//!
//! `next` is a total function of (state, event): every pair is decided here, and only here. A move comes out as a
//! [`Moved`], whose fields are private, so nothing else can mint one; the store writes only what it is given as
//! `Moved`, by compare-and-set, and the database refuses the rest once more by trigger. A test holds the trigger's
//! table against [`ProjectState::moves`] and [`RoleState::moves`].

use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// Where a project stands. The doc of each state says what it means after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// Waiting for a slot. Nothing of it exists outside the database.
    Queued,
    /// Worktrees and resources are being made. After a crash: looked at again, what is missing is made.
    Provisioning,
    /// Session and agents are being started; names and tokens are recorded. After a crash: settled by token.
    Launching,
    /// Agents run, at least one has not acknowledged its brief. After a crash: the brief is handed over again.
    Briefing,
    /// All agents have acknowledged. After a crash: adopted by token.
    Running,
    /// Something failed; an attempt is due at a recorded time. After a crash: the attempt is still due.
    Recovering,
    /// Nothing is attempted, for a recorded reason; live agents are left alone.
    Suspended,
    /// Finished, with evidence. Absorbs.
    Completed,
    /// Given up, with evidence. Absorbs, but for an operator's retry.
    Failed,
    /// Ended by the operator. Absorbs, but for an operator's retry.
    Cancelled,
}

/// Why a project is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspendReason {
    /// Its recovery budget is spent; probed when the breaker half-opens.
    Breaker,
    /// An agent is out of credit.
    Credit,
    /// An operator asked for it.
    Operator,
    /// The orchestrator cannot know enough to go on.
    NeedsOperator,
}

/// What may happen to a project, as far as its state is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectEvent {
    /// A slot is free and it is its turn.
    Admitted,
    /// Every role's worktree and resources are there and verified.
    Provisioned,
    /// Every role that needs one has a process.
    Launched,
    /// Every role has acknowledged its brief, or is done.
    Briefed,
    /// All roles are done and all evidence holds.
    Certified,
    /// Something was found wrong that a recovery may mend.
    Faulted,
    /// A counted recovery attempt begins.
    AttemptStarted,
    /// The budget is spent.
    BreakerOpened,
    /// It is to rest, for credit, by an operator, or because too little is known.
    Suspended,
    /// It may go on, from where it stands.
    Resumed,
    /// It is given up.
    GaveUp,
    /// The operator ended it.
    Cancelled,
    /// The operator wants it run once more from the queue.
    Retried,
}

/// Where one role's agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleState {
    /// It has no process and none is asked for.
    Absent,
    /// Its process is asked for or runs, and has not acknowledged the brief.
    Starting,
    /// It has acknowledged the brief.
    Ready,
    /// It has reported progress.
    Working,
    /// It has come to rest without being done.
    Idle,
    /// It waits for a person.
    NeedsInput,
    /// It has been silent in every respect for too long.
    Stalled,
    /// It has reported completion in its current epoch.
    Done,
    /// Its process is proved gone.
    Dead,
    /// Whether it lives cannot be known just now.
    Unknown,
}

/// What may happen to a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleEvent {
    /// A process with a new epoch and token is asked for.
    Launched,
    /// It acknowledged its brief.
    Acknowledged,
    /// It reported progress.
    Progressed,
    /// It reported that it rests.
    Rested,
    /// It asked for a person.
    Asked,
    /// Every sign of life has been silent for too long.
    FellSilent,
    /// It reported completion.
    Finished,
    /// Its process is proved gone.
    Died,
    /// Nothing can be known of it.
    LostSight,
    /// It is seen alive again.
    Seen,
    /// Its project is over and its process taken down.
    Retired,
}

/// A pair of state and event that must not happen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{entity} in state {state} cannot take event {event}")]
pub struct IllegalMove {
    /// `project` or `role`.
    pub entity: &'static str,
    /// The state it is in.
    pub state: String,
    /// The event that came.
    pub event: String,
}

/// A legal move; only `next` makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<S> {
    from: S,
    to: S,
}

impl<S: Copy> Moved<S> {
    /// The state before.
    #[must_use]
    pub fn from(&self) -> S {
        self.from
    }

    /// The state after.
    #[must_use]
    pub fn to(&self) -> S {
        self.to
    }
}

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in the database, in logs and in metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// The value of that name, if there is one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named!(ProjectState {
    Queued = "queued",
    Provisioning = "provisioning",
    Launching = "launching",
    Briefing = "briefing",
    Running = "running",
    Recovering = "recovering",
    Suspended = "suspended",
    Completed = "completed",
    Failed = "failed",
    Cancelled = "cancelled",
});
named!(SuspendReason {
    Breaker = "breaker",
    Credit = "credit",
    Operator = "operator",
    NeedsOperator = "needs_operator",
});
named!(ProjectEvent {
    Admitted = "admitted",
    Provisioned = "provisioned",
    Launched = "launched",
    Briefed = "briefed",
    Certified = "certified",
    Faulted = "faulted",
    AttemptStarted = "attempt_started",
    BreakerOpened = "breaker_opened",
    Suspended = "suspended",
    Resumed = "resumed",
    GaveUp = "gave_up",
    Cancelled = "cancelled",
    Retried = "retried",
});
named!(RoleState {
    Absent = "absent",
    Starting = "starting",
    Ready = "ready",
    Working = "working",
    Idle = "idle",
    NeedsInput = "needs_input",
    Stalled = "stalled",
    Done = "done",
    Dead = "dead",
    Unknown = "unknown",
});
named!(RoleEvent {
    Launched = "launched",
    Acknowledged = "acknowledged",
    Progressed = "progressed",
    Rested = "rested",
    Asked = "asked",
    FellSilent = "fell_silent",
    Finished = "finished",
    Died = "died",
    LostSight = "lost_sight",
    Seen = "seen",
    Retired = "retired",
});

impl ProjectState {
    /// The state after `event`, or why there is none.
    ///
    /// # Errors
    /// [`IllegalMove`] names the pair; nothing has changed.
    pub fn next(self, event: ProjectEvent) -> Result<Moved<Self>, IllegalMove> {
        use ProjectEvent as E;
        use ProjectState as S;
        let to = match (self, event) {
            (S::Queued, E::Admitted) | (S::Recovering, E::AttemptStarted) | (S::Suspended, E::Resumed) => {
                S::Provisioning
            }
            (S::Provisioning, E::Provisioned) => S::Launching,
            (S::Launching, E::Launched) => S::Briefing,
            (S::Briefing, E::Briefed) => S::Running,
            (S::Running, E::Certified) => S::Completed,
            (S::Provisioning | S::Launching | S::Briefing | S::Running, E::Faulted) => S::Recovering,
            (S::Recovering, E::BreakerOpened) => S::Suspended,
            (S::Queued | S::Provisioning | S::Launching | S::Briefing | S::Running | S::Recovering, E::Suspended) => {
                S::Suspended
            }
            (
                S::Queued | S::Provisioning | S::Launching | S::Briefing | S::Running | S::Recovering | S::Suspended,
                E::GaveUp,
            ) => S::Failed,
            (
                S::Queued | S::Provisioning | S::Launching | S::Briefing | S::Running | S::Recovering | S::Suspended,
                E::Cancelled,
            ) => S::Cancelled,
            (S::Completed | S::Failed | S::Cancelled, E::Retried) => S::Queued,
            (
                S::Queued
                | S::Provisioning
                | S::Launching
                | S::Briefing
                | S::Running
                | S::Recovering
                | S::Suspended
                | S::Completed
                | S::Failed
                | S::Cancelled,
                _,
            ) => {
                return Err(IllegalMove { entity: "project", state: self.to_string(), event: event.to_string() });
            }
        };
        Ok(Moved { from: self, to })
    }

    /// Every legal (from, to), sorted and without repetition: what the database's transition table must hold.
    #[must_use]
    pub fn moves() -> Vec<(Self, Self)> {
        pairs(Self::ALL, ProjectEvent::ALL, |state, event| state.next(event))
    }

    /// Whether the project has come to its end (an operator's retry aside).
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether it takes one of the `max_active` slots.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Provisioning | Self::Launching | Self::Briefing | Self::Running | Self::Recovering)
    }
}

impl RoleState {
    /// The state after `event`, or why there is none.
    ///
    /// # Errors
    /// [`IllegalMove`] names the pair; nothing has changed.
    pub fn next(self, event: RoleEvent) -> Result<Moved<Self>, IllegalMove> {
        use RoleEvent as E;
        use RoleState as S;
        let to = match (self, event) {
            (S::Absent | S::Dead, E::Launched) => S::Starting,
            (S::Starting, E::Acknowledged) => S::Ready,
            (S::Ready | S::Working | S::Idle | S::NeedsInput | S::Stalled, E::Progressed) => S::Working,
            (S::Ready | S::Working | S::NeedsInput | S::Stalled, E::Rested) => S::Idle,
            // Not from starting: who asks before the brief is acknowledged has not had it, and must not count as briefed.
            (S::Ready | S::Working | S::Idle | S::Stalled, E::Asked) => S::NeedsInput,
            (S::Ready | S::Working | S::Idle, E::FellSilent) => S::Stalled,
            // Dead too: a completion of the current epoch that is read after the death still counts (it was written before).
            (S::Ready | S::Working | S::Idle | S::NeedsInput | S::Stalled | S::Unknown | S::Dead, E::Finished) => {
                S::Done
            }
            (S::Starting | S::Ready | S::Working | S::Idle | S::NeedsInput | S::Stalled | S::Unknown, E::Died) => {
                S::Dead
            }
            (S::Starting | S::Ready | S::Working | S::Idle | S::NeedsInput | S::Stalled, E::LostSight) => S::Unknown,
            (S::Unknown, E::Seen) => S::Working,
            (
                S::Starting
                | S::Ready
                | S::Working
                | S::Idle
                | S::NeedsInput
                | S::Stalled
                | S::Done
                | S::Dead
                | S::Unknown,
                E::Retired,
            ) => S::Absent,
            (
                S::Absent
                | S::Starting
                | S::Ready
                | S::Working
                | S::Idle
                | S::NeedsInput
                | S::Stalled
                | S::Done
                | S::Dead
                | S::Unknown,
                _,
            ) => return Err(IllegalMove { entity: "role", state: self.to_string(), event: event.to_string() }),
        };
        Ok(Moved { from: self, to })
    }

    /// Every legal (from, to), sorted and without repetition.
    #[must_use]
    pub fn moves() -> Vec<(Self, Self)> {
        pairs(Self::ALL, RoleEvent::ALL, |state, event| state.next(event))
    }

    /// Whether a process of the current epoch is believed to run, as far as the state tells.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Starting
                | Self::Ready
                | Self::Working
                | Self::Idle
                | Self::NeedsInput
                | Self::Stalled
                | Self::Unknown
        )
    }
}

fn pairs<S: Copy + Ord, E: Copy>(
    states: &[S],
    events: &[E],
    next: impl Fn(S, E) -> Result<Moved<S>, IllegalMove>,
) -> Vec<(S, S)> {
    let mut found: Vec<(S, S)> = states
        .iter()
        .flat_map(|state| events.iter().map(move |event| (*state, *event)))
        .filter_map(|(state, event)| next(state, event).ok())
        .filter(|moved| moved.from != moved.to)
        .map(|moved| (moved.from, moved.to))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
