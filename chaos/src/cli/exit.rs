//! How the program ends: one enumeration, documented in `--help`.

use crate::check::Is;
use crate::live::{Finished, LiveError, Why};
use crate::report::Verdict;
use std::process::ExitCode;

/// Every way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every invariant held.
    Pass = 0,
    /// Something went wrong that should not.
    Unexpected = 1,
    /// The command line, or a file that it names, cannot be used.
    Usage = 2,
    /// An invariant was violated.
    Violated = 3,
    /// Nothing was injected, a fault was never confirmed, or a checker broke.
    Inconclusive = 4,
    /// No tmux, one that is too old, no git, no orchestrator.
    Environment = 5,
    /// A stop condition was met.
    Aborted = 6,
    /// The same seed gave another run.
    Nondeterminism = 7,
    /// A threshold was crossed.
    Threshold = 99,
    /// SIGINT; the report is written.
    Interrupted = 130,
    /// SIGTERM; the report is written.
    Terminated = 143,
}

impl Exit {
    /// Every value.
    pub const ALL: &'static [Self] = &[
        Self::Pass,
        Self::Unexpected,
        Self::Usage,
        Self::Violated,
        Self::Inconclusive,
        Self::Environment,
        Self::Aborted,
        Self::Nondeterminism,
        Self::Threshold,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "pass: every invariant held and every fault took effect",
            Self::Unexpected => "unexpected error",
            Self::Usage => "usage or configuration",
            Self::Violated => "an invariant was violated",
            Self::Inconclusive => "inconclusive: nothing injected, a fault never confirmed, a checker broke",
            Self::Environment => "environment unusable: no tmux, too old, no git, no orch",
            Self::Aborted => "aborted by a stop condition (the file STOP in the report's folder)",
            Self::Nondeterminism => "nondeterminism",
            Self::Threshold => "a threshold was crossed",
            Self::Interrupted => "interrupted (SIGINT), report still written",
            Self::Terminated => "terminated (SIGTERM), report still written",
        }
    }

    /// The part of `--help` that documents them.
    #[must_use]
    pub fn help() -> String {
        let lines: String =
            Self::ALL.iter().map(|exit| format!("\n  {:>3}  {}", exit.code(), exit.meaning())).collect();
        format!("Exit codes:{lines}")
    }

    /// Of a run that came to its report.
    #[must_use]
    pub fn of_run(finished: &Finished) -> Self {
        match (finished.why, finished.report.verdict) {
            (Some(Why::Interrupted), _) => Self::Interrupted,
            (Some(Why::Terminated), _) => Self::Terminated,
            (Some(Why::StopFile), _) | (None, Verdict::Aborted) => Self::Aborted,
            (None, Verdict::Pass) => Self::Pass,
            (None, Verdict::Fail) => Self::Violated,
            (None, Verdict::Inconclusive) => Self::Inconclusive,
        }
    }

    /// Of a verdict in the simulator.
    #[must_use]
    pub fn of_verdict(is: Is) -> Self {
        match is {
            Is::Pass => Self::Pass,
            Is::Fail => Self::Violated,
            Is::Unknown => Self::Inconclusive,
        }
    }

    /// Of a run that came to none.
    #[must_use]
    pub fn of_error(error: &LiveError) -> Self {
        match error {
            LiveError::Environment(_) => Self::Environment,
            LiveError::Unexpected(_) => Self::Unexpected,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_design() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 99, 130, 143]);
        assert!(Exit::help().contains("\n    3  an invariant was violated\n"));
    }
}
