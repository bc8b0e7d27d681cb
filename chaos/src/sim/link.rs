//! What an orchestrator has of the world: its connection to tmux and its watches.
//!
//! The model of the live link: one control connection, kept, lost, found again; while the server that its sessions
//! are on lives, no other is listened to, and an unlinked socket is asked back (T10).

use super::deed::{Deed, Undo};
use super::kernel::Program;
use super::tmux::Server;
use super::world::{Ev, World};
use crate::witness::{Fact, LINK};
use orchestrator::domain::event::{Event, Source};
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use std::collections::BTreeMap;

/// The pauses between attempts to reach tmux: the first, and the longest.
const PAUSES_US: (u64, u64) = (10_000, 1_000_000);
/// How long a connection to a server that does not answer is waited for.
const CONNECT_US: u64 = 10_000_000;
/// How long a list may take before tmux counts as not answering.
const LIST_US: u64 = 4_000_000;

/// What a connection that cannot be made ends with.
const REFUSED: &str = "error connecting: Resource temporarily unavailable";

/// Whose watch it is.
pub type Whose = (ProjectId, RoleName);

/// A worktree that is watched: its path, which directory it was, and what the last survey found there.
pub type Tree = (String, u64, Option<(u64, u64)>);

/// An orchestrator, as the world knows it.
#[derive(Debug)]
pub struct Life {
    /// Whether its process lives.
    pub alive: bool,
    /// Whether it is stopped, and so takes nothing in.
    pub paused: bool,
    /// The server it is connected to.
    pub link: Option<ProcessId>,
    /// The server that its sessions are on.
    pub expected: Option<ProcessId>,
    /// Whether the loss of the connection has been told.
    pub told: bool,
    /// Whether a list after a notification is under way.
    pub notified: bool,
    /// The pause before the next attempt.
    pub pause: u64,
    /// Processes that are watched.
    pub processes: BTreeMap<Whose, ProcessId>,
    /// Directories that are watched.
    pub trees: BTreeMap<Whose, Tree>,
    /// Jobs that wait for the connection.
    pub waiting: Vec<u64>,
}

