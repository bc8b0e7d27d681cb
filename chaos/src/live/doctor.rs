//! Whether live mode can work here at all.

use super::command::run;
use super::process::{Held, identify};
use super::sandbox::found_git;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The oldest tmux that has what the orchestrator needs.
const TMUX_MIN: (u32, u32) = (3, 2);
/// How long a program may take to tell its version.
const DEADLINE: Duration = Duration::from_secs(10);

/// One thing that live mode stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// What.
    pub name: &'static str,
    /// What was found, or why it will not do.
    pub found: Result<String, String>,
}

/// Looks at everything that live mode stands on.
#[must_use]
pub fn examine(orch: &Path) -> Vec<Ground> {
    vec![
        Ground { name: "tmux", found: tmux() },
        Ground { name: "git", found: found_git().and_then(|git| version(Command::new(git).arg("--version"))) },
        Ground { name: "orch", found: orchestrator(orch) },
        Ground { name: "processes", found: processes() },
    ]
}

fn tmux() -> Result<String, String> {
    let said = version(Command::new("tmux").arg("-V"))?;
    let at_least = tmux_version(&said).is_none_or(|found| found >= TMUX_MIN);
    let (major, minor) = TMUX_MIN;
    if at_least { Ok(said) } else { Err(format!("{said} is too old: {major}.{minor} or later is needed")) }
}

/// Of `tmux 3.3a`; none for a name that is no number, such as `tmux master`, which is newer than any number.
fn tmux_version(said: &str) -> Option<(u32, u32)> {
    let number = said.split_whitespace().nth(1)?.trim_start_matches("next-");
    let (major, minor) = number.split_once('.')?;
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, digits.parse().ok()?))
}

fn orchestrator(orch: &Path) -> Result<String, String> {
    if !orch.is_file() {
        return Err(format!("{}: no such program; name it by --orch or ORCH_BIN", orch.display()));
    }
    // That it runs at all is what counts; what it says of its version is for people.
    let said = run(Command::new(orch).arg("--version"), DEADLINE)?.stdout;
    let said = said.lines().next().unwrap_or("orch").trim().to_owned();
    Ok(format!("{said} ({})", orch.display()))
}

/// Identity of processes rests on `/proc` and on pidfds.
fn processes() -> Result<String, String> {
    let own = identify(std::process::id()).ok_or("/proc does not show this process")?;
    match Held::of(own) {
        Ok(Some(_)) => Ok("/proc and pidfd".to_owned()),
        Ok(None) => Err("/proc does not show this process as alive".to_owned()),
        Err(error) => Err(format!("pidfd_open: {error}")),
    }
}

fn version(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let said = run(command, DEADLINE)?.ok(&name)?;
    Ok(said.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_tmux_are_told_apart() {
        assert_eq!(tmux_version("tmux 3.3a"), Some((3, 3)));
        assert_eq!(tmux_version("tmux next-3.6"), Some((3, 6)));
        assert_eq!(tmux_version("tmux 3.10"), Some((3, 10)));
        assert!(tmux_version("tmux 2.9a").is_some_and(|old| old < TMUX_MIN));
        assert_eq!(tmux_version("tmux master"), None);
    }

    #[test]
    fn a_missing_orchestrator_is_named_in_one_line() {
        let found = orchestrator(Path::new("/no/such/orch"));
        assert!(found.is_err_and(|why| why.contains("/no/such/orch") && why.lines().count() == 1));
        assert!(processes().is_ok());
    }
}
