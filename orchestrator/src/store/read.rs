//! Reading the fleet and the journal back.

use super::error::StoreError;
use super::open::Store;
use super::write::micros;
use crate::domain::breaker::Breaker;
use crate::domain::fleet::Fleet;
use crate::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Seq, Token};
use crate::domain::limits::Policy;
use crate::domain::project::{Pin, Project, Role, SessionIs, SessionRef, Worktree};
use crate::domain::signal::{Entry, Signal};
use crate::domain::spec::Spec;
use crate::domain::state::{ProjectState, RoleState, SuspendReason};
use crate::domain::time::{Timestamp, WallTime};
use rusqlite::{Row, Transaction, params};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

const PROJECT: &str = "SELECT id, slug, spec, state, reason, epoch, enqueued_us, state_us, session_name, session_token,
                              session_is, breaker, incident, stale, last_failure, preflighted, verified, finalizer,
                              version, server_pid, server_start, unknown, due_back_us
                         FROM project";

impl Store {
    /// Every unfinished project.
    ///
    /// # Errors
    /// If a row cannot be read; its value is named.
    pub fn load_fleet(&self, policy: Policy) -> Result<Fleet, StoreError> {
        let next: i64 =
            self.connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM outbox", [], |row| row.get(0))?;
        let mut fleet = Fleet::new(policy, EffectId(next));
        self.note_history(&mut fleet)?;
        for project in
            self.projects_where("state NOT IN ('completed', 'failed', 'cancelled') OR finalizer = 1", ProjectId(0), -1)?
        {
            fleet.put(project);
        }
        Ok(fleet)
    }

    /// What the journal says of the fleet as a whole.
    fn note_history(&self, fleet: &mut Fleet) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, at_us, project_id, body FROM event
              WHERE event = 'operator_asked' AND project_id IS NULL
                 OR event IN ('server_died', 'machine_rebooted', 'breaker_moved', 'fleet_breaker_moved', 'tmux_lost',
                              'tmux_answered', 'orchestrator_started')
              ORDER BY seq",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let mut signal: Signal = json(&row.get::<_, String>(3)?, || format!("event {seq}"))?;
            signal.project_id = row.get::<_, Option<i64>>(2)?.map(ProjectId);
            fleet.note(&signal, Timestamp(row.get::<_, i64>(1)?.cast_unsigned()));
        }
        Ok(())
    }

    /// Whether a client has left anything: a project with an id above `after`, or a request that nobody has taken. One
    /// short question for a turn to ask, which most often has nothing to read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_news(&self, after: ProjectId) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM project WHERE id > ?1)
                 OR EXISTS (SELECT 1 FROM request WHERE taken_us IS NULL)",
        )?;
        Ok(statement.query_row([after.0], |row| row.get(0))?)
    }

    /// Unfinished projects with an id above `after`: what was enqueued since.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn load_newer(&self, after: ProjectId) -> Result<Vec<Project>, StoreError> {
        self.projects_where("state NOT IN ('completed', 'failed', 'cancelled')", after, -1)
    }

    /// One project, finished or not; none if there is none of that id.
    ///
    /// # Errors
    /// If its row cannot be read.
    pub fn load_project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let before = ProjectId(id.0.saturating_sub(1));
        let found = self.projects_where("true", before, 1)?.pop();
        Ok(found.filter(|project| project.id == id))
    }

    /// The newest epoch of every project, finished or not, by its slug.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn epochs(&self) -> Result<BTreeMap<String, Epoch>, StoreError> {
        let mut statement = self.connection.prepare("SELECT slug, epoch FROM project")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, Epoch(row.get(1)?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The highest id ever given to a project; 0 before the first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_project(&self) -> Result<ProjectId, StoreError> {
        let id = self.connection.query_row("SELECT coalesce(max(id), 0) FROM project", [], |row| row.get(0))?;
        Ok(ProjectId(id))
    }

    /// At most `limit` projects, or with -1 all.
    fn projects_where(&self, condition: &str, after: ProjectId, limit: i64) -> Result<Vec<Project>, StoreError> {
        let sql = format!("{PROJECT} WHERE id > ?1 AND ({condition}) ORDER BY id LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after.0, limit])?;
        let mut projects = Vec::new();
        while let Some(row) = rows.next()? {
            projects.push(self.project(row)?);
        }
        Ok(projects)
    }

    fn project(&self, row: &Row<'_>) -> Result<Project, StoreError> {
        let id = ProjectId(row.get(0)?);
        let what = |column: &str| format!("{column} of project {id}");
        let spec: Spec = json(&row.get::<_, String>(2)?, || what("spec"))?;
        let state: String = row.get(3)?;
        let state = ProjectState::from_name(&state).ok_or_else(|| StoreError::unreadable(what("state"), &state))?;
        let at = Timestamp(row.get::<_, i64>(7)?.cast_unsigned());
        let roles = self.roles(id, &spec)?;
        let mut project = Project::restored(id, Arc::new(spec), row.get(1)?, state, at, roles);
        project.reason = match row.get::<_, Option<String>>(4)? {
            Some(name) => {
                Some(SuspendReason::from_name(&name).ok_or_else(|| StoreError::unreadable(what("reason"), &name))?)
            }
            None => None,
        };
        project.epoch = Epoch(row.get(5)?);
        project.enqueued_at = Timestamp(row.get::<_, i64>(6)?.cast_unsigned());
        project.session = session(row)?;
        project.breaker = json::<Breaker>(&row.get::<_, String>(11)?, || what("breaker"))?;
        project.incident = optional_json(row.get(12)?, || what("incident"))?;
        project.stale = json(&row.get::<_, String>(13)?, || what("stale"))?;
        project.last_failure = optional_json(row.get(14)?, || what("last_failure"))?;
        project.preflighted = row.get(15)?;
        project.verified = row.get(16)?;
        project.finalizer = row.get(17)?;
        project.version = row.get(18)?;
        project.unknown = optional_json(row.get(21)?, || what("unknown"))?;
        project.due_back = row.get::<_, Option<i64>>(22)?.map(|at| Timestamp(at.cast_unsigned()));
        Ok(project)
    }

    fn roles(&self, id: ProjectId, spec: &Spec) -> Result<Vec<Role>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT name, state, epoch, token, pane, pid, pid_start, started_us, worktree_path, worktree_branch,
                    worktree_ready, claude_size, claude_sha256, briefs_sent, ack_due_us, progress_us, vigil,
                    unexplained
               FROM role WHERE project_id = ?1 ORDER BY ordinal",
        )?;
        let mut rows = statement.query([id.0])?;
        let mut roles = Vec::with_capacity(spec.roles.len());
        while let Some(row) = rows.next()? {
            roles.push(role(row)?);
        }
        let same = roles.len() == spec.roles.len()
            && roles.iter().zip(&spec.roles).all(|(role, wanted)| role.name == wanted.name);
        if same {
            Ok(roles)
        } else {
            Err(StoreError::unreadable(format!("roles of project {id}"), "they differ from its spec"))
        }
    }

    /// Closes every intent whose outcome the last process never learned: it is settled by observation from here on.
    /// Answers how many there were.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn supersede_intents(&mut self, at: Timestamp) -> Result<u32, StoreError> {
        let tx = self.begin()?;
        let closed = close_intents(&tx, at)?;
        tx.commit()?;
        self.still_there()?;
        Ok(u32::try_from(closed).unwrap_or(u32::MAX))
    }

    /// Entries of the journal after `seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If an entry cannot be read.
    pub fn entries_after(&self, seq: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, at_us, wall_us, project_id, body FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![seq.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let seq = Seq(row.get(0)?);
            let mut signal: Signal = json(&row.get::<_, String>(4)?, || format!("event {seq}"))?;
            signal.project_id = row.get::<_, Option<i64>>(3)?.map(ProjectId);
            let at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
            entries.push(Entry { seq, at, wall: WallTime(row.get(2)?), signal });
        }
        Ok(entries)
    }

    /// A number that changes whenever another connection has written.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }
}

