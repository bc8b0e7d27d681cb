//! An agent that outlived an earlier try of its token is ended before anything is started under that token again
//! (G5, `Launch::again`), by the live world on a real tmux.

use crate::one_writer::{ORCH, Place, installation, until};
use crate::strangers::tmux;
use orchestrator::domain::effect::{Effect, Launch, Ordered};
use orchestrator::domain::event::{Event, Fact, Happened, PaneUp, Source};
use orchestrator::domain::failure::{Failure, FailureKind, Stage};
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use orchestrator::env::clock::Timeline;
use orchestrator::env::git::Git;
use orchestrator::env::live::{Live, Places};
use orchestrator::env::tmux::TmuxConfig;
use orchestrator::env::{Env as _, process};
use orchestrator::validate::judge;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

static BENCHES: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(20);
const SESSION: &str = "p1-again";
const CLAUDE_MD: &str = "Be good.\n";

/// It ignores the hangup, notes who of its role lives when it begins, and says that it is there.
const AGENT: &str = r#"
trap '' HUP
for pid in $(cat "$SEEN.pids" 2> /dev/null); do
    cut -d ' ' -f 3 "/proc/$pid/stat" >> "$SEEN.met" 2> /dev/null
done
echo $$ >> "$SEEN.pids"
exec sleep 300
"#;

/// The live world on a tmux of its own, without a core.
pub(crate) struct Bench {
    pub(crate) live: Live,
    inbox: mpsc::Receiver<Happened>,
    runtime: Runtime,
    timeline: Timeline,
    effects: i64,
    /// What its tokens end with: tests run side by side.
    mark: String,
    /// Every token that was given to an agent.
    tokens: BTreeSet<String>,
    pub(crate) place: Place,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // They ignore the hangup, and so outlive their server.
        for (agent, _) in process::find_by_token(&self.tokens).unwrap_or_default() {
            drop(process::signal(agent, Signal::KILL));
        }
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let place = installation();
        let home = &place.home;
        let env = vec![("PATH".to_owned(), std::env::var("PATH").expect("a PATH"))];
        let socket = home.socket(std::env::var_os("XDG_RUNTIME_DIR").as_deref()).expect("a socket");
        let places = Places {
            home: home.dir().to_owned(),
            spool: home.spool(),
            orch: PathBuf::from(ORCH),
            installation: "again".to_owned(),
            tmux: TmuxConfig { program: "tmux".into(), socket, env, deadline: PATIENCE },
            git: Git { program: "git".into(), deadline: PATIENCE, marker: None },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let timeline = Timeline::resume(None).expect("a clock");
        let (tell, inbox) = mpsc::channel(1_024);
        let live = Live::start(places, timeline.clone(), tell, runtime.handle()).expect("a world");
        let mark = format!("{}-{}", std::process::id(), BENCHES.fetch_add(1, Ordering::Relaxed));
        Self { live, inbox, runtime, timeline, effects: 0, mark, tokens: BTreeSet::new(), place }
    }

    pub(crate) fn submit(&mut self, effect: Effect) -> EffectId {
        self.effects += 1;
        let (id, seen_at) = (EffectId(self.effects), self.timeline.at());
        let (project, stage, source) = (Some(ProjectId(1)), Stage::Launch, Source::Effect);
        self.live.submit(Ordered { id, project, role: None, stage, source, seen_at, effect });
        id
    }

    /// What is told next; it must come.
    pub(crate) fn next(&mut self) -> Happened {
        let told = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.inbox.recv()).await });
        told.expect("it is told in time").expect("the world goes on")
    }

    fn perform(&mut self, effect: Effect) -> Result<Fact, Box<Failure>> {
        let id = self.submit(effect);
        loop {
            if let Event::Settled { effect, result, .. } = self.next().event
                && effect == id
            {
                return result;
            }
        }
    }

    fn token(&self, whose: &str) -> Token {
        Token(format!("{whose}-of-{}", self.mark))
    }

    fn launch(&mut self, role: &str, again: bool) -> Launch {
        let dir = self.place.home.dir();
        let worktree = format!("worktrees/{role}");
        std::fs::create_dir_all(dir.join(&worktree)).expect("made");
        std::fs::write(dir.join(&worktree).join("CLAUDE.md"), CLAUDE_MD).expect("written");
        let token = self.token(role);
        self.tokens.insert(token.0.clone());
        let seen = dir.join(role).display().to_string();
        Launch {
            role: RoleName(role.to_owned()),
            project: ProjectId(1),
            epoch: Epoch(1),
            token,
            worktree,
            claude_md: judge::pin_of(CLAUDE_MD.as_bytes()),
            stderr: format!("logs/{role}.stderr"),
            again,
            argv: ["sh", "-c", AGENT].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("SEEN".to_owned(), seen)]),
        }
    }

    fn session(&mut self, roles: &[&str], again: bool) -> Effect {
        let launches = roles.iter().map(|role| self.launch(role, again)).collect();
        Effect::EnsureSession { session: SESSION.to_owned(), token: self.token("session"), launches }
    }

    /// Performs what brings agents up; all of them listen by then.
    fn up(&mut self, effect: Effect) -> BTreeMap<String, PaneUp> {
        let panes = match self.perform(effect) {
            Ok(Fact::SessionUp { panes, .. }) => panes,
            Ok(Fact::AgentUp(pane)) => vec![pane],
            other => panic!("{other:?}"),
        };
        let up: BTreeMap<String, PaneUp> = panes.into_iter().map(|pane| (pane.role.0.clone(), pane)).collect();
        for (role, pane) in &up {
            let pid = pane.process.expect("it runs").pid.to_string();
            let file = self.place.home.dir().join(format!("{role}.pids"));
            let said = || std::fs::read_to_string(&file).is_ok_and(|said| said.lines().any(|line| line == pid));
            until("the agent is there", || said().then_some(()));
        }
        up
    }

    /// Who carries the role's token now.
    fn bearers(&self, role: &str) -> Vec<ProcessId> {
        let token = BTreeSet::from([self.token(role).0]);
        process::find_by_token(&token).expect("read").into_iter().map(|(process, _)| process).collect()
    }

    /// How many launch manifests lie about.
    fn manifests(&self) -> usize {
        std::fs::read_dir(self.place.home.run_dir().join("launch")).map_or(0, Iterator::count)
    }

    /// That the old one was gone when the new one began, and that nobody but the new one is left.
    fn succeeded(&self, role: &str, old: &PaneUp, new: &PaneUp) {
        let (old, new) = (old.process.expect("it ran"), new.process.expect("it runs"));
        assert_ne!(old, new);
        let met = std::fs::read_to_string(self.place.home.dir().join(format!("{role}.met"))).unwrap_or_default();
        assert!(met.lines().all(|state| matches!(state, "Z" | "X")), "two at a time: {met}");
        assert!(!process::is_alive(old), "the old one lives on");
        assert_eq!(self.bearers(role), [new]);
    }
}

