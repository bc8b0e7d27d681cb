//! The installation's timeline, read from outside.

use orchestrator::domain::time::{Anchor, Span, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;

/// Where the installation's timeline stands. The harness and the orchestrator read the same monotonic clock, so their
/// times can be compared to the microsecond.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    anchor: Anchor,
}

impl Clock {
    /// Of the installation with that database.
    pub(super) fn of(database: &Path) -> Result<Self, String> {
        match orchestrator::store::anchor(database) {
            Ok(Some(anchor)) => Ok(Self { anchor }),
            Ok(None) => Err("the installation has no timeline yet".to_owned()),
            Err(error) => Err(format!("the installation's timeline: {error}")),
        }
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.anchor.at(micros(ClockId::Monotonic))
    }

    /// When the wall clock showed that many microseconds since 1970, which must not lie ahead.
    pub(super) fn at_wall(&self, wall_us: u64) -> Timestamp {
        self.now() - Span(micros(ClockId::Realtime).saturating_sub(wall_us))
    }
}

fn micros(clock: ClockId) -> u64 {
    let read = clock_gettime(clock);
    let (seconds, nanos) = (read.tv_sec.cast_unsigned(), read.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_wall_and_of_the_timeline_agree() {
        let mono_us = micros(ClockId::Monotonic);
        let anchor =
            Anchor { boot_id: String::new(), mono_us, at: Timestamp(5_000_000), wall_us: 0, told: Timestamp(0) };
        let clock = Clock { anchor };
        let wall = micros(ClockId::Realtime);
        let now = clock.now();
        assert!(now >= Timestamp(5_000_000));
        assert!(clock.at_wall(wall - 1_000_000) <= clock.now() - Span(1_000_000));
    }
}
