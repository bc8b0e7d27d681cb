//! Trouble with the tmux server itself, on a real one: killed, hung, and its socket taken away. Whatever happens to it,
//! no agent that lives is called dead.

use crate::one_writer::{ORCH, Place, Serving, installation, serving, until, until_or};
use orchestrator::config::Home;
use orchestrator::domain::event::Source;
use orchestrator::domain::id::{ProcessId, Seq};
use orchestrator::domain::signal::What;
use orchestrator::store::{Mode, Store};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;

pub(crate) const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/agents/worker.sh");

fn ok(command: &mut Command) {
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

pub(crate) fn enqueue(home: &Home, dir: &Path) {
    enqueue_agent(home, dir, Path::new(WORKER));
}

/// A project whose agent is this script.
pub(crate) fn enqueue_agent(home: &Home, dir: &Path, agent: &Path) {
    let repo = dir.join("repo");
    ok(Command::new("git").args(["init", "--quiet"]).arg(&repo));
    let mut commit = Command::new("git");
    commit.arg("-C").arg(&repo).args(["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet"]);
    ok(commit.args(["--allow-empty", "-m", "first"]));
    let spec = format!(
        "title = \"Trouble\"\nrepo = \"repo\"\nbrief_text = \"work-steps: 1\\nwait-for: {}\\n\"\n\
         [[role]]\nname = \"developer\"\ncommand = [\"sh\", \"{}\"]\nclaude_md_text = \"Be good.\"\n",
        dir.join("never").display(),
        agent.display()
    );
    std::fs::write(dir.join("spec.toml"), spec).expect("written");
    ok(Command::new(ORCH).arg("--home").arg(home.dir()).arg("enqueue").arg(dir.join("spec.toml")));
}

pub(crate) fn told(home: &Home) -> Vec<What> {
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    store.entries_after(Seq(0), usize::MAX).expect("read").into_iter().map(|entry| entry.signal.what).collect()
}

pub(crate) fn count(home: &Home, what: impl Fn(&What) -> bool) -> usize {
    told(home).iter().filter(|told| what(told)).count()
}

pub(crate) fn server(home: &Home) -> ProcessId {
    let answered = |what: What| if let What::TmuxAnswered { server, .. } = what { Some(server) } else { None };
    told(home).into_iter().filter_map(answered).next_back().expect("tmux has answered")
}

pub(crate) fn signal(process: ProcessId, with: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.pid).expect("a pid")).expect("a pid");
    kill_process(pid, with).expect("signalled");
}

/// The agent, once the project runs in that epoch.
pub(crate) fn agent(home: &Home, epoch: u32) -> u32 {
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    let journal = || format!("it runs in epoch {epoch}; what was told: {:#?}", told(home));
    until_or(journal, || {
        let project = store.project_rows(None).expect("read").pop()?;
        (project.state == "running" && project.epoch == epoch).then(|| project.roles[0].pid).flatten()
    })
}

/// An installation that is served, and whose one agent runs.
pub(crate) struct Running {
    // The fields go in this order: nobody serves what is gone.
    pub(crate) serve: Serving,
    pub(crate) pid: u32,
    pub(crate) place: Place,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn one_agent() -> Running {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    enqueue(&place.home, dir.path());
    let serve = serving(&place.home);
    let pid = agent(&place.home, 1);
    Running { serve, pid, place, dir }
}

fn knows_tmux(home: &Home, state: &str) {
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    until(state, || store.lease().expect("read").filter(|lease| lease.tmux == state));
}

#[test]
fn a_server_that_is_killed_hung_or_unreachable() {
    let mut running = one_agent();
    let home = &running.place.home;

    signal(server(home), Signal::KILL);
    let pid = agent(home, 2);
    assert_eq!(count(home, |what| matches!(what, What::ServerDied { sessions: 1, .. })), 1, "one event");
    let charged = count(home, |what| matches!(what, What::RecoveryStarted { .. }));
    assert_eq!(charged, 0, "charged to nobody: {:#?}", told(home));

    let dead = count(home, |what| matches!(what, What::AgentDied { .. }));
    let hung = server(home);
    signal(hung, Signal::STOP);
    knows_tmux(home, "unknown");
    signal(hung, Signal::CONT);
    knows_tmux(home, "alive");
    assert_eq!(agent(home, 2), pid, "nobody was called dead");

    let socket = home.socket(std::env::var_os("XDG_RUNTIME_DIR").as_deref()).expect("a socket");
    std::fs::remove_file(&socket).expect("removed");
    let restored = || count(home, |what| matches!(what, What::SocketRestored { server } if *server == hung));
    until("the sweep has it made again", || (restored() == 1).then_some(()));
    assert!(socket.exists(), "whoever wants to attach can");

    std::fs::remove_file(&socket).expect("removed");
    kill_process(running.serve.pid(), Signal::KILL).expect("killed");
    running.serve.0.wait().expect("waited for");
    let _again = serving(home);
    knows_tmux(home, "alive");
    assert_eq!((server(home), agent(home, 2)), (hung, pid), "the same server, the same agent");
    assert_eq!(count(home, |what| matches!(what, What::AgentDied { .. })), dead);
}

#[test]
fn a_death_is_told_while_the_server_hangs() {
    let running = one_agent();
    let home = &running.place.home;
    let hung = server(home);
    signal(hung, Signal::STOP);
    kill_process(Pid::from_raw(i32::try_from(running.pid).expect("a pid")).expect("a pid"), Signal::KILL)
        .expect("killed");
    // Nothing but its pidfd can tell: tmux answers nobody.
    let death = until("the death is told", || {
        let death = told(home).into_iter().find(|what| matches!(what, What::AgentDied { .. }));
        death.map(|what| if let What::AgentDied { detected_by, .. } = what { Some(detected_by) } else { None })
    });
    assert_eq!(death, Some(Source::Pidfd));
    signal(hung, Signal::CONT);
    assert_ne!(agent(home, 2), running.pid, "and another goes on");
}
