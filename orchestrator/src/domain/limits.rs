//! Every bound of the system, each with its reason (G13), and the policy an installation may change.

use super::time::Span;
use serde::{Deserialize, Serialize};

/// Roles of one project: a session with more windows than this is no longer something a person can watch.
pub const ROLES_MAX: usize = 32;
/// Bytes of a title: it is shown on one line of `orch status`.
pub const TITLE_BYTES_MAX: usize = 200;
/// Bytes of a spec file; real ones are under 10 KiB.
pub const SPEC_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a CLAUDE.md: beyond this an agent's context is spent before it starts.
pub const CLAUDE_MD_BYTES_MAX: u64 = 256 << 10;
/// A settings file that our hooks are added to, in bytes; a larger one is left alone.
pub const SETTINGS_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a brief; it is a file, so the tty's 4,096-byte line limit does not apply (T16).
pub const BRIEF_BYTES_MAX: u64 = 4 << 20;
/// Bytes of one spool record: a report is a sentence, not a log.
pub const SPOOL_RECORD_BYTES_MAX: u64 = 64 << 10;
/// Bytes of each captured output tail in a failure: what a person reads, not what a program wrote.
pub const TAIL_BYTES_MAX: usize = 4 << 10;
/// Events drained in one turn; bounds the length of a transaction, so that no one waits long for the write lock.
pub const TURN_EVENTS_MAX: usize = 256;
/// Events waiting for the loop; a source that finds it full waits, it never drops.
pub const INBOX_EVENTS_MAX: usize = 16_384;
/// File events on their way from inotify; beyond that they are dropped, and everything is looked at once instead.
pub const WATCH_EVENTS_MAX: usize = 4_096;
/// Projects waiting in the queue; one more is an explicit error at enqueue.
pub const QUEUE_PROJECTS_MAX: usize = 100_000;
/// Progress is written to the database at most this often per role; in between it only counts in memory.
pub const PROGRESS_WRITE_EVERY: Span = Span::from_secs(5);
/// How long a retired incarnation's token is remembered: a tmux server that hung for longer is no case to plan for.
pub const TOKEN_KEPT: Span = Span::from_secs(30 * 86_400);

/// How long what an incarnation that is over wrote to standard error is kept; its tail is in the journal for ever.
pub const STDERR_KEPT: Span = Span::from_secs(30 * 86_400);
/// How long nothing is tried again that failed for want of our own descriptors, processes or memory: each try needs
/// some, and is told.
pub const STARVED_PAUSE: Span = Span::from_secs(10);

/// How long a project rests for credit if its agent does not say: most quotas are by the hour.
pub const CREDIT_WAIT: Span = Span::from_secs(3_600);
/// The shortest and longest rest for credit: less would be a loop, more a mistake in the unit.
pub const CREDIT_S: (u64, u64) = (60, 604_800);

/// What an installation may configure; the defaults are the promises of `reference/guarantees.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Projects worked on at the same time.
    pub max_active: u32,
    /// Recoveries allowed per project within `breaker_window_s` (G8).
    pub breaker_max: u32,
    /// Length of the breaker's sliding window, in seconds; also how long an open breaker stays open.
    pub breaker_window_s: u64,
    /// Back-off before the second attempt of one incident, in seconds; doubled for every further one.
    pub backoff_base_s: u64,
    /// Longest back-off, in seconds.
    pub backoff_cap_s: u64,
    /// Half-open probes that may fail before the project is failed for good.
    pub probes_max: u32,
    /// Projects whose breakers may open within `fleet_breaker_window_s`; one more opens the fleet's breaker, and no
    /// queued project is admitted until fewer count again (G8).
    pub fleet_breaker_max: u32,
    /// Length of the fleet breaker's sliding window, in seconds.
    pub fleet_breaker_window_s: u64,
    /// How long tmux may leave open whether sessions live before every project that depends on it is suspended and
    /// waits for an operator, in seconds (G3).
    pub unknown_s: u64,
    /// How long an agent has to acknowledge its brief before it is handed over again, in seconds.
    pub ack_s: u64,
    /// How often the brief is handed over before the agent counts as deaf.
    pub brief_max: u32,
    /// How long an agent that reports progress may be silent in every respect before it counts as hung, in seconds;
    /// it is told of and nudged at half of that, and one that rests is reminded then.
    pub stall_s: u64,
    /// The same with a tool in flight, and for one that rests without being done.
    pub stall_tool_s: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_active: 5,
            breaker_max: 3,
            breaker_window_s: 3_600,
            backoff_base_s: 10,
            backoff_cap_s: 300,
            probes_max: 3,
            fleet_breaker_max: 5,
            fleet_breaker_window_s: 600,
            unknown_s: 600,
            ack_s: 30,
            brief_max: 4,
            stall_s: 1_200,
            stall_tool_s: 3_600,
        }
    }
}

impl Policy {
    /// The breaker's window as a span.
    #[must_use]
    pub fn breaker_window(&self) -> Span {
        Span::from_secs(self.breaker_window_s)
    }

    /// The fleet breaker's window as a span.
    #[must_use]
    pub fn fleet_breaker_window(&self) -> Span {
        Span::from_secs(self.fleet_breaker_window_s)
    }

    /// How long may be unknown whether sessions live.
    #[must_use]
    pub fn unknown_max(&self) -> Span {
        Span::from_secs(self.unknown_s)
    }

    /// How long to wait for an acknowledgement.
    #[must_use]
    pub fn ack_wait(&self) -> Span {
        Span::from_secs(self.ack_s)
    }
}

/// How long one effect of each kind may take before its outcome counts as unknown.
pub mod deadline {
    use super::Span;
    /// One message to tmux: 10 s is G4's bound for showing a hung server as Unknown.
    pub const TMUX: Span = Span::from_secs(10);
    /// One git command: a checkout of a large repository takes tens of seconds on a slow disk.
    pub const GIT: Span = Span::from_secs(120);
    /// Looking at, or writing, the few small files of one worktree: milliseconds on a disk; a network file system that
    /// has not answered by then hangs.
    pub const FILES: Span = Span::from_secs(30);
    /// Ending what an older incarnation left: 5 s after TERM, then KILL, then proof.
    pub const END_REMAINS: Span = Span::from_secs(30);
}

const _: () = assert!(TAIL_BYTES_MAX as u64 <= SPOOL_RECORD_BYTES_MAX);
const _: () = assert!(CLAUDE_MD_BYTES_MAX <= BRIEF_BYTES_MAX);
const _: () = assert!(TURN_EVENTS_MAX <= INBOX_EVENTS_MAX);
