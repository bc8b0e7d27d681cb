//! `orch audit`: what the core writes passes, and every invariant goes red on a database that was forged against it.

use crate::scripted::Story;
use orchestrator::domain::event::{PaneEnd, Report};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::time::Span;
use orchestrator::store::{Audited, Mode, Store};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// A project that died once, was recovered and completed.
fn lived() -> (Story, PathBuf) {
    let mut story = Story::begin("Audited", &["developer", "tester"], Policy::default());
    story.run(Span::from_secs(1));
    story.core.env().end_agent("developer", PaneEnd::Dead { code: None, signal: Some(9) });
    story.run(Span::from_secs(1));
    for name in ["developer", "tester"] {
        story.core.env().report(name, Span::from_secs(1), Report::Done(None));
    }
    story.run(Span::from_secs(3));
    let path = story.core.store().path().to_owned();
    (story, path)
}

fn audit(path: &Path) -> Vec<Audited> {
    Store::open(path, Mode::Existing).and_then(|mut store| store.audit(&Policy::default())).expect("readable")
}

fn red(path: &Path) -> Vec<&'static str> {
    audit(path).into_iter().filter(|one| one.violations > 0).map(|one| one.id).collect()
}

/// What only somebody with a shell can do: no trigger, no CHECK, no reference is in the way.
fn forge(path: &Path, sql: &str) {
    let shell = Connection::open(path).expect("a connection");
    shell.pragma_update(None, "foreign_keys", false).expect("set");
    shell.pragma_update(None, "ignore_check_constraints", true).expect("set");
    let mut triggers = shell.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").expect("a query");
    let names: Vec<String> =
        triggers.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
    for name in names {
        shell.execute_batch(&format!("DROP TRIGGER {name}")).expect("dropped");
    }
    shell.execute_batch(sql).expect("forged");
}

#[test]
fn what_the_core_writes_passes() {
    let (_story, path) = lived();
    let audited = audit(&path);
    assert!(audited.len() > 20);
    assert_eq!(red(&path), [""; 0]);
}

/// Each id with the forgeries on which it must go red.
const FORGERIES: &[(&str, &str)] = &[
    ("S1.enqueued", "DELETE FROM event WHERE event = 'project_enqueued'"),
    (
        "S1.enqueued",
        "INSERT INTO event SELECT (SELECT max(seq) + 1 FROM event), at_us, wall_us, project_id, role, event, body
                      FROM event WHERE event = 'project_enqueued'",
    ),
    ("S1.kept", "DELETE FROM project"),
    ("S1.state", "UPDATE project SET state = 'lost'"),
    ("S2.project_moves", "DELETE FROM event WHERE seq = (SELECT min(seq) FROM event WHERE event = 'project_moved')"),
    (
        "S2.project_moves",
        "UPDATE event SET body = json_set(body, '$.to', 'completed')
                           WHERE seq = (SELECT min(seq) FROM event WHERE event = 'project_moved')",
    ),
    ("S2.project_rows", "UPDATE project SET state = 'running'"),
    ("S2.project_rows", "UPDATE project SET moved_seq = NULL"),
    ("S2.role_moves", "DELETE FROM event WHERE seq = (SELECT min(seq) FROM event WHERE event = 'role_moved')"),
    ("S2.role_rows", "UPDATE role SET state = 'working'"),
    ("S3.session", "UPDATE project SET state = 'running', session_name = NULL"),
    ("S3.session", "UPDATE project SET state = 'briefing', session_name = ''"),
    ("S5.certified", "DELETE FROM event WHERE event = 'project_certified'"),
    ("S5.certified", "UPDATE event SET body = json_set(body, '$.epoch', 1) WHERE event = 'project_certified'"),
    ("S5.state", "UPDATE event SET event = 'x' WHERE event = 'project_certified'"),
    (
        "S7.window",
        "INSERT INTO attempt SELECT seq + 100, project_id, at_us + 1, cause, 0 FROM attempt;
                   INSERT INTO attempt SELECT seq + 200, project_id, at_us + 2, cause, 0 FROM attempt",
    ),
    ("S7.attempts", "DELETE FROM attempt"),
    ("S7.attempts", "UPDATE attempt SET seq = 1"),
    ("S9.evidence", "UPDATE failure SET detail = 'None'"),
    ("S9.evidence", "UPDATE failure SET argv = '[]'"),
    ("S9.evidence", "UPDATE failure SET stderr_state = 'text', stderr = NULL"),
    ("S9.recorded", "DELETE FROM failure"),
    ("S9.recorded", "UPDATE project SET state = 'failed', last_failure = NULL"),
    ("S13.resolved", "UPDATE outbox SET resolved_us = NULL, outcome = NULL"),
    ("S6.token", "UPDATE role SET state = 'working', token = NULL"),
    ("S6.token", "DROP INDEX role_token; UPDATE role SET token = printf('%032d', 7)"),
    (
        "S6.session",
        "UPDATE project SET state = 'running';
                    INSERT INTO project (id, title, slug, priority, spec, state, enqueued_us, state_us, breaker,
                                         session_name, session_token, session_is)
                    SELECT 2, title, 'p2', priority, spec, state, 1, 1, breaker, session_name, session_token, session_is
                      FROM project",
    ),
    ("S12.gap", "DELETE FROM event WHERE seq = 5"),
    ("S12.gap", "UPDATE event SET seq = 0 WHERE seq = 1"),
    ("S12.columns", "UPDATE event SET event = 'x' WHERE seq = 5"),
    ("S12.columns", "UPDATE event SET role = 'nobody' WHERE seq = 5"),
    ("G9.guards", ""),
    ("G9.references", "UPDATE role SET project_id = 77"),
    ("G15.integrity", "UPDATE project SET priority = priority, reason = 'because'"),
];

#[test]
fn every_invariant_goes_red() {
    for (id, sql) in FORGERIES {
        let (_story, path) = lived();
        forge(&path, sql);
        let red = red(&path);
        assert!(red.contains(id), "{id} does not see {sql}; red: {red:?}");
    }
    let (_story, path) = lived();
    for one in audit(&path) {
        assert!(FORGERIES.iter().any(|(id, _)| *id == one.id), "{} has no forgery", one.id);
    }
}
