//! The one connection to tmux: kept, lost, found again.
//!
//! Losing it is an observation of its own (nothing is known of the sessions), never a death. What the server says
//! after a reconnect is the truth from then on. While the server that our sessions are on lives, no other server is
//! listened to: an answer from another one is therefore proof that ours is gone.

use super::World;
use super::line::BRIEF_BUFFER;
use crate::domain::event::{Event, PaneSeen, Source};
use crate::domain::id::{ProcessId, Token};
use crate::env::process;
use crate::env::tmux::{self, Control, Notice, ServerId, TmuxError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Pauses between attempts to connect: short at first, since a server that was just killed is started again at
/// once; a second at most, so that a hung one is not hammered.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long a server that lives without its socket may take to make it again.
const SOCKET_PATIENCE: Duration = Duration::from_millis(500);

/// The connection as tasks see it.
#[derive(Clone)]
pub(super) struct Link {
    current: Arc<watch::Sender<Option<Control>>>,
    /// The server that our sessions were confirmed on; while its process lives, no other will do.
    expected: Arc<Mutex<Option<ServerId>>>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { current: Arc::new(watch::Sender::new(None)), expected: Arc::default() }
    }

    /// Notes the server that sessions of ours are on.
    pub(super) fn expect(&self, server: ServerId) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// That server, if its process lives.
    fn expected_alive(&self) -> Option<ServerId> {
        let expected = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.filter(|server| process::is_alive(*server))
    }

    /// The connection, waiting for it at most `patience`.
    pub(super) async fn control(&self, patience: Duration) -> Result<Control, TmuxError> {
        let mut current = self.current.subscribe();
        let found = tokio::time::timeout(patience, current.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(control)) => control.clone().ok_or_else(|| lost("the connection was closed")),
            Ok(Err(_)) => Err(lost("the connection was closed for good")),
            Err(_) => Err(lost("tmux could not be reached in time")),
        }
    }
}

fn lost(reason: &str) -> TmuxError {
    TmuxError::Lost { reason: reason.to_owned() }
}

/// Keeps the connection for ever: connects, tells what there is, follows the notices, connects again.
pub(super) async fn keep(world: World) {
    tmux::reap_orphaned_clients(&world.places.tmux.socket);
    let (mut pause, pause_max) = RECONNECT_PAUSES;
    let mut told = false;
    while !world.inbox.is_closed() {
        let reason = match connect(&world).await {
            Ok((control, notices)) => {
                (pause, told) = (RECONNECT_PAUSES.0, false);
                world.link.expect(control.server());
                let reason = follow(&world, &control, notices).await;
                world.link.current.send_replace(None);
                reason
            }
            Err(reason) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(pause_max);
                reason
            }
        };
        // Told once for each loss: every further attempt that fails is the same one.
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%reason, "tmux cannot be reached");
            world.tell(Source::Control, Event::TmuxLost { reason }).await;
        }
    }
}

/// Connects to the server that our sessions are on, if that lives; only if it does not, to any.
async fn connect(world: &World) -> Result<(Control, mpsc::Receiver<Notice>), String> {
    if let Some(server) = world.link.expected_alive() {
        keep_socket(world, server).await;
    }
    let (control, notices) = Control::connect(&world.places.tmux).await.map_err(|error| error.to_string())?;
    let Some(expected) = world.link.expected_alive().filter(|expected| *expected != control.server()) else {
        return Ok((control, notices));
    };
    // The socket leads to another server while ours lives (T10). If that other one is empty, it is the one that the
    // connection itself has just started; it goes, and ours is asked to take the socket back.
    if tmux::list_panes(&control).await.is_ok_and(|panes| panes.is_empty()) {
        drop(tmux::kill_server(&control).await);
    }
    drop((control, notices));
    // Whose socket is there now is not known, so nothing is told of it.
    ask_for_socket(expected);
    Err(format!("the tmux server with our sessions (pid {}) lives, and its socket led to another", expected.pid))
}

/// Puts the socket back under a server that lives on without it, and tells of it: nothing is lost yet, but nobody could
/// attach, and the next connection would start a second server.
pub(super) async fn keep_socket(world: &World, server: ServerId) {
    let there = || world.places.tmux.socket.exists();
    if there() || !ask_for_socket(server) {
        return;
    }
    let deadline = tokio::time::Instant::now() + SOCKET_PATIENCE;
    while !there() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(RECONNECT_PAUSES.0).await;
    }
    if there() {
        world.tell(Source::Sweep, Event::SocketRestored { server }).await;
    }
}

/// Asks a server to make its socket again; whether it could be asked.
fn ask_for_socket(server: ServerId) -> bool {
    let asked = tmux::recreate_socket(server);
    if let Err(error) = &asked {
        tracing::warn!(%error, "the tmux server could not be asked for its socket");
    }
    asked.is_ok()
}

