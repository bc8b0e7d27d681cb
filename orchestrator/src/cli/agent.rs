//! `orch agent …`: what an agent, its hooks or a person says of one role; its command line.
//!
//! Whom it speaks for comes from the environment that the session gave it (ORCH_PROJECT, ORCH_ROLE, ORCH_EPOCH,
//! ORCH_INSTANCE, ORCH_SPOOL), so that a hook needs no arguments and cannot speak for another.

use super::exit::{CliError, Exit};
use super::output;
use crate::domain::event::Report;
use crate::env::{clock, live};
use crate::spool::{self, Record};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The command line of `orch agent`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What it says.
    #[command(subcommand)]
    pub says: Says,
}

/// What an agent can say.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum Says {
    /// The brief is read
    Ack,
    /// It goes on
    Progress {
        /// What it does
        #[arg(value_name = "TEXT", allow_hyphen_values = true)]
        text: Option<String>,
    },
    /// The work is done
    Done {
        /// What was done, in a sentence
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        summary: Option<String>,
    },
    /// It cannot go on
    Fail {
        /// Why
        #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
        reason: String,
    },
    /// It rests without being done
    Idle,
    /// It waits for a person
    NeedsInput {
        /// For what
        #[arg(value_name = "TEXT", allow_hyphen_values = true)]
        text: Option<String>,
    },
    /// Become the agent: checks what the launch needs, then executes it
    #[command(hide = true)]
    Exec {
        /// What to execute, written by the orchestrator
        #[arg(long, value_name = "FILE")]
        manifest: PathBuf,
    },
}

impl Says {
    /// The report to put into the spool; none for the launcher, which reports nothing.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        match self {
            Self::Ack => Some(Report::Ack),
            Self::Progress { text } => Some(Report::Progress(text.clone())),
            Self::Done { summary } => Some(Report::Done(summary.clone())),
            Self::Fail { reason } => Some(Report::Fail(reason.clone())),
            Self::Idle => Some(Report::Idle),
            Self::NeedsInput { text } => Some(Report::NeedsInput(text.clone())),
            Self::Exec { .. } => None,
        }
    }
}

/// Writes the report into the spool, or becomes the agent.
///
/// # Errors
/// If this is no pane that orch started, or the record cannot be written.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    if let Says::Exec { manifest } = &args.says {
        let error = live::exec(manifest);
        output::complain(&format!("orch: {error}"));
        return Ok(Exit::Launch(error.code()));
    }
    let Some(report) = args.says.report() else { return Ok(Exit::Ok) };
    // A variable that is no UTF-8 is not one of ours.
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let identity = spool::from_env(&variables)?;
    let record = Record::new(&identity, report, clock::wall_us(), std::process::id());
    spool::write(&identity.spool, &record)?;
    Ok(Exit::Ok)
}
