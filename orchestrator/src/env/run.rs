//! Running one program to its end, with a deadline and with all the evidence there is (G7).
//!
//! Invariants:
//! - INV-R1: a call returns by its deadline plus [`PIPE_GRACE`] (and a few [`KILL_WAIT`] if the program cannot be
//!   killed), whatever the program does (T9).
//! - INV-R2: the program leads its own process group, and the group is killed as one; its number cannot have been
//!   taken over by others, because the leader is reaped only afterwards.
//! - INV-R3: dropping the future kills the group.

use super::files::{lacking, printable};
use super::process::{has_exited, still_there, watched};
use super::scan::group_members;
use crate::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use crate::domain::time::Span;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How much of each of stdout and stderr [`run`] keeps: the last 64 KiB; the rest is read and thrown away.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 64 << 10;

/// How long after the program's end its pipes may stay open (a grandchild holds them) before they are given up.
pub const PIPE_GRACE: Duration = Duration::from_secs(1);

/// How long a killed group may take to be gone; longer means uninterruptible sleep, and waiting would not help.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// How long a pipe is read once more after those who held it open were killed.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A program to be run to its end.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which program it is, for the record.
    pub program: Program,
    /// The program and its arguments; no shell sees them. Found on PATH if `argv[0]` has no slash.
    pub argv: Vec<String>,
    /// Where it runs; here if `None`.
    pub cwd: Option<PathBuf>,
    /// Variables to add to its environment.
    pub env: Vec<(String, String)>,
    /// Variables to take from what it inherits.
    pub env_remove: Vec<String>,
    /// Whether it inherits nothing at all.
    pub env_clear: bool,
    /// How long it may take before its whole process group is killed.
    pub deadline: Duration,
    /// The stage to be recorded if it fails.
    pub stage: Stage,
}

/// A program that exited with code 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOk {
    /// The printable tail of its standard output (at most [`OUTPUT_TAIL_BYTES_MAX`]).
    pub stdout: String,
    /// The printable tail of its standard error (at most [`OUTPUT_TAIL_BYTES_MAX`]).
    pub stderr: String,
    /// How long it ran.
    pub duration: Span,
}

/// Runs a program to its end: stdin empty, stdout and stderr captured, own process group.
///
/// # Errors
/// A [`Failure`] with all the evidence: `SpawnFailed` if it could not be started (`Exhausted` if for want of our own
/// descriptors, processes or memory), `TimedOut` if its group had to be
/// killed at the deadline (what it did until then is unknown, T8), `SubprocessFailed` if it ended with anything
/// but code 0. Stderr is `Null` only if its pipe could not be read to the end and had given nothing.
pub async fn run(run: Run) -> Result<RunOk, Failure> {
    let done = run_bytes(&run, Keep::Last(OUTPUT_TAIL_BYTES_MAX)).await?;
    Ok(RunOk { stdout: printable(&done.stdout), stderr: done.stderr, duration: done.duration })
}

/// What of a long standard output is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// The first so many bytes.
    First(usize),
    /// The last so many bytes.
    Last(usize),
}

/// A program that exited with code 0, its output as it was written.
#[derive(Debug)]
pub(super) struct RunBytes {
    pub(super) stdout: Vec<u8>,
    /// Whether `stdout` is not all there was.
    pub(super) cut: bool,
    pub(super) stderr: String,
    pub(super) duration: Span,
}

