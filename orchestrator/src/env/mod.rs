//! The seam to the world: tmux, git, files, processes, clock, entropy.
//!
//! The core knows the world only through [`Env`]: it hands effects over and gets events back. The live world is
//! [`live`]; the simulator brings its own. Nothing else in this crate touches a clock, draws entropy, runs a program
//! or opens a file of a project.

pub mod clock;
mod cpu;
pub mod files;
pub mod git;
pub mod kin;
pub mod leftovers;
pub mod live;
pub mod process;
mod run;
mod scan;
#[cfg(test)]
mod scarce;
pub mod tmux;
pub mod traces;
pub mod watch;

use crate::domain::effect::Ordered;
use crate::domain::event::Happened;
use crate::domain::project::Project;
use crate::domain::time::Now;
use std::ffi::OsString;

/// A record of the spool: what happened, and the name under which it is to be consumed.
#[derive(Debug, Clone, PartialEq)]
pub struct SpoolItem {
    /// Its file name, which need not be text.
    pub name: OsString,
    /// What it says, or why it could not be used.
    pub happened: Happened,
    /// Whether it was usable.
    pub usable: bool,
}

/// The world, as the core sees it. No call may wait: results come back as events.
pub trait Env {
    /// The moment, with fresh entropy for one decision.
    fn now(&mut self) -> Now;

    /// Hands an effect over. Its result, or its deadline, comes back as [`crate::domain::event::Event::Settled`].
    fn submit(&mut self, ordered: Ordered);

    /// Says what a project is, after a commit: its processes and resources are watched from here on, and what is no
    /// longer part of it is not. Also said after a turn was refused: the end of a process that is still on record as
    /// living is told once more.
    fn watch(&mut self, project: &Project);

    /// Takes what lies in the spool, oldest first, bounded in number; it stays there until it is consumed.
    fn drain_spool(&mut self) -> Vec<SpoolItem>;

    /// Removes a record whose content has been committed (or moves an unusable one aside).
    fn consume(&mut self, item: &SpoolItem);
}
