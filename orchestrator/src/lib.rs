//! An orchestrator core for AI coding agents in tmux that cannot lie about its state.
pub mod cli;
pub mod decide;
pub mod domain;
pub mod store;
pub mod telemetry;
pub mod validate;
