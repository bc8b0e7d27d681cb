//! An installation's configuration and its directory.
//!
//! - [`mod@file`]: `config.toml`, read once at start; every value has a range and a default.
//! - [`home`]: the directory `.orch/`: finding it, making it, what lies where in it.

pub mod file;
pub mod home;

pub use file::{Config, ConfigError};
pub use home::{Home, HomeError};
