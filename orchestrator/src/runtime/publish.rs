//! Publishing what was committed: the event log, the metrics, the diagnostics.
//!
//! It follows the journal by number, not the loop's turns, so that what another process wrote (`orch enqueue`) is
//! told too, and what was committed just before a crash is told at the next start. Metrics are the fold of the
//! journal from its beginning, so counters go on across restarts (S11).

use super::http::Render;
use super::mismatch;
use super::serve::ServeError;
use crate::config::Home;
use crate::domain::breaker::BreakerState;
use crate::domain::event::{Event, Happened, Source};
use crate::domain::fleet::Fleet;
use crate::domain::limits::Policy;
use crate::domain::project::SessionIs;
use crate::domain::state::ProjectState;
use crate::domain::time::{Span, Timestamp, WallTime};
use crate::env::clock::{self, Timeline};
use crate::store::{Mode, Standing, Store, StoreError};
use crate::telemetry::export::{self, Exporter};
use crate::telemetry::fold::{Counts, Folder, Mismatches, gauges};
use crate::telemetry::line::{self, Context};
use crate::telemetry::mirror::Mirror;
use crate::telemetry::{log, meter};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What publishes.
pub(super) struct Publisher {
    mirror: Mirror,
    folder: Folder,
    exporter: Exporter,
    /// What the last list of panes contradicted.
    mismatches: Arc<Mutex<Mismatches>>,
}

impl Publisher {
    /// Opens the log and folds the journal so far; the log is brought up to date by the first [`Self::publish`].
    pub(super) fn start(home: &Home, store: &Store) -> Result<Self, ServeError> {
        let environment = |what, why: String| ServeError::Environment { what, why };
        let context = Context {
            run_id: Some(format!("{}-{}", clock::wall_us(), std::process::id())),
            mode: line::Mode::Live,
            seed: None,
            installation: store.installation()?.unwrap_or_default(),
        };
        let mut mirror = Mirror::open(&home.logs().join("events.ndjson"), context)
            .map_err(|error| environment("open the event log", error.to_string()))?;
        let exporter = export::install().map_err(|error| environment("set up the metrics", error.to_string()))?;
        let mut folder = Folder::new();
        mirror.resume(
            |after, most| store.entries_after(after, most),
            |entries| entries.iter().for_each(|entry| folder.fold(entry)),
        )?;
        Ok(Self { mirror, folder, exporter, mismatches: Arc::default() })
    }

    /// Publishes whatever the journal holds beyond what was published. `at` is when that was known to be committed.
    pub(super) fn publish(&mut self, store: &Store, at: Timestamp) {
        let folder = &mut self.folder;
        let told = self.mirror.publish(
            at,
            |after, most| store.entries_after(after, most),
            |entries| {
                entries.iter().for_each(|entry| folder.fold(entry));
                entries.iter().for_each(log::mirror);
            },
        );
        if let Err(error) = told {
            tracing::warn!(%error, "the journal cannot be read for publishing");
        }
        self.exporter.run_upkeep();
    }

    /// Renders the metrics; the gauges are counted from the database at that moment.
    pub(super) fn metrics(&self, policy: Policy) -> Render {
        let (exporter, mismatches) = (self.exporter.clone(), Arc::clone(&self.mismatches));
        Arc::new(move |db: &Path| {
            let store = Store::open(db, Mode::ReadOnly).map_err(|error| error.to_string())?;
            let mut counts = counts(&store, &policy).map_err(|error| error.to_string())?;
            counts.mismatches = *mismatches.lock().unwrap_or_else(PoisonError::into_inner);
            gauges(&counts);
            Ok(exporter.render())
        })
    }

    /// Measures what a turn is about to be decided on: what a list of panes contradicts, and what inotify lost.
    pub(super) fn drained(&self, fleet: &Fleet, drained: &[Happened]) {
        for happened in drained {
            if let Event::PanesListed { panes, .. } = &happened.event {
                *self.mismatches.lock().unwrap_or_else(PoisonError::into_inner) = mismatch::count(fleet, panes);
            }
            if happened.source == Source::Inotify && happened.event == Event::SweepDue {
                meter::file_events_lost();
            }
        }
    }

