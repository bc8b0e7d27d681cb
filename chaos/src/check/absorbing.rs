//! S10: what has ended stays ended.
//!
//! The one way back is an operator's retry, told as such ([`What::OperatorAsked`]) before the move, once for each
//! move, and only into the queue. A request that was refused allows nothing.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::{BTreeMap, BTreeSet};

/// The checker of S10.
#[derive(Debug, Default)]
pub(super) struct Absorbing {
    ended: BTreeMap<ProjectId, ProjectState>,
    /// Ended projects that an operator wants run once more, until they have moved.
    retried: BTreeSet<ProjectId>,
    /// Whether any project ever came to its end.
    any: bool,
    tally: Tally,
}

impl Absorbing {
    fn moved(&mut self, project: ProjectId, entry: &Entry, to: ProjectState) {
        let retried = self.retried.remove(&project) && to == ProjectState::Queued;
        let ended = self.ended.get(&project).copied();
        self.tally.check(ended.is_none() || retried, || {
            let ended = ended.map_or("ended", |state| state.name());
            format!("seq {}: project {project} was {ended} and moved to {to}", entry.seq)
        });
        if to.is_terminal() {
            self.any = true;
            self.ended.insert(project, to);
        } else if retried {
            self.ended.remove(&project);
        }
    }
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
        if let What::OperatorAsked { kind: RequestKind::Retry, .. } = entry.signal.what {
            let ended = self.ended.contains_key(&project);
            self.tally.check(ended, || format!("seq {}: project {project} is retried and has not ended", entry.seq));
            if ended {
                self.retried.insert(project);
            }
        } else if let What::ProjectMoved { to, .. } = entry.signal.what {
            self.moved(project, entry, to);
        }
    }

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        if !self.any {
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

    #[test]
    fn an_operators_retry_is_the_one_way_back() {
        use ProjectState as S;
        let is = |story: &Story| judge_story(Absorbing::default(), story).is;
        let done = || Story::running(1).completed(1);
        let asked = || done().asked(1, RequestKind::Retry);
        let back = || asked().moved(1, S::Completed, S::Queued);
        assert_eq!(is(&back()), Is::Pass);
        let whole = back().moved(1, S::Queued, S::Provisioning).moved(1, S::Provisioning, S::Cancelled);
        assert_eq!(is(&whole), Is::Pass, "and a second end is an end again");
        assert_eq!(is(&whole.moved(1, S::Cancelled, S::Queued)), Is::Fail, "one retry is one way back");
        assert_eq!(is(&asked().moved(1, S::Completed, S::Running)), Is::Fail, "only into the queue");
        let refused = What::RequestRefused { request: 1, kind: RequestKind::Retry, reason: "no".to_owned() };
        assert_eq!(is(&done().tell(1, refused).moved(1, S::Completed, S::Queued)), Is::Fail, "it was refused");
        let other = done().asked(1, RequestKind::Resume).moved(1, S::Completed, S::Queued);
        assert_eq!(is(&other), Is::Fail, "no other request leads back");
        let another = done().also_running(2).completed(2).asked(2, RequestKind::Retry);
        assert_eq!(is(&another.moved(1, S::Completed, S::Queued)), Is::Fail, "somebody else's retry");
        assert_eq!(is(&done().also_running(2).asked(2, RequestKind::Retry)), Is::Fail, "it has not ended");
    }
}
