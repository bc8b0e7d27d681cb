//! Processes: who they are, whether they live, how they are waited for, signalled, found and ended.
//!
//! Invariants:
//! - INV-P1: a signal goes to the process that was meant or to none. A pid alone is never trusted: open the pidfd,
//!   then re-check the start time, then signal through the pidfd (platform facts, "Processes").
//! - INV-P2: a zombie is dead, although `kill -0` would say otherwise for about a second (platform facts, tmux
//!   fault table).
//! - INV-P3: [`end_all`] says that nothing is left only after a scan that found nothing (T11).
//!
//! Running a program to its end is [`run`], in `run.rs`; finding processes in `/proc` is in `scan.rs`.

use super::scan::Stat;
use crate::domain::id::ProcessId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

pub use super::run::{OUTPUT_TAIL_BYTES_MAX, PIPE_GRACE, Run, RunOk, run};
pub(super) use super::scan::PROC;
pub use super::scan::{INSTANCE_VARIABLE, find_by_token};

/// How long [`end_all`] lets SIGTERM work before SIGKILL, unless told otherwise (T11: TERM, 5 s, KILL).
pub const END_GRACE: Duration = Duration::from_secs(5);

/// How often [`end_all`] scans for processes that were born while it was ending others, before it gives up.
///
/// One round is the rule and two are a fork caught in the act; five leave room and still bound the call.
pub const END_ROUNDS_MAX: u32 = 5;

/// How long a SIGKILLed process may take to be gone in one round; longer means uninterruptible sleep.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// How often a process is looked at when it cannot be waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Why a process could not be watched or signalled although it may be there.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A pidfd could not be opened or registered: usually the limit of open files (T28), or no such kernel call.
    #[error("watch process {id}")]
    Watch {
        /// Which process.
        id: ProcessId,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The system refused the signal: usually a process of another user.
    #[error("signal process {id}")]
    Signal {
        /// Which process.
        id: ProcessId,
        /// The system's words.
        #[source]
        source: io::Error,
    },
}

/// How [`wait_exit`] learned that a process is gone; either way it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitSeen {
    /// It was gone, a zombie, or replaced by another of the same number, before the wait began.
    AlreadyGone,
    /// It ended while it was waited for.
    Exited,
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// It was sent to exactly the process that was meant.
    Sent,
    /// That process is gone; nothing was sent to anyone.
    Gone,
}

/// How many processes [`end_all`] ended, by what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Gone within the grace after SIGTERM (or on their own meanwhile).
    pub term: u32,
    /// Had to be killed.
    pub kill: u32,
}

/// Why [`end_all`] cannot say that nothing is left.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// `/proc` could not be scanned.
    #[error("scan /proc for processes of an incarnation")]
    Scan(#[source] io::Error),
    /// These are still there after the last round.
    #[error("{} processes could not be ended: {}", .survivors.len(), list(.survivors))]
    Survivors {
        /// Who they are.
        survivors: Vec<ProcessId>,
        /// What was ended before giving up.
        ended: Ended,
    },
}

fn list(survivors: &[ProcessId]) -> String {
    survivors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The identity of this boot (a UUID); no pid or start time means anything outside it.
///
/// # Errors
/// The system's, if `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in clock ticks after boot (field 22 of `/proc/PID/stat`); `None` if there is none, or it
/// cannot be told.
///
/// A zombie still has a start time: ask [`is_alive`] for life.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    Some(Stat::of(pid).ok()??.start)
}

/// The full identity of the process that has this number now; `None` if none has, or it cannot be told.
#[must_use]
pub fn identify(pid: u32) -> Option<ProcessId> {
    Some(ProcessId { pid, start: start_time(pid)? })
}

/// As [`identify`], for whom it matters whether there is none or it cannot be told.
///
/// # Errors
/// The system's, if it cannot be looked up: no descriptor is left (T28), say.
pub fn look_up(pid: u32) -> io::Result<Option<ProcessId>> {
    Ok(Stat::of(pid)?.map(|stat| ProcessId { pid, start: stat.start }))
}

/// Whether exactly this process still runs: same start time, and not a zombie (INV-P2). One that cannot be looked at,
/// as when no descriptor is left (T28), counts as alive: no is proof (G3), yes is not.
#[must_use]
pub fn is_alive(id: ProcessId) -> bool {
    Stat::of(id.pid).map_or(true, |stat| stat.is_some_and(|stat| stat.start == id.start && stat.alive))
}

