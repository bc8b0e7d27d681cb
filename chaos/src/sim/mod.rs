//! A deterministic simulation of the whole world, over which the real decisions, the real store and the real core run.
//!
//! One seed is one run, for ever: time is a heap of events, every draw comes from a named stream of the seed, and
//! nothing of the machine that it runs on is looked at. The store is real SQLite in memory. What is simulated is what
//! the orchestrator sees through its seam: tmux, processes, files, git, agents, the clock. Each model says which fact
//! of `reference/platform-facts.md` it follows.
//!
//! The simulator never asks the orchestrator what is true.

pub mod acts;
pub mod agent;
pub mod bank;
pub mod campaign;
mod claims;
pub mod conclusion;
pub mod cover;
pub mod deed;
pub mod disk;
pub mod draw;
pub mod env;
pub mod faults;
pub mod gate;
pub mod gate_process;
mod ground;
pub mod heap;
pub mod host;
pub mod job;
pub mod kernel;
pub mod link;
pub mod meter;
mod park;
mod past;
mod people;
mod perform;
pub mod plan;
pub mod planted;
pub mod points;
mod reboot;
pub mod replay;
mod rival;
pub mod run;
mod scene;
pub mod shrink;
mod spoil;
pub mod sweep;
pub mod tmux;
mod trace;
mod verdict;
mod words;
pub mod world;

pub use deed::Spoil;
pub use gate::Blow;
pub use plan::{Outcome, Plan};
pub use points::Side;
pub use run::Sim;
pub use world::Manner;
