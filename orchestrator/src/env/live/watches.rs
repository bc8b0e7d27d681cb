//! What is watched: a pidfd on every agent's process, inotify on every worktree's resources and on the spool.
//!
//! The set is derived from committed state alone ([`super::Env::watch`]), so it is right again after any restart.

use super::World;
use crate::domain::event::{Event, Source};
use crate::domain::id::{ProcessId, ProjectId, RoleName};
use crate::domain::project::{Project, Role};
use crate::env::process;
use crate::env::watch::{WatchEvent, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Whose = (ProjectId, RoleName);

/// Which directory belongs to whom, and which names in it matter.
type Directories = Arc<Mutex<BTreeMap<PathBuf, (Whose, Vec<String>)>>>;

/// Everything that is watched at the moment.
pub(super) struct Watches {
    processes: BTreeMap<Whose, (ProcessId, JoinHandle<()>)>,
    worktrees: BTreeMap<Whose, PathBuf>,
    directories: Directories,
    watcher: Watcher,
}

impl Watches {
    pub(super) fn start(world: &World, runtime: &Handle) -> Result<Self, String> {
        let directories = Directories::default();
        let (raw, events) = mpsc::unbounded_channel();
        // notify calls from its own thread and must not be made to wait: the channel is unbounded, and what it holds
        // is bounded by the kernel's own queue (which reports an overflow as a rescan).
        let watcher = Watcher::new(move |event| drop(raw.send(event))).map_err(|error| error.to_string())?;
        let mut watches =
            Self { processes: BTreeMap::new(), worktrees: BTreeMap::new(), directories: directories.clone(), watcher };
        let spool = world.places.spool.join("new");
        watches.watcher.watch_dir(&spool).map_err(|error| error.to_string())?;
        runtime.spawn(tell(world.clone(), spool, directories, events));
        Ok(watches)
    }

    /// Watches what the project has now, and no longer what it had.
    pub(super) fn follow(&mut self, world: &World, runtime: &Handle, project: &Project) {
        let over = project.is_settled();
        for (index, role) in project.roles.iter().enumerate() {
            let whose = (project.id, role.name.clone());
            self.follow_process(world, runtime, &whose, role.process.filter(|_| !over));
            let names = names(project, index, role);
            let worktree = role.worktree.as_ref().filter(|worktree| worktree.ready && !over);
            self.follow_worktree(&whose, worktree.map(|worktree| world.path(&worktree.path)), names);
        }
    }

    fn follow_process(&mut self, world: &World, runtime: &Handle, whose: &Whose, process: Option<ProcessId>) {
        if self.processes.get(whose).map(|(watched, _)| *watched) == process {
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

    fn follow_worktree(&mut self, whose: &Whose, worktree: Option<PathBuf>, names: Vec<String>) {
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
        lock(&self.directories).insert(worktree.clone(), (whose.clone(), names));
        if let Err(error) = self.watcher.watch_dir(&worktree) {
            // The sweep still looks at it, seconds later rather than at once.
            tracing::warn!(directory = %worktree.display(), %error, "a worktree is not watched");
        }
        self.worktrees.insert(whose.clone(), worktree);
    }
}

/// The names in the worktree's top directory that matter: resources, and the link to git.
fn names(project: &Project, index: usize, role: &Role) -> Vec<String> {
    let first = |path: &str| path.split('/').next().unwrap_or(path).to_owned();
    let mut names = vec!["CLAUDE.md".to_owned(), ".git".to_owned()];
    let wanted = |rule: &&crate::domain::spec::ResourceRule| rule.roles.is_empty() || rule.roles.contains(&role.name);
    if project.role_spec(index).is_some() {
        names.extend(project.spec.resources.iter().filter(wanted).map(|rule| first(&rule.path)));
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
async fn tell(world: World, spool: PathBuf, directories: Directories, mut events: mpsc::UnboundedReceiver<WatchEvent>) {
    while let Some(event) = events.recv().await {
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
                let found = lock(&directories).get(&directory).map(|(whose, _)| whose.clone());
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
    let (whose, names) = directories.get(path.parent()?)?;
    names.iter().any(|known| known == name).then(|| whose.clone())
}
