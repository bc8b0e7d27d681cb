//! Hung agents, and everything that only looks like one: each fault with its benign twins.

use crate::scripted::{Story, spec};
use orchestrator::domain::event::{Event, Report, Source};
use orchestrator::domain::failure::{Failure, FailureKind, Stage};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::project::Project;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::domain::time::Span;

const SECOND: Span = Span::from_secs(1);
const MINUTE: Span = Span::from_secs(60);

/// A running project whose agents report progress, or do not.
fn running(hooks: bool) -> Story {
    let mut spec = spec("Story", &["developer", "tester"]);
    for role in &mut spec.roles {
        role.progress = hooks;
    }
    let mut story = Story::begin_with(&spec, Policy::default());
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    // The other one is never the matter of a story.
    story.core.env().script.cpu_percent.insert("tester".to_owned(), 50);
    story
}

/// Lets time pass, with a sweep every 30 s.
fn pass(story: &mut Story, minutes: u64) {
    for _ in 0..minutes * 2 {
        story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
        story.run(Span::from_secs(30));
    }
}

fn says(story: &mut Story, report: Report) {
    story.core.env().report("developer", SECOND, report);
    story.run(SECOND * 2);
}

fn tool(what: &str) -> Report {
    Report::Progress(Some(format!("tool: {what} Bash")))
}

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(Project::state)
}

fn role(story: &Story) -> RoleState {
    story.project().expect("the project").roles[0].state()
}

