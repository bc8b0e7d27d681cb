//! S13 and S3: nothing is done in the world, and no session is there, that the database did not intend first.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::EffectId;
use orchestrator::domain::signal::{Entry, What};
use std::collections::BTreeSet;

/// The checker of S13.
#[derive(Debug, Default)]
pub(super) struct Intended {
    open: BTreeSet<EffectId>,
    tally: Tally,
}

impl Checker for Intended {
    fn id(&self) -> &'static str {
        "S13"
    }

    fn title(&self) -> &'static str {
        "no effect begins whose intent is not committed"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Began { effect, name, durable: true, .. } = &told.fact {
            // Each is begun once; what was intended and never begun stays here, a handful for each crash.
            let intended = self.open.remove(effect);
            let at = told.at.as_millis();
            self.tally.check(intended, || format!("at {at} ms effect {effect} ({name}) began without an intent"));
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::EffectIntended { effect_id, .. } = entry.signal.what {
            self.open.insert(effect_id);
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("nothing was ever begun")
    }
}

/// The checker of S3.
#[derive(Debug, Default)]
pub(super) struct Known {
    names: BTreeSet<String>,
    tally: Tally,
}

impl Checker for Known {
    fn id(&self) -> &'static str {
        "S3"
    }

    fn title(&self) -> &'static str {
        "every session of ours is named in the database before it is there"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::SessionUp { name, ours: true, .. } = &told.fact {
            let known = self.names.contains(name);
            let at = told.at.as_millis();
            self.tally.check(known, || format!("at {at} ms the database had not heard of session {name}"));
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::EffectIntended { .. } = entry.signal.what
            && let Some(name) = &entry.signal.session
        {
            self.names.insert(name.clone());
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("no session was ever made")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    #[test]
    fn an_effect_needs_its_intent_first() {
        let intended = || Past::new().told(|story| story.effect(1, "ensure_files"));
        assert_eq!(intended().began(1, "ensure_files").is(Intended::default()), Is::Pass);
        assert_eq!(Past::new().began(1, "ensure_files").is(Intended::default()), Is::Fail);
        let late = Past::new().began(1, "ensure_files").told(|story| story.effect(1, "ensure_files"));
        assert_eq!(late.is(Intended::default()), Is::Fail, "the intent comes first");
        let twice = intended().began(1, "ensure_files").began(1, "ensure_files");
        assert_eq!(twice.is(Intended::default()), Is::Fail, "one intent is one effect");
    }

    #[test]
    fn a_session_needs_its_name_first() {
        let named = || Past::new().told(|story| story.effect(1, "ensure_session"));
        assert_eq!(named().session_up("p1-x-1").is(Known::default()), Is::Pass);
        assert_eq!(named().session_up("test-spec-713384c9").is(Known::default()), Is::Fail);
        assert_eq!(Past::new().session_up("p1-x-1").is(Known::default()), Is::Fail);
    }
}
