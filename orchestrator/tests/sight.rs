//! A tmux that does not answer for long: projects wait, are told of once, and go on by themselves (G3).

use crate::scripted::{SERVER, Story, spec};
use orchestrator::domain::event::{Event, PaneEnd, Source};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage};
use orchestrator::domain::id::{Epoch, ProcessId, ProjectId, RoleName};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::domain::time::{Span, Timestamp};
use orchestrator::env::Env;

const SECOND: Span = Span::from_secs(1);
const BOUND: Span = Span::from_secs(600);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

fn running() -> Story {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    story
}

/// It runs, and tmux is hung from now on; answers since when.
fn hung() -> (Story, Timestamp) {
    let mut story = running();
    story.core.env().hang();
    story.run(Span(0));
    let since = story.core.env().at;
    (story, since)
}

fn until(story: &mut Story, at: Timestamp) {
    let now = story.core.env().at;
    story.run(at.since(now));
}

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(Project::state)
}

fn reason(story: &Story) -> Option<SuspendReason> {
    story.project().and_then(|project| project.reason)
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn told(story: &Story) -> usize {
    count(story, |what| matches!(what, What::SightLost { .. }))
}

fn recoveries(story: &Story) -> usize {
    count(story, |what| matches!(what, What::RecoveryStarted { .. }))
}

fn processes(story: &Story) -> Vec<Option<ProcessId>> {
    story.project().map(|project| project.roles.iter().map(|role| role.process).collect()).unwrap_or_default()
}

/// Nobody was failed, killed, started or charged, and no move was illegal.
fn untouched(story: &mut Story) {
    assert_eq!((recoveries(story), count(story, |what| matches!(what, What::AgentDied { .. }))), (0, 0));
    assert_eq!(count(story, |what| matches!(what, What::AgentStarted { .. })), 2);
    assert_eq!(count(story, |what| matches!(what, What::MoveRefused { .. })), 0);
    assert!(story.core.env().agents.iter().all(|agent| agent.alive));
}

#[test]
fn it_waits_for_an_operator_exactly_at_the_bound_and_goes_on_by_itself() {
    let (mut story, since) = hung();
    let before = processes(&story);
    until(&mut story, Timestamp((since + BOUND).0 - 1));
    assert_eq!((state(&story), told(&story)), (Some(ProjectState::Running), 0), "one microsecond before");
    until(&mut story, since + BOUND);
    assert_eq!((reason(&story), told(&story)), (Some(SuspendReason::NeedsOperator), 1), "exactly at the bound");
    let unknown = story.project().and_then(|project| project.unknown.clone()).expect("what is unknown is said");
    assert_eq!(unknown.since, since);
    story.run(SECOND * 7_200);
    assert_eq!((reason(&story), told(&story)), (Some(SuspendReason::NeedsOperator), 1), "told once, and no worse");
    story.core.env().heal();
    story.run(SECOND);
    assert_eq!((state(&story), processes(&story)), (Some(ProjectState::Running), before));
    assert_eq!(story.project().map(|project| (project.epoch, project.unknown.clone())), Some((Epoch(1), None)));
    untouched(&mut story);
}

#[test]
fn what_heals_before_the_bound_is_not_told() {
    let (mut story, since) = hung();
    until(&mut story, Timestamp((since + BOUND).0 - 1));
    story.core.env().heal();
    story.run(SECOND * 3_600);
    assert_eq!((state(&story), told(&story)), (Some(ProjectState::Running), 0));
    untouched(&mut story);
    // The next loss has the whole time again.
    story.core.env().hang();
    story.run(Span(BOUND.0 - 1));
    assert_eq!(told(&story), 0);
    story.run(Span(1));
    assert_eq!(told(&story), 1);
}

/// A restart in the middle neither forgets since when, nor judges before it has asked.
#[test]
fn a_restart_forgets_nothing_and_asks_first() {
    let (mut story, since) = hung();
    until(&mut story, since + SECOND * 300);
    story.restart(Policy::default());
    until(&mut story, Timestamp((since + BOUND).0 - 1));
    assert_eq!(told(&story), 0);
    until(&mut story, since + BOUND);
    assert_eq!((told(&story), reason(&story)), (1, Some(SuspendReason::NeedsOperator)));
    story.restart(Policy::default());
    story.run(SECOND * 60);
    assert_eq!((told(&story), reason(&story)), (1, Some(SuspendReason::NeedsOperator)), "told once");
    story.core.env().heal();
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    untouched(&mut story);

    // Nobody served while the bound passed, and tmux has healed meanwhile: it is asked before anything is said.
    let (mut story, since) = hung();
    story.core.env().at = since + BOUND * 2;
    story.core.env().script.hung = false;
    story.restart(Policy::default());
    story.run(SECOND * 60);
    assert_eq!((state(&story), told(&story)), (Some(ProjectState::Running), 0));
    untouched(&mut story);

    // It has not: it is told as soon as it had its ten seconds to answer.
    let (mut story, since) = hung();
    story.core.env().at = since + BOUND * 2;
    story.restart(Policy::default());
    story.run(Span(SECOND.0 * 10 - 1));
    assert_eq!(told(&story), 0);
    story.run(Span(1));
    assert_eq!(told(&story), 1);
    assert_eq!(story.project().and_then(|project| project.unknown.clone()).map(|unknown| unknown.since), Some(since));
}

#[test]
fn who_died_meanwhile_is_an_ordinary_incident_once_tmux_answers() {
    let (mut story, since) = hung();
    until(&mut story, since + BOUND);
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND * 3_600);
    assert_eq!((reason(&story), recoveries(&story)), (Some(SuspendReason::NeedsOperator), 0), "nothing is attempted");
    story.core.env().heal();
    story.run(SECOND * 2);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 1));
    assert_eq!(story.project().map(|project| project.breaker.attempts.len()), Some(1), "it is charged");
    assert_eq!(count(&story, |what| matches!(what, What::RecoverySucceeded { attempts: 1, .. })), 1);
    assert_eq!(count(&story, |what| matches!(what, What::MoveRefused { .. })), 0);
}

