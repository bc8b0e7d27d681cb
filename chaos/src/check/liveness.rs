//! L1: once faults have stopped, everything comes to its right end.

use super::{Checker, Evidence, Tally, Verdict};
use crate::fault::Outcome;
use crate::schedule::Schedule;
use crate::truth::Truth;
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};
use std::collections::BTreeMap;

/// T: how long after healing a project may take to its end.
pub const HEALED_WITHIN: Span = Span::from_secs(60);

/// The checker of L1.
#[derive(Debug, Default)]
pub(super) struct Liveness {
    states: BTreeMap<ProjectId, (ProjectState, Option<SuspendReason>, Timestamp)>,
    tally: Tally,
}

/// The outcome that is due for each injection, by what its project had gone through before.
fn due(truth: &Truth, evidence: &Evidence<'_>) -> Vec<Outcome> {
    let counts = |other: usize| {
        let masked = evidence.matched.get(other).is_some_and(|matched| matched.outcome == Some(Outcome::Masked));
        truth.injections[other].probe.is_ok() && truth.injections[other].kind.entry().spends_recovery && !masked
    };
    let before = |fault: usize, other: usize| {
        let (fault, other) = (&truth.injections[fault], &truth.injections[other]);
        other.project == fault.project && other.injected_at < fault.injected_at
    };
    (0..truth.injections.len())
        .map(|fault| {
            let spent = (0..truth.injections.len()).filter(|other| before(fault, *other) && counts(*other)).count();
            Schedule::outcome_due(truth.injections[fault].kind, u32::try_from(spent).unwrap_or(u32::MAX))
        })
        .collect()
}

impl Liveness {
    fn outcomes(&mut self, evidence: &Evidence<'_>, due: &[Outcome]) {
        for ((fault, matched), due) in evidence.truth.injections.iter().zip(evidence.matched).zip(due) {
            if fault.confirmed_at().is_none() || matched.outcome == Some(Outcome::Masked) {
                continue;
            }
            self.tally.check(matched.outcome == Some(*due), || {
                let outcome = matched.outcome.map_or("still open", Outcome::name);
                format!("{fault} is {outcome}; due was {}", due.name())
            });
        }
    }

    fn end(&mut self, evidence: &Evidence<'_>, due: &[Outcome], project: ProjectId, released: Timestamp) {
        let contained =
            evidence.truth.injections.iter().zip(due).any(|(fault, due)| {
                fault.project == Some(project) && fault.probe.is_ok() && *due == Outcome::Contained
            });
        let Some((state, reason, at)) = self.states.get(&project).copied() else {
            self.tally.violate(format!("project {project} was never heard of"));
            return;
        };
        let in_time = at.since(released) <= HEALED_WITHIN;
        let right = match state {
            ProjectState::Completed => in_time && !contained,
            ProjectState::Suspended => contained && reason == Some(SuspendReason::Breaker),
            ProjectState::Queued
            | ProjectState::Provisioning
            | ProjectState::Launching
            | ProjectState::Briefing
            | ProjectState::Running
            | ProjectState::Recovering
            | ProjectState::Failed
            | ProjectState::Cancelled => false,
        };
        self.tally.check(right, || {
            let wanted = if contained { "suspended by its breaker" } else { "completed" };
            let late = if in_time { "" } else { " too late" };
            format!("project {project} ended{late} as {state}; due was {wanted}")
        });
    }
}

impl Checker for Liveness {
    fn id(&self) -> &'static str {
        "L1"
    }

    fn title(&self) -> &'static str {
        "once faults have stopped, every project completes, or rests behind its breaker if that is due"
    }

    fn observe(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
            self.states.insert(project, (ProjectState::Queued, None, entry.at));
        } else if let What::ProjectMoved { to, reason, .. } = entry.signal.what {
            self.states.insert(project, (to, reason, entry.at));
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        let truth = evidence.truth;
        for trouble in &truth.trouble {
            self.tally.violate(trouble.clone());
        }
        match truth.released_at {
            Some(released) if !truth.aborted => {
                let due = due(truth, evidence);
                self.outcomes(evidence, &due);
                for submitted in &truth.submitted {
                    self.end(evidence, &due, submitted.id, released);
                }
            }
            Some(_) | None => self.tally.doubt("the run was cut short before the world was healed"),
        }
        self.tally.verdict("no project was submitted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge;
    use crate::fault::Kind;
    use crate::story::{Story, injection};
    use crate::truth::{Claims, Submitted};

    fn truth(faults: u32) -> Truth {
        let at = |id: u32| u64::from(id) * 1_000;
        Truth {
            submitted: vec![Submitted { id: ProjectId(1), roles: Vec::new() }],
            injections: (1..=faults).map(|id| injection(id, Kind::SessionKill, 1, None, at(id))).collect(),
            released_at: Some(Timestamp(10_000_000)),
            ..Truth::default()
        }
    }

    fn recovered(times: u64) -> Story {
        (1..=times).fold(Story::running(1), |story, nth| {
            story.at(nth * 1_000 + 10).session_killed(1).at(nth * 1_000 + 500).recovered(1)
        })
    }

    fn verdict(truth: &Truth, story: &Story) -> Verdict {
        judge(Liveness::default(), story, truth, &Claims::default())
    }

    #[test]
    fn recovered_and_completed_in_time_passes() {
        assert_eq!(verdict(&truth(2), &recovered(2).at(69_000).completed(1)).is, Is::Pass);
    }

    #[test]
    fn the_fourth_is_contained_and_that_is_right() {
        let contained = recovered(3).at(4_010).session_killed(1).refused(1);
        assert_eq!(verdict(&truth(4), &contained).is, Is::Pass);
        // Without a fourth fault it is not.
        let early = recovered(2).at(3_010).session_killed(1).refused(1);
        assert_eq!(verdict(&truth(3), &early).is, Is::Fail);
    }

    #[test]
    fn stuck_late_failed_or_unrecovered_fails() {
        assert_eq!(verdict(&truth(1), &recovered(1)).is, Is::Fail);
        assert_eq!(verdict(&truth(1), &recovered(1).at(71_000).completed(1)).is, Is::Fail);
        let failed = recovered(1).at(20_000).moved(1, ProjectState::Running, ProjectState::Failed);
        assert_eq!(verdict(&truth(1), &failed).is, Is::Fail);
        let open = Story::running(1).at(1_010).session_killed(1).at(20_000).completed(1);
        assert_eq!(verdict(&truth(1), &open).is, Is::Fail);
    }

    #[test]
    fn cut_short_is_unknown_but_trouble_is_not_excused() {
        let aborted = Truth { aborted: true, ..truth(1) };
        assert_eq!(verdict(&aborted, &recovered(1)).is, Is::Unknown);
        let died = Truth { trouble: vec!["orch serve died".to_owned()], ..aborted };
        assert_eq!(verdict(&died, &recovered(1)).is, Is::Fail);
    }
}
