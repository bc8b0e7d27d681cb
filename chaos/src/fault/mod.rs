//! The catalogue: every kind of fault, what it does, how it is known to have taken effect, and what is due then.
//!
//! One table. `orch-chaos faults` prints it, the generator draws from it, matching and checkers judge by it; a kind
//! that is not in it cannot be scheduled.

mod later;
mod simulated;

use orchestrator::domain::failure::FailureKind;
use orchestrator::domain::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds, each with its name: one list, so that none is without either.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What is to happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl Kind {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The name used in schedules, reports and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The project's tmux session is killed.
    SessionKill = "session_kill",
    /// A role's CLAUDE.md is deleted.
    ClaudeMdDelete = "claude_md_delete",
    /// A program fails and says nothing on standard error.
    StderrNull = "stderr_null",
    /// The orchestrator itself is killed, and started again.
    OrchKill = "orch_kill",
    /// A role's pane is closed.
    PaneKill = "pane_kill",
    /// An agent exits 0 without having said that it is done.
    AgentExitSilent = "agent_exit_silent",
    /// A role's next agent dies before it reads its brief.
    AgentDieInStart = "agent_die_in_start",
    /// The tmux server is killed.
    ServerKill = "server_kill",
    /// The tmux server exits.
    ServerExit = "server_exit",
    /// The tmux server is stopped for a while.
    ServerStop = "server_stop",
    /// The tmux server's socket is unlinked.
    SocketUnlink = "socket_unlink",
    /// The machine reboots.
    Reboot = "reboot",
    /// An agent is killed and its dead pane stays.
    PaneHusk = "pane_husk",
    /// A session of the right name holds only a shell.
    EmptyShell = "empty_shell",
    /// Tmux takes a hundred times as long for a while.
    BenignSlowTmux = "benign_slow_tmux",
    /// A window of a session is moved.
    BenignWindowMoved = "benign_window_moved",
    /// An agent prints Exception and exit status 1.
    BenignScaryOutput = "benign_scary_output",
    /// A role's next agent takes 20 s to come up.
    BenignSlowStart = "benign_slow_start",
    /// An agent is silent for 50 min, with a tool in flight.
    BenignLongSilence = "benign_long_silence",
    /// CLAUDE.md is touched and stays what it is.
    BenignFileTouch = "benign_file_touch",
    /// Everything takes ten times as long for a while.
    BenignCpuLoad = "benign_cpu_load",
    /// An agent's processes are stopped.
    AgentStop = "agent_stop",
    /// An agent lives and does nothing any more.
    AgentHang = "agent_hang",
    /// An agent draws a spinner and does nothing else.
    AgentSpinner = "agent_spinner",
    /// An agent hangs and ignores SIGTERM.
    AgentIgnoreTerm = "agent_ignore_term",
    /// An agent says that it is done and is gone at once.
    DoneButGone = "done_but_gone",
    /// An agent's child called setsid and outlives the session.
    AgentSetsidChild = "agent_setsid_child",
    /// An agent ignores the hangup of its session.
    HupSurvivor = "hup_survivor",
    /// Somebody else's session is on our server.
    ForeignSession = "foreign_session",
    /// A session has a name of our pattern and a mark that no row knows.
    StraySession = "stray_session",
    /// The next session's name is taken.
    NameTaken = "name_taken",
    /// A session is made and the answer is lost.
    CreateReplyLost = "create_reply_lost",
    /// A session's name begins with one of ours.
    NameTwin = "name_twin",
    /// Every agent of a role exits at once.
    AgentExitInstant = "agent_exit_instant",
    /// No agent of a role ever acknowledges.
    BriefAlwaysFails = "brief_always_fails",
    /// The Enter after the brief is lost.
    EnterLost = "enter_lost",
    /// The pane is in copy mode when the brief comes.
    CopyMode = "copy_mode",
    /// CLAUDE.md is emptied.
    ClaudeMdTruncate = "claude_md_truncate",
    /// CLAUDE.md cannot be read.
    ClaudeMdUnreadable = "claude_md_unreadable",
    /// CLAUDE.md is a symbolic link.
    ClaudeMdSymlink = "claude_md_symlink",
    /// CLAUDE.md is a directory.
    ClaudeMdIsDir = "claude_md_is_dir",
    /// A role's worktree is removed.
    WorktreeDelete = "worktree_delete",
    /// A role's worktree is a husk.
    WorktreeHusk = "worktree_husk",
    /// Git fails with an empty standard error.
    StderrEmpty = "stderr_empty",
    /// Git fails with bytes that are no text.
    StderrBinary = "stderr_binary",
    /// Git fails with more words than anyone keeps.
    StderrFlood = "stderr_flood",
    /// Git is killed.
    ProcSignal = "proc_signal",
    /// Git is not there.
    ProcMissing = "proc_missing",
    /// Git hangs.
    ProcTimeout = "proc_timeout",
    /// Git exits 0 and has done nothing.
    ProcLies = "proc_lies",
    /// No commit succeeds for a while.
    DbLocked = "db_locked",
    /// A commit succeeds and its answer is lost.
    CommitReplyLost = "commit_reply_lost",
    /// There is no space for a while.
    DiskFull = "disk_full",
    /// A second orchestrator is started.
    SecondOrchestrator = "second_orchestrator",
    /// An orchestrator is stopped past its lease and goes on under another.
    PausedWriter = "paused_writer",
    /// An agent dies and its number is somebody else's at once.
    PidReuse = "pid_reuse",
    /// The orchestrator is not run for a while.
    OrchPause = "orch_pause",
    /// The machine is suspended for 8 h.
    Suspend = "suspend",
    /// The wall clock is set back.
    ClockStepBack = "clock_step_back",
    /// The wall clock is set forward.
    ClockStepForward = "clock_step_forward",
    /// Events are lost for a while, and an agent is killed in it.
    EventDrop = "event_drop",
    /// Every event comes twice for a while.
    EventDuplicate = "event_duplicate",
    /// The connection to tmux breaks, and for a while none can be made.
    BenignTmuxEagain = "benign_tmux_eagain",
    /// Somebody writes into a project's row that it runs.
    RowForgedProcessing = "row_forged_processing",
    /// Somebody writes into a project's row that it has failed.
    RowForgedFailed = "row_forged_failed",
    /// The tmux server is killed, and the panes of the next one that have our ids are somebody else's.
    PaneIdReuse = "pane_id_reuse",
    /// A role's next agent asks whether it may, and that takes the brief's line for its answer.
    TrustPrompt = "trust_prompt",
    /// A role's next agent reads its terminal only after 40 s.
    SlowReader = "slow_reader",
    /// Events of processes and files come 20 s late for a while, and an agent is killed in it.
    EventDelay = "event_delay",
}

