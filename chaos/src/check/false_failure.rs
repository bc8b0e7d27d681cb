//! S4: nothing is called failed while it lives.

use super::{Checker, Evidence, Tally, Verdict};
use crate::truth::{Incarnation, Sample, Truth};
use orchestrator::domain::id::{ProcessId, ProjectId};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Timestamp;

/// The checker of S4.
#[derive(Debug, Default)]
pub(super) struct FalseFailures {
    failed: Vec<(ProjectId, Timestamp)>,
    tally: Tally,
}

impl Checker for FalseFailures {
    fn id(&self) -> &'static str {
        "S4"
    }

    fn title(&self) -> &'static str {
        "no project is failed while an agent of it lives"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if let What::ProjectMoved { to, .. } = entry.signal.what {
            // Every move could have been a false failure; those that are none have held.
            self.tally.held(1);
            if to == ProjectState::Failed {
                self.failed.push((project, entry.at));
            }
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        for (project, at) in &self.failed {
            if let Some((incarnation, process)) = alive_throughout(evidence.truth, *project, *at) {
                let (role, at) = (&incarnation.role, at.as_millis());
                self.tally.violate(format!("at {at} ms project {project} was failed while {role} lived: {process}"));
            }
        }
        self.tally.verdict("no project ever moved")
    }
}

/// A process of the project that was seen both before and after that moment, and so lived through it.
fn alive_throughout(truth: &Truth, project: ProjectId, at: Timestamp) -> Option<(&Incarnation, &ProcessId)> {
    let before = truth.samples.iter().rev().find(|sample: &&Sample| sample.from <= at)?;
    // A sample that spans the moment was seen on both sides of it.
    let after = truth.samples.iter().find(|sample| sample.until > at)?;
    before
        .seen
        .agents
        .iter()
        .filter(|(incarnation, _)| incarnation.project == project)
        .find(|(incarnation, process)| after.seen.agents.get(*incarnation) == Some(*process))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::story::Story;
    use crate::truth::{Claims, Seen};
    use orchestrator::domain::id::{Epoch, RoleName, Token};

    fn truth(spans: &[(u64, u64, bool)]) -> Truth {
        let incarnation = Incarnation {
            project: ProjectId(1),
            role: RoleName("developer".to_owned()),
            epoch: Epoch(1),
            token: Token("t".to_owned()),
        };
        let process = ProcessId { pid: 7, start: 7 };
        let sample = |(from, until, alive): &(u64, u64, bool)| Sample {
            from: Timestamp(from * 1_000),
            until: Timestamp(until * 1_000),
            seen: Seen { sessions: None, agents: alive.then(|| (incarnation.clone(), process)).into_iter().collect() },
        };
        Truth { samples: spans.iter().map(sample).collect(), ..Truth::default() }
    }

    fn failed() -> Story {
        Story::running(1).at(5_000).moved(1, ProjectState::Running, ProjectState::Failed)
    }

    #[test]
    fn failed_after_its_death_passes() {
        let truth = truth(&[(0, 4_000, true), (4_100, 9_000, false)]);
        assert_eq!(judge(FalseFailures::default(), &failed(), &truth, &Claims::default()).is, Is::Pass);
        // Alive before and gone after: it may have died just before; that is no proof of a false failure.
        let truth = self::truth(&[(0, 4_900, true), (5_100, 9_000, false)]);
        assert_eq!(judge(FalseFailures::default(), &failed(), &truth, &Claims::default()).is, Is::Pass);
    }

    #[test]
    fn failed_while_it_lives_fails() {
        let across = truth(&[(0, 9_000, true)]);
        assert_eq!(judge(FalseFailures::default(), &failed(), &across, &Claims::default()).is, Is::Fail);
        let both_sides = truth(&[(0, 4_900, true), (5_100, 9_000, true)]);
        assert_eq!(judge(FalseFailures::default(), &failed(), &both_sides, &Claims::default()).is, Is::Fail);
    }
}
