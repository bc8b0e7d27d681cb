//! `orch status`: how everything stands, on one screen or as JSON.

use super::exit::CliError;
use super::host;
use super::output::{self, Cell, Column, Screen, Style, cell};
use crate::domain::breaker::BreakerState;
use crate::domain::limits::Policy;
use crate::domain::time::{Span, Timestamp};
use crate::env::process;
use crate::runtime;
use crate::store::{LeaseRow, Mode, ProjectRow, RoleRow, Store};
use crate::telemetry::text::{escape, humane};
use serde::Serialize;
use std::path::Path;

/// The command line of `orch status`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// One JSON object instead of a table; every duration in it is an age in milliseconds
    #[arg(long)]
    pub json: bool,
}

/// The lease is renewed every ten seconds; a holder that missed two renewals is worth a word.
const SILENT: Span = Span::from_secs(30);

/// Everything the command shows, as read at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The moment.
    pub now: Timestamp,
    /// The breaker's window, which says which attempts still count.
    pub window: Span,
    /// Who serves; none if nobody does, whatever the lease says.
    pub serving: Option<LeaseRow>,
    /// Why the store could not take a commit, if that is so.
    pub degraded: Option<String>,
    /// The fleet's breaker.
    pub fleet: FleetBreaker,
    /// All projects.
    pub projects: Vec<ProjectRow>,
}

impl Snapshot {
    /// What surrounds the projects of the database at `path` now; none of them is read.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn around(store: &Store, path: &Path, policy: &Policy) -> Result<Self, CliError> {
        let now = host::now(store)?;
        Ok(Self {
            now,
            window: policy.breaker_window(),
            serving: store.lease()?.filter(|lease| !lease.released && process::is_alive(lease.holder)),
            degraded: host::degraded(path),
            fleet: FleetBreaker::read(store, now, policy)?,
            projects: Vec::new(),
        })
    }
}

/// The fleet's breaker as it stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct FleetBreaker {
    /// Whether it keeps queued projects from being admitted.
    pub open: bool,
    /// Projects whose breakers opened within its window.
    pub breakers: u32,
    /// How many may.
    pub max: u32,
}

impl FleetBreaker {
    /// Reads it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn read(store: &Store, now: Timestamp, policy: &Policy) -> Result<Self, CliError> {
        let (open, breakers) = store.fleet_breaker(now, policy.fleet_breaker_window())?;
        Ok(Self { open, breakers, max: policy.fleet_breaker_max })
    }

    /// In words.
    pub(super) fn words(self) -> String {
        let Self { breakers, max, .. } = self;
        if self.open {
            format!("fleet breaker open (openings in its window: {breakers}, allowed: {max}), the queue waits")
        } else {
            format!("fleet breaker closed (openings in its window: {breakers}, allowed: {max})")
        }
    }
}

/// Shows how everything stands.
///
/// # Errors
/// If there is no readable database.
pub fn run(args: &Args, home: &Path, policy: &Policy) -> Result<(), CliError> {
    let path = home.join(host::DATABASE);
    let told = runtime::told(&home.join("run")).map(|trouble| trouble.reason);
    let store = match (Store::open(&path, Mode::ReadOnly), &told) {
        (Err(_), Some(reason)) => return Err(CliError::Degraded(reason.clone())),
        (opened, _) => opened?,
    };
    let around = Snapshot::around(&store, &path, policy)?;
    let snapshot = Snapshot { degraded: told.or(around.degraded), projects: store.project_rows(None)?, ..around };
    if args.json { output::print(&json(&snapshot)?) } else { output::print(&table(&snapshot, Screen::of_stdout())) }
}

const COLUMNS: &[Column] = &[
    Column { head: "ID", right: true, least: None },
    Column { head: "TITLE", right: false, least: Some(12) },
    Column { head: "STATE", right: false, least: None },
    Column { head: "SINCE", right: true, least: None },
    Column { head: "EPOCH", right: true, least: None },
    Column { head: "SESSION", right: false, least: Some(8) },
    Column { head: "ROLES", right: false, least: Some(16) },
    Column { head: "BREAKER", right: false, least: Some(12) },
];

