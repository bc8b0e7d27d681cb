//! What people ask for: rows for `orch status` and `orch show`, and what stands.

use super::error::StoreError;
use super::open::Store;
use crate::domain::breaker::Breaker;
use crate::domain::id::{ProjectId, Seq};
use crate::domain::project::Unknown;
use crate::domain::signal::{Entry, Signal};
use crate::domain::state::ProjectState;
use crate::domain::time::{Span, Timestamp, WallTime};
use rusqlite::{OptionalExtension, Row, params};

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
    /// What cannot be known, if that is why.
    pub unknown: Option<Unknown>,
    /// Whether it is suspended only until a slot is free.
    pub waits: bool,
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

/// As much of a project as it takes to tell which requests make sense for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stance {
    /// Its state.
    pub state: ProjectState,
    /// Its breaker.
    pub breaker: Breaker,
    /// Whether it is suspended only until a slot is free.
    pub waits: bool,
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

/// What stands at one moment, counted: what the gauges show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Projects by the name of their state, finished ones included.
    pub projects: Vec<(String, u64)>,
    /// Sessions of unfinished projects by how far they got.
    pub sessions: Vec<(String, u64)>,
    /// Breakers of unfinished projects by state.
    pub breakers: Vec<(String, u64)>,
    /// When the project that has waited longest came into the queue, if any waits.
    pub queue_oldest: Option<Timestamp>,
    /// The highest number of recoveries of any one project within the window, counted from the attempts themselves
    /// and not from what its breaker believes.
    pub window_attempts_max: u64,
}

/// The version of the SQLite that is built in.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

