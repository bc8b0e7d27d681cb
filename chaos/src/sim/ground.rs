//! Making the ground that agents stand on: git's worktrees and the files in them, stage by stage.

use super::deed::Spoil;
use super::job::Next;
use super::kernel::Program;
use super::park::PARK;
use super::perform::failed;
use super::world::World;
use crate::witness::Fact;
use orchestrator::domain::effect::{Effect, FileToWrite, Ordered, Way};
use orchestrator::domain::event::{Fact as Done, FileIs};
use orchestrator::domain::failure::{Ending, Failure, FailureKind, Program as Failed, Stderr};
use orchestrator::domain::id::ProcessId;
use orchestrator::domain::limits::deadline;
use orchestrator::domain::time::Span;
use orchestrator::validate::judge;

/// The stage in which a git that hangs is given up.
const GIT_HANGS: u8 = 10;

impl World {
    pub(super) fn worktree(&mut self, id: u64, stage: u8, ordered: &Ordered) -> Next {
        let Effect::EnsureWorktree { path, branch, park, .. } = &ordered.effect else { return Next::Silent };
        match stage {
            0 => {
                if let Some(next) = self.way(path, branch) {
                    return next;
                }
                match self.disk.tree(path) {
                    Some(tree) if tree.there && tree.filled && !tree.initializing && tree.branch == *branch => {
                        return Next::Over(Ok(Done::WorktreeReady {
                            head_sha: "f00d".to_owned(),
                            created: false,
                            parked: Vec::new(),
                        }));
                    }
                    // A husk of ours, or one that is registered and gone: it goes, and is made again. What else is there is
                    // somebody's work: it is moved aside, and what is made in its place says so.
                    Some(tree) => {
                        let parked = tree.there && !tree.initializing;
                        self.disk.unregister(path);
                        if let Some(job) = self.jobs.get_mut(&id) {
                            job.parked = parked.then(|| park.to_owned());
                        }
                    }
                    None => {}
                }
                Next::Go(self.takes(1_000, 4_000))
            }
            1 => self.worktree_add(id, ordered, path, branch),
            2 => {
                if let Some(tree) = self.disk.tree_mut(path) {
                    tree.filled = true;
                }
                Next::Go(self.takes(200, 1_000))
            }
            3 => {
                if let Some(tree) = self.disk.tree_mut(path) {
                    tree.initializing = false;
                }
                self.git_ends(id);
                let parked = self.jobs.get_mut(&id).and_then(|job| job.parked.take()).into_iter().collect();
                Next::Over(Ok(Done::WorktreeReady { head_sha: "f00d".to_owned(), created: true, parked }))
            }
            PARK.. => self.move_aside(id, stage, ordered, (path, park)),
            _ => {
                self.git_ends(id);
                Next::Over(Err(git_failure(ordered, path, Spoil::Hangs)))
            }
        }
    }

