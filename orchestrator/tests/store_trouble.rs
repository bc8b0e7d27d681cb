//! No store, no side effects (G15): whatever happens to the database file, nothing is performed meanwhile, and the
//! core goes on when it is healed.

use crate::scripted::{Story, spec};
use orchestrator::domain::event::{Event, Happened, PaneEnd, Source};
use orchestrator::domain::fleet::Tmux;
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Signal, What};
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Now, Span, Timestamp, WallTime};
use orchestrator::store::{Class, Mode, Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running project whose agent has just died, and nobody has been told yet.
fn wounded() -> (Story, PathBuf) {
    let mut story = Story::begin("Trouble", &["developer"], Policy::default());
    story.run(Span::from_secs(1));
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    let path = story.core.store().path().to_owned();
    story.core.store().set_busy_timeout(Duration::from_millis(5)).expect("set");
    story.core.env().end_agent("developer", PaneEnd::Dead { code: None, signal: Some(9) });
    (story, path)
}

fn gone(story: &mut Story) -> Happened {
    let at = story.core.env().at;
    let process = story.core.env().agents[0].process;
    let event = Event::ProcessGone { project: ProjectId(1), role: RoleName("developer".to_owned()), process };
    Happened { seen_at: at, source: Source::Pidfd, event }
}

fn sweep(story: &mut Story) -> Happened {
    Happened { seen_at: story.core.env().at, source: Source::Sweep, event: Event::SweepDue }
}

/// Gives the core the death and then three sweeps; every one is refused and nothing is performed. The event is lost.
fn degraded(story: &mut Story) -> Vec<StoreError> {
    let before = story.core.env().submitted;
    let mut errors = vec![gone(story)];
    let mut met = Vec::new();
    for _ in 0..4 {
        met.push(story.core.turn(std::mem::take(&mut errors)).expect_err("refused"));
        errors = vec![sweep(story)];
        story.core.env().at = story.core.env().at + Span::from_millis(1);
    }
    assert_eq!(story.core.env().submitted, before, "nothing is performed without a store");
    met
}

/// The sweep after it is healed finds what happened, and the agent is replaced.
fn goes_on(story: &mut Story) {
    // The event of the death is lost on purpose: only a sweep can find it.
    story.core.env().at = story.core.env().at + Span::from_secs(1);
    let due = sweep(story);
    story.turn(vec![due]);
    story.run(Span::from_secs(2));
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    assert_eq!(story.core.env().agents.len(), 2, "it was replaced, once");
    assert!(story.core.env().agent("developer").alive);
    let path = story.core.store().path().to_owned();
    let audited = Store::open(&path, Mode::Existing).and_then(|mut store| store.audit(&Policy::default()));
    let red: Vec<_> = audited.expect("readable").into_iter().filter(|one| one.violations > 0).collect();
    assert_eq!(red, []);
}

fn code(error: &StoreError) -> Option<rusqlite::ErrorCode> {
    if let StoreError::Sqlite(error) = error { error.sqlite_error_code() } else { None }
}

/// The file and what belongs to it, brought elsewhere as one whole.
fn copied(path: &Path, name: &str) -> PathBuf {
    let to = path.with_file_name(name);
    let shell = rusqlite::Connection::open(path).expect("a connection");
    shell.execute("VACUUM INTO ?1", [to.to_str().expect("UTF-8")]).expect("copied");
    to
}

fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{end}", path.display())));
    }
}

#[test]
fn a_locked_database() {
    let (mut story, path) = wounded();
    let other = rusqlite::Connection::open(&path).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for error in degraded(&mut story) {
        assert_eq!((code(&error), error.class()), (Some(rusqlite::ErrorCode::DatabaseBusy), Class::Transient));
    }
    other.execute_batch("ROLLBACK").expect("unlocked");
    goes_on(&mut story);
}

