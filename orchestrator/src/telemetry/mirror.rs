//! The event log kept in step with the journal: what was told is written, and what the log lacks is written later.
//!
//! It follows the journal by number. What was committed just before a crash is written at the next start, and what a full
//! disk refused is written once it takes it, from where the log ends: without gap or repetition. Whoever has the journal
//! hands it in.

use super::line::{Context, json_line};
use super::sink::EventLog;
use crate::domain::id::Seq;
use crate::domain::signal::Entry;
use crate::domain::time::{Span, Timestamp, WallTime};
use std::io;
use std::path::Path;

/// Entries read from the journal at a time; bounds memory while a long journal is caught up with.
const BATCH: usize = 4_096;
/// How long a log that could not be written is left alone: each attempt renders a batch of entries.
pub const LOG_PAUSE: Span = Span::from_secs(5);

/// What takes the lines: the event log, or who stands before it.
pub trait Lines {
    /// The number of the last entry that is in it whole; none if it holds none.
    fn last_seq(&self) -> Option<Seq>;

    /// Appends lines; `last` is the number of the last of them.
    ///
    /// # Errors
    /// If they could not be written. Then none of them counts as written.
    fn append(&mut self, lines: &[String], last: Option<Seq>) -> io::Result<()>;

    /// Ends, for whoever goes on, at the last line that `has` knows ([`EventLog::agree`]).
    ///
    /// # Errors
    /// If they cannot be read.
    fn agree(&mut self, has: &mut dyn FnMut(Seq, WallTime) -> bool) -> io::Result<()>;
}

impl Lines for EventLog {
    fn last_seq(&self) -> Option<Seq> {
        self.last_seq()
    }

    fn append(&mut self, lines: &[String], last: Option<Seq>) -> io::Result<()> {
        self.append(lines, last)
    }

    fn agree(&mut self, has: &mut dyn FnMut(Seq, WallTime) -> bool) -> io::Result<()> {
        self.agree(has)
    }
}

/// The event log, and how far the journal was told.
///
/// `read` is the journal everywhere: at most so many entries after a number, in order.
#[derive(Debug)]
pub struct Mirror<L = EventLog> {
    log: L,
    context: Context,
    /// When the log is tried again, while it cannot be written.
    unwritable_until: Option<Timestamp>,
    /// The last entry that was told.
    told: Seq,
}

impl Mirror {
    /// Opens the log, or makes it.
    ///
    /// # Errors
    /// As [`EventLog::open`].
    pub fn open(path: &Path, context: Context) -> io::Result<Self> {
        Ok(Self::over(EventLog::open(path)?, context))
    }
}

impl<L: Lines> Mirror<L> {
    /// Over a log that is open. Nothing was told yet: [`Self::resume`] comes next.
    #[must_use]
    pub fn over(log: L, context: Context) -> Self {
        Self { log, context, unwritable_until: None, told: Seq(0) }
    }