    pub(super) fn worktree_add(&mut self, id: u64, ordered: &Ordered, path: &str, branch: &str) -> Next {
        let armed = ordered.project.and_then(|project| self.spoiled(project, "worktree"));
        let how = armed.map(|armed| armed.how).or(self.disk.full.then_some(Spoil::NoSpace));
        match how {
            Some(Spoil::Hangs) => {}
            // It says that all went well, and nothing was done: the verification of its result finds that.
            Some(how) => return Next::Over(Err(git_failure(ordered, path, how))),
            None => {}
        }
        if self.disk.is_held(branch) {
            let why = format!("branch {branch} is checked out in a worktree that is parked");
            return failed(ordered, FailureKind::WorktreeInvalid, &why);
        }
        self.disk.register(path, branch);
        let git = self.kernel.spawn(self.at, Program::Git, None);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.git = Some(git);
        }
        if how.is_some() {
            return Next::Skip(GIT_HANGS, deadline::GIT.0);
        }
        Next::Go(self.takes(4_000, 80_000))
    }

    pub(super) fn git_ends(&mut self, id: u64) {
        if let Some(git) = self.jobs.get_mut(&id).and_then(|job| job.git.take()) {
            self.end(git, Some(0), None);
        }
    }

    /// Ends the git processes that an orchestrator left behind, and with them what they were doing (C06).
    pub fn end_leftovers(&mut self) {
        let gits: Vec<(u64, ProcessId)> =
            self.jobs.iter().filter(|(_, job)| job.ghost).filter_map(|(id, job)| Some((*id, job.git?))).collect();
        for (id, git) in gits {
            self.jobs.remove(&id);
            self.end(git, None, Some(15));
        }
    }

    pub(super) fn files(
        &mut self,
        stage: u8,
        ordered: &Ordered,
        path: &str,
        files: &[FileToWrite],
        park: &str,
    ) -> Next {
        let full = self.disk.full;
        let Some(tree) = self.disk.tree_mut(path).filter(|tree| tree.there) else {
            return failed(ordered, FailureKind::Io, "write CLAUDE.md: No such file or directory (os error 2)");
        };
        if full {
            return failed(ordered, FailureKind::Io, "write CLAUDE.md: No space left on device (os error 28)");
        }
        if stage == 0 {
            tree.temporary = true;
            return Next::Go(self.takes(100, 500));
        }
        tree.temporary = false;
        let mut parked = Vec::new();
        let mut first = None;
        let mut written = false;
        for file in files {
            let pin = judge::pin_of(file.content.as_bytes());
            let there = tree.files.get(&file.path);
            match (file.way, there) {
                (Way::Exact, Some(FileIs::Regular(found))) if *found == pin => {}
                (Way::Exact, found) => {
                    if found.is_some() {
                        parked.push(format!("{park}/{}", file.path));
                    }
                    tree.files.insert(file.path.clone(), FileIs::Regular(pin.clone()));
                    written = true;
                }
                (Way::IfMissing | Way::MergeHooks, Some(_)) => {}
                (Way::IfMissing | Way::MergeHooks, None) => {
                    written = true;
                    tree.files.insert(file.path.clone(), FileIs::Regular(pin.clone()));
                }
            }
            first.get_or_insert(pin);
        }
        // Files in a husk are files in a husk.
        let sound = tree.filled && !tree.initializing;
        // What is right already is not written again.
        if written {
            self.touched(path);
        }
        if let (Some(project), Some(role)) = (ordered.project, ordered.role.clone()) {
            self.grounds.insert((project, role.clone()), path.to_owned());
            if sound {
                self.witness(Fact::Fit { project, role });
            }
        }
        let Some(claude_md) = first else {
            return failed(ordered, FailureKind::Io, "there is nothing to write");
        };
        Next::Over(Ok(Done::FilesReady { claude_md, parked, left: Vec::new() }))
    }
}

/// git's failure as evidence, as it spoils.
fn git_failure(ordered: &Ordered, path: &str, how: Spoil) -> Box<Failure> {
    let argv = ["git", "worktree", "add", path].map(ToOwned::to_owned).to_vec();
    let text = |words: &str| Stderr::captured(words.to_owned());
    let (kind, ending, stderr) = match how {
        Spoil::Null | Spoil::Empty | Spoil::ReplyLost => {
            (FailureKind::SubprocessFailed, Ending::Code(128), Stderr::Empty)
        }
        Spoil::Binary => (FailureKind::SubprocessFailed, Ending::Code(128), text("\\xff\\xfe\\x00")),
        Spoil::Flood => (FailureKind::SubprocessFailed, Ending::Code(128), text(&"x".repeat(4_096))),
        Spoil::Signal => (FailureKind::SubprocessFailed, Ending::Signal(9), Stderr::Empty),
        Spoil::NotFound => {
            let why = "No such file or directory (os error 2)".to_owned();
            (FailureKind::SpawnFailed, Ending::NotStarted(why), Stderr::Null)
        }
        Spoil::Hangs => (FailureKind::TimedOut, Ending::DeadlinePassed(deadline::GIT), Stderr::Empty),
        Spoil::Lies => {
            let why = "git said that the worktree was made, and it is not there".to_owned();
            (FailureKind::SubprocessFailed, Ending::Reason(why), Stderr::Empty)
        }
        Spoil::NoSpace => {
            let words = "fatal: could not create leading directories: No space left on device";
            (FailureKind::SubprocessFailed, Ending::Code(128), text(words))
        }
    };
    Box::new(Failure {
        stage: ordered.stage,
        kind,
        program: Failed::Git,
        argv,
        cwd: None,
        ending,
        stderr,
        stdout_tail: String::new(),
        duration: Span(5_000),
        hint: None,
    })
}
