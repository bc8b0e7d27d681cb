//! `orch retry|cancel|suspend|resume ID` and `orch breaker [reset ID]`: what an operator asks for.
//!
//! A request goes through the database: it is answered after the commit, and done by whoever serves, now or later.

use super::exit::CliError;
use super::host;
use super::output::{self, Column, Screen, Style, cell};
use super::status::{self, FleetBreaker, FleetBreakerReport};
use crate::config::Home;
use crate::domain::breaker::BreakerState;
use crate::domain::id::ProjectId;
use crate::domain::limits::Policy;
use crate::domain::request::{RequestKind, fleet_refusal};
use crate::domain::time::{Span, Timestamp};
use crate::env::process;
use crate::runtime;
use crate::store::{Mode, ProjectRow, Stance, Store, StoreError};
use crate::telemetry::text::{asked, escape, humane};
use serde::Serialize;
use std::path::Path;

/// The command line of `orch retry`, `cancel`, `suspend` and `resume`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Args {
    /// The project's id, as `orch status` shows it
    #[arg(value_name = "ID")]
    pub id: i64,
}

/// The command line of `orch breaker`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BreakerArgs {
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// What to do; without it, list them.
    #[command(subcommand)]
    pub action: Option<BreakerAction>,
}

/// What can be done to a breaker.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum BreakerAction {
    /// Close it and forget what it counted; a project that rests because of it goes on
    Reset(ResetArgs),
}

/// Whose breaker is to be reset.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ResetArgs {
    /// The project's id, as `orch status` shows it
    #[arg(value_name = "ID", required_unless_present = "fleet", conflicts_with = "fleet")]
    pub id: Option<i64>,
    /// The fleet's breaker, which keeps the queue waiting while it is open
    #[arg(long)]
    pub fleet: bool,
}

/// Records the request and says so in one line.
///
/// # Errors
/// If there is no such project, or the request makes no sense for it, or it cannot be recorded; nothing was asked.
pub fn run(kind: RequestKind, args: Args, home: &Home) -> Result<(), CliError> {
    let id = ProjectId(args.id);
    let mut store = Store::open(&home.db(), Mode::Existing)?;
    let Stance { state, breaker, waits } = store.stance(id)?.ok_or(CliError::NoProject(args.id))?;
    if let Some(why) = kind.refusal(state, &breaker, waits) {
        return Err(CliError::Refused { kind, id: args.id, why });
    }
    let request = runtime::request(home, &mut store, id, kind)?;
    output::print(&answer(kind, &format!("project {id}"), request, serving(&store)?))
}

fn serving(store: &Store) -> Result<bool, StoreError> {
    Ok(store.lease()?.is_some_and(|lease| !lease.released && process::is_alive(lease.holder)))
}

/// Asks for a reset of the fleet's breaker.
fn reset_fleet(home: &Home, policy: &Policy) -> Result<(), CliError> {
    let kind = RequestKind::BreakerReset;
    let mut store = Store::open(&home.db(), Mode::Existing)?;
    let breaker = FleetBreaker::read(&store, host::now(&store)?, policy)?;
    if let Some(why) = fleet_refusal(kind, breaker.open, breaker.breakers) {
        return Err(CliError::FleetRefused { kind, why });
    }
    let request = runtime::request(home, &mut store, None, kind)?;
    output::print(&answer(kind, "the fleet", request, serving(&store)?))
}

fn answer(kind: RequestKind, whose: &str, request: i64, serving: bool) -> String {
    let when = if serving { "" } else { "; no orchestrator runs, it will be done when `orch serve` does" };
    format!("asked: {} of {whose} (request {request}){when}\n", asked(kind))
}

/// Lists the breakers, or resets one: a project's, or the fleet's.
///
/// # Errors
/// As [`run`]; listing, if there is no readable database.
pub fn breaker(args: &BreakerArgs, home: &Home, policy: &Policy) -> Result<(), CliError> {
    if let Some(BreakerAction::Reset(which)) = args.action {
        return match which.id {
            Some(id) => run(RequestKind::BreakerReset, Args { id }, home),
            None => reset_fleet(home, policy),
        };
    }
    let list = read(home.dir(), policy)?;
    if args.json { output::print(&json(&list)?) } else { output::print(&table(&list, Screen::of_stdout())) }
}

