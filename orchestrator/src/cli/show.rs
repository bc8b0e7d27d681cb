//! `orch show ID`: everything about one project, for whoever has to understand it at night.

use super::events;
use super::exit::CliError;
use super::host;
use super::output::{self, Column, Screen, Style, cell};
use super::status::{self, ProjectReport, Snapshot};
use crate::domain::failure::{Failure, Stderr};
use crate::domain::id::ProjectId;
use crate::domain::limits::Policy;
use crate::domain::signal::Entry;
use crate::domain::time::Timestamp;
use crate::domain::trace;
use crate::store::{Mode, OutboxRow, ProjectRow, Store, StoreError};
use crate::telemetry::line::{self, Context, Line};
use crate::telemetry::text::{command, ending, escape, humane, kind, stage};
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// Entries of the timeline.
const TIMELINE: usize = 40;

/// The command line of `orch show`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The project's id, as `orch status` shows it
    #[arg(value_name = "ID")]
    pub id: i64,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// One project, as read at one moment.
#[derive(Debug, Clone)]
pub struct Portrait {
    /// The moment and what surrounds the project.
    pub around: Snapshot,
    /// The project.
    pub project: ProjectRow,
    /// Its newest evidence, if anything ever went wrong.
    pub failure: Option<Failure>,
    /// What was ordered for it and has no outcome yet.
    pub open: Vec<OutboxRow>,
    /// Its last entries in the journal.
    pub timeline: Vec<Entry>,
    /// The installation's mark.
    pub installation: String,
}

/// Shows everything about one project.
///
/// # Errors
/// If there is no readable database, or no such project.
pub fn run(args: &Args, home: &Path, policy: &Policy) -> Result<(), CliError> {
    let path = home.join(host::DATABASE);
    let store = Store::open(&path, Mode::ReadOnly)?;
    let around = Snapshot::around(&store, &path, policy)?;
    let portrait = read(&store, ProjectId(args.id), around)?;
    let screen = Screen::of_stdout();
    if args.json { output::print(&json(&portrait)?) } else { output::print(&text(&portrait, screen)) }
}

/// Reads one project.
///
/// # Errors
/// If it cannot be read, or is not there.
pub fn read(store: &Store, id: ProjectId, around: Snapshot) -> Result<Portrait, CliError> {
    let project = store.project_rows(Some(id))?.pop().ok_or(CliError::NoProject(id.0))?;
    let failure = project.last_failure.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
        StoreError::Unreadable { what: format!("last_failure of project {id}"), why: error.to_string() }
    })?;
    Ok(Portrait {
        failure,
        open: store.outbox_rows(id)?.into_iter().filter(|row| row.resolved.is_none()).collect(),
        timeline: store.last_entries_of(id, TIMELINE)?,
        installation: store.installation()?.unwrap_or_default(),
        project,
        around,
    })
}

/// The portrait for people.
#[must_use]
pub fn text(portrait: &Portrait, screen: Screen) -> String {
    let mut out = String::new();
    header(&mut out, portrait, screen);
    roles(&mut out, portrait, screen);
    if let Some(failure) = &portrait.failure {
        evidence(&mut out, failure, screen);
    }
    open_intents(&mut out, &portrait.open, portrait.around.now, screen);
    timeline(&mut out, &portrait.timeline, screen);
    out
}

fn heading(out: &mut String, screen: Screen, words: &str) {
    let _ = writeln!(out, "\n{}", screen.paint(Style::Bold, words));
}

fn field(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<10} {value}");
}