/// As [`run`], for a caller that parses the output.
pub(super) async fn run_bytes(run: &Run, keep: Keep) -> Result<RunBytes, Failure> {
    let begun = Instant::now();
    let mut child = spawn(run).map_err(|error| not_started(run, &error, begun))?;
    let (mut group, pidfd) = match lead(&child) {
        Ok(lead) => lead,
        Err(error) => {
            // Without a pidfd it could not be ended safely later; it has hardly begun.
            let _ = child.start_kill();
            return Err(not_started(run, &error, begun));
        }
    };
    let mut stdout = Capture::new(child.stdout.take(), keep);
    let mut stderr = Capture::new(child.stderr.take(), Keep::Last(OUTPUT_TAIL_BYTES_MAX));
    let cut_short = {
        let drained = async { tokio::join!(stdout.drain(), stderr.drain()) };
        to_its_end(run.deadline.saturating_sub(begun.elapsed()), &pidfd, &mut group, drained).await
    };
    let status = timeout(KILL_WAIT, child.wait()).await;
    group.armed = false;
    let duration = span(begun.elapsed());
    let kind = match cut_short {
        Some(CutShort::Deadline) => FailureKind::TimedOut,
        Some(CutShort::Unwatchable(_)) | None => FailureKind::SubprocessFailed,
    };
    let ending = match (cut_short, status) {
        (Some(CutShort::Deadline), _) => Ending::DeadlinePassed(span(run.deadline)),
        (Some(CutShort::Unwatchable(error)), _) | (None, Ok(Err(error))) => Ending::Lost(error.to_string()),
        (None, Err(_)) => Ending::Lost("its end was seen, but it could not be reaped".to_owned()),
        (None, Ok(Ok(status))) if status.success() => {
            let stderr = printable(&stderr.bytes());
            return Ok(RunBytes { cut: stdout.cut, stdout: stdout.bytes(), stderr, duration });
        }
        (None, Ok(Ok(status))) => ending_of(status),
    };
    let text = printable(&stderr.bytes());
    // Silence is claimed only of a pipe that was read to its end.
    let stderr = if text.trim().is_empty() && !stderr.whole { Stderr::Null } else { Stderr::captured(text) };
    Err(Failure { kind, ending, stderr, stdout_tail: printable(&stdout.bytes()), ..evidence(run, duration) })
}

/// Why a program was killed by us.
enum CutShort {
    Deadline,
    Unwatchable(io::Error),
}

/// Drains the pipes until the program is a zombie (it is not reaped here) and its group needs no more attention.
async fn to_its_end(
    deadline: Duration,
    pidfd: &AsyncFd<OwnedFd>,
    group: &mut Group,
    drained: impl Future,
) -> Option<CutShort> {
    tokio::pin!(drained);
    let mut open = true;
    let ended = async {
        loop {
            tokio::select! {
                ended = exited(pidfd) => break ended,
                _ = &mut drained, if open => open = false,
            }
        }
    };
    let cut_short = match timeout(deadline, ended).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(CutShort::Unwatchable(error)),
        Err(_) => Some(CutShort::Deadline),
    };
    if cut_short.is_some() || killed_by_signal(pidfd) {
        // The children of a killed git go on working (platform facts, "git"): the group ends as one.
        group.kill_and_wait().await;
    }
    if open && timeout(PIPE_GRACE, &mut drained).await.is_err() {
        // Somebody else holds a pipe. What is left of the group would outlive its run: end it, and read the rest.
        group.kill_and_wait().await;
        let _ = timeout(LAST_WORDS, &mut drained).await;
    }
    cut_short
}

fn spawn(run: &Run) -> io::Result<Child> {
    let (program, arguments) =
        run.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program was named"))?;
    let mut command = Command::new(program);
    if run.env_clear {
        command.env_clear();
    }
    for name in &run.env_remove {
        command.env_remove(name);
    }
    if let Some(cwd) = &run.cwd {
        command.current_dir(cwd);
    }
    command
        .args(arguments)
        .envs(run.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// The child's process group, which has its own number, and a pidfd; safe because it is not reaped yet.
fn lead(child: &Child) -> io::Result<(Group, AsyncFd<OwnedFd>)> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the child has no process number"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    Ok((Group { id: pid, armed: true }, watched(pidfd)?))
}

/// Until the process is a zombie; it is not reaped.
async fn exited(pidfd: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = pidfd.readable().await?;
        if has_exited(pidfd.get_ref()) {
            return Ok(());
        }
        ready.clear_ready();
    }
}

