//! Many projects at once: never more than `max_active`, never fewer than could be, in the promised order.

use crate::scripted::{Story, spec};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::event::{Event, PaneEnd, Report, Source};
use orchestrator::domain::id::ProjectId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::What;
use orchestrator::domain::spec::Spec;
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::Span;
use orchestrator::env::Env;
use std::collections::BTreeMap;

const SECOND: Span = Span::from_secs(1);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

fn policy(max_active: u32) -> Policy {
    Policy { max_active, ..Policy::default() }
}

fn one(n: i64, priority: i32, batch: &str) -> Spec {
    Spec { priority, batch: Some(batch.to_owned()), ..spec(&format!("P{n}"), &[&format!("r{n}")]) }
}

fn state(story: &Story, n: i64) -> Option<ProjectState> {
    story.core.fleet().project(ProjectId(n)).map(Project::state)
}

fn ask(story: &mut Story, n: i64, kind: RequestKind) {
    let now = story.core.env().now();
    story.core.store().request(ProjectId(n), kind, &now).expect("recorded");
    story.core.env().push(Span(10), Source::Spool, Event::SpoolTouched);
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

/// From the journal alone: after every move, how many were active and how many waited; and who left the queue when.
fn replay(story: &Story) -> (Vec<(usize, usize)>, Vec<i64>) {
    let mut states: BTreeMap<i64, ProjectState> = BTreeMap::new();
    let (mut counted, mut order) = (Vec::new(), Vec::new());
    for entry in &story.told {
        let Some(id) = entry.signal.project_id.map(|id| id.0) else { continue };
        if matches!(entry.signal.what, What::ProjectEnqueued { .. }) {
            states.insert(id, ProjectState::Queued);
        }
        let What::ProjectMoved { from, to, .. } = &entry.signal.what else { continue };
        assert_eq!(states.insert(id, *to), Some(*from), "project {id}");
        if (*from, *to) == (ProjectState::Queued, ProjectState::Provisioning) {
            order.push(id);
        }
        let active = states.values().filter(|state| state.is_active()).count();
        let queued = states.values().filter(|state| **state == ProjectState::Queued).count();
        counted.push((active, queued));
    }
    (counted, order)
}

/// Lets whoever runs finish, `SECOND * (id % 3 + 1)` after it was seen to run, until nothing is left.
fn work_off(story: &mut Story) {
    let mut told: Vec<i64> = Vec::new();
    for _ in 0..10_000 {
        let running = story.core.fleet().projects().filter(|project| project.state() == ProjectState::Running);
        let new: Vec<i64> = running.map(|project| project.id.0).filter(|id| !told.contains(id)).collect();
        for id in new {
            told.push(id);
            let after = SECOND * (u64::try_from(id).expect("positive") % 3 + 1);
            story.core.env().report(&format!("r{id}"), after, Report::Done(None));
        }
        if story.core.fleet().projects().next().is_none() {
            return;
        }
        story.run(Span::from_millis(100));
    }
    panic!("they never came to an end");
}

#[test]
fn as_many_as_may_and_never_more() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(4));
    for n in 2..=20 {
        story.enqueue(&one(n, 0, "a"));
    }
    work_off(&mut story);
    let (counted, order) = replay(&story);
    assert_eq!(counted.iter().map(|(active, _)| *active).max(), Some(4), "never more, and four did overlap");
    // While anybody waits, a slot is free only within the turn in which it became free.
    let full = counted.iter().filter(|(active, queued)| *active == 4 && *queued > 0).count();
    let free = counted.iter().filter(|(active, queued)| *active < 3 && *queued > 0).count();
    assert!(full > 60, "{full}");
    assert!(free <= 3, "beyond the first admissions: {free}");
    assert_eq!(order, (1..=20).collect::<Vec<_>>());
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { to: ProjectState::Completed, .. })), 20);
}

#[test]
fn priority_first_then_first_come_whatever_the_batch() {
    let mut story = Story::begin_with(&one(1, 0, "night"), policy(1));
    for (n, priority, batch) in
        [(2, 0, "night"), (3, 0, "night"), (4, 0, "day"), (5, 9, "day"), (6, -1, "day"), (7, 0, "night")]
    {
        story.enqueue(&one(n, priority, batch));
    }
    work_off(&mut story);
    assert_eq!(replay(&story).1, [1, 5, 2, 3, 4, 7, 6], "the first had its slot before the others came");
}