fn header(out: &mut String, portrait: &Portrait, screen: Screen) {
    let (project, around) = (&portrait.project, &portrait.around);
    let title = format!("#{} {}", project.id, escape(&project.title));
    let _ = writeln!(out, "{}", screen.paint(Style::Bold, &title));
    let since = humane(around.now.since(project.state_since));
    let state = screen.paint(status::style(&project.state), &status::state(project));
    field(out, "state", &format!("{state}, since {since}"));
    if let Some(unknown) = &project.unknown {
        let since = humane(around.now.since(unknown.since));
        field(out, "unknown", &format!("{}, since {since}", escape(&unknown.what)));
    }
    field(out, "epoch", &project.epoch.to_string());
    field(out, "session", project.session.as_deref().unwrap_or("none was asked for yet"));
    let breaker = status::breaker(project, around);
    field(out, "breaker", if breaker.is_empty() { "closed, no attempts" } else { &breaker });
    field(out, "slug", &project.slug);
    field(out, "repository", &escape(&project.repo));
    let trace = trace::trace_id(&portrait.installation, project.id);
    field(out, "trace", &trace);
    if around.serving.is_none() {
        let words = "no orchestrator runs: this is how it stood when the last one stopped";
        field(out, "note", &screen.paint(Style::Warn, words));
    }
}

const ROLES: &[Column] = &[
    Column { head: "  ROLE", right: false, least: None },
    Column { head: "STATE", right: false, least: None },
    Column { head: "EPOCH", right: true, least: None },
    Column { head: "PID", right: true, least: None },
    Column { head: "REPORTED", right: true, least: None },
    Column { head: "BRANCH", right: false, least: None },
    Column { head: "WORKTREE", right: false, least: None },
];

fn roles(out: &mut String, portrait: &Portrait, screen: Screen) {
    heading(out, screen, "Roles");
    let rows: Vec<_> = portrait
        .project
        .roles
        .iter()
        .map(|role| {
            let reported = role.last_progress.map(|at| format!("{} ago", humane(portrait.around.now.since(at))));
            let pid = role.pid.map(|pid| pid.to_string());
            vec![
                cell(format!("  {}", role.name), Style::Plain),
                cell(&role.state, if role.state == "dead" { Style::Bad } else { Style::Plain }),
                cell(role.epoch.to_string(), Style::Plain),
                cell(pid.unwrap_or_else(|| "-".to_owned()), Style::Plain),
                cell(reported.unwrap_or_else(|| "never".to_owned()), Style::Plain),
                cell(role.branch.clone().unwrap_or_default(), Style::Plain),
                cell(role.worktree.clone().unwrap_or_default(), Style::Plain),
            ]
        })
        .collect();
    // Names that somebody will copy are never cut, so no width is given.
    out.push_str(&output::table(ROLES, &rows, Screen { width: None, ..screen }));
}

fn evidence(out: &mut String, failure: &Failure, screen: Screen) {
    heading(out, screen, "Last failure");
    field(out, "kind", kind(failure.kind));
    field(out, "while", stage(failure.stage));
    field(out, "command", &command(failure));
    field(out, "directory", &failure.cwd.as_deref().map_or_else(|| "none".to_owned(), escape));
    field(out, "ending", &ending(failure));
    field(out, "duration", &humane(failure.duration));
    match &failure.stderr {
        Stderr::Text(tail) => block(out, "stderr", tail),
        Stderr::Empty => field(out, "stderr", "captured, and empty"),
        Stderr::Null => field(out, "stderr", "could not be captured"),
    }
    if failure.stdout_tail.trim().is_empty() {
        field(out, "stdout", "empty");
    } else {
        block(out, "stdout", &failure.stdout_tail);
    }
    if let Some(hint) = &failure.hint {
        field(out, "hint", &screen.paint(Style::Warn, &escape(hint)));
    }
    field(out, "quality", &format!("{:.2}", failure.quality()));
}

/// The tail of an output, line by line, each escaped and marked as not ours.
fn block(out: &mut String, name: &str, tail: &str) {
    for (at, line) in tail.trim_end().lines().enumerate() {
        let name = if at == 0 { name } else { "" };
        field(out, name, &format!("| {}", escape(line)));
    }
}

fn open_intents(out: &mut String, open: &[OutboxRow], now: Timestamp, screen: Screen) {
    if open.is_empty() {
        return;
    }
    heading(out, screen, "Under way");
    for row in open {
        let role = row.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
        let since = humane(now.since(row.intended));
        let _ = writeln!(out, "  effect {} {}{role}, intended {since} ago, no outcome yet", row.id, row.effect);
    }
}

