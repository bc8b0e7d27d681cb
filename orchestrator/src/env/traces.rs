//! Traces of incarnations in the world: what a database that was restored from a backup may know nothing of (C46).
//!
//! Two kinds are looked for, and nothing is done to either: processes that carry our variables, and the files that
//! take an agent's standard error, of which every incarnation has its own.

use crate::domain::event::Trace;
use crate::domain::id::{Epoch, Token};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Processes that report into `spool`, so that they are this installation's, whatever its database says of them.
/// Blocking; one read for each process of ours or of another user that lets us.
///
/// # Errors
/// If `/proc` cannot be listed. Processes that end or refuse meanwhile are skipped.
pub fn of_processes(spool: &Path, installation: &str) -> io::Result<Vec<Trace>> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| *name != own && name.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
        found.extend(of_environ(&environ, spool.as_os_str(), installation, pid));
    }
    Ok(found)
}

fn of_environ(environ: &[u8], spool: &OsStr, installation: &str, pid: &str) -> Option<Trace> {
    let value = |name: &str| {
        environ.split(|byte| *byte == 0).find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    let text = |name: &str| value(name).and_then(|value| std::str::from_utf8(value).ok());
    if value("ORCH_SPOOL") != Some(spool.as_bytes()) {
        return None;
    }
    let project: i64 = text("ORCH_PROJECT")?.parse().ok()?;
    let epoch = Epoch(text("ORCH_EPOCH")?.parse().ok()?);
    let token = text(super::process::INSTANCE_VARIABLE).map(|token| Token(token.to_owned()));
    let slug = format!("p{project}-{installation}");
    let what = format!("process {pid} of {slug}, epoch {epoch},");
    Some(Trace { slug, epoch, token, what })
}

/// The files under `logs` that take standard error: `SLUG/ROLE.eEPOCH.stderr`, the newest one of each project.
///
/// # Errors
/// If a folder cannot be listed.
pub fn of_logs(logs: &Path) -> io::Result<Vec<Trace>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let entry = entry?;
        let Ok(slug) = entry.file_name().into_string() else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let mut newest: Option<(Epoch, String)> = None;
        for file in std::fs::read_dir(entry.path())? {
            let Ok(name) = file?.file_name().into_string() else { continue };
            if let Some(epoch) = epoch_of(&name)
                && newest.as_ref().is_none_or(|(known, _)| epoch > *known)
            {
                newest = Some((epoch, name));
            }
        }
        if let Some((epoch, name)) = newest {
            let what = format!("the file logs/{slug}/{name}");
            found.push(Trace { slug, epoch, token: None, what });
        }
    }
    Ok(found)
}

fn epoch_of(name: &str) -> Option<Epoch> {
    let (_, epoch) = name.strip_suffix(".stderr")?.rsplit_once(".e")?;
    Some(Epoch(epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_reports_into_our_spool_is_found_with_its_token() {
        let dir = tempfile::tempdir().unwrap();
        let run = |spool: &Path| {
            let mut command = Command::new("cat");
            command.envs([("ORCH_PROJECT", "7"), ("ORCH_EPOCH", "12"), ("ORCH_INSTANCE", "abc")]);
            command.env("ORCH_SPOOL", spool).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
        };
        let (mut ours, mut theirs) = (run(dir.path()), run(Path::new("/elsewhere")));
        let found = of_processes(dir.path(), "ab12").unwrap();
        for child in [&mut ours, &mut theirs] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        let what = format!("process {} of p7-ab12, epoch 12,", ours.id());
        let slug = "p7-ab12".to_owned();
        assert_eq!(found, [Trace { slug, epoch: Epoch(12), token: Some(Token("abc".to_owned())), what }]);
    }

    #[test]
    fn the_newest_file_of_each_project_tells() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("p7-ab12");
        std::fs::create_dir(&folder).unwrap();
        for name in ["developer.e2.stderr", "tester.e10.stderr", "x.e99.stdout", "y.stderr", "z.ex.stderr"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        std::fs::write(dir.path().join("events.ndjson"), "").unwrap();
        let what = "the file logs/p7-ab12/tester.e10.stderr".to_owned();
        let due = Trace { slug: "p7-ab12".to_owned(), epoch: Epoch(10), token: None, what };
        assert_eq!(of_logs(dir.path()).unwrap(), [due]);
    }
}
