//! What is watched: a pidfd on every agent's process, inotify on every worktree's resources and on the spool.
//!
//! The set is derived from committed state alone ([`super::Env::watch`]), so it is right again after any restart.

use super::World;
use super::hang::Hung;
use crate::domain::event::{Event, Source};
use crate::domain::id::{ProcessId, ProjectId, RoleName};
use crate::domain::limits::{self, deadline};
use crate::domain::project::{Project, Role};
use crate::env::git;
use crate::env::process;
use crate::env::watch::{WatchEvent, Watcher};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;

type Whose = (ProjectId, RoleName);

/// A worktree that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    whose: Whose,
    /// The names in its top directory that matter.
    names: Vec<String>,
    /// The files that matter, relative to it.
    files: Vec<String>,
    /// What the last survey found of them; none before the first.
    seen: Option<u64>,
}

/// notify's end of the way of its events. It calls from its own thread and must not be made to wait; while the loop
/// takes nothing (the store fails, say) it goes on emptying the kernel's queue, so this queue has to have a bound.
struct Raw {
    events: mpsc::Sender<WatchEvent>,
    lost: Arc<Notify>,
}

/// The other end.
struct RawEvents {
    events: mpsc::Receiver<WatchEvent>,
    lost: Arc<Notify>,
}

fn raw(bound: usize) -> (Raw, RawEvents) {
    let (sender, receiver) = mpsc::channel(bound);
    let lost = Arc::new(Notify::new());
    (Raw { events: sender, lost: Arc::clone(&lost) }, RawEvents { events: receiver, lost })
}

impl Raw {
    /// Hands an event over; for one that finds no room everything is looked at instead.
    fn tell(&self, event: WatchEvent) {
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            self.lost.notify_one();
        }
    }
}

impl RawEvents {
    /// The next event; that some were lost comes after those that were not.
    async fn next(&mut self) -> Option<WatchEvent> {
        tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = self.lost.notified() => {
                let reason = "more happened than could be taken in".to_owned();
                Some(WatchEvent::Rescan { reason })
            }
        }
    }
}

/// Which directory belongs to whom.
pub(super) type Directories = Arc<Mutex<BTreeMap<PathBuf, Watched>>>;

/// Everything that is watched at the moment.
pub(super) struct Watches {
    processes: BTreeMap<Whose, (ProcessId, JoinHandle<()>)>,
    worktrees: BTreeMap<Whose, PathBuf>,
    directories: Directories,
    /// The spool's folder of waiting records.
    spool: PathBuf,
    watcher: Watcher,
}

impl Watches {
    pub(super) fn start(world: &World, runtime: &Handle) -> Result<Self, String> {
        let directories = Arc::clone(&world.directories);
        let (raw, events) = raw(limits::WATCH_EVENTS_MAX);
        let watcher = Watcher::new(move |event| raw.tell(event)).map_err(|error| error.to_string())?;
        let spool = world.places.spool.join("new");
        let mut watches = Self {
            processes: BTreeMap::new(),
            worktrees: BTreeMap::new(),
            directories: directories.clone(),
            spool: spool.clone(),
            watcher,
        };
        watches.watcher.watch_dir(&spool).map_err(|error| error.to_string())?;
        runtime.spawn(tell(world.clone(), spool, directories, events));
        Ok(watches)
    }

    /// Watches the spool again if it was taken away and is back: that is another directory, which nobody watches. True
    /// if so.
    pub(super) fn follow_spool(&mut self) -> bool {
        self.watcher.is_gone(&self.spool) && self.watcher.watch_dir(&self.spool).is_ok()
    }

    /// Watches what the project has now, and no longer what it had.
    pub(super) fn follow(&mut self, world: &World, runtime: &Handle, project: &Project) {
        let over = project.is_settled();
        for (index, role) in project.roles.iter().enumerate() {
            let whose = (project.id, role.name.clone());
            self.follow_process(world, runtime, &whose, role.process.filter(|_| !over));
            let files = files(project, index, role);
            let worktree = role.worktree.as_ref().filter(|worktree| worktree.ready && !over);
            self.follow_worktree(&whose, worktree.map(|worktree| world.path(&worktree.path)), files);
        }
    }

    fn follow_process(&mut self, world: &World, runtime: &Handle, whose: &Whose, process: Option<ProcessId>) {
        // Whose end was told and is still on record as living is told of once more: the turn may have been refused.
        let watched = self.processes.get(whose);
        if watched.is_some_and(|(watched, task)| Some(*watched) == process && !task.is_finished()) {
            return;
        }
        if let Some((_, task)) = self.processes.remove(whose) {
            task.abort();
        }
        if let Some(process) = process {
            let task = runtime.spawn(wait(world.clone(), whose.clone(), process));
            self.processes.insert(whose.clone(), (process, task));
        }
    }

