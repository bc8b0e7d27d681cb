//! What stands in a worktree's way, moved aside in the last steps of `orchestrator/src/env/git/park.rs`, so that a crash may
//! come between any two of them (C28): one rename, git is told where it is now, its HEAD lets go of the branch.
//!
//! Only the crash sweep plays the steps. In the seeds it is one, as it always was: a step more would be another draw, and
//! every seed would be another run.

use super::disk::{Disk, Tree};
use super::job::Next;
use super::perform::failed;
use super::world::World;
use orchestrator::domain::effect::Ordered;
use orchestrator::domain::failure::FailureKind;

/// The stage of the rename; the two that follow tell git and free the branch.
pub(super) const PARK: u8 = 30;

/// Somebody's work that was moved into the park.
#[derive(Debug)]
pub struct Parked {
    /// Where it stood.
    pub from: String,
    /// What it is.
    pub tree: Tree,
    /// Whether git knows where it is.
    pub told: bool,
    /// Whether its HEAD has let go of the branch.
    pub freed: bool,
}

/// The park, where it is played step by step.
#[derive(Debug, Default)]
pub struct Park {
    /// Whether somebody's work stands wherever a worktree is to be.
    pub crowded: bool,
    /// Where it has been.
    pub stood: Vec<String>,
    /// What is parked.
    pub parked: Vec<Parked>,
}

impl Disk {
    /// Somebody was here first, with work of his own on the branch that is wanted.
    fn crowd(&mut self, path: &str, branch: &str) {
        if self.tree(path).is_some() || self.park.stood.iter().any(|stood| stood == path) {
            return;
        }
        self.park.stood.push(path.to_owned());
        self.register(path, branch);
        if let Some(tree) = self.tree_mut(path) {
            (tree.initializing, tree.commits, tree.dirty) = (false, 3, true);
        }
    }

    /// What an earlier call moved aside without coming to tell git.
    fn half_parked(&mut self, path: &str) -> Option<&mut Parked> {
        self.park.parked.iter_mut().find(|parked| parked.from == path && !(parked.told && parked.freed))
    }

    /// Whether something that is parked is on this branch still: git gives it to nobody else. A registration of which
    /// nothing is where it says is dropped, and holds none.
    pub(super) fn is_held(&self, branch: &str) -> bool {
        self.park.parked.iter().any(|parked| parked.told && !parked.freed && parked.tree.branch == branch)
    }

    /// What is not as it must be in the end, in words.
    pub fn badly_parked(&self) -> Vec<String> {
        let half = self.park.parked.iter().filter(|parked| !(parked.told && parked.freed));
        let mut found: Vec<String> = half.map(|parked| format!("{} is parked half", parked.from)).collect();
        for stood in &self.park.stood {
            let whole = |parked: &&Parked| parked.from == *stood && parked.tree.commits == 3 && parked.tree.dirty;
            let times = self.park.parked.iter().filter(whole).count();
            if times != 1 {
                found.push(format!("the work that stood at {stood} is parked {times} times"));
            }
        }
        found
    }
}

impl World {
    /// Before a worktree is made: where to go on if something stands in its way, or did.
    pub(super) fn way(&mut self, path: &str, branch: &str) -> Option<Next> {
        if !self.disk.park.crowded {
            return None;
        }
        self.disk.crowd(path, branch);
        let stands = self.disk.tree(path).is_some_and(|tree| tree.there && !tree.filled && !tree.initializing);
        let stage = if stands {
            PARK
        } else if let Some(half) = self.disk.half_parked(path) {
            if half.told { PARK + 2 } else { PARK + 1 }
        } else {
            return None;
        };
        Some(Next::Skip(stage, self.takes(100, 500)))
    }

    /// One step of moving aside what stands at `path`. A rename needs no space; what git writes does.
    pub(super) fn move_aside(&mut self, id: u64, stage: u8, ordered: &Ordered, (path, park): (&str, &str)) -> Next {
        if stage > PARK && self.disk.full {
            return failed(ordered, FailureKind::SubprocessFailed, "git: No space left on device (os error 28)");
        }
        if stage == PARK
            && let Some(tree) = self.disk.take(path)
        {
            self.disk.park.parked.push(Parked { from: path.to_owned(), tree, told: false, freed: false });
        } else if let Some(half) = self.disk.half_parked(path) {
            (half.told, half.freed) = (true, half.told);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.parked = Some(park.to_owned());
        }
        let after = self.takes(1_000, 4_000);
        if stage < PARK + 2 { Next::Go(after) } else { Next::Skip(1, after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(steps: impl Fn(&mut Disk)) -> Vec<String> {
        let mut disk = Disk::default();
        disk.crowd("e1", "branch");
        steps(&mut disk);
        disk.badly_parked()
    }

    fn park(disk: &mut Disk, told: bool, freed: bool) {
        let tree = disk.take("e1").expect("it stands there");
        disk.park.parked.push(Parked { from: "e1".to_owned(), tree, told, freed });
    }

    #[test]
    fn what_is_parked_half_or_twice_or_lost_is_told() {
        let lost = "the work that stood at e1 is parked 0 times";
        assert_eq!(bad(|disk| park(disk, true, true)), Vec::<String>::new());
        assert_eq!(bad(|disk| park(disk, false, false)), ["e1 is parked half"]);
        assert_eq!(bad(|disk| park(disk, true, false)), ["e1 is parked half"]);
        assert_eq!(bad(|_| {}), [lost]);
        assert_eq!(bad(|disk| disk.unregister("e1")), [lost]);
        let twice = bad(|disk| {
            let tree = disk.tree("e1").cloned();
            park(disk, true, true);
            disk.park.parked.extend(tree.map(|tree| Parked { from: "e1".to_owned(), tree, told: true, freed: true }));
        });
        assert_eq!(twice, ["the work that stood at e1 is parked 2 times"]);
        let emptied = bad(|disk| {
            park(disk, true, true);
            disk.park.parked[0].tree.dirty = false;
        });
        assert_eq!(emptied, [lost]);
    }

    #[test]
    fn a_branch_is_held_only_where_git_knows_of_it() {
        let mut disk = Disk::default();
        disk.crowd("e1", "branch");
        park(&mut disk, false, false);
        assert!(!disk.is_held("branch"), "nothing is where the registration says");
        disk.half_parked("e1").expect("half").told = true;
        assert!(disk.is_held("branch") && !disk.is_held("another"));
        disk.half_parked("e1").expect("half").freed = true;
        assert!(!disk.is_held("branch"));
    }
}
