//! What is told to the world outside the database: metrics, log lines, sentences for people.
//!
//! Everything here is derived from the journal (S11, S12): metrics are its fold, the event log its mirror, and a
//! human message a function of one entry. Nothing here decides anything, and nothing here is ever read back to
//! decide. It imports `domain` and nothing else of ours; where the journal does not know something (how long a
//! transaction took), the runtime tells [`meter`].
//!
//! Where to look: [`metric`] declares every metric once, [`fold`] says which entry moves which, [`mod@line`] is the
//! format of the event log, [`mirror`] keeps that in step with the journal, [`text`] has the words.

pub mod export;
mod fleet;
pub mod fold;
pub mod line;
pub mod log;
pub mod meter;
pub mod metric;
pub mod mirror;
mod name;
pub mod sink;
pub mod text;

#[cfg(test)]
mod samples;
