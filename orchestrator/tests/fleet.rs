//! The fleet's breaker: so many project breakers open at once that no queued project is admitted (G8).

use crate::scripted::{Story, spec};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::event::{Event, PaneEnd, Source};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::{Span, Timestamp};

const SECOND: Span = Span::from_secs(1);
const WINDOW: Span = Span::from_secs(600);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

/// Room for everybody, so that only the breaker can keep a project in the queue.
fn policy() -> Policy {
    Policy { max_active: 20, ..Policy::default() }
}

fn role(n: i64) -> String {
    format!("r{n}")
}

/// Six projects that run.
fn six() -> Story {
    let mut story = Story::begin("P1", &["r1"], policy());
    for n in 2..=6 {
        story.enqueue(&spec(&format!("P{n}"), &[&role(n)]));
    }
    story.run(SECOND);
    for n in 1..=6 {
        assert_eq!(state(&story, n), Some(ProjectState::Running), "project {n}");
    }
    story
}

fn state(story: &Story, n: i64) -> Option<ProjectState> {
    story.core.fleet().project(ProjectId(n)).map(Project::state)
}

/// Kills its agent until its breaker opens; answers when that was.
fn contain(story: &mut Story, n: i64) -> Timestamp {
    for _ in 0..4 {
        story.core.env().end_agent(&role(n), DEAD);
        story.run(Span::from_millis(500));
    }
    assert_eq!(state(story, n), Some(ProjectState::Suspended), "project {n}");
    let opened = |what: &What| matches!(what, What::BreakerMoved { to: BreakerState::Open, .. });
    let entry = story.told.iter().rev().find(|entry| opened(&entry.signal.what)).expect("its breaker is open");
    assert_eq!(entry.signal.project_id, Some(ProjectId(n)));
    entry.at
}

/// The fleet breaker's moves, as (to, projects that count).
fn moves(story: &Story) -> Vec<(BreakerState, u32)> {
    let moved = |what: &What| {
        let What::FleetBreakerMoved { to, breakers, .. } = what else { return None };
        Some((*to, *breakers))
    };
    story.told.iter().filter_map(|entry| moved(&entry.signal.what)).collect()
}

/// Six contained; answers when the first and the second of them were.
fn opened() -> (Story, Timestamp, Timestamp) {
    let mut story = six();
    let first = contain(&mut story, 1);
    let second = contain(&mut story, 2);
    for n in 3..=5 {
        contain(&mut story, n);
    }
    assert_eq!(moves(&story), [], "five are allowed");
    contain(&mut story, 6);
    assert_eq!(moves(&story), [(BreakerState::Open, 6)], "and the sixth is one too many");
    (story, first, second)
}

fn until(story: &mut Story, at: Timestamp) {
    let now = story.core.env().at;
    story.run(at.since(now));
}

#[test]
fn while_it_is_open_nobody_is_admitted_and_it_closes_exactly_with_the_window() {
    let (mut story, first, _) = opened();
    let waits = story.enqueue(&spec("P7", &["r7"]));
    until(&mut story, Timestamp((first + WINDOW).0 - 1));
    assert_eq!((state(&story, waits.0), story.core.fleet().active()), (Some(ProjectState::Queued), 0));
    assert_eq!(moves(&story).len(), 1, "one microsecond before the window's end");
    until(&mut story, first + WINDOW);
    assert_eq!(moves(&story), [(BreakerState::Open, 6), (BreakerState::Closed, 5)], "exactly at its end");
    assert_ne!(state(&story, waits.0), Some(ProjectState::Queued));
    story.run(SECOND);
    assert_eq!(state(&story, waits.0), Some(ProjectState::Running));
    story.run(SECOND * 700);
    assert_eq!(moves(&story).len(), 2, "each is told once");
}

/// Five within the window and one outside are not six.
#[test]
fn openings_that_left_the_window_do_not_count() {
    for (late, open) in [(Span(WINDOW.0 - 1), true), (WINDOW, false), (Span(WINDOW.0 + 1), false)] {
        let mut fleet = orchestrator::domain::fleet::Fleet::new(policy(), Default::default());
        let opening = |n| orchestrator::domain::signal::Signal {
            project_id: Some(ProjectId(n)),
            ..orchestrator::domain::signal::Signal::fleet(What::BreakerMoved {
                from: BreakerState::Closed,
                to: BreakerState::Open,
                attempts: 3,
            })
        };
        for n in 1..=6 {
            fleet.note(&opening(n), Timestamp(1_000));
        }
        fleet.note(&opening(6), Timestamp(1_000) + late);
        let counted = fleet.openings_at(Timestamp(1_000) + late);
        assert_eq!(counted > policy().fleet_breaker_max, open, "after {late:?}: {counted}");
    }
}

#[test]
fn who_runs_goes_on_and_recovers_while_it_is_open() {
    let mut story = six();
    story.enqueue(&spec("P7", &["r7"]));
    story.run(SECOND);
    for n in 1..=6 {
        contain(&mut story, n);
    }
    assert_eq!(moves(&story).len(), 1);
    story.core.env().end_agent("r7", DEAD);
    story.run(SECOND);
    assert_eq!(state(&story, 7), Some(ProjectState::Running), "its recovery is its own breaker's matter");
}