/// The kinds of `reference/fault-taxonomy.md` that nothing plays yet, each with why the simulated world has no place for
/// it: what it would change is not a part of the model, or is there under another name. They wait for live injection.
pub const UNPLAYED: &[(&str, &str)] = &[
    ("agent_kill_under_shell", "an agent is one process there; one that is gone under its shell looks like agent_hang"),
    ("benign_renamed_binary", "processes have no program's name there, and nothing is judged by one"),
    ("recovery_hollow", "there as agent_exit_instant and brief_always_fails: started, and nothing is better for it"),
    ("brief_hostile", "the brief is a file there whose words nobody reads"),
    ("db_unlink", "the database has no file there"),
    ("db_corrupt", "the database has no file there"),
    ("log_torn", "log lines go into no file there"),
    ("socket_dir_mode", "files have no mode there"),
    ("socket_path_long", "the socket has no path there"),
    ("env_poison", "processes have no environment there but their mark"),
];

/// Where a schedule is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Real tmux, git, files and processes.
    Live,
    /// A simulated world, in virtual time.
    Sim,
}

/// Which program of [`Kind::StderrNull`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Victim {
    /// The agent of a role, while it works.
    Agent,
    /// The `git worktree add` of a project that is being provisioned.
    Git,
}

/// What became of a fault, as far as the orchestrator's journal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The project works again.
    Recovered,
    /// The project rests behind an open breaker.
    Contained,
    /// Nothing had to be done, and nothing was.
    Harmless,
    /// Another fault had already done worse to the same target.
    Masked,
    /// It happened, and nobody noticed.
    Missed,
}

