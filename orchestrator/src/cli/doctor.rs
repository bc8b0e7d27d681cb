//! `orch doctor`: whether this machine can do what will be asked of it, one line a check, each with what to do.

use super::exit::{CliError, Exit};
use super::host;
use super::output::{self, Screen, Style};
use crate::domain::limits::Policy;
use crate::store::{Mode, Store, sqlite_version};
use crate::telemetry::text::escape;
use rustix::process::Resource;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to say its version.
const VERSION_WAIT: Duration = Duration::from_secs(5);
/// The oldest tmux with `new-session -e` and the formats that are used.
const TMUX_MIN: (u32, u32) = (3, 2);
/// The oldest git with `worktree add --orphan`'s predecessors and `worktree repair`.
const GIT_MIN: (u32, u32) = (2, 30);
/// The oldest SQLite with STRICT tables.
const SQLITE_MIN: (u32, u32) = (3, 37);
/// `sockaddr_un.sun_path`, its terminating zero included.
const SOCKET_BYTES_MAX: usize = 108;
/// Free disk below which a warning is due: a few worktrees of a large repository.
const FREE_BYTES_GOOD: u64 = 1 << 30;

/// The command line of `orch doctor`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// One JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It will do, until it does not.
    Warn,
    /// `orch` cannot work like this.
    Fail,
}

/// One check with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do about it; none if all is well.
    pub advice: Option<String>,
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, grade: Grade::Ok, found: found.into(), advice: None }
}

fn warn(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check { name, grade: Grade::Warn, found: found.into(), advice: Some(advice.into()) }
}

fn fail(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check { name, grade: Grade::Fail, found: found.into(), advice: Some(advice.into()) }
}

/// Looks at everything and says so.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &Args, home: Result<&Path, &CliError>, policy: &Policy) -> Result<Exit, CliError> {
    let checks = examine(home, policy);
    let text = if args.json { json(&checks)? } else { lines(&checks, Screen::of_stdout()) };
    output::print(&text)?;
    Ok(if worst(&checks) == Grade::Fail { Exit::Environment } else { Exit::Ok })
}

fn examine(home: Result<&Path, &CliError>, policy: &Policy) -> Vec<Check> {
    let mut checks = vec![
        version("tmux", run_version("tmux", "-V"), TMUX_MIN),
        version("git", run_version("git", "--version"), GIT_MIN),
        version("sqlite", Ok(sqlite_version().to_owned()), SQLITE_MIN),
    ];
    match home {
        Ok(home) => {
            checks.push(installation(home));
            checks.push(database(home));
            checks.push(disk(home));
            checks.push(socket(home, std::env::var_os("XDG_RUNTIME_DIR").is_some()));
        }
        Err(CliError::NoInstallation) => {
            let advice = "run `orch init` where the fleet shall live, or name an installation with --home";
            checks.push(fail("home", "there is no .orch directory here or above", advice));
        }
        Err(error) => checks.push(fail("home", error.to_string(), "name an installation with --home")),
    }
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    checks.push(descriptors(limit, policy.max_active));
    checks.push(inotify(
        "inotify_watches",
        sysctl("/proc/sys/fs/inotify/max_user_watches"),
        u64::from(policy.max_active).saturating_mul(64),
        "fs.inotify.max_user_watches",
    ));
    checks.push(inotify(
        "inotify_instances",
        sysctl("/proc/sys/fs/inotify/max_user_instances"),
        16,
        "fs.inotify.max_user_instances",
    ));
    checks
}

fn worst(checks: &[Check]) -> Grade {
    checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Ok)
}

/// The checks for people.
#[must_use]
pub fn lines(checks: &[Check], screen: Screen) -> String {
    let mut out = String::new();
    for check in checks {
        let (word, style) = match check.grade {
            Grade::Ok => ("ok  ", Style::Good),
            Grade::Warn => ("warn", Style::Warn),
            Grade::Fail => ("FAIL", Style::Bad),
        };
        let _ = write!(out, "{}  {:<17}  {}", screen.paint(style, word), check.name, escape(&check.found));
        if let Some(advice) = &check.advice {
            let _ = write!(out, "; {}", escape(advice));
        }
        out.push('\n');
    }
    out
}

fn json(checks: &[Check]) -> Result<String, CliError> {
    #[derive(Serialize)]
    struct Report<'a> {
        verdict: Grade,
        checks: &'a [Check],
    }
    Ok(serde_json::to_string(&Report { verdict: worst(checks), checks })? + "\n")
}

