//! Files: written so that no half of one is ever seen, read so that nothing hangs, and never through a symlink.
//!
//! Everything here blocks; async callers use `spawn_blocking`.
//!
//! Invariants:
//! - INV-F1: below the directory a caller names, no symlink is followed: a repository's content could otherwise
//!   lead a write out of its worktree (B53, B68).
//! - INV-F2: nothing is ever destroyed: what is in the way is moved aside under a name that was free.
//! - INV-F3: no read hangs (B32, B73): what a path is, is known before it is opened for reading.

use crate::domain::lack;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, fsync, linkat, mkdirat, open, openat, readlinkat,
    renameat, renameat_with, statat, statvfs, unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How many names are tried for something that is moved aside; reaching it means a thousand earlier ones.
const PARK_NAMES_MAX: u32 = 1_000;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Bounds of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectLimits {
    /// The most bytes a file may have to be read and hashed (B70 asks for 256 KiB for a CLAUDE.md).
    pub bytes_max: u64,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file, read to its end.
    Regular {
        /// How many bytes were read.
        size: u64,
        /// Their SHA-256, 64 lower-case hexadecimal digits.
        sha256: String,
        /// Whether they are valid UTF-8.
        utf8: bool,
        /// Whether there is a NUL among them.
        has_nul: bool,
    },
    /// Nothing.
    Missing,
    /// A symlink; it was not followed.
    Symlink {
        /// Where it points, as written.
        target: PathBuf,
    },
    /// A directory.
    Directory,
    /// Something else; it was not opened.
    Special {
        /// "fifo", "socket", "character device", "block device" or "unknown".
        kind: &'static str,
    },
    /// There is something, or may be, that cannot be read.
    Unreadable {
        /// The system's words.
        why: String,
    },
    /// It could not be looked at just now, for want of descriptors or memory of our own: nothing is known.
    NotNow {
        /// The system's words.
        why: String,
    },
    /// A regular file over the limit; it was not read to its end.
    TooLarge {
        /// How many bytes it has.
        size: u64,
    },
}

/// What [`ensure`] had to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// The same bytes were there already; nothing was written.
    Kept,
    /// Nothing was there; it was written.
    Written,
    /// Something else was there; it was moved aside, whole, and the file was written.
    Replaced {
        /// Where it is now.
        parked: PathBuf,
    },
}

/// Writes a file so that after any crash the old content or the new is there, whole (temporary file in the same
/// directory, fsync, rename, fsync of the directory).
///
/// `rel` is below `dir`; directories missing between them are created with mode 0700. `mode` is set exactly,
/// whatever the umask. A temporary file left by a crash has a fixed name per target (`.orch-HASH.tmp`), so the
/// next write of the same target removes it; there must be one writer per target.
///
/// # Errors
/// `InvalidInput` if `rel` is empty, absolute or leaves `dir`, or if a symlink is in its way (also as its last
/// component: replacing it would lose where it led); otherwise the system's.
pub fn write_atomic(dir: &Path, rel: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (parent, name) = open_parent(dir, rel)?;
    if let Ok(stat) = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
    {
        return Err(refused(format!("{} is a symlink", rel.display())));
    }
    write_in(&parent, name, bytes, mode)
}

fn write_in(parent: &OwnedFd, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
    let hash = hex(&Sha256::digest(name.as_bytes()));
    let temporary = format!(".orch-{}.tmp", &hash[..16]);
    match unlinkat(parent, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let written =
        write_temporary(parent, &temporary, bytes, mode).and_then(|()| Ok(renameat(parent, &temporary, parent, name)?));
    if written.is_err() {
        let _ = unlinkat(parent, &temporary, AtFlags::empty()); // it may be what fills the disk
    }
    written?;
    Ok(fsync(parent)?)
}

fn write_temporary(parent: &OwnedFd, temporary: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, temporary, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(bytes)?;
    fchmod(&file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

/// Opens the directory that holds `dir/rel`, creating what is missing below `dir`, through no symlink (INV-F1).
fn open_parent<'a>(dir: &Path, rel: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let mut names = Vec::new();
    for component in rel.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refused(format!("{} leaves its directory", rel.display())));
            }
        }
    }
    let Some(last) = names.pop() else { return Err(refused("the relative path is empty".to_owned())) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut current = open(dir, flags, Mode::empty())?;
    let mut walked = dir.to_path_buf();
    for name in names {
        walked.push(name);
        let opened = match openat(&current, name, flags | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => {
                match mkdirat(&current, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) => fsync(&current)?,
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                openat(&current, name, flags | OFlags::NOFOLLOW, Mode::empty())
            }
            opened => opened,
        };
        current = opened.map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => refused(format!("{} is a symlink or no directory", walked.display())),
            error => error.into(),
        })?;
    }
    Ok((current, last))
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Looks at what is at `path`, without following a symlink there and without ever hanging (INV-F3).
#[must_use]
pub fn inspect(path: &Path, limits: InspectLimits) -> Found {
    inspect_at(CWD, path.as_os_str(), limits)
}

