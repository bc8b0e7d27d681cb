//! The event log: `logs/events.ndjson`, the journal as lines for `tail -f`, jq and log shippers.
//!
//! It is a mirror and never the truth: a line may come late (after a crash it is written from the journal) and is
//! never read back to decide. What it promises: every line is whole or visibly damaged, never joined to its
//! neighbour; and with [`EventLog::last_seq`] the caller can complete it from the journal without gap or repetition.

use crate::domain::id::Seq;
use crate::domain::time::WallTime;
use rustix::fs::OFlags;
use serde::Deserialize;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes at which the log is set aside: days of a busy fleet, and still something an editor opens (G13).
pub const LOG_BYTES_MAX: u64 = 64 << 20;
/// Bytes read from the end at first, to find the last whole line; doubled until one is found.
const TAIL_BYTES: u64 = 64 << 10;

/// The open event log.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    last: Option<Seq>,
    /// Whether the file ends within a line, after a write that failed half-way and could not be taken back.
    torn: bool,
}

/// A line, as far as it tells of which journal it is.
#[derive(Deserialize)]
struct Numbered {
    seq: Seq,
    wall_us: Option<WallTime>,
}

impl EventLog {
    /// Opens the log, or makes it (0600). A torn last line is finished with a newline, so that the next one is whole.
    ///
    /// # Errors
    /// If it cannot be opened, read or repaired; a symbolic link in its place is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, LOG_BYTES_MAX)
    }

    /// The same, set aside at another size.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_limit(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let mut file = open(path)?;
        let bytes = file.metadata()?.len();
        let last = newest(&mut file, path)?.map(|line| line.seq);
        let torn = bytes > 0 && ends_within_line(&mut file, bytes)?;
        let mut log = Self { path: path.to_owned(), file, bytes, bytes_max, last, torn };
        log.append(&[], log.last)?;
        Ok(log)
    }

    /// The number of the last entry that is in the log whole; none if it holds none.
    #[must_use]
    pub fn last_seq(&self) -> Option<Seq> {
        self.last
    }

    /// Where an older database was put in place, what the log has beyond it is of a journal that is no more: lets it end at
    /// the last line that `has` knows, by its number and its wall-clock time. The lines stay.
    ///
    /// # Errors
    /// If it cannot be read; then nothing has changed.
    pub fn agree(&mut self, has: &mut dyn FnMut(Seq, WallTime) -> bool) -> io::Result<()> {
        let mut knows = |line: &Numbered| line.wall_us.is_none_or(|wall| has(line.seq, wall));
        if newest(&mut self.file, &self.path)?.is_none_or(|line| knows(&line)) {
            return Ok(());
        }
        let mut agreed = None;
        for path in [aside(&self.path), self.path.clone()] {
            let file = match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            for line in BufReader::new(file).split(b'\n') {
                if let Ok(line) = serde_json::from_slice::<Numbered>(&line?)
                    && knows(&line)
                {
                    agreed = Some(line.seq);
                }
            }
        }
        self.last = agreed;
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines (given without their newlines) with one write; `last` is the number of the last of them.
    ///
    /// # Errors
    /// If they could not be written. Then none of them counts as written: what reached the file was taken back, or
    /// will be closed off by a newline before the next line.
    pub fn append(&mut self, lines: &[String], last: Option<Seq>) -> io::Result<()> {
        let mut batch = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum::<usize>() + 1);
        if self.torn {
            batch.push('\n');
        }
        for line in lines {
            batch.push_str(line);
            batch.push('\n');
        }
        if batch.is_empty() {
            return Ok(());
        }
        if self.bytes > 0 && self.bytes + batch.len() as u64 > self.bytes_max {
            self.rotate()?;
        }
        if let Err(error) = self.file.write_all(batch.as_bytes()) {
            if self.file.set_len(self.bytes).is_err() {
                self.torn = true;
            }
            return Err(error);
        }
        self.bytes += batch.len() as u64;
        self.torn = false;
        self.last = last.or(self.last);
        Ok(())
    }

    /// Sets the full log aside as `events.ndjson.1`, over the one that was set aside before.
    fn rotate(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        match std::fs::rename(&self.path, aside(&self.path)) {
            // Somebody has taken it away already, or an earlier call got no further than this.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    // Neither through a link that somebody put there, nor waiting for the reader of a FIFO.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn ends_within_line(file: &mut File, bytes: u64) -> io::Result<bool> {
    let mut last = [0_u8];
    file.seek(SeekFrom::Start(bytes - 1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// The last line that can be read in the log, or in the one that was set aside: at the very end of the previous run,
/// the numbers go on from there.
fn newest(file: &mut File, path: &Path) -> io::Result<Option<Numbered>> {
    if let Some(found) = last_line(file)? {
        return Ok(Some(found));
    }
    File::open(aside(path)).map_or(Ok(None), |mut older| last_line(&mut older))
}

/// The last line that can be read, looking no further back than needed.
fn last_line(file: &mut File) -> io::Result<Option<Numbered>> {
    let bytes = file.metadata()?.len();
    let mut window = TAIL_BYTES;
    loop {
        let start = bytes.saturating_sub(window);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        Read::by_ref(file).take(bytes - start).read_to_end(&mut tail)?;
        let mut lines: Vec<&[u8]> = tail.split(|byte| *byte == b'\n').collect();
        if start > 0 {
            // The first piece begins in the middle of a line.
            lines.remove(0);
        }
        let found = lines.iter().rev().find_map(|line| serde_json::from_slice::<Numbered>(line).ok());
        if found.is_some() || start == 0 {
            return Ok(found);
        }
        window = window.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(seq: i64) -> String {
        format!("{{\"seq\":{seq},\"msg\":\"{}\"}}", "x".repeat(100))
    }

    fn write(log: &mut EventLog, seqs: std::ops::RangeInclusive<i64>) {
        let lines: Vec<String> = seqs.clone().map(line).collect();
        log.append(&lines, Some(Seq(*seqs.end()))).unwrap();
    }

    #[test]
    fn lines_come_back_in_order_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let mut log = EventLog::open(&path).unwrap();
        assert_eq!(log.last_seq(), None);
        write(&mut log, 1..=3);
        write(&mut log, 4..=4);
        assert_eq!(log.last_seq(), Some(Seq(4)));
        assert_eq!(fs::read_to_string(&path).unwrap(), (1..=4).map(|seq| line(seq) + "\n").collect::<String>());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(EventLog::open(&path).unwrap().last_seq(), Some(Seq(4)));
    }

    #[test]
    fn wide_permissions_are_narrowed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        EventLog::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_last_line_stays_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let whole = format!("{}\n{}\n", line(1), line(2));
        // Torn at every byte of the third line: the last number is 2 until the line is complete but for its newline.
        for cut in 1..=line(3).len() {
            fs::write(&path, format!("{whole}{}", &line(3)[..cut])).unwrap();
            let mut log = EventLog::open(&path).unwrap();
            let last = if cut == line(3).len() { 3 } else { 2 };
            assert_eq!(log.last_seq(), Some(Seq(last)), "cut at {cut}");
            write(&mut log, last + 1..=4);
            let text = fs::read_to_string(&path).unwrap();
            let seqs: Vec<i64> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Numbered>(line).ok())
                .map(|numbered| numbered.seq.0)
                .collect();
            assert_eq!(seqs, [1, 2, 3, 4], "cut at {cut}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn only_the_tail_is_read_unless_the_last_line_is_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let long = format!("{{\"seq\":7,\"msg\":\"{}\"}}", "y".repeat(300_000));
        fs::write(&path, format!("{}\n{long}\n{}", line(6), "z".repeat(100_000))).unwrap();
        assert_eq!(EventLog::open(&path).unwrap().last_seq(), Some(Seq(7)));
        fs::write(&path, "garbage\n".repeat(100_000)).unwrap();
        assert_eq!(EventLog::open(&path).unwrap().last_seq(), None);
    }

    #[test]
    fn a_full_log_is_set_aside_and_the_numbers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let mut log = EventLog::with_limit(&path, 1_000).unwrap();
        for seq in 1..=20 {
            write(&mut log, seq..=seq);
            assert!(fs::metadata(&path).unwrap().len() <= 1_000);
        }
        let older = fs::read_to_string(aside(&path)).unwrap();
        let newer = fs::read_to_string(&path).unwrap();
        assert!(newer.ends_with(&format!("{}\n", line(20))));
        assert!(older.len() <= 1_000 && older.ends_with('\n'));
        assert_eq!(fs::metadata(aside(&path)).unwrap().permissions().mode() & 0o777, 0o600);
        // Set aside, then crashed before the first line of the new file.
        fs::rename(&path, aside(&path)).unwrap();
        assert_eq!(EventLog::with_limit(&path, 1_000).unwrap().last_seq(), Some(Seq(20)));
    }

    #[test]
    fn a_log_that_was_taken_away_is_begun_anew_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let mut log = EventLog::with_limit(&path, 1_000).unwrap();
        write(&mut log, 1..=7);
        fs::remove_file(&path).unwrap();
        write(&mut log, 8..=9);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n{}\n", line(8), line(9)));
    }

    #[test]
    fn a_link_or_a_fifo_in_its_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(EventLog::open(&link).is_err());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(EventLog::open(&fifo).is_err());
    }

    #[test]
    fn a_failed_write_counts_as_none() {
        // /dev/full takes no byte: the log must say so and keep its last number.
        let dir = tempfile::tempdir().unwrap();
        let mut log = EventLog::open(&dir.path().join("events.ndjson")).unwrap();
        write(&mut log, 1..=1);
        log.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(log.append(&[line(2)], Some(Seq(2))).is_err());
        assert_eq!(log.last_seq(), Some(Seq(1)));
        assert!(log.torn, "what cannot be taken back is closed off by the next write");
    }
}
