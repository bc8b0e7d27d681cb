//! What a traced process asks of the kernel, in words: the calls by which an orchestrator touches the world.

use nix::errno::Errno;
use nix::libc;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::fs;
use std::io::IoSliceMut;

/// The end of the path of the database's write-ahead log.
pub(super) const WAL: &str = "orch.db-wal";
/// Bytes of a buffer that are looked at; a page of the database has 4,096, a message to tmux less.
const BYTES_MAX: usize = 64 << 10;
/// Bytes of a path that are looked at.
const PATH_MAX: usize = 4096;

/// A system call at which a traced process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Whether it is the traced process's own, not a followed child's.
    pub(super) own: bool,
    /// The task that makes it.
    pub(super) pid: u32,
    /// Whether it is done, rather than about to be.
    pub(super) done: bool,
    /// What it does.
    pub(super) deed: Deed,
}

impl Call {
    /// Whether it writes to the database's write-ahead log.
    pub(super) fn is_of_the_log(&self) -> bool {
        matches!(&self.deed, Deed::Write { to, .. } if to.ends_with(WAL))
    }
}

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Writes bytes to a file, a pipe or a socket.
    Write {
        /// Where to, as the kernel names it.
        to: String,
        /// What.
        bytes: Vec<u8>,
    },
    /// Makes what was written to a file durable.
    Sync {
        /// Which file.
        of: String,
    },
    /// Gives a file a name, by renaming or linking it.
    Name {
        /// The name.
        to: String,
    },
    /// Opens a file.
    Open {
        /// The name it was asked for by.
        path: String,
    },
    /// Nothing that any moment is about.
    Other,
}

struct Asked {
    number: i64,
    args: [u64; 6],
}

#[cfg(target_arch = "x86_64")]
fn asked(pid: Pid) -> Result<Asked, Errno> {
    let regs = nix::sys::ptrace::getregs(pid)?;
    Ok(Asked { number: regs.orig_rax.cast_signed(), args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] })
}

/// Registers are read on x86-64 only; elsewhere every point is reported as not reached.
#[cfg(not(target_arch = "x86_64"))]
fn asked(_pid: Pid) -> Result<Asked, Errno> {
    Err(Errno::ENOSYS)
}

/// The call that a task is about to make.
///
/// # Errors
/// The kernel's, if the task is gone.
pub(super) fn entered(pid: Pid) -> Result<Deed, Errno> {
    let Asked { number, args } = asked(pid)?;
    let [first, second, third, fourth, ..] = args;
    Ok(match number {
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_sendto => {
            Deed::Write { to: behind(pid, first), bytes: bytes(pid, second, size(third).min(BYTES_MAX)) }
        }
        libc::SYS_fsync | libc::SYS_fdatasync => Deed::Sync { of: behind(pid, first) },
        libc::SYS_renameat | libc::SYS_renameat2 | libc::SYS_linkat => {
            Deed::Name { to: below(pid, third, &text(pid, fourth)) }
        }
        libc::SYS_openat => Deed::Open { path: text(pid, second) },
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename => Deed::Name { to: text(pid, second) },
        _ => Deed::Other,
    })
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// What a descriptor stands for.
fn behind(pid: Pid, fd: u64) -> String {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    link.map(|path| path.display().to_string()).unwrap_or_default()
}

/// A name below the directory that a descriptor stands for.
fn below(pid: Pid, dir: u64, name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("{}/{name}", behind(pid, dir)) }
}

/// Bytes of its memory, as many as can be read.
fn bytes(pid: Pid, from: u64, length: usize) -> Vec<u8> {
    let mut found = vec![0; length];
    let remote = [RemoteIoVec { base: size(from), len: length }];
    let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut found)], &remote).unwrap_or(0);
    found.truncate(read);
    found
}

/// The text at an address, up to its NUL. Read page by page: the next page may not be there.
fn text(pid: Pid, from: u64) -> String {
    let mut found = Vec::new();
    let mut at = size(from);
    while found.len() < PATH_MAX {
        let chunk = bytes(pid, at as u64, 4096 - at % 4096);
        if chunk.is_empty() {
            break;
        }
        if let Some(end) = chunk.iter().position(|byte| *byte == 0) {
            found.extend_from_slice(chunk.get(..end).unwrap_or_default());
            break;
        }
        at += chunk.len();
        found.extend(chunk);
    }
    String::from_utf8_lossy(&found).into_owned()
}
