//! S6: one incarnation at a time.

use super::{Checker, Evidence, Tally, Verdict};
use crate::truth::Sample;
use orchestrator::domain::signal::Entry;
use std::collections::BTreeMap;

/// The checker of S6.
#[derive(Debug, Default)]
pub(super) struct Single {
    tally: Tally,
}

impl Single {
    fn look(&mut self, sample: &Sample) {
        let at = sample.from.as_millis();
        let mut sessions: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for session in sample.seen.sessions.iter().flatten() {
            if let (true, Some(project)) = (session.live, session.project) {
                sessions.entry(project).or_default().push(&session.name);
            }
        }
        for (project, names) in sessions {
            self.tally.check(names.len() == 1, || {
                format!("at {at} ms project {project} had {} live sessions: {}", names.len(), names.join(", "))
            });
        }
        let mut tokens: BTreeMap<_, u32> = BTreeMap::new();
        for incarnation in sample.seen.agents.keys() {
            *tokens.entry((incarnation.project, &incarnation.role)).or_default() += 1;
        }
        for ((project, role), count) in tokens {
            self.tally.check(count == 1, || format!("at {at} ms {count} incarnations of {role} of {project} lived"));
        }
    }
}

impl Checker for Single {
    fn id(&self) -> &'static str {
        "S6"
    }

    fn title(&self) -> &'static str {
        "at most one live session per project and one live incarnation per role"
    }

    fn observe(&mut self, _: &Entry) {}

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        evidence.truth.samples.iter().for_each(|sample| self.look(sample));
        self.tally.verdict("nothing was ever seen alive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::story::Story;
    use crate::truth::{Claims, Incarnation, Seen, SessionSeen, Truth};
    use orchestrator::domain::id::{Epoch, ProcessId, ProjectId, RoleName, Token};
    use orchestrator::domain::time::Timestamp;

    fn truth(sessions: &[i64], epochs: &[u32]) -> Truth {
        let session = |project: &i64| SessionSeen {
            name: format!("p{project}"),
            token: None,
            project: Some(ProjectId(*project)),
            live: true,
            unknown: false,
        };
        let agent = |epoch: &u32| {
            let incarnation = Incarnation {
                project: ProjectId(1),
                role: RoleName("developer".to_owned()),
                epoch: Epoch(*epoch),
                token: Token(epoch.to_string()),
            };
            (incarnation, ProcessId { pid: *epoch, start: 1 })
        };
        let seen =
            Seen { sessions: Some(sessions.iter().map(session).collect()), agents: epochs.iter().map(agent).collect() };
        let sample = Sample { from: Timestamp(1), until: Timestamp(2), seen };
        Truth { samples: vec![sample], ..Truth::default() }
    }

    fn is(truth: &Truth) -> Is {
        judge(Single::default(), &Story::new(), truth, &Claims::default()).is
    }

    #[test]
    fn one_of_each_passes() {
        assert_eq!(is(&truth(&[1, 2], &[1])), Is::Pass);
    }

    #[test]
    fn two_sessions_or_two_incarnations_fail() {
        assert_eq!(is(&truth(&[1, 1], &[1])), Is::Fail);
        assert_eq!(is(&truth(&[1], &[1, 2])), Is::Fail);
    }
}