/// Two roles; the agent of the second loses its pane and lives on.
fn bereft(bench: &mut Bench) -> BTreeMap<String, PaneUp> {
    bench.live.connect();
    let first = bench.session(&["a", "b"], false);
    let up = bench.up(first);
    tmux(&bench.place.home, &["kill-pane", "-t", &up["b"].pane]);
    assert!(process::is_alive(up["b"].process.expect("it runs")), "it ignores the hangup");
    up
}

#[test]
fn who_outlived_its_session_is_ended_before_the_session_is_made_again() {
    let mut bench = Bench::new();
    bench.live.connect();
    let first = bench.session(&["a"], false);
    let old = bench.up(first);
    tmux(&bench.place.home, &["kill-session", "-t", SESSION]);
    assert!(process::is_alive(old["a"].process.expect("it runs")), "it ignores the hangup");
    let again = bench.session(&["a"], true);
    let new = bench.up(again);
    bench.succeeded("a", &old["a"], &new["a"]);
    let again = bench.session(&["a"], true);
    assert_eq!(bench.up(again), new, "who has its pane is taken over");
    assert_eq!((bench.bearers("a").len(), bench.manifests()), (1, 0));
}

/// A manifest holds an agent's environment, and nobody would read this one.
#[test]
fn a_name_that_is_taken_leaves_no_manifest() {
    let mut bench = Bench::new();
    tmux(&bench.place.home, &["new-session", "-d", "-s", SESSION, "sleep 300"]);
    bench.live.connect();
    let first = bench.session(&["a"], false);
    let refused = bench.perform(first).expect_err("it is somebody else's");
    assert_eq!((refused.kind, bench.manifests()), (FailureKind::NameConflict, 0));
}

/// Nor this one: the session has the name of ours and is somebody else's.
#[test]
fn a_start_in_a_strangers_session_is_refused_and_leaves_no_manifest() {
    let mut bench = Bench::new();
    tmux(&bench.place.home, &["new-session", "-d", "-s", SESSION, "sleep 300"]);
    bench.live.connect();
    let launch = bench.launch("a", false);
    let (session, session_token) = (SESSION.to_owned(), bench.token("session"));
    let start = Effect::Respawn { session, session_token, pane: None, old_token: None, launch };
    let refused = bench.perform(start).expect_err("it is somebody else's");
    assert_eq!((refused.kind, bench.manifests(), bench.bearers("a").len()), (FailureKind::SubprocessFailed, 0, 0));
}

#[test]
fn who_outlived_its_pane_is_ended_before_the_session_is_completed() {
    let mut bench = Bench::new();
    let old = bereft(&mut bench);
    let again = bench.session(&["a", "b"], true);
    let new = bench.up(again);
    bench.succeeded("b", &old["b"], &new["b"]);
    assert_eq!(new["a"], old["a"], "whoever has its pane is left alone");
    assert_eq!(bench.bearers("a"), [old["a"].process.expect("it runs")]);
}

#[test]
fn who_outlived_its_pane_is_ended_before_it_is_started_again() {
    let mut bench = Bench::new();
    let old = bereft(&mut bench);
    let launch = bench.launch("b", true);
    let (session, session_token) = (SESSION.to_owned(), bench.token("session"));
    let (pane, old_token) = (Some(old["b"].pane.clone()), Some(launch.token.clone()));
    let new = bench.up(Effect::Respawn { session, session_token, pane, old_token, launch });
    bench.succeeded("b", &old["b"], &new["b"]);
    assert_eq!(bench.bearers("a"), [old["a"].process.expect("it runs")]);
}
