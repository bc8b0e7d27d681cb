//! Looking through `/proc`: who carries a token, who is in a group.
//!
//! Invariants:
//! - INV-P4: a process that carries a token for as long as a scan lasts is found by it, also while it executes
//!   another program. What is born during a scan may be missed: [`super::process::end_all`] scans again.
//! - INV-P5: the identity that is returned is that of the process whose token was read, not of one that took its
//!   number.

use crate::domain::id::ProcessId;
use crate::domain::lack;
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, open, openat, readlinkat_raw, statat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// The environment variable that carries an incarnation's token in every process of it (DESIGN section 6).
pub const INSTANCE_VARIABLE: &str = "ORCH_INSTANCE";

/// Where the kernel shows the processes.
pub(super) const PROC: &str = "/proc";

/// How often those that are in the middle of an exec are looked at again; with [`EXEC_LOOK_INTERVAL`] about 40 ms
/// for all together, while the moment itself lasts microseconds unless the program's file is slow to be read.
const EXEC_LOOKS_MAX: u32 = 250;

/// How long to wait before such another look.
const EXEC_LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// The kernel caps argv and environment together at 6 MiB (three quarters of `_STK_LIM`), so this never cuts one.
const ENVIRON_BYTES_MAX: usize = 8 << 20;

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) alive: bool,
    /// Whether it runs or waits for a disk: an exec in progress does nothing else.
    busy: bool,
    parent: u32,
    pub(super) group: u32,
    session: u32,
    pub(super) start: u64,
    /// The size of its environment in bytes; `None` (or 0 for a moment) in an exec, and if we may not know.
    environment: Option<u64>,
}

impl Stat {
    /// What stands in `/proc` of a process; none if there is no such process.
    ///
    /// # Errors
    /// The system's, if it cannot be looked up. Then nothing is known, least of all that the process is gone.
    pub(super) fn of(pid: u32) -> io::Result<Option<Self>> {
        match std::fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => Ok(Self::parse(&stat)),
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::SRCH)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Field 2, the command name, may contain blanks and parentheses, so fields are counted from the last `)`.
    fn parse(stat: &[u8]) -> Option<Self> {
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let text = std::str::from_utf8(&stat[after_name..]).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?; // field 4
        let group = fields.next()?.parse().ok()?; // field 5
        let session = fields.next()?.parse().ok()?; // field 6
        let threads: u32 = fields.nth(13)?.parse().ok()?; // field 20
        let start = fields.nth(1)?.parse().ok()?; // field 22
        let begin: u64 = fields.nth(27)?.parse().ok()?; // field 50: where the environment begins
        let end: u64 = fields.next()?.parse().ok()?; // field 51: where it ends; 0 until an exec has put it there
        // A leader that called pthread_exit shows as Z while its other threads work on: that process is alive.
        let alive = match state {
            "X" | "x" => false,
            "Z" => threads > 1,
            _ => true,
        };
        let environment = (end != 0).then(|| end.saturating_sub(begin));
        Some(Self { alive, busy: matches!(state, "R" | "D"), parent, group, session, start, environment })
    }
}

/// Every process, other than this one, whose environment carries [`INSTANCE_VARIABLE`] with one of `tokens`.
///
/// This reads the environment a process was *started* with; a process that wiped or replaced it is not found, nor
/// is one of another user. Blocking, and on the recovery path: one open, read and close per process, into buffers
/// that are reused; measured at 0.7 ms per 100 processes, with any number of tokens. Reading an environment takes
/// the process's memory lock, so a process stuck inside the kernel can hold this up: give it a thread of its own,
/// as [`super::process::end_all`] does.
///
/// # Errors
/// The system's, when `/proc` itself cannot be read, or we have run out of what reading needs ([`lack::is_ours`]).
/// Processes that end or refuse meanwhile are skipped.
pub fn find_by_token(tokens: &BTreeSet<String>) -> io::Result<Vec<(ProcessId, String)>> {
    let mut found = Vec::new();
    if tokens.is_empty() {
        return Ok(found);
    }
    let mut buffers = ScanBuffers::default();
    let mut unsure = Vec::new();
    let proc_dir = each_process(Path::new(PROC), |proc_dir, pid| {
        match look(proc_dir, pid, tokens, &mut buffers)? {
            Look::Bearer(id, token) => found.push((id, token)),
            Look::Other => {}
            Look::InExec => unsure.push(pid),
        }
        Ok(())
    })?;
    for _ in 0..EXEC_LOOKS_MAX {
        if unsure.is_empty() {
            break;
        }
        std::thread::sleep(EXEC_LOOK_INTERVAL);
        for pid in std::mem::take(&mut unsure) {
            match look(&proc_dir, pid, tokens, &mut buffers)? {
                Look::Bearer(id, token) => found.push((id, token)),
                Look::Other => {}
                Look::InExec => unsure.push(pid),
            }
        }
    }
    Ok(found)
}

