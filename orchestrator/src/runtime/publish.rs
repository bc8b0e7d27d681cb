//! Publishing what was committed: the event log, the metrics, the diagnostics.

use super::http::Render;
use crate::config::Home;
use crate::domain::signal::Entry;
use crate::domain::time::Timestamp;
use crate::store::Store;
use crate::domain::id::Seq;
use std::io::Write;
use std::sync::Arc;

pub(super) struct Publisher { log: std::fs::File, last: Seq }
impl Publisher {
    pub(super) fn start(home: &Home, _store: &Store) -> std::io::Result<Self> {
        let path = home.logs().join("events.ndjson");
        let last = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        Ok(Self{log: std::fs::OpenOptions::new().create(true).append(true).open(path)?, last: Seq(last as i64)})
    }
    pub(super) fn publish(&mut self, store: &Store, at: Timestamp) {
        let Ok(entries) = store.entries_after(self.last, 10_000) else { return };
        for e in entries {
            self.last = e.seq;
            let mut v = serde_json::to_value(&e).unwrap_or_default();
            v["committed_us"] = at.0.into();
            let _ = writeln!(self.log, "{v}");
            tracing::info!("{v}");
        }
    }
    pub(super) fn metrics(&self) -> Render { Arc::new(|_| Ok(String::new())) }
    #[allow(unused)]
    pub(super) fn x(e: &Entry) {}
}
