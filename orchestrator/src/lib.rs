//! An orchestrator core for AI coding agents in tmux that cannot lie about its state.
pub mod domain;
pub mod env;
