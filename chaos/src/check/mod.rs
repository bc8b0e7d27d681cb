//! The checkers: one invariant each, held against the journal as it comes and against the truth at the end.
//!
//! A verdict has three values. What could not be looked at is *unknown*, never a pass: a checker that found nothing to
//! check, or that broke, makes the run inconclusive (M1, M4).

mod absorbing;
mod budget;
mod completion;
mod conservation;
mod detection;
mod errors;
mod false_alarm;
mod false_failure;
mod guarded;
mod injection;
mod intent;
mod journal;
mod legality;
mod liveness;
mod orphans;
mod session;
mod single;
mod verdict;
pub mod witnessed;

pub use false_alarm::unexplained;
pub use guarded::guarded;
pub use liveness::HEALED_WITHIN;
pub use verdict::{Evidence, Finding, Is, Tally, Verdict};

use crate::history::Logged;
use crate::witness::Witnessed;
use orchestrator::domain::signal::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One invariant.
pub trait Checker {
    /// Its number in `reference/invariants-and-planted-bugs.md`.
    fn id(&self) -> &'static str;

    /// What it says, in one sentence.
    fn title(&self) -> &'static str;

    /// Looks at the next entry of the journal.
    fn observe(&mut self, entry: &Entry);

    /// Looks at the next thing that has become true, as far as the run can tell as it happens: a simulated one can, a
    /// live one samples ([`crate::truth::Truth::samples`]).
    fn witness(&mut self, _: &Witnessed) {}

    /// Looks at the truth, and judges.
    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict;
}

/// Every checker, in the order of the catalogue of invariants.
#[must_use]
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![
        Box::<conservation::Conservation>::default(),
        Box::<legality::Legality>::default(),
        Box::<session::Sessions>::default(),
        Box::<false_failure::FalseFailures>::default(),
        Box::<completion::Completion>::default(),
        Box::<single::Single>::default(),
        Box::<budget::Budget>::default(),
        Box::<errors::Errors>::default(),
        Box::<absorbing::Absorbing>::default(),
        Box::<journal::Journal>::default(),
        Box::<intent::Intent>::default(),
        Box::<orphans::Orphans>::default(),
        Box::<detection::Detection>::default(),
        Box::<false_alarm::FalseAlarms>::default(),
        Box::<liveness::Liveness>::default(),
        Box::<injection::Injected>::default(),
    ]
}

/// Lets every checker look at everything. One that panics is unknown, and the others go on (M4).
#[must_use]
pub fn run(checkers: Vec<Box<dyn Checker>>, journal: &[Logged], evidence: &Evidence<'_>) -> Vec<Finding> {
    checkers
        .into_iter()
        .map(|mut checker| {
            let (id, title) = (checker.id(), checker.title());
            let judged = catch_unwind(AssertUnwindSafe(|| {
                journal.iter().for_each(|logged| checker.observe(&logged.entry));
                checker.finish(evidence)
            }));
            let verdict = judged.unwrap_or_else(|_| Verdict::broke("the checker itself broke"));
            Finding { id, title, verdict }
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::story::Story;
    use crate::truth::{Claims, Truth};

    /// What a checker says of a story, under this truth.
    pub(crate) fn judge(mut checker: impl Checker, story: &Story, truth: &Truth, claims: &Claims) -> Verdict {
        let matched = crate::matching::matched(&truth.injections, story.journal());
        story.journal().iter().for_each(|logged| checker.observe(&logged.entry));
        checker.finish(&Evidence { truth, claims, matched: &matched, journal: story.journal() })
    }

    /// What a checker says that needs the journal only.
    pub(crate) fn judge_story(checker: impl Checker, story: &Story) -> Verdict {
        judge(checker, story, &Truth::default(), &Claims::default())
    }

    struct Broken;

    impl Checker for Broken {
        fn id(&self) -> &'static str {
            "X"
        }
        fn title(&self) -> &'static str {
            "breaks"
        }
        fn observe(&mut self, _: &Entry) {}
        fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_checker_that_breaks_is_unknown_and_the_others_go_on() {
        let (truth, claims) = (Truth::default(), Claims::default());
        let evidence = Evidence { truth: &truth, claims: &claims, matched: &[], journal: &[] };
        let findings = run(vec![Box::new(Broken), Box::<budget::Budget>::default()], &[], &evidence);
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].verdict.is, Is::Unknown);
    }

    #[test]
    fn every_invariant_has_its_own_number_and_none_passes_on_nothing() {
        let (truth, claims) = (Truth::default(), Claims::default());
        let evidence = Evidence { truth: &truth, claims: &claims, matched: &[], journal: &[] };
        let findings = run(all(), &[], &evidence);
        let ids: std::collections::BTreeSet<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(ids.len(), findings.len());
        for finding in findings {
            assert_ne!(finding.verdict.is, Is::Pass, "{} passes on an empty history", finding.id);
        }
    }
}