/// What the orchestrator owes after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// The one right classification; none where nothing of a project has failed, and nothing may be said to.
    pub kind: Option<FailureKind>,
    /// The entries that tell of it, in words.
    pub told_by: &'static str,
    /// How long it may take when an event source tells (G4).
    pub by_event: Span,
    /// How long it may take when only the sweep tells (G4).
    pub by_sweep: Span,
}

/// One entry of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Which kind.
    pub kind: Kind,
    /// What happens, in a few words.
    pub title: &'static str,
    /// Its class in `reference/fault-taxonomy.md`.
    pub class: &'static str,
    /// Where it can be played.
    pub modes: &'static [Mode],
    /// What is done.
    pub does: &'static str,
    /// How it is known to have taken effect.
    pub probe: &'static str,
    /// What is due.
    pub detection: Detection,
    /// What must have become of it while the project has recoveries left.
    pub outcome: Outcome,
    /// Whether mending it spends one of the project's recoveries.
    pub spends_recovery: bool,
    /// Whether it hits one role rather than the whole project.
    pub hits_role: bool,
    /// How its traces are undone.
    pub undo: &'static str,
}

/// Every entry, in the order of [`Kind`].
pub fn catalogue() -> impl Iterator<Item = &'static Fault> {
    Kind::ALL.iter().map(|kind| kind.entry())
}

/// G4: a death is in the database within 1 s of being observable by event.
const BY_EVENT: Span = Span::from_secs(1);
/// G4: and within 5 s by sweep.
const BY_SWEEP: Span = Span::from_secs(5);
/// G11: the next start is through within 5 s.
const BY_RESTART: Span = Span::from_secs(5);

/// The kinds that are played live, in the order of [`Kind`]; those that only a simulated world has so far are in
/// [`simulated`] and [`later`].
const LIVE: &[Fault] = &[
    Fault {
        kind: Kind::SessionKill,
        title: "a project's tmux session is killed",
        class: "01 death undetected",
        modes: &[Mode::Live, Mode::Sim],
        does: "tmux kill-session on the project's session, if that still carries the token the database names",
        probe: "the session's agents (pid and start time taken before) are gone and its token is no longer listed",
        detection: Detection {
            kind: Some(FailureKind::SessionDied),
            told_by: "session_died; agent_died and death_explained of its agents",
            by_event: BY_EVENT,
            by_sweep: BY_SWEEP,
        },
        outcome: Outcome::Recovered,
        spends_recovery: true,
        hits_role: false,
        undo: "none: the orchestrator makes a new session",
    },
    Fault {
        kind: Kind::ClaudeMdDelete,
        title: "a role's CLAUDE.md is deleted while its agent works",
        class: "12 missing resource",
        modes: &[Mode::Live, Mode::Sim],
        does: "unlink CLAUDE.md in the worktree of one role while its agent works",
        probe: "a descriptor opened before counts no link any more (the path proves nothing: it may be back already)",
        detection: Detection {
            kind: Some(FailureKind::ResourceMissing),
            told_by: "resource_missing for that role",
            by_event: BY_EVENT,
            by_sweep: BY_SWEEP,
        },
        outcome: Outcome::Recovered,
        spends_recovery: true,
        hits_role: true,
        undo: "none: the orchestrator writes the file again",
    },
    Fault {
        kind: Kind::StderrNull,
        title: "an agent or git fails without a word on standard error",
        class: "13 swallowed error",
        modes: &[Mode::Live, Mode::Sim],
        does: "agent: it closes its standard error and exits 41 with nothing written; \
               git: the next `git worktree add` closes its standard error and exits 128",
        probe: "agent: its pidfd tells the exit and its stderr file holds nothing; git: the armed fault is claimed",
        detection: Detection {
            kind: Some(FailureKind::AgentExited),
            told_by: "agent: death_explained with exit code 41 and an explicit stderr state; \
                      git: subprocess_failed with exit code 128 and an explicit stderr state",
            by_event: BY_EVENT,
            by_sweep: BY_SWEEP,
        },
        outcome: Outcome::Recovered,
        spends_recovery: true,
        hits_role: true,
        undo: "none: the orchestrator starts the agent again, or runs git again",
    },
    Fault {
        kind: Kind::OrchKill,
        title: "the orchestrator is killed and started again (only if asked for by --fault)",
        class: "crash of the orchestrator (G11, G12)",
        modes: &[Mode::Live, Mode::Sim],
        does: "SIGKILL to the `orch serve` that the harness started, which it then starts again at once",
        probe: "its exit status says SIGKILL, and the project's agents (pid and start time) live when the next one is ready",
        detection: Detection {
            kind: None,
            told_by: "orchestrator_started; the end is the first tmux_answered after it, with no alarm in between",
            by_event: BY_RESTART,
            by_sweep: BY_RESTART,
        },
        outcome: Outcome::Recovered,
        spends_recovery: false,
        hits_role: false,
        undo: "none: the harness starts it again",
    },
];

