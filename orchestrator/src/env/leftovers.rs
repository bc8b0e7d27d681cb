//! What agents leave in the installation, and for how long it is kept (G13).
//!
//! Bounded: the manifest of a launch, which holds an agent's environment, goes once the agent runs, and with the next
//! clearing if it never did; what an incarnation wrote to standard error is kept for a time after its last word. The file
//! of a project's newest incarnation stays, emptied: its name is a trace that a restored database is held against.
//! Not bounded: what an agent that lives writes, since it writes to the file itself.

use crate::domain::id::Epoch;
use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The launch manifests in `folder` that nobody waits for; `PROJECT.ROLE.eEPOCH.json` is asked for by its parts.
///
/// # Errors
/// If the folder cannot be listed; one that does not exist holds none.
pub fn manifests(folder: &Path, awaited: impl Fn(&str, &str, Epoch) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut over = Vec::new();
    for entry in list(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| incarnation(name, ".json"));
        let Some((project, role, epoch)) = parts.and_then(|(who, epoch)| {
            let (project, role) = who.split_once('.')?;
            Some((project, role, epoch))
        }) else {
            continue;
        };
        if !awaited(project, role, epoch) {
            over.push(entry.path());
        }
    }
    Ok(over)
}

/// Removes these files. Answers how many.
///
/// # Errors
/// The first, once all were tried.
pub fn remove(files: &[PathBuf]) -> io::Result<u32> {
    let mut done = Clearing::default();
    files.iter().for_each(|file| done.count(std::fs::remove_file(file)));
    done.end()
}

/// Removes what incarnations that are over wrote to standard error under `logs` (`SLUG/ROLE.eEPOCH.stderr`), if the
/// last of it is older than `before`, in seconds of the wall clock; the newest of a project is emptied instead. Whom
/// `lives` knows by slug, role and epoch is left alone. Answers how many.
///
/// # Errors
/// The first, once everything was tried.
pub fn stderr_files(logs: &Path, before: i64, lives: impl Fn(&str, &str, Epoch) -> bool) -> io::Result<u32> {
    let mut done = Clearing::default();
    for folder in list(logs)? {
        let cleared = folder.and_then(|folder| clear_folder(&folder, before, &lives, &mut done));
        done.note(cleared);
    }
    done.end()
}

fn clear_folder(
    folder: &DirEntry,
    before: i64,
    lives: impl Fn(&str, &str, Epoch) -> bool,
    done: &mut Clearing,
) -> io::Result<()> {
    let Ok(slug) = folder.file_name().into_string() else { return Ok(()) };
    if !folder.file_type()?.is_dir() {
        return Ok(());
    }
    let mut files = Vec::new();
    for file in list(&folder.path())? {
        let file = file?;
        let Ok(name) = file.file_name().into_string() else { continue };
        if let Some((role, epoch)) = incarnation(&name, ".stderr")
            && file.file_type()?.is_file()
        {
            files.push((epoch, role.to_owned(), file));
        }
    }
    let newest = files.iter().map(|(epoch, ..)| *epoch).max();
    for (epoch, _, file) in files.into_iter().filter(|(epoch, role, _)| !lives(&slug, role, *epoch)) {
        match file.metadata() {
            Ok(about) if about.mtime() >= before => {}
            Ok(_) if Some(epoch) != newest => done.count(std::fs::remove_file(file.path())),
            Ok(about) if about.len() > 0 => {
                let opened = std::fs::File::options().write(true).open(file.path());
                done.count(opened.and_then(|file| file.set_len(0)));
            }
            Ok(_) => {}
            Err(error) => done.note(Err(error)),
        }
    }
    Ok(())
}

/// What came of clearing many files: one that cannot be cleared does not keep the others.
#[derive(Default)]
struct Clearing {
    cleared: u32,
    first: Option<io::Error>,
}

impl Clearing {
    fn count(&mut self, done: io::Result<()>) {
        self.cleared += u32::from(done.is_ok());
        self.note(done);
    }

    /// What is gone already needs no clearing.
    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done
            && error.kind() != io::ErrorKind::NotFound
        {
            self.first.get_or_insert(error);
        }
    }

    fn end(self) -> io::Result<u32> {
        self.first.map_or(Ok(self.cleared), Err)
    }
}

/// `WHO.eEPOCH` and an ending.
fn incarnation<'a>(name: &'a str, ending: &str) -> Option<(&'a str, Epoch)> {
    let (who, epoch) = name.strip_suffix(ending)?.rsplit_once(".e")?;
    Some((who, Epoch(epoch.parse().ok()?)))
}

fn list(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn names(folder: &Path) -> Vec<(String, u64)> {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let mut all: Vec<_> = entries
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("there").len()))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_manifest_goes_when_nobody_waits_for_it() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["7.developer.e1.json", "7.developer.e2.json", "8.a.e2.json", "notes.txt"] {
            std::fs::write(dir.path().join(name), "{}").expect("written");
        }
        let awaited = |project: &str, role: &str, epoch| (project, role, epoch) == ("7", "developer", Epoch(2));
        let over = manifests(dir.path(), awaited).expect("listed");
        assert_eq!(remove(&over).expect("cleared"), 2);
        assert_eq!(names(dir.path()), [("7.developer.e2.json".to_owned(), 2), ("notes.txt".to_owned(), 2)]);
        assert_eq!(remove(&over).expect("gone already"), 0);
        assert!(manifests(&dir.path().join("none"), awaited).expect("nothing is there").is_empty());
    }

    #[test]
    fn what_cannot_be_cleared_does_not_keep_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        // No file, so it cannot be removed as one.
        std::fs::create_dir(path("a")).expect("made");
        std::fs::write(path("b"), "").expect("written");
        remove(&[path("a"), path("b")]).expect_err("the first");
        assert!(!path("b").exists());
    }

    #[test]
    fn what_was_written_long_ago_goes_and_the_newest_trace_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let logs = dir.path().join("p7-ab12");
        std::fs::create_dir(&logs).expect("made");
        let write = |name: &str, age: u64| {
            let file = std::fs::File::create(logs.join(name)).expect("made");
            file.set_len(9).expect("written");
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age);
            file.set_modified(then).expect("dated");
        };
        let files = [("a.e1.stderr", 500), ("a.e2.stderr", 100), ("a.e3.stderr", 500), ("b.e1.stderr", 500)];
        files.into_iter().for_each(|(name, age)| write(name, age));
        write("notes.txt", 500);
        let lives = |slug: &str, role: &str, epoch| (slug, role, epoch) == ("p7-ab12", "b", Epoch(1));
        assert_eq!(stderr_files(dir.path(), 600, lives).expect("cleared"), 2);
        let left = [("a.e2.stderr", 9), ("a.e3.stderr", 0), ("b.e1.stderr", 9), ("notes.txt", 9)];
        assert_eq!(names(&logs), left.map(|(name, length)| (name.to_owned(), length)));
        let nobody = |_: &str, _: &str, _| false;
        assert_eq!(stderr_files(dir.path(), i64::MIN, nobody).expect("cleared"), 0, "nothing is as old as that");
    }
}
