//! S19: what is somebody else's is never touched, be it on our server, under a name like ours or with a number that
//! was ours.

use crate::check::{Checker, Evidence, Tally, Verdict};
use crate::witness::{Fact, Witnessed};
use orchestrator::domain::signal::Entry;
use orchestrator::domain::time::Timestamp;
use std::collections::BTreeSet;

/// The checker of S19.
#[derive(Debug, Default)]
pub(super) struct Untouched {
    /// Sessions of others that are there.
    foreign: BTreeSet<String>,
    /// When a tmux server or the machine last went: what was on it goes in the same moment, by nobody's hand.
    fell: Option<Timestamp>,
    tally: Tally,
}

impl Checker for Untouched {
    fn id(&self) -> &'static str {
        "S19"
    }

    fn title(&self) -> &'static str {
        "no session, pane and process of somebody else is ended or written into"
    }

    fn witness(&mut self, told: &Witnessed) {
        let excused = self.fell == Some(told.at);
        if let Fact::SessionUp { name, ours: false, .. } = &told.fact {
            self.foreign.insert(name.clone());
            self.tally.held(1);
        } else if let Fact::SessionUp { name, ours: true, .. } = &told.fact {
            self.foreign.remove(name);
        } else if let Fact::SessionGone { name, .. } = &told.fact {
            let was = self.foreign.remove(name);
            self.tally.check(!was || excused, || format!("the session {name}, which is somebody else's, was ended"));
        } else if let Fact::StrangerGone { process } = told.fact {
            self.tally.check(excused, || format!("process {process}, which is somebody else's, was ended"));
        } else if let Fact::StrangerReached { process } = told.fact {
            self.tally.violate(format!("the pane of {process}, which is somebody else's, was written into"));
        } else if matches!(told.fact, Fact::ServerGone { .. } | Fact::Rebooted) {
            self.fell = Some(told.at);
        }
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        self.tally.verdict("nobody else was ever there")
    }
}

#[cfg(test)]
mod tests {
    use super::super::past::{Past, process};
    use super::*;
    use crate::check::Is;

    fn somebody() -> Past {
        Past::new().at(5).fact(Fact::SessionUp { name: "p1-x-twin".to_owned(), token: None, ours: false })
    }

    fn ended(past: Past) -> Past {
        past.fact(Fact::SessionGone { name: "p1-x-twin".to_owned(), token: None })
    }

    #[test]
    fn who_is_somebody_elses_stays() {
        assert_eq!(somebody().at(50).is(Untouched::default()), Is::Pass);
        assert_eq!(ended(somebody().at(50)).is(Untouched::default()), Is::Fail);
        let ours = || Past::new().session_up("p1-x").at(50);
        let gone = ours().fact(Fact::SessionGone { name: "p1-x".to_owned(), token: None });
        assert_eq!(gone.is(Untouched::default()), Is::Pass, "that one is ours to end");
        let stranger = Fact::StrangerGone { process: process(7) };
        assert_eq!(somebody().at(50).fact(stranger).is(Untouched::default()), Is::Fail);
        let reached = Fact::StrangerReached { process: process(7) };
        assert_eq!(somebody().at(50).fact(reached).is(Untouched::default()), Is::Fail);
        assert_eq!(Past::new().at(50).is(Untouched::default()), Is::Unknown, "nobody to touch");
    }

    #[test]
    fn what_falls_with_its_server_was_touched_by_nobody() {
        let fallen = |past: Past| past.at(50).fact(Fact::ServerGone { server: process(3) });
        let stranger = || Fact::StrangerGone { process: process(7) };
        assert_eq!(ended(fallen(somebody())).fact(stranger()).is(Untouched::default()), Is::Pass);
        assert_eq!(ended(fallen(somebody()).at(51)).is(Untouched::default()), Is::Fail, "it stood when that was over");
        assert_eq!(fallen(somebody()).at(51).fact(stranger()).is(Untouched::default()), Is::Fail);
    }
}
