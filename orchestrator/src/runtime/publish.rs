//! Publishing what was committed: the event log, the metrics, the diagnostics.

use super::http::Render;
use crate::config::Home;
use crate::domain::signal::Entry;
use crate::domain::time::Timestamp;
use crate::store::Store;
use std::io::Write;
use std::sync::Arc;

pub(super) struct Publisher {
    log: std::fs::File,
}
impl Publisher {
    pub(super) fn start(home: &Home, _store: &Store) -> std::io::Result<Self> {
        Ok(Self { log: std::fs::OpenOptions::new().create(true).append(true).open(home.logs().join("events.ndjson"))? })
    }
    pub(super) fn publish(&mut self, entries: &[Entry], at: Timestamp) {
        for e in entries {
            let mut v = serde_json::to_value(e).unwrap_or_default();
            v["committed_us"] = at.0.into();
            let _ = writeln!(self.log, "{v}");
            tracing::info!("{v}");
        }
    }
    pub(super) fn metrics(&self) -> Render {
        Arc::new(|_| Ok(String::new()))
    }
}
