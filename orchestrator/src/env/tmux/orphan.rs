//! Control clients whose orchestrator was killed.
//!
//! Such a client normally leaves at the end of its input. But if answers of the server were unread at that moment,
//! tmux 3.3a waits for ever to deliver them: the client stays attached, `detach-client` does not move it, and once
//! the server is told to end it does neither end nor serve; every new connection is refused with "server exited
//! unexpectedly". Killing the client is what helps.

use super::client::KEEPER;
use super::server::{signal, start_time};
use crate::domain::id::ProcessId;
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// Kills the clients of this socket's keeper session that nobody writes to any more, and says how many. It looks
/// through /proc, since the server may be beyond asking; meant for the start of an orchestrator and the end of a run.
/// A failed [`super::Control::connect`] does it by itself.
pub fn reap_orphaned_clients(socket: &Path) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| orphan(pid, socket)).filter(|&client| signal(client, Signal::KILL).is_ok()).count()
}

/// Whether this process is such a client. The start time is read first, so that it holds for what is read after.
fn orphan(pid: u32, socket: &Path) -> Option<ProcessId> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = words.split(|&byte| byte == 0).collect();
    let on_socket = words.windows(2).any(|two| two == [b"-S", socket.as_os_str().as_encoded_bytes()]);
    if !on_socket || !words.contains(&b"-C".as_slice()) || !words.contains(&KEEPER.as_bytes()) {
        return None;
    }
    let start = start_time(pid).ok()?;
    // The server was forked from a client and has its words, but /dev/null for its input.
    let input = fs::read_link(format!("/proc/{pid}/fd/0")).ok().filter(|input| is_pipe(input))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent: u32 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
    // An orphan's parent is init or a subreaper, and only the orchestrator that started it holds the pipe's other
    // end. A parent whose files may not be seen is another user's, and no orchestrator of ours.
    let held = fs::read_dir(format!("/proc/{parent}/fd"))
        .is_ok_and(|files| files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == input)));
    (!held).then_some(ProcessId { pid, start })
}

fn is_pipe(target: &Path) -> bool {
    target.to_str().is_some_and(|target| target.starts_with("pipe:"))
}
