//! Being told when something happens in a directory (inotify, through the notify crate).
//!
//! Directories are watched, never files: a watch on a file is lost with the first unlink or atomic replace
//! (platform facts, "File watching"). What happens reaches the owner's function on notify's own thread.
//!
//! Invariants:
//! - INV-W1: a lost watch is said to be lost: [`WatchEvent::DirGone`] for a directory that was removed or moved
//!   away, [`WatchEvent::Rescan`] when events may be missing. The exceptions are not seen by inotify itself and
//!   are the sweep's to find: an ancestor that was renamed, and a file system that was unmounted.
//! - INV-W2: no call here waits for the owner's function while holding what that function's caller needs.

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the owner's function is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something at this path was created, written, changed in its metadata, removed or renamed (from or to); look
    /// at it. The path is below a watched directory as that was named. One change may be told several times.
    Path(PathBuf),
    /// Events may be missing: look at everything.
    Rescan {
        /// Why: an overflow of the kernel's queue, or the system's words.
        reason: String,
    },
    /// This watched directory was removed or moved away, and nothing more will be told of it until it is watched
    /// again with [`Watcher::watch_dir`] (which does not count it twice) once it is back.
    DirGone(PathBuf),
}

/// Why a directory is not watched.
#[derive(Debug, thiserror::Error)]
pub enum DirWatchError {
    /// It is not there, is not a directory, or may not be read.
    #[error("watch directory {}", .dir.display())]
    Directory {
        /// Which.
        dir: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The kernel gives this user no more watches (`fs.inotify.max_user_watches`).
    #[error("watch directory {}: the limit fs.inotify.max_user_watches is reached", .dir.display())]
    LimitReached {
        /// Which.
        dir: PathBuf,
    },
    /// The watcher cannot be started (`fs.inotify.max_user_instances`, open files) or its thread has ended.
    #[error("the file watcher does not run: {0}")]
    NotRunning(String),
}

/// Watches directories, without what is below their subdirectories; dropping it ends all watches.
#[derive(Debug)]
pub struct Watcher {
    /// Taken only by `drop`.
    inner: Option<RecommendedWatcher>,
    table: Arc<Mutex<Table>>,
    ended: Arc<AtomicBool>,
}

/// Lives inside notify's thread and says when that has ended, or was never started.
struct ThreadEnd(Arc<AtomicBool>);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Who watches what. inotify knows one watch per directory, however many names it was asked for under.
#[derive(Debug, Default)]
struct Table {
    /// By canonical path, which is what notify was given.
    dirs: BTreeMap<PathBuf, Dir>,
    /// By the name a caller used: the canonical path, and how often it was asked for.
    names: BTreeMap<PathBuf, (PathBuf, u32)>,
}

#[derive(Debug, Default)]
struct Dir {
    names: BTreeSet<PathBuf>,
    /// It was removed or moved away; whatever its old watch still reports is not about this path.
    gone: bool,
}

impl Watcher {
    /// Starts a watcher that calls `sender` for every event, on its own thread.
    ///
    /// `sender` must be quick, must not panic (that ends the thread) and must not call this watcher.
    ///
    /// # Errors
    /// [`DirWatchError::NotRunning`].
    pub fn new(sender: impl Fn(WatchEvent) + Send + 'static) -> Result<Self, DirWatchError> {
        let table = Arc::new(Mutex::new(Table::default()));
        let seen = Arc::clone(&table);
        let ended = Arc::new(AtomicBool::new(false));
        let thread_end = ThreadEnd(Arc::clone(&ended));
        let handler = move |event: notify::Result<Event>| {
            let _ = &thread_end; // moved in here, to be dropped with the handler
            let events = match event {
                Ok(event) => locked(&seen).translate(&event),
                Err(error) => vec![WatchEvent::Rescan { reason: error.to_string() }],
            };
            events.into_iter().for_each(&sender);
        };
        let inner = RecommendedWatcher::new(handler, Config::default())
            .map_err(|error| DirWatchError::NotRunning(error.to_string()))?;
        let mut watcher = Self { inner: Some(inner), table, ended };
        watcher.running()?;
        Ok(watcher)
    }

