//! The spool's folders: what waits in `new/`, what is written in `tmp/`, what could not be used in `rejected/`.

use super::SpoolError;
use super::record::failed;
use rustix::fs::RenameFlags;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Records that one listing returns at most; what is left is found by the next one.
pub const LIST_MAX: usize = 1_000;
/// Files of the same name that `rejected/` keeps apart before it gives up.
const SAME_NAME_MAX: u32 = 1_000;

/// A folder within the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// Records being written; never read.
    Tmp,
    /// Records that wait.
    New,
    /// What could not be used, kept for a person.
    Rejected,
}

impl Folder {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Tmp, Self::New, Self::Rejected];

    /// Its name within the spool.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmp => "tmp",
            Self::New => "new",
            Self::Rejected => "rejected",
        }
    }
}

/// The folder, made with mode 0700 if it is not there.
pub(super) fn make_folder(spool: &Path, folder: Folder) -> Result<PathBuf, SpoolError> {
    let path = spool.join(folder.name());
    for made in [spool, path.as_path()] {
        match std::fs::DirBuilder::new().mode(0o700).create(made) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", made, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(path)
}

/// What waits in `new/`, oldest name first, at most [`LIST_MAX`].
///
/// Everything but dot files is listed, also what is no record: reading it fails and it is put aside, so nothing can
/// lie there unnoticed.
///
/// # Errors
/// The system's; a spool whose `new/` does not exist has nothing waiting and is no error.
pub fn list(spool: &Path) -> io::Result<Vec<PathBuf>> {
    let new = spool.join(Folder::New.name());
    let entries = match std::fs::read_dir(&new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    // A heap of the smallest names, so that a flooded spool costs time but no memory.
    let mut oldest: BinaryHeap<OsString> = BinaryHeap::new();
    for entry in entries {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        oldest.push(name);
        if oldest.len() > LIST_MAX {
            oldest.pop();
        }
    }
    Ok(oldest.into_sorted_vec().into_iter().map(|name| new.join(name)).collect())
}

/// Removes a record that has been taken over; one that is gone already is no error, so a crash in between is harmless.
///
/// # Errors
/// The system's.
pub fn consume(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Moves what cannot be used from `new/` to `rejected/`, and says where it lies now; never overwrites what is there.
///
/// # Errors
/// The system's.
pub fn reject(path: &Path) -> io::Result<PathBuf> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a path within a spool");
    let spool = path.parent().and_then(Path::parent).ok_or_else(invalid)?;
    let name = path.file_name().ok_or_else(invalid)?;
    let rejected = make_folder(spool, Folder::Rejected).map_err(|error| io::Error::other(error.to_string()))?;
    for count in 0..SAME_NAME_MAX {
        let mut kept = name.to_owned();
        if count > 0 {
            kept.push(format!(".{count}"));
        }
        let kept = rejected.join(kept);
        match rustix::fs::renameat_with(rustix::fs::CWD, path, rustix::fs::CWD, &kept, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(kept),
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{SAME_NAME_MAX} files of this name are rejected already"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Spool {
        dir: tempfile::TempDir,
    }

    impl Spool {
        fn new() -> Self {
            let spool = Self { dir: tempfile::tempdir().expect("a temporary folder") };
            for folder in Folder::ALL {
                make_folder(spool.dir.path(), *folder).expect("made");
            }
            spool
        }

        fn put(&self, name: &str) -> PathBuf {
            let path = self.dir.path().join("new").join(name);
            std::fs::write(&path, name).expect("written");
            path
        }

        fn names(&self) -> Vec<String> {
            let waiting = list(self.dir.path()).expect("listed");
            waiting.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect()
        }
    }

    #[test]
    fn what_waits_is_listed_oldest_first() {
        let spool = Spool::new();
        for name in ["2-b.json", "1-a.json", ".hidden", "9-odd"] {
            spool.put(name);
        }
        assert_eq!(spool.names(), ["1-a.json", "2-b.json", "9-odd"]);
    }

    #[test]
    fn a_listing_is_bounded_and_takes_the_oldest() {
        let spool = Spool::new();
        for number in (0..LIST_MAX + 5).rev() {
            spool.put(&format!("{number:06}"));
        }
        let names = spool.names();
        assert_eq!(names.len(), LIST_MAX);
        assert_eq!(
            (names.first().map(String::as_str), names.last().map(String::as_str)),
            (Some("000000"), Some("000999"))
        );
    }

    #[test]
    fn a_spool_that_is_gone_has_nothing_waiting() {
        let spool = Spool::new();
        assert_eq!(list(&spool.dir.path().join("none")).ok(), Some(vec![]));
        std::fs::write(spool.dir.path().join("file"), "").expect("written");
        assert!(list(&spool.dir.path().join("file")).is_err());
    }

    #[test]
    fn consuming_twice_is_harmless() {
        let spool = Spool::new();
        let path = spool.put("1.json");
        assert!(consume(&path).is_ok() && consume(&path).is_ok());
        assert!(spool.names().is_empty());
    }

    #[test]
    fn rejecting_moves_and_never_overwrites() {
        let spool = Spool::new();
        let rejected = spool.dir.path().join("rejected");
        std::fs::remove_dir(&rejected).expect("removed");
        let first = reject(&spool.put("1.json")).expect("moved");
        let second = reject(&spool.put("1.json")).expect("moved");
        assert_eq!((first, second), (rejected.join("1.json"), rejected.join("1.json.1")));
        std::fs::create_dir(spool.dir.path().join("new/folder")).expect("made");
        assert!(reject(&spool.dir.path().join("new/folder")).is_ok(), "a folder goes too");
        assert!(spool.names().is_empty());
        assert!(reject(&spool.dir.path().join("new/none")).is_err());
    }
}
