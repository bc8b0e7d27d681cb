//! From a seed to what a simulated run is beside its faults: policy, ranks, operators, what agents say. Pure.
//!
//! Each has a stream of its own, so that none of them moves another's draws, and each is left out of many seeds: what
//! an installation is like by default has to be played most.

use super::draw::FAULTS_PERCENT;
use crate::seed::{Seed, Stream};
use crate::setting::{Asked, Place, Said, Setting, Word, Wrote};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;

/// Seconds that a window of the breaker may have: of the first a probe is due within half an hour.
const WINDOWS_S: &[u64] = &[300, 900, 1_800, 3_600, 7_200];
/// Seconds of the fleet breaker's window.
const FLEET_WINDOWS_S: &[u64] = &[30, 120, 600, 3_600];
/// Seconds for which an agent says that it has no credit; less than the least is taken as that.
const CREDIT_S: &[u64] = &[1, 60, 120, 300, 3_600];
/// How long a person takes to answer: less than the half of what counts as silence.
const ANSWER_MS: (u64, u64) = (500, 240_000);
/// How long something rests before whoever put it to rest lets it go on.
const RESTS_MS: (u64, u64) = (20, 200_000);

/// The setting of a run of so many projects and roles.
pub(super) fn draw(seed: Seed, projects: u32, roles: u32, duration_ms: u64) -> Setting {
    let end = (duration_ms * FAULTS_PERCENT / 100).max(1);
    let asked = asked(&mut seed.stream("sim.operators"), projects, end);
    Setting {
        policy: policy(&mut seed.stream("sim.policy"), projects),
        places: places(&mut seed.stream("sim.places"), projects, end),
        attended: !asked.is_empty() || seed.stream("sim.attended").below(2) == 0,
        asked,
        said: said(&mut seed.stream("sim.words"), projects, roles, end),
    }
}

fn small(stream: &mut Stream, low: u64, high: u64) -> u32 {
    u32::try_from(stream.between(low, high)).unwrap_or(1)
}

/// One installation in two has its own limits: each of them often the default, and never what it may not be.
fn policy(stream: &mut Stream, projects: u32) -> Option<Policy> {
    if stream.below(2) == 0 {
        return None;
    }
    let default = Policy::default();
    let mut policy = Policy { max_active: projects.max(default.max_active), ..default };
    if stream.below(3) > 0 {
        policy.max_active = small(stream, 1, u64::from(projects));
    }
    if stream.below(2) == 0 {
        policy.breaker_max = small(stream, 1, 5);
    }
    if stream.below(2) == 0 {
        policy.breaker_window_s = WINDOWS_S[stream.index(WINDOWS_S.len())];
    }
    if stream.below(2) == 0 {
        policy.probes_max = small(stream, 1, 3);
    }
    if stream.below(2) == 0 {
        policy.backoff_base_s = stream.between(1, 20);
        policy.backoff_cap_s = stream.between(policy.backoff_base_s, 300);
    }
    if stream.below(2) == 0 {
        policy.fleet_breaker_max = small(stream, 1, 2);
        policy.fleet_breaker_window_s = FLEET_WINDOWS_S[stream.index(FLEET_WINDOWS_S.len())];
    }
    if stream.below(4) == 0 {
        policy.unknown_s = stream.between(10, 600);
    }
    Some(policy)
}

/// In one run of two projects have ranks and batches, and some of them come later.
fn places(stream: &mut Stream, projects: u32, end: u64) -> Vec<Place> {
    if stream.below(2) == 0 {
        return Vec::new();
    }
    let mut place = || {
        let priority = i32::try_from(stream.below(5)).unwrap_or(0) - 2;
        let batch = (stream.below(2) == 0).then(|| format!("batch-{}", stream.below(2)));
        let at_ms = if stream.below(3) == 0 { stream.below(end) } else { 0 };
        Place { at_ms, priority, batch }
    };
    (0..projects).map(|_| place()).collect()
}