#[test]
fn a_full_disk() {
    let (mut story, _path) = wounded();
    // The pages that exist have room yet; a journal entry of many pages has not.
    story.core.store().set_pages_max(1).expect("set");
    let large = What::OrchestratorStopped { reason: "x".repeat(1 << 20) };
    let now = Now { at: Timestamp(5), wall: WallTime(5), seed: [0; 32] };
    let error = story.core.store().journal(Signal::fleet(large), &now).expect_err("full");
    assert_eq!((code(&error), error.class()), (Some(rusqlite::ErrorCode::DiskFull), Class::Transient));
    let before = story.core.env().submitted;
    let mut error = None;
    let happened = gone(&mut story);
    // Newcomers fill what is left; the turn that does not fit performs nothing of what it decided.
    for _ in 0..500 {
        story.core.env().at = story.core.env().at + Span::from_millis(1);
        let reason = "y".repeat(300);
        let rejected = Event::SpoolRejected { name: "n".to_owned(), reason };
        let filler = Happened { event: rejected, ..happened.clone() };
        if let Err(full) = story.core.turn(vec![filler]) {
            error = Some(full);
            break;
        }
    }
    assert_eq!(error.as_ref().and_then(code), Some(rusqlite::ErrorCode::DiskFull));
    assert_eq!(story.core.env().submitted, before);
    drop(story.core.turn(vec![happened]).expect_err("still full"));
    assert_eq!(story.core.env().submitted, before, "nothing is performed without a store");
    story.core.store().set_pages_max(1 << 30).expect("set");
    goes_on(&mut story);
}

#[test]
fn a_connection_that_can_only_read() {
    let (mut story, path) = wounded();
    *story.core.store() = Store::open(&path, Mode::ReadOnly).expect("opened");
    let before = story.core.env().submitted;
    let happened = gone(&mut story);
    let error = story.core.turn(vec![happened]).expect_err("read-only");
    assert_eq!((code(&error), error.class()), (Some(rusqlite::ErrorCode::ReadOnly), Class::Transient));
    assert_eq!(story.core.env().submitted, before);
    // It is opened again by the next turn.
    goes_on(&mut story);
}

#[test]
fn an_unlinked_file() {
    let (mut story, path) = wounded();
    let kept = copied(&path, "kept.db");
    remove(&path);
    for error in degraded(&mut story) {
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
        assert_eq!(error.class(), Class::Transient);
        assert!(!path.exists(), "nothing is made in its place");
    }
    std::fs::rename(kept, &path).expect("put back");
    goes_on(&mut story);
}

#[test]
fn a_file_that_was_moved_away_and_back() {
    let (mut story, path) = wounded();
    let away = path.with_file_name("away.db");
    std::fs::rename(&path, &away).expect("moved");
    degraded(&mut story);
    std::fs::rename(away, &path).expect("moved back");
    goes_on(&mut story);
}

#[test]
fn an_older_copy_in_its_place_is_not_taken() {
    let (mut story, path) = wounded();
    let older = copied(&path, "older.db");
    story.run(Span::from_secs(1));
    story.core.env().end_agent("developer", PaneEnd::Dead { code: None, signal: Some(9) });
    let newer = copied(&path, "newer.db");
    remove(&path);
    std::fs::rename(older, &path).expect("replaced");
    let before = (story.core.env().submitted, story.core.env().agents.len());
    for _ in 0..3 {
        let due = sweep(&mut story);
        let error = story.core.turn(vec![due]).expect_err("an older one");
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
    }
    assert_eq!((story.core.env().submitted, story.core.env().agents.len()), before);
    remove(&path);
    std::fs::rename(newer, &path).expect("replaced");
    story.core.env().at = story.core.env().at + Span::from_secs(60);
    let due = sweep(&mut story);
    story.turn(vec![due]);
    story.run(Span::from_secs(60));
    assert_eq!(story.core.env().agents.len(), 3, "the second death was found by the sweep");
}

