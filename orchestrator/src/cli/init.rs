//! `orch init`: makes an installation.

use super::exit::CliError;
use super::output;
use crate::config::home::HOME_NAME;
use crate::runtime;
use std::path::Path;

/// The command line of `orch init`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Makes the installation, at the place that was named or here.
///
/// # Errors
/// If there is one already, or it cannot be made.
pub fn run(_args: &Args, named: Option<&Path>) -> Result<(), CliError> {
    let here = std::env::current_dir().map_err(|error| CliError::System("cannot tell the working directory", error))?;
    let dir = named.map_or_else(|| here.join(HOME_NAME), |named| here.join(named));
    let home = runtime::init(&dir)?;
    output::print(&format!("made an installation in {}\n", home.dir().display()))
}
