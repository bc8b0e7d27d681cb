//! S10: what has ended stays ended.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;

/// The checker of S10.
#[derive(Debug, Default)]
pub(super) struct Absorbing {
    ended: BTreeMap<ProjectId, ProjectState>,
    tally: Tally,
}

impl Checker for Absorbing {
    fn id(&self) -> &'static str {
        "S10"
    }

    fn title(&self) -> &'static str {
        "a project that has ended stays as it ended, unless an operator retries it"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if let What::ProjectMoved { to, .. } = entry.signal.what {
            // No operator is at work in a run, so not even a retry is right.
            let ended = self.ended.get(&project);
            self.tally.check(ended.is_none(), || {
                let ended = ended.map_or("ended", |state| state.name());
                format!("seq {}: project {project} was {ended} and moved to {to}", entry.seq)
            });
            if to.is_terminal() {
                self.ended.insert(project, to);
            }
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        if self.ended.is_empty() {
            self.tally.doubt("no project came to its end");
        }
        self.tally.verdict("no project ever moved")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge_story;
    use crate::story::Story;

    #[test]
    fn ended_is_ended() {
        let done = || Story::running(1).completed(1);
        assert_eq!(judge_story(Absorbing::default(), &done()).is, Is::Pass);
        let again = done().moved(1, ProjectState::Completed, ProjectState::Queued);
        assert_eq!(judge_story(Absorbing::default(), &again).is, Is::Fail);
        assert_eq!(judge_story(Absorbing::default(), &Story::running(1)).is, Is::Unknown);
    }
}
