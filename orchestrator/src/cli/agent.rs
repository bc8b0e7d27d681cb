//! `orch agent …`: what an agent, its hooks or a person says of one role; its command line.
//!
//! Whom it speaks for comes from the environment that the session gave it (ORCH_PROJECT, ORCH_ROLE, ORCH_EPOCH,
//! ORCH_INSTANCE, ORCH_SPOOL), so that a hook needs no arguments and cannot speak for another.

use super::exit::{CliError, Exit};
use super::output;
use crate::domain::event::Report;
use crate::domain::silence;
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
        /// A tool is started, and may run for long without a word; or it has ended
        #[arg(long, value_name = "WHAT", value_enum)]
        tool: Option<Tool>,
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
    /// It is out of credit; the project rests until there is some again, by default for an hour
    Credit {
        /// Until when, such as 2026-01-31T14:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "lasting")]
        until: Option<jiff::Timestamp>,
        /// For how long, such as 90m
        #[arg(long = "for", id = "lasting", value_name = "DURATION")]
        lasting: Option<jiff::SignedDuration>,
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
            Self::Progress { tool, text } => Some(Report::Progress(tool_text(*tool, text.as_deref()))),
            Self::Done { summary } => Some(Report::Done(summary.clone())),
            Self::Fail { reason } => Some(Report::Fail(reason.clone())),
            Self::Idle => Some(Report::Idle),
            Self::NeedsInput { text } => Some(Report::NeedsInput(text.clone())),
            Self::Credit { until, lasting } => {
                let now = clock::wall_us() / 1_000_000;
                let seconds = until.map(|until| until.as_second() - now).or(lasting.map(|span| span.as_secs()));
                // What lies in the past is over at once; the limits are the orchestrator's.
                Some(Report::Credit(seconds.map(|seconds| u64::try_from(seconds).unwrap_or(0))))
            }
            Self::Exec { .. } => None,
        }
    }
}

/// What may be told of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// It is started
    Start,
    /// It has ended
    End,
}

/// The text of a progress record: of a tool it says so in its first words.
fn tool_text(tool: Option<Tool>, text: Option<&str>) -> Option<String> {
    let Some(tool) = tool else { return text.map(str::to_owned) };
    let what = match tool {
        Tool::Start => silence::TOOL_START,
        Tool::End => silence::TOOL_END,
    };
    Some(text.map_or_else(|| what.to_owned(), |text| format!("{what} {text}")))
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
