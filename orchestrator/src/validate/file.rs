//! Reading a file that may turn out to be anything, without hanging, without reading more than is wanted, and with an
//! error a person can act on (B30–B35, B40, B65–B73).
//!
//! What stands at the path is looked at before it is opened (opening some devices has effects), it is opened without
//! waiting (a FIFO would block), and looked at again once it is open (it may have been replaced).

use super::text;
use crate::domain::lack;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

/// Why a file cannot be used; its text follows the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// The system refused (B30, B33, B57).
    #[error("{0}")]
    System(String),
    /// The system could not just now, for want of descriptors or memory; the file may be as it should.
    #[error("{0}")]
    NotNow(String),
    /// It is something else than a file (B31, B32, B67, B73).
    #[error("is a {0}, not a file")]
    NotAFile(&'static str),
    /// It is longer than allowed (B35, B70).
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The most that is allowed, in bytes.
        max: u64,
    },
    /// Nothing is in it, or only white space (B34, B66).
    #[error("is empty")]
    Empty,
    /// It is not UTF-8 (B71).
    #[error("is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// Position of the first wrong byte, from 0.
        at: usize,
    },
    /// It has a NUL byte, so it is no text (B71).
    #[error("has a NUL byte (byte {at})")]
    Nul {
        /// Its position, from 0.
        at: usize,
    },
    /// A symlink leads to nothing (B68).
    #[error("is a dangling symlink")]
    Dangling,
    /// A symlink leads out of the folder (B68).
    #[error("leads by a symlink out of the folder, to {to}")]
    Outside {
        /// Where to, escaped.
        to: String,
    },
    /// Everybody may change it (B43).
    #[error("is writable for everybody (mode {mode:04o}); chmod o-w it")]
    WorldWritable {
        /// Its permission bits.
        mode: u32,
    },
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRead {
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Its permission bits, of the very file that was read.
    pub mode: u32,
}

/// The system's words with the name of the error code, as people search for it: `No such file or directory (ENOENT)`.
#[must_use]
pub fn system_words(error: &std::io::Error) -> String {
    const NAMES: &[(Errno, &str)] = &[
        (Errno::NOENT, "ENOENT"),
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NAMETOOLONG, "ENAMETOOLONG"),
        (Errno::EXIST, "EEXIST"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::DQUOT, "EDQUOT"),
        (Errno::ROFS, "EROFS"),
        (Errno::IO, "EIO"),
        (Errno::MFILE, "EMFILE"),
        (Errno::NFILE, "ENFILE"),
        (Errno::NXIO, "ENXIO"),
        (Errno::XDEV, "EXDEV"),
        (Errno::STALE, "ESTALE"),
    ];
    let words = error.to_string();
    let Some(code) = error.raw_os_error() else { return text::escape(&words, 200) };
    let words = words.strip_suffix(&format!(" (os error {code})")).unwrap_or(&words).to_owned();
    match NAMES.iter().find(|(errno, _)| errno.raw_os_error() == code) {
        Some((_, name)) => format!("{words} ({name})"),
        None => format!("{words} (os error {code})"),
    }
}

fn system(error: impl Into<std::io::Error>) -> FileFault {
    let error = error.into();
    let words = system_words(&error);
    match Errno::from_io_error(&error) {
        // A signal that came in between says nothing of the file either.
        Some(errno) if lack::is_ours(errno) || errno == Errno::INTR => FileFault::NotNow(words),
        Some(_) | None => FileFault::System(words),
    }
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "directory",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Symlink => "symlink",
        FileType::RegularFile | FileType::Unknown => "thing of unknown kind",
    }
}

/// Reads a whole regular file of at most `bytes_max` bytes; never waits, and follows a symlink at the end of the path
/// only if told to.
///
/// # Errors
/// [`FileFault`]; at most `bytes_max` + 1 bytes were read.
pub fn read_regular(path: &Path, bytes_max: u64, follow: bool) -> Result<FileRead, FileFault> {
    let before = if follow { rustix::fs::stat(path) } else { rustix::fs::lstat(path) };
    let kind = FileType::from_raw_mode(before.map_err(system)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(FileFault::NotAFile(kind_name(kind)));
    }
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(system)?;
    let is = rustix::fs::fstat(&opened).map_err(system)?;
    let kind = FileType::from_raw_mode(is.st_mode);
    if kind != FileType::RegularFile {
        return Err(FileFault::NotAFile(kind_name(kind)));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(opened).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(system)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(FileFault::TooLong { max: bytes_max });
    }
    Ok(FileRead { bytes, mode: Mode::from_raw_mode(is.st_mode).bits() & 0o7777 })
}

/// Text out of bytes that a person wrote as text: UTF-8, no NUL, more than white space.
///
/// # Errors
/// [`FileFault`] with the place.
pub fn text_of(bytes: Vec<u8>) -> Result<String, FileFault> {
    let text = String::from_utf8(bytes).map_err(|e| FileFault::NotUtf8 { at: e.utf8_error().valid_up_to() })?;
    if let Some(at) = text.bytes().position(|b| b == 0) {
        return Err(FileFault::Nul { at });
    }
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(FileFault::Empty);
    }
    Ok(text)
}

