//! The seam to the world: the only place that runs programs, signals processes, reads and writes files, and watches.
//!
//! Nothing here decides anything; it does one thing that was asked and says what it saw, with evidence.

pub mod files;
pub mod git;
pub mod process;
mod run;
mod scan;
pub mod watch;
