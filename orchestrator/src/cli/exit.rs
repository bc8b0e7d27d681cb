//! How `orch` ends: one enumeration of exit codes, and the errors that lead to them.

use crate::config::{ConfigError, HomeError};
use crate::domain::failure::FailureKind;
use crate::domain::request::RequestKind;
use crate::runtime::{AdmitError, ServeError};
use crate::spool::SpoolError;
use crate::store::StoreError;
use std::error::Error;
use std::process::ExitCode;
use thiserror::Error;

/// An exit code. Scripts rely on the numbers; they never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// Something that should not happen.
    Unexpected,
    /// The command line is wrong.
    Usage,
    /// Another orchestrator holds the installation.
    Fenced,
    /// A spec, the configuration or the database's content is wrong, or what was named is not there, or not in a state
    /// for what was asked.
    Data,
    /// What `orch` needs is not there: tmux, git, an installation.
    Environment,
    /// The launcher could not become the agent: 75, 78, 126 or 127, as `orch agent exec` documents them.
    Launch(u8),
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

/// The codes for `--help`.
pub const HELP: &str = "Exit codes:
  0    it did what was asked (a closed pipe counts as that)
  1    unexpected error
  2    wrong usage
  3    another orchestrator holds the installation
  4    bad data: spec, configuration, database, no such project; a refusal; a failed audit
  5    unusable environment: no tmux, no git, no installation
  130  interrupted (SIGINT)
  143  terminated (SIGTERM)";

impl Exit {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::Ok,
        Self::Unexpected,
        Self::Usage,
        Self::Fenced,
        Self::Data,
        Self::Environment,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::Fenced => 3,
            Self::Data => 4,
            Self::Environment => 5,
            Self::Launch(code) => code,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what was asked.
#[derive(Debug, Error)]
pub enum CliError {
    /// No installation was named, and there is none here or above.
    #[error("no installation: there is no .orch directory here or above; run `orch init`, or name one with --home")]
    NoInstallation,
    /// There is no such project.
    #[error("there is no project {0}; `orch status` lists them")]
    NoProject(i64),
    /// The orchestrator runs, but without its store.
    #[error("the orchestrator runs without its store and does nothing meanwhile: {0}")]
    Degraded(String),
    /// What was asked for makes no sense as the project stands.
    #[error("refused: {} of project {id}: {why}", crate::telemetry::text::asked(*kind))]
    Refused {
        /// What was asked for.
        kind: RequestKind,
        /// For which project.
        id: i64,
        /// Why not.
        why: &'static str,
    },
    /// What was asked of the fleet makes no sense as it stands.
    #[error("refused: {} of the fleet: {why}", crate::telemetry::text::asked(*kind))]
    FleetRefused {
        /// What was asked for.
        kind: RequestKind,
        /// Why not.
        why: &'static str,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard output could not be written.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// The system refused something else.
    #[error("{0}")]
    System(&'static str, #[source] std::io::Error),
    /// A value could not be written as JSON.
    #[error("cannot write this as JSON")]
    Encode(#[from] serde_json::Error),
    /// An argument cannot be meant like that.
    #[error("{0}")]
    Usage(String),
    /// The installation cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A report could not be written.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Nothing was made or accepted.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// The orchestrator could not run.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl CliError {
    /// The exit code that it means.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoInstallation | Self::Degraded(_) => Exit::Environment,
            Self::NoProject(_) | Self::Refused { .. } | Self::FleetRefused { .. } => Exit::Data,
            Self::Store(error) => store_exit(error),
            // Whoever read us has seen enough.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) | Self::System(..) | Self::Encode(_) => Exit::Unexpected,
            Self::Usage(_) => Exit::Usage,
            Self::Home(_) | Self::Spool(_) => Exit::Environment,
            Self::Config(_) => Exit::Data,
            Self::Admit(error) => admit_exit(error),
            Self::Serve(error) => serve_exit(error),
        }
    }

    /// The error on one line: its words, then those of what caused it, escaped, without saying anything twice.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let words = error.to_string();
            // Some errors print their cause themselves.
            if !words.is_empty() && !line.ends_with(&words) {
                line.push_str(": ");
                line.push_str(&words);
            }
            next = error.source();
        }
        format!("orch: {}", crate::telemetry::text::escape(&line))
    }
}

