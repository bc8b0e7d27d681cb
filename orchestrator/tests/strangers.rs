//! What is not ours on our socket and beside us: foreign sessions are never touched, git processes of a killed
//! `orch serve` are ended by their mark and nobody else's are, and an agent's child that has wiped its environment does not
//! outlive the agent's incarnation.

use crate::one_writer::{ORCH, installation, serving, until};
use crate::tmux_trouble::{WORKER, agent, count, enqueue, enqueue_agent, one_agent, told};
use orchestrator::config::Home;
use orchestrator::domain::failure::FailureKind;
use orchestrator::domain::signal::What;
use orchestrator::store::{Mode, Store};
use rustix::process::{Signal, kill_process};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process of the test's own, ended with it.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(crate) fn tmux(home: &Home, arguments: &[&str]) -> String {
    let socket = home.socket(std::env::var_os("XDG_RUNTIME_DIR").as_deref()).expect("a socket");
    let mut command = Command::new("timeout");
    command.args(["20", "tmux", "-f", "/dev/null", "-S"]).arg(socket).args(arguments);
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn slug(home: &Home) -> String {
    Store::open(&home.db(), Mode::ReadOnly).expect("opened").project_rows(None).expect("read")[0].slug.clone()
}

#[test]
fn foreign_sessions_are_never_touched_and_a_taken_name_is_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    let home = &place.home;
    let first = serving(home);
    until("tmux answers", || (count(home, |what| matches!(what, What::TmuxAnswered { .. })) > 0).then_some(()));
    // Twins of the names that the first project will have: one is the very name, the others have it as their prefix.
    let name = |rest: &str| {
        let installation = Store::open(&home.db(), Mode::ReadOnly).expect("opened").installation().expect("read");
        format!("p1-{}-e1{rest}", installation.expect("a mark"))
    };
    let foreign = [name(""), name("0"), name("-copy"), "mine".to_owned()];
    for session in &foreign {
        tmux(home, &["new-session", "-d", "-s", session, "sleep", "300"]);
    }
    let pids = || -> Vec<String> {
        let pid = |session: &String| tmux(home, &["list-panes", "-t", &format!("={session}:"), "-F", "#{pane_pid}"]);
        foreign.iter().map(pid).collect()
    };
    let before = pids();
    enqueue(home, dir.path());
    assert!(name("").starts_with(&slug(home)));
    agent(home, 2);
    let conflict = |what: &What| matches!(what, What::SubprocessFailed { failure } if failure.kind == FailureKind::NameConflict && failure.ending.to_string().contains(&name("")));
    assert_eq!(count(home, conflict), 1, "told with its cause: {:?}", told(home));
    let cancel = Command::new(ORCH).arg("--home").arg(home.dir()).args(["cancel", "1"]).output().expect("it runs");
    assert!(cancel.status.success(), "{}", String::from_utf8_lossy(&cancel.stderr));
    let ours = name("").replace("-e1", "-e2");
    until("it is taken down", || {
        let list = tmux(home, &["list-sessions", "-F", "#{session_name}"]);
        (!list.lines().any(|line| line == ours)).then_some(())
    });
    assert_eq!(pids(), before, "and all of them run on");
    drop(first);
}

#[test]
fn git_processes_of_a_killed_serve_are_ended_and_nobody_elses() {
    let place = installation();
    let home = &place.home;
    let mut first = serving(home);
    let fresh = orchestrator::domain::id::Token("unused".to_owned());
    let mark = Store::open(&home.db(), Mode::Existing).expect("opened").git_mark(&fresh).expect("read");
    kill_process(first.pid(), Signal::KILL).expect("killed");
    first.0.wait().expect("waited for");
    let sleeper = |mark: &str| {
        let mut command = Command::new("sleep");
        Ours(command.arg("300").env("ORCH_INSTANCE", mark).stdin(Stdio::null()).spawn().expect("started"))
    };
    let (mut left, mut other) = (sleeper(&mark.0), sleeper("another-installation"));
    let _again = serving(home);
    until("it is ended", || left.0.try_wait().expect("asked"));
    assert_eq!(other.0.try_wait().expect("asked"), None, "another installation's works on");
}

/// Like [`enqueue`]'s, with a child that nothing in its environment tells of and that ignores the hangup; the next
/// incarnation writes down whether it still finds it.
#[test]
fn a_child_that_wiped_its_environment_is_ended_before_the_next_incarnation_starts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    let home = &place.home;
    let (child, found, script) = (dir.path().join("child"), dir.path().join("found"), dir.path().join("agent.sh"));
    let (child_name, found_name) = (child.display(), found.display());
    let text = format!(
        "if [ -f {child_name} ]; then\n\
             cut -d ' ' -f 3 /proc/$(cat {child_name})/stat > {found_name} 2> /dev/null\n\
         else\n\
             env -i sh -c 'trap \"\" HUP; echo $$ > {child_name}.new; mv {child_name}.new {child_name}; exec sleep 300' &\n\
         fi\n\
         exec sh {WORKER}\n"
    );
    std::fs::write(&script, text).expect("written");
    enqueue_agent(home, dir.path(), &script);
    let _serve = serving(home);
    let first = agent(home, 1);
    let orphan = until("the child is there", || std::fs::read_to_string(&child).ok());
    assert!(std::path::Path::new("/proc").join(orphan.trim()).exists());
    let first = rustix::process::Pid::from_raw(i32::try_from(first).expect("a pid")).expect("a pid");
    kill_process(first, Signal::KILL).expect("killed");
    agent(home, 2);
    let found = std::fs::read_to_string(&found).expect("the next one has looked");
    assert!(matches!(found.trim(), "" | "Z" | "X"), "the child lived on, in the state {found}");
}

/// What `/metrics` says of a kind of contradiction.
fn mismatches(home: &Home, kind: &str) -> Option<u64> {
    let ready = std::fs::read_to_string(home.run_dir().join("serve.json")).ok()?;
    let ready: serde_json::Value = serde_json::from_str(&ready).ok()?;
    let mut stream = std::net::TcpStream::connect(ready["http"].as_str()?).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    let line = format!("orch_state_mismatches{{kind=\"{kind}\"}} ");
    said.lines().find_map(|told| told.strip_prefix(&line)?.parse().ok())
}

#[test]
fn a_session_that_the_database_does_not_know_is_a_mismatch_until_it_is_killed() {
    let running = one_agent();
    let home = &running.place.home;
    let stands = |count| move || (mismatches(home, "tmux_only") == Some(count)).then_some(());
    until("nothing contradicts", stands(0));
    // Ours by its mark, and of no project that the database knows.
    tmux(
        home,
        &["new-session", "-d", "-s", "lost", "sleep 300", ";", "set-option", "-t", "lost", "@orch_instance", "f00d"],
    );
    until("it is counted", stands(1));
    assert_eq!((mismatches(home, "db_only"), mismatches(home, "status_conflict")), (Some(0), Some(0)));
    tmux(home, &["kill-session", "-t", "lost"]);
    until("it is gone", stands(0));
}

#[test]
fn no_agents_environment_lies_about_once_it_runs() {
    let running = one_agent();
    let home = &running.place.home;
    let folder = home.run_dir().join("launch");
    let manifests = || std::fs::read_dir(&folder).expect("a folder").count();
    assert_eq!(manifests(), 0, "the launcher has read it");
    drop(running.serve);
    // As of a launch that an earlier orchestrator ordered and that never came to anything.
    std::fs::write(folder.join("1.developer.e0.json"), "{}").expect("written");
    let _again = serving(home);
    assert_eq!(manifests(), 0, "nobody waits for it");
}
