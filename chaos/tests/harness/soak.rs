//! A short soak: the orchestrator is killed while projects come and go, and nothing is lost by it.

use crate::ground::{CHAOS, alone, folder, orch, processes_naming};
use std::process::Command;

#[test]
fn a_killed_orchestrator_is_a_fault_of_a_run() {
    let _alone = alone();
    let dir = folder();
    let mut run = Command::new(CHAOS);
    run.args(["run", "--fault", "orch_kill", "--seed", "5", "--duration", "8s", "--projects", "2", "--out"]);
    let done = run.arg(dir.path()).arg("--orch").arg(orch()).output().expect("it runs");
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stdout));
    let report = chaos::report::read(dir.path()).expect("a report");
    assert!(report.faults.iter().all(|fault| fault.kind == chaos::fault::Kind::OrchKill));
    assert!(report.confirmed() >= 2 && report.missed() == 0);
}

#[test]
fn a_short_soak_counts_nothing_but_zeros_and_leaves_nothing() {
    let _alone = alone();
    let (dir, temporary) = (folder(), tempfile::Builder::new().prefix("t").tempdir().expect("a folder"));
    let mut soak = Command::new(CHAOS);
    soak.args(["soak", "--kills", "8", "--seed", "1", "--projects", "3", "--out"]).arg(dir.path());
    let done = soak.arg("--orch").arg(orch()).env("TMPDIR", temporary.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let text = std::fs::read_to_string(dir.path().join("soak.json")).expect("figures");
    let figures: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(figures["kills"], 8, "{said}");
    let zeros = figures["zeros"].as_array().expect("zeros");
    let red: Vec<_> = zeros.iter().filter(|zero| zero["found"] != serde_json::json!([])).collect();
    assert!(red.is_empty(), "{said}");
    assert!(zeros.iter().all(|zero| zero["trials"].as_u64().is_some_and(|trials| trials > 0)), "{said}");
    assert_eq!((&figures["trouble"], &figures["left"]), (&serde_json::json!([]), &serde_json::json!([])), "{said}");
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert_eq!(processes_naming(temporary.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(temporary.path()).expect("listed").count(), 0);
}