/// Looks at how the process ended, without reaping it.
fn killed_by_signal(pidfd: &AsyncFd<OwnedFd>) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(pidfd.get_ref().as_fd()), options);
    matches!(status, Ok(Some(status)) if status.terminating_signal().is_some())
}

/// The process group of an unreaped child; killed when dropped while armed (INV-R3).
struct Group {
    id: Pid,
    armed: bool,
}

impl Group {
    async fn kill_and_wait(&mut self) {
        let _ = kill_process_group(self.id, Signal::KILL); // fails only if all of it is gone already
        let members = group_members(self.id.as_raw_nonzero().get().unsigned_abs()).unwrap_or_default();
        still_there(&members, tokio::time::Instant::now() + KILL_WAIT).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed {
            let _ = kill_process_group(self.id, Signal::KILL);
        }
    }
}

/// One pipe's output, bounded.
struct Capture<P> {
    pipe: Option<P>,
    keep: Keep,
    bytes: Vec<u8>,
    /// Whether something was thrown away.
    cut: bool,
    /// Whether it was read to its end.
    whole: bool,
}

impl<P: AsyncRead + Unpin> Capture<P> {
    fn new(pipe: Option<P>, keep: Keep) -> Self {
        Self { pipe, keep, bytes: Vec::new(), cut: false, whole: false }
    }

    async fn drain(&mut self) {
        let Some(mut pipe) = self.pipe.take() else { return };
        let mut chunk = vec![0; 16 << 10];
        loop {
            match pipe.read(&mut chunk).await {
                Ok(0) => {
                    self.whole = true;
                    return;
                }
                Ok(length) => self.push(&chunk[..length]),
                Err(_) => return,
            }
        }
    }

    fn push(&mut self, chunk: &[u8]) {
        match self.keep {
            Keep::First(max) => {
                let room = max.saturating_sub(self.bytes.len()).min(chunk.len());
                self.bytes.extend_from_slice(&chunk[..room]);
                self.cut |= room < chunk.len();
            }
            // Twice the tail is let grow before the front goes, so that a byte is moved about once.
            Keep::Last(max) => {
                self.bytes.extend_from_slice(chunk);
                if self.bytes.len() > max.saturating_mul(2) {
                    self.trim(max);
                }
            }
        }
    }

    fn trim(&mut self, max: usize) {
        let excess = self.bytes.len().saturating_sub(max);
        self.cut |= excess > 0;
        self.bytes.drain(..excess);
    }

    fn bytes(&self) -> Vec<u8> {
        let skip = match self.keep {
            Keep::First(_) => 0,
            Keep::Last(max) => self.bytes.len().saturating_sub(max),
        };
        self.bytes[skip..].to_vec()
    }
}

fn ending_of(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ending::Code(code),
        (None, Some(signal)) => Ending::Signal(signal),
        (None, None) => Ending::Lost(status.to_string()),
    }
}

fn not_started(run: &Run, error: &io::Error, begun: Instant) -> Failure {
    let program = run.argv.first().map_or("(none)", String::as_str);
    let cwd = run.cwd.as_deref();
    let hint = match Errno::from_io_error(error) {
        // The system says "no such file" of a missing working directory, too.
        Some(Errno::NOENT) if cwd.is_some_and(|cwd| !cwd.is_dir()) => {
            format!("the working directory does not exist: {}", shown(cwd.unwrap_or(Path::new(""))))
        }
        Some(Errno::NOENT) => format!("install {program}, or put it on PATH"),
        Some(Errno::ACCESS) => {
            format!("{program} is not executable, or the working directory may not be entered")
        }
        Some(_) => format!("the system could not start {program}: look at its limits of processes and open files"),
        None => "a program's name and arguments must be there and hold no NUL".to_owned(),
    };
    Failure {
        kind: spawn_kind(error),
        ending: Ending::NotStarted(error.to_string()),
        hint: Some(hint),
        ..evidence(run, span(begun.elapsed()))
    }
}

