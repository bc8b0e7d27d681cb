//! The harness against the real thing: `orch serve`, tmux, git, files and processes.

mod command_line;
mod conformance;
mod ground;
mod live;
mod planted;
mod regressions;
mod sim;
mod soak;
mod sweep;
mod sweep_live;
