//! The invariants that can be seen in the database as a whole, each a query that counts its violations.
//!
//! The schema refuses most of them row by row; this is for what no CHECK sees, and for a file that somebody else wrote
//! to. `orch audit` shows them; each has a test in which it goes red.

use super::error::StoreError;
use super::open::Store;
use crate::domain::limits::Policy;
use rusqlite::{Connection, named_params};
use serde::Serialize;

/// One invariant, and how often it is violated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Audited {
    /// Its id: that of the invariant or guarantee it is a part of, and its name.
    pub id: &'static str,
    /// What has to hold.
    pub holds: &'static str,
    /// How many violations there are.
    pub violations: u64,
}

/// Id, what has to hold, and the query that counts violations. Of the policy a query may use `:max` (attempts) and
/// `:window` (microseconds).
const QUERIES: &[(&str, &str, &str)] = &[
    (
        "S1.enqueued",
        "every project was enqueued exactly once",
        "SELECT count(*) FROM project p WHERE 1 <>
             (SELECT count(*) FROM event e WHERE e.project_id = p.id AND e.event = 'project_enqueued')",
    ),
    (
        "S1.kept",
        "no project that was ever accepted is missing",
        "SELECT abs((SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'project')
                    - (SELECT count(*) FROM project))",
    ),
    (
        "S1.state",
        "every project is in exactly one known state",
        "SELECT count(*) FROM project WHERE state NOT IN ('queued', 'provisioning', 'launching', 'briefing', 'running',
                                                          'recovering', 'suspended', 'completed', 'failed', 'cancelled')",
    ),
    (
        "S2.project_moves",
        "every journaled move of a project is legal and begins where the last one ended",
        "SELECT count(*) FROM
             (SELECT json_extract(body, '$.from') AS f, json_extract(body, '$.to') AS t,
                     lag(json_extract(body, '$.to'), 1, 'queued') OVER (PARTITION BY project_id ORDER BY seq) AS last
                FROM event WHERE event = 'project_moved')
          WHERE f IS NOT last OR NOT EXISTS (SELECT 1 FROM project_move WHERE from_state = f AND to_state = t)",
    ),
    (
        "S2.project_rows",
        "replaying the journal gives the state of every project",
        "SELECT count(*) FROM project p
           LEFT JOIN (SELECT project_id, max(seq) AS seq FROM event WHERE event = 'project_moved' GROUP BY project_id) m
             ON m.project_id = p.id
           LEFT JOIN event e ON e.seq = m.seq
          WHERE p.state IS NOT coalesce(json_extract(e.body, '$.to'), 'queued') OR p.moved_seq IS NOT m.seq",
    ),
    (
        "S2.role_moves",
        "every journaled move of a role is legal and begins where the last one ended",
        "SELECT count(*) FROM
             (SELECT json_extract(body, '$.from') AS f, json_extract(body, '$.to') AS t,
                     lag(json_extract(body, '$.to'), 1, 'absent') OVER (PARTITION BY project_id, role ORDER BY seq) AS last
                FROM event WHERE event = 'role_moved')
          WHERE f IS NOT last OR NOT EXISTS (SELECT 1 FROM role_move WHERE from_state = f AND to_state = t)",
    ),
    (
        "S2.role_rows",
        "replaying the journal gives the state of every role",
        "SELECT count(*) FROM role r
           LEFT JOIN (SELECT project_id, role, max(seq) AS seq FROM event WHERE event = 'role_moved'
                       GROUP BY project_id, role) m
             ON m.project_id = r.project_id AND m.role = r.name
           LEFT JOIN event e ON e.seq = m.seq
          WHERE r.state IS NOT coalesce(json_extract(e.body, '$.to'), 'absent')",
    ),
    (
        "S3.session",
        "a project that is being launched, briefed or run has its session recorded",
        "SELECT count(*) FROM project WHERE state IN ('launching', 'briefing', 'running')
            AND (session_name IS NULL OR session_name = '' OR session_token IS NULL OR session_is IS NULL)",
    ),
    (
        "S5.certified",
        "no project was completed without its resources being verified in that epoch",
        "SELECT count(*) FROM event m
          WHERE m.event = 'project_moved' AND json_extract(m.body, '$.to') = 'completed'
            AND NOT EXISTS (SELECT 1 FROM event c
                             WHERE c.project_id = m.project_id AND c.event = 'project_certified' AND c.seq < m.seq
                               AND json_extract(c.body, '$.epoch') IS json_extract(m.body, '$.epoch')
                               AND NOT EXISTS (SELECT 1 FROM event b
                                                WHERE b.project_id = m.project_id AND b.event = 'project_moved'
                                                  AND b.seq > c.seq AND b.seq < m.seq))",
    ),
    (
        "S5.state",
        "every completed project has a certificate",
        "SELECT count(*) FROM project p WHERE p.state = 'completed' AND NOT EXISTS
             (SELECT 1 FROM event e WHERE e.project_id = p.id AND e.event = 'project_certified')",
    ),
    (
        "S7.window",
        "no sliding window holds more recoveries of a project than the budget",
        // An operator's reset of the breaker, or retry, begins the window anew; a probe is bounded by the breaker.
        "SELECT count(*) FROM attempt a WHERE a.probe = 0 AND :max <
             (SELECT count(*) FROM attempt b
               WHERE b.project_id = a.project_id AND b.seq <= a.seq AND b.at_us > a.at_us - :window
                 AND NOT EXISTS (SELECT 1 FROM event e
                                  WHERE e.project_id = a.project_id AND e.seq BETWEEN b.seq AND a.seq
                                    AND e.event = 'operator_asked'
                                    AND json_extract(e.body, '$.kind') IN ('retry', 'breaker_reset')))",
    ),
    (
        "S7.attempts",
        "every recovery in the journal is counted, and nothing else is",
        "SELECT (SELECT count(*) FROM event e WHERE e.event = 'recovery_started'
                    AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.seq = e.seq AND a.project_id = e.project_id))
              + (SELECT count(*) FROM attempt a
                  WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.seq = a.seq AND e.event = 'recovery_started'))",
    ),
    (
        "S9.evidence",
        "every failure says what was run, how it ended and what became of its stderr",
        "SELECT count(*) FROM failure
          WHERE kind = '' OR stage = '' OR program = '' OR trim(detail) = '' OR lower(trim(detail)) = 'none'
             OR NOT json_valid(argv) OR coalesce(json_array_length(argv), 0) = 0
             OR ending NOT IN ('code', 'signal', 'not_started', 'deadline_passed', 'lost', 'reason')
             OR stderr_state NOT IN ('text', 'empty', 'null') OR (stderr_state = 'text') IS NOT (coalesce(stderr, '') <> '')",
    ),
    (
        "S9.recorded",
        "every journaled failure has its evidence, and every failed project",
        "SELECT (SELECT count(*) FROM event e
                  WHERE e.event IN ('death_explained', 'resource_missing', 'subprocess_failed', 'operation_failed',
                                    'project_failed')
                    AND NOT EXISTS (SELECT 1 FROM failure f WHERE f.seq = e.seq))
              + (SELECT count(*) FROM project WHERE state = 'failed' AND coalesce(last_failure, '') IN ('', 'null'))",
    ),
    (
        "S13.resolved",
        "nothing that was ordered for a finished project is open",
        "SELECT count(*) FROM outbox o JOIN project p ON p.id = o.project_id
          WHERE o.resolved_us IS NULL AND p.finalizer = 0 AND p.state IN ('completed', 'failed', 'cancelled')",
    ),
    (
        "S6.token",
        "every role that lives has one token, and every token one role",
        "SELECT (SELECT count(*) FROM role WHERE state NOT IN ('absent', 'dead') AND token IS NULL)
              + (SELECT count(*) FROM (SELECT 1 FROM role WHERE token IS NOT NULL GROUP BY token HAVING count(*) > 1))",
    ),
    (
        "S6.session",
        "no two unfinished projects have the same session",
        "SELECT count(*) FROM (SELECT 1 FROM project
                                WHERE session_name IS NOT NULL AND state NOT IN ('completed', 'failed', 'cancelled')
                                GROUP BY session_name HAVING count(*) > 1)",
    ),
    (
        "S12.gap",
        "the journal has no gap",
        "SELECT abs(coalesce(max(seq), 0) - count(*)) + coalesce(sum(seq < 1), 0) FROM event",
    ),
    (
        "S12.columns",
        "every entry's columns are those of its body",
        "SELECT count(*) FROM event WHERE NOT json_valid(body) OR event IS NOT json_extract(body, '$.event')
                                       OR role IS NOT json_extract(body, '$.agent_role')",
    ),
    (
        "G9.guards",
        "every trigger of the schema is there",
        "SELECT count(*) FROM
             (VALUES ('event_no_gap'), ('event_no_update'), ('event_no_delete'), ('project_born'), ('role_born'),
                     ('project_legal'), ('role_legal'), ('project_journaled'), ('project_no_delete')) AS wanted
          WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = wanted.column1)",
    ),
    ("G9.references", "every reference leads somewhere", "SELECT count(*) FROM pragma_foreign_key_check"),
    (
        "G15.integrity",
        "SQLite finds the file intact and every row within its constraints",
        "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    ),
];

impl Store {
    /// Counts the violations of every invariant, all at the same moment of the database.
    ///
    /// SQLite does not read CHECKs into a connection that can only read: `G15.integrity` misses them on one that was
    /// opened with [`super::open::Mode::ReadOnly`].
    ///
    /// # Errors
    /// If the database cannot be read at all.
    pub fn audit(&mut self, policy: &Policy) -> Result<Vec<Audited>, StoreError> {
        let tx = self.connection.transaction()?;
        QUERIES.iter().map(|(id, holds, sql)| count(&tx, policy, (id, holds, sql))).collect()
    }
}

fn count(
    connection: &Connection,
    policy: &Policy,
    (id, holds, sql): (&'static str, &'static str, &str),
) -> Result<Audited, StoreError> {
    let mut statement = connection.prepare(sql)?;
    let window = i64::try_from(policy.breaker_window().0).unwrap_or(i64::MAX);
    let counted: i64 = if statement.parameter_count() == 0 {
        statement.query_row([], |row| row.get(0))?
    } else {
        statement.query_row(named_params! { ":max": policy.breaker_max, ":window": window }, |row| row.get(0))?
    };
    Ok(Audited { id, holds, violations: counted.unsigned_abs() })
}
