//! `orch serve`: the live shell around the loop.
//!
//! It owns the process: the lock, the lease, the signals, the timer, the HTTP port. It feeds the core with whatever
//! the sources told, wakes it for deadlines and sweeps, and publishes what was committed. It decides nothing.

use super::beat::Beat;
use super::core::Core;
use super::http;
use super::mark::Mark;
use super::pace::Reading;
use super::past::{self, Past};
use super::publish::Publisher;
use super::trouble::Keeper;
use crate::config::{Config, Home};
use crate::domain::event::Happened;
use crate::domain::id::{ProcessId, Token};
use crate::domain::limits::{self, deadline};
use crate::domain::signal::{Signal, What};
use crate::domain::time::{Span, Timestamp};
use crate::env::Env;
use crate::env::clock::{self, Draws, Timeline};
use crate::env::git::Git;
use crate::env::live::{Live, Places};
use crate::env::tmux::TmuxConfig;
use crate::env::{files, process};
use crate::store::{self, Mode, Store, StoreError};
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// How long a lock may outlive its holder's proved death, and how often it is tried meanwhile.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// See [`LOCK_PATIENCE`].
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// How often the database is backed up.
const BACKUP_EVERY: Span = Span::from_secs(3_600);

/// Why `orch serve` could not run, or could not go on.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Somebody else serves this installation (G10).
    #[error("another orchestrator (pid {pid}) serves {home}")]
    Held {
        /// Its process.
        pid: String,
        /// Which installation.
        home: PathBuf,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The surroundings are not as they must be.
    #[error("{what}: {why}")]
    Environment {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        why: String,
    },
}

fn environment(what: &'static str) -> impl Fn(std::io::Error) -> ServeError {
    move |error| ServeError::Environment { what, why: error.to_string() }
}

/// Serves the installation until it is told to stop by SIGTERM or SIGINT, which is its ordinary end. Agents outlive
/// it (G12).
///
/// `orch` is the program's own path, for the launcher and the agents.
///
/// # Errors
/// [`ServeError`]; what was committed until then stands.
pub fn serve(home: &Home, config: &Config, orch: PathBuf) -> Result<(), ServeError> {
    let lock = take_lock(home)?;
    let mut store = Store::open(&home.db(), Mode::Existing)?;
    store.quick_check()?;
    let timeline = Timeline::resume(store.anchor()?.as_ref()).map_err(environment("read the clock"))?;
    let past = Past::find(home, &mut store, &timeline)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(environment("start the runtime"))?;
    let mark = git_mark(&mut store)?;
    let installation = store.installation()?.unwrap_or_default();
    let places = places(home, config, orch, installation, &mark)?;
    let served = runtime.block_on(async {
        end_leftovers(&mark).await;
        run(home, config, store, timeline, places, past).await
    });
    // Tasks that still wait for the world are dropped: their outcomes are settled at the next start. Whoever is fenced
    // may not give them any time at all: the world belongs to somebody else.
    let fenced = matches!(served, Err(ServeError::Store(StoreError::Fenced { .. })));
    runtime.shutdown_timeout(if fenced { Duration::ZERO } else { Duration::from_millis(500) });
    drop(lock);
    served
}

fn take_lock(home: &Home) -> Result<File, ServeError> {
    let path = home.run_dir().join("serve.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(environment("open the lock"))?;
    let given_up = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(environment("lock the installation")(error.into())),
        }
        let lease = Store::open(&home.db(), Mode::ReadOnly).and_then(|store| store.lease()).ok().flatten();
        // A holder that is proved dead may have left a child between fork and exec that still has the descriptor; it
        // closes by itself in a moment (found by 300 random kill -9: a start right after one was refused).
        let dead = lease.as_ref().is_some_and(|lease| !process::is_alive(lease.holder));
        if !dead || Instant::now() >= given_up {
            let pid = lease.map_or_else(|| "unknown".to_owned(), |lease| lease.holder.pid.to_string());
            return Err(ServeError::Held { pid, home: home.dir().to_owned() });
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// The mark of this installation's git processes.
fn git_mark(store: &mut Store) -> Result<Token, ServeError> {
    let seed = clock::entropy().map_err(environment("draw entropy"))?;
    let fresh = seed.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(store.git_mark(&Token(fresh))?)
}

/// Ends the git processes of a predecessor that was killed: one that is still filling a worktree must not do so while
/// the worktree is made again (C06).
async fn end_leftovers(mark: &Token) {
    match process::end_all(&BTreeSet::from([mark.0.clone()]), process::END_GRACE).await {
        Ok(ended) if ended.term + ended.kill > 0 => {
            tracing::info!(ended = ended.term + ended.kill, "git processes of the last orchestrator were ended");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "git processes of the last orchestrator may still run"),
    }
}

fn places(
    home: &Home,
    config: &Config,
    orch: PathBuf,
    installation: String,
    mark: &Token,
) -> Result<Places, ServeError> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
    let socket = home
        .socket(runtime_dir.as_deref())
        .map_err(|error| ServeError::Environment { what: "place the tmux socket", why: error.to_string() })?;
    // The server keeps the environment it is started with and hands it to every agent: an allow-list (T19, G17).
    let mut env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| config.passes(name))
        .collect();
    env.sort();
    let deadline = Duration::from_micros(deadline::TMUX.0);
    Ok(Places {
        home: home.dir().to_owned(),
        spool: home.spool(),
        orch,
        installation,
        tmux: TmuxConfig { program: PathBuf::from(&config.tmux), socket, env, deadline },
        git: Git {
            program: PathBuf::from(&config.git),
            deadline: Duration::from_micros(deadline::GIT.0),
            marker: Some((process::INSTANCE_VARIABLE.to_owned(), mark.0.clone())),
        },
    })
}

