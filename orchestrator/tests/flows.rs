//! What the core does about each thing that can go wrong, told as short stories: the states a project passes
//! through, and what it must never do on the way.

use crate::scripted::{SERVER, Story};
use orchestrator::domain::event::{Event, Happened, LeftAlone, PaneEnd, PaneSeen, Report, Source};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use orchestrator::domain::id::{Epoch, ProjectId, RoleName, Token};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::signal::{Entry, What};
use orchestrator::domain::state::{ProjectState, RoleState};
use orchestrator::domain::time::Span;

const SECOND: Span = Span::from_secs(1);
const DEAD: PaneEnd = PaneEnd::Dead { code: None, signal: Some(9) };

fn running() -> Story {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    story
}

fn state(story: &Story) -> Option<ProjectState> {
    story.project().map(orchestrator::domain::project::Project::state)
}

fn role(story: &Story, name: &str) -> RoleState {
    let role = RoleName(name.to_owned());
    story.project().and_then(|project| project.role(&role)).expect("the role").state()
}

fn count(story: &Story, what: impl Fn(&What) -> bool) -> usize {
    story.told.iter().filter(|entry| what(&entry.signal.what)).count()
}

fn started(what: &What) -> bool {
    matches!(what, What::RecoveryStarted { .. })
}

fn launched(story: &Story, name: &str) -> usize {
    let launched = |entry: &&Entry| {
        matches!(entry.signal.what, What::AgentStarted { .. })
            && entry.signal.agent_role.as_ref().is_some_and(|role| role.0 == name)
    };
    story.told.iter().filter(launched).count()
}

fn finish(story: &mut Story) {
    for name in ["developer", "tester"] {
        story.core.env().report(name, SECOND, Report::Done(None));
    }
    story.run(SECOND * 3);
}

#[test]
fn a_dead_agent_is_replaced_and_its_sibling_left_alone() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (2, 1));
    assert!(story.core.env().agent("tester").alive, "nobody touched the sibling");
    assert_eq!(story.project().map(|project| project.epoch), Some(Epoch(2)));
    finish(&mut story);
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { to: ProjectState::Completed, .. })), 1);
    assert_eq!(story.core.env().sessions.len(), 0, "nothing is left behind");
}

#[test]
fn done_and_gone_is_done() {
    let mut story = running();
    story.core.env().report("developer", Span(10), Report::Done(None));
    story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(0), signal: None });
    story.run(SECOND);
    assert_eq!(role(&story, "developer"), RoleState::Done);
    assert_eq!(count(&story, started), 0, "no recovery for who is done");
}

/// The developer's CLAUDE.md is found missing, and to write it anew hangs.
fn its_files_hang(story: &mut Story) {
    story.core.env().script.hangs.insert("ensure_files");
    story.core.env().script.missing.insert("developer".to_owned());
    let touched = Event::FilesTouched { project: ProjectId(1), role: RoleName("developer".to_owned()) };
    story.core.env().push(Span(100), Source::Inotify, touched);
    story.run(SECOND);
}

/// What is left of an agent is looked at whatever hangs that is under way for the role.
#[test]
fn who_is_done_is_known_to_have_ended_while_its_role_is_busy() {
    let mut story = running();
    story.core.env().report("developer", Span(10), Report::Done(None));
    its_files_hang(&mut story);
    let developer = |story: &Story| story.project().expect("unfinished").roles[0].clone();
    assert_eq!((developer(&story).state(), developer(&story).busy.is_some()), (RoleState::Done, true));
    let agent = story.core.env().agent("developer");
    (agent.alive, agent.end) = (false, PaneEnd::Dead { code: Some(0), signal: None });
    for _ in 0..2 {
        story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
        story.run(SECOND * 2);
    }
    assert!(developer(&story).busy.is_some(), "it hangs still");
    assert_eq!((developer(&story).state(), developer(&story).process), (RoleState::Done, None));
    assert_eq!(count(&story, |what| matches!(what, What::AgentDied { expected: true, .. })), 1);
    assert_eq!(count(&story, started), 1, "for the missing file, and none for who is done");
}

