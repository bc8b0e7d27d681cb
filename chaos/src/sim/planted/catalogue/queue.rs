//! Bugs in the queue and in what operators ask for.

use super::{HALF_HOUR, STOPS, shared};
use crate::sim::planted::Bug;
use crate::sim::planted::hands::{Lax, Sql};

/// In the order of the invariants.
pub(super) const BUGS: &[Bug] = &[
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
            let first = include_str!("../sql/priority_forgotten.sql");
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
            let later = include_str!("../sql/requests_taken_again.sql");
            shared(Sql { later, ..Sql::default() })
        },
        ..HALF_HOUR
    },
    Bug {
        name: "request_forgotten",
        what: "every third request is thrown away",
        intended: "S18",
        plant: |_| {
            let first = include_str!("../sql/request_forgotten.sql");
            shared(Sql { first, ..Sql::default() })
        },
        ..HALF_HOUR
    },
];
