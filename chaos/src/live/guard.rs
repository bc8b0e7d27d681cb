//! The watchdog: a process of its own that cleans up when the harness dies, however it dies.
//!
//! It holds the reading end of a pipe of which only the harness holds the writing end. A word on it means that the
//! harness has cleaned up itself; its end without a word means that the harness is gone.

use super::cleanup;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand under which a program starts as a guard.
pub const SUBCOMMAND: &str = "guard";
/// What the harness says when there is nothing left to do.
const DONE: &[u8] = b"done";
/// How long a guard that has been told so may take to end.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long it may take to clean up in the harness's place.
const CLEAN_WAIT: Duration = Duration::from_secs(60);

/// A guard of a run.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts one: the program itself, under its hidden subcommand.
    pub(super) fn start(program: &Path, dir: &Path, mark: &str) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg(SUBCOMMAND).arg(dir).arg(mark);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Tells it that everything is clean, and waits for its end.
    pub(super) fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            // A guard that is gone already needs no word.
            let _ = pipe.write_all(DONE);
        }
        self.wait(END_WAIT);
    }

    fn wait(&mut self, most: Duration) {
        let deadline = Instant::now() + most;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guard {
    /// Without its word the guard takes over; it is waited for, so that not even a zombie is left.
    fn drop(&mut self) {
        self.pipe = None;
        self.wait(CLEAN_WAIT);
    }
}

/// The guard's own life; what could not be cleaned up.
#[must_use]
pub fn watch(dir: PathBuf, mark: &str) -> Vec<String> {
    // A session of its own: what the terminal sends to the harness is not for its guard.
    let _ = rustix::process::setsid();
    let mut word = Vec::new();
    let read = std::io::stdin().read_to_end(&mut word);
    if read.is_ok() && word == DONE { Vec::new() } else { cleanup::clean_up(&dir, mark) }
}
