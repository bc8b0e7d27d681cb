//! `orch audit`: whether the whole database keeps its invariants.

use super::exit::{CliError, Exit};
use super::{host, output};
use crate::domain::limits::Policy;
use crate::store::{Audited, Mode, Store};
use serde_json::json;
use std::fmt::Write as _;
use std::path::Path;

/// The command line of `orch audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// One JSON object: {"ok": true, "invariants": [{"id", "holds", "violations"}]}
    #[arg(long)]
    pub json: bool,
}

/// Audits, and says by the exit code whether everything holds.
///
/// # Errors
/// If the database cannot be read at all.
pub fn run(args: &Args, home: &Path, policy: &Policy) -> Result<Exit, CliError> {
    // Nothing is written, but a connection that can only read does not know the CHECKs.
    let mut store = Store::open(&home.join(host::DATABASE), Mode::Existing)?;
    let audited = store.audit(policy)?;
    let ok = audited.iter().all(|one| one.violations == 0);
    if args.json {
        output::print(&format!("{}\n", json!({ "ok": ok, "invariants": audited })))?;
    } else {
        output::print(&lines(&audited))?;
    }
    Ok(if ok { Exit::Ok } else { Exit::Data })
}

fn lines(audited: &[Audited]) -> String {
    let mut out = String::new();
    for Audited { id, holds, violations } in audited {
        let verdict = if *violations == 0 { "ok".to_owned() } else { format!("VIOLATED {violations}x") };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{id:<17} {verdict:<13} {holds}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_holds_and_what_does_not() {
        let one = |violations| Audited { id: "S12.gap", holds: "the journal has no gap", violations };
        insta::assert_snapshot!(lines(&[one(0), one(3)]), @r"
        S12.gap           ok            the journal has no gap
        S12.gap           VIOLATED 3x   the journal has no gap
        ");
    }

    #[test]
    fn the_exit_code_is_the_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(host::DATABASE);
        Store::open(&path, Mode::Create).unwrap().set_installation("0042").unwrap();
        let audit = || run(&Args { json: true }, dir.path(), &Policy::default()).unwrap();
        assert_eq!(audit(), Exit::Ok);
        rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TRIGGER event_no_gap").unwrap();
        assert_eq!(audit(), Exit::Data);
    }
}
