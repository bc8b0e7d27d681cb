//! An orchestrator core for AI coding agents in tmux that cannot lie about its state.
pub mod config;
pub mod decide;
pub mod domain;
pub mod env;
pub mod runtime;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod validate;
