//! The vocabulary: what exists, what may happen to it, and what is legal. Pure.
//!
//! No I/O, no clock, no entropy, no hash maps; the lints below refuse them. Everything here is data and functions
//! of data, shared by the live orchestrator, the simulator and the checkers.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod breaker;
pub mod decision;
pub mod effect;
mod entry;
pub mod event;
pub mod failure;
pub mod fleet;
pub mod hooks;
pub mod id;
pub mod lack;
mod level;
pub mod limits;
pub mod project;
pub mod request;
pub mod screen;
pub mod signal;
pub mod silence;
pub mod spec;
pub mod state;
pub mod time;
pub mod trace;
