//! Time (G14): absence, a suspend, steps of the wall clock and reboots are held against nobody.

use crate::scripted::{SERVER, Story, spec};
use orchestrator::domain::breaker::BreakerState;
use orchestrator::domain::event::{Event, Happened, PaneEnd, Report, Source};
use orchestrator::domain::failure::{Ending, FailureKind};
use orchestrator::domain::id::ProcessId;
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Signal, What};
use orchestrator::domain::state::{ProjectState, RoleState, SuspendReason};
use orchestrator::domain::time::{Anchor, Span, Timestamp};

const SECOND: Span = Span::from_secs(1);
const HOURS: Span = Span::from_secs(8 * 3_600);

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(|project| project.state())
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn attempts(story: &Story) -> usize {
    count(story, |what| matches!(what, What::RecoveryStarted { .. }))
}

fn stalled(story: &Story) -> usize {
    count(story, |what| matches!(what, What::AgentStalled { .. }))
}

/// Time passes in which nobody looks, then the loop takes its turn: `told` first, as the shell tells it, and a sweep.
fn jump(story: &mut Story, by: Span, told: Option<Event>) {
    let at = story.core.env().at + by;
    story.core.env().at = at;
    let sweep = Happened { seen_at: at, source: Source::Sweep, event: Event::SweepDue };
    let told = told.map(|event| Happened { seen_at: at, source: Source::Timer, event });
    story.turn(told.into_iter().chain([sweep]).collect());
}

fn away(by: Span) -> Option<Event> {
    Some(Event::Away { away: by, counted: by })
}

/// Lets time pass, with a sweep every 30 s.
fn pass(story: &mut Story, minutes: u64) {
    for _ in 0..minutes * 2 {
        story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
        story.run(Span::from_secs(30));
    }
}

/// A running project of one role that reports progress.
fn running() -> Story {
    let mut spec = spec("Story", &["developer"]);
    spec.roles[0].progress = true;
    let mut story = Story::begin_with(&spec, Policy::default());
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    story
}

/// A project whose agent has been handed its brief for the last time and has 15 s left to acknowledge it.
fn almost_deaf() -> Story {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.core.env().script.deaf = true;
    story.run(Span::from_secs(105));
    assert_eq!(story.project().map(|project| project.roles[0].briefs_sent), Some(4));
    assert_eq!(state(&story), Some(ProjectState::Briefing));
    story
}

#[test]
fn an_agent_is_not_deaf_for_the_time_in_which_nobody_looked() {
    let mut story = almost_deaf();
    jump(&mut story, HOURS, away(HOURS));
    story.core.env().report("developer", SECOND * 29, Report::Ack);
    story.run(SECOND * 60);
    assert_eq!((state(&story), attempts(&story)), (Some(ProjectState::Running), 0));
    assert_eq!(count(&story, |what| matches!(what, What::OrchestratorAway { away: HOURS })), 1, "told once");
    // Its time is not without end either.
    let mut story = almost_deaf();
    jump(&mut story, HOURS, away(HOURS));
    story.run(SECOND * 31);
    assert_eq!(attempts(&story), 1);
}

#[test]
fn restarts_alone_make_nobody_deaf() {
    let mut story = almost_deaf();
    for _ in 0..6 {
        story.restart_after(Vec::new());
        story.run(SECOND);
    }
    assert_eq!((state(&story), attempts(&story)), (Some(ProjectState::Briefing), 0));
}

#[test]
fn silence_is_not_counted_while_nobody_looked_and_begins_afresh_after_hours() {
    let mut story = running();
    pass(&mut story, 9);
    jump(&mut story, HOURS, away(HOURS));
    pass(&mut story, 9);
    assert_eq!((state(&story), stalled(&story), attempts(&story)), (Some(ProjectState::Running), 0, 0));
    let alarms: Vec<&Signal> = story.told.iter().map(|entry| &entry.signal).filter(|told| told.is_alarm()).collect();
    assert_eq!(alarms, Vec::<&Signal>::new());
    pass(&mut story, 16);
    assert_eq!(stalled(&story), 1, "one that hangs is found all the same");
}