    /// Watches a directory; counted, so that as many [`Watcher::unwatch_dir`] end it. One that was
    /// [`WatchEvent::DirGone`] is watched anew, and not counted again.
    ///
    /// # Errors
    /// [`DirWatchError`]; nothing is counted then.
    pub fn watch_dir(&mut self, dir: &Path) -> Result<(), DirWatchError> {
        let failed = |source| DirWatchError::Directory { dir: dir.to_path_buf(), source };
        let real = std::fs::canonicalize(dir).map_err(failed)?;
        if !real.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let (was_gone, moved, watched) = {
            let table = locked(&self.table);
            let was_gone = table.names.get(dir).is_some_and(|(old, _)| table.dirs.get(old).is_some_and(|d| d.gone));
            let moved = table.names.get(dir).is_some_and(|(old, _)| *old != real);
            (was_gone, moved, table.dirs.get(&real).is_some_and(|known| !known.gone))
        };
        if !watched {
            self.start(dir, &real)?;
        }
        let emptied = {
            let mut table = locked(&self.table);
            let emptied = if moved { table.detach(dir) } else { None };
            table.dirs.entry(real.clone()).or_default().names.insert(dir.to_path_buf());
            let (known, count) = table.names.entry(dir.to_path_buf()).or_insert((real.clone(), 0));
            known.clone_from(&real);
            *count = count.saturating_add(u32::from(!was_gone || *count == 0));
            emptied
        };
        if let Some(old) = emptied {
            self.stop(&old)?;
        }
        Ok(())
    }

    /// Whether this directory was watched and [`WatchEvent::DirGone`] since: [`Watcher::watch_dir`] is due once it is
    /// back.
    #[must_use]
    pub fn is_gone(&self, dir: &Path) -> bool {
        let table = locked(&self.table);
        table.names.get(dir).and_then(|(real, _)| table.dirs.get(real)).is_some_and(|known| known.gone)
    }

    /// Takes back one [`Watcher::watch_dir`] of the same name; the last one ends the watch. Unknown names are ignored.
    ///
    /// # Errors
    /// [`DirWatchError::NotRunning`].
    pub fn unwatch_dir(&mut self, dir: &Path) -> Result<(), DirWatchError> {
        let emptied = {
            let mut table = locked(&self.table);
            let Some((_, count)) = table.names.get_mut(dir) else { return Ok(()) };
            *count = count.saturating_sub(1);
            if *count > 0 {
                return Ok(());
            }
            let emptied = table.detach(dir);
            table.names.remove(dir);
            emptied
        };
        emptied.map_or(Ok(()), |real| self.stop(&real))
    }

    /// Asks notify for the watch. The name is in the table first, so that no event of the new watch is lost.
    fn start(&mut self, dir: &Path, real: &Path) -> Result<(), DirWatchError> {
        if locked(&self.table).dirs.contains_key(real) {
            self.stop(real)?; // what a removed or moved directory left behind under the same path
        }
        let fresh = {
            let mut table = locked(&self.table);
            let entry = table.dirs.entry(real.to_path_buf()).or_default();
            entry.gone = false;
            entry.names.insert(dir.to_path_buf())
        };
        let started = self.running()?.watch(real, RecursiveMode::NonRecursive);
        started.map_err(|error| {
            let mut table = locked(&self.table);
            if let Some(entry) = table.dirs.get_mut(real) {
                entry.gone = true;
                if fresh {
                    entry.names.remove(dir);
                }
                if entry.names.is_empty() {
                    table.dirs.remove(real);
                }
            }
            match error.kind {
                notify::ErrorKind::MaxFilesWatch => DirWatchError::LimitReached { dir: dir.to_path_buf() },
                notify::ErrorKind::Io(source) => DirWatchError::Directory { dir: dir.to_path_buf(), source },
                notify::ErrorKind::PathNotFound => {
                    DirWatchError::Directory { dir: dir.to_path_buf(), source: io::ErrorKind::NotFound.into() }
                }
                notify::ErrorKind::Generic(_)
                | notify::ErrorKind::WatchNotFound
                | notify::ErrorKind::InvalidConfig(_) => {
                    DirWatchError::Directory { dir: dir.to_path_buf(), source: io::Error::other(error) }
                }
            }
        })
    }

    /// Ends notify's watch, if it has one.
    fn stop(&mut self, real: &Path) -> Result<(), DirWatchError> {
        let _ = self.running()?.unwatch(real); // fails only if there is none, as after a removal
        Ok(())
    }

