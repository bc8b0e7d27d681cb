//! Since when somebody could have noticed: a bound on noticing counts only while an orchestrator serves and nothing
//! stands in its way, and begins anew when that is so again.

use crate::witness::Fact;
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeSet;

/// Who serves, what stands in the way of noticing, and since when nothing has.
#[derive(Debug, Default)]
pub(super) struct Attention {
    serving: BTreeSet<usize>,
    hindered: BTreeSet<&'static str>,
    free_since: Timestamp,
}

impl Attention {
    /// Takes in who serves and what hinders everybody; every other fact is the checker's own affair.
    pub(super) fn witness(&mut self, fact: &Fact, at: Timestamp) {
        if let Fact::Serving { life } = fact {
            self.serving.insert(*life);
            self.anew(at);
        } else if let Fact::NotServing { life } = fact {
            self.serving.remove(life);
            self.anew(at);
        } else if let Fact::Hindered { by } = fact {
            self.hinder(by);
        } else if let Fact::Unhindered { by } = fact {
            self.unhinder(by, at);
        }
    }

    /// This stands in the way from here on.
    pub(super) fn hinder(&mut self, by: &'static str) {
        self.hindered.insert(by);
    }

    /// It does so no more: if it did, time begins anew.
    pub(super) fn unhinder(&mut self, by: &'static str, at: Timestamp) {
        if self.hindered.remove(by) {
            self.anew(at);
        }
    }

    /// What was open before counts from here.
    pub(super) fn anew(&mut self, at: Timestamp) {
        self.free_since = at;
    }

    /// Whether somebody serves and nothing is in the way.
    pub(super) fn is_free(&self) -> bool {
        self.hindered.is_empty() && !self.serving.is_empty()
    }

    /// Whether somebody serves and nothing else than these is in the way.
    pub(super) fn is_free_but_for(&self, by: &[&str]) -> bool {
        self.hindered.iter().all(|other| by.contains(other)) && !self.serving.is_empty()
    }

    /// When what is open since `since` began to count.
    pub(super) fn counts_from(&self, since: Timestamp) -> Timestamp {
        since.max(self.free_since)
    }

    /// For how long it has counted at `at`.
    pub(super) fn counted(&self, since: Timestamp, at: Timestamp) -> Span {
        at.since(self.counts_from(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    fn serving() -> Attention {
        let mut attention = Attention::default();
        attention.witness(&Fact::Serving { life: 0 }, at(10));
        attention
    }

    #[test]
    fn nobody_is_free_before_somebody_serves_or_after_the_last_has_gone() {
        assert!(!Attention::default().is_free());
        let mut attention = serving();
        assert!(attention.is_free());
        attention.witness(&Fact::Serving { life: 1 }, at(20));
        attention.witness(&Fact::NotServing { life: 0 }, at(30));
        assert!(attention.is_free(), "the other one serves");
        attention.witness(&Fact::NotServing { life: 1 }, at(40));
        assert!(!attention.is_free() && !attention.is_free_but_for(&["tmux"]));
    }

    #[test]
    fn time_counts_from_the_event_or_from_when_somebody_served_whichever_is_later() {
        let mut attention = serving();
        assert_eq!(attention.counted(at(3), at(12)), Span::from_secs(2));
        assert_eq!(attention.counted(at(11), at(12)), Span::from_secs(1));
        attention.witness(&Fact::NotServing { life: 0 }, at(15));
        attention.witness(&Fact::Serving { life: 1 }, at(50));
        assert_eq!(attention.counted(at(11), at(52)), Span::from_secs(2));
        assert_eq!(attention.counts_from(at(11)), at(50));
    }

    #[test]
    fn every_hindrance_has_to_go_and_time_begins_anew_with_the_last() {
        let mut attention = serving();
        attention.witness(&Fact::Hindered { by: "store" }, at(20));
        attention.hinder("tmux");
        assert!(!attention.is_free_but_for(&["tmux"]) && !attention.is_free_but_for(&["store"]));
        attention.witness(&Fact::Unhindered { by: "store" }, at(30));
        assert!(!attention.is_free());
        assert!(attention.is_free_but_for(&["tmux"]));
        attention.unhinder("tmux", at(40));
        assert!(attention.is_free());
        assert_eq!(attention.counted(at(11), at(43)), Span::from_secs(3));
    }

    #[test]
    fn what_never_hindered_does_not_begin_time_anew() {
        let mut attention = serving();
        attention.witness(&Fact::Unhindered { by: "store" }, at(30));
        attention.witness(&Fact::Healed, at(31));
        assert_eq!(attention.counted(at(11), at(32)), Span::from_secs(21));
        attention.anew(at(32));
        assert_eq!(attention.counted(at(11), at(33)), Span::from_secs(1));
    }
}