/// The sweep is all that can tell of it, and it does not wait for the next one because files are just being put right.
#[test]
fn a_death_that_no_event_told_of_is_found_while_its_role_is_busy() {
    let mut story = running();
    its_files_hang(&mut story);
    let developer = |story: &Story| story.project().expect("unfinished").roles[0].clone();
    assert!(developer(&story).busy.is_some() && developer(&story).state().is_live(), "its file is being written");
    let agent = story.core.env().agent("developer");
    (agent.alive, agent.end) = (false, PaneEnd::Dead { code: Some(1), signal: None });
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 2);
    assert!(developer(&story).busy.is_some(), "it hangs still");
    assert_eq!(developer(&story).state(), RoleState::Dead);
    assert_eq!(count(&story, |what| matches!(what, What::DeathExplained { .. })), 1);
}

#[test]
fn done_that_is_read_after_the_death_still_counts() {
    let mut story = running();
    story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(0), signal: None });
    story.core.env().report("developer", Span(300), Report::Done(None));
    story.run(SECOND);
    assert_eq!(role(&story, "developer"), RoleState::Done);
    assert_eq!(launched(&story, "developer"), 1, "it is not started again");
}

#[test]
fn exit_zero_without_done_is_no_completion() {
    let mut story = running();
    story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(0), signal: None });
    story.run(SECOND);
    let explained = |what: &What| {
        matches!(what, What::DeathExplained { failure }
            if failure.kind == FailureKind::AgentExited && failure.ending == Ending::Code(0) && failure.hint.is_some())
    };
    assert_eq!(count(&story, explained), 1);
    assert_eq!(launched(&story, "developer"), 2);
}

#[test]
fn a_missing_claude_md_is_written_again_and_no_agent_disturbed() {
    let mut story = running();
    story.core.env().script.missing.insert("tester".to_owned());
    let touched = Event::FilesTouched { project: ProjectId(1), role: RoleName("tester".to_owned()) };
    story.core.env().push(Span(100), Source::Inotify, touched);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, |what| matches!(what, What::ResourceMissing { detected_by: Source::Inotify, .. })), 1);
    assert_eq!(count(&story, |what| matches!(what, What::ResourceRestored { .. })), 1);
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (1, 1));
    assert_eq!(story.project().map(|project| project.epoch), Some(Epoch(1)), "nothing was relaunched");
}

#[test]
fn a_worktree_is_made_again_only_once_its_old_agent_is_proved_gone() {
    let mut story = running();
    story.core.env().script.lost.insert("tester".to_owned());
    let touched = Event::FilesTouched { project: ProjectId(1), role: RoleName("tester".to_owned()) };
    story.core.env().push(Span(100), Source::Inotify, touched);
    story.run(SECOND);
    assert_eq!((state(&story), launched(&story, "tester")), (Some(ProjectState::Running), 2));
    let last = |is: &dyn Fn(&What) -> bool| story.told.iter().rposition(|entry| is(&entry.signal.what));
    let intended = |name| last(&|what| matches!(what, What::EffectIntended { effect, .. } if effect == name));
    let gone = last(&|what| matches!(what, What::AgentDied { expected: true, .. }));
    assert!(gone.is_some() && intended("end_remains") < gone && gone < intended("ensure_worktree"));
    let parked = |what: &What| matches!(what, What::ResourceRestored { path, parked } if path.ends_with("/tester/e2") && parked.len() == 1);
    assert_eq!(count(&story, parked), 1, "what stood in the way is told with its place");
}

#[test]
fn settings_that_hooks_cannot_be_added_to_are_told_and_stop_nothing() {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    let left = LeftAlone { path: ".claude/settings.local.json".to_owned(), why: "it is a symlink".to_owned() };
    story.core.env().script.left.insert("tester".to_owned(), left);
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, started), 0);
    let told = |entry: &&Entry| {
        entry.signal.agent_role.as_ref().is_some_and(|role| role.0 == "tester")
            && matches!(&entry.signal.what, What::OperationFailed { failure } if failure.stage == Stage::Provision
                && failure.argv == ["hooks", ".claude/settings.local.json"]
                && failure.ending == Ending::Reason("it is a symlink".to_owned())
                && failure.hint.is_some())
    };
    assert_eq!(story.told.iter().filter(told).count(), 1);
}

#[test]
fn a_missing_resource_found_by_nobody_is_found_by_the_sweep() {
    let mut story = running();
    story.core.env().script.missing.insert("tester".to_owned());
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 2);
    assert_eq!(count(&story, |what| matches!(what, What::ResourceMissing { detected_by: Source::Sweep, .. })), 1);
}

