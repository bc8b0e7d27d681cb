//! The simulator, as one whole.

use chaos::check::witnessed;
use chaos::seed::Seed;
use chaos::sim::draw::{self, Request};
use chaos::sim::{Manner, Outcome, Plan, Sim};
use std::collections::BTreeMap;

fn plan(seed: u64) -> Plan {
    let request = Request { seed: Seed(seed), duration_ms: None, projects: None, roles: None, kinds: draw::kinds() };
    let schedule = draw::draw(&request);
    Plan {
        policy: schedule.policy(),
        schedule,
        manner: Manner { work_us: (60_000_000, 480_000_000), ..Manner::default() },
        blows: Vec::new(),
        crashes: BTreeMap::new(),
        record_points: false,
        fingerprint: false,
    }
}

fn play(seed: u64) -> Outcome {
    let plan = plan(seed);
    let checkers = witnessed::under(plan.schedule.is_calm(), plan.schedule.policy());
    Sim::new(plan).expect("a world").play(checkers)
}

/// A checker that prints everything.
struct Teller;

impl chaos::check::Checker for Teller {
    fn id(&self) -> &'static str {
        "T"
    }
    fn title(&self) -> &'static str {
        "tells"
    }
    fn observe(&mut self, entry: &orchestrator::domain::signal::Entry) {
        let signal = &entry.signal;
        println!(
            "{:>12} seq {} p{:?} {:?}: {}",
            entry.at.0,
            entry.seq,
            signal.project_id.map(|id| id.0),
            signal.agent_role.as_ref().map(|role| &role.0),
            orchestrator::telemetry::text::message(signal)
        );
    }
    fn witness(&mut self, told: &chaos::witness::Witnessed) {
        println!("{:>12}     ~~ {:?}", told.at.0, told.fact);
    }
    fn finish(&mut self, _: &chaos::check::Evidence<'_>) -> chaos::check::Verdict {
        chaos::check::Tally::default().verdict("")
    }
}

fn tell(seed: u64) {
    Sim::new(plan(seed)).expect("a world").play(vec![Box::new(Teller)]);
}

#[test]
fn seeds_hold() {
    let range = std::env::var("SEEDS").unwrap_or_else(|_| "0..40".to_owned());
    let (from, to) = range.split_once("..").expect("a range");
    let began = std::time::Instant::now();
    let mut by: BTreeMap<String, u32> = BTreeMap::new();
    let mut bad = 0;
    for seed in from.parse::<u64>().expect("from")..to.parse().expect("to") {
        let outcome = play(seed);
        let mut violated: Vec<String> =
            outcome.violated().map(|finding| format!("{}: {}", finding.id, finding.verdict.violations[0])).collect();
        violated.extend(outcome.broke.clone().map(|why| format!("broke: {why}")));
        if !violated.is_empty() {
            bad += 1;
            for line in &violated {
                *by.entry(line.split(':').next().unwrap_or("").to_owned()).or_insert(0) += 1;
            }
            let kinds: Vec<_> = plan(seed).schedule.faults.iter().map(|f| f.kind.name()).collect();
            if std::env::var("TELL").is_ok() {
                tell(seed);
            }
            println!("seed {seed} {kinds:?}: {violated:#?}");
        }
    }
    println!("{bad} bad; {by:?}; {:?}", began.elapsed());
}