/// The table for people.
#[must_use]
pub fn table(snapshot: &Snapshot, screen: Screen) -> String {
    let mut out = format!("{}\n", header(snapshot, screen));
    if snapshot.projects.is_empty() {
        out.push_str("no projects; `orch enqueue SPEC` adds one\n");
        return out;
    }
    let rows: Vec<Vec<Cell>> = snapshot.projects.iter().map(|project| row(project, snapshot)).collect();
    out.push_str(&output::table(COLUMNS, &rows, screen));
    out
}

/// The first line: who serves, and whether tmux and the store can be relied on.
fn header(snapshot: &Snapshot, screen: Screen) -> String {
    let orchestrator = match &snapshot.serving {
        Some(lease) => {
            let since = humane(snapshot.now.since(lease.since));
            let said = format!("orchestrator pid {}, since {since}", lease.holder.pid);
            match stale(lease, snapshot.now) {
                Some(silent) => screen.paint(Style::Warn, &format!("{said}, silent for {}", humane(silent))),
                None => screen.paint(Style::Good, &said),
            }
        }
        None => screen.paint(Style::Bad, "orchestrator not running"),
    };
    let tmux = tmux(snapshot);
    let tmux = screen.paint(if tmux == "alive" { Style::Good } else { Style::Warn }, &format!("tmux {tmux}"));
    let store = match &snapshot.degraded {
        None => screen.paint(Style::Good, "store ok"),
        Some(why) => screen.paint(Style::Bad, &format!("store degraded ({why})")),
    };
    if snapshot.fleet.open {
        let fleet = screen.paint(Style::Bad, &snapshot.fleet.words());
        return format!("{orchestrator} · {tmux} · {store} · {fleet}");
    }
    format!("{orchestrator} · {tmux} · {store}")
}

/// For how long the holder has not renewed its lease, if that is too long: it is alive, but stopped or hung.
fn stale(lease: &LeaseRow, now: Timestamp) -> Option<Span> {
    let silent = now.since(lease.renewed);
    (silent > SILENT).then_some(silent)
}

/// What is known of tmux: only who serves it knows, so without anybody serving it is unknown.
fn tmux(snapshot: &Snapshot) -> &str {
    snapshot.serving.as_ref().map_or("unknown", |lease| lease.tmux.as_str())
}

fn row(project: &ProjectRow, snapshot: &Snapshot) -> Vec<Cell> {
    let state = state(project);
    let roles: Vec<String> = project.roles.iter().map(|role| format!("{} {}", role.name, role.state)).collect();
    vec![
        cell(project.id.to_string(), Style::Plain),
        cell(escape(&project.title), Style::Bold),
        cell(state, style(&project.state)),
        cell(humane(snapshot.now.since(project.state_since)), Style::Plain),
        cell(project.epoch.to_string(), Style::Plain),
        cell(project.session.clone().unwrap_or_default(), Style::Plain),
        cell(roles.join(", "), Style::Plain),
        cell(breaker(project, snapshot), Style::Warn),
    ]
}

/// The state with why it is suspended, and whether it would go on if there were a slot.
pub(super) fn state(project: &ProjectRow) -> String {
    let waits = if project.waits { ", waits for a slot" } else { "" };
    match &project.reason {
        Some(reason) => format!("{} ({reason}{waits})", project.state),
        None => project.state.clone(),
    }
}

