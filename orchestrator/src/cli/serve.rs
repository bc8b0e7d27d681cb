//! `orch serve`: works on the queue until stopped.

use super::exit::{CliError, Exit};
use crate::config::{Config, Home};
use crate::runtime;
use crate::telemetry::log;
use std::net::SocketAddr;

/// How it is stopped, for `--help`.
pub const HELP: &str =
    "SIGTERM and SIGINT stop it, with exit code 0: it was told to. What the database could not be told
by then is said on standard error; the agents go on, and the next start finds them.";

/// The command line of `orch serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Serve metrics and health at this address (loopback only)
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
}

/// Serves; returns when it was told to stop.
///
/// # Errors
/// If another orchestrator serves the installation, or what it needs is not there.
pub fn run(args: &Args, home: &Home, format: log::Format) -> Result<Exit, CliError> {
    let mut config = Config::load(home)?;
    if let Some(http) = args.http {
        if !http.ip().is_loopback() && !config.http_public {
            return Err(CliError::Usage(format!(
                "--http {http} is reachable from other machines: set http_public = true in config.toml if that is meant"
            )));
        }
        config.http = http;
    }
    let filter = std::env::var(log::FILTER_VAR).ok();
    log::init(format, filter.as_deref())
        .map_err(|error| CliError::Usage(format!("{error}: {}", filter.unwrap_or_default())))?;
    let orch = std::env::current_exe().map_err(|error| CliError::System("cannot tell this program's path", error))?;
    runtime::serve(home, &config, orch)?;
    Ok(Exit::Ok)
}
