//! The server as a process: its socket, version, identity, and the two signals it understands.

use super::TmuxError;
use crate::domain::id::ProcessId;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::timeout;

/// Which server it is: pid and start time of its process (T6).
pub type ServerId = ProcessId;

/// The oldest tmux that has every option used here.
const OLDEST: &str = "3.2";
const OLDEST_VERSION: (u32, u32) = (3, 2);

/// The size of `sun_path` without its final NUL (T20).
const SOCKET_PATH_MAX: usize = 107;

/// `tmux -V` only prints; more than this means that something is very wrong with the machine.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// A version of tmux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The first number; unreleased builds without a number (`master`) count as the newest.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// As tmux spells it.
    pub text: String,
}

impl Version {
    /// Reads `3.3a`, `next-3.5`, `openbsd-7.4` (whose numbers are OpenBSD's) or `master`, with or without `tmux `.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("tmux ").unwrap_or(text);
        if text == "master" || text.starts_with("openbsd-") {
            return Some(Self { major: u32::MAX, minor: 0, text: text.to_owned() });
        }
        let (major, rest) = text.strip_prefix("next-").unwrap_or(text).split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()?, text: text.to_owned() })
    }

    pub(super) fn check(self) -> Result<Self, TmuxError> {
        if (self.major, self.minor) >= OLDEST_VERSION {
            return Ok(self);
        }
        Err(TmuxError::TooOld { found: self.text, needed: OLDEST })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Asks the program for its version and refuses one that is too old. No server is touched.
///
/// # Errors
/// `Spawn`, `Timeout`, `Protocol` for an answer that is no version, `TooOld`.
pub async fn version(program: &Path) -> Result<Version, TmuxError> {
    let mut command = tokio::process::Command::new(program);
    command.arg("-V").stdin(Stdio::null()).process_group(0).kill_on_drop(true);
    let output = match timeout(VERSION_DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(source)) => return Err(TmuxError::Spawn { program: program.into(), source }),
        Err(_) => {
            let argv = vec![program.display().to_string(), "-V".into()];
            return Err(TmuxError::Timeout { argv, after: VERSION_DEADLINE });
        }
    };
    let answer = String::from_utf8_lossy(&output.stdout);
    match Version::parse(&answer) {
        Some(version) => version.check(),
        None => {
            let answer = format!("{answer}{} ({})", String::from_utf8_lossy(&output.stderr), output.status);
            Err(TmuxError::Protocol { what: "tmux -V", answer })
        }
    }
}

/// Refuses a socket path that tmux could not use, that others could reach, or that is the user's own (T20).
///
/// # Errors
/// `Socket`, saying why.
pub fn check_socket(path: &Path) -> Result<(), TmuxError> {
    let refuse = |why: String| Err(TmuxError::Socket { path: path.into(), why });
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        return refuse(format!("its path has {length} bytes, more than the {SOCKET_PATH_MAX} that fit"));
    }
    // The client runs in / so that a pane whose launcher does not change directory is not in some project (T14).
    if !path.is_absolute() {
        return refuse("its path is not absolute".into());
    }
    let folder = match path.parent().map(fs::canonicalize) {
        Some(Ok(folder)) => folder,
        Some(Err(error)) => return refuse(format!("its directory cannot be used: {error}")),
        None => return refuse("it has no directory".into()),
    };
    let user = geteuid().as_raw();
    // Where tmux puts its sockets when not told otherwise, under /tmp or TMUX_TMPDIR.
    if folder.file_name().is_some_and(|name| name == format!("tmux-{user}").as_str()) {
        return refuse("it lies in the directory of the user's own servers".into());
    }
    match fs::metadata(&folder) {
        Err(error) => return refuse(format!("its directory cannot be used: {error}")),
        Ok(found) if !found.is_dir() => return refuse("its directory is not one".into()),
        Ok(found) if found.uid() != user => return refuse(format!("its directory belongs to user {}", found.uid())),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            return refuse(format!("its directory is open to others (mode {:o})", found.mode() & 0o7777));
        }
        Ok(_) => {}
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => refuse("there is something else in its place".into()),
        Ok(found) if found.uid() != user => refuse(format!("it belongs to user {}", found.uid())),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}

