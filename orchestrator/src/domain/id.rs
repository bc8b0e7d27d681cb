//! Identifiers, each its own type, so that none is taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

integer_id!(
    /// A project's row id; never reused.
    ProjectId(i64)
);
integer_id!(
    /// An effect's row id in the outbox; grows with every effect.
    EffectId(i64)
);
integer_id!(
    /// Position in the journal; starts at 1, without gaps (G9).
    Seq(i64)
);
integer_id!(
    /// Which incarnation: 0 before the first launch, then +1 on every relaunch; fences all older ones (G5).
    Epoch(u32)
);

impl Epoch {
    /// The incarnation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A role's name: `[a-z0-9-]{1,32}`, checked when the spec is read, so it is safe as a tmux window name, a
/// directory and part of a branch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoleName(pub String);

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The unguessable mark of one incarnation: 32 lower-case hexadecimal digits (128 bits).
///
/// It is the tmux option `@orch_instance` and the environment variable `ORCH_INSTANCE`; identity is judged by it,
/// never by a name or a number alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process that cannot be mistaken for a later one of the same number: pid and start time.
///
/// The boot id completes the identity; the store keeps it once per installation, since no pid outlives a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process number.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    pub start: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start)
    }
}
