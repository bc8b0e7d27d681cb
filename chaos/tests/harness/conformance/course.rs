//! The same schedule, played in both modes: every project and every role takes the same way through its states.

use crate::ground::{CHAOS, alone, folder, orch};
use chaos::check::{Checker, Evidence, Tally, Verdict};
use chaos::fault::{Kind, Mode, Victim};
use chaos::history::Logged;
use chaos::live::{Config, Planted, Stop, run_live};
use chaos::schedule::{Params, Planned, Schedule, VERSION};
use chaos::seed::Seed;
use chaos::sim::{Manner, Plan, Sim};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// A project, or one role of it (counted from 0: the modes name roles differently), and the moves it made.
type Ways = BTreeMap<(i64, Option<u32>), Vec<String>>;

/// Live, a fault waits until its project works again; the simulation has time enough for that.
const SLOWER: u64 = 20;
const SIM_MS: u64 = 400_000;

fn fault(id: u32, at_ms: u64, kind: Kind, role: Option<u32>) -> Planned {
    let victim = (kind == Kind::StderrNull).then_some(Victim::Agent);
    Planned { id, at_ms, on_event: None, kind, project: 0, role, params: Params { victim, for_ms: None } }
}

fn schedule(faults: Vec<Planned>) -> Schedule {
    let (mode, duration_ms, control_ms) = (Mode::Live, 4_000, 600);
    Schedule {
        version: VERSION,
        seed: Seed(5),
        mode,
        duration_ms,
        control_ms,
        projects: 2,
        roles: 2,
        faults,
        setting: chaos::setting::Setting::default(),
        story: None,
        violates: None,
        expected: None,
    }
}

fn follow(ways: &mut Ways, entry: &Entry, first_role: u32) {
    let signal = &entry.signal;
    let Some(project) = signal.project_id else { return };
    let number = |name: &str| name.rsplit('-').next().and_then(|number| number.parse::<u32>().ok());
    let role = signal.agent_role.as_ref().and_then(|role| number(&role.0)).map(|number| number - first_role);
    let (role, moved) = if let What::ProjectMoved { from, to, cause, .. } = &signal.what {
        (None, format!("{from:?} > {to:?} {}", cause.map_or(String::new(), |cause| format!("({cause:?})"))))
    } else if let What::RoleMoved { from, to } = &signal.what {
        (role, format!("{from:?} > {to:?}"))
    } else {
        return;
    };
    ways.entry((project.0, role)).or_default().push(moved);
}

fn live(schedule: &Schedule) -> Ways {
    let dir = folder();
    let config = Config {
        id: "conformance".to_owned(),
        schedule: schedule.clone(),
        orch: orch().to_owned(),
        guard: PathBuf::from(CHAOS),
        out: dir.path().to_owned(),
        keep: false,
    };
    let finished = run_live(&config, &Planted::none(), &Stop::default(), &|_| {}).expect("a report");
    assert!(finished.why.is_none(), "cut short");
    let text = std::fs::read_to_string(dir.path().join("events.ndjson")).expect("events");
    let mut ways = Ways::new();
    // The harness's own lines are no entries.
    text.lines().filter_map(|line| Logged::parse(line).ok()).for_each(|logged| follow(&mut ways, &logged.entry, 1));
    ways
}

/// Writes down what is told.
struct Follower(Rc<RefCell<Ways>>);

impl Checker for Follower {
    fn id(&self) -> &'static str {
        "C"
    }
    fn title(&self) -> &'static str {
        "follows"
    }
    fn observe(&mut self, entry: &Entry) {
        follow(&mut self.0.borrow_mut(), entry, 0);
    }
    fn finish(&mut self, _: &Evidence<'_>) -> Verdict {
        Tally::default().verdict("")
    }
}

fn simulated(schedule: &Schedule) -> Ways {
    let mut schedule = Schedule { mode: Mode::Sim, duration_ms: SIM_MS, control_ms: 1_000, ..schedule.clone() };
    schedule.faults.iter_mut().for_each(|fault| fault.at_ms = (fault.at_ms + 1_000) * SLOWER);
    let manner = Manner { work_us: (150_000_000, 150_000_000), progress_us: 2_000_000, ..Manner::default() };
    let plan = Plan {
        schedule,
        manner,
        policy: Policy::default(),
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: false,
        fingerprint: false,
    };
    let ways = Rc::default();
    let outcome = Sim::new(plan).expect("a world").play(vec![Box::new(Follower(Rc::clone(&ways)))]);
    assert_eq!(outcome.broke, None);
    ways.take()
}

fn same(faults: Vec<Planned>) {
    let schedule = schedule(faults);
    assert_eq!(schedule.check(), Ok(()));
    let _alone = alone();
    let (live, simulated) = (live(&schedule), simulated(&schedule));
    assert_eq!(live.len(), 6, "two projects with two roles each: {live:#?}");
    assert_eq!(simulated, live, "simulated, live");
}

#[test]
fn a_killed_session_takes_the_same_course_in_both_modes() {
    same(vec![fault(1, 800, Kind::SessionKill, None)]);
}

#[test]
fn a_deleted_file_and_a_killed_orchestrator_take_the_same_course_in_both_modes() {
    same(vec![fault(1, 800, Kind::ClaudeMdDelete, Some(1)), fault(2, 2_400, Kind::OrchKill, None)]);
}

#[test]
fn an_agent_that_ends_without_a_word_takes_the_same_course_in_both_modes() {
    same(vec![fault(1, 800, Kind::StderrNull, Some(0))]);
}
