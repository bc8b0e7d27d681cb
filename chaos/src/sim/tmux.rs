//! The simulated tmux server: sessions, panes, and what it does with what it is asked.
//!
//! Facts it models, by their numbers in `reference/platform-facts.md`: ids restart in a new server (T6); create and
//! tag are one message (T7); what was asked of a stopped server is done when it goes on, whoever has given up by then
//! (T8, T9); an unlinked socket is no dead server (T10); a dead pane is kept with its status (T13); paste reaches a
//! pane in copy mode while keys do not (T15, T17); exit statuses get lost (T24).

use orchestrator::domain::event::{PaneEnd, PaneSeen};
use orchestrator::domain::id::{ProcessId, Token};
use std::collections::{BTreeMap, VecDeque};

/// A pane.
#[derive(Debug, Clone)]
pub struct Pane {
    /// `%N`.
    pub id: String,
    /// The process it was started with.
    pub process: ProcessId,
    /// `@orch_role_instance`.
    pub token: Option<Token>,
    /// How its process ended, once it has.
    pub end: Option<End>,
    /// What was pasted and not yet sent.
    pub typed: Option<String>,
    /// Whether it is in copy mode: keys, and so Enter, do not reach the program.
    pub copy_mode: bool,
}

/// How a pane's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Exit code.
    pub code: Option<i32>,
    /// Signal.
    pub signal: Option<i32>,
    /// Whether tmux missed the signal of its death, and knows neither until it is told to look (T24).
    pub missed: bool,
}

/// A session.
#[derive(Debug, Clone)]
pub struct Session {
    /// `@orch_instance`.
    pub token: Option<Token>,
    /// Its windows, of one pane each.
    pub panes: Vec<Pane>,
}

/// The server.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub id: ProcessId,
    /// Whether it is stopped.
    pub stopped: bool,
    /// Whether its socket is where it should be.
    pub socket: bool,
    sessions: BTreeMap<String, Session>,
    /// Jobs whose message waits to be read.
    pub unread: VecDeque<u64>,
    next_pane: u32,
}

impl Server {
    /// A server with nothing but its keeper.
    #[must_use]
    pub fn new(id: ProcessId) -> Self {
        Self { id, stopped: false, socket: true, sessions: BTreeMap::new(), unread: VecDeque::new(), next_pane: 1 }
    }

    /// Makes a session, if the name is free.
    pub fn create(&mut self, name: &str, token: Option<Token>) -> bool {
        if self.sessions.contains_key(name) {
            return false;
        }
        self.sessions.insert(name.to_owned(), Session { token, panes: Vec::new() });
        true
    }

    /// Opens a window in a session.
    pub fn open(&mut self, name: &str, process: ProcessId, token: Option<Token>) -> Option<String> {
        let id = format!("%{}", self.next_pane);
        let session = self.sessions.get_mut(name)?;
        self.next_pane += 1;
        let pane = Pane { id: id.clone(), process, token, end: None, typed: None, copy_mode: false };
        session.panes.push(pane);
        Some(id)
    }

    /// Takes a session out; its panes' processes are for the caller to hang up.
    pub fn remove(&mut self, name: &str) -> Option<Session> {
        self.sessions.remove(name)
    }

    /// A session by its exact name.
    #[must_use]
    pub fn session(&self, name: &str) -> Option<&Session> {
        self.sessions.get(name)
    }

