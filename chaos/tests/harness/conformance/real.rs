//! The real world as a stage: real tmux on a private socket, real git, files and processes; only the agent is a few
//! lines of shell.

use super::stage::{Harm, SESSION, Stage, branch, tree};
use crate::ground::orch;
use chaos::seed::Seed;
use orchestrator::config::Home;
use orchestrator::domain::effect::{Effect, Ordered};
use orchestrator::domain::event::{Event, Fact, Happened, PaneUp, Source};
use orchestrator::domain::failure::Stage as At;
use orchestrator::domain::id::{EffectId, ProcessId, ProjectId, RoleName};
use orchestrator::domain::project::Project;
use orchestrator::domain::time::Span;
use orchestrator::env::clock::Timeline;
use orchestrator::env::git::Git;
use orchestrator::env::live::{Live, Places};
use orchestrator::env::tmux::TmuxConfig;
use orchestrator::env::{Env as _, SpoolItem, process};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// What tmux is given here: more than a sweep waits for its list. An installation gives it 10 s.
const TMUX_DEADLINE: Duration = Duration::from_secs(5);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent: it says that it listens, and acknowledges every line that names a file.
const AGENT: &str = r#"
trap 'exec 2>&-; exit 41' USR1
trap 'exit 0' USR2
trap 'stubborn=yes' ALRM
stubborn=
: > "$LISTENS.$ORCH_INSTANCE"
while [ -z "$stubborn" ]; do
    if IFS= read -r line; then
        case $line in *.md*) "$ORCH_BIN" agent ack ;; esac
    elif [ -z "$stubborn" ]; then
        exit 65
    fi
done
trap '' HUP TERM
: > "$LISTENS.$ORCH_INSTANCE.stubborn"
while :; do sleep 1; done
"#;

/// The real world.
pub(crate) struct Real {
    dir: tempfile::TempDir,
    home: PathBuf,
    socket: PathBuf,
    repo: PathBuf,
    env: Option<Live>,
    runtime: Option<Runtime>,
    inbox: mpsc::Receiver<Happened>,
    timeline: Timeline,
    effects: i64,
    salt: u64,
    server: Option<ProcessId>,
    agents: BTreeMap<String, (PaneUp, String)>,
    tokens: BTreeMap<EffectId, BTreeMap<String, String>>,
}