impl Store {
    /// All projects, or one, in the order of their ids.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn project_rows(&self, only: Option<ProjectId>) -> Result<Vec<ProjectRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, title, slug, state, reason, epoch, session_name, state_us, breaker, last_failure,
                    json_extract(spec, '$.repo'), unknown, due_back_us IS NOT NULL
               FROM project WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
        )?;
        // As a range, so that one project is looked up and not looked for.
        let (first, last) = only.map_or((i64::MIN, i64::MAX), |id| (id.0, id.0));
        let mut rows = statement.query([first, last])?;
        let mut projects: Vec<ProjectRow> = Vec::new();
        while let Some(row) = rows.next()? {
            let breaker: String = row.get(8)?;
            let unknown: Option<String> = row.get(11)?;
            let unknown = unknown.map(|text| serde_json::from_str(&text)).transpose();
            projects.push(ProjectRow {
                id: ProjectId(row.get(0)?),
                title: row.get(1)?,
                slug: row.get(2)?,
                state: row.get(3)?,
                reason: row.get(4)?,
                unknown: unknown.map_err(|error| StoreError::unreadable("unknown", error))?,
                waits: row.get(12)?,
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
               FROM role WHERE project_id BETWEEN ?1 AND ?2 ORDER BY project_id, ordinal",
        )?;
        let mut rows = statement.query([first, last])?;
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

    /// How one project stands, finished or not; none if there is none of that id.
    ///
    /// # Errors
    /// If its row cannot be read.
    pub fn stance(&self, id: ProjectId) -> Result<Option<Stance>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT state, breaker, due_back_us IS NOT NULL FROM project WHERE id = ?1")?;
        let mut rows = statement.query([id.0])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (state, breaker): (String, String) = (row.get(0)?, row.get(1)?);
        let what = |column: &str| format!("{column} of project {id}");
        let known = ProjectState::from_name(&state).ok_or_else(|| StoreError::unreadable(what("state"), &state))?;
        let breaker = serde_json::from_str(&breaker).map_err(|error| StoreError::unreadable(what("breaker"), error))?;
        Ok(Some(Stance { state: known, breaker, waits: row.get(2)? }))
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

    /// The installation's mark; none before `orch init` has set it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn installation(&self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = 'installation'";
        Ok(self.connection.query_row(sql, [], |row| row.get(0)).optional()?)
    }

    /// The number of the journal's last entry; 0 while it is empty.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last_seq(&self) -> Result<Seq, StoreError> {
        let last = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0))?;
        Ok(Seq(last))
    }

    /// Entries of one project after `seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If an entry cannot be read.
    pub fn entries_of(&self, id: ProjectId, after: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT seq, at_us, wall_us, project_id, body FROM event
                    WHERE project_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id.0, after.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
        Ok(entries)
    }

    /// The last entries of one project, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If an entry cannot be read.
    pub fn last_entries_of(&self, id: ProjectId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT seq, at_us, wall_us, project_id, body FROM event
                    WHERE project_id = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![id.0, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(entry(row)?);
        }
        entries.reverse();
        Ok(entries)
    }

    /// Whether the fleet's breaker is open, and how many projects' breakers opened within its window before `at`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn fleet_breaker(&self, at: Timestamp, window: Span) -> Result<(bool, u32), StoreError> {
        // Strictly younger than a window, and after an operator's last reset, as the fleet counts.
        let since = at.0.cast_signed() - window.0.cast_signed();
        let opened: i64 = self
            .connection
            .prepare_cached(
                "SELECT count(DISTINCT project_id) FROM event
                  WHERE event = 'breaker_moved' AND at_us > ?1 AND json_extract(body, '$.to') = 'open'
                    AND seq > (SELECT coalesce(max(seq), 0) FROM event
                                WHERE event = 'operator_asked' AND project_id IS NULL)",
            )?
            .query_row([since], |row| row.get(0))?;
        Ok((self.is_fleet_breaker_open()?, u32::try_from(opened).unwrap_or(u32::MAX)))
    }

    /// Whether the fleet's breaker is open.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_fleet_breaker_open(&self) -> Result<bool, StoreError> {
        let last: Option<String> = self
            .connection
            .prepare_cached(
                "SELECT json_extract(body, '$.to') FROM event WHERE event = 'fleet_breaker_moved'
                  ORDER BY seq DESC LIMIT 1",
            )?
            .query_row([], |row| row.get(0))
            .optional()?;
        Ok(last.as_deref() == Some("open"))
    }

    /// Counts what stands at `at`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn standing(&self, at: Timestamp, window: Span) -> Result<Standing, StoreError> {
        const UNFINISHED: &str = "state NOT IN ('completed', 'failed', 'cancelled')";
        let queue_oldest: Option<i64> =
            self.connection
                .query_row("SELECT min(state_us) FROM project WHERE state = 'queued'", [], |row| row.get(0))?;
        // Strictly younger than a window, as the breaker counts.
        let since = i64::try_from(at.0).unwrap_or(i64::MAX) - i64::try_from(window.0).unwrap_or(i64::MAX);
        let attempts: i64 = self.connection.query_row(
            "SELECT coalesce(max(n), 0)
               FROM (SELECT count(*) AS n FROM attempt WHERE at_us > ?1 GROUP BY project_id)",
            [since],
            |row| row.get(0),
        )?;
        Ok(Standing {
            projects: self.grouped("state", "1")?,
            sessions: self.grouped("session_is", &format!("{UNFINISHED} AND session_is IS NOT NULL"))?,
            breakers: self.grouped("breaker_state", UNFINISHED)?,
            queue_oldest: queue_oldest.map(|at| Timestamp(at.cast_unsigned())),
            window_attempts_max: attempts.cast_unsigned(),
        })
    }

    fn grouped(&self, column: &str, condition: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let sql = format!("SELECT {column}, count(*) FROM project WHERE {condition} GROUP BY {column} ORDER BY 1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let seq = Seq(row.get(0)?);
    let body: String = row.get(4)?;
    let mut signal: Signal =
        serde_json::from_str(&body).map_err(|error| StoreError::unreadable(format!("event {seq}"), error))?;
    signal.project_id = row.get::<_, Option<i64>>(3)?.map(ProjectId);
    let at = Timestamp(row.get::<_, i64>(1)?.cast_unsigned());
    Ok(Entry { seq, at, wall: WallTime(row.get(2)?), signal })
}
