//! Short live runs: one that must pass, and those in which something is planted that must be noticed.

use crate::ground::{CHAOS, alone, folder, orch, processes_naming};
use chaos::check::Is;
use chaos::cli::Exit;
use chaos::fault::{Kind, Mode};
use chaos::generate::{Request, generate};
use chaos::live::{Config, Finished, Planted, Stop, run_live};
use chaos::report::{Effect, Report, Verdict, read};
use chaos::seed::Seed;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A run of one project that only one kind of fault hits, with something planted.
fn planted(kind: Kind, planted: Planted) -> Finished {
    let _alone = alone();
    let dir = folder();
    let request = Request {
        seed: Seed(11),
        mode: Mode::Live,
        duration_ms: 5_000,
        projects: 1,
        roles: 2,
        weights: [(kind, 1)].into(),
    };
    let config = Config {
        id: "planted".to_owned(),
        schedule: generate(&request).expect("a schedule"),
        orch: orch().to_owned(),
        guard: PathBuf::from(CHAOS),
        out: dir.path().to_owned(),
        keep: false,
    };
    let finished = run_live(&config, &planted, &Stop::default(), &|_| {}).expect("a report");
    assert_eq!(read(dir.path()).expect("written"), finished.report);
    finished
}

/// The invariants that failed.
fn failed(report: &Report) -> Vec<&str> {
    report.invariants.iter().filter(|found| found.verdict == Is::Fail).map(|found| found.id.as_str()).collect()
}

/// What the reports says, for whoever reads that a test failed.
fn said(report: &Report) -> String {
    chaos::report::render(report, "-", chaos::report::Style::Plain)
}

#[test]
fn a_run_passes_and_leaves_nothing() {
    let _alone = alone();
    let dir = folder();
    let mut run = Command::new(CHAOS);
    run.args(["run", "--json", "--seed", "3", "--duration", "8s", "--projects", "2", "--out"]).arg(dir.path());
    // Everything of the run lies in a temporary folder; in one of its own it is seen whether anything is left.
    let temporary = tempfile::Builder::new().prefix("t").tempdir().expect("a folder");
    let done = run.arg("--orch").arg(orch()).env("TMPDIR", temporary.path()).output().expect("it runs");
    let report: Report = serde_json::from_slice(&done.stdout).expect("a report and nothing else");
    assert_eq!(done.status.code(), Some(0), "{}", said(&report));
    assert_eq!(report.verdict, Verdict::Pass);
    assert_eq!(report.summary.len(), 3);
    assert!(report.faults.iter().all(|fault| fault.effect == Effect::Confirmed), "{}", said(&report));
    assert_eq!((report.missed(), report.control.false_alarms, report.control.false_failures), (0, 0, 0));
    assert!(report.invariants.iter().all(|found| found.verdict == Is::Pass && found.checked > 0));
    assert_eq!(processes_naming(temporary.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(temporary.path()).expect("listed").count(), 0);
    for name in ["report.json", "schedule.json", "metrics.prom", "events.ndjson"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    let told = Command::new(CHAOS).arg("report").arg(dir.path()).output().expect("it runs");
    assert!(String::from_utf8_lossy(&told.stdout).starts_with("PASS  "));
}

#[test]
fn an_orchestrator_that_sees_late_violates_d1() {
    // Really late: it is stopped while the fault happens, and goes on only after the longest time it may take.
    let frozen = Some((Kind::SessionKill, Duration::from_secs(6)));
    let finished = planted(Kind::SessionKill, Planted { frozen_during: frozen, ..Planted::none() });
    assert_eq!(Exit::of_run(&finished), Exit::Violated, "{}", said(&finished.report));
    assert_eq!(failed(&finished.report), ["D1"], "{}", said(&finished.report));
}

#[test]
fn detection_that_is_blind_to_a_kind_violates_d1() {
    let blind_to = Some(Kind::ClaudeMdDelete);
    let finished = planted(Kind::ClaudeMdDelete, Planted { blind_to, ..Planted::none() });
    assert_eq!(Exit::of_run(&finished), Exit::Violated, "{}", said(&finished.report));
    assert!(finished.report.missed() > 0);
    let d1 = finished.report.invariants.iter().find(|found| found.id == "D1").expect("D1");
    assert!(d1.violations.iter().any(|violation| violation.contains("was missed")), "{d1:?}");
}

#[test]
fn an_injector_that_does_nothing_proves_nothing() {
    let finished = planted(Kind::SessionKill, Planted { idle: true, ..Planted::none() });
    assert_eq!(Exit::of_run(&finished), Exit::Inconclusive, "{}", said(&finished.report));
    assert_eq!(finished.report.confirmed(), 0);
    let m1 = finished.report.invariants.iter().find(|found| found.id == "M1").expect("M1");
    assert_eq!(m1.verdict, Is::Unknown);
}

#[test]
fn a_failure_of_the_injector_that_is_taken_for_success_violates_d1() {
    let finished = planted(Kind::SessionKill, Planted { boasts: true, ..Planted::none() });
    assert_eq!(Exit::of_run(&finished), Exit::Violated, "{}", said(&finished.report));
    let d1 = finished.report.invariants.iter().find(|found| found.id == "D1").expect("D1");
    assert!(d1.violations.iter().any(|violation| violation.contains("was missed")), "{d1:?}");
}

#[test]
fn a_harness_that_is_killed_is_cleaned_up_after() {
    let _alone = alone();
    let (dir, temporary) = (folder(), tempfile::Builder::new().prefix("t").tempdir().expect("a folder"));
    let mut run = Command::new(CHAOS);
    run.args(["run", "--seed", "3", "--duration", "20s", "--projects", "1", "--fault", "session_kill", "--out"]);
    run.arg(dir.path()).arg("--orch").arg(orch()).env("TMPDIR", temporary.path());
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    // The first fault that took effect: by then everything is up.
    let (heard, hear) = mpsc::channel();
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(heard.send(line))));
    let first = hear.recv_timeout(Duration::from_secs(60)).expect("a fault");
    assert!(first.contains("took effect"), "{first}");
    assert!(!processes_naming(temporary.path()).is_empty());
    child.kill().expect("killed");
    child.wait().expect("waited");
    let clean = || is_empty(temporary.path()) && processes_naming(temporary.path()).is_empty();
    let deadline = Instant::now() + Duration::from_secs(30);
    let (_never, pause) = mpsc::channel::<()>();
    while !clean() && Instant::now() < deadline {
        let _ = pause.recv_timeout(Duration::from_millis(50));
    }
    assert!(clean(), "{:?}", processes_naming(temporary.path()));
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut listing| listing.next().is_none())
}
