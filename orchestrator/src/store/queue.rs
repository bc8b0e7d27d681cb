//! Accepting projects (G1).

use super::error::StoreError;
use super::open::Store;
use super::write::{append, micros};
use crate::domain::id::{ProjectId, Token};
use crate::domain::limits;
use crate::domain::signal::{Signal, What};
use crate::domain::spec::Spec;
use crate::domain::time::Now;
use rusqlite::{OptionalExtension, params};

/// The answer to an enqueue; given only after COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The project.
    pub id: ProjectId,
    /// Whether it is new; false if the idempotency key was known already.
    pub new: bool,
}

impl Store {
    /// Accepts a project into the queue, or answers the one that was accepted under the same key before.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], or what SQLite says; nothing was accepted.
    pub fn enqueue(&mut self, spec: &Spec, now: &Now) -> Result<Accepted, StoreError> {
        let tx = self.begin()?;
        if let Some(key) = &spec.key {
            let known =
                tx.query_row("SELECT id FROM project WHERE key = ?1", [key], |row| row.get::<_, i64>(0)).optional()?;
            if let Some(id) = known {
                return Ok(Accepted { id: ProjectId(id), new: false });
            }
        }
        let waiting: i64 = tx.query_row("SELECT count(*) FROM project WHERE state = 'queued'", [], |row| row.get(0))?;
        if usize::try_from(waiting).unwrap_or(usize::MAX) >= limits::QUEUE_PROJECTS_MAX {
            return Err(StoreError::QueueFull(limits::QUEUE_PROJECTS_MAX));
        }
        let installation: String =
            tx.query_row("SELECT value FROM meta WHERE key = 'installation'", [], |row| row.get(0))?;
        let id: i64 = tx.query_row(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'project'), 0) + 1",
            [],
            |row| row.get(0),
        )?;
        tx.execute(
            "INSERT INTO project (id, title, slug, key, batch, priority, spec, state, enqueued_us, state_us, breaker)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'queued', ?8, ?8, ?9)",
            params![
                id,
                spec.title,
                format!("p{id}-{installation}"),
                spec.key,
                spec.batch,
                spec.priority,
                serde_json::to_string(spec)?,
                micros(now.at),
                serde_json::to_string(&crate::domain::breaker::Breaker::default())?,
            ],
        )?;
        for (ordinal, role) in (0_i64..).zip(&spec.roles) {
            tx.execute(
                "INSERT INTO role (project_id, ordinal, name, state) VALUES (?1, ?2, ?3, 'absent')",
                params![id, ordinal, role.name.0],
            )?;
        }
        let roles = u32::try_from(spec.roles.len()).unwrap_or(u32::MAX);
        let what = What::ProjectEnqueued { title: spec.title.clone(), roles };
        let signal = Signal { project_id: Some(ProjectId(id)), agent_role: None, epoch: None, session: None, what };
        append(&tx, signal, now)?;
        tx.commit()?;
        self.still_there()?;
        Ok(Accepted { id: ProjectId(id), new: true })
    }

    /// Lets no project be given an id up to `last`: names of one that a lost database knew are not used again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn skip_ids(&mut self, last: ProjectId) -> Result<(), StoreError> {
        let tx = self.begin()?;
        let changed = tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'project'", [last.0])?;
        if changed == 0 {
            tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('project', ?1)", [last.0])?;
        }
        tx.commit()?;
        self.still_there()
    }

    /// The unguessable mark that every git process of this installation carries, so that one which outlived a crash is
    /// found and ended before its work is done again (C06). `fresh` is kept if there is none yet.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn git_mark(&mut self, fresh: &Token) -> Result<Token, StoreError> {
        self.connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('git_mark', ?1)", [&fresh.0])?;
        let kept = self.connection.query_row("SELECT value FROM meta WHERE key = 'git_mark'", [], |row| row.get(0))?;
        Ok(Token(kept))
    }

    /// The installation's short mark, part of every branch name, so that two installations on one repository do not
    /// meet. Set once, from four hexadecimal digits.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_installation(&mut self, mark: &str) -> Result<(), StoreError> {
        self.connection.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('installation', ?1)", [mark])?;
        self.known = self.newest()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::RequestKind;
    use crate::domain::time::{Timestamp, WallTime};
    use crate::store::{Mode, Taken, Turn};
    use rusqlite::Connection;

    fn spec() -> Spec {
        Spec {
            title: "One more".to_owned(),
            repo: "/srv/app".to_owned(),
            base_sha: "f00d".to_owned(),
            brief: "Build it.".into(),
            key: None,
            priority: 0,
            batch: None,
            roles: Vec::new(),
            resources: Vec::new(),
        }
    }

    #[test]
    fn a_full_queue_is_an_explicit_error_and_one_that_drains_takes_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("orch.db"), Mode::Create).unwrap();
        store.set_installation("0042").unwrap();
        let now = Now { at: Timestamp(1), wall: WallTime(1), seed: [0; 32] };
        let spec = spec();
        let first = Spec { key: Some("known".to_owned()), ..spec.clone() };
        store.enqueue(&first, &now).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    INSERT INTO project (id, title, slug, priority, spec, state, enqueued_us, state_us, breaker)
                    SELECT i, 'x', 's' || i, 0, '{}', 'queued', 0, 0, '{}' FROM n";
        let max = i64::try_from(limits::QUEUE_PROJECTS_MAX).unwrap();
        store.connection.execute(fill, [max - 1]).unwrap();
        assert_eq!(store.enqueue(&spec, &now).unwrap().id, ProjectId(max), "the last place");
        let refused = store.enqueue(&spec, &now);
        assert!(matches!(refused, Err(StoreError::QueueFull(limits::QUEUE_PROJECTS_MAX))), "{refused:?}");
        assert_eq!(store.last_project().unwrap(), ProjectId(max), "nothing was accepted");
        let known = store.enqueue(&first, &now).unwrap();
        assert_eq!((known.id, known.new), (ProjectId(1), false), "what was accepted before is answered");
    }

    #[test]
    fn news_is_a_project_above_the_newest_known_or_a_request_that_nobody_took() {
        let mut store = Store::from_connection(Connection::open_in_memory().unwrap()).unwrap();
        store.set_installation("0042").unwrap();
        let now = Now { at: Timestamp(1), wall: WallTime(1), seed: [0; 32] };
        assert!(!store.has_news(ProjectId(0)).unwrap(), "nothing is there");
        let id = store.enqueue(&spec(), &now).unwrap().id;
        assert!(store.has_news(ProjectId(0)).unwrap());
        assert!(!store.has_news(id).unwrap(), "it is known");
        store.request(id, RequestKind::Suspend, &now).unwrap();
        assert!(store.has_news(id).unwrap());
        let request = store.untaken_requests(1).unwrap()[0].request.id;
        let turn = Turn { taken: vec![Taken { id: request, done: true }], ..Turn::default() };
        store.commit(&turn, &now).unwrap();
        assert!(!store.has_news(id).unwrap(), "it was taken");
    }
}