/// A pidfd that is known to be of `id`; `None` if that process is gone (INV-P1).
pub(super) fn open_checked(id: ProcessId) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(id.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // Where the start time cannot be read nothing is known: that is an error, not a death.
        Ok(fd) => Ok((look_up(id.pid)? == Some(id)).then_some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits until exactly this process has ended; it need not be our child. Cancel-safe; costs one file descriptor.
///
/// # Errors
/// [`WatchError::Watch`] when no pidfd is to be had: the caller then knows nothing, not that the process is gone.
pub async fn wait_exit(id: ProcessId) -> Result<ExitSeen, WatchError> {
    let watch = |source: io::Error| WatchError::Watch { id, source };
    let Some(fd) = open_checked(id).map_err(watch)? else { return Ok(ExitSeen::AlreadyGone) };
    if has_exited(&fd) {
        return Ok(ExitSeen::AlreadyGone);
    }
    let fd = watched(fd).map_err(watch)?;
    // The readiness is only a wake-up; the question is put to the pidfd itself.
    loop {
        let mut ready = fd.readable().await.map_err(watch)?;
        if has_exited(fd.get_ref()) {
            return Ok(ExitSeen::Exited);
        }
        ready.clear_ready();
    }
}

/// A pidfd as the runtime can wait for it.
#[expect(deprecated, reason = "the replacement is unsafe, for types that may close their fd early; an OwnedFd cannot")]
pub(super) fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// A pidfd is readable once its process is a zombie or gone.
pub(super) fn has_exited(pidfd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}

/// Sends `signal` to exactly this process or to none (INV-P1).
///
/// # Errors
/// [`WatchError`] when no pidfd is to be had or the system refuses; nothing was sent then.
pub fn signal(id: ProcessId, signal: Signal) -> Result<Signalled, WatchError> {
    let fd = open_checked(id).map_err(|source| WatchError::Watch { id, source })?;
    let Some(fd) = fd else { return Ok(Signalled::Gone) };
    match pidfd_send_signal(&fd, signal) {
        Ok(()) => Ok(Signalled::Sent),
        Err(Errno::SRCH) => Ok(Signalled::Gone),
        Err(error) => Err(WatchError::Signal { id, source: error.into() }),
    }
}

/// Ends every process that carries one of `tokens`: SIGTERM (with SIGCONT, so that a stopped one acts on it), a
/// shared grace, SIGKILL for the rest, and again until a scan finds none.
///
/// Takes at most `grace` + [`END_ROUNDS_MAX`] × 2 s: the grace counts from the first SIGTERM, so what is born later
/// gets only what is left of it. Waits hold one file descriptor at a time, so a mass death needs no more (T28).
/// Not cancel-safe in its count, but safe to call again.
///
/// # Errors
/// [`EndError`]: the scan failed, or the named processes survived (another user's, or stuck inside the kernel).
pub async fn end_all(tokens: &BTreeSet<String>, grace: Duration) -> Result<Ended, EndError> {
    let tokens = tokens.clone();
    let find = move || Ok(find_by_token(&tokens)?.into_iter().map(|(id, _)| id).collect());
    end_found(find, grace).await
}

/// [`end_all`] of whomever `find` finds; it may block.
pub(super) async fn end_found<F>(find: F, grace: Duration) -> Result<Ended, EndError>
where
    F: Fn() -> io::Result<Vec<ProcessId>> + Send + Sync + 'static,
{
    let find = Arc::new(find);
    let mut ended = Ended::default();
    let grace_end = Instant::now() + grace;
    for _ in 0..END_ROUNDS_MAX {
        let found = scan(&find).await?;
        if found.is_empty() {
            return Ok(ended);
        }
        end_round(&found, grace_end, &mut ended).await;
    }
    let survivors = scan(&find).await?;
    if survivors.is_empty() { Ok(ended) } else { Err(EndError::Survivors { survivors, ended }) }
}

async fn scan<F>(find: &Arc<F>) -> Result<Vec<ProcessId>, EndError>
where
    F: Fn() -> io::Result<Vec<ProcessId>> + Send + Sync + 'static,
{
    let find = Arc::clone(find);
    let scanned = tokio::task::spawn_blocking(move || find()).await;
    scanned.unwrap_or_else(|lost| Err(io::Error::other(lost))).map_err(EndError::Scan)
}

async fn end_round(found: &[ProcessId], grace_end: Instant, ended: &mut Ended) {
    for id in found {
        // A refusal shows as a survivor in the next scan, which is where it is reported.
        let _ = signal(*id, Signal::TERM);
        let _ = signal(*id, Signal::CONT);
    }
    let stubborn = still_there(found, grace_end).await;
    for id in &stubborn {
        let _ = signal(*id, Signal::KILL);
    }
    let survivors = still_there(&stubborn, Instant::now() + KILL_WAIT).await;
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    ended.term = ended.term.saturating_add(count(found.len() - stubborn.len()));
    ended.kill = ended.kill.saturating_add(count(stubborn.len() - survivors.len()));
}

/// Who of `ids` is still alive when all are gone or `until` has come. One after the other is as fast as all at
/// once, since all must be gone.
pub(super) async fn still_there(ids: &[ProcessId], until: Instant) -> Vec<ProcessId> {
    for id in ids {
        match timeout_at(until, wait_exit(*id)).await {
            Ok(Ok(ExitSeen::AlreadyGone | ExitSeen::Exited)) => {}
            // No file descriptor left (T28): look instead of being told, so that the grace is still given.
            Ok(Err(_)) => {
                while is_alive(*id) && Instant::now() < until {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
            }
            Err(_) => break,
        }
    }
    ids.iter().copied().filter(|id| is_alive(*id)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::env::scan::PROC;
    use crate::env::scarce;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    /// A child that does not outlive its test, however that ends.
    struct Ours(Child);

    impl Ours {
        fn id(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Ours {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A shell that has said "ready", or whatever its first line is.
    fn shell(script: &str, token: &str) -> (Ours, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env(INSTANCE_VARIABLE, token);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Ours(child), line.trim().to_owned())
    }

    fn token(name: &str) -> String {
        format!("{name}-{}", std::process::id())
    }

    #[test]
    fn this_process_is_known_and_a_boot_has_an_identity() {
        let own = identify(std::process::id()).unwrap();
        assert!(is_alive(own));
        assert!(!is_alive(ProcessId { start: own.start + 1, ..own }));
        assert_eq!(identify(u32::MAX), None);
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[tokio::test]
    async fn a_zombie_is_dead() {
        let mut child = Command::new("true").spawn().unwrap();
        let id = identify(child.id()).unwrap();
        wait_exit(id).await.unwrap();
        assert!(!is_alive(id));
        assert_eq!(start_time(id.pid), Some(id.start), "it is still a zombie");
        assert_eq!(wait_exit(id).await.unwrap(), ExitSeen::AlreadyGone);
        child.wait().unwrap();
        assert_eq!(wait_exit(id).await.unwrap(), ExitSeen::AlreadyGone);
        assert_eq!(signal(id, Signal::KILL).unwrap(), Signalled::Gone);
    }

    #[tokio::test]
    async fn the_end_of_a_process_that_is_no_child_is_seen() {
        let (shell, pid) = shell("sleep 300 >/dev/null & echo $!", &token("other"));
        drop(shell);
        let id = identify(pid.parse().unwrap()).unwrap();
        let waiting = tokio::spawn(wait_exit(id));
        assert_eq!(signal(id, Signal::KILL).unwrap(), Signalled::Sent);
        waiting.await.unwrap().unwrap();
        assert!(!is_alive(id));
    }

    #[tokio::test]
    async fn a_process_of_the_same_number_is_left_alone() {
        let (child, _) = shell("echo ready; exec sleep 300", &token("innocent"));
        let id = identify(child.id()).unwrap();
        let earlier = ProcessId { start: id.start - 1, ..id };
        assert_eq!(signal(earlier, Signal::KILL).unwrap(), Signalled::Gone);
        assert_eq!(wait_exit(earlier).await.unwrap(), ExitSeen::AlreadyGone);
        assert!(is_alive(id));
        drop(child);
    }

    #[test]
    fn processes_are_found_by_their_token_and_only_by_it() {
        let (mine, longer) = (token("find"), token("find") + "x");
        let (first, grandchild) = shell("sleep 300 >/dev/null & echo $!; wait", &mine);
        let (other, _) = shell("echo ready; exec sleep 300", &longer);
        let (wiped, _) = shell("echo ready; exec env -i sleep 300", &mine);
        let mut found = find_by_token(&BTreeSet::from([mine.clone(), "unused".to_owned()])).unwrap();
        found.sort();
        let pids: BTreeSet<u32> = found.iter().map(|(id, _)| id.pid).filter(|pid| *pid != wiped.id()).collect();
        assert_eq!(pids, BTreeSet::from([first.id(), grandchild.parse().unwrap()]));
        assert!(found.iter().all(|(id, token)| is_alive(*id) && *token == mine));
        assert_eq!(find_by_token(&BTreeSet::new()).unwrap(), []);
        let grandchild = identify(grandchild.parse().unwrap()).unwrap();
        signal(grandchild, Signal::KILL).unwrap();
        drop((first, other, wiped));
    }

    #[test]
    fn a_process_is_found_even_while_it_executes_another_program() {
        let token = token("exec");
        let restless = Command::new("sh")
            .args(["-c", "exec sh -c \"$0\" \"$0\"", "exec sh -c \"$0\" \"$0\""])
            .env(INSTANCE_VARIABLE, &token)
            .stdout(Stdio::null())
            .spawn()
            .map(Ours)
            .unwrap();
        let tokens = BTreeSet::from([token]);
        for look in 0..200 {
            assert_eq!(find_by_token(&tokens).unwrap().len(), 1, "look {look}");
        }
        drop(restless);
    }

    #[tokio::test]
    async fn all_of_an_incarnation_are_ended_by_what_it_takes() {
        let token = token("end");
        let (plain, _) = shell("echo ready; exec sleep 300", &token);
        let (deaf, _) = shell("trap '' TERM; echo ready; exec sleep 300", &token);
        let (away, _) = shell("echo ready; exec setsid --wait sleep 300", &token);
        let (stopped, _) = shell("echo ready; exec sleep 300", &token);
        signal(identify(stopped.id()).unwrap(), Signal::STOP).unwrap();
        let tokens = BTreeSet::from([token]);
        let ended = end_all(&tokens, Duration::from_secs(2)).await.unwrap();
        assert_eq!(ended.kill, 1, "only the one that ignores SIGTERM: {ended:?}");
        assert!(ended.term >= 3, "{ended:?}");
        assert_eq!(find_by_token(&tokens).unwrap(), []);
        assert_eq!(end_all(&tokens, END_GRACE).await.unwrap(), Ended::default());
        drop((plain, deaf, away, stopped));
    }

    #[tokio::test]
    async fn what_is_born_while_others_are_ended_is_ended_too() {
        let token = token("born");
        let script = "trap 'sleep 301 >/dev/null & exit 0' TERM; sleep 300 >/dev/null & echo ready; wait";
        let (parent, _) = shell(script, &token);
        let ended = end_all(&BTreeSet::from([token.clone()]), END_GRACE).await.unwrap();
        assert!(ended.term + ended.kill >= 3, "{ended:?}");
        assert_eq!(find_by_token(&BTreeSet::from([token])).unwrap(), []);
        drop(parent);
    }

    #[test]
    fn without_descriptors_nobody_is_called_dead_and_nothing_is_called_ended() {
        let test = "env::process::tests::without_descriptors_nobody_is_called_dead_and_nothing_is_called_ended";
        if !scarce::is_here(test) {
            return;
        }
        let tokens = BTreeSet::from([token("scarce")]);
        let (agent, _) = shell("echo ready; exec sleep 300", &token("scarce"));
        let id = identify(agent.id()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut taken = scarce::take_all();
        for free in 0..5 {
            assert!(is_alive(id), "with {free} descriptors left");
            assert!(!matches!(look_up(id.pid), Ok(None)), "with {free} descriptors left");
            let short = Duration::from_millis(50);
            let waited = runtime.block_on(async { tokio::time::timeout(short, wait_exit(id)).await });
            assert!(!matches!(waited, Ok(Ok(_))), "with {free} descriptors left: {waited:?}");
            let found = find_by_token(&tokens);
            assert!(found.as_ref().map_or(true, |found| found.len() == 1), "with {free} left: {found:?}");
            let known = super::super::scan::kinship(std::path::Path::new(PROC));
            assert!(known.as_ref().map_or(true, |known| known.contains_key(&id.pid)), "with {free} left");
            drop(taken.pop());
        }
        drop(agent);
    }

    #[tokio::test]
    async fn nothing_to_end_is_no_error() {
        let none = BTreeSet::from(["no such token".to_owned()]);
        assert_eq!(end_all(&none, END_GRACE).await.unwrap(), Ended { term: 0, kill: 0 });
    }
}
