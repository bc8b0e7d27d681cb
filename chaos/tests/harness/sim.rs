//! The simulator, as one whole.

use chaos::fault::Mode;
use chaos::schedule::{Schedule, VERSION};
use chaos::seed::Seed;
use chaos::sim::{Manner, Plan, Sim};
use orchestrator::domain::limits::Policy;
use std::collections::BTreeMap;

fn quiet(seed: u64, projects: u32, duration_ms: u64) -> Plan {
    let policy = Policy { max_active: projects, ..Policy::default() };
    Plan {
        schedule: Schedule {
            version: VERSION,
            seed: Seed(seed),
            mode: Mode::Sim,
            duration_ms,
            control_ms: duration_ms / 4,
            projects,
            roles: 2,
            faults: Vec::new(),
        },
        manner: Manner::default(),
        policy,
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: false,
    }
}

#[test]
fn a_quiet_day_ends_with_everything_done() {
    let began = std::time::Instant::now();
    let outcome = Sim::new(quiet(1, 50, 86_400_000)).expect("a world").play(Vec::new());
    println!("{outcome:?} {:?}", began.elapsed());
    assert_eq!(outcome.broke, None);
}