/// The deaths were seen by nobody: the first list shows that the session is gone.
#[test]
fn a_session_that_is_gone_is_found_by_the_first_answer() {
    let (mut story, since) = hung();
    until(&mut story, since + BOUND);
    let world = story.core.env();
    world.sessions.clear();
    for agent in &mut world.agents {
        (agent.alive, agent.end) = (false, PaneEnd::Gone);
    }
    world.heal();
    story.run(SECOND * 2);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 1));
    let begun = |what: &What| matches!(what, What::RecoveryStarted { cause: FailureKind::SessionDied, .. });
    assert_eq!(count(&story, begun), 1);
    assert_eq!(story.project().map(|project| project.epoch), Some(Epoch(2)));
}

/// Another server answers while no death has been noticed yet: one incident that nobody is charged for.
#[test]
fn another_server_is_one_incident_whether_or_not_anybody_waited() {
    for waited in [false, true] {
        let mut story = running();
        if waited {
            story.core.env().hang();
            story.run(BOUND);
            assert_eq!(told(&story), 1);
        }
        let world = story.core.env();
        world.sessions.clear();
        for agent in &mut world.agents {
            (agent.alive, agent.end) = (false, PaneEnd::Gone);
        }
        world.server = ProcessId { pid: SERVER.pid + 1, start: 1 };
        world.heal();
        story.run(SECOND * 2);
        assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 0), "waited: {waited}");
        assert_eq!(count(&story, |what| matches!(what, What::ServerDied { sessions: 1, .. })), 1);
        let memory = story.project().cloned().expect("it runs");
        let file = story.core.store().load_project(ProjectId(1)).expect("readable").expect("it is there");
        assert_eq!((memory.state(), memory.version), (file.state(), file.version));
        assert_eq!(count(&story, |what| matches!(what, What::MoveRefused { .. })), 0);
    }
}

