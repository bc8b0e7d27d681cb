//! What operators ask for, told as stories: every command in every state that matters.

use crate::scripted::Story;
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::event::{Event, PaneEnd, Report, Source};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use orchestrator::domain::id::{Epoch, ProjectId};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::domain::time::Span;
use orchestrator::env::Env;

const SECOND: Span = Span::from_secs(1);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

fn fresh() -> Story {
    Story::begin("Story", &["developer", "tester"], Policy::default())
}

fn running() -> Story {
    let mut story = fresh();
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    story
}

fn contained() -> Story {
    let mut story = running();
    for _ in 0..4 {
        story.core.env().end_agent("developer", DEAD);
        story.run(SECOND * 2);
    }
    assert_eq!(resting(&story), Some(SuspendReason::Breaker));
    story
}

/// Records a request as the command does, and touches the spool.
fn ask(story: &mut Story, kind: RequestKind) {
    let now = story.core.env().now();
    story.core.store().request(ProjectId(1), kind, &now).expect("recorded");
    story.core.env().push(Span(10), Source::Spool, Event::SpoolTouched);
}

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(Project::state)
}

fn resting(story: &Story) -> Option<SuspendReason> {
    story.project().filter(|project| project.state() == ProjectState::Suspended).and_then(|project| project.reason)
}

/// What the store says of it, finished or not.
fn stored(story: &mut Story) -> Project {
    story.core.store().load_project(ProjectId(1)).expect("readable").expect("it is there")
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn recoveries(story: &Story) -> usize {
    count(story, |what| matches!(what, What::RecoveryStarted { .. }))
}

fn started(story: &Story) -> usize {
    count(story, |what| matches!(what, What::AgentStarted { .. }))
}

fn defects(story: &Story) -> usize {
    count(story, |what| matches!(what, What::MoveRefused { .. }))
}

fn refused(story: &Story) -> Vec<String> {
    let reason = |what: &What| {
        let What::RequestRefused { kind, reason, .. } = what else { return None };
        Some(format!("{kind}: {reason}"))
    };
    story.told.iter().filter_map(|entry| reason(&entry.signal.what)).collect()
}

fn alive(story: &mut Story) -> usize {
    story.core.env().agents.iter().filter(|agent| agent.alive).count()
}

fn finish(story: &mut Story) {
    for name in ["developer", "tester"] {
        story.core.env().report(name, SECOND, Report::Done(None));
    }
    story.run(SECOND * 3);
}

#[test]
fn a_request_is_taken_once_with_its_decision() {
    let mut story = running();
    ask(&mut story, RequestKind::Suspend);
    assert_eq!(story.core.store().untaken_requests(9).expect("readable").len(), 1);
    story.run(SECOND);
    assert_eq!(story.core.store().untaken_requests(9).expect("readable"), Vec::new());
    story.run(SECOND * 60);
    assert_eq!(count(&story, |what| matches!(what, What::OperatorAsked { request: 1, .. })), 1);
}

/// A turn that cannot be committed leaves the request where it was.
#[test]
fn a_request_whose_turn_was_lost_is_taken_by_the_next() {
    let mut story = running();
    let path = story.core.store().path().to_owned();
    let shell = rusqlite::Connection::open(path).expect("a connection");
    shell.execute_batch("UPDATE project SET version = version + 1").expect("a forger's write");
    let now = story.core.env().now();
    story.core.store().request(ProjectId(1), RequestKind::Cancel, &now).expect("recorded");
    story.core.turn(Vec::new()).expect_err("a conflict");
    assert_eq!(story.core.store().untaken_requests(9).expect("readable").len(), 1);
    story.run(SECOND);
    story.turn(Vec::new());
    story.run(SECOND);
    assert_eq!(stored(&mut story).state(), ProjectState::Cancelled);
}

#[test]
fn cancel_takes_down_what_runs() {
    let mut story = running();
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND);
    assert_eq!(state(&story), None, "it has left the fleet");
    let project = stored(&mut story);
    assert_eq!((project.state(), project.finalizer), (ProjectState::Cancelled, false));
    assert!(project.roles.iter().all(|role| role.state() == RoleState::Absent));
    assert_eq!((alive(&mut story), story.core.env().sessions.len()), (0, 0), "nothing is left");
    assert!(story.told.iter().all(|entry| !entry.signal.is_alarm()), "and nobody is alarmed");
}

/// Wherever it stands when it is cancelled: it ends, nothing of it is left, and nothing illegal was wanted.
#[test]
fn cancel_at_any_moment_of_the_launch_leaves_nothing() {
    for millis in 0..40 {
        let mut story = fresh();
        story.run(Span::from_millis(millis));
        ask(&mut story, RequestKind::Cancel);
        story.run(SECOND);
        assert_eq!(stored(&mut story).state(), ProjectState::Cancelled, "after {millis} ms");
        assert_eq!((alive(&mut story), story.core.env().sessions.len()), (0, 0), "after {millis} ms");
        assert_eq!((defects(&story), recoveries(&story)), (0, 0), "after {millis} ms");
        assert_eq!(state(&story), None, "after {millis} ms");
    }
}