fn timeline(out: &mut String, entries: &[Entry], screen: Screen) {
    let head = match entries.len() {
        TIMELINE => format!("Last {TIMELINE} events (UTC)"),
        _ => "Events (UTC)".to_owned(),
    };
    heading(out, screen, &head);
    let mut date = String::new();
    for entry in entries {
        let today = events::date(entry.wall);
        if date != today {
            let _ = writeln!(out, "  {}", screen.paint(Style::Dim, &format!("-- {today} --")));
            date = today;
        }
        let _ = writeln!(out, "  {}", events::bare(entry, screen));
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    project: ProjectReport<'a>,
    repo: &'a str,
    trace_id: String,
    worktrees: Vec<WorktreeReport<'a>>,
    last_failure: Option<&'a Failure>,
    error_quality: Option<f64>,
    open_effects: Vec<OpenReport<'a>>,
    events: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct WorktreeReport<'a> {
    role: &'a str,
    epoch: u32,
    path: Option<&'a str>,
    branch: Option<&'a str>,
}

#[derive(Serialize)]
struct OpenReport<'a> {
    id: i64,
    role: Option<&'a str>,
    effect: &'a str,
    age_ms: u64,
}

/// The portrait as one JSON object on one line: the project as in `orch status --json`, and more about it.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON cannot hold.
pub fn json(portrait: &Portrait) -> Result<String, CliError> {
    let (project, now) = (&portrait.project, portrait.around.now);
    let context =
        Context { run_id: None, mode: line::Mode::Live, seed: None, installation: portrait.installation.clone() };
    let report = Report {
        project: status::report(project, &portrait.around),
        repo: &project.repo,
        trace_id: trace::trace_id(&portrait.installation, project.id),
        worktrees: project
            .roles
            .iter()
            .map(|role| WorktreeReport {
                role: &role.name,
                epoch: role.epoch,
                path: role.worktree.as_deref(),
                branch: role.branch.as_deref(),
            })
            .collect(),
        last_failure: portrait.failure.as_ref(),
        error_quality: portrait.failure.as_ref().map(Failure::quality),
        open_effects: portrait
            .open
            .iter()
            .map(|row| OpenReport {
                id: row.id,
                role: row.role.as_deref(),
                effect: &row.effect,
                age_ms: now.since(row.intended).as_millis(),
            })
            .collect(),
        events: portrait.timeline.iter().map(|entry| Line::new(entry, &context, None)).collect(),
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing;

    fn portrait(id: i64) -> Portrait {
        let built = testing::fleet();
        read(&built.store, ProjectId(id), built.snapshot()).unwrap()
    }

    #[test]
    fn a_running_project() {
        insta::assert_snapshot!(text(&portrait(1), Screen::PLAIN), @r"
        #1 Mobile app, version 2
          state      running, since 15 min 13 s
          epoch      1
          session    p1-ab12-e1
          breaker    closed, no attempts
          slug       p1-ab12
          repository /srv/mobile-app
          trace      cea38c5eb2a215ba79e9a2bfce7bf6c3

        Roles
          ROLE       STATE    EPOCH   PID         REPORTED  BRANCH                     WORKTREE
          developer  working      1  4010  15 min 13 s ago  orch/p1-ab12/developer/e1  worktrees/p1/developer
          tester     done         1  4011            never  orch/p1-ab12/tester/e1     worktrees/p1/tester

        Under way
          effect 2 hand_brief for tester, intended 15 min 15 s ago, no outcome yet

        Events (UTC)
          -- 2026-11-20 --
          12:00:01.000  info   accepted into the queue: Mobile app, version 2 (2 roles)
          12:00:04.100  info   queued -> provisioning after 3.1 s
          12:00:04.100  info   about to ensure worktree for developer (effect 1)
          12:00:04.145  info   provisioning -> launching after 45 ms
          12:00:04.145  info   developer: absent -> starting
          12:00:04.145  info   tester: absent -> starting
          12:00:04.145  info   session p1-ab12-e1 is up
          12:00:04.145  info   developer started (pid 4010)
          12:00:04.145  info   tester started (pid 4011)
          12:00:04.145  info   launching -> briefing after 0 s
          12:00:04.145  info   about to hand brief for tester (effect 2)
          12:00:04.145  info   brief handed to tester
          12:00:06.145  info   developer acknowledged its brief
          12:00:06.145  info   developer: starting -> ready
          12:00:06.145  info   tester acknowledged its brief
          12:00:06.145  info   tester: starting -> ready
          12:00:06.145  info   developer: ready -> working
          12:00:06.145  info   tester: ready -> done
          12:00:06.145  info   tester is done: all\ngreen
          12:00:06.145  info   briefing -> running after 2.0 s
        ");
    }

    #[test]
    fn a_failed_project_shows_its_evidence_and_nothing_of_it_is_obeyed() {
        let shown = text(&portrait(2), Screen::PLAIN);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        insta::assert_snapshot!(shown, @r"
        #2 évil \u{1b}[31mtitle; kill-server #(touch x)
          state      failed, since 15 min 00 s
          epoch      1
          session    p2-ab12-e1
          breaker    closed, no attempts
          slug       p2-ab12
          repository /srv/mobile-app
          trace      42c070d7982f4d416bdb2479d0114f41

        Roles
          ROLE       STATE  EPOCH  PID  REPORTED  BRANCH                     WORKTREE
          developer  dead       1    -     never  orch/p2-ab12/developer/e1  worktrees/p2/developer

        Last failure
          kind       agent_exited
          while      running
          command    claude --continue
          directory  worktrees/p2/developer
          ending     exit code 41
          duration   12.3 s
          stderr     | warming up
                     | \u{1b}[2Jfatal: no API key
          stdout     | thinking…
          hint       is ANTHROPIC_API_KEY set for the agent?
          quality    1.00

        Events (UTC)
          -- 2026-11-20 --
          12:00:02.000  info   accepted into the queue: évil \u{1b}[31mtitle; kill-server #(touch x) (1 role)
          12:00:06.245  info   queued -> provisioning after 4.2 s
          12:00:06.285  info   provisioning -> launching after 40 ms
          12:00:06.285  info   developer: absent -> starting
          12:00:06.285  info   session p2-ab12-e1 is up
          12:00:06.285  info   developer started (pid 4010)
          12:00:06.285  info   launching -> briefing after 0 s
          12:00:06.285  info   developer acknowledged its brief
          12:00:06.285  info   developer: starting -> ready
          12:00:06.285  info   briefing -> running after 0 s
          12:00:18.630  WARN   developer died (pid 4010) after 12.3 s; noticed by pidfd
          12:00:18.630  info   developer: ready -> dead
          12:00:18.630  WARN   cause of death of developer: agent_exited; exit code 41, stderr: \u{1b}[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?
          12:00:18.630  ERROR  given up (agent_exited) while running: claude --continue: exit code 41, stderr: \u{1b}[2Jfatal: no API key; is ANTHROPIC_API_KEY set for the agent?
          12:00:18.630  ERROR  running -> failed after 12.3 s (agent_exited)
        ");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let built = testing::fleet();
        let error = read(&built.store, ProjectId(99), built.snapshot()).unwrap_err();
        assert_eq!(error.line(), "orch: there is no project 99; `orch status` lists them");
    }

    #[test]
    fn the_json_holds_the_same() {
        let value: serde_json::Value = serde_json::from_str(&json(&portrait(2)).unwrap()).unwrap();
        assert_eq!(value["id"], 2);
        assert_eq!(value["last_failure"]["kind"], "agent_exited");
        assert_eq!(value["last_failure"]["stderr_state"], "text");
        assert_eq!(value["open_effects"].as_array().unwrap().len(), 0);
        assert!(value["events"].as_array().unwrap().iter().all(|event| event["seq"].is_i64()));
        let value: serde_json::Value = serde_json::from_str(&json(&portrait(1)).unwrap()).unwrap();
        assert_eq!(value["open_effects"][0]["effect"], "hand_brief");
    }
}