fn inspect_at(dir: impl AsFd, name: &OsStr, limits: InspectLimits) -> Found {
    // An O_PATH handle says what it is without the side effects that opening a device or a FIFO may have.
    let handle = match openat(&dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT | Errno::NOTDIR) => return Found::Missing,
        Err(error) => return unreadable(error),
    };
    let before = match fstat(&handle) {
        Ok(stat) => stat,
        Err(error) => return unreadable(error),
    };
    match FileType::from_raw_mode(before.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Found::Directory,
        FileType::Symlink => {
            return readlinkat(&handle, "", Vec::new()).map_or_else(unreadable, |target| Found::Symlink {
                target: OsStr::from_bytes(target.as_bytes()).into(),
            });
        }
        kind @ (FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown) => return Found::Special { kind: kind_name(kind) },
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Found::Missing,
        Err(error) => return unreadable(error),
    };
    // Another thing may have taken the name in between; O_NONBLOCK kept that harmless.
    match fstat(&file) {
        Ok(stat) if (stat.st_dev, stat.st_ino) == (before.st_dev, before.st_ino) => {}
        Ok(_) => return Found::Unreadable { why: "it was replaced while it was being opened".to_owned() },
        Err(error) => return unreadable(error),
    }
    read_regular(File::from(file), limits).unwrap_or_else(unreadable)
}

fn unreadable(error: impl Into<io::Error>) -> Found {
    let error = error.into();
    let why = error.to_string();
    if lacking(&error) { Found::NotNow { why } } else { Found::Unreadable { why } }
}

/// Whether we lack something ourselves: then nothing is wrong with the file, as far as is known (T28).
pub(super) fn lacking(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Lacking>()) || Errno::from_io_error(error).is_some_and(lack::is_ours)
}

/// What we lack, in words that no longer hold the system's number.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Lacking(String);

/// The same error in other words; what is [`lacking`] stays that.
pub(super) fn in_words(words: String, error: &io::Error) -> io::Error {
    if lacking(error) { not_now(words) } else { io::Error::new(error.kind(), words) }
}

/// An error that is [`lacking`], in words.
pub(super) fn not_now(words: String) -> io::Error {
    io::Error::other(Lacking(words))
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => "unknown",
    }
}

fn read_regular(mut file: File, limits: InspectLimits) -> io::Result<Found> {
    let expected = file.metadata()?.len();
    if expected > limits.bytes_max {
        return Ok(Found::TooLarge { size: expected });
    }
    let room = usize::try_from(expected).unwrap_or(CHUNK_BYTES).clamp(1, CHUNK_BYTES);
    let mut buffer = vec![0; room + 4]; // up to 3 bytes of a character cut in two, and one more to see the end
    let mut carried = 0;
    let mut size = 0u64;
    let mut utf8 = true;
    let mut has_nul = false;
    let mut hash = Sha256::new();
    loop {
        let length = match file.read(&mut buffer[carried..]) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let fresh = &buffer[carried..carried + length];
        size += u64::try_from(length).unwrap_or(u64::MAX);
        if size > limits.bytes_max {
            return Ok(Found::TooLarge { size: file.metadata()?.len().max(size) });
        }
        hash.update(fresh);
        has_nul |= fresh.contains(&0);
        let end = carried + length;
        let whole = if utf8 { whole_characters(&buffer[..end]) } else { Some(end) };
        utf8 &= whole.is_some();
        let whole = whole.unwrap_or(end);
        buffer.copy_within(whole..end, 0);
        carried = end - whole;
    }
    Ok(Found::Regular { size, sha256: hex(&hash.finalize()), utf8: utf8 && carried == 0, has_nul })
}