#[test]
fn cancel_of_what_waits_or_rests() {
    let mut story = contained();
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND * 7_200);
    assert_eq!(stored(&mut story).state(), ProjectState::Cancelled);
    assert_eq!((alive(&mut story), recoveries(&story)), (0, 3), "the breaker's probe is off");
    let policy = Policy { max_active: 0, ..Policy::default() };
    let mut story = Story::begin("Waits", &["developer"], policy);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Queued));
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND);
    assert_eq!((state(&story), stored(&mut story).state()), (None, ProjectState::Cancelled));
}

#[test]
fn while_it_rests_nothing_is_attempted() {
    let mut story = running();
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND);
    assert_eq!(resting(&story), Some(SuspendReason::Operator));
    assert_eq!(alive(&mut story), 2, "agents are left alone");
    story.core.env().end_agent("developer", DEAD);
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 7_200);
    assert_eq!(resting(&story), Some(SuspendReason::Operator));
    assert_eq!((started(&story), recoveries(&story)), (2, 0));
    assert_eq!(count(&story, |what| matches!(what, What::DeathExplained { .. })), 1, "but the death is known");
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((started(&story), recoveries(&story)), (3, 0), "only the dead one was started again");
    finish(&mut story);
    assert_eq!((stored(&mut story).state(), defects(&story)), (ProjectState::Completed, 0));
}

#[test]
fn rest_at_any_moment_of_the_launch_and_go_on() {
    for millis in 0..40 {
        let mut story = fresh();
        story.run(Span::from_millis(millis));
        if state(&story) == Some(ProjectState::Running) {
            break;
        }
        ask(&mut story, RequestKind::Suspend);
        story.run(SECOND);
        assert_eq!(resting(&story), Some(SuspendReason::Operator), "after {millis} ms");
        let told = story.told.len();
        story.run(SECOND * 600);
        assert_eq!(story.told.len(), told, "nothing happens while it rests, after {millis} ms");
        ask(&mut story, RequestKind::Resume);
        story.run(SECOND);
        assert_eq!(state(&story), Some(ProjectState::Running), "after {millis} ms");
        assert_eq!((started(&story), alive(&mut story), defects(&story)), (2, 2, 0), "after {millis} ms");
    }
}

/// A brief that was under way when it was laid to rest is handed over again only after it goes on.
#[test]
fn no_brief_is_repeated_while_it_rests() {
    let mut story = fresh();
    story.core.env().script.deaf = true;
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Briefing));
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND * 3_600);
    let briefs = |story: &Story| count(story, |what| matches!(what, What::BriefHanded { .. }));
    assert_eq!(briefs(&story), 2, "one each, from before");
    story.core.env().script.deaf = false;
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND * 120);
    assert_eq!((state(&story), briefs(&story)), (Some(ProjectState::Running), 4));
    assert_eq!((started(&story), recoveries(&story)), (2, 0));
}

/// Rest, or the end, while the finished work is being looked at: what comes of the look moves nothing.
#[test]
fn certification_that_comes_too_late_certifies_nothing() {
    for kind in [RequestKind::Suspend, RequestKind::Cancel] {
        let mut story = running();
        for name in ["developer", "tester"] {
            story.core.env().report(name, SECOND, Report::Done(None));
        }
        story.run(Span(SECOND.0 + 500));
        assert_eq!(state(&story), Some(ProjectState::Running));
        ask(&mut story, kind);
        story.run(SECOND);
        assert_eq!((defects(&story), count(&story, |what| matches!(what, What::ProjectCertified { .. }))), (0, 0));
        if kind == RequestKind::Suspend {
            ask(&mut story, RequestKind::Resume);
            story.run(SECOND);
            assert_eq!((stored(&mut story).state(), defects(&story)), (ProjectState::Completed, 0));
        } else {
            assert_eq!(stored(&mut story).state(), ProjectState::Cancelled);
        }
    }
}

#[test]
fn resume_touches_no_live_agent_and_looks_at_everything() {
    let mut story = running();
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND);
    story.core.env().script.missing.insert("tester".to_owned());
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, |what| matches!(what, What::ResourceRestored { .. })), 1);
    assert_eq!((started(&story), story.project().map(|project| project.epoch)), (2, Some(Epoch(1))));
    let provisioned = |what: &What| {
        matches!(what, What::ProjectMoved { from: ProjectState::Suspended, to: ProjectState::Provisioning, .. })
    };
    assert_eq!(count(&story, provisioned), 1);
}