/// Reads a file of text that a file in `folder` names, byte for byte.
///
/// A name that stays within the folder as it is written must also stay there once symlinks are followed; a name that
/// leaves it openly (`..`, absolute) may not be a symlink that leads elsewhere (B68).
///
/// # Errors
/// [`FileFault`].
pub fn read_named(folder: &Path, name: &Path, bytes_max: u64) -> Result<String, FileFault> {
    let wanted = folder.join(name);
    let is_link = rustix::fs::lstat(&wanted)
        .map_err(system)
        .map(|found| FileType::from_raw_mode(found.st_mode) == FileType::Symlink)?;
    let real = match std::fs::canonicalize(&wanted) {
        Err(error) if is_link && error.kind() == std::io::ErrorKind::NotFound => return Err(FileFault::Dangling),
        other => other.map_err(system)?,
    };
    let openly_outside = name.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    let root: PathBuf = std::fs::canonicalize(folder).map_err(system)?;
    if (is_link || !openly_outside) && !real.starts_with(&root) {
        return Err(FileFault::Outside { to: text::show_path(&real) });
    }
    // The canonical path has no symlink left; one that has appeared since is refused by the open.
    text_of(read_regular(&real, bytes_max, false)?.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn check(path: &Path, expected: &str) {
        let fault = read_regular(path, 10, true).expect_err("must be refused");
        assert_eq!(fault.to_string(), expected);
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn b30_b57_the_system_is_quoted_with_its_code() {
        let dir = folder();
        check(&dir.path().join("none"), "No such file or directory (ENOENT)");
        check(&dir.path().join("x".repeat(300)), "File name too long (ENAMETOOLONG)");
    }

    #[test]
    fn b33_an_unreadable_file_says_eacces() {
        // As root every file is readable, so the words are tested, not the system.
        let denied = std::io::Error::from_raw_os_error(13);
        assert_eq!(system(denied).to_string(), "Permission denied (EACCES)");
        assert_eq!(system_words(&std::io::Error::other("odd\nwords")), "odd\\nwords");
    }

    #[test]
    fn b31_b32_b73_only_regular_files_are_opened() {
        let dir = folder();
        check(dir.path(), "is a directory, not a file");
        check(Path::new("/dev/null"), "is a device, not a file");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
        check(&fifo, "is a FIFO, not a file");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        check(&socket, "is a socket, not a file");
    }

    #[test]
    fn b35_b70_reading_is_capped() {
        let dir = folder();
        let file = dir.path().join("f");
        std::fs::write(&file, "0123456789").expect("written");
        assert_eq!(read_regular(&file, 10, true).map(|read| read.bytes), Ok(b"0123456789".to_vec()));
        std::fs::write(&file, "0123456789a").expect("written");
        check(&file, "is longer than 10 bytes");
    }

    #[test]
    fn b43_the_mode_is_that_of_the_file_read() {
        let dir = folder();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o646)).expect("chmod");
        assert_eq!(read_regular(&file, 10, true).map(|read| read.mode), Ok(0o646));
        assert_eq!(
            FileFault::WorldWritable { mode: 0o646 }.to_string(),
            "is writable for everybody (mode 0646); chmod o-w it"
        );
    }

    #[test]
    fn b66_b71_text_is_utf8_without_nul_and_not_blank() {
        assert_eq!(text_of(b"ab\xff".to_vec()), Err(FileFault::NotUtf8 { at: 2 }));
        assert_eq!(text_of(b"ab\0".to_vec()), Err(FileFault::Nul { at: 2 }));
        assert_eq!(text_of(b"".to_vec()), Err(FileFault::Empty));
        assert_eq!(text_of(b"\xef\xbb\xbf \n".to_vec()), Err(FileFault::Empty));
        assert_eq!(text_of("é\r\n".into()), Ok("é\r\n".to_owned()));
    }

    #[test]
    fn b68_symlinks_stay_inside_the_folder() {
        let outer = folder();
        let dir = outer.path().join("spec");
        std::fs::create_dir(&dir).expect("made");
        std::fs::write(dir.join("real.md"), "inside").expect("written");
        std::fs::write(outer.path().join("out.md"), "outside").expect("written");
        symlink("real.md", dir.join("in")).expect("link");
        symlink("../out.md", dir.join("out")).expect("link");
        symlink("nothing", dir.join("dangling")).expect("link");
        symlink("loop", dir.join("loop")).expect("link");
        symlink("..", dir.join("up")).expect("link");
        symlink("out.md", outer.path().join("outer-link")).expect("link");
        let read = |name: &str| read_named(&dir, Path::new(name), 100).map_err(|fault| fault.to_string());
        let out = std::fs::canonicalize(outer.path()).expect("canonical").join("out.md").display().to_string();
        let leads = || Err(format!("leads by a symlink out of the folder, to {out}"));
        assert_eq!(read("in"), Ok("inside".to_owned()));
        assert_eq!(read("./real.md"), Ok("inside".to_owned()));
        assert_eq!(read("out"), leads());
        assert_eq!(read("up/out.md"), leads());
        assert_eq!(read("../outer-link"), leads());
        assert_eq!(read("../out.md"), Ok("outside".to_owned()));
        assert_eq!(read("dangling"), Err("is a dangling symlink".to_owned()));
        assert_eq!(read("loop"), Err("Too many levels of symbolic links (ELOOP)".to_owned()));
    }
}