/// The loop's own state beside the core.
struct Shell {
    core: Core<Live>,
    publisher: Publisher,
    timeline: Timeline,
    beat: Beat,
    next_backup: Timestamp,
    trouble: Keeper,
    mark: Mark,
    home: Home,
}

async fn run(
    home: &Home,
    config: &Config,
    mut store: Store,
    timeline: Timeline,
    places: Places,
    past: Past,
) -> Result<(), ServeError> {
    let publisher = Publisher::start(home, &store)?;
    let render = publisher.metrics(config.policy.clone());
    let address = http::start(config.http, home.db(), render).await.map_err(environment("serve HTTP"))?;
    let unidentified = environment("identify this process");
    let me = process::look_up(std::process::id()).map_err(&unidentified)?;
    let me = me.ok_or_else(|| unidentified(std::io::Error::other("/proc is not there, or does not show it")))?;
    store.take_lease(me, timeline.at(), Some(&address.to_string()))?;
    let (inbox, mut events) = mpsc::channel(limits::INBOX_EVENTS_MAX);
    let live = Live::start(places, timeline.clone(), inbox.clone(), &tokio::runtime::Handle::current())
        .map_err(|why| ServeError::Environment { what: "watch the world", why })?;
    let (mut core, unconfirmed) = Core::open_after(store, live, config.policy.clone(), past.first)?;
    // Not before that: the anchor names the boot that the processes in the rows belong to.
    core.store().set_anchor(&timeline.anchor())?;
    past::clear(home, core.fleet())();
    core.env().connect();
    let at = timeline.at();
    let mut shell = Shell {
        core,
        publisher,
        timeline: timeline.clone(),
        beat: Beat::new(reading(&timeline), Span::from_secs(config.sweep_s)),
        next_backup: at + first_backup(home),
        trouble: Keeper::new(home.run_dir(), me),
        mark: past.mark,
        home: home.clone(),
    };
    shell.announce(me, unconfirmed)?;
    // Before it says that it is ready: whoever reads that may stop it at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(environment("handle SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(environment("handle SIGINT"))?;
    let ready = json!({ "pid": me.pid, "http": address.to_string() }).to_string();
    files::write_atomic(&home.run_dir(), Path::new("serve.json"), ready.as_bytes(), 0o600)
        .map_err(environment("write serve.json"))?;
    let mut batch = Beat::first(past.renewed, at);
    let reason = loop {
        shell.turn(std::mem::take(&mut batch))?;
        let wait = shell.pause();
        let degraded = shell.trouble.is_on();
        tokio::select! {
            biased;
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            // Without a store nothing can be decided: what happens meanwhile waits in the inbox.
            _ = events.recv_many(&mut batch, limits::TURN_EVENTS_MAX), if !degraded => {}
            () = tokio::time::sleep(wait) => {}
        }
    };
    shell.farewell(reason)?;
    shell.trouble.leave();
    drop(std::fs::remove_file(home.run_dir().join("serve.json")));
    Ok(())
}

impl Shell {
    fn announce(&mut self, me: ProcessId, unconfirmed: u32) -> Result<(), StoreError> {
        let unfinished = u32::try_from(self.core.fleet().projects().count()).unwrap_or(u32::MAX);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let what = What::OrchestratorStarted { process: me, version, unfinished, unconfirmed };
        self.journal(what)?;
        self.mark()
    }

