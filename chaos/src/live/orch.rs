//! The orchestrator's program, as a person would use it.

use super::command::run;
use super::process::{Held, identify};
use super::sandbox::{MARK, Sandbox};
use orchestrator::domain::id::ProjectId;
use rustix::process::Signal;
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a command that only talks to the database may take, also on a busy machine.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take until `orch serve` says that it is ready.
const READY_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to stop as asked.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How long its metrics may take.
const SCRAPE_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes of a scrape, at most; a page of metrics is some ten thousand.
const SCRAPE_BYTES_MAX: u64 = 4 << 20;
/// Lines of its own log that are quoted when it ends by itself.
const LAST_WORDS: usize = 2;

/// The program with the installation that it is to work on.
#[derive(Debug, Clone)]
pub(super) struct Orch {
    program: PathBuf,
    home: PathBuf,
    mark: String,
    path: std::ffi::OsString,
    /// The last id that was answered; clones share it.
    accepted: Arc<Mutex<ProjectId>>,
}

/// A running `orch serve`.
#[derive(Debug)]
pub(super) struct Serve {
    child: Mutex<Child>,
    held: Held,
    log: PathBuf,
    http: Option<SocketAddr>,
}

#[derive(Deserialize)]
struct Enqueued {
    id: ProjectId,
}

#[derive(Deserialize)]
struct Ready {
    pid: u32,
    http: Option<String>,
}

