//! When the loop is given a turn and what the clock brings into it: the live shell and the simulator keep this one
//! beat, so that what is simulated is what runs.
//!
//! Of the two things that a clock can bring, an absence comes before everything else, for what was drained with it is
//! judged by deadlines that have to move first; a sweep comes after everything else, for it would find once more what
//! was just told.

use super::pace::{Pace, Reading};
use crate::domain::event::{Event, Happened, Source};
use crate::domain::fleet::Tmux;
use crate::domain::time::{Span, Timestamp};

/// How often the timeline's anchor is written, so that a reboot loses no more of it, and the lease renewed with it.
const ANCHOR_EVERY: Span = Span::from_secs(10);
/// The sweep while tmux or the store cannot be relied on (DESIGN.md, section 6).
const SWEEP_UNHEALTHY: Span = Span::from_secs(1);

/// The loop's appointments with the clock. Whoever drives it asks [`Self::due`] before a turn, tells its outcome by
/// [`Self::looked`] or [`Self::refused`], and asks [`Self::rest`] before it waits.
#[derive(Debug)]
pub struct Beat {
    pace: Pace,
    sweep_every: Span,
    next_sweep: Timestamp,
    next_anchor: Timestamp,
}

impl Beat {
    /// Begins at `now` with a sweep; the anchor was set by the start itself. All being well there is a sweep every
    /// `sweep_every`.
    #[must_use]
    pub fn new(now: Reading, sweep_every: Span) -> Self {
        let (next_sweep, next_anchor) = (now.at, now.at + ANCHOR_EVERY);
        Self { pace: Pace::new(now), sweep_every, next_sweep, next_anchor }
    }

    /// What the first turn of a start at `at` is about: how long nobody looked, if that was long, and the start.
    ///
    /// `renewed` is when the lease was last renewed, before this start took it; none if nobody ever held it. It was
    /// renewed with every anchor, so that is no more than [`ANCHOR_EVERY`] before the last look.
    #[must_use]
    pub fn first(renewed: Option<Timestamp>, at: Timestamp) -> Vec<Happened> {
        let away = renewed.map(|renewed| at.since(renewed)).filter(|away| *away > ANCHOR_EVERY * 2);
        let away = away.map(|away| Event::Away { away, counted: away });
        let happened = |event| Happened { seen_at: at, source: Source::Sweep, event };
        away.into_iter().chain([Event::Started]).map(happened).collect()
    }

    /// Adds to what was drained for a turn at `now` what the clock brings. `sound` says whether the store can be
    /// relied on. Answers whether the turn is a sweep.
    pub fn due(&mut self, now: Reading, tmux: &Tmux, sound: bool, drained: &mut Vec<Happened>) -> bool {
        if let Some(away) = self.pace.away(now) {
            drained.insert(0, Happened { seen_at: now.at, source: Source::Timer, event: away });
        }
        let sweeps = now.at >= self.next_sweep;
        if sweeps {
            drained.push(Happened { seen_at: now.at, source: Source::Sweep, event: Event::SweepDue });
            let healthy = sound && matches!(tmux, Tmux::Alive(_));
            let pause = if healthy { self.sweep_every } else { self.sweep_every.min(SWEEP_UNHEALTHY) };
            self.next_sweep = now.at + pause;
        }
        sweeps
    }

    /// The turn that began at `now` was committed.
    pub fn looked(&mut self, now: Reading) {
        self.pace.looked(now);
    }

    /// A turn, or a write beside it, was refused at `at`: the next turn is a sweep, which sees everything anew (G15).
    pub fn refused(&mut self, at: Timestamp) {
        self.next_sweep = at;
    }

    /// Whether the anchor is to be written after a committed turn at `at`; if so, the next is due a while later.
    pub fn anchors(&mut self, at: Timestamp) -> bool {
        let due = at >= self.next_anchor;
        if due {
            self.next_anchor = at + ANCHOR_EVERY;
        }
        due
    }

