//! Joins the parts: the loop, and the live shell around it.

pub mod core;

pub use self::core::{Core, TurnReport};
