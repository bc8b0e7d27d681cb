-- The present shape of the database: the one source of truth (DESIGN.md, section 4).
-- Every state is guarded three times: by type in Rust, by compare-and-set in write.rs, and here, so that somebody
-- with a sqlite3 shell cannot lie to the orchestrator either (G9). Guarantees are cited by number.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The installation's timeline (G14): at_us goes on with CLOCK_MONOTONIC while boot_id is the same.
CREATE TABLE clock (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id TEXT    NOT NULL CHECK (boot_id <> ''),
    mono_us INTEGER NOT NULL CHECK (mono_us >= 0),
    at_us   INTEGER NOT NULL CHECK (at_us >= 0),
    wall_us INTEGER NOT NULL
) STRICT;

-- Who writes (G10): the row names the holder; the flock beside the database decides.
CREATE TABLE lease (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      INTEGER NOT NULL CHECK (epoch >= 1),
    pid        INTEGER NOT NULL,
    pid_start  INTEGER NOT NULL,
    since_us   INTEGER NOT NULL,
    renewed_us INTEGER NOT NULL,
    released   INTEGER NOT NULL DEFAULT 0 CHECK (released IN (0, 1)),
    http       TEXT,
    tmux       TEXT NOT NULL DEFAULT 'unknown' CHECK (tmux IN ('alive', 'unknown')),
    -- Counts what was written only to see whether anything can be: a row that does not change is not written at all.
    proofs     INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE project_move (from_state TEXT NOT NULL, to_state TEXT NOT NULL, PRIMARY KEY (from_state, to_state))
    STRICT, WITHOUT ROWID;
INSERT INTO project_move VALUES
    ('queued', 'provisioning'), ('queued', 'suspended'), ('queued', 'failed'), ('queued', 'cancelled'),
    ('provisioning', 'launching'), ('provisioning', 'recovering'), ('provisioning', 'suspended'), ('provisioning', 'failed'), ('provisioning', 'cancelled'),
    ('launching', 'briefing'), ('launching', 'recovering'), ('launching', 'suspended'), ('launching', 'failed'), ('launching', 'cancelled'),
    ('briefing', 'running'), ('briefing', 'recovering'), ('briefing', 'suspended'), ('briefing', 'failed'), ('briefing', 'cancelled'),
    ('running', 'completed'), ('running', 'recovering'), ('running', 'suspended'), ('running', 'failed'), ('running', 'cancelled'),
    ('recovering', 'provisioning'), ('recovering', 'suspended'), ('recovering', 'failed'), ('recovering', 'cancelled'),
    ('suspended', 'provisioning'), ('suspended', 'failed'), ('suspended', 'cancelled'),
    ('completed', 'queued'),
    ('failed', 'queued'),
    ('cancelled', 'queued');

CREATE TABLE role_move (from_state TEXT NOT NULL, to_state TEXT NOT NULL, PRIMARY KEY (from_state, to_state))
    STRICT, WITHOUT ROWID;
INSERT INTO role_move VALUES
    ('absent', 'starting'),
    ('starting', 'ready'), ('starting', 'dead'), ('starting', 'unknown'), ('starting', 'absent'),
    ('ready', 'working'), ('ready', 'idle'), ('ready', 'needs_input'), ('ready', 'stalled'), ('ready', 'done'), ('ready', 'dead'), ('ready', 'unknown'), ('ready', 'absent'),
    ('working', 'idle'), ('working', 'needs_input'), ('working', 'stalled'), ('working', 'done'), ('working', 'dead'), ('working', 'unknown'), ('working', 'absent'),
    ('idle', 'working'), ('idle', 'needs_input'), ('idle', 'stalled'), ('idle', 'done'), ('idle', 'dead'), ('idle', 'unknown'), ('idle', 'absent'),
    ('needs_input', 'working'), ('needs_input', 'idle'), ('needs_input', 'done'), ('needs_input', 'dead'), ('needs_input', 'unknown'), ('needs_input', 'absent'),
    ('stalled', 'working'), ('stalled', 'idle'), ('stalled', 'needs_input'), ('stalled', 'done'), ('stalled', 'dead'), ('stalled', 'unknown'), ('stalled', 'absent'),
    ('done', 'absent'),
    ('dead', 'starting'), ('dead', 'done'), ('dead', 'absent'),
    ('unknown', 'working'), ('unknown', 'done'), ('unknown', 'dead'), ('unknown', 'absent');

-- The CHECKs of what every report updates compare with one value or two before they look into a list: for each list of
-- three or more that it comes to, SQLite builds a table of its own.
CREATE TABLE project (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    title         TEXT    NOT NULL CHECK (title <> ''),
    slug          TEXT    NOT NULL UNIQUE,
    key           TEXT    UNIQUE,
    batch         TEXT,
    priority      INTEGER NOT NULL,
    spec          TEXT    NOT NULL CHECK (json_valid(spec)),
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'provisioning', 'launching', 'briefing', 'running',
                                                    'recovering', 'suspended', 'completed', 'failed', 'cancelled')),
    reason        TEXT    CHECK (reason IS NULL OR reason IN ('breaker', 'credit', 'operator', 'needs_operator')),
    epoch         INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    enqueued_us   INTEGER NOT NULL,
    state_us      INTEGER NOT NULL,
    session_name  TEXT    CHECK (session_name <> '' AND length(session_name) <= 40
                                 AND session_name NOT GLOB '*[^a-z0-9-]*'),
    session_token TEXT    CHECK (length(session_token) = 32),
    session_is    TEXT    CHECK (session_is IN ('intended', 'live') OR session_is = 'gone'),
    server_pid    INTEGER,
    server_start  INTEGER,
    breaker_state TEXT    NOT NULL DEFAULT 'closed' CHECK (breaker_state = 'closed' OR breaker_state IN ('open', 'half_open')),
    breaker       TEXT    NOT NULL CHECK (json_valid(breaker)),
    incident      TEXT    CHECK (json_valid(incident)),
    stale         TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(stale)),
    last_failure  TEXT    CHECK (json_valid(last_failure)),
    preflighted   INTEGER NOT NULL DEFAULT 0 CHECK (preflighted IN (0, 1)),
    verified      INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
    finalizer     INTEGER NOT NULL DEFAULT 0 CHECK (finalizer IN (0, 1)),
    unknown       TEXT    CHECK (json_valid(unknown)),
    due_back_us   INTEGER CHECK (due_back_us >= 0),
    moved_seq     INTEGER,
    version       INTEGER NOT NULL DEFAULT 0,
    CHECK ((session_name IS NULL) = (session_token IS NULL) AND (session_name IS NULL) = (session_is IS NULL)),
    -- S3, and the missing session_name of projects 89 and 99.
    CHECK (session_name IS NOT NULL OR state NOT IN ('launching', 'briefing', 'running')),
    -- G3: who waits for an operator says what is unknown, and since when.
    CHECK ((reason IS 'needs_operator') = (unknown IS NOT NULL)),
    -- G7: nothing fails without its evidence.
    CHECK (state <> 'failed' OR last_failure IS NOT NULL)
) STRICT;
CREATE INDEX project_unfinished ON project (state, finalizer);