#[test]
fn a_sample_from_before_the_absence_says_nothing_after_it() {
    let mut story = running();
    pass(&mut story, 18);
    // A sample is under way while the machine stops; its result is read with the turn that finds the absence.
    jump(&mut story, SECOND, None);
    jump(&mut story, HOURS, away(HOURS));
    story.run(SECOND);
    assert_eq!((stalled(&story), attempts(&story)), (0, 0));
}

#[test]
fn hiccups_do_not_hide_a_hung_agent() {
    let mut story = running();
    for _ in 0..30 {
        pass(&mut story, 1);
        jump(&mut story, SECOND * 7, away(SECOND * 7));
    }
    assert_eq!(stalled(&story), 1);
}

/// A project fails as often as the breaker allows, is contained, probed after the window, and works again.
fn broken(steps: &[i64]) -> Vec<(Timestamp, Signal)> {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    for n in 0..4 {
        story.core.env().wall_step = steps.get(n).copied().unwrap_or(0);
        story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(3), signal: None });
        story.run(Span::from_secs(301));
    }
    assert_eq!(story.project().map(|project| project.breaker.state), Some(BreakerState::Open));
    for n in 4..8 {
        story.core.env().wall_step = steps.get(n).copied().unwrap_or(0);
        story.run(Span::from_secs(900));
    }
    assert_eq!(state(&story), Some(ProjectState::Running));
    story.told.into_iter().map(|entry| (entry.at, entry.signal)).collect()
}

#[test]
fn steps_of_the_wall_clock_change_nothing_but_the_wall_time_of_events() {
    const HOUR: i64 = 3_600_000_000;
    let years = 24 * 365 * 9 * HOUR;
    let plain = broken(&[]);
    assert_eq!(broken(&[HOUR, -HOUR, years, -years, years, -HOUR, 0, 5 * years]), plain);
    assert!(plain.is_sorted_by_key(|(at, _)| *at));
}

#[test]
fn an_open_breaker_has_the_same_time_left_after_a_restart() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    for _ in 0..4 {
        story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(3), signal: None });
        story.run(Span::from_secs(301));
    }
    let left = |story: &Story| story.project().and_then(|project| project.breaker.retry_at);
    let due = left(&story).expect("it is open");
    story.run(Span::from_secs(600));
    story.core.env().wall_step = -1_000_000_000_000;
    story.restart_after(Vec::new());
    assert_eq!(left(&story), Some(due));
    let before = Span(due.0 - story.core.env().at.0 - 1);
    story.run(before);
    assert_eq!(state(&story), Some(ProjectState::Suspended), "a microsecond before");
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
}

#[test]
fn a_timeline_goes_on_through_suspends_steps_and_reboots() {
    let told = Timestamp(2_000);
    let anchor = Anchor { boot_id: "a".to_owned(), mono_us: 500, at: told, wall_us: 1_000_000, told };
    let check = |boot: &str, mono: u64, wall: i64, read: u64, expected: u64| {
        assert_eq!(anchor.resumed(boot, mono, wall).at(read), Timestamp(expected), "{boot} {mono} {wall} {read}");
    };
    // The same boot: only CLOCK_MONOTONIC counts, whatever the wall clock shows after a suspend or a step.
    check("a", 600, 1_000_100, 600, 2_100);
    check("a", 600, 28_800_000_000, 600, 2_100);
    check("a", 600, i64::MIN, 600, 2_100);
    check("a", 600, i64::MAX, 650, 2_150);
    // It never goes back.
    check("a", 400, 1_000_000, 400, 2_000);
    // Another boot: as much as the wall clock advanced, and nothing if it went back.
    check("b", 7, 1_000_900, 7, 2_900);
    check("b", 7, 1_000_900, 17, 2_910);
    check("b", 7, -5, 7, 2_000);
    check("b", 7, i64::MIN, 9, 2_002);
    // The journal may have got further than the anchor, which is set every ten seconds.
    let ahead = Anchor { told: Timestamp(2_500), ..anchor.clone() };
    assert_eq!(ahead.resumed("b", 7, -5).at(9), Timestamp(2_502));
    assert_eq!(ahead.resumed("b", 7, 1_000_900).at(7), Timestamp(2_900));
}

