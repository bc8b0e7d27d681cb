//! The legality table: Rust against SQL, and in full for reviewers (G9).

use crate::scripted::spec;
use orchestrator::domain::spec::Spec;
use orchestrator::domain::state::{ProjectEvent, ProjectState, RoleEvent, RoleState};
use orchestrator::domain::time::{Now, Timestamp, WallTime};
use orchestrator::store::{Mode, Store};
use rusqlite::Connection;

fn rows(connection: &Connection, table: &str) -> Vec<(String, String)> {
    let mut statement = connection
        .prepare(&format!("SELECT from_state, to_state FROM {table} ORDER BY from_state, to_state"))
        .expect("the table is there");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    rows.collect::<Result<_, _>>().expect("every row")
}

fn named<S: Copy + std::fmt::Display>(moves: Vec<(S, S)>) -> Vec<(String, String)> {
    let mut named: Vec<_> = moves.into_iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
    named.sort();
    named
}

/// A store with this project in its queue, for somebody with a sqlite3 shell.
fn shell(spec: &Spec) -> (tempfile::TempDir, Connection) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("orch.db");
    let mut store = Store::open(&path, Mode::Create).expect("a store");
    store.set_installation("0042").expect("a mark");
    store.enqueue(spec, &Now { at: Timestamp(1), wall: WallTime(1), seed: [0; 32] }).expect("accepted");
    (home, Connection::open(&path).expect("a connection"))
}

#[test]
fn sql_holds_exactly_the_moves_that_rust_mints() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("orch.db");
    drop(Store::open(&path, Mode::Create).expect("a store"));
    let connection = Connection::open(&path).expect("a connection");
    assert_eq!(rows(&connection, "project_move"), named(ProjectState::moves()));
    assert_eq!(rows(&connection, "role_move"), named(RoleState::moves()));
}

#[test]
fn every_pair_of_state_and_event_is_decided() {
    let mut table = String::new();
    for state in ProjectState::ALL {
        for event in ProjectEvent::ALL {
            if let Ok(moved) = state.next(*event) {
                table += &format!("project  {state:<13} {event:<16} -> {}\n", moved.to());
            }
        }
    }
    for state in RoleState::ALL {
        for event in RoleEvent::ALL {
            if let Ok(moved) = state.next(*event) {
                table += &format!("role     {state:<13} {event:<16} -> {}\n", moved.to());
            }
        }
    }
    let _area = snapshots::area("orchestrator/states");
    insta::assert_snapshot!("legal_moves", table);
}

/// Somebody with a sqlite3 shell is refused what `next` would refuse, and even a legal move without its event.
#[test]
fn the_database_refuses_what_next_does_not_mint() {
    let (_home, shell) = shell(&spec("Refused", &["developer"]));
    let refused = |sql: &str, why: &str| {
        let error = shell.execute_batch(sql).expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    };
    for from in ProjectState::ALL.iter().filter(|state| **state != ProjectState::Queued) {
        if !ProjectState::moves().contains(&(ProjectState::Queued, *from)) {
            refused(&format!("UPDATE project SET state = '{from}'"), "G9");
        }
    }
    refused("UPDATE project SET state = 'provisioning'", "G9: a move needs its event");
    refused("UPDATE project SET state = 'failed'", "G9");
    refused("UPDATE role SET state = 'done'", "G9: illegal move of a role");
    refused("UPDATE role SET state = 'starting'", "CHECK");
    refused("UPDATE event SET body = '{}'", "append-only");
    refused("DELETE FROM event", "append-only");
    refused("DELETE FROM project", "G1");
    refused("INSERT INTO event (seq, at_us, wall_us, event, body) VALUES (9, 1, 1, 'x', '{}')", "G9");
    refused(
        "INSERT INTO failure VALUES (1, 1, NULL, 'run', 'io', 'orch', '[\"x\"]', NULL, 'reason', 'None', 'null', NULL, '', 0, 0.5)",
        "CHECK",
    );
}