#[test]
fn rest_during_a_recovery_calls_it_off() {
    let mut story = running();
    story.core.env().script.deaf = true;
    story.core.env().end_agent("developer", DEAD);
    let waits = |story: &Story| {
        let incident = story.project().and_then(|project| project.incident.as_ref());
        state(story) == Some(ProjectState::Recovering) && incident.is_some_and(|incident| incident.retry_at.is_some())
    };
    for _ in 0..3_000 {
        if waits(&story) {
            break;
        }
        story.run(Span::from_millis(100));
    }
    assert!(waits(&story), "its next attempt is delayed by the back-off");
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND);
    let before = recoveries(&story);
    story.run(SECOND * 3_600);
    assert_eq!((resting(&story), recoveries(&story)), (Some(SuspendReason::Operator), before));
    story.core.env().script.deaf = false;
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND * 120);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((recoveries(&story), defects(&story)), (before, 0));
}

#[test]
fn resume_of_a_contained_project_is_the_probe_now() {
    let mut story = contained();
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryStarted { probe: true, .. })), 1);
    assert_eq!(story.project().map(|project| project.breaker.state), Some(BreakerState::Closed));
}

#[test]
fn a_probe_that_fails_opens_the_breaker_for_a_whole_window_again() {
    let mut story = contained();
    story.core.env().script.deaf = true;
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND * 300);
    assert_eq!(resting(&story), Some(SuspendReason::Breaker));
    let breaker = story.project().map(|project| project.breaker.clone()).expect("it rests");
    assert_eq!((breaker.state, breaker.probes_failed), (BreakerState::Open, 1));
    story.run(SECOND * 3_000);
    assert_eq!(recoveries(&story), 4, "three and the one probe");
}

#[test]
fn a_reset_breaker_lets_a_contained_project_go_on_with_its_whole_budget() {
    let mut story = contained();
    ask(&mut story, RequestKind::BreakerReset);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(recoveries(&story), 3, "no probe was needed");
    let breaker = story.project().map(|project| project.breaker.clone()).expect("it runs");
    assert_eq!((breaker.state, breaker.attempts.len()), (BreakerState::Closed, 0));
    for _ in 0..3 {
        story.core.env().end_agent("developer", DEAD);
        story.run(SECOND * 2);
    }
    assert_eq!((state(&story), recoveries(&story)), (Some(ProjectState::Running), 6));
}

#[test]
fn a_breaker_is_reset_without_disturbing_who_runs() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND);
    let moves = count(&story, |what| matches!(what, What::ProjectMoved { .. }));
    ask(&mut story, RequestKind::BreakerReset);
    story.run(SECOND);
    assert_eq!(story.project().map(|project| project.breaker.attempts.len()), Some(0));
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { .. })), moves);
}

fn retried(story: &mut Story, from: ProjectState) {
    assert_eq!((state(story), stored(story).state()), (None, from), "it has left the fleet");
    let (epoch, launches) = (stored(story).epoch, started(story));
    let made = worktrees(story);
    ask(story, RequestKind::Retry);
    story.run(SECOND);
    assert_eq!(state(story), Some(ProjectState::Running), "from {from}");
    let project = stored(story);
    assert_eq!(project.epoch, epoch.next(), "the epoch goes on");
    assert_eq!((project.breaker.attempts.len(), project.breaker.state), (0, BreakerState::Closed));
    assert_eq!((project.incident, project.stale), (None, Vec::new()));
    assert_eq!((started(story), worktrees(story)), (launches + 2, made), "new agents in the old worktrees");
    let queued =
        |what: &What| matches!(what, What::ProjectMoved { from: f, to: ProjectState::Queued, .. } if *f == from);
    assert_eq!((count(story, queued), defects(story)), (1, 0));
    let launched = started(story);
    finish(story);
    assert_eq!((stored(story).state(), started(story)), (ProjectState::Completed, launched));
    assert_eq!((alive(story), story.core.env().sessions.len()), (0, 0));
}

fn worktrees(story: &Story) -> usize {
    count(story, |what| matches!(what, What::EffectIntended { effect, .. } if effect == "ensure_worktree"))
}

#[test]
fn retry_of_a_failed_project_begins_clean() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND);
    story.core.env().report("developer", SECOND, Report::Fail("no key".to_owned()));
    story.run(SECOND * 5);
    retried(&mut story, ProjectState::Failed);
}

#[test]
fn retry_of_a_cancelled_and_of_a_completed_project() {
    let mut story = running();
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND);
    retried(&mut story, ProjectState::Cancelled);
    retried(&mut story, ProjectState::Completed);
}

