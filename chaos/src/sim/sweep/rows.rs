//! The table of crash points as rows: where each is found in a run, and what is due after it.

use super::play::Scenario;
use super::strike::Hit;
use crate::fault::Kind;
use crate::sim::points::Side;

/// A kind of moment that comes again and again in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A commit with this label ([`super::label`]).
    Commit(&'static str),
    /// A stage of a durable effect, as `effect.stage`.
    Point(&'static str),
}

/// Where a row hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Which moment.
    pub moment: Moment,
    /// On which side of it.
    pub side: Side,
    /// Which of them, from 1.
    pub nth: usize,
}

/// What is due beyond an equal end, for the orchestrator killed at the row; compared with the row's own course in
/// which nothing else hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The journal tells it as often.
    Same(&'static str),
    /// The journal tells it at least as often.
    NoLess(&'static str),
    /// The journal tells it so often.
    Exactly(&'static str, usize),
    /// The stage is passed as often: what was done is not done again.
    NotAgain(&'static str),
    /// The stage is passed at most so many times more for every strike.
    Again(&'static str, usize),
    /// As many sessions of ours come up: one that was made is adopted.
    SameSessions,
    /// As many agents are started: those that live are adopted.
    SameAgents,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `C01` to `C46`.
    pub id: &'static str,
    /// What it is.
    pub title: &'static str,
    /// In which life.
    pub scenario: Scenario,
    /// What builds its situation.
    pub setup: &'static [(Spot, Hit)],
    /// Where it hits.
    pub spot: Spot,
    /// What is due.
    pub due: &'static [Due],
}

const fn before(moment: Moment) -> Spot {
    Spot { moment, side: Side::Before, nth: 1 }
}

const fn after(moment: Moment) -> Spot {
    Spot { moment, side: Side::After, nth: 1 }
}

const fn row(id: &'static str, title: &'static str, spot: Spot, due: &'static [Due]) -> Row {
    Row { id, title, scenario: Scenario::RECOVERS, setup: &[], spot, due }
}

const fn built(
    id: &'static str,
    title: &'static str,
    setup: &'static [(Spot, Hit)],
    spot: Spot,
    due: &'static [Due],
) -> Row {
    Row { id, title, scenario: Scenario::RECOVERS, setup, spot, due }
}

use Due::{Again, Exactly, NoLess, NotAgain, Same, SameAgents, SameSessions};
use Moment::{Commit, Point};

const RUNS: Spot = after(Commit("project_moved:briefing>running"));
const CLAIMS: &str = "project_moved:queued>provisioning";
const COMPLETES: &str = "project_moved:running>completed";

/// Every row, in the order of `reference/crash-points.md`.
pub const ROWS: [Row; 46] = [
    built(
        "C01",
        "enqueue, before its commit",
        &[(after(Commit("lease_taken")), Hit::Client)],
        before(Commit("@client")),
        &[Exactly("project_enqueued", 3)],
    ),
    built(
        "C02",
        "enqueue committed, no answer",
        &[(after(Commit("lease_taken")), Hit::Client)],
        after(Commit("@client")),
        &[Exactly("project_enqueued", 3)],
    ),
    row("C03", "claim, before its commit", Spot { nth: 2, ..before(Commit(CLAIMS)) }, &[Same(CLAIMS)]),
    row("C04", "claim committed", Spot { nth: 2, ..after(Commit(CLAIMS)) }, &[Same(CLAIMS)]),
    row("C05", "worktree intended", before(Point("ensure_worktree.0")), &[NotAgain("ensure_worktree.3")]),
    row("C06", "inside git worktree add", after(Point("ensure_worktree.1")), &[Again("ensure_worktree.1", 1)]),
    row("C07", "worktree made, not confirmed", after(Point("ensure_worktree.3")), &[NotAgain("ensure_worktree.1")]),
    row(
        "C08",
        "one of two worktrees made",
        Spot { moment: Point("ensure_worktree.3"), side: Side::Before, nth: 2 },
        &[Again("ensure_worktree.1", 1)],
    ),
    row(
        "C09",
        "CLAUDE.md under its temporary name",
        after(Point("ensure_files.0")),
        &[Same("resource_missing"), SameAgents],
    ),
    row(
        "C10",
        "CLAUDE.md renamed, not confirmed",
        after(Point("ensure_files.1")),
        &[Same("resource_missing"), SameAgents],
    ),
    row(
        "C11",
        "validated, session not intended",
        before(Commit("effect_intended:ensure_session")),
        &[SameSessions, SameAgents],
    ),
    row("C12", "session intended", after(Commit("effect_intended:ensure_session")), &[SameSessions, SameAgents]),
    row("C13", "tmux asked, not answered", after(Point("ensure_session.1")), &[SameSessions, SameAgents]),
    row("C14", "session made, not confirmed", after(Point("ensure_session.2")), &[SameSessions, SameAgents]),
    built(
        "C15",
        "create timed out, tmux wakes later",
        &[(before(Point("ensure_session.1")), Hit::StopTmux)],
        before(Commit("subprocess_failed")),
        &[SameAgents],
    ),
    built(
        "C16",
        "tmux died under its sessions",
        &[(after(Point("ensure_session.2")), Hit::KillTmux)],
        before(Commit("tmux_answered")),
        &[],
    ),
    row("C17", "brief written, not pasted", before(Point("hand_brief.1")), &[Same("brief_acknowledged"), SameAgents]),
    row("C18", "buffer loaded, not pasted", after(Point("hand_brief.2")), &[Same("brief_acknowledged"), SameAgents]),
    row("C19", "pasted, no Enter", after(Point("hand_brief.3")), &[Same("brief_acknowledged"), SameAgents]),
    row("C20", "Enter sent, not recorded", after(Point("hand_brief.4")), &[Same("brief_acknowledged"), SameAgents]),
    row(
        "C21",
        "acknowledged, running not committed",
        before(Commit("project_moved:briefing>running")),
        &[Same("brief_acknowledged"), SameAgents],
    ),
    row("C22", "running committed, nothing watched", RUNS, &[Same("project_moved:briefing>running"), SameAgents]),
    built(
        "C23",
        "pane died, every event lost",
        &[(RUNS, Hit::Fault(Kind::EventDrop))],
        before(Commit("agent_died")),
        &[Same("recovery_started")],
    ),
    built(
        "C24",
        "agents finished while nobody served",
        &[(after(Commit("recovery_succeeded")), Hit::Down)],
        before(Commit(COMPLETES)),
        &[Same(COMPLETES), SameAgents],
    ),
    row("C25", "done seen, before its commit", before(Commit("role_moved:done")), &[Same(COMPLETES), SameAgents]),
    row("C26", "completed, not cleaned up", after(Commit(COMPLETES)), &[Same(COMPLETES), SameAgents]),
    row("C27", "session ended, processes not", after(Point("end_session.2")), &[Same(COMPLETES), SameAgents]),
    built(
        "C28",
        "worktree parked half",
        &[(after(Commit("lease_taken")), Hit::Crowd)],
        after(Point("ensure_worktree.30")),
        &[NotAgain("ensure_worktree.30"), NotAgain("ensure_worktree.3"), Same("resource_restored"), SameAgents],
    ),
    row(
        "C29",
        "death seen, before its commit",
        before(Commit("agent_died")),
        &[Same("agent_died"), Same("recovery_started")],
    ),
    Row {
        id: "C30",
        title: "failed committed, remains alive",
        scenario: Scenario::FAILS,
        setup: &[],
        spot: after(Commit("project_failed")),
        due: &[Same("project_failed"), SameAgents],
    },
    row(
        "C31",
        "recovery counted, not begun",
        after(Commit("recovery_started")),
        &[NoLess("recovery_started"), SameAgents],
    ),
    row("C32", "recovery done, not confirmed", after(Point("respawn.2")), &[SameAgents]),
    Row {
        id: "C33",
        title: "half-open probe under way",
        scenario: Scenario::BREAKER,
        setup: &[],
        spot: after(Commit("recovery_started:probe")),
        due: &[Same("recovery_started:probe"), SameAgents],
    },
    Row {
        id: "C34",
        title: "breaker open",
        scenario: Scenario::BREAKER,
        setup: &[],
        spot: after(Commit("breaker_moved:open")),
        due: &[Same("breaker_moved:open"), Same("breaker_moved:half_open"), SameAgents],
    },
    built("C35", "lease taken, no heartbeat", &[(RUNS, Hit::Crash)], after(Commit("lease_taken")), &[SameAgents]),
    built("C36", "in the middle of reconcile", &[(RUNS, Hit::Crash)], before(Commit("tmux_answered")), &[SameAgents]),
    built(
        "C37",
        "reconcile killed again and again",
        &[
            (RUNS, Hit::Crash),
            (after(Commit("orchestrator_started")), Hit::Crash),
            (before(Commit("tmux_answered")), Hit::Crash),
            (before(Commit("tmux_answered")), Hit::Crash),
        ],
        before(Commit("tmux_answered")),
        &[SameAgents],
    ),
    built("C38", "schema migration", &[(RUNS, Hit::Upgrade)], before(Commit("@note")), &[SameAgents]),
    built("C39", "backup made, not named", &[(RUNS, Hit::BackUp)], after(Point("backup.1")), &[SameAgents]),
    built("C40", "log set aside, none made", &[(RUNS, Hit::KeepLog)], after(Point("log.0")), &[SameAgents]),
    built(
        "C41",
        "asked to stop, then killed",
        &[(RUNS, Hit::Drain)],
        after(Commit("orchestrator_stopped")),
        &[SameAgents],
    ),
    built(
        "C42",
        "paused, succeeded, goes on",
        &[(RUNS, Hit::Fault(Kind::PausedWriter))],
        after(Commit("lease_taken")),
        &[SameAgents],
    ),
    built(
        "C43",
        "reboot",
        &[(RUNS, Hit::Fault(Kind::Reboot))],
        after(Commit("machine_rebooted")),
        &[Exactly("machine_rebooted", 1)],
    ),
    built(
        "C44",
        "suspended for 8 h",
        &[(RUNS, Hit::Fault(Kind::Suspend))],
        after(Commit("orchestrator_away")),
        &[Same("agent_died"), SameAgents],
    ),
    // The second that is refused: the first is the one at which the disk became full.
    built(
        "C45",
        "disk full at a commit",
        &[(RUNS, Hit::NoSpace)],
        Spot { nth: 2, ..before(Commit("refused")) },
        &[SameAgents],
    ),
    built(
        "C46",
        "an older backup put in place",
        &[(after(Commit("recovery_succeeded")), Hit::PutBack)],
        before(Commit("store_restored")),
        &[Exactly("store_restored", 1), Same("quarantined"), SameAgents],
    ),
];
