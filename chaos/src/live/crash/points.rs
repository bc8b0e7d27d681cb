//! The table: every crash point with what is killed there and what must be so afterwards.

use super::scene::{Odd, Scene, Work};
use super::{early, late, middle};

/// A crash point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Its number in the table of crash points.
    pub id: &'static str,
    /// Where it is killed.
    pub what: &'static str,
    /// What must be so after the restart.
    pub expected: &'static str,
    pub(super) work: Work,
    pub(super) play: fn(&Scene<'_>) -> Result<String, Odd>,
}

const PLAIN: Work = Work { roles: 1, finish: "done", waits: true, script: None, policy: "" };
const AT_ONCE: Work = Work { waits: false, ..PLAIN };
const FAILS: Work = Work { finish: "fail", waits: false, ..PLAIN };
/// Leaves a process behind that ignores hangups and is in a session of its own.
const LEAVES: &str = "setsid sh -c 'trap \"\" HUP; while :; do sleep 1; done' & exec sh $W";
/// Ends at once, until the sandbox has the file `well`.
const CRASHES: &str = "test -e $D/well || exit 41; exec sh $W";

/// Every point that is played live, in order.
pub const POINTS: &[Point] = &[
    Point {
        id: "C01",
        what: "enqueue, before COMMIT",
        expected: "nothing; a retry creates once",
        work: PLAIN,
        play: early::c01,
    },
    Point {
        id: "C02",
        what: "enqueue, after COMMIT before the answer",
        expected: "queued; a retry is answered the same id",
        work: PLAIN,
        play: early::c02,
    },
    Point { id: "C03", what: "claim, before COMMIT", expected: "queued, then taken on", work: PLAIN, play: early::c03 },
    Point {
        id: "C04",
        what: "claim, after COMMIT",
        expected: "gone on with, same attempt",
        work: PLAIN,
        play: early::c04,
    },
    Point {
        id: "C05",
        what: "worktree intended, before mkdir",
        expected: "step redone",
        work: PLAIN,
        play: early::c05,
    },
    Point {
        id: "C06",
        what: "inside git worktree add, git stopped",
        expected: "old git gone, husk removed, redone",
        work: PLAIN,
        play: early::c06,
    },
    Point {
        id: "C07",
        what: "worktree done, not confirmed",
        expected: "confirmed, not redone",
        work: PLAIN,
        play: early::c07,
    },
    Point {
        id: "C08",
        what: "one of two worktrees confirmed",
        expected: "one kept, the other done",
        work: Work { roles: 2, ..PLAIN },
        play: early::c08,
    },
    Point {
        id: "C09",
        what: "CLAUDE.md written, not renamed",
        expected: "temporary file removed, redone",
        work: PLAIN,
        play: early::c09,
    },
    Point {
        id: "C10",
        what: "CLAUDE.md renamed, not confirmed",
        expected: "kept and confirmed",
        work: PLAIN,
        play: early::c10,
    },
    Point {
        id: "C11",
        what: "validated, before the session's intent",
        expected: "gone on with",
        work: PLAIN,
        play: early::c11,
    },
    Point {
        id: "C12",
        what: "session intended, before tmux is asked",
        expected: "created under the same name",
        work: PLAIN,
        play: middle::c12,
    },
    Point {
        id: "C13",
        what: "tmux asked while it hangs, outcome unknown",
        expected: "settled by token, one session",
        work: PLAIN,
        play: middle::c13,
    },
    Point {
        id: "C14",
        what: "session created, not confirmed",
        expected: "adopted by token",
        work: PLAIN,
        play: middle::c14,
    },
    Point {
        id: "C15",
        what: "creating timed out, tmux wakes later",
        expected: "late session found by token, one at rest",
        work: PLAIN,
        play: middle::c15,
    },
    Point {
        id: "C16",
        what: "tmux dies here",
        expected: "one event for all, recovered, none twice",
        work: PLAIN,
        play: middle::c16,
    },
    Point { id: "C17", what: "brief file written, not pasted", expected: "pasted", work: PLAIN, play: middle::c17 },
    Point {
        id: "C18",
        what: "buffer loaded, not pasted",
        expected: "buffer deleted, redone",
        work: PLAIN,
        play: middle::c18,
    },
    Point {
        id: "C19",
        what: "pasted, before Enter",
        expected: "line cleared, pasted again, one acknowledgement",
        work: PLAIN,
        play: middle::c19,
    },
    Point {
        id: "C20",
        what: "Enter sent, not recorded",
        expected: "acknowledged once",
        work: PLAIN,
        play: middle::c20,
    },
    Point {
        id: "C21",
        what: "acknowledged, before running COMMIT",
        expected: "running",
        work: PLAIN,
        play: middle::c21,
    },
    Point {
        id: "C22",
        what: "running, before watches are set",
        expected: "running; an agent that dies then is seen",
        work: PLAIN,
        play: middle::c22,
    },
    Point {
        id: "C23",
        what: "agent died, its event lost",
        expected: "seen within 5 s of the start, one recovery",
        work: PLAIN,
        play: late::c23,
    },
    Point {
        id: "C24",
        what: "down while the agent finishes and exits",
        expected: "completed",
        work: PLAIN,
        play: late::c24,
    },
    Point {
        id: "C25",
        what: "done seen, before completed COMMIT",
        expected: "looked at again, completed once",
        work: AT_ONCE,
        play: late::c25,
    },
    Point {
        id: "C26",
        what: "completed COMMIT, before cleanup",
        expected: "cleaned up, never reverted",
        work: AT_ONCE,
        play: late::c26,
    },
    Point {
        id: "C27",
        what: "between kill-session and reaping",
        expected: "processes with the token reaped first",
        work: Work { script: Some(LEAVES), ..AT_ONCE },
        play: late::c27,
    },
    Point {
        id: "C28",
        what: "a file in the way parked, its place not filled",
        expected: "parked once, commits kept",
        work: PLAIN,
        play: late::c28,
    },
    Point {
        id: "C29",
        what: "failure seen, before COMMIT",
        expected: "seen again, same verdict",
        work: FAILS,
        play: late::c29,
    },
    Point {
        id: "C30",
        what: "failed COMMIT, before its remains are killed",
        expected: "remains reaped",
        work: Work { script: Some(LEAVES), ..FAILS },
        play: late::c30,
    },
    Point {
        id: "C31",
        what: "attempt counted, before it is made",
        expected: "counted, never too few",
        work: PLAIN,
        play: late::c31,
    },
    Point {
        id: "C32",
        what: "agent started again, not confirmed",
        expected: "adopted, same epoch",
        work: PLAIN,
        play: late::c32,
    },
    Point {
        id: "C32b",
        what: "agent to be started again, before tmux is asked",
        expected: "started once, same epoch",
        work: PLAIN,
        play: late::c32b,
    },
    Point {
        id: "C33",
        what: "half-open probe under way",
        expected: "its outcome decides, no second probe",
        work: Work {
            script: Some(CRASHES),
            policy: "breaker_max = 1\nbreaker_window_s = 4\nbackoff_base_s = 1\nbackoff_cap_s = 1\n",
            ..PLAIN
        },
        play: late::c33,
    },
    Point {
        id: "C34",
        what: "breaker open",
        expected: "still open, same end",
        work: Work {
            script: Some(CRASHES),
            policy: "breaker_max = 1\nbreaker_window_s = 600\nbackoff_base_s = 1\nbackoff_cap_s = 1\n",
            ..PLAIN
        },
        play: late::c34,
    },
    Point {
        id: "C35",
        what: "lease taken, before the first heartbeat",
        expected: "next start at once, epoch + 1",
        work: PLAIN,
        play: early::c35,
    },
    Point {
        id: "C36",
        what: "in the middle of the reconciliation",
        expected: "run anew, nothing twice",
        work: PLAIN,
        play: late::c36,
    },
];
