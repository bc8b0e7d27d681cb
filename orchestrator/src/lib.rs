//! An orchestrator core for AI coding agents in tmux that cannot lie about its state.
pub mod config;
pub mod domain;
pub mod spool;
pub mod validate;