#[test]
fn another_installations_database_is_not_taken_and_left_alone() {
    let (mut story, path) = wounded();
    let kept = copied(&path, "kept.db");
    remove(&path);
    let mut other = Store::open(&path, Mode::Create).expect("made");
    other.set_installation("beef").expect("a mark");
    let now = Now { at: Timestamp(5), wall: WallTime(5), seed: [0; 32] };
    for _ in 0..200 {
        other.enqueue(&spec("Theirs", &["a"]), &now).expect("accepted");
    }
    drop(other);
    let bytes = std::fs::read(&path).expect("read");
    for error in degraded(&mut story) {
        assert!(matches!(error, StoreError::Vanished { .. }), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("read"), bytes, "it is left alone");
    std::fs::write(&path, "x".repeat(5_000)).expect("garbage");
    let error = story.core.turn(Vec::new()).expect_err("garbage");
    assert_eq!(error.class(), Class::Permanent, "{error}");
    remove(&path);
    std::fs::rename(kept, &path).expect("put back");
    goes_on(&mut story);
}

#[test]
fn whoever_lost_the_lease_writes_nothing_and_does_nothing() {
    let (mut story, path) = wounded();
    let (first, second) = (ProcessId { pid: 7, start: 1 }, ProcessId { pid: 8, start: 2 });
    let store = story.core.store();
    assert_eq!(store.take_lease(first, Timestamp(1), None).expect("taken"), 1);
    let now = Now { at: Timestamp(5), wall: WallTime(5), seed: [0; 32] };
    let stopped = || Signal::fleet(What::OrchestratorStopped { reason: "x".to_owned() });
    store.journal(stopped(), &now).expect("it holds the lease");
    let mut other = Store::open(&path, Mode::Existing).expect("opened");
    assert_eq!(other.take_lease(second, Timestamp(2), None).expect("taken"), 2);
    let before = (story.core.env().submitted, other.last_seq().expect("read"));
    let fenced = |error: StoreError| matches!(error, StoreError::Fenced { holder } if holder == second);
    let happened = gone(&mut story);
    assert!(fenced(story.core.turn(vec![happened]).expect_err("fenced")));
    assert!(fenced(story.core.turn(Vec::new()).expect_err("fenced for good")));
    let store = story.core.store();
    assert!(fenced(store.journal(stopped(), &now).expect_err("fenced")));
    assert!(fenced(store.supersede_intents(Timestamp(9)).expect_err("fenced")));
    assert!(fenced(store.prove(Timestamp(9)).expect_err("fenced")));
    assert!(fenced(store.release_lease().expect_err("fenced")));
    let (boot_id, at) = ("b".to_owned(), Timestamp(9));
    let anchor = orchestrator::domain::time::Anchor { boot_id, mono_us: 1, at, wall_us: 1, told: at };
    assert!(fenced(store.set_anchor(&anchor).expect_err("fenced")));
    assert_eq!((story.core.env().submitted, other.last_seq().expect("read")), before);
    // The newest goes on, and renews its lease with the anchor.
    other.set_anchor(&anchor).expect("it holds the lease");
    assert_eq!(other.lease().expect("read").map(|lease| lease.renewed), Some(Timestamp(9)));
}

/// A store that takes no write, and a connection that can heal it.
fn full() -> (Story, rusqlite::Connection) {
    let (mut story, path) = wounded();
    story.core.store().take_lease(ProcessId { pid: 7, start: 1 }, Timestamp(1), None).expect("taken");
    let other = rusqlite::Connection::open(&path).expect("a connection");
    other
        .execute_batch("CREATE TRIGGER full BEFORE UPDATE ON lease BEGIN SELECT RAISE(ABORT, 'planted'); END")
        .expect("set up");
    (story, other)
}

/// A turn that writes nothing is no proof that the store can be written: it stays refused until it can be.
#[test]
fn a_store_that_takes_no_write_is_in_trouble_for_idle_turns_too() {
    let (mut story, other) = full();
    story.turn(Vec::new());
    story.core.distrust();
    let before = story.core.env().submitted;
    for _ in 0..3 {
        let error = story.core.turn(Vec::new()).expect_err("still refused");
        assert!(error.to_string().contains("planted"), "{error}");
    }
    assert_eq!(story.core.env().submitted, before, "nothing is performed without a store");
    other.execute_batch("DROP TRIGGER full").expect("healed");
    story.turn(Vec::new());
    let lease = story.core.store().lease().expect("read").expect("a lease");
    assert_eq!(lease.renewed, Timestamp(1), "a proof is no look at the world");
    goes_on(&mut story);
}

/// Its link tells of a loss once. Nobody may forget it because the store could not even be trusted again.
#[test]
fn the_loss_of_tmux_outlives_a_store_that_takes_no_write() {
    let (mut story, other) = full();
    story.core.distrust();
    let event = Event::TmuxLost { reason: "no answer".to_owned() };
    let lost = Happened { seen_at: story.core.env().at, source: Source::Control, event };
    story.core.turn(vec![lost]).expect_err("refused");
    story.core.turn(Vec::new()).expect_err("still refused");
    assert_ne!(story.core.fleet().tmux, Tmux::Unknown, "nothing is known that is not committed");
    other.execute_batch("DROP TRIGGER full").expect("healed");
    story.turn(Vec::new());
    assert_eq!(story.core.fleet().tmux, Tmux::Unknown);
}

/// A row that is set to what it holds is not written at all, and an idle turn has no other row.
#[test]
fn the_proof_changes_the_file() {
    let (mut story, path) = wounded();
    let store = story.core.store();
    store.take_lease(ProcessId { pid: 7, start: 1 }, Timestamp(1), None).expect("taken");
    store.supersede_intents(Timestamp(2)).expect("nothing is open any more");
    let reader = Store::open(&path, Mode::ReadOnly).expect("opened");
    let before = reader.data_version().expect("read");
    story.core.store().prove(Timestamp(3)).expect("it can be written");
    assert_ne!(reader.data_version().expect("read"), before);
}

/// What a person, or a defect of SQLite's, would have to do to make it refuse at a certain moment.
fn refusing(sql: &str, healed: &str) {
    let (mut story, path) = wounded();
    let other = rusqlite::Connection::open(&path).expect("a connection");
    other.execute_batch(sql).expect("set up");
    let last = story.core.store().last_seq().expect("read");
    let before = story.core.env().submitted;
    for _ in 0..3 {
        let happened = gone(&mut story);
        let error = story.core.turn(vec![happened]).expect_err("refused");
        assert_eq!(code(&error), Some(rusqlite::ErrorCode::ConstraintViolation), "{error}");
    }
    assert_eq!(story.core.env().submitted, before, "nothing is performed without a store");
    assert_eq!(story.core.store().last_seq().expect("read"), last, "nothing of a refused turn is there");
    other.execute_batch(healed).expect("healed");
    drop(other);
    goes_on(&mut story);
}

#[test]
fn an_insert_that_raises_in_the_middle_of_a_turn() {
    refusing(
        "CREATE TRIGGER stop BEFORE INSERT ON event WHEN NEW.event = 'role_moved' OR NEW.event = 'agent_died'
         BEGIN SELECT raise(ABORT, 'I/O error'); END",
        "DROP TRIGGER stop",
    );
}

#[test]
fn an_outbox_that_raises_at_the_end_of_a_turn() {
    refusing(
        "CREATE TRIGGER stop BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'I/O error'); END;
         CREATE TRIGGER stop_too BEFORE UPDATE ON role BEGIN SELECT raise(ABORT, 'I/O error'); END",
        "DROP TRIGGER stop; DROP TRIGGER stop_too",
    );
}

/// Every statement of the turn works, and COMMIT itself does not.
#[test]
fn a_commit_that_is_vetoed() {
    refusing(
        "CREATE TABLE veto (id REFERENCES project (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER stop AFTER INSERT ON event BEGIN INSERT INTO veto VALUES (-1); END",
        "DROP TRIGGER stop; DROP TABLE veto",
    );
}

/// The commit came through and its reply did not: the core believes nothing, reads again, and what was ordered is
/// found missing and ordered once more. So at every turn of a project's life, one after the other.
#[test]
fn a_reply_that_is_lost_after_any_commit() {
    let mut turns = 0;
    for nth in 0..60 {
        let mut story = Story::begin("Trouble", &["developer", "tester"], Policy::default());
        let step = |story: &mut Story| {
            let until = story.core.env().at + Span::from_secs(5);
            story.step(until)
        };
        for _ in 0..nth {
            step(&mut story);
        }
        let journal = story.core.store().last_seq().expect("read");
        story.core.env().lost = true;
        let went_on = step(&mut story);
        story.core.env().lost = false;
        story.core.distrust();
        turns += u32::from(story.core.store().last_seq().expect("read") > journal);
        for _ in 0..12 {
            let due = sweep(&mut story);
            story.turn(vec![due]);
            story.run(Span::from_secs(5));
        }
        let project = story.project().expect("the project");
        assert_eq!(project.state(), ProjectState::Running, "turn {nth}");
        assert_eq!(project.breaker.attempts.len(), 0, "turn {nth}: nobody is charged for it");
        let living = story.core.env().agents.iter().filter(|agent| agent.alive).count();
        assert_eq!((living, story.core.env().agents.len()), (2, 2), "turn {nth}");
        let path = story.core.store().path().to_owned();
        let audited = Store::open(&path, Mode::Existing).and_then(|mut store| store.audit(&Policy::default()));
        let red: Vec<_> = audited.expect("readable").into_iter().filter(|one| one.violations > 0).collect();
        assert_eq!(red, [], "turn {nth}");
        if !went_on {
            break;
        }
    }
    assert!(turns > 8, "only {turns} turns wrote anything");
}

/// Written over in place: the file is the one that was opened, and what is in it is not what was written.
#[test]
fn a_file_that_is_written_over_in_place() {
    let (mut story, path) = wounded();
    let kept = copied(&path, "kept.db");
    // Everything is in the file itself, and nothing of it in the connection's own memory.
    *story.core.store() = Store::open(&path, Mode::Existing).expect("opened");
    for end in ["", "-wal"] {
        let file = format!("{}{end}", path.display());
        let bytes = std::fs::read(&file).map_or(0, |bytes| bytes.len());
        let over = std::fs::OpenOptions::new().write(true).open(&file);
        if let Ok(over) = over {
            use std::os::unix::fs::FileExt as _;
            over.write_all_at(&vec![0x5a; bytes.saturating_sub(100)], 100).expect("written over");
        }
    }
    for error in degraded(&mut story) {
        assert_eq!(error.class(), Class::Permanent, "said to be nothing that passes: {error}");
    }
    remove(&path);
    std::fs::rename(kept, &path).expect("put back");
    goes_on(&mut story);
}

/// What a start found out about the time before it is told once: it waits for the first turn that can be committed.
#[test]
fn what_a_start_found_out_outlives_a_turn_that_is_refused() {
    let (mut story, path) = wounded();
    let before = story.told.iter().filter(|entry| matches!(entry.signal.what, What::OrchestratorAway { .. })).count();
    let other = rusqlite::Connection::open(&path).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let at = story.core.env().at;
    let away = Span::from_secs(3_600);
    let first = [Event::Away { away, counted: away }, Event::Started];
    let first = first.map(|event| Happened { seen_at: at, source: Source::Sweep, event });
    story.core.turn(first.to_vec()).expect_err("refused");
    let due = sweep(&mut story);
    story.core.turn(vec![due]).expect_err("refused still");
    other.execute_batch("ROLLBACK").expect("free");
    let due = sweep(&mut story);
    story.turn(vec![due]);
    let noticed = |story: &Story| {
        story.told.iter().filter(|entry| matches!(entry.signal.what, What::OrchestratorAway { .. })).count()
    };
    assert_eq!(noticed(&story), before + 1, "{:#?}", story.told);
    let due = sweep(&mut story);
    story.turn(vec![due]);
    assert_eq!(noticed(&story), before + 1, "once");
}
