//! One writer and its store (G10, G15), with real processes: `orch serve` twice on one installation, one that was
//! overtaken while it was stopped, and one whose database vanishes.

use orchestrator::config::Home;
use orchestrator::domain::id::{ProcessId, Seq};
use orchestrator::domain::time::Timestamp;
use orchestrator::runtime;
use orchestrator::store::{LeaseRow, Mode, Store};
use rustix::process::{Pid, Signal, WaitIdOptions, kill_process, waitid};
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const ORCH: &str = env!("CARGO_BIN_EXE_orch");

/// A process of ours, ended whatever becomes of the test.
pub(crate) struct Serving(pub(crate) Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Serving {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }

    /// Waits for its end; what it said, and its exit code.
    fn end(&mut self) -> (String, Option<i32>) {
        let status = until("it ends", || self.0.try_wait().expect("asked"));
        let mut said = String::new();
        self.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        (said, status.code())
    }
}

/// An installation, with the tmux server that is started for it.
pub(crate) struct Place {
    pub(crate) home: Home,
    _dir: tempfile::TempDir,
}

impl Drop for Place {
    /// Ends every tmux process that names this installation's socket. Asking the server would not do: an `orch serve`
    /// that was killed while it connected may leave a server that is not listening yet, or a client that holds it.
    fn drop(&mut self) {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
        let Ok(socket) = self.home.socket(runtime_dir.as_deref()) else { return };
        let socket = socket.display().to_string();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let left = naming(&socket);
            if left.is_empty() || Instant::now() > end {
                break;
            }
            for pid in left {
                // It may have ended by itself meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Processes, zombies aside, with that word on their command line.
fn naming(word: &str) -> Vec<Pid> {
    let mine = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(word))
    };
    let numbers = std::fs::read_dir("/proc").expect("a folder").flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(mine)
        .filter_map(Pid::from_raw)
        .collect()
}

pub(crate) fn installation() -> Place {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = runtime::init(&dir.path().join("orch")).expect("made");
    Place { home, _dir: dir }
}

fn command(home: &Home) -> Command {
    let mut command = Command::new(ORCH);
    command.arg("--home").arg(home.dir()).args(["--log", "json", "serve", "--http", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

/// Starts serving, and waits until it says so itself; what a killed predecessor left there names another process.
pub(crate) fn serving(home: &Home) -> Serving {
    let child = Serving(command(home).spawn().expect("started"));
    let pid = format!("\"pid\":{}", child.0.id());
    let says = || std::fs::read_to_string(home.run_dir().join("serve.json")).ok();
    until("it serves", || says().filter(|said| said.contains(&pid)).map(drop));
    child
}

fn read(home: &Home) -> (LeaseRow, Seq) {
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    (store.lease().expect("read").expect("a lease"), store.last_seq().expect("read"))
}

#[test]
fn the_second_exits_and_names_the_first() {
    let place = installation();
    let home = &place.home;
    let first = serving(home);
    let before = read(home).0;
    let mut second = Serving(command(home).spawn().expect("started"));
    let (said, code) = second.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("(pid {})", first.0.id())), "{said}");
    assert_eq!(read(home).0.epoch, before.epoch);
}

#[test]
fn who_was_overtaken_while_stopped_is_fenced() {
    let place = installation();
    let home = &place.home;
    let mut first = serving(home);
    let other = ProcessId { pid: std::process::id(), start: 1 };
    let mut store = Store::open(&home.db(), Mode::Existing).expect("opened");
    store.set_busy_timeout(Duration::from_millis(10)).expect("set");
    let epoch = until("the lease can be taken", || {
        kill_process(first.pid(), Signal::STOP).expect("stopped");
        waitid(rustix::process::WaitId::Pid(first.pid()), WaitIdOptions::STOPPED).expect("it is stopped");
        let taken = store.take_lease(other, Timestamp(5), None);
        if taken.is_err() {
            // It was stopped within a transaction: then nobody else can write.
            kill_process(first.pid(), Signal::CONT).expect("continued");
        }
        taken.ok()
    });
    let before = read(home);
    assert_eq!((before.0.epoch, before.0.holder), (epoch, other));
    kill_process(first.pid(), Signal::CONT).expect("continued");
    let (said, code) = first.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("another orchestrator (pid {})", other.pid)), "{said}");
    assert_eq!(read(home), before, "it wrote nothing after");
}

#[test]
fn a_database_that_vanishes_is_told_and_taken_back() {
    let place = installation();
    let home = &place.home;
    let mut first = serving(home);
    let backups = || std::fs::read_dir(home.backups()).expect("a folder").flatten().map(|entry| entry.file_name());
    until("a first backup", || backups().find(|name| name.to_string_lossy().ends_with("Z.db")));
    let away = home.dir().join("away.db");
    std::fs::rename(home.db(), &away).expect("moved");
    let trouble = until("it is told", || runtime::told(&home.run_dir()));
    assert_eq!(trouble.pid, first.0.id());
    let status = Command::new(ORCH).arg("--home").arg(home.dir()).arg("status").output().expect("it runs");
    let said = String::from_utf8_lossy(&status.stderr).into_owned();
    assert_eq!(status.status.code(), Some(5), "{said}");
    assert!(said.contains("runs without its store"), "{said}");
    assert!(!home.db().exists(), "nothing is made in its place");
    std::fs::rename(&away, home.db()).expect("moved back");
    until("it goes on", || runtime::told(&home.run_dir()).is_none().then_some(()));
    kill_process(first.pid(), Signal::TERM).expect("told to stop");
    let (said, code) = first.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("the store works again").count(), 1, "{said}");
    assert!(read(home).0.released);
}
