//! A signal as the journal holds it.

use super::id::Seq;
use super::signal::Signal;
use super::time::{Timestamp, WallTime};
use serde::{Deserialize, Serialize};

/// A signal with its place in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; the journal has no gaps (G9).
    pub seq: Seq,
    /// When the event behind it was decided, on the installation's timeline.
    #[serde(rename = "at_us")]
    pub at: Timestamp,
    /// The wall clock at that moment, for display.
    #[serde(rename = "wall_us")]
    pub wall: WallTime,
    /// What it tells.
    #[serde(flatten)]
    pub signal: Signal,
}