/// Whether a program could not be started for want of our own resources, or for a reason of its own.
pub(super) fn spawn_kind(error: &io::Error) -> FailureKind {
    if lacking(error) { FailureKind::Exhausted } else { FailureKind::SpawnFailed }
}

fn span(duration: Duration) -> Span {
    Span(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// What is known of any run that failed.
fn evidence(run: &Run, duration: Span) -> Failure {
    let argv = if run.argv.is_empty() { vec!["(none)".to_owned()] } else { run.argv.clone() };
    Failure {
        program: run.program,
        cwd: run.cwd.as_deref().map(shown),
        duration,
        ..Failure::of_operation(run.stage, FailureKind::SubprocessFailed, argv, "")
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use crate::domain::id::ProcessId;
    use crate::env::process::{identify, is_alive, signal, wait_exit};

    fn sh(script: &str) -> Run {
        Run {
            program: Program::Orch,
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            cwd: None,
            env: Vec::new(),
            env_remove: Vec::new(),
            env_clear: false,
            deadline: Duration::from_secs(60),
            stage: Stage::Provision,
        }
    }

    /// Asserts that the processes named in the output are gone, by waiting for them if need be.
    async fn all_gone(pids: &str) {
        for pid in pids.split_ascii_whitespace() {
            if let Some(id) = identify(pid.parse().unwrap()) {
                assert!(!is_alive(id), "{id} lives");
            }
        }
    }

    #[tokio::test]
    async fn output_place_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let ok = run(Run {
            cwd: Some(dir.path().to_path_buf()),
            env: vec![("ADDED".to_owned(), "a b".to_owned())],
            env_remove: vec!["HOME".to_owned()],
            ..sh("pwd; echo \"$ADDED/$HOME\"; echo word >&2; read line || echo no stdin")
        });
        let ok = ok.await.unwrap();
        assert_eq!(ok.stdout, format!("{}\na b/\nno stdin\n", dir.path().display()));
        assert_eq!(ok.stderr, "word\n");
        assert!(ok.duration > Span(0));
        let clear = run(Run { env_clear: true, ..sh("echo \"[$HOME]\"") }).await.unwrap();
        assert_eq!(clear.stdout, "[]\n");
    }

    #[tokio::test]
    async fn a_failure_keeps_its_evidence() {
        let failure = run(Run { cwd: Some("/".into()), ..sh("echo out; echo why >&2; exit 3") }).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::SubprocessFailed);
        assert_eq!(failure.ending, Ending::Code(3));
        assert_eq!(failure.stderr, Stderr::Text("why\n".to_owned()));
        assert_eq!(failure.stdout_tail, "out\n");
        assert_eq!(failure.cwd.as_deref(), Some("/"));
        assert_eq!(failure.argv[2], "echo out; echo why >&2; exit 3");
        assert!(failure.quality() >= 0.89, "{}", failure.quality());
        assert_eq!(run(sh("exit 1")).await.unwrap_err().stderr, Stderr::Empty);
        assert_eq!(run(sh("kill -9 $$")).await.unwrap_err().ending, Ending::Signal(9));
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_why() {
        let check = async |change: Run, ending: &str, hint: &str| {
            let failure = run(change).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::SpawnFailed);
            assert_eq!(failure.ending, Ending::NotStarted(ending.to_owned()));
            assert_eq!(failure.stderr, Stderr::Null);
            assert!(failure.hint.as_deref().unwrap().contains(hint), "{failure:?}");
            assert!(!failure.argv.is_empty());
        };
        let missing = "No such file or directory (os error 2)";
        check(Run { argv: vec!["no-such-program-here".to_owned()], ..sh("") }, missing, "on PATH").await;
        check(Run { cwd: Some("/no/such/dir".into()), ..sh("true") }, missing, "working directory").await;
        check(Run { argv: vec!["/etc".to_owned()], ..sh("") }, "Permission denied (os error 13)", "executable").await;
        check(Run { argv: Vec::new(), ..sh("") }, "no program was named", "must be there").await;
        check(sh("a\0b"), "nul byte found in provided data", "NUL").await;
    }

    #[tokio::test]
    async fn the_deadline_ends_the_whole_group() {
        let script = "echo begun >&2; sleep 300 & echo $$ $!; sleep 300";
        let begun = Instant::now();
        let failure = run(Run { deadline: Duration::from_millis(500), ..sh(script) }).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut);
        assert_eq!(failure.ending, Ending::DeadlinePassed(Span::from_millis(500)));
        assert_eq!(failure.stderr, Stderr::Text("begun\n".to_owned()));
        all_gone(&failure.stdout_tail).await;
        assert!(begun.elapsed() < Duration::from_secs(15), "it says so, and did not wait for it");
        // A stopped program is no exception.
        let stopped = run(Run { deadline: Duration::from_millis(300), ..sh("kill -STOP $$") }).await.unwrap_err();
        assert_eq!((stopped.kind, stopped.stderr), (FailureKind::TimedOut, Stderr::Empty));
    }

    #[tokio::test]
    async fn a_killed_leader_takes_its_children_along() {
        let failure = run(sh("sleep 300 & echo $!; kill -9 $$")).await.unwrap_err();
        assert_eq!(failure.ending, Ending::Signal(9));
        all_gone(&failure.stdout_tail).await;
    }

    #[tokio::test]
    async fn a_grandchild_that_holds_the_pipe_does_not_hold_us() {
        let begun = Instant::now();
        let ok = run(sh("sleep 300 & echo $!")).await.unwrap();
        all_gone(&ok.stdout).await;
        // One in a session of its own is out of reach: it is left, and the call returns all the same.
        let failure = run(sh("setsid sleep 300 & echo $!; exit 4")).await.unwrap_err();
        assert_eq!((failure.ending, failure.stderr), (Ending::Code(4), Stderr::Null));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        let left = identify(failure.stdout_tail.trim().parse().unwrap()).unwrap();
        signal(left, Signal::KILL).unwrap();
        wait_exit(left).await.unwrap();
    }

    #[tokio::test]
    async fn any_amount_of_output_is_read_and_a_tail_is_kept() {
        let script = "head -c 3000000 /dev/zero | tr '\\0' x; printf 'a\\000\\033[1m\\377end\\n'; \
                      head -c 2000000 /dev/zero | tr '\\0' e >&2";
        let ok = run(sh(script)).await.unwrap();
        assert!(ok.stdout.ends_with("xa\u{fffd}end\n"), "{:?}", &ok.stdout[ok.stdout.len() - 20..]);
        assert!(ok.stdout.len() > OUTPUT_TAIL_BYTES_MAX - 20 && ok.stdout.len() < OUTPUT_TAIL_BYTES_MAX + 20);
        assert_eq!(ok.stderr.len(), OUTPUT_TAIL_BYTES_MAX);
        let head = run_bytes(&sh("echo first; head -c 100000 /dev/zero"), Keep::First(6)).await.unwrap();
        assert_eq!((head.stdout.as_slice(), head.cut), (b"first\n".as_slice(), true));
    }

    #[tokio::test]
    async fn dropping_a_run_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let mut running = Box::pin(run(sh(&format!("sleep 300 & echo $$ $! > {}; wait", fifo.display()))));
        let pids = tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            pids = tokio::fs::read_to_string(&fifo) => pids.unwrap(),
        };
        let ids: Vec<ProcessId> =
            pids.split_ascii_whitespace().map(|pid| identify(pid.parse().unwrap()).unwrap()).collect();
        drop(running);
        assert_eq!(ids.len(), 2);
        for id in ids {
            wait_exit(id).await.unwrap();
        }
    }
}
