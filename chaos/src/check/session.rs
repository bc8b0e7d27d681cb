//! S3: no session that the database does not know.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::{Epoch, ProjectId};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeSet;

/// The checker of S3.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    intended: BTreeSet<(ProjectId, Option<Epoch>, String)>,
    tally: Tally,
}

impl Checker for Sessions {
    fn id(&self) -> &'static str {
        "S3"
    }

    fn title(&self) -> &'static str {
        "a session's name and token are recorded with the intent, before it exists"
    }

    fn observe(&mut self, entry: &Entry) {
        let signal = &entry.signal;
        let Some(project) = signal.project_id else { return };
        let named = signal.session.clone().map(|session| (project, signal.epoch, session));
        if let What::EffectIntended { effect, .. } = &signal.what
            && effect == "ensure_session"
        {
            self.tally.check(named.is_some(), || format!("seq {}: a session without a name is intended", entry.seq));
            self.intended.extend(named);
        } else if matches!(signal.what, What::SessionCreated { .. }) {
            let known = named.is_some_and(|named| self.intended.contains(&named));
            self.tally.check(known, || {
                let session = signal.session.as_deref().unwrap_or("without a name");
                format!("seq {}: project {project} has a session {session} that was never intended", entry.seq)
            });
        } else if let What::ProjectMoved { to: ProjectState::Running, .. } = signal.what {
            self.tally.check(named.is_some(), || format!("seq {}: project {project} runs in no session", entry.seq));
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for sample in &evidence.truth.samples {
            for session in sample.seen.sessions.iter().flatten() {
                self.tally.check(!session.unknown, || {
                    let at = sample.from.as_millis();
                    format!("at {at} ms: session {} lives, and the database does not know its token", session.name)
                });
            }
        }
        self.tally.verdict("no session was ever seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::{judge, judge_story};
    use crate::story::Story;
    use crate::truth::{Claims, Sample, Seen, SessionSeen, Truth};
    use orchestrator::domain::time::Timestamp;

    #[test]
    fn intended_then_created_passes() {
        assert_eq!(judge_story(Sessions::default(), &Story::running(1)).is, Is::Pass);
    }

    #[test]
    fn created_without_intent_or_under_an_older_one_fails() {
        let created = What::SessionCreated { adopted: false };
        let bare = Story::new().enqueued(1).tell(1, created.clone());
        assert_eq!(judge_story(Sessions::default(), &bare).is, Is::Fail);
        let older = Story::running(1).epoch(2).tell(1, created);
        assert_eq!(judge_story(Sessions::default(), &older).is, Is::Fail);
    }

    #[test]
    fn a_live_session_that_the_database_does_not_know_fails() {
        let session = SessionSeen { name: "p1-x".to_owned(), token: None, project: None, live: true, unknown: true };
        let seen = Seen { sessions: Some(vec![session]), ..Seen::default() };
        let sample = Sample { from: Timestamp(1), until: Timestamp(2), seen };
        let truth = Truth { samples: vec![sample], ..Truth::default() };
        assert_eq!(judge(Sessions::default(), &Story::running(1), &truth, &Claims::default()).is, Is::Fail);
    }
}
