//! Following a real process from outside, system call by system call, until the one at which it is to be killed.
//!
//! ptrace(2): the orchestrator has no hook, no flag and no knowledge of it. Every request must come from the thread
//! that seized the process, so a [`Traced`] stays on one thread. Tasks are waited for one by one, by number: nothing
//! of the harness's own children is ever taken from whoever waits for them.

use super::call::{self, Call, Deed};
use crate::live::process::identify;
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a process that is just being started may take to stop itself, and a killed one to be gone.
const SHORT: Duration = Duration::from_secs(10);
/// How long nothing may be heard before the next look; long looks would slow the traced process down.
const PAUSE: Duration = Duration::from_micros(50);
/// Looks without a pause after something was heard: the next stop mostly follows at once.
const EAGER: u32 = 40;

/// How long other threads go on while the one that commits stands.
const BEFORE_COMMIT: Duration = Duration::from_millis(150);

/// What stops itself, to be seized before its first instruction, and then becomes the program.
pub(super) const STOPPED: &str = "kill -STOP $$; exec \"$0\" \"$@\"";

/// What a task is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A thread of the traced process.
    Own,
    /// A child between its birth and its program.
    Unborn,
    /// A child that is followed, call by call.
    Followed,
}

#[derive(Debug)]
struct Task {
    kind: Kind,
    /// Whether it stands still and waits for us.
    stands: bool,
    /// Whether it is to stand still until the end.
    held: bool,
    /// The system call it is in.
    within: Option<Deed>,
}

/// Why a moment did not come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// The process ended before.
    Ended,
    /// The deadline passed.
    Late,
    /// Tracing itself failed.
    Failed(String),
}

impl From<Errno> for Missed {
    fn from(error: Errno) -> Self {
        Self::Failed(format!("ptrace: {error}"))
    }
}

/// A process under trace. Dropped, it is killed: nothing is left standing.
#[derive(Debug)]
pub(super) struct Traced {
    root: Pid,
    tasks: BTreeMap<Pid, Task>,
    /// Words of a child's command line for which it is followed; all others are let go.
    follow: Option<&'static [&'static str]>,
    /// The task that met the moment, if it stands just before a commit.
    commits: Option<Pid>,
    ended: bool,
}

fn own(pid: u32) -> Result<Pid, Missed> {
    i32::try_from(pid).map(Pid::from_raw).map_err(|_| Missed::Failed(format!("{pid} is no process")))
}