    /// The name of the session that carries this token.
    #[must_use]
    pub fn named(&self, token: &Token) -> Option<&str> {
        self.sessions.iter().find(|(_, session)| session.token.as_ref() == Some(token)).map(|(name, _)| name.as_str())
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (&String, &Session)> {
        self.sessions.iter()
    }

    /// A pane by its id.
    #[must_use]
    pub fn pane(&self, id: &str) -> Option<&Pane> {
        self.sessions.values().flat_map(|session| &session.panes).find(|pane| pane.id == id)
    }

    /// The same, to be changed.
    pub fn pane_mut(&mut self, id: &str) -> Option<&mut Pane> {
        self.sessions.values_mut().flat_map(|session| &mut session.panes).find(|pane| pane.id == id)
    }

    /// The pane that this process was started in.
    pub fn pane_of(&mut self, process: ProcessId) -> Option<&mut Pane> {
        let of = |pane: &&mut Pane| pane.process == process && pane.end.is_none();
        self.sessions.values_mut().flat_map(|session| &mut session.panes).find(of)
    }

    /// The session that a pane is in: its name and token.
    #[must_use]
    pub fn session_with(&self, id: &str) -> Option<(String, Option<Token>)> {
        let holds = |(_, session): &(&String, &Session)| session.panes.iter().any(|pane| pane.id == id);
        self.sessions.iter().find(holds).map(|(name, session)| (name.clone(), session.token.clone()))
    }

    /// Moves a pane's window to the other end of its session; false if it is the only one there.
    pub fn move_window(&mut self, id: &str) -> bool {
        let holds = |session: &&mut Session| session.panes.iter().any(|pane| pane.id == id);
        let Some(session) = self.sessions.values_mut().find(holds).filter(|session| session.panes.len() > 1) else {
            return false;
        };
        if session.panes.last().is_some_and(|last| last.id == id) {
            session.panes.rotate_right(1);
        } else {
            session.panes.sort_by_key(|pane| pane.id == id);
        }
        true
    }

    /// Takes one pane out, and its session with the last of them.
    pub fn close(&mut self, id: &str) -> Option<Pane> {
        let name = self.sessions.iter().find(|(_, session)| session.panes.iter().any(|pane| pane.id == id))?.0.clone();
        let session = self.sessions.get_mut(&name)?;
        let place = session.panes.iter().position(|pane| pane.id == id)?;
        let pane = session.panes.remove(place);
        if session.panes.is_empty() {
            self.sessions.remove(&name);
        }
        Some(pane)
    }

    /// `list-panes -a`.
    #[must_use]
    pub fn list(&self) -> Vec<PaneSeen> {
        let seen = |(name, session): (&String, &Session)| {
            let (name, token) = (name.clone(), session.token.clone());
            session
                .panes
                .iter()
                .map(move |pane| PaneSeen {
                    pane: pane.id.clone(),
                    pid: pane.process.pid,
                    dead: pane.end.is_some(),
                    session: name.clone(),
                    session_token: token.clone(),
                    role_token: pane.token.clone(),
                })
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(seen).collect()
    }

    /// How a pane stands, after it was told to look where a status was missed (T24).
    pub fn pane_end(&mut self, id: &str) -> PaneEnd {
        let Some(pane) = self.pane_mut(id) else { return PaneEnd::Gone };
        let Some(end) = &mut pane.end else { return PaneEnd::Alive };
        end.missed = false;
        PaneEnd::Dead { code: end.code, signal: end.signal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server::new(ProcessId { pid: 1, start: 1 })
    }

    #[test]
    fn a_name_is_exact_and_taken_once() {
        let mut server = server();
        assert!(server.create("p1-twin", None));
        assert!(server.session("p1").is_none(), "a prefix is another name");
        assert!(!server.create("p1-twin", None));
    }

    #[test]
    fn a_moved_window_changes_the_order_of_the_list_and_nothing_else() {
        let mut server = server();
        server.create("s", None);
        let panes: Vec<String> =
            (1..=3).filter_map(|pid| server.open("s", ProcessId { pid, start: 1 }, None)).collect();
        let order = |server: &Server| server.list().into_iter().map(|seen| seen.pid).collect::<Vec<_>>();
        assert!(server.move_window(&panes[0]));
        assert_eq!(order(&server), [2, 3, 1]);
        assert!(server.move_window(&panes[0]));
        assert_eq!(order(&server), [1, 2, 3]);
        server.create("alone", None);
        let alone = server.open("alone", ProcessId { pid: 9, start: 1 }, None).expect("opened");
        assert!(!server.move_window(&alone));
    }

    #[test]
    fn the_last_pane_takes_its_session_along() {
        let mut server = server();
        server.create("s", Some(Token("t".to_owned())));
        let process = ProcessId { pid: 7, start: 1 };
        let (first, second) = (server.open("s", process, None), server.open("s", process, None));
        assert!(server.close(&first.expect("opened")).is_some());
        assert_eq!(server.named(&Token("t".to_owned())), Some("s"));
        assert!(server.close(&second.expect("opened")).is_some());
        assert_eq!(server.named(&Token("t".to_owned())), None);
        assert_eq!(server.pane_end("%1"), PaneEnd::Gone);
    }
}
