//! Bugs in what a project is: its state, its session's name, its end.

use super::{HALF_HOUR, INCIDENT, KILLS, REFERENCE, STOPS, shared};
use crate::fault::Kind;
use crate::sim::planted::hands::{Renames, Sql};
use crate::sim::planted::records::TrustsAnyone;
use crate::sim::planted::senses::{DoneOnExit, Fails, Pretext, Warns};
use crate::sim::planted::tales::{self, Tells};
use crate::sim::planted::{Bug, From};
use orchestrator::domain::time::Span;

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "finished_projects_deleted",
        what: "a start deletes what was completed",
        intended: "S1",
        kinds: STOPS,
        plant: |_| {
            let later = include_str!("../sql/finished_projects_deleted.sql");
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
            let first = include_str!("../sql/row_without_entry.sql");
            shared(Sql { first, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "rows_unguarded",
        what: "the database takes any state that somebody writes into a project's row",
        intended: "S2",
        kinds: &[Kind::RowForgedProcessing],
        plant: |_| {
            let first = include_str!("../sql/rows_unguarded.sql");
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
        plant: |_| shared(Fails::at(Pretext::Unknown)),
        ..REFERENCE
    },
    Bug {
        name: "session_missing_is_failed",
        what: "a session that is not on the list fails its project",
        from: From::Incident,
        intended: "S4",
        kinds: &[Kind::HupSurvivor],
        plant: |_| shared(Fails::at(Pretext::NoSession)),
        ..HALF_HOUR
    },
    Bug {
        name: "stuck_is_failed",
        what: "a project that has been at it for long counts as stuck and failed",
        intended: "S4",
        plant: |_| shared(Fails::at(Pretext::Stuck(Span::from_secs(300)))),
        ..INCIDENT
    },
    Bug {
        name: "words_are_failed",
        what: "a project whose agent's screen shows an error is failed",
        intended: "S4",
        kinds: &[Kind::BenignScaryOutput],
        plant: |_| shared(Fails::at(Pretext::Words)),
        ..INCIDENT
    },
    Bug {
        name: "known_by_place",
        what: "an agent is the pane at its place, and another pane there is its death",
        intended: "S4",
        roles: Some(2),
        kinds: &[Kind::BenignWindowMoved],
        plant: |_| shared(Fails::at(Pretext::Place)),
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
        plant: |_| shared(Warns::of_everything()),
        ..INCIDENT
    },
    Bug {
        name: "file_that_exists_will_do",
        what: "validate_resources of the report: a CLAUDE.md that exists is valid, whatever it is",
        intended: "S5",
        kinds: &[Kind::ClaudeMdTruncate, Kind::ClaudeMdSymlink, Kind::ClaudeMdIsDir, Kind::ClaudeMdUnreadable],
        plant: |_| shared(Warns::of_what_exists()),
        ..INCIDENT
    },
    Bug {
        name: "validated_before_launch_only",
        what: "resources are validated before execution, and never again",
        intended: "S5",
        kinds: &[Kind::ClaudeMdDelete, Kind::ClaudeMdTruncate],
        plant: |_| shared(Warns::after_the_launch()),
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
        name: "finished_projects_requeued",
        what: "a start puts what was completed into the queue again",
        intended: "S10",
        kinds: STOPS,
        plant: |_| {
            let later = include_str!("../sql/finished_projects_requeued.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
];
