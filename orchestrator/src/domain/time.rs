//! Time as integers, and never a clock.
//!
//! Every instant the core reasons about lies on the *installation's own timeline*: microseconds since
//! `orch init`, advanced by CLOCK_MONOTONIC while a boot lasts and carried over a reboot by the store's clock
//! anchor. It never goes back, does not count a suspend, and a step of the wall clock does not touch it (G14).
//! Wall time exists only for people to read.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Mul, Sub};

/// An instant on the installation's timeline, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A length of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

/// Wall-clock time in microseconds since 1970, for display only; no decision reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub i64);

impl Timestamp {
    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds since the start of the timeline.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0 / 1_000
    }
}

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Milliseconds with their fraction, for reports.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Seconds with their fraction, for metrics.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }
}

impl Add<Span> for Timestamp {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Mul<u64> for Span {
    type Output = Self;
    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// What a decision may know of the moment: the instant, the wall clock for display, and a draw of entropy.
///
/// `decide` draws nothing itself; tokens and jitter are functions of `seed`.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The instant on the installation's timeline.
    pub at: Timestamp,
    /// The wall clock, for display only.
    pub wall: WallTime,
    /// 256 bits drawn by the environment for this one event.
    pub seed: [u8; 32],
}

/// A moment on which boot, CLOCK_MONOTONIC and the installation's timeline are known together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// `/proc/sys/kernel/random/boot_id` at that moment.
    pub boot_id: String,
    /// CLOCK_MONOTONIC, in microseconds.
    pub mono_us: u64,
    /// The timeline.
    pub at: Timestamp,
    /// The wall clock, in microseconds since 1970.
    pub wall_us: i64,
    /// The newest moment in the journal when this was read; it may be later than the anchor, which is set every ten
    /// seconds.
    pub told: Timestamp,
}

impl Anchor {
    /// The timeline at a reading of CLOCK_MONOTONIC of the same boot.
    #[must_use]
    pub fn at(&self, mono_us: u64) -> Timestamp {
        Timestamp(self.at.0.saturating_add(mono_us.saturating_sub(self.mono_us)))
    }

    /// The anchor from which this boot goes on: the same one within a boot; after a reboot the timeline continues
    /// by as much as the wall clock advanced, and never back, not behind what the journal tells either.
    #[must_use]
    pub fn resumed(&self, boot_id: &str, mono_us: u64, wall_us: i64) -> Self {
        if self.boot_id == boot_id {
            return self.clone();
        }
        let away = u64::try_from(wall_us.saturating_sub(self.wall_us)).unwrap_or(0);
        let at = Timestamp(self.at.0.saturating_add(away)).max(self.told);
        Self { boot_id: boot_id.to_owned(), mono_us, at, wall_us, told: self.told }
    }
}
