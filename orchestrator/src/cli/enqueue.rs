//! `orch enqueue SPEC`: its command line.

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
