//! Committing a turn: all of it in one immediate transaction, or nothing.

use super::error::StoreError;
use super::incarnation;
use super::open::Store;
use super::request::{self, Taken};
use crate::domain::decision::{Decision, Transition};
use crate::domain::failure::{Ending, Failure};
use crate::domain::fleet::Tmux;
use crate::domain::id::{EffectId, ProjectId, RoleName, Seq};
use crate::domain::project::Project;
use crate::domain::signal::{Entry, Signal, What};
use crate::domain::state::{Moved, ProjectState, RoleState};
use crate::domain::time::{Now, Timestamp};
use rusqlite::{Transaction, params};
use std::collections::VecDeque;

/// How an ordered effect came to its end, for its row in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// Which.
    pub effect: EffectId,
    /// Whether it was confirmed; otherwise it failed or its outcome is unknown.
    pub confirmed: bool,
}

/// Everything that one turn of the loop decided.
#[derive(Debug, Default)]
pub struct Turn {
    /// The decisions of all events that were drained, joined.
    pub decision: Decision,
    /// The outbox rows that came to their end.
    pub settled: Vec<Settlement>,
    /// The operator's requests that were decided on.
    pub taken: Vec<Taken>,
}

impl Turn {
    /// Whether nothing came of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.decision.is_empty() && self.settled.is_empty() && self.taken.is_empty()
    }

    /// Whether there is anything to write. What only looks at the world leaves no trace.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.decision.writes() || !self.settled.is_empty() || !self.taken.is_empty()
    }
}

impl Store {
    /// Commits a turn.
    ///
    /// # Errors
    /// On any error nothing of the turn may be taken for done, and what the caller holds in memory may be out of
    /// date: read again. [`StoreError::Fenced`] means that this process must not do anything any more.
    pub fn commit(&mut self, turn: &Turn, now: &Now) -> Result<(), StoreError> {
        let tx = self.begin()?;
        let last = write(&tx, turn, now)?;
        tx.commit()?;
        self.known.last = self.known.last.max(last);
        self.still_there()
    }

    /// Appends one signal to the journal, outside any turn.
    ///
    /// # Errors
    /// If it could not be written.
    pub fn journal(&mut self, signal: Signal, now: &Now) -> Result<(), StoreError> {
        let tx = self.begin()?;
        let last = append(&tx, signal, now)?.seq;
        tx.commit()?;
        self.known.last = self.known.last.max(last);
        self.still_there()
    }
}

/// Answers the last entry of the journal that it wrote, or 0.
fn write(tx: &Transaction<'_>, turn: &Turn, now: &Now) -> Result<Seq, StoreError> {
    let mut last = Seq(0);
    let decision = &turn.decision;
    // Columns before states: the CHECKs that tie a state to its columns hold at every step of the way.
    for project in decision.projects.iter().filter(|project| decision.rows.contains(&project.id)) {
        update_project(tx, project)?;
        update_roles(tx, project)?;
        if project.is_settled() {
            incarnation::retire_all(tx, project.id, now.at)?;
        }
    }
    let mut moves: VecDeque<&Transition> = decision.transitions.iter().collect();
    for signal in &decision.signals {
        let entry = append(tx, signal.clone(), now)?;
        last = entry.seq;
        take_move(tx, &entry, &mut moves)?;
    }
    if let Some(left) = moves.front() {
        return Err(StoreError::Inconsistent(format!("a move without its event: {left:?}")));
    }
    for ordered in decision.effects.iter().filter(|ordered| ordered.effect.is_durable()) {
        tx.prepare_cached(
            "INSERT INTO outbox (id, project_id, role, effect, body, intended_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            ordered.id.0,
            ordered.project.map(|id| id.0),
            ordered.role.as_ref().map(|role| &role.0),
            ordered.effect.name(),
            serde_json::to_string(&ordered.effect)?,
            micros(now.at),
        ])?;
        incarnation::intend(tx, ordered, now.at)?;
    }
    for settled in &turn.settled {
        let outcome = if settled.confirmed { "confirmed" } else { "failed" };
        tx.prepare_cached("UPDATE outbox SET resolved_us = ?2, outcome = ?3 WHERE id = ?1 AND resolved_us IS NULL")?
            .execute(params![settled.effect.0, micros(now.at), outcome])?;
    }
    request::take(tx, &turn.taken, now)?;
    if let Some(tmux) = &decision.tmux {
        let name = if matches!(tmux, Tmux::Alive(_)) { "alive" } else { "unknown" };
        tx.prepare_cached("UPDATE lease SET tmux = ?1 WHERE id = 1")?.execute(params![name])?;
    }
    Ok(last)
}

