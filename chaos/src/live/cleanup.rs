//! Leaving nothing behind: ends what carries the run's mark, and removes its folder.
//!
//! Done by the harness at the end of every run, and by its guard if the harness dies first. It touches only processes
//! whose environment carries the mark, which nobody can guess, each by its pidfd.

use super::process::{Held, marked};
use super::sandbox::{self, MARK};
use super::tmux::Tmux;
use rustix::process::Signal;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long processes have between being asked to end and being killed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a killed process may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// A process that is just being started shows only in the next look.
const SETTLE: Duration = Duration::from_millis(100);
/// Looks in which something was found, at most.
const ROUNDS_MAX: u32 = 10;

/// Ends everything of a run, and answers what could not be ended.
pub(super) fn end_processes(dir: &Path, mark: &str) -> Vec<String> {
    let tmux = Tmux::on(&dir.join("home/tmux.sock"));
    tmux.kill_server();
    let mut clean = 0;
    for _ in 0..ROUNDS_MAX {
        if end_round(mark) {
            clean += 1;
            if clean == 2 {
                return Vec::new();
            }
        } else {
            clean = 0;
        }
        thread::sleep(SETTLE);
    }
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let left = marked(MARK, mark).into_iter();
    left.map(|(id, _)| format!("process {id} ({}) of the run is left", name(id.pid).trim())).collect()
}

/// Ends what is there; true if nothing was.
fn end_round(mark: &str) -> bool {
    let found: Vec<Held> = marked(MARK, mark).into_iter().filter_map(|(id, _)| Held::of(id).ok().flatten()).collect();
    // A process that may not be signalled shows again in the next look, and at the end as left over.
    let all = |signal: Signal| found.iter().for_each(|held| drop(held.signal(signal)));
    all(Signal::TERM);
    // A stopped process cannot end before it is continued.
    all(Signal::CONT);
    let grace = Instant::now() + GRACE;
    let stubborn: Vec<&Held> = found.iter().filter(|held| !held.ended_by(grace)).collect();
    stubborn.iter().for_each(|held| drop(held.signal(Signal::KILL)));
    let killed = Instant::now() + KILL_WAIT;
    for held in &stubborn {
        held.ended_by(killed);
    }
    found.is_empty()
}

/// Ends everything of a run and removes its folder; answers what is left.
pub(super) fn clean_up(dir: &Path, mark: &str) -> Vec<String> {
    let mut left = end_processes(dir, mark);
    if let Err(why) = sandbox::remove(dir, mark) {
        left.push(why);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    fn shell(script: &str, mark: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(MARK, mark).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        command.spawn().expect("a process")
    }

    #[test]
    fn what_carries_the_mark_is_ended_whatever_it_takes_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().expect("a folder");
        let mark = format!("cleanup-{}", std::process::id());
        let mut deaf = shell("trap '' TERM HUP; while :; do sleep 0.1; done", &mark);
        let mut stopped = shell("kill -STOP $$", &mark);
        let mut other = shell("sleep 60", &format!("{mark}-other"));
        assert_eq!(end_processes(dir.path(), &mark), Vec::<String>::new());
        assert!(marked(MARK, &mark).is_empty());
        assert!(other.try_wait().expect("asked").is_none());
        other.kill().expect("killed");
        for child in [&mut deaf, &mut stopped, &mut other] {
            child.wait().expect("waited");
        }
    }
}
