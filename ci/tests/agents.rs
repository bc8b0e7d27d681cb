//! The stand-in agents keep their side of the protocol, and the stand-in for git fails exactly when it is told to.
//!
//! The agents run as they would in a pane, except that stdin and stdout are pipes. The end of stdout is what proves that
//! nobody is left behind: every child of an agent holds it open.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

/// Far beyond what anything here takes on a busy machine; reached only when something is wrong.
const DEADLINE: Duration = Duration::from_secs(60);
/// A step so long that only a signal ends the nap after it.
const LONG_NAP: &str = "step-ms: 9000000\n";
const BRIEF_LINE: &str = "Read .orch/brief.md and begin.\n";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in a workspace")
}

/// Git as it is on a fresh machine, whatever the developer's settings, and outside any repository that runs the tests.
fn git_settings(command: &mut Command) -> &mut Command {
    for variable in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
        command.env_remove(variable);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1")
}

/// A repository with what provisioning puts into an agent's worktree.
struct Worktree(TempDir);

impl Worktree {
    fn new(directives: &str) -> Self {
        let worktree = Self(TempDir::with_prefix("a worktree ").expect("a temporary directory"));
        worktree.git(&["init", "-q", "-b", "orch/p1/developer/e1"]);
        worktree.write("CLAUDE.md", "You are a stand-in.\n");
        worktree.brief(directives);
        worktree
    }

    fn brief(&self, directives: &str) {
        self.write(".orch/brief.md", &format!("# Build it\n\nIn small steps.\n\n{directives}"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder is ours");
        fs::write(path, text).expect("the file is ours");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file was written")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        let output = git_settings(&mut command).args(arguments).current_dir(self.0.path()).output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("git speaks UTF-8")
    }

    /// The subjects of the commits, oldest first.
    fn commits(&self) -> Vec<String> {
        self.git(&["log", "--reverse", "--format=%s"]).lines().map(str::to_owned).collect()
    }

    fn start(&self, agent: &str) -> Agent {
        let stderr = fs::File::create(self.path(".orch/stderr")).expect("the file is ours");
        let mut command = Command::new(repository().join("fixtures/agents").join(agent));
        let mut child = git_settings(&mut command)
            .current_dir(self.0.path())
            .env("ORCH_ROLE", "developer")
            .env("ORCH_EPOCH", "1")
            .env("ORCH_BIN", repository().join("ci/tests/fake-orch.sh"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .expect("the agent is executable");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).count()
        });
        Agent { tty: child.stdin.take().expect("stdin is a pipe"), child, lines }
    }

    fn start_briefed(&self, agent: &str) -> Agent {
        let mut agent = self.start(agent);
        agent.type_in(BRIEF_LINE);
        agent
    }
}

struct Agent {
    child: Child,
    tty: ChildStdin,
    lines: Receiver<String>,
}

impl Agent {
    fn type_in(&mut self, text: &str) {
        self.tty.write_all(text.as_bytes()).expect("the agent holds its tty open");
    }

    /// Waits for a line that starts with `start`.
    fn expect(&self, start: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no line {start:?}: {error}"));
            if line.starts_with(start) {
                return;
            }
        }
    }

    /// Waits for the nap of the agent; says which process it is.
    fn nap(&self) -> Pid {
        let deadline = Instant::now() + DEADLINE;
        let id = self.child.id();
        while Instant::now() < deadline {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("the agent lives");
            let name = |child: &&str| fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if let Some(nap) = children.split_whitespace().find(|child| name(child).trim() == "sleep") {
                return Pid::from_raw(nap.parse().expect("a process id")).expect("a child's id is not 0");
            }
            std::thread::yield_now();
        }
        panic!("the agent never napped");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the agent is our child");
    }

    /// Waits until the agent and all its children are gone; says its exit code and what was still to be read.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let deadline = Instant::now() + DEADLINE;
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody still holds the agent's stdout: {rest:?}"),
            }
        }
        (self.child.wait().expect("the agent is our child").code(), rest)
    }
}