#[test]
fn work_whose_claude_md_is_gone_is_not_completed() {
    let mut story = running();
    story.core.env().script.missing.insert("tester".to_owned());
    finish(&mut story);
    let at = |wanted: fn(&What) -> bool| story.told.iter().position(|entry| wanted(&entry.signal.what));
    let missing = at(|what| matches!(what, What::ResourceMissing { .. })).expect("it was noticed");
    let completed = at(|what| matches!(what, What::ProjectCertified { .. })).expect("and mended, then certified");
    assert!(missing < completed);
}

#[test]
fn a_death_that_no_event_told_is_found_by_the_sweep() {
    let mut story = running();
    let agent = story.core.env().agent("tester");
    (agent.alive, agent.end) = (false, DEAD);
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 2);
    let swept = |what: &What| matches!(what, What::AgentDied { detected_by: Source::Sweep, expected: false, .. });
    assert_eq!(count(&story, swept), 1);
    assert_eq!(launched(&story, "tester"), 2);
}

/// An agent that ignores the hangup may close its terminal and run on: tmux shows its pane as dead all the same.
#[test]
fn who_is_done_and_has_closed_its_terminal_is_not_called_dead() {
    let mut story = running();
    story.core.env().report("developer", Span(10), Report::Done(None));
    story.run(SECOND);
    story.core.env().agent("developer").end = PaneEnd::Dead { code: None, signal: None };
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 2);
    assert_eq!(role(&story, "developer"), RoleState::Done);
    assert_eq!(count(&story, |what| matches!(what, What::AgentDied { .. })), 0, "it lives");
}

#[test]
fn a_list_that_lacks_a_live_agent_is_looked_into_and_fails_nobody() {
    let mut story = running();
    let alarms = story.told.len();
    let session = story.core.env().sessions.iter().next().map(|(name, token)| (name.clone(), token.clone()));
    let (session, token) = session.expect("its session");
    // What tmux can show of a live agent and is no proof of its death: a pane whose terminal was closed, or none.
    let tester = story.core.env().agent("tester").clone();
    let seen = PaneSeen {
        pane: tester.pane,
        pid: tester.process.pid,
        dead: true,
        session,
        session_token: Some(token),
        role_token: Some(tester.launch.token),
    };
    let listed = Event::PanesListed { server: SERVER, panes: vec![seen] };
    story.core.env().push(SECOND, Source::Sweep, listed);
    story.run(SECOND * 2);
    assert_eq!((role(&story, "developer"), role(&story, "tester")), (RoleState::Ready, RoleState::Ready));
    let told: Vec<_> = story.told[alarms..].iter().map(|entry| &entry.signal.what).collect();
    assert!(told.is_empty(), "both live, and that was asked: {told:?}");
    assert_eq!(story.core.env().names.iter().filter(|name| **name == "collect").count(), 2);
}

#[test]
fn whoever_lives_is_watched_again_by_the_next_orchestrator() {
    let mut story = running();
    let live: Vec<_> = ["developer", "tester"].map(|name| story.core.env().agent(name).process).into();
    story.core.env().watched.clear();
    // Nothing is committed before the first turn: the watches must not wait for a reason to write.
    story.restart(Policy::default());
    assert_eq!(story.core.env().watched.iter().copied().collect::<Vec<_>>(), live);
    let alive = |name: &str, story: &mut Story| story.core.env().agent(name).alive;
    assert!(alive("developer", &mut story) && alive("tester", &mut story), "a restart ends nobody");
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (1, 1));
}

#[test]
fn a_death_that_was_committed_just_before_a_crash_is_recovered_from() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    let died = |story: &Story| count(story, |what| matches!(what, What::AgentDied { .. }));
    for _ in 0..1_000 {
        if died(&story) == 0 {
            story.run(Span(1_000));
        }
    }
    let explained = |what: &What| matches!(what, What::DeathExplained { .. });
    assert_eq!((died(&story), count(&story, explained)), (1, 0));
    // What memory holds beside the store is lost, and so is whatever its effects find.
    story.core.distrust();
    story.core.env().push(SECOND, Source::Sweep, Event::SweepDue);
    story.run(SECOND * 10);
    assert_eq!((state(&story), role(&story, "developer")), (Some(ProjectState::Running), RoleState::Ready));
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (2, 1));
    assert_eq!((died(&story), count(&story, explained), count(&story, started)), (1, 1, 1));
}

