//! The folder of a report.

use super::model::Report;
use super::prometheus::exposition;
use crate::schedule::Schedule;
use std::fs;
use std::io;
use std::path::Path;

/// Writes `report.json`, `schedule.json`, `metrics.prom` and `events.ndjson` (one line each of `events`).
///
/// `scraped` is what the orchestrator's own `/metrics` said last; it follows the harness's figures, without whatever
/// it should say under their names, since no figure may stand there twice.
///
/// # Errors
/// A file could not be written.
pub fn write(dir: &Path, report: &Report, schedule: &Schedule, events: &[String], scraped: &str) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    put(&dir.join("schedule.json"), &(serde_json::to_string_pretty(schedule)? + "\n"))?;
    put(&dir.join("events.ndjson"), &events.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    let own: String =
        scraped.lines().filter(|line| !line.contains("orch_chaos_")).map(|line| format!("{line}\n")).collect();
    put(&dir.join("metrics.prom"), &format!("{}{own}", exposition(report)))?;
    // Last, so that a folder with a report is a whole one.
    put(&dir.join("report.json"), &(serde_json::to_string_pretty(report)? + "\n"))
}

/// Reads a report from its folder, or from its file.
///
/// # Errors
/// In one line, naming the file.
pub fn read(path: &Path) -> Result<Report, String> {
    let file = if path.is_dir() { path.join("report.json") } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// A file is there as a whole or not at all.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let half = path.with_extension("tmp");
    fs::write(&half, text)?;
    fs::rename(&half, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::judge::{judge, tests::played};

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let played = played(true);
        let report = judge(&played, &played.journal);
        let lines = vec!["{}".to_owned()];
        write(&dir.path().join("a/b"), &report, &played.schedule, &lines, "up 1\n").expect("written");
        assert_eq!(read(&dir.path().join("a/b")), Ok(report));
        let names: Vec<_> = fs::read_dir(dir.path().join("a/b")).expect("listed").flatten().collect();
        assert_eq!(names.len(), 4);
        assert!(read(dir.path()).is_err_and(|why| why.contains("report.json")));
    }
}
