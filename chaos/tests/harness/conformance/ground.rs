//! Worktrees and files: what git and the disk answer, and what inotify tells.

use super::stage::Harm;
use super::table::Case;

/// Every case about worktrees and files.
pub(crate) const CASES: &[Case] = &[
    ("preflight", |play| {
        play.does("all is there", None, play.preflight());
        play.does("again", None, play.preflight());
    }),
    ("ensure_worktree", |play| {
        play.does("nothing there", Some("a"), play.worktree("a"));
        play.does("again", Some("a"), play.worktree("a"));
        play.harm(Harm::Dirty("a"));
        play.does("dirty", Some("a"), play.worktree("a"));
        play.harm(Harm::RemoveTree("a"));
        play.does("registered and gone", Some("a"), play.worktree("a"));
        play.harm(Harm::Husk("a"));
        play.does("a husk", Some("a"), play.worktree("a"));
        play.harm(Harm::OtherBranch("a"));
        play.does("on another branch", Some("a"), play.worktree("a"));
        play.harm(Harm::RemoveTree("a"));
        play.harm(Harm::RemakeTree("a"));
        play.does("made anew by somebody", Some("a"), play.worktree("a"));
        play.does("another role's", Some("b"), play.worktree("b"));
    }),
    ("ensure_files", |play| {
        play.does("no worktree", Some("a"), play.files("a"));
        let tree = play.order(Some("a"), play.worktree("a"));
        play.end_of(tree).expect("a worktree");
        play.does("none there", Some("a"), play.files("a"));
        play.does("again", Some("a"), play.files("a"));
        play.harm(Harm::Remove("a"));
        play.does("removed", Some("a"), play.files("a"));
        play.harm(Harm::Replace("a"));
        play.does("another file", Some("a"), play.files("a"));
        play.harm(Harm::Truncate("a"));
        play.does("emptied", Some("a"), play.files("a"));
        play.harm(Harm::Directory("a"));
        play.does("a directory", Some("a"), play.files("a"));
        play.harm(Harm::Symlink("a"));
        play.does("a symlink", Some("a"), play.files("a"));
    }),
    ("look", |play| {
        play.does("no worktree", Some("a"), play.look("a"));
        play.furnish();
        play.does("all is there", Some("a"), play.look("a"));
        for (step, harm) in [
            ("dirty", Harm::Dirty("a")),
            ("another branch", Harm::OtherBranch("a")),
            ("another file", Harm::Replace("a")),
            ("emptied", Harm::Truncate("a")),
            ("removed", Harm::Remove("a")),
        ] {
            play.harm(harm);
            play.does(step, Some("a"), play.look("a"));
        }
        for (step, harm) in [("a directory", Harm::Directory("b")), ("a husk", Harm::Husk("a"))] {
            play.harm(harm);
            play.does(step, Some("b"), play.look("b"));
        }
        play.does("of the husk", Some("a"), play.look("a"));
        play.harm(Harm::RemoveTree("a"));
        play.does("directory gone", Some("a"), play.look("a"));
        play.harm(Harm::RemakeTree("a"));
        play.does("made anew by somebody", Some("a"), play.look("a"));
    }),
    ("certify", |play| {
        play.furnish();
        play.does("all is there", None, play.certify());
        play.harm(Harm::Dirty("a"));
        play.does("dirty", None, play.certify());
        play.harm(Harm::OtherBranch("b"));
        play.does("another branch", None, play.certify());
        play.harm(Harm::Remove("b"));
        play.does("a file removed", None, play.certify());
        play.harm(Harm::RemoveTree("b"));
        play.does("a worktree gone", None, play.certify());
    }),
    ("events of files", |play| {
        play.furnish();
        play.watch();
        play.forget();
        play.does("written anew when all is there", Some("a"), play.files("a"));
        play.hears("of that", &[]);
        for (step, harm) in [
            ("touched", Harm::Touch("a")),
            ("emptied", Harm::Truncate("a")),
            ("replaced", Harm::Replace("a")),
            ("removed", Harm::Remove("a")),
        ] {
            play.harm(harm);
            play.hears(step, &["inotify FilesTouched a"]);
        }
        play.does("put right", Some("a"), play.files("a"));
        play.hears("of that", &["inotify FilesTouched a"]);
        play.harm(Harm::Dirty("a"));
        play.hears("a file that is no resource", &[]);
        play.harm(Harm::RemoveTree("a"));
        play.hears("directory removed", &["inotify FilesTouched a"]);
        play.harm(Harm::RemakeTree("a"));
        play.hears("directory made anew", &[]);
        play.harm(Harm::Truncate("a"));
        play.hears("emptied in that", &[]);
    }),
    ("events of a worktree made again", |play| {
        play.furnish();
        play.watch();
        play.forget();
        play.harm(Harm::RemoveTree("a"));
        play.hears("directory removed", &["inotify FilesTouched a"]);
        play.does("made again", Some("a"), play.worktree("a"));
        play.does("and its files", Some("a"), play.files("a"));
        play.watch();
        play.forget();
        play.harm(Harm::Remove("a"));
        play.hears("removed in that", &["inotify FilesTouched a"]);
    }),
];