/// What the agent exits with when told to fail in silence.
pub const AGENT_EXIT_CODE: i32 = 41;
/// What git exits with when armed to fail in silence: its own code for fatal errors.
pub const GIT_EXIT_CODE: i32 = 128;

impl Kind {
    /// Those that a run draws from unless it is told otherwise.
    pub const DRAWN: &'static [Self] = &[Self::SessionKill, Self::ClaudeMdDelete, Self::StderrNull];

    /// The kind of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Its entry in the catalogue.
    #[must_use]
    pub fn entry(self) -> &'static Fault {
        let place = self as usize;
        let (live, simulated) = (LIVE.len(), LIVE.len() + simulated::ENTRIES.len());
        match place {
            _ if place < live => &LIVE[place],
            _ if place < simulated => &simulated::ENTRIES[place - live],
            _ => &later::ENTRIES[place - simulated],
        }
    }

    /// The one right classification of a fault of this kind.
    #[must_use]
    pub fn due(self, victim: Option<Victim>) -> Option<FailureKind> {
        if self == Self::StderrNull && victim == Some(Victim::Git) {
            return Some(FailureKind::SubprocessFailed);
        }
        self.entry().detection.kind
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Mode {
    /// The name used in schedules and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sim => "sim",
        }
    }
}

impl Outcome {
    /// The name used in reports and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Contained => "contained",
            Self::Harmless => "harmless",
            Self::Masked => "masked",
            Self::Missed => "missed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_entry() {
        assert_eq!(LIVE.len() + simulated::ENTRIES.len() + later::ENTRIES.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(kind.entry().kind, *kind);
            assert_eq!(Kind::from_name(kind.name()), Some(*kind));
            let written = serde_json::to_value(kind).expect("a name");
            assert_eq!(written, kind.name());
        }
        assert_eq!(Kind::from_name("session_kil"), None);
    }

    #[test]
    fn what_nothing_plays_says_why_and_is_played_by_nothing() {
        for (name, why) in UNPLAYED {
            assert_eq!(Kind::from_name(name), None, "{name} is played");
            assert!(!why.is_empty(), "{name}");
        }
    }

    /// Every kind that the reference names has its place here, played or not.
    #[test]
    fn no_kind_of_the_reference_is_without_a_place() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/reference/fault-taxonomy.md");
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: there is no {path}");
            return;
        };
        let rows = text.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 3);
        let named: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
        assert!(named.len() > 70, "{} kinds: the reference reads differently now", named.len());
        let placed = |name: &str| Kind::from_name(name).is_some() || UNPLAYED.iter().any(|(other, _)| *other == name);
        let missing: Vec<&&str> = named.iter().filter(|name| !placed(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_entry_says_everything() {
        for fault in Kind::ALL.iter().map(|kind| kind.entry()) {
            for text in [fault.title, fault.class, fault.does, fault.probe, fault.detection.told_by, fault.undo] {
                assert!(!text.is_empty(), "{}", fault.kind);
            }
            assert!(!fault.modes.is_empty() && fault.detection.by_event <= fault.detection.by_sweep);
        }
    }
}