/// Judges the first `N.N` in what a program says of itself.
fn version(name: &'static str, said: Result<String, String>, least: (u32, u32)) -> Check {
    let (major, minor) = least;
    let said = match said {
        Ok(said) => said.lines().next().unwrap_or_default().trim().to_owned(),
        Err(why) => return fail(name, why, format!("install {name} {major}.{minor} or newer")),
    };
    match numbers(&said) {
        Some(found) if found >= least => ok(name, said),
        Some(_) => fail(name, said, format!("{major}.{minor} or newer is needed")),
        // tmux built from its repository says "master"; that is newer than any release.
        None if said.contains("master") || said.contains("next") => ok(name, said),
        None => warn(name, format!("says {said:?}"), format!("make sure that it is {major}.{minor} or newer")),
    }
}

fn numbers(said: &str) -> Option<(u32, u32)> {
    let start = said.find(|c: char| c.is_ascii_digit())?;
    let mut parts = said.get(start..)?.splitn(3, '.');
    let number = |part: Option<&str>| -> Option<u32> {
        let digits: String = part?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Some((number(parts.next())?, number(parts.next()).unwrap_or(0)))
}

/// What a program says when asked for its version, or why it says nothing.
fn run_version(program: &str, flag: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .arg(flag)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < VERSION_WAIT => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // A wrapper that hangs must not hang the doctor; the child is ours, and unreaped, so it is the right one.
                let _killed = child.kill();
                let _reaped = child.wait();
                return Err(format!("did not answer within {} s", VERSION_WAIT.as_secs()));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    let mut said = String::new();
    let read = child.stdout.take().map(|out| out.take(4_096).read_to_string(&mut said));
    match read {
        Some(Ok(_)) if status.success() => Ok(said),
        Some(Err(error)) => Err(format!("its answer cannot be read: {error}")),
        Some(Ok(_)) | None => Err(format!("ended with {status}")),
    }
}

fn installation(home: &Path) -> Check {
    let shown = home.display();
    let meta = match home.metadata() {
        Ok(meta) => meta,
        Err(error) => return fail("home", format!("{shown}: {error}"), "run `orch init`, or name it with --home"),
    };
    let mode = meta.permissions().mode() & 0o777;
    if !meta.is_dir() {
        return fail("home", format!("{shown} is no directory"), "name an installation with --home");
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return fail("home", format!("{shown} belongs to uid {}", meta.uid()), "run orch as its owner");
    }
    if mode & 0o077 != 0 {
        return warn("home", format!("{shown} has mode {mode:04o}"), format!("chmod 700 {shown}"));
    }
    ok("home", format!("{shown}, mode {mode:04o}"))
}

fn database(home: &Path) -> Check {
    let path = home.join(host::DATABASE);
    match Store::open(&path, Mode::ReadOnly).and_then(|store| store.quick_check()) {
        Ok(()) => match host::degraded(&path) {
            None => ok("database", "its structure is sound"),
            Some(why) => fail("database", why, "orch will not create or kill anything until that is mended"),
        },
        Err(error) => fail("database", error.to_string(), "restore a backup, or run `orch init` for a new one"),
    }
}

fn disk(home: &Path) -> Check {
    match rustix::fs::statvfs(home) {
        Ok(disk) => free(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => warn("disk", error.to_string(), "look at the file system of the installation"),
    }
}

fn free(bytes: u64) -> Check {
    let found = format!("{} MiB free", bytes >> 20);
    if bytes < host::FREE_BYTES_MIN {
        fail("disk", found, format!("free at least {} MiB", host::FREE_BYTES_MIN >> 20))
    } else if bytes < FREE_BYTES_GOOD {
        warn("disk", found, "worktrees of a large repository need more")
    } else {
        ok("disk", found)
    }
}

fn socket(home: &Path, runtime_dir: bool) -> Check {
    let bytes = home.join("tmux.sock").as_os_str().len();
    let found = format!("{bytes} of {} bytes", SOCKET_BYTES_MAX - 1);
    if bytes < SOCKET_BYTES_MAX {
        ok("socket_path", found)
    } else if runtime_dir {
        ok("socket_path", format!("{found}: the socket goes to the runtime directory"))
    } else {
        let advice = "set XDG_RUNTIME_DIR, or move the installation to a shorter path";
        warn("socket_path", format!("{found}: too long for a socket"), advice)
    }
}

/// One pidfd an agent, a few for each project, and what the orchestrator needs for itself.
fn descriptors(limit: Option<u64>, max_active: u32) -> Check {
    let Some(limit) = limit else { return ok("open_files", "unlimited") };
    let least = u64::from(max_active).saturating_mul(4).saturating_add(64);
    let good = u64::from(max_active).saturating_mul(36).saturating_add(128);
    let found = format!("{limit} allowed, max_active is {max_active}");
    if limit < least {
        fail("open_files", found, format!("ulimit -n {good}"))
    } else if limit < good {
        warn("open_files", found, format!("enough for small projects only; ulimit -n {good} is enough for any"))
    } else {
        ok("open_files", found)
    }
}

fn inotify(name: &'static str, limit: Option<u64>, wanted: u64, sysctl: &str) -> Check {
    match limit {
        Some(limit) if limit >= wanted => ok(name, limit.to_string()),
        Some(limit) => warn(
            name,
            limit.to_string(),
            format!("sysctl {sysctl}={wanted}; without watches the sweep still finds everything, only later"),
        ),
        None => warn(name, "cannot be read", "without watches the sweep still finds everything, only later"),
    }
}

fn sysctl(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[test]
    fn versions_are_judged_by_number() {
        let grade = |text: &str, least| version("tmux", said(text), least).grade;
        assert_eq!(grade("tmux 3.3a\n", TMUX_MIN), Grade::Ok);
        assert_eq!(grade("tmux 3.10", TMUX_MIN), Grade::Ok);
        assert_eq!(grade("tmux 3.1c", TMUX_MIN), Grade::Fail);
        assert_eq!(grade("tmux next-3.2", TMUX_MIN), Grade::Ok);
        assert_eq!(grade("tmux master", TMUX_MIN), Grade::Ok);
        assert_eq!(grade("git version 2.39.5 (Apple)", GIT_MIN), Grade::Ok);
        assert_eq!(grade("git version 2.4.0", GIT_MIN), Grade::Fail);
        assert_eq!(grade("who knows", GIT_MIN), Grade::Warn);
        assert_eq!(version("git", Err("no such file".to_owned()), GIT_MIN).grade, Grade::Fail);
    }

    #[test]
    fn limits_are_held_against_what_is_configured() {
        assert_eq!(descriptors(Some(64), 5).grade, Grade::Fail);
        assert_eq!(descriptors(Some(256), 5).grade, Grade::Warn);
        assert_eq!(descriptors(Some(1_024), 5).grade, Grade::Ok);
        assert_eq!(descriptors(Some(1_024), 1_000).grade, Grade::Fail);
        assert_eq!(descriptors(None, u32::MAX).grade, Grade::Ok);
        assert_eq!(free(0).grade, Grade::Fail);
        assert_eq!(free(100 << 20).grade, Grade::Warn);
        assert_eq!(free(10 << 30).grade, Grade::Ok);
        let long = "x".repeat(120);
        assert_eq!(socket(Path::new(&long), false).grade, Grade::Warn);
        assert_eq!(socket(Path::new(&long), true).grade, Grade::Ok);
        assert_eq!(inotify("inotify_watches", Some(8), 16, "x").grade, Grade::Warn);
    }

    #[test]
    fn an_installation_is_private_or_complained_about() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(installation(dir.path()).grade, Grade::Ok);
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(installation(dir.path()).grade, Grade::Warn);
        assert_eq!(installation(&dir.path().join("none")).grade, Grade::Fail);
        assert_eq!(database(dir.path()).grade, Grade::Fail);
        Store::open(&dir.path().join(host::DATABASE), Mode::Create).unwrap();
        assert_eq!(database(dir.path()).grade, Grade::Ok);
    }

    #[test]
    fn a_program_that_is_not_there_is_said_to_be_not_there() {
        let check = version("git", run_version("orch-no-such-program", "-V"), GIT_MIN);
        assert_eq!(check.grade, Grade::Fail);
        assert!(check.found.contains("No such file"), "{}", check.found);
    }

    #[test]
    fn every_check_that_is_not_well_says_what_to_do() {
        for check in examine(Err(&CliError::NoInstallation), &Policy::default()) {
            assert_eq!(check.grade == Grade::Ok, check.advice.is_none(), "{check:?}");
        }
    }

    #[test]
    fn the_report_for_people_and_for_programs() {
        let checks = [
            ok("tmux", "tmux 3.3a"),
            warn("disk", "100 MiB free", "worktrees of a large repository need more"),
            fail("git", "cannot be started: \u{1b}[2J", "install git 2.30 or newer"),
        ];
        insta::assert_snapshot!(lines(&checks, Screen::PLAIN), @r"
        ok    tmux               tmux 3.3a
        warn  disk               100 MiB free; worktrees of a large repository need more
        FAIL  git                cannot be started: \u{1b}[2J; install git 2.30 or newer
        ");
        insta::assert_snapshot!(json(&checks).unwrap(), @r#"{"verdict":"fail","checks":[{"name":"tmux","grade":"ok","found":"tmux 3.3a","advice":null},{"name":"disk","grade":"warn","found":"100 MiB free","advice":"worktrees of a large repository need more"},{"name":"git","grade":"fail","found":"cannot be started: \u001b[2J","advice":"install git 2.30 or newer"}]}"#);
    }
}