CREATE TABLE role (
    project_id      INTEGER NOT NULL REFERENCES project (id),
    ordinal         INTEGER NOT NULL,
    name            TEXT    NOT NULL CHECK (name <> '' AND length(name) <= 32 AND name NOT GLOB '*[^a-z0-9-]*'),
    state           TEXT    NOT NULL CHECK (state IN ('absent', 'starting', 'ready', 'working', 'idle', 'needs_input',
                                                      'stalled', 'done', 'dead', 'unknown')),
    epoch           INTEGER NOT NULL DEFAULT 0,
    token           TEXT    CHECK (length(token) = 32),
    pane            TEXT,
    pid             INTEGER,
    pid_start       INTEGER,
    started_us      INTEGER,
    worktree_path   TEXT,
    worktree_branch TEXT,
    worktree_ready  INTEGER NOT NULL DEFAULT 0 CHECK (worktree_ready IN (0, 1)),
    claude_size     INTEGER,
    claude_sha256   TEXT    CHECK (length(claude_sha256) = 64),
    briefs_sent     INTEGER NOT NULL DEFAULT 0,
    ack_due_us      INTEGER,
    progress_us     INTEGER,
    vigil           TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(vigil)),
    unexplained     INTEGER NOT NULL DEFAULT 0 CHECK (unexplained IN (0, 1)),
    PRIMARY KEY (project_id, name),
    CHECK ((pid IS NULL) = (pid_start IS NULL)),
    CHECK (state IN ('absent', 'dead') OR token IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX role_token ON role (token) WHERE token IS NOT NULL;

-- The journal: append-only, without gaps.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    at_us      INTEGER NOT NULL,
    wall_us    INTEGER NOT NULL,
    project_id INTEGER REFERENCES project (id),
    role       TEXT,
    event      TEXT    NOT NULL,
    body       TEXT    NOT NULL CHECK (json_valid(body))
) STRICT;
CREATE INDEX event_project ON event (project_id, seq);
-- What the fleet's breaker is counted from: rare, and asked for by every `orch status`.
CREATE INDEX event_breaker ON event (at_us) WHERE event = 'breaker_moved';
CREATE INDEX event_fleet_asked ON event (seq) WHERE event = 'operator_asked' AND project_id IS NULL;
CREATE INDEX event_fleet_breaker ON event (seq) WHERE event = 'fleet_breaker_moved';

