//! What operators ask for: recorded by a command of its own process, taken by the core.

use super::error::StoreError;
use super::open::Store;
use super::write::micros;
use crate::domain::id::ProjectId;
use crate::domain::request::{Request, RequestKind};
use crate::domain::time::{Now, Timestamp};
use rusqlite::{Transaction, TransactionBehavior, params};

/// A request that nobody has taken yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// For which project; none if it is about the fleet.
    pub project: Option<ProjectId>,
    /// What.
    pub request: Request,
}

/// A request that was decided on in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub id: i64,
    /// Whether it was done; otherwise it was refused.
    pub done: bool,
}

impl Store {
    /// Records a request about a project, or about the fleet; answers its number only after the commit (G1).
    ///
    /// # Errors
    /// If there is no such project, or the fleet has nothing of that kind, or it cannot be written.
    pub fn request(
        &mut self,
        project: impl Into<Option<ProjectId>>,
        kind: RequestKind,
        now: &Now,
    ) -> Result<i64, StoreError> {
        let project = project.into().map(|id| id.0);
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute(
            "INSERT INTO request (project_id, kind, at_us) VALUES (?1, ?2, ?3)",
            params![project, kind.name(), micros(now.at)],
        )?;
        let id = tx.last_insert_rowid();
        tx.commit()?;
        Ok(id)
    }

    /// Requests that nobody has taken, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn untaken_requests(&self, limit: usize) -> Result<Vec<Asked>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, project_id, kind, at_us FROM request WHERE taken_us IS NULL ORDER BY id LIMIT ?1",
        )?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let kind: String = row.get(2)?;
            let kind = RequestKind::from_name(&kind)
                .ok_or_else(|| StoreError::unreadable(format!("kind of request {id}"), &kind))?;
            let at = Timestamp(row.get::<_, i64>(3)?.cast_unsigned());
            found.push(Asked {
                project: row.get::<_, Option<i64>>(1)?.map(ProjectId),
                request: Request { id, kind, at },
            });
        }
        Ok(found)
    }
}

/// Marks requests as taken, in the transaction of what was decided about them.
pub(super) fn take(tx: &Transaction<'_>, taken: &[Taken], now: &Now) -> Result<(), StoreError> {
    for taken in taken {
        let outcome = if taken.done { "done" } else { "refused" };
        let changed = tx
            .prepare_cached("UPDATE request SET taken_us = ?2, outcome = ?3 WHERE id = ?1 AND taken_us IS NULL")?
            .execute(params![taken.id, micros(now.at), outcome])?;
        if changed != 1 {
            return Err(StoreError::Conflict(format!("request {}", taken.id)));
        }
    }
    Ok(())
}
