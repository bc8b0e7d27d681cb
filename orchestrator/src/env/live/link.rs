//! The one connection to tmux: kept, lost, found again.
//!
//! Losing it is an observation of its own (nothing is known of the sessions), never a death. What the server says
//! after a reconnect is the truth from then on.

use super::World;
use crate::domain::event::{Event, PaneSeen, Source};
use crate::domain::id::{ProcessId, Token};
use crate::env::process;
use crate::env::tmux::{self, Control, Notice, ServerId, TmuxError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Pauses between attempts to connect: short at first, since a server that was just killed is started again at
/// once; a second at most, so that a hung one is not hammered.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The connection as tasks see it.
#[derive(Clone)]
pub(super) struct Link {
    current: Arc<watch::Sender<Option<Control>>>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { current: Arc::new(watch::Sender::new(None)) }
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
    let mut last: Option<ServerId> = None;
    let mut told = false;
    while !world.inbox.is_closed() {
        if let Some(server) = last {
            revive_socket(&world, server);
        }
        match Control::connect(&world.places.tmux).await {
            Ok((control, notices)) => {
                (pause, told) = (RECONNECT_PAUSES.0, false);
                last = Some(control.server());
                world.link.current.send_replace(Some(control.clone()));
                let reason = follow(&world, &control, notices).await;
                world.link.current.send_replace(None);
                world.tell(Source::Control, Event::TmuxLost { reason }).await;
            }
            Err(error) => {
                if !told {
                    tracing::warn!(%error, "tmux cannot be reached");
                    world.tell(Source::Control, Event::TmuxLost { reason: error.to_string() }).await;
                    told = true;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(pause_max);
            }
        }
    }
}

/// A server that lives without its socket is asked to make it again, before another is started beside it (T10).
fn revive_socket(world: &World, server: ServerId) {
    let alive = process::is_alive(ProcessId { pid: server.pid, start: server.start });
    if alive
        && !world.places.tmux.socket.exists()
        && let Err(error) = tmux::recreate_socket(server)
    {
        tracing::warn!(%error, "the tmux server could not be asked for its socket");
    }
}

/// Lists once, then after every notice; answers why the connection ended.
async fn follow(world: &World, control: &Control, mut notices: mpsc::Receiver<Notice>) -> String {
    loop {
        match tmux::list_panes(control).await {
            Ok(panes) => world.tell(Source::Control, listed(control, panes)).await,
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
    let server = control.server();
    let seen = |pane: tmux::Pane| PaneSeen {
        pane: pane.pane,
        pid: pane.pid,
        dead: pane.dead,
        session: pane.session,
        session_token: pane.session_token.map(Token),
        role_token: pane.role_token.map(Token),
    };
    let server = ProcessId { pid: server.pid, start: server.start };
    Event::PanesListed { server, panes: panes.into_iter().map(seen).collect() }
}