    /// Tells that the store refused a turn.
    pub(super) fn refused(error: &StoreError) {
        if error.is_busy() {
            meter::database_busy(meter::Op::Commit);
        }
    }

    /// Tells how long a sweep took, from the notice that it was due to its commit.
    pub(super) fn reconciled(duration: Span) {
        meter::reconciled(duration, WallTime(clock::wall_us()));
    }

    /// Tells how long a turn's commit took.
    pub(super) fn committed(duration: Span) {
        meter::transaction(meter::Op::Commit, duration);
    }
}

fn counts(store: &Store, policy: &Policy) -> Result<Counts, StoreError> {
    let stored = store.anchor()?;
    let at = Timeline::resume(stored.as_ref()).map(|timeline| timeline.at()).unwrap_or_default();
    let Standing { projects, sessions, breakers, queue_oldest, window_attempts_max } =
        store.standing(at, policy.breaker_window())?;
    let (fleet_breaker_open, _) = store.fleet_breaker(at, policy.fleet_breaker_window())?;
    let session = |name: &str| SessionIs::ALL.iter().find(|is| is.name() == name).copied();
    let breaker = |name: &str| BreakerState::ALL.iter().find(|state| state.name() == name).copied();
    Ok(Counts {
        projects: projects.into_iter().filter_map(|(name, n)| Some((ProjectState::from_name(&name)?, n))).collect(),
        sessions: sessions.into_iter().filter_map(|(name, n)| Some((session(&name)?, n))).collect(),
        breakers: breakers.into_iter().filter_map(|(name, n)| Some((breaker(&name)?, n))).collect(),
        queue_oldest: queue_oldest.map(|since| at.since(since)),
        window_attempts_max,
        fleet_breaker_open,
        // The database alone cannot contradict tmux; the caller knows.
        mismatches: Mismatches::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::{Signal, What};
    use crate::domain::time::Now;
    use crate::telemetry::mirror::LOG_PAUSE;
    use crate::telemetry::sink::LOG_BYTES_MAX;
    use std::io::{Seek as _, SeekFrom, Write as _};

    fn seqs(path: &Path) -> Vec<i64> {
        let text = std::fs::read_to_string(path).unwrap();
        let seq = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_i64().unwrap();
        text.lines().map(seq).collect()
    }

    #[test]
    fn what_the_log_could_not_take_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::init(&dir.path().join("home")).unwrap();
        let mut store = Store::open(&home.db(), Mode::Create).unwrap();
        store.set_installation("ab12").unwrap();
        let (path, aside) = (home.logs().join("events.ndjson"), home.logs().join("events.ndjson.1"));
        // It is full and has to be set aside, where something is in the way.
        let mut file = std::fs::File::create(&path).unwrap();
        file.set_len(LOG_BYTES_MAX).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"\n{\"seq\":0}\n").unwrap();
        std::fs::create_dir(&aside).unwrap();
        let mut publisher = Publisher::start(&home, &store).unwrap();
        let mut tell = |publisher: &mut Publisher, at: Span| {
            let now = Now { at: Timestamp(1) + at, wall: WallTime(1), seed: [0; 32] };
            let what = What::OrchestratorStopped { reason: "x".to_owned() };
            store.journal(Signal::fleet(what), &now).unwrap();
            publisher.publish(&store, now.at);
        };
        let soon = Span::from_secs(1);
        tell(&mut publisher, Span(0));
        tell(&mut publisher, soon);
        std::fs::remove_dir(&aside).unwrap();
        tell(&mut publisher, soon);
        assert!(!aside.exists(), "it was not even tried");
        tell(&mut publisher, LOG_PAUSE);
        assert_eq!(seqs(&path), [1, 2, 3, 4]);
        tell(&mut publisher, LOG_PAUSE);
        assert_eq!(seqs(&path), [1, 2, 3, 4, 5]);
    }
}
