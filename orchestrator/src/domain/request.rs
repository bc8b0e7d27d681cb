//! What an operator may ask for, and where it makes sense: one table, for the command line and for the decision.

use super::breaker::{Breaker, BreakerState};
use super::state::ProjectState;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// To run an ended project once more, from the queue.
    Retry,
    /// To end a project now.
    Cancel,
    /// To let a project rest: nothing is attempted, live agents are left alone.
    Suspend,
    /// To let a resting project go on.
    Resume,
    /// To close its breaker and forget what it counted.
    BreakerReset,
}

impl RequestKind {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Retry, Self::Cancel, Self::Suspend, Self::Resume, Self::BreakerReset];

    /// The name used in the database and in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::BreakerReset => "breaker_reset",
        }
    }

    /// The value of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Why it makes no sense for a project that stands like this; none if it does. `waits`: whether it is suspended
    /// only until a slot is free.
    #[must_use]
    pub fn refusal(self, state: ProjectState, breaker: &Breaker, waits: bool) -> Option<&'static str> {
        let unused = breaker.state == BreakerState::Closed && breaker.attempts.is_empty();
        match self {
            Self::Retry if state.is_terminal() => None,
            Self::Retry => Some("it has not ended"),
            Self::Resume if state.is_terminal() => Some("it has ended; `orch retry` runs it once more"),
            Self::BreakerReset if state.is_terminal() => Some("it has ended; `orch retry` begins with a clean breaker"),
            Self::Cancel | Self::Suspend if state.is_terminal() => Some("it has ended already"),
            Self::Cancel => None,
            Self::Suspend => (state == ProjectState::Suspended && !waits).then_some("it is suspended already"),
            Self::Resume if waits => Some("it goes on as soon as a slot is free"),
            Self::Resume => (state != ProjectState::Suspended).then_some("it is not suspended"),
            Self::BreakerReset => unused.then_some("its breaker is closed and has counted nothing"),
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a request makes no sense for the fleet as it stands; none if it does. Its breaker, and what that has counted,
/// is all there is of it to ask about.
#[must_use]
pub fn fleet_refusal(kind: RequestKind, open: bool, counted: u32) -> Option<&'static str> {
    match kind {
        RequestKind::BreakerReset => (!open && counted == 0).then_some("it is closed and has counted nothing"),
        RequestKind::Retry | RequestKind::Cancel | RequestKind::Suspend | RequestKind::Resume => {
            Some("that can be asked of a project only")
        }
    }
}

/// One request as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its place among the requests.
    pub id: i64,
    /// What is asked for.
    pub kind: RequestKind,
    /// When it was recorded.
    pub at: Timestamp,
}
