//! Bugs after which the fleet does not come to rest, or is not left in peace.

use super::{HALF_HOUR, INCIDENT, SPENDS, shared};
use crate::fault::Kind;
use crate::sim::planted::hands::{Forgets, Lax};
use crate::sim::planted::records::TakesEarly;
use crate::sim::planted::senses::Flaps;
use crate::sim::planted::strangers::{EndsByNumber, EndsByPrefix, EndsStrays, NoMark};
use crate::sim::planted::tales::Restless;
use crate::sim::planted::{Bug, Of};

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
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
        name: "longer_timeout",
        what: "an agent has twenty times as long to acknowledge its brief",
        intended: "L1",
        minutes: 60,
        kinds: &[Kind::EnterLost, Kind::CopyMode, Kind::BriefAlwaysFails],
        plant: |_| shared(Lax(|policy| policy.ack_s *= 20)),
        ..INCIDENT
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
        // The quiet end is longer than what L5 gives a turn, and shorter than what L1 gives everything.
        minutes: 17,
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
        name: "ended_by_prefix",
        what: "a session is ended by its name, and with it every one whose name begins so",
        intended: "S19",
        kinds: &[Kind::NameTwin],
        plant: |_| shared(EndsByPrefix),
        ..INCIDENT
    },
    Bug {
        name: "strays_ended",
        what: "a session whose mark no row knows is ended",
        intended: "S19",
        kinds: &[Kind::StraySession],
        plant: |_| shared(EndsStrays::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "ended_by_number",
        what: "what is left of an agent is ended by its number, whoever has that now",
        intended: "S19",
        kinds: &[Kind::PidReuse],
        plant: |_| shared(EndsByNumber::default()),
        ..HALF_HOUR
    },
    Bug {
        name: "session_known_by_name",
        what: "an agent is started in whatever session has the name of its own",
        intended: "S19",
        // While a worktree is made, nobody holds the list against the role: the two must come close together.
        minutes: 5,
        projects: Some(1),
        roles: Some(1),
        kinds: &[Kind::EmptyShell, Kind::WorktreeDelete],
        plant: |_| shared(NoMark(Of::Session)),
        ..HALF_HOUR
    },
    Bug {
        name: "pane_known_by_number",
        what: "a line goes to whatever pane has the number of the agent's",
        intended: "S19",
        projects: Some(6),
        roles: Some(3),
        kinds: &[Kind::PaneIdReuse, Kind::SlowReader, Kind::TrustPrompt],
        plant: |_| shared(NoMark(Of::Pane)),
        ..HALF_HOUR
    },
];
