//! The harness against the real thing: `orch serve`, tmux, git, files and processes.

mod command_line;
mod ground;
mod live;
mod planted;
mod sim;
mod soak;