/// A launch whose outcome is unknown stays what it is, uncharged, and is settled by its token.
#[test]
fn a_launch_of_unknown_outcome_is_settled_by_token() {
    for done in [false, true] {
        let mut story = Story::begin("Story", &["developer"], Policy::default());
        while state(&story) != Some(ProjectState::Launching) {
            story.run(Span(500));
        }
        let asked = story.project().and_then(|project| project.session.clone()).expect("asked for");
        story.core.env().hang();
        if !done {
            let world = story.core.env();
            world.sessions.clear();
            world.agents.clear();
        }
        story.core.env().lose_results();
        story.run(SECOND * 601);
        assert_eq!((reason(&story), told(&story)), (Some(SuspendReason::NeedsOperator), 1), "done: {done}");
        story.core.env().heal();
        story.run(SECOND * 2);
        assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 0), "done: {done}");
        let session = story.project().and_then(|project| project.session.clone()).expect("there");
        assert_eq!((session.name, session.token), (asked.name, asked.token));
        assert_eq!(story.core.env().agents.len(), 1, "one incarnation");
    }
}

/// What was asked for in a session that is gone by the time tmux answers is not asked for under its token again.
#[test]
fn a_session_that_goes_before_its_agent_is_seen_is_one_more_failure() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    story.core.env().end_agent("developer", DEAD);
    while state(&story) != Some(ProjectState::Launching) {
        story.run(Span(500));
    }
    let asked = story.project().and_then(|project| project.roles[0].token.clone()).expect("asked for");
    let name = story.project().and_then(|project| project.session.clone()).expect("it lives").name;
    story.core.env().hang();
    story.core.env().lose_results();
    story.run(SECOND);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Launching), 1), "nothing is known");
    story.core.env().kill_session(&name);
    story.core.env().heal();
    story.run(SECOND * 60);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 2));
    let project = story.project().expect("it runs");
    assert!(project.stale.is_empty(), "{:?}", project.stale);
    assert_ne!(project.roles[0].token.as_ref(), Some(&asked));
    assert_eq!(story.core.env().agents.iter().filter(|agent| agent.alive).count(), 1);
    // Its end is its own again.
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND * 60);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 3));
}

/// A brief that cannot be delivered makes nobody deaf.
#[test]
fn an_agent_whose_brief_cannot_be_delivered_is_not_deaf() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.core.env().script.deaf = true;
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Briefing));
    story.core.env().hang();
    story.run(SECOND * 500);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Briefing), 0));
    story.core.env().script.deaf = false;
    story.core.env().heal();
    story.run(SECOND);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 0));
}

#[test]
fn nobody_is_admitted_blindly_and_an_operator_is_told_why_not() {
    let (mut story, since) = hung();
    until(&mut story, since + BOUND);
    let next = story.enqueue(&spec("Next", &["r2"]));
    let now = story.core.env().now();
    story.core.store().request(ProjectId(1), RequestKind::Resume, &now).expect("recorded");
    story.core.env().push(Span(1), Source::Spool, Event::SpoolTouched);
    story.run(SECOND * 60);
    assert_eq!(story.core.fleet().project(next).map(Project::state), Some(ProjectState::Queued));
    let refused = |what: &What| matches!(what, What::RequestRefused { reason, .. } if reason.contains("by itself"));
    assert_eq!(count(&story, refused), 1);
    story.core.env().heal();
    story.run(SECOND * 2);
    assert_eq!(story.core.fleet().project(next).map(Project::state), Some(ProjectState::Running));
    assert_eq!((state(&story), told(&story)), (Some(ProjectState::Running), 1));
}

/// As when the orchestrator has no descriptor left.
fn lacking() -> Failure {
    Failure {
        program: Program::Git,
        ending: Ending::NotStarted("Too many open files (os error 24)".to_owned()),
        ..Failure::of_operation(Stage::Provision, FailureKind::Exhausted, vec!["git".to_owned()], "")
    }
}

/// Lets sweeps come for so long.
fn swept(story: &mut Story, seconds: u64) {
    for _ in 0..seconds / 5 {
        story.core.env().push(SECOND * 5, Source::Sweep, Event::SweepDue);
        story.run(SECOND * 5);
    }
}

fn starving(effects: &[&'static str], times: usize) -> Story {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    for effect in effects {
        story.core.env().script.failures.insert(effect, vec![lacking(); times]);
    }
    story
}

