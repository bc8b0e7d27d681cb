//! tmux, asked by a subprocess of the harness's own: never through the orchestrator's connection.

use super::command::{Said, run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between the fields of an answer; no name of the orchestrator's and no token contains it, and no version of tmux
/// rewrites it as some rewrite control characters.
const FIELD: char = '|';

/// The run's own server.
#[derive(Debug, Clone)]
pub(super) struct Tmux {
    socket: PathBuf,
}

/// A pane, as tmux lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) session: String,
    pub(super) token: Option<String>,
    pub(super) pid: u32,
    pub(super) dead: bool,
}

impl Tmux {
    /// On that socket.
    pub(super) fn on(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Runs a command on the server; one that would start a server is never given.
    fn ask(&self, args: &[&str]) -> Result<Said, String> {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env_remove("TMUX_PANE");
        run(command.args(["-f", "/dev/null", "-S"]).arg(&self.socket).args(args), DEADLINE)
    }

    /// Every pane of the server; an empty list if there is no server.
    pub(super) fn panes(&self) -> Result<Vec<Pane>, String> {
        let format = "#{session_name}|#{@orch_instance}|#{pane_pid}|#{pane_dead}";
        let said = self.ask(&["list-panes", "-a", "-F", format])?;
        if !said.status.success() && said.stderr.contains("no server running") {
            return Ok(Vec::new());
        }
        said.ok("tmux list-panes")?.lines().map(pane).collect()
    }

    /// The sessions with their tokens.
    pub(super) fn tokens(&self) -> Result<BTreeMap<String, String>, String> {
        let panes = self.panes()?;
        Ok(panes.into_iter().filter_map(|pane| Some((pane.session, pane.token?))).collect())
    }

    /// The server's process.
    pub(super) fn server(&self) -> Result<u32, String> {
        let said = self.ask(&["display-message", "-p", "#{pid}"])?.ok("tmux display-message")?;
        said.trim().parse().map_err(|_| format!("tmux display-message answered {said:?}"))
    }

    /// The names of its paste buffers.
    pub(super) fn buffers(&self) -> Result<Vec<String>, String> {
        let said = self.ask(&["list-buffers", "-F", "#{buffer_name}"])?.ok("tmux list-buffers")?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// Lets the session's pane take input, or not.
    pub(super) fn let_type(&self, session: &str, on: bool) -> Result<(), String> {
        let flag = if on { "-e" } else { "-d" };
        self.ask(&["select-pane", flag, "-t", &format!("={session}:")])?.ok("tmux select-pane").map(drop)
    }

    /// Kills the session of exactly that name.
    pub(super) fn kill_session(&self, name: &str) -> Result<(), String> {
        self.ask(&["kill-session", "-t", &format!("={name}")])?.ok("tmux kill-session").map(drop)
    }

    /// Ends the server; none is running is as good.
    pub(super) fn kill_server(&self) {
        // Whether it worked is seen by looking for its processes.
        let _ = self.ask(&["kill-server"]);
    }
}

fn pane(line: &str) -> Result<Pane, String> {
    let unreadable = || format!("tmux list-panes answered {line:?}");
    let mut fields = line.split(FIELD);
    let mut field = || fields.next().ok_or_else(unreadable);
    let session = field()?.to_owned();
    let token = Some(field()?.to_owned()).filter(|token| !token.is_empty());
    let pid = field()?.parse().map_err(|_| unreadable())?;
    let dead = field()? == "1";
    Ok(Pane { session, token, pid, dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Server {
        tmux: Tmux,
        _dir: tempfile::TempDir,
    }

    impl Server {
        fn start() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let tmux = Tmux::on(&dir.path().join("s"));
            for (name, token) in [("p1-a", "t1"), ("p1-ab", "t2")] {
                let made = ["new-session", "-d", "-s", name, "sleep 60", ";", "set-option", "-t"];
                let made = tmux.ask(&[&made[..], &[&format!("={name}:"), "@orch_instance", token]].concat());
                made.expect("tmux").ok("new-session").expect("a session");
            }
            Self { tmux, _dir: dir }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.tmux.kill_server();
        }
    }

    #[test]
    fn sessions_are_known_by_their_tokens_and_killed_by_their_exact_names() {
        let server = Server::start();
        let tokens = server.tmux.tokens().expect("listed");
        assert_eq!(tokens.get("p1-a").map(String::as_str), Some("t1"));
        assert_eq!(server.tmux.panes().expect("listed").len(), 2);
        server.tmux.kill_session("p1-a").expect("killed");
        assert_eq!(server.tmux.tokens().expect("listed").keys().collect::<Vec<_>>(), ["p1-ab"]);
        // A name that only begins like one of a session is no name of a session.
        assert!(server.tmux.kill_session("p1-").is_err());
    }

    #[test]
    fn no_server_is_an_empty_list() {
        let dir = tempfile::tempdir().expect("a folder");
        let nowhere = Tmux::on(&dir.path().join("s"));
        assert!(nowhere.panes().is_err() || nowhere.panes() == Ok(Vec::new()));
        assert!(!dir.path().join("s").exists());
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(pane("p1-a|t1|x|0").is_err());
        assert!(pane("p1-a").is_err());
        let found = pane("p1-a||7|1").expect("a pane");
        assert_eq!((found.token, found.pid, found.dead), (None, 7, true));
    }
}
