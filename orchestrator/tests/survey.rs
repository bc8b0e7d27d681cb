//! What the file events do not tell is found by the sweep's survey, and it costs a look only where something has
//! changed.
//!
//! Blind is a watch whose directory was exchanged for another by a rename further up: inotify stays with the old one
//! and tells nothing (INV-W1 in `orchestrator/src/env/watch.rs`).

use crate::again::Bench;
use crate::one_writer::{until, until_or};
use crate::tmux_trouble::{agent, one_agent, told};
use orchestrator::domain::effect::Effect;
use orchestrator::domain::event::{Event, Source};
use orchestrator::domain::failure::FailureKind;
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::project::{Project, Role, Worktree};
use orchestrator::domain::signal::What;
use orchestrator::domain::spec::Spec;
use orchestrator::domain::state::{ProjectState, RoleState};
use orchestrator::domain::time::Timestamp;
use orchestrator::env::Env as _;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Puts a copy in a directory's place, in one step; what `spoil` does to the copy nobody is told of.
fn exchange(dir: &Path, spoil: impl FnOnce(&Path)) {
    let copy = dir.with_extension("copy");
    let copied = Command::new("cp").arg("-a").arg(dir).arg(&copy).status().expect("it runs");
    assert!(copied.success());
    spoil(&copy);
    renameat_with(CWD, dir, CWD, &copy, RenameFlags::EXCHANGE).expect("exchanged");
}

fn spoil(file: &Path) {
    let text = std::fs::read_to_string(file).expect("read");
    std::fs::write(file, text.replace("good", "evil")).expect("written");
}

/// Roles whose worktrees are plain directories, two levels down.
fn project(bench: &Bench, roles: &[&str]) -> Project {
    let role = |name: &&str| {
        let path = format!("worktrees/{name}/e1");
        let dir = bench.place.home.dir().join(&path);
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::write(dir.join("CLAUDE.md"), "Be good.\n").expect("written");
        let mut role = Role::restored(RoleName((*name).to_owned()), RoleState::Working);
        role.worktree = Some(Worktree { path, branch: "work".to_owned(), ready: true });
        role
    };
    let spec: Spec = crate::scripted::spec("Survey", roles);
    let (slug, roles) = ("p1-survey".to_owned(), roles.iter().map(role).collect());
    Project::restored(ProjectId(1), Arc::new(spec), slug, ProjectState::Running, Timestamp(0), roles)
}

/// The next that is told to have been touched, and by whom.
fn touched(bench: &mut Bench) -> (Source, String) {
    loop {
        let happened = bench.next();
        if let Event::FilesTouched { role, .. } = happened.event {
            return (happened.source, role.0);
        }
    }
}

/// A survey tells in the order of the paths. So whoever is first is the first that has changed, and of who comes
/// before it nothing is told; no time has to pass to know that.
#[test]
fn a_blind_watch_is_made_up_for_and_what_has_not_changed_costs_nothing() {
    let mut bench = Bench::new();
    let project = project(&bench, &["a", "b", "z"]);
    bench.live.watch(&project);
    let swept = |role: &str| (Source::Sweep, role.to_owned());
    let file = |bench: &Bench, role: &str| bench.place.home.dir().join(format!("worktrees/{role}/e1/CLAUDE.md"));
    let survey = |bench: &mut Bench, roles: &[&str]| {
        bench.submit(Effect::Survey);
        for role in roles {
            assert_eq!(touched(bench), swept(role), "of {roles:?}");
        }
    };
    survey(&mut bench, &["a", "b", "z"]);
    for role in ["a", "b", "z"] {
        exchange(&bench.place.home.dir().join("worktrees").join(role), |_| ());
    }
    survey(&mut bench, &["a", "b", "z"]);

    spoil(&file(&bench, "b"));
    survey(&mut bench, &["b"]);
    // Once, although it is spoiled still; and nobody else.
    for _ in 0..3 {
        let last = file(&bench, "z");
        let longer = std::fs::read_to_string(&last).expect("read") + "And kind.\n";
        std::fs::write(&last, longer).expect("written");
        survey(&mut bench, &["z"]);
    }
    std::fs::remove_file(file(&bench, "a")).expect("removed");
    survey(&mut bench, &["a"]);
    std::fs::write(file(&bench, "a"), "Be good.\n").expect("written");
    survey(&mut bench, &["a"]);
}

/// A directory that was removed is told at once. One that is made in its place is watched by nobody until its
/// project is looked at again.
#[test]
fn a_worktree_that_was_removed_and_made_again_is_surveyed() {
    let mut bench = Bench::new();
    let project = project(&bench, &["a"]);
    bench.live.watch(&project);
    bench.submit(Effect::Survey);
    assert_eq!(touched(&mut bench).0, Source::Sweep);
    let dir = bench.place.home.dir().join("worktrees/a/e1");
    std::fs::remove_dir_all(&dir).expect("removed");
    assert_eq!(touched(&mut bench).0, Source::Inotify);
    std::fs::create_dir(&dir).expect("made");
    std::fs::write(dir.join("CLAUDE.md"), "Be evil.\n").expect("written");
    bench.submit(Effect::Survey);
    // The removal may have been told more than once before.
    until("the sweep tells", || (touched(&mut bench).0 == Source::Sweep).then_some(()));
}

/// The whole of it, in a running orchestrator.
#[test]
fn a_spoiled_claude_md_that_inotify_did_not_see_is_found_by_the_sweep_and_repaired() {
    let running = one_agent();
    let home = &running.place.home;
    let find = |root: &Path| {
        let found = Command::new("find").arg(root).args(["-name", "CLAUDE.md"]).output().expect("it runs");
        let found = String::from_utf8(found.stdout).expect("text");
        Path::new(found.lines().next().expect("a file")).to_owned()
    };
    exchange(&home.worktrees(), |copy| spoil(&find(copy)));
    let changed = |what: &What| matches!(what, What::ResourceMissing { detected_by: Source::Sweep, failure, .. } if failure.kind == FailureKind::ResourceChanged);
    let journal = || format!("the sweep finds it: {:#?}", told(home));
    until_or(journal, || told(home).iter().any(changed).then_some(()));
    let file = find(&home.worktrees());
    until("it is repaired", || (std::fs::read_to_string(&file).ok()? == "Be good.").then_some(()));
    assert_eq!(agent(home, 1), running.pid, "nobody has to die for it");
}
