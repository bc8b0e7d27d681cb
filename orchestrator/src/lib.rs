//! An orchestrator core for AI coding agents in tmux that cannot lie about its state.
//!
//! The nouns: a *project* is a spec to be worked on by *roles*; each role is one agent in its own git worktree and its
//! own pane of the project's tmux *session*; an *epoch* numbers incarnations and a *token* marks one unguessably. What
//! happens comes in as an *event*, what is to be done goes out as an *effect*, what is told goes into the journal as a
//! *signal*.
//!
//! Reading order: [`domain`] (the words), [`decide`] (what an event means; pure), [`store`] (the one truth),
//! [`mod@env`] (the seam to the world), [`runtime`] (the loop that joins them), then what is around:
//! [`validate`], [`spool`], [`config`], [`telemetry`], [`cli`].

pub mod cli;
pub mod config;
pub mod decide;
pub mod domain;
pub mod env;
pub mod runtime;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod validate;
