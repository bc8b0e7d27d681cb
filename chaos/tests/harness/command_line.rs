//! What `orch-chaos` says and how it ends.

use crate::ground::{CHAOS, folder};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};

fn chaos(args: &[&str]) -> Output {
    Command::new(CHAOS).args(args).env_remove("ORCH_BIN").output().expect("it runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn help_shows_what_there_is_and_how_it_ends() {
    let said = chaos(&["--help"]);
    assert_eq!(said.status.code(), Some(0));
    for expected in [
        "run",
        "soak",
        "sweep",
        "replay",
        "shrink",
        "planted",
        "faults",
        "report",
        "doctor",
        "  3  an invariant was violated",
    ] {
        assert!(out(&said).contains(expected), "{expected} is not in\n{}", out(&said));
    }
    assert!(!out(&said).contains("guard"), "it is nobody's business");
}

#[test]
fn a_refusal_is_one_line_and_exit_2() {
    for wrong in [
        &["run", "--duration", "30"][..],
        &["run", "--duration", "1s"],
        &["run", "--projects", "0"],
        &["run", "--fault", "session_kill=x"],
        &["run", "--fault", "session_kill=0"],
        &["run", "--nonsense"],
        &["soak", "--kills", "0"],
        &["run", "--events"],
        &["run", "--mode", "sim", "--seeds", "0..2", "--events"],
        &["run", "--mode", "sim", "--seed", "1", "--events", "--json"],
        &["run", "--mode", "sim", "--seeds", "5..5"],
        &["run", "--mode", "sim", "--seed", "18446744073709551615"],
        &["run", "--mode", "sim", "--seeds", "x"],
        &["run", "--mode", "sim", "--threads", "0"],
        &["run", "--mode", "sim", "--fault", "nonsense"],
        &["run", "--mode", "sim", "--fault", "session_kill=2"],
        &["run", "--mode", "sim", "--seed", "1", "--keep"],
        &["replay", "no-such-file"],
        &["replay", "no-such-file", "--plant", "nonsense"],
        &["shrink", "no-such-file", "--plant", "nonsense"],
        &["report", "no-such-folder"],
        &["nonsense"],
    ] {
        let said = chaos(wrong);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(2), "{wrong:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{wrong:?}: {text}");
        assert!(said.stdout.is_empty(), "{wrong:?}");
    }
}

#[test]
fn without_an_orchestrator_it_is_exit_5_and_one_clear_line() {
    let dir = folder();
    let place = dir.path().join("report").display().to_string();
    let said = chaos(&["run", "--orch", "/no/such/orch", "--out", &place]);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(5), "{text}");
    assert!(text.starts_with("error: orch: /no/such/orch: no such program") && text.lines().count() == 1, "{text}");
    assert!(out(&said).starts_with("seed "), "the seed comes first");
}

#[test]
fn a_dry_run_prints_the_same_schedule_for_the_same_seed() {
    let (first, second) = (chaos(&["run", "--dry-run", "--seed", "7"]), chaos(&["run", "--dry-run", "--seed", "7"]));
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(out(&first), out(&second));
    let schedule: chaos::schedule::Schedule = serde_json::from_str(&out(&first)).expect("a schedule");
    assert_eq!(schedule.check(), Ok(()));
    let other = chaos(&["run", "--dry-run", "--seed", "8"]);
    assert_ne!(out(&first), out(&other));
}

#[test]
fn every_kind_is_explained() {
    for kind in chaos::fault::Kind::ALL {
        let said = chaos(&["faults", "explain", kind.name()]);
        assert_eq!(said.status.code(), Some(0));
        assert!(out(&said).contains("\nprobe "), "{}", out(&said));
    }
}

/// The world is healed before most briefs are handed over once more: their Enter is never lost.
#[test]
fn a_fault_that_was_asked_for_and_does_nothing_is_exit_4() {
    let mut idle = 0;
    for seed in 0..8 {
        let seed = seed.to_string();
        let of = ["run", "--mode", "sim", "--duration", "4s", "--fault", "enter_lost", "--json", "--seed", &seed];
        let said = chaos(&of);
        let report: serde_json::Value = serde_json::from_str(&out(&said)).expect("a report");
        let confirmed = report["summary"]["enter_lost"]["confirmed"].as_u64().unwrap_or(0);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(if confirmed == 0 { 4 } else { 0 }), "{text}");
        assert_eq!(text.contains("inconclusive: enter_lost was "), confirmed == 0, "{text}");
        idle += u32::from(confirmed == 0);
    }
    assert!(idle > 0, "each took effect: nothing was shown");
}

