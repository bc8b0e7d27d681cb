//! The simulated file system, as far as worktrees go, and git's view of it.
//!
//! Facts it models: a killed `git worktree add` leaves its worktree registered and locked `initializing`, the branch
//! existing and the directory half filled; a removed worktree stays registered; a directory that is made anew is
//! another one, so a watch on the old one is silent (the section on file watching).

use super::park::Park;
use super::sweep::Logs;
use orchestrator::domain::effect::RoleLook;
use orchestrator::domain::event::{FileFound, FileIs, RoleFound};
use orchestrator::validate::judge;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A worktree.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Its branch.
    pub branch: String,
    /// Whether its directory is there.
    pub there: bool,
    /// Whether git has filled it.
    pub filled: bool,
    /// Whether git holds it locked as `initializing`.
    pub initializing: bool,
    /// Which directory of that path it is: a watch is on one of them.
    pub inode: u64,
    /// Counts its changes, as the change times of its files do.
    pub revision: u64,
    /// Its files, as a look finds them.
    pub files: BTreeMap<String, FileIs>,
    /// Whether a file that was being written is left under its temporary name.
    pub temporary: bool,
    /// Commits made in it.
    pub commits: u32,
    /// Whether something in it is not committed.
    pub dirty: bool,
}

/// All worktrees and branches.
#[derive(Debug, Default)]
pub struct Disk {
    trees: BTreeMap<String, Tree>,
    branches: BTreeSet<String>,
    inodes: u64,
    /// Whether there is no space.
    pub full: bool,
    /// What was moved aside.
    pub park: Park,
    /// The event log, if one is kept.
    pub logs: Option<Rc<Logs>>,
}

impl Disk {
    /// Every worktree, by its path.
    pub fn trees(&self) -> impl Iterator<Item = (&String, &Tree)> {
        self.trees.iter()
    }

    /// The worktree at that path.
    #[must_use]
    pub fn tree(&self, path: &str) -> Option<&Tree> {
        self.trees.get(path)
    }

    /// The same, to be changed.
    pub fn tree_mut(&mut self, path: &str) -> Option<&mut Tree> {
        self.trees.get_mut(path)
    }

    /// Whether the branch exists.
    #[must_use]
    pub fn has_branch(&self, branch: &str) -> bool {
        self.branches.contains(branch)
    }

    /// What `git worktree add` does first: it registers, locks and branches.
    pub fn register(&mut self, path: &str, branch: &str) {
        self.inodes += 1;
        self.branches.insert(branch.to_owned());
        let tree = Tree {
            branch: branch.to_owned(),
            there: true,
            filled: false,
            initializing: true,
            inode: self.inodes,
            revision: 0,
            files: BTreeMap::new(),
            temporary: false,
            commits: 0,
            dirty: false,
        };
        self.trees.insert(path.to_owned(), tree);
    }

    /// Takes a worktree that nothing of value is in out of the way.
    pub fn unregister(&mut self, path: &str) {
        drop(self.take(path));
    }

    /// Takes whatever is there away, as it is.
    pub(super) fn take(&mut self, path: &str) -> Option<Tree> {
        self.trees.remove(path)
    }

    /// Somebody makes the directory anew, with a CLAUDE.md of theirs: it is no worktree, and nobody watches it.
    pub fn remake(&mut self, path: &str) {
        self.inodes += 1;
        let Some(tree) = self.trees.get_mut(path) else { return };
        (tree.there, tree.filled, tree.inode) = (true, false, self.inodes);
        tree.files = [("CLAUDE.md".to_owned(), FileIs::Regular(judge::pin_of(b"another\n")))].into();
    }

    /// Looks at one role's worktree and files.
    #[must_use]
    pub fn look(&self, look: &RoleLook) -> RoleFound {
        let tree = self.trees.get(&look.worktree);
        let worktree = match tree {
            None => Some("it is not there".to_owned()),
            Some(tree) if !tree.there => Some("its directory is gone".to_owned()),
            // Whatever branch an agent has checked out in it, it is a worktree.
            Some(tree) if !tree.filled || tree.initializing => Some("git has not finished making it".to_owned()),
            Some(_) => None,
        };
        let is = |path: &String| {
            let found = tree.filter(|tree| tree.there).and_then(|tree| tree.files.get(path));
            FileFound { path: path.clone(), is: found.cloned().unwrap_or(FileIs::Missing) }
        };
        RoleFound { role: look.role.clone(), worktree, files: look.files.iter().map(is).collect() }
    }
}