/// How many leading bytes are whole characters, or `None` if the bytes cannot be the start of valid UTF-8.
fn whole_characters(bytes: &[u8]) -> Option<usize> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Some(bytes.len()),
        Err(error) if error.error_len().is_none() => Some(error.valid_up_to()),
        Err(_) => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}

/// Makes sure that `dir/rel` is a regular file with these bytes, writing only if it is not.
///
/// Whatever else was there is moved into `park_dir` (which is created, and must be on the same file system) under
/// a name that was free. A different regular file stays in place until it is atomically replaced, so that no
/// reader and no watcher sees it missing. `mode` holds for what is written; a kept file keeps its own.
///
/// # Errors
/// As [`write_atomic`], except that a symlink as the last component is moved aside like anything else; and
/// `CrossesDevices` if `park_dir` is on another file system. After an error, what was there is there or parked.
pub fn ensure(dir: &Path, rel: &Path, bytes: &[u8], mode: u32, park_dir: &Path) -> io::Result<Ensured> {
    let (parent, name) = open_parent(dir, rel)?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let found = inspect_at(&parent, name, InspectLimits { bytes_max: size });
    let replaced = match found {
        Found::Regular { size: there, ref sha256, .. } if there == size && *sha256 == hex(&Sha256::digest(bytes)) => {
            return Ok(Ensured::Kept);
        }
        Found::Missing => None,
        Found::Regular { .. } | Found::TooLarge { .. } => Some(park(&parent, name, park_dir, true)?),
        Found::Symlink { .. } | Found::Directory | Found::Special { .. } | Found::Unreadable { .. } => {
            Some(park(&parent, name, park_dir, false)?)
        }
        Found::NotNow { why } => return Err(not_now(why)),
    };
    write_in(&parent, name, bytes, mode)?;
    Ok(replaced.map_or(Ensured::Written, |parked| Ensured::Replaced { parked }))
}

/// Adds to a regular file that somebody else owns, or makes it.
///
/// `make` gets the bytes that are there (`None` if there is no file) and gives the new ones, or `None` to leave the
/// file as it is. The new ones take its place atomically and with its mode; `mode` is for a file that was missing.
///
/// # Errors
/// `InvalidInput` as [`write_atomic`], if it is no regular file or larger than `bytes_max`, or in `make`'s words; the
/// system's. After an error, what was there is there, unchanged.
pub fn rewrite(
    dir: &Path,
    rel: &Path,
    bytes_max: u64,
    mode: u32,
    make: impl FnOnce(Option<&[u8]>) -> Result<Option<Vec<u8>>, String>,
) -> io::Result<()> {
    let (parent, name) = open_parent(dir, rel)?;
    // What it is, before it is opened: a FIFO would wait, a device may do anything (INV-F3).
    let (there, mode) = match inspect_at(&parent, name, InspectLimits { bytes_max }) {
        Found::Missing => (None, mode),
        Found::Regular { .. } => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(openat(&parent, name, flags, Mode::empty())?);
            let mode = fstat(&file)?.st_mode & 0o777;
            let mut bytes = Vec::new();
            file.take(bytes_max).read_to_end(&mut bytes)?;
            (Some(bytes), mode)
        }
        Found::Symlink { target } => return Err(refused(format!("it is a symlink to {}", target.display()))),
        Found::Directory => return Err(refused("it is a directory".to_owned())),
        Found::Special { kind } => return Err(refused(format!("it is a {kind}"))),
        Found::Unreadable { why } => return Err(refused(why)),
        Found::NotNow { why } => return Err(not_now(why)),
        Found::TooLarge { size } => return Err(refused(format!("it has {size} bytes; at most {bytes_max} are read"))),
    };
    match make(there.as_deref()).map_err(refused)? {
        Some(bytes) => write_in(&parent, name, &bytes, mode),
        None => Ok(()),
    }
}

