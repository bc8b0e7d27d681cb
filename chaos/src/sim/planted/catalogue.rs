//! The planted bugs, as one table.

use super::hands::{Doubles, Forgets, Hurries, Lax, NoCleanup, NoFence, NoLock, NoProof, NoReaping, Renames, Sql};
use super::senses::{
    AllForOne, Assumes, Deaf, DoneOnExit, Fails, Flaps, Garbles, Invents, Peeks, Polls, Prefix, TakesEarly,
    TrustsAnyone, Verdict, WallClock, Warns, tells_all, tells_environment,
};
use super::tales::{self, Alters, CountsAnew, CountsEarly, HashOrder, LosesLines, Restless, Tells};
use super::{Bug, From, GIT, HALF_HOUR, INCIDENT, KILLS, REFERENCE, SPENDS, SPENDS_AND_RESTARTS, STOPS, shared};
use crate::fault::Kind;
use orchestrator::domain::event::Event;
use orchestrator::domain::time::Span;

/// Every planted bug, in the order of the invariants.
pub static ALL: &[Bug] = &[
    Bug {
        name: "finished_projects_deleted",
        what: "a start deletes what was completed",
        intended: "S1",
        kinds: STOPS,
        plant: |_| {
            let later = include_str!("sql/finished_projects_deleted.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "journal_outside_transaction",
        what: "a role's last move is in its row, and its entry is lost",
        intended: "S2",
        plant: |_| shared(Tells::by(tales::without_moves)),
        ..REFERENCE
    },
    Bug {
        name: "row_without_entry",
        what: "somebody else writes a role's state into its row",
        intended: "S2",
        plant: |_| {
            let first = include_str!("sql/row_without_entry.sql");
            shared(Sql { first, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "session_name_not_written",
        what: "the session gets another name than the one in its row",
        intended: "S3",
        plant: |_| shared(Renames),
        ..INCIDENT
    },
    Bug {
        name: "unknown_is_dead",
        what: "a tmux that does not answer has lost every session",
        intended: "S4",
        kinds: &[Kind::ServerStop],
        plant: |_| shared(Fails::at(Verdict::Unknown)),
        ..REFERENCE
    },
    Bug {
        name: "session_missing_is_failed",
        what: "a session that is not on the list fails its project",
        from: From::Incident,
        intended: "S4",
        kinds: &[Kind::HupSurvivor],
        plant: |_| shared(Fails::at(Verdict::NoSession)),
        ..HALF_HOUR
    },
    Bug {
        name: "stuck_is_failed",
        what: "a project that has been at it for long counts as stuck and failed",
        intended: "S4",
        plant: |_| shared(Fails::at(Verdict::Stuck(Span::from_secs(300)))),
        ..INCIDENT
    },
    Bug {
        name: "words_are_failed",
        what: "a project whose agent's screen shows an error is failed",
        intended: "S4",
        kinds: &[Kind::BenignScaryOutput],
        plant: |_| shared(Fails::at(Verdict::Words)),
        ..INCIDENT
    },
    Bug {
        name: "known_by_place",
        what: "an agent is the pane at its place, and another pane there is its death",
        intended: "S4",
        roles: Some(2),
        kinds: &[Kind::BenignWindowMoved],
        plant: |_| shared(Fails::at(Verdict::Place)),
        ..HALF_HOUR
    },
    Bug {
        name: "completed_on_session_exit",
        what: "a project whose session ends is completed, and nobody asks its agents",
        from: From::Incident,
        intended: "S5",
        kinds: KILLS,
        plant: |_| shared(DoneOnExit::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "missing_claude_md_warning",
        what: "a CLAUDE.md that is missing is a warning",
        intended: "S5",
        kinds: &[Kind::ClaudeMdDelete, Kind::ClaudeMdTruncate],
        plant: |_| shared(Warns::default()),
        ..INCIDENT
    },
    Bug {
        name: "stale_report_accepted",
        what: "whoever wrote a record counts as whoever is there now",
        intended: "S5",
        kinds: &[Kind::DoneButGone, Kind::SessionKill],
        plant: |_| shared(TrustsAnyone::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "no_proof_before_relaunch",
        what: "an agent is started again before the old one is proved gone",
        intended: "S6",
        kinds: &[Kind::HupSurvivor, Kind::AgentSetsidChild],
        plant: |_| shared(NoProof),
        ..HALF_HOUR
    },
    Bug {
        name: "agents_started_twice",
        what: "every role of a session has two agents",
        intended: "S6",
        plant: |_| shared(Doubles),
        ..HALF_HOUR
    },
    Bug {
        name: "lease_not_verified",
        what: "an orchestrator that was superseded goes on",
        intended: "S6",
        kinds: &[Kind::PausedWriter, Kind::SessionKill],
        plant: |_| shared(NoFence::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "lock_not_asked_for",
        what: "an orchestrator starts beside one that serves",
        intended: "S6",
        kinds: &[Kind::SecondOrchestrator],
        plant: |_| shared(NoLock),
        ..REFERENCE
    },
    Bug {
        name: "breaker_off_by_plus_one",
        what: "the breaker admits one recovery too many",
        intended: "S7",
        kinds: SPENDS,
        plant: |_| shared(Lax(|policy| policy.breaker_max += 1)),
        ..REFERENCE
    },
    Bug {
        name: "breaker_off_by_minus_one",
        what: "the breaker admits one recovery too few",
        intended: "S7",
        kinds: SPENDS,
        plant: |_| shared(Lax(|policy| policy.breaker_max -= 1)),
        ..REFERENCE
    },
    Bug {
        name: "restart_without_limit",
        what: "there is no breaker",
        intended: "S7",
        kinds: SPENDS,
        plant: |_| shared(Lax(|policy| policy.breaker_max = 1_000)),
        ..INCIDENT
    },
    Bug {
        name: "failed_spawn_not_counted",
        what: "a recovery after something could not be started counts for nothing",
        intended: "S7",
        kinds: &[Kind::ProcMissing, Kind::StderrEmpty, Kind::SessionKill, Kind::WorktreeDelete, Kind::AgentExitInstant],
        plant: |_| shared(Tells::by(tales::without_failed_starts)),
        ..REFERENCE
    },
    Bug {
        name: "half_open_admits_two",
        what: "two probes at once",
        intended: "S7",
        minutes: 150,
        kinds: SPENDS,
        plant: |_| shared(Tells::by(tales::second_probe)),
        ..REFERENCE
    },
    Bug {
        name: "breaker_half_opens_early",
        what: "an open breaker half-opens after a quarter of its window",
        intended: "S7",
        minutes: 60,
        kinds: SPENDS,
        plant: |_| shared(Lax(|policy| policy.breaker_window_s /= 4)),
        ..HALF_HOUR
    },
    Bug {
        name: "breaker_in_memory_only",
        what: "a restart forgets what the breaker counted, and whether it is open",
        intended: "S8",
        kinds: SPENDS_AND_RESTARTS,
        plant: |_| {
            let later = include_str!("sql/breaker_in_memory_only.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..REFERENCE
    },
    Bug {
        name: "null_stderr_swallowed",
        what: "an error says \"None\"",
        from: From::Reference,
        intended: "S9",
        kinds: GIT,
        plant: |_| shared(Alters(tales::swallows)),
        ..HALF_HOUR
    },
    Bug {
        name: "finished_projects_requeued",
        what: "a start puts what was completed into the queue again",
        intended: "S10",
        kinds: STOPS,
        plant: |_| {
            let later = include_str!("sql/finished_projects_requeued.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "metric_before_commit",
        what: "what a refused commit would have told is counted, and counted again",
        intended: "S11",
        plant: |_| shared(CountsEarly::default()),
        ..REFERENCE
    },
    Bug {
        name: "metrics_begin_anew",
        what: "counters begin at zero with every start",
        intended: "S11",
        kinds: STOPS,
        plant: |_| shared(CountsAnew),
        ..HALF_HOUR
    },
    Bug {
        name: "log_line_lost",
        what: "a line of the log is lost now and then",
        intended: "S12",
        plant: |_| shared(LosesLines),
        ..HALF_HOUR
    },
    Bug {
        name: "wall_clock_in_core",
        what: "decisions go by the wall clock",
        intended: "S12",
        kinds: &[Kind::ClockStepForward],
        plant: |_| shared(WallClock::default()),
        ..REFERENCE
    },
    Bug {
        name: "effect_before_intent",
        what: "an effect begins that nobody has written down",
        intended: "S13",
        plant: |_| shared(Hurries),
        ..REFERENCE
    },
    Bug {
        name: "orphans_not_reaped",
        what: "a session is ended, and what left it is not",
        intended: "S14",
        kinds: &[Kind::AgentSetsidChild],
        plant: |_| shared(NoReaping),
        ..REFERENCE
    },
    Bug {
        name: "nothing_taken_down",
        what: "the session of a completed project stays",
        intended: "S14",
        plant: |_| shared(NoCleanup::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "claude_md_in_evidence",
        what: "an error shows the file that was being written",
        intended: "S15",
        kinds: GIT,
        plant: |_| shared(Garbles(tells_all)),
        ..HALF_HOUR
    },
    Bug {
        name: "environment_in_evidence",
        what: "an error shows the command with its environment",
        intended: "S15",
        kinds: GIT,
        plant: |_| shared(Garbles(tells_environment)),
        ..HALF_HOUR
    },
    Bug {
        name: "one_slot_too_many",
        what: "one project more is at work than there are slots",
        intended: "S16",
        projects: Some(6),
        plant: |_| shared(Lax(|policy| policy.max_active += 1)),
        ..HALF_HOUR
    },
    Bug {
        name: "priority_forgotten",
        what: "the queue goes by the order of acceptance alone",
        intended: "S17",
        projects: Some(6),
        plant: |_| {
            let first = include_str!("sql/priority_forgotten.sql");
            shared(Sql { first, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "requests_taken_again",
        what: "a start takes every request once more",
        intended: "S18",
        kinds: STOPS,
        plant: |_| {
            let later = include_str!("sql/requests_taken_again.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "request_forgotten",
        what: "every third request is thrown away",
        intended: "S18",
        plant: |_| {
            let first = include_str!("sql/request_forgotten.sql");
            shared(Sql { first, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "ten_minute_polling",
        what: "nothing but a look every ten minutes",
        from: From::Incident,
        intended: "D1",
        kinds: KILLS,
        plant: |_| shared(Polls::every(Span::from_secs(600))),
        ..HALF_HOUR
    },
    Bug {
        name: "prefix_match",
        what: "has-session, which takes a twin with a longer name for the session",
        from: From::Incident,
        intended: "D1",
        kinds: &[Kind::NameTwin, Kind::SessionKill],
        plant: |_| shared(Prefix::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "hung_tmux_unnoticed",
        what: "a tmux that does not answer is told of to nobody",
        intended: "D1",
        kinds: &[Kind::ServerStop],
        plant: |_| shared(Deaf(|event| matches!(event, Event::TmuxLost { .. }))),
        ..HALF_HOUR
    },
    Bug {
        name: "files_unwatched",
        what: "nobody looks at the resources while agents work",
        intended: "D1",
        kinds: &[Kind::ClaudeMdDelete, Kind::WorktreeDelete],
        plant: |_| shared(Deaf(|event| matches!(event, Event::FilesTouched { .. } | Event::SweepDue))),
        ..HALF_HOUR
    },
    Bug {
        name: "alarm_without_fault",
        what: "tmux is called lost every ten minutes",
        intended: "D2",
        plant: |_| shared(Invents::every(Span::from_secs(600))),
        ..REFERENCE
    },
    Bug {
        name: "detector_peeks_at_injector",
        what: "deaths are told when the schedule has them, whether they happened or not",
        intended: "D2",
        plant: |schedule| shared(Peeks::at(schedule)),
        ..REFERENCE
    },
    Bug {
        name: "all_for_one",
        what: "the death of one agent counts as the death of all",
        intended: "D2",
        kinds: KILLS,
        plant: |_| shared(AllForOne::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "handed_is_delivered",
        what: "a line on the pane counts as a brief that was read",
        intended: "D2",
        plant: |_| shared(Assumes::default()),
        ..INCIDENT
    },
    Bug {
        name: "wrong_role_blamed",
        what: "a death is put down to the role beside it",
        intended: "D3",
        roles: Some(2),
        kinds: KILLS,
        plant: |_| shared(Alters(tales::blames_another)),
        ..HALF_HOUR
    },
    Bug {
        name: "death_told_twice",
        what: "one death is told of twice",
        intended: "D3",
        kinds: KILLS,
        plant: |_| shared(Tells::by(tales::twice_dead)),
        ..HALF_HOUR
    },
    Bug {
        name: "masked_is_missed",
        what: "what was spoiled while its session was down is not looked at when it is made anew",
        intended: "D4",
        kinds: &[Kind::ClaudeMdDelete, Kind::ClaudeMdTruncate, Kind::SessionKill, Kind::PaneKill],
        plant: |_| shared(Warns::of_the_masked()),
        ..REFERENCE
    },
    Bug {
        name: "effect_forgotten",
        what: "every ninth effect is never done, and nobody misses it",
        intended: "L1",
        plant: |_| shared(Forgets { every: 9, seen: 0 }),
        ..HALF_HOUR
    },
    Bug {
        name: "record_consumed_early",
        what: "a record is removed before what it says is committed",
        intended: "L1",
        projects: Some(6),
        roles: Some(3),
        kinds: &[Kind::DbLocked],
        plant: |_| shared(TakesEarly),
        ..HALF_HOUR
    },
    Bug {
        name: "flapping",
        what: "agents rest and work in turns, and every turn is told",
        intended: "L3",
        kinds: &[Kind::AgentHang],
        plant: |_| shared(Flaps::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "breaker_stays_open",
        what: "an open breaker half-opens after four windows",
        intended: "L4",
        minutes: 150,
        kinds: SPENDS,
        plant: |_| shared(Lax(|policy| policy.breaker_window_s *= 4)),
        ..HALF_HOUR
    },
    Bug {
        name: "one_stops_all",
        what: "one open breaker stops the queue for good",
        intended: "L5",
        projects: Some(4),
        kinds: SPENDS,
        plant: |_| {
            shared(Lax(|policy| {
                (policy.max_active, policy.fleet_breaker_max, policy.fleet_breaker_window_s) = (1, 0, 86_400);
            }))
        },
        ..HALF_HOUR
    },
    Bug {
        name: "made_anew_at_rest",
        what: "files that are as they must be are written again",
        intended: "L6",
        plant: |_| shared(Restless::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "hash_order_in_output",
        what: "what is told at one moment comes in the order of a hash map",
        intended: "M5",
        plant: |_| shared(HashOrder),
        ..REFERENCE
    },
    Bug {
        name: "machine_clock_in_output",
        what: "an entry carries the machine's own time",
        intended: "M5",
        plant: |_| shared(Alters(tales::real_time)),
        ..HALF_HOUR
    },
];