/// Faults, rests, resumes and retries in between: the bound holds at every single event.
#[test]
fn the_bound_holds_through_everything_that_operators_and_faults_do() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(3));
    for n in 2..=9 {
        story.enqueue(&one(n, 0, "a"));
    }
    story.run(SECOND);
    for n in 1..=3 {
        ask(&mut story, n, RequestKind::Suspend);
    }
    story.run(SECOND);
    for n in 1..=3 {
        ask(&mut story, n, RequestKind::Resume);
        story.core.env().end_agent(&format!("r{}", n + 3), DEAD);
    }
    story.run(SECOND);
    ask(&mut story, 7, RequestKind::Cancel);
    story.run(SECOND);
    ask(&mut story, 7, RequestKind::Retry);
    work_off(&mut story);
    let (counted, _) = replay(&story);
    assert_eq!(counted.iter().map(|(active, _)| *active).max(), Some(3));
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { to: ProjectState::Completed, .. })), 9);
    assert_eq!(count(&story, |what| matches!(what, What::MoveRefused { .. })), 0);
}

/// Resumed while every slot is taken: it stays suspended, which is told once, and goes before the queue.
#[test]
fn whoever_goes_on_waits_for_a_slot_and_goes_first() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(1));
    story.enqueue(&one(2, 0, "a"));
    story.enqueue(&one(3, 99, "a"));
    story.run(SECOND);
    assert_eq!(state(&story, 1), Some(ProjectState::Running));
    ask(&mut story, 1, RequestKind::Suspend);
    story.run(SECOND);
    assert_eq!(state(&story, 3), Some(ProjectState::Running), "its slot is given on");
    ask(&mut story, 1, RequestKind::Resume);
    story.run(SECOND);
    assert_eq!(state(&story, 1), Some(ProjectState::Suspended));
    assert_eq!(count(&story, |what| matches!(what, What::SlotAwaited { active: 1, max_active: 1 })), 1);
    story.restart(policy(1));
    story.run(SECOND);
    assert_eq!(state(&story, 1), Some(ProjectState::Suspended), "it still waits after a restart");
    story.core.env().report("r3", SECOND, Report::Done(None));
    story.run(SECOND * 2);
    assert_eq!((state(&story, 1), state(&story, 2)), (Some(ProjectState::Running), Some(ProjectState::Queued)));
    assert_eq!(replay(&story).0.iter().map(|(active, _)| *active).max(), Some(1));
}

/// Two in one turn, the younger first: who comes later waits, whatever its number, and that is told of it.
#[test]
fn whoever_asks_for_the_last_slot_first_gets_it() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(2));
    story.enqueue(&one(2, 0, "a"));
    story.run(SECOND);
    for n in [1, 2] {
        ask(&mut story, n, RequestKind::Suspend);
    }
    story.run(SECOND);
    story.restart(policy(1));
    story.run(SECOND);
    for n in [2, 1] {
        ask(&mut story, n, RequestKind::Resume);
    }
    story.run(SECOND);
    assert_eq!((state(&story, 1), state(&story, 2)), (Some(ProjectState::Suspended), Some(ProjectState::Running)));
    let waits = |story: &Story| {
        let told = story.told.iter().filter(|entry| matches!(entry.signal.what, What::SlotAwaited { .. }));
        told.map(|entry| entry.signal.project_id).collect::<Vec<_>>()
    };
    assert_eq!(waits(&story), [Some(ProjectId(1))]);
}

/// The first answer of tmux lets everybody go on in one decision, and there are fewer slots than there were.
#[test]
fn whoever_goes_on_with_others_in_one_decision_is_told_to_wait() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(2));
    story.enqueue(&one(2, 0, "a"));
    story.run(SECOND);
    story.core.env().hang();
    story.run(SECOND * 700);
    story.restart(policy(1));
    story.run(SECOND);
    story.core.env().heal();
    story.run(SECOND * 2);
    assert_eq!((state(&story, 1), state(&story, 2)), (Some(ProjectState::Running), Some(ProjectState::Suspended)));
    assert_eq!(count(&story, |what| matches!(what, What::SlotAwaited { active: 1, max_active: 1 })), 1);
}

#[test]
fn a_rest_between_does_not_lead_around_an_open_breaker() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(1));
    story.run(SECOND);
    for _ in 0..4 {
        story.core.env().end_agent("r1", DEAD);
        story.run(SECOND * 2);
    }
    let breaker = |story: &Story| story.core.fleet().project(ProjectId(1)).map(|project| project.breaker.state);
    assert_eq!(breaker(&story), Some(BreakerState::Open));
    story.enqueue(&one(2, 0, "a"));
    story.run(SECOND);
    for kind in [RequestKind::Resume, RequestKind::Suspend, RequestKind::Resume] {
        ask(&mut story, 1, kind);
        story.run(SECOND);
    }
    assert_eq!((state(&story, 1), breaker(&story)), (Some(ProjectState::Suspended), Some(BreakerState::Open)));
    story.core.env().report("r2", SECOND, Report::Done(None));
    story.run(SECOND * 60);
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryStarted { probe: true, .. })), 1);
    assert_eq!((state(&story, 1), breaker(&story)), (Some(ProjectState::Running), Some(BreakerState::Closed)));
    let half_opened = |what: &What| matches!(what, What::BreakerMoved { to: BreakerState::HalfOpen, .. });
    assert_eq!(count(&story, half_opened), 1);
}

