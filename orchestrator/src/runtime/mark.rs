//! How far the journal got, kept beside the database: a database that was put there from a backup while nobody served
//! it is noticed at the next start (C46).
//!
//! It is written after the commit that it tells of, so it is never ahead of a database that lost nothing. Who restores
//! the whole directory restores the mark with it; then only the world can tell ([`crate::env::traces`]).

use crate::domain::id::Seq;
use crate::env::files;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

const NAME: &str = "journal.json";

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Whose database it was.
    pub(super) installation: String,
    /// The last entry of its journal.
    pub(super) seq: Seq,
}

impl Mark {
    /// Reads the one in `home`; none if there is none, or it cannot be read (which is told).
    pub(super) fn read(home: &Path) -> Option<Self> {
        let path = home.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "whether the database is an older one is not known");
                return None;
            }
        };
        let read = serde_json::from_slice(&text);
        if let Err(error) = &read {
            tracing::warn!(path = %path.display(), %error, "whether the database is an older one is not known");
        }
        read.ok()
    }

    /// Writes it into `home`. Where that fails it is told, and an older mark stays: it is none the less true.
    pub(super) fn write(&self, home: &Path) {
        let written = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|text| files::write_atomic(home, Path::new(NAME), &text, 0o600));
        if let Err(error) = written {
            tracing::warn!(%error, "{NAME} cannot be written");
        }
    }
}
