//! S5: nothing is called completed whose resources were not verified.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::{Epoch, ProjectId};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeMap;

/// The checker of S5.
#[derive(Debug, Default)]
pub(super) struct Completion {
    /// Projects whose newest word on their resources is that all of them hold, with the epoch it was said of.
    certified: BTreeMap<ProjectId, Option<Epoch>>,
    tally: Tally,
}

impl Checker for Completion {
    fn id(&self) -> &'static str {
        "S5"
    }

    fn title(&self) -> &'static str {
        "no project is completed without its resources verified in this epoch"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if matches!(entry.signal.what, What::ProjectCertified { .. }) {
            self.certified.insert(project, entry.signal.epoch);
        } else if matches!(entry.signal.what, What::ResourceMissing { .. } | What::RecoveryStarted { .. }) {
            self.certified.remove(&project);
        } else if let What::ProjectMoved { to: ProjectState::Completed, .. } = entry.signal.what {
            let certified = self.certified.get(&project);
            self.tally.check(certified == Some(&entry.signal.epoch), || {
                let seq = entry.seq;
                format!("seq {seq}: project {project} is completed, but its resources were not verified for that")
            });
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for unfit in &evidence.truth.unfit {
            self.tally.violate(unfit.clone());
        }
        self.tally.verdict("no project was completed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge_story;
    use crate::story::Story;

    #[test]
    fn certified_then_completed_passes() {
        assert_eq!(judge_story(Completion::default(), &Story::running(1).completed(1)).is, Is::Pass);
    }

    #[test]
    fn completed_without_a_look_or_on_a_look_that_no_longer_holds_fails() {
        let done = |story: Story| story.moved(1, ProjectState::Running, ProjectState::Completed);
        assert_eq!(judge_story(Completion::default(), &done(Story::running(1))).is, Is::Fail);
        let certified = || Story::running(1).tell(1, What::ProjectCertified { heads: Vec::new() });
        let then_missing = done(certified().file_missing(1, "developer"));
        assert_eq!(judge_story(Completion::default(), &then_missing).is, Is::Fail);
        let then_relaunched = done(certified().epoch(2));
        assert_eq!(judge_story(Completion::default(), &then_relaunched).is, Is::Fail);
    }
}