#[test]
fn whoever_waits_for_its_slot_can_be_made_to_rest_after_all() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(1));
    story.enqueue(&one(2, 0, "a"));
    story.run(SECOND);
    ask(&mut story, 1, RequestKind::Suspend);
    story.run(SECOND);
    ask(&mut story, 1, RequestKind::Resume);
    story.run(SECOND);
    ask(&mut story, 1, RequestKind::Suspend);
    story.run(SECOND);
    story.core.env().report("r2", SECOND, Report::Done(None));
    story.run(SECOND * 60);
    let project = story.core.fleet().project(ProjectId(1)).expect("it rests");
    assert_eq!((project.state(), project.reason), (ProjectState::Suspended, Some(SuspendReason::Operator)));
    assert_eq!(count(&story, |what| matches!(what, What::RequestRefused { .. })), 0);
}

/// Credit and probes come by the clock, not by an operator, and wait for a slot all the same.
#[test]
fn what_goes_on_by_itself_waits_for_a_slot_too() {
    let mut story = Story::begin_with(&one(1, 0, "a"), policy(1));
    story.enqueue(&one(2, 0, "a"));
    story.enqueue(&one(3, 0, "a"));
    story.run(SECOND);
    story.core.env().report("r1", SECOND, Report::Credit(Some(600)));
    story.run(SECOND * 2);
    assert_eq!((state(&story, 1), state(&story, 2)), (Some(ProjectState::Suspended), Some(ProjectState::Running)));
    for _ in 0..4 {
        story.core.env().end_agent("r2", DEAD);
        story.run(SECOND * 2);
    }
    assert_eq!((state(&story, 2), state(&story, 3)), (Some(ProjectState::Suspended), Some(ProjectState::Running)));
    story.run(SECOND * 7_200);
    assert_eq!((state(&story, 1), state(&story, 2)), (Some(ProjectState::Suspended), Some(ProjectState::Suspended)));
    assert_eq!(count(&story, |what| matches!(what, What::SlotAwaited { .. })), 2, "each is told once");
    story.core.env().report("r3", SECOND, Report::Done(None));
    story.run(SECOND * 2);
    assert_eq!(state(&story, 1), Some(ProjectState::Running), "in the order in which they could");
    story.core.env().report("r1", SECOND, Report::Done(None));
    story.run(SECOND * 2);
    assert_eq!(state(&story, 2), Some(ProjectState::Running));
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryStarted { probe: true, .. })), 1);
    assert_eq!(replay(&story).0.iter().map(|(active, _)| *active).max(), Some(1));
}

/// A retry leads into the queue, so it is refused where an enqueue would be.
#[test]
fn a_retry_does_not_overfill_the_queue() {
    use orchestrator::decide::decide;
    use orchestrator::domain::event::Happened;
    use orchestrator::domain::fleet::Fleet;
    use orchestrator::domain::limits::QUEUE_PROJECTS_MAX;
    use orchestrator::domain::request::Request;
    use orchestrator::domain::state::ProjectEvent;
    use orchestrator::domain::time::{Now, Timestamp, WallTime};
    let max = i64::try_from(QUEUE_PROJECTS_MAX).expect("small");
    let spec = std::sync::Arc::new(spec("P", &["r"]));
    let new = |n| Project::queued(ProjectId(n), spec.clone(), format!("p{n}"), Timestamp(0));
    let mut fleet = Fleet::new(policy(1), Default::default());
    let mut ended = new(1);
    ended.take(ProjectEvent::Cancelled, Timestamp(0)).expect("legal");
    fleet.recall(ended);
    (2..=max).for_each(|n| fleet.put(new(n)));
    let asked = |fleet: &Fleet| {
        let request = Request { id: 1, kind: RequestKind::Retry, at: Timestamp(0) };
        let event = Event::Requested { project: ProjectId(1), request };
        let happened = Happened { seen_at: Timestamp(0), source: Source::Spool, event };
        let decision = decide(fleet, &happened, &Now { at: Timestamp(0), wall: WallTime(0), seed: [0; 32] });
        decision.signals.iter().any(|signal| matches!(signal.what, What::RequestRefused { .. }))
    };
    assert!(!asked(&fleet), "the last place");
    fleet.put(new(max + 1));
    assert!(asked(&fleet), "the queue is full");
}
