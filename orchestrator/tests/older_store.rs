//! A database that is older than the world (C46): what it does not know is told, left alone, and never used again.

use crate::one_writer::{installation, serving};
use crate::scripted::Story;
use crate::tmux_trouble::{agent, count, enqueue};
use orchestrator::domain::event::{Event, PaneEnd, Source, Trace};
use orchestrator::domain::id::{Epoch, ProjectId, Seq, Token};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Now, Span, WallTime};
use orchestrator::env::process;
use orchestrator::store::{Mode, Store};
use rustix::process::{Signal, kill_process};

const SECOND: Span = Span::from_secs(1);

fn mark(n: u8) -> Token {
    Token(format!("{n:032x}"))
}

fn running() -> Story {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    story.core.env().names.clear();
    story
}

fn rests(story: &Story) -> bool {
    story.project().is_some_and(|project| {
        (project.state(), project.reason) == (ProjectState::Suspended, Some(SuspendReason::NeedsOperator))
    })
}

/// Nothing that ends, starts or changes anything was asked of the world.
fn left_alone(story: &mut Story) {
    for name in &story.core.env().names {
        assert!(matches!(*name, "list_panes" | "survey" | "look" | "collect" | "sample"), "{name}");
    }
}

fn told(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn sweeps(story: &mut Story, times: u64) {
    for _ in 0..times {
        story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
        story.run(SECOND * 10);
    }
}

fn resume(story: &mut Story) {
    let (at, wall) = (story.core.env().at, WallTime(0));
    let now = Now { at, wall, seed: [0; 32] };
    story.core.store().request(ProjectId(1), RequestKind::Resume, &now).expect("asked");
    story.turn(Vec::new());
    story.run(SECOND * 5);
}

#[test]
fn a_newer_incarnation_than_the_database_knows_puts_its_project_to_rest() {
    let mut story = running();
    let trace = |epoch, what: &str, token| Trace {
        slug: "p1-0042".to_owned(),
        epoch: Epoch(epoch),
        token,
        what: what.to_owned(),
    };
    let traces = vec![trace(5, "process 9", Some(mark(5))), trace(7, "a file", None), trace(6, "x", Some(mark(6)))];
    story.restart_after(vec![Event::Traced(traces)]);
    sweeps(&mut story, 9);
    assert!(rests(&story));
    let quarantined = |what: &What| matches!(what, What::Quarantined { known: Epoch(1), found: Epoch(7), .. });
    assert_eq!(told(&story, quarantined), 1);
    left_alone(&mut story);
    assert!(story.core.env().agent("developer").alive);
    let why = story.project().and_then(|project| project.last_failure.clone()).expect("a reason");
    assert_eq!(why.ending.to_string(), "a file is newer than the database, which knew epoch 1");
    // Only then their processes have to be gone, and what comes next is above them all.
    resume(&mut story);
    assert!(story.core.env().names.contains(&"end_remains"));
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    story.core.env().end_agent("developer", PaneEnd::Gone);
    story.run(SECOND * 5);
    assert_eq!(story.core.env().agent("developer").launch.epoch, Epoch(8));
}

#[test]
fn a_newer_session_on_our_server_is_seen_as_well() {
    let mut story = running();
    story.core.env().strange.push(("p1-0042-e3".to_owned(), mark(3), None));
    sweeps(&mut story, 9);
    assert!(rests(&story));
    assert_eq!(told(&story, |what| matches!(what, What::Quarantined { found: Epoch(3), .. })), 1);
    assert_eq!(told(&story, |what| matches!(what, What::StrayFound { .. })), 0);
    left_alone(&mut story);
}

/// Its name says an older epoch than the newest that was found; it holds an agent that has to be gone first.
#[test]
fn a_session_of_a_lost_epoch_goes_with_the_agent_in_it() {
    let mut story = running();
    let trace = |epoch, token| Trace {
        slug: "p1-0042".to_owned(),
        epoch: Epoch(epoch),
        token: Some(mark(token)),
        what: format!("process {token}"),
    };
    story.core.env().strange.push(("p1-0042-e3".to_owned(), mark(3), Some(mark(4))));
    story.core.env().strange.push(("p1-0042-e2".to_owned(), mark(9), None));
    story.restart_after(vec![Event::Traced(vec![trace(3, 4), trace(7, 5)])]);
    sweeps(&mut story, 9);
    assert!(rests(&story));
    left_alone(&mut story);
    assert_eq!(story.core.env().strange.len(), 2);
    resume(&mut story);
    let left: Vec<Token> = story.core.env().strange.iter().map(|(_, token, _)| token.clone()).collect();
    assert_eq!(left, [mark(9)], "what holds nobody of ours is left alone");
    assert_eq!(told(&story, |what| matches!(what, What::StrayFound { .. })), 1);
}

/// It had been resumed and waited for its slot when the copy was made.
#[test]
fn who_waited_for_a_slot_rests_as_well() {
    let policy = || Policy { max_active: 1, ..Policy::default() };
    let mut story = Story::begin("Story", &["developer"], policy());
    story.run(SECOND);
    let now = |story: &mut Story| Now { at: story.core.env().at, wall: WallTime(0), seed: [0; 32] };
    let asked = |story: &mut Story, id: i64, kind: RequestKind| {
        let now = now(story);
        story.core.store().request(ProjectId(id), kind, &now).expect("asked");
        story.turn(Vec::new());
        story.run(SECOND);
    };
    asked(&mut story, 1, RequestKind::Suspend);
    story.enqueue(&crate::scripted::spec("Next", &["tester"]));
    story.run(SECOND);
    asked(&mut story, 1, RequestKind::Resume);
    assert_eq!(told(&story, |what| matches!(what, What::SlotAwaited { .. })), 1);
    story.core.env().names.clear();
    story.restart_after(vec![Event::Restored { had: Seq(900), has: Seq(20) }]);
    sweeps(&mut story, 3);
    let resting = |story: &Story| {
        story.core.fleet().projects().filter(|project| project.state() == ProjectState::Suspended).count()
    };
    assert_eq!(resting(&story), 2, "the slot is free, and nobody takes it");
    left_alone(&mut story);
    asked(&mut story, 1, RequestKind::Resume);
    assert_eq!(resting(&story), 1);
}

#[test]
fn a_session_that_nobody_knows_is_told_of_once_and_left_alone() {
    let mut story = running();
    story.core.env().strange.push(("p1-0042-e1".to_owned(), mark(1), None));
    story.core.env().strange.push(("p99-0042-e3".to_owned(), mark(9), None));
    sweeps(&mut story, 2);
    assert_eq!(told(&story, |what| matches!(what, What::StrayFound { .. })), 0, "it may be about to end");
    sweeps(&mut story, 9);
    assert_eq!(told(&story, |what| matches!(what, What::StrayFound { .. })), 2, "each once");
    left_alone(&mut story);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
}

#[test]
fn ids_that_a_lost_database_had_given_are_not_given_again() {
    let mut story = running();
    let now = Now { at: story.core.env().at, wall: WallTime(0), seed: [0; 32] };
    let store = story.core.store();
    store.skip_ids(ProjectId(40)).expect("written");
    store.skip_ids(ProjectId(7)).expect("written");
    assert_eq!(store.enqueue(&crate::scripted::spec("N", &["a"]), &now).expect("accepted").id, ProjectId(41));
    let dir = tempfile::tempdir().expect("a folder");
    let mut fresh = Store::open(&dir.path().join("orch.db"), Mode::Create).expect("made");
    fresh.set_installation("0042").expect("set");
    fresh.skip_ids(ProjectId(3)).expect("written");
    assert_eq!(fresh.enqueue(&crate::scripted::spec("N", &["a"]), &now).expect("accepted").id, ProjectId(4));
}

#[test]
fn after_a_restore_everything_rests_until_an_operator_says_so() {
    let mut story = running();
    story.restart_after(vec![Event::Restored { had: Seq(900), has: Seq(20) }]);
    sweeps(&mut story, 9);
    assert!(rests(&story));
    assert_eq!(told(&story, |what| matches!(what, What::StoreRestored { had: Seq(900), has: Seq(20) })), 1);
    left_alone(&mut story);
    resume(&mut story);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    assert_eq!(story.core.env().agents.len(), 1, "it is the same agent");
}

/// With a real `orch serve`, tmux, database and agent.
#[test]
fn a_backup_put_in_place_while_nobody_served_is_noticed_at_the_start() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let place = installation();
    let home = &place.home;
    enqueue(home, dir.path());
    let stop = |mut serve: crate::one_writer::Serving| {
        kill_process(serve.pid(), Signal::TERM).expect("told");
        assert!(serve.0.wait().expect("waited for").success());
    };
    // Before anything was started.
    let copy = dir.path().join("copy.db");
    let shell = rusqlite::Connection::open(home.db()).expect("opened");
    shell.execute("VACUUM INTO ?1", [copy.to_str().expect("UTF-8")]).expect("copied");
    drop(shell);
    let partial = home.backups().join("orch-20200101T000000Z.db.tmp");
    std::fs::write(&partial, "half").expect("written");
    let serve = serving(home);
    let pid = agent(home, 1);
    assert!(!partial.exists(), "what an interrupted backup left is removed (C39)");
    let process = process::identify(pid).expect("it runs");
    stop(serve);
    for end in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{end}", home.db().display())));
    }
    std::fs::copy(&copy, home.db()).expect("restored");
    let serve = serving(home);
    let store = Store::open(&home.db(), Mode::ReadOnly).expect("opened");
    crate::one_writer::until("it rests", || {
        let row = store.project_rows(None).expect("read").pop()?;
        (row.state == "suspended" && row.reason.as_deref() == Some("needs_operator") && row.epoch == 1).then_some(())
    });
    assert_eq!(count(home, |what| matches!(what, What::StoreRestored { .. })), 1);
    assert_eq!(count(home, |what| matches!(what, What::Quarantined { found: Epoch(1), .. })), 1);
    stop(serve);
    assert!(process::is_alive(process), "nobody was ended");
    // Once is enough.
    let serve = serving(home);
    assert_eq!(count(home, |what| matches!(what, What::StoreRestored { .. })), 1);
    stop(serve);
    // Another installation's database is not taken at all.
    let foreign = rusqlite::Connection::open(home.db()).expect("opened");
    foreign.execute("UPDATE meta SET value = 'beef' WHERE key = 'installation'", []).expect("changed");
    drop(foreign);
    let home_arg = home.dir().to_owned();
    let refused = std::process::Command::new(crate::one_writer::ORCH)
        .arg("--home")
        .arg(home_arg)
        .arg("serve")
        .output()
        .expect("it runs");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("it is of installation beef"), "{refused:?}");
}

/// The database knows it as queued, so of no session: whom a cancel has to end is known from the trace alone.
#[test]
fn a_project_in_quarantine_can_be_cancelled_with_all_that_was_found() {
    let mut story = Story::begin("Story", &["developer"], Policy { max_active: 0, ..Policy::default() });
    story.run(SECOND);
    let (slug, what) = ("p1-0042".to_owned(), "process 9".to_owned());
    story.restart_after(vec![Event::Traced(vec![Trace { slug, epoch: Epoch(2), token: Some(mark(5)), what }])]);
    sweeps(&mut story, 3);
    assert!(rests(&story));
    assert!(!story.core.env().names.contains(&"end_remains"));
    let now = Now { at: story.core.env().at, wall: WallTime(0), seed: [0; 32] };
    story.core.store().request(ProjectId(1), RequestKind::Cancel, &now).expect("asked");
    story.turn(Vec::new());
    story.run(SECOND * 5);
    assert!(story.core.env().names.contains(&"end_remains"));
    assert!(story.project().is_none(), "nothing is left to be done");
}