/// Writes the move that this entry tells of; every telling has exactly one minted move, in the same order.
fn take_move(tx: &Transaction<'_>, entry: &Entry, moves: &mut VecDeque<&Transition>) -> Result<(), StoreError> {
    let told = entry.signal.project_id;
    match (&entry.signal.what, moves.front()) {
        (What::ProjectMoved { from, to, .. }, Some(Transition::Project(id, moved)))
            if told == Some(*id) && moved.from() == *from && moved.to() == *to =>
        {
            move_project(tx, *id, *moved, entry)?;
        }
        (What::RoleMoved { from, to }, Some(Transition::Role(id, name, moved)))
            if told == Some(*id) && moved.from() == *from && moved.to() == *to =>
        {
            move_role(tx, *id, name, *moved)?;
        }
        (What::ProjectMoved { .. } | What::RoleMoved { .. }, found) => {
            return Err(StoreError::Inconsistent(format!("{:?} is told, {found:?} was minted", entry.signal.what)));
        }
        _ => return Ok(()),
    }
    moves.pop_front();
    Ok(())
}

fn move_project(
    tx: &Transaction<'_>,
    id: ProjectId,
    moved: Moved<ProjectState>,
    entry: &Entry,
) -> Result<(), StoreError> {
    let changed = tx
        .prepare_cached("UPDATE project SET state = ?3, state_us = ?4, moved_seq = ?5 WHERE id = ?1 AND state = ?2")?
        .execute(params![id.0, moved.from().name(), moved.to().name(), micros(entry.at), entry.seq.0])?;
    expect_one(changed, || format!("the state of project {id}"))
}

fn move_role(tx: &Transaction<'_>, id: ProjectId, name: &RoleName, moved: Moved<RoleState>) -> Result<(), StoreError> {
    let changed = tx
        .prepare_cached("UPDATE role SET state = ?4 WHERE project_id = ?1 AND name = ?2 AND state = ?3")?
        .execute(params![id.0, name.0, moved.from().name(), moved.to().name()])?;
    expect_one(changed, || format!("the state of role {name} of project {id}"))
}

fn expect_one(changed: usize, what: impl Fn() -> String) -> Result<(), StoreError> {
    if changed == 1 { Ok(()) } else { Err(StoreError::Conflict(what())) }
}

fn update_project(tx: &Transaction<'_>, project: &Project) -> Result<(), StoreError> {
    let session = project.session.as_ref();
    let incident = project.incident.as_ref().map(serde_json::to_string).transpose()?;
    let failure = project.last_failure.as_ref().map(serde_json::to_string).transpose()?;
    let unknown = project.unknown.as_ref().map(serde_json::to_string).transpose()?;
    let changed = tx
        .prepare_cached(
            "UPDATE project SET reason = ?3, epoch = ?4, session_name = ?5, session_token = ?6, session_is = ?7,
                    breaker_state = ?8, breaker = ?9, incident = ?10, stale = ?11, last_failure = ?12,
                    preflighted = ?13, verified = ?14, finalizer = ?15, server_pid = ?16, server_start = ?17,
                    unknown = ?18, due_back_us = ?19,
                    version = version + 1
              WHERE id = ?1 AND version = ?2",
        )?
        .execute(params![
            project.id.0,
            project.version,
            project.reason.map(|reason| reason.name()),
            project.epoch.0,
            session.map(|session| &session.name),
            session.map(|session| &session.token.0),
            session.map(|session| session.is.name()),
            project.breaker.state.name(),
            serde_json::to_string(&project.breaker)?,
            incident,
            serde_json::to_string(&project.stale)?,
            failure,
            project.preflighted,
            project.verified,
            project.finalizer,
            session.and_then(|session| session.server).map(|server| server.pid),
            session.and_then(|session| session.server).map(|server| server.start.cast_signed()),
            unknown,
            project.due_back.map(micros),
        ])?;
    expect_one(changed, || format!("project {}", project.id))
}

