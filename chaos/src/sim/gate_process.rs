//! The determinism gate: the same seed must give the same bytes, here and elsewhere.

use super::campaign::Played;
use crate::seed::fnv1a;
use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};

/// The fingerprint of a run as one number: facts, journal, rows, outbox and verdicts.
#[must_use]
pub fn print_of(played: &Played) -> u64 {
    match &played.came {
        Ok(outcome) => {
            let bytes: Vec<u8> = outcome.fingerprint.iter().flat_map(|line| line.to_le_bytes()).collect();
            fnv1a(&bytes)
        }
        Err(why) => fnv1a(why.as_bytes()),
    }
}

/// Where two runs of one seed part; none if they are equal.
#[must_use]
pub fn differs(first: &Played, second: &Played) -> Option<String> {
    let (Ok(first), Ok(second)) = (&first.came, &second.came) else {
        let same = first.came.as_ref().err() == second.came.as_ref().err();
        return (!same).then(|| "one panicked and the other did not, or otherwise".to_owned());
    };
    if first.fingerprint == second.fingerprint {
        return None;
    }
    let parts = first.fingerprint.iter().zip(&second.fingerprint).position(|(one, other)| one != other);
    let place = parts.unwrap_or_else(|| first.fingerprint.len().min(second.fingerprint.len()));
    Some(format!("event {place} is another one, of {} and {}", first.fingerprint.len(), second.fingerprint.len()))
}

/// Plays the same in a fresh process whose environment, time zone and working directory are others.
///
/// # Errors
/// If it could not be started, failed, or said something that is no fingerprint.
pub fn elsewhere(args: &[String]) -> Result<BTreeMap<u64, u64>, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("TZ", "Pacific/Kiritimati")
        .env("LANG", "tr_TR.UTF-8")
        .env("ORCH_SOMETHING_ELSE", "x".repeat(4_096))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("start a fresh process: {error}"))?;
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text).map_err(|error| format!("read from the fresh process: {error}"))?;
    }
    let status = child.wait().map_err(|error| format!("wait for the fresh process: {error}"))?;
    if !status.success() {
        return Err(format!("the fresh process ended with {status}"));
    }
    let line = |line: &str| {
        let (seed, print) = line.split_once(' ')?;
        Some((seed.parse().ok()?, u64::from_str_radix(print, 16).ok()?))
    };
    text.lines().map(|text| line(text).ok_or_else(|| format!("no fingerprint: {text}"))).collect()
}
