//! The live world: real tmux, git, files, processes and clock behind [`Env`].
//!
//! Every effect becomes a task of its own, so a slow `git worktree add` or a hung tmux delays nobody else; what the
//! task finds goes into the inbox as an event. Nothing here decides: what was found is told as it was found.

mod hang;
mod launcher;
mod line;
mod link;
mod look;
mod perform;
mod remains;
mod sample;
mod watches;

pub use launcher::{LaunchError, Manifest, exec};

use super::clock::{Draws, Timeline};
use super::git::Git;
use super::kin::Kin;
use super::tmux::TmuxConfig;
use super::{Env, SpoolItem};
use crate::domain::effect::Ordered;
use crate::domain::event::{Event, Happened, Source};
use crate::domain::project::Project;
use crate::domain::time::Now;
use crate::spool;
use hang::{Single, Stuck};
use link::Link;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use watches::Watches;

/// Where things are, and what is run.
#[derive(Debug, Clone)]
pub struct Places {
    /// The installation's directory; paths in effects are relative to it.
    pub home: PathBuf,
    /// The spool.
    pub spool: PathBuf,
    /// The `orch` program, for the launcher and for agents.
    pub orch: PathBuf,
    /// The installation's mark; trace ids derive from it.
    pub installation: String,
    /// How tmux is reached.
    pub tmux: TmuxConfig,
    /// How git is run.
    pub git: Git,
}

/// What tasks need; cheap to clone.
#[derive(Clone)]
struct World {
    places: Arc<Places>,
    timeline: Timeline,
    inbox: mpsc::Sender<Happened>,
    link: Link,
    turns: Turns,
    tables: sample::Tables,
    kin: Kin,
    stuck: Stuck,
    surveying: Single,
    looking_at_kin: Single,
    directories: watches::Directories,
}

/// Whose turn it is to make a worktree, per repository: git's own `worktree add` is not safe beside another of the
/// same repository (it reads registrations that the other has only half written).
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>);