fn update_roles(tx: &Transaction<'_>, project: &Project) -> Result<(), StoreError> {
    let mut statement = tx.prepare_cached(
        "UPDATE role SET epoch = ?3, token = ?4, pane = ?5, pid = ?6, pid_start = ?7, started_us = ?8,
                worktree_path = ?9, worktree_branch = ?10, worktree_ready = ?11, claude_size = ?12,
                claude_sha256 = ?13, briefs_sent = ?14, ack_due_us = ?15, progress_us = ?16, vigil = ?17,
                unexplained = ?18
          WHERE project_id = ?1 AND name = ?2",
    )?;
    for role in &project.roles {
        let worktree = role.worktree.as_ref();
        let changed = statement.execute(params![
            project.id.0,
            role.name.0,
            role.epoch.0,
            role.token.as_ref().map(|token| &token.0),
            role.pane,
            role.process.map(|process| process.pid),
            role.process.map(|process| process.start.cast_signed()),
            role.started_at.map(micros),
            worktree.map(|worktree| &worktree.path),
            worktree.map(|worktree| &worktree.branch),
            worktree.is_some_and(|worktree| worktree.ready),
            role.claude_md.as_ref().map(|pin| pin.size.cast_signed()),
            role.claude_md.as_ref().map(|pin| &pin.sha256),
            role.briefs_sent,
            role.ack_due.map(micros),
            role.last_progress.map(micros),
            serde_json::to_string(&role.vigil)?,
            role.unexplained,
        ])?;
        expect_one(changed, || format!("role {} of project {}", role.name, project.id))?;
    }
    Ok(())
}

/// Appends to the journal and to the tables that are its projections: the attempts and the evidence.
pub(super) fn append(tx: &Transaction<'_>, signal: Signal, now: &Now) -> Result<Entry, StoreError> {
    let mut body = serde_json::to_value(&signal)?;
    let event = body.get("event").and_then(|event| event.as_str()).unwrap_or_default().to_owned();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("project_id");
    }
    // The clock was read before the write lock was had: another process may have committed a later moment meanwhile,
    // and the journal does not go back (S12).
    let last: i64 = tx
        .prepare_cached("SELECT coalesce(max(at_us), 0) FROM (SELECT at_us FROM event ORDER BY seq DESC LIMIT 1)")?
        .query_row([], |row| row.get(0))?;
    let at = now.at.max(Timestamp(last.cast_unsigned()));
    tx.prepare_cached(
        "INSERT INTO event (seq, at_us, wall_us, project_id, role, event, body)
         VALUES ((SELECT coalesce(max(seq), 0) + 1 FROM event), ?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        micros(at),
        now.wall.0,
        signal.project_id.map(|id| id.0),
        signal.agent_role.as_ref().map(|role| &role.0),
        event,
        body.to_string(),
    ])?;
    let entry = Entry { seq: Seq(tx.last_insert_rowid()), at, wall: now.wall, signal };
    if let What::RecoveryStarted { cause, probe, .. } = &entry.signal.what {
        tx.prepare_cached("INSERT INTO attempt (seq, project_id, at_us, cause, probe) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                entry.seq.0,
                entry.signal.project_id.map(|id| id.0),
                micros(now.at),
                name_of(cause)?,
                probe
            ])?;
    }
    if let Some(failure) = entry.signal.failure() {
        record_failure(tx, &entry, failure)?;
    }
    Ok(entry)
}

fn record_failure(tx: &Transaction<'_>, entry: &Entry, failure: &Failure) -> Result<(), StoreError> {
    let (ending, detail) = match &failure.ending {
        Ending::Code(code) => ("code", code.to_string()),
        Ending::Signal(signal) => ("signal", signal.to_string()),
        Ending::NotStarted(why) => ("not_started", why.clone()),
        Ending::DeadlinePassed(after) => ("deadline_passed", format!("{} ms", after.as_millis())),
        Ending::Lost(why) => ("lost", why.clone()),
        Ending::Reason(why) => ("reason", why.clone()),
    };
    tx.prepare_cached(
        "INSERT INTO failure (seq, project_id, role, stage, kind, program, argv, cwd, ending, detail, stderr_state,
                              stderr, stdout_tail, duration_us, quality)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?
    .execute(params![
        entry.seq.0,
        entry.signal.project_id.map(|id| id.0),
        entry.signal.agent_role.as_ref().map(|role| &role.0),
        name_of(&failure.stage)?,
        name_of(&failure.kind)?,
        name_of(&failure.program)?,
        serde_json::to_string(&failure.argv)?,
        failure.cwd,
        ending,
        detail,
        failure.stderr.state(),
        failure.stderr.text(),
        failure.stdout_tail,
        failure.duration.0.cast_signed(),
        failure.quality(),
    ])?;
    Ok(())
}

/// The name under which serde writes a field-less enum.
fn name_of(value: &impl serde::Serialize) -> Result<String, StoreError> {
    let value = serde_json::to_value(value)?;
    let name = value.as_str().map(str::to_owned);
    name.ok_or_else(|| StoreError::Inconsistent(format!("{value} is not a name")))
}

/// As SQLite keeps it; the timeline reaches i64's end in 292,000 years.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.0.cast_signed()
}
