//! The table: every case on both stages, and whether they say the same.

use super::fake::Fake;
use super::play::Play;
use super::real::Real;
use super::stage::Stage;
use super::{cases, ground, server};
use crate::ground::alone;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A name, and what is played.
pub(crate) type Case = (&'static str, fn(&mut Play<'_>));

type Lines = Vec<(String, String)>;

/// In the simulated world every case is played under so many seeds, and must say the same under each.
const SEEDS: u64 = 12;
/// Most of the real time is waiting.
const AT_ONCE: usize = 4;

fn played(stage: &mut dyn Stage, case: &Case) -> Lines {
    let mut play = Play::on(stage);
    (case.1)(&mut play);
    play.over()
}

fn cases() -> Vec<Case> {
    ground::CASES.iter().chain(cases::CASES).chain(server::CASES).copied().collect()
}

/// Every case in the real world, a few at a time.
fn in_the_real_world(cases: &[Case]) -> Vec<Lines> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            let Some(case) = cases.get(place) else { return done };
            done.push((place, played(&mut Real::new(), case)));
        }
    };
    let mut done = thread::scope(|scope| {
        let hands: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        hands.into_iter().flat_map(|hand| hand.join().expect("played to its end")).collect::<Vec<_>>()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, lines)| lines).collect()
}

#[test]
fn the_simulated_world_answers_as_the_real_one() {
    let cases = cases();
    let fake: Vec<Lines> = cases.iter().map(|case| played(&mut Fake::new(0), case)).collect();
    for seed in 1..SEEDS {
        for (case, first) in cases.iter().zip(&fake) {
            assert_eq!(&played(&mut Fake::new(seed), case), first, "seed {seed}: {}", case.0);
        }
    }
    let _alone = alone();
    let real = in_the_real_world(&cases);
    let (mut table, mut differ) = (String::new(), 0);
    for ((case, fake), real) in cases.iter().zip(&fake).zip(&real) {
        let _ = writeln!(table, "{}", case.0);
        assert_eq!(fake.len(), real.len(), "{}: {fake:?} {real:?}", case.0);
        for ((step, fake), (_, real)) in fake.iter().zip(real) {
            if fake == real {
                let _ = writeln!(table, "    {step:<32} same    {real}");
            } else {
                differ += 1;
                let _ = writeln!(table, "    {step:<32} DIFFER  {real}\n    {:<32}    sim: {fake}", "");
            }
        }
    }
    assert_eq!(differ, 0, "\n{table}");
    let _area = snapshots::area("chaos/conformance");
    insta::assert_snapshot!("table", table);
}