fn admit_exit(error: &AdmitError) -> Exit {
    match error {
        AdmitError::Home(_) => Exit::Environment,
        AdmitError::Repo { failure, .. }
            if matches!(failure.kind, FailureKind::SpawnFailed | FailureKind::Exhausted) =>
        {
            Exit::Environment
        }
        AdmitError::Spec(_) | AdmitError::Repo { .. } => Exit::Data,
        AdmitError::Store(error) => store_exit(error),
        AdmitError::Environment(error) => serve_exit(error),
    }
}

fn serve_exit(error: &ServeError) -> Exit {
    match error {
        ServeError::Held { .. } => Exit::Fenced,
        ServeError::Store(error) => store_exit(error),
        ServeError::Environment { .. } => Exit::Environment,
    }
}

fn store_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::Missing(_) => Exit::Environment,
        StoreError::Conflict(_) | StoreError::Fenced { .. } => Exit::Fenced,
        StoreError::Vanished { .. } | StoreError::Backup(..) => Exit::Environment,
        StoreError::Foreign { .. }
        | StoreError::TooNew { .. }
        | StoreError::Corrupt { .. }
        | StoreError::QueueFull(_)
        | StoreError::Unreadable { .. }
        | StoreError::Migration(_) => Exit::Data,
        StoreError::Sqlite(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Exit::Data,
            Some(
                rusqlite::ErrorCode::CannotOpen
                | rusqlite::ErrorCode::ReadOnly
                | rusqlite::ErrorCode::PermissionDenied
                | rusqlite::ErrorCode::DiskFull
                | rusqlite::ErrorCode::SystemIoFailure,
            ) => Exit::Environment,
            _ => Exit::Unexpected,
        },
        StoreError::Inconsistent(_) | StoreError::Encode(_) => Exit::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help_and_distinct() {
        let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        for code in &codes {
            assert!(HELP.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}");
        }
        codes.dedup();
        assert_eq!(codes.len(), Exit::ALL.len());
    }

    #[test]
    fn an_error_is_one_line_with_its_causes_once() {
        let cause = std::io::Error::other("disk\non fire");
        let error = CliError::System("cannot read the limits", cause);
        assert_eq!(error.line(), "orch: cannot read the limits: disk\\non fire");
        // StoreError::Sqlite prints its cause itself.
        let error = CliError::Store(StoreError::Sqlite(rusqlite::Error::InvalidQuery));
        assert_eq!(error.line(), "orch: database: Query is not read-only");
    }

    #[test]
    fn a_closed_pipe_is_success() {
        let closed = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(CliError::Output(closed).exit(), Exit::Ok);
        assert_eq!(CliError::Output(std::io::Error::other("no space")).exit(), Exit::Unexpected);
    }

    #[test]
    fn store_errors_have_the_documented_codes() {
        let path = || "x".into();
        assert_eq!(CliError::from(StoreError::Missing(path())).exit(), Exit::Environment);
        assert_eq!(CliError::from(StoreError::Conflict("x".into())).exit(), Exit::Fenced);
        let holder = crate::domain::id::ProcessId { pid: 7, start: 1 };
        assert_eq!(CliError::from(StoreError::Fenced { holder }).exit(), Exit::Fenced);
        assert_eq!(CliError::from(StoreError::TooNew { path: path(), found: 9, known: 1 }).exit(), Exit::Data);
        assert_eq!(CliError::from(StoreError::Corrupt { path: path(), why: "x".into() }).exit(), Exit::Data);
    }
}