    /// notify's handle, unless its thread has ended: its calls and its `drop` would panic then.
    fn running(&mut self) -> Result<&mut RecommendedWatcher, DirWatchError> {
        let ended = self.ended.load(Ordering::Acquire);
        self.inner
            .as_mut()
            .filter(|_| !ended)
            .ok_or_else(|| DirWatchError::NotRunning("its thread could not be started, or has ended".to_owned()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.running().is_err()
            && let Some(inner) = self.inner.take()
        {
            std::mem::forget(inner); // dropping it would panic; all it holds is a channel to nobody
        }
    }
}

/// The table is consistent between any two statements that change it, so a panic elsewhere does not spoil it.
fn locked(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Takes a name from its directory; the directory's path, if that was the last name.
    fn detach(&mut self, name: &Path) -> Option<PathBuf> {
        let (real, _) = self.names.get(name)?;
        let dir = self.dirs.get_mut(real)?;
        dir.names.remove(name);
        if !dir.names.is_empty() {
            return None;
        }
        self.dirs.remove(real);
        Some(real.clone())
    }

    fn translate(&mut self, event: &Event) -> Vec<WatchEvent> {
        if event.need_rescan() {
            return vec![WatchEvent::Rescan { reason: "the kernel's event queue overflowed".to_owned() }];
        }
        let ends_directory = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            // Reading is no change, and the pair of a rename was told as its two halves.
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => true,
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => false,
        };
        let mut told = Vec::new();
        for path in &event.paths {
            if ends_directory
                && let Some(dir) = self.dirs.get_mut(path)
                && !std::mem::replace(&mut dir.gone, true)
            {
                told.extend(dir.names.iter().cloned().map(WatchEvent::DirGone));
            }
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
                && !is_temporary(name)
                && let Some(dir) = self.dirs.get(parent).filter(|dir| !dir.gone)
            {
                told.extend(dir.names.iter().map(|as_named| WatchEvent::Path(as_named.join(name))));
            }
        }
        told
    }
}

/// Names that a writer uses before its rename ([`super::files::write_atomic`]): `.*.tmp`.
fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") && name.ends_with(b".tmp")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::time::Duration;

    fn watcher() -> (Watcher, Receiver<WatchEvent>) {
        let (sender, receiver) = channel();
        let watcher = Watcher::new(move |event| drop(sender.send(event))).unwrap();
        (watcher, receiver)
    }

    /// Receives until `wanted` comes; the others are returned.
    fn until(events: &Receiver<WatchEvent>, wanted: &WatchEvent) -> Vec<WatchEvent> {
        let mut others = Vec::new();
        loop {
            match events.recv_timeout(Duration::from_secs(20)) {
                Ok(event) if event == *wanted => return others,
                Ok(event) => others.push(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{wanted:?} did not come, but {others:?}")
                }
            }
        }
    }

    fn path(path: impl Into<PathBuf>) -> WatchEvent {
        WatchEvent::Path(path.into())
    }

