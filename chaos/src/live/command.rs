//! Running a program to its end, or to its deadline.

use super::process::{Held, identify};
use rustix::process::Signal;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Its standard output, if it succeeded.
    pub(super) fn ok(self, what: &str) -> Result<String, String> {
        if self.status.success() {
            Ok(self.stdout)
        } else {
            Err(format!("{what}: {}: {}", self.status, self.stderr.trim()))
        }
    }
}

/// Runs a program in a group of its own, so that the terminal's Ctrl-C reaches the harness only, which then ends what it
/// started. One that has not ended at its deadline is killed, and that is an error.
pub(super) fn run(command: &mut Command, deadline: Duration) -> Result<Said, String> {
    run_along(command.process_group(0), deadline)
}

/// The same for a program that Ctrl-C is to end along with the harness.
pub(crate) fn run_along(command: &mut Command, deadline: Duration) -> Result<Said, String> {
    let until = Instant::now() + deadline;
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let held = identify(child.id()).and_then(|id| Held::of(id).ok().flatten());
    if let Some(held) = held
        && !held.ended_by(until)
    {
        let killed = held.signal(Signal::KILL);
        let waited = child.wait();
        return Err(format!("{name}: no end within {} s ({killed:?}, {waited:?})", deadline.as_secs()));
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    let text = |reader: Option<thread::JoinHandle<String>>| reader.and_then(|reader| reader.join().ok());
    let (stdout, stderr) = (text(stdout).unwrap_or_default(), text(stderr).unwrap_or_default());
    Ok(Said { status, stdout, stderr })
}

/// Reads in a thread of its own, so that a program that writes much is not held up.
fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could not be read is missing from the text, nothing else.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_wrote_and_how_it_ended_is_known() {
        let said = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(5));
        let said = said.expect("it ran");
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("out\n", "err\n"));
        assert!(said.ok("sh").is_err_and(|why| why.contains("3") && why.contains("err")));
    }

    #[test]
    fn a_hung_program_is_ended_and_a_missing_one_named() {
        let hung = run(Command::new("sleep").arg("60"), Duration::from_millis(50));
        assert!(hung.is_err_and(|why| why.contains("no end")));
        let missing = run(&mut Command::new("no-such-program"), Duration::from_secs(1));
        assert!(missing.is_err_and(|why| why.contains("no-such-program")));
    }
}
