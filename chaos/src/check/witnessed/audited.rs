//! What the store's own audit finds in the database as a whole (`orchestrator/src/store/audit.rs`).

use crate::check::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::signal::Entry;

/// The checker of the audit.
#[derive(Debug, Default)]
pub(super) struct Audited {
    tally: Tally,
}

impl Checker for Audited {
    fn id(&self) -> &'static str {
        "audit"
    }

    fn title(&self) -> &'static str {
        "the store's own audit finds nothing wrong in the database"
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        match &evidence.claims.audited {
            Some(wrong) => {
                self.tally.held(1);
                wrong.iter().for_each(|wrong| self.tally.violate(wrong.clone()));
            }
            None => return Verdict::broke("the database could not be audited"),
        }
        self.tally.verdict("nothing was audited")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;
    use crate::truth::Claims;

    #[test]
    fn what_is_found_fails_and_not_looking_is_unknown() {
        let of = |audited| Past::new().claims(Claims { audited, ..Claims::default() }).is(Audited::default());
        assert_eq!(of(Some(Vec::new())), Is::Pass);
        assert_eq!(of(Some(vec!["S1.kept".to_owned()])), Is::Fail);
        assert_eq!(of(None), Is::Unknown);
    }
}