impl Turns {
    async fn take(&self, repo: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(repo.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

impl World {
    /// One without a connection, in which nothing has been seen.
    fn new(places: Places, timeline: Timeline, inbox: mpsc::Sender<Happened>) -> Self {
        Self {
            places: Arc::new(places),
            timeline,
            inbox,
            link: Link::new(),
            turns: Turns::default(),
            tables: sample::Tables::default(),
            kin: Kin::default(),
            stuck: Stuck::default(),
            surveying: Single::default(),
            looking_at_kin: Single::default(),
            directories: watches::Directories::default(),
        }
    }

    /// Tells an event as seen now. Waits if the inbox is full: events are never dropped (G13).
    async fn tell(&self, source: Source, event: Event) {
        let happened = Happened { seen_at: self.timeline.at(), source, event };
        // A closed inbox means that the loop has ended; there is nobody left to tell.
        drop(self.inbox.send(happened).await);
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.places.home.join(relative)
    }
}

/// The live world.
pub struct Live {
    world: World,
    runtime: Handle,
    draws: Draws,
    watches: Watches,
}

impl Live {
    /// Starts watching the spool; tmux is reached once [`Self::connect`] is called. Events go into
    /// `inbox`.
    ///
    /// # Errors
    /// In words, if the system's entropy or file watcher cannot be had.
    pub fn start(
        places: Places,
        timeline: Timeline,
        inbox: mpsc::Sender<Happened>,
        runtime: &Handle,
    ) -> Result<Self, String> {
        let draws = Draws::from_system().map_err(|error| format!("draw entropy: {error}"))?;
        let world = World::new(places, timeline, inbox);
        let watches = Watches::start(&world, runtime)?;
        Ok(Self { world, runtime: runtime.clone(), draws, watches })
    }
}

impl Live {
    /// Connects to tmux and stays connected; to be called once the projects are watched, so that it is known which
    /// server our sessions are on.
    pub fn connect(&self) {
        self.runtime.spawn(link::keep(self.world.clone()));
    }
}

impl Env for Live {
    fn now(&mut self) -> Now {
        self.world.timeline.now(&mut self.draws)
    }

    fn submit(&mut self, ordered: Ordered) {
        self.runtime.spawn(perform::perform(self.world.clone(), ordered));
    }

    fn watch(&mut self, project: &Project) {
        if let Some(server) = project.session.as_ref().filter(|_| project.session_live()).and_then(|s| s.server) {
            self.world.link.expect(server);
        }
        for role in &project.roles {
            if let (Some(token), Some(process)) = (&role.token, role.process) {
                self.world.kin.root(token, process);
            }
        }
        self.watches.follow(&self.world, &self.runtime, project);
    }

    fn drain_spool(&mut self) -> Vec<SpoolItem> {
        // Before it is read: what comes after that is told.
        if self.watches.follow_spool() {
            tracing::warn!("the spool was taken away and made again; it is watched again");
        }
        let at = self.world.timeline.at();
        spooled(&self.world.places.spool, |event| Happened { seen_at: at, source: Source::Spool, event })
    }

    fn consume(&mut self, item: &SpoolItem) {
        if let Err(error) = take_away(&self.world.places.spool, item) {
            // It is read again in the next turn; reports are idempotent, so that costs time, not truth.
            tracing::warn!(record = %item.name.display(), %error, "a spool record could not be taken away");
        }
    }
}

fn take_away(spool: &Path, item: &SpoolItem) -> std::io::Result<()> {
    let path = spool.join("new").join(&item.name);
    if item.usable { spool::consume(&path) } else { spool::reject(&path).map(drop) }
}

fn spooled(directory: &Path, happened: impl Fn(Event) -> Happened) -> Vec<SpoolItem> {
    let paths = match spool::list(directory) {
        Ok(paths) => paths,
        Err(error) => {
            tracing::warn!(%error, "the spool cannot be listed");
            return Vec::new();
        }
    };
    read_in_turn(paths, happened)
}

/// Reads records, up to one that cannot be read just now: it stays where it is, and so does what came after it.
fn read_in_turn(paths: Vec<PathBuf>, happened: impl Fn(Event) -> Happened) -> Vec<SpoolItem> {
    let mut items = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
        let (event, usable) = match spool::read(&path) {
            Ok(record) => {
                let spool::Record { project, role, epoch, token, report, .. } = record;
                (Event::Reported { project, role, epoch, token, report }, true)
            }
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "the spool is read on in the next turn");
                break;
            }
            Err(error) => {
                (Event::SpoolRejected { name: name.to_string_lossy().into_owned(), reason: error.to_string() }, false)
            }
        };
        items.push(SpoolItem { name, happened: happened(event), usable });
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Report;
    use crate::domain::id::{Epoch, ProjectId, RoleName, Token};
    use crate::env::scarce;
    use crate::spool::{Identity, Record};
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn a_report_that_cannot_be_read_for_want_of_descriptors_waits() {
        if !scarce::is_here("env::live::tests::a_report_that_cannot_be_read_for_want_of_descriptors_waits") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let identity = Identity {
            project: ProjectId(7),
            role: RoleName("developer".to_owned()),
            epoch: Epoch(1),
            token: Token("0123456789abcdef0123456789abcdef".to_owned()),
            spool: dir.path().join("spool"),
        };
        for at in 0..3 {
            let record = Record::new(&identity, Report::Done(None), at, 1);
            spool::write(&identity.spool, &record).expect("written");
        }
        let happened = |event| Happened { seen_at: crate::domain::time::Timestamp(0), source: Source::Spool, event };
        let paths = spool::list(&identity.spool).expect("listed");
        let taken = scarce::take_all();
        assert_eq!(read_in_turn(paths.clone(), happened), []);
        drop(taken);
        assert_eq!(read_in_turn(paths, happened).iter().filter(|item| item.usable).count(), 3);
    }

    #[test]
    fn a_record_whose_name_is_no_text_is_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let new = dir.path().join("new");
        std::fs::create_dir(&new).expect("made");
        let name = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
        std::fs::write(new.join(&name), "{}").expect("written");
        let happened = |event| Happened { seen_at: crate::domain::time::Timestamp(0), source: Source::Spool, event };
        let items = spooled(dir.path(), happened);
        assert_eq!(items.iter().map(|item| (&item.name, item.usable)).collect::<Vec<_>>(), [(&name, false)]);
        take_away(dir.path(), &items[0]).expect("taken away");
        assert_eq!(spooled(dir.path(), happened), []);
        assert!(dir.path().join("rejected").join(name).exists(), "kept for a person");
    }
}
