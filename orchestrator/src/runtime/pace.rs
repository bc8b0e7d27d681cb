//! How long the loop meant to be away, and how long it was: stopped, paused with its machine, asleep, or without a
//! store. What goes beyond its own pause is time in which nobody looked (G14, C44).

use crate::domain::event::Event;
use crate::domain::time::{Span, Timestamp};

/// How much later than meant is still the ordinary course of a busy machine. Below the shortest deadline that agents
/// are given by default, above what a turn takes (a slow commit, a lock that is waited for).
const MARGIN: Span = Span::from_secs(5);

/// A reading of both clocks: the timeline, which a suspend stops, and CLOCK_BOOTTIME, which goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The timeline.
    pub at: Timestamp,
    /// CLOCK_BOOTTIME.
    pub boot: Span,
}

/// Keeps account of it for the beat.
#[derive(Debug)]
pub(super) struct Pace {
    looked: Reading,
    meant: Span,
}

impl Pace {
    /// Begins at `now`.
    pub(super) fn new(now: Reading) -> Self {
        Self { looked: now, meant: Span(0) }
    }

    /// The event that has to come first in a turn at `now`, if nobody looked for longer than was meant.
    pub(super) fn away(&self, now: Reading) -> Option<Event> {
        let beyond = |passed: Span| Span(passed.0.saturating_sub(self.meant.0));
        let away = beyond(Span(now.boot.0.saturating_sub(self.looked.boot.0)));
        let counted = beyond(now.at.since(self.looked.at));
        (away > MARGIN).then_some(Event::Away { away, counted })
    }

    /// A turn that began at `now` was committed. One that was not has looked at nothing.
    pub(super) fn looked(&mut self, now: Reading) {
        *self = Self::new(now);
    }

    /// The loop is about to wait for at most `pause`, after a turn that was committed.
    pub(super) fn means(&mut self, pause: Span) {
        self.meant = pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURS: Span = Span::from_secs(8 * 3_600);

    fn reading(at: u64, boot: u64) -> Reading {
        Reading { at: Timestamp(Span::from_secs(at).0), boot: Span::from_secs(boot) }
    }

    fn check(now: Reading, expected: Option<(u64, u64)>) {
        let mut pace = Pace::new(reading(0, 0));
        pace.looked(reading(100, 1_000));
        pace.means(Span::from_secs(4));
        let due = expected.map(|(away, counted)| {
            let (away, counted) = (Span::from_secs(away), Span::from_secs(counted));
            Event::Away { away, counted }
        });
        assert_eq!(pace.away(now), due, "{now:?}");
    }

    #[test]
    fn what_goes_beyond_the_pause_that_was_meant_is_absence() {
        check(reading(101, 1_001), None);
        check(reading(104, 1_004), None);
        check(reading(109, 1_009), None);
        check(reading(110, 1_010), Some((6, 6)));
        // Stopped, or paused with the machine: the timeline goes on.
        check(reading(104 + 28_800, 1_004 + 28_800), Some((28_800, 28_800)));
        // Suspended: it does not.
        check(reading(102, 1_004 + 28_800), Some((28_800, 0)));
    }

    #[test]
    fn time_without_a_store_is_absence_until_a_turn_is_committed() {
        let mut pace = Pace::new(reading(0, 0));
        assert_eq!(pace.away(reading(28_800, 28_800)), Some(Event::Away { away: HOURS, counted: HOURS }));
        assert!(pace.away(reading(28_801, 28_801)).is_some(), "the turn before was refused");
        pace.looked(reading(28_802, 28_802));
        assert_eq!(pace.away(reading(28_803, 28_803)), None);
    }
}
