//! The folder of a report.

use super::junit::junit;
use super::model::Report;
use super::page::{html, summary};
use super::prometheus::exposition;
use crate::schedule::Schedule;
use crate::truth::Injection;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;

/// What lies beside a report; a campaign of many seeds has none of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// What was played: `schedule.json`.
    pub schedule: Option<&'a Schedule>,
    /// What happened, a line each: `events.ndjson`.
    pub events: Option<&'a [String]>,
    /// What the orchestrator's own `/metrics` said last. It follows the harness's figures in `metrics.prom`, without
    /// whatever it should say under their names, since no figure may stand there twice.
    pub scraped: Option<&'a str>,
}

/// Writes `report.json`, `report.html`, `summary.md`, `junit.xml`, and what there is beside them.
///
/// # Errors
/// A file could not be written.
pub fn write(dir: &Path, report: &Report, beside: Beside<'_>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if let Some(schedule) = beside.schedule {
        put(&dir.join("schedule.json"), &(serde_json::to_string_pretty(schedule)? + "\n"))?;
    }
    if let Some(events) = beside.events {
        put(&dir.join("events.ndjson"), &events.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    if let Some(scraped) = beside.scraped {
        let own = scraped.lines().filter(|line| !line.contains("orch_chaos_"));
        let own: String = own.map(|line| format!("{line}\n")).collect();
        put(&dir.join("metrics.prom"), &format!("{}{own}", exposition(report)))?;
    }
    put(&dir.join("report.html"), &html(report))?;
    put(&dir.join("summary.md"), &summary(report))?;
    put(&dir.join("junit.xml"), &junit(report))?;
    // Last, so that a folder with a report is a whole one.
    put(&dir.join("report.json"), &(serde_json::to_string_pretty(report)? + "\n"))
}

/// The line of `events.ndjson` that tells of a fault.
#[must_use]
pub fn fault_line(run_id: &str, played: &Schedule, fault: &Injection) -> Value {
    json!({
        "at_us": fault.injected_at, "level": "info", "event": "chaos_fault_injected", "run_id": run_id,
        "mode": played.mode, "seed": played.seed, "fault_id": fault.id, "fault": fault.kind, "victim": fault.victim,
        "project_id": fault.project, "agent_role": fault.role, "confirmed": fault.probe.is_ok(),
        "probe": fault.probe.as_ref().err(),
    })
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
        let beside = Beside { schedule: Some(&played.schedule), events: Some(&lines), scraped: Some("up 1\n") };
        write(&dir.path().join("a/b"), &report, beside).expect("written");
        assert_eq!(read(&dir.path().join("a/b")), Ok(report));
        let names: Vec<_> = fs::read_dir(dir.path().join("a/b")).expect("listed").flatten().collect();
        assert_eq!(names.len(), 7);
        assert!(read(dir.path()).is_err_and(|why| why.contains("report.json")));
    }
}
