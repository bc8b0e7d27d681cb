//! One writer and its store (G10, G15), with real processes: `orch serve` twice on one installation, one that was
//! overtaken while it was stopped, one that was killed and whose lock outlives it, and one whose database vanishes.

use crate::tmux_trouble::{agent, enqueue};
use orchestrator::config::Home;
use orchestrator::domain::id::{ProcessId, Seq};
use orchestrator::domain::time::Timestamp;
use orchestrator::runtime;
use orchestrator::store::{LeaseRow, Mode, Store};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, WaitIdOptions, kill_process, waitid};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
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

pub(crate) fn until<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    until_or(|| what.to_owned(), found)
}

/// Like [`until`]; what is missing is said only when it is.
pub(crate) fn until_or<T>(what: impl Fn() -> String, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "{}", what());
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

#[test]
fn told_to_stop_it_stops_also_without_a_store() {
    let place = installation();
    let home = &place.home;
    let mut serve = serving(home);
    std::fs::rename(home.db(), home.dir().join("away.db")).expect("moved");
    until("it is told", || runtime::told(&home.run_dir()));
    kill_process(serve.pid(), Signal::TERM).expect("told to stop");
    let (said, code) = serve.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the database could not be told"), "{said}");
    assert!(!said.contains("the store works again"), "{said}");
    let left = |name: &str| home.run_dir().join(name).exists();
    assert_eq!((left("serve.json"), left("degraded.json")), (false, false));
}

#[test]
fn a_directory_that_others_can_enter_is_refused_at_once() {
    let place = installation();
    let home = &place.home;
    std::fs::set_permissions(home.dir(), std::fs::Permissions::from_mode(0o755)).expect("opened");
    let mut serve = Serving(command(home).spawn().expect("started"));
    let (said, code) = serve.end();
    std::fs::set_permissions(home.dir(), std::fs::Permissions::from_mode(0o700)).expect("closed");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("its mode is 0755; allowed: a directory of this user with mode 0700"), "{said}");
}

/// Locks the installation as a child of a killed one does that has not come to its exec: it has the descriptor still.
fn held(home: &Home) -> std::fs::File {
    let file = std::fs::OpenOptions::new().write(true).open(home.run_dir().join("serve.lock")).expect("a lock");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("locked");
    file
}

fn killed(home: &Home) -> Pid {
    let mut first = serving(home);
    let pid = first.pid();
    kill_process(pid, Signal::KILL).expect("killed");
    first.0.wait().expect("waited for");
    pid
}

#[test]
fn the_lock_of_a_dead_holder_is_waited_for_and_its_end_is_taken() {
    let place = installation();
    let home = &place.home;
    killed(home);
    let lock = held(home);
    let second = Serving(command(home).spawn().expect("started"));
    let opened = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", second.0.id())).ok()?.flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).find(|path| path.ends_with("serve.lock"))
    };
    until("it has come to the lock", opened);
    drop(lock);
    let pid = format!("\"pid\":{}", second.0.id());
    let says = || std::fs::read_to_string(home.run_dir().join("serve.json")).ok();
    until("it serves", || says().filter(|said| said.contains(&pid)).map(drop));
}

#[test]
fn a_lock_that_outlives_its_dead_holder_for_long_is_refused_by_the_holders_name() {
    let place = installation();
    let home = &place.home;
    let dead = killed(home);
    let _lock = held(home);
    let started = Instant::now();
    let mut second = Serving(command(home).spawn().expect("started"));
    let (said, code) = second.end();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&format!("(pid {})", dead.as_raw_nonzero())), "{said}");
    assert!(started.elapsed() >= Duration::from_secs(2), "it was patient");
}

/// A tmux that writes down every byte its control clients are told, on the way to them.
fn recording(home: &Home) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, record) = (home.dir().join("tmux.sh"), home.dir().join("told"));
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' -C '*) tee -a {} | tmux \"$@\" ;; *) exec tmux \"$@\" ;; esac\n",
        record.display()
    );
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::write(home.dir().join("config.toml"), format!("tmux = \"{}\"\n", program.display())).expect("written");
    record
}

/// Whoever was overtaken does not say one more word to tmux: the world belongs to somebody else.
#[test]
fn who_was_overtaken_says_nothing_more_to_tmux() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    let home = &place.home;
    let record = recording(home);
    enqueue(home, dir.path());
    let mut first = serving(home);
    let agent = agent(home, 1);
    let tee = until("the record is kept", || {
        let writes = |pid: &Pid| {
            std::fs::read(format!("/proc/{}/comm", pid.as_raw_nonzero())).is_ok_and(|name| name == b"tee\n")
        };
        naming(&record.display().to_string()).into_iter().find(writes)
    });
    let tee = format!("/proc/{}", tee.as_raw_nonzero());
    let mut store = Store::open(&home.db(), Mode::Existing).expect("opened");
    store.set_busy_timeout(Duration::from_millis(10)).expect("set");
    let other = ProcessId { pid: std::process::id(), start: 1 };
    until("the lease can be taken", || {
        kill_process(first.pid(), Signal::STOP).expect("stopped");
        waitid(rustix::process::WaitId::Pid(first.pid()), WaitIdOptions::STOPPED).expect("it is stopped");
        let taken = store.take_lease(other, Timestamp(5), None);
        if taken.is_err() {
            kill_process(first.pid(), Signal::CONT).expect("continued");
        }
        taken.ok()
    });
    // What was said before is on record once nothing is under way to the one who keeps it, and that one waits.
    let pipe = std::fs::File::open(format!("{tee}/fd/0")).expect("its input");
    let before = until("all of it is on record", || {
        let state = std::fs::read_to_string(format!("{tee}/stat")).expect("it lives");
        let waits = state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'));
        let empty = rustix::io::ioctl_fionread(&pipe).expect("asked") == 0;
        (waits && empty).then(|| std::fs::read(&record).expect("a record"))
    });
    drop(pipe);
    assert!(String::from_utf8_lossy(&before).contains("list-panes"), "it had something to say");
    // It wakes with work to do: its agent has ended.
    let agent = Pid::from_raw(i32::try_from(agent).expect("a pid")).expect("a pid");
    kill_process(agent, Signal::KILL).expect("killed");
    kill_process(first.pid(), Signal::CONT).expect("continued");
    let (said, code) = first.end();
    assert_eq!(code, Some(3), "{said}");
    until("the record is closed", || (!std::path::Path::new(&tee).exists()).then_some(()));
    let after = std::fs::read(&record).expect("a record");
    let more = String::from_utf8_lossy(after.get(before.len()..).unwrap_or_default()).into_owned();
    assert_eq!(more, "", "nothing was said after");
}
