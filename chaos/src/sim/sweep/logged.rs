//! The event log and its being set aside (C40): the real [`EventLog`] over real files in a temporary folder, written after
//! each commit as `orchestrator/src/runtime/publish.rs` does, and completed from the journal at each start.
//!
//! A log that is full is renamed and another one is made. What a crash between the two leaves is made by hand.

use super::strike::Log;
use crate::sim::run::Sim;
use orchestrator::domain::id::Seq;
use orchestrator::telemetry::line::{Context, Mode, json_line};
use orchestrator::telemetry::sink::EventLog;
use serde::Deserialize;
use std::fs;
use std::io;
use std::path::PathBuf;
use tempfile::TempDir;

/// Bytes at which the log is set aside: some thirty lines.
const BYTES_MAX: u64 = 12_288;

/// A log that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    folder: TempDir,
    /// The orchestrator that writes it, its hold on it, and the last entry that it has seen to.
    by: Option<(usize, EventLog, Seq)>,
}

impl Kept {
    fn path(&self) -> PathBuf {
        self.folder.path().join("events.ndjson")
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("events.ndjson.1")
    }
}

#[derive(Deserialize)]
struct Numbered {
    seq: i64,
}

impl Sim {
    /// From now on the log is kept.
    pub(super) fn log_from_now(&mut self) {
        match TempDir::new() {
            Ok(folder) => self.script.kept = Some(Kept { folder, by: None }),
            Err(error) => return self.breaks(format!("a folder for the log: {error}")),
        }
        if let Some(life) = self.serving().map(|place| self.hosts[place].life) {
            self.open_log(life);
        }
    }

    /// An orchestrator has started: it opens the log, and goes on where that ends.
    pub(super) fn open_log(&mut self, life: usize) {
        let Some(kept) = &mut self.script.kept else { return };
        kept.by = None;
        let opened = EventLog::with_limit(&kept.path(), BYTES_MAX).and_then(|log| {
            let last = self.bank.client.last_seq().map_err(io::Error::other)?;
            let has = log.last_seq().unwrap_or(Seq(0)).min(last);
            let bend = self.world.borrow().bend.clone();
            let completes = bend.is_none_or(|bend| bend.borrow().completes_the_log());
            Ok((life, log, if completes { has } else { last }))
        });
        match opened {
            Ok(by) => kept.by = Some(by),
            Err(error) => self.breaks(format!("the log cannot be opened: {error}")),
        }
    }

    /// Writes what was committed since.
    pub(super) fn publish(&mut self) {
        let Some(mut kept) = self.script.kept.take() else { return };
        if let Some((life, log, seen)) = &mut kept.by
            && self.serving_life(*life)
        {
            let (path, aside) = (kept.folder.path().join("events.ndjson"), kept.folder.path().join("events.ndjson.1"));
            match self.written((*life, log, *seen), &path, &aside) {
                Ok(now) => *seen = now,
                Err(error) => self.breaks(format!("the log cannot be written: {error}")),
            }
        }
        self.script.kept = Some(kept);
    }

    fn serving_life(&self, life: usize) -> bool {
        self.world.borrow().lives.get(life).is_some_and(|life| life.alive && !life.paused)
    }

    fn written(
        &mut self,
        (life, log, seen): (usize, &mut EventLog, Seq),
        path: &std::path::Path,
        aside: &std::path::Path,
    ) -> io::Result<Seq> {
        let entries = self.bank.client.entries_after(seen, usize::MAX).map_err(io::Error::other)?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(seen) };
        let installation = crate::sim::bank::INSTALLATION.to_owned();
        let context = Context { run_id: None, mode: Mode::Sim, seed: Some(self.plan.schedule.seed.0), installation };
        let now = self.world.borrow().now();
        let lines: Vec<String> = entries.iter().map(|entry| json_line(entry, &context, Some(now))).collect();
        let is = fs::metadata(path).map_or(0, |meta| meta.len());
        let more: usize = lines.iter().map(|line| line.len() + 1).sum();
        if self.world.borrow().disk.full {
            return Ok(seen);
        }
        if is > 0 && is + more as u64 > BYTES_MAX {
            match self.pass(life, "log.1", |_| fs::rename(path, aside)) {
                None => return Ok(seen),
                Some(renamed) => renamed?,
            }
        }
        // What has hit meanwhile may have taken the space.
        if self.world.borrow().disk.full {
            return Ok(seen);
        }
        match self.pass(life, "log.0", |_| log.append(&lines, Some(last))) {
            None => Ok(seen),
            Some(appended) => appended.map(|()| last),
        }
    }

    /// What is wrong with the log in the end.
    pub(super) fn badly_logged(&mut self, log: &Log) -> Vec<String> {
        let Some(kept) = self.script.kept.take() else { return Vec::new() };
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let text = text(kept.aside()) + &text(kept.path());
        let last = self.bank.client.last_seq().unwrap_or_default();
        unlike(&text, last, !log.put_back.is_empty())
    }
}

/// How these lines are no journal up to `last`; one that was put back begins again somewhere.
fn unlike(text: &str, last: Seq, put_back: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut before = None;
    for line in text.lines() {
        match serde_json::from_str::<Numbered>(line) {
            Err(error) => found.push(format!("a line of the log is damaged: {error}")),
            Ok(Numbered { seq }) => {
                if before.is_some_and(|before| seq != before + 1) && !put_back {
                    found.push(format!("after line {} of the log comes {seq}", before.unwrap_or_default()));
                }
                before = Some(seq);
            }
        }
    }
    if before.unwrap_or_default() != last.0 {
        found.push(format!("the log ends at {}, and the journal at {last}", before.unwrap_or_default()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_every_line_whole_and_once() {
        let of = |text: &str| unlike(text, Seq(3), false);
        assert_eq!(of("{\"seq\":2}\n{\"seq\":3}\n"), Vec::<String>::new(), "the oldest are gone with the log before");
        assert_eq!(of("{\"seq\":1}\n{\"seq\":3}\n"), ["after line 1 of the log comes 3"]);
        assert_eq!(of("{\"seq\":3}\n{\"seq\":3}\n"), ["after line 3 of the log comes 3"]);
        assert_eq!(of("{\"seq\":2}\n"), ["the log ends at 2, and the journal at 3"]);
        assert_eq!(of("{\"seq\":2}\n{\"se\n{\"seq\":3}\n").len(), 1);
        assert_eq!(unlike("{\"seq\":9}\n{\"seq\":3}\n", Seq(3), true), Vec::<String>::new());
    }
}