/// The breaker in words; nothing while it is closed and unused.
pub(super) fn breaker(project: &ProjectRow, snapshot: &Snapshot) -> String {
    let breaker = &project.breaker;
    let attempts = breaker.in_window(snapshot.now, snapshot.window);
    if breaker.state == BreakerState::Closed && attempts == 0 {
        return String::new();
    }
    let plural = if attempts == 1 { "" } else { "s" };
    let mut text = format!("{}, {attempts} attempt{plural}", breaker.state);
    if let Some(retry_at) = breaker.retry_at {
        text.push_str(&format!(", probe in {}", humane(retry_at.since(snapshot.now))));
    }
    text
}

pub(super) fn style(state: &str) -> Style {
    match state {
        "running" | "completed" => Style::Good,
        "recovering" | "suspended" => Style::Warn,
        "failed" => Style::Bad,
        "cancelled" => Style::Dim,
        _ => Style::Plain,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    tmux: &'a str,
    store: &'static str,
    orchestrator: Option<Orchestrator>,
    fleet_breaker: FleetBreakerReport,
    projects: Vec<ProjectReport<'a>>,
}

#[derive(Serialize)]
struct Orchestrator {
    pid: u32,
    since_ms: u64,
    renewed_ms: u64,
}

/// The fleet's breaker as the JSON forms of `status` and `breaker` give it.
#[derive(Serialize)]
pub(super) struct FleetBreakerReport {
    state: BreakerState,
    breakers: u32,
    max: u32,
}

impl From<FleetBreaker> for FleetBreakerReport {
    fn from(fleet: FleetBreaker) -> Self {
        let state = if fleet.open { BreakerState::Open } else { BreakerState::Closed };
        Self { state, breakers: fleet.breakers, max: fleet.max }
    }
}

#[derive(Serialize)]
struct UnknownReport<'a> {
    what: &'a str,
    age_ms: u64,
}

/// A project as the JSON forms of `status` and `show` give it.
#[derive(Serialize)]
pub(super) struct ProjectReport<'a> {
    id: i64,
    title: &'a str,
    slug: &'a str,
    state: &'a str,
    reason: Option<&'a str>,
    waits_for_slot: bool,
    unknown: Option<UnknownReport<'a>>,
    epoch: u32,
    session: Option<&'a str>,
    state_age_ms: u64,
    roles: Vec<RoleReport<'a>>,
    breaker: BreakerReport,
}

#[derive(Serialize)]
struct RoleReport<'a> {
    name: &'a str,
    state: &'a str,
    pid: Option<u32>,
    last_progress_ms: Option<u64>,
}

#[derive(Serialize)]
struct BreakerReport {
    state: BreakerState,
    attempts: u32,
    retry_in_ms: Option<u64>,
}

/// The JSON object of DESIGN.md, section 5, on one line.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON cannot hold.
pub fn json(snapshot: &Snapshot) -> Result<String, CliError> {
    let report = Report {
        tmux: tmux(snapshot),
        store: if snapshot.degraded.is_some() { "degraded" } else { "ok" },
        orchestrator: snapshot.serving.as_ref().map(|lease| Orchestrator {
            pid: lease.holder.pid,
            since_ms: snapshot.now.since(lease.since).as_millis(),
            renewed_ms: snapshot.now.since(lease.renewed).as_millis(),
        }),
        fleet_breaker: snapshot.fleet.into(),
        projects: snapshot.projects.iter().map(|project| report(project, snapshot)).collect(),
    };
    Ok(serde_json::to_string(&report)? + "\n")
}

pub(super) fn report<'a>(project: &'a ProjectRow, snapshot: &Snapshot) -> ProjectReport<'a> {
    let breaker = &project.breaker;
    ProjectReport {
        id: project.id.0,
        title: &project.title,
        slug: &project.slug,
        state: &project.state,
        reason: project.reason.as_deref(),
        waits_for_slot: project.waits,
        unknown: project.unknown.as_ref().map(|unknown| UnknownReport {
            what: &unknown.what,
            age_ms: snapshot.now.since(unknown.since).as_millis(),
        }),
        epoch: project.epoch,
        session: project.session.as_deref(),
        state_age_ms: snapshot.now.since(project.state_since).as_millis(),
        roles: project.roles.iter().map(|role| role_report(role, snapshot.now)).collect(),
        breaker: BreakerReport {
            state: breaker.state,
            attempts: breaker.in_window(snapshot.now, snapshot.window),
            retry_in_ms: breaker.retry_at.map(|at| at.since(snapshot.now).as_millis()),
        },
    }
}

