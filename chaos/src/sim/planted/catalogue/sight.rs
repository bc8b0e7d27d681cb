//! Bugs in what is noticed: too little, too late, too much, or the wrong thing.

use super::{HALF_HOUR, INCIDENT, KILLS, REFERENCE, shared};
use crate::fault::Kind;
use crate::sim::planted::hands::Lax;
use crate::sim::planted::senses::{AllForOne, Assumes, CopiesBack, Deaf, Invents, Peeks, Polls, Prefix, Warns};
use crate::sim::planted::strangers::EndsByRole;
use crate::sim::planted::tales::{self, Alters, Tells};
use crate::sim::planted::{Bug, From};
use orchestrator::domain::event::Event;
use orchestrator::domain::time::Span;

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
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
        name: "one_minute_polling",
        what: "the report's shorter interval: nothing but a look every minute",
        intended: "D1",
        kinds: KILLS,
        plant: |_| shared(Polls::every(Span::from_secs(60))),
        ..INCIDENT
    },
    Bug {
        name: "tmux_hooks_alone",
        what: "the report's events: what tmux says of its sessions, and neither processes nor sweeps",
        intended: "D1",
        kinds: &[Kind::PaneHusk, Kind::AgentExitSilent],
        plant: |_| shared(Deaf(|event| matches!(event, Event::ProcessGone { .. } | Event::SweepDue))),
        ..INCIDENT
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
        name: "broken_connection_unnoticed",
        what: "a connection to tmux that breaks is told of to nobody",
        intended: "D1",
        kinds: &[Kind::BenignTmuxEagain],
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
        name: "file_copied_back_in_silence",
        what: "a CLAUDE.md that is missing is copied again, and nobody is told",
        intended: "D1",
        kinds: &[Kind::ClaudeMdDelete],
        plant: |_| shared(CopiesBack::default()),
        ..INCIDENT
    },
    Bug {
        name: "lost_brief_unnoticed",
        what: "a brief is handed over once, and nobody asks whether it came",
        intended: "D1",
        kinds: &[Kind::EnterLost, Kind::BriefAlwaysFails],
        plant: |_| shared(Lax(|policy| policy.ack_s = 86_400)),
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
        name: "late_end_believed",
        what: "the end of a process counts as the end of whoever has its role now",
        intended: "D2",
        kinds: &[Kind::EventDelay],
        plant: |_| shared(EndsByRole::default()),
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
];
