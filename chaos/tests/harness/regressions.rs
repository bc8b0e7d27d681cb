//! Every schedule under which an invariant once failed, played again: it must hold now.

use chaos::schedule::Schedule;
use chaos::sim::replay::{How, play};
use std::path::PathBuf;

fn kept() -> Vec<(PathBuf, Schedule)> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/regressions");
    let entries = std::fs::read_dir(dir).expect("the regressions");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("readable");
        let schedule: Schedule = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        assert_eq!(schedule.check(), Ok(()), "{}", file.display());
        (file, schedule)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn what_once_failed_holds() {
    let kept = kept();
    assert!(!kept.is_empty());
    let mut failing = Vec::new();
    for (file, schedule) in kept {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let once = || play(&schedule, How { fingerprint: true, ..How::default() }).expect("played");
        let (first, again) = (once(), once());
        assert!(!first.fingerprint.is_empty());
        assert_eq!(first.fingerprint, again.fingerprint, "{name} is one run for ever");
        assert_eq!((first.broke, first.confirmed.is_empty()), (None, schedule.faults.is_empty()), "{name}");
        let violated = first.findings.iter().filter(|finding| finding.verdict.is == chaos::check::Is::Fail);
        failing.extend(violated.map(|finding| format!("{name}: {}: {}", finding.id, finding.verdict.violations[0])));
    }
    assert!(failing.is_empty(), "{failing:#?}");
}

/// A schedule without its story is a riddle to whoever it fails for.
#[test]
fn each_says_what_it_was_kept_for() {
    for (file, schedule) in kept() {
        let said = [&schedule.story, &schedule.violates, &schedule.expected];
        assert!(
            said.iter().all(|text| text.as_ref().is_some_and(|text| !text.trim().is_empty())),
            "{}",
            file.display()
        );
    }
}
