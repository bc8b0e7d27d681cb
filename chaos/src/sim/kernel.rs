//! The simulated machine: processes and the clock.
//!
//! Facts it models: identity is (pid, start time), and numbers come again (class 17); a pidfd tells every death (T9,
//! table of events); what ignores SIGHUP or called setsid outlives its server and its session (T11); CLOCK_MONOTONIC
//! stands still in a suspend while the wall clock goes on, and starts anew with every boot.

use super::heap::Tick;
use orchestrator::domain::id::{ProcessId, ProjectId, RoleName, Token};
use std::collections::BTreeMap;

/// How long a machine is without power in a reboot, by the wall clock.
const REBOOT_US: i64 = 30_000_000;
/// Numbers are given out up to here, then again from the first that is free.
const PID_MAX: u32 = 32_768;
/// Clock ticks a second in `/proc/PID/stat`.
const TICK_US: u64 = 10_000;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// A tmux server.
    Server,
    /// The agent of a role: its number among all agents of the run.
    Agent(usize),
    /// A child that an agent started.
    Child(usize),
    /// The git of a job.
    Git,
    /// Somebody else's.
    Stranger,
}

/// Whose incarnation a process belongs to, as its environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// `ORCH_INSTANCE`.
    pub token: Token,
    /// `ORCH_PROJECT`.
    pub project: ProjectId,
    /// `ORCH_ROLE`.
    pub role: RoleName,
}

/// A process.
#[derive(Debug, Clone)]
pub struct Process {
    /// Which.
    pub id: ProcessId,
    /// What it is.
    pub program: Program,
    /// Its mark, if its environment carries one.
    pub mark: Option<Mark>,
    /// Whether SIGHUP passes it by, or never reaches it.
    pub survives_hup: bool,
    /// Whether it ignores SIGTERM.
    pub survives_term: bool,
    /// Whether it is stopped.
    pub stopped: bool,
}

/// Processes and clock.
#[derive(Debug)]
pub struct Kernel {
    processes: BTreeMap<u32, Process>,
    next: u32,
    boot: u32,
    booted_at: Tick,
    /// Wall clock minus awake time, in microseconds.
    wall_offset: i64,
    /// How long it was asleep since it booted, in microseconds.
    asleep: u64,
}

impl Kernel {
    /// A machine that has just booted at this wall clock.
    #[must_use]
    pub fn new(wall_us: i64) -> Self {
        Self { processes: BTreeMap::new(), next: 1_000, boot: 1, booted_at: 0, wall_offset: wall_us, asleep: 0 }
    }

    /// CLOCK_MONOTONIC.
    #[must_use]
    pub fn mono(&self, at: Tick) -> u64 {
        at - self.booted_at
    }

    /// CLOCK_BOOTTIME, which goes on in a suspend.
    #[must_use]
    pub fn boot(&self, at: Tick) -> u64 {
        self.mono(at) + self.asleep
    }

    /// The machine sleeps for so long: nothing runs, and nothing but two clocks goes on.
    pub fn sleep(&mut self, micros: u64) {
        self.asleep += micros;
        self.step_wall(micros.cast_signed());
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self, at: Tick) -> i64 {
        self.wall_offset.saturating_add(at.cast_signed())
    }

    /// The name of this boot.
    #[must_use]
    pub fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    /// The wall clock is set.
    pub fn step_wall(&mut self, by_us: i64) {
        self.wall_offset = self.wall_offset.saturating_add(by_us);
    }

    /// Every process is gone; the clock starts anew.
    pub fn reboot(&mut self, at: Tick) -> Vec<Process> {
        self.boot += 1;
        (self.booted_at, self.asleep) = (at, 0);
        self.step_wall(REBOOT_US);
        self.next = 1_000;
        std::mem::take(&mut self.processes).into_values().collect()
    }

