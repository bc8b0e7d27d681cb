//! What can go wrong with tmux; every variant carries its cause in words.

use std::path::PathBuf;
use std::time::Duration;

/// Why an operation on tmux has no result.
#[derive(Debug, thiserror::Error)]
pub enum TmuxError {
    /// The program could not be started.
    #[error("{} could not be started: {source}", program.display())]
    Spawn {
        /// What was to be started.
        program: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Reading, writing or asking the system about something failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The connection is gone; whether the request was performed is unknown, and so is the state of the sessions.
    #[error("the tmux connection is lost: {reason}")]
    Lost {
        /// What tmux said last, or how its client ended.
        reason: String,
    },
    /// No answer within the deadline; the request may still be performed later (T8).
    #[error("tmux did not answer `{}` within {} ms", argv.join(" "), after.as_millis())]
    Timeout {
        /// What was asked, without the values of environment variables.
        argv: Vec<String>,
        /// The deadline.
        after: Duration,
    },
    /// tmux answered, and the answer is an error; commands before it on the same line were performed.
    #[error("tmux refused `{}`: {message}", argv.join(" "))]
    Refused {
        /// The command that failed, without the values of environment variables.
        argv: Vec<String>,
        /// tmux's words, or ours where the refusal is a condition of ours that did not hold.
        message: String,
    },
    /// Something that must not be sent to tmux; nothing was sent.
    #[error("{what} {value:?}: {why}")]
    BadArgument {
        /// Which argument.
        what: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// tmux's answer is not of the form it should have.
    #[error("unexpected answer from tmux to {what}: {answer:?}")]
    Protocol {
        /// What was asked.
        what: &'static str,
        /// What came.
        answer: String,
    },
    /// The server or the program is older than what is relied on.
    #[error("tmux {found} is too old: {needed} or later is needed")]
    TooOld {
        /// The version found, as tmux spells it.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// The socket cannot or must not be used.
    #[error("tmux socket {}: {why}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl TmuxError {
    pub(super) fn io(what: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { what: what.into(), source: source.into() }
    }
}
