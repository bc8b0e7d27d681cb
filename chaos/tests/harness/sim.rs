//! The simulator, as one whole.

use chaos::fault::{Kind, Mode};
use chaos::schedule::{Params, Planned, Schedule, VERSION};
use chaos::seed::Seed;
use chaos::sim::campaign::Campaign;
use chaos::sim::draw;
use chaos::sim::replay::{How, play};

fn campaign(seeds: std::ops::Range<u64>) -> Campaign {
    Campaign {
        seeds,
        duration_ms: None,
        projects: None,
        roles: None,
        kinds: draw::kinds(),
        named: false,
        threads: 2,
        fingerprint: false,
    }
}

#[test]
fn seeds_hold() {
    let (mut seeds, mut red) = (0, Vec::new());
    campaign(0..40).play(|played| {
        seeds += 1;
        let against = played.against();
        if !against.is_empty() {
            let seed = played.seed;
            red.push(format!("{}\n  orch-chaos run --mode sim --seed {seed} --events", against.join("\n  ")));
        }
        true
    });
    assert!(red.is_empty(), "{}", red.join("\n"));
    assert_eq!(seeds, 40);
}

/// More threads than seeds, up to the largest number: none begins anew at 0.
#[test]
fn the_last_seeds_are_played_and_no_others() {
    let last = u64::MAX - 2..u64::MAX;
    let mut played = Vec::new();
    Campaign { threads: 4, duration_ms: Some(4_000), ..campaign(last.clone()) }.play(|one| {
        played.push(one.seed);
        played.len() < 4
    });
    assert_eq!(played, last.collect::<Vec<_>>());
}

/// One project of one role, hit once while its agent works.
fn hit(kind: Kind) -> Schedule {
    let role = kind.entry().hits_role.then_some(0);
    let fault = Planned { id: 1, at_ms: 60_000, on_event: None, kind, project: 0, role, params: Params::default() };
    Schedule {
        version: VERSION,
        seed: Seed(3),
        mode: Mode::Sim,
        duration_ms: 600_000,
        control_ms: 240_000,
        projects: 1,
        roles: 1,
        faults: vec![fault],
        story: None,
        violates: None,
        expected: None,
        setting: chaos::setting::Setting::default(),
    }
}

/// These break something so that an operation follows, and then spoil that operation: one fault, not two.
#[test]
fn a_fault_takes_effect_once() {
    for kind in [Kind::CreateReplyLost, Kind::EnterLost, Kind::CommitReplyLost, Kind::SessionKill] {
        let outcome = play(&hit(kind), How::default()).expect("played");
        assert_eq!(outcome.confirmed.get(&kind), Some(&1), "{kind}");
        assert_eq!(outcome.injections.len(), 1, "{kind}");
    }
}

/// A second orchestrator is refused by one that lives, and by one that is stopped; where nobody is, by nobody.
#[test]
fn a_second_orchestrator_counts_where_it_is_refused() {
    let kind = Kind::SecondOrchestrator;
    let with = |other: Option<Kind>, gap_ms: u64| {
        let mut schedule = hit(kind);
        let first = other.map(|kind| Planned { id: 2, at_ms: 60_000 - gap_ms, kind, ..schedule.faults[0].clone() });
        schedule.faults.splice(0..0, first);
        let outcome = play(&schedule, How::default()).expect("played");
        assert_eq!(outcome.violated().count(), 0, "{other:?}");
        (outcome.confirmed.get(&kind).copied(), outcome.starts)
    };
    assert_eq!(with(None, 0), (Some(1), 1));
    assert_eq!(with(Some(Kind::OrchPause), 5_000), (Some(1), 1));
    assert_eq!(with(Some(Kind::OrchKill), 1), (None, 2));
}

/// Another order of windows: with a single window there is none.
#[test]
fn a_window_is_moved_only_where_there_are_two() {
    let kind = Kind::BenignWindowMoved;
    for (roles, moved) in [(1, None), (2, Some(&1))] {
        let schedule = Schedule { roles, ..hit(kind) };
        let outcome = play(&schedule, How::default()).expect("played");
        assert_eq!(outcome.confirmed.get(&kind), moved, "{roles} roles");
        assert_eq!(outcome.violated().count(), 0, "{roles} roles");
    }
}

/// What never came to spoil anything has not taken effect, though it broke something on its way there.
#[test]
fn what_waits_in_vain_has_no_effect() {
    // The world is healed a millisecond later: no session is made, and no brief handed over, in that time.
    for kind in [Kind::CreateReplyLost, Kind::EnterLost] {
        let mut schedule = hit(kind);
        (schedule.duration_ms, schedule.control_ms) = (200_000, 100_000);
        schedule.faults[0].at_ms = 99_999;
        let outcome = play(&schedule, How::default()).expect("played");
        assert_eq!(outcome.injected.get(&kind), Some(&1), "{kind}");
        assert_eq!(outcome.confirmed.get(&kind), None, "{kind}");
        assert!(outcome.injections[0].probe.is_err(), "{kind}");
    }
}