/// In one run of two operators ask for something.
fn asked(stream: &mut Stream, projects: u32, end: u64) -> Vec<Asked> {
    if stream.below(2) == 0 {
        return Vec::new();
    }
    let mut asked = Vec::new();
    for _ in 0..=stream.below(u64::from(projects) * 2) {
        let at_ms = stream.below(end);
        let project = Some(u32::try_from(stream.below(u64::from(projects))).unwrap_or(0));
        let looks = stream.below(2) == 0;
        let kind = match stream.below(12) {
            0..4 => RequestKind::Suspend,
            4..7 => RequestKind::Retry,
            7..9 => RequestKind::Cancel,
            9 => RequestKind::Resume,
            _ => RequestKind::BreakerReset,
        };
        let project = project.filter(|_| kind != RequestKind::BreakerReset || stream.below(3) > 0);
        asked.push(Asked { at_ms, project, kind, looks });
        // Who puts something to rest lets it go on, and who ends something may think better of it.
        let then = match kind {
            RequestKind::Suspend if stream.below(4) > 0 => Some(RequestKind::Resume),
            RequestKind::Cancel if stream.below(2) == 0 => Some(RequestKind::Retry),
            RequestKind::Suspend
            | RequestKind::Cancel
            | RequestKind::Retry
            | RequestKind::Resume
            | RequestKind::BreakerReset => None,
        };
        let at_ms = (at_ms + stream.between(RESTS_MS.0, RESTS_MS.1)).min(end);
        asked.extend(then.map(|kind| Asked { at_ms, project, kind, looks }));
    }
    asked.sort_by_key(|asked| asked.at_ms);
    asked
}

/// In one run of two agents say more than their work needs.
fn said(stream: &mut Stream, projects: u32, roles: u32, end: u64) -> Vec<Said> {
    if stream.below(2) == 0 {
        return Vec::new();
    }
    let mut said = Vec::new();
    for _ in 0..=stream.below(u64::from(projects * roles) * 3) {
        let at_ms = stream.below(end);
        let project = u32::try_from(stream.below(u64::from(projects))).unwrap_or(0);
        let role = u32::try_from(stream.below(u64::from(roles))).unwrap_or(0);
        let word = match stream.below(12) {
            0..3 => Word::Idle,
            3..6 => Word::NeedsInput { for_ms: stream.between(ANSWER_MS.0, ANSWER_MS.1) },
            6..8 => Word::Credit { seconds: (stream.below(4) > 0).then(|| CREDIT_S[stream.index(CREDIT_S.len())]) },
            8 => Word::Fail,
            _ => Word::Late {
                wrote: [Wrote::Ack, Wrote::Progress, Wrote::Done, Wrote::Done, Wrote::Fail][stream.index(5)],
            },
        };
        said.push(Said { at_ms, project, role, word });
    }
    said.sort_by_key(|said| said.at_ms);
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is drawn makes sense, every kind of it comes, and each is left out often enough.
    #[test]
    fn all_of_it_comes_and_none_of_it_always() {
        let drawn: Vec<Setting> = (0..400).map(|seed| draw(Seed(seed), 4, 2, 1_800_000)).collect();
        for setting in &drawn {
            assert_eq!(setting.check(4, 2, 1_800_000), Ok(()));
        }
        let some = |has: fn(&Setting) -> bool| drawn.iter().filter(|setting| has(setting)).count();
        let halves = [
            some(|setting| setting.policy.is_some()),
            some(|setting| !setting.places.is_empty()),
            some(|setting| !setting.asked.is_empty()),
            some(|setting| !setting.said.is_empty()),
        ];
        assert!(halves.iter().all(|times| (120..280).contains(times)), "{halves:?}");
        assert!(some(|setting| setting.policy.as_ref().is_some_and(|policy| policy.max_active < 4)) > 50);
        assert!(some(Setting::is_empty) > 5, "the plain one");
        for kind in RequestKind::ALL {
            assert!(drawn.iter().any(|setting| setting.asked.iter().any(|asked| asked.kind == *kind)), "{kind}");
        }
        assert!(drawn.iter().any(|setting| setting.asked.iter().any(|asked| asked.project.is_none())));
        assert!(drawn.iter().any(|setting| setting.said.iter().any(|said| said.word == Word::Fail)));
    }

    #[test]
    fn a_short_run_has_one_too() {
        for seed in 0..200 {
            assert_eq!(draw(Seed(seed), 1, 1, 4_000).check(1, 1, 4_000), Ok(()));
        }
    }
}