    /// How long nothing has to be done from `at` on if nothing happens; `wake` is the core's own next deadline. The
    /// loop is about to wait for that long: what goes beyond it is absence. Not to be asked while the store is in
    /// trouble, for then nobody looks.
    pub fn rest(&mut self, at: Timestamp, wake: Option<Timestamp>) -> Span {
        let next = wake.map_or(self.next_sweep, |wake| wake.min(self.next_sweep));
        let pause = next.since(at);
        self.pace.means(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ProcessId;

    const ALIVE: Tmux = Tmux::Alive(ProcessId { pid: 9, start: 1 });

    fn second(at: u64) -> Timestamp {
        Timestamp(Span::from_secs(at).0)
    }

    fn reading(at: u64) -> Reading {
        Reading { at: second(at), boot: Span::from_secs(at) }
    }

    fn beat() -> Beat {
        Beat::new(reading(0), Span::from_secs(5))
    }

    /// The seconds, up to a minute, at which a turn a second is a sweep.
    fn sweeps(tmux: &Tmux, sound: bool) -> Vec<u64> {
        let mut beat = beat();
        (0..60).filter(|at| beat.due(reading(*at), tmux, sound, &mut Vec::new())).collect()
    }

    #[test]
    fn it_sweeps_at_once_then_as_configured_and_each_second_while_something_is_wrong() {
        let each_second: Vec<u64> = (0..60).collect();
        assert_eq!(sweeps(&ALIVE, true), (0..60).step_by(5).collect::<Vec<_>>());
        assert_eq!(sweeps(&ALIVE, false), each_second);
        assert_eq!(sweeps(&Tmux::Unknown, true), each_second);
    }

    #[test]
    fn an_absence_comes_before_what_was_drained_and_the_sweep_after_it() {
        let mut beat = beat();
        beat.due(reading(0), &ALIVE, true, &mut Vec::new());
        beat.looked(reading(0));
        assert_eq!(beat.rest(second(0), Some(second(9))), Span::from_secs(5), "the sweep is before the deadline");
        let happened = Happened { seen_at: second(40), source: Source::Spool, event: Event::SpoolTouched };
        let mut drained = vec![happened];
        assert!(beat.due(reading(40), &ALIVE, true, &mut drained));
        let events: Vec<Event> = drained.into_iter().map(|happened| happened.event).collect();
        let beyond = Span::from_secs(35);
        let away = Event::Away { away: beyond, counted: beyond };
        assert_eq!(events, [away, Event::SpoolTouched, Event::SweepDue]);
    }

    #[test]
    fn a_refused_turn_has_looked_at_nothing_and_is_followed_by_a_sweep() {
        let mut beat = beat();
        beat.due(reading(0), &ALIVE, true, &mut Vec::new());
        beat.refused(second(1));
        let mut drained = Vec::new();
        assert!(beat.due(reading(1), &ALIVE, false, &mut drained));
        assert_eq!(drained.len(), 1);
        beat.refused(second(7));
        assert!(beat.due(reading(7), &ALIVE, false, &mut drained));
        assert!(matches!(drained.first().map(|first| &first.event), Some(Event::Away { .. })), "{drained:?}");
    }

    #[test]
    fn the_loop_waits_for_what_comes_first() {
        let mut beat = beat();
        assert_eq!(beat.rest(second(0), None), Span(0), "the first sweep");
        beat.due(reading(0), &ALIVE, true, &mut Vec::new());
        assert_eq!(beat.rest(second(1), None), Span::from_secs(4));
        assert_eq!(beat.rest(second(1), Some(second(3))), Span::from_secs(2));
        assert_eq!(beat.rest(second(4), Some(second(3))), Span(0), "it has passed");
    }

    #[test]
    fn the_anchor_is_written_ten_seconds_apart() {
        let mut beat = beat();
        let written: Vec<u64> = (0..40).filter(|at| beat.anchors(second(*at))).collect();
        assert_eq!(written, [10, 20, 30]);
    }

    #[test]
    fn a_start_knows_from_the_lease_for_how_long_nobody_looked() {
        let first = |renewed| Beat::first(renewed, second(100)).into_iter().map(|it| it.event).collect::<Vec<_>>();
        assert_eq!(first(None), [Event::Started], "nobody ever did");
        assert_eq!(first(Some(second(80))), [Event::Started], "the last look may have been then or ten seconds later");
        let away = Span::from_secs(21);
        assert_eq!(first(Some(second(79))), [Event::Away { away, counted: away }, Event::Started]);
    }
}