/// Closes every open intent as superseded; answers how many there were.
pub(super) fn close_intents(tx: &Transaction<'_>, at: Timestamp) -> Result<usize, StoreError> {
    let sql = "UPDATE outbox SET resolved_us = ?1, outcome = 'superseded' WHERE resolved_us IS NULL";
    Ok(tx.execute(sql, [micros(at)])?)
}

fn session(row: &Row<'_>) -> Result<Option<SessionRef>, StoreError> {
    let (name, token, is): (Option<String>, Option<String>, Option<String>) = (row.get(8)?, row.get(9)?, row.get(10)?);
    let (Some(name), Some(token), Some(is)) = (name, token, is) else { return Ok(None) };
    let known = SessionIs::ALL.iter().find(|known| known.name() == is).copied();
    let is = known.ok_or_else(|| StoreError::unreadable("session_is", &is))?;
    let server = match (row.get::<_, Option<u32>>(19)?, row.get::<_, Option<i64>>(20)?) {
        (Some(pid), Some(start)) => Some(ProcessId { pid, start: start.cast_unsigned() }),
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    };
    Ok(Some(SessionRef { name, token: Token(token), is, server }))
}

fn role(row: &Row<'_>) -> Result<Role, StoreError> {
    let name = RoleName(row.get(0)?);
    let state: String = row.get(1)?;
    let known =
        RoleState::from_name(&state).ok_or_else(|| StoreError::unreadable(format!("state of role {name}"), &state))?;
    let stamp = |column: usize| -> Result<Option<Timestamp>, rusqlite::Error> {
        Ok(row.get::<_, Option<i64>>(column)?.map(|at| Timestamp(at.cast_unsigned())))
    };
    let mut role = Role::restored(name, known);
    role.epoch = Epoch(row.get(2)?);
    role.token = row.get::<_, Option<String>>(3)?.map(Token);
    role.pane = row.get(4)?;
    role.process = match (row.get::<_, Option<u32>>(5)?, row.get::<_, Option<i64>>(6)?) {
        (Some(pid), Some(start)) => Some(ProcessId { pid, start: start.cast_unsigned() }),
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    };
    role.started_at = stamp(7)?;
    role.worktree = match (row.get::<_, Option<String>>(8)?, row.get::<_, Option<String>>(9)?) {
        (Some(path), Some(branch)) => Some(Worktree { path, branch, ready: row.get(10)? }),
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    };
    role.claude_md = match (row.get::<_, Option<i64>>(11)?, row.get::<_, Option<String>>(12)?) {
        (Some(size), Some(sha256)) => Some(Pin { size: size.cast_unsigned(), sha256 }),
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    };
    role.briefs_sent = row.get(13)?;
    role.ack_due = stamp(14)?;
    role.last_progress = stamp(15)?;
    role.vigil = json(&row.get::<_, String>(16)?, || format!("vigil of role {}", role.name))?;
    role.unexplained = row.get(17)?;
    Ok(role)
}

fn json<T: DeserializeOwned>(text: &str, what: impl Fn() -> String) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::unreadable(what(), error))
}

fn optional_json<T: DeserializeOwned>(
    text: Option<String>,
    what: impl Fn() -> String,
) -> Result<Option<T>, StoreError> {
    text.map(|text| json(&text, what)).transpose()
}