    /// Writes down that it was told to stop. A store that cannot be written does not keep it from stopping.
    ///
    /// # Errors
    /// Only [`StoreError::Fenced`]: what lies in the installation is somebody else's.
    fn farewell(&mut self, reason: &str) -> Result<(), StoreError> {
        match self.last_words(reason) {
            Err(error) if matches!(error, StoreError::Fenced { .. }) => Err(error),
            Err(error) => {
                tracing::error!(
                    %error,
                    "{reason}: it stops; the database could not be told, so the next start finds a lease that was not \
                     released and a journal without an end"
                );
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn last_words(&mut self, reason: &str) -> Result<(), StoreError> {
        let anchor = self.timeline.anchor();
        self.core.store().set_anchor(&anchor)?;
        self.journal(What::OrchestratorStopped { reason: reason.to_owned() })?;
        self.mark()?;
        self.core.store().release_lease()
    }

    fn journal(&mut self, what: What) -> Result<(), StoreError> {
        let now = self.core.env().now();
        self.core.store().journal(Signal::fleet(what), &now)?;
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let at = self.timeline.at();
        self.publisher.publish(self.core.store(), at);
    }

    /// One turn of the core over what was drained, and over what is due by the clock.
    ///
    /// # Errors
    /// Only [`StoreError::Fenced`]: nothing may be done any more.
    fn turn(&mut self, mut drained: Vec<Happened>) -> Result<(), StoreError> {
        let now = reading(&self.timeline);
        let at = now.at;
        let sweeps = self.beat.due(now, &self.core.fleet().tmux, !self.trouble.is_on(), &mut drained);
        self.publisher.drained(self.core.fleet(), &drained);
        match self.core.turn(drained) {
            Ok(()) => {
                self.beat.looked(now);
                self.trouble.over();
                self.publish();
                let took = self.timeline.at().since(at);
                Publisher::committed(took);
                if sweeps {
                    Publisher::reconciled(took);
                }
            }
            Err(error) => self.failed(error)?,
        }
        if !self.trouble.is_on() && self.beat.anchors(at) {
            let anchor = self.timeline.anchor();
            let set = self.core.store().set_anchor(&anchor).and_then(|()| self.mark());
            if let Err(error) = set {
                self.core.distrust();
                self.failed(error)?;
            }
        }
        if at >= self.next_backup && !self.trouble.is_on() {
            self.next_backup = at + BACKUP_EVERY;
            back_up(&self.home);
            drop(tokio::task::spawn_blocking(past::clear(&self.home, self.core.fleet())));
        }
        Ok(())
    }

    /// Nothing was performed. The next sweep sees everything anew (G15).
    fn failed(&mut self, error: StoreError) -> Result<(), StoreError> {
        if matches!(error, StoreError::Fenced { .. }) {
            return Err(error);
        }
        Publisher::refused(&error);
        self.trouble.met(&error);
        self.beat.refused(self.timeline.at());
        Ok(())
    }

    /// Keeps how far the journal got, beside the database.
    fn mark(&mut self) -> Result<(), StoreError> {
        let seq = self.core.store().last_seq()?;
        if seq != self.mark.seq {
            self.mark.seq = seq;
            self.mark.write(self.home.dir());
        }
        Ok(())
    }

    /// How long the loop is about to wait if nothing happens.
    fn pause(&mut self) -> Duration {
        if let Some(pause) = self.trouble.pause() {
            return pause;
        }
        let pause = self.beat.rest(self.timeline.at(), self.core.next_wake());
        Duration::from_micros(pause.0)
    }
}

/// Both clocks now.
fn reading(timeline: &Timeline) -> Reading {
    Reading { at: timeline.at(), boot: Span(clock::boot_us()) }
}

/// When the first backup is due: an hour after the last one, whoever made it.
fn first_backup(home: &Home) -> Span {
    let folder = home.backups();
    match store::remove_partial(&folder) {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "what an interrupted backup left is removed"),
        Err(error) => tracing::warn!(%error, "the folder of the backups cannot be cleaned"),
    }
    let age = store::newest_backup(&folder).map(|made| made.elapsed().unwrap_or_default());
    age.map_or(Span(0), |age| Span::from_secs(3_600_u64.saturating_sub(age.as_secs())))
}

/// Backs the database up, in a thread and over a connection of its own: the loop does not wait for it.
fn back_up(home: &Home) {
    let (db, folder) = (home.db(), home.backups());
    let wall = jiff::Timestamp::from_microsecond(clock::wall_us()).unwrap_or_default();
    let stamp = wall.strftime("%Y%m%dT%H%M%SZ").to_string();
    drop(tokio::task::spawn_blocking(move || match store::backup(&db, &folder, &stamp) {
        Ok(path) => tracing::info!(path = %path.display(), "the database is backed up"),
        Err(error) => tracing::error!(%error, "the database could not be backed up"),
    }));
}

/// A moment for a command that is not `orch serve`: the store's timeline, read on.
///
/// # Errors
/// If the clock or the system's entropy cannot be read.
pub fn moment(store: &mut Store) -> Result<crate::domain::time::Now, ServeError> {
    let stored = store.anchor()?;
    let timeline = Timeline::resume(stored.as_ref()).map_err(environment("read the clock"))?;
    if stored.is_none() {
        store.set_anchor(&timeline.anchor())?;
    }
    let mut draws = Draws::from_system().map_err(environment("draw entropy"))?;
    Ok(timeline.now(&mut draws))
}
