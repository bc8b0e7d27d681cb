//! The installation's timeline, anchored in the database (G14).

use super::error::StoreError;
use super::open::{Mode, Store};
use crate::domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// A moment on which boot, CLOCK_MONOTONIC and the installation's timeline are known together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// `/proc/sys/kernel/random/boot_id` at that moment.
    pub boot_id: String,
    /// CLOCK_MONOTONIC, in microseconds.
    pub mono_us: u64,
    /// The timeline.
    pub at: Timestamp,
    /// The wall clock, in microseconds since 1970.
    pub wall_us: i64,
}

impl Anchor {
    /// The timeline at a reading of CLOCK_MONOTONIC of the same boot.
    #[must_use]
    pub fn at(&self, mono_us: u64) -> Timestamp {
        Timestamp(self.at.0.saturating_add(mono_us.saturating_sub(self.mono_us)))
    }

    /// The anchor from which this boot goes on: the same one within a boot; after a reboot the timeline continues
    /// by as much as the wall clock advanced, and never back.
    #[must_use]
    pub fn resumed(&self, boot_id: &str, mono_us: u64, wall_us: i64) -> Self {
        if self.boot_id == boot_id {
            return self.clone();
        }
        let away = u64::try_from(wall_us.saturating_sub(self.wall_us)).unwrap_or(0);
        Self { boot_id: boot_id.to_owned(), mono_us, at: Timestamp(self.at.0.saturating_add(away)), wall_us }
    }
}

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

    /// Sets the anchor. Done at start and then regularly, so that a reboot loses little of the timeline.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set_anchor(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO clock (id, boot_id, mono_us, at_us, wall_us) VALUES (1, ?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET boot_id = ?1, mono_us = ?2, at_us = ?3, wall_us = ?4",
            params![anchor.boot_id, anchor.mono_us.cast_signed(), anchor.at.0.cast_signed(), anchor.wall_us],
        )?;
        Ok(())
    }
}

fn read(connection: &Connection) -> Result<Option<Anchor>, StoreError> {
    let row = connection
        .query_row("SELECT boot_id, mono_us, at_us, wall_us FROM clock WHERE id = 1", [], |row| {
            Ok(Anchor {
                boot_id: row.get(0)?,
                mono_us: row.get::<_, i64>(1)?.cast_unsigned(),
                at: Timestamp(row.get::<_, i64>(2)?.cast_unsigned()),
                wall_us: row.get(3)?,
            })
        })
        .optional()?;
    Ok(row)
}