impl Drop for Agent {
    /// A test that fails leaves nobody behind either; after one that passes there is nobody to be found.
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Stops a process, and waits until it is stopped: the signal is only a request.
fn stop(process: Pid) {
    kill_process(process, Signal::STOP).expect("the process is our grandchild");
    let deadline = Instant::now() + DEADLINE;
    let status = || fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    while !status().contains("State:\tT") {
        assert!(Instant::now() < deadline, "never stopped: {}", status());
        std::thread::yield_now();
    }
}

#[test]
fn a_briefed_worker_acknowledges_commits_and_reports() {
    let worktree = Worktree::new("work-steps: 2\nstep-ms: 1\n");
    let mut worker = worktree.start("worker.sh");
    worker.expect("developer: ready");
    worker.type_in("\nhello *\nRead gone.md now\n");
    worker.type_in(BRIEF_LINE);
    worker.type_in(BRIEF_LINE);
    worker.expect("orch: agent ack");
    worker.expect("orch: agent progress step 1");
    worker.expect("orch: agent done --summary 2 steps");
    assert_eq!(worker.end(), (Some(0), vec!["developer: finished: done".to_owned()]));
    assert_eq!(worktree.commits(), ["developer: step 1", "developer: step 2"]);
    assert_eq!(worktree.git(&["ls-files"]), "work/developer.txt\n");
    assert_eq!(worktree.read(".orch/stderr"), "");
}

#[test]
fn a_relaunched_worker_goes_on_where_the_last_one_was_killed() {
    let worktree = Worktree::new("work-steps: 2\nstep-ms: 1\n");
    assert_eq!(worktree.start_briefed("worker.sh").end().0, Some(0));
    // Killed in the middle of a commit: a line that is written down, and git's lock.
    worktree.write("work/developer.txt", &(worktree.read("work/developer.txt") + "step 3\n"));
    worktree.write(".git/index.lock", "");
    worktree.brief("work-steps: 4\nstep-ms: 1\n");
    assert_eq!(worktree.start_briefed("worker.sh").end().0, Some(0));
    assert_eq!(
        worktree.commits(),
        ["developer: step 1", "developer: step 2", "developer: step 3", "developer: step 4"]
    );
    assert_eq!(worktree.read("work/developer.txt").lines().count(), 4);
}

#[test]
fn a_worker_without_its_claude_md_says_so() {
    let worktree = Worktree::new("");
    worktree.write("CLAUDE.md", "");
    assert_eq!(worktree.start("worker.sh").end(), (Some(66), vec![]));
    assert_eq!(worktree.read(".orch/stderr"), "worker: CLAUDE.md is missing or empty\n");
}

#[test]
fn an_acknowledgement_that_failed_is_given_when_the_line_comes_again() {
    let worktree = Worktree::new("work-steps: 0\nstep-ms: 1\n");
    worktree.write("refuse-ack", "");
    let mut worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent ack");
    worker.type_in(BRIEF_LINE);
    worker.expect("orch: agent ack");
    worker.expect("orch: agent done");
    assert_eq!(worker.end().0, Some(0));
}

#[test]
fn a_report_of_the_end_is_tried_again() {
    let worktree = Worktree::new("work-steps: 1\nstep-ms: 1\n");
    worktree.write("refuse-done", "");
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent done");
    worker.expect("orch: agent done");
    assert_eq!(worker.end().0, Some(0));
}

#[test]
fn a_worker_waits_for_what_its_brief_names() {
    let worktree = Worktree::new("work-steps: 1\nstep-ms: 1\nwait-for: the gate\n");
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent progress waiting after step 1");
    worktree.write("the gate", "");
    worker.expect("orch: agent done --summary 1 steps");
    assert_eq!(worker.end().0, Some(0));
    assert_eq!(worktree.commits(), ["developer: step 1"]);
}

#[test]
fn a_worker_ends_as_its_brief_says() {
    let worktree = Worktree::new("work-steps: 1\nstep-ms: 1\nfinish: fail\n");
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent fail --reason told to fail after 1 steps");
    assert_eq!(worker.end().0, Some(0));

    worktree.brief("finish: exit\nstep-ms: 1\n");
    let (code, lines) = worktree.start_briefed("worker.sh").end();
    assert_eq!(code, Some(0));
    assert!(lines.iter().all(|line| !line.starts_with("orch: agent done") && !line.starts_with("orch: agent fail")));

    worktree.brief("finish: hang\n");
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent ack");
    worker.nap();
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, Some(143));
}

