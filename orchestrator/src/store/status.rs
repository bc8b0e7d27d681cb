//! What people ask for: rows for `orch status` and `orch show`, and the lease.

use super::error::StoreError;
use super::open::Store;
use super::write::micros;
use crate::domain::breaker::Breaker;
use crate::domain::id::{ProcessId, ProjectId};
use crate::domain::time::Timestamp;
use rusqlite::{OptionalExtension, params};

/// A project as `orch status` shows it, finished or not.
#[derive(Debug, Clone)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// Its title.
    pub title: String,
    /// Its slug.
    pub slug: String,
    /// Its state's name.
    pub state: String,
    /// Why it is suspended, if it is.
    pub reason: Option<String>,
    /// Its newest incarnation.
    pub epoch: u32,
    /// Its session's name, from the intent on.
    pub session: Option<String>,
    /// Since when it has been in its state.
    pub state_since: Timestamp,
    /// Its breaker.
    pub breaker: Breaker,
    /// The newest evidence, as JSON.
    pub last_failure: Option<String>,
    /// Its repository.
    pub repo: String,
    /// Its roles, in the order of the spec.
    pub roles: Vec<RoleRow>,
}

/// A role as `orch status` shows it.
#[derive(Debug, Clone)]
pub struct RoleRow {
    /// Its name.
    pub name: String,
    /// Its state's name.
    pub state: String,
    /// The epoch of its current process.
    pub epoch: u32,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// Its worktree, relative to the installation.
    pub worktree: Option<String>,
    /// Its branch.
    pub branch: Option<String>,
    /// When it last reported.
    pub last_progress: Option<Timestamp>,
}

/// An entry of the outbox.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// Its id.
    pub id: i64,
    /// Its role, if it is for one.
    pub role: Option<String>,
    /// Its name.
    pub effect: String,
    /// When it was intended.
    pub intended: Timestamp,
    /// When its outcome was recorded, if it was.
    pub resolved: Option<Timestamp>,
    /// `confirmed`, `failed` or `superseded`.
    pub outcome: Option<String>,
}

/// Who holds the database, or held it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Grows with every holder.
    pub epoch: i64,
    /// Its process.
    pub holder: ProcessId,
    /// Since when.
    pub since: Timestamp,
    /// Whether it was given back properly.
    pub released: bool,
    /// Where the holder serves HTTP.
    pub http: Option<String>,
    /// What the holder last knew of tmux: `alive` or `unknown`.
    pub tmux: String,
}

impl Store {
    /// All projects, or one, in the order of their ids.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn project_rows(&self, only: Option<ProjectId>) -> Result<Vec<ProjectRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, title, slug, state, reason, epoch, session_name, state_us, breaker, last_failure,
                    json_extract(spec, '$.repo')
               FROM project WHERE ?1 IS NULL OR id = ?1 ORDER BY id",
        )?;
        let mut rows = statement.query(params![only.map(|id| id.0)])?;
        let mut projects: Vec<ProjectRow> = Vec::new();
        while let Some(row) = rows.next()? {
            let breaker: String = row.get(8)?;
            projects.push(ProjectRow {
                id: ProjectId(row.get(0)?),
                title: row.get(1)?,
                slug: row.get(2)?,
                state: row.get(3)?,
                reason: row.get(4)?,
                epoch: row.get(5)?,
                session: row.get(6)?,
                state_since: Timestamp(row.get::<_, i64>(7)?.cast_unsigned()),
                breaker: serde_json::from_str(&breaker).map_err(|error| StoreError::unreadable("breaker", error))?,
                last_failure: row.get(9)?,
                repo: row.get(10)?,
                roles: Vec::new(),
            });
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT project_id, name, state, epoch, pid, worktree_path, worktree_branch, progress_us
               FROM role WHERE ?1 IS NULL OR project_id = ?1 ORDER BY project_id, ordinal",
        )?;
        let mut rows = statement.query(params![only.map(|id| id.0)])?;
        while let Some(row) = rows.next()? {
            let owner = ProjectId(row.get(0)?);
            let role = RoleRow {
                name: row.get(1)?,
                state: row.get(2)?,
                epoch: row.get(3)?,
                pid: row.get(4)?,
                worktree: row.get(5)?,
                branch: row.get(6)?,
                last_progress: row.get::<_, Option<i64>>(7)?.map(|at| Timestamp(at.cast_unsigned())),
            };
            if let Ok(at) = projects.binary_search_by_key(&owner, |project| project.id)
                && let Some(project) = projects.get_mut(at)
            {
                project.roles.push(role);
            }
        }
        Ok(projects)
    }

    /// The outbox of one project, oldest first.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn outbox_rows(&self, id: ProjectId) -> Result<Vec<OutboxRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, role, effect, intended_us, resolved_us, outcome FROM outbox WHERE project_id = ?1 ORDER BY id",
        )?;
        let rows = statement.query_map([id.0], |row| {
            Ok(OutboxRow {
                id: row.get(0)?,
                role: row.get(1)?,
                effect: row.get(2)?,
                intended: Timestamp(row.get::<_, i64>(3)?.cast_unsigned()),
                resolved: row.get::<_, Option<i64>>(4)?.map(|at| Timestamp(at.cast_unsigned())),
                outcome: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Who holds the database, or held it last; none before the first `orch serve`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn lease(&self) -> Result<Option<LeaseRow>, StoreError> {
        let row = self
            .connection
            .query_row(
                "SELECT epoch, pid, pid_start, since_us, released, http, tmux FROM lease WHERE id = 1",
                [],
                |row| {
                    Ok(LeaseRow {
                        epoch: row.get(0)?,
                        holder: ProcessId { pid: row.get(1)?, start: row.get::<_, i64>(2)?.cast_unsigned() },
                        since: Timestamp(row.get::<_, i64>(3)?.cast_unsigned()),
                        released: row.get(4)?,
                        http: row.get(5)?,
                        tmux: row.get(6)?,
                    })
                },
            )
            .optional()?;
        Ok(row)
    }

    /// Records this process as the holder; the caller has the flock.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn take_lease(&mut self, holder: ProcessId, since: Timestamp, http: Option<&str>) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO lease (id, epoch, pid, pid_start, since_us, released, http) VALUES (1, 1, ?1, ?2, ?3, 0, ?4)
             ON CONFLICT (id) DO UPDATE SET epoch = epoch + 1, pid = ?1, pid_start = ?2, since_us = ?3, released = 0,
                                            http = ?4, tmux = 'unknown'",
            params![holder.pid, holder.start.cast_signed(), micros(since), http],
        )?;
        Ok(())
    }

    /// Gives the database back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn release_lease(&mut self) -> Result<(), StoreError> {
        self.connection.execute("UPDATE lease SET released = 1, http = NULL, tmux = 'unknown' WHERE id = 1", [])?;
        Ok(())
    }
}
