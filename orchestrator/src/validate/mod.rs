//! The one validation layer: every rule on what comes in from people, files and agents is here, once.
//!
//! It owns the words of a refusal: one line that names the field, shows the value escaped and cut, and says what is
//! allowed. It never creates anything, never waits (no FIFO, no device is opened) and never panics on any input.
//! The numbers B01, B02, … are the rows of `reference/bad-inputs.md`.
//!
//! - [`spec`]: a spec file, read into a [`spec::Draft`] and finished into a [`crate::domain::spec::Spec`].
//! - [`text`]: names, titles, paths, escaping.
//! - [`mod@file`]: reading a regular file that may turn out to be anything.
//! - [`table`]: TOML with the place of every value.
//! - [`judge`]: what was found in a worktree, held against what must be there. Pure.
//! - [`brief`]: what the agent is told, as bytes. Pure.
//! - [`hooks`]: what Claude Code reports by itself, as settings. Pure.

pub mod brief;
pub mod file;
pub mod hooks;
pub mod judge;
pub mod spec;
pub mod table;
pub mod text;
