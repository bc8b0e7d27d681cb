//! Agents that outlived the orchestrator are told of as adopted (G12): once a start, when tmux shows them.

use crate::scripted::Story;
use orchestrator::domain::event::{Event, Happened, PaneEnd, Source};
use orchestrator::domain::id::{ProcessId, ProjectId};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::signal::What;
use orchestrator::domain::state::ProjectState;
use orchestrator::domain::time::Span;
use std::time::Duration;

const SECOND: Span = Span::from_secs(1);

fn running() -> Story {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    story
}

fn adopted(story: &Story) -> Vec<ProcessId> {
    let process = |what: &What| if let What::AgentAdopted { process } = what { Some(*process) } else { None };
    story.told.iter().filter_map(|entry| process(&entry.signal.what)).collect()
}

fn current(story: &Story) -> Vec<ProcessId> {
    story.project().into_iter().flat_map(|project| &project.roles).filter_map(|role| role.process).collect()
}

fn listed(story: &mut Story) {
    story.core.env().list();
    story.run(SECOND);
}

#[test]
fn whoever_outlived_a_restart_is_told_once_and_stays_as_it_was() {
    let mut story = running();
    listed(&mut story);
    assert_eq!(adopted(&story), [], "they were started by this very process");
    for starts in 1..3 {
        let (before, told) = (story.project().cloned(), story.told.len());
        story.restart(Policy::default());
        assert_eq!(adopted(&story).len(), (starts - 1) * 2, "nobody before tmux has shown them");
        listed(&mut story);
        assert_eq!(adopted(&story)[(starts - 1) * 2..], current(&story));
        assert_eq!(story.project().cloned(), before, "nothing else has changed");
        listed(&mut story);
        assert_eq!(adopted(&story).len(), starts * 2, "not by later lists");
        let told = &story.told[told..];
        let moved = |what: &What| matches!(what, What::RoleMoved { .. } | What::ProjectMoved { .. });
        assert!(!told.iter().any(|entry| moved(&entry.signal.what)), "{told:#?}");
    }
}

#[test]
fn who_is_started_after_it_is_not_adopted() {
    let mut story = running();
    story.restart(Policy::default());
    listed(&mut story);
    story.core.env().end_agent("developer", PaneEnd::Dead { code: None, signal: Some(9) });
    story.run(SECOND * 20);
    listed(&mut story);
    assert_eq!((adopted(&story).len(), story.core.env().agents.len()), (2, 3));
}

#[test]
fn who_died_meanwhile_is_not_adopted() {
    let mut story = running();
    let agent = story.core.env().agent("developer");
    (agent.alive, agent.end) = (false, PaneEnd::Dead { code: None, signal: Some(9) });
    let (dead, lives) = (current(&story)[0], current(&story)[1]);
    story.restart(Policy::default());
    story.run(SECOND);
    listed(&mut story);
    assert_eq!(adopted(&story), [lives]);
    let died = |what: &What| matches!(what, What::AgentDied { process, .. } if *process == dead);
    assert_eq!(story.told.iter().filter(|entry| died(&entry.signal.what)).count(), 1);
}

/// They are of a project that was cancelled, and about to be ended.
#[test]
fn who_is_being_ended_is_not_adopted() {
    let mut story = running();
    let now = orchestrator::env::Env::now(story.core.env());
    story.core.store().request(ProjectId(1), RequestKind::Cancel, &now).expect("recorded");
    let world = story.core.env();
    let seen_at = world.at;
    // The orders that follow die with their process, before tmux has them.
    world.lost = true;
    story.turn(vec![Happened { seen_at, source: Source::Spool, event: Event::SpoolTouched }]);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Cancelled), "not taken down yet");
    story.restart(Policy::default());
    listed(&mut story);
    assert_eq!(adopted(&story), []);
}

/// What could not be written was not told.
#[test]
fn a_list_that_could_not_be_committed_is_told_by_the_next() {
    let mut story = running();
    story.restart(Policy::default());
    story.core.store().set_busy_timeout(Duration::from_millis(5)).expect("set");
    let path = story.core.store().path().to_owned();
    let other = rusqlite::Connection::open(&path).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let world = story.core.env();
    let listed = Event::PanesListed { server: world.server, panes: world.panes() };
    let refused = Happened { seen_at: world.at, source: Source::Control, event: listed.clone() };
    story.core.turn(vec![refused]).expect_err("refused");
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(adopted(&story), []);
    story.core.env().push(SECOND, Source::Control, listed);
    story.run(SECOND * 2);
    assert_eq!(adopted(&story), current(&story));
}
