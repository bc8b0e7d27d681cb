//! One line of the event log: one entry of the journal as a flat JSON object.
//!
//! A line holds the entry itself (it reads back into [`Entry`]) and around it what a reader needs who has only the
//! file: readable time, level, message, run, trace. Nulls are explicit, so that a missing field always means a
//! damaged line. Spans and instants are microseconds, as in the journal; `ts` and `committed_us` are the only
//! additions that depend on a clock, and in simulation that clock is virtual, so a snapshot needs no redaction.
//!
//! # Mapping to OpenTelemetry
//! `ts` is Timestamp, `committed_us` ObservedTimestamp, `level` SeverityText, `msg` Body, `event` EventName,
//! `trace_id` and `span_id` the same; `run_id` is `service.instance.id`, the rest are attributes under `orch.`.

use super::text;
use crate::domain::signal::{Entry, Level};
use crate::domain::time::{Timestamp, WallTime};
use crate::domain::trace::{span_id, trace_id};
use serde::Serialize;

/// Version of the line's format.
pub const SCHEMA: u32 = 1;

/// Whether the world is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Real tmux, git and clock.
    Live,
    /// The simulator's.
    Sim,
}

/// What every line of one run has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Which run of `orch serve`, or of the simulator, wrote it; none where a line is made from the journal later.
    pub run_id: Option<String>,
    /// Whether the world is real.
    pub mode: Mode,
    /// The simulator's seed.
    pub seed: Option<u64>,
    /// The installation's mark; trace ids derive from it.
    pub installation: String,
}

/// A line before it is text. The order of the fields is the order in the file.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    ts: String,
    schema: u32,
    level: Level,
    msg: String,
    run_id: Option<&'a str>,
    mode: Mode,
    seed: Option<u64>,
    trace_id: Option<String>,
    span_id: Option<String>,
    committed_us: Option<Timestamp>,
    #[serde(flatten)]
    entry: &'a Entry,
    error_quality: Option<f64>,
}

impl<'a> Line<'a> {
    /// The line of one entry. `committed` is the moment at which it was known to be on disk.
    #[must_use]
    pub fn new(entry: &'a Entry, context: &'a Context, committed: Option<Timestamp>) -> Self {
        let signal = &entry.signal;
        let project = signal.project_id;
        Self {
            ts: rfc3339(entry.wall),
            schema: SCHEMA,
            level: signal.level(),
            msg: text::message(signal),
            run_id: context.run_id.as_deref(),
            mode: context.mode,
            seed: context.seed,
            trace_id: project.map(|id| trace_id(&context.installation, id)),
            span_id: project.map(|id| span_id(&context.installation, id, signal.epoch.unwrap_or_default())),
            committed_us: committed,
            entry,
            error_quality: signal.failure().map(|failure| failure.quality()),
        }
    }
}

/// The line of one entry as text, without its newline.
#[must_use]
pub fn json_line(entry: &Entry, context: &Context, committed: Option<Timestamp>) -> String {
    // Strings, integers and finite numbers under string keys: there is nothing in it that JSON cannot hold.
    serde_json::to_string(&Line::new(entry, context, committed)).expect("a line holds only what JSON can")
}

