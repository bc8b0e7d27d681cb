//! What the store promises to its callers.

use crate::scripted::{Story, spec};
use orchestrator::domain::id::{ProjectId, Seq};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::time::{Now, Span, Timestamp, WallTime};
use orchestrator::store::{Accepted, Mode, Store, StoreError};

fn now() -> Now {
    Now { at: Timestamp(5), wall: WallTime(5), seed: [0; 32] }
}

fn store(home: &tempfile::TempDir) -> Store {
    let mut store = Store::open(&home.path().join("orch.db"), Mode::Create).expect("a store");
    store.set_installation("0042").expect("a mark");
    store
}

#[test]
fn the_same_key_answers_the_same_project() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut store = store(&home);
    let mut keyed = spec("Keyed", &["developer"]);
    keyed.key = Some("mobile-v2".to_owned());
    assert_eq!(store.enqueue(&keyed, &now()).expect("accepted"), Accepted { id: ProjectId(1), new: true });
    assert_eq!(store.enqueue(&keyed, &now()).expect("known"), Accepted { id: ProjectId(1), new: false });
    assert_eq!(store.enqueue(&spec("Other", &["a"]), &now()).expect("accepted").id, ProjectId(2));
    assert_eq!(store.entries_after(Seq(0), 10).expect("a journal").len(), 2, "one event a project");
}

#[test]
fn memory_and_file_tell_the_same_after_every_turn() {
    let mut story = Story::begin("Same", &["developer", "tester"], Policy::default());
    for _ in 0..40 {
        story.run(Span::from_millis(1));
        let held: Vec<_> = story.core.fleet().projects().cloned().collect();
        let read = story.core.store().load_fleet(Policy::default()).expect("readable");
        let mut read: Vec<_> = read.projects().cloned().collect();
        // What is under way is not persisted, its outbox row is.
        for (read, held) in read.iter_mut().zip(&held) {
            (read.busy, read.looking, read.repairs) = (held.busy, held.looking, held.repairs);
            for (read, held) in read.roles.iter_mut().zip(&held.roles) {
                (read.busy, read.looking, read.look_again) = (held.busy, held.looking, held.look_again);
                read.collecting = held.collecting;
            }
        }
        assert_eq!(read, held);
    }
}

#[test]
fn a_row_that_somebody_else_changed_is_not_overwritten() {
    let mut story = Story::begin("Forged", &["developer"], Policy::default());
    story.run(Span::from_millis(100));
    let path = story.core.store().path().to_owned();
    let shell = rusqlite::Connection::open(path).expect("a connection");
    shell.execute_batch("UPDATE project SET version = version + 1").expect("a forger's write");
    story.core.env().kill_session("p1-0042-e1");
    story.core.env().at = story.core.env().at + Span::from_millis(1);
    let drained = vec![orchestrator::domain::event::Happened {
        seen_at: story.core.env().at,
        source: orchestrator::domain::event::Source::Pidfd,
        event: orchestrator::domain::event::Event::ProcessGone {
            project: ProjectId(1),
            role: orchestrator::domain::id::RoleName("developer".to_owned()),
            process: story.core.env().agents[0].process,
        },
    }];
    let refused = story.core.turn(drained.clone()).expect_err("a conflict");
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    assert_eq!(story.project().map(|project| project.version), Some(story_version(&mut story)), "it was read again");
    story.turn(drained);
}

fn story_version(story: &mut Story) -> i64 {
    let fleet = story.core.store().load_fleet(Policy::default()).expect("readable");
    fleet.project(ProjectId(1)).map(|project| project.version).expect("the project")
}

/// The clock is read before the write lock is had: whoever waited for the lock writes an earlier moment later.
#[test]
fn the_journal_does_not_go_back() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut store = store(&home);
    let at = |micros| Now { at: Timestamp(micros), ..now() };
    store.enqueue(&spec("Later", &["a"]), &at(9)).expect("accepted");
    store.enqueue(&spec("Read its clock first", &["a"]), &at(5)).expect("accepted");
    store.enqueue(&spec("Latest", &["a"]), &at(12)).expect("accepted");
    let told: Vec<_> = store.entries_after(Seq(0), 9).expect("a journal").iter().map(|entry| entry.at.0).collect();
    assert_eq!(told, [9, 9, 12]);
}

#[test]
fn bad_files_are_refused_in_words_and_left_alone() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let open = |name: &str| {
        let error = Store::open(&home.path().join(name), Mode::Existing).expect_err(name).to_string();
        error.replace(&home.path().display().to_string(), "DIR")
    };
    std::fs::write(home.path().join("empty.db"), "").expect("written");
    std::fs::write(home.path().join("garbage.db"), "x".repeat(5_000)).expect("written");
    let other = rusqlite::Connection::open(home.path().join("other.db")).expect("a connection");
    other.execute_batch("CREATE TABLE t (x)").expect("a table");
    let newer = home.path().join("newer.db");
    drop(Store::open(&newer, Mode::Create).expect("a store"));
    rusqlite::Connection::open(&newer).and_then(|db| db.pragma_update(None, "user_version", 99)).expect("a version");
    insta::assert_snapshot!([open("none.db"), open("empty.db"), open("garbage.db"), open("other.db"), open("newer.db")].join("\n"), @r"
    no database at DIR/none.db: run `orch init` first
    DIR/empty.db is not an orchestrator database: it is empty
    DIR/garbage.db is not an orchestrator database: it is not an SQLite database
    DIR/other.db is not an orchestrator database: its application_id is 0x0
    DIR/newer.db has schema 99, this program knows up to 1: use the newer program
    ");
    assert_eq!(std::fs::read(home.path().join("garbage.db")).expect("read").len(), 5_000, "left alone");
}