#[test]
fn usr1_ends_a_worker_without_a_word() {
    let worktree = Worktree::new(LONG_NAP);
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent progress step 1");
    worker.nap();
    worker.signal(Signal::USR1);
    assert_eq!(worker.end(), (Some(41), vec![]));
    assert_eq!(worktree.read(".orch/stderr"), "");
}

#[test]
fn usr1_ends_a_worker_that_waits_for_its_brief() {
    let worktree = Worktree::new("");
    let worker = worktree.start("worker.sh");
    worker.expect("developer: ready");
    worker.signal(Signal::USR1);
    assert_eq!(worker.end(), (Some(41), vec![]));
    assert_eq!(worktree.read(".orch/stderr"), "");
}

#[test]
fn a_worker_made_to_hang_takes_its_stopped_nap_with_it() {
    let worktree = Worktree::new(LONG_NAP);
    let worker = worktree.start_briefed("worker.sh");
    worker.expect("orch: agent progress step 1");
    stop(worker.nap());
    worker.signal(Signal::TERM);
    assert_eq!(worker.end(), (Some(143), vec![]));
    assert_eq!(worktree.read(".orch/stderr"), "");
}

#[test]
fn the_lesser_agents_fail_each_in_its_own_way() {
    let worktree = Worktree::new("");
    assert_eq!(worktree.start("silent-exit.sh").end(), (Some(0), vec![]));
    assert_eq!(worktree.read(".orch/stderr"), "");

    assert_eq!(worktree.start("crash.sh").end(), (Some(3), vec!["crash: starting".to_owned()]));
    assert_eq!(worktree.read(".orch/stderr"), "crash: cannot load the model: connection refused\n");

    let deaf = worktree.start_briefed("deaf.sh");
    stop(deaf.nap());
    deaf.signal(Signal::TERM);
    assert_eq!(deaf.end(), (Some(143), vec![]));

    let reporter = worktree.start_briefed("reporter-fail.sh");
    reporter.expect("orch: agent ack");
    reporter.expect("orch: agent fail --reason the specification contradicts itself");
    assert_eq!(reporter.end(), (Some(0), vec![]));
}

/// Calls the stand-in for git with `arguments`; `echo` plays the real one.
fn shim(armed: &Path, arguments: &[&str]) -> Child {
    Command::new(repository().join("fixtures/bin/git-shim.sh"))
        .args(arguments)
        .env("CHAOS_GIT_ARM", armed)
        .env("CHAOS_REAL_GIT", "echo")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the shim is executable")
}

fn outcome(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("the shim is our child");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("plain text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_armed_git_fails_once_and_without_a_word() {
    let armed = TempDir::new().expect("a temporary directory");
    fs::write(armed.path().join("git-fail-f7"), "").expect("the file is ours");
    let call = ["-C", "x", "worktree", "add", "y"];
    let real = (Some(0), "-C x worktree add y\n".to_owned(), String::new());

    assert_eq!(outcome(shim(armed.path(), &["worktree", "list"])).1, "worktree list\n");
    let callers: Vec<_> = (0..4).map(|_| shim(armed.path(), &call)).collect();
    let (failed, passed): (Vec<_>, Vec<_>) = callers.into_iter().map(outcome).partition(|(code, ..)| *code != Some(0));
    assert_eq!(failed, [(Some(128), String::new(), String::new())]);
    assert_eq!(passed, [real.clone(), real.clone(), real]);

    let claim = fs::read_to_string(armed.path().join("claimed-f7")).expect("the failure was claimed");
    assert_eq!(claim.lines().count(), 1);
    assert!(claim.contains(" pid=") && claim.ends_with(" argv=-C x worktree add y\n"), "{claim}");
}

#[test]
fn a_failure_may_name_the_arguments_it_is_for() {
    let armed = TempDir::new().expect("a temporary directory");
    fs::write(armed.path().join("git-fail-f8"), "commit\n").expect("the file is ours");
    assert_eq!(outcome(shim(armed.path(), &["worktree", "add", "y"])).0, Some(0));
    assert_eq!(outcome(shim(armed.path(), &["commit", "-q"])).0, Some(128));
    assert_eq!(outcome(shim(armed.path(), &["commit", "-q"])).0, Some(0));
}

#[test]
fn an_unarmed_git_is_git() {
    assert_eq!(outcome(shim(Path::new("no/such/folder"), &["worktree", "add"])).1, "worktree add\n");
}