CREATE TRIGGER event_no_gap BEFORE INSERT ON event
WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM event)
BEGIN SELECT raise(ABORT, 'G9: the journal may have no gap'); END;
CREATE TRIGGER event_no_update BEFORE UPDATE ON event
BEGIN SELECT raise(ABORT, 'G9: the journal is append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
BEGIN SELECT raise(ABORT, 'G9: the journal is append-only'); END;

-- What was ordered from the world; a row without resolved_us is an intent whose outcome is unknown.
CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY,
    project_id  INTEGER NOT NULL REFERENCES project (id),
    role        TEXT,
    effect      TEXT    NOT NULL,
    body        TEXT    NOT NULL CHECK (json_valid(body)),
    intended_us INTEGER NOT NULL,
    resolved_us INTEGER,
    outcome     TEXT    CHECK (outcome IN ('confirmed', 'failed', 'superseded')),
    CHECK ((resolved_us IS NULL) = (outcome IS NULL))
) STRICT;
CREATE INDEX outbox_open ON outbox (id) WHERE resolved_us IS NULL;

-- Every token that was ever given to an incarnation, by the transaction that intends it: a session or an agent that a
-- hung tmux creates late is known by it as ours, and ended (C15). Without a role: a session's.
CREATE TABLE incarnation (
    token      TEXT    PRIMARY KEY CHECK (length(token) = 32),
    project_id INTEGER NOT NULL REFERENCES project (id),
    epoch      INTEGER NOT NULL CHECK (epoch >= 0),
    role       TEXT,
    retired_us INTEGER CHECK (retired_us >= 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX incarnation_project ON incarnation (project_id, epoch);
CREATE INDEX incarnation_retired ON incarnation (retired_us) WHERE retired_us IS NOT NULL;

-- Every recovery, counted before it is made (G8).
CREATE TABLE attempt (
    seq        INTEGER PRIMARY KEY REFERENCES event (seq),
    project_id INTEGER NOT NULL REFERENCES project (id),
    at_us      INTEGER NOT NULL,
    cause      TEXT    NOT NULL,
    probe      INTEGER NOT NULL CHECK (probe IN (0, 1))
) STRICT;
CREATE INDEX attempt_project ON attempt (project_id, at_us);

-- The evidence of everything that failed (G7): less than this is refused.
CREATE TABLE failure (
    seq          INTEGER PRIMARY KEY REFERENCES event (seq),
    project_id   INTEGER,
    role         TEXT,
    stage        TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    program      TEXT    NOT NULL,
    argv         TEXT    NOT NULL CHECK (json_array_length(argv) >= 1),
    cwd          TEXT,
    ending       TEXT    NOT NULL CHECK (ending IN ('code', 'signal', 'not_started', 'deadline_passed', 'lost',
                                                    'reason')),
    detail       TEXT    NOT NULL CHECK (detail <> '' AND lower(detail) <> 'none'),
    stderr_state TEXT    NOT NULL CHECK (stderr_state IN ('text', 'empty', 'null')),
    stderr       TEXT,
    stdout_tail  TEXT    NOT NULL,
    duration_us  INTEGER NOT NULL CHECK (duration_us >= 0),
    quality      REAL    NOT NULL CHECK (quality > 0.0 AND quality <= 1.0),
    CHECK ((stderr_state = 'text') = (stderr IS NOT NULL AND stderr <> ''))
) STRICT;

-- What operators ask for (`orch retry`, …): recorded by the command, taken by the core in the transaction of its decision.
CREATE TABLE request (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER REFERENCES project (id),
    kind       TEXT    NOT NULL CHECK (kind IN ('retry', 'cancel', 'suspend', 'resume', 'breaker_reset')),
    at_us      INTEGER NOT NULL CHECK (at_us >= 0),
    taken_us   INTEGER CHECK (taken_us >= 0),
    outcome    TEXT    CHECK (outcome IN ('done', 'refused')),
    CHECK ((taken_us IS NULL) = (outcome IS NULL)),
    -- Without a project it is about the fleet, which has nothing but a breaker.
    CHECK (project_id IS NOT NULL OR kind = 'breaker_reset')
) STRICT;
CREATE INDEX request_open ON request (id) WHERE taken_us IS NULL;

CREATE TRIGGER request_once BEFORE UPDATE ON request WHEN OLD.taken_us IS NOT NULL
BEGIN SELECT raise(ABORT, 'a request is taken once'); END;

CREATE TRIGGER project_born BEFORE INSERT ON project WHEN NEW.state <> 'queued'
BEGIN SELECT raise(ABORT, 'G9: a project is born queued'); END;
CREATE TRIGGER role_born BEFORE INSERT ON role WHEN NEW.state <> 'absent'
BEGIN SELECT raise(ABORT, 'G9: a role is born absent'); END;

CREATE TRIGGER project_legal BEFORE UPDATE OF state ON project
WHEN NEW.state <> OLD.state
 AND NOT EXISTS (SELECT 1 FROM project_move WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN SELECT raise(ABORT, 'G9: illegal move of a project'); END;
CREATE TRIGGER role_legal BEFORE UPDATE OF state ON role
WHEN NEW.state <> OLD.state
 AND NOT EXISTS (SELECT 1 FROM role_move WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN SELECT raise(ABORT, 'G9: illegal move of a role'); END;

-- Every move has its event, in the same transaction: the update must name it.
CREATE TRIGGER project_journaled BEFORE UPDATE OF state ON project
WHEN NEW.state <> OLD.state AND NOT EXISTS (
    SELECT 1 FROM event
     WHERE seq = NEW.moved_seq AND seq > coalesce(OLD.moved_seq, 0) AND project_id = NEW.id
       AND event = 'project_moved'
       AND json_extract(body, '$.from') = OLD.state AND json_extract(body, '$.to') = NEW.state)
BEGIN SELECT raise(ABORT, 'G9: a move needs its event'); END;

-- G1: what was accepted stays.
CREATE TRIGGER project_no_delete BEFORE DELETE ON project
BEGIN SELECT raise(ABORT, 'G1: projects are never deleted'); END;
