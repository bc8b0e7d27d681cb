//! Keeps a deadline of the fleet that nothing came of from being a busy loop.

use crate::domain::time::{Span, Timestamp};

/// The fleet's deadline that has passed and stands still: it is asked about again after a pause.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Not before then, while the deadline has passed.
    again: Option<Timestamp>,
}

impl Overdue {
    const PAUSE: Span = Span::from_secs(1);

    /// When to wake for a deadline.
    pub(super) fn wake(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        due.map(|due| self.again.map_or(due, |again| again.max(due)))
    }

    /// Notes how the deadline stands after it was decided on at `at`.
    pub(super) fn decided(&mut self, due: Option<Timestamp>, at: Timestamp) {
        self.again = due.filter(|due| *due <= at).map(|_| at + Self::PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_nothing_comes_of_is_asked_about_once_a_pause() {
        let (due, at) = (Some(Timestamp(5_000_000)), Timestamp(7_000_000));
        let mut overdue = Overdue::default();
        assert_eq!(overdue.wake(due), due);
        overdue.decided(due, at);
        assert_eq!(overdue.wake(due), Some(at + Overdue::PAUSE), "it has passed still");
        overdue.decided(Some(Timestamp(9_000_000)), at);
        assert_eq!(overdue.wake(Some(Timestamp(7_500_000))), Some(Timestamp(7_500_000)), "a later one is punctual");
        assert_eq!(overdue.wake(None), None);
    }
}