/// Cancelled and retried in one breath, before anything of it could be taken down.
#[test]
fn retry_waits_until_the_last_run_is_gone() {
    for millis in 0..8 {
        let mut story = running();
        ask(&mut story, RequestKind::Cancel);
        story.run(Span::from_millis(millis));
        ask(&mut story, RequestKind::Retry);
        story.run(SECOND);
        assert_eq!(state(&story), Some(ProjectState::Running), "after {millis} ms");
        assert_eq!((started(&story), alive(&mut story), story.core.env().sessions.len()), (4, 2, 1), "{millis} ms");
        assert_eq!((defects(&story), recoveries(&story)), (0, 0), "after {millis} ms");
    }
}

/// Remains that the end could not take down (it failed) are ended before the next launch.
#[test]
fn retry_ends_what_is_left_before_it_launches() {
    let mut story = running();
    let failure = Failure {
        stage: Stage::Cleanup,
        kind: FailureKind::TimedOut,
        program: Program::Tmux,
        argv: vec!["kill-session".to_owned()],
        cwd: None,
        ending: Ending::DeadlinePassed(SECOND),
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: SECOND,
        hint: None,
    };
    story.core.env().script.failures.insert("end_session", vec![failure]);
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND);
    assert_eq!((alive(&mut story), stored(&mut story).finalizer), (2, true), "the end could not be made");
    ask(&mut story, RequestKind::Retry);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((alive(&mut story), story.core.env().sessions.len()), (2, 1), "the old ones are gone");
    let ended = |what: &What| matches!(what, What::EffectIntended { effect, .. } if effect == "end_remains");
    assert_eq!(count(&story, ended), 1);
}

#[test]
fn what_makes_no_sense_any_more_is_told_and_changes_nothing() {
    let mut story = running();
    for kind in [RequestKind::Retry, RequestKind::Resume, RequestKind::BreakerReset] {
        let before = stored(&mut story);
        ask(&mut story, kind);
        story.run(SECOND);
        assert_eq!(stored(&mut story), before, "{kind}");
    }
    ask(&mut story, RequestKind::Suspend);
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND);
    ask(&mut story, RequestKind::Cancel);
    story.run(SECOND);
    for kind in [RequestKind::Cancel, RequestKind::Suspend, RequestKind::Resume, RequestKind::BreakerReset] {
        let before = stored(&mut story);
        ask(&mut story, kind);
        story.run(SECOND);
        assert_eq!((stored(&mut story), state(&story)), (before, None), "{kind}: it stays outside the fleet");
    }
    insta::assert_snapshot!(refused(&story).join("\n"), @r"
    retry: it has not ended
    resume: it is not suspended
    breaker_reset: its breaker is closed and has counted nothing
    suspend: it is suspended already
    cancel: it has ended already
    suspend: it has ended already
    resume: it has ended; `orch retry` runs it once more
    breaker_reset: it has ended; `orch retry` begins with a clean breaker
    ");
    assert_eq!(defects(&story), 0);
}

#[test]
fn a_project_at_rest_is_still_at_rest_after_a_restart() {
    let mut story = running();
    ask(&mut story, RequestKind::Suspend);
    story.run(SECOND);
    story.core.env().push(SECOND, Source::Sweep, Event::Started);
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 60);
    assert_eq!((resting(&story), started(&story)), (Some(SuspendReason::Operator), 2));
    let read = story.core.store().load_fleet(Policy::default()).expect("readable");
    assert_eq!(read.project(ProjectId(1)).and_then(|project| project.reason), Some(SuspendReason::Operator));
}

/// `orch audit` counts as the breaker does: a window begins anew with a reset, and the probe that a resume lets through
/// early is the breaker's.
#[test]
fn the_audit_knows_what_an_operator_may_give() {
    let window = |story: &mut Story| {
        let audited = story.core.store().audit(&Policy::default()).expect("readable");
        audited.iter().find(|one| one.id == "S7.window").map(|one| one.violations)
    };
    let mut resumed = contained();
    ask(&mut resumed, RequestKind::Resume);
    resumed.run(SECOND * 5);
    assert_eq!(recoveries(&resumed), 4, "the budget and the probe");
    assert_eq!(window(&mut resumed), Some(0));
    let mut reset = contained();
    ask(&mut reset, RequestKind::BreakerReset);
    reset.run(SECOND * 5);
    reset.core.env().end_agent("developer", DEAD);
    reset.run(SECOND * 2);
    assert!(recoveries(&reset) > 3);
    assert_eq!(window(&mut reset), Some(0));
}

/// An operator who lets it go on knows better than its agent when there is credit: an answer without an effect would
/// be a lie.
#[test]
fn resume_of_a_project_without_credit_lets_it_go_on() {
    let mut story = running();
    story.core.env().report("developer", Span(0), Report::Credit(Some(3_600)));
    story.run(SECOND);
    assert_eq!(resting(&story), Some(SuspendReason::Credit));
    ask(&mut story, RequestKind::Resume);
    story.run(SECOND * 5);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((refused(&story).len(), defects(&story)), (0, 0));
}