impl Traced {
    /// Seizes a child that stops itself ([`STOPPED`]). Children whose command line has all words of `follow` are
    /// followed too; every other is let go the moment it becomes a program of its own.
    pub(super) fn seize(child: &Child, follow: Option<&'static [&'static str]>) -> Result<Self, Missed> {
        let root = own(child.id())?;
        let until = Instant::now() + SHORT;
        while !is_stopped(root) {
            if identify(child.id()).is_none() {
                return Err(Missed::Ended);
            } else if Instant::now() >= until {
                return Err(Missed::Late);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(root, options)?;
        let tasks = BTreeMap::from([(root, Task { kind: Kind::Own, stands: false, held: false, within: None })]);
        let traced = Self { root, tasks, follow, commits: None, ended: false };
        kill(root, Signal::SIGCONT)?;
        Ok(traced)
    }

    /// The process's number.
    pub(super) fn pid(&self) -> u32 {
        self.root.as_raw().unsigned_abs()
    }

    /// Lets it run until a call of its own, or of a followed child, is the one; it then stands there.
    pub(super) fn until(&mut self, within: Duration, mut is_it: impl FnMut(&Call) -> bool) -> Result<(), Missed> {
        let deadline = Instant::now() + within;
        let mut quiet = 0;
        loop {
            let standing: Vec<Pid> =
                self.tasks.iter().filter(|(_, task)| task.stands && !task.held).map(|(pid, _)| *pid).collect();
            for pid in standing {
                self.resume(pid, None);
            }
            let mut heard = false;
            for pid in self.tasks.keys().copied().collect::<Vec<_>>() {
                if let Some(status) = heard_of(pid)? {
                    heard = true;
                    if self.take(pid, status, &mut is_it) {
                        return Ok(());
                    }
                }
            }
            if self.ended {
                return Err(Missed::Ended);
            } else if Instant::now() >= deadline {
                return Err(Missed::Late);
            }
            quiet = if heard { 0 } else { quiet + 1 };
            if quiet > EAGER {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Keeps a followed child where it stands, whatever else goes on; once it is let go, it is stopped.
    pub(super) fn hold(&mut self, pid: u32) {
        if let Some(task) = own(pid).ok().and_then(|pid| self.tasks.get_mut(&pid)) {
            task.held = true;
        }
    }

    /// One thing heard of one task; true if it is the moment.
    fn take(&mut self, pid: Pid, status: WaitStatus, is_it: &mut impl FnMut(&Call) -> bool) -> bool {
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.tasks.remove(&pid);
                self.ended |= pid == self.root;
            }
            WaitStatus::PtraceSyscall(_) => return self.call(pid, is_it),
            WaitStatus::PtraceEvent(_, _, event) => self.event(pid, event),
            // A signal on its way: it is handed on.
            WaitStatus::Stopped(_, signal) => self.resume(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
        false
    }

    fn event(&mut self, pid: Pid, event: i32) {
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                if let Some(born) = ptrace::getevent(pid).ok().and_then(|born| i32::try_from(born).ok()) {
                    let kind = match self.tasks.get(&pid).map(|task| task.kind) {
                        Some(Kind::Followed) => Kind::Followed,
                        Some(Kind::Own | Kind::Unborn) | None => {
                            if is_thread_of(born, self.root) {
                                Kind::Own
                            } else {
                                Kind::Unborn
                            }
                        }
                    };
                    self.tasks.insert(Pid::from_raw(born), Task { kind, stands: false, held: false, within: None });
                }
            }
            libc::PTRACE_EVENT_EXEC if pid != self.root => {
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let words: Vec<&[u8]> = words.split(|byte| *byte == 0).collect();
                let is_followed =
                    self.follow.is_some_and(|follow| follow.iter().all(|word| words.contains(&word.as_bytes())));
                if !is_followed && self.tasks.get(&pid).is_some_and(|task| task.kind == Kind::Unborn) {
                    // Let go: from here on it is as if nobody had ever looked.
                    let _ = ptrace::detach(pid, None);
                    self.tasks.remove(&pid);
                    return;
                }
                if let Some(task) = self.tasks.get_mut(&pid) {
                    task.kind = Kind::Followed;
                }
            }
            _ => {}
        }
        self.resume(pid, None);
    }

    fn call(&mut self, pid: Pid, is_it: &mut impl FnMut(&Call) -> bool) -> bool {
        let Some(task) = self.tasks.get_mut(&pid) else { return false };
        task.stands = true;
        let seen = match task.within.take() {
            None => {
                let Ok(deed) = call::entered(pid) else { return false };
                task.within = Some(deed.clone());
                Call { own: task.kind == Kind::Own, pid: pid.as_raw().unsigned_abs(), done: false, deed }
            }
            Some(deed) => Call { own: task.kind == Kind::Own, pid: pid.as_raw().unsigned_abs(), done: true, deed },
        };
        let met = seen.deed != Deed::Other && is_it(&seen);
        let commits = met && seen.own && !seen.done && seen.is_of_the_log();
        self.commits = commits.then_some(pid);
        met
    }

    /// Lets a task go on; one that is gone meanwhile will be heard of.
    fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
        let Some(task) = self.tasks.get_mut(&pid) else { return };
        task.stands = false;
        let _ = match task.kind {
            // Until it has a program of its own, nothing that it does is of interest.
            Kind::Unborn => ptrace::cont(pid, signal),
            Kind::Own | Kind::Followed => ptrace::syscall(pid, signal),
        };
    }

    /// Kills the process where it stands, it alone: its children are let go and live on as they would.
    ///
    /// Just before a commit its other threads first have some time: whatever they were told to do before that commit,
    /// against the rule, is done by then and shows.
    pub(super) fn kill(mut self) -> Result<(), Missed> {
        if let Some(task) = self.commits.take().and_then(|pid| self.tasks.get_mut(&pid)) {
            task.held = true;
            if self.until(BEFORE_COMMIT, |_| false) == Err(Missed::Ended) {
                return Err(Missed::Ended);
            }
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), Missed> {
        if self.ended {
            return Err(Missed::Ended);
        }
        kill(self.root, Signal::SIGKILL)?;
        let deadline = Instant::now() + SHORT;
        while !self.tasks.is_empty() {
            for pid in self.tasks.keys().copied().collect::<Vec<_>>() {
                self.leave(pid)?;
            }
            if Instant::now() >= deadline {
                return Err(Missed::Late);
            }
            std::thread::sleep(PAUSE);
        }
        self.ended = true;
        Ok(())
    }

    /// Takes leave of one task: a dying one is reaped, any other let go.
    fn leave(&mut self, pid: Pid) -> Result<(), Missed> {
        let Some(task) = self.tasks.get(&pid) else { return Ok(()) };
        let (stands, kind, held) = (task.stands, task.kind, task.held);
        if kind != Kind::Own && self.tasks.values().any(|task| task.kind == Kind::Own) {
            // First the process, then its children: a stopped process whose group is orphaned by a death is hung up.
            return Ok(());
        }
        match heard_of(pid)? {
            Some(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) => {
                self.tasks.remove(&pid);
            }
            Some(WaitStatus::PtraceEvent(_, _, event)) if kind != Kind::Own => {
                if matches!(event, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK)
                    && let Some(born) = ptrace::getevent(pid).ok().and_then(|born| i32::try_from(born).ok())
                {
                    self.tasks.insert(Pid::from_raw(born), Task { kind, stands: false, held: false, within: None });
                }
                let _ = ptrace::detach(pid, None);
                self.tasks.remove(&pid);
            }
            Some(WaitStatus::Stopped(_, signal)) if kind != Kind::Own => {
                let _ = ptrace::detach(pid, signal);
                self.tasks.remove(&pid);
            }
            Some(_) if kind != Kind::Own => {
                let _ = ptrace::detach(pid, None);
                self.tasks.remove(&pid);
            }
            // Whatever a thread of the killed process is about, it is dying.
            Some(_) => drop(ptrace::cont(pid, None)),
            None if kind != Kind::Own && stands => {
                if held {
                    kill(pid, Signal::SIGSTOP)?;
                }
                let _ = ptrace::detach(pid, None);
                self.tasks.remove(&pid);
            }
            None if kind != Kind::Own => drop(ptrace::interrupt(pid)),
            None => {}
        }
        Ok(())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // On every way out that is not [`Traced::kill`]; what it would not let go ends with the harness (EXITKILL).
        let _ = self.end();
    }
}

/// What is to be heard of one task now. One that is not there (any more) has ended without us.
fn heard_of(pid: Pid) -> Result<Option<WaitStatus>, Missed> {
    match waitpid(pid, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(None),
        Ok(status) => Ok(Some(status)),
        Err(Errno::ECHILD) => Ok(Some(WaitStatus::Exited(pid, 0))),
        Err(error) => Err(error.into()),
    }
}

fn status_field(pid: i32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

fn is_stopped(pid: Pid) -> bool {
    status_field(pid.as_raw(), "State:").is_some_and(|state| state.starts_with('T'))
}

fn is_thread_of(task: i32, process: Pid) -> bool {
    status_field(task, "Tgid:").is_some_and(|group| group == process.to_string())
}