    /// Starts a process under the next free number.
    pub fn spawn(&mut self, at: Tick, program: Program, mark: Option<Mark>) -> ProcessId {
        while self.processes.contains_key(&self.next) {
            self.next = if self.next >= PID_MAX { 1_000 } else { self.next + 1 };
        }
        let pid = self.next;
        self.next = if pid >= PID_MAX { 1_000 } else { pid + 1 };
        self.start(ProcessId { pid, start: self.clock_tick(at) }, program, mark)
    }

    /// Starts a process under the number of one that has just ended.
    pub fn reuse(&mut self, at: Tick, gone: ProcessId) -> Option<ProcessId> {
        if self.processes.contains_key(&gone.pid) {
            return None;
        }
        // Two lives of one number are never of one clock tick: numbers come again only after thousands of others.
        let start = self.clock_tick(at).max(gone.start + 1);
        Some(self.start(ProcessId { pid: gone.pid, start }, Program::Stranger, None))
    }

    /// What the kernel writes down as the start of a process.
    fn clock_tick(&self, at: Tick) -> u64 {
        self.mono(at) / TICK_US + 1
    }

    fn start(&mut self, id: ProcessId, program: Program, mark: Option<Mark>) -> ProcessId {
        let process = Process { id, program, mark, survives_hup: false, survives_term: false, stopped: false };
        self.processes.insert(id.pid, process);
        id
    }

    /// The process of that number and start, if it lives.
    #[must_use]
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(&id.pid).filter(|process| process.id == id)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.processes.get_mut(&id.pid).filter(|process| process.id == id)
    }

    /// Whether it lives.
    #[must_use]
    pub fn is_alive(&self, id: ProcessId) -> bool {
        self.get(id).is_some()
    }

    /// Whatever has that number now.
    #[must_use]
    pub fn identify(&self, pid: u32) -> Option<ProcessId> {
        self.processes.get(&pid).map(|process| process.id)
    }

    /// Ends a process.
    pub fn end(&mut self, id: ProcessId) -> Option<Process> {
        self.get(id)?;
        self.processes.remove(&id.pid)
    }

    /// Every process that carries one of these marks in its environment.
    #[must_use]
    pub fn marked(&self, tokens: &[Token]) -> Vec<ProcessId> {
        let carries = |process: &&Process| process.mark.as_ref().is_some_and(|mark| tokens.contains(&mark.token));
        self.processes.values().filter(carries).map(|process| process.id).collect()
    }

    /// All processes, by number.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_comes_again_is_another_process() {
        let mut kernel = Kernel::new(0);
        let first = kernel.spawn(0, Program::Stranger, None);
        assert_eq!(kernel.reuse(0, first), None, "it is taken");
        kernel.end(first);
        let second = kernel.reuse(0, first).expect("it is free");
        assert_eq!(second.pid, first.pid);
        assert!(!kernel.is_alive(first) && kernel.is_alive(second));
    }

    #[test]
    fn a_reboot_ends_everything_and_starts_the_clock_anew() {
        let mut kernel = Kernel::new(1_000);
        let process = kernel.spawn(0, Program::Server, None);
        let (boot, wall) = (kernel.boot_id(), kernel.wall(9_000_000));
        assert_eq!(kernel.reboot(9_000_000).len(), 1);
        assert!(!kernel.is_alive(process));
        assert_ne!(kernel.boot_id(), boot);
        assert_eq!(kernel.mono(9_000_000), 0);
        assert_eq!(kernel.wall(9_000_000) - wall, REBOOT_US);
    }

    #[test]
    fn marks_find_what_a_restart_must_end() {
        let mut kernel = Kernel::new(0);
        let mark = |token: &str| {
            let (project, role) = (ProjectId(1), RoleName("a".to_owned()));
            Some(Mark { token: Token(token.to_owned()), project, role })
        };
        let ours = kernel.spawn(0, Program::Agent(0), mark("x"));
        kernel.spawn(0, Program::Agent(1), mark("y"));
        kernel.spawn(0, Program::Stranger, None);
        assert_eq!(kernel.marked(&[Token("x".to_owned())]), [ours]);
    }
}
