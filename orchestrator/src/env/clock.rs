//! The live clock and entropy.

use crate::domain::time::{Anchor, Now, Timestamp, WallTime};
use rand::rngs::{ChaCha12Rng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use rustix::time::{ClockId, clock_gettime};
use std::io;

/// CLOCK_MONOTONIC in microseconds: does not count a suspend, and no step of the wall clock touches it (G14).
#[must_use]
pub fn mono_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000);
    u64::try_from(micros).unwrap_or(0)
}

/// CLOCK_BOOTTIME in microseconds: like CLOCK_MONOTONIC, with every suspend counted. Tells that there was one.
#[must_use]
pub fn boot_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let micros = time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000);
    u64::try_from(micros).unwrap_or(0)
}

/// The wall clock, in microseconds since 1970; for display only.
#[must_use]
pub fn wall_us() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// The system's entropy, 32 bytes.
///
/// # Errors
/// If the system has none to give.
pub fn entropy() -> io::Result<[u8; 32]> {
    let mut seed = [0_u8; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}

/// The installation's timeline, running.
#[derive(Debug, Clone)]
pub struct Timeline {
    anchor: Anchor,
}

impl Timeline {
    /// Goes on from the anchor that the store holds, or starts at zero.
    ///
    /// # Errors
    /// If the boot id cannot be read.
    pub fn resume(stored: Option<&Anchor>) -> io::Result<Self> {
        let boot_id = super::process::boot_id()?;
        let (mono_us, wall_us) = (mono_us(), wall_us());
        let anchor = match stored {
            Some(stored) => stored.resumed(&boot_id, mono_us, wall_us),
            None => Anchor { boot_id, mono_us, at: Timestamp(0), wall_us, told: Timestamp(0) },
        };
        Ok(Self { anchor })
    }

    /// Which boot it runs in.
    #[must_use]
    pub fn boot_id(&self) -> &str {
        &self.anchor.boot_id
    }

    /// The instant now.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.anchor.at(mono_us())
    }

    /// The anchor as it would be set now: the same line through a later moment.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        let mono_us = mono_us();
        let at = self.anchor.at(mono_us);
        Anchor { mono_us, at, wall_us: wall_us(), ..self.anchor.clone() }
    }

    /// The moment for one decision, with entropy from `draws`.
    #[must_use]
    pub fn now(&self, draws: &mut Draws) -> Now {
        Now { at: self.at(), wall: WallTime(wall_us()), seed: draws.seed() }
    }
}

/// A stream of entropy, seeded once from the system: one system call for a life, not one for an event.
#[derive(Debug)]
pub struct Draws(ChaCha12Rng);

impl Draws {
    /// Seeds it from the system.
    ///
    /// # Errors
    /// If the system has no entropy to give.
    pub fn from_system() -> io::Result<Self> {
        Ok(Self(ChaCha12Rng::from_seed(entropy()?)))
    }

    /// 256 fresh bits.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0_u8; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}
