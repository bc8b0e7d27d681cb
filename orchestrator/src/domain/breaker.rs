//! The breaker on recoveries: what stops a recovery loop (G8).
//!
//! # When it opens
//! On the recovery that would be the (`max`+1)th within the sliding window. Attempts are counted before they are
//! made, so a crash over-counts and never under-counts (C31). A half-open probe that fails opens it again.
//!
//! # When it closes
//! It stays open for one whole window, then half-opens and admits exactly one probe. The probe's success closes it.
//! Success is the project's outcome (its agents acknowledged), never a return code.
//!
//! # What never touches it
//! Restarts (it is persisted with the project) and steps of the wall clock (its times lie on the installation's
//! timeline).
//!
//! # Why not a library
//! The known crates keep their state in memory on the process's own clock: not persistable, not testable under
//! virtual time, and a restart forgives everything. See `reference/dependencies.md`.

use super::limits::Policy;
use super::time::{Span, Timestamp};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The standard three states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Recoveries are admitted while the budget lasts.
    #[default]
    Closed,
    /// No recovery is admitted.
    Open,
    /// One probe is under way; nothing else is admitted.
    HalfOpen,
}

impl BreakerState {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Closed, Self::Open, Self::HalfOpen];

    /// The name used in the database, in logs and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One project's breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Breaker {
    /// Closed, open or half-open.
    pub state: BreakerState,
    /// When the attempts that still count were made, oldest first; never longer than the budget.
    pub attempts: Vec<Timestamp>,
    /// While open: when it half-opens.
    pub retry_at: Option<Timestamp>,
    /// Probes that failed since it was last closed.
    pub probes_failed: u32,
}

/// What the breaker says to one more recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Go; it will be the nth within the window.
    Attempt(u32),
    /// Go, as the one probe.
    Probe,
    /// No; ask again at this time.
    Refused(Timestamp),
}

impl Breaker {
    /// Attempts that count at `at`: made less than a window ago.
    #[must_use]
    pub fn in_window(&self, at: Timestamp, window: Span) -> u32 {
        let counted = self.attempts.iter().filter(|made| at.since(**made) < window).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    }

    /// Whether one more recovery may be made at `at`. Changes nothing.
    pub fn admit(&self, at: Timestamp, policy: &Policy) -> Admission {
        let window = policy.breaker_window();
        match self.state {
            BreakerState::Closed => {
                let counted = self.in_window(at, window);
                if counted < policy.breaker_max {
                    Admission::Attempt(counted + 1)
                } else {
                    Admission::Refused(at + window)
                }
            }
            BreakerState::Open => match self.retry_at {
                Some(retry_at) if at >= retry_at => Admission::Probe,
                Some(retry_at) => Admission::Refused(retry_at),
                None => Admission::Refused(at + window),
            },
            BreakerState::HalfOpen => Admission::Refused(at + window),
        }
    }

    /// Counts an attempt that is about to be made.
    pub fn count(&mut self, at: Timestamp, policy: &Policy) {
        let window = policy.breaker_window();
        self.attempts.retain(|made| at.since(*made) < window);
        self.attempts.push(at);
    }

    /// Opens it for one window.
    pub fn open(&mut self, at: Timestamp, policy: &Policy) {
        if self.state == BreakerState::HalfOpen {
            self.probes_failed = self.probes_failed.saturating_add(1);
        }
        self.state = BreakerState::Open;
        self.retry_at = Some(at + policy.breaker_window());
    }

    /// Lets the one probe through.
    pub fn half_open(&mut self) {
        self.state = BreakerState::HalfOpen;
        self.retry_at = None;
    }

    /// The recovery led to a working project.
    pub fn succeeded(&mut self) {
        self.state = BreakerState::Closed;
        self.retry_at = None;
        self.probes_failed = 0;
    }
}

/// How long to wait before the next attempt of one incident: nothing before the first, then a base that doubles up
/// to a cap, with full jitter (a uniform draw between zero and the bound) so that a fleet does not retry in step.
#[must_use]
pub fn backoff(attempts_made: u32, policy: &Policy, rng: &mut ChaCha8Rng) -> Span {
    if attempts_made == 0 {
        return Span(0);
    }
    let doubled = policy.backoff_base_s.saturating_mul(1_u64 << (attempts_made - 1).min(32));
    let bound = Span::from_secs(doubled.min(policy.backoff_cap_s));
    Span(rng.random_range(0..=bound.0))
}
