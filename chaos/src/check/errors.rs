//! S9: no error without its cause.

use super::{Checker, Evidence, Tally, Verdict};
use orchestrator::domain::failure::{Ending, Failure};
use orchestrator::domain::id::{Epoch, ProjectId, RoleName};
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use std::collections::BTreeSet;

/// The checker of S9.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// Deaths that have been told and not yet explained.
    unexplained: BTreeSet<(ProjectId, Option<RoleName>, Option<Epoch>)>,
    tally: Tally,
}

/// What is missing from a record of a failure, if anything.
fn missing(failure: &Failure) -> Option<&'static str> {
    let says_nothing = |words: &str| words.trim().is_empty() || words.trim() == "None";
    let ending = match &failure.ending {
        Ending::NotStarted(why) | Ending::Lost(why) | Ending::Reason(why) => says_nothing(why),
        Ending::Code(_) | Ending::Signal(_) | Ending::DeadlinePassed(_) => false,
    };
    if failure.argv.is_empty() || failure.argv.iter().all(|word| says_nothing(word)) {
        Some("what was run")
    } else if ending {
        Some("how it ended")
    } else if failure.stderr.text().is_some_and(says_nothing) {
        Some("what it wrote to standard error")
    } else {
        None
    }
}

impl Checker for Errors {
    fn id(&self) -> &'static str {
        "S9"
    }

    fn title(&self) -> &'static str {
        "every error says what was run, how it ended and what became of its standard error; every death is explained"
    }

    fn observe(&mut self, entry: &Entry) {
        let signal = &entry.signal;
        if let Some(failure) = signal.failure() {
            let lacks = missing(failure);
            self.tally.check(lacks.is_none(), || {
                format!("seq {}: a failure ({failure}) does not say {}", entry.seq, lacks.unwrap_or_default())
            });
        }
        let Some(project) = signal.project_id else { return };
        let whose = (project, signal.agent_role.clone(), signal.epoch);
        if let What::AgentDied { expected: false, .. } = signal.what {
            self.unexplained.insert(whose);
        } else if matches!(signal.what, What::DeathExplained { .. }) {
            self.unexplained.remove(&whose);
        } else if let What::ProjectMoved { to: ProjectState::Recovering | ProjectState::Failed, cause, .. } =
            signal.what
        {
            self.tally.check(cause.is_some(), || format!("seq {}: project {project} moved without a cause", entry.seq));
        }
    }

    fn finish(&mut self, evidence: &Evidence<'_>) -> Verdict {
        if !evidence.truth.aborted {
            for (project, role, _) in &self.unexplained {
                let role = role.as_ref().map_or("an agent", |role| &role.0);
                self.tally.violate(format!("the death of {role} of project {project} was never explained"));
            }
        }
        // Where nothing had to fail, that nothing did is what there is to find.
        self.tally.held(evidence.truth.harmless());
        self.tally.verdict("nothing ever failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Is;
    use crate::check::tests::judge_story;
    use crate::story::{Story, failure};
    use orchestrator::domain::failure::{FailureKind, Program, Stderr};

    fn of(ending: Ending, stderr: Stderr) -> Story {
        let failure = failure(FailureKind::AgentExited, Program::Agent, ending, stderr);
        Story::running(1).tell_of(1, "developer", What::DeathExplained { failure })
    }

    #[test]
    fn a_full_record_passes_also_when_nothing_was_written() {
        assert_eq!(judge_story(Errors::default(), &of(Ending::Code(41), Stderr::Null)).is, Is::Pass);
        let story = Story::running(1).agent_exited(1, "developer", 41, Stderr::Empty);
        assert_eq!(judge_story(Errors::default(), &story).is, Is::Pass);
    }

    #[test]
    fn subprocess_failed_none_fails() {
        assert_eq!(judge_story(Errors::default(), &of(Ending::Reason("None".into()), Stderr::Null)).is, Is::Fail);
        assert_eq!(judge_story(Errors::default(), &of(Ending::Code(1), Stderr::Text(" ".into()))).is, Is::Fail);
        let mut nameless = failure(FailureKind::Io, Program::Orch, Ending::Code(1), Stderr::Null);
        nameless.argv.clear();
        let story = Story::running(1).tell(1, What::SubprocessFailed { failure: nameless });
        assert_eq!(judge_story(Errors::default(), &story).is, Is::Fail);
    }

    #[test]
    fn a_death_that_is_never_explained_fails() {
        let journal = Story::running(1).agent_exited(1, "developer", 41, Stderr::Empty);
        let swallowed = journal
            .journal()
            .iter()
            .filter(|logged| !matches!(logged.entry.signal.what, What::DeathExplained { .. }))
            .fold(Story::new(), |story, logged| story.say(logged.entry.signal.clone()));
        assert_eq!(judge_story(Errors::default(), &swallowed).is, Is::Fail);
    }
}
