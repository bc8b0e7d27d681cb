//! Bugs in how a project is recovered: one incarnation at a time, within a budget that outlives the process.

use super::{HALF_HOUR, INCIDENT, REFERENCE, SPENDS, SPENDS_AND_RESTARTS, SPENDS_AND_STEPS, shared};
use crate::fault::Kind;
use crate::sim::planted::Bug;
use crate::sim::planted::hands::{AgesByWall, Doubles, Lax, NoFence, NoLock, NoProof, Sql};
use crate::sim::planted::tales::{self, Tells};

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
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
        name: "breaker_by_the_wall_clock",
        what: "the breaker ages its attempts by the wall clock: a step of it forgives them",
        intended: "S7",
        kinds: SPENDS_AND_STEPS,
        plant: |_| shared(AgesByWall::default()),
        ..INCIDENT
    },
    Bug {
        name: "breaker_in_memory_only",
        what: "a restart forgets what the breaker counted, and whether it is open",
        intended: "S8",
        kinds: SPENDS_AND_RESTARTS,
        plant: |_| {
            let later = include_str!("../sql/breaker_in_memory_only.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..REFERENCE
    },
    Bug {
        name: "open_breaker_forgets",
        what: "a restart forgets what an open breaker has counted",
        intended: "S8",
        kinds: SPENDS_AND_RESTARTS,
        plant: |_| {
            let later = include_str!("../sql/open_breaker_forgets.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
];
