//! What tmux creates after its incarnation was over (C15): ended by its token, whoever runs now untouched. And on a
//! real tmux: a creation that times out against a stopped server, and appears when that goes on.

use crate::one_writer::{ORCH, installation, serving, until, until_or};
use crate::scripted::{Story, spec};
use crate::strangers::tmux;
use crate::tmux_trouble::{enqueue, one_agent, server, signal, told};
use orchestrator::config::Home;
use orchestrator::domain::event::PaneEnd;
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage};
use orchestrator::domain::id::{ProcessId, ProjectId, Token};
use orchestrator::domain::limits::{self, Policy};
use orchestrator::domain::project::Project;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Span;
use orchestrator::env::Env;
use orchestrator::store::{Mode, Store};
use rustix::process::Signal;
use std::path::Path;
use std::process::{Command, Stdio};

const SECOND: Span = Span::from_secs(1);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

fn running() -> Story {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    story
}

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(Project::state)
}

fn current(story: &Story) -> Option<ProcessId> {
    story.project().and_then(|project| project.roles[0].process)
}

fn late(story: &Story) -> Vec<&Entry> {
    story.told.iter().filter(|entry| matches!(entry.signal.what, What::LateCreation { .. })).collect()
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

/// The session of the first incarnation, with its agent.
fn first(story: &mut Story) -> (String, Token) {
    let (name, token) = story.core.env().sessions.first_key_value().expect("a session");
    (name.clone(), token.clone())
}

/// tmux makes what it had been asked for: the session, and in it the first agent that ever was.
fn create(story: &mut Story, (name, token): &(String, Token)) {
    let world = story.core.env();
    world.sessions.insert(name.clone(), token.clone());
    (world.agents[0].alive, world.agents[0].end) = (true, PaneEnd::Alive);
    world.list();
}

/// It runs in a second incarnation.
fn second() -> (Story, (String, Token)) {
    let mut story = running();
    let session = first(&mut story);
    story.core.env().kill_session(&session.0);
    story.run(SECOND);
    assert_eq!((state(&story), story.core.env().agents.len()), (Some(ProjectState::Running), 2));
    (story, session)
}

fn cancelled() -> (Story, (String, Token)) {
    let mut story = running();
    let session = first(&mut story);
    let now = story.core.env().now();
    story.core.store().request(ProjectId(1), RequestKind::Cancel, &now).expect("recorded");
    story.run(SECOND);
    story.core.env().list();
    story.run(SECOND * 20);
    assert_eq!((state(&story), story.core.env().sessions.len()), (None, 0), "it is over and has left the fleet");
    (story, session)
}

#[test]
fn a_session_of_a_project_that_is_over_is_ended() {
    let (mut story, session) = cancelled();
    create(&mut story, &session);
    story.run(SECOND);
    assert_eq!(late(&story).len(), 1);
    let signal = &late(&story)[0].signal;
    assert_eq!((signal.project_id.map(|id| id.0), signal.epoch.map(|epoch| epoch.0)), (Some(1), Some(1)));
    let world = story.core.env();
    assert_eq!((world.sessions.len(), world.agents[0].alive), (0, false), "the session and its agent");
    story.core.env().list();
    story.run(SECOND * 60);
    assert_eq!((late(&story).len(), count(&story, |what| matches!(what, What::StrayFound { .. }))), (1, 0));
    let file = story.core.store().load_project(ProjectId(1)).expect("read").expect("a row");
    assert_eq!(file.state(), ProjectState::Cancelled, "nobody was called anything else for it");
}

#[test]
fn a_session_of_an_older_epoch_is_ended_and_the_newer_one_is_not_touched() {
    for restart in [false, true] {
        let (mut story, session) = second();
        story.run(SECOND * 20);
        let (before, charged) = (current(&story), story.project().map(|project| project.breaker.attempts.len()));
        if restart {
            story.restart(Policy::default());
        }
        create(&mut story, &session);
        story.run(SECOND);
        assert_eq!((late(&story).len(), state(&story)), (1, Some(ProjectState::Running)), "restart: {restart}");
        let world = story.core.env();
        assert_eq!((world.sessions.len(), world.sessions.contains_key(&session.0)), (1, false));
        assert_eq!((world.agents[0].alive, world.agents[1].alive, world.agents.len()), (false, true, 2));
        assert_eq!(current(&story), before);
        assert_eq!(story.project().map(|project| project.breaker.attempts.len()), charged, "nobody is charged");
        assert_eq!(count(&story, |what| matches!(what, What::MoveRefused { .. })), 0);
    }
}

/// The agent alone: its pane is in a session that runs.
#[test]
fn an_agent_that_comes_late_into_a_live_session_is_ended_alone() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND * 20);
    let before = current(&story);
    assert_eq!((state(&story), story.core.env().agents.len()), (Some(ProjectState::Running), 2));
    story.core.env().list();
    story.run(SECOND);
    assert_eq!(late(&story).len(), 0, "the pane of a dead one is evidence");
    let session = first(&mut story);
    create(&mut story, &session);
    story.run(SECOND);
    assert_eq!(late(&story).len(), 1);
    assert_eq!(late(&story)[0].signal.agent_role.as_ref().map(|role| role.0.as_str()), Some("developer"));
    let world = story.core.env();
    assert_eq!((world.agents[0].alive, world.agents[1].alive, world.sessions.len()), (false, true, 1));
    assert_eq!(current(&story), before);
}