#[test]
fn nothing_is_concluded_from_a_lost_connection() {
    let mut story = running();
    let alarms = story.told.len();
    story.core.env().push(SECOND, Source::Control, Event::TmuxLost { reason: "hung".to_owned() });
    story.run(SECOND * 600);
    assert_eq!(state(&story), Some(ProjectState::Running), "ten minutes of silence change nothing");
    story.run(SECOND * 3_600);
    assert_eq!(state(&story), Some(ProjectState::Suspended), "an hour of silence kills nobody");
    let told: Vec<_> = story.told[alarms..].iter().map(|entry| &entry.signal.what).collect();
    let lost = matches!(told.as_slice(), [What::TmuxLost { .. }, What::SightLost { .. }, What::ProjectMoved { .. }]);
    assert!(lost, "{told:?}");
}

/// A dead server is one event and one recovery that nobody is charged for, until it dies too often.
#[test]
fn mass_death_is_one_event_and_charged_to_nobody() {
    let mut story = running();
    for died in 1..=3 {
        story.core.env().kill_server();
        story.run(SECOND);
        assert_eq!(state(&story), Some(ProjectState::Running), "after {died}");
        assert_eq!(count(&story, |what| matches!(what, What::ServerDied { sessions: 1, .. })), died);
        assert_eq!(launched(&story, "developer"), died + 1);
    }
    assert_eq!(count(&story, started), 0, "no recovery was charged");
    assert_eq!(count(&story, |what| matches!(what, What::SessionDied { .. })), 0, "one event, not one a session");
    story.core.env().kill_server();
    story.run(SECOND);
    assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Running), 1), "the fourth is charged");
}

#[test]
fn an_hour_without_faults_raises_nothing() {
    let mut story = running();
    for _ in 0..720 {
        story.core.env().push(SECOND * 5, Source::Sweep, Event::SweepDue);
        story.run(SECOND * 5);
    }
    let alarms: Vec<_> = story.told.iter().filter(|entry| entry.signal.is_alarm()).collect();
    assert!(alarms.is_empty(), "{alarms:?}");
}

/// The fourth fault within the window is contained; after the window one probe goes through, and its success closes
/// the breaker.
#[test]
fn the_budget_is_spent_then_probed_once() {
    let mut story = running();
    for _ in 0..4 {
        story.core.env().end_agent("developer", DEAD);
        story.run(SECOND * 2);
    }
    assert_eq!(state(&story), Some(ProjectState::Suspended));
    assert_eq!(count(&story, started), 3);
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryRefused { .. })), 1);
    assert!(story.core.env().agent("tester").alive, "the sibling is left alone");
    story.run(SECOND * 3_590);
    assert_eq!(state(&story), Some(ProjectState::Suspended), "not a second too early");
    story.run(SECOND * 20);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryStarted { probe: true, .. })), 1);
    finish(&mut story);
    assert_eq!(count(&story, |what| matches!(what, What::ProjectMoved { to: ProjectState::Completed, .. })), 1);
}

#[test]
fn probes_that_keep_failing_end_in_failed_with_evidence() {
    let mut story = running();
    story.core.env().script.deaf = true;
    for _ in 0..4 {
        story.core.env().end_agent("developer", DEAD);
        story.run(SECOND * 300);
    }
    story.run(SECOND * 3_600 * 6);
    assert_eq!(count(&story, |what| matches!(what, What::RecoveryStarted { probe: true, .. })), 3);
    let failed = |what: &What| matches!(what, What::ProjectFailed { failure } if failure.kind == FailureKind::BriefUnacknowledged);
    assert_eq!(count(&story, failed), 1);
    assert!(story.core.env().agents.iter().all(|agent| !agent.alive), "nothing of a failed project is left");
}

#[test]
fn an_unacknowledged_brief_is_handed_over_again_before_anybody_is_blamed() {
    let mut story = Story::begin("Deaf", &["developer"], Policy::default());
    story.core.env().script.deaf = true;
    story.run(SECOND * 95);
    assert_eq!(count(&story, |what| matches!(what, What::BriefHanded { .. })), 4);
    assert_eq!(count(&story, started), 0);
    story.core.env().script.deaf = false;
    story.core.env().report("developer", SECOND, Report::Ack);
    story.run(SECOND * 60);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(count(&story, started), 0);
}

