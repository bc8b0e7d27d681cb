//! Reading the orchestrator's structured log while it grows.

use crate::history::Logged;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a line that are quoted when it is no entry.
const QUOTED_MAX: usize = 200;

/// What of the log has been read.
#[derive(Debug, Default, Clone)]
pub(super) struct Read {
    /// The entries.
    pub(super) entries: Vec<Logged>,
    /// The line of each entry, as it stood there.
    pub(super) lines: Vec<String>,
    /// Lines that are no entries.
    pub(super) unreadable: Vec<String>,
    /// Lines that end within an entry: what a writer leaves that is killed within its write. Its successor ends the line
    /// and writes the entry anew.
    pub(super) torn: Vec<String>,
    offset: u64,
    rest: Vec<u8>,
}

impl Read {
    /// What is no entry, after so many kills of the writer: each may leave one torn line. Whether the entry was written
    /// anew shows in the comparison with the database.
    pub(super) fn garbled(&self, kills: usize) -> Vec<String> {
        self.unreadable.iter().chain(self.torn.iter().skip(kills)).cloned().collect()
    }
}

/// The log of an installation.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    read: Mutex<Read>,
}

impl Journal {
    /// Of that installation.
    pub(super) fn of(home: &Path) -> Self {
        Self { path: home.join("logs/events.ndjson"), read: Mutex::default() }
    }

    /// Reads what has been added since the last time.
    pub(super) fn catch_up(&self) {
        let mut read = self.lock();
        // No log yet, or one that cannot be read just now: there will be a next time, and S12 compares in the end.
        let Ok(mut file) = File::open(&self.path) else { return };
        let mut added = Vec::new();
        if file.seek(SeekFrom::Start(read.offset)).is_err() || file.read_to_end(&mut added).is_err() {
            return;
        }
        read.offset += added.len() as u64;
        read.rest.extend(added);
        // What follows the last newline is half a line: it is kept until its other half has come.
        let Some(whole) = read.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let lines: Vec<u8> = read.rest.drain(..=whole).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            match Logged::parse(line) {
                Ok(logged) => {
                    read.entries.push(logged);
                    read.lines.push(line.to_owned());
                }
                Err(why) => {
                    let words = format!("{why}: {}", start(line));
                    if why.is_eof() { read.torn.push(words) } else { read.unreadable.push(words) }
                }
            }
        }
    }

    /// Everything that has been read so far.
    pub(super) fn so_far(&self) -> Read {
        self.lock().clone()
    }

    /// Looks at the entries read so far.
    pub(super) fn with<T>(&self, look: impl FnOnce(&[Logged]) -> T) -> T {
        look(&self.lock().entries)
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        // What was read stays as true if a reader panicked.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(line: &str) -> String {
    line.chars().take(QUOTED_MAX).collect()
}

/// Where the log and the answer of `orch events --json` tell different stories.
pub(super) fn differences(log: &[Logged], database: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut stored = Vec::new();
    for line in database.lines().filter(|line| !line.trim().is_empty()) {
        match Logged::parse(line) {
            Ok(logged) => stored.push(logged.entry),
            Err(why) => found.push(format!("orch events answered no entry: {why}: {}", start(line))),
        }
    }
    if log.len() != stored.len() {
        found.push(format!("the log has {} entries, the database {}", log.len(), stored.len()));
    }
    let differing = log.iter().zip(&stored).filter(|(logged, stored)| logged.entry != **stored);
    found.extend(differing.map(|(logged, _)| format!("seq {}: log and database differ", logged.entry.seq)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Story;
    use std::fs;
    use std::io::Write as _;

    fn line(logged: &Logged) -> String {
        serde_json::to_string(&logged.entry).expect("json")
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let home = tempfile::tempdir().expect("a folder");
        let journal = Journal::of(home.path());
        journal.catch_up();
        assert_eq!(journal.with(<[Logged]>::len), 0);
        fs::create_dir(home.path().join("logs")).expect("made");
        let story = Story::running(1);
        let (first, second) = (line(&story.journal()[0]), line(&story.journal()[1]));
        let mut file = File::create(home.path().join("logs/events.ndjson")).expect("made");
        let (half, rest) = second.split_at(9);
        write!(file, "{first}\n{half}").expect("written");
        journal.catch_up();
        assert_eq!(journal.with(<[Logged]>::len), 1);
        write!(file, "{rest}\nnot an entry\n").expect("written");
        journal.catch_up();
        let read = journal.so_far();
        assert_eq!((read.entries.len(), read.lines.len(), read.unreadable.len()), (2, 2, 1));
    }

    #[test]
    fn a_kill_may_leave_one_torn_line() {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join("logs")).expect("made");
        let whole = line(&Story::running(1).journal()[0]);
        let torn = &whole[..whole.len() / 2];
        let text = format!("{torn}\n{whole}\n{torn}\n{{\"no\": \"entry\"}}\n");
        fs::write(home.path().join("logs/events.ndjson"), text).expect("written");
        let journal = Journal::of(home.path());
        journal.catch_up();
        let read = journal.so_far();
        assert_eq!([0, 1, 2].map(|kills| read.garbled(kills).len()), [3, 2, 1]);
    }

    #[test]
    fn a_difference_between_log_and_database_is_found() {
        let story = Story::running(1);
        let lines: Vec<String> = story.journal().iter().map(line).collect();
        assert_eq!(differences(story.journal(), &lines.join("\n")), Vec::<String>::new());
        assert_eq!(differences(story.journal(), &lines[1..].join("\n")).len(), lines.len());
        let other = Story::running(2).journal().iter().map(line).collect::<Vec<_>>().join("\n");
        assert_eq!(differences(story.journal(), &other).len(), lines.len());
    }
}