    fn follow_worktree(&mut self, whose: &Whose, worktree: Option<PathBuf>, files: Vec<String>) {
        if self.worktrees.get(whose) == worktree.as_ref() {
            // One that was removed and is there again under its path is another directory, which nobody watches.
            if let Some(worktree) = worktree.filter(|worktree| self.watcher.is_gone(worktree)) {
                // Not there yet: the sweep looks at it until it is.
                drop(self.watcher.watch_dir(&worktree));
            }
            return;
        }
        if let Some(old) = self.worktrees.remove(whose) {
            lock(&self.directories).remove(&old);
            // It may be gone already, and its watch with it.
            drop(self.watcher.unwatch_dir(&old));
        }
        let Some(worktree) = worktree else { return };
        let first = |path: &String| path.split('/').next().unwrap_or(path).to_owned();
        let names = files.iter().map(first).collect();
        let watched = Watched { whose: whose.clone(), names, files, seen: None };
        lock(&self.directories).insert(worktree.clone(), watched);
        if let Err(error) = self.watcher.watch_dir(&worktree) {
            // The sweep still looks at it, seconds later rather than at once.
            tracing::warn!(directory = %worktree.display(), %error, "a worktree is not watched");
        }
        self.worktrees.insert(whose.clone(), worktree);
    }
}

