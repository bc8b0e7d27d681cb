//! tmux, spoken to over one control-mode connection.
//!
//! Reading order: [`command`] (what may be said, and how it is quoted), [`parse`] (what comes back; pure),
//! [`client`] (the connection, its deadlines and its end), [`ops`] and [`input`] (the operations the orchestrator
//! performs), [`server`] (the server as a process: socket, version, identity, signals).
//!
//! Three promises hold throughout:
//! - A target is an id or `=name:`, never a bare name, which would match by prefix (T5).
//! - A deadline that passes means an unknown outcome; what was asked may still be done later (T8). So everything
//!   that could harm when done late or twice carries its condition along and is judged by the server itself.
//! - A lost connection says nothing about the sessions; the server outlives its clients.

pub mod client;
pub mod command;
mod error;
pub mod input;
pub mod ops;
mod orphan;
pub mod parse;
pub mod server;
#[cfg(test)]
mod tests;

pub use client::{Control, Notice, TmuxConfig};
pub use command::Command;
pub use error::TmuxError;
pub use input::{Marked, capture, clear_line, forget_buffers, paste_line, press_enter, screen};
pub use ops::{
    Created, LaunchPane, PaneEnd, create_session, kill_server, kill_session, list_panes, list_session_panes, pane_end,
    respawn, session_present,
};
pub use orphan::reap_orphaned_clients;
pub use parse::Pane;
pub use server::{ServerId, Version, check_socket, recreate_socket, version};
