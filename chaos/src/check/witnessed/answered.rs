//! S18: what operators ask for is answered, once each, and as it was asked.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long after it was asked, and after the world was healed, an answer may take: a start and a sweep.
const WITHIN: Span = Span::from_secs(60);

type Wish = (Option<ProjectId>, RequestKind);

/// The checker of S18.
#[derive(Debug, Default)]
pub(super) struct Answered {
    open: BTreeMap<i64, (Wish, Timestamp)>,
    done: BTreeSet<i64>,
    healed: Option<Timestamp>,
    tally: Tally,
}

impl Answered {
    fn answer(&mut self, entry: &Entry, request: i64, kind: RequestKind) {
        let seq = entry.seq;
        let is = (entry.signal.project_id, kind);
        let first = self.done.insert(request);
        self.tally.check(first, || format!("seq {seq}: request {request} ({kind}) is answered once more"));
        let asked = self.open.remove(&request).map(|(wish, _)| wish);
        self.tally.check(!first || asked == Some(is), || match asked {
            Some((_, asked)) => format!("seq {seq}: request {request} was {asked}, and is answered as {kind}"),
            None => format!("seq {seq}: request {request} ({kind}) is answered, and nobody asked"),
        });
    }
}

impl Checker for Answered {
    fn id(&self) -> &'static str {
        "S18"
    }

    fn title(&self) -> &'static str {
        "every request of an operator is answered exactly once, as it was asked"
    }

    fn witness(&mut self, told: &Witnessed) {
        if let Fact::Asked { request, project, kind } = told.fact {
            self.open.insert(request, ((project, kind), told.at));
        } else if told.fact == Fact::Healed {
            self.healed = Some(told.at);
        }
    }

    fn observe(&mut self, entry: &Entry) {
        if let What::OperatorAsked { request, kind } | What::RequestRefused { request, kind, .. } = entry.signal.what {
            self.answer(entry, request, kind);
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let ended = evidence.truth.ended_at;
        for (request, ((_, kind), at)) in &self.open {
            let late = self.healed.is_some_and(|healed| ended.since(healed.max(*at)) > WITHIN);
            let at = at.as_millis();
            self.tally.check(!late, || format!("request {request} ({kind}) of {at} ms was never answered"));
        }
        // A run in which nobody asked has nothing that could have been left unanswered.
        self.tally.held(u64::from(!evidence.truth.submitted.is_empty()));
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::Past;
    use super::*;
    use crate::check::Is;

    fn asked() -> Past {
        let (project, kind) = (Some(ProjectId(1)), RequestKind::Suspend);
        Past::new().running().fact(Fact::Healed).fact(Fact::Asked { request: 7, project, kind })
    }

    fn done(past: Past, request: i64, kind: RequestKind) -> Past {
        past.told(|story| story.tell(1, What::OperatorAsked { request, kind }))
    }

    #[test]
    fn once_and_as_asked() {
        let (wish, other) = (RequestKind::Suspend, RequestKind::Cancel);
        assert_eq!(done(asked(), 7, wish).at(900).is(Answered::default()), Is::Pass);
        let refused = What::RequestRefused { request: 7, kind: wish, reason: "it has ended already".to_owned() };
        let refused = asked().told(|story| story.tell(1, refused));
        assert_eq!(refused.at(900).is(Answered::default()), Is::Pass);
        assert_eq!(done(done(asked(), 7, wish), 7, wish).is(Answered::default()), Is::Fail, "twice");
        assert_eq!(done(asked(), 7, other).is(Answered::default()), Is::Fail, "another");
        assert_eq!(done(asked(), 8, wish).is(Answered::default()), Is::Fail, "nobody asked");
        let fleet = asked().fleet(What::OperatorAsked { request: 7, kind: wish });
        assert_eq!(fleet.is(Answered::default()), Is::Fail, "of another");
    }

    #[test]
    fn never_is_too_late_once_the_world_is_healed() {
        assert_eq!(asked().at(30).is(Answered::default()), Is::Pass, "it has its time");
        assert_eq!(asked().at(900).is(Answered::default()), Is::Fail);
    }
}
