//! S13: no effect without a committed intent.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::EffectId;
use orchestrator::domain::signal::{Entry, What};
use std::collections::BTreeMap;

/// Effects that only look, and therefore need no intent.
const LOOKS: &[&str] = &["preflight", "look", "collect", "certify", "list_panes"];

/// The checker of S13.
#[derive(Debug, Default)]
pub(super) struct Intent {
    /// Intents with whether they were settled.
    intended: BTreeMap<EffectId, (String, bool)>,
    tally: Tally,
}

impl Intent {
    fn settled(&mut self, entry: &Entry, effect_id: EffectId, effect: &str) {
        if LOOKS.contains(&effect) {
            return;
        }
        let seq = entry.seq;
        match self.intended.get_mut(&effect_id) {
            None => {
                self.tally.check(false, || format!("seq {seq}: effect {effect_id} ({effect}) was never intended"));
            }
            Some((name, settled)) => {
                let right = name == effect && !*settled;
                *settled = true;
                self.tally
                    .check(right, || format!("seq {seq}: effect {effect_id} ({effect}) ends twice, or as another"));
            }
        }
    }
}

impl Checker for Intent {
    fn id(&self) -> &'static str {
        "S13"
    }

    fn title(&self) -> &'static str {
        "no effect without a committed intent"
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::EffectIntended { effect_id, effect } = &entry.signal.what {
            let before = self.intended.insert(*effect_id, (effect.clone(), false));
            self.tally.check(before.is_none(), || format!("seq {}: effect {effect_id} is intended twice", entry.seq));
        } else if let What::EffectConfirmed { effect_id, effect } | What::EffectFailed { effect_id, effect, .. } =
            &entry.signal.what
        {
            self.settled(entry, *effect_id, effect);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        // A session that lives is an effect that was performed: its token must have been recorded before.
        for sample in &evidence.truth.samples {
            for session in sample.seen.sessions.iter().flatten() {
                self.tally.check(!session.unknown, || format!("session {} exists without an intent", session.name));
            }
        }
        self.tally.verdict("no effect was ever intended")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge_story;
    use crate::story::Story;

    fn confirmed(effect: &str) -> What {
        What::EffectConfirmed { effect_id: EffectId(99), effect: effect.to_owned() }
    }

    #[test]
    fn intended_then_confirmed_passes_and_looking_needs_no_intent() {
        assert_eq!(judge_story(Intent::default(), &Story::running(1)).is, Is::Pass);
        assert_eq!(judge_story(Intent::default(), &Story::running(1).tell(1, confirmed("look"))).is, Is::Pass);
    }

    #[test]
    fn confirmed_without_an_intent_or_twice_fails() {
        assert_eq!(judge_story(Intent::default(), &Story::running(1).tell(1, confirmed("respawn"))).is, Is::Fail);
        let intended = What::EffectIntended { effect_id: EffectId(99), effect: "respawn".to_owned() };
        let twice = Story::running(1).tell(1, intended).tell(1, confirmed("respawn")).tell(1, confirmed("respawn"));
        assert_eq!(judge_story(Intent::default(), &twice).is, Is::Fail);
    }
}
