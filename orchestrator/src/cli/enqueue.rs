//! `orch enqueue SPEC`: puts a project into the queue.

use super::exit::CliError;
use super::output;
use crate::config::{Config, Home};
use crate::runtime;
use serde_json::json;
use std::path::PathBuf;

/// The command line of `orch enqueue`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The spec: a TOML file; paths in it are relative to its own folder
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
    /// Answer as JSON: {"id": 7, "new": true}
    #[arg(long)]
    pub json: bool,
}

/// Accepts the project and prints its number, after the commit.
///
/// # Errors
/// If the spec, its repository or the store refuse; nothing was accepted.
pub fn run(args: &Args, home: &Home) -> Result<(), CliError> {
    let config = Config::load(home)?;
    let accepted = runtime::enqueue(home, &config, &args.spec)?;
    if args.json {
        return output::print(&format!("{}\n", json!({ "id": accepted.id, "new": accepted.new })));
    }
    output::print(&format!("{}\n", accepted.id))
}