    /// Hands to `tell` what the journal holds up to the end of the log. The first [`Self::publish`] goes on from there.
    /// Where the log tells of another journal, since an older database was put in place, its end is where they agree.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn resume<E>(
        &mut self,
        mut read: impl FnMut(Seq, usize) -> Result<Vec<Entry>, E>,
        mut tell: impl FnMut(&[Entry]),
    ) -> Result<(), E> {
        let mut failed = None;
        let mut has = |seq: Seq, wall| match read(Seq(seq.0.saturating_sub(1)), 1) {
            Ok(found) => found.first().is_some_and(|entry| entry.seq == seq && entry.wall == wall),
            Err(error) => {
                failed = Some(error);
                true
            }
        };
        if let Err(error) = self.log.agree(&mut has) {
            tracing::warn!(%error, "the event log cannot be read back; it goes on where it seems to end");
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.each(self.logged(), &mut read, |_, entries| tell(entries))
    }

    /// Hands to `tell` whatever the journal holds beyond what was told, and writes it. `at` is when that was known to
    /// be committed.
    ///
    /// A log that cannot be written is told of once and tried again after a pause, from where it ends: it is a mirror,
    /// not the truth.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn publish<E>(
        &mut self,
        at: Timestamp,
        mut read: impl FnMut(Seq, usize) -> Result<Vec<Entry>, E>,
        mut tell: impl FnMut(&[Entry]),
    ) -> Result<(), E> {
        self.catch_up(at, &mut read)?;
        self.each(Seq(i64::MAX), &mut read, |mirror, entries| {
            // What comes before a gap is written first, or the gap would never be seen again.
            let whole = !mirror.is_behind();
            tell(entries);
            if whole {
                mirror.write(entries, at);
            }
        })
    }

    fn logged(&self) -> Seq {
        self.log.last_seq().unwrap_or(Seq(0))
    }

    /// Whether the log lacks entries that were told.
    fn is_behind(&self) -> bool {
        self.logged() < self.told
    }

    /// Writes what the log could not take when it was told.
    fn catch_up<E>(
        &mut self,
        at: Timestamp,
        read: &mut impl FnMut(Seq, usize) -> Result<Vec<Entry>, E>,
    ) -> Result<(), E> {
        while self.is_behind() && self.unwritable_until.is_none_or(|until| at >= until) {
            let mut entries = read(self.logged(), BATCH)?;
            entries.retain(|entry| entry.seq <= self.told);
            if entries.is_empty() || !self.write(&entries, at) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads on in the journal up to `until`, a batch at a time.
    fn each<E>(
        &mut self,
        until: Seq,
        read: &mut impl FnMut(Seq, usize) -> Result<Vec<Entry>, E>,
        mut told: impl FnMut(&mut Self, &[Entry]),
    ) -> Result<(), E> {
        loop {
            let mut entries = read(self.told, BATCH)?;
            entries.retain(|entry| entry.seq <= until);
            let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
            told(self, &entries);
            self.told = last;
        }
    }

    /// Appends the entries to the log; whether it took them.
    fn write(&mut self, entries: &[Entry], at: Timestamp) -> bool {
        let lines: Vec<String> = entries.iter().map(|entry| json_line(entry, &self.context, Some(at))).collect();
        let written = self.log.append(&lines, entries.last().map(|entry| entry.seq));
        let until = written.is_err().then(|| at + LOG_PAUSE);
        match (written, std::mem::replace(&mut self.unwritable_until, until)) {
            (Err(error), None) => {
                tracing::error!(%error, "the event log cannot be written; the journal in the database has it all");
            }
            (Ok(()), Some(_)) => tracing::info!("the event log can be written again"),
            (Err(_), Some(_)) | (Ok(()), None) => {}
        }
        until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::{Signal, What};
    use crate::telemetry::line::Mode;
    use crate::telemetry::samples;
    use std::convert::Infallible;

    fn journal(until: i64, wall: i64) -> Vec<Entry> {
        let signal = || Signal::fleet(What::OrchestratorStopped { reason: "x".to_owned() });
        let entry = |seq| Entry { wall: WallTime(wall), ..samples::entry(seq, Timestamp(1), signal()) };
        (1..=until).map(entry).collect()
    }

    fn kept(path: &Path, bytes_max: u64, journal: &[Entry]) -> Mirror {
        let context = Context { run_id: None, mode: Mode::Live, seed: None, installation: "ab12".to_owned() };
        let mut mirror = Mirror::over(EventLog::with_limit(path, bytes_max).unwrap(), context);
        mirror.resume(|after, most| Ok::<_, Infallible>(read(journal, after, most)), |_| {}).unwrap();
        mirror
    }

    fn read(journal: &[Entry], after: Seq, most: usize) -> Vec<Entry> {
        journal.iter().filter(|entry| entry.seq > after).take(most).cloned().collect()
    }

    fn publish(mirror: &mut Mirror, journal: &[Entry]) {
        mirror.publish(Timestamp(1), |after, most| Ok::<_, Infallible>(read(journal, after, most)), |_| {}).unwrap();
    }

    #[test]
    fn a_journal_that_was_put_back_is_told_from_where_it_agrees_with_the_log() {
        for bytes_max in [1 << 20, 1] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("events.ndjson");
            let mut mirror = kept(&path, bytes_max, &[]);
            let old = journal(9, 1);
            publish(&mut mirror, &old[..4]);
            publish(&mut mirror, &old);
            // Put back to the fourth, and killed before the new fifth and sixth were told.
            let new = [&old[..4], &journal(6, 2)[4..]].concat();
            let mut mirror = kept(&path, bytes_max, &new);
            assert_eq!(mirror.told, Seq(4));
            publish(&mut mirror, &new);
            let text = std::fs::read_to_string(&path).unwrap();
            let told: Vec<Entry> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert!(told.ends_with(&new[4..]), "{text}");
            assert_eq!(kept(&path, bytes_max, &new).told, Seq(6));
        }
    }
}
