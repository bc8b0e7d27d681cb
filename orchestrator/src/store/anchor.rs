//! The installation's timeline, anchored in the database (G14).

use super::error::StoreError;
use super::open::{Mode, Store};
use crate::domain::time::{Anchor, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// Reads the anchor of the database at `path`; none before the first `orch serve` or `orch enqueue`.
///
/// # Errors
/// If there is no readable database there.
pub fn anchor(path: &Path) -> Result<Option<Anchor>, StoreError> {
    Store::open(path, Mode::ReadOnly)?.anchor()
}

impl Store {
    /// The anchor, if one was set yet.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn anchor(&self) -> Result<Option<Anchor>, StoreError> {
        read(&self.connection)
    }

    /// Sets the anchor. Done at start and then regularly, so that a reboot loses little of the timeline. Whoever
    /// holds the lease renews it with it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_anchor(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        let renews = self.holds();
        let tx = self.begin()?;
        tx.prepare_cached(
            "INSERT INTO clock (id, boot_id, mono_us, at_us, wall_us) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET boot_id = ?1, mono_us = ?2, at_us = ?3, wall_us = ?4",
        )?
        .execute(params![
            anchor.boot_id,
            anchor.mono_us.cast_signed(),
            anchor.at.0.cast_signed(),
            anchor.wall_us
        ])?;
        if renews {
            tx.prepare_cached("UPDATE lease SET renewed_us = ?1 WHERE id = 1")?.execute([anchor.at.0.cast_signed()])?;
        }
        tx.commit()?;
        self.still_there()
    }
}

const READ: &str = "SELECT boot_id, mono_us, at_us, wall_us,
                           coalesce((SELECT at_us FROM event ORDER BY seq DESC LIMIT 1), 0)
                    FROM clock WHERE id = 1";

fn read(connection: &Connection) -> Result<Option<Anchor>, StoreError> {
    let row = connection
        .query_row(READ, [], |row| {
            Ok(Anchor {
                boot_id: row.get(0)?,
                mono_us: row.get::<_, i64>(1)?.cast_unsigned(),
                at: Timestamp(row.get::<_, i64>(2)?.cast_unsigned()),
                wall_us: row.get(3)?,
                told: Timestamp(row.get::<_, i64>(4)?.cast_unsigned()),
            })
        })
        .optional()?;
    Ok(row)
}
