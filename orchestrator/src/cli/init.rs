//! `orch init`: its command line.

/// The command line of `orch init`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}