/// All projects with the moment at which they were read.
struct List {
    now: Timestamp,
    window: Span,
    fleet: FleetBreaker,
    projects: Vec<ProjectRow>,
}

fn read(home: &Path, policy: &Policy) -> Result<List, CliError> {
    let store = Store::open(&home.join(host::DATABASE), Mode::ReadOnly)?;
    let now = host::now(&store)?;
    let fleet = FleetBreaker::read(&store, now, policy)?;
    Ok(List { now, window: policy.breaker_window(), fleet, projects: store.project_rows(None)? })
}

const COLUMNS: &[Column] = &[
    Column { head: "ID", right: true, least: None },
    Column { head: "TITLE", right: false, least: Some(12) },
    Column { head: "STATE", right: false, least: None },
    Column { head: "BREAKER", right: false, least: None },
    Column { head: "ATTEMPTS", right: true, least: None },
    Column { head: "PROBE IN", right: true, least: None },
    Column { head: "PROBES FAILED", right: true, least: None },
];

/// The breakers that have counted anything; the others have nothing to tell.
fn table(list: &List, screen: Screen) -> String {
    let used = |row: &&ProjectRow| row.breaker.state != BreakerState::Closed || !row.breaker.attempts.is_empty();
    let rows: Vec<_> = list
        .projects
        .iter()
        .filter(used)
        .map(|row| {
            let style = if row.breaker.state == BreakerState::Closed { Style::Plain } else { Style::Warn };
            let probe = row.breaker.retry_at.map(|at| humane(at.since(list.now)));
            vec![
                cell(row.id.to_string(), Style::Plain),
                cell(escape(&row.title), Style::Bold),
                cell(&row.state, status::style(&row.state)),
                cell(row.breaker.state.name(), style),
                cell(row.breaker.in_window(list.now, list.window).to_string(), Style::Plain),
                cell(probe.unwrap_or_else(|| "-".to_owned()), Style::Plain),
                cell(row.breaker.probes_failed.to_string(), Style::Plain),
            ]
        })
        .collect();
    if rows.is_empty() {
        return format!("every project's breaker is closed and has counted nothing\n{}\n", list.fleet.words());
    }
    format!("{}{}\n", output::table(COLUMNS, &rows, screen), list.fleet.words())
}

#[derive(Serialize)]
struct Report<'a> {
    window_ms: u64,
    fleet: FleetBreakerReport,
    breakers: Vec<BreakerReport<'a>>,
}

#[derive(Serialize)]
struct BreakerReport<'a> {
    id: i64,
    title: &'a str,
    project_state: &'a str,
    state: BreakerState,
    attempts: u32,
    retry_in_ms: Option<u64>,
    probes_failed: u32,
}