/// Moves whatever is at `path` into `park_dir` under its own name and a free number, and says where that is. It is one
/// rename; a symlink is moved, not followed.
///
/// # Errors
/// The system's; `CrossesDevices` if `park_dir` is on another file system. After an error it is where it was.
pub fn move_aside(path: &Path, park_dir: &Path) -> io::Result<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(refused(format!("{} has no name", path.display())));
    };
    let parent = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    park(&parent, name, park_dir, false)
}

/// Moves `parent/name` into `park_dir` under a free name; `keep` leaves it in place as well, as a second link.
fn park(parent: &OwnedFd, name: &OsStr, park_dir: &Path, keep: bool) -> io::Result<PathBuf> {
    std::fs::create_dir_all(park_dir)?;
    let park = open(park_dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..PARK_NAMES_MAX {
        let mut free = name.to_os_string();
        free.push(format!(".{number}"));
        let linked = if keep { linkat(parent, name, &park, &free, AtFlags::empty()) } else { Err(Errno::PERM) };
        let moved = match linked {
            // Not to be kept, or hard links are refused here: by policy, or by the file system.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {
                renameat_with(parent, name, &park, &free, RenameFlags::NOREPLACE)
            }
            linked => linked,
        };
        match moved {
            Ok(()) => {
                fsync(&park)?;
                return Ok(park_dir.join(free));
            }
            // A crash came between parking it and filling its place.
            Err(Errno::EXIST) if is_same(parent, name, &park, &free) => return Ok(park_dir.join(free)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other(format!("no free name for {} in {}", name.display(), park_dir.display())))
}

/// Whether two names are links to one file.
fn is_same(dir: &OwnedFd, name: &OsStr, other_dir: &OwnedFd, other: &OsStr) -> bool {
    let of = |dir: &OwnedFd, name: &OsStr| statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    of(dir, name)
        .zip(of(other_dir, other))
        .is_some_and(|(one, two)| (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino))
}

/// The last `bytes_max` bytes of a text file, printable; `None` if there is no file.
///
/// # Errors
/// `InvalidInput` if it is no regular file (a symlink is not followed); otherwise the system's.
pub fn tail(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(refused(format!("{} is no regular file", path.display()))),
        Err(error) => return Err(error.into()),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(refused(format!("{} is no regular file", path.display())));
    }
    file.seek(SeekFrom::Start(about.len().saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(printable(&bytes)))
}

/// Text that is safe to show and to store: invalid UTF-8 replaced, escape sequences and control characters other
/// than newline and tab removed (B15, B77), and no half character at its start.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    // A tail may begin inside a character: at most 3 continuation bytes.
    let cut = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    let text = String::from_utf8_lossy(&bytes[cut..]);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => match characters.peek() {
                // CSI: parameters and intermediates, then one final byte.
                Some('[') => {
                    characters.next();
                    while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                    characters.next_if(|c| matches!(c, '@'..='~'));
                }
                // OSC: up to BEL or ESC \. A newline ends it too, so that a cut one hides one line at most.
                Some(']') => {
                    while characters.next_if(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\n')).is_some() {}
                    if characters.next_if_eq(&'\u{1b}').is_some() {
                        characters.next_if_eq(&'\\');
                    }
                }
                _ => {}
            },
            '\n' | '\t' => clean.push(character),
            character if character.is_control() => {}
            character => clean.push(character),
        }
    }
    clean
}

