//! Faults on the ground that agents stand on: worktrees, their files, and the git that makes them.

use super::deed::{Deed, Spoil, Target};
use super::world::World;
use crate::fault::Kind;
use crate::schedule::Planned;
use crate::witness::Fact;
use orchestrator::domain::event::FileIs;
use orchestrator::validate::judge;

impl World {
    /// Where the role works: its worktree may have been made anew under an agent that is done.
    fn ground_of(&self, target: &Target, number: usize) -> String {
        let ground = self.grounds.get(&(target.project, target.role.clone()));
        ground.unwrap_or(&self.agents[number].tree).clone()
    }

    /// git fails at the next worktree: the present one is removed, so that there is a next one.
    pub(super) fn spoil_git(&mut self, planned: &Planned, target: &Target, how: Spoil) -> Deed {
        self.arm(planned, target, "worktree", how);
        let Some(number) = self.living_agent_of(target.project, &target.role) else { return Deed::Armed };
        let path = self.ground_of(target, number);
        self.remove_tree(&path, target);
        Deed::Armed
    }

    pub(super) fn remove_tree(&mut self, path: &str, target: &Target) -> bool {
        let Some(tree) = self.disk.tree_mut(path).filter(|tree| tree.there) else { return false };
        tree.there = false;
        tree.files.clear();
        self.touched(path);
        self.unfit(target, "worktree");
        true
    }

    pub(super) fn unfit(&mut self, target: &Target, why: &'static str) {
        let (project, role) = (target.project, target.role.clone());
        self.witness(Fact::Unfit { project, role, why });
    }

    pub(super) fn spoil_tree(&mut self, target: &Target, kind: Kind) -> Deed {
        let Some(number) = self.living_agent_of(target.project, &target.role) else {
            return Deed::Nothing("the role has no living agent");
        };
        let path = self.ground_of(target, number);
        if kind == Kind::WorktreeDelete {
            return if self.remove_tree(&path, target) { Deed::Done } else { Deed::Nothing("it is gone") };
        }
        let Some(tree) = self.disk.tree_mut(&path).filter(|tree| tree.there) else {
            return Deed::Nothing("it is gone");
        };
        (tree.filled, tree.initializing) = (false, true);
        tree.files.clear();
        self.touched(&path);
        self.unfit(target, "worktree");
        Deed::Done
    }

    pub(super) fn unusable(&mut self, target: &Target, why: &str) -> Deed {
        self.spoil_file(target, Some(FileIs::Unusable(why.to_owned())))
    }

    pub(super) fn spoil_file(&mut self, target: &Target, is: Option<FileIs>) -> Deed {
        let Some(number) = self.living_agent_of(target.project, &target.role) else {
            return Deed::Nothing("the role has no living agent");
        };
        let path = self.ground_of(target, number);
        let Some(tree) = self.disk.tree_mut(&path).filter(|tree| tree.there) else {
            return Deed::Nothing("the worktree is gone");
        };
        let file = judge::CLAUDE_MD_PATH.to_owned();
        match is {
            Some(is) => drop(tree.files.insert(file, is)),
            None if tree.files.remove(&file).is_none() => return Deed::Nothing("it is gone already"),
            None => {}
        }
        self.touched(&path);
        self.unfit(target, "claude_md");
        Deed::Done
    }

    pub(super) fn touch_file(&mut self, target: &Target) -> Deed {
        let Some(number) = self.living_agent_of(target.project, &target.role) else {
            return Deed::Nothing("the role has no living agent");
        };
        let path = self.ground_of(target, number);
        self.touched(&path);
        Deed::Done
    }
}
