//! The breaker: exactly N in any window, half-open admits one, nothing launders attempts (G8, S7).

use orchestrator::domain::breaker::{Admission, Breaker, BreakerState, backoff};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::time::{Span, Timestamp};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const W: u64 = 3_600_000_000;

fn spent(at: u64) -> Breaker {
    let policy = Policy::default();
    let mut breaker = Breaker::default();
    for n in 1..=3 {
        assert_eq!(breaker.admit(Timestamp(at), &policy), Admission::Attempt(n));
        breaker.count(Timestamp(at), &policy);
    }
    breaker
}

#[test]
fn the_window_ends_exactly_after_its_length() {
    let policy = Policy::default();
    let breaker = spent(1_000);
    let admit = |at: u64| breaker.admit(Timestamp(at), &policy);
    assert!(matches!(admit(1_000 + W - 1), Admission::Refused(_)), "one microsecond before the end");
    assert_eq!(admit(1_000 + W), Admission::Attempt(1), "exactly at its end");
    assert_eq!(admit(1_000 + W + 1), Admission::Attempt(1), "one microsecond after");
}

#[test]
fn half_open_admits_exactly_one_probe() {
    let policy = Policy::default();
    let mut breaker = spent(0);
    breaker.open(Timestamp(10), &policy);
    assert_eq!(breaker.admit(Timestamp(10 + W - 1), &policy), Admission::Refused(Timestamp(10 + W)));
    assert_eq!(breaker.admit(Timestamp(10 + W), &policy), Admission::Probe);
    breaker.half_open();
    breaker.count(Timestamp(10 + W), &policy);
    assert!(matches!(breaker.admit(Timestamp(10 + W), &policy), Admission::Refused(_)), "the second probe");
    breaker.open(Timestamp(11 + W), &policy);
    assert_eq!((breaker.state, breaker.probes_failed), (BreakerState::Open, 1));
}

#[test]
fn backoff_starts_at_once_doubles_and_is_capped() {
    let policy = Policy::default();
    let mut rng = ChaCha8Rng::from_seed([7; 32]);
    assert_eq!(backoff(0, &policy, &mut rng), Span(0));
    for made in 1..60 {
        let bound = Span::from_secs((10_u64 << (made - 1).min(32)).min(300));
        let drawn: Vec<Span> = (0..50).map(|_| backoff(made, &policy, &mut rng)).collect();
        assert!(drawn.iter().all(|delay| *delay <= bound), "after {made} attempts");
        // Full jitter: the draws spread over the whole of it, so that there is a delay and no two retry in step.
        assert!(drawn.iter().any(|delay| delay.0 > bound.0 / 4 * 3), "after {made} attempts: {drawn:?}");
        assert!(drawn.iter().any(|delay| delay.0 < bound.0 / 4), "after {made} attempts: {drawn:?}");
    }
}

proptest! {
    /// Whatever the history of asking, opening and half-opening: no window of W ever holds more than the budget.
    #[test]
    fn no_sliding_window_exceeds_the_budget(gaps in proptest::collection::vec(0_u64..W, 1..200), ok in any::<u64>()) {
        let policy = Policy::default();
        let mut breaker = Breaker::default();
        let mut at = Timestamp(0);
        let mut made: Vec<u64> = Vec::new();
        for (index, gap) in gaps.into_iter().enumerate() {
            at = at + Span(gap / 7);
            match breaker.admit(at, &policy) {
                Admission::Attempt(_) => { breaker.count(at, &policy); made.push(at.0); }
                Admission::Probe => {
                    breaker.half_open();
                    breaker.count(at, &policy);
                    made.push(at.0);
                    if ok >> (index % 64) & 1 == 1 { breaker.succeeded() } else { breaker.open(at, &policy) }
                }
                Admission::Refused(_) => if breaker.state == BreakerState::Closed { breaker.open(at, &policy) },
            }
        }
        for start in &made {
            let within = made.iter().filter(|at| **at >= *start && **at - *start < W).count();
            prop_assert!(within <= 3, "{within} attempts in the window from {start}");
        }
    }
}
