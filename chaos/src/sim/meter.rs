//! What a simulated orchestrator would serve as its metrics: the fold of the journal, as
//! `orchestrator/src/runtime/publish.rs` keeps it.

use super::bank::Bank;
use super::world::World;
use crate::witness::Fact;
use orchestrator::domain::id::Seq;
use orchestrator::domain::signal::Entry;
use orchestrator::telemetry::export::{self, Exporter};
use orchestrator::telemetry::fold::Folder;
use std::collections::BTreeMap;

/// Series by name and labels, with what they stand at; buckets are left out.
pub type Series = BTreeMap<String, String>;

/// A fold with a recorder of its own.
pub struct Meter {
    recorder: Recorder,
    exporter: Option<Exporter>,
    folder: Folder,
}

type Recorder = Box<dyn metrics::Recorder>;

impl Meter {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        match export::recorder() {
            Ok((recorder, exporter)) => {
                Self { recorder: Box::new(recorder), exporter: Some(exporter), folder: Folder::new() }
            }
            // A table that is refused is found by the orchestrator's own tests; here it has no series at all.
            Err(_) => Self { recorder: Box::new(metrics::NoopRecorder), exporter: None, folder: Folder::new() },
        }
    }

    /// Counts entries, in the order of the journal.
    pub fn fold(&mut self, entries: &[Entry]) {
        let folder = &mut self.folder;
        metrics::with_local_recorder(&self.recorder, || entries.iter().for_each(|entry| folder.fold(entry)));
    }

    /// What a scrape would get.
    #[must_use]
    pub fn scrape(&self) -> Series {
        let text = self.exporter.as_ref().map(Exporter::render).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket"));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, is)| (name.to_owned(), is.to_owned())).collect()
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics of the orchestrator that serves, if one does.
#[derive(Default)]
pub(super) struct Metered {
    meter: Option<Meter>,
    /// With a bug planted: the journal up to now as it is told.
    kept: Vec<Entry>,
}

impl Metered {
    /// Another orchestrator has started: it begins with the whole journal.
    pub(super) fn anew(&mut self) {
        self.meter = None;
    }

    /// The metrics go on with what was committed; what an orchestrator begins with is scraped at once.
    pub(super) fn count(&mut self, world: &mut World, bank: &Bank, serves: bool, entries: &[Entry]) {
        let starts = self.meter.is_none();
        if world.bend.is_some() {
            self.kept.extend_from_slice(entries);
        }
        if !serves || (!starts && entries.is_empty()) {
            return;
        }
        let meter = self.meter.get_or_insert_with(Meter::new);
        match &world.bend {
            Some(bend) => {
                let mut counted = if starts { self.kept.clone() } else { entries.to_vec() };
                bend.borrow_mut().counted(&mut counted, starts);
                meter.fold(&counted);
            }
            None if starts => meter.fold(&bank.client.entries_after(Seq(0), usize::MAX).unwrap_or_default()),
            None => meter.fold(entries),
        }
        if starts {
            self.scrape(world);
        }
    }

    /// Somebody reads the metrics.
    pub(super) fn scrape(&self, world: &mut World) {
        if let Some(meter) = &self.meter {
            world.witness(Fact::Scraped { series: meter.scrape() });
        }
    }
}
