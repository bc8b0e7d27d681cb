//! A few crash points, played live: one of each way to meet them.

use crate::ground::{CHAOS, alone, orch, processes_naming};
use std::process::Command;

#[test]
fn crash_points_of_every_kind_are_met_and_survived_and_nothing_is_left() {
    let _alone = alone();
    let temporary = tempfile::Builder::new().prefix("t").tempdir().expect("a folder");
    let mut sweep = Command::new(CHAOS);
    sweep.args(["sweep", "--mode", "live", "--json"]);
    // A commit, a file's name, a followed git, tmux's client, a recovery.
    let points = ["C02", "C06", "C09", "C14", "C32"];
    sweep.args(points.iter().flat_map(|point| ["--point", point]));
    let done = sweep.arg("--orch").arg(orch()).env("TMPDIR", temporary.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let rows: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let found: Vec<_> = rows.iter().map(|row| (row["point"].as_str(), row["verdict"].as_str())).collect();
    assert_eq!(found, points.map(|point| (Some(point), Some("as_expected"))), "{said}");
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert_eq!(processes_naming(temporary.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(temporary.path()).expect("listed").count(), 0);
}