#[test]
fn a_reboot_is_one_event_and_one_uncharged_recovery() {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    story.core.env().reboot();
    story.restart_after(vec![Event::Rebooted]);
    story.run(SECOND * 5);
    assert_eq!(count(&story, |what| matches!(what, What::MachineRebooted { agents: 2 })), 1);
    assert_eq!(count(&story, |what| matches!(what, What::AgentDied { expected: false, .. })), 2);
    assert_eq!(count(&story, |what| matches!(what, What::ServerDied { .. })), 0, "that is the same event");
    assert_eq!(attempts(&story), 0, "charged to nobody");
    let recovering = |what: &What| matches!(what, What::ProjectMoved { to: ProjectState::Recovering, .. });
    assert_eq!(count(&story, recovering), 1);
    let project = story.project().expect("the project");
    assert_eq!((project.state(), project.epoch.0, project.breaker.attempts.len()), (ProjectState::Running, 2, 0));
    let why = project.last_failure.as_ref().map(|failure| (failure.kind, failure.ending.clone()));
    let boot = Ending::Lost("the machine was rebooted: no process outlives its boot".to_owned());
    assert_eq!(why, Some((FailureKind::ServerDied, boot)));
    assert_eq!(story.core.env().agents.len(), 4);
    // Again, without a reboot: a second pass changes nothing.
    let told = story.told.len();
    story.restart_after(Vec::new());
    assert_eq!(story.told.len(), told);
}

#[test]
fn reboots_without_end_are_charged_in_the_end() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    for _ in 0..8 {
        story.core.env().reboot();
        story.restart_after(vec![Event::Rebooted]);
        story.run(SECOND * 400);
    }
    assert_eq!(attempts(&story), 3);
    assert_eq!(story.project().and_then(|project| project.reason), Some(SuspendReason::Breaker));
}

/// Whoever has the number of an agent after a reboot, and by chance its start time: it is never even looked at.
#[test]
fn a_stranger_with_the_number_of_an_agent_is_not_taken_for_it() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.run(SECOND);
    let old = story.core.env().agents[0].process;
    story.core.env().reboot();
    // It looks just like the agent, were it not for the boot.
    story.core.env().agents[0].alive = true;
    story.core.env().watched.clear();
    story.core.env().names.clear();
    story.restart_after(vec![Event::Rebooted]);
    let role = |story: &Story| story.project().map(|project| (project.roles[0].state(), project.roles[0].process));
    assert_eq!(role(&story), Some((RoleState::Dead, None)));
    story.run(SECOND * 5);
    assert!(!story.core.env().watched.contains(&old), "it was watched");
    assert!(!story.core.env().names.contains(&"collect"), "it was looked at");
    assert_eq!(story.project().map(|project| project.epoch.0), Some(2));
    // The same start time alone makes nobody the agent either: the server of before is another one.
    assert_ne!(story.project().and_then(|project| project.session.as_ref()?.server), Some(SERVER));
    assert_ne!(old, ProcessId { start: old.start + 1, ..old });
}

#[test]
fn who_was_done_before_the_reboot_is_done() {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    story.core.env().report("developer", SECOND, Report::Done(None));
    story.run(SECOND * 2);
    story.core.env().reboot();
    story.restart_after(vec![Event::Rebooted]);
    story.run(SECOND * 5);
    let roles = |story: &Story| story.project().map(|project| [project.roles[0].state(), project.roles[1].state()]);
    assert_eq!(roles(&story), Some([RoleState::Done, RoleState::Ready]));
    story.core.env().report("tester", SECOND, Report::Done(None));
    story.run(SECOND * 5);
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { to: ProjectState::Completed, .. })), 1);
}