#[test]
fn one_project_that_opens_again_and_again_is_one() {
    let mut story = six();
    for n in 1..=5 {
        contain(&mut story, n);
    }
    for _ in 0..3 {
        let now = orchestrator::env::Env::now(story.core.env());
        let kind = orchestrator::domain::request::RequestKind::BreakerReset;
        story.core.store().request(ProjectId(1), kind, &now).expect("recorded");
        story.core.env().push(Span(1), Source::Spool, Event::SpoolTouched);
        story.run(SECOND);
        contain(&mut story, 1);
    }
    assert_eq!(moves(&story), []);
}

/// kill -9 launders nothing: neither the openings, nor that it is open, nor when it closes.
#[test]
fn a_restart_changes_nothing() {
    let mut story = six();
    for n in 1..=5 {
        contain(&mut story, n);
    }
    story.restart(policy());
    story.run(SECOND);
    contain(&mut story, 6);
    assert_eq!(moves(&story), [(BreakerState::Open, 6)], "what came before the restart counts");

    let (mut story, first, _) = opened();
    let waits = story.enqueue(&spec("P7", &["r7"]));
    until(&mut story, Timestamp((first + WINDOW).0 - 1));
    story.restart(policy());
    assert_eq!((state(&story, waits.0), moves(&story).len()), (Some(ProjectState::Queued), 1));
    until(&mut story, first + WINDOW);
    assert_eq!((state(&story, waits.0) == Some(ProjectState::Queued), moves(&story).len()), (false, 2));

    // Nobody serves while the window ends: the first turn of the next process closes it, before it admits anybody.
    let (mut story, _, second) = opened();
    story.enqueue(&spec("P7", &["r7"]));
    story.core.env().at = second + WINDOW;
    story.restart(policy());
    assert_eq!(moves(&story), [(BreakerState::Open, 6), (BreakerState::Closed, 4)]);
    story.run(SECOND);
    assert_eq!(state(&story, 7), Some(ProjectState::Running));
}

/// Only the timeline counts: whatever the wall clock does, the same happens at the same time.
#[test]
fn a_step_of_the_wall_clock_changes_nothing() {
    let steps = [0, 86_400_000_000, -86_400_000_000];
    let stories: Vec<_> = steps
        .iter()
        .map(|step| {
            let (mut story, first, _) = opened();
            story.core.env().wall_step = *step;
            story.enqueue(&spec("P7", &["r7"]));
            until(&mut story, Timestamp((first + WINDOW).0 - 1));
            let before = moves(&story);
            until(&mut story, first + WINDOW);
            (before, moves(&story), state(&story, 7))
        })
        .collect();
    assert_eq!(stories[0].1.len(), 2);
    assert!(stories.iter().all(|story| *story == stories[0]));
}

fn reset(story: &mut Story) {
    let now = orchestrator::env::Env::now(story.core.env());
    let kind = orchestrator::domain::request::RequestKind::BreakerReset;
    story.core.store().request(None, kind, &now).expect("recorded");
    story.core.env().push(Span(1), Source::Spool, Event::SpoolTouched);
    story.run(SECOND);
}

/// An operator's reset closes it, lets the queue go on, and forgets what it had counted: also over a restart, and for
/// whoever reads the store.
#[test]
fn an_operator_resets_it() {
    for restart in [false, true] {
        let (mut story, _, _) = opened();
        let waits = story.enqueue(&spec("P7", &["r7"]));
        story.run(SECOND);
        assert_eq!(state(&story, waits.0), Some(ProjectState::Queued));
        reset(&mut story);
        assert_eq!(moves(&story), [(BreakerState::Open, 6), (BreakerState::Closed, 0)]);
        assert_eq!(state(&story, waits.0), Some(ProjectState::Running), "the queue goes on");
        if restart {
            story.restart(policy());
            story.run(SECOND);
        }
        let at = story.core.env().at;
        assert_eq!(story.core.store().fleet_breaker(at, WINDOW).expect("read"), (false, 0), "restart: {restart}");
        contain(&mut story, 7);
        assert_eq!(moves(&story).len(), 2, "the sixth counts no more: this is the first");
        let at = story.core.env().at;
        assert_eq!(story.core.store().fleet_breaker(at, WINDOW).expect("read"), (false, 1));
    }
}

#[test]
fn a_reset_of_what_has_counted_nothing_is_refused() {
    let mut story = six();
    reset(&mut story);
    let refused = |entry: &&orchestrator::domain::signal::Entry| {
        entry.signal.project_id.is_none() && matches!(entry.signal.what, What::RequestRefused { .. })
    };
    assert_eq!((story.told.iter().filter(refused).count(), moves(&story)), (1, Vec::new()));
    assert_eq!(story.core.store().untaken_requests(9).expect("read"), Vec::new(), "it is taken");
    let now = orchestrator::env::Env::now(story.core.env());
    let kind = orchestrator::domain::request::RequestKind::Cancel;
    assert!(story.core.store().request(None, kind, &now).is_err(), "nothing else can be asked of the fleet");
}
