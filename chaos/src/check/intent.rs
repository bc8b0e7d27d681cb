//! S13: no effect without a committed intent.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::{EffectId, ProjectId, Seq};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The checker of S13.
#[derive(Debug, Default)]
pub(super) struct Intent {
    intended: BTreeMap<EffectId, String>,
    /// What was intended for each project, whenever.
    by_project: BTreeSet<(ProjectId, String)>,
    /// What was intended and has not shown since, where every showing needs an intent of its own.
    open: BTreeMap<(ProjectId, String), u32>,
    /// What showed in the decision that is being read: intents of the same decision were committed with it.
    shown: Vec<Shown>,
    at: Timestamp,
    tally: Tally,
}

/// Something that only an effect does.
#[derive(Debug)]
struct Shown {
    seq: Seq,
    project: ProjectId,
    effects: &'static [&'static str],
    once: bool,
}

/// The effects of which one must have been intended for this to happen, and whether each can make it happen once only.
fn needs(what: &What) -> Option<(&'static [&'static str], bool)> {
    if matches!(what, What::SessionCreated { .. }) {
        Some((&["ensure_session"], true))
    } else if matches!(what, What::BriefHanded { .. }) {
        Some((&["hand_brief"], true))
    } else if matches!(what, What::AgentStarted { .. }) {
        Some((&["ensure_session", "respawn"], false))
    } else if matches!(what, What::ResourceRestored { .. }) {
        Some((&["ensure_files", "ensure_worktree"], false))
    } else {
        None
    }
}

impl Intent {
    fn intend(&mut self, entry: &Entry, effect_id: EffectId, effect: &str) {
        let newest = self.intended.keys().next_back().copied();
        self.tally.check(newest.is_none_or(|newest| newest < effect_id), || {
            format!("seq {}: effect {effect_id} is intended out of order, or twice", entry.seq)
        });
        self.intended.insert(effect_id, effect.to_owned());
        if let Some(project) = entry.signal.project_id {
            let whose = (project, effect.to_owned());
            self.by_project.insert(whose.clone());
            *self.open.entry(whose).or_default() += 1;
        }
    }

    /// Judges what showed in the decision that has been read.
    fn judge_shown(&mut self) {
        for Shown { seq, project, effects, once } in std::mem::take(&mut self.shown) {
            let intended = effects.iter().any(|effect| {
                let whose = (project, (*effect).to_owned());
                if once {
                    self.open.get_mut(&whose).filter(|open| **open > 0).map(|open| *open -= 1).is_some()
                } else {
                    self.by_project.contains(&whose)
                }
            });
            self.tally.check(intended, || {
                format!("seq {seq}: project {project} shows what only {} does, unintended", effects.join(" or "))
            });
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
        if entry.at != self.at {
            self.judge_shown();
            self.at = entry.at;
        }
        if let What::EffectIntended { effect_id, effect } = &entry.signal.what {
            self.intend(entry, *effect_id, effect);
        } else if let (Some((effects, once)), Some(project)) = (needs(&entry.signal.what), entry.signal.project_id) {
            self.shown.push(Shown { seq: entry.seq, project, effects, once });
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        self.judge_shown();
        for (id, effect) in &evidence.claims.effects {
            self.tally.check(self.intended.get(id) == Some(effect), || {
                format!("effect {id} ({effect}) is in the outbox, but its intent is not in the journal")
            });
        }
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
    use crate::check::tests::{judge, judge_story};
    use crate::story::Story;
    use crate::truth::{Claims, Truth};

    fn created() -> What {
        What::SessionCreated { adopted: false }
    }

    #[test]
    fn what_was_intended_may_happen() {
        assert_eq!(judge_story(Intent::default(), &Story::running(1)).is, Is::Pass);
        let claims = Claims { effects: vec![(EffectId(2), "ensure_session".to_owned())], ..Claims::default() };
        assert_eq!(judge(Intent::default(), &Story::running(1), &Truth::default(), &claims).is, Is::Pass);
    }

    #[test]
    fn what_was_not_intended_or_only_once_fails() {
        assert_eq!(judge_story(Intent::default(), &Story::new().enqueued(1).tell(1, created())).is, Is::Fail);
        assert_eq!(judge_story(Intent::default(), &Story::running(1).tell(1, created())).is, Is::Fail);
        let other = Story::running(1).tell(2, What::BriefHanded { times: 1 });
        assert_eq!(judge_story(Intent::default(), &other).is, Is::Fail);
    }

    #[test]
    fn an_effect_without_a_journaled_intent_fails() {
        let claims = Claims { effects: vec![(EffectId(99), "respawn".to_owned())], ..Claims::default() };
        assert_eq!(judge(Intent::default(), &Story::running(1), &Truth::default(), &claims).is, Is::Fail);
        let back = What::EffectIntended { effect_id: EffectId(1), effect: "respawn".to_owned() };
        assert_eq!(judge_story(Intent::default(), &Story::running(1).tell(1, back)).is, Is::Fail);
    }
}