/// What a look at one process told.
enum Look {
    Bearer(ProcessId, String),
    Other,
    /// Its environment cannot be had just now: look again.
    InExec,
}

fn look(proc_dir: &OwnedFd, pid: u32, tokens: &BTreeSet<String>, buffers: &mut ScanBuffers) -> Result<Look, Errno> {
    match read_environ(proc_dir, Some(pid), buffers)? {
        Environ::InExec => return Ok(Look::InExec),
        Environ::Read if token_in(&buffers.content, tokens).is_some() => {}
        Environ::Read | Environ::None => return Ok(Look::Other),
    }
    // The number may have gone to another process since. Files opened below one /proc/PID directory handle all
    // speak of the same process, so the token and the start time are read again from there.
    write_path(&mut buffers.path, Some(pid), ".");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match openat(proc_dir, buffers.path.as_slice(), flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(error) if lack::is_ours(error) => return Err(error),
        Err(_) => return Ok(Look::InExec),
    };
    match read_environ(&dir, None, buffers)? {
        Environ::Read => {}
        Environ::InExec => return Ok(Look::InExec),
        Environ::None => return Ok(Look::Other),
    }
    let Some(token) = token_in(&buffers.content, tokens).map(str::to_owned) else { return Ok(Look::Other) };
    match read_stat(&dir, None, buffers)? {
        Some(stat) if stat.alive => Ok(Look::Bearer(ProcessId { pid, start: stat.start }, token)),
        Some(_) | None => Ok(Look::Other),
    }
}

/// The living members of a process group.
pub(super) fn group_members(group: u32) -> io::Result<Vec<ProcessId>> {
    let mut found = Vec::new();
    let mut buffers = ScanBuffers::default();
    each_process(Path::new(PROC), |proc_dir, pid| {
        if let Some(stat) = read_stat(proc_dir, Some(pid), &mut buffers)?
            && stat.alive
            && stat.group == group
        {
            found.push(ProcessId { pid, start: stat.start });
        }
        Ok(())
    })?;
    Ok(found)
}

/// Where one process belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinship {
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) start: u64,
    pub(super) alive: bool,
}

/// Where every process but this one belongs, as `proc` shows it ([`PROC`]). Nobody is found to descend from this one
/// by it. Blocking: one open, read and close a process, into buffers that are reused.
pub(super) fn kinship(proc: &Path) -> io::Result<BTreeMap<u32, Kinship>> {
    let mut table = BTreeMap::new();
    let mut buffers = ScanBuffers::default();
    each_process(proc, |proc_dir, pid| {
        if let Some(Stat { parent, session, start, alive, .. }) = read_stat(proc_dir, Some(pid), &mut buffers)? {
            table.insert(pid, Kinship { parent, session, start, alive });
        }
        Ok(())
    })?;
    Ok(table)
}

/// Memory that one scan of `/proc` uses again and again.
struct ScanBuffers {
    path: Vec<u8>,
    content: Vec<u8>,
}

impl Default for ScanBuffers {
    fn default() -> Self {
        Self { path: Vec::with_capacity(32), content: Vec::with_capacity(16 << 10) }
    }
}

/// Calls `visit` for every process in `proc` but this one, until it fails; returns the handle of `/proc`.
fn each_process(proc: &Path, mut visit: impl FnMut(&OwnedFd, u32) -> Result<(), Errno>) -> io::Result<OwnedFd> {
    let own = std::process::id();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc_dir = open(proc, flags, Mode::empty())?;
    let mut names = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(&proc_dir, names.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let Some(pid) = std::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid != own {
            visit(&proc_dir, pid)?;
        }
    }
    Ok(proc_dir)
}