fn told_lacking(story: &Story) -> usize {
    count(story, |what| {
        matches!(what, What::SubprocessFailed { failure } | What::OperationFailed { failure }
            if failure.kind == FailureKind::Exhausted)
    })
}

#[test]
fn what_the_orchestrator_lacks_itself_is_charged_to_nobody() {
    let effects = ["ensure_worktree", "ensure_files", "ensure_session"];
    let mut story = starving(&effects, 4);
    swept(&mut story, 300);
    assert_eq!((state(&story), told_lacking(&story)), (Some(ProjectState::Running), 12), "told, with its cause");
    assert_eq!((recoveries(&story), told(&story)), (0, 0));
    let project = story.project().expect("it");
    assert_eq!((project.epoch, project.breaker.attempts.len()), (Epoch(1), 0));
}

#[test]
fn nothing_is_tried_again_before_a_pause() {
    let mut story = starving(&["ensure_session"], 100);
    swept(&mut story, 120);
    let tried = told_lacking(&story);
    assert!((10..=13).contains(&tried), "every 10 s, not with every event: {tried}");
}

#[test]
fn the_end_of_what_remains_waits_too() {
    let mut story = running();
    story.core.env().script.failures.insert("end_remains", vec![lacking(); 3]);
    story.core.env().end_agent("developer", DEAD);
    swept(&mut story, 120);
    assert_eq!((state(&story), told_lacking(&story)), (Some(ProjectState::Running), 3));
    assert_eq!(recoveries(&story), 1, "for the death alone");
}

#[test]
fn what_the_orchestrator_lacks_for_long_needs_an_operator() {
    let mut story = starving(&["ensure_session"], 1_000);
    swept(&mut story, 590);
    assert_eq!(state(&story), Some(ProjectState::Launching));
    swept(&mut story, 30);
    assert_eq!((reason(&story), told(&story)), (Some(SuspendReason::NeedsOperator), 1));
    let unknown = story.project().and_then(|project| project.unknown.clone()).expect("what is unknown is said");
    assert!(unknown.what.contains("Too many open files"), "{unknown:?}");
    swept(&mut story, 60);
    assert_eq!(reason(&story), Some(SuspendReason::NeedsOperator), "it waits");
    story.core.env().script.failures.clear();
    let now = story.core.env().now();
    story.core.store().request(ProjectId(1), RequestKind::Resume, &now).expect("recorded");
    story.core.env().push(Span(1), Source::Spool, Event::SpoolTouched);
    story.run(SECOND * 5);
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 0));
}

/// As when the file system of its worktree hangs: a look at it does not come back in time.
#[test]
fn files_that_do_not_answer_are_asked_after_a_pause_and_need_an_operator_in_the_end() {
    let mut story = running();
    let late = Failure::of_operation(Stage::Run, FailureKind::TimedOut, vec!["look".to_owned()], "no answer in 30 s");
    story.core.env().script.failures.insert("look", vec![late; 1_000]);
    let touched = Event::FilesTouched { project: ProjectId(1), role: RoleName("developer".to_owned()) };
    story.core.env().push(Span(1), Source::Inotify, touched);
    swept(&mut story, 120);
    let asked = count(&story, |what| matches!(what, What::OperationFailed { .. }));
    assert!((16..=26).contains(&asked), "both roles every 10 s, not with every sweep: {asked}");
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 0), "nobody is charged");
    swept(&mut story, 520);
    assert_eq!((reason(&story), told(&story)), (Some(SuspendReason::NeedsOperator), 1));
    let unknown = story.project().and_then(|project| project.unknown.clone()).expect("what is unknown is said");
    assert!(unknown.what.contains("no answer in 30 s"), "{unknown:?}");
}

/// Time in which nobody looked is held against nobody.
#[test]
fn what_is_lacking_does_not_last_while_nobody_looks() {
    let mut story = starving(&["ensure_session"], 1_000);
    swept(&mut story, 20);
    let away = Event::Away { away: Span::from_secs(900), counted: Span::from_secs(900) };
    story.core.env().push(Span::from_secs(900), Source::Sweep, away);
    story.run(Span::from_secs(901));
    swept(&mut story, 60);
    assert_eq!((state(&story), told(&story)), (Some(ProjectState::Launching), 0));
}