/// Bytes an unprivileged process may still write on the file system of `path`.
///
/// # Errors
/// The system's.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let about = statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    const LIMITS: InspectLimits = InspectLimits { bytes_max: 1 << 20 };

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_written_whole_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        write_atomic(dir.path(), Path::new("a/b/c.txt"), b"one", 0o666).unwrap();
        write_atomic(dir.path(), Path::new("./a/b/c.txt"), b"two", 0o640).unwrap();
        let file = dir.path().join("a/b/c.txt");
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!((mode(&file), mode(&dir.path().join("a"))), (0o640, 0o700));
        assert_eq!(names(&dir.path().join("a/b")), ["c.txt"]);
    }

    #[test]
    fn what_a_crash_left_of_an_earlier_write_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let leftover = format!(".orch-{}.tmp", &hex(&Sha256::digest(b"f"))[..16]);
        fs::write(dir.path().join(leftover), "half").unwrap();
        write_atomic(dir.path(), Path::new("f"), b"whole", 0o600).unwrap();
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn no_write_leaves_its_directory_or_follows_a_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink(outside.path().join("target"), dir.path().join("file")).unwrap();
        fs::write(dir.path().join("plain"), "x").unwrap();
        let deep = dir.path().join("sub");
        fs::create_dir(&deep).unwrap();
        for rel in ["", ".", "../x", "a/../../x", "/etc/x", "link/x", "link/deep/x", "file", "plain/x"] {
            let error = write_atomic(dir.path(), Path::new(rel), b"x", 0o600).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{rel}: {error}");
        }
        assert!(write_atomic(dir.path(), Path::new("sub"), b"x", 0o600).is_err(), "a directory is not replaced");
        assert_eq!(names(outside.path()), [""; 0]);
        assert_eq!(names(dir.path()), ["file", "link", "plain", "sub"]);
    }

    #[test]
    fn everything_that_can_be_at_a_path_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let check = |name: &str, expected: Found| assert_eq!(inspect(&at(name), LIMITS), expected, "{name}");
        check("none", Found::Missing);
        fs::write(at("text"), "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        check("text", Found::Regular { size: 3, sha256, utf8: true, has_nul: false });
        check("text/below", Found::Missing);
        symlink("text", at("link")).unwrap();
        check("link", Found::Symlink { target: "text".into() });
        fs::create_dir(at("dir")).unwrap();
        check("dir", Found::Directory);
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        check("fifo", Found::Special { kind: "fifo" });
        let _listener = UnixListener::bind(at("socket")).unwrap();
        check("socket", Found::Special { kind: "socket" });
        assert_eq!(inspect(Path::new("/dev/null"), LIMITS), Found::Special { kind: "character device" });
        fs::write(at("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        check("large", Found::TooLarge { size: (1 << 20) + 1 });
        let long = "x".repeat(300);
        assert!(matches!(inspect(&at(&long), LIMITS), Found::Unreadable { why } if why.contains("too long")));
    }

    #[test]
    fn bytes_are_judged_across_the_seams_of_reading() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], valid: bool, nul: bool| {
            let path = dir.path().join("f");
            fs::write(&path, bytes).unwrap();
            let Found::Regular { size, sha256, utf8, has_nul } = inspect(&path, LIMITS) else { panic!("no file") };
            assert_eq!((utf8, has_nul), (valid, nul), "{} bytes", bytes.len());
            assert_eq!((size, sha256), (bytes.len() as u64, hex(&Sha256::digest(bytes))));
        };
        check(b"", true, false);
        check(b"a\0b", true, true);
        check(b"\xff", false, false);
        check("€".repeat(100_000).as_bytes(), true, false);
        for cut in 0..4 {
            let mut text = "x".repeat(CHUNK_BYTES + cut).into_bytes();
            text.extend("€😀".repeat(40_000).bytes());
            check(&text, true, false);
            text.pop();
            check(&text, false, false);
        }
    }

    #[test]
    fn ensuring_keeps_the_same_and_parks_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let park = dir.path().join("park/deep");
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let ensure_it = || ensure(&work, Path::new("C.md"), b"right", 0o600, &park).unwrap();
        let file = work.join("C.md");
        assert_eq!(ensure_it(), Ensured::Written);
        assert_eq!(ensure_it(), Ensured::Kept);
        let check = |number: u32, look: &dyn Fn(&Path)| {
            let parked = park.join(format!("C.md.{number}"));
            assert_eq!(ensure_it(), Ensured::Replaced { parked: parked.clone() });
            assert_eq!(fs::read(&file).unwrap(), b"right");
            look(&parked);
            assert_eq!(names(&work), ["C.md"]);
        };
        fs::write(&file, "wrong").unwrap();
        check(0, &|parked| assert_eq!(fs::read(parked).unwrap(), b"wrong"));
        fs::write(&file, "much longer than it should be").unwrap();
        check(1, &|parked| assert_eq!(fs::read(parked).unwrap().len(), 29));
        fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        check(2, &|parked| assert_eq!(fs::read_link(parked).unwrap(), Path::new("/etc/passwd")));
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        fs::write(file.join("inside"), "kept").unwrap();
        check(3, &|parked| assert_eq!(names(parked), ["inside"]));
        fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(CWD, &file, Mode::from_raw_mode(0o600)).unwrap();
        check(4, &|parked| assert_eq!(inspect(parked, LIMITS), Found::Special { kind: "fifo" }));
        // A crash after parking it: it is parked already, not once more (C28).
        fs::write(&file, "parked").unwrap();
        fs::hard_link(&file, park.join("C.md.5")).unwrap();
        check(5, &|parked| assert_eq!(fs::read(parked).unwrap(), b"parked"));
        assert_eq!(names(&park).len(), 6);
    }

    #[test]
    fn rewriting_adds_to_a_file_and_leaves_alone_what_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let rewrite_it = |name: &str, new: Option<&str>| {
            let new = new.map(|new| new.as_bytes().to_vec());
            let mut seen = None;
            let done = rewrite(dir.path(), Path::new(name), 5, 0o600, |there| {
                seen = there.map(<[u8]>::to_vec);
                new.ok_or_else(|| "no".to_owned()).map(|new| (!new.is_empty()).then_some(new))
            });
            (seen, done.map_err(|error| error.to_string()))
        };
        let at = |name: &str| dir.path().join(name);
        assert_eq!(rewrite_it("a/f", Some("one")), (None, Ok(())));
        assert_eq!((fs::read(at("a/f")).unwrap(), mode(&at("a/f"))), (b"one".to_vec(), 0o600));
        fs::set_permissions(at("a/f"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(rewrite_it("a/f", Some("three")), (Some(b"one".to_vec()), Ok(())));
        assert_eq!((fs::read(at("a/f")).unwrap(), mode(&at("a/f"))), (b"three".to_vec(), 0o644));
        assert_eq!(rewrite_it("a/f", Some("")), (Some(b"three".to_vec()), Ok(())));
        assert_eq!(rewrite_it("a/f", None), (Some(b"three".to_vec()), Err("no".to_owned())));
        fs::write(at("large"), "larger").unwrap();
        symlink(at("a/f"), at("link")).unwrap();
        symlink(at("a"), at("folder")).unwrap();
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        for name in ["large", "link", "folder/f", "fifo", "a"] {
            let (seen, done) = rewrite_it(name, Some("new"));
            assert!(seen.is_none() && done.is_err(), "{name}: {done:?}");
        }
        assert_eq!(fs::read(at("a/f")).unwrap(), b"three");
        assert_eq!((names(dir.path()).len(), names(&at("a"))), (5, vec!["f".to_owned()]));
    }

    #[test]
    fn the_tail_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(tail(&path, 10).unwrap(), None);
        fs::write(&path, "first\nsecond\n").unwrap();
        assert_eq!(tail(&path, 7).unwrap().as_deref(), Some("second\n"));
        assert_eq!(tail(&path, 1_000).unwrap().as_deref(), Some("first\nsecond\n"));
        symlink(&path, dir.path().join("link")).unwrap();
        for other in [dir.path().to_path_buf(), dir.path().join("link")] {
            assert_eq!(tail(&other, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn text_is_made_printable() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(printable(bytes), expected);
        check(b"a\tb\nc\r\0\x07\x7f", "a\tb\nc");
        check("\u{9b}31m\u{85}é".as_bytes(), "31mé");
        check(b"\x1b[1;31mred\x1b[0m", "red");
        check(b"\x1b]52;c;AAAA\x07text\x1b]0;title\x1b\\more", "textmore");
        check(b"\x1b]0;cut\nnext \x1b[", "\nnext ");
        check(b"\x82\xacwhole \xe2\x82", "whole \u{fffd}");
        check("€".as_bytes(), "€");
    }

    #[test]
    fn free_space_is_told() {
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/path")).is_err());
    }
}