/// What matters in a worktree: resources, and the link to git.
fn files(project: &Project, index: usize, role: &Role) -> Vec<String> {
    let mut names = vec!["CLAUDE.md".to_owned(), ".git".to_owned()];
    let wanted = |rule: &&crate::domain::spec::ResourceRule| rule.roles.is_empty() || rule.roles.contains(&role.name);
    if project.role_spec(index).is_some() {
        names.extend(project.spec.resources.iter().filter(wanted).map(|rule| rule.path.clone()));
    }
    names
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The map is whole after every statement, so a panic elsewhere does not make it unusable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for one process to end, then tells.
async fn wait(world: World, (project, role): Whose, process: ProcessId) {
    match process::wait_exit(process).await {
        Ok(_) => world.tell(Source::Pidfd, Event::ProcessGone { project, role, process }).await,
        // The sweep compares the panes all the same.
        Err(error) => tracing::warn!(%process, %error, "an agent's process is not watched"),
    }
}

/// Turns file events into events.
async fn tell(world: World, spool: PathBuf, directories: Directories, mut events: RawEvents) {
    while let Some(event) = events.next().await {
        match event {
            WatchEvent::Path(path) if path.parent() == Some(spool.as_path()) => {
                world.tell(Source::Spool, Event::SpoolTouched).await;
            }
            WatchEvent::Path(path) => {
                if let Some((project, role)) = whose(&directories, &path) {
                    world.tell(Source::Inotify, Event::FilesTouched { project, role }).await;
                }
            }
            WatchEvent::DirGone(directory) => {
                let found = lock(&directories).get(&directory).map(|watched| watched.whose.clone());
                if let Some((project, role)) = found {
                    world.tell(Source::Inotify, Event::FilesTouched { project, role }).await;
                }
            }
            WatchEvent::Rescan { reason } => {
                tracing::warn!(%reason, "file events may be missing; everything is looked at");
                world.tell(Source::Inotify, Event::SweepDue).await;
            }
        }
    }
}

fn whose(directories: &Directories, path: &Path) -> Option<Whose> {
    let name = path.file_name()?.to_str()?;
    let directories = lock(directories);
    let watched = directories.get(path.parent()?)?;
    watched.names.iter().any(|known| known == name).then(|| watched.whose.clone())
}

/// Compares everything that is watched with what the last survey found, by stat alone, and tells whose has changed:
/// a few microseconds a file, where reading and hashing all of them at every sweep would keep an idle fleet busy.
pub(super) async fn survey(world: &World) {
    let limit = Duration::from_micros(deadline::FILES.0);
    let changed = world.surveying.run("the survey of the worktrees", changed(world, limit, signature)).await;
    for (project, role) in changed.unwrap_or_default() {
        world.tell(Source::Sweep, Event::FilesTouched { project, role }).await;
    }
}

/// Whose worktree has changed. One that hangs ends the survey, and is left out of the next ones until it answers: the
/// others must be seen.
async fn changed(
    world: &World,
    limit: Duration,
    sign: impl Fn(&Path, &[String]) -> u64 + Clone + Send + 'static,
) -> Vec<Whose> {
    let mut changed = Vec::new();
    // The stats are taken without the lock: a file system may hang.
    let known: Vec<(PathBuf, Vec<String>)> =
        lock(&world.directories).iter().map(|(path, watched)| (path.clone(), watched.files.clone())).collect();
    for (path, files) in known {
        if world.stuck.at(&path) {
            continue;
        }
        let (place, sign) = (path.clone(), sign.clone());
        match world.stuck.run(&path, limit, move || sign(&place, &files)).await {
            Ok(now) => {
                if let Some(watched) = lock(&world.directories).get_mut(&path)
                    && watched.seen.replace(now) != Some(now)
                {
                    changed.push(watched.whose.clone());
                }
            }
            Err(hung) => {
                tracing::warn!(directory = %path.display(), ?hung, "a worktree cannot be surveyed");
                if hung == Hung::Deadline {
                    break;
                }
            }
        }
    }
    changed
}

/// What stat tells of a worktree, of its files and of git's part of it. The change time cannot be set back, so no
/// change of a content goes unseen.
fn signature(worktree: &Path, files: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut note = |path: &Path| match path.symlink_metadata() {
        Ok(about) => {
            (about.dev(), about.ino(), about.mode(), about.size()).hash(&mut hasher);
            (about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()).hash(&mut hasher);
        }
        Err(error) => error.raw_os_error().hash(&mut hasher),
    };
    files.iter().for_each(|file| note(&worktree.join(file)));
    if let Some(git_dir) = git::dir_of(worktree) {
        // The directory itself changes with every command; what matters is whether it is there, and a lock in it.
        note(&git_dir.join("gitdir"));
        note(&git_dir.join("locked"));
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::live::link::tests::apart;

    #[tokio::test]
    async fn a_spool_that_was_made_again_is_watched_again() {
        let home = tempfile::tempdir().expect("a directory");
        let new = home.path().join("spool/new");
        std::fs::create_dir_all(&new).expect("made");
        let (world, mut events) = apart(home.path());
        let mut watches = Watches::start(&world, &Handle::current()).expect("watched");
        assert!(!watches.follow_spool(), "it is there");
        std::fs::remove_dir(&new).expect("removed");
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !watches.watcher.is_gone(&new) {
            assert!(std::time::Instant::now() < end, "its end is told");
            std::thread::yield_now();
        }
        assert!(!watches.follow_spool(), "it is not there");
        std::fs::create_dir(&new).expect("made");
        assert_eq!([watches.follow_spool(), watches.follow_spool()], [true, false], "once");
        std::fs::write(new.join("a"), "").expect("written");
        let told = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.expect("told in time");
        assert_eq!(told.map(|happened| happened.event), Some(Event::SpoolTouched));
    }

    #[tokio::test]
    async fn a_worktree_that_hangs_is_left_out_until_it_answers() {
        let home = tempfile::tempdir().expect("a directory");
        let (world, _events) = apart(home.path());
        let whose = |role: &str| (ProjectId(1), RoleName(role.to_owned()));
        for role in ["a", "hung", "z"] {
            let watched = Watched { whose: whose(role), names: Vec::new(), files: Vec::new(), seen: None };
            lock(&world.directories).insert(role.into(), watched);
        }
        let (hangs, released) = std::sync::mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let sign = move |path: &Path, _: &[String]| {
            if path == Path::new("hung") {
                let _ = lock(&released).recv_timeout(Duration::from_secs(60));
            }
            7
        };
        let short = Duration::from_millis(50);
        assert_eq!(changed(&world, short, sign.clone()).await, [whose("a")]);
        assert_eq!(changed(&world, short, sign.clone()).await, [whose("z")], "the others are seen");
        drop(hangs);
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        while world.stuck.at(Path::new("hung")) {
            assert!(tokio::time::Instant::now() < end, "it has answered");
            tokio::task::yield_now().await;
        }
        assert_eq!(changed(&world, Duration::from_secs(30), sign).await, [whose("hung")]);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_told_as_one_loss() {
        async fn soon(events: &mut RawEvents) -> Option<WatchEvent> {
            tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("told in time")
        }
        let (raw, mut events) = raw(2);
        let touched = |name: &str| WatchEvent::Path(PathBuf::from(name));
        ["a", "b", "c", "d"].map(touched).into_iter().for_each(|event| raw.tell(event));
        assert_eq!(soon(&mut events).await, Some(touched("a")));
        assert_eq!(soon(&mut events).await, Some(touched("b")));
        assert!(matches!(soon(&mut events).await, Some(WatchEvent::Rescan { .. })));
        raw.tell(touched("e"));
        assert_eq!(soon(&mut events).await, Some(touched("e")), "and it is told once");
        drop(raw);
        assert_eq!(soon(&mut events).await, None);
    }

    #[test]
    fn any_change_of_a_file_is_another_signature() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("CLAUDE.md");
        let files = ["CLAUDE.md".to_owned(), "sub/other".to_owned()];
        let mut seen = vec![signature(dir.path(), &files)];
        let mut look = || {
            let now = signature(dir.path(), &files);
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        std::fs::write(&file, "one").expect("written");
        look();
        // Of the same size, by another file in its place.
        std::fs::write(dir.path().join("new"), "two").expect("written");
        std::fs::rename(dir.path().join("new"), &file).expect("renamed");
        look();
        std::fs::create_dir(dir.path().join("sub")).expect("a directory");
        std::fs::write(dir.path().join("sub/other"), "x").expect("written");
        look();
        std::fs::remove_file(&file).expect("removed");
        std::fs::create_dir(&file).expect("a directory in its place");
        look();
        assert_eq!(signature(dir.path(), &files), seen[4], "nothing has changed since");
    }
}