/// What else keeps a row from lying: each CHECK and index is asked by a statement that every other guard lets pass.
#[test]
fn a_row_that_contradicts_itself_is_refused_even_with_its_event() {
    let (_home, shell) = shell(&spec("Contradiction", &["developer", "tester"]));
    let refused = |sql: &str, why: &str| {
        let error = shell.execute_batch(sql).expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    };
    // A move together with its event: only what is wrong with the row itself is left to refuse.
    let moving = |from: &str, to: &str| {
        format!(
            "INSERT INTO event (seq, at_us, wall_us, project_id, event, body)
             SELECT max(seq) + 1, 1, 1, 1, 'project_moved', json_object('from', '{from}', 'to', '{to}') FROM event;
             UPDATE project SET state = '{to}', moved_seq = (SELECT max(seq) FROM event)"
        )
    };
    refused(&moving("queued", "running"), "G9: illegal move of a project");
    refused(&moving("queued", "failed"), "last_failure IS NOT NULL");
    shell.execute_batch(&moving("queued", "provisioning")).expect("a legal move with its event");
    refused(&moving("provisioning", "launching"), "session_name IS NOT NULL");
    refused("UPDATE project SET reason = 'needs_operator'", "needs_operator");
    refused(&format!("UPDATE role SET token = '{}'", "a".repeat(32)), "UNIQUE");
    refused(
        "INSERT INTO project (title, slug, priority, spec, state, enqueued_us, state_us, breaker)
         VALUES ('x', 'x', 0, '{}', 'completed', 1, 1, '{}')",
        "G9: a project is born queued",
    );
    refused(
        "INSERT INTO role (project_id, ordinal, name, state) VALUES (1, 9, 'late', 'dead')",
        "G9: a role is born absent",
    );
    let evidence = |argv: &str, state: &str, stderr: &str| {
        format!(
            "INSERT INTO failure VALUES (1, 1, NULL, 'run', 'io', 'orch', '{argv}', NULL, 'reason', 'why', '{state}',
                                         {stderr}, '', 0, 0.5)"
        )
    };
    refused(&evidence("[]", "null", "NULL"), "json_array_length");
    refused(&evidence("[\"x\"]", "text", "NULL"), "stderr_state");
    refused(&evidence("[\"x\"]", "text", "''"), "stderr_state");
    refused(&evidence("[\"x\"]", "null", "'words'"), "stderr_state");
}

#[test]
fn a_word_that_no_state_has_is_refused() {
    let (_home, shell) = shell(&spec("Words", &["developer"]));
    let session = "session_name = 'one', session_token = printf('%032d', 1)";
    let is = |set: &str| shell.execute(&format!("UPDATE project SET {set}"), []);
    for word in ["breaker", "credit", "operator"] {
        assert_eq!(is(&format!("reason = '{word}'")), Ok(1));
    }
    for word in ["closed", "open", "half_open"] {
        assert_eq!(is(&format!("breaker_state = '{word}'")), Ok(1));
    }
    for word in ["intended", "live", "gone"] {
        assert_eq!(is(&format!("{session}, session_is = '{word}'")), Ok(1));
    }
    let bare = "session_name = NULL, session_token = NULL, session_is = NULL, reason = NULL";
    assert_eq!(is(bare), Ok(1));
    let refused = |set: &str| is(set).expect_err(set);
    refused("reason = 'bored'");
    refused("breaker_state = 'ajar'");
    refused(&format!("{session}, session_is = 'lost'"));
    // The triggers would refuse the move; this is about the row.
    shell.execute_batch("DROP TRIGGER project_legal; DROP TRIGGER project_journaled").expect("dropped");
    refused("state = 'launching'");
    assert_eq!(is(&format!("{session}, session_is = 'intended', state = 'launching'")), Ok(1));
}