/// A list that was under way when the session was ended shows it still.
#[test]
fn what_has_just_been_ended_is_not_taken_for_late() {
    let (mut story, session) = second();
    create(&mut story, &session);
    story.run(SECOND * 5);
    assert_eq!((late(&story).len(), story.core.env().sessions.len()), (0, 2));
    story.run(SECOND * 5);
    story.core.env().list();
    story.run(SECOND);
    assert_eq!((late(&story).len(), story.core.env().sessions.len()), (1, 1));
}

#[test]
fn an_end_that_fails_is_told_and_tried_again() {
    let (mut story, session) = cancelled();
    let hung = Failure {
        program: Program::Tmux,
        ending: Ending::DeadlinePassed(SECOND * 10),
        ..Failure::of_operation(Stage::Run, FailureKind::TimedOut, vec!["tmux".to_owned()], "")
    };
    story.core.env().script.failures.insert("end_remains", vec![hung]);
    create(&mut story, &session);
    story.run(SECOND);
    assert_eq!((late(&story).len(), story.core.env().sessions.len()), (1, 1));
    assert_eq!(count(&story, |what| matches!(what, What::SubprocessFailed { .. })), 1);
    story.core.env().list();
    story.run(SECOND);
    assert_eq!((late(&story).len(), story.core.env().sessions.len()), (1, 0), "told once");
}

/// A token is not remembered for ever: what comes later than that is a stray, and left alone.
#[test]
fn a_token_is_forgotten_in_the_end() {
    let (mut story, session) = cancelled();
    story.core.env().at = story.core.env().at + limits::TOKEN_KEPT + SECOND;
    story.enqueue(&spec("Next", &["r2"]));
    story.run(SECOND);
    create(&mut story, &session);
    story.run(SECOND * 40);
    story.core.env().list();
    story.run(SECOND);
    assert_eq!((late(&story).len(), count(&story, |what| matches!(what, What::StrayFound { .. }))), (0, 1));
    assert!(story.core.env().sessions.contains_key(&session.0));
}

fn load(home: &Home) -> Project {
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    store.load_project(ProjectId(1)).expect("read").expect("a row")
}

fn orch(home: &Home, words: &[&str]) {
    let done = Command::new(ORCH).arg("--home").arg(home.dir()).args(words).output().expect("it runs");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Asks tmux, which must answer.
fn has_session(home: &Home, name: &str) -> bool {
    tmux(home, &["list-sessions", "-F", "#{session_name}"]).lines().any(|line| line == name)
}

#[test]
fn a_stopped_server_that_makes_a_session_of_a_project_that_is_over() {
    let running = one_agent();
    let home = &running.place.home;
    let was = load(home);
    let (session, role) = (was.session.expect("a session"), was.roles[0].token.clone().expect("a token"));
    orch(home, &["cancel", "1"]);
    until("it is taken down", || load(home).is_settled().then_some(()));

    let stopped = server(home);
    signal(stopped, Signal::STOP);
    let file = running.dir.path().join("pid");
    // It ignores the hangup, as an agent may.
    let agent = format!("trap '' HUP; echo $$ > {}; exec sleep 300", file.display());
    let socket = home.socket(std::env::var_os("XDG_RUNTIME_DIR").as_deref()).expect("a socket");
    let mut create = Command::new("timeout");
    create.args(["--signal=KILL", "1", "tmux", "-f", "/dev/null", "-S"]).arg(socket).args(["new-session", "-d", "-s"]);
    create.arg(&session.name).args(["-e", &format!("ORCH_INSTANCE={role}"), &agent]);
    create.args([";", "set-option", "-t", &format!("={}:", session.name), "@orch_instance", &session.token.0]);
    let asked = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
    assert!(!asked.success(), "the creation has timed out");
    signal(stopped, Signal::CONT);

    let late = |what: &What| matches!(what, What::LateCreation { .. });
    let journal = || format!("it is found: {:#?}", told(home));
    until_or(journal, || told(home).iter().any(late).then_some(()));
    until("its session goes", || (!has_session(home, &session.name)).then_some(()));
    let pid = std::fs::read_to_string(&file).expect("the late agent has run").trim().to_owned();
    until("its agent goes", || (!Path::new("/proc").join(&pid).exists()).then_some(()));
    assert_eq!(told(home).iter().filter(|what| late(what)).count(), 1);
    assert_eq!(load(home).state(), ProjectState::Cancelled);
}

/// The orchestrator's own order, from a process that was killed meanwhile: whichever comes first, the creation or
/// the end, nothing is left.
#[test]
fn a_launch_that_timed_out_and_was_condemned_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    let home = &place.home;
    let mut serve = serving(home);
    until("tmux answers", || told(home).iter().any(|what| matches!(what, What::TmuxAnswered { .. })).then_some(()));
    let stopped = server(home);
    signal(stopped, Signal::STOP);
    enqueue(home, dir.path());
    let timed_out =
        |what: &What| matches!(what, What::SubprocessFailed { failure } if failure.kind == FailureKind::TimedOut);
    let journal = || format!("the launch times out: {:#?}", told(home));
    until_or(journal, || told(home).iter().any(timed_out).then_some(()));
    let session = load(home).session.expect("asked for");
    serve.0.kill().expect("killed");
    serve.0.wait().expect("waited for");
    let _again = serving(home);
    orch(home, &["cancel", "1"]);
    until("it is cancelled", || (load(home).state() == ProjectState::Cancelled).then_some(()));
    signal(stopped, Signal::CONT);
    let journal = || format!("it is taken down: {:#?}", told(home));
    until_or(journal, || (load(home).is_settled() && !has_session(home, &session.name)).then_some(()));
    assert!(!told(home).iter().any(|what| matches!(what, What::RecoveryStarted { .. })), "nobody is charged");
}