fn role_report(role: &RoleRow, now: Timestamp) -> RoleReport<'_> {
    RoleReport {
        name: &role.name,
        state: &role.state,
        pid: role.pid,
        last_progress_ms: role.last_progress.map(|at| now.since(at).as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing;

    #[test]
    fn the_table_says_how_everything_stands() {
        let built = testing::fleet();
        insta::assert_snapshot!(table(&built.snapshot(), Screen::PLAIN), @r"
        orchestrator pid 815, since 15 min 19 s · tmux alive · store ok
        ID  TITLE                                         STATE                      SINCE  EPOCH  SESSION     ROLES                           BREAKER
         1  Mobile app, version 2                         running              15 min 13 s      1  p1-ab12-e1  developer working, tester done
         2  évil \u{1b}[31mtitle; kill-server #(touch x)  failed               15 min 00 s      1  p2-ab12-e1  developer dead
         3  日本語のプロジェクト                          suspended (breaker)  15 min 00 s      1  p3-ab12-e1  developer dead                  open, 3 attempts, probe in 45 min 00 s
         4  Waits for a slot                              queued               15 min 15 s      0              developer absent
        ");
    }

    #[test]
    fn the_table_fits_a_narrow_terminal() {
        let built = testing::fleet();
        let text = table(&built.snapshot(), Screen { width: Some(110), colour: false });
        for line in text.lines().skip(1) {
            assert!(output::display_width(line) <= 110, "{line}");
        }
        insta::assert_snapshot!(text, @r"
        orchestrator pid 815, since 15 min 19 s · tmux alive · store ok
        ID  TITLE              STATE                      SINCE  EPOCH  SESSION     ROLES             BREAKER
         1  Mobile app, vers…  running              15 min 13 s      1  p1-ab12-e1  developer worki…
         2  évil \u{1b}[31mt…  failed               15 min 00 s      1  p2-ab12-e1  developer dead
         3  日本語のプロジェ…  suspended (breaker)  15 min 00 s      1  p3-ab12-e1  developer dead    open, 3 attempt…
         4  Waits for a slot   queued               15 min 15 s      0              developer absent
        ");
    }

    #[test]
    fn without_anybody_serving_nothing_is_known_of_tmux() {
        let built = testing::fleet();
        let snapshot = Snapshot { serving: None, projects: Vec::new(), ..built.snapshot() };
        insta::assert_snapshot!(table(&snapshot, Screen::PLAIN), @"
        orchestrator not running · tmux unknown · store ok
        no projects; `orch enqueue SPEC` adds one
        ");
        let value: serde_json::Value = serde_json::from_str(&json(&snapshot).unwrap()).unwrap();
        assert_eq!(value["tmux"], "unknown");
        assert!(value["orchestrator"].is_null());
    }

    #[test]
    fn a_holder_that_is_silent_is_said_to_be() {
        let built = testing::fleet();
        let mut snapshot = Snapshot { projects: Vec::new(), ..built.snapshot() };
        assert!(!table(&snapshot, Screen::PLAIN).contains("silent"));
        if let Some(lease) = &mut snapshot.serving {
            lease.renewed = Timestamp(snapshot.now.0 - 31_000_000);
        }
        assert!(table(&snapshot, Screen::PLAIN).contains("orchestrator pid 815, since 15 min 19 s, silent for 31"));
    }

    #[test]
    fn an_open_fleet_breaker_and_what_is_unknown_are_said() {
        let built = testing::fleet();
        let fleet = FleetBreaker { open: true, breakers: 6, max: 5 };
        let mut snapshot = Snapshot { fleet, ..built.snapshot() };
        snapshot.projects.retain(|project| project.id.0 == 3);
        snapshot.projects[0].waits = true;
        let since = Timestamp(snapshot.now.0 - 600_000_000);
        snapshot.projects[0].unknown =
            Some(crate::domain::project::Unknown { what: "all".to_owned(), since, heals: true });
        let text = table(&snapshot, Screen::PLAIN);
        assert!(
            text.contains(" · fleet breaker open (openings in its window: 6, allowed: 5), the queue waits\n"),
            "{text}"
        );
        assert!(text.contains("suspended (breaker, waits for a slot)"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&json(&snapshot).unwrap()).unwrap();
        assert_eq!(
            (&value["fleet_breaker"]["state"], &value["fleet_breaker"]["breakers"]),
            (&"open".into(), &6.into())
        );
        assert_eq!(value["projects"][0]["waits_for_slot"], true);
        assert_eq!(value["projects"][0]["unknown"]["age_ms"], 600_000);
    }

    #[test]
    fn a_store_that_cannot_be_written_is_said_to_be_degraded() {
        let built = testing::fleet();
        let degraded = Some("less than 16 MiB of disk are free".to_owned());
        let snapshot = Snapshot { degraded, projects: Vec::new(), ..built.snapshot() };
        assert!(table(&snapshot, Screen::PLAIN).contains("store degraded (less than 16 MiB"));
        assert!(json(&snapshot).unwrap().contains("\"store\":\"degraded\""));
    }

    #[test]
    fn the_json_is_that_of_the_design() {
        let built = testing::fleet();
        let mut snapshot = built.snapshot();
        snapshot.projects.retain(|project| matches!(project.id.0, 1 | 3));
        insta::assert_snapshot!(json(&snapshot).unwrap().replace("},{", "},\n{").replace(",\"roles\"", ",\n\"roles\""), @r#"
        {"tmux":"alive","store":"ok","orchestrator":{"pid":815,"since_ms":919170,"renewed_ms":5000},"fleet_breaker":{"state":"closed","breakers":1,"max":5},"projects":[{"id":1,"title":"Mobile app, version 2","slug":"p1-ab12","state":"running","reason":null,"waits_for_slot":false,"unknown":null,"epoch":1,"session":"p1-ab12-e1","state_age_ms":913025,
        "roles":[{"name":"developer","state":"working","pid":4010,"last_progress_ms":913025},
        {"name":"tester","state":"done","pid":4011,"last_progress_ms":null}],"breaker":{"state":"closed","attempts":0,"retry_in_ms":null}},
        {"id":3,"title":"日本語のプロジェクト","slug":"p3-ab12","state":"suspended","reason":"breaker","waits_for_slot":false,"unknown":null,"epoch":1,"session":"p3-ab12-e1","state_age_ms":900000,
        "roles":[{"name":"developer","state":"dead","pid":null,"last_progress_ms":null}],"breaker":{"state":"open","attempts":3,"retry_in_ms":2700000}}]}
        "#);
    }

    #[test]
    fn what_the_gauges_count_is_what_the_table_shows() {
        let built = testing::fleet();
        let now = built.snapshot().now;
        let standing = built.store.standing(now, Policy::default().breaker_window()).unwrap();
        let pairs = |counted: &[(&str, u64)]| -> Vec<(String, u64)> {
            counted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        assert_eq!(standing.projects, pairs(&[("failed", 1), ("queued", 1), ("running", 1), ("suspended", 1)]));
        assert_eq!(standing.sessions, pairs(&[("live", 2)]));
        assert_eq!(standing.breakers, pairs(&[("closed", 2), ("open", 1)]));
        assert_eq!(standing.queue_oldest, Some(Timestamp(4_000_000)));
        // Attempts come from their own table, whatever a breaker believes.
        assert_eq!(standing.window_attempts_max, 0);
    }
}
