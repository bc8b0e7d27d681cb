//! Which tokens were ever ours: what tells a creation that came late from what belongs to nobody (C15).
//!
//! A token is written in the transaction that intends its incarnation, and kept after that is over: a tmux that was
//! hung may create a session long after its creation counted as failed. It is forgotten [`limits::TOKEN_KEPT`] after
//! its retirement; what comes later than that is a stray, told and left alone.

use super::error::StoreError;
use super::open::Store;
use super::write::micros;
use crate::domain::effect::{Effect, Launch, Ordered};
use crate::domain::fleet::Retired;
use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
use crate::domain::limits;
use crate::domain::state::ProjectState;
use crate::domain::time::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

impl Store {
    /// Those of these tokens that were given to an incarnation of ours, each with whose it was.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn incarnations(&self, tokens: &BTreeSet<Token>) -> Result<BTreeMap<Token, Retired>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT i.project_id, i.epoch, i.role, i.retired_us, p.epoch, p.state
               FROM incarnation i JOIN project p ON p.id = i.project_id WHERE i.token = ?1",
        )?;
        let mut found = BTreeMap::new();
        for token in tokens {
            let row = statement.query_row([&token.0], |row| {
                let state: String = row.get(5)?;
                Ok(Retired {
                    agents: Vec::new(),
                    project: ProjectId(row.get(0)?),
                    epoch: Epoch(row.get(1)?),
                    role: row.get::<_, Option<String>>(2)?.map(RoleName),
                    since: row.get::<_, Option<i64>>(3)?.map(|at| Timestamp(at.cast_unsigned())),
                    newest: Epoch(row.get(4)?),
                    over: ProjectState::from_name(&state).is_some_and(ProjectState::is_terminal),
                })
            });
            if let Some(mut retired) = row.optional()? {
                if retired.role.is_none() {
                    retired.agents = self.agents(retired.project, retired.epoch)?;
                }
                found.insert(token.clone(), retired);
            }
        }
        Ok(found)
    }

    /// The tokens of an incarnation's agents.
    fn agents(&self, project: ProjectId, epoch: Epoch) -> Result<Vec<Token>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT token FROM incarnation WHERE project_id = ?1 AND epoch = ?2 AND role IS NOT NULL ORDER BY token",
        )?;
        let tokens = statement.query_map(params![project.0, epoch.0], |row| Ok(Token(row.get(0)?)))?;
        Ok(tokens.collect::<Result<_, _>>()?)
    }
}

/// Keeps the tokens of the incarnations that an effect is about to make, and retires those they take the place of.
pub(super) fn intend(tx: &Transaction<'_>, ordered: &Ordered, at: Timestamp) -> Result<(), StoreError> {
    let Some(project) = ordered.project else { return Ok(()) };
    match &ordered.effect {
        Effect::EnsureSession { token, launches, .. } => {
            tx.prepare_cached(
                "INSERT OR IGNORE INTO incarnation (token, project_id, epoch) SELECT ?1, id, epoch FROM project
                  WHERE id = ?2",
            )?
            .execute(params![token.0, project.0])?;
            launches.iter().try_for_each(|launch| keep(tx, launch))?;
        }
        Effect::Respawn { launch, .. } => keep(tx, launch)?,
        Effect::Preflight { .. }
        | Effect::EnsureWorktree { .. }
        | Effect::EnsureFiles { .. }
        | Effect::Look { .. }
        | Effect::EndRemains { .. }
        | Effect::HandBrief { .. }
        | Effect::Nudge { .. }
        | Effect::Sample { .. }
        | Effect::Collect { .. }
        | Effect::Certify { .. }
        | Effect::EndSession { .. }
        | Effect::ListPanes
        | Effect::Survey => return Ok(()),
    }
    retire(tx, project, at)?;
    let forgotten = micros(at).saturating_sub(limits::TOKEN_KEPT.0.cast_signed());
    tx.prepare_cached("DELETE FROM incarnation WHERE retired_us < ?1")?.execute([forgotten])?;
    Ok(())
}

fn keep(tx: &Transaction<'_>, launch: &Launch) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO incarnation (token, project_id, epoch, role) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![launch.token.0, launch.project.0, launch.epoch.0, launch.role.0])?;
    Ok(())
}

/// Retires every token that the project has no more.
fn retire(tx: &Transaction<'_>, project: ProjectId, at: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached(
        "UPDATE incarnation SET retired_us = ?2
          WHERE project_id = ?1 AND retired_us IS NULL AND token NOT IN (
                SELECT session_token FROM project WHERE id = ?1 AND session_token IS NOT NULL
                UNION SELECT token FROM role WHERE project_id = ?1 AND token IS NOT NULL
                UNION SELECT value FROM project, json_each(project.stale) WHERE project.id = ?1)",
    )?
    .execute(params![project.0, micros(at)])?;
    Ok(())
}

/// Retires every token of a project that is over, with everything of it proved gone.
pub(super) fn retire_all(tx: &Transaction<'_>, project: ProjectId, at: Timestamp) -> Result<(), StoreError> {
    tx.prepare_cached("UPDATE incarnation SET retired_us = ?2 WHERE project_id = ?1 AND retired_us IS NULL")?
        .execute(params![project.0, micros(at)])?;
    Ok(())
}