impl Orch {
    /// For that sandbox.
    pub(super) fn new(program: &Path, sandbox: &Sandbox) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(sandbox.bin()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).map_err(|error| error.to_string())?;
        let (program, mark) = (program.to_owned(), sandbox.mark().to_owned());
        Ok(Self { program, home: sandbox.home(), mark, path, accepted: Arc::default() })
    }

    fn command(&self, args: &[&str]) -> Command {
        self.dressed(Command::new(&self.program), args)
    }

    fn dressed(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).arg("--home").arg(&self.home).env("PATH", &self.path).env(MARK, &self.mark);
        for foreign in ["TMUX", "TMUX_PANE", "ORCH_HOME"] {
            command.env_remove(foreign);
        }
        command
    }

    /// Starts a command of it as a shell that first runs `script`, which is to become the program (`exec "$0" "$@"`).
    /// What it writes goes to files, its standard error beside its standard output.
    pub(super) fn spawn_by(&self, script: &str, args: &[&str], out: &Path) -> Result<Child, String> {
        let file = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(&self.program);
        let mut command = self.dressed(shell, args);
        command.stdin(Stdio::null()).stdout(file(out)?).stderr(file(&out.with_extension("err"))?).process_group(0);
        command.spawn().map_err(|error| format!("sh: {error}"))
    }

    /// Whether the whole database keeps its invariants, by the orchestrator's own audit.
    pub(super) fn audit(&self) -> Result<(), String> {
        run(&mut self.command(&["audit"]), COMMAND_DEADLINE)?.ok("orch audit").map(drop)
    }

    /// Makes the installation.
    pub(super) fn init(&self, config: &str) -> Result<(), String> {
        run(&mut self.command(&["init"]), COMMAND_DEADLINE)?.ok("orch init")?;
        let path = self.home.join("config.toml");
        fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Hands in a spec; the id that was answered.
    pub(super) fn enqueue(&self, spec: &Path) -> Result<ProjectId, String> {
        self.enqueue_after(spec, |_| Ok(()))
    }

    /// The same, after something was prepared for the id that the project will be given: ids are given in order,
    /// nobody else enqueues here, and one is handed in at a time.
    pub(super) fn enqueue_after(
        &self,
        spec: &Path,
        prepare: impl FnOnce(ProjectId) -> Result<(), String>,
    ) -> Result<ProjectId, String> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        prepare(ProjectId(accepted.0 + 1))?;
        let said = self.enqueue_answer(spec)?;
        let answer: Enqueued =
            serde_json::from_str(&said).map_err(|error| format!("orch enqueue answered {said:?}: {error}"))?;
        *accepted = answer.id;
        Ok(answer.id)
    }

    /// Hands in a spec; the answer as it was written.
    pub(super) fn enqueue_answer(&self, spec: &Path) -> Result<String, String> {
        run(self.command(&["enqueue", "--json"]).arg(spec), COMMAND_DEADLINE)?.ok("orch enqueue")
    }

    /// The journal as the database has it.
    pub(super) fn events(&self) -> Result<String, String> {
        run(&mut self.command(&["events", "--json"]), COMMAND_DEADLINE)?.ok("orch events")
    }

    /// Starts serving, and waits until it says that it is ready.
    pub(super) fn serve(&self, log: &Path) -> Result<Serve, String> {
        let mut serve = self.spawn_serve(log)?;
        let deadline = Instant::now() + READY_DEADLINE;
        while !self.is_ready(&mut serve) {
            if let Some(why) = serve.ended() {
                return Err(why);
            } else if Instant::now() >= deadline {
                return Err(format!("orch serve was not ready within {} s", READY_DEADLINE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(serve)
    }

    /// Starts serving, and waits for nothing.
    pub(super) fn spawn_serve(&self, log: &Path) -> Result<Serve, String> {
        let to = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = self.command(&["serve"]);
        // A group of its own: the terminal's Ctrl-C is for the harness, which stops it in order.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(to).process_group(0);
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let held = identify(child.id()).and_then(|id| Held::of(id).ok().flatten());
        let held = held.ok_or_else(|| format!("orch serve ended at once: {}", last_words(log)))?;
        Ok(Serve { child: Mutex::new(child), held, log: log.to_owned(), http: None })
    }

    /// Whether it has said that it is ready.
    pub(super) fn is_ready(&self, serve: &mut Serve) -> bool {
        let said = fs::read_to_string(self.home.join("run/serve.json")).ok();
        let said = said.and_then(|text| serde_json::from_str::<Ready>(&text).ok());
        // What a predecessor that was killed has left there names another process.
        let Some(said) = said.filter(|said| said.pid == serve.held.id.pid) else { return false };
        serve.http = said.http.and_then(|address| address.parse().ok());
        true
    }
}

impl Serve {
    /// Why it has ended, if it has, although this run did not ask it to.
    pub(super) fn ended(&self) -> Option<String> {
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        match status {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("orch serve ended unasked: {status}: {}", last_words(&self.log))),
            Err(error) => Some(format!("orch serve cannot be waited for: {error}")),
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.held.id.pid
    }

    /// Kills it, and sees by its exit status that it was this that ended it.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.held.signal(Signal::KILL).map_err(|error| error.to_string())?;
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            Ok(())
        } else {
            Err(format!("orch serve had ended by itself: {status}: {}", last_words(&self.log)))
        }
    }

    /// Stops it: it looks alive, and sees nothing until it is thawed.
    pub(super) fn freeze(&self) -> std::io::Result<()> {
        self.held.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) -> std::io::Result<()> {
        self.held.signal(Signal::CONT)
    }

    /// Its metrics, as Prometheus would get them.
    pub(super) fn scrape(&self) -> Result<String, String> {
        let address = self.http.ok_or("orch serve told no address")?;
        let text = |error: std::io::Error| format!("metrics: {error}");
        let mut stream = TcpStream::connect_timeout(&address, SCRAPE_DEADLINE).map_err(text)?;
        stream.set_read_timeout(Some(SCRAPE_DEADLINE)).map_err(text)?;
        // HTTP 1.0: the answer ends with the connection, and is not sent in chunks.
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").map_err(text)?;
        let mut answer = String::new();
        stream.take(SCRAPE_BYTES_MAX).read_to_string(&mut answer).map_err(text)?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
            Some(_) | None => Err(format!("metrics: {}", answer.lines().next().unwrap_or("no answer"))),
        }
    }

    /// Asks it to stop, and waits; what went wrong with that. One that has ended already is not asked.
    pub(super) fn stop(&self) -> Result<(), String> {
        if let Some(why) = self.ended() {
            return Err(why);
        }
        self.held.signal(Signal::TERM).map_err(|error| error.to_string())?;
        let stopped = self.held.ended_by(Instant::now() + STOP_DEADLINE);
        if !stopped {
            // Killed so that the run can come to its end; that it had to be is told.
            let _ = self.held.signal(Signal::KILL);
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait().map_err(|error| error.to_string())?;
        if stopped && status.success() {
            Ok(())
        } else {
            Err(format!("orch serve did not stop as asked: {status}: {}", last_words(&self.log)))
        }
    }
}

impl Drop for Serve {
    /// On every way out that is not [`Serve::stop`]: its child is ended and waited for, not left to be a zombie.
    fn drop(&mut self) {
        let _ = self.held.signal(Signal::KILL);
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
    if last.is_empty() { "it said nothing".to_owned() } else { last.join(" / ") }
}