/// A wall-clock time in RFC 3339, UTC, with microseconds; outside the years 1 to 9999 the nearest that has one.
#[must_use]
pub fn rfc3339(wall: WallTime) -> String {
    let at = jiff::Timestamp::from_microsecond(wall.0).unwrap_or(if wall.0 < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    });
    format!("{at:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::samples;

    fn context() -> Context {
        Context { run_id: Some("run-1".to_owned()), mode: Mode::Sim, seed: Some(42), installation: "ab12".to_owned() }
    }

    #[test]
    fn a_line_reads_back_into_its_entry() {
        for (seq, signal) in (1_i64..).zip(samples::every()) {
            let entry = samples::entry(seq, Timestamp(1_500_000), signal);
            let line = json_line(&entry, &context(), Some(Timestamp(1_500_200)));
            assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry, "{line}");
        }
    }

    #[test]
    fn every_line_has_every_common_field_once() {
        let common = [
            "ts",
            "seq",
            "schema",
            "at_us",
            "wall_us",
            "committed_us",
            "level",
            "event",
            "msg",
            "run_id",
            "mode",
            "seed",
            "project_id",
            "session",
            "agent_role",
            "epoch",
            "trace_id",
            "span_id",
            "error_quality",
        ];
        for signal in samples::every() {
            let line = json_line(&samples::entry(1, Timestamp(0), signal), &context(), None);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            for field in common {
                assert!(value.get(field).is_some(), "{field} in {line}");
                assert_eq!(line.matches(&format!("\"{field}\":")).count(), 1, "{field} in {line}");
            }
            if let Some(failure) = value.get("failure") {
                assert!(failure["stderr_state"].is_string(), "{line}");
                assert!(value["error_quality"].as_f64().unwrap() > 0.0, "{line}");
            }
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let bad = "x\n{\"level\":\"error\"}\r\u{2028}\u{0}\u{1b}[2J<script>=cmd()";
        for signal in samples::hostile(bad) {
            let line = json_line(&samples::entry(1, Timestamp(0), signal), &context(), None);
            assert!(!line.contains(['\n', '\r', '\u{1b}', '\u{0}']), "{line:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["seq"], 1);
        }
    }

    #[test]
    fn lines_look_like_this() {
        let signal = samples::every().into_iter().find(|signal| text::name(&signal.what) == "death_explained").unwrap();
        let line = json_line(&samples::entry(9, Timestamp(1_500_000), signal), &context(), Some(Timestamp(1_500_200)));
        insta::assert_snapshot!(line, @r#"{"ts":"2026-11-20T11:59:54.500000Z","schema":1,"level":"warn","msg":"cause of death of developer: agent_exited; exit code 41, stderr empty","run_id":"run-1","mode":"sim","seed":42,"trace_id":"48efc7f83adeb45a18e72fe24734ec1e","span_id":"84357ca5020660e6","committed_us":1500200,"seq":9,"at_us":1500000,"wall_us":1795175994500000,"project_id":7,"agent_role":"developer","epoch":0,"session":"p7-ab12-e2","event":"death_explained","failure":{"stage":"run","kind":"agent_exited","program":"agent","argv":["claude","--continue"],"cwd":"worktrees/p7/developer","ending":{"code":41},"stderr_state":"empty","stdout_tail":"thinking…\n","duration":12345000,"hint":null},"error_quality":0.8}"#);
    }

    #[test]
    fn nulls_are_written() {
        let signal = samples::every().remove(0);
        let live = Context { mode: Mode::Live, seed: None, ..context() };
        insta::assert_snapshot!(json_line(&samples::entry(1, Timestamp(0), signal), &live, None), @r#"{"ts":"2026-11-20T11:59:53.000000Z","schema":1,"level":"info","msg":"orchestrator 0.1.0 started (pid 4711): 1 unfinished project, 2 unconfirmed intents left by its predecessor to be settled by observation","run_id":"run-1","mode":"live","seed":null,"trace_id":null,"span_id":null,"committed_us":null,"seq":1,"at_us":0,"wall_us":1795175993000000,"project_id":null,"agent_role":null,"epoch":null,"session":null,"event":"orchestrator_started","process":{"pid":4711,"start":99},"version":"0.1.0","unfinished":1,"unconfirmed":2,"error_quality":null}"#);
    }

    #[test]
    fn clocks_far_off_still_give_a_time() {
        assert_eq!(rfc3339(WallTime(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(WallTime(-1)), "1969-12-31T23:59:59.999999Z");
        for far in [i64::MIN, i64::MAX] {
            assert!(rfc3339(WallTime(far)).ends_with('Z'));
        }
    }
}
