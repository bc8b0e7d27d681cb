//! What agents leave in the installation, and for how long it is kept (G13).
//!
//! Bounded: the manifest of a launch, which holds an agent's environment, goes once the agent runs, and at the next
//! start if it never did; what an incarnation wrote to standard error is kept for a time after its last word. The file
//! of a project's newest incarnation stays, emptied: its name is a trace that a restored database is held against.
//! Not bounded: what an agent that lives writes, since it writes to the file itself.

use crate::domain::id::Epoch;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Removes the launch manifests in `folder` that nobody waits for; `PROJECT.ROLE.eEPOCH.json` is asked for by its
/// parts. Answers how many.
///
/// # Errors
/// If the folder cannot be listed or a file not be removed; one that does not exist holds none.
pub fn manifests(folder: &Path, awaited: impl Fn(&str, &str, Epoch) -> bool) -> io::Result<u32> {
    let mut removed = 0;
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
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes what incarnations that are over wrote to standard error under `logs` (`SLUG/ROLE.eEPOCH.stderr`), if the
/// last of it is older than `before`, in seconds of the wall clock; the newest of a project is emptied instead. Whom
/// `lives` knows by slug, role and epoch is left alone. Answers how many.
///
/// # Errors
/// If a folder cannot be listed or a file not be changed.
pub fn stderr_files(logs: &Path, before: i64, lives: impl Fn(&str, &str, Epoch) -> bool) -> io::Result<u32> {
    let mut cleared = 0;
    for entry in list(logs)? {
        let entry = entry?;
        let Ok(slug) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        for file in list(&entry.path())? {
            let file = file?;
            let Ok(name) = file.file_name().into_string() else { continue };
            if let Some((role, epoch)) = incarnation(&name, ".stderr")
                && file.file_type()?.is_file()
            {
                files.push((epoch, role.to_owned(), file));
            }
        }
        let newest = files.iter().map(|(epoch, ..)| *epoch).max();
        for (epoch, role, file) in files {
            let about = file.metadata()?;
            if about.mtime() >= before || lives(&slug, &role, epoch) {
                continue;
            }
            if Some(epoch) != newest {
                std::fs::remove_file(file.path())?;
            } else if about.len() > 0 {
                std::fs::File::options().write(true).open(file.path())?.set_len(0)?;
            } else {
                continue;
            }
            cleared += 1;
        }
    }
    Ok(cleared)
}

/// `WHO.eEPOCH` and an ending.
fn incarnation<'a>(name: &'a str, ending: &str) -> Option<(&'a str, Epoch)> {
    let (who, epoch) = name.strip_suffix(ending)?.rsplit_once(".e")?;
    Some((who, Epoch(epoch.parse().ok()?)))
}

fn list(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<std::fs::DirEntry>>> {
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
        assert_eq!(manifests(dir.path(), awaited).expect("cleared"), 2);
        assert_eq!(names(dir.path()), [("7.developer.e2.json".to_owned(), 2), ("notes.txt".to_owned(), 2)]);
        assert_eq!(manifests(&dir.path().join("none"), awaited).expect("nothing is there"), 0);
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
