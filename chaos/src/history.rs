//! The orchestrator's journal as the harness reads it: entries, each with the moment at which it was committed.

use orchestrator::domain::id::ProjectId;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// One line of the structured log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Logged {
    /// When its transaction had been committed, on the installation's timeline; the database does not know this of
    /// itself, so only the log's lines carry it.
    #[serde(rename = "committed_us")]
    committed: Option<Timestamp>,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Logged {
    /// An entry that was committed at that time.
    #[must_use]
    pub fn new(entry: Entry, committed: Timestamp) -> Self {
        Self { committed: Some(committed), entry }
    }

    /// Reads a line of the log, or of `orch events --json`.
    ///
    /// # Errors
    /// Why it is no entry.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }

    /// When it was committed; where that is not told, when it was decided.
    #[must_use]
    pub fn committed(&self) -> Timestamp {
        self.committed.unwrap_or(self.entry.at)
    }

    /// Whether it speaks of that project.
    #[must_use]
    pub fn is_of(&self, project: ProjectId) -> bool {
        self.entry.signal.project_id == Some(project)
    }
}

/// The states of projects as the journal tells them, followed entry by entry.
#[derive(Debug, Default, Clone)]
pub struct States(BTreeMap<ProjectId, ProjectState>);

impl States {
    /// Follows one entry.
    pub fn follow(&mut self, entry: &Entry) {
        let Some(project) = entry.signal.project_id else { return };
        if matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
            self.0.insert(project, ProjectState::Queued);
        } else if let What::ProjectMoved { to, .. } = entry.signal.what {
            self.0.insert(project, to);
        }
    }

    /// Where that project stands.
    #[must_use]
    pub fn of(&self, project: ProjectId) -> Option<ProjectState> {
        self.0.get(&project).copied()
    }

    /// Every project with its state, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProjectId, ProjectState)> {
        self.0.iter().map(|(project, state)| (*project, *state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator::domain::failure::{Ending, Stderr};

    #[test]
    fn a_line_of_the_log_is_read_with_all_its_evidence() {
        let line = r#"{"seq":7,"at_us":1000,"wall_us":5,"committed_us":1500,"ts":"2026-11-20T13:00:00Z","level":"warn",
            "project_id":3,"agent_role":"developer","epoch":2,"session":"p3-x","event":"death_explained","msg":"gone",
            "failure":{"stage":"run","kind":"agent_exited","program":"agent","argv":["worker.sh"],"cwd":null,
            "ending":{"code":41},"stderr_state":"empty","stdout_tail":"","duration":12,"hint":null}}"#;
        let logged = Logged::parse(line).expect("an entry");
        assert_eq!(logged.committed(), Timestamp(1_500));
        let failure = logged.entry.signal.failure().expect("a failure");
        assert_eq!((&failure.ending, &failure.stderr), (&Ending::Code(41), &Stderr::Empty));
    }

    #[test]
    fn a_line_of_the_database_counts_as_committed_when_decided() {
        let line = r#"{"seq":1,"at_us":9,"wall_us":5,"project_id":null,"agent_role":null,"epoch":null,"session":null,
            "event":"orchestrator_stopped","reason":"asked"}"#;
        assert_eq!(Logged::parse(line).expect("an entry").committed(), Timestamp(9));
        assert!(Logged::parse(r#"{"seq":1}"#).is_err());
    }
}