/// `PID/name` or `name`, in a buffer that keeps its memory.
fn write_path(path: &mut Vec<u8>, pid: Option<u32>, name: &str) {
    path.clear();
    // Writing to a Vec cannot fail.
    let _ = match pid {
        Some(pid) => write!(path, "{pid}/{name}"),
        None => write!(path, "{name}"),
    };
}

/// Fills the buffer with the whole file.
fn read_at(dir: &OwnedFd, pid: Option<u32>, name: &str, buffers: &mut ScanBuffers) -> Result<(), Errno> {
    write_path(&mut buffers.path, pid, name);
    let file = openat(dir, buffers.path.as_slice(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let content = &mut buffers.content;
    content.clear();
    while content.len() < ENVIRON_BYTES_MAX {
        if content.capacity() - content.len() < 4 << 10 {
            content.reserve(16 << 10);
        }
        match rustix::io::read(&file, spare_capacity(content)) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read_stat(dir: &OwnedFd, pid: Option<u32>, buffers: &mut ScanBuffers) -> Result<Option<Stat>, Errno> {
    match read_at(dir, pid, "stat", buffers) {
        Ok(()) => Ok(Stat::parse(&buffers.content)),
        Err(error) if lack::is_ours(error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// What came of reading an environment.
enum Environ {
    /// It is in the buffer.
    Read,
    /// There is none, or none that we may read.
    None,
    /// There is a moment in every exec when the new memory is in place and its environment is not: it reads as
    /// empty then, or, without privilege, may not be read. A scan would miss the process (seen in 1 of 30 test
    /// runs on a loaded machine).
    InExec,
}

fn read_environ(dir: &OwnedFd, pid: Option<u32>, buffers: &mut ScanBuffers) -> Result<Environ, Errno> {
    match read_at(dir, pid, "environ", buffers) {
        Ok(()) if !buffers.content.is_empty() => return Ok(Environ::Read),
        Ok(()) => {
            // Kernel threads and what is ending have no program: nearly all of the empty ones.
            write_path(&mut buffers.path, pid, "exe");
            let program = readlinkat_raw(dir, buffers.path.as_slice(), spare_capacity(&mut buffers.content));
            if program == Err(Errno::NOENT) {
                return Ok(Environ::None);
            }
        }
        Err(Errno::ACCESS | Errno::PERM) => {
            // The directory belongs to the process's user at any time, unlike the files in it.
            write_path(&mut buffers.path, pid, ".");
            let owner = statat(dir, buffers.path.as_slice(), AtFlags::empty()).map(|about| about.st_uid);
            if owner != Ok(geteuid().as_raw()) {
                return Ok(Environ::None);
            }
        }
        Err(error) if lack::is_ours(error) => return Err(error),
        Err(_) => return Ok(Environ::None),
    }
    Ok(match read_stat(dir, pid, buffers)? {
        None => Environ::None,
        Some(Stat { environment: Some(1..), .. }) => Environ::InExec, // which is over now
        // Unknown, or empty: an exec sets begin and end to the same place before it puts the variables there.
        Some(stat) if stat.busy => Environ::InExec,
        Some(_) => Environ::None,
    })
}

/// Which of `tokens` this environment block carries.
fn token_in<'a>(environ: &'a [u8], tokens: &BTreeSet<String>) -> Option<&'a str> {
    environ.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(INSTANCE_VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok().filter(|value| tokens.contains(*value))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn stat_is_parsed_from_the_last_parenthesis() {
        let check = |state: &str, threads: u32, end: u32| {
            let (middle, before) = ("3 ".repeat(13), "0 ".repeat(27));
            let line = format!("9 (a) Z (b) {state} 1 77 66 {middle} {threads} 0 4242 {before} 90 {end} 0");
            Stat::parse(line.as_bytes()).unwrap()
        };
        let asleep =
            Stat { alive: true, busy: false, parent: 1, group: 77, session: 66, start: 4242, environment: Some(9) };
        assert_eq!(check("S", 1, 99), asleep);
        assert_eq!(check("R", 1, 0), Stat { busy: true, environment: None, ..asleep });
        assert!(!check("Z", 1, 0).alive);
        assert!(check("Z", 3, 0).alive, "only its first thread has ended");
        assert!(!check("X", 1, 0).alive);
        assert_eq!(Stat::parse(b"9 (cut"), None);
        assert_eq!(Stat::parse(b"9 (cut) S 1 2"), None);
    }
}
