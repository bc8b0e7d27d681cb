//! Processes: who they are, whose they are, whether they live.
//!
//! Written here once more, although the orchestrator has its own: ground truth that is read with the orchestrator's
//! eyes would share its blind spots.

use orchestrator::domain::id::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// A process held by its pidfd: signals reach it or nobody, and its end is told even if it is nobody's child.
#[derive(Debug)]
pub(super) struct Held {
    /// Which process.
    pub(super) id: ProcessId,
    fd: OwnedFd,
}

impl Held {
    /// Takes hold of a process; none if it is gone.
    pub(super) fn of(id: ProcessId) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The number may have been given to another between the look and the grip: look again, holding it.
            Ok(fd) => Ok(is_alive(id).then_some(Self { id, fd })),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal; a process that is gone already needs none.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it has ended, at most until then; whether it has.
    pub(super) fn ended_by(&self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut polled, Some(&timespec(left))) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return !is_alive(self.id),
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    let tv_sec = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: duration.subsec_nanos().into() }
}

/// The identity of the living process of that number, if there is one.
pub(super) fn identify(pid: u32) -> Option<ProcessId> {
    let (state, start) = stat(pid)?;
    (!is_over(state)).then_some(ProcessId { pid, start })
}

/// Whether exactly that process lives; a zombie does not.
pub(super) fn is_alive(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|(state, start)| start == id.start && !is_over(state))
}

fn is_over(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}

/// The number of a process's parent.
pub(super) fn parent(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// State and start time: fields 3 and 22 of `/proc/PID/stat`. The name, field 2, may hold anything, also blanks and
/// parentheses; so the fields are counted from its last parenthesis.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// The environment of a process: only what it was started with, which nobody can change from outside.
#[derive(Debug)]
pub(super) struct Environ(Vec<u8>);

impl Environ {
    /// Of that process; none if it is gone, or not ours to read.
    pub(super) fn of(pid: u32) -> Option<Self> {
        fs::read(format!("/proc/{pid}/environ")).ok().map(Self)
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    }
}

/// Every process but this one whose environment has that value under that name.
pub(super) fn marked(name: &str, value: &str) -> Vec<(ProcessId, Environ)> {
    let own = std::process::id();
    let Ok(listing) = fs::read_dir("/proc") else { return Vec::new() };
    listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let environ = Environ::of(pid).filter(|environ| environ.get(name) == Some(value))?;
            Some((identify(pid)?, environ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    const MARK: &str = "CHAOS_TEST_PROCESS";

    fn sleeper(mark: &str) -> Child {
        Command::new("sleep").arg("60").env(MARK, mark).stdin(Stdio::null()).spawn().expect("a process")
    }

    #[test]
    fn a_process_is_found_by_its_mark_held_and_seen_to_end() {
        let mark = format!("found-{}", std::process::id());
        let mut child = sleeper(&mark);
        let found = marked(MARK, &mark);
        assert_eq!(found.iter().map(|(id, _)| id.pid).collect::<Vec<_>>(), [child.id()]);
        assert_eq!(parent(child.id()), Some(std::process::id()));
        assert!(marked(MARK, &mark[..mark.len() - 1]).is_empty());
        let held = Held::of(found[0].0).expect("pidfd").expect("alive");
        assert!(!held.ended_by(Instant::now()));
        held.signal(Signal::KILL).expect("sent");
        assert!(held.ended_by(Instant::now() + Duration::from_secs(5)));
        // Nobody has waited for it: a zombie, and dead all the same.
        assert!(!is_alive(held.id));
        child.wait().expect("waited");
        held.signal(Signal::KILL).expect("gone is no error");
    }

    #[test]
    fn another_process_of_the_same_number_is_not_it() {
        let mut child = sleeper("other");
        let id = identify(child.id()).expect("alive");
        let earlier = ProcessId { start: id.start + 1, ..id };
        assert!(Held::of(earlier).expect("pidfd").is_none());
        assert!(!is_alive(earlier));
        child.kill().expect("killed");
        child.wait().expect("waited");
    }
}
