//! What a checker is given at the end, and what it says.

use crate::history::Logged;
use crate::matching::Matched;
use crate::truth::{Claims, Truth};
use serde::{Deserialize, Serialize};

/// Violations that are written out; what is more is counted.
const SHOWN_MAX: usize = 20;

/// Everything that is known at the end of a run.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What is true of the world.
    pub truth: &'a Truth,
    /// What the orchestrator claims.
    pub claims: &'a Claims,
    /// What became of each injection, in their order.
    pub matched: &'a [Matched],
    /// The journal once more, with the times of commit.
    pub journal: &'a [Logged],
}

/// One of three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Is {
    /// It held, wherever it was looked at.
    Pass,
    /// It did not hold.
    Fail,
    /// It could not be looked at.
    Unknown,
}

/// What a checker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the invariant held.
    pub is: Is,
    /// How often it was looked at.
    pub checked: u64,
    /// What speaks against a pass.
    pub violations: Vec<String>,
    /// Whether the checker itself could not do its work (M4), which is another thing than finding nothing to look at.
    pub broke: bool,
}

/// A verdict with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant's number.
    pub id: &'static str,
    /// What it says.
    pub title: &'static str,
    /// Whether it held.
    pub verdict: Verdict,
}

/// Counts looks and collects what was found.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    checked: u64,
    violations: Vec<String>,
    doubts: Vec<String>,
    unshown: usize,
}

impl Verdict {
    /// Of a checker that could not do its work.
    #[must_use]
    pub fn broke(why: &str) -> Self {
        Self { is: Is::Unknown, checked: 0, violations: vec![why.to_owned()], broke: true }
    }
}

impl Tally {
    /// Looks once: the words are needed only if it does not hold.
    pub fn check(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.violate(violation());
        }
    }

    /// Notes a violation.
    pub fn violate(&mut self, violation: String) {
        if self.violations.len() < SHOWN_MAX {
            self.violations.push(violation);
        } else {
            self.unshown += 1;
        }
    }

    /// Notes that something could not be looked at.
    pub fn doubt(&mut self, doubt: impl Into<String>) {
        self.doubts.push(doubt.into());
    }

    /// Notes looks that all held.
    pub fn held(&mut self, times: u64) {
        self.checked += times;
    }

    /// The verdict. Nothing looked at is unknown, in the words of `otherwise`.
    #[must_use]
    pub fn verdict(&self, otherwise: &str) -> Verdict {
        let mut violations = self.violations.clone();
        if self.unshown > 0 {
            violations.push(format!("and {} more", self.unshown));
        }
        let is = if !violations.is_empty() {
            Is::Fail
        } else if !self.doubts.is_empty() {
            Is::Unknown
        } else if self.checked == 0 {
            violations.push(otherwise.to_owned());
            Is::Unknown
        } else {
            Is::Pass
        };
        violations.extend(self.doubts.iter().cloned());
        Verdict { is, checked: self.checked, violations, broke: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_looked_at_is_no_pass() {
        let verdict = Tally::default().verdict("nothing to look at");
        assert_eq!((verdict.is, verdict.violations.len()), (Is::Unknown, 1));
    }

    #[test]
    fn a_doubt_is_no_pass_and_a_violation_outweighs_it() {
        let mut tally = Tally::default();
        tally.held(3);
        assert_eq!(tally.verdict("").is, Is::Pass);
        tally.doubt("could not see");
        assert_eq!(tally.verdict("").is, Is::Unknown);
        tally.check(false, || "bad".to_owned());
        assert_eq!(tally.verdict("").is, Is::Fail);
        assert_eq!(tally.verdict("").checked, 4);
    }

    #[test]
    fn a_flood_of_violations_is_counted_not_written_out() {
        let mut tally = Tally::default();
        (0..50).for_each(|place| tally.check(false, || format!("{place}")));
        let verdict = tally.verdict("");
        assert_eq!(verdict.violations.len(), SHOWN_MAX + 1);
        assert_eq!(verdict.violations.last().map(String::as_str), Some("and 30 more"));
    }
}
