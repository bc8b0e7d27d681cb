//! The kinds that the simulated world has learned after those of [`super::simulated`].

use super::simulated::simulated;
use super::{Fault, Kind, Outcome};
use orchestrator::domain::failure::FailureKind;

/// In the order of [`Kind`], after those of [`super::simulated`].
pub(super) const ENTRIES: &[Fault] = &[
    simulated(
        Kind::BenignTmuxEagain,
        "04 live agent judged dead",
        (
            "the connection to tmux breaks, and for a while none can be made",
            "the control connection ends and every new one is refused (EAGAIN); the server and its sessions live",
        ),
        (None, "tmux_lost, tmux_answered afterwards"),
        (Outcome::Harmless, false, false),
    ),
    simulated(
        Kind::RowForgedProcessing,
        "06 desync, limbo",
        (
            "somebody writes into a project's row that it runs",
            "an UPDATE of the row's state from another connection, as with a sqlite3 shell; the database refuses it",
        ),
        (None, "nothing: the row stays what it is"),
        (Outcome::Harmless, false, false),
    ),
    simulated(
        Kind::RowForgedFailed,
        "06 desync, limbo",
        (
            "somebody writes into a project's row that it has failed",
            "an UPDATE of the row's state from another connection, as with a sqlite3 shell; the database refuses it",
        ),
        (None, "nothing: the row stays what it is"),
        (Outcome::Harmless, false, false),
    ),
    simulated(
        Kind::PaneIdReuse,
        "09 wrong target",
        (
            "the tmux server is killed, and the panes of the next one that have our ids are somebody else's",
            "SIGKILL to the tmux server; before anybody else, a stranger starts one and opens as many panes",
        ),
        (Some(FailureKind::ServerDied), "tmux_lost, server_died once for all; the strangers are not touched"),
        (Outcome::Recovered, false, false),
    ),
    simulated(
        Kind::TrustPrompt,
        "11 brief lost",
        (
            "a role's next agent asks whether it may, and takes the brief's line for the answer",
            "the agent is killed; the next one reads the first line that it gets as the answer to a question",
        ),
        (None, "the brief is handed over again"),
        (Outcome::Recovered, true, true),
    ),
    simulated(
        Kind::SlowReader,
        "11 brief lost",
        (
            "a role's next agent reads its terminal only after 40 s",
            "the agent is killed; the next one lets its lines wait for 40 s",
        ),
        (None, "the brief is handed over again"),
        (Outcome::Recovered, true, true),
    ),
    simulated(
        Kind::EventDelay,
        "21 lost or wrong events",
        (
            "events of processes and files come 20 s late for a while, and an agent is killed in it",
            "what pidfds and inotify tell is held back for 20 s; the sweep is not",
        ),
        (Some(FailureKind::AgentKilled), "agent_died by the sweep"),
        (Outcome::Recovered, true, true),
    ),
];
