//! The end of a run: every checker judges, and a fingerprint is taken of what is left.

use super::claims;
use super::run::Sim;
use crate::check::{Checker, Evidence, Finding, Verdict};
use crate::seed::fnv1a;
use crate::truth::{Submitted, Truth};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Sim {
    pub(super) fn judge(&mut self, checkers: &mut [Box<dyn Checker>]) {
        let submitted = self.submitted.values().map(|id| Submitted { id: *id, roles: Vec::new() }).collect();
        let truth = Truth { submitted, ended_at: self.world.borrow().now(), ..Truth::default() };
        let claims = claims::of(&mut self.bank, &self.plan.policy);
        for row in &claims.projects {
            *self.outcome.states.entry(row.state).or_insert(0) += 1;
        }
        let evidence = Evidence { truth: &truth, claims: &claims, matched: &[], journal: &[] };
        for checker in checkers {
            let (id, title) = (checker.id(), checker.title());
            let judged = catch_unwind(AssertUnwindSafe(|| checker.finish(&evidence)));
            let verdict = judged.unwrap_or_else(|_| Verdict::broke("the checker itself broke"));
            self.outcome.findings.push(Finding { id, title, verdict });
        }
        if self.plan.fingerprint {
            self.print_the_end();
        }
    }

    /// The database as it is in the end, the metrics as the journal gives them, and the verdicts.
    fn print_the_end(&mut self) {
        let rows = self.bank.client.project_rows(None).map(|rows| format!("{rows:?}"));
        let mut lines = vec![rows.unwrap_or_else(|error| error.to_string())];
        for id in self.submitted.values() {
            lines.push(format!("{:?}", self.bank.client.outbox_rows(*id).map_err(|error| error.to_string())));
        }
        lines.push(format!("{:?}", self.outcome.findings));
        lines.push(format!("{} {} {}", self.outcome.events, self.outcome.turns, self.gate.commits()));
        self.outcome.fingerprint.extend(lines.iter().map(|line| fnv1a(line.as_bytes())));
    }
}