fn reason(story: &Story) -> Option<SuspendReason> {
    story.project().and_then(|project| project.reason)
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn silent(what: &What) -> bool {
    matches!(what, What::AgentSilent { .. })
}

fn stalled(what: &What) -> bool {
    matches!(what, What::AgentStalled { failure } if failure.kind == FailureKind::AgentStalled)
}

fn attempts(story: &Story) -> usize {
    count(story, |what| matches!(what, What::RecoveryStarted { .. }))
}

fn alarms(story: &Story) -> Vec<&What> {
    story.told.iter().filter(|entry| entry.signal.is_alarm()).map(|entry| &entry.signal.what).collect()
}

fn nudges(story: &mut Story) -> usize {
    story.core.env().script.nudges.len()
}

fn undisturbed(story: &mut Story) {
    assert_eq!((state(story), attempts(story), nudges(story)), (Some(ProjectState::Running), 0, 0));
    assert_eq!(alarms(story), Vec::<&What>::new());
}

#[test]
fn a_hung_agent_is_told_of_nudged_once_and_recovered() {
    let mut story = running(true);
    says(&mut story, Report::Progress(None));
    pass(&mut story, 9);
    undisturbed(&mut story);
    // Silence counts from the first sample, two to three minutes after the last word.
    pass(&mut story, 5);
    assert_eq!((count(&story, silent), nudges(&mut story), attempts(&story)), (1, 1, 0));
    assert_eq!(role(&story), RoleState::Working, "it has its time to answer");
    pass(&mut story, 5);
    assert_eq!(attempts(&story), 0, "not before the time is up");
    pass(&mut story, 5);
    assert_eq!((count(&story, stalled), attempts(&story)), (1, 1));
    let started = story.told.iter().find(|entry| matches!(entry.signal.what, What::RecoveryStarted { .. }));
    let said = Span::from_secs(2);
    let after = started.expect("an attempt").at.since(orchestrator::domain::time::Timestamp(said.0));
    assert!(after >= MINUTE * 20 && after <= MINUTE * 24, "{after:?}");
    assert_eq!((nudges(&mut story), state(&story), role(&story)), (1, Some(ProjectState::Running), RoleState::Ready));
    assert!(count(&story, |what| matches!(what, What::RoleMoved { to: RoleState::Stalled, .. })) == 1);
    let old = story.core.env().agents.iter().filter(|agent| agent.launch.role.0 == "developer");
    assert_eq!(old.map(|agent| agent.alive).collect::<Vec<_>>(), [false, true], "the old one ended first");
}

#[test]
fn an_answer_to_the_nudge_is_a_sign_of_life() {
    let mut story = running(true);
    pass(&mut story, 14);
    assert_eq!(nudges(&mut story), 1);
    says(&mut story, Report::Progress(None));
    pass(&mut story, 11);
    assert_eq!((nudges(&mut story), attempts(&story), role(&story)), (1, 0, RoleState::Working));
}

#[test]
fn an_agent_that_reports_is_left_alone_for_ever() {
    let mut story = running(true);
    for _ in 0..20 {
        pass(&mut story, 9);
        says(&mut story, Report::Progress(None));
    }
    undisturbed(&mut story);
}

#[test]
fn a_long_silence_with_cpu_is_work() {
    let mut story = running(true);
    story.core.env().script.cpu_percent.insert("developer".to_owned(), 6);
    pass(&mut story, 180);
    undisturbed(&mut story);
}

#[test]
fn a_spinners_worth_of_cpu_is_no_work() {
    let mut story = running(true);
    story.core.env().script.cpu_percent.insert("developer".to_owned(), 3);
    pass(&mut story, 30);
    assert_eq!(count(&story, stalled), 1);
}

#[test]
fn output_is_a_sign_of_life_whatever_it_says() {
    let mut story = running(true);
    for growth in 0..12 {
        let world = story.core.env();
        let sample = orchestrator::domain::silence::Sample { output: 100 + growth, cpu_ticks: 0 };
        world.script.samples.insert("developer".to_owned(), sample);
        pass(&mut story, 8);
    }
    undisturbed(&mut story);
}

#[test]
fn a_tool_call_of_59_minutes_raises_nothing() {
    let mut story = running(true);
    says(&mut story, tool("start"));
    pass(&mut story, 59);
    says(&mut story, tool("end"));
    pass(&mut story, 5);
    undisturbed(&mut story);
    assert_eq!(count(&story, silent), 1, "told, at 30 min, as no alarm");
}

#[test]
fn a_tool_that_never_ends_is_hung_after_an_hour() {
    let mut story = running(true);
    says(&mut story, tool("start"));
    pass(&mut story, 66);
    assert_eq!((count(&story, stalled), attempts(&story), nudges(&mut story)), (1, 1, 0));
}

#[test]
fn who_waits_for_a_person_waits_for_ever() {
    let mut story = running(true);
    says(&mut story, Report::NeedsInput(Some("trust this folder?".to_owned())));
    pass(&mut story, 300);
    undisturbed(&mut story);
    assert_eq!(role(&story), RoleState::NeedsInput);
}

#[test]
fn an_agent_without_hooks_is_told_of_and_never_recovered() {
    let mut story = running(false);
    pass(&mut story, 180);
    undisturbed(&mut story);
    assert_eq!(count(&story, silent), 1);
}

#[test]
fn who_rests_is_reminded_once_and_hung_only_after_an_hour() {
    let mut story = running(true);
    says(&mut story, Report::Idle);
    pass(&mut story, 14);
    assert_eq!((role(&story), nudges(&mut story), attempts(&story)), (RoleState::Idle, 1, 0));
    assert!(story.core.env().script.nudges[0].1.contains("orch agent done"));
    // It reads the line and comes to rest again: that is no reason for another.
    says(&mut story, Report::Idle);
    pass(&mut story, 50);
    assert_eq!((nudges(&mut story), attempts(&story)), (1, 0));
    pass(&mut story, 15);
    assert_eq!((nudges(&mut story), count(&story, stalled), attempts(&story)), (1, 1, 1));
}

#[test]
fn without_samples_nothing_is_concluded() {
    let mut story = running(true);
    let failed = Failure::of_operation(Stage::Run, FailureKind::Io, vec!["sample".to_owned()], "tmux does not answer");
    story.core.env().script.failures.insert("sample", vec![failed; 10_000]);
    pass(&mut story, 180);
    undisturbed(&mut story);
    assert_eq!(count(&story, silent), 0);
    // Once they can be had again, silence is measured from there.
    story.core.env().script.failures.clear();
    pass(&mut story, 9);
    undisturbed(&mut story);
    pass(&mut story, 15);
    assert_eq!(attempts(&story), 1);
}

#[test]
fn an_agent_that_hangs_again_and_again_is_contained_by_the_breaker() {
    let policy = Policy { stall_s: 60, ..Policy::default() };
    let mut spec = spec("Story", &["developer"]);
    spec.roles[0].progress = true;
    let mut story = Story::begin_with(&spec, policy);
    story.run(SECOND);
    for _ in 0..1_200 {
        story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
        story.run(SECOND * 2);
    }
    assert_eq!((attempts(&story), state(&story)), (3, Some(ProjectState::Suspended)));
    assert_eq!(reason(&story), Some(SuspendReason::Breaker));
}

#[test]
fn out_of_credit_the_project_rests_and_goes_on_by_itself() {
    let mut story = running(true);
    says(&mut story, Report::Credit(None));
    assert_eq!((state(&story), reason(&story)), (Some(ProjectState::Suspended), Some(SuspendReason::Credit)));
    pass(&mut story, 58);
    assert_eq!(state(&story), Some(ProjectState::Suspended));
    pass(&mut story, 3);
    assert_eq!((state(&story), attempts(&story), nudges(&mut story)), (Some(ProjectState::Running), 0, 0));
    assert_eq!(story.core.env().agents.len(), 2, "nobody was started again");
    assert!(story.core.env().agents.iter().all(|agent| agent.alive), "nor ended");
    assert_eq!(count(&story, silent), 0, "the rest is no silence");
}

#[test]
fn out_of_credit_for_a_time_that_was_told() {
    let mut story = running(true);
    says(&mut story, Report::Credit(Some(7_200)));
    story.run(MINUTE * 119);
    assert_eq!(state(&story), Some(ProjectState::Suspended));
    story.run(MINUTE * 2);
    assert_eq!(state(&story), Some(ProjectState::Running));
}

#[test]
fn whoever_works_again_has_credit() {
    let mut story = running(true);
    says(&mut story, Report::Credit(None));
    story.core.env().report("tester", SECOND, Report::Progress(None));
    story.run(SECOND * 2);
    assert_eq!(state(&story), Some(ProjectState::Suspended), "it was not the tester's credit");
    says(&mut story, Report::Progress(None));
    assert_eq!((state(&story), attempts(&story)), (Some(ProjectState::Running), 0));
}

#[test]
fn out_of_credit_before_the_brief_is_acknowledged_is_not_deaf() {
    let mut story = Story::begin_with(&spec("Story", &["developer", "tester"]), Policy::default());
    story.core.env().script.deaf = true;
    story.run(SECOND);
    says(&mut story, Report::Credit(None));
    pass(&mut story, 30);
    assert_eq!((state(&story), attempts(&story)), (Some(ProjectState::Suspended), 0));
    story.core.env().script.deaf = false;
    pass(&mut story, 35);
    assert_eq!((state(&story), attempts(&story)), (Some(ProjectState::Running), 0));
    assert_eq!(story.core.env().agents.len(), 2);
}

#[test]
fn silence_is_measured_on_over_a_restart() {
    let mut story = running(true);
    pass(&mut story, 14);
    assert_eq!(nudges(&mut story), 1);
    let known = story.project().expect("the project").roles[0].vigil.clone();
    let stored = story.core.store().load_fleet(Policy::default()).expect("the fleet");
    let read = stored.projects().next().expect("the project").roles[0].vigil.clone();
    assert_eq!(read, known);
    assert!(read.nudged && read.warned && read.sign.is_some());
}