/// Has a living server whose socket was unlinked make it again (T10). Without this a new connection would start a
/// second server beside the one the agents live in. The socket appears some time after this returns.
///
/// # Errors
/// `Io` if that process is gone or its number is another process's by now.
pub fn recreate_socket(server: ServerId) -> Result<(), TmuxError> {
    signal(server, Signal::USR1)
}

/// Has the server look at its children again, which finds the exit statuses it missed (T24).
pub(super) fn recount_children(server: ServerId) -> Result<(), TmuxError> {
    signal(server, Signal::CHILD)
}

/// Sends a signal to that process and no other: the pidfd is opened first, then what it holds is checked.
pub(super) fn signal(process: ProcessId, signal: Signal) -> Result<(), TmuxError> {
    let what = || format!("signal {signal:?} to process {process}");
    let gone = || TmuxError::io(what(), std::io::Error::from(std::io::ErrorKind::NotFound));
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| TmuxError::io(what(), error))?;
    if start_time(process.pid)? != process.start {
        return Err(gone());
    }
    pidfd_send_signal(&fd, signal).map_err(|error| TmuxError::io(what(), error))
}

/// The start time of a process: field 22 of its stat. The second field may hold blanks and parentheses.
pub(super) fn start_time(pid: u32) -> Result<u64, TmuxError> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| TmuxError::io(&path, error))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    match after_name.split_ascii_whitespace().nth(19).map(str::parse) {
        Some(Ok(start)) => Ok(start),
        Some(Err(_)) | None => Err(TmuxError::Protocol { what: "/proc/PID/stat", answer: stat }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let numbers = |text| Version::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(numbers("tmux 3.3a\n"), Some((3, 3)));
        assert_eq!(numbers("3.2"), Some((3, 2)));
        assert_eq!(numbers("tmux next-3.5"), Some((3, 5)));
        assert_eq!(numbers("tmux 3.10-rc2"), Some((3, 10)));
        assert_eq!(numbers("tmux master"), Some((u32::MAX, 0)));
        for nonsense in ["", "tmux", "tmux x.y", "3"] {
            assert_eq!(numbers(nonsense), None, "{nonsense}");
        }
        let old = Version::parse("tmux 3.1c").expect("a version").check();
        assert_eq!(old.map_err(|e| e.to_string()), Err("tmux 3.1c is too old: 3.2 or later is needed".into()));
    }

    #[test]
    fn sockets() {
        let why = |path: &Path| check_socket(path).err().map(|e| e.to_string()).unwrap_or_default();
        let private = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(private.clone()).tempdir().expect("a directory");
        assert_eq!(why(&dir.path().join("s")), "");
        assert!(why(&dir.path().join("x".repeat(107))).contains("107"));
        assert!(why(Path::new("s")).contains("not absolute"));
        assert!(why(&dir.path().join("no/s")).contains("cannot be used"));
        let own = dir.path().join(format!("tmux-{}", geteuid().as_raw()));
        fs::create_dir(&own).expect("created");
        fs::set_permissions(&own, private).expect("set");
        assert!(why(&own.join("default")).contains("user's own"));
        fs::write(dir.path().join("file"), "").expect("written");
        assert!(why(&dir.path().join("file")).contains("something else"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).expect("set");
        assert!(why(&dir.path().join("s")).contains("open to others (mode 750)"));
    }

    #[test]
    fn start_times() {
        let own = start_time(std::process::id()).expect("we run");
        assert_eq!(start_time(std::process::id()).ok(), Some(own));
        let not_us = ProcessId { pid: std::process::id(), start: own + 1 };
        assert!(signal(not_us, Signal::CHILD).is_err());
        assert!(signal(ProcessId { pid: 0, start: 0 }, Signal::CHILD).is_err());
    }
}
