//! What may cut a run short, and waiting that notices it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The name of the kill-switch file within the report's folder.
pub const STOP_FILE: &str = "STOP";
/// How often a wait looks whether what it waits for has come.
const LOOK: Duration = Duration::from_millis(20);

/// Why a run is cut short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// The kill-switch file is there.
    StopFile,
}

/// Whether a run is to be cut short. Signal handling sets it; everything that waits looks at it.
#[derive(Debug, Default)]
pub struct Stop {
    signal: AtomicU8,
    file: Option<PathBuf>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// What was waited for has come.
    Ready,
    /// The deadline has.
    Late,
    /// The run is to be cut short.
    Stopped,
}

impl Stop {
    /// With the kill-switch file to look for.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self { signal: AtomicU8::new(0), file: Some(file) }
    }

    /// Asks for the end.
    pub fn ask(&self, why: Why) {
        let code = match why {
            Why::Interrupted => 1,
            Why::Terminated => 2,
            Why::StopFile => 3,
        };
        // The first reason is the one that is reported.
        let _ = self.signal.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether the end was asked for, and why.
    #[must_use]
    pub fn asked(&self) -> Option<Why> {
        if self.signal.load(Ordering::SeqCst) == 0 && self.file.as_ref().is_some_and(|file| file.exists()) {
            self.ask(Why::StopFile);
        }
        match self.signal.load(Ordering::SeqCst) {
            1 => Some(Why::Interrupted),
            2 => Some(Why::Terminated),
            3 => Some(Why::StopFile),
            _ => None,
        }
    }

    /// Waits until something is so, until the deadline, or until the run is cut short.
    pub(super) fn wait(&self, deadline: Instant, mut ready: impl FnMut() -> bool) -> Waited {
        loop {
            if ready() {
                return Waited::Ready;
            } else if self.asked().is_some() {
                return Waited::Stopped;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::Late;
            }
            thread::sleep(left.min(LOOK));
        }
    }

    /// Lets time pass; false if the run was cut short meanwhile.
    pub(super) fn pass(&self, time: Duration) -> bool {
        self.wait(Instant::now() + time, || false) == Waited::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let stop = Stop::default();
        assert_eq!(stop.asked(), None);
        stop.ask(Why::Terminated);
        stop.ask(Why::Interrupted);
        assert_eq!(stop.asked(), Some(Why::Terminated));
    }

    #[test]
    fn the_kill_switch_file_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let stop = Stop::new(dir.path().join(STOP_FILE));
        assert_eq!(stop.asked(), None);
        std::fs::write(dir.path().join(STOP_FILE), "").expect("written");
        assert_eq!(stop.asked(), Some(Why::StopFile));
    }

    #[test]
    fn a_wait_ends_one_of_three_ways() {
        let stop = Stop::default();
        let soon = || Instant::now() + Duration::from_millis(30);
        let mut looks = 0;
        let ready = stop.wait(Instant::now() + Duration::from_secs(5), || {
            looks += 1;
            looks > 2
        });
        assert_eq!(ready, Waited::Ready);
        assert_eq!(stop.wait(soon(), || false), Waited::Late);
        stop.ask(Why::Interrupted);
        assert_eq!(stop.wait(soon(), || false), Waited::Stopped);
    }
}
