//! The two founding incidents, replayed through the real core: each snapshot is the story of what should have
//! happened.

use crate::scripted::Story;
use orchestrator::domain::event::{PaneEnd, Report};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program, Stage, Stderr};
use orchestrator::domain::limits::Policy;
use orchestrator::domain::time::Span;
use orchestrator::telemetry::fold::Folder;
use orchestrator::telemetry::line::{self, Context, json_line};
use orchestrator::telemetry::{export, metric};

/// Project 89: worktrees without CLAUDE.md, only warned about; then the session dies and nobody notices for five
/// hours, since the database has no name for it.
#[test]
fn project_89() {
    let roles = ["orchestrator", "project-manager", "developer", "tester", "testrunner"];
    let mut story = Story::begin("Mobile App Spec V2", &roles, Policy::default());
    let missing = roles.iter().map(|role| {
        let path = format!("worktrees/p1-0042/{role}/e1/CLAUDE.md");
        let why = "No such file or directory (os error 2)";
        Failure::of_operation(Stage::Provision, FailureKind::ResourceMissing, vec!["write".to_owned(), path], why)
    });
    story.core.env().script.failures.insert("ensure_files", missing.collect());
    story.run(Span::from_secs(60));
    story.core.env().kill_session("p1-0042-e1");
    story.run(Span::from_secs(60));
    for role in roles {
        story.core.env().report(role, Span::from_secs(1), Report::Done(None));
    }
    story.run(Span::from_secs(60));
    tell("project_89", &story);
}

/// Project 99: the launch is reported as failed, with nothing on stderr, while the session it made lives.
#[test]
fn project_99() {
    let mut story = Story::begin("Test Spec (P5)", &["developer", "tester"], Policy::default());
    let silent = Failure {
        stage: Stage::Launch,
        kind: FailureKind::SubprocessFailed,
        program: Program::Tmux,
        argv: ["tmux", "new-session", "-d", "-s", "p1-0042-e1"].map(str::to_owned).to_vec(),
        cwd: None,
        ending: Ending::Code(1),
        stderr: Stderr::Null,
        stdout_tail: String::new(),
        duration: Span::from_millis(5_000),
        hint: None,
    };
    story.core.env().script.done_but_failed.insert("ensure_session", vec![silent]);
    story.run(Span::from_secs(60));
    for role in ["developer", "tester"] {
        story.core.env().report(role, Span::from_secs(1), Report::Done(None));
    }
    story.run(Span::from_secs(60));
    tell("project_99", &story);
}

/// Project 99, the other way it may have been: the session lives and holds only shells; its agents are dead.
#[test]
fn project_99_only_shells() {
    let mut story = Story::begin("Test Spec (P5)", &["developer", "tester"], Policy::default());
    story.run(Span::from_secs(60));
    story.core.env().end_agent("developer", PaneEnd::Dead { code: Some(1), signal: None });
    story.core.env().end_agent("tester", PaneEnd::Dead { code: None, signal: Some(9) });
    story.run(Span::from_secs(60));
    for role in ["developer", "tester"] {
        story.core.env().report(role, Span::from_secs(1), Report::Done(None));
    }
    story.run(Span::from_secs(60));
    tell("project_99_only_shells", &story);
}

/// The story as the structured log tells it, and as the metrics do.
fn tell(name: &str, story: &Story) {
    let _area = snapshots::area("orchestrator/incidents");
    let context = Context { run_id: None, mode: line::Mode::Sim, seed: None, installation: "0042".to_owned() };
    let lines: Vec<String> = story.told.iter().map(|entry| json_line(entry, &context, None)).collect();
    insta::assert_snapshot!(format!("{name}_events"), lines.join("\n"));
    let (recorder, exporter) = export::recorder().expect("the table of metrics is sound");
    metrics::with_local_recorder(&recorder, || {
        metric::describe_and_preregister();
        let mut folder = Folder::new();
        story.told.iter().for_each(|entry| folder.fold(entry));
    });
    // What moved; the series that stay at zero are the table's and the same in every story.
    let moved = |line: &&str| !line.starts_with('#') && !line.ends_with(" 0") && !line.contains("build_info");
    let text = exporter.render();
    let moved: Vec<&str> = text.lines().filter(moved).collect();
    insta::assert_snapshot!(format!("{name}_metrics"), moved.join("\n"));
}