/// The same run, told: by its seed, and by its schedule.
#[test]
fn a_simulated_run_is_told_in_order() {
    let dir = folder();
    let sim = ["run", "--mode", "sim", "--seed", "1", "--duration", "5m"];
    let schedule = dir.path().join("schedule.json");
    std::fs::write(&schedule, chaos(&[&sim[..], &["--dry-run"]].concat()).stdout).expect("written");
    let by_seed = out(&chaos(&[&sim[..], &["--events"]].concat()));
    let by_schedule = out(&chaos(&["replay", &schedule.display().to_string(), "--events"]));
    let told = |text: &str| -> Vec<String> {
        let marked = |line: &&str| line.get(15..16).is_some_and(|mark| ["~", "!", "#"].contains(&mark));
        text.lines().filter(marked).map(ToOwned::to_owned).collect()
    };
    let lines = told(&by_seed);
    assert_eq!(lines, told(&by_schedule));
    assert!(lines.iter().any(|line| line.contains("project_enqueued")), "{by_seed}");
    assert!(lines.iter().any(|line| line.contains("!      fault 1 takes effect: ")), "{by_seed}");
    let at: Vec<f64> = lines.iter().filter_map(|line| line.get(..13)?.trim().parse().ok()).collect();
    assert_eq!(at.len(), lines.len());
    assert!(at.is_sorted(), "{by_seed}");
}

/// Any bug of the catalogue, not only one of the policy.
#[test]
fn a_bug_is_planted_by_its_name() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/regressions/one-recovery-too-many.json");
    let fails = |bug: &str, invariant: &str| {
        let said = chaos(&["replay", kept, "--plant", bug]);
        assert_eq!(said.status.code(), Some(3), "{}", out(&said));
        assert!(out(&said).contains(&format!("FAIL  {invariant} ")), "{}", out(&said));
    };
    fails("breaker_off_by_plus_one", "S7");
    fails("effect_before_intent", "S13");
    assert_eq!(chaos(&["replay", kept]).status.code(), Some(0));
}

#[test]
fn a_simulated_campaign_leaves_its_report() {
    let dir = folder();
    let run = |seeds: [&str; 2], place: &str| {
        let place = dir.path().join(place).display().to_string();
        let said =
            chaos(&[&["run", "--mode", "sim", "--duration", "2m", "--json", "--out", &place], &seeds[..]].concat());
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
        out(&said)
    };
    let names = |place: &str| -> Vec<String> {
        let listed = std::fs::read_dir(dir.path().join(place)).expect("listed").flatten();
        let mut names: Vec<String> = listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let printed = run(["--seeds", "0..4"], "many");
    assert_eq!(names("many"), ["junit.xml", "report.html", "report.json", "summary.md"]);
    let report = chaos::report::read(&dir.path().join("many")).expect("a report");
    assert_eq!(serde_json::from_str::<chaos::report::Report>(&printed).expect("the same"), report);
    let seeds = report.campaign.expect("a campaign").seeds;
    assert_eq!((report.run.virtual_ms, seeds.played, seeds.below), (480_000, 4, Some(0.75)));
    run(["--seed", "1"], "one");
    let all = ["events.ndjson", "junit.xml", "report.html", "report.json", "schedule.json", "summary.md"];
    assert_eq!(names("one"), all);
    let report = chaos::report::read(&dir.path().join("one")).expect("a report");
    let events = std::fs::read_to_string(dir.path().join("one/events.ndjson")).expect("events");
    let injected = events.lines().filter(|line| line.contains("chaos_fault_injected")).count();
    assert!(injected > 0 && injected == report.faults.len() && report.injected() == injected as u64);
    let entries = events.lines().filter(|line| chaos::history::Logged::parse(line).is_ok()).count();
    assert_eq!(Some(entries as u64), report.campaign.map(|of| of.entries));
    let one = dir.path().join("one").display().to_string();
    let again = chaos(&["replay", &one]);
    assert_eq!(again.status.code(), Some(0), "{}", out(&again));
    let other = dir.path().join("again").display().to_string();
    let again = chaos(&["replay", &one, "--json", "--out", &other]);
    assert_eq!((again.status.code(), names("again")), (Some(0), all.map(ToOwned::to_owned).to_vec()));
    let same = chaos::report::read(&dir.path().join("again")).expect("a report");
    assert_eq!(serde_json::from_str::<chaos::report::Report>(&out(&again)).expect("the same"), same);
    assert_eq!((same.faults, same.summary, same.invariants), (report.faults, report.summary, report.invariants));
}

/// Cut short is what had more to play: the end of all that was asked for is no abortion.
#[test]
fn what_was_played_to_its_end_was_not_cut_short() {
    let dir = folder();
    std::fs::write(dir.path().join("STOP"), "").expect("written");
    let place = dir.path().display().to_string();
    let sim = ["run", "--mode", "sim", "--duration", "2m", "--threads", "1", "--out", &place];
    let code = |seeds: [&str; 2]| chaos(&[&sim[..], &seeds[..]].concat()).status.code();
    assert_eq!((code(["--seeds", "0..3"]), code(["--seed", "1"])), (Some(6), Some(0)));
}

/// It would take minutes. Not SIGINT, which whatever is started in the background may ignore.
#[test]
fn a_signal_ends_one_long_seed_at_once() {
    let sim = ["run", "--mode", "sim", "--seed", "1", "--duration", "24h", "--events"];
    let mut child =
        Command::new(CHAOS).args(sim).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    said.read_line(&mut String::new()).expect("it plays");
    let drained = std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("sent").success());
    let status = child.wait().expect("it ends");
    drained.join().expect("joined").expect("read");
    assert_eq!(status.signal(), Some(15), "{status}");
}
