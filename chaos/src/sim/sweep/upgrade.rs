//! A later program whose schema has one step more is started in place of the one that serves (C38): its first start
//! migrates the database, and dies at that.
//!
//! There is only one schema so far, so the steps are the harness's own. What carries them out is the store's.

use crate::sim::run::{Do, Sim};
use orchestrator::store::STEPS;

/// The schema of the latest program: a table with two columns, then a third one.
const LATEST: [&str; 3] = [STEPS[0], include_str!("later.sql"), include_str!("later_still.sql")];

impl Sim {
    /// Whoever serves is killed, and the next program is put in its place.
    pub(super) fn upgrade(&mut self) {
        while !self.hosts.is_empty() {
            self.end_host(0);
        }
        self.script.dying = None;
        self.bank.steps = LATEST.get(..=self.bank.steps.len()).unwrap_or(&LATEST);
        let at = self.world.borrow().at;
        self.at(at + 1_000_000, Do::Start);
    }

    /// Whether the database is between two versions of its schema.
    pub(super) fn torn(&mut self) -> Option<String> {
        if self.bank.steps.len() == STEPS.len() {
            return None;
        }
        let found = self.bank.side_door().and_then(|door| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u8>(0)?, row.get::<_, u8>(1)?));
            Ok(door.query_row(include_str!("torn.sql"), [], row)?)
        });
        match found {
            Err(error) => Some(format!("the schema cannot be read: {error}")),
            Ok((1, 0) | (2, 2) | (3, 3)) => None,
            Ok((version, columns)) => Some(format!("version {version} of the schema has {columns} of its new columns")),
        }
    }
}