impl Life {
    /// An orchestrator that has just started.
    #[must_use]
    pub fn new() -> Self {
        Self {
            alive: true,
            paused: false,
            link: None,
            expected: None,
            told: false,
            notified: false,
            pause: PAUSES_US.0,
            processes: BTreeMap::new(),
            trees: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Starts a server, with nothing on it but the keeper.
    pub fn start_server(&mut self) -> ProcessId {
        let id = self.kernel.spawn(self.at, Program::Server, None);
        self.server = Some(Server::new(id));
        self.witness(Fact::ServerUp { server: id });
        let squatters: Vec<String> = self.squatters.iter().cloned().collect();
        for name in squatters {
            self.squat(&name);
        }
        id
    }

    /// Somebody else's session of that name.
    pub fn squat(&mut self, name: &str) -> bool {
        let process = self.kernel.spawn(self.at, Program::Stranger, None);
        let Some(server) = &mut self.server else { return false };
        if !server.create(name, None) {
            return false;
        }
        server.open(name, process, None);
        self.witness(Fact::SessionUp { name: name.to_owned(), token: None, ours: false });
        self.sessions_changed();
        true
    }

    /// An attempt to reach tmux.
    pub(super) fn connect(&mut self, life: usize) {
        if !self.lives[life].alive || self.lives[life].link.is_some() {
            return;
        }
        if self.lives[life].paused {
            // A stopped process reaches for nothing.
            self.after(PAUSES_US.0, Ev::Connect { life });
            return;
        }
        let expected = self.lives[life].expected.filter(|server| self.kernel.is_alive(*server));
        let found = self.server.as_mut();
        let id = match found {
            None => self.start_server(),
            Some(_) if self.refusing => {
                let pause = self.lives[life].pause;
                self.lives[life].pause = (pause * 2).min(PAUSES_US.1);
                self.after(pause, Ev::Connect { life });
                self.unreachable(life, REFUSED);
                return;
            }
            Some(server) if server.stopped => {
                self.after(CONNECT_US, Ev::Connect { life });
                self.unreachable(life, "tmux did not answer in time");
                return;
            }
            Some(server) if !server.socket => {
                if expected == Some(server.id) {
                    self.keep_socket(life);
                    let after = self.takes(500, 10_000);
                    self.after(after, Ev::Connect { life });
                } else {
                    // Nobody knows of the old server: what is started at its path is a second one. The first, without
                    // a socket, is out of everyone's reach; its sessions die with it here, which is the worst case.
                    let old = server.id;
                    self.end(old, None, Some(9));
                    self.after(PAUSES_US.0, Ev::Connect { life });
                }
                return;
            }
            Some(server) => server.id,
        };
        let is = &mut self.lives[life];
        (is.link, is.expected, is.told, is.pause) = (Some(id), Some(id), false, PAUSES_US.0);
        is.notified = true;
        let after = self.takes(2_000, 6_000);
        self.after(after, Ev::List { life, source: Source::Control });
    }

    fn unreachable(&mut self, life: usize, reason: &str) {
        if !std::mem::replace(&mut self.lives[life].told, true) {
            self.tell(life, 0, Source::Control, Event::TmuxLost { reason: reason.to_owned() });
        }
    }

    /// The connection's end is noticed.
    pub(super) fn link_lost(&mut self, life: usize, server: ProcessId) {
        if !self.lives[life].alive || self.lives[life].link != Some(server) {
            return;
        }
        self.lives[life].link = None;
        self.lives[life].notified = false;
        self.unreachable(life, if self.refusing { REFUSED } else { "server exited unexpectedly" });
        let pause = self.lives[life].pause;
        self.lives[life].pause = (pause * 2).min(PAUSES_US.1);
        self.after(pause, Ev::Connect { life });
    }

    /// Every connection breaks, and nobody can make another; the server and all that is on it live.
    pub(super) fn refuse_connections(&mut self, lasts: u64) -> Deed {
        let Some(server) = self.server.as_ref().map(|server| server.id) else { return Deed::Nothing("no server runs") };
        let linked: Vec<usize> = self.living().filter(|life| self.lives[*life].link == Some(server)).collect();
        if linked.is_empty() || self.refusing {
            return Deed::Nothing("nobody is connected to it");
        }
        self.refusing = true;
        self.witness(Fact::Hindered { by: LINK });
        for life in linked {
            self.leave_unanswered(life);
            let after = self.takes(700, 5_000);
            self.after(after, Ev::Lost { life, server });
        }
        Deed::Until(Undo::Connect, lasts)
    }

    /// Connections can be made again.
    pub fn take_connections(&mut self) {
        if std::mem::take(&mut self.refusing) {
            self.witness(Fact::Unhindered { by: LINK });
        }
    }

    /// Lists every pane for an orchestrator, for a notification or a sweep.
    pub(super) fn list(&mut self, life: usize, source: Source) {
        if !self.lives[life].alive {
            return;
        }
        let Some(server) = self.server.as_ref().filter(|server| Some(server.id) == self.lives[life].link) else {
            return;
        };
        if server.stopped {
            // A notification's list just waits, and is there when the server goes on; a sweep's gives up.
            if source == Source::Sweep {
                self.after(LIST_US, Ev::ListLate { life });
            } else {
                self.after(200_000, Ev::List { life, source });
            }
            return;
        }
        let listed = Event::PanesListed { server: server.id, panes: server.list() };

        if source == Source::Sweep {
            self.keep_socket(life);
        } else {
            self.lives[life].notified = false;
        }
        self.tell(life, 0, source, listed);
        // Effects get the connection only after the first list has been told.
        for job in std::mem::take(&mut self.lives[life].waiting) {
            self.resume(job);
        }
    }

    /// The socket is found gone from under a server that lives, and the server is asked to make it again (T10).
    fn keep_socket(&mut self, life: usize) {
        if let Some(server) = self.server.as_mut().filter(|server| !server.socket) {
            server.socket = true;
            let restored = Event::SocketRestored { server: server.id };
            self.tell(life, 0, Source::Sweep, restored);
        }
    }

    /// A sweep's list has not come in time.
    pub(super) fn list_late(&mut self, life: usize) {
        if !self.lives[life].alive || self.lives[life].link.is_none() {
            return;
        }
        if self.server.as_ref().is_some_and(|server| server.stopped) {
            let reason = format!("tmux has not answered for {} s", LIST_US / 1_000_000);
            self.tell(life, 0, Source::Sweep, Event::TmuxLost { reason });
        } else {
            self.list(life, Source::Sweep);
        }
    }

    /// The server is stopped, and so answers nothing.
    pub fn stop_server(&mut self) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| !server.stopped) else { return false };
        server.stopped = true;
        self.witness(Fact::ServerStopped);
        true
    }

    /// It goes on, with whatever it was asked meanwhile (T8).
    pub fn continue_server(&mut self) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.stopped) else { return false };
        server.stopped = false;
        let unread: Vec<u64> = std::mem::take(&mut server.unread).into();
        self.witness(Fact::ServerContinued);
        // Whoever was waiting for it to answer is answered now.
        for life in self.living() {
            if self.lives[life].link.is_none() {
                self.after(1_000, Ev::Connect { life });
            }
        }
        for job in unread {
            self.read(job);
        }
        true
    }
}