fn json(list: &List) -> Result<String, CliError> {
    let breakers = list.projects.iter().map(|row| BreakerReport {
        id: row.id.0,
        title: &row.title,
        project_state: &row.state,
        state: row.breaker.state,
        attempts: row.breaker.in_window(list.now, list.window),
        retry_in_ms: row.breaker.retry_at.map(|at| at.since(list.now).as_millis()),
        probes_failed: row.breaker.probes_failed,
    });
    let report = Report { window_ms: list.window.as_millis(), fleet: list.fleet.into(), breakers: breakers.collect() };
    Ok(serde_json::to_string(&report)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;
    use crate::cli::{self, testing};
    use crate::domain::time::{Now, WallTime};

    /// A real installation with two projects that wait.
    fn installation() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = runtime::init(&dir.path().join(".orch")).unwrap();
        let mut store = Store::open(&home.db(), Mode::Existing).unwrap();
        let now = Now { at: Timestamp(1), wall: WallTime(1), seed: [0; 32] };
        for title in ["One", "Two"] {
            store.enqueue(&testing::spec(title, &["developer"]), &now).unwrap();
        }
        (dir, home)
    }

    fn orch(home: &Home, words: &[&str]) -> Exit {
        cli::run(["orch", "--home", home.dir().to_str().unwrap()].iter().chain(words))
    }

    fn untaken(home: &Home) -> Vec<(i64, RequestKind)> {
        let store = Store::open(&home.db(), Mode::ReadOnly).unwrap();
        let asked = store.untaken_requests(9).unwrap();
        asked.into_iter().map(|asked| (asked.project.map_or(0, |id| id.0), asked.request.kind)).collect()
    }

    #[test]
    fn a_request_is_in_the_database_when_the_command_has_answered() {
        let (_dir, home) = installation();
        assert_eq!(orch(&home, &["suspend", "1"]), Exit::Ok);
        assert_eq!(orch(&home, &["cancel", "2"]), Exit::Ok);
        assert_eq!(untaken(&home), [(1, RequestKind::Suspend), (2, RequestKind::Cancel)]);
        assert!(home.spool().join("new/.wake").exists(), "whoever serves is woken");
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_recorded() {
        let (_dir, home) = installation();
        assert_eq!(orch(&home, &["breaker", "reset", "--fleet"]), Exit::Data);
        for words in [["breaker", "reset"].as_slice(), &["breaker", "reset", "--fleet", "1"]] {
            assert_eq!(orch(&home, words), Exit::Usage, "{words:?}");
        }
        for words in [vec!["retry", "1"], vec!["resume", "1"], vec!["breaker", "reset", "1"], vec!["cancel", "9"]] {
            assert_eq!(orch(&home, &words), Exit::Data, "{words:?}");
        }
        assert_eq!(untaken(&home), []);
        let why = RequestKind::Resume
            .refusal(crate::domain::state::ProjectState::Running, &Default::default(), false)
            .unwrap();
        let refused = CliError::Refused { kind: RequestKind::Resume, id: 7, why };
        assert_eq!(refused.line(), "orch: refused: resume of project 7: it is not suspended");
        assert_eq!(orch(&home, &["breaker", "--json", "reset", "1"]), Exit::Usage);
    }

    #[test]
    fn the_answer_says_whether_anybody_serves() {
        insta::assert_snapshot!(
            answer(RequestKind::Retry, "project 7", 3, true) + &answer(RequestKind::BreakerReset, "the fleet", 4, false),
            @"
        asked: retry of project 7 (request 3)
        asked: reset the breaker of the fleet (request 4); no orchestrator runs, it will be done when `orch serve` does
        ");
    }

    #[test]
    fn breakers_are_listed() {
        let built = testing::fleet();
        let snapshot = built.snapshot();
        let mut list =
            List { now: snapshot.now, window: snapshot.window, fleet: snapshot.fleet, projects: snapshot.projects };
        insta::assert_snapshot!(table(&list, Screen::PLAIN), @"
        ID  TITLE                 STATE      BREAKER  ATTEMPTS     PROBE IN  PROBES FAILED
         3  日本語のプロジェクト  suspended  open            3  45 min 00 s              0
        fleet breaker closed (openings in its window: 1, allowed: 5)
        ");
        list.projects.retain(|row| row.id.0 >= 3);
        insta::assert_snapshot!(json(&list).unwrap(), @r#"{"window_ms":3600000,"fleet":{"state":"closed","breakers":1,"max":5},"breakers":[{"id":3,"title":"日本語のプロジェクト","project_state":"suspended","state":"open","attempts":3,"retry_in_ms":2700000,"probes_failed":0},{"id":4,"title":"Waits for a slot","project_state":"queued","state":"closed","attempts":0,"retry_in_ms":null,"probes_failed":0}]}"#);
        list.projects.clear();
        assert!(table(&list, Screen::PLAIN).starts_with("every project's breaker is closed and has counted nothing\n"));
        let (_dir, home) = installation();
        assert_eq!(orch(&home, &["breaker"]), Exit::Ok);
        assert_eq!(orch(&home, &["breaker", "--json"]), Exit::Ok);
    }
}