/// A trust prompt swallows the brief: the agent is not deaf, it waits for a person, however long that takes.
#[test]
fn who_asks_for_a_person_before_its_brief_is_neither_briefed_nor_deaf() {
    let mut story = Story::begin("Prompt", &["developer"], Policy::default());
    story.core.env().script.deaf = true;
    story.run(SECOND);
    story.core.env().report("developer", SECOND, Report::NeedsInput(Some("trust this folder?".to_owned())));
    story.run(SECOND * 7_200);
    assert_eq!((state(&story), role(&story, "developer")), (Some(ProjectState::Briefing), RoleState::Starting));
    assert_eq!(count(&story, |what| matches!(what, What::BriefHanded { .. })), 1);
    story.core.env().script.deaf = false;
    story.core.env().report("developer", SECOND, Report::Progress(None));
    story.run(SECOND * 60);
    assert_eq!(count(&story, |what| matches!(what, What::BriefHanded { .. })), 2, "the prompt had swallowed it");
    assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Running), 0));
}

#[test]
fn an_agent_that_gives_up_fails_its_project_in_its_own_words() {
    let mut story = running();
    story.core.env().report("developer", SECOND, Report::Fail("the API key is revoked".to_owned()));
    story.run(SECOND * 5);
    let words = |what: &What| {
        matches!(what, What::ProjectFailed { failure }
        if failure.ending == Ending::Reason("the API key is revoked".to_owned()))
    };
    assert_eq!(count(&story, words), 1);
    assert!(story.core.env().sessions.is_empty());
    assert_eq!(story.project(), None, "it is settled");
}

/// A respawn that is under way when its project ends must come out before the end is final, or it would outlive it.
#[test]
fn nothing_is_taken_down_before_what_is_under_way_has_come_out() {
    let intended = |story: &Story, name: &str| {
        count(story, |what| matches!(what, What::EffectIntended { effect, .. } if effect == name))
    };
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    for _ in 0..1_000 {
        if intended(&story, "respawn") == 1 {
            break;
        }
        story.run(Span(100));
    }
    story.core.env().report("tester", Span(10), Report::Fail("no key".to_owned()));
    story.run(Span(500));
    assert_eq!((state(&story), intended(&story, "end_session")), (Some(ProjectState::Failed), 0));
    story.run(SECOND);
    assert_eq!((state(&story), intended(&story, "end_session")), (None, 1));
    assert!(story.core.env().agents.iter().all(|agent| !agent.alive));
}

#[test]
fn only_the_current_incarnation_is_listened_to() {
    let mut story = running();
    let old = story.core.env().agent("developer").launch.clone();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND);
    let report = |epoch, token: Token| Event::Reported {
        project: ProjectId(1),
        role: old.role.clone(),
        epoch,
        token,
        report: Report::Done(None),
    };
    let forged = Token("f".repeat(32));
    for (event, stale) in [(report(old.epoch, old.token.clone()), true), (report(Epoch(2), forged), false)] {
        story.core.env().push(SECOND, Source::Spool, event);
        story.run(SECOND * 2);
        let last = &story.told.last().expect("told").signal.what;
        assert!(matches!(last, What::SpoolRejected { stale: found, .. } if *found == stale), "{last:?}");
    }
    assert_eq!(role(&story, "developer"), RoleState::Ready);
}

#[test]
fn a_refused_worktree_is_tried_within_the_budget_and_then_contained() {
    let mut story = Story::begin("Refused", &["developer"], Policy::default());
    let git = |_| Failure {
        stage: Stage::Provision,
        kind: FailureKind::SubprocessFailed,
        program: Program::Git,
        argv: vec!["git".to_owned(), "worktree".to_owned(), "add".to_owned()],
        cwd: None,
        ending: Ending::Code(128),
        stderr: Stderr::Empty,
        stdout_tail: String::new(),
        duration: SECOND,
        hint: None,
    };
    story.core.env().script.failures.insert("ensure_worktree", (0..9).map(git).collect());
    story.run(SECOND * 120);
    assert_eq!(state(&story), Some(ProjectState::Suspended));
    assert_eq!(count(&story, started), 3);
    assert_eq!(count(&story, |what| matches!(what, What::SubprocessFailed { .. })), 4, "every one with its evidence");
}

fn explained(what: &What) -> bool {
    matches!(what, What::DeathExplained { .. })
}