/// Lists once, then after every notice; answers why the connection ended.
async fn follow(world: &World, control: &Control, mut notices: mpsc::Receiver<Notice>) -> String {
    let mut shared = false;
    loop {
        match tmux::list_panes(control).await {
            Ok(panes) => {
                world.tell(Source::Control, listed(control, panes)).await;
                // Effects get the connection only after the first list has been told: what is known of the server as
                // a whole is decided before what each effect finds on it.
                if !std::mem::replace(&mut shared, true) {
                    // Nothing is being pasted before the connection is shared: what is there was left by a crash.
                    if let Err(error) = tmux::forget_buffers(control, BRIEF_BUFFER).await {
                        tracing::warn!(%error, "buffers that were left behind could not be deleted");
                    }
                    world.link.current.send_replace(Some(control.clone()));
                }
            }
            // Nobody else has this connection yet, the sweep neither: it would wait for a notice that may never come.
            Err(error) if !shared => return error.to_string(),
            // The notice of the loss follows; a refusal or a timeout leaves it to the next notice or sweep.
            Err(error) => tracing::warn!(%error, "panes could not be listed"),
        }
        match notices.recv().await {
            Some(Notice::Changed) => {}
            Some(Notice::Lost { reason }) => return reason,
            None => return "the connection's reader ended".to_owned(),
        }
    }
}

/// The event that a complete list is.
pub(super) fn listed(control: &Control, panes: Vec<tmux::Pane>) -> Event {
    let seen = |pane: tmux::Pane| PaneSeen {
        pane: pane.pane,
        pid: pane.pid,
        dead: pane.dead,
        session: pane.session,
        session_token: pane.session_token.map(Token),
        role_token: pane.role_token.map(Token),
    };
    let server: ProcessId = control.server();
    Event::PanesListed { server, panes: panes.into_iter().map(seen).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Places;
    use super::*;
    use crate::env::clock::Timeline;
    use crate::env::git::Git;
    use crate::env::tmux::TmuxConfig;
    use rustix::process::Signal;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    /// Longer than anything may take on a machine under load.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server that does not outlive its test.
    struct Ours(ServerId);

    impl Drop for Ours {
        fn drop(&mut self) {
            drop(process::signal(self.0, Signal::KILL));
        }
    }

    /// A world without a connection, and what is told in it.
    fn world(home: &Path, tmux: TmuxConfig) -> (World, mpsc::Receiver<crate::domain::event::Happened>) {
        let git = Git { program: "git".into(), deadline: PATIENCE, marker: None };
        let (spool, orch, installation) = (home.join("spool"), "/bin/orch".into(), "ab12".to_owned());
        let places = Places { home: home.to_owned(), spool, orch, installation, tmux, git };
        let (inbox, events) = mpsc::channel(16);
        let world = World::new(places, Timeline::resume(None).expect("a clock"), inbox);
        (world, events)
    }

    /// A world that never reaches a tmux.
    pub(in crate::env::live) fn apart(home: &Path) -> (World, mpsc::Receiver<crate::domain::event::Happened>) {
        world(home, TmuxConfig { program: "tmux".into(), socket: home.join("s"), env: Vec::new(), deadline: PATIENCE })
    }

    /// Where a server may be started, if tmux is there at all.
    async fn ground() -> Option<(tempfile::TempDir, TmuxConfig)> {
        if let Err(error) = tmux::version("tmux".as_ref()).await {
            eprintln!("not tested: {error}");
            return None;
        }
        let private = std::fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(private).tempdir().expect("a directory");
        let path = std::env::var("PATH").expect("a PATH");
        let env = vec![("PATH".to_owned(), path)];
        let config = TmuxConfig { program: "tmux".into(), socket: dir.path().join("s"), env, deadline: PATIENCE };
        Some((dir, config))
    }

    /// The other one's socket is not ours put back.
    #[tokio::test]
    async fn a_server_that_hangs_without_its_socket_has_not_restored_it() {
        let Some((dir, config)) = ground().await else { return };
        let (control, notices) = Control::connect(&config).await.expect("a server");
        let ours = Ours(control.server());
        let (world, mut events) = world(dir.path(), config.clone());
        world.link.expect(ours.0);
        drop((control, notices));
        process::signal(ours.0, Signal::STOP).expect("stopped");
        std::fs::remove_file(&config.socket).expect("removed");
        for _ in 0..3 {
            let reason = connect(&world).await.map(|(control, _)| control.server()).expect_err("another server");
            assert!(reason.contains("led to another"), "{reason}");
        }
        assert!(events.try_recv().is_err(), "nothing was restored");
        process::signal(ours.0, Signal::CONT).expect("goes on");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while connect(&world).await.map_or(true, |(control, _)| control.server() != ours.0) {
            assert!(tokio::time::Instant::now() < deadline, "it is found again");
        }
    }

    #[tokio::test]
    async fn a_connection_whose_first_list_does_not_come_is_given_up() {
        let Some((dir, mut config)) = ground().await else { return };
        let (first, _notices) = Control::connect(&config).await.expect("a server");
        let _server = Ours(first.server());
        // The server is there already, so the second connection needs little of its short deadline.
        config.deadline = Duration::from_secs(5);
        let (control, notices) = Control::connect(&config).await.expect("a connection");
        let (world, _events) = world(dir.path(), config);
        process::signal(control.server(), Signal::STOP).expect("stopped");
        let ended = tokio::time::timeout(PATIENCE, follow(&world, &control, notices)).await;
        let reason = ended.expect("nobody would ever get this connection, and nobody another");
        assert!(reason.contains("did not answer"), "{reason}");
    }
}