    #[test]
    fn every_change_is_told_and_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("old"), "").unwrap();
        let (mut watcher, events) = watcher();
        watcher.watch_dir(dir.path()).unwrap();
        fs::write(at("CLAUDE.md"), "one").unwrap();
        until(&events, &path(at("CLAUDE.md")));
        fs::rename(at("CLAUDE.md"), at("away")).unwrap();
        until(&events, &path(at("away")));
        fs::remove_file(at("away")).unwrap();
        fs::read(at("old")).unwrap();
        fs::write(at(".x.tmp"), "").unwrap();
        fs::write(at("end"), "").unwrap();
        let others = until(&events, &path(at("end")));
        assert!(!others.contains(&path(at("old"))) && !others.contains(&path(at(".x.tmp"))), "{others:?}");
        fs::remove_file(at("old")).unwrap();
        until(&events, &path(at("old")));
    }

    #[test]
    fn an_atomic_write_is_told_by_its_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watcher, events) = watcher();
        watcher.watch_dir(dir.path()).unwrap();
        for content in ["one", "two"] {
            super::super::files::write_atomic(dir.path(), Path::new("f"), content.as_bytes(), 0o600).unwrap();
            assert_eq!(until(&events, &path(dir.path().join("f"))), []);
        }
    }

    #[test]
    fn a_directory_that_goes_is_told_and_can_be_watched_anew() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("work");
        let (mut watcher, events) = watcher();
        for remove in [true, false] {
            fs::create_dir(&dir).unwrap();
            watcher.watch_dir(&dir).unwrap();
            fs::write(dir.join("f"), "").unwrap();
            until(&events, &path(dir.join("f")));
            if remove {
                fs::remove_dir_all(&dir).unwrap();
            } else {
                fs::rename(&dir, top.path().join("moved")).unwrap();
            }
            until(&events, &WatchEvent::DirGone(dir.clone()));
        }
        fs::create_dir(&dir).unwrap();
        watcher.watch_dir(&dir).unwrap();
        fs::write(top.path().join("moved/stale"), "").unwrap();
        fs::write(dir.join("fresh"), "").unwrap();
        assert_eq!(until(&events, &path(dir.join("fresh"))), []);
        // It was counted once, however often it had to be watched anew.
        watcher.unwatch_dir(&dir).unwrap();
        assert!(locked(&watcher.table).dirs.is_empty());
    }

    #[test]
    fn a_directory_below_a_watched_one_is_its_own_watch() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("sub");
        fs::create_dir(&dir).unwrap();
        let (mut watcher, events) = watcher();
        watcher.watch_dir(top.path()).unwrap();
        watcher.watch_dir(&dir).unwrap();
        fs::remove_dir(&dir).unwrap();
        let mut told = until(&events, &path(&dir));
        told.extend(events.try_iter());
        assert!(told.contains(&WatchEvent::DirGone(dir)), "{told:?}");
        fs::write(top.path().join("f"), "").unwrap();
        until(&events, &path(top.path().join("f")));
    }

    #[test]
    fn watches_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (mut watcher, events) = watcher();
        watcher.watch_dir(dir.path()).unwrap();
        watcher.watch_dir(dir.path()).unwrap();
        watcher.unwatch_dir(dir.path()).unwrap();
        fs::write(dir.path().join("still"), "").unwrap();
        until(&events, &path(dir.path().join("still")));
        watcher.unwatch_dir(dir.path()).unwrap();
        watcher.unwatch_dir(dir.path()).unwrap();
        assert!(locked(&watcher.table).names.is_empty() && locked(&watcher.table).dirs.is_empty());
    }

    #[test]
    fn one_directory_under_two_names_is_told_under_both() {
        let top = tempfile::tempdir().unwrap();
        let (dir, link) = (top.path().join("dir"), top.path().join("link"));
        fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(&dir, &link).unwrap();
        let (mut watcher, events) = watcher();
        watcher.watch_dir(&dir).unwrap();
        watcher.watch_dir(&link).unwrap();
        fs::write(dir.join("f"), "").unwrap();
        until(&events, &path(dir.join("f")));
        until(&events, &path(link.join("f")));
        watcher.unwatch_dir(&dir).unwrap();
        fs::write(dir.join("g"), "").unwrap();
        let others = until(&events, &path(link.join("g")));
        assert!(!others.contains(&path(dir.join("g"))), "{others:?}");
    }

    #[test]
    fn what_is_no_directory_is_refused_and_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let (mut watcher, _events) = watcher();
        for name in ["file", "none"] {
            let error = watcher.watch_dir(&dir.path().join(name)).unwrap_err();
            assert!(matches!(error, DirWatchError::Directory { .. }), "{error:?}");
        }
        assert!(locked(&watcher.table).names.is_empty());
    }

    #[test]
    fn overflow_and_errors_ask_for_a_rescan() {
        let mut table = Table::default();
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(matches!(table.translate(&overflow)[..], [WatchEvent::Rescan { .. }]));
    }

    #[test]
    fn a_dead_thread_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut watcher = Watcher::new(|_| panic!("a bad owner")).unwrap();
        watcher.watch_dir(dir.path()).unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        while watcher.running().is_ok() {
            std::thread::yield_now(); // it dies at the event
        }
        let other = tempfile::tempdir().unwrap();
        assert!(matches!(watcher.watch_dir(other.path()), Err(DirWatchError::NotRunning(_))));
        drop(watcher);
    }
}
