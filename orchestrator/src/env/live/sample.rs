//! Looking at an agent's signs of life: what its screen shows and what its process tree has used.

use super::World;
use super::perform::{blocking, tmux_failure, words};
use crate::domain::effect::Ordered;
use crate::domain::event::Fact;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::id::ProcessId;
use crate::domain::limits::deadline;
use crate::domain::screen;
use crate::domain::silence::Sample;
use crate::domain::time::{Span, Timestamp};
use crate::env::cpu::CpuTable;
use crate::env::{process, tmux};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// How long one look through `/proc` serves all samples: a sweep asks for many at once.
const TABLE_AGE_MAX: Span = Span::from_secs(1);

/// A look through `/proc` and when it was.
type Look = (Timestamp, Arc<CpuTable>);

/// The newest look through `/proc`, shared.
#[derive(Clone, Default)]
pub(super) struct Tables(Arc<tokio::sync::Mutex<Option<Look>>>);

impl Tables {
    async fn table(&self, world: &World, ordered: &Ordered) -> Result<Arc<CpuTable>, Failure> {
        let mut newest = self.0.lock().await;
        let at = world.timeline.at();
        if let Some((read, table)) = newest.as_ref()
            && at.since(*read) < TABLE_AGE_MAX
        {
            return Ok(Arc::clone(table));
        }
        let read = blocking(ordered, CpuTable::read).await?;
        let table = Arc::new(read.map_err(|error| unknown(ordered, &error.to_string()))?);
        *newest = Some((at, Arc::clone(&table)));
        Ok(table)
    }
}

fn unknown(ordered: &Ordered, why: &str) -> Failure {
    Failure::of_operation(ordered.stage, FailureKind::Io, words(ordered), why)
}

/// Takes one sample. Fails rather than guesses: a sample is what a verdict rests on.
pub(super) async fn sample(world: &World, ordered: &Ordered, pane: &str, process: ProcessId) -> Result<Fact, Failure> {
    let failed = |error| tmux_failure(ordered, &error);
    let control = world.link.control(Duration::from_micros(deadline::TMUX.0)).await.map_err(failed)?;
    let (scrolled, text) = tmux::screen(&control, pane).await.map_err(failed)?;
    let table = world.tables.table(world, ordered).await?;
    // The number is looked up after the table was read: had it been somebody else's by then, it would be now.
    if !process::is_alive(process) {
        return Err(unknown(ordered, "the process is gone"));
    }
    let cpu_ticks = table.tree(process.pid).ok_or_else(|| unknown(ordered, "the process is not in /proc"))?;
    Ok(Fact::Sampled(Sample { output: fingerprint(&scrolled, &text), cpu_ticks }))
}

fn fingerprint(scrolled: &str, text: &str) -> u64 {
    let digest = Sha256::new().chain_update(scrolled).chain_update([0]).chain_update(screen::settled(text)).finalize();
    digest.iter().take(8).fold(0, |all, byte| (all << 8) | u64::from(*byte))
}
