//! M4: a checker that breaks while it looks says nothing more, and its verdict is unknown.

use super::{Checker, Evidence, Verdict};
use crate::witness::Witnessed;
use orchestrator::domain::signal::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A checker that may break without breaking the run.
struct Guarded {
    checker: Box<dyn Checker>,
    broke: bool,
}

/// Lets each of them break without breaking the run.
#[must_use]
pub fn guarded(checkers: Vec<Box<dyn Checker>>) -> Vec<Box<dyn Checker>> {
    checkers.into_iter().map(|checker| Box::new(Guarded { checker, broke: false }) as Box<dyn Checker>).collect()
}

impl Guarded {
    fn let_it(&mut self, look: impl FnOnce(&mut dyn Checker)) {
        if !self.broke {
            let looked = catch_unwind(AssertUnwindSafe(|| look(self.checker.as_mut())));
            self.broke = looked.is_err();
        }
    }
}

impl Checker for Guarded {
    fn id(&self) -> &'static str {
        self.checker.id()
    }

    fn title(&self) -> &'static str {
        self.checker.title()
    }

    fn observe(&mut self, entry: &Entry) {
        self.let_it(|checker| checker.observe(entry));
    }

    fn witness(&mut self, told: &Witnessed) {
        self.let_it(|checker| checker.witness(told));
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let mut verdict = None;
        self.let_it(|checker| verdict = Some(checker.finish(evidence)));
        verdict.unwrap_or_else(|| Verdict::broke("the checker itself broke"))
    }
}