/// Seeds 247 and 492 of the simulator: the attempt was charged again, and the death never explained.
#[test]
fn remains_that_cannot_be_had_while_provisioning_are_no_failure_of_their_own() {
    let mut story = Story::begin("Story", &["developer", "tester"], Policy::default());
    story.run(SECOND);
    story.core.env().end_agent("developer", DEAD);
    let until = story.core.env().at + SECOND;
    while state(&story) != Some(ProjectState::Provisioning) {
        assert!(story.step(until), "an attempt begins");
    }
    let lost = Failure {
        program: Program::Tmux,
        ..Failure::of_operation(Stage::Run, FailureKind::SubprocessFailed, vec!["collect".to_owned()], "server exited")
    };
    story.core.env().script.failures.insert("collect", vec![lost]);
    story.core.env().end_agent("tester", DEAD);
    story.run(SECOND * 30);
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!((count(&story, explained), count(&story, started)), (2, 1));
}

/// The connection goes with the server: remains that were just asked for are nobody's failure, and the death of the
/// server is charged to nobody, however early the first of its agents is missed.
#[test]
fn a_connection_that_is_lost_while_remains_are_gathered_charges_nobody() {
    let mut story = running();
    let lost = || Failure {
        program: Program::Tmux,
        ending: Ending::Lost("the connection to tmux was lost".to_owned()),
        ..Failure::of_operation(Stage::Run, FailureKind::SubprocessFailed, vec!["collect".to_owned()], "")
    };
    story.core.env().script.failures.insert("collect", vec![lost(), lost()]);
    story.core.env().end_agent("developer", PaneEnd::Gone);
    story.core.env().end_agent("tester", PaneEnd::Gone);
    story.run(Span::from_millis(5));
    assert_eq!((count(&story, explained), state(&story)), (0, Some(ProjectState::Running)));
    story.core.env().kill_server();
    story.run(SECOND * 2);
    assert_eq!((count(&story, explained), count(&story, started)), (2, 0));
    assert_eq!(state(&story), Some(ProjectState::Running));
}

/// Seeds 1103 and 1396 of the simulator: who had asked for the remains was killed, and the project was called running
/// for ever with a dead agent in it.
#[test]
fn a_death_is_explained_by_the_next_orchestrator() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    let until = story.core.env().at + SECOND;
    while role(&story, "developer") != RoleState::Dead {
        assert!(story.step(until), "the death is noticed");
    }
    assert_eq!(count(&story, explained), 0);
    story.restart(Policy::default());
    story.run(SECOND * 2);
    assert_eq!((count(&story, explained), count(&story, started)), (1, 1));
    assert_eq!(state(&story), Some(ProjectState::Running));
    assert_eq!(role(&story, "developer"), RoleState::Ready);
}

/// Likewise if the machine was started anew meanwhile.
#[test]
fn a_death_before_a_reboot_is_explained_after_it() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    let until = story.core.env().at + SECOND;
    while role(&story, "developer") != RoleState::Dead {
        assert!(story.step(until), "the death is noticed");
    }
    story.core.env().reboot();
    story.restart_after(vec![Event::Rebooted]);
    story.run(SECOND * 2);
    let deaths = count(&story, |what| matches!(what, What::AgentDied { .. }));
    assert_eq!((deaths, count(&story, explained)), (story.project().expect("it").roles.len(), deaths));
    assert_eq!(state(&story), Some(ProjectState::Running));
}

/// Seed 1598 of the simulator: the deadline of the acknowledgement went with the incident, and nobody set another.
#[test]
fn a_brief_that_was_out_when_a_file_went_missing_is_handed_over_again() {
    let mut story = Story::begin("Story", &["developer"], Policy::default());
    story.core.env().script.deaf = true;
    story.run(SECOND);
    assert_eq!(state(&story), Some(ProjectState::Briefing));
    story.core.env().script.missing.insert("developer".to_owned());
    let touched = Event::FilesTouched { project: ProjectId(1), role: RoleName("developer".to_owned()) };
    story.core.env().push(SECOND, Source::Inotify, touched);
    story.run(SECOND * 2);
    assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Briefing), 1));
    story.core.env().script.deaf = false;
    story.run(SECOND * 300);
    assert_eq!((state(&story), launched(&story, "developer")), (Some(ProjectState::Running), 1));
}