fn run(command: &mut Command) -> String {
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn git(repo: &Path) -> Command {
    let mut git = Command::new("git");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").arg("-C").arg(repo);
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.invalid"]);
    git
}

impl Real {
    pub(crate) fn new() -> Self {
        let private = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix("conf-").permissions(private).tempdir().expect("a folder");
        let home = Home::init(&dir.path().join("home")).expect("an installation");
        let repo = dir.path().join("repo");
        run(Command::new("git").args(["init", "--quiet", "-b", "main"]).arg(&repo));
        fs::write(repo.join("README.md"), "# A project\n").expect("written");
        run(git(&repo).args(["add", "-A"]));
        run(git(&repo).args(["commit", "--quiet", "-m", "first"]));
        fs::write(dir.path().join("agent.sh"), AGENT).expect("written");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("tokio");
        let socket = dir.path().join("tmux.sock");
        let path = std::env::var("PATH").expect("a PATH");
        let places = Places {
            home: home.dir().to_owned(),
            spool: home.spool(),
            orch: orch().to_owned(),
            installation: "conf".to_owned(),
            tmux: TmuxConfig {
                program: "tmux".into(),
                socket: socket.clone(),
                env: vec![("PATH".to_owned(), path)],
                deadline: TMUX_DEADLINE,
            },
            git: Git { program: "git".into(), deadline: PATIENCE, marker: None },
        };
        let timeline = Timeline::resume(None).expect("a clock");
        let (tell, inbox) = mpsc::channel(1_024);
        let env = Live::start(places, timeline.clone(), tell, runtime.handle()).expect("a world");
        env.connect();
        let (home, effects, agents, tokens) = (home.dir().to_owned(), 0, BTreeMap::new(), BTreeMap::new());
        let (env, runtime, server) = (Some(env), Some(runtime), None);
        let Seed(salt) = Seed::random().expect("entropy");
        Self { salt, dir, home, socket, repo, env, runtime, inbox, timeline, effects, server, agents, tokens }
    }

    fn env(&mut self) -> &mut Live {
        self.env.as_mut().expect("until the end")
    }

    fn tmux(&self, args: &[&str]) {
        let mut tmux = Command::new("tmux");
        tmux.env_remove("TMUX").arg("-S").arg(&self.socket).args(["-f", "/dev/null"]).args(args);
        run(&mut tmux);
    }

    /// Ends the orchestrator's control connection. A stopped server cannot be asked which process that is (T9).
    fn cut(&self) {
        let numbers = fs::read_dir("/proc").expect("/proc").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let socket = self.socket.display().to_string();
        let is_it = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let has = |word: &str| words.split(|byte| *byte == 0).any(|one| one == word.as_bytes());
            has(&socket) && has("-C") && Some(*pid) != self.server.map(|server| server.pid)
        };
        let client = numbers.into_iter().find(is_it).and_then(process::identify).expect("a connection");
        process::signal(client, Signal::KILL).expect("signalled");
        // Until it is gone, a server that goes on may answer, and be asked more.
        until("the connection is cut", || !process::is_alive(client));
    }

    fn agent_of(&self, role: &str) -> (&PaneUp, &str) {
        let (up, token) = self.agents.get(role).expect("an agent");
        (up, token)
    }

    fn signal(&self, role: &str, signal: Signal) {
        let process = self.agent_of(role).0.process.unwrap_or_else(|| panic!("{role} never ran: {:?}", self.agents));
        process::signal(process, signal).expect("signalled");
    }

    fn tree(&self, role: &str) -> PathBuf {
        self.home.join(tree(role))
    }

    fn file(&self, role: &str) -> PathBuf {
        self.tree(role).join("CLAUDE.md")
    }

    fn server(&self, signal: Signal) {
        process::signal(self.server.expect("a server answered"), signal).expect("signalled");
    }

    /// Stops the server: until it is, it may still read.
    fn stop(&self) {
        self.server(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.server.expect("a server answered").pid);
        until("the server is stopped", || {
            let stat = fs::read_to_string(&stat).expect("a server");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only what says where an agent is")]
    fn note(&mut self, happened: &Happened) {
        if let Event::PanesListed { server, .. } = &happened.event {
            self.server = Some(*server);
        }
        let Event::Settled { effect, result: Ok(fact), .. } = &happened.event else { return };
        let ups = match fact {
            Fact::SessionUp { panes, .. } => panes.clone(),
            Fact::AgentUp(up) => vec![up.clone()],
            _ => return,
        };
        for up in ups {
            if let Some(token) = self.tokens.get(effect).and_then(|tokens| tokens.get(&up.role.0)) {
                self.agents.insert(up.role.0.clone(), (up, token.clone()));
            }
        }
    }
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let (_never, pause) = std_mpsc::channel::<()>();
    while !ready() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        let _ = pause.recv_timeout(Duration::from_millis(5));
    }
}

impl Stage for Real {
    fn repo(&self) -> (String, String) {
        (self.repo.display().to_string(), "main".to_owned())
    }

    fn salt(&self) -> u64 {
        self.salt
    }

    fn agent(&self) -> Vec<String> {
        vec!["sh".to_owned(), self.dir.path().join("agent.sh").display().to_string()]
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only what starts agents")]
    fn submit(&mut self, role: Option<&str>, mut effect: Effect) -> EffectId {
        self.effects += 1;
        let (id, seen_at) = (EffectId(self.effects), self.timeline.at());
        let listens = self.dir.path().join("listens").display().to_string();
        let launches = match &mut effect {
            Effect::EnsureSession { launches, .. } => launches.as_mut_slice(),
            Effect::Respawn { launch, .. } => std::slice::from_mut(launch),
            _ => &mut [],
        };
        for launch in launches {
            launch.env.insert("LISTENS".to_owned(), listens.clone());
            self.tokens.entry(id).or_default().insert(launch.role.0.clone(), launch.token.0.clone());
        }
        let role = role.map(|role| RoleName(role.to_owned()));
        let project = Some(ProjectId(1));
        self.env().submit(Ordered { id, project, role, stage: At::Run, source: Source::Effect, seen_at, effect });
        id
    }

    fn next(&mut self, within: Span) -> Option<Happened> {
        let within = Duration::from_micros(within.0);
        let runtime = self.runtime.as_ref().expect("until the end");
        let happened = runtime.block_on(async { tokio::time::timeout(within, self.inbox.recv()).await }).ok().flatten();
        if let Some(happened) = &happened {
            self.note(happened);
        }
        happened
    }

    fn watch(&mut self, project: &Project) {
        self.env().watch(project);
    }

    fn reports(&mut self) -> Vec<SpoolItem> {
        let items = self.env().drain_spool();
        items.iter().for_each(|item| self.env().consume(item));
        items
    }

    fn await_agent(&mut self, role: &str) {
        let listens = self.dir.path().join(format!("listens.{}", self.agent_of(role).1));
        until("the agent listens", || listens.exists());
    }

    fn harm(&mut self, harm: Harm) {
        match harm {
            Harm::KillAgent(role) => self.signal(role, Signal::KILL),
            // A shell that is about to read misses a signal until the next one.
            Harm::Exit(role, code) => {
                let process = self.agent_of(role).0.process.expect("it ran");
                until("the agent exits", || {
                    drop(process::signal(process, if code == 0 { Signal::USR2 } else { Signal::USR1 }));
                    !process::is_alive(process)
                });
            }
            Harm::Stubborn(role) => {
                let done = self.dir.path().join(format!("listens.{}.stubborn", self.agent_of(role).1));
                until("the agent is stubborn", || {
                    self.signal(role, Signal::ALARM);
                    done.exists()
                });
            }
            Harm::ClosePane(role) => self.tmux(&["kill-pane", "-t", &self.agent_of(role).0.pane]),
            Harm::CopyMode(role) => self.tmux(&["copy-mode", "-t", &self.agent_of(role).0.pane]),
            Harm::KillSession => self.tmux(&["kill-session", "-t", &format!("={SESSION}")]),
            Harm::Foreign(name) => self.tmux(&["new-session", "-d", "-s", name, "exec cat"]),
            Harm::CutConnection => self.cut(),
            Harm::KillServer => self.server(Signal::KILL),
            Harm::StopServer => self.stop(),
            Harm::ContinueServer => self.server(Signal::CONT),
            Harm::UnlinkSocket => fs::remove_file(&self.socket).expect("removed"),
            Harm::Remove(role) => fs::remove_file(self.file(role)).expect("removed"),
            Harm::Replace(role) => {
                let beside = self.dir.path().join("beside");
                fs::write(&beside, "another\n").expect("written");
                fs::rename(beside, self.file(role)).expect("renamed");
            }
            Harm::Truncate(role) => fs::write(self.file(role), "").expect("written"),
            Harm::Touch(role) => {
                let file = fs::File::options().append(true).open(self.file(role)).expect("opened");
                file.set_modified(std::time::SystemTime::now()).expect("touched");
            }
            Harm::Directory(role) => {
                fs::remove_file(self.file(role)).expect("removed");
                fs::create_dir(self.file(role)).expect("made");
            }
            Harm::Symlink(role) => {
                fs::remove_file(self.file(role)).expect("removed");
                std::os::unix::fs::symlink("README.md", self.file(role)).expect("linked");
            }
            Harm::RemoveTree(role) => fs::remove_dir_all(self.tree(role)).expect("removed"),
            Harm::RemakeTree(role) => {
                fs::create_dir(self.tree(role)).expect("made");
                fs::write(self.file(role), "another\n").expect("written");
            }
            Harm::Husk(role) => {
                let link = fs::read_to_string(self.tree(role).join(".git")).expect("a worktree");
                let admin = PathBuf::from(link.trim().trim_start_matches("gitdir: "));
                fs::write(admin.join("locked"), "initializing").expect("written");
                fs::remove_file(self.tree(role).join("README.md")).expect("removed");
                fs::remove_file(self.file(role)).ok();
            }
            Harm::OtherBranch(role) => {
                run(git(&self.tree(role)).args(["checkout", "--quiet", "-b", &format!("{}-x", branch(role))]));
            }
            Harm::Dirty(role) => fs::write(self.tree(role).join("notes.txt"), "work\n").expect("written"),
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.env.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        // Everything of this stage names its folder, which nobody else knows; its server is told first to make no more.
        let deadline = Instant::now() + PATIENCE;
        let (_never, pause) = std_mpsc::channel::<()>();
        loop {
            let left = naming(self.dir.path());
            left.iter().for_each(|process| drop(process::signal(*process, Signal::KILL)));
            if left.is_empty() || Instant::now() > deadline {
                break;
            }
            let _ = pause.recv_timeout(Duration::from_millis(5));
        }
    }
}

/// Processes whose command line names this folder.
fn naming(folder: &Path) -> Vec<ProcessId> {
    let wanted = folder.display().to_string();
    let listing = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = listing.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let names = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted)
    };
    pids.filter(names).filter_map(process::identify).collect()
}
