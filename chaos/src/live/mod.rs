//! Live mode: real tmux, git, files and processes, and a real `orch serve`.
//!
//! Everything of a run lies in one temporary folder with its own tmux socket, and every process of it carries a mark
//! that nobody can guess. Threads and blocking calls, each with a deadline: nothing here needs more.

mod cleanup;
mod clock;
mod command;
mod crash;
mod database;
mod direct;
mod doctor;
mod guard;
mod inject;
mod journal;
mod orch;
mod play;
mod process;
mod sample;
mod sandbox;
mod soak;
mod stop;
mod tmux;

pub(crate) use command::run_along;
pub use crash::{POINTS, Point, Row, Sweep, SweepStep, Verdict, run_sweep};
pub use doctor::{Ground, examine};
pub use guard::{SUBCOMMAND as GUARD, watch};
pub use play::{Config, Finished, LiveError, Planted, Step, run_live};
pub use soak::{Soak, SoakStep, Soaked, Zero, run_soak};
pub use stop::{STOP_FILE, Stop, Why};