/// Every event again, once more, changes nothing: what the sources repeat is harmless.
/// The death is committed, and the orchestrator is killed before the remains it asked for have come (C29, C30).
#[test]
fn a_death_whose_evidence_was_lost_is_explained_and_mended() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    let told = |story: &Story, what: fn(&What) -> bool| story.told.iter().filter(|e| what(&e.signal.what)).count();
    let died = |what: &What| matches!(what, What::AgentDied { .. });
    let until = story.core.env().at + SECOND;
    while told(&story, died) == 0 {
        assert!(story.step(until), "the death is told");
    }
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    story.restart_after(Vec::new());
    story.run(SECOND * 20);
    assert_eq!(told(&story, |what| matches!(what, What::DeathExplained { .. })), 1);
    assert_eq!(told(&story, |what| matches!(what, What::RecoveryStarted { .. })), 1);
    assert_eq!(story.project().map(|project| project.state()), Some(ProjectState::Running));
    assert_eq!(told(&story, died), 1, "and told once");
}

#[test]
fn repeated_events_change_nothing() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    story.run(SECOND);
    let agent = story.core.env().agents[0].clone();
    let before = story.project().cloned();
    let told = story.told.len();
    for _ in 0..3 {
        let seen_at = story.core.env().at;
        let gone =
            Event::ProcessGone { project: ProjectId(1), role: agent.launch.role.clone(), process: agent.process };
        story.turn(vec![Happened { seen_at, source: Source::Pidfd, event: gone }]);
    }
    assert_eq!((story.project().cloned(), story.told.len()), (before, told));
}

/// What comes of asking over a connection that is being lost.
fn cut() -> Failure {
    Failure {
        program: Program::Tmux,
        ending: Ending::Lost("server exited unexpectedly".to_owned()),
        ..Failure::of_operation(Stage::Run, FailureKind::SubprocessFailed, vec!["collect".to_owned()], "")
    }
}

/// A killed server takes its agents along, and the end of one is noticed first: what is left of it is asked over the
/// dying connection, and nothing may be concluded from that answer.
#[test]
fn a_servers_death_that_is_first_seen_as_an_agents_is_charged_to_nobody() {
    for loss_first in [false, true] {
        let mut story = running();
        story.core.env().script.failures.insert("collect", vec![cut()]);
        story.core.env().end_agent("developer", DEAD);
        if loss_first {
            let lost = Event::TmuxLost { reason: "server exited unexpectedly".to_owned() };
            story.core.env().push(Span(300), Source::Control, lost);
        }
        story.run(Span::from_millis(5));
        assert_eq!((state(&story), role(&story, "developer")), (Some(ProjectState::Running), RoleState::Dead));
        story.core.env().kill_server();
        story.run(SECOND * 2);
        assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Running), 0), "{loss_first}");
        assert_eq!(count(&story, |what| matches!(what, What::ServerDied { sessions: 1, .. })), 1);
        assert_eq!(story.project().map(|project| project.epoch), Some(Epoch(2)));
    }
}

/// The same server answers again: the question is asked once more.
#[test]
fn a_death_whose_explanation_was_lost_with_the_connection_is_explained_by_the_next_list() {
    let mut story = running();
    story.core.env().script.failures.insert("collect", vec![cut()]);
    story.core.env().end_agent("developer", DEAD);
    story.run(Span::from_millis(5));
    story.core.env().hang();
    story.run(SECOND);
    assert_eq!((role(&story, "developer"), count(&story, started)), (RoleState::Dead, 0));
    story.core.env().heal();
    story.run(SECOND);
    assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Running), 1));
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (2, 1));
    let killed =
        |what: &What| matches!(what, What::DeathExplained { failure } if failure.kind == FailureKind::AgentKilled);
    assert_eq!(count(&story, killed), 1);
}

/// ... or it was lost with the orchestrator, between the two turns.
#[test]
fn a_death_whose_explanation_was_lost_with_the_orchestrator_is_explained_by_the_next() {
    let mut story = running();
    story.core.env().end_agent("developer", DEAD);
    let until = story.core.env().at + Span(500);
    assert!(story.step(until));
    assert_eq!(role(&story, "developer"), RoleState::Dead);
    story.restart(Policy::default());
    story.run(SECOND * 2);
    assert_eq!((state(&story), count(&story, started)), (Some(ProjectState::Running), 1));
    assert_eq!((launched(&story, "developer"), launched(&story, "tester")), (2, 1));
}
