//! Bugs in what is written down, counted, told and taken down.

use super::{GIT, HALF_HOUR, REFERENCE, STOPS, shared};
use crate::fault::Kind;
use crate::sim::planted::hands::{Hurries, NoCleanup, NoReaping};
use crate::sim::planted::senses::{Garbles, WallClock, tells_all, tells_environment};
use crate::sim::planted::tales::{self, Alters, CountsAnew, CountsEarly, HashOrder, LosesLines};
use crate::sim::planted::{Bug, From};

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
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
        plant: |_| shared(NoReaping::default()),
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
